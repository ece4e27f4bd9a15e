# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook: true on success and on failure, and few."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import FAILURES, VERDICTS, Failure
from ansible_collections.liveml.vsphere.plugins.module_utils._display.closing import MAX_LINES, closing_lines, failures
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import WORST_FIRST
from hypothesis import given
from hypothesis import strategies as st

SUBJECT = "Evacuation of esx-05"


def move(vm: str, result: str = "moved", back: bool = False) -> dict[str, Any]:
    return {"vm": vm, "result": result, "back": back}


def experiment(vm: str, verdict: str = "uninterrupted", **more: Any) -> dict[str, Any]:
    return {
        "vm": {"moid": "vm-1", "name": vm}, "id": "job", "description": "GBM gbm_1", "verdict": verdict, "detail": "",
        "longest_stall": {"seconds": 0.41, "low": 0.33, "high": 0.45}, "progress_before": 0.08, "progress_after": 0.21, **more,
    }  # fmt: skip


def test_a_run_that_went_well_is_six_lines() -> None:
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
        "GBM gbm_1 in ML-1: uninterrupted. Longest stall about 0.41 s (between 0.33 and 0.45 s), progress 8 % → 21 %.",
        "In the other VM no experiment was found. If one runs there, it was not watched.",
        "Report: /runs/r1/report.html",
        "After the repair: ansible-playbook x",
    ]


def test_what_the_evidence_knows_of_an_experiment_is_shown() -> None:
    moved = {"moves": [move("ML-1")], "experiments": [experiment("ML-1")]}
    known = experiment("ML-1", watched_seconds=10800.0)
    lines = closing_lines({**moved, "experiments": [known]}, subject=SUBJECT, failed=False)
    assert "Longest stall about 0.41 s (between 0.33 and 0.45 s), watched for 3.0 h" in lines[1]


def test_when_it_ended_is_said_in_both_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    (line,) = closing_lines({"moves": []}, subject=SUBJECT, failed=False, ended="2026-01-31T09:00:00Z")
    monkeypatch.undo()
    time.tzset()
    assert line == "Evacuation of esx-05 succeeded at 2026-01-31 10:00:00 CET (09:00:00 UTC). No VM had to move."


def planned(vm: str, target: str, seconds: float, domain: str | None = "a") -> dict[str, Any]:
    return {"vm_name": vm, "target_name": target, "target_fault_domain": domain, "memory_bytes": 8 * 2**30,
            "predicted_seconds": seconds}  # fmt: skip


def test_check_mode_ends_with_what_would_happen() -> None:
    moves = [planned(f"ML-{n}", f"esx-{n % 2}", 20.0) for n in range(9)]
    plan = {"moves": moves, "refusals": [{"vm_name": "ML-9", "blocking": False}, {"vm_name": "ML-8", "blocking": True}]}
    about = {"subject": SUBJECT, "failed": False, "stays": ["ML-9"], "command": "ansible-playbook x", "check": True}
    assert closing_lines({"changed": True}, steps={"plan": plan}, **about) == [
        "Check mode: Evacuation of esx-05 would move 9 VMs with 72 GiB of memory, in 22 s or more. Nothing was moved or fenced.",
        "Targets: 5 to esx-0 (a), 4 to esx-1 (a). Stays, powered off: ML-9.",
        "Cannot move: ML-8.",
        "To do it: ansible-playbook x",
    ]
    longest = {"moves": [planned("ML-1", "esx-1", 50.0, None), planned("ML-2", "esx-1", 1.0, None)]}
    first, second, *_rest = closing_lines({}, steps={"plan": longest}, **about)
    assert "in 50 s or more" in first
    assert second == "Targets: 2 to esx-1. Stays, powered off: ML-9."
    assert closing_lines({}, steps={"plan": {"moves": []}}, **about) == [
        "Check mode: Evacuation of esx-05 would move no VM."
    ]
    failed = closing_lines({}, steps={"plan": {"failed": True, "error": "LoginRefused"}}, **{**about, "failed": True})
    assert failed[0] == "Evacuation of esx-05 failed. This call moved no VM."


