# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""What the options of the roles are, and the values that they take. No Ansible import.

An empty answer is not an answer: AWX sends the empty text for a field that nobody filled in, and ansible-core 2.19 and newer
make null of it. Ansible's own argument specs refuse both for numbers, choices, truth values, lists and dictionaries, and JSON text
for the last two. So `make_roles.py` leaves types, choices and defaults out of them, and this file judges the values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).resolve().parent.parent.parent / "roles" / "internal" / "files" / "options.yml"
SITE = "liveml_vsphere_"  # prefix of the variables that all roles read
MAX_QUOTED = 60  # characters of a wrong value that a message repeats
A_TEXT = (
    "a text. Put it into quotes in YAML; in AWX, which reads YAML without quotes, give the MoID instead of such a name"
)
_SOURCE_KEYS = ("roles", "except", "round_trip", "evacuation_only")
_TRUE = frozenset({"yes", "on", "true", "y", "1"})
_FALSE = frozenset({"no", "off", "false", "n", "0"})

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """A variable of a role, and what its value must be."""

    variable: str
    type: str
    elements: str = ""
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    default: Any = None
    required: bool = False
    no_log: bool = False


def yaml_of(path: Path) -> Any:
    """The content of one of our own YAML files.

    Each task of a playbook reads them in a process of its own. With libyaml that is ten times faster.
    """
    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _source() -> Spec:
    return dict(yaml_of(SOURCE))


def variable_of(name: str, role: str) -> str:
    """The variable of an option of the source, which has the role's name as prefix."""
    return name if name.startswith((SITE, f"{role}_")) else f"{role}_{name}"


def specs_of(role: str) -> dict[str, Spec]:
    """The options of a role by variable, in the order of the source."""
    found = {}
    for name, option in _source().items():
        if role in option["roles"]:
            spec = {key: value for key, value in option.items() if key not in _SOURCE_KEYS}
            spec |= option.get("except", {}).get(role, {})
            found[variable_of(name, role)] = {**spec, "description": spec["description"].replace("{role}", role)}
    return found


def evacuation_only(role: str) -> frozenset[str]:
    """The options that a role ignores if it restores."""
    return frozenset(
        variable_of(name, role) for name, option in _source().items() if role in option.get("evacuation_only", ())
    )


@cache
def options_of(role: str) -> tuple[Option, ...]:
    """The options of a role."""
    return tuple(_option(variable, spec) for variable, spec in specs_of(role).items())


@cache
def option_named(variable: str) -> Option:
    """An option by its variable. Raises ValueError if no role has it."""
    found = next((option for role in _roles() for option in options_of(role) if option.variable == variable), None)
    if found is None:
        raise ValueError(f"no role has the option {variable}")
    return found


def has_keys_of(variable: str, keys: str) -> bool:
    """Whether an option takes a dictionary with the keys of another one, such as the modules' option ``experiments``."""
    return any(
        variable == variable_of(name, role) and option.get("keys") == keys
        for name, option in _source().items()
        for role in option["roles"]
    )


def is_option(variable: str) -> bool:
    """Whether a role has an option of this name."""
    return any(variable == option.variable for role in _roles() for option in options_of(role))


@cache
def _roles() -> tuple[str, ...]:
    return tuple(sorted({role for option in _source().values() for role in option["roles"]}))


def _option(variable: str, spec: Spec) -> Option:
    known = {name: spec[name] for name in Option.__dataclass_fields__ if name in spec}
    return Option(variable, **{**known, "choices": tuple(spec.get("choices", ()))})


def is_empty(value: Any) -> bool:
    """Whether nothing was given: null, or a text without a character that shows."""
    return value is None or (isinstance(value, str) and not any(c.isprintable() and not c.isspace() for c in value))


def value_of(option: Option, given: Any, default: Any = None) -> Any:
    """The value in the option's type; the default if none was given.

    Raises ValueError with a sentence that names the variable.
    """
    if is_empty(given):
        if option.required:
            raise ValueError(f"{option.variable} is empty; give it a value.")
        given = option.default if is_empty(default) else default
        if given is None or given == "":
            return given
    return _CONVERTERS[option.type](option, given)


