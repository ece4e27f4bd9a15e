# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers on this machine that answer what a test says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answering(BaseHTTPRequestHandler):
    """A handler that keeps the connection, sends bodies by ``answer`` and logs nothing."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body go together, else the client waits for a delayed acknowledgement

    def answer(self, status: int, body: object = b"", **headers: str) -> None:
        """Send bytes and text as they are, anything else as JSON."""
        data = body.encode() if isinstance(body, str) else body
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def body(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def json(self) -> Any:
        """The body of the request as JSON."""
        return json.loads(self.body())

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """The port at which ``handler`` answers, for as long as the context lasts; 0 is any port."""
    server = ThreadingHTTPServer((address, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def answering(answer: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """The URL of a server that answers a path with a status and JSON, or with text if it is given some."""

    class Handler(Answering):
        def do_GET(self) -> None:
            self.body()
            self.answer(*answer(self.path))

        do_POST = do_GET

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def routing(prefix: str, port: int) -> Iterator[str]:
    """The URL of a proxy that passes on to a port of this machine only what is below a prefix."""

    class Handler(Answering):
        def do_GET(self) -> None:
            data = self.body()
            if not self.path.startswith(f"{prefix}/"):
                self.answer(404, "<title>404 Not Found</title>")
                return
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as behind:
                behind.request(self.command, self.path, data, {"Content-Type": self.headers.get("Content-Type", "")})
                answer = behind.getresponse()
                kind = answer.headers.get("Content-Type", "text/html")
                self.answer(answer.status, answer.read(), **{"Content-Type": kind})

        do_POST = do_GET

    with serving(Handler) as own:
        yield f"http://127.0.0.1:{own}"


@contextmanager
def sending(answer: bytes) -> Iterator[int]:
    """The port of a server that answers every request with these bytes; without bytes it never answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    sockets = [listening]

    def accept() -> None:
        while True:
            try:
                connection, _peer = listening.accept()
            except OSError:
                return
            sockets.append(connection)
            with suppress(OSError):
                connection.recv(65536)
                if answer:
                    connection.sendall(answer)
                    connection.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        for opened in sockets:
            opened.close()
