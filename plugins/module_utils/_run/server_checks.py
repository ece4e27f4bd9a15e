# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans with the answers of vCenter's own checks, before anything is fenced or moved.

vCenter knows what no property shows, for example which processor features a running VM uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .._core.errors import CallFailed, PermissionMissing, TaskTimeout, VsphereError
from .._plan.model import Move, Plan, PlanRequest, ServerChecks
from .._plan.planner import make_plan
from .._vsphere.estate import Checked, Estate, Maintenance, Relocation
from .ports import Vcenter

MAX_ROUNDS = 5  # a move that is rejected is planned to another host, and that one is checked again
NO_ANSWER = (CallFailed, PermissionMissing, TaskTimeout)
Answers = dict[tuple[str, str], Checked]


def checked_plan(vcenter: Vcenter, estate: Estate, request: PlanRequest, assumed: Iterable[str] = ()) -> Plan:
    """A plan whose moves vCenter has checked: first all VMs with all hosts in one task, then each planned move by itself.

    Moves to the hosts in ``assumed`` (MoIDs) are checked only as far as their states do not matter: they are not in service yet.
    """
    plan, early = make_plan(estate, request), frozenset(assumed)
    if not _to_check(plan):
        return plan
    answers = Answers()
    try:
        found = vcenter.compatible([move.vm for move in _to_check(plan)], _possible_hosts(estate, plan, early))
        answers |= {pair: checked for pair, checked in found.items() if _in_one_cluster(estate, *pair)}
    except NO_ANSWER:
        pass  # the single checks say the same and more
    request = replace(request, checked=answers)
    plan, why = make_plan(estate, request), ""
    single = dict[Relocation, Checked]()
    for _round in range(MAX_ROUNDS):
        specs = [relocation_of(move) for move in _to_check(plan) if move.target not in early]
        waiting = [spec for spec in specs if spec not in single]
        if not waiting:
            break
        try:
            single |= dict(zip(waiting, vcenter.check_moves(waiting), strict=True))
        except NO_ANSWER as error:
            why = _reason(error)
            break
        answers |= {_pair(move): single[spec] for move in _to_check(plan) if (spec := relocation_of(move)) in single}
        request = replace(request, checked=dict(answers))
        plan = make_plan(estate, request)
    return replace(plan, checks=_summary(estate, plan, single, why, early))


def _in_one_cluster(estate: Estate, vm: str, host: str) -> bool:
    """Whether the first task's answer counts: it does not know which networks and datastores a VM gets in another cluster."""
    here, there = estate.hosts.get(estate.vms[vm].host), estate.hosts.get(host)
    return here is not None and there is not None and here.cluster == there.cluster


def relocation_of(move: Move) -> Relocation:
    """What vCenter is asked to do. A VM of which only files move keeps its host."""
    host = move.target if move.changes_host or not move.parts else None
    return Relocation(move.vm, host, move.place_after, tuple(move.targets.items()), tuple(move.policies.items()))


def _to_check(plan: Plan) -> tuple[Move, ...]:
    """The moves that have not begun."""
    return tuple(move for move in plan.moves if move.task is None)


def _pair(move: Move) -> tuple[str, str]:
    return move.vm, move.target


def _possible_hosts(estate: Estate, plan: Plan, early: frozenset[str]) -> list[str]:
    """The hosts (MoIDs) that moves go to, and those in service in the same clusters: a rejected move may go there instead."""
    targets = {move.target for move in plan.moves}
    clusters = {estate.hosts[target].cluster for target in targets}
    hosts = (host for host in estate.hosts.values() if host.cluster in clusters)
    in_service = {host.moid for host in hosts if host.maintenance is Maintenance.NORMAL}
    return sorted(targets | in_service | early & estate.hosts.keys())


def _reason(error: VsphereError) -> str:
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message


def _summary(
    estate: Estate, plan: Plan, single: Mapping[Relocation, Checked], why: str, early: frozenset[str]
) -> ServerChecks:
    """What was asked of the plan's moves, and what was not."""
    moves = _to_check(plan)
    answered = [move for move in moves if relocation_of(move) in single]
    missing = [move for move in moves if relocation_of(move) not in single]
    if missing and not why:
        waiting = sorted({estate.hosts[move.target].name for move in missing if move.target in early})
        why = f"{' and '.join(waiting)} is not in service yet" if waiting else "it gave no answer for them"
    warnings = [
        f"{move.vm_name} → {move.target_name}: {warning}"
        for move in answered
        for warning in single[relocation_of(move)].warnings
    ]
    return ServerChecks(len(answered), len(missing), why if missing else "", tuple(warnings))
