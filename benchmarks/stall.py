# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How well stalls are measured: real servers are frozen for a known time while the collection's watch asks as often as during a move."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Sample, Stall
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import longest_stall

from benchmarks.report import Report, quantile
from benchmarks.servers import Fleet, Freeze, Node
from benchmarks.subjects import Subject, begin, samples_of, watching

ALGORITHMS = ("gbm", "deeplearning", "glm", "xgboost", "automl")
LENGTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)
SIDE_BY_SIDE = 2  # servers with one thread each on a machine with two cores
LEAD_SECONDS = 0.8  # watched before and after each freeze
QUIET_MINUTES = 60.0  # watched without a freeze, for 20 trials per length
USUAL_TRIALS = 20
P95_PROMISE_MS = 20
HEAP_MB = 6144  # with less memory, AutoML's models soon make the garbage collector stop the server for seconds
CLUSTER_LENGTHS = (0.5, 1.0, 2.0)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Trial:
    """One freeze and the stall that the watch measured, in seconds."""

    subject: str
    length: float
    truth: Freeze
    stall: Stall | None

    @property
    def error(self) -> float:
        """Estimated minus true length; the whole length if no stall was reported."""
        return (self.stall.seconds if self.stall else 0.0) - (self.truth.seconds + self.truth.doubt / 2)

    @property
    def contained(self) -> bool:
        """Whether the interval contains the true length, as far as that is known."""
        if self.stall is None:
            return False
        return self.stall.low <= self.truth.seconds + self.truth.doubt and self.truth.seconds <= self.stall.high

    @property
    def seen(self) -> bool:
        """Whether the freeze was detected: the estimate is more than half of its length."""
        return self.stall is not None and self.stall.seconds > self.truth.seconds / 2


def run(report: Report, trials: int) -> None:
    """All parts of the benchmark."""
    run_freezes(report, trials)
    run_quiet(report, trials)
    run_cluster(report, trials)


def run_freezes(report: Report, trials: int) -> None:
    """Freezes of every length and algorithm."""
    each = _side_by_side(lambda fleet, subject: _frozen_by_length(report, fleet, subject, trials))
    tell(report, [trial for found in each for trial in found])


def run_quiet(report: Report, trials: int) -> None:
    """Time without a freeze, in windows of one minute."""
    minutes = QUIET_MINUTES * trials / USUAL_TRIALS / len(ALGORITHMS)
    each = _side_by_side(lambda fleet, subject: undisturbed(report, fleet, subject, minutes))
    tell_quiet(report, [window for windows in each for window in windows])


def run_cluster(report: Report, trials: int) -> None:
    """Freezes of one node in a cluster."""
    with Fleet(2) as fleet:
        tell_cluster(report, list(_cluster(report, fleet, trials)))


def _side_by_side(measure: Callable[[Fleet, Subject], list[Found]]) -> list[list[Found]]:
    """The measurements of each algorithm, each on its own server."""

    def measured(algorithm: str) -> list[Found]:
        node = fleet.start(algorithm, heap_mb=HEAP_MB)
        try:
            fleet.import_flights(node.ready())
            begin(Subject(node, algorithm).h2o, algorithm)
            return measure(fleet, Subject(node, algorithm))
        finally:
            node.kill()

    with Fleet(len(ALGORITHMS)) as fleet, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(measured, ALGORITHMS))


def _frozen_by_length(report: Report, fleet: Fleet, subject: Subject, trials: int) -> list[Trial]:
    """All freezes of one algorithm, in random order."""
    lengths = [length for length in LENGTHS for _trial in range(trials)]
    random.Random(subject.algorithm).shuffle(lengths)
    return frozen(report, fleet, subject, lengths)


def frozen(report: Report, fleet: Fleet, subject: Subject, lengths: Sequence[float]) -> list[Trial]:
    """Freeze a server for each length in turn. Each stall is measured from the samples around it."""
    experiment, folder = subject.experiment(), fleet.folder(subject.vm)
    truths = []
    pause = random.Random(subject.vm)
    with watching([(experiment, subject.session(experiment))], folder, baseline=3.0) as watch:
        watch.focus(subject.vm)
        for number, length in enumerate(lengths, 1):
            time.sleep(LEAD_SECONDS + pause.uniform(0, 0.05))
            truths.append(subject.node.freeze(length))
            time.sleep(LEAD_SECONDS)
            if number % 20 == 0:
                report.say(f"{subject.vm}: {number} of {len(lengths)} freezes")
        watch.judge(subject.vm)
    samples = samples_of(folder, experiment)
    found = [
        Trial(subject.algorithm, length, truth, _stated(samples, truth, experiment))
        for length, truth in zip(lengths, truths, strict=True)
    ]
    for trial in found:
        stall = trial.stall
        report.trial(
            "stall_trial", trial.truth.seconds, "s", algorithm=trial.subject, length_s=trial.length,
            doubt_s=trial.truth.doubt, seconds=stall.seconds if stall else None, low=stall.low if stall else None,
            high=stall.high if stall else None, contained=trial.contained,
        )  # fmt: skip
    return found


def _stated(samples: Iterable[Sample], truth: Freeze, experiment: Experiment) -> Stall | None:
    """The stall in the samples from before a freeze until after it."""
    start, end = truth.asked - LEAD_SECONDS, truth.resumed + LEAD_SECONDS
    near = [s for s in samples if start <= s.received and s.sent <= end]
    finding = longest_stall(near, clock_progress=experiment.clock_progress)
    return finding.stall if finding is not None else None


