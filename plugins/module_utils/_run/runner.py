# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run from the lock to ``run_finished``: the work of ``vm_migrate`` after the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from .._core.errors import CallFailed, ConnectError, InvalidInput, PermissionMissing, PlanRefused, VsphereError
from .._core.wording import HA
from .._experiments.model import Discovery, Experiment, Judgement
from .._experiments.own_ids import newcomers
from .._plan.drift import Drift, arrivals, arrived, left_as_powered_off, revalidate, started
from .._plan.homes import is_home_of, is_machine, next_home, recorded_home, stays, stray_text
from .._plan.model import DrsHandling, Move, Plan, Refusal
from .._plan.selection import display_name
from .._vsphere.estate import ATTRIBUTES, Estate, VmState
from .._vsphere.faults import OwnReason
from .._vsphere.home_attribute import ATTRIBUTE, Home
from .._vsphere.news import Fault, PlacementUpdate
from .._vsphere.qualified import crosses
from .events import Entry, Noticed, Pin, Ref, VmRestarted, vm_of
from .executor import SOMEBODY, Executor, failures_of, not_moved, restarts_of
from .guard import Guard
from .home_records import journal_homes, record_home
from .journal import Journal, read_journal, utc_now
from .lease import HostLease, owner_of
from .locks import holder_of, run_lock
from .model import (
    Ended,
    MoveResult,
    Outcome,
    Purpose,
    RolledBack,
    RunReport,
    RunRequest,
)
from .ports import NOBODY, ExperimentWatch, Observer, Onlooker, Vcenter, heard_by
from .record import RunRecord
from .rollback import NOWHERE, Rollback, rollback_reason
from .state import MoveRecord, RunState, replay, with_verdicts_of_moves
from .store import JOURNAL, new_run, pins_left, pins_of_nobody, runs_of, unfinished_run, unfinished_run_of_vms
from .timeline import by_last_clock

UNREAD = "vCenter does not say on which host the VM is. Grant the user System.Read on the VM"
ARRIVED = "it was placed or powered on on {host} before the host was fenced, so nobody watches how it leaves"
UNOBSERVED = Fault(OwnReason.END_NOT_OBSERVED, "the move ended while no process watched it")


def refuse_drift(request: RunRequest, estate: Estate) -> None:
    """Raise PlanRefused with everything that has changed since the plan was made, and with stuns above the budget in seconds."""
    leaving = request.host.moid if request.host else None
    drifts = revalidate(request.plan, estate, request.stall_budget, records_homes=request.record_homes, leaving=leaving)
    if drifts := (*drifts, *_arrivals(request, estate)):
        raise out_of_date(drifts)


def _arrivals(request: RunRequest, estate: Estate) -> tuple[Drift, ...]:
    """The VMs that came to the host since the plan was made, and that leave it unwatched once the run has fenced it."""
    if request.host is None or not (request.fence and request.record_homes):
        return ()
    return arrivals(request.plan, estate, request.host.moid)


def out_of_date(drifts: Iterable[Drift]) -> PlanRefused:
    """The error for a plan of which something has changed before anything moved."""
    what = "; ".join(f"{drift.vm_name}: {drift.what}" for drift in drifts)
    return PlanRefused(
        f"The plan is out of date; this call moved no VM ({what})", hint="Create a new plan", option="plan"
    )


def unrecoverable(experiments: Iterable[Experiment]) -> list[str]:
    """One sentence for each experiment that no checkpoint would save, or for which that is not known."""
    return [f"{e.vm_name} {e.description}: {e.recovery or 'not known'}" for e in experiments if e.recoverable != "yes"]


def refuse_unrecoverable(experiments: tuple[Experiment, ...], policy: str) -> None:
    """Raise PlanRefused if the policy is ``refuse`` and no checkpoint would save an experiment."""
    lost = unrecoverable(experiments)
    if policy == "refuse" and lost:
        raise PlanRefused(
            f"No checkpoint would save these experiments; this call moved no VM ({'; '.join(lost)})",
            hint="Make the trainings write checkpoints, or set require_checkpoint to warn",
            option="experiments",
        )


