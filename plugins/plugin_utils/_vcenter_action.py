# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""The action of modules that connect to vCenter: takes the login from variables, and says which variable was wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import (
    about_login,
    in_login_names,
    in_variables,
    login_names,
    variable_in,
    with_login,
)


class VcenterAction(NormalAction):  # type: ignore[misc]  # Ansible has no types
    """Runs the module as Ansible does, with the login of ``liveml_vsphere_hostname`` and its siblings.

    So a login in the inventory is enough: neither a playbook nor a role needs ``module_defaults``.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the same name."""
        given = self._task.args
        self._task.args = with_login(given, task_vars or {}, self._templar.template)
        result: dict[str, Any] = super().run(tmp, task_vars)
        explain(result, self._task, given, self._task.args, self._templar.template)
        return result


def explain(
    result: dict[str, Any],
    task: Any,
    given: Mapping[str, Any],
    completed: Mapping[str, Any],
    template: Callable[[Any], Any],
) -> None:
    """Put the names that the operator used into the message of a failed module.

    ``given`` are the arguments of the task, ``completed`` those with the login from variables.
    """
    if not result.get("failed") or not isinstance(result.get("msg"), str):
        return
    message = in_login_names(about_login(result["msg"]), login_names(given, completed))
    message = _with_variable(message, result.get("option"), task, template)
    if message != result["msg"]:
        result.pop("exception", None)  # newer cores show it instead of the message
        result["msg"] = message


def _with_variable(message: str, option: object, task: Any, template: Callable[[Any], Any]) -> str:
    """The message with the variable that the task gives to the option."""
    written = task.get_ds() or {}
    arguments = written.get(task.action) or written.get("args")
    if not isinstance(option, str) or not isinstance(arguments, dict):
        return message
    argument = arguments.get(option)
    role = str(template("{{ internal_run.role }}")) if "internal_run." in str(argument) else ""
    variable = variable_in(argument, role)
    return in_variables(message, option, variable) if variable else message
