# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DRS: what it does with a VM, how moves are guarded against it, and when a plan no longer guards."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_diff,
    plan_from_dict,
    plan_id_of,
    plan_lines,
    plan_to_dict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drs import pinnable_clusters
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    DrsDecision,
    DrsHandling,
    DrsOption,
    Plan,
    PlanRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    Device,
    Drs,
    DrsOverride,
    Estate,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import estate, host, plan_all, vm

EXCLUDED = DrsOverride(enabled=False)
FULL = Drs(Automation.FULL, overrides_allowed=True, overrides={})
MANUAL = replace(FULL, automation=Automation.MANUAL)
AUTOMATIONS = st.sampled_from(Automation)
OVERRIDES = st.builds(
    DrsOverride,
    enabled=st.sampled_from([None, True, False]),
    behavior=st.sampled_from([None, Automation.MANUAL, Automation.PARTIAL, Automation.FULL, Automation.UNKNOWN]),
)
VMS = ("vm-1", "vm-2", "vm-3")
DRS = st.builds(
    Drs,
    automation=AUTOMATIONS,
    overrides_allowed=st.sampled_from([None, True, False]),
    overrides=st.none() | st.dictionaries(st.sampled_from(VMS), OVERRIDES),
)


def world_of(drs: Drs | None, vms: int = 2) -> Estate:
    known = {} if drs is None else {"c": drs}
    return estate([host(1), host(2), host(3)], [vm(n) for n in range(1, vms + 1)], drs=known)


def evacuation(world: Estate, *, editable: bool = True, **changes: Any) -> Plan:
    clusters = frozenset({"c"} if editable else ())
    return plan_all(world, evacuated=frozenset({"host-1"}), editable_clusters=clusters, **changes)


def decision_of(drs: Drs | None, /, **changes: Any) -> DrsDecision:
    (decision,) = evacuation(world_of(drs), **changes).drs
    return decision


@pytest.mark.parametrize(
    ("drs", "expected"),
    [
        (FULL, Automation.FULL),
        (Drs(), Automation.UNKNOWN),
        (Drs(Automation.DISABLED), Automation.DISABLED),
        (replace(FULL, overrides={"vm-1": EXCLUDED}), Automation.DISABLED),
        (replace(FULL, overrides={"vm-2": EXCLUDED}), Automation.FULL),
        (replace(FULL, overrides={"vm-1": DrsOverride(True, Automation.PARTIAL)}), Automation.PARTIAL),
        (replace(FULL, overrides={"vm-1": DrsOverride(True)}), Automation.FULL),
        (replace(FULL, overrides={"vm-1": DrsOverride(False, Automation.FULL)}), Automation.DISABLED),
        (replace(MANUAL, overrides={"vm-1": DrsOverride(None, Automation.FULL)}), Automation.FULL),
        (replace(FULL, overrides={"vm-1": DrsOverride(True, Automation.UNKNOWN)}), Automation.UNKNOWN),
        (replace(FULL, overrides_allowed=False, overrides={"vm-1": EXCLUDED}), Automation.FULL),
        (replace(MANUAL, overrides_allowed=False, overrides=None), Automation.MANUAL),
        (replace(MANUAL, overrides=None), Automation.UNKNOWN),
        (replace(FULL, overrides_allowed=None), Automation.FULL),
        (replace(FULL, overrides_allowed=None, overrides={"vm-1": EXCLUDED}), Automation.UNKNOWN),
        (replace(FULL, overrides_allowed=None, overrides={"vm-1": DrsOverride(True)}), Automation.FULL),
        (Drs(Automation.DISABLED, True, {"vm-1": DrsOverride(True, Automation.FULL)}), Automation.DISABLED),
    ],
)
def test_what_drs_does_with_a_vm(drs: Drs, expected: Automation) -> None:
    assert drs.of(vm(1)) is drs.level_of("vm-1") is expected


