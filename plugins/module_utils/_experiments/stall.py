# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long an experiment stood still, as an interval that contains the true length. Pure.

Signal ``answers``: the server freezes with its VM, and a stall is a silence between an answer ``a`` and the next answer
``b``. Its maximum is ``b.received - a.alive_since``. Its minimum is the time from the first question without an answer to
the last one, less what an undisturbed question may wait, less the delays of the watching process itself. It does not
matter when TCP sends a lost question again. If the guest's kernel accepted no connection, the whole VM stood still, and
this freeze has an interval of its own: it ends when the kernel accepts a connection again. The network needs time to find a
VM that has moved, and a VM that is not found is not frozen: that time is taken off the minimum. If the kernel had accepted
connections before that, the queue of a server that stands still may be full, so nothing is said of the VM. If the guest's clock is
known before and after, it stood still with the guest, or somebody has corrected it: what it lags now was a freeze.

Signal ``changes``: the server always answers, and a stall is a time without a change in its answers. It may also be
before the first change or after the last one.

``benchmarks/stall.py`` tests the bounds and the constants.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median

from .model import Capabilities, Sample, Stall

ANSWERED = "answered"
HEARD = (ANSWERED, "job_missing")  # "job unknown" is an answer of the server, too
OF_A_SERVER = Capabilities("process", "answers")
STANDS_OUT = 0.25  # seconds that a question waits longer than others in a stall; less is a busy server
LATE = 0.1  # seconds; for shorter waits clocks are not compared
MANY_TIMES = 2  # or this many times what the slowest 1 % of the others wait longer, on a busy machine
MIN_MARGIN = 0.15  # a server needs up to 100 ms to continue after a freeze, on a busy machine
WAKE_MARGIN = 0.4  # the same in a VM that stood still: up to 0.32 s in benchmarks/live.py, while the training continued
PATH_MARGIN = 0.35  # seconds until packets reach a VM that has moved and runs: up to 0.32 in benchmarks/live.py
RESENT_SHARE = 3  # TCP sent a question again before: after at least a third of the time that it waited in all
PROMPT = 0.05  # seconds in which a server that does not stand still answers
CLOCK_NEARBY = 5.0  # seconds around a silence in which two clocks are compared
CLOCK_LAG = 0.02  # seconds; a guest whose clock seems to lag that much stood still
CLOCK_DRIFT = 0.01  # seconds by which they may drift apart in twice that time: NTP changes a clock by 0.5 ms per second
NEARBY = 30.0  # seconds around a silence that show what is usual there
FASTER = 1.5  # how much faster than usual a training may be after a stall
MIN_CHANGES = 3  # changes of progress that give its rate
DISTANT = 2  # times the usual time between two answers: more is another silence, or a delay
Windows = Sequence[tuple[float, float]]
News = tuple["float | None", "float | None", str, "float | None"]
# Clocks and durations in a message: they run while a training hangs.
TIMES = re.compile(
    r"\d{4}-\d\d-\d\d[T ]?|\d+:\d\d:\d\d(?:[.,]\d+)?|\d+:\d\d[.,]\d+|(?<=\[)\d+:\d\d(?:<\d+:\d\d)?"
    r"|(?:\d+(?:[.,]\d+)?\s*(?:ms|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b\s*)+"
    r"|\b(?:elapsed|uptime|eta|runtime|running)\b(?:\s+(?:for|since|time))?\s*[:=]?\s*\d[\d:.,]*",
    re.IGNORECASE,
)


def news(sample: Sample) -> News:
    """What changes while a training works: progress, step, else its message and the time of its last step.

    If its steps are counted, a message beside them is not work.
    """
    if sample.step:
        return sample.progress, sample.step, "", None
    return sample.progress, sample.step, without_times(sample.detail), sample.logged


