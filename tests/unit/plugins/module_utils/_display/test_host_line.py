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
            "esx-05 does not answer vCenter (notResponding). It was in service before. On it then: 1 VM running, 0 powered off.",
        ),
        (
            {**seen("in", {}), "vms_without_host": ["ML-3"]},
            "esx-05 is in maintenance mode. On it: 0 VMs running, 0 powered off; the host of ML-3 is not shown.",
        ),
        (seen("unknown", {}), "Whether esx-05 is in maintenance mode is not known: vCenter does not show it."),
        ({"msg": "vCenter refused the login.", "failed": False}, "How esx-05 is now was not seen: vCenter refused the login."),
        ({"skipped": True}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_host_is_described_as_it_was_read(result: dict[str, Any], line: str) -> None:
    assert host_line(result, "esx-05") == line


@pytest.mark.parametrize("maintenance", ["normal", "entering", "in"])
def test_a_host_whose_fence_was_not_seen_is_in_service_only_if_nothing_else_is_possible(maintenance: str) -> None:
    result = seen(maintenance, {"ML-1": "poweredOn"}, "notResponding")
    known = host_line(result, "esx-05")
    assert (host_line(result, "esx-05", True) == known) is (maintenance != "normal")
    assert host_line(seen("normal", {}, "notResponding"), "esx-05", True) == (
        "Whether esx-05 is fenced is unknown (notResponding): the run tried to fence it or to lift its fence, and vCenter now shows "
        "neither maintenance mode nor a task that enters it. On it: 0 VMs running, 0 powered off."
    )


def test_a_vm_that_may_be_on_a_host_whose_fence_was_not_seen_is_named() -> None:
    line = host_line({**seen("normal", {}), "vms_without_host": ["ML-3"]}, "esx-05", True)
    assert line.endswith("On it: 0 VMs running, 0 powered off; the host of ML-3 is not shown.")
