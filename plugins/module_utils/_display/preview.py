# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook in check mode: what the plan would do, and what it would do it to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._core.advice import title_of
from .._core.wording import fitted, listed, percent, plural
from .estimate import duration_text

Row = Mapping[str, Any]
MAX_SLOTS = 8  # vMotions of a host at a time, by vCenter's own limit
NOT_ASKED = "experiments.enabled is false"  # as discovery says it
MAX_WHY = 250  # characters of a reason
MAX_NAMED = 3  # experiments and warnings


def preview(plan: Row, checked: Row, *, subject: str, stays: Sequence[str], goal: str, command: str) -> Iterator[str]:
    """What a plan, as ``migration_plan`` returned it, would do. ``checked`` is the result of ``vm_migrate`` in check mode.

    ``goal`` is what follows after the moves.
    """
    moves = plan.get("moves") or ()
    blocked = [refusal["vm_name"] for refusal in plan.get("refusals") or () if refusal["blocking"]]
    cannot = [f"Cannot move: {listed(blocked)}."] if blocked else []
    then = f", and end with {goal}" if goal else ""
    if not moves:
        yield f"Check mode: {subject} would move no VM{then}. Nothing was changed."
        yield from cannot
        if command and goal:
            yield f"To do it: {command}"
        return
    memory = sum(move["memory_bytes"] for move in moves) / 2**30
    at_least = duration_text(_shortest([move["predicted_seconds"] for move in moves]))
    yield f"Check mode: {subject} would move {plural(len(moves), 'VM')} with {memory:.0f} GiB of memory{then}. This call moved and fenced nothing."
    targets = Counter((move["target_name"], move["target_fault_domain"]) for move in moves)
    places = [
        f"{count} to {host}{f' ({domain})' if domain else ''}" for (host, domain), count in sorted(targets.items())
    ]
    others = f" Not moved, because they do not prevent maintenance mode: {listed(stays)}." if stays else ""
    yield f"Targets: {listed(places)}. At the full speed of the links this takes at least {at_least}.{others}"
    yield from cannot
    yield from _experiments(checked, len(moves))
    yield from _warnings((plan.get("plan") or {}).get("checks") or {})
    if command:
        yield f"To do it: {command}"


def _shortest(durations: Sequence[float]) -> float:
    """Seconds that moves take at least: each alone on the link, and as many at a time as a host permits."""
    return max(*durations, sum(durations) / MAX_SLOTS)


def _experiments(checked: Row, vms: int) -> Iterator[str]:
    """Which experiments train in the VMs now, as far as the module looked."""
    found = checked.get("found")
    if found is None:
        yield "Whether experiments train in these VMs was not looked at."
    elif not found:
        asked = set((checked.get("unobserved") or {}).values()) != {NOT_ASKED}
        yield (
            f"No experiment was found in {plural(vms, 'VM')}. If one trains there, a run would not watch it."
            if asked
            else "Whether experiments train in these VMs was not looked at: experiments.enabled is false."
        )
    else:
        names = [f"{title_of(each)} at {percent(each.get('progress'))}" for each in found]
        count = len({each["vm_name"] for each in found})
        rest = " In the others none was found." if count < vms else ""
        yield f"{plural(len(found), 'experiment')} in {count} of {plural(vms, 'VM')}: {listed(names, MAX_NAMED)}.{rest}"
        yield from partly_searched_text(checked.get("partly_searched") or {}, "a run would not watch it")


def partly_searched_text(partly_searched: Mapping[str, str], end: str = "it was not watched") -> Iterator[str]:
    """Which VMs may have more experiments than were found, why, and how a sentence about such an experiment ends."""
    if partly_searched:
        vm, why = min(partly_searched.items())
        more = f" and {plural(len(partly_searched) - 1, 'other VM')}" if len(partly_searched) > 1 else ""
        yield f"Not every source of experiments could look into {vm} ({fitted(why, MAX_WHY)}){more}. If another experiment runs there, {end}."


def _warnings(checks: Row) -> Iterator[str]:
    """What vCenter's own checks of the moves warn of, or did not answer."""
    warnings = checks.get("warnings") or ()
    if warnings:
        permits = f"vCenter permits {plural(checks.get('checked', 0), 'move')}. A warning does not prevent a move"
        yield f"{permits}: {listed([warning.rstrip('.') for warning in warnings], MAX_NAMED)}."
    if checks.get("unchecked"):
        yield f"vCenter did not check {plural(checks['unchecked'], 'move')}, so it may still prevent them."
