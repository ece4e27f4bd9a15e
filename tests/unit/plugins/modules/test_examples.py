# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arguments of each example fit the argument spec of their module. ``tests/docs/test_examples.py`` runs the examples."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from unittest.mock import patch

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import CONNECTION_SPEC

from tests.canaries import ON_THE_CONTROLLER
from tests.module_docs import NAMES, docs_of, own_tasks

VALUES = {"dict": {}, "list": [], "int": 1, "float": 1.0, "bool": True, "str": "text", "path": "/path"}
LOGIN = {"hostname": "vc", "username": "user", "password": "secret"}


def validator_of(name: str) -> ArgumentSpecValidator:
    """The check that Ansible makes of the module's arguments."""
    module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
    seen: list[ArgumentSpecValidator] = []

    def local(spec: dict[str, Any], _body: object, **rules: Any) -> None:
        seen.append(ArgumentSpecValidator(spec, **rules))

    def connected(spec: dict[str, Any], body: object, **rules: Any) -> None:
        local({**CONNECTION_SPEC, **spec}, body, **rules)

    with (
        patch.object(module, "run_local", local, create=True),
        patch.object(module, "run_module", connected, create=True),
    ):
        module.main()
    return seen[0]


def filled(value: Any, option: Mapping[str, Any]) -> Any:
    """An argument with values of the right type for templates."""
    if isinstance(value, dict):
        return {name: filled(item, option.get("options", {}).get(name, {})) for name, item in value.items()}
    if isinstance(value, list):
        each = {**option, "type": option.get("elements", "str")}
        return [filled(item, each) for item in value]
    if isinstance(value, str) and "{{" in value:
        return option.get("choices", [VALUES[option.get("type", "str")]])[0]
    return value


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_of_each_example_fit_the_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VMWARE_HOST", "VMWARE_USER", "VMWARE_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    for module, arguments in own_tasks(docs_of(name).examples):
        options = docs_of(module).documentation.get("options", {})
        if module in ON_THE_CONTROLLER:
            assert arguments.keys() <= options.keys()
            assert {option for option, spec in options.items() if spec.get("required")} <= arguments.keys()
            continue
        validator = validator_of(module)
        spec = validator.argument_spec
        login = {option: value for option, value in LOGIN.items() if option in spec}
        given = {option: filled(value, spec.get(option, {})) for option, value in arguments.items()}
        assert validator.validate({**login, **given}).error_messages == [], (module, arguments)
