# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import connection, questions
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Endpoint, Probe

from tests.builders.certificates import pem

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD, BODY = ANSWER[:-2], ANSWER[-2:]
TIMER = 0.02  # seconds by which a busy machine's timers differ

Serve = Callable[[socket.socket, int], None]


class Guest:
    """A server whose connections are served by a function of the test; it counts them from 0."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._serve, self._tls = serve, tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.opened = 0
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self.listener.accept()
                self._held.append(connection)
                threading.Thread(target=self._served, args=(connection, self.opened), daemon=True).start()
                self.opened += 1

    def _served(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._serve(connection, number)

    def close(self) -> None:
        """Close the listener and all connections."""
        for each in (self.listener, *self._held):
            each.close()


@pytest.fixture
def guest() -> Iterator[Callable[..., Guest]]:
    """Makes guests."""
    made: list[Guest] = []

    def make(serve: Serve, tls: ssl.SSLContext | None = None) -> Guest:
        made.append(Guest(serve, tls))
        return made[-1]

    yield make
    for each in made:
        each.close()


def asked(guest: Guest, **options: object) -> questions.Wait:
    """What was learned while the third question waited; the first two are answered at once."""
    with Probe(Endpoint("127.0.0.1", guest.port), asks_again=True, **options) as probe:  # type: ignore[arg-type]
        for _question in range(3):
            assert probe.get("/").data == b"ok"
        return probe.waits[-1]


def answers(connection: socket.socket, count: int = 1000) -> None:
    """Answer some questions at once, until the other end is closed."""
    with contextlib.suppress(OSError):
        for _question in range(count):
            if not connection.recv(65536):
                return
            connection.sendall(ANSWER)


def test_a_short_wait_asks_once(guest: Callable[..., Guest]) -> None:
    def serve(connection: socket.socket, _number: int) -> None:
        answers(connection, 2)
        connection.recv(65536)
        time.sleep(questions.PATIENCE / 3)
        connection.sendall(ANSWER)

    calm = guest(serve)
    wait = asked(calm)
    assert (calm.opened, wait.unheard, wait.again, wait.deaf, wait.awake) == (1, None, None, None, None)
    assert not wait.resent


def test_a_lost_question_is_answered_on_a_fresh_connection(
    guest: Callable[..., Guest], measured: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    woke: list[float] = []

    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            answers(connection, 2)
            woke.append(time.monotonic() + 0.4)
        elif time.monotonic() > woke[0]:
            answers(connection)
        else:
            connection.recv(65536)  # lost

    lossy = guest(serve)
    began = time.monotonic()
    wait = asked(lossy)
    assert wait.unheard is not None
    assert wait.again is not None
    assert wait.unheard < woke[0] < wait.received
    assert wait.unheard < wait.again <= wait.received
    with measured():
        assert wait.unheard > woke[0] - 2 * questions.AGAIN_SECONDS - TIMER
        assert wait.sent - began < 0.2
    assert wait.awake is None, "its kernel accepted every connection"


def test_a_server_that_answers_everything_late_has_lost_nothing(guest: Callable[..., Guest]) -> None:
    awake = threading.Event()

    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            answers(connection, 2)
            threading.Timer(0.5, awake.set).start()
        awake.wait(5)
        answers(connection)

    wait = asked(guest(serve))
    assert wait.unheard is None
    assert not wait.resent
    assert wait.received - wait.sent > 0.5 - TIMER
    assert wait.again is not None


def test_an_answer_that_proxies_may_have_delayed_proves_little(guest: Callable[..., Guest]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            answers(connection, 2)
            connection.recv(65536)
            time.sleep(0.5)
            connection.sendall(ANSWER)
        connection.recv(65536)  # a proxy that accepts, and keeps the question for itself

    wait = asked(guest(serve))
    assert wait.resent
    assert wait.unheard is None


def test_a_firewall_that_rejects_new_connections_changes_nothing(guest: Callable[..., Guest]) -> None:
    made: list[Guest] = []

    def serve(connection: socket.socket, _number: int) -> None:
        answers(connection, 2)
        made[0].listener.shutdown(socket.SHUT_RDWR)
        made[0].listener.close()
        connection.recv(65536)
        time.sleep(0.5)
        connection.sendall(ANSWER)

    made.append(guest(serve))
    wait = asked(made[0])
    assert (wait.unheard, wait.deaf, wait.awake, wait.resent) == (None, None, None, False)


def full(port: int) -> list[socket.socket]:
    """Connections that fill the queue of a listener with a backlog of 0: then its kernel accepts no more."""
    filling = []
    for _connection in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        filling.append(one)
    time.sleep(0.05)
    return filling


@pytest.mark.parametrize("opens", [True, False])
def test_a_kernel_that_accepts_nothing_is_deaf_until_it_accepts(
    opens: bool, measured: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = int(listener.getsockname()[1])
    woke: list[float] = []

    def serve() -> None:
        kept, _peer = listener.accept()
        answers(kept, 2)
        filling = full(port)
        kept.recv(65536)
        time.sleep(0.5)
        woke.append(time.monotonic())
        for one in filling if opens else ():
            one.close()
        woke.append(time.monotonic())
        while opens:
            fresh, _peer = listener.accept()
            threading.Thread(target=answers, args=(fresh,), daemon=True).start()
        kept.sendall(ANSWER)
        time.sleep(5)
        for one in filling:
            one.close()

    threading.Thread(target=serve, daemon=True).start()
    with Probe(Endpoint("127.0.0.1", port), asks_again=True) as probe:
        for _question in range(3):
            assert probe.get("/").data == b"ok"
        wait = probe.waits[-1]
    listener.close()
    if not opens:  # a firewall that drops new connections
        assert (wait.deaf_since, wait.deaf, wait.awake, wait.unheard) == (None, None, None, None)
        return
    assert wait.deaf is not None
    assert not wait.full
    assert wait.deaf_since is not None
    assert wait.sent < wait.deaf_since < wait.deaf
    with measured():
        assert wait.deaf_since < wait.sent + questions.PATIENCE + TIMER
    assert wait.awake is not None
    assert wait.deaf < woke[1] + TIMER
    with measured():
        assert woke[0] - 3 * questions.KNOCK_SECONDS - TIMER < wait.deaf
    # The time of an answer is from TCP_INFO, which counts in ticks of the kernel.
    assert woke[0] - TIMER <= wait.awake <= wait.received
    assert wait.unheard is not None
    assert wait.unheard <= wait.deaf


def test_the_queue_of_a_server_that_stands_still_may_be_full() -> None:
    """Then the kernel accepts nothing, but it accepted connections before that."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2)

    def serve() -> None:
        kept, _peer = listener.accept()
        answers(kept, 2)
        kept.recv(65536)
        time.sleep(1.0)
        kept.sendall(ANSWER)
        while True:
            fresh, _peer = listener.accept()
            threading.Thread(target=answers, args=(fresh,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with Probe(Endpoint("127.0.0.1", int(listener.getsockname()[1])), asks_again=True) as probe:
        for _question in range(3):
            assert probe.get("/").data == b"ok"
        wait = probe.waits[-1]
    assert wait.deaf is not None
    assert wait.full
    assert wait.again is not None
    assert wait.deaf_since is not None
    assert wait.again < wait.deaf_since


def test_an_answer_is_whole_before_it_counts(guest: Callable[..., Guest]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        answers(connection, 2)
        if number == 0:
            connection.recv(65536)
            connection.sendall(HEAD)  # a freeze cuts the answer here
            time.sleep(2)
            connection.sendall(BODY)

    wait = asked(guest(serve))
    assert wait.received - wait.sent < 1
    assert wait.again is not None


def test_an_answer_in_parts_may_have_been_sent_again(guest: Callable[..., Guest]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            answers(connection, 2)
            connection.recv(65536)
            connection.sendall(HEAD)
            time.sleep(2 * questions.PATIENCE)
            connection.sendall(BODY)
        connection.recv(65536)

    assert asked(guest(serve)).resent


@pytest.mark.parametrize("says", [b"Connection: close\r\n", b""])
def test_a_server_that_closes_after_each_answer_is_looked_up_once(
    guest: Callable[..., Guest], monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    """To find a name of several addresses, one is connected to patiently, which waits for TCP's timer while the VM is frozen."""
    version = b"1.1" if says else b"1.0"
    answer = b"HTTP/" + version + b" 200 OK\r\n" + says + b"Content-Length: 2\r\n\r\nok"

    def serve(connection: socket.socket, _number: int) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()

    looked_up, server = [], guest(serve)
    real = socket.getaddrinfo

    def twice(*asked: object, **more: object) -> list[object]:
        looked_up.append(asked)
        return [*real(*asked, **more), *real(*asked, **more)]  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", twice)
    with Probe(Endpoint("127.0.0.1", server.port), asks_again=True) as probe:
        for _question in range(3):
            assert probe.get("/").data == b"ok"
        once = len(looked_up)
        assert once == 2, "by the name, and by the patient connection"
        server.listener.shutdown(socket.SHUT_RDWR)
        server.close()
        for _question in range(2):
            with pytest.raises(OSError, match=r"."):
                probe.get("/")
        assert len(looked_up) > once, "a server that is gone may have another address"


def test_tls_waits_for_the_connection_before_it_shakes_hands(guest: Callable[..., Guest], tmp_path: Path) -> None:
    certificate, key = pem(tmp_path, "guest", "127.0.0.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))

    def serve(connection: socket.socket, number: int) -> None:
        answers(connection, 1 if number == 0 else 1000)
        connection.recv(65536)
        time.sleep(2)  # without an answer

    secret = guest(serve, server)
    with Probe(Endpoint("127.0.0.1", secret.port, client), asks_again=True) as probe:
        assert [probe.get("/").data for _question in range(3)] == [b"ok"] * 3
        assert [wait.again is None for wait in probe.waits] == [True, False, True]
    assert secret.opened > 1


def test_the_kernel_knows_when_an_answer_arrived(guest: Callable[..., Guest]) -> None:
    def serve(connection: socket.socket, _number: int) -> None:
        connection.recv(65536)
        connection.sendall(ANSWER)
        connection.recv(65536)

    with Probe(Endpoint("127.0.0.1", guest(serve).port)) as probe:
        whole = probe._whole

        def late(response: object) -> object:
            time.sleep(0.3)  # this process has no processor
            return whole(response)  # type: ignore[arg-type]

        probe._whole = late  # type: ignore[assignment, method-assign]
        probe.get("/")
        wait = probe.waits[-1]
    if not wait.exact:
        pytest.skip("this operating system does not report TCP_INFO")
    assert wait.received - wait.sent < 0.2


def test_an_interrupted_question_ends(guest: Callable[..., Guest]) -> None:
    silent = guest(lambda connection, _number: time.sleep(5))
    probe = Probe(Endpoint("127.0.0.1", silent.port), asks_again=True)
    threading.Timer(0.3, probe.interrupt).start()
    began = time.monotonic()
    with pytest.raises((OSError, TimeoutError)):
        probe.get("/")
    assert time.monotonic() - began < 3
    probe.close()


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Len", False),
        (HEAD, False),
        (HEAD + b"o", False),
        (ANSWER, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n000;last=yes\r\nDigest: a\r\nTook: 1\r\n\r\n",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: a\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nok0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n10\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nServer: a\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nServer: a\r\n\r\nhalf", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", False),
        (b"\xff\r\n\r\n", False),
    ],
)
def test_whether_an_answer_is_whole(data: bytes, whole: bool) -> None:
    assert connection.is_whole(data) is whole


def test_tcp_info_counts_nothing_sent_again_on_a_calm_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        known = connection.tcp_info(one)
        one.close()
    if known is None:
        pytest.skip("this operating system does not report TCP_INFO")
    assert known.resent == 0
    assert 0 <= known.round_trip < 1
    assert connection.tcp_info(one) is None, "a closed socket"


def test_a_connection_that_is_still_being_made_says_nothing_of_the_round_trip() -> None:
    """The kernel reports a second for it. Knocks that are kept so long are made by TCP's timer, long after they were begun."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    filling = full(int(listener.getsockname()[1]))
    line = connection.Line((socket.AF_INET, listener.getsockname()), None, "127.0.0.1")
    asking = questions.Asking(b"", line, None, 0.12, 9.0, 100, lambda: False)
    assert asking._usual_accept() == 0.12
    for each in (*filling, line, listener):
        each.close()


class Knock:
    """A further line whose steps a test sets."""

    def __init__(self, begun: float, connected: float | None = None) -> None:
        self.begun, self.connected, self.asked = begun, connected, connected
        self.socket = socket.socket()

    def close(self) -> None:
        self.socket.close()


def test_deafness_begins_after_the_last_connection_that_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted at 1.2, not at 1.3 and 1.4, accepted at 1.5: the one of 1.1 that was given up is of another time."""
    first = Knock(1.0, 0.5)
    asking = questions.Asking(b"", first, None, 0.12, 9.0, 100, lambda: False)  # type: ignore[arg-type]
    asking._not_accepted = [1.1]
    asking._accepted = Knock(1.2, 1.21)  # type: ignore[assignment]
    asking._further = [Knock(1.3), Knock(1.4)]  # type: ignore[list-item]
    monkeypatch.setattr(questions, "_ready", lambda _lines, _seconds: [])
    monkeypatch.setattr(questions, "tcp_info", lambda _socket: None)
    monkeypatch.setattr(questions.time, "monotonic", lambda: 1.53)
    asking._give_up_deaf()
    assert (asking._not_accepted, asking._accepted) == ([1.1, 1.3, 1.4], None)
    winner = Knock(1.5, 1.51)
    asking._accepted = winner  # type: ignore[assignment]
    assert asking._deafness(winner, 1.6) == (1.3, 1.4, 1.51)  # type: ignore[arg-type]
    asking._not_accepted = [1.1]
    assert asking._deafness(winner, 1.6) == (None, None, None)  # type: ignore[arg-type]
