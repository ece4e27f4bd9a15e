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

from contextlib import ExitStack
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_diff, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan, Policy
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import between_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import (
    approved_plan,
    hosts_of,
    refuse_departure,
    request_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import assume_in_service
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
