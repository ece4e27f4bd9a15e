# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run writes into its journal besides its moves: its start, its plan, what it found, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._core.clock import own_boot
from .._core.errors import CallFailed, StateUnwritable, VsphereError
from .._core.version import VERSION
from .._core.wording import HA, has_moved
from .._experiments.clusters import moid_list
from .._experiments.model import Experiment, Judgement, Sample
from .._experiments.samples import digest, read_samples
from .._plan.model import DrsHandling, Plan
from .._vsphere.estate import Estate
from .._vsphere.guest import GuestLogin, reading
from .events import (
    DrsPlanned,
    ExperimentConcluded,
    ExperimentFound,
    ExperimentProgress,
    FenceFound,
    GuestProcesses,
    LeftBehind,
    MoveFinished,
    MovePlanned,
    NoExperiment,
    PartlySearched,
    PowerOnTimes,
    Ref,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SamplesSealed,
    VcenterSilence,
    VerdictReached,
    VmRefused,
    VmRestarted,
    has_continued,
    is_restart,
)
from .model import LEFT, Account, Ended, MoveResult, Outcome, Purpose, RunReport, RunRequest
from .ports import Observer, Recorder, Vcenter
from .state import RunState

SILENCE_SECONDS = 10.0


def _continued(judgements: Iterable[Judgement]) -> frozenset[str]:
    """The VMs (MoIDs) with a process that was the same at the end of the watch."""
    known = (each for each in judgements if has_continued(each.identity, each.verdict))
    return frozenset(vm for each in known for vm in moid_list(each))


class WatchRecord:
    """Writes what a run sees of VMs and experiments. ``names`` are those of its VMs by MoID."""

    def __init__(
        self, vcenter: Vcenter, journal: Recorder, folder: Path, guest: GuestLogin | None, names: Mapping[str, str]
    ) -> None:
        self._vcenter = vcenter
        self._journal = journal
        self._folder = folder
        self._guest = guest
        self._names = names
        self._said_silence = 0.0

    def silence(self, seconds: float) -> None:
        """vCenter has not answered for so long, or answers again (0.0). Reported at most every ``SILENCE_SECONDS``."""
        if 0.0 < seconds < self._said_silence + SILENCE_SECONDS and self._said_silence:
            return
        self._said_silence = seconds
        self._journal.write(VcenterSilence(round(seconds, 1)))

    def found(self, experiment: Experiment) -> None:
        """An experiment that is watched from now on."""
        self._journal.write(ExperimentFound(experiment))

    def without_experiment(self, estate: Estate, details: Mapping[str, str]) -> None:
        """VMs (by MoID) without an experiment, and what was seen in them instead."""
        for vm, detail in details.items():
            self._journal.write(NoExperiment(Ref(vm, estate.vms[vm].name), detail))

    def partly_searched(self, estate: Estate, details: Mapping[str, str]) -> None:
        """VMs (by MoID) that may have experiments besides those that were found, and why."""
        for vm, detail in details.items():
            self._journal.write(PartlySearched(Ref(vm, estate.vms[vm].name), detail))

    def progress(self, experiment: Experiment, sample: Sample, gained: float | None) -> None:
        """How far an experiment is; the watch calls this every few seconds."""
        if sample.progress is not None:
            vm = Ref(experiment.vm, experiment.vm_name)
            with suppress(StateUnwritable):  # the executor meets it as well, and stops
                self._journal.write(ExperimentProgress(vm, experiment.id, sample.progress, gained, sample.detail))

    def vms(self, when: str, vms: tuple[str, ...]) -> Mapping[str, str | None]:
        """What vCenter itself proves: when each VM was powered on (a vMotion keeps that) and, if asked, its processes.

        Returns the times.
        """
        try:
            times = self._vcenter.power_on_times(vms)
        except VsphereError:
            if when == "before":
                raise
            times = {}  # reported as not known: what was measured must not be lost
        self._journal.write(PowerOnTimes(when, times))
        login = self._guest
        if login is not None:
            self._journal.write(GuestProcesses(when, {vm: self._reading(vm, login) for vm in vms}))
        return times

    def restarts(
        self,
        before: Mapping[str, str],
        after: Mapping[str, str | None],
        started: str,
        judgements: Iterable[Judgement] = (),
    ) -> tuple[VmRestarted, ...]:
        """The VMs (MoIDs) that were powered on again in a run that had ``started``, by the times when they were powered on.

        A process that was seen to continue proves more than a time that another host, or another vCenter, shows.
        """
        found, continued = [], _continued(judgements)
        for vm, at in after.items():
            if at is not None and vm in before.keys() - continued and is_restart(before[vm], at, started):
                by = HA if self._vcenter.is_restarted_by_ha(vm, at) else ""
                found.append(VmRestarted(Ref(vm, self._names.get(vm, vm)), at, by))
                self._journal.write(found[-1])
        return tuple(found)

    def _reading(self, vm: str, login: GuestLogin) -> dict[str, Any]:
        """The processes of a VM. A guest that does not answer, or that may not get the login, is recorded as such."""
        if not login.covers(self._names.get(vm, "")):
            return reading((), "not asked: the VM is not in experiments.guest_vms")
        try:
            return reading(self._vcenter.guest_processes(vm, login))
        except VsphereError as error:
            return reading((), error.fault if isinstance(error, CallFailed) else str(error))

    def seal(self, observer: Observer, judgements: Iterable[Judgement]) -> None:
        """How experiments ended, what the trainings' own clocks show, and that the samples are complete."""
        path = self._folder / "samples.jsonl"
        samples = {key: [sample for _session, sample in rows] for key, rows in read_samples(path).items()}
        for each in observer.collect_final_results(judgements, samples):
            vm = Ref(each.experiment.vm, each.experiment.vm_name)
            self._journal.write(ExperimentConcluded(vm, each.experiment.id, each.final, each.training_clock))
        self._journal.write(SamplesSealed(digest(path)))

    def verdicts(self, judgements: Iterable[Judgement]) -> None:
        """The verdicts at the end of the run."""
        for judgement in judgements:
            self._journal.write(VerdictReached.of(judgement))


