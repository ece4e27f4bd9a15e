# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one session asks of vCenter: for how long while a connection is broken, and what the user may do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import inventory, session
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.checks import CHECKS_AT_ONCE
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Silence
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    Checked,
    DrsOverride,
    FenceTask,
    InventoryPlace,
    Maintenance,
    Network,
    Power,
    Relocation,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import GuestLogin
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import Home, encode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import Row
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease, encode_lease
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import CANCEL_TASK, VcenterSession
from pyVmomi import vim, vmodl

from tests.builders.estates import estate, host
from tests.doubles.stub import Server, clock_of


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


# What follows is asked of a whole vCenter.


def session_of(server: Server) -> VcenterSession:
    return VcenterSession(server.client())


def add_task(server: Server, moid: str = "task-1") -> Any:
    return vim.Task(moid, server)


def ids(reference: Any) -> str | None:
    return None if reference is None else reference._moId


PLACE = InventoryPlace("c", "pool-1", "ml", "folder-1", "ml")


def relocated(**arguments: Any) -> tuple[Any, Server]:
    """What vCenter is asked to do with a VM."""
    server = Server()
    server.answers["RelocateVM_Task"] = add_task(server)
    values = {"host": "host-2", "place": None, "priority": "highPriority", **arguments}
    assert session_of(server).relocate("vm-1", values.pop("host"), **values) == "task-1"
    ((spec, priority),) = server.asked("RelocateVM_Task")
    assert priority == "highPriority"
    return spec, server


def test_a_move_to_a_host_changes_nothing_else() -> None:
    spec, _server = relocated()
    assert ids(spec.host) == "host-2"
    assert (spec.pool, spec.folder, spec.datastore, spec.service) == (None, None, None, None)
    assert not spec.disk
    assert not spec.deviceChange
    assert not spec.profile


def test_files_move_without_their_vm() -> None:
    spec, _server = relocated(host=None, files={0: "ds-1", 2000: "ds-1", 2001: "ds-2"}, policies={2001: "gold"})
    assert spec.host is None
    assert ids(spec.datastore) == "ds-1"
    assert {disk.diskId: ids(disk.datastore) for disk in spec.disk} == {2000: "ds-1", 2001: "ds-2"}
    assert {disk.diskId: [each.profileId for each in disk.profile] for disk in spec.disk} == {2000: [], 2001: ["gold"]}
    assert not spec.profile


def test_the_vm_s_own_files_have_a_policy_of_their_own() -> None:
    spec, _server = relocated(files={0: "ds-1"}, policies={0: "gold"})
    assert [each.profileId for each in spec.profile] == ["gold"]
    assert not spec.disk


def test_a_move_into_another_place_names_what_changes_there() -> None:
    spec, _server = relocated(place=PLACE)
    assert (ids(spec.pool), ids(spec.folder), spec.datastore) == ("pool-1", "folder-1", None)
    spec, _server = relocated(place=replace(PLACE, folder="", datastore="ds-7"))
    assert (spec.folder, ids(spec.datastore)) == (None, "ds-7")


@pytest.mark.parametrize(
    ("method", "submit"),
    [
        ("RelocateVM_Task", lambda s: s.relocate("vm-1", "host-2", place=None, priority="highPriority")),
        ("EnterMaintenanceMode_Task", lambda s: s.enter_maintenance("host-1")),
        ("ExitMaintenanceMode_Task", lambda s: s.exit_maintenance("host-1")),
        ("ReconfigureComputeResource_Task", lambda s: s.set_drs_overrides("domain-c1", {"vm-1": None}, frozenset())),
    ],
)
def test_a_task_without_an_answer_is_not_submitted_twice(method: str, submit: Callable[[VcenterSession], Any]) -> None:
    """It may run."""
    server = Server()
    server.answers[method] = ConnectionResetError("reset")
    with pytest.raises(ConnectError):
        submit(session_of(server))
    assert len(server.asked(method)) == 1


def test_a_move_to_another_vcenter_says_how_it_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "thumbprint", lambda _self: "AB:CD")
    there = Server("2222bbbb").client()
    spec, _server = relocated(place=PLACE, files={0: "ds-1", 2000: "ds-1"}, abroad=there)
    assert (spec.service.instanceUuid, spec.service.sslThumbprint) == ("2222bbbb", "AB:CD")
    references = (spec.host, spec.pool, spec.folder, spec.datastore, spec.disk[0].datastore)
    assert {reference._serverGuid for reference in references} == {"2222bbbb"}


def check_result(vm: str, host: str | None = None) -> Any:
    return vim.vm.check.Result(
        vm=vim.VirtualMachine(vm, None),
        host=vim.HostSystem(host, None) if host else None,
        error=[vim.fault.InvalidState(msg=vm)],
    )


def checking(server: Server, method: str) -> None:
    """A vCenter that checks moves. Each check is a task that has ended."""

    def check(_checker: Any, vm: Any, *_further: Any) -> Any:
        moid = f"task-{len(server.calls)}"
        machines = vm if isinstance(vm, list) else [vm]
        results = [check_result(each._moId, "host-2") for each in machines]
        return server.add(vim.Task, moid, {"info.state": "success", "info.result": results})

    server.answers[method] = check


def test_moves_are_checked_in_their_order_and_not_all_at_once() -> None:
    server = Server()
    checking(server, "CheckRelocate_Task")
    moves = [Relocation(f"vm-{number}", "host-2") for number in range(20)]
    found = session_of(server).check_moves(moves)
    assert [checked.errors for checked in found] == [(f"InvalidState (vm-{number})",) for number in range(20)]
    order = [method for method, _moid, _arguments in server.calls]
    assert order.count("CheckRelocate_Task") == 20
    runs = " ".join(order).split("RetrievePropertiesEx")
    assert max(run.split().count("CheckRelocate_Task") for run in runs) == CHECKS_AT_ONCE


