#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Fence a host, wait for its maintenance mode, or take it back into service
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - V(fenced) starts entering maintenance mode, so that nothing moves onto the host any more, and does not wait.
  - V(maintenance) waits until the host is in maintenance mode. A running entry is joined, never doubled.
  - V(normal) ends maintenance mode, or cancels a running entry.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
options:
  host:
    description:
      - Name or MoID of the host.
    type: str
    required: true
  state:
    description:
      - The wanted state.
    type: str
    choices: [fenced, maintenance, normal]
    default: maintenance
  wait_timeout:
    description:
      - Seconds to wait for maintenance mode or its end.
    type: int
    default: 1800
  vsan_mode:
    description:
      - What vSAN does with the host's objects.
    type: str
    choices: [noAction, ensureObjectAccessibility, evacuateAllData]
    default: ensureObjectAccessibility
  evacuate_powered_off:
    description:
      - Whether DRS also moves VMs that are powered off.
    type: bool
    default: false
  when_not_permitted:
    description:
      - What to do when the user has not got the privilege C(Host.Config.Maintenance), as on VMware Cloud on AWS.
    type: str
    choices: [fail, skip]
    default: fail
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Fence the host before its VMs leave
  liveml.vsphere.host_maintenance:
    host: esx-05.example.com
    state: fenced
"""

RETURN = r"""
host:
  description: The host's name.
  returned: always
  type: str
moid:
  description: The host's MoID.
  returned: always
  type: str
maintenance:
  description: The host's state afterwards, V(normal), V(entering) or V(in).
  returned: always
  type: str
permitted:
  description: Whether the user may change maintenance mode.
  returned: always
  type: bool
message:
  description: One sentence for people and the evidence.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    PermissionMissing,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Estate,
    HostState,
    Maintenance,
    Power,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere

PRIVILEGE = "Host.Config.Maintenance"
SPEC: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["fenced", "maintenance", "normal"], "default": "maintenance"},
    "wait_timeout": {"type": "int", "default": 1800},
    "vsan_mode": {
        "type": "str",
        "choices": ["noAction", "ensureObjectAccessibility", "evacuateAllData"],
        "default": "ensureObjectAccessibility",
    },
    "evacuate_powered_off": {"type": "bool", "default": False},
    "when_not_permitted": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
}
SATISFIED = {
    "fenced": (Maintenance.ENTERING, Maintenance.IN),
    "maintenance": (Maintenance.IN,),
    "normal": (Maintenance.NORMAL,),
}
REACHED = {"fenced": Maintenance.ENTERING, "maintenance": Maintenance.IN, "normal": Maintenance.NORMAL}


def blocking_vms(estate: Estate, host: HostState) -> list[str]:
    """Names of the powered-on VMs that keep the host from maintenance mode."""
    return sorted(vm.name for vm in estate.vms.values() if vm.host == host.moid and vm.power is Power.ON)


def reach(vcenter: Vsphere, host: HostState, params: dict[str, Any]) -> None:
    """Bring the host into the wanted state. Raises TaskTimeout or CallFailed."""
    if params["state"] == "normal":
        vcenter.end_maintenance(host, params["wait_timeout"])
        return
    task = host.maintenance_task or vcenter.enter_maintenance(
        host.moid,
        timeout=0,
        evacuate_powered_off=params["evacuate_powered_off"],
        vsan_mode=params["vsan_mode"],
    )
    if params["state"] == "maintenance":
        wait(vcenter, host, task, params["wait_timeout"])


def wait(vcenter: Vsphere, host: HostState, task: str, timeout: int) -> None:
    """Wait for a task; when it fails say which VMs stood in the way."""
    try:
        end = vcenter.wait_for(task, timeout)
    except TaskTimeout as error:
        left = blocking_vms(vcenter.estate(), host)
        raise TaskTimeout(
            f"{host.name} did not change its maintenance mode within {timeout} s; powered on there: "
            f"{', '.join(left) or 'nothing'}",
            last_state=error.last_state,
            hint="Move or power off these VMs, or raise wait_timeout",
            option="wait_timeout",
        ) from error
    if end.fault is not None:
        raise CallFailed(
            f"The maintenance mode of {host.name} did not change: {end.fault.name} {end.fault.message}",
            fault=end.fault.name,
        )


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Compare, then act; once more when the host changed its mode in between."""
    try:
        return compare_and_act(module, vcenter)
    except CallFailed as error:
        if error.fault != "InvalidState":
            raise
        return compare_and_act(module, vcenter)


def compare_and_act(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Bring the host into the wanted state where it is not in it. Raises like :func:`reach`, and PermissionMissing."""
    params = module.params
    host = find_host(vcenter.estate(), params["host"])
    if host.maintenance in SATISFIED[params["state"]]:
        return answer(host, host.maintenance, changed=False)
    if vcenter.lacks(host.moid, PRIVILEGE):
        if params["when_not_permitted"] == "fail":
            raise PermissionMissing(
                f"The user may not change the maintenance mode of {host.name}",
                privilege=PRIVILEGE,
                hint=f"Grant {PRIVILEGE} on the host, or set when_not_permitted=skip",
            )
        return {**answer(host, host.maintenance, changed=False), "permitted": False, "message": not_permitted(host)}
    if not module.check_mode:
        reach(vcenter, host, params)
    return answer(host, REACHED[params["state"]], changed=True)


def not_permitted(host: HostState) -> str:
    """What the evidence says when the role forbids maintenance mode."""
    return f"not fenced: the user may not change the maintenance mode of {host.name} ({PRIVILEGE})"


def answer(host: HostState, now: Maintenance, *, changed: bool) -> dict[str, Any]:
    """The module's result."""
    words = {Maintenance.ENTERING: "fenced", Maintenance.IN: "in maintenance mode", Maintenance.NORMAL: "in service"}
    return {
        "changed": changed,
        "host": host.name,
        "moid": host.moid,
        "maintenance": str(now),
        "permitted": True,
        "message": f"{host.name} is {words[now]}",
        "diff": {"before": f"maintenance: {host.maintenance}\n", "after": f"maintenance: {now}\n"},
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
