# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network that loses packets while a guest is stopped, as at the switch-over of a VM.

A guest in a network namespace of its own is reached over a bridge. SIGSTOP alone loses nothing, because the kernel still
acknowledges. So the guest's port is taken off the bridge for that time.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Self

from lab.errors import LabError
from lab.live.bridge import BITS, BRIDGE, GUEST, Bridge, ip

PORT = "vm0"


class LossyNetwork:
    """Two network namespaces while the context is open: the controller's, which has the bridge, and ``guest``."""

    def __init__(self) -> None:
        self.controller = Bridge()
        self.guest = f"lossy-{secrets.token_hex(3)}"

    def __enter__(self) -> Self:
        """Make the namespaces and the bridge. Raises LabError if that is not allowed."""
        self.controller.__enter__()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove everything."""
        self.controller.__exit__()
        with suppress(LabError):
            ip("netns", "del", self.guest)

    def _make(self) -> None:
        ip("netns", "add", self.guest)
        ip("-n", self.guest, "link", "set", "lo", "up")
        here = self.controller
        here.ip("link", "add", PORT, "type", "veth", "peer", "name", "vm1")
        here.add_port(PORT)
        here.ip("link", "set", "vm1", "netns", self.guest)
        ip("-n", self.guest, "addr", "add", f"{GUEST}/{BITS}", "dev", "vm1")
        ip("-n", self.guest, "link", "set", "vm1", "up")


def cut() -> None:
    """Lose all packets to and from the guest; called in the controller's namespace."""
    ip("link", "set", PORT, "nomaster")


def heal() -> None:
    """Let packets through again."""
    ip("link", "set", PORT, "master", BRIDGE)
