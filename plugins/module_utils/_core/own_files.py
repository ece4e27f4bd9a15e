# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and folders that nobody else can have prepared: no symbolic links, no pipes, no folders that others may write.

A folder that others may write is refused, because they could put a link to a file of this user there, or a false record. These
are not others: root; the group root, which containers of an arbitrary user belong to; and a user's private group, whose number
is the user's own.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .errors import InvalidInput

ROOT = 0


def open_own(path: Path, flags: int) -> int:
    """Open or create a file that only its owner can read; returns its descriptor.

    Raises InvalidInput for a link or anything but a file, else OSError.
    """
    try:
        # Without blocking, because a pipe would wait for its other end.
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            raise _no_file(path) from error
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _no_file(path)


def read_own(path: Path) -> bytes:
    """The content of a file. Raises like ``open_own``."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as stream:
        return stream.read()


def _no_file(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} is a link or a device, and not a file",
        hint="Find out who put it there, and remove it",
        option="state_dir",
    )


def check_own_folder(path: Path, option: str) -> None:
    """Raise InvalidInput if a folder that exists is a link of somebody else, belongs to others, or may be written by them.

    Also if others may put another folder in its place. A missing folder is not checked.
    """
    try:
        link, known = path.lstat(), path.stat()
        parents = [(parent, parent.stat()) for parent in path.resolve().parents]
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be read", option) from error
    why = _why_foreign(link) or _why_foreign(known) or _why_writable(known, path)
    for parent, found in parents:
        sticky = bool(found.st_mode & stat.S_ISVTX)  # as /tmp: only its owner can rename an entry
        why = why or ("" if sticky else _why_writable(found, parent))
    if why:
        raise _unusable(path, why, option)


def _unusable(path: Path, why: str, option: str) -> InvalidInput:
    return InvalidInput(
        f"The folder {path} cannot be used: {why}",
        hint=f"Set {option} to a folder that belongs to this user and that only this user can write (chmod 700)",
        option=option,
    )


def _why_foreign(found: os.stat_result) -> str:
    return "" if found.st_uid in (os.geteuid(), ROOT) else f"it belongs to the user with number {found.st_uid}"


def _why_writable(found: os.stat_result, path: Path) -> str:
    if found.st_mode & stat.S_IWOTH:
        return f"everybody can write {path}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (ROOT, os.geteuid()):
        return f"the group with number {found.st_gid} can write {path}"
    return ""
