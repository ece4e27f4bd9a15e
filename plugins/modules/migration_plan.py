#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_plan
short_description: Choose a target host for each VM, or say why it cannot move
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reads the estate in a constant number of calls and plans where each selected VM goes, by fault domain and low utilization.
  - The plan counts its own earlier moves, and refuses a VM with every reason at once. It changes nothing.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  host:
    description:
      - Name or MoID of the host whose VMs are planned; with O(use_homes) the host that VMs come home to.
    type: str
  vms:
    description:
      - Names or MoIDs of VMs.
    type: list
    elements: str
    default: []
  patterns:
    description:
      - Shell patterns of VM names.
    type: list
    elements: str
    default: []
  folders:
    description:
      - Folders below the datacenter's VM folder, with all folders in them.
    type: list
    elements: str
    default: []
  attributes:
    description:
      - Custom attributes, by name, whose values a VM must have.
    type: dict
    default: {}
  destination:
    description:
      - Host that all selected VMs shall move to.
    type: str
  policy:
    description:
      - Which fault domain a target may be in, seen from the source host.
    type: str
    choices: [same_preferred, other_preferred, same_only, other_only, any]
    default: same_preferred
  fault_domains:
    description:
      - Fault domain by host name; what is not named here has its vSAN fault domain.
    type: dict
    default: {}
  exclude_hosts:
    description:
      - Hosts that must not become a target.
    type: list
    elements: str
    default: []
  memory_headroom:
    description:
      - Percentage of a target's memory that stays free.
    type: int
    default: 10
  cpu_headroom:
    description:
      - Percentage of a target's CPU that stays free.
    type: int
    default: 10
  use_homes:
    description:
      - Plan the way home of the VMs whose recorded home O(host) is.
    type: bool
    default: false
  assume_in_service:
    description:
      - In check mode, plan as if O(host) were out of maintenance mode already.
    type: bool
    default: false
  plan_id:
    description:
      - Give the plan of this id alone, and fail as drifted when the present gives another. Moves of the plan that a killed
        run has done or begun are no drift.
      - Empty to take whatever the present gives.
    type: str
    default: ""
  targets:
    description:
      - The RV(targets) of an approved plan. They keep each VM's target from following the load of the hosts, so that a
        plan still has the id it was approved by hours later.
    type: dict
    default: {}
  state_dir:
    description:
      - Folder of the journals; moves of a killed run that still are in flight are taken up from there.
    type: path
    default: ~/.local/state/liveml.vsphere
  lock_timeout:
    description:
      - Seconds to wait for another process that still carries out a run for O(host).
    type: float
    default: 600.0
"""

EXAMPLES = r"""
- name: Plan the evacuation of a host
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    policy: other_preferred
"""

RETURN = r"""
plan_id:
  description: Identifies what the plan decides.
  returned: always
  type: str
targets:
  description: Target by VM, both as MoIDs, for O(targets) when the plan is carried out.
  returned: always
  type: dict
plan:
  description: The plan for M(liveml.vsphere.vm_migrate).
  returned: always
  type: dict
lines:
  description: One line a move that is to be done, C(vm: source → target).
  returned: always
  type: list
  elements: str
moves:
  description: The plan's moves.
  returned: always
  type: list
  elements: dict
