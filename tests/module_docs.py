# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules document, read from their files without importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "plugins" / "modules"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PREFIX = "liveml.vsphere."
DOCUMENTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
BLOCKS = ("block", "rescue", "always")

Task = dict[str, Any]

# What any module may return, and what Ansible adds.
_USUAL = {
    "ansible_facts", "changed", "deprecations", "diff", "error", "exception", "failed", "failed_when_result", "invocation", "msg",
    "option", "skipped", "warnings",
}  # fmt: skip
_OF_A_FILE = {"gid", "group", "mode", "owner", "size", "state", "uid"}  # what Ansible adds to the path of a file
_REFERENCE = re.compile(r"as in RV\(liveml\.vsphere\.(\w+)#module:(\w+)\)")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "path": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict, "raw": object,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModuleDocs:
    """The three documents of a module."""

    documentation: dict[str, Any]
    examples: list[Task]
    returned: dict[str, Any]


@cache
def docs_of(name: str) -> ModuleDocs:
    """The documents of a module."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    found = {
        node.targets[0].id: yaml.safe_load(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in DOCUMENTS
        and isinstance(node.value, ast.Constant)
    }
    return ModuleDocs(found["DOCUMENTATION"], found["EXAMPLES"], found["RETURN"] or {})


def tasks_of(tasks: list[Task]) -> Iterator[Task]:
    """The tasks, with those in blocks."""
    for task in tasks:
        yield task
        for block in BLOCKS:
            yield from tasks_of(task.get(block, []))


def own_tasks(tasks: list[Task]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The module without its prefix, and its arguments, for each task of a module of this collection."""
    for task in tasks_of(tasks):
        for key, arguments in task.items():
            if key.startswith(PREFIX):
                yield key.removeprefix(PREFIX), arguments or {}


def undocumented(name: str, result: Mapping[str, Any]) -> list[str]:
    """What a module returned and does not document: keys, and values of another type."""
    usual = _USUAL | (_OF_A_FILE if isinstance(result.get("path"), str) else set())
    shown = {key: value for key, value in result.items() if key not in usual and not key.startswith("_")}
    return list(_undocumented(shown, docs_of(name).returned, ""))


def _undocumented(values: Mapping[str, Any], returned: Mapping[str, Any], place: str) -> Iterator[str]:
    for key, value in values.items():
        where, entry = f"{place}{key}", returned.get(key)
        if entry is None:
            yield where
            continue
        if value is not None and not isinstance(value, _TYPES[entry["type"]]):
            yield f"{where} is {type(value).__name__}, not {entry['type']}"
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and "contains" in entry:
                yield from _undocumented(item, _keys_of(entry), f"{where}.")


def _keys_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The documented keys of a value, with those to which its description refers."""
    reference = _REFERENCE.search(str(entry["description"]))
    referred = docs_of(reference[1]).returned[reference[2]].get("contains", {}) if reference else {}
    return {**referred, **entry["contains"]}
