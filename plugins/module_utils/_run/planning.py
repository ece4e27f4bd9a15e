# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of an operator to a request for the planner."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._core.errors import Ambiguous, InvalidInput, NotFound, PlanRefused
from .._core.similar import similar_names
from .._plan.codec import plan_from_dict, plan_id_of
from .._plan.drift import deviations_from_approved
from .._plan.homes import (
    Placement,
    files_under_way,
    is_home_of,
    moves_under_way,
    nobody,
    none_of,
    placements,
    recorded_home,
)
from .._plan.model import Away, DrsOption, Plan, PlanRequest, Policy, Scope, SiteMaps, StorageRequest, Wan
from .._plan.selection import (
    find_cluster,
    find_datastores,
    find_fault_domain,
    find_host,
    select_vms,
)
from .._plan.sites import check_maps
from .._vsphere.estate import OWN_FILES, Estate, HostState
from .._vsphere.qualified import part_of
from .cautions import (
    given_up_home_notes,
    homes_in_domain,
    lost_home_notes,
    lost_homes,
    pin_notes,
    taken_vm_notes,
    told_homes,
)
from .home_records import journal_homes
from .locks import holder_of
from .model import run_key
from .state import RunState
from .store import (
    Warn,
    arrivals,
    files_in_flight,
    ignore,
    journalled_plan,
    moves_in_flight,
    refuse_unreadable,
    state_to_read,
    stored_runs,
)

CRITERIA = ("vms", "patterns", "folders", "attributes")  # which VMs are meant, besides host and fault_domain


def request_of(
    params: Mapping[str, Any],
    estate: Estate,
    hosts: tuple[HostState, ...],
    preferred: Plan | None,
    warn: Warn = ignore,
    mover: Callable[[str, str], str] = nobody,
    deleted: Callable[[Collection[str]], Collection[str]] = none_of,
    lost: Callable[[str], Collection[str] | None] = none_of,
) -> PlanRequest:
    """The request for the planner; ``mover`` and ``deleted`` as in :func:`placements`, ``lost`` as in :func:`taken_vm_notes`.

    Raises NotFound, Ambiguous, InvalidInput or JournalUnreadable.
    """
    for option in ("memory_headroom", "cpu_headroom", "storage_headroom"):
        if not 0 <= params[option] < 100:
            raise InvalidInput(f"{option} is {params[option]}", hint="Give a percentage from 0 to 99", option=option)
    maps = SiteMaps(params["pool_map"], params["folder_map"], params["network_map"])
    check_maps(estate, maps)
    cluster = _destination_cluster(params, estate)
    state = state_to_read(params["state_dir"])
    uuid = estate.vcenter.instance_uuid
    targets = part_of(estate, second=not params["use_homes"])  # without a second vCenter, all there is
    excluded = {find_host(targets, h, option="exclude_hosts").moid for h in params["exclude_hosts"]}
    every_run = [run.state for run in stored_runs(state, warn)]
    runs = [run for run in every_run if run.is_of(uuid)]
    notes = list(pin_notes(_runs_over(every_run, estate), estate, lambda key: holder_of(state, key) is not None))
    homes = journal_homes(state, uuid, runs)
    found = [
        (host.moid, placement) for host in hosts for placement in placements(estate, homes, host.moid, mover, deleted)
    ]
    if params["use_homes"]:
        for host in hosts:
            refuse_unreadable(state, run_key(uuid, host.moid), host.name)
        homeless = lost_homes(estate, hosts, homes, mover)
        # A plan that was approved, as that of a whole fault domain, was made in the knowledge of these homes.
        if homeless and preferred is None and all(placement.outcome == "unreadable" for _host, placement in found):
            _refuse_unknown_homes(hosts, homeless)
        missing = _lost_in_domain(params, estate, homeless, state)
        notes += lost_home_notes(hosts, [each for each in homeless if each not in missing])
        destinations = {
            placement.vm: host for host, placement in found if placement.outcome in ("away", "home_unhealthy", "home")
        }
        vms = tuple(destinations)
        places = {p.vm: p.home.place for _host, p in found if p.vm in destinations and p.home.place is not None}
        stays = {p.vm: Away(p.vm, p.vm_name, *p.blocker) for _host, p in found if p.blocker is not None}
        away = (*stays.values(), *(Away(p.vm, p.vm_name, *p.gone_blocker) for p in missing))
    else:
        places, away = {}, ()
        vms = selection(params, estate, hosts)
        notes += given_up_home_notes(estate, hosts, vms, homes, mover)
        notes += taken_vm_notes(estate, hosts, homes, mover, lost)
        wanted = params["destination"]
        target = find_host(targets, wanted, option="destination") if wanted is not None else None
        # Without a destination, a VM that a killed run moved to its target while nobody watched stays there.
        arrived = arrivals(runs, estate) if not hosts else {}
        destinations = dict.fromkeys(vms, target.moid) if target else {vm: arrived[vm] for vm in vms if vm in arrived}
        if params["fault_domain"]:
            excluded |= {host.moid for host in hosts}
    in_flight = moves_in_flight(runs)
    tasks = {moid: vm.moving_task for moid, vm in estate.vms.items() if vm.moving_task is not None}
    moving = moves_under_way(estate, [placement for _host, placement in found], homeward=params["use_homes"]) | {
        vm: (target, tasks[vm]) for vm, (target, task) in in_flight.items() if vm in tasks and task in (None, tasks[vm])
    }
    # What another process carries out now stays the task of that one.
    killed = moves_in_flight(run for run in runs if holder_of(state, run.key) is None)
    own = {vm for vm, (_target, task) in killed.items() if task is not None and task == tasks.get(vm)}
    return PlanRequest(
        vms=vms,
        policy=Policy(params["policy"]),
        destinations=destinations,
        cluster=cluster,
        maps=maps,
        places=places,
        wan=_wan(params),
        away=away,
        preferred={move.vm: move.target for move in preferred.moves} if preferred else {},
        excluded_targets=frozenset(excluded),
        memory_headroom=params["memory_headroom"] / 100,
        cpu_headroom=params["cpu_headroom"] / 100,
        moving=moving,
        inferred=frozenset(moving.keys() - own),
        storage=replace(
            storage_of(params, estate, preferred),
            homes={p.vm: p.home.datastores for _host, p in found if p.home.files and p.vm in destinations}
            if params["use_homes"]
            else {},
            home_policies={
                p.vm: {file.part: file.policy for file in p.home.files if file.policy}
                for _host, p in found
                if params["use_homes"]
            },
            moving={
                **files_under_way([p for _host, p in found if p.vm in moving], homeward=params["use_homes"]),
                **{vm: files for vm, files in files_in_flight(runs).items() if vm in moving},
            },
        ),
        evacuated=frozenset() if params["use_homes"] else frozenset(host.moid for host in hosts),
        drs=DrsOption(params["drs"]),
        stall_budget=params["stall_budget"],
        notes=tuple(notes),
    )


