# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes that journals record, and those that were cleared since."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .._core.files import accessing
from .._core.own_files import open_own, read_own
from .._vsphere.home_attribute import Home
from .events import HomeRecorded, Ref
from .journal import utc_now
from .model import MoveResult, Purpose
from .ports import Recorder, Vcenter
from .state import RunState
from .store import runs_of

CLEARED = "homes_cleared.jsonl"


def record_home(vcenter: Vcenter, journal: Recorder, vm: Ref, home: Home, *, attribute: bool = True) -> None:
    """Record a home in the journal, and in the VM's attribute if the role permits it; without ``attribute`` in the journal alone."""
    target = Ref(home.target, home.target_name)
    event = HomeRecorded(
        vm,
        Ref(home.host, home.host_name),
        target,
        home.start,
        attribute=False,
        vm_uuid=home.vm_uuid,
        files=home.files,
        place=home.place,
        home_vcenter=home.home_vcenter,
        target_vcenter=home.target_vcenter,
    )
    journal.write(event)
    if attribute and vcenter.record_home(home):
        journal.write(replace(event, attribute=True))


def journal_homes(state: Path, vcenter_uuid: str, runs: Sequence[RunState] | None = None) -> dict[str, Home]:
    """The home of each VM that the journals of this vCenter recorded last, unless it was cleared after that.

    Rollbacks and operators clear a VM's home; a restore clears the home that it brought the VM to. ``runs``: what
    :func:`runs_of` returned for the same vCenter, if it was read already.
    """
    facts = _cleared_homes(state, vcenter_uuid)
    for run in reversed(runs_of(state, vcenter_uuid) if runs is None else runs):
        facts += _home_facts(run)  # the newest run's last, so that it counts if times are equal
    # A VM has its instance UUID as id in runs over two vCenters, and its MoID in others.
    uuids = {fact.vm: fact.home.vm_uuid for fact in facts if fact.home is not None and fact.home.vm_uuid}
    homes: dict[str, Home] = {}
    for fact in sorted(facts, key=lambda fact: (fact.at, fact.home is None)):
        vm = uuids.get(fact.vm, fact.vm)
        if fact.home is not None:
            homes[vm] = fact.home
        elif vm in homes and fact.host in ("", homes[vm].host):
            del homes[vm]
    return {home.vm: home for home in homes.values()}


@dataclass(frozen=True, slots=True)
class _HomeFact:
    """At a time (UTC, ISO 8601) a VM's home was recorded, or cleared: any, or the one on ``host`` (a MoID)."""

    at: str
    vm: str
    home: Home | None = None
    host: str = ""


def _home_facts(run: RunState) -> list[_HomeFact]:
    """A resumed run records homes after later runs did, so each fact has its own time."""
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
    """Record that an operator cleared homes of the journals. A home that is recorded later counts again.

    Raises InvalidInput when that cannot be written.
    """
    lines = [
        json.dumps({"at": max(utc_now(), home.recorded_at), "vcenter": vcenter_uuid, "vm": home.vm}) for home in homes
    ]
    path = state / CLEARED
    with accessing(path, "written"):
        fd = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(fd, "wb", buffering=0) as stream:
            # The line break before each line ends a line that a crash tore.
            stream.write("".join(f"\n{line}\n" for line in lines).encode())
            os.fsync(fd)


def _cleared_homes(state: Path, vcenter_uuid: str) -> list[_HomeFact]:
    path = state / CLEARED
    with accessing(path):
        try:
            lines = read_own(path).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
    found = []
    for line in lines:
        try:
            told = json.loads(line)
            if told["vcenter"] == vcenter_uuid:
                found.append(_HomeFact(str(told["at"]), str(told["vm"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # empty, or torn by a crash before the module said that it was done
    return found
