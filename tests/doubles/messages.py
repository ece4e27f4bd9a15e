# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where messages arrive: a mail server, Slack behind a proxy, a webhook; each keeps what it gets."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import socketserver
import ssl
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.builders.certificates import pem
from tests.doubles.servers import Answering


class Mail(socketserver.StreamRequestHandler):
    """A mail server that keeps what it gets."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # TLS is tried first
            self.talk()

    def talk(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        to = ""
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"RCPT":
                to = line.decode().split("<")[1].split(">")[0]
            if verb == b"DATA":
                self.wfile.write(b"354 send the mail\r\n")
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.post.mail.append((to, email.message_from_bytes(data, policy=email.policy.default)))
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
            if verb == b"QUIT":
                return


class Http(Answering):
    """A web server, and the proxy at which requests to Slack end."""

    protocol_version = "HTTP/1.0"

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.server.post.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.handle_one_request()

    def do_POST(self) -> None:
        self.server.post.http.append((self.path, dict(self.headers), json.loads(self.body())))
        self.answer(200, "ok")


def content(message: Any) -> str:
    return str(message.get_body().get_content())


class Post:
    """What arrived: mail by its recipient, and the bodies of HTTP requests by path."""

    def __init__(self, folder: Path) -> None:
        self.mail: list[tuple[str, Any]] = []
        self.http: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(*pem(folder, "slack", "127.0.0.1"))
        self.servers = [
            socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail),
            ThreadingHTTPServer(("127.0.0.1", 0), Http),
        ]
        for server in self.servers:
            server.post = self
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.smtp, self.web = (server.server_address[1] for server in self.servers)

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def texts(self) -> dict[str, str]:
        return {to: content(message) for to, message in self.mail}


class Hook:
    """A webhook that keeps the bodies it gets; ``notify`` is the hook that reaches it."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        hook = self

        class Handler(Answering):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.body()))
                self.answer(204)

        self.handler = Handler
        self.port = 0

    @property
    def notify(self) -> list[dict[str, Any]]:
        return [{"kind": "webhook", "url": f"http://127.0.0.1:{self.port}/", "when": ["stall", "after"]}]

    def taken(self) -> list[dict[str, Any]]:
        """What came since the last time."""
        taken, self.got[:] = list(self.got), []
        return taken