def _runs_over(runs: Iterable[RunState], estate: Estate) -> Iterator[RunState]:
    """Those of the runs that were over a vCenter of the estate, alone or with another one."""
    uuids = [vcenter.instance_uuid for vcenter in (estate.vcenter, estate.second) if vcenter is not None]
    for run in runs:
        if any(run.is_of(uuid) or (run.second is not None and run.second.instance_uuid == uuid) for uuid in uuids):
            yield run


def _destination_cluster(params: Mapping[str, Any], estate: Estate) -> str | None:
    """The MoID of the cluster to which VMs move, ``None`` for their own. Raises NotFound, Ambiguous or InvalidInput."""
    name = params["destination_cluster"]
    _refuse_with_second(params, estate)
    if name is None:
        return _only_cluster(params, estate)
    others = {
        "use_homes": params["use_homes"],  # VMs return to the cluster of their home
        "destination": params["destination"] is not None,
        "scope storage": params["scope"] == Scope.STORAGE,  # the host stays
        "drs follow": params["drs"] == DrsOption.FOLLOW,  # DRS never moves a VM out of its cluster
    }
    for other, given in others.items():
        if given:
            raise InvalidInput(
                f"destination_cluster cannot be combined with {other}",
                hint="Set only one of them",
                option="destination_cluster",
            )
    return find_cluster(part_of(estate, second=True), name, option="destination_cluster").moid


def _refuse_with_second(params: Mapping[str, Any], estate: Estate) -> None:
    """Raise InvalidInput for what cannot be combined with a move to another vCenter."""
    others = {"scope storage": params["scope"] == Scope.STORAGE, "drs follow": params["drs"] == DrsOption.FOLLOW}
    for other, given in others.items():
        if given and estate.second is not None and not params["use_homes"]:
            raise InvalidInput(
                f"destination_vcenter cannot be combined with {other}",
                hint="Set only one of them",
                option="destination_vcenter",
            )


