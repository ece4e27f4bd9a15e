# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the options of an operator ask of the planner, and which of them contradict each other."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    Ambiguous,
    InvalidInput,
    JournalUnreadable,
    NotFound,
    PlanRefused,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_id_of, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Plan,
    PlanRequest,
    Scope,
    StorageRequest,
    Wan,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import (
    approved_plan,
    check_disks,
    datastores_to_ask,
    hosts_of,
    moves_files,
    refuse_departure,
    refuse_other_second,
    request_of,
    storage_of,
    with_forestalled,
    with_policy,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, StoragePolicies
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    ATTRIBUTE,
    Home,
    HomeFile,
    encode_home,
)
from ansible_collections.liveml.vsphere.plugins.modules.migration_plan import SPEC

from tests.builders.estates import INFO, estate, host, plan_all, vm
from tests.builders.journals import write_event, write_run
from tests.builders.storage import store, stored
from tests.builders.storage import world as world_of_stores

THERE = replace(INFO, instance_uuid="uuid-2", address="vc2")
NEAR = estate([host(1), host(2), host(3, "b")], [vm(1), vm(2), vm(3, on=2)])


def params_of(folder: Path, **options: Any) -> dict[str, Any]:
    """The parameters of the module after its own checks."""
    given = {"state_dir": str(folder), **options}
    params: dict[str, Any] = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    return params


def requested(world: Estate, folder: Path, *, preferred: Plan | None = None, **options: Any) -> PlanRequest:
    params = params_of(folder, **options)
    return request_of(params, world, hosts_of(params, world), preferred)


def over_two(*clusters: str) -> Estate:
    """Two hosts in the first vCenter, and one for each cluster of the second."""
    far = [
        host(n, moid=f"host-{n}@uuid-2", name=f"far-{n}", cluster=f"{name}@uuid-2", cluster_name=name)
        for n, name in enumerate(clusters, 7)
    ]
    stores = {moid: store(moid, "") for moid in ("ds", "ds@uuid-2")}
    return replace(estate([host(1), host(2), *far], [vm(1)], datastores=stores), second=THERE)


@pytest.mark.parametrize("option", ["memory_headroom", "cpu_headroom", "storage_headroom"])
@pytest.mark.parametrize(("percent", "share"), [(0, 0.0), (10, 0.1), (99, 0.99), (-1, None), (100, None)])
def test_a_headroom_is_a_percentage_below_a_hundred(
    tmp_path: Path, option: str, percent: int, share: float | None
) -> None:
    options: dict[str, Any] = {"host": "esx-1", option: percent}
    if share is None:
        with pytest.raises(InvalidInput, match=f"{option} is {percent}"):
            requested(NEAR, tmp_path, **options)
        return
    request = requested(NEAR, tmp_path, **options)
    found = {
        "memory_headroom": request.memory_headroom,
        "cpu_headroom": request.cpu_headroom,
        "storage_headroom": request.storage.headroom,
    }
    assert found == {**dict.fromkeys(found, 0.1), option: share}


def test_an_evacuation_asks_for_the_vms_of_its_host(tmp_path: Path) -> None:
    request = requested(NEAR, tmp_path, host="esx-1", exclude_hosts=["esx-3"])
    assert (request.vms, request.evacuated) == (("vm-1", "vm-2"), frozenset({"host-1"}))
    assert (request.excluded_targets, request.destinations) == (frozenset({"host-3"}), {})
    narrowed = requested(NEAR, tmp_path, host="esx-1", vms=["ml-2"], destination="esx-3")
    assert (narrowed.vms, narrowed.destinations) == (("vm-2",), {"vm-2": "host-3"})
    with pytest.raises(NotFound) as caught:
        requested(NEAR, tmp_path, host="esx-1", exclude_hosts=["esx-9"])
    assert caught.value.option == "exclude_hosts"


def test_no_host_of_an_evacuated_fault_domain_is_a_target(tmp_path: Path) -> None:
    request = requested(NEAR, tmp_path, fault_domain="a", exclude_hosts=["esx-3"])
    assert request.vms == ("vm-1", "vm-2", "vm-3")
    assert request.evacuated == {"host-1", "host-2"}
    assert request.excluded_targets == {"host-1", "host-2", "host-3"}


