# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter with which the roles read their variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import option_named, value_of

DOCUMENTATION = r"""
name: option
short_description: The value of a role's variable
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Gives the value of a role's variable in its type, and the default if the variable is empty.
  - Null and the empty text count as not given, because that is what surveys of AWX send for an empty field.
  - A list may be a text with commas. A list or a dictionary may be JSON text.
  - The roles of this collection use this filter for their own variables.
positional: _input
options:
  _input:
    description: What was given, or null.
    type: raw
    required: true
  variable:
    description: Name of the variable.
    type: str
    required: true
  default:
    description: The value of an empty variable, if it is not the one that the role documents.
    type: raw
"""

EXAMPLES = r"""
- name: Read an empty answer of a survey
  ansible.builtin.debug:
    msg: "{{ '' | liveml.vsphere.option('evacuate_host_slots') }}" # => 8
"""

RETURN = r"""
_value:
  description: The value in the type of the variable.
  type: raw
"""


def option(given: Any, variable: str, default: Any = None) -> Any:
    """See DOCUMENTATION."""
    try:
        return value_of(option_named(variable), given, default)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"option": option}