def test_vms_are_compared_with_hosts_in_one_task() -> None:
    server = Server()
    checking(server, "QueryVMotionCompatibilityEx_Task")
    found = session_of(server).compatible(["vm-1", "vm-2"], ["host-2"])
    assert found == {(vm, "host-2"): Checked((f"InvalidState ({vm})",)) for vm in ("vm-1", "vm-2")}


def recommendation(*stores: tuple[int, str], destination: str = "ds-1") -> Any:
    disks = [vim.vm.RelocateSpec.DiskLocator(diskId=key, datastore=vim.Datastore(moid, None)) for key, moid in stores]
    action = vim.storageDrs.StoragePlacementAction(
        destination=vim.Datastore(destination, None), relocateSpec=vim.vm.RelocateSpec(disk=disks)
    )
    return SimpleNamespace(action=[SimpleNamespace(target=None), action])


@pytest.mark.parametrize(
    ("recommendations", "found"),
    [
        ([recommendation((2001, "ds-2")), recommendation(destination="ds-9")], {0: "ds-1", 2000: "ds-1", 2001: "ds-2"}),
        ([recommendation()], {0: "ds-1", 2000: "ds-1", 2001: "ds-1"}),
        ([SimpleNamespace(action=[])], {}),
        ([SimpleNamespace(action=None)], {}),
        ([], {}),
        (None, {}),
    ],
)
def test_storage_drs_recommends_a_datastore_for_each_part(recommendations: Any, found: dict[int, str]) -> None:
    server = Server()
    server.answers["RecommendDatastores"] = SimpleNamespace(recommendations=recommendations)
    files = ((0, "ds-0"), (2000, "ds-0"), (2001, "ds-0"))
    move = Relocation("vm-1", "host-2", PLACE, files, ((0, "gold"), (2000, "silver")))
    assert session_of(server).recommended_datastores(move, "group-p1") == found
    ((spec,),) = server.asked("RecommendDatastores")
    assert (ids(spec.vm), ids(spec.host), ids(spec.resourcePool)) == ("vm-1", "host-2", "pool-1")
    assert ids(spec.podSelectionSpec.storagePod) == "group-p1"
    assert [each.profileId for each in spec.relocateSpec.profile] == ["gold"]
    assert (spec.relocateSpec.datastore, spec.relocateSpec.disk) == (None, [])
    assert spec.disallowPrerequisiteMoves, "it must not move other VMs"


def test_storage_drs_is_asked_without_a_policy_for_a_vm_that_has_none() -> None:
    server = Server()
    server.answers["RecommendDatastores"] = SimpleNamespace(recommendations=[])
    session_of(server).recommended_datastores(Relocation("vm-1", "host-2"), "group-p1")
    assert server.asked("RecommendDatastores")[0][0].relocateSpec.profile == []


@pytest.mark.parametrize(
    "fault", [vim.fault.InvalidState(), vmodl.fault.ManagedObjectNotFound(), vim.fault.NoPermission()]
)
def test_a_task_that_cannot_be_cancelled_ends_by_itself(fault: Exception) -> None:
    server = Server()
    server.answers["CancelTask"] = fault
    session_of(server).cancel("task-1")
    server.answers["CancelTask"] = vmodl.fault.InvalidArgument()
    with pytest.raises(CallFailed):
        session_of(server).cancel("task-1")


def test_where_vms_are() -> None:
    server = Server()
    server.add(
        vim.VirtualMachine, "vm-1", {"runtime.host": vim.HostSystem("host-1", None), "runtime.powerState": "poweredOn"}
    )
    server.add(vim.VirtualMachine, "vm-2", {"runtime.host": vim.HostSystem("host-2", None)})
    assert session_of(server).placement(iter(["vm-1", "vm-2", "vm-3"])) == {
        "vm-1": PlacementUpdate("vm-1", "host-1", Power.ON),
        "vm-2": PlacementUpdate("vm-2", "host-2", Power.UNKNOWN),
        "vm-3": PlacementUpdate("vm-3", None),
    }


def test_a_vm_whose_host_is_not_shown_may_be_anywhere() -> None:
    server = Server()
    server.add(vim.VirtualMachine, "vm-1", {"runtime.powerState": "poweredOn"}, ["runtime.host"])
    found = session_of(server).placement(["vm-1"])["vm-1"]
    assert (found.host, found.power) == (None, Power.ON)
    assert "does not say on which host vm-1 is" in found.unknown


@pytest.mark.parametrize(
    ("uuid", "known_as", "host"),
    [("u1", "vm-9", "host-2"), ("u1", None, None), ("u1", "vm-1", None), ("", "vm-9", None)],
)
def test_a_vm_that_was_registered_anew_is_looked_for_by_its_instance_uuid(
    uuid: str, known_as: str | None, host: str | None
) -> None:
    server = Server()
    server.add(vim.VirtualMachine, "vm-1", {"name": "ml-1", "config.instanceUuid": uuid})
    session = session_of(server)
    session.estate()
    del server.objects["vm-1"]
    server.add(vim.VirtualMachine, "vm-9", {"runtime.host": vim.HostSystem("host-2", None)})
    server.answers["FindByUuid"] = vim.VirtualMachine(known_as, None) if known_as else None
    assert session.placement(["vm-1"])["vm-1"].host == host


