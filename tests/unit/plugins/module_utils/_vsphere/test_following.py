# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is heard of tasks and VMs, and that nothing is lost when the session or the connection ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, ConnectError
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import following as subject
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Silence
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.following import Following
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Fault, PlacementUpdate, TaskUpdate
from pyVmomi import vim, vmodl

from tests.doubles.run import Clock
from tests.doubles.stub import Missing, Server, clock_of

TASK, VM, HOST = vim.Task("task-1", None), vim.VirtualMachine("vm-1", None), vim.HostSystem("host-2", None)
GONE = vmodl.fault.ManagedObjectNotFound()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clock_of(subject, monkeypatch)


class Listening:
    """A vCenter that sends scripted changes, each once; later it has nothing to say, and a wait takes its time."""

    def __init__(self, clock: Clock, *answers: Any) -> None:
        self.server, self.answers, self.clock, self.filters = Server(), list(answers), clock, 0
        self.server.answers |= {
            "CreatePropertyCollector": lambda _collector: vmodl.query.PropertyCollector("pc-1", self.server),
            "CreateFilter": self.make_filter,
            "DestroyPropertyFilter": None,
            "WaitForUpdatesEx": self.wait,
        }
        self.client = self.server.client()
        self.client.silence = Silence(300, clock=clock, sleep=clock.sleep)
        self.following = Following(self.client)

    def make_filter(self, *_arguments: Any) -> Any:
        self.filters += 1
        return vmodl.query.PropertyCollector.Filter(f"filter-{self.filters}", self.server)

    def wait(self, _collector: Any, _version: str, options: Any) -> Any:
        if not self.answers:
            self.clock.sleep(options.maxWaitSeconds)
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def followed(self) -> list[set[str]]:
        """The objects of each filter that are heard."""
        specs = [spec for spec, _partial in self.server.asked("CreateFilter")]
        return [{each.obj._moId for each in spec.objectSet if not each.skip} for spec in specs]


def changes(*objects: Any, gone: tuple[Any, ...] = (), version: str = "1") -> Any:
    missing = [SimpleNamespace(obj=each, fault=GONE) for each in gone]
    return SimpleNamespace(version=version, filterSet=[SimpleNamespace(objectSet=list(objects), missingSet=missing)])


def change(obj: Any, kind: str = "modify", missing: Any = None, **values: Any) -> Any:
    named = [SimpleNamespace(name=name.replace("__", "."), val=value) for name, value in values.items()]
    return SimpleNamespace(obj=obj, kind=kind, changeSet=named, missingSet=missing)


def heard(clock: Clock, *answers: Any) -> tuple[Any, ...]:
    world = Listening(clock, *answers)
    world.following.follow("task-1", "vm-1")
    return world.following.updates(5)


def test_a_task_and_its_vm_are_heard(clock: Clock) -> None:
    running = change(TASK, info__state="running", info__progress=40)
    moved = change(VM, runtime__host=HOST, runtime__powerState="poweredOn")
    assert heard(clock, changes(running, moved)) == (
        TaskUpdate("task-1", "running", percent=40),
        PlacementUpdate("vm-1", "host-2", Power.ON),
    )


def test_a_task_of_which_nothing_is_known_yet_is_queued(clock: Clock) -> None:
    assert heard(clock, changes(change(TASK))) == (TaskUpdate("task-1", "queued", None, False, None),)


def test_a_move_that_failed_or_was_cancelled_says_so(clock: Clock) -> None:
    error = vim.fault.TaskInProgress(msg="busy\x1b")
    (update,) = heard(clock, changes(change(TASK, info__state="error", info__error=error, info__cancelled=True)))
    assert update == TaskUpdate("task-1", "error", None, True, Fault("TaskInProgress", "busy "))


def test_a_long_message_is_cut_and_a_missing_one_is_empty(clock: Clock) -> None:
    for message, length in (("x" * 1000, 300), (None, 0)):
        (update,) = heard(clock, changes(change(TASK, info__error=vim.fault.TaskInProgress(msg=message))))
        assert len(update.fault.message) == length


