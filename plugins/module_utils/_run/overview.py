# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run in a few facts and sentences, for people who ask how things stand. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .._core.wording import has_moved, is_restarted, local_moment, plural
from .._experiments.model import Verdict
from .events import Entry, ExperimentProgress, LeftBehind, RunResumed, RunStarted, VmRefused, VmRestarted
from .model import MoveResult, Purpose
from .state import MoveRecord, RunState
from .store import StoredRun, pins_left

_SUBJECTS = {
    Purpose.EVACUATE: "Evacuation of {host}",
    Purpose.RESTORE: "Restore of {host}",
    Purpose.MIGRATE: "Move of {vms}",
    Purpose.WITNESS: "Witness of {vms}",
}
_PLAYBOOKS = {
    Purpose.EVACUATE: "ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name={host}",
    Purpose.RESTORE: "ansible-playbook liveml.vsphere.restore_host -e restore_host_name={host}",
    Purpose.MIGRATE: "ansible-playbook liveml.vsphere.migrate_vm -e migrate_vm_name={vms}",
}


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"  # a process of this machine carries it out
    INTERRUPTED = "interrupted"  # no process carries it out; the same playbook resumes it
    SUPERSEDED = "superseded"  # it never ended, and another run for the same host began after it
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Tally:
    """An experiment of the run, the last verdict about it, and its last progress (0 to 1); ``None`` without one."""

    vm: str
    name: str
    verdict: Verdict | None
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class RunOverview:
    """A run as its journal describes it. VMs are names, times are UTC in ISO 8601, and lists are sorted."""

    run_id: str
    purpose: Purpose
    subject: str
    host: str  # that is evacuated or restored; "" without one
    status: RunStatus
    result: str  # success, failed or unfinished
    started: str
    ended: str | None  # of the last event, unless a process still works on it
    vms: int
    moved: int
    stopping: bool  # its process starts no further move
    silent: float  # seconds for which vCenter had not answered when the run was last seen
    in_flight: tuple[str, ...]
    waiting: tuple[str, ...]  # planned, and not begun
    left_behind: tuple[str, ...]
    restarted: tuple[str, ...]  # powered on again during the run
    experiments: tuple[Tally, ...]
    fenced: bool  # this run fenced the host and did not lift the fence
    fence_unknown: bool  # this run did not see whether the host is fenced
    pinned: tuple[str, ...]  # still excluded from DRS by this run
    pid: int | None  # of the process that carries it out; 0 if its number is not known
    command: str  # that carries it out, also to resume it; "" if somebody else moves the VMs

    @property
    def text(self) -> str:
        """What a person wants to know, in one paragraph."""
        sentences = [f"{self.subject}: {self._standing}.", f"{self.moved} of {plural(self.vms, 'VM')} moved."]
        sentences += [
            f"{label}: {', '.join(names)}."
            for label, names in (
                ("Still moving when the run was last seen", self.in_flight),
                ("Not moved", self.left_behind),
                ("Restarted during the run", self.restarted),
                ("Still excluded from DRS", self.pinned),
            )
            if names
        ]
        if self.host and self.fence_unknown and self.status is not RunStatus.SUPERSEDED:
            sentences.append(f"Whether {self.host} is fenced was not seen.")
        if self.command and self.status is RunStatus.INTERRUPTED:
            sentences.append(f"To continue: {self.command}")
        return " ".join(sentences)

    @property
    def _standing(self) -> str:
        if self.status is RunStatus.RUNNING:
            return f"under way since {local_moment(self.started)}{f' in process {self.pid}' if self.pid else ''}"
        if self.status is RunStatus.INTERRUPTED:
            return f"interrupted, last seen at {local_moment(self.ended)}"
        if self.status is RunStatus.SUPERSEDED:
            return f"never ended, last seen at {local_moment(self.ended)}; another run followed"
        return f"{'succeeded' if self.result == 'success' else self.result} at {local_moment(self.ended)}"


def overviews(runs: Sequence[StoredRun], holder: Callable[[str], int | None]) -> list[RunOverview]:
    """The overviews of all runs of a state directory, newest first, as they are given.

    ``holder`` returns the process that carries out a run for a key, 0 if its number is not known, ``None`` without one.
    """
    found: list[RunOverview] = []
    newer: set[str] = set()
    pinned = _still_pinned([run.state for run in runs])
    for run in runs:
        key, last = run.state.key, run.state.key not in newer
        pid = holder(key) if last and not run.state.finished else None
        found.append(_overview(run, pinned.get(run.state.run_id, ()), pid, superseded=not last))
        newer.add(key)
    return found


