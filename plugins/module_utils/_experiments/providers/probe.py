# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP for probes: one keep-alive connection, no redirects, answers of limited size. No answer is trusted."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlsplit

from ..._core.errors import InvalidInput
from ..._core.untrusted import parsed, text
from ..model import Sample

MAX_BYTES = 1 << 20
BLOCK = 1 << 16
NO_ANSWER = (OSError, http.client.HTTPException)  # what each question over HTTP may raise
GONE = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, ssl.SSLEOFError)
REQUEST_SECONDS = 300.0  # a request in flight waits until the freeze ends
JSON = "application/json, text/plain;q=0.9"  # what most servers are asked for
IN_A_URL = "%/:=&?+!$,;'@()*[]~"  # characters that a page's URL may have beside letters and digits


class TooLong(http.client.HTTPException):
    """The server's answer is longer than what is accepted of it."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"its answer is larger than {max_bytes >> 20} MiB")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address; ``url`` never contains credentials."""

    address: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    prefix: str = ""  # context path, ``/h2o``

    @property
    def url(self) -> str:
        """``http://address:port/prefix``."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.tls else ''}://{address}:{self.port}{self.prefix}"

    @property
    def authorization(self) -> str | None:
        """The header's value: a bearer token, or basic authentication."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.username is None:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password or ''}".encode()).decode()


class UnusableAddress(Exception):
    """A VM's address or name does not give a URL; the operator's option is not wrong."""


def url_for(template: str, address: str, vm_name: str) -> str:
    """A source's URL for a VM. Raises UnusableAddress if the VM's address or name does not give a URL."""
    host = f"[{address}]" if ":" in address else address
    url = template.replace("{address}", host).replace("{vm}", quote(vm_name, safe=""))
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and len(parts.hostname or "") < 254 and parts.port != 0
    except ValueError:
        usable = False
    if not usable and ("{vm}" in template or "{address}" in template):
        raise UnusableAddress(f"{text(url)} is not the URL of a server")
    return url


def address_in(template: str, url: str) -> str | None:
    """The VM's address in a URL that was made from a source's template; "" if the template has a fixed server.

    ``None`` if the URL cannot be from that template.
    """
    server = re.escape(re.sub(r":\d+$", "", urlsplit(template).netloc).lower())
    pattern = server.replace(re.escape("{address}"), "(?P<address>.+)", 1)
    match = re.fullmatch(pattern, urlsplit(url).hostname or "")
    return None if match is None else match.groupdict().get("address", "")


def endpoint_of(url: str, settings: Mapping[str, Any], option: str, *, page: bool = False) -> Endpoint:
    """The endpoint of a URL and a source's settings. Raises InvalidInput if the URL is not valid.

    ``page``: the URL is that of one page. Its path and its query are asked as they are.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname or parts.username or parts.fragment or (parts.query and not page):
        raise InvalidInput(
            f"{option} is {url!r}, which is not the URL of a server",
            hint="Set it to a URL such as https://mlflow.example.com:5000, with credentials in username and password",
            option="experiments",
        )
    whole = quote(f"{parts.path}?{parts.query}" if parts.query else parts.path, safe=IN_A_URL)
    return Endpoint(
        parts.hostname,
        port,
        tls_of(settings, option) if parts.scheme == "https" else None,
        settings.get("username"),
        settings.get("password"),
        settings.get("token"),
        whole if page else parts.path.rstrip("/"),
    )


def tls_of(settings: Mapping[str, Any], option: str) -> ssl.SSLContext:
    """TLS with the operator's CA and client certificate. Raises InvalidInput for files that cannot be used."""
    what = "ca_path"
    try:
        context = ssl.create_default_context(cafile=settings.get("ca_path"))
        if settings.get("client_cert"):
            what = "client_cert"
            context.load_cert_chain(settings["client_cert"], settings.get("client_key"), password="")
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"{option.rpartition('.')[0]}.{what} cannot be used: {error}",
            hint="Set it to a PEM file",
            option="experiments",
        ) from error
    if settings.get("validate_certs") is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer: ``data`` is its content, ``body`` the parsed JSON, ``None`` if it is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any
    data: bytes = b""


