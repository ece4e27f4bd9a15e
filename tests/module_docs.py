# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules document, read from their files without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.labs import ROOT

FOLDER = ROOT / "plugins" / "modules"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PREFIX = "liveml.vsphere."
DOCUMENTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
BLOCKS = ("block", "rescue", "always")

Task = dict[str, Any]


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
