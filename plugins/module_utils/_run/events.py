# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a run's journal: one frozen dataclass for each kind. Pure.

An event is written as one JSON object: its fields beside ``event``, the name of its kind. A new field needs a default, so
that older journals can still be read. ``FORMAT`` changes only if older versions would misread a journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from .._core.codec import Malformed, decoded, encoded
from .._core.wording import span
from .._experiments.clusters import vm_list
from .._experiments.model import Experiment, Final, Judgement, Stall, Verdict
from .._experiments.training_clock import Gap
from .._plan.codec import place_text
from .._plan.model import DrsDecision, DrsHandling, Move, PartMove, Reason, Refusal
from .._vsphere.estate import Automation, DrsOverride, InventoryPlace, VcenterInfo
from .._vsphere.home_attribute import HomeFile
from .._vsphere.qualified import crosses
from .model import Ended, MoveResult, Purpose

FORMAT = 1  # of journals; RunStarted names it


@dataclass(frozen=True, slots=True)
class Ref:
    """A VM, host or cluster: its MoID and its name."""

    moid: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A host at one end of a move. ``vcenter`` is the address of its vCenter if the run is over two."""

    moid: str
    name: str
    fault_domain: str | None = None
    vcenter: str = ""


@dataclass(frozen=True, slots=True)
class MoveError:
    """The fault that ended a move: the class name of vSphere's fault, or our own reason, and the message."""

    fault: str
    message: str


@dataclass(frozen=True, slots=True)
class StallFigures:
    """A stall in seconds with the interval that contains its true length; ``at_mono`` is when it began."""

    seconds: float
    low: float
    high: float
    at_mono: float | None = None

    @classmethod
    def of(cls, stall: Stall | None) -> StallFigures | None:
        """The figures of a stall, if there is one."""
        return None if stall is None else cls(stall.seconds, stall.low, stall.high, stall.at)

    def stall(self) -> Stall:
        """The stall with these figures."""
        return Stall(self.seconds, self.low, self.high, self.at_mono)


class Event:
    """Base of all events. ``kind`` is its name in the journal; a ``volatile`` one may be lost in a crash."""

    __slots__ = ()
    kind: ClassVar[str]
    volatile: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON data."""
        data: dict[str, Any] = encoded(self)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The event again. Raises Malformed."""
        return decoded(cls, data)


class MoveEvent(Event):
    """An event of one move; ``vm`` is the VM that moves."""

    __slots__ = ()
    vm: Ref


def vm_of(move: Move) -> Ref:
    """The VM of a move."""
    return Ref(move.vm, move.vm_name)


def source_of(move: Move) -> Place:
    """Where a move starts."""
    return Place(move.source, move.source_name, move.source_fault_domain, move.source_vcenter)


def target_of(move: Move) -> Place:
    """Where a move leads."""
    return Place(move.target, move.target_name, move.target_fault_domain, move.target_vcenter)


