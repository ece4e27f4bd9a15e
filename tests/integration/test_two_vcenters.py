# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves to another vCenter and home again, by the modules, against the lab's two vCenters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVmomi import vim

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, login, places, play, running_lab
from tests.measuring import until
from tests.sdk import content_of, find

MAPS = {
    "pool_map": {"ml-training": "Compute-ResourcePool"},
    "folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
    "network_map": {"ml-network": "ml-segment"},
}


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(TOPOLOGIES / "cloud.yml")) as lab:
        yield lab


@pytest.fixture
def cloud(site: Lab) -> Lab:
    return site.other("cloud")


def test_a_host_is_evacuated_into_the_cloud_and_its_vms_come_home(
    site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    both = {"state_dir": str(tmp_path), "destination_vcenter": login(cloud)}

    def run(name: str, **options: Any) -> dict[str, Any]:
        return run_module(name, site, **{**both, **options})

    before = places(site, cloud)
    refused = run("migration_plan", host="esx-01")
    texts = {refusal["vm_name"]: refusal["text"] for refusal in refused["refusals"]}
    assert (
        "because of ml-training: Resource pools there are /, Compute-ResourcePool, Mgmt-ResourcePool."
        in texts["ML-cpu-vm-01"]
    )
    assert "because of ml/vision: Folders there are /, Workloads, Workloads/vision." in texts["ML-cpu-vm-01"]
    assert "because of ml-network: Networks there are infra-network, ml-segment." in texts["ML-cpu-vm-01"]

    plan = run("migration_plan", host="esx-01", wan_mbit=5000, wan_latency_ms=20, **MAPS)
    assert [each["text"] for each in plan["refusals"]] == []
    assert plan["plan"]["checks"] == {"checked": 2, "unchecked": 0, "why_unchecked": "", "warnings": []}
    shown = next(line for line in plan["lines"] if line.startswith("ML-cpu-vm-01"))
    here, there = (f"{lab.answer['vcenter']['host']}:{lab.answer['vcenter']['port']}" for lab in (site, cloud))
    assert shown.startswith(f"ML-cpu-vm-01: esx-01 [vsanDatastore] in vCenter {here} → esx-c")
    assert f" [WorkloadDatastore] in vCenter {there} (cluster Cluster-1, resource pool Compute-ResourcePool" in shown
    assert places(site, cloud) == before

    alone = run_module(
        "vm_migrate", site, state_dir=str(tmp_path), plan=plan["plan"], purpose="evacuate", host="esx-01"
    )
    assert f"Set destination_vcenter to the login of {there}" in alone["msg"]
    assert places(site, cloud) == before

    moved = run("vm_migrate", plan=plan["plan"], purpose="evacuate", host="esx-01", fence=True)
    assert moved.get("left_behind") == [], moved
    assert {(move["source_vcenter"], move["target_vcenter"], move["result"]) for move in moved["moves"]} == {
        (here, there, "moved")
    }
    now = places(site, cloud)
    assert now["ML-cpu-vm-01"][1:] == ("Compute-ResourcePool", "vision", "WorkloadDatastore")
    assert set(cloud.where()) == {"web-21", "ML-cpu-vm-01", "ML-cpu-vm-02"}
    assert run("migration_plan", host="esx-01", **MAPS)["moves"] == []

    homes = run_module("placement", site, state_dir=str(tmp_path))["placements"]
    assert {(each["vm"], each["outcome"]) for each in homes} == {
        ("ML-cpu-vm-01", "other_vcenter"),
        ("ML-cpu-vm-02", "other_vcenter"),
    }
    from_there = run_module("placement", cloud, state_dir=str(tmp_path / "nowhere"))["placements"]
    assert {(each["vm"], each["home"], each["outcome"]) for each in from_there} == {
        ("ML-cpu-vm-01", "esx-01", "other_vcenter"),
        ("ML-cpu-vm-02", "esx-01", "other_vcenter"),
    }
    run_module("host_maintenance", site, host="esx-01", state="normal")
    alone = run_module("migration_plan", site, state_dir=str(tmp_path), host="esx-01", use_homes=True)
    assert {refusal["reasons"][0]["check"] for refusal in alone["refusals"]} == {"other_vcenter"}

    # From another controller: the attributes in the cloud know the homes.
    both["state_dir"] = str(tmp_path / "other")
    way_home = run("migration_plan", host="esx-01", use_homes=True, policy="any")
    assert len(way_home["moves"]) == 2, way_home
    back = run("vm_migrate", plan=way_home["plan"], purpose="restore", host="esx-01")
    assert back.get("left_behind") == [], back
    assert places(site, cloud) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "Check destination_vcenter.username and destination_vcenter.password"),
        ({"ca_path": None}, "Set destination_vcenter.ca_path"),
    ],
)
def test_a_wrong_login_of_the_cloud_is_named(
    changes: dict[str, Any], words: str, site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    if changes == {"ca_path": None}:
        changes = {"ca_path": site.env["SSL_CERT_FILE"]}  # that of the other vCenter
    there = login(cloud, **changes)
    out = run_module("migration_plan", site, state_dir=str(tmp_path), host="esx-01", destination_vcenter=there, **MAPS)
    assert words in out["msg"]
    assert out["option"] == "destination_vcenter"


def test_the_same_vcenter_twice_is_refused(site: Lab, run_module: RunModule, tmp_path: Path) -> None:
    out = run_module("migration_plan", site, state_dir=str(tmp_path), host="esx-01", destination_vcenter=login(site))
    assert "is the same vCenter as" in out["msg"]


def test_a_certificate_that_is_not_verified_is_pinned_and_stated(
    site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    there = login(cloud, ca_path=None, validate_certs=False)
    plan = run_module("migration_plan", site, state_dir=str(tmp_path), host="esx-01", destination_vcenter=there, **MAPS)
    assert plan["plan"]["checks"]["checked"] == 2
    thumbprint = cloud.answer["vcenter"]["thumbprint_sha1"]
    assert any(f"the SHA-1 thumbprint {thumbprint}" in line for line in plan["lines"])


def test_a_line_that_breaks_in_mid_move_leaves_each_vm_on_one_side(
    site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    both = {"state_dir": str(tmp_path), "destination_vcenter": login(cloud)}
    before = places(site, cloud)
    cloud.post("wan", mbit=300)
    began = len(site.get("state")["moves"])

    def cut() -> None:
        until(lambda: len(site.get("state")["moves"]) > began)
        cloud.post("wan", state="down")

    plan = run_module("migration_plan", site, host="esx-01", **MAPS, **both)
    cutter = threading.Thread(target=cut)
    cutter.start()
    out = run_module(
        "vm_migrate", site, plan=plan["plan"], purpose="evacuate", host="esx-01", fence=True, retries=0, **both
    )
    cutter.join()
    assert out["failed"], out
    assert set(out["left_behind"]) == {"ML-cpu-vm-01", "ML-cpu-vm-02"}
    assert places(site, cloud) == before
    assert not out["fenced"]
    refused = run_module("migration_plan", site, host="esx-01", **MAPS, **both)
    assert all("HostCommunication" in each["text"] for each in refused["refusals"]), refused["refusals"]
    cloud.post("wan", state="up", mbit=5000)
    for asked in (both, {"state_dir": str(tmp_path)}):
        homes = run_module("placement", site, **asked)["placements"]
        assert {(each["vm"], each["outcome"]) for each in homes} == {
            ("ML-cpu-vm-01", "home"),
            ("ML-cpu-vm-02", "home"),
        }


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "8.0.2"}, "because of 8.0.2 of"),
        ({"certificate": "expired"}, "cannot be verified (certificate has expired)"),
        ({"datastores": [{"name": "WorkloadDatastore", "capacity_gb": 100, "free_gb": 3}]}, "no_capacity_datastore"),
    ],
)
def test_a_cloud_that_cannot_take_the_vms_is_refused(
    changes: dict[str, Any], words: str, run_module: RunModule, tmp_path: Path
) -> None:
    topology = yaml.safe_load((TOPOLOGIES / "cloud.yml").read_text(encoding="utf-8"))
    topology["vcenters"][0] |= changes
    path = tmp_path / "cloud.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        cloud = lab.other("cloud")
        before = places(lab, cloud)
        both = {"state_dir": str(tmp_path / "state"), "destination_vcenter": login(cloud)}
        out = run_module("migration_plan", lab, host="esx-01", **MAPS, **both)
        texts = [each["text"] for each in out.get("refusals", ())] or [out["msg"]]
        assert all(words in text for text in texts), texts
        assert places(lab, cloud) == before