@pytest.mark.parametrize(
    ("drs", "editable", "how", "pinned", "words"),
    [
        (Drs(Automation.DISABLED), True, "ignore", (), ""),
        (MANUAL, True, "ignore", (), ""),
        (replace(FULL, overrides={"vm-1": EXCLUDED, "vm-2": EXCLUDED}), True, "ignore", (), ""),
        (FULL, True, "pin", ("vm-1", "vm-2"), "for 2 of 2 VMs. They are excluded from DRS"),
        (replace(FULL, overrides={"vm-1": EXCLUDED}), True, "pin", ("vm-2",), "for 1 of 2 VMs."),
        (replace(MANUAL, overrides={"vm-2": DrsOverride(True, Automation.FULL)}), True, "pin", ("vm-2",), "1 of 2"),
        (
            FULL,
            False,
            "fence_last",
            (),
            "you may not edit the cluster (Host.Inventory.EditCluster), so they leave before the host is",
        ),
        (replace(FULL, overrides_allowed=False), True, "fence_last", (), "the cluster does not allow overrides"),
        (replace(FULL, overrides_allowed=None), True, "fence_last", (), "could not be read whether the cluster allows"),
        (replace(FULL, overrides=None), True, "fence_last", (), "It could not be read whether DRS of cluster c moves"),
        (Drs(), True, "fence_last", (), "It could not be read whether DRS of cluster c moves"),
        (None, True, "fence_last", (), "It could not be read whether DRS of cluster c moves"),
    ],
)
def test_how_an_evacuation_is_guarded(
    drs: Drs | None, editable: bool, how: str, pinned: tuple[str, ...], words: str
) -> None:
    decision = decision_of(drs, editable=editable)
    assert (decision.how, decision.pinned) == (how, pinned)
    assert words in decision.why
    assert bool(words) is bool(decision.why)


@pytest.mark.parametrize(
    ("drs", "option", "how", "pinned", "not_moved", "words"),
    [
        (FULL, "auto", "pin", ("vm-2",), (), "for 1 of 2 VMs. They are excluded"),
        (FULL, "follow", "follow", (), ("vm-1",), "for 1 of 2 VMs. It chooses their targets"),
        (replace(FULL, moves_vgpus=True), "auto", "pin", ("vm-1", "vm-2"), (), "for 2 of 2 VMs."),
        (replace(FULL, moves_vgpus=True), "follow", "follow", (), (), "for 2 of 2 VMs."),
        (replace(FULL, overrides={"vm-2": EXCLUDED}), "follow", "ignore", (), (), ""),
        (replace(FULL, overrides=None), "auto", "fence_last", (), (), "It could not be read"),
        (
            replace(MANUAL, overrides={"vm-2": DrsOverride(True, Automation.FULL)}),
            "follow",
            "follow",
            (),
            ("vm-1",),
            "",
        ),
        (MANUAL, "auto", "ignore", (), (), ""),
        (Drs(), "auto", "fence_last", (), (), "It could not be read"),
    ],
)
def test_drs_leaves_a_vm_with_a_vgpu_to_the_run(
    drs: Drs, option: str, how: str, pinned: tuple[str, ...], not_moved: tuple[str, ...], words: str
) -> None:
    gpus = {"vgpu_profiles": frozenset({"grid_t4-4q"})}
    vms = [vm(1, devices=(Device("vgpu", "GPU", "grid_t4-4q"),)), vm(2)]
    world = estate([host(n, **gpus) for n in (1, 2, 3)], vms, drs={"c": drs})
    plan = evacuation(world, drs=DrsOption(option))
    (decision,) = plan.drs
    assert (decision.how, decision.pinned, decision.not_moved) == (how, pinned, not_moved)
    assert words in decision.why
    leaves_it = drs.of(vms[0]) is not drs.level_of("vm-1")
    assert ("does not move 1 VM with a vGPU by itself (Broadcom KB 313479)" in decision.why) is leaves_it
    assert revalidate(plan, world) == ()
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan


def test_drs_moves_what_it_may_if_it_is_followed() -> None:
    assert decision_of(FULL, drs=DrsOption.FOLLOW).how is DrsHandling.FOLLOW
    assert decision_of(FULL, drs=DrsOption.FOLLOW, editable=False).how is DrsHandling.FOLLOW
    assert decision_of(MANUAL, drs=DrsOption.FOLLOW).how is DrsHandling.IGNORE
    assert decision_of(Drs(), drs=DrsOption.FOLLOW).how is DrsHandling.FENCE_LAST