# --- the run


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins. ``key`` is what it works for: the host, or the set of VMs; one process at a time works for it."""

    kind = "run_started"

    run_id: str
    plan_id: str
    purpose: Purpose
    key: str
    host: Ref | None
    vcenter: VcenterInfo
    pid: int = 0
    priority: str | None = None
    slots: int | None = None
    stall_budget: float | None = None
    collection: str | None = None  # version of the collection
    format: int = FORMAT
    second: VcenterInfo | None = None  # the other vCenter, if the run is over two
    notes: tuple[str, ...] = ()  # of the plan
    boot: str = ""  # which start of which machine the process belongs to, as its kernel says it


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """Another process resumes the run of a killed process."""

    kind = "run_resumed"

    run_id: str
    plan_id: str
    pid: int = 0
    boot: str = ""  # as that of the run's start: with another one, the monotonic clock is another one, too


@dataclass(frozen=True, slots=True)
class VcenterSilence(Event):
    """vCenter has not answered for so many seconds; 0.0 once it answers again. Moves in flight continue meanwhile."""

    kind = "vcenter_silence"
    volatile = True

    seconds: float


@dataclass(frozen=True, slots=True)
class RunStopping(Event):
    """The controller that asked for the run is gone: no further move is started. Moves in flight are followed to their end."""

    kind = "run_stopping"

    detail: str


@dataclass(frozen=True, slots=True)
class RunInterrupted(Event):
    """The controller that asked for the run is gone; moves in flight were followed to their end. The run can be resumed."""

    kind = "run_interrupted"

    detail: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run is over. ``back`` is the number of VMs that a rollback brought back, ``None`` without a rollback.

    ``refused`` is the number of VMs that the plan could not move, and that prevent maintenance mode.
    """

    kind = "run_finished"

    result: str  # success or failed
    moved: int
    failed: int
    left_behind: int
    back: int | None = None
    refused: int = 0

    @property
    def counts(self) -> str:
        """``9 moved, 0 failed, 1 left behind``, and how many VMs could not move."""
        back = "" if self.back is None else f", {self.back} brought back"
        refused = f", {self.refused} could not move" if self.refused else ""
        return f"{self.moved} moved, {self.failed} failed{back}, {self.left_behind} left behind{refused}"


@dataclass(frozen=True, slots=True)
class LeftBehind(Event):
    """A VM stays where it is, and why."""

    kind = "left_behind"

    vm: Ref
    host: str  # name
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RollingBack(Event):
    """The run brings back what it moved, and why."""

    kind = "rolling_back"

    reason: str


@dataclass(frozen=True, slots=True)
class SamplesSealed(Event):
    """The samples are complete; ``sha256`` is that of their file."""

    kind = "samples_sealed"

    sha256: str


# --- the fence


@dataclass(frozen=True, slots=True)
class FenceFound(Event):
    """The fence as found; ``own``: for this run; ``unknown``: vCenter does not show it; ``task``: what fences the host for this run."""

    kind = "fence"

    detail: str
    own: bool = False
    unknown: bool = False
    task: str = ""


@dataclass(frozen=True, slots=True)
class FenceSetting(Event):
    """The run is about to fence its host."""

    kind = "fence_setting"

    host: str  # name


@dataclass(frozen=True, slots=True)
class FenceLifting(Event):
    """The run is about to lift its fence, because it failed, or so that VMs can come back."""

    kind = "fence_lifting"

    host: str  # name


@dataclass(frozen=True, slots=True)
class FenceLifted(Event):
    """The fence is lifted."""

    kind = "fence_lifted"

    host: str  # name


@dataclass(frozen=True, slots=True)
class FenceKept(Event):
    """The fence could not be lifted, and why. ``unknown``: vCenter does not show whether the host is fenced."""

    kind = "fence_kept"

    host: str  # name
    detail: str
    unknown: bool = False


# --- DRS


@dataclass(frozen=True, slots=True)
class Pin:
    """A VM that is excluded from DRS while it moves, and the override that it had before; ``had``: it had one."""

    vm: Ref
    cluster: str  # MoID
    had: bool = False
    enabled: bool | None = None
    behavior: Automation | None = None

    @classmethod
    def of(cls, vm: Ref, cluster: str, override: DrsOverride | None) -> Pin:
        """The pin of a VM with this override."""
        if override is None:
            return cls(vm, cluster)
        return cls(vm, cluster, had=True, enabled=override.enabled, behavior=override.behavior)

    @property
    def before(self) -> DrsOverride | None:
        """The override that the VM had before."""
        return DrsOverride(self.enabled, self.behavior) if self.had else None


@dataclass(frozen=True, slots=True)
class DrsPinning(Event):
    """The run is about to exclude VMs from DRS."""

    kind = "drs_pinning"

    pins: tuple[Pin, ...]


