# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters with DRS: what a plan says about it, and what runs do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._run import executor
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import read_estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession
from pyVmomi import vim

from tests.drs import administrator, drs_overrides
from tests.labs import ROOT, Lab, RunModule, running_lab
from tests.measuring import until

HOST = "esx-05"


def configure(lab: Lab, *, automation: str, allowed: bool = True, excluded: str = "") -> None:
    """Set DRS of the lab's cluster, as an administrator does; ``excluded`` is the name of a VM."""
    drs = vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior=automation, enableVmBehaviorOverrides=allowed)
    spec = vim.cluster.ConfigSpecEx(drsConfig=drs)
    with connected(administrator(lab)) as client:
        if excluded:
            vm = client.reference("VirtualMachine", lab.get("state")["vms"][excluded]["moid"])
            info = vim.cluster.DrsVmConfigInfo(key=vm, enabled=False)
            spec.drsVmConfigSpec = [vim.cluster.DrsVmConfigSpec(operation="add", info=info)]
        (cluster,) = {host.cluster for host in read_estate(client).hosts.values()}
        reference = client.reference("ClusterComputeResource", cluster)
        task = reference.ReconfigureComputeResource_Task(spec, True)
        while (state := task.info.state) not in ("success", "error"):
            pass
    assert state == "success", task.info.error


def drs_of(plan: dict[str, Any]) -> tuple[str, str, list[str]]:
    (decision,) = plan["plan"]["drs"]
    return decision["automation"], decision["how"], decision["pinned"]


