# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names as vCenter stores them, and homes of hosts and VMs that left the inventory and came back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession
from pyVmomi import vim

from tests.labs import Lab, RunModule, play

HOST, RENAMED = "esx-05", r"base/gpu 50%\x"


def done(client: Client, task: Any) -> None:
    """Wait for a task."""
    assert VcenterSession(client).wait_for(task._moId, 20).fault is None


def register_again(client: Client, moid: str) -> None:
    """Take a VM out of the inventory, and register it again: it has a new MoID then."""
    vm = client.reference("VirtualMachine", moid)
    path, pool, folder, host = vm.config.files.vmPathName, vm.resourcePool, vm.parent, vm.runtime.host
    done(client, vm.PowerOffVM_Task())
    vm.UnregisterVM()
    done(client, folder.RegisterVM_Task(path, None, False, pool, host))
    [again] = [each for each in folder.childEntity if each.config.files.vmPathName == path]
    assert again._moId != moid
    done(client, again.PowerOnVM_Task())


def add_again(client: Client, moid: str, name: str) -> None:
    """Remove a host, and add it again: it has a new MoID then."""
    host = client.reference("HostSystem", moid)
    cluster = host.parent
    done(client, host.DisconnectHost_Task())
    done(client, host.Destroy_Task())
    spec = vim.host.ConnectSpec(hostName=name, userName="root", password="x", force=True)
    done(client, cluster.AddHost_Task(spec=spec, asConnected=True))


def remove(lab: Lab, name: str) -> None:
    """Take a host out of the inventory."""
    login, moid = lab.answer["vcenter"], lab.get("state")["hosts"][name]["moid"]
    with connected(
        Endpoint(login["host"], login["user"], login["password"], login["port"], ca_path=login["ca_file"])
    ) as client:
        host = client.reference("HostSystem", moid)
        done(client, host.DisconnectHost_Task())
        done(client, host.Destroy_Task())


def test_what_comes_back_with_a_new_moid_has_its_home(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    lab, state = fast_lab, str(tmp_path)
    leaving = sorted(lab.on(HOST))
    lab.post(f"vms/{leaving[0]}", action="rename", name=RENAMED)
    leaving[0] = RENAMED

    def moved(purpose: str, **wanted: object) -> list[dict[str, Any]]:
        plan = run_module("migration_plan", lab, host=HOST, state_dir=state, **wanted)
        assert not plan.get("failed"), plan
        common = {"host": HOST, "purpose": purpose, "state_dir": state, "experiments": {"enabled": False}}
        found = run_module("vm_migrate", lab, plan=plan["plan"], **common)
        assert {move["result"] for move in found["moves"]} == {"moved"}, found
        return list(found["moves"])

    assert RENAMED in {move["vm"] for move in moved("evacuate")}
    login, before = lab.answer["vcenter"], lab.get("state")
    with connected(
        Endpoint(login["host"], login["user"], login["password"], login["port"], ca_path=login["ca_file"])
    ) as client:
        register_again(client, before["vms"][leaving[1]]["moid"])
        add_again(client, before["hosts"][HOST]["moid"], HOST)
    after = lab.get("state")
    assert after["hosts"][HOST]["moid"] != before["hosts"][HOST]["moid"]
    assert after["vms"][leaving[1]]["moid"] != before["vms"][leaving[1]]["moid"]

    assert len(moved("restore", use_homes=True)) == len(leaving)
    assert lab.on(HOST) == set(leaving)
    cleared = run_module("placement", lab, host=HOST, state="absent", outcomes=["home"], state_dir=state)
    assert len(cleared["placements"]) == len(leaving)
    assert run_module("placement", lab, host=HOST, state_dir=state)["placements"] == []


def test_homes_on_a_host_that_is_gone_are_named_when_another_host_is_restored(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    """A host that was added again under a name that resembles nothing."""
    lab, state = fast_lab, str(tmp_path)
    vm = sorted(lab.on(HOST))[0]
    plan = run_module("migration_plan", lab, vms=[vm], host=HOST, state_dir=state)
    common = {"host": HOST, "purpose": "evacuate", "state_dir": state, "experiments": {"enabled": False}}
    assert run_module("vm_migrate", lab, plan=plan["plan"], **common)["changed"]
    remove(lab, HOST)
    back = run_module("migration_plan", lab, host="esx-09", use_homes=True, state_dir=state)
    assert back["failed"]
    assert (
        f"No home is recorded on esx-09. The homes of these VMs are hosts that vCenter no longer has: {vm} (esx-05, "
        in back["msg"]
    )
    assert "liveml.vsphere.migrate_vm" in back["msg"]
    [placed] = run_module("placement", lab, state_dir=state)["placements"]
    assert placed["text"].endswith("its home esx-05 is no longer in vCenter.")


@pytest.mark.thorough
def test_a_fault_domain_is_not_restored_while_vms_miss_a_host_that_is_gone(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    lab, away = fast_lab, dict[str, str]()
    for host in (HOST, "esx-06"):
        away[host] = sorted(lab.on(host))[0]
        plan = run_module(
            "migration_plan", lab, vms=[away[host]], host=host, policy="other_only", state_dir=str(tmp_path)
        )
        common = {"host": host, "purpose": "evacuate", "experiments": {"enabled": False}}
        assert run_module("vm_migrate", lab, plan=plan["plan"], state_dir=str(tmp_path), **common)["changed"]
    remove(lab, HOST)
    out = play("restore_fault_domain", lab, tmp_path, fault_domain_name="us-west-2b")
    assert out.returncode == 2, out.stdout
    assert f"Not every VM is home in us-west-2b. {away[HOST]} stays because of {HOST}" in " ".join(out.stdout.split())
    assert lab.where()[away["esx-06"]] == "esx-06", "what has a home is brought home first"
