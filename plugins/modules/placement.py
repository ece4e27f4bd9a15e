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
  - Returns for each VM with a recorded home where it is now, and what a restore would do with it.
  - A home is stored in the VM's custom attribute C(liveml_home). If the user may not set it, the home is only in the journal of the run.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.destination_vcenter
  - liveml.vsphere.attributes
options:
  host:
    description:
      - Name or MoID of a host. Only VMs whose home it is, or may be, are returned or cleared.
    type: str
  state:
    description:
      - V(present) reads the homes.
      - V(absent) clears the homes of VMs with one of O(outcomes). VMs that are being moved, or may be, are skipped. If the user may
        not clear a VM's custom attribute, its home is kept, with a warning.
      - Journals are never changed. O(state_dir) has a separate file of the homes that were cleared.
    type: str
    choices: [present, absent]
    default: present
  outcomes:
    description:
      - Outcomes whose homes O(state=absent) clears. See RV(placements[].outcome).
    type: list
    elements: str
    choices: [home, away, moved_by_person, mover_unknown, home_unhealthy, gone, not_shown, other_vcenter, unreadable]
    default: [home]
  state_dir:
    description:
      - Directory that contains the runs. If it does not exist, only custom attributes are read.
    type: path
    default: ~/.local/state/liveml.vsphere
  lock_timeout:
    description:
      - Maximum time, in seconds, to wait for a run of this machine for a host of which O(state=absent) clears homes, because the run needs the
        homes of VMs that it has still to move. If another controller carries out such a run, the module fails.
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
  - module: liveml.vsphere.migration_plan
  - module: liveml.vsphere.vm_migrate
"""

EXAMPLES = r"""
- name: Read which VMs have this host as their home
  liveml.vsphere.placement:
    host: esx-05.example.com
  register: homes

- name: Show where these VMs are, and what a restore would do
  ansible.builtin.debug:
    msg: "{{ homes.placements | map(attribute='text') | list }}"

- name: Clear the homes of VMs that are home again, or no longer in vCenter
  liveml.vsphere.placement:
    state: absent
    outcomes:
      - home
      - gone

- name: Show the homes that would be cleared for the VMs that a person has moved
  liveml.vsphere.placement:
    host: esx-05.example.com
    state: absent
    outcomes: [moved_by_person]
  check_mode: true
  diff: true
"""

RETURN = r"""
placements:
  description: The VMs with a recorded home, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    vm:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    moid:
      description: MoID of the VM.
      type: str
      sample: vm-42
    home:
      description: Name of the host that is the VM's home, or empty if it is not known.
      type: str
      sample: esx-05.example.com
    target:
      description: Name of the host to which the evacuation moved the VM.
      type: str
      sample: esx-06.example.com
    host:
      description: Name of the host on which the VM is now, or empty.
      type: str
      sample: esx-06.example.com
    outcome:
      description:
        - V(home) means that the VM is home, and V(away) that a restore would bring it home.
        - V(moved_by_person) means that a person moved it after its evacuation. A restore leaves it where it is. What DRS moved, or vSphere HA
          restarted on another host, is V(away).
        - V(mover_unknown) means that it was moved after its evacuation, and vCenter's events do not say by whom. A restore fails and names
          the VM.
        - V(home_unhealthy) means that its home is in maintenance mode, disconnected or gone.
        - V(gone) means that the VM is no longer in vCenter, as vCenter says of its MoID. It was deleted, unregistered or moved to another vCenter.
        - V(not_shown) means that vCenter does not show the VM, for example because the user has no permission on it any more. A restore fails
          and names the VM. With O(destination_vcenter) a VM that was deleted is V(not_shown), too.
        - V(other_vcenter) means that the VM was moved to another vCenter, or that its home is in one, which the logins do not show. Set
          O(destination_vcenter).
        - V(unreadable) means that vCenter does not show on which host the VM is, or does not show its custom attributes, so that its home
          is not known and may be any host; or that the custom attribute C(liveml_home) of the VM has a text that is not a home, or
          has none any more and it is not known why. A restore fails and names the VM. Grant the user System.Read on it, or correct the text.
      type: str
      sample: away
    vcenter:
      description: Address of the other vCenter, if the VM was moved to another one than that of its home, else empty.
      type: str
      sample: ""
    run_id:
      description: ID of the run that recorded the home.
      type: str
      sample: 20260131T090000Z-evacuate-esx-05-7f3a
    text:
      description: All this in one sentence.
      type: str
      sample: ML-cpu-vm-04 is on esx-06.example.com, away from its home esx-05.example.com.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    DESTINATION_VCENTER_SPEC,
    STATE_DIR_SPEC,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import Placement, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import clear_homes, journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.lease import wait_for_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import refuse_unreadable, runs_of, state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import ATTRIBUTES, Estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import AnyVcenter
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.qualified import part_of