@pytest.mark.parametrize(
    ("options", "vms"),
    [({"vms": ["ml-1"]}, ("vm-1",)), ({"patterns": ["ml-[23]"]}, ("vm-2", "vm-3")), ({"host": "esx-2"}, ("vm-3",))],
)
def test_vms_without_a_host_are_moved_and_no_host_is_evacuated(
    tmp_path: Path, options: dict[str, Any], vms: tuple[str, ...]
) -> None:
    request = requested(NEAR, tmp_path, **options)
    assert request.vms == vms
    assert bool(request.evacuated) is ("host" in options)


def test_without_a_criterion_nothing_is_meant(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        request_of(params_of(tmp_path, vms=["ml-1"]) | {"vms": []}, NEAR, (), None)
    assert caught.value.hint == "Set host, fault_domain, vms, patterns, folders or attributes"


def test_an_approved_plan_prefers_its_targets_and_datastores(tmp_path: Path) -> None:
    stores = [store("a", "1"), store("b", "2")]
    world = world_of_stores(stores, stored(1, ("a", 1)), hosts=2)
    plan = plan_all(world, storage=StorageRequest(Scope.BOTH))
    request = requested(world, tmp_path, host="esx-1", scope="both", preferred=plan)
    assert (request.preferred, request.storage.preferred) == (
        {"vm-1": "host-2"},
        {"vm-1": {1999: "b"}} | {"vm-1": plan.moves[0].targets},
    )
    compute = requested(NEAR, tmp_path, host="esx-1", preferred=plan_all(NEAR))
    assert (compute.preferred.keys(), compute.storage.preferred) == ({"vm-1", "vm-2"}, {})
    assert requested(NEAR, tmp_path, host="esx-1").preferred == {}


def at_home(number: int, on: int, home: int = 1, **changes: Any) -> Any:
    text = encode_home(
        Home(f"vm-{number}", f"host-{home}", f"esx-{home}", "host-2", "esx-2", "r", "now", **changes.pop("home_", {}))
    )
    return vm(number, on=on, attributes={ATTRIBUTE: text}, **changes)


FILE = HomeFile(0, "a", "A", "b", "gold")


def test_a_restore_brings_vms_home_with_their_files(tmp_path: Path) -> None:
    vms = [
        at_home(1, on=2),
        at_home(2, on=2, home_={"files": (FILE, HomeFile(1, "a", "A", "b"))}),
        at_home(3, on=1),
        vm(4, on=2),
        at_home(5, on=2, home=3),
        at_home(6, on=3),
    ]
    request = requested(estate([host(1), host(2), host(3)], vms), tmp_path, host="esx-1", use_homes=True)
    assert request.destinations == dict.fromkeys(("vm-1", "vm-2", "vm-3"), "host-1")
    assert set(request.vms) == {"vm-1", "vm-2", "vm-3"}
    assert request.evacuated == frozenset()
    assert request.storage.homes == {"vm-2": {0: "a", 1: "a"}}
    assert request.storage.home_policies["vm-2"] == {0: "gold"}
    leaving = requested(estate([host(1), host(2), host(3)], vms), tmp_path, host="esx-2")
    assert (leaving.storage.homes, leaving.storage.home_policies) == ({}, {})


def test_a_restore_says_which_homes_are_of_hosts_that_are_gone(tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [at_home(1, on=2, home=9)])
    with pytest.raises(NotFound, match=r"No home is recorded on esx-1\. .*: ml-1 \(esx-9, host-9\)"):
        requested(world, tmp_path, host="esx-1", use_homes=True)
    assert requested(estate([host(1), host(2)], [vm(1)]), tmp_path, host="esx-1", use_homes=True).vms == ()
    approved_one = requested(world, tmp_path, preferred=PLAN, host="esx-1", use_homes=True)
    assert "vCenter no longer has: ml-1 (esx-9, host-9)" in approved_one.notes[0], (
        "the plan of a fault domain has said so"
    )


def test_a_restore_needs_every_journal_of_its_host(tmp_path: Path) -> None:
    folder = state_path(str(tmp_path)) / "runs" / "20260101T000000Z-evacuate-esx-1-aaaa"
    folder.mkdir()
    journal = write_run(folder, key="uuid.host-1", upto=3)
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], b"nonsense", *lines[2:]]))
    with pytest.raises(JournalUnreadable):
        requested(NEAR, tmp_path, host="esx-1", use_homes=True)
    assert requested(NEAR, tmp_path, host="esx-2", use_homes=True).vms == ()
    assert requested(NEAR, tmp_path, host="esx-1").vms == ("vm-1", "vm-2")