@dataclass(frozen=True, slots=True)
class DrsRestored(Event):
    """VMs have the overrides of DRS again that they had before the run."""

    kind = "drs_restored"

    vms: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class DrsLeft(Event):
    """VMs are not excluded from DRS any more, but have other overrides than before the run: somebody else set them."""

    kind = "drs_left"

    vms: tuple[Ref, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class DrsKept(Event):
    """VMs are still excluded from DRS, or may be, and why."""

    kind = "drs_kept"

    vms: tuple[Ref, ...]
    detail: str


# --- the window of a witness


@dataclass(frozen=True, slots=True)
class WindowOpened(Event):
    """A witness begins to observe. ``vms`` is their number, ``seconds`` the longest time; see ``WitnessRequest``."""

    kind = "window_opened"

    subject: str
    seconds: float
    vms: int
    until_returned: bool = False


@dataclass(frozen=True, slots=True)
class WindowClosed(Event):
    """A witness stops to observe after so many seconds; ``cut``: why so early; ``unread``: why it is not known what came meanwhile."""

    kind = "window_closed"

    seconds: float
    cut: str = ""
    unread: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceSeen(Event):
    """A host was seen in maintenance mode for the first time, or no longer (``entered`` is false)."""

    kind = "maintenance_seen"

    host: Ref
    entered: bool


@dataclass(frozen=True, slots=True)
class Noticed(Event):
    """Something about a VM that a witness or an evacuation did not watch, and why."""

    kind = "noticed"

    vm: Ref
    detail: str


# --- the plan


@dataclass(frozen=True, slots=True)
class MovePlanned(MoveEvent):
    """A move of the plan, before anything is started; ``back`` means that a rollback planned it. ``parts``: see ``Move``."""

    kind = "planned"

    number: int
    vm: Ref
    source: Place
    target: Place
    memory_bytes: int = 0
    predicted_seconds: float = 0.0
    why: str = ""
    back: bool = False
    parts: tuple[PartMove, ...] = ()
    place_before: InventoryPlace | None = None  # set if resource pool, folder or networks change
    place_after: InventoryPlace | None = None
    vgpus: tuple[str, ...] = ()  # profiles
    predicted_stun: float | None = None  # because of the vGPUs

    @classmethod
    def of(cls, move: Move, *, back: bool = False) -> MovePlanned:
        """The event of a planned move."""
        ends = (source_of(move), target_of(move))
        figures = (move.memory_bytes, move.predicted_seconds)
        places = (move.place_before, move.place_after)
        vgpus = (move.vgpus, move.predicted_stun)
        return cls(move.number, vm_of(move), *ends, *figures, move.why, back, move.parts, *places, *vgpus)


@dataclass(frozen=True, slots=True)
class VmRefused(Event):
    """A VM that is not moved, with every reason; ``blocking`` means that it keeps its host from maintenance mode."""

    kind = "refused"

    vm: Ref
    blocking: bool
    reasons: tuple[Reason, ...]

    @classmethod
    def of(cls, refusal: Refusal) -> VmRefused:
        """The event of a refusal."""
        return cls(Ref(refusal.vm, refusal.vm_name), refusal.blocking, refusal.reasons)


@dataclass(frozen=True, slots=True)
class DrsPlanned(Event):
    """How DRS of a cluster is handled, if it moves VMs of the plan by itself, or if that is unknown; see ``DrsDecision``."""

    kind = "drs_planned"

    cluster: Ref
    automation: Automation
    how: DrsHandling
    pinned: tuple[str, ...] = ()
    why: str = ""
    not_moved: tuple[str, ...] = ()

    @classmethod
    def of(cls, decision: DrsDecision) -> DrsPlanned:
        """The event of a decision."""
        cluster = Ref(decision.cluster, decision.cluster_name)
        return cls(cluster, decision.automation, decision.how, decision.pinned, decision.why, decision.not_moved)

    def decision(self) -> DrsDecision:
        """The decision again."""
        cluster = (self.cluster.moid, self.cluster.name)
        return DrsDecision(*cluster, self.automation, self.how, self.pinned, self.why, self.not_moved)


# --- moves


@dataclass(frozen=True, slots=True)
class MoveSubmitting(MoveEvent):
    """A move is about to be submitted. ``adopted``: a task that already runs is followed instead."""

    kind = "move_submitting"

    number: int
    vm: Ref
    source: Place
    target: Place
    attempt: int = 1
    adopted: bool = False

    @classmethod
    def of(cls, move: Move, *, attempt: int, adopted: bool = False) -> MoveSubmitting:
        """The event of a move."""
        return cls(move.number, vm_of(move), source_of(move), target_of(move), attempt, adopted)


@dataclass(frozen=True, slots=True)
class MoveSeen(MoveEvent):
    """Somebody else moves the VM, since at most ``within`` seconds; ``task`` is "" if the move was over when it was seen."""

    kind = "move_seen"

    number: int
    vm: Ref
    source: Place
    task: str = ""
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class MoveSubmitted(MoveEvent):
    """vCenter accepted the move; ``task`` is the MoID of its task."""

    kind = "move_submitted"

    number: int
    vm: Ref
    task: str


@dataclass(frozen=True, slots=True)
class MoveProgressed(MoveEvent):
    """How far the task of a move is, in percent."""

    kind = "move_progress"
    volatile = True

    number: int
    vm: Ref
    percent: int


@dataclass(frozen=True, slots=True)
class MoveCancelling(MoveEvent):
    """The move took too long and is about to be cancelled."""

    kind = "move_cancelling"

    number: int
    vm: Ref
    source: Place
    target: Place
    reason: str = "timeout"

    @classmethod
    def of(cls, move: Move) -> MoveCancelling:
        """The event of a move."""
        return cls(move.number, vm_of(move), source_of(move), target_of(move))


@dataclass(frozen=True, slots=True)
class SwitchedOver(MoveEvent):
    """vCenter shows the VM on its target for the first time."""

    kind = "switched_over"

    number: int
    vm: Ref
    host: str  # name


@dataclass(frozen=True, slots=True)
class MoveFinished(MoveEvent):
    """A move is over; ``host`` is the name of the host where the VM was observed, ``None`` if the VM no longer exists."""

    kind = "move_finished"

    number: int
    vm: Ref
    source: Place
    target: Place
    result: MoveResult
    error: MoveError | None = None
    host: str | None = None
    by: str = ""  # who moved the VM, if it was not this run: DRS, or a user
    parts: tuple[PartMove, ...] = ()

    @property
    def target_text(self) -> str:
        """Where the move leads, with the datastores if files move."""
        vcenter = self.target.vcenter if crosses(self.source.moid, self.target.moid) else ""
        return place_text(self.target.name, (part.target_name for part in self.parts), vcenter)

    @classmethod
    def of(cls, ended: Ended) -> MoveFinished:
        """The event of a move that is over."""
        move, fault = ended.move, ended.fault
        error = None if fault is None else MoveError(fault.name, fault.message)
        ends = (source_of(move), target_of(move))
        return cls(move.number, vm_of(move), *ends, ended.result, error, ended.host_name or None, ended.by, move.parts)


# --- experiments


@dataclass(frozen=True, slots=True)
class ExperimentFound(Event):
    """An experiment is watched from now on."""

    kind = "experiment_found"

    experiment: Experiment

    def to_json(self) -> dict[str, Any]:
        """The experiment's own fields, its VM as MoID and name."""
        return experiment_to_json(self.experiment)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """See ``Event``."""
        return cls(experiment_from_json(data))


def experiment_to_json(experiment: Experiment) -> dict[str, Any]:
    """An experiment as journals and artifacts hold it."""
    data: dict[str, Any] = encoded(experiment)
    return {"vm": {"moid": data.pop("vm"), "name": data.pop("vm_name")}, **data}


def experiment_from_json(data: Any) -> Experiment:
    """The experiment of a journal's line or of a run's artifact. Raises Malformed."""
    if not isinstance(data, Mapping):
        raise Malformed("Experiment is not an object")
    vm = decoded(Ref, data.get("vm"))
    return decoded(Experiment, {**data, "vm": vm.moid, "vm_name": vm.name})


@dataclass(frozen=True, slots=True)
class NoExperiment(Event):
    """No experiment was found in a VM, and what was seen instead."""

    kind = "no_experiment"

    vm: Ref
    detail: str


@dataclass(frozen=True, slots=True)
class PartlySearched(Event):
    """Experiments were found in a VM, and not every source could look: why there may be others, which are not watched."""

    kind = "partly_searched"

    vm: Ref
    detail: str


@dataclass(frozen=True, slots=True)
class ExperimentProgress(Event):
    """How far an experiment is (0..1), and what it gained since it was last reported."""

    kind = "experiment_progress"
    volatile = True

    vm: Ref
    id: str
    progress: float
    gained: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ExperimentConcluded(Event):
    """What the provider reports after the watch: how the experiment ended, and the largest gap by the training's clock."""

    kind = "experiment_concluded"

    vm: Ref
    id: str
    final: Final | None = None
    training_clock: Gap | None = None


@dataclass(frozen=True, slots=True)
class VerdictReached(Event):
    """The verdict on an experiment with its three claims and the figures behind it. Written after the move and at the end."""

    kind = "verdict"

    vm: Ref
    provider: str
    id: str
    verdict: Verdict
    identity: str
    progress_claim: str
    stall_claim: str
    longest_stall: StallFigures | None = None
    longest_freeze: StallFigures | None = None
    resolution: float | None = None
    progress_before: float | None = None
    progress_after: float | None = None
    samples: int = 0
    unwatched_seconds: float = 0.0
    detail: str = ""
    owner: str = ""
    cluster: str = ""
    vms: tuple[str, ...] = ()  # names of all VMs in which the experiment has nodes
    description: str = ""

    @classmethod
    def of(cls, judgement: Judgement) -> VerdictReached:
        """The event of a judgement."""
        experiment = judgement.experiment
        return cls(
            vm=Ref(experiment.vm, experiment.vm_name),
            provider=experiment.provider,
            id=experiment.id,
            verdict=judgement.verdict,
            identity=judgement.identity,
            progress_claim=judgement.progress,
            stall_claim=judgement.stall,
            longest_stall=StallFigures.of(judgement.longest_stall),
            longest_freeze=StallFigures.of(judgement.longest_freeze),
            resolution=judgement.resolution,
            progress_before=judgement.progress_before,
            progress_after=judgement.progress_after,
            samples=judgement.samples,
            unwatched_seconds=judgement.unwatched_seconds,
            detail=judgement.detail,
            owner=experiment.owner,
            cluster=experiment.cluster,
            vms=tuple(vm_list(judgement)),
            description=experiment.description,
        )

    def judgement(self, experiment: Experiment) -> Judgement:
        """The judgement on an experiment that this event records."""
        stall, freeze = self.longest_stall, self.longest_freeze
        return Judgement(
            experiment=experiment,
            verdict=self.verdict,
            identity=self.identity,
            progress=self.progress_claim,
            stall=self.stall_claim,
            longest_stall=None if stall is None else stall.stall(),
            longest_freeze=None if freeze is None else freeze.stall(),
            resolution=self.resolution,
            progress_before=self.progress_before,
            progress_after=self.progress_after,
            samples=self.samples,
            unwatched_seconds=self.unwatched_seconds,
            detail=self.detail,
        )


# --- what vCenter itself proves


@dataclass(frozen=True, slots=True)
class PowerOnTimes(Event):
    """When vCenter says that VMs (by MoID) were powered on; ``when``: ``before`` or ``after`` the moves."""

    kind = "power_on"

    when: str
    times: Mapping[str, str | None]


CLOCK_SECONDS = 300.0  # by which the clocks of host, vCenter and controller may differ


def is_restart(before: str, at: str, started: str) -> bool:
    """Whether a VM that had been powered on ``before`` was powered on again ``at`` a time in a run that had ``started`` (UTC, ISO 8601).

    A new time that lies before the run is the old one, as another host's clock has it.
    """
    return at > before and (span(started, at) or 0.0) > -CLOCK_SECONDS


def has_continued(identity: str, verdict: str) -> bool:
    """Whether the process of an experiment was the same at the end of the watch, so that its VM was not restarted."""
    return identity == "proven" and verdict in ("uninterrupted", "stalled")


@dataclass(frozen=True, slots=True)
class VmRestarted(Event):
    """A VM was powered on again at a time (UTC) during the run, so that what ran in it has ended; ``by``: ``vSphere HA``, or ""."""

    kind = "vm_restarted"

    vm: Ref
    at: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class GuestProcesses(Event):
    """The processes of guests, by the MoID of the VM; ``when``: ``before`` or ``after`` the moves."""

    kind = "guest_processes"

    when: str
    readings: Mapping[str, Any]


# --- homes


@dataclass(frozen=True, slots=True)
class HomeRecorded(MoveEvent):
    """The home of a VM; ``attribute`` means that it is in the VM's custom attribute, too."""

    kind = "home_recorded"

    vm: Ref
    home: Ref
    target: Ref
    start: str = ""  # MoID of the host where the move to the target starts
    attribute: bool = False
    vm_uuid: str = ""  # instance UUID
    files: tuple[HomeFile, ...] = ()
    place: InventoryPlace | None = None  # of the home, if the move changes resource pool, folder or networks
    home_vcenter: str = ""  # address of the vCenter of ``home``, if ``target`` is in another one
    target_vcenter: str = ""


@dataclass(frozen=True, slots=True)
class HomeClearing(MoveEvent):
    """The home of a VM is about to be cleared, because a rollback brought the VM back to it."""

    kind = "home_clearing"

    vm: Ref


@dataclass(frozen=True, slots=True)
class HomeCleared(MoveEvent):
    """The VM needs no home any more."""

    kind = "home_cleared"

    vm: Ref


@dataclass(frozen=True, slots=True)
class Unrecognised(Event):
    """An event of a kind that this version does not know; it decides nothing."""

    name: str

    kind = ""


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        RunStarted,
        RunResumed,
        FenceFound,
        WindowOpened,
        WindowClosed,
        MaintenanceSeen,
        Noticed,
        MovePlanned,
        VmRefused,
        DrsPlanned,
        ExperimentFound,
        NoExperiment,
        PartlySearched,
        PowerOnTimes,
        GuestProcesses,
        HomeRecorded,
        MoveSubmitting,
        MoveSubmitted,
        MoveSeen,
        MoveProgressed,
        SwitchedOver,
        MoveCancelling,
        MoveFinished,
        ExperimentProgress,
        VerdictReached,
        RollingBack,
        FenceSetting,
        FenceLifting,
        FenceLifted,
        FenceKept,
        DrsPinning,
        DrsRestored,
        DrsLeft,
        DrsKept,
        HomeClearing,
        HomeCleared,
        ExperimentConcluded,
        SamplesSealed,
        VmRestarted,
        LeftBehind,
        RunStopping,
        RunInterrupted,
        VcenterSilence,
        RunFinished,
    )
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as a journal holds it: its number, its time (UTC, ISO 8601; the controller's monotonic seconds)."""

    seq: int
    at: str
    mono: float
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return {"seq": self.seq, "at": self.at, "mono": self.mono, "event": self.event.kind, **self.event.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The entry of a JSON object. Raises Malformed."""
        name = data.get("event")
        if not isinstance(name, str):
            raise Malformed("event is not of type str")
        envelope = decoded(_Envelope, data)
        kind = KINDS.get(name)
        event = Unrecognised(name) if kind is None else kind.from_json(data)
        return cls(envelope.seq, envelope.at, envelope.mono, event)


@dataclass(frozen=True, slots=True)
class _Envelope:
    seq: int
    at: str
    mono: float
