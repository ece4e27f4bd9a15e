# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner on generated estates: capacity, rules, policies, determinism; and each refusal by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Away,
    PlanRequest,
    Policy,
    Scope,
    StorageRequest,
    Wan,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import (
    make_plan,
    memory_demand,
    newest_hardware,
    predicted_seconds,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AffinityRule,
    AntiAffinityRule,
    Automation,
    Checked,
    Connection,
    Datastore,
    Device,
    Drs,
    Estate,
    Maintenance,
    Network,
    Pool,
    Power,
    VmHostRule,
    VmState,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import GIB, estate, host, plan_all, vm, worlds
from tests.builders.storage import store, stored
from tests.builders.storage import world as world_of_stores


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


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"evacuated": frozenset({"host-1"})}, "It may stay on its host, also in maintenance mode."),
        ({"destinations": {"vm-1": "host-2"}}, "Power it on and plan again, or move it in vCenter as it is."),
    ],
    ids=["evacuation", "restore"],
)
def test_what_to_do_with_a_vm_that_is_powered_off_depends_on_where_it_should_be(
    changes: dict[str, Any], remedy: str
) -> None:
    world = estate([host(1), host(2)], [vm(1, power=Power.OFF)])
    (refusal,) = make_plan(world, PlanRequest(("vm-1",), policy=Policy.ANY, **changes)).refusals
    (found,) = refusal.reasons
    assert found.hint == f"The VM is powered off. {remedy} Only a VM that is powered on moves live"


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


def test_no_vm_moves_into_a_cluster_of_which_it_is_not_known_what_it_forbids() -> None:
    """For example which of its hosts HA keeps free."""
    hosts = [host(1), host(2, cluster="c2", cluster_name="c2", failover=False)]
    hidden = {"c2": frozenset({"configurationEx.dasConfig.admissionControlPolicy"})}
    plan = make_plan(estate(hosts, [vm(1)], unreadable=hidden), PlanRequest(("vm-1",), cluster="c2"))
    (refusal,) = plan.refusals
    assert ("unreadable", "c2: configurationEx.dasConfig.admissionControlPolicy") in [
        (each.check, each.object) for each in refusal.reasons
    ]


def test_an_unreadable_cluster_elsewhere_forbids_nothing() -> None:
    world = estate([host(1), host(2)], [vm(1)], unreadable={"other": frozenset({"configurationEx.rule"})})
    assert len(plan_all(world).moves) == 1


def test_a_network_of_a_disconnected_adapter_may_be_missing() -> None:
    machine = vm(1, networks=frozenset({"net", "old"}), unplugged_networks=frozenset({"old"}))
    assert len(plan_all(estate([host(1), host(2)], [machine])).moves) == 1


def test_a_vm_at_its_destination_is_told_from_one_of_the_same_name() -> None:
    world = estate([host(1), host(2)], [vm(1, name="twin"), vm(2, on=2, name="twin")])
    assert make_plan(world, PlanRequest(("vm-1",), destinations={"vm-1": "host-1"})).settled == ("twin (vm-1)",)


def test_a_host_of_which_vcenter_has_no_figures_yet_does_not_count_as_the_emptiest() -> None:
    fresh, busy = host(2, memory_used_bytes=0, cpu_used_mhz=0), host(3, memory_used_bytes=60 * GIB)
    (move,) = plan_all(estate([host(1), fresh, busy], [vm(1)])).moves
    assert move.target_name == "esx-3"
    (move,) = plan_all(estate([host(1), fresh], [vm(1)])).moves
    assert move.why == "fitting host in a (vCenter does not show how much of its memory and CPU is used)"


