# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy for broken connections: what is repeated, for how long, and what is said about it."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from xml.parsers.expat import ExpatError

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    PermissionMissing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import client as subject
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import (
    FIRST_REFUSALS,
    INTERRUPTED_SECONDS,
    MAX_REFUSALS,
    NOTICE_SECONDS,
    Client,
    Endpoint,
    NoAnswer,
    ReadBroken,
    SessionEnded,
    Silence,
    connected,
    translated,
)
from pyVmomi import vim, vmodl

from tests.doubles.stub import Server


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

    def __call__(self, **_options: Any) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


class Sessions:
    """A session manager that refuses logins. ``session``: what it says of the session, or the error instead."""

    session: object = None

    def __init__(self, *errors: Exception) -> None:
        self.login = Answers(*errors)

    @property
    def currentSession(self) -> object:
        if isinstance(self.session, Exception):
            raise self.session
        return self.session

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
        return Client(Endpoint("vc", "user", "password", validate_certs=False), patience)


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


def test_a_session_that_lives_needs_no_login(clock: Clock) -> None:
    """vCenter refuses a login in it. It said only of one answer that the session had ended."""
    client = client_of(*[vim.fault.InvalidLogin()] * 10)
    client.content.sessionManager.session = object()
    assert client.whole(Answers(SessionEnded(), SessionEnded())) == "answer"
    assert client.renewed == client.content.sessionManager.login.asked == 2, "filters and views are made again"
    assert len(clock.slept) == 2, "a moment between the attempts"


@pytest.mark.parametrize(
    "session", [ConnectionResetError("reset"), vmodl.fault.SystemError(), vim.fault.NoPermission()]
)
def test_a_session_of_which_nothing_is_seen_may_have_ended(clock: Clock, session: Exception) -> None:
    client = client_of(*[vim.fault.InvalidLogin()] * 10)
    client.content.sessionManager.session = session
    with pytest.raises(LoginRefused):
        client.renew()


def test_a_session_may_end_a_few_times_during_one_call(clock: Clock) -> None:
    client = client_of()
    assert client.call("read", Answers(*[vim.fault.NotAuthenticated()] * MAX_REFUSALS)) == "answer"
    assert client.renewed == MAX_REFUSALS


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


# logins


def login_error(error: Exception, **endpoint: Any) -> Any:
    """What a login says that fails with this error."""
    given = {"host": "vc", "user": "anna", "password": "secret", **endpoint}
    with patch.object(subject, "SmartConnect", Answers(*[error] * 1000)), pytest.raises(ConnectError) as caught:
        Client(Endpoint(**given))
    assert "secret" not in f"{caught.value} {caught.value.hint} {Endpoint(**given)}"
    return caught.value


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "option", "words", "hint"),
    [
        (vim.fault.InvalidLogin(), LoginRefused, "password", "refused the login of anna", "username (VMWARE_USER)"),
        (vim.fault.NoPermission(), LoginRefused, "username", "has no permissions there", "create_role"),
        (certificate_error(), ConnectError, "ca_path", "self-signed certificate", "ca_path (SSL_CERT_FILE)"),
        (socket.gaierror(-2, "Name or service not known"), ConnectError, "hostname", "Name or service", "hostname"),
        (ConnectionRefusedError("refused"), NoAnswer, "hostname", "cannot be reached (refused)", "port (VMWARE_PORT)"),
        (ExpatError("syntax error"), NoAnswer, "hostname", "syntax error", "the network"),
        (Exception("503 Service Unavailable"), NoAnswer, "hostname", "503", "the network"),
        (vmodl.fault.SystemError(msg="starting"), NoAnswer, "hostname", "starting", "the network"),
    ],
)
def test_a_login_that_fails_says_which_option_to_correct(
    clock: Clock, error: Exception, kind: type[ConnectError], option: str, words: str, hint: str
) -> None:
    found = login_error(error)
    assert type(found) is kind
    assert found.option == option
    assert words in str(found)
    assert "vCenter vc:443" in str(found) or kind is LoginRefused
    assert hint in found.hint


