# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name and prints its progress lines while it works.

The module appends one line a transition to a file; this plugin shows each as it comes. Where the
module does not run on this machine the task works all the same, without live lines.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()
_POLL_SECONDS = 0.1


class ActionModule(ActionBase):
    """Thin wrapper: takes no decision of its own."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; live lines only where it shares this machine's file system."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._connection.transport != "local":
            return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
        with _progress_file() as path, _shown_live(path):
            arguments.update(progress_path=path, controller_pid=os.getppid())
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        return result


@contextmanager
def _progress_file() -> Iterator[str]:
    fd, path = tempfile.mkstemp(prefix="liveml-progress-")
    os.close(fd)
    try:
        yield path
    finally:
        os.unlink(path)


@contextmanager
def _shown_live(path: str) -> Iterator[None]:
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(path, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def _show(path: str, done: threading.Event) -> None:
    with open(path, encoding="utf-8", errors="replace") as stream:
        rest = ""
        while True:
            last = done.wait(_POLL_SECONDS)
            rest += stream.read()
            *lines, rest = rest.split("\n")
            for line in lines:
                display.display(f"  {line}")
            if last:
                return