@pytest.mark.parametrize(
    ("there", "fits"),
    [
        (vm(9, on=2, memory_used_bytes=60 * GIB), False),
        (vm(9, on=2, memory_bytes=60 * GIB, memory_used_bytes=0), False),
        (vm(9, on=2, memory_used_bytes=60 * GIB, power=Power.UNKNOWN), False),
        (vm(9, on=2, memory_used_bytes=60 * GIB, power=Power.OFF), True),
        (vm(9, on=2, memory_used_bytes=GIB), True),
    ],
)
def test_a_host_without_figures_has_at_most_the_room_that_its_vms_leave(there: VmState, fits: bool) -> None:
    fresh = host(2, memory_bytes=64 * GIB, memory_used_bytes=0, cpu_used_mhz=0)
    plan = plan_all(estate([host(1), fresh], [vm(1, memory_used_bytes=8 * GIB), there]))
    moved = {move.vm for move in plan.moves if move.target == "host-2"}
    refused = {refusal.vm: [reason.check for reason in refusal.reasons] for refusal in plan.refusals}
    assert moved == ({"vm-1"} if fits else set())
    assert refused.get("vm-1") == (None if fits else ["no_capacity_memory"])


@pytest.mark.parametrize("failing", [{"quarantined": True}, {"red": True}])
def test_a_failing_host_is_the_last_choice_though_it_is_empty(failing: dict[str, object]) -> None:
    empty = host(2, memory_used_bytes=GIB, cpu_used_mhz=0, **failing)
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
        ("9.1.0", 22), ("9.0.0", 22), ("8.9.9", 21), ("8.0.2", 21), ("8.0.1", 20), ("8.0.0", 20), ("7.9.9", 19),
        ("7.0.2", 19), ("7.0.1", 18), ("7.0.0", 17), ("6.9.9", 15), ("6.7.0", 15), ("6.6.9", 13), ("6.5.0", 13), ("6.4.9", None),
        ("8.0", 20), ("6.0", None), ("", None), ("8.x", None),
    ],
)  # fmt: skip
def test_the_newest_hardware_version_of_an_esxi(version: str, newest: int | None) -> None:
    assert newest_hardware(version) == newest


def test_a_vm_that_the_user_may_not_move_is_refused_with_the_privilege() -> None:
    lacking = {"vm-1": ("Resource.HotMigrate",)}
    plan = plan_all(estate([host(1), host(2)], [vm(1), vm(2)]), not_permitted=lacking)
    assert [m.vm for m in plan.moves] == ["vm-2"]
    assert [(r.check, r.object) for r in plan.refusals[0].reasons] == [("not_permitted", "Resource.HotMigrate")]
    assert plan.refusals[0].blocking


@pytest.mark.parametrize(
    ("policy", "source", "others", "chosen"),
    [
        # The first of the other hosts is almost empty, the second is half full.
        (Policy.SAME_PREFERRED, "a", ("b", "a"), "a"),
        (Policy.SAME_PREFERRED, "a", (None, "a"), "a"),
        (Policy.SAME_PREFERRED, "a", ("b", None), "b"),
        (Policy.SAME_PREFERRED, None, ("b", None), "b"),
        (Policy.OTHER_PREFERRED, "a", ("a", "b"), "b"),
        (Policy.OTHER_PREFERRED, "a", (None, "b"), "b"),
        (Policy.OTHER_PREFERRED, "a", ("b", "c"), "b"),
        (Policy.OTHER_PREFERRED, "a", ("a", None), "a"),
        (Policy.OTHER_PREFERRED, None, (None, "b"), "b"),
        (Policy.ANY, "a", ("b", "a"), "b"),
        (Policy.ANY, "a", (None, "b"), None),
        (Policy.SAME_ONLY, "a", ("b", "a"), "a"),
        (Policy.OTHER_ONLY, "a", ("a", "b"), "b"),
        (Policy.OTHER_ONLY, "a", (None, "b"), "b"),
    ],
)
def test_the_policy_counts_before_the_load(
    policy: Policy, source: str | None, others: tuple[str | None, str | None], chosen: str | None
) -> None:
    empty, half = (
        host(n, domain, memory_used_bytes=gib * GIB) for n, domain, gib in zip((2, 3), others, (1, 50), strict=True)
    )
    (move,) = plan_all(estate([host(1, source), empty, half], [vm(1)]), policy=policy).moves
    assert (move.source_fault_domain, move.target_fault_domain) == (source, chosen)


