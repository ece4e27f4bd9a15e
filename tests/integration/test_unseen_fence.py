# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter that was restarted does not show that a host is still entering maintenance mode: unknown is not "not fenced"."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.labs import Lab, RunModule, play, running_lab, started_play
from tests.measuring import PATIENCE, until

HOST = "esx-05"
MIGRATE = {"host": HOST, "purpose": "evacuate", "experiments": {"enabled": False}, "fence": True}


def hide_the_fence(lab: Lab, run_module: RunModule) -> None:
    """The host enters maintenance mode, and vCenter discards the task."""
    fenced = run_module("host_maintenance", lab, host=HOST, state="fenced")
    assert fenced["maintenance"] == "entering", fenced
    lab.post("restart", seconds=0.05)
    until(lambda: not run_module("host_info", lab, host=HOST).get("failed"))
    assert run_module("host_info", lab, host=HOST)["hosts"][0]["maintenance"] == "normal", "vCenter does not show it"
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "entering"


def test_a_fence_that_vcenter_forgot_is_unknown_until_the_host_is_seen_in_maintenance_mode(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    hide_the_fence(fast_lab, run_module)
    late = run_module("host_maintenance", fast_lab, host=HOST, wait_timeout=1)
    assert (late["failed"], late["fence_unknown"]) == (True, True)
    assert "whether esx-05 is fenced is unknown" in late["msg"]
    assert "VMs that are powered on there: ML-" in late["msg"]

    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    assert {move["result"] for move in moved.get("moves", [])} == {"moved"}, moved
    assert (moved["fenced"], moved["fence_unknown"]) == (False, False), (
        "somebody else has fenced it, as was seen at last"
    )
    entered = run_module("host_maintenance", fast_lab, host=HOST)
    assert (entered["maintenance"], entered["changed"]) == ("in", False)

    fast_lab.post("calls/fail", call="ExitMaintenanceMode_Task", how="lost", times=1)
    normal = run_module("host_maintenance", fast_lab, host=HOST, state="normal", wait_timeout=20)
    assert (normal.get("maintenance"), normal.get("changed")) == ("normal", True), normal


def test_a_run_that_failed_does_not_say_in_service_of_a_host_that_may_be_fenced(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    hide_the_fence(fast_lab, run_module)
    fast_lab.post("faults", vm=plan["moves"][0]["vm_name"], fault="NoPermission", times=9)
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    assert (moved["failed"], moved["fence_unknown"]) == (True, True), moved
    evidence = run_module("evidence_report", run_id=moved["run_id"], state_dir=str(tmp_path))
    assert "whether esx-05 is fenced is unknown" in json.loads(Path(evidence["evidence_path"]).read_text())["fence"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("trouble", "fault", "words"),
    [
        ({"how": "fails", "fault": "Timedout"}, "Timedout", "Operation timed out"),
        ({"how": "cancelled"}, "RequestCanceled", "The task was canceled by a user"),
    ],
)
def test_a_fence_that_ends_after_vcenter_accepted_it_is_said_and_can_be_set_again(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path, trouble: dict[str, str], fault: str, words: str
) -> None:
    ends = {"call": "EnterMaintenanceMode_Task", "seconds": 0.3, **trouble}
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    fast_lab.post("tasks", **ends)
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    assert {move["result"] for move in moved.get("moves", [])} == {"moved"}, moved
    assert (moved["fenced"], moved["fence_unknown"]) == (False, False)
    evidence = run_module("evidence_report", run_id=moved["run_id"], state_dir=str(tmp_path))
    told = json.loads(Path(evidence["evidence_path"]).read_text())["fence"]
    assert told == f"{HOST} is in service: the fence of this run ended, and the run did not end it ({fault})"

    fast_lab.post("tasks", **ends)
    failed = run_module("host_maintenance", fast_lab, host=HOST)
    assert (failed["failed"], failed["msg"]) == (True, f"{HOST} did not enter maintenance mode: {words} ({fault}).")
    assert run_module("host_maintenance", fast_lab, host=HOST)["maintenance"] == "in"


def test_a_custom_attribute_that_an_unheard_call_made_is_used(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    fast_lab.post("calls/fail", call="AddCustomFieldDef", how="lost", times=2)
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    assert {move["result"] for move in moved["moves"]} == {"moved"}, moved
    [journal] = tmp_path.glob("runs/*/journal.jsonl")
    homes = [row for row in map(json.loads, journal.read_text().splitlines()) if row["event"] == "home_recorded"]
    assert homes
    assert {home["vm"]["moid"] for home in homes if home["attribute"]} == {home["vm"]["moid"] for home in homes}


@pytest.mark.thorough
def test_the_same_playbook_continues_after_vcenter_died_while_the_host_was_entering(tmp_path: Path) -> None:
    with running_lab("--no-guests", "--time-scale", "0.4") as lab:
        leaving = lab.on(HOST)
        process = started_play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        until(lambda: any(move["started"] for move in lab.get("state")["moves"]))
        lab.post("kill", seconds=3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        until(lambda: "run_interrupted" in "".join(path.read_text() for path in tmp_path.glob("runs/*/journal.jsonl")))
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "entering"

        shown = play("status", lab, tmp_path).stdout
        assert "unknown if fenced" in shown, shown
        out = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert lab.on(HOST) == set()
        assert len(lab.get("state")["moves"]) == len(leaving), "each VM moved once"
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
        assert f"{HOST} is in maintenance mode" in out.stdout
        [evidence] = tmp_path.glob("runs/*/evidence.json")
        # As the run saw it last: the host may enter maintenance mode a moment later.
        assert json.loads(evidence.read_text())["fence"] in (f"{HOST} is fenced", f"{HOST} is in maintenance mode")
