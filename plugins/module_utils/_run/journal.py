# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a run: JSON lines, appended and on disk before the call that they announce.

A line is ``{"seq", "prev", "at", "mono", "event", ...}``: ``prev`` is the SHA-256 of the line before (without its newline;
64 zeros before the first), so that a changed, inserted or lost line shows; ``at`` is UTC (ISO 8601, milliseconds), ``mono``
the controller's ``time.monotonic()`` in seconds; the rest is the event (see :mod:`events`). The journal is the only memory
of a run; :mod:`state` folds back what a killed run left.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._core.codec import Malformed
from .._core.errors import JournalUnreadable
from .events import FORMAT, Entry, Event, RunStarted

NO_LINE = "0" * 64  # what the first line names as the one before


def utc_now() -> str:
    """The present as UTC, ISO 8601 with milliseconds, ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Append-only writer of one run's journal; ``listener`` hears each entry after it is on disk.

    The executor and the watches of experiments write from threads of their own. Raises JournalUnreadable if the file
    holds anything but a journal, because a run must never continue a damaged journal.
    """

    def __init__(self, path: Path, listener: Callable[[Entry], None] | None = None) -> None:
        self.path = path
        self._listener = listener
        self._lock = threading.Lock()
        self._seq, self._head = _cut_torn_line(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        _sync_directory(path.parent)

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return self._seq > 0

    def write(self, event: Event) -> None:
        """Append one event and wait until the disk has it, unless it is volatile."""
        with self._lock:
            self._append(event)

    def _append(self, event: Event) -> None:
        self._seq += 1
        entry = Entry(self._seq, utc_now(), round(time.monotonic(), 6), event)
        line = {"seq": entry.seq, "prev": self._head, **entry.to_json()}
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
        self._head = hashlib.sha256(data).hexdigest()
        _write_all(self._fd, data + b"\n")
        if not event.volatile:
            os.fsync(self._fd)
        if self._listener is not None:
            self._listener(entry)

    def close(self) -> None:
        """Close the file; the journal may be opened again by a resumed run."""
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds: its entries in order, and what is wrong with it ("" if nothing is).

    Of a damaged journal the entries before the damage are here, of a foreign or newer one none. ``key`` is what the run
    works for as the first line says it, ``None`` if that line cannot be read.
    """

    entries: tuple[Entry, ...] = ()
    problem: str = ""
    key: str | None = None


def read_journal(path: Path) -> Reading:
    """Read a journal. A last line without its newline was torn by a crash and is left out; a missing file is empty."""
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Reading()
    if not lines:
        return Reading()
    first = _json(lines[0])
    key = first.get("key") if first is not None and isinstance(first.get("key"), str) else None
    problem = _not_ours(first)
    if problem:
        return Reading((), problem, key)
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_entry(line))
        except Malformed as error:
            return Reading(tuple(entries), f"line {number} is damaged ({error})", key)
    return Reading(tuple(entries), "", key)


def _not_ours(first: Mapping[str, Any] | None) -> str:
    """Why a first line does not begin a journal that this version reads, "" if it does."""
    if first is None or first.get("event") != RunStarted.kind:
        return "it does not begin with the start of a run"
    version = first.get("format", FORMAT)
    if version != FORMAT:
        return f"its format is {version!r}, and this version of the collection reads format {FORMAT}"
    return ""


def _entry(line: bytes) -> Entry:
    data = _json(line)
    if data is None:
        raise Malformed("it is not a JSON object")
    return Entry.from_json(data)


@dataclass(frozen=True, slots=True)
class Chain:
    """What verifying a journal found: the SHA-256 of its last good line, how many there are, and where it breaks."""

    head: str
    events: int
    broken_at: int | None = None  # number of the first line that does not follow, from 1
    why: str = ""


def verify_chain(path: Path) -> Chain:
    """Verify a journal from its first line. A last line without its newline was torn by a crash, not changed."""
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
    data = _json(line)
    if data is None or "event" not in data or "seq" not in data:
        return "it is not an event"
    if data.get("prev") != head:
        return "it does not follow from the line before"
    return "" if data["seq"] == seq else f"its number is {data['seq']}, not {seq}"


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _cut_torn_line(path: Path) -> tuple[int, str]:
    """Cut off a last line torn by a crash, so that the next one starts clean; the last ``seq`` and SHA-256."""
    if not path.exists():
        return 0, NO_LINE
    reading = read_journal(path)
    if reading.problem:
        raise unreadable(path, reading.problem)
    with path.open("rb+") as stream:
        *whole, torn = stream.read().split(b"\n")
        if torn:
            stream.seek(-len(torn), os.SEEK_END)
            stream.truncate()
    return (reading.entries[-1].seq, hashlib.sha256(whole[-1]).hexdigest()) if whole else (0, NO_LINE)


def unreadable(path: Path, problem: str) -> JournalUnreadable:
    """The error of a journal that cannot be used."""
    return JournalUnreadable(
        f"The journal {path} cannot be used: {problem}",
        hint=f"Move the folder {path.parent} out of the state directory to continue without it. Homes that are recorded only in this journal are then lost",
        option="state_dir",
    )


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _sync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
