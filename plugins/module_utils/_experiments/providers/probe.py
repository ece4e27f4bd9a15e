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
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self
from urllib.parse import quote, urlsplit

from ..._core.errors import InvalidInput
from ..._core.servers import is_host, is_number
from ..._core.untrusted import number, parsed, quoted, text, values_in
from ..._core.urls import without_secrets
from ..model import Sample
from .connection import BLOCK, Address, Line, Rest
from .credentials import without_repeated, written_forms
from .dates import date_of
from .questions import LOST, PATIENCE, Asking, Wait

MAX_BYTES = 1 << 20  # of one line of a program
NO_ANSWER = LOST  # what each question over HTTP may raise
GONE = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, ssl.SSLEOFError)
REQUEST_SECONDS = 300.0  # a request in flight waits until the freeze ends
JSON = "application/json, text/plain;q=0.9"  # what most servers are asked for
USUAL = 50  # answers that show how long this server usually takes
SLOW = 3  # times their median: only then is a question asked again
IN_A_URL = "%/:=&?+!$,;'@()*[]~"  # characters that a page's URL may have beside letters and digits
# RFC 9211 has Cache-Status; before it, nginx, Varnish, Squid and the networks of caches were given names of their own.
CACHE_SAYS = re.compile(r"(?:cf-|x-(?:[a-z]+-)*)?cache(?:-status)?")
KEPT = re.compile(r"(?i)(?:^|[;,]\s*|(?:^|\s)tcp_(?:mem_)?)(?:hit|stale|updating)\b(?!-)")
PLACES = ("{address}", "{vm}")  # what a source's URL may contain


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted of an answer: bytes, and values of JSON, which take more memory than their bytes."""

    size: int
    values: int


SMALL = Limits(1 << 20, 20_000)  # about one thing, or from a server in a VM; a usual answer has a few kB
WHOLE_MODEL = Limits(8 << 20, 150_000)  # a finished model with its output, a grid or a leaderboard
LARGE = Limits(16 << 20, 2_000_000)  # lists of a server that the operator named


class TooLong(http.client.HTTPException):
    """The server's answer is longer than what is accepted of it."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"its answer is larger than {max_bytes >> 20} MiB")


class TooMany(TooLong):
    """The server's answer has more values than what is accepted of it."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits.size)
        self.args = (f"its answer has more than {limits.values} values",)


class Cached(http.client.HTTPException):
    """A cache answered for the server, which may have stood still or be gone (RFC 9111, 5.1)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address; ``url`` never contains credentials, nor the ``query`` of a page, which may be one."""

    address: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    prefix: str = ""  # context path, ``/h2o``
    query: str = field(default="", repr=False)  # of a page: what is asked for with its path

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

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer must not bring into a report, in the forms in which servers repeat it."""
        if self.authorization is None:
            return ()
        return written_forms((self.token or "", self.password or "", self.authorization.partition(" ")[2]))

    def hide(self, said: str) -> str:
        """A text of the server without what it repeats of the login."""
        return str(without_repeated(said, self.secrets))


class UnusableAnswer(Exception):
    """The server answered, but not the question; the text is a sentence why."""


class Absent(UnusableAnswer):
    """The server answered that it does not have what was asked for."""


class UnusableAddress(Exception):
    """A VM's address or name does not give a URL; the operator's option is not wrong."""


def url_for(template: str, address: str, vm_name: str) -> str:
    """A source's URL for a VM. Raises UnusableAddress if the VM's address or name does not give a URL."""
    if not any(place in template for place in PLACES):
        return template
    host = f"[{address}]" if ":" in address else address
    url = template.replace("{address}", host).replace("{vm}", quoted(vm_name))
    names_server = "{vm}" in server_in(template)
    try:
        parts = urlsplit(url)
        usable = is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if usable and names_server and is_number(parts.hostname or ""):
        raise UnusableAddress(f"{without_secrets(url)}: the name of a VM must not be an address")
    if not usable or ("{vm}" in template and vm_name in (".", "..")):  # which are folders in a path
        raise UnusableAddress(f"{without_secrets(url)} is not the URL of a server")
    return url