class RunRecord(WatchRecord):
    """Writes the journal of one run; ``earlier`` is the state that a killed process left, if the run is resumed."""

    def __init__(
        self, vcenter: Vcenter, journal: Recorder, request: RunRequest, folder: Path, earlier: RunState | None
    ) -> None:
        moved = earlier.moves.values() if earlier is not None else ()
        names = {move.vm: move.vm_name for move in (*moved, *request.plan.moves)}
        super().__init__(vcenter, journal, folder, request.guest, names)
        self._request = request
        self._run_id = folder.name
        self._earlier = earlier

    def begin(self) -> None:
        """The run starts, or is resumed."""
        request, earlier, plan_id = self._request, self._earlier, self._request.plan.plan_id
        if earlier is not None:
            plan_id = earlier.plan_id if earlier.rolling_back else plan_id
            self._journal.write(RunResumed(self._run_id, plan_id, os.getpid(), own_boot()))
            return
        self._journal.write(
            RunStarted(
                run_id=self._run_id,
                plan_id=plan_id,
                purpose=request.purpose,
                key=request.key,
                host=Ref(request.host.moid, request.host.name) if request.host else None,
                vcenter=request.plan.vcenter,
                pid=os.getpid(),
                priority=request.rules.priority,
                slots=request.rules.slots.per_host,
                stall_budget=request.stall_budget,
                collection=VERSION,
                second=request.plan.second,
                notes=request.plan.notes,
                boot=own_boot(),
            )
        )

        if request.host and request.purpose is Purpose.EVACUATE and not request.fence:
            self._journal.write(FenceFound("maintenance mode was not requested"))

    def plan(self, plan: Plan) -> None:
        """Moves, refusals and how DRS is handled, before anything is started."""
        for move in plan.moves:
            self._journal.write(MovePlanned.of(move))
        for refusal in plan.refusals:
            self._journal.write(VmRefused.of(refusal))
        for decision in plan.drs:
            if decision.how is not DrsHandling.IGNORE:
                self._journal.write(DrsPlanned.of(decision))

    def ended(self, end: Ended) -> None:
        """A move that ended while no process watched it."""
        self._journal.write(MoveFinished.of(end))

    def left_behind(self, outcome: Outcome) -> None:
        """VMs whose move failed or was never started."""
        for ended in outcome.left_behind:
            reason = ended.fault.message if ended.fault else outcome.stopped or str(ended.result)
            self._journal.write(LeftBehind(Ref(ended.move.vm, ended.move.vm_name), ended.host_name, (reason,)))

    def returned(self, ended: Ended, why: str) -> None:
        """A VM that left the host of the run, and that is there again."""
        self._journal.write(LeftBehind(Ref(ended.move.vm, ended.move.vm_name), ended.move.source_name, (why,)))

    def stayed(self, accounts: Iterable[Account]) -> None:
        """VMs that a rollback did not bring back."""
        for account in accounts:
            if account.outcome in LEFT:
                vm = Ref(account.vm, account.vm_name)
                self._journal.write(LeftBehind(vm, account.host, (account.reason,)))

    def refused(self, left_behind: int) -> None:
        """The run is over before its first move, so that no later run resumes it."""
        self._journal.write(
            RunFinished("failed", moved=0, failed=0, left_behind=left_behind, refused=self._refused(()))
        )

    def interrupted(self, detail: str) -> None:
        """The controller is gone; the run stays open for a resume."""
        self._journal.write(RunInterrupted(detail))

    def finished(self, report: RunReport) -> None:
        """The run is over."""
        back = report.rolled_back
        self._journal.write(
            RunFinished(
                result="failed" if report.failures else "success",
                moved=sum(has_moved(end.result, end.by) for end in report.outcome.moved),
                failed=sum(e.result not in (MoveResult.MOVED, MoveResult.NOT_STARTED) for e in report.outcome.ended),
                left_behind=len(report.left_behind),
                back=None if back is None else sum(account.outcome == "back" for account in back.accounts),
                refused=self._refused(report.outcome.ended),
            )
        )

    def _refused(self, ended: Iterable[Ended]) -> int:
        """How many VMs could not move. Of ``ended`` moves the VMs count there; a killed process may have moved them."""
        known = {end.move.vm for end in ended}
        return sum(refusal.blocking and refusal.vm not in known for refusal in self._request.plan.refusals)