def test_when_vms_were_powered_on() -> None:
    server = Server()
    server.add(vim.VirtualMachine, "vm-1", {"runtime.bootTime": datetime(2026, 3, 1, 12, tzinfo=UTC)})
    server.add(vim.VirtualMachine, "vm-2")
    assert session_of(server).power_on_times(iter(["vm-1", "vm-2", "vm-3"])) == {
        "vm-1": "2026-03-01T12:00:00.000Z",
        "vm-2": None,
        "vm-3": None,
    }


def process(name: str, pid: int, command: str, *, started: bool = True, ended: bool = False) -> Any:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return SimpleNamespace(
        name=name, pid=pid, cmdLine=command, startTime=at if started else None, endTime=at if ended else None
    )


def test_the_processes_of_a_guest_that_run_and_match() -> None:
    server = Server()
    server.answers["ListProcessesInGuest"] = [
        process("python", 1, "python train.py"),
        process("python", 2, "python train.py", ended=True),
        process("python", 3, "python train.py", started=False),
        process("bash", 4, "bash"),
        process("tra\x1bin", 5, "x"),
    ]
    login = GuestLogin("ml", re.compile("tra.?in"), "secret")
    found = session_of(server).guest_processes("vm-1", login)
    assert [(each.name, each.pid, each.started) for each in found] == [
        ("python", 1, "2026-03-01T12:00:00.000Z"),
        ("tra in", 5, "2026-03-01T12:00:00.000Z"),
    ]
    assert "train" not in found[0].command
    ((machine, auth, pids),) = server.asked("ListProcessesInGuest")
    assert (machine._moId, auth.username, auth.password, pids) == ("vm-1", "ml", "secret", [])
    assert not auth.interactiveSession


def test_the_tasks_that_move_vms_now() -> None:
    server = Server()
    described = {
        "task-1": ("running", "VirtualMachine.relocate"),
        "task-2": ("queued", "VirtualMachine.migrate"),
        "task-3": ("success", "VirtualMachine.relocate"),
        "task-4": ("running", "VirtualMachine.createSnapshot"),
    }
    for number, (moid, (state, description)) in enumerate(described.items(), 1):
        task = server.add(vim.Task, moid, {"info.state": state, "info.descriptionId": description})
        server.add(vim.VirtualMachine, f"vm-{number}", {"recentTask": [task]})
    server.add(vim.VirtualMachine, "vm-5")
    found = session_of(server).moving(iter([f"vm-{number}" for number in range(1, 7)]))
    assert found == {"vm-1": "task-1", "vm-2": "task-2"}


@pytest.mark.parametrize(
    ("task", "hidden", "found"),
    [
        ({"info.descriptionId": "VirtualMachine.relocate"}, ["info.state"], {"vm-1": ""}),
        ({"info.state": "running"}, ["info.descriptionId"], {"vm-1": ""}),
        ({"info.state": "success"}, ["info.descriptionId"], {}),
        (None, ["recentTask"], {"vm-1": ""}),
    ],
)
def test_a_task_that_vcenter_does_not_show_may_move_its_vm(
    task: dict[str, str] | None, hidden: list[str], found: dict[str, str]
) -> None:
    server = Server()
    if task is None:
        server.add(vim.VirtualMachine, "vm-1", {}, hidden)
    else:
        server.add(vim.VirtualMachine, "vm-1", {"recentTask": [server.add(vim.Task, "task-1", task, hidden)]})
    assert session_of(server).moving(["vm-1"]) == found


def test_a_task_that_moves_a_vm_counts_more_than_one_that_is_hidden() -> None:
    server = Server()
    moving = {"info.state": "running", "info.descriptionId": "VirtualMachine.relocate"}
    tasks = [server.add(vim.Task, "task-1", moving), server.add(vim.Task, "task-2", {}, ["info.state"])]
    server.add(vim.VirtualMachine, "vm-1", {"recentTask": tasks})
    assert session_of(server).moving(["vm-1"]) == {"vm-1": "task-1"}


def test_a_host_that_does_not_say_whether_it_is_in_maintenance_mode_is_left_out() -> None:
    server, path = Server(), "runtime.inMaintenanceMode"
    server.add(vim.HostSystem, "host-1", {path: True})
    server.add(vim.HostSystem, "host-2", {path: False})
    server.add(vim.HostSystem, "host-3", {}, [path])
    assert session_of(server).in_maintenance(["host-1", "host-2", "host-3"]) == {"host-1": True, "host-2": False}


# custom attributes


HOME = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "run", "2026-03-01T11:00:00Z")
LEASED = Lease("id", "controller", datetime(2026, 3, 1, 12, tzinfo=UTC))


def attributes(server: Server, *known: str) -> Server:
    """A vCenter that knows these custom attributes."""
    server.fields["CustomFieldsManager", "field"] = [
        SimpleNamespace(key=100 + n, name=name) for n, name in enumerate(known)
    ]
    server.answers |= {
        "AddCustomFieldDef": lambda _manager, name, kind, *_privileges: SimpleNamespace(key=900),
        "SetField": None,
    }
    return server


def written(server: Server) -> list[tuple[str, int, str]]:
    return [(entity._moId, key, value) for entity, key, value in server.asked("SetField")]


def test_a_home_is_written_into_the_attribute_of_its_vm() -> None:
    server = attributes(Server(), "owner", "liveml_home")
    session = session_of(server)
    assert session.record_home(HOME)
    assert session.clear_home("vm-2")
    assert written(server) == [("vm-1", 101, encode_home(HOME)), ("vm-2", 101, "")]
    assert len([1 for method, _moid, _arguments in server.calls if method == "field"]) == 1
    assert server.asked("AddCustomFieldDef") == []


