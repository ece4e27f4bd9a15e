# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers of records, old and new, and real processes that log to them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.frameworks import BIN, HOST, QUIET, free_ports, missing
from scripts.bootstrap import OLD_MLFLOW
from tests.builders.sources import settings
from tests.labs import ROOT
from tests.measuring import until

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Release:
    """A server of records as it is installed."""

    name: str
    kind: str
    bin: Path

    def missing(self) -> str:
        """Why it cannot be started; empty if it can."""
        if self.bin != BIN:
            there = (self.bin / self.kind).exists()
            return "" if there else f"{self.name} is not installed: make frameworks does it if there is a Python 3.11"
        return f"{self.name} is not installed; make frameworks does it" if self.kind in missing() else ""

    def environment(self) -> dict[str, str]:
        """MLflow looks for the program that serves its pages in PATH."""
        return {**os.environ, **QUIET, "PATH": f"{self.bin}:{os.environ.get('PATH', '')}"}

    def command(self, folder: Path, port: int, prefix: str) -> tuple[list[str], str]:
        """The command line of the server, and the path at which it answers."""
        program, listen = str(self.bin / self.kind), ["--host", HOST, "--port", str(port)]
        if self.kind == "mlflow":
            store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
            below = ["--static-prefix", prefix] if prefix else []
            # Newer versions have this path below the prefix, too.
            health = "/health" if self.bin == OLD_MLFLOW / "bin" else f"{prefix}/health"
            return [program, "server", *listen, *store, *below], health
        return [program, *listen, "--logdir", str(folder), "--reload_interval", "1"], "/data/environment"


OLD = Release("MLflow 2.2", "mlflow", OLD_MLFLOW / "bin")
NEW = Release("MLflow 3", "mlflow", BIN)
BOARD = Release("TensorBoard", "tensorboard", BIN)


@dataclass(frozen=True)
class Loop:
    """What a training logs: step ``first`` first, each step ``times`` times, ``pace`` seconds apart.

    With ``batches`` the step is the index of a batch, which begins at 0 in each epoch. Without ``steps`` none is given.
    ``named``: each process sets the tags with its number and its start. It waits ``loads`` seconds before its first step.
    """

    kind: str
    place: str
    run: str = ""
    first: int = 0
    times: int = 1
    pace: float = 0.2
    batches: int = 0
    steps: bool = True
    named: bool = False
    loads: float = 0.0


@dataclass
class Training:
    """A process that trains, and what it has logged."""

    process: subprocess.Popen[str]
    run: str
    logged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read what it says until it ends."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.logged.append(int(line))

    def has_logged(self, count: int) -> None:
        """Wait until it has logged so many points."""
        until(lambda: len(self.logged) >= count or self.process.poll() is not None)
        assert self.process.poll() is None, "the training ended"

    def kill(self) -> None:
        """Kill it, as a host that fails does."""
        self.process.kill()
        self.process.wait()


@dataclass
class Tracker:
    """A server that runs, and the trainings that log to it."""

    release: Release
    folder: Path
    port: int
    trainings: list[Training] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://{HOST}:{self.port}"

    def source(self, **changes: Any) -> dict[str, Any]:
        """The entry of ``experiments.sources``."""
        usual = {"url": self.url, "vms": ["ML-1"], "advance_timeout": 6.0, "flush_seconds": 1.0}
        return settings(self.release.kind, **usual | changes)

    def train(self, **options: Any) -> Training:
        """Start a training and wait for its first points."""
        board = self.release.kind == "tensorboard"
        usual = {"place": str(self.folder), "run": f"run-{len(self.trainings)}"} if board else {"place": self.url}
        loop = Loop(self.release.kind, **usual | options)
        command = [
            str(self.release.bin / "python"),
            str(ROOT / "tests/frameworks/training.py"),
            json.dumps(asdict(loop)),
        ]
        with (self.folder / "training.log").open("a") as log:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.release.environment(),
                start_new_session=True,
            )
        assert process.stdout is not None
        training = Training(process, process.stdout.readline().strip())
        self.trainings.append(training)
        assert training.run, (self.folder / "training.log").read_text()[-2000:]
        training.has_logged(2)
        return training

    def copy(self, run: str, count: int) -> None:
        """Copy a run of MLflow in its database, half of the copies older and half newer than all others."""
        moved = ", ".join(f"({n}, {(n % 2 * 2 - 1) * HOUR_MS})" for n in range(count))
        with closing(sqlite3.connect(self.folder / "mlflow.db", timeout=60)) as store, store:
            for table in ("runs", "latest_metrics"):
                columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
                changed = {"run_uuid": "printf('%032x', n)", "start_time": "start_time + by"}
                values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
                store.execute(
                    f"WITH copies(n, by) AS (VALUES {moved}) INSERT INTO {table} SELECT {values} FROM {table}, copies "
                    "WHERE run_uuid = ?",
                    (run,),
                )


def answers(url: str) -> bool:
    """Whether a server answers there."""
    with suppress(OSError):
        urllib.request.urlopen(url, timeout=5).close()
        return True
    return False


@contextmanager
def running(release: Release, prefix: str = "") -> Iterator[Tracker]:
    """A server for the time of the context; its trainings end with it."""
    with tempfile.TemporaryDirectory(prefix="liveml-tracker-", ignore_cleanup_errors=True) as name:
        tracker = Tracker(release, Path(name), *free_ports(1))
        command, ready = release.command(tracker.folder, tracker.port, prefix)
        with (tracker.folder / "server.log").open("w") as log:
            server = subprocess.Popen(
                command, stdout=log, stderr=log, env=release.environment(), start_new_session=True, cwd=name
            )
        try:
            until(lambda: answers(tracker.url + ready) or server.poll() is not None)
            assert server.poll() is None, (tracker.folder / "server.log").read_text()[-2000:]
            yield tracker
        finally:
            for training in tracker.trainings:
                training.kill()
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
