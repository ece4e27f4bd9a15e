# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One estate over two vCenters: ids that name the vCenter of an object. Pure.

A MoID is unique within its vCenter only. Objects of the first vCenter keep their MoIDs; those of the second one get its instance
UUID, ``host-12@6d7c5f8e-...``. A VM that moves to another vCenter gets a new MoID there, and keeps its instance UUID. So VMs of such
an estate have their instance UUIDs as ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .estate import Estate, HostState, Power, VmState

SIGN = "@"


def qualified(moid: str, vcenter: str) -> str:
    """The id of an object of that vCenter (instance UUID). An empty MoID stays empty, and an id with a vCenter stays as it is."""
    return moid if not moid or not vcenter or SIGN in moid else f"{moid}{SIGN}{vcenter}"


def moid_of(identifier: str) -> str:
    """The MoID in an id."""
    return identifier.partition(SIGN)[0]


def vcenter_of(identifier: str) -> str:
    """The instance UUID of the vCenter in an id, "" for the first vCenter."""
    return identifier.partition(SIGN)[2]


def relative(identifier: str, vcenter: str) -> str:
    """The id as it is in an estate whose first vCenter has that instance UUID."""
    return moid_of(identifier) if vcenter and vcenter_of(identifier) == vcenter else identifier


def crosses(one: str, other: str) -> bool:
    """Whether two ids are of objects in different vCenters."""
    return vcenter_of(one) != vcenter_of(other)


def knows(estate: Estate, identifier: str) -> bool:
    """Whether an object with this id would be in the estate if it exists."""
    second = estate.second.instance_uuid if estate.second is not None else ""
    return vcenter_of(identifier) in ("", second)


@dataclass(frozen=True, slots=True)
class Names:
    """The ids of the objects of one vCenter by their MoIDs. ``vcenter`` is "" for the first one, else its instance UUID.

    ``vms`` are the ids of VMs; those that are not in it are left out of the estate.
    """

    vcenter: str
    vms: Mapping[str, str]

    def of(self, moid: str) -> str:
        """The id of an object that is not a VM."""
        return qualified(moid, self.vcenter)

    def all(self, moids: Iterable[str]) -> frozenset[str]:
        """The ids of such objects."""
        return frozenset(map(self.of, moids))

    def vm(self, moid: str) -> str:
        """The id of a VM."""
        return self.vms.get(moid) or self.of(moid)

    def all_vms(self, moids: Iterable[str]) -> frozenset[str]:
        """The ids of VMs."""
        return frozenset(map(self.vm, moids))

    def state(self, vm: VmState) -> VmState:
        """The VM with ids instead of MoIDs."""
        return replace(
            vm,
            moid=self.vm(vm.moid),
            host=self.of(vm.host),
            pool=self.of(vm.pool),
            folder_moid=self.of(vm.folder_moid),
            datastores=self.all(vm.datastores),
            networks=self.all(vm.networks),
            unplugged_networks=self.all(vm.unplugged_networks),
            moving_task=None if vm.moving_task is None else self.of(vm.moving_task),
            adapters=tuple(replace(adapter, network=self.of(adapter.network)) for adapter in vm.adapters),
            parts=tuple(replace(part, datastore=self.of(part.datastore)) for part in vm.parts),
        )

    def estate(self, estate: Estate) -> Estate:
        """The estate of this vCenter with ids instead of MoIDs."""
        rules = [replace(rule, vms=self.all_vms(rule.vms)) for rule in estate.vm_host_rules]
        return replace(
            estate,
            hosts={self.of(m): self._host(host, estate) for m, host in estate.hosts.items()},
            vms={self.vms[m]: self.state(vm) for m, vm in estate.vms.items() if m in self.vms},
            datastores={
                self.of(m): replace(d, moid=self.of(m), hosts=self.all(d.hosts), read_only=self.all(d.read_only))
                for m, d in estate.datastores.items()
            },
            networks={self.of(m): replace(network, moid=self.of(m)) for m, network in estate.networks.items()},
            pools={
                self.of(m): replace(p, moid=self.of(m), cluster=self.of(p.cluster)) for m, p in estate.pools.items()
            },
            folders={
                self.of(m): replace(f, moid=self.of(m), datacenter=self.of(f.datacenter))
                for m, f in estate.folders.items()
            },
            anti_affinity=tuple(replace(rule, vms=self.all_vms(rule.vms)) for rule in estate.anti_affinity),
            affinity=tuple(replace(rule, vms=self.all_vms(rule.vms)) for rule in estate.affinity),
            vm_host_rules=tuple(replace(rule, hosts=self.all(rule.hosts)) for rule in rules),
            unreadable={(self.vm(m) if m in estate.vms else self.of(m)): p for m, p in estate.unreadable.items()},
            drs={
                self.of(m): replace(
                    drs,
                    overrides=None
                    if drs.overrides is None
                    else {self.vm(vm): override for vm, override in drs.overrides.items()},
                )
                for m, drs in estate.drs.items()
            },
            vgpus={self.vm(m): profiles for m, profiles in estate.vgpus.items()},
            vgpu_profiles={self.of(m): profiles for m, profiles in estate.vgpu_profiles.items()},
            admission={self.of(m): control for m, control in estate.admission.items()},
        )

    def _host(self, host: HostState, estate: Estate) -> HostState:
        return replace(
            host,
            moid=self.of(host.moid),
            cluster=self.of(host.cluster),
            datacenter_moid=self.of(host.datacenter_moid),
            datastores=self.all(host.datastores),
            networks=self.all(host.networks),
            maintenance_task=None if host.maintenance_task is None else self.of(host.maintenance_task),
            vcenter=estate.vcenter.address,
            environment=self.of(host.environment),
            gpus=None
            if host.gpus is None
            else tuple(replace(gpu, vms=tuple(sorted(self.all_vms(gpu.vms)))) for gpu in host.gpus),
        )


