# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter of role ``notify``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import module_loader
from ansible_collections.liveml.vsphere.plugins.module_utils._display import messages as _messages

DOCUMENTATION = r"""
name: messages
short_description: Make the messages of notification hooks
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes the messages of notification hooks before VMs move, after a stall or an interruption, and at the end.
  - The role P(liveml.vsphere.notify#role) sends the messages.
positional: _input
options:
  _input:
    description: The hooks, as in the option O(liveml.vsphere.notify#role:main:notify_hooks).
    type: list
    elements: dict
    required: true
  event:
    description: The event that triggers the messages. V(stall) is a stall that is too long, or an interruption.
    type: str
    choices: [before, stall, after]
    required: true
  experiments:
    description: Experiments, as M(liveml.vsphere.experiment_info) or M(liveml.vsphere.vm_migrate) returned them.
    type: list
    elements: dict
    default: []
  subject:
    description: What happens, for example V(Evacuation of esx-05).
    type: str
    required: true
  failure:
    description: Why it failed, or empty.
    type: str
    default: ""
  report:
    description: Path of the report.
    type: str
    default: ""
  notes:
    description: Sentences about VMs for the event V(after). Only hooks that get all experiments get them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the messages that are sent before a host is evacuated
  ansible.builtin.debug:
    msg: "{{ hooks | liveml.vsphere.messages('before', found.experiments, subject='Evacuation of esx-05') }}"

- name: Show the messages that are sent after a failed run
  ansible.builtin.debug:
    msg: "{{ hooks | liveml.vsphere.messages('after', run.experiments, subject='Evacuation of esx-05', failure=run.msg) }}"
"""

RETURN = r"""
_value:
  description:
    - The messages. Each has C(hook), which is the place of its hook in the list, from 0, and C(kind), C(to), C(event), C(subject),
      C(text), C(experiments), C(report) and C(label).
    - They contain no password, token, URL or header of a hook.
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
    """See the documentation of the filter. Raises AnsibleFilterError if the module of a hook is not installed."""
    known = list(hooks)
    for hook in known:
        module = MODULES[hook["kind"]]
        collection = module.rpartition(".")[0]
        if collection != "ansible.builtin" and not module_loader.find_plugin_with_context(module).resolved:
            raise AnsibleFilterError(
                f"A hook of kind {hook['kind']} needs the module {module}, which is not installed. "
                f"Run ansible-galaxy collection install {collection}, or use kind webhook."
            )
    return _messages.messages(known, event, experiments, subject=subject, failure=failure, report=report, notes=notes)


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"messages": messages}