def test_a_home_and_a_lease_are_written_into_the_attribute_of_their_class() -> None:
    server = attributes(Server())
    classes = (vim.HostSystem, None, vim.VirtualMachine)
    server.fields["CustomFieldsManager", "field"] = known = [
        SimpleNamespace(key=100 * n + place, name=name, managedObjectType=of)
        for n, name in enumerate(("liveml_home", "liveml_lease"), 1)
        for place, of in enumerate(classes)
    ]
    session = session_of(server)
    assert session.record_home(HOME)
    assert session.set_lease("host-1", LEASED)
    assert [(moid, key) for moid, key, _value in written(server)] == [("vm-1", 102), ("host-1", 200)]
    of_host = [SimpleNamespace(key=201, value="x"), SimpleNamespace(key=200, value=encode_lease(LEASED))]
    assert leases(known, of_host).lease("host-1") == LEASED


def test_an_attribute_that_vcenter_does_not_know_is_made_once_for_its_class() -> None:
    server = attributes(Server(), "owner")
    session = session_of(server)
    assert session.record_home(HOME)
    assert session.record_home(replace(HOME, vm="vm-2"))
    assert session.set_lease("host-1", LEASED)
    assert [(name, kind) for name, kind, *_further in server.asked("AddCustomFieldDef")] == [
        ("liveml_home", vim.VirtualMachine),
        ("liveml_lease", vim.HostSystem),
    ]
    assert [(entity, key) for entity, key, _value in written(server)] == [("vm-1", 900), ("vm-2", 900), ("host-1", 900)]


@pytest.mark.parametrize("error", [vim.fault.NoPermission(), vmodl.fault.NotSupported(), vmodl.fault.InvalidArgument()])
def test_what_cannot_be_written_is_said(error: Exception) -> None:
    server = attributes(Server(), "liveml_home", "liveml_lease")
    server.answers["SetField"] = error
    session = session_of(server)
    assert not session.record_home(HOME)
    assert not session.clear_home("vm-1")


def leases(fields: Any, values: Any) -> VcenterSession:
    server = Server()
    server.fields["host-1", "availableField"] = fields
    server.fields["host-1", "customValue"] = values
    return session_of(server)


LEASE_FIELD = [SimpleNamespace(key=7, name="owner"), SimpleNamespace(key=8, name="liveml_lease")]


def test_the_lease_of_a_host_is_read_from_its_attribute() -> None:
    value = SimpleNamespace(key=8, value=encode_lease(LEASED))
    assert leases(LEASE_FIELD, [SimpleNamespace(key=7, value="x"), value]).lease("host-1") == LEASED
    assert leases(LEASE_FIELD, [SimpleNamespace(key=8, value="")]).lease("host-1") is None
    assert leases(LEASE_FIELD, []).lease("host-1") is None
    assert leases(LEASE_FIELD[:1], [value]).lease("host-1") is None


def test_a_lease_that_is_given_back_is_an_empty_attribute() -> None:
    server = attributes(Server(), "liveml_lease")
    session = session_of(server)
    assert session.set_lease("host-1", LEASED)
    assert session.set_lease("host-1", None)
    assert written(server) == [("host-1", 100, encode_lease(LEASED)), ("host-1", 100, "")]


# privileges


def granted(server: Server, **lacking: set[str]) -> Server:
    """A vCenter whose user has every privilege but these, by MoID with ``_`` for the hyphen."""
    server.fields["SessionManager", "currentSession"] = SimpleNamespace(key="session-key")

    def answer(_manager: Any, entities: list[Any], session: str, privileges: list[str]) -> list[Any]:
        assert session == "session-key"
        return [
            SimpleNamespace(
                entity=entity,
                privAvailability=[
                    SimpleNamespace(privId=p, isGranted=p not in lacking.get(entity._moId.replace("-", "_"), ()))
                    for p in privileges
                ],
            )
            for entity in entities
        ]

    server.answers["HasPrivilegeOnEntities"] = answer
    return server


def test_a_vm_that_is_deleted_meanwhile_does_not_hide_what_others_lack() -> None:
    server = granted(Server(), vm_1={"Resource.HotMigrate"})
    answer = server.answers["HasPrivilegeOnEntities"]

    def ask(manager: Any, entities: list[Any], *rest: Any) -> Any:
        if "vm-2" in {entity._moId for entity in entities}:
            raise vmodl.fault.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-2", None))
        return answer(manager, entities, *rest)

    server.answers["HasPrivilegeOnEntities"] = ask
    assert session_of(server).missing_to_move(["vm-1", "vm-2", "vm-3"]) == {"vm-1": ("Resource.HotMigrate",)}
    server.answers["HasPrivilegeOnEntities"] = vmodl.fault.SystemError()
    with pytest.raises(CallFailed):
        session_of(server).missing_to_move(["vm-1"])


def test_what_the_user_may_not_do() -> None:
    server = granted(
        Server(),
        vm_2={"Resource.HotMigrate", "Resource.ColdMigrate"},
        vm_3={"Resource.ColdMigrate"},
        ds_1={"Datastore.AllocateSpace"},
        pool_2={"Resource.AssignVMToPool"},
        folder_1={"VirtualMachine.Inventory.Register"},
        host_1={"Host.Config.Maintenance"},
    )
    session = session_of(server)
    assert session.missing_to_move(["vm-1", "vm-2", "vm-3"]) == {
        "vm-2": ("Resource.HotMigrate", "Resource.ColdMigrate"),
        "vm-3": ("Resource.ColdMigrate",),
    }
    assert session.without_space(["ds-1", "ds-2"]) == {"ds-1"}
    assert session.closed_pools(["pool-1", "pool-2"]) == {"pool-2"}
    assert session.closed_folders(["folder-1", "folder-2"]) == {"folder-1"}
    assert session.misses_privilege("host-1", "Host.Config.Maintenance")
    assert not session.misses_privilege("host-1", "System.Read")
    assert not session.misses_privilege("host-2", "Host.Config.Maintenance")
    assert len(server.asked("HasPrivilegeOnEntities")) == 7