@pytest.mark.parametrize(("clusters", "options", "cluster"), [
    (("far",), {}, "far@uuid-2"), (("far",), {"destination": "far-7"}, None), (("far", "wide"), {"destination": "far-8"}, None),
    (("far", "wide"), {"destination_cluster": "wide"}, "wide@uuid-2"),
])  # fmt: skip
def test_the_only_cluster_of_the_other_vcenter_need_not_be_named(
    tmp_path: Path, clusters: tuple[str, ...], options: dict[str, Any], cluster: str | None
) -> None:
    assert requested(over_two(*clusters), tmp_path, vms=["ml-1"], **options).cluster == cluster


@pytest.mark.parametrize(("clusters", "names"), [(("far", "wide"), "far, wide"), ((), "none that this login shows")])
def test_one_of_several_clusters_of_the_other_vcenter_must_be_named(
    tmp_path: Path, clusters: tuple[str, ...], names: str
) -> None:
    with pytest.raises(InvalidInput, match=r"The cluster in vCenter vc2 is not named") as caught:
        requested(over_two(*clusters), tmp_path, vms=["ml-1"])
    assert caught.value.hint.endswith(f"one of its clusters: {names}")


@pytest.mark.parametrize("other", [{"scope": "storage", "datastore": "name-ds"}, {"drs": "follow"}])
def test_what_stays_in_a_vcenter_excludes_another_one(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"destination_vcenter cannot be combined with (scope storage|drs follow)"):
        requested(over_two("far"), tmp_path, vms=["ml-1"], **other)


def test_files_move_to_the_other_vcenter_and_names_mean_its_objects(tmp_path: Path) -> None:
    request = requested(over_two("far"), tmp_path, vms=["ml-1"], datastore="name-ds@uuid-2", exclude_hosts=["far-7"])
    assert (request.storage.scope, request.storage.datastores) == (Scope.BOTH, {"ds@uuid-2"})
    assert request.excluded_targets == {"host-7@uuid-2"}
    with pytest.raises(NotFound):
        requested(over_two("far"), tmp_path, vms=["ml-1"], exclude_hosts=["esx-2"])


@pytest.mark.parametrize(
    ("given", "wan"),
    [
        ({}, Wan()),
        ({"wan_mbit": 0, "wan_latency_ms": 0}, Wan()),
        ({"wan_mbit": 500, "wan_latency_ms": 20}, Wan(500, 20)),
        ({"wan_mbit": 0.5}, Wan(0.5)),
    ],
)
def test_the_network_between_the_vcenters_as_it_is_stated(tmp_path: Path, given: dict[str, float], wan: Wan) -> None:
    assert requested(NEAR, tmp_path, host="esx-1", **given).wan == wan


@pytest.mark.parametrize("option", ["wan_mbit", "wan_latency_ms"])
def test_a_network_cannot_be_less_than_nothing(tmp_path: Path, option: str) -> None:
    with pytest.raises(InvalidInput, match=f"{option} is -1"):
        requested(NEAR, tmp_path, host="esx-1", **{option: -1})


STORES = world_of_stores(
    [store("a", "12", cluster="gold"), store("b", "12", cluster="gold"), store("c", "12")], stored(1, ("c", 1))
)


