# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has changed since a plan was made or approved, in the words that an operator reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import (
    arrivals,
    deviations_from_approved,
    revalidate,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Move,
    Plan,
    PlanRequest,
    Policy,
    Reason,
    Refusal,
    Scope,
    StorageRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    Device,
    Estate,
    Folder,
    HostState,
    InventoryPlace,
    Maintenance,
    Plug,
    Pool,
    Power,
    VmState,
)

from tests.builders.estates import GIB, INFO, estate, host, plan_all, vm
from tests.builders.storage import store, stored
from tests.builders.storage import world as world_of_stores


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
        ({"vm-1": None}, "ml-1: vCenter does not show the VM any more"),
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


def test_drift_is_named() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1), vm(2)])
    plan = plan_all(world)
    moved = {v.moid: replace(v, host="host-3" if plan.moves[0].target == "host-2" else "host-2") for v in [vm(1)]}
    drifts = revalidate(plan, replace(world, vms=moved))
    assert {d.vm_name for d in drifts} == {"ml-1", "ml-2"}
    assert any("does not show the VM" in d.what for d in drifts)
    arrived = {m.vm: replace(world.vms[m.vm], host=m.target) for m in plan.moves}
    assert revalidate(plan, replace(world, vms=arrived)) == ()


def drifted(plan: Plan, world: Estate, budget: float | None = None) -> list[str]:
    return [drift.what for drift in revalidate(plan, world, budget)]


def changed(world: Estate, vm: Mapping[str, Any] | None = None, **hosts: Mapping[str, Any]) -> Estate:
    """The estate with other values of the only VM and of hosts (``host_2``)."""
    ids = {name.replace("_", "-"): values for name, values in hosts.items()}
    return replace(
        world,
        vms={moid: replace(known, **(vm or {})) for moid, known in world.vms.items()},
        hosts={moid: replace(known, **ids.get(moid, {})) for moid, known in world.hosts.items()},
    )


THREE = estate([host(1), host(2), host(3)], [vm(1)])


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({"host_2": {"connection": Connection.DISCONNECTED}}, ["the target esx-2 is disconnected, with maintenance mode normal"]),
        ({"host_2": {"maintenance": Maintenance.IN}}, ["the target esx-2 is connected, with maintenance mode in"]),
        ({"host_3": {"maintenance": Maintenance.IN}}, []),
        ({"vm": {"host": "host-3"}}, ["the VM is on esx-3, not on esx-1"]),
        ({"vm": {"host": "host-9"}}, ["the VM is on host-9, not on esx-1"]),
        ({"vm": {"host": "host-2"}}, []),
        ({"vm": {"host": "host-2", "busy": "backup"}}, []),
        ({"vm": {"moving_task": "task-1"}}, ["already_moving (task-1)"]),
        ({"vm": {"busy": "backup", "question": "Which one?"}}, ["busy (backup); pending_question (Which one?)"]),
        ({"host_2": {"cluster": "d"}}, ["esx-2 is now in another cluster than esx-1"]),
    ],
)  # fmt: skip
def test_what_stops_a_move_between_the_hosts_of_a_cluster(now: dict[str, Any], what: list[str]) -> None:
    (move,) = plan_all(THREE).moves
    assert move.target == "host-2"
    assert drifted(plan_all(THREE), changed(THREE, **now)) == what


@pytest.mark.parametrize(
    ("now", "homes", "named"),
    [
        (vm(2), True, ["ml-2"]),
        (vm(2), False, []),
        (vm(2, power=Power.OFF), True, []),
        (vm(2, power=Power.SUSPENDED), True, []),
        (vm(2, on=3), True, []),
        (None, True, []),
    ],
)
def test_a_vm_that_the_plan_leaves_as_powered_off_must_still_be_so(
    now: VmState | None, homes: bool, named: list[str]
) -> None:
    world = estate([host(1), host(2), host(3)], [vm(1), vm(2, power=Power.OFF), vm(3, cpu_affinity=True)])
    later = replace(
        world, vms={**{k: v for k, v in world.vms.items() if k != "vm-2"}, **({"vm-2": now} if now else {})}
    )
    drifts = revalidate(plan_all(world), later, records_homes=homes)
    assert [(drift.vm_name, drift.what) for drift in drifts] == [(name, "the VM is powered on now") for name in named]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (vm(2), ["ml-2: the VM runs on esx-1, and the plan does not have it"]),
        (vm(2, power=Power.UNKNOWN), ["ml-2: the VM may run on esx-1, and the plan does not have it"]),
        (vm(2, power=Power.OFF), []),
        (vm(2, on=2), []),
        (vm(2, managed_by="com.vmware.vim.eam"), []),
        (vm(2, managed_by="org.openstack.compute"), ["ml-2: the VM runs on esx-1, and the plan does not have it"]),
    ],
)
def test_a_vm_that_came_to_the_host_is_not_in_the_plan(now: VmState, what: list[str]) -> None:
    world = estate([host(1), host(2)], [vm(1)])
    later = replace(world, vms={**world.vms, "vm-2": now})
    assert [f"{drift.vm_name}: {drift.what}" for drift in arrivals(plan_all(world), later, "host-1")] == what


