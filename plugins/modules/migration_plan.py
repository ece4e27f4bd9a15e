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
  - VMs must fit every given criterion of O(host) or O(fault_domain), O(vms), O(patterns), O(folders) and O(attributes). At least
    one is needed, and an empty list or dictionary is none.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  host:
    description:
      - Name or MoID of the host whose VMs are planned; with O(use_homes) the host that VMs come home to.
    type: str
  fault_domain:
    description:
      - Fault domain whose hosts' VMs are planned, each with a target outside of it; with O(use_homes) the fault domain that
        VMs come home to.
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
      - In check mode, plan as if O(host), or each host of O(fault_domain), were out of maintenance mode already.
    type: bool
    default: false
  approved:
    description:
      - The RV(plan) that somebody approved. Its targets are taken, whatever the load has become, and the module fails, naming
        every difference, when the plan made now departs from it.
      - A move that is done already is no difference, so a killed run goes on. A VM that O(host) does not carry is none either,
        so the plan of a fault domain serves for each of its hosts.
    type: dict
    default: {}
  plan_id:
    description:
      - Fail as drifted unless the plan made now has this id, or is what is left of a plan of this id that a run in O(state_dir)
        began. Any plan when empty.
      - With O(approved), the id that the approved plan must have.
    type: str
    default: ""
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
plan:
  description: The plan for M(liveml.vsphere.vm_migrate).
  returned: always
  type: dict
hosts:
  description: Names of the hosts that O(host) or O(fault_domain) means.
  returned: always
  type: list
  elements: str
lines:
  description: "One line a move, C(vm: source → target)."
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