def _only_cluster(params: Mapping[str, Any], estate: Estate) -> str | None:
    """The cluster of the second vCenter to which VMs move if none is named. Raises InvalidInput if it has several."""
    if estate.second is None or params["use_homes"] or params["destination"] is not None:
        return None
    hosts = part_of(estate, second=True).hosts.values()
    clusters = {host.cluster: host.cluster_name for host in hosts}
    if len(clusters) != 1:
        names = ", ".join(sorted(clusters.values())) or "none that this login shows"
        raise InvalidInput(
            f"The cluster in vCenter {estate.second.address} is not named",
            hint=f"Set destination_cluster to one of its clusters: {names}",
            option="destination_cluster",
        )
    return next(iter(clusters))


def _wan(params: Mapping[str, Any]) -> Wan:
    """The network between the vCenters. 0 means that it is not stated. Raises InvalidInput."""
    for option in ("wan_mbit", "wan_latency_ms"):
        if params[option] is not None and params[option] < 0:
            raise InvalidInput(f"{option} is {params[option]:g}", hint="Set it to a number above 0", option=option)
    return Wan(params["wan_mbit"] or None, params["wan_latency_ms"] or None)


def storage_of(params: Mapping[str, Any], estate: Estate, preferred: Plan | None) -> StorageRequest:
    """Where the files of VMs may go. Raises NotFound, Ambiguous or InvalidInput."""
    if params["use_homes"]:  # then homes say where the files go
        return StorageRequest(preferred=_preferred(preferred))
    scope, wanted, disks = Scope(params["scope"]), params["datastore"], params["disk_datastores"]
    if estate.second is not None and scope is Scope.COMPUTE:
        scope = Scope.BOTH  # another vCenter has other datastores
    targets = part_of(estate, second=True)
    if params["storage_policy"] is not None:
        _check_policy_option(params, estate, scope)
    if scope is Scope.COMPUTE and (wanted is not None or disks):
        raise InvalidInput(
            "datastore and disk_datastores need scope",
            hint="Set scope to storage or both, or omit datastore and disk_datastores",
            option="scope",
        )
    if scope is Scope.STORAGE:
        if wanted is None and not disks and params["storage_policy"] is None:
            raise InvalidInput(
                "scope storage needs a datastore or a storage policy",
                hint="Set datastore, disk_datastores or storage_policy",
                option="datastore",
            )
        if params["destination"] is not None:
            raise InvalidInput(
                "With scope storage the VMs keep their hosts",
                hint="Omit destination, or set scope to both",
                option="scope",
            )
    return StorageRequest(
        scope=scope,
        datastores=find_datastores(targets, wanted) if wanted is not None else frozenset(),
        disks={label: find_datastores(targets, str(name), option="disk_datastores") for label, name in disks.items()},
        preferred=_preferred(preferred),
        headroom=params["storage_headroom"] / 100,
    )


def check_disks(estate: Estate, request: PlanRequest) -> None:
    """Raise NotFound for a disk in ``disk_datastores`` that no VM of the request has: what was asked for it would not be done.

    The devices of the VMs must have been read. If vCenter does not show those of one, its disks may have any label.
    """
    vms = [estate.vms[moid] for moid in request.vms]
    if not all(vm.parts for vm in vms):
        return
    known = {part.label for vm in vms for part in vm.parts}
    for label in sorted(request.storage.disks.keys() - known):
        names = ", ".join(sorted(vm.name for vm in vms)) or "the selection"
        disks = ", ".join(sorted(part.label for vm in vms for part in vm.parts if part.key != OWN_FILES))
        similar = similar_names(label, known)
        raise NotFound(
            f"{names} does not have a disk named {label}, which disk_datastores mentions. Its disks are {disks or 'none'}",
            hint=f"{f'Did you mean {similar[0]}? ' if similar else ''}Correct disk_datastores",
            option="disk_datastores",
        )


def _check_policy_option(params: Mapping[str, Any], estate: Estate, scope: Scope) -> None:
    """Raise InvalidInput for what the storage policy cannot be combined with, and for an empty one."""
    if not params["storage_policy"]:
        wrong, hint = "storage_policy is empty", "Set storage_policy to a name, or omit it"
    elif estate.second is not None:
        wrong, hint = "storage_policy cannot be combined with destination_vcenter", "Set only one of them"
    elif scope is Scope.COMPUTE:
        wrong, hint = "storage_policy needs scope", "Set scope to storage or both, or omit storage_policy"
    else:
        return
    raise InvalidInput(wrong, hint=hint, option="storage_policy")


