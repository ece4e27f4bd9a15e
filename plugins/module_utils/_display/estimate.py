# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a run is and how long it will still take, from the plan's predictions and what was measured. Pure.

A prediction is for a move that has the link to itself; moves at a time share it. So the work that is left, in predicted
seconds, is divided by the work that all moves together did a second up to now; and no move can be faster than alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MIN_SHARE = 0.1  # of the whole work: less says nothing about the rest
_MIN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """A move: its ``predicted`` seconds and the ``share`` of it that is done, 0 to 1."""

    predicted: float
    share: float = 0.0

    @property
    def work(self) -> float:
        """Predicted seconds, never nothing."""
        return max(self.predicted, _MIN_SECONDS)

    @property
    def rest(self) -> float:
        """Predicted seconds that are left."""
        return self.work * (1 - self.share)


def share_done(legs: Collection[MoveProgress]) -> float:
    """Share of the whole work that is done, each move weighing as much as its prediction; 1 when there is none."""
    return sum(leg.work * leg.share for leg in legs) / sum(leg.work for leg in legs) if legs else 1.0


def seconds_left(legs: Collection[MoveProgress], elapsed: float) -> float | None:
    """Seconds until the last move ends, ``elapsed`` after the first began; ``None`` while too little was measured."""
    rest = sum(leg.rest for leg in legs)
    if rest == 0:
        return 0.0
    if elapsed <= 0 or share_done(legs) < MIN_SHARE:
        return None
    rate = sum(leg.work * leg.share for leg in legs) / elapsed
    return max(rest / rate, *(leg.rest for leg in legs))


def duration_text(seconds: float) -> str:
    """A rough duration as a person reads it, ``24 s``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
