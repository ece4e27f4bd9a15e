# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots and timeouts: no host is asked for too much, no slot stays idle, and no move is cut off that only shares its link."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, PartMove, SlotLimits
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


def storage_move(number: int, source: str, target: str, stores: tuple[str, str]) -> Move:
    part = PartMove(0, "files", stores[0], stores[0], stores[1], stores[1], GIB)
    return replace(move(number, source, target), parts=(part,))


STORES = st.sampled_from([("ds-1", "ds-2"), ("ds-2", "ds-1"), ("ds-1", "ds-3")])
mixed = st.lists(
    st.tuples(st.sampled_from([f"host-{n}" for n in range(12)]), st.sampled_from([f"host-{n}" for n in range(12)]), STORES, st.booleans()),
    max_size=40,
).map(lambda rows: [storage_move(n, a, b, stores) if files or a == b else move(n, a, b) for n, (a, b, stores, files) in enumerate(rows)])  # fmt: skip


@given(mixed, st.integers(1, 8))
def test_a_host_has_two_storage_moves_and_a_datastore_eight(pending: list[Move], slots: int) -> None:
    begun: list[Move] = []
    while pending:
        chosen = next_moves(pending, begun, SlotLimits(slots))
        assert chosen or begun
        pending = [m for m in pending if m not in chosen]
        begun += chosen
        hosts = Counter(end for m in begun for end in {m.source, m.target})
        files = [m for m in begun if m.parts]
        heavy = Counter(end for m in files for end in {m.source, m.target})
        stores = Counter(end for m in files for p in m.parts for end in (p.source, p.target))
        assert max(hosts.values(), default=0) <= slots
        assert max(heavy.values(), default=0) <= 2
        assert max(stores.values(), default=0) <= 8
        assert all(hosts[name] - heavy[name] + 4 * heavy[name] <= 8 for name in hosts)
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
    seconds = predicted_seconds(vm(1, gib=gib), link)
    sharing = allowed.by_host.get("host-1", slots)
    timeout = move_timeout(move(1, "host-1", "host-2", seconds, gib), allowed, per_gib=None, floor=300)
    assert timeout >= max(300, 2 * seconds * sharing)


def test_an_operators_timeout_is_kept() -> None:
    slow = move(1, "host-1", "host-2", seconds=10_000, gib=64)
    assert move_timeout(slow, SlotLimits(8), per_gib=5, floor=60) == 320
    assert move_timeout(slow, SlotLimits(8), per_gib=5, floor=600) == 600


@pytest.mark.parametrize(
    ("memory", "files", "seconds", "allowed", "timeout"),
    [
        (64, 0, 20.0, SlotLimits(8), 640.0),  # the memory
        (8, 56, 20.0, SlotLimits(8), 640.0),  # memory and files
        (1, 0, 100.0, SlotLimits(8), 2400.0),  # eight that share the link, three times
        (1, 0, 100.0, SlotLimits(2), 600.0),
        (1, 0, 100.0, SlotLimits(2, {"host-1": 1, "host-2": 1}), 300.0),
        (1, 0, 100.0, SlotLimits(2, {"host-2": 4}), 1200.0),  # the host on which more share it counts
        (1, 0, 10.0, SlotLimits(1), 60.0),  # never less than the floor
    ],
)
def test_how_long_a_move_may_take(memory: int, files: int, seconds: float, allowed: SlotLimits, timeout: float) -> None:
    made = move(1, "host-1", "host-2", seconds, memory)
    parts = (PartMove(0, "files", "a", "a", "b", "b", files * GIB), PartMove(1, "disk", "b", "b", "b", "b", 900 * GIB))
    assert move_timeout(replace(made, parts=parts if files else ()), allowed, per_gib=None, floor=60.0) == timeout
    assert move_timeout(replace(made, parts=parts if files else ()), allowed, per_gib=2.0, floor=1.0) == 2.0 * (
        memory + files
    )


@pytest.mark.parametrize(
    ("between", "slots", "timeout"), [(None, 2, 2400.0), (None, 12, 3600.0), (1, 8, 300.0), (3, 1, 900.0)]
)
def test_moves_of_all_hosts_share_the_network_between_the_vcenters(
    between: int | None, slots: int, timeout: float
) -> None:
    made = move(1, "host-1", "host-2@other", 100.0, 1)
    assert move_timeout(made, SlotLimits(slots, between_vcenters=between), per_gib=None, floor=60.0) == timeout


@pytest.mark.parametrize(("between", "begun", "begin"), [(None, 0, 4), (2, 0, 2), (2, 1, 1), (2, 2, 0), (1, 0, 1)])
def test_only_so_many_moves_cross_at_a_time(between: int | None, begun: int, begin: int) -> None:
    crossing = [move(n, f"host-{n}", f"host-{n}@other") for n in range(1, 7)]
    near = [move(n, f"host-{n}", f"host-{n + 1}") for n in (11, 13)]
    chosen = next_moves(
        [*crossing[begun : begun + 4], *near], crossing[:begun], SlotLimits(8, between_vcenters=between)
    )
    assert [made.number for made in chosen if made.number > 10] == [11, 13], "moves within a vCenter do not wait"
    assert len(chosen) - 2 == begin


def test_a_vm_with_a_vgpu_has_its_hosts_to_itself() -> None:
    heavy = replace(move(1, "host-1", "host-2", 99.0), vgpus=("grid_t4-4q",))
    light = [move(2, "host-1", "host-3"), move(3, "host-4", "host-2"), move(4, "host-4", "host-3")]
    assert [made.number for made in next_moves([heavy, *light], (), SlotLimits(8))] == [1, 4]
    assert next_moves([heavy], light[:1], SlotLimits(8)) == ()
    assert next_moves([heavy], (), SlotLimits(1)) == (heavy,)


def test_a_host_carries_a_storage_move_and_four_others() -> None:
    files = storage_move(1, "host-1", "host-2", ("a", "b"))
    others = [move(n, "host-1", f"host-{n}") for n in range(3, 10)]
    assert len(next_moves(others, [files], SlotLimits(8))) == 4
    assert len(next_moves([files], others[:4], SlotLimits(8))) == 1
    assert next_moves([files], others[:5], SlotLimits(8)) == ()


def test_equal_moves_begin_in_the_order_of_their_numbers() -> None:
    pending = [move(n, "host-1", "host-2") for n in (3, 1, 2)]
    assert [made.number for made in next_moves(pending, (), SlotLimits(2))] == [1, 2]


@pytest.mark.parametrize(("link", "slots", "limit"), [(9_999, 8, 4), (1_000, 3, 3), (10_000, 8, 8), (None, 8, 8)])
def test_a_host_below_ten_gigabit_has_four_slots_at_most(link: int | None, slots: int, limit: int) -> None:
    allowed = limits_from([host(1, link_mbit=link)], slots)
    assert (allowed.per_host, allowed.by_host.get("host-1", slots)) == (slots, limit)


@pytest.mark.parametrize("slots", [1, 8])
def test_the_slots_that_vsphere_has_may_be_asked_for(slots: int) -> None:
    assert limits_from([], slots) == SlotLimits(slots)