def test_a_target_that_is_gone_is_named_as_it_was() -> None:
    gone = replace(THREE, hosts={moid: known for moid, known in THREE.hosts.items() if moid != "host-2"})
    assert drifted(plan_all(THREE), gone) == ["the target esx-2 no longer exists"]
    nothing = replace(THREE, vms={})
    assert drifted(plan_all(THREE), nothing) == ["vCenter does not show the VM any more"]


def test_the_task_of_the_plan_itself_is_no_drift() -> None:
    flying = changed(THREE, {"moving_task": "task-1"})
    plan = plan_all(flying, moving={"vm-1": ("host-2", "task-1")})
    assert drifted(plan, flying) == []
    assert drifted(plan, changed(THREE, {"moving_task": "task-2"})) == ["already_moving (task-2)"]
    assert drifted(plan, THREE) == [], "the task is over, and the VM may still move"


ENTERED = InventoryPlace("far", "pool-d", "gold", "", "ml", (Plug(4000, "net-d", "vlan 9"),))
FAR = estate(
    [host(1), host(2, cluster="d", networks=frozenset({"net-d"}))],
    [vm(1)],
    pools={moid: Pool(moid, "gold", cluster) for moid, cluster in (("pool-d", "d"), ("pool-e", "e"))},
    folders={"folder-1": Folder("folder-1", "ml", "dc")},
)


def entering(place: InventoryPlace) -> Plan:
    ends = ("host-1", "esx-1", "host-2", "esx-2")
    return Plan("", INFO, (Move(1, "vm-1", "ml-1", *ends, GIB, 1.0, place_before=ENTERED, place_after=place),))


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (ENTERED, []),
        (replace(ENTERED, folder="folder-1"), []),
        (replace(ENTERED, pool="pool-x"), ["the cluster of esx-2 has no resource pool gold any more"]),
        (replace(ENTERED, pool="pool-e"), ["the cluster of esx-2 has no resource pool gold any more"]),
        (replace(ENTERED, folder="folder-2"), ["the folder ml no longer exists"]),
        (replace(ENTERED, plugs=(*ENTERED.plugs, Plug(4001, "net-x", "vlan 8"))), ["esx-2 has no network vlan 8 any more"]),
        (
            replace(ENTERED, pool="pool-x", folder="folder-2", plugs=(Plug(4000, "net-x", "vlan 8"),)),
            [
                "the cluster of esx-2 has no resource pool gold any more; the folder ml no longer exists; "
                "esx-2 has no network vlan 8 any more"
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_gone_of_the_place_to_which_a_move_leads(place: InventoryPlace, what: list[str]) -> None:
    assert drifted(entering(place), FAR) == what


GPU = {"vgpu_profiles": frozenset({"p-4q", "p-8q"})}
CARDS = estate([host(1, **GPU), host(2, **GPU)], [vm(1, devices=(Device("vgpu", "GPU 1", "p-4q"),))])


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({"host_2": {"vgpu_profiles": frozenset({"p-8q"})}}, ["esx-2 does not offer the vGPU profile p-4q any more"]),
        ({"vm": {"devices": ()}}, ["its vGPUs are none, in the plan p-4q"]),
        (
            {"vm": {"devices": tuple(Device("vgpu", "GPU", profile) for profile in ("p-8q", "p-4q"))}},
            ["its vGPUs are p-4q, p-8q, in the plan p-4q"],
        ),
    ],
)
def test_a_vm_with_other_vgpus_has_drifted(now: dict[str, Any], what: list[str]) -> None:
    assert drifted(plan_all(CARDS), changed(CARDS, **now)) == what


@pytest.mark.parametrize(("stun", "budget", "fits"), [
    (None, 5.0, True), (5.0, 5.0, True), (5.1, 5.0, False), (99.0, None, True),
])  # fmt: skip
def test_a_stun_must_fit_the_budget(stun: float | None, budget: float | None, fits: bool) -> None:
    plan = plan_all(CARDS)
    (move,) = plan.moves
    found = drifted(replace(plan, moves=(replace(move, predicted_stun=stun),)), CARDS, budget)
    assert found == ([] if fits else ["it may stand still for up to 6 s, and stall_budget is 5 s"])


STORES = [store("a", "12"), store("b", "12", 40)]
ON_STORES = world_of_stores(STORES, stored(1, ("a", 1), ("a", 30)), hosts=2)
FILES_ONLY = StorageRequest(Scope.STORAGE, frozenset({"b"}), headroom=0.0)


