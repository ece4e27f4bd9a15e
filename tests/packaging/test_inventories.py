# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventories, read from the lab by the certified plugins."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labs import ROOT, Lab, running_lab

BIN = Path(sys.executable).parent
Groups = dict[str, Any]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of the seed scenario, without guests."""
    with running_lab("--no-guests", "--time-scale", "0.02") as running:
        yield running


def inventory(lab: Lab) -> Groups:
    """What ``ansible-inventory --list`` answers. Fails on a warning."""
    command = [BIN / "ansible-inventory", "-i", "inventories/vcenter", "--list", "--export"]
    environment = {**os.environ, **lab.env}
    outcome = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "WARNING" not in outcome.stderr, outcome.stderr
    # What comes from outside is marked as never to be templated.
    return dict(json.loads(outcome.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found)))


def group_name(prefix: str, name: str) -> str:
    return f"{prefix}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"


def members(groups: Groups, name: str) -> set[str]:
    """Hosts of a group and of all groups in it."""
    group = groups.get(name, {})
    return set(group.get("hosts", [])).union(*(members(groups, child) for child in group.get("children", [])))


@pytest.fixture(scope="module")
def groups(lab: Lab) -> Groups:
    """The groups of the fresh lab."""
    return inventory(lab)


def test_vms_are_grouped_by_the_host_and_fault_domain_that_they_are_in(groups: Groups, lab: Lab) -> None:
    state = lab.get("state")
    templates = set(state["vms"]) - members(groups, "vms")
    assert templates == {"ML-base-image-23"}
    assert members(groups, "esxi_hosts") == set(state["hosts"])
    for host, account in state["hosts"].items():
        here = {vm for vm, about in state["vms"].items() if about["host"] == host} - templates
        assert members(groups, group_name("host", host)) == here | {host}
        assert here | {host} <= members(groups, group_name("fault_domain", account["fault_domain"]))
    domains = {account["fault_domain"] for account in state["hosts"].values()}
    found = [members(groups, group_name("fault_domain", domain)) for domain in domains]
    assert sum(map(len, found)) == len(members(groups, "vms")) + len(state["hosts"]), "each is in one fault domain"


def test_vms_are_grouped_by_cluster_and_owner(groups: Groups, lab: Lab) -> None:
    assert members(groups, "cluster_ML_cluster") == members(groups, "vms") | members(groups, "esxi_hosts")
    owners = {name: members(groups, name) for name in groups if name.startswith("owner_")}
    assert set().union(*owners.values()) == members(groups, "vms")
    assert sum(map(len, owners.values())) == len(members(groups, "vms"))
    assert "ML-cpu-vm-05" in owners["owner_vision"]
    variables = groups["_meta"]["hostvars"]
    assert variables["ML-cpu-vm-05"]["experiment_owner"] == "vision"
    assert variables["ML-cpu-vm-05"]["ansible_host"] == lab.get("state")["vms"]["ML-cpu-vm-05"]["guest_address"]
    assert variables["esx-05"]["fault_domain"] == "us-west-2b"


def test_groups_follow_the_present(lab: Lab) -> None:
    lab.post("vms/ML-cpu-vm-19", action="move", target="esx-01")
    lab.post("hosts/esx-07", connection="disconnected")
    after = inventory(lab)
    assert "ML-cpu-vm-19" in members(after, "fault_domain_us_west_2a")
    assert "ML-cpu-vm-19" not in members(after, "host_esx_08")
    assert "esx-07" not in members(after, "esxi_hosts")
    assert "ML-gpu-vm-21" in members(after, "host_esx_07"), "a VM on a host that does not answer is still there"


def test_the_labs_inventory_is_the_whole_connection(lab: Lab) -> None:
    command = [BIN / "ansible-playbook", "-i", "inventories/lab", "liveml.vsphere.migrate_vm", "--check", "--diff"]
    variables = {"migrate_vm_name": "ML-cpu-vm-05", "migrate_vm_destination": "esx-01"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("VMWARE_", "SSL_CERT_"))}
    environment |= {"LIVEML_LAB": lab.answer["state"], "NO_COLOR": "1"}
    outcome = subprocess.run(
        [*command, "-e", json.dumps(variables)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout
    assert "ML-cpu-vm-05: esx-05 → esx-01" in outcome.stdout
    assert lab.answer["vcenter"]["password"] not in outcome.stdout
