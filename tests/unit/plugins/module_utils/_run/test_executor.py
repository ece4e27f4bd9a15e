# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The executor against a scripted vCenter: slots, observed truth, retries, stops, interruption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    PermissionMissing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, PartMove, Plan, SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import Executor, failures_of, restarts_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult, Outcome, Rules
from ansible_collections.liveml.vsphere.plugins.module_utils._run.rollback import rollback_reason
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    HostState,
    InventoryPlace,
    Power,
    VcenterInfo,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import Home, HomeFile
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate, Update
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import host
from tests.doubles.run import Clock, Notes, ScriptedWatch
from tests.doubles.vcenter import RestartedVcenter, ScriptedVcenter

INFO = VcenterInfo("vc", "uuid", "8.0.3", True)


def move(number: int, *, target: str = "host-2", task: str | None = None) -> Move:
    return Move(number, f"vm-{number}", f"ml-{number}", "host-1", "esx-1", target, target, 2**30, 10.0, task=task)


def carry_out(
    moves: Iterable[Move],
    vcenter: ScriptedVcenter,
    watch: ScriptedWatch | None = None,
    rules: Rules | None = None,
    **options: Any,
) -> tuple[Outcome, Notes]:
    notes, clock = Notes(), Clock()
    executor = Executor(
        vcenter, watch or ScriptedWatch(), notes, rules or Rules(), clock=clock, sleep=clock.sleep, **options
    )
    outcome = executor.run(Plan("p", INFO, tuple(moves)))
    assert not vcenter.followed
    return outcome, notes


def results(outcome: Outcome) -> dict[str, MoveResult]:
    return {ended.move.vm: ended.result for ended in outcome.ended}


@given(count=st.integers(0, 30), slots=st.integers(1, 8))
def test_all_move_and_slots_are_kept(count: int, slots: int) -> None:
    vcenter = ScriptedVcenter()
    outcome, _notes = carry_out(
        [move(n) for n in range(1, count + 1)], vcenter, rules=Rules(slots=SlotLimits(per_host=slots))
    )
    assert set(results(outcome).values()) <= {MoveResult.MOVED}
    assert sorted(vcenter.relocated) == sorted({f"vm-{n}" for n in range(1, count + 1)})
    assert vcenter.peak == min(slots, count)


def test_the_journal_announces_each_call_before_it_is_made() -> None:
    vcenter = ScriptedVcenter()
    notes = Notes()
    original = vcenter.relocate

    def relocate(
        vm: str, host: str, *, place: InventoryPlace | None, priority: str, **_stores: Mapping[int, str]
    ) -> str:
        assert notes.of("move_submitting")[-1]["vm"]["moid"] == vm
        return original(vm, host, place=place, priority=priority)

    vcenter.relocate = relocate  # type: ignore[method-assign]
    clock = Clock()
    Executor(vcenter, ScriptedWatch(), notes, Rules(), clock=clock, sleep=clock.sleep).run(Plan("p", INFO, (move(1),)))
    order = [e["event"] for e in notes.events]
    assert order == [
        "move_submitting",
        "move_submitted",
        "move_progress",
        "move_progress",
        "switched_over",
        "move_finished",
    ]


def with_files(number: int, *, target: str = "host-2") -> Move:
    """The same move with the files of the VM, from ds-1 to ds-2; its second disk stays."""
    parts = (
        PartMove(0, "files", "ds-1", "local", "ds-2", "shared", 2**30),
        PartMove(2000, "Hard disk 1", "ds-1", "local", "ds-2", "shared", 2**30),
        PartMove(2001, "Hard disk 2", "ds-2", "shared", "ds-2", "shared", 2**30),
    )
    return replace(move(number, target=target), parts=parts)


AT_SOURCE, AT_TARGET = {0: "ds-1", 2000: "ds-1", 2001: "ds-2"}, {0: "ds-2", 2000: "ds-2", 2001: "ds-2"}


def test_each_part_is_named_in_the_call_and_recorded() -> None:
    vcenter = ScriptedVcenter()
    outcome, notes = carry_out([with_files(1), with_files(2, target="host-1")], vcenter)
    assert set(results(outcome).values()) == {MoveResult.MOVED}
    assert list(vcenter.bringing.values()) == [AT_TARGET, AT_TARGET]
    ended = notes.of("move_finished")[0]
    assert [part["target_name"] for part in ended["parts"]] == ["shared", "shared", "shared"]


