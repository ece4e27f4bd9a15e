# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The verdict: what samples prove about an experiment. Pure.

A stall is read from the gaps between answers. With ``a`` the answer before and ``b`` the answer after a gap,
the experiment stood still at most ``b.received - a.received`` and at least ``b.received - b.sent`` less what an
undisturbed answer takes (measured bound of H2O-3 servers: 98 stuns of 0.1 to 20 s, none outside).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ansible_collections.liveml.vsphere.plugins.module_utils._model import (
    Capabilities,
    Experiment,
    Judgement,
    Sample,
    Stall,
    Verdict,
)

ANSWERED = "answered"
OF_A_SERVER = Capabilities("process", "answers")
LEAST_MARGIN = 0.025  # a server needs up to 22 ms to go on after a freeze
STANDS_OUT = 0.25  # a gap this much above the polling interval is a stall; below it is polling
CLOCK_NOTE = "progress follows the wall clock, because the job has a time limit: it is no proof of work"


def latency_margin(samples: Sequence[Sample]) -> tuple[float, float]:
    """Median latency of answers, and how much later an undisturbed one may come (99th percentile, at least 25 ms)."""
    latencies = sorted(s.received - s.sent for s in samples if s.outcome == ANSWERED)
    if not latencies:
        return 0.0, LEAST_MARGIN
    middle = median(latencies)
    # The freezes that are measured are latencies too; they must not widen the margin for themselves.
    usual = [latency for latency in latencies if latency < middle + STANDS_OUT] or latencies[:1]
    return middle, max(LEAST_MARGIN, usual[int(0.99 * (len(usual) - 1))] - middle)


def longest_stall(
    samples: Sequence[Sample],
    unwatched: Sequence[tuple[float, float]] = (),
    *,
    capabilities: Capabilities = OF_A_SERVER,
    moved_at: float | None = None,
) -> Stall | None:
    """The longest stall outside ``unwatched`` windows; ``None`` when too little was seen to tell."""
    if capabilities.signal == "changes":
        return _longest_quiet(samples, unwatched, capabilities.freshness, moved_at)
    return _longest_silence(samples, unwatched)


