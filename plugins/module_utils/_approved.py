# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Carry out the plan that somebody approved, or refuse it as drifted. Pure.

A plan is recognised by its ``plan_id`` alone. When a run of it was killed, some of its moves are done or on their way;
then the estate is rewound to before them, planned again, and recognised all the same. So the run goes on even where
the journal is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.liveml.vsphere.plugins.module_utils._errors import InvalidInput, PlanRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._homes import Placement
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Estate, Plan, PlanRequest, VmState
from ansible_collections.liveml.vsphere.plugins.module_utils._plan import make_plan

# VM MoID -> (source, target) as MoIDs of hosts: moves that are done or on their way.
Begun = Mapping[str, tuple[str, str]]


def check_plan_id(plan_id: str) -> None:
    """Raise InvalidInput for what cannot be a plan's id."""
    if not re.fullmatch(r"[0-9a-f]{64}", plan_id):
        raise InvalidInput(
            f"plan_id {plan_id[:80]!r} is not the id of a plan",
            hint="Give the plan_id that planning showed, 64 hexadecimal digits",
            option="plan_id",
        )


def approved_plan(estate: Estate, request: PlanRequest, plan_id: str, begun: Sequence[Begun]) -> Plan:
    """The plan of that id. ``begun`` are groups of moves, those of the newest run first.

    Raises PlanRefused with both ids when the present gives another plan. When every move of the approved plan is
    done, the answer is the present plan, which has nothing left to move.
    """
    now = make_plan(estate, request)
    if now.plan_id == plan_id:
        return now
    for moves in _unions(begun):
        vms = tuple(dict.fromkeys((*request.vms, *moves)))
        plan = make_plan(_rewound(estate, moves), replace(request, vms=vms, moving={}))
        if plan.plan_id == plan_id:
            return _going_on(plan, estate) if pending(plan, estate).moves else now
    raise PlanRefused(
        f"The plan drifted: approved was plan {plan_id}, the present gives plan {now.plan_id}, and nothing was moved",
        hint="Plan again and have the new plan approved",
        option="plan_id",
    )


def pending(plan: Plan, estate: Estate) -> Plan:
    """The plan without the moves that are done; its ``plan_id`` stays."""
    return replace(plan, moves=tuple(m for m in plan.moves if estate.vms[m.vm].host != m.target))


def begun_moves(estate: Estate, placements: Sequence[Placement], *, homeward: bool) -> list[dict[str, tuple[str, str]]]:
    """Moves that recorded homes tell of, a group a run, the newest run (ids sort by time) first."""
    groups: dict[str, dict[str, tuple[str, str]]] = {}
    for placement in placements:
        vm, home = estate.vms.get(placement.vm), placement.home
        source, target = (home.target, home.host) if homeward else (home.host, home.target)
        if vm is not None and _has_begun(vm, source, target):
            groups.setdefault(home.run_id, {})[placement.vm] = (source, target)
    return [groups[run] for run in sorted(groups, reverse=True)]


def begun_targets(estate: Estate, host: str, targets: Mapping[str, str]) -> list[dict[str, tuple[str, str]]]:
    """Of approved targets (VM MoID -> host MoID) for VMs of ``host``, the moves that are done or on their way."""
    moves = {
        moid: (host, target)
        for moid, target in targets.items()
        if moid in estate.vms and _has_begun(estate.vms[moid], host, target)
    }
    return [moves] if moves else []


def in_flight(estate: Estate, begun: Sequence[Begun]) -> dict[str, tuple[str, str]]:
    """VM -> (target, task) of begun moves that a task of vCenter still carries out."""
    return {
        moid: (target, task)
        for moves in reversed(begun)
        for moid, (source, target) in moves.items()
        if (task := estate.vms[moid].moving_task) is not None and estate.vms[moid].host == source
    }


def _has_begun(vm: VmState, source: str, target: str) -> bool:
    return vm.host == target or (vm.host == source and vm.moving_task is not None)


def _unions(begun: Sequence[Begun]) -> Iterator[dict[str, tuple[str, str]]]:
    """Every group with all newer ones: a plan may have been carried out by several runs, each killed."""
    union: dict[str, tuple[str, str]] = {}
    for moves in begun:
        union = {**moves, **union}
        yield union


def _rewound(estate: Estate, begun: Begun) -> Estate:
    """The estate as it was before the moves: VMs on their sources, their load with them."""
    hosts, vms = dict(estate.hosts), dict(estate.vms)
    for moid, (source, _target) in begun.items():
        vm = vms[moid]
        memory = vm.memory_used_bytes or vm.memory_bytes
        for name, sign in ((vm.host, -1), (source, 1)) if vm.host != source else ():
            if name in hosts:
                host = hosts[name]
                hosts[name] = replace(
                    host,
                    memory_used_bytes=max(0, host.memory_used_bytes + sign * memory),
                    cpu_used_mhz=max(0, host.cpu_used_mhz + sign * vm.cpu_used_mhz),
                )
        vms[moid] = replace(vm, host=source, moving_task=None)
    return replace(estate, hosts=hosts, vms=vms)


def _going_on(plan: Plan, estate: Estate) -> Plan:
    """The plan with the task of each of its moves that is on its way."""
    moves = tuple(
        replace(move, task=estate.vms[move.vm].moving_task) if estate.vms[move.vm].host == move.source else move
        for move in plan.moves
    )
    return replace(plan, moves=moves)
