# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check a topology file's mappings against tables of fields: every error names the place and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.errors import LabError

Check = Callable[[Any], bool]
MISSING: Any = object()


@dataclass(frozen=True)
class Field:
    """One key: what its value must be, in words and as a predicate, and its default. Without a default it is required."""

    words: str
    check: Check
    default: Any = MISSING

    def optional(self, default: Any) -> Field:
        """The same field with a default."""
        return Field(self.words, self.check, default)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def list_of(item: Field) -> Field:
    """A list whose items all satisfy ``item``."""
    return Field(f"a list, each {item.words}", lambda v: isinstance(v, list) and all(map(item.check, v)), [])


def one_of(*choices: str) -> Field:
    """One of the given words."""
    return Field(f"one of {', '.join(choices)}", lambda v: isinstance(v, str) and v in choices)


def nullable(item: Field) -> Field:
    """``item`` or null; null by default."""
    return Field(f"{item.words} or null", lambda v: v is None or item.check(v), None)


TEXT = Field("a non-empty printable text", lambda v: isinstance(v, str) and bool(v) and v.isprintable())
BOOLEAN = Field("true or false", lambda v: isinstance(v, bool))
POSITIVE = Field("a number above 0", lambda v: is_number(v) and v > 0)
NOT_NEGATIVE = Field("a number, min 0", lambda v: is_number(v) and v >= 0)
COUNT = Field("a whole number above 0", lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0)
WHOLE = Field("a whole number, min 0", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0)
MAPPING = Field("a mapping", lambda v: isinstance(v, dict))
TEXTS = Field(
    "a mapping of texts", lambda v: isinstance(v, dict) and all(TEXT.check(k) and TEXT.check(x) for k, x in v.items())
)


def read(
    place: str, value: Any, table: Mapping[str, Field], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return ``value`` with all defaults filled in.

    Raises:
        LabError: it is not a mapping, a key is unknown, a required key is missing, or a value is wrong.
    """
    if not isinstance(value, dict):
        raise LabError(f"topology: {place} must be a mapping")
    check_keys(place, value, table)
    given = {**(defaults or {}), **value}
    result: dict[str, Any] = {}
    for key, field in table.items():
        item = given.get(key, field.default)
        if item is MISSING:
            raise LabError(f"topology: {place} has no {key!r}; set it to {field.words}")
        if item is not field.default and not field.check(item):
            raise LabError(f"topology: {place}.{key} must be {field.words}, not {item!r}")
        result[key] = item
    return result


def check_keys(place: str, value: Mapping[str, Any], table: Mapping[str, Field]) -> None:
    """Fail on unknown keys."""
    unknown = sorted(str(key) for key in value if key not in table)
    if unknown:
        raise LabError(f"topology: unknown key {unknown[0]!r} in {place}; known keys: {', '.join(table)}")


def read_all(
    place: str, values: Any, table: Mapping[str, Field], defaults: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Read a list of mappings with :func:`read`."""
    if not isinstance(values, list):
        raise LabError(f"topology: {place} must be a list")
    return [read(name_place(place, index, value), value, table, defaults) for index, value in enumerate(values)]


def name_place(place: str, index: int, value: Any) -> str:
    """``vms[3] (web-01)``: how messages name an item of a list."""
    name = value.get("name") if isinstance(value, dict) else None
    return f"{place}[{index}]" + (f" ({name})" if isinstance(name, str) else "")
