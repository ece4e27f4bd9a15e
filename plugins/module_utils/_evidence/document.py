# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The evidence: one document from the journal and the samples of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from .._core.untrusted import printable_data
from .._core.wording import moment, percent, stall_text
from .._experiments.model import Sample
from .._run.events import (
    Entry,
    Event,
    FenceFound,
    FenceKept,
    FenceLifted,
    FenceLifting,
    FenceSetting,
    LeftBehind,
    MaintenanceSeen,
    NoExperiment,
    Noticed,
    PartlySearched,
    Ref,
    RollingBack,
    RunFinished,
    RunResumed,
    RunStarted,
    VmRefused,
    WindowClosed,
    WindowOpened,
    experiment_to_json,
)
from .._vsphere.estate import VcenterInfo
from . import model
from .experiments import Key, experiments_found, experiments_of
from .moves import moves_of
from .rows import artifact_advice
from .summary import FENCE_KEPT, fall_of, label, shared_names, summary_of, watched_seconds

SCHEMA_VERSION = "1.0"
ARTIFACT_VERSION = 1
_NOT_IN_ARTIFACT = frozenset({"description", "recovery"})
Kind = TypeVar("Kind", bound=Event)
OfVm = TypeVar("OfVm", NoExperiment, PartlySearched, VmRefused, LeftBehind)


def evidence_of(
    entries: Sequence[Entry], samples: Mapping[Key, list[Sample]], integrity: model.Integrity
) -> model.Evidence:
    """The evidence of a run, from its journal and its ``samples`` by (VM MoID, experiment id).

    The journal must begin with ``RunStarted``.
    """
    begin, start = entries[0], entries[0].event
    if not isinstance(start, RunStarted):
        raise AssertionError("a run's journal begins with RunStarted")
    moves = moves_of(entries)
    experiments = experiments_of(entries, samples)
    plans = [e.event.plan_id for e in entries if isinstance(e.event, RunStarted | RunResumed)]
    record: model.Record = printable_data(
        {
            "schema_version": SCHEMA_VERSION,
            "run_id": start.run_id,
            "journal": {**integrity},
            "plan_id": plans[-1],
            "vcenter": _vcenter(start.vcenter),
            "second_vcenter": None if start.second is None else _vcenter(start.second),
            "notes": list(start.notes),
            "run": _run(start, begin.at, entries),
            "fence": _fence(entries),
            "moves": moves,
            "experiments": experiments,
            "unobserved": [{**_vm(e.vm), "detail": e.detail} for e in _latest(entries, NoExperiment)],
            "partly_searched": [{**_vm(e.vm), "detail": e.detail} for e in _latest(entries, PartlySearched)],
            "refusals": [_refusal(e) for e in _latest(entries, VmRefused)],
            "left_behind": [] if start.purpose == "witness" else _left_behind(entries, moves),
            "noticed": [{**_vm(e.event.vm), "detail": e.event.detail} for e in entries if isinstance(e.event, Noticed)],
        }
    )
    statements = [statement(e, shared_names(record)) for e in record["experiments"]]
    return {**record, **summary_of(record, statements)}


def _vcenter(info: VcenterInfo) -> model.Vcenter:
    return {
        "name": info.name,
        "simulated": info.simulated,
        "version": info.version,
        "product": info.product or None,
        "address": info.address or None,
    }


def _run(start: RunStarted, started: str, entries: Sequence[Entry]) -> model.Run:
    end, finished = _last(entries, RunFinished)
    _at, rolled_back = _last(entries, RollingBack)
    return {
        "purpose": str(start.purpose),
        "host": start.host.name if start.host else None,
        "stall_budget": start.stall_budget,
        "started": started,
        "finished": end,
        "result": finished.result if finished else "unfinished",
        "priority": start.priority,
        "slots": start.slots,
        "resumed": sum(isinstance(e.event, RunResumed) for e in entries),
        "rolled_back": rolled_back.reason if rolled_back else None,
        "collection": start.collection,
        "window": _window(entries),
    }


def _window(entries: Sequence[Entry]) -> model.Window | None:
    """The window of a witness. Without its end, nobody knows how long it was watched."""
    _at, opened = _last(entries, WindowOpened)
    if opened is None:
        return None
    _at, closed = _last(entries, WindowClosed)
    return {
        "subject": opened.subject,
        "vms": opened.vms,
        "until_returned": opened.until_returned,
        "seconds": opened.seconds,
        "watched_seconds": closed.seconds if closed else None,
        "cut": closed.cut if closed else None,
        "unread": closed.unread if closed else None,
    }


def _refusal(event: VmRefused) -> model.Refusal:
    reasons: list[model.Reason] = [
        {"check": reason.check, "object": reason.object, "hint": reason.hint} for reason in event.reasons
    ]
    return {**_vm(event.vm), "reasons": reasons}


