# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook: true on success and on failure, and few."""

from __future__ import annotations

from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display.closing import closing_lines

SUBJECT = "Evacuation of esx-05"


def move(vm: str, result: str = "moved", back: bool = False) -> dict[str, Any]:
    return {"vm": vm, "result": result, "back": back}


def experiment(vm: str, verdict: str = "uninterrupted", **more: Any) -> dict[str, Any]:
    stall = {"seconds": 0.41, "low": 0.33, "high": 0.45}
    return {"vm": {"moid": "vm-1", "name": vm}, "verdict": verdict, "longest_stall": stall, "detail": "", **more}


def test_a_run_that_went_well_is_seven_lines() -> None:
    moved = {
        "moves": [move("ML-1"), move("ML-2")], "experiments": [experiment("ML-1")], "unobserved": {"vm-2": "no server"},
    }  # fmt: skip
    lines = closing_lines(
        moved, subject=SUBJECT, failed=False, host="esx-05 is in maintenance mode.", stays=["ML-9"],
        report="/runs/r1/report.html", command="After the repair: ansible-playbook x",
    )  # fmt: skip
    assert lines == [
        "Evacuation of esx-05 succeeded. 2 of 2 VMs moved.",
        "esx-05 is in maintenance mode. Still on it, powered off: ML-9.",
        "Experiment in ML-1: uninterrupted, longest stall 0.41 s (0.33 to 0.45 s)",
        "No experiment was observed in 1 VM, so nothing is proven about these.",
        "Report: /runs/r1/report.html",
        "After the repair: ansible-playbook x",
    ]


def test_what_did_not_move_is_named() -> None:
    moves = [move("ML-1"), move("ML-2", "failed"), move("ML-3", "not_started"), move("ML-4", "gone")]
    (line,) = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert line == ("Evacuation of esx-05 failed. 1 of 4 VMs moved. Not moved: ML-2, ML-3. No longer existing: ML-4.")
    (line,) = closing_lines({"moves": [move("ML-1"), move("ML-1", back=True)]}, subject=SUBJECT, failed=True)
    assert line.endswith("1 of 1 VM moved. Moved back: ML-1.")


def test_without_a_run_nothing_was_moved() -> None:
    assert closing_lines({}, subject=SUBJECT, failed=True) == ["Evacuation of esx-05 failed. This call moved no VM."]
    assert closing_lines({"moves": []}, subject=SUBJECT, failed=False) == [
        "Evacuation of esx-05 succeeded. No VM had to move."
    ]


def test_a_run_that_ended_by_an_error_is_not_said_to_have_moved_nothing() -> None:
    (line,) = closing_lines({"failed": True, "msg": "the disk is full", "run_id": "r1"}, subject=SUBJECT, failed=True)
    assert line == "Evacuation of esx-05 failed. The report says which VMs moved."


def test_the_worst_experiments_come_first_and_are_few() -> None:
    found = [experiment(f"ML-{n}") for n in range(1, 8)]
    found[3] = experiment("ML-4", "lost", longest_stall=None, detail="its process is gone")
    found[6] = experiment("ML-7", "stalled", vms=["ML-7", "ML-8"])
    lines = closing_lines({"moves": [], "experiments": found}, subject=SUBJECT, failed=True)
    assert lines[1] == "Experiment in ML-4: lost, longest stall not measured (its process is gone)"
    assert lines[2].startswith("Experiment in ML-7, ML-8: stalled, ")
    assert lines[-1] == "2 more experiments, 2 of them uninterrupted or completed: see the report."
    assert len(lines) == 7


def test_many_names_are_shortened_and_control_characters_removed() -> None:
    moves = [move(f"ML-{n}\x1b[2J", "failed") for n in range(12)]
    (line,) = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert line.endswith(" and 2 more.")
    assert "\x1b" not in line
