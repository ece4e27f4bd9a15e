# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as a user calls them: under real training, killed at any moment, in check mode, with a dead server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, play, playbook_command, playbook_environment, running_lab

HOST = "esx-05"
KILLS = int(os.environ.get("KILLS", "5"))


def evidence(state_dir: Path, purpose: str) -> dict:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return json.loads((folder / "evidence.json").read_text())


def test_round_trip_under_real_training_then_a_killed_server(tmp_path: Path) -> None:
    with running_lab("--time-scale", "0.7") as lab:
        before = lab.where()
        leaving = lab.on(HOST)
        out = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert "switched over to" in out.stdout
        assert lab.on(HOST) == set()
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
        proved(evidence(tmp_path, "evacuate"), lab, leaving)

        out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert lab.where() == before
        first, second = evidence(tmp_path, "evacuate"), evidence(tmp_path, "restore")
        proved(second, lab, leaving)
        assert [e["id"] for e in first["experiments"]] == [e["id"] for e in second["experiments"]]
        assert second["experiments"][0]["progress_before"] >= first["experiments"][0]["progress_after"]

        lab.post("guests/ML-cpu-vm-04", action="freeze")
        out = play("verify_experiments", lab, tmp_path, verify_experiments_wait_timeout=5)
        assert out.returncode != 0
        assert "uninterrupted" not in out.stdout
        lab.post("guests/ML-cpu-vm-04", action="thaw")

        process = start("evacuate_host", lab, tmp_path, evacuate_host_name=HOST, evacuate_host_settle_timeout=5)
        wait_for_moves(lab, len(lab.get("state")["moves"]) + 1)
        lab.post("guests/ML-cpu-vm-04", action="kill")
        text, _errors = process.communicate(timeout=200)
        assert process.returncode != 0
        assert "experiment in ML-cpu-vm-04 is failed" in text


def proved(document: dict, lab: Lab, leaving: set[str]) -> None:
    """The measured stall holds the lab's true freeze, in an interval narrow enough to mean something."""
    assert {m["vm"] for m in document["moves"] if m["result"] == "moved"} == leaving
    experiment = document["experiments"][0]
    assert (experiment["vm"], experiment["verdict"]) == ("ML-cpu-vm-04", "uninterrupted")
    true = [m["freeze_seconds"] for m in lab.get("state")["moves"] if m["freeze_seconds"]][-1]
    stall = experiment["longest_stall"]
    assert stall["low"] <= true <= stall["high"], (true, stall)
    assert stall["high"] - stall["low"] <= 0.12


def start(name: str, lab: Lab, state_dir: Path, **variables: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        playbook_command(name, state_dir, **variables),
        cwd=ROOT,
        env=playbook_environment(lab),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_moves(lab: Lab, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(lab.get("state")["moves"]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_playbook_converges_when_run_again(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed).uniform(2, 12)
    with running_lab("--no-guests", "--time-scale", "0.1") as lab:
        before = lab.where()
        leaving = lab.on(HOST)
        for name in ("evacuate_host", "restore_host"):
            variables = {f"{name}_name": HOST}
            if (seed % 2 == 0) == (name == "evacuate_host"):
                process = start(name, lab, tmp_path, **variables)
                time.sleep(moment)
                process.send_signal(signal.SIGKILL)
                process.communicate(timeout=200)
            out = play(name, lab, tmp_path, **variables)
            assert out.returncode == 0, out.stdout
            if name == "evacuate_host":
                assert lab.on(HOST) == set()
        assert lab.where() == before
        moves = lab.get("state")["moves"]
        assert Counter((m["vm"], m["result"]) for m in moves) == Counter({(vm, "success"): 2 for vm in leaving})


def test_check_mode_shows_moves_and_makes_none_and_a_second_run_changes_nothing(tmp_path: Path, fast_lab: Lab) -> None:
    out = play("evacuate_host", fast_lab, tmp_path, "--check", "--diff", evacuate_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert "ML-cpu-vm-04: esx-05 → esx-0" in out.stdout
    assert fast_lab.get("state")["moves"] == []
    assert fast_lab.get("state")["hosts"][HOST]["maintenance"] == "normal"
    assert play("evacuate_host", fast_lab, tmp_path, evacuate_host_name=HOST).returncode == 0
    moves = fast_lab.get("state")["moves"]
    out = play("evacuate_host", fast_lab, tmp_path, evacuate_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert "changed=0" in out.stdout
    assert "No VM has to leave esx-05." in out.stdout
    assert fast_lab.get("state")["moves"] == moves


def test_one_vm_moves_to_another_fault_domain(tmp_path: Path, fast_lab: Lab) -> None:
    out = play("migrate_vm", fast_lab, tmp_path, migrate_vm_name="ML-cpu-vm-04")
    assert out.returncode == 0, out.stdout
    state = fast_lab.get("state")
    assert state["hosts"][state["vms"]["ML-cpu-vm-04"]["host"]]["fault_domain"] != "us-west-2b"
    assert play("status", fast_lab, tmp_path).returncode == 0


def test_an_unknown_host_is_one_sentence(tmp_path: Path, fast_lab: Lab) -> None:
    out = play("evacuate_host", fast_lab, tmp_path, evacuate_host_name="esx-50")
    assert out.returncode != 0
    assert "There is no host esx-50" in out.stdout
    assert "Traceback" not in out.stdout + out.stderr
    assert fast_lab.env["VMWARE_PASSWORD"] not in out.stdout + out.stderr
