# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs that are restarted while a run works, by HA or by a person, and that the run then moves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import Failure
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import failures_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    Entry,
    MoveFinished,
    MoveSubmitting,
    VmRestarted,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import utc_now
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult, Rules
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path, stored_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Update
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import result_of

from tests.builders.journals import INTACT
from tests.doubles.run import Watching, restore, run
from tests.doubles.vcenter import SOURCE, Killed, World

pytestmark = pytest.mark.usefixtures("fast")


def land(world: World) -> None:
    while world.tasks:
        world.advance()


class Unsteady(World):
    """While the first VM moves, vm-2 is started again on its host: by HA, or by a person."""

    def __init__(self, by: str) -> None:
        super().__init__(2)
        self.booted = dict.fromkeys(self.where, "2026-01-01T00:00:00.000Z")
        self.by = by

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if self.where["vm-2"] == SOURCE:
            self.booted["vm-2"] = utc_now()
            self.restarted = {"vm-2": "9" if self.by else "2026-01-30T00:00:00.000Z"}
        return super().updates(timeout)


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("vSphere HA", "vSphere HA restarted ml-2 during the run, because its host, network or storage had failed"),
        ("", "ml-2 was powered on again during the run, so that what ran in it has ended"),
    ],
)
@pytest.mark.parametrize("killed", [False, True])
def test_a_vm_that_was_restarted_on_its_source_and_then_moved_is_a_failure(
    tmp_path: Path, by: str, sentence: str, killed: bool
) -> None:
    world, state, seen = Unsteady(by), state_path(str(tmp_path)), list[str]()
    rules = Rules(slots=SlotLimits(per_host=1), retries=0)
    if killed:
        world.calls_left = 22
        with pytest.raises(Killed):
            run(world, state, rules=rules)
        assert not world.booted["vm-2"].startswith("2026-01-01")
        land(world)
    report = run(world, state, rules=rules, listener=lambda entry: seen.append(line(entry) or ""))
    assert [end.result for end in report.outcome.ended] == [MoveResult.MOVED] * 2
    assert report.failures == (sentence,)
    assert result_of(report)["restarted"] == ["ml-2"]
    assert result_of(report)["failure"] == f"{sentence}."
    told = [text for text in seen if "was restarted at" in text]
    assert len(told) == 1
    assert "ml-2" in told[0]
    assert (f" by {by}: " in told[0]) is bool(by)
    (stored,) = overviews(list(stored_runs(state)), lambda _key: None)
    assert (stored.result, stored.restarted) == ("failed", ("ml-2",))
    assert "Restarted during the run: ml-2." in stored.text
    (run_,) = stored_runs(state)
    evidence = evidence_of(run_.entries, {}, INTACT)
    assert {move["vm"]: move["power_on"]["same"] for move in evidence["moves"] if move["power_on"]} == {
        "ml-1": True,
        "ml-2": False,
    }
    assert failures_of(evidence) == [Failure.RESTARTED]


@pytest.mark.parametrize(
    ("verdict", "restarted"),
    [
        (Verdict.UNINTERRUPTED, False),
        (Verdict.STALLED, False),
        (Verdict.COMPLETED, True),
        (Verdict.LOST, True),
    ],
)
def test_a_process_that_continued_proves_more_than_a_power_on_time(
    tmp_path: Path, verdict: Verdict, restarted: bool
) -> None:
    """The hosts of another vCenter may show another time for the same VM."""
    world, state = Unsteady(""), state_path(str(tmp_path))
    rules = Rules(slots=SlotLimits(per_host=1), retries=0, stop_on_verdict=False)
    report = run(world, state, rules=rules, watching=Watching("vm-2", verdict=verdict))
    assert (result_of(report)["restarted"] == ["ml-2"]) is restarted
    (run_,) = stored_runs(state)
    assert any(isinstance(entry.event, VmRestarted) for entry in run_.entries) is restarted
    assert (failures_of(evidence_of(run_.entries, {}, INTACT)) == [Failure.RESTARTED]) is restarted


def test_what_ha_restarted_before_an_interruption_is_said_by_the_resumed_run(tmp_path: Path) -> None:
    """The journal knows it; vCenter's power-on times do not, because the VM moved in the run that was killed."""
    world, state = (
        World(2, {("vm-1", "host-2"): "HostCommunication", ("vm-1", "host-3"): "HostCommunication"}),
        state_path(str(tmp_path)),
    )
    world.movers["vm-1"] = "vSphere HA"

    def fails(entry: Entry) -> None:
        if isinstance(entry.event, MoveSubmitting) and entry.event.vm.moid == "vm-1":
            world.where["vm-1"] = entry.event.target.moid
        if isinstance(entry.event, MoveFinished) and entry.event.vm.moid == "vm-1":
            assert entry.event.by == "vSphere HA"
            raise Killed

    rules = Rules(slots=SlotLimits(per_host=1), retries=0)
    with pytest.raises(Killed):
        run(world, state, rules=rules, listener=fails)
    land(world)
    report = run(world, state, rules=rules)
    assert [text for text in report.failures if "vSphere HA restarted ml-1 on" in text] == list(report.failures)
    assert report.failures