def carry_out(
    vcenter: Vcenter,
    observer: Observer,
    request: RunRequest,
    *,
    listener: Callable[[Entry], None],
    interrupted: Callable[[], bool],
    onlooker: Onlooker = NOBODY,
) -> RunReport:
    """Carry out a request, or resume the run that a killed process left for the same host or VMs.

    One that brought a VM to where this request does not want it is over: the journal is closed, and a new run begins.
    """

    vcenter.on_interruption(interrupted)
    lease = HostLease(vcenter, request.host, partial(owner_of, request.state))

    def run(request: RunRequest, folder: Path, earlier: RunState | None) -> RunReport:
        journal = Journal(folder / JOURNAL, heard_by(listener, onlooker))
        stops = _stops(lease, interrupted)
        work = _Run(vcenter, observer, request, folder, journal, earlier, stops, onlooker)
        onlooker.begin(folder)
        try:
            return work.go()
        except VsphereError as error:
            if journal.begun:
                error.run_id = folder.name  # so that its evidence can be found
            error.fenced, error.fence_unknown = work.fenced, work.fence_unknown
            raise
        finally:
            journal.close()
            onlooker.end()

    with ExitStack() as locks:
        found = _earlier_run(request)
        for key in sorted({request.key, found[1].key if found else request.key}):
            locks.enter_context(run_lock(request.state, key, timeout=request.lock_timeout))
        earlier = _earlier_run(request)
        _refuse_other_vcenters(earlier[1] if earlier else None, request.plan)
        if earlier is not None and request.host is None and _is_over(earlier[1], request):
            run(replace(request, plan=replace(request.plan, moves=(), refusals=())), *earlier)
            earlier = None
        if earlier is not None:
            with lease.held():
                return run(request, *earlier)
        if not (request.plan.moves or _leaves_homeless(request) or _pins_to_take_back(request)):
            if request.record_homes:  # else a VM leaves unwatched once the host enters maintenance mode
                refuse_drift(request, vcenter.estate())
            return RunReport("", None, Outcome((), ()))
        with lease.held():
            return run(request, new_run(request.state, request.purpose, request.subject), None)


def _stops(lease: HostLease, interrupted: Callable[[], bool]) -> Callable[[], bool]:
    """Whether no further move may start: the run was interrupted, or another controller works for the host now, or may.

    Once it is so, it stays so: the lease of another controller is read at intervals, and is not held again in this run.
    """
    seen = False

    def stops() -> bool:
        nonlocal seen
        seen = seen or interrupted() or not lease.kept()
        return seen

    return stops


def _leaves_homeless(request: RunRequest) -> bool:
    """Whether an evacuation leaves VMs that cannot move now, and whose homes no journal has: see :func:`stays`.

    Somebody else may move them once the host is fenced.
    """
    blocked = [refusal.vm for refusal in request.plan.refusals if refusal.blocking]
    if request.host is None or not request.record_homes or not blocked:
        return False
    homes = journal_homes(request.state, request.plan.vcenter.instance_uuid)
    return any(vm not in homes or homes[vm].target != request.host.moid for vm in blocked)


def _earlier_run(request: RunRequest) -> tuple[Path, RunState] | None:
    """The run that a killed process left for the same host or VMs."""
    if request.host is None:
        return unfinished_run_of_vms(request.state, request.plan)
    return unfinished_run(request.state, request.key, request.purpose, request.subject)


def _same_vcenters(run: RunState, plan: Plan) -> bool:
    """Whether a run is over the vCenters of the plan. Otherwise its VMs have other ids."""
    return (run.second.instance_uuid if run.second else None) == (plan.second.instance_uuid if plan.second else None)


def _refuse_other_vcenters(earlier: RunState | None, plan: Plan) -> None:
    """Raise InvalidInput if the run to resume is over other vCenters: its VMs could not be found."""
    if earlier is None or _same_vcenters(earlier, plan):
        return
    if earlier.second is None:
        what, hint = "is in one vCenter alone", "Omit destination_vcenter, and finish that run first"
    else:
        what = f"moves VMs between this vCenter and {earlier.second.address}"
        hint = f"Set destination_vcenter to the login of {earlier.second.address}, to finish that run first"
    raise InvalidInput(
        f"The run {earlier.run_id} was interrupted, and {what}; this call moved no VM",
        hint=hint,
        option="destination_vcenter",
    )


def _pins_to_take_back(request: RunRequest) -> dict[str, Pin]:
    """The VMs (MoIDs) that earlier runs excluded from DRS and did not give back: those of the request, and those of nobody else.

    What another process carries out now needs its exclusions, and gives them back itself.
    """
    planned = {move.vm for move in request.plan.moves}
    runs = runs_of(request.state, request.plan.vcenter.instance_uuid)
    runs = [run for run in runs if _same_vcenters(run, request.plan)]
    host = request.host.name if request.host else ""

    def is_held(key: str) -> bool:
        return holder_of(request.state, key) is not None

    orphans = pins_of_nobody(runs, request.key, host, is_held)
    left = {vm: found for vm, found in pins_left(runs).items() if vm in planned}
    return orphans | {vm: pin for vm, (run, pin) in left.items() if run.key == request.key or not is_held(run.key)}


