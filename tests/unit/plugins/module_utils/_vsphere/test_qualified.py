# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One estate over two vCenters: no two objects share an id, and each VM has one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AdmissionControl,
    AffinityRule,
    AntiAffinityRule,
    Automation,
    Drs,
    DrsOverride,
    Estate,
    Gpu,
    InventoryPlace,
    Plug,
    Power,
    VgpuProfile,
    VmHostRule,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    Home,
    HomeFile,
    decode_home,
    encode_home,
    of_vcenter,
    seen_from,
    spans_vcenters,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.qualified import (
    crosses,
    joined,
    knows,
    moid_of,
    part_of,
    qualified,
    relative,
    vcenter_of,
)

from tests.builders import estates
from tests.doubles.sites import HERE, THERE, Site, machine


def world(near: list[VmState], far: list[VmState], **changes: Any) -> Estate:
    """The estate of two vCenters with these VMs; ``changes`` are of the far one."""
    first, second = (Site(uuid, name, vms).estate() for uuid, name, vms in ((HERE, "near", near), (THERE, "far", far)))
    restored = replace(first, vms={v.moid: v for v in near}), replace(second, vms={v.moid: v for v in far}, **changes)
    return joined(*restored)[0]


def test_ids_name_the_vcenter() -> None:
    there = qualified("host-1", THERE)
    assert (moid_of(there), vcenter_of(there), vcenter_of("host-1")) == ("host-1", THERE, "")
    assert (qualified("", THERE), qualified(there, HERE)) == ("", there)
    assert (relative(there, THERE), relative(there, HERE)) == ("host-1", there)
    assert crosses("host-1", there)
    assert not crosses("host-1", "host-2")


def test_both_vcenters_use_the_same_moids() -> None:
    found = world([machine(1)], [machine(1, name="other", instance_uuid="u7")])
    assert set(found.hosts) == {f"host-{n}{end}" for n in (1, 2, 3) for end in ("", f"@{THERE}")}
    assert {v.name: (v.moid, v.host) for v in found.vms.values()} == {
        "ml-1": ("u1", "host-1"),
        "other": ("u7", f"host-1@{THERE}"),
    }
    for host in found.hosts.values():
        here = vcenter_of(host.moid)
        assert host.vcenter == ("far" if here else "near")
        links = {host.cluster, host.datacenter_moid, *host.datastores, *host.networks}
        assert {vcenter_of(each) for each in links} == {here}
    other = found.vms["u7"]
    links = {other.pool, other.folder_moid, *other.datastores, *other.networks}
    links |= {adapter.network for adapter in other.adapters} | {part.datastore for part in other.parts}
    assert {vcenter_of(each) for each in links} == {THERE}
    assert {p.cluster for m, p in found.pools.items() if vcenter_of(m)} == {f"c@{THERE}"}
    assert {f.datacenter for m, f in found.folders.items() if vcenter_of(m)} == {f"dc-1@{THERE}"}
    assert found.datastores[f"ds@{THERE}"].hosts == frozenset(h for h in found.hosts if vcenter_of(h))
    assert part_of(found, second=True).hosts.keys() == {h for h in found.hosts if vcenter_of(h)}
    assert part_of(found, second=False).datastores.keys() == {"ds"}


def test_tasks_have_ids_too() -> None:
    """Who waits for one asks the vCenter that runs it."""
    fenced = estates.host(1, maintenance_task="task-2")
    found = world(
        [machine(1, moving_task="task-1")],
        [machine(2, moving_task="task-1"), machine(3)],
        hosts={"host-1": fenced, "host-2": estates.host(2)},
    )
    assert {vm.name: vm.moving_task for vm in found.vms.values()} == {
        "ml-1": "task-1",
        "ml-2": f"task-1@{THERE}",
        "ml-3": None,
    }
    assert found.hosts[f"host-1@{THERE}"].maintenance_task == f"task-2@{THERE}"
    assert found.hosts[f"host-2@{THERE}"].maintenance_task is None


def test_rules_and_drs_have_ids_too() -> None:
    vms, pair = [machine(1, instance_uuid="u7")], frozenset({"vm-1", "vm-8"})
    found = world(
        [],
        vms,
        anti_affinity=(AntiAffinityRule("a", pair),),
        affinity=(AffinityRule("b", pair),),
        vm_host_rules=(VmHostRule("c", pair, frozenset({"host-2"}), affine=True),),
        unreadable={"vm-1": frozenset({"x"}), "host-1": frozenset({"y"})},
        drs={"c": Drs(Automation.FULL, True, {"vm-1": DrsOverride(enabled=False)})},
        admission={"c": AdmissionControl(memory_percent=25)},
    )
    ids = frozenset({"u7", f"vm-8@{THERE}"})
    assert [found.anti_affinity[0].vms, found.affinity[0].vms, found.vm_host_rules[0].vms] == [ids] * 3
    assert found.vm_host_rules[0].hosts == {f"host-2@{THERE}"}
    assert found.unreadable.keys() == {"u7", f"host-1@{THERE}"}
    assert found.drs[f"c@{THERE}"].level_of("u7") is Automation.DISABLED
    assert found.admission == {f"c@{THERE}": AdmissionControl(memory_percent=25)}


