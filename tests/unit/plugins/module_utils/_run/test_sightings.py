# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a witness sees of moves that somebody else starts, and when it judges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import FORGOTTEN_SECONDS
from ansible_collections.liveml.vsphere.plugins.module_utils._run.sightings import HOSTS_SECONDS, Sightings
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Fault, PlacementUpdate, TaskUpdate

from tests.builders.estates import host
from tests.doubles.elsewhere import Elsewhere, arrives, ends, nothing, starts
from tests.doubles.run import Clock, Notes, ScriptedWatch


def watched(
    there: Elsewhere, *, at: dict[str, str] | None = None, **verdicts: Verdict
) -> tuple[Sightings, Notes, ScriptedWatch, Clock]:
    notes, clock = Notes(), Clock()
    watch = ScriptedWatch({vm.replace("_", "-"): verdict for vm, verdict in verdicts.items()})
    sightings = Sightings(
        there,  # type: ignore[arg-type]
        watch,
        notes,
        vms={"vm-1": "ml-1", "vm-2": "ml-2"},
        at=dict(there.at) if at is None else at,
        hosts={each.moid: each for each in map(host, (1, 2, 3))},
        clock=clock,
        sleep=clock.sleep,
    )
    return sightings, notes, watch, clock


def looks(sightings: Sightings, count: int) -> None:
    for _each in range(count):
        sightings.look()


def moves(notes: Notes) -> list[tuple[str, str, str, str, str]]:
    return [
        (e["vm"]["name"], e["source"]["name"], e["target"]["name"], e["result"], e["by"])
        for e in notes.of("move_finished")
    ]


def test_a_move_is_seen_by_its_task_and_judged_after_it() -> None:
    there = Elsewhere(starts("vm-1", "task-1"), nothing, arrives("vm-1", "host-3"))
    sightings, notes, watch, _clock = watched(there, vm_1=Verdict.UNINTERRUPTED)
    looks(sightings, 3)
    assert moves(notes) == [("ml-1", "esx-1", "esx-3", "moved", "DRS")]
    (seen,) = notes.of("move_seen")
    assert (seen["task"], seen["source"]["name"], seen["number"]) == ("task-1", "esx-1", 1)
    assert 0.9 < seen["within"] < 1.2
    assert [e["host"] for e in notes.of("switched_over")] == ["esx-3"]
    assert watch.calls == [("focus", "vm-1"), ("moved", "vm-1")]
    assert [e["verdict"] for e in notes.of("verdict")] == ["uninterrupted"]
    assert not there.followed
    assert not sightings.busy


def test_a_move_that_was_over_before_anybody_looked_is_seen_by_its_host() -> None:
    there = Elsewhere(arrives("vm-2", "host-1", by="VSPHERE.LOCAL\\\\ada"))
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 2)
    assert moves(notes) == [("ml-2", "esx-2", "esx-1", "moved", "VSPHERE.LOCAL\\\\ada")]
    assert [e["task"] for e in notes.of("move_seen")] == [""]
    assert not notes.of("switched_over"), "nobody saw the moment"


@pytest.mark.parametrize(("by", "result"), [("", "failed"), ("alice", "moved")])
def test_a_vm_that_does_not_run_elsewhere_was_moved_only_if_vcenter_names_who_did_it(by: str, result: str) -> None:
    """HA registers a VM on another host, then starts it, and says so after that."""
    there = Elsewhere(arrives("vm-2", "host-1", by=by))
    there.off = {"vm-2"}
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 2)
    assert moves(notes) == [("ml-2", "esx-2", "esx-1", result, by)]
    (finished,) = notes.of("move_finished")
    assert (finished["host"], finished["error"] is None) == ("esx-1", result == "moved")


def test_each_move_of_a_vm_is_one_of_its_own() -> None:
    there = Elsewhere(
        starts("vm-1", "task-1"),
        arrives("vm-1", "host-2"),
        starts("vm-1", "task-2"),
        arrives("vm-1", "host-3", by="ada"),
        arrives("vm-1", "host-1", by=""),
    )
    sightings, notes, _watch, _clock = watched(there, vm_1=Verdict.UNINTERRUPTED)
    looks(sightings, 5)
    assert [(source, target, by) for _vm, source, target, _result, by in moves(notes)] == [
        ("esx-1", "esx-2", "DRS"),
        ("esx-2", "esx-3", "ada"),
        ("esx-3", "esx-1", "somebody else"),
    ]
    assert [end.move.number for end in sightings.ended] == [1, 2, 3]
    assert len(notes.of("verdict")) == 3


