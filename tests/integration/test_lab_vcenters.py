# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's second vCenter, as another program sees it: its own address, CA, users and inventory, and VMs that come and go."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vim

from lab.paths import TOPOLOGIES
from lab.simulator_client import check_answers
from tests.labs import Lab, running_lab
from tests.sdk import content_of


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    topology = str(TOPOLOGIES / "cloud.yml")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", topology) as lab:
        yield lab


@pytest.fixture(scope="module")
def cloud(site: Lab) -> Lab:
    return site.other("cloud")


def names(content: Any, kind: type) -> set[str]:
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    return {entity.name for entity in view.view}


def test_each_vcenter_has_its_own_certificate_users_and_inventory(site: Lab, cloud: Lab) -> None:
    check_answers(site.answer)
    with content_of(site) as near, content_of(cloud) as far:
        assert near.about.instanceUuid == site.answer["vcenter"]["instance_uuid"]
        assert far.about.instanceUuid == cloud.answer["vcenter"]["instance_uuid"] != near.about.instanceUuid
        assert names(near, vim.HostSystem) == {"esx-01", "esx-02"}
        assert names(far, vim.HostSystem) == {"esx-c1", "esx-c2", "esx-c3"}
        assert names(far, vim.VirtualMachine) == {"web-21"}
    other_ca = ssl.create_default_context(cafile=site.env["SSL_CERT_FILE"])
    login = cloud.answer["vcenter"]
    where = {"host": login["host"], "port": login["port"], "user": login["user"]}
    with pytest.raises(ssl.SSLError):
        SmartConnect(**where, pwd=login["password"], sslContext=other_ca)
    own_ca = ssl.create_default_context(cafile=cloud.env["SSL_CERT_FILE"])
    with pytest.raises(vim.fault.InvalidLogin):
        SmartConnect(**where, pwd=site.answer["vcenter"]["password"], sslContext=own_ca)
    with content_of(cloud, "restricted") as content:
        assert content.about.version == "8.0.3"


def test_the_control_api_is_asked_about_one_vcenter(site: Lab, cloud: Lab) -> None:
    assert set(site.where()) == {"ML-cpu-vm-01", "ML-cpu-vm-02", "ML-cpu-vm-03", "infra-11"}
    assert cloud.where() == {"web-21": "esx-c1"}
    cloud.post("hosts/esx-c2", connection="disconnected")
    assert cloud.get("state")["hosts"]["esx-c2"]["connection"] == "disconnected"
    cloud.post("hosts/esx-c2", connection="connected")
