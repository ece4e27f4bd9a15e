# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of a guest, as vCenter tells them through VMware Tools with a login of the guest. Pure.

The same number, start and command line before and after a move is the same process, whatever it trains with. Command
lines may hold secrets, so only their SHA-256 leaves vCenter's answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from .._core.errors import InvalidInput

CLOCK_STEP = 2.0  # seconds by which a corrected guest clock may move a process' start


@dataclass(frozen=True, slots=True)
class GuestLogin:
    """Who asks the guest, and for processes whose name or command line fits ``pattern``."""

    username: str
    pattern: re.Pattern[str]
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GuestProcess:
    """A process of a guest. ``started`` is UTC by the guest's clock, ISO 8601; ``command`` a SHA-256."""

    name: str
    pid: int
    started: str
    command: str


def guest_login(settings: Mapping[str, Any]) -> GuestLogin | None:
    """The guest login of the option ``experiments``, ``None`` when guests are not asked. Raises InvalidInput."""
    if not settings["guest_username"]:
        return None
    try:
        pattern = re.compile(settings["guest_process"])
    except re.error as error:
        raise InvalidInput(
            f"experiments.guest_process is no regular expression ({error})", hint="Mend it", option="experiments"
        ) from error
    return GuestLogin(settings["guest_username"], pattern, settings["guest_password"])


def matches_pattern(name: str, command_line: str, pattern: re.Pattern[str]) -> bool:
    """Whether a process is one of those whose identity matters."""
    return bool(pattern.search(name) or pattern.search(command_line))


def command_digest(command_line: str) -> str:
    """What is kept of a command line."""
    return hashlib.sha256(command_line.encode("utf-8", "surrogateescape")).hexdigest()


def compare_processes(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any]:
    """What two readings of a VM prove: ``{"before", "after", "same", "detail"}``.

    A reading is ``{"processes": [...], "detail": why it could not be made}``. ``same`` is true when each process from
    before is there after, false when one is gone or another one, ``None`` when there is nothing to compare.
    """
    old = before["processes"]
    new = (after or {}).get("processes", [])
    details = [before["detail"], "the guest was not asked again" if after is None else after["detail"]]
    if not old and not before["detail"]:
        details = ["no process fits experiments.guest_process"]
    same = all(any(_same(a, b) for b in new) for a in old) if old and not any(details) else None
    shown = [[{key: p[key] for key in ("name", "pid", "started")} for p in found] for found in (old, new)]
    return {
        "before": shown[0],
        "after": shown[1],
        "same": same,
        "detail": "; ".join(dict.fromkeys(filter(None, details))),
    }


def _same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    drift = datetime.fromisoformat(after["started"]) - datetime.fromisoformat(before["started"])
    return (before["pid"], before["command"]) == (after["pid"], after["command"]) and abs(
        drift.total_seconds()
    ) <= CLOCK_STEP


def reading(processes: Iterable[GuestProcess], detail: str = "") -> dict[str, Any]:
    """A reading of a VM for the journal; ``detail`` says why there is none."""
    return {"processes": [asdict(process) for process in processes], "detail": detail}
