# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finished models on disk: the request, what a provider fetched, and its file. A server's names never become paths."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from .._core.errors import ExperimentError, InvalidInput
from .model import Experiment

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to fetch: ``format`` is auto, mojo, binary or python; ``model`` is one of a grid or AutoML, ``None`` the best."""

    format: str = "auto"
    model: str | None = None
    max_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Exported:
    """A fetched model. ``content`` digests what makes a file predict: equal for equal models, even if their bytes differ.

    ``checksum`` is the server's checksum of the model, ``note`` what the operator must know (why it is not a MOJO).
    """

    path: Path
    model: str
    format: str
    suffix: str
    content: Callable[[Path], str]
    algorithm: str = ""
    checksum: str | None = None
    reproducible: tuple[str, str] = ("unknown", "")
    note: str = ""


@runtime_checkable
class Exporter(Protocol):
    """A provider's source that can fetch the finished model of an experiment."""

    def export(self, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
        """Fetch into an empty folder. Only reads. Raises ExperimentError, InvalidInput for options that do not fit."""


class CappedFile:
    """A new file of at most ``max_bytes`` that only its owner can read."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes, self._size = path, max_bytes, 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, data: bytes) -> None:
        """Append. Raises InvalidInput if the file becomes too large or the disk is full."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise InvalidInput(
                f"{self._path.parent} cannot be written: {error.strerror}",
                hint="Free some space, or set dest to another folder",
                option="dest",
            ) from error

    def close(self) -> None:
        """Wait until it is on disk, and close."""
        try:
            os.fsync(self._fd)
        finally:
            os.close(self._fd)


def too_large(max_bytes: int) -> InvalidInput:
    """The error of a model beyond the limit."""
    return InvalidInput(
        f"The model is larger than {max_bytes >> 20} MiB", hint="Increase max_mib if that is expected", option="max_mib"
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stored_name(experiment: Experiment, exported: Exported) -> str:
    """The file's name: the VM's name with safe characters, and a digest of the names of experiment and model."""
    vm = re.sub(r"[^A-Za-z0-9.-]+", "-", experiment.vm_name).strip("-.")[:60] or "vm"
    what = "\0".join((experiment.vm, experiment.provider, experiment.id, exported.model, exported.format))
    return f"{vm}-{hashlib.sha256(what.encode()).hexdigest()[:12]}{exported.suffix}"


def holds(path: Path, exported: Exported, digest: str) -> bool:
    """Whether a file of an earlier export has the model with this digest. Raises InvalidInput if it is not a file."""
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_symlink() or not path.is_file():
        raise InvalidInput(
            f"{path} is not a regular file", hint="Remove it, or set dest to another folder", option="dest"
        )
    try:
        return exported.content(path) == digest
    except ExperimentError:
        return False  # the file is damaged
