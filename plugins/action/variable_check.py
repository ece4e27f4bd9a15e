# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the names and values of variables on the controller, where all of them are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible_collections.liveml.vsphere.plugins.module_utils._core.similar import similar_names
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    DESTINATION_VCENTER_SPEC,
    EXPERIMENT_OPTIONS,
    EXPERIMENT_SPEC,
    OTHER_VCENTER_OPTIONS,
    SOURCE_OPTIONS,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._interrupted import begin_if_playbook
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import (
    complaints_about,
    has_keys_of,
    option_named,
    value_of,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import (
    COLLECTION,
    complaints,
    infinite_variables,
    options_of,
    public_roles,
)

NUMBERS = frozenset(
    name for name, option in {**EXPERIMENT_OPTIONS, **SOURCE_OPTIONS}.items() if option["type"] == "float"
)

begin_if_playbook()  # this plugin is the first one of a role, so it is loaded before anything is planned


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Compares variables with the options of the roles."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail if a variable begins with the name of a role and is not one of its variables, or has a wrong value."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec({"roles": {"type": "list", "elements": "str"}})
        variables = task_vars or {}
        roles = arguments["roles"] or called_role(variables)
        ours = [role for role in public_roles() if role in roles]
        wrong = complaints(variables, ours)
        for role in ours:
            wrong += complaints_about(variables, role, self._templar.template, AnsibleUndefinedVariable)
        if not wrong:
            given = self._values(variables, ours)
            wrong = infinite_variables(given, ours, NUMBERS)
            wrong = wrong or [
                each
                for name in given
                for find in (complaints_about_experiments, complaints_about_login)
                for each in find(name, given[name])
            ]
        if wrong:
            return {**result, "failed": True, "msg": " ".join([*dict.fromkeys(wrong), "Nothing was done."])}
        return {**result, "changed": False}

    def _values(self, variables: dict[str, Any], roles: list[str]) -> dict[str, Any]:
        """The values of the roles' options. One that cannot be templated is left to the task that uses it."""
        values = {}
        for name in (name for role in roles for name in options_of(role) if name in variables):
            with suppress(AnsibleError):
                values[name] = self._templar.template(variables[name])
            with suppress(ValueError, KeyError):  # no option of a survey, or not templated
                values[name] = value_of(option_named(name), values[name])
        return values


def complaints_about_experiments(variable: str, given: Any) -> list[str]:
    """Sentences about a variable that the modules get as ``experiments``; none for other variables."""
    if not has_keys_of(variable, "experiments") or not isinstance(given, Mapping):
        return []
    sources = given.get("sources")
    places = [(variable, given, EXPERIMENT_OPTIONS)]
    places += [
        (f"{variable}.sources", source, SOURCE_OPTIONS)
        for source in (sources if isinstance(sources, list) else [])
        if isinstance(source, Mapping)
    ]
    unknown = [each for place in places for each in unknown_keys(*place)]
    return unknown or _invalid(variable, given, {**EXPERIMENT_SPEC["experiments"], "apply_defaults": False})


def complaints_about_login(variable: str, given: Any) -> list[str]:
    """Sentences about a variable that the modules get as ``destination_vcenter``; none for other variables."""
    if not has_keys_of(variable, "destination_vcenter") or not isinstance(given, Mapping) or not given:
        return []
    unknown = unknown_keys(variable, given, OTHER_VCENTER_OPTIONS)
    return unknown or _invalid(variable, given, DESTINATION_VCENTER_SPEC["destination_vcenter"])


def unknown_keys(place: str, written: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """One sentence for each key of a mapping that is not an option."""
    return [
        f"{place}.{key} is not an option.{question_about(str(key), options)}" for key in written if key not in options
    ]


def _invalid(variable: str, given: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """What Ansible finds wrong with the values."""
    result = ArgumentSpecValidator({variable: spec}).validate({variable: given})
    wrong = [remove_values(each, result._no_log_values) for each in result.error_messages]
    return [f"{each}." if variable in each else f"{variable}: {each}." for each in wrong]


def question_about(key: str, options: Iterable[str]) -> str:
    """The names that are similar, and all of them if none is."""
    close = similar_names(key, options, min_ratio=0.7)
    return f" Did you mean {' or '.join(close)}?" if close else f" Known are {', '.join(sorted(options))}."


def called_role(variables: dict[str, Any]) -> list[str]:
    """The role that asks; none if another role of this collection called it, which has checked what it reads."""
    if any(parent.startswith(COLLECTION) for parent in variables.get("ansible_parent_role_names", ())):
        return []
    return [variables.get("ansible_role_name", "").removeprefix(COLLECTION)]