def test_one_task_after_the_other_without_a_pause_is_two_moves() -> None:
    def next_task(there: Elsewhere) -> None:
        there.at["vm-1"], there.tasks["vm-1"], there.movers["vm-1"] = "host-2", "task-2", "DRS"

    there = Elsewhere(starts("vm-1", "task-1"), next_task, arrives("vm-1", "host-3"))
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    assert [(source, target) for _vm, source, target, _result, _by in moves(notes)] == [
        ("esx-1", "esx-2"),
        ("esx-2", "esx-3"),
    ]


@pytest.mark.parametrize(
    ("end", "result", "fault"),
    [
        ({"state": "error", "fault": Fault("Timedout", "no convergence")}, "failed", "Timedout"),
        ({"state": "error", "cancelled": True, "fault": Fault("RequestCanceled", "x")}, "cancelled", "RequestCanceled"),
        ({"state": "success"}, "moved", None),
    ],
)
def test_a_task_that_leaves_its_vm_where_it_was_says_how_it_ended(
    end: dict[str, Any], result: str, fault: str | None
) -> None:
    there = Elsewhere(starts("vm-1", "task-1"), ends("vm-1", "task-1", **end), nothing)
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    (finished,) = notes.of("move_finished")
    assert (finished["result"], finished["target"]["name"], finished["by"]) == (result, "esx-1", "")
    assert (finished["error"] or {}).get("fault") == fault


def test_a_task_that_vcenter_forgot_may_still_bring_its_vm() -> None:
    there = Elsewhere(
        starts("vm-1", "task-1"), ends("vm-1", "task-1", state="gone"), nothing, arrives("vm-1", "host-2")
    )
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    assert sightings.in_flight == ("vm-1",)
    looks(sightings, 1)
    assert moves(notes) == [("ml-1", "esx-1", "esx-2", "moved", "DRS")]


def test_a_forgotten_task_ends_when_nothing_comes_of_it() -> None:
    there = Elsewhere(starts("vm-1", "task-1"), ends("vm-1", "task-1", state="gone"), nothing)
    sightings, notes, _watch, clock = watched(there)
    looks(sightings, 3)
    assert not notes.of("move_finished")
    clock.sleep(FORGOTTEN_SECONDS)
    looks(sightings, 1)
    assert [(e["result"], e["error"]["fault"]) for e in notes.of("move_finished")] == [("failed", "TaskForgotten")]


def test_the_switch_over_is_heard_while_the_task_runs() -> None:
    def switch(there: Elsewhere) -> None:
        there.news += [TaskUpdate("task-1", "running", percent=70), PlacementUpdate("vm-1", "host-2")]

    there = Elsewhere(starts("vm-1", "task-1"), switch, nothing)
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    assert [e["host"] for e in notes.of("switched_over")] == ["esx-2"]
    assert [e["percent"] for e in notes.of("move_progress")] == [70]
    assert not notes.of("move_finished")


def test_a_deleted_vm_is_named_and_its_move_is_over() -> None:
    def delete(there: Elsewhere) -> None:
        del there.at["vm-1"], there.at["vm-2"]
        there.tasks.clear()

    there = Elsewhere(starts("vm-1", "task-1"), delete)
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    assert [(e["vm"]["name"], e["result"], e["host"]) for e in notes.of("move_finished")] == [("ml-1", "gone", None)]
    assert [e["vm"]["name"] for e in notes.of("noticed")] == ["ml-1", "ml-2"]
    assert set(sightings.noticed) == {"vm-1", "vm-2"}


def test_a_host_has_returned_when_it_was_seen_in_maintenance_mode_and_out_of_it() -> None:
    there = Elsewhere()
    sightings, notes, _watch, clock = watched(there)
    for inside in ({"host-1": False}, {"host-1": True, "host-2": True}, {"host-1": False}, {"host-2": False}):
        there.maintenance.update(inside)
        clock.sleep(10)
        sightings.look(("host-1", "host-2", "host-3"))
    assert [(e["host"]["name"], e["entered"]) for e in notes.of("maintenance_seen")] == [
        ("esx-1", True), ("esx-2", True), ("esx-1", False), ("esx-2", False),
    ]  # fmt: skip
    assert sightings.returned == {"host-1", "host-2"}


def test_a_run_is_busy_while_a_vm_moves_and_until_its_experiments_settled() -> None:
    class Slow(ScriptedWatch):
        ready = False

        def settled(self, vm: str) -> bool:
            return self.ready

    there = Elsewhere(
        starts("vm-1", "task-1"),
        arrives("vm-1", "host-2"),
        nothing,
        starts("vm-1", "task-2"),
        arrives("vm-1", "host-3"),
    )
    sightings, notes, _watch, _clock = watched(there, vm_1=Verdict.UNINTERRUPTED)
    watch = sightings._watch = Slow({"vm-1": Verdict.UNINTERRUPTED})
    busy = []
    for _look in range(5):
        sightings.look()
        busy.append((sightings.busy, len(sightings.in_flight)))
    assert busy == [(True, 1), (True, 0), (True, 0), (True, 1), (True, 0)]
    assert notes.of("verdict") == []
    watch.ready = True
    sightings.look()
    assert not sightings.busy
    assert len(notes.of("verdict")) == 1, "the first move was not settled when the second began"


