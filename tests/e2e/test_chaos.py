# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sample of ``make chaos``: round trips of a host while vCenter, people and signals strike."""

from __future__ import annotations

import pytest

from benchmarks.chaos import run
from benchmarks.report import Report

pytestmark = pytest.mark.long
SCHEDULES = 10


@pytest.mark.thorough
def test_whatever_strikes_nothing_false_is_said_and_it_converges() -> None:
    report = Report()
    trips = run(report, SCHEDULES)
    assert [found for trip in trips for found in trip.found] == []
    assert report.broken == []
    assert sum(len(trip.struck) for trip in trips) >= SCHEDULES, "something struck"
