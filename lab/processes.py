# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start the lab's processes, and find them again even if the command that started them was killed.

Every process of a lab has the lab's state folder in its environment (``MARK``). No pid file is needed. So no process
is lost if ``up`` is killed at any moment, and no signal reaches another process that has got an old pid.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

MARK = "LIVEML_LAB_STATE"
PROC = Path("/proc")


def marked_environment(state: Path) -> dict[str, str]:
    """The caller's environment with the mark of the lab in ``state``."""
    return {**os.environ, MARK: str(state)}


def bare_environment(state: Path) -> dict[str, str]:
    """The mark, and what every program needs; the lab's servers do not see the caller's variables."""
    kept = {name: os.environ[name] for name in ("TZ",) if name in os.environ}
    return {**kept, "PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(state), MARK: str(state)}


def start_detached(command: Sequence[str], state: Path, log: Path, pass_fds: Sequence[int]) -> subprocess.Popen[bytes]:
    """Run ``command`` in its own session, with stdout and stderr in ``log`` and ``pass_fds`` kept open.

    The process has its mark when this returns: for a moment after its start a process shows no environment.
    """
    with open(log, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as sink:
        process = subprocess.Popen(
            command,
            cwd=state,
            env=bare_environment(state),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    while process.poll() is None and not carries_mark(process.pid, state):
        time.sleep(0.001)
    return process


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (field 22 of proc(5) stat); None if it is gone or a zombie."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def cpu_seconds(pid: int) -> float:
    """CPU time of a process in user and kernel mode (fields 14 and 15 of proc(5) stat)."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise LabError(f"process {pid} has ended") from error
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def carries_mark(pid: int, state: Path) -> bool:
    """Whether the process belongs to the lab in ``state``."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={state}".encode() in environment.split(b"\0")


def marked_pids(state: Path) -> list[int]:
    """All processes of the lab in ``state``."""
    if not PROC.is_dir():
        raise LabError("the lab needs Linux: this system has no /proc")
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and carries_mark(pid, state)]


def signal_marked(pid: int, state: Path, number: signal.Signals) -> None:
    """Signal ``pid`` if it is still a process of the lab in ``state``."""
    # With the descriptor the pid cannot be reused between the check and the signal.
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if carries_mark(pid, state):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def signal_started(pid: int, started: int, number: signal.Signals) -> None:
    """Signal ``pid`` if it is still the process that started at ``started`` (see :func:`start_time`)."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if start_time(pid) == started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def wait_gone(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; False if it has not after ``seconds``."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def kill_marked(state: Path, seconds: float = 15.0) -> int:
    """Kill every process of the lab in ``state``, and children that start meanwhile; return how many there were.

    Raises:
        LabError: one is still there ``seconds`` after SIGKILL.
    """
    killed: set[int] = set()
    end = time.monotonic() + seconds
    while pids := marked_pids(state):
        if time.monotonic() > end:
            raise LabError(f"processes {pids} of the lab in {state} cannot be killed; check whether a disk hangs")
        for pid in pids:
            signal_marked(pid, state, signal.SIGKILL)
        for pid in pids:
            wait_gone(pid, 2.0)
        killed.update(pids)
    return len(killed)
