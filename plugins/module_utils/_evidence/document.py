# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence: a run's journal and samples as one document. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from .._core.codec import encoded
from .._core.wording import stall_text
from .._experiments.clusters import merged, moid_list, vm_list
from .._experiments.model import Experiment, Judgement, Sample, Stall, Verdict
from .._experiments.throughput import joined, slowdown, throughput
from .._run.events import (
    Entry,
    Event,
    ExperimentConcluded,
    ExperimentFound,
    FenceFound,
    FenceKept,
    FenceLifted,
    FenceLifting,
    GuestProcesses,
    LeftBehind,
    MoveEvent,
    MoveFinished,
    MovePlanned,
    MoveSubmitting,
    NoExperiment,
    PowerOnTimes,
    Ref,
    RollingBack,
    RunFinished,
    RunResumed,
    RunStarted,
    StallFigures,
    SwitchedOver,
    VerdictReached,
    VmRefused,
    experiment_to_json,
)
from .._vsphere.guest import compare_processes
from .summary import shared_names, shown, summary_of

SCHEMA_VERSION = "1.0"
MOST_POINTS = 400
NO_VERDICT = "no verdict was reached before the run was killed"
Key = tuple[str, str]  # VM MoID and experiment id
Kind = TypeVar("Kind", bound=Event)
OfVm = TypeVar("OfVm", NoExperiment, VmRefused, LeftBehind)
Window = tuple[float, "float | None"]  # begin and end in monotonic seconds; None: the end was not seen


def evidence_of(
    entries: Sequence[Entry], samples: Mapping[tuple[str, str], list[Sample]], integrity: Mapping[str, Any]
) -> dict[str, Any]:
    """The evidence of a run; ``samples`` by (VM MoID, experiment id), ``integrity`` what verifying the journal found.

    The journal must begin with ``RunStarted``.
    """
    begin, start = entries[0], entries[0].event
    assert isinstance(start, RunStarted)
    moves = _moves(entries)
    end, finished = _last(entries, RunFinished)
    experiments = _experiments(entries, samples)
    plans = [e.event.plan_id for e in entries if isinstance(e.event, RunStarted | RunResumed)]
    _at, rolled_back = _last(entries, RollingBack)
    document = {
        "schema_version": SCHEMA_VERSION,
        "run_id": start.run_id,
        "journal": dict(integrity),
        "plan_id": plans[-1],
        "vcenter": {
            "name": start.vcenter.name,
            "simulated": start.vcenter.simulated,
            "version": start.vcenter.version,
        },
        "run": {
            "purpose": str(start.purpose),
            "host": start.host.name if start.host else None,
            "stall_budget": start.stall_budget,
            "started": begin.at,
            "finished": end,
            "result": finished.result if finished else "unfinished",
            "priority": start.priority,
            "slots": start.slots,
            "resumed": sum(isinstance(e.event, RunResumed) for e in entries),
            "rolled_back": rolled_back.reason if rolled_back else None,
            "collection": start.collection,
        },
        "fence": _fence(entries),
        "moves": moves,
        "experiments": experiments,
        "unobserved": [{**_vm(e.vm), "detail": e.detail} for e in _latest(entries, NoExperiment)],
        "refusals": [
            {**_vm(e.vm), "reasons": [encoded(reason) for reason in e.reasons]} for e in _latest(entries, VmRefused)
        ],
        "left_behind": _left_behind(entries, moves),
    }
    document["statements"] = [statement(e, shared_names(document)) for e in experiments]
    return {**document, **summary_of(document)}


def statement(experiment: Mapping[str, Any], shared: frozenset[str] = frozenset()) -> str:
    """What may be said of an experiment: never more than was measured. ``shared`` are names that several VMs have."""
    vms = zip(experiment["vms"], experiment["moids"], strict=True)
    vm = ", ".join(shown(name, moid, shared) for name, moid in vms)
    stall = stall_text(experiment["longest_stall"])
    recognised = experiment["capabilities"].get("identity", "process") == "process"
    same, none = ("same process", "no restart") if recognised else ("same run", "no restart seen")
    proven = experiment["claims"]["identity"] == "proven"
    sentences = {
        "uninterrupted": f"{vm}: {none}; {same}{', same job' if recognised else ''}, progress kept; {stall}",
        "completed": f"{vm}: {none}; the experiment ran to its end; {stall}",
        "stalled": f"{vm}: {f'{same}, but ' if proven else ''}it stalled beyond the budget; {stall}",
        "restarted": f"{vm}: the experiment was restarted: its process or progress is not the one from before",
        "failed": f"{vm}: the experiment failed",
        "unknown": f"{vm}: it could not be proved whether the experiment was interrupted",
    }
    detail = f" ({experiment['detail']})" if experiment["detail"] else ""
    owner = f" Owner: {experiment['owner']}." if experiment.get("owner") else ""
    return f"{sentences[experiment['verdict']]}{detail}.{owner}"