@pytest.mark.parametrize(("policy", "source", "target"), [
    (Policy.SAME_ONLY, "a", "b"), (Policy.SAME_ONLY, "a", None), (Policy.SAME_ONLY, None, None),
    (Policy.OTHER_ONLY, "a", "a"), (Policy.OTHER_ONLY, "a", None), (Policy.OTHER_ONLY, None, "b"),
])  # fmt: skip
def test_a_strict_policy_is_never_kept_by_a_guess(policy: Policy, source: str | None, target: str | None) -> None:
    (refusal,) = plan_all(estate([host(1, source), host(2, target)], [vm(1)]), policy=policy).refusals
    assert [(reason.check, reason.object) for reason in refusal.reasons] == [("fault_domain", "esx-2")]
    assert f"Policy {policy} does not allow" in refusal.reasons[0].hint


@pytest.mark.parametrize(
    ("affine", "named", "possible"),
    [(True, "host-3", ["host-3"]), (False, "host-3", ["host-2"]), (True, "host-1", []), (False, "host-1", ["host-2", "host-3"])],
)  # fmt: skip
def test_a_mandatory_rule_leaves_only_the_hosts_that_it_allows(affine: bool, named: str, possible: list[str]) -> None:
    rule = VmHostRule("licence", frozenset({"vm-1"}), frozenset({named}), affine)
    for wanted in ("host-2", "host-3"):
        world = estate([host(1), host(2), host(3)], [vm(1), vm(2)], vm_host_rules=(rule,))
        plan = make_plan(world, PlanRequest(("vm-1", "vm-2"), destinations=dict.fromkeys(world.vms, wanted)))
        assert [move.vm for move in plan.moves] == (["vm-1", "vm-2"] if wanted in possible else ["vm-2"])
        checks = [(r.check, r.object) for refusal in plan.refusals for r in refusal.reasons]
        assert checks == ([] if wanted in possible else [("vm_host_rule", "licence")])


def test_the_longest_moves_have_the_first_numbers() -> None:
    world = estate(
        [host(1), host(2)],
        [vm(1, gib=2), vm(2, gib=9), vm(4, gib=5, name="b"), vm(3, gib=5, name="b"), vm(5, gib=5, name="a")],
    )
    assert [move.vm for move in plan_all(world).moves] == ["vm-2", "vm-5", "vm-3", "vm-4", "vm-1"]
    hosts = [host(1), host(2, memory_used_bytes=85 * GIB)]
    refused = plan_all(estate(hosts, [vm(n, gib=30, name=name) for n, name in ((1, "b"), (3, "a"), (2, "a"))])).refusals
    assert [refusal.vm for refusal in refused] == ["vm-2", "vm-3", "vm-1"]


def test_the_vm_with_the_most_memory_gets_the_last_room() -> None:
    hosts = [host(1), host(2, memory_used_bytes=70 * GIB)]
    vms = [vm(1, gib=10), vm(2, gib=19), vm(3, gib=10, memory_reservation_bytes=20 * GIB)]
    assert [move.vm for move in plan_all(estate(hosts, vms)).moves] == ["vm-3"]


@pytest.mark.parametrize(
    ("configured", "consumed", "reserved", "demand"), [(8, 3, 0, 3), (8, 0, 0, 8), (8, 3, 5, 5), (8, 0, 5, 8)]
)
def test_a_target_must_have_room_for_consumed_and_for_reserved_memory(
    configured: int, consumed: int, reserved: int, demand: int
) -> None:
    machine = vm(1, memory_bytes=configured, memory_used_bytes=consumed, memory_reservation_bytes=reserved)
    assert memory_demand(machine) == demand


