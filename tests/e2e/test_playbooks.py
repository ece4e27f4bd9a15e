# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as a user calls them: under real training, killed at any moment, in check mode, with a dead server."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from datetime import datetime
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
        state = lab.get("state")
        assert max(host["slots"]["peak"] for host in state["hosts"].values()) == 8
        assert idle_seconds(state["moves"]) < 2.0, "a slot waits for a move, never the other way round"

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


def idle_seconds(moves: list[dict], slots: int = 8) -> float:
    """Time in which a slot of the evacuated host was free although a move was still to be started, by the lab's account."""
    starts = sorted(moment(move["started"]) for move in moves)
    idle, free_since = 0.0, starts[0]
    changes = sorted([(start, 1) for start in starts] + [(moment(move["finished"]), -1) for move in moves])
    flying = 0
    for now, change in changes:
        if flying < slots and now <= starts[-1]:
            idle += now - free_since
        flying, free_since = flying + change, now
    return idle


def moment(text: str) -> float:
    """RFC 3339 with nanoseconds as seconds since the epoch."""
    return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()


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
    out = play("restore_host", fast_lab, tmp_path, "--check", "--diff", restore_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert re.search("ML-cpu-vm-04: esx-0. → esx-05", out.stdout), (
        "the way home is shown though the host is in maintenance"
    )
    assert fast_lab.get("state")["moves"] == moves
    assert fast_lab.get("state")["hosts"][HOST]["maintenance"] == "in"
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


ERRORS = {
    "unknown host": ("evacuate_host", {"evacuate_host_name": "esx-50"}, {}, "There is no host esx-50"),
    "a VM's name": ("evacuate_host", {"evacuate_host_name": "ML-cpu-vm-04"}, {}, "is a virtual machine"),
    "ambiguous VM": ("migrate_vm", {"migrate_vm_name": "ML-cpu-vm-06"}, {}, "2 VMs are named ML-cpu-vm-06"),
    "no capacity": (
        "evacuate_host",
        {"evacuate_host_name": HOST, "evacuate_host_memory_headroom": 99},
        {},
        "no_capacity_memory",
    ),
    "password": (
        "evacuate_host",
        {"evacuate_host_name": HOST},
        {"VMWARE_PASSWORD": "not-the-one"},
        "refused the login",
    ),
    "certificate": (
        "evacuate_host",
        {"evacuate_host_name": HOST},
        {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"},
        "cannot be verified",
    ),
    "unreachable": ("evacuate_host", {"evacuate_host_name": HOST}, {"VMWARE_PORT": "1"}, "cannot be reached"),
    "no address": ("restore_host", {"restore_host_name": HOST}, {"VMWARE_HOST": ""}, "hostname"),
}


def test_what_cannot_be_done_is_one_error_and_nothing_half_done(tmp_path: Path, fast_lab: Lab) -> None:
    fast_lab.post("vms/ML-cpu-vm-05", action="rename", name="ML-cpu-vm-06")
    secrets = [fast_lab.env["VMWARE_PASSWORD"], "not-the-one"]
    for case, (name, variables, environment, sentence) in ERRORS.items():
        wrong = Lab({**fast_lab.answer, "env": {**fast_lab.env, **environment}})
        out = play(name, wrong, tmp_path / "runs", **variables)
        text = out.stdout + out.stderr
        assert out.returncode != 0, case
        assert sentence in text, (case, text)
        assert len(re.findall(r"^(?:fatal|failed):|\[ERROR\]", text, re.MULTILINE)) >= 1, (case, text)
        assert "Traceback" not in text, (case, text)
        assert not [secret for secret in secrets if secret in text], case
    after = fast_lab.get("state")
    assert after["moves"] == []
    assert {host["maintenance"] for host in after["hosts"].values()} == {"normal"}
    kept = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [secret for secret in secrets for text in kept if secret in text]