def _wrong(option: Option, given: Any, wanted: str) -> ValueError:
    """What is wrong. Values that may hold secrets are not repeated."""
    hidden = option.no_log or "dict" in (option.type, option.elements)
    text = f"a value of type {type(given).__name__}" if hidden else _quoted(given)
    return ValueError(f"{option.variable} is {text}; it must be {wanted}.")


def _quoted(given: Any) -> str:
    shown = json.dumps(given, default=str, ensure_ascii=True) if isinstance(given, bool | str) else repr(given)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[:MAX_QUOTED]}..."


def _text(option: Option, given: Any) -> str:
    wanted = f"one of {', '.join(option.choices)}" if option.choices else A_TEXT
    if isinstance(given, bool | float | list | tuple | Mapping):
        # YAML made it of something else: 1.10 is 1.1, and no is false. Only the person knows which name was meant.
        raise _wrong(option, given, wanted)
    text = given if isinstance(given, str) else str(given)
    if option.choices and text not in option.choices:
        raise _wrong(option, given, wanted)
    return text


def _number(option: Option, given: Any, wanted: str) -> float:
    try:
        found = float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    low, high = option.min, option.max
    if not math.isfinite(found) or (low is not None and found < low) or (high is not None and found > high):
        raise _wrong(option, given, wanted + _limits(option))
    return found


def _limits(option: Option) -> str:
    if option.max is not None:
        return f" from {option.min or 0:g} to {option.max:g}"
    return "" if option.min is None else f" of at least {option.min:g}"


def _whole(option: Option, given: Any) -> int:
    found = _number(option, given, "a whole number")
    if found != int(found):
        raise _wrong(option, given, "a whole number" + _limits(option))
    return int(found)


def _finite(option: Option, given: Any) -> float:
    return _number(option, given, "a number")


def _truth(option: Option, given: Any) -> bool:
    if isinstance(given, bool):
        return given
    text = str(given).strip().lower() if isinstance(given, int | str) else ""
    if text not in _TRUE | _FALSE:
        raise _wrong(option, given, "yes or no")
    return text in _TRUE


def _mapping(option: Option, given: Any) -> Any:
    found = _json(option, given, "a dictionary, or the JSON text of one") if isinstance(given, str) else given
    if not isinstance(found, Mapping):
        raise _wrong(option, given, "a dictionary, or the JSON text of one")
    return found


def _items(option: Option, given: Any) -> list[Any]:
    if option.elements == "dict":
        return _mappings(option, given)
    found = given
    if isinstance(given, str):
        found = _json(option, given, "a list") if given.lstrip().startswith("[") else given.split(",")
    if isinstance(found, Mapping):
        raise _wrong(option, given, "a list, or items with commas between them")
    texts = [
        _text(option, item) for item in (found if isinstance(found, list | tuple) else [found]) if not is_empty(item)
    ]
    return [text.strip() for text in texts]


def _mappings(option: Option, given: Any) -> list[Any]:
    wanted = "a list of dictionaries, or the JSON text of one"
    found = _json(option, given, wanted) if isinstance(given, str) else given
    found = [found] if isinstance(found, Mapping) else found
    if not isinstance(found, list | tuple) or not all(isinstance(item, Mapping) for item in found):
        raise _wrong(option, given, wanted)
    return list(found)


def _json(option: Option, text: str, wanted: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _wrong(option, text, wanted) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


_CONVERTERS: dict[str, Callable[[Option, Any], Any]] = {
    "str": _text,
    "path": _text,
    "int": _whole,
    "float": _finite,
    "bool": _truth,
    "dict": _mapping,
    "list": _items,
}


def complaints_about(
    values: Mapping[str, Any], role: str, template: Callable[[Any], Any], unknown: type[Exception]
) -> list[str]:
    """One sentence for each variable of the role whose value is wrong.

    A value that ``template`` cannot give yet, as it raises ``unknown``, is judged when it is read.
    """
    found = []
    for option in options_of(role):
        if option.variable in values:
            try:
                value_of(option, template(values[option.variable]))
            except unknown:
                continue
            except ValueError as error:
                found.append(str(error))
    return found
