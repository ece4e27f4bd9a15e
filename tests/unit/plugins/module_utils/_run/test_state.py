# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a journal says about its run, event by event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Entry, VerdictReached
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import RunState, replay, with_verdicts_of_moves
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import VcenterInfo

from tests.builders.journals import VCENTER, entries

PART = {"key": 0, "label": "files", "source": "a", "source_name": "A", "target": "b", "target_name": "B"}
ERROR = {"fault": "Timedout", "message": "too slow"}


def vm(number: int) -> dict[str, str]:
    return {"moid": f"vm-{number}", "name": f"ml-{number}"}


def event(kind: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"event": kind, "vm": vm(number), **fields}


def plain(kind: str, **fields: Any) -> dict[str, Any]:
    return {"event": kind, **fields}


def timed(*events: dict[str, Any]) -> list[Entry]:
    """Entries of which each has its own time: ``09:00:01`` is the first after the start of the run."""
    begun = entries([plain("run_started"), *events])
    return [replace(entry, at=f"2026-01-31T09:00:{entry.seq - 1:02}.000Z") for entry in begun]


def state_after(*events: dict[str, Any]) -> RunState:
    state = replay(timed(*events))
    assert state is not None
    return state


def test_a_run_as_it_started() -> None:
    state = state_after()
    assert (state.run_id, state.plan_id, state.key, state.purpose) == ("r1", "p1", "u.host-5", "evacuate")
    assert (state.host, state.host_name, state.started_at) == ("host-5", "esx-05", "2026-01-31T09:00:00.000Z")
    assert (state.finished, state.stopping, state.silent, state.own_fence) == (False, False, 0.0, False)
    assert state.is_of("u")
    assert not state.is_of("u.host")
    assert not state.is_of("")
    (entry,) = entries([plain("run_started", host=None, second={**VCENTER, "name": "vc2"})])
    alone = replay([entry])
    assert alone is not None
    assert (alone.host, alone.host_name) == (None, "")
    assert alone.second == VcenterInfo(**{**VCENTER, "name": "vc2"})


@pytest.mark.parametrize(
    ("events", "stopping", "silent", "plan_id"),
    [
        (["run_stopping"], True, 0.0, "p1"),
        (["vcenter_silence"], False, 12.5, "p1"),
        (["run_stopping", "vcenter_silence"], True, 12.5, "p1"),
        (["run_stopping", "vcenter_silence", "run_resumed"], False, 0.0, "p2"),
        (["run_resumed", "run_stopping"], True, 0.0, "p2"),
    ],
)
def test_a_process_that_takes_the_run_up_has_neither_stopped_nor_waited(
    events: list[str], stopping: bool, silent: float, plan_id: str
) -> None:
    state = state_after(*(plain(kind, **({"plan_id": "p2"} if kind == "run_resumed" else {})) for kind in events))
    assert (state.stopping, state.silent, state.plan_id) == (stopping, silent, plan_id)


@pytest.mark.parametrize(
    ("events", "own"),
    [
        ([plain("fence", own=True)], True),
        ([plain("fence", own=False)], False),
        ([plain("fence_setting")], True),
        ([plain("fence_setting"), plain("fence", own=False)], False),
        ([plain("fence_setting"), plain("fence_lifting")], True),
        ([plain("fence_setting"), plain("fence_lifting"), plain("fence_lifted")], False),
        ([plain("fence_setting"), plain("fence_kept")], True),
    ],
)
def test_whether_the_fence_is_of_the_run(events: list[dict[str, Any]], own: bool) -> None:
    assert state_after(*events).own_fence is own


