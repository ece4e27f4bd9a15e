# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""One run from the lock to ``run_finished``: what ``vm_migrate`` does once it is connected."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from ansible_collections.liveml.vsphere.plugins.module_utils._errors import PlanRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._homes import next_home
from ansible_collections.liveml.vsphere.plugins.module_utils._journal import Event, Journal, utc_now
from ansible_collections.liveml.vsphere.plugins.module_utils._migrate import (
    Executor,
    Outcome,
    Rules,
    is_harmful,
    verdict_fields,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._model import (
    Estate,
    Experiment,
    Home,
    HostState,
    Judgement,
    Move,
    MoveResult,
    Plan,
    Purpose,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan import revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._ports import ExperimentWatch, Vcenter
from ansible_collections.liveml.vsphere.plugins.module_utils._run_state import MoveRecord, RunState
from ansible_collections.liveml.vsphere.plugins.module_utils._runs import new_run, run_key, run_lock, unfinished_run
from ansible_collections.liveml.vsphere.plugins.module_utils._samples import digest
from ansible_collections.liveml.vsphere.plugins.module_utils._version import VERSION


class StartedWatch(ExperimentWatch, Protocol):
    """A watch that runs as long as its context."""

    def __enter__(self) -> Self:
        """Start sampling."""

    def __exit__(self, *_error: object) -> None:
        """Stop sampling; all samples are on disk."""

    def baseline(self) -> None:
        """Wait until the answers of every reachable experiment without a move are known."""


class Observer(Protocol):
    """Finds experiments in VMs and watches them; the provider's side of a run."""

    def discover(self, estate: Estate, vms: tuple[str, ...]) -> tuple[tuple[Experiment, ...], dict[str, str]]:
        """The experiments that train now, and for each VM without one what was seen instead."""

    def watch(self, experiments: tuple[Experiment, ...], folder: Path, listener: Recorder) -> StartedWatch:
        """A watch over ``experiments`` that keeps its samples in ``folder``."""


Recorder = Callable[..., None]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is to be carried out, for whom, and where its journal lives."""

    plan: Plan
    purpose: Purpose
    host: HostState | None
    state: Path
    rules: Rules
    record_homes: bool = False
    fence: str = ""
    require_checkpoint: str = "never"
    stall_budget: float = 5.0
    lock_timeout: float = 600.0

    @property
    def key(self) -> str:
        """What the run works for; one process at a time works for it."""
        vms = tuple(move.vm for move in self.plan.moves)
        return run_key(self.plan.vcenter.instance_uuid, self.host.moid if self.host else None, vms)

    @property
    def subject(self) -> str:
        """The run's subject as a person names it."""
        return self.host.name if self.host else ",".join(move.vm_name for move in self.plan.moves)


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run went; ``failures`` are sentences, empty when all is well."""

    run_id: str
    folder: Path | None
    outcome: Outcome
    failures: tuple[str, ...] = ()
    resumed: bool = False
    unobserved: Mapping[str, str] = field(default_factory=dict)


def refuse_drift(plan: Plan, estate: Estate) -> None:
    """Raise PlanRefused with everything in which the present differs from the plan."""
    drifts = revalidate(plan, estate)
    if drifts:
        what = "; ".join(f"{drift.vm_name}: {drift.what}" for drift in drifts)
        raise PlanRefused(
            f"The plan no longer fits the present, and nothing was moved ({what})", hint="Plan again", option="plan"
        )


def refuse_unrecoverable(experiments: tuple[Experiment, ...], policy: str) -> None:
    """Raise PlanRefused when the policy is ``refuse`` and an experiment could not be recovered if the worst happened."""
    lost = [e for e in experiments if e.recoverable != "yes"]
    if policy == "refuse" and lost:
        what = "; ".join(f"{e.vm_name} {e.description}: {e.recovery or 'not known'}" for e in lost)
        raise PlanRefused(
            f"Experiments without a checkpoint, and nothing was moved ({what})",
            hint="Let them write checkpoints, or set require_checkpoint to warn",
            option="experiments",
        )


def carry_out(
    vcenter: Vcenter,
    observer: Observer,
    request: RunRequest,
    *,
    listener: Callable[[Event], None],
    interrupted: Callable[[], bool],
) -> RunReport:
    """Carry out a request, or resume the run that a killed process left for the same host."""
    with run_lock(request.state, request.key, timeout=request.lock_timeout):
        earlier = unfinished_run(request.state, request.key, request.purpose)
        if earlier is None and not request.plan.moves:
            return RunReport("", None, Outcome((), ()))
        folder = earlier[0] if earlier else new_run(request.state, request.purpose, request.subject)
        journal = Journal(folder / "journal.jsonl", listener)
        try:
            return _Run(vcenter, observer, request, folder, journal, earlier[1] if earlier else None, interrupted).go()
        finally:
            journal.close()


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
    ) -> None:
        self._vcenter = vcenter
        self._observer = observer
        self._request = request
        self._folder = folder
        self._journal = journal
        self._earlier = earlier
        self._interrupted = interrupted

    def go(self) -> RunReport:
        """Open, watch, move, judge, close."""
        estate = self._vcenter.estate(devices_of_vms=tuple(move.vm for move in self._request.plan.moves))
        refuse_drift(self._request.plan, estate)
        self._announce()
        plan = self._adopted(estate)
        self._tell_plan(plan)
        experiments, unobserved = self._experiments(estate, plan)
        if self._earlier is None:
            refuse_unrecoverable(experiments, self._request.require_checkpoint)
        self._tell_power_on("before", plan)
        watched = tuple(dict.fromkeys(experiment.vm for experiment in experiments))
        with ExitStack() as stack:
            watch = stack.enter_context(self._observer.watch(experiments, self._folder, self._journal.write))
            watch.baseline()
            executor = Executor(
                self._vcenter,
                watch,
                self._journal,
                self._request.rules,
                homes=self._homes(estate, plan),
                interrupted=self._interrupted,
            )
            outcome = executor.run(plan, watched)
        self._tell_power_on("after", plan)
        self._journal.write("samples_sealed", sha256=digest(self._folder / "samples.jsonl"))
        return self._close(outcome, unobserved)

    def _announce(self) -> None:
        request = self._request
        fields: dict[str, Any] = {"run_id": self._folder.name, "plan_id": request.plan.plan_id, "pid": os.getpid()}
        if self._earlier is not None:
            self._journal.write("run_resumed", **fields)
            return
        vcenter = request.plan.vcenter
        self._journal.write(
            "run_started",
            **fields,
            purpose=str(request.purpose),
            key=request.key,
            host=None if request.host is None else {"moid": request.host.moid, "name": request.host.name},
            vcenter={
                "name": vcenter.name,
                "instance_uuid": vcenter.instance_uuid,
                "version": vcenter.version,
                "simulated": vcenter.simulated,
            },
            priority=request.rules.priority,
            slots=request.rules.slots.per_host,
            stall_budget=request.stall_budget,
            collection=VERSION,
        )
        if request.fence:
            self._journal.write("fence", state="told", detail=request.fence)

    def _adopted(self, estate: Estate) -> Plan:
        """The plan without moves that are done, after the earlier process's unseen ends are written down."""
        for record in self._earlier.in_flight if self._earlier else ():
            vm = estate.vms.get(record.vm)
            if vm is not None and vm.moving_task is not None:
                continue
            self._write_unseen_end(record, None if vm is None else vm.host, estate)
        plan = self._request.plan
        return replace(plan, moves=tuple(m for m in plan.moves if estate.vms[m.vm].host != m.target))

    def _write_unseen_end(self, record: MoveRecord, host: str | None, estate: Estate) -> None:
        arrived = host == record.target
        result = MoveResult.MOVED if arrived else MoveResult.GONE if host is None else MoveResult.FAILED
        error = None if arrived else {"fault": "Unobserved", "message": "the move ended while no process watched it"}
        self._journal.write(
            "move_finished",
            number=record.number,
            vm={"moid": record.vm, "name": record.vm_name},
            source={"moid": record.source, "name": record.source_name},
            target={"moid": record.target, "name": record.target_name},
            result=str(result),
            error=error,
            host=estate.hosts[host].name if host is not None and host in estate.hosts else host,
        )

    def _tell_plan(self, plan: Plan) -> None:
        for move in plan.moves:
            self._journal.write("planned", **planned_fields(move))
        for refusal in plan.refusals:
            self._journal.write(
                "refused",
                vm={"moid": refusal.vm, "name": refusal.vm_name},
                blocking=refusal.blocking,
                reasons=[{"check": r.check, "object": r.object, "hint": r.hint} for r in refusal.reasons],
            )

    def _experiments(self, estate: Estate, plan: Plan) -> tuple[tuple[Experiment, ...], dict[str, str]]:
        """Experiments known from the journal and found now; each is written down once."""
        known = self._earlier.experiments if self._earlier else ()
        found, unobserved = self._observer.discover(estate, tuple(move.vm for move in plan.moves))
        for experiment in found:
            if (experiment.vm, experiment.id) not in {(e.vm, e.id) for e in known}:
                self._journal.write("experiment_found", **experiment_fields(experiment))
                known = (*known, experiment)
        for vm, detail in unobserved.items():
            if vm not in {e.vm for e in known}:
                self._journal.write("no_experiment", vm={"moid": vm, "name": estate.vms[vm].name}, detail=detail)
        return known, {estate.vms[vm].name: detail for vm, detail in unobserved.items()}

    def _tell_power_on(self, when: str, plan: Plan) -> None:
        """When vCenter says each VM was powered on: it does not change by a vMotion, and by a power cycle it does."""
        times = self._vcenter.power_on_times(tuple(move.vm for move in plan.moves))
        self._journal.write("power_on", when=when, times=times)

    def _homes(self, estate: Estate, plan: Plan) -> dict[str, Home]:
        if not self._request.record_homes:
            return {}
        return {
            move.vm: next_home(estate.vms[move.vm], move, run_id=self._folder.name, recorded_at=utc_now())
            for move in plan.moves
        }

    def _close(self, outcome: Outcome, unobserved: dict[str, str]) -> RunReport:
        for judgement in outcome.judgements:
            self._journal.write("verdict", **verdict_fields(judgement))
        failures = failures_of(outcome)
        for ended in outcome.left_behind:
            reason = ended.fault.message if ended.fault else outcome.stopped or str(ended.result)
            vm = {"moid": ended.move.vm, "name": ended.move.vm_name}
            self._journal.write("left_behind", vm=vm, host=ended.move.source_name, reasons=[reason])
        if outcome.interrupted:
            self._journal.write("run_interrupted", detail=outcome.stopped)
        else:
            self._finish(outcome, failures)
        return RunReport(self._folder.name, self._folder, outcome, failures, self._earlier is not None, unobserved)

    def _finish(self, outcome: Outcome, failures: tuple[str, ...]) -> None:
        failed = sum(e.result not in (MoveResult.MOVED, MoveResult.NOT_STARTED) for e in outcome.ended)
        self._journal.write(
            "run_finished",
            result="failed" if failures else "success",
            moved=len(outcome.moved),
            failed=failed,
            left_behind=len(outcome.left_behind),
        )


def failures_of(outcome: Outcome) -> tuple[str, ...]:
    """What must make the run fail, a sentence each: moves that failed, VMs left behind, harmed experiments."""
    moves = tuple(
        f"{e.move.vm_name} was left on {e.move.source_name} ({_reason(e.result, e.fault.name if e.fault else '')})"
        for e in outcome.left_behind
    )
    gone = tuple(f"{e.move.vm_name} no longer exists" for e in outcome.ended if e.result is MoveResult.GONE)
    return moves + gone + tuple(_harm(j) for j in outcome.judgements if is_harmful(j))


def _reason(result: MoveResult, fault: str) -> str:
    return f"{str(result).replace('_', ' ')}{': ' if fault else ''}{fault}"


def _harm(judgement: Judgement) -> str:
    detail = f": {judgement.detail}" if judgement.detail else ""
    return f"the experiment in {judgement.experiment.vm_name} is {judgement.verdict}{detail}"


def planned_fields(move: Move) -> dict[str, Any]:
    """The journal's fields of a ``planned`` event."""
    return {
        "number": move.number,
        "vm": {"moid": move.vm, "name": move.vm_name},
        "source": {"moid": move.source, "name": move.source_name, "fault_domain": move.source_fault_domain},
        "target": {"moid": move.target, "name": move.target_name, "fault_domain": move.target_fault_domain},
        "memory_bytes": move.memory_bytes,
        "predicted_seconds": move.predicted_seconds,
        "why": move.why,
    }


def experiment_fields(experiment: Experiment) -> dict[str, Any]:
    """The journal's fields of an ``experiment_found`` event."""
    return {
        "vm": {"moid": experiment.vm, "name": experiment.vm_name},
        "provider": experiment.provider,
        "id": experiment.id,
        "process": experiment.process,
        "url": experiment.url,
        "description": experiment.description,
        "progress": experiment.progress,
        "clock_progress": experiment.clock_progress,
        "owner": experiment.owner,
        "cluster": experiment.cluster,
        "capabilities": asdict(experiment.capabilities),
        "recoverable": experiment.recoverable,
        "recovery": experiment.recovery,
    }
