# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's table of privileges agrees with the metadata of the vSphere API."""

from __future__ import annotations

import re

import pytest
from pyVmomi import pbm, vim, vmodl

from lab.paths import GO_SOURCE

TYPES = (
    pbm.ServiceInstance,
    pbm.placement.PlacementSolver,
    pbm.profile.ProfileManager,
    vim.AuthorizationManager,
    vim.ClusterComputeResource,
    vim.CustomFieldsManager,
    vim.EnvironmentBrowser,
    vim.HistoryCollector,
    vim.HostSystem,
    vim.SearchIndex,
    vim.ServiceInstance,
    vim.StorageResourceManager,
    vim.SessionManager,
    vim.Task,
    vim.VirtualMachine,
    vim.event.EventHistoryCollector,
    vim.event.EventManager,
    vim.option.OptionManager,
    vim.view.View,
    vim.view.ViewManager,
    vim.vm.check.ProvisioningChecker,
    vim.vm.guest.ProcessManager,
    vmodl.query.PropertyCollector,
    vmodl.query.PropertyCollector.Filter,
)
# Their metadata names no privilege, because it depends on the arguments or belongs to every session.
DYNAMIC = {
    "ApplyRecommendation",
    "CancelTask",
    "Destroy_Task",
    "FetchUserPrivilegeOnEntities",
    "DestroyCollector",
    "DestroyPropertyFilter",
    "DestroyView",
    "Fetch",
    "ListProcessesInGuest",
    "MigrateVM_Task",
    "ReadNextEvents",
    "ReconfigVM_Task",
    "RemoveEntityPermission",
    "RetrieveEntityPermissions",
    "SetCustomValue",
    "SetEntityPermissions",
    "SetField",
    "UpdateOptions",
}


def table() -> dict[str, str]:
    source = (GO_SOURCE / "access.go").read_text()
    body = source[source.index("var required = ") : source.index("// withheld are")]
    rows = re.findall(r'^\t"(\w+)": +(?:"([\w.]+)"|read),$', body, re.MULTILINE)
    return {method: privilege or "System.View" for method, privilege in rows}


def metadata() -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for kind in TYPES:
        for ancestor in kind.__mro__:
            for method in getattr(ancestor, "_methodInfo", {}).values():
                found.setdefault(method.wsdlName, set()).add(method.privId)
    return found


@pytest.mark.parametrize("method", sorted(table()))
def test_privileges_are_those_of_the_metadata(method: str) -> None:
    known, ours = metadata().get(method, set()), table()[method]
    if method in DYNAMIC:
        assert known <= {None, "System.View"}
    else:
        # A caller with View has Anonymous and Read, as every role has.
        theirs = {
            "System.View" if privilege in ("System.Anonymous", "System.Read") else privilege for privilege in known
        }
        assert theirs == {"System.View" if ours == "System.Anonymous" else ours}


def test_the_table_is_read() -> None:
    assert len(table()) > 40
    assert set(table()) >= DYNAMIC
