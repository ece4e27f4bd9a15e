# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as JSON and back, its ID, and its text. Pure.

Reading a plan checks its ID, so that an edited plan is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from .._core.codec import Malformed, decoded, encoded
from .._core.errors import InvalidInput
from .._core.wording import plural, stun_text
from .._vsphere.estate import InventoryPlace
from .model import DrsHandling, Move, Plan, ServerChecks

MAX_WARNINGS = 3  # of vCenter that the lines of a plan show; the plan has all


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-safe data, in the shape of the module's return value ``plan``."""
    data: dict[str, Any] = encoded(plan)
    return data


def plan_from_dict(data: Mapping[str, Any], *, option: str = "plan") -> Plan:
    """The plan that ``plan_to_dict`` wrote; errors name ``option``. AWX passes an empty text on as null.

    Raises InvalidInput if the data is malformed, or if ``plan_id`` does not match the content.
    """
    try:
        plan = decoded(Plan, {key: each for key, each in data.items() if each is not None}, null_is_empty=True)
    except Malformed as error:
        raise InvalidInput(
            f"{option} is not a plan ({error})",
            hint=f"Set {option} to the plan that migration_plan returned",
            option=option,
        ) from error
    if plan_id_of(plan) != plan.plan_id:
        raise InvalidInput(
            f"The plan in {option} was edited: its content does not match its plan_id",
            hint="Create a new plan with migration_plan",
            option=option,
        )
    return plan


def plan_id_of(plan: Plan) -> str:
    """The SHA-256 of what the plan decides: which VM moves where, with which files, which VM stays, how DRS is handled.

    Predictions, explanations, vCenter's checks and the order of moves are left out, because they change every minute. DRS that
    is left alone is left out, too. It has 64 hexadecimal digits.
    """
    content: dict[str, Any] = {
        "vcenter": plan.vcenter.instance_uuid,
        "moves": sorted([m.vm, m.source, m.target, m.place_after.pool if m.place_after else ""] for m in plan.moves),
        "stay": sorted([r.vm, r.blocking] for r in plan.refusals),
    }
    if files := sorted([m.vm, p.key, p.target] for m in plan.moves for p in m.parts):
        content["files"] = files
    if policies := sorted([m.vm, p.key, p.policy] for m in plan.moves for p in m.parts if p.policy):
        content["policies"] = policies
    if entered := sorted([m.vm, *_entered(m.place_after)] for m in plan.moves if m.place_after is not None):
        content["places"] = entered
    if handled := [d for d in plan.drs if d.how is not DrsHandling.IGNORE]:
        content["drs"] = sorted([d.cluster, str(d.how), *sorted(d.pinned)] for d in handled)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _entered(place: InventoryPlace) -> list[Any]:
    return [place.pool, place.folder, sorted([plug.adapter, plug.network] for plug in place.plugs)]


def plan_lines(plan: Plan) -> list[str]:
    """One line per move, ``vm: source → target``, in the order of numbers; then what vCenter's checks found, DRS that matters, and notes.

    Datastores are named if files move: ``vm: source [local] → target [shared]``. A move into another cluster names what the VM gets
    there, and a move into another vCenter names both vCenters. A move of a VM with a vGPU says how long the VM may stand still.
    """
    moves = (f"{m.vm_name}: {source_text(m)} → {target_text(m)}{_stun(m)}" for m in plan.moves)
    return [*moves, *_check_lines(plan.checks), *_vgpu_lines(plan.moves), *_drs_lines(plan), *plan.notes]


def _stun(move: Move) -> str:
    text = stun_text(move.vgpus, move.predicted_stun)
    return f"; {text}" if text else ""


def _vgpu_lines(moves: Iterable[Move]) -> list[str]:
    """On which targets it is not known whether they have a free vGPU."""
    hosts = sorted({move.target_name for move in moves if not move.free_vgpus_known})
    if not hosts:
        return []
    return [f"It is not known whether {', '.join(hosts)} has free vGPUs. vCenter's own check of each move decides."]


def source_text(move: Move) -> str:
    """Where a move starts, ``esx-05 [esx-05-local]``."""
    return place_text(move.source_name, (part.source_name for part in move.parts), _abroad(move, move.source_vcenter))


def target_text(move: Move) -> str:
    """Where a move leads, ``esx-06 [shared]``."""
    names = (part.target_name for part in move.parts)
    there = place_text(move.target_name, names, _abroad(move, move.target_vcenter))
    return there + policy_text(part.policy_name for part in move.parts) + _around(move.place_after)


def policy_text(names: Iterable[str]) -> str:
    """The storage policies that files get or keep, for people; "" if there are none."""
    known = sorted({name for name in names if name})
    return f" (storage {'policies' if len(known) > 1 else 'policy'} {', '.join(known)})" if known else ""


def _around(place: InventoryPlace | None) -> str:
    return f" ({place.text})" if place is not None else ""


def _abroad(move: Move, vcenter: str) -> str:
    return vcenter if move.changes_vcenter else ""


def place_text(host: str, datastores: Iterable[str], vcenter: str = "") -> str:
    """A host, with the names of datastores if there are any, and with the address of its vCenter if that matters."""
    names = ", ".join(dict.fromkeys(datastores))
    return (f"{host} [{names}]" if names else host) + (f" in vCenter {vcenter}" if vcenter else "")


def _check_lines(checks: ServerChecks) -> list[str]:
    """What vCenter warns of and what it did not check, on one line. An answer that is missing is not a yes."""
    if not checks.warnings and not checks.unchecked:
        return []
    parts = [f"vCenter checked {plural(checks.checked, 'move')}, and prevents none of them."] if checks.checked else []
    if checks.warnings:
        more = len(checks.warnings) - MAX_WARNINGS
        shown = "; ".join(checks.warnings[:MAX_WARNINGS])
        parts.append(f"It warns, which does not prevent a move: {shown}{f'; and {more} more' if more > 0 else ''}.")
    if checks.unchecked:
        parts.append(
            f"vCenter did not check {plural(checks.unchecked, 'move')}: {checks.why_unchecked.rstrip('.')}. "
            "What only vCenter knows may still prevent them."
        )
    return [" ".join(parts)]


def _drs_lines(plan: Plan) -> list[str]:
    return [decision.why for decision in plan.drs if decision.why]


def plan_diff(plan: Plan) -> dict[str, Any]:
    """The placement before and after the moves, and how DRS is handled, in the shape of Ansible's diff."""
    return {
        "before": "".join(f"{m.vm_name}: {source_text(m)}{_around(m.place_before)}\n" for m in plan.moves),
        "after": "".join(f"{line}\n" for line in plan_lines(plan)),
        "before_header": "placement",
        "after_header": "placement (vm: source → target)",
    }
