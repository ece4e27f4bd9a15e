# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM with a vGPU under real training: refused above the stall budget, moved within it, and the stall is as predicted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, play, running_lab
from tests.measuring import Measured

pytestmark = [pytest.mark.alone, pytest.mark.thorough]
HOST, TRAINS, PROFILE = "esx-01", "ML-cpu-vm-01", "grid_t4-4q"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """One VM on a T4 trains, with 3 of 4 GB of its vGPU in use; only esx-02 has a GPU, too."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    for host in topology["hosts"][:2]:
        host |= {"gpus": [{"model": "NVIDIA T4", "memory_gb": 16}], "vgpu_profiles": [PROFILE]}
    vm = next(vm for vm in topology["vms"] if vm["name"] == TRAINS)
    vm |= {"devices": [f"vgpu:{PROFILE}"], "vgpu_used_gb": 3}
    vm["h2o3"] = {"heap_mb": 1024, "threads": 1, "train": {"algorithm": "gbm", "seconds": 90}}
    path = tmp_path / "gpus.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--topology", str(path), "--time-scale", "0.02") as running:
        yield running


def test_a_vm_with_a_vgpu_moves_within_the_budget_and_as_predicted(
    lab: Lab, tmp_path: Path, measured: Measured
) -> None:
    state, there = tmp_path / "state", {"evacuate_host_name": HOST, "evacuate_host_policy": "any"}
    refused = play("evacuate_host", lab, state, **there)
    assert refused.returncode != 0
    assert "up to 6 s; the stall budget is 5 s. Raise stall_budget to 6" in " ".join(refused.stdout.split())
    assert lab.where()[TRAINS] == HOST

    moved = play("evacuate_host", lab, state, **there, evacuate_host_stall_budget=8)
    assert moved.returncode == 0, moved.stdout
    assert f"{TRAINS}: esx-01 → esx-02; stands still for up to 6 s (vGPU {PROFILE})" in moved.stdout
    (path,) = (state / "runs").glob("*-evacuate-*/evidence.json")
    document = json.loads(path.read_text())
    (experiment,) = document["experiments"]
    assert experiment["verdict"] == "uninterrupted", experiment
    (move,) = [move for move in document["moves"] if move["vm"] == TRAINS]
    assert (move["vgpus"], move["predicted_stun"]) == ([PROFILE], 6.0)
    (true,) = [m["freeze_seconds"] for m in lab.get("state")["moves"] if m["vm"] == TRAINS and m["result"] == "success"]
    stall = experiment["longest_stall"]
    assert true >= 5
    with measured():
        assert true < move["predicted_stun"]
        assert stall["low"] <= true <= stall["high"] + 0.1
        assert stall["seconds"] < move["predicted_stun"]
    assert "stands still for up to 6 s" in (path.parent / "report.md").read_text()