@pytest.mark.parametrize("target", ["host-1", "host-2"])
@pytest.mark.parametrize(("lies", "result"), [(False, MoveResult.FAILED), (True, MoveResult.MOVED)])
def test_where_the_files_are_decides_a_move_and_not_its_task(target: str, lies: bool, result: MoveResult) -> None:
    vcenter = ScriptedVcenter({"vm-1": ["InsufficientStorageSpace"]})
    vcenter.files["vm-1"] = dict(AT_SOURCE)
    vcenter.lie = {"vm-1"} if lies else set()
    home = Home(
        "vm-1", "host-1", "esx-1", target, target, "r", "t", "host-1", files=(HomeFile(0, "ds-1", "local", "ds-2"),)
    )
    outcome, _notes = carry_out([with_files(1, target=target)], vcenter, homes={"vm-1": home})
    assert results(outcome) == {"vm-1": result}
    assert [home.files[0].target for home in vcenter.homes] == ([] if lies else ["ds-1"])
    if not lies and target == "host-1":
        assert failures_of(outcome) == (
            "The files of ml-1 on host-1 were left where they were (failed: InsufficientStorageSpace)",
        )


def test_a_host_alone_is_not_enough_if_files_should_have_moved() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["NoPermission"]})
    vcenter.lie = {"vm-1"}
    vcenter.files["vm-1"] = dict(AT_SOURCE)
    vcenter.bring = lambda _task, _vm: None  # type: ignore[method-assign]
    outcome, _notes = carry_out([with_files(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.FAILED}


@pytest.mark.parametrize("begun", [False, True])
def test_an_answer_about_files_that_was_lost_is_decided_by_what_vcenter_shows(begun: bool) -> None:
    vcenter = RestartedVcenter(lost=["vm-1"], begun=["vm-1"] if begun else [])
    vcenter.files["vm-1"] = dict(AT_SOURCE)
    outcome, _notes = carry_out([with_files(1, target="host-1")], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.files["vm-1"] == AT_TARGET


def test_files_move_with_two_slots_of_a_host() -> None:
    vcenter = ScriptedVcenter()
    carry_out([with_files(n) for n in range(1, 6)], vcenter)
    assert vcenter.peak == 2


def hosts(*moids: str) -> dict[str, HostState]:
    return {moid: host(int(moid.removeprefix("host-"))) for moid in moids}


@pytest.mark.parametrize(
    ("mover", "result", "text"),
    [("DRS", "moved", ""), ("somebody", "failed", "the VM is on esx-9, not on esx-1"), ("", "failed", "esx-9")],
)
def test_a_vm_that_drs_has_moved_meanwhile_moves_from_there_and_one_of_a_person_stays(
    mover: str, result: str, text: str
) -> None:
    vcenter = ScriptedVcenter()
    vcenter.hosts["vm-1"], vcenter.movers["vm-1"] = "host-9", mover
    outcome, notes = carry_out([move(1)], vcenter, hosts=hosts("host-9"))
    (ended,) = outcome.ended
    assert str(ended.result) == result
    assert text in (ended.fault.message if ended.fault else "")
    if mover == "DRS":
        assert (ended.move.source, ended.move.source_name, ended.move.source_fault_domain) == ("host-9", "esx-9", "a")
        assert notes.of("planned")[0]["source"]["name"] == "esx-9"


@pytest.mark.parametrize("mover", ["DRS", "alice", ""])
def test_a_vm_that_has_left_is_done_whoever_moved_it(mover: str) -> None:
    vcenter = ScriptedVcenter()
    vcenter.hosts["vm-1"], vcenter.movers["vm-1"] = "host-9", mover
    outcome, notes = carry_out([move(1)], vcenter, rules=Rules(leaving="host-1"), hosts=hosts("host-9"))
    (ended,) = outcome.ended
    assert (ended.result, ended.host, ended.by) == (MoveResult.MOVED, "host-9", mover or "somebody else")
    assert vcenter.relocated == []
    assert notes.of("move_finished")[0]["target"] == {
        "moid": "host-9",
        "name": "esx-9",
        "fault_domain": "a",
        "vcenter": "",
    }


@pytest.mark.parametrize("leaving", ["host-1", None])
@pytest.mark.parametrize("mover", ["DRS", "alice", ""])
def test_a_vm_that_somebody_moved_to_its_target_before_its_turn_was_not_moved_by_the_run(
    mover: str, leaving: str | None
) -> None:
    vcenter = ScriptedVcenter()
    vcenter.hosts["vm-1"], vcenter.movers["vm-1"] = "host-2", mover
    outcome, notes = carry_out([move(1), move(2)], vcenter, rules=Rules(leaving=leaving))
    assert {(e.move.vm, e.result, e.by) for e in outcome.ended} == {
        ("vm-1", MoveResult.MOVED, mover or "somebody else"),
        ("vm-2", MoveResult.MOVED, ""),
    }
    assert vcenter.relocated == ["vm-2"]
    assert {end["by"] for end in notes.of("move_finished")} == {mover or "somebody else", ""}


def test_a_vm_that_a_killed_process_may_have_submitted_was_not_moved_by_somebody_else() -> None:
    vcenter = ScriptedVcenter()
    vcenter.hosts["vm-1"], vcenter.movers["vm-1"] = "host-2", "liveml"
    outcome, _notes = carry_out([move(1)], vcenter, rules=Rules(unheard=frozenset({"vm-1"})))
    assert [(e.result, e.by) for e in outcome.ended] == [(MoveResult.MOVED, "")]


def test_drs_is_followed_and_what_it_leaves_is_moved() -> None:
    class Automated(ScriptedVcenter):
        """DRS moves one VM at once, the next one by a task that is seen, and the third one never."""

        def moving(self, vms: Iterable[str]) -> dict[str, str]:
            return {vm: task for task, (vm, _host, _ticks, _fault) in self.tasks.items() if vm in vms}

    vcenter = Automated()
    vcenter.hosts["vm-1"] = "host-8"
    vcenter.movers |= {"vm-1": "DRS", "vm-2": "DRS"}
    vcenter.start("task-drs", "vm-2", "host-9")
    watch = ScriptedWatch()
    followed = frozenset(f"vm-{n}" for n in (1, 2, 3))
    rules = Rules(leaving="host-1", followed=followed)
    outcome, notes = carry_out([move(1), move(2), move(3)], vcenter, watch, rules, hosts=hosts("host-8", "host-9"))
    assert {(e.move.vm, e.host, e.by) for e in outcome.ended} == {
        ("vm-1", "host-8", "DRS"), ("vm-2", "host-9", "DRS"), ("vm-3", "host-2", ""),
    }  # fmt: skip
    assert vcenter.relocated == ["vm-3"]
    assert [s["host"] for s in notes.of("switched_over")] == ["esx-9", "host-2"]
    assert {vm for call, vm in watch.calls if call == "focus"} == followed


@pytest.mark.parametrize(("mover", "by"), [("DRS", "DRS"), ("", "somebody else")])
def test_what_a_task_of_drs_brings_to_its_planned_target_was_moved_by_drs(mover: str, by: str) -> None:
    class Automated(ScriptedVcenter):
        def moving(self, vms: Iterable[str]) -> dict[str, str]:
            return {vm: task for task, (vm, _host, _ticks, _fault) in self.tasks.items() if vm in vms}

    vcenter = Automated()
    vcenter.movers["vm-1"] = mover
    vcenter.start("task-drs", "vm-1", "host-2")
    rules = Rules(leaving="host-1", followed=frozenset({"vm-1"}))
    outcome, _notes = carry_out([move(1)], vcenter, rules=rules)
    assert [(end.result, end.by) for end in outcome.ended] == [(MoveResult.MOVED, by)]
    assert vcenter.relocated == []


def test_a_task_that_fails_after_the_vm_arrived_is_a_move() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["HostCommunication"]})
    vcenter.lie.add("vm-1")
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert len(notes.of("switched_over")) == 1


def test_a_target_without_a_free_vgpu_is_explained() -> None:
    fault = "InsufficientGraphicsResourcesFault"
    outcome, _notes = carry_out([move(1)], ScriptedVcenter({"vm-1": [fault]}))
    (sentence,) = failures_of(outcome)
    assert f"(failed: {fault}, The target has no free vGPU of the VM's profile. Free one of its GPUs, " in sentence


def test_transient_faults_are_tried_again_and_others_are_not() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["TaskInProgress", "Timedout", None], "vm-2": ["NoPermission", None]})
    outcome, _notes = carry_out([move(1), move(2)], vcenter, rules=Rules(stop_on_failure=False))
    assert results(outcome) == {"vm-1": MoveResult.MOVED, "vm-2": MoveResult.FAILED}
    assert vcenter.relocated.count("vm-1") == 3
    assert vcenter.relocated.count("vm-2") == 1


