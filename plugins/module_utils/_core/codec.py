# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frozen dataclasses as JSON data and back.

``decoded`` checks every value against the type of its field, because files may be damaged or foreign. Fields that the
dataclass does not know are ignored, and fields with a default may be missing: both happen between two versions. A library
would do the same, but modules must run where only pyVmomi is installed.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]


class Malformed(ValueError):
    """Data does not have the promised shape; the message says where and what was expected."""


def encoded(value: Any) -> Any:
    """A dataclass, collection or plain value as JSON data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: encoded(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encoded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(each) for each in value]
    return str(value) if isinstance(value, StrEnum) else value


def decoded(kind: type[T], data: Any, *, null_is_empty: bool = False) -> T:
    """A dataclass of ``kind`` from JSON data; with ``null_is_empty`` a null where a text should be is an empty one. Raises Malformed."""
    read: Decoder = _decoder(kind, null_is_empty)  # type: ignore[arg-type]
    value: T = read(data, kind.__name__)
    return value


@cache
def _decoder(kind: Any, null_is_empty: bool) -> Decoder:
    """How values of a field's type are read."""
    origin = get_origin(kind)
    if kind is Any:
        return lambda data, _where: data
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in get_args(kind) if part is not types.NoneType)
        return _optional(_decoder(inner, null_is_empty))
    if origin is tuple:
        return _many(_decoder(get_args(kind)[0], null_is_empty))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_decoder(get_args(kind)[1], null_is_empty))
    if is_dataclass(kind):
        return _record(kind, null_is_empty)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _choice(kind)
    if kind is str and null_is_empty:
        return _nullable_text(_plain(str))
    return _plain(kind)


def _optional(read: Decoder) -> Decoder:
    return lambda data, where: None if data is None else read(data, where)


def _nullable_text(read: Decoder) -> Decoder:
    return lambda data, where: "" if data is None else read(data, where)


def _many(read: Decoder) -> Decoder:
    def decode(data: Any, where: str) -> Any:
        if not isinstance(data, list | tuple):
            raise Malformed(f"{where} is not a list")
        return tuple(read(each, f"{where}[{place}]") for place, each in enumerate(data))

    return decode


def _mapping(read: Decoder) -> Decoder:
    def decode(data: Any, where: str) -> Any:
        if not isinstance(data, Mapping):
            raise Malformed(f"{where} is not an object")
        return {str(key): read(each, f"{where}.{key}") for key, each in data.items()}

    return decode


def _record(kind: Any, null_is_empty: bool) -> Decoder:
    hints = get_type_hints(kind)
    readers = [(each.name, _decoder(hints[each.name], null_is_empty), _has_default(each)) for each in fields(kind)]

    def decode(data: Any, where: str) -> Any:
        if not isinstance(data, Mapping):
            raise Malformed(f"{where} is not an object")
        values = {}
        for name, read, may_miss in readers:
            if name in data:
                values[name] = read(data[name], f"{where}.{name}")
            elif not may_miss:
                raise Malformed(f"{where}.{name} is missing")
        return kind(**values)

    return decode


def _has_default(each: Any) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _choice(kind: type[StrEnum]) -> Decoder:
    def decode(data: Any, where: str) -> Any:
        try:
            return kind(data)
        except ValueError as error:
            raise Malformed(f"{where} is not one of {', '.join(kind)}") from error

    return decode


def _plain(kind: type) -> Decoder:
    accepted = (int, float) if kind is float else (kind,)

    def decode(data: Any, where: str) -> Any:
        if not isinstance(data, accepted) or (isinstance(data, bool) and kind is not bool):
            raise Malformed(f"{where} is not of type {kind.__name__}")
        if isinstance(data, float) and not math.isfinite(data):
            raise Malformed(f"{where} is not a finite number")
        return data

    return decode
