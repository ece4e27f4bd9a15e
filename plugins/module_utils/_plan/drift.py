# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drift: what has changed since a plan was made or approved. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from .._vsphere.estate import IDLE, Connection, Estate, HostState, Maintenance, Power, VmState, has_unknown_place
from .blockers import BLOCKERS, vm_reasons
from .codec import target_text
from .drs import drs_departures, drs_drift
from .homes import stray_text
from .model import Move, Plan, Refusal
from .selection import may_be_on
from .storage import left_datastores

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: the name of the VM or cluster, and what is different now (a clause such as ``vCenter does not show the VM any more``)."""

    vm_name: str
    what: str


def revalidate(
    plan: Plan,
    estate: Estate,
    stall_budget: float | None = None,
    *,
    records_homes: bool = False,
    leaving: str | None = None,
) -> tuple[Drift, ...]:
    """The moves of the plan that are no longer possible, that take a longer stun than the budget, or that DRS would now do itself.

    With ``records_homes`` also those of VMs whose home attribute got a text that is not a home, and VMs that were powered on, also
    on the host ``leaving`` (a MoID) that is evacuated. A VM that is on its target already, or that the plan's own task is moving
    there, has not drifted.
    """
    moves = (Drift(move.vm_name, what) for move in plan.moves if (what := _drift(move, estate, stall_budget)))
    overwritten = [
        Drift(move.vm_name, f"home_unreadable ({text})")
        for move in plan.moves
        if records_homes and (vm := estate.vms.get(move.vm)) is not None
        if vm.host == move.source and (text := stray_text(vm))
    ]
    now = {moid: (vm.host, vm.power) for moid, vm in estate.vms.items()}
    return (
        *moves,
        *overwritten,
        *(started(plan, now, leaving) if records_homes else ()),
        *(Drift(vm, what) for vm, what in drs_drift(plan, estate)),
    )


def left_as_powered_off(plan: Plan) -> tuple[Refusal, ...]:
    """The VMs that do not move because they are powered off."""
    return tuple(each for each in plan.refusals if any(reason.check == "not_powered_on" for reason in each.reasons))


def started(
    plan: Plan, now: Mapping[str, tuple[str | None, Power | None]], leaving: str | None = None
) -> tuple[Drift, ...]:
    """The VMs that the plan leaves on their host as powered off, and that run there now; ``now`` is host and power by VM (MoIDs).

    They would have to leave, too: DRS would move them, and nobody would know their homes. ``leaving`` is the host (MoID) that is
    evacuated, also if no VM could move when the plan was made.
    """
    sources = {leaving, *(move.source for move in plan.moves)} - {None}
    return tuple(
        Drift(each.vm_name, "the VM is powered on now")
        for each in left_as_powered_off(plan)
        if now.get(each.vm, (None, None))[1] is Power.ON and now[each.vm][0] in sources
    )


def arrived(plan: Plan, estate: Estate, host: str) -> tuple[VmState, ...]:
    """The VMs that run on a host (MoID), or may do so, and that its plan does not have, sorted by name.

    They came since the plan was made. Once the host is fenced, DRS moves them, and nobody watches them. VMs that vCenter creates and
    removes by itself, such as those of vSphere Cluster Services, are not meant.
    """
    known = {move.vm for move in plan.moves} | {refusal.vm for refusal in plan.refusals}
    found = (
        vm
        for vm in estate.vms.values()
        if vm.moid not in known and vm.power not in IDLE and may_be_on(estate, vm, host)
        if all(BLOCKERS[reason.check].prevents_maintenance for reason in vm_reasons(estate, vm))
    )
    return tuple(sorted(found, key=lambda vm: (vm.name, vm.moid)))


def arrivals(plan: Plan, estate: Estate, host: str) -> tuple[Drift, ...]:
    """The same as differences from the plan."""
    return tuple(
        Drift(vm.name, f"the VM {_being(vm, estate, host)}, and the plan does not have it")
        for vm in arrived(plan, estate, host)
    )


def _being(vm: VmState, estate: Estate, host: str) -> str:
    known = vm.power is Power.ON and vm.host == host
    return f"{'runs' if known else 'may run'} on {estate.host_name(host)}"


def _drift(move: Move, estate: Estate, stall_budget: float | None) -> str:
    vm, target = estate.vms.get(move.vm), estate.hosts.get(move.target)
    if vm is None:
        return "vCenter does not show the VM any more"
    if move.has_arrived(vm.host, vm.places) or (move.task is not None and vm.moving_task == move.task):
        return ""
    if vm.host != move.source:
        return f"the VM is on {_place(vm, estate)}, not on {move.source_name}"
    if target is None:
        return f"the target {move.target_name} no longer exists"
    usable = target.connection is Connection.CONNECTED and target.maintenance is Maintenance.NORMAL
    if move.changes_host and not usable:
        return f"the target {target.name} is {target.connection}, with maintenance mode {target.maintenance}"
    blocked = vm_reasons(estate, vm, left_datastores(move.parts), stays=not move.changes_host)
    reasons = (f"{reason.check} ({reason.object})" for reason in blocked)
    found = [*reasons, *_file_drifts(move, vm, estate), *_place_drifts(move, target, estate)]
    return "; ".join([*found, *_vgpu_drifts(move, vm, target, stall_budget)])


def _vgpu_drifts(move: Move, vm: VmState, target: HostState, stall_budget: float | None) -> Iterator[str]:
    """What is different about the vGPUs of the VM. Without a budget a VM may stand still for any time."""
    if move.changes_host and sorted(vm.vgpus) != sorted(move.vgpus):
        had, has = (", ".join(sorted(vgpus)) or "none" for vgpus in (move.vgpus, vm.vgpus))
        yield f"its vGPUs are {has}, in the plan {had}"
    for profile in sorted(set(move.vgpus) - target.vgpu_profiles):
        yield f"{target.name} does not offer the vGPU profile {profile} any more"
    if stall_budget is not None and move.predicted_stun is not None and move.predicted_stun > stall_budget:
        yield f"it may stand still for up to {ceil(move.predicted_stun)} s, and stall_budget is {stall_budget:g} s"


def _file_drifts(move: Move, vm: VmState, estate: Estate) -> Iterator[str]:
    """What is different now about the files that the move would move."""
    if move.parts and vm.places.keys() != move.sources.keys():
        yield "it has other disks now"
    arriving = Counter[str]()
    for part in move.parts:
        place = vm.places.get(part.key, part.source)
        if place not in (part.source, part.target):
            yield f"{part.label} is on another datastore than {part.source_name}"
        if part.moves and place != part.target:
            arriving[part.target] += part.size
    names = {part.target: part.target_name for part in move.parts}
    for moid, size in arriving.items():
        known, name = estate.datastores.get(moid), names[moid]
        if known is None or move.target not in known.hosts or not known.in_service:
            yield f"{move.target_name} cannot put files on the datastore {name}"
        elif known.free_bytes is not None and known.free_bytes < size:
            yield f"the datastore {name} has only {known.free_bytes // GIB} GiB free"


def _place_drifts(move: Move, target: HostState, estate: Estate) -> Iterator[str]:
    """What is gone of the place to which the move leads. Without a place, VM and target must be in one cluster."""
    place = move.place_after
    if place is None:
        source = estate.hosts.get(move.source)
        if source is not None and source.cluster != target.cluster:
            yield f"{target.name} is now in another cluster than {source.name}"
        return
    pool = estate.pools.get(place.pool)
    if pool is None or pool.cluster != target.cluster:
        yield f"the cluster of {target.name} has no resource pool {place.pool_name} any more"
    if place.folder and place.folder not in estate.folders:
        yield f"the folder {place.folder_name} no longer exists"
    for plug in place.plugs:
        if plug.network not in target.networks:
            yield f"{target.name} has no network {plug.network_name} any more"


def deviations_from_approved(
    approved: Plan, now: Plan, estate: Estate, hosts: Collection[str] = ()
) -> tuple[Drift, ...]:
    """Every difference between the plan made ``now`` and an approved one.

    These are not deviations: a move that is done already, so that a killed run can be resumed; and a move that touches
    none of ``hosts`` (MoIDs; none means all), because the plan of a fault domain serves for each of its hosts.
    """
    approved_moves = {move.vm: move for move in approved.moves}
    approved_stays = {refusal.vm for refusal in approved.refusals}
    planned = {move.vm for move in now.moves}
    found = [Drift(m.vm_name, what) for m in now.moves if (what := _other_target(m, approved_moves.get(m.vm)))]
    found += [
        Drift(move.vm_name, what)
        for move in approved.moves
        if move.vm not in planned
        and (not hosts or move.source in hosts or move.target in hosts)
        and (what := _not_done(move, now, estate))
    ]
    found += [
        Drift(refusal.vm_name, f"it cannot move ({_checks(refusal)}), which was not approved")
        for refusal in now.refusals
        if refusal.blocking and refusal.vm not in approved_stays and refusal.vm not in approved_moves
    ]
    found += [Drift(cluster, what) for cluster, what in drs_departures(approved.drs, now.drs)]
    return tuple(sorted(found, key=lambda drift: drift.vm_name))


def _other_target(move: Move, approved: Move | None) -> str:
    if approved is None:
        return f"it would move to {move.target_name}, which was not approved"
    leads_elsewhere = approved.target != move.target or approved.place_after != move.place_after
    if leads_elsewhere or approved.targets != move.targets or approved.policies != move.policies:
        return f"it would move to {target_text(move)}; approved is {target_text(approved)}"
    return ""


def _not_done(move: Move, now: Plan, estate: Estate) -> str:
    vm = estate.vms.get(move.vm)
    if vm is None:
        return "vCenter does not show the VM any more"
    if move.has_arrived(vm.host, vm.places):
        return ""
    refusal = next((refusal for refusal in now.refusals if refusal.vm == move.vm), None)
    if refusal is not None:
        return f"it cannot move to {move.target_name} any more ({_checks(refusal)})"
    if vm.host == move.source:
        return f"its move to {move.target_name} is no longer in the plan"
    return f"it is on {_place(vm, estate)}, not on {move.source_name}"


def _place(vm: VmState, estate: Estate) -> str:
    """The name of the host where the VM is, for the sentence that it is not where it should be."""
    if not vm.host:
        return "a host that vCenter does not show" if has_unknown_place(estate, vm) else "no host"
    return estate.host_name(vm.host)


def _checks(refusal: Refusal) -> str:
    return ", ".join(sorted({reason.check for reason in refusal.reasons}))
