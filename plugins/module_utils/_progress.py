# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Journal events as lines for a person: one short line a transition (AWX cuts lines above 1 kB)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def line(event: Mapping[str, Any]) -> str | None:
    """The line for an event, or ``None`` when a person needs none."""
    text = _LINES.get(str(event.get("event")), _no_line)(event)
    if text is None:
        return None
    vm = event.get("vm")
    subject = f"{vm['name']:<18} " if isinstance(vm, Mapping) else ""
    return f"{str(event['at'])[11:19]}  {subject}{text}"


class Quiet:
    """Thins progress news: a move is told again only after 10 more percent."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def line(self, event: Mapping[str, Any]) -> str | None:
        """Like :func:`line`, but ``None`` for progress that is hardly new."""
        if event.get("event") == "move_progress":
            vm, percent = event["vm"]["moid"], int(event["percent"])
            if percent < self._told.get(vm, -10) + 10:
                return None
            self._told[vm] = percent
        elif event.get("event") == "move_submitting":
            self._told.pop(event["vm"]["moid"], None)
        return line(event)


def percent(progress: float | None) -> str:
    """Progress 0..1 as a person reads it, ``61 %``."""
    return "? %" if progress is None else f"{100 * progress:.0f} %"


def stall_text(stall: Mapping[str, Any] | None) -> str:
    """A stall with the interval that holds the truth; never a bare zero."""
    if stall is None:
        return "longest stall not measured"
    return f"longest stall {stall['seconds']:.2f} s ({stall['low']:.2f} to {stall['high']:.2f} s)"


def _no_line(_event: Mapping[str, Any]) -> None:
    return None


def _run_started(event: Mapping[str, Any]) -> str:
    simulated = " (simulated)" if event["vcenter"].get("simulated") else ""
    return f"run {event['run_id']} on {event['vcenter']['name']}{simulated}, plan {event['plan_id'][:12]}"


def _planned(event: Mapping[str, Any]) -> str:
    return f"planned {event['source']['name']} → {event['target']['name']}: {event['why']}"


def _refused(event: Mapping[str, Any]) -> str:
    return "refused: " + "; ".join(f"{r['check']} ({r['object']}): {r['hint']}" for r in event["reasons"])


def _found(event: Mapping[str, Any]) -> str:
    owner = f", owner {event['owner']}" if event.get("owner") else ""
    text = f"experiment {percent(event['progress'])}, {event['description']} ({event['provider']}{owner})"
    recovery = event.get("recovery")
    return f"{text}; recoverable: {event['recoverable']}, {recovery}" if recovery else text


def _experiment(event: Mapping[str, Any]) -> str:
    gained = event.get("gained")
    more = "" if gained is None else f" +{100 * gained:.1f}"
    return f"experiment {percent(event['progress'])}{more}"


def _finished(event: Mapping[str, Any]) -> str:
    if event["result"] == "moved":
        return f"moved to {event['target']['name']}"
    error = event.get("error")
    why = f": {error['fault']}: {error['message']}" if error else ""
    where = event.get("host") or "nowhere: the VM is gone"
    return f"{event['result'].replace('_', ' ')}{why}; the VM is on {where}"


def _verdict(event: Mapping[str, Any]) -> str:
    before, after = event.get("progress_before"), event.get("progress_after")
    detail = f" ({event['detail']})" if event.get("detail") else ""
    return (
        f"experiment {event['verdict']}: {percent(before)} → {percent(after)}, "
        f"{stall_text(event['longest_stall'])}{detail}"
    )


def _run_finished(event: Mapping[str, Any]) -> str:
    back = "" if event.get("back") is None else f", {event['back']} brought back"
    counts = f"{event['moved']} moved, {event['failed']} failed{back}, {event['left_behind']} left behind"
    return f"run {event['result']}: {counts}"


_LINES: dict[str, Any] = {
    "run_started": _run_started,
    "run_resumed": lambda event: f"run {event['run_id']} resumed",
    "planned": _planned,
    "refused": _refused,
    "experiment_found": _found,
    "no_experiment": lambda event: f"no experiment observed: {event['detail']}",
    "move_submitting": lambda event: f"moving {event['source']['name']} → {event['target']['name']}",
    "move_progress": lambda event: f"moving {event['percent']} %",
    "move_cancelling": lambda _event: "took too long: cancelling the move",
    "switched_over": lambda event: f"switched over to {event['host']}",
    "move_finished": _finished,
    "experiment_progress": _experiment,
    "stall": lambda event: f"stall {event['seconds']:.2f} s ({event['low']:.2f} to {event['high']:.2f} s)",
    "verdict": _verdict,
    "left_behind": lambda event: f"left behind on {event['host']}: {'; '.join(event['reasons'])}",
    "rolling_back": lambda event: f"rolling back: {event['reason']}",
    "fence_lifting": lambda event: f"lifting the fence of {event['host']}, so that VMs can come back",
    "fence_kept": lambda event: f"the fence of {event['host']} could not be lifted: {event['detail']}",
    "run_interrupted": lambda event: f"run interrupted: {event['detail']}; run the same playbook again to go on",
    "run_finished": _run_finished,
}
