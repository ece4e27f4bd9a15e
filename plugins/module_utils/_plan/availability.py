# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HA: what its admission control lacks while hosts are out of service. Pure.

DRS then does not empty a host that enters maintenance mode, and vCenter may refuse to power on VMs of the cluster. vMotions by
others are permitted (vSphere Availability, "Using vSphere HA and DRS Together").

The overhead of VMs, which HA adds to their reserved memory, is not read. So what is left is at most what is computed here, and only a
violation is certain.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import floor

from .._core.wording import plural
from .._vsphere.estate import AdmissionControl, Connection, Estate, HostState, Maintenance, Power, VmState

DEFAULT_MHZ = 32  # of a VM without a reservation (das.vmCpuMinMHz)


@dataclass(frozen=True, slots=True)
class _Resources:
    """What a host has or a VM has reserved: MHz and bytes."""

    cpu: int
    memory: int


def violations(estate: Estate, evacuated: Collection[str]) -> dict[str, str]:
    """What HA does not keep free without the evacuated hosts (MoIDs): one sentence for each cluster (MoID) of which that is certain."""
    found = dict[str, str]()
    for moid in sorted({estate.hosts[host].cluster for host in evacuated if host in estate.hosts}):
        gone = [host for host in estate.hosts.values() if host.cluster == moid and host.moid in evacuated]
        if lacking := _lacking(estate, moid, evacuated):
            without = ", ".join(sorted(host.name for host in gone))
            found[moid] = (
                f"Without {without}, HA's admission control of cluster {gone[0].cluster_name} is violated: {lacking}. Meanwhile "
                "vCenter may refuse to power on VMs there, and DRS does not empty a host."
            )
    return found


def _lacking(estate: Estate, cluster: str, evacuated: Collection[str]) -> str:
    """What HA lacks in a cluster, "" if nothing is known to lack."""
    control = estate.admission.get(cluster, AdmissionControl())
    hosts = [
        _Resources(host.cpu_mhz, host.memory_bytes)
        for host in estate.hosts.values()
        if host.cluster == cluster and host.moid not in evacuated and _counts(host)
    ]
    members = {host.moid for host in estate.hosts.values() if host.cluster == cluster}
    vms = [_reserved(vm) for vm in estate.vms.values() if vm.host in members and vm.power is Power.ON]
    if control.slot_hosts:
        return _lacking_slots(control.slot_hosts, hosts, vms)
    share = 100 * control.hosts / len(hosts) if hosts and control.hosts else 0.0
    for kind, percent in (("cpu", control.cpu_percent), ("memory", control.memory_percent)):
        wanted = share or percent
        left = _left(sum(getattr(each, kind) for each in hosts), sum(getattr(each, kind) for each in vms))
        if left < wanted:
            word = "processor" if kind == "cpu" else "memory"
            return f"at most {_figure(left)} % of {word} is left, and {_figure(wanted)} % must stay free"
    return ""


def _counts(host: HostState) -> bool:
    in_service = host.maintenance is Maintenance.NORMAL and host.connection is Connection.CONNECTED
    return in_service and not host.standby and not host.failover


def _reserved(vm: VmState) -> _Resources:
    return _Resources(vm.cpu_reservation_mhz or DEFAULT_MHZ, vm.memory_reservation_bytes)


def _left(have: int, needed: int) -> float:
    """The share that is not reserved, in percent."""
    return 100 * (have - needed) / have if have else 0.0


def _figure(percent: float) -> str:
    return f"{max(0, floor(10 * percent) / 10):g}"


def _lacking_slots(failures: int, hosts: Sequence[_Resources], vms: Sequence[_Resources]) -> str:
    """HA counts slots, each with room for any of the VMs, on the hosts that are left if the largest ones fail."""
    slot = _Resources(max((DEFAULT_MHZ, *(vm.cpu for vm in vms))), max((0, *(vm.memory for vm in vms))))
    slots = sorted(
        min(host.cpu // slot.cpu, host.memory // slot.memory if slot.memory else host.cpu // slot.cpu) for host in hosts
    )
    left = sum(slots[: max(0, len(slots) - failures)])
    if left >= len(vms) and len(hosts) > failures:
        return ""
    return f"after the failure of {plural(failures, 'host')} there are at most {plural(left, 'slot')} for {plural(len(vms), 'VM')}"
