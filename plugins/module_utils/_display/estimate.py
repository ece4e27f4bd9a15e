# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The estimate of a run's remaining time, from the plan's predictions and the progress so far. Pure.

A predicted duration assumes that a move has the link to itself, but concurrent moves share it. So work is counted in
predicted seconds, and the remaining work is divided by the rate of all moves together so far. No move is assumed to be faster
than alone on the link.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MIN_SHARE = 0.1  # of the total work; with less done there is no estimate
_MIN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """A move's ``predicted`` seconds, and the ``share`` of it that is done (0 to 1)."""

    predicted: float
    share: float = 0.0

    @property
    def work(self) -> float:
        """Predicted seconds, above 0."""
        return max(self.predicted, _MIN_SECONDS)

    @property
    def rest(self) -> float:
        """Predicted seconds of the part that is not done."""
        return self.work * (1 - self.share)


def share_done(moves: Collection[MoveProgress]) -> float:
    """Share of the total work that is done, weighted by the predictions; 1 without moves."""
    return sum(move.work * move.share for move in moves) / sum(move.work for move in moves) if moves else 1.0


def seconds_left(moves: Collection[MoveProgress], elapsed: float) -> float | None:
    """Estimated seconds until the last move ends; ``None`` while too little is done.

    ``elapsed`` is the time in seconds since the first move began.
    """
    rest = sum(move.rest for move in moves)
    if rest == 0:
        return 0.0
    if elapsed <= 0 or share_done(moves) < MIN_SHARE:
        return None
    rate = sum(move.work * move.share for move in moves) / elapsed
    return max(rest / rate, *(move.rest for move in moves))


def duration_text(seconds: float) -> str:
    """A rough duration as text, ``24 s``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