def test_retries_end() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["TaskInProgress"] * 9})
    outcome, _notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert len(vcenter.relocated) == 3


def test_a_call_that_is_refused_at_once_fails_the_move() -> None:
    vcenter = ScriptedVcenter()
    vcenter.refuse["vm-1"] = "MethodDisabled"
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert notes.of("move_finished")[0]["error"]["fault"] == "MethodDisabled"
    assert "MethodDisabled" in outcome.stopped


def test_after_max_failures_nothing_more_starts_but_flights_land() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["NoPermission"]})
    outcome, _notes = carry_out([move(n) for n in range(1, 5)], vcenter, rules=Rules(slots=SlotLimits(per_host=2)))
    assert results(outcome) == {
        "vm-1": MoveResult.FAILED,
        "vm-2": MoveResult.MOVED,
        "vm-3": MoveResult.NOT_STARTED,
        "vm-4": MoveResult.NOT_STARTED,
    }
    assert {ended.move.vm for ended in outcome.left_behind} == {"vm-1", "vm-3", "vm-4"}


@pytest.mark.parametrize(
    ("verdict", "identity", "progress", "stops"),
    [
        (Verdict.UNINTERRUPTED, "proven", "proven", False),
        (Verdict.COMPLETED, "proven", "proven", False),
        (Verdict.UNKNOWN, "proven", "unknown", False),
        (Verdict.UNKNOWN, "unknown", "proven", False),
        (Verdict.UNKNOWN, "unknown", "unknown", True),
        (Verdict.STALLED, "proven", "proven", True),
        (Verdict.RESTARTED, "refuted", "proven", True),
        (Verdict.FAILED, "proven", "proven", True),
    ],
)
def test_a_harmed_experiment_stops_the_next_move(verdict: Verdict, identity: str, progress: str, stops: bool) -> None:
    watch = ScriptedWatch({"vm-1": verdict}, identity, progress)
    outcome, notes = carry_out([move(1), move(2)], ScriptedVcenter(), watch, rules=Rules(slots=SlotLimits(per_host=1)))
    assert notes.of("verdict")[0]["verdict"] == str(verdict)
    assert bool(outcome.stopped) is stops
    assert results(outcome)["vm-2"] is (MoveResult.NOT_STARTED if stops else MoveResult.MOVED)


