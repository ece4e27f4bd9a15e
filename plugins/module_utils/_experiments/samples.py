# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The samples of a run on disk: one line of JSON per sample, in a file beside the journal.

A line before the first sample of each process names its clock, because the times of the samples are those of this clock.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .._core.clock import MIN_SLEEP, Clock, asleep, own_clock, shift
from .._core.files import unwritable
from .._core.own_files import open_own
from .model import Sample

Key = tuple[str, str]  # VM MoID, experiment id
Rows = list[tuple[str, Sample]]  # (session, sample) in the order of writing
TIMES = (
    "sent",
    "received",
    "asked",
    "unheard",
    "again",
    "deaf",
    "awake",
    "deaf_since",
)  # of a sample, by the monotonic clock
IN_ORDER = 0.001  # seconds between two watches, if clocks that differ show less
MAX_BYTES_OF_VM = 64 << 20  # 9 hours of one experiment at 5 samples per second
FULL = f"more than {MAX_BYTES_OF_VM >> 20} MiB of samples: from then on it was not watched"


def new_session() -> str:
    """The name of a watching process. In containers all controllers may have the same process number."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


class SampleLog:
    """Append-only and shared by the watch's threads; ``session`` distinguishes watching processes.

    After a suspension of the machine another session begins, because nobody watched meanwhile.

    A VM gets ``MAX_BYTES_OF_VM`` of each process, so that none can fill the disk.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or own_clock()
        self._asleep = max(asleep(), asleep())
        self._session = new_session()
        self._begun = False
        self._lock = threading.Lock()
        self._path = path
        self._failure: OSError | None = None
        self._sizes: Counter[str] = Counter()
        try:
            fd = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._stream = os.fdopen(fd, "a", buffering=1 << 14, encoding="utf-8", errors="replace")
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                self._stream.write("\n")
        except OSError as error:
            raise unwritable(path, error) from error

    def add(self, key: Key, sample: Sample) -> str:
        """Append one sample; returns its session, "" if its VM has no room for it."""
        with self._lock, self._noticing():
            self._notice_sleep()
            known = {"vm": key[0], "id": key[1], "session": self._session, **asdict(sample)}
            line = json.dumps(known, ensure_ascii=False) + "\n"
            self._sizes[key[0]] += len(line.encode("utf-8", "replace"))
            if self._sizes[key[0]] > MAX_BYTES_OF_VM:
                return ""
            if not self._begun:
                self._begun = True
                self._stream.write(json.dumps({"session": self._session, **asdict(self._clock)}) + "\n")
            self._stream.write(line)
        return self._session

    def _notice_sleep(self) -> None:
        slept = asleep()
        if slept > self._asleep + MIN_SLEEP:
            self._clock, self._session, self._begun = own_clock(), new_session(), False
        self._asleep = max(self._asleep, slept)

    def flush(self) -> None:
        """Write what is buffered to the operating system."""
        with self._lock, self._noticing():
            self._stream.flush()

    def close(self) -> None:
        """Flush and close."""
        with self._lock, self._noticing():
            self._stream.close()

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Note that samples are lost; the watch continues, because VMs may move."""
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error

    def check(self) -> None:
        """Raise StateUnwritable if samples were lost."""
        if self._failure is not None:
            raise unwritable(self._path, self._failure) from self._failure


def digest(path: Path) -> str:
    """SHA-256 of the samples' file; of zero bytes if the file does not exist."""
    if not path.exists():
        return hashlib.sha256(b"").hexdigest()
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a file of samples holds: rows by experiment, and the clock of each session that names it."""

    rows: dict[Key, Rows]
    clocks: dict[str, Clock]


def read_samples(path: Path) -> dict[Key, Rows]:
    """(session, sample) by experiment in the order of writing; torn lines are skipped. Each session has its own clock."""
    return recorded(path).rows


def recorded(path: Path) -> Recorded:
    """The samples of all processes, and their clocks; torn lines are skipped."""
    found = Recorded({}, {})
    if not path.exists():
        return found
    with os.fdopen(open_own(path, os.O_RDONLY), encoding="utf-8", errors="replace", newline="\n") as stream:
        for line in stream:
            try:
                data = json.loads(line)
                session = str(data.pop("session"))
                if "vm" not in data:
                    found.clocks[session] = _clock_in(data)
                    continue
                key = str(data.pop("vm")), str(data.pop("id"))
                found.rows.setdefault(key, []).append((session, Sample(**data)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return found


def _clock_in(data: Mapping[str, Any]) -> Clock:
    """The clock in a line. Raises ValueError, KeyError or TypeError if there is none."""
    zero = float(data["zero"])
    if not math.isfinite(zero):
        raise ValueError(zero)
    return Clock(str(data["boot"]), zero)


def by_clock(known: Recorded, clock: Clock, now: float) -> dict[Key, Rows]:
    """The samples of earlier processes by the clock of a watch that begins ``now``.

    The clocks of two machines may show different times of day. So each session ends at the latest before the next one begins.
    """
    shifts = {session: shift(other, clock) for session, other in known.clocks.items()}
    return {key: _in_order(rows, shifts, now) for key, rows in known.rows.items()}


def _in_order(rows: Rows, shifts: Mapping[str, float], following: float) -> Rows:
    """The rows with their times shifted by session, and less if the first time after a session would not be later."""
    found: Rows = []
    for session, group in reversed([(name, list(each)) for name, each in itertools.groupby(rows, lambda row: row[0])]):
        last = group[-1][1].received
        seconds = min(shifts.get(session, 0.0), following - IN_ORDER - last)
        moved = [(session, shifted(sample, seconds)) for _session, sample in group]
        following = moved[0][1].sent
        found[:0] = moved
    return found


def shifted(sample: Sample, seconds: float) -> Sample:
    """The sample by a clock that shows ``seconds`` more."""
    if not seconds:
        return sample
    known = {name: getattr(sample, name) for name in TIMES}
    return replace(sample, **{name: at + seconds for name, at in known.items() if at is not None})


def by_boot(known: Recorded, shifts: Mapping[str, float]) -> dict[Key, list[Sample]]:
    """The samples with their times shifted by the start of the machine that took them."""
    seconds = {session: shifts.get(clock.boot, 0.0) for session, clock in known.clocks.items()}
    return {key: [shifted(s, seconds.get(session, 0.0)) for session, s in rows] for key, rows in known.rows.items()}


def unwatched_windows(samples: Rows) -> list[tuple[float, float]]:
    """Times between the last sample of one watching process and the first of the next."""
    return [
        (before.received, after.sent)
        for (session, before), (following, after) in itertools.pairwise(samples)
        if session != following
    ]