@pytest.mark.parametrize(
    ("link", "files", "changes_host", "seconds"),
    [
        (None, 0, True, 14.0),  # 8 GB at 1 GB/s, eight tenths of an unknown link that is taken for 10GbE
        (1_000, 0, True, 86.0),
        (100_000, 0, True, 6.8),
        (10_000, 4, True, 34.0),  # 4 GB of files at the 200 MB/s of a datastore
        (1_000, 4, True, 126.0),  # the link is slower than that
        (1_000, 4, False, 26.0),  # only files move, and not over the link
        (1_000, 0, False, 6.0),
    ],
)
def test_a_move_takes_its_memory_and_its_files_over_what_they_cross(
    link: int | None, files: int, changes_host: bool, seconds: float
) -> None:
    machine = vm(1, memory_used_bytes=8 * 10**9)
    assert predicted_seconds(machine, link, files * 10**9, changes_host=changes_host) == seconds
    unknown = vm(1, memory_bytes=8 * 10**9, memory_used_bytes=0)
    assert predicted_seconds(unknown, link, files * 10**9, changes_host=changes_host) == seconds


@pytest.mark.parametrize(
    ("links", "seconds"),
    [((None, None), 14.0), ((1_000, None), 86.0), ((10_000, 1_000), 86.0), ((100_000, 10_000), 14.0)],
)
def test_the_slower_link_counts(links: tuple[int | None, int | None], seconds: float) -> None:
    hosts = [host(n, link_mbit=link) for n, link in enumerate(links, 1)]
    (move,) = plan_all(estate(hosts, [vm(1, memory_used_bytes=8 * 10**9)])).moves
    assert move.predicted_seconds == seconds


def test_a_plan_says_why_a_target_was_chosen() -> None:
    hosts = [host(1), host(2), host(3, None, memory_used_bytes=16 * GIB)]
    world = estate(hosts, [vm(1)], drs={"c": Drs(Automation.DISABLED)})
    (move,) = plan_all(world).moves
    assert move.why == "least loaded fitting host in a (14 % memory, 11 % CPU after the move)"
    (move,) = make_plan(world, PlanRequest(("vm-1",), destinations={"vm-1": "host-3"})).moves
    assert move.why == "requested destination (20 % memory, 11 % CPU after the move)"


@pytest.mark.parametrize(
    ("needed", "used", "hint"),
    [
        (45.01, 78, "45.1 GiB needed; most free above the headroom: esx-2 with 12 GiB."),
        (12.001, 78.01, "12.1 GiB needed; most free above the headroom: esx-2 with 11.9 GiB."),
        (4, 95, "4 GiB needed; most free above the headroom: esx-2 with 0 GiB."),
    ],
)
def test_figures_of_memory_never_seem_to_fit(needed: float, used: float, hint: str) -> None:
    world = estate([host(1), host(2, memory_used_bytes=int(used * GIB))], [vm(1, memory_used_bytes=int(needed * GIB))])
    (reason,) = plan_all(world).refusals[0].reasons
    assert reason.hint.startswith(hint)


@pytest.mark.parametrize(("used", "free"), [(8_999, 1), (9_500, 0), (8_500, 500)])
def test_figures_of_cpu_count_above_the_headroom(used: int, free: int) -> None:
    world = estate([host(1), host(2, cpu_used_mhz=used)], [vm(1, cpu_used_mhz=600)])
    (reason,) = plan_all(world).refusals[0].reasons
    assert reason.hint.startswith(f"600 MHz needed; most free above the headroom: esx-2 with {free} MHz.")


def test_a_host_may_be_filled_up_to_its_headroom() -> None:
    world = estate([host(1), host(2, memory_used_bytes=86 * GIB, cpu_used_mhz=8_900)], [vm(1)])
    assert len(plan_all(world).moves) == 1
    assert {r.check for r in plan_all(world, memory_headroom=0.11, cpu_headroom=0.2).refusals[0].reasons} == {
        "no_capacity_memory", "no_capacity_cpu",
    }  # fmt: skip


def test_the_move_in_flight_of_a_vm_that_is_not_planned_takes_its_room() -> None:
    hosts = [host(1), host(2, memory_used_bytes=60 * GIB)]
    flying = vm(2, gib=20, moving_task="task-7")
    request = PlanRequest(("vm-1",), moving={"vm-2": ("host-2", "task-7")})
    (refusal,) = make_plan(estate(hosts, [vm(1, gib=15), flying]), request).refusals
    assert [reason.check for reason in refusal.reasons] == ["no_capacity_memory"]
    for other in (replace(flying, moving_task="task-8"), replace(flying, moving_task=None)):  # that move is over
        assert [move.vm for move in make_plan(estate(hosts, [vm(1, gib=15), other]), request).moves] == ["vm-1"]


