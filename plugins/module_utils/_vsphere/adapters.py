# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Network adapters of a VM that get another network by its move (``RelocateSpec.deviceChange``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._core.errors import CallFailed
from .client import Client
from .estate import Plug
from .inventory import read_objects

try:
    from pyVmomi import vim
except ImportError:
    pass

_DEVICES = "config.hardware.device"


def plugged(client: Client, vm: str, plugs: Iterable[Plug], target: Client | None = None) -> list[Any]:
    """The changes of the VM's adapters, ``vim.vm.device.VirtualDeviceSpec``. Without plugs, vCenter is not asked.

    ``target`` is the client of the vCenter of the networks, if that is another one. Raises CallFailed if an adapter or a network no
    longer exists, or is not shown.
    """
    wanted = {plug.adapter: plug for plug in plugs}
    if not wanted:
        return []
    rows = read_objects(client, "VirtualMachine", (vm,), [_DEVICES])
    if vm in rows and _DEVICES in rows[vm].unreadable:
        raise CallFailed(
            f"vCenter does not show the devices of {vm}",
            fault="Unreadable",
            hint="Grant the user System.Read on the VM, and run the same playbook again",
        )
    devices = rows[vm].get(_DEVICES, ()) if vm in rows else ()
    adapters = {device.key: device for device in devices if device.key in wanted}
    if gone := wanted.keys() - adapters.keys():
        raise CallFailed(
            f"The VM has no network adapter {', '.join(map(str, sorted(gone)))} any more", fault="NotFound"
        )
    there, refer = (client, client.reference) if target is None else (target, target.reference_abroad)
    return [_change(adapters[key], _backing(there, refer, plug)) for key, plug in sorted(wanted.items())]


def _change(adapter: Any, backing: Any) -> Any:
    adapter.backing = backing
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=adapter)


def _backing(client: Client, refer: Callable[[str, str], Any], plug: Plug) -> Any:
    """The backing of an adapter in a network: a port group of a distributed switch is named by keys, a standard one by its name."""
    card = vim.vm.device.VirtualEthernetCard
    if plug.kind == "DistributedVirtualPortgroup":
        key, switch = "key", "config.distributedVirtualSwitch"
        group = _only(client, f"dvs.{plug.kind}", plug.network, [key, switch])
        uuid = _only(client, "DistributedVirtualSwitch", group[switch]._moId, ["uuid"])["uuid"]
        connection = vim.dvs.PortConnection(switchUuid=uuid, portgroupKey=group[key])
        return card.DistributedVirtualPortBackingInfo(port=connection)
    name = str(_only(client, "Network", plug.network, ["name"])["name"])
    return card.NetworkBackingInfo(deviceName=name, network=refer("Network", plug.network))


def _only(client: Client, kind: str, moid: str, paths: list[str]) -> dict[str, Any]:
    row = read_objects(client, kind, (moid,), paths).get(moid)
    if row is None or any(path not in row for path in paths):
        raise CallFailed(f"vCenter does not show the network {moid}", fault="NotFound")
    return row