def test_a_move_that_takes_too_long_is_cancelled() -> None:
    vcenter = ScriptedVcenter()
    vcenter.hang.add("vm-1")
    outcome, notes = carry_out([move(1)], vcenter, rules=Rules(timeout_floor=0.5, timeout_per_gib=0.0))
    assert results(outcome) == {"vm-1": MoveResult.TIMED_OUT}
    assert vcenter.cancelled == ["task-1"]
    assert notes.of("move_cancelling")


def test_a_task_that_ignores_its_cancellation_is_given_up() -> None:
    vcenter = ScriptedVcenter()
    vcenter.hang.add("vm-1")
    vcenter.cancel = vcenter.cancelled.append  # type: ignore[method-assign]
    outcome, _notes = carry_out([move(1)], vcenter, rules=Rules(timeout_floor=0.5, timeout_per_gib=0.0, cancel_grace=1))
    assert results(outcome) == {"vm-1": MoveResult.TIMED_OUT}
    assert vcenter.relocated == ["vm-1"], "its task may still run"


def test_a_move_whose_answer_was_lost_is_the_task_that_runs() -> None:
    class Deaf(ScriptedVcenter):
        def relocate(
            self,
            vm: str,
            host: str,
            *,
            place: InventoryPlace | None,
            priority: str,
            **_stores: Mapping[int, str],
        ) -> str:
            super().relocate(vm, host, place=place, priority=priority)
            raise ConnectError("the connection broke")

        def moving(self, vms: Iterable[str]) -> dict[str, str]:
            return {vm: task for task, (vm, *_rest) in self.tasks.items() if vm in vms}

    vcenter = Deaf()
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == ["vm-1"]
    assert [e["task"] for e in notes.of("move_submitted")] == ["task-1"]


def test_a_vm_that_did_not_leave_keeps_the_home_that_it_had() -> None:
    home = Home("vm-1", "host-0", "esx-0", "host-2", "esx-2", "r1", "now")
    vcenter = ScriptedVcenter({"vm-1": ["NoPermission"]})
    carry_out([move(1)], vcenter, homes={"vm-1": home})
    assert [(h.host, h.target) for h in vcenter.homes] == [("host-0", "host-1")]


@pytest.mark.parametrize(
    ("meanwhile", "result", "message"),
    [
        (PlacementUpdate("vm-2", "host-9"), MoveResult.FAILED, "the VM is on esx-9, not on esx-1"),
        (PlacementUpdate("vm-2", "host-1", Power.OFF), MoveResult.FAILED, "the VM is powered off"),
        (PlacementUpdate("vm-2", None), MoveResult.GONE, "the VM is no longer in vCenter"),
        (PlacementUpdate("vm-2", "host-2", Power.ON), MoveResult.MOVED, None),
        (PlacementUpdate("vm-2", "host-1", Power.ON), MoveResult.MOVED, None),
    ],
)
def test_a_vm_is_looked_at_when_its_turn_comes(
    meanwhile: PlacementUpdate, result: MoveResult, message: str | None
) -> None:
    class Changing(ScriptedVcenter):
        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            seen = super().placement(vms)
            return seen | {"vm-2": meanwhile} if "vm-2" in seen and "vm-2" not in self.relocated else seen

    vcenter = Changing()
    outcome, notes = carry_out(
        [move(1), move(2)], vcenter, rules=Rules(slots=SlotLimits(per_host=1)), hosts=hosts("host-9")
    )
    ended = notes.of("move_finished")[-1]
    assert results(outcome) == {"vm-1": MoveResult.MOVED, "vm-2": result}
    assert (ended["error"] or {}).get("message") == message
    assert ("vm-2" in vcenter.relocated) is (meanwhile.host == "host-1" and meanwhile.power is Power.ON)
    if meanwhile.host == "host-9":
        assert ended["host"] == "esx-9"
        assert failures_of(outcome) == ("ml-2 is on esx-9, not on host-2 (failed: VmMovedMeanwhile)",)


