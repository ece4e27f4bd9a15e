# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which controller works for a host, as text in a custom attribute of the host. Pure.

Locks keep the processes of one controller apart. Several controllers see the same vCenter, and the attribute.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from .._core.untrusted import mapping, parsed, printable

LEASE = "liveml_lease"


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when (vCenter's time) a controller works for the host. ``owner`` identifies it, ``name`` is its host name."""

    owner: str
    name: str
    until: datetime


def encode_lease(lease: Lease) -> str:
    """The attribute's value."""
    until = lease.until.astimezone(UTC).isoformat(timespec="seconds")
    return json.dumps({"o": lease.owner, "n": lease.name, "u": until}, separators=(",", ":"))


def decode_lease(text: str) -> Lease | None:
    """The lease in an attribute's value; ``None`` if the text is something else."""
    data = mapping(parsed(text.encode("utf-8", "replace")))
    try:
        owner, name = (printable(str(data[key])) for key in ("o", "n"))
        until = datetime.fromisoformat(str(data["u"]))
        return None if until.tzinfo is None else Lease(owner, name, until.astimezone(UTC))
    except (KeyError, ValueError, OverflowError, RecursionError):
        return None
