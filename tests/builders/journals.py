# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journals and samples of invented runs: one move as a file, or a run of any size with the evidence made from it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal

INTACT = {
    "head": "a" * 64,
    "events": 9,
    "broken_at": None,
    "why": "",
    "samples_sha256": "b" * 64,
    "samples_as_sealed": True,
}
SLOTS = 8
BEGIN = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)
ORIGIN = 1000.0  # the controller's monotonic clock at BEGIN
BASELINE = 3.0
STALL = 0.4
OWNERS = ("forecasting", "fraud", "vision")
_CLAIMS = {
    "uninterrupted": ("proven", "proven", "proven", ""),
    "completed": ("proven", "proven", "proven", ""),
    "stalled": ("proven", "proven", "refuted", ""),
    "restarted": ("refuted", "refuted", "unknown", "another server process answers now"),
    "failed": ("unknown", "unknown", "unknown", "the server process is gone: its port refuses connections"),
    "unknown": ("unknown", "unknown", "unknown", "the server could not be observed at the end"),
}
Samples = dict[tuple[str, str], list[Sample]]


class Book:
    """Events as a journal keeps them, written in any order and told in that of their times."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, dict[str, Any]]] = []

    def add(self, seconds: float, event: str, **fields: Any) -> None:
        at = (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": at, "mono": ORIGIN + seconds, "event": event, **fields}
        self._events.append((seconds, len(self._events), line))

    def events(self) -> list[dict[str, Any]]:
        return [{"seq": number, **event} for number, (_at, _n, event) in enumerate(sorted(self._events), 1)]


def vm(number: int, prefix: str = "ML-cpu-vm") -> dict[str, str]:
    return {"moid": f"vm-{number}", "name": f"{prefix}-{number:02}"}


def made_run(
    moves: int, verdicts: Sequence[str] = ("uninterrupted",), *, prefix: str = "ML-cpu-vm", result: str = "moved"
) -> tuple[list[dict[str, Any]], Samples]:
    """An evacuation of ``moves`` VMs through eight slots; the first ``len(verdicts)`` VMs have an experiment.

    The last move ends with ``result``. One more VM is refused; VMs without experiment say why.
    """
    book, samples = Book(), {}
    vcenter = {"name": "vcenter.example.com", "instance_uuid": "u", "version": "8.0.3", "simulated": True}
    host = {"moid": "host-5", "name": "esx-05"}
    book.add(0, "run_started", run_id="r1", plan_id="0" * 64, purpose="evacuate", key="u.host-5", host=host,
             vcenter=vcenter, priority="highPriority", slots=SLOTS, stall_budget=5.0, collection="0.1.0")  # fmt: skip
    vms = [vm(n, prefix) for n in range(moves)]
    ends = [_ends(host, n) for n in range(moves)]
    predicted = [20.0 + 13 * n % 40 for n in range(moves)]
    for n, one in enumerate(vms):
        book.add(0, "planned", number=n + 1, vm=one, **ends[n], why="least used", memory_bytes=(n % 4 + 1) * 2**34,
                 predicted_seconds=predicted[n])  # fmt: skip
    reason = {"check": "host_cdrom", "object": "CD/DVD drive 1", "hint": "Disconnect the host's drive"}
    book.add(0, "refused", vm=vm(98, prefix), blocking=True, reasons=[reason])
    _find_experiments(book, vms, verdicts)
    times = {one["moid"]: "2026-01-01T00:00:00.000Z" for one in vms}
    book.add(0, "power_on", when="before", times=times)
    spans = _flights([1.15 * p for p in predicted])
    for n, (start, end) in enumerate(spans):
        one, outcome = vms[n], result if n == moves - 1 else "moved"
        book.add(start, "move_submitting", number=n + 1, vm=one, **ends[n], attempt=1)
        for percent in range(0, 100, 10):
            at = start + (end - start) * percent / 100
            book.add(at, "move_progress", number=n + 1, vm=one, percent=percent)
        if outcome == "moved":
            book.add(end - 0.2, "switched_over", number=n + 1, vm=one, host=ends[n]["target"]["name"])
        error = None if outcome == "moved" else {"fault": "Timedout", "message": "the copy did not converge"}
        book.add(end, "move_finished", number=n + 1, vm=one, **ends[n], result=outcome, error=error,
                 host=None if outcome == "gone" else ends[n]["target" if outcome == "moved" else "source"]["name"])  # fmt: skip
    over = max(end for _start, end in spans) + 3
    for n, verdict in enumerate(verdicts):
        samples[vms[n]["moid"], f"job-{n}"] = _sampled(n, spans[n][1], over, verdict)
        _judge(book, vms[n], n, spans[n][1], verdict, over)
    book.add(over, "power_on", when="after", times=times)
    book.add(over, "run_finished", result="success", moved=moves, failed=0, left_behind=0)
    return book.events(), samples


def made_evidence(moves: int, verdicts: Sequence[str] = ("uninterrupted",), **options: Any) -> dict[str, Any]:
    """Evidence of such a run."""
    events, samples = made_run(moves, verdicts, **options)
    return evidence_of(events, samples, INTACT)


def _ends(source: dict[str, str], number: int) -> dict[str, Any]:
    target = number % 4 + 6
    return {
        "source": {**source, "fault_domain": "us-west-2b"},
        "target": {
            "moid": f"host-{target}",
            "name": f"esx-{target:02}",
            "fault_domain": f"us-west-2{'bbbc'[number % 4]}",
        },
    }


def _find_experiments(book: Book, vms: list[dict[str, str]], verdicts: Sequence[str]) -> None:
    for n, one in enumerate(vms):
        if n < len(verdicts):
            book.add(0, "experiment_found", vm=one, provider="h2o3", id=f"job-{n}", process="1", url="http://x",
                     description=f"GBM gbm_{n}", progress=0.1, clock_progress=False, owner=OWNERS[n % len(OWNERS)],
                     cluster="", recoverable="yes", recovery="checkpoints in /exports",
                     capabilities={"identity": "process", "signal": "answers", "freshness": 0.0,
                                   "note": "answers of the server in the VM, at most 20 a second"})  # fmt: skip
        else:
            book.add(0, "no_experiment", vm=one, detail=f"http://192.0.2.{n}:54321: no server listens")


def _flights(durations: list[float]) -> list[tuple[float, float]]:
    """Start and end of each move: in order, eight at a time."""
    free, spans = [BASELINE] * SLOTS, []
    for duration in durations:
        start = heapq.heappop(free)
        heapq.heappush(free, start + duration)
        spans.append((start, start + duration))
    return spans


def _sampled(number: int, end: float, over: float, verdict: str) -> list[Sample]:
    """Samples at 5 Hz with a gap just before the switch-over; a job that does not go on stands still from there."""
    points, at = [], 0.0
    while at < over:
        if end - 0.2 - STALL <= at < end - 0.2:
            at = end - 0.2
        worked = at if verdict in ("uninterrupted", "completed", "stalled") or at < end - 1 else end - 1
        progress = min(1.0, 0.1 + worked / (200 + 30 * number))
        points.append(Sample(ORIGIN + at, ORIGIN + at + 0.002, "answered", "1", "RUNNING", round(progress, 4)))
        at += 0.2
    return points


def _judge(book: Book, one: dict[str, str], number: int, end: float, verdict: str, over: float) -> None:
    identity, progress, stall, detail = _CLAIMS[verdict]
    seconds = 7.5 if verdict == "stalled" else STALL + number / 100
    measured = {"seconds": seconds, "low": seconds - 0.03, "high": seconds + 0.03, "at_mono": ORIGIN + end - 0.6}
    book.add(min(end + 2, over), "verdict", vm=one, provider="h2o3", id=f"job-{number}", verdict=verdict,
             identity=identity, progress_claim=progress, stall_claim=stall,
             longest_stall=None if verdict in ("failed", "unknown") else measured, resolution=0.21,
             progress_before=0.12, progress_after=0.4, samples=1000, unwatched_seconds=0.0, detail=detail)  # fmt: skip


VM = {"moid": "vm-4", "name": "ML-cpu-vm-04"}
HOME = {"moid": "host-5", "name": "esx-05", "fault_domain": "us-west-2b"}
TARGET = {"moid": "host-6", "name": "esx-06", "fault_domain": "us-west-2b"}


def write_run(folder: Path, *, key: str = "uuid.host-5", upto: int = 99, vm: dict[str, str] = VM) -> Path:
    events = [
        ("run_started", {"run_id": folder.name, "plan_id": "p1", "purpose": "evacuate", "key": key}),
        ("planned", {"number": 1, "vm": vm, "source": HOME, "target": TARGET}),
        ("home_recorded", {"vm": vm, "home": HOME, "target": TARGET, "attribute": False}),
        ("move_submitting", {"number": 1, "vm": vm, "source": HOME, "target": TARGET, "attempt": 1}),
        ("move_submitted", {"number": 1, "vm": vm, "task": "task-9"}),
        ("move_finished", {"number": 1, "vm": vm, "result": "moved"}),
        ("run_finished", {"result": "success"}),
    ]
    journal = Journal(folder / "journal.jsonl")
    for event, fields in events[:upto]:
        journal.write(event, **fields)
    journal.close()
    return folder / "journal.jsonl"
