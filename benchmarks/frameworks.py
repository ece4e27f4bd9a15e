# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real TensorFlow training that logs its steps to a real MLflow, TensorBoard, exporter, Prometheus and step log."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import Watch
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState

from benchmarks.servers import Freeze, freeze
from benchmarks.subjects import SETTINGS
from lab.errors import LabError
from lab.paths import ROOT
from scripts.bootstrap import prometheus

NEEDED = ("mlflow", "tensorflow", "tensorboard")
BIN = Path(sys.executable).parent
HOST = "127.0.0.1"
VM = VmState("vm-1", "ML-cpu-vm-01", "uuid", "host-1", Power.ON, 1 << 30, guest_address=HOST)
# MLflow 3 starts eight more processes for jobs, which nobody asks for here.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
READY_SECONDS = 600  # on a busy machine MLflow alone takes more than 90
Command = Sequence[object]
Returned = TypeVar("Returned")


def missing() -> list[str]:
    """The missing packages that ``make setup-frameworks`` installs."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def free_ports(count: int) -> list[int]:
    """Free ports of the loopback interface."""
    taken = [socket.create_server((HOST, 0)) for _port in range(count)]
    found = [int(listening.getsockname()[1]) for listening in taken]
    for listening in taken:
        listening.close()
    return found


def wait_for(url: str) -> None:
    """Wait until a server answers. Raises LabError if it takes too long."""
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError as error:
            if time.monotonic() > end:
                raise LabError(f"{url} does not answer") from error
            time.sleep(0.3)
        else:
            return


@dataclass
class World:
    """The servers that the training logs to, and the training itself."""

    folder: Path
    mlflow_port: int
    tensorboard_port: int
    exporter_port: int
    prometheus_port: int
    run_id: str = field(init=False, default="")
    training: subprocess.Popen[str] = field(init=False)

    def commands(self) -> Iterator[Command]:
        """The servers' command lines."""
        store = f"sqlite:///{self.folder}/mlflow.db"
        yield (
            BIN / "mlflow",
            "server",
            "--backend-store-uri",
            store,
            "--workers",
            1,
            "--host",
            HOST,
            "--port",
            self.mlflow_port,
        )
        board = BIN / "tensorboard", "--logdir", self.folder / "logs", "--host", HOST
        yield *board, "--port", self.tensorboard_port, "--reload_interval", 1
        if server := prometheus():
            job = f"{{job_name: training, static_configs: [{{targets: ['{HOST}:{self.exporter_port}']}}]}}"
            config = self.folder / "prometheus.yml"
            config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{job}]\n")
            kept = f"--storage.tsdb.path={self.folder}/tsdb"
            yield server, f"--config.file={config}", kept, f"--web.listen-address={HOST}:{self.prometheus_port}"

    def train(self, *resume: str) -> None:
        """Start the training, or resume its run from a step. Raises LabError with the end of its log."""
        for name in ("logs", "steps"):
            (self.folder / name / VM.name).mkdir(parents=True, exist_ok=True)
        command = [
            BIN / "python", ROOT / "benchmarks" / "frameworks_train.py", f"http://{HOST}:{self.mlflow_port}",
            self.folder / "logs" / VM.name, self.folder / "steps" / VM.name / "net.jsonl", self.exporter_port, *resume,
        ]  # fmt: skip
        log = self.folder / "training.log"
        with log.open("a") as errors:
            self.training = subprocess.Popen(
                [str(part) for part in command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT)},
                start_new_session=True,  # otherwise Linux continues it when the calling shell ends (setpgid(2))
            )
        self.run_id = self.training.stdout.readline().strip() if self.training.stdout is not None else ""
        if not self.run_id:
            raise LabError(f"the training does not start: {log.read_text()[-2000:]}")

    def freeze(self, seconds: float) -> Freeze:
        """Stop the process of the training."""
        return freeze(self.training.pid, seconds)

    def source(self, name: str) -> dict[str, Any]:
        """An entry of ``experiments.sources``; ``exporter`` is provider ``prometheus`` without a Prometheus server."""
        program = [sys.executable, str(ROOT / "docs" / "examples" / "steplog_provider.py"), str(self.folder / "steps")]
        metrics = {"provider": "prometheus", "vms": [VM.name]}
        told: Mapping[str, dict[str, Any]] = {
            "mlflow": {"url": f"http://{HOST}:{self.mlflow_port}"},
            "tensorboard": {"url": f"http://{HOST}:{self.tensorboard_port}", "flush_seconds": 1.0, "vms": [VM.name]},
            "exec": {"command": program, "signal": "changes"},
            "exporter": {**metrics, "url": self.exporter, "metric": "training_steps_total"},
            "prometheus": {
                **metrics,
                "url": f"http://{HOST}:{self.prometheus_port}",
                "query": 'training_steps_total{job="training"}',
            },
        }
        usual = {key: option.get("default") for key, option in SOURCE_OPTIONS.items()}
        return {**usual, "provider": name, **told[name]}

    @property
    def exporter(self) -> str:
        """The URL of the training's own metrics."""
        return f"http://{HOST}:{self.exporter_port}/metrics"

    def providers(self, *names: str, **settings: Any) -> Providers:
        """The watch of a run that asks these sources."""
        chosen = {"h2o3": False, "baseline": 8.0, "settle_timeout": 20.0, "sources": [self.source(n) for n in names]}
        return Providers({**SETTINGS, **chosen, **settings})

    def watched(self, name: str, folder: Path, **settings: Any) -> tuple[Experiment, Watch]:
        """The training as a source reports it, and a watch of it. Raises LabError if it is not found."""
        providers = self.providers(name, **settings)
        (seen,) = providers.observe([VM])
        if len(seen.experiments) != 1:
            raise LabError(f"{name}: {len(seen.experiments)} experiments; {seen.detail}")
        return seen.experiments[0], providers.watch(seen.experiments, folder, lambda *_news: None)


def judged(watch: Watch, through: Callable[[], Returned]) -> tuple[Judgement, Returned]:
    """The judgement of a move during which ``through`` runs, and the return value of ``through``."""
    with watch:
        watch.baseline()
        watch.focus(VM.moid)
        time.sleep(1)
        told = through()
        time.sleep(1)
        watch.moved(VM.moid)
        while not watch.settled(VM.moid):
            time.sleep(0.2)
        (judgement,) = watch.judge(VM.moid)
    return judgement, told


@contextmanager
def running() -> Iterator[World]:
    """Servers and training for the time of the context. Raises LabError if one does not start."""
    with tempfile.TemporaryDirectory(prefix="liveml-frameworks-", ignore_cleanup_errors=True) as name:
        world = World(Path(name), *free_ports(4))
        (world.folder / "logs").mkdir()
        with (world.folder / "servers.log").open("w") as log:
            servers = [
                subprocess.Popen(
                    [str(part) for part in command],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **QUIET},
                    start_new_session=True,
                )
                for command in world.commands()
            ]
        try:
            wait_for(f"http://{HOST}:{world.mlflow_port}/health")
            wait_for(f"http://{HOST}:{world.tensorboard_port}/data/environment")
            world.train()
            wait_for(world.exporter)
            yield world
        finally:
            for server in servers:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            if hasattr(world, "training"):
                world.training.kill()
                world.training.wait()