@given(DRS, st.booleans(), st.sampled_from(DrsOption))
def test_each_vm_that_drs_may_move_is_guarded(drs: Drs, editable: bool, option: DrsOption) -> None:
    world = world_of(drs, vms=3)
    plan = evacuation(world, editable=editable, drs=option)
    (decision,) = plan.drs
    behaviors = {vm: drs.level_of(vm) for vm in VMS}
    may_move = {vm for vm, found in behaviors.items() if found in (Automation.FULL, Automation.UNKNOWN)}
    assert (decision.how is DrsHandling.IGNORE) is (not may_move)
    assert bool(decision.pinned) is (decision.how is DrsHandling.PIN)
    if decision.how is DrsHandling.PIN:
        assert editable
        assert drs.overrides_allowed
        assert option is DrsOption.AUTO
        assert set(decision.pinned) == may_move
    if Automation.UNKNOWN in behaviors.values():
        assert decision.how is DrsHandling.FENCE_LAST
    assert bool(decision.why) is bool(may_move)
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan
    assert revalidate(plan, world) == ()
    asked = pinnable_clusters(world, PlanRequest(VMS, evacuated=frozenset({"host-1"}), drs=option))
    assert decision.how is not DrsHandling.PIN or asked == {"c"}, "pinned without the question whether that is allowed"


@pytest.mark.parametrize("drs", [Drs(), Drs(Automation.DISABLED), MANUAL, replace(FULL, overrides_allowed=False)])
def test_nobody_is_asked_who_may_edit_a_cluster_that_is_not_edited(drs: Drs) -> None:
    request = PlanRequest(("vm-1",), evacuated=frozenset({"host-1"}))
    assert pinnable_clusters(world_of(drs), request) == frozenset()
    assert pinnable_clusters(world_of(FULL), request) == {"c"}
    assert pinnable_clusters(world_of(FULL), replace(request, evacuated=frozenset())) == {"c"}


@pytest.mark.parametrize(
    ("drs", "editable", "option", "how", "pinned", "words"),
    [
        (FULL, True, "auto", "pin", ("vm-1", "vm-2"), "2 of 2 VMs. They are excluded from DRS while they move"),
        (replace(FULL, overrides={"vm-1": EXCLUDED}), True, "auto", "pin", ("vm-2",), "1 of 2 VMs."),
        (
            FULL,
            False,
            "auto",
            "allow",
            (),
            "may not edit the cluster (Host.Inventory.EditCluster), so it may move them",
        ),
        (
            replace(FULL, overrides_allowed=False),
            True,
            "auto",
            "allow",
            (),
            "does not allow overrides, so it may move them",
        ),
        (FULL, True, "follow", "allow", (), "2 of 2 VMs, so it may move them before their turn."),
        (Drs(), True, "auto", "allow", (), "moves these VMs by itself, so it may move them before their turn. Grant"),
    ],
)
def test_how_other_moves_are_guarded(
    drs: Drs, editable: bool, option: str, how: str, pinned: tuple[str, ...], words: str
) -> None:
    clusters = frozenset({"c"} if editable else ())
    plan = plan_all(world_of(drs), editable_clusters=clusters, drs=DrsOption(option))
    (decision,) = plan.drs
    assert (decision.how, decision.pinned) == (how, pinned)
    assert words in decision.why
    assert revalidate(plan, world_of(drs)) == ()


@pytest.mark.parametrize(
    "drs", [Drs(Automation.DISABLED), MANUAL, replace(FULL, overrides=dict.fromkeys(VMS, EXCLUDED))]
)
def test_other_moves_need_no_guard_against_drs_that_moves_nothing(drs: Drs) -> None:
    plan = plan_all(world_of(drs))
    assert plan.drs == ()
    assert revalidate(plan, world_of(FULL)) == (), "DRS may move VMs of such a plan at any time"


def test_an_empty_host_needs_no_guard() -> None:
    (decision,) = evacuation(world_of(FULL, vms=0)).drs
    assert (decision.how, decision.automation, decision.why) == (DrsHandling.IGNORE, Automation.FULL, "")
    (decision,) = evacuation(world_of(None, vms=0)).drs
    assert (decision.how, decision.automation) == (DrsHandling.IGNORE, Automation.UNKNOWN)


def test_each_cluster_of_a_fault_domain_is_handled_by_itself() -> None:
    world = estate(
        [host(1), host(2), *(host(n, cluster="d", cluster_name="d") for n in (3, 4))],
        [vm(1), vm(2, on=3)],
        drs={"c": FULL, "d": Drs(Automation.DISABLED)},
    )
    request = PlanRequest(
        ("vm-1", "vm-2"), evacuated=frozenset({"host-1", "host-3"}), editable_clusters=frozenset({"c"})
    )
    decisions = make_plan(world, request).drs
    assert [(d.cluster, d.how, d.pinned) for d in decisions] == [("c", "pin", ("vm-1",)), ("d", "ignore", ())]