@pytest.mark.parametrize(
    ("parts", "target", "what"),
    [
        ((("a", 1), ("a", 30)), STORES[1], []),
        ((("a", 1), ("b", 30)), replace(STORES[1], free_bytes=GIB), []),  # what has arrived needs no room
        ((("a", 1), ("b", 30)), replace(STORES[1], free_bytes=GIB - 1), ["the datastore name-b has only 0 GiB free"]),
        ((("a", 1), ("a", 30)), replace(STORES[1], free_bytes=31 * GIB), []),
        ((("a", 1), ("a", 30)), replace(STORES[1], free_bytes=30 * GIB), ["the datastore name-b has only 30 GiB free"]),
        ((("a", 1), ("a", 30)), replace(STORES[1], free_bytes=None), []),
        ((("a", 1), ("a", 30)), replace(STORES[1], in_service=False), ["esx-1 cannot put files on the datastore name-b"]),
        (
            (("a", 1), ("a", 30)),
            replace(STORES[1], hosts=frozenset({"host-2"})),
            ["esx-1 cannot put files on the datastore name-b"],
        ),
        ((("a", 1), ("c", 30)), STORES[1], ["Hard disk 1 is on another datastore than name-a"]),
        ((("a", 1),), STORES[1], ["it has other disks now"]),
    ],
)  # fmt: skip
def test_what_is_different_about_files_that_would_move(
    parts: tuple[tuple[str, int], ...], target: Any, what: list[str]
) -> None:
    plan = plan_all(ON_STORES, storage=FILES_ONLY)
    (move,) = plan.moves
    assert (move.changes_host, move.targets) == (False, {0: "b", 2000: "b"})
    here = stored(1, *parts)
    now = replace(ON_STORES, vms={"vm-1": here}, datastores={**ON_STORES.datastores, "b": target})
    assert drifted(plan, now) == what


def test_a_move_of_files_alone_does_not_ask_whether_its_host_is_in_service() -> None:
    plan = plan_all(ON_STORES, storage=FILES_ONLY)
    assert drifted(plan, changed(ON_STORES, host_1={"maintenance": Maintenance.ENTERING})) == []


@pytest.mark.parametrize(("hosts", "found"), [
    ((), ["ml-1", "ml-2"]), (("host-1",), ["ml-1"]), (("host-2",), ["ml-1", "ml-2"]), (("host-3",), ["ml-2"]), (("host-4",), []),
])  # fmt: skip
def test_a_missing_move_counts_for_the_hosts_at_its_ends(hosts: tuple[str, ...], found: list[str]) -> None:
    world = estate([host(n) for n in (1, 2, 3)], [vm(1), vm(2, on=2)])
    request = PlanRequest(("vm-1", "vm-2"), destinations={"vm-1": "host-2", "vm-2": "host-3"})
    approved = make_plan(world, request)
    nothing = replace(approved, moves=())
    assert [drift.vm_name for drift in deviations_from_approved(approved, nothing, world, hosts)] == found


def test_a_vm_that_was_to_move_and_now_stays_has_its_reasons_once() -> None:
    approved = plan_all(THREE)
    reasons = tuple(Reason(check, "x", "") for check in ("twin", "busy", "twin"))
    stays = replace(approved, moves=(), refusals=(Refusal("vm-1", "ml-1", reasons),))
    (found,) = deviations_from_approved(approved, stays, THREE)
    assert found.what == "it cannot move to esx-2 any more (busy, twin)"
    (new,) = deviations_from_approved(replace(approved, moves=()), stays, THREE)
    assert new.what == "it cannot move (busy, twin), which was not approved"
    assert deviations_from_approved(stays, stays, THREE) == ()
    harmless = replace(stays, refusals=(replace(stays.refusals[0], blocking=False),))
    assert deviations_from_approved(replace(approved, moves=()), harmless, THREE) == ()


def test_a_vm_that_somebody_moved_to_a_host_that_is_not_shown() -> None:
    approved = plan_all(THREE)
    nothing = replace(approved, moves=())
    (found,) = deviations_from_approved(approved, nothing, changed(THREE, {"host": "host-9"}))
    assert found.what == "it is on host-9, not on esx-1"


@pytest.mark.parametrize("other", [{"target": "host-3", "target_name": "esx-3"}, {"place_after": ENTERED}])
def test_another_target_or_place_was_not_approved(other: dict[str, Any]) -> None:
    plan = plan_all(THREE)
    (move,) = plan.moves
    now = replace(plan, moves=(replace(move, **other),))
    assert deviations_from_approved(plan, plan, THREE) == ()
    (found,) = deviations_from_approved(plan, now, THREE)
    assert found.what.startswith("it would move to esx-")
    assert found.what.endswith("; approved is esx-2")


def test_another_policy_was_not_approved() -> None:
    plan = plan_all(ON_STORES, storage=FILES_ONLY)
    (move,) = plan.moves
    gold = tuple(replace(part, policy="gold", policy_name="gold") for part in move.parts)
    (found,) = deviations_from_approved(plan, replace(plan, moves=(replace(move, parts=gold),)), ON_STORES)
    assert found.what == "it would move to esx-1 [name-b] (storage policy gold); approved is esx-1 [name-b]"


def test_departures_come_in_the_order_of_the_vms() -> None:
    world = estate([host(1), host(2)], [vm(n) for n in (3, 1, 2)])
    nothing = replace(plan_all(world), moves=())
    assert [d.vm_name for d in deviations_from_approved(nothing, plan_all(world), world)] == ["ml-1", "ml-2", "ml-3"]