def test_networks_of_both_kinds_are_asked_about_in_one_call() -> None:
    server = granted(Server(), dvportgroup_1={"Network.Assign"})
    networks = [Network("network-1", "a"), Network("dvportgroup-1", "b", "DistributedVirtualPortgroup")]
    assert session_of(server).closed_networks(networks) == {"dvportgroup-1"}
    ((entities, _session, _privileges),) = server.asked("HasPrivilegeOnEntities")
    assert {entity._moId: type(entity) for entity in entities} == {
        "network-1": vim.Network,
        "dvportgroup-1": vim.dvs.DistributedVirtualPortgroup,
    }


def test_a_session_that_ended_before_the_privileges_were_asked_is_renewed() -> None:
    """Without a session vCenter would be asked about the privileges of nobody."""
    server = granted(Server())
    session = session_of(server)
    key = server.fields["SessionManager", "currentSession"]
    server.fields["SessionManager", "currentSession"] = None

    def login(*_credentials: Any) -> None:
        server.fields["SessionManager", "currentSession"] = key

    server.answers["Login"] = login
    assert session.without_space(["ds-1"]) == frozenset()
    assert session.client.renewed == 1


def test_a_vm_is_found_by_its_instance_uuid() -> None:
    server = Server()
    server.answers["FindByUuid"] = vim.VirtualMachine("vm-7", None)
    assert session_of(server).vm_with("u7") == "vm-7"
    ((datacenter, uuid, vm_search, instance_uuid),) = server.asked("FindByUuid")
    assert (datacenter, uuid, vm_search, instance_uuid) == (None, "u7", True, True)
    server.answers["FindByUuid"] = None
    assert session_of(server).vm_with("u8") is None


def test_extensions_that_are_not_shown_are_unknown() -> None:
    server = Server()
    server.fields["ExtensionManager", "extensionList"] = [SimpleNamespace(key="com.vmware.hcx")]
    assert session_of(server).extensions() == {"com.vmware.hcx"}
    server.fields["ExtensionManager", "extensionList"] = None
    assert session_of(server).extensions() == frozenset()
    server.fields["ExtensionManager", "extensionList"] = vim.fault.NoPermission()
    assert session_of(server).extensions() is None


# DRS, events and maintenance mode


def ending(server: Server, states: Sequence[Any]) -> None:
    """Tasks end with these states, one for each wait: ``success``, a fault, or ``gone``."""
    left = list(states)

    def wait(_collector: Any, _version: str, _options: Any) -> Any:
        if not left:
            return None
        state = left.pop(0)
        task = vim.Task("task-1", None)
        if state == "gone":
            missing = [SimpleNamespace(obj=task, fault=vmodl.fault.ManagedObjectNotFound())]
            return SimpleNamespace(version="1", filterSet=[SimpleNamespace(objectSet=[], missingSet=missing)])
        fault = state if isinstance(state, Exception) else None
        values = {"info.state": "error" if fault else state, "info.error": fault}
        changed = [SimpleNamespace(name=name, val=value) for name, value in values.items()]
        each = SimpleNamespace(obj=task, kind="modify", changeSet=changed, missingSet=None)
        return SimpleNamespace(version="1", filterSet=[SimpleNamespace(objectSet=[each], missingSet=None)])

    server.answers |= {
        "CreatePropertyCollector": vmodl.query.PropertyCollector("pc", server),
        "CreateFilter": vmodl.query.PropertyCollector.Filter("filter", server),
        "DestroyPropertyFilter": None,
        "WaitForUpdatesEx": wait,
    }


def test_overrides_of_drs_are_added_changed_and_removed() -> None:
    server = Server()
    server.answers["ReconfigureComputeResource_Task"] = add_task(server)
    ending(server, ["running", "success"])
    changes = {
        "vm-1": DrsOverride(enabled=False),
        "vm-2": DrsOverride(behavior=Automation.MANUAL),
        "vm-3": None,
    }
    session_of(server).set_drs_overrides("domain-c1", changes, frozenset({"vm-2", "vm-3"}))
    ((config, modify),) = server.asked("ReconfigureComputeResource_Task")
    assert modify, "everything else of the cluster stays"
    add, edit, remove = config.drsVmConfigSpec
    assert (add.operation, add.info.key._moId, add.info.enabled, add.info.behavior) == ("add", "vm-1", False, None)
    assert (edit.operation, edit.info.enabled, edit.info.behavior) == ("edit", None, "manual")
    assert (remove.operation, remove.removeKey._moId, remove.info) == ("remove", "vm-3", None)
    assert len(server.asked("DestroyPropertyFilter")) == 1


def test_an_override_that_could_not_be_changed_is_an_error() -> None:
    server = Server()
    server.answers["ReconfigureComputeResource_Task"] = add_task(server)
    ending(server, [vim.fault.InvalidState(msg="busy")])
    with pytest.raises(CallFailed, match="InvalidState busy"):
        session_of(server).set_drs_overrides("domain-c1", {"vm-1": None}, frozenset({"vm-1"}))


