# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process identity by the guest's own list: same number, start and command line, within what a corrected clock moves."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import (
    GuestLogin,
    GuestProcess,
    command_digest,
    compare_processes,
    guest_login,
    matches_pattern,
    reading,
)
from hypothesis import given
from hypothesis import strategies as st

TRAINING = GuestProcess("python", 4711, "2026-01-01T10:00:00.000Z", command_digest("python train.py --token=x"))


def later(seconds: float) -> GuestProcess:
    at = datetime(2026, 1, 1, 10, tzinfo=UTC) + timedelta(seconds=seconds)
    return replace(TRAINING, started=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


@given(st.floats(-30, 30).filter(lambda seconds: abs(abs(seconds) - 2) > 0.002))
def test_a_corrected_clock_is_no_restart(seconds: float) -> None:
    told = compare_processes(reading([TRAINING]), reading([later(seconds)]))
    assert told["same"] == (abs(round(seconds, 3)) <= 2.0 or abs(seconds) <= 2.0)


@pytest.mark.parametrize(("seconds", "same"), [(-2.0, True), (2.0, True), (2.5, False), (-2.5, False)])
def test_a_clock_that_is_corrected_by_two_seconds_is_no_restart(seconds: float, same: bool) -> None:
    assert compare_processes(reading([TRAINING]), reading([later(seconds)]))["same"] is same


@pytest.mark.parametrize(
    "after", [[], [replace(TRAINING, pid=4712)], [replace(TRAINING, command=command_digest("other"))]]
)
def test_a_process_that_is_gone_or_another_one_is_told(after: list[GuestProcess]) -> None:
    told = compare_processes(reading([TRAINING]), reading(after))
    assert told["same"] is False
    assert [p["pid"] for p in told["before"]] == [4711]
    assert [p["pid"] for p in told["after"]] == [process.pid for process in after]


def test_what_was_not_read_proves_nothing() -> None:
    assert compare_processes(reading([TRAINING]), None)["detail"] == "the guest was not asked again"
    assert compare_processes(reading(()), reading(()))["detail"] == "no process fits experiments.guest_process"
    assert compare_processes(reading((), "InvalidGuestLogin"), reading((), "InvalidGuestLogin")) == {
        "before": [],
        "after": [],
        "same": None,
        "detail": "InvalidGuestLogin",
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [(reading([TRAINING]), reading((), "GuestOperationsUnavailable")), (reading(()), reading([TRAINING]))],
)
def test_a_guest_that_was_read_once_proves_nothing(before: dict[str, object], after: dict[str, object]) -> None:
    assert compare_processes(before, after)["same"] is None


def test_secrets_do_not_leave() -> None:
    assert "token" not in str(compare_processes(reading([TRAINING]), reading([TRAINING])))
    assert "s3cret" not in repr(GuestLogin("alice", re.compile("x"), "s3cret"))


def test_processes_are_found_by_name_or_command_line() -> None:
    assert matches_pattern("java", "java -jar h2o.jar", re.compile("h2o"))
    assert matches_pattern("python", "", re.compile("^python$"))
    assert not matches_pattern("sshd", "sshd -D", re.compile("java|python"))


LOGIN = {"guest_username": "alice", "guest_password": "s3cret", "guest_process": "x"}


def test_the_login_goes_only_to_the_vms_that_were_named() -> None:
    login = guest_login({**LOGIN, "guest_vms": ["ml-*", "db-1"]})
    assert login is not None
    assert [login.covers(name) for name in ("ml-1", "db-1", "db-2", "ML-1", "", "x-ml-1")] == [True, True, *[False] * 4]
    for nobody in ([], None):
        with pytest.raises(InvalidInput, match="guest_vms is empty"):
            guest_login({**LOGIN, "guest_vms": nobody})
    assert guest_login({"guest_username": None}) is None


def test_a_pattern_of_processes_that_is_not_one_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="not a valid regular expression") as error:
        guest_login({**LOGIN, "guest_vms": ["ml-1"], "guest_process": "("})
    assert error.value.option == "experiments"
