# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two sessions as one: each call reaches the vCenter that has the object, with that vCenter's own MoIDs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._module import vcenter_entry
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import connection_of, vcenters
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Checked,
    DrsOverride,
    Estate,
    InventoryPlace,
    Maintenance,
    Network,
    Plug,
    Power,
    Relocation,
    StoragePolicies,
    VgpuProfile,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import GuestLogin
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import Home, decode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate, TaskUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import ARRIVAL_SECONDS, VcenterPair, _notes
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from tests.doubles.run import Clock
from tests.doubles.sites import HERE, THERE, Site, Sites, machine

PLACE = InventoryPlace("c", f"pool-ml@{THERE}", "ml", f"folder-ml@{THERE}", "ml")
FILES = {0: f"ds@{THERE}", 2000: f"ds@{THERE}"}


class Talkative(Site):
    """It writes down what it is asked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[Any, ...]] = []

    def drs_overrides(self, cluster: str) -> dict[str, DrsOverride]:
        self.asked.append(("overrides", cluster))
        return {"vm-1": DrsOverride(enabled=False)}

    def set_drs_overrides(self, cluster: str, changes: Mapping[str, Any], present: frozenset[str]) -> None:
        self.asked.append(("set", cluster, dict(changes), present))

    def closed_pools(self, moids: Iterable[str]) -> frozenset[str]:
        return self.closed_of(moids)

    def closed_networks(self, networks: Iterable[Network]) -> frozenset[str]:
        return self.closed_of(network.moid for network in networks)

    def missing_to_move(self, vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return {vm: ("Resource.HotMigrate",) for vm in vms if vm in self.closed}

    def graphics(self, estate: Estate, profiles: Iterable[str]) -> Estate:
        said = {"host-1": {name: VgpuProfile(4) for name in profiles}}
        return replace(estate, vgpus={"vm-1": (*profiles, self.info.address)}, vgpu_profiles=said)

    def compatible(self, vms: Iterable[str], hosts: Iterable[str]) -> dict[tuple[str, str], Checked]:
        return {(vm, host): Checked((self.info.address,)) for vm in vms for host in hosts}

    def check_moves(self, moves: list[Relocation], abroad: Any = None) -> list[Checked]:
        self.asked.append(("check", abroad.address if abroad else "", [(move.vm, move.host) for move in moves]))
        return [Checked((move.vm,)) for move in moves]

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        return dict.fromkeys(hosts, self.info.address == "far")


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Sites:
    monkeypatch.setattr("tests.doubles.sites.Site", Talkative)
    return Sites()


def test_drs_is_asked_of_the_cluster_s_vcenter(sites: Sites) -> None:
    pair = sites.pair()
    pair.estate()
    near: Any = sites.near
    far: Any = sites.far
    assert pair.drs_overrides("c") == {"u1": DrsOverride(enabled=False)}
    assert pair.drs_overrides(f"c@{THERE}") == {"u99": DrsOverride(enabled=False)}
    pair.set_drs_overrides(f"c@{THERE}", {"u99": None}, frozenset({"u99", f"vm-7@{THERE}"}))
    assert far.asked[-1] == ("set", "c", {"vm-1": None}, frozenset({"vm-1", "vm-7"}))
    assert near.asked == [("overrides", "c")]


def test_privileges_are_asked_on_both_sides(sites: Sites) -> None:
    pair = sites.pair()
    estate = pair.estate()
    sites.far.closed = {"pool-ml", "net", "vm-1"}
    assert pair.closed_pools(estate.pools) == {f"pool-ml@{THERE}"}
    assert pair.closed_networks(estate.networks.values()) == {f"net@{THERE}"}
    assert pair.missing_to_move(estate.vms) == {"u99": ("Resource.HotMigrate",)}
    assert pair.in_maintenance(["host-1", f"host-1@{THERE}"]) == {"host-1": False, f"host-1@{THERE}": True}


def test_vms_are_only_compared_with_hosts_of_their_vcenter(sites: Sites) -> None:
    pair = sites.pair()
    estate = pair.estate()
    found = pair.compatible(estate.vms, ["host-2", f"host-3@{THERE}"])
    assert found == {
        ("u1", "host-2"): Checked(("near",)),
        ("u2", "host-2"): Checked(("near",)),
        ("u99", f"host-3@{THERE}"): Checked(("far",)),
    }


def test_the_vcenter_that_a_vm_leaves_checks_the_move(sites: Sites) -> None:
    pair = sites.pair()
    pair.estate()
    moves = [
        Relocation("u99", f"host-3@{THERE}"),
        Relocation("u1", f"host-2@{THERE}", PLACE, tuple(FILES.items())),
        Relocation("u2", "host-2"),
        Relocation("u99", "host-2", PLACE, tuple(FILES.items())),
    ]
    assert [checked.errors for checked in pair.check_moves(moves)] == [("vm-1",), ("vm-1",), ("vm-2",), ("vm-1",)]
    near: Any = sites.near
    far: Any = sites.far
    assert near.asked == [("check", "", [("vm-2", "host-2")]), ("check", "far", [("vm-1", "host-2")])]
    assert far.asked == [("check", "near", [("vm-1", "host-2")]), ("check", "", [("vm-1", "host-3")])]


@pytest.mark.parametrize(
    ("place", "files"),
    [(None, FILES), (PLACE, {}), (InventoryPlace("c", f"pool-ml@{THERE}", "ml", "", ""), FILES)],
)
def test_a_move_to_the_other_vcenter_names_everything(
    place: InventoryPlace | None, files: dict[int, str], sites: Sites
) -> None:
    pair = sites.pair()
    pair.estate()
    with pytest.raises(CallFailed, match="needs a resource pool"):
        pair.relocate("u1", f"host-2@{THERE}", place=place, priority="highPriority", files=files)
    assert sites.near.tasks == {}


def test_tasks_of_both_vcenters_are_heard(sites: Sites) -> None:
    pair = sites.pair()
    pair.estate()
    there = pair.relocate("u1", f"host-2@{THERE}", place=PLACE, priority="highPriority", files=FILES)
    inside = pair.relocate("u99", f"host-3@{THERE}", place=None, priority="highPriority")
    assert (there, inside) == ("task-1", f"task-1@{THERE}")
    assert pair.moving(["u1", "u99"]) == {"u1": there, "u99": inside}
    pair.follow(there, "u1")
    pair.follow(inside, "u99")
    news = pair.updates(1.0)
    assert TaskUpdate("task-1", "success") in news
    assert TaskUpdate(f"task-1@{THERE}", "success") in news
    places = {each.vm: each.host for each in news if isinstance(each, PlacementUpdate)}
    assert places == {"u1": f"host-2@{THERE}", "u99": f"host-3@{THERE}"}
    assert pair.power_on_times(["u1", "u2"]) == {"u1": "booted ml-1", "u2": "booted ml-2"}
    assert pair.places(["u1"]) == {"u1": FILES}


def test_a_vm_that_is_not_there_yet_is_not_reported_as_gone(sites: Sites) -> None:
    pair = sites.pair()
    pair.estate()
    task = pair.relocate("u1", f"host-2@{THERE}", place=PLACE, priority="highPriority", files=FILES)
    pair.follow(task, "u1")
    sites.far.hidden.add("vm-901")
    assert pair.updates(1.0) == (TaskUpdate("task-1", "success"),)


def test_an_object_of_a_third_vcenter_is_not_found(sites: Sites) -> None:
    pair = sites.pair()
    with pytest.raises(CallFailed, match="another vCenter"):
        pair.lease("host-1@3333cccc")
    assert pair.in_maintenance(["host-1@3333cccc"]) == {}
    assert pair.placement(["u77"]) == {"u77": PlacementUpdate("u77", None)}


LOGIN = {
    "hostname": "far",
    "port": 443,
    "username": "user",
    "password": "secret",
    "validate_certs": True,
    "ca_path": None,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": " ", "password": ""}, "destination_vcenter.username and destination_vcenter.password are empty"),
        ({"hostname": "http://far"}, "destination_vcenter.hostname is 'http://far'"),
        ({"port": 0}, "destination_vcenter.port is 0"),
    ],
)
def test_a_wrong_login_names_the_option_that_has_it(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        connection_of({**LOGIN, **changes}, "destination_vcenter")
    assert words in str(error.value)
    assert error.value.option == "destination_vcenter"
    assert "VMWARE_" not in str(error.value)


def test_one_vcenter_is_not_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = iter([HERE, THERE, HERE, HERE])

    @contextmanager
    def connected(*_arguments: Any) -> Iterator[Any]:
        content = SimpleNamespace(about=SimpleNamespace(instanceUuid=next(uuids)))
        yield SimpleNamespace(content=content, address="near", renewed=0, silence=lambda: None)

    monkeypatch.setattr(vcenter_entry, "connected", connected)
    params = {**LOGIN, "vcenter_patience": 1.0, "destination_vcenter": LOGIN}
    with vcenters(params) as pair:
        assert isinstance(pair, VcenterPair)
    with pytest.raises(InvalidInput, match="the same vCenter as near"), vcenters(params):
        pass


def test_devices_are_read_where_the_vm_is(sites: Sites) -> None:
    pair = sites.pair()
    sites.near.vms["vm-3"] = machine(3)
    estate = pair.estate()
    assert pair.devices(estate, ["u3", "u99", "nobody"]).vms == estate.vms


def test_gpus_are_read_on_both_sides(sites: Sites) -> None:
    """A VM needs a free vGPU where it goes, and that may be in the other vCenter."""
    pair = sites.pair()
    known = pair.graphics(pair.estate(), ("grid_t4-4q",))
    assert known.vgpus == {"u1": ("grid_t4-4q", "near"), "u99": ("grid_t4-4q", "far")}
    assert known.vgpu_profiles.keys() == {"host-1", f"host-1@{THERE}"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (frozenset({"com.vmware.vsan.health"}), None),
        (frozenset({"com.vmware.hcx.plugin"}), "has an extension of HCX. These moves are vMotions"),
        (frozenset({"com.vmware.hybridity"}), "has an extension of HCX. These moves are vMotions"),
        (None, "It is not known whether vCenter vc.lab has HCX"),
    ],
)
def test_hcx_is_said_and_unknown_is_not_none(keys: frozenset[str] | None, said: str | None) -> None:
    client = SimpleNamespace(address="vc.lab", verifies=True)
    notes = list(_notes(cast(VcenterSession, SimpleNamespace(client=client, extensions=lambda: keys))))
    assert len(notes) == (said is not None)
    assert all(said in note for note in notes if said is not None)


def test_a_certificate_that_is_not_verified_is_said_with_its_thumbprint() -> None:
    client = SimpleNamespace(address="vc.lab", verifies=False, thumbprint=lambda: "AB:CD")
    (note,) = _notes(cast(VcenterSession, SimpleNamespace(client=client, extensions=frozenset)))
    assert "is not verified" in note
    assert note.endswith("SHA-1 thumbprint AB:CD.")


def pair_with(sites: Sites) -> tuple[VcenterPair, Clock]:
    """A pair that has read its estate, and its clock."""
    clock = Clock()
    pair = VcenterPair(sites.near, sites.far, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    pair.estate()
    return pair, clock


def test_a_vm_that_leaves_one_vcenter_has_some_seconds_to_arrive(sites: Sites) -> None:
    pair, clock = pair_with(sites)
    begun = clock.now
    state = sites.near.vms.pop("vm-1")
    asked = Mock(wraps=sites.far.vm_with)
    sites.far.vm_with = asked  # type: ignore[method-assign]
    assert pair.placement(["u1", "u2"]) == {"u1": PlacementUpdate("u1", None), "u2": PlacementUpdate("u2", "host-1")}
    assert ARRIVAL_SECONDS <= clock.now - begun < ARRIVAL_SECONDS + 1
    assert 10 < asked.call_count < 100
    begun = clock.now
    assert pair.placement(["u1"])["u1"].host is None
    assert clock.now - begun < 0.5, "it is known to be gone"
    sites.near.vms["vm-1"] = state
    pair.estate()
    assert pair.placement(["u1"])["u1"].host == "host-1"


def test_a_vm_that_arrives_late_is_found_where_it_is(sites: Sites) -> None:
    pair, clock = pair_with(sites)
    begun, moved = clock.now, replace(sites.near.vms.pop("vm-1"), moid="vm-77", host="host-3")
    sleep = clock.sleep

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        if clock.now > begun + 3:
            sites.far.vms["vm-77"] = moved

    pair._sleep = sleeping
    assert pair.placement(["u1"]) == {"u1": PlacementUpdate("u1", f"host-3@{THERE}")}
    assert clock.now - begun < 4


def test_a_vm_whose_host_is_not_shown_is_neither_waited_for_nor_gone(sites: Sites) -> None:
    pair, clock = pair_with(sites)
    hidden = PlacementUpdate("vm-1", None, Power.ON, unknown="vCenter does not say it")
    sites.near.placement = lambda _vms: {"vm-1": hidden}  # type: ignore[method-assign]
    begun = clock.now
    assert pair.placement(["u1"]) == {"u1": replace(hidden, vm="u1")}
    assert clock.now - begun < 0.5
    del sites.near.placement
    assert pair.placement(["u1"])["u1"].host == "host-1"


@pytest.mark.parametrize(("start", "end"), [("near", "far"), ("far", "near")])
def test_a_vm_that_left_a_vcenter_is_looked_for_first_in_the_other_one(sites: Sites, start: str, end: str) -> None:
    """A shell of it may stay behind."""
    pair, _clock = pair_with(sites)
    left, entered = getattr(sites, start), getattr(sites, end)
    vm = "u1" if start == "near" else "u99"
    state = left.vms.pop("vm-1")
    left.vms["vm-50"] = replace(state, moid="vm-50", power=Power.OFF)
    entered.vms["vm-77"] = replace(state, moid="vm-77", host="host-3")
    (found,) = pair.placement([vm]).values()
    assert found.host == (f"host-3@{THERE}" if end == "far" else "host-3")


def test_a_vm_without_an_instance_uuid_of_its_own_is_not_looked_for_elsewhere(sites: Sites) -> None:
    sites.near.vms = {f"vm-{n}": machine(n, instance_uuid="") for n in (1, 2)}
    pair, _clock = pair_with(sites)
    del sites.near.vms["vm-1"]
    sites.far.vm_with = Mock(side_effect=AssertionError)  # type: ignore[method-assign]
    assert pair.placement(["vm-1"]) == {"vm-1": PlacementUpdate("vm-1", None)}


def test_a_vm_that_nobody_has_has_no_processes_and_no_home(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    login = GuestLogin("ml", re.compile("x"), "secret")
    with pytest.raises(CallFailed, match="Neither vCenter has the VM u77"):
        pair.guest_processes("u77", login)
    assert not pair.record_home(Home("u77", "host-1", "a", "host-2", "b", "r", "now"))
    assert not pair.clear_home("u77")
    assert pair.power_on_times(iter(["u1", "u77"])) == {"u1": "booted ml-1", "u77": None}
    sites.far.guest_processes = lambda vm, given: (vm, given)  # type: ignore[attr-defined]
    assert pair.guest_processes("u99", login) == ("vm-1", login)


def homes_at(site: Site, vm: str) -> Home | None:
    return decode_home(vm, site.vms[vm].attributes["liveml_home"])


def test_a_home_is_recorded_where_the_vm_is_and_names_the_vcenters_only_if_it_must(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    inside = Home("u1", "host-1", "near-1", "host-2", "near-2", "r", "now")
    assert pair.record_home(inside)
    assert homes_at(sites.near, "vm-1") == replace(inside, vm="vm-1")
    across = replace(inside, target=f"host-2@{THERE}")
    assert pair.record_home(across)
    assert homes_at(sites.near, "vm-1") == replace(across, vm="vm-1", host=f"host-1@{HERE}")
    assert pair.record_home(replace(inside, vm="u99"))
    assert homes_at(sites.far, "vm-1") == replace(inside, vm="vm-1", host=f"host-1@{HERE}", target=f"host-2@{HERE}")
    assert pair.clear_home("u99")
    assert sites.far.vms["vm-1"].attributes == {}


def test_hosts_are_leased_fenced_and_restored_in_their_vcenter(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    lease = Lease("id", "controller", datetime(2026, 3, 1, tzinfo=UTC))
    assert pair.set_lease(f"host-1@{THERE}", lease)
    assert (pair.lease(f"host-1@{THERE}"), pair.lease("host-1"), pair.lease(f"host-1@{HERE}")) == (lease, None, None)
    sites.far.misses_privilege = lambda host, privilege: (host, privilege) == ("host-1", "x")  # type: ignore[method-assign]
    assert pair.misses_privilege(f"host-1@{THERE}", "x")
    assert not pair.misses_privilege("host-1", "x")
    assert pair.enter_maintenance(f"host-1@{THERE}") == f"task-fence@{THERE}"
    fenced = pair.estate().hosts[f"host-1@{THERE}"]
    assert fenced.maintenance_task == f"task-fence@{THERE}"
    pair.end_maintenance(fenced, 60)
    assert sites.far.hosts["host-1"].maintenance is Maintenance.NORMAL
    assert pair.enter_maintenance("host-1") == "task-fence"
    pair.end_maintenance(pair.estate().hosts["host-1"], 60)
    pair.end_maintenance(pair.estate().hosts["host-1"], 60)
    assert sites.near.hosts["host-1"].maintenance is Maintenance.NORMAL


def test_what_a_user_may_not_use_is_asked_on_both_sides(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    sites.far.closed = {"x"}
    for name in ("without_space", "closed_folders", "editable_clusters"):
        for site in (sites.near, sites.far):
            setattr(site, name, site.closed_of)
        assert getattr(pair, name)(["x", f"x@{THERE}", "y", "x@3333cccc"]) == {f"x@{THERE}"}


def test_who_moved_a_vm_is_asked_only_where_it_is(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    for site in (sites.near, sites.far):
        site.mover = lambda vm, host, name=site.info.address: f"{name} {vm} {host}"  # type: ignore[method-assign]
    assert pair.mover("u1", "host-2") == "near vm-1 host-2"
    assert pair.mover("u99", f"host-2@{THERE}") == "far vm-1 host-2"
    assert pair.mover("u1", f"host-2@{THERE}") == ""
    assert pair.mover("u77", "host-2") == ""


def test_migrations_are_those_of_the_first_vcenter(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    sites.near.migrations = lambda _since: {"vm-1": 2, "vm-8": 1}  # type: ignore[attr-defined]
    assert pair.migrations(datetime(2026, 3, 1, tzinfo=UTC)) == {"u1": 2, "vm-8": 1}


def test_storage_drs_is_not_asked_about_moves_between_vcenters(sites: Sites) -> None:
    with pytest.raises(CallFailed, match="Storage DRS is not asked"):
        pair_with(sites)[0].recommended_datastores(Relocation("u1", None), "pod")


def test_policies_are_read_where_the_vm_is(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    asked = []

    def read(site: Site, why: str) -> Any:
        def policies(estate: Estate, vms: Iterable[str], wanted: str) -> Estate:
            asked.append((site.info.address, sorted(vms), wanted))
            name = site.info.address
            found = StoragePolicies({name: name.title()}, {vm: {0: name} for vm in vms}, {name: frozenset({"ds"})}, why)
            return replace(estate, policies=found)

        return policies

    sites.near.policies, sites.far.policies = read(sites.near, ""), read(sites.far, "no answer")  # type: ignore[attr-defined]
    found = pair.policies(pair.estate(), ["u1", "u99", "nobody"], "Gold").policies
    assert asked == [("near", ["vm-1"], "Gold"), ("far", ["vm-1"], "Gold")]
    assert found == StoragePolicies(
        {"near": "Near", "far": "Far"},
        {"u1": {0: "near"}, "u99": {0: "far"}},
        {"near": frozenset({"ds"}), "far": frozenset({f"ds@{THERE}"})},
        "no answer",
    )
    del asked[:]
    assert pair.policies(pair.estate(), ["u2"]).policies.why_unknown == ""
    assert [each[0] for each in asked] == ["near"]


def test_devices_get_ids_and_what_is_unreadable_too(sites: Sites) -> None:
    pair, _clock = pair_with(sites)

    def devices(estate: Estate, vms: Iterable[str]) -> Estate:
        (vm,) = vms
        changed = replace(estate.vms[vm], cpu_affinity=True, unplugged_networks=frozenset({"net"}))
        return replace(
            estate, vms={**estate.vms, vm: changed}, unreadable={vm: frozenset({"x"}), "host-1": frozenset()}
        )

    sites.far.devices = devices  # type: ignore[method-assign]
    found = pair.devices(pair.estate(), ["u99"])
    assert (found.vms["u99"].cpu_affinity, found.vms["u99"].unplugged_networks) == (True, {f"net@{THERE}"})
    assert found.unreadable == {"u99": {"x"}}
    assert not found.vms["u1"].cpu_affinity


class Speaking:
    """What one vCenter says, one answer for each question, and for how long it was asked to wait."""

    def __init__(self, *answers: tuple[Any, ...]) -> None:
        self.answers, self.waits = list(answers), list[float]()

    def __call__(self, timeout: float) -> tuple[Any, ...]:
        self.waits.append(timeout)
        return self.answers.pop(0) if self.answers else ()


def listening(sites: Sites, near: Speaking, far: Speaking) -> tuple[VcenterPair, Clock]:
    pair, clock = pair_with(sites)
    sites.near.updates, sites.far.updates = near, far  # type: ignore[method-assign]
    return pair, clock


def test_one_vcenter_is_waited_for_and_two_are_asked_in_turn(sites: Sites) -> None:
    near, far = Speaking(), Speaking()
    pair, clock = listening(sites, near, far)
    assert pair.updates(5.0) == ()
    assert (near.waits, far.waits) == ([5.0], [])
    pair.follow(f"task-1@{THERE}", "u99")
    assert pair.updates(5.0) == ()
    assert (near.waits, far.waits) == ([5.0], [5.0])
    pair.follow("task-1", "u1")
    begun = clock.now
    assert pair.updates(5.0) == ()
    assert 5 <= clock.now - begun < 6
    assert set(near.waits[1:]) == set(far.waits[1:]) == {0}
    assert 10 < len(near.waits) < 40
    near.answers = [(), (), (TaskUpdate("task-1", "running"),)]
    begun = clock.now
    assert pair.updates(5.0) == (TaskUpdate("task-1", "running"),)
    assert clock.now - begun < 1
    pair.unfollow("task-1")
    pair.updates(5.0)
    assert far.waits[-1] == 5.0


@pytest.mark.parametrize(("timeout", "longest"), [(0.0, 0.1), (0.05, 0.2)])
def test_two_vcenters_are_not_asked_for_longer_than_wanted(sites: Sites, timeout: float, longest: float) -> None:
    pair, clock = listening(sites, Speaking(), Speaking())
    pair.follow(f"task-1@{THERE}", "u99")
    pair.follow("task-1", "u1")
    begun = clock.now
    assert pair.updates(timeout) == ()
    assert timeout <= clock.now - begun <= longest


def test_an_old_place_of_a_vm_that_has_moved_on_is_not_reported(sites: Sites) -> None:
    moved = Speaking((PlacementUpdate("vm-1", None),), (PlacementUpdate("vm-1", "host-1"),))
    pair, _clock = listening(sites, moved, Speaking())
    sites.far.vms["vm-77"] = replace(sites.near.vms.pop("vm-1"), moid="vm-77", host="host-3")
    assert pair.updates(1.0) == (PlacementUpdate("u1", f"host-3@{THERE}"),)
    assert pair.updates(1.0) == ()


def test_the_vm_of_a_task_is_followed_only_where_the_task_is(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    followed = []
    sites.near.follow = lambda task, vm=None: followed.append((task, vm))  # type: ignore[method-assign]
    pair.follow("task-1", "u1")
    pair.follow("task-2", "u99")
    pair.follow("task-3")
    assert followed == [("task-1", "vm-1"), ("task-2", None), ("task-3", None)]
    cancelled = []
    sites.far.cancel = cancelled.append  # type: ignore[attr-defined]
    pair.cancel(f"task-9@{THERE}")
    assert cancelled == ["task-9"]


def test_a_move_between_vcenters_has_the_moids_of_its_target(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    near: Any = sites.near
    started = []

    def relocate(vm: str, host: str | None, **further: Any) -> str:
        started.append((vm, host, further))
        return "task-1"

    near.relocate = relocate
    place = replace(PLACE, datastore=f"ds@{THERE}", plugs=(Plug(4000, f"net@{THERE}"),))
    assert pair.relocate("u1", f"host-2@{THERE}", place=place, priority="p", policies={0: "gold"}) == "task-1"
    pair.relocate("u1", None, place=None, priority="p", files={0: "ds"})
    (across, inside) = started
    assert across[:2] == ("vm-1", "host-2")
    assert across[2]["abroad"] is sites.far.client
    assert across[2]["policies"] == {0: "gold"}
    local = across[2]["place"]
    assert (local.pool, local.folder, local.datastore, local.plugs) == (
        "pool-ml",
        "folder-ml",
        "ds",
        (Plug(4000, "net"),),
    )
    assert inside == (
        "vm-1",
        None,
        {"place": None, "priority": "p", "files": {0: "ds"}, "policies": {}, "abroad": None},
    )


def test_moves_of_files_alone_are_checked_where_the_vm_is(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    assert [found.errors for found in pair.check_moves([Relocation("u99", None), Relocation("u2", None)])] == [
        ("vm-1",),
        ("vm-2",),
    ]
    assert pair.check_moves([]) == []


def test_what_a_run_hears_of_silence_is_that_of_both(sites: Sites) -> None:
    pair, _clock = pair_with(sites)
    heard = []
    for site in (sites.near, sites.far):
        site.on_silence = lambda listener, name=site.info.address: heard.append((name, listener))  # type: ignore[method-assign]
        site.on_interruption = site.on_silence  # type: ignore[method-assign]
    pair.on_silence(print)
    pair.on_interruption(all)  # type: ignore[arg-type]
    assert heard == [("near", print), ("far", print), ("near", all), ("far", all)]


def test_the_hosts_alone_are_those_of_both(sites: Sites) -> None:
    assert len(sites.pair().estate_of_hosts().hosts) == 6


@pytest.mark.parametrize("homeward", [True, False])
def test_a_vm_that_goes_to_the_other_vcenter_between_two_reads_is_seen_once(sites: Sites, homeward: bool) -> None:
    start, end = (sites.far, sites.near) if homeward else (sites.near, sites.far)
    if homeward:
        sites.far.vms["vm-50"] = replace(sites.near.vms.pop("vm-1"), moid="vm-50")
    moving = "vm-50" if homeward else "vm-1"
    read = sites.far.estate

    def late(**options: Any) -> Estate:
        if moving in start.vms:
            end.vms["vm-77"] = replace(start.vms.pop(moving), moid="vm-77")
        return read(**options)

    sites.far.estate = late  # type: ignore[method-assign]
    estate = sites.pair().estate()
    (seen,) = [vm for vm in estate.vms.values() if vm.instance_uuid == "u1"]
    assert seen.twin == ""
    assert estate.host_name(seen.host) == end.hosts["host-1"].name


def test_a_vcenter_that_changes_all_the_time_is_read_in_the_end(sites: Sites) -> None:
    reads = []
    sites.near.identities = lambda: reads.append("") or {}  # type: ignore[method-assign,func-returns-value]
    assert "u1" in sites.pair().estate().vms
    assert 1 < len(reads) < 5


def test_the_vcenter_that_gave_a_moid_says_whether_the_vm_was_deleted() -> None:
    sites = Sites()
    pair = sites.pair()
    pair.estate()
    sites.far.vms["vm-5"] = machine(5)
    asked = iter(["vm-1", "vm-5", f"vm-5@{THERE}", f"vm-6@{THERE}", "vm-5@elsewhere"])
    assert pair.deleted(asked) == {"vm-5", f"vm-6@{THERE}"}
