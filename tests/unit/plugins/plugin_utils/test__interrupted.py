# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main process of a playbook ends by a signal, by itself, or as a fork: when it speaks, and when the notes are removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._run import journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import JOURNAL, state_path
from ansible_collections.liveml.vsphere.plugins.plugin_utils import _interrupted
from ansible_collections.liveml.vsphere.plugins.plugin_utils._interrupted import Ending, leave_note, runs_of_note

from tests.builders.journals import write_event
from tests.labs import ROOT

PROGRAM = """
import atexit, os, signal, sys, time
from ansible_collections.liveml.vsphere.plugins.plugin_utils._interrupted import Ending, leave_note
if len(sys.argv) > 3:  # as nohup(1) does, and shells for what they start in the background
    signal.signal(signal.SIGINT, signal.SIG_IGN)
main = os.getpid()
atexit.register(lambda: main == os.getpid() and print("timer", signal.getitimer(signal.ITIMER_REAL)[0], file=sys.stderr))
Ending().begin()
if os.fork() == 0:  # the process of a task
    leave_note(os.getppid(), sys.argv[1], "esx-05")
    leave_note(os.getppid(), sys.argv[1], "esx-05")
    sys.exit(0)
os.wait()
if sys.argv[2] != "0":
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(0.2)
"""


@pytest.mark.parametrize(("number", "spoken"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 1), (0, 0)])
def test_only_an_interrupted_playbook_speaks_and_no_note_stays(tmp_path: Path, number: int, spoken: int) -> None:
    temporary, state = tmp_path / "tmp", tmp_path / "state"
    temporary.mkdir()
    state.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(state), str(int(number))],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / ".venv" / "collections")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.count("The playbook was interrupted before its run began.") == spoken, done.stderr
    assert done.returncode == -number, done.stderr
    assert list(temporary.glob("liveml-run-*")) == []
    assert ("timer 0.0" in done.stderr) is (number in (signal.SIGINT, 0)), "a signal that kills leaves no exit handlers"


def test_notes_of_a_killed_process_that_had_the_same_number_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written = [
        "",
        '{"state_dir": "/s", "host": "esx-05"}',
        '{"state_dir": "/s", "host": null, "at": "2026-01-31T10:00:00.000Z"}',
    ]
    for number, text in enumerate(written):
        (tmp_path / f"liveml-run-{os.getpid()}-{number}.json").write_text(text)
    ending = Ending()
    leave_note(os.getpid(), "/s", "esx-06")
    assert [note["host"] for note in ending._notes()] == ["esx-06"]
    assert list(tmp_path.iterdir()) == []


STUCK = """
import multiprocessing, os, signal, sys, time
from ansible_collections.liveml.vsphere.plugins.plugin_utils import _interrupted
_interrupted.MAX_ENDING_SECONDS = 0.3
_interrupted.Ending().begin()
queue = multiprocessing.get_context("fork").Lock()  # of the queue between Ansible and the processes of tasks
if os.fork() == 0:
    queue.acquire()
    os._exit(1)
os.wait()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(3600)
except KeyboardInterrupt:
    if sys.argv[1] == "waits":
        queue.acquire()
time.sleep(3600)
"""


@pytest.mark.parametrize("how", ["waits", "continues"])
def test_a_playbook_that_does_not_end_after_ctrl_c_is_ended(tmp_path: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK, how],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / ".venv" / "collections")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout.count("The playbook was interrupted before its run began.") == 1, done.stderr
    assert done.returncode == 99


def test_a_signal_that_was_ignored_stays_ignored_and_nobody_speaks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(int(signal.SIGINT)), "ignored"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / ".venv" / "collections")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_state_directory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "state"), str(int(signal.SIGTERM))],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / ".venv" / "collections")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "How the run stands cannot be read: " in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("finished", "seen"), [("2026-01-31T08:00:00.000Z", 0), ("2026-01-31T10:00:00.000Z", 1)])
def test_a_run_that_had_ended_before_the_playbook_began_its_own_is_not_its_run(
    tmp_path: Path, finished: str, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "utc_now", lambda: finished)
    folder = state_path(str(tmp_path)) / "runs" / "r1"
    folder.mkdir()
    written = journal.Journal(folder / JOURNAL)
    write_event(written, "run_started", run_id="r1")
    write_event(written, "run_finished")
    written.close()
    note = {"state_dir": str(tmp_path), "host": "esx-05", "at": "2026-01-31T09:00:00.000Z"}
    assert len(runs_of_note(note)) == seen


def test_a_signal_long_after_the_first_one_is_one_more_request_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible may lose an interruption, and nobody may be left with a playbook that hears no more signals."""
    now, heard = [100.0], []
    monkeypatch.setattr(_interrupted.signal, "setitimer", lambda *_given: None)
    monkeypatch.setattr(_interrupted.time, "monotonic", lambda: now[0])
    ending = Ending()
    ending._earlier[signal.SIGINT] = lambda *_given: heard.append(now[0])  # type: ignore[assignment]
    for at in (100.0, 101.0, 109.9, 110.0):
        now[0] = at
        ending._interrupt(signal.SIGINT, None)
    assert heard == [100.0, 110.0]