def joined(first: Estate, second: Estate) -> tuple[Estate, Names, Names]:
    """One estate of two, and the names of the objects of each."""
    here, there = _vm_names(first, second)
    one, two = here.estate(first), there.estate(second)
    twins = _twins(first, second)
    addresses = {vm.moid: second.vcenter.address for vm in one.vms.values() if vm.instance_uuid in twins}
    addresses |= {vm.moid: first.vcenter.address for vm in two.vms.values() if vm.instance_uuid in twins}
    vms = {m: replace(vm, twin=addresses.get(m, "")) for m, vm in {**one.vms, **two.vms}.items()}
    estate = replace(
        one,
        hosts={**one.hosts, **two.hosts},
        vms=vms,
        datastores={**one.datastores, **two.datastores},
        networks={**one.networks, **two.networks},
        pools={**one.pools, **two.pools},
        folders={**one.folders, **two.folders},
        anti_affinity=(*one.anti_affinity, *two.anti_affinity),
        affinity=(*one.affinity, *two.affinity),
        vm_host_rules=(*one.vm_host_rules, *two.vm_host_rules),
        unreadable={**one.unreadable, **two.unreadable},
        drs={**one.drs, **two.drs},
        vgpus={**one.vgpus, **two.vgpus},
        vgpu_profiles={**one.vgpu_profiles, **two.vgpu_profiles},
        admission={**one.admission, **two.admission},
        second=second.vcenter,
    )
    return estate, here, there


def part_of(estate: Estate, *, second: bool) -> Estate:
    """The estate with the hosts and datastores of one of its vCenters alone, for looking up names."""
    if estate.second is None:
        return estate

    def fits(identifier: str) -> bool:
        return bool(vcenter_of(identifier)) is second

    return replace(
        estate,
        hosts={m: host for m, host in estate.hosts.items() if fits(m)},
        datastores={m: datastore for m, datastore in estate.datastores.items() if fits(m)},
    )


def _by_uuid(estate: Estate) -> dict[str, VmState]:
    """The VMs of one vCenter whose instance UUID no other one there has."""
    known = Counter(vm.instance_uuid for vm in estate.vms.values())
    return {vm.instance_uuid: vm for vm in estate.vms.values() if vm.instance_uuid and known[vm.instance_uuid] == 1}


def _in_flight(one: VmState, other: VmState) -> tuple[VmState, VmState] | None:
    """The VM and its shell, while a task moves it between the vCenters: only the VM runs and has the task."""
    found = [vm for vm in (one, other) if vm.power is Power.ON]
    if len(found) != 1 or found[0].moving_task is None:
        return None
    return (one, other) if found[0] is one else (other, one)


def _twins(first: Estate, second: Estate) -> frozenset[str]:
    """The instance UUIDs that VMs of both vCenters have, although none of them moves."""
    here, there = _by_uuid(first), _by_uuid(second)
    return frozenset(uuid for uuid in here.keys() & there.keys() if _in_flight(here[uuid], there[uuid]) is None)


def _vm_names(first: Estate, second: Estate) -> tuple[Names, Names]:
    """Each instance UUID names one VM: of two that have it, the one that runs, else the one in the first vCenter.

    The shell of a VM in flight gets no name.
    """
    here, there = _by_uuid(first), _by_uuid(second)
    other = second.vcenter.instance_uuid
    one = {m: m for m in first.vms} | {vm.moid: uuid for uuid, vm in here.items()}
    two = {m: qualified(m, other) for m in second.vms} | {vm.moid: uuid for uuid, vm in there.items()}
    for uuid in here.keys() & there.keys():
        near, far = here[uuid], there[uuid]
        flight = _in_flight(near, far)
        if flight is not None:
            del (two if flight[1] is far else one)[flight[1].moid]
        elif far.power is Power.ON and near.power is not Power.ON:
            one[near.moid] = near.moid
        else:
            two[far.moid] = qualified(far.moid, other)
    return Names("", one), Names(other, two)