def test_moves_that_weigh_nothing_are_still_shared_out() -> None:
    world = estate([host(n) for n in (1, 2, 3)], [vm(n, memory_used_bytes=1024, cpu_used_mhz=0) for n in range(6)])
    targets = [move.target for move in plan_all(world).moves]
    assert targets.count("host-2") == targets.count("host-3") == 3


def test_what_was_approved_is_taken_before_a_better_host() -> None:
    hosts = [host(1), host(2), host(3, "b", red=True, memory_used_bytes=60 * GIB)]
    (move,) = plan_all(estate(hosts, [vm(1)]), preferred={"vm-1": "host-3"}).moves
    assert move.target == "host-3"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"fault_domain": "b"}, {"red": True}),
        ({"memory_used_bytes": 60 * GIB}, {"quarantined": True, "fault_domain": "a"}),
        ({"cpu_used_mhz": 3_000}, {"cpu_used_mhz": 5_000, "memory_used_bytes": GIB}),
        ({"memory_used_bytes": 30 * GIB}, {"memory_used_bytes": 50 * GIB, "cpu_used_mhz": 0}),
        ({}, {}),  # equal hosts in the order of their names
    ],
)
def test_what_makes_a_host_the_better_target(better: dict[str, object], worse: dict[str, object]) -> None:
    world = estate([host(1), host(2, **better), host(3, **worse)], [vm(1)])
    assert plan_all(world).moves[0].target == "host-2"
    renamed = estate([host(1), host(2, **worse, name="esx-z"), host(3, **better, name="esx-a")], [vm(1)])
    assert plan_all(renamed).moves[0].target == "host-3"


def test_the_fuller_of_memory_and_cpu_is_the_load() -> None:
    hosts = [host(1), host(2, memory_used_bytes=GIB, cpu_used_mhz=6_000), host(3, memory_used_bytes=50 * GIB)]
    assert plan_all(estate(hosts, [vm(1)])).moves[0].target == "host-3"


def test_vms_that_are_kept_apart_may_follow_each_other() -> None:
    """A rule counts for where its VMs are after the moves planned so far."""
    rule = (AntiAffinityRule("apart", frozenset({"vm-1", "vm-2"})),)
    hosts = [host(1), host(2), host(3)]
    there = estate(hosts, [vm(1), vm(2, on=2), vm(3)], anti_affinity=rule)
    assert {move.vm: move.target for move in plan_all(there).moves}["vm-1"] == "host-3"
    (refusal,) = plan_all(estate(hosts[:2], [vm(1), vm(2, on=2)], anti_affinity=rule)).refusals
    assert [(reason.check, reason.object) for reason in refusal.reasons] == [("anti_affinity", "apart")]
    request = PlanRequest(("vm-1", "vm-2"), destinations={"vm-1": "host-2", "vm-2": "host-3"})
    away = make_plan(estate(hosts, [vm(1), vm(2, on=2, gib=9)], anti_affinity=rule), request)
    assert {move.vm: move.target for move in away.moves} == {"vm-1": "host-2", "vm-2": "host-3"}