class Probe:
    """One keep-alive connection; no redirects are followed, no answer is longer than ``max_bytes``.

    The whole answer must arrive within ``timeout`` seconds, so that a server that sends byte by byte cannot delay a run.
    Only a question that may wait through a freeze (``REQUEST_SECONDS``) waits as long as bytes arrive.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout: float = REQUEST_SECONDS,
        max_bytes: int = MAX_BYTES,
        accept: str = JSON,
    ) -> None:
        self.endpoint = endpoint
        self._accept = accept
        self._timeout = timeout
        self._deadline = timeout if timeout < REQUEST_SECONDS else None
        self._max_bytes = max_bytes
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Connect at the first question."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self.close()

    def get(self, path: str) -> Answer:
        """GET a path below the prefix. Raises NO_ANSWER without a whole answer."""
        return self._ask("GET", path, None)

    def options(self, path: str) -> Answer:
        """OPTIONS of a path below the prefix: status and headers alone. Raises like ``get``."""
        return self._ask("OPTIONS", path, None)

    def search(self, path: str, query: Mapping[str, Any]) -> Answer:
        """POST a search, which changes nothing. Some servers accept searches only as POST."""
        return self._ask("POST", path, json.dumps(query).encode())

    def download(self, path: str, sink: Callable[[bytes], None]) -> Answer:
        """GET a path and pass its bytes to ``sink`` block by block if the status is 200; else like :meth:`get`."""
        try:
            with self._in_time():
                response = self._response("GET", path, None)
                if response.status != 200:
                    return self._whole(response)
                for block in blocks(response):
                    sink(block)
        except BaseException:
            self.close()
            raise
        return Answer(response.status, headers_of(response), None)

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        try:
            with self._in_time():
                return self._whole(self._response(method, path, body))
        except NO_ANSWER:
            self.close()
            raise

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Stop a question that takes too long."""
        if self._deadline is None:
            yield
            return
        late = threading.Event()

        def end() -> None:
            late.set()
            self.interrupt()

        timer = threading.Timer(self._deadline, end)
        timer.daemon = True
        timer.start()
        try:
            yield
            if late.is_set():
                raise TimeoutError("no whole answer in time")  # a truncated answer may look whole
        except NO_ANSWER as error:
            if late.is_set():
                raise TimeoutError("no whole answer in time") from error
            raise
        finally:
            timer.cancel()

    def _response(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        if self._connection.sock is None:
            self._socket = None
            self._connection.connect()
            self._socket = self._connection.sock  # http.client drops it if the server closes after its answer
        self._connection.request(method, self.endpoint.prefix + path, body, self._headers(body is not None))
        return self._connection.getresponse()

    def _whole(self, response: http.client.HTTPResponse) -> Answer:
        data = bytearray()
        for block in blocks(response):
            data += block
            if len(data) > self._max_bytes:
                raise TooLong(self._max_bytes)
        return Answer(response.status, headers_of(response), parsed(bytes(data)), bytes(data))

    def _connect(self) -> http.client.HTTPConnection:
        end = self.endpoint
        if end.tls is not None:
            return http.client.HTTPSConnection(end.address, end.port, timeout=self._timeout, context=end.tls)
        return http.client.HTTPConnection(end.address, end.port, timeout=self._timeout)

    def _headers(self, has_body: bool = False) -> dict[str, str]:
        # Not a browser's name: servers with form authentication answer browsers with a login page.
        headers = {"User-Agent": "liveml.vsphere", "Accept": self._accept}
        if self.endpoint.authorization is not None:
            headers["Authorization"] = self.endpoint.authorization
        if has_body:
            headers["Content-Type"] = "application/json"
        return headers

    def interrupt(self) -> None:
        """Wake a thread that waits for an answer; called from another thread."""
        ours = self._socket or getattr(self._connection, "sock", None)  # also during a TLS handshake
        if ours is not None:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._socket = None


def blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """An answer's body, block by block. Raises NO_ANSWER if it is not whole.

    Not with ``read``: it accepts a chunk of negative length and then reads without end.
    """
    try:
        while block := response.read1(BLOCK):
            yield block
    except (ValueError, OverflowError) as error:
        raise http.client.HTTPException("a chunk has no length") from error
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # else the connection accepts no further question


def headers_of(response: http.client.HTTPResponse) -> dict[str, str]:
    """A response's headers, with names in lower case."""
    return {name.lower(): text(value) for name, value in response.getheaders()}


def unanswered(error: Exception, endpoint: Endpoint) -> str:
    """A sentence why there is no answer that can be used."""
    reason = str(getattr(error, "reason", "") or "") if isinstance(error, ssl.SSLError) else ""
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "no answer: the server requires a client certificate; set client_cert"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"no answer: its certificate is not accepted ({text(error.verify_message)}); set ca_path to its CA"
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return "no answer: the server does not speak TLS"
    if endpoint.tls is not None and isinstance(error, GONE):
        # A TLS 1.3 server rejects the client after the handshake, and its reset may overtake the alert with the reason.
        return f"no answer ({type(error).__name__}); the server may require a client certificate (client_cert)"
    for kind, sentence in UNANSWERED.items():
        if isinstance(error, kind):
            return sentence
    return text(str(error)) if isinstance(error, TooLong) else f"no answer ({type(error).__name__})"


UNANSWERED: Mapping[type[Exception], str] = {
    ConnectionRefusedError: "no answer: no server listens there",
    TimeoutError: "no answer in time",
    socket.gaierror: "no answer: the server's name is not known",
    http.client.InvalidURL: "not asked: its URL has characters that a URL cannot have",
    http.client.RemoteDisconnected: "no answer: the server closed the connection",
    http.client.BadStatusLine: "no answer: the server does not speak HTTP",
}


def failed_sample(error: Exception, sent: float) -> Sample:
    """The sample of an unanswered question: refused (no server listens) or silent."""
    received = time.monotonic()
    if isinstance(error, TimeoutError):
        return Sample(sent, received, "silent", detail="no answer in time")
    if isinstance(error, (ConnectionRefusedError, *GONE)):
        return Sample(sent, received, "refused", detail=type(error).__name__)
    return Sample(sent, received, "silent", detail=text(f"{type(error).__name__} {error}"))
