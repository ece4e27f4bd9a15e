# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of the evidence and its JSON Schema describe the same document."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.model import Evidence
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult, Purpose

SCHEMA = json.loads((Path(__file__).parents[5] / "docs/schema/evidence-1.0.json").read_text())
SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
JSON_TYPES = {type_: name for name, type_ in (("string", str), ("boolean", bool), ("integer", int), ("number", float))}

Shape = dict[str, set[str]]  # JSON types by path, such as ``/moves[]/host``; a key that may be missing ends with ``?``


def add(shape: Shape, path: str, *names: str) -> None:
    shape.setdefault(path, set()).update(names)


def shape_of_type(kind: Any, path: str = "", shape: Shape | None = None) -> Shape:
    """The shape that a type hint allows."""
    shape = {} if shape is None else shape
    if is_typeddict(kind):
        add(shape, path, "object")
        for key, hint in get_type_hints(kind, include_extras=True).items():
            may_miss = get_origin(hint) is NotRequired
            shape_of_type(get_args(hint)[0] if may_miss else hint, f"{path}/{key}{'?' if may_miss else ''}", shape)
    elif get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            shape_of_type(part, path, shape)
    elif get_origin(kind) is list:
        add(shape, path, "array")
        shape_of_type(get_args(kind)[0], f"{path}[]", shape)
    elif get_origin(kind) is dict:
        add(shape, path, "object")
        shape_of_type(get_args(kind)[1], f"{path}/*", shape)
    else:
        add(shape, path, SCALARS[kind])
    return shape


def shape_of_schema(node: dict[str, Any], path: str = "", shape: Shape | None = None) -> Shape:
    """The shape that a schema allows."""
    shape = {} if shape is None else shape
    if "$ref" in node:
        return shape_of_schema(SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")], path, shape)
    values = [*node.get("enum", []), *([node["const"]] if "const" in node else [])]
    names = node.get("type", [])
    add(shape, path, *([names] if isinstance(names, str) else names), *(JSON_TYPES[type(value)] for value in values))
    for key, inner in node.get("properties", {}).items():
        shape_of_schema(inner, f"{path}/{key}{'' if key in node.get('required', []) else '?'}", shape)
    if isinstance(node.get("additionalProperties"), dict):
        shape_of_schema(node["additionalProperties"], f"{path}/*", shape)
    for inner in (*node.get("prefixItems", []), *([node["items"]] if "items" in node else [])):
        shape_of_schema(inner, f"{path}[]", shape)
    return shape


def test_types_and_schema_have_the_same_keys_nesting_and_types() -> None:
    assert shape_of_type(Evidence) == shape_of_schema(SCHEMA)


def test_every_object_of_the_schema_is_closed() -> None:
    def objects(node: Any) -> Any:
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for inner in node.values():
                yield from objects(inner)

    assert all(node["additionalProperties"] is False for node in objects(SCHEMA))


@pytest.mark.parametrize(
    ("values", "node"),
    [
        (set(Verdict), SCHEMA["$defs"]["verdict"]),
        (set(Purpose), SCHEMA["properties"]["run"]["properties"]["purpose"]),
        ({*MoveResult, "unfinished"}, SCHEMA["properties"]["moves"]["items"]["properties"]["result"]),
    ],
    ids=["verdict", "purpose", "result"],
)
def test_the_schema_allows_exactly_the_values_that_the_code_has(values: set[str], node: dict[str, Any]) -> None:
    assert set(node["enum"]) == {str(value) for value in values}


class Inner(TypedDict):
    text: str | None


class Outer(TypedDict):
    numbers: list[float]
    inner: NotRequired[Inner]


OUTER: dict[str, Any] = {
    "type": "object",
    "required": ["numbers"],
    "properties": {
        "numbers": {"type": "array", "items": {"type": "number"}},
        "inner": {"type": "object", "required": ["text"], "properties": {"text": {"type": ["string", "null"]}}},
    },
}


@pytest.mark.parametrize(
    "change",
    [
        {"required": ["numbers", "inner"]},
        {"properties": {**OUTER["properties"], "more": {"type": "string"}}},
        {"properties": {"numbers": OUTER["properties"]["numbers"]}},
        {"properties": {**OUTER["properties"], "inner": {**OUTER["properties"]["inner"], "required": []}}},
        {"properties": {**OUTER["properties"], "numbers": {"type": "array", "items": {"type": "string"}}}},
    ],
    ids=["required", "more", "fewer", "nested", "type"],
)
def test_each_difference_shows(change: dict[str, Any]) -> None:
    assert shape_of_type(Outer) == shape_of_schema(OUTER)
    assert shape_of_type(Outer) != shape_of_schema({**OUTER, **change})
