# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner on generated estates: capacity, rules, policies, determinism; and each refusal by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest, Policy
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import (
    make_plan,
    memory_demand,
    newest_hardware,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AffinityRule,
    Automation,
    Connection,
    Datastore,
    Device,
    Drs,
    Estate,
    HostState,
    Maintenance,
    Power,
    VmHostRule,
    VmState,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import GIB, estate, host, plan_all, vm, worlds


@given(world=worlds(), policy=st.sampled_from(list(Policy)))
def test_plans_keep_every_promise(world: Estate, policy: Policy) -> None:
    plan = plan_all(world, policy=policy)
    named = [m.vm for m in plan.moves] + [r.vm for r in plan.refusals]
    assert sorted(named) == sorted(world.vms)
    for target in world.hosts.values():
        arriving = sum(memory_demand(world.vms[m.vm]) for m in plan.moves if m.target == target.moid)
        assert not arriving or target.memory_used_bytes + arriving <= 0.9 * target.memory_bytes
    for rule in world.anti_affinity:
        placed = [m.target for m in plan.moves if m.vm in rule.vms]
        assert len(placed) == len(set(placed))
    source = world.hosts["host-1"].fault_domain
    for move in plan.moves:
        if policy is Policy.SAME_ONLY:
            assert move.target_fault_domain == source is not None
        if policy is Policy.OTHER_ONLY:
            assert None not in (source, move.target_fault_domain)
            assert move.target_fault_domain != source
    assert [m.number for m in plan.moves] == list(range(1, len(plan.moves) + 1))
    shuffled = replace(world, hosts=dict(reversed(world.hosts.items())), vms=dict(reversed(world.vms.items())))
    assert plan_all(shuffled, policy=policy) == plan
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan
    assert revalidate(plan, world) == ()


@given(world=worlds(), data=st.data())
def test_an_approved_plan_outlives_the_noise_of_load(world: Estate, data: st.DataObject) -> None:
    approved = plan_all(world)
    hosts = {
        moid: replace(
            h, memory_used_bytes=data.draw(st.integers(0, 90)) * GIB, cpu_used_mhz=data.draw(st.integers(0, 9_000))
        )
        for moid, h in world.hosts.items()
    }
    vms = {moid: replace(v, memory_used_bytes=data.draw(st.integers(1, 40)) * GIB) for moid, v in world.vms.items()}
    later = replace(world, hosts=hosts, vms=vms)
    now = plan_all(later, preferred={m.vm: m.target for m in approved.moves})
    same_moves = {(m.vm, m.target) for m in now.moves} == {(m.vm, m.target) for m in approved.moves}
    assert same_moves == (deviations_from_approved(approved, now, later) == ())
    assert same_moves == (now.plan_id == approved.plan_id)
    done = {m.vm for m in now.moves[: data.draw(st.integers(0, len(now.moves)))]}
    halfway = replace(
        later,
        vms={k: replace(v, host={m.vm: m.target for m in now.moves}[k]) if k in done else v for k, v in vms.items()},
    )
    rest = replace(now, moves=tuple(m for m in now.moves if m.vm not in done))
    assert deviations_from_approved(now, rest, halfway, {"host-1"}) == (), "what is done already is not a deviation"


def departed(change: Mapping[str, object], *hosts: str) -> str:
    """What departs from the plan of two VMs on host-1 once hosts and VMs have changed."""
    world = estate([host(1), host(2), host(3, "b")], [vm(1), vm(2)])
    approved = plan_all(world)
    both = {**world.hosts, **world.vms, **change}
    later = replace(
        world,
        hosts={k: v for k, v in both.items() if isinstance(v, HostState)},
        vms={k: v for k, v in both.items() if isinstance(v, VmState)},
    )
    now = plan_all(later, preferred={m.vm: m.target for m in approved.moves})
    return " ".join(f"{drift.vm_name}: {drift.what}" for drift in deviations_from_approved(approved, now, later, hosts))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"vm-3": vm(3)}, "ml-3: it would move to esx-2, which was not approved"),
        ({"host-2": host(2, memory_used_bytes=83 * GIB)}, "ml-2: it would move to esx-3; approved is esx-2"),
        ({"vm-1": vm(1, power=Power.OFF)}, "ml-1: it cannot move to esx-2 any more (not_powered_on)"),
        ({"vm-1": vm(1, on=3)}, "ml-1: it is on esx-3, not on esx-1"),
        ({"vm-1": vm(1, on=2)}, ""),
        ({"vm-1": None}, "ml-1: the VM no longer exists"),
        ({"vm-3": vm(3, cpu_affinity=True)}, "ml-3: it cannot move (cpu_affinity), which was not approved"),
        ({"vm-3": vm(3, power=Power.OFF)}, ""),
    ],
)
def test_what_departs_from_an_approved_plan_is_named(change: Mapping[str, object], text: str) -> None:
    assert departed(change) == departed(change, "host-1") == text


