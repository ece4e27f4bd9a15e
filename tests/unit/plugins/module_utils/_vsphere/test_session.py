# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one session asks of vCenter: for how long while a connection is broken, and what the user may do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import LoginRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Silence
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession


class RefusedClient:
    """A session that ended, and whose password was changed meanwhile."""

    renewed = 0
    content = None

    def __init__(self) -> None:
        self.asked = 0
        self.silence = Silence(60)

    def call(self, what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
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


class AskedClient:
    """A user who may edit one of two clusters."""

    renewed = 0

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], list[str]]] = []
        self.content = SimpleNamespace(
            sessionManager=SimpleNamespace(currentSession=SimpleNamespace(key="key")),
            authorizationManager=SimpleNamespace(HasPrivilegeOnEntities=self.answer),
        )

    def reference(self, _kind: str, moid: str) -> Any:
        return SimpleNamespace(_moId=moid)

    def call(self, _what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
        return action()

    def answer(self, entities: list[Any], _session: str, privileges: list[str]) -> list[Any]:
        self.calls.append(([entity._moId for entity in entities], privileges))
        return [
            SimpleNamespace(
                entity=entity,
                privAvailability=[SimpleNamespace(privId=p, isGranted=entity._moId == "domain-c1") for p in privileges],
            )
            for entity in entities
        ]


def test_the_clusters_that_the_user_may_edit_are_asked_for_in_one_call() -> None:
    client = AskedClient()
    vsphere = VcenterSession(client)  # type: ignore[arg-type]
    assert vsphere.editable_clusters(["domain-c2", "domain-c1"]) == {"domain-c1"}
    assert client.calls == [(["domain-c1", "domain-c2"], ["Host.Inventory.EditCluster"])]


def test_without_a_cluster_nothing_is_asked() -> None:
    client = AskedClient()
    assert VcenterSession(client).editable_clusters([]) == frozenset()  # type: ignore[arg-type]
    assert client.calls == []
