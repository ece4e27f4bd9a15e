# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The experiments of a run from its journal and its samples. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._experiments import throughput
from .._experiments.clusters import merged, moid_list, vm_list
from .._experiments.model import Capabilities, Experiment, Final, Judgement, Sample, Verdict
from .._experiments.model import Stall as MeasuredStall
from .._experiments.training_clock import Gap
from .._experiments.verdict import OVER, age_of, is_over, up_to_the_end
from .._run.events import (
    Entry,
    ExperimentConcluded,
    ExperimentFound,
    MoveFinished,
    MoveSeen,
    MoveSubmitting,
    StallFigures,
    VerdictReached,
)
from . import model

MAX_POINTS = 400  # of a curve
NO_VERDICT = "no verdict was reached before the run was killed"
Key = tuple[str, str]  # VM MoID and experiment id
Window = tuple[float, "float | None"]  # begin and end in monotonic seconds; None: the end was not seen


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that is known about an experiment.

    ``whole`` is the judgement on all its nodes. ``verdict`` is the same as an event, ``None`` if no verdict was reached.
    """

    experiment: Experiment
    whole: Judgement
    verdict: VerdictReached | None
    concluded: ExperimentConcluded | None
    samples: list[Sample]
    origin: float  # monotonic seconds when the run began
    moving: list[Window]


def experiments_found(entries: Iterable[Entry]) -> dict[Key, Experiment]:
    """The experiments by (VM MoID, experiment id)."""
    found = (e.event.experiment for e in entries if isinstance(e.event, ExperimentFound))
    return {(experiment.vm, experiment.id): experiment for experiment in found}


def experiments_of(entries: Sequence[Entry], samples: Mapping[Key, list[Sample]]) -> list[model.Experiment]:
    found = experiments_found(entries)
    verdicts = {(e.event.vm.moid, e.event.id): e.event for e in entries if isinstance(e.event, VerdictReached)}
    concluded = {(e.event.vm.moid, e.event.id): e.event for e in entries if isinstance(e.event, ExperimentConcluded)}
    windows = _windows(entries)
    documents = []
    for whole in merged(_judgement(experiment, verdicts.get(key)) for key, experiment in found.items()):
        key = (whole.experiment.vm, whole.experiment.id)
        observed = Observed(
            experiment=found[key],
            whole=whole,
            verdict=VerdictReached.of(whole) if key in verdicts or whole.members else None,
            concluded=concluded.get(key),
            samples=samples.get(key, []),
            origin=entries[0].mono,
            moving=_united(windows.get(vm, []) for vm in moid_list(whole)),
        )
        documents.append(_experiment(observed))
    return documents


def _judgement(experiment: Experiment, verdict: VerdictReached | None) -> Judgement:
    """The judgement of the run. Without a verdict, nothing is proven."""
    if verdict is not None:
        return verdict.judgement(experiment)
    claims = ("unknown", "unknown", "unknown")
    return Judgement(experiment, Verdict.UNKNOWN, *claims, None, None, experiment.progress, None, detail=NO_VERDICT)


def _member(judgement: Judgement) -> model.Member:
    return {
        "vm": judgement.experiment.vm_name,
        "moid": judgement.experiment.vm,
        "verdict": str(judgement.verdict),
        "longest_stall": _stall(judgement.longest_stall),
    }


def _windows(entries: Iterable[Entry]) -> dict[str, list[Window]]:
    """When each VM was moved: from the submission, or from when the move may have begun, over all attempts, to the end.

    A task that was adopted belongs to the submission before it; without one it counts only until the run submits the move.
    """
    found: dict[str, list[Window]] = {}
    submitted = set()
    for entry in entries:
        event, at = entry.event, entry.mono
        if isinstance(event, MoveSeen):
            found.setdefault(event.vm.moid, []).append((at - event.within, None))
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
    """The windows of several VMs in order. Windows that overlap are joined."""
    found: list[Window] = []
    for start, end in sorted(itertools.chain.from_iterable(windows), key=lambda window: window[0]):
        if found and (found[-1][1] is None or start <= found[-1][1]):
            last = found[-1][1]
            found[-1] = (found[-1][0], None if last is None or end is None else max(last, end))
        else:
            found.append((start, end))
    return found


def throughputs(
    experiment: Experiment, verdict: Verdict, samples: Sequence[Sample], moving: list[Window]
) -> model.Throughput | None:
    """Work per second before, during and after the moves; ``None`` if no move was begun or nothing was sampled.

    What follows the end of a training costs it nothing. A move lasts from the last answer before it to the first answer after it:
    meanwhile the training may stand still. Without these answers, and of a training that did not continue as before, the cost is
    not known. A record shows the steps of an earlier time, so what it shows of a move is widened by its age.
    """
    samples = up_to_the_end(experiment, samples)
    if not moving or not samples:
        return None
    age = age_of(experiment)
    begun, over, last = moving[0][0], moving[-1][1], samples[-1].received
    before = throughput.throughput(samples, samples[0].received, begun)
    ends = [_heard_after(samples, end, age) for start, end in moving if start < last]
    seen = [
        (_heard_before(samples, start), last if end is None else end)
        for (start, _end), end in zip(moving, ends, strict=False)
    ]
    parts = [throughput.throughput(samples, start, end or last) for start, end in _united([seen])]
    during = throughput.joined(parts)
    after = None if over is None else throughput.throughput(samples, over + age, last)
    if before is not None and during is not None:
        during = throughput.widened(during, age * len(parts) * before.rate)
        before = throughput.widened(before, age * before.rate)
    is_seen = None not in parts and (None not in ends or is_over(samples[-1:]))
    known = (before, during) if is_seen and verdict not in OVER else (None, None)
    return {
        "before": _rate(before),
        "during": _rate(during),
        "after": _rate(after),
        "during_to_before": _ratio(throughput.slowdown(*known)),
        "cost": _cost(throughput.cost(*known)),
    }


def _heard_before(samples: Sequence[Sample], start: float) -> float:
    """When the last answer came before a move; its begin without one."""
    times = (throughput.answered_at(s) for s in samples if s.outcome == "answered")
    return max((at for at in times if at <= start), default=start)


def _heard_after(samples: Sequence[Sample], end: float | None, age: float) -> float | None:
    """When the first answer came that is of a time after the end of a move; ``None`` without one."""
    if end is None:
        return None
    answers = (s for s in samples if s.outcome == "answered")
    return next((s.received for s in answers if throughput.answered_at(s) - age >= end), None)


def _rate(part: throughput.Throughput | None) -> model.Rate | None:
    if part is None:
        return None
    return {"seconds": part.seconds, "rate": part.rate, "half_width": part.half_width, "unit": part.unit}


def _ratio(found: tuple[float, float, float] | None) -> model.Ratio | None:
    if found is None:
        return None
    ratio, low, high = (round(value, 4) for value in found)
    return {"ratio": ratio, "low": low, "high": high}


def _cost(found: tuple[float, float, float] | None) -> model.Cost | None:
    if found is None:
        return None
    lost, low, high = (round(value, 3) for value in found)
    return {"seconds": lost, "low": low, "high": high}


def _experiment(observed: Observed) -> model.Experiment:
    found, whole, verdict, origin = observed.experiment, observed.whole, observed.verdict, observed.origin
    stall = verdict.longest_stall if verdict else None
    return {
        "vm": found.vm_name,
        "moid": found.vm,
        "vms": vm_list(whole),
        "moids": moid_list(whole),
        "members": [_member(member) for member in whole.members],
        "provider": found.provider,
        "id": found.id,
        "description": found.description,
        "owner": found.owner,
        "cluster": found.cluster,
        "capabilities": _capabilities(found.capabilities),
        "recoverable": {"state": found.recoverable, "detail": found.recovery},
        "reproducible": {"state": found.reproducible, "detail": found.reproducibility},
        "verdict": str(verdict.verdict) if verdict else "unknown",
        "claims": {
            "identity": verdict.identity if verdict else "unknown",
            "progress": verdict.progress_claim if verdict else "unknown",
            "stall": verdict.stall_claim if verdict else "unknown",
        },
        "longest_stall": _stall(stall),
        "longest_freeze": _stall(verdict.longest_freeze if verdict else None),
        "stall_at": round(stall.at_mono - origin, 3) if stall and stall.at_mono is not None else None,
        "resolution": verdict.resolution if verdict else None,
        "progress_before": _progress_before(observed),
        "progress_after": verdict.progress_after if verdict else None,
        "samples": verdict.samples if verdict else len(observed.samples),
        "unwatched_seconds": verdict.unwatched_seconds if verdict else 0.0,
        "detail": verdict.detail if verdict else NO_VERDICT,
        "throughput": None
        if found.clock_progress
        else throughputs(found, whole.verdict, observed.samples, observed.moving),
        "moving": [
            [round(start - origin, 3), None if end is None else round(end - origin, 3)]
            for start, end in observed.moving
        ],
        "curve": curve(observed.samples, origin),
        "final": _final(observed.concluded.final if observed.concluded else None),
        "training_clock": _training_clock(observed.concluded.training_clock if observed.concluded else None),
    }


def _capabilities(found: Capabilities) -> model.Capabilities:
    return {
        "identity": found.identity,
        "signal": found.signal,
        "freshness": found.freshness,
        "note": found.note,
    }


def _stall(found: MeasuredStall | StallFigures | None) -> model.Stall | None:
    if found is None:
        return None
    return {"seconds": round(found.seconds, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def _final(found: Final | None) -> model.FinalResult | None:
    if found is None:
        return None
    return {
        "status": found.status,
        "metric": found.metric,
        "score": found.score,
        "artifacts": list(found.artifacts),
        "detail": found.detail,
    }


def _training_clock(found: Gap | None) -> model.TrainingClock | None:
    if found is None:
        return None
    return {
        "seconds": found.seconds,
        "steps": found.steps,
        "after_step": found.after_step,
        "usual": found.usual,
        "points": found.points,
        "clock": found.clock,
    }


def _progress_before(observed: Observed) -> float | None:
    """Progress before the first move. It is read from the samples, because a resumed run judges only its own."""
    moving, verdict = observed.moving, observed.verdict
    answers = (s.progress for s in reversed(observed.samples) if moving and s.received <= moving[0][0])
    known = next((progress for progress in answers if progress is not None), None)
    if known is not None:
        return known
    return verdict.progress_before if verdict else observed.experiment.progress


def curve(samples: list[Sample], origin: float) -> list[list[float]]:
    """[seconds since the run began, progress], thinned to ``MAX_POINTS``.

    The first and last points are kept, and those at long gaps and where progress went back.
    """
    points = [[round(s.received - origin, 3), s.progress] for s in samples if s.progress is not None]
    if len(points) <= MAX_POINTS:
        return points
    step = len(points) / (MAX_POINTS / 2)
    kept = {round(i * step) for i in range(MAX_POINTS // 2)} | {len(points) - 1}
    gaps = sorted(range(1, len(points)), key=lambda i: points[i - 1][0] - points[i][0])[: MAX_POINTS // 8]
    drops = [i for i in range(1, len(points)) if points[i][1] < points[i - 1][1]][: MAX_POINTS // 16]
    kept |= {i for change in (*gaps, *drops) for i in (change - 1, change)}
    return [points[i] for i in sorted(kept) if i < len(points)]
