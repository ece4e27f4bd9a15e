# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter with which roles end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display import closing as _closing

DOCUMENTATION = r"""
name: closing_lines
short_description: Say in a few lines how a run ended
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes the last lines of a playbook from the result of M(liveml.vsphere.vm_migrate).
positional: _input
options:
  _input:
    description: >-
      The result of the module. It may be empty if the module was not called. With C(experiments), C(unobserved) and C(partly_searched) of
      M(liveml.vsphere.evidence_report) in it, the lines say more.
    type: dict
    required: true
  subject:
    description: What the run is for.
    type: str
    required: true
  failed:
    description: Whether the playbook fails.
    type: bool
    required: true
  host:
    description: A line about the host as it was observed.
    type: str
    default: ""
  stays:
    description: Names of VMs on the host that were not to be moved.
    type: list
    elements: str
    default: []
  report:
    description: Path of the report.
    type: str
    default: ""
  command:
    description: What to type next after a success.
    type: str
    default: ""
  again:
    description: The command of this call.
    type: str
    default: ""
  others:
    description: The command that moves only the VMs that can leave.
    type: str
    default: ""
  goal:
    description: What the playbook does after the moves.
    type: str
    default: ""
  steps:
    description: >-
      Results of other modules, which say how the playbook failed. V(plan) is that of M(liveml.vsphere.migration_plan), V(maintenance)
      of M(liveml.vsphere.host_maintenance), V(evidence) of M(liveml.vsphere.evidence_report), and V(home) says whether VMs are not home.
    type: dict
    default: {}
  ended:
    description: When it ended (ISO 8601, UTC). It is shown in the zone of the controller and in UTC.
    type: str
    default: ""
  check:
    description: Whether it is check mode. The lines then say what the plan in O(steps) would do.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show how it ended
  liveml.vsphere.show_lines:
    lines: "{{ moved | liveml.vsphere.closing_lines(subject='Evacuation of esx-05', failed=false) }}"
  vars:
    moved: {moves: [{vm: ML-1, result: moved, back: false}], experiments: []}
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def closing_lines(moved: Mapping[str, Any], **about: Any) -> list[str]:
    """See DOCUMENTATION."""
    return _closing.closing_lines(moved, **about)


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"closing_lines": closing_lines}