import re
from contextlib import ExitStack
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, PlanRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import moves_under_way, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import (
    assume_in_service,
    departures,
    make_plan,
    plan_diff,
    plan_lines,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import (
    find_fault_domain,
    find_host,
    select_vms,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    arrivals,
    between_runs,
    journal_homes,
    journalled_plan,
    moves_in_flight,
    run_key,
    runs_of,
    state_to_read,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Estate,
    HostState,
    Plan,
    PlanRequest,
    Policy,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "host": {"type": "str"},
    "fault_domain": {"type": "str"},
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
    "approved": {"type": "dict", "default": {}},
    "plan_id": {"type": "str", "default": ""},
    "lock_timeout": {"type": "float", "default": 600.0},
}
CRITERIA = ("vms", "patterns", "folders", "attributes")  # which VMs are meant, besides host and fault_domain


def request_of(
    params: dict[str, Any], estate: Estate, hosts: tuple[HostState, ...], preferred: Plan | None
) -> PlanRequest:
    """What is to be planned. Raises NotFound, Ambiguous or InvalidInput."""
    for option in ("memory_headroom", "cpu_headroom"):
        if not 0 <= params[option] < 100:
            raise InvalidInput(f"{option} is {params[option]}", hint="Give a percentage from 0 to 99", option=option)
    state = state_to_read(params["state_dir"])
    uuid = estate.vcenter.instance_uuid
    excluded = {find_host(estate, h, option="exclude_hosts").moid for h in params["exclude_hosts"]}
    runs = runs_of(state, uuid)
    homes = journal_homes(state, uuid, runs)
    found = [(host.moid, placement) for host in hosts for placement in placements(estate, homes, host.moid)]
    if params["use_homes"]:
        destinations = {
            placement.vm: host for host, placement in found if placement.outcome in ("away", "home_unhealthy", "home")
        }
        vms = tuple(destinations)
    else:
        vms = selection(params, estate, hosts)
        wanted = params["destination"]
        target = find_host(estate, wanted, option="destination") if wanted is not None else None
        # Where no destination is given, a VM that a killed run brought to its target while nobody watched is not sent on.
        arrived = arrivals(runs, estate) if not hosts else {}
        destinations = dict.fromkeys(vms, target.moid) if target else {vm: arrived[vm] for vm in vms if vm in arrived}
        if params["fault_domain"]:
            excluded |= {host.moid for host in hosts}
    in_flight = moves_in_flight(runs)
    tasks = {moid: vm.moving_task for moid, vm in estate.vms.items() if vm.moving_task is not None}
    moving = moves_under_way(estate, [placement for _host, placement in found], homeward=params["use_homes"]) | {
        vm: (target, tasks[vm]) for vm, (target, task) in in_flight.items() if vm in tasks and task in (None, tasks[vm])
    }
    own = {vm for vm, (_target, task) in in_flight.items() if task is not None and task == tasks.get(vm)}
    return PlanRequest(
        vms=vms,
        policy=Policy(params["policy"]),
        destinations=destinations,
        preferred={move.vm: move.target for move in preferred.moves} if preferred else {},
        excluded_targets=frozenset(excluded),
        memory_headroom=params["memory_headroom"] / 100,
        cpu_headroom=params["cpu_headroom"] / 100,
        moving=moving,
        inferred=frozenset(moving.keys() - own),
    )


def selection(params: dict[str, Any], estate: Estate, hosts: tuple[HostState, ...]) -> tuple[str, ...]:
    """The selected VMs' MoIDs. Raises InvalidInput when nothing selects them: no criterion must never mean every VM."""
    if not hosts and not any(params[option] for option in CRITERIA):
        raise InvalidInput(
            "Nothing says which VMs are planned",
            hint=f"Give host, fault_domain, {', '.join(CRITERIA[:-1])} or {CRITERIA[-1]}",
            option="vms",
        )
    places = [host.moid for host in hosts] or [None]
    return tuple(
        vm
        for place in places
        for vm in select_vms(
            estate,
            host=place,
            names=params["vms"],
            patterns=params["patterns"],
            folders=params["folders"],
            attributes=params["attributes"],
        )
    )


def hosts_of(params: dict[str, Any], estate: Estate) -> tuple[HostState, ...]:
    """The hosts that are to be emptied or refilled. Raises NotFound, Ambiguous or InvalidInput."""
    if params["fault_domain"] is not None:
        return find_fault_domain(estate, params["fault_domain"])
    return (find_host(estate, params["host"]),) if params["host"] is not None else ()


def approved_plan(params: dict[str, Any], estate: Estate) -> Plan | None:
    """The plan that was approved, given whole or by its id alone, when a run began it.

    Raises InvalidInput when it was edited, is another one, or was made for another vCenter.
    """
    wanted, vcenter = params["plan_id"], estate.vcenter
    if wanted and not re.fullmatch("[0-9a-f]{64}", wanted):
        raise InvalidInput(
            f"plan_id {wanted[:80]!r} is not the id of a plan",
            hint="Give the plan_id that planning showed, 64 hexadecimal digits",
            option="plan_id",
        )
    if not params["approved"]:
        return journalled_plan(state_to_read(params["state_dir"]), vcenter, wanted) if wanted else None
    plan = plan_from_dict(params["approved"], option="approved")
    if wanted not in ("", plan.plan_id):
        raise InvalidInput(
            f"The approved plan is {plan.plan_id}, not {wanted}", hint="Give the plan of this id", option="approved"
        )
    if plan.vcenter.instance_uuid != vcenter.instance_uuid:
        raise InvalidInput(
            f"The approved plan was made for the vCenter {plan.vcenter.name} ({plan.vcenter.instance_uuid}), "
            f"this is {vcenter.name} ({vcenter.instance_uuid})",
            hint="Plan again on this vCenter",
            option="approved",
        )
    return plan


def refuse_departure(
    wanted: str, approved: Plan | None, plan: Plan, estate: Estate, hosts: tuple[HostState, ...]
) -> None:
    """Raises PlanRefused when the plan is not what was approved, with all that it does otherwise where that is known."""
    if approved is None:
        if wanted in ("", plan.plan_id):
            return
        what = f"approved was plan {wanted}, the present gives plan {plan.plan_id}"
    else:
        found = departures(approved, plan, estate, {host.moid for host in hosts})
        if not found:
            return
        what = f"plan {approved.plan_id} was approved; " + "; ".join(f"{d.vm_name}: {d.what}" for d in found)
    raise PlanRefused(
        f"The plan drifted, and nothing was moved: {what}", hint="Plan again and have the new plan approved"
    )


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Wait for runs in progress, read, plan."""
    params = module.params
    domains = params["fault_domains"]
    estate = vcenter.estate(fault_domains=domains)
    hosts = hosts_of(params, estate)
    if params["use_homes"] and not hosts:
        raise InvalidInput("use_homes needs a host", hint="Give the host that VMs come home to", option="host")
    if hosts:
        with ExitStack() as locks:
            for host in hosts:
                key = run_key(estate.vcenter.instance_uuid, host.moid)
                state = state_to_read(params["state_dir"])
                locks.enter_context(between_runs(state, key, timeout=params["lock_timeout"], waiting=module.warn))
            estate = vcenter.estate(fault_domains=domains)
    approved = approved_plan(params, estate)
    request = request_of(params, estate, hosts, approved)
    estate = vcenter.devices(estate, request.vms)  # all else as it was selected from: VMs may move meanwhile
    if module.check_mode and params["assume_in_service"]:
        estate = assume_in_service(estate, *(host.moid for host in hosts))
    plan = make_plan(estate, request)
    refuse_departure(params["plan_id"], approved, plan, estate, hosts)
    return {**result_of(plan), "hosts": [host.name for host in hosts]}


def result_of(plan: Plan) -> dict[str, Any]:
    """The module's result."""
    refusals = plan_to_dict(plan)["refusals"]
    for refusal in refusals:
        reasons = "; ".join(f"{r['check']} ({r['object']}): {r['hint']}" for r in refusal["reasons"])
        refusal["text"] = f"{refusal['vm_name']} stays: {reasons}."
    data = plan_to_dict(plan)
    return {
        "plan_id": plan.plan_id,
        "plan": data,
        "moves": data["moves"],
        "refusals": refusals,
        "lines": plan_lines(plan),
        "diff": plan_diff(plan),
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body, mutually_exclusive=[("host", "fault_domain")])


if __name__ == "__main__":
    main()
