# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is evacuated and restored under real training, and what is stated about the experiment is true."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import FAILURES, Failure

from tests.labs import Lab, play, running_lab, started_play
from tests.measuring import PATIENCE, Measured, until

pytestmark = pytest.mark.alone
HOST, TRAINS = "esx-05", "ML-cpu-vm-04"
NARROW = 0.2  # seconds; a burst of other work at the moment of one freeze widens that interval, so one of two has to be


def evidence(state_dir: Path, purpose: str) -> dict:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return json.loads((folder / "evidence.json").read_text())


def test_round_trip_under_real_training_then_a_killed_server(tmp_path: Path, measured: Measured) -> None:
    with running_lab("--time-scale", "0.06", "--drs", "full") as lab:
        before = lab.where()
        leaving = lab.on(HOST)
        out = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert "moved to" in out.stdout
        assert lab.on(HOST) == set()
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
        widths = [proved(evidence(tmp_path, "evacuate"), lab, leaving, measured)]
        state = lab.get("state")
        assert max(host["slots"]["peak"] for host in state["hosts"].values()) == 8
        with measured():
            assert idle_seconds(state["moves"]) < 4.0, "a slot waits for a move, never the other way round"

        out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert lab.where() == before
        first, second = evidence(tmp_path, "evacuate"), evidence(tmp_path, "restore")
        widths.append(proved(second, lab, leaving, measured))
        with measured():
            assert min(widths) <= NARROW, widths
        assert [e["id"] for e in first["experiments"]] == [e["id"] for e in second["experiments"]]
        assert second["experiments"][0]["progress_before"] >= first["experiments"][0]["progress_after"]

        lab.post(f"guests/{TRAINS}", action="freeze")
        out = play("verify_experiments", lab, tmp_path, verify_experiments_wait_timeout=5)
        assert out.returncode != 0
        assert "uninterrupted" not in out.stdout
        lab.post(f"guests/{TRAINS}", action="thaw")

        for other in leaving - {TRAINS}:
            lab.post(f"vms/{other}", action="move", target="esx-04", instant=True)
        moves = len(lab.get("state")["moves"])
        process = started_play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST, evacuate_host_settle_timeout=5)
        until(lambda: len(lab.get("state")["moves"]) > moves)
        lab.post(f"guests/{TRAINS}", action="kill")
        text, _errors = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert f"in {TRAINS} was lost: port " in text
        last = text[text.rindex("Evacuation of esx-05 failed at ") :]
        assert re.search(rf"in {TRAINS} \(now on esx-0\d\): lost\. ", last)
        assert ", because an experiment was lost. 1 of 1 VM moved to esx-0" in last
        assert ". Alive: no, last seen at " in last
        assert (
            "What its owner has to do: Start it again: make sure that its old process is gone, start a server first"
            in last
        )
        assert (
            f"Next: {FAILURES[Failure.INTERRUPTED].do} That is only the maintenance mode of esx-05; no VM is left to move."
            in last
        )


def proved(document: dict, lab: Lab, leaving: set[str], measured: Measured) -> float:
    """The measured stall holds the lab's true freeze; returns the width of its interval in seconds."""
    assert {m["vm"] for m in document["moves"] if m["result"] == "moved"} == leaving
    experiment = document["experiments"][0]
    assert (experiment["vm"], experiment["verdict"]) == (TRAINS, "uninterrupted")
    true = [m["freeze_seconds"] for m in lab.get("state")["moves"] if m["freeze_seconds"]][-1]
    stall = experiment["longest_stall"]
    assert true <= stall["high"], (true, stall)
    with measured():
        assert stall["low"] <= true, (true, stall)
    return stall["high"] - stall["low"]


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
