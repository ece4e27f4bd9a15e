# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Overrides of DRS are stated as they were read, and a pin is open until its VM is seen to be free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    TaskTimeout,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose, Rules, RunRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.pins import (
    PAUSES,
    REMEDY,
    STILL_CHANGING,
    STILL_EXCLUDED,
    UNHEARD,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import carry_out
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    pins_left,
    runs_of,
    stored_runs,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, DrsOverride, Estate

from tests.builders.estates import INFO
from tests.doubles.run import Watching, restore, run
from tests.doubles.vcenter import SOURCE, Killed, World

OWN = {"vm-2": DrsOverride(enabled=True, behavior=Automation.FULL)}
EXCLUDED = DrsOverride(enabled=False)
TIMEOUT = TaskTimeout("Task task-9 did not end within 120 s", last_state="running")
UNSEEN = TaskTimeout("The end of the change of DRS overrides was not seen", last_state="unknown")
LOST = ConnectError("The connection to vCenter was lost")
REFUSED = LoginRefused("vCenter refused the login")
RESTORED = "DRS has its earlier overrides of 2 VMs again"


pytestmark = pytest.mark.usefixtures("fast")


class Late(World):
    """The end of the change of overrides with that number, and of so many in all, is not seen. ``runs``: its task still runs, and shows."""

    def __init__(self, number: int, error: BaseException, *, runs: bool = False, times: int = 1) -> None:
        super().__init__(2)
        self.times = times
        self.drs, self.overrides = Automation.FULL, dict(OWN)
        self.number, self.error, self.runs = number, error, runs
        self.later: Mapping[str, DrsOverride | None] = {}

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        self.number -= 1
        if not -self.times < self.number <= 0:
            super().set_drs_overrides(cluster, changes, present)
            return
        self.later = dict(changes)
        if self.runs:
            self.slow_changes.append(self.later)
        raise self.error

    def end_late(self) -> None:
        self.slow_changes[:] = [self.later]
        self.end_changes()


def said(world: World, state: Path) -> list[str]:
    """What a run says, its error or failures included."""
    lines: list[str] = []
    try:
        report = run(world, state, listener=lambda event: lines.append((line(event) or "")[10:]))  # type: ignore[arg-type]
    except VsphereError as error:
        return [*lines, str(error)]
    return [*lines, *report.failures]


def left(state: Path) -> set[str]:
    """The VMs with an open pin, as status shows and the next run takes them."""
    shown = {
        name.replace("ml", "vm")
        for seen in overviews(list(stored_runs(state)), lambda _key: None)
        for name in seen.pinned
    }
    assert shown == set(pins_left(runs_of(state, "uuid")))
    return shown


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("error", [TIMEOUT, LOST, REFUSED])
def test_pins_whose_call_was_not_seen_to_end_stay_open(state: Path, error: VsphereError, runs: bool) -> None:
    world = Late(1, error, runs=runs)
    told = said(world, state)
    assert RESTORED not in told
    assert any("ml-1, ml-2: the override of DRS could not be set back" in sentence for sentence in told[-1:]), told
    assert left(state) == {"vm-1", "vm-2"}
    if not runs:
        assert UNHEARD in told[-1]
    else:
        assert STILL_CHANGING in told[-1]
    world.end_late()
    assert world.overrides["vm-1"] == EXCLUDED
    assert restore(world, state).failures == ()
    assert (world.overrides, left(state)) == (OWN, set())


class InTime(Late):
    """The task ends while it is waited for."""

    def cluster_settled(self, cluster: str, timeout: float) -> bool:
        self.end_changes()
        return super().cluster_settled(cluster, timeout)


@pytest.mark.parametrize("error", [LOST, UNSEEN])
@pytest.mark.parametrize("number", [1, 2])
def test_a_change_counts_when_its_task_has_ended_although_its_answer_was_lost(
    state: Path, number: int, error: VsphereError
) -> None:
    world = InTime(number, error, runs=True)
    told = said(world, state)
    assert (world.overrides, left(state)) == (OWN, set())
    assert RESTORED in told
    assert not any("DRS could not" in sentence for sentence in told)
    assert len(world.where) == 2 and SOURCE not in world.where.values(), "the run continued"


def test_overrides_are_set_back_again_if_nothing_shows_the_call_whose_answer_was_lost(state: Path) -> None:
    world = Late(2, LOST)
    assert RESTORED in said(world, state)
    assert (world.overrides, left(state)) == (OWN, set())
    world.end_late()
    assert world.overrides == OWN, "the late call does the same"


