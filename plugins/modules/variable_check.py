#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: variable_check
short_description: Fail if a variable is misspelled or has a wrong value
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Fails if a variable begins with the name of a role of this collection and is not one of its variables, for example
    C(evacuate_host_polcy). Ansible would ignore it, and the role would use the default.
  - Fails if a variable has a value that its role cannot use, for example C(evacuate_host_slots=9). A variable that is null or empty
    counts as not given.
  - It checks extra variables, the inventory, C(vars) and facts alike, and suggests similar names.
  - Names that begin with C(liveml_vsphere_) are checked too.
  - Each role of this collection does this first. Call it yourself to check the variables of roles that run later.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  roles:
    description:
      - Roles of this collection whose variables are checked. By default the role that contains this task.
    type: list
    elements: str
notes:
  - It runs on the controller, as an action plugin.
"""

EXAMPLES = r"""
- name: Check the variables of both roles before anything moves
  liveml.vsphere.variable_check:
    roles: [evacuate_host, restore_host]

- name: Check the variables of a role in the tasks of a role of your own, which includes it later
  liveml.vsphere.variable_check:
    roles:
      - migrate_vm

- name: Check before a fault domain is evacuated, also what it passes on to the evacuation of each host
  liveml.vsphere.variable_check:
    roles:
      - fault_domain
      - evacuate_host
  vars:
    fault_domain_name: us-west-2b
    evacuate_host_slots: 4
"""

RETURN = r""" # """
