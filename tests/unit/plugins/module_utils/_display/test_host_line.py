# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line about a host says what was read of it, and that it was not read if so."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display.host_line import host_line

POWERS = {"ML-1": "poweredOn", "ML-2": "poweredOn", "ML-8": "suspended", "ML-9": "poweredOff"}


def seen(maintenance: str, powers: dict[str, str], connection: str = "connected") -> dict[str, Any]:
    vms = [{"name": name, "power": power} for name, power in powers.items()]
    return {"hosts": [{"name": "esx-05", "maintenance": maintenance, "connection": connection, "vms": vms}]}


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (seen("in", {"ML-9": "poweredOff"}), "esx-05 is in maintenance mode. On it: 0 VMs running, 1 powered off (ML-9)."),
        (seen("entering", {}), "esx-05 is fenced: no VM can be placed on it. On it: 0 VMs running, 0 powered off."),
        (
            seen("normal", POWERS),
            "esx-05 is in service: DRS and people may place VMs on it. On it: 2 VMs running, 1 powered off (ML-9), 1 suspended (ML-8).",
        ),
        (
            seen("normal", {"ML-1": "poweredOn"}, "notResponding"),
            "esx-05 is in service (notResponding): DRS and people may place VMs on it. On it: 1 VM running, 0 powered off.",
        ),
        ({"msg": "vCenter refused the login.", "failed": False}, "How esx-05 is now was not seen: vCenter refused the login."),
        ({"skipped": True}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_host_is_described_as_it_was_read(result: dict[str, Any], line: str) -> None:
    assert host_line(result, "esx-05") == line
