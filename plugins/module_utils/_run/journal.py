# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a run: JSON lines, appended and on disk before the call that they announce.

A line is ``{"seq", "prev", "at", "mono", "event", ...}``: ``prev`` is the SHA-256 of the line before (without its newline;
64 zeros before the first), so that a changed, inserted or lost line shows; ``at`` is UTC (ISO 8601, milliseconds), ``mono``
the controller's ``time.monotonic()`` in seconds; the rest is the event (see :mod:`events`). The journal is the only memory
of a run; :mod:`state` folds back what a killed run left.

No line vouches for the last one, so ``journal.head`` beside the journal keeps the number of lines and the SHA-256 of the last
one: when the run begins, and when a process closes the journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._core.codec import Malformed, decoded, encoded
from .._core.errors import InvalidInput, JournalUnreadable
from .._core.files import replace_file, sync_directory, unwritable
from .._core.own_files import open_own, read_own
from .events import FORMAT, Entry, Event, RunFinished, RunStarted

NO_LINE = "0" * 64  # what the first line names as the one before
HEAD = "journal.head"
LATER = ("samples.jsonl", "evidence.json")  # what exists only if the journal had begun


def utc_now() -> str:
    """The present as UTC, ISO 8601 with milliseconds, ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a journal: how many lines it has, the SHA-256 of the last one, and whether the run has ended."""

    lines: int
    sha256: str
    finished: bool


