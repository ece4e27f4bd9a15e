# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network namespace with a bridge. A guest is reached over it as over a physical switch, by the kernel's own TCP.

The bridge learns on which port a guest is. A VM that moves is announced by its hypervisor at its new port (RARP). What was
sent to the old port meanwhile is lost, and its sender sends it again. The bridge has a MAC address of its own and one port
that is always up; otherwise its kernel would notice that a guest's port comes or goes, and send again at once.

It needs root and ``ip`` of iproute2.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from lab.errors import LabError

GUEST, CONTROLLER, BITS = "10.99.0.2", "10.99.0.1", 24
BRIDGE = "br0"
BRIDGE_MAC = "52:54:00:4c:51:fe"
TAPS = ("tap0", "tap1")  # QEMU of the source has one, QEMU of the target the other
TUN = Path("/dev/net/tun")
MAX_END_SECONDS = 60.0


class Bridge:
    """A namespace with a bridge while the context is open. Programs in it have the address ``CONTROLLER``."""

    def __init__(self, taps: Sequence[str] = ()) -> None:
        self.namespace = f"liveml-{secrets.token_hex(3)}"
        self._taps = taps

    def __enter__(self) -> Self:
        """Make the namespace. Raises LabError if that is not allowed."""
        why_not = missing(taps=bool(self._taps))
        if why_not:
            raise LabError(f"a network namespace with a bridge cannot be made: {why_not}")
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the namespace's name; the kernel removes the rest with the last process in it."""
        with suppress(LabError):
            ip("netns", "del", self.namespace)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to write before a command that is to run in the namespace."""
        return ("ip", "netns", "exec", self.namespace)

    def ip(self, *words: str) -> None:
        """Run ``ip`` in the namespace. Raises LabError."""
        ip("-n", self.namespace, *words)

    def add_port(self, name: str) -> None:
        """Connect a network device of the namespace to the bridge."""
        self.ip("link", "set", name, "master", BRIDGE, "up")

    def _make(self) -> None:
        ip("netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")
        kind = ("type", "bridge", "stp_state", "0", "forward_delay", "0")
        self.ip("link", "add", BRIDGE, "address", BRIDGE_MAC, *kind)
        self.ip("addr", "add", f"{CONTROLLER}/{BITS}", "dev", BRIDGE)
        self.ip("link", "set", BRIDGE, "up")
        self.ip("link", "add", "keep0", "type", "veth", "peer", "name", "keep1")
        self.add_port("keep0")
        self.ip("link", "set", "keep1", "up")
        for name in self._taps:
            self.ip("tuntap", "add", "dev", name, "mode", "tap")
            self.add_port(name)


def missing(*, taps: bool = False) -> str:
    """What is missing to make such a namespace, "" if nothing is."""
    if shutil.which("ip") is None:
        return "the program ip (package iproute2) is not installed"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if taps and not TUN.exists():
        return f"this machine has no {TUN}"
    try:
        name = f"liveml-{secrets.token_hex(3)}"
        ip("netns", "add", name)
        ip("netns", "del", name)
    except LabError as error:
        return str(error)
    return ""


def check_taps() -> None:
    """Check that this process is in a namespace of :func:`run_inside`.

    Raises:
        LabError: it is not; with the command that helps.
    """
    present = {name for _number, name in socket.if_nameindex()}
    if not {BRIDGE, *TAPS} <= present:
        raise LabError(
            "a real VM with `network: bridge` needs a network namespace with a bridge, and the lab is not in one:"
            " run it, and all that asks its VMs, as root in `python -m lab bridge COMMAND`"
        )


def run_inside(command: Sequence[str]) -> int:
    """Run a command in a namespace with a bridge and taps, and return its exit code.

    Raises:
        LabError: the namespace cannot be made.
    """
    with Bridge(TAPS) as bridge:
        process = subprocess.Popen([*bridge.prefix, *command])
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code  # ended by a signal
        except BaseException:
            end(process)
            raise


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process: first ask it to, so that it can clean up."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(MAX_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ip(*words: str) -> None:
    """Run ``ip``. Raises LabError."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