def test_the_plan_excludes_the_vms_that_drs_would_move(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    first = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert drs_of(first) == ("disabled", "ignore", [])
    assert not any("DRS" in line for line in first["lines"])

    spared, *rest = sorted(fast_lab.on(HOST))
    configure(fast_lab, automation="fullyAutomated", excluded=spared)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    vms = fast_lab.get("state")["vms"]
    assert drs_of(plan) == ("full", "pin", sorted(vms[name]["moid"] for name in rest))
    assert "They are excluded from DRS while they move." in plan["lines"][-1]
    assert plan["diff"]["after"].endswith(f"{plan['lines'][-1]}\n")
    assert plan["moves"] == first["moves"]
    assert plan["plan_id"] != first["plan_id"]

    (host,) = run_module("host_info", fast_lab, host=HOST)["hosts"]
    assert host["drs"] == "full"
    refused = run_module("migration_plan", fast_lab, host=HOST, approved=first["plan"], state_dir=str(tmp_path))["msg"]
    assert "DRS would be handled by pin; approved is ignore" in refused
    stale = run_module(
        "vm_migrate", fast_lab, plan=first["plan"], host=HOST, purpose="evacuate", state_dir=str(tmp_path)
    )
    assert "now moves the VM by itself" in stale["msg"]
    assert fast_lab.on(HOST) == {spared, *rest}


@pytest.mark.parametrize("automation", ["manual", "partiallyAutomated"])
def test_drs_that_only_recommends_is_left_alone(
    automation: str, fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    configure(fast_lab, automation=automation)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert drs_of(plan)[1:] == ("ignore", [])
    assert not any("DRS" in line for line in plan["lines"])


def test_without_the_privilege_the_host_is_fenced_last(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    configure(fast_lab, automation="fullyAutomated")
    restricted = fast_lab.answer["restricted"]
    login = {"username": restricted["user"], "password": restricted["password"]}
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path), **login)
    assert drs_of(plan) == ("full", "fence_last", [])
    why = "you may not edit the cluster (Host.Inventory.EditCluster), so they leave before the host is fenced"
    assert why in plan["lines"][-1]


def test_a_cluster_without_overrides_is_fenced_last(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    configure(fast_lab, automation="fullyAutomated", allowed=False)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert drs_of(plan) == ("full", "fence_last", [])
    assert "the cluster does not allow overrides" in plan["lines"][-1]


@pytest.mark.parametrize("hidden", ["drsConfig", "drsVmConfig"])
def test_what_nobody_may_read_of_drs_is_said_and_guarded(
    hidden: str, fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    configure(fast_lab, automation="manual")
    fast_lab.post("hide", object="ML-cluster", paths=[f"configurationEx.{hidden}"], fault="NoPermission")
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert drs_of(plan) == ("unknown" if hidden == "drsConfig" else "manual", "fence_last", [])
    assert "It could not be read whether DRS of cluster ML-cluster moves these VMs by itself" in plan["lines"][-1]
    assert plan["moves"], "what DRS does decides how a VM moves, not whether"


@pytest.fixture
def automated_lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab with fully automated DRS; the parameter is what else is set of its cluster."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "default.yml").read_text())
    (cluster,) = topology["clusters"]
    cluster |= {"drs": "full", "drs_interval": 0, **getattr(request, "param", {})}
    path = tmp_path / "automated.yml"
    path.write_text(yaml.safe_dump(topology))
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        yield lab


def evacuated(lab: Lab, run_module: RunModule, state: Path, **plan_options: Any) -> dict[str, Any]:
    """The result of an evacuation whose host is fenced by the run."""
    plan = run_module("migration_plan", lab, host=HOST, state_dir=str(state), **plan_options)
    assert not plan.get("failed"), plan["msg"]
    options = {"host": HOST, "purpose": "evacuate", "state_dir": str(state), "experiments": {"enabled": False}}
    return run_module("vm_migrate", lab, plan=plan["plan"], fence=True, **options)


def restored(lab: Lab, run_module: RunModule, state: Path) -> dict[str, Any]:
    """The result of a restore of the same host."""
    run_module("host_maintenance", lab, host=HOST, state="normal")
    plan = run_module("migration_plan", lab, host=HOST, use_homes=True, state_dir=str(state))
    options = {"host": HOST, "purpose": "restore", "state_dir": str(state), "experiments": {"enabled": False}}
    return run_module("vm_migrate", lab, plan=plan["plan"], **options)


def movers(lab: Lab) -> set[str]:
    """Who moved VMs, by the lab's own account."""
    return {"DRS" if move["by"] == "DRS" else "user" for move in lab.get("state")["moves"]}


@pytest.mark.parametrize("automated_lab", [{"drs_overrides": {"ML-cpu-vm-06": "full"}}], indirect=True)
def test_pinned_vms_leave_by_the_run_and_come_home(automated_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    lab, before, leaving = automated_lab, automated_lab.where(), automated_lab.on(HOST)
    overrides = drs_overrides(lab)
    result = evacuated(lab, run_module, tmp_path / "state")
    assert not result.get("failed"), result["msg"]
    assert {(move["result"], move["by"]) for move in result["moves"]} == {("moved", "")}
    assert result["fenced"]
    assert (lab.on(HOST), movers(lab)) == (set(), {"user"})
    assert drs_overrides(lab) == overrides
    assert lab.get("state")["hosts"][HOST]["maintenance"] in ("entering", "in")
    back = restored(lab, run_module, tmp_path / "state")
    assert not back.get("failed"), back["msg"]
    assert {name: lab.where()[name] for name in leaving} == {name: before[name] for name in leaving}


@pytest.mark.parametrize("automated_lab", [{"drs_allow_overrides": False}], indirect=True)
def test_where_nothing_can_be_pinned_the_fence_comes_last(
    automated_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    result = evacuated(automated_lab, run_module, tmp_path / "state")
    assert not result.get("failed"), result["msg"]
    assert (automated_lab.on(HOST), movers(automated_lab), result["fenced"]) == (set(), {"user"}, True)
    assert "ReconfigureComputeResource_Task" not in automated_lab.get("calls")


def test_followed_drs_moves_the_vms_and_they_come_home(
    automated_lab: Lab, run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, before, leaving = automated_lab, automated_lab.where(), automated_lab.on(HOST)
    monkeypatch.setattr(executor, "FOLLOW_SECONDS", 5.0)
    result = evacuated(lab, run_module, tmp_path / "state", drs="follow")
    assert not result.get("failed"), result["msg"]
    by = {move["vm"]: move["by"] for move in result["moves"]}
    true = {move["vm"]: move["by"] for move in lab.get("state")["moves"]}
    assert {vm for vm, who in by.items() if who == "DRS"} == {vm for vm, who in true.items() if who == "DRS"} != set()
    assert {move["vm"]: move["target"] for move in result["moves"]} == {vm: lab.where()[vm] for vm in leaving}
    back = restored(lab, run_module, tmp_path / "state")
    assert not back.get("failed"), back["msg"]
    assert {name: lab.where()[name] for name in leaving} == {name: before[name] for name in leaving}


def test_what_drs_moved_after_the_evacuation_comes_home_and_what_a_person_moved_stays(
    automated_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    lab, before = automated_lab, automated_lab.where()
    assert not evacuated(lab, run_module, tmp_path / "state").get("failed")
    vm, host = next((name, host) for name, host in lab.where().items() if before[name] == HOST and host != HOST)
    other = next(
        name for name, home in before.items() if home == HOST and name != vm and lab.where()[name] not in (host, HOST)
    )
    lab.post(f"vms/{other}", action="move", target=host)
    until(lambda: lab.where()[other] == host)
    run_module("host_maintenance", lab, host=host, state="fenced")  # so DRS moves both on
    until(lambda: vm not in lab.on(host) and other not in lab.on(host))
    run_module("host_maintenance", lab, host=host, state="normal")
    back = restored(lab, run_module, tmp_path / "state")
    assert not back.get("failed"), back["msg"]
    assert lab.where()[vm] == lab.where()[other] == HOST, "DRS moved both last"


def test_the_estate_has_drs_of_each_cluster(fast_lab: Lab) -> None:
    vcenter = fast_lab.answer["vcenter"]
    endpoint = Endpoint(
        vcenter["host"], vcenter["user"], vcenter["password"], vcenter["port"], ca_path=vcenter["ca_file"]
    )

    def read(client: Client) -> set[Automation]:
        estate = read_estate(client)
        return {estate.drs_of(host).automation for host in estate.hosts.values()}

    with connected(endpoint) as client:
        assert read(client) == {Automation.DISABLED}
        configure(fast_lab, automation="fullyAutomated")
        assert read(client) == {Automation.FULL}
        (cluster,) = {host.cluster for host in read_estate(client).hosts.values()}
        assert VcenterSession(client).cluster_settled(cluster, 1.0)
