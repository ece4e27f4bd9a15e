# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed runs that are resumed: for VMs without a host, and after VMs were deleted, powered off or moved meanwhile."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    InvalidInput,
    PlanRefused,
    StateUnwritable,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line, text_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    DrsDecision,
    DrsHandling,
    PlanRequest,
    Reason,
    Refusal,
    SlotLimits,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run import journal as _journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    Entry,
    MoveFinished,
    MovePlanned,
    Noticed,
    RunFinished,
    VerdictReached,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    MoveResult,
    Purpose,
    Rules,
    RunReport,
    RunRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import request_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import (
    UNOBSERVED,
    _followed,
    carry_out,
    refuse_unrecoverable,
    unrecoverable,
    unseen_end,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import MoveRecord
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path, stored_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, Estate, Maintenance
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import decode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate, Update
from ansible_collections.liveml.vsphere.plugins.modules.migration_plan import SPEC
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import result_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders.journals import INTACT, entries, journal_rows, write_run
from tests.doubles.run import Watching, run
from tests.doubles.vcenter import SOURCE, Killed, World

pytestmark = pytest.mark.usefixtures("fast")


def migrate(
    world: World,
    state: Path,
    *vms: str,
    destination: str | None = None,
    purpose: Purpose = Purpose.MIGRATE,
    **storage: str,
) -> RunReport | None:
    """Plan and carry out as the role does; ``None`` when planning refuses a VM."""
    options = {"state_dir": str(state), "vms": list(vms), "policy": "any", **storage}
    options |= {"destination": destination} if destination else {}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(options).validated_parameters
    estate = world.estate()
    plan = make_plan(estate, request_of(params, estate, (), None))
    if plan.refusals:
        return None
    return carry_out(
        world,  # type: ignore[arg-type]
        Watching(),  # type: ignore[arg-type]
        RunRequest(
            plan=plan,
            purpose=purpose,
            host=None,
            state=state,
            rules=Rules(retries=0),
            record_homes=purpose is Purpose.EVACUATE,
        ),
        listener=line,
        interrupted=lambda: False,
    )


def last_events(state: Path) -> list[str]:
    """The last event of each run that began."""
    return [run.entries[-1].event.kind for run in stored_runs(state)]


def killed_at_every_call(act: Callable[[World, Path], Any], folder: Path, vms: int) -> Any:
    """Worlds and state directories after ``act`` was killed at its N-th call, for every N."""
    calls = 0
    while True:
        calls += 1
        world, state = World(vms), state_path(str(folder / str(calls)))
        world.calls_left = calls
        try:
            act(world, state)
        except Killed:
            world.calls_left = -1
            yield world, state
        else:
            return


def land(world: World) -> None:
    while world.tasks:
        world.advance()


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize(
    ("again", "ends"), [("esx-2", {"host-2"}), ("esx-3", {"host-3"}), (None, {"host-2", "host-3"})]
)
def test_a_killed_move_ends_where_the_last_call_says(
    tmp_path: Path, again: str | None, ends: set[str], landed: bool
) -> None:
    tried = refused = 0
    for world, state in killed_at_every_call(lambda w, s: migrate(w, s, "ml-1", destination="esx-2"), tmp_path, 1):
        tried += 1
        if landed:
            land(world)
        if migrate(world, state, "ml-1", destination=again) is None:  # it is on its way to somewhere else
            refused += 1
            assert (again, landed) == ("esx-3", False)
            land(world)
            migrate(world, state, "ml-1", destination=again)
        assert world.where["vm-1"] in ends
        assert set(last_events(state)) <= {"run_finished"}
        if again != "esx-3":
            assert len(world.moves) == 1
        for stored in stored_runs(state):
            told = evidence_of(stored.entries, {}, INTACT)
            assert [(move["vm"], move["result"]) for move in told["moves"]] == [("ml-1", "moved")] or not told["moves"]
    assert tried > 5
    assert bool(refused) is (again == "esx-3" and not landed)


def test_a_killed_run_for_another_purpose_is_closed(tmp_path: Path) -> None:
    for world, state in killed_at_every_call(lambda w, s: migrate(w, s, "ml-1", destination="esx-2"), tmp_path, 1):
        land(world)
        migrate(world, state, "ml-1", destination="esx-3", purpose=Purpose.EVACUATE)
        assert world.where["vm-1"] == "host-3"
        assert set(last_events(state)) == {"run_finished"}


def test_a_run_of_other_vms_is_not_resumed(tmp_path: Path) -> None:
    state, world = state_path(str(tmp_path)), World(3)
    world.calls_left = 6
    with suppress(Killed):
        migrate(world, state, "ml-1", "ml-2", destination="esx-2")
    world.calls_left = -1
    land(world)
    report = migrate(world, state, "ml-3", destination="esx-2")
    assert report is not None
    assert not report.resumed
    assert sorted(last_events(state)) != ["run_finished", "run_finished"]
    report = migrate(world, state, "ml-1", "ml-2", destination="esx-2")
    assert report is not None
    assert report.resumed
    assert [name for name in last_events(state) if name != "run_finished"] == []


@pytest.mark.parametrize("landed", [True, False])
def test_files_of_a_killed_move_end_where_the_last_call_says(tmp_path: Path, landed: bool) -> None:
    def to(store: str) -> Any:
        def move(world: World, state: Path) -> Any:
            world.files.setdefault("vm-1", {0: "ds-1", 2000: "ds-1"})
            return migrate(world, state, "ml-1", scope="storage", datastore=store)

        return move

    for again in ("ds-2", "ds-1"):
        for world, state in killed_at_every_call(to("ds-2"), tmp_path / again, 1):
            if landed:
                land(world)
            report = to(again)(world, state)
            if report is None:  # a task still moves the VM elsewhere
                land(world)
                report = to(again)(world, state)
            assert report is not None
            assert set(world.files["vm-1"].values()) == {again}
            assert world.where == {"vm-1": SOURCE}
            assert set(last_events(state)) <= {"run_finished"}


def delete(world: World) -> None:
    del world.where["vm-1"]


def power_off(world: World) -> None:
    world.off.add("vm-1")


def move_away(world: World) -> None:
    world.where["vm-1"] = "host-3" if world.where["vm-1"] == "host-2" else "host-2"


@pytest.mark.parametrize("meanwhile", [delete, power_off, move_away, lambda _world: None])
def test_every_vm_of_a_killed_run_is_accounted_for_once(tmp_path: Path, meanwhile: Callable[[World], None]) -> None:
    rules = Rules(slots=SlotLimits(per_host=2), stop_on_failure=False, retries=0)
    for world, state in killed_at_every_call(lambda w, s: run(w, s, rules=rules), tmp_path, 4):
        land(world)
        known = {
            entry.event.vm.name
            for stored in stored_runs(state)
            for entry in stored.entries
            if isinstance(entry.event, MovePlanned)
        }
        meanwhile(world)
        report = run(world, state, rules=rules)
        told = result_of(report)
        assert set(last_events(state)) <= {"run_finished"}
        assert known <= {name for name, times in Counter(m["vm"] for m in told["moves"]).items() if times == 1}
        assert max(Counter(move["vm"] for move in told["moves"]).values()) == 1
        evidence = evidence_of(entries(journal_rows(report.folder / "journal.jsonl")), {}, INTACT)  # type: ignore[operator]
        assert {m["vm"]: m["result"] for m in evidence["moves"]} == {m["vm"]: m["result"] for m in told["moves"]}
        assert sorted(told["left_behind"]) == evidence["left_behind"]
        results = {move["vm"]: move["result"] for move in told["moves"]}
        for vm in ("ml-2", "ml-3", "ml-4"):
            assert results[vm] == "moved"
            assert sum(moved == vm.replace("ml", "vm") for moved, _source, _target in world.moves) == 1


def homeless(world: World) -> World:
    """Where no custom attribute may be written."""
    world.record_home = lambda home: False  # type: ignore[method-assign]
    world.clear_home = lambda vm: False  # type: ignore[method-assign]
    return world


def stays(_world: World, _state: Path) -> None: ...


def test_vms_whose_homes_the_journal_alone_has_are_known_after_the_run(tmp_path: Path) -> None:
    world = World(3)
    write = world.record_home
    world.record_home = lambda home: home.vm != "vm-2" and write(home)  # type: ignore[method-assign]
    assert run(world, state_path(str(tmp_path))).homes_in_journal == ("ml-2",)


def goes_home_by_hand(world: World, _state: Path) -> None:
    world.where["vm-1"] = SOURCE


def is_restored_and_moved_by_hand(world: World, state: Path) -> None:
    migrate(world, state, "ml-1", destination="esx-1", purpose=Purpose.RESTORE)
    assert world.where["vm-1"] == SOURCE
    world.where["vm-1"] = "host-2"


class Refilled(World):
    """While the last VM moves, somebody else moves vm-1 back. That is possible if the user may not fence the host."""

    may_fence = False

    def misses_privilege(self, host: str, privilege: str) -> bool:
        return not self.may_fence

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if self.maintenance is Maintenance.NORMAL and "vm-3" in {vm for vm, *_rest in self.tasks.values()}:
            self.where["vm-1"] = SOURCE
        return super().updates(timeout)


@pytest.mark.parametrize(("mover", "by"), [("DRS", "DRS"), ("alice", "alice"), ("", "somebody else")])
def test_a_vm_that_was_moved_back_to_an_open_host_is_a_failure(tmp_path: Path, mover: str, by: str) -> None:
    world, state = Refilled(3), state_path(str(tmp_path))
    world.movers["vm-1"] = mover
    report = run(world, state)
    assert world.where["vm-1"] == SOURCE
    assert report.failures == (f"ml-1 is on esx-1 again: {by} moved it back",)
    assert report.left_behind == ("ml-1",)
    assert len(report.outcome.moved) == 3
    (found,) = stored_runs(state)
    assert found.state.result == "failed"
    evidence = evidence_of(found.entries, {}, INTACT)
    assert evidence["run"]["result"] == "failed"
    assert evidence["left_behind"] == ["ml-1"]


class Balanced(World):
    """While the last VM comes home, somebody moves vm-1 away again."""

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if "vm-2" in {vm for vm, *_rest in self.tasks.values()} and self.where["vm-1"] == SOURCE:
            self.where["vm-1"] = "host-3"
        return super().updates(timeout)


@pytest.mark.parametrize(("mover", "away"), [("DRS", True), ("", True), ("vSphere HA", True), ("alice", False)])
def test_a_vm_that_came_home_and_was_moved_away_again_is_not_home(tmp_path: Path, mover: str, away: bool) -> None:
    world, state = Balanced(2), state_path(str(tmp_path))
    world.may_set_attributes = False
    assert run(world, state).failures == ()
    world.maintenance = Maintenance.NORMAL
    estate = world.estate()
    plan = make_plan(estate, PlanRequest(("vm-1", "vm-2"), destinations=dict.fromkeys(("vm-1", "vm-2"), SOURCE)))
    rules = Rules(slots=SlotLimits(per_host=1))
    world.movers["vm-1"] = mover
    report = carried(world, RunRequest(plan, Purpose.RESTORE, estate.hosts[SOURCE], state, rules))
    assert world.where == {"vm-1": "host-3", "vm-2": SOURCE}
    assert report.left_behind == ("ml-1",) * away
    assert [failure.startswith("ml-1 is on esx-3, not on esx-1 (") for failure in report.failures] == [True] * away
    assert set(journal_homes(state, "uuid")) == ({"vm-1"} if away else set())


def test_a_fenced_host_is_not_looked_at_again(tmp_path: Path) -> None:
    world = Refilled(3)
    world.may_fence = True
    report = run(world, state_path(str(tmp_path)))
    assert report.failures == ()
    assert report.returned == ()


class Veiled(World):
    """Once it is ``veiled``, the login does not see vm-1. ``deleted``: vCenter says that it does not exist."""

    def __init__(self, *, deleted: bool) -> None:
        super().__init__(2)
        self.veiled, self.gone = False, deleted

    def estate(self, **options: Any) -> Estate:
        seen = super().estate(**options)
        return replace(seen, vms={moid: vm for moid, vm in seen.vms.items() if not self.veiled or moid != "vm-1"})

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        hidden = PlacementUpdate("vm-1", None, unknown="" if self.gone else "vCenter does not say it")
        return {vm: hidden if self.veiled and vm == "vm-1" else seen for vm, seen in super().placement(vms).items()}

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if not self.veiled:
            raise Killed
        return super().updates(timeout)


@pytest.mark.parametrize(
    ("deleted", "failure"),
    [
        (True, "ml-1 is no longer in vCenter"),
        (False, "It is not known on which host ml-1 is (failed: vCenter does not say it)"),
    ],
)
def test_a_vm_of_a_killed_run_that_the_login_does_not_see_is_gone_only_if_vcenter_says_so(
    tmp_path: Path, deleted: bool, failure: str
) -> None:
    world, state = Veiled(deleted=deleted), state_path(str(tmp_path))
    with suppress(Killed):
        run(world, state)
    assert world.tasks
    world.veiled, world.where["vm-1"] = True, "host-2"
    world.tasks.clear()
    assert failure in run(world, state, rules=Rules(retries=0)).failures


@pytest.mark.parametrize(
    ("mover", "home"), [("DRS", SOURCE), ("vSphere HA", SOURCE), ("alice", "host-3"), ("", "host-3")]
)
def test_a_vm_that_a_machine_moved_on_keeps_its_home_when_its_new_host_is_evacuated(
    tmp_path: Path, mover: str, home: str
) -> None:
    world, state = World(1), state_path(str(tmp_path))
    migrate(world, state, "ml-1", destination="esx-2", purpose=Purpose.EVACUATE)
    world.where["vm-1"], world.movers["vm-1"] = "host-3", mover
    migrate(world, state, "ml-1", destination="esx-2", purpose=Purpose.EVACUATE)
    recorded = decode_home("vm-1", world.attributes["vm-1"])
    assert recorded is not None
    assert (recorded.host, recorded.start, recorded.target) == (home, "host-3", "host-2")


def evacuation(world: World, state: Path) -> RunRequest:
    """The request for an evacuation, planned now."""
    estate = world.estate()
    vms = tuple(vm for vm, place in world.where.items() if place == SOURCE)
    plan = make_plan(estate, PlanRequest(vms, evacuated=frozenset({SOURCE}), editable_clusters=frozenset({"c"})))
    rules = Rules(retries=0)
    return RunRequest(plan, Purpose.EVACUATE, estate.hosts[SOURCE], state, rules, record_homes=True, fence=True)


def carried(
    world: World, request: RunRequest, listener: Callable[[Entry], object] = line, *, watching: Watching | None = None
) -> RunReport:
    """The report of a request that is carried out now."""
    return carry_out(
        world,  # type: ignore[arg-type]
        watching or Watching(),  # type: ignore[arg-type]
        request,
        listener=listener,  # type: ignore[arg-type]
        interrupted=lambda: False,
    )


def killed_after(world: World, request: RunRequest, lines: int) -> None:
    """The process dies once so many lines of its journal are on disk."""
    left = [lines]

    def heard(_entry: Entry) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with suppress(Killed):
        carried(world, request, heard)


@pytest.mark.parametrize("all_of_them", [False, True])
@pytest.mark.parametrize(("mover", "by"), [("DRS", "DRS"), ("alice", "alice"), ("", "somebody else")])
def test_a_vm_that_somebody_moved_to_its_target_before_the_run_has_a_home_and_is_an_observed_move(
    tmp_path: Path, mover: str, by: str, all_of_them: bool
) -> None:
    world, state = World(2), state_path(str(tmp_path))
    request = evacuation(world, state)
    targets = {move.vm: move.target for move in request.plan.moves}
    world.movers = dict.fromkeys(world.where, mover)
    world.where |= targets if all_of_them else {"vm-1": targets["vm-1"]}
    report = carried(world, request)
    assert report.failures == ()
    assert {(end.move.vm, end.result, end.by) for end in report.outcome.ended} == {
        ("vm-1", MoveResult.MOVED, by),
        ("vm-2", MoveResult.MOVED, by if all_of_them else ""),
    }
    for vm, target in targets.items():
        home = decode_home(vm, world.attributes[vm])
        assert home is not None
        assert (home.host, home.start, home.target) == (SOURCE, SOURCE, target)
        assert replace(journal_homes(state, "uuid")[vm], recorded_at=home.recorded_at) == home
    (run_,) = stored_runs(state)
    moves = {move["vm"]: (move["result"], move["by"]) for move in evidence_of(run_.entries, {}, INTACT)["moves"]}
    assert moves == {"ml-1": ("moved", by), "ml-2": ("moved", by if all_of_them else "")}
    again = carried(world, request)
    assert again.outcome.ended == (), "a finished run has moved them"


@pytest.mark.parametrize("while_looking", [False, True], ids=["before the run", "while experiments are looked for"])
@pytest.mark.parametrize("homes", [True, False])
def test_a_vm_that_was_powered_on_since_the_plan_is_not_left_to_drs_without_a_home(
    tmp_path: Path, while_looking: bool, homes: bool
) -> None:
    """vSphere HA starts the VMs of a failed host one after the other."""
    world, state = World(3), state_path(str(tmp_path))
    world.drs, world.off = Automation.FULL, {"vm-2", "vm-3"}

    class Slow(Watching):
        def baseline(self) -> None:
            world.off = {"vm-3"}

    request = replace(evacuation(world, state), record_homes=homes)
    assert [move.vm for move in request.plan.moves] == ["vm-1"]
    if not while_looking:
        world.off = {"vm-3"}
    if not homes:
        carried(world, request, watching=Slow())
        return
    with pytest.raises(PlanRefused, match=r"out of date; this call moved no VM \(ml-2: the VM is powered on now\)"):
        carried(world, request, watching=Slow())
    assert set(world.where.values()) == {SOURCE}
    assert world.maintenance is Maintenance.NORMAL
    assert [run_.state.finished for run_ in stored_runs(state)] == [True] * while_looking
    again = carried(world, evacuation(world, state))
    assert {end.move.vm for end in again.outcome.moved} == {"vm-1", "vm-2"}
    assert "vm-2" in world.attributes


@pytest.mark.parametrize("moves", [2, 0])
@pytest.mark.parametrize("while_looking", [False, True], ids=["before the run", "while experiments are looked for"])
def test_a_vm_that_came_to_the_host_since_the_plan_is_not_left_to_drs(
    tmp_path: Path, while_looking: bool, moves: int
) -> None:
    """DRS or a person may place a VM on a host as long as it is not fenced."""
    world, state = World(moves), state_path(str(tmp_path))
    world.drs = Automation.FULL

    class Slow(Watching):
        def baseline(self) -> None:
            world.where["vm-7"] = SOURCE

    request = evacuation(world, state)
    if not while_looking:
        world.where |= {"vm-7": SOURCE, "vm-8": "host-2", "vm-9": SOURCE}
        world.off = {"vm-9"}
    elif not moves:
        return  # then no run begins
    with pytest.raises(
        PlanRefused, match=r"out of date; this call moved no VM \(ml-7: the VM runs on esx-1, and the plan"
    ):
        carried(world, request, watching=Slow())
    assert world.where["vm-7"] == SOURCE
    assert (world.moves, world.maintenance) == ([], Maintenance.NORMAL)
    assert all(run_.state.finished for run_ in stored_runs(state))
    again = carried(world, evacuation(world, state))
    assert {end.move.vm for end in again.outcome.moved} == {*world.where} - {"vm-8", "vm-9"}
    assert "vm-7" in world.attributes


def test_a_host_that_is_not_fenced_may_get_vms_that_the_plan_does_not_have(tmp_path: Path) -> None:
    world, state = World(1), state_path(str(tmp_path))
    request = replace(evacuation(world, state), fence=False)
    world.where["vm-7"] = SOURCE
    assert carried(world, request).failures == ()


@pytest.mark.parametrize("vms", [(), ("vm-1", "vm-3", "vm-7")])
def test_the_vms_are_named_that_were_placed_or_powered_on_on_a_host_before_it_was_fenced_last(
    tmp_path: Path, vms: tuple[str, ...]
) -> None:
    world, state = World(3), state_path(str(tmp_path))
    world.drs, world.off = Automation.FULL, {"vm-3"}
    request = evacuation(world, state)
    plan = make_plan(world.estate(), PlanRequest(("vm-1", "vm-2", "vm-3"), evacuated=frozenset({SOURCE})))

    def heard(entry: Entry) -> None:
        if isinstance(entry.event, MoveFinished) and entry.event.vm.moid == "vm-2":
            world.where |= dict.fromkeys(vms, SOURCE)
            world.off -= set(vms)

    report = carried(world, replace(request, plan=plan, rules=Rules(retries=0)), heard)
    assert (report.failures, report.fenced) == ((), True)
    assert report.arrived == tuple(vm.replace("vm", "ml") for vm in vms)
    (run_,) = stored_runs(state)
    noticed = [entry.event for entry in run_.entries if isinstance(entry.event, Noticed)]
    assert [each.vm.moid for each in noticed] == list(vms)


def test_vms_that_cannot_be_read_before_the_host_is_fenced_last_are_not_none(tmp_path: Path) -> None:
    class Dark(World):
        dark = False

        def estate(self, **options: Any) -> Estate:
            if self.dark:
                raise CallFailed("no", fault="SystemError", hint="")
            return super().estate(**options)

        def estate_of_hosts(self, **options: Any) -> Estate:
            return World.estate(self, **options)

    world, state = Dark(1), state_path(str(tmp_path))
    world.drs = Automation.FULL
    plan = make_plan(world.estate(), PlanRequest(("vm-1",), evacuated=frozenset({SOURCE})))
    request = replace(evacuation(world, state), plan=plan)

    def heard(entry: Entry) -> None:
        world.dark = world.dark or isinstance(entry.event, MoveFinished)

    report = carried(world, request, heard)
    assert (report.failures, report.fenced, report.arrived) == ((), True, None)


def test_a_vm_that_was_powered_on_since_a_plan_without_moves_does_not_leave_unwatched(tmp_path: Path) -> None:
    world, state = World(1), state_path(str(tmp_path))
    world.off = {"vm-1"}
    request = evacuation(world, state)
    assert (request.plan.moves, carried(world, request).failures) == ((), ())
    world.off = set()
    with pytest.raises(PlanRefused, match=r"\(ml-1: the VM is powered on now\)"):
        carried(world, request)


class BackedUp(World):
    """The second VM is backed up, so that it cannot move until the host is fenced."""

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        busy = replace(estate.vms["vm-2"], busy="backup")
        return replace(estate, vms={**estate.vms, "vm-2": busy})


def homes_of(world: World, state: Path) -> dict[str, tuple[str, str]]:
    """Where VMs are at home by the journals, and how they are placed."""
    known = journal_homes(state, "uuid")
    found = placements(world.estate(), known, mover=lambda vm, _host: world.movers.get(vm, ""))
    return {each.vm: (each.home.host, each.outcome) for each in found}


def test_a_vm_that_drs_moves_once_its_backup_is_done_has_a_home(tmp_path: Path) -> None:
    world, state = BackedUp(2), state_path(str(tmp_path))
    world.drs = Automation.FULL
    request = evacuation(world, state)
    assert [(refusal.vm, refusal.blocking) for refusal in request.plan.refusals] == [("vm-2", True)]
    carried(world, request)
    assert (world.where["vm-2"], world.movers["vm-2"]) == ("host-3", "DRS")
    assert homes_of(world, state) == {"vm-1": (SOURCE, "home_unhealthy"), "vm-2": (SOURCE, "home_unhealthy")}
    world.maintenance = Maintenance.NORMAL
    assert {outcome for _home, outcome in homes_of(world, state).values()} == {"away"}
    world.movers["vm-2"] = "alice"
    (text,) = (
        each.sentence
        for each in placements(world.estate(), journal_homes(state, "uuid"), mover=lambda *_: "alice")
        if each.vm == "vm-2"
    )
    assert text == "ml-2 is on esx-3 and stays there: it was moved after the evacuation of esx-1."


def test_the_last_line_of_a_run_counts_what_could_not_move(tmp_path: Path) -> None:
    world, state = BackedUp(3), state_path(str(tmp_path))
    world.off = {"vm-3"}
    carried(world, evacuation(world, state))
    (run_,) = stored_runs(state)
    (end,) = (entry.event for entry in run_.entries if isinstance(entry.event, RunFinished))
    assert (end.refused, text_of(end)) == (1, "run success: 1 moved, 0 failed, 0 left behind, 1 could not move")


def test_a_vm_has_a_home_that_drs_moves_later_although_no_vm_can_move_now(tmp_path: Path) -> None:
    class OnlyBackedUp(BackedUp):
        def __init__(self) -> None:
            super().__init__(2)
            del self.where["vm-1"]

    world, state = OnlyBackedUp(), state_path(str(tmp_path))
    world.drs = Automation.FULL
    for _call in range(2):
        request = evacuation(world, state)
        assert (request.plan.moves, [refusal.vm for refusal in request.plan.refusals]) == ((), ["vm-2"])
        report = carried(world, request)
        assert (report.failures, report.outcome.moved) == ((), ())
    assert len(list(stored_runs(state))) == 1, "the second call has nothing to do"
    world.let_drs_move()
    assert (world.where["vm-2"], world.movers["vm-2"]) == ("host-3", "DRS")
    world.maintenance = Maintenance.NORMAL
    assert homes_of(world, state) == {"vm-2": (SOURCE, "away")}


@pytest.mark.parametrize("text", ["", "not a home"])
def test_a_vm_that_stays_has_no_home_after_a_rollback(tmp_path: Path, text: str) -> None:
    world, state = (
        BackedUp(3, {("vm-1", "host-2"): "Timedout", ("vm-1", "host-3"): "Timedout"}),
        state_path(str(tmp_path)),
    )
    world.attributes["vm-2"] = text
    request = replace(evacuation(world, state), rules=Rules(retries=0, roll_back=True))
    report = carried(world, request)
    assert report.rolled_back is not None
    assert set(world.where.values()) == {SOURCE}
    assert journal_homes(state, "uuid") == {}
    assert world.attributes["vm-2"] == text


def test_only_an_experiment_that_a_checkpoint_saves_is_recoverable() -> None:
    trained = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://x", description="GBM")
    known = [
        replace(trained, recoverable=word, recovery=why) for word, why in (("yes", "a"), ("no", "b"), ("unknown", ""))
    ]
    assert unrecoverable(known) == ["ml-1 GBM: b", "ml-1 GBM: not known"]
    with pytest.raises(PlanRefused, match=r"\(ml-1 GBM: b; ml-1 GBM: not known\)"):
        refuse_unrecoverable(tuple(known), "refuse")
    refuse_unrecoverable(tuple(known), "warn")
    refuse_unrecoverable(tuple(known[:1]), "refuse")


@pytest.mark.parametrize(
    ("submitting", "refused", "result", "fault"),
    [
        (True, True, MoveResult.FAILED, "busy"),
        (False, True, MoveResult.NOT_STARTED, "busy"),
        (True, False, MoveResult.FAILED, UNOBSERVED.name),
        (False, False, MoveResult.NOT_STARTED, None),
    ],
)
def test_a_move_of_a_killed_process_that_is_not_planned_again(
    submitting: bool, refused: bool, result: MoveResult, fault: str | None
) -> None:
    record = MoveRecord(1, "vm-1", "ml-1", SOURCE, "esx-1", "host-2", "esx-2", submitting=submitting)
    reasons = (Reason("busy", "backup", "Wait."), Reason("cpu_affinity", "ml-1", "Remove it."))
    ended = unseen_end(record, (SOURCE, "esx-1"), Refusal("vm-1", "ml-1", reasons) if refused else None)
    assert (ended.result, ended.fault.name if ended.fault else None) == (result, fault)


def test_a_vm_that_drs_does_not_move_is_not_waited_for() -> None:
    plan = evacuation(World(3), Path())
    decision = DrsDecision("c", "c", Automation.FULL, DrsHandling.FOLLOW, not_moved=("vm-2",))
    assert _followed(replace(plan.plan, drs=(decision,))) == {"vm-1", "vm-3"}
    assert _followed(replace(plan.plan, drs=(replace(decision, how=DrsHandling.PIN),))) == frozenset()


@pytest.mark.parametrize("hides", [False, True])
def test_a_text_that_is_not_a_home_is_not_overwritten_by_that_of_a_vm_that_somebody_moved(
    tmp_path: Path, hides: bool
) -> None:
    class Hiding(World):
        hides = False

        def estate(self, **options: Any) -> Estate:
            seen = super().estate(**options)
            return replace(seen, unreadable={"vm-1": frozenset({"customValue"})} if self.hides else {})

    world, state = Hiding(1), state_path(str(tmp_path))
    request = evacuation(world, state)
    world.where["vm-1"], world.movers["vm-1"] = request.plan.moves[0].target, "alice"
    world.hides = hides
    world.attributes["vm-1"] = "cut off"
    assert [end.by for end in carried(world, request).outcome.ended] == ["alice"]
    assert world.attributes == {"vm-1": "cut off"}
    assert journal_homes(state, "uuid")["vm-1"].host == SOURCE


def test_a_vm_that_drs_moved_to_its_target_keeps_the_home_that_it_had(tmp_path: Path) -> None:
    world, state = World(1), state_path(str(tmp_path))
    migrate(world, state, "ml-1", destination="esx-2", purpose=Purpose.EVACUATE)
    estate = world.estate()
    plan = make_plan(estate, PlanRequest(("vm-1",), destinations={"vm-1": "host-3"}))
    world.where["vm-1"], world.movers["vm-1"] = "host-3", "DRS"
    request = RunRequest(plan, Purpose.EVACUATE, estate.hosts["host-2"], state, Rules(), record_homes=True)
    carried(world, request)
    recorded = decode_home("vm-1", world.attributes["vm-1"])
    assert recorded is not None
    assert (recorded.host, recorded.start, recorded.target) == (SOURCE, "host-2", "host-3")


@pytest.mark.parametrize("again", ["the same plan", "a new plan"])
@pytest.mark.parametrize("moved", ["before the call", "after the kill"])
def test_what_somebody_moved_to_its_target_around_a_killed_run_has_a_home(
    tmp_path: Path, moved: str, again: str
) -> None:
    """The process dies once the N-th line of its journal is on disk, for every N."""
    for lines in range(1, 40):
        world, state = World(2), state_path(str(tmp_path / str(lines)))
        request = evacuation(world, state)
        target = next(move.target for move in request.plan.moves if move.vm == "vm-1")
        if moved == "before the call":
            world.where["vm-1"], world.movers["vm-1"] = target, "alice"
        killed_after(world, request, lines)
        (before,) = stored_runs(state)
        if before.state.finished:
            break
        record = before.state.moves.get("vm-1")
        submitted = record is not None and record.submitting
        land(world)
        if moved == "after the kill" and not submitted:
            world.where["vm-1"], world.movers["vm-1"] = target, "alice"
        report = carried(world, request if again == "the same plan" else evacuation(world, state))
        assert report.failures == ()
        told = {end.move.vm: end.by for end in report.outcome.ended}
        if again == "the same plan" or record is not None:  # else nobody knows that the VM was there
            assert journal_homes(state, "uuid")["vm-1"].host == SOURCE, lines
            assert told["vm-1"] == ("" if submitted else "alice"), lines
        assert set(world.where.values()) <= {"host-2", "host-3"}
    assert lines > 10


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(
    ("between", "home"), [(stays, SOURCE), (goes_home_by_hand, SOURCE), (is_restored_and_moved_by_hand, "host-2")]
)
def test_a_home_in_the_journals_alone_lasts_over_evacuations_until_a_restore(
    tmp_path: Path, between: Callable[[World, Path], None], home: str, foreign: bool
) -> None:
    world, state = homeless(World(1)), state_path(str(tmp_path))
    migrate(world, state, "ml-1", destination="esx-2", purpose=Purpose.EVACUATE)
    if foreign:  # the newest folder is of another vCenter, which has a VM and hosts with the same MoIDs
        (state / "runs" / "9-foreign").mkdir()
        write_run(state / "runs" / "9-foreign", key="other.host-5", vm={"moid": "vm-1", "name": "ml-1"})
    between(world, state)
    start = world.where["vm-1"]
    migrate(world, state, "ml-1", destination="esx-3", purpose=Purpose.EVACUATE)
    known = journal_homes(state, "uuid")["vm-1"]
    assert (known.host, known.start, known.target) == (home, start, "host-3")


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (Verdict.UNKNOWN, "uninterrupted"),
        (Verdict.STALLED, "uninterrupted"),
        (Verdict.COMPLETED, "completed"),
        (Verdict.LOST, "unknown"),  # its port is refused, as that of a training that has ended
        (Verdict.RESTARTED, "restarted"),
        (Verdict.FAILED, "failed"),
    ],
)
def test_the_verdict_of_a_finished_move_survives_a_killed_run(tmp_path: Path, later: Verdict, verdict: str) -> None:
    """The run is killed once the move was watched to its end; nobody watched until it is resumed."""
    world, state = World(2), state_path(str(tmp_path))
    rules = Rules(slots=SlotLimits(per_host=1), stop_on_failure=False, retries=0)
    reached: list[Entry] = []

    def heard(entry: Entry) -> None:
        reached.append(entry)
        if isinstance(entry.event, VerdictReached):
            raise Killed

    with pytest.raises(Killed):
        run(world, state, Watching("vm-1", verdict=Verdict.UNINTERRUPTED), rules=rules, listener=heard)
    assert isinstance(reached[-1].event, VerdictReached)
    report = run(world, state, Watching("vm-1", verdict=later, unwatched=600.0), rules=rules)
    (judgement,) = report.outcome.judgements
    assert judgement.verdict == verdict
    (folder,) = (state / "runs").iterdir()
    told = [row for row in journal_rows(folder / "journal.jsonl") if row["event"] == "verdict"]
    assert told[-1]["verdict"] == verdict
    if verdict == "uninterrupted":
        assert (told[-1]["stall_claim"], told[-1]["unwatched_seconds"]) == ("proven", 600.0)
        assert "not watched for 10 min after its move" in told[-1]["detail"]


