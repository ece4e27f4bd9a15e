# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's vCenter by pyVmomi alone, as another program sees it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.labs import Lab


@contextmanager
def content_of(lab: Lab, login: str = "vcenter") -> Iterator[Any]:
    vcenter = lab.answer["vcenter"]
    user = lab.answer[login]
    context = ssl.create_default_context(cafile=vcenter["ca_file"])
    where = {"host": vcenter["host"], "port": vcenter["port"], "sslContext": context}
    connection = SmartConnect(user=user["user"], pwd=user["password"], **where)
    try:
        yield connection.RetrieveContent()
    finally:
        Disconnect(connection)


def find(content: Any, kind: type, name: str) -> Any:
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    return next(entity for entity in view.view if entity.name == name)


def override(operation: str, vm: Any, **info: Any) -> Any:
    if operation == "remove":
        return vim.cluster.DrsVmConfigSpec(operation=operation, removeKey=vm)
    return vim.cluster.DrsVmConfigSpec(operation=operation, info=vim.cluster.DrsVmConfigInfo(key=vm, **info))


def reconfigure(cluster: Any, *overrides: Any, **spec: Any) -> None:
    config = vim.cluster.ConfigSpecEx(drsVmConfigSpec=list(overrides), **spec)
    WaitForTask(cluster.ReconfigureComputeResource_Task(config, True))


def overrides_of(cluster: Any) -> dict[str, tuple[bool | None, str | None]]:
    return {each.key.name: (each.enabled, each.behavior) for each in cluster.configurationEx.drsVmConfig}


# Where a VM goes in the topology cloud.yml.
CLOUD = {"host": "esx-c1", "pool": "Compute-ResourcePool", "folder": "Workloads", "datastore": "WorkloadDatastore"}
SITE = {"host": "esx-02", "pool": "ml-training", "folder": "ml", "datastore": "vsanDatastore"}


def named(content: Any, kind: type, name: str) -> Any:
    """An object, with the instance UUID of its vCenter, as a program passes it to another vCenter."""
    return kind(find(content, kind, name)._moId, None, content.about.instanceUuid)


def locator(lab: Lab, user: str = "vcenter", **changed: Any) -> Any:
    login, vcenter = lab.answer[user], lab.answer["vcenter"]
    given = {
        "instanceUuid": vcenter["instance_uuid"],
        "url": f"https://{vcenter['host']}:{vcenter['port']}/sdk",
        "sslThumbprint": vcenter["thumbprint_sha1"],
        "credential": vim.ServiceLocator.NamePassword(username=login["user"], password=login["password"]),
    }
    return vim.ServiceLocator(**{**given, **changed})


def across(lab: Lab, content: Any, to: dict[str, str], networks: dict[int, str], user: str = "vcenter") -> Any:
    """The specification of a move to another vCenter, whose content is given. ``networks`` are by key of the adapter."""
    changes = []
    for key, name in networks.items():
        backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
        card = vim.vm.device.VirtualVmxnet3(key=key, backing=backing)
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    return vim.vm.RelocateSpec(
        service=locator(lab, user),
        host=named(content, vim.HostSystem, to["host"]),
        pool=named(content, vim.ResourcePool, to["pool"]),
        folder=named(content, vim.Folder, to["folder"]),
        datastore=named(content, vim.Datastore, to["datastore"]),
        deviceChange=changes,
    )
