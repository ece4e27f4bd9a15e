# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is under way, as its events describe it. Pure.

An event costs microseconds however long the run is: only the present is kept, no history. It is not evidence, which is made from
the whole journal when the run has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from .._core.wording import stun_text
from .._experiments.model import Experiment, Verdict
from .._run.events import (
    DrsKept,
    Entry,
    Event,
    ExperimentFound,
    ExperimentProgress,
    FenceFound,
    FenceKept,
    FenceLifted,
    FenceSetting,
    MoveCancelling,
    MoveEvent,
    MoveFinished,
    MovePlanned,
    MoveProgressed,
    MoveSeen,
    MoveSubmitting,
    NoExperiment,
    Noticed,
    RollingBack,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SwitchedOver,
    VcenterSilence,
    VerdictReached,
    VmRefused,
    WindowOpened,
)

MAX_NOTICED = 20  # sentences about what a witness did not watch
Key = tuple[str, str]  # VM MoID and experiment ID


class Stage(StrEnum):
    """How far a move is."""

    WAITING = "waiting"
    MOVING = "moving"
    UNSEEN = "unseen"  # the process that followed it is gone, and its end was not seen yet
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Flight:
    """A move. ``percent`` is that of its task, ``host`` the name of the host where it left the VM; times are UTC, ISO 8601.

    ``stun`` says how long vGPUs will make the VM stand still; "" without any.
    """

    number: int
    moid: str
    vm: str
    source: str
    target: str
    predicted: float = 0.0
    back: bool = False
    stage: Stage = Stage.WAITING
    percent: int = 0
    switched: bool = False
    cancelling: bool = False
    started: str | None = None
    ended: str | None = None
    result: str = ""
    why: str = ""
    host: str = ""
    by: str = ""
    stun: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Nobody worked for the run between two times (UTC, ISO 8601)."""

    left: str
    resumed: str


class LiveRun:
    """Keeps the present of a run while it hears its events in order."""

    def __init__(self) -> None:
        self.started_at = ""
        self.start: RunStarted | None = None
        self.window: WindowOpened | None = None
        self.resumptions: list[Resumption] = []
        self.experiments: dict[Key, Experiment] = {}
        self.progress: dict[Key, tuple[str, float]] = {}  # time and share of the last report
        self.refusals: dict[str, VmRefused] = {}
        self.unobserved: set[str] = set()
        self.noticed: list[str] = []
        self.silence = 0.0  # seconds for which vCenter has not answered
        self.rolling_back = ""
        self.fence = ""
        self.problems: list[str] = []
        self.interrupted = ""
        self.finished: RunFinished | None = None
        self._flights: dict[tuple[str, bool, int], Flight] = {}
        self._latest: dict[str, tuple[str, bool, int]] = {}
        self._verdicts: dict[Key, VerdictReached] = {}
        self._last_at = ""

    @property
    def flights(self) -> list[Flight]:
        """All moves, in the order in which they were planned or seen."""
        return list(self._flights.values())

    def at_stage(self, *stages: Stage) -> list[Flight]:
        """The moves that are so far."""
        return [flight for flight in self._flights.values() if flight.stage in stages]

    def verdict(self, key: Key) -> VerdictReached | None:
        """The verdict on an experiment, if it is final: the move of its VM is over, and the verdict is known.

        While the run is rolled back, VMs move again.
        """
        latest = self._latest.get(key[0])
        over = latest is not None and self._flights[latest].stage is Stage.OVER
        found = self._verdicts.get(key)
        if found is None or found.verdict is Verdict.UNKNOWN or not (self.finished or (over and not self.rolling_back)):
            return None
        return found

    def hear(self, entry: Entry) -> None:
        """One more event."""
        self._hear_run(entry)
        match entry.event:
            case MoveEvent() as event:
                self._hear_move(event, entry.at)
            case VerdictReached() as event:
                self._verdicts[event.vm.moid, event.id] = event
            case ExperimentFound(experiment=experiment):
                self.experiments[experiment.vm, experiment.id] = experiment
            case ExperimentProgress() as event:
                self.progress[event.vm.moid, event.id] = entry.at, event.progress
            case NoExperiment(vm=vm):
                self.unobserved.add(vm.moid)
            case VmRefused(vm=vm) as event:
                self.refusals[vm.moid] = event
        self._last_at = entry.at

    def _hear_run(self, entry: Entry) -> None:
        match entry.event:
            case RunStarted() as event:
                self.start, self.started_at = event, entry.at
            case RunResumed():
                self._resume(entry.at)
            case RollingBack(reason=reason):
                self.rolling_back = reason
            case VcenterSilence(seconds=seconds):
                self.silence = seconds
            case RunInterrupted(detail=detail):
                self.interrupted = detail
            case RunFinished() as event:
                self.finished = event
            case WindowOpened() as event:
                self.window = event
            case Noticed(vm=vm, detail=detail) if len(self.noticed) < MAX_NOTICED:
                self.noticed.append(f"{vm.name}: {detail}")
            case _:
                self._hear_guard(entry.event)

    def _hear_guard(self, event: Event) -> None:
        match event:
            case FenceFound(detail=detail):
                self.fence = detail
            case FenceSetting(host=host):
                self.fence = f"{host} is being fenced"
            case FenceLifted(host=host):
                self.fence = f"the fence of {host} was lifted"
            case FenceKept(host=host, detail=detail):
                self.problems.append(f"the fence of {host} could not be lifted: {detail}")
            case DrsKept(vms=vms, detail=detail):
                names = ", ".join(vm.name for vm in vms)
                self.problems.append(f"the overrides of DRS could not be set back for {names}: {detail}")

    def _resume(self, at: str) -> None:
        """Another process resumes the run. What moved may have ended meanwhile."""
        self.resumptions.append(Resumption(self._last_at, at))
        self.interrupted, self.silence = "", 0.0
        self.unobserved.clear()
        for key, flight in self._flights.items():
            if flight.stage is Stage.MOVING:
                self._flights[key] = replace(flight, stage=Stage.UNSEEN)

    def _hear_move(self, event: MoveEvent, at: str) -> None:
        """An event of a VM belongs to the move that was planned or seen last."""
        vm = event.vm.moid
        if isinstance(event, MoveSubmitting | MoveSeen):
            self._forget_verdicts(vm)
        if isinstance(event, MovePlanned):
            self._plan(event)
        elif isinstance(event, MoveSeen):
            self._latest[vm] = key = (vm, False, event.number)
            self._flights[key] = Flight(
                event.number, vm, event.vm.name, event.source.name, "", stage=Stage.MOVING, started=at
            )
        elif vm in self._latest:
            key = self._latest[vm]
            self._flights[key] = moved_on(self._flights[key], event, at)

    def _plan(self, event: MovePlanned) -> None:
        vm = event.vm.moid
        self._latest[vm] = key = (vm, event.back, 0)
        known = self._flights.get(key)
        if known is not None and known.stage is Stage.UNSEEN:  # planned again before its task is followed
            return
        ends = (event.source.name, event.target.name)
        stun = stun_text(event.vgpus, event.predicted_stun)
        self._flights[key] = Flight(
            event.number, vm, event.vm.name, *ends, event.predicted_seconds, event.back, stun=stun
        )

    def _forget_verdicts(self, vm: str) -> None:
        """Verdicts from before a move say nothing about it."""
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key[0] != vm}


def moved_on(flight: Flight, event: MoveEvent, at: str) -> Flight:
    """The move after one more of its events."""
    match event:
        case MoveSubmitting(source=source, target=target):
            fresh = Flight(
                flight.number,
                flight.moid,
                flight.vm,
                source.name,
                target.name,
                flight.predicted,
                flight.back,
                stun=flight.stun,
            )
            return replace(fresh, stage=Stage.MOVING, started=at)
        case MoveProgressed(percent=percent):
            return replace(flight, percent=percent)
        case SwitchedOver():
            return replace(flight, switched=True)
        case MoveCancelling():
            return replace(flight, cancelling=True)
        case MoveFinished(target=target, result=result, error=error, host=host, by=by):
            why = f"{error.fault}: {error.message}" if error else ""
            return replace(
                flight,
                stage=Stage.OVER,
                target=target.name,
                result=str(result),
                why=why,
                host=host or "",
                by=by,
                ended=at,
            )
    return flight


def heard(entries: Iterable[Entry]) -> LiveRun:
    """A run after these events."""
    run = LiveRun()
    for entry in entries:
        run.hear(entry)
    return run


def names_of(run: LiveRun) -> Iterator[tuple[str, str]]:
    """(MoID, name) of every VM of a run."""
    yield from ((flight.moid, flight.vm) for flight in run.flights)
    yield from ((experiment.vm, experiment.vm_name) for experiment in run.experiments.values())
    yield from ((refusal.vm.moid, refusal.vm.name) for refusal in run.refusals.values())
