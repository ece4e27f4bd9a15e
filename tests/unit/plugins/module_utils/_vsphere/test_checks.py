# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vCenter's checks of moves found: a check that failed or says nothing is never taken for one that found nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, TaskTimeout
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import checks as subject
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.checks import (
    CHECK_SECONDS,
    read_checks,
    together,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Checked
from pyVmomi import vim, vmodl

from tests.doubles.run import Clock
from tests.doubles.stub import Server, clock_of


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clock_of(subject, monkeypatch)


def fault(kind: Any, message: str | None = None) -> Any:
    return kind(msg=message)


def result(vm: str | None, host: str | None, errors: list[Any] | None = None, warnings: list[Any] | None = None) -> Any:
    return vim.vm.check.Result(
        vm=vim.VirtualMachine(vm, None) if vm else None,
        host=vim.HostSystem(host, None) if host else None,
        error=errors or [],
        warning=warnings or [],
    )


def ended(*results: Any) -> dict[str, Any]:
    return {"info.state": "success", "info.result": list(results)}


def test_what_a_check_found_is_by_vm_and_host() -> None:
    server = Server()
    fast, slow = fault(vim.fault.InvalidState, "not now"), fault(vim.fault.TooManyHosts)
    server.add(
        vim.Task,
        "task-1",
        ended(result("vm-1", "host-1", [fast, slow, fast]), result("vm-1", "host-2", None, [slow]), result(None, None)),
    )
    server.add(vim.Task, "task-2", ended(result("vm-2", None)))
    assert read_checks(server.client(), ["task-1", "task-2"]) == {
        "task-1": {
            ("vm-1", "host-1"): Checked(("InvalidState (not now)", "TooManyHosts")),
            ("vm-1", "host-2"): Checked((), ("TooManyHosts",)),
            ("", ""): Checked(),
        },
        "task-2": {("vm-2", ""): Checked()},
    }


def test_a_message_that_says_the_same_as_the_name_is_left_out() -> None:
    server = Server()
    found = [fault(vim.fault.InvalidState, "vim.fault.InvalidState"), fault(vim.fault.TooManyHosts, "")]
    server.add(vim.Task, "task-1", ended(result("vm-1", "host-1", found)))
    (checked,) = read_checks(server.client(), ["task-1"])["task-1"].values()
    assert checked.errors == ("InvalidState", "TooManyHosts")


@pytest.mark.parametrize(
    ("properties", "unreadable", "name"),
    [
        ({"info.state": "error", "info.error": vmodl.fault.NotSupported()}, [], "NotSupported"),
        ({"info.state": "success"}, ["info.result"], "Unreadable"),
        ({}, ["info.state", "info.error", "info.result"], "Unreadable"),
        ({"info.state": "success"}, [], "NoResult"),
        ({"info.state": "success", "info.result": []}, [], "NoResult"),
        (None, [], "Unreadable"),
    ],
)
def test_a_check_without_a_result_is_an_error(
    properties: dict[str, Any] | None, unreadable: list[str], name: str
) -> None:
    server = Server()
    server.add(vim.Task, "task-0", ended(result("vm-1", "host-1")))
    if properties is not None:
        server.add(vim.Task, "task-1", properties, unreadable)
    with pytest.raises(CallFailed) as error:
        read_checks(server.client(), ["task-0", "task-1"])
    assert error.value.fault == name


def test_checks_are_read_again_until_all_have_ended(clock: Clock) -> None:
    server = Server()
    server.add(vim.Task, "task-0", ended(result("vm-1", "host-1")))
    server.add(vim.Task, "task-1", {"info.state": "running"})
    read, left = server.answers["RetrievePropertiesEx"], [5]

    def answer(collector: Any, specs: Any, options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            server.add(vim.Task, "task-1", ended(result("vm-2", "host-1")))
        return read(collector, specs, options)

    server.answers["RetrievePropertiesEx"] = answer
    assert read_checks(server.client(), ["task-0", "task-1"]).keys() == {"task-0", "task-1"}
    assert left == [0]


def test_a_check_that_does_not_end_is_given_up_after_its_time_and_not_asked_for_all_the_time(clock: Clock) -> None:
    server = Server()
    server.add(vim.Task, "task-1", {"info.state": "queued"})
    begun = clock.now
    with pytest.raises(TaskTimeout):
        read_checks(server.client(), ["task-1"])
    asked = len(server.asked("RetrievePropertiesEx"))
    assert CHECK_SECONDS <= clock.now - begun < CHECK_SECONDS + 2
    assert CHECK_SECONDS < asked < 2 * CHECK_SECONDS


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.3])
def test_a_short_check_is_not_waited_for_much_longer_than_it_takes(clock: Clock, seconds: float) -> None:
    server = Server()
    server.add(vim.Task, "task-1", {"info.state": "running"})
    read, begun = server.answers["RetrievePropertiesEx"], clock.now

    def answer(collector: Any, specs: Any, options: Any) -> Any:
        if clock.now > begun + seconds:
            server.add(vim.Task, "task-1", ended(result("vm-2", "host-1")))
        return read(collector, specs, options)

    server.answers["RetrievePropertiesEx"] = answer
    read_checks(server.client(), ["task-1"])
    assert clock.now - begun <= 2 * seconds + 0.1


def test_results_of_one_move_are_put_together() -> None:
    found = together(iter([Checked(("a", "b"), ("w",)), Checked(("b", "c"), ("w", "v")), Checked()]))
    assert found == Checked(("a", "b", "c"), ("w", "v"))