def test_the_plan_says_how_drs_is_handled() -> None:
    plan = evacuation(world_of(FULL))
    (*moves, said) = plan_lines(plan)
    assert len(moves) == 2
    assert said == plan.drs[0].why
    assert plan_diff(plan)["after"].endswith(f"{said}\n")
    assert said not in plan_diff(plan)["before"]
    assert len(plan_lines(evacuation(world_of(MANUAL)))) == 2


def test_the_id_holds_how_drs_is_handled() -> None:
    pinned, last = evacuation(world_of(FULL)), evacuation(world_of(FULL), editable=False)
    assert len({pinned.plan_id, last.plan_id, evacuation(world_of(MANUAL)).plan_id}) == 3
    assert evacuation(world_of(MANUAL)).plan_id == plan_all(world_of(MANUAL)).plan_id, (
        "DRS that does nothing is left out"
    )
    edited = plan_to_dict(pinned)
    edited["drs"][0]["pinned"] = ["vm-1"]
    with pytest.raises(InvalidInput, match="was edited"):
        plan_from_dict(edited)
    edited["drs"][0]["how"] = "something"
    with pytest.raises(InvalidInput, match="is not a plan"):
        plan_from_dict(edited)


def departures(approved: Plan, now: Plan, world: Estate) -> list[str]:
    return [f"{d.vm_name}: {d.what}" for d in deviations_from_approved(approved, now, world)]


def test_what_was_not_approved_about_drs_is_a_departure() -> None:
    world = world_of(FULL)
    pin, last, off = evacuation(world), evacuation(world, editable=False), evacuation(world_of(MANUAL))
    assert departures(off, pin, world) == ["c: DRS would be handled by pin; approved is ignore"]
    assert departures(pin, last, world) == ["c: DRS would be handled by fence_last; approved is pin"]
    assert departures(last, pin, world) == ["c: DRS would be handled by pin; approved is fence_last"]
    assert departures(replace(pin, drs=()), pin, world) == ["c: DRS would be handled by pin; approved is ignore"]
    some = evacuation(world_of(replace(FULL, overrides={"vm-1": EXCLUDED})))
    assert departures(some, pin, world) == ["c: vm-1 would be excluded from DRS, which was not approved"]


def test_less_than_what_was_approved_is_no_departure() -> None:
    world = world_of(FULL)
    pin, last, off = evacuation(world), evacuation(world, editable=False), evacuation(world_of(MANUAL))
    some = evacuation(world_of(replace(FULL, overrides={"vm-1": EXCLUDED})))
    for approved, now in ((pin, pin), (pin, some), (pin, off), (last, off), (last, last)):
        assert departures(approved, now, world) == []


@pytest.mark.parametrize(
    ("planned", "now", "said"),
    [
        (MANUAL, FULL, "DRS of cluster c now moves the VM by itself"),
        (MANUAL, Drs(), "it can no longer be read whether DRS of cluster c moves the VM"),
        (replace(FULL, overrides={"vm-1": EXCLUDED}), FULL, "DRS of cluster c now moves the VM by itself"),
    ],
)
def test_a_plan_that_no_longer_guards_a_vm_has_drifted(planned: Drs, now: Drs, said: str) -> None:
    drifts = revalidate(evacuation(world_of(planned)), world_of(now))
    assert ("ml-1", said) in [(drift.vm_name, drift.what) for drift in drifts]


@pytest.mark.parametrize("editable", [True, False])
@pytest.mark.parametrize("now", [FULL, MANUAL, Drs(), Drs(Automation.DISABLED)])
def test_a_plan_that_guards_its_vms_guards_them_whatever_drs_does(now: Drs, editable: bool) -> None:
    assert revalidate(evacuation(world_of(FULL), editable=editable), world_of(now)) == ()


def test_the_id_is_that_of_the_content() -> None:
    plan = evacuation(world_of(FULL))
    assert plan_id_of(replace(plan, drs=(replace(plan.drs[0], why="", automation=Automation.PARTIAL),))) == plan.plan_id


@pytest.mark.parametrize("value", [*Automation, *DrsHandling, *DrsOption])
def test_no_value_is_another_type_in_yaml(value: str) -> None:
    """AWX passes an approved plan as YAML, in which ``off`` is a boolean."""
    assert yaml.safe_load(str(value)) == str(value)
