# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs that move with their files: plan, move and return against the lab, and what is refused before anything moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labs import ROOT, Lab, RunModule, running_lab

TOPOLOGY = str(ROOT / "lab" / "topologies" / "storage.yml")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--time-scale", "0.01", "--topology", TOPOLOGY) as running:
        yield running


def stored(lab: Lab) -> dict[str, set[str]]:
    """The datastores of each VM, by the lab's own account."""
    return {name: set(vm["storage"].values()) for name, vm in lab.get("state")["vms"].items()}


def checks(plan: dict[str, Any]) -> dict[str, set[str]]:
    return {refusal["vm_name"]: {reason["check"] for reason in refusal["reasons"]} for refusal in plan["refusals"]}


def test_a_host_with_local_datastores_is_evacuated_and_restored(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = str(tmp_path / "state")
    before, where = stored(lab), lab.where()
    refused = run_module("migration_plan", lab, host="esx-01", state_dir=state)
    assert checks(refused) == {f"ML-cpu-vm-0{n}": {"local_datastore", "missing_datastore"} for n in (1, 2, 3)}
    assert "scope to both" in refused["refusals"][0]["text"]

    lab.post("calls/reset")
    plan = run_module("migration_plan", lab, host="esx-01", scope="both", state_dir=state)
    calls = lab.get("calls")
    assert plan["refusals"] == []
    assert {move["target_name"] for move in plan["moves"]} <= {"esx-02", "esx-03", "esx-04"}
    assert "ML-cpu-vm-02: esx-01 [esx-01-local] → " in plan["diff"]["after"]
    assert calls["RetrievePropertiesEx"] <= 8, calls  # whatever the number of VMs and datastores

    evacuate = {"plan": plan["plan"], "purpose": "evacuate", "host": "esx-01", "state_dir": state}
    checked = run_module("vm_migrate", lab, check=True, **evacuate)
    assert checked["diff"] == plan["diff"]
    assert stored(lab) == before
    run = run_module("vm_migrate", lab, **evacuate)
    assert {move["result"] for move in run["moves"]} == {"moved"}, run
    assert lab.on("esx-01") == set()
    for move in run["moves"]:
        assert stored(lab)[move["vm"]] == set(move["target_datastores"]) != {"esx-01-local"}
    slots = lab.get("state")["hosts"]["esx-01"]["slots"]
    assert slots["peak"] <= 8

    state = str(tmp_path / "another controller")  # it knows the homes from the attributes of the VMs alone
    back = run_module("migration_plan", lab, host="esx-01", use_homes=True, state_dir=state)
    assert back["refusals"] == []
    restore = {"plan": back["plan"], "purpose": "restore", "host": "esx-01", "state_dir": state}
    assert {move["result"] for move in run_module("vm_migrate", lab, **restore)["moves"]} == {"moved"}
    assert (stored(lab), lab.where()) == (before, where)
    again = run_module("migration_plan", lab, host="esx-01", use_homes=True, state_dir=state)
    assert (again["moves"], again["refusals"]) == ([], [])


def test_files_alone_move_to_a_datastore_cluster_and_a_disk_elsewhere(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = str(tmp_path)
    options = {"vms": ["ML-cpu-vm-05"], "scope": "storage", "state_dir": state}
    plan = run_module("migration_plan", lab, datastore="gold-2", **options)
    assert plan["lines"] == ["ML-cpu-vm-05: esx-03 [gold-1] → esx-03 [gold-2]"]
    run = run_module("vm_migrate", lab, plan=plan["plan"], state_dir=state)
    assert [move["result"] for move in run["moves"]] == ["moved"], run
    assert stored(lab)["ML-cpu-vm-05"] == {"gold-2"}
    assert lab.where()["ML-cpu-vm-05"] == "esx-03"
    settled = run_module("migration_plan", lab, datastore="gold", **options)
    assert settled["plan"]["settled"] == ["ML-cpu-vm-05"]
    disk = run_module(
        "migration_plan", lab, disk_datastores={"Hard disk 1": "esx-03-local"}, datastore="gold", **options
    )
    run_module("vm_migrate", lab, plan=disk["plan"], state_dir=state)
    assert lab.get("state")["vms"]["ML-cpu-vm-05"]["storage"] == {"files": "gold-2", "Hard disk 1": "esx-03-local"}


def test_a_datastore_that_cannot_take_the_files_is_named_with_the_remedy(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    options = {"scope": "both", "state_dir": str(tmp_path)}
    small = run_module("migration_plan", lab, vms=["ML-cpu-vm-02"], destination="esx-02", **options)
    assert checks(small) == {"ML-cpu-vm-02": {"no_capacity_datastore"}}
    assert "104 GiB needed; most free above the headroom: esx-02-local with 40 GiB" in small["refusals"][0]["text"]
    far = run_module("migration_plan", lab, vms=["ML-cpu-vm-01"], destination="esx-02", datastore="gold", **options)
    assert checks(far) == {"ML-cpu-vm-01": {"datastore_unreached"}}
    wrong = run_module("migration_plan", lab, vms=["ML-cpu-vm-01"], datastore="golt-1", **options)
    assert wrong["failed"]
    assert "gold-1" in wrong["msg"]


def test_a_datastore_that_filled_up_since_the_plan_fails_the_run_and_loses_nothing(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = str(tmp_path)
    before = stored(lab)
    options = {"scope": "both", "destination": "esx-04", "state_dir": state}
    plan = run_module("migration_plan", lab, vms=["ML-cpu-vm-01"], **options)
    for name in ("gold-1", "gold-2"):
        lab.post(f"datastores/{name}", free_gb=1)
    run = run_module("vm_migrate", lab, plan=plan["plan"], state_dir=state)
    for name, free in (("gold-1", 400), ("gold-2", 300)):
        lab.post(f"datastores/{name}", free_gb=free)
    assert run["failed"]
    assert "has only 1 GiB free" in run["msg"]
    assert stored(lab) == before


def test_an_answer_that_was_lost_is_decided_by_where_the_files_are(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = str(tmp_path)
    plan = run_module("migration_plan", lab, vms=["ML-cpu-vm-06"], scope="storage", datastore="gold-1", state_dir=state)
    lab.post("calls/fail", call="RelocateVM_Task", how="lost", times=1)
    run = run_module("vm_migrate", lab, plan=plan["plan"], state_dir=state)
    assert [move["result"] for move in run["moves"]] == ["moved"], run
    moves = [move for move in lab.get("state")["moves"] if move["vm"] == "ML-cpu-vm-06"]
    assert [move["storage"]["files"] for move in moves] == [{"source": "gold-2", "target": "gold-1"}]
