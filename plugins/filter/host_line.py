# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter with which roles say how a host is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display.host_line import host_line

DOCUMENTATION = r"""
name: host_line
short_description: Say in one line how a host is
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes a line from the result of M(liveml.vsphere.host_info) - maintenance mode, and how many VMs run on the host.
  - If the module failed, the line says that the host was not seen, and why. If the module was not called, the line is empty.
positional: _input, name, fence_unknown
options:
  _input:
    description: The result of the module.
    type: dict
    required: true
  name:
    description: Name of the host.
    type: str
    required: true
  fence_unknown:
    description: Whether a run did not see if the host is fenced. Then the line does not say that a host is in service.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the host
  liveml.vsphere.host_info:
    host: esx-05.example.com
  register: seen

- name: Show how it is
  liveml.vsphere.show_lines:
    lines: ["{{ seen | liveml.vsphere.host_line('esx-05.example.com') }}"]
"""

RETURN = r"""
_value:
  description: The line.
  type: str
"""


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"host_line": host_line}