def test_another_hosts_moves_are_no_departure() -> None:
    world = estate([host(1, "b"), host(2, "b"), host(3)], [vm(1), vm(2, on=2)])
    approved = make_plan(world, PlanRequest(("vm-1", "vm-2"), Policy.OTHER_ONLY))
    now = make_plan(world, PlanRequest(("vm-1",), Policy.OTHER_ONLY))
    assert deviations_from_approved(approved, now, world, {"host-1"}) == ()
    assert [drift.what for drift in deviations_from_approved(approved, now, world)] == [
        "its move to esx-3 is no longer in the plan"
    ]


def test_a_preferred_domain_spills_over_when_it_is_full() -> None:
    world = estate([host(1), host(2), host(3, "b")], [vm(n, gib=50) for n in (1, 2)])
    assert sorted(m.target_fault_domain or "" for m in plan_all(world).moves) == ["a", "b"]


def test_equal_hosts_share_the_vms() -> None:
    world = estate([host(n) for n in (1, 2, 3)], [vm(n) for n in range(10)])
    targets = [m.target for m in plan_all(world).moves]
    assert targets.count("host-2") == targets.count("host-3") == 5


@pytest.mark.parametrize(
    ("changes", "check", "blocking"),
    [
        ({"power": Power.OFF}, "not_powered_on", False),
        ({"template": True}, "template", False),
        ({"managed_by": "com.vmware.vim.eam"}, "managed_by", False),
        ({"moving_task": "task-1"}, "already_moving", True),
        ({"busy": "VirtualMachine.createSnapshot"}, "busy", True),
        ({"disabled_methods": frozenset({"RelocateVM_Task"})}, "method_disabled", True),
        ({"devices": (Device("pci_passthrough", "GPU"),)}, "passthrough_device", True),
        ({"devices": (Device("cdrom_host", "CD/DVD drive 1"),)}, "host_device", True),
        ({"datastores": frozenset({"local"})}, "local_datastore", True),
        ({"datastores": frozenset({"elsewhere"})}, "missing_datastore", True),
        ({"networks": frozenset({"vlan-9"})}, "missing_network", True),
        ({"memory_used_bytes": 95 * GIB}, "no_capacity_memory", True),
        ({"cpu_used_mhz": 9_000}, "no_capacity_cpu", True),
        ({"cpu_affinity": True}, "cpu_affinity", True),
        ({"fault_tolerance": True}, "fault_tolerance", True),
        ({"question": "msg.uuid.altered"}, "pending_question", True),
        ({"connection": "orphaned"}, "vm_connection", True),
        ({"managed_by": "VirtualCenter"}, "managed_by", False),
        ({"devices": (Device("shared_bus", "SCSI controller 1"),)}, "shared_bus", True),
        ({"devices": (Device("scsi_host", "Tape 1"),)}, "host_device", True),
        ({"devices": (Device("vgpu", "GPU", "grid_a100-40c"),)}, "missing_vgpu_profile", True),
        ({"datastores": frozenset({"dead"})}, "datastore_inaccessible", True),
        ({"datastores": frozenset({"ds", "half"})}, "missing_datastore", True),
        ({"cpus": 65}, "too_few_processors", True),
        ({"hardware_version": 22}, "hardware_version", True),
    ],
)
def test_refusals(changes: dict[str, object], check: str, blocking: bool) -> None:
    stores = {
        "ds": Datastore("ds", "shared", frozenset({"host-1", "host-2"})),
        "local": Datastore("local", "local", frozenset({"host-1"})),
        "dead": Datastore("dead", "dead", frozenset(), accessible=False),
        # host-2 mounts it, and has lost access to it.
        "half": Datastore("half", "half", frozenset({"host-1", "host-3"})),
    }
    target = host(2, datastores=frozenset({"ds", "dead", "half"}), threads=64, version="8.0.2")
    world = estate([host(1), target], [vm(1, **changes)], datastores=stores)
    plan = plan_all(world)
    assert plan.moves == ()
    assert check in {reason.check for reason in plan.refusals[0].reasons}
    assert all(reason.hint and reason.object for reason in plan.refusals[0].reasons)
    assert plan.refusals[0].blocking is blocking


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"maintenance": Maintenance.IN}, "target_maintenance"),
        ({"maintenance": Maintenance.ENTERING}, "target_maintenance"),
        ({"connection": Connection.DISCONNECTED}, "target_disconnected"),
        ({"vmotion_enabled": False}, "target_vmotion_off"),
        ({"failover": True}, "failover_host"),
    ],
)
def test_targets_that_cannot_take_a_vm(changes: dict[str, object], check: str) -> None:
    world = estate([host(1), host(2, **changes)], [vm(1)])
    assert [r.check for r in plan_all(world).refusals[0].reasons] == [check]


