# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entry of every module: read the options, run the module's ``body``, and exit or fail with one message."""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._core.errors import InvalidInput, VsphereError
from .._core.untrusted import printable
from .._core.urls import secrets_in
from .argspec import CONNECTION_SPEC, EXPERIMENT_SPEC


class Module(AnsibleModule):  # type: ignore[misc]  # Ansible has no types
    """A module whose results and logs show no secret of a URL, where Ansible does not look for one."""

    def _load_params(self) -> None:
        """Before anything can fail: an error shows the options as well."""
        super()._load_params()
        self.no_log_values.update(secrets_in(self.params))


def prepared(spec: dict[str, Any], **options: Any) -> AnsibleModule:
    """The module with its options. It fails if a number is not finite, before anything else is done."""
    try:
        # AnsibleModule completes the default of a dictionary in place.
        module = Module(argument_spec=deepcopy(spec), supports_check_mode=True, **options)
    except TypeError:
        # ansible-core looks for options in each item of a list before it checks that the item is a dictionary.
        refuse_other_types(spec)
        raise
    # Children of the module must not get them. Its options have them already.
    for variable in secret_variables({**CONNECTION_SPEC, **EXPERIMENT_SPEC}):
        os.environ.pop(variable, None)
    try:
        refuse_infinite(module.params)
    except InvalidInput as error:
        module.fail_json(msg=str(error), option=error.option)
    return module


def refuse_other_types(spec: dict[str, Any]) -> None:
    """Fail if an option that has options of its own contains anything but dictionaries."""
    # Nothing was read yet that says what is secret, so no value is shown.
    module = Module(argument_spec={name: {"type": "raw", "no_log": True} for name in spec})
    for name, option in spec.items():
        value = module.params[name]
        wrong = not all(isinstance(each, dict) for each in (value if isinstance(value, list) else [value]))
        if "options" in option and value is not None and (wrong or _other_types_in(option["options"], value)):
            wanted = "a list of dictionaries" if option["type"] == "list" else "a dictionary"
            module.fail_json(
                msg=f"{name} must be {wanted}, and so must each option in it that has options.", option=name
            )


def _other_types_in(spec: dict[str, Any], value: Any) -> bool:
    """Whether that is so for an option of an option."""
    parts = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, dict)]
    found = [
        (option["options"], each)
        for name, option in spec.items()
        if "options" in option
        for part in parts
        for each in (part[name] if isinstance(part.get(name), list) else [part.get(name)])
        if each is not None
    ]
    return any(not isinstance(each, dict) or _other_types_in(inner, each) for inner, each in found)


def secret_variables(spec: Mapping[str, Any]) -> Iterator[str]:
    """The environment variables from which options with secrets take their defaults."""
    for option in spec.values():
        if option.get("no_log"):
            yield from option.get("fallback", (None, []))[1]
        yield from secret_variables(option.get("options", {}))


def refuse_infinite(params: Mapping[str, Any]) -> None:
    """Raise InvalidInput for each number that is infinite or not a number, at any depth: neither JSON nor a clock has them."""
    found = dict(infinite_numbers(params))
    if found:
        raise InvalidInput(
            f"{', '.join(found)} must be a finite number (found {', '.join(map(str, found.values()))})",
            hint=f"Set {', '.join(found)} to a number",
            option=next(iter(found)).partition(".")[0],
        )


def infinite_numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Name and value of each number in options that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from infinite_numbers(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from infinite_numbers(item, name)


def run_local(spec: dict[str, Any], body: Callable[[AnsibleModule], dict[str, Any]], **options: Any) -> None:
    """Run ``body`` of a module that does not connect to vCenter, then exit or fail."""
    module = prepared(spec, **options)
    try:
        result = body(module)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "a library"), exception=traceback.format_exc())
    except VsphereError as error:
        module.fail_json(msg=printable(str(error)))
    finish(module, result)


def show_warnings(module: AnsibleModule, sentences: Iterable[str]) -> None:
    """Show each sentence as a warning."""
    for sentence in sentences:
        module.warn(sentence)


def finish(module: AnsibleModule, result: dict[str, Any]) -> None:
    """Exit with the result, its ``diff`` only in diff mode. Fail if the result has a ``failure``, which is the message."""
    if not module._diff:
        result.pop("diff", None)
    failure = result.pop("failure", "")
    if failure:
        module.fail_json(msg=printable(failure), **result)
    module.exit_json(**{"changed": False, **result})


def as_sentence(failure: str) -> str:
    """A failure at the beginning of a sentence. Names of VMs stay as they are, because upper and lower case differ in vSphere."""
    return f"The {failure.removeprefix('the ')}" if failure.startswith("the ") else failure
