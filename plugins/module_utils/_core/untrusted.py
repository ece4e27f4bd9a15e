# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Safe values from untrusted data: guests, servers and files may contain anything.

Each function returns a value of the promised type, or an empty one. None of them raises.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MAX_TEXT = 200
MAX_NAME = 4096  # of what a server is asked for; a longer name does not fit into a URL
MAX_COUNT = 1e15  # steps or milliseconds; larger than any real one, and small enough that sums and rates stay finite


def printable(value: str) -> str:
    """The text with a space for each character that is not shown, or that changes how others are shown.

    These are control characters (also those of terminals above ASCII), line breaks, other spaces, and marks without width
    that turn the direction of writing or join characters.
    """
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)


def printable_data(value: Any) -> Any:
    """JSON data with ``printable`` texts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(key) if isinstance(key, str) else key: printable_data(each) for key, each in value.items()}
    return [printable_data(each) for each in value] if isinstance(value, list | tuple) else value


def text(value: Any) -> str:
    """The ``printable`` text, cut to 200 characters; anything but a string is an empty text."""
    return printable(value[:MAX_TEXT]) if isinstance(value, str) else ""


def exact(value: Any) -> str:
    """A name as its server knows it, for questions to that server and never for display.

    Empty if it is not a string, longer than ``MAX_NAME`` characters, or not valid Unicode.
    """
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return ""
    return "" if any("\ud800" <= c <= "\udfff" for c in value) else value


def shortened(name: str, characters: int = MAX_TEXT) -> str:
    """A name for display: like ``text``, but two names that differ stay different."""
    shown = printable(name[:characters])
    if shown == name:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{shown[: characters - len(mark) - 1]}~{mark}"


def if_shortened(name: str) -> str:
    """The name if ``shortened`` does not show it as it is; else empty."""
    return "" if shortened(name) == name else name


def number(value: Any) -> float | None:
    """A finite number, also from a string; anything else is ``None``."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> float | None:
    """A number of steps or a time, rounded to six places; ``None`` if it is not a number or above ``MAX_COUNT``."""
    found = number(value)
    return round(found, 6) if found is not None and abs(found) <= MAX_COUNT else None


def quoted(name: str) -> str:
    """A name as part of a URL path. Lone surrogates, which JSON may contain, are replaced."""
    return quote(name, safe="", errors="replace")


def share(value: Any) -> float | None:
    """A number from 0 to 1; anything else is ``None``."""
    found = None if isinstance(value, str) else number(value)
    return found if found is not None and 0 <= found <= 1 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A JSON array; anything else is an empty one."""
    return value if isinstance(value, list) else []


def parsed(data: bytes) -> Any:
    """The value of JSON data; ``None`` if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def values_in(data: bytes) -> int:
    """How many values JSON data may have at most: a value of two bytes takes 100 bytes of memory when it is parsed."""
    return 1 + data.count(b",") + data.count(b"[") + data.count(b"{")