def test_a_missing_permission_names_the_privilege(clock: Clock) -> None:
    for privilege, words in (("Resource.HotMigrate", "missing privilege Resource.HotMigrate"), (None, "denied")):
        error = vim.fault.NoPermission(msg="denied", **({"privilegeId": privilege} if privilege else {}))
        (update,) = heard(clock, changes(change(TASK, info__error=error)))
        assert update.fault == Fault("NoPermission", words)


def test_later_changes_of_a_task_keep_what_was_said_before(clock: Clock) -> None:
    world = Listening(clock, changes(change(TASK, info__state="running", info__progress=10)))
    world.following.follow("task-1")
    world.following.updates(5)
    world.answers = [
        changes(change(TASK, info__progress=20), version="2"),
        changes(change(TASK, info__state="success")),
    ]
    assert world.following.updates(5) == (TaskUpdate("task-1", "running", 20),)
    assert world.following.updates(5) == (TaskUpdate("task-1", "success", 20),)
    assert [version for version, _options in world.server.asked("WaitForUpdatesEx")] == ["", "1", "2"]


@pytest.mark.parametrize("answer", [changes(gone=(TASK, VM)), changes(change(TASK, "leave"), change(VM, "leave"))])
def test_what_vcenter_no_longer_knows_is_gone(clock: Clock, answer: Any) -> None:
    assert heard(clock, answer) == (TaskUpdate("task-1", "gone"), PlacementUpdate("vm-1", None))


def test_an_object_that_may_not_be_read_is_not_gone(clock: Clock) -> None:
    denied = SimpleNamespace(obj=TASK, fault=vim.fault.NoPermission())
    answer = SimpleNamespace(version="1", filterSet=[SimpleNamespace(objectSet=None, missingSet=[denied])])
    assert heard(clock, answer) == ()


def test_a_vm_whose_host_is_not_said_has_not_moved(clock: Clock) -> None:
    assert heard(clock, changes(change(VM, runtime__powerState="poweredOff"))) == ()
    assert heard(clock, changes(change(VM, runtime__host=HOST))) == (PlacementUpdate("vm-1", "host-2", None),)


def test_waiting_ends_after_its_time(clock: Clock) -> None:
    world, begun = Listening(clock), clock.now
    assert world.following.updates(5) == ()
    assert 5 <= clock.now - begun < 6
    assert len(world.server.asked("WaitForUpdatesEx")) == 1


@pytest.mark.parametrize(("timeout", "longest"), [(0, 0.2), (0.5, 0.7), (0.05, 0.2)])
def test_a_short_wait_asks_without_making_vcenter_wait(clock: Clock, timeout: float, longest: float) -> None:
    world, begun = Listening(clock), clock.now
    assert world.following.updates(timeout) == ()
    assert timeout <= clock.now - begun <= longest
    assert {options.maxWaitSeconds for _version, options in world.server.asked("WaitForUpdatesEx")} == {0}
    assert len(world.server.asked("WaitForUpdatesEx")) <= 8


def test_what_happens_during_a_short_wait_is_heard_soon(clock: Clock) -> None:
    world, begun = Listening(clock), clock.now

    def wait(_collector: Any, _version: str, _options: Any) -> Any:
        return changes(change(TASK, info__state="success")) if clock.now > begun + 0.2 else None

    world.server.answers["WaitForUpdatesEx"] = wait
    assert world.following.updates(0.9) == (TaskUpdate("task-1", "success"),)
    assert clock.now - begun < 0.5


