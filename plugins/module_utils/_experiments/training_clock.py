# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a training did its steps, by its own clock. Pure.

That clock stops with a frozen guest, or is corrected after it. So what it shows is reported beside the stall. Only the
controller's clock bounds the stall itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

Point = tuple[float, float]  # seconds of the training's clock, step


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest unusual time between two recorded steps, and what one step usually takes, in seconds.

    ``steps`` is the number of steps between them, as recorders keep only some. ``clock`` names whose time it is.
    """

    seconds: float
    steps: float
    after_step: float
    usual: float
    points: int
    clock: str = "guest"


def largest_gap(points: Sequence[Point]) -> Gap | None:
    """The gap with the greatest excess over what its steps usually take; ``None`` with fewer than three points."""
    ordered = sorted(points)
    gaps = [(b[0] - a[0], b[1] - a[1], a[1]) for a, b in itertools.pairwise(ordered) if b[1] > a[1]]
    if len(gaps) < 2:
        return None
    usual = median(seconds / steps for seconds, steps, _after in gaps)
    seconds, steps, after = max(gaps, key=lambda gap: gap[0] - usual * gap[1])
    return Gap(round(seconds, 4), steps, after, round(usual, 6), len(ordered))
