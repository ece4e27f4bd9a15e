# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""The end of a playbook that is interrupted: what is still under way.

Ansible ends at once after Ctrl-C or SIGTERM, and the module that moves VMs works until its moves in flight have ended. The
process of a task cannot show anything then: it has no terminal, and it is killed. So it leaves a note, and Ansible's main
process, which loads the action plugins before it starts tasks, reads the note and speaks. After SIGKILL nobody can.

Ansible may not end after Ctrl-C. It waits forever if the signal ended a task's process that held the lock of the queue between them,
and it continues if the interruption was raised where Python ignores exceptions, such as while a process starts. So a timer ends it.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

from ansible import context
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import VsphereError
from ansible_collections.liveml.vsphere.plugins.module_utils._core.own_files import read_own
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import mapping, parsed
from ansible_collections.liveml.vsphere.plugins.module_utils._display.interrupted import Shown, last_lines
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.names import HTML
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import utc_now
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import holder_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunStatus, overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import RunFilter, state_to_read, stored_runs
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDING_SECONDS = 10.0  # in which Ansible ends; a signal after that is one more request to end
MAX_ENDING_SECONDS = 4.0  # after Ctrl-C, until the process is ended from here
INTERRUPTED = 99  # Ansible's exit code after Ctrl-C
PATIENCE_SECONDS = 3.0  # for the answer of the run's process that it starts no further move
_POLL_SECONDS = 0.05


def _prefix(pid: int) -> str:
    """Of the names of notes for a main process."""
    return f"liveml-run-{pid}-"


def leave_note(pid: int, state_dir: str, host: str | None) -> None:
    """In the process of a task: let the main process ``pid`` know where the run keeps its journal, and for which host it is."""
    fd, _path = tempfile.mkstemp(prefix=_prefix(pid), suffix=".json")
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        json.dump({"state_dir": state_dir, "host": host, "at": utc_now()}, stream)


@cache
def begin_if_playbook() -> None:
    """Begin the ending of a playbook's main process, once, and not where somebody only imports an action plugin."""
    if context.CLIARGS and threading.current_thread() is threading.main_thread():
        Ending().begin()


class Ending:
    """Speaks at the end of the main process if it was interrupted, and removes the notes in any case."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._began = utc_now()
        self._interrupted: float | None = None  # monotonic time
        self._ending = False
        self._earlier = {number: signal.getsignal(number) for number in SIGNALS}

    def begin(self) -> None:
        """Listen to signals and to the end of the process. Ansible's own handlers work as before, and so does an ignored signal."""
        for number, earlier in self._earlier.items():
            if earlier != signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        signal.signal(signal.SIGALRM, self._cut_off)
        atexit.register(self._end)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._interrupted is not None and now < self._interrupted + ENDING_SECONDS:
            return  # Ansible is ending; another signal would cut off what it says last
        self._interrupted = now
        if number != signal.SIGINT:  # the process ends without its exit handlers
            self._end()
        elif os.getpid() == self._pid:
            signal.setitimer(signal.ITIMER_REAL, MAX_ENDING_SECONDS)
        earlier: Any = self._earlier[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)
        elif earlier == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _cut_off(self, _number: int, _frame: FrameType | None) -> None:
        """Ansible has not ended."""
        if os.getpid() == self._pid and not self._ending:
            self._end()
            sys.stdout.flush()
            os._exit(INTERRUPTED)

    def _end(self) -> None:
        """Only in the main process: its forks inherit the handlers."""
        if os.getpid() != self._pid:
            return
        self._ending = True
        # No handler is left when the interpreter ends, and the timer would kill it.
        signal.setitimer(signal.ITIMER_REAL, 0)
        notes = list(self._notes())
        if self._interrupted is not None:
            try:
                lines = last_lines(stopped_runs(notes))
            except (VsphereError, OSError) as error:
                lines = [f"How the run stands cannot be read: {error}"]
            with suppress(OSError):  # such as a terminal that is gone
                for line in ("", *lines):
                    say(line)

    def _notes(self) -> Iterator[dict[str, Any]]:
        """The notes of this process's tasks, the first one for each host; they are removed."""
        first: dict[tuple[str, str | None], dict[str, Any]] = {}
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{_prefix(self._pid)}*.json")):
            if path.lstat().st_uid != os.geteuid():  # somebody else may put a file there
                continue
            note = _note_in(read_own(path))
            path.unlink()
            if note is None or note["at"] < self._began:  # of a killed process that had the same number
                continue
            known = first.setdefault((note["state_dir"], note["host"]), note)
            known["at"] = min(known["at"], note["at"])
        yield from first.values()


def _note_in(data: bytes) -> dict[str, Any] | None:
    """What a note says; ``None`` if it is not a whole note, because its writer was killed."""
    note = mapping(parsed(data))
    return dict(note) if note.keys() >= {"state_dir", "host", "at"} and isinstance(note["at"], str) else None


def stopped_runs(notes: Sequence[dict[str, Any]]) -> list[Shown]:
    """The runs of the notes, once their processes start no further move. They learn it here: not everybody signals all processes."""
    deadline, told = time.monotonic() + PATIENCE_SECONDS, set[int]()
    while True:
        runs = [run for note in notes for run in runs_of_note(note)]
        waiting = [run for run, _page in runs if run.status is RunStatus.RUNNING and not run.stopping]
        for pid in {run.pid for run in waiting if run.pid} - told:
            told.add(pid)
            if _is_module(pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)
        if not waiting or time.monotonic() > deadline:
            return runs
        time.sleep(_POLL_SECONDS)


def _is_module(pid: int) -> bool:
    """Whether a process is a module of Ansible on this machine. A state directory may be shared with a container."""
    try:
        return b"AnsiballZ_vm_" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def runs_of_note(note: dict[str, Any]) -> list[Shown]:
    """The newest run for the host of the note, or the newest one if the note names no host; not one that had ended before the note.

    With the path of its page, "" if there is none.
    """
    state = state_to_read(note["state_dir"])
    wanted = RunFilter(host=note["host"])
    stored = list(stored_runs(state))
    found = zip(stored, overviews(stored, partial(holder_of, state)), strict=True)
    for run, overview in found:
        if wanted.fits(run):
            ended = overview.ended if overview.status is RunStatus.FINISHED else None
            page = run.folder / HTML
            return [] if ended is not None and ended < note["at"] else [(overview, str(page) if page.exists() else "")]
    return []
