# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter of role ``report_state``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display import status as _status

DOCUMENTATION = r"""
name: status_lines
short_description: Show how hosts, VMs and runs stand
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes a table of hosts, the VMs that are away from home with the command that brings them back, and the last runs.
positional: _input
options:
  _input:
    description: Hosts, as M(liveml.vsphere.host_info) returned them.
    type: list
    elements: dict
    required: true
  placements:
    description: Homes, as M(liveml.vsphere.placement) returned them.
    type: list
    elements: dict
    required: true
  runs:
    description: Runs, as M(liveml.vsphere.run_info) returned them.
    type: list
    elements: dict
    required: true
  experiments:
    description: Experiments, as M(liveml.vsphere.experiment_info) returned them. Without them the table does not count any.
    type: list
    elements: dict
  vms_without_host:
    description: Names of VMs of which vCenter does not show the host, as M(liveml.vsphere.host_info) returned them. The table cannot count them.
    type: list
    elements: str
    default: []
  of_host:
    description: Name of the only host that the modules were asked for. Empty if they were asked for all.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Read hosts, homes and runs
  block:
    - liveml.vsphere.host_info:
      register: found
    - liveml.vsphere.placement:
      register: homes
    - liveml.vsphere.run_info:
      register: journals

- name: Show how they stand
  ansible.builtin.debug:
    msg: "{{ found.hosts | liveml.vsphere.status_lines(homes.placements, journals.runs) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def status_lines(
    hosts: Sequence[Mapping[str, Any]],
    placements: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    experiments: Sequence[Mapping[str, Any]] | None = None,
    vms_without_host: Sequence[str] = (),
    of_host: str = "",
) -> list[str]:
    """See DOCUMENTATION."""
    return _status.status_lines(hosts, placements, runs, experiments, vms_without_host, of_host)


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"status_lines": status_lines}