def test_a_lack_of_capacity_is_stated_with_figures() -> None:
    hosts = [host(1), host(2, memory_used_bytes=80 * GIB), host(3, memory_used_bytes=78 * GIB, cpu_used_mhz=8_500)]
    world = estate(hosts, [vm(1, gib=45, cpu_used_mhz=600)])
    hints = {reason.check: (reason.object, reason.hint) for reason in plan_all(world).refusals[0].reasons}
    assert hints == {
        "no_capacity_memory": (
            "esx-2, esx-3",
            "45 GiB needed; most free above the headroom: esx-3 with 12 GiB. Free memory, or lower memory_headroom",
        ),
        "no_capacity_cpu": (
            "esx-3",
            "600 MHz needed; most free above the headroom: esx-3 with 500 MHz. Free CPU, or lower cpu_headroom",
        ),
    }


def test_all_reasons_come_at_once() -> None:
    world = estate([host(1), host(2, maintenance=Maintenance.IN)], [vm(1, question="?", busy="snapshot")])
    checks = {reason.check for reason in plan_all(world).refusals[0].reasons}
    assert checks == {"pending_question", "busy", "target_maintenance"}


def test_a_move_of_an_unfinished_run_is_adopted() -> None:
    world = estate([host(1), host(2)], [vm(1, moving_task="task-7")])
    plan = plan_all(world, moving={"vm-1": ("host-2", "task-7")})
    assert [(m.target, m.task) for m in plan.moves] == [("host-2", "task-7")]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("wanted", ["host-1", "host-3"])
def test_a_vm_on_its_way_elsewhere_is_refused_and_not_taken_for_arrived(wanted: str, known: bool) -> None:
    """It may have been sent away by a killed evacuation, and is wanted back, or at a third host."""
    world = estate([host(1), host(2), host(3)], [vm(1, moving_task="task-7")])
    flying = {"vm-1": ("host-2", "task-7")} if known else {}
    plan = make_plan(world, PlanRequest(("vm-1",), destinations={"vm-1": wanted}, moving=flying))
    assert (plan.moves, plan.settled) == ((), ())
    assert [[reason.check for reason in refusal.reasons] for refusal in plan.refusals] == [["already_moving"]]
    assert plan.refusals[0].blocking


