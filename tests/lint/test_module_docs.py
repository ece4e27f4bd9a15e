# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each module has three examples, and each value that it returns is described, with its type, and a sample or its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.module_docs import NAMES, docs_of, own_tasks

MIN_EXAMPLES = 3
# Dictionaries whose keys are names of VMs, hosts, owners, variables, pools, folders or networks, or verdicts: a sample shows one.
BY_NAME = {
    "excerpts", "folder_map", "network_map", "noticed", "owners", "partly_searched", "placements", "pool_map", "unobserved", "variables", "verdicts",
}  # fmt: skip
ELSEWHERE = ("The same as RV(", "as in RV(")  # described at another place


def gaps(returned: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """What the description of returned values lacks, ``moves[].vm: sample`` for example."""
    for name, value in returned.items():
        where = f"{place}.{name}" if place else name
        keys = "contains" in value
        needed = {"description": True, "type": True, "returned": not place, "elements": value.get("type") == "list"}
        yield from (f"{where}: {key}" for key, needs in needed.items() if needs and not value.get(key))
        if "dict" in (value.get("type"), value.get("elements")) and not keys and not _is_shown_otherwise(name, value):
            yield f"{where}: contains"
        if not keys and value.get("sample") is None and not str(value["description"]).startswith(ELSEWHERE[0]):
            yield f"{where}: sample"
        yield from gaps(value.get("contains", {}), where)


def _is_shown_otherwise(name: str, value: Mapping[str, Any]) -> bool:
    return name in BY_NAME or any(words in str(value["description"]) for words in ELSEWHERE)


@pytest.mark.parametrize("name", NAMES)
def test_each_value_that_a_module_returns_is_described(name: str) -> None:
    assert list(gaps(docs_of(name).returned)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_three_examples(name: str) -> None:
    used = [module for module, _arguments in own_tasks(docs_of(name).examples) if module == name]
    assert len(used) >= MIN_EXAMPLES


@pytest.mark.parametrize("name", NAMES)
def test_each_example_says_in_its_name_what_it_does(name: str) -> None:
    names = [task.get("name") for task in docs_of(name).examples]
    assert all(names), names
    assert len(set(names)) == len(names)


def test_what_is_missing_is_found() -> None:
    text = {"description": "A text.", "type": "str", "sample": "x"}
    assert list(gaps({"a": {**text, "returned": "always"}})) == []
    assert list(gaps({"a": text})) == ["a: returned"]
    assert list(gaps({"a": {"description": "Some.", "returned": "always", "type": "dict", "sample": {"b": 1}}})) == [
        "a: contains"
    ]
    nested = {"description": "Some.", "returned": "always", "type": "list", "contains": {"b": {**text, "sample": None}}}
    assert list(gaps({"a": nested})) == ["a: elements", "a.b: sample"]