def _is_over(earlier: RunState, request: RunRequest) -> bool:
    """Whether a request for VMs has another purpose than the earlier run, or moves a VM on from the target of that run."""
    wanted = {vm: record.move for vm, record in earlier.moves.items() if record.submitting}
    further = any(move.vm in wanted and _continues(wanted[move.vm], move) for move in request.plan.moves)
    return not earlier.rolling_back and (further or earlier.purpose is not request.purpose)


def _continues(earlier: Move, move: Move) -> bool:
    """Whether a move starts where an earlier one leads."""
    return earlier.target == move.source and (not move.parts or earlier.targets.items() <= move.sources.items())


def unseen_end(
    record: MoveRecord,
    host: tuple[str, str] | None,
    refusal: Refusal | None,
    places: Mapping[int, str] = NOWHERE,
    *,
    unknown: str = "",
) -> Ended:
    """How a move of a killed process ended, if its resumed run does not plan the move again.

    ``host`` (MoID and name) is where the VM is observed. It is ``None`` if the VM no longer exists, or if it is ``unknown``: then
    that says why. ``places`` are the datastores (MoIDs) of its parts.
    """
    move = record.move
    if record.result is MoveResult.MOVED:
        return Ended(move, MoveResult.MOVED, record.target, record.target_name, by=record.by)
    if host is None and unknown:
        return Ended(move, MoveResult.FAILED, None, "", Fault(OwnReason.PLACE_UNKNOWN, unknown))
    if host is None:
        return Ended(move, MoveResult.GONE, None, "", Fault(OwnReason.VM_DELETED, "the VM is no longer in vCenter"))
    if move.has_arrived(host[0], places):
        return Ended(move, MoveResult.MOVED, *host)
    if host[0] != record.source:
        fault = Fault(OwnReason.VM_MOVED_MEANWHILE, f"the VM is on {host[1]}, not on {record.source_name}")
        return Ended(move, MoveResult.FAILED, *host, fault)
    result = MoveResult.FAILED if record.submitting else MoveResult.NOT_STARTED
    if refusal is not None and refusal.reasons:
        return Ended(move, result, *host, Fault(refusal.reasons[0].check, refusal.reasons[0].hint))
    return Ended(move, result, *host, UNOBSERVED if record.submitting else None)


