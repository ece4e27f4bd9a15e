# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state directory: one folder per run, and what its journals say together. ``locks.py`` has the locks.

``<state_dir>/runs/<run_id>/journal.jsonl`` and ``samples.jsonl``; ``<state_dir>/locks/<key>.lock``;
``<state_dir>/homes_cleared.jsonl``, one line per home that an operator cleared, because journals are evidence and never change.
Folders 0700, files 0600. A lock ends with its process, so a killed run never blocks the next one.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .._core.errors import InvalidInput, NotFound
from .._core.files import accessing
from .._core.own_files import check_own_folder
from .._plan.model import Move, Plan, Refusal
from .._vsphere.estate import Estate, VcenterInfo
from .events import DrsPlanned, Entry, Event, MovePlanned, Pin, RunResumed, RunStarted, VmRefused
from .journal import Reading, read_journal, unreadable
from .model import Purpose, run_key
from .state import RunState, replay

JOURNAL = "journal.jsonl"
NAME = re.compile(r"\d{8}T\d{6}Z-([a-z]+)-(.+)-[0-9a-f]{4}")  # of a run's folder: purpose and subject


def state_to_read(state_dir: str) -> Path:
    """The state directory as an absolute path. Creates nothing: a missing directory has no runs.

    Raises InvalidInput if it belongs to others, or if others may write it.
    """
    path = Path(os.path.expanduser(state_dir)).absolute()
    for folder in (path, path / "runs", path / "locks"):
        check_own_folder(folder, "state_dir")
    return path


def state_path(state_dir: str) -> Path:
    """The state directory as an absolute path; creates it if it is missing.

    Raises InvalidInput if it cannot be created or written, if it belongs to others, or if others may write it.
    """
    path = state_to_read(state_dir)
    try:
        for folder in (path, path / "runs", path / "locks"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"The state directory {path} cannot be used: {error.strerror}",
            hint="Set state_dir to a folder that this user can write",
            option="state_dir",
        ) from error
    return state_to_read(state_dir)


def slug_of(subject: str) -> str:
    """A run's subject as part of the name of its folder."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", subject).strip("-").lower()[:40] or "vms"


def new_run(state: Path, purpose: Purpose, subject: str) -> Path:
    """Create the folder of a new run; its name is the ``run_id``, which sorts by time. Raises InvalidInput."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    slug = slug_of(subject)
    folder = state / "runs" / f"{stamp}-{purpose}-{slug}-{secrets.token_hex(2)}"
    with accessing(folder, "created"):
        folder.mkdir(mode=0o700)
    return folder


def named_after(folder: Path) -> tuple[str, str]:
    """Purpose and slug of the subject in the name of a run's folder; empty if it has another name."""
    found = NAME.fullmatch(folder.name)
    return (found[1], found[2]) if found else ("", "")


def run_folders(state: Path) -> list[Path]:
    """Folders of all runs, newest first; none without a state directory. Raises InvalidInput if it cannot be read."""
    runs = state / "runs"
    with accessing(runs):
        try:
            return sorted((path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()), reverse=True)
        except FileNotFoundError:
            return []


Warn = Callable[[str], None]


def ignore(_text: str) -> None:
    """Ignore a warning."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the state directory holds it."""

    folder: Path
    reading: Reading
    state: RunState

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The events of its journal, up to the first damage."""
        return self.reading.entries


def readings(state: Path) -> Iterator[tuple[Path, Reading]]:
    """Folder and journal of each run, newest first. Raises InvalidInput if one may not be read."""
    for folder in run_folders(state):
        with accessing(folder / JOURNAL):
            reading = read_journal(folder / JOURNAL)
        yield folder, reading


def stored_runs(state: Path, warn: Warn = ignore) -> Iterator[StoredRun]:
    """All runs that began, newest first. Raises InvalidInput if a journal may not be read.

    A damaged journal counts up to its damage; a foreign or newer one does not count. ``warn`` hears of each.
    """
    for folder, reading in readings(state):
        if reading.problem:
            warn(_left_out(folder, reading))
        run = replay(reading.entries)
        if run is not None:
            yield StoredRun(folder, reading, run)


def _left_out(folder: Path, reading: Reading) -> str:
    used = f"Only its first {len(reading.entries)} events are used" if reading.entries else "The run is ignored"
    return f"The journal {folder / JOURNAL} cannot be used: {reading.problem}. {used}."


def runs_of(state: Path, vcenter_uuid: str, warn: Warn = ignore) -> list[RunState]:
    """The runs of a vCenter that began, newest first. Raises InvalidInput if a journal may not be read."""
    return [run.state for run in stored_runs(state, warn) if run.state.is_of(vcenter_uuid)]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which run is meant: its id, its purpose, its host (name or MoID); what is ``None`` fits every run."""

    run_id: str | None = None
    purpose: str | None = None
    host: str | None = None

    def fits(self, run: StoredRun) -> bool:
        """Whether a run is meant."""
        return (
            self.run_id in (None, run.folder.name)
            and self.purpose in (None, run.state.purpose)
            and (
                self.host is None or (run.state.host is not None and self.host in (run.state.host, run.state.host_name))
            )
        )

    def may_mean(self, folder: Path, names: Iterable[str]) -> bool:
        """Whether a run is meant whose journal cannot be read. The name of its folder decides; ``names`` are those of the host."""
        purpose, slug = named_after(folder)
        hosts = {slug_of(name) for name in (*names, self.host or "") if name}
        return (
            self.run_id in (None, folder.name)
            and self.purpose in (None, "", purpose)
            and (self.host is None or slug in hosts)
        )


