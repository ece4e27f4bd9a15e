# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a run's journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .._experiments.clusters import vm_list
from .._experiments.model import (
    Capabilities,
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from .._plan.model import Move, Refusal
from .model import Ended


def _vm(move: Move) -> dict[str, str]:
    return {"moid": move.vm, "name": move.vm_name}


def _move_fields(move: Move) -> dict[str, object]:
    return {
        "number": move.number,
        "vm": _vm(move),
        "source": {"moid": move.source, "name": move.source_name, "fault_domain": move.source_fault_domain},
        "target": {"moid": move.target, "name": move.target_name, "fault_domain": move.target_fault_domain},
    }


def ended_fields(ended: Ended) -> dict[str, object]:
    """The journal's fields of a ``move_finished`` event."""
    fault = ended.fault
    return {
        **_move_fields(ended.move),
        "result": str(ended.result),
        "error": None if fault is None else {"fault": fault.name, "message": fault.message},
        "host": ended.host_name or None,
    }


def verdict_fields(judgement: Judgement) -> dict[str, object]:
    """The journal's fields of a ``verdict`` event."""
    experiment, stall = judgement.experiment, judgement.longest_stall
    return {
        "vm": {"moid": experiment.vm, "name": experiment.vm_name},
        "vms": vm_list(judgement),
        "provider": experiment.provider,
        "id": experiment.id,
        "owner": experiment.owner,
        "cluster": experiment.cluster,
        "verdict": str(judgement.verdict),
        "identity": judgement.identity,
        "progress_claim": judgement.progress,
        "stall_claim": judgement.stall,
        "longest_stall": None
        if stall is None
        else {"seconds": stall.seconds, "low": stall.low, "high": stall.high, "at_mono": stall.at},
        "resolution": judgement.resolution,
        "progress_before": judgement.progress_before,
        "progress_after": judgement.progress_after,
        "samples": judgement.samples,
        "unwatched_seconds": judgement.unwatched_seconds,
        "detail": judgement.detail,
    }


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


def refused_fields(refusal: Refusal) -> dict[str, Any]:
    """The journal's fields of a ``refused`` event."""
    return {
        "vm": {"moid": refusal.vm, "name": refusal.vm_name},
        "blocking": refusal.blocking,
        "reasons": [{"check": r.check, "object": r.object, "hint": r.hint} for r in refusal.reasons],
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
        "nodes": list(experiment.nodes),
        "processors": experiment.processors,
        "metric": experiment.metric,
        "source": experiment.source,
        "capabilities": asdict(experiment.capabilities),
        "recoverable": experiment.recoverable,
        "recovery": experiment.recovery,
        "reproducible": experiment.reproducible,
        "reproducibility": experiment.reproducibility,
    }


def experiment_of(event: Mapping[str, Any]) -> Experiment:
    """The experiment that an ``experiment_found`` event or a run's artifact tells of."""
    return Experiment(
        vm=event["vm"]["moid"],
        vm_name=event["vm"]["name"],
        provider=event["provider"],
        id=event["id"],
        process=event["process"],
        url=event["url"],
        description=event.get("description", ""),
        progress=event.get("progress"),
        clock_progress=bool(event.get("clock_progress", False)),
        owner=event.get("owner", ""),
        cluster=event.get("cluster", ""),
        nodes=tuple(event.get("nodes", ())),
        metric=event.get("metric", ""),
        source=event.get("source", ""),
        recoverable=event.get("recoverable", "unknown"),
        recovery=event.get("recovery", ""),
        reproducible=event.get("reproducible", "unknown"),
        reproducibility=event.get("reproducibility", ""),
        processors=int(event.get("processors", 0)),
        capabilities=Capabilities(**event.get("capabilities", {"identity": "process", "signal": "answers"})),
    )


def judgement_of(experiment: Experiment, event: Mapping[str, Any] | None) -> Judgement:
    """The judgement that a ``verdict`` event tells of; without one nothing was proved."""
    if event is None:
        unproved = ("unknown", "unknown", "unknown")
        detail = "no verdict was reached before the run was killed"
        return Judgement(experiment, Verdict.UNKNOWN, *unproved, None, None, experiment.progress, None, detail=detail)
    stall = event["longest_stall"]
    return Judgement(
        experiment=experiment,
        verdict=Verdict(event["verdict"]),
        identity=event["identity"],
        progress=event["progress_claim"],
        stall=event["stall_claim"],
        longest_stall=None if stall is None else Stall(stall["seconds"], stall["low"], stall["high"], stall["at_mono"]),
        resolution=event["resolution"],
        progress_before=event["progress_before"],
        progress_after=event["progress_after"],
        samples=event["samples"],
        unwatched_seconds=event["unwatched_seconds"],
        detail=event["detail"],
    )
