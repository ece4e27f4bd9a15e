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
HOST = "esx-05 is in maintenance mode. On it: 0 VMs running, 1 powered off (ML-9)."
AGAIN = "ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-50"


def move(vm: str, result: str = "moved", back: bool = False, target: str = "esx-06", moid: str = "") -> dict[str, Any]:
    return {"vm": vm, "moid": moid or vm.lower(), "result": result, "back": back, "source": "esx-05", "target": target}


def experiment(vm: str, verdict: str = "uninterrupted", moid: str = "", **more: Any) -> dict[str, Any]:
    return {
        "vm": {"moid": moid or vm.lower(), "name": vm}, "id": "job", "description": "GBM gbm_1", "verdict": verdict, "detail": "",
        "longest_stall": {"seconds": 0.41, "low": 0.33, "high": 0.45}, "progress_before": 0.08, "progress_after": 0.21, **more,
    }  # fmt: skip


def test_a_run_that_went_well_is_six_lines() -> None:
    moved = {
        "moves": [move("ML-1"), move("ML-2")], "experiments": [experiment("ML-1")], "unobserved": {"vm-2": "no server"},
    }  # fmt: skip
    lines = closing_lines(
        moved, subject=SUBJECT, failed=False, host=HOST, stays=["ML-9"],
        report="/runs/r1/report.html", command="After the repair: ansible-playbook x", again="ansible-playbook y",
    )  # fmt: skip
    assert lines == [
        "Evacuation of esx-05 succeeded. 2 of 2 VMs moved to esx-06.",
        HOST,
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
    about = {"subject": SUBJECT, "failed": False, "stays": ["ML-9"], "again": "ansible-playbook x", "check": True}
    found = [{"vm_name": "ML-1", "description": f"GBM {n}", "id": str(n), "progress": 0.1} for n in (1, 2)]
    assert closing_lines({"found": found}, steps={"plan": plan}, **about) == [
        "Check mode: Evacuation of esx-05 would move 9 VMs with 72 GiB of memory. This call moved and fenced nothing.",
        "Targets: 5 to esx-0 (a), 4 to esx-1 (a). At the full speed of the links this takes at least 22 s. "
        "Not moved, because they do not prevent maintenance mode: ML-9.",
        "Cannot move: ML-8.",
        "2 experiments in 1 of 9 VMs: GBM 1 in ML-1 at 10 %, GBM 2 in ML-1 at 10 %. In the others none was found.",
        "To do it: ansible-playbook x",
    ]
    longest = {"moves": [planned("ML-1", "esx-1", 50.0, None), planned("ML-2", "esx-1", 1.0, None)]}
    first, second, *_rest = closing_lines({}, steps={"plan": longest}, goal="the maintenance mode of esx-05", **about)
    assert "with 16 GiB of memory, and end with the maintenance mode of esx-05. This" in first
    assert second.startswith(
        "Targets: 2 to esx-1. At the full speed of the links this takes at least 50 s. Not moved, "
    )
    assert closing_lines({}, steps={"plan": {"moves": []}}, **about) == [
        "Check mode: Evacuation of esx-05 would move no VM. Nothing was changed."
    ]
    goal = "the maintenance mode of esx-05"
    assert closing_lines({}, steps={"plan": {"moves": []}}, goal=goal, **about) == [
        "Check mode: Evacuation of esx-05 would move no VM, and end with the maintenance mode of esx-05. Nothing was changed.",
        "To do it: ansible-playbook x",
    ]
    failed = closing_lines({}, steps={"plan": {"failed": True, "error": "LoginRefused"}}, **{**about, "failed": True})
    assert failed[0] == "Evacuation of esx-05 was not started. This call moved no VM."


def test_a_vm_that_cannot_leave_is_no_vm_that_did_not_have_to() -> None:
    """With ``on_refusal=move_others`` and without maintenance mode such an evacuation succeeds."""
    plan = {
        "moves": [],
        "refusals": [{"vm_name": "ML-8", "blocking": True, "text": "x"}, {"vm_name": "ML-9", "blocking": False}],
    }
    about = {"subject": SUBJECT, "failed": False, "steps": {"plan": plan}}
    assert closing_lines({"moves": []}, **about) == [
        "Evacuation of esx-05 succeeded. No VM was moved. Could not move: ML-8."
    ]
    moved = {"moves": [{"vm": "ML-1", "moid": "vm-1", "result": "moved", "back": False, "target": "esx-06"}]}
    assert closing_lines(moved, **about)[0].endswith("1 of 1 VM moved to esx-06. Could not move: ML-8.")
    assert closing_lines({}, check=True, **about) == [
        "Check mode: Evacuation of esx-05 would move no VM. Nothing was changed.",
        "Cannot move: ML-8.",
    ]


@pytest.mark.parametrize(
    ("checked", "said"),
    [
        ({}, "Whether experiments train in these VMs was not looked at."),
        ({"found": [], "unobserved": {"ML-1": "no server"}}, "No experiment was found in 1 VM. If one trains there, a run would not watch it."),
        (
            {"found": [], "unobserved": {"ML-1": "experiments.enabled is false"}},
            "Whether experiments train in these VMs was not looked at: experiments.enabled is false.",
        ),
    ],
)  # fmt: skip
def test_check_mode_says_whether_it_looked_for_experiments(checked: dict[str, Any], said: str) -> None:
    plan = {"moves": [planned("ML-1", "esx-1", 5.0)]}
    assert said in closing_lines(checked, subject=SUBJECT, failed=False, check=True, steps={"plan": plan})


def test_warnings_of_vcenter_are_in_the_last_lines_of_check_mode() -> None:
    checks = {
        "checked": 9,
        "unchecked": 1,
        "warnings": ["ML-1 (vm-4) → esx-1: CannotAccessVmDevice (CD/DVD drive 1 uses x)."],
    }
    plan = {"moves": [planned("ML-1", "esx-1", 5.0)], "plan": {"checks": checks}}
    lines = closing_lines({}, subject=SUBJECT, failed=False, check=True, steps={"plan": plan})
    assert lines[-2:] == [
        "vCenter permits 9 moves. A warning does not prevent a move: ML-1 (vm-4) → esx-1: CannotAccessVmDevice (CD/DVD drive 1 uses x).",
        "vCenter did not check 1 move, so it may still prevent them.",
    ]


def test_what_did_not_move_is_named() -> None:
    moves = [move("ML-1"), move("ML-2", "failed"), move("ML-3", "not_started"), move("ML-4", "gone")]
    lines = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert lines == [
        "Evacuation of esx-05 failed. 1 of 4 VMs moved to esx-06. Not moved: ML-2, ML-3. No longer in vCenter: ML-4.",
        f"Next: {FAILURES[Failure.NOT_MOVED].do}",
    ]
    line, *_next = closing_lines({"moves": [move("ML-1"), move("ML-1", back=True)]}, subject=SUBJECT, failed=True)
    assert line.endswith("1 of 1 VM moved. Moved back: ML-1.")


def test_what_ha_restarted_did_not_move() -> None:
    moves = [move("ML-1"), {**move("ML-2"), "by": "vSphere HA"}]
    said = "vSphere HA restarted ML-2 on esx-06, because its host, network or storage had failed."
    lines = closing_lines({"moves": moves, "failed": True, "msg": said}, subject=SUBJECT, failed=True)
    assert lines == [
        "Evacuation of esx-05 failed. 1 of 2 VMs moved to esx-06. Restarted by vSphere HA: ML-2.",
        f"Why: {FAILURES[Failure.RESTARTED].means}",
        f"Next: {FAILURES[Failure.RESTARTED].do}",
    ]


def test_a_vm_that_was_moved_back_is_left_behind() -> None:
    why = "ML-1 is on esx-05 again: DRS moved it back."
    moved = {"run_id": "r", "moves": [move("ML-1")], "left_behind": ["ML-1"], "failed": True, "msg": why}
    told = closing_lines(moved, subject="Evacuation of esx-05", failed=True)
    assert failures(moved, {}) == [Failure.NOT_MOVED]
    assert f"Why: {why}" in told


def test_a_vm_that_was_restarted_and_then_moved_is_named() -> None:
    moves = [move("ML-1"), move("ML-2")]
    said = "ML-2 was powered on again during the run, so that what ran in it has ended."
    result = {"moves": moves, "restarted": ["ML-2"], "failed": True, "msg": said}
    assert closing_lines(result, subject=SUBJECT, failed=True) == [
        "Evacuation of esx-05 failed. 2 of 2 VMs moved to esx-06. Restarted during the run: ML-2.",
        f"Why: {FAILURES[Failure.RESTARTED].means}",
        f"Next: {FAILURES[Failure.RESTARTED].do}",
    ]


def test_why_vms_did_not_move_is_said() -> None:
    moved = {
        "moves": [move("ML-1", "failed")],
        "failed": True,
        "msg": "ML-1 was left on esx-05 (failed: NoPermission).",
    }
    assert closing_lines(moved, subject=SUBJECT, failed=True)[1] == f"Why: {moved['msg']}"


def test_where_nobody_looked_it_is_not_said_that_nothing_was_found() -> None:
    moved = {"moves": [move("ML-1")], "unobserved": {"ML-1": "experiments.enabled is false"}}
    assert closing_lines(moved, subject=SUBJECT, failed=False)[1] == (
        "Experiments were not looked for, because experiments.enabled is false. So none was watched."
    )


def test_what_not_every_source_could_look_into_is_said() -> None:
    why = "https://mlflow.example.com: authentication failed (HTTP 401)"
    moved = {
        "moves": [move("ML-1")],
        "experiments": [experiment("ML-1")],
        "partly_searched": {"ML-1": why, "ML-3": "x"},
    }
    said = f"Not every source of experiments could look into ML-1 ({why}) and 1 other VM. If another experiment runs there, "
    assert f"{said}it was not watched." in closing_lines(moved, subject=SUBJECT, failed=False)
    checked = {"found": [{**experiment("ML-1"), "vm_name": "ML-1"}], "partly_searched": {"ML-1": why}}
    plan = {"moves": [planned("ML-1", "esx-1", 5.0)]}
    lines = closing_lines(checked, subject=SUBJECT, failed=False, check=True, steps={"plan": plan})
    assert f"{said}a run would not watch it.".replace(" and 1 other VM", "") in lines


def test_without_a_run_nothing_was_moved() -> None:
    first = closing_lines({}, subject=SUBJECT, failed=True)[0]
    assert first == "Evacuation of esx-05 was not started. This call moved no VM."
    assert closing_lines({"moves": []}, subject=SUBJECT, failed=False) == [
        "Evacuation of esx-05 succeeded. No VM had to move."
    ]


@pytest.mark.parametrize("died", [{"module_stdout": "", "rc": 137}, {"unreachable": True}])
def test_a_process_that_died_without_an_answer_may_have_moved_vms(died: dict[str, Any]) -> None:
    first = closing_lines({"failed": True, "msg": "MODULE FAILURE", **died}, subject=SUBJECT, failed=True)[0]
    assert "It is not known whether this call moved a VM: its process ended without an answer." in first


def test_a_run_that_ended_by_an_error_is_not_said_to_have_moved_nothing() -> None:
    moved = {"failed": True, "msg": "the disk is full", "error": "StateUnwritable", "run_id": "r1"}
    lines = closing_lines(moved, subject=SUBJECT, failed=True)
    assert lines == [
        "Evacuation of esx-05 failed. The report says which VMs moved.",
        f"Why: the disk is full {FAILURES[Failure.STATE].means}",
        f"Next: {FAILURES[Failure.STATE].do}",
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
        ({}, {"maintenance": {**FAILED, "error": "LoginRefused"}}, Failure.LOGIN),
        ({}, {"maintenance": {**FAILED, "error": "TaskTimeout"}}, Failure.ERROR),
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
    lines = closing_lines(moved, subject=SUBJECT, failed=True, steps=steps, again="ansible-playbook x")
    again = [] if failure is Failure.OPTION else ["Run again: ansible-playbook x"]
    left = " No VM is left to move." if failure is Failure.INTERRUPTED else ""
    assert lines[len(lines) - 1 - len(again) :] == [f"Next: {FAILURES[failure].do}{left}", *again]
    (why,) = [line for line in lines if line.startswith("Why: ")] or [""]
    said = "ML-9 stays." if failure is Failure.CANNOT_LEAVE else "x"
    assert why.startswith((f"Why: {said}", f"Why: {FAILURES[failure].means}")) or failure in (
        Failure.INTERRUPTED, Failure.NOT_HOME,
    )  # fmt: skip


def test_what_cannot_leave_and_what_can_are_told_apart() -> None:
    refusal = {
        "vm_name": "ML-9",
        "blocking": True,
        "text": "ML-9 stays because of CD/DVD drive 1: Remove it [host_device].",
    }
    plan = {"refusals": [refusal], "moves": [planned("ML-1", "esx-1", 5.0)]}
    lines = closing_lines({}, subject=SUBJECT, failed=True, steps={"plan": plan}, again=AGAIN, others=f"{AGAIN} -e x=y")
    assert lines == [
        "Evacuation of esx-05 was not started. This call moved no VM.",
        "Why: ML-9 stays because of CD/DVD drive 1: Remove it [host_device].",
        f"Next: {FAILURES[Failure.CANNOT_LEAVE].do}",
        "Or move only the other VM; the host cannot enter maintenance mode while ML-9 is on it:",
        f"  {AGAIN} -e x=y",
        f"Run again: {AGAIN}",
    ]


def test_the_command_is_corrected_if_a_name_is_similar() -> None:
    message = "vCenter has no host named esx-50. Did you mean esx-05 or esx-15? Correct evacuate_host_name."
    plan = {"failed": True, "error": "NotFound", "option": "host", "msg": message}
    lines = closing_lines({}, subject="Evacuation of esx-50", failed=True, steps={"plan": plan}, again=AGAIN)
    assert lines[1:] == [
        f"Why: {message}",
        f"Next: {FAILURES[Failure.OPTION].do}",
        f"If you mean esx-05: {AGAIN[:-2]}05",
        f"If you mean esx-15: {AGAIN[:-2]}15",
    ]
    other = {**plan, "option": "exclude_hosts"}
    assert len(closing_lines({}, subject=SUBJECT, failed=True, steps={"plan": other}, again=AGAIN)) == 3


def test_a_lost_experiment_names_its_host_and_what_is_left() -> None:
    moves = [move("ML-1"), move("ML-2", target="esx-04")]
    lost = experiment("ML-1", "lost", owner="vision", progress_after=0.28, longest_stall=None)
    moved = {"moves": moves, "experiments": [lost], "interrupted": ["GBM gbm_1 in ML-1 was lost"]}
    lines = closing_lines(moved, subject=SUBJECT, failed=True, again=AGAIN, goal="the maintenance mode of esx-05")
    assert lines == [
        "Evacuation of esx-05 failed, because an experiment was lost. 2 of 2 VMs moved: 1 to esx-04, 1 to esx-06.",
        "GBM gbm_1 in ML-1 (now on esx-06): lost. Owner: vision. Alive: no, last seen at 28 %. Lost: not known, nor whether it has a "
        "checkpoint.",
        f"  What its owner has to do: {VERDICTS['lost'].do}",
        f"Next: {FAILURES[Failure.INTERRUPTED].do} That is only the maintenance mode of esx-05; no VM is left to move.",
        f"Run again: {AGAIN}",
    ]
    more = {**moved, "moves": [*moves, move("ML-3", "not_started")], "experiments": [lost, lost]}
    lines = closing_lines(more, subject=SUBJECT, failed=True)
    assert lines[0].startswith("Evacuation of esx-05 failed, because 2 experiments were lost. 2 of 3 VMs moved: ")
    assert lines[-1].endswith(" That is to move ML-3.")


def test_a_resumed_run_says_what_moved_before() -> None:
    moved = {"moves": [move("ML-1"), move("ML-2"), move("ML-3", target="esx-04")], "resumed": True}
    plan = {"moves": [{"vm": "ml-3"}]}
    (line,) = closing_lines(moved, subject=SUBJECT, failed=False, steps={"plan": plan})
    assert line.endswith(" 3 of 3 VMs moved (2 earlier, 1 now): 1 to esx-04, 2 to esx-06.")


def test_files_that_moved_alone_have_no_new_host_and_many_hosts_are_counted() -> None:
    (line,) = closing_lines({"moves": [move("ML-1", target="esx-05")]}, subject=SUBJECT, failed=False)
    assert line.endswith(" 1 of 1 VM moved.")
    (line,) = closing_lines(
        {"moves": [move(f"ML-{n}", target=f"esx-1{n}") for n in range(5)]}, subject=SUBJECT, failed=False
    )
    assert line.endswith(" 5 of 5 VMs moved to 5 hosts.")


def test_many_vms_that_cannot_leave_are_named_and_two_with_their_reasons() -> None:
    refusals = [{"vm_name": f"ML-{n}", "blocking": True, "text": f"ML-{n} stays: {'why ' * 900}"} for n in range(4)]
    lines = closing_lines({}, subject=SUBJECT, failed=True, steps={"plan": {"refusals": refusals}})
    assert [line[:16] for line in lines[1:3]] == ["Why: ML-0 stays:", "Why: ML-1 stays:"]
    assert lines[3] == "Why: ML-2, ML-3 cannot leave either."
    assert all(len(line) <= 420 for line in lines)


def test_the_worst_experiments_come_first_with_what_to_do() -> None:
    found = [experiment(f"ML-{n}") for n in range(1, 8)]
    lost = {"longest_stall": None, "detail": "its process is gone", "recoverable": "yes", "recovery": "/ckpt"}
    found[3] = experiment("ML-4", "lost", **lost, last_seen={"progress": 0.3, "at": None})
    found[6] = experiment("ML-7", "stalled", vms=["ML-7", "ML-8"], stall_budget=0.2)
    lines = closing_lines({"moves": [], "experiments": found}, subject=SUBJECT, failed=True)
    assert lines[1:5] == [
        "GBM gbm_1 in ML-4: lost. Alive: no, last seen at 30 %. Lost: the work since its newest checkpoint; whether there is one "
        "is not known. What was seen: its process is gone.",
        "  What its owner has to do: Make sure that its process is gone. Then start it again from its newest checkpoint, if there is one "
        "(/ckpt).",
        "GBM gbm_1 in ML-7, ML-8: stalled. Alive: not known, last seen at 21 %. Lost: no progress was seen to be lost; it stood still "
        "for 0.41 s, and whether it continued is not known. Longest stall about 0.41 s (between 0.33 and 0.45 s); 0.20 s were allowed. Progress 8 % → 21 %.",
        f"  What its owner has to do: {VERDICTS['stalled'].do}",
    ]
    assert lines[-3] == "3 more experiments, 3 of them uninterrupted or completed: see the report."


@given(st.lists(st.sampled_from(WORST_FIRST), max_size=14), st.booleans(), st.booleans())
def test_there_are_ten_lines_at_most_and_no_experiment_is_left_out(
    verdicts: list[str], failed: bool, hosted: bool
) -> None:
    found = [experiment(f"ML-{n}", verdict) for n, verdict in enumerate(verdicts)]
    moved = {"moves": [move("ML-0")], "experiments": found, "unobserved": {"ML-99": "no server"}}
    host = "esx-05 is in maintenance mode." if hosted else ""
    lines = closing_lines(moved, subject=SUBJECT, failed=failed, host=host, report="/r", again="x")
    assert len(lines) <= MAX_LINES
    named = sum(line.startswith("GBM gbm_1 in") for line in lines)
    more = sum(int(line.split()[0]) for line in lines if " more experiment" in line)
    assert named + more == len(verdicts)
    bad = [verdict for verdict in verdicts if verdict not in ("uninterrupted", "completed")]
    assert sum("What its owner has to do: " in line for line in lines) >= min(len(bad), 1)


def test_many_names_are_shortened_and_control_characters_removed() -> None:
    moves = [move(f"ML-{n}\x1b[2J", "failed") for n in range(12)]
    line, *_next = closing_lines({"moves": moves}, subject=SUBJECT, failed=True)
    assert line.endswith(" and 2 more.")
    assert "\x1b" not in line


def test_an_experiment_is_where_its_own_vm_is_and_not_a_twin() -> None:
    moved = {
        "moves": [move("ML-1", moid="vm-57", target="esx-02"), move("ML-1", moid="vm-58", target="esx-03")],
        "experiments": [experiment("ML-1", "lost", moid="vm-57")],
    }
    lines = closing_lines(moved, subject=SUBJECT, failed=True)
    assert any("in ML-1 (now on esx-02): lost" in line for line in lines)