def test_what_did_not_move_is_named() -> None:
    moves = [move("ML-1"), move("ML-2", "failed"), move("ML-3", "not_started"), move("ML-4", "gone")]
    lines = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert lines == [
        "Evacuation of esx-05 failed. 1 of 4 VMs moved. Not moved: ML-2, ML-3. No longer existing: ML-4.",
        f"Next: {FAILURES[Failure.NOT_MOVED].text}",
    ]
    line, _next = closing_lines({"moves": [move("ML-1"), move("ML-1", back=True)]}, subject=SUBJECT, failed=True)
    assert line.endswith("1 of 1 VM moved. Moved back: ML-1.")


def test_without_a_run_nothing_was_moved() -> None:
    assert closing_lines({}, subject=SUBJECT, failed=True)[0] == "Evacuation of esx-05 failed. This call moved no VM."
    assert closing_lines({"moves": []}, subject=SUBJECT, failed=False) == [
        "Evacuation of esx-05 succeeded. No VM had to move."
    ]


def test_a_run_that_ended_by_an_error_is_not_said_to_have_moved_nothing() -> None:
    moved = {"failed": True, "msg": "the disk is full", "error": "StateUnwritable", "run_id": "r1"}
    lines = closing_lines(moved, subject=SUBJECT, failed=True)
    assert lines == [
        "Evacuation of esx-05 failed. The report says which VMs moved.",
        "Why: the disk is full",
        f"Next: {FAILURES[Failure.STATE].text}",
    ]


FAILED = {"failed": True, "msg": "x"}
MOVED = {"moves": [move("ML-1")]}


@pytest.mark.parametrize(
    ("moved", "steps", "failure"),
    [
        (
            {},
            {"plan": {"refusals": [{"blocking": False}, {"blocking": True, "text": "ML-9 stays."}]}},
            Failure.CANNOT_LEAVE,
        ),
        ({}, {"plan": {**FAILED, "error": "PlanRefused"}}, Failure.PLAN_REFUSED),
        ({}, {"plan": {**FAILED, "error": "LoginRefused"}}, Failure.LOGIN),
        ({}, {"plan": {**FAILED, "error": "NotFound"}}, Failure.OPTION),
        ({**FAILED, "error": "NotFound", "run_id": "r1"}, {}, Failure.ERROR),
        ({}, {"plan": FAILED}, Failure.ERROR),
        ({}, {}, Failure.ERROR),
        ({**FAILED, "error": "RunBusy"}, {}, Failure.BUSY),
        ({**FAILED, "error": "ConnectError"}, {"evidence": FAILED}, Failure.CONNECTION),
        ({**MOVED, **FAILED, "interrupted": ["GBM gbm_1 in ML-1 was lost"]}, {}, Failure.INTERRUPTED),
        ({"moves": [move("ML-1"), move("ML-1", back=True)], "interrupted": ["x"]}, {}, Failure.ROLLED_BACK),
        ({"moves": [move("ML-1", "gone")]}, {}, Failure.GONE),
        (MOVED, {"maintenance": FAILED}, Failure.MAINTENANCE),
        (MOVED, {"home": {"failed": True}}, Failure.NOT_HOME),
        (MOVED, {"evidence": FAILED, "maintenance": {"changed": True}}, Failure.EVIDENCE),
    ],
)
def test_how_it_failed_is_said_with_what_to_do(moved: dict[str, Any], steps: dict[str, Any], failure: Failure) -> None:
    assert failures(moved, steps)[0] is failure
    lines = closing_lines(moved, subject=SUBJECT, failed=True, steps=steps, command="To continue: ansible-playbook x")
    again = [] if failure is Failure.OPTION else ["To continue: ansible-playbook x"]
    assert lines[len(lines) - 1 - len(again) :] == [f"Next: {FAILURES[failure].text}", *again]
    reasons = {
        Failure.CANNOT_LEAVE: "ML-9 stays.",
        Failure.NOT_HOME: None,
        Failure.INTERRUPTED: None,
        Failure.ROLLED_BACK: None,
    }
    known = failure in (Failure.CANNOT_LEAVE, Failure.MAINTENANCE, Failure.EVIDENCE) or "msg" in {
        **steps.get("plan", {}),
        **moved,
    }
    why = [line for line in lines if line.startswith("Why: ")]
    assert why == ([f"Why: {reasons.get(failure) or 'x'}"] if known and failure is not Failure.INTERRUPTED else [])


