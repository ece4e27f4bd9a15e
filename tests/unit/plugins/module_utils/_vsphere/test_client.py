# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy for broken connections: what is repeated, for how long, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any
from unittest.mock import patch

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    PermissionMissing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import client as subject
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import (
    INTERRUPTED_SECONDS,
    MAX_REFUSALS,
    NOTICE_SECONDS,
    Client,
    Endpoint,
    ReadBroken,
    SessionEnded,
    Silence,
    translated,
)
from pyVmomi import vim


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Answers:
    """A call whose first answers are errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


class Sessions:
    """A session manager that refuses logins."""

    def __init__(self, *errors: Exception) -> None:
        self.login = Answers(*errors)

    def Login(self, *_credentials: Any) -> None:
        self.login()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(subject, "Silence", partial(Silence, clock=clock, sleep=clock.sleep))
    return clock


def client_of(*refusals: Exception, patience: float = 300.0) -> Client:
    """A client that has logged in; ``refusals`` are what its next logins get."""
    content = type("Content", (), {"sessionManager": Sessions(*refusals)})()
    instance = type("Instance", (), {"RetrieveContent": lambda _self: content})()
    with patch.object(subject, "SmartConnect", lambda **_login: instance):
        return Client(Endpoint("vc", "user", "password"), patience)


def dead() -> Answers:
    return Answers(*[ConnectionResetError("reset")] * 1000)


BROKEN = [ConnectionResetError("reset"), HTTPException("503 Service Unavailable"), TimeoutError("timed out")]


@pytest.mark.parametrize("error", BROKEN)
def test_a_call_without_an_answer_is_repeated(clock: Clock, error: Exception) -> None:
    call = Answers(error, error)
    assert client_of().call("read", call) == "answer"
    assert call.asked == 3
    assert 0 < clock.slept[0] <= 0.5 < clock.slept[0] + clock.slept[1] <= 1.5


@pytest.mark.parametrize("error", BROKEN)
def test_a_call_that_must_not_happen_twice_is_not_repeated(clock: Clock, error: Exception) -> None:
    call = Answers(error)
    with pytest.raises(ConnectError):
        client_of().call("move the VM", call, once=True)
    assert (call.asked, clock.slept) == (1, [])


def test_a_call_that_a_dead_session_did_not_carry_out_is_repeated(clock: Clock) -> None:
    client, call = client_of(), Answers(vim.fault.NotAuthenticated())
    assert client.call("move the VM", call, once=True) == "answer"
    assert (call.asked, client.renewed) == (2, 1)


def test_patience_ends(clock: Clock) -> None:
    with pytest.raises(ConnectError, match="reset"):
        client_of(patience=60).call("read", dead())
    assert clock.now == pytest.approx(160)
    assert max(clock.slept) <= 10


def test_an_answer_ends_the_silence(clock: Clock) -> None:
    client = client_of(patience=5)
    for _call in range(20):
        assert client.call("read", Answers(ConnectionResetError("reset"))) == "answer"


def test_calls_in_a_row_share_the_patience(clock: Clock) -> None:
    client = client_of(patience=60)
    for call in (dead(), dead()):
        with pytest.raises(ConnectError, match="reset"):
            client.call("read", call)
        assert clock.now == pytest.approx(160)
    assert call.asked == 1


def test_a_call_that_is_not_repeated_begins_the_silence(clock: Clock) -> None:
    client = client_of(patience=60)
    with pytest.raises(ConnectError):
        client.call("move the VM", dead(), once=True)
    clock.now += 50
    with pytest.raises(ConnectError):
        client.call("read", dead())
    assert clock.now == pytest.approx(160)


@pytest.mark.parametrize("answer", [Answers(), Answers(vim.fault.InvalidState())])
def test_after_an_answer_the_whole_patience_is_there_again(clock: Clock, answer: Answers) -> None:
    client = client_of(patience=60)
    with pytest.raises(ConnectError):
        client.call("read", dead())
    with suppress(CallFailed):
        client.call("read", answer)
    with pytest.raises(ConnectError):
        client.call("read", dead())
    assert clock.now == pytest.approx(220)


def test_a_client_that_asked_nothing_for_long_has_its_whole_patience(clock: Clock) -> None:
    client = client_of(patience=60)
    clock.now += 3600
    with pytest.raises(ConnectError):
        client.call("read", dead())
    assert clock.now == pytest.approx(3760)


def test_a_login_that_gets_no_answer_counts_to_the_same_silence(clock: Clock) -> None:
    client = client_of(*[ConnectionResetError("reset")] * 1000, patience=60)
    with pytest.raises(ConnectError):
        client.call("read", Answers(*[ConnectionResetError("reset")] * 5, vim.fault.NotAuthenticated()))
    assert clock.now == pytest.approx(160)


@pytest.mark.parametrize("at", [0.0, 5.0, 100.0])
def test_an_interruption_ends_the_silence_within_seconds(clock: Clock, at: float) -> None:
    client = client_of()
    client.silence.interrupted = lambda: clock.now >= 100 + at
    with pytest.raises(ConnectError):
        client.call("read", dead())
    assert clock.now - 100 == pytest.approx(max(at, INTERRUPTED_SECONDS), abs=1.0)


def test_the_user_is_told_of_a_long_silence_and_of_its_end(clock: Clock) -> None:
    told: list[float] = []
    client = client_of()
    client.silence.tell = told.append
    client.call("read", Answers(*[ConnectionResetError("reset")] * 3))
    assert told == []
    client.call("read", Answers(*[ConnectionResetError("reset")] * 12))
    assert told[0] >= NOTICE_SECONDS
    assert told[:-1] == sorted(told[:-1])
    assert told[-1] == 0.0


def test_a_login_that_was_accepted_before_may_be_refused_for_a_moment(clock: Clock) -> None:
    client = client_of(vim.fault.InvalidLogin(), ConnectionResetError("reset"), vim.fault.InvalidLogin())
    assert client.call("read", Answers(vim.fault.NotAuthenticated())) == "answer"
    assert client.renewed == 1


def test_a_changed_password_does_not_lock_the_account(clock: Clock) -> None:
    client = client_of(*[vim.fault.InvalidLogin()] * 10)
    with pytest.raises(LoginRefused):
        client.call("read", Answers(vim.fault.NotAuthenticated()))
    assert client.content.sessionManager.login.asked == MAX_REFUSALS


def test_a_session_that_never_lasts_is_an_error(clock: Clock) -> None:
    with pytest.raises(ConnectError, match="again and again"):
        client_of().call("read", Answers(*[vim.fault.NotAuthenticated()] * 10))


@pytest.mark.parametrize(("broken", "renewed"), [(SessionEnded(), 1), (ReadBroken(), 0)])
def test_a_broken_read_begins_again(clock: Clock, broken: Exception, renewed: int) -> None:
    client, read = client_of(), Answers(broken)
    assert client.whole(read) == "answer"
    assert (read.asked, client.renewed) == (2, renewed)


def test_a_read_whose_view_ended_with_the_session_begins_again(clock: Clock) -> None:
    client = client_of()
    attempts: list[int] = []

    def read() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            client.call("read a page", Answers(vim.fault.NotAuthenticated()))
            raise CallFailed("no such view", fault="ManagedObjectNotFound")
        return "answer"

    assert client.whole(read) == "answer"


def test_a_read_that_fails_in_a_living_session_fails(clock: Clock) -> None:
    read: Callable[[], str] = Answers(CallFailed("no", fault="InvalidArgument"))
    with pytest.raises(CallFailed):
        client_of().whole(read)


def test_a_read_that_breaks_again_and_again_is_an_error(clock: Clock) -> None:
    with pytest.raises(ConnectError, match="again and again"):
        client_of().whole(Answers(*[ReadBroken()] * 10))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (vim.fault.NoPermission(privilegeId="Resource.HotMigrate"), "Resource.HotMigrate"),
        (
            vim.fault.NoPermission(
                missingPrivileges=[
                    vim.fault.NoPermission.EntityPrivileges(privilegeIds=["Resource.HotMigrate", "System.Read"])
                ]
            ),
            "Resource.HotMigrate, System.Read",
        ),
        (vim.fault.NoPermission(), ""),
    ],
)
def test_missing_privileges_are_named_as_vsphere_7_and_8_tell_them(fault: Any, named: str) -> None:
    error = translated("move the VM", fault)
    assert isinstance(error, PermissionMissing)
    assert error.privilege == named
    assert "None" not in str(error)
