# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The times of a journal on one clock, also if its run was resumed on another machine or after a reboot. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from .._core.clock import Clock, shift
from .events import Entry, RunResumed, RunStarted, StallFigures, VerdictReached


@dataclass(frozen=True, slots=True)
class Timeline:
    """A journal's entries by the clock of the run's first process, and what was added to the times of each boot.

    ``last``: what was added to those of the run's last process.
    """

    entries: tuple[Entry, ...]
    shifts: Mapping[str, float]
    last: float


def timeline(entries: Sequence[Entry]) -> Timeline:
    """The entries by one clock. An entry is never earlier than the one before it: two machines may show different times of day."""
    first: Clock | None = None
    shifts: dict[str, float] = {}
    found: list[Entry] = []
    seconds = 0.0
    for entry in entries:
        boot = entry.event.boot if isinstance(entry.event, RunStarted | RunResumed) else ""
        if boot:
            clock = Clock(boot, datetime.fromisoformat(entry.at).timestamp() - entry.mono)
            first = first or clock
            known = shifts.get(boot, shift(clock, first))
            begun = found[-1].mono - entry.mono if found and boot != first.boot else known
            seconds = shifts[boot] = max(known, begun)
        found.append(_shifted(entry, seconds))
    return Timeline(tuple(found), shifts, seconds)


def by_last_clock(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries by the clock of the process that wrote the last of them."""
    known = timeline(entries)
    return tuple(_shifted(entry, -known.last) for entry in known.entries)


def _shifted(entry: Entry, seconds: float) -> Entry:
    """The entry by a clock that shows ``seconds`` more."""
    if not seconds:
        return entry
    event = entry.event
    if isinstance(event, VerdictReached):
        event = replace(
            event,
            longest_stall=_shifted_stall(event.longest_stall, seconds),
            longest_freeze=_shifted_stall(event.longest_freeze, seconds),
        )
    return replace(entry, mono=entry.mono + seconds, event=event)


def _shifted_stall(stall: StallFigures | None, seconds: float) -> StallFigures | None:
    return stall if stall is None or stall.at_mono is None else replace(stall, at_mono=stall.at_mono + seconds)
