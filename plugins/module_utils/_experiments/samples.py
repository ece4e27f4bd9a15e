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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .._core.files import unwritable
from .model import Sample

Key = tuple[str, str]  # VM MoID, experiment id


class SampleLog:
    """Append-only and shared by the watch's threads; ``session`` distinguishes watching processes."""

    def __init__(self, path: Path) -> None:
        # In containers all controllers may have the same process number.
        self._session = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._path = path
        self._failure: OSError | None = None
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._stream = os.fdopen(fd, "a", buffering=1 << 14, encoding="utf-8")
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                self._stream.write("\n")
        except OSError as error:
            raise unwritable(path, error) from error

    def add(self, key: Key, sample: Sample) -> None:
        """Append one sample."""
        line = {"vm": key[0], "id": key[1], "session": self._session, **asdict(sample)}
        with self._lock, self._noticing():
            self._stream.write(json.dumps(line) + "\n")

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
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def read_samples(path: Path) -> dict[Key, list[tuple[str, Sample]]]:
    """(session, sample) by experiment in the order of writing; torn lines are skipped."""
    found: dict[Key, list[tuple[str, Sample]]] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            data = json.loads(line)
            key, session = (str(data.pop("vm")), str(data.pop("id"))), str(data.pop("session"))
            found.setdefault(key, []).append((session, Sample(**data)))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def unwatched_windows(samples: list[tuple[str, Sample]]) -> list[tuple[float, float]]:
    """Times between the last sample of one watching process and the first of the next."""
    return [
        (before.received, after.sent)
        for (session, before), (following, after) in itertools.pairwise(samples)
        if session != following
    ]