def test_a_task_is_followed_once(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1", "vm-1")
    world.following.follow("task-1", "vm-1")
    world.following.follow("task-2")
    assert world.followed() == [{"task-1", "vm-1"}, {"task-2"}]
    assert len(world.server.asked("CreatePropertyCollector")) == 1


def test_a_task_that_is_unknown_already_is_reported_and_does_not_refuse_the_filter(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1", "vm-1")
    ((spec, partial),) = world.server.asked("CreateFilter")
    assert spec.reportMissingObjectsInResults
    assert not partial


def test_a_task_that_ended_is_followed_no_longer(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1")
    world.following.unfollow("task-1")
    world.following.unfollow("task-1")
    world.following.unfollow("never followed")
    assert len(world.server.asked("DestroyPropertyFilter")) == 1


@pytest.mark.parametrize(("fault", "raises"), [(GONE, False), (vim.fault.InvalidState(), True)])
def test_a_filter_that_is_gone_already_needs_no_end(clock: Clock, fault: Exception, raises: bool) -> None:
    world = Listening(clock)
    world.following.follow("task-1")
    world.server.answers["DestroyPropertyFilter"] = fault
    if not raises:
        world.following.unfollow("task-1")
        return
    with pytest.raises(CallFailed):
        world.following.unfollow("task-1")


def test_in_a_new_session_all_filters_are_made_again(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1", "vm-1")
    world.following.follow("task-2")
    world.client.renew()
    world.answers = [changes(change(TASK, info__state="running"))]
    assert world.following.updates(5) == (TaskUpdate("task-1", "running"),)
    assert world.followed()[2:] == [{"task-1", "vm-1"}, {"task-2"}]
    assert world.server.asked("WaitForUpdatesEx")[-1][0] == ""


def test_a_filter_of_an_old_session_is_not_ended(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1")
    world.client.renew()
    world.following.unfollow("task-1")
    assert world.server.asked("DestroyPropertyFilter") == []


def test_a_session_that_ends_while_waiting_loses_nothing(clock: Clock) -> None:
    """The wait logs in again, and then the collector of the old session does not exist any more."""
    world = Listening(clock, vim.fault.NotAuthenticated(), GONE, changes(change(TASK, info__state="success")))
    world.following.follow("task-1")
    assert world.following.updates(5) == (TaskUpdate("task-1", "success"),)
    assert world.followed() == [{"task-1"}, {"task-1"}]


def test_a_wait_that_fails_in_a_living_session_is_an_error(clock: Clock) -> None:
    with pytest.raises(CallFailed):
        heard(clock, vim.fault.InvalidState())


def test_a_session_that_ends_while_a_task_is_followed_gets_all_filters(clock: Clock) -> None:
    world = Listening(clock)
    world.following.follow("task-1")
    world.server.broken["CreateFilter"] = [vim.fault.NotAuthenticated(), GONE]
    world.following.follow("task-2")
    assert world.followed()[-2:] == [{"task-1"}, {"task-2"}]
    world.server.broken["CreateFilter"] = [vim.fault.InvalidState()]
    with pytest.raises(CallFailed):
        world.following.follow("task-3")


def test_a_session_whose_properties_are_all_missing_is_renewed(clock: Clock) -> None:
    missing = [Missing(path="info.state", fault=vim.fault.NotAuthenticated())]
    world = Listening(clock, changes(change(TASK, missing=missing)), changes(change(TASK, info__state="success")))
    world.following.follow("task-1")
    assert world.following.updates(5) == (TaskUpdate("task-1", "success"),)
    assert world.client.renewed == 1


def test_a_property_that_may_not_be_read_does_not_end_the_session(clock: Clock) -> None:
    missing = [Missing(path="info.error", fault=vim.fault.NoPermission())]
    assert heard(clock, changes(change(TASK, missing=missing, info__state="success"))) == (
        TaskUpdate("task-1", "success"),
    )


def test_a_broken_connection_is_borne_for_its_patience_only(clock: Clock) -> None:
    world = Listening(clock, ConnectionResetError("reset"), changes(change(TASK, info__state="success")))
    world.following.follow("task-1")
    assert world.following.updates(5) == (TaskUpdate("task-1", "success"),)
    assert clock.now < 3
    world.answers = [ConnectionResetError("reset")] * 2000
    begun = clock.now
    with pytest.raises(ConnectError):
        world.following.updates(1000)
    assert clock.now - begun == pytest.approx(300, abs=5)
    assert len(world.server.asked("WaitForUpdatesEx")) > 250
