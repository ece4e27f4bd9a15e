# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The executor: carries out a plan with a sliding window of slots, journal first, observed truth last.

One loop on one thread: start what the slots allow, hear of tasks and placements from the one
``WaitForUpdatesEx``, close what ended, let experiments settle, judge them before more is started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .._core.advice import VERDICT_WORDS, title_of
from .._core.codec import encoded
from .._core.errors import CallFailed, ConnectError, PermissionMissing, StateUnwritable, VsphereError
from .._core.wording import HA, is_restarted
from .._experiments.clusters import merged, vm_list
from .._experiments.model import Judgement
from .._experiments.verdict import must_stop_run
from .._plan.blockers import POWER_WORDS
from .._plan.homes import DRS
from .._plan.model import Move, Plan
from .._plan.slots import move_timeout, next_moves
from .._vsphere.estate import HostState
from .._vsphere.faults import (
    MISSING_PRIVILEGE,
    OwnReason,
    advice_on,
    is_busy,
    is_transient,
    is_unheard,
)
from .._vsphere.home_attribute import Home
from .._vsphere.news import Fault, PlacementUpdate, TaskUpdate
from .events import (
    Event,
    MoveCancelling,
    MoveFinished,
    MovePlanned,
    MoveProgressed,
    MoveSubmitted,
    MoveSubmitting,
    RunStopping,
    SwitchedOver,
    VerdictReached,
    VmRestarted,
    vm_of,
)
from .home_records import record_home
from .model import Ended, MoveResult, Outcome, Rules
from .ports import ExperimentWatch, Recorder, Vcenter
from .sight import Sight

_UPDATE_SECONDS = 1.0
_SETTLE_SECONDS = 0.2
FOLLOW_SECONDS = 120.0  # in which DRS has not begun a move, until the run moves the VMs itself
SOMEBODY = "somebody else"  # the mover of a VM, if vCenter does not say who it was
FORGOTTEN_SECONDS = 120.0  # hosts may need so long to end a move whose task vCenter no longer knows


@dataclass(slots=True)
class _Flight:
    """A move whose task runs. ``deadline`` is monotonic; ``switched``: the VM was seen on its target.

    ``forgotten``: vCenter no longer knows the task, for example after a restart. The hosts may continue the move.
    """

    move: Move
    deadline: float
    task: str
    attempt: int
    cancelling: bool = False
    switched: bool = False
    forgotten: bool = False


def failures_of(outcome: Outcome) -> tuple[str, ...]:
    """What makes the run fail, one sentence each: failed moves, VMs left behind, interrupted experiments."""
    moves = tuple(_left(e) for e in outcome.left_behind)
    gone = tuple(f"{e.move.vm_name} is no longer in vCenter" for e in outcome.ended if e.result is MoveResult.GONE)
    return moves + gone + tuple(_harm(j) for j in merged(outcome.judgements) if must_stop_run(j))


def restarts_of(outcome: Outcome, restarts: Iterable[VmRestarted] = ()) -> tuple[str, ...]:
    """The VMs that were restarted while they were to be moved, one sentence each.

    vSphere HA restarted them on another host; or vCenter shows ``restarts``, also of VMs that moved after that.
    """
    by_ha = [e for e in outcome.ended if is_restarted(e.result, e.by)]
    sentences = [
        f"{HA} restarted {e.move.vm_name} on {e.host_name}, because its host, network or storage had failed"
        for e in by_ha
    ]
    told = {e.move.vm for e in by_ha}
    return (*sentences, *(_restarted(each) for each in restarts if each.vm.moid not in told))


def _restarted(restart: VmRestarted) -> str:
    name = restart.vm.name
    if restart.by == HA:
        return f"{HA} restarted {name} during the run, because its host, network or storage had failed"
    return f"{name} was powered on again during the run, so that what ran in it has ended"