OUTCOMES = [
    "home", "away", "moved_by_person", "mover_unknown", "home_unhealthy", "gone", "not_shown", "other_vcenter",
    "unreadable",
]  # fmt: skip
SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **DESTINATION_VCENTER_SPEC,
    "host": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "outcomes": {"type": "list", "elements": "str", "choices": OUTCOMES, "default": ["home"]},
    "lock_timeout": {"type": "float", "default": 600.0},
}


def body(module: AnsibleModule, vcenter: AnyVcenter) -> dict[str, Any]:
    """Read the homes, and clear those that the options select."""
    params = module.params
    estate = vcenter.estate()
    host = find_host(part_of(estate, second=False), params["host"]) if params["host"] is not None else None
    uuid = estate.vcenter.instance_uuid
    state = state_to_read(params["state_dir"])
    if host is not None:
        refuse_unreadable(state, run_key(uuid, host.moid), host.name)
    homes = journal_homes(state, uuid, runs_of(state, uuid, module.warn))
    found = placements(estate, homes, host.moid if host is not None else None, vcenter.mover, vcenter.deleted)
    if params["state"] == "present":
        return {"changed": False, "placements": [result_for(p) for p in found]}
    selected = [p for p in found if p.outcome in params["outcomes"] and may_clear(estate, p.vm)]
    if waited_for_runs(module, vcenter, estate, selected):
        return body(module, vcenter)
    cleared = [p for p in selected if module.check_mode or clear_attribute(estate, p.vm, vcenter)]
    journalled = [homes[p.home.vm] for p in cleared if p.home.vm in homes]
    if journalled and not module.check_mode:
        clear_homes(state, uuid, journalled)
    for kept in selected:
        if kept not in cleared:
            module.warn(
                f"{kept.vm_name} keeps its home {kept.home.host_name}, because its custom attribute {ATTRIBUTE} cannot be "
                "cleared. Check that the user has the privilege Global.SetCustomField on the VM."
            )
    return {
        "changed": bool(cleared),
        "placements": [result_for(p) for p in found],
        "diff": {"before": "".join(f"{p.vm_name}: home {p.home.host_name}\n" for p in cleared), "after": ""},
    }


def waited_for_runs(module: AnsibleModule, vcenter: AnyVcenter, estate: Estate, selected: list[Placement]) -> bool:
    """Wait for runs of the hosts that are the homes of these VMs; whether one was waited for. Raises RunBusy."""
    state, timeout = state_to_read(module.params["state_dir"]), module.params["lock_timeout"]
    hosts = [estate.hosts[moid] for moid in sorted({p.home.host for p in selected}) if moid in estate.hosts]
    uuid = estate.vcenter.instance_uuid
    return any(wait_for_runs(vcenter, state, uuid, host, timeout=timeout, warn=module.warn) for host in hosts)


def may_clear(estate: Estate, vm: str) -> bool:
    """Whether the home of a VM (MoID) may be cleared. A VM that may be moving needs it again on the host where it arrives."""
    known = estate.vms.get(vm)
    return known is None or (known.moving_task is None and not estate.hides(vm, "recentTask"))


def clear_attribute(estate: Estate, vm: str, vcenter: AnyVcenter) -> bool:
    """Clear the home attribute of a VM (MoID) if it has or may have one. Returns whether it is now without one."""
    known = estate.vms.get(vm)
    may_have = known is not None and (bool(known.attributes.get(ATTRIBUTE)) or estate.hides(vm, *ATTRIBUTES))
    return not may_have or vcenter.clear_home(vm)


def result_for(placement: Placement) -> dict[str, str]:
    """The module's result for one VM."""
    return {
        "vm": placement.vm_name,
        "moid": placement.vm,
        "home": placement.home.host_name,
        "target": placement.home.target_name,
        "host": placement.host_name,
        "outcome": placement.outcome,
        "vcenter": placement.vcenter,
        "run_id": placement.home.run_id,
        "text": placement.sentence,
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