def test_a_task_that_vcenter_forgot_or_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clock_of(session, monkeypatch)
    server = Server()
    ending(server, ["running", "gone"])
    with pytest.raises(NotFound, match="no longer knows task task-1"):
        session_of(server).wait_for("task-1", 60)
    ending(server, ["running"])
    begun = clock.now
    with pytest.raises(TaskTimeout, match="within 60 s") as error:
        session_of(server).wait_for("task-1", 60)
    assert error.value.last_state == "running"
    assert 60 <= clock.now - begun < 63
    ending(server, [])
    with pytest.raises(TaskTimeout) as error:
        session_of(server).wait_for("task-1", 0)
    assert error.value.last_state == "unknown"
    assert len(server.asked("DestroyPropertyFilter")) == 3


HA = partial(vim.event.EventEx, eventTypeId="com.vmware.vc.ha.VmRestartedByHAEvent")


def files_moved(key: int, source: str) -> Any:
    """The end of a move of files, by somebody else, that ended on host-2."""
    made = event(key, vim.event.VmRelocatedEvent, user="bob")
    made.sourceHost = vim.event.HostEventArgument(name="x", host=vim.HostSystem(source, None))
    return made


def event(key: int, kind: Any = vim.event.VmMigratedEvent, host: str | None = "host-2", user: str = "anna") -> Any:
    argument = vim.event.HostEventArgument(name="x", host=vim.HostSystem(host, None)) if host else None
    made = vim.event.VmMigratedEvent if kind is None else kind
    vm = vim.event.VmEventArgument(name="ml-1", vm=vim.VirtualMachine("vm-1", None))
    return made(key=key, chainId=key, host=argument, userName=user, vm=vm)


@pytest.mark.parametrize(
    ("events", "mover"),
    [
        ([event(2, vim.event.DrsVmMigratedEvent), event(1)], "DRS"),
        ([event(1, vim.event.DrsVmMigratedEvent), event(2)], "anna"),
        ([event(1, host="host-3"), event(2, HA)], "vSphere HA"),
        ([event(2, vim.event.VmRestartedOnAlternateHostEvent)], "vSphere HA"),
        ([event(1), files_moved(2, "host-2")], "anna"),
        ([event(1, host="host-3"), files_moved(2, "host-3")], "bob"),
        ([event(1, host="host-3"), event(2, vim.event.DrsVmPoweredOnEvent)], "DRS"),
        ([event(1), event(2, HA), event(3, vim.event.DrsVmPoweredOnEvent)], "anna"),  # it was there already
        ([event(1), event(2, HA, host="host-3")], ""),
        ([event(1), event(2, host="host-3")], ""),
        ([event(1, host=None)], ""),
        ([event(1, user="")], ""),
        ([], ""),
        (None, ""),
        (vim.fault.NoPermission(), ""),
        (vmodl.fault.InvalidArgument(), ""),
    ],
)
def test_the_last_event_says_who_moved_a_vm_to_a_host(events: Any, mover: str) -> None:
    server = Server()
    server.answers["QueryEvents"] = events
    assert session_of(server).mover("vm-1", "host-2") == mover


GONE, BACK = vim.event.VmDisconnectedEvent, vim.event.ExitMaintenanceModeEvent


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([event(2, GONE), event(1, BACK)], {"vm-1"}),
        ([event(1, GONE), event(2, BACK)], set()),  # what was before its last maintenance does not count any more
        ([], set()),
        (None, set()),
        (vim.fault.NoPermission(), None),
    ],
)
def test_the_vms_that_were_on_a_host_when_vcenter_lost_it(events: Any, found: set[str] | None) -> None:
    server = Server()
    server.answers["QueryEvents"] = events
    assert session_of(server).lost_vms("host-1") == found
    ((query, *_further),) = server.asked("QueryEvents")
    assert (query.entity.entity._moId, query.entity.recursion) == ("host-1", "self")


def chronicle(events: list[Any], *, newest: bool = False) -> Server:
    """A server that shows at most 1,000 events in one answer, as a vCenter does: the oldest ones, or the newest."""
    for seconds, each in enumerate(events):
        each.createdTime = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    def answer(_manager: Any, query: Any, *_further: Any) -> list[Any]:
        found = [each for each in events if query.time is None or each.createdTime >= query.time.beginTime]
        return found[-1000:] if newest else found[:1000]

    server = Server()
    server.answers["QueryEvents"] = answer
    return server


@pytest.mark.parametrize("newest", [False, True])
def test_the_newest_of_more_events_than_vcenter_shows_at_once_says_who_moved_a_vm(newest: bool) -> None:
    events = [event(number, vim.event.DrsVmMigratedEvent) for number in range(2500)]
    server = chronicle([*events, event(2500, user="bob")], newest=newest)
    assert session_of(server).mover("vm-1", "host-2") == "bob"


def test_the_vms_that_a_host_lost_are_read_to_the_newest_event() -> None:
    server = chronicle([*(event(number, GONE) for number in range(1500)), event(1500, BACK)])
    assert session_of(server).lost_vms("host-1") == set()


def test_more_events_of_one_moment_than_vcenter_shows_leave_the_newest_unknown() -> None:
    server = Server()
    server.answers["QueryEvents"] = [event(number) for number in range(1000)]
    for each in server.answers["QueryEvents"]:
        each.createdTime = datetime(2026, 3, 1, tzinfo=UTC)
    assert session_of(server).mover("vm-1", "host-2") == ""
    assert session_of(server).lost_vms("host-1") is None