refusals:
  description: VMs that cannot move, with every reason.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._approved import (
    Begun,
    approved_plan,
    begun_moves,
    begun_targets,
    check_plan_id,
    in_flight,
    pending,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._homes import placements
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Estate, HostState, PlanRequest, Policy
from ansible_collections.liveml.vsphere.plugins.module_utils._module import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan import (
    assume_in_service,
    make_plan,
    plan_diff,
    plan_lines,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan_codec import plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._runs import (
    journal_homes,
    moves_in_flight,
    run_key,
    run_lock,
    state_path,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._select import find_host, select_vms
from ansible_collections.liveml.vsphere.plugins.module_utils._vcenter import Vsphere

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "host": {"type": "str"},
    "vms": {"type": "list", "elements": "str", "default": []},
    "patterns": {"type": "list", "elements": "str", "default": []},
    "folders": {"type": "list", "elements": "str", "default": []},
    "attributes": {"type": "dict", "default": {}},
    "destination": {"type": "str"},
    "policy": {"type": "str", "choices": [str(policy) for policy in Policy], "default": "same_preferred"},
    "fault_domains": {"type": "dict", "default": {}},
    "exclude_hosts": {"type": "list", "elements": "str", "default": []},
    "memory_headroom": {"type": "int", "default": 10},
    "cpu_headroom": {"type": "int", "default": 10},
    "use_homes": {"type": "bool", "default": False},
    "assume_in_service": {"type": "bool", "default": False},
    "plan_id": {"type": "str", "default": ""},
    "targets": {"type": "dict", "default": {}},
    "lock_timeout": {"type": "float", "default": 600.0},
}


def request_of(params: dict[str, Any], estate: Estate, host: HostState | None) -> tuple[PlanRequest, list[Begun]]:
    """What is to be planned, and what of it had begun before. Raises NotFound, Ambiguous or InvalidInput."""
    for option in ("memory_headroom", "cpu_headroom"):
        if not 0 <= params[option] < 100:
            raise InvalidInput(f"{option} is {params[option]}", hint="Give a percentage from 0 to 99", option=option)
    state = state_path(params["state_dir"])
    uuid = estate.vcenter.instance_uuid
    found = placements(estate, journal_homes(state, uuid), host.moid) if host is not None else ()
    begun: list[Begun] = [*begun_moves(estate, found, homeward=params["use_homes"])]
    if params["use_homes"] and host is not None:
        vms = tuple(p.vm for p in found if p.outcome in ("away", "home_unhealthy", "home"))
        destinations = dict.fromkeys(vms, host.moid)
    else:
        vms = selection(params, estate, host)
        target = find_host(estate, params["destination"], option="destination") if params["destination"] else None
        destinations = dict.fromkeys(vms, target.moid) if target else approved_targets(params, estate)
        if host is not None and params["targets"]:
            begun = [*begun_targets(estate, host.moid, destinations), *begun]
    announced = {
        vm: (target, estate.vms[vm].moving_task or "")
        for vm, (target, _task) in moves_in_flight(state, uuid).items()
        if vm in estate.vms and estate.vms[vm].moving_task
    }
    request = PlanRequest(
        vms=vms,
        policy=Policy(params["policy"]),
        destinations=destinations,
        excluded_targets=frozenset(find_host(estate, h, option="exclude_hosts").moid for h in params["exclude_hosts"]),
        memory_headroom=params["memory_headroom"] / 100,
        cpu_headroom=params["cpu_headroom"] / 100,
        moving={**in_flight(estate, begun), **announced},
    )
    return request, begun


def approved_targets(params: dict[str, Any], estate: Estate) -> dict[str, str]:
    """The option ``targets`` as MoIDs. Raises InvalidInput when it is of another vCenter or was edited."""
    targets = {str(vm): str(host) for vm, host in params["targets"].items()}
    strange = sorted(host for host in targets.values() if host not in estate.hosts)
    if strange:
        raise InvalidInput(
            f"targets names {', '.join(strange)}, which this vCenter has not",
            hint="Give the targets that migration_plan returned",
            option="targets",
        )
    return targets


def selection(params: dict[str, Any], estate: Estate, host: HostState | None) -> tuple[str, ...]:
    """The selected VMs' MoIDs."""
    return select_vms(
        estate,
        host=host.moid if host else None,
        names=params["vms"],
        patterns=params["patterns"],
        folders=params["folders"],
        attributes=params["attributes"],
    )


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Wait for a run in progress, read, plan."""
    params = module.params
    if params["plan_id"]:
        check_plan_id(params["plan_id"])
    if params["use_homes"] and not params["host"]:
        raise InvalidInput("use_homes needs a host", hint="Give the host that VMs come home to", option="host")
    estate = vcenter.estate(fault_domains=params["fault_domains"])
    host = find_host(estate, params["host"]) if params["host"] else None
    if host is not None:
        key = run_key(estate.vcenter.instance_uuid, host.moid)
        with run_lock(state_path(params["state_dir"]), key, timeout=params["lock_timeout"], waiting=module.warn):
            estate = vcenter.estate(fault_domains=params["fault_domains"])
    request, begun = request_of(params, estate, host)
    devices_of = tuple(dict.fromkeys((*request.vms, *(vm for moves in begun for vm in moves))))
    if devices_of:
        estate = vcenter.estate(fault_domains=params["fault_domains"], devices_of_vms=devices_of)
    if module.check_mode and params["assume_in_service"] and host is not None:
        estate = assume_in_service(estate, host.moid)
    wanted = params["plan_id"]
    plan = approved_plan(estate, request, wanted, begun) if wanted else make_plan(estate, request)
    data = plan_to_dict(plan)
    for refusal in data["refusals"]:
        reasons = "; ".join(f"{r['check']} ({r['object']}): {r['hint']}" for r in refusal["reasons"])
        refusal["text"] = f"{refusal['vm_name']} stays: {reasons}."
    refusals = data["refusals"]
    data = plan_to_dict(plan)
    return {
        "plan": data,
        "plan_id": plan.plan_id,
        "targets": {move.vm: move.target for move in plan.moves},
        "moves": data["moves"],
        "refusals": refusals,
        "lines": plan_lines(pending(plan, estate)),
        "diff": plan_diff(pending(plan, estate)),
    }


def main() -> None:
    """Entry point."""
    run_module(
        SPEC,
        body,
        required_one_of=[("host", "vms", "patterns", "folders", "attributes")],
    )


if __name__ == "__main__":
    main()
