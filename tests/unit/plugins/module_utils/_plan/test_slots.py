# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots and timeouts: no host is asked for too much, no slot stays idle, and no move is cut off that only shares its link."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import predicted_seconds
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.slots import (
    GIB,
    limits_from,
    move_timeout,
    next_moves,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import host, vm

HOSTS = ("host-1", "host-2", "host-3")


def move(number: int, source: str, target: str, seconds: float = 10.0, gib: float = 8) -> Move:
    return Move(
        number,
        f"vm-{number}",
        f"ml-{number}",
        source,
        source,
        target,
        target,
        int(gib * GIB),
        predicted_seconds=seconds,
    )


ends = st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS)).filter(lambda pair: pair[0] != pair[1])
moves = st.lists(st.tuples(ends, st.integers(1, 5)), max_size=25).map(
    lambda rows: [move(n, *pair, seconds=float(s)) for n, (pair, s) in enumerate(rows)]
)
limits = st.builds(SlotLimits, st.integers(1, 8), st.dictionaries(st.sampled_from(HOSTS), st.integers(1, 8)))


def slots_in_use(chosen: list[Move]) -> Counter[str]:
    return Counter(end for m in chosen for end in (m.source, m.target))


@given(moves, limits)
def test_no_host_has_more_moves_than_slots_and_none_waits_that_fits(pending: list[Move], allowed: SlotLimits) -> None:
    begun: list[Move] = []
    while pending:
        chosen = next_moves(pending, begun, allowed)
        pending = [m for m in pending if m not in chosen]
        begun += chosen
        used = slots_in_use(begun)
        free = {h: allowed.by_host.get(h, allowed.per_host) - used[h] for h in HOSTS}
        assert min(free.values()) >= 0
        assert not [m for m in pending if free[m.source] and free[m.target]]
        begun = begun[1:]


@given(moves)
def test_the_longest_begin_first(pending: list[Move]) -> None:
    chosen = [m.predicted_seconds for m in next_moves(pending, (), SlotLimits(50))]
    assert chosen == sorted((m.predicted_seconds for m in pending), reverse=True)


@pytest.mark.parametrize(("link", "slots"), [(None, 8), (1_000, 4), (10_000, 8), (25_000, 8)])
def test_a_slow_link_halves_the_slots(link: int | None, slots: int) -> None:
    allowed = limits_from([host(1, link_mbit=link)], 8)
    assert allowed.by_host.get("host-1", allowed.per_host) == slots


@pytest.mark.parametrize("slots", [0, 9, -1])
def test_more_slots_than_vsphere_has_are_refused(slots: int) -> None:
    with pytest.raises(InvalidInput, match=f"slots is {slots}"):
        limits_from([], slots)


@given(st.integers(1, 4096), st.sampled_from([1_000, 10_000, 25_000, 100_000]), st.integers(1, 8))
def test_a_move_that_shares_its_link_has_time_enough(gib: int, link: int, slots: int) -> None:
    source = host(1, link_mbit=link)
    allowed = limits_from([source], slots)
    seconds = predicted_seconds(vm(1, gib), link)
    sharing = allowed.by_host.get("host-1", slots)
    timeout = move_timeout(move(1, "host-1", "host-2", seconds, gib), allowed, per_gib=None, floor=300)
    assert timeout >= max(300, 2 * seconds * sharing)


def test_an_operators_timeout_is_kept() -> None:
    slow = move(1, "host-1", "host-2", seconds=10_000, gib=64)
    assert move_timeout(slow, SlotLimits(8), per_gib=5, floor=60) == 320
    assert move_timeout(slow, SlotLimits(8), per_gib=5, floor=600) == 600
