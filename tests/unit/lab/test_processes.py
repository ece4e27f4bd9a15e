# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding and stopping the lab's processes, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import (
    MARK,
    cpu_seconds,
    kill_marked,
    marked_pids,
    signal_started,
    start_detached,
    start_time,
    wait_gone,
)

FAMILY = "import subprocess, sys; subprocess.Popen(['sleep', '60']); open('born', 'w').close(); input()"


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of another lab whose state folder's name begins with ours."""
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{tmp_path}-2"})
    yield process
    process.kill()
    process.wait()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_children_and_stopped_processes_are_killed(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    command = [sys.executable, "-c", FAMILY.replace("input()", "import time; time.sleep(60)")]
    parent = start_detached(command, tmp_path, tmp_path / "log", [])
    wait_for(tmp_path / "born")
    assert len(marked_pids(tmp_path)) == 2
    os.kill(parent.pid, signal.SIGSTOP)
    assert kill_marked(tmp_path) == 2
    assert marked_pids(tmp_path) == []
    assert parent.wait() == -signal.SIGKILL
    assert stranger.poll() is None


def test_orphans_are_found(tmp_path: Path) -> None:
    parent = start_detached([sys.executable, "-c", FAMILY], tmp_path, tmp_path / "log", [])
    wait_for(tmp_path / "born")
    parent.wait()  # input() reads the end of its standard input
    assert len(marked_pids(tmp_path)) == 1
    assert kill_marked(tmp_path) == 1


def test_detached_process_has_its_own_session_and_bare_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMWARE_PASSWORD", "secret")
    process = start_detached(["sleep", "60"], tmp_path, tmp_path / "log", [])
    try:
        assert os.getsid(process.pid) == process.pid
        assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    finally:
        kill_marked(tmp_path)
        process.wait()


def test_a_pid_is_not_an_identity(stranger: subprocess.Popen[bytes]) -> None:
    started = start_time(stranger.pid)
    assert started is not None
    signal_started(stranger.pid, started - 1, signal.SIGKILL)
    assert not wait_gone(stranger.pid, 0.2)
    signal_started(stranger.pid, started, signal.SIGKILL)
    assert wait_gone(stranger.pid, 5)
    assert start_time(stranger.pid) is None, "a zombie has ended"


def test_cpu_seconds_grow_with_work() -> None:
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.15 <= cpu_seconds(os.getpid()) - before < 5
