# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a stall of an experiment can have been so far, kept while samples arrive. Pure.

``stall.py`` measures a stall from all samples, which takes long in a run of hours. This keeps only its upper bound, so that a
sample costs microseconds. The two agree: no stall that ``stall.py`` finds is longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Experiment, Sample
from .stall import ANSWERED, HEARD, news


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an experiment until now. It is not a verdict.

    ``at_most``: no stall was longer, in seconds; ``None`` before the first answer. ``silent``: seconds since the last answer,
    ``None`` without one in this process. ``progress`` (0..1) and ``step`` are the last known ones. ``outcome`` is that of the
    last sample, as in ``Sample``, "" without one. ``over``: the job has ended. ``watched``: its thread still asks.
    """

    experiment: Experiment
    at_most: float | None
    silent: float | None
    progress: float | None
    step: float | None
    outcome: str
    over: bool
    watched: bool


class SoFar:
    """The longest time without an answer, or for the signal ``changes`` without a change."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._by_changes = experiment.capabilities.signal == "changes"
        self._freshness = experiment.capabilities.freshness if self._by_changes else 0.0
        self._since: float | None = None  # when the gap began that is still open
        self._longest: float | None = None
        self._last: Sample | None = None  # since nobody watched
        self._unknown = 0.0  # the longest gap that was open at the end of a watch
        self._answer: Sample | None = None  # the last one since nobody watched
        self._outcome = ""
        self._progress = experiment.progress
        self._step: float | None = None

    def pause(self) -> None:
        """Nobody watched between the last sample and the next one. That time does not count, and the clock may be another one."""
        if self._since is not None and self._last is not None and not (self._answer and _ended(self._answer)):
            self._unknown = max(self._unknown, self._last.received - self._since + self._freshness)
        self._since = self._answer = self._last = None

    def add(self, sample: Sample) -> None:
        """One more sample. They arrive in order."""
        self._outcome, self._last = sample.outcome, sample
        if self._since is None:
            self._since = sample.sent
        if sample.outcome not in ((ANSWERED,) if self._by_changes else HEARD):
            return
        before, self._answer = self._answer, sample
        self._progress = self._progress if sample.progress is None else sample.progress
        self._step = self._step if sample.step is None else sample.step
        self._longest = max(self._longest or 0.0, self._unknown)
        if before is not None and _ended(before):  # what follows the end of a job is not a stall
            self._since = sample.sent
        elif not self._by_changes:
            self._close(sample, sample.alive_since)
        elif before is not None and (news(before) != news(sample) or _ended(sample)):
            self._close(sample, before.sent)

    def _close(self, sample: Sample, opened: float) -> None:
        """The open gap ends with a sample, and the next one began at ``opened``."""
        if self._since is not None:
            self._longest = max(self._longest or 0.0, sample.received - self._since + self._freshness)
        self._since = opened

    def seen(self, now: float, *, watched: bool) -> Seen:
        """What was seen until ``now``, a monotonic time in seconds."""
        since, answer = self._since, self._answer
        over = answer is not None and _ended(answer)
        open_gap = 0.0 if over or since is None or not watched else now - since + self._freshness
        return Seen(
            experiment=self._experiment,
            at_most=None if self._longest is None else max(self._longest, open_gap),
            silent=None if answer is None else max(0.0, now - answer.received),
            progress=self._progress,
            step=self._step,
            outcome=self._outcome,
            over=over,
            watched=watched,
        )


def _ended(sample: Sample) -> bool:
    """Whether a sample says that the job has ended."""
    return sample.outcome == ANSWERED and sample.status in ("DONE", "FAILED", "CANCELLED")