class Skewed(World):
    """A target whose clock is a few minutes fast shows the old power-on time of a VM that moved there as a later one."""

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        return {vm: f"2026-01-01T00:0{0 if self.where[vm] == SOURCE else 4}:00.000Z" for vm in vms}


def test_the_clock_of_another_host_does_not_make_a_restart(tmp_path: Path) -> None:
    world, state = Skewed(2), state_path(str(tmp_path))
    report = run(world, state)
    assert (report.failures, report.restarted) == ((), ())
    (run_,) = stored_runs(state)
    assert failures_of(evidence_of(run_.entries, {}, INTACT)) == []


class Failed(World):
    """The move of vm-2 fails with its host; ``then`` is where the VM is a moment later, and who brought it there."""

    def __init__(self, then: str, by: str) -> None:
        super().__init__(2, {("vm-2", target): "HostNotConnected" for target in ("host-2", "host-3")})
        self.then, self.movers = then, {"vm-2": by}
        self.goes_off = False

    def hear(self, entry: Entry) -> None:
        if isinstance(entry.event, MoveFinished) and entry.event.result is MoveResult.FAILED:
            self.where["vm-2"] = self.then
            self.off = {*self.off, *(["vm-2"] if self.goes_off else [])}


@pytest.mark.parametrize("then", ["host-2", "host-3"])
@pytest.mark.parametrize(("mover", "by"), [("vSphere HA", "vSphere HA"), ("alice", "alice"), ("", "somebody else")])
def test_a_vm_that_left_the_host_after_its_move_had_failed_is_not_said_to_be_on_it(
    tmp_path: Path, then: str, mover: str, by: str
) -> None:
    world, state = Failed(then, mover), state_path(str(tmp_path))
    report = run(world, state, rules=Rules(stop_on_failure=False, retries=0), listener=world.hear)
    (end,) = (each for each in report.outcome.ended if each.move.vm == "vm-2")
    assert (end.result, end.host, end.by, end.move.target) == (MoveResult.MOVED, then, by, then)
    name = then.replace("host", "esx")
    sentence = f"vSphere HA restarted ml-2 on {name}, because its host, network or storage had failed"
    assert report.failures == ((sentence,) if mover == "vSphere HA" else ())
    assert report.left_behind == ()
    home = journal_homes(state, "uuid")["vm-2"]
    assert (home.host, home.target) == (SOURCE, then)
    (run_,) = stored_runs(state)
    evidence = evidence_of(run_.entries, {}, INTACT)
    assert {move["vm"]: (move["host"], move["by"]) for move in evidence["moves"]}["ml-2"] == (name, by)
    assert evidence["left_behind"] == []
    moved = 1 if mover == "vSphere HA" else 2
    assert evidence["overall"]["statement"].endswith(
        f"{moved} of 2 VMs moved." + (" Restarted by vSphere HA: ml-2." if moved == 1 else "")
    )
    (stored,) = overviews([run_], lambda _key: None)
    assert stored.moved == run_.entries[-1].event.to_json()["moved"] == moved


@pytest.mark.parametrize("then", ["host-2", "host-3"])
@pytest.mark.parametrize(("mover", "moved"), [("", False), ("alice", True)])
def test_a_vm_that_does_not_run_elsewhere_was_moved_only_if_vcenter_names_who_did_it(
    tmp_path: Path, then: str, mover: str, moved: bool
) -> None:
    """HA registers a VM on another host, then starts it, and says so after that."""
    world, state = Failed(then, mover), state_path(str(tmp_path))
    world.goes_off = True
    report = run(world, state, rules=Rules(stop_on_failure=False, retries=0), listener=world.hear)
    (end,) = (each for each in report.outcome.ended if each.move.vm == "vm-2")
    name = then.replace("host", "esx")
    assert (end.result, end.host) == (MoveResult.MOVED if moved else MoveResult.FAILED, then)
    assert report.left_behind == (() if moved else ("ml-2",))
    if not moved:
        (failure,) = report.failures
        assert failure.startswith(f"ml-2 is on {name}, ")
        assert failure.endswith("(failed: the VM is powered off)")
    home = journal_homes(state, "uuid")["vm-2"]
    assert (home.host, home.target) == (SOURCE, then), "a restore brings it home"