def test_a_pin_whose_late_task_ends_before_it_is_taken_back_is_taken_back(state: Path) -> None:
    world = InTime(1, TIMEOUT, runs=True)
    told = said(world, state)
    assert (world.overrides, left(state)) == (OWN, set())
    assert RESTORED in told
    assert "did not end within 120 s" in told[-1]


def test_the_next_run_waits_for_the_task_of_a_killed_process(state: Path) -> None:
    world = Late(1, Killed(), runs=True)
    with pytest.raises(Killed):
        run(world, state)
    assert restore(world, state).failures == (
        f"ml-1, ml-2: the override of DRS could not be set back ({STILL_CHANGING}); {REMEDY}",
    )
    assert left(state) == {"vm-1", "vm-2"}
    world.end_changes()
    assert restore(world, state).failures == ()
    assert (world.overrides, left(state)) == (OWN, set())


@pytest.mark.parametrize(("error", "times"), [(TIMEOUT, 1), (LOST, 2)])
def test_overrides_whose_setting_back_was_not_seen_to_end_are_open(
    state: Path, error: VsphereError, times: int
) -> None:
    world = Late(2, error, times=times)
    told = said(world, state)
    assert RESTORED not in told
    assert told[-1] == f"ml-1, ml-2: the override of DRS could not be set back ({error.message}); {REMEDY}"
    assert left(state) == {"vm-1", "vm-2"}
    world.end_late()
    assert restore(world, state).failures == ()
    assert (world.overrides, left(state)) == (OWN, set())


def test_an_override_that_vcenter_has_completed_is_set_back(state: Path) -> None:
    class Completing(World):
        def set_drs_overrides(
            self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
        ) -> None:
            super().set_drs_overrides(cluster, changes, present)
            for vm, override in self.overrides.items():
                self.overrides[vm] = DrsOverride(override.enabled, override.behavior or Automation.FULL)

    world = Completing(2)
    world.drs, world.overrides = Automation.FULL, dict(OWN)
    told = said(world, state)
    assert (world.overrides, left(state)) == (OWN, set())
    assert told[-1] != STILL_EXCLUDED and RESTORED in told


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (DrsOverride(True, Automation.FULL), "ml-1: fully automated"),
        (DrsOverride(behavior=Automation.MANUAL), "ml-1: manual"),
        (DrsOverride(True), "ml-1: the level of the cluster"),
    ],
)
def test_an_override_of_somebody_else_is_left_and_named(state: Path, now: DrsOverride, words: str) -> None:
    world = changed(2, vm=("vm-1", now))
    told = said(world, state)
    assert f"overrides of DRS that somebody else set are left as they are ({words})" in told
    assert "DRS has its earlier overrides of 1 VM again" in told
    assert (world.overrides, left(state)) == ({**OWN, "vm-1": now}, set())


def test_an_override_that_somebody_else_removed_is_left_and_named(state: Path) -> None:
    world = changed(2, vm=("vm-2", None))
    assert "overrides of DRS that somebody else set are left as they are (ml-2: no override)" in said(world, state)
    assert (world.overrides, left(state)) == ({}, set())


def changed(vms: int, vm: tuple[str, DrsOverride | None]) -> World:
    """A world in which a person changes the override of a VM while it moves."""

    class Meddled(World):
        def updates(self, timeout: float) -> Any:
            name, override = vm
            if self.overrides.get(name, OWN.get(name)) != override:
                self.overrides.pop(name, None)
                if override is not None:
                    self.overrides[name] = override
            return super().updates(timeout)

    world = Meddled(vms)
    world.drs, world.overrides = Automation.FULL, dict(OWN)
    return world


def test_a_vm_that_is_read_as_excluded_is_not_restored_whatever_the_call_answered(state: Path) -> None:
    class Deaf(World):
        def set_drs_overrides(
            self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
        ) -> None:
            if all(override is not None and override.enabled is False for override in changes.values()):
                super().set_drs_overrides(cluster, changes, present)

    world = Deaf(2)
    world.drs = Automation.FULL
    assert (
        said(world, state)[-1] == f"ml-1, ml-2: the override of DRS could not be set back ({STILL_EXCLUDED}); {REMEDY}"
    )
    assert left(state) == {"vm-1", "vm-2"}


