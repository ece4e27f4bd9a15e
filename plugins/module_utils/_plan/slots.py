# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots: how many moves a host or datastore may have at a time, which moves may start now, and when a move times out. Pure.

vCenter counts a vMotion on the source and on the target host, at most 8 each (4 on 1GbE; Broadcom KB 326281). A storage move takes
as much of a host as 4 vMotions, so that 2 fit, and 8 fit on a datastore. vCenter queues moves beyond that. Only a counter of our own
can keep slots free for others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from .._core.errors import InvalidInput
from .._vsphere.estate import HostState
from .model import Move, SlotLimits

MAX_SLOTS = 8
STORAGE_COST = 4  # slots of a host that a storage move takes
SLOTS_ON_1GBE = 4
GIB = 1024**3
MIN_PER_GIB = 10.0  # seconds
TIMEOUT_MARGIN = 3.0  # a training changes memory while it is copied, so that part of it is copied again


def limits_from(hosts: Iterable[HostState], slots: int) -> SlotLimits:
    """The limits for ``slots`` vMotions per host; at most 4 for hosts with a link below 10GbE.

    Raises InvalidInput if ``slots`` is not from 1 to 8.
    """
    if not 1 <= slots <= MAX_SLOTS:
        raise InvalidInput(
            f"slots is {slots}",
            hint=f"Set slots to a number from 1 to {MAX_SLOTS}: vSphere runs at most {MAX_SLOTS} vMotions per host",
            option="slots",
        )
    slow = (host for host in hosts if host.link_mbit is not None and host.link_mbit < 10_000)
    return SlotLimits(slots, {host.moid: min(slots, SLOTS_ON_1GBE) for host in slow})


def next_moves(pending: Sequence[Move], in_flight: Collection[Move], limits: SlotLimits) -> tuple[Move, ...]:
    """The moves to start now, longest first. No slot stays free while a pending move fits it."""
    used = _Used(limits)
    for move in in_flight:
        used.take(move)
    chosen = []
    for move in sorted(pending, key=lambda m: (-m.predicted_seconds, m.number)):
        if used.has_room(move):
            used.take(move)
            chosen.append(move)
    return tuple(chosen)


class _Used:
    """What moves take: their number and their cost by host, the storage moves by datastore, and those between vCenters."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._crossing = 0
        self._moves = Counter[str]()
        self._storage = Counter[str]()
        self._cost = Counter[str]()

    def has_room(self, move: Move) -> bool:
        limits, cost = self._limits, _cost(move)
        across = limits.between_vcenters
        if across is not None and move.changes_vcenter and self._crossing >= across:
            return False
        most = {host: limits.by_host.get(host, limits.per_host) for host in _hosts(move)}
        hosts = all(
            self._moves[host] < limit and self._cost[host] + cost <= max(MAX_SLOTS, limit)
            for host, limit in most.items()
        )
        return hosts and all(self._storage[datastore] < limits.storage_per_datastore for datastore in _datastores(move))

    def take(self, move: Move) -> None:
        self._crossing += move.changes_vcenter
        self._moves.update(_hosts(move))
        for host in _hosts(move):
            self._cost[host] += _cost(move)
        self._storage.update(_datastores(move))


def _cost(move: Move) -> int:
    """Slots of a host. A VM with a vGPU has the link to itself, because it stands still as long as its vGPU is copied."""
    if move.vgpus:
        return MAX_SLOTS
    return STORAGE_COST if move.parts else 1


def _hosts(move: Move) -> set[str]:
    return {move.source, move.target}


def _datastores(move: Move) -> set[str]:
    """The datastores from or to which parts move."""
    return {datastore for part in move.parts if part.moves for datastore in (part.source, part.target)}


def move_timeout(move: Move, limits: SlotLimits, *, per_gib: float | None, floor: float) -> float:
    """Seconds after which a move is cancelled, at least ``floor``.

    With ``per_gib`` it is that many seconds per GiB of the VM's memory, and of its files that move. Otherwise it is the predicted duration, times the
    number of moves that may share the link, times a margin for memory that is copied again.
    """
    gib = (move.memory_bytes + move.storage_bytes) / GIB
    if per_gib is not None:
        return max(floor, per_gib * gib)
    sharing = max(limits.by_host.get(host, limits.per_host) for host in (move.source, move.target))
    if move.changes_vcenter:  # moves of all hosts share the network between the vCenters
        sharing = limits.between_vcenters or max(sharing, MAX_SLOTS)
    return max(floor, MIN_PER_GIB * gib, TIMEOUT_MARGIN * sharing * move.predicted_seconds)
