# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Variables of the roles: which ones exist, and which module option gets which variable. No Ansible import."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._core.similar import similar_names

from ._options import SITE, is_empty, is_option, specs_of, variable_of, yaml_of

COLLECTION = "liveml.vsphere."
SHARED = SITE
# What roles pass to later jobs and plays with set_stats.
STATISTICS = frozenset({"liveml_vsphere_artifact", "liveml_vsphere_evidence", "liveml_vsphere_hardware"})
LOGIN = {
    "hostname": "VMWARE_HOST",
    "username": "VMWARE_USER",
    "password": "VMWARE_PASSWORD",
    "port": "VMWARE_PORT",
    "validate_certs": "VMWARE_VALIDATE_CERTS",
    "ca_path": "SSL_CERT_FILE",
    "vcenter_patience": "LIVEML_VSPHERE_VCENTER_PATIENCE",
}
ROLES = Path(__file__).resolve().parent.parent.parent / "roles"


@cache
def options_of(role: str) -> Mapping[str, Mapping[str, Any]]:
    """The options of a role by name, of all its entry points. Argument specs do not have the types of all."""
    specs = yaml_of(ROLES / role / "meta" / "argument_specs.yml")
    written = [entry.get("options", {}) for entry in specs["argument_specs"].values()]
    typed = specs_of(role)
    return {name: typed.get(name, option) for options in written for name, option in options.items()}


def variables_of(role: str) -> frozenset[str]:
    """The variables in the argument specs of a role, of all its entry points."""
    return frozenset(options_of(role))


def public_roles() -> tuple[str, ...]:
    """The roles that people call: those with argument specs."""
    return tuple(sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml")))


def complaints(names: Iterable[str], roles: Iterable[str]) -> list[str]:
    """One sentence for each of the ``names`` that begins as a variable of these roles, and is not one.

    A variable that all roles read may be misspelled as well.
    """
    known = {f"{role}_": (role, variables_of(role)) for role in roles}
    shared = frozenset(name for role in public_roles() for name in variables_of(role) if name.startswith(SHARED))
    known[SHARED] = (COLLECTION.rstrip("."), shared | STATISTICS)
    found = []
    for name in sorted(names):
        for prefix, (owner, variables) in known.items():
            if name.startswith(prefix) and name not in variables:
                found.append(f"{name} is not a variable of {owner}.{_similar(name, prefix, variables)}")
    return found


def infinite_variables(values: Mapping[str, Any], roles: Iterable[str], numbers: Container[str]) -> list[str]:
    """One sentence for each variable of these roles that must be a finite number, and is infinite or not a number.

    Within a mapping, the names in ``numbers`` must be numbers. Extra variables are often text.
    """
    found = []
    for role in roles:
        for name, option in options_of(role).items():
            wrong = _infinite(values.get(name), name, numbers, is_number=option.get("type") in ("float", "int"))
            found += [f"{where} must be a finite number, and is {value}." for where, value in wrong]
    return found


def _infinite(value: Any, name: str, numbers: Container[str], *, is_number: bool) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _infinite(item, f"{name}.{key}", numbers, is_number=key in numbers)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _infinite(item, name, numbers, is_number=is_number)
    elif isinstance(value, float) or (is_number and isinstance(value, str)):
        try:
            finite = math.isfinite(float(value))
        except ValueError:  # validated by others
            finite = True
        if not finite:
            yield name, value


def _similar(name: str, prefix: str, variables: Iterable[str]) -> str:
    """A question with the closest names. The prefix is the same in all of them, so it is left out of the comparison."""
    rest = sorted(variable.removeprefix(prefix) for variable in variables if variable.startswith(prefix))
    close = [f"{prefix}{found}" for found in similar_names(name.removeprefix(prefix), rest, min_ratio=0.7)]
    return f" Did you mean {' or '.join(close)}?" if close else ""


def with_login(
    arguments: Mapping[str, Any], variables: Mapping[str, Any], template: Callable[[Any], Any]
) -> dict[str, Any]:
    """A module's arguments, with each option of the login that is not given from its variable ``liveml_vsphere_*``."""
    found = dict(arguments)
    for option in LOGIN:
        if option not in found and f"{SHARED}{option}" in variables:
            value = template(variables[f"{SHARED}{option}"])
            if not is_empty(value) and value != variables.get("omit"):
                found[option] = value
    return found


def about_login(message: str) -> str:
    """The message with the remedy, if it says that a part of the login is missing."""
    listed = message.removeprefix("missing required arguments: ")
    missing = [name for name in listed.split(", ") if name in LOGIN] if listed != message else []
    if not missing:
        return message
    ways = " and ".join(f"{SHARED}{name} (or the environment variable {LOGIN[name]})" for name in missing)
    return f"The login of vCenter is incomplete: {', '.join(missing)} missing. Set {ways}."


def login_names(written: Container[str], completed: Container[str]) -> dict[str, str]:
    """The name under which each option of the login got its value.

    ``written`` are the options of the task, ``completed`` those and what ``with_login`` added. The rest is of the environment.
    """
    return {
        option: option if option in written else f"{SHARED}{option}" if option in completed else environment
        for option, environment in LOGIN.items()
    }


def in_login_names(message: str, names: Mapping[str, str]) -> str:
    """The message with the name that the person used, where it says ``hostname (VMWARE_HOST)``, and where Ansible names an option."""
    for option, name in names.items():
        message = re.sub(rf"\b{option} \({LOGIN[option]}\)", name, message)
        message = message.replace(f"argument '{option}' is of type", f"{name} is of type")
    return message


def variable_in(value: Any, role: str = "") -> str | None:
    """The first variable that an argument is made of, as an operator knows it: ``evacuate_host_name`` of ``{{ __evacuate_host_name }}``.

    ``role`` is the role whose options a task in the role ``internal`` gets in ``internal_run``. Other private variables mean nothing
    to an operator.
    """
    if isinstance(value, list | tuple):
        return next((variable for item in value if (variable := variable_in(item, role))), None)
    found = re.match(r"\s*\{\{\s*([A-Za-z_]\w*)(?:\.options\.(\w+))?", value) if isinstance(value, str) else None
    if found is None:
        return None
    if found[1] == "internal_run" and role and found[2]:
        variable = variable_of(found[2], role)
        return variable if is_option(variable) else None
    name = found[1].removeprefix("__")
    if found[1].startswith("internal_") or not (name == found[1] or is_option(name)):
        return None
    return name


def in_variables(message: str, option: str, variable: str) -> str:
    """The message with the variable instead of the module's option that it fills.

    Options such as ``host`` are words as well, so they are only replaced where they stand as a name.
    """
    if "_" in option:
        return re.sub(rf"\b{option}\b", variable, message)
    before = r"^|\(|\b[Cc]heck |\b[Cc]orrect |\b[Ss]et |\bin "
    return re.sub(rf"({before}){option}\b", rf"\g<1>{variable}", message)
