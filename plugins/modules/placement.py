#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: placement
short_description: Read or clear the homes that evacuations recorded
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Tells for each VM with a recorded home where it is now and what a restore would do with it.
  - Homes come from the custom attribute C(liveml_home) of the VM, or from the journals where the role did not permit it.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
options:
  host:
    description:
      - Only VMs whose home this host is, by name or MoID.
    type: str
  state:
    description:
      - V(present) reads; V(absent) clears the recorded homes of the VMs with one of O(outcomes), in the VM's custom attribute
        and for the journals of O(state_dir), except of a VM that a task of vCenter is moving just then.
      - The journals themselves stay as they are; what was cleared is kept beside them. A home whose attribute the role does not
        permit to clear is kept, with a warning.
    type: str
    choices: [present, absent]
    default: present
  outcomes:
    description:
      - Outcomes whose homes V(absent) clears.
    type: list
    elements: str
    choices: [home, away, moved_by_person, home_unhealthy, gone]
    default: [home]
  state_dir:
    description:
      - Folder of the journals. One that is missing holds no homes.
    type: path
    default: ~/.local/state/liveml.vsphere
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: See which VMs have to come home
  liveml.vsphere.placement:
    host: esx-05.example.com
"""

RETURN = r"""
placements:
  description: VMs with a recorded home, and the C(outcome) that a restore would have for each, V(home), V(away), V(moved_by_person),
    V(home_unhealthy) or V(gone), in one sentence as C(text).
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import Placement, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import clear_homes, journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import VmState
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere

OUTCOMES = ["home", "away", "moved_by_person", "home_unhealthy", "gone"]
SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "host": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "outcomes": {"type": "list", "elements": "str", "choices": OUTCOMES, "default": ["home"]},
}


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Read, then clear what is to be cleared."""
    params = module.params
    estate = vcenter.estate()
    host = find_host(estate, params["host"]).moid if params["host"] is not None else None
    uuid = estate.vcenter.instance_uuid
    state = state_to_read(params["state_dir"])
    homes = journal_homes(state, uuid)
    found = placements(estate, homes, host)
    if params["state"] == "present":
        return {"changed": False, "placements": [described(p) for p in found]}
    wanted = [p for p in found if p.outcome in params["outcomes"] and may_clear(estate.vms.get(p.vm))]
    cleared = [p for p in wanted if module.check_mode or cleared_attribute(estate.vms.get(p.vm), vcenter)]
    journalled = [homes[p.vm] for p in cleared if p.vm in homes]
    if journalled and not module.check_mode:
        clear_homes(state, uuid, journalled)
    for kept in wanted:
        if kept not in cleared:
            module.warn(
                f"{kept.vm_name} keeps its home {kept.home.host_name}: its attribute {ATTRIBUTE} cannot be cleared."
            )
    return {
        "changed": bool(cleared),
        "placements": [described(p) for p in found],
        "diff": {"before": "".join(f"{p.vm_name}: home {p.home.host_name}\n" for p in cleared), "after": ""},
    }


def may_clear(vm: VmState | None) -> bool:
    """Whether the VM's home may go: one that is being moved may still need it where it arrives."""
    return vm is None or vm.moving_task is None


def cleared_attribute(vm: VmState | None, vcenter: Vsphere) -> bool:
    """Clear the VM's home attribute where it has one; whether it has none any more."""
    return vm is None or not vm.attributes.get(ATTRIBUTE) or vcenter.clear_home(vm.moid)


def described(placement: Placement) -> dict[str, str]:
    """A placement as the module returns it."""
    return {
        "vm": placement.vm_name,
        "moid": placement.vm,
        "home": placement.home.host_name,
        "target": placement.home.target_name,
        "host": placement.host_name,
        "outcome": placement.outcome,
        "run_id": placement.home.run_id,
        "text": placement.sentence,
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
