# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``on_failure: rollback`` against the lab: by the module, and by the playbook that is killed on the way back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, RunModule, play, playbook_command, playbook_environment, running_lab

HOST = "esx-05"
STUCK = "ML-cpu-vm-07"


@pytest.fixture(autouse=True)
def _keep_signal_handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_failing_move_brings_all_others_back(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    before = fast_lab.where()
    fast_lab.post("faults", vm=STUCK, times=9, fault="NoPermission")
    common = {"state_dir": str(tmp_path), "host": HOST}
    plan = run_module("migration_plan", fast_lab, **common)
    result = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], purpose="evacuate", on_failure="rollback", slots=4, fence=True,
        experiments={"enabled": False}, **common,
    )  # fmt: skip
    assert result["failed"]
    assert fast_lab.where() == before
    state = fast_lab.get("state")
    assert state["hosts"][HOST]["maintenance"] == "normal"
    away = {m["vm"] for m in state["moves"] if m["result"] == "success" and m["target"] != HOST}
    assert away
    assert Counter(m["vm"] for m in state["moves"] if m["target"] == HOST) == dict.fromkeys(away, 1)
    assert set(result["rolled_back"]) == away
    assert {result["placements"][vm] for vm in away} == {HOST}
    assert all(f"{vm} is back on {HOST}" in result["msg"] for vm in away)
    assert f"{STUCK} was left on {HOST} (failed: NoPermission)" in result["msg"]
    assert not run_module("placement", fast_lab, **common)["placements"]
    evidence = json.loads(Path(run_module("evidence_report", **common)["evidence_path"]).read_text())
    assert {m["vm"] for m in evidence["moves"] if m["back"] and m["result"] == "moved"} == away
    assert len({m["number"] for m in evidence["moves"]}) == len(evidence["moves"])


def test_a_playbook_killed_on_the_way_back_goes_on_with_it(tmp_path: Path) -> None:
    with running_lab("--no-guests", "--time-scale", "0.1") as lab:
        before = lab.where()
        lab.post("faults", vm=STUCK, times=9, fault="NoPermission")
        variables = {f"evacuate_host_{name}": value for name, value in
                     {"name": HOST, "on_failure": "rollback", "slots": 4}.items()}  # fmt: skip
        process = subprocess.Popen(
            playbook_command("evacuate_host", tmp_path, **variables),
            cwd=ROOT,
            env=playbook_environment(lab),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        while not [m for m in lab.get("state")["moves"] if m["target"] == HOST]:
            assert process.poll() is None, "the run was over before it could be killed"
            time.sleep(0.02)
        (journal,) = tmp_path.glob("runs/*/journal.jsonl")
        process.kill()
        os.kill(json.loads(journal.read_text().splitlines()[0])["pid"], signal.SIGKILL)
        process.wait()
        out = play("evacuate_host", lab, tmp_path, **variables)
        assert out.returncode != 0
        assert "resumed" in out.stdout
        assert f"ML-cpu-vm-04 is back on {HOST}" in out.stdout
        state = lab.get("state")
        assert lab.where() == before
        assert state["hosts"][HOST]["maintenance"] == "normal"
        trips = Counter((m["vm"], m["target"] == HOST) for m in state["moves"] if m["result"] == "success")
        assert set(trips.values()) == {1}, "no VM went back twice"
        assert {vm for vm, back in trips if back} == {vm for vm, back in trips if not back}
