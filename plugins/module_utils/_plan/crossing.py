# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves between two vCenters: what vSphere supports, and what an operator should know before. Pure.

Limits: round trip and bandwidth from the requirements of long-distance vMotion; versions from Broadcom KB 2106952.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._vsphere.estate import (
    AffinityRule,
    AntiAffinityRule,
    Automation,
    Estate,
    Folder,
    HostState,
    Network,
    VcenterInfo,
    VmHostRule,
)
from .._vsphere.qualified import crosses, vcenter_of
from .model import Move, PlanRequest, Wan

MAX_LATENCY_MS = 150.0  # round trip
MIN_MBIT = 250.0  # for each move

Blocked = tuple[str, str]  # a failed check and the object it failed on


def vcenter_with(estate: Estate, identifier: str) -> VcenterInfo:
    """The vCenter of an object."""
    return estate.second if estate.second is not None and vcenter_of(identifier) else estate.vcenter


def crossing_blockers(estate: Estate, request: PlanRequest, source: HostState, target: HostState) -> Iterator[Blocked]:
    """The checks that fail between the vCenters of two hosts; none if it is the same vCenter."""
    if not crosses(source.moid, target.moid):
        return
    here, there = vcenter_with(estate, source.moid), vcenter_with(estate, target.moid)
    older = is_older(there.version, here.version)
    if older is None:
        yield "unreadable", f"the versions of vCenter, {here.version!r} and {there.version!r}"
    elif older:
        yield "vcenter_version", f"{there.version} of {there.address}, {here.version} of {here.address}"
    wan = request.wan
    if wan.latency_ms is not None and wan.latency_ms > MAX_LATENCY_MS:
        yield "wan_latency", f"{wan.latency_ms:g} ms"
    if wan.mbit is not None and wan.mbit < MIN_MBIT:
        yield "wan_bandwidth", f"{wan.mbit:g} Mbit/s"


def is_older(one: str, other: str) -> bool | None:
    """Whether a version (``8.0.3``) is older than another one; ``None`` if one of them is not a version."""
    try:
        first, second = (tuple(int(part) for part in version.split(".")) for version in (one, other))
    except ValueError:
        return None
    return first < second


def moves_at_a_time(wan: Wan) -> int | None:
    """How many moves between the vCenters the stated bandwidth can carry at a time; ``None`` if none is stated."""
    return None if wan.mbit is None else max(1, int(wan.mbit // MIN_MBIT))


def notes_about(estate: Estate, wan: Wan, moves: Iterable[Move]) -> Iterator[str]:
    """Sentences about a plan with moves between vCenters; none about other plans."""
    crossing = [move for move in moves if crosses(move.source, move.target)]
    if not crossing or estate.second is None:
        return
    first, second = estate.vcenter, estate.second
    leaving = any(crosses(move.source, move.target) and not vcenter_of(move.source) for move in crossing)
    if leaving and is_older(first.version, second.version):
        yield (
            f"vCenter {second.address} ({second.version}) is newer than vCenter {first.address} ({first.version}), and vSphere does "
            "not support moves to an older one: these VMs cannot come home live until that is updated."
        )
    if wan.mbit is None:
        yield (
            "The bandwidth between the vCenters is not stated (wan_mbit), so the predicted durations are those of the links of the "
            "hosts, and nothing limits the number of moves between them but the slots."
        )


def settings_left(estate: Estate, moves: Iterable[Move]) -> Iterator[str]:
    """The settings that vCenter deletes when VMs leave their cluster, because they belong to it; nothing without any."""
    told = []
    for move in moves:
        source, target = estate.hosts.get(move.source), estate.hosts.get(move.target)
        if source is None or target is None or source.cluster == target.cluster:
            continue
        rules: tuple[AffinityRule | AntiAffinityRule | VmHostRule, ...]
        rules = (*estate.anti_affinity, *estate.affinity, *estate.vm_host_rules)
        found = sorted({f"rule {rule.name}" for rule in rules if move.vm in rule.vms})
        drs = estate.drs_of(source)
        if move.vm in (drs.overrides or {}):
            found.append("DRS override")
        elif drs.overrides is None and drs.automation is not Automation.DISABLED:
            found.append("perhaps a DRS override, which vCenter does not show")
        told += [f"{move.vm_name} ({', '.join(found)})"] if found else []
    if told:
        yield (
            f"vCenter deletes settings of the cluster that these VMs leave: {', '.join(told)}. Set them again if the VMs come home."
        )


def to_enter(estate: Estate, request: PlanRequest) -> tuple[tuple[Network, ...], frozenset[str]]:
    """The networks and the folders (MoIDs) in the other vCenter that VMs of the request may enter.

    The user needs privileges on them. Without a move between vCenters there are none.
    """
    entered = {
        vcenter_of(target)
        for moid in request.vms
        if (target := request.destinations.get(moid) or request.cluster or "")
        and crosses(estate.vms[moid].host, target)
    }
    networks = (network for network in estate.networks.values() if vcenter_of(network.moid) in entered)
    folders: Iterable[Folder] = estate.folders.values()
    return tuple(networks), frozenset(folder.moid for folder in folders if vcenter_of(folder.moid) in entered)
