# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts many playbooks, each in a process of its own, without the half second in which Python imports Ansible each time.

The server, ``playbook_server``, forks for each playbook.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

COMPILED = Path(__file__).parent / "compiled"  # for Python, see there
MOST_BYTES = 1 << 20  # of one request: arguments and environment


class Playbook:
    """A playbook that a server has started. Its methods are those of ``subprocess.Popen``."""

    def __init__(self, status: int, output: int | None = None) -> None:
        self._lock = threading.Lock()
        self._output, self._said = output, b""
        self._status = os.fdopen(status, "r", encoding="ascii")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self._ended(max(0.0, min(0.1, deadline - time.monotonic())))) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("ansible-playbook", timeout)
        return code

    def communicate(self, timeout: float) -> str:
        """All output until every process has closed it, and the exit code is known. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while self._output is not None:
            if not select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise subprocess.TimeoutExpired("ansible-playbook", timeout)
            part = os.read(self._output, 65536)
            self._said += part
            if not part:
                os.close(self._output)
                self._output = None
        self.wait(max(0.0, deadline - time.monotonic()))
        return self._said.decode(errors="replace")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the playbook has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _ended(self, seconds: float) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
                self.returncode = int(self._status.readline())
                self._status.close()
            return self.returncode


class PlaybookServer:
    """The process that forks playbooks, from the folder and with the environment that they share."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._compiled = tempfile.TemporaryDirectory(prefix="liveml-compiled-")
        path = os.pathsep.join(filter(None, (str(COMPILED), environment.get("PYTHONPATH", ""))))
        self._environment = {**environment, "PYTHONPATH": path, "LIVEML_VSPHERE_COMPILED": self._compiled.name}
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.playbook_server", str(theirs.fileno())], cwd=folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: IO[str] | None = None
    ) -> Playbook:
        """Start ``ansible-playbook`` with these arguments. It writes to ``output``, or to what ``communicate`` reads."""
        request = {"arguments": [*arguments], "environment": {**self._environment, **environment}}
        status, told = os.pipe()
        said, saying = os.pipe() if output is None else (None, os.dup(output.fileno()))
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [saying, told])
        finally:
            os.close(told)
            os.close(saying)
        return Playbook(status, said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End the server, and not the playbooks."""
        self._socket.close()
        self._process.wait()
        self._compiled.cleanup()
