# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The times of a run that was resumed on other machines, whose monotonic clocks show anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import VerdictReached
from ansible_collections.liveml.vsphere.plugins.module_utils._run.timeline import Timeline, by_last_clock, timeline

from tests.builders.journals import BEGIN, INTACT, entries

STALL = {"seconds": 0.4, "low": 0.3, "high": 0.5}


def at(seconds: float, mono: float, event: str, **fields: Any) -> dict[str, Any]:
    """An event so many seconds after nine o'clock, by the time of day of its machine."""
    return {"at": (BEGIN + timedelta(seconds=seconds)).isoformat(), "mono": mono, "event": event, **fields}


def resumed(mono: float, *, boot: str = "b", skew: float = 0.0) -> list[dict[str, Any]]:
    """A run of machine ``a``, resumed 40 s after its start on another one, whose time of day is ``skew`` seconds ahead."""
    return [
        at(0, 5000.0, "run_started", boot="a"),
        at(10, 5010.0, "move_submitting"),
        at(20, 5020.0, "verdict", longest_stall={**STALL, "at_mono": 5015.0}),
        at(40 + skew, mono, "run_resumed", boot=boot),
        at(50 + skew, mono + 10, "move_finished"),
        at(60 + skew, mono + 20, "verdict", longest_stall={**STALL, "at_mono": mono + 15}),
    ]


def monos(known: Timeline) -> list[float]:
    return [round(entry.mono, 3) for entry in known.entries]


def begins(known: Timeline) -> list[float | None]:
    stalls = [entry.event.longest_stall for entry in known.entries if isinstance(entry.event, VerdictReached)]
    return [None if stall is None or stall.at_mono is None else round(stall.at_mono, 3) for stall in stalls]


@pytest.mark.parametrize("mono", [30.0, 90_000.0], ids=["a lower clock", "a higher clock"])
def test_a_run_that_was_resumed_on_another_machine_has_one_clock(mono: float) -> None:
    known = timeline(entries(resumed(mono)))
    assert monos(known) == [5000, 5010, 5020, 5040, 5050, 5060]
    assert begins(known) == [5015, 5055]
    assert known.shifts == {"a": 0.0, "b": pytest.approx(5040 - mono)}


def test_the_times_by_the_last_clock_are_those_of_the_process_that_goes_on() -> None:
    found = by_last_clock(entries(resumed(30.0)))
    assert [round(entry.mono, 3) for entry in found] == [-10, 0, 10, 30, 40, 50]


def test_a_time_of_day_that_is_behind_puts_no_event_before_an_earlier_one() -> None:
    assert monos(timeline(entries(resumed(30.0, skew=-600)))) == [5000, 5010, 5020, 5020, 5030, 5040]


def test_a_time_of_day_that_was_set_changes_nothing_on_one_machine() -> None:
    events = resumed(5040.0, boot="a", skew=600)
    assert timeline(entries(events)).entries == tuple(entries(events))


def test_a_run_that_returns_to_its_first_machine_has_its_clock_again() -> None:
    events = [*resumed(30.0), at(90, 5090.0, "run_resumed", boot="a"), at(95, 5095.0, "run_finished")]
    assert monos(timeline(entries(events)))[-3:] == [5060, 5090, 5095]


@pytest.mark.parametrize("before", [True, False])
def test_a_journal_that_names_no_boot_keeps_its_times(before: bool) -> None:
    events = resumed(30.0)
    del events[0 if before else 3]["boot"]
    assert timeline(entries(events)).entries == tuple(entries(events))


def test_the_evidence_has_one_clock() -> None:
    """Move and stall of the second machine do not begin before the run, or hours after it."""
    known = timeline(entries(resumed(30.0)))
    found = {"provider": "h2o3", "process": "1", "url": "http://x", "progress": 0.1}
    first = known.entries[0]
    found_at = entries([at(0, 5000.0, "experiment_found", **found)])
    samples = {("vm-4", "job-1"): [Sample(5005.0, 5005.0, "answered", progress=0.2)]}
    (experiment,) = evidence_of([first, *found_at, *known.entries[1:]], samples, INTACT)["experiments"]  # type: ignore[arg-type]
    assert experiment["moving"] == [[10.0, 50.0]]
    assert experiment["stall_at"] == pytest.approx(55.0)
