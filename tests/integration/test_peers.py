# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab is a vCenter for others, too: modules of community.vmware and vmware.vmware work with it.

What needs a vCenter's REST interface (tags) or ESXi itself is left out: the lab has neither.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.paths import ROOT, TOPOLOGIES
from tests.labs import Lab, playbook_environment, running_lab

pytestmark = pytest.mark.thorough
PEERS = Path(__file__).parent / "peers"
PLACES = {"datacenter": "DC-west", "cluster": "ML-cluster"}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of its own: the playbooks change settings of its cluster."""
    with running_lab("--topology", str(TOPOLOGIES / "small.yml"), "--no-guests", "--time-scale", "0.02") as running:
        yield running


def called(lab: Lab, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of Ansible with the login of the lab."""
    return subprocess.run(
        [str(Path(sys.executable).parent / command), *arguments],
        cwd=ROOT,
        env={**playbook_environment(lab), "REQUESTS_CA_BUNDLE": lab.env["SSL_CERT_FILE"]},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("peer", ["community_vmware", "vmware_vmware"])
def test_the_modules_of_a_peer_work_with_the_lab(lab: Lab, peer: str) -> None:
    done = called(lab, "ansible-playbook", str(PEERS / f"{peer}.yml"), "-e", json.dumps(PLACES))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


@pytest.mark.parametrize(("inventory", "names"), [("vms", 7), ("esxi_hosts", 4)])
def test_the_inventories_of_a_peer_list_the_lab(lab: Lab, inventory: str, names: int) -> None:
    done = called(lab, "ansible-inventory", "--list", "-i", str(PEERS / f"{inventory}.yml"))
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["_meta"]["hostvars"]) == names, done.stdout[-2000:]