def storage(folder: Path, world: Estate = STORES, **options: Any) -> StorageRequest:
    return storage_of(params_of(folder, vms=["ml-1"], **options), world, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datastore": "name-a"}, "datastore and disk_datastores need scope"),
        ({"disk_datastores": {"Hard disk 1": "name-a"}}, "datastore and disk_datastores need scope"),
        ({"scope": "storage"}, "scope storage needs a datastore or a storage policy"),
        ({"scope": "storage", "datastore": "name-a", "destination": "esx-2"}, "the VMs keep their hosts"),
        ({"storage_policy": "gold"}, "storage_policy needs scope"),
        ({"storage_policy": "", "scope": "both"}, "storage_policy is empty"),
        ({"scope": "both", "datastore": ""}, "datastore is empty"),
    ],
)
def test_options_of_storage_that_contradict_each_other(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        storage(tmp_path, **options)


@pytest.mark.parametrize(
    ("label", "hint"),
    [("hard disk 1", "Did you mean Hard disk 1?"), ("Hard disk 9", "Hard disk"), ("Festplatte 1", "Correct")],
)
def test_a_disk_that_no_vm_has_is_named_with_those_that_exist(tmp_path: Path, label: str, hint: str) -> None:
    """What was asked for it would not be done, and the VM would count as being where it should be."""
    here = world_of_stores([store("a", "12"), store("b", "12")], stored(1, ("a", 1), ("a", 5)))
    options = {"scope": "storage", "disk_datastores": {label: "name-b", "Hard disk 1": "name-b"}}
    with pytest.raises(NotFound, match=f"ml-1 does not have a disk named {label}.*Its disks are Hard disk 1") as caught:
        check_disks(here, requested(here, tmp_path, vms=["ml-1"], **options))
    assert hint in caught.value.hint
    unread = replace(here, vms={moid: replace(machine, parts=()) for moid, machine in here.vms.items()})
    check_disks(unread, requested(unread, tmp_path, vms=["ml-1"], **options))


def test_a_storage_policy_is_of_one_vcenter(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="storage_policy cannot be combined with destination_vcenter"):
        storage(tmp_path, over_two("far"), scope="both", storage_policy="gold")


@pytest.mark.parametrize(
    ("options", "scope", "datastores", "disks"),
    [
        ({}, "compute", set(), {}),
        ({"scope": "both"}, "both", set(), {}),
        ({"scope": "both", "datastore": "gold"}, "both", {"a", "b"}, {}),
        ({"scope": "both", "storage_policy": "gold"}, "both", set(), {}),
        ({"scope": "storage", "storage_policy": "gold"}, "storage", set(), {}),
        ({"scope": "storage", "datastore": "name-c"}, "storage", {"c"}, {}),
        (
            {"scope": "storage", "disk_datastores": {"Hard disk 2": "gold"}},
            "storage",
            set(),
            {"Hard disk 2": {"a", "b"}},
        ),
    ],
)
def test_where_files_may_go(
    tmp_path: Path, options: dict[str, Any], scope: str, datastores: set[str], disks: dict[str, set[str]]
) -> None:
    request = storage(tmp_path, **options)
    assert (request.scope, request.datastores, dict(request.disks)) == (scope, datastores, disks)
    assert moves_files(request) is (scope != "compute")


def test_a_restore_takes_where_files_go_from_the_homes_alone(tmp_path: Path) -> None:
    params = params_of(tmp_path, host="esx-1", use_homes=True) | {"scope": "storage"}
    assert storage_of(params, STORES, None) == StorageRequest()
    assert moves_files(StorageRequest(homes={"vm-1": {}}))


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (StorageRequest(), set()),
        (StorageRequest(Scope.BOTH), {"a", "b", "c"}),
        (StorageRequest(Scope.BOTH, frozenset({"a", "gone"})), {"a"}),
        (StorageRequest(Scope.STORAGE, disks={"d": frozenset({"b"})}, datastores=frozenset({"c"})), {"b", "c"}),
        (StorageRequest(homes={"vm-1": {0: "a", 1: "gone"}, "vm-2": {0: "c"}}), {"a", "c"}),
    ],
)
def test_only_where_files_may_go_it_matters_whether_the_user_may_put_some(
    request_: StorageRequest, asked: set[str]
) -> None:
    assert datastores_to_ask(STORES, request_) == asked


def test_a_storage_policy_is_found_by_its_name() -> None:
    known = StoragePolicies({"p-1": "gold", "p-2": "silver", "p-3": "silver"})
    world, both = replace(STORES, policies=known), StorageRequest(Scope.BOTH)
    assert with_policy(both, "gold", world).policy == "p-1"
    assert with_policy(both, None, world) == both
    homes = StorageRequest(homes={"vm-1": {0: "a"}})
    assert with_policy(homes, "gold", world) == homes
    with pytest.raises(NotFound) as missing:
        with_policy(both, "diamond", world)
    assert missing.value.hint.endswith("one of its policies: gold, silver, silver")
    with pytest.raises(Ambiguous) as twice:
        with_policy(both, "silver", world)
    assert twice.value.candidates == ("p-2", "p-3")
    with pytest.raises(NotFound, match="none that this login shows"):
        with_policy(both, "gold", STORES)


