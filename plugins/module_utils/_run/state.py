# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a journal says about its run: a pure fold over the events, for resume, homes and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._experiments.model import Experiment, Judgement
from .._experiments.verdict import after_its_move
from .._plan.model import Move, PartMove
from .._vsphere.estate import InventoryPlace, VcenterInfo
from .._vsphere.home_attribute import Home
from .events import (
    DrsLeft,
    DrsPinning,
    DrsRestored,
    Entry,
    Event,
    ExperimentFound,
    FenceFound,
    FenceKept,
    FenceLifted,
    FenceLifting,
    FenceSetting,
    HomeCleared,
    HomeRecorded,
    MoveEvent,
    MoveFinished,
    MovePlanned,
    MoveSeen,
    MoveSubmitted,
    MoveSubmitting,
    Pin,
    PowerOnTimes,
    RollingBack,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopping,
    VcenterSilence,
    VerdictReached,
)
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
    by: str = ""  # who moved the VM, if it was not this run
    ended_at: str = ""  # UTC, ISO 8601
    parts: tuple[PartMove, ...] = ()
    place_before: InventoryPlace | None = None
    source_vcenter: str = ""
    target_vcenter: str = ""

    @property
    def move(self) -> Move:
        """The move as far as the journal knows it."""
        return Move(
            number=self.number,
            vm=self.vm,
            vm_name=self.vm_name,
            source=self.source,
            source_name=self.source_name,
            target=self.target,
            target_name=self.target_name,
            memory_bytes=0,
            predicted_seconds=0.0,
            parts=self.parts,
            source_vcenter=self.source_vcenter,
            target_vcenter=self.target_vcenter,
        )

    @property
    def in_flight(self) -> bool:
        """Whether the move was announced to vCenter and the run never saw its end."""
        return self.submitting and self.result is None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as its journal describes it. ``moves`` is keyed by VM MoID; the latest plan of a VM counts.

    ``own_fence``: the run fenced its host, and did not lift the fence. ``fence_unknown``: it did not see whether the host is
    fenced, also because it ended before. ``pins``: VMs by MoID that it excluded from DRS, and
    that do not have their earlier overrides again. ``unpinned``: VMs (MoIDs) that it gave back to DRS, also for an earlier run.

    ``rolling_back`` is why the run brings back what it moved, "" when it does not; ``back`` holds these moves by VM MoID.
    ``homes_cleared`` are VMs that need no home any more, each with the time (UTC, ISO 8601) since when. ``verdicts`` are
    the last ones by VM MoID and experiment, without VMs that moved again since.
    """

    run_id: str
    plan_id: str
    purpose: Purpose
    key: str
    started_at: str
    host: str | None = None  # MoID of the host that is evacuated or restored
    host_name: str = ""
    stopping: bool = False  # the process that carries it out starts no further move
    silent: float = 0.0  # seconds for which vCenter had not answered when the run was last seen
    finished: bool = False
    result: str = "unfinished"
    moves: Mapping[str, MoveRecord] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ()
    homes: tuple[Home, ...] = ()
    homes_cleared: Mapping[str, str] = field(default_factory=dict)
    own_fence: bool = False
    fence_unknown: bool = False
    fence_task: str = ""  # MoID of the task that set the own fence, "" if it is not known
    pins: Mapping[str, Pin] = field(default_factory=dict)
    unpinned: frozenset[str] = frozenset()
    rolling_back: str = ""
    back: Mapping[str, MoveRecord] = field(default_factory=dict)
    verdicts: Mapping[tuple[str, str], VerdictReached] = field(default_factory=dict)
    second: VcenterInfo | None = None  # the other vCenter, if the run is over two
    powered_on: Mapping[str, str] = field(default_factory=dict)  # by VM MoID: its power-on time (UTC) before the moves

    def is_of(self, vcenter_uuid: str) -> bool:
        """Whether the run is of this vCenter, with whose instance UUID its key begins."""
        return self.key.startswith(f"{vcenter_uuid}.")

    @property
    def in_flight(self) -> tuple[MoveRecord, ...]:
        """Moves that were announced to vCenter and whose end the run never saw."""
        return tuple(move for move in (*self.moves.values(), *self.back.values()) if move.in_flight)


def replay(entries: Iterable[Entry]) -> RunState | None:
    """Fold a journal's entries; ``None`` if they do not begin with ``run_started``."""
    state: RunState | None = None
    for entry in entries:
        if isinstance(entry.event, RunStarted):
            state = _started(entry.event, entry.at)
        elif state is not None:
            state = _applied(state, entry)
    return state


def with_verdicts_of_moves(state: RunState | None, judgements: Iterable[Judgement]) -> tuple[Judgement, ...]:
    """Judgements at the end of a run, with the verdicts of moves that were watched to their end, by whatever process."""
    known = state.verdicts if state is not None else {}
    found = []
    for later in judgements:
        settled = known.get((later.experiment.vm, later.experiment.id))
        found.append(after_its_move(settled.judgement(later.experiment), later) if settled else later)
    return tuple(found)


def _started(event: RunStarted, at: str) -> RunState:
    return RunState(
        run_id=event.run_id,
        plan_id=event.plan_id,
        purpose=event.purpose,
        key=event.key,
        started_at=at,
        host=event.host.moid if event.host else None,
        host_name=event.host.name if event.host else "",
        second=event.second,
    )


