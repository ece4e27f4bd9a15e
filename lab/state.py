# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state folder: everything that one lab writes. ``down`` removes it as a whole.

A folder belongs to a lab if it has a ``lab.json``; no other folder is ever removed. The running ``up`` or ``down``
holds a lock on the folder itself, which the kernel releases if the command is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.filelock import lock_within

MARKER = "lab.json"
PART = "lab.json.part"
CONFIG = "config.json"
READY = "ready.json"
LOG = "vcenter.log"


@dataclass(frozen=True)
class Marker:
    """``lab.json``: who started the lab, and with which options. ``answer`` is what ``up`` printed, None until then."""

    up_pid: int
    up_started: int
    requested: dict[str, Any]
    answer: dict[str, Any] | None = None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; readers see the old or the new text, never a part."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def write_marker(state: Path, marker: Marker) -> None:
    """Record the lab."""
    write_private(state / MARKER, json.dumps(asdict(marker)))


def read_marker(state: Path) -> Marker | None:
    """The recorded lab, None if there is none."""
    try:
        return Marker(**json.loads((state / MARKER).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{state / MARKER} cannot be read: {error}; remove the folder if it is a lab's") from error


def is_lab_folder(state: Path) -> bool:
    """Whether a lab may use and remove the folder: it is a lab's, or empty."""
    names = set(os.listdir(state))
    return MARKER in names or names <= {PART}


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, at most 8 KiB; empty if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read(8192).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def open_folder(state: Path) -> int:
    """A descriptor of the folder."""
    try:
        return os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError as error:
        raise LabError(f"--state {state} is not a folder; use another path") from error


def lock_folder(state: Path, seconds: float, *, create: bool) -> int | None:
    """Lock the state folder; return its descriptor, or None if it does not exist and ``create`` is false.

    Raises:
        LabError: it cannot be created, or another command held the lock for ``seconds``.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            if create and not os.path.lexists(state):
                state.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = open_folder(state)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LabError(f"--state {state} cannot be used: {error.strerror}; use another path") from error
        if not lock_within(descriptor, end - time.monotonic()):
            os.close(descriptor)
            raise LabError(
                f"another lab command has been using {state} for {seconds:.0f} s; wait for it, or run `python -m lab down`"
            )
        # The previous holder of the lock may have removed the folder; then this lock protects nothing.
        if is_still_at(descriptor, state):
            return descriptor
        os.close(descriptor)


def is_still_at(descriptor: int, state: Path) -> bool:
    """Whether the open folder is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(state))
    except FileNotFoundError:
        return False


@contextmanager
def locked_folder(state: Path, seconds: float, *, create: bool) -> Iterator[bool]:
    """Hold the folder's lock; yield whether the folder exists."""
    descriptor = lock_folder(state, seconds, create=create)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove(state: Path) -> None:
    """Remove the folder and everything in it."""
    # The marker is removed last: an interrupted removal can be repeated.
    for name in sorted(os.listdir(state), key=lambda name: name in (MARKER, PART)):
        path = state / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    state.rmdir()
