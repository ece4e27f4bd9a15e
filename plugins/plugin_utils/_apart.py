# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""A function in a process of its own, while the main thread of a task's process does something else."""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError


class Apart:
    """A function that runs in a process of its own. ``close`` must be called."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._reading, writing = os.pipe()
        self._chunks: list[bytes] = []
        self._ended = False
        self._child = os.fork()
        if self._child == 0:
            os.close(self._reading)
            _run_and_send(function, writing)
        os.close(writing)

    def ended(self, within: float) -> bool:
        """Whether the function has returned; waits for at most so many seconds for news."""
        if not self._ended and select.select([self._reading], [], [], within)[0]:
            chunk = os.read(self._reading, 1 << 16)
            self._chunks.append(chunk)
            self._ended = not chunk
        return self._ended

    def result(self) -> Any:
        """What the function returned, once it has. Raises AnsibleError as the function did, or if its process was killed."""
        sent = b"".join(self._chunks)
        if not sent:
            raise AnsibleConnectionFailure("The process that waited for the module was killed.")
        kind, answer = pickle.loads(sent)
        if kind == "failed":
            raise AnsibleError(answer)
        return answer

    def close(self) -> None:
        """End the process if the function has not returned, such as after a timeout of the task."""
        if not self._ended:
            os.kill(self._child, signal.SIGKILL)
        os.close(self._reading)
        os.waitpid(self._child, 0)


def _run_and_send(function: Callable[[], Any], writing: int) -> None:
    """Runs in the child, and never returns: whatever else would end with the process belongs to its parent."""
    status = 1
    try:
        try:
            answer: tuple[str, Any] = ("done", function())
        except AnsibleError as error:
            answer = ("failed", str(error))
        with open(writing, "wb") as stream:
            stream.write(pickle.dumps(answer))
        status = 0
    finally:
        os._exit(status)
