# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long an experiment stood still, as an interval that holds the truth. Pure.

Where the server freezes with its VM (signal ``answers``), a stall is a silence: with ``a`` the answer before and ``b``
the answer after it, the server stood still at most ``b.received - a.sent``, and at least as long as the question in
flight waited longer than an undisturbed one may, and than the watching process was late itself. Where a server goes on
answering (signal ``changes``), a stall lies between two changes of what it tells, before the first or after the last.
Bounds and constants are tried by ``benchmarks/stall.py``.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from .model import Capabilities, Sample, Stall

ANSWERED = "answered"
HEARD = (ANSWERED, "job_missing")  # that a job is unknown is an answer of the server, too
OF_A_SERVER = Capabilities("process", "answers")
STANDS_OUT = 0.25  # a question that waits this much longer than others tells of a stall; below, of a busy server
MANY_TIMES = 2  # or this many times what the slowest hundredth of the others waited longer, on a busy machine
MIN_MARGIN = 0.045  # a server needs up to 45 ms to go on after a freeze, on a busy machine
NEARBY = 30.0  # seconds around a silence that tell what is usual there
FASTER = 1.5  # how much faster than usual a training may go on
MIN_CHANGES = 3  # of progress, for its rate to be known
Windows = Sequence[tuple[float, float]]


