# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's real H2O-3 servers without its vCenter: started, frozen like a VM, killed and restarted."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.addresses import claim_addresses, is_free
from lab.data import flights_csv
from lab.errors import LabError
from lab.guests import Launcher, Server, h2o_command
from lab.h2o import H2O
from lab.h2o_jobs import await_server, import_flights
from lab.paths import ROOT, cache_dir
from lab.processes import PROC, kill_marked, start_detached
from lab.toolchain import find_java, h2o_jar
from lab.topology import Guest

STOP_LIMIT = 60.0  # seconds; a niced server on a busy machine has little time to stop its threads
FIRST_CLUSTER_PORT = 64001  # above Linux's ephemeral ports and the second ports of single servers
STOPPED = frozenset("TtZX")
# Stops the servers even if this process is killed, because its standard input ends then.
REAPER = """
import pathlib, shutil, sys
sys.stdin.buffer.read()
from lab.processes import kill_marked
state = pathlib.Path(sys.argv[1])
kill_marked(state)
shutil.rmtree(state, ignore_errors=True)
"""


@dataclass(frozen=True)
class Freeze:
    """One true stop, in seconds of the monotonic clock.

    It lasts from ``began``, when every thread was seen stopped, to ``ended``, just before SIGCONT. SIGSTOP was sent at
    ``asked``; SIGCONT was sent before ``resumed``.
    """

    asked: float
    began: float
    ended: float
    resumed: float

    @property
    def seconds(self) -> float:
        """The minimum length."""
        return self.ended - self.began

    @property
    def doubt(self) -> float:
        """How much longer it may have been: a busy machine stops threads one by one and delays this process."""
        return self.resumed - self.asked - self.seconds


def stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped, from the third field of proc(5) stat."""
    for task in (PROC / str(pid) / "task").iterdir():
        with suppress(OSError):
            if (task / "stat").read_text().rpartition(")")[2].split()[0] not in STOPPED:
                return False
    return True


def freeze(pid: int, seconds: float) -> Freeze:
    """Stop all threads of a process for ``seconds``, as a freeze stops a guest.

    Raises:
        LabError: the threads have not stopped in time.
    """
    end = time.monotonic() + STOP_LIMIT
    asked = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    # A busy machine stops a thread only when it schedules it next. The freeze begins when all have stopped.
    while not stopped(pid):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGCONT)
            raise LabError(f"process {pid} does not stop")
        time.sleep(0.0005)
    began = time.monotonic()
    time.sleep(seconds)
    # Read the clock before the signal: on a busy machine the server may answer before this thread runs again.
    ended = time.monotonic()
    os.kill(pid, signal.SIGCONT)
    return Freeze(asked, began, ended, time.monotonic())


@dataclass
class Node:
    """A running server."""

    server: Server
    command: list[str]
    state: Path
    nice: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the process, or start it again after ``kill`` with the same name and port."""
        self.process = start_detached(self.command, self.state, self.server.log, ())
        os.setpriority(os.PRIO_PGRP, self.process.pid, self.nice)

    def ready(self) -> H2O:
        """Wait until it answers. Raises LabError if it ended or takes too long."""
        return await_server(self.server, self._check)

    def _check(self, server: Server) -> None:
        if self.process.poll() is not None:
            raise LabError(f"the H2O-3 server of {server.vm} ended with exit code {self.process.returncode}")

    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def freeze(self, seconds: float) -> Freeze:
        """See :func:`freeze`."""
        return freeze(self.process.pid, seconds)

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, kw_only=True)
class ClusterServer(Server):
    """A node of a cluster. Its address must belong to an interface, because H2O requires that for the second port."""

    port: int

    @property
    def url(self) -> str:
        """Base URL of its REST API."""
        return f"http://{self.address}:{self.port}"


def with_options(command: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """A command line with other values for some options."""
    return [given.get(before, part) for before, part in itertools.pairwise(["", *command])]


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1 whose next port is free, too."""
    found: list[int] = []
    for port in range(FIRST_CLUSTER_PORT, 65000, 2):
        if is_free("127.0.0.1", port) and is_free("127.0.0.1", port + 1):
            found.append(port)
        if len(found) == count:
            return found
    raise LabError("127.0.0.1 has no two free ports in a row")


class Fleet:
    """Real servers for the time of its context, ``size`` at most."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> Self:
        """Claim addresses, find Java and H2O, unpack the flights."""
        self._launcher = Launcher(find_java(), h2o_jar(), secrets.token_hex(4))
        self.csv = flights_csv(cache_dir())
        self._claim = claim_addresses(list(range(1, self._size + 1)))
        self._state = Path(tempfile.mkdtemp(prefix="liveml-bench-"))
        self._reaper = subprocess.Popen(
            [sys.executable, "-c", REAPER, str(self._state)], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
        )
        self._nodes = 0
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop all servers and remove their files."""
        kill_marked(self._state)
        shutil.rmtree(self._state, ignore_errors=True)
        self._reaper.communicate()
        self._claim.close()

    def folder(self, name: str) -> Path:
        """A new empty folder for samples."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._state))

    def start(self, name: str, *, heap_mb: int = 1024, threads: int = 1, nice: int = 10) -> Node:
        """Start a server that is a single-node cluster, without waiting for it."""
        self._nodes += 1
        address = self._claim.address(self._nodes)
        server = Server(name, address, self._folder(address), Guest(heap_mb, threads, nice, ()), vcenter="")
        server.prepare()
        return self._started(server, h2o_command(self._launcher, server))

    def start_cluster(
        self, names: Sequence[str], *, heap_mb: int = 1024, threads: int = 1, nice: int = 10
    ) -> list[Node]:
        """Start the nodes of one cluster on different ports of 127.0.0.1, without waiting for them."""
        spec, ports = Guest(heap_mb, threads, nice, ()), free_ports(len(names))
        nodes = []
        for name, port in zip(names, ports, strict=True):
            server = ClusterServer(name, "127.0.0.1", self._folder(f"port-{port}"), spec, vcenter="", port=port)
            server.prepare()
            server.flatfile.write_text("".join(f"127.0.0.1:{each}\n" for each in ports), encoding="ascii")
            given = {"-name": f"{names[0]}-{self._launcher.token}", "-port": str(port), "-port_offset": "1"}
            nodes.append(self._started(server, with_options(h2o_command(self._launcher, server), given)))
        return nodes

    def _folder(self, name: str) -> Path:
        return self._state / "guests" / name

    def _started(self, server: Server, command: list[str]) -> Node:
        node = Node(server, command, self._state, server.spec.nice)
        node.start()
        return node

    def import_flights(self, h2o: H2O) -> None:
        """See :func:`lab.h2o_jobs.import_flights`."""
        import_flights(h2o, self.csv)