def test_the_login_of_another_vcenter_names_its_own_option(clock: Clock) -> None:
    found = login_error(vim.fault.InvalidLogin(), host="2001:db8::1", port=8443, within="destination_vcenter")
    assert "vCenter [2001:db8::1]:8443" in str(found)
    assert found.option == "destination_vcenter"
    assert "destination_vcenter.username" in found.hint
    assert "VMWARE_" not in found.hint


@pytest.mark.parametrize(("patience", "waited"), [(300.0, 20.0), (5.0, 5.0)])
def test_a_vcenter_that_never_answered_may_be_starting_but_not_for_long(
    clock: Clock, patience: float, waited: float
) -> None:
    login = Answers(*[ConnectionRefusedError("refused")] * 1000)
    with patch.object(subject, "SmartConnect", login), pytest.raises(NoAnswer):
        Client(Endpoint("vc", "anna", "secret"), patience)
    assert clock.now == pytest.approx(100 + waited)
    assert login.asked > 2


def test_a_first_login_that_is_right_may_be_refused_once(clock: Clock) -> None:
    login, session = Answers(vim.fault.InvalidLogin()), SimpleNamespace(RetrieveContent=lambda: None)
    with patch.object(subject, "SmartConnect", lambda **_options: login() and session):
        Client(Endpoint("vc", "anna", "secret"))
    assert login.asked == FIRST_REFUSALS
    assert 0 < sum(clock.slept) < 1


def test_a_wrong_password_is_tried_too_seldom_to_lock_the_account(clock: Clock) -> None:
    login = Answers(*[vim.fault.InvalidLogin()] * 10)
    with patch.object(subject, "SmartConnect", login), pytest.raises(LoginRefused):
        Client(Endpoint("vc", "anna", "secret"))
    assert login.asked == FIRST_REFUSALS


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), certificate_error(), vim.fault.NoPermission()])
def test_a_login_that_is_wrong_is_not_repeated(clock: Clock, error: Exception) -> None:
    login_error(error)
    assert clock.slept == []


def test_a_mistake_of_ours_is_not_taken_for_a_broken_connection(clock: Clock) -> None:
    for call in (lambda: client_of().call("read", Answers(KeyError("x"))), lambda: client_of(KeyError("x")).renew()):
        with pytest.raises(KeyError):
            call()


def test_a_login_has_a_time_limit_also_for_the_versions_of_the_api(clock: Clock) -> None:
    limits = []

    def log_in(**options: Any) -> Any:
        limits.append((socket.getdefaulttimeout(), options["httpConnectionTimeout"]))
        return SimpleNamespace(RetrieveContent=lambda: None)

    before = socket.getdefaulttimeout()
    with patch.object(subject, "SmartConnect", log_in):
        Client(Endpoint("vc", "anna", "secret"))
    ((default, connection),) = limits
    assert default is not None
    assert default > 0
    assert connection > 0
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(("validates", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_NONE)])
def test_certificates_are_verified_unless_the_user_says_otherwise(
    clock: Clock, validates: bool, mode: ssl.VerifyMode
) -> None:
    contexts = []

    def log_in(**options: Any) -> Any:
        contexts.append(options["sslContext"])
        return SimpleNamespace(RetrieveContent=lambda: None)

    with patch.object(subject, "SmartConnect", log_in):
        client = Client(Endpoint("vc", "anna", "secret", validate_certs=validates))
    assert (contexts[0].verify_mode, contexts[0].check_hostname) == (mode, validates)
    assert client.verifies is validates


def test_certificates_are_verified_by_default() -> None:
    assert Endpoint("vc", "anna", "secret").validate_certs
    assert Endpoint("vc", "anna", "secret").port == 443


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_a_ca_that_cannot_be_used_is_said(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConnectError, match="cannot be used") as error:
        Client(Endpoint("vc", "anna", "secret", ca_path=str(file)))
    assert error.value.option == "ca_path"
    assert "ca_path (SSL_CERT_FILE)" in str(error.value.hint)