def test_gpus_and_their_users_have_ids_too() -> None:
    users = [machine(1, instance_uuid="u7")]
    card = Gpu("NVIDIA T4", 16 * 2**30, vms=("vm-1",))
    said = {"host-1": {"grid_t4-4q": VgpuProfile(4)}}
    found = world(
        [], users, hosts={"host-1": estates.host(1, gpus=(card,), environment="envbrowser-1")}, vgpus={"vm-1": ("grid_t4-4q",)},
        vgpu_profiles=said,
    )  # fmt: skip
    there = found.hosts[f"host-1@{THERE}"]
    assert [card.vms for card in there.gpus or ()] == [("u7",)]
    assert there.environment == f"envbrowser-1@{THERE}"
    assert found.vgpus == {"u7": ("grid_t4-4q",)}
    assert found.vgpu_profiles == {there.moid: said["host-1"]}
    assert found.hosts["host-1"].gpus is None, "nothing was read of that host"


@pytest.mark.parametrize(
    ("near", "far", "ids", "twins"),
    [
        # in flight: the shell there is left out
        ({"moving_task": "task-1"}, {"power": Power.OFF}, {"u1": "host-1"}, set()),
        # on the way home: the shell here is
        ({"power": Power.OFF}, {"moving_task": "task-1"}, {"u1": f"host-1@{THERE}"}, set()),
        # a shell that was left behind
        ({}, {"power": Power.OFF}, {"u1": "host-1", f"vm-1@{THERE}": f"host-1@{THERE}"}, {"u1", f"vm-1@{THERE}"}),
        ({"power": Power.OFF}, {}, {"vm-1": "host-1", "u1": f"host-1@{THERE}"}, {"vm-1", "u1"}),
        # both run: nobody knows which one is meant
        ({}, {}, {"u1": "host-1", f"vm-1@{THERE}": f"host-1@{THERE}"}, {"u1", f"vm-1@{THERE}"}),
    ],
)
def test_a_vm_that_both_vcenters_show(
    near: dict[str, Any], far: dict[str, Any], ids: dict[str, str], twins: set[str]
) -> None:
    found = world([machine(1, **near)], [machine(1, **far)])
    assert {m: v.host for m, v in found.vms.items()} == ids
    assert {m for m, v in found.vms.items() if v.twin} == twins


@pytest.mark.parametrize("uuid", ["", "same"])
def test_a_vm_without_an_instance_uuid_of_its_own_has_its_moid(uuid: str) -> None:
    found = world([], [machine(1, instance_uuid=uuid), machine(2, instance_uuid=uuid)])
    assert set(found.vms) == {f"vm-1@{THERE}", f"vm-2@{THERE}"}


HOME = Home(
    "vm-9",
    "host-1",
    "esx-1",
    f"host-1@{THERE}",
    "cloud-1",
    "run-1",
    "2026-01-31T09:00:00.000Z",
    "host-1",
    files=(HomeFile(0, "ds", "vsan", f"ds@{THERE}"),),
    place=InventoryPlace("", "pool-1", "", "folder-1", "", (Plug(4000, "net"),)),
    home_vcenter="near",
    target_vcenter="far",
)


def test_a_home_over_two_vcenters_is_the_same_from_both_sides() -> None:
    whole = of_vcenter(HOME, HERE)
    text = encode_home(whole)
    assert text.count(HERE) == text.count(THERE) == 1
    read = decode_home("vm-9", text)
    assert read == whole
    assert read is not None
    assert seen_from(read, HERE) == HOME
    mirrored = seen_from(read, THERE)
    assert (mirrored.host, mirrored.target) == (f"host-1@{HERE}", "host-1")
    assert mirrored.files[0].target == "ds"
    assert (read.home_vcenter, read.target_vcenter) == ("near", "far")


def test_a_home_in_one_vcenter_is_written_as_before() -> None:
    plain = replace(HOME, target="host-2", files=(), home_vcenter="", target_vcenter="")
    assert not spans_vcenters(plain)
    assert '"v"' not in encode_home(plain)
    assert decode_home("vm-9", encode_home(plain)) == plain


@pytest.mark.parametrize("value", ['"x"', "[]", "[1]", '["a","b"]', "7", "null", "{}"])
def test_whatever_the_attribute_says_of_vcenters_is_a_home_or_nothing(value: str) -> None:
    text = f'{{"h":"host-1@7","n":"n","t":"host-2@1","tn":"t","s":"s@","r":"r","at":"a","v":{value}}}'
    home = decode_home("vm-1", text)
    assert home is None or isinstance(home.host, str)


def test_an_estate_knows_the_objects_of_its_vcenters_only() -> None:
    both = world([], [])
    assert knows(both, "host-77")
    assert knows(both, f"host-77@{THERE}")
    assert not knows(both, "host-77@3333cccc")
    assert not knows(replace(both, second=None), f"host-77@{THERE}")
