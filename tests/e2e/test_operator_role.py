# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The least-privilege role is made by its playbook, with what is asked for. That it is enough and no more shows tests/docs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import vim

from tests.labs import Lab, RunModule, play
from tests.sdk import content_of

PRINCIPAL = r"VSPHERE.LOCAL\operator"
MOVES = ("Resource.HotMigrate", "Resource.ColdMigrate", "Resource.AssignVMToPool")
LEAST = {"operator_role_principal": PRINCIPAL, "operator_role_maintenance": False, "operator_role_homes": False}


def test_the_role_is_made_changed_and_left_alone(tmp_path: Path, fast_lab: Lab, run_module: RunModule) -> None:
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    assert "but has no permissions there" in run_module("host_info", fast_lab, **who)["msg"]

    for options, sign in ((("--check",), "changed=1"), ((), "changed=2")):
        out = play("create_role", fast_lab, tmp_path, *options, **LEAST)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    refused = run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)
    assert "Grant the privilege Host.Config.Maintenance" in refused["msg"]

    page = Lab({**fast_lab.answer, "env": fast_lab.env | {"VMWARE_HOST": f"https://{fast_lab.env['VMWARE_HOST']}/ui/"}})
    for sign, lab in (("changed=2", fast_lab), ("changed=0", page)):
        out = play("create_role", lab, tmp_path, operator_role_principal=PRINCIPAL)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    assert run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)["maintenance"] == "entering"

    out = play("create_role", fast_lab, tmp_path, operator_role_principal=r"VSPHERE.LOCAL\nobody")
    assert out.returncode != 0


def test_a_role_that_a_group_has_is_enough(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    """The permission of the user themselves is stronger than the one of their group."""
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    with content_of(fast_lab) as content:
        roles, manager = content.authorizationManager, vim.AuthorizationManager.Permission
        enough = roles.AddAuthorizationRole("movers", ["System.Read", "System.View", "System.Anonymous", *MOVES])
        group = manager(principal=r"VSPHERE.LOCAL\operators", group=True, roleId=enough, propagate=True)
        roles.SetEntityPermissions(content.rootFolder, [group])
        plan = run_module("migration_plan", fast_lab, host="esx-05", state_dir=str(tmp_path), **who)
        assert len(plan["moves"]) == 10
        own = manager(principal=PRINCIPAL, group=False, roleId=-2, propagate=True)  # read-only
        roles.SetEntityPermissions(content.rootFolder, [own])
    refused = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), experiments={"enabled": False}, **who
    )
    assert "Resource.HotMigrate" in refused["msg"], refused
    assert fast_lab.get("state")["moves"] == []


@pytest.mark.thorough
def test_the_role_is_granted_to_a_group(tmp_path: Path, fast_lab: Lab, run_module: RunModule) -> None:
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    for sign in ("changed=3", "changed=0"):
        out = play("create_role", fast_lab, tmp_path, operator_role_group=r"VSPHERE.LOCAL\operators")
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    with content_of(fast_lab) as content:
        granted = content.authorizationManager.RetrieveEntityPermissions(content.rootFolder, False)
        own = [(each.group, each.propagate) for each in granted if each.principal == r"VSPHERE.LOCAL\operators"]
    assert own == [(True, True)]
    assert run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)["maintenance"] == "entering"
    out = play("create_role", fast_lab, tmp_path, operator_role_group=r"VSPHERE.LOCAL\nobody")
    assert out.returncode != 0


@pytest.mark.parametrize(("drs", "how"), [(True, "pin"), pytest.param(False, "fence_last", marks=pytest.mark.thorough)])
def test_the_role_may_exclude_vms_from_drs_only_if_it_is_asked_for(
    tmp_path: Path, fast_lab: Lab, run_module: RunModule, drs: bool, how: str
) -> None:
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    out = play("create_role", fast_lab, tmp_path, operator_role_principal=PRINCIPAL, operator_role_drs=drs)
    assert out.returncode == 0, out.stdout
    plan = run_module("migration_plan", fast_lab, host="esx-05", state_dir=str(tmp_path), **who)
    assert [decision["how"] for decision in plan["plan"]["drs"]] == [how]
    moved = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], host="esx-05", purpose="evacuate", fence=True,
        state_dir=str(tmp_path), experiments={"enabled": False}, **who,
    )  # fmt: skip
    assert not moved.get("failed"), moved["msg"]
    assert {move["by"] for move in moved["moves"]} == {""}
    assert fast_lab.on("esx-05") == set()


@pytest.mark.thorough
@pytest.mark.parametrize("fast_lab", ["partial"], indirect=True)  # else DRS moves VMs of the host that is fenced here
def test_the_role_on_a_cluster_is_enough_there_and_nowhere_else(
    tmp_path: Path, fast_lab: Lab, run_module: RunModule
) -> None:
    """The check says before and after what the user lacks, also with the login of the user."""
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    hosts = {host["name"]: host for host in run_module("host_info", fast_lab)["hosts"]}
    cluster = hosts["esx-05"]["cluster"]
    there = {"operator_role_principal": PRINCIPAL, "operator_role_clusters": [cluster]}
    everything = "Global.SetCustomField, Host.Config.Maintenance, Resource.AssignVMToPool, Resource.ColdMigrate"

    out = play("create_role", fast_lab, tmp_path, "--check", **there)
    assert out.returncode == 0, out.stdout
    assert f"on {cluster}: missing {everything}" in out.stdout, out.stdout
    for sign in ("changed=3", "changed=0"):
        out = play("create_role", fast_lab, tmp_path, **there)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    own = {"liveml_vsphere_username": login["user"], "liveml_vsphere_password": login["password"]}
    out = play("create_role", fast_lab, tmp_path, "--check", **there, **own)
    assert f"on {cluster}: no privilege is missing" in out.stdout, out.stdout
    elsewhere = {**there, "operator_role_clusters": [], "operator_role_folders": ["vm"]}
    out = play("create_role", fast_lab, tmp_path, "--check", **elsewhere, **own)
    assert f"on vm: missing {everything}" in out.stdout, out.stdout

    assert run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)["maintenance"] == "entering"
    assert run_module("host_maintenance", fast_lab, host="esx-05", state="normal", **who)["changed"]
    plan = run_module("migration_plan", fast_lab, vms=["ML-cpu-vm-05"], policy="any", state_dir=str(tmp_path), **who)
    moved = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), experiments={"enabled": False}, **who
    )
    assert [move["result"] for move in moved["moves"]] == ["moved"], moved

    out = play("create_role", fast_lab, tmp_path, operator_role_principal=PRINCIPAL, operator_role_clusters=["nowhere"])
    assert out.returncode != 0
    assert "nowhere" in out.stdout
