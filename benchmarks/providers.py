# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How well stalls are measured from the records of MLflow, TensorBoard, exporters, Prometheus and step logs."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Judgement, Verdict

from benchmarks.frameworks import World, judged, missing, running
from benchmarks.report import Report, quantile
from benchmarks.servers import Freeze
from lab.errors import LabError
from scripts.bootstrap import prometheus

USUAL_TRIALS = 10
BUDGET = 30.0
# Shortest and longest freeze of a source, in seconds. The shortest is about the source's resolution.
LENGTHS = {
    "exporter": (0.5, 3.0),
    "exec": (0.5, 3.0),
    "mlflow": (0.5, 3.0),
    "tensorboard": (4.0, 12.0),
    "prometheus": (4.0, 12.0),
}


@dataclass(frozen=True)
class Trial:
    """One freeze and its judgement."""

    truth: Freeze
    judgement: Judgement

    @property
    def error(self) -> float:
        """Estimated minus true length in seconds; the whole length if no stall was reported."""
        stall = self.judgement.longest_stall
        return (stall.seconds if stall else 0.0) - (self.truth.seconds + self.truth.doubt / 2)

    @property
    def contained(self) -> bool:
        """Whether the interval contains the true length, as far as that is known."""
        stall = self.judgement.longest_stall
        return (
            stall is not None
            and stall.low <= self.truth.seconds + self.truth.doubt
            and self.truth.seconds <= stall.high
        )


def run(report: Report, trials: int) -> None:
    """Freezes of a training, seen by each source in turn. Raises LabError without the frameworks."""
    if lacking := missing():
        raise LabError(f"{', '.join(lacking)} is not installed; run make setup-frameworks")
    with running() as world:
        for name in LENGTHS:
            if name == "prometheus" and prometheus() is None:
                report.skipped("provider_stall", "no Prometheus server on this machine", source=name)
                continue
            tell(report, name, [_trial(report, world, name, number) for number in range(trials)])
            report.say(f"{name}: {trials} freezes")


def _trial(report: Report, world: World, name: str, number: int) -> Trial:
    """A freeze of random length, watched like a move."""
    length = random.Random(f"{name} {number}").uniform(*LENGTHS[name])
    with tempfile.TemporaryDirectory(prefix="liveml-bench-") as folder:
        _experiment, watch = world.watched(name, Path(folder), stall_budget=BUDGET)
        judgement, truth = judged(watch, lambda: world.freeze(length))
    stall = judgement.longest_stall
    trial = Trial(truth, judgement)
    report.trial(
        "provider_stall_trial", truth.seconds, "s", source=name, doubt_s=truth.doubt, contained=trial.contained,
        seconds=stall.seconds if stall else None, low=stall.low if stall else None, high=stall.high if stall else None,
        resolution=judgement.resolution, verdict=judgement.verdict.value, detail=judgement.detail,
    )  # fmt: skip
    return trial


def tell(report: Report, name: str, found: list[Trial]) -> None:
    """The figures of a source."""
    errors = [1000 * trial.error for trial in found]
    resolutions = [1000 * t.judgement.resolution for t in found if t.judgement.resolution is not None]
    contained = 100 * sum(trial.contained for trial in found) / len(found)
    alarms = sum(trial.judgement.verdict is not Verdict.UNINTERRUPTED for trial in found)
    report.figure("provider_stall_trials", len(found), "freezes", source=name)
    report.figure("provider_resolution_ms", _whole(quantile(resolutions, 0.5)), "ms", source=name)
    report.figure("provider_stall_median_error_ms", _whole(quantile(errors, 0.5)), "ms", source=name)
    report.figure("provider_stall_p95_error_ms", _whole(quantile(list(map(abs, errors)), 0.95)), "ms", source=name)
    report.figure("provider_stall_contained_percent", contained, "percent", promised=("==", 100), source=name)
    report.figure("provider_stall_alarms", alarms, "verdicts", promised=("==", 0), source=name)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
