# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of ``module_utils`` import only what lies below them, and only ``_vsphere`` knows pyVmomi."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
UTILS = TESTS.parent / "plugins" / "module_utils"

# What a package may import besides itself: a whole package, or single files of it.
MAY_IMPORT = {
    "_core": (),
    "_vsphere": ("_core",),
    "_plan": ("_core", "_vsphere.estate", "_vsphere.home_attribute", "_vsphere.qualified"),
    "_experiments": ("_core", "_vsphere.estate"),
    "_run": (
        "_core",
        "_plan",
        "_experiments",
        "_vsphere.estate",
        "_vsphere.qualified",
        "_vsphere.news",
        "_vsphere.faults",
        "_vsphere.home_attribute",
        "_vsphere.lease_attribute",
        "_vsphere.guest",
    ),
    "_evidence": (
        "_core",
        "_run.events",
        "_run.journal",
        "_run.ports",
        "_run.overview",
        "_run.state",
        "_run.store",
        "_experiments",
        "_vsphere.estate",
        "_vsphere.guest",
    ),
    "_display": ("_core", "_experiments.model", "_run.events", "_run.model", "_run.overview"),
    "_module": ("_core", "_vsphere"),
    "_maintenance_request": ("_core",),
}


def name_of(path: Path) -> str:
    """``_plan.slots`` for a file."""
    return ".".join(path.relative_to(UTILS).with_suffix("").parts)


FILES = {name_of(path): path for path in sorted(UTILS.rglob("*.py"))}


def imports_of(name: str) -> Iterator[tuple[str, str]]:
    """(ours, other): a file of ``module_utils``, or another module, that a file imports."""
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (("", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield "", node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = [*name.split(".")[: -node.level], *filter(None, (node.module or "").split("."))]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                yield (whole if whole in FILES else ".".join(base)), ""


def permitted(name: str, imported: str) -> bool:
    package = name.split(".", maxsplit=1)[0]
    allowed = (package, *MAY_IMPORT[package])
    return any(imported == entry or imported.startswith(f"{entry}.") for entry in allowed)


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_what_lies_below_it(name: str) -> None:
    wrong = [ours for ours, _other in imports_of(name) if ours and not permitted(name, ours)]
    assert not wrong, f"{name} may not import {', '.join(wrong)}; the rules are in MAY_IMPORT"
    absolute = [other for _ours, other in imports_of(name) if other.startswith("ansible_collections.liveml")]
    assert not absolute, f"{name} imports {', '.join(absolute)}; inside module_utils imports are relative"


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("_vsphere.")])
def test_only_the_package_of_vsphere_imports_pyvmomi(name: str) -> None:
    assert not [other for _ours, other in imports_of(name) if other.split(".")[0] in ("pyVmomi", "pyVim")]


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("_module.")])
def test_only_the_glue_imports_ansible(name: str) -> None:
    assert not [other for _ours, other in imports_of(name) if other.split(".")[0] == "ansible"]


def test_imports_make_no_circle() -> None:
    TopologicalSorter({name: {ours for ours, _other in imports_of(name) if ours} for name in FILES}).prepare()


def test_one_file_at_most_stands_outside_the_packages() -> None:
    assert len(list(UTILS.glob("*.py"))) <= 1


def test_no_test_module_imports_another_one() -> None:
    """What two tests need is in ``tests/builders``, ``tests/doubles`` or a file of their folder."""
    imported = [
        f"{path.relative_to(TESTS)}: {node.module}"
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
    ]
    assert imported == []