@pytest.mark.parametrize(
    ("mover", "by"), [("vSphere HA", "vSphere HA"), ("alice", ""), ("", "")], ids=["HA", "a person", "not known"]
)
def test_a_vm_that_ha_restarted_where_it_was_to_go_was_not_moved_by_the_run(mover: str, by: str) -> None:
    class Failing(ScriptedVcenter):
        """The move fails, because the source fails; HA starts the VM on the target."""

        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            seen = super().placement(vms)
            return seen | {"vm-1": PlacementUpdate("vm-1", "host-2")} if self.relocated else seen

    vcenter = Failing({"vm-1": ["HostCommunication"]})
    vcenter.movers["vm-1"] = mover
    outcome, notes = carry_out([move(1)], vcenter)
    (ended,) = outcome.ended
    assert (ended.result, ended.by) == (MoveResult.MOVED, by)
    assert notes.of("move_finished")[0]["by"] == by
    assert restarts_of(outcome) == (
        ("vSphere HA restarted ml-1 on host-2, because its host, network or storage had failed",) if by else ()
    )


def test_nobody_is_asked_who_moved_a_vm_whose_task_succeeded() -> None:
    vcenter = ScriptedVcenter()
    vcenter.movers["vm-1"] = "vSphere HA"  # of an earlier failure
    outcome, _notes = carry_out([move(1)], vcenter)
    assert outcome.ended[0].by == ""


def test_a_vm_that_a_person_moved_before_the_next_try_is_left_alone() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["TaskInProgress"]})
    clock = Clock()

    def sleep(seconds: float) -> None:
        vcenter.hosts["vm-1"] = "host-9"
        clock.sleep(seconds)

    executor = Executor(vcenter, ScriptedWatch(), Notes(), Rules(), clock=clock, sleep=sleep)
    outcome = executor.run(Plan("p", INFO, (move(1),)))
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert vcenter.relocated == ["vm-1"]


class Idle(ScriptedVcenter):
    """``vm-1`` is not there or does not run."""

    def __init__(self, seen: PlacementUpdate, faults: dict[str, list[str | None]] | None = None) -> None:
        super().__init__(faults)
        self.seen, self.submitted = seen, bool(faults)

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        found = super().placement(vms)
        due = "vm-1" in found and ("vm-1" in self.relocated) is self.submitted
        return found | {"vm-1": self.seen} if due else found


@pytest.mark.parametrize("faults", [None, {"vm-1": ["InvalidPowerState"]}])
@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        (PlacementUpdate("vm-1", "host-1", Power.OFF), "ml-1 was left on esx-1 (failed: the VM is powered off)"),
        (PlacementUpdate("vm-1", "host-1", Power.SUSPENDED), "ml-1 was left on esx-1 (failed: the VM is suspended)"),
        (PlacementUpdate("vm-1", None), "ml-1 is no longer in vCenter"),
    ],
)
@pytest.mark.parametrize("leaving", ["host-1", None])
def test_a_vm_that_does_not_run_any_more_keeps_no_other_from_leaving_its_host(
    seen: PlacementUpdate, failure: str, faults: dict[str, list[str | None]] | None, leaving: str | None
) -> None:
    rules = Rules(slots=SlotLimits(per_host=1), leaving=leaving, roll_back=True)
    outcome, _notes = carry_out([move(1), move(2)], Idle(seen, faults), rules=rules)
    assert failure in failures_of(outcome)
    assert (results(outcome)["vm-2"] is MoveResult.MOVED) is (leaving is not None)
    assert bool(rollback_reason(outcome, rules)) is (leaving is None)


def test_a_deleted_vm_is_gone_and_accounted_for() -> None:
    vcenter = ScriptedVcenter({"vm-1": ["ManagedObjectNotFound"]})
    vcenter.hosts["vm-1"] = None
    outcome, _notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.GONE}
    assert outcome.left_behind == ()


@pytest.mark.parametrize("updates", [0, 1, 20])
def test_a_move_whose_task_vcenter_forgot_is_decided_by_its_vm(updates: int) -> None:
    vcenter = RestartedVcenter({"vm-1": updates})
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == ["vm-1"]
    assert len(notes.of("switched_over")) == 1


