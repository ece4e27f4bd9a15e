# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput of an experiment before, during and after its VM's move, each with a confidence interval. Pure.

Steps of a training are correlated, so the interval comes from twelve batch means (Student's t). With a strong
correlation it covers somewhat less than its nominal 95 %.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from .model import Sample

BATCHES = 12
T_95 = 2.201  # Student's t with 11 degrees of freedom, two-sided 95 %
MIN_CHANGES = 2 * BATCHES


@dataclass(frozen=True, slots=True)
class Throughput:
    """Work per second in a window of ``seconds``: steps or percent; ``half_width`` is that of the 95 % interval."""

    seconds: float
    rate: float
    half_width: float | None  # None: too few changes
    unit: str


def throughput(samples: Sequence[Sample], start: float, end: float) -> Throughput | None:
    """Work between two monotonic times, from the samples within; ``None`` with fewer than two that show progress.

    Also ``None`` if progress went back, as the index of a batch does in each epoch: then its ends do not show the work between.
    """
    steps = any(s.step is not None for s in samples)
    points = [
        (answered_at(s), s.step if steps else 100 * (s.progress or 0.0))
        for s in samples
        if s.outcome == "answered" and (s.step if steps else s.progress) is not None and start <= answered_at(s) <= end
    ]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    times, work = [p[0] for p in points], [float(p[1] or 0.0) for p in points]
    if any(after < before for before, after in itertools.pairwise(work)):
        return None
    seconds = times[-1] - times[0]
    rate = (work[-1] - work[0]) / seconds
    changes = sum(after != before for before, after in itertools.pairwise(work))
    half = _half_width(times, work) if changes >= MIN_CHANGES else None
    return Throughput(seconds, rate, half, "steps" if steps else "percent")


def answered_at(sample: Sample) -> float:
    """When the job query was answered that a sample's figures are from."""
    return sample.received - (sample.sent - sample.news_from)


def joined(parts: Iterable[Throughput | None]) -> Throughput | None:
    """Throughput in several windows together; its interval is known if that of each window is."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    seconds = sum(part.seconds for part in known)
    rate = sum(part.rate * part.seconds for part in known) / seconds
    halves = [part.half_width * part.seconds for part in known if part.half_width is not None]
    half = math.hypot(*halves) / seconds if len(halves) == len(known) else None
    return Throughput(seconds, rate, half, known[0].unit)


def widened(part: Throughput, work: float) -> Throughput:
    """Throughput of which so much work may belong to another time."""
    return part if part.half_width is None else replace(part, half_width=part.half_width + work / part.seconds)


def _half_width(times: Sequence[float], work: Sequence[float]) -> float:
    length = (times[-1] - times[0]) / BATCHES
    edges = [_interpolated(times, work, times[0] + length * i) for i in range(BATCHES + 1)]
    rates = [(after - before) / length for before, after in itertools.pairwise(edges)]
    return T_95 * stdev(rates) / math.sqrt(BATCHES)


def _interpolated(times: Sequence[float], work: Sequence[float], at: float) -> float:
    right = min(max(bisect.bisect_left(times, at), 1), len(times) - 1)
    (t0, w0), (t1, w1) = (times[right - 1], work[right - 1]), (times[right], work[right])
    return w0 if t1 <= t0 else w0 + (w1 - w0) * (min(max(at, t0), t1) - t0) / (t1 - t0)


def cost(before: Throughput | None, during: Throughput | None) -> tuple[float, float, float] | None:
    """Seconds of training time that the moves cost in all, by stalls and slowdown, with the 95 % interval.

    That is the work which is missing from the time of the moves, at the pace before them. ``None`` without an interval.
    """
    ratio = slowdown(before, during)
    if ratio is None or during is None:
        return None
    mean, low, high = ratio
    return during.seconds * (1 - mean), during.seconds * (1 - high), during.seconds * (1 - low)


def slowdown(before: Throughput | None, after: Throughput | None) -> tuple[float, float, float] | None:
    """Throughput after relative to before, with its 95 % interval; ``None`` if one of them has no interval."""
    if before is None or after is None or before.half_width is None or after.half_width is None:
        return None
    if before.rate <= 0 or after.rate <= 0:
        return None
    ratio = after.rate / before.rate
    error = math.hypot(before.half_width / before.rate, after.half_width / after.rate)
    return ratio, ratio * math.exp(-error), ratio * math.exp(error)
