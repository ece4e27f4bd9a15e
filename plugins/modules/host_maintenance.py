#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Fence a host, put it into maintenance mode, or take it back into service
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Changes the maintenance mode of a host. A host that is entering maintenance mode is I(fenced), which means that no VM can be moved to it.
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
      - V(fenced) starts to enter maintenance mode and does not wait.
      - V(maintenance) waits until the host is in maintenance mode. If the host is entering it already, no second task is started.
      - V(normal) ends maintenance mode, or cancels a task that enters it.
    type: str
    choices: [fenced, maintenance, normal]
    default: maintenance
  wait_timeout:
    description:
      - Maximum time, in seconds, to wait for the beginning or the end of maintenance mode.
    type: int
    default: 1800
  vsan_mode:
    description:
      - What vSAN does with the data on the host.
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
      - What to do if the user does not have the privilege C(Host.Config.Maintenance), as on VMware Cloud on AWS.
      - V(skip) changes nothing and returns RV(permitted=false).
    type: str
    choices: [fail, skip]
    default: fail
  state_dir:
    description:
      - Directory of all runs. If a run for the host is under way, the module waits for its end before it changes the maintenance mode, because
        the run may have fenced the host, or may be moving VMs to it. If another controller carries it out, the module fails.
    type: path
    default: ~/.local/state/liveml.vsphere
  lock_timeout:
    description:
      - Maximum time, in seconds, to wait for a run of this machine.
    type: float
    default: 600.0
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.host_info
  - module: liveml.vsphere.vm_migrate
"""

EXAMPLES = r"""
- name: Fence the host before its VMs leave
  liveml.vsphere.host_maintenance:
    host: esx-05.example.com
    state: fenced

- name: Wait until the empty host is in maintenance mode
  liveml.vsphere.host_maintenance:
    host: esx-05.example.com
    wait_timeout: 600

- name: Take the host back into service, if the user may do that
  liveml.vsphere.host_maintenance:
    host: esx-05.example.com
    state: normal
    when_not_permitted: skip
"""

RETURN = r"""
host:
  description: Name of the host.
  returned: always
  type: str
  sample: esx-05.example.com
moid:
  description: MoID of the host.
  returned: always
  type: str
  sample: host-31
maintenance:
  description: State of the host after the task, V(normal), V(entering) or V(in).
  returned: always
  type: str
  sample: entering
permitted:
  description: Whether the user may change maintenance mode.
  returned: always
  type: bool
  sample: true
message:
  description: The result in one sentence.
  returned: always
  type: str
  sample: esx-05.example.com is fenced
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import listed
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._run.guard import (
    MAINTENANCE,
    STATES,
    not_permitted,
    not_seen,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.lease import wait_for_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Estate,
    FenceTask,
    HostState,
    Maintenance,
    Power,
    has_unknown_place,
    hides_mode,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.faults import is_wrong_state
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
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
    "lock_timeout": {"type": "float", "default": 600.0},
}
SATISFIED = {
    "fenced": (Maintenance.ENTERING, Maintenance.IN),
    "maintenance": (Maintenance.IN,),
    "normal": (Maintenance.NORMAL,),
}
REACHED = {"fenced": Maintenance.ENTERING, "maintenance": Maintenance.IN, "normal": Maintenance.NORMAL}


def blocking_vms(estate: Estate, host: HostState) -> str:
    """The powered-on VMs that prevent maintenance mode of the host, in words, and those that may do so unseen."""
    there = sorted((vm for vm in estate.vms.values() if vm.host == host.moid), key=lambda vm: vm.name)
    names = [vm.name for vm in there if vm.power is Power.ON]
    dark = [vm.name for vm in there if vm.power is Power.UNKNOWN]
    hidden = sorted(vm.name for vm in estate.vms.values() if has_unknown_place(estate, vm))
    unseen = [f"whether {listed(dark)} is powered on"] if dark else []
    unseen += [f"the host of {listed(hidden)}"] if hidden else []
    told = f"; vCenter does not show {', and not '.join(unseen)}" if unseen else ""
    return f"{', '.join(names) or 'none that is shown'}{told}"


def require_known_mode(estate: Estate, host: HostState) -> None:
    """Raise CallFailed if vCenter does not show whether the host is in maintenance mode."""
    if hides_mode(estate, host):
        raise CallFailed(
            f"vCenter does not show whether {host.name} is in maintenance mode",
            fault="Unreadable",
            hint="Grant the user System.Read on the host",
        )


def reach(vcenter: VcenterSession, host: HostState, params: dict[str, Any], *, begun: bool) -> None:
    """Change the host to the state of the options; ``begun``: this call fences it. Raises TaskTimeout or CallFailed."""
    if params["state"] == "normal":
        vcenter.end_maintenance(host, params["wait_timeout"])
        return
    task = host.maintenance_task or vcenter.enter_maintenance(
        host.moid, evacuate_powered_off=params["evacuate_powered_off"], vsan_mode=params["vsan_mode"]
    )
    if params["state"] == "fenced":
        refuse_failed(vcenter, host, task)
    else:
        try:
            wait(vcenter, host, task, params["wait_timeout"])
        except VsphereError as error:
            error.fenced = begun
            raise


def refuse_failed(vcenter: VcenterSession, host: HostState, task: str) -> None:
    """Raise CallFailed if the task that was to fence a host has failed already: nothing keeps VMs away then."""
    end, why = vcenter.fence_task(host.moid, task)
    if end is FenceTask.FAILED:
        raise CallFailed(
            f"{host.name} could not be fenced: its maintenance mode ended at once{f' ({why})' if why else ''}",
            fault=why or "Unfenced",
            hint="See the tasks of the host in vCenter",
        )