class Journal:
    """Append-only writer of one run's journal; ``listener`` hears each entry after it is on disk.

    The executor and the watches of experiments write from threads of their own. Raises JournalUnreadable if the file
    holds anything but a journal, because a run must never continue a damaged journal.

    After an event that could not be written no later one is: the journal of a run has no holes. ``write`` then raises
    StateUnwritable, and a later process resumes the run.
    """

    def __init__(self, path: Path, listener: Callable[[Entry], None] | None = None) -> None:
        self.path = path
        self._listener = listener
        self._lock = threading.Lock()
        reading = read_journal(path)
        if reading.problem or reading.finished:
            raise unreadable(path, reading.problem or "its run has ended")
        self._end = Head(len(reading.entries), reading.head, reading.finished)
        try:
            self._fd = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            _end_last_line(self._fd, reading)
            self._size = os.fstat(self._fd).st_size
            sync_directory(path.parent)
        except OSError as error:
            raise unwritable(path, error) from error
        self._failure: OSError | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return self._end.lines > 0

    def write(self, event: Event) -> None:
        """Append one event and wait until the disk has it, unless it is volatile. Raises StateUnwritable."""
        with self._lock:
            if self._failure is not None:
                raise unwritable(self.path, self._failure)
            try:
                entry = self._append(event)
            except OSError as error:
                self._failure = error
                with suppress(OSError):
                    os.ftruncate(self._fd, self._size)  # else the journal would end in a part of a line
                raise unwritable(self.path, error) from error
            if self._listener is not None:
                self._listener(entry)

    def _append(self, event: Event) -> Entry:
        end = self._end
        entry = Entry(end.lines + 1, utc_now(), round(time.monotonic(), 6), event)
        line = {"seq": entry.seq, "prev": end.sha256, **entry.to_json()}
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
        _write_all(self._fd, data + b"\n")
        if not event.volatile:
            os.fsync(self._fd)
        self._size += len(data) + 1
        self._end = Head(entry.seq, hashlib.sha256(data).hexdigest(), isinstance(event, RunFinished))
        if not end.lines:
            self._keep_head()
        return entry

    def _keep_head(self) -> None:
        replace_file(self.path.with_name(HEAD), json.dumps(encoded(self._end)).encode() + b"\n")

    def close(self) -> None:
        """Close the file; the journal may be opened again by a resumed run."""
        with self._lock:
            if self.begun:
                with suppress(OSError):  # the end of the journal has no witness then
                    self._keep_head()
            os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds: its entries in order, and what is wrong with it ("" if nothing is).

    Of a damaged journal the entries before the damage are here, of a foreign or newer one none. ``broken_at`` is the number
    of the first line that is not as it was written, from 1, if it is known, and ``why`` says what is wrong. ``key`` is what the
    run works for as the first line says it, ``None`` if that line cannot be read. ``sha256s`` are those of the entries' lines.
    ``end_kept``: ``journal.head`` vouches for the last line. ``rest`` are the bytes of a torn last line; ``unended``: the last
    line is whole and has no newline.
    """

    entries: tuple[Entry, ...] = ()
    problem: str = ""
    key: str | None = None
    broken_at: int | None = None
    why: str = ""
    sha256s: tuple[str, ...] = ()
    end_kept: bool = False
    rest: bytes = b""
    unended: bool = False

    @property
    def head(self) -> str:
        """SHA-256 of the last line."""
        return self.sha256s[-1] if self.sha256s else NO_LINE

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return bool(self.entries) and isinstance(self.entries[-1].event, RunFinished)


def read_journal(path: Path) -> Reading:
    """Read a journal and verify it. A missing file is empty.

    A last line without its newline was torn by a crash and is left out, unless it is whole.
    """
    kept, damage = _kept_head(path.with_name(HEAD))  # first: a run may write its last lines meanwhile
    try:
        *lines, rest = read_own(path).split(b"\n")
    except FileNotFoundError:
        lines, rest = [], b""
    except InvalidInput as error:
        return Reading(problem=error.message, why=error.message)
    reading = _followed([*lines, rest] if rest else lines, torn=len(lines) + 1)
    if reading.problem:
        return reading
    if kept is None and not reading.entries and any((path.parent / name).exists() for name in LATER):
        return _broken(reading, 1, "it is missing")
    if damage:
        return replace(reading, problem=damage, why=damage)
    return reading if kept is None else _compared(reading, kept)


def _followed(lines: list[bytes], *, torn: int) -> Reading:
    """The lines as far as they follow from each other. The one with number ``torn`` has no newline."""
    first = _json(lines[0]) if lines else None
    if first is None and torn == 1:
        return Reading(rest=b"".join(lines))
    key = first.get("key") if first is not None else None
    entries: list[Entry] = []
    sha256s: list[str] = []
    found = Reading(key=key if isinstance(key, str) else None)
    if lines and (problem := _not_ours(first)):
        newer = first is not None and first.get("event") == RunStarted.kind
        return replace(found, problem=problem, why=problem, broken_at=None if newer else 1)
    for number, line in enumerate(lines, 1):
        ended = bool(entries) and isinstance(entries[-1].event, RunFinished)
        data = _json(line)
        if number == torn and data is None and not ended:
            return replace(found, entries=tuple(entries), sha256s=tuple(sha256s), rest=line)
        try:
            if ended:
                raise Malformed("it stands after the end of the run")
            entries.append(_entry(data, sha256s[-1] if sha256s else NO_LINE, number))
        except Malformed as error:
            return _broken(replace(found, entries=tuple(entries), sha256s=tuple(sha256s)), number, str(error))
        sha256s.append(hashlib.sha256(line).hexdigest())
    return replace(found, entries=tuple(entries), sha256s=tuple(sha256s), unended=len(lines) == torn)


def _compared(reading: Reading, kept: Head) -> Reading:
    """The reading, broken if its end is not the one that was kept."""
    count = len(reading.entries)
    if kept.lines > count:
        return _broken(reading, count + 1, f"it is missing: the journal had {kept.lines} lines")
    if kept.lines and reading.sha256s[kept.lines - 1] != kept.sha256:
        return _broken(reading, kept.lines, f"its SHA-256 is not the one in {HEAD}")
    if kept.finished and count > kept.lines:
        return _broken(reading, kept.lines + 1, "it stands after the end of the run")
    return replace(reading, end_kept=kept.lines == count)


def _broken(reading: Reading, number: int, why: str) -> Reading:
    """The lines before a number, which is that of the first wrong line."""
    return replace(
        reading,
        entries=reading.entries[: number - 1],
        sha256s=reading.sha256s[: number - 1],
        problem=f"line {number} is damaged ({why})",
        broken_at=number,
        why=why,
    )


def _kept_head(path: Path) -> tuple[Head | None, str]:
    """What a run kept beside its journal, ``None`` if nothing; or why it cannot be read."""
    try:
        return decoded(Head, json.loads(read_own(path))), ""
    except FileNotFoundError:
        return None, ""
    except (ValueError, RecursionError, InvalidInput) as error:  # Malformed is a ValueError
        return None, f"{path.name} beside it is damaged ({error})"


def _not_ours(first: Mapping[str, Any] | None) -> str:
    """Why a first line does not begin a journal that this version reads, "" if it does."""
    if first is None or first.get("event") != RunStarted.kind:
        return "it does not begin with the start of a run"
    version = first.get("format", FORMAT)
    if version != FORMAT:
        return f"its format is {version!r}, and this version of the collection reads format {FORMAT}"
    return ""


def _entry(data: dict[str, Any] | None, head: str, number: int) -> Entry:
    """The event of a line. Raises Malformed if it does not follow from the line with the SHA-256 ``head``."""
    if data is None or "event" not in data or "seq" not in data:
        raise Malformed("it is not an event")
    if data.get("prev") != head:
        raise Malformed("it does not follow from the line before")
    if data["seq"] != number:
        raise Malformed(f"its number is {data['seq']}, not {number}")
    return Entry.from_json(data)


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _end_last_line(fd: int, reading: Reading) -> None:
    """Cut off a last line that a crash tore, or give a whole one its newline, so that the next line starts clean."""
    if reading.rest:
        os.ftruncate(fd, os.fstat(fd).st_size - len(reading.rest))
    elif reading.unended:
        _write_all(fd, b"\n")


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
