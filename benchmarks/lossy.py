# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How well stalls are measured if the network loses packets while the guest stands still.

The truth is exact: a training is stopped by SIGSTOP, and its network is cut for the same time. The watch runs in a
process of its own inside the controller's network namespace: ``python -m benchmarks.lossy SETTINGS``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.prometheus import Prometheus
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import SOURCE_OPTIONS

from benchmarks.lossy_network import LossyNetwork, cut, heal
from benchmarks.relay import Relay
from benchmarks.report import Report, quantile
from benchmarks.subjects import watching
from lab.data import flights_csv
from lab.errors import LabError
from lab.live.bridge import GUEST, missing
from lab.paths import ROOT, cache_dir

PORT = 9100
BUDGET = 5.0
LENGTHS = (0.05, 0.3, 0.6, 1.2, 1.8, 3.5)
DOUBT = 0.005  # seconds; signals and the cut take time themselves
P95_PROMISE_MS, WIDTH_PROMISE_MS = 50, 200
WAYS = ("direct", "proxied")
USUAL_TRIALS = 5


@dataclass(frozen=True)
class Settings:
    """What one process of trials does. ``way``: direct, or through a TCP proxy. ``lose``: the network is cut, too."""

    pid: int
    lengths: tuple[float, ...]
    lose: bool = True
    way: str = "direct"
    ca_path: str = ""


@dataclass(frozen=True)
class Trial:
    """One freeze and what was stated of it, in seconds."""

    length: float
    truth: float
    verdict: str
    seconds: float
    low: float
    high: float
    freeze_low: float
    freeze_high: float

    @property
    def contained(self) -> bool:
        """Whether both intervals contain the true length."""
        most = self.truth + DOUBT
        return self.low <= most and self.truth <= self.high and self.freeze_low <= most

    @property
    def error(self) -> float:
        """Estimated minus true length."""
        return self.seconds - self.truth


def run(report: Report, trials: int) -> None:
    """Freezes of every length, direct and through a proxy."""
    why_not = missing()
    if why_not:
        report.skipped("lossy_contained_percent", why_not)
        return
    with training() as guest:
        for way in WAYS:
            lengths = [length for length in LENGTHS for _trial in range(trials)]
            random.Random(way).shuffle(lengths)
            tell(report, way, list(trials_of(guest, Settings(guest.pid, tuple(lengths), way=way))))


def tell(report: Report, way: str, found: Sequence[Trial]) -> None:
    """The figures of one way to the guest."""
    for trial in found:
        report.trial("lossy_trial", trial.truth, "s", way=way, contained=trial.contained, **asdict(trial))
    keys = {"way": way, "trials": len(found)}
    contained = 100 * sum(trial.contained for trial in found) / len(found)
    report.figure("lossy_contained_percent", contained, "percent", promised=("==", 100), **keys)
    errors = quantile([1000 * abs(trial.error) for trial in found], 0.95)
    report.figure("lossy_p95_error_ms", errors, "ms", promised=("<=", P95_PROMISE_MS), **keys)
    widths = quantile([1000 * (trial.high - trial.low) for trial in found], 0.95)
    report.figure("lossy_width_p95_ms", widths, "ms", promised=("<=", WIDTH_PROMISE_MS), **keys)
    wrong = sum(trial.verdict != "uninterrupted" for trial in found)
    report.figure("lossy_wrong_verdicts", wrong, "verdicts", promised=("==", 0), **keys)


@dataclass(frozen=True)
class Guest:
    """A training in a namespace of its own."""

    pid: int
    network: LossyNetwork


# The guest's own program; with a certificate and its key, it answers over TLS.
OVER_TLS = """
import socket, ssl, sys
from lab.live.guest import training
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(*sys.argv[4:])
plain = socket.create_server
def secure(*place, **options):
    return context.wrap_socket(plain(*place, **options), server_side=True, do_handshake_on_connect=False)
socket.create_server = secure
del sys.argv[4:]
training.main()
"""


@contextmanager
def training(*tls: str) -> Iterator[Guest]:
    """The training of a light live guest, in a lossy network; ``tls`` are files with a certificate and its key.

    Raises LabError.
    """
    program = ["-c", OVER_TLS] if tls else ["-m", "lab.live.guest.training"]
    with LossyNetwork() as network:
        command = [sys.executable, *program, str(flights_csv(cache_dir())), str(PORT), os.devnull, *tls]
        process = subprocess.Popen(
            ["ip", "netns", "exec", network.guest, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "LIVE ready\n":
                raise LabError("the training in the lossy network does not start")
            yield Guest(process.pid, network)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def trials_of(guest: Guest, settings: Settings) -> Iterator[Trial]:
    """Trials as they end, in a process inside the controller's namespace. Raises LabError if it fails."""
    command = [sys.executable, "-m", "benchmarks.lossy", json.dumps(asdict(settings))]
    inside = [*guest.network.controller.prefix, *command]
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Trial(**json.loads(line))
    if process.returncode:
        raise LabError(f"the trials ended with code {process.returncode}")


def main(settings: Settings) -> None:
    """Freeze the training for each length, and print each trial as a line of JSON."""
    usual = {key: option.get("default") for key, option in SOURCE_OPTIONS.items()}
    with ExitStack() as stack:
        place = f"{GUEST}:{PORT}"
        if settings.way == "proxied":
            place = f"127.0.0.1:{stack.enter_context(Relay(GUEST, PORT)).port}"
        scheme = "https" if settings.ca_path else "http"
        chosen = {"url": f"{scheme}://{place}/metrics", "metric": "training_steps_total"}
        source = Prometheus({**usual, "provider": "prometheus", "ca_path": settings.ca_path or None, **chosen})
        (experiment,) = source.discover(Target("vm-1", "vm-1", GUEST)).found
        for length in settings.lengths:
            print(json.dumps(asdict(_trial(settings, source, experiment, length))), flush=True)


def _trial(settings: Settings, source: Prometheus, experiment: Experiment, length: float) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        sessions = [(experiment, source.session(experiment))]
        with watching(sessions, Path(folder), baseline=1.5, stall_budget=BUDGET, settle_timeout=20.0) as watch:
            watch.focus("vm-1")
            time.sleep(0.5 + random.uniform(0, 0.05))
            truth = _freeze(settings, length)
            time.sleep(0.3)
            watch.moved("vm-1")
            while not watch.settled("vm-1"):
                time.sleep(0.05)
            (judgement,) = watch.judge("vm-1")
    stall, freeze = judgement.longest_stall, judgement.longest_freeze
    if stall is None or freeze is None:
        raise LabError(f"no stall was measured: {judgement.detail}")
    return Trial(length, truth, str(judgement.verdict), stall.seconds, stall.low, stall.high, freeze.low, freeze.high)


def _freeze(settings: Settings, length: float) -> float:
    """Stop the training, with its network, for ``length`` seconds; return how long it was stopped."""
    if settings.lose:
        cut()
    os.kill(settings.pid, signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(length)
    if settings.lose:
        heal()
    ended = time.monotonic()
    os.kill(settings.pid, signal.SIGCONT)
    return ended - began


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(Settings(**{**given, "lengths": tuple(given["lengths"])}))
