# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a journal says about its run: a pure fold over the events, for resume, homes and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._experiments.model import Experiment
from .._vsphere.home_attribute import Home
from .events import experiment_of
from .model import MoveResult, Purpose


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """A planned move as far as it got: ``task`` when submitted, ``result`` when ended."""

    number: int
    vm: str
    vm_name: str
    source: str
    source_name: str
    target: str
    target_name: str
    submitting: bool = False
    task: str | None = None
    result: MoveResult | None = None
    fault: str = ""  # class name of the fault that ended it
    ended_at: str = ""  # UTC, ISO 8601

    @property
    def in_flight(self) -> bool:
        """Whether the run announced this move to vCenter and never saw its end."""
        return self.submitting and self.result is None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as its journal tells it. ``moves`` is keyed by VM MoID, the latest plan of a VM wins.

    ``rolling_back`` is why the run brings back what it moved, "" when it does not; ``back`` holds these moves by VM MoID.
    ``homes_cleared`` are VMs that need no home any more, each with the time (UTC, ISO 8601) since when.
    """

    run_id: str
    plan_id: str
    purpose: Purpose
    key: str
    started_at: str
    host: str | None = None  # MoID of the host that is emptied or refilled
    finished: bool = False
    result: str = "unfinished"
    moves: Mapping[str, MoveRecord] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ()
    homes: tuple[Home, ...] = ()
    homes_cleared: Mapping[str, str] = field(default_factory=dict)
    own_fence: bool = False
    rolling_back: str = ""
    back: Mapping[str, MoveRecord] = field(default_factory=dict)

    def is_of(self, vcenter_uuid: str) -> bool:
        """Whether the run is of this vCenter, with whose instance UUID its key begins."""
        return self.key.startswith(f"{vcenter_uuid}.")

    @property
    def in_flight(self) -> tuple[MoveRecord, ...]:
        """Moves announced to vCenter whose end the run never saw."""
        return tuple(move for move in (*self.moves.values(), *self.back.values()) if move.in_flight)


def replay(events: Iterable[Mapping[str, Any]]) -> RunState | None:
    """Fold a journal's events; ``None`` when it does not begin with ``run_started``."""
    state: RunState | None = None
    for event in events:
        if event["event"] == "run_started":
            state = _started(event)
        elif state is not None:
            state = _APPLY.get(event["event"], _ignore)(state, event)
    return state


def _started(event: Mapping[str, Any]) -> RunState:
    return RunState(
        run_id=str(event["run_id"]),
        plan_id=str(event["plan_id"]),
        purpose=Purpose(event["purpose"]),
        key=str(event["key"]),
        started_at=str(event["at"]),
        host=(event.get("host") or {}).get("moid"),
    )


def _ignore(state: RunState, _event: Mapping[str, Any]) -> RunState:
    return state


def _resumed(state: RunState, event: Mapping[str, Any]) -> RunState:
    return replace(state, plan_id=str(event["plan_id"]))


def _planned(state: RunState, event: Mapping[str, Any]) -> RunState:
    record = MoveRecord(
        number=int(event["number"]),
        vm=event["vm"]["moid"],
        vm_name=event["vm"]["name"],
        source=event["source"]["moid"],
        source_name=event["source"]["name"],
        target=event["target"]["moid"],
        target_name=event["target"]["name"],
    )
    back = bool(event.get("back"))
    known = (state.back if back else state.moves).get(record.vm)
    if known is not None and known.in_flight:  # a resumed run plans it again before it takes up its task
        record = replace(record, submitting=True, task=known.task)
    if back:
        return replace(state, back={**state.back, record.vm: record})
    return _with_move(state, record)


def _submitting(state: RunState, event: Mapping[str, Any]) -> RunState:
    return _update_move(state, event, submitting=True, task=None, result=None, fault="", ended_at="")


def _submitted(state: RunState, event: Mapping[str, Any]) -> RunState:
    return _update_move(state, event, task=event["task"])


def _finished(state: RunState, event: Mapping[str, Any]) -> RunState:
    fault = str((event.get("error") or {}).get("fault", ""))
    return _update_move(state, event, result=MoveResult(event["result"]), fault=fault, ended_at=str(event["at"]))


def _update_move(state: RunState, event: Mapping[str, Any], **changes: Any) -> RunState:
    """A VM's way back begins after its way there has ended, so its events belong to the later of the two."""
    vm = event["vm"]["moid"]
    if vm in state.back:
        return replace(state, back={**state.back, vm: replace(state.back[vm], **changes)})
    record = state.moves.get(vm)
    return state if record is None else _with_move(state, replace(record, **changes))


def _with_move(state: RunState, record: MoveRecord) -> RunState:
    return replace(state, moves={**state.moves, record.vm: record})


def _experiment(state: RunState, event: Mapping[str, Any]) -> RunState:
    experiment = experiment_of(event)
    known = {(e.vm, e.id) for e in state.experiments}
    if (experiment.vm, experiment.id) in known:
        return state
    return replace(state, experiments=(*state.experiments, experiment))


def _home(state: RunState, event: Mapping[str, Any]) -> RunState:
    home = Home(
        vm=event["vm"]["moid"],
        host=event["home"]["moid"],
        host_name=event["home"]["name"],
        target=event["target"]["moid"],
        target_name=event["target"]["name"],
        run_id=state.run_id,
        recorded_at=str(event["at"]),
        start=str(event.get("start", "")),
        vm_name=event["vm"]["name"],
    )
    homes = (*(h for h in state.homes if h.vm != home.vm), home)
    cleared = {vm: at for vm, at in state.homes_cleared.items() if vm != home.vm}
    return replace(state, homes=homes, homes_cleared=cleared)


def _home_cleared(state: RunState, event: Mapping[str, Any]) -> RunState:
    vm = event["vm"]["moid"]
    homes = tuple(h for h in state.homes if h.vm != vm)
    return replace(state, homes=homes, homes_cleared={**state.homes_cleared, vm: str(event["at"])})


def _fence(state: RunState, event: Mapping[str, Any]) -> RunState:
    return replace(state, own_fence=bool(event.get("own", False)))


def _rolling_back(state: RunState, event: Mapping[str, Any]) -> RunState:
    return replace(state, rolling_back=str(event["reason"]))


def _run_finished(state: RunState, event: Mapping[str, Any]) -> RunState:
    return replace(state, finished=True, result=str(event["result"]))


_APPLY = {
    "run_resumed": _resumed,
    "planned": _planned,
    "move_submitting": _submitting,
    "move_submitted": _submitted,
    "move_finished": _finished,
    "experiment_found": _experiment,
    "home_recorded": _home,
    "home_cleared": _home_cleared,
    "fence": _fence,
    "rolling_back": _rolling_back,
    "run_finished": _run_finished,
}
