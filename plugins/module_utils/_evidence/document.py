# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence: a run's journal and samples as one document. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from .._core.wording import stall_text
from .._experiments.clusters import merged, moid_list, vm_list
from .._experiments.model import Judgement, Sample
from .._experiments.throughput import joined, slowdown, throughput
from .._run.events import (
    experiment_of,
    judgement_of,
    verdict_fields,
)
from .._vsphere.guest import compare_processes
from .summary import shared_names, shown, summary_of

SCHEMA_VERSION = "1.0"
MOST_POINTS = 400
Event = Mapping[str, Any]
Window = tuple[float, "float | None"]  # begin and end in monotonic seconds; None: the end was not seen


def evidence_of(
    events: list[Event], samples: Mapping[tuple[str, str], list[Sample]], integrity: Mapping[str, Any]
) -> dict[str, Any]:
    """The evidence of a run; ``samples`` by (VM MoID, experiment id), ``integrity`` what verifying the journal found.

    The journal must begin with ``run_started``.
    """
    start = events[0]
    moves = _moves(events)
    finished = _last(events, "run_finished")
    experiments = _experiments(events, samples)
    document = {
        "schema_version": SCHEMA_VERSION,
        "run_id": start["run_id"],
        "journal": dict(integrity),
        "plan_id": next((e["plan_id"] for e in reversed(events) if "plan_id" in e), start["plan_id"]),
        "vcenter": {
            "name": start["vcenter"]["name"],
            "simulated": bool(start["vcenter"]["simulated"]),
            "version": start["vcenter"].get("version"),
        },
        "run": {
            "purpose": start["purpose"],
            "host": start["host"]["name"] if start["host"] else None,
            "stall_budget": start.get("stall_budget"),
            "started": start["at"],
            "finished": finished["at"] if finished else None,
            "result": finished["result"] if finished else "unfinished",
            "priority": start.get("priority"),
            "slots": start.get("slots"),
            "resumed": sum(e["event"] == "run_resumed" for e in events),
            "rolled_back": next((e["reason"] for e in events if e["event"] == "rolling_back"), None),
            "collection": start.get("collection"),
        },
        "fence": _fence(events),
        "moves": moves,
        "experiments": experiments,
        "unobserved": [{**_vm(e), "detail": e["detail"]} for e in _latest(events, "no_experiment").values()],
        "refusals": [
            {**_vm(e), "reasons": [dict(r) for r in e["reasons"]]} for e in _latest(events, "refused").values()
        ],
        "left_behind": _left_behind(events, moves),
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
_LEFT_OUT = frozenset({"seq", "prev", "at", "mono", "event", "description", "recovery"})


def artifact_of(events: list[Event], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What a later job on another controller needs to know of the run; small, because AWX hands it from job to job.

    ``verdict`` is that of the whole evidence, ``no_experiment`` when none was observed.
    """
    found = {(e["vm"]["moid"], e["id"]): e for e in events if e["event"] == "experiment_found"}
    return {
        "version": ARTIFACT_VERSION,
        "purpose": evidence["run"]["purpose"],
        "host": evidence["run"]["host"],
        "run_id": evidence["run_id"],
        "plan_id": evidence["plan_id"],
        "result": evidence["run"]["result"],
        "verdict": evidence["overall"]["verdict"] if evidence["experiments"] else "no_experiment",
        "experiments": [{key: e[key] for key in e if key not in _LEFT_OUT} for e in found.values()],
    }


def _vm(event: Event) -> dict[str, str]:
    """A VM's name, as people know it, and its MoID, because names may be shared."""
    return {"vm": event["vm"]["name"], "moid": event["vm"]["moid"]}


def _latest(events: Iterable[Event], name: str) -> dict[str, Event]:
    """The last event of a kind for each VM, in the order of the first."""
    return {e["vm"]["moid"]: e for e in events if e["event"] == name}


def _last(events: list[Event], name: str) -> Event | None:
    return next((e for e in reversed(events) if e["event"] == name), None)


def _fence(events: list[Event]) -> str | None:
    """What was done about maintenance mode: how the run found the fence, and what a rollback did to it."""
    told = next((e["detail"] for e in reversed(events) if e["event"] == "fence"), None)
    ended = next((e for e in reversed(events) if e["event"] in ("fence_lifting", "fence_lifted", "fence_kept")), None)
    if ended is None:
        return told
    words = {
        "fence_lifting": "to be lifted for the way back, and that was not seen to end",
        "fence_lifted": "lifted for the way back",
        "fence_kept": f"could not be lifted for the way back: {ended.get('detail')}",
    }
    return "; ".join(filter(None, (told, words[ended["event"]])))


def _left_behind(events: list[Event], moves: list[dict[str, Any]]) -> list[str]:
    """Names of VMs whose move failed or was not started, and of those that the run says that it left."""
    begin = max(n for n, e in enumerate(events) if e["event"] in ("run_started", "run_resumed"))
    told = {e["vm"]["moid"]: e["vm"]["name"] for e in events[begin:] if e["event"] == "left_behind"}
    failed = {m["moid"]: m["vm"] for m in moves if m["result"] not in ("moved", "gone", "unfinished")}
    return sorted({**told, **failed}.values())


def _moves(events: list[Event]) -> list[dict[str, Any]]:
    """Each VM's move, and as a move of its own its way back; a VM's events belong to the one planned last."""
    found: dict[tuple[str, bool], dict[str, Any]] = {}
    latest: dict[str, dict[str, Any]] = {}
    for event in events:
        vm = event["vm"]["moid"] if isinstance(event.get("vm"), Mapping) else ""
        if event["event"] == "planned":
            latest[vm] = found.setdefault((vm, bool(event.get("back"))), _new_move(event))
            latest[vm].update(number=event["number"], **_ends(event))
        if vm in latest:
            _apply(latest[vm], event)
    power_on, processes = _power_on(events), _guest_processes(events)
    for (vm, _back), move in found.items():
        move["power_on"] = power_on.get(vm)
        move["guest_processes"] = processes.get(vm)
    return sorted(found.values(), key=lambda move: (move["started"] or "~", move["vm"]))


def _power_on(events: list[Event]) -> dict[str, dict[str, Any]]:
    """When vCenter says each VM was powered on, before and after; the same time proves that it was not powered off."""
    first, last = _readings(events, "power_on", "times")
    return {
        vm: {"before": at, "after": last.get(vm), "same": None if at is None or vm not in last else at == last[vm]}
        for vm, at in first.items()
    }


def _guest_processes(events: list[Event]) -> dict[str, dict[str, Any]]:
    """What the guests' process lists prove, from the first reading before and the last one after."""
    before, after = _readings(events, "guest_processes", "readings")
    return {vm: compare_processes(told, after.get(vm)) for vm, told in before.items()}


def _readings(events: list[Event], name: str, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first reading of each VM before, and the one after the last process of the run that worked for the VM."""
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for event in events:
        if event["event"] != name:
            continue
        for vm, told in event[key].items():
            if event["when"] == "before":
                first.setdefault(vm, told)
                last.pop(vm, None)
            else:
                last[vm] = told
    return first, last


def _ends(event: Event) -> dict[str, Any]:
    """Source and target of a planned move; a resumed run may have planned another target."""
    return {
        "source": event["source"]["name"],
        "target": event["target"]["name"],
        "source_fault_domain": event["source"].get("fault_domain"),
        "target_fault_domain": event["target"].get("fault_domain"),
    }


def _new_move(event: Event) -> dict[str, Any]:
    return {
        "number": event["number"],
        "back": bool(event.get("back")),
        "predicted_seconds": event.get("predicted_seconds"),
        "power_on": None,
        "guest_processes": None,
        **_vm(event),
        **_ends(event),
        "started": None,
        "switched_over": None,
        "finished": None,
        "result": "unfinished",
        "host": None,
        "attempts": 0,
        "error": None,
    }


def _apply(move: dict[str, Any], event: Event) -> None:
    if event["event"] == "move_submitting":
        _submit(move, event)
    elif event["event"] == "switched_over":
        move["switched_over"] = event["at"]
    elif event["event"] == "move_finished":
        error = event.get("error")
        move.update(
            finished=event["at"],
            result=event["result"],
            host=event.get("host"),
            error=f"{error['fault']}: {error['message']}" if error else None,
        )


def _submit(move: dict[str, Any], event: Event) -> None:
    """Count an attempt; one that only adopts a task is none, and a task of somebody else is not where the move began."""
    adopted = bool(event.get("adopted"))
    if move["result"] != "unfinished":
        move.update(started=None, switched_over=None, finished=None, result="unfinished", host=None, error=None)
    if move["started"] is None or not (adopted or move["attempts"]):
        move["started"] = event["at"]
    move["attempts"] += not adopted


def _experiments(events: list[Event], samples: Mapping[tuple[str, str], list[Sample]]) -> list[dict[str, Any]]:
    found = {(e["vm"]["moid"], e["id"]): e for e in events if e["event"] == "experiment_found"}
    verdicts = {(e["vm"]["moid"], e["id"]): e for e in events if e["event"] == "verdict"}
    origin = events[0]["mono"]
    windows = _windows(events)
    told = {(e["vm"]["moid"], e["id"]): e for e in events if e["event"] == "experiment_told"}
    judgements = [judgement_of(experiment_of(e), verdicts.get(key)) for key, e in found.items()]
    entries = []
    for whole in merged(judgements):
        key = (whole.experiment.vm, whole.experiment.id)
        verdict = verdict_fields(whole) if key in verdicts or whole.members else None
        moving = _united(windows.get(vm, []) for vm in moid_list(whole))
        entry = _experiment(found[key], verdict, samples.get(key, []), origin, moving)
        last = told.get(key, {})
        entry |= {"vms": vm_list(whole), "moids": moid_list(whole), "members": [_member(m) for m in whole.members]}
        entries.append({**entry, "final": last.get("final"), "training_clock": last.get("training_clock")})
    return entries


def _member(judgement: Judgement) -> dict[str, Any]:
    """What is stated of one node of a cluster."""
    stall = judgement.longest_stall
    return {
        "vm": judgement.experiment.vm_name,
        "moid": judgement.experiment.vm,
        "verdict": str(judgement.verdict),
        "longest_stall": None
        if stall is None
        else {"seconds": round(stall.seconds, 4), "low": round(stall.low, 4), "high": round(stall.high, 4)},
    }


def _windows(events: list[Event]) -> dict[str, list[Window]]:
    """When each VM was being moved: each time from the submission, over all attempts, to the end.

    A task that was adopted belongs to the submission before it; without one it counts only until the run submits the move.
    """
    found: dict[str, list[Window]] = {}
    submitted = set()
    for event in events:
        if event["event"] not in ("move_submitting", "move_finished"):
            continue
        vm, at = event["vm"]["moid"], event["mono"]
        windows = found.setdefault(vm, [])
        begun = bool(windows) and windows[-1][1] is None
        if event["event"] == "move_finished":
            submitted.discard(vm)
            if begun:
                windows[-1] = (windows[-1][0], at)
            continue
        if not begun:
            windows.append((at, None))
        elif not event.get("adopted") and vm not in submitted:
            windows[-1] = (at, None)
        if not event.get("adopted"):
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
    found: Event, verdict: Event | None, samples: list[Sample], origin: float, moving: list[Window]
) -> dict[str, Any]:
    stall = verdict["longest_stall"] if verdict else None
    return {
        **_vm(found),
        "provider": found["provider"],
        "id": found["id"],
        "description": found["description"],
        "owner": found.get("owner", ""),
        "cluster": found.get("cluster", ""),
        "capabilities": dict(found.get("capabilities") or {}),
        "recoverable": {"state": found.get("recoverable", "unknown"), "detail": found.get("recovery", "")},
        "reproducible": {"state": found.get("reproducible", "unknown"), "detail": found.get("reproducibility", "")},
        "verdict": verdict["verdict"] if verdict else "unknown",
        "claims": {
            "identity": verdict["identity"] if verdict else "unknown",
            "progress": verdict["progress_claim"] if verdict else "unknown",
            "stall": verdict["stall_claim"] if verdict else "unknown",
        },
        "longest_stall": None if stall is None else {key: round(stall[key], 4) for key in ("seconds", "low", "high")},
        "stall_at": round(stall["at_mono"] - origin, 3) if stall and stall.get("at_mono") is not None else None,
        "resolution": verdict["resolution"] if verdict else None,
        "progress_before": _progress_before(found, verdict, samples, moving),
        "progress_after": verdict["progress_after"] if verdict else None,
        "samples": verdict["samples"] if verdict else len(samples),
        "unwatched_seconds": verdict["unwatched_seconds"] if verdict else 0.0,
        "detail": verdict["detail"] if verdict else "no verdict was reached before the run was killed",
        "throughput": None if found.get("clock_progress") else throughputs(samples, moving),
        "moving": [
            [round(start - origin, 3), None if end is None else round(end - origin, 3)] for start, end in moving
        ],
        "curve": curve(samples, origin),
    }


def _progress_before(
    found: Event, verdict: Mapping[str, Any] | None, samples: list[Sample], moving: list[Window]
) -> float | None:
    """Progress before the first move: a process that resumed the run knows only what it saw itself."""
    answers = (s.progress for s in reversed(samples) if moving and s.received <= moving[0][0])
    known = next((progress for progress in answers if progress is not None), None)
    if known is not None:
        return known
    told: float | None = verdict["progress_before"] if verdict else found["progress"]
    return told


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
