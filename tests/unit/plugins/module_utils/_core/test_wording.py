# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times as people read them: on their own clock, with its zone, and in UTC. Figures never say more than was seen."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import (
    at_least,
    at_most,
    clock,
    local_moment,
    percent,
    stall_text,
    stays_text,
    zone_name,
)
from hypothesis import example, given
from hypothesis import strategies as st

AT = "2026-07-31T22:12:03.120Z"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (UTC, "2026-07-31 22:12:03 UTC"),
        (ZoneInfo("Europe/Berlin"), "2026-08-01 00:12:03 CEST (2026-07-31 22:12:03 UTC)"),
        (ZoneInfo("America/New_York"), "2026-07-31 18:12:03 EDT (22:12:03 UTC)"),
        (ZoneInfo("Asia/Kathmandu"), "2026-08-01 03:57:03 UTC+05:45 (2026-07-31 22:12:03 UTC)"),
        (timezone(timedelta(hours=-3)), "2026-07-31 19:12:03 UTC-03:00 (22:12:03 UTC)"),
    ],
)
def test_a_time_is_shown_on_the_clock_of_the_reader_and_in_utc(zone: timezone | ZoneInfo, text: str) -> None:
    assert local_moment(AT, zone) == text
    assert f" {clock(AT, zone)} {zone_name(AT, zone)}" in f" {text}"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.4961, 5.0004, "1.49 and 5.01"),
        (7.35, 7.65, "7.35 and 7.65"),
        (0.0, 0.0, "0.00 and 0.00"),
        (0.29, 0.57, "0.29 and 0.57"),
        (0.0099, 0.0101, "0.00 and 0.02"),
    ],
)
def test_a_bound_is_never_rounded_into_its_interval(low: float, high: float, text: str) -> None:
    assert f"between {text} s" in stall_text({"seconds": low, "low": low, "high": high})


@given(st.floats(-1000, 1000), st.integers(0, 3))
@example(0.0001, 0)
def test_the_text_of_a_bound_holds_and_is_as_close_as_its_places_allow(value: float, places: int) -> None:
    value, step = round(value, 4), 10**-places
    assert value - step < float(at_least(value, places)) <= value <= float(at_most(value, places)) < value + step


@pytest.mark.parametrize(
    ("progress", "text"),
    [(None, "? %"), (0.0, "0 %"), (0.614, "61 %"), (0.994, "99 %"), (0.996, "99 %"), (1.0, "100 %")],
)
def test_only_what_is_done_is_at_100_percent(progress: float | None, text: str) -> None:
    assert percent(progress) == text


def test_a_vm_that_stays_is_named_once_and_each_reason_is_a_sentence_with_its_check() -> None:
    off = ("not_powered_on", "ML-1", "The VM is powered off. It may stay")
    drive = ("host_device", "CD/DVD drive 1", "It uses a device of the host. Remove it.")
    assert stays_text("ML-1", [off]) == "stays: The VM is powered off. It may stay [not_powered_on]"
    assert stays_text("ML-1", [drive, off], "refused") == (
        "refused because of CD/DVD drive 1: It uses a device of the host. Remove it [host_device]; "
        "The VM is powered off. It may stay [not_powered_on]"
    )


def test_the_zone_of_the_machine_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import time  # noqa: PLC0415 - only this test changes the zone

    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    try:
        assert local_moment("2026-01-31T09:12:03.120Z") == "2026-01-31 10:12:03 CET (09:12:03 UTC)"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local_moment(None) == "not known"
