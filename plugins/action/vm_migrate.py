# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, and shows its progress while it works.

The module appends each event to a file. This plugin reads the file and prints one line per event, and a heartbeat if nothing
else happens. On a terminal, each move in flight has a progress bar below the lines. If the module runs on another machine,
the task works too, but without live lines.

Ansible executes a task in a process without a terminal, and sends what it displays through a queue to the process that has
the terminal. So the bars go through the same queue, as control codes. A library for progress bars would need the terminal.

Only the main thread of the task's process may display. Ansible before 2.19 forks that process while it holds the lock of its
display, so no other thread of the process ever gets the lock; and ansible-runner before 2.4.2 takes a lock that all processes
share before it waits for that one. A thread that displays would wait without end, and so would the job. Therefore a process of its
own waits for the module, and the main thread displays.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import RunDisplay
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import Message
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Entry, RunResumed, RunStarted
from ansible_collections.liveml.vsphere.plugins.plugin_utils._alarms import Alarms
from ansible_collections.liveml.vsphere.plugins.plugin_utils._apart import Apart
from ansible_collections.liveml.vsphere.plugins.plugin_utils._courier import Courier, checked_hooks
from ansible_collections.liveml.vsphere.plugins.plugin_utils._interrupted import begin_if_playbook, leave_note
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import is_a_terminal, is_for_a_program, say
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import with_login
from ansible_collections.liveml.vsphere.plugins.plugin_utils._vcenter_action import explain

display = Display()
_POLL_SECONDS = 0.1
_REDRAW_SECONDS = 0.5
_MAX_BARS = 20

Command = Callable[..., tuple[int, bytes, bytes]]


def _terminal_rows() -> int:
    """Number of lines of the terminal; 0 if there is none, or if a program reads it, as AWX's runner does."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("LIVEML_VSPHERE_PROGRESS") == "lines":
        return 0
    if not is_a_terminal():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines
    except (OSError, ValueError):
        return 0


def _lines_wanted() -> bool:
    """Whether a person reads the output."""
    return os.environ.get("LIVEML_VSPHERE_PROGRESS") != "off" and not is_for_a_program()


# Ansible loads this file before it starts the task's process, in which the terminal is no longer known.
_ROWS = _terminal_rows()
begin_if_playbook()


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs the module with the options of the task, and with a file for its progress."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module. Live lines need a module that runs on this machine."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = with_login(self._task.args, task_vars or {}, self._templar.template)
        # The module does not get them: they contain secrets, and it sends nothing.
        given, subject = arguments.pop("hooks", None) or [], str(arguments.pop("subject", "") or "A run")
        try:
            hooks = checked_hooks(given)
        except ValueError as error:
            return {**result, "failed": True, "msg": str(error)}
        local = self._connection.transport == "local"
        if local and not self._task.check_mode:
            leave_note(os.getppid(), _state_dir(arguments), arguments.get("host"))
        if not local or not (_lines_wanted() or hooks):
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        else:
            alarms = Alarms(self._sender(hooks, task_vars or {}), hooks, subject)
            result.update(self._followed(arguments, task_vars, alarms))
        explain(result, self._task, self._task.args, arguments, self._templar.template)
        return result

    def _followed(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None, alarms: Alarms) -> dict[str, Any]:
        """Run the module on this machine, and hear its events meanwhile."""
        rows = _ROWS if _alone(task_vars or {}) else 0
        with _progress_file() as path, open(path, encoding="utf-8", errors="replace") as stream:
            state = Path(os.path.expanduser(os.path.expandvars(_state_dir(arguments))))
            live = Live(stream, Screen(rows) if _lines_wanted() else NoScreen(), alarms, state)
            self._connection.exec_command = apart(self._connection.exec_command, live.look)
            arguments.update(progress_path=path, controller_pid=os.getppid())
            try:
                result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
            finally:
                del self._connection.exec_command  # of the object, so that its class's own applies again
                live.end()
        return {**result, "reported": alarms.reported} if alarms.reported else result

    def _sender(
        self, hooks: Sequence[Mapping[str, Any]], task_vars: Mapping[str, Any]
    ) -> Callable[[Sequence[Message]], list[str]]:
        """Sends messages, in a process of its own: with a folder of its own, as the module has files in the other one."""

        def send(found: Sequence[Message]) -> list[str]:
            self._connection.__dict__.pop("exec_command", None)
            self._connection._shell.tmpdir = None
            courier = Courier(self, hooks, task_vars)
            try:
                return [courier.send(message) for message in found]
            finally:
                self.cleanup(force=True)

        return send


def _state_dir(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("state_dir", "~/.local/state/liveml.vsphere"))


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
                say(f"  {line}")
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


class NoScreen(Screen):
    """For a program that reads the output: nothing is shown."""

    def __init__(self) -> None:
        super().__init__(0)

    def show(self, lines: list[str], now: float) -> None:
        """Show nothing."""


@contextmanager
def _progress_file() -> Iterator[str]:
    fd, path = tempfile.mkstemp(prefix="liveml-progress-")
    os.close(fd)
    try:
        yield path
    finally:
        os.unlink(path)


class Live:
    """Shows what is appended to a stream, and lets alarms hear it, whenever somebody asks it to look."""

    def __init__(
        self, stream: TextIO, screen: Screen, alarms: Alarms, state: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._screen = screen
        self._alarms = alarms
        self._state = state
        self._page: Path | None = None  # the live page of the run, until it was named
        self._clock = clock
        self._rest = ""
        self._drawn = 0.0
        self._broken = False

    def look(self, last: bool = False) -> None:
        """Show new events, or a heartbeat. A line that cannot be shown ends the live lines, not the run."""
        if self._broken:
            return
        try:
            self._show(last)
        except (ValueError, KeyError, TypeError, OSError) as error:
            self._broken = True
            self._screen.show([f"live lines end here: {type(error).__name__}"], self._clock())

    def end(self) -> None:
        """Show what is left, send what waits, and remove the bars."""
        self.look(last=True)
        self._screen.show(self._alarms.finish(), self._clock())
        self._screen.clear()

    def _show(self, last: bool) -> None:
        self._rest += self._stream.read()
        *whole, self._rest = self._rest.split("\n")
        run = self._screen.run
        entries = [Entry.from_json(json.loads(text)) for text in whole]
        for entry in entries:
            self._alarms.hear(entry)
        lines = [line for entry in entries if (line := run.hear(entry)) is not None]
        lines += [*self._name_page(entries), *self._alarms.look()]
        now = self._clock()
        beat = None if lines or last else run.heartbeat(now)
        lines += [beat] if beat else []
        if lines or now >= self._drawn + _REDRAW_SECONDS:
            self._screen.show(lines, now)
            self._drawn = now

    def _name_page(self, entries: list[Entry]) -> Iterator[str]:
        """Say once where the live page is, when it is there."""
        for entry in entries:
            if isinstance(entry.event, RunStarted | RunResumed):
                self._page = self._state / "runs" / entry.event.run_id / "report.html"
        if self._page is not None and self._page.exists():
            yield f"live page: {self._page}"
            self._page = None


def apart(command: Command, look: Callable[[], None]) -> Command:
    """A command of a connection that runs in a process of its own, while this thread looks again and again."""

    def run(*arguments: Any, **options: Any) -> tuple[int, bytes, bytes]:
        process = Apart(lambda: command(*arguments, **options))
        try:
            ended = False
            while not ended:
                ended = process.ended(within=_POLL_SECONDS)
                look()
            code, out, err = process.result()
            return code, out, err
        finally:
            process.close()

    return run