def _applied(state: RunState, entry: Entry) -> RunState:
    """The state after one more entry."""
    match entry.event:
        case RunResumed() | RunStopping() | VcenterSilence() as event:
            return _process(state, event)
        case RollingBack(reason=reason):
            return replace(state, rolling_back=reason)
        case RunFinished(result=result):
            return replace(state, finished=True, result=result)
        case ExperimentFound(experiment=experiment):
            return _with_experiment(state, experiment)
        case HomeRecorded() | HomeCleared() as event:
            return _with_home(state, event, entry.at)
        case PowerOnTimes(when="before", times=times):
            known = {vm: at for vm, at in times.items() if at is not None}
            return replace(state, powered_on={**known, **state.powered_on})
        case MovePlanned() as event:
            return _planned(state, event)
        case VerdictReached() as event:
            return replace(state, verdicts={**state.verdicts, (event.vm.moid, event.id): event})
        case MoveSeen() | MoveSubmitting() | MoveSubmitted() | MoveFinished() as event:
            return _moved_on(state, event, entry.at)
    return _guarded(state, entry.event)


def _process(state: RunState, event: RunResumed | RunStopping | VcenterSilence) -> RunState:
    """The state after an event of the process that carries the run out."""
    match event:
        case RunResumed(plan_id=plan_id):
            return replace(state, plan_id=plan_id, stopping=False, silent=0.0)
        case RunStopping():
            return replace(state, stopping=True)
        case VcenterSilence(seconds=seconds):
            return replace(state, silent=seconds)


def _guarded(state: RunState, event: Event) -> RunState:
    """The state after an event of the fence or of DRS."""
    match event:
        case FenceFound(own=own, unknown=unknown, task=task):
            return replace(state, own_fence=own, fence_unknown=unknown, fence_task=task)
        case FenceSetting():
            return replace(state, own_fence=True, fence_unknown=True, fence_task="")
        case FenceLifting():
            return replace(state, fence_unknown=True)
        case FenceKept(unknown=unknown):
            return replace(state, fence_unknown=unknown)
        case FenceLifted():
            return replace(state, own_fence=False, fence_unknown=False)
        case DrsPinning(pins=pins):
            return replace(state, pins={**{pin.vm.moid: pin for pin in pins}, **state.pins})
        case DrsRestored(vms=vms) | DrsLeft(vms=vms):
            freed = {vm.moid for vm in vms}
            kept = {moid: pin for moid, pin in state.pins.items() if moid not in freed}
            return replace(state, pins=kept, unpinned=state.unpinned | freed)
    return state


def _planned(state: RunState, event: MovePlanned) -> RunState:
    record = MoveRecord(
        number=event.number,
        vm=event.vm.moid,
        vm_name=event.vm.name,
        source=event.source.moid,
        source_name=event.source.name,
        target=event.target.moid,
        target_name=event.target.name,
        parts=event.parts,
        place_before=event.place_before,
        source_vcenter=event.source.vcenter,
        target_vcenter=event.target.vcenter,
    )
    known = (state.back if event.back else state.moves).get(record.vm)
    if known is not None and known.in_flight:  # a resumed run plans it again before it adopts its task
        record = replace(record, submitting=True, task=known.task)
    if event.back:
        return replace(state, back={**state.back, record.vm: record})
    return _with_move(state, record)


def _moved_on(state: RunState, event: MoveEvent, at: str) -> RunState:
    match event:
        case MoveSeen():
            return _without_verdicts(state, event.vm.moid)
        case MoveSubmitting():
            state = _without_verdicts(state, event.vm.moid)
            return _update_move(state, event, submitting=True, task=None, result=None, fault="", by="", ended_at="")
        case MoveSubmitted(task=task):
            return _update_move(state, event, task=task)
        case MoveFinished(result=result, error=error, target=target, by=by):
            # Somebody else may have moved the VM to another target.
            ends = {"target": target.moid, "target_name": target.name, "parts": event.parts}
            fault = error.fault if error else ""
            return _update_move(state, event, result=result, fault=fault, by=by, ended_at=at, **ends)
    return state


def _without_verdicts(state: RunState, vm: str) -> RunState:
    """The state of a VM that moves again."""
    return replace(state, verdicts={key: verdict for key, verdict in state.verdicts.items() if key[0] != vm})


def _update_move(state: RunState, event: MoveEvent, **changes: Any) -> RunState:
    """The way back of a VM begins after its outbound move has ended, so its events belong to the later one."""
    vm = event.vm.moid
    if vm in state.back:
        return replace(state, back={**state.back, vm: replace(state.back[vm], **changes)})
    record = state.moves.get(vm)
    return state if record is None else _with_move(state, replace(record, **changes))


def _with_move(state: RunState, record: MoveRecord) -> RunState:
    return replace(state, moves={**state.moves, record.vm: record})


def _with_experiment(state: RunState, experiment: Experiment) -> RunState:
    if (experiment.vm, experiment.id) in {(e.vm, e.id) for e in state.experiments}:
        return state
    return replace(state, experiments=(*state.experiments, experiment))


def _with_home(state: RunState, event: HomeRecorded | HomeCleared, at: str) -> RunState:
    vm = event.vm.moid
    homes = tuple(home for home in state.homes if home.vm != vm)
    written = any(home.in_attribute for home in state.homes if home.vm == vm)
    if isinstance(event, HomeCleared):
        return replace(state, homes=homes, homes_cleared={**state.homes_cleared, vm: at})
    home = Home(
        vm=vm,
        host=event.home.moid,
        host_name=event.home.name,
        target=event.target.moid,
        target_name=event.target.name,
        run_id=state.run_id,
        recorded_at=at,
        start=event.start,
        vm_name=event.vm.name,
        vm_uuid=event.vm_uuid,
        in_attribute=event.attribute or written,
        files=event.files,
        place=event.place,
        home_vcenter=event.home_vcenter,
        target_vcenter=event.target_vcenter,
    )
    cleared = {moid: when for moid, when in state.homes_cleared.items() if moid != vm}
    return replace(state, homes=(*homes, home), homes_cleared=cleared)
