# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows lines on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import printable
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import is_for_a_program, say


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Displays its lines."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Display the lines, unless a program reads the output."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = {"lines": {"type": "list", "elements": "str", "required": True}}
        _validated, arguments = self.validate_argument_spec(spec)
        lines = [printable(line) for line in arguments["lines"]]
        if not is_for_a_program():
            for line in lines:
                say(f"  {line}" if line else "")
        return {**result, "changed": False, "lines": lines}