class _Run:
    def __init__(
        self,
        vcenter: Vcenter,
        observer: Observer,
        request: RunRequest,
        folder: Path,
        journal: Journal,
        earlier: RunState | None,
        interrupted: Callable[[], bool],
        onlooker: Onlooker,
    ) -> None:
        self._onlooker = onlooker
        self._vcenter = vcenter
        self._observer = observer
        self._request = request
        self._folder = folder
        self._journal = journal
        self._earlier = earlier
        self._interrupted = interrupted
        self._record = RunRecord(vcenter, journal, request, folder, earlier)
        self._not_fenced = ""  # why the host could not be fenced after the moves
        self._arrived: tuple[str, ...] | None = ()  # VMs (names) that came to the host before it was fenced
        self._guard = Guard(
            vcenter,
            journal,
            host=Ref(request.host.moid, request.host.name)
            if request.host and (request.fence or (earlier and earlier.own_fence))
            else None,
            own=earlier is not None and earlier.own_fence,
            unknown=earlier is not None and earlier.fence_unknown,
            task=earlier.fence_task if earlier is not None else "",
            pins={**(earlier.pins if earlier is not None else {}), **_pins_to_take_back(request)},
        )

    @property
    def fenced(self) -> bool:
        """Whether the host is fenced by this run, or may be."""
        return self._guard.fenced

    @property
    def fence_unknown(self) -> bool:
        """Whether vCenter does not show if the host is fenced."""
        return self._guard.fence_unknown

    @property
    def _rolling_back(self) -> str:
        """Why the killed process was rolling back, "" if it was not."""
        return self._earlier.rolling_back if self._earlier is not None else ""

    def go(self) -> RunReport:
        """Open, watch, move, judge, roll back if that is configured, close."""
        estate = self._vcenter.estate(devices_of_vms=self._vms_to_read())
        if not self._rolling_back:
            refuse_drift(self._request, estate)
        self._record.begin()
        self._vcenter.on_silence(self._record.silence)
        plan = self._remaining(estate)
        before = self._unseen_ends(estate, plan)
        self._record_homes_there(estate)
        forestalled = self._forestalled(estate, plan)
        self._record_homes_of(estate, (*before, *forestalled))
        self._record.plan(replace(plan, moves=(*plan.moves, *(end.move for end in forestalled))))
        for end in forestalled:
            self._record.ended(end)
        before += forestalled
        vms = self._subjects(estate, plan)
        seen = self._experiments(estate, vms)
        experiments = seen.experiments
        if not self._has_moved:
            self._refuse_unrecoverable(experiments, plan)
        self._record.vms("before", vms)
        watched = tuple(dict.fromkeys(experiment.vm for experiment in experiments))
        with ExitStack() as stack:
            watch = stack.enter_context(self._observer.watch(experiments, self._folder, self._record.progress))
            self._onlooker.watching(watch)
            watch.baseline()
            outcome, rolled_back = self._move(estate, plan, watch, watched)
            if rolled_back is None and not outcome.interrupted:
                outcome = self._away_again(self._left_since(outcome, estate), estate)
        times = self._record.vms("after", self._all_vms(estate, vms))
        self._record.seal(self._observer, rolled_back.outcome.judgements if rolled_back else outcome.judgements)
        return self._close(replace(outcome, ended=(*before, *outcome.ended)), rolled_back, seen, times)

    def _vms_to_read(self) -> tuple[str, ...]:
        """The VMs of the plan, and those of which the killed process moved files."""
        records = (*self._earlier.moves.values(), *self._earlier.back.values()) if self._earlier is not None else ()
        planned = (move.vm for move in self._request.plan.moves)
        return tuple(dict.fromkeys((*planned, *(record.vm for record in records if record.parts))))

    @property
    def _has_moved(self) -> bool:
        """Whether the killed process submitted a move. Then it is too late to refuse."""
        return self._earlier is not None and any(move.submitting for move in self._earlier.moves.values())

    def _refuse_unrecoverable(self, experiments: tuple[Experiment, ...], plan: Plan) -> None:
        """See :func:`refuse_unrecoverable`; a refused run is over, so that no later run resumes it."""
        try:
            refuse_unrecoverable(experiments, self._request.require_checkpoint)
        except PlanRefused:
            self._record.refused(len(plan.moves))
            raise

    def _refuse_started(self, plan: Plan) -> None:
        """Raise PlanRefused if a VM was powered on, or came to the host, while experiments were looked for.

        See :func:`started` and :func:`arrivals`.
        """
        if not self._request.record_homes or self._has_moved:
            return
        off = tuple(refusal.vm for refusal in left_as_powered_off(plan))
        seen = self._vcenter.placement(off) if off else {}
        now = {vm: (each.host, each.power) for vm, each in seen.items()}
        drifts = started(plan, now, self._leaving)
        if self._request.fence:
            drifts += _arrivals(self._request, self._vcenter.estate())
        if drifts:
            self._record.refused(len(plan.moves))
            raise out_of_date(drifts)

    def _move(
        self, estate: Estate, plan: Plan, watch: ExperimentWatch, watched: tuple[str, ...]
    ) -> tuple[Outcome, RolledBack | None]:
        """Carry out the plan, and bring VMs back if necessary; a killed rollback continues at once."""
        request = self._request
        outcome = Outcome((), (), self._rolling_back)
        rules = replace(request.rules, leaving=self._leaving)
        if not self._rolling_back:
            self._refuse_started(plan)
            homes = self._recorded_homes(estate, plan)
            if not self._interrupted():  # else no move starts, and nothing is guarded
                self._set_guard(plan)
            executor = Executor(
                self._vcenter,
                watch,
                self._journal,
                replace(rules, followed=_followed(plan), unheard=self._unheard),
                homes=homes,
                hosts=estate.hosts,
                interrupted=self._interrupted,
            )
            outcome = self._with_verdicts_of_moves(executor.run(plan, watched))
            if not (self._failed(outcome) or outcome.interrupted):
                self._arrived = self._arrived_before_fence(plan)
                self._not_fenced = self._guard.after(plan)
        reason = self._rolling_back or rollback_reason(outcome, rules)
        if not reason:
            return outcome, None
        rollback = Rollback(
            self._vcenter,
            watch,
            self._journal,
            request.rules,
            lift_fence=self._guard.fence.lift if self._guard.fence else lambda: "",
            interrupted=self._interrupted,
        )
        rolled_back = rollback.carry_out(reason, watched)
        return outcome, replace(rolled_back, outcome=self._with_verdicts_of_moves(rolled_back.outcome))

    def _arrived_before_fence(self, plan: Plan) -> tuple[str, ...] | None:
        """Record the VMs (names) that are placed on the host while others leave it, if it is fenced only after that.

        Its own VMs may come back as well, because DRS uses the room, and some are powered on there. Nobody watches how they leave the
        host once it is fenced. ``None`` if they cannot be read.
        """
        host = self._request.host
        if host is None or not self._guard.fences_last(plan):
            return ()
        try:
            estate = self._vcenter.estate()
        except (CallFailed, PermissionMissing, ConnectError):
            return None
        known = tuple(refusal for refusal in self._request.plan.refusals if refusal.blocking)
        vms = arrived(replace(self._request.plan, moves=(), refusals=known), estate, host.moid)
        for vm in vms:
            self._journal.write(Noticed(Ref(vm.moid, vm.name), f"{ARRIVED.format(host=host.name)}"))
        return tuple(display_name(estate, vm.moid) for vm in vms)

    def _set_guard(self, plan: Plan) -> None:
        """Pin VMs and fence the host. A run that cannot do that is over before its first move."""
        try:
            self._guard.before(plan)
        except VsphereError as error:
            if not self._has_moved:
                problems = self._guard.release(failed=True)
                error.message = "; ".join((error.message.rstrip("."), *problems))
                self._record.refused(len(plan.moves))
            raise

    @property
    def _leaving(self) -> str | None:
        """The host (MoID) that the VMs have to leave."""
        request = self._request
        return request.host.moid if request.host and request.purpose is Purpose.EVACUATE else None

    @property
    def _unheard(self) -> frozenset[str]:
        """VMs whose submission was announced, and whose end no process has heard."""
        records = self._earlier.moves.values() if self._earlier is not None else ()
        return frozenset(record.vm for record in records if record.in_flight)

    def _failed(self, outcome: Outcome) -> bool:
        """Whether the run failed; experiments count only if they stop a run."""
        counted = outcome if self._request.rules.stop_on_verdict else replace(outcome, judgements=())
        return bool(failures_of(counted) or outcome.stopped)

    def _with_verdicts_of_moves(self, outcome: Outcome) -> Outcome:
        """The outcome with the verdicts of moves that were watched to their end, by this process or an earlier one."""
        state = replay(by_last_clock(read_journal(self._folder / JOURNAL).entries))
        return replace(outcome, judgements=with_verdicts_of_moves(state, outcome.judgements))

    def _unseen_ends(self, estate: Estate, plan: Plan) -> tuple[Ended, ...]:
        """Record how the moves of the earlier process ended. Returns those that are not planned again.

        Moves that the plan adopts have not ended. A rollback accounts for every VM itself.
        """
        if self._earlier is None:
            return ()
        planned = {move.vm for move in plan.moves}
        refusals = {refusal.vm: refusal for refusal in plan.refusals}
        ends = []
        for record in (*self._earlier.moves.values(), *self._earlier.back.values()):
            vm = self._vm_of(record, estate)
            again = record.vm in planned or bool(self._rolling_back)
            if again and not (record.in_flight and (vm is None or vm.moving_task is None)):
                continue
            host, unknown = self._place_of(record, vm)
            place = (host, estate.host_name(host)) if host else None
            places = vm.places if vm is not None else NOWHERE
            end = seen = unseen_end(record, place, refusals.get(record.vm), places, unknown=unknown)
            if self._has_left(end):
                end = self._left_by_others(end, estate)
            if end.result is not record.result:
                end = self._credited(end, record)
                if vm is not None:
                    end = self._unless_idle(end, seen, PlacementUpdate(vm.moid, vm.host, vm.power))
                self._record.ended(end)
            if not again:
                ends.append(end)
        return tuple(ends)

    def _place_of(self, record: MoveRecord, vm: VmState | None) -> tuple[str | None, str]:
        """The host (MoID) of the VM of an earlier move, and why it is not known. A VM that is not shown is not always deleted."""
        if vm is not None:
            return vm.host, UNREAD
        seen = self._vcenter.placement((record.vm,))[record.vm]
        return seen.host, seen.unknown

    def _vm_of(self, record: MoveRecord, estate: Estate) -> VmState | None:
        """The VM of an earlier move, by its MoID, else by the instance UUID that was recorded with its home."""
        homes = self._earlier.homes if self._earlier is not None else ()
        uuid = next((home.vm_uuid for home in homes if home.vm == record.vm), "")
        known = estate.vms.get(record.vm)
        same = (vm for vm in estate.vms.values() if uuid and vm.instance_uuid == uuid)
        return known if known is not None else next(same, None)

    def _record_homes_there(self, estate: Estate) -> None:
        """Record the homes of VMs that reached another vCenter before the process was killed: custom attributes do not travel."""
        for home in self._earlier.homes if self._earlier is not None and not self._rolling_back else ():
            vm = estate.vms.get(home.vm)
            arrived = vm is not None and vm.host == home.target and crosses(home.start, home.target)
            if vm is not None and arrived and not vm.attributes.get(ATTRIBUTE):
                record_home(self._vcenter, self._journal, Ref(vm.moid, vm.name), home)

    @staticmethod
    def _unless_idle(moved: Ended, end: Ended, seen: PlacementUpdate) -> Ended:
        """``moved``; ``end`` as failed if nobody else has moved the VM. A move of the run itself (``by`` is "") is one."""
        off = not_moved(seen, moved.by) if moved.by else None
        return moved if off is None else replace(end, result=MoveResult.FAILED, fault=off)

    def _has_left(self, end: Ended) -> bool:
        """Whether somebody else has moved the VM off the host that it has to leave, while no process watched."""
        meanwhile = end.fault is not None and end.fault.name == OwnReason.VM_MOVED_MEANWHILE
        return meanwhile and not self._rolling_back and end.move.source == self._leaving != end.host

    def _credited(self, end: Ended, record: MoveRecord) -> Ended:
        """The same, with the mover of a VM that arrived while no process watched and that this run did not move.

        Either the move was never submitted, or HA has restarted the VM on its target.
        """
        if end.result is not MoveResult.MOVED or end.by or end.host is None:
            return end
        by = self._vcenter.mover(end.move.vm, end.host)
        if not record.submitting:
            return replace(end, by=by or SOMEBODY)
        return replace(end, by=HA) if by == HA else end

    def _left_since(self, outcome: Outcome, estate: Estate) -> Outcome:
        """The outcome as the VMs are that were left behind: somebody else may have moved them since.

        If a host fails, its moves fail at once, and HA starts the VMs on other hosts after that.
        """
        left = {end.move.vm: end for end in outcome.left_behind if end.host == end.move.source}
        try:
            seen = self._vcenter.placement(tuple(left)) if left else {}
        except (CallFailed, PermissionMissing, ConnectError):
            return outcome  # they were seen on the host
        gone = dict[str, Ended]()
        for vm, end in left.items():
            host = seen[vm].host
            if host is None or host == end.move.source:
                continue
            now = replace(end, host=host, host_name=estate.host_name(host))
            gone[vm] = self._unless_idle(
                self._left_by_others(now, estate) if end.move.source == self._leaving else self._moved_by_others(now),
                now,
                seen[vm],
            )
            if end.result is MoveResult.TIMED_OUT and host == end.move.target and gone[vm].by != HA:
                gone[vm] = replace(gone[vm], by="")  # the task of the run has ended late
            self._record.ended(gone[vm])
        return replace(outcome, ended=tuple(gone.get(end.move.vm, end) for end in outcome.ended))

    def _away_again(self, outcome: Outcome, estate: Estate) -> Outcome:
        """The outcome of a restore as the VMs are that came home: DRS or HA may have moved them away again since.

        They have to come home still. What a person moved away stays there.
        """
        home = {end.move.vm: end for end in outcome.moved if end.move.changes_host}
        if self._request.purpose is not Purpose.RESTORE or not home:
            return outcome
        try:
            seen = self._vcenter.placement(tuple(home))
        except (CallFailed, PermissionMissing, ConnectError):
            return outcome  # they were seen at home
        away = dict[str, Ended]()
        for vm, end in home.items():
            host = seen[vm].host
            if host is None or host == end.move.target:
                continue
            by = self._vcenter.mover(vm, host)
            if by and not is_machine(by):
                continue
            fault = Fault(OwnReason.VM_MOVED_MEANWHILE, f"{by or SOMEBODY} moved it away from {end.host_name} again")
            away[vm] = Ended(end.move, MoveResult.FAILED, host, estate.host_name(host), fault)
            self._record.ended(away[vm])
        return replace(outcome, ended=tuple(away.get(end.move.vm, end) for end in outcome.ended))

    def _moved_by_others(self, end: Ended) -> Ended:
        """Such a move of a VM that has to come to its target: done if the VM is there, else failed on another host."""
        if end.host is None or not end.move.has_arrived(end.host, NOWHERE):
            return end
        by = self._vcenter.mover(end.move.vm, end.host) or SOMEBODY
        return Ended(end.move, MoveResult.MOVED, end.host, end.host_name, by=by)

    def _left_by_others(self, end: Ended, estate: Estate) -> Ended:
        """Such a move is done, as in the executor. The VM's home is recorded with the host where the VM is."""
        host = end.host or ""
        known = estate.hosts.get(host)
        domain, vcenter = (known.fault_domain, known.vcenter) if known is not None else (None, "")
        move = replace(
            end.move,
            target=host,
            target_name=end.host_name,
            target_fault_domain=domain,
            target_vcenter=vcenter,
            parts=(),
        )
        state = replay(read_journal(self._folder / JOURNAL).entries)
        for home in state.homes if state is not None else ():
            if home.vm == move.vm:
                kept = replace(home, target=host, target_name=end.host_name, target_vcenter=vcenter)
                record_home(self._vcenter, self._journal, vm_of(move), kept)
        by = self._vcenter.mover(move.vm, host) or SOMEBODY
        return Ended(move, MoveResult.MOVED, host, end.host_name, by=by)

    def _forestalled(self, estate: Estate, plan: Plan) -> tuple[Ended, ...]:
        """The moves of an evacuation that somebody else has carried out since the plan was made, exactly as planned.

        Those that the killed process planned are unseen ends. A VM that an earlier run moved has its home from there.
        """
        request = self._request
        if not request.record_homes or self._rolling_back:
            return ()
        known = {move.vm for move in plan.moves} | (self._earlier.moves.keys() if self._earlier is not None else set())
        homes = journal_homes(request.state, plan.vcenter.instance_uuid)
        found = []
        for move in (move for move in request.plan.moves if move.vm not in known):
            home = recorded_home(estate, estate.vms[move.vm], homes)
            if home is None or not is_home_of(home, move) or home.run_id == self._folder.name:
                by = self._vcenter.mover(move.vm, move.target) or SOMEBODY
                found.append(Ended(move, MoveResult.MOVED, move.target, move.target_name, by=by))
        return tuple(found)

    def _record_homes_of(self, estate: Estate, ends: Iterable[Ended]) -> None:
        """Record the homes of VMs that somebody else moved before the run had recorded them: where the moves of the plan begin.

        A text in the attribute of a VM that is not a home, or that vCenter does not show, is not overwritten.
        """
        recorded = {home.vm for home in self._earlier.homes} if self._earlier is not None else set[str]()
        moves = tuple(
            end.move
            for end in ends
            if end.result is MoveResult.MOVED and end.by and end.move.vm in estate.vms.keys() - recorded
        )
        if not moves or self._rolling_back:
            return
        there = {move.vm: replace(estate.vms[move.vm], host=move.source) for move in moves}
        before = replace(estate, vms={**estate.vms, **there})
        homes = self._homes(before, replace(self._request.plan, moves=moves))
        for move in moves:
            if move.vm in homes:
                known = not estate.hides(move.vm, *ATTRIBUTES) and not stray_text(estate.vms[move.vm])
                record_home(self._vcenter, self._journal, vm_of(move), homes[move.vm], attribute=known)

    def _remaining(self, estate: Estate) -> Plan:
        """The plan without moves that are done; empty if the run is rolling back."""
        plan = self._request.plan
        if self._rolling_back:
            return replace(plan, moves=(), refusals=())
        moves = tuple(m for m in plan.moves if not m.has_arrived(estate.vms[m.vm].host, estate.vms[m.vm].places))
        return replace(plan, moves=moves)

    def _subjects(self, estate: Estate, plan: Plan) -> tuple[str, ...]:
        """VMs to observe: those of the plan, and those that a rollback may bring back."""
        vms = dict.fromkeys(move.vm for move in plan.moves)
        if self._rolling_back and self._earlier is not None:
            vms |= dict.fromkeys(self._earlier.moves)
        return tuple(vm for vm in vms if vm in estate.vms)

    def _all_vms(self, estate: Estate, vms: tuple[str, ...]) -> tuple[str, ...]:
        """These VMs, and those that the killed process moved."""
        moved = self._earlier.moves if self._earlier is not None else {}
        return tuple(vm for vm in dict.fromkeys((*vms, *moved)) if vm in estate.vms)

    def _experiments(self, estate: Estate, vms: tuple[str, ...]) -> Discovery:
        """Experiments known from the journal and found now; each is recorded once. VMs have their names in what was not seen."""
        known = self._earlier.experiments if self._earlier else ()
        seen = self._observer.discover(estate, vms)
        for experiment in newcomers(seen.experiments, known):
            self._record.found(experiment)
            known = (*known, experiment)
        observed = {experiment.vm for experiment in known}
        self._record.without_experiment(estate, {vm: why for vm, why in seen.unobserved.items() if vm not in observed})
        self._record.partly_searched(estate, seen.partly_searched)
        return replace(seen, experiments=known).by_name(partial(display_name, estate))

    def _recorded_homes(self, estate: Estate, plan: Plan) -> dict[str, Home]:
        """Record where the VMs are at home before the host is fenced, because then somebody else may move them."""
        homes = self._homes(estate, plan)
        for move in self._with_homes(estate, plan):
            if move.vm in homes:
                record_home(self._vcenter, self._journal, vm_of(move), homes[move.vm])
        return homes

    def _with_homes(self, estate: Estate, plan: Plan) -> tuple[Move, ...]:
        """The moves, and as moves the VMs that cannot leave the host now: see :func:`stays`."""
        return (*plan.moves, *(stays(estate, plan, self._leaving) if self._leaving else ()))

    def _homes(self, estate: Estate, plan: Plan) -> dict[str, Home]:
        if not self._request.record_homes:
            return {}
        known = journal_homes(self._request.state, plan.vcenter.instance_uuid)
        homes = {}
        for move in self._with_homes(estate, plan):
            vm = estate.vms[move.vm]
            earlier = recorded_home(estate, vm, known)
            homes[vm.moid] = next_home(
                vm, move, earlier, run_id=self._folder.name, recorded_at=utc_now(), mover=self._vcenter.mover
            )
        return homes

    def _returned(self, outcome: Outcome) -> tuple[tuple[str, str], ...]:
        """The VMs (names) that somebody else has moved back to the evacuated host since they left it, each with a sentence.

        Nothing prevents that if the host is not fenced: DRS may use the room on it.
        """
        left = [ended for ended in outcome.moved if ended.move.source == self._leaving]
        if not left or self._guard.keeps_vms_away:
            return ()
        try:
            seen = self._vcenter.placement(tuple(ended.move.vm for ended in left))
        except (CallFailed, PermissionMissing, ConnectError):
            return ()  # they were seen to leave
        found = []
        for ended in left:
            move = ended.move
            if seen[move.vm].host == move.source:
                by = self._vcenter.mover(move.vm, move.source) or SOMEBODY
                self._record.returned(ended, f"{by} moved it back")
                found.append((move.vm_name, f"{move.vm_name} is on {move.source_name} again: {by} moved it back"))
        return tuple(found)

    def _homes_in_journal(self) -> tuple[str, ...]:
        """The VMs (names) whose homes could not be written into their attributes, so that another controller does not find them."""
        state = replay(read_journal(self._folder / JOURNAL).entries)
        homes = state.homes if state is not None else ()
        return tuple(sorted(home.vm_name for home in homes if not home.in_attribute and home.target != home.host))

    def _restarts(self, times: Mapping[str, str | None], judgements: Iterable[Judgement]) -> tuple[VmRestarted, ...]:
        """The VMs that were powered on again since the run, or a killed process of it, began. ``times``: when VMs were powered on."""
        state = replay(read_journal(self._folder / JOURNAL).entries)
        return () if state is None else self._record.restarts(state.powered_on, times, state.started_at, judgements)

    def _close(
        self,
        outcome: Outcome,
        rolled_back: RolledBack | None,
        seen: Discovery,
        times: Mapping[str, str | None],
    ) -> RunReport:
        last = outcome if rolled_back is None else rolled_back.outcome
        self._record.verdicts(last.judgements)
        failures = failures_of(outcome)
        returned = () if last.interrupted or rolled_back is not None else self._returned(outcome)
        # A run that is open for a resume keeps its guard.
        failed = self._failed(outcome) or rolled_back is not None or bool(self._not_fenced or returned)
        problems: tuple[str, ...] = ()
        if last.interrupted:
            self._guard.look()
        else:
            problems = self._guard.release(failed=failed)
        restarts = () if last.interrupted else self._restarts(times, last.judgements)
        told = (*restarts_of(outcome, restarts), self._not_fenced, *problems)
        problems = tuple(dict.fromkeys(filter(None, told)))
        if rolled_back is None:
            self._record.left_behind(outcome)
            failures = (*failures, *(sentence for _name, sentence in returned))
        else:
            harms = failures_of(replace(last, ended=()))
            failures = (*(account.sentence for account in rolled_back.accounts), *harms)
            self._record.stayed(rolled_back.accounts)
        failures = (*failures, *problems)
        report = RunReport(
            self._folder.name,
            self._folder,
            replace(outcome, judgements=last.judgements),
            failures,
            self._earlier is not None,
            seen.unobserved,
            rolled_back,
            self._guard.fenced,
            self._guard.lifted,
            self._guard.fence_unknown,
            tuple(name for name, _sentence in returned),
            tuple(restart.vm.name for restart in restarts),
            self._homes_in_journal(),
            self._arrived,
            seen.partly_searched,
        )
        if last.interrupted:
            self._record.interrupted(last.stopped)
        else:
            self._record.finished(report)
        return report


def _followed(plan: Plan) -> frozenset[str]:
    """The VMs (MoIDs) whose moves are left to DRS."""
    if not any(decision.how is DrsHandling.FOLLOW for decision in plan.drs):
        return frozenset()
    not_moved = {vm for decision in plan.drs for vm in decision.not_moved}
    return frozenset(move.vm for move in plan.moves) - not_moved
