# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two sessions as one: each call reaches the vCenter that has the object, with that vCenter's own MoIDs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._module import vcenter_entry
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import connection_of, vcenters
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Checked,
    DrsOverride,
    Estate,
    InventoryPlace,
    Network,
    Relocation,
    VgpuProfile,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate, TaskUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import VcenterPair, _notes
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

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
