# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state directory: one folder a run, and a lock so that one process at a time works for a host.

``<state_dir>/runs/<run_id>/journal.jsonl`` and ``samples.jsonl``; ``<state_dir>/locks/<key>.lock``;
``<state_dir>/homes_cleared.jsonl``, a line a home that an operator cleared, because journals are evidence and never change.
Folders 0700, files 0600. A lock dies with its process, so a killed run never blocks the next one.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .._core.errors import InvalidInput, NotFound
from .._plan.model import Move, Plan, Refusal
from .._vsphere.estate import Estate, VcenterInfo
from .journal import Event, read_journal
from .model import Purpose, run_key
from .state import RunState, replay


def state_to_read(state_dir: str) -> Path:
    """The state directory as an absolute path. Nothing is made: where it is missing there is no run."""
    return Path(os.path.expanduser(state_dir)).absolute()


def state_path(state_dir: str) -> Path:
    """The state directory as an absolute path, made when missing.

    Raises InvalidInput when it cannot be made or written.
    """
    path = state_to_read(state_dir)
    try:
        for folder in (path, path / "runs", path / "locks"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"The state directory {path} cannot be used: {error.strerror}",
            hint="Give a folder this user can write in state_dir",
            option="state_dir",
        ) from error
    return path


@contextmanager
def accessing(path: Path, done: str = "read") -> Iterator[None]:
    """Raise InvalidInput when something of the state directory is there and cannot be read (or what ``done`` says)."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be {done}: {error.strerror}",
            hint="Give a folder that this user can use in state_dir",
            option="state_dir",
        ) from error


def new_run(state: Path, purpose: Purpose, subject: str) -> Path:
    """Make the folder of a new run; its name is the ``run_id``, sortable by time."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    slug = re.sub(r"[^A-Za-z0-9-]+", "-", subject).strip("-").lower()[:40] or "vms"
    folder = state / "runs" / f"{stamp}-{purpose}-{slug}-{secrets.token_hex(2)}"
    folder.mkdir(mode=0o700)
    return folder


def run_folders(state: Path) -> list[Path]:
    """Folders of all runs, newest first; none where there is no state directory. Raises InvalidInput when it cannot be read."""
    runs = state / "runs"
    with accessing(runs):
        try:
            return sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
        except FileNotFoundError:
            return []


def run_journals(state: Path) -> Iterator[tuple[Path, list[Event]]]:
    """Folder and journal of all runs, newest first. Raises InvalidInput when one cannot be read."""
    for folder in run_folders(state):
        with accessing(folder / "journal.jsonl"):
            events = read_journal(folder / "journal.jsonl")
        yield folder, events


def run_states(state: Path) -> Iterator[tuple[Path, RunState]]:
    """Folder and state of all runs that began, newest first. Raises InvalidInput when a journal cannot be read."""
    for folder, events in run_journals(state):
        run = replay(events)
        if run is not None:
            yield folder, run


def runs_of(state: Path, vcenter_uuid: str) -> list[RunState]:
    """The runs of a vCenter that began, newest first. Raises InvalidInput when a journal cannot be read."""
    return [run for _folder, run in run_states(state) if run.is_of(vcenter_uuid)]


def no_run(state: Path, wanted: str) -> NotFound:
    """The error of a run that is not in the state directory, or of a state directory without any."""
    if run_folders(state):
        return NotFound(f"There is no run {wanted} in {state}", hint="Check state_dir and run_id", option="run_id")
    what = "holds none" if state.exists() else "does not exist"
    return NotFound(
        f"There is no run {wanted}: the state directory {state} {what}",
        hint="Give the folder of the runs in state_dir",
        option="state_dir",
    )


def unfinished_run(state: Path, key: str, purpose: Purpose) -> tuple[Path, RunState] | None:
    """The newest run for ``key`` if it has the purpose and never ended; newer runs of another purpose supersede it."""
    for folder, run in run_states(state):
        if run.key != key:
            continue
        return (folder, run) if run.purpose is purpose and not run.finished else None
    return None


def unfinished_run_of_vms(state: Path, plan: Plan) -> tuple[Path, RunState] | None:
    """The newest run that never ended, was for no host, and moves only VMs that a plan tells of: to be moved, refused or settled."""
    known = {move.vm for move in plan.moves} | {refusal.vm for refusal in plan.refusals}
    key = run_key(plan.vcenter.instance_uuid, None, tuple(move.vm for move in plan.moves))
    for folder, run in run_states(state):
        if run.finished or run.host is not None:
            continue
        ours = run.is_of(plan.vcenter.instance_uuid) and all(
            move.vm in known or move.vm_name in plan.settled for move in run.moves.values()
        )
        if run.key == key or (run.moves and ours):
            return folder, run
    return None


def arrivals(runs: Iterable[RunState], estate: Estate) -> dict[str, str]:
    """VM -> host where one of the runs that never ended and was for no host wanted it, and where it is (MoIDs)."""
    found = {}
    for run in runs:
        if not run.finished and run.host is None:
            for vm, move in run.moves.items():
                if move.submitting and vm in estate.vms and estate.vms[vm].host == move.target:
                    found[vm] = move.target
    return found


def moves_in_flight(runs: Iterable[RunState]) -> dict[str, tuple[str, str | None]]:
    """VM -> (target, task) of moves that one of the runs, newest first, announced and never saw end."""
    found: dict[str, tuple[str, str | None]] = {}
    for run in runs:
        if not run.finished:
            for move in run.in_flight:
                found.setdefault(move.vm, (move.target, move.task))
    return found


def journalled_plan(state: Path, vcenter: VcenterInfo, plan_id: str) -> Plan | None:
    """The plan of that id as the newest run of this vCenter that carried it out, or began to, wrote it down."""
    for _folder, events in run_journals(state):
        run = replay(events)
        if run is not None and run.is_of(vcenter.instance_uuid):
            told = _plan_events(events, plan_id)
            if told is not None:
                return _told_plan(told, vcenter, plan_id)
    return None


def _plan_events(events: list[Event], plan_id: str) -> list[Event] | None:
    """What a run wrote from the moment that it took up the plan until it took up another one."""
    begins = [number for number, event in enumerate(events) if event["event"] in ("run_started", "run_resumed")]
    for begin, end in zip(begins, [*begins[1:], len(events)], strict=True):
        if events[begin]["plan_id"] == plan_id:
            return events[begin:end]
    return None


def _told_plan(events: list[Event], vcenter: VcenterInfo, plan_id: str) -> Plan:
    moves = tuple(
        Move(
            number=event["number"],
            vm=event["vm"]["moid"],
            vm_name=event["vm"]["name"],
            source=event["source"]["moid"],
            source_name=event["source"]["name"],
            target=event["target"]["moid"],
            target_name=event["target"]["name"],
            memory_bytes=0,
            predicted_seconds=0.0,
        )
        for event in events
        if event["event"] == "planned"
    )
    refusals = tuple(
        Refusal(event["vm"]["moid"], event["vm"]["name"], (), event["blocking"])
        for event in events
        if event["event"] == "refused"
    )
    return Plan(plan_id, vcenter, moves, refusals)