def test_a_move_as_far_as_it_got() -> None:
    told = [
        event("planned", parts=[PART]),
        event("move_submitting"),
        event("move_submitted"),
        event("move_finished", parts=[PART]),
    ]
    steps = [state_after(*told[:count]) for count in range(1, 5)]
    moves = [step.moves["vm-1"] for step in steps]
    assert [move.in_flight for move in moves] == [False, True, True, False]
    assert [move.task for move in moves] == [None, None, "task-9", "task-9"]
    assert [move.result for move in moves] == [None, None, None, MoveResult.MOVED]
    assert [move.ended_at for move in moves] == ["", "", "", "2026-01-31T09:00:04.000Z"]
    assert [step.in_flight for step in steps] == [(), (moves[1],), (moves[2],), ()]
    assert moves[3].move.targets == {0: "b"}


def test_a_move_that_is_tried_again_has_not_ended() -> None:
    failed = [
        event("planned"),
        event("move_submitting"),
        event("move_submitted"),
        event("move_finished", result="failed", error=ERROR),
    ]
    (ended,) = state_after(*failed).moves.values()
    assert (ended.result, ended.fault) == (MoveResult.FAILED, "Timedout")
    (again,) = state_after(*failed, event("move_submitting", attempt=2)).moves.values()
    assert (again.result, again.fault, again.ended_at, again.task, again.in_flight) == (None, "", "", None, True)


def test_a_move_ends_where_somebody_else_moved_the_vm() -> None:
    elsewhere = {"moid": "host-9", "name": "esx-09"}
    (move,) = state_after(event("planned"), event("move_finished", target=elsewhere)).moves.values()
    assert (move.target, move.target_name) == ("host-9", "esx-09")


def test_events_of_a_vm_that_no_plan_names_are_left_out() -> None:
    assert state_after(event("planned"), event("move_submitting", 2), event("move_finished", 2)).moves.keys() == {
        "vm-1"
    }


@pytest.mark.parametrize(("submitted", "task"), [(False, None), (True, "task-9")])
def test_a_move_in_flight_that_is_planned_again_is_still_in_flight(submitted: bool, task: str | None) -> None:
    flying = [event("planned"), event("move_submitting"), *([event("move_submitted")] if submitted else [])]
    other = {"moid": "host-7", "name": "esx-07"}
    (move,) = state_after(*flying, plain("run_resumed"), event("planned", target=other)).moves.values()
    assert (move.in_flight, move.task, move.target) == (True, task, "host-7")
    ended = [*flying, event("move_finished", result="failed", error=ERROR)]
    (fresh,) = state_after(*ended, event("planned")).moves.values()
    assert (fresh.in_flight, fresh.task, fresh.result) == (False, None, None)


def test_events_after_the_plan_of_a_way_back_belong_to_it() -> None:
    out = [event("planned"), event("move_submitting"), event("move_submitted"), event("move_finished")]
    back = [
        plain("rolling_back"),
        event("planned", back=True),
        event("move_submitting"),
        event("move_submitted", task="task-10"),
    ]
    state = state_after(*out, event("planned", 2), *back, event("move_submitting", 2))
    assert state.rolling_back == "a move failed"
    assert (state.moves["vm-1"].result, state.moves["vm-1"].task) == (MoveResult.MOVED, "task-9")
    assert (state.back["vm-1"].task, state.back.keys()) == ("task-10", {"vm-1"})
    assert [move.vm for move in state.in_flight] == ["vm-2", "vm-1"]


def pins(*numbers: int, had: bool = False) -> dict[str, Any]:
    return plain("drs_pinning", pins=[{"vm": vm(n), "cluster": "c", "had": had} for n in numbers])


def test_vms_that_are_excluded_from_drs_until_they_are_given_back() -> None:
    restored = plain("drs_restored", vms=[vm(1), vm(3)])
    state = state_after(pins(1, 2), pins(2, had=True), restored)
    assert state.pins.keys() == {"vm-2"}
    assert not state.pins["vm-2"].had, "the first pin knows what was before"
    assert state.unpinned == {"vm-1", "vm-3"}
    kept = state_after(pins(1), plain("drs_kept", vms=[vm(1)]))
    assert (kept.pins.keys(), kept.unpinned) == ({"vm-1"}, frozenset())
    assert state_after(pins(1), restored, plain("drs_restored", vms=[vm(4)])).unpinned == {"vm-1", "vm-3", "vm-4"}


