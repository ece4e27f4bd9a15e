# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch: one thread per experiment queries its job 5 times per second, and 32 times per second while its VM moves.

A VM gets at most ``Session.max_hz_per_processor`` queries per second for each of its processors. This costs its trainings
about 1 % at most.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from .._core.clock import MIN_SLEEP, asleep, own_clock
from .._core.untrusted import shortened
from .clusters import key_of
from .identity import is_foreign
from .model import BETWEEN, Experiment, Judgement, ProgressListener, Sample
from .pauses import Pulse, RunDelay
from .providers.base import Session
from .samples import (
    FULL,
    SampleLog,
    by_clock,
    recorded,
    unwatched_windows,
)
from .so_far import Seen, SoFar
from .stall import ANSWERED, CLOCK_LAG, HEARD, LATE, STANDS_OUT, clock_doubt
from .verdict import age_of, is_over, judge, work_of

CALM_HZ = 5.0
FOCUS_HZ = 32.0
MAX_HZ_PER_VM = 64.0  # however many processors it says it has
OFF_BEAT = 0.382  # of the time between two questions, by which they are later in each second (golden section)
MIN_HZ = 1.0  # for each experiment, however many share its VM
MAX_DETAIL = 100  # characters of a text in a sample
COSTLY = 0.02  # seconds of the processor; answers that cost more are rarely asked for
MAX_SHARE = 0.1  # of a processor that the answers of one VM may cost
KNOCKING = 0.05  # of a processor, while a question waits: 50 connections per second that cost less than 1 ms each
MIN_SETTLE_SECONDS = 1.0
COARSE_SETTLE_SECONDS = 3.0  # at most for a clock in whole seconds
CLOCK_DOUBT = 0.05  # seconds; such a clock is known well, after two or three of its seconds
REPORT_SECONDS = 3.0
MAX_PATIENCE = 5.0  # seconds that a verdict or the first move waits for an answer
LONG_SILENCE = 1.0  # seconds; a question that waits longer at the verdict is a silent sample
LONG_ANSWER = 0.1  # seconds; only for longer answers are pauses of the whole process looked up
LONG_PAUSE = 0.2  # seconds in one piece: not a busy processor, but a controller that stood still


class Watch:
    """Watches experiments while its context is open; implements the port ``ExperimentWatch``."""

    def __init__(
        self,
        experiments: Iterable[tuple[Experiment, Session]],
        folder: Path,
        *,
        stall_budget: float,
        settle_timeout: float,
        baseline: float,
        listener: ProgressListener,
        whole: bool = False,
    ) -> None:
        path = folder / "samples.jsonl"
        clock = own_clock()
        earlier = by_clock(recorded(path), clock, time.monotonic())
        self._log = SampleLog(path, clock)
        self._stall_budget = stall_budget
        self._settle_timeout = settle_timeout
        self._baseline = baseline
        self._pulse = Pulse()
        asked = list(experiments)
        in_vm = Counter(experiment.vm for experiment, _session in asked if experiment.processors)
        self._watched = [
            _Watched(
                experiment,
                session,
                min(
                    session.max_hz,
                    max_sampling_hz(session.max_hz_per_processor, experiment.processors, in_vm[experiment.vm]),
                ),
                self._log,
                self._pulse,
                earlier.get((experiment.vm, experiment.id), []),
                listener,
                max(1, in_vm[experiment.vm]),
                whole=whole,
            )
            for experiment, session in asked
        ]

    def __enter__(self) -> Self:
        """Start sampling."""
        self._pulse.__enter__()
        for watched in self._watched:
            watched.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop sampling, and wake threads that wait for a frozen server.

        Raises StateUnwritable if samples could not be written, unless another error is on its way.
        """
        for watched in self._watched:
            watched.stop()
        for watched in self._watched:
            watched.thread.join(timeout=2)
            watched.close()
        self._pulse.__exit__()
        self._log.close()
        if error[0] is None:
            self._log.check()

    def baseline(self) -> None:
        """Sample for the baseline's seconds, so that the usual latency is known before anything moves.

        Also wait until each experiment has answered once, for at most ``MAX_PATIENCE`` more.
        """
        end = time.monotonic() + (self._baseline if self._watched else 0.0)
        while (left := end - time.monotonic()) > (0 if self._all_heard() else -MAX_PATIENCE):
            time.sleep(max(left, 0.05))

    def _all_heard(self) -> bool:
        return all(watched.heard for watched in self._watched)

    def focus(self, vm: str) -> None:
        """See the port."""
        for watched in self._of(vm):
            watched.at_rest = False
        for watched in self._with_members(vm):
            watched.focus()

    def moved(self, vm: str) -> None:
        """See the port."""
        for watched in self._of(vm):
            watched.moved_at = time.monotonic()

    def settled(self, vm: str) -> bool:
        """See the port."""
        done = all(watched.settled(self._settle_timeout) for watched in self._of(vm))
        if done:
            for watched in self._of(vm):
                watched.at_rest = True
            for watched in self._with_members(vm):
                if all(member.at_rest for member in self._with_members(watched.experiment.vm)):
                    watched.hz = CALM_HZ
        return done

    def judge(self, vm: str) -> tuple[Judgement, ...]:
        """See the port."""
        asked = [watched for watched in self._with_members(vm) if watched.at_rest or watched.experiment.vm == vm]
        end = time.monotonic() + min(self._stall_budget, MAX_PATIENCE)
        while any(watched.needs_another_sample(self._stall_budget) for watched in asked) and time.monotonic() < end:
            time.sleep(0.05)
        self._log.flush()
        return tuple(watched.judge(self._stall_budget) for watched in asked)

    def seen(self) -> tuple[Seen, ...]:
        """See the port."""
        return tuple(watched.seen() for watched in self._watched)

    def _of(self, vm: str) -> list[_Watched]:
        return [watched for watched in self._watched if watched.experiment.vm == vm]

    def _with_members(self, vm: str) -> list[_Watched]:
        """The VM's experiments, with their members in other VMs."""
        keys = {key_of(watched.experiment) for watched in self._of(vm)}
        return [watched for watched in self._watched if key_of(watched.experiment) in keys]