def test_many_vms_that_cannot_leave_are_named_and_two_with_their_reasons() -> None:
    refusals = [{"vm_name": f"ML-{n}", "blocking": True, "text": f"ML-{n} stays: {'why ' * 900}"} for n in range(4)]
    lines = closing_lines({}, subject=SUBJECT, failed=True, steps={"plan": {"refusals": refusals}})
    assert [line[:16] for line in lines[1:3]] == ["Why: ML-0 stays:", "Why: ML-1 stays:"]
    assert lines[3] == "Cannot leave either: ML-2, ML-3."
    assert all(len(line) <= 420 for line in lines)


def test_the_worst_experiments_come_first_with_what_to_do() -> None:
    found = [experiment(f"ML-{n}") for n in range(1, 8)]
    lost = {"longest_stall": None, "detail": "its process is gone", "recoverable": "yes", "recovery": "/ckpt"}
    found[3] = experiment("ML-4", "lost", **lost, last_seen={"progress": 0.3, "at": None})
    found[6] = experiment("ML-7", "stalled", vms=["ML-7", "ML-8"], stall_budget=0.2)
    lines = closing_lines({"moves": [], "experiments": found}, subject=SUBJECT, failed=True)
    assert lines[1:5] == [
        "GBM gbm_1 in ML-4: lost. It was last seen at 30 %. "
        "It has checkpoints (/ckpt): the work since the newest one is lost. What was seen: its process is gone.",
        "  What to do: Start it again from its newest checkpoint.",
        "GBM gbm_1 in ML-7, ML-8: stalled. Longest stall about 0.41 s (between 0.33 and 0.45 s); 0.20 s were allowed. Progress 8 % → 21 %.",
        f"  What to do: {VERDICTS['stalled'].do}",
    ]
    assert lines[-2] == "2 more experiments, 2 of them uninterrupted or completed: see the report."


@given(st.lists(st.sampled_from(WORST_FIRST), max_size=14), st.booleans(), st.booleans())
def test_there_are_ten_lines_at_most_and_no_experiment_is_left_out(
    verdicts: list[str], failed: bool, hosted: bool
) -> None:
    found = [experiment(f"ML-{n}", verdict) for n, verdict in enumerate(verdicts)]
    moved = {"moves": [move("ML-0")], "experiments": found, "unobserved": {"ML-99": "no server"}}
    host = "esx-05 is in maintenance mode." if hosted else ""
    lines = closing_lines(moved, subject=SUBJECT, failed=failed, host=host, report="/r", command="To continue: x")
    assert len(lines) <= MAX_LINES
    named = sum(line.startswith("GBM gbm_1 in") for line in lines)
    more = sum(int(line.split()[0]) for line in lines if " more experiment" in line)
    assert named + more == len(verdicts)
    bad = [verdict for verdict in verdicts if verdict not in ("uninterrupted", "completed")]
    assert sum("What to do: " in line for line in lines) >= min(len(bad), 1)


def test_many_names_are_shortened_and_control_characters_removed() -> None:
    moves = [move(f"ML-{n}\x1b[2J", "failed") for n in range(12)]
    line, _next = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert line.endswith(" and 2 more.")
    assert "\x1b" not in line