def _left(ended: Ended) -> str:
    move, why = ended.move, _result_text(ended.result, _fault_text(ended.fault))
    if ended.host is None:
        return f"It is not known on which host {move.vm_name} is ({why})"
    if not move.changes_host:
        return f"The files of {move.vm_name} on {ended.host_name} were left where they were ({why})"
    if ended.host == move.source:
        return f"{move.vm_name} was left on {ended.host_name} ({why})"
    if ended.host == move.target and ended.fault is not None and ended.fault.name == OwnReason.VM_NOT_POWERED_ON:
        return f"{move.vm_name} is on {ended.host_name}, and was not seen to move there ({why})"
    if ended.host == move.target:
        return f"{move.vm_name} is on {ended.host_name}, but its files were not seen where they were to go ({why})"
    return f"{move.vm_name} is on {ended.host_name}, not on {move.target_name} ({why})"


def counts_as_failure(ended: Ended, rules: Rules) -> bool:
    """Whether a move that did not succeed stops the run, or rolls it back.

    A VM that was deleted, shut down or suspended meanwhile does not keep a host from being emptied, so the others still leave it.
    """
    idle = ended.result is MoveResult.GONE or (ended.fault and ended.fault.name == OwnReason.VM_NOT_POWERED_ON)
    return not (idle and ended.move.source == rules.leaving)


def reason_not_to_start(move: Move, seen: PlacementUpdate, hosts: Mapping[str, HostState]) -> Fault | None:
    """Why a VM must not be moved any more, ``None`` if it may be. ``hosts`` are by MoID."""
    if seen.unknown:
        return Fault(OwnReason.PLACE_UNKNOWN, seen.unknown)
    if seen.host is None:
        return Fault(OwnReason.VM_DELETED, "the VM is no longer in vCenter")
    if seen.host != move.source:
        place = hosts[seen.host].name if seen.host in hosts else seen.host
        return Fault(OwnReason.VM_MOVED_MEANWHILE, f"the VM is on {place}, not on {move.source_name}")
    return idle(seen)


def idle(seen: PlacementUpdate) -> Fault | None:
    """That a VM does not run; ``None`` if it does, or if that is not known."""
    words = POWER_WORDS.get(seen.power) if seen.power is not None else None
    return Fault(OwnReason.VM_NOT_POWERED_ON, f"the VM is {words}") if words else None


def not_moved(seen: PlacementUpdate, by: str) -> Fault | None:
    """Why a VM that is on another host was not moved there; ``None`` if it was. ``by`` is who moved it, as vCenter says.

    HA registers a VM on another host before it starts the VM there, and says so after that. So a VM that does not run, and
    of which vCenter names no mover, was not moved: what ran in it has ended.
    """
    return idle(seen) if by in ("", SOMEBODY) else None


def _fault_text(fault: Fault | None) -> str:
    """A fault in a few words; its message where its name does not say what somebody has to know or grant."""
    if fault is None:
        return ""
    if fault.name in (PermissionMissing.__name__, OwnReason.PLACE_UNKNOWN, OwnReason.VM_NOT_POWERED_ON):
        return fault.message
    known = fault.message if fault.message.startswith(MISSING_PRIVILEGE) else advice_on(fault.name)
    return f"{fault.name}, {known}" if known else fault.name


def _result_text(result: MoveResult, fault: str) -> str:
    return f"{str(result).replace('_', ' ')}{': ' if fault else ''}{fault}"


def _harm(judgement: Judgement) -> str:
    return f"{verdict_text(judgement)}{f': {judgement.detail}' if judgement.detail else ''}"


def verdict_text(judgement: Judgement) -> str:
    """An experiment and its verdict, ``GBM gbm_1 in ML-cpu-vm-04 was lost``."""
    experiment = judgement.experiment
    row = {**encoded(experiment), "vms": vm_list(judgement)}
    return f"{title_of(row)} {VERDICT_WORDS[judgement.verdict][0]}"