PLAN = plan_all(NEAR)


def approved(folder: Path, world: Estate = NEAR, **options: Any) -> Plan | None:
    return approved_plan(params_of(folder, host="esx-1", **options), world)


def test_a_plan_is_approved_as_a_whole_or_by_its_id(tmp_path: Path) -> None:
    data = plan_to_dict(PLAN)
    assert approved(tmp_path) is None
    assert approved(tmp_path, approved=data) == approved(tmp_path, approved=data, plan_id=PLAN.plan_id) == PLAN
    assert approved(tmp_path, plan_id=PLAN.plan_id) is None, "no run has begun it"
    folder = state_path(str(tmp_path)) / "runs" / "20260101T000000Z-evacuate-esx-1-aaaa"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    write_event(journal, "run_started", key="uuid.host-1", plan_id=PLAN.plan_id)
    write_event(journal, "planned")
    journal.close()
    begun = approved(tmp_path, plan_id=PLAN.plan_id)
    assert begun is not None
    assert [move.target for move in begun.moves] == ["host-6"]


def test_hosts_are_meant_in_the_first_vcenter(tmp_path: Path) -> None:
    world = over_two("far")
    assert [each.moid for each in hosts_of(params_of(tmp_path, host="esx-1"), world)] == ["host-1"]
    with pytest.raises(NotFound):
        hosts_of(params_of(tmp_path, host="far-7"), world)
    assert [each.moid for each in hosts_of(params_of(tmp_path, fault_domain="a"), world)] == ["host-1", "host-2"]
    assert hosts_of(params_of(tmp_path, vms=["ml-1"]), world) == ()


