# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""The action of modules that connect to vCenter: takes the login from variables, and says which variable was wrong."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import (
    about_login,
    in_variables,
    variable_in,
    with_login,
)


class VcenterAction(NormalAction):  # type: ignore[misc]  # Ansible has no types
    """Runs the module as Ansible does, with the login of ``liveml_vsphere_hostname`` and its siblings.

    So a login in the inventory is enough: neither a playbook nor a role needs ``module_defaults``.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the same name."""
        self._task.args = with_login(self._task.args, task_vars or {}, self._templar.template)
        result: dict[str, Any] = super().run(tmp, task_vars)
        if result.get("failed") and isinstance(result.get("msg"), str):
            message = self._in_words_of_the_operator(about_login(result["msg"]), result.get("option"))
            if message != result["msg"]:
                result.pop("exception", None)  # newer cores show it instead of the message
                result["msg"] = message
        return result

    def _in_words_of_the_operator(self, message: str, option: object) -> str:
        written = self._task.get_ds() or {}
        arguments = written.get(self._task.action) or written.get("args")
        if not isinstance(option, str) or not isinstance(arguments, dict):
            return message
        variable = variable_in(arguments.get(option))
        return in_variables(message, option, variable) if variable else message
