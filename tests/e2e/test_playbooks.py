# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as a user calls them: killed at any moment, in check mode, with what cannot be done."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.labs import Lab, play, running_lab, started_play
from tests.measuring import PATIENCE

pytestmark = pytest.mark.long

HOST = "esx-05"
KILLS = int(os.environ.get("KILLS", "2"))


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range((KILLS + 1) // 2))
def test_killed_playbooks_converge_when_run_again(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.1") as lab:
        before = lab.where()
        leaving = lab.on(HOST)
        for name in ("evacuate_host", "restore_host"):
            variables = {f"{name}_name": HOST}
            killed_on_its_way(started_play(name, lab, tmp_path, **variables), lab, moments, len(leaving))
            out = play(name, lab, tmp_path, **variables)
            assert out.returncode == 0, out.stdout
            if name == "evacuate_host":
                assert lab.on(HOST) == set()
        assert lab.where() == before
        moves = lab.get("state")["moves"]
        assert Counter((m["vm"], m["result"]) for m in moves) == Counter({(vm, "success"): 2 for vm in leaving})


def killed_on_its_way(process: subprocess.Popen[str], lab: Lab, moments: random.Random, vms: int) -> None:
    """Before the first move, or a while after any of them began."""
    begun = len(lab.get("state")["moves"]) + moments.randint(0, vms)
    while len(lab.get("state")["moves"]) < begun and process.poll() is None:
        time.sleep(0.05)
    time.sleep(moments.uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    text, _errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, text


def lines(out: subprocess.CompletedProcess[str]) -> int:
    """How much a person has to read. A slow machine adds lines about moves that are still under way."""
    return sum(not re.search(r"moved \(\d+ %\)", line) for line in out.stdout.splitlines())


def test_check_mode_shows_moves_and_makes_none_and_a_second_run_changes_nothing(tmp_path: Path, fast_lab: Lab) -> None:
    out = play("evacuate_host", fast_lab, tmp_path, "--check", "--diff", evacuate_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert "ML-cpu-vm-04: esx-05 → esx-0" in out.stdout
    assert lines(out) <= 35, out.stdout
    last = out.stdout[out.stdout.rindex("Check mode: Evacuation of esx-05 would move 10 VMs with ") :]
    assert "Not moved, because they do not prevent maintenance mode: ML-cpu-vm-15." in last
    assert "No experiment was found in 10 VMs. If one trains there, a run would not watch it." in last
    assert "To do it: ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-05" in last
    assert fast_lab.get("state")["moves"] == []
    assert fast_lab.get("state")["hosts"][HOST]["maintenance"] == "normal"
    out = play("evacuate_host", fast_lab, tmp_path, evacuate_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert lines(out) <= 60, out.stdout
    moves = fast_lab.get("state")["moves"]
    assert len(moves) == 10
    page = "https://{VMWARE_HOST}:{VMWARE_PORT}/ui/".format_map(fast_lab.env)
    copied = Lab({**fast_lab.answer, "env": {**fast_lab.env, "VMWARE_HOST": page}})
    shown = play("status", copied, tmp_path).stdout
    assert re.search(r"esx-05 +us-west-2b +in maintenance mode", shown), shown
    assert re.search(r"Away from esx-05: .*ML-cpu-vm-04", shown), shown
    assert f"restore_host_name={HOST}" in shown
    assert "Evacuation of esx-05: succeeded at " in shown
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
    assert lines(out) <= 15, out.stdout
    assert fast_lab.get("state")["moves"] == moves


@pytest.mark.thorough
def test_one_vm_moves_to_another_fault_domain(tmp_path: Path, fast_lab: Lab) -> None:
    out = play("migrate_vm", fast_lab, tmp_path, migrate_vm_name="ML-cpu-vm-04")
    assert out.returncode == 0, out.stdout
    state = fast_lab.get("state")
    assert state["hosts"][state["vms"]["ML-cpu-vm-04"]["host"]]["fault_domain"] != "us-west-2b"
    assert play("status", fast_lab, tmp_path).returncode == 0
    apart = "esx-08" if state["vms"]["ML-cpu-vm-04"]["host"] == "esx-09" else "esx-09"
    elsewhere = dict.fromkeys(state["hosts"], "row-1") | {apart: "row-2"}
    out = play("migrate_vm", fast_lab, tmp_path, migrate_vm_name="ML-cpu-vm-04", liveml_vsphere_fault_domains=elsewhere)
    assert out.returncode == 0, out.stdout
    assert fast_lab.where()["ML-cpu-vm-04"] == apart, "the operator's own fault domains count"


ERRORS = {
    "unknown host": (
        "evacuate_host",
        {"evacuate_host_name": "esx-50"},
        {},
        "Did you mean esx-05? Correct evacuate_host_name.",
    ),
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
    "unreachable": (
        "evacuate_host",
        {"evacuate_host_name": HOST},
        {"VMWARE_PORT": "1"},
        "Check VMWARE_HOST, VMWARE_PORT and",
    ),
    "no address": ("restore_host", {"restore_host_name": HOST}, {"VMWARE_HOST": ""}, "VMWARE_HOST is empty."),
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
