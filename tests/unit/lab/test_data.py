# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The training data: complete, and with a response that is never missing."""

from __future__ import annotations

import csv
from pathlib import Path

from lab.data import ROWS, flights_csv, with_late


def test_late_is_never_missing() -> None:
    rows = [["day", "arr_delay"], ["1", "15"], ["1", "16"], ["1", "-3"], ["1", "NA"], ["1", ""]]
    made = list(with_late(rows))
    assert made[0] == ["day", "arr_delay", "late"]
    assert [row[2] for row in made[1:]] == ["no", "yes", "no", "yes", "yes"]


def test_all_flights_are_there_and_unpacked_once(tmp_path: Path) -> None:
    path = flights_csv(tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ROWS
    assert {row["late"] for row in rows} == {"yes", "no"}
    before = path.stat()
    assert flights_csv(tmp_path).stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["flights-late.csv", "flights.lock"]
