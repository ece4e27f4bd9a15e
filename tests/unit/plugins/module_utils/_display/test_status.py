# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status for people: one table, who is away and how to bring them home, and the last runs."""

from __future__ import annotations

from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display.status import status_lines


def host(number: int, vms: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"esx-{number}", "fault_domain": "zone-a", "connection": "connected", "maintenance": "normal",
        "cpu_percent": 12.4, "memory_percent": 57.4, "alarms": [],
        "vms": [{"moid": f"vm-{number}{n}", "name": f"ML-{number}{n}", "power": "poweredOn"} for n in range(vms)], **changes,
    }  # fmt: skip


def home(vm: str, outcome: str, of: str = "esx-5") -> dict[str, str]:
    return {"vm": vm, "home": of, "outcome": outcome, "text": f"{vm} is somewhere else."}


def run(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r1", "text": "Evacuation of esx-5: succeeded.", "report_path": "/runs/r1/report.html", "live": False,
        "host": "esx-5", "status": "finished", "fenced": False, "fence_unknown": False,
        "experiments": [{"name": "GBM delays", "vm": "ML-1", "verdict": "uninterrupted"}], **changes,
    }  # fmt: skip


def test_a_table_has_one_line_for_each_host() -> None:
    hosts = [host(1, vms=2), host(22, fault_domain=None, maintenance="in"), host(3, maintenance="entering")]
    training = {"vm": "vm-10", "provider": "h2o3", "id": "job", "cluster": ""}
    lines = status_lines(hosts, [], [], [training, {**training, "id": "other"}])
    assert lines[:4] == [
        "host    fault domain  state                CPU   memory  VMs  experiments",
        "esx-1   zone-a        in service           12 %  57 %    2    2",
        "esx-22  -             in maintenance mode  12 %  57 %    0    0",
        "esx-3   zone-a        fenced               12 %  57 %    0    0",
    ]


def test_how_much_of_a_host_is_used_may_be_unknown() -> None:
    assert status_lines([host(1, cpu_percent=None, memory_percent=None)], [], [])[:2] == [
        "host   fault domain  state       CPU      memory   VMs",
        "esx-1  zone-a        in service  unknown  unknown  0",
    ]


def test_a_host_that_shows_nothing_of_the_fence_of_its_last_run_is_not_in_service() -> None:
    def state(*runs: dict[str, Any], maintenance: str = "normal") -> str:
        return status_lines([host(5, maintenance=maintenance)], [], runs)[1]

    assert "unknown if fenced" in state(run(fence_unknown=True))
    for status in ("running", "interrupted"):
        assert "unknown if fenced" in state(run(fenced=True, status=status), run())
    for shown in (run(fenced=True), run(fenced=True, status="superseded"), run(host="esx-6", fence_unknown=True)):
        assert "in service" in state(shown)
    assert "in service" in state(run(), run(fence_unknown=True)), "another run came after it"
    assert "fenced" in state(run(fence_unknown=True), maintenance="entering")


def test_what_nobody_looked_for_is_not_counted() -> None:
    assert "experiments" not in status_lines([host(1)], [], [])[0]


def test_a_host_with_a_problem_says_so() -> None:
    alarms = [{"status": "red"}, {"status": "yellow"}]
    off = [{"moid": "vm-1", "name": "ML-1", "power": "poweredOff"}]
    _head, row, *_rest = status_lines([host(1, connection="notResponding", alarms=alarms) | {"vms": off}], [], [])
    assert "notResponding, in service, 1 red alarm" in row
    assert row.endswith("0 (+1 off)")


def test_a_vm_that_cannot_be_counted_is_named() -> None:
    """A table that shows no VM on a host is a reason to switch the host off."""
    unknown = [
        {"moid": "vm-1", "name": "ML-1", "power": "unknown"},
        {"moid": "vm-2", "name": "ML-2", "power": "suspended"},
    ]
    _head, row, hidden, *_rest = status_lines(
        [host(1, maintenance="in") | {"vms": unknown}], [], [], None, ["ML-3", "ML-4"]
    )
    assert row.endswith("0 (+1 off, +1 unknown)")
    assert hidden == "Not counted, because vCenter does not show on which host they are: ML-3, ML-4."


def test_vms_away_come_with_the_command_that_brings_them_home() -> None:
    homes = [home("ML-1", "away"), home("ML-2", "away"), home("ML-3", "home"), home("ML-4", "moved_by_person")]
    lines = status_lines([], [*homes, home("ML-9", "away", of="esx-7")], [])
    assert "Away from esx-5: ML-1, ML-2." in lines
    assert "  Bring them home: ansible-playbook liveml.vsphere.restore_host -e restore_host_name=esx-5" in lines
    assert "ML-4 is somewhere else." in lines
    assert "Away from esx-7: ML-9." in lines
    assert not any("ML-3" in line for line in lines)
    assert "No VM is away from a recorded home." in status_lines([], homes[2:3], [])


def test_a_host_in_maintenance_mode_gets_its_vms_back_by_the_same_command() -> None:
    homes = [home("ML-1", "home_unhealthy"), home("ML-2", "away")]
    assert "Away from esx-5: ML-1, ML-2." in status_lines([host(5, maintenance="in")], homes, [])
    lines = status_lines([host(5, connection="disconnected")], homes, [])
    assert "Away from esx-5: ML-2." in lines
    assert "ML-1 is somewhere else." in lines


def test_runs_come_with_their_experiments_and_report() -> None:
    unjudged = {"name": "GLM", "vm": "ML-2", "verdict": None}
    lines = status_lines([], [], [run(), run(run_id="r0", report_path="", experiments=[unjudged])])
    assert lines[-7:] == [
        "r1", "  Evacuation of esx-5: succeeded.", "  GBM delays in ML-1: uninterrupted", "  Report: /runs/r1/report.html",
        "r0", "  Evacuation of esx-5: succeeded.", "  GLM in ML-2: no verdict yet",
    ]  # fmt: skip
    assert status_lines([], [], [])[-1] == "No run has a journal in this state directory."


def test_what_was_read_of_one_host_alone_is_not_said_of_all() -> None:
    assert status_lines([host(5)], [], [], of_host="esx-5")[-3:] == [
        "No VM is away from a recorded home on esx-5.",
        "",
        "No run for esx-5 has a journal in this state directory.",
    ]


def test_names_from_guests_cannot_write_to_the_terminal() -> None:
    hostile = {"name": "\x1b[2J GBM", "vm": "ML-1", "verdict": None}
    assert not any("\x1b" in line for line in status_lines([], [], [run(experiments=[hostile])]))