def _still_pinned(runs: Sequence[RunState]) -> dict[str, list[str]]:
    """By run ID, the names of the VMs that the run excluded from DRS and no run gave back."""
    by_vcenter: dict[str, list[RunState]] = {}
    for run in runs:
        by_vcenter.setdefault(run.key.partition(".")[0], []).append(run)
    found: dict[str, list[str]] = {}
    for of_one in by_vcenter.values():
        for run, pin in pins_left(of_one).values():
            found.setdefault(run.run_id, []).append(pin.vm.name)
    return found


def _overview(run: StoredRun, pinned: Collection[str], pid: int | None, *, superseded: bool) -> RunOverview:
    state, entries = run.state, run.entries
    status = _status(state, pid, superseded=superseded)
    moves = sorted(state.moves.values(), key=lambda move: move.number)
    names = {"host": state.host_name, "vms": ", ".join(sorted({move.vm_name for move in moves})) or "VMs"}
    return RunOverview(
        run_id=state.run_id,
        purpose=state.purpose,
        host=state.host_name,
        subject=_SUBJECTS[state.purpose].format(**names),
        status=status,
        result=state.result,
        started=state.started_at,
        ended=None if status is RunStatus.RUNNING else entries[-1].at,
        vms=len(moves),
        moved=sum(has_moved(move.result, move.by) for move in moves),
        stopping=state.stopping,
        silent=state.silent,
        in_flight=_names(state.in_flight),
        waiting=_names([move for move in moves if move.result is None and not move.in_flight]),
        left_behind=_left_behind(entries, moves) if status is RunStatus.FINISHED else (),
        restarted=_restarted(entries, moves),
        experiments=_experiments(state, entries),
        fenced=state.own_fence,
        fence_unknown=state.fence_unknown,
        pinned=tuple(sorted(pinned)),
        pid=pid if status is RunStatus.RUNNING else None,
        command=_PLAYBOOKS.get(state.purpose, "").format(**names),
    )


def _status(state: RunState, pid: int | None, *, superseded: bool) -> RunStatus:
    if state.finished:
        return RunStatus.FINISHED
    if pid is not None:
        return RunStatus.RUNNING
    return RunStatus.SUPERSEDED if superseded else RunStatus.INTERRUPTED


def _names(moves: Sequence[MoveRecord]) -> tuple[str, ...]:
    return tuple(sorted({move.vm_name for move in moves}))


def _left_behind(entries: Sequence[Entry], moves: Sequence[MoveRecord]) -> tuple[str, ...]:
    """VMs whose move failed or did not start, those that could not move, and those that the last process of the run left behind."""
    begin = max(n for n, entry in enumerate(entries) if isinstance(entry.event, RunStarted | RunResumed))
    named = {entry.event.vm.name for entry in entries[begin:] if isinstance(entry.event, LeftBehind)}
    ended = {move.vm for move in moves}
    refused = {
        event.vm.name
        for entry in entries
        if isinstance(event := entry.event, VmRefused) and event.blocking and event.vm.moid not in ended
    }
    failed = _names([m for m in moves if m.result not in (MoveResult.MOVED, MoveResult.GONE, None)])
    return tuple(sorted({*named, *refused, *failed}))


def _restarted(entries: Sequence[Entry], moves: Sequence[MoveRecord]) -> tuple[str, ...]:
    """VMs that vCenter shows as powered on again, and those that HA brought to where they are."""
    shown = {entry.event.vm.name for entry in entries if isinstance(entry.event, VmRestarted)}
    return tuple(sorted({*shown, *(move.vm_name for move in moves if is_restarted(move.result, move.by))}))


def _experiments(state: RunState, entries: Sequence[Entry]) -> tuple[Tally, ...]:
    seen = {
        (event.vm.moid, event.id): event.progress
        for entry in entries
        if isinstance(event := entry.event, ExperimentProgress)
    }
    found = []
    for experiment in state.experiments:
        key = (experiment.vm, experiment.id)
        reached = state.verdicts.get(key)
        name = experiment.description or experiment.id
        found.append(
            Tally(experiment.vm_name, name, reached.verdict if reached else None, seen.get(key, experiment.progress))
        )
    return tuple(sorted(found, key=lambda tally: (tally.vm, tally.name)))
