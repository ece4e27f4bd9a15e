# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``host_maintenance`` against a vCenter whose host changes between reading and asking."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    RunBusy,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.lease import owner_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    Estate,
    FenceTask,
    HostState,
    Maintenance,
    Power,
    VcenterInfo,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease
from ansible_collections.liveml.vsphere.plugins.modules.host_maintenance import blocking_vms, body

from tests.builders.estates import vm

OPTIONS = {
    "host": "esx-1",
    "state": "maintenance",
    "evacuate_powered_off": False,
    "vsan_mode": "ensureObjectAccessibility",
    "wait_timeout": 1,
    "state_dir": "/nonexistent/state",
    "lock_timeout": 0.0,
}
NORMAL, ENTERING = Maintenance.NORMAL, Maintenance.ENTERING
MODULE = SimpleNamespace(params=OPTIONS, check_mode=False, warn=pytest.fail)


class Changing:
    """Each reading shows the next of ``readings``; every call for maintenance mode is one too late."""

    def __init__(self, *readings: Maintenance) -> None:
        self.readings = list(readings)
        self.watched: list[float] = []
        self.arrives = False

    def estate_of_hosts(self) -> Estate:
        return self.estate()

    def estate(self) -> Estate:
        host = HostState(
            moid="host-1", name="esx-1", cluster="c", cluster_name="c", datacenter="dc", fault_domain="a",
            connection=Connection.CONNECTED, maintenance=self.readings.pop(0), memory_bytes=1, memory_used_bytes=0,
            cpu_mhz=1, cpu_used_mhz=0,
        )  # fmt: skip
        return Estate(VcenterInfo("vc", "uuid", "8.0.3", True), {"host-1": host}, {}, {}, {})

    def misses_privilege(self, host: str, privilege: str) -> bool:
        return False

    def lease(self, host: str) -> Lease | None:
        return None

    def watch_maintenance(self, host: str, inside: bool, timeout: float) -> bool:
        assert (host, inside) == ("host-1", True)
        self.watched.append(timeout)
        return self.arrives

    def enter_maintenance(self, host: str, **_options: object) -> str:
        raise CallFailed("vCenter could not enter maintenance mode", fault="InvalidState")


def test_a_host_that_arrived_meanwhile_is_in_maintenance() -> None:
    told = body(MODULE, Changing(Maintenance.NORMAL, Maintenance.IN))
    assert (told["maintenance"], told["changed"]) == ("in", False)


class Accepting(Changing):
    """It accepts the call, and its task is as ``ends`` says when it is looked at."""

    ends = (FenceTask.RUNNING, "")

    def enter_maintenance(self, host: str, **_options: object) -> str:
        return "task-1"

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        assert (host, task) == ("host-1", "task-1")
        return self.ends


def test_a_host_whose_fence_fails_at_once_is_not_said_to_be_fenced() -> None:
    module = SimpleNamespace(params={**OPTIONS, "state": "fenced"}, check_mode=False, warn=pytest.fail)
    vcenter = Accepting(Maintenance.NORMAL)
    assert body(module, vcenter)["maintenance"] == "entering"
    vcenter = Accepting(Maintenance.NORMAL)
    vcenter.ends = (FenceTask.FAILED, "InsufficientFailoverResourcesFault")
    with pytest.raises(
        CallFailed, match=r"esx-1 could not be fenced: its maintenance mode ended at once \(InsufficientF"
    ):
        body(module, vcenter)


class Lost(Changing):
    """The answer to the call for maintenance mode is lost."""

    def enter_maintenance(self, host: str, **_options: object) -> str:
        raise ConnectError("the connection to vCenter was lost")


def test_the_host_shows_whether_a_call_without_an_answer_was_carried_out() -> None:
    result = body(MODULE, Lost(Maintenance.NORMAL, Maintenance.IN))
    assert (result["maintenance"], result["changed"]) == ("in", True)


def test_a_call_that_never_gets_an_answer_is_an_error() -> None:
    with pytest.raises(ConnectError):
        body(MODULE, Lost(Maintenance.NORMAL, Maintenance.NORMAL))


class Busy(Changing):
    """Another controller carries out a run for the host."""

    owner = "other"

    def lease(self, host: str) -> Lease | None:
        return Lease(self.owner, "other.example.com", datetime.now(UTC) + timedelta(seconds=60))

    def time(self) -> datetime:
        return datetime.now(UTC)

    def enter_maintenance(self, host: str, **_options: object) -> str:
        raise AssertionError("nothing is changed")

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        assert self.owner != "other"


@pytest.mark.parametrize(
    ("state", "mode"),
    [("maintenance", NORMAL), ("fenced", NORMAL), ("normal", ENTERING), ("normal", Maintenance.IN)],
)
@pytest.mark.parametrize("check", [False, True])
def test_the_fence_of_a_run_of_another_controller_is_left_alone(state: str, mode: Maintenance, check: bool) -> None:
    module = SimpleNamespace(params={**OPTIONS, "state": state}, check_mode=check, warn=pytest.fail)
    with pytest.raises(RunBusy, match=r"Another controller \(other\.example\.com\) carries out a run for esx-1"):
        body(module, Busy(mode))


