# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows tasks and VMs: one PropertyCollector and one ``WaitForUpdatesEx`` loop for a whole run.

Property filters belong to the session that made them. If the session is renewed, they are made again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .._core.errors import CallFailed, ConnectError, LoginRefused
from .._core.untrusted import printable
from .client import Client, fault_name, missing_privileges
from .estate import Power
from .faults import MISSING_PRIVILEGE, is_gone
from .news import Fault, PlacementUpdate, TaskUpdate, Update

try:
    from pyVmomi import vim, vmodl
except ImportError:
    pass

FOLLOWED = {
    "Task": ["info.state", "info.progress", "info.error", "info.cancelled"],
    "VirtualMachine": ["runtime.host", "runtime.powerState"],
}
MAX_MESSAGE = 300  # characters of a fault's message


class Following:
    """The tasks that a session follows, each with the VM that it moves."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._collector: Any = None
        self._version = ""
        self._logins = client.renewed
        self._followed: dict[str, tuple[str | None, Any]] = {}  # task -> its VM and its property filter
        self._tasks: dict[str, dict[str, Any]] = {}  # what is known of each task

    def follow(self, task: str, vm: str | None = None) -> None:
        """See the port. Makes one property filter per task, which lasts until ``unfollow``."""
        self._renew_collector()
        if task not in self._followed:
            self._followed[task] = (vm, None)
            self._add_filter(task)

    def unfollow(self, task: str) -> None:
        """See the port."""
        _vm, filtering = self._followed.pop(task, (None, None))
        self._tasks.pop(task, None)
        if filtering is None or self._logins != self._client.renewed:
            return  # the filter ended with its session
        try:
            self._client.call("stop following a task", filtering.DestroyPropertyFilter)
        except CallFailed as error:
            if not is_gone(error.fault):
                raise

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

    def _renew_collector(self) -> None:
        """Make a collector with all filters, unless the present one is of the present session."""
        if self._collector is not None and self._logins == self._client.renewed:
            return
        self._collector = self._client.call(
            "follow tasks", self._client.content.propertyCollector.CreatePropertyCollector
        )
        self._logins, self._version = self._client.renewed, ""
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
            # Otherwise vCenter rejects the whole filter if it no longer knows the task: a restart discards all tasks.
            reportMissingObjectsInResults=True,
        )
        logins = self._client.renewed
        try:
            made = self._client.call("follow a task", lambda: self._collector.CreateFilter(spec, False))
        except CallFailed:
            if self._client.renewed == logins:
                raise
            self._renew_collector()  # the collector ended with its session; a new one gets all filters
        else:
            self._followed[task] = (vm, made)

    def _wait(self, seconds: int) -> tuple[Update, ...]:
        query: Any = vmodl.query.PropertyCollector
        options = query.WaitOptions(maxWaitSeconds=seconds)
        logins = self._client.renewed
        try:
            change = self._client.call(
                "wait for updates of tasks", lambda: self._collector.WaitForUpdatesEx(self._version, options), once=True
            )
        except CallFailed:
            if self._client.renewed == logins:
                raise
            return ()  # the session was renewed; the next call makes the filters again
        except LoginRefused:
            raise
        except ConnectError as error:
            self._client.silence.bear(error, most=1.0)
            return ()  # asking again loses nothing
        if change is None:
            return ()
        self._version = change.version
        return tuple(update for each in change.filterSet for update in self._updates_of(each))

    def _updates_of(self, change: Any) -> Iterator[Update]:
        """The updates in the changes of one filter."""
        for missing in change.missingSet or ():
            if isinstance(missing.fault, vmodl.fault.ManagedObjectNotFound):
                yield self._gone(missing.obj)
        for each in change.objectSet or ():
            if any(isinstance(missing.fault, vim.fault.NotAuthenticated) for missing in each.missingSet or ()):
                self._client.renew()
                return
            update = self._update(each)
            if update is not None:
                yield update

    @staticmethod
    def _gone(reference: Any) -> Update:
        moid = reference._moId
        return TaskUpdate(moid, "gone") if isinstance(reference, vim.Task) else PlacementUpdate(moid, None)

    def _update(self, change: Any) -> Update | None:
        moid = change.obj._moId
        values = {c.name: c.val for c in change.changeSet or ()}
        if change.kind == "leave":
            return self._gone(change.obj)
        if isinstance(change.obj, vim.Task):
            return self._task_update(moid, values)
        host, power = values.get("runtime.host"), values.get("runtime.powerState")
        return None if host is None else PlacementUpdate(moid, host._moId, Power(str(power)) if power else None)

    def _task_update(self, moid: str, values: dict[str, Any]) -> TaskUpdate:
        """The whole state of a task: later changes contain only what changed."""
        known = self._tasks.setdefault(moid, {})
        known.update(values)
        error, percent = known.get("info.error"), known.get("info.progress")
        return TaskUpdate(
            moid,
            str(known.get("info.state", "queued")),
            None if percent is None else int(percent),
            bool(known.get("info.cancelled")),
            None if error is None else Fault(fault_name(error), _message(error)),
        )


def _message(error: Any) -> str:
    """The server's message; of a missing permission the privileges, which the message may not name."""
    privileges = missing_privileges(error) if isinstance(error, vim.fault.NoPermission) else ""
    return f"{MISSING_PRIVILEGE} {privileges}" if privileges else printable(str(error.msg or "")[:MAX_MESSAGE])