def test_a_move_in_flight_to_the_wanted_host_is_adopted() -> None:
    world = estate([host(1), host(2)], [vm(1, moving_task="task-7")])
    request = PlanRequest(("vm-1",), destinations={"vm-1": "host-2"}, moving={"vm-1": ("host-2", "task-7")})
    assert [(m.target, m.task) for m in make_plan(world, request).moves] == [("host-2", "task-7")]


@pytest.mark.parametrize(("question", "adopted"), [("", True), ("msg.uuid.altered", False)])
def test_a_task_that_may_be_anothers_is_adopted_for_a_vm_that_could_move(question: str, adopted: bool) -> None:
    world = estate([host(1), host(2)], [vm(1, moving_task="task-7", question=question)])
    plan = plan_all(world, moving={"vm-1": ("host-2", "task-7")}, inferred=frozenset({"vm-1"}))
    assert [(move.task, move.inferred) for move in plan.moves] == ([("task-7", True)] if adopted else [])
    assert len(plan.refusals) == (not adopted)
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan


def test_a_destination_is_kept_and_a_vm_that_is_there_is_settled() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1), vm(2, on=3)], drs={"c": Drs(Automation.DISABLED)})
    plan = make_plan(world, PlanRequest(("vm-1", "vm-2"), destinations={"vm-1": "host-3", "vm-2": "host-3"}))
    assert plan_lines(plan) == ["ml-1: esx-1 → esx-3"]
    assert plan.settled == ("ml-2",)


def test_drift_is_named() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1), vm(2)])
    plan = plan_all(world)
    moved = {v.moid: replace(v, host="host-3" if plan.moves[0].target == "host-2" else "host-2") for v in [vm(1)]}
    drifts = revalidate(plan, replace(world, vms=moved))
    assert {d.vm_name for d in drifts} == {"ml-1", "ml-2"}
    assert any("no longer exists" in d.what for d in drifts)
    arrived = {m.vm: replace(world.vms[m.vm], host=m.target) for m in plan.moves}
    assert revalidate(plan, replace(world, vms=arrived)) == ()


@pytest.mark.parametrize("edit", [lambda d: d["moves"][0].update(target="host-9"), lambda d: d.pop("moves")])
def test_an_edited_plan_is_refused(edit: object) -> None:
    data = json.loads(json.dumps(plan_to_dict(plan_all(estate([host(1), host(2)], [vm(1)])))))
    edit(data)  # type: ignore[operator]
    with pytest.raises(InvalidInput) as caught:
        plan_from_dict(data)
    assert caught.value.option == "plan"


@pytest.mark.parametrize("key", ["org.openstack.compute", "com.vmware.vcloud", "VirtualCenterOfSomebody"])
def test_a_vm_that_another_solution_made_is_an_ordinary_vm(key: str) -> None:
    assert [m.vm for m in plan_all(estate([host(1), host(2)], [vm(1, managed_by=key)])).moves] == ["vm-1"]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"vmotion_enabled": False}, "source_vmotion_off"),
        ({"connection": Connection.NOT_RESPONDING}, "source_disconnected"),
    ],
)
def test_a_host_that_no_vm_can_leave_is_named(changes: dict[str, object], check: str) -> None:
    plan = plan_all(estate([host(1, **changes), host(2)], [vm(1)]))
    assert [(r.check, r.object) for r in plan.refusals[0].reasons] == [(check, "esx-1")]