def with_policy(storage: StorageRequest, name: str | None, estate: Estate) -> StorageRequest:
    """The request with the storage policy of that name. Raises NotFound with the names that exist, or Ambiguous."""
    if name is None or storage.homes:
        return storage
    found = [policy for policy, known in estate.policies.names.items() if known == name]
    if not found:
        names = ", ".join(sorted(estate.policies.names.values())) or "none that this login shows"
        raise NotFound(
            f"vCenter has no storage policy named {name}",
            hint=f"Set storage_policy to one of its policies: {names}",
            option="storage_policy",
        )
    if len(found) > 1:
        raise Ambiguous(
            f"Several storage policies are named {name}",
            candidates=tuple(sorted(found)),
            hint="Rename one of them",
            option="storage_policy",
        )
    return replace(storage, policy=found[0])


def moves_files(storage: StorageRequest) -> bool:
    """Whether the request may move files, so that their storage policies must be known."""
    return storage.scope is not Scope.COMPUTE or bool(storage.homes)


def _preferred(approved: Plan | None) -> dict[str, dict[int, str]]:
    """The datastores of an approved plan, by VM and by the key of the part."""
    return {move.vm: move.targets for move in approved.moves if move.parts} if approved else {}


def datastores_to_ask(estate: Estate, storage: StorageRequest) -> frozenset[str]:
    """The datastores (MoIDs) to which files may move, so that it must be known whether the user may allocate space on them."""
    homes = frozenset(moid for home in storage.homes.values() for moid in home.values())
    named = storage.datastores.union(homes, *storage.disks.values())
    if storage.scope is not Scope.COMPUTE and not storage.datastores:
        named |= part_of(estate, second=True).datastores.keys()
    return named & estate.datastores.keys()


def _lost_in_domain(
    params: Mapping[str, Any], estate: Estate, lost: Sequence[Placement], state: Path
) -> Sequence[Placement]:
    """The VMs that the restore of a fault domain has to bring home, but whose homes are hosts that vCenter no longer has."""
    if not lost or params["fault_domain"] is None:
        return ()
    runs = (run for run in stored_runs(state) if run.state.is_of(estate.vcenter.instance_uuid))
    return homes_in_domain(lost, params["fault_domain"], runs)


def _refuse_unknown_homes(hosts: Sequence[HostState], lost: Iterable[Placement]) -> None:
    """Raise NotFound because nobody is at home on these hosts, and the homes of other VMs are hosts that vCenter no longer has.

    Such a host may have been added again under a name that does not resemble the recorded one.
    """
    raise NotFound(
        f"No home is recorded on {' or '.join(host.name for host in hosts)}. The homes of these VMs are hosts that vCenter no "
        f"longer has: {told_homes(lost)}",
        hint="If one of these hosts has a new name, move its VMs with liveml.vsphere.migrate_vm. If they stay where they are, "
        "clear their homes with liveml.vsphere.placement (state: absent, outcomes: [home_unhealthy])",
        option="host",
    )


def selection(params: Mapping[str, Any], estate: Estate, hosts: tuple[HostState, ...]) -> tuple[str, ...]:
    """The selected VMs' MoIDs. Raises InvalidInput without a criterion, because that must never mean every VM."""
    if not hosts and not any(params[option] for option in CRITERIA):
        raise InvalidInput(
            "No option selects VMs",
            hint=f"Set host, fault_domain, {', '.join(CRITERIA[:-1])} or {CRITERIA[-1]}",
            option="vms",
        )
    places: list[str | None] = [host.moid for host in hosts] or [None]
    found = (
        vm
        for place in places
        for vm in select_vms(
            estate,
            host=place,
            names=params["vms"],
            patterns=params["patterns"],
            folders=params["folders"],
            attributes=params["attributes"],
        )
    )
    return tuple(dict.fromkeys(found))  # of a VM whose host is not known, each of the hosts may be the one


def hosts_of(params: Mapping[str, Any], estate: Estate) -> tuple[HostState, ...]:
    """The hosts to evacuate or to restore. Raises NotFound, Ambiguous or InvalidInput."""
    estate = part_of(estate, second=False)
    if params["fault_domain"] is not None:
        return find_fault_domain(estate, params["fault_domain"])
    return (find_host(estate, params["host"]),) if params["host"] is not None else ()