def news(sample: Sample) -> tuple[float | None, float | None, str]:
    """What changes when a training goes on."""
    return sample.progress, sample.step, sample.detail


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer from ``start`` to ``end``: during it the server stood still ``low`` to ``high`` seconds.

    ``evidence`` is by how much an unanswered question waited longer than usual, less the time in which work went on;
    ``stands_out``: longer than a busy server lets wait. ``claimed``: it is called a stall.
    """

    start: float
    end: float
    seconds: float
    low: float
    high: float
    evidence: float
    stands_out: bool = False
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """The longest stall; ``since`` is the end of what progress must be seen after, ``None`` where nothing stood out."""

    stall: Stall
    since: float | None
    note: str = ""


class _Answers:
    """Answers of a server in order, and what is usual for them."""

    def __init__(self, samples: Sequence[Sample], *, clock_progress: bool) -> None:
        self.samples = samples
        self.places = [i for i, s in enumerate(samples) if s.outcome in HEARD]
        self.heard = [samples[i] for i in self.places]
        self.middle = median(s.waited for s in self.heard) if self.heard else 0.0
        self._waits = [max(0.0, s.waited - self.middle) for s in self.heard]
        self._received = [s.received for s in self.heard]
        self._clock_progress = clock_progress

    def usual(self, before: int, after: int) -> tuple[float, float]:
        """(threshold, margin) around a silence: from which wait a question stands out, how long others may wait."""
        others = sorted(self._waits[i] for i in self._near(before, after) if i != after)
        slow = others[int(0.99 * (len(others) - 1))] if others else 0.0
        return max(STANDS_OUT, MANY_TIMES * slow), max(MIN_MARGIN, slow)

    def _near(self, before: int, after: int) -> range:
        first = bisect.bisect_left(self._received, self._received[before] - NEARBY)
        end = self._received[min(after, len(self._received) - 1)] + NEARBY
        return range(first, bisect.bisect_right(self._received, end))

    def worked(self, before: int, after: int, still: float) -> float:
        """Seconds of work done in a silence that are too many for ``still`` seconds of standing still.

        Then the network was silent, not the training. 0 where progress is too coarse to tell, or is a clock.
        """
        later = after + 1  # the first answer after a silence may have been made before it; this one was asked later
        if self._clock_progress or later >= len(self.heard):
            return 0.0
        span = self.heard[later].received - self.heard[before].sent
        done = _work_between(self.heard[before], self.heard[later])
        rate, largest = self._pace(before, later)
        return max(0.0, done - largest - FASTER * rate * max(0.0, span - still)) / rate if rate > 0 else 0.0

    def _pace(self, before: int, later: int) -> tuple[float, float]:
        """(work a second, largest single change) around a silence; nothing where it is not known."""
        near = self._near(before, later)
        parts = (self.heard[near.start : before + 1], self.heard[later : near.stop])
        steps = [_work_between(a, b) for part in parts for a, b in itertools.pairwise(part)]
        seconds = sum(part[-1].received - part[0].received for part in parts if part)
        if sum(step > 0 for step in steps) < MIN_CHANGES or seconds <= 0:
            return 0.0, 0.0
        return sum(steps) / seconds, max(steps)


def _work_between(before: Sample, after: Sample) -> float:
    """Steps done, or share of the job done where steps are not counted; 0 where neither is known or it went back."""
    if before.step is not None and after.step is not None:
        return max(0.0, after.step - before.step)
    if before.progress is not None and after.progress is not None:
        return max(0.0, after.progress - before.progress)
    return 0.0


def silences(samples: Sequence[Sample], unwatched: Windows = (), *, clock_progress: bool = False) -> list[Silence]:
    """The times between answers, in order; what came last is one without an end when it was no answer."""
    answers = _Answers(samples, clock_progress=clock_progress)
    found = []
    for before in range(len(answers.heard)):
        place = answers.places[before]
        following = answers.places[before + 1] if before + 1 < len(answers.heard) else len(samples) - 1
        if following > place and not _overlaps(unwatched, samples[place].received, samples[following].received):
            found.append(_silence(answers, before, place, following))
    return found


def _silence(answers: _Answers, before: int, place: int, following: int) -> Silence:
    """The silence from the sample at ``place`` to the next answer, or to the last sample."""
    first, question, last = answers.samples[place], answers.samples[place + 1], answers.samples[following]
    late = sum(s.late for s in answers.samples[place + 1 : following + 1])
    waited = last.received - question.sent - late - answers.middle
    in_flight = 0.0 if last.outcome in ("refused", "invalid") else last.waited - answers.middle
    gap, high = last.received - first.received - late - answers.middle, last.received - first.sent
    seconds = min(max(0.0, (gap + max(0.0, waited)) / 2), high)
    if waited <= STANDS_OUT:
        return Silence(first.received, last.received, seconds, 0.0, high, max(0.0, waited))
    threshold, margin = answers.usual(before, before + 1)
    worked = answers.worked(before, before + 1, waited - margin)
    # Where work went on it was the network that was silent, and nothing tells for how long the server stood still.
    low = max(0.0, in_flight - margin - 2 * worked) if worked <= margin else 0.0
    return Silence(
        first.received,
        last.received,
        max(low, seconds - worked),
        low if waited > threshold else 0.0,
        high,
        max(0.0, waited - worked),
        waited > threshold,
        waited - worked > threshold,
    )


def longest_silence(found: Sequence[Silence]) -> Silence | None:
    """The one with the most evidence of a stall: a late question alone is no evidence."""
    return max(found, key=lambda silence: silence.evidence, default=None)


def longest_stall(
    samples: Sequence[Sample],
    unwatched: Windows = (),
    *,
    capabilities: Capabilities = OF_A_SERVER,
    clock_progress: bool = False,
) -> Finding | None:
    """The longest stall outside ``unwatched`` windows; ``None`` when too little was seen to tell.

    The longest of all stalls lies between the greatest lower and the greatest upper bound of any silence.
    """
    if capabilities.signal == "changes":
        return _longest_quiet(samples, unwatched, capabilities.freshness)
    found = silences(samples, unwatched, clock_progress=clock_progress)
    longest = longest_silence(found)
    if longest is None:
        return None
    low, high = max(silence.low for silence in found), max(silence.high for silence in found)
    high = max(high, _before_the_first_answer(samples))
    at = longest.start if longest.claimed else None
    since = max((silence.start for silence in found if silence.stands_out), default=None)
    return Finding(Stall(min(max(longest.seconds, low), high), low, high, at), since)


def _before_the_first_answer(samples: Sequence[Sample]) -> float:
    """Seconds in which questions at the watch's begin had no answer, so that nothing is known of them."""
    first = next(i for i, sample in enumerate(samples) if sample.outcome in HEARD)
    return samples[first].received - samples[0].sent if first > 0 else 0.0


# --- signal: changes

FEW = 10  # steps; the fewer are known, the longer an ordinary one may be
HEAVY = 3.0  # times the median: then steps differ so much that an ordinary one may be twice as long as all others


@dataclass(frozen=True, slots=True)
class Quiet:
    """Time without a change: from ``start`` it lasted at least ``low`` and at most ``high`` seconds of the watch.

    ``whole``: a change was seen at both ends, so that it is a step and not part of one.
    """

    start: float
    end: float
    low: float
    high: float
    whole: bool


