# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AWX's rules for surveys: what may be stored, and which answers a launch accepts.

The rules are those of AWX 24.6.1 (`JobTemplateSurveySpec`, `SurveyJobTemplateMixin`). The code is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Survey = dict[str, Any]
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "textarea": (str,),
    "password": (str,),
    "multiplechoice": (str,),
    "multiselect": (str,),
    "integer": (int,),
    "float": (float, int),
}


def why_not_stored(survey: Any) -> str | None:
    """The error with which AWX refuses to store a survey, or ``None``."""
    for key, kind in (("name", str), ("description", str), ("spec", list)):
        if key not in survey:
            return f"Field '{key}' is missing from survey spec."
        if not isinstance(survey[key], kind):
            return f"Expected {kind.__name__} for field '{key}'."
    if not survey["spec"]:
        return "'spec' doesn't contain any items."
    seen: set[str] = set()
    for index, item in enumerate(survey["spec"]):
        for rule in (_fields, _kind, _limits, _choices, _secret):
            error = rule(item, index)
            if error:
                return error
        if item["variable"] in seen:
            return f"'variable' '{item['variable']}' duplicated in survey question {index}."
        seen.add(item["variable"])
    return None


def _fields(item: Any, index: int) -> str | None:
    if not isinstance(item, dict):
        return f"Survey question {index} is not a json object."
    for name, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
        if name not in item:
            return f"'{name}' missing from survey question {index}"
        if not isinstance(item[name], kind):
            return f"'{name}' in survey question {index} expected to be {kind.__name__}."
    return None


def _kind(item: Survey, index: int) -> str | None:
    if item["type"] not in TYPES:
        return f"'{item['type']}' in survey question {index} is not one of the allowed question types."
    default = item.get("default", "")
    kinds = (*TYPES[item["type"]], *([list] if item["type"] == "multiselect" else []))
    if default != "" and not isinstance(default, kinds):
        return f"Default value {default} in survey question {index} expected to be {item['type']}."
    return None


def _limits(item: Survey, index: int) -> str | None:
    for name in ("min", "max"):
        if item.get(name) is not None and not isinstance(item[name], int):
            return f"The {name} limit in survey question {index} expected to be integer."
    return None


def _choices(item: Survey, index: int) -> str | None:
    if item["type"] not in ("multiplechoice", "multiselect"):
        return None
    if "choices" not in item:
        return f"Survey question {index} of type {item['type']} must specify choices."
    default = item.get("default", "")
    defaults = default.splitlines() if isinstance(default, str) else default
    if item["type"] == "multiplechoice" and len(defaults) > 1:
        return "Multiple Choice (Single Select) can only have one default value."
    if any(one not in choices_of(item) for one in defaults):
        return "Default choice must be answered from the choices listed."
    return None


def _secret(item: Survey, index: int) -> str | None:
    if str(item.get("default", "")).startswith("$encrypted$"):
        return f"$encrypted$ is a reserved keyword, may not be used for new default in position {index}."
    return None


def choices_of(item: Survey) -> list[str]:
    """The choices, which AWX takes as a list or as lines."""
    choices = item["choices"]
    return [line for line in choices.splitlines() if line.strip()] if isinstance(choices, str) else list(choices)


def answer_errors(survey: Survey, answers: dict[str, Any]) -> list[str]:
    """What AWX reports as ``variables_needed_to_start`` at a launch with these answers."""
    return [error for item in survey.get("spec", []) for error in _answer(item, answers)]


def _answer(item: Survey, answers: dict[str, Any]) -> Iterator[str]:
    name = item["variable"]
    if name not in answers:
        if item["required"]:
            yield f"'{name}' value missing"
        return
    yield from _JUDGES[item["type"]](item, name, answers[name])


def _text(item: Survey, name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"Value {value} for '{name}' expected to be a string."
    else:
        yield from _in_limits(item, name, len(value), f"length is {len(value)} ")


def _number(kinds: tuple[type, ...], expected: str) -> Callable[[Survey, str, Any], Iterator[str]]:
    def judge(item: Survey, name: str, value: Any) -> Iterator[str]:
        if type(value) not in kinds:
            yield f"Value {value} for '{name}' expected to be {expected}."
        else:
            yield from _in_limits(item, name, value)

    return judge


def _in_limits(item: Survey, name: str, value: float, counted: str = "") -> Iterator[str]:
    if item.get("min") is not None and value < item["min"]:
        yield f"'{name}' value {value} is too small ({counted}must be at least {item['min']})."
    if item.get("max") is not None and value > item["max"]:
        yield f"'{name}' value {value} is too large (must be no more than {item['max']})."


def _one_of(item: Survey, name: str, value: Any) -> Iterator[str]:
    if value not in choices_of(item):
        yield f"Value {value} for '{name}' expected to be one of {choices_of(item)}."


def _some_of(item: Survey, name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"'{name}' value is expected to be a list."
    else:
        for one in value:
            yield from _one_of(item, name, one)


_JUDGES: dict[str, Callable[[Survey, str, Any], Iterator[str]]] = {
    "text": _text,
    "textarea": _text,
    "password": _text,
    "integer": _number((int,), "an integer"),
    "float": _number((float, int), "a numeric type"),
    "multiplechoice": _one_of,
    "multiselect": _some_of,
}


def defaults_of(survey: Survey) -> dict[str, Any]:
    """Defaults that a job gets for questions nobody answered: those that would be accepted as answers."""
    return {
        item["variable"]: item["default"]
        for item in survey.get("spec", [])
        if item.get("default") is not None and not list(_answer(item, {item["variable"]: item["default"]}))
    }
