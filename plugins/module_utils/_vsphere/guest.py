# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of a guest, as VMware Tools report them to vCenter with a login for the guest. Pure.

A process is the same before and after a move if its PID, start and command line are the same. Command lines may contain
secrets, so only their SHA-256 is kept.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from .._core.errors import InvalidInput

CLOCK_STEP = 2.0  # seconds by which the start of a process may change when the guest corrects its clock


@dataclass(frozen=True, slots=True)
class GuestLogin:
    """The login for the guests of some VMs, and the ``pattern`` that the name or command line of a process must match.

    ``vms`` are names or patterns of VMs. No other guest gets the password: its administrator could read it.
    """

    username: str
    pattern: re.Pattern[str]
    password: str = field(repr=False)
    vms: tuple[str, ...] = ()

    def covers(self, vm_name: str) -> bool:
        """Whether the guest of a VM may get the login."""
        return any(fnmatch.fnmatchcase(vm_name, pattern) for pattern in self.vms)


@dataclass(frozen=True, slots=True)
class GuestProcess:
    """A process of a guest. ``started`` is by the guest's clock, UTC, ISO 8601. ``command`` is a SHA-256."""

    name: str
    pid: int
    started: str
    command: str


def guest_login(settings: Mapping[str, Any]) -> GuestLogin | None:
    """The login from the option ``experiments``; ``None`` if guests are not asked. Raises InvalidInput."""
    if not settings["guest_username"]:
        return None
    if not settings["guest_vms"]:
        raise InvalidInput(
            "experiments.guest_vms is empty, so no guest may get the login of experiments.guest_username",
            hint="Set experiments.guest_vms to names or patterns of VMs",
            option="experiments",
        )
    try:
        pattern = re.compile(settings["guest_process"])
    except re.error as error:
        raise InvalidInput(
            f"experiments.guest_process is not a valid regular expression ({error})",
            hint="Correct the pattern",
            option="experiments",
        ) from error
    return GuestLogin(settings["guest_username"], pattern, settings["guest_password"], tuple(settings["guest_vms"]))


def matches_pattern(name: str, command_line: str, pattern: re.Pattern[str]) -> bool:
    """Whether the name or the command line of a process matches."""
    return bool(pattern.search(name) or pattern.search(command_line))


def command_digest(command_line: str) -> str:
    """The SHA-256 of a command line, as hex."""
    return hashlib.sha256(command_line.encode("utf-8", "surrogateescape")).hexdigest()


def compare_processes(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Compare the processes of a VM before and after a move: ``{"before", "after", "same", "detail"}``.

    Arguments are results of :func:`reading`. ``same`` is true if each process from before is there after, false if one is gone
    or was replaced, ``None`` if there is nothing to compare.
    """
    old = before["processes"]
    new = (after or {}).get("processes", [])
    details = [before["detail"], "the guest was not asked again" if after is None else after["detail"]]
    if not old and not before["detail"]:
        details = ["no process fits experiments.guest_process"]
    same = all(any(_same(a, b) for b in new) for a in old) if old and not any(details) else None
    listed = [[{key: p[key] for key in ("name", "pid", "started")} for p in found] for found in (old, new)]
    return {
        "before": listed[0],
        "after": listed[1],
        "same": same,
        "detail": "; ".join(dict.fromkeys(filter(None, details))),
    }


def _same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    drift = datetime.fromisoformat(after["started"]) - datetime.fromisoformat(before["started"])
    return (before["pid"], before["command"]) == (after["pid"], after["command"]) and abs(
        drift.total_seconds()
    ) <= CLOCK_STEP


def reading(processes: Iterable[GuestProcess], detail: str = "") -> dict[str, Any]:
    """The processes of a VM for the journal: ``{"processes": [...], "detail"}``. ``detail`` says why they could not be read."""
    return {"processes": [asdict(process) for process in processes], "detail": detail}