def approved_plan(params: Mapping[str, Any], estate: Estate) -> Plan | None:
    """The approved plan: given as a whole, or by its id if a run has begun it.

    Raises InvalidInput when it was edited, is another one, or was made for another vCenter.
    """
    wanted, vcenter = params["plan_id"], estate.vcenter
    if wanted and not re.fullmatch("[0-9a-f]{64}", wanted):
        raise InvalidInput(
            f"plan_id {wanted[:80]!r} is not the id of a plan",
            hint="Set plan_id to the id that migration_plan returned, 64 hexadecimal digits",
            option="plan_id",
        )
    if not params["approved"]:
        return journalled_plan(state_to_read(params["state_dir"]), vcenter, wanted) if wanted else None
    plan = plan_from_dict(params["approved"], option="approved")
    if wanted not in ("", plan.plan_id):
        raise InvalidInput(
            f"The approved plan is {plan.plan_id}, not {wanted}",
            hint="Set approved to the plan of this id",
            option="approved",
        )
    if plan.vcenter.instance_uuid != vcenter.instance_uuid:
        raise InvalidInput(
            f"The approved plan was made for the vCenter {plan.vcenter.name} ({plan.vcenter.instance_uuid}), "
            f"this is {vcenter.name} ({vcenter.instance_uuid})",
            hint="Create a new plan on this vCenter",
            option="approved",
        )
    refuse_other_second(plan, estate, "approved")
    return plan


def with_forestalled(
    params: Mapping[str, Any], approved: Plan | None, plan: Plan, estate: Estate, hosts: Sequence[HostState]
) -> Plan:
    """The plan of an evacuation with the approved moves that somebody else has carried out since, so that a run records their homes.

    What a run has moved has its home.
    """
    if approved is None or params["use_homes"]:
        return plan
    evacuated = {host.moid for host in hosts}
    homes = journal_homes(state_to_read(params["state_dir"]), estate.vcenter.instance_uuid)
    planned = {move.vm for move in plan.moves}
    done = [
        move
        for move in approved.moves
        if move.source in evacuated
        and move.vm not in planned
        and (vm := estate.vms.get(move.vm)) is not None
        and move.has_arrived(vm.host, vm.places)
        and not is_home_of(recorded_home(estate, vm, homes), move)
    ]
    if not done:
        return plan
    moves = tuple(replace(move, number=number) for number, move in enumerate((*plan.moves, *done), 1))
    names = ", ".join(f"{move.vm_name} ({move.target_name})" for move in done)
    note = f"Somebody else has moved these VMs to where the approved plan moves them: {names}. Only their homes are left to be recorded."
    plan = replace(plan, moves=moves, notes=(*plan.notes, note))
    return replace(plan, plan_id=plan_id_of(plan))


def refuse_other_second(plan: Plan, estate: Estate, option: str) -> None:
    """Raise InvalidInput if a plan is not for the second vCenter of the estate."""
    wanted, found = plan.second, estate.second
    if (wanted.instance_uuid if wanted else "") == (found.instance_uuid if found else ""):
        return
    if wanted is None:
        what, hint = "not for two vCenters", "Omit destination_vcenter, or create a new plan"
    else:
        address = wanted.address or wanted.instance_uuid
        what, hint = f"also for the vCenter {address}", f"Set destination_vcenter to the login of {address}"
    raise InvalidInput(f"The plan in {option} is {what}", hint=hint, option="destination_vcenter")


def refuse_departure(
    wanted: str, approved: Plan | None, plan: Plan, estate: Estate, hosts: tuple[HostState, ...]
) -> None:
    """Raise PlanRefused if the plan is not the approved one, with every difference that is known."""
    if approved is None:
        if wanted in ("", plan.plan_id):
            return
        what = f"plan {wanted} was approved, planning now gives plan {plan.plan_id}"
    else:
        found = deviations_from_approved(approved, plan, estate, {host.moid for host in hosts})
        if not found:
            return
        what = f"plan {approved.plan_id} was approved; " + "; ".join(f"{d.vm_name}: {d.what}" for d in found)
    raise PlanRefused(
        f"The plan has drifted; this call moved no VM: {what}", hint="Create a new plan and have it approved"
    )
