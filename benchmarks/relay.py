# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network that can be cut: a TCP relay in front of a server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Relay:
    """Relays bytes for the time of its context. ``cut`` drops or blocks every connection, ``heal`` continues."""

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Start to accept connections."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Close all connections."""
        self._listener.close()
        self._flows.set()
        self._drop()

    def cut(self, *, silently: bool) -> None:
        """Let no byte through. ``silently`` keeps connections open; otherwise all are reset, new ones included."""
        if silently:
            self._flows.clear()
        else:
            self._refuses = True
            self._drop()

    def heal(self) -> None:
        """Let bytes through again."""
        self._refuses = False
        self._flows.set()

    def _drop(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = None if self._refuses else self._connected()
        if server is None:
            client.close()
            return
        self._open += [client, server]
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _connected(self) -> socket.socket | None:
        """A connection to the server; ``None`` if nobody listens there."""
        try:
            return socket.create_connection(self._target)
        except OSError:
            return None

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