def _longest_silence(samples: Sequence[Sample], unwatched: Sequence[tuple[float, float]]) -> Stall | None:
    """From the gaps between answers of a server that freezes with its VM."""
    middle, margin = latency_margin(samples)
    answers = [s for s in samples if s.outcome in (ANSWERED, "job_missing")]
    usual = median_interval(answers)
    longest: Stall | None = None
    for before, after in itertools.pairwise(answers):
        if _overlaps(unwatched, before.received, after.received):
            continue
        high = after.received - before.received
        low = max(0.0, after.received - after.sent - middle - margin)
        if longest is None or high > longest.high:
            longest = Stall((high + low) / 2, low, high, before.received if high > usual + STANDS_OUT else None)
    return longest


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Time between two changes: from ``start`` it lasted at least ``low`` and at most ``high`` seconds."""

    start: float
    end: float
    low: float
    high: float


def _quiets(answers: Sequence[Sample], freshness: float) -> list[_Quiet]:
    """The times between changes of news; the last one is still open. A change lies between two questions."""
    changes = [i for i in range(1, len(answers)) if news(answers[i]) != news(answers[i - 1])]
    found = []
    for first, second in itertools.pairwise([*changes, len(answers)]):
        since, before = answers[first], answers[first - 1]
        unchanged = answers[second - 1]
        until = answers[min(second, len(answers) - 1)]
        found.append(
            _Quiet(
                since.received,
                until.received,
                max(0.0, unchanged.sent - since.received - freshness),
                until.received - before.sent + freshness,
            )
        )
    return found


def _longest_quiet(
    samples: Sequence[Sample], unwatched: Sequence[tuple[float, float]], freshness: float, moved_at: float | None
) -> Stall | None:
    """From the times between changes, on a server that answers through the freeze.

    A training's own step takes time too: what the longest undisturbed one took at most is not counted as stalled, so
    that heavy-tailed steps (checkpoints, evaluation) raise no alarm; the upper bound needs no such assumption.
    """
    answers = [s for s in samples if s.outcome == ANSWERED]
    # What has ended stands still without having stalled.
    ended = next((i for i, s in enumerate(answers) if s.status not in ("RUNNING", None)), len(answers))
    quiets = _quiets(answers[: ended + 1], freshness)
    watched = [q for q in quiets if not _overlaps(unwatched, q.start, q.end)]
    if not watched:
        return None
    longest = max(watched, key=lambda quiet: quiet.high)
    others = [q for q in watched if q is not longest and (moved_at is None or q.end <= moved_at)]
    usual = max((quiet.high for quiet in others), default=longest.high)
    low = max(0.0, longest.low - usual)
    return Stall((longest.high + low) / 2, low, longest.high, longest.start if low > 0 else None)


def _overlaps(windows: Sequence[tuple[float, float]], start: float, end: float) -> bool:
    return any(first < end and last > start for first, last in windows)


def news(sample: Sample) -> tuple[float | None, float | None, str]:
    """What changes when a training goes on."""
    return sample.progress, sample.step, sample.detail


def median_interval(answers: Sequence[Sample]) -> float:
    """Seconds between answers as polling goes undisturbed."""
    gaps = [after.received - before.received for before, after in itertools.pairwise(answers)]
    return median(gaps) if gaps else 0.0


def resolution(samples: Sequence[Sample], capabilities: Capabilities = OF_A_SERVER) -> float | None:
    """The 99th percentile of the undisturbed gaps: a shorter stall cannot be told from polling or from a step."""
    answers = [s for s in samples if s.outcome == ANSWERED]
    if capabilities.signal == "changes":
        usual = sorted(quiet.high for quiet in _quiets(answers, capabilities.freshness))
        return usual[int(0.99 * (len(usual) - 1))] if usual else None
    gaps = sorted(after.received - before.received for before, after in itertools.pairwise(answers))
    quiet = [gap for gap in gaps if gap <= median_interval(answers) + STANDS_OUT]
    return quiet[int(0.99 * (len(quiet) - 1))] if quiet else None


def judge(
    experiment: Experiment,
    samples: Sequence[Sample],
    *,
    stall_budget: float,
    moved_at: float | None = None,
    unwatched: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """The verdict from all samples of an experiment.

    ``moved_at`` is when its move began (monotonic): progress before it is what must not be lost.
    """
    answers = [s for s in samples if s.outcome == ANSWERED]
    stall = longest_stall(samples, unwatched, capabilities=experiment.capabilities, moved_at=moved_at)
    identity, why_identity = _identity(experiment, samples)
    progress, why_progress = _progress(experiment, answers, stall)
    stall_claim = _stall_claim(samples, stall, stall_budget, bool(unwatched))
    verdict, why = _verdict(experiment, samples, identity, progress, stall_claim)
    notes = [why, why_identity or why_progress, CLOCK_NOTE if experiment.clock_progress else ""]
    before = [s.progress for s in answers if moved_at is None or s.received <= moved_at]
    return Judgement(
        experiment=experiment,
        verdict=verdict,
        identity=identity,
        progress=progress,
        stall=stall_claim,
        longest_stall=stall,
        resolution=resolution(samples, experiment.capabilities),
        progress_before=next((p for p in reversed(before) if p is not None), experiment.progress),
        progress_after=next((s.progress for s in reversed(answers) if s.progress is not None), None),
        samples=len(samples),
        unwatched_seconds=sum(end - start for start, end in unwatched),
        detail="; ".join(dict.fromkeys(note for note in notes if note)),
    )


def _identity(experiment: Experiment, samples: Sequence[Sample]) -> tuple[str, str]:
    """Same process and same job in every answer, the last sample being an answer."""
    for sample in samples:
        if sample.process is not None and sample.process != experiment.process:
            return "refuted", "another server process answers now"
    if not samples or samples[-1].outcome != ANSWERED:
        return "unknown", ""
    return "proven", ""


def _progress(experiment: Experiment, answers: Sequence[Sample], stall: Stall | None) -> tuple[str, str]:
    """Never back, and news of progress after the longest gap."""
    known = [s for s in answers if news(s) != (None, None, "") and s.process == experiment.process]
    for before, after in itertools.pairwise(known):
        if after.progress is not None and before.progress is not None and after.progress < before.progress:
            return "refuted", f"progress went back from {before.progress:.4f} to {after.progress:.4f}"
        if after.step is not None and before.step is not None and after.step < before.step:
            return "refuted", f"it went back from step {before.step:g} to step {after.step:g}"
    start = stall.at if stall is not None and stall.at is not None else None
    later = known if start is None else [s for s in known if s.sent > start]
    # The first answer after a gap may have been made before it; only a change among later answers is work.
    if is_over(known) or len({news(s) for s in later}) > 1:
        return "proven", ""
    return "unknown", "no progress was seen after the longest gap"


def is_over(answers: Sequence[Sample]) -> bool:
    """Whether the job was seen to have ended well."""
    return bool(answers) and _done(answers[-1])


def _done(sample: Sample) -> bool:
    # Cancelling a finished job relabels it; its message stays "Done.".
    return sample.status == "DONE" or (sample.status == "CANCELLED" and sample.detail == "Done.")


def _stall_claim(samples: Sequence[Sample], stall: Stall | None, budget: float, unwatched: bool) -> str:
    if stall is None:
        return "unknown"
    if stall.low > budget or stall.seconds > budget:
        return "refuted"
    if unwatched or samples[-1].outcome != ANSWERED:
        return "unknown"
    return "proven"


def _verdict(
    experiment: Experiment, samples: Sequence[Sample], identity: str, progress: str, stall: str
) -> tuple[Verdict, str]:
    if identity == "refuted":
        return Verdict.RESTARTED, ""
    if not samples:
        return Verdict.UNKNOWN, "no sample was taken"
    last = samples[-1]
    ending = _ending(experiment, last, stall)
    if ending is not None:
        return ending
    if progress == "refuted":
        return Verdict.RESTARTED, ""
    if stall == "refuted":
        return Verdict.STALLED, ""
    if (identity, progress, stall) == ("proven", "proven", "proven"):
        return Verdict.UNINTERRUPTED, ""
    return Verdict.UNKNOWN, "part of the move was not watched" if stall == "unknown" else ""


def _ending(experiment: Experiment, last: Sample, stall: str) -> tuple[Verdict, str] | None:
    """The verdict when the last sample alone decides."""
    if last.outcome == "refused" and experiment.capabilities.signal == "answers":
        return Verdict.FAILED, "the server process is gone: its port refuses connections"
    if last.outcome in ("silent", "invalid", "refused"):
        return Verdict.UNKNOWN, "the server could not be observed at the end"
    if last.outcome == "job_missing":
        return Verdict.UNKNOWN, "the server no longer knows the job"
    if _done(last):
        return (Verdict.STALLED, "") if stall == "refuted" else (Verdict.COMPLETED, "")
    if last.status in ("FAILED", "CANCELLED", "CANCEL_PENDING"):
        return Verdict.FAILED, f"the job is {last.status}"
    return None