# what a client knows of its server


@pytest.mark.parametrize(
    ("host", "port", "address", "url"),
    [
        ("vc", 443, "vc", "https://vc:443"),
        ("vc", 8443, "vc:8443", "https://vc:8443"),
        ("2001:db8::1", 443, "2001:db8::1", "https://[2001:db8::1]:443"),
        ("2001:db8::1", 8443, "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_another_vcenter_learns_how_this_one_is_reached(host: str, port: int, address: str, url: str) -> None:
    client, connection = with_certificate(b"certificate", Endpoint(host, "anna", "secret", port))
    assert client.address == address
    found = client.locator()
    assert (found.url, found.instanceUuid) == (url, "1111aaaa")
    assert (found.credential.username, found.credential.password) == ("anna", "secret")
    assert re.fullmatch(r"([0-9A-F]{2}:){19}[0-9A-F]{2}", found.sslThumbprint)
    assert found.sslThumbprint.replace(":", "").lower() == hashlib.sha1(b"certificate").hexdigest()
    assert connection.returned == 1


class Connection:
    """A connection of a session. The server may have closed it meanwhile."""

    def __init__(self, certificate: bytes, *, closed: bool = False) -> None:
        open_socket = SimpleNamespace(getpeercert=lambda binary_form: certificate if binary_form else {})
        self.sock, self.open_socket, self.returned = None if closed else open_socket, open_socket, 0

    def connect(self) -> None:
        self.sock = self.open_socket


def with_certificate(certificate: bytes, endpoint: Endpoint, *, closed: bool = False) -> tuple[Client, Connection]:
    connection = Connection(certificate, closed=closed)

    def give_back(_connection: Any) -> None:
        connection.returned += 1

    stub = SimpleNamespace(GetConnection=lambda: connection, ReturnConnection=give_back)
    content = SimpleNamespace(about=SimpleNamespace(instanceUuid="1111aaaa"))
    instance = SimpleNamespace(RetrieveContent=lambda: content, _stub=stub)
    with patch.object(subject, "SmartConnect", lambda **_login: instance):
        return Client(endpoint), connection


def test_a_closed_connection_is_opened_again_for_the_certificate() -> None:
    endpoint = Endpoint("vc", "anna", "secret")
    client, connection = with_certificate(b"x", endpoint, closed=True)
    assert client.thumbprint() == with_certificate(b"x", endpoint)[0].thumbprint()
    assert connection.returned == 1


def test_references_to_another_vcenter_name_it() -> None:
    client = Server("2222bbbb").client()
    here, there = client.reference("alarm.Alarm", "alarm-1"), client.reference_abroad("HostSystem", "host-1")
    assert (type(here), here._moId, here._serverGuid) == (vim.alarm.Alarm, "alarm-1", None)
    assert (type(there), there._moId, there._serverGuid) == (vim.HostSystem, "host-1", "2222bbbb")


# the policy service


def policy_client(*errors: Exception, session: object = None) -> tuple[Client, Answers, Any]:
    """A client, a question to the policy service whose first answers are errors, and the stub of that service."""
    server = Server()
    server.fields["SessionManager", "currentSession"] = session
    client, stub = server.client(), SimpleNamespace(requestContext=None)
    with patch.object(subject, "_policy_stub", lambda _connection: stub):
        assert client.policy_service()._stub is client.policy_service()._stub is stub
    return client, Answers(*errors), stub


def test_a_question_about_policies_names_the_session() -> None:
    client, question, stub = policy_client()
    assert client.ask_policies("read the storage policies", question) == "answer"
    assert stub.requestContext == {"vcSessionCookie": "key"}


def test_a_session_that_ended_is_renewed_before_policies_are_asked_for_again() -> None:
    client, question, _stub = policy_client(vmodl.fault.SecurityError())
    assert client.ask_policies("read the storage policies", question) == "answer"
    assert (question.asked, client.renewed) == (2, 1)


@pytest.mark.parametrize("fault", [vmodl.fault.SecurityError(), AttributeError("missingPrivileges")])
def test_a_user_who_may_not_see_policies_is_told_the_privilege(fault: Exception) -> None:
    """The fault has fields that pyVmomi does not find in the class by which it reads it."""
    client, question, _stub = policy_client(fault, fault, session=object())
    with pytest.raises(PermissionMissing, match="not allowed to read the storage policies") as error:
        client.ask_policies("read the storage policies", question)
    assert error.value.privilege == "StorageProfile.View"
    assert (question.asked, client.renewed) == (2, 0)


@pytest.mark.parametrize("before", [[], [vmodl.fault.SecurityError()]])
def test_another_fault_of_the_policy_service_is_an_error(before: list[Exception]) -> None:
    client, question, _stub = policy_client(*before, vmodl.fault.NotSupported(), session=object())
    with pytest.raises(CallFailed, match="NotSupported"):
        client.ask_policies("read the storage policies", question)


def test_a_policy_service_that_is_down_is_not_waited_for(clock: Clock) -> None:
    client, question, _stub = policy_client(ConnectionResetError("reset"))
    with pytest.raises(ConnectError):
        client.ask_policies("read the storage policies", question)
    assert (question.asked, clock.slept) == (1, [])


# errors and the end


@pytest.mark.parametrize(
    "error", [None, vim.fault.NotAuthenticated(), ConnectionResetError("reset"), HTTPException("x")]
)
def test_a_session_ends_with_its_context_and_may_have_ended_before(error: Exception | None) -> None:
    ended = Answers(*([error] if error else []))
    instance = SimpleNamespace(RetrieveContent=lambda: None)
    with (
        patch.object(subject, "SmartConnect", lambda **_login: instance),
        patch.object(subject, "Disconnect", lambda _instance: ended()),
        suppress(ZeroDivisionError),
        connected(Endpoint("vc", "anna", "secret")),
    ):
        raise ZeroDivisionError
    assert ended.asked == 1


def test_a_fault_is_said_with_its_name_and_on_one_line() -> None:
    error = translated("move the VM", vim.fault.InvalidState(msg="not\n now  please" + "x" * 500))
    assert isinstance(error, CallFailed)
    assert error.fault == "InvalidState"
    assert str(error).startswith("vCenter could not move the VM: InvalidState (not now please")
    assert len(str(error)) < 300


def test_privileges_are_named_once_and_in_order() -> None:
    entities = [["B", "A"], ["A"], None]
    missing = [vim.fault.NoPermission.EntityPrivileges(privilegeIds=ids or []) for ids in entities]
    error = translated("move the VM", vim.fault.NoPermission(missingPrivileges=missing, privilegeId="C"))
    assert isinstance(error, PermissionMissing)
    assert error.privilege == "A, B"
    assert error.hint == "Grant the privilege A, B"


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_pauses_grow_and_do_not_come_at_the_same_moments(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, luck: float
) -> None:
    """Several controllers that lose one vCenter do not ask it at the same moments."""
    monkeypatch.setattr(subject.random, "uniform", lambda low, high: low + luck * (high - low))
    silence = Silence(1000, clock=clock, sleep=clock.sleep)

    def pause() -> float:
        before = clock.now
        silence.bear(ConnectError("no answer"))
        return clock.now - before

    longest = [0.5, 1, 2, 4, 8, 10, 10]
    assert [pause() for _attempt in longest] == pytest.approx([each * (1 + luck) / 2 for each in longest])
    silence.end()
    assert pause() == pytest.approx(0.5 * (1 + luck) / 2)


def test_a_caller_may_ask_for_shorter_pauses(clock: Clock) -> None:
    silence = Silence(1000, clock=clock, sleep=clock.sleep)
    for _attempt in range(20):
        before = clock.now
        silence.bear(ConnectError("no answer"), most=1.0)
        assert clock.now - before <= 1.0
