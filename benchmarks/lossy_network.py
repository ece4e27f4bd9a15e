# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network that loses packets while a guest is stopped, as at the switch-over of a VM.

A guest in a network namespace of its own is reached over a bridge. SIGSTOP alone loses nothing, because the kernel still
acknowledges. So the guest's port is taken off the bridge for that time. The bridge has a MAC address of its own and
another live port; otherwise the controller's kernel notices the cut, and sends again at once after it.

It needs root and ``ip`` of iproute2.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from typing import Self

from lab.errors import LabError

GUEST, CONTROLLER = "10.99.0.2", "10.99.0.1"
BRIDGE_MAC = "52:54:00:4c:51:fe"
PORT = "vm0"


class LossyNetwork:
    """Two network namespaces while the context is open: ``controller`` and ``guest``."""

    def __init__(self) -> None:
        token = secrets.token_hex(3)
        self.controller, self.guest = f"lossy-c-{token}", f"lossy-g-{token}"

    def __enter__(self) -> Self:
        """Make the namespaces and the bridge. Raises LabError if that is not allowed."""
        why_not = missing()
        if why_not:
            raise LabError(f"a network that loses packets cannot be made: {why_not}")
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove everything."""
        for name in (self.controller, self.guest):
            with suppress(LabError):
                ip("netns", "del", name)

    def _make(self) -> None:
        for name in (self.controller, self.guest):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        here = ("-n", self.controller)
        ip(*here, "link", "add", "br0", "address", BRIDGE_MAC, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        ip(*here, "addr", "add", f"{CONTROLLER}/24", "dev", "br0")
        ip(*here, "link", "set", "br0", "up")
        for port, peer in (("keep0", "keep1"), (PORT, "vm1")):
            ip(*here, "link", "add", port, "type", "veth", "peer", "name", peer)
            ip(*here, "link", "set", port, "master", "br0", "up")
        ip(*here, "link", "set", "keep1", "up")
        ip(*here, "link", "set", "vm1", "netns", self.guest)
        ip("-n", self.guest, "addr", "add", f"{GUEST}/24", "dev", "vm1")
        ip("-n", self.guest, "link", "set", "vm1", "up")


def missing() -> str:
    """What is missing to make such a network, "" if nothing is."""
    if shutil.which("ip") is None:
        return "the program ip (package iproute2) is not installed"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        name = f"lossy-{secrets.token_hex(3)}"
        ip("netns", "add", name)
        ip("netns", "del", name)
    except LabError as error:
        return str(error)
    return ""


def cut() -> None:
    """Lose all packets to and from the guest; called in the controller's namespace."""
    ip("link", "set", PORT, "nomaster")


def heal() -> None:
    """Let packets through again."""
    ip("link", "set", PORT, "master", "br0")


def ip(*words: str) -> None:
    """Run ``ip``. Raises LabError."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
