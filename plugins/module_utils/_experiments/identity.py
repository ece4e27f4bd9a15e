# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the same process trains the same job at both ends of a watch. Pure.

A process that is named in the last answer as it was at the start has lived all the time between. Where nothing names the
process, the claim is ``unknown``. Such a training may still be called uninterrupted if its record is *unbroken*: there
was no time in which another process could have taken over unseen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .._core.standing import said
from .model import BETWEEN, Experiment, Sample
from .record import QUICK_START_SECONDS, REPEATS, RESTART_SECONDS, excesses, longest_pause
from .stall import overlaps, without_times

ANSWERED = "answered"
# How ``providers/probe.py`` names a connection that was cut. A firewall that lost its state does that, too.
CUT = ("ConnectionResetError", "BrokenPipeError", "RemoteDisconnected", "SSLEOFError", "ConnectionAbortedError")
MIN_CHANGES = 3  # of the work shown by who answers, so that two gaps between them can be compared
Windows = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Identity:
    """The claim and its reason. ``unbroken``: nothing names the process, but no other one can have taken over."""

    claim: str
    why: str = ""
    unbroken: bool = False

    @property
    def good(self) -> bool:
        """Whether a verdict may say that nothing restarted."""
        return self.claim == "proven" or self.unbroken


def identity_of(experiment: Experiment, samples: Sequence[Sample], unwatched: Windows = ()) -> Identity:
    """What the samples say about process and job; the samples end with the job's end, if it ended."""
    for session in sessions(samples, unwatched):
        last = next((s for s in reversed(session) if s.outcome == ANSWERED), None)
        if last is not None and last.restarted:
            return Identity("refuted", last.restarted)  # of all that the provider has seen; it may have learned more
    if any(_has_other_name(experiment, s) for s in samples):
        return Identity("refuted", "a different server process now answers in this VM")
    if not samples or samples[-1].outcome != ANSWERED:
        return Identity("unknown")
    if experiment.process and samples[-1].process == experiment.process:
        return Identity("proven")
    if _was_gone(experiment, samples):
        return Identity("refuted", "its port refused connections, and nothing shows that the same process answers now")
    if experiment.process:
        return Identity("unknown", "the answers no longer name the process")
    why = _why_broken(experiment, samples, unwatched)
    return Identity("unknown", f"nothing names the process that trains{': ' if why else ''}{why}", unbroken=not why)


def sessions(samples: Sequence[Sample], unwatched: Windows) -> list[Sequence[Sample]]:
    """The samples of each watching process. Each may have another clock, if a run is resumed on another machine."""
    cuts = [
        i
        for i in range(1, len(samples))
        if samples[i].sent < samples[i - 1].sent or overlaps(unwatched, samples[i - 1].received, samples[i].sent)
    ]
    return [samples[first:end] for first, end in itertools.pairwise([0, *cuts, len(samples)]) if first < end]


def is_foreign(experiment: Experiment, sample: Sample) -> bool:
    """Whether a sample proves that the training started again or that another process answers."""
    return bool(sample.restarted) or _has_other_name(experiment, sample)


def _has_other_name(experiment: Experiment, sample: Sample) -> bool:
    return bool(sample.process) and sample.process != experiment.process


def was_refused(samples: Sequence[Sample], place: int) -> bool:
    """Whether nobody listened when a question was asked.

    A firewall that lost its state cuts an old connection. If the next one is cut, too, nobody listens behind a forwarder.
    """
    sample = samples[place]
    before = samples[place - 1].outcome if place > 0 else ""
    return sample.outcome == "refused" and (sample.detail not in CUT or before == "refused")


def _was_gone(experiment: Experiment, samples: Sequence[Sample]) -> bool:
    """Whether nobody listened where the training itself answers, and no answer after that names the same process."""
    if experiment.capabilities.signal != "answers":
        return False  # a server of records may be restarted beside the training
    gone = [place for place in range(len(samples)) if was_refused(samples, place)]
    return bool(gone) and not any(
        experiment.process and s.outcome == ANSWERED and s.process == experiment.process for s in samples[gone[-1] :]
    )


def _why_broken(experiment: Experiment, samples: Sequence[Sample], unwatched: Windows) -> str:
    """Why another process may have taken over unseen; empty if there was no time for it."""
    if experiment.capabilities.signal == "answers":
        return _why_not_answered(samples, unwatched) or _why_not_worked(experiment, samples)
    return _why_not_logged(experiment, samples)


def _why_not_answered(samples: Sequence[Sample], unwatched: Windows) -> str:
    if unwatched:
        return "it was not watched all the time"
    other = next((s for s in samples if s.outcome != ANSWERED), None)
    if other is not None:
        return f"a question was not answered{said(other.detail or other.outcome)}"
    longest = max((after.received - before.sent for before, after in itertools.pairwise(samples)), default=0.0)
    longest = max(longest, samples[0].received - samples[0].sent)
    return (
        f"no answer for up to {longest:.2f} s, in which another process may have started"
        if longest >= RESTART_SECONDS
        else ""
    )


