# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one session asks of vCenter: for how long while a connection is broken, and what the user may do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import inventory, session
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Silence
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import Row
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


RUNNING = {"info.state": "running", "info.descriptionId": "vim.ClusterComputeResource.reconfigureEx"}


@pytest.mark.parametrize(
    ("recent", "tasks", "found"),
    [
        (Row({"recentTask": ()}), {}, ()),
        (Row({"recentTask": ("task-1", "task-2")}), {"task-2": Row(RUNNING)}, ("task-2",)),
        (Row({"recentTask": ("task-1",)}), {"task-1": Row({**RUNNING, "info.state": "success"})}, ()),
        (Row({"recentTask": ("task-1",)}), {"task-1": Row({**RUNNING, "info.descriptionId": "Drm.Recommend"})}, ()),
        (Row({"recentTask": ("task-1",)}), {"task-1": Row({}, ["info.state"])}, None),
        (Row({}, ["recentTask"]), {}, None),
        (None, {}, None),
    ],
)
def test_what_changes_a_cluster_is_read_or_unknown(
    monkeypatch: pytest.MonkeyPatch, recent: Row | None, tasks: dict[str, Row], found: tuple[str, ...] | None
) -> None:
    if recent:
        recent["recentTask"] = [SimpleNamespace(_moId=moid) for moid in recent.get("recentTask", ())]
    rows = {"ClusterComputeResource": {} if recent is None else {"domain-c1": recent}, "Task": tasks}
    monkeypatch.setattr(inventory, "read_objects", lambda _client, kind, _moids, _paths: rows[kind])
    assert inventory.read_changes(None, "domain-c1") == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "ends", "settled"),
    [
        ([()], [], True),
        ([("task-1",), ()], [None], True),
        ([("task-1",), ()], [NotFound("gone")], True),
        ([("task-1",)], [TaskTimeout("late", last_state="running")], False),
        ([None], [], False),
    ],
)
def test_a_cluster_is_settled_once_no_task_changes_it(
    monkeypatch: pytest.MonkeyPatch, changes: list[Any], ends: list[Exception | None], settled: bool
) -> None:
    def wait_for(_task: str, _timeout: float) -> None:
        if (end := ends.pop(0)) is not None:
            raise end

    vsphere = VcenterSession(AskedClient())  # type: ignore[arg-type]
    monkeypatch.setattr(session, "read_changes", lambda _client, _cluster: changes.pop(0))
    monkeypatch.setattr(vsphere, "wait_for", wait_for)
    assert vsphere.cluster_settled("domain-c1", 60.0) is settled
    assert (changes, ends) == ([], [])


def test_a_change_of_overrides_whose_end_cannot_be_read_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for(_task: str, _timeout: float) -> None:
        raise CallFailed("vCenter could not wait for updates of tasks: SystemError", fault="SystemError")

    class Cluster:
        def ReconfigureComputeResource_Task(self, *_arguments: Any) -> Any:
            return SimpleNamespace(_moId="task-1")

    client = AskedClient()
    monkeypatch.setattr(client, "reference", lambda _kind, _moid: Cluster())
    vsphere = VcenterSession(client)  # type: ignore[arg-type]
    monkeypatch.setattr(vsphere, "wait_for", wait_for)
    with pytest.raises(TaskTimeout, match="The end of the change of DRS overrides was not seen"):
        vsphere.set_drs_overrides("domain-c1", {}, frozenset())


class Attributes(AskedClient):
    """Host custom attributes; the calls of ``failing`` fail."""

    def __init__(self, value: str | None, failing: dict[str, Exception] | None = None) -> None:
        super().__init__()
        self.failing = failing or {}
        self.values = [] if value is None else [SimpleNamespace(key=7, value=value)]
        self.content = SimpleNamespace(customFieldsManager=SimpleNamespace(field=[], SetField=lambda *_all: None))

    def reference(self, _kind: str, moid: str) -> Any:
        return SimpleNamespace(
            _moId=moid, availableField=[SimpleNamespace(key=7, name="liveml_lease")], customValue=self.values
        )

    def call(self, what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
        if what in self.failing:
            raise self.failing[what]
        return action()


READ = "read the lease of the host"
SYSTEM_ERROR = CallFailed("vCenter could not read: SystemError", fault="SystemError")


@pytest.mark.parametrize("value", [None, "", " "])
def test_an_empty_attribute_is_no_lease(value: str | None) -> None:
    assert VcenterSession(Attributes(value)).lease("host-1") is None  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["read custom attributes", READ])
@pytest.mark.parametrize("error", [SYSTEM_ERROR, PermissionMissing("no", privilege="System.Read")])
def test_a_lease_that_cannot_be_read_is_not_no_lease(what: str, error: Exception) -> None:
    with pytest.raises(type(error)):
        VcenterSession(Attributes("", {what: error})).lease("host-1")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["Bob works here", '{"o": "b", "n": "other", "u": "tomorrow"}', '{"owner": "b"}'])
def test_an_attribute_that_is_not_a_lease_is_not_no_lease(value: str) -> None:
    with pytest.raises(CallFailed, match="liveml_lease of the host is not a lease"):
        VcenterSession(Attributes(value)).lease("host-1")  # type: ignore[arg-type]


def test_a_lease_that_could_not_be_written_is_not_a_missing_privilege() -> None:
    client = Attributes("", {"read custom attributes": SYSTEM_ERROR})
    with pytest.raises(CallFailed):
        VcenterSession(client).set_lease("host-1", None)  # type: ignore[arg-type]
    client.failing = {"read custom attributes": PermissionMissing("no", privilege="Global.SetCustomField")}
    assert VcenterSession(client).set_lease("host-1", None) is False  # type: ignore[arg-type]
