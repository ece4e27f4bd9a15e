# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Safe values of what strangers send: guests, servers and files may hold anything.

Each function returns a value of the promised type, or nothing. None of them raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MAX_TEXT = 200
MAX_COUNT = 1e15  # steps, or milliseconds of any clock; sums and rates of such stay finite


def text(value: Any) -> str:
    """A guest's text without control characters, at most 200 characters."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:MAX_TEXT])


def number(value: Any) -> float | None:
    """A finite number, also of a string; anything else is ``None``."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> float | None:
    """A number of steps or a time as a guest counts them, to six places; ``None`` for what nobody counts to."""
    found = number(value)
    return round(found, 6) if found is not None and abs(found) <= MAX_COUNT else None


def quoted(name: str) -> str:
    """A server's name of something for a path; JSON may hold halves of characters, which have no bytes."""
    return quote(name, safe="", errors="replace")


def share(value: Any) -> float | None:
    """A number within 0..1; anything else is ``None``."""
    found = None if isinstance(value, str) else number(value)
    return found if found is not None and 0 <= found <= 1 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A JSON array; anything else is an empty one."""
    return value if isinstance(value, list) else []


def parsed(data: bytes) -> Any:
    """JSON, or ``None``."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