def test_a_lease_that_a_killed_run_of_this_controller_left_is_no_obstacle(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    vcenter = Busy(Maintenance.IN)
    vcenter.owner = owner_of(state)
    module = SimpleNamespace(
        params={**OPTIONS, "state": "normal", "state_dir": str(tmp_path)}, check_mode=False, warn=pytest.fail
    )
    assert body(module, vcenter)["changed"]


def test_a_run_of_this_machine_is_waited_for(tmp_path: Path) -> None:
    state, warnings = state_path(str(tmp_path)), list[str]()
    params = {**OPTIONS, "state": "normal", "state_dir": str(tmp_path)}
    module = SimpleNamespace(params=params, check_mode=False, warn=warnings.append)
    with run_lock(state, run_key("uuid", "host-1"), timeout=0), pytest.raises(RunBusy, match="carries out a run for"):
        body(module, Changing(Maintenance.ENTERING))
    holds = threading.Event()

    def hold() -> None:
        with run_lock(state, run_key("uuid", "host-1"), timeout=0):
            holds.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    params["lock_timeout"] = 60.0
    # The run lifts its fence at its end, so the host is read again.
    assert not body(module, Changing(Maintenance.ENTERING, Maintenance.NORMAL))["changed"]
    thread.join()
    assert "still carries out a run for this host" in warnings[0]


class LateAnswer(Lost):
    """It shows the fence that the lost call has begun, and no end of its task."""

    def estate(self) -> Estate:
        estate = super().estate()
        host = estate.hosts["host-1"]
        task = "task-1" if host.maintenance is Maintenance.ENTERING else None
        return replace(estate, hosts={"host-1": replace(host, maintenance_task=task)})

    def wait_for(self, task: str, timeout: float) -> None:
        raise TaskTimeout("it did not end", last_state="running")


@pytest.mark.parametrize(
    ("readings", "own"),
    [
        ((NORMAL, ENTERING, ENTERING), True),  # only the answer to the call was lost
        ((NORMAL, NORMAL), True),  # it may be carried out yet
        ((ENTERING, ENTERING), False),  # somebody else's
    ],
)
def test_the_fence_of_a_call_without_an_answer_is_that_of_the_call(
    readings: tuple[Maintenance, ...], own: bool
) -> None:
    """So that the role lifts it after a failure."""
    with pytest.raises((TaskTimeout, ConnectError)) as failed:
        body(MODULE, LateAnswer(*readings))
    assert failed.value.fenced is own


NEVER = (Maintenance.NORMAL,) * 4
UNKNOWN = "whether esx-1 is fenced is unknown: vCenter answered InvalidState when it was to fence it"


def test_a_host_that_shows_no_task_is_watched_until_it_is_in_maintenance_mode() -> None:
    vcenter = Changing(*NEVER)
    vcenter.arrives = True
    result = body(MODULE, vcenter)
    assert (result["maintenance"], result["changed"], vcenter.watched) == ("in", False, [1])
    assert result["diff"]["before"] == result["diff"]["after"]


def test_a_host_that_shows_nothing_may_be_fenced() -> None:
    with pytest.raises(TaskTimeout, match=UNKNOWN) as late:
        body(MODULE, Changing(*NEVER))
    assert "esx-1 did not enter maintenance mode within 1 s" in late.value.message
    assert late.value.fence_unknown
    vcenter = Changing(*NEVER)
    with pytest.raises(CallFailed, match=f"could not enter maintenance mode; {UNKNOWN}") as refused:
        body(SimpleNamespace(params={**OPTIONS, "state": "fenced"}, check_mode=False, warn=pytest.fail), vcenter)
    assert refused.value.fence_unknown
    assert vcenter.watched == []


def test_a_task_that_shows_at_last_is_followed() -> None:
    fenced = SimpleNamespace(params={**OPTIONS, "state": "fenced"}, check_mode=False, warn=pytest.fail)
    seen = (Maintenance.NORMAL, Maintenance.NORMAL, Maintenance.ENTERING, Maintenance.ENTERING)
    assert body(fenced, Changing(*seen))["maintenance"] == "entering"


@pytest.mark.parametrize("state", ["normal", "fenced", "maintenance"])
def test_a_host_whose_mode_is_hidden_is_not_said_to_be_in_service(state: str) -> None:
    class Hidden(Changing):
        def estate(self) -> Estate:
            return replace(super().estate(), unreadable={"host-1": frozenset({"runtime.inMaintenanceMode"})})

    module = SimpleNamespace(params={**OPTIONS, "state": state}, check_mode=False, warn=pytest.fail)
    with pytest.raises(CallFailed, match="does not show whether esx-1 is in maintenance mode"):
        body(module, Hidden(Maintenance.NORMAL))  # type: ignore[arg-type]


def test_vms_whose_host_is_hidden_may_be_on_the_host() -> None:
    estate = replace(Changing(Maintenance.NORMAL).estate(), vms={"vm-1": vm(1), "vm-2": replace(vm(2), host="")})
    estate = replace(estate, unreadable={"vm-2": frozenset({"runtime.host"})})
    assert blocking_vms(estate, estate.hosts["host-1"]) == "ml-1; vCenter does not show the host of ml-2"
    nobody = replace(estate, vms={"vm-2": estate.vms["vm-2"]})
    assert blocking_vms(nobody, estate.hosts["host-1"]).startswith("none that is shown; ")
    dark = replace(estate, vms={**estate.vms, "vm-3": replace(vm(3), power=Power.UNKNOWN)})
    assert blocking_vms(dark, estate.hosts["host-1"]) == (
        "ml-1; vCenter does not show whether ml-3 is powered on, and not the host of ml-2"
    )