@pytest.mark.thorough
def test_the_roles_of_the_operator_are_enough_to_leave_and_come_home_and_no_more(
    run_module: RunModule, tmp_path: Path
) -> None:
    """Each vCenter has an operator with the role that ``create_role`` makes there."""
    topology = str(TOPOLOGIES / "cloud.yml")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", topology) as site:
        cloud = site.other("cloud")
        made = {"operator_role_principal": r"VSPHERE.LOCAL\operator", "operator_role_other_vcenter": True}
        who = {key: login(site, "operator")[key] for key in ("username", "password")}
        both = {"state_dir": str(tmp_path), "destination_vcenter": login(cloud, "operator"), **who}
        before = places(site, cloud)

        for lab, other_vcenter in ((site, True), (cloud, False)):
            out = play("create_role", lab, tmp_path, **made | {"operator_role_other_vcenter": other_vcenter})
            assert out.returncode == 0, out.stdout
        refused = run_module("migration_plan", site, host="esx-01", **MAPS, **both)
        texts = [refusal["text"] for refusal in refused["refusals"]]
        assert len(texts) == 2, refused
        assert all("VirtualMachine.Inventory.Register" in text or "Datastore.AllocateSpace" in text for text in texts)

        out = play("create_role", cloud, tmp_path, **made)
        assert out.returncode == 0, out.stdout
        plan = run_module("migration_plan", site, host="esx-01", **MAPS, **both)
        assert any("do not go along to the other vCenter" in note for note in plan["plan"]["notes"]), plan
        moved = run_module("vm_migrate", site, plan=plan["plan"], purpose="evacuate", host="esx-01", fence=True, **both)
        assert (len(moved["moves"]), moved["left_behind"]) == (2, []), moved
        assert set(cloud.where()) == {"web-21", "ML-cpu-vm-01", "ML-cpu-vm-02"}

        assert run_module("host_maintenance", site, host="esx-01", state="normal", **who)["changed"]
        plan = run_module("migration_plan", site, host="esx-01", use_homes=True, policy="any", **both)
        back = run_module("vm_migrate", site, plan=plan["plan"], purpose="restore", host="esx-01", **both)
        assert back["left_behind"] == [], back
        assert places(site, cloud) == before

        move = {"Resource.HotMigrate", "Resource.ColdMigrate", "Resource.AssignVMToPool", "Global.SetCustomField"}
        arrive = {"Datastore.AllocateSpace", "Network.Assign", "VirtualMachine.Inventory.Register"}
        for lab, more in ((site, {"Host.Config.Maintenance"}), (cloud, set())):
            demanded = set(lab.get("privileges")[lab.answer["operator"]["user"]])
            # Storage policies are asked for, and the plan continues without them.
            assert demanded - {"System.View", "System.Anonymous", "StorageProfile.View"} == move | arrive | more


