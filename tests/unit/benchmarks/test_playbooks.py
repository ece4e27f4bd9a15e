# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A playbook that the server starts is as any ``ansible-playbook``: its output, exit code, environment, signals and files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import zipimport
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos import ROOT, descendants
from benchmarks.compiled.sitecustomize import compiled
from benchmarks.playbooks import Playbook, PlaybookServer

SAYS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: {argv: [sh, -c, 'echo "$GIVEN"']}
      register: said
    - ansible.builtin.fail: {msg: "said {{ said.stdout }}"}
"""
SLEEPS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: {argv: [sleep, "60"]}
"""
FAILED, INTERRUPTED = 2, 99  # Ansible's exit codes


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybookServer]:
    with PlaybookServer(ROOT, {**os.environ, "NO_COLOR": "1"}) as each:
        yield each


def begun(server: PlaybookServer, folder: Path, play: str) -> Playbook:
    """A playbook that has started."""
    path = folder / "play.yml"
    path.write_text(play, encoding="utf-8")
    return server.start(["ansible-playbook", str(path)], {"GIVEN": folder.name})


def sleeping(playbook: Playbook) -> list[int]:
    """Its processes as soon as its module sleeps."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and playbook.poll() is None:
        pids = list(descendants(playbook.pid))
        if any(
            b"sleep\0" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if Path(f"/proc/{pid}").exists()
        ):
            return pids
        time.sleep(0.05)
    raise AssertionError(playbook.communicate(1))


@pytest.mark.thorough
def test_it_has_its_own_environment_output_and_exit_code(server: PlaybookServer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    playbooks = {name: begun(server, tmp_path / name, SAYS) for name in ("one", "two")}
    for name, playbook in playbooks.items():
        text = playbook.communicate(60)
        assert f"said {name}\n" in text
        assert (playbook.poll(), playbook.wait(1)) == (FAILED, FAILED)


def test_a_kill_ends_it_and_a_timeout_does_not(server: PlaybookServer, tmp_path: Path) -> None:
    playbook = begun(server, tmp_path, SLEEPS)
    pids = sleeping(playbook)
    with pytest.raises(subprocess.TimeoutExpired):
        playbook.communicate(0.1)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    playbook.send_signal(signal.SIGKILL)
    assert "PLAY" in playbook.communicate(10)
    assert playbook.returncode == -signal.SIGKILL
    playbook.send_signal(signal.SIGKILL)  # to nobody


@pytest.mark.thorough
def test_ctrl_c_ends_it_as_ever(server: PlaybookServer, tmp_path: Path) -> None:
    playbook = begun(server, tmp_path, SLEEPS)
    pids = sleeping(playbook)
    playbook.send_signal(signal.SIGINT)
    for pid in pids:  # the process of a task outlives Ansible
        os.kill(pid, signal.SIGKILL)
    assert "User interrupted execution" in playbook.communicate(10)
    assert playbook.returncode == INTERRUPTED


def test_what_is_compiled_is_the_source_that_was_sent(tmp_path: Path) -> None:
    compile_source = zipimport._compile_source  # type: ignore[attr-defined]
    for source in (b"value = 1", b"value = 2", b"value = 1"):
        found: dict[str, int] = {}
        exec(compiled(str(tmp_path), compile_source, "a.py", source), found)
        assert f"value = {found['value']}".encode() == source
    assert len(list(tmp_path.iterdir())) == 2
