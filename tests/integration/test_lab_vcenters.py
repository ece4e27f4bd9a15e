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
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from lab.paths import TOPOLOGIES
from lab.simulator_client import check_answers
from tests.labs import Lab, running_lab
from tests.measuring import until
from tests.sdk import CLOUD, SITE, across, content_of, find, locator


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


def events_of(content: Any, name: str) -> list[tuple[str, str]]:
    """Class and user of each event of a VM."""
    events = sorted(content.eventManager.QueryEvents(vim.event.EventFilterSpec()), key=lambda each: each.key)
    return [(type(each).__name__, each.userName) for each in events if each.vm and each.vm.name == name]


def errors(near: Any, vm: Any, spec: Any) -> list[str]:
    """Classes of the faults that the check of a move finds."""
    task = near.vmProvisioningChecker.CheckRelocate_Task(vm, spec)
    WaitForTask(task)
    return [type(error).__name__.rsplit(".")[-1] for result in task.info.result for error in result.error]


def test_what_is_wrong_with_the_other_vcenter_fails_the_task_and_its_check(site: Lab, cloud: Lab) -> None:
    with content_of(site) as near, content_of(cloud) as far:
        vm = find(near, vim.VirtualMachine, "ML-cpu-vm-03")
        spec = across(cloud, far, CLOUD, {4000: "ml-segment"}, "restricted")
        assert errors(near, vm, spec) == []
        spec.deviceChange = []
        assert errors(near, vm, spec) == ["CannotAccessNetwork"]
        spec.service = locator(cloud, "operator")
        assert errors(near, vm, spec) == ["NoPermission"]
        spec.service = locator(cloud, sslThumbprint=site.answer["vcenter"]["thumbprint_sha256"])
        assert errors(near, vm, spec) == ["SSLVerifyFault"]
        with pytest.raises(vim.fault.SSLVerifyFault) as fault:
            WaitForTask(vm.RelocateVM_Task(spec))
        assert fault.value.thumbprint == cloud.answer["vcenter"]["thumbprint_sha1"]
        spec.pool = None
        with pytest.raises(vmodl.fault.InvalidArgument) as missing:
            vm.RelocateVM_Task(spec)
        assert missing.value.invalidProperty == "spec.pool"
        assert vm.runtime.host.name == "esx-02"


def test_a_wan_that_breaks_leaves_the_vm_where_it_was(site: Lab, cloud: Lab) -> None:
    with content_of(site) as near, content_of(cloud) as far:
        vm = find(near, vim.VirtualMachine, "ML-cpu-vm-03")
        cloud.post("wan", mbit=1)
        task = vm.RelocateVM_Task(across(cloud, far, CLOUD, {4000: "ml-segment"}, "restricted"))
        until(lambda: cloud.get("state")["wan"]["moves"] == 1)
        cloud.post("wan", state="down")
        with pytest.raises(vim.fault.GenericVmConfigFault):
            WaitForTask(task)
        assert vm.runtime.host.name == "esx-02"
        assert cloud.where() == {"web-21": "esx-c1"}
        cloud.post("wan", state="up", mbit=5000)
    with pytest.raises(OSError, match="409"):
        site.post("wan", state="down")


def test_a_vm_moves_to_the_other_vcenter_and_home(site: Lab, cloud: Lab) -> None:
    with content_of(site) as near, content_of(cloud) as far:
        vm = find(near, vim.VirtualMachine, "ML-cpu-vm-02")
        before = vm.config.instanceUuid, vm.config.uuid, vm.runtime.bootTime, vm.guest.ipAddress
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
            propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.host"])],
        )
        collector = near.propertyCollector.CreatePropertyCollector()
        collector.CreateFilter(spec, False)
        version = collector.WaitForUpdatesEx("", None).version
        networks = {4000: "ml-segment", 4001: "infra-network"}
        task = vm.RelocateVM_Task(across(cloud, far, CLOUD, networks))
        WaitForTask(task)
        assert (task.info.descriptionId, task.info.entity._moId) == ("VirtualMachine.relocate", vm._moId)
        assert task.info.entityName == "ML-cpu-vm-02"
        left = collector.WaitForUpdatesEx(version, vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=5))
        assert [(each.kind, each.obj) for each in left.filterSet[0].objectSet] == [("leave", vm)]
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            assert vm.runtime.host
        arrived = find(far, vim.VirtualMachine, "ML-cpu-vm-02")
        after = arrived.config.instanceUuid, arrived.config.uuid, arrived.runtime.bootTime, arrived.guest.ipAddress
        assert after == before
        assert arrived._moId != vm._moId
        assert (arrived.runtime.host.name, arrived.resourcePool.name, arrived.parent.name) == (
            "esx-c1",
            *list(CLOUD.values())[1:3],
        )
        assert {each.name for each in arrived.network} == {"ml-segment", "infra-network"}
        assert [each.name for each in arrived.datastore] == ["WorkloadDatastore"]
        assert (list(arrived.customValue), list(arrived.availableField)) == ([], [])
        assert arrived in find(far, vim.Datastore, "WorkloadDatastore").vm
        assert arrived in arrived.runtime.host.vm
        by = site.answer["vcenter"]["user"]
        assert events_of(near, "ML-cpu-vm-02")[-2:] == [
            ("vim.event.VmBeingHotMigratedEvent", by), ("vim.event.VmRemovedEvent", by),
        ]  # fmt: skip
        assert events_of(far, "ML-cpu-vm-02") == [("vim.event.VmMigratedEvent", by)]

        # Reconfigured there, as an ordinary VM.
        WaitForTask(arrived.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="from the site")))
        WaitForTask(arrived.RelocateVM_Task(across(site, near, SITE, {4000: "ml-network", 4001: "infra-network"})))
        home = find(near, vim.VirtualMachine, "ML-cpu-vm-02")
        assert (home.config.instanceUuid, home.config.annotation, home.runtime.host.name) == (
            before[0],
            "from the site",
            "esx-02",
        )
    moves = [*site.get("state")["moves"], *cloud.get("state")["moves"]]
    moves = [move for move in moves if move["vm"] == "ML-cpu-vm-02"]
    assert [(move["source_vcenter"], move["target_vcenter"], move["result"]) for move in moves] == [
        ("vcenter.lab", "cloud", "success"), ("cloud", "vcenter.lab", "success"),
    ]  # fmt: skip
