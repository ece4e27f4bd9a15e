# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripted vCenters: one for the executor alone, and one for whole runs that may be killed at any call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, ConnectError
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    Checked,
    Connection,
    Datastore,
    Drs,
    DrsOverride,
    Estate,
    FenceTask,
    HostState,
    InventoryPlace,
    Maintenance,
    Part,
    Power,
    Relocation,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE, Home, encode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import (
    Fault,
    PlacementUpdate,
    TaskUpdate,
    Update,
)

from tests.builders.estates import GIB, INFO

SOURCE = "host-1"
STORES = ("ds-1", "ds-2")


class Killed(BaseException):
    """The process is gone; nothing of it runs any more."""


class Agreeing:
    """A vCenter whose own checks find no fault."""

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def lost_vms(self, host: str) -> frozenset[str]:
        return frozenset()

    def compatible(self, *_vms_and_hosts: Any) -> dict[tuple[str, str], Checked]:
        return {}

    def check_moves(self, moves: Sequence[Relocation]) -> list[Checked]:
        return [Checked() for _move in moves]


class World:
    """A vCenter with one host to empty and two targets. ``faults``: VM and target whose moves fail, and with what."""

    def __init__(self, vms: int, faults: dict[tuple[str, str], str] | None = None) -> None:
        self.where: dict[str, str] = {f"vm-{n}": SOURCE for n in range(1, vms + 1)}
        self.attributes: dict[str, str] = {}
        self.faults = faults or {}
        self.maintenance = Maintenance.NORMAL
        self.keeps_fence = False
        self.tasks: dict[str, tuple[str, str, int]] = {}
        self.moves: list[tuple[str, str, str]] = []
        self.peak = 0
        self.calls_left = -1
        self.off: set[str] = set()
        self.drs = Automation.DISABLED
        self.may_edit = True
        self.overrides: dict[str, DrsOverride] = {}
        self.slow_changes: list[Mapping[str, DrsOverride | None]] = []  # by tasks that have not ended
        self.movers: dict[str, str] = {}
        self.leases: dict[str, Lease | None] = {}
        self.may_set_attributes = True
        self.files: dict[str, dict[int, str]] = {}  # by VM: the datastore of each part
        self.bringing: dict[str, Mapping[int, str]] = {}  # by task: the datastores that it leads to
        self.booted: dict[str, str] = {}  # when VMs were powered on
        self.restarted: dict[str, str] = {}  # when HA restarted VMs last

    def count(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise Killed

    def on_silence(self, listener: Callable[[float], None]) -> None:
        """Nothing breaks here."""

    def on_interruption(self, interrupted: Callable[[], bool]) -> None:
        """Nothing breaks here."""

    def estate_of_hosts(self, **_options: Any) -> Estate:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Estate:
        self.count()
        hosts = {
            f"host-{n}": HostState(
                moid=f"host-{n}", name=f"esx-{n}", cluster="c", cluster_name="c", datacenter="dc", fault_domain="a",
                connection=Connection.CONNECTED, maintenance=self.maintenance if n == 1 else Maintenance.NORMAL,
                memory_bytes=64 * GIB, memory_used_bytes=8 * GIB, cpu_mhz=10_000, cpu_used_mhz=100,
                datastores=frozenset(STORES),
                maintenance_task="task-fence" if n == 1 and self.maintenance is Maintenance.ENTERING else None,
            )
            for n in (1, 2, 3)
        }  # fmt: skip
        flying = {vm: task for task, (vm, _target, _ticks) in self.tasks.items()}
        vms = {
            vm: VmState(
                moid=vm, name=vm.replace("vm", "ml"), instance_uuid=vm, host=host, power=Power.OFF if vm in self.off else Power.ON, memory_bytes=GIB,
                moving_task=flying.get(vm), attributes={ATTRIBUTE: self.attributes.get(vm, "")},
                datastores=frozenset(self.files.get(vm, {}).values()),
                parts=tuple(Part(key, f"part {key}", moid, GIB) for key, moid in self.files.get(vm, {}).items()),
            )
            for vm, host in self.where.items()
        }  # fmt: skip
        stores = {
            moid: Datastore(moid, moid, frozenset(hosts), capacity_bytes=99 * GIB, free_bytes=90 * GIB)
            for moid in STORES
        }
        return Estate(INFO, hosts, vms, stores, drs={"c": Drs(self.drs, True, dict(self.overrides))})

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        self.count()
        return {vm: dict(self.files[vm]) for vm in vms if vm in self.files}

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] | None = None,
        policies: Mapping[int, str] | None = None,
    ) -> str:
        self.count()
        if host == SOURCE and self.maintenance is not Maintenance.NORMAL:
            raise CallFailed("the host is in maintenance", fault="InvalidState")
        host = host or self.where[vm]
        self.moves.append((vm, self.where[vm], host))
        task = f"task-{len(self.moves)}"
        self.bringing[task] = files or {}
        self.tasks[task] = (vm, host, 2)
        self.peak = max(self.peak, len(self.tasks))
        self.count()
        return task

    def updates(self, timeout: float) -> tuple[Update, ...]:
        self.count()
        return self.advance()

    def advance(self) -> tuple[Update, ...]:
        self.let_drs_move()
        news: list[Update] = []
        for task, (vm, host, ticks) in list(self.tasks.items()):
            if ticks:
                self.tasks[task] = (vm, host, ticks - 1)
                continue
            del self.tasks[task]
            fault = self.faults.get((vm, host))
            if fault is None:
                self.where[vm] = host
                if self.bringing[task]:
                    self.files[vm] = dict(self.bringing[task])
                news += [PlacementUpdate(vm, host), TaskUpdate(task, "success")]
            else:
                news.append(TaskUpdate(task, "error", fault=Fault(fault, "scripted")))
        return tuple(news)

    def let_drs_move(self) -> None:
        """A fenced host makes DRS move what is not excluded from it."""
        if self.drs is not Automation.FULL or self.maintenance is not Maintenance.ENTERING:
            return
        busy = {vm for vm, _target, _ticks in self.tasks.values()}
        drs = Drs(self.drs, True, self.overrides)
        for vm, host in self.where.items():
            if host == SOURCE and vm not in busy and drs.level_of(vm) is Automation.FULL:
                self.where[vm], self.movers[vm] = "host-3", "DRS"

    def follow(self, task: str, vm: str | None = None) -> None:
        self.count()

    def unfollow(self, task: str) -> None:
        self.count()

    def cancel(self, task: str) -> None:
        raise AssertionError("nothing takes too long here")

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        self.count()
        power = {True: Power.OFF, False: Power.ON}
        return {vm: PlacementUpdate(vm, self.where.get(vm), power[vm in self.off]) for vm in vms}

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        return {vm: self.booted.get(vm) for vm in vms}

    def is_restarted_by_ha(self, vm: str, since: str) -> bool:
        return self.restarted.get(vm, "") >= since

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        self.count()
        return {vm: task for task, (vm, _host, _ticks) in self.tasks.items() if vm in vms}

    def record_home(self, home: Home) -> bool:
        self.count()
        self.attributes[home.vm] = encode_home(home)
        return True

    def clear_home(self, vm: str) -> bool:
        self.count()
        self.attributes[vm] = ""
        return True

    def lease(self, host: str) -> Lease | None:
        return self.leases.get(host)

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        if lease is not None:  # after a run has given its lease back, there is nothing that a kill could interrupt
            self.count()
        if self.may_set_attributes:
            self.leases[host] = lease
        return self.may_set_attributes

    def time(self) -> datetime:
        return datetime.now(UTC)

    def misses_privilege(self, host: str, privilege: str) -> bool:
        return False

    def enter_maintenance(self, host: str) -> str:
        self.count()
        self.maintenance = Maintenance.ENTERING
        self.count()
        return "task-fence"

    def drs_overrides(self, cluster: str) -> dict[str, DrsOverride]:
        self.count()
        return dict(self.overrides)

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        self.count()
        assert present == set(self.overrides)
        for vm, override in changes.items():
            if override is None:
                del self.overrides[vm]
            else:
                self.overrides[vm] = override
        self.count()

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        """Of the task ``task-fence``; another one is not known."""
        self.count()
        if task != "task-fence":
            return FenceTask.HIDDEN, ""
        ends = {Maintenance.ENTERING: FenceTask.RUNNING, Maintenance.IN: FenceTask.ENTERED}
        found = ends.get(self.maintenance, FenceTask.FAILED)
        return found, "RequestCanceled" if found is FenceTask.FAILED else ""

    def cluster_settled(self, cluster: str, timeout: float) -> bool:
        self.count()
        return not self.slow_changes

    def end_changes(self) -> None:
        """The tasks that change the cluster end."""
        for changes in self.slow_changes:
            for vm, override in changes.items():
                if override is None:
                    self.overrides.pop(vm, None)
                else:
                    self.overrides[vm] = override
        self.slow_changes.clear()

    def mover(self, vm: str, host: str) -> str:
        return self.movers.get(vm, "")

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        self.count()
        if self.keeps_fence:
            raise CallFailed("vCenter could not end maintenance mode", fault="NoPermission")
        self.maintenance = Maintenance.NORMAL


