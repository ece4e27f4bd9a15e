# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journal events as lines for a person: one short line a transition (AWX cuts lines above 1 kB)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .._core.wording import percent, stall_text
from .estimate import (
    MoveProgress,
    duration_text,
    seconds_left,
    share_done,
)

HEARTBEAT_SECONDS = 10.0
EXPERIMENT_SECONDS = 3.0
BAR_CELLS = 20
_FLIGHT_EVENTS = frozenset({"planned", "move_submitting", "move_progress", "move_finished"})


def line(event: Mapping[str, Any]) -> str | None:
    """The line for an event, or ``None`` when a person needs none."""
    text = _LINES.get(str(event.get("event")), _no_line)(event)
    if text is None:
        return None
    vm = event.get("vm")
    subject = f"{vm['name']:<18} " if isinstance(vm, Mapping) else ""
    return f"{str(event['at'])[11:19]}  {subject}{text}"


class Board:
    """A run as a person watches it: the line of each event, how far the run is, and a bar for each move in flight.

    With ``bars`` the progress of moves gets no lines, because the bars show it. Times are the events' own and the
    monotonic clock of the machine that wrote them.
    """

    def __init__(self, *, bars: bool = False) -> None:
        self._bars = bars
        self._flights: dict[str, _Flight] = {}
        self._told = 0.0  # when something new was told
        self._ticks: dict[str, float] = {}  # when an experiment's progress was told
        self._verdicts: dict[str, str | None] = {}
        self._trained: dict[str, float | None] = {}  # progress by VM
        self._last: Mapping[str, Any] | None = None

    def hear(self, event: Mapping[str, Any]) -> str | None:
        """The line for an event, ``None`` for what a person needs not know or just read."""
        self._last = event
        name = str(event.get("event"))
        if name in _FLIGHT_EVENTS:
            return self._hear_flight(name, event)
        if name == "experiment_progress":
            return self._hear_experiment(event)
        text = line(event)
        if name == "verdict" and self._is_known_verdict(event):
            return None
        self._told = event["mono"] if text is not None else self._told
        return text

    def _is_known_verdict(self, event: Mapping[str, Any]) -> bool:
        """Whether the verdict, which is passed after the move and again at the end, is still the same."""
        key, text = _experiment_key(event), _verdict(event)
        known = self._verdicts.get(key) == text
        self._verdicts[key] = text
        return known

    def heartbeat(self, now: float) -> str | None:
        """A line when moves are in flight and nothing but progress was told for ``HEARTBEAT_SECONDS``."""
        quiet = self._last is not None and now - self._told >= HEARTBEAT_SECONDS
        if self._bars or not quiet or self._last is None or not self._in_flight():
            return None
        self._told = now
        at = datetime.fromisoformat(self._last["at"]) + timedelta(seconds=max(0.0, now - self._last["mono"]))
        return f"{at:%H:%M:%S}  {self.summary(now)}"

    def summary(self, now: float) -> str:
        """``3 of 10 moved (47 %), 5 moving, about 24 s left``."""
        flights = self._flights.values()
        legs = [MoveProgress(flight.predicted, 1.0 if flight.result else flight.percent / 100) for flight in flights]
        started = min((flight.started for flight in flights if flight.started is not None), default=now)
        moved = sum(flight.result == "moved" for flight in flights)
        failed = sum(flight.result not in (None, "moved") for flight in flights)
        parts = [f"{moved} of {len(legs)} moved ({100 * share_done(legs):.0f} %)", f"{len(self._in_flight())} moving"]
        parts += [f"{failed} not moved"] if failed else []
        left = seconds_left(legs, now - started)
        parts += [] if left is None else [f"about {duration_text(left)} left"]
        return ", ".join(parts)

    def bars(self, now: float, columns: int, rows: int) -> list[str]:
        """A bar for each move in flight and the summary, at most ``rows`` lines of ``columns`` characters."""
        flying = self._in_flight()
        if not flying or rows < 1:
            return []
        shown = flying[: max(0, rows - 1)]
        hidden = len(flying) - len(shown)
        more = f", {hidden} more in flight" if hidden else ""
        lines = [flight.as_bar(self._trained.get(flight.vm)) for flight in shown]
        return [text[:columns] for text in (*lines, f"{self.summary(now)}{more}")]

    def _in_flight(self) -> list[_Flight]:
        return [flight for flight in self._flights.values() if flight.started is not None and flight.result is None]

    def _hear_flight(self, name: str, event: Mapping[str, Any]) -> str | None:
        vm = event["vm"]["moid"]
        flight = self._flights.setdefault(vm, _Flight(vm, event["vm"]["name"]))
        if name == "move_progress":
            return line(event) if flight.hear_percent(int(event["percent"])) and not self._bars else None
        flight.hear(name, event)
        self._told = event["mono"]
        return line(event)

    def _hear_experiment(self, event: Mapping[str, Any]) -> str | None:
        """One experiment is told every few seconds; many take turns, so that they do not drown the rest."""
        key = _experiment_key(event)
        self._trained[event["vm"]["moid"]] = event.get("progress")
        due = self._ticks.get(key, float("-inf")) + EXPERIMENT_SECONDS * max(1, len(self._ticks))
        if event["mono"] < due:
            return None
        self._ticks[key] = event["mono"]
        return line(event)


def _experiment_key(event: Mapping[str, Any]) -> str:
    return f"{event['vm']['moid']} {event.get('id')}"


@dataclass(slots=True)
class _Flight:
    """A planned move as its events tell it; ``told`` is the percentage of the last line."""

    vm: str
    name: str
    target: str = ""
    predicted: float = 0.0
    started: float | None = None
    percent: int = 0
    told: int = 0
    result: str | None = None

    def hear(self, name: str, event: Mapping[str, Any]) -> None:
        """Planned, submitted or finished."""
        self.target = event["target"]["name"]
        if name == "planned":
            self.predicted = float(event.get("predicted_seconds") or 0.0)
        elif name == "move_submitting":
            self.started, self.percent, self.told, self.result = event["mono"], 0, 0, None
        else:
            self.result = event["result"]

    def hear_percent(self, percent: int) -> bool:
        """Whether the move has come on far enough since the last line to be told again."""
        self.percent = percent
        new = percent >= self.told + 10
        self.told = percent if new else self.told
        return new

    def as_bar(self, trained: float | None) -> str:
        """``ML-cpu-vm-04       ██████░░░░░░░░░░░░░░  31 % → esx-06, experiment 17 %``."""
        full = round(BAR_CELLS * self.percent / 100)
        experiment = "" if trained is None else f", experiment {percent(trained)}"
        cells = "█" * full + "░" * (BAR_CELLS - full)
        return f"{self.name:<18} {cells} {self.percent:>3} % → {self.target}{experiment}"


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
