# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a host is, in one line of the same form wherever a playbook ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._core.untrusted import printable
from .._core.wording import listed, plural

Row = Mapping[str, Any]
STATES = {"normal": "in service", "entering": "fenced", "in": "in maintenance mode"}
_MEANS = {"normal": ": DRS and people may place VMs on it", "entering": ": no VM can be placed on it"}
_HIDDEN = "the run tried to fence it or to lift its fence, and vCenter now shows neither maintenance mode nor a task that enters it"
_OTHERS = {"poweredOff": "powered off", "suspended": "suspended", "unknown": "whose power is not known"}


def host_line(seen: Row, name: str, fence_unknown: bool = False) -> str:
    """The line from the result of ``host_info`` for the host of this name; "" if the host was not read.

    ``fence_unknown``: a run did not see whether the host is fenced.
    """
    if not seen.get("hosts"):
        why = seen.get("msg")
        return printable(f"How {name} is now was not seen: {str(why).rstrip('.')}.") if why else ""
    host = seen["hosts"][0]
    mode = str(host["maintenance"])
    hidden = seen.get("vms_without_host") or ()
    unseen = f"; the host of {listed(hidden)} is not shown" if hidden else ""
    on_it = f"{_vms(host['vms'])}{unseen}"
    lost = "" if host["connection"] == "connected" else f" ({host['connection']})"
    if mode == "unknown":
        return printable(f"Whether {name} is in maintenance mode{lost} is not known: vCenter does not show it.")
    if fence_unknown and mode == "normal":
        return printable(f"Whether {name} is fenced is unknown{lost}: {_HIDDEN}. On it: {on_it}.")
    state = STATES.get(mode, mode)
    if lost:
        return printable(f"{name} does not answer vCenter{lost}. It was {state} before. On it then: {on_it}.")
    return printable(f"{name} is {state}{_MEANS.get(mode, '')}. On it: {on_it}.")


def _vms(vms: Sequence[Row]) -> str:
    """How many VMs run, and which do not: ``3 VMs running, 1 powered off (ML-9)``."""
    parts = [f"{plural(sum(vm['power'] == 'poweredOn' for vm in vms), 'VM')} running"]
    for power, words in _OTHERS.items():
        names = [vm["name"] for vm in vms if vm["power"] == power]
        if names or power == "poweredOff":
            parts.append(f"{len(names)} {words}{f' ({listed(names)})' if names else ''}")
    return ", ".join(parts)