def test_overrides_end_with_their_cluster(state: Path) -> None:
    world = Late(1, Killed())
    with pytest.raises(Killed):
        run(world, state)

    def gone(_cluster: str) -> dict[str, DrsOverride]:
        raise CallFailed("vCenter could not read: ManagedObjectNotFound", fault="ManagedObjectNotFound")

    world.drs, world.drs_overrides = Automation.DISABLED, gone  # type: ignore[method-assign]
    world.where.clear()
    assert restore(world, state).failures == ()
    assert left(state) == set()


class AddedAgain(Late):
    """The process is killed while it gives overrides back. Then the host is added again, with another MoID."""

    moid = ""

    def estate(self, **options: Any) -> Estate:
        estate = super().estate(**options)
        if not self.moid:
            return estate
        host = replace(estate.hosts[SOURCE], moid=self.moid)
        return replace(estate, hosts={**{m: h for m, h in estate.hosts.items() if m != SOURCE}, self.moid: host})


@pytest.mark.parametrize("moid", ["", "host-9"])
def test_pins_of_a_host_are_taken_back_when_it_has_another_moid(state: Path, moid: str) -> None:
    world = AddedAgain(2, Killed())
    with pytest.raises(Killed):
        run(world, state)
    assert left(state) == {"vm-1", "vm-2"}
    world.moid = moid
    request = RunRequest(
        plan=Plan("p", INFO, (), ()), purpose=Purpose.RESTORE, host=world.estate().hosts[moid or SOURCE], state=state,
        rules=Rules(),
    )  # fmt: skip
    carry_out(world, Watching(), request, listener=lambda _entry: None, interrupted=lambda: False)  # type: ignore[arg-type]
    assert (world.overrides, left(state)) == (OWN, set())


def test_overrides_that_cannot_be_read_back_are_open(state: Path) -> None:
    class Blind(World):
        def drs_overrides(self, cluster: str) -> dict[str, DrsOverride]:
            if SOURCE not in self.where.values():
                raise CallFailed("vCenter does not show the DRS overrides of the cluster", fault="Unreadable")
            return super().drs_overrides(cluster)

    world = Blind(2)
    world.drs = Automation.FULL
    assert said(world, state)[-1].endswith(f"(vCenter does not show the DRS overrides of the cluster); {REMEDY}")
    assert left(state) == {"vm-1", "vm-2"}


class Briefly(World):
    """The ``calls`` of ``broken`` with these numbers, counted from 1, meet a fault."""

    def __init__(self, broken: str, calls: range, fault: str) -> None:
        super().__init__(2)
        self.drs, self.overrides = Automation.FULL, dict(OWN)
        self.broken, self.calls, self.fault, self.asked = broken, calls, fault, 0

    def fail(self, what: str) -> None:
        self.asked += what == self.broken
        if what == self.broken and self.asked in self.calls:
            raise CallFailed("vCenter could not change the overrides", fault=self.fault)

    def drs_overrides(self, cluster: str) -> dict[str, DrsOverride]:
        self.fail("read")
        return super().drs_overrides(cluster)

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        self.fail("change")
        super().set_drs_overrides(cluster, changes, present)


@pytest.mark.parametrize(
    ("broken", "calls"),
    [("change", range(2, 3)), ("change", range(2, 2 + len(PAUSES))), ("read", range(3, 4)), ("read", range(5, 6))],
)
@pytest.mark.parametrize("fault", ["SystemError", "ManagedObjectNotFound"])
def test_overrides_are_given_back_although_a_call_met_a_fault(
    state: Path, broken: str, calls: range, fault: str
) -> None:
    world = Briefly(broken, calls, fault)
    told = said(world, state)
    assert RESTORED in told
    assert not any("could not" in sentence for sentence in told)
    assert world.overrides == OWN
    assert world.asked >= calls.stop
    assert left(state) == set()


@pytest.mark.parametrize(("fault", "moves"), [("ConcurrentAccess", 2), ("TaskInProgress", 2), ("NotSupported", 0)])
def test_vms_are_excluded_from_drs_after_another_change_of_the_cluster(state: Path, fault: str, moves: int) -> None:
    world = Briefly("change", range(1, 2), fault)
    if moves:
        run(world, state)
    else:
        with pytest.raises(CallFailed):
            run(world, state)
    assert len(world.moves) == moves
    assert world.overrides == OWN
