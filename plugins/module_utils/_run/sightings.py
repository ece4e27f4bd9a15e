# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sightings: the moves of VMs that somebody else starts, as they are seen. Starts nothing, and changes nothing.

A move is seen by its task, or, if it was over before anybody looked, by the new host of its VM.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .._plan.model import Move
from .._vsphere.estate import HostState
from .._vsphere.faults import OwnReason
from .._vsphere.news import Fault, PlacementUpdate, TaskUpdate
from .events import (
    MaintenanceSeen,
    MoveFinished,
    MoveProgressed,
    MoveSeen,
    Noticed,
    Ref,
    SwitchedOver,
    VerdictReached,
    source_of,
    vm_of,
)
from .executor import FORGOTTEN_SECONDS, SOMEBODY, not_moved
from .model import Ended, MoveResult
from .ports import ExperimentWatch, Recorder, Vcenter
from .sight import Sight

LOOK_SECONDS = 1.0  # between two looks at tasks and hosts
HOSTS_SECONDS = 5.0  # between two looks at maintenance modes
VM_DELETED = "the VM is no longer in vCenter: it was deleted, unregistered or moved to another vCenter"


@dataclass(slots=True)
class _Flight:
    """A move that was seen. ``task`` is "" if it was over then; ``end`` is how its task ended."""

    move: Move
    task: str
    switched: bool = False
    end: TaskUpdate | None = None
    give_up: float = float("inf")  # monotonic time when a task that vCenter no longer knows counts as ended


