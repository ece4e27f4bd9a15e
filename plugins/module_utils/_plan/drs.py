# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DRS: whether it moves the planned VMs by itself, and how their moves are guarded against that. Pure.

DRS that is fully automated for a VM evacuates it as soon as its host is fenced, to a host of its choice and without a watch. At any
other time it may move the VM to balance the load.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from .._core.wording import plural
from .._vsphere.estate import EDIT_CLUSTER, Automation, Drs, Estate, HostState
from .model import DrsDecision, DrsHandling, DrsOption, Move, Plan, PlanRequest

# What is done without a pin in an evacuation, and else; and the end of the sentence that says so.
_UNPINNED = {
    True: (DrsHandling.FENCE_LAST, "so they leave before the host is fenced"),
    False: (DrsHandling.ALLOW, "so it may move them before their turn"),
}


def decisions(
    estate: Estate, request: PlanRequest, moves: Iterable[Move], unsafe: Container[str] = ()
) -> tuple[DrsDecision, ...]:
    """One decision for each cluster of the evacuated hosts, and for each other one that may move a VM by itself, sorted by MoID.

    In the clusters (MoIDs) in ``unsafe`` DRS does not empty a host, because HA would keep too little free.
    """
    evacuated = {estate.hosts[moid].cluster for moid in request.evacuated if moid in estate.hosts}
    clusters = {host.cluster: host for moid in request.evacuated if (host := estate.hosts.get(moid))}
    leaving: dict[str, list[str]] = {cluster: [] for cluster in clusters}
    for move in moves:
        if (source := estate.hosts.get(move.source)) is not None:
            clusters.setdefault(source.cluster, source)
            leaving.setdefault(source.cluster, []).append(move.vm)
    found = (
        _decision(
            estate, clusters[moid], leaving[moid], request, evacuated=moid in evacuated, empties=moid not in unsafe
        )
        for moid in sorted(clusters)
    )
    return tuple(each for each in found if each.cluster in evacuated or each.how is not DrsHandling.IGNORE)


def _decision(
    estate: Estate, host: HostState, vms: Sequence[str], request: PlanRequest, *, evacuated: bool, empties: bool
) -> DrsDecision:
    """How DRS of the host's cluster is handled while VMs (MoIDs) move; ``empties``: whether it empties a host that is fenced."""
    drs = estate.drs_of(host)
    levels = {vm: drs.of(estate.vms[vm]) for vm in sorted(vms)}
    automated = tuple(vm for vm, level in levels.items() if level is Automation.FULL)
    how, why = DrsHandling.IGNORE, list[str]()
    if Automation.UNKNOWN in levels.values():
        how, why = _UNPINNED[evacuated][0], [_unknown(host, _UNPINNED[evacuated][1])]
    elif automated:
        may_edit = host.cluster in request.editable_clusters
        how, reason = _handling(drs, request.drs, may_edit=may_edit, evacuated=evacuated, empties=empties)
        why = [f"DRS of cluster {host.cluster_name} is fully automated for {len(automated)} of {len(vms)} VMs{reason}."]
    with_vgpus = [vm for vm, level in levels.items() if level is not drs.level_of(vm)]
    if with_vgpus:
        why.append(_with_vgpus(host, len(with_vgpus)))
    pinned = automated if how is DrsHandling.PIN else ()
    not_moved = tuple(vm for vm in levels if vm not in automated) if how is DrsHandling.FOLLOW else ()
    return DrsDecision(host.cluster, host.cluster_name, drs.automation, how, pinned, " ".join(why), not_moved)


def _handling(
    drs: Drs, option: DrsOption, *, may_edit: bool, evacuated: bool, empties: bool
) -> tuple[DrsHandling, str]:
    """What is done about VMs that DRS moves by itself, and the rest of the sentence that says so."""
    unpinned, so = _UNPINNED[evacuated]
    if option is DrsOption.FOLLOW and evacuated and not empties:
        return unpinned, f", but does not empty a host now, {so}"
    if option is DrsOption.FOLLOW and evacuated:
        return DrsHandling.FOLLOW, ". It chooses their targets and moves them"
    if option is DrsOption.FOLLOW:
        return unpinned, f", {so}"
    if drs.overrides_allowed is None:
        return unpinned, f", and it could not be read whether the cluster allows overrides, {so}"
    if not drs.overrides_allowed:
        return unpinned, f", and the cluster does not allow overrides, {so}"
    if not may_edit:
        return unpinned, f", and you may not edit the cluster ({EDIT_CLUSTER}), {so}"
    return DrsHandling.PIN, ". They are excluded from DRS while they move"


def _with_vgpus(host: HostState, number: int) -> str:
    return (
        f"DRS of cluster {host.cluster_name} does not move {plural(number, 'VM')} with a vGPU by itself (Broadcom KB 313479); this run "
        f"does."
    )


def _unknown(host: HostState, so: str) -> str:
    return (
        f"It could not be read whether DRS of cluster {host.cluster_name} moves these VMs by itself, {so}. "
        "Grant the user System.Read on the cluster."
    )


def pinnable_clusters(estate: Estate, request: PlanRequest) -> frozenset[str]:
    """The clusters (MoIDs) in which DRS moves a requested VM by itself, and in which an override could prevent that.

    Only for these it matters whether the user may edit the cluster.
    """
    sources = [(vm, estate.hosts[vm.host]) for moid in request.vms if (vm := estate.vms[moid]).host in estate.hosts]
    return frozenset(
        source.cluster
        for vm, source in sources
        if request.drs is DrsOption.AUTO
        and estate.drs_of(source).overrides_allowed
        and estate.drs_of(source).of(vm) is Automation.FULL
    )


def drs_departures(approved: Iterable[DrsDecision], now: Iterable[DrsDecision]) -> Iterator[tuple[str, str]]:
    """The clusters (names) that are not handled as approved, and how they differ.

    Less than what was approved is not a departure: a run that is resumed finds VMs that it has pinned already.
    """
    known = {decision.cluster: decision for decision in approved}
    for decision in now:
        agreed = known.get(decision.cluster)
        agreed_how = agreed.how if agreed else DrsHandling.IGNORE
        if decision.how is DrsHandling.IGNORE:
            continue
        if decision.how is not agreed_how:
            yield decision.cluster_name, f"DRS would be handled by {decision.how}; approved is {agreed_how}"
        elif agreed and (more := sorted(set(decision.pinned) - set(agreed.pinned))):
            yield decision.cluster_name, f"{', '.join(more)} would be excluded from DRS, which was not approved"


def drs_drift(plan: Plan, estate: Estate) -> Iterator[tuple[str, str]]:
    """The VMs (names) against whose moves by DRS the plan does not guard, although it now may move them; and what has changed."""
    known = {decision.cluster: decision for decision in plan.drs}
    for move in plan.moves:
        vm, source = estate.vms.get(move.vm), estate.hosts.get(move.source)
        decision = known.get(source.cluster) if source else None
        if vm is None or source is None or decision is None or vm.host != move.source:
            continue
        guarded = move.vm in decision.pinned or decision.how not in (DrsHandling.IGNORE, DrsHandling.PIN)
        found = estate.drs_of(source).of(vm)
        if not guarded and found is Automation.FULL:
            yield move.vm_name, f"DRS of cluster {source.cluster_name} now moves the VM by itself"
        if not guarded and found is Automation.UNKNOWN:
            yield move.vm_name, f"it can no longer be read whether DRS of cluster {source.cluster_name} moves the VM"