@settings(deadline=None, max_examples=60)
@example(
    vms=2, failing=set(), roll_back=False, kills=[(9, False), (2, False)]
)  # killed before it followed a task again
@given(
    vms=st.integers(1, 4),
    failing=st.sets(
        st.tuples(st.sampled_from(["vm-1", "vm-2", "vm-3"]), st.sampled_from(["host-1", "host-2", "host-3"]))
    ),
    roll_back=st.booleans(),
    kills=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=3),
)
def test_killed_after_any_lines_no_vm_is_lost_or_moved_twice(
    tmp_path_factory: pytest.TempPathFactory,
    vms: int,
    failing: set[tuple[str, str]],
    roll_back: bool,
    kills: list[tuple[int, bool]],
) -> None:
    """The process dies once the N-th line of what it adds to the journal is on disk, several times over."""
    state = state_path(str(tmp_path_factory.mktemp("state")))
    world = World(vms, dict.fromkeys(failing, "NoPermission"))
    rules = Rules(slots=SlotLimits(per_host=2), roll_back=roll_back, stop_on_failure=roll_back, retries=0)

    def attempt(lines: int, landed: bool) -> RunReport | None:
        left = [lines]

        def heard(entry: Entry) -> None:
            left[0] -= 1
            if left[0] == 0 and not isinstance(entry.event, RunFinished):  # after its last line a run is over
                raise Killed

        try:
            return run(world, state, rules=rules, listener=heard)
        except Killed:
            if landed:
                land(world)
            return None

    reports = (attempt(lines, landed) for lines, landed in (*kills, (0, False)))
    report = next(report for report in reports if report is not None)
    (folder,) = (state / "runs").iterdir()
    events = journal_rows(folder / "journal.jsonl")
    assert events[-1]["event"] == "run_finished"
    known = {event["vm"]["moid"] for event in events if event["event"] == "planned"}
    assert known == set(world.where)
    moved = evidence_of(entries(events), {}, INTACT)["moves"]
    there = {move["vm"].replace("ml", "vm"): move["result"] for move in moved if not move["back"]}
    assert there.keys() == known
    assert "unfinished" not in there.values()
    if report.rolled_back is None:
        assert {vm for vm, host in world.where.items() if host != SOURCE} == {
            v for v, r in there.items() if r == "moved"
        }
    else:
        assert {account.vm for account in report.rolled_back.accounts} == known
    arrived = Counter((vm, target == SOURCE) for vm, _from, target in world.moves if (vm, target) not in failing)
    assert all(times == 1 for times in arrived.values())