def statement(experiment: model.Experiment, shared: frozenset[str] = frozenset()) -> str:
    """One sentence about an experiment: never more than was measured. ``shared`` are names that several VMs have."""
    name = label(experiment, shared)
    stall = stall_text(experiment["longest_stall"], watched_seconds(experiment))
    knows_process = experiment["capabilities"]["identity"] == "process"
    same, none = ("same process", "no restart") if knows_process else ("same record of its tracker", "no restart seen")
    proven = experiment["claims"]["identity"] == "proven"
    sentences = {
        "uninterrupted": f"{name}: {none}; {same}{', same job' if knows_process else ''}, progress kept; {stall}",
        "completed": f"{name}: the experiment ran to completion, {none}; {stall}",
        "stalled": f"{name}: {f'{same}, but ' if proven else ''}it {_standstill(experiment)}; {stall}",
        "restarted": f"{name}: the experiment was restarted{_restart(experiment)}",
        "lost": f"{name}: the experiment is lost, and nothing continued it",
        "failed": f"{name}: the experiment failed",
        "unknown": f"{name}: it is not known whether the experiment was interrupted",
    }
    detail = f" ({experiment['detail']})" if experiment["detail"] else ""
    owner = f" Owner: {experiment['owner']}." if experiment["owner"] else ""
    return f"{sentences[experiment['verdict']]}{detail}.{owner}"


def _restart(experiment: model.Experiment) -> str:
    """What shows that an experiment was restarted, beside the reason of its verdict."""
    fall = fall_of(experiment)
    if fall:
        return f": its progress fell from {percent(fall[0][1])} to {percent(fall[1][1])}"
    return "" if experiment["detail"] else ": it did not continue as it was"


def _standstill(experiment: model.Experiment) -> str:
    """How long a stalled experiment stood still, and that it continued if that was seen."""
    stall, continued = experiment["longest_stall"], experiment["claims"]["progress"] == "proven"
    still = f"stood still for {stall['seconds']:.2f} s" if stall else "stalled beyond the budget"
    return f"{still}, and continued" if continued else still


def artifact_of(entries: Sequence[Entry], evidence: model.Evidence) -> model.Artifact:
    """What a later job on another controller must know about the run. It is small, because AWX passes it from job to job.

    ``verdict`` is that of the whole evidence, ``no_experiment`` if no experiment was observed.
    """
    found = [experiment_to_json(experiment) for experiment in experiments_found(entries).values()]
    return {
        "version": ARTIFACT_VERSION,
        "purpose": evidence["run"]["purpose"],
        "host": evidence["run"]["host"],
        "run_id": evidence["run_id"],
        "plan_id": evidence["plan_id"],
        "result": evidence["run"]["result"],
        "verdict": evidence["overall"]["verdict"] if evidence["experiments"] else "no_experiment",
        "what_to_do": artifact_advice(evidence),
        "experiments": [
            {k: v for k, v in e.items() if k not in _NOT_IN_ARTIFACT and v not in ("", [], None)} for e in found
        ],
    }


def _vm(vm: Ref) -> model.VmName:
    return {"vm": vm.name, "moid": vm.moid}


def _latest(entries: Iterable[Entry], kind: type[OfVm]) -> list[OfVm]:
    """The last event of a kind for each VM, in the order of the first ones."""
    return list({e.event.vm.moid: e.event for e in entries if isinstance(e.event, kind)}.values())


def _last(entries: Sequence[Entry], kind: type[Kind]) -> tuple[str, Kind] | tuple[None, None]:
    """Time and event of the last entry of a kind."""
    return next(((e.at, e.event) for e in reversed(entries) if isinstance(e.event, kind)), (None, None))


def _fence(entries: Sequence[Entry]) -> str | None:
    """The fence as the run found or set it, and whether the run lifted it; of a witness, what it saw of maintenance modes."""
    found = next((e.event for e in reversed(entries) if isinstance(e.event, FenceFound | FenceSetting)), None)
    ended = next(
        (e.event for e in reversed(entries) if isinstance(e.event, FenceLifting | FenceLifted | FenceKept)), None
    )
    parts = [found.detail] if isinstance(found, FenceFound) else []
    if isinstance(found, FenceSetting):
        parts.append(f"the run began to fence {found.host}, and the end of this was not seen")
    parts += [
        f"{e.event.host.name} was seen {'in' if e.event.entered else 'out of'} maintenance mode at {moment(e.at)}"
        for e in entries
        if isinstance(e.event, MaintenanceSeen)
    ]
    match ended:
        case FenceLifting():
            parts.append("the run began to lift the fence, and the end of this was not seen")
        case FenceLifted():
            parts.append("the run lifted the fence")
        case FenceKept(detail=detail):
            parts.append(f"{FENCE_KEPT}: {detail}")
    return "; ".join(parts) or None


def _left_behind(entries: Sequence[Entry], moves: list[model.Move]) -> list[str]:
    """Names of VMs whose move failed or was not started, and of those that the run reported as left behind."""
    begin = max(n for n, e in enumerate(entries) if isinstance(e.event, RunStarted | RunResumed))
    left = {e.vm.moid: e.vm.name for e in _latest(entries[begin:], LeftBehind)}
    failed = {m["moid"]: m["vm"] for m in moves if m["result"] not in ("moved", "gone", "unfinished")}
    return sorted({**left, **failed}.values())
