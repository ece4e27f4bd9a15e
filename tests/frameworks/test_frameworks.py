# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real TensorFlow, watched through a real MLflow, TensorBoard, exporter and Prometheus while it is really frozen."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._model import (
    Experiment,
    Judgement,
    Power,
    Verdict,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._providers import Providers

MISSING = [name for name in ("mlflow", "tensorflow", "tensorboard") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; make frameworks does it")

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
VM = VmState("vm-1", "ML-cpu-vm-01", "uuid", "host-1", Power.ON, 1 << 30, guest_address="127.0.0.1")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.3)
        else:
            return


@dataclass
class World:
    """The running servers and the training."""

    folder: Path
    mlflow: str
    tensorboard: str
    exporter: str
    prometheus: str | None
    training: subprocess.Popen[str]
    run_id: str

    def train(self, *resume: str) -> None:
        """Start the training, or resume its run from a step."""
        port = self.exporter.split(":")[2].split("/")[0]
        command = [
            sys.executable,
            Path(__file__).parent / "train.py",
            self.mlflow,
            self.folder / "logs" / VM.name,
            port,
        ]
        environment = dict(
            os.environ,
            TF_CPP_MIN_LOG_LEVEL="3",
            CUDA_VISIBLE_DEVICES="",
            MLFLOW_DISABLE_TELEMETRY="true",
            PYTHONPATH=str(ROOT),
        )
        log = (self.folder / "training.log").open("a")
        self.training = subprocess.Popen(
            [*map(str, command), *resume], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        assert self.training.stdout is not None
        self.run_id = self.training.stdout.readline().strip()
        assert self.run_id, (self.folder / "training.log").read_text()[-2000:]

    def freeze(self, seconds: float) -> float:
        """Really stop the training; how long it stood still at least."""
        self.training.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(seconds)
        frozen = time.monotonic() - began
        self.training.send_signal(signal.SIGCONT)
        return frozen


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    ports = [free_port() for _ in range(4)]
    (folder / "logs").mkdir()
    exporter = f"127.0.0.1:{ports[2]}"
    config = f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{{job_name: training, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
    (folder / "prometheus.yml").write_text(config)
    commands: list[list[object]] = [
        [BIN / "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", 1, "--host", "127.0.0.1", "--port", ports[0]],
        [BIN / "tensorboard", "--logdir", folder / "logs", "--host", "127.0.0.1", "--port", ports[1], "--reload_interval", 1],
    ]  # fmt: skip
    if prometheus := shutil.which("prometheus"):
        commands.append(
            [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{ports[3]}"]
        )  # fmt: skip
    log = (folder / "servers.log").open("w")
    environment = dict(os.environ, MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")
    running = [
        subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, env=environment, start_new_session=True
        )
        for command in commands
    ]
    world = World(
        folder, f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", f"http://{exporter}/metrics",
        f"http://127.0.0.1:{ports[3]}" if prometheus else None, running[0], "",
    )  # fmt: skip
    try:
        wait_for(f"{world.mlflow}/health")
        wait_for(f"{world.tensorboard}/data/environment")
        world.train()
        wait_for(world.exporter)
        yield world
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        world.training.kill()


def source(provider: str, world: World) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "mlflow": {"url": world.mlflow},
        "tensorboard": {"url": world.tensorboard, "flush_seconds": 1.0, "vms": [VM.name]},
        "exporter": {
            "provider": "prometheus",
            "url": world.exporter,
            "metric": "training_steps_total",
            "vms": [VM.name],
        },
        "prometheus": {"url": world.prometheus, "query": 'training_steps_total{job="training"}', "vms": [VM.name]},
    }
    defaults = {name: option.get("default") for name, option in SOURCE_OPTIONS.items()}
    return defaults | {"provider": provider} | given[provider]


def watched(provider: str, world: World, folder: Path, **settings: Any) -> tuple[Experiment, Any]:
    options = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()}
    chosen = {"h2o3": False, "baseline": 8.0, "settle_timeout": 20.0, "sources": [source(provider, world)], **settings}
    providers = Providers(options | chosen)
    (seen,) = providers.observe([VM])
    assert len(seen.experiments) == 1, seen.detail
    return seen.experiments[0], providers.watch(seen.experiments, folder, lambda _event, **_fields: None)


def judged(watch: Any, vm: str, through: Any) -> tuple[Judgement, Any]:
    with watch:
        watch.baseline()
        watch.focus(vm)
        time.sleep(1)
        told = through()
        time.sleep(1)
        watch.moved(vm)
        while not watch.settled(vm):
            time.sleep(0.2)
        (judgement,) = watch.judge(vm)
    return judgement, told


@pytest.mark.parametrize(
    ("provider", "seconds", "widest"),
    [("mlflow", 2.0, 1.5), ("exporter", 1.0, 0.35), ("tensorboard", 8.0, 12.0), ("prometheus", 8.0, 12.0)],
)
def test_a_freeze_lies_within_the_stated_interval(
    world: World, tmp_path: Path, provider: str, seconds: float, widest: float
) -> None:
    if provider == "prometheus" and world.prometheus is None:
        pytest.skip("no prometheus on this machine; Debian's package prometheus brings it")
    experiment, watch = watched(provider, world, tmp_path, stall_budget=30.0)
    judgement, frozen = judged(watch, experiment.vm, lambda: world.freeze(seconds))
    stall = judgement.longest_stall
    assert stall is not None
    assert stall.low <= frozen <= stall.high, (frozen, stall)
    assert stall.high - stall.low <= widest, stall
    assert judgement.verdict is Verdict.UNINTERRUPTED, judgement
    assert judgement.progress == "proven"


def test_mlflow_finds_the_process_and_no_dead_run(world: World, tmp_path: Path) -> None:
    experiment, watch = watched("mlflow", world, tmp_path)
    watch._watched[0].close()
    assert experiment.id == world.run_id
    assert experiment.capabilities.identity == "process"
    assert str(world.training.pid) in experiment.process


def test_a_killed_training_is_no_experiment_and_a_resumed_one_is_restarted(world: World, tmp_path: Path) -> None:
    experiment, watch = watched("mlflow", world, tmp_path, settle_timeout=60.0)
    run = world.run_id

    def killed_and_resumed() -> None:
        world.training.kill()
        world.training.wait()
        gone = Providers(
            {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()}
            | {"h2o3": False, "sources": [{**source("mlflow", world), "advance_timeout": 2.0}]}
        )
        (seen,) = gone.observe([VM])
        assert seen.experiments == ()
        assert "none advanced" in seen.detail, "MLflow shows a killed run as RUNNING for ever"
        world.train(run, "20")
        time.sleep(5)

    judgement, _told = judged(watch, experiment.vm, killed_and_resumed)
    assert judgement.verdict is Verdict.RESTARTED, judgement