def server_in(template: str) -> str:
    """The part of a source's URL that says which server is asked."""
    return template.partition("://")[2].partition("/")[0]


def check_places(url: str, option: str) -> None:
    """Raise InvalidInput if a source's URL has other braces than those of ``PLACES``.

    The query of a federation has a selector in braces, ``?match[]={job="x"}``.
    """
    rest = url
    for place in PLACES:
        rest = rest.replace(place, "")
    before, _mark, query = rest.partition("?")
    if "{" in before or "}" in before or re.search(r"\{[\w.\[\]!:]*\}", query):
        raise InvalidInput(
            f"{option} has braces that mean nothing",
            hint="Use {address} for the address of a VM and {vm} for its name, and no other braces",
            option="experiments",
        )


def address_in(template: str, url: str) -> str | None:
    """The VM's address in a URL that was made from a source's template; "" if the template has a fixed server.

    ``None`` if the URL cannot be from that template.
    """
    server = re.escape(re.sub(r":\d+$", "", urlsplit(template).netloc).lower())
    pattern = server.replace(re.escape("{address}"), "(?P<address>.+)", 1)
    try:
        match = re.fullmatch(pattern, urlsplit(url).hostname or "")
    except ValueError:
        return None
    return None if match is None else match.groupdict().get("address", "")


def server_of(url: str) -> tuple[str, int]:
    """Address and port in the URL of an experiment. Raises InvalidInput for a URL that no source made."""
    try:
        parts = urlsplit(url)
        address, port = parts.hostname, parts.port
    except ValueError:
        address, port = None, None
    if not address or not port or "@" in url:
        raise InvalidInput(
            f"An experiment has the URL {without_secrets(url)!r}, which is not that of a server",
            hint="Use the journal or the artifact as the run wrote it",
            option="experiments",
        )
    return address, port