@pytest.mark.parametrize(
    ("unreadable", "objects"),
    [
        ({"vm-1": {"runtime.powerState", "disabledMethod"}}, ["ml-1: disabledMethod, runtime.powerState"]),
        ({"c": {"configurationEx.rule"}}, ["c: configurationEx.rule"]),
        ({"ds": {"host"}}, ["shared: host"]),
        ({"host-1": {"runtime.connectionState"}}, ["esx-1: runtime.connectionState"]),
        ({"host-2": {"runtime.connectionState"}}, ["esx-2: runtime.connectionState"]),
    ],
)
def test_what_could_not_be_read_is_never_taken_for_none(unreadable: dict[str, set[str]], objects: list[str]) -> None:
    power = Power.UNKNOWN if "vm-1" in unreadable else Power.ON
    unknown = {moid: frozenset(paths) for moid, paths in unreadable.items()}
    plan = plan_all(estate([host(1), host(2)], [vm(1, power=power)], unreadable=unknown))
    assert plan.moves == ()
    assert [r.object for r in plan.refusals[0].reasons if r.check == "unreadable"] == objects
    assert plan.refusals[0].blocking


def test_an_unreadable_cluster_elsewhere_forbids_nothing() -> None:
    world = estate([host(1), host(2)], [vm(1)], unreadable={"other": frozenset({"configurationEx.rule"})})
    assert len(plan_all(world).moves) == 1


def test_a_network_of_a_disconnected_adapter_may_be_missing() -> None:
    machine = vm(1, networks=frozenset({"net", "old"}), unplugged_networks=frozenset({"old"}))
    assert len(plan_all(estate([host(1), host(2)], [machine])).moves) == 1


@pytest.mark.parametrize("failing", [{"quarantined": True}, {"red": True}])
def test_a_failing_host_is_the_last_choice_though_it_is_empty(failing: dict[str, object]) -> None:
    empty = host(2, memory_used_bytes=0, cpu_used_mhz=0, **failing)
    full = host(3, "b", memory_used_bytes=60 * GIB)
    assert plan_all(estate([host(1), empty, full], [vm(1)])).moves[0].target == "host-3"
    assert plan_all(estate([host(1), empty], [vm(1)])).moves[0].target == "host-2"


@pytest.mark.parametrize(("affine", "target"), [(True, "host-3"), (False, "host-2")])
def test_a_rule_that_should_hold_is_followed_where_that_is_possible(affine: bool, target: str) -> None:
    rule = VmHostRule("site", frozenset({"vm-1"}), frozenset({"host-3"}), affine, mandatory=False)
    hosts = [host(1), host(2, memory_used_bytes=40 * GIB), host(3, "b", memory_used_bytes=40 * GIB)]
    world = estate(hosts, [vm(1)], vm_host_rules=(rule,))
    assert plan_all(world).moves[0].target == target
    alone = replace(rule, affine=not affine)
    left = {h: world.hosts[h] for h in ("host-1", target)}
    assert plan_all(replace(world, hosts=left, vm_host_rules=(alone,))).moves[0].target == target


def test_vms_that_drs_keeps_together_stay_together() -> None:
    hosts = [host(1), host(2), host(3)]
    rule = AffinityRule("pair", frozenset({"vm-1", "vm-2"}))
    assert {m.target for m in plan_all(estate(hosts, [vm(1), vm(2)])).moves} == {"host-2", "host-3"}
    assert len({m.target for m in plan_all(estate(hosts, [vm(1), vm(2)], affinity=(rule,))).moves}) == 1


@pytest.mark.parametrize(
    ("version", "newest"),
    [
        ("9.0.1", 22),
        ("8.0.3", 21),
        ("8.0.2", 21),
        ("8.0.1", 20),
        ("7.0.3", 19),
        ("7.0.0", 17),
        ("6.7.0", 15),
        ("6.0", None),
        ("", None),
    ],
)
def test_the_newest_hardware_version_of_an_esxi(version: str, newest: int | None) -> None:
    assert newest_hardware(version) == newest


def test_a_vm_that_the_user_may_not_move_is_refused_with_the_privilege() -> None:
    lacking = {"vm-1": ("Resource.HotMigrate",)}
    plan = plan_all(estate([host(1), host(2)], [vm(1), vm(2)]), not_permitted=lacking)
    assert [m.vm for m in plan.moves] == ["vm-2"]
    assert [(r.check, r.object) for r in plan.refusals[0].reasons] == [("not_permitted", "Resource.HotMigrate")]
    assert plan.refusals[0].blocking
