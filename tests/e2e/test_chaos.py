# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sample of ``make chaos``: round trips of a host while vCenter, people and signals strike."""

from __future__ import annotations

import pytest

from benchmarks.chaos import run
from benchmarks.report import Report

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("first", "schedules"), [(0, 1), pytest.param(1, 10, marks=pytest.mark.thorough)])
def test_whatever_strikes_nothing_false_is_said_and_it_converges(first: int, schedules: int) -> None:
    report = Report()
    trips = run(report, schedules, first)
    assert [found for trip in trips for found in trip.found] == []
    assert report.broken == []
    assert sum(len(trip.struck) for trip in trips) >= schedules, "something struck"
