# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a connection to vCenter may break while VMs move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import ConnectError, LoginRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession, patiently


class Broken:
    """A question whose first answers are errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_a_question_that_breaks_is_asked_again() -> None:
    question = Broken(ConnectError("reset"), ConnectError("refused"))
    assert patiently(question, patience=0.2) == "answer"
    assert question.asked == 3


def test_patience_ends() -> None:
    question = Broken(*[ConnectError("reset")] * 100)
    with pytest.raises(ConnectError, match="reset"):
        patiently(question, patience=0.05)
    assert 1 < question.asked < 100


def test_a_refused_login_is_not_tried_again() -> None:
    question = Broken(LoginRefused("wrong password"))
    with pytest.raises(LoginRefused):
        patiently(question)
    assert question.asked == 1


class RefusedClient:
    """A session that ended, and whose password was changed meanwhile."""

    renewed = 0
    content = None

    def __init__(self) -> None:
        self.asked = 0

    def call(self, what: str, action: Callable[[], Any]) -> Any:
        if what != "wait for updates of tasks":
            return object()
        self.asked += 1
        raise LoginRefused("wrong password")


def test_a_login_that_is_refused_during_a_run_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = RefusedClient()
    vsphere = VcenterSession(client)  # type: ignore[arg-type]
    monkeypatch.setattr(vsphere._following, "_renew_collector", lambda: None)
    with pytest.raises(LoginRefused):
        vsphere.updates(10)
    assert client.asked == 1
