# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One TCP connection to a server. It connects, shakes hands and asks without blocking.

So several can be open at once. TCP_INFO (tcp(7), Linux only) reports what the kernel knows: whether something was sent
again, and when the answer arrived, however late this process reads it.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import re
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BLOCK = 1 << 16
SEND_SECONDS = 10.0  # a request is short; only a server that reads nothing makes it wait
_LAYOUT = struct.Struct("=8B24I")  # struct tcp_info of linux/tcp.h, up to tcpi_total_retrans
_LAST_DATA_RECV, _RTT, _RTTVAR, _TOTAL_RETRANS = 8 + 11, 8 + 15, 8 + 16, 8 + 23

MAX_TRAILERS = 4096  # bytes at the end of an answer in which its last chunk is looked for
LAST_CHUNK = re.compile(rb"\r\n0+[ \t]*(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n\Z")  # RFC 9112, 7.1: and its trailers

Address = tuple[socket.AddressFamily, Any]  # and the address as the socket module writes it


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows about a connection: segments that it sent again, and times in seconds."""

    resent: int
    round_trip: float  # smoothed, with four times its variation
    since_data: float  # since the last data arrived; a multiple of the kernel's tick of 1 to 10 ms


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """TCP_INFO of a socket; ``None`` if the operating system does not report it in Linux's layout."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
        fields = _LAYOUT.unpack(told)
    except (OSError, struct.error):
        return None
    round_trip = (fields[_RTT] + 4 * fields[_RTTVAR]) / 1e6
    return TcpInfo(fields[_TOTAL_RETRANS], round_trip, fields[_LAST_DATA_RECV] / 1e3)


class Line:
    """One connection. ``begun``, ``connected``, ``asked`` and ``heard`` are monotonic times of its last question's steps."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None, host: str) -> None:
        self.begun = time.monotonic()
        self.connected: float | None = None
        self.asked: float | None = None
        self.heard: float | None = None  # when its first byte was read
        self.data = bytearray()  # the answer, as far as it was read
        self.ended = False  # the server has closed the connection
        self.wants_write = True
        self._tls, self._host = tls, host
        family, place = address
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _check(self.socket.connect_ex(place))
        except BaseException:
            self.socket.close()
            raise

    def ask_next(self) -> None:
        """Prepare an idle connection for its next question."""
        self.begun, self.asked, self.heard = time.monotonic(), None, None
        self.data = bytearray()
        self.wants_write = True
        self.socket.setblocking(False)

    def advance(self, request: bytes) -> bool:
        """Continue without waiting, once the socket is ready: whether more of the answer is in ``data``.

        Raises OSError or RemoteDisconnected if the connection is refused or lost.
        """
        if self.connected is None:
            _check(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self.connected = time.monotonic()
        try:
            self._shake()
            if self.asked is None:
                self._send(request)
            part = self.socket.recv(BLOCK)
        except ssl.SSLWantWriteError:
            self.wants_write = True
            return False
        except (BlockingIOError, ssl.SSLWantReadError):
            self.wants_write = False
            return False
        if not part and not self.data:
            raise http.client.RemoteDisconnected("the server closed the connection without an answer")
        self.heard = self.heard or time.monotonic()
        self.data += part
        self.ended = not part
        return True

    def _shake(self) -> None:
        if self._tls is not None:  # only a connected socket can be wrapped
            self.socket = self._tls.wrap_socket(self.socket, server_hostname=self._host, do_handshake_on_connect=False)
            self._tls = None
        if isinstance(self.socket, ssl.SSLSocket) and self.asked is None:
            self.socket.do_handshake()  # does nothing once it is done

    def _send(self, request: bytes) -> None:
        self.socket.settimeout(SEND_SECONDS)
        try:
            self.socket.sendall(request)
        finally:
            self.socket.setblocking(False)
        self.asked = time.monotonic()

    def close(self) -> None:
        """Close the connection. Without a reset: servers exist that end when one comes before they accept."""
        self.socket.close()


def _check(code: int) -> None:
    """Raise the OSError of a code, unless it means that the connection is being made."""
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))


def is_whole(data: bytes | bytearray) -> bool:
    """Whether an HTTP answer seems to be complete. Without a length, only the end of the connection shows it.

    It copies the head alone: an exposition may have megabytes, and is looked at after each part.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    status, _line, names = bytes(data[:end]).partition(b"\r\n")
    headers = http.client.parse_headers(io.BytesIO(names + b"\r\n\r\n"))
    length = headers.get("Content-Length", "")
    if length.isdecimal():
        return len(data) - end - 4 >= int(length)
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return LAST_CHUNK.search(data, max(end + 2, len(data) - MAX_TRAILERS)) is not None
    return status.split(b" ", 2)[1:2] in ([b"204"], [b"304"])


class Rest(io.RawIOBase):
    """The bytes of an answer: first those that were read, then the rest. Raises TimeoutError."""

    def __init__(self, sock: socket.socket, first: bytes, seconds_left: Callable[[], float]) -> None:
        super().__init__()
        self._socket = sock
        self._first = memoryview(first)
        self._seconds_left = seconds_left

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See io.RawIOBase."""
        if self._first:
            size = min(len(buffer), len(self._first))
            buffer[:size], self._first = self._first[:size], self._first[size:]
            return size
        left = self._seconds_left()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client wants of a socket."""
        return io.BufferedReader(self)