def endpoint_of(url: str, settings: Mapping[str, Any], option: str, *, page: bool = False) -> Endpoint:
    """The endpoint of a URL and a source's settings. Raises InvalidInput if the URL is not valid.

    ``page``: the URL is that of one page. Its path and its query are asked as they are.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        (parts.hostname or "").encode("idna")
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname or "@" in parts.netloc or parts.fragment or (parts.query and not page):
        raise InvalidInput(
            f"{option} is {without_secrets(url)!r}, which is not the URL of a server",
            hint="Set it to a URL such as https://mlflow.example.com:5000, with credentials in username and password",
            option="experiments",
        )
    path, query = (quote(part, safe=IN_A_URL, errors="replace") for part in (parts.path, parts.query))
    return Endpoint(
        parts.hostname,
        port,
        tls_of(settings, option) if parts.scheme == "https" else None,
        settings.get("username"),
        settings.get("password"),
        settings.get("token"),
        path if page else path.rstrip("/"),
        query,
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
    """One keep-alive connection; no redirects are followed, no answer is larger than ``limits``.

    The whole answer must arrive within ``timeout`` seconds, so that a server that sends byte by byte cannot delay a run.
    Only a question that may wait through a freeze (``REQUEST_SECONDS``) waits as long as bytes arrive.

    With ``asks_again`` a question that waits is asked again on fresh connections, see :mod:`.questions`. This is for
    servers inside a VM. ``waits`` is what was learned while the last questions waited that were answered, and ``date`` is
    the clock of the VM in the last answer, if that shows it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout: float = REQUEST_SECONDS,
        limits: Limits = SMALL,
        accept: str = JSON,
        *,
        asks_again: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self._accept = accept
        self.waits: deque[Wait] = deque(maxlen=USUAL)
        self.date: float | None = None
        self._timeout = timeout
        self._limits = limits
        self._asks_again = asks_again
        self._address: Address | None = None  # where the server was reached
        self._kept: Line | None = None
        self._asking: Asking | None = None
        self._interrupted = False
        self._usual: deque[float] = deque(maxlen=USUAL)

    def __enter__(self) -> Self:
        """Connect at the first question."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self.close()

    def get(self, path: str) -> Answer:
        """GET a path below the prefix. Raises NO_ANSWER without a whole answer."""
        return self._ask("GET", path, None, self._whole)

    def options(self, path: str) -> Answer:
        """OPTIONS of a path below the prefix: status and headers alone. Raises like ``get``."""
        return self._ask("OPTIONS", path, None, self._whole)

    def search(self, path: str, query: Mapping[str, Any]) -> Answer:
        """POST a search, which changes nothing. Some servers accept searches only as POST."""
        return self._ask("POST", path, json.dumps(query).encode(), self._whole)

    def download(self, path: str, sink: Callable[[bytes], None]) -> Answer:
        """GET a path and pass its bytes to ``sink`` block by block if the status is 200; else like :meth:`get`."""

        def read(response: http.client.HTTPResponse) -> Answer:
            if response.status != 200:
                return self._whole(response)
            for block in blocks(response):
                sink(block)
            return Answer(response.status, self._headers_of(response), None)

        return self._ask("GET", path, None, read)

    def _ask(
        self, method: str, path: str, body: bytes | None, read: Callable[[http.client.HTTPResponse], Answer]
    ) -> Answer:
        try:
            asking = self._asking = self._begin(self._request(method, path, body))
            line = asking.first_answer()
            rest = Rest(line.socket, bytes(line.data), self._seconds_left(asking))
            response = http.client.HTTPResponse(rest, method=method)  # type: ignore[arg-type]
            response.begin()
            answer = read(response)
            _refuse_cached(answer.headers)
        except BaseException:
            self.close()
            raise
        wait = asking.learned(line)
        self.waits.append(wait)
        self.date = date_of(answer.headers) if self._asks_again else None
        self._usual.append(wait.received - wait.sent)
        self._asking, self._kept = None, line
        if response.will_close:
            self._drop()
        return answer

    def _begin(self, request: bytes) -> Asking:
        """The question on the kept connection, or on a new one."""
        if self._kept is not None:
            self._kept.ask_next()
        else:
            self._kept = self._fresh()
        fresh = self._fresh if self._asks_again else None
        until = self._kept.begun + self._timeout
        return Asking(request, self._kept, fresh, self._patience(), until, self._limits.size, lambda: self._interrupted)

    def _fresh(self) -> Line:
        if self._address is None:
            self._address = address_of(self.endpoint, self._timeout)
        return Line(self._address, self.endpoint.tls, self.endpoint.address)

    def _patience(self) -> float:
        return max(PATIENCE, SLOW * median(self._usual)) if self._usual else PATIENCE

    def _seconds_left(self, asking: Asking) -> Callable[[], float]:
        """The time that the rest of an answer has: as a whole, or for each part after a question that may wait."""
        if self._timeout < REQUEST_SECONDS:
            return lambda: asking.until - time.monotonic()
        return lambda: self._timeout

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        """The request as it is sent."""
        written = _Written(self.endpoint.address, self.endpoint.port)
        if self.endpoint.tls is not None:
            written.default_port = http.client.HTTPS_PORT
        try:
            written.request(method, self._target(path), body, self._headers(body is not None))
        except UnicodeError as error:
            raise http.client.InvalidURL("its URL has characters that a URL cannot have") from error
        return bytes(written.data)

    def _target(self, path: str) -> str:
        query = self.endpoint.query
        return f"{self.endpoint.prefix}{path}{f'?{query}' if query else ''}"

    def _whole(self, response: http.client.HTTPResponse) -> Answer:
        read, size = [], 0
        for block in blocks(response):
            read.append(block)
            size += len(block)
            if size > self._limits.size:
                raise TooLong(self._limits.size)
        data = b"".join(read)
        read.clear()
        if values_in(data) > self._limits.values:
            raise TooMany(self._limits)
        return Answer(response.status, self._headers_of(response), self._parsed(data), data)

    def _parsed(self, data: bytes) -> Any:
        secrets, body = self.endpoint.secrets, parsed(data)
        return without_repeated(body, secrets) if any(secret.encode() in data for secret in secrets) else body

    def _headers_of(self, response: http.client.HTTPResponse) -> dict[str, str]:
        """The headers, with names in lower case."""
        return {name.lower(): text(self.endpoint.hide(value)) for name, value in response.getheaders()}

    def _headers(self, has_body: bool = False) -> dict[str, str]:
        # Not a browser's name: servers with form authentication answer browsers with a login page.
        headers = {"User-Agent": "liveml.vsphere", "Accept": self._accept, "Cache-Control": "no-cache"}
        if self.endpoint.authorization is not None:
            headers["Authorization"] = self.endpoint.authorization
        if has_body:
            headers["Content-Type"] = "application/json"
        return headers

    def interrupt(self) -> None:
        """Wake a thread that waits for an answer; called from another thread. Then no further question is answered."""
        self._interrupted = True
        asking = self._asking
        for line in asking.lines if asking is not None else ():
            with suppress(OSError):
                socket.socket.shutdown(line.socket, socket.SHUT_RDWR)  # not that of TLS, which another thread uses

    def close(self) -> None:
        """Drop the connection; the next request looks the server up and opens a new one."""
        self._drop()
        self._address = None

    def _drop(self) -> None:
        """Drop the connection to a server that stays where it is: its name is not looked up for each answer."""
        if self._asking is not None:
            self._asking.close()
        if self._kept is not None:
            self._kept.close()
        self._asking = self._kept = None


def _refuse_cached(headers: Mapping[str, str]) -> None:
    """Raise Cached for an answer that a cache has kept for a second or longer. Some caches add an age of 0 to fresh answers.

    Others, such as nginx, add no age: those that say so are recognised by their own words.
    """
    age = number(headers.get("age"))
    if age:
        raise Cached(
            f"a cache answered with what its server said {age:.0f} s before; give the address of the server itself"
        )
    if any(CACHE_SAYS.fullmatch(name) and KEPT.search(value) for name, value in headers.items()):
        raise Cached("a cache answered for its server; give the address of the server itself")


class _Written(http.client.HTTPConnection):
    """A request in bytes, as http.client writes and checks it."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.data = bytearray()

    def send(self, data: Any) -> None:
        """Keep what would be sent."""
        self.data += data


