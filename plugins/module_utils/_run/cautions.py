# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cautions: what journals and homes leave unknown that a plan cannot decide, and that its notes say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from .._core.wording import HA
from .._plan.homes import DRS, Placement, placements, recorded_home, without_home_host
from .._vsphere.estate import Estate, HostState, VmState
from .._vsphere.home_attribute import Home
from .events import MovePlanned, Pin
from .state import RunState
from .store import StoredRun, pins_left


def lost_homes(
    estate: Estate, hosts: Sequence[HostState], homes: Mapping[str, Home], mover: Callable[[str, str], str]
) -> list[Placement]:
    """VMs in the clusters of these hosts whose home is a host that vCenter no longer has. It may be one of these, by another name.

    ``homes`` are those of the journals. ``mover`` is asked only about VMs with such a home: it costs a call for each.
    """
    clusters = sorted({host.cluster for host in hosts})
    supposed = placements(estate, homes, None, lambda _vm, _host: DRS)
    candidates = {each.vm for cluster in clusters for each in without_home_host(estate, supposed, cluster)}
    if not candidates:
        return []
    few = replace(estate, vms={moid: vm for moid, vm in estate.vms.items() if moid in candidates})
    own = {moid: home for moid, home in homes.items() if moid in candidates or moid not in estate.vms}
    known = placements(few, own, None, mover)
    return [each for cluster in clusters for each in without_home_host(few, known, cluster)]


def homes_in_domain(lost: Iterable[Placement], domain: str, runs: Iterable[StoredRun]) -> list[Placement]:
    """Those VMs of which no journal says that their lost home was in another fault domain. ``runs`` are those of the vCenter."""
    known = {
        event.source.moid: event.source.fault_domain
        for run in runs
        for entry in run.entries
        if isinstance(event := entry.event, MovePlanned) and event.source.fault_domain
    }
    return [each for each in lost if known.get(each.home.host, domain) == domain]


def told_homes(lost: Iterable[Placement]) -> str:
    """These VMs, each with its home."""
    return ", ".join(f"{p.vm_name} ({p.home.host_name}, {p.home.host})" for p in lost)


def lost_home_notes(hosts: Sequence[HostState], lost: Sequence[Placement]) -> Iterator[str]:
    """What a restore does not bring home, because it is not known whether it belongs there."""
    if lost:
        names = " or ".join(host.name for host in hosts)
        yield (
            f"The homes of these VMs are hosts that vCenter no longer has: {told_homes(lost)}. They stay where they are. If one of these "
            f"hosts is now {names}, move its VMs with liveml.vsphere.migrate_vm."
        )


def given_up_home_notes(
    estate: Estate,
    hosts: Sequence[HostState],
    vms: Iterable[str],
    homes: Mapping[str, Home],
    mover: Callable[[str, str], str],
) -> Iterator[str]:
    """VMs on evacuated hosts whose earlier home is given up although nobody knows whether a person moved them away from there."""
    evacuated = {host.moid for host in hosts}
    for vm in (estate.vms[moid] for moid in vms if estate.vms[moid].host in evacuated):
        home = recorded_home(estate, vm, homes)
        if home is None or vm.host in (*home.places, home.host) or mover(vm.moid, vm.host):
            continue
        place = estate.host_name(vm.host)
        yield (
            f"{vm.name} had its home on {home.host_name}. vCenter does not say who moved it to {place} after its evacuation to "
            f"{home.target_name}, so its home is now {place}: a restore of {home.host_name} does not bring it back any more."
        )


def taken_vm_notes(
    estate: Estate,
    hosts: Sequence[HostState],
    homes: Mapping[str, Home],
    mover: Callable[[str, str], str],
    lost: Callable[[str], Collection[str] | None],
) -> Iterator[str]:
    """VMs that HA restarted, or may have, elsewhere before their host is evacuated. A home is for what an evacuation moves, so they get none.

    ``lost``: the VMs that were on a host (MoID) when vCenter lost it, ``None`` if that is not known.
    """
    for host in hosts:
        known = lost(host.moid)
        if known is None:
            yield (
                f"It is not known whether {HA} restarted VMs of {host.name} on other hosts before this evacuation, because vCenter "
                f"does not show the events of the host. Such VMs get no home, so a restore of {host.name} does not bring them back."
            )
            continue
        vms = (estate.vms[moid] for moid in known if moid in estate.vms)
        away = [vm for vm in vms if vm.host not in ("", host.moid) and recorded_home(estate, vm, homes) is None]
        movers = {vm.moid: mover(vm.moid, vm.host) for vm in away}
        rest = (
            f"They are not part of this evacuation and get no home, so a restore of {host.name} does not bring them back; "
            "liveml.vsphere.migrate_vm does."
        )
        if gone := [vm for vm in away if movers[vm.moid] == HA]:
            yield f"{HA} restarted these VMs on other hosts, after vCenter had lost {host.name}: {_places(estate, gone)}. {rest}"
        if unknown := [vm for vm in away if not movers[vm.moid]]:
            yield (
                f"vCenter lost the connection to {host.name}, and does not say who moved or restarted these VMs on other hosts since: "
                f"{_places(estate, unknown)}. {rest}"
            )


def _places(estate: Estate, vms: Iterable[VmState]) -> str:
    """These VMs, each with the host where it is."""
    return ", ".join(f"{vm.name} ({estate.host_name(vm.host)})" for vm in sorted(vms, key=lambda vm: vm.name))


def pin_notes(runs: Iterable[RunState], estate: Estate, is_held: Callable[[str], bool]) -> Iterator[str]:
    """VMs that runs over other vCenters excluded from DRS. There they have other ids, so that no run over these gives them back.

    ``runs`` are those over a vCenter of the estate, newest first. ``is_held``: whether a process works for a key.
    """
    second = estate.second.instance_uuid if estate.second is not None else ""
    groups = dict[str, list[RunState]]()
    for run in runs:
        groups.setdefault(run.second.instance_uuid if run.second is not None else "", []).append(run)
    for other, group in groups.items():
        if other == second:
            continue
        left = dict[str, tuple[RunState, list[str]]]()
        for run, pin in pins_left(group).values():
            if not is_held(run.key) and _may_be_excluded(estate, pin):
                left.setdefault(run.run_id, (run, []))[1].append(pin.vm.name)
        for run, names in left.values():
            count, how = ("two vCenters", "with") if run.second is not None else ("one vCenter", "without")
            yield (
                f"{', '.join(sorted(names))} may still be excluded from DRS by the run {run.run_id}, which was over {count}. This call "
                f"does not give them back. Run that playbook again {how} destination_vcenter, or remove their DRS overrides in vCenter."
            )


def _may_be_excluded(estate: Estate, pin: Pin) -> bool:
    """Whether a VM is excluded from DRS, or nothing shows that it is not. Its id may be an instance UUID or a MoID."""
    known = (vm for vm in estate.vms.values() if pin.vm.moid in (vm.moid, vm.instance_uuid))
    vm = next(known, None)
    host = estate.hosts.get(vm.host) if vm is not None else None
    drs = estate.drs.get(host.cluster) if host is not None else None
    if vm is None or drs is None or drs.overrides is None:
        return True
    override = drs.overrides.get(vm.moid)
    return override is not None and override.enabled is False
