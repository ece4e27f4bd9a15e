# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks, so that one process at a time works for a host. A lock ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .._core.errors import RunBusy
from .._core.files import accessing
from .._core.own_files import open_own


@contextmanager
def run_lock(
    state: Path, key: str, *, timeout: float, waiting: Callable[[str], None] = lambda _text: None
) -> Iterator[None]:
    """Hold the lock of ``key``; wait up to ``timeout`` seconds until another process releases it.

    Raises RunBusy with the holder's pid, or InvalidInput. ``waiting`` hears one sentence when the wait begins.
    """
    path = state / "locks" / f"{key}.lock"
    with accessing(path, "written"):
        fd = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        _acquire(fd, timeout, waiting)
        os.ftruncate(fd, 0)
        with suppress(OSError):  # on a full disk the lock still holds; only its holder has no number
            os.pwrite(fd, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def between_runs(state: Path, key: str, *, timeout: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Wait up to ``timeout`` seconds for a run of ``key`` in progress, and let none begin in the meantime. Creates nothing.

    Raises RunBusy with the holder's pid, or InvalidInput. ``waiting`` hears one sentence when the wait begins.
    """
    path = state / "locks" / f"{key}.lock"
    with accessing(path):
        try:
            fd = open_own(path, os.O_RDONLY)
        except FileNotFoundError:
            fd = None
    if fd is None:
        yield
        return
    try:
        _acquire(fd, timeout, waiting, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def holder_of(state: Path, key: str) -> int | None:
    """The process that carries out a run of ``key`` on this machine; 0 if its number is not known, ``None`` if there is none.

    Raises InvalidInput if the lock may not be read.
    """
    path = state / "locks" / f"{key}.lock"
    with accessing(path):
        try:
            fd = open_own(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        number = _holder(fd)
        return int(number) if number.isdecimal() else 0
    finally:
        os.close(fd)
    return None


def _acquire(fd: int, timeout: float, waiting: Callable[[str], None], kind: int = fcntl.LOCK_EX) -> None:
    deadline, told = time.monotonic() + timeout, False
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(fd)
            if not told:
                waiting(f"process {holder} still carries out a run for this host; waiting for its moves in flight")
                told = True
            if time.monotonic() >= deadline:
                raise RunBusy(
                    f"Process {holder} carries out a run for this host",
                    hint="Wait until it ends, or end that process and run the same playbook again: it resumes the run",
                ) from None
            time.sleep(0.2)


def _holder(fd: int) -> str:
    try:
        return str(json.loads(os.pread(fd, 100, 0))["pid"])
    except (ValueError, KeyError, TypeError):
        return "with an unknown number"
