# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The state directory: one folder a run, and a lock so that one process at a time works for a host.

``<state_dir>/runs/<run_id>/journal.jsonl`` and ``samples.jsonl``; ``<state_dir>/locks/<key>.lock``;
``<state_dir>/homes_cleared.jsonl``, a line a home that an operator cleared, because journals are evidence and never change.
Folders 0700, files 0600. A lock dies with its process, so a killed run never blocks the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    InvalidInput,
    NotFound,
    RunBusy,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import (
    Event,
    read_journal,
    utc_now,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import (
    RunState,
    replay,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Estate,
    Home,
    Move,
    MoveResult,
    Plan,
    Purpose,
    Refusal,
    VcenterInfo,
)

CLEARED = "homes_cleared.jsonl"


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
def _using(path: Path, done: str = "read") -> Iterator[None]:
    """Raise InvalidInput when something of the state directory is there and cannot be read (or what ``done`` says)."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be {done}: {error.strerror}",
            hint="Give a folder that this user can use in state_dir",
            option="state_dir",
        ) from error


def run_key(vcenter_uuid: str, host: str | None, vms: tuple[str, ...] = ()) -> str:
    """What a run works for: a host of a vCenter, or else a set of VMs."""
    what = host or "+".join(sorted(vms))
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{vcenter_uuid}.{what}")[:200]


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
    with _using(runs):
        try:
            return sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
        except FileNotFoundError:
            return []


def run_journals(state: Path) -> Iterator[tuple[Path, list[Event]]]:
    """Folder and journal of all runs, newest first. Raises InvalidInput when one cannot be read."""
    for folder in run_folders(state):
        with _using(folder / "journal.jsonl"):
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


def journal_homes(state: Path, vcenter_uuid: str, runs: Sequence[RunState] | None = None) -> dict[str, Home]:
    """The home of each VM that the journals of this vCenter recorded last, unless it was cleared after that.

    Rollbacks and operators clear a VM's home; a restore clears the home that it brought the VM to. ``runs``: what
    :func:`runs_of` told of the same vCenter, where that was read already.
    """
    facts = _cleared_homes(state, vcenter_uuid)
    for run in reversed(runs_of(state, vcenter_uuid) if runs is None else runs):
        facts += _home_facts(run)  # the newer run's last: of two at the same millisecond it counts
    homes: dict[str, Home] = {}
    for fact in sorted(facts, key=lambda fact: (fact.at, fact.home is None)):
        if fact.home is not None:
            homes[fact.vm] = fact.home
        elif fact.vm in homes and fact.host in ("", homes[fact.vm].host):
            del homes[fact.vm]
    return homes


@dataclass(frozen=True, slots=True)
class _HomeFact:
    """At a time (UTC, ISO 8601) a VM's home was recorded, or cleared: any, or the one on ``host`` (a MoID)."""

    at: str
    vm: str
    home: Home | None = None
    host: str = ""


def _home_facts(run: RunState) -> list[_HomeFact]:
    """A run that was resumed tells of homes after later runs did, so each fact has its own time."""
    facts = [_HomeFact(home.recorded_at, home.vm, home) for home in run.homes]
    facts += [_HomeFact(at, vm) for vm, at in run.homes_cleared.items()]
    if run.purpose is Purpose.RESTORE:
        facts += [
            _HomeFact(move.ended_at, vm, host=move.target)
            for vm, move in run.moves.items()
            if move.result is MoveResult.MOVED and vm not in run.back
        ]
    return facts


def clear_homes(state: Path, vcenter_uuid: str, homes: Iterable[Home]) -> None:
    """Remember that an operator cleared homes of the journals. One that is recorded later counts again.

    Raises InvalidInput when that cannot be written.
    """
    lines = [
        json.dumps({"at": max(utc_now(), home.recorded_at), "vcenter": vcenter_uuid, "vm": home.vm}) for home in homes
    ]
    path = state / CLEARED
    with _using(path, "written"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(fd, "wb", buffering=0) as stream:
            # The line break before them ends a line that a crash tore.
            stream.write("".join(f"\n{line}\n" for line in lines).encode())
            os.fsync(fd)


def _cleared_homes(state: Path, vcenter_uuid: str) -> list[_HomeFact]:
    path = state / CLEARED
    with _using(path):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
    found = []
    for line in lines:
        try:
            told = json.loads(line)
            if told["vcenter"] == vcenter_uuid:
                found.append(_HomeFact(str(told["at"]), str(told["vm"])))
        except (ValueError, KeyError, TypeError):
            continue  # empty, or torn by a crash before the module said that it was done
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


@contextmanager
def run_lock(
    state: Path, key: str, *, timeout: float, waiting: Callable[[str], None] = lambda _text: None
) -> Iterator[None]:
    """Hold the lock of ``key``; wait up to ``timeout`` seconds for another process to let go.

    Raises RunBusy with the holder's pid. ``waiting`` hears one sentence when the wait begins.
    """
    path = state / "locks" / f"{key}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(fd, timeout, waiting)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def between_runs(state: Path, key: str, *, timeout: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Wait up to ``timeout`` seconds for a run of ``key`` in progress, and begin none meanwhile. Nothing is made.

    Raises RunBusy with the holder's pid, or InvalidInput. ``waiting`` hears one sentence when the wait begins.
    """
    path = state / "locks" / f"{key}.lock"
    with _using(path):
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            fd = None
    if fd is None:
        yield
        return
    try:
        _acquire(fd, timeout, waiting, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _acquire(fd: int, timeout: float, waiting: Callable[[str], None], kind: int = fcntl.LOCK_EX) -> None:
    deadline, told = time.monotonic() + timeout, False
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(fd)
            if not told:
                waiting(f"process {holder} still carries out a run for this host; waiting for its moves in flight")
                told = True
            if time.monotonic() >= deadline:
                raise RunBusy(
                    f"Process {holder} carries out a run for this host",
                    hint="Let it finish, or end that process and start again; its journal will be resumed",
                ) from None
            time.sleep(0.2)


def _holder(fd: int) -> str:
    try:
        return str(json.loads(os.pread(fd, 100, 0))["pid"])
    except (ValueError, KeyError, TypeError):
        return "of unknown number"
