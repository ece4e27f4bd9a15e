# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``Vsphere``: the Vcenter port over pyVmomi. One session, one PropertyCollector, one update loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from .._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
)
from .._core.untrusted import text
from .client import Client
from .estate import Alarm, Estate, HostState, Power
from .guest import (
    GuestLogin,
    GuestProcess,
    command_digest,
    matches_pattern,
)
from .home_attribute import ATTRIBUTE, Home, encode_home
from .inventory import (
    MOVING_TASKS,
    TASK_PATHS,
    iso_time,
    read_alarms,
    read_devices,
    read_estate,
    read_objects,
    read_placement,
    read_power_on,
)
from .news import (
    Fault,
    PlacementUpdate,
    TaskUpdate,
    Update,
)

try:
    from pyVmomi import vim, vmodl
except ImportError:
    pass

FOLLOWED = {
    "Task": ["info.state", "info.progress", "info.error", "info.cancelled"],
    "VirtualMachine": ["runtime.host", "runtime.powerState"],
}
PATIENCE_SECONDS = 60.0  # without any answer, until a connection counts as broken
_ENDED = ("success", "error")
T = TypeVar("T")


def patiently(read: Callable[[], T], patience: float = PATIENCE_SECONDS) -> T:
    """Read again while the connection breaks: moves go on meanwhile, and where their VMs are is what counts.

    Raises ConnectError after ``patience`` seconds; LoginRefused at once.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return read()
        except LoginRefused:
            raise
        except ConnectError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(1.0, patience / 10))


class Vsphere:
    """What the executor and the modules ask of one vCenter."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._collector: Any = None
        self._version = ""
        self._logins = client.renewed
        self._heard = 0.0
        self._followed: dict[str, tuple[str | None, Any]] = {}  # task -> its VM and its property filter
        self._tasks: dict[str, dict[str, Any]] = {}
        self._field: int | None = None

    def estate(
        self,
        *,
        devices_of_vms: Iterable[str] = (),
        fault_domains: Mapping[str, str] | None = None,
    ) -> Estate:
        """See the port."""
        return read_estate(
            self._client,
            devices_of_vms=devices_of_vms,
            fault_domains=fault_domains,
        )

    def devices(self, estate: Estate, vms: Iterable[str]) -> Estate:
        """See the port."""
        return read_devices(self._client, estate, vms)

    def alarms(self, hosts: Iterable[str]) -> dict[str, tuple[Alarm, ...]]:
        """The triggered alarms of hosts (MoIDs)."""
        return read_alarms(self._client, tuple(hosts))

    def relocate(self, vm: str, host: str, *, pool: str | None, priority: str) -> str:
        """See the port. Resource pool and folder are left unset, so the VM keeps them."""
        spec = vim.vm.RelocateSpec(host=self._client.reference("HostSystem", host))
        if pool is not None:
            spec.pool = self._client.reference("ResourcePool", pool)
        machine = self._client.reference("VirtualMachine", vm)
        task = self._client.call("move the VM", lambda: machine.RelocateVM_Task(spec=spec, priority=priority))
        return str(task._moId)

    def cancel(self, task: str) -> None:
        """See the port."""
        reference = self._client.reference("Task", task)
        try:
            self._client.call("cancel the task", reference.CancelTask)
        except CallFailed as error:
            if error.fault not in ("InvalidState", "NotSupported", "ManagedObjectNotFound"):
                raise
        except PermissionMissing:
            pass  # then it ends by itself, or is given up

    # following

    def follow(self, task: str, vm: str | None = None) -> None:
        """See the port. One property filter a task, which lasts until ``unfollow``."""
        self._renew_collector()
        if not self._followed:
            self._heard = time.monotonic()
        if task not in self._followed:
            self._followed[task] = (vm, None)
            self._add_filter(task)

    def unfollow(self, task: str) -> None:
        """See the port."""
        _vm, filtering = self._followed.pop(task, (None, None))
        self._tasks.pop(task, None)
        if filtering is None or self._logins != self._client.renewed:
            return  # filters die with the session that made them
        try:
            self._client.call("stop following a task", filtering.DestroyPropertyFilter)
        except CallFailed as error:
            if error.fault != "ManagedObjectNotFound":
                raise

    def _renew_collector(self) -> None:
        """Filters die with the session that made them."""
        if self._collector is not None and self._logins == self._client.renewed:
            return
        self._collector = self._client.call(
            "follow tasks", self._client.content.propertyCollector.CreatePropertyCollector
        )
        self._logins, self._version = self._client.renewed, ""
        self._heard = time.monotonic()
        for task in list(self._followed):
            self._add_filter(task)

    def _add_filter(self, task: str) -> None:
        query = vmodl.query.PropertyCollector
        vm, _filter = self._followed[task]
        objects = [("Task", task)] if vm is None else [("Task", task), ("VirtualMachine", vm)]
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=self._client.reference(*each), skip=False) for each in objects],
            propSet=[
                query.PropertySpec(type=getattr(vim, kind), pathSet=FOLLOWED[kind], all=False)
                for kind, _moid in objects
            ],
        )
        logins = self._client.renewed
        try:
            made = self._client.call("follow a task", lambda: self._collector.CreateFilter(spec, False))
        except CallFailed:
            if self._client.renewed == logins:
                raise
            self._renew_collector()  # the collector died with the session; a new one gets all filters
        else:
            self._followed[task] = (vm, made)

    def updates(self, timeout: float) -> tuple[Update, ...]:
        """See the port."""
        deadline = time.monotonic() + timeout
        while True:
            self._renew_collector()
            found = self._wait(0 if timeout < 1 else round(timeout))
            if found or time.monotonic() >= deadline:
                return found
            if timeout < 1:
                time.sleep(min(0.1, timeout))

    def _wait(self, seconds: int) -> tuple[Update, ...]:
        query: Any = vmodl.query.PropertyCollector
        options = query.WaitOptions(maxWaitSeconds=seconds)
        logins = self._client.renewed
        try:
            change = self._client.call(
                "wait for news", lambda: self._collector.WaitForUpdatesEx(self._version, options)
            )
        except CallFailed:
            if self._client.renewed == logins:
                raise
            return ()  # the session was renewed; the next call builds the filters anew
        except LoginRefused:
            raise
        except ConnectError:
            if time.monotonic() - self._heard > PATIENCE_SECONDS:
                raise
            time.sleep(1)
            return ()  # a question that waits long may break; nothing is lost by asking again
        self._heard = time.monotonic()
        if change is None:
            return ()
        self._version = change.version
        return tuple(u for s in change.filterSet for o in s.objectSet or () if (u := self._news(o)) is not None)

    def _news(self, change: Any) -> Update | None:
        moid = change.obj._moId
        values = {c.name: c.val for c in change.changeSet or ()}
        if isinstance(change.obj, vim.Task):
            if change.kind == "leave":
                return TaskUpdate(moid, "gone")
            return self._task_news(moid, values)
        if change.kind == "leave":
            return PlacementUpdate(moid, None)
        host, power = values.get("runtime.host"), values.get("runtime.powerState")
        return None if host is None else PlacementUpdate(moid, host._moId, Power(str(power)) if power else None)

    def _task_news(self, moid: str, values: dict[str, Any]) -> TaskUpdate:
        """A task's whole state: later changes name only what changed."""
        known = self._tasks.setdefault(moid, {})
        known.update(values)
        error, percent = known.get("info.error"), known.get("info.progress")
        fault = None if error is None else Fault(type(error).__name__.rsplit(".", 1)[-1], str(error.msg or "")[:300])
        return TaskUpdate(
            moid,
            str(known.get("info.state", "queued")),
            None if percent is None else int(percent),
            bool(known.get("info.cancelled")),
            fault,
        )

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """See the port."""
        wanted = tuple(vms)
        rows = patiently(lambda: read_placement(self._client, wanted))
        return {
            vm: PlacementUpdate(vm, rows[vm]["runtime.host"]._moId, Power(str(rows[vm]["runtime.powerState"])))
            if vm in rows and rows[vm].get("runtime.host") is not None
            else PlacementUpdate(vm, None)
            for vm in wanted
        }

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        """See the port."""
        wanted = tuple(vms)
        rows = read_power_on(self._client, wanted)
        return {vm: iso_time(rows.get(vm, {}).get("runtime.bootTime")) for vm in wanted}

    def guest_processes(self, vm: str, login: GuestLogin) -> tuple[GuestProcess, ...]:
        """See the port."""
        machine = self._client.reference("VirtualMachine", vm)
        auth = vim.vm.guest.NamePasswordAuthentication(
            username=login.username, password=login.password, interactiveSession=False
        )
        manager = self._client.content.guestOperationsManager
        told = self._client.call(
            "list the processes of the guest", lambda: manager.processManager.ListProcessesInGuest(machine, auth, [])
        )
        return tuple(
            GuestProcess(text(str(p.name)), int(p.pid), str(iso_time(p.startTime)), command_digest(str(p.cmdLine)))
            for p in told
            if p.startTime is not None
            and p.endTime is None
            and matches_pattern(str(p.name), str(p.cmdLine), login.pattern)
        )

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        """See the port."""
        machines = tuple(vms)
        recent = patiently(lambda: read_objects(self._client, "VirtualMachine", machines, ["recentTask"]))
        owners = {task._moId: vm for vm, row in recent.items() for task in row.get("recentTask", ())}
        return {
            owners[task]: task
            for task, row in patiently(lambda: read_objects(self._client, "Task", owners, TASK_PATHS)).items()
            if row.get("info.state") in ("queued", "running")
            and str(row.get("info.descriptionId", "")).rsplit(".", 1)[-1].startswith(MOVING_TASKS)
        }

    # homes

    def record_home(self, home: Home) -> bool:
        """See the port."""
        return self._set_home(home.vm, encode_home(home))

    def clear_home(self, vm: str) -> bool:
        """See the port."""
        return self._set_home(vm, "")

    def _set_home(self, vm: str, value: str) -> bool:
        entity = self._client.reference("VirtualMachine", vm)
        try:
            key = self._home_field()
            manager = self._client.content.customFieldsManager
            self._client.call("write the home attribute", lambda: manager.SetField(entity, key, value))
        except (PermissionMissing, CallFailed):
            return False  # the journal has it
        return True

    def _home_field(self) -> int:
        if self._field is None:
            manager = self._client.content.customFieldsManager
            fields = self._client.call("read custom attributes", lambda: manager.field)
            known = next((f.key for f in fields if f.name == ATTRIBUTE), None)
            if known is None:
                made = self._client.call(
                    "make the home attribute",
                    lambda: manager.AddCustomFieldDef(name=ATTRIBUTE, moType=vim.VirtualMachine),
                )
                known = made.key
            self._field = int(known)
        return self._field

    # maintenance mode

    def lacks(self, host: str, privilege: str) -> bool:
        """Whether the logged-in user has not got ``privilege`` on the host."""
        content = self._client.content
        entity = self._client.reference("HostSystem", host)

        def ask() -> Any:
            session = content.sessionManager.currentSession
            if session is None:
                raise vim.fault.NotAuthenticated
            return content.authorizationManager.HasPrivilegeOnEntities([entity], session.key, [privilege])

        answer = self._client.call("ask for privileges", ask)
        return not all(p.isGranted for item in answer for p in item.privAvailability)

    def enter_maintenance(self, host: str, *, timeout: int, evacuate_powered_off: bool, vsan_mode: str) -> str:
        """Start ``EnterMaintenanceMode_Task``; the task's MoID."""
        spec = vim.host.MaintenanceSpec(vsanMode=vim.vsan.host.DecommissionMode(objectAction=vsan_mode))
        entity = self._client.reference("HostSystem", host)
        task = self._client.call(
            "enter maintenance mode", lambda: entity.EnterMaintenanceMode_Task(timeout, evacuate_powered_off, spec)
        )
        return str(task._moId)

    def exit_maintenance(self, host: str) -> str:
        """Start ``ExitMaintenanceMode_Task``; the task's MoID."""
        entity = self._client.reference("HostSystem", host)
        task = self._client.call("exit maintenance mode", lambda: entity.ExitMaintenanceMode_Task(0))
        return str(task._moId)

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        """See the port."""
        if host.maintenance_task is not None:
            self.cancel(host.maintenance_task)
            if self.wait_for(host.maintenance_task, timeout).fault is not None:
                return
            # The host was in maintenance mode before the task could be cancelled.
        end = self.wait_for(self.exit_maintenance(host.moid), timeout)
        if end.fault is not None:
            raise CallFailed(
                f"The maintenance mode of {host.name} did not end: {end.fault.name} {end.fault.message}",
                fault=end.fault.name,
            )

    def wait_for(self, task: str, timeout: float) -> TaskUpdate:
        """Wait for the end of one task. Raises TaskTimeout; NotFound when vCenter forgot the task."""
        self.follow(task)
        try:
            return self._end_of(task, timeout)
        finally:
            self.unfollow(task)

    def _end_of(self, task: str, timeout: float) -> TaskUpdate:
        deadline = time.monotonic() + timeout
        last = "unknown"
        while time.monotonic() < deadline:
            for update in self.updates(1.0):
                if isinstance(update, TaskUpdate) and update.task == task:
                    last = update.state
                    if last in _ENDED:
                        return update
                    if last == "gone":
                        raise NotFound(f"vCenter forgot task {task}", hint="Run the same task again")
        raise TaskTimeout(f"Task {task} did not end within {timeout:.0f} s", last_state=last)