def max_sampling_hz(per_processor: float, processors: int, experiments: int) -> float:
    """Maximum questions per second to each of a VM's experiments; infinite if another machine answers."""
    whole = min(MAX_HZ_PER_VM, per_processor * processors)
    return max(MIN_HZ, whole / experiments) if processors else math.inf


def off_beat(hz: float, clock_step: float) -> float:
    """Questions per second, so that they come at other parts of each second, if the guest's clock shows only that.

    A clock in whole seconds shows most just before and after each of them.
    """
    return hz - OFF_BEAT if clock_step and hz > 1 + OFF_BEAT else hz


def least_settle(samples: Sequence[Sample], after: Sequence[Sample]) -> float:
    """Seconds to watch after a move at least: longer while a silence is measured by a clock in whole seconds that is not known well.

    ``samples``: since the move began; ``after``: those that were asked for after its end.
    """
    silent, coarse = any(s.waited > LATE for s in samples), any(s.clock_step > CLOCK_LAG for s in samples)
    known = clock_doubt(after) <= CLOCK_DOUBT
    return COARSE_SETTLE_SECONDS if silent and coarse and not known else MIN_SETTLE_SECONDS


class _Watched:
    """One experiment, its thread and its samples."""

    def __init__(
        self,
        experiment: Experiment,
        session: Session,
        max_hz: float,
        log: SampleLog,
        pulse: Pulse,
        earlier: list[tuple[str, Sample]],
        listener: ProgressListener,
        in_vm: int = 1,
        *,
        whole: bool = False,
    ) -> None:
        self.experiment = experiment
        self._whole = whole
        self._in_vm = in_vm
        self._is_full = False
        self.hz = CALM_HZ
        self.moved_at: float | None = None
        self.at_rest = True  # its VM is neither moving nor settling
        self.thread = threading.Thread(target=self._run, name=f"watch {experiment.vm_name}", daemon=True)
        self._session = session
        self._max_hz = max_hz
        self._log = log
        self._pulse = pulse
        self._listener = listener
        self._stop = threading.Event()
        self._focused_at: float | None = None
        self._earlier = earlier
        self._samples: list[Sample] = []
        self._sessions: list[str] = []  # of the samples: another one after this machine was suspended
        self._asleep = max(asleep(), asleep())
        self._sent: float | None = None
        self._cost = 0.0  # seconds of the processor for the last answer
        self._so_far = SoFar(experiment)
        self._recall()
        self._reported = (time.monotonic(), experiment.progress)

    def _recall(self) -> None:
        """Hear what earlier processes saw. Nobody watched between two of them."""
        session = ""
        for watching, sample in self._earlier:
            if watching != session:
                self._so_far.pause()
            session = watching
            self._so_far.add(sample)
        self._so_far.pause()

    def seen(self) -> Seen:
        """What was seen until now, also by earlier processes."""
        return self._so_far.seen(time.monotonic(), watched=self.thread.is_alive())

    @property
    def heard(self) -> bool:
        """Whether the server has answered since this watch began, or never will because the thread has ended."""
        return not self.thread.is_alive() or any(sample.outcome in HEARD for sample in list(self._samples))

    def focus(self) -> None:
        """Sample at the high rate; record when the move began."""
        self.hz = FOCUS_HZ
        if self._focused_at is None:
            self._focused_at = time.monotonic()

    def stop(self) -> None:
        """End the thread, even if it waits for an answer."""
        self._stop.set()
        self._session.interrupt()

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    def _run(self) -> None:
        delay = RunDelay()
        try:
            self._sample_repeatedly(delay)
        finally:
            delay.close()

    def _sample_repeatedly(self, delay: RunDelay) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._sent, delayed, worked = time.monotonic(), delay.seconds(), time.thread_time()
            sample = self._session.sample()
            sample = self._with_own_pauses(sample, delay.seconds() - delayed)
            if self._stop.is_set():
                return
            self._sent = None
            session = self._log.add((self.experiment.vm, self.experiment.id), sample)
            if not session:
                self._is_full = True
                return
            if self._sessions and session != self._sessions[-1]:
                self._so_far.pause()
            self._sessions.append(session)
            self._samples.append(sample)
            self._so_far.add(sample)
            self._report(sample)
            # After a late answer the schedule starts again, so that there is no burst of questions.
            hz = off_beat(min(self.hz, self._max_hz), sample.clock_step)
            due = max(due + 1 / hz, time.monotonic() + max(0.2 / hz, self._rest(sample, time.thread_time() - worked)))

    def _rest(self, sample: Sample, worked: float) -> float:
        """Seconds without a question after one that cost ``worked`` seconds of the processor.

        The time after a freeze must be watched. So what it costs to ask again while a question waits does not count, and
        neither does a single answer that costs much: on a busy machine asking again may cost more.
        """
        before, self._cost = self._cost, worked - KNOCKING * (sample.received - sample.sent)
        cost = min(before, self._cost)
        return cost * self._in_vm / MAX_SHARE if cost > COSTLY else 0.0

    def _with_own_pauses(self, sample: Sample, delayed: float) -> Sample:
        """The sample with the delays of this thread and this process: the answer may have waited for them.

        The kernel's time of arrival contains no such delay, unless the whole controller stood still.
        """
        if sample.exact:
            delayed = sample.late
        if sample.waited > LONG_ANSWER:
            paused = self._pulse.paused(sample.sent, sample.received, at_least=LONG_PAUSE if sample.exact else 0.0)
            delayed = max(delayed, paused)
        late = round(max(0.0, min(delayed, sample.received - sample.sent)), 6)
        return replace(sample, late=late, detail=shortened(sample.detail, MAX_DETAIL))

    def _report(self, sample: Sample) -> None:
        reported_at, reported = self._reported
        if sample.progress is None or sample.received < reported_at + REPORT_SECONDS:
            return
        gained = None if reported is None else sample.progress - reported
        self._reported = (sample.received, sample.progress)
        self._listener(self.experiment, sample, gained)

    def settled(self, timeout: float) -> bool:
        """Whether progress was seen after the move and the last silence, or the job or the time to wait is over."""
        if self.moved_at is None:
            return True
        waited = time.monotonic() - self.moved_at
        if waited >= timeout:
            return True
        samples = list(self._samples)
        after = [s for s in samples if s.sent > self.moved_at]
        answers = [s for s in after if s.outcome == ANSWERED]
        moving = [s for s in samples if s.received > (self._focused_at or self.moved_at)]
        if not after or waited < least_settle(moving, after):
            return False
        foreign = any(is_foreign(self.experiment, s) for s in after)
        ended = bool(answers) and answers[-1].status not in ("RUNNING", BETWEEN, None)
        calm_since = max((s.received for s in after if s.waited > STANDS_OUT), default=self.moved_at)
        # Only an answer that cannot be older shows work after the move, unless none can be that young in time.
        age = age_of(self.experiment)
        age = age if age < timeout else 0.0
        later = {work_of(self.experiment, s) for s in answers if s.news_from - age > calm_since}
        return foreign or ended or is_over(answers) or len(later) > 1

    def needs_another_sample(self, stall_budget: float) -> bool:
        """Whether one more answer may change the verdict: a question is waiting, only the last one failed, or a search may just end."""
        if not self.thread.is_alive():
            return False
        if self._samples and self._samples[-1].status == BETWEEN:
            return True
        sent, last = self._sent, self._samples[-2:]
        waits = sent is not None and LONG_SILENCE < time.monotonic() - sent <= stall_budget
        return waits or (bool(last) and last[-1].outcome != ANSWERED and (len(last) < 2 or last[0].outcome == ANSWERED))

    def judge(self, stall_budget: float) -> Judgement:
        """The verdict from the samples of all watching processes; a question without an answer counts as silent."""
        everything = [*self._earlier, *zip(list(self._sessions), list(self._samples), strict=False)]
        samples = [sample for _session, sample in everything]
        now, sent = time.monotonic(), self._sent
        if sent is not None and now - sent > LONG_SILENCE:
            samples.append(Sample(sent, now, "silent", detail="the question is still unanswered"))
        unwatched = unwatched_windows(everything)
        if samples and self._is_full:
            unwatched.append((samples[-1].received, now))
        elif samples and self.thread.ident and not self.thread.is_alive() and not self._stop.is_set():
            samples.append(Sample(samples[-1].received, now, "silent", detail="the watching thread ended by itself"))
        judgement = judge(
            self.experiment,
            samples,
            stall_budget=stall_budget,
            moved_at=self._focused_at,
            arrived_at=self.moved_at,
            # An earlier process may have begun the move, or somebody else before it was seen.
            measured_from=None if self._earlier or self._whole else self._focused_at,
            unwatched=unwatched,
        )
        slept = asleep() - self._asleep
        if slept > MIN_SLEEP:  # the monotonic clock does not show how long
            judgement = replace(judgement, unwatched_seconds=judgement.unwatched_seconds + slept)
        if not self._is_full:
            return judgement
        return replace(judgement, detail="; ".join(filter(None, (judgement.detail, FULL))))
