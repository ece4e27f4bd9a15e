# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much a training slows down while it is asked: the same training with and without a watch in turn.

The server trains and answers on one processor, as in a guest that trains on all of its processors. The watch runs on
the other processors, as on a separate controller. A guest with more processors is asked at most this often per processor.

At the first questions a server compiles the code that answers; a separate figure reports this.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from statistics import mean, stdev

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_sessions import JobSession
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import (
    CALM_HZ,
    FOCUS_HZ,
    max_sampling_hz,
)

from benchmarks.report import Report
from benchmarks.servers import Fleet
from benchmarks.subjects import ENDLESS, Subject, begin, watching
from lab.processes import PROC

WINDOW_SECONDS = 6.0
USUAL_BLOCKS = 20
MAX_EFFECT_PERCENT = 1
TREES = {"max_depth": 2}  # small trees, so that a window contains many
PROCESSORS = 1
RATES = (
    min(FOCUS_HZ, max_sampling_hz(JobSession.max_hz_per_processor, PROCESSORS, 1)),
    CALM_HZ,
)  # Hz: while the VM moves, and otherwise
SETTLE_SECONDS = 0.5  # time of a watch before its window
FIRST_QUESTIONS = 8000  # during these the server compiles the code that answers
STEADY_SECONDS = 30.0  # during these the server compiles the code that trains
COMPILED_SECONDS = 5.0  # compilers work in parallel and end later
TRAINING_THREADS = "FJ"  # H2O-3's fork-join pools


def run(report: Report, blocks: int) -> None:
    """Blocks of four windows, without-with-with-without, so that a drift of the training's pace cancels out."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        report.skipped(
            "probing_effect_percent", "a machine with one processor cannot separate the watch from the server"
        )
        return
    with Fleet(1) as fleet:
        with _only({processors[0]}):
            node = fleet.start("probed")
        with _only(set(processors[1:])):
            fleet.import_flights(node.ready())
            subject = Subject(node, "gbm")
            begin(subject.h2o, "gbm", **TREES)
            time.sleep(STEADY_SECONDS)
            first, later = _asked(subject), _asked(subject)
            report.figure("probing_once_seconds", round(first - later, 2), "s", questions=FIRST_QUESTIONS)
            for rate in RATES:
                tell(report, rate, [_block(report, fleet, subject, rate) for _number in range(blocks)])


@contextmanager
def _only(processors: set[int]) -> Iterator[None]:
    """Restrict this thread and its children to these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _asked(subject: Subject) -> float:
    """Processor seconds that the server spent outside its training while it was asked ``FIRST_QUESTIONS``."""
    before = _beside_training(subject.node.process.pid)
    session = subject.session(subject.experiment())
    assert isinstance(session, JobSession)
    for _number in range(FIRST_QUESTIONS // 2):
        session.ask()
        session.sample()  # the liveness check
    session.close()
    time.sleep(COMPILED_SECONDS)
    return _beside_training(subject.node.process.pid) - before


def _beside_training(pid: int) -> float:
    """Processor seconds of a server's threads, except those that train."""
    spent = 0
    for task in (PROC / str(pid) / "task").iterdir():
        with suppress(OSError):  # the thread has ended
            if not (task / "comm").read_text().startswith(TRAINING_THREADS):
                spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def _block(report: Report, fleet: Fleet, subject: Subject, rate: float) -> float:
    """How much slower the training was while it was asked, as a share."""
    paces = [_pace(fleet, subject, rate if asked else 0) for asked in (False, True, True, False)]
    slower = 1 - (paces[1] * paces[2]) ** 0.5 / (paces[0] * paces[3]) ** 0.5
    report.trial("probing_block", round(100 * slower, 3), "percent", hz=rate)
    return slower


def _pace(fleet: Fleet, subject: Subject, rate: float) -> float:
    """Trees per second of one window; a rate of 0 asks only at its ends."""
    experiment = replace(subject.experiment(), processors=PROCESSORS)
    watch = watching([(experiment, subject.session(experiment))], fleet.folder("probed"), baseline=0.0)
    with watch if rate else nullcontext() as watched:
        if watched is not None and rate > CALM_HZ:
            watched.focus(subject.vm)
        time.sleep(SETTLE_SECONDS)
        began, trees = _next_tree(subject, experiment.id)
        time.sleep(WINDOW_SECONDS)
        ended, later = _next_tree(subject, experiment.id)
    return (later - trees) / (ended - began)


def _next_tree(subject: Subject, job: str) -> tuple[float, float]:
    """The time at which the next tree is done, and the number of trees. A window ends only at such a time."""
    h2o, total = subject.h2o, ENDLESS["gbm"]["ntrees"]
    first = h2o.get(f"/3/Jobs/{job}")["jobs"][0]["progress"]
    while True:
        now, progress = time.monotonic(), h2o.get(f"/3/Jobs/{job}")["jobs"][0]["progress"]
        if progress != first:
            return now, progress * total
        time.sleep(0.002)


def tell(report: Report, rate: float, slower: Sequence[float]) -> None:
    """The mean of all blocks with its 95 % confidence interval."""
    effect = mean(slower)
    doubt = 1.96 * stdev(slower) / math.sqrt(len(slower)) if len(slower) > 1 else math.inf
    bounds = (
        {} if math.isinf(doubt) else {"low": round(100 * (effect - doubt), 3), "high": round(100 * (effect + doubt), 3)}
    )
    report.figure(
        "probing_effect_percent", round(100 * effect, 3), "percent", promised=("<=", MAX_EFFECT_PERCENT),
        hz=rate, blocks=len(slower), **bounds,
    )  # fmt: skip
