# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the adapters of a VM get in a move: a network of a standard or a distributed switch, here or in another vCenter."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.adapters import plugged
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Plug
from pyVmomi import vim

from tests.doubles.stub import Server

DISTRIBUTED = "DistributedVirtualPortgroup"


def networks(server: Server) -> Server:
    server.add(vim.Network, "network-1", {"name": "ml-net"})
    switch = server.add(vim.DistributedVirtualSwitch, "dvs-1", {"uuid": "50 2e"})
    group = {"key": "dvportgroup-1", "config.distributedVirtualSwitch": switch}
    server.add(vim.dvs.DistributedVirtualPortgroup, "dvportgroup-1", group)
    return server


def world() -> Server:
    """A VM with two network adapters and a disk."""
    server = networks(Server())
    device = vim.vm.device
    devices = [
        device.VirtualVmxnet3(key=4001),
        device.VirtualE1000(key=4000),
        device.VirtualDisk(key=2000, capacityInKB=1),
    ]
    server.add(vim.VirtualMachine, "vm-1", {"config.hardware.device": devices})
    return server


def test_each_adapter_gets_its_network() -> None:
    plugs = (Plug(4001, "dvportgroup-1", kind=DISTRIBUTED), Plug(4000, "network-1"))
    first, second = plugged(world().client(), "vm-1", plugs)
    assert {first.operation, second.operation} == {"edit"}
    assert (first.device.key, second.device.key) == (4000, 4001)
    assert (first.device.backing.deviceName, first.device.backing.network._moId) == ("ml-net", "network-1")
    port = second.device.backing.port
    assert (port.switchUuid, port.portgroupKey) == ("50 2e", "dvportgroup-1")


def test_a_vm_that_keeps_its_networks_is_not_asked_for() -> None:
    server = world()
    assert plugged(server.client(), "vm-1", ()) == []
    assert server.calls == []


def test_a_network_of_another_vcenter_is_read_there_and_the_reference_says_so() -> None:
    server, there = world(), networks(Server("2222bbbb"))
    there.objects["network-1"][1]["name"] = "far-net"
    (change,) = plugged(server.client(), "vm-1", [Plug(4000, "network-1")], there.client())
    assert change.device.backing.deviceName == "far-net"
    assert change.device.backing.network._serverGuid == "2222bbbb"
    assert plugged(server.client(), "vm-1", [Plug(4000, "network-1")])[0].device.backing.network._serverGuid is None


@pytest.mark.parametrize(
    ("vm", "adapters", "missing"), [("vm-1", (4000, 4009, 4008), "4008, 4009"), ("vm-2", (4000,), "4000")]
)
def test_an_adapter_that_the_vm_no_longer_has_is_an_error(vm: str, adapters: tuple[int, ...], missing: str) -> None:
    with pytest.raises(CallFailed, match=f"no network adapter {missing} any more"):
        plugged(world().client(), vm, [Plug(key, "network-1") for key in adapters])


def test_devices_that_are_not_shown_are_not_gone() -> None:
    server = world()
    server.add(vim.VirtualMachine, "vm-1", {}, ["config.hardware.device"])
    with pytest.raises(CallFailed, match="does not show the devices of vm-1") as error:
        plugged(server.client(), "vm-1", [Plug(4000, "network-1")])
    assert error.value.fault == "Unreadable"


@pytest.mark.parametrize(
    ("gone", "kind"), [("network-1", "Network"), ("dvportgroup-1", DISTRIBUTED), ("dvs-1", DISTRIBUTED)]
)
def test_a_network_that_is_not_shown_is_an_error(gone: str, kind: str) -> None:
    plug = Plug(4000, "network-1" if kind == "Network" else "dvportgroup-1", kind=kind)
    server = world()
    del server.objects[gone]
    with pytest.raises(CallFailed, match="does not show the network"):
        plugged(server.client(), "vm-1", [plug])


@pytest.mark.parametrize(("moid", "path"), [("network-1", "name"), ("dvportgroup-1", "key"), ("dvs-1", "uuid")])
def test_a_network_of_which_a_part_is_not_shown_is_an_error(moid: str, path: str) -> None:
    server = world()
    values: dict[str, Any] = server.objects[moid][1]
    del values[path]
    plug = Plug(4000, "network-1") if moid == "network-1" else Plug(4000, "dvportgroup-1", kind=DISTRIBUTED)
    with pytest.raises(CallFailed, match="does not show the network"):
        plugged(server.client(), "vm-1", [plug])
