# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vCenter dies for two minutes while eight VMs move under real training: the run continues, and its evidence is whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, running_lab, started_play
from tests.measuring import until

pytestmark = [pytest.mark.long, pytest.mark.thorough]

HOST, TRAINS, DEAD_SECONDS = "esx-05", "ML-cpu-vm-04", 120.0


def topology(folder: Path) -> Path:
    """The default topology, with a training that outlasts the run."""
    document = yaml.safe_load((TOPOLOGIES / "default.yml").read_text(encoding="utf-8"))
    for vm in document["vms"]:
        if vm["name"] == TRAINS:
            vm["h2o3"]["train"] = {"algorithm": "gbm", "seconds": 900}
    path = folder / "long.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def flying(lab: Lab) -> int:
    """Moves that have begun and not ended, by the lab's account."""
    return sum(bool(move["started"]) and not move["finished"] for move in lab.get("state")["moves"])


def test_a_run_continues_after_vcenter_was_dead_for_two_minutes(tmp_path: Path) -> None:
    with running_lab("--topology", str(topology(tmp_path)), "--drs", "full") as lab:
        leaving, state = lab.on(HOST), tmp_path / "state"
        process = started_play("evacuate_host", lab, state, evacuate_host_name=HOST)
        until(lambda: flying(lab) == 8)
        lab.post("kill", seconds=DEAD_SECONDS)
        text, _errors = process.communicate(timeout=600)
        assert process.returncode == 0, text
        assert "vCenter has not answered for " in text
        assert "Traceback" not in text
        assert lab.on(HOST) == set()
        moves = lab.get("state")["moves"]
        assert Counter(move["vm"] for move in moves) == Counter(leaving), "each VM moved once"
        assert {move["result"] for move in moves} == {"success"}
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
        [path] = state.glob("runs/*/evidence.json")
        check_evidence(json.loads(path.read_text()), moves)


def check_evidence(document: dict[str, Any], moves: list[dict[str, Any]]) -> None:
    """Each move is in the evidence with the target that the lab knows, and the experiment was watched all the time."""
    assert {(move["vm"], move["target"], move["result"]) for move in document["moves"]} == {
        (move["vm"], move["target"], "moved") for move in moves
    }
    [experiment] = document["experiments"]
    assert experiment["verdict"] in ("uninterrupted", "stalled"), experiment
    assert experiment["unwatched_seconds"] == 0, experiment