@pytest.mark.parametrize(
    ("events", "found"), [([event(1, HA)], True), ([], False), (None, False), (vim.fault.NoPermission(), False)]
)
def test_vcenter_is_asked_whether_ha_restarted_a_vm_since_it_was_powered_on(events: Any, found: bool) -> None:
    server = Server()
    server.answers["QueryEvents"] = events
    assert session_of(server).is_restarted_by_ha("vm-1", "2026-03-01T12:00:00.000Z") is found
    ((query, *_further),) = server.asked("QueryEvents")
    assert query.time.beginTime == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert query.entity.entity._moId == "vm-1"
    assert query.eventTypeId == ["com.vmware.vc.ha.VmRestartedByHAEvent", "VmRestartedOnAlternateHostEvent"]


def test_migrations_are_counted_by_vm() -> None:
    server = Server()
    lost = SimpleNamespace(vm=None)
    server.answers["QueryEvents"] = [event(1), event(2, vim.event.DrsVmMigratedEvent), lost]
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert session_of(server).migrations(since) == {"vm-1": 2}
    server.answers["QueryEvents"] = [event(1), files_moved(2, "host-2"), files_moved(3, "host-4"), lost]
    assert session_of(server).migrations(since) == {"vm-1": 2}
    server = Server()
    server.answers["QueryEvents"] = [event(1), event(2)]
    session_of(server).migrations(since)
    ((query, *_further),) = server.asked("QueryEvents")
    assert query.time.beginTime == since
    server.answers["QueryEvents"] = None
    assert session_of(server).migrations(since) == {}


