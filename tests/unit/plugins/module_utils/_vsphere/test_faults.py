# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run does about a fault: submit again, take the object for deleted, take a cancellation for done, or give up."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.faults import (
    OwnReason,
    advice_on,
    is_busy,
    is_gone,
    is_over,
    is_transient,
    is_unheard,
    is_wrong_state,
)


def what_a_run_does(fault: str) -> set[str]:
    answers = {
        "submits again": is_transient(fault),
        "takes it for deleted": is_gone(fault),
        "takes the cancellation for done": is_over(fault),
        "tries the change of mode again": is_wrong_state(fault),
        "gives advice": bool(advice_on(fault)),
    }
    return {what for what, does in answers.items() if does}


@pytest.mark.parametrize("fault", ["TaskInProgress", "HostCommunication", "VMotionLinkDown", "MigrationNotReady"])
def test_what_passes_by_itself_is_submitted_again(fault: str) -> None:
    assert what_a_run_does(fault) == {"submits again"}


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        (OwnReason.NO_ANSWER, True),
        (OwnReason.TASK_FORGOTTEN, True),
        (OwnReason.VM_DELETED, False),
        (OwnReason.VM_MOVED_MEANWHILE, False),
        (OwnReason.VM_NOT_POWERED_ON, False),
        (OwnReason.END_NOT_OBSERVED, False),
        (OwnReason.DEADLINE_EXCEEDED, False),
        (OwnReason.PLACE_UNKNOWN, False),
    ],
)
def test_a_move_whose_task_is_lost_is_submitted_again_but_never_one_that_may_have_ended(
    reason: OwnReason, again: bool
) -> None:
    assert what_a_run_does(reason) == ({"submits again"} if again else set())
    assert is_unheard(reason) is again


def test_an_object_that_no_longer_exists_cannot_be_cancelled_either() -> None:
    assert what_a_run_does("ManagedObjectNotFound") == {"takes it for deleted", "takes the cancellation for done"}


def test_a_task_that_has_ended_needs_no_cancellation() -> None:
    assert what_a_run_does("InvalidState") == {"takes the cancellation for done", "tries the change of mode again"}
    assert what_a_run_does("NotSupported") == {"takes the cancellation for done"}


@pytest.mark.parametrize(
    ("fault", "busy"), [("TaskInProgress", True), ("InvalidState", True), ("NoPermission", False), ("Timedout", False)]
)
def test_a_refusal_may_be_due_to_an_earlier_call_without_an_answer(fault: str, busy: bool) -> None:
    assert is_busy(fault) is busy


def test_a_target_without_a_free_vgpu_is_final_and_says_what_to_do() -> None:
    assert what_a_run_does("InsufficientGraphicsResourcesFault") == {"gives advice"}
    assert "another host" in advice_on("InsufficientGraphicsResourcesFault")
    assert not advice_on("InsufficientGraphicsResourcesFault").endswith(".")


@pytest.mark.parametrize("fault", ["NoPermission", "InsufficientCpuResourcesFault", "taskinprogress", ""])
def test_every_other_fault_ends_its_move(fault: str) -> None:
    assert what_a_run_does(fault) == set()
