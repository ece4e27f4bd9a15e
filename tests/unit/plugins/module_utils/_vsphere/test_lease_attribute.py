# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lease survives its attribute, and no other text is taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import (
    Lease,
    decode_lease,
    encode_lease,
)
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@given(st.datetimes(datetime(2000, 1, 1), datetime(3000, 1, 1)), st.integers(-720, 720))
def test_a_lease_ends_at_the_same_second_for_every_controller(until: datetime, minutes: int) -> None:
    lease = Lease("id", "controller", until.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes))))
    found = decode_lease(encode_lease(lease))
    assert found == lease
    assert found is not None
    assert found.until.utcoffset() == timedelta(0)


def written(**changes: object) -> str:
    return json.dumps({**json.loads(encode_lease(Lease("id", "controller", NOON))), **changes})


def test_the_end_is_read_as_utc_whoever_wrote_it() -> None:
    found = decode_lease(written(u="2026-03-01T14:00:00+02:00"))
    assert found is not None
    assert f"{found.until:%H:%M}" == "12:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mine",
        "[]",
        written(u="tomorrow"),
        written(u="2026-03-01T12:00:00"),
        written(u="9999-12-31T23:59:59-10:00"),
        written(u=None),
        json.dumps({"o": "id", "n": "controller"}),
        json.dumps({"o": "id", "u": NOON.isoformat()}),
        "[" * 100_000,
    ],
)
def test_a_text_that_is_something_else_is_no_lease(text: str) -> None:
    assert decode_lease(text) is None


def test_names_of_others_are_printable() -> None:
    found = decode_lease(written(o="id\n", n="con\x1btroller"))
    assert found == Lease("id ", "con troller", NOON)
