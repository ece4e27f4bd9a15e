# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster whose DRS empties a fenced host: nothing is moved unwatched, and its overrides are afterwards what they were."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run import executor, guard
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Ref
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose, Rules, RunReport, RunRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import carry_out
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import replay
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import pins_left, runs_of, state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    DrsOverride,
    Estate,
    FenceTask,
    HostState,
    Maintenance,
)

from tests.builders.journals import journal_rows
from tests.doubles.run import Watching, restore, run
from tests.doubles.vcenter import SOURCE, Killed, World

OWN = {"vm-2": DrsOverride(enabled=True, behavior=Automation.FULL), "vm-3": DrsOverride(behavior=Automation.MANUAL)}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(guard, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


def automated(vms: int = 4, **faults: Any) -> World:
    """A world with fully automated DRS; one VM has an override that says the same, and one is manual."""
    world = World(vms, **faults)
    world.drs, world.overrides = Automation.FULL, dict(OWN)
    return world


def events(state: Path) -> list[dict[str, Any]]:
    return [row for folder in sorted((state / "runs").iterdir()) for row in journal_rows(folder / "journal.jsonl")]


def kinds(state: Path) -> list[str]:
    return [row["event"] for row in events(state)]


def test_vms_are_excluded_from_drs_before_the_fence_and_given_back_to_it(state: Path) -> None:
    world = automated()
    report = run(world, state)
    assert report.failures == ()
    assert SOURCE not in world.where.values()
    assert world.movers == {}, "DRS moved nothing"
    assert world.overrides == OWN
    assert (world.maintenance, report.fenced) == (Maintenance.ENTERING, True)
    told = kinds(state)
    homes = [n for n, kind in enumerate(told) if kind == "home_recorded"]
    assert max(homes) < told.index("drs_pinning") < told.index("fence_setting") < told.index("move_submitting")
    assert told.index("drs_restored") > max(n for n, kind in enumerate(told) if kind == "move_finished")
    (pinning,) = (row for row in events(state) if row["event"] == "drs_pinning")
    assert {pin["vm"]["moid"] for pin in pinning["pins"]} == {"vm-1", "vm-2", "vm-4"}, "DRS only recommends for vm-3"


def test_without_the_right_to_edit_the_cluster_the_host_is_fenced_last(state: Path) -> None:
    world = automated()
    world.may_edit = False
    report = run(world, state)
    assert report.failures == ()
    assert SOURCE not in world.where.values()
    assert world.movers == {}
    assert world.overrides == OWN
    told = kinds(state)
    assert told.index("fence_setting") > max(n for n, kind in enumerate(told) if kind == "move_finished")
    assert "drs_pinning" not in told


def test_a_failed_run_lifts_its_fence_before_drs_gets_the_vms_back(state: Path) -> None:
    world = automated(faults={("vm-4", "host-2"): "NoPermission", ("vm-4", "host-3"): "NoPermission"})
    report = run(world, state, rules=Rules(retries=0))
    assert [f for f in report.failures if "ml-4" in f]
    assert (world.maintenance, report.fenced, report.fence_lifted) == (Maintenance.NORMAL, False, True)
    assert world.overrides == OWN
    assert world.movers == {}
    told = kinds(state)
    assert told.index("fence_lifted") < told.index("drs_restored")


def test_a_rollback_gives_back_everything(state: Path) -> None:
    world = automated(faults={("vm-4", "host-2"): "NoPermission", ("vm-4", "host-3"): "NoPermission"})
    report = run(world, state)
    assert report.rolled_back is not None
    assert set(world.where.values()) == {SOURCE}
    assert world.overrides == OWN
    assert world.movers == {}


@pytest.mark.parametrize("may_edit", [True, False])
def test_killed_at_any_moment_drs_moves_nothing_unwatched_and_gets_its_overrides_back(
    state: Path, may_edit: bool
) -> None:
    killed = 0
    for calls in range(1, 200):
        world, folder = automated(3), state / str(calls)
        world.may_edit = may_edit
        world.calls_left = calls
        try:
            run(world, state_path(str(folder)))
        except Killed:
            killed += 1
        else:
            break
        world.calls_left = -1
        for _tick in range(3):
            world.advance()  # what is in flight arrives, and DRS has time
        report = run(world, folder)
        assert report.failures == (), (calls, report.failures)
        assert SOURCE not in world.where.values(), calls
        assert world.overrides == OWN, calls
        assert world.movers == {}, (calls, kinds(folder))
        assert set(journal_homes(folder, "uuid")) == {"vm-1", "vm-2", "vm-3"}, calls
    assert killed > 30


def test_a_restore_excludes_its_vms_from_drs_while_they_move(state: Path) -> None:
    world = automated()
    run(world, state)
    seen = []
    move = world.relocate

    def relocate(*arguments: Any, **options: Any) -> Any:
        seen.append({vm for vm, override in world.overrides.items() if override.enabled is False})
        return move(*arguments, **options)

    world.relocate = relocate  # type: ignore[method-assign]
    report = restore(world, state)
    assert report.failures == ()
    assert set(world.where.values()) == {SOURCE}
    assert seen and all(pinned == {"vm-1", "vm-2", "vm-4"} for pinned in seen)
    assert world.overrides == OWN


def test_a_run_for_a_vm_leaves_it_excluded_from_drs_while_another_run_needs_that(state: Path) -> None:
    world = automated()
    world.calls_left = 12
    with pytest.raises(Killed):
        run(world, state)
    world.calls_left = -1
    (left,) = runs_of(state, "uuid")
    assert left.pins and world.overrides["vm-1"].enabled is False
    estate = world.estate()
    plan = make_plan(estate, PlanRequest(("vm-1",), destinations={"vm-1": "host-2"}))
    request = RunRequest(plan=plan, purpose=Purpose.MIGRATE, host=None, state=state, rules=Rules())

    def carried_out() -> RunReport:
        return carry_out(world, Watching(), request, listener=line, interrupted=lambda: False)  # type: ignore[arg-type]

    with run_lock(state, left.key, timeout=1.0):
        report = carried_out()
    assert (report.failures, len(report.outcome.moved)) == ((), 1)
    assert world.overrides["vm-1"].enabled is False


def test_whatever_run_follows_a_killed_one_gives_its_vms_back_to_drs(state: Path) -> None:
    killed = 0
    for calls in range(1, 200):
        world, folder = automated(3), state_path(str(state / str(calls)))
        world.calls_left = calls
        try:
            run(world, folder)
        except Killed:
            killed += 1
        else:
            break
        world.calls_left = -1
        for _tick in range(3):
            world.advance()
        report = restore(world, folder)
        assert report.failures == (), (calls, report.failures)
        assert set(world.where.values()) == {SOURCE}, calls
        assert world.overrides == OWN, calls
        assert pins_left(runs_of(folder, "uuid")) == {}, calls
    assert killed > 30


def test_what_drs_has_moved_is_named_and_comes_home(state: Path) -> None:
    world = automated()
    world.may_edit = False
    original = world.updates

    def updates(timeout: float) -> Any:
        if world.where["vm-4"] == SOURCE and not any(vm == "vm-4" for vm, _t, _n in world.tasks.values()):
            world.where["vm-4"], world.movers["vm-4"] = "host-2", "DRS"  # planned is host-3
        return original(timeout)

    world.updates = updates  # type: ignore[method-assign]
    report = run(world, state)
    assert report.failures == ()
    (by_drs,) = (ended for ended in report.outcome.ended if ended.by)
    assert (by_drs.move.vm, by_drs.move.target, by_drs.by) == ("vm-4", "host-2", "DRS")
    assert (journal_homes(state, "uuid")["vm-4"].host, journal_homes(state, "uuid")["vm-4"].target) == (
        SOURCE,
        "host-2",
    )
    (finished,) = (e for e in events(state) if e["event"] == "move_finished" and e["vm"]["moid"] == "vm-4")
    assert (finished["by"], finished["target"]["moid"], finished["result"]) == ("DRS", "host-2", "moved")


def killed_before_a_move(state: Path) -> tuple[World, str, str]:
    """A world whose run was killed, a VM that this run had not begun to move, and the host (MoID) where it was to go."""
    world = automated()
    world.may_edit, world.calls_left = False, 16
    with pytest.raises(Killed):
        run(world, state)
    world.calls_left = -1
    planned = {e["vm"]["moid"]: e["target"]["moid"] for e in events(state) if e["event"] == "planned"}
    begun = {task[0] for task in world.tasks.values()}
    vm = next(vm for vm, host in world.where.items() if host == SOURCE and vm not in begun)
    return world, vm, planned[vm]


@pytest.mark.parametrize("mover", ["DRS", "alice", ""])
def test_what_somebody_else_moved_while_no_process_watched_has_left_too(state: Path, mover: str) -> None:
    world, vm, planned = killed_before_a_move(state)
    world.where[vm] = "host-2" if planned == "host-3" else "host-3"
    world.movers[vm] = mover
    report = run(world, state)
    assert (report.resumed, report.failures) == (True, ())
    (ended,) = (e for e in report.outcome.ended if e.move.vm == vm)
    assert (ended.move.target, ended.by) == (world.where[vm], mover or "somebody else")
    home = journal_homes(state, "uuid")[vm]
    assert (home.host, home.target) == (SOURCE, world.where[vm])


@pytest.mark.parametrize(("mover", "by"), [("vSphere HA", "vSphere HA"), ("alice", "alice"), ("", "somebody else")])
def test_what_ha_restarted_on_its_target_while_no_process_watched_was_not_moved_by_the_run(
    state: Path, mover: str, by: str
) -> None:
    world, vm, planned = killed_before_a_move(state)
    world.where[vm], world.movers[vm] = planned, mover
    report = run(world, state)
    (ended,) = (e for e in report.outcome.ended if e.move.vm == vm)
    assert (str(ended.result), ended.by) == ("moved", by)
    sentence = f"vSphere HA restarted {ended.move.vm_name} on {ended.host_name}, because its host, network or storage had failed"
    assert report.failures == ((sentence,) if mover == "vSphere HA" else ())


def test_an_override_that_somebody_else_has_changed_is_left_alone(state: Path) -> None:
    world = automated()
    original = world.updates

    def updates(timeout: float) -> Any:
        world.overrides["vm-1"] = DrsOverride(enabled=True, behavior=Automation.PARTIAL)
        return original(timeout)

    world.updates = updates  # type: ignore[method-assign]
    assert run(world, state).failures == ()
    assert world.overrides == {**OWN, "vm-1": DrsOverride(enabled=True, behavior=Automation.PARTIAL)}


class Stubborn(World):
    """It refuses, or loses the answer to, the change of overrides with that number."""

    def __init__(self, vms: int, number: int, error: Exception, *, done: bool = False) -> None:
        super().__init__(vms)
        self.drs, self.overrides = Automation.FULL, dict(OWN)
        self.number, self.error, self.done, self.once = number, error, done, True

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        self.number -= 1
        if self.number > 0 or (self.number < 0 and self.once):
            super().set_drs_overrides(cluster, changes, present)
            return
        if self.done:
            super().set_drs_overrides(cluster, changes, present)
        raise self.error


def test_overrides_that_cannot_be_set_end_the_run_before_the_fence(state: Path) -> None:
    world = Stubborn(3, 1, CallFailed("vCenter could not change the overrides", fault="InvalidArgument"))
    with pytest.raises(CallFailed, match="could not change"):
        run(world, state)
    assert set(world.where.values()) == {SOURCE}
    assert (world.maintenance, world.overrides) == (Maintenance.NORMAL, OWN)
    assert kinds(state)[-1] == "run_finished"


def test_overrides_that_cannot_be_set_back_are_a_failure_that_names_the_vms(state: Path) -> None:
    world = Stubborn(3, 2, CallFailed("vCenter could not change the overrides", fault="InvalidArgument"))
    world.once = False
    report = run(world, state)
    assert report.failures == (
        "ml-1, ml-2: the override of DRS could not be set back (vCenter could not change the overrides); run the same "
        "playbook again, or change the override in vCenter",
    )
    assert "drs_kept" in kinds(state)


NO_TASK = NotFound("vCenter no longer knows task task-1")


@pytest.mark.parametrize(
    "error", [ConnectError("the answer was lost"), NO_TASK, CallFailed("exists", fault="InvalidArgument")]
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_answer_or_task_is_decided_by_the_overrides(state: Path, number: int, error: Exception) -> None:
    world = Stubborn(3, number, error, done=True)
    assert run(world, state).failures == ()
    assert world.overrides == OWN


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_task_that_lifts_the_fence_is_decided_by_the_host(state: Path, done: bool) -> None:
    class Forgetful(World):
        def end_maintenance(self, host: HostState, timeout: float) -> None:
            if done:
                super().end_maintenance(host, timeout)
            raise NO_TASK

    world = Forgetful(2, faults={("vm-2", "host-2"): "NoPermission", ("vm-2", "host-3"): "NoPermission"})
    report = run(world, state, rules=Rules(retries=0))
    assert report.fence_lifted is done
    assert any("the fence of esx-1 could not be lifted" in failure for failure in report.failures) is not done
    assert ("fence_kept" in kinds(state)) is not done


class WithoutAnswer(World):
    """The answer to the call for maintenance mode is lost; ``done``: it was carried out."""

    done = True

    def enter_maintenance(self, host: str) -> str:
        if self.done:
            super().enter_maintenance(host)
        raise ConnectError("the answer was lost")


def test_a_lost_fence_is_decided_by_the_host(state: Path) -> None:
    world = WithoutAnswer(2)
    report = run(world, state)
    assert (report.failures, report.fenced) == ((), True)
    lost = WithoutAnswer(2)
    lost.done = False
    with pytest.raises(ConnectError) as raised:
        run(lost, state_path(str(state / "other")))
    assert (raised.value.fenced, raised.value.fence_unknown) == (False, False), (
        "the run has seen that it lifted its fence"
    )
    assert lost.maintenance is Maintenance.NORMAL
    assert set(lost.where.values()) == {SOURCE}


def test_a_fence_of_somebody_else_is_kept(state: Path) -> None:
    world = World(2, {("vm-1", "host-2"): "NoPermission", ("vm-1", "host-3"): "NoPermission"})
    world.maintenance = Maintenance.ENTERING
    report = run(world, state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_lifted, world.maintenance) == (False, False, Maintenance.ENTERING)


class Restarted(World):
    """vCenter was restarted, and does not show that its host is entering maintenance mode. Empty, the host ``arrives`` in it."""

    arrives = True
    lost = 0  # answers to the call for maintenance mode

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        there = self.arrives and self.maintenance is Maintenance.ENTERING and SOURCE not in self.where.values()
        now = Maintenance.IN if there else Maintenance.NORMAL
        host = replace(estate.hosts[SOURCE], maintenance=now, maintenance_task=None)
        return replace(estate, hosts={**estate.hosts, SOURCE: host})

    def enter_maintenance(self, host: str) -> str:
        entering = self.maintenance is Maintenance.ENTERING
        if not entering:
            super().enter_maintenance(host)
        if self.lost:
            self.lost -= 1
            raise ConnectError("the answer was lost")
        if entering:
            raise CallFailed("vCenter could not enter maintenance mode", fault="InvalidState")
        return "task-fence"

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        raise CallFailed("vCenter could not exit maintenance mode", fault="InvalidState")


def fences(state: Path) -> list[tuple[str, bool, bool]]:
    """Each fence of the journal: what it says, whether it is the run's own, and whether it is unknown."""
    return [(row["detail"], row["own"], row["unknown"]) for row in events(state) if row["event"] == "fence"]


NOT_SEEN = "whether esx-1 is fenced is unknown: vCenter answered InvalidState when it was to fence it"
STUCK = {("vm-1", "host-2"): "NoPermission", ("vm-1", "host-3"): "NoPermission"}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_fence_that_vcenter_does_not_show_is_unknown_until_the_host_is_seen(state: Path, lost: int) -> None:
    world = Restarted(2)
    world.maintenance, world.lost = Maintenance.ENTERING, lost
    report = run(world, state)
    assert (report.failures, report.fenced, report.fence_unknown) == ((), bool(lost), False)
    assert SOURCE not in world.where.values()
    (first, own, unknown), last = fences(state)
    assert first.startswith(NOT_SEEN)
    assert (own, unknown) == (bool(lost), True), "after a lost answer it may be the run's"
    assert last == ("esx-1 is in maintenance mode", bool(lost), False)


def test_the_fence_of_a_killed_run_stays_its_own_though_vcenter_does_not_show_it(state: Path) -> None:
    class Dying(Restarted):
        def enter_maintenance(self, host: str) -> str:
            super().enter_maintenance(host)
            raise Killed

    dying = Dying(2)
    with pytest.raises(Killed):
        run(dying, state)
    assert replay(read_journal(next((state / "runs").glob("*/journal.jsonl"))).entries).fence_unknown
    world = Restarted(2)
    world.maintenance = Maintenance.ENTERING
    report = run(world, state)
    assert (report.failures, report.fenced, report.fence_unknown) == ((), True, False)
    assert fences(state)[-1] == ("esx-1 is in maintenance mode", True, False)


def test_a_host_that_never_shows_its_fence_stays_unknown(state: Path) -> None:
    world = Restarted(2)
    world.maintenance, world.arrives = Maintenance.ENTERING, False
    report = run(world, state)
    assert (report.failures, report.fenced, report.fence_unknown) == ((), False, True)
    [folder] = (state / "runs").iterdir()
    assert replay(read_journal(folder / "journal.jsonl").entries).fence_unknown


class TaskOnly(World):
    """The task of the fence runs, and the host does not show it. ``ended`` are the hosts given to the end of maintenance mode."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended: list[HostState] = []

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        host = replace(estate.hosts[SOURCE], maintenance=Maintenance.NORMAL, maintenance_task=None)
        return replace(estate, hosts={**estate.hosts, SOURCE: host})

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        self.ended.append(host)
        super().end_maintenance(host, timeout)


def test_a_fence_that_only_its_task_shows_is_the_run_s_own_and_is_lifted_by_that_task(state: Path) -> None:
    world = TaskOnly(2, dict(STUCK))
    report = run(world, state, rules=Rules(retries=0))
    assert fences(state)[0] == ("esx-1 is fenced", True, False)
    assert (report.fence_lifted, report.fence_unknown) == (True, False)
    assert [host.maintenance_task for host in world.ended] == ["task-fence"]


def test_a_host_that_cannot_be_read_after_its_fence_was_not_lifted_is_unknown(state: Path) -> None:
    class Unreadable(World):
        refused = False

        def end_maintenance(self, host: HostState, timeout: float) -> None:
            self.refused = True
            raise CallFailed("vCenter could not end maintenance mode", fault="NoPermission")

        def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
            if self.refused:
                raise CallFailed("vCenter could not read the task", fault="NoPermission")
            return super().fence_task(host, task)

    report = run(Unreadable(2, dict(STUCK)), state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_unknown, report.fence_lifted) == (True, True, False)
    assert [row["unknown"] for row in events(state) if row["event"] == "fence_kept"] == [True]


def test_a_host_that_shows_its_fence_is_not_looked_at_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(guard, "LOOKS", (0.0, 1.0, 2.0, 4.0))
    monkeypatch.setattr(guard.time, "sleep", pauses.append)
    world = Restarted(2)
    world.maintenance, world.arrives = Maintenance.ENTERING, False
    with closing(Journal(state / "journal.jsonl")) as journal:
        looked(guard.Fence(world, journal, Ref(SOURCE, "esx-1"), own=True, unknown=True), world, pauses)


def looked(fence: guard.Fence, world: Restarted, pauses: list[float]) -> None:
    fence.look_again()
    assert (pauses, fence.unknown) == ([0.0, 1.0, 2.0, 4.0], True)
    pauses.clear()
    world.arrives = True
    world.where = dict.fromkeys(world.where, "host-2")
    fence.look_again()
    assert (pauses, fence.unknown) == ([0.0], False)
    pauses.clear()
    fence.look_again()
    assert pauses == [0.0], "what is known is read once"


def test_a_failed_run_says_that_its_fence_may_still_be_there(state: Path) -> None:
    world = Restarted(2, dict(STUCK))
    world.lost = 1
    report = run(world, state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_unknown, report.fence_lifted) == (True, True, False)
    assert [failure for failure in report.failures if "fence" in failure] == [
        "whether esx-1 is fenced is unknown: vCenter shows neither maintenance mode nor a task that enters it, so there is nothing "
        "to end (vCenter could not exit maintenance mode)"
    ]
    assert [row["unknown"] for row in events(state) if row["event"] == "fence_kept"] == [True]


def test_a_failed_run_leaves_a_hidden_fence_of_somebody_else(state: Path) -> None:
    world = Restarted(2, dict(STUCK))
    world.maintenance = Maintenance.ENTERING
    report = run(world, state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_unknown) == (False, True)
    assert "fence_lifting" not in kinds(state)


def test_a_run_that_got_no_answer_about_its_fence_says_that_it_is_unknown(state: Path) -> None:
    world = Restarted(2)
    world.lost = 2
    with pytest.raises(ConnectError) as raised:
        run(world, state)
    assert (raised.value.fenced, raised.value.fence_unknown) == (True, True)


@pytest.mark.parametrize(
    "error", [CallFailed("no", fault="HostNotConnected"), PermissionMissing("no", privilege="x"), LoginRefused("no")]
)
def test_a_fence_that_vcenter_refuses_is_none(state: Path, error: Exception) -> None:
    class Refusing(World):
        def enter_maintenance(self, host: str) -> str:
            raise error

    with pytest.raises(type(error)) as raised:
        run(Refusing(2), state)
    assert (raised.value.fenced, raised.value.fence_unknown) == (False, False)


class Vanishing(World):
    """The host is removed from vCenter once ``moved`` VMs have left it. ``error`` is what vCenter says to a fence."""

    moved = 2
    error: Exception | None = None

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        if self.error is not None or sum(host != SOURCE for host in self.where.values()) < self.moved:
            return estate
        return replace(estate, hosts={moid: host for moid, host in estate.hosts.items() if moid != SOURCE})

    def enter_maintenance(self, host: str) -> str:
        if self.error is not None:
            raise self.error
        return super().enter_maintenance(host)


def test_a_host_that_is_gone_before_its_fence_ends_the_run_before_its_first_move(state: Path) -> None:
    world = Vanishing(2)
    original = world.estate_of_hosts

    def estate_of_hosts(**options: Any) -> Estate:
        world.moved = 0
        return original(**options)

    world.estate_of_hosts = estate_of_hosts  # type: ignore[method-assign]
    with pytest.raises(NotFound, match="vCenter does not show esx-1 any more"):
        run(world, state)
    assert (world.moves, kinds(state)[-1]) == ([], "run_finished")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "vCenter does not show esx-1 any more"),
        (CallFailed("vCenter could not enter maintenance mode", fault="HostNotConnected"), "vCenter could not enter"),
        (PermissionMissing("The user may not enter maintenance mode", privilege="x"), "The user may not"),
        (ConnectError("the answer was lost"), "the answer was lost"),
    ],
)
def test_a_host_that_cannot_be_fenced_last_fails_the_run_with_the_accounts_of_its_moves(
    state: Path, error: Exception | None, why: str
) -> None:
    world = Vanishing(2)
    world.drs, world.may_edit, world.error = Automation.FULL, False, error
    report = run(world, state)
    assert [ended.result for ended in report.outcome.ended] == ["moved", "moved"]
    assert report.failures[0].startswith(f"esx-1 could not be fenced after its VMs had left: {why}")
    assert (report.fence_lifted, kinds(state)[-1]) == (isinstance(error, ConnectError), "run_finished")
    assert any(detail.startswith("esx-1 could not be fenced") for detail, _own, _unknown in fences(state))


def test_a_fenced_host_that_is_gone_when_the_run_fails_is_not_called_fenced(state: Path) -> None:
    world = Vanishing(2, {("vm-2", "host-2"): "NoPermission", ("vm-2", "host-3"): "NoPermission"})
    world.moved = 1
    report = run(world, state, rules=Rules(retries=0))
    assert "whether esx-1 is fenced is unknown: vCenter does not show esx-1 any more" in report.failures
    assert (report.fence_unknown, report.fence_lifted) == (True, False)


def test_a_fence_whose_task_fails_at_once_is_not_called_one(state: Path) -> None:
    class Quick(World):
        def enter_maintenance(self, host: str) -> str:
            return "task-fence"

    with pytest.raises(
        CallFailed, match=r"esx-1 could not be fenced: its maintenance mode ended at once \(RequestCanceled\)"
    ) as raised:
        run(Quick(2), state)
    assert (raised.value.fenced, raised.value.fence_unknown) == (False, False)
    assert [(own, unknown) for _detail, own, unknown in fences(state)] == [(False, False)]


class ReadTooEarly(World):
    """The host enters maintenance mode between the reading of the host and that of its task."""

    early = 0

    def advance(self) -> Any:
        news = super().advance()
        if self.maintenance is Maintenance.ENTERING and SOURCE not in self.where.values():
            self.maintenance, self.early = Maintenance.IN, 1
        return news

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        if self.early == 0:
            return estate
        self.early -= 1
        host = replace(estate.hosts[SOURCE], maintenance=Maintenance.NORMAL, maintenance_task=None)
        return replace(estate, hosts={**estate.hosts, SOURCE: host})


def test_a_host_that_was_read_before_its_fence_task_ended_is_fenced(state: Path) -> None:
    world = ReadTooEarly(2)
    world.keeps_fence = True
    report = run(world, state)
    assert world.early == 0, "it was read too early"
    assert (report.failures, report.fenced) == ((), True)
    assert not any("is in service" in str(detail) for detail, *_rest in fences(state))
    assert [detail for detail, *_rest in fences(state)] == ["esx-1 is fenced", "esx-1 is in maintenance mode"]


class Meddled(World):
    """Somebody ends the maintenance mode while VMs move."""

    def updates(self, timeout: float) -> Any:
        self.maintenance = Maintenance.NORMAL
        return super().updates(timeout)


@pytest.mark.parametrize("faults", [{}, STUCK])
def test_a_fence_that_somebody_else_ended_is_not_called_one(state: Path, faults: dict[tuple[str, str], str]) -> None:
    world = Meddled(2, dict(faults))
    report = run(world, state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_unknown, report.fence_lifted) == (False, False, False)
    assert not any("fence" in failure for failure in report.failures)
    assert fences(state)[-1] == (
        "esx-1 is in service: the fence of this run ended, and the run did not end it (RequestCanceled)", False, False,
    )  # fmt: skip


def test_a_fence_of_somebody_else_that_ended_is_not_called_one(state: Path) -> None:
    world = Meddled(2)
    world.maintenance = Maintenance.ENTERING
    assert not run(world, state).fenced
    assert [own for _detail, own, _unknown in fences(state)] == [False, False]
    assert fences(state)[-1][0].startswith("esx-1 is in service: its maintenance mode ended")


class Killable(World):
    """The process is killed once the first VM moves. Later ``task`` enters maintenance mode, and ``fate`` is that of the run's task."""

    dies, task, fate = True, "task-fence", FenceTask.RUNNING

    def updates(self, timeout: float) -> Any:
        if self.dies:
            raise Killed
        return super().updates(timeout)

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        host = estate.hosts[SOURCE]
        task = self.task if host.maintenance is Maintenance.ENTERING else None
        return replace(estate, hosts={**estate.hosts, SOURCE: replace(host, maintenance_task=task)})

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        return (self.fate, "") if task == "task-fence" else (FenceTask.RUNNING, "")


def resumed(world: Killable, state: Path, now: Maintenance, task: str, fate: FenceTask) -> RunReport:
    """The report of a failed run that resumes one which was killed after its fence."""
    with pytest.raises(Killed):
        run(world, state)
    world.dies, world.task, world.fate, world.maintenance = False, task, fate, now
    world.tasks.clear()
    return run(world, state, rules=Rules(retries=0))


@pytest.mark.parametrize(
    ("now", "task", "fate", "own"),
    [
        (Maintenance.ENTERING, "task-fence", FenceTask.RUNNING, True),
        (Maintenance.IN, "", FenceTask.ENTERED, True),
        (Maintenance.ENTERING, "task-7", FenceTask.FAILED, False),
        (Maintenance.ENTERING, "task-7", FenceTask.FOLLOWED, False),
        (Maintenance.ENTERING, "task-7", FenceTask.HIDDEN, False),
        (Maintenance.IN, "", FenceTask.FAILED, False),
        (Maintenance.IN, "", FenceTask.FOLLOWED, False),
        (Maintenance.IN, "", FenceTask.HIDDEN, False),
    ],
)
def test_a_resumed_run_lifts_its_own_fence_and_not_the_later_one_of_somebody_else(
    state: Path, now: Maintenance, task: str, fate: FenceTask, own: bool
) -> None:
    world = Killable(2, dict(STUCK))
    report = resumed(world, state, now, task, fate)
    assert report.failures
    assert (report.fence_lifted, report.fenced) == (own, False)
    assert world.maintenance is (Maintenance.NORMAL if own else now)


@pytest.mark.parametrize(
    "error", [ConnectError("the answer was lost"), TaskTimeout("late", last_state="running"), NO_TASK]
)
def test_a_fence_whose_end_got_no_answer_is_lifted_if_the_host_is_in_service(state: Path, error: Exception) -> None:
    class Lossy(World):
        def end_maintenance(self, host: HostState, timeout: float) -> None:
            super().end_maintenance(host, timeout)
            raise error

    world = Lossy(2, dict(STUCK))
    report = run(world, state, rules=Rules(retries=0))
    assert (report.fenced, report.fence_unknown, report.fence_lifted) == (False, False, True)
    assert not any("fence" in failure for failure in report.failures)


def test_a_host_that_cannot_be_read_at_the_end_may_be_fenced(state: Path) -> None:
    class Blind(World):
        def estate_of_hosts(self, **options: Any) -> Estate:
            if SOURCE not in self.where.values():
                raise CallFailed("vCenter could not read the inventory: SystemError", fault="SystemError")
            return super().estate_of_hosts(**options)

    report = run(Blind(2), state)
    assert (report.failures, report.fenced, report.fence_unknown) == ((), True, True)
    assert fences(state)[-1][0].startswith("whether esx-1 is fenced is unknown: vCenter could not read")


def test_an_interrupted_run_looks_at_its_fence(state: Path) -> None:
    report = run(Meddled(3), state, interrupted=lambda: len(kinds(state)) > 16)
    assert (report.outcome.interrupted, report.fenced) == (True, False)
    assert fences(state)[-1][0].startswith("esx-1 is in service")
