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

from .._vsphere.estate import Datastore, Estate, HostState, Part, StoragePolicies, VmState
from .._vsphere.qualified import crosses
from .model import Move, PartMove, Scope, StorageRequest

Blocked = tuple[str, str]  # a failed check and the object it failed on
_SINGLE = ("datastore_not_permitted", "datastore_policy")
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
        return self._moves(vm, chosen, host), ()

    def _choices(self, vm: VmState, host: HostState) -> tuple[list[Choice], tuple[Blocked, ...]]:
        """The parts that have to move with the VM to a host, and the checks that fail."""
        blocked: list[Blocked] = []
        choices: list[Choice] = []
        for part in vm.parts:
            given = self._given(vm, part)
            policy = self._binding_policy(vm, part, host)
            if self._stays(part, host, given):
                continue
            if part.fixed:
                blocked.append(("disk_not_movable", f"{part.label} ({part.fixed})"))
            fitting, why = self._candidates(host, given, policy)
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
        return self._moves(vm, targets, None) if targets else ()

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
        chosen = self._request.policy
        fits = not chosen or self._estate.policies.fits(chosen, part.datastore)
        return self._reaches(host, part.datastore) and (not given or part.datastore in given) and fits

    def _reaches(self, host: HostState, moid: str) -> bool:
        """Whether a host can read and write a datastore."""
        known = self._estate.datastores.get(moid)
        return (
            known is not None
            and moid in host.datastores
            and host.moid in known.hosts
            and host.moid not in known.read_only
        )

    def _policy(self, vm: VmState, part: Part, host: HostState) -> str:
        """The storage policy that a part gets or keeps on a host, "" for none.

        What a VM has in one vCenter, another one does not know.
        """
        if crosses(vm.host, host.moid):
            return ""
        known = self._estate.policies
        before = self._request.home_policies.get(vm.moid, {}).get(part.key, "")
        if before not in known.names and known.names:
            before = ""  # it was deleted meanwhile
        return before or self._request.policy or known.of(vm.moid, part.key) or ""

    def _binding_policy(self, vm: VmState, part: Part, host: HostState) -> str:
        """The policy that the part's datastore must fit. A home is where the VM was before, whether it fits or not."""
        return "" if vm.moid in self._request.homes else self._policy(vm, part, host)

    def _candidates(
        self, host: HostState, given: frozenset[str], policy: str
    ) -> tuple[tuple[Datastore, ...], list[Blocked]]:
        """The datastores that may take a part on a host; if there are none, why."""
        wanted = [self._estate.datastores[m] for m in sorted(given or host.datastores) if m in self._estate.datastores]
        found = {datastore.moid: list(self._blockers(host, datastore, policy)) for datastore in wanted}
        fitting = tuple(datastore for datastore in wanted if not found[datastore.moid])
        if fitting:
            return fitting, []
        if not given:
            # What one cause alone keeps from taking the files.
            causes = [each[0] for each in found.values() if len(each) == 1 and each[0][0] in _SINGLE]
            return (), causes or [("no_datastore", host.name)]
        gone = [("datastore_gone", moid) for moid in sorted(given - self._estate.datastores.keys())]
        return (), [*gone, *(blocked for datastore in wanted for blocked in found[datastore.moid])]

    def _blockers(self, host: HostState, datastore: Datastore, policy: str) -> Iterator[Blocked]:
        if not self._reaches(host, datastore.moid):
            yield "datastore_unreached", datastore.name
        if not datastore.in_service:
            yield "datastore_maintenance", datastore.name
        if datastore.free_bytes is None:
            yield "unreadable", f"{datastore.name}: its free space"
        if datastore.moid in self._request.not_permitted:
            yield "datastore_not_permitted", datastore.name
        if policy and not self._estate.policies.fits(policy, datastore.moid):
            yield "datastore_policy", f"{datastore.name} for {self._policy_name(policy) or policy}"

    def _choose(self, vm: VmState, choices: Sequence[Choice]) -> dict[int, str] | None:
        """A datastore for each part: one for all of them if one has the room, else each for itself, largest first."""
        advised = self._advised(vm, choices)
        if advised is not None:
            return advised
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

    def _advised(self, vm: VmState, choices: Sequence[Choice]) -> dict[int, str] | None:
        """What Storage DRS recommends, if it fits and no other datastores were approved: it does not know the plan's other moves."""
        wanted, arriving = self._request.recommended.get(vm.moid, {}), Counter[str]()
        for part, fitting in choices:
            moid = wanted.get(part.key, "")
            if moid not in {datastore.moid for datastore in fitting}:
                return None
            arriving[moid] += part.size
        full = any(self.free(vm, self._estate.datastores[moid]) < size for moid, size in arriving.items())
        if full or vm.moid in self._request.preferred:
            return None
        return {part.key: wanted[part.key] for part, _fitting in choices}

    def _rank(self, vm: VmState, part: Part | None, datastore: Datastore, size: int) -> tuple[bool, bool, float, str]:
        """Sorts datastores: the approved one first, one that a single host reaches last, then by their free share afterwards."""
        preferred = self._request.preferred.get(vm.moid, {})
        wanted = set(preferred.values()) if part is None else {preferred.get(part.key)}
        share = (self.free(vm, datastore) - size) / (datastore.capacity_bytes or 1)
        return bool(preferred) and datastore.moid not in wanted, datastore.local, -round(share, 4), datastore.name

    def _moves(self, vm: VmState, targets: Mapping[int, str], host: HostState | None) -> tuple[PartMove, ...]:
        """All parts, those in ``targets`` on their way there; without a host in a move that a task carries out already."""
        return tuple(self._part_move(vm, part, targets.get(part.key, part.datastore), host) for part in vm.parts)

    def _part_move(self, vm: VmState, part: Part, target: str, host: HostState | None) -> PartMove:
        name, other = self._name(part.datastore), self._name(target)
        policy = "" if host is None else self._policy(vm, part, host)
        before = self._estate.policies.of(vm.moid, part.key) or ""
        named = self._policy_name(policy)
        return PartMove(part.key, part.label, part.datastore, name, target, other, part.size, policy, named, before)

    def _policy_name(self, policy: str) -> str:
        return self._estate.policies.names.get(policy, "")

    def _name(self, moid: str) -> str:
        known = self._estate.datastores.get(moid)
        return known.name if known is not None else moid