def wait(vcenter: VcenterSession, host: HostState, task: str, timeout: int) -> None:
    """Wait for a task of maintenance mode. Raises TaskTimeout that names the VMs on the host, or CallFailed."""
    try:
        end = vcenter.wait_for(task, timeout)
    except TaskTimeout as error:
        raise not_in_time(vcenter, host, timeout, state=error.last_state) from error
    if end.fault is not None:
        raise CallFailed(
            f"{host.name} did not enter maintenance mode: {end.fault.message.rstrip('.')} ({end.fault.name})",
            fault=end.fault.name,
        )


def body(module: AnsibleModule, vcenter: VcenterSession) -> dict[str, Any]:
    """Compare the host with the options, then act. Try once more if the host changed its mode in between."""
    try:
        return compare_and_act(module, vcenter)
    except CallFailed as error:
        if not is_wrong_state(error.fault):
            raise
    try:
        return compare_and_act(module, vcenter)
    except CallFailed as error:
        if not is_wrong_state(error.fault):
            raise
        return watch(module, vcenter, error)


def watch(module: AnsibleModule, vcenter: VcenterSession, error: CallFailed) -> dict[str, Any]:
    """Wait for maintenance mode that somebody else, or an earlier call, has begun, and that no task shows.

    After a restart, vCenter may not show that a host is still entering maintenance mode. Raises ``error`` or TaskTimeout; if
    nothing shows whether the host is fenced, they say so.
    """
    params = module.params
    host = find_host(vcenter.estate_of_hosts(), params["host"])
    if host.maintenance is not Maintenance.NORMAL or params["state"] == "normal":
        return compare_and_act(module, vcenter)
    if params["state"] == "maintenance":
        if vcenter.watch_maintenance(host.moid, True, params["wait_timeout"]):
            return answer(replace(host, maintenance=Maintenance.IN), Maintenance.IN, changed=False)
        late = not_in_time(vcenter, host, params["wait_timeout"], f"; {not_seen(host)}")
        late.fence_unknown = True
        raise late from error
    error.message, error.fence_unknown = f"{error.message}; {not_seen(host)}", True
    raise error


def not_in_time(
    vcenter: VcenterSession, host: HostState, timeout: int, known: str = "", state: str = "unknown"
) -> TaskTimeout:
    """The error that names the VMs on a host that did not enter maintenance mode in time. ``known`` is what else is known."""
    left = blocking_vms(vcenter.estate(), host)
    return TaskTimeout(
        f"{host.name} did not enter maintenance mode within {timeout} s{known}. VMs that are powered on there: {left}",
        last_state=state,
        hint="Move or power off these VMs, or increase wait_timeout",
        option="wait_timeout",
    )


def seen_host(vcenter: VcenterSession, name: str) -> tuple[Estate, HostState]:
    """The host of that name, and what was read with it. Raises NotFound or Ambiguous."""
    estate = vcenter.estate_of_hosts()
    try:
        return estate, find_host(estate, name)
    except NotFound:
        estate = vcenter.estate()
        return estate, find_host(estate, name)  # says if it is the name of a VM


def compare_and_act(
    module: AnsibleModule, vcenter: VcenterSession, *, acted: bool = False, begun: bool = False
) -> dict[str, Any]:
    """Change the host if it is not in the state of the options. Raises like :func:`reach`, and PermissionMissing.

    If the answer to the call or its task was lost, the host shows what happened; ``acted``: that is so now. ``begun``: then the
    host was not fenced before that call, so that a fence that it shows now is that of the call.
    """
    params = module.params
    estate, host = seen_host(vcenter, params["host"])
    require_known_mode(estate, host)
    if host.maintenance in SATISFIED[params["state"]]:
        return answer(host, host.maintenance, changed=acted)
    if vcenter.misses_privilege(host.moid, MAINTENANCE):
        if params["when_not_permitted"] == "fail":
            raise PermissionMissing(
                f"The user may not change the maintenance mode of {host.name}",
                privilege=MAINTENANCE,
                hint=f"Grant the privilege {MAINTENANCE} on the host, or set when_not_permitted to skip",
            )
        return {**answer(host, host.maintenance, changed=False), "permitted": False, "message": not_permitted(host)}
    state, uuid = state_to_read(params["state_dir"]), estate.vcenter.instance_uuid
    if not acted and wait_for_runs(vcenter, state, uuid, host, timeout=params["lock_timeout"], warn=module.warn):
        return compare_and_act(module, vcenter)
    if not module.check_mode:
        begun = begun or (params["state"] != "normal" and host.maintenance is Maintenance.NORMAL)
        try:
            reach(vcenter, host, params, begun=begun)
        except LoginRefused:
            raise
        except (ConnectError, NotFound):
            if acted:
                raise
            try:
                return compare_and_act(module, vcenter, acted=True, begun=begun)
            except VsphereError as error:
                error.fenced = begun
                raise
    return answer(host, REACHED[params["state"]], changed=True, check=module.check_mode)


def answer(host: HostState, now: Maintenance, *, changed: bool, check: bool = False) -> dict[str, Any]:
    """The module's result. In check mode (``check``), the change is only planned."""
    planned = " (planned)" if check and changed else ""
    return {
        "changed": changed,
        "host": host.name,
        "moid": host.moid,
        "maintenance": str(now),
        "permitted": True,
        "message": f"{host.name} is {STATES[now]}",
        "diff": {
            "before": f"{host.name}: {STATES[host.maintenance]}\n",
            "after": f"{host.name}: {STATES[now]}{planned}\n",
        },
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