def test_a_vm_has_one_home_and_may_lose_it() -> None:
    first, other = event("home_recorded"), event("home_recorded", 2)
    later = event("home_recorded", home={"moid": "host-8", "name": "esx-08"})
    state = state_after(first, other, later)
    assert [(home.vm, home.host, home.recorded_at[-7:-5]) for home in state.homes] == [
        ("vm-2", "host-5", "02"),
        ("vm-1", "host-8", "03"),
    ]
    cleared = state_after(first, other, event("home_cleared"))
    assert [home.vm for home in cleared.homes] == ["vm-2"]
    assert cleared.homes_cleared == {"vm-1": "2026-01-31T09:00:03.000Z"}
    again = state_after(event("home_cleared"), event("home_cleared", 2), first)
    assert ([home.vm for home in again.homes], again.homes_cleared.keys()) == (["vm-1"], {"vm-2"})
    assert state_after(first, event("home_clearing")).homes, "it was only announced"


@pytest.mark.parametrize(
    ("written", "expected"), [([], False), ([False], False), ([False, True], True), ([True, False], True)]
)
def test_a_home_that_was_once_written_to_the_attribute_is_there(written: list[bool], expected: bool) -> None:
    """A later record that could not be written leaves an older home in the attribute, which another controller may clear."""
    events = [event("home_recorded", attribute=each) for each in written] or [event("home_recorded", attribute=False)]
    assert state_after(*events).homes[0].in_attribute is expected
    assert (
        not state_after(*events, event("home_cleared"), event("home_recorded", attribute=False)).homes[0].in_attribute
    )


def test_an_experiment_is_known_once() -> None:
    found = [event("experiment_found", n, id=job) for n, job in ((1, "a"), (1, "b"), (2, "a"), (1, "a"))]
    assert [(e.vm, e.id) for e in state_after(*found).experiments] == [("vm-1", "a"), ("vm-1", "b"), ("vm-2", "a")]


@pytest.mark.parametrize("kind", ["move_seen", "move_submitting"])
def test_a_verdict_is_of_the_last_move_of_its_vm(kind: str) -> None:
    verdicts = [event("verdict", n, id=job) for n, job in ((1, "a"), (1, "b"), (2, "a"))]
    assert state_after(*verdicts).verdicts.keys() == {("vm-1", "a"), ("vm-1", "b"), ("vm-2", "a")}
    assert state_after(*verdicts, event(kind)).verdicts.keys() == {("vm-2", "a")}
    (last,) = state_after(verdicts[0], event("verdict", id="a", verdict="lost")).verdicts.values()
    assert last.verdict is Verdict.LOST


def test_a_run_that_has_ended() -> None:
    assert state_after().result == "unfinished"
    ended = state_after(plain("run_finished", result="failed"))
    assert (ended.finished, ended.result) == (True, "failed")
    assert not state_after(plain("run_interrupted")).finished


def judgement(experiment: str, verdict: Verdict, stall: Stall | None = None) -> Judgement:
    found = Experiment("vm-1", "ml-1", "h2o3", experiment, "1", "http://x")
    return Judgement(found, verdict, "proven", "proven", "proven", stall, 0.2, 0.1, 0.2)


def test_the_verdict_of_a_move_lasts_to_the_end_of_the_run() -> None:
    settled, later = judgement("a", Verdict.UNINTERRUPTED), judgement("a", Verdict.STALLED, Stall(9.0, 8.0, 10.0, 5.0))
    other = judgement("b", Verdict.STALLED)
    known = replace(state_after(), verdicts={("vm-1", "a"): VerdictReached.of(settled)})
    first, second = with_verdicts_of_moves(known, (later, other))
    assert (first.verdict, second) == (Verdict.UNINTERRUPTED, other)
    assert "it stalled for 9.00 s" in first.detail
    assert with_verdicts_of_moves(None, (later,)) == (later,)
