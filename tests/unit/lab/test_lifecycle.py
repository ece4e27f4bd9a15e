# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``up`` and ``down`` with a stand-in for the Go program: what remains when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import cli, lifecycle
from lab.errors import LabError
from lab.lifecycle import down, up
from lab.paths import ROOT, TOPOLOGIES
from lab.processes import kill_marked, marked_pids, wait_gone

STAND_IN = """#!{python}
import json, os, signal, subprocess, sys, time
state = os.path.dirname(sys.argv[2])
config = json.load(open(sys.argv[2]))
{behaviour}
subprocess.Popen(["sleep", "60"])
user = {{key: config["vcenter"][key] for key in ("user", "password")}}
ready = {{"vcenter": {{"host": "127.0.0.1", "port": 1, "ca_file": "ca", **user}},
         "restricted": config["restricted"], "operator": config["operator"], "guest": config["guest_login"],
         "vcenters": {{}}, "control": "http://127.0.0.1:1", "pid": os.getpid()}}
with open(state + "/part", "w") as file:
    json.dump(ready, file)
os.replace(state + "/part", state + "/ready.json")
time.sleep(60)
"""
GIVEN: dict[str, Any] = {"topology": str(TOPOLOGIES / "small.yml")}


class Lab:
    """A state folder, and the program that plays the simulator in it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.program = folder / "vcenter"
        self.behave("")

    def behave(self, code: str) -> None:
        """Run ``code`` before anything is ready."""
        self.program.write_text(STAND_IN.format(python=sys.executable, behaviour=code), encoding="utf-8")
        self.program.chmod(0o700)

    def nothing_left(self) -> bool:
        return not self.state.exists() and marked_pids(self.state) == []


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path)
    monkeypatch.setattr(lifecycle, "simulator_binary", lambda cache, state: made.program)
    monkeypatch.setattr(lifecycle, "check_answers", lambda answer: None)
    monkeypatch.setattr(lifecycle, "MAX_END_SECONDS", 1.0)
    monkeypatch.setenv("LIVEML_LAB_CACHE", str(tmp_path / "cache"))
    yield made
    kill_marked(made.state)


def test_up_answers_and_down_leaves_nothing(lab: Lab) -> None:
    answer = up(lab.state, GIVEN)
    assert answer["env"]["VMWARE_PASSWORD"] == answer["vcenter"]["password"]
    assert answer["env"]["SSL_CERT_FILE"] == answer["vcenter"]["ca_file"]
    assert all(isinstance(value, str) for value in answer["env"].values())
    assert answer["pid"] in marked_pids(lab.state)
    assert answer["state"] == str(lab.state)
    assert stat.S_IMODE(lab.state.stat().st_mode) == 0o700
    for path in lab.state.iterdir():
        if path.name not in ("part", "ready.json"):  # written by the stand-in
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    down(lab.state)
    assert lab.nothing_left()
    down(lab.state)


def test_up_twice_is_the_same_lab(lab: Lab) -> None:
    first = up(lab.state, GIVEN)
    assert up(lab.state, GIVEN) == first
    assert up(lab.state, {}) == first, "an option that is not set cannot differ"
    for other in ({"time_scale": 9.0}, {"guests": False}, {"topology": str(TOPOLOGIES / "default.yml")}):
        with pytest.raises(LabError, match="stop it first"):
            up(lab.state, other)
    assert up(lab.state, GIVEN) == first
    down(lab.state)


def test_a_dead_lab_is_started_again(lab: Lab) -> None:
    first = up(lab.state, GIVEN)
    os.kill(first["pid"], signal.SIGKILL)
    assert wait_gone(first["pid"], 5)
    second = up(lab.state, GIVEN)
    assert second["pid"] != first["pid"]
    assert second["vcenter"]["password"] != first["vcenter"]["password"]
    down(lab.state)


def test_time_scale_reaches_the_simulator(lab: Lab) -> None:
    up(lab.state, {**GIVEN, "time_scale": 0.01})
    assert json.loads((lab.state / "config.json").read_text(encoding="utf-8"))["time_scale"] == 0.01
    down(lab.state)


def test_an_early_end_is_reported_with_the_log(lab: Lab) -> None:
    lab.behave("sys.exit('no such luck')")
    with pytest.raises(LabError, match=r"(?s)ended with exit code 1.*vcenter.log:\nno such luck"):
        up(lab.state, GIVEN)
    assert lab.nothing_left()


def test_never_ready_is_reported_and_cleaned_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_READY_SECONDS", 1.0)
    lab.behave("subprocess.Popen(['sleep', '60']); print('waiting', flush=True); time.sleep(60)")
    with pytest.raises(LabError, match=r"(?s)was not ready after 1 s.*vcenter.log:\nwaiting"):
        up(lab.state, GIVEN)
    assert lab.nothing_left()


def test_down_stops_a_process_that_ignores_signals(lab: Lab) -> None:
    lab.behave("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    answer = up(lab.state, GIVEN)
    os.kill(answer["pid"], signal.SIGSTOP)
    down(lab.state)
    assert lab.nothing_left()


def test_down_finds_processes_without_the_folder(lab: Lab) -> None:
    up(lab.state, GIVEN)
    for path in sorted(lab.state.rglob("*"), reverse=True):
        path.unlink()
    lab.state.rmdir()
    down(lab.state)
    assert lab.nothing_left()


def test_a_folder_that_is_not_a_labs_stays_as_it_is(lab: Lab) -> None:
    lab.state.mkdir()
    (lab.state / "thesis.tex").write_text("x", encoding="utf-8")
    for call in (lambda: up(lab.state, GIVEN), lambda: down(lab.state)):
        with pytest.raises(LabError, match="has files that are not a lab's"):
            call()
    assert [path.name for path in lab.state.iterdir()] == ["thesis.tex"]


RUN_UP = """
import sys
from pathlib import Path
from lab import cli, lifecycle
lifecycle.simulator_binary = lambda cache, state: Path(sys.argv[1])
lifecycle.check_answers = lambda answer: None
lifecycle.MAX_END_SECONDS = 1.0
sys.exit(cli.main(["up", "--topology", sys.argv[2], "--state", sys.argv[3]]))
"""


def begin_up(lab: Lab) -> subprocess.Popen[str]:
    """An ``up`` in a process of its own, while the stand-in makes it wait."""
    lab.behave("subprocess.Popen(['sleep', '60']); open(state + '/half', 'w').close(); time.sleep(60)")
    command = [sys.executable, "-c", RUN_UP, str(lab.program), GIVEN["topology"], str(lab.state)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 20
    while not (lab.state / "half").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def test_down_cleans_up_after_a_killed_up(lab: Lab) -> None:
    process = begin_up(lab)
    process.kill()
    process.communicate()
    assert len(marked_pids(lab.state)) == 2
    down(lab.state)
    assert lab.nothing_left()


def test_a_terminated_up_cleans_up_after_itself(lab: Lab) -> None:
    process = begin_up(lab)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "ended by signal 15" in errors
    assert "Traceback" not in errors
    assert lab.nothing_left()


def test_down_stops_a_running_up(lab: Lab) -> None:
    process = begin_up(lab)
    down(lab.state)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert lab.nothing_left()


def test_command_line_prints_one_json_object(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--topology", GIVEN["topology"], "--state", str(lab.state)]) == 0
    out = capsys.readouterr().out
    keys = {"vcenter", "restricted", "operator", "guest", "vcenters", "control", "env", "pid", "state"}
    assert set(json.loads(out)) == keys
    assert cli.main(["env", "--user", "restricted", "--state", str(lab.state)]) == 0
    lines = dict(line.removeprefix("export ").split("=", 1) for line in capsys.readouterr().out.splitlines())
    answer = json.loads(out)
    assert lines == {
        **answer["env"],
        "VMWARE_USER": answer["restricted"]["user"],
        "VMWARE_PASSWORD": answer["restricted"]["password"],
    }
    assert cli.main(["env", "--vcenter", "moon", "--state", str(lab.state)]) == 1
    assert "the lab has no other vCenter 'moon'; it has none" in capsys.readouterr().err
    assert cli.main(["down", "--state", str(lab.state)]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["env", "--state", str(lab.state)]) == 1
    assert "no lab is running in" in capsys.readouterr().err


def test_command_line_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--topology", str(tmp_path / "none.yml"), "--state", str(tmp_path / "s")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lab: ERROR: --topology")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_time_scale_must_be_above_zero(text: str) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["up", "--time-scale", text])
    assert refused.value.code == 2
