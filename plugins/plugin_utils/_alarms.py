# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Messages about experiments that were interrupted, while the run is still under way.

A mail server may take long to answer, so a process of its own sends them. One message is about all experiments that were
interrupted while the last one was on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import (
    HARMED,
    About,
    Hook,
    Message,
    messages,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    Entry,
    RunResumed,
    RunStarted,
    VerdictReached,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._apart import Apart

PATIENCE_SECONDS = 60.0  # after the run; the messages after the run say what was not sent by then

Send = Callable[[Sequence[Message]], "list[str]"]  # returns for each message why it was not sent, "" if it was


class Alarms:
    """Hears the events of a run, and sends messages. ``reported`` says which ones were sent."""

    def __init__(self, send: Send, hooks: Sequence[Hook], subject: str) -> None:
        self._send = send
        self._hooks = hooks
        self._subject = subject
        self._run_id = ""
        self._waiting: list[dict[str, Any]] = []
        self._under_way: list[Message] = []
        self._process: Apart | None = None
        self.reported: list[dict[str, Any]] = []

    def hear(self, entry: Entry) -> None:
        """Remember a verdict that people must know."""
        match entry.event:
            case RunStarted(run_id=run_id) | RunResumed(run_id=run_id):
                self._run_id = run_id
            case VerdictReached() as event if event.verdict in HARMED:
                self._waiting.append(event.to_json())

    def look(self, within: float = 0.0) -> list[str]:
        """Send what waits, unless messages are on their way. Returns a line for each message that was not sent."""
        lines = []
        if self._process is not None and self._process.ended(within):
            lines = self._taken(self._process)
            self._process = None
        if self._process is None and self._waiting:
            self._begin()
        return lines

    def finish(self) -> list[str]:
        """Wait until all is sent, but not longer than ``PATIENCE_SECONDS``. Returns lines as ``look`` does."""
        lines, end = self.look(), time.monotonic() + PATIENCE_SECONDS
        while self._process is not None and time.monotonic() < end:
            lines += self.look(within=1.0)
        if self._process is not None:
            self._process.close()
            self._process = None
        return lines

    def _begin(self) -> None:
        about = About(self._subject, result={"run_id": self._run_id, "reported": self.reported}, under_way=True)
        found, self._waiting = messages(self._hooks, "stall", self._waiting, about), []
        if found:
            self._under_way = found
            self._process = Apart(lambda: self._send(found))

    def _taken(self, process: Apart) -> list[str]:
        """Lines about the messages under way that were not sent; the others are noted as reported."""
        try:
            whys = process.result()
        except AnsibleError as error:
            whys = [str(error)] * len(self._under_way)
        finally:
            process.close()
        lines = []
        for message, why in zip(self._under_way, whys, strict=True):
            if why:
                lines.append(f"NOT SENT: {message.label}: {why}")
            else:
                self.reported += message.reported
        return lines
