# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the messages of hooks, and sends them."""

from __future__ import annotations

import platform
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import EVENTS, About, messages
from ansible_collections.liveml.vsphere.plugins.plugin_utils._courier import Courier, checked_hooks
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import is_for_a_program, say

SPEC: dict[str, Any] = {
    "hooks": {"type": "list", "elements": "dict", "required": True},
    "events": {"type": "list", "elements": "str", "choices": list(EVENTS), "required": True},
    "subject": {"type": "str", "required": True},
    "experiments": {"type": "list", "elements": "dict", "default": []},
    "result": {"type": "dict", "default": {}},
    "failure": {"type": "str", "default": ""},
    "report": {"type": "str", "default": ""},
    "excerpts": {"type": "dict", "default": {}},
    "notes": {"type": "list", "elements": "str", "default": []},
    "command": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Sends messages. One that cannot be sent is reported, and does not fail the task."""

    _supports_check_mode = True
    _supports_diff = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send the messages of each event, unless it is check mode."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, given = self.validate_argument_spec(SPEC)
        try:
            hooks = checked_hooks(given["hooks"])
        except ValueError as error:
            return {**result, "failed": True, "msg": str(error)}
        about = About(
            subject=given["subject"],
            failure=given["failure"],
            report=given["report"],
            excerpts=given["excerpts"],
            controller=platform.node(),
            command=given["command"],
            notes=tuple(given["notes"]),
            result=given["result"],
        )
        later = given["result"].get("experiments") or []
        courier = Courier(self, hooks, task_vars or {})
        sent, not_sent = [], []
        for event in given["events"]:
            for message in messages(hooks, event, given["experiments"] if event == "before" else later, about):
                why = "" if self._task.check_mode else courier.send(message)
                if why:
                    not_sent.append(f"{message.label}: {why}")
                elif not self._task.check_mode:
                    sent.append(message.label)
        if not is_for_a_program():
            for line in not_sent:
                say(f"  NOT SENT: {line}")
        return {**result, "changed": bool(sent), "sent": sent, "not_sent": not_sent}
