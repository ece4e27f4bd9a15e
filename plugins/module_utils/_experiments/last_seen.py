# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an experiment is seen to work at the end of its watch. Pure.

A training that worked after its move may die later. The verdict of the move is right then, but says nothing about later.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from .._core.standing import REFUSES, UNSEEN, said
from .._core.wording import seconds
from .model import Experiment, Sample
from .stall import ANSWERED, overlaps

LONGER = 2.0  # a quiet time that is longer than this times the longest other one is unusual
WHY_UNSEEN = {
    "job_missing": "its server no longer knows the job",
    "refused": f"its port {REFUSES}",
    "silent": "no answer",
}
Windows = Sequence[tuple[float, float]]
Work = Callable[[Sample], object]


def why_unseen(
    experiment: Experiment, samples: Sequence[Sample], work: Work, *, stall_budget: float, unwatched: Windows = ()
) -> str:
    """Why the experiment is not seen to work at the end, as half a sentence; empty if it is. The job has not ended.

    ``work`` is what changes in an answer only while the training works.
    """
    if not samples:
        return ""
    if unwatched and unwatched[-1][1] > samples[-1].received:
        return f"it was not watched{UNSEEN}{seconds(unwatched[-1][1] - samples[-1].received)}"
    last = samples[-1]
    if last.outcome != ANSWERED:
        since = next((i for i in reversed(range(len(samples))) if samples[i].outcome == ANSWERED), 0)
        passed = _passed(samples[since:], unwatched)
        why = WHY_UNSEEN.get(last.outcome, "")
        return f"it was not seen{UNSEEN}{seconds(passed)}{f': {why}' if why else said(last.detail or last.outcome)}"
    *others, still = _quiet_times([s for s in samples if s.outcome == ANSWERED], work, unwatched)
    still -= experiment.capabilities.freshness
    if still <= max(stall_budget, LONGER * max(others, default=0.0)):
        return ""
    return f"no progress was seen{UNSEEN}{seconds(still)}"


def _quiet_times(answers: Sequence[Sample], work: Work, unwatched: Windows) -> list[float]:
    """Seconds in which each work was shown, up to the next work; the last one up to the last answer."""
    firsts = [i for i in range(len(answers)) if i == 0 or work(answers[i]) != work(answers[i - 1])]
    return [
        _passed(answers[first : following + 1], unwatched)
        for first, following in itertools.pairwise([*firsts, len(answers)])
    ]


def _passed(samples: Sequence[Sample], unwatched: Windows) -> float:
    """Seconds of the watch from the first of the samples to the last; another machine's clock may be another one."""
    return sum(
        max(0.0, after.received - before.received)
        for before, after in itertools.pairwise(samples)
        if not overlaps(unwatched, before.received, after.sent)
    )
