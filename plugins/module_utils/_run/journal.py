# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a run: JSON lines, appended and on disk before the call that they announce.

A line is ``{"seq", "prev", "at", "mono", "event", ...}``: ``prev`` is the SHA-256 of the line before (without its newline;
64 zeros before the first), so that a changed, inserted or lost line shows; ``at`` is UTC (ISO 8601, milliseconds), ``mono``
the controller's ``time.monotonic()`` in seconds. The journal is the only memory of a run; whatever a
killed run left is folded back by :mod:`_run_state`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]

NO_LINE = "0" * 64  # what the first line names as the one before

# News that may be lost in a crash: they announce nothing and decide nothing.
_VOLATILE = frozenset({"move_progress", "experiment_progress"})


def utc_now() -> str:
    """The present as UTC, ISO 8601 with milliseconds, ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Append-only writer of one run's journal; ``listener`` hears each event after it is on disk.

    The executor and the watches of experiments write from threads of their own.
    """

    def __init__(self, path: Path, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self._listener = listener
        self._lock = threading.Lock()
        self._seq, self._head = _repair(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        _sync_directory(path.parent)

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return self._seq > 0

    def write(self, event: str, **fields: Any) -> None:
        """Append one event and wait until the disk has it (progress news excepted)."""
        with self._lock:
            self._append(event, fields)

    def _append(self, event: str, fields: dict[str, Any]) -> None:
        self._seq += 1
        line: Event = {"seq": self._seq, "prev": self._head, "at": utc_now(), "mono": round(time.monotonic(), 6)}
        line.update(event=event, **fields)
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
        self._head = hashlib.sha256(data).hexdigest()
        _write_all(self._fd, data + b"\n")
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


@dataclass(frozen=True, slots=True)
class Chain:
    """What verifying a journal found: the SHA-256 of its last good line, how many there are, and where it breaks."""

    head: str
    events: int
    broken_at: int | None = None  # number of the first line that does not follow, from 1
    why: str = ""


def verify_chain(path: Path) -> Chain:
    """Follow a journal's lines from the first one. A last line without its newline was torn by a crash, not changed."""
    head, count = NO_LINE, 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                break
            why = _why_broken(line, head, count + 1)
            if why:
                return Chain(head, count, number, why)
            head, count = hashlib.sha256(line[:-1]).hexdigest(), number
    return Chain(head, count)


def _why_broken(line: bytes, head: str, seq: int) -> str:
    event = _whole(line)
    if event is None:
        return "it is no event"
    if event.get("prev") != head:
        return "it does not follow from the line before"
    return "" if event["seq"] == seq else f"its number is {event['seq']}, not {seq}"


def _events(path: Path) -> Iterator[Event]:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
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


def _repair(path: Path) -> tuple[int, str]:
    """Cut off a line torn by a crash, so that the next one starts clean; the last ``seq`` and SHA-256."""
    if not path.exists():
        return 0, NO_LINE
    seq, good, head = 0, 0, NO_LINE
    with path.open("rb+") as stream:
        for line in stream:
            event = _whole(line)
            if event is None:
                break
            seq, good, head = int(event["seq"]), good + len(line), hashlib.sha256(line[:-1]).hexdigest()
        stream.truncate(good)
    return seq, head


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _sync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