class ScriptedVcenter:
    """Moves take ``ticks`` calls of ``updates``; ``faults`` holds the faults of a VM's next attempts."""

    def __init__(self, faults: dict[str, list[str | None]] | None = None, ticks: int = 2) -> None:
        self.faults = faults or {}
        self.ticks = ticks
        self.hosts: dict[str, str | None] = {}
        self.tasks: dict[str, tuple[str, str, int, str | None]] = {}
        self.relocated: list[str] = []
        self.cancelled: list[str] = []
        self.homes: list[Home] = []
        self.peak = 0
        self.refuse: dict[str, str] = {}
        self.lie: set[str] = set()  # VMs that arrive although their task fails
        self.hang: set[str] = set()
        self.followed: set[str] = set()
        self.movers: dict[str, str] = {}
        self.files: dict[str, dict[int, str]] = {}  # by VM: the datastore of each part
        self.bringing: dict[str, Mapping[int, str]] = {}  # by task: the datastores that it leads to

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        return {vm: dict(self.files[vm]) for vm in vms if vm in self.files}

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] | None = None,
        policies: Mapping[int, str] | None = None,
    ) -> str:
        assert (place, priority) == (None, "highPriority")
        if vm in self.refuse:
            raise CallFailed("refused", fault=self.refuse[vm])
        self.relocated.append(vm)
        task = f"task-{len(self.relocated)}"
        self.bringing[task] = files or {}
        self.start(task, vm, host or self.hosts.get(vm) or "host-1")
        return task

    def bring(self, task: str, vm: str) -> None:
        if self.bringing.get(task):
            self.files[vm] = dict(self.bringing[task])

    def start(self, task: str, vm: str, host: str) -> None:
        script = self.faults.get(vm, [])
        self.tasks[task] = (vm, host, self.ticks, script.pop(0) if script else None)
        self.peak = max(self.peak, len(self.tasks))

    def follow(self, task: str, vm: str | None = None) -> None:
        assert task in self.tasks
        self.followed.add(task)

    def unfollow(self, task: str) -> None:
        self.followed.remove(task)

    def cancel(self, task: str) -> None:
        self.cancelled.append(task)
        vm, host, _ticks, _fault = self.tasks[task]
        self.tasks[task] = (vm, host, 0, "RequestCanceled")
        self.hang.discard(vm)

    def updates(self, timeout: float) -> tuple[Update, ...]:
        news: list[Update] = []
        for task, (vm, host, ticks, fault) in list(self.tasks.items()):
            if vm in self.hang:
                continue
            if ticks > 0:
                self.tasks[task] = (vm, host, ticks - 1, fault)
                news.append(TaskUpdate(task, "running", percent=50))
            elif fault is None:
                self.hosts[vm] = host
                self.bring(task, vm)
                del self.tasks[task]
                news += [PlacementUpdate(vm, host), TaskUpdate(task, "success")]
            else:
                if vm in self.lie:
                    self.hosts[vm] = host
                    self.bring(task, vm)
                del self.tasks[task]
                news.append(TaskUpdate(task, "error", fault=Fault(fault, "scripted")))
        return tuple(news)

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        return {vm: PlacementUpdate(vm, self.hosts.get(vm, "host-1")) for vm in vms}

    def record_home(self, home: Home) -> bool:
        self.homes.append(home)
        return True

    def mover(self, vm: str, host: str) -> str:
        return self.movers.get(vm, "")

    def estate_of_hosts(self, **_arguments: Any) -> Any:
        return self.estate(**_arguments)

    def estate(self, **_arguments: Any) -> Any:
        raise AssertionError("the executor reads no estate")

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        raise AssertionError("the caller gives the executor the moves under way")