class FullDisk:
    """Writes of a journal until there is no room: a part of the line, then an error. Keeps how many moves had begun then."""

    def __init__(self, world: World, lines: int) -> None:
        self.world, self.lines, self.begun = world, lines, -1
        self.write = _journal._write_all

    def __call__(self, fd: int, data: bytes) -> None:
        self.lines -= 1
        if self.lines >= 0:
            self.write(fd, data)
            return
        if self.begun < 0:
            self.begun = len(self.world.moves)
        self.write(fd, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@settings(deadline=None, max_examples=80)
@example(vms=2, lines=18, failing=set(), roll_back=False, harmed=True)  # a verdict is the first that has no room
@given(
    vms=st.integers(1, 4),
    lines=st.integers(0, 40),
    failing=st.sets(st.tuples(st.sampled_from(["vm-1", "vm-2"]), st.sampled_from(["host-1", "host-2", "host-3"]))),
    roll_back=st.booleans(),
    harmed=st.booleans(),
)
def test_on_a_full_disk_no_move_starts_and_those_in_flight_are_seen_through(
    tmp_path_factory: pytest.TempPathFactory,
    vms: int,
    lines: int,
    failing: set[tuple[str, str]],
    roll_back: bool,
    harmed: bool,
) -> None:
    """The error says in one sentence where each VM is and what to do; with room again the same call continues."""
    state = state_path(str(tmp_path_factory.mktemp("state")))
    world = World(vms, dict.fromkeys(failing, "NoPermission"))
    rules = Rules(slots=SlotLimits(per_host=2), roll_back=roll_back, stop_on_failure=roll_back, retries=0)
    watching = Watching(*(["vm-1"] if harmed else []), verdict=Verdict.UNINTERRUPTED)
    disk = FullDisk(world, lines)
    with patch.object(_journal, "_write_all", disk):
        try:
            report = run(world, state, watching, rules=rules)
        except StateUnwritable as error:
            report = None
            told = str(error)
            assert "No space left on device" in told
            assert "Make room on its disk" in told
            assert bool(error.run_id) == (lines > 0)
    assert world.tasks == {}
    if report is None:
        assert len(world.moves) == disk.begun, "none started afterwards"
        away = [vm.replace("vm", "ml") for vm, host in world.where.items() if host != SOURCE]
        if "no further move was started" in told:
            assert all(name in told for name in away)
        report = run(world, state, watching, rules=rules)
    folders = [folder for folder in (state / "runs").iterdir() if (folder / "journal.jsonl").stat().st_size]
    for folder in folders:
        reading = read_journal(folder / "journal.jsonl")
        assert (reading.problem, reading.finished, reading.end_kept) == ("", True, True)
    arrived = Counter((vm, target == SOURCE) for vm, _from, target in world.moves if (vm, target) not in failing)
    assert all(times == 1 for times in arrived.values())


def test_a_state_directory_that_became_read_only_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, state = World(1), state_path(str(tmp_path))
    real = os.open

    def read_only(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(InvalidInput, match=r"locks/.* cannot be written: Read-only file system\. Set state_dir"):
        migrate(world, state, "ml-1")
    assert world.moves == []
