# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Invented trainings, and what a watch sees of them. What is said about them follows from the samples, as in a real run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement, Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import judge

EVERY = 0.2  # seconds between questions
LATENCY = 0.004
STALL, LONG_STALL = 0.6, 7.5
BUDGET = 5.0
SWITCH = 0.2  # seconds from the switch-over to the end of a move
SINCE_CHECKPOINT = 10.0  # seconds of work that no checkpoint holds
SETTLED, GIVEN_UP = 2.0, 60.0  # seconds after a move at which a run judges a training that works, and one that does not
UNSETTLED = ("lost", "unknown")


@dataclass(frozen=True, slots=True)
class Training:
    """A training in a VM. Times are seconds since the run began; the VM stands still from ``still`` to ``awake``.

    ``share`` of the job is done at the beginning, and ``pace`` is done per second. From ``killed`` on nothing listens,
    until another process continues the job from its checkpoint at ``continued``.
    """

    share: float
    pace: float
    still: float
    awake: float
    killed: float = inf
    continued: float = inf
    failed: float = inf
    unreachable: float = inf

    def progress(self, at: float) -> float:
        """The share of the job that is done at a time."""
        if at >= self.continued:
            return self._done(self._worked(self.killed) - SINCE_CHECKPOINT + at - self.continued)
        return self._done(self._worked(min(at, self.failed)))

    def _worked(self, at: float) -> float:
        return at - max(0.0, min(at, self.awake) - self.still)

    def _done(self, worked: float) -> float:
        return round(min(1.0, self.share + self.pace * worked), 4)

    def answer(self, sent: float, origin: float) -> Sample:
        """What a question at a time gets, on a clock that showed ``origin`` when the run began."""
        if self.killed <= sent < self.continued:
            return Sample(origin + sent, origin + sent + LATENCY / 2, "refused", detail="ConnectionRefusedError")
        received = (self.awake if self.still <= sent < self.awake else sent) + LATENCY
        progress = self.progress(received - LATENCY / 2)
        status = "FAILED" if received >= self.failed else "DONE" if progress == 1.0 else "RUNNING"
        process = "2" if sent >= self.continued else "1"
        return Sample(origin + sent, origin + received, "answered", process, status, progress)

    def watched(self, until: float, origin: float) -> list[Sample]:
        """What a watch sees until then. A question that waits has no sample."""
        samples, at = [], 0.0
        while at < min(until, self.unreachable):
            samples.append(self.answer(at, origin))
            at = max(at + EVERY, samples[-1].received - origin)
        return samples


def training(verdict: str, number: int, arrival: float) -> Training:
    """A training whose move ends at ``arrival``, and about which a run must reach this verdict."""
    switched, pace = arrival - SWITCH, 1 / (200 + 30 * number)
    stall = LONG_STALL if verdict == "stalled" else STALL + number / 100
    share = 1.0 - pace * (arrival + 1.0 - stall) if verdict == "completed" else 0.1
    own = {
        "restarted": {"killed": arrival - 8.0, "continued": arrival - 4.0},
        "lost": {"killed": arrival - 8.0},
        "failed": {"failed": arrival - 8.0},
        "unknown": {"unreachable": switched},
    }.get(verdict, {})
    return Training(share, pace, switched - stall, switched, **own)


def settled_at(verdict: str, arrival: float) -> float:
    """When a run judges a training."""
    return arrival + (GIVEN_UP if verdict in UNSETTLED else SETTLED)


def judged(experiment: Experiment, samples: Sequence[Sample], begun: float, arrived: float, now: float) -> Judgement:
    """What a run says at a time about a training that moved from ``begun`` to ``arrived``. A question that waits is silent."""
    known = [sample for sample in samples if sample.received <= now]
    if now - known[-1].received > 2 * EVERY:
        known.append(Sample(known[-1].received, now, "silent", detail="the question is still unanswered"))
    return judge(experiment, known, stall_budget=BUDGET, moved_at=begun, arrived_at=arrived, measured_from=begun)