def _why_not_worked(experiment: Experiment, samples: Sequence[Sample]) -> str:
    """Who answers may be another process than the one that trains, as a push gateway, or the first of several workers.

    If the figures of a job are asked for apart from its answers, its server runs the job and reports how it ends.
    """
    if any(s.asked is not None for s in samples):
        return ""
    changes = [
        i for i in range(1, len(samples)) if _shown(experiment, samples[i]) != _shown(experiment, samples[i - 1])
    ]
    if len(changes) < MIN_CHANGES:
        return "too little work was seen"
    # A change was between two answers.
    times = [(samples[i - 1].sent + samples[i].received) / 2 for i in changes]
    gaps = [
        (after - before, _steps(samples[i], samples[j]))
        for (before, after), (i, j) in zip(itertools.pairwise(times), itertools.pairwise(changes), strict=True)
    ]
    at_the_ends = max(times[0] - samples[0].sent, samples[-1].received - times[-1])
    holes = [_hole(samples[i - 1 : j + 1]) for i, j in itertools.pairwise(changes)]
    usual = median(holes)
    seen = [_without_hole(gap, hole - usual) for gap, hole in zip(gaps, holes, strict=True)]
    at_most = [samples[j].received - samples[i - 1].sent for i, j in itertools.pairwise(changes)]
    # A new process may skip steps, so that its pace explains a pause. But the other pauses were not that long.
    longest = max(*excesses(seen), max(at_most) - median(at_most), at_the_ends - max(gaps)[0])
    return _pause(longest) if longest >= RESTART_SECONDS else ""


def _hole(samples: Sequence[Sample]) -> float:
    """The longest time between two answers."""
    return max(after.received - before.received for before, after in itertools.pairwise(samples))


def _without_hole(gap: tuple[float, float], hole: float) -> tuple[float, float]:
    """A gap as if there had been answers in its ``hole`` seconds, too: the steps of that time show nothing about the others."""
    seconds, steps = gap
    left = seconds - max(0.0, hole)
    share = max(left / seconds, 1 / steps) if seconds > 0 else 1.0
    return seconds * share, steps * share


def _shown(experiment: Experiment, sample: Sample) -> object:
    """What shows the work of a training: its steps if they are counted."""
    if sample.step is not None:
        return sample.step
    return (None if experiment.clock_progress else sample.progress), without_times(sample.detail)


def _pause(seconds: float) -> str:
    return f"no step for {seconds:.2f} s longer than usual, in which another process may have started"


def _why_not_logged(experiment: Experiment, samples: Sequence[Sample]) -> str:
    """A new process has to start and to work for its first step, which takes longer than the quickest of the others.

    The training's own clock is precise, but somebody may set it back; the controller's sees steps later than they are done.
    """
    answers = [s for s in samples if s.outcome == ANSWERED]
    if any(s.logged is None for s in answers):
        return "its record has no times"
    seen = [s for i, s in enumerate(answers) if i == 0 or s.logged != answers[i - 1].logged]
    repeats = any(s.detail == REPEATS for s in answers) or _repeats(seen)
    if repeats and answers[-1].paused is None:
        return "its steps repeat, and its record shows only the highest ones"
    pairs = list(itertools.pairwise(seen))
    if len(pairs) < 2:
        return "too few steps were logged"
    if any(_seconds(*pair) < 0 for pair in pairs):
        return "the times in its record went back"
    if experiment.capabilities.freshness >= RESTART_SECONDS:
        # Only its own clock could show a pause, and somebody may have set that back.
        return f"its record is up to {experiment.capabilities.freshness:.1f} s old, in which another process may have started"
    quickest = min(_seconds(*pair) / _steps(*pair) for pair in pairs)
    freshness = experiment.capabilities.freshness
    shown_late = max(b.received - a.sent - freshness - _steps(a, b) * quickest for a, b in pairs)
    points = [(s.logged or 0.0, s.step or 0.0) for s in seen]
    longest = max(longest_pause(points), answers[-1].paused or 0.0)
    if longest >= QUICK_START_SECONDS or shown_late >= RESTART_SECONDS:
        return _pause(max(longest, shown_late))
    shown = [after.received - before.sent for before, after in pairs]
    # Between two runs of a search, nobody logs.
    ended = next((s for s in answers if s.status == BETWEEN and s.sent > seen[-1].sent), samples[-1])
    still = ended.received - seen[-1].sent
    late = still >= RESTART_SECONDS + max(shown) + freshness
    return f"no step in the last {still:.2f} s" if late else ""


def _repeats(seen: Sequence[Sample]) -> bool:
    """Whether one step came again more often than any other, and not sooner than another step: the highest one of a batch index does."""
    groups = [list(same) for step, same in itertools.groupby(seen, key=lambda s: s.step) if step is not None]
    most = max(map(len, groups), default=1)
    longest = [group for group in groups if len(group) == most]
    if most == 1 or len(longest) > 1:
        return False
    others = [_seconds(a, b) / _steps(a, b) for a, b in itertools.pairwise(seen) if a.step != b.step]
    return min(_seconds(*pair) for pair in itertools.pairwise(longest[0])) >= min(others, default=0.0)


def _seconds(before: Sample, after: Sample) -> float:
    """Between two steps, by the training's own clock."""
    return (after.logged or 0.0) - (before.logged or 0.0)


def _steps(before: Sample, after: Sample) -> float:
    """How many steps later; at least one, because the same step may be logged several times."""
    return max(1.0, (after.step or 0.0) - (before.step or 0.0))
