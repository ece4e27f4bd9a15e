# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the record of a training's steps says: whether they continue, show a restart, or repeat by themselves. Pure.

Trainings log the same step several times (gradient accumulation, several ranks), log an evaluation late, and count
batches from 0 in each epoch. None of that is a restart. A restart repeats steps that were over: a later step had been
logged before, and the steps continue from there.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

from .training_clock import Point

RESTART_SECONDS = 0.5  # no new process starts, loads its libraries and a checkpoint, and works in less
QUICK_START_SECONDS = 0.2  # a program with MLflow 2.2 and without a checkpoint starts and resumes its run in 0.25 s
QUICK_STEP = 1.0  # seconds; of slower steps, the pause before a fall is compared with that
LARGE_PART = 4  # returns over less than this part of a record do not hide how far the training is
REPEATS = "the steps repeat, so they do not show how far the training is"
REGULAR = 1.5  # times the usual number of steps between two points of a recorder that keeps all


@dataclass(frozen=True, slots=True)
class Return:
    """Steps that were over came again: at ``at`` seconds from ``top`` back to ``step``.

    ``paused``: the record paused before, so long that another process may have started and done a step.
    """

    at: float
    top: float
    step: float
    paused: bool


def longest_pause(points: Sequence[Point]) -> float:
    """Seconds by which a pause between two points, in the order of time, was longer than its steps take at the quickest.

    A point may be several steps after the one before it, and the same step may be logged again. 0 for a single point.
    """
    pairs = itertools.pairwise(points)
    return max(
        excesses([(after - before, max(1.0, later - step)) for (before, step), (after, later) in pairs]), default=0.0
    )


def excesses(gaps: Sequence[tuple[float, float]]) -> list[float]:
    """By how many seconds each gap between two points is longer than its steps take in the quickest of the other gaps.

    ``gaps`` are (seconds, steps). A new process may skip steps. So a gap with more steps than the others does not explain
    its seconds by all of them, and one whose steps are far quicker is as wrong as a pause of the seconds that it lacks.
    """
    if len(gaps) < 2:
        return [0.0 for _gap in gaps]
    quickest = heapq.nsmallest(2, (seconds / steps for seconds, steps in gaps))
    most = heapq.nlargest(2, (steps for _seconds, steps in gaps))
    usual = median(steps for _seconds, steps in gaps)
    return [_excess(gap, quickest, most, usual) for gap in gaps]


def _excess(gap: tuple[float, float], quickest: Sequence[float], most: Sequence[float], usual: float) -> float:
    seconds, steps = gap
    pace = quickest[1] if seconds / steps == quickest[0] else quickest[0]  # of the other gaps
    largest = most[1] if steps == most[0] else most[0]
    if steps > largest and seconds / steps < pace / 2:
        return steps * pace - seconds
    # Some recorders keep only some points, and then the number of steps between two differs.
    return seconds - min(steps, largest if largest <= REGULAR * usual else 2 * largest) * pace


def returns(points: Sequence[Point]) -> list[Return]:
    """Each time that the record goes back and continues from there, in order. A single late point does not count.

    The steps must be done again, not only be out of order: clocks are set back, and that mixes the steps around it.
    """
    ordered = sorted(points)
    pauses = [after - before for (before, _step), (after, _next) in itertools.pairwise(ordered)]
    pause = RESTART_SECONDS + min((pause for pause in pauses if pause > 0), default=0.0)
    times = Counter(step for _at, step in ordered)
    before: Counter[float] = Counter()
    found: list[Return] = []
    top = float("-inf")
    for place, (at, step) in enumerate(ordered):
        if step < top and times[step] > median(before.values()):
            following = next((later for _at, later in ordered[place + 1 :] if later != step), None)
            if following is not None and following <= top:  # else it is late, or what follows is not known yet
                found.append(Return(at, top, step, paused=pauses[place - 1] >= pause))
                top = step
        top = max(top, step)
        before[step] += 1
    return found


def repeats(found: Sequence[Return]) -> bool:
    """Whether the steps repeat by themselves: without a pause for a new process, or each time from the same step on.

    Epochs and the parts of a cross-validation may differ in length.
    """
    firsts = [each.step for each in found]
    return not all(each.paused for each in found) or len(set(firsts)) < len(firsts)


def hide_progress(found: Sequence[Return], points: Sequence[Point]) -> bool:
    """Whether steps that repeat do not show how far the training is, as a batch index.

    The ranks of a training log the same steps one after the other, a few steps apart: then the highest one shows it.
    """
    if not found or not repeats(found):
        return False
    steps = [step for _at, step in points]
    return LARGE_PART * max(each.top - each.step for each in found) > max(steps) - min(steps)


def seconds_below(points: Collection[Point], step: float) -> float:
    """For how many seconds only lower steps than this one, the highest, were logged; 0 if it is the latest.

    The writers of one training are some steps apart. A new start whose steps were not shown before shows nothing else.
    """
    latest, reached = max(at for at, _step in points), min(at for at, each in points if each == step)
    return max(0.0, latest - reached)


def restart_in(found: Sequence[Return], since: float) -> str:
    """A sentence if the training was restarted after ``since``; empty if not, or if its steps repeat by themselves."""
    latest = next((each for each in found if each.at > since), None)
    if latest is None or repeats(found):
        return ""
    return f"steps that were over came again: from step {latest.top:g} back to step {latest.step:g}"


class Steady:
    """When a value changed in answers without a failure between them."""

    def __init__(self) -> None:
        self._value: float | None = None
        self._at = 0.0  # of the last answer
        self._changed: float | None = None  # when the last change was seen
        self._before = 0.0  # the last answer before that
        self._quickest = math.inf

    def falls_at_once(self, value: float, at: float) -> bool:
        """Note an answer. Whether its value is lower, too soon after the last change for a new process to have started."""
        before, self._value, at_before, self._at = self._value, value, self._at, at
        if before is None or value == before:
            return False
        usual, passed, is_known = min(self._quickest, QUICK_STEP), at - self._before, math.isfinite(self._quickest)
        if self._changed is not None:
            self._quickest = min(self._quickest, at - self._changed)
        self._changed, self._before = at, at_before
        return is_known and value < before and passed < RESTART_SECONDS + usual