def test_more_events_than_vcenter_shows_are_not_counted_as_all() -> None:
    server = Server()
    server.answers["QueryEvents"] = [event(number) for number in range(1000)]
    with pytest.raises(CallFailed, match="does not show the rest"):
        session_of(server).migrations(datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_the_time_is_that_of_vcenter() -> None:
    server = Server()
    server.answers["CurrentTime"] = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert session_of(server).time() == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_host_enters_maintenance_mode_without_a_time_limit_and_leaves_powered_off_vms() -> None:
    server = Server()
    server.answers["EnterMaintenanceMode_Task"] = add_task(server)
    session = session_of(server)
    assert session.enter_maintenance("host-1") == "task-1"
    session.enter_maintenance("host-1", timeout=60, evacuate_powered_off=True, vsan_mode="noAction")
    first, second = server.asked("EnterMaintenanceMode_Task")
    assert (first[:2], first[2].vsanMode.objectAction) == ([0, False], "ensureObjectAccessibility")
    assert (second[:2], second[2].vsanMode.objectAction) == ([60, True], "noAction")


def maintained(ends: Sequence[Any], maintenance_task: str | None) -> Server:
    server = Server()
    server.answers |= {"ExitMaintenanceMode_Task": add_task(server), "CancelTask": None}
    ending(server, ends)
    session_of(server).end_maintenance(host(1, maintenance_task=maintenance_task), 60)
    return server


@pytest.mark.parametrize(("privilege", "named"), [("Global.CancelTask", "Global.CancelTask"), (None, CANCEL_TASK)])
def test_a_task_that_only_somebody_else_may_cancel_is_not_waited_for(privilege: str | None, named: str) -> None:
    server = Server()
    server.answers["CancelTask"] = vim.fault.NoPermission(privilegeId=privilege)
    with pytest.raises(PermissionMissing, match=r"esx-1 is entering maintenance mode.*task-9") as caught:
        session_of(server).end_maintenance(host(1, maintenance_task="task-9"), 1800)
    assert named in caught.value.hint
    assert "WaitForUpdatesEx" not in {name for name, *_rest in server.calls}


@pytest.mark.parametrize("maintenance_task", ["task-9", None])
def test_a_host_whose_maintenance_mode_does_not_end_is_named(maintenance_task: str | None) -> None:
    server = Server()
    server.answers |= {"ExitMaintenanceMode_Task": add_task(server), "CancelTask": None}
    ending(server, ["running"])
    with pytest.raises(TaskTimeout, match=r"maintenance mode of esx-1 did not end within 0 s \(Task task-\d") as caught:
        session_of(server).end_maintenance(host(1, maintenance_task=maintenance_task), 0.02)
    assert caught.value.hint


def exits(server: Server) -> int:
    return len(server.asked("ExitMaintenanceMode_Task"))


def test_a_host_that_enters_maintenance_mode_is_stopped_and_one_that_is_in_it_leaves_it() -> None:
    assert maintained(["success"], None).asked("ExitMaintenanceMode_Task") == [[0]], "without a time limit"
    stopped = maintained([vim.fault.InvalidState()], "task-1")
    assert (len(stopped.asked("CancelTask")), exits(stopped)) == (1, 0)
    too_late = maintained(["success", "success"], "task-1")
    assert (len(too_late.asked("CancelTask")), exits(too_late)) == (1, 1)
    inside = maintained(["success"], None)
    assert (len(inside.asked("CancelTask")), exits(inside)) == (0, 1)


def test_a_maintenance_mode_that_does_not_end_is_an_error() -> None:
    with pytest.raises(CallFailed, match="The maintenance mode of esx-1 did not end: InvalidState busy"):
        maintained([vim.fault.InvalidState(msg="busy")], None)


def test_what_a_run_hears_of_silence_and_interruption() -> None:
    session = session_of(Server())
    heard: list[float] = []
    session.on_silence(heard.append)
    session.on_interruption(lambda: True)
    session.client.silence.tell(7.0)
    assert heard == [7.0]
    assert session.client.silence.interrupted()
    assert session.notes() == ()


def test_an_estate_without_wanted_profiles_is_not_asked_about_gpus() -> None:
    server = Server()
    world = estate([host(1)], [])
    assert session_of(server).graphics(world, ()) is world
    assert server.calls == []


def test_only_a_vm_of_which_vcenter_says_so_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.add(vim.VirtualMachine, "vm-1", {"runtime.host": vim.HostSystem("host-1", None)})
    server.add(vim.VirtualMachine, "vm-3", {}, ["runtime.host"])
    here = session_of(server)
    assert here.deleted(iter(["vm-1", "vm-2", "vm-3"])) == {"vm-2"}
    for error in (SYSTEM_ERROR, PermissionMissing("no", privilege="System.Read")):

        def fails(_vms: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(here, "placement", fails)
        assert here.deleted(["vm-2"]) == frozenset(), "it is not known"


LOST = ConnectionResetError("reset")
BUSY = vim.fault.InvalidState(msg="busy")


def exiting(
    refusals: list[Exception], monkeypatch: pytest.MonkeyPatch, *, leaves_after: float = 1e9
) -> tuple[Server, Any]:
    """A host in maintenance mode that leaves it after some seconds, and what its first exits are answered."""
    clock = clock_of(session, monkeypatch)
    server, begun = Server(), clock.now
    path = "runtime.inMaintenanceMode"

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now - begun > leaves_after:
            server.add(vim.HostSystem, "host-1", {path: False})

    monkeypatch.setattr(session.time, "sleep", sleep)
    server.add(vim.HostSystem, "host-1", {path: leaves_after > 0})
    server.answers["ExitMaintenanceMode_Task"] = add_task(server)
    server.broken["ExitMaintenanceMode_Task"] = list(refusals)
    ending(server, ["success"])
    return server, clock


def inside(**changes: Any) -> Any:
    return host(1, maintenance=Maintenance.IN, **changes)


def test_a_host_that_was_seen_out_of_maintenance_mode_needs_no_second_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    server, _clock = exiting([LOST], monkeypatch, leaves_after=0)
    session_of(server).end_maintenance(inside(), 60)
    assert exits(server) == 1


def test_an_exit_without_an_answer_is_made_once_more_if_the_host_is_still_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, _clock = exiting([LOST], monkeypatch)
    session_of(server).end_maintenance(inside(), 60)
    assert exits(server) == 2
    server, _clock = exiting([LOST, LOST], monkeypatch)
    with pytest.raises(ConnectError):
        session_of(server).end_maintenance(inside(), 60)


def test_a_host_that_an_earlier_call_takes_out_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    server, clock = exiting([BUSY], monkeypatch, leaves_after=20)
    begun = clock.now
    session_of(server).end_maintenance(inside(), 60)
    assert 20 <= clock.now - begun < 30
    server, clock = exiting([BUSY], monkeypatch)
    begun = clock.now
    with pytest.raises(CallFailed, match="busy"):
        session_of(server).end_maintenance(inside(), 60)
    assert 60 <= clock.now - begun < 63


@pytest.mark.parametrize("refusal", [LOST, BUSY])
def test_a_host_that_is_not_seen_inside_cannot_be_seen_to_leave(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    server, _clock = exiting([refusal], monkeypatch, leaves_after=0)
    with pytest.raises((ConnectError, CallFailed)):
        session_of(server).end_maintenance(host(1), 60)


def entering(state: str, minute: int = 1, **more: Any) -> Row:
    """A task that enters maintenance mode, queued at that minute."""
    what = {"info.state": state, "info.descriptionId": "HostSystem.enterMaintenanceMode"}
    return Row({**what, "info.queueTime": datetime(2026, 1, 31, 9, minute, tzinfo=UTC), **more})


@pytest.mark.parametrize(
    ("own", "later", "found"),
    [
        (entering("queued"), None, (FenceTask.RUNNING, "")),
        (entering("running"), None, (FenceTask.RUNNING, "")),
        (entering("error", **{"info.error": vim.fault.Timedout()}), None, (FenceTask.FAILED, "Timedout")),
        (entering("error"), None, (FenceTask.FAILED, "")),
        (entering("success"), None, (FenceTask.ENTERED, "")),
        (entering("success"), entering("success", 2), (FenceTask.FOLLOWED, "")),
        (entering("success"), entering("success", 0), (FenceTask.ENTERED, "")),
        (entering("success"), entering("error", 2), (FenceTask.ENTERED, "")),
        (
            entering("success"),
            entering("success", 2, **{"info.descriptionId": "HostSystem.reconnect"}),
            (FenceTask.ENTERED, ""),
        ),
        (None, None, (FenceTask.HIDDEN, "")),
        (Row({}, ["info.state"]), None, (FenceTask.HIDDEN, "")),
    ],
)
def test_how_a_task_that_fences_a_host_ended(
    monkeypatch: pytest.MonkeyPatch, own: Row | None, later: Row | None, found: tuple[FenceTask, str]
) -> None:
    rows = {moid: row for moid, row in (("task-1", own), ("task-2", later)) if row is not None}

    def read(_client: Any, kind: str, moids: Any, _paths: Any) -> dict[str, Row]:
        if kind == "HostSystem":
            return {"host-1": Row({"recentTask": [SimpleNamespace(_moId=moid) for moid in rows]})}
        if moids == ("task-1",) and own is None:
            raise CallFailed("gone", fault="ManagedObjectNotFound")
        return {moid: rows[moid] for moid in moids}

    monkeypatch.setattr(inventory, "read_objects", read)
    assert inventory.read_fence_task(None, "host-1", "task-1") == found  # type: ignore[arg-type]
