# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, and shows its progress while it works.

The module appends each event to a file. This plugin reads the file and prints one line per event, and a heartbeat if nothing
else happens. On a terminal, each move in flight has a progress bar below the lines. If the module runs on another machine,
the task works too, but without live lines.

Ansible executes a task in a process without a terminal, and sends what it displays through a queue to the process that has
the terminal. So the bars go through the same queue, as control codes. A library for progress bars would need the terminal.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import RunDisplay
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Entry
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import with_login

display = Display()
_POLL_SECONDS = 0.1
_REDRAW_SECONDS = 0.5
_MAX_BARS = 20


def _terminal_rows() -> int:
    """Number of lines of the terminal; 0 if there is none, or if a program reads it, as AWX's runner does."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("LIVEML_VSPHERE_PROGRESS") == "lines":
        return 0
    # AWX's runner gives Ansible a terminal, and stores each line as an event.
    if "AWX_ISOLATED_DATA_DIR" in os.environ or not sys.stdout.isatty():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines
    except (OSError, ValueError):
        return 0


# Ansible loads this file before it starts the task's process, in which the terminal is no longer known.
_ROWS = _terminal_rows()


class ActionModule(ActionBase):
    """Runs the module with the options of the task, and with a file for its progress."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module. Live lines need a module that runs on this machine."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = with_login(self._task.args, task_vars or {}, self._templar.template)
        if self._connection.transport != "local":
            return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
        rows = _ROWS if _alone(task_vars or {}) else 0
        with _progress_file() as path, _show_live(path, rows):
            arguments.update(progress_path=path, controller_pid=os.getppid())
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        return result


def _alone(task_vars: Mapping[str, Any]) -> bool:
    """Whether only this task prints. Bars are drawn over the lines above the cursor, which must not belong to another task."""
    return len(task_vars.get("ansible_play_batch", [])) <= 1 and display.verbosity < 3


class Screen:
    """Lines, and below them a block of bars that is redrawn. Without ``rows`` there are only lines."""

    def __init__(self, rows: int) -> None:
        self._rows = min(max(0, rows - 2), _MAX_BARS)
        self._drawn: list[str] = []
        self.run = RunDisplay(bars=self._rows > 0)

    def show(self, lines: list[str], now: float) -> None:
        """Print new lines and redraw the bars. ``now`` is a monotonic time in seconds."""
        block = [f"  {line}" for line in self.run.bars(now, display.columns - 2, self._rows)]
        if lines or block != self._drawn:
            self._erase()
            for line in lines:
                display.display(f"  {line}")
            self._draw(block)

    def clear(self) -> None:
        """Remove the bars."""
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            display.display(f"\r\x1b[{len(self._drawn)}A\x1b[J", newline=False, screen_only=True)
        self._drawn = []

    def _draw(self, block: list[str]) -> None:
        if block:
            display.display("".join(f"{line}\n" for line in block), newline=False, screen_only=True)
        self._drawn = block


@contextmanager
def _progress_file() -> Iterator[str]:
    fd, path = tempfile.mkstemp(prefix="liveml-progress-")
    os.close(fd)
    try:
        yield path
    finally:
        os.unlink(path)


@contextmanager
def _show_live(path: str, rows: int) -> Iterator[None]:
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(path, done, Screen(rows)), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def _show(path: str, done: threading.Event, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
    """Show what is appended to the file until ``done`` is set, then the rest of it."""
    drawn = 0.0
    with open(path, encoding="utf-8", errors="replace") as stream:
        rest = ""
        while True:
            last = done.wait(_POLL_SECONDS)
            rest += stream.read()
            *whole, rest = rest.split("\n")
            lines = [line for text in whole if (line := screen.run.hear(Entry.from_json(json.loads(text)))) is not None]
            now = clock()
            beat = None if lines or last else screen.run.heartbeat(now)
            lines += [beat] if beat else []
            if lines or now >= drawn + _REDRAW_SECONDS:
                screen.show(lines, now)
                drawn = now
            if last:
                screen.clear()
                return
