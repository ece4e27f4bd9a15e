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