class Sightings:
    """What is seen of the ``vms`` (MoID -> name) on ``hosts`` (by MoID). ``at`` is where each VM is first (MoIDs).

    A VM that is not in ``at`` is looked for, and its moves count from where it is found.
    """

    def __init__(
        self,
        vcenter: Vcenter,
        watch: ExperimentWatch,
        journal: Recorder,
        *,
        vms: Mapping[str, str],
        at: Mapping[str, str],
        hosts: Mapping[str, HostState],
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vcenter = vcenter
        self._watch = watch
        self._journal = journal
        self._vms = vms
        self._at = dict(at)
        self._unplaced = set(vms) - set(at)  # VMs (MoIDs) that were not seen on a host yet
        self._hosts = hosts
        self._clock = clock
        self._sleep = sleep
        self._sight = Sight(vcenter, interrupted=interrupted, clock=clock, sleep=sleep)
        self._looked = clock()
        self._looked_at_hosts = float("-inf")
        self._flights: dict[str, _Flight] = {}
        self._settling: set[str] = set()
        self._maintenance: dict[str, bool] = {}
        self.ended: list[Ended] = []
        self.noticed: dict[str, str] = {}  # what was not watched, by VM (MoID)
        self.returned: set[str] = set()  # hosts (MoIDs) that were in maintenance mode, and came back

    @property
    def in_flight(self) -> tuple[str, ...]:
        """VMs (MoIDs) that move now."""
        return tuple(self._flights)

    @property
    def busy(self) -> bool:
        """Whether a VM moves, or its experiments have not settled after its move."""
        return bool(self._flights or self._settling)

    def look(self, hosts: tuple[str, ...] = ()) -> None:
        """Wait for news for at most ``LOOK_SECONDS``, then read where the VMs are, and judge experiments that have settled.

        ``hosts`` (MoIDs) are those whose maintenance mode is looked at.
        """
        self._hear()
        self._look_at_vms()
        if hosts and self._clock() >= self._looked_at_hosts + HOSTS_SECONDS:
            self._look_at_hosts(hosts)
        self._judge_settled()

    def _hear(self) -> None:
        if not any(flight.task for flight in self._flights.values()):
            self._sleep(LOOK_SECONDS)
            return
        for update in self._sight.insist("updates", lambda: self._vcenter.updates(LOOK_SECONDS)):
            if isinstance(update, PlacementUpdate):
                self._hear_placement(update)
            else:
                self._hear_task(update)

    def _hear_placement(self, update: PlacementUpdate) -> None:
        flight = self._flights.get(update.vm)
        if flight is not None and update.host is not None:
            self._note_switch(flight, update.host)

    def _hear_task(self, update: TaskUpdate) -> None:
        flight = next((each for each in self._flights.values() if each.task == update.task), None)
        if flight is None:
            return
        if update.state == "gone":  # the hosts may continue the move
            flight.give_up = min(flight.give_up, self._clock() + FORGOTTEN_SECONDS)
        elif update.state in ("success", "error"):
            flight.end = update
        elif update.percent is not None:
            self._journal.write(MoveProgressed(flight.move.number, vm_of(flight.move), update.percent))

    def _look_at_vms(self) -> None:
        present = (*self._at, *sorted(self._unplaced))
        # In this order: a task that has ended when it is read has put its VM where the VM is read then.
        moving = self._sight.insist("moving", lambda: self._vcenter.moving(present))
        seen = self._sight.insist("placement", lambda: self._vcenter.placement(present))
        now = self._clock()
        for vm in present:
            host = seen[vm].host
            if host is not None and vm in self._unplaced:
                self._unplaced.discard(vm)
                self._at[vm] = host
            if host is not None:
                self._follow(seen[vm], host, moving.get(vm, ""), now - self._looked)
            elif seen[vm].unknown:
                self._notice(vm, seen[vm].unknown)
            else:
                self._vanish(vm)
        self._looked = now

    def _follow(self, seen: PlacementUpdate, host: str, task: str, within: float) -> None:
        """One VM as it is seen now: its host, and the task that moves it."""
        vm = seen.vm
        flight = self._flights.get(vm)
        if flight is not None and task != flight.task and self._is_over(flight, host, task):
            self._finish(flight, host, seen)
            flight = None
        if flight is None and (task or host != self._at[vm]):
            flight = self._begin(vm, task, within)
            if not task:
                self._finish(flight, host, seen)
                return
        if flight is not None:
            self._note_switch(flight, host)

    def _is_over(self, flight: _Flight, host: str, task: str) -> bool:
        """Whether a move whose task does not run any more is over."""
        left = host != flight.move.source
        return left or bool(task) or flight.end is not None or self._clock() >= flight.give_up

    def _begin(self, vm: str, task: str, within: float) -> _Flight:
        source = self._at[vm]
        number = len(self.ended) + len(self._flights) + 1
        move = self._to(Move(number, vm, self._vms[vm], "", "", "", "", 0, 0.0), source)
        move = replace(move, source=source, source_name=move.target_name, source_fault_domain=move.target_fault_domain)
        self._settling.discard(vm)
        self._watch.focus(vm)
        self._journal.write(MoveSeen(number, vm_of(move), source_of(move), task, round(within, 3)))
        flight = self._flights[vm] = _Flight(move, task)
        if task:
            self._sight.follow(task, vm)
        return flight

    def _note_switch(self, flight: _Flight, host: str) -> None:
        if host != flight.move.source and not flight.switched:
            flight.switched = True
            self._journal.write(SwitchedOver(flight.move.number, vm_of(flight.move), self._name(host)))

    def _finish(self, flight: _Flight, host: str, seen: PlacementUpdate) -> None:
        vm, end = flight.move.vm, flight.end
        if flight.task:
            self._note_switch(flight, host)
        move = self._to(flight.move, host)
        if host != flight.move.source:
            by = self._sight.mover(vm, host)
            off = not_moved(seen, by)
            ended = Ended(move, MoveResult.MOVED, host, move.target_name, by=by or SOMEBODY)
            self._close(flight, ended if off is None else replace(ended, result=MoveResult.FAILED, fault=off, by=""))
        elif end is not None and end.state == "success":  # it moved the storage, or nothing
            self._close(flight, Ended(move, MoveResult.MOVED, host, move.target_name))
        else:
            fault = (
                end.fault if end else Fault(OwnReason.TASK_FORGOTTEN, "vCenter no longer knows the task of the move")
            )
            result = MoveResult.CANCELLED if end is not None and end.cancelled else MoveResult.FAILED
            self._close(flight, Ended(move, result, host, move.target_name, fault))
        self._at[vm] = host

    def _close(self, flight: _Flight, ended: Ended) -> None:
        vm = flight.move.vm
        del self._flights[vm]
        self.ended.append(ended)
        self._journal.write(MoveFinished.of(ended))
        self._watch.moved(vm)
        self._settling.add(vm)
        if flight.task:
            self._sight.unfollow(flight.task)

    def _notice(self, vm: str, what: str) -> None:
        """Record once what could not be watched of a VM."""
        if self.noticed.get(vm) != what:
            self.noticed[vm] = what
            self._journal.write(Noticed(Ref(vm, self._vms[vm]), what))

    def _vanish(self, vm: str) -> None:
        """The VM is no longer in vCenter."""
        self._at.pop(vm, None)
        self._unplaced.discard(vm)
        self._notice(vm, VM_DELETED)
        flight = self._flights.get(vm)
        if flight is not None:
            fault = Fault(OwnReason.VM_DELETED, "the VM is no longer in vCenter")
            self._close(flight, Ended(self._to(flight.move, flight.move.source), MoveResult.GONE, None, "", fault))

    def _look_at_hosts(self, hosts: tuple[str, ...]) -> None:
        self._looked_at_hosts = self._clock()
        found = self._sight.insist("maintenance", lambda: self._vcenter.in_maintenance(hosts))
        for moid, inside in found.items():
            before = self._maintenance.get(moid)
            self._maintenance[moid] = inside
            if inside == before or (before is None and not inside):
                continue
            self._journal.write(MaintenanceSeen(Ref(moid, self._name(moid)), inside))
            if not inside:
                self.returned.add(moid)

    def _judge_settled(self) -> None:
        for vm in [vm for vm in self._settling if self._watch.settled(vm)]:
            self._settling.discard(vm)
            for judgement in self._watch.judge(vm):
                self._journal.write(VerdictReached.of(judgement))

    def _to(self, move: Move, host: str) -> Move:
        known = self._hosts.get(host)
        domain = known.fault_domain if known is not None else None
        return replace(move, target=host, target_name=self._name(host), target_fault_domain=domain)

    def _name(self, host: str) -> str:
        return self._hosts[host].name if host in self._hosts else host