class Executor:
    """Carries out one plan.

    ``homes`` are the recorded homes of its VMs. ``hosts`` are all hosts by MoID, because somebody else may move a VM to any
    of them. ``interrupted`` returns true when the controller that asked for the run is gone: then no further move is
    started, moves in flight are completed, and the run can be resumed.
    """

    def __init__(
        self,
        vcenter: Vcenter,
        watch: ExperimentWatch,
        journal: Recorder,
        rules: Rules,
        *,
        homes: Mapping[str, Home] | None = None,
        hosts: Mapping[str, HostState] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vcenter = vcenter
        self._watch = watch
        self._journal = journal
        self._rules = rules
        self._homes = homes or {}
        self._interrupted = interrupted
        self._clock = clock
        self._sleep = sleep
        self._sight = Sight(vcenter, interrupted=interrupted, clock=clock, sleep=sleep)
        self._hosts = hosts or {}
        self._names: dict[str, str] = {moid: host.name for moid, host in self._hosts.items()}
        self._follow_until = 0.0
        self._pending: list[Move] = []
        self._not_before: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        # VMs that a killed process of the run may have submitted.
        self._own = set(self._rules.unheard)
        # By VM: until when an earlier submission may move it, without a task that shows it.
        self._unheard: dict[str, float] = {}
        self._flights: dict[str, _Flight] = {}
        self._settling: dict[str, Move] = {}
        self._ended: list[Ended] = []
        self._failures = 0
        self._stopped = ""
        self._unwritable: StateUnwritable | None = None

    def run(self, plan: Plan, watched: tuple[str, ...] = ()) -> Outcome:
        """Carry out the plan's moves and judge the experiments of ``watched`` VMs at the end.

        Raises StateUnwritable if the journal accepts nothing any more, once the moves in flight have ended.
        """
        self._follow_until = self._clock() + FOLLOW_SECONDS
        for move in plan.moves:
            if move.vm in self._rules.unheard:
                self._unheard[move.vm] = self._clock() + self._timeout(move)
            self._names |= {move.source: move.source_name, move.target: move.target_name}
            if move.vm in self._rules.followed:
                self._watch.focus(move.vm)
        self._pending = [move for move in plan.moves if move.task is None]
        for move in plan.moves:
            if move.task is not None:
                self._adopt(move, move.task)
        while self._pending or self._flights or self._settling:
            self._heed_interruption()
            self._drop_pending_when_stopped()
            self._see_others()
            self._start_ready()
            self._hear()
            self._enforce_deadlines()
            self._close_settled()
        self._heed_interruption()
        if self._unwritable is not None:
            raise self._interrupted_by(self._unwritable)
        # Members of a cluster are judged with each of its VMs; each counts once.
        judgements = {(j.experiment.vm, j.experiment.id): j for vm in watched for j in self._watch.judge(vm)}
        return Outcome(tuple(self._ended), tuple(judgements.values()), self._stopped, self._interrupted())

    # starting

    def _adopt(self, move: Move, task: str) -> None:
        self._own.add(move.vm)
        self._note(MoveSubmitting.of(move, attempt=1, adopted=True))
        self._watch.focus(move.vm)
        self._took_off(move, task, attempt=1)

    def _start_ready(self) -> None:
        if self._stopped:
            return
        now = self._clock()
        ready = [m for m in self._pending if self._not_before.get(m.vm, now) <= now and not self._is_followed(m)]
        flying = [flight.move for flight in self._flights.values()]
        # A submission without an answer may be under way, so its VM keeps its slot until it is submitted again.
        unheard = [move for move in self._pending if now < self._unheard.get(move.vm, now)]
        again = next_moves([move for move in ready if move in unheard], flying, self._rules.slots)
        fresh = [move for move in ready if move not in unheard]
        moves = (*again, *next_moves(fresh, [*flying, *unheard], self._rules.slots))
        # A move may have waited long for its slot or its next attempt. People or DRS may have moved the VM since.
        seen = self._sight.placement(tuple(move.vm for move in moves)) if moves else {}
        for move in moves:
            if self._interrupted():
                return
            self._pending.remove(move)
            self._start(move, seen.get(move.vm, PlacementUpdate(move.vm, None)))

    def _start(self, move: Move, seen: PlacementUpdate) -> None:
        fault = reason_not_to_start(move, seen, self._hosts)
        if fault is None:
            self._submit(move)
        elif fault.name == OwnReason.VM_MOVED_MEANWHILE and seen.host is not None and self._may_go_on(move, seen.host):
            self._submit(self._from(move, seen.host))
        else:
            self._decide(move, seen, fault, MoveResult.FAILED)

    def _may_go_on(self, move: Move, host: str) -> bool:
        """Whether a VM that is on another host is still to be moved to its target. What a person did is left alone."""
        return self._rules.leaving is None and host != move.target and self._sight.mover(move.vm, host) == DRS

    def _from(self, move: Move, host: str) -> Move:
        """The move from another host than planned."""
        known = self._hosts.get(host)
        domain = known.fault_domain if known is not None else None
        again = replace(move, source=host, source_name=self._names.get(host, host), source_fault_domain=domain)
        self._note(MovePlanned.of(again))
        return again

    # moves of others

    def _is_followed(self, move: Move) -> bool:
        """Whether DRS is still expected to move the VM."""
        return move.vm in self._rules.followed and self._clock() < self._follow_until

    def _see_others(self) -> None:
        """Adopt what DRS moves now, and close what it has moved. As long as it moves VMs, it is waited for."""
        followed = [move for move in self._pending if self._is_followed(move)]
        if not followed:
            return
        vms = tuple(move.vm for move in followed)
        seen, moving = self._sight.placement(vms), self._sight.moving(vms)
        for move in followed:
            place, task = seen[move.vm], moving.get(move.vm, "")
            if (place.host == move.source or place.unknown) and not task:
                continue
            self._pending.remove(move)
            self._follow_until = self._clock() + FOLLOW_SECONDS
            if place.host == move.source or place.unknown:
                self._adopt(replace(move, inferred=True), task)
            else:
                self._decide(move, place, None, MoveResult.FAILED)

    def _submit(self, move: Move) -> None:
        attempt = self._attempts[move.vm] = self._attempts.get(move.vm, 0) + 1
        try:
            self._watch.focus(move.vm)
            self._journal.write(MoveSubmitting.of(move, attempt=attempt))
        except StateUnwritable as error:
            self._stop_writing(error)
            self._pending.append(move)
            return
        try:
            host = move.target if move.changes_host or not move.parts else None
            priority = self._rules.priority
            files, policies = move.targets, move.policies
            task = self._vcenter.relocate(
                move.vm, host, place=move.place_after, priority=priority, files=files, policies=policies
            )
        except ConnectError:
            self._decide_unanswered(move, attempt)
            return
        except VsphereError as error:
            name = error.fault if isinstance(error, CallFailed) else type(error).__name__
            self._close(move, Fault(name, str(error).rstrip(".")), attempt, MoveResult.FAILED)
            return
        self._took_off(move, task, attempt)

    def _decide_unanswered(self, move: Move, attempt: int) -> None:
        """The answer to a submission was lost, and perhaps the submission, too: what vCenter shows decides."""
        task = self._sight.moving((move.vm,)).get(move.vm, "")
        if task:  # it is this one, because nobody moved the VM a moment ago
            self._took_off(move, task, attempt)
        else:
            fault = Fault(OwnReason.NO_ANSWER, "vCenter did not answer, and shows no task that moves the VM")
            self._close(move, fault, attempt, MoveResult.FAILED)

    def _took_off(self, move: Move, task: str, attempt: int) -> None:
        if not move.inferred:  # else a resumed run would treat the task as its own
            self._note(MoveSubmitted(move.number, vm_of(move), task))
        self._flights[task] = _Flight(move, self._clock() + self._timeout(move), task, attempt)
        self._sight.follow(task, move.vm)

    def _timeout(self, move: Move) -> float:
        """Seconds after which the task of a move is cancelled."""
        rules = self._rules
        return move_timeout(move, rules.slots, per_gib=rules.timeout_per_gib, floor=rules.timeout_floor)

    def _keep_home(self, ended: Ended) -> None:
        """Correct the home of a VM that is not where it was recorded to go."""
        move = ended.move
        home = self._homes.get(move.vm)
        if ended.result is MoveResult.TIMED_OUT or ended.host is None or home is None:
            return  # the task of a move that timed out may still move the VM to the target
        stayed = ended.result is not MoveResult.MOVED and bool(move.parts)
        if ended.host != home.target or stayed:
            files = tuple(replace(file, target=move.sources.get(file.part, file.target)) for file in home.files)
            home = replace(
                home,
                target=ended.host,
                target_name=ended.host_name,
                target_vcenter=self._vcenter_of(ended.host),
                files=files if stayed else home.files,
            )
        elif ended.result is not MoveResult.MOVED or not move.changes_vcenter:
            return
        try:  # custom attributes do not travel to another vCenter, so that the home is recorded there once more
            record_home(self._vcenter, self._journal, vm_of(move), home)
        except StateUnwritable as error:
            self._stop_writing(error)

    # news

    def _hear(self) -> None:
        if not self._flights:
            if self._pending or self._settling:
                self._sleep(_SETTLE_SECONDS)
            return
        for update in self._sight.updates(_UPDATE_SECONDS if not self._settling else _SETTLE_SECONDS):
            if isinstance(update, TaskUpdate):
                self._hear_task(update)
            else:
                self._hear_placement(update)

    def _hear_task(self, update: TaskUpdate) -> None:
        flight = self._flights.get(update.task)
        if flight is None:
            return
        if update.state == "gone":
            self._forget(flight)
        elif update.state in ("success", "error"):
            result = self._failure_kind(flight, update.cancelled)
            self._close(flight.move, update.fault, flight.attempt, result, task=update.task)
        elif update.percent is not None:
            move = flight.move
            self._note(MoveProgressed(move.number, vm_of(move), update.percent))

    def _forget(self, flight: _Flight) -> None:
        """vCenter no longer knows the task. Unless the VM has arrived, it gets time to be seen on its target."""
        move = flight.move
        seen = self._sight.placement((move.vm,)).get(move.vm)
        task = self._sight.moving((move.vm,)).get(move.vm, "")
        if seen is None or (seen.host != move.source and not seen.unknown):
            self._end_forgotten(flight)
        elif task and task != flight.task:
            del self._flights[flight.task]
            self._sight.unfollow(flight.task)
            self._flights[task] = replace(flight, task=task)
            self._sight.follow(task, move.vm)
        else:
            flight.forgotten = True
            flight.deadline = min(flight.deadline, self._clock() + FORGOTTEN_SECONDS)

    def _end_forgotten(self, flight: _Flight) -> None:
        fault = Fault(OwnReason.TASK_FORGOTTEN, "vCenter no longer knows the task of the move")
        self._close(flight.move, fault, flight.attempt, self._failure_kind(flight), task=flight.task)

    def _hear_placement(self, update: PlacementUpdate) -> None:
        for flight in list(self._flights.values()):
            if flight.move.vm != update.vm:
                continue
            if update.host not in (None, flight.move.source) and not flight.switched:
                flight.switched = True
                self._write_switch(flight.move, update.host)
            if flight.forgotten and update.host != flight.move.source:
                self._end_forgotten(flight)

    @staticmethod
    def _failure_kind(flight: _Flight, cancelled: bool = False) -> MoveResult:
        if flight.cancelling:
            return MoveResult.TIMED_OUT
        return MoveResult.CANCELLED if cancelled else MoveResult.FAILED

    # ending

    def _close(
        self, move: Move, fault: Fault | None, attempt: int, otherwise: MoveResult, *, task: str | None = None
    ) -> None:
        """Decide a move by the observed host of its VM; ``otherwise`` is the result if that is not the target."""
        seen = self._sight.placement((move.vm,)).get(move.vm, PlacementUpdate(move.vm, None))
        host = seen.host
        if task is not None:
            flight = self._flights.pop(task)
            self._sight.unfollow(task)
            if host not in (None, move.source) and not flight.switched:
                self._write_switch(move, host)
        arrived = self._has_arrived(move, host)
        left = host == move.source and not arrived
        if otherwise is not MoveResult.TIMED_OUT and move.inferred and left:
            # The task belonged to somebody else; this move is still due.
            self._pending.append(replace(move, task=None, inferred=False))
        elif otherwise is not MoveResult.TIMED_OUT and left and self._may_retry(move, fault, attempt):
            self._not_before[move.vm] = self._clock() + self._rules.retry_delay * attempt
            self._pending.append(move)
        else:
            self._decide(move, seen, fault, otherwise)

    def _has_arrived(self, move: Move, host: str | None) -> bool | None:
        """Whether a VM on this host is where the move leads, with its files; ``None`` if vCenter does not say where they are."""
        if host != move.target or not move.parts:
            return host == move.target
        places = self._sight.places(move.vm)
        return None if places is None else move.has_arrived(host, places)

    def _decide(self, move: Move, seen: PlacementUpdate, fault: Fault | None, otherwise: MoveResult) -> None:
        self._finish(self._end_of(move, seen, fault, otherwise))

    def _end_of(self, move: Move, seen: PlacementUpdate, fault: Fault | None, otherwise: MoveResult) -> Ended:
        """How a move ended, decided by the host of its VM, and by the datastores of its files."""
        host = seen.host
        if host is None and seen.unknown:
            return Ended(move, otherwise, None, "", Fault(OwnReason.PLACE_UNKNOWN, seen.unknown))
        if host is None:
            return Ended(move, MoveResult.GONE, None, "", fault)
        name, arrived = self._names.get(host, host), self._has_arrived(move, host)
        explained = host == move.source or (fault is None and self._is_own(move))
        if not explained and idle(seen) and (off := not_moved(seen, self._sight.mover(move.vm, host))):
            return Ended(move, otherwise, host, name, off)
        if arrived:
            return Ended(move, MoveResult.MOVED, host, name, by=self._brought_by(move, host, fault))
        if self._has_left(move, host):
            by = self._sight.mover(move.vm, host) or SOMEBODY
            return Ended(self._to(move, host), MoveResult.MOVED, host, name, by=by)
        if arrived is None:
            fault = fault or Fault(OwnReason.PLACE_UNKNOWN, "vCenter does not say where the files of the VM are")
        if otherwise is MoveResult.FAILED and host == move.source:
            fault = idle(seen) or fault  # what the task says of a VM that was shut down is only a consequence
        return Ended(move, otherwise, host, name, fault)

    def _brought_by(self, move: Move, host: str, fault: Fault | None) -> str:
        """Who brought a VM to its target, "" if it was this run. After a fault it may be HA, which chooses the host of a VM itself.

        A submission of the run may also be one of a killed process, whose task is adopted or was never seen.
        """
        own = self._is_own(move)
        by = self._sight.mover(move.vm, host) if not own or fault is not None else ""
        if own:
            return by if by == HA else ""
        return by or SOMEBODY

    def _is_own(self, move: Move) -> bool:
        """Whether the run, or a killed process of it, has submitted the move."""
        return move.vm in self._own - self._rules.followed or move.vm in self._attempts

    def _has_left(self, move: Move, host: str) -> bool:
        """Whether somebody else has moved the VM away from the host that it has to leave."""
        return move.source == self._rules.leaving and host not in (move.source, self._rules.leaving)

    def _to(self, move: Move, host: str) -> Move:
        """The move to the host where somebody else has moved the VM."""
        known = self._hosts.get(host)
        domain = known.fault_domain if known is not None else None
        name = self._names.get(host, host)
        return replace(
            move,
            target=host,
            target_name=name,
            target_fault_domain=domain,
            target_vcenter=self._vcenter_of(host),
            parts=(),
        )

    def _vcenter_of(self, host: str) -> str:
        """The address of the vCenter of a host, if the run is over two."""
        return self._hosts[host].vcenter if host in self._hosts else ""

    def _write_switch(self, move: Move, host: str | None) -> None:
        self._note(SwitchedOver(move.number, vm_of(move), self._names.get(host or "", host or "")))

    def _may_retry(self, move: Move, fault: Fault | None, attempt: int) -> bool:
        """Whether a move is submitted again. What an earlier submission may still move is tried until it would be cancelled."""
        if fault is None or self._stopped:
            return False
        if is_unheard(fault.name):
            self._unheard.setdefault(move.vm, self._clock() + self._timeout(move))
        elif self._clock() < self._unheard.get(move.vm, 0.0) and is_busy(fault.name):
            return True
        return is_transient(fault.name) and attempt <= self._rules.retries

    def _finish(self, ended: Ended) -> None:
        move, fault = ended.move, ended.fault
        self._ended.append(ended)
        self._note(MoveFinished.of(ended))
        self._keep_home(ended)
        self._watch.moved(move.vm)
        if self._unwritable is None:
            self._settling[move.vm] = move
        if ended.result is not MoveResult.MOVED and counts_as_failure(ended, self._rules):
            reason = fault.name if fault is not None else str(ended.result)
            self._failed(f"the move of {move.vm_name} {ended.result} ({reason})")

    def _failed(self, what: str) -> None:
        self._failures += 1
        if self._rules.stop_on_failure and self._failures >= self._rules.max_failures and not self._stopped:
            self._stopped = what

    def _enforce_deadlines(self) -> None:
        now = self._clock()
        for flight in list(self._flights.values()):
            if now < flight.deadline:
                continue
            if flight.forgotten:
                self._end_forgotten(flight)
            elif flight.cancelling or flight.move.inferred:
                what = (
                    "after it was cancelled"
                    if flight.cancelling
                    else "in time; it may belong to somebody else, so it was not cancelled"
                )
                fault = Fault(OwnReason.DEADLINE_EXCEEDED, f"vCenter did not end the task {what}")
                self._close(flight.move, fault, flight.attempt, MoveResult.TIMED_OUT, task=flight.task)
            else:
                flight.cancelling, flight.deadline = True, now + self._rules.cancel_grace
                self._note(MoveCancelling.of(flight.move))
                self._sight.cancel(flight.task)

    def _close_settled(self) -> None:
        for vm in [vm for vm in self._settling if self._watch.settled(vm)]:
            if self._unwritable is not None:
                return  # the verdict before was the first that could not be written
            self._settling.pop(vm)
            for judgement in self._watch.judge(vm):
                self._note(VerdictReached.of(judgement))
                if must_stop_run(judgement) and self._rules.stop_on_verdict:
                    self._failed(verdict_text(judgement))

    # stopping

    def _note(self, event: Event) -> None:
        """Record what has happened. If that is impossible, what is in flight is still seen through."""
        try:
            self._journal.write(event)
        except StateUnwritable as error:
            self._stop_writing(error)

    def _stop_writing(self, error: StateUnwritable) -> None:
        self._unwritable = self._unwritable or error
        self._stopped = self._stopped or "the journal cannot be written; no further move was started"
        self._settling.clear()  # the resumed run judges

    def _interrupted_by(self, error: StateUnwritable) -> StateUnwritable:
        """The error with the place of each VM, because the journal does not have it."""
        moved = [e.move.vm_name for e in self._ended if e.result is MoveResult.MOVED]
        stayed = [_left(e) for e in self._ended if e.result is not MoveResult.MOVED]
        told = [f"moved: {', '.join(moved)}"] if moved else []
        what = "; ".join(["no further move was started, and those in flight have ended", *told, *stayed])
        return StateUnwritable(f"{error.message}: {what}", hint=error.hint, option=error.option)

    def _heed_interruption(self) -> None:
        if self._interrupted() and not self._stopped:
            self._note(RunStopping("the run was interrupted"))
            self._stopped = "the run was interrupted; moves in flight were completed, no further move was started"

    def _drop_pending_when_stopped(self) -> None:
        if not self._stopped:
            return
        pending, self._pending = self._pending, []
        for move, seen in zip(pending, self._seen_now(pending), strict=True):
            ended = self._end_of(move, seen, None, MoveResult.NOT_STARTED)
            if self._interrupted():
                self._ended.append(ended)  # the resumed run decides it
            elif ended.result is MoveResult.NOT_STARTED:
                self._ended.append(ended)
                self._note(MoveFinished.of(ended))
                self._keep_home(ended)
            else:
                self._finish(ended)

    def _seen_now(self, moves: Sequence[Move]) -> list[PlacementUpdate]:
        """Where the VMs of moves are: people or DRS may have moved what was still to be started."""
        vms = tuple(move.vm for move in moves)
        try:
            seen = self._sight.placement(vms) if vms else {}
        except ConnectError as error:
            seen = {vm: PlacementUpdate(vm, None, unknown=str(error).rstrip(".")) for vm in vms}
        return [seen.get(vm, PlacementUpdate(vm, None)) for vm in vms]
