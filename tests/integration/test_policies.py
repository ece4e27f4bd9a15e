# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who chooses datastores: storage policies, which files keep or get, and Storage DRS of a datastore cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labs import ROOT, Lab, RunModule, running_lab

TOPOLOGY = str(ROOT / "lab" / "topologies" / "policies.yml")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--time-scale", "0.01", "--topology", TOPOLOGY) as running:
        yield running


def policies(lab: Lab, vm: str) -> dict[str, str]:
    """The storage policy of each part of a VM, by the lab's own account; every datastore must fit its policy."""
    found = lab.get("state")["vms"][vm]["policies"]
    assert all(each["compliant"] for each in found.values()), found
    return {part: each["policy"] for part, each in found.items()}


def stored(lab: Lab, vm: str) -> dict[str, str]:
    return dict(lab.get("state")["vms"][vm]["storage"])


def checks(plan: dict[str, Any]) -> dict[str, set[str]]:
    return {refusal["vm_name"]: {reason["check"] for reason in refusal["reasons"]} for refusal in plan["refusals"]}


def test_files_keep_their_policies_on_the_way_out_and_home(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    vms = [f"ML-cpu-vm-0{n}" for n in (1, 2, 3)]
    before = {vm: (stored(lab, vm), lab.get("state")["vms"][vm]["policies"]) for vm in vms}
    state = str(tmp_path / "state")
    lab.post("calls/reset")
    plan = run_module("migration_plan", lab, host="esx-01", scope="both", state_dir=state)
    calls = {name: count for name, count in lab.get("calls").items() if name.startswith("Pbm")}
    assert plan["refusals"] == []
    assert calls.pop("PbmCheckCompatibility") == 2  # one for each policy in use
    assert set(calls.values()) == {1}, calls
    assert any(line.endswith("(storage policies gold, silver)") for line in plan["lines"]), plan["lines"]
    run = run_module("vm_migrate", lab, plan=plan["plan"], purpose="evacuate", host="esx-01", state_dir=state)
    assert {move["result"] for move in run["moves"]} == {"moved"}, run
    assert policies(lab, "ML-cpu-vm-01") == {"files": "silver", "Hard disk 1": "silver"}
    assert policies(lab, "ML-cpu-vm-02") == {"files": "silver", "Hard disk 1": "silver", "Hard disk 2": "gold"}
    assert policies(lab, "ML-cpu-vm-03") == {}
    assert set(stored(lab, "ML-cpu-vm-01").values()) == {"silver-1"}
    assert set(stored(lab, "ML-cpu-vm-03").values()) == {"bronze-1"}  # without a policy: the emptiest one

    back = run_module("migration_plan", lab, host="esx-01", use_homes=True, state_dir=state)
    run_module("vm_migrate", lab, plan=back["plan"], purpose="restore", host="esx-01", state_dir=state)
    assert {vm: (stored(lab, vm), lab.get("state")["vms"][vm]["policies"]) for vm in vms} == before


def test_a_policy_that_is_asked_for_chooses_the_datastore_and_the_home_has_the_former_one(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state, vm = str(tmp_path / "state"), "ML-cpu-vm-01"
    before = stored(lab, vm), policies(lab, vm)
    options = {"vms": [vm], "scope": "both", "destination": "esx-03", "state_dir": state}
    plan = run_module("migration_plan", lab, storage_policy="gold", **options)
    line = f"{vm}: esx-01 [esx-01-local] → esx-03 [gold-1] (storage policy gold)"
    assert plan["lines"] == [line]
    assert line in plan["diff"]["after"]
    evacuate = {"plan": plan["plan"], "purpose": "evacuate", "host": "esx-01", "state_dir": state}
    run = run_module("vm_migrate", lab, **evacuate)
    assert policies(lab, vm) == {"files": "gold", "Hard disk 1": "gold"}, run

    state = str(tmp_path / "another controller")  # it knows the homes from the attributes of the VMs alone
    back = run_module("migration_plan", lab, host="esx-01", use_homes=True, state_dir=state)
    run_module("vm_migrate", lab, plan=back["plan"], purpose="restore", host="esx-01", state_dir=state)
    assert (stored(lab, vm), policies(lab, vm)) == before


def test_a_target_without_a_datastore_that_fits_is_refused_with_the_policy(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    options = {"scope": "both", "state_dir": str(tmp_path)}
    kept = run_module("migration_plan", lab, vms=["ML-cpu-vm-01"], destination="esx-04", **options)
    assert checks(kept) == {"ML-cpu-vm-01": {"datastore_policy"}}
    assert all(f"{name} for silver" in kept["refusals"][0]["text"] for name in ("bronze-1", "gold-1"))
    named = run_module(
        "migration_plan", lab, vms=["ML-cpu-vm-03"], datastore="bronze-1", storage_policy="gold", **options
    )
    assert checks(named) == {"ML-cpu-vm-03": {"datastore_policy"}}
    nowhere = run_module("migration_plan", lab, vms=["ML-cpu-vm-05"], storage_policy="platinum", **options)
    assert checks(nowhere) == {"ML-cpu-vm-05": {"datastore_policy"}}
    fits = run_module(
        "migration_plan", lab, vms=["ML-cpu-vm-04"], scope="storage", storage_policy="gold", state_dir=str(tmp_path)
    )
    assert fits["plan"]["settled"] == ["ML-cpu-vm-04"]  # where it is fits, although it has another policy


def test_what_cannot_be_used_is_one_clear_error(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    options = {"vms": ["ML-cpu-vm-01"], "scope": "both", "state_dir": str(tmp_path)}
    unknown = run_module("migration_plan", lab, storage_policy="diamond", **options)
    assert unknown["failed"]
    assert "no storage policy named diamond" in unknown["msg"]
    assert "gold, platinum, silver" in unknown["msg"]
    compute = run_module("migration_plan", lab, storage_policy="gold", **{**options, "scope": "compute"})
    assert "storage_policy needs scope" in compute["msg"]


def test_without_the_privilege_the_plan_says_so_and_goes_on(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    options = {"vms": ["ML-cpu-vm-01"], "scope": "both", "state_dir": str(tmp_path)}
    lab.post("calls/refuse", call="PbmQueryProfile", fault="NoPermission", times=4)
    plan = run_module("migration_plan", lab, **options)
    assert len(plan["moves"]) == 1
    assert "It is not known which storage policies the files of ML-cpu-vm-01 have" in plan["lines"][-1]
    assert "not allowed to read the storage policies" in plan["lines"][-1]
    asked = run_module("migration_plan", lab, storage_policy="gold", **options)
    assert asked["failed"]
    assert "not allowed to read the storage policies" in asked["msg"]
    assert "StorageProfile.View" in asked["msg"]


def test_a_session_that_ended_is_renewed_for_the_policy_service(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    lab.post("calls/refuse", call="PbmRetrieveContent", fault="NotAuthenticated", times=1)
    plan = run_module("migration_plan", lab, vms=["ML-cpu-vm-01"], scope="both", state_dir=str(tmp_path))
    assert plan["plan"]["notes"] == []


def test_a_vcenter_whose_policy_service_is_down_is_said(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    options = {"vms": ["ML-cpu-vm-01"], "scope": "both", "state_dir": str(tmp_path)}
    lab.post("calls/fail", call="PbmRetrieveServiceContent", how="unavailable", times=3)
    plan = run_module("migration_plan", lab, **options)
    assert "The policy service of vCenter does not answer" in plan["lines"][-1]
    lab.post("calls/fail", call="PbmRetrieveServiceContent", how="unavailable", times=3)
    asked = run_module("migration_plan", lab, storage_policy="gold", **options)
    assert "The policy service of vCenter does not answer" in asked["msg"]
    assert "vmware-sps" in asked["msg"]


def test_storage_drs_chooses_in_its_datastore_cluster(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    options = {"vms": ["ML-cpu-vm-05"], "scope": "storage", "datastore": "balanced", "state_dir": str(tmp_path)}
    plan = run_module("migration_plan", lab, **options)
    assert plan["lines"][0] == "ML-cpu-vm-05: esx-04 [bronze-1] → esx-04 [fast-1]"  # the plan itself would take slow-1
    assert "Storage DRS of balanced recommended the datastores" in plan["lines"][1]
    lab.post("calls/refuse", call="RecommendDatastores", fault="NotSupported", times=1)
    alone = run_module("migration_plan", lab, **options)
    assert alone["lines"][0] == "ML-cpu-vm-05: esx-04 [bronze-1] → esx-04 [slow-1]"
    assert "did not choose the datastores of ML-cpu-vm-05 (vCenter could not ask Storage DRS" in alone["lines"][1]
    run = run_module("vm_migrate", lab, plan=plan["plan"], state_dir=str(tmp_path))
    assert [move["result"] for move in run["moves"]] == ["moved"], run
    assert set(stored(lab, "ML-cpu-vm-05").values()) == {"fast-1"}
    named = run_module("migration_plan", lab, **{**options, "datastore": "slow-1"})
    assert "Storage DRS" not in "".join(named["lines"])  # nobody has to choose
