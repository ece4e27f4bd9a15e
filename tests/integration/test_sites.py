# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves into another cluster of the same vCenter and home again, by the modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, running_lab

SECOND = "GPU-cluster"


@pytest.fixture
def sites_lab(tmp_path: Path) -> Iterator[Lab]:
    """The topology of sites. The second cluster does not have the pool batch and has an own network instead of west-storage."""
    topology = yaml.safe_load((TOPOLOGIES / "sites.yml").read_text(encoding="utf-8"))
    topology["networks"][1]["hosts"] = ["esx-01", "esx-02"]
    topology["networks"].append({"name": "gpu-storage", "hosts": ["esx-03", "esx-04"]})
    path = tmp_path / "sites.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        yield lab


def places(lab: Lab) -> dict[str, tuple[str, str, str]]:
    """Host, resource pool and folder of each VM, as the lab's own account has it."""
    return {name: (vm["host"], vm["pool"], vm["folder"]) for name, vm in lab.get("state")["vms"].items()}


def test_a_host_is_evacuated_into_another_cluster_and_its_vms_come_home(
    sites_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = {"state_dir": str(tmp_path)}

    def run(name: str, **options: Any) -> dict[str, Any]:
        return run_module(name, sites_lab, **state, **options)

    before = places(sites_lab)
    refused = run("migration_plan", host="esx-01", destination_cluster=SECOND)
    texts = {refusal["vm_name"]: refusal["text"] for refusal in refused["refusals"]}
    assert texts["ML-cpu-vm-02"].endswith(
        "because of batch: Resource pools there are /, ml-training. Map the pool with pool_map, or make it [no_pool]."
    )
    assert "because of west-storage: Networks there are gpu-storage, ml-network." in texts["ML-cpu-vm-03"]
    assert places(sites_lab) == before

    wrong = run("migration_plan", host="esx-01", destination_cluster="GPU-clusters")
    assert "Did you mean GPU-cluster or" in wrong["msg"]
    wrong = run("migration_plan", host="esx-01", destination_cluster=SECOND, pool_map={"btach": "/"})
    assert "Did you mean batch? Correct pool_map" in wrong["msg"]

    maps = {"pool_map": {"batch": "/"}, "network_map": {"west-storage": "gpu-storage"}}
    calls = []
    for cluster in ({}, {"destination_cluster": SECOND}):
        sites_lab.post("calls/reset")
        planned = run("migration_plan", host="esx-01", **cluster, **maps)
        calls.append(sites_lab.get("calls"))
    views, privileges = ([each[call] for each in calls] for call in ("CreateContainerView", "HasPrivilegeOnEntities"))
    assert views[0] == views[1], "the inventory is read as often"
    assert privileges[1] == privileges[0] + 1, "whether the user may assign VMs to the pools"
    assert not planned["refusals"]
    shown = next(line for line in planned["lines"] if line.startswith("ML-cpu-vm-03"))
    assert (
        shown.partition("(")[2]
        == "cluster GPU-cluster, resource pool ml-training, folder ml/vision, network gpu-storage)"
    )
    assert "ML-cpu-vm-02: esx-01 (cluster ML-cluster, resource pool batch, folder ml" in planned["diff"]["before"]

    evacuation = {"plan": planned["plan"], "purpose": "evacuate", "host": "esx-01"}
    moved = run("vm_migrate", **evacuation)
    assert not moved["left_behind"], moved
    there = places(sites_lab)
    assert {host for name, (host, _pool, _folder) in there.items() if before[name][0] == "esx-01"} <= {
        "esx-03",
        "esx-04",
    }
    assert there["ML-cpu-vm-02"][1:] == ("Resources", "ml")
    assert there["ML-cpu-vm-03"][1:] == ("ml-training", "vision")
    assert run("vm_migrate", **evacuation)["changed"] is False

    # Another controller finds the homes in the VMs' attributes.
    other = {"state_dir": str(tmp_path / "other")}
    home = run_module("migration_plan", sites_lab, host="esx-01", use_homes=True, **other)
    assert not home["refusals"], home["refusals"]
    back = run_module("vm_migrate", sites_lab, plan=home["plan"], purpose="restore", host="esx-01", **other)
    assert not back["left_behind"], back
    assert places(sites_lab) == before
    again = run("migration_plan", host="esx-01", destination_cluster="ML-cluster", vms=["ML-cpu-vm-03"])
    assert [move["place_after"] for move in again["moves"]] == [None]
    assert sites_lab.get("state")["moves"][-1]["result"] == "success"


def test_a_vm_goes_to_another_data_centre_and_comes_home(sites_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    """Folders, networks and datastores are other objects there, although the VM's files stay where they are."""
    before = places(sites_lab)
    state = {"state_dir": str(tmp_path)}
    into = {"destination_cluster": "/DC-east/host/East-cluster", "policy": "any"}
    found = run_module("migration_plan", sites_lab, host="esx-01", **into, **state)["refusals"]
    checks = {refusal["vm_name"]: [reason["check"] for reason in refusal["reasons"]] for refusal in found}
    assert checks == {"ML-cpu-vm-02": ["missing_datastore"], "ML-cpu-vm-03": ["no_folder", "no_network"]}
    assert "Folders there are /, archive, ml." in found[1]["text"]
    maps = {"folder_map": {"ml/vision": "archive"}, "network_map": {"west-storage": "east-storage"}}
    names = ["ML-cpu-vm-01", "ML-cpu-vm-03"]
    planned = run_module("migration_plan", sites_lab, host="esx-01", vms=names, **into, **maps, **state)
    moved = run_module("vm_migrate", sites_lab, plan=planned["plan"], purpose="evacuate", host="esx-01", **state)
    assert not moved["left_behind"], moved
    there = places(sites_lab)
    assert {there[name][0] for name in names} <= {"esx-05", "esx-06"}
    assert [there[name][1:] for name in names] == [("ml-training", "ml"), ("ml-training", "archive")]
    home = run_module("migration_plan", sites_lab, host="esx-01", use_homes=True, **state)
    back = run_module("vm_migrate", sites_lab, plan=home["plan"], purpose="restore", host="esx-01", **state)
    assert not back["left_behind"], back
    assert places(sites_lab) == before
    plan = run_module("migration_plan", sites_lab, vms=["ML-cpu-vm-03"], destination="esx-05", policy="any", **state)
    assert [reason["check"] for reason in plan["refusals"][0]["reasons"]] == ["no_folder", "no_network"]


def test_a_failed_run_is_rolled_back_into_the_first_cluster(
    sites_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    before = places(sites_lab)
    state = {"state_dir": str(tmp_path)}
    names = ["ML-cpu-vm-01", "ML-cpu-vm-04"]
    planned = run_module("migration_plan", sites_lab, vms=names, destination_cluster=SECOND, policy="any", **state)
    sites_lab.post("faults", vm="ML-cpu-vm-04", fault="GenericVmConfigFault", times=9)
    failed = run_module(
        "vm_migrate", sites_lab, plan=planned["plan"], on_failure="rollback", slots=1, retries=0, **state
    )
    assert failed["failed"]
    assert places(sites_lab) == before
