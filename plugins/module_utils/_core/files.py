# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of the state directory: errors that say what to do, and files that are replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InvalidInput, StateUnwritable


@contextmanager
def accessing(path: Path, done: str = "read") -> Iterator[None]:
    """Raise InvalidInput if a file of the state directory exists and cannot be read (or ``done``)."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be {done}: {error.strerror or error}",
            hint="Set state_dir to a folder that this user can use, on a disk with free space",
            option="state_dir",
        ) from error


def unwritable(path: Path, error: OSError) -> StateUnwritable:
    """The error of a file of a run that does not accept data any more."""
    return StateUnwritable(
        f"{path} cannot be written ({error.strerror or error})",
        hint="Make room on its disk, or make it writable, and run the same playbook again: a run that has begun is resumed",
        option="state_dir",
    )


def replace_file(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Write a file and have it on disk, or leave what was there. By default only its owner can read it. Raises OSError.

    One that is not ``durable`` is replaced as a whole, too, but may be lost in a crash of the machine. Several processes may write it
    at the same time, also while another one writes the lasting one: each has a temporary file of its own.
    """
    new = path.with_name(f"{path.name}.new" if durable else f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(fd, mode)
            if durable:
                os.fsync(fd)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(folder: Path) -> None:
    """Have the names of a folder's files on disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