ARTIFACT_VERSION = 1
_LEFT_OUT = frozenset({"description", "recovery"})


def artifact_of(entries: Sequence[Entry], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What a later job on another controller needs to know of the run; small, because AWX hands it from job to job.

    ``verdict`` is that of the whole evidence, ``no_experiment`` when none was observed.
    """
    found = [experiment_to_json(experiment) for experiment in _found(entries).values()]
    return {
        "version": ARTIFACT_VERSION,
        "purpose": evidence["run"]["purpose"],
        "host": evidence["run"]["host"],
        "run_id": evidence["run_id"],
        "plan_id": evidence["plan_id"],
        "result": evidence["run"]["result"],
        "verdict": evidence["overall"]["verdict"] if evidence["experiments"] else "no_experiment",
        "experiments": [{k: v for k, v in e.items() if k not in _LEFT_OUT and v not in ("", [], None)} for e in found],
    }


def _vm(vm: Ref) -> dict[str, str]:
    """A VM's name, as people know it, and its MoID, because names may be shared."""
    return {"vm": vm.name, "moid": vm.moid}


def _found(entries: Iterable[Entry]) -> dict[Key, Experiment]:
    """The experiments by (VM MoID, id)."""
    found = (e.event.experiment for e in entries if isinstance(e.event, ExperimentFound))
    return {(experiment.vm, experiment.id): experiment for experiment in found}


def _latest(entries: Iterable[Entry], kind: type[OfVm]) -> list[OfVm]:
    """The last event of a kind for each VM, in the order of the first."""
    return list({e.event.vm.moid: e.event for e in entries if isinstance(e.event, kind)}.values())


def _last(entries: Sequence[Entry], kind: type[Kind]) -> tuple[str, Kind] | tuple[None, None]:
    """Time and event of the last one of a kind."""
    return next(((e.at, e.event) for e in reversed(entries) if isinstance(e.event, kind)), (None, None))


def _fence(entries: Sequence[Entry]) -> str | None:
    """What was done about maintenance mode: how the run found the fence, and what a rollback did to it."""
    _at, found = _last(entries, FenceFound)
    ended = next(
        (e.event for e in reversed(entries) if isinstance(e.event, FenceLifting | FenceLifted | FenceKept)), None
    )
    parts = [found.detail] if found else []
    match ended:
        case FenceLifting():
            parts.append("to be lifted for the way back, and that was not seen to end")
        case FenceLifted():
            parts.append("lifted for the way back")
        case FenceKept(detail=detail):
            parts.append(f"could not be lifted for the way back: {detail}")
    return "; ".join(parts) or None


def _left_behind(entries: Sequence[Entry], moves: list[dict[str, Any]]) -> list[str]:
    """Names of VMs whose move failed or was not started, and of those that the run says that it left."""
    begin = max(n for n, e in enumerate(entries) if isinstance(e.event, RunStarted | RunResumed))
    left = {e.vm.moid: e.vm.name for e in _latest(entries[begin:], LeftBehind)}
    failed = {m["moid"]: m["vm"] for m in moves if m["result"] not in ("moved", "gone", "unfinished")}
    return sorted({**left, **failed}.values())


def _moves(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Each VM's move, and as a move of its own its way back; a VM's events belong to the one planned last."""
    found: dict[tuple[str, bool], dict[str, Any]] = {}
    latest: dict[str, dict[str, Any]] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, MovePlanned):
            vm = event.vm.moid
            latest[vm] = found.setdefault((vm, event.back), _new_move(event))
            latest[vm].update(number=event.number, **_ends(event))
        elif isinstance(event, MoveEvent) and event.vm.moid in latest:
            _apply(latest[event.vm.moid], event, entry.at)
    power_on, processes = _power_on(entries), _guest_processes(entries)
    for (vm, _back), move in found.items():
        move["power_on"] = power_on.get(vm)
        move["guest_processes"] = processes.get(vm)
    return sorted(found.values(), key=lambda move: (move["started"] or "~", move["vm"]))


def _power_on(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """When vCenter says each VM was powered on, before and after; the same time proves that it was not powered off."""
    first, last = _first_and_last((e.event.when, e.event.times) for e in entries if isinstance(e.event, PowerOnTimes))
    return {
        vm: {"before": at, "after": last.get(vm), "same": None if at is None or vm not in last else at == last[vm]}
        for vm, at in first.items()
    }


def _guest_processes(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """What the guests' process lists prove, from the first reading before and the last one after."""
    read = ((e.event.when, e.event.readings) for e in entries if isinstance(e.event, GuestProcesses))
    before, after = _first_and_last(read)
    return {vm: compare_processes(reading, after.get(vm)) for vm, reading in before.items()}


def _first_and_last(readings: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first reading of each VM before, and the one after the last process of the run that worked for the VM."""
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for when, by_vm in readings:
        for vm, reading in by_vm.items():
            if when == "before":
                first.setdefault(vm, reading)
                last.pop(vm, None)
            else:
                last[vm] = reading
    return first, last


def _ends(event: MovePlanned) -> dict[str, Any]:
    """Source and target of a planned move; a resumed run may have planned another target."""
    return {
        "source": event.source.name,
        "target": event.target.name,
        "source_fault_domain": event.source.fault_domain,
        "target_fault_domain": event.target.fault_domain,
    }


def _new_move(event: MovePlanned) -> dict[str, Any]:
    return {
        "number": event.number,
        "back": event.back,
        "predicted_seconds": event.predicted_seconds,
        "power_on": None,
        "guest_processes": None,
        **_vm(event.vm),
        **_ends(event),
        "started": None,
        "switched_over": None,
        "finished": None,
        "result": "unfinished",
        "host": None,
        "attempts": 0,
        "error": None,
    }


def _apply(move: dict[str, Any], event: MoveEvent, at: str) -> None:
    match event:
        case MoveSubmitting(adopted=adopted):
            _submit(move, at, adopted=adopted)
        case SwitchedOver():
            move["switched_over"] = at
        case MoveFinished(error=error):
            what = f"{error.fault}: {error.message}" if error else None
            move.update(finished=at, result=str(event.result), host=event.host, error=what)


def _submit(move: dict[str, Any], at: str, *, adopted: bool) -> None:
    """Count an attempt; one that only adopts a task is none, and a task of somebody else is not where the move began."""
    if move["result"] != "unfinished":
        move.update(started=None, switched_over=None, finished=None, result="unfinished", host=None, error=None)
    if move["started"] is None or not (adopted or move["attempts"]):
        move["started"] = at
    move["attempts"] += not adopted


def _experiments(entries: Sequence[Entry], samples: Mapping[Key, list[Sample]]) -> list[dict[str, Any]]:
    found = _found(entries)
    verdicts = {(e.event.vm.moid, e.event.id): e.event for e in entries if isinstance(e.event, VerdictReached)}
    concluded = {(e.event.vm.moid, e.event.id): e.event for e in entries if isinstance(e.event, ExperimentConcluded)}
    windows = _windows(entries)
    documents = []
    for whole in merged(_judgement(experiment, verdicts.get(key)) for key, experiment in found.items()):
        key = (whole.experiment.vm, whole.experiment.id)
        verdict = VerdictReached.of(whole) if key in verdicts or whole.members else None
        moving = _united(windows.get(vm, []) for vm in moid_list(whole))
        document = _experiment(found[key], verdict, samples.get(key, []), entries[0].mono, moving)
        document |= {"vms": vm_list(whole), "moids": moid_list(whole), "members": [_member(m) for m in whole.members]}
        last = encoded(concluded[key]) if key in concluded else {}
        documents.append({**document, "final": last.get("final"), "training_clock": last.get("training_clock")})
    return documents


def _judgement(experiment: Experiment, verdict: VerdictReached | None) -> Judgement:
    """The judgement that a run reached; without one nothing was proved."""
    if verdict is not None:
        return verdict.judgement(experiment)
    claims = ("unknown", "unknown", "unknown")
    return Judgement(experiment, Verdict.UNKNOWN, *claims, None, None, experiment.progress, None, detail=NO_VERDICT)


def _member(judgement: Judgement) -> dict[str, Any]:
    """What is stated of one node of a cluster."""
    return {
        "vm": judgement.experiment.vm_name,
        "moid": judgement.experiment.vm,
        "verdict": str(judgement.verdict),
        "longest_stall": _figures(judgement.longest_stall),
    }


def _windows(entries: Iterable[Entry]) -> dict[str, list[Window]]:
    """When each VM was being moved: each time from the submission, over all attempts, to the end.

    A task that was adopted belongs to the submission before it; without one it counts only until the run submits the move.
    """
    found: dict[str, list[Window]] = {}
    submitted = set()
    for entry in entries:
        event, at = entry.event, entry.mono
        if not isinstance(event, MoveSubmitting | MoveFinished):
            continue
        vm = event.vm.moid
        windows = found.setdefault(vm, [])
        begun = bool(windows) and windows[-1][1] is None
        if isinstance(event, MoveFinished):
            submitted.discard(vm)
            if begun:
                windows[-1] = (windows[-1][0], at)
            continue
        if not begun:
            windows.append((at, None))
        elif not event.adopted and vm not in submitted:
            windows[-1] = (at, None)
        if not event.adopted:
            submitted.add(vm)
    return found


def _united(windows: Iterable[Iterable[Window]]) -> list[Window]:
    """The windows of several VMs in order, those that overlap as one."""
    found: list[Window] = []
    for start, end in sorted(itertools.chain.from_iterable(windows), key=lambda window: window[0]):
        if found and (found[-1][1] is None or start <= found[-1][1]):
            last = found[-1][1]
            found[-1] = (found[-1][0], None if last is None or end is None else max(last, end))
        else:
            found.append((start, end))
    return found


def throughputs(samples: list[Sample], moving: list[Window]) -> dict[str, Any] | None:
    """Work a second before, during and after the moves; ``None`` when no move was begun or nothing was sampled."""
    if not moving or not samples:
        return None
    begun, over, last = moving[0][0], moving[-1][1], samples[-1].received
    parts = {
        "before": throughput(samples, samples[0].received, begun),
        "during": joined(throughput(samples, start, last if end is None else end) for start, end in moving),
        "after": None if over is None else throughput(samples, over, last),
    }
    ratio = slowdown(parts["before"], parts["during"])
    rounded = None if ratio is None else dict(zip(("ratio", "low", "high"), (round(r, 4) for r in ratio), strict=True))
    return {
        **{name: None if part is None else asdict(part) for name, part in parts.items()},
        "during_to_before": rounded,
    }


def _experiment(
    found: Experiment, verdict: VerdictReached | None, samples: list[Sample], origin: float, moving: list[Window]
) -> dict[str, Any]:
    stall = verdict.longest_stall if verdict else None
    return {
        "vm": found.vm_name,
        "moid": found.vm,
        "provider": found.provider,
        "id": found.id,
        "description": found.description,
        "owner": found.owner,
        "cluster": found.cluster,
        "capabilities": encoded(found.capabilities),
        "recoverable": {"state": found.recoverable, "detail": found.recovery},
        "reproducible": {"state": found.reproducible, "detail": found.reproducibility},
        "verdict": str(verdict.verdict) if verdict else "unknown",
        "claims": {
            "identity": verdict.identity if verdict else "unknown",
            "progress": verdict.progress_claim if verdict else "unknown",
            "stall": verdict.stall_claim if verdict else "unknown",
        },
        "longest_stall": _figures(stall),
        "stall_at": round(stall.at_mono - origin, 3) if stall and stall.at_mono is not None else None,
        "resolution": verdict.resolution if verdict else None,
        "progress_before": _progress_before(found, verdict, samples, moving),
        "progress_after": verdict.progress_after if verdict else None,
        "samples": verdict.samples if verdict else len(samples),
        "unwatched_seconds": verdict.unwatched_seconds if verdict else 0.0,
        "detail": verdict.detail if verdict else NO_VERDICT,
        "throughput": None if found.clock_progress else throughputs(samples, moving),
        "moving": [
            [round(start - origin, 3), None if end is None else round(end - origin, 3)] for start, end in moving
        ],
        "curve": curve(samples, origin),
    }


def _figures(stall: Stall | StallFigures | None) -> dict[str, float] | None:
    """A stall as evidence states it, in seconds."""
    if stall is None:
        return None
    return {"seconds": round(stall.seconds, 4), "low": round(stall.low, 4), "high": round(stall.high, 4)}


def _progress_before(
    found: Experiment, verdict: VerdictReached | None, samples: list[Sample], moving: list[Window]
) -> float | None:
    """Progress before the first move: a process that resumed the run knows only what it saw itself."""
    answers = (s.progress for s in reversed(samples) if moving and s.received <= moving[0][0])
    known = next((progress for progress in answers if progress is not None), None)
    if known is not None:
        return known
    return verdict.progress_before if verdict else found.progress


def curve(samples: list[Sample], origin: float) -> list[list[float]]:
    """[seconds since the run's start, progress], thinned; the ends stay, and both ends of every long gap."""
    points = [[round(s.received - origin, 3), s.progress] for s in samples if s.progress is not None]
    if len(points) <= MOST_POINTS:
        return points
    step = len(points) / (MOST_POINTS / 2)
    kept = {round(i * step) for i in range(MOST_POINTS // 2)} | {len(points) - 1}
    gaps = sorted(range(1, len(points)), key=lambda i: points[i - 1][0] - points[i][0])[: MOST_POINTS // 8]
    kept |= {i for gap in gaps for i in (gap - 1, gap)}
    return [points[i] for i in sorted(kept) if i < len(points)]
