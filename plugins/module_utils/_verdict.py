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
from statistics import median

from ansible_collections.liveml.vsphere.plugins.module_utils._model import (
    Experiment,
    Judgement,
    Sample,
    Stall,
    Verdict,
)

ANSWERED = "answered"
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


def longest_stall(samples: Sequence[Sample], unwatched: Sequence[tuple[float, float]] = ()) -> Stall | None:
    """The longest gap between answers outside ``unwatched`` windows; ``None`` with fewer than two answers."""
    middle, margin = latency_margin(samples)
    answers = [s for s in samples if s.outcome in (ANSWERED, "job_missing")]
    longest: Stall | None = None
    for before, after in itertools.pairwise(answers):
        if any(start < after.received and end > before.received for start, end in unwatched):
            continue
        high = after.received - before.received
        low = max(0.0, after.received - after.sent - middle - margin)
        if longest is None or high > longest.high:
            stands_out = high > median_interval(answers) + STANDS_OUT
            longest = Stall((high + low) / 2, low, high, before.received if stands_out else None)
    return longest


def median_interval(answers: Sequence[Sample]) -> float:
    """Seconds between answers as polling goes undisturbed."""
    gaps = [after.received - before.received for before, after in itertools.pairwise(answers)]
    return median(gaps) if gaps else 0.0


def resolution(samples: Sequence[Sample]) -> float | None:
    """The 99th percentile of the undisturbed gaps: a shorter stall cannot be told from polling."""
    answers = [s for s in samples if s.outcome == ANSWERED]
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
    stall = longest_stall(samples, unwatched)
    identity, why_identity = _identity(experiment, samples)
    progress, why_progress = _progress(experiment, answers, stall)
    stall_claim = _stall_claim(samples, stall, stall_budget, bool(unwatched))
    verdict, why = _verdict(samples, identity, progress, stall_claim)
    notes = [why, why_identity or why_progress, CLOCK_NOTE if experiment.clock_progress else ""]
    before = [s.progress for s in answers if moved_at is None or s.received <= moved_at]
    return Judgement(
        experiment=experiment,
        verdict=verdict,
        identity=identity,
        progress=progress,
        stall=stall_claim,
        longest_stall=stall,
        resolution=resolution(samples),
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
    known = [s for s in answers if s.progress is not None and s.process == experiment.process]
    for before, after in itertools.pairwise(known):
        if after.progress is not None and before.progress is not None and after.progress < before.progress:
            return "refuted", f"progress went back from {before.progress:.4f} to {after.progress:.4f}"
    start = stall.at if stall is not None and stall.at is not None else None
    later = known if start is None else [s for s in known if s.sent > start]
    # The first answer after a gap may have been made before it; only a change among later answers is work.
    if is_over(known) or len({(s.progress, s.detail) for s in later}) > 1:
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


def _verdict(samples: Sequence[Sample], identity: str, progress: str, stall: str) -> tuple[Verdict, str]:
    if identity == "refuted":
        return Verdict.RESTARTED, ""
    if not samples:
        return Verdict.UNKNOWN, "no sample was taken"
    last = samples[-1]
    ending = _ending(last, progress, stall)
    if ending is not None:
        return ending
    if progress == "refuted":
        return Verdict.RESTARTED, ""
    if stall == "refuted":
        return Verdict.STALLED, ""
    if (identity, progress, stall) == ("proven", "proven", "proven"):
        return Verdict.UNINTERRUPTED, ""
    return Verdict.UNKNOWN, "part of the move was not watched" if stall == "unknown" else ""


def _ending(last: Sample, progress: str, stall: str) -> tuple[Verdict, str] | None:
    """The verdict when the last sample alone decides."""
    if last.outcome == "refused":
        return Verdict.FAILED, "the server process is gone: its port refuses connections"
    if last.outcome in ("silent", "invalid"):
        return Verdict.UNKNOWN, "the server could not be observed at the end"
    if last.outcome == "job_missing":
        return Verdict.UNKNOWN, "the server no longer knows the job"
    if _done(last):
        return (Verdict.STALLED, "") if stall == "refuted" else (Verdict.COMPLETED, "")
    if last.status in ("FAILED", "CANCELLED", "CANCEL_PENDING"):
        return Verdict.FAILED, f"the job is {last.status}"
    return None
