# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module that works for long notices that it has to stop."""

from __future__ import annotations

import os
import signal


class Interruption:
    """Whether the run was asked to stop: a signal arrived, or the controlling process ended."""

    def __init__(self, controller_pid: int | None) -> None:
        self._controller = controller_pid
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        """See the class."""
        return self._signalled or (self._controller is not None and not alive(self._controller))


def alive(pid: int) -> bool:
    """Whether a process with this ID exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