@pytest.mark.thorough
def test_a_vm_with_a_vgpu_goes_to_a_free_card_of_the_cloud_and_comes_home(
    run_module: RunModule, tmp_path: Path
) -> None:
    """Both VMs of the host have a whole card. The cloud has one card only until the second host gets its own."""
    whole, card = "grid_t4-16q", {"model": "NVIDIA T4", "memory_gb": 16}
    document = yaml.safe_load((TOPOLOGIES / "cloud.yml").read_text(encoding="utf-8"))
    for host in document["hosts"]:
        host |= {"gpus": [card, card], "vgpu_profiles": [whole]}
    document["vcenters"][0]["hosts"][0] |= {"gpus": [card], "vgpu_profiles": [whole]}
    for vm in document["vms"][:2]:
        vm |= {"devices": [f"vgpu:{whole}"], "vgpu_used_gb": 1}
    path = tmp_path / "gpus.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as site:
        cloud = site.other("cloud")
        both = {
            "state_dir": str(tmp_path / "state"),
            "destination_vcenter": login(cloud),
            "experiments": {"enabled": False, "stall_budget": 60},
        }
        planning = {key: both[key] for key in ("state_dir", "destination_vcenter")} | {"wan_mbit": 5000}
        before = places(site, cloud)

        both_vms = run_module("migration_plan", site, host="esx-01", stall_budget=60, **planning, **MAPS)
        assert [len(both_vms["moves"]), len(both_vms["refusals"])] == [1, 1], "one card takes one of them"
        refused = run_module("migration_plan", site, vms=["ML-cpu-vm-01"], **planning, **MAPS)
        assert "the stall budget is 5 s" in refused["refusals"][0]["text"]

        plan = run_module("migration_plan", site, vms=["ML-cpu-vm-01"], stall_budget=60, **planning, **MAPS)
        (move,) = plan["moves"]
        assert (move["target_name"], move["predicted_stun"]) == ("esx-c1", 44.0), (
            "twice the published 22 s at half the speed"
        )
        moved = run_module("vm_migrate", site, host="esx-01", purpose="evacuate", plan=plan["plan"], **both)
        assert moved.get("left_behind") == [], moved
        assert users(cloud, "esx-c1") == [{"ML-cpu-vm-01"}]
        assert users(site, "esx-01") == [set(), {"ML-cpu-vm-02"}] or users(site, "esx-01") == [{"ML-cpu-vm-02"}, set()]

        full = run_module("migration_plan", site, vms=["ML-cpu-vm-02"], stall_budget=60, **planning, **MAPS)
        assert full["moves"] == []
        back = run_module(
            "migration_plan", site, host="esx-01", use_homes=True, policy="any", stall_budget=60, **planning
        )
        assert len(back.get("moves", ())) == 1, back
        home = run_module("vm_migrate", site, host="esx-01", plan=back["plan"], purpose="restore", **both)
        assert home.get("left_behind") == [], home
        assert places(site, cloud) == before
        assert users(cloud, "esx-c1") == [set()]


def users(lab: Lab, host: str) -> list[set[str]]:
    """The names of the VMs on each GPU of a host, as vCenter says."""
    with content_of(lab) as content:
        return [{vm.name for vm in gpu.vm} for gpu in find(content, vim.HostSystem, host).config.graphicsInfo]
