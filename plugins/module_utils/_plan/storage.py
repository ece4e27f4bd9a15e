# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of a VM go: a datastore for each part that has to move, or every reason why there is none. Pure.

The ledger counts what earlier moves of the plan bring to a datastore. What they take away is not counted, because a datastore gets
that space back only when the move has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._vsphere.estate import Datastore, Estate, HostState, Part, VmState
from .model import PartMove, Scope, StorageRequest

Blocked = tuple[str, str]  # a failed check and the object it failed on
Choice = tuple[Part, tuple[Datastore, ...]]  # a part that has to move, and the datastores that may take it


class StoragePlanner:
    """Chooses datastores for one VM after the other."""

    def __init__(self, estate: Estate, request: StorageRequest) -> None:
        self._estate = estate
        self._request = request
        self._arriving = Counter[str]()  # bytes by datastore

    def may_move(self, vm: VmState) -> bool:
        """Whether the VM's files may move."""
        return vm.moid in self._request.homes or self._request.scope is not Scope.COMPUTE

    def free(self, vm: VmState, datastore: Datastore) -> float:
        """Bytes free for a VM above the headroom, after the moves planned so far; 0 if it is not known.

        A way home needs no headroom: the datastore carried the files before.
        """
        if datastore.free_bytes is None:
            return 0
        headroom = 0.0 if vm.moid in self._request.homes else self._request.headroom
        return datastore.free_bytes - self._arriving[datastore.moid] - headroom * datastore.capacity_bytes

    def book(self, parts: Iterable[PartMove]) -> None:
        """Count what parts bring to their datastores."""
        for part in parts:
            if part.moves:
                self._arriving[part.target] += part.size

    def parts_on(self, vm: VmState, host: HostState) -> tuple[tuple[PartMove, ...], tuple[Blocked, ...]]:
        """The parts of a VM that moves to a host, none if all stay; and the checks that fail."""
        if not self.may_move(vm):
            return (), ()
        if not vm.parts or any(not part.datastore for part in vm.parts):
            return (), (("unreadable", f"{vm.name}: the datastores of its files"),)
        choices, blocked = self._choices(vm, host)
        if blocked or not choices:
            return (), blocked
        chosen = self._choose(vm, choices)
        if chosen is None:
            names = sorted({datastore.name for _part, fitting in choices for datastore in fitting})
            return (), tuple(("no_capacity_datastore", name) for name in names)
        return self._moves(vm, chosen), ()

    def _choices(self, vm: VmState, host: HostState) -> tuple[list[Choice], tuple[Blocked, ...]]:
        """The parts that have to move with the VM to a host, and the checks that fail."""
        blocked: list[Blocked] = []
        choices: list[Choice] = []
        for part in vm.parts:
            given = self._given(vm, part)
            if self._stays(part, host, given):
                continue
            if part.fixed:
                blocked.append(("disk_not_movable", f"{part.label} ({part.fixed})"))
            fitting, why = self._candidates(host, given)
            blocked += why
            choices.append((part, fitting))
        return choices, tuple(dict.fromkeys(blocked))

    def shortage(self, vm: VmState, hosts: Sequence[HostState]) -> tuple[int, Datastore | None]:
        """The most bytes that have to move with the VM to one of the hosts, and the datastore for them with the most room."""
        found = [self._choices(vm, host)[0] for host in hosts] if self.may_move(vm) else []
        size = max((sum(part.size for part, _fitting in choices) for choices in found), default=0)
        known = {d.moid: d for choices in found for _part, fitting in choices for d in fitting}
        return size, max(known.values(), key=lambda datastore: self.free(vm, datastore), default=None)

    def in_flight(self, vm: VmState) -> tuple[PartMove, ...]:
        """The parts of a VM that a task moves now."""
        targets = self._request.moving.get(vm.moid, {})
        return self._moves(vm, targets) if targets else ()

    def accepts(self, vm: VmState) -> bool:
        """Whether a task that moves the VM now brings its files where they should go."""
        parts = self.in_flight(vm)
        if not parts:
            return vm.moid not in self._request.homes and self._request.scope is not Scope.STORAGE
        given = {part.key: self._given(vm, part) for part in vm.parts}
        return all(not given[part.key] or part.target in given[part.key] for part in parts)

    def _given(self, vm: VmState, part: Part) -> frozenset[str]:
        """The datastores that are asked for; empty: each one that the host reaches."""
        home = self._request.homes.get(vm.moid)
        if home is not None:
            return frozenset({home.get(part.key, part.datastore)})
        return self._request.disks.get(part.label, self._request.datastores)

    def _stays(self, part: Part, host: HostState, given: frozenset[str]) -> bool:
        return self._reaches(host, part.datastore) and (not given or part.datastore in given)

    def _reaches(self, host: HostState, moid: str) -> bool:
        """Whether a host can read and write a datastore."""
        known = self._estate.datastores.get(moid)
        return (
            known is not None
            and moid in host.datastores
            and host.moid in known.hosts
            and host.moid not in known.read_only
        )

    def _candidates(self, host: HostState, given: frozenset[str]) -> tuple[tuple[Datastore, ...], list[Blocked]]:
        """The datastores that may take a part on a host; if there are none, why."""
        wanted = [self._estate.datastores[m] for m in sorted(given or host.datastores) if m in self._estate.datastores]
        found = {datastore.moid: list(self._blockers(host, datastore)) for datastore in wanted}
        fitting = tuple(datastore for datastore in wanted if not found[datastore.moid])
        if fitting:
            return fitting, []
        if not given:
            denied = [
                each[0] for each in found.values() if [check for check, _name in each] == ["datastore_not_permitted"]
            ]
            return (), denied or [("no_datastore", host.name)]
        gone = [("datastore_gone", moid) for moid in sorted(given - self._estate.datastores.keys())]
        return (), [*gone, *(blocked for datastore in wanted for blocked in found[datastore.moid])]

    def _blockers(self, host: HostState, datastore: Datastore) -> Iterator[Blocked]:
        if not self._reaches(host, datastore.moid):
            yield "datastore_unreached", datastore.name
        if not datastore.in_service:
            yield "datastore_maintenance", datastore.name
        if datastore.free_bytes is None:
            yield "unreadable", f"{datastore.name}: its free space"
        if datastore.moid in self._request.not_permitted:
            yield "datastore_not_permitted", datastore.name

    def _choose(self, vm: VmState, choices: Sequence[Choice]) -> dict[int, str] | None:
        """A datastore for each part: one for all of them if one has the room, else each for itself, largest first."""
        together = set.intersection(*({d.moid for d in fitting} for _part, fitting in choices))
        size = sum(part.size for part, _fitting in choices)
        shared = [
            self._estate.datastores[moid] for moid in together if self.free(vm, self._estate.datastores[moid]) >= size
        ]
        if shared:
            best = min(shared, key=lambda datastore: self._rank(vm, None, datastore, size)).moid
            return {part.key: best for part, _fitting in choices}
        taken, chosen = Counter[str](), dict[int, str]()
        for part, fitting in sorted(choices, key=lambda choice: (-choice[0].size, choice[0].key)):
            roomy = [d for d in fitting if self.free(vm, d) - taken[d.moid] >= part.size]
            if not roomy:
                return None
            moid = min(roomy, key=lambda d, part=part: self._rank(vm, part, d, taken[d.moid] + part.size)).moid  # type: ignore[misc]
            taken[moid] += part.size
            chosen[part.key] = moid
        return chosen

    def _rank(self, vm: VmState, part: Part | None, datastore: Datastore, size: int) -> tuple[bool, bool, float, str]:
        """Sorts datastores: the approved one first, one that a single host reaches last, then by their free share afterwards."""
        preferred = self._request.preferred.get(vm.moid, {})
        wanted = set(preferred.values()) if part is None else {preferred.get(part.key)}
        share = (self.free(vm, datastore) - size) / (datastore.capacity_bytes or 1)
        return bool(preferred) and datastore.moid not in wanted, datastore.local, -round(share, 4), datastore.name

    def _moves(self, vm: VmState, targets: Mapping[int, str]) -> tuple[PartMove, ...]:
        return tuple(self._part_move(part, targets.get(part.key, part.datastore)) for part in vm.parts)

    def _part_move(self, part: Part, target: str) -> PartMove:
        name, other = self._name(part.datastore), self._name(target)
        return PartMove(part.key, part.label, part.datastore, name, target, other, part.size)

    def _name(self, moid: str) -> str:
        known = self._estate.datastores.get(moid)
        return known.name if known is not None else moid


def left_datastores(parts: Iterable[PartMove]) -> frozenset[str]:
    """The datastores (MoIDs) that hold nothing of these parts after the move."""
    known = tuple(parts)
    return frozenset(part.source for part in known) - {part.target for part in known}