def test_hosts_are_looked_at_every_few_seconds_only() -> None:
    there = Elsewhere()
    asked: list[float] = []
    sightings, _notes, _watch, clock = watched(there)
    there.in_maintenance = lambda hosts: asked.append(clock.now) or {}  # type: ignore[method-assign, assignment, func-returns-value]
    for _look in range(60):
        sightings.look(("host-1",))
    assert len(asked) > 3
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert HOSTS_SECONDS <= min(gaps) <= max(gaps) <= HOSTS_SECONDS + 1.2
    asked.clear()
    clock.sleep(60)
    sightings.look()
    assert asked == []


def test_news_of_a_task_or_vm_that_is_not_watched_changes_nothing() -> None:
    def strange(there: Elsewhere) -> None:
        there.news += [
            TaskUpdate("task-9", "success"), PlacementUpdate("vm-9", "host-2"), PlacementUpdate("vm-1", None),
            TaskUpdate("task-1", "running"),
        ]  # fmt: skip

    there = Elsewhere(starts("vm-1", "task-1"), strange, nothing)
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 3)
    assert sightings.in_flight == ("vm-1",)
    assert [event["event"] for event in notes.events] == ["move_seen"]


def test_how_much_later_than_it_began_a_move_was_seen() -> None:
    """At most as long as since the look before."""
    there = Elsewhere(nothing, nothing, starts("vm-1", "task-1"))
    sightings, notes, _watch, clock = watched(there)
    looks(sightings, 2)
    clock.sleep(4.0)
    looks(sightings, 1)
    (seen,) = notes.of("move_seen")
    assert 4.9 < seen["within"] < 5.2
    assert seen["within"] == round(seen["within"], 3)


def test_the_switch_over_is_noted_once() -> None:
    def switch(there: Elsewhere) -> None:
        there.at["vm-1"] = "host-2"
        there.news.append(PlacementUpdate("vm-1", "host-2"))

    there = Elsewhere(starts("vm-1", "task-1"), switch, nothing, arrives("vm-1", "host-2"))
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 4)
    assert [event["host"] for event in notes.of("switched_over")] == ["esx-2"]
    assert moves(notes) == [("ml-1", "esx-1", "esx-2", "moved", "DRS")]


def test_moves_at_the_same_time_have_their_own_numbers_and_hosts_their_domains() -> None:
    there = Elsewhere(
        lambda there: (starts("vm-1", "task-1")(there), starts("vm-2", "task-2")(there)), arrives("vm-2", "host-9")
    )
    sightings, notes, _watch, _clock = watched(there)
    looks(sightings, 2)
    assert [(event["number"], event["source"]["fault_domain"]) for event in notes.of("move_seen")] == [
        (1, "a"),
        (2, "a"),
    ]
    (ended,) = sightings.ended
    assert (ended.move.number, ended.host, ended.host_name, ended.move.target_fault_domain) == (
        2,
        "host-9",
        "host-9",
        None,
    )
    assert there.followed == ["task-1"]


def test_a_host_that_is_still_in_maintenance_mode_has_not_returned() -> None:
    there = Elsewhere()
    sightings, _notes, _watch, clock = watched(there)
    there.maintenance["host-1"] = True
    sightings.look(("host-1",))
    assert sightings.returned == set()
    there.maintenance["host-1"] = False
    clock.sleep(60)
    sightings.look(("host-1",))
    assert sightings.returned == {"host-1"}


def test_a_vm_whose_host_is_not_shown_at_first_is_named_and_watched_from_where_it_appears() -> None:
    there = Elsewhere(nothing, nothing, nothing, arrives("vm-1", "host-2"))
    answers = there.placement
    hidden = iter([True, True, False, False])

    def placement(vms: Any) -> dict[str, PlacementUpdate]:
        lost = {"vm-1": PlacementUpdate("vm-1", None, unknown="vCenter does not show it")} if next(hidden) else {}
        return {**answers(vms), **lost}

    there.placement = placement  # type: ignore[method-assign]
    sightings, notes, _watch, _clock = watched(there, at={"vm-2": "host-2"})
    looks(sightings, 4)
    assert sightings.noticed == {"vm-1": "vCenter does not show it"}
    assert moves(notes) == [("ml-1", "esx-1", "esx-2", "moved", "DRS")], "it was found on esx-1"


def test_a_vm_that_vanishes_before_it_was_seen_on_a_host_is_named() -> None:
    there = Elsewhere()
    del there.at["vm-1"]
    sightings, _notes, _watch, _clock = watched(there)
    looks(sightings, 2)
    assert list(sightings.noticed) == ["vm-1"]