def left_datastores(parts: Iterable[PartMove]) -> frozenset[str]:
    """The datastores (MoIDs) that hold nothing of these parts after the move."""
    known = tuple(parts)
    return frozenset(part.source for part in known) - {part.target for part in known}


def policy_notes(estate: Estate, request: StorageRequest, moves: Iterable[Move]) -> Iterator[str]:
    """What an operator should know of the storage policies in these moves, one sentence each. Nothing if nobody asked for them."""
    policies = estate.policies
    if policies == StoragePolicies():
        return
    begun = [move for move in moves if move.task is None]
    moving = [move for move in begun if any(part.moves for part in move.parts)]
    unread = _names_of(
        m for m in moving if None in _policies_of(estate, m) and not (request.policy or m.changes_vcenter)
    )
    if unread:
        why = policies.why_unknown or "vCenter does not say it"
        yield (
            f"It is not known which storage policies the files of {unread} have: {why.rstrip('.')}. They may move to datastores that "
            "do not fit, and may lose their policies."
        )
    lost = _names_of(move for move in moving if move.changes_vcenter and _policies_of(estate, move) != {""})
    if lost:
        yield f"The storage policies of {lost} do not go along to the other vCenter. Assign policies there."
    others = ({""}, {request.policy})
    kept = _names_of(move for move in begun if move not in moving and _policies_of(estate, move) not in others)
    if kept and request.policy:
        yield (
            f"The files of {kept} do not move, because their datastores fit {policies.names[request.policy]}. They keep their storage "
            "policies."
        )


def _policies_of(estate: Estate, move: Move) -> set[str | None]:
    """The policies that the parts of a VM have: "" for none, ``None`` for one that is unknown."""
    return {estate.policies.of(move.vm, part.key) for part in estate.vms[move.vm].parts}


def _names_of(moves: Iterable[Move]) -> str:
    return ", ".join(sorted(move.vm_name for move in moves))
