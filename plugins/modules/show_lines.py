#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show_lines
short_description: Show lines of text
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Shows lines as they are, one below the other. The module C(debug) shows a list as data.
  - The roles of this collection show plans and results with it.
  - With a callback whose output is for a program, such as V(json), the lines are only in the result.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  lines:
    description:
      - The lines. Control characters are removed.
    type: list
    elements: str
    required: true
notes:
  - It runs on the controller, as an action plugin.
"""

EXAMPLES = r"""
- name: Plan the evacuation of a host
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
  register: planned

- name: Show the plan
  liveml.vsphere.show_lines:
    lines: "{{ planned.lines }}"

- name: Show why VMs cannot move
  liveml.vsphere.show_lines:
    lines: "{{ planned.refusals | map(attribute='text') }}"

- name: Show the homes of VMs that are away
  liveml.vsphere.placement:
    host: esx-05.example.com
  register: homes

- name: Show them, or that there are none
  liveml.vsphere.show_lines:
    lines: "{{ homes.placements | map(attribute='text') or ['All VMs are at home.'] }}"
"""

RETURN = r"""
lines:
  description: The lines.
  returned: always
  type: list
  elements: str
  sample: ["ML-cpu-vm-04: esx-05 → esx-06"]
"""