def find_run(
    state: Path, wanted: RunFilter, *, holds: Callable[[RunState], bool] = lambda _run: True, warn: Warn = ignore
) -> StoredRun | None:
    """The newest run that is meant and for which ``holds`` is true; ``None`` if there is none.

    Raises NotFound if ``run_id`` names no run, and JournalUnreadable if a run that is meant has no readable beginning: it may
    be the newest.
    """
    named = False
    for folder, reading in readings(state):
        run = replay(reading.entries)
        if run is None and reading.problem and wanted.may_mean(folder, _names_of(state, wanted.host)):
            raise unreadable(folder / JOURNAL, reading.problem)
        if reading.problem:
            warn(_left_out(folder, reading))
        stored = None if run is None else StoredRun(folder, reading, run)
        if stored is not None and wanted.fits(stored):
            named = True
            if holds(stored.state):
                return stored
    if wanted.run_id and not named:
        raise no_run(state, wanted.run_id)
    return None


def _names_of(state: Path, host: str | None) -> set[str]:
    """The names that runs know of a host, by its name or MoID."""
    return {run.state.host_name for run in stored_runs(state) if host in (run.state.host, run.state.host_name)} - {""}


def no_run(state: Path, run_id: str | None = None) -> NotFound:
    """The error of a run that is not in the state directory, or of a state directory without runs."""
    if run_id and run_folders(state):
        return NotFound(f"No run {run_id} found in {state}", hint="Check run_id and state_dir", option="run_id")
    what = "contains no runs" if state.exists() else "does not exist"
    return NotFound(
        f"No run found: state directory {state} {what}",
        hint="Set state_dir to the directory that contains the runs",
        option="state_dir",
    )


def _may_be_of(folder: Path, reading: Reading, key: str, subject: str) -> bool:
    """Whether a run works for ``key``. If its journal is damaged, it may do that, too, if the name of its folder says so.

    A host that was added to vCenter again has a new MoID, and thus another key. A witness moves nothing.
    """
    if reading.key == key or not reading.problem:
        return reading.key == key
    purpose, slug = named_after(folder)
    same_vcenter = reading.key is None or reading.key.partition(".")[0] == key.partition(".")[0]
    return purpose != Purpose.WITNESS and slug == slug_of(subject) and same_vcenter


def refuse_unreadable(state: Path, key: str, subject: str) -> None:
    """Raise JournalUnreadable if a run for ``key`` has a journal that cannot be used: it may record homes."""
    for folder, reading in readings(state):
        if reading.problem and _may_be_of(folder, reading, key, subject):
            raise unreadable(folder / JOURNAL, reading.problem)


def unfinished_run(state: Path, key: str, purpose: Purpose, subject: str) -> tuple[Path, RunState] | None:
    """The newest run for ``key`` if it has the purpose and never ended; newer runs of another purpose supersede it.

    Raises JournalUnreadable if the journal of that run is damaged, foreign or newer.
    """
    for folder, reading in readings(state):
        if not _may_be_of(folder, reading, key, subject):
            continue
        if reading.problem:
            raise unreadable(folder / JOURNAL, reading.problem)
        run = replay(reading.entries)
        if run is not None:
            return (folder, run) if run.purpose is purpose and not run.finished else None
    return None


def unfinished_run_of_vms(state: Path, plan: Plan) -> tuple[Path, RunState] | None:
    """The newest run that never ended, was for no host, and moves only VMs that are in a plan: to move, refused or settled.

    Raises JournalUnreadable if that run's journal is damaged, foreign or newer.
    """
    known = {move.vm for move in plan.moves} | {refusal.vm for refusal in plan.refusals}
    key = run_key(plan.vcenter.instance_uuid, None, tuple(move.vm for move in plan.moves))
    for folder, reading in readings(state):
        run = replay(reading.entries)
        if reading.problem and reading.key == key:
            raise unreadable(folder / JOURNAL, reading.problem)
        if run is None or run.finished or run.host is not None:
            continue
        ours = run.is_of(plan.vcenter.instance_uuid) and all(
            move.vm in known or not {move.vm_name, f"{move.vm_name} ({move.vm})"}.isdisjoint(plan.settled)
            for move in run.moves.values()
        )
        if run.key == key or (run.moves and ours):
            if reading.problem:
                raise unreadable(folder / JOURNAL, reading.problem)
            return folder, run
    return None


