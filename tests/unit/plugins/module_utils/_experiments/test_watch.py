# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch, also in a separate process that is itself stopped: that is not a stall of the experiment."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.clock import Clock
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments import samples
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments import watch as watch_module
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    BETWEEN,
    Capabilities,
    Experiment,
    Sample,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.pauses import RunDelay
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import (
    SampleLog,
    read_samples,
    unwatched_windows,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import STANDS_OUT, longest_stall
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import (
    COARSE_SETTLE_SECONDS,
    MAX_HZ_PER_VM,
    MIN_HZ,
    MIN_SETTLE_SECONDS,
    Watch,
    least_settle,
    max_sampling_hz,
    off_beat,
)

from tests.measuring import PATIENCE, Measured, until

STOPPED_SECONDS = 1.0
# A server that takes 150 ms for an answer, so that a question is in flight most of the time.
WATCHER = """
import pathlib, sys, time
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import Watch

class Slow:
    max_hz = 20.0
    max_hz_per_processor = 15.0
    steps = 0
    def sample(self):
        sent = time.monotonic()
        time.sleep(0.15)
        self.steps += 1
        return Sample(sent, time.monotonic(), "answered", "1", "RUNNING", 0.1, "", float(self.steps))
    def interrupt(self): pass
    def close(self): pass

experiment = Experiment("vm-1", "ML-1", "h2o3", "job", "1", "http://x")
folder = pathlib.Path(sys.argv[1])
options = dict(stall_budget=5.0, settle_timeout=1.0, baseline=1.0, listener=lambda *a, **k: None)
with Watch([(experiment, Slow())], folder, **options) as watch:
    watch.focus("vm-1")
    watch.baseline()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_stopped_watcher_claims_no_stall(tmp_path: Path, measured: Measured) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "ready\n"
    watcher.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    watcher.send_signal(signal.SIGCONT)
    time.sleep(1.0)
    watcher.communicate("\n", timeout=PATIENCE)
    samples = [sample for _session, sample in read_samples(tmp_path / "samples.jsonl")["vm-1", "job"]]
    slowest = max(samples, key=lambda s: s.received - s.sent)
    between = max(after.sent - before.received for before, after in itertools.pairwise(samples))
    assert max(slowest.received - slowest.sent, between) >= STOPPED_SECONDS
    if between < STOPPED_SECONDS:  # else no question was in flight at the stop
        assert slowest.late > STOPPED_SECONDS - 0.3
    finding = longest_stall(samples)
    assert finding is not None
    with measured():
        assert (finding.stall.at, finding.stall.low) == (None, 0)
    assert finding.stall.high >= STOPPED_SECONDS, "the experiment may have stood still meanwhile"


def test_a_second_watch_shows_what_was_not_watched_between_them(tmp_path: Path) -> None:
    """Also with the same process number, as in containers."""
    for begin in (0.0, 100.0):
        log = SampleLog(tmp_path / "samples.jsonl")
        for second in range(3):
            log.add(("vm-1", "job"), Sample(begin + second, begin + second, "answered", "1"))
        log.close()
    assert unwatched_windows(read_samples(tmp_path / "samples.jsonl")["vm-1", "job"]) == [(2.0, 100.0)]


@pytest.mark.parametrize("ended", [9.0, 1e7], ids=["a lower clock", "a higher clock"])
def test_a_run_that_is_resumed_on_another_machine_was_not_watched_for_hours(tmp_path: Path, ended: float) -> None:
    """By the time of day it was a minute, whatever the monotonic clocks of the machines show."""
    log = SampleLog(tmp_path / "samples.jsonl", Clock("another machine", time.time() - 60 - ended))
    for second in range(3):
        log.add(
            ("vm-1", "job"), Sample(ended + second - 2, ended + second - 2, "answered", "1", "RUNNING", step=second)
        )
    log.close()
    with watched(tmp_path, Answers()) as watch:
        watch.focus("vm-1")
        watch.baseline()
        (judgement,) = watch.judge("vm-1")
    assert judgement.unwatched_seconds == pytest.approx(60, abs=30)
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.high < 30


def test_a_controller_that_was_suspended_during_a_move_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody closes a laptop for ten minutes. Its monotonic clock and its samples show no gap."""
    slept = [0.0]
    for module in (samples, watch_module):
        monkeypatch.setattr(module, "asleep", lambda: slept[0])
    with watched(tmp_path, Answers()) as watch:
        watch.baseline()
        watch.focus("vm-1")
        time.sleep(0.5)
        (before,) = watch.judge("vm-1")
        slept[0] = 600.0
        time.sleep(0.5)
        watch.moved("vm-1")
        until(lambda: watch.settled("vm-1"))
        (judgement,) = watch.judge("vm-1")
    assert before.verdict is Verdict.UNINTERRUPTED
    assert (judgement.verdict, judgement.stall) == (Verdict.UNKNOWN, "unknown")
    assert "part of the move was not watched" in judgement.detail
    assert judgement.unwatched_seconds == pytest.approx(600, abs=5)


def test_a_late_watcher_lowers_what_is_claimed() -> None:
    calm = [Sample(0.05 * n, 0.05 * n + 0.003, "answered", "1", "RUNNING", step=float(n)) for n in range(100)]
    gone = [Sample(t + 6, t + 6.003, "answered", "1", "RUNNING", step=100 + t) for t in range(3)]

    def claimed(late: float) -> tuple[float, float]:
        finding = longest_stall([*calm, Sample(5.0, 6.0, "answered", "1", "RUNNING", step=99.0, late=late), *gone])
        assert finding is not None
        return finding.stall.low, finding.stall.high

    low, high = claimed(0.0)
    assert low > 0.8
    assert claimed(0.4) == (pytest.approx(low - 0.4), high)
    assert claimed(1.0 - STANDS_OUT) == (0.0, high)


def test_a_thread_that_never_waited_for_a_processor_was_not_late(measured: Measured) -> None:
    delay = RunDelay()
    before = delay.seconds()
    after = delay.seconds()
    assert before <= after
    with measured():
        assert after - before < 0.1
    delay.close()
    assert delay.seconds() == 0


class Answers:
    """A session with the given outcomes; "disk full" ends the thread of its watch."""

    max_hz = 20.0
    max_hz_per_processor = 15.0

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = list(outcomes)
        self.step: float | None = None  # set while the training stands still

    def sample(self) -> Sample:
        outcome = self.outcomes.pop(0) if self.outcomes else "answered"
        if outcome == "disk full":
            raise OSError(outcome)
        now = time.monotonic()
        if outcome == "carried":
            return Sample(now, now, "answered", "1", "RUNNING", step=0.0, asked=now - 0.2)
        if outcome == "late":
            self.step = now
            return Sample(now - 0.5, now, "answered", "1", "RUNNING", step=now)
        return Sample(now, now, outcome, "1", "RUNNING", step=now if self.step is None else self.step)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


EXPERIMENT = Experiment("vm-1", "ML-1", "h2o3", "job", "1", "http://x")


def watched(
    folder: Path,
    session: Answers,
    settle_timeout: float = 1,
    *,
    whole: bool = False,
    experiment: Experiment = EXPERIMENT,
) -> Watch:
    return Watch(
        [(experiment, session)],
        folder,
        stall_budget=2.0,
        settle_timeout=settle_timeout,
        baseline=1,
        listener=print,
        whole=whole,
    )


@pytest.mark.parametrize("whole", [False, True])
def test_a_witness_counts_a_stall_from_before_it_saw_the_move(tmp_path: Path, whole: bool) -> None:
    session = Answers()
    with watched(tmp_path, session, whole=whole) as watch:
        watch.baseline()
        session.outcomes.append("late")
        until(lambda: not session.outcomes)
        session.step = None
        time.sleep(0.5)
        watch.focus("vm-1")
        time.sleep(0.5)
        watch.moved("vm-1")
        (judgement,) = watch.judge("vm-1")
        (seen,) = watch.seen()
    assert (seen.outcome, seen.watched, seen.at_most is not None and seen.at_most >= 0.5) == ("answered", True, True)
    assert judgement.longest_stall is not None
    assert (judgement.longest_stall.high >= 0.5) is whole


@pytest.mark.parametrize(("processors", "most"), [(0, 25), (4, 25), (1, 10)])
def test_a_vm_is_asked_as_often_as_its_processors_bear(
    tmp_path: Path, measured: Measured, processors: int, most: int
) -> None:
    experiments = [
        Experiment("vm-1", "ML-1", "h2o3", name, "1", "http://x", processors=processors) for name in ("one", "other")
    ]
    sessions = [(experiment, Answers()) for experiment in experiments]
    with Watch(sessions, tmp_path, stall_budget=2.0, settle_timeout=1, baseline=0.0, listener=print) as watch:
        began = time.monotonic()
        watch.focus("vm-1")
        time.sleep(1.0)
        asked = sum(j.samples for j in watch.judge("vm-1")) / 2
        seconds = time.monotonic() - began
    assert asked < most * seconds
    with measured():
        assert asked > most / 3


def test_a_provider_outside_the_vm_costs_the_vm_nothing(tmp_path: Path, measured: Measured) -> None:
    here, elsewhere = (
        Experiment("vm-1", "ML-1", "h2o3", str(processors), "1", "http://x", processors=processors)
        for processors in (1, 0)
    )
    sessions = [(here, Answers()), (elsewhere, Answers())]
    with Watch(sessions, tmp_path, stall_budget=2.0, settle_timeout=1, baseline=0.0, listener=print) as watch:
        began = time.monotonic()
        watch.focus("vm-1")
        time.sleep(1.0)
        asked = {j.experiment.processors: j.samples for j in watch.judge("vm-1")}
        seconds = time.monotonic() - began
    assert asked[1] < 16 * seconds
    with measured():
        assert asked[1] >= 8
        assert asked[0] > 15


def test_many_experiments_of_a_vm_are_asked_all_the_same() -> None:
    assert max_sampling_hz(15.0, 1, 64) == MIN_HZ


def test_nothing_moves_before_each_experiment_was_heard(tmp_path: Path) -> None:
    class Slow(Answers):
        def sample(self) -> Sample:
            time.sleep(0.4)
            return super().sample()

    experiments = [Experiment("vm-1", "ML-1", "h2o3", name, "1", "http://x") for name in ("one", "other")]
    sessions = zip(experiments, (Answers(), Slow("silent")), strict=True)
    before = time.monotonic()
    with Watch(sessions, tmp_path, stall_budget=2.0, settle_timeout=1, baseline=0.1, listener=print) as watch:
        watch.baseline()
        assert time.monotonic() - before >= 0.8
        judged = {j.experiment.id: j.samples for j in watch.judge("vm-1")}
    assert judged["other"] >= 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_that_ended_by_itself_proves_nothing(tmp_path: Path) -> None:
    with watched(tmp_path, Answers("answered", "answered", "answered", "disk full")) as watch:
        watch.baseline()
        (judgement,) = watch.judge("vm-1")
    assert (judgement.verdict, judgement.identity) == (Verdict.UNKNOWN, "unknown")


def test_one_reset_connection_does_not_mean_that_the_server_is_gone(tmp_path: Path) -> None:
    session = Answers()
    with watched(tmp_path, session) as watch:
        watch.focus("vm-1")
        watch.baseline()
        session.outcomes.append("refused")
        while session.outcomes:
            time.sleep(0.001)
        (judgement,) = watch.judge("vm-1")
        assert judgement.verdict is Verdict.UNINTERRUPTED
        session.outcomes += ["refused"] * 1000
        while len(session.outcomes) == 1000:
            time.sleep(0.001)
        (judgement,) = watch.judge("vm-1")
        assert judgement.verdict is Verdict.LOST


def test_what_was_asked_for_before_the_moves_end_settles_nothing(tmp_path: Path) -> None:
    session = Answers()
    with watched(tmp_path, session, settle_timeout=30) as watch:
        watch.focus("vm-1")
        watch.baseline()
        session.step = 1.0
        session.outcomes.append("carried")
        watch.moved("vm-1")
        time.sleep(1.3)
        until(lambda: not session.outcomes)
        assert not watch.settled("vm-1")


def test_a_move_is_settled_once_progress_was_seen_after_the_last_silence(tmp_path: Path) -> None:
    session = Answers()
    with watched(tmp_path, session, settle_timeout=30) as watch:
        watch.focus("vm-1")
        watch.baseline()
        watch.moved("vm-1")
        time.sleep(1.2)
        session.outcomes.append("late")
        until(lambda: not session.outcomes)
        time.sleep(0.3)
        assert not watch.settled("vm-1")
        session.step = None
        until(lambda: watch.settled("vm-1"))
        (judgement,) = watch.judge("vm-1")
    assert judgement.verdict is Verdict.UNINTERRUPTED


@pytest.mark.parametrize(("process", "age", "waits"), [("1", 1.8, True), ("", 1.8, True), ("1", PATIENCE, False)])
def test_a_move_is_settled_once_an_old_record_is_of_the_time_after_it(
    tmp_path: Path, process: str, age: float, waits: bool
) -> None:
    """It waits for nothing if no record can be young enough in time."""
    known = replace(EXPERIMENT, process=process, capabilities=Capabilities("run", "changes", age))
    session = Answers() if process else Nameless()
    with watched(tmp_path, session, settle_timeout=PATIENCE, experiment=known) as watch:
        watch.focus("vm-1")
        watch.moved("vm-1")
        began = time.monotonic()
        until(lambda: watch.settled("vm-1"))
        assert (time.monotonic() - began > age) is waits


class Nameless(Answers):
    """Nothing in its answers names the process."""

    def sample(self) -> Sample:
        return replace(super().sample(), process="")


class Searching(Answers):
    """A search for parameters: no run logs until ``next_run`` is set, or the search has ended."""

    status = BETWEEN

    def sample(self) -> Sample:
        self.step = 1.0
        return replace(super().sample(), status=self.status)


@pytest.mark.parametrize("timeout", [0.0, PATIENCE])
def test_the_end_of_a_run_does_not_settle_a_move_while_its_search_may_go_on(tmp_path: Path, timeout: float) -> None:
    session = Searching()
    with watched(tmp_path, session, settle_timeout=timeout) as watch:
        watch.focus("vm-1")
        watch.moved("vm-1")
        time.sleep(MIN_SETTLE_SECONDS + 0.5)
        assert watch.settled("vm-1") is (not timeout)
        threading.Timer(0.5, lambda: setattr(session, "status", "DONE")).start()
        (judgement,) = watch.judge("vm-1")
    assert judgement.verdict is Verdict.COMPLETED, "a verdict waits some seconds for the end of the search"


class Counting(Answers):
    """Answers with a long text and a step each."""

    max_hz = 1000.0
    max_hz_per_processor = 1000.0

    def sample(self) -> Sample:
        return replace(super().sample(), detail="x" * 300)


@pytest.mark.parametrize("moved", [False, True])
def test_at_the_cap_of_its_samples_a_vm_is_no_longer_watched_and_nothing_gets_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    monkeypatch.setattr(samples, "MAX_BYTES_OF_VM", 20_000)
    known = [Experiment("vm-1", "ML-1", "h2o3", f"job-{n}", "1", "http://x") for n in range(3)]
    other = Experiment("vm-2", "ML-2", "h2o3", "job", "1", "http://x")
    options: Any = {"stall_budget": 5.0, "settle_timeout": 0.5, "baseline": 0.0, "listener": lambda *_a, **_k: None}
    with Watch([*((e, Counting()) for e in known), (other, Answers())], tmp_path, **options) as watch:
        for machine in ("vm-1", "vm-2"):
            watch.focus(machine)
        until(lambda: not any(w.thread.is_alive() for w in watch._of("vm-1")))
        if moved:
            watch.moved("vm-1")
        time.sleep(0.3)
        judgements = watch.judge("vm-1")
        assert {j.verdict for j in judgements} == {Verdict.UNKNOWN}
        assert all("MiB of samples" in j.detail and j.unwatched_seconds > 0 for j in judgements)
        assert "MiB of samples" not in watch.judge("vm-2")[0].detail
    written = read_samples(tmp_path / "samples.jsonl")
    assert sum(len(rows) for key, rows in written.items() if key[0] == "vm-1") < 60
    assert all(len(sample.detail) <= 100 for rows in written.values() for _session, sample in rows)


def test_an_answer_that_costs_much_is_rarely_asked_for(tmp_path: Path) -> None:
    class Costly(Answers):
        asked = 0

        def sample(self) -> Sample:
            self.asked += 1
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
            return super().sample()

    session = Costly()
    experiment = Experiment("vm-1", "ML-1", "h2o3", "job", "1", "http://x")
    options: Any = {"stall_budget": 5.0, "settle_timeout": 0.5, "baseline": 0.0, "listener": lambda *_a, **_k: None}
    with Watch([(experiment, session)], tmp_path, **options) as watch:
        watch.focus("vm-1")
        time.sleep(2.0)
    assert session.asked <= 6


@pytest.mark.parametrize("answers", [0, 3], ids=["first", "later"])
@pytest.mark.parametrize("cost", [0.06, 0.3], ids=["idle", "busy"])
def test_a_question_that_was_asked_again_through_a_freeze_costs_no_rest_after_it(
    answers: int, cost: float, tmp_path: Path, measured: Measured
) -> None:
    """The many connections of a freeze of 20 s cost 0.4 s, after which nothing was asked for 4 s."""

    class Waiting(Answers):
        def sample(self) -> Sample:
            seen.append(time.monotonic())
            if len(seen) != answers + 1:
                return super().sample()
            burned = time.thread_time() + cost
            while time.thread_time() < burned:
                pass
            time.sleep(1.4)
            ended.append(time.monotonic())
            return Sample(seen[-1], ended[0], "answered", "1", "RUNNING", 0.1, exact=True)

    seen: list[float] = []
    ended: list[float] = []
    experiment = Experiment("vm-1", "ML-1", "h2o3", "job", "1", "http://x")
    with Watch(
        [(experiment, Waiting())], tmp_path, stall_budget=5.0, settle_timeout=0.5, baseline=0.0, listener=print
    ) as watch:
        watch.focus("vm-1")
        until(lambda: len(seen) > answers + 1)
    with measured():
        assert seen[answers + 1] - ended[0] < 0.4


def test_no_number_of_processors_makes_a_vm_be_asked_without_bound() -> None:
    assert max_sampling_hz(15.0, 1024, 64) == MIN_HZ
    assert max_sampling_hz(15.0, 1024, 1) == MAX_HZ_PER_VM


def test_a_clock_in_whole_seconds_is_asked_at_all_parts_of_a_second() -> None:
    """After three seconds, no part of a second of 50 ms is without a question; in step with the clock it would be 100 ms."""
    parts = sorted(n / off_beat(10.0, 1.0) % 1 for n in range(30))
    gaps = [after - before for before, after in itertools.pairwise([*parts, parts[0] + 1])]
    assert max(gaps) < 0.05
    assert (off_beat(10.0, 0.0), off_beat(MIN_HZ, 1.0)) == (10.0, MIN_HZ)


def shown(at: float, step: float = 1.0) -> Sample:
    """An answer with the clock of a guest, which is 0.35 s behind."""
    return Sample(
        at, at + 0.01, "answered", clock=(at + 0.005 - 0.35) // step * step if step else None, clock_step=step
    )


@pytest.mark.parametrize(
    ("wait", "step", "every", "after", "seconds"),
    [
        (0.5, 1.0, 0.1, 50, COARSE_SETTLE_SECONDS),
        (0.5, 1.0, 0.07, 50, MIN_SETTLE_SECONDS),
        (0.5, 1.0, 0.07, 5, COARSE_SETTLE_SECONDS),
        (0.5, 1.0, 0.1, 0, COARSE_SETTLE_SECONDS),
        (0.5, 0.001, 0.1, 0, MIN_SETTLE_SECONDS),
        (0.5, 0.0, 0.1, 20, MIN_SETTLE_SECONDS),
        (0.05, 1.0, 0.1, 20, MIN_SETTLE_SECONDS),
    ],
)
def test_a_silence_by_a_clock_in_whole_seconds_is_watched_until_the_clock_is_known(
    wait: float, step: float, every: float, after: int, seconds: float
) -> None:
    """Asked every 0.1 s, it always changes its second in the same gap; at other parts of each second, in a smaller one each time."""
    later = [shown(20 + number * every, step) for number in range(after)]
    moving = [shown(10.0, step), Sample(11.0, 11.0 + wait, "answered"), *later]
    assert least_settle(moving, later) == seconds
