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

from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import GOOD
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import after_its_move
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    KINDS,
    Entry,
    VerdictReached,
    experiment_from_json,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal

from tests.builders.trainings import BUDGET, SETTLED, Training, judged, settled_at, training

INTACT = {
    "head": "a" * 64,
    "events": 9,
    "broken_at": None,
    "why": "",
    "end_kept": True,
    "samples_sha256": "b" * 64,
    "samples_as_sealed": True,
}
SLOTS = 8
BEGIN = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)
ORIGIN = 1000.0  # the controller's monotonic clock at BEGIN
BASELINE = 3.0
ERROR = "java.lang.OutOfMemoryError: Java heap space\n\tat hex.tree.SharedTree <script>alert(1)</script>"  # of a guest
OWNERS = ("forecasting", "fraud", "vision")
Samples = dict[tuple[str, str], list[Sample]]


_VM = {"moid": "vm-4", "name": "ML-cpu-vm-04"}
_HOST = {"moid": "host-5", "name": "esx-05"}
_MOVE = {
    "number": 1,
    "vm": _VM,
    "source": {**_HOST, "fault_domain": "us-west-2b", "vcenter": ""},
    "target": {"moid": "host-6", "name": "esx-06", "fault_domain": "us-west-2b", "vcenter": ""},
}
_JOB = {"vm": _VM, "id": "job-1"}
VCENTER = {
    "name": "vcenter.example.com",
    "instance_uuid": "u",
    "version": "8.0.3",
    "simulated": True,
    "product": "VMware vCenter Server 8.0.3 build-1",
    "address": "vc.example.com",
}
# An event of each kind as a journal holds it; tests change the fields that matter to them.
EXAMPLES: dict[str, dict[str, Any]] = {
    "run_started": {"run_id": "r1", "plan_id": "p1", "purpose": "evacuate", "key": "u.host-5", "host": _HOST,
                    "vcenter": VCENTER},
    "run_resumed": {"run_id": "r1", "plan_id": "p1"},
    "run_stopping": {"detail": "the run was interrupted"},
    "run_interrupted": {"detail": "the run was interrupted"},
    "vcenter_silence": {"seconds": 12.5},
    "run_finished": {"result": "success", "moved": 1, "failed": 0, "left_behind": 0},
    "left_behind": {"vm": _VM, "host": "esx-05", "reasons": ["the VM is locked"]},
    "rolling_back": {"reason": "a move failed"},
    "samples_sealed": {"sha256": "b" * 64},
    "fence": {"detail": "fenced", "own": True},
    "fence_setting": {"host": "esx-05"},
    "fence_lifting": {"host": "esx-05"},
    "fence_lifted": {"host": "esx-05"},
    "fence_kept": {"host": "esx-05", "detail": "no permission"},
    "planned": {**_MOVE, "memory_bytes": 2**34, "predicted_seconds": 20.0, "why": "least used", "back": False},
    "refused": {"vm": _VM, "blocking": True, "reasons": [{"check": "busy", "object": "backup", "hint": "Wait"}]},
    "drs_planned": {"cluster": {"moid": "domain-c8", "name": "ml"}, "automation": "full", "how": "pin", "pinned": ["vm-1"],
                    "why": "DRS of cluster ml is fully automated for 1 of 1 VMs."},
    "drs_pinning": {"pins": [{"vm": _VM, "cluster": "domain-c8", "had": True, "enabled": None, "behavior": "full"}]},
    "drs_restored": {"vms": [_VM]},
    "drs_left": {"vms": [_VM], "detail": "ML-1: no override"},
    "drs_kept": {"vms": [_VM], "detail": "no permission"},
    "window_opened": {"subject": "esx-05", "seconds": 600.0, "vms": 2, "until_returned": True},
    "window_closed": {"seconds": 600.4, "cut": "", "unread": ""},
    "maintenance_seen": {"host": _HOST, "entered": True},
    "partly_searched": {"vm": _VM, "detail": "https://mlflow: authentication failed (HTTP 401)"},
    "noticed": {"vm": _VM, "detail": "the VM came during the window, and was not watched"},
    "move_seen": {"number": 1, "vm": _VM, "source": {**_MOVE["source"]}, "task": "task-9", "within": 1.0},
    "move_submitting": {**_MOVE, "attempt": 1, "adopted": False},
    "move_submitted": {"number": 1, "vm": _VM, "task": "task-9"},
    "move_progress": {"number": 1, "vm": _VM, "percent": 40},
    "move_cancelling": {**_MOVE, "reason": "timeout"},
    "switched_over": {"number": 1, "vm": _VM, "host": "esx-06"},
    "move_finished": {**_MOVE, "result": "moved", "error": None, "host": "esx-06", "by": ""},
    "experiment_found": {**_JOB, "provider": "h2o3", "process": "1", "url": "http://192.0.2.4:54321", "progress": 0.1},
    "no_experiment": {"vm": _VM, "detail": "no server listens"},
    "experiment_progress": {**_JOB, "progress": 0.4, "gained": 0.1, "detail": ""},
    "experiment_concluded": {
        **_JOB,
        "final": {"status": "DONE", "metric": "AUC", "score": 0.7, "artifacts": ["model"], "detail": ""},
        "training_clock": {"seconds": 1.5, "steps": 2.0, "after_step": 10.0, "usual": 0.5, "points": 40, "clock": "guest"},
    },
    "verdict": {**_JOB, "provider": "h2o3", "verdict": "uninterrupted", "identity": "proven", "progress_claim": "proven",
                "stall_claim": "proven",
                "longest_stall": {"seconds": 0.4, "low": 0.3, "high": 0.5, "at_mono": 1004.0}},
    "power_on": {"when": "before", "times": {"vm-4": "2026-01-01T00:00:00.000Z", "vm-5": None}},
    "vm_restarted": {"vm": _VM, "at": "2026-01-31T09:00:30.000Z", "by": "vSphere HA"},
    "guest_processes": {"when": "before", "readings": {"vm-4": {"processes": [], "detail": "no login"}}},
    "home_recorded": {"vm": _VM, "home": _HOST, "target": {"moid": "host-6", "name": "esx-06"}, "start": "host-5",
                      "attribute": False, "vm_uuid": "502c1e5f-0000-0000-0000-000000000001"},
    "home_clearing": {"vm": _VM},
    "home_cleared": {"vm": _VM},
}  # fmt: skip


