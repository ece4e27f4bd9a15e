# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words for figures, the same in live lines, reports and messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any


def percent(progress: float | None) -> str:
    """Progress 0..1 as a person reads it, ``61 %``."""
    return "? %" if progress is None else f"{100 * progress:.0f} %"


def stall_text(stall: Mapping[str, Any] | None) -> str:
    """A stall with the interval that holds the truth; never a bare zero."""
    if stall is None:
        return "longest stall not measured"
    return f"longest stall {stall['seconds']:.2f} s ({stall['low']:.2f} to {stall['high']:.2f} s)"


def seconds(value: float | None) -> str:
    """A duration as a person reads it; ``not known`` without one."""
    if value is None:
        return "not known"
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def span(start: str, end: str | None) -> float | None:
    """Seconds between two times of the evidence; ``None`` while the second is open."""
    return None if end is None else (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def after(origin: str, at: str | None) -> str:
    """A time as seconds since the run began, ``+3.1 s``."""
    passed = span(origin, at)
    if passed is None:
        return "not seen"
    return f"+{passed:.1f} s" if passed < 600 else f"+{timedelta(seconds=round(passed))}"


def moment(at: str | None) -> str:
    """A time of the evidence as a person reads it, to the second."""
    if at is None:
        return "not known"
    return f"{at[:10]} {at[11:19]} UTC"
