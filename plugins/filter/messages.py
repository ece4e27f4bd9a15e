# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of role ``notify``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import module_loader
from ansible_collections.liveml.vsphere.plugins.module_utils._display import messages as _notify

DOCUMENTATION = r"""
name: messages
short_description: Messages to the owners of experiments
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes the messages that notification hooks send before VMs move, when experiments came to harm, and after.
  - The role P(liveml.vsphere.notify#role) sends them.
positional: _input
options:
  _input:
    description: The hooks, see the option O(liveml.vsphere.notify#role:main:notify_hooks).
    type: list
    elements: dict
    required: true
  event:
    description: The event of which is told.
    type: str
    choices: [before, stall, after]
    required: true
  experiments:
    description: Experiments as M(liveml.vsphere.experiment_info) or M(liveml.vsphere.vm_migrate) return them.
    type: list
    elements: dict
    default: []
  subject:
    description: What is done.
    type: str
    required: true
  failure:
    description: Why it failed; empty when it did not.
    type: str
    default: ""
  report:
    description: Path of the report.
    type: str
    default: ""
  notes:
    description: Sentences on VMs that are told after, to hooks that are told of all experiments.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show who would be told before a host is evacuated
  ansible.builtin.debug:
    msg: "{{ hooks | liveml.vsphere.messages('before', found.experiments, subject='Evacuation of esx-05') }}"
"""

RETURN = r"""
_value:
  description: The messages, each with the settings of its hook.
  type: list
  elements: dict
"""

MODULES = {
    "mail": "community.general.mail",
    "slack": "community.general.slack",
    "webhook": "ansible.builtin.uri",
}


def messages(
    hooks: Iterable[Mapping[str, Any]],
    event: str,
    experiments: Iterable[Mapping[str, Any]] = (),
    *,
    subject: str,
    failure: str = "",
    report: str = "",
    notes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """See the documentation of the filter. Raises AnsibleFilterError for a hook whose module is not installed."""
    wanted = list(hooks)
    for hook in wanted:
        module = MODULES[hook["kind"]]
        collection = module.rpartition(".")[0]
        if collection != "ansible.builtin" and not module_loader.find_plugin_with_context(module).resolved:
            raise AnsibleFilterError(
                f"A notification of kind {hook['kind']} needs the module {module}, which is not installed. "
                f"Install it (ansible-galaxy collection install {collection}), or use kind webhook."
            )
    return _notify.messages(wanted, event, experiments, subject=subject, failure=failure, report=report, notes=notes)


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"messages": messages}
