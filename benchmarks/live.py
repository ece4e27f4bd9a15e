# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How well stalls are measured when a real hypervisor moves a real VM.

The truth is an interval: from the *freeze* (the hypervisor's events STOP and RESUME) to the *beats* (the longest time in
which the training inside wrote nothing to its serial line, which is not a network). What is stated of the VM itself, its
freeze, has an exact truth. The moves of one network run in a
process of their own, which for the bridge is inside a network namespace: ``python -m benchmarks.live SETTINGS``.

The same moves are also measured by one patient question, see :mod:`.patient`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.live_moves import RealVm, topology_of
from benchmarks.patient import Patient, stated
from benchmarks.report import Report, quantile
from benchmarks.subjects import BUDGET
from lab.control import Control
from lab.errors import LabError
from lab.lifecycle import down, supplied, up
from lab.live.bridge import TAPS, Bridge, missing
from lab.live.machine import NETWORKS
from lab.paths import ROOT, cache_dir
from lab.toolchain import simulator_binary
from lab.topology import parse

GUESTS = ("light", "h2o")
DIRTY_MB_S = {"light": (0, 30), "h2o": (0, 30)}
HOLDS = (0.05, 0.2, 0.4, 0.8, 1.5, 2.5, 3.2, 4.0)
USUAL_MOVES = len(HOLDS)  # for each network, guest and load
QUESTIONS = {"light": ("GET", 9100, "/metrics"), "h2o": ("OPTIONS", 54321, "/")}  # of the patient one
P95_PROMISE_MS, WIDTH_PROMISE_MS = 50, 200


@dataclass(frozen=True)
class Setting:
    """The moves of one lab."""

    network: str
    guest: str
    dirty_mb_s: int
    holds: tuple[float, ...]

    def topology(self) -> dict[str, Any]:
        """The lab's topology."""
        return topology_of(run=self.guest, network=self.network, dirty_mb_s=self.dirty_mb_s)


@dataclass(frozen=True)
class Trial:
    """One move: its truth, what was stated of it, and what one patient question would have stated, in seconds.

    ``load``: the machine's load average at the end of the move.
    """

    network: str
    guest: str
    dirty_mb_s: int
    hold: float
    freeze: float
    beats: float
    passes: int
    transferred_mb: float
    verdict: str
    seconds: float
    low: float
    high: float
    freeze_low: float
    freeze_high: float
    patient_seconds: float
    patient_low: float
    patient_high: float
    load: float

    @property
    def contained(self) -> bool:
        """Whether the stated interval contains the truth."""
        return self.low <= self.beats and self.freeze <= self.high

    @property
    def freeze_contained(self) -> bool:
        """Whether the interval that is stated of the VM's freeze contains it."""
        return self.freeze_low <= self.freeze <= self.freeze_high

    @property
    def patient_contained(self) -> bool:
        """The same for the patient question."""
        return self.patient_low <= self.beats and self.freeze <= self.patient_high

    @property
    def error(self) -> float:
        """Distance of the estimate from the truth."""
        return self._distance(self.seconds)

    @property
    def patient_error(self) -> float:
        """The same for the patient question."""
        return self._distance(self.patient_seconds)

    def _distance(self, seconds: float) -> float:
        return max(0.0, self.freeze - seconds, seconds - self.beats)

    @property
    def right(self) -> tuple[str, ...]:
        """The verdicts that are true."""
        if self.beats <= BUDGET:
            return ("uninterrupted",)
        return ("stalled", "unknown") if self.freeze > BUDGET else ("uninterrupted", "stalled", "unknown")


def run(report: Report, trials: int) -> None:
    """Moves on both networks."""
    found: list[Trial] = []
    for network in NETWORKS:
        why_not = missing(taps=True) if network == "bridge" else ""
        if why_not:
            report.say(f"THE BRIDGE WAS NOT MEASURED: {why_not}")
            report.skipped("live_moves", why_not, network=network)
            continue
        with tempfile.TemporaryDirectory(prefix="liveml-bench-") as folder:
            settings = settings_of(network, trials)
            for setting in settings:
                prepare(setting, Path(folder))
            for trial in trials_of(network, settings):
                report.say(line_of(trial))
                found.append(trial)
    tell(report, found)


def settings_of(network: str, trials: int) -> list[Setting]:
    """Every guest, idle and with a program that writes to memory."""
    settings = []
    for guest in GUESTS:
        for dirty in DIRTY_MB_S[guest]:
            holds = [HOLDS[number % len(HOLDS)] for number in range(trials)]
            random.Random(f"{network} {guest} {dirty}").shuffle(holds)
            settings.append(Setting(network, guest, dirty, tuple(holds)))
    return settings


def prepare(setting: Setting, folder: Path) -> None:
    """Make what the lab starts from: nothing can be downloaded in a namespace. Raises LabError."""
    cache = cache_dir()
    simulator_binary(cache, folder)
    supplied(parse(setting.topology()), cache, folder)


