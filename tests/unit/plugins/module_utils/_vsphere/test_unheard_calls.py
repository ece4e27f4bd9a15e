# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a session does if an earlier call was carried out and its answer was not heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import session
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Maintenance
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Fault, TaskUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from tests.builders.estates import host

LOST, GONE = ConnectError("the answer was lost"), NotFound("vCenter no longer knows task task-1")
DUPLICATE = CallFailed("no", fault="DuplicateName")
WRONG, OTHER = CallFailed("no", fault="InvalidState"), CallFailed("no", fault="HostNotConnected")
DONE = TaskUpdate("task-1", "success")
FAILED = TaskUpdate("task-1", "error", fault=Fault("SystemError", "broken"))


class Leaving(VcenterSession):
    """A host that is taken out of maintenance mode: what each call meets, and what each look at the host shows."""

    def __init__(self, answers: list[Any], looks: list[bool]) -> None:
        self.answers, self.looks, self.cancelled = answers, looks, list[str]()

    def _cancel(self, task: str) -> None:
        self.cancelled.append(task)

    def exit_maintenance(self, host: str) -> str:
        if isinstance(self.answers[0], CallFailed | ConnectError):
            raise self.answers.pop(0)
        return "task-1"

    def wait_for(self, task: str, timeout: float) -> TaskUpdate:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, TaskUpdate)
        return answer

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        return {moid: self.looks.pop(0) if self.looks else True for moid in hosts}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOOK_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("answers", "looks"),
    [
        ([DONE], []),
        ([WRONG], [True, True, False]),
        ([LOST], [False]),
        ([GONE], [False]),
        ([LOST, DONE], [True]),
        ([LOST, WRONG], [True, True, False]),
        ([GONE, DONE], [True]),
    ],
)
def test_the_end_of_maintenance_mode_is_seen_whatever_became_of_an_answer(
    answers: list[Any], looks: list[bool]
) -> None:
    vsphere = Leaving(answers, looks)
    vsphere.end_maintenance(host(1, maintenance=Maintenance.IN), 60.0)
    assert (vsphere.answers, vsphere.looks) == ([], [])


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([WRONG], WRONG),
        ([OTHER], OTHER),
        ([LOST, LOST], LOST),
        ([GONE, GONE], GONE),
        ([LoginRefused("no")], LoginRefused("no")),
        ([FAILED], CallFailed("", fault="SystemError")),
    ],
)
def test_a_host_that_stays_in_maintenance_mode_is_an_error(answers: list[Any], error: VsphereError) -> None:
    with pytest.raises(type(error)) as raised:
        Leaving(answers, []).end_maintenance(host(1, maintenance=Maintenance.IN), 0.0)
    assert getattr(raised.value, "fault", "") == getattr(error, "fault", "")


@pytest.mark.parametrize("answer", [WRONG, LOST, GONE])
def test_a_host_that_shows_no_maintenance_mode_was_not_seen_to_leave_it(answer: Exception) -> None:
    with pytest.raises(type(answer)):
        Leaving([answer], [False]).end_maintenance(host(1), 60.0)


def test_entering_is_cancelled_and_what_came_first_is_ended() -> None:
    entering = host(1, maintenance=Maintenance.ENTERING, maintenance_task="task-0")
    vsphere = Leaving([FAILED], [])
    vsphere.end_maintenance(entering, 60.0)
    assert vsphere.cancelled == ["task-0"]
    vsphere = Leaving([DONE, DONE], [])
    vsphere.end_maintenance(entering, 60.0)
    assert vsphere.answers == [], "it was in maintenance mode before the task could be cancelled"


def test_a_host_is_watched_in_both_directions_and_unknown_is_neither() -> None:
    for inside in (True, False):
        assert Leaving([], [not inside, inside]).watch_maintenance("host-1", inside, 60.0)
        assert not Leaving([], [not inside]).watch_maintenance("host-1", inside, 0.0)

    class Blind(Leaving):
        def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
            return {}

    assert not Blind([], []).watch_maintenance("host-1", False, 0.0)


class Fields:
    """Custom attributes; making one meets ``fault`` after it was made, or without that."""

    renewed = 0

    def __init__(self, fault: CallFailed | None, *, made: bool) -> None:
        self.fault, self.made, self.field = fault, made, list[Any]()
        self.content = SimpleNamespace(customFieldsManager=self)

    def call(self, _what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
        return action()

    def AddCustomFieldDef(self, name: str, moType: type[Any]) -> Any:
        made = SimpleNamespace(key=7, name=name)
        self.field += [made] if self.made else []
        if self.fault is not None:
            raise self.fault
        return made


def test_a_custom_attribute_that_an_unheard_call_made_is_found() -> None:
    assert VcenterSession(Fields(DUPLICATE, made=True))._attribute(object, "home") == 7  # type: ignore[arg-type]
    assert VcenterSession(Fields(None, made=False))._attribute(object, "home") == 7  # type: ignore[arg-type]
    with pytest.raises(CallFailed):
        VcenterSession(Fields(DUPLICATE, made=False))._attribute(object, "home")  # type: ignore[arg-type]