def entries(events: Sequence[dict[str, Any]]) -> list[Entry]:
    """The entries of a journal from its JSON objects; fields that are left out are those of the examples."""
    clock = {"at": "2026-01-31T09:00:00.000Z", "mono": ORIGIN}
    return [
        Entry.from_json({"seq": number, **clock, **EXAMPLES[event["event"]], **event})
        for number, event in enumerate(events, 1)
    ]


def journal_rows(path: Path) -> list[dict[str, Any]]:
    """A journal's entries as JSON objects."""
    return [entry.to_json() for entry in read_journal(path).entries]


def write_event(journal: Journal, kind: str, **fields: Any) -> None:
    """Write an event from its JSON fields; those that are left out are those of the example."""
    journal.write(KINDS[kind].from_json({**EXAMPLES[kind], **fields}))


class Book:
    """Events as a journal keeps them. They are written in any order and returned in the order of their times."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, dict[str, Any]]] = []

    def add(self, seconds: float, event: str, /, **fields: Any) -> None:
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
    host = {"moid": "host-5", "name": "esx-05"}
    book.add(0, "run_started", run_id="r1", plan_id="0" * 64, purpose="evacuate", key="u.host-5", host=host,
             vcenter=VCENTER, priority="highPriority", slots=SLOTS, stall_budget=BUDGET, collection="0.1.0")  # fmt: skip
    vms = [vm(n, prefix) for n in range(moves)]
    ends = [_ends(host, n) for n in range(moves)]
    predicted = [20.0 + 13 * n % 40 for n in range(moves)]
    for n, one in enumerate(vms):
        book.add(0, "planned", number=n + 1, vm=one, **ends[n], why="least used", memory_bytes=(n % 4 + 1) * 2**34,
                 predicted_seconds=predicted[n])  # fmt: skip
    reason = {"check": "host_cdrom", "object": "CD/DVD drive 1", "hint": "Disconnect the host's drive"}
    book.add(0, "refused", vm=vm(98, prefix), blocking=True, reasons=[reason])
    times = {one["moid"]: "2026-01-01T00:00:00.000Z" for one in vms}
    book.add(0, "power_on", when="before", times=times)
    spans = _flights([1.15 * p for p in predicted])
    trainings = [training(verdict, n, spans[n][1]) for n, verdict in enumerate(verdicts)]
    _find_experiments(book, vms, trainings)
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
    judged_at = [settled_at(verdict, spans[n][1]) for n, verdict in enumerate(verdicts)]
    over = max([*(end + SETTLED for _start, end in spans), *judged_at]) + 1
    for n, made in enumerate(trainings):
        found = experiment_from_json(_found(vms[n], n, made))
        samples[found.vm, found.id] = seen = made.watched(over, ORIGIN)
        settled, later = (
            judged(found, seen, *(ORIGIN + at for at in (*spans[n], now))) for now in (judged_at[n], over)
        )
        for at, judgement in ((judged_at[n], settled), (over, after_its_move(settled, later))):
            book.add(at, "verdict", **VerdictReached.of(judgement).to_json())
    for n, verdict in enumerate(verdicts):
        if verdict == "failed":
            final = {"status": "FAILED", "metric": "", "score": None, "artifacts": [], "detail": ERROR}
            book.add(over, "experiment_concluded", vm=vms[n], id=f"job-{n}", final=final, training_clock=None)
    book.add(over, "power_on", when="after", times=times)
    left = int(result != "moved")
    failed = left or any(verdict not in GOOD for verdict in verdicts)
    book.add(
        over,
        "run_finished",
        result="failed" if failed else "success",
        moved=moves - left,
        failed=left,
        left_behind=left,
    )
    return book.events(), samples


def made_evidence(moves: int, verdicts: Sequence[str] = ("uninterrupted",), **options: Any) -> dict[str, Any]:
    """Evidence of such a run."""
    events, samples = made_run(moves, verdicts, **options)
    return evidence_of(entries(events), samples, INTACT)


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


def _find_experiments(book: Book, vms: list[dict[str, str]], trainings: Sequence[Training]) -> None:
    for n, one in enumerate(vms):
        if n < len(trainings):
            book.add(0, "experiment_found", **_found(one, n, trainings[n]))
        else:
            book.add(0, "no_experiment", vm=one, detail=f"http://192.0.2.{n}:54321: no server listens")


def _found(one: dict[str, str], number: int, made: Training) -> dict[str, Any]:
    """An experiment as a journal holds it."""
    return {
        "vm": one, "provider": "h2o3", "id": f"job-{number}", "process": "1", "url": f"http://192.0.2.{number}:54321",
        "description": f"GBM gbm_{number}", "progress": made.progress(0.0), "clock_progress": False,
        "owner": OWNERS[number % len(OWNERS)], "cluster": "", "recoverable": "yes", "recovery": "checkpoints in /exports",
        "capabilities": {"identity": "process", "signal": "answers", "freshness": 0.0,
                         "note": "answers of the server in the VM, at most 32 per second"},
    }  # fmt: skip


def _flights(durations: list[float]) -> list[tuple[float, float]]:
    """Start and end of each move: in order, eight at a time."""
    free, spans = [BASELINE] * SLOTS, []
    for duration in durations:
        start = heapq.heappop(free)
        heapq.heappush(free, start + duration)
        spans.append((start, start + duration))
    return spans


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
        write_event(journal, event, **fields)
    journal.close()
    return folder / "journal.jsonl"