def addresses_of(server: str) -> list[str]:
    """The IP addresses of a server; none if its name is not known."""
    try:
        found = socket.getaddrinfo(server, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [str(each[4][0]).partition("%")[0] for each in found]


def address_of(endpoint: Endpoint, timeout: float) -> Address:
    """Where a server is reached. Raises OSError. If its name has several addresses, it is the first that answers."""
    try:
        found = socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    except (ValueError, OverflowError) as error:  # a label is empty or too long, or a port is not one
        raise socket.gaierror(socket.EAI_NONAME, "the name cannot be looked up") from error
    if len(found) == 1:
        return found[0][0], found[0][4]
    with socket.create_connection((endpoint.address, endpoint.port), timeout) as connection:
        return connection.family, connection.getpeername()


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
    return text(str(error)) if isinstance(error, (TooLong, Cached)) else f"no answer ({type(error).__name__})"


UNANSWERED: Mapping[type[Exception], str] = {
    ConnectionRefusedError: "no answer: no server listens there",
    TimeoutError: "no answer in time",
    socket.gaierror: "no answer: the server's name is not known",
    http.client.InvalidURL: "not asked: its URL has characters that a URL cannot have",
    http.client.RemoteDisconnected: "no answer: the server closed the connection",
    http.client.BadStatusLine: "no answer: the server does not speak HTTP",
}


def failed_sample(error: Exception, sent: float) -> Sample:
    """The sample of an unanswered question: refused (no server listens), invalid (somebody else answered) or silent."""
    received = time.monotonic()
    if isinstance(error, TimeoutError):
        return Sample(sent, received, "silent", detail="no answer in time")
    if isinstance(error, (ConnectionRefusedError, *GONE)):
        return Sample(sent, received, "refused", detail=type(error).__name__)
    if isinstance(error, Cached):
        return Sample(sent, received, "invalid", detail=text(str(error)))
    return Sample(sent, received, "silent", detail=text(f"{type(error).__name__} {error}"))
