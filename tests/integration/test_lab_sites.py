# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's clusters, data centres and standalone hosts: RelocateVM_Task honours or refuses pool, folder, datastore and networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from lab.paths import TOPOLOGIES
from tests.labs import running_lab
from tests.measuring import until
from tests.sdk import content_of, find, override, overrides_of, reconfigure

VM = "ML-cpu-vm-0{}".format
WEST, EAST = "DC-west", "DC-east"


@pytest.fixture(scope="module")
def content() -> Iterator[Any]:
    topology = str(TOPOLOGIES / "sites.yml")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", topology) as lab, content_of(lab) as content:
        yield content


def site(content: Any, name: str) -> Any:
    return next(datacenter for datacenter in content.rootFolder.childEntity if datacenter.name == name)


def named(entities: Any, name: str) -> Any:
    return next(entity for entity in entities if entity.name == name)


def pool(content: Any, host: str, name: str | None = None) -> Any:
    root = find(content, vim.HostSystem, host).parent.resourcePool
    return root if name is None else named(root.resourcePool, name)


def relocate(content: Any, number: int, **spec: Any) -> Any:
    """Move a VM and wait. Raises the fault of the call or of its task."""
    if isinstance(spec.get("host"), str):
        spec["host"] = find(content, vim.HostSystem, spec["host"])
    machine = find(content, vim.VirtualMachine, VM(number))
    WaitForTask(machine.RelocateVM_Task(vim.vm.RelocateSpec(**spec)))
    return machine


def refused(content: Any, number: int, **spec: Any) -> str:
    """The property that makes the call fail."""
    machine = find(content, vim.VirtualMachine, VM(number))
    before = machine.runtime.host
    with pytest.raises(vmodl.fault.InvalidArgument) as fault:
        relocate(content, number, **spec)
    assert machine.runtime.host == before
    return str(fault.value.invalidProperty)


def test_each_data_centre_has_its_own_objects(content: Any) -> None:
    west, east = site(content, WEST), site(content, EAST)
    assert {entity.name for entity in west.hostFolder.childEntity} == {"ML-cluster", "GPU-cluster"}
    alone = named(east.hostFolder.childEntity, "esx-07")
    assert type(alone) is vim.ComputeResource
    assert [host.name for host in alone.host] == ["esx-07"]
    assert {entity.name for entity in east.vmFolder.childEntity} == {"ml", "archive", VM(5)} - {VM(5)}
    assert {each.name for each in pool(content, "esx-01").resourcePool} == {"ml-training", "batch"}
    assert {each.name for each in pool(content, "esx-03").resourcePool} == {"ml-training"}
    here, there = (named(each.datastore, "nfs-shared") for each in (west, east))
    assert here._moId != there._moId
    assert here.summary.url == there.summary.url
    assert {each.name for each in east.network} == {"ml-network", "east-storage"}
    assert named(west.network, "ml-network")._moId != named(east.network, "ml-network")._moId
    summary = find(content, vim.ClusterComputeResource, "GPU-cluster").summary
    assert (summary.numHosts, summary.numCpuCores) == (2, 32)


def test_the_pool_must_belong_to_the_host(content: Any) -> None:
    far, near = pool(content, "esx-03", "ml-training"), pool(content, "esx-01", "ml-training")
    assert refused(content, 1, host="esx-03") == "spec.pool"
    assert refused(content, 1, host="esx-03", pool=near) == "spec.pool"
    assert refused(content, 1, host="esx-02", pool=far) == "spec.pool"
    assert refused(content, 1, pool=far) == "spec.pool"  # nobody chooses a host: DRS is off
    assert refused(content, 1, host=vim.HostSystem("host-none", content.rootFolder._stub)) == "spec.host"


def test_another_cluster(content: Any) -> None:
    cluster = find(content, vim.ClusterComputeResource, "ML-cluster")
    machine = find(content, vim.VirtualMachine, VM(4))
    reconfigure(cluster, override("add", machine, enabled=False))
    relocate(content, 4, host="esx-03", pool=pool(content, "esx-03", "ml-training"))
    assert (machine.runtime.host.name, machine.resourcePool, machine.parent.name) == (
        "esx-03",
        pool(content, "esx-03", "ml-training"),
        "ml",
    )
    assert machine in machine.resourcePool.vm
    assert machine not in pool(content, "esx-01", "ml-training").vm
    until(lambda: not overrides_of(cluster))  # the VM has left the cluster
    relocate(content, 4, host="esx-02", pool=pool(content, "esx-01", "ml-training"))


def test_pool_and_folder_inside_one_cluster(content: Any) -> None:
    folder = named(named(site(content, WEST).vmFolder.childEntity, "ml").childEntity, "vision")
    machine = relocate(content, 1, folder=folder, pool=pool(content, "esx-01", "batch"), host="esx-01")
    assert (machine.parent, machine.resourcePool.name, machine.runtime.host.name) == (folder, "batch", "esx-01")


def test_another_data_centre_needs_pool_and_datastore(content: Any) -> None:
    west, east = site(content, WEST), site(content, EAST)
    into: dict[str, Any] = {"host": "esx-05", "pool": pool(content, "esx-05", "batch")}
    assert refused(content, 1, host="esx-05") == "spec.pool"
    assert refused(content, 1, **into) == "spec.datastore"
    assert refused(content, 1, datastore=named(west.datastore, "nfs-shared"), **into) == "spec.datastore"
    into["datastore"] = named(east.datastore, "nfs-shared")
    assert refused(content, 1, folder=west.vmFolder, **into) == "spec.folder"
    assert refused(content, 1, folder=east.hostFolder, **into) == "spec.folder"
    machine = relocate(content, 1, **into)
    assert (machine.runtime.host.name, machine.resourcePool.name, machine.parent) == ("esx-05", "batch", east.vmFolder)
    assert list(machine.datastore) == [named(east.datastore, "nfs-shared")]
    assert list(machine.network) == [named(east.network, "ml-network")]
    folder = named(east.vmFolder.childEntity, "archive")
    relocate(content, 1, folder=folder)
    assert machine.parent == folder
    home = {"pool": pool(content, "esx-01", "ml-training"), "folder": named(west.vmFolder.childEntity, "ml")}
    relocate(content, 1, host="esx-01", datastore=named(west.datastore, "nfs-shared"), **home)
    assert (machine.parent.parent, list(machine.network)) == (west.vmFolder, [named(west.network, "ml-network")])


def test_networks_are_found_by_name_or_mapped(content: Any) -> None:
    east = site(content, EAST)
    into = {"host": "esx-05", "pool": pool(content, "esx-05"), "datastore": named(east.datastore, "nfs-shared")}
    with pytest.raises(vim.fault.CannotAccessNetwork):
        relocate(content, 3, **into)
    machine = find(content, vim.VirtualMachine, VM(3))
    card = next(device for device in machine.config.hardware.device if device.key == 4001)
    target = named(east.network, "east-storage")
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=target.name, network=target)
    relocate(content, 3, deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)], **into)
    assert {each.name for each in machine.network} == {"ml-network", "east-storage"}
    assert {each.parent.parent for each in machine.network} == {east}


def test_vcenter_chooses_the_host_where_it_can(content: Any) -> None:
    machine = relocate(content, 5, pool=pool(content, "esx-07", "ml-training"))
    assert machine.runtime.host.name == "esx-07"
    cluster = find(content, vim.ClusterComputeResource, "GPU-cluster")
    reconfigure(cluster, drsConfig=vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="manual"))
    machine = relocate(content, 4, pool=pool(content, "esx-03", "ml-training"))
    assert machine.runtime.host.parent == cluster
