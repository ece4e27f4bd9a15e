# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The journal of a run: JSON lines, appended and on disk before the call that they announce.

A line is ``{"seq", "at", "mono", "event", ...}``: ``at`` is UTC (ISO 8601, milliseconds), ``mono`` the
controller's ``time.monotonic()`` in seconds. The journal is the only memory of a run; whatever a
killed run left is folded back by :mod:`_run_state`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]

# News that may be lost in a crash: they announce nothing and decide nothing.
_VOLATILE = frozenset({"move_progress", "experiment_progress"})


def utc_now() -> str:
    """The present as UTC, ISO 8601 with milliseconds, ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Append-only writer of one run's journal; ``listener`` hears each event after it is on disk."""

    def __init__(self, path: Path, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self._listener = listener
        self._seq = _repair(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        _sync_directory(path.parent)

    def write(self, event: str, **fields: Any) -> None:
        """Append one event and wait until the disk has it (progress news excepted)."""
        self._seq += 1
        line: Event = {"seq": self._seq, "at": utc_now(), "mono": round(time.monotonic(), 6), "event": event}
        line.update(fields)
        _write_all(self._fd, json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        if event not in _VOLATILE:
            os.fsync(self._fd)
        if self._listener is not None:
            self._listener(line)

    def close(self) -> None:
        """Close the file; the journal may be opened again by a resumed run."""
        os.close(self._fd)


def read_journal(path: Path) -> list[Event]:
    """All whole events of a journal in order; a line torn by a crash ends the reading."""
    return list(_events(path))


def _events(path: Path) -> Iterator[Event]:
    if not path.exists():
        return
    with path.open("rb") as stream:
        for line in stream:
            event = _whole(line)
            if event is None:
                return
            yield event


def _whole(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event and "seq" in event else None


def _repair(path: Path) -> int:
    """Cut off a line torn by a crash, so that the next one starts clean; return the last ``seq``."""
    if not path.exists():
        return 0
    seq, good = 0, 0
    with path.open("rb+") as stream:
        for line in stream:
            event = _whole(line)
            if event is None:
                break
            seq, good = int(event["seq"]), good + len(line)
        stream.truncate(good)
    return seq


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _sync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