@pytest.mark.parametrize(
    ("request_", "host_", "checks"),
    [
        ({"excluded_targets": frozenset({"host-2"})}, {}, ["excluded"]),
        ({"allowed_targets": frozenset({"host-3"})}, {}, ["excluded"]),
        ({"allowed_targets": frozenset({"host-2"})}, {}, []),
        ({"checked": {("vm-1", "host-2"): Checked(("CpuIncompatible", "Other"))}}, {}, ["vcenter_check"]),
        ({"checked": {("vm-1", "host-2"): Checked(warnings=("OldVersion",))}}, {}, []),
        ({"checked": {("vm-2", "host-2"): Checked(("CpuIncompatible",))}}, {}, []),
        ({}, {"standby": True}, ["target_standby"]),
        ({}, {"connection": Connection.UNKNOWN}, []),
        ({}, {"threads": 4}, []),
        ({}, {"threads": 3}, ["too_few_processors"]),
        ({}, {"version": "7.0.3"}, ["hardware_version"]),
        ({}, {"version": "8.0.0"}, []),
        ({}, {"version": "unknown"}, []),
        ({}, {"memory_bytes": 0}, ["no_capacity_memory"]),
        ({}, {"cpu_mhz": 0}, ["no_capacity_cpu"]),
    ],
)
def test_checks_of_a_target(request_: dict[str, Any], host_: dict[str, Any], checks: list[str]) -> None:
    plan = plan_all(estate([host(1), host(2, **host_)], [vm(1, cpus=4, hardware_version=20)]), **request_)
    assert [r.check for refusal in plan.refusals for r in refusal.reasons] == checks
    assert len(plan.moves) == (not checks)


def test_without_another_host_there_is_no_target() -> None:
    (reason,) = plan_all(estate([host(1), host(2, cluster="d")], [vm(1)])).refusals[0].reasons
    assert (reason.check, reason.object) == ("no_target", "ml-1")
    gone = make_plan(estate([host(1), host(2)], [vm(1)]), PlanRequest(("vm-1",), destinations={"vm-1": "host-9"}))
    assert [reason.check for reason in gone.refusals[0].reasons] == ["no_target"]


def test_what_a_target_lacks_is_shown_by_its_name() -> None:
    machine = vm(1, networks=frozenset({"net", "n-9", "n-8"}), datastores=frozenset({"ds", "d-9", "d-8"}))
    elsewhere = {
        "ds": Datastore("ds", "shared", frozenset({"host-1", "host-2"})),
        "d-9": Datastore("d-9", "tank", frozenset({"host-1", "host-3"})),
    }
    world = estate([host(1), host(2)], [machine], datastores=elsewhere, networks={"n-9": Network("n-9", "vlan 9")})
    found = {reason.check: reason.object for reason in plan_all(world).refusals[0].reasons}
    assert found == {"missing_datastore": "d-8, tank", "missing_network": "n-8, vlan 9"}


@pytest.mark.parametrize("evacuated", [True, False])
def test_a_vm_in_the_cluster_to_which_vms_move_stays_unless_its_host_is_evacuated(evacuated: bool) -> None:
    world = estate([host(1), host(2), host(3, cluster="d", cluster_name="d")], [vm(1)])
    request = PlanRequest(("vm-1",), cluster="c", evacuated=frozenset({"host-1"} if evacuated else ()))
    plan = make_plan(world, request)
    assert plan.settled == (() if evacuated else ("ml-1",))
    assert [move.target for move in plan.moves] == (["host-2"] if evacuated else [])


def test_a_vm_whose_files_are_in_several_datastores_cannot_leave_its_data_centre_without_them() -> None:
    far = host(
        2, cluster="d", cluster_name="d", datacenter="dc2", datacenter_moid="dc-2", datastores=frozenset({"x", "y"})
    )
    both = frozenset({"host-1", "host-2"})
    known = {moid: Datastore(moid, f"name-{moid}", both) for moid in ("x", "y")}
    for stores, found in ((frozenset({"x", "y", "z"}), ["name-x, name-y, z"]), (frozenset({"x"}), [])):
        world = estate([host(1), far], [vm(1, datastores=stores)], datastores=known)
        (refusal,) = make_plan(world, PlanRequest(("vm-1",), Policy.ANY, cluster="d")).refusals
        assert [r.object for r in refusal.reasons if r.check == "several_datastores"] == found


def test_a_vm_on_a_host_that_is_not_shown_is_planned_by_its_destination() -> None:
    world = estate([host(2)], [vm(1, on=9)])
    (move,) = make_plan(world, PlanRequest(("vm-1",), Policy.OTHER_ONLY, destinations={"vm-1": "host-2"})).moves
    assert (move.source, move.source_name, move.source_fault_domain) == ("host-9", "host-9", None)


