# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the official client of Driverless AI may go: with ``requests`` as it uses it, and servers that want more."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import requests
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import driverless_ai
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Endpoint

from tests.builders.sources import observed, settings
from tests.doubles.servers import Answering, answering, serving

SECRET = "CANARY"


class Client:
    """Logs in and reads as the official client does."""

    def __init__(self, address: str, username: str, password: str, verify: bool) -> None:
        session = requests.Session()
        session.post(f"{address}/login", data={"username": username, "password": password}, verify=verify)
        requests.get(f"{address}/clients/py/old")
        raise AssertionError("code of the server was loaded")


class Recorder(Answering):
    heard: ClassVar[list[tuple[str, str]]] = []
    login: ClassVar[tuple[int, dict[str, str]]] = (200, {})

    def hear(self) -> None:
        type(self).heard.append((self.path, self.body().decode()))

    def do_GET(self) -> None:
        self.hear()
        self.answer(200, {})

    def do_POST(self) -> None:
        self.hear()
        status, headers = self.login if self.path == "/login" else (200, {})
        self.answer(status, {}, **headers)

    def do_CONNECT(self) -> None:
        self.hear()
        self.answer(500)


@pytest.fixture
def server() -> Iterator[tuple[type[Recorder], str]]:
    handler = type("Server", (Recorder,), {"heard": []})
    with serving(handler) as port:
        yield handler, f"http://127.0.0.1:{port}"


@pytest.fixture
def other() -> Iterator[tuple[type[Recorder], str]]:
    handler = type("Other", (Recorder,), {"heard": []})
    with serving(handler) as port:
        yield handler, f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "driverlessai", SimpleNamespace(Client=Client))
    monkeypatch.setattr(requests.Session, "send", requests.Session.send)
    # A port may be one that a server of an earlier test had.
    monkeypatch.setattr(driverless_ai, "_allowed", set())


def detail(url: str) -> str:
    return observed(settings("driverless_ai", url=url, username="alice", password=SECRET)).detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_server_gets_nothing(server: Any, other: Any, status: int) -> None:
    server[0].login = (status, {"Location": f"{other[1]}/login"})
    assert "it redirects to another server" in detail(server[1])
    assert other[0].heard == []
    assert SECRET in str(server[0].heard), "the server that the operator named gets the login"


def test_a_redirect_within_the_server_is_followed_and_its_code_is_not_loaded(server: Any) -> None:
    server[0].login = (302, {"Location": "/"})
    assert "does not know this version of the server" in detail(server[1])
    assert [path for path, _body in server[0].heard] == ["/login", "/"]


def test_proxies_of_the_environment_get_nothing(server: Any, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other[1])
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    detail(server[1])
    assert other[0].heard == []
    assert server[0].heard


class Trained:
    """An experiment whose status the client reads; ``frozen`` are the seconds that the next time takes."""

    key, frozen = "k", 0.0
    error: Exception | None = None

    def status(self, verbose: int) -> str:
        time.sleep(self.frozen)
        if self.error is not None:
            raise self.error
        return f"Running {verbose}.5% - tuning"

    def is_running(self) -> bool:
        return True


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[driverless_ai.ExperimentSession, Trained, list[int]]]:
    """A session, what it watches, and the status of the server's health."""
    trained, health = Trained(), [200]
    monkeypatch.setattr(driverless_ai, "STATUS_SECONDS", 0.0)
    monkeypatch.setattr(driverless_ai, "connect", lambda *_settings: SimpleNamespace(experiments=[]))
    monkeypatch.setattr(driverless_ai, "found_again", lambda _client, _key: trained)
    with answering(lambda _path: (health[0], {"server_version": "1.10.7"})) as url:
        endpoint = Endpoint("127.0.0.1", int(url.rpartition(":")[2]))
        session = driverless_ai.ExperimentSession(endpoint, "k", {})
        yield session, trained, health
        session.close()


def test_a_freeze_in_a_question_of_the_client_delays_the_answer(session: Any) -> None:
    asking, trained, _health = session
    assert asking.sample().waited < 0.5
    trained.frozen = 0.8
    sample = asking.sample()
    assert (sample.outcome, sample.waited >= 0.8, sample.exact) == ("answered", True, False)