def test_a_move_that_a_restart_of_vcenter_ended_is_submitted_again() -> None:
    vcenter = RestartedVcenter({})
    outcome, _notes = carry_out([move(1), move(2)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED, "vm-2": MoveResult.MOVED}
    assert sorted(vcenter.relocated) == ["vm-1", "vm-1", "vm-2", "vm-2"]


def test_a_submission_without_an_answer_that_began_is_followed_and_not_repeated() -> None:
    vcenter = RestartedVcenter(lost=["vm-1"], begun=["vm-1"])
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == ["vm-1"]
    assert notes.of("move_submitted")[0]["task"] == "task-vm-1"


def test_a_submission_without_an_answer_that_did_not_begin_is_repeated() -> None:
    vcenter = RestartedVcenter(lost=["vm-1"])
    outcome, _notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == ["vm-1", "vm-1"]


class Busy(RestartedVcenter):
    """Every submission meets ``fault``; after so many refusals the VM arrives by an earlier one, of which no task is shown."""

    def __init__(self, arrives_after: int, fault: str = "InvalidState", lost: Iterable[str] = ()) -> None:
        super().__init__(lost=lost)
        self.arrives_after, self.fault, self.refused = arrives_after, fault, 0

    def relocate(self, vm: str, host: str | None, **options: Any) -> str:
        if vm in self.lost:
            return super().relocate(vm, host, **options)
        self.refused += 1
        if self.refused == self.arrives_after:
            self.hosts[vm] = host
        raise CallFailed("refused", fault=self.fault)


@pytest.mark.parametrize("fault", ["InvalidState", "TaskInProgress"])
@pytest.mark.parametrize(("lost", "unheard"), [(["vm-1"], []), ([], ["vm-1"])])
def test_what_an_unheard_submission_may_move_is_not_given_up(fault: str, lost: list[str], unheard: list[str]) -> None:
    vcenter = Busy(6, fault, lost)
    outcome, _notes = carry_out([move(1)], vcenter, rules=Rules(unheard=frozenset(unheard)))
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.refused == 6


@pytest.mark.parametrize(
    ("lost", "unheard", "order"), [(["vm-1"], [], ["vm-1", "vm-1", "vm-2"]), ([], ["vm-2"], ["vm-2", "vm-1"])]
)
def test_an_unheard_submission_keeps_its_slot(lost: list[str], unheard: list[str], order: list[str]) -> None:
    """vCenter may carry it out later, and then too many VMs would move at a time."""
    vcenter = RestartedVcenter(lost=lost)
    rules = Rules(slots=SlotLimits(per_host=1), unheard=frozenset(unheard))
    outcome, _notes = carry_out([move(1), move(2)], vcenter, rules=rules)
    assert set(results(outcome).values()) == {MoveResult.MOVED}
    assert vcenter.relocated == order


def test_what_an_unheard_submission_does_not_move_is_given_up_at_last() -> None:
    vcenter = Busy(-1, lost=["vm-1"])
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert notes.of("move_finished")[0]["error"]["fault"] == "InvalidState"
    assert 6 < vcenter.refused < 99


@pytest.mark.parametrize(("fault", "unheard"), [("InvalidState", ["vm-2"]), ("NoPermission", ["vm-1"])])
def test_other_refusals_are_final(fault: str, unheard: list[str]) -> None:
    vcenter = Busy(-1, fault)
    outcome, _notes = carry_out([move(1)], vcenter, rules=Rules(unheard=frozenset(unheard)))
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert vcenter.refused == 1


def test_a_move_that_vcenter_forgets_each_time_fails_and_names_why() -> None:
    vcenter = RestartedVcenter({})
    original = vcenter.updates

    def updates(timeout: float) -> tuple[Update, ...]:
        vcenter.restarts = bool(vcenter.tasks)
        return original(timeout)

    vcenter.updates = updates  # type: ignore[method-assign]
    outcome, notes = carry_out([move(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert notes.of("move_finished")[0]["error"]["fault"] == "TaskForgotten"
    assert len(vcenter.relocated) == 3


def test_a_move_in_flight_is_adopted_and_not_started_again() -> None:
    vcenter = ScriptedVcenter()
    vcenter.start("task-77", "vm-1", "host-2")
    outcome, notes = carry_out([move(1, task="task-77")], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == []
    assert notes.of("move_submitted")[0]["task"] == "task-77"
    assert [event["adopted"] for event in notes.of("move_submitting")] == [True]


def inferred(number: int) -> Move:
    """A move that a task carries out which may be another's."""
    return replace(move(number, task=f"task-{70 + number}"), inferred=True)


def test_a_task_that_may_be_anothers_is_waited_for_and_never_cancelled() -> None:
    vcenter = ScriptedVcenter()
    vcenter.start("task-71", "vm-1", "host-2")
    vcenter.hang.add("vm-1")
    outcome, notes = carry_out([inferred(1)], vcenter, rules=Rules(timeout_floor=0.5, timeout_per_gib=0.0))
    assert results(outcome) == {"vm-1": MoveResult.TIMED_OUT}
    assert (vcenter.cancelled, notes.of("move_cancelling")) == ([], [])
    assert notes.of("move_submitted") == [], "a resumed run must not take the task for its own"
    assert failures_of(outcome) == ("ml-1 was left on esx-1 (timed out: DeadlineExceeded)",)


@pytest.mark.parametrize("fault", [None, "NoPermission"])
def test_a_task_that_moved_no_host_is_followed_by_a_move_of_our_own(fault: str | None) -> None:
    """Such a task changed the VM's storage, or failed."""
    vcenter = ScriptedVcenter({"vm-1": [fault]})
    vcenter.start("task-71", "vm-1", "host-1")
    outcome, notes = carry_out([inferred(1)], vcenter)
    assert results(outcome) == {"vm-1": MoveResult.MOVED}
    assert vcenter.relocated == ["vm-1"]
    assert [event["task"] for event in notes.of("move_submitted")] == ["task-1"]
    assert [event["result"] for event in notes.of("move_finished")] == ["moved"]


def test_a_vm_that_a_task_took_elsewhere_is_reported_there() -> None:
    vcenter = ScriptedVcenter()
    vcenter.start("task-71", "vm-1", "host-3")
    outcome, notes = carry_out([inferred(1)], vcenter, hosts=hosts("host-3"))
    assert vcenter.relocated == []
    assert failures_of(outcome) == ("ml-1 is on esx-3, not on host-2 (failed)",)
    assert [event["host"] for event in notes.of("move_finished")] == ["esx-3"]


def test_an_interrupted_run_lands_its_flights_and_stays_open() -> None:
    gone = iter([False, False] + [True] * 99)  # asked at the beginning, and again before the first move
    outcome, notes = carry_out(
        [move(n) for n in range(1, 4)],
        ScriptedVcenter(),
        rules=Rules(slots=SlotLimits(per_host=1)),
        interrupted=lambda: next(gone),
    )
    assert outcome.interrupted
    assert list(results(outcome).values()) == [MoveResult.NOT_STARTED, MoveResult.NOT_STARTED, MoveResult.MOVED]
    assert [e["result"] for e in notes.of("move_finished")] == ["moved"]
    assert len(notes.of("run_stopping")) == 1


def test_no_move_starts_after_an_interruption_even_if_slots_are_free() -> None:
    gone = iter([False, False, False] + [True] * 99)  # while the second of three moves is about to start
    outcome, notes = carry_out(
        [move(n) for n in range(1, 4)],
        ScriptedVcenter(),
        rules=Rules(slots=SlotLimits(per_host=8)),
        interrupted=lambda: next(gone),
    )
    assert outcome.interrupted
    assert len(notes.of("move_submitting")) == 2
    assert len(notes.of("run_stopping")) == 1


def test_a_verdict_stops_the_moves_of_others_only_if_the_operator_wants_it() -> None:
    moves = [move(n) for n in range(1, 7)]
    rules = Rules(slots=SlotLimits(per_host=1), stop_on_verdict=False)
    watch = ScriptedWatch({"vm-2": Verdict.RESTARTED})
    outcome, notes = carry_out(moves, ScriptedVcenter(), watch, rules)
    assert set(results(outcome).values()) == {MoveResult.MOVED}
    assert outcome.stopped == ""
    assert [e["verdict"] for e in notes.of("verdict")] == ["restarted"]
    stopped, _notes = carry_out(moves, ScriptedVcenter(), watch, replace(rules, stop_on_verdict=True))
    assert MoveResult.NOT_STARTED in results(stopped).values()
    failing = ScriptedVcenter({"vm-1": ["NoPermission"]})
    failed, _notes = carry_out(moves, failing, watch, rules)
    assert MoveResult.NOT_STARTED in results(failed).values(), "failed moves count as before"


def test_a_missing_privilege_is_named() -> None:
    vcenter = ScriptedVcenter()

    def relocate(
        vm: str, host: str, *, place: InventoryPlace | None, priority: str, **_stores: Mapping[int, str]
    ) -> str:
        raise PermissionMissing(
            "The vCenter user is not allowed to move the VM",
            privilege="Resource.HotMigrate",
            hint="Grant the privilege Resource.HotMigrate",
        )

    vcenter.relocate = relocate  # type: ignore[method-assign]
    outcome, _notes = carry_out([move(1)], vcenter)
    (failure,) = failures_of(outcome)
    assert failure.startswith("ml-1 was left on esx-1 (failed: ")
    assert "Grant the privilege Resource.HotMigrate" in failure


@pytest.mark.parametrize(
    ("now", "result", "home"),
    [
        (PlacementUpdate("vm-3", "host-1", Power.ON), MoveResult.NOT_STARTED, "host-1"),
        (PlacementUpdate("vm-3", "host-9", Power.ON), MoveResult.NOT_STARTED, "host-9"),
        (PlacementUpdate("vm-3", "host-2", Power.ON), MoveResult.MOVED, None),
        (PlacementUpdate("vm-3", None), MoveResult.GONE, None),
        (PlacementUpdate("vm-3", None, unknown="no permission"), MoveResult.NOT_STARTED, None),
    ],
)
def test_a_move_that_was_not_begun_is_reported_where_its_vm_is(
    now: PlacementUpdate, result: MoveResult, home: str | None
) -> None:
    class Changing(ScriptedVcenter):
        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            return super().placement(vms) | ({"vm-3": now} if "vm-3" in vms else {})

    vcenter = Changing(faults={"vm-1": ["NoPermission"]})
    homes = {"vm-3": Home("vm-3", "host-1", "esx-1", "host-2", "esx-2", "r", "2026-11-26T02:30:00Z")}
    rules = Rules(slots=SlotLimits(per_host=1))
    outcome, notes = carry_out(
        [move(1), move(2), move(3)], vcenter, rules=rules, homes=homes, hosts=hosts("host-1", "host-2", "host-9")
    )
    assert results(outcome)["vm-3"] is result
    ended = next(e for e in notes.of("move_finished") if e["vm"]["moid"] == "vm-3")
    assert ended["host"] == {"host-1": "esx-1", "host-2": "host-2", "host-9": "esx-9", None: None}[now.host]
    assert [h.target for h in vcenter.homes if h.vm == "vm-3"] == ([home] if home else [])


@pytest.mark.parametrize("read", ["placement", "updates", "follow", "unfollow"])
def test_one_read_that_fails_does_not_end_a_run_whose_moves_go_on(read: str) -> None:
    class Hiccup(ScriptedVcenter):
        failed = False

    def failing(vcenter: Hiccup) -> Any:
        whole = getattr(vcenter, read)

        def call(*arguments: Any) -> Any:
            if vcenter.relocated and not vcenter.failed:
                vcenter.failed = True
                raise CallFailed("a general system error occurred", fault="SystemError")
            return whole(*arguments)

        return call

    vcenter = Hiccup()
    setattr(vcenter, read, failing(vcenter))
    outcome, _notes = carry_out([move(1), move(2)], vcenter)
    assert vcenter.failed
    assert set(results(outcome).values()) == {MoveResult.MOVED}


def test_a_vm_whose_host_cannot_be_read_is_unknown_and_the_others_are_followed() -> None:
    class Blind(ScriptedVcenter):
        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            seen = super().placement(vms)
            hidden = PlacementUpdate("vm-1", None, unknown="vCenter does not say on which host vm-1 is")
            return seen | ({"vm-1": hidden} if "vm-1" in seen and "vm-1" in self.relocated else {})

    outcome, notes = carry_out([move(1), move(2)], Blind())
    assert results(outcome) == {"vm-1": MoveResult.FAILED, "vm-2": MoveResult.MOVED}
    assert failures_of(outcome) == (
        "It is not known on which host ml-1 is (failed: vCenter does not say on which host vm-1 is)",
    )
    assert [e["host"] for e in notes.of("move_finished") if e["vm"]["moid"] == "vm-1"] == [None]


def test_reads_that_fail_for_good_leave_the_places_unknown_and_say_why() -> None:
    class Blind(ScriptedVcenter):
        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            if self.relocated:
                raise CallFailed("a general system error occurred", fault="SystemError")
            return super().placement(vms)

    outcome, _notes = carry_out([move(1)], Blind())
    (ended,) = outcome.ended
    assert (ended.result, ended.host) == (MoveResult.FAILED, None)
    assert ended.fault is not None
    assert "a general system error occurred" in ended.fault.message


def test_files_that_cannot_be_found_are_not_said_to_have_arrived() -> None:
    class Blind(ScriptedVcenter):
        def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
            raise CallFailed("a general system error occurred", fault="SystemError")

    outcome, _notes = carry_out([with_files(1)], Blind())
    assert results(outcome) == {"vm-1": MoveResult.FAILED}
    assert failures_of(outcome) == (
        "ml-1 is on host-2, but its files were not seen where they were to go"
        " (failed: vCenter does not say where the files of the VM are)",
    )
