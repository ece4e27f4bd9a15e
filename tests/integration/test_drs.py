# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DRS as it is read from vCenter, and what a plan says about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import read_estate
from pyVmomi import vim

from tests.labs import Lab, RunModule

HOST = "esx-05"


def configure(lab: Lab, *, automation: str, allowed: bool = True, excluded: str = "") -> None:
    """Set DRS of the lab's cluster, as an administrator does; ``excluded`` is the name of a VM."""
    vcenter = lab.answer["vcenter"]
    endpoint = Endpoint(
        vcenter["host"], vcenter["user"], vcenter["password"], vcenter["port"], ca_path=vcenter["ca_file"]
    )
    drs = vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior=automation, enableVmBehaviorOverrides=allowed)
    spec = vim.cluster.ConfigSpecEx(drsConfig=drs)
    with connected(endpoint) as client:
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


@pytest.mark.parametrize("automation", ["manual", "partiallyAutomated"])
def test_drs_that_only_recommends_is_left_alone(
    automation: str, fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    configure(fast_lab, automation=automation)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert drs_of(plan)[1:] == ("off", [])
    assert all("→" in line for line in plan["lines"])


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


def test_a_plan_that_lets_drs_move_is_not_carried_out(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    configure(fast_lab, automation="fullyAutomated")
    plan = run_module("migration_plan", fast_lab, host=HOST, drs="follow", state_dir=str(tmp_path))
    assert drs_of(plan) == ("full", "follow", [])
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], host=HOST, state_dir=str(tmp_path))
    assert "Create the plan with drs=auto" in moved["msg"]


def test_the_estate_has_drs_of_each_cluster(fast_lab: Lab) -> None:
    vcenter = fast_lab.answer["vcenter"]
    endpoint = Endpoint(
        vcenter["host"], vcenter["user"], vcenter["password"], vcenter["port"], ca_path=vcenter["ca_file"]
    )

    def read(client: Client) -> set[Automation]:
        estate = read_estate(client)
        return {estate.drs_of(host).automation for host in estate.hosts.values()}

    with connected(endpoint) as client:
        assert read(client) == {Automation.OFF}
        configure(fast_lab, automation="fullyAutomated")
        assert read(client) == {Automation.FULL}