class RestartedVcenter(ScriptedVcenter):
    """It discards every task at the first update; VMs of ``arriving`` arrive nevertheless, after so many updates.

    ``lost``: VMs whose submission gets no answer; of those in ``begun`` a task runs.
    """

    def __init__(
        self, arriving: dict[str, int] | None = None, lost: Iterable[str] = (), begun: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.arriving, self.lost, self.begun = dict(arriving or {}), set(lost), set(begun)
        self.restarts = bool(arriving is not None)
        self.on_the_way: dict[str, str] = {}

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] | None = None,
        policies: Mapping[int, str] | None = None,
    ) -> str:
        if vm in self.lost:
            self.lost.discard(vm)
            self.relocated.append(vm)
            if vm in self.begun:
                self.bringing[f"task-{vm}"] = files or {}
                self.start(f"task-{vm}", vm, host or "host-1")
            raise ConnectError("the answer was lost")
        return super().relocate(vm, host, place=place, priority=priority, files=files, policies=policies)

    def updates(self, timeout: float) -> tuple[Update, ...]:
        if self.restarts:
            self.restarts = False
            forgotten = tuple(self.tasks)
            self.on_the_way = {vm: host for vm, host, _ticks, _fault in self.tasks.values() if vm in self.arriving}
            self.tasks.clear()
            return tuple(TaskUpdate(task, "gone") for task in forgotten)
        news: list[Update] = []
        for vm, host in list(self.on_the_way.items()):
            self.arriving[vm] -= 1
            if self.arriving[vm] <= 0:
                self.hosts[vm] = host
                del self.on_the_way[vm]
                news.append(PlacementUpdate(vm, host))
        return (*news, *super().updates(timeout))

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        return {vm: task for task, (vm, _host, _ticks, _fault) in self.tasks.items() if vm in vms}
