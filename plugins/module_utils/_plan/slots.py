# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sliding window of slots: which moves may start now. Pure.

vCenter counts a vMotion against the source and the target host, 8 each (4 on 1GbE; Broadcom KB 326281),
and queues what exceeds it; only our own counter keeps slots free for others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from .._core.errors import InvalidInput
from .._vsphere.estate import HostState
from .model import Move, SlotLimits

MAX_SLOTS = 8
SLOTS_ON_1GBE = 4
GIB = 1024**3
MIN_PER_GIB = 10.0  # seconds
TIMEOUT_MARGIN = 3.0  # a training writes its memory while it is copied, so that some of it is copied again


def limits_from(hosts: Iterable[HostState], slots: int) -> SlotLimits:
    """The limits for ``slots`` vMotions a host, less where the vMotion network is below 10GbE.

    Raises InvalidInput when ``slots`` is not within 1 to 8.
    """
    if not 1 <= slots <= MAX_SLOTS:
        raise InvalidInput(
            f"slots is {slots}",
            hint=f"vSphere runs at most {MAX_SLOTS} vMotions a host; give 1 to {MAX_SLOTS}",
            option="slots",
        )
    slow = (host for host in hosts if host.link_mbit is not None and host.link_mbit < 10_000)
    return SlotLimits(slots, {host.moid: min(slots, SLOTS_ON_1GBE) for host in slow})


def next_moves(pending: Sequence[Move], in_flight: Collection[Move], limits: SlotLimits) -> tuple[Move, ...]:
    """The moves to start now, longest first; no slot stays idle while a move fits it."""
    used = Counter(host for move in in_flight for host in (move.source, move.target))
    chosen = []
    for move in sorted(pending, key=lambda m: (-m.predicted_seconds, m.number)):
        ends = (move.source, move.target)
        if all(used[host] < limits.by_host.get(host, limits.per_host) for host in ends):
            used.update(ends)
            chosen.append(move)
    return tuple(chosen)


def move_timeout(move: Move, limits: SlotLimits, *, per_gib: float | None, floor: float) -> float:
    """Seconds after which a move is cancelled: never below ``floor``, and growing with the VM's memory.

    That is ``per_gib`` where given; else what the plan predicts for a move that has its link to itself, times the moves
    that may share the link, times a margin for memory that is written meanwhile.
    """
    gib = move.memory_bytes / GIB
    if per_gib is not None:
        return max(floor, per_gib * gib)
    sharing = max(limits.by_host.get(host, limits.per_host) for host in (move.source, move.target))
    return max(floor, MIN_PER_GIB * gib, TIMEOUT_MARGIN * sharing * move.predicted_seconds)