def trials_of(network: str, settings: Sequence[Setting]) -> Iterator[Trial]:
    """Trials as they end, in a process of its own. Raises LabError if it fails."""
    command = [sys.executable, "-m", "benchmarks.live", json.dumps([asdict(setting) for setting in settings])]
    with (
        reached(network) as prefix,
        subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield Trial(**json.loads(line))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise LabError(f"the moves on the {network} ended with code {process.returncode}")


@contextmanager
def reached(network: str) -> Iterator[tuple[str, ...]]:
    """What to write before a command that asks VMs of this network."""
    if network != "bridge":
        yield ()
        return
    with Bridge(TAPS) as bridge:
        yield bridge.prefix


def main(settings: Sequence[Setting]) -> None:
    """Move the VM of each setting's lab, and print each trial as a line of JSON."""
    for setting in settings:
        with tempfile.TemporaryDirectory(prefix="liveml-bench-") as folder:
            state, topology = Path(folder) / "lab", Path(folder) / "topology.yml"
            topology.write_text(json.dumps(setting.topology()))
            try:
                control = Control(up(state, {"topology": str(topology)})["control"])
                vm = RealVm(control, Path(folder), setting.guest)
                for number, hold in enumerate(setting.holds):
                    print(json.dumps(asdict(trial(vm, setting, hold, f"move-{number}"))), flush=True)
            finally:
                down(state)


def trial(vm: RealVm, setting: Setting, hold: float, name: str) -> Trial:
    """One move. Raises LabError if nothing was measured."""
    method, port, path = QUESTIONS[setting.guest]
    with Patient(f"http://{vm.address}:{port}{path}", method) as patient:
        watched = vm.judged(hold, name)
    judgement, truth = watched.judgement, watched.truth
    stall, freeze = judgement.longest_stall, judgement.longest_freeze
    other = stated(patient.answers, watched.since)
    if stall is None or freeze is None or other is None:
        raise LabError(f"no stall was measured: {judgement.detail}")
    return Trial(
        setting.network,
        setting.guest,
        setting.dirty_mb_s,
        hold,
        truth.freeze,
        truth.longest,
        truth.passes,
        round(truth.transferred_mb, 1),
        str(judgement.verdict),
        *(round(value, 4) for value in (stall.seconds, stall.low, stall.high, freeze.low, freeze.high)),
        *(round(value, 4) for value in (other.seconds, other.low, other.high)),
        round(os.getloadavg()[0], 1),
    )


def line_of(trial: Trial) -> str:
    """A trial for people."""
    held = "contained" if trial.contained else "NOT CONTAINED"
    freeze = "contained" if trial.freeze_contained else "NOT CONTAINED"
    return (
        f"{trial.network}, {trial.guest}, {trial.dirty_mb_s} MB/s: freeze {trial.freeze:.3f}, beats {trial.beats:.3f},"
        f" stated {trial.seconds:.3f} [{trial.low:.3f}, {trial.high:.3f}] {held}, {trial.verdict};"
        f" of the VM [{trial.freeze_low:.3f}, {trial.freeze_high:.3f}] {freeze}; patient"
        f" {trial.patient_seconds:.3f} [{trial.patient_low:.3f}, {trial.patient_high:.3f}]; load {trial.load}"
    )


def tell(report: Report, found: Sequence[Trial]) -> None:
    """The figures of all moves, by guest and by network."""
    for trial in found:
        report.trial("live_trial", trial.freeze, "s", contained=trial.contained, **asdict(trial))
    report.figure("live_processors", os.cpu_count(), "processors")
    groups: list[tuple[dict[str, object], Callable[[Trial], bool]]] = [({}, lambda _trial: True)]
    groups += [({"guest": name}, lambda t, name=name: t.guest == name) for name in GUESTS]
    groups += [({"network": name}, lambda t, name=name: t.network == name) for name in NETWORKS]
    groups += [({"dirty": dirty}, lambda t, dirty=dirty: (t.dirty_mb_s > 0) == dirty) for dirty in (False, True)]
    for keys, belongs in groups:
        group = [trial for trial in found if belongs(trial)]
        if group:
            figures(report, group, keys)


def figures(report: Report, group: Sequence[Trial], keys: dict[str, object]) -> None:
    """The figures of a group of moves."""

    def percent(held: Callable[[Trial], bool]) -> float:
        return 100 * sum(map(held, group)) / len(group)

    def p95(seconds: Callable[[Trial], float]) -> float | None:
        return quantile([round(1000 * seconds(trial), 1) for trial in group], 0.95)

    def count(met: Callable[[Trial], bool]) -> int:
        return sum(map(met, group))

    report.figure("live_moves", len(group), "moves", **keys)
    report.figure("live_contained_percent", percent(lambda t: t.contained), "percent", promised=("==", 100), **keys)
    report.figure("live_p95_error_ms", p95(lambda t: t.error), "ms", promised=("<=", P95_PROMISE_MS), **keys)
    report.figure("live_width_p95_ms", p95(lambda t: t.high - t.low), "ms", promised=("<=", WIDTH_PROMISE_MS), **keys)
    report.figure("live_truth_width_p95_ms", p95(lambda t: t.beats - t.freeze), "ms", **keys)
    held = percent(lambda t: t.freeze_contained)
    report.figure("live_freeze_contained_percent", held, "percent", promised=("==", 100), **keys)
    width = p95(lambda t: t.freeze_high - t.freeze_low)
    report.figure("live_freeze_width_p95_ms", width, "ms", promised=("<=", WIDTH_PROMISE_MS), **keys)
    unknown = count(lambda t: t.verdict == "unknown" and t.beats <= BUDGET)
    report.figure("live_unknown_below_budget", unknown, "moves", promised=("==", 0), **keys)
    wrong = count(lambda t: t.verdict not in t.right)
    report.figure("live_wrong_verdicts", wrong, "verdicts", promised=("==", 0), **keys)
    report.figure("live_patient_contained_percent", percent(lambda t: t.patient_contained), "percent", **keys)
    report.figure("live_patient_p95_error_ms", p95(lambda t: t.patient_error), "ms", **keys)
    report.figure("live_load", quantile([trial.load for trial in group], 0.5), "processes", **keys)


def settings_in(text: str) -> list[Setting]:
    """The settings of a command line."""
    return [Setting(**{**given, "holds": tuple(given["holds"])}) for given in json.loads(text)]


if __name__ == "__main__":
    main(settings_in(sys.argv[1]))
