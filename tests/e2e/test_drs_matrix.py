# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each playbook that moves VMs, under each automation of DRS and with each kind of user, under real training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.drs import drs_overrides
from tests.labs import Lab, play, running_lab

pytestmark = [pytest.mark.long, pytest.mark.thorough]

HOST, DOMAIN, TRAINS = "esx-05", "us-west-2b", "ML-cpu-vm-04"
PRINCIPAL = r"VSPHERE.LOCAL\operator"
ROLES = {"with overrides": True, "without overrides": False}  # None of the playbook's: the role of VMware Cloud on AWS


def login(lab: Lab, state: Path, user: str) -> dict[str, str]:
    """The variables of a user's login. The role of the operator is made by its playbook."""
    if user in ROLES:
        out = play("create_role", lab, state, operator_role_principal=PRINCIPAL, operator_role_drs=ROLES[user])
        assert out.returncode == 0, out.stdout
    who = lab.answer["operator" if user in ROLES else "restricted"]
    return {"liveml_vsphere_username": who["user"], "liveml_vsphere_password": who["password"]}


def proved(state: Path) -> list[str]:
    """The verdicts of the newest run with an experiment, and what it says about its moves."""
    document: dict[str, Any] = json.loads(max(state.glob("runs/*/evidence.json")).read_text())
    assert {move["result"] for move in document["moves"]} == {"moved"}
    return [experiment["verdict"] for experiment in document["experiments"]]


@pytest.mark.parametrize("automation", ["manual", "partial", "full"])
@pytest.mark.parametrize("user", [*ROLES, "of VMware Cloud on AWS"])
def test_every_vm_is_away_and_home_and_every_experiment_proved(tmp_path: Path, automation: str, user: str) -> None:
    with running_lab("--time-scale", "0.06", "--drs", automation) as lab:
        who, before, pinned = login(lab, tmp_path, user), lab.where(), drs_overrides(lab)
        leaving = lab.on(HOST)

        def played(name: str, **variables: object) -> None:
            out = play(name, lab, tmp_path, **who, **variables)
            assert out.returncode == 0, out.stdout
            assert drs_overrides(lab) == pinned

        played("evacuate_host", evacuate_host_name=HOST)
        assert lab.on(HOST) & leaving == set()
        assert proved(tmp_path) == ["uninterrupted"]
        played("restore_host", restore_host_name=HOST)
        assert {vm: lab.where()[vm] for vm in leaving} == {vm: before[vm] for vm in leaving}
        assert proved(tmp_path) == ["uninterrupted"]

        played("migrate_vm", migrate_vm_name=TRAINS, migrate_vm_policy="other_only")
        assert lab.where()[TRAINS] != HOST
        assert proved(tmp_path) == ["uninterrupted"]
        played("migrate_vm", migrate_vm_name=TRAINS, migrate_vm_destination=HOST)
        assert lab.where()[TRAINS] == HOST

        if user in ROLES:  # else the hosts stay in service, and DRS and the evacuation of the next host may use them
            inside = {name for name, host in lab.get("state")["hosts"].items() if host["fault_domain"] == DOMAIN}
            homes = running(lab, inside)
            played("evacuate_fault_domain", fault_domain_name=DOMAIN)
            assert running(lab, inside) == {}
            played("restore_fault_domain", fault_domain_name=DOMAIN)
            assert {vm: lab.where()[vm] for vm in homes} == homes


def running(lab: Lab, hosts: set[str]) -> dict[str, str]:
    """The hosts of the VMs that are powered on there, by VM."""
    on = {name for name, vm in lab.get("state")["vms"].items() if vm["power"] == "poweredOn"}
    return {vm: host for vm, host in lab.where().items() if host in hosts and vm in on}
