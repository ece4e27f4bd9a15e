# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter in which somebody else moves VMs, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Power
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import (
    PlacementUpdate,
    TaskUpdate,
    Update,
)

from tests.builders.estates import estate, host, vm

Step = Callable[["Elsewhere"], object]


class Elsewhere:
    """A vCenter in which somebody else works: before each look, the next one of ``steps`` happens."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.at: dict[str, str] = {"vm-1": "host-1", "vm-2": "host-2"}
        self.tasks: dict[str, str] = {}
        self.movers: dict[str, str] = {}
        self.migrated: Counter[str] = Counter()
        self.news: list[Update] = []
        self.followed: list[str] = []
        self.maintenance: dict[str, bool] = {}
        self.off: set[str] = set()
        self.booted: dict[str, str] = {}  # when VMs were powered on

    def on_silence(self, listener: Callable[[float], None]) -> None:
        """Nothing breaks here, unless a step raises an error."""

    def on_interruption(self, interrupted: Callable[[], bool]) -> None:
        """Nothing breaks here."""

    def estate_of_hosts(self, **_options: Any) -> Estate:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Estate:
        return estate([host(1), host(2), host(3)], [vm(int(moid[3:]), int(at[5:])) for moid, at in self.at.items()])

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        return {vm: self.booted.get(vm, "2026-01-01T00:00:00.000Z") for vm in vms}

    def is_restarted_by_ha(self, vm: str, since: str) -> bool:
        return False

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        if self.steps:
            self.steps.pop(0)(self)
        return {vm: task for vm, task in self.tasks.items() if vm in set(vms)}

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        return {vm: PlacementUpdate(vm, self.at.get(vm), Power.OFF if vm in self.off else None) for vm in vms}

    def updates(self, timeout: float) -> tuple[Update, ...]:
        news, self.news = tuple(self.news), []
        return news

    def follow(self, task: str, vm: str | None = None) -> None:
        self.followed.append(task)

    def unfollow(self, task: str) -> None:
        self.followed.remove(task)

    def mover(self, vm: str, host: str) -> str:
        return self.movers.get(vm, "")

    def time(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC)

    def migrations(self, since: datetime) -> dict[str, int]:
        return dict(self.migrated)

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        return {moid: self.maintenance[moid] for moid in hosts if moid in self.maintenance}


def starts(vm: str, task: str) -> Step:
    return lambda there: there.tasks.update({vm: task})


def arrives(vm: str, at: str, by: str = "DRS") -> Step:
    def step(there: Elsewhere) -> None:
        there.tasks.pop(vm, None)
        there.at[vm] = at
        there.migrated[vm] += 1
        there.movers[vm] = by

    return step


def ends(vm: str, task: str, **end: Any) -> Step:
    def step(there: Elsewhere) -> None:
        there.tasks.pop(vm, None)
        there.news.append(TaskUpdate(task, **end))

    return step


def nothing(_there: Elsewhere) -> None:
    """Nothing happens."""