def pins_left(runs: Sequence[RunState]) -> dict[str, tuple[RunState, Pin]]:
    """The VMs (MoIDs) that runs excluded from DRS and no run gave back, with the run and the pin that knows the earlier override.

    ``runs`` are those of one vCenter, newest first.
    """
    left: dict[str, tuple[RunState, Pin]] = {}
    for run in reversed(runs):
        left = {vm: found for vm, found in left.items() if vm not in run.unpinned}
        left = {**{vm: (run, pin) for vm, pin in run.pins.items()}, **left}
    return left


def pins_of_nobody(
    runs: Sequence[RunState], key: str, host_name: str, is_held: Callable[[str], bool]
) -> dict[str, Pin]:
    """The VMs (MoIDs) in ``pins_left`` that a run for ``key`` has to give back, because no other run will.

    They are those of runs for the same host, by its MoID or its name, because a host that is added again has a new MoID; and those
    of runs that never ended and that another one followed. VMs are left out if they are excluded by another run that may continue.
    ``is_held``: whether a process works for a key.
    """
    over: set[str] = set()
    busy: set[str] = set()
    newer: set[str] = set()
    for run in runs:
        subjects = {run.key, run.host_name} - {""}
        same_name = bool(host_name) and run.host_name == host_name
        followed = not run.finished and not newer.isdisjoint(subjects)
        if run.key == key or ((same_name or followed) and not is_held(run.key)):
            over.add(run.run_id)
        elif not run.finished:
            busy |= run.pins.keys()
        newer |= subjects
    return {vm: pin for vm, (run, pin) in pins_left(runs).items() if run.run_id in over and vm not in busy}


def arrivals(runs: Iterable[RunState], estate: Estate) -> dict[str, str]:
    """VM -> host (MoIDs) of VMs that are on the target of a run that never ended and was not for a host."""
    found = {}
    for run in runs:
        if not run.finished and run.host is None:
            for vm, move in run.moves.items():
                if move.submitting and vm in estate.vms and estate.vms[vm].host == move.target:
                    found[vm] = move.target
    return found


def moves_in_flight(runs: Iterable[RunState]) -> dict[str, tuple[str, str | None]]:
    """VM -> (target, task) of moves that a run announced and whose end it never saw; ``runs`` are newest first."""
    found: dict[str, tuple[str, str | None]] = {}
    for run in runs:
        if not run.finished:
            for move in run.in_flight:
                found.setdefault(move.vm, (move.target, move.task))
    return found


def files_in_flight(runs: Iterable[RunState]) -> dict[str, dict[int, str]]:
    """The datastores (MoIDs) to which such moves bring the parts of VMs, by VM and by the key of the part."""
    found: dict[str, dict[int, str]] = {}
    for run in runs:
        if not run.finished:
            for record in run.in_flight:
                found.setdefault(record.vm, record.move.targets)
    return {vm: targets for vm, targets in found.items() if targets}


def journalled_plan(state: Path, vcenter: VcenterInfo, plan_id: str) -> Plan | None:
    """The plan of that id, from the journal of the newest run of this vCenter that began it."""
    for run in stored_runs(state):
        if run.state.is_of(vcenter.instance_uuid):
            events = _plan_events([entry.event for entry in run.entries], plan_id)
            if events is not None:
                return _plan_of(events, vcenter, plan_id)
    return None


def _plan_events(events: list[Event], plan_id: str) -> list[Event] | None:
    """The events of a run from its start with the plan until it was resumed with another plan."""
    begins = [(place, e.plan_id) for place, e in enumerate(events) if isinstance(e, RunStarted | RunResumed)]
    ends = [place for place, _id in begins[1:]] + [len(events)]
    for (begin, taken_up), end in zip(begins, ends, strict=True):
        if taken_up == plan_id:
            return events[begin:end]
    return None


def _plan_of(events: list[Event], vcenter: VcenterInfo, plan_id: str) -> Plan:
    moves = tuple(
        Move(
            number=event.number,
            vm=event.vm.moid,
            vm_name=event.vm.name,
            source=event.source.moid,
            source_name=event.source.name,
            target=event.target.moid,
            target_name=event.target.name,
            memory_bytes=0,
            predicted_seconds=0.0,
            parts=event.parts,
            place_before=event.place_before,
            place_after=event.place_after,
            source_vcenter=event.source.vcenter,
            target_vcenter=event.target.vcenter,
            vgpus=event.vgpus,
            predicted_stun=event.predicted_stun,
        )
        for event in events
        if isinstance(event, MovePlanned)
    )
    refusals = tuple(
        Refusal(event.vm.moid, event.vm.name, (), event.blocking) for event in events if isinstance(event, VmRefused)
    )
    drs = tuple(event.decision() for event in events if isinstance(event, DrsPlanned))
    return Plan(plan_id, vcenter, moves, refusals, drs=drs)
