# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One read of vCenter that fails does not end a run, and what stays unreadable is unknown, not none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    PermissionMissing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.sight import HIDDEN_TASK, PATIENCE, PAUSE, Sight
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate, TaskUpdate

FAULT = CallFailed("vCenter could not read a property.", fault="RuntimeFault")
HERE = PlacementUpdate("vm-1", "host-1")


class Flaky:
    """A vCenter whose calls raise ``error`` for so many ``times``, and then answer."""

    def __init__(self, error: Exception, times: float, answers: dict[str, Any] | None = None) -> None:
        self.error, self.times, self.answers = error, times, answers or {}
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            if self.times > 0:
                self.times -= 1
                raise self.error
            return self.answers.get(name)

        return call


class Time:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def sight(vcenter: Flaky, time: Time, *, interrupted: bool = False) -> Sight:
    double: Any = vcenter
    return Sight(double, interrupted=lambda: interrupted, clock=time.clock, sleep=time.sleep)


READS = [
    ("updates", (3.0,), (3.0,), (TaskUpdate("task-1", "success"),), ()),
    ("placement", (["vm-1"],), (("vm-1",),), {"vm-1": HERE}, None),
    ("places", ("vm-1",), (("vm-1",),), {"vm-1": {2000: "datastore-1"}}, None),
    ("moving", (["vm-1"],), (("vm-1",),), {"vm-1": "task-1"}, {}),
    ("mover", ("vm-1", "host-1"), ("vm-1", "host-1"), "alice", ""),
    ("follow", ("task-1", "vm-1"), ("task-1", "vm-1"), None, None),
    ("unfollow", ("task-1",), ("task-1",), None, None),
    ("cancel", ("task-1",), ("task-1",), None, None),
]


@pytest.mark.parametrize(("name", "arguments", "passed", "answer", "unread"), READS)
def test_a_read_that_fails_is_repeated(
    name: str, arguments: tuple[Any, ...], passed: tuple[Any, ...], answer: Any, unread: Any
) -> None:
    time, vcenter = Time(), Flaky(FAULT, 3, {name: answer})
    seen = getattr(sight(vcenter, time), name)(*arguments)
    assert seen == (answer["vm-1"] if name == "places" else answer)
    assert vcenter.asked == [(name, *passed)] * 4
    assert time.slept == [PAUSE] * 3


@pytest.mark.parametrize("error", [FAULT, PermissionMissing("no permission", privilege="System.Read")])
@pytest.mark.parametrize(("name", "arguments", "passed", "answer", "unread"), READS)
def test_a_read_that_keeps_failing_is_given_up_and_unknown(
    name: str, arguments: tuple[Any, ...], passed: tuple[Any, ...], answer: Any, unread: Any, error: Exception
) -> None:
    time, vcenter = Time(), Flaky(error, 10**6)
    seen = getattr(sight(vcenter, time), name)(*arguments)
    if name == "placement":
        assert seen == {"vm-1": PlacementUpdate("vm-1", None, unknown=str(error).rstrip("."))}
    else:
        assert seen == unread
    assert sum(time.slept) == PATIENCE


@pytest.mark.parametrize("error", [ConnectError("no answer"), LoginRefused("no")])
@pytest.mark.parametrize(("name", "arguments", "passed", "answer", "unread"), READS)
def test_a_vcenter_that_does_not_answer_at_all_ends_the_read_at_once(
    name: str, arguments: tuple[Any, ...], passed: tuple[Any, ...], answer: Any, unread: Any, error: Exception
) -> None:
    time, vcenter = Time(), Flaky(error, 10**6)
    with pytest.raises(type(error)):
        getattr(sight(vcenter, time), name)(*arguments)
    assert (len(vcenter.asked), time.slept) == (1, [])


def test_an_interrupted_run_does_not_repeat_a_read() -> None:
    time, vcenter = Time(), Flaky(FAULT, 10**6)
    assert sight(vcenter, time, interrupted=True).mover("vm-1", "host-1") == ""
    assert (len(vcenter.asked), time.slept) == (1, [])


def test_insisting_raises_what_stays_unreadable() -> None:
    time, vcenter = Time(), Flaky(FAULT, 10**6)
    with pytest.raises(CallFailed):
        sight(vcenter, time).insist("time", vcenter.time)
    assert sum(time.slept) == PATIENCE


def test_each_read_has_the_whole_patience_after_an_answer() -> None:
    """The patience counts from the first failure of the same read; an answer ends that."""
    time, vcenter = Time(), Flaky(FAULT, 20, {"mover": "alice"})
    one = sight(vcenter, time)
    assert one.mover("vm-1", "host-1") == "alice"
    vcenter.times = 20
    assert one.mover("vm-1", "host-1") == "alice"
    assert sum(time.slept) == 40 * PAUSE


def test_another_read_does_not_use_up_the_patience_and_a_second_failure_has_none_left() -> None:
    time, vcenter = Time(), Flaky(FAULT, 10**6)
    one = sight(vcenter, time)
    assert one.moving(["vm-1"]) == {}
    asked = len(vcenter.asked)
    assert one.moving(["vm-1"]) == {}
    assert len(vcenter.asked) == asked + 1, "what has failed for so long is asked once"
    assert one.mover("vm-1", "host-1") == ""
    assert sum(time.slept) == 2 * PATIENCE


def test_a_vm_without_known_places_has_none() -> None:
    assert sight(Flaky(FAULT, 0, {"places": {}}), Time()).places("vm-1") == {}


@pytest.mark.parametrize(
    ("answer", "seen"),
    [({"vm-1": "task-1"}, {"vm-1": ""}), ({"vm-1": ""}, {"vm-1": HIDDEN_TASK}), ({}, {})],
)
def test_a_hidden_task_may_move_a_vm(answer: dict[str, str], seen: dict[str, str]) -> None:
    vcenter = Flaky(FAULT, 0, {"moving": answer})
    assert sight(vcenter, Time()).may_move(iter(["vm-1"])) == seen
    assert vcenter.asked == [("moving", ("vm-1",))]


def test_whether_tasks_move_vms_is_unknown_for_each_if_it_cannot_be_read() -> None:
    why = str(FAULT).rstrip(".")
    assert sight(Flaky(FAULT, 10**6), Time()).may_move(["vm-1", "vm-2"]) == {"vm-1": why, "vm-2": why}
