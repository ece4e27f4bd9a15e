# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The samples of a run on disk: one line of JSON per sample, in a file beside the journal."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .._core.files import unwritable
from .._core.own_files import open_own
from .model import Sample

Key = tuple[str, str]  # VM MoID, experiment id
MAX_BYTES_OF_VM = 64 << 20  # 9 hours of one experiment at 5 samples per second
FULL = f"more than {MAX_BYTES_OF_VM >> 20} MiB of samples: from then on it was not watched"


class SampleLog:
    """Append-only and shared by the watch's threads; ``session`` distinguishes watching processes.

    A VM gets ``MAX_BYTES_OF_VM`` of each process, so that none can fill the disk.
    """

    def __init__(self, path: Path) -> None:
        # In containers all controllers may have the same process number.
        self._session = f"{os.getpid()}-{secrets.token_hex(4)}"
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

    def add(self, key: Key, sample: Sample) -> bool:
        """Append one sample; false if its VM has no room for it."""
        known = {"vm": key[0], "id": key[1], "session": self._session, **asdict(sample)}
        line = json.dumps(known, ensure_ascii=False) + "\n"
        with self._lock, self._noticing():
            self._sizes[key[0]] += len(line.encode("utf-8", "replace"))
            if self._sizes[key[0]] > MAX_BYTES_OF_VM:
                return False
            self._stream.write(line)
        return True

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


def read_samples(path: Path) -> dict[Key, list[tuple[str, Sample]]]:
    """(session, sample) by experiment in the order of writing; torn lines are skipped."""
    found: dict[Key, list[tuple[str, Sample]]] = {}
    if not path.exists():
        return found
    with os.fdopen(open_own(path, os.O_RDONLY), encoding="utf-8", errors="replace", newline="\n") as stream:
        for line in stream:
            try:
                data = json.loads(line)
                key, session = (str(data.pop("vm")), str(data.pop("id"))), str(data.pop("session"))
                found.setdefault(key, []).append((session, Sample(**data)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return found


def unwatched_windows(samples: list[tuple[str, Sample]]) -> list[tuple[float, float]]:
    """Times between the last sample of one watching process and the first of the next."""
    return [
        (before.received, after.sent)
        for (session, before), (following, after) in itertools.pairwise(samples)
        if session != following
    ]