def undisturbed(report: Report, fleet: Fleet, subject: Subject, minutes: float) -> list[tuple[float, bool]]:
    """(minutes, whether a stall was reported) for windows of one minute without a freeze."""
    windows = []
    left = minutes
    while left > 0:
        length = min(1.0, left)
        left -= length
        experiment, folder = subject.experiment(), fleet.folder(subject.vm)
        with watching([(experiment, subject.session(experiment))], folder, baseline=0.0) as watch:
            watch.focus(subject.vm)
            time.sleep(60 * length)
            (judgement,) = watch.judge(subject.vm)
        stall = judgement.longest_stall
        windows.append((length, stall is not None and stall.at is not None))
        report.trial("quiet_window", length, "min", algorithm=subject.algorithm, claimed=windows[-1][1],
                     high=stall.high if stall else None)  # fmt: skip
    report.say(f"{subject.vm}: {minutes:.1f} minutes without a freeze")
    return windows


def tell(report: Report, found: Sequence[Trial]) -> None:
    """The figures of freezes: for all, by length and by algorithm."""
    groups: list[tuple[dict[str, object], Callable[[Trial], bool]]] = [({}, lambda _trial: True)]
    groups += [({"length_s": length}, lambda t, length=length: t.length == length) for length in LENGTHS]
    groups += [({"algorithm": name}, lambda t, name=name: t.subject == name) for name in ALGORITHMS]
    for keys, belongs in groups:
        _errors(report, [trial for trial in found if belongs(trial)], keys)
    contained = 100 * sum(trial.contained for trial in found) / len(found)
    report.figure("stall_contained_percent", contained, "percent", promised=("==", 100))
    report.figure("stall_trials", len(found), "freezes")
    report.figure("stall_unseen", sum(not trial.seen for trial in found), "freezes", promised=("==", 0))
    doubt = quantile([1000 * trial.truth.doubt for trial in found], 0.95)
    report.figure("stall_truth_doubt_p95_ms", doubt, "ms")


def tell_quiet(report: Report, quiet: Sequence[tuple[float, bool]]) -> None:
    """The figures of the time without a freeze."""
    report.figure("stall_false_minutes", round(sum(minutes for minutes, _claimed in quiet), 3), "min")
    report.figure("stall_false_claims", sum(claimed for _m, claimed in quiet), "claims", promised=("==", 0))


def _errors(report: Report, trials: Sequence[Trial], keys: dict[str, object]) -> None:
    errors = [1000 * trial.error for trial in trials]
    p95 = quantile([abs(error) for error in errors], 0.95)
    promised = ("<=", P95_PROMISE_MS) if "algorithm" not in keys else None
    report.figure("stall_p95_error_ms", _rounded(p95), "ms", promised=promised, **keys, trials=len(trials))
    report.figure("stall_median_error_ms", _rounded(quantile(errors, 0.5)), "ms", **keys)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _cluster(report: Report, fleet: Fleet, trials: int) -> Iterable[Trial]:
    """Freezes of one node in a cluster of two. Only a watch of each node detects them all."""
    nodes = fleet.start_cluster(["cluster-1", "cluster-2"])
    h2o = nodes[0].ready()
    nodes[1].ready()
    _await_size(nodes[0], 2)
    fleet.import_flights(h2o)
    begin(h2o, "gbm")
    subjects = [Subject(node, "gbm") for node in nodes]
    experiments = [subject.experiment() for subject in subjects]
    folder = fleet.folder("cluster")
    truths: list[tuple[int, float, Freeze]] = []
    sessions = [(e, s.session(e)) for e, s in zip(experiments, subjects, strict=True)]
    with watching(sessions, folder, baseline=3.0) as watch:
        for subject in subjects:
            watch.focus(subject.vm)
        for length in CLUSTER_LENGTHS:
            for number in range(2 * max(1, trials // 2)):
                time.sleep(LEAD_SECONDS)
                which = number % 2
                truths.append((which, length, nodes[which].freeze(length)))
                time.sleep(LEAD_SECONDS)
        watch.judge(subjects[0].vm)
    report.say(f"cluster of two: {len(truths)} freezes")
    for which, length, truth in truths:
        samples = samples_of(folder, experiments[which])
        yield Trial(f"node {which + 1}", length, truth, _stated(samples, truth, experiments[which]))


def _await_size(node: Node, size: int) -> None:
    """Wait until the cluster has formed. It must not be locked earlier."""
    end = time.monotonic() + 60
    from lab.h2o import H2O  # noqa: PLC0415 - only clusters need it

    while H2O(node.server.url).get("/3/Cloud")["cloud_size"] < size:
        if time.monotonic() > end:
            raise TimeoutError("the cluster does not form")
        time.sleep(0.2)


def tell_cluster(report: Report, found: Sequence[Trial]) -> None:
    """The figures of the cluster."""
    errors = [1000 * abs(trial.error) for trial in found]
    keys = {"nodes": 2, "trials": len(found)}
    report.figure("stall_cluster_p95_error_ms", _rounded(quantile(errors, 0.95)), "ms", **keys)
    contained = 100 * sum(trial.contained for trial in found) / len(found)
    report.figure("stall_cluster_contained_percent", contained, "percent", promised=("==", 100), **keys)
    unseen = sum(not trial.seen for trial in found)
    report.figure("stall_cluster_unseen", unseen, "freezes", promised=("==", 0), **keys)
