# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A playbook that is interrupted says at once what is still under way, and that is what happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, play, playbook_command, playbook_environment, running_lab, started_play
from tests.measuring import PATIENCE, Measured, until

pytestmark = pytest.mark.long

HOST = "esx-05"
MAX_SECONDS = 5.0  # from the signal to the last line


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 99), pytest.param(signal.SIGTERM, -signal.SIGTERM, marks=pytest.mark.thorough)]
)
def test_the_last_lines_say_what_goes_on_and_it_does(
    tmp_path: Path, measured: Measured, number: signal.Signals, code: int
) -> None:
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.4") as lab:
        before, leaving = lab.where(), lab.on(HOST)
        process = started_play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        until(lambda: len(flying(lab)) == 8)
        process.send_signal(number)
        sent = time.monotonic()
        text, _errors = process.communicate(timeout=PATIENCE)
        with measured():
            assert time.monotonic() - sent < MAX_SECONDS
        assert process.returncode == code, text

        lines = text.rstrip().splitlines()
        begin = next(n for n, line in enumerate(lines) if "was interrupted. " in line)
        assert len(lines) - begin == 9, text
        assert "These moves were not cancelled: vCenter finishes them. Not begun: " in text
        said = "\n".join(lines[begin:])
        assert f"Evacuation of {HOST} was interrupted. 0 of 10 moves are done, and no other starts." in said
        assert "Not begun: " in said
        named = re.search(r"In flight: (.*?)\.", said)
        assert named is not None
        assert set(named[1].split(", ")) == set(flying(lab)) | finished(lab)
        assert f"{HOST} is fenced by this run, and stays fenced: " in said
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "entering"
        watches = r"Process \d+ on this machine watches the experiments until these moves have ended, also if this terminal is closed\."
        assert re.search(watches, said)
        assert f": ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name={HOST}" in said
        assert lines[-3] == "See how far these moves are: ansible-playbook liveml.vsphere.status"
        assert (
            lines[-1]
            == f"or lift the fence and bring the VMs back (waits likewise): ansible-playbook liveml.vsphere.restore_host -e restore_host_name={HOST}"
        )

        until(lambda: "run_interrupted" in "".join(path.read_text() for path in tmp_path.glob("runs/*/journal.jsonl")))
        assert len(lab.get("state")["moves"]) == 8, "no other move started"
        [page] = tmp_path.glob("runs/*/report.html")
        until(lambda: "The run was interrupted" in page.read_text(encoding="utf-8"))
        shown = play("status", lab, tmp_path).stdout
        assert f"Live page: {page}" in shown
        assert f"Evacuation of {HOST}: interrupted, last seen at " in shown
        assert "8 of 10 VMs moved." in shown
        assert "Still excluded from DRS: " in shown

        out = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert "http-equiv" not in page.read_text(encoding="utf-8"), "the report is there"
        assert len(lab.get("state")["moves"]) == len(leaving) == 10
        assert {vm for vm, host in lab.where().items() if host != before[vm]} == leaving


@pytest.mark.thorough
def test_while_vcenter_is_dead_the_last_lines_say_what_is_unknown_and_no_process_stays(
    tmp_path: Path, measured: Measured
) -> None:
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.4") as lab:
        process = started_play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        until(lambda: len(flying(lab)) == 8)
        lab.post("kill", seconds=90)
        until(lambda: "vcenter_silence" in "".join(path.read_text() for path in tmp_path.glob("runs/*/journal.jsonl")))
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        text, _errors = process.communicate(timeout=PATIENCE)
        with measured():
            assert time.monotonic() - sent < 2 * MAX_SECONDS
        assert "Traceback" not in text
        assert "Unknown: vCenter did not answer for " in text
        said = text[text.index(" was interrupted. ") :]
        working = re.search(r"Process (\d+) ends in a few seconds unless vCenter answers\.", said)
        assert working is not None or "No process watches the experiments." in said, said
        if working is not None:
            until(lambda: not Path(f"/proc/{working[1]}").exists(), patience=20)


def flying(lab: Lab) -> list[str]:
    """VMs that move now, by the lab's account."""
    return [move["vm"] for move in lab.get("state")["moves"] if move["finished"] is None]


def finished(lab: Lab) -> set[str]:
    """VMs whose moves have ended, by the lab's account."""
    return {move["vm"] for move in lab.get("state")["moves"] if move["finished"] is not None}


def test_a_playbook_that_is_interrupted_before_its_run_says_nothing_of_a_run(fast_lab: Lab, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    process = started_play(
        "evacuate_host", fast_lab, tmp_path, evacuate_host_name=HOST, ansible_remote_tmp=str(modules)
    )
    # While a module runs: Python ignores the exception of a signal that arrives while Ansible starts a process.
    until(lambda: list(modules.glob("*/AnsiballZ_migration_plan.py")))
    process.send_signal(signal.SIGINT)
    text, _errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 99, text
    assert "was interrupted. " not in text
    assert "The playbook was interrupted before its run began. No move is in flight, it has not fenced a host" in text
    assert fast_lab.get("state")["moves"] == []


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("again", [0.0, 0.2])
def test_a_signal_in_the_first_moment_of_the_moves_starts_no_other(
    tmp_path: Path, measured: Measured, number: signal.Signals, everybody: bool, again: float
) -> None:
    """As Ctrl-C and ``kill`` do: all processes of the terminal get the signal, or the main one alone, perhaps twice."""
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.4") as lab:
        command = playbook_command("evacuate_host", tmp_path, evacuate_host_name=HOST)
        process = subprocess.Popen(
            command, cwd=ROOT, env=playbook_environment(lab), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        until(lambda: bool(flying(lab)))
        for pause in (again, 0.0) if again else (0.0,):
            if everybody:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            time.sleep(pause)
        sent = time.monotonic()
        text, _errors = process.communicate(timeout=PATIENCE)
        with measured():
            assert time.monotonic() - sent < MAX_SECONDS
        named = re.search(r"In flight: (.*?)\.", text)
        assert named is not None, text
        assert " moves are done, and no other starts." in text
        assert f"{HOST} is fenced by this run, and stays fenced: " in text
        assert "ansible-playbook liveml.vsphere.status" in "".join(text.rstrip().splitlines()[-3:])
        until(lambda: "run_interrupted" in "".join(path.read_text() for path in tmp_path.glob("runs/*/journal.jsonl")))
        assert set(named[1].split(", ")) == {move["vm"] for move in lab.get("state")["moves"]}
