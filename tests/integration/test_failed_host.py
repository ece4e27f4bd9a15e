# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host fails during a run or after it, and vSphere HA starts its VMs on other hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, running_lab
from tests.measuring import until

HOST = "esx-01"
HA = "vSphere HA"
NOTHING_WATCHED: dict[str, Any] = {"experiments": {"enabled": False}}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The small topology with HA: VMs 1 to 3 run on esx-01."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    topology["clusters"][0]["failover_level"] = 1
    path = tmp_path / "ha.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.05", "--topology", str(path)) as found:
        yield found


@contextmanager
def failing(lab: Lab, host: str, seconds: float = 5.0) -> Iterator[None]:
    """The host fails as soon as a VM moves, and comes back after so many seconds: then HA has restarted its VMs."""
    over = threading.Event()

    def fail() -> None:
        while not over.wait(0.02):
            if any(move["started"] for move in lab.get("state")["moves"]):
                lab.post(f"hosts/{host}/fail", seconds=seconds)
                return

    world = threading.Thread(target=fail)
    world.start()
    try:
        yield
    finally:
        over.set()
        world.join()


def recovered(lab: Lab) -> None:
    until(lambda: not any(host["failover"] for host in lab.get("state")["hosts"].values()))


def evacuated(lab: Lab, run_module: RunModule, state: Path, **options: Any) -> dict[str, Any]:
    plan = run_module("migration_plan", lab, host=HOST, policy="any", state_dir=str(state))
    given = {"plan": plan["plan"], "host": HOST, "purpose": "evacuate", "state_dir": str(state)}
    return run_module("vm_migrate", lab, **{**given, **NOTHING_WATCHED, **options})


@pytest.mark.thorough
def test_a_vm_that_ha_restarted_after_its_evacuation_comes_home(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    home = lab.on(HOST)
    target = evacuated(lab, run_module, tmp_path)["moves"][0]["target"]
    lab.post(f"hosts/{target}/fail", seconds=60)
    until(lambda: not home & lab.on(target))
    lab.post(f"hosts/{target}", connection="connected")
    recovered(lab)
    assert home & {each["vm"] for each in lab.get("state")["restarts"]}
    plan = run_module("migration_plan", lab, host=HOST, use_homes=True, state_dir=str(tmp_path))
    assert {move["vm_name"] for move in plan["moves"]} == home - lab.on(HOST), "no person has moved them"
    back = run_module(
        "vm_migrate", lab, plan=plan["plan"], host=HOST, purpose="restore", state_dir=str(tmp_path), **NOTHING_WATCHED
    )
    assert not back.get("failed"), back
    assert home <= lab.on(HOST)


@pytest.mark.thorough
@pytest.mark.parametrize("down", [HOST, "target"])
def test_a_restart_by_ha_is_not_a_move(lab: Lab, run_module: RunModule, tmp_path: Path, down: str) -> None:
    leaving = lab.on(HOST)
    plan = run_module("migration_plan", lab, host=HOST, policy="any", state_dir=str(tmp_path))
    with failing(lab, plan["moves"][0]["target_name"] if down == "target" else down):
        moved = evacuated(lab, run_module, tmp_path)
    recovered(lab)
    state = lab.get("state")
    restarted = {each["vm"] for each in state["restarts"] if each["source"] == HOST}
    arrived = {(move["vm"], move["target"]) for move in state["moves"] if move["result"] == "success"}
    ends = [move for move in moved["moves"] if move["result"] == "moved"]
    unmoved = {move["vm"] for move in ends if (move["vm"], move["target"]) not in arrived}
    assert unmoved == {move["vm"] for move in ends if move["by"] == HA} <= restarted
    assert all(f"vSphere HA restarted {name} on " in moved["msg"] for name in unmoved)
    assert moved.get("failed") or not restarted, moved
    again = evacuated(lab, run_module, tmp_path)
    assert not again.get("failed"), again
    assert not leaving & lab.on(HOST)


@pytest.mark.thorough
def test_a_vm_that_ha_started_again_on_its_host_before_its_move_is_a_failure(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    with failing(lab, HOST, seconds=0.1):
        moved = evacuated(lab, run_module, tmp_path, slots=1, retries=9, on_failure="continue")
    recovered(lab)
    at_home = {each["vm"] for each in lab.get("state")["restarts"] if each["source"] == each["target"] == HOST}
    ends = {move["vm"]: (move["result"], move["by"]) for move in moved["moves"]}
    late = {vm for vm in at_home if ends[vm] == ("moved", "")}
    assert late <= set(moved["restarted"])
    assert moved.get("failed") or not (
        late or moved["restarted"]
    )  # HA chooses the host, and a slow run sees other moves
    assert all(f"vSphere HA restarted {vm} during the run" in moved["msg"] for vm in late)
    runs = run_module("run_info", state_dir=str(tmp_path))["runs"]
    assert late <= set(runs[0]["restarted"])


@pytest.mark.thorough
def test_vms_that_ha_took_before_the_evacuation_are_named(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    vms = lab.on(HOST)
    lab.post(f"hosts/{HOST}/fail", seconds=60)
    until(lambda: not vms & lab.on(HOST))
    lab.post(f"hosts/{HOST}", connection="connected")
    recovered(lab)
    taken = {each["vm"] for each in lab.get("state")["restarts"] if each["target"] != HOST}
    plan = run_module("migration_plan", lab, host=HOST, policy="any", state_dir=str(tmp_path))
    (note,) = plan["plan"]["notes"]
    assert note.startswith(f"vSphere HA restarted these VMs on other hosts, after vCenter had lost {HOST}: ")
    assert all(f"{vm} (" in note for vm in taken)
    assert note in "\n".join(plan["lines"])


@pytest.fixture
def training_lab(tmp_path: Path) -> Iterator[Lab]:
    """The same with a training in the first VM."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    topology["clusters"][0]["failover_level"] = 1
    train = {"algorithm": "gbm", "ntrees": 100_000}
    topology["vms"][0]["h2o3"] = {"heap_mb": 1024, "threads": 1, "nice": 10, "train": train}
    path = tmp_path / "trains.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--topology", str(path)) as found:
        yield found


@pytest.mark.thorough
@pytest.mark.alone
@pytest.mark.parametrize("seconds", [0.1, 5.0], ids=["on its host", "elsewhere"])
def test_a_watched_training_in_a_vm_that_ha_restarted_is_lost_or_restarted(
    training_lab: Lab, run_module: RunModule, tmp_path: Path, seconds: float
) -> None:
    watched = {"allowed_networks": ["127.0.0.0/8"], "baseline": 1.0, "settle_timeout": 20.0}
    with failing(training_lab, HOST, seconds=seconds):
        moved = evacuated(training_lab, run_module, tmp_path, retries=9, on_failure="continue", experiments=watched)
    recovered(training_lab)
    (experiment,) = moved["experiments"]
    assert "ML-cpu-vm-01" in {each["vm"] for each in training_lab.get("state")["restarts"]}
    assert experiment["verdict"] in ("lost", "restarted"), experiment
    assert moved["failed"], moved