def test_an_error_of_the_client_does_not_hide_whether_the_server_answers(session: Any) -> None:
    asking, trained, health = session
    assert asking.sample().progress == 0.015
    trained.error = ConnectionError("the client failed")
    assert (asking.sample().outcome, asking.sample().outcome) == ("silent", "silent")
    health[0] = 502
    assert asking.sample().outcome == "invalid"
    trained.error, health[0] = None, 200
    assert asking.sample().outcome == "answered"


def test_logins_that_fail_are_rare(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account with a password that has changed must not be locked: the server is asked 10 times per second."""
    asking, _trained, _health = session
    now, logins = [0.0], list[float]()

    def refused(*_settings: object) -> None:
        logins.append(now[0])
        raise RuntimeError("Bad username or password")

    monkeypatch.setattr(driverless_ai, "STATUS_SECONDS", 2.0)
    monkeypatch.setattr(driverless_ai, "connect", refused)
    monkeypatch.setattr(driverless_ai, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(asking, "_ask", lambda sent: Sample(sent, sent, "silent"))
    for now[0] in map(float, range(120)):
        asking.sample()
    assert logins == [0, 2, 6, 14, 30, 60, 90]
    monkeypatch.setattr(driverless_ai, "connect", lambda *_settings: None)
    now[0] = 121.0
    asking.sample()
    assert asking._experiment is not None


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyError("status"), "silent"), (driverless_ai.NotKnown(), "job_missing")]
)
def test_an_error_of_the_client_is_not_an_experiment_that_the_server_does_not_know(
    session: Any, error: Exception, outcome: str
) -> None:
    """The client reads answers that it does not expect, such as those of a proxy, by their keys."""
    asking, trained, _health = session
    trained.error = error
    assert asking.sample().outcome == outcome


class Deleted:
    """An experiment that somebody deletes after it was listed; ``failing`` is what the client asks the server for then."""

    key = "k"

    def __init__(self, failing: str) -> None:
        self.failing = failing

    @property
    def name(self) -> str:
        return str(self._asked("name"))

    def is_running(self) -> bool:
        return bool(self._asked("is_running"))

    def status(self, verbose: int) -> str:
        return f"{self._asked('status')} {verbose}"

    def _asked(self, what: str) -> str:
        if what == self.failing:
            raise RuntimeError("the server does not know k")
        return what


@pytest.mark.parametrize("failing", ["is_running", "name", "status"])
def test_an_experiment_that_is_deleted_while_it_is_looked_for_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    listed = [Deleted(failing)]
    client = SimpleNamespace(server=SimpleNamespace(version="1.10.7"), experiments=SimpleNamespace(list=lambda: listed))
    monkeypatch.setattr(driverless_ai, "connect", lambda *_given: client)
    source = settings("driverless_ai", url="http://127.0.0.1:1")
    assert observed(source).detail.endswith("no experiment runs; of one it is not known: the server does not know k")
    listed.append(Deleted(""))
    assert len(observed(source).experiments) == 1


@pytest.mark.parametrize(
    ("line", "running", "status", "progress"),
    [
        ("Running 12.00% - Tuning", True, "RUNNING", 0.12),
        ("Finishing 99.00%", True, "RUNNING", 0.99),
        ("Complete 100.00%", False, "DONE", 1.0),
        ("Failed 12.00%", False, "FAILED", 0.12),
        ("Failed: not enough memory", False, "FAILED", None),
        ("Failed", False, "FAILED", None),
        ("Aborted 12.00%", False, "CANCELLED", 0.12),
        ("Canceled 12.00%", False, "CANCELLED", 0.12),
        ("Completely other", False, "COMPLETELY", None),
        ("Syncing 10.00%", True, "RUNNING", 0.1),
        ("", False, "", None),
    ],
)
def test_the_status_is_the_first_word_of_its_line(
    line: str, running: bool, status: str, progress: float | None
) -> None:
    known = SimpleNamespace(status=lambda verbose: line, is_running=lambda: running)
    assert driverless_ai.progress_of(known) == (status, progress)