def quiets(samples: Sequence[Sample], freshness: float) -> list[Quiet]:
    """The times before, between and after changes of news in one unbroken watch. A change lies between two questions.

    Before the first answer and after the last one nothing is known: ``high`` holds these times, ``low`` does not.
    """
    answers = [s for s in samples if s.outcome == ANSWERED]
    if not answers:
        return [Quiet(samples[0].sent, samples[-1].received, 0.0, samples[-1].received - samples[0].sent, whole=False)]
    changes = [i for i in range(1, len(answers)) if news(answers[i]) != news(answers[i - 1])]
    found = []
    for first, second in itertools.pairwise([0, *changes, len(answers)]):
        before = answers[first - 1] if first > 0 else samples[0]
        until = answers[second] if second < len(answers) else samples[-1]
        since, unchanged = answers[first].received, answers[second - 1].sent
        low, high = max(0.0, unchanged - since - freshness), until.received - before.sent + freshness
        found.append(Quiet(since, until.received, low, high, whole=first > 0 and second < len(answers)))
    return found


def _watched_quiets(samples: Sequence[Sample], unwatched: Windows, freshness: float) -> list[Quiet]:
    """The quiets of all unbroken watches; none where nothing changed in any of them."""
    ended = next((i for i, s in enumerate(samples) if _reports_an_end(s)), None)
    watches = _unbroken(samples if ended is None else samples[: ended + 1], unwatched)
    found = [quiet for watch in watches for quiet in quiets(watch, freshness)]
    if ended is not None and found:
        # What a training does after its last step, before it tells its end, may take as long as it likes.
        found[-1] = replace(found[-1], low=0.0)
    changed = len(found) > len(watches)
    return found if changed else []


def _reports_an_end(sample: Sample) -> bool:
    return sample.outcome == ANSWERED and sample.status not in ("RUNNING", None)


def _unbroken(samples: Sequence[Sample], unwatched: Windows) -> list[Sequence[Sample]]:
    """The samples cut where nobody watched."""
    cuts = [i for i in range(1, len(samples)) if _overlaps(unwatched, samples[i - 1].received, samples[i].sent)]
    return [samples[first:end] for first, end in itertools.pairwise([0, *cuts, len(samples)]) if first < end]


def usual_quiet(others: Sequence[Quiet]) -> float:
    """How long a step may take undisturbed, from the other steps; infinite when none of them is whole.

    A training's own step takes time too, and checkpoints and evaluations take longer than others: the longest of the
    others, more where they are few or differ much. Part of a step tells only that a whole one may be as long.
    """
    whole = [quiet.high for quiet in others if quiet.whole]
    if not whole:
        return float("inf")
    longest = max(quiet.high for quiet in others)
    heavy = longest > HEAVY * median(whole)
    return longest * max(1 + FEW / len(whole), 2.0 if heavy else 1.0)


def _longest_quiet(samples: Sequence[Sample], unwatched: Windows, freshness: float) -> Finding | None:
    watched = _watched_quiets(samples, unwatched, freshness)
    if not watched:
        return None
    longest = max(watched, key=lambda quiet: quiet.high)
    others = [quiet for quiet in watched if quiet is not longest]
    low = max(0.0, longest.low - usual_quiet(others))
    since = longest.start if low > 0 else None
    known = sum(quiet.whole for quiet in others)
    note = f"told from {known} other steps of up to {max((q.high for q in others), default=0.0):.2f} s"
    return Finding(Stall((longest.high + low) / 2, low, longest.high, since), since, note)


def _longest_other(watched: Sequence[Quiet]) -> float | None:
    """Seconds of the longest of all but one, where a whole step is among them; else of the longest."""
    ordered = sorted(watched, key=lambda quiet: quiet.high)
    others = ordered[:-1] if any(quiet.whole for quiet in ordered[:-1]) else ordered
    return others[-1].high if others else None


# --- both


def resolution(
    samples: Sequence[Sample], unwatched: Windows = (), *, capabilities: Capabilities = OF_A_SERVER
) -> float | None:
    """What the same bounds give where nothing stood still: a shorter stall cannot be told from that.

    The widest of all but the longest; there is no shorter watch without a stall to compare with.
    """
    if capabilities.signal == "changes":
        return _longest_other(_watched_quiets(samples, unwatched, capabilities.freshness))
    found = silences(samples, unwatched)
    longest = longest_silence(found)
    # What ended the longest was asked when that began, so the silence after it seems as long.
    others = [s for before, s in zip([None, *found], found, strict=False) if longest not in (before, s)]
    return max((s.high for s in others), default=longest.high if longest else None)


def _overlaps(windows: Windows, start: float, end: float) -> bool:
    return any(first < end and last > start for first, last in windows)
