# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM's home as it is kept in a custom attribute of the VM. Pure.

A restore finds it there from any controller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

ATTRIBUTE = "liveml_home"


def encode_home(home: Home) -> str:
    """The attribute's value: short keys, because custom attributes are short."""
    fields = {"h": home.host, "n": home.host_name, "s": home.start, "t": home.target, "tn": home.target_name}
    return json.dumps({**fields, "r": home.run_id, "at": home.recorded_at}, separators=(",", ":"))


def decode_home(vm: str, text: str) -> Home | None:
    """The home in an attribute's value; ``None`` when a person wrote something else into it."""
    try:
        data = {"s": "", **json.loads(text)}
        return Home(vm, *(str(data[key]) for key in ("h", "n", "t", "tn", "r", "at", "s")))
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Home:
    """Where a VM lived before evacuation, and where the evacuation puts it.

    ``start`` is the MoID of the host where the move to ``target`` starts, "" in homes that do not tell. It differs from
    ``host`` when the VM had been put there by an earlier evacuation.
    """

    vm: str
    host: str
    host_name: str
    target: str
    target_name: str
    run_id: str
    recorded_at: str  # UTC, ISO 8601
    start: str = ""
    vm_name: str = field(default="", compare=False)  # as a journal knows it, for a VM that is gone

    @property
    def places(self) -> tuple[str, ...]:
        """MoIDs of the hosts where the VM is when nobody but an evacuation moved it away from home."""
        return (self.target, self.start) if self.start else (self.target,)