class RegisteredElsewhere(World):
    """vm-2 is powered off on another host while the first VM moves; ``mover`` is who vCenter says has moved it."""

    def __init__(self, where: str, mover: str, stops: bool) -> None:
        super().__init__(2, {("vm-1", target): "NoPermission" for target in ("host-2", "host-3") if stops})
        self.then, self.movers = where, {"vm-2": mover}

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if self.where["vm-2"] == SOURCE and not any(vm == "vm-2" for vm, *_rest in self.tasks.values()):
            self.where["vm-2"] = self.then
            self.off = {*self.off, "vm-2"}
        return super().updates(timeout)


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("where", ["host-2", "host-3"])
@pytest.mark.parametrize(("mover", "moved"), [("", False), ("alice", True)])
def test_a_vm_that_is_registered_elsewhere_before_its_move_begins_was_not_moved(
    tmp_path: Path, where: str, mover: str, moved: bool, stops: bool
) -> None:
    world, state = RegisteredElsewhere(where, mover, stops), state_path(str(tmp_path))
    report = run(world, state, rules=Rules(stop_on_failure=stops, retries=0, slots=SlotLimits(per_host=1)))
    (end,) = (each for each in report.outcome.ended if each.move.vm == "vm-2")
    assert (end.result is MoveResult.MOVED, end.host) == (moved, where)
    assert journal_homes(state, "uuid")["vm-2"].target == where


def test_a_vm_that_stays_after_its_move_had_failed_is_left_behind(tmp_path: Path) -> None:
    world, state = Failed(SOURCE, "alice"), state_path(str(tmp_path))
    report = run(world, state, rules=Rules(stop_on_failure=False, retries=0), listener=world.hear)
    assert report.left_behind == ("ml-2",)


@pytest.mark.parametrize(
    ("then", "mover", "sentence"),
    [
        ("host-3", "vSphere HA", "ml-2 is on esx-3, not on esx-1 (failed: HostNotConnected)"),
        (SOURCE, "vSphere HA", "vSphere HA restarted ml-2 on esx-1, because its host, network or storage had failed"),
        (SOURCE, "alice", ""),
        ("host-2", "", "ml-2 was left on esx-2 (failed: HostNotConnected)"),
    ],
)
def test_a_restore_says_where_a_vm_is_whose_move_had_failed(
    tmp_path: Path, then: str, mover: str, sentence: str
) -> None:
    world, state = Failed(then, mover), state_path(str(tmp_path))
    world.where = {"vm-1": "host-2", "vm-2": "host-2"}
    world.faults = {("vm-2", SOURCE): "HostNotConnected"}
    report = restore(world, state, rules=Rules(stop_on_failure=False, retries=0), listener=world.hear)
    assert report.failures == ((sentence,) if sentence else ())
    (run_,) = stored_runs(state)
    evidence = evidence_of(run_.entries, {}, INTACT)
    name = then.replace("host", "esx")
    assert {move["vm"]: move["host"] for move in evidence["moves"]} == {"ml-1": "esx-1", "ml-2": name}
    assert evidence["left_behind"] == (["ml-2"] if then != SOURCE else [])


class Late(World):
    """The task of vm-1 cannot be cancelled in time, and brings the VM to its target a moment later."""

    def cancel(self, task: str) -> None: ...

    def advance(self) -> tuple[Update, ...]:
        stuck = {task: each for task, each in self.tasks.items() if each[0] == "vm-1"}
        self.tasks = {task: each for task, each in self.tasks.items() if task not in stuck}
        news = super().advance()
        self.tasks |= stuck
        return news

    def hear(self, entry: Entry) -> None:
        if isinstance(entry.event, MoveFinished) and entry.event.result is MoveResult.TIMED_OUT:
            self.where["vm-1"], self.tasks = entry.event.target.moid, {}


@pytest.mark.parametrize(("mover", "by"), [("liveml", ""), ("vSphere HA", "vSphere HA")])
def test_a_move_that_ended_after_it_was_given_up_is_the_runs_own(tmp_path: Path, mover: str, by: str) -> None:
    world, state = Late(2), state_path(str(tmp_path))
    world.movers = {"vm-1": mover}
    rules = Rules(stop_on_failure=False, retries=0, timeout_floor=0.2, timeout_per_gib=0.0, cancel_grace=0.2)
    report = run(world, state, rules=rules, listener=world.hear)
    assert {(end.move.vm, end.result, end.by) for end in report.outcome.ended} == {
        ("vm-1", MoveResult.MOVED, by),
        ("vm-2", MoveResult.MOVED, ""),
    }