def test_a_vm_that_another_vcenter_has_is_named_with_it() -> None:
    plan = make_plan(
        estate([host(1)], [vm(1, gib=1)]), PlanRequest((), away=(Away("vm-7", "ml-7", "other_vcenter", "vc2"),))
    )
    (refusal,) = plan.refusals
    assert (refusal.vm_name, refusal.blocking, refusal.reasons[0].object) == ("ml-7", False, "vc2")


def test_the_figures_of_a_storage_shortage_are_rounded_to_the_safe_side() -> None:
    here = world_of_stores(
        [store("a", "1"), store("b", "2", free_bytes=115 * GIB - 1)], stored(1, ("a", 41), ("a", 10)), hosts=2
    )
    odd = replace(here.vms["vm-1"], parts=tuple(replace(part, size=part.size + 1) for part in here.vms["vm-1"].parts))
    both = StorageRequest(Scope.BOTH)
    (reason,) = plan_all(replace(here, vms={"vm-1": odd}), storage=both).refusals[0].reasons
    assert reason.hint.startswith("51.1 GiB needed; most free above the headroom: name-b with 14.9 GiB.")
    full = replace(here, datastores={**here.datastores, "b": store("b", "2", 90)})
    (reason,) = plan_all(full, storage=both).refusals[0].reasons
    assert reason.hint.startswith("51 GiB needed; most free above the headroom: name-b with 0 GiB.")


@pytest.mark.parametrize(
    ("target", "mbit", "seconds"),
    [
        ("host-2", None, 14.0),
        ("host-2", 1_000, 14.0),
        ("host-2@other", None, 14.0),
        ("host-2@other", 1_000, 86.0),
        ("host-2@other", 50_000, 14.0),
    ],
)
def test_the_line_between_the_vcenters_counts_for_what_crosses_it(
    target: str, mbit: int | None, seconds: float
) -> None:
    hosts = [host(1, link_mbit=10_000), host(2, moid=target, link_mbit=10_000)]
    flying = vm(1, memory_used_bytes=8 * 10**9, moving_task="task-1")
    request = PlanRequest(("vm-1",), moving={"vm-1": (target, "task-1")}, wan=Wan(mbit=mbit))
    (move,) = make_plan(estate(hosts, [flying]), request).moves
    assert (move.task, move.predicted_seconds) == ("task-1", seconds)


def test_a_vgpu_lengthens_the_move_by_its_stun() -> None:
    gpus: dict[str, Any] = {"vgpu_profiles": frozenset({"grid_t4-4q"}), "link_mbit": 10_000}
    world = estate([host(1, **gpus), host(2, **gpus)], [vm(1), vm(2, devices=(Device("vgpu", "GPU 1", "grid_t4-4q"),))])
    moves = {move.vm: move for move in plan_all(world).moves}
    stun = moves["vm-2"].predicted_stun
    assert stun is not None
    assert moves["vm-2"].predicted_seconds == pytest.approx(moves["vm-1"].predicted_seconds + stun, abs=0.051)
    assert (moves["vm-1"].predicted_stun, moves["vm-1"].vgpus) == (None, ())
    assert (moves["vm-2"].vgpus, moves["vm-2"].free_vgpus_known) == (("grid_t4-4q",), False)
    assert moves["vm-1"].free_vgpus_known


def test_a_move_between_clusters_knows_where_the_vm_was_and_will_be() -> None:
    hosts = [host(1), host(2, cluster="d", cluster_name="far"), host(3)]
    pools = {moid: Pool(moid, "", cluster) for moid, cluster in (("pool-c", "c"), ("pool-d", "d"))}
    world = estate(hosts, [vm(1, pool="pool-c")], pools=pools)
    (move,) = make_plan(world, PlanRequest(("vm-1",), Policy.ANY, cluster="d")).moves
    assert move.place_before is not None
    assert move.place_after is not None
    assert (move.place_before.pool, move.place_after.pool) == ("pool-c", "pool-d")
    (near,) = plan_all(world).moves
    assert (near.place_before, near.place_after) == (None, None)
