# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what vCenter's own checks of moves found.

Each check is a task. A check reserves nothing: it says what would be possible now.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._core.errors import CallFailed, TaskTimeout
from .._core.untrusted import text
from .client import Client, fault_name
from .estate import Checked
from .inventory import Rows, read_objects

CHECKS_AT_ONCE = 8  # of vCenter's tasks
CHECK_SECONDS = 120.0  # for the checks that run at the same time
_RESULTS = ["info.state", "info.error", "info.result"]
_MAX_PAUSE = 1.0


Results = dict[tuple[str, str], Checked]  # by VM and host (MoIDs)


def together(found: Iterable[Checked]) -> Checked:
    """All that several results of one move found."""
    results = list(found)
    return Checked(
        tuple(dict.fromkeys(error for each in results for error in each.errors)),
        tuple(dict.fromkeys(warning for each in results for warning in each.warnings)),
    )


def read_checks(client: Client, tasks: Sequence[str]) -> dict[str, Results]:
    """Wait for tasks that check moves. Returns what they found, by task.

    Raises TaskTimeout, or CallFailed if a task failed or vCenter no longer knows it.
    """
    rows = _ended(client, tasks)
    found = dict[str, Results]()
    for task in tasks:
        row = rows.get(task)
        error = row.get("info.error") if row is not None else None
        if row is None or error is not None or row.unreadable:
            name = "Unreadable" if error is None else fault_name(error)
            raise CallFailed(f"vCenter could not check the moves: {name}", fault=name)
        results = row.get("info.result") or ()
        if not results:
            raise CallFailed("vCenter could not check the moves: its answer is empty", fault="NoResult")
        found[task] = {
            (_moid(result.vm), _moid(result.host)): Checked(_named(result.error), _named(result.warning))
            for result in results
        }
    return found


def _moid(reference: Any) -> str:
    return "" if reference is None else str(reference._moId)


def _ended(client: Client, tasks: Sequence[str]) -> Rows:
    """The results of tasks that have ended; a task that vCenter no longer knows is not in them."""
    deadline, pause = time.monotonic() + CHECK_SECONDS, 0.02
    while True:
        rows = read_objects(client, "Task", tasks, _RESULTS)
        if all(row.unreadable or row.get("info.state") in ("success", "error") for row in rows.values()):
            return rows
        if time.monotonic() > deadline:
            raise TaskTimeout(f"vCenter did not finish its checks within {CHECK_SECONDS:.0f} s", last_state="running")
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE)


def _named(faults: Iterable[Any] | None) -> tuple[str, ...]:
    """Class name and message of each fault, without the message if it says the same."""
    named = ((fault_name(fault), text(str(fault.msg or ""))) for fault in faults or ())
    return tuple(dict.fromkeys(f"{name} ({said})" if said and name not in said else name for name, said in named))