@lru_cache(maxsize=1024)
def without_times(message: str) -> str:
    """A message without the clocks and durations in it."""
    return TIMES.sub("", message)


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer from ``start`` to ``end``: the server stood still for ``low`` to ``high`` seconds of that time.

    ``evidence``: seconds that an unanswered question waited longer than usual, less the time in which work continued.
    ``stands_out``: a question waited longer than at a busy server. ``claimed``: the silence is reported as a stall.
    ``freeze``: how long the VM's kernel answered nothing, as (estimate, low, high).
    """

    start: float
    end: float
    seconds: float
    low: float
    high: float
    evidence: float
    stands_out: bool
    claimed: bool
    freeze: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """The longest stall. Progress must be seen after ``since``; it is ``None`` if nothing stood out.

    ``freeze``: the longest freeze of the VM, ``None`` if the provider's signal does not show it.
    """

    stall: Stall
    since: float | None
    note: str = ""
    freeze: Stall | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """By how many seconds the guest's clock fell behind in a silence: ``least`` to ``most``.

    ``coarse``: the clock shows steps, so that the middle of the two may be far from the truth.
    """

    least: float
    most: float
    coarse: bool

    @property
    def estimate(self) -> float:
        """The middle."""
        return (self.least + self.most) / 2


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
        """(threshold, margin) around a silence: the wait above which a question stands out, and the wait of others."""
        others = sorted(self._waits[i] for i in self._near(before, after) if i != after)
        slow = others[int(0.99 * (len(others) - 1))] if others else 0.0
        return max(STANDS_OUT, MANY_TIMES * slow), max(MIN_MARGIN, slow)

    def _near(self, before: int, after: int) -> range:
        first = bisect.bisect_left(self._received, self._received[before] - NEARBY)
        end = self._received[min(after, len(self._received) - 1)] + NEARBY
        return range(first, bisect.bisect_right(self._received, end))

    def _within(self, start: float, end: float) -> Sequence[Sample]:
        """The answers that were received between two times."""
        return self.heard[bisect.bisect_left(self._received, start) : bisect.bisect_right(self._received, end)]

    def lag(self, before: int, after: int) -> Lag | None:
        """By how much the guest's clock fell behind in a silence; ``None`` if it is not known.

        A clock shows some time between question and answer (Cristian's algorithm), so quick answers show most. One that shows
        whole seconds shows most just before and after each of them. If it may not lag at all, it shows nothing.
        """
        earlier = [s for s in self._within(self._received[before] - CLOCK_NEARBY, self._received[before]) if s.clock]
        until = self._received[min(after, len(self.heard) - 1)]
        later = [s for s in self._within(until, until + CLOCK_NEARBY) if s.clock]
        if not earlier or not later or len({s.process for s in (*earlier, *later)}) > 1:
            return None
        (least, most), (least_later, most_later) = _ahead(earlier), _ahead(later)
        coarse = max(s.clock_step for s in (*earlier, *later)) > CLOCK_LAG
        lag = Lag(least - most_later - CLOCK_DRIFT, most - least_later + CLOCK_DRIFT, coarse)
        return None if coarse and lag.least <= 0 else lag

    def worked(self, before: int, after: int, still: float) -> float:
        """Seconds of work done in a silence that would be impossible if the server had stood still for ``still`` seconds.

        Then the network was silent, not the training. 0 if progress is too coarse, or follows the clock.
        """
        later = after + 1  # the first answer after a silence may be from before it; this one was asked later
        if self._clock_progress or later >= len(self.heard):
            return 0.0
        span = self.heard[later].received - self.heard[before].sent
        done = _work_between(self.heard[before], self.heard[later])
        rate, largest = self._pace(before, later)
        return max(0.0, done - largest - FASTER * rate * (span - still)) / rate if rate > 0 else 0.0

    def _pace(self, before: int, later: int) -> tuple[float, float]:
        """(work per second, largest single change) around a silence; (0, 0) if not known.

        Only while the job had the same status: one that ends early is suddenly done, and does nothing after that. What was
        done at the usual rate between two distant answers, as around another silence, is not a single change.
        """
        near, status = self._near(before, later), self.heard[before].status
        parts = (self.heard[near.start : before + 1], self.heard[later : near.stop])
        pairs = [pair for part in parts for pair in itertools.pairwise(part) if {s.status for s in pair} == {status}]
        steps = [_work_between(a, b) for a, b in pairs]
        times = [b.received - a.received for a, b in pairs]
        seconds = sum(times)
        if sum(step > 0 for step in steps) < MIN_CHANGES or seconds <= 0:
            return 0.0, 0.0
        rate, distant = sum(steps) / seconds, DISTANT * median(times)
        single = [step for step, time in zip(steps, times, strict=True) if time <= distant]
        if sum(step > 0 for step in single) < MIN_CHANGES:
            return rate, max(steps)
        return rate, max(*single, *(step - rate * time for step, time in zip(steps, times, strict=True)))


def clock_doubt(answers: Sequence[Sample]) -> float:
    """By how many seconds the guest's clock may be off as these answers show it; infinite if none shows it, or somebody has set it."""
    known = [s for s in answers if s.clock is not None]
    least, most = _ahead(known) if known else (0.0, math.inf)
    return most - least if most >= least else math.inf


def _ahead(answers: Sequence[Sample]) -> tuple[float, float]:
    """(minimum, maximum) of the seconds by which the guest's clock is ahead of the controller's."""
    known = [(s.clock - s.received, s.clock + s.clock_step - s.news_from) for s in answers if s.clock is not None]
    return max(least for least, _most in known), min(most for _least, most in known)


def _work_between(before: Sample, after: Sample) -> float:
    """Steps done, or share of the job done if steps are not counted; 0 if neither is known or it went back."""
    if before.step is not None and after.step is not None:
        return max(0.0, after.step - before.step)
    if before.progress is not None and after.progress is not None:
        return max(0.0, after.progress - before.progress)
    return 0.0


def silences(samples: Sequence[Sample], unwatched: Windows = (), *, clock_progress: bool = False) -> list[Silence]:
    """The times between answers, in order. The last one has no end if the last sample is not an answer."""
    answers = _Answers(samples, clock_progress=clock_progress)
    found = []
    for before in range(len(answers.heard)):
        place = answers.places[before]
        following = answers.places[before + 1] if before + 1 < len(answers.heard) else len(samples) - 1
        if following > place and not overlaps(unwatched, samples[place].received, samples[following].received):
            found.append(_silence(answers, before, place, following))
    return found


def _silence(answers: _Answers, before: int, place: int, following: int) -> Silence:
    """The silence from the sample at ``place`` to the next answer, or to the last sample."""
    first, question, last = answers.samples[place], answers.samples[place + 1], answers.samples[following]
    late = sum(s.late for s in answers.samples[place + 1 : following + 1])
    waited = last.received - question.sent - late - answers.middle
    seconds, high = _between(first, question, last, late, answers.middle), last.received - first.alive_since
    lag = answers.lag(before, before + 1) if waited > LATE else None
    if waited <= STANDS_OUT:
        seconds = _by_the_clock(seconds, 0.0, lag)
        evidence, freeze = max(0.0, waited), (seconds, 0.0, high)
        return Silence(first.received, last.received, seconds, 0.0, high, evidence, False, False, freeze)
    threshold, margin = answers.usual(before, before + 1)
    deaf = _deafness(last)
    threshold = STANDS_OUT if deaf > STANDS_OUT else threshold  # the kernel of a busy server accepts connections
    worked = answers.worked(before, before + 1, waited - margin)
    surely = _surely(last, _at_least(last, answers.middle), margin, lag)
    seconds = _by_the_clock(seconds, surely, lag)
    # If work continued, the network was silent, and nothing shows for how long the server stood still.
    low = max(0.0, surely - 2 * worked) if worked <= margin else 0.0
    low = low if waited > threshold else 0.0
    seconds = min(max(low, seconds - worked), high)
    return Silence(
        first.received,
        last.received,
        seconds,
        low,
        high,
        max(0.0, waited - worked),
        waited > threshold,
        waited - worked > threshold,
        (seconds, low, last.awake - first.alive_since)
        if last.awake is not None and not last.full
        else (0.0, 0.0, high),
    )


def _by_the_clock(seconds: float, surely: float, lag: Lag | None) -> float:
    """The estimate. A server may answer late after a freeze while its training continues, so the guest's clock goes first."""
    if lag is None or lag.least <= 0:
        return seconds
    stood = lag.most if lag.coarse else lag.estimate
    return stood if surely <= stood <= seconds else seconds


def _surely(last: Sample, at_least: float, margin: float, lag: Lag | None) -> float:
    """Seconds for which the VM or its server certainly stood still, if its work did not continue; may be below 0."""
    least, estimate = (lag.least, lag.estimate) if lag is not None else (0.0, 0.0)
    surely = at_least - (max(margin, WAKE_MARGIN) if estimate > CLOCK_LAG else margin)
    if not _was_deaf(last):
        return surely
    # Somebody may have set the guest's clock, so it cannot show more than the silence of the kernel.
    return max(surely - PATH_MARGIN, _deafness(last) - PATH_MARGIN, min(at_least, least))


def _was_deaf(last: Sample) -> bool:
    """Whether the guest's kernel first accepted no connection, and then one."""
    return last.deaf is not None and last.awake is not None


def _deafness(last: Sample) -> float:
    """Seconds for which the guest's kernel accepted no connection; this needs no margin for a busy server."""
    if last.deaf is None or last.deaf_since is None or last.awake is None or last.full:
        return 0.0
    return max(0.0, last.deaf - last.deaf_since - last.late)


def _between(first: Sample, question: Sample, last: Sample, late: float, middle: float) -> float:
    """The middle of what a silence may have lasted: it began between an answer and the question without one."""
    if last.full and _was_with_the_guest(last, middle):
        ended = last.received - middle
    elif last.deaf is not None and last.awake is not None:
        ended = (last.deaf + last.awake) / 2
    elif last.unheard is not None and not _was_with_the_guest(last, middle):
        ended = (last.unheard + last.received - middle) / 2
    else:
        ended = last.received - middle
    return max(0.0, ended - late - (first.received + max(first.received, question.sent)) / 2)


def _was_with_the_guest(last: Sample, middle: float) -> bool:
    """Whether even the youngest question that was answered had waited, so that it was answered as soon as the guest continued."""
    return last.again is not None and last.received - last.again - middle > PROMPT


def _at_least(last: Sample, middle: float) -> float:
    """Seconds for which the question that ended a silence shows that the server stood still, without any margin."""
    if last.outcome in ("refused", "invalid"):
        return 0.0
    begun = last.sent + last.late
    if last.deaf is not None and last.awake is not None:
        return last.deaf - begun
    if last.unheard is not None:
        return last.unheard - begun
    return last.waited / RESENT_SHARE if last.resent else last.waited - middle


def longest_silence(found: Sequence[Silence]) -> Silence | None:
    """The one with the most evidence of a stall; a late question alone is not evidence."""
    return max(found, key=lambda silence: silence.evidence, default=None)


def longest_stall(
    samples: Sequence[Sample],
    unwatched: Windows = (),
    *,
    capabilities: Capabilities = OF_A_SERVER,
    clock_progress: bool = False,
    since: float | None = None,
) -> Finding | None:
    """The longest stall outside ``unwatched`` windows; ``None`` with too few samples.

    Only the time after ``since`` counts; earlier samples show what is usual. Its length is between the maximum of all
    lower bounds and the maximum of all upper bounds.
    """
    if capabilities.signal == "changes":
        return _longest_quiet(samples, unwatched, capabilities.freshness, since)
    found = silences(samples, unwatched, clock_progress=clock_progress)
    if since is not None:
        found = [_after(silence, since) for silence in found if silence.end > since]
    longest = longest_silence(found)
    if longest is None:
        return None
    unknown = _longest_unknown(samples, unwatched, since)
    low, high = max(silence.low for silence in found), max(unknown, *(silence.high for silence in found))
    at = longest.start if longest.claimed else None
    since = max((silence.start for silence in found if silence.stands_out), default=None)
    freeze = _longest_freeze(found, unknown)
    return Finding(Stall(min(max(longest.seconds, low), high), low, high, at), since, freeze=freeze)


def _after(silence: Silence, since: float) -> Silence:
    """The part of a silence after a time: no more of it can have been a stall then."""
    most = silence.end - since
    freeze = (min(silence.freeze[0], most), min(silence.freeze[1], most), min(silence.freeze[2], most))
    return replace(
        silence,
        seconds=min(silence.seconds, most),
        low=min(silence.low, most),
        high=min(silence.high, most),
        freeze=freeze,
    )


def _longest_freeze(found: Sequence[Silence], unknown: float) -> Stall:
    """The longest time in which the VM's kernel answered nothing. Of ``unknown`` seconds nothing is known."""
    longest = max(found, key=lambda silence: (silence.freeze[1], silence.freeze[0]))
    seconds, low, _high = longest.freeze
    high = max(unknown, *(silence.freeze[2] for silence in found))
    return Stall(min(seconds, high), low, high, longest.start if low > 0 else None)


def _longest_unknown(samples: Sequence[Sample], unwatched: Windows, since: float | None) -> float:
    """Seconds after ``since`` in which questions had no answer, and no other watch shows what was before or after.

    They are at the start of each watch, and at the end of one that another watch follows.
    """
    *earlier, last = [_unheard_ends(watch) for watch in _unbroken(samples, unwatched)]
    times = [*(each for ends in earlier for each in ends), last[0]]
    return max(end - (start if since is None else max(start, since)) for start, end in times)


def _unheard_ends(watch: Sequence[Sample]) -> tuple[tuple[float, float], tuple[float, float]]:
    """From when to when questions had no answer at the start and at the end of one unbroken watch."""
    begun, over = watch[0].sent, watch[-1].received
    heard = [place for place, sample in enumerate(watch) if sample.outcome in HEARD]
    if not heard:
        return (begun, over), (over, over)
    first, last = heard[0], heard[-1]
    return (
        (begun, watch[first].received if first > 0 else begun),
        (watch[last].alive_since if last < len(watch) - 1 else over, over),
    )


# --- signal: changes

FEW = 10  # steps; the fewer are known, the longer an ordinary one may be
RARE = 100.0  # a training may save a checkpoint or evaluate once in that many times of what this takes
HEAVY = 3.0  # times the median: steps differ so much that an ordinary one may be twice as long as all others


@dataclass(frozen=True, slots=True)
class Quiet:
    """Time without a change from ``start``: it lasted ``low`` to ``high`` seconds.

    ``whole``: a change was seen at both ends, so it is a whole step and not part of one.
    """

    start: float
    end: float
    low: float
    high: float
    whole: bool


def quiets(samples: Sequence[Sample], freshness: float) -> list[Quiet]:
    """The times before, between and after changes in one unbroken watch. A change is between two questions.

    Nothing is known before the first answer and after the last one: ``high`` includes these times, ``low`` does not.
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
    """The quiets of all unbroken watches; empty if nothing changed in any of them."""
    ended = next((i for i, s in enumerate(samples) if _reports_an_end(s)), None)
    watches = _unbroken(samples if ended is None else samples[: ended + 1], unwatched)
    found = [quiet for watch in watches for quiet in quiets(watch, freshness)]
    if ended is not None and found:
        # Between its last step and its reported end, a training may work for any time.
        found[-1] = replace(found[-1], low=0.0)
    changed = len(found) > len(watches)
    return found if changed else []


def _reports_an_end(sample: Sample) -> bool:
    return sample.outcome == ANSWERED and sample.status not in ("RUNNING", None)


def _unbroken(samples: Sequence[Sample], unwatched: Windows) -> list[Sequence[Sample]]:
    """The samples, split at times without a watch."""
    cuts = [i for i in range(1, len(samples)) if overlaps(unwatched, samples[i - 1].received, samples[i].sent)]
    return [samples[first:end] for first, end in itertools.pairwise([0, *cuts, len(samples)]) if first < end]


def usual_quiet(others: Sequence[Quiet]) -> float:
    """How long an undisturbed step may take, estimated from the other steps; infinite if none of them is whole.

    Checkpoints and evaluations take longer than other steps. So this is the longest of the others, and more if they are
    few or differ much. Part of a step only shows that a whole one may be as long.
    """
    whole = [quiet.high for quiet in others if quiet.whole]
    if not whole:
        return float("inf")
    longest = max(quiet.high for quiet in others)
    heavy = longest > HEAVY * median(whole)
    return longest * max(1 + FEW / len(whole), 2.0 if heavy else 1.0)


def _longest_quiet(
    samples: Sequence[Sample], unwatched: Windows, freshness: float, counted_from: float | None
) -> Finding | None:
    """The longest quiet after ``counted_from``; the earlier ones show what is usual.

    Checkpoints and evaluations are rare. So a quiet time after which the training continues is a stall only if the training
    was seen for much longer without one of that length.
    """
    watched = _watched_quiets(samples, unwatched, freshness)
    begun = float("-inf") if counted_from is None else counted_from
    counted = [quiet for quiet in watched if quiet.end > begun]
    if not counted:
        return None
    most = [min(quiet.high, quiet.end - begun) for quiet in counted]
    high, longest = max(zip(most, counted, strict=True), key=lambda each: (each[0], each[1].high))
    others = [quiet for quiet in watched if quiet is not longest]
    low = min(high, max(0.0, longest.low - usual_quiet(others)))
    if longest.end >= samples[-1].received and samples[-1].hides_steps:
        low = 0.0
    if longest.whole and sum(quiet.high for quiet in others if quiet.whole) < RARE * longest.low:
        low = 0.0
    since = longest.start if low > 0 else None
    known = sum(quiet.whole for quiet in others)
    note = f"compared with {known} other steps of up to {max((q.high for q in others), default=0.0):.2f} s"
    return Finding(Stall((high + low) / 2, low, high, since), since, note)


def steps_stood_still(samples: Sequence[Sample], unwatched: Windows, counted_from: float | None) -> float:
    """For how many seconds a server answered while its training did no step, if that is longer than usual; else 0.

    It may be a checkpoint or an evaluation, or a training that hung: the server answers all the same.
    """
    watched = _watched_quiets([s for s in samples if s.outcome != ANSWERED or s.step is not None], unwatched, 0.0)
    counted = [quiet for quiet in watched if counted_from is None or quiet.start >= counted_from]
    longest = max(counted, key=lambda quiet: quiet.low, default=None)
    if longest is None or longest.low <= usual_quiet([quiet for quiet in watched if quiet is not longest]):
        return 0.0
    silent = [s.received - s.sent for s in samples if s.sent >= longest.start and s.received <= longest.end]
    return longest.low - sum(seconds for seconds in silent if seconds > STANDS_OUT)


def _longest_other(watched: Sequence[Quiet]) -> float | None:
    """Seconds of the longest but one, if a whole step is among the rest; else of the longest."""
    ordered = sorted(watched, key=lambda quiet: quiet.high)
    others = ordered[:-1] if any(quiet.whole for quiet in ordered[:-1]) else ordered
    return others[-1].high if others else None


# --- both


def resolution(
    samples: Sequence[Sample], unwatched: Windows = (), *, capabilities: Capabilities = OF_A_SERVER
) -> float | None:
    """The upper bound without any stall: a shorter stall cannot be distinguished from normal operation.

    It is the widest gap but one: the longest may itself be a stall.
    """
    if capabilities.signal == "changes":
        return _longest_other(_watched_quiets(samples, unwatched, capabilities.freshness))
    found = silences(samples, unwatched)
    longest = longest_silence(found)
    # The answer that ended the longest silence was asked at its start, so the next silence seems as long.
    others = [s for before, s in zip([None, *found], found, strict=False) if longest not in (before, s)]
    return max((s.high for s in others), default=longest.high if longest else None)


def overlaps(windows: Windows, start: float, end: float) -> bool:
    """Whether any of the windows has a part of the time."""
    return any(first < end and last > start for first, last in windows)