@pytest.mark.parametrize(
    ("options", "message", "option"),
    [
        ({"plan_id": "abc"}, "plan_id 'abc' is not the id of a plan", "plan_id"),
        ({"plan_id": "f" * 65}, "is not the id of a plan", "plan_id"),
        ({"plan_id": "F" * 64}, "is not the id of a plan", "plan_id"),
        (
            {"plan_id": "f" * 64, "approved": plan_to_dict(PLAN)},
            f"The approved plan is {PLAN.plan_id}, not fff",
            "approved",
        ),
        ({"approved": {**plan_to_dict(PLAN), "moves": []}}, "was edited", "approved"),
    ],
)
def test_what_is_not_the_approved_plan(tmp_path: Path, options: dict[str, Any], message: str, option: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        approved(tmp_path, **options)
    assert caught.value.option == option


def test_a_plan_is_approved_for_its_vcenters_only(tmp_path: Path) -> None:
    elsewhere = replace(PLAN, vcenter=THERE)
    elsewhere = replace(elsewhere, plan_id=plan_id_of(elsewhere))
    with pytest.raises(InvalidInput, match=r"was made for the vCenter vc \(uuid-2\)"):
        approved(tmp_path, approved=plan_to_dict(elsewhere))
    with pytest.raises(InvalidInput, match="The plan in approved is not for two vCenters"):
        approved(tmp_path, over_two("far"), approved=plan_to_dict(PLAN))


@pytest.mark.parametrize(
    ("planned", "here", "message"),
    [
        (None, None, ""),
        (THERE, THERE, ""),
        (THERE, replace(THERE, address="another name"), ""),
        (THERE, None, "also for the vCenter vc2"),
        (replace(THERE, address=""), None, "also for the vCenter uuid-2"),
        (THERE, replace(THERE, instance_uuid="uuid-3"), "also for the vCenter vc2"),
        (None, THERE, "not for two vCenters"),
    ],
)
def test_the_second_vcenter_is_part_of_the_plan(planned: Any, here: Any, message: str) -> None:
    plan, world = replace(PLAN, second=planned), replace(NEAR, second=here)
    if not message:
        refuse_other_second(plan, world, "plan")
        return
    with pytest.raises(InvalidInput, match=message):
        refuse_other_second(plan, world, "plan")


def test_nothing_but_the_approved_plan_is_carried_out() -> None:
    refuse_departure("", None, PLAN, NEAR, ())
    refuse_departure(PLAN.plan_id, None, PLAN, NEAR, ())
    with pytest.raises(PlanRefused, match=f"plan f was approved, planning now gives plan {PLAN.plan_id}"):
        refuse_departure("f", None, PLAN, NEAR, ())
    refuse_departure("", PLAN, PLAN, NEAR, (NEAR.hosts["host-1"],))
    less = replace(PLAN, moves=PLAN.moves[:1])
    with pytest.raises(PlanRefused, match="was approved; ml-2: its move to esx-2 is no longer in the plan"):
        refuse_departure("", PLAN, less, NEAR, (NEAR.hosts["host-1"],))
    refuse_departure("", PLAN, less, NEAR, (NEAR.hosts["host-3"],))


def test_what_somebody_moved_as_approved_is_still_in_the_plan_so_that_it_gets_a_home(tmp_path: Path) -> None:
    (first, second) = PLAN.moves
    moved = replace(NEAR, vms={**NEAR.vms, first.vm: replace(NEAR.vms[first.vm], host=first.target)})
    params = params_of(tmp_path, host="esx-1")
    hosts = (NEAR.hosts["host-1"],)
    now = replace(PLAN, moves=(replace(second, number=1),))
    found = with_forestalled(params, PLAN, now, moved, hosts)
    assert [(move.vm, move.number) for move in found.moves] == [(second.vm, 1), (first.vm, 2)]
    assert found.plan_id == PLAN.plan_id
    assert f"where the approved plan moves them: {first.vm_name} ({first.target_name})." in found.notes[-1]
    refuse_departure("", PLAN, found, moved, hosts)
    home = Home(first.vm, "host-1", "esx-1", first.target, "", "r", "2026-01-31T09:00:00Z", start="host-1")
    known = replace(moved.vms[first.vm], attributes={ATTRIBUTE: encode_home(home)})
    recorded = replace(moved, vms={**moved.vms, first.vm: known})
    gone = replace(moved, vms={second.vm: moved.vms[second.vm]})
    for world, plan, options in (
        (NEAR, PLAN, {}),
        (moved, None, {}),
        (moved, PLAN, {"use_homes": True}),
        (recorded, PLAN, {}),
        (gone, PLAN, {}),
    ):
        assert with_forestalled({**params, **options}, plan, now, world, hosts) is now
    assert with_forestalled(params, PLAN, now, moved, (NEAR.hosts["host-3"],)) is now


@pytest.mark.parametrize(
    ("task", "on", "destinations", "moving", "inferred"),
    [
        (None, 2, {"vm-1": "host-2"}, {}, False),  # it has arrived
        (None, 3, {}, {}, False),
        ("task-9", 1, {}, {"vm-1": ("host-2", "task-9")}, False),
        ("task-8", 1, {}, {}, False),  # the task of somebody else
    ],
)
def test_what_a_killed_run_moved_or_still_moves(
    tmp_path: Path, task: str | None, on: int, destinations: dict[str, str], moving: dict[str, Any], inferred: bool
) -> None:
    folder = state_path(str(tmp_path)) / "runs" / "20260101T000000Z-migrate-ml-1-aaaa"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    ends = {"vm": {"moid": "vm-1", "name": "ml-1"}, "target": {"moid": "host-2", "name": "esx-2"}}
    write_event(journal, "run_started", key="uuid.vm-1", host=None, purpose="migrate")
    for kind in ("planned", "move_submitting", "move_submitted"):
        write_event(journal, kind, **ends)
    journal.close()
    world = estate([host(1), host(2), host(3)], [vm(1, on=on, moving_task=task), vm(2)])
    request = requested(world, tmp_path, vms=["ml-1", "ml-2"])
    assert (request.destinations, request.moving) == (destinations, moving)
    assert bool(request.inferred) is inferred
    with run_lock(state_path(str(tmp_path)), "uuid.vm-1", timeout=1.0):
        under_way = requested(world, tmp_path, vms=["ml-1", "ml-2"])
    assert (under_way.moving, under_way.inferred) == (moving, moving.keys()), "the task is that of the other process"
    elsewhere = requested(world, tmp_path, vms=["ml-1"], destination="esx-3")
    assert elsewhere.destinations == {"vm-1": "host-3"}
    assert requested(world, tmp_path, host="esx-2").destinations == {}, "an evacuation moves it on"
