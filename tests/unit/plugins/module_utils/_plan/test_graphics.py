# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vGPUs: free ones on generated cards, predicted stuns, and what a plan says and refuses because of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_from_dict,
    plan_id_of,
    plan_lines,
    plan_to_dict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.graphics import (
    GraphicsPlanner,
    profile_of,
    published_stun,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan, SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.slots import next_moves
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Device,
    Estate,
    Gpu,
    HostState,
    StunEstimate,
    VgpuMode,
    VgpuProfile,
    VmState,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import GIB, estate, host, plan_all, vm

QUARTER, HALF, WHOLE = PROFILES = ("grid_v100-4q", "grid_v100-8q", "grid_v100-16q")
SIZES = {QUARTER: 4, HALF: 8, WHOLE: 16}
LINK = 10_000


def gpu(*vms: str, gib: float = 16, **changes: Any) -> Gpu:
    return Gpu(**{"name": "NVIDIA Tesla V100", "memory_bytes": int(gib * GIB), "vms": vms, **changes})


def with_gpus(number: int, *gpus: Gpu, **changes: Any) -> HostState:
    values = {"gpus": gpus, "vgpu_profiles": frozenset(PROFILES), "link_mbit": LINK, **changes}
    return host(number, **values)


def with_vgpus(number: int, *profiles: str, on: int = 1, **changes: Any) -> VmState:
    devices = tuple(Device("vgpu", f"PCI device {n}", profile) for n, profile in enumerate(profiles))
    return vm(number, on=on, devices=devices, **changes)


def world_of(hosts: list[HostState], vms: list[VmState], **changes: Any) -> Estate:
    """An estate in which the vGPUs of all VMs on GPUs are known."""
    return estate(hosts, vms, **{"vgpus": {each.moid: each.vgpus for each in vms}, **changes})


def checks(plan: Plan) -> dict[str, set[str]]:
    return {refusal.vm_name: {reason.check for reason in refusal.reasons} for refusal in plan.refusals}


@pytest.mark.parametrize(
    ("name", "framebuffer", "model", "slices"),
    [
        ("grid_v100-16q", 16, "v100", 0),
        ("grid_v100dx-32c", 32, "v100", 0),
        ("grid_t4-2b4", 2, "t4", 0),
        ("grid_m10-0q", 0.5, "m10", 0),
        ("nvidia_a100-4-20c", 20, "a100", 4),
        ("nvidia_a100-1-5cme", 5, "a100", 1),
        ("nvidia_rtx_a6000-48q", 48, "rtxa6000", 0),
        ("nvidia_rtx5880-ada-48q", 48, "rtx5880", 0),
        ("mxgpu", None, "", 0),
    ],
)
def test_a_profile_says_its_framebuffer_and_its_model(
    name: str, framebuffer: float | None, model: str, slices: int
) -> None:
    profile = profile_of(name)
    assert (profile.framebuffer, profile.model, profile.slices) == (framebuffer, model, slices)
    assert profile_of(name, VgpuProfile(7)).framebuffer == 7, "what the host says is certain"
    assert profile_of(name, VgpuProfile(0)) == profile


def test_stuns_follow_the_published_table() -> None:
    assert [published_stun(gib) for gib in (0.5, 1, 2, 4, 8, 16, 32)] == [2, 2, 4, 6, 12, 22, 39]
    assert published_stun(12) == 17
    assert published_stun(64) == 78, "longer in proportion, beyond the table"


MODES = st.sampled_from([VgpuMode.SAME_SIZE, VgpuMode.MIXED_SIZE])
RESIDENTS = st.lists(st.sampled_from(PROFILES), max_size=4)


@st.composite
def cards(draw: st.DrawFn) -> tuple[Gpu, tuple[str, ...]]:
    """A card of 16 GiB with the vGPUs that were put on it one after the other, as far as they fit."""
    mode, present = draw(MODES), list[str]()
    for profile in draw(RESIDENTS):
        if fits(mode, [*present, profile]):
            present.append(profile)
    return gpu(mode=mode), tuple(present)


def fits(mode: VgpuMode, present: list[str]) -> bool:
    """Whether a card of 16 GiB can hold these vGPUs."""
    return sum(SIZES[p] for p in present) <= 16 and (mode is VgpuMode.MIXED_SIZE or len(set(present)) < 2)


@st.composite
def graphics_worlds(draw: st.DrawFn) -> tuple[Estate, list[list[str]]]:
    """VMs with one or two vGPUs leave host-1 for host-2; and what is on each card of host-2."""
    found = draw(st.lists(cards(), min_size=1, max_size=3))
    leaving = [
        with_vgpus(n, *[draw(st.sampled_from(PROFILES))] * draw(st.integers(1, 2)), gib=1)
        for n in range(draw(st.integers(1, 4)))
    ]
    users = [
        with_vgpus(100 + 10 * c + n, profile, on=2, gib=1)
        for c, (_card, present) in enumerate(found)
        for n, profile in enumerate(present)
    ]
    names = iter(users)
    gpus = [replace(card, vms=tuple(next(names).moid for _profile in present)) for card, present in found]
    target = with_gpus(2, *gpus, consolidates_vgpus=draw(st.booleans()))
    return world_of([with_gpus(1), target], [*leaving, *users]), [list(present) for _card, present in found]


def packed(modes: list[VgpuMode], present: list[list[str]], more: list[str]) -> bool:
    """Whether there is any way to put more vGPUs on the cards."""
    if not more:
        return True
    profile, *rest = more
    return any(
        fits(mode, [*here, profile]) and packed(modes, [*present[:n], [*here, profile], *present[n + 1 :]], rest)
        for n, (mode, here) in enumerate(zip(modes, present, strict=True))
        if (mode, sorted(here)) not in [(m, sorted(h)) for m, h in zip(modes[:n], present[:n], strict=True)]
    )


@given(graphics_worlds())
def test_a_host_gets_no_more_vgpus_than_it_has_and_no_free_one_is_refused(
    made: tuple[Estate, list[list[str]]],
) -> None:
    world, present = made
    modes = [card.mode for card in world.hosts["host-2"].gpus or ()]
    plan = plan_all(world, stall_budget=None)
    arriving = [profile for move in plan.moves for profile in move.vgpus]
    assert packed(modes, present, arriving)
    assert all(found == {"no_vgpu_slot"} for found in checks(plan).values())
    if not plan.moves:  # else the card that ESXi would choose for an earlier VM decides
        for refusal in plan.refusals:
            assert not packed(modes, present, list(world.vms[refusal.vm].vgpus))
    profiles = {profile for each in world.vms.values() if each.host == "host-1" for profile in each.vgpus}
    if len(profiles) == 1 and all(len(each.vgpus) == 1 for each in world.vms.values()):
        (profile,) = profiles
        free = max(n for n in range(13) if packed(modes, present, [profile] * n))
        assert len(plan.moves) == min(free, len(plan.moves) + len(plan.refusals)), "every free vGPU is used"


def single(target: HostState, *profiles: str, users: tuple[VmState, ...] = (), **changes: Any) -> Plan:
    world = world_of([with_gpus(1), target], [with_vgpus(1, *profiles or (HALF,)), *users], **changes)
    return plan_all(world, stall_budget=60.0)


def user(number: int, *profiles: str) -> VmState:
    return with_vgpus(number, *profiles, on=2)


@pytest.mark.parametrize(
    ("target", "users", "profiles", "fit"),
    [
        (with_gpus(2, gpu()), (), (HALF, HALF), True),
        (with_gpus(2, gpu()), (), (HALF, HALF, HALF), False),
        (with_gpus(2, gpu(), gpu()), (), (WHOLE, WHOLE), True),
        (with_gpus(2, gpu("vm-8")), (user(8, QUARTER),), (QUARTER,), True),
        (with_gpus(2, gpu("vm-8")), (user(8, QUARTER),), (HALF,), False),
        (with_gpus(2, gpu("vm-8", mode=VgpuMode.MIXED_SIZE)), (user(8, QUARTER),), (HALF,), True),
        (with_gpus(2, gpu("vm-8")), (user(8, ""),), (HALF,), False),  # its profile is unknown
        (with_gpus(2, gpu("vm-8")), (vm(8, on=2),), (HALF,), False),  # it has none, as far as vCenter shows it
        (with_gpus(2, gpu("vm-8"), gpu("vm-8")), (user(8, HALF, HALF),), (HALF, HALF), True),
        (with_gpus(2, gpu("vm-8"), gpu("vm-8")), (user(8, HALF, WHOLE),), (HALF,), False),  # which is where?
        (with_gpus(2, gpu(gib=15)), (), (WHOLE,), True),  # ECC takes its share of the memory
        (with_gpus(2, gpu(gib=0)), (), (WHOLE,), True),  # the card does not say its memory
        (with_gpus(2, gpu(name="NVIDIA T4"), gpu("vm-8")), (user(8, WHOLE),), (WHOLE,), False),  # not on a T4
        (with_gpus(2, gpu(name="card")), (), (WHOLE,), True),
    ],
)
def test_free_vgpus(target: HostState, users: tuple[VmState, ...], profiles: tuple[str, ...], fit: bool) -> None:
    plan = single(target, *profiles, users=users)
    assert len(plan.moves) == fit
    assert fit or checks(plan) == {"ml-1": {"no_vgpu_slot"}}
    assert all(move.free_vgpus_known for move in plan.moves)


@pytest.mark.parametrize(("consolidates", "fit"), [(True, True), (False, False)])
def test_a_host_chooses_the_card_as_it_is_configured(consolidates: bool, fit: bool) -> None:
    target = with_gpus(2, gpu("vm-8"), gpu(), consolidates_vgpus=consolidates)
    vms = [with_vgpus(1, QUARTER, gib=9), with_vgpus(2, WHOLE, gib=8), user(8, QUARTER)]
    plan = plan_all(world_of([with_gpus(1), target], vms))
    assert ("vm-2" in {move.vm for move in plan.moves}) is fit, "an empty card stays empty, or it does not"


def test_an_instance_takes_slices_and_memory() -> None:
    slices, card = ("nvidia_a100-3-20c", "nvidia_a100-4-20c"), gpu(name="NVIDIA A100-PCIE-40GB", gib=40)
    target = with_gpus(2, replace(card, mode=VgpuMode.MULTI_INSTANCE), vgpu_profiles=frozenset(slices))
    assert single(target, *slices).moves
    assert not single(target, slices[1], slices[1]).moves, "8 of 7 compute slices"


@pytest.mark.parametrize(
    ("changes", "profile"),
    [({"gpus": None}, HALF), ({"gpus": ()}, HALF), ({"vgpu_profiles": frozenset({"mxgpu"})}, "mxgpu")],
)
def test_unknown_vgpus_are_left_to_vcenter_and_said(changes: dict[str, Any], profile: str) -> None:
    plan = single(replace(with_gpus(2, gpu("vm-8")), **changes), profile, users=(user(8, WHOLE),))
    assert [move.free_vgpus_known for move in plan.moves] == [False]
    assert "It is not known whether esx-2 has free vGPUs. vCenter's own check of each move decides." in plan_lines(plan)


def test_the_hint_has_the_figures() -> None:
    plan = single(with_gpus(2, gpu("vm-8")), QUARTER, QUARTER, QUARTER, QUARTER, users=(user(8, QUARTER),))
    (reason,) = plan.refusals[0].reasons
    assert reason.object == "esx-2"
    assert reason.hint.startswith("4 × grid_v100-4q needed; most free: esx-2 with 3. ")


def stun_of(*profiles: str, links: tuple[int | None, int | None] = (LINK, LINK), **said: Any) -> float | None:
    hosts = [with_gpus(n, gpu(), link_mbit=link) for n, link in enumerate(links, 1)]
    moving = with_vgpus(1, *profiles)
    return GraphicsPlanner(world_of(hosts, [moving], vgpu_profiles=said), None).stun(moving, hosts[1])


def estimates(*pairs: tuple[int, int]) -> dict[str, VgpuProfile]:
    return {HALF: VgpuProfile(8, tuple(StunEstimate(*pair) for pair in pairs))}


@pytest.mark.parametrize(
    ("profiles", "links", "said", "stun"),
    [
        ((HALF,), (LINK, LINK), {}, 12),
        ((HALF, HALF), (LINK, LINK), {}, 24),
        ((HALF,), (LINK, 1_000), {}, 120),
        ((HALF,), (100_000, 40_000), {}, 12),  # the table says nothing about faster links
        ((HALF,), (None, LINK), {}, None),
        ((), (LINK, LINK), {}, None),
        (("mxgpu", HALF), (LINK, LINK), {}, None),
        ((HALF,), (LINK, LINK), {"host-2": estimates((10_000, 5), (25_000, 3))}, 5),
        ((HALF,), (40_000, 25_000), {"host-2": estimates((10_000, 5), (25_000, 3))}, 3),
        ((HALF,), (40_000, 20_000), {"host-2": estimates((10_000, 5), (25_000, 3))}, 5),  # that of the next slower link
        ((HALF,), (LINK, 5_000), {"host-2": estimates((10_000, 5), (25_000, 3))}, 10),
        ((HALF,), (LINK, LINK), {"host-1": estimates((10_000, 7)), "host-2": estimates((10_000, 5))}, 7),
        ((HALF, QUARTER), (LINK, LINK), {"host-2": estimates((10_000, 5))}, 11),
        ((HALF,), (LINK, LINK), {"host-2": estimates()}, 12),
    ],
)
def test_predicted_stuns(
    profiles: tuple[str, ...], links: tuple[int | None, int | None], said: dict[str, Any], stun: float | None
) -> None:
    assert stun_of(*profiles, links=links, **said) == stun


def test_the_stun_between_two_vcenters_is_unknown_without_their_bandwidth() -> None:
    hosts = [with_gpus(1), with_gpus(2, gpu(), moid="host-2@other")]
    moving = with_vgpus(1, HALF)
    for mbit, stun in ((None, None), (5_000, 24.0), (40_000, 12.0)):
        assert GraphicsPlanner(world_of(hosts, [moving]), None, mbit).stun(moving, hosts[1]) == stun


def test_vms_with_vgpus_move_one_after_the_other() -> None:
    hosts = [with_gpus(1), with_gpus(2, gpu(), gpu()), with_gpus(3, gpu())]
    world = world_of(hosts, [with_vgpus(1, WHOLE), with_vgpus(2, WHOLE), vm(3), vm(4)])
    moves = plan_all(world, stall_budget=None).moves
    assert [bool(move.vgpus) for move in moves] == [True, True, False, False], "the longest ones first"
    first = next_moves(moves, (), SlotLimits())
    assert [move.number for move in first] == [1]
    assert next_moves(moves[1:], first, SlotLimits()) == ()
    assert [move.number for move in next_moves(moves[2:], (), SlotLimits())] == [3, 4]


def budgeted(profile: str, budget: float | None, **changes: Any) -> Plan:
    world = world_of([with_gpus(1, **changes), with_gpus(2, gpu(), **changes)], [with_vgpus(1, profile)])
    return plan_all(world, stall_budget=budget)


def test_a_stun_above_the_budget_is_refused_with_the_budget_that_it_needs() -> None:
    plan = budgeted(WHOLE, 5.0)
    (reason,) = plan.refusals[0].reasons
    assert (reason.check, reason.object) == ("vgpu_stun", "esx-2")
    assert reason.hint.startswith(
        "It may stand still for up to 22 s; the stall budget is 5 s. Raise stall_budget to 22, "
    )
    assert budgeted(WHOLE, 22.0).moves
    assert budgeted(WHOLE, None).moves, "a way back is not refused"
    (slow,) = budgeted(WHOLE, 500.0, link_mbit=1_000).refusals[0].reasons
    assert slow.check == "vgpu_stun_limit"
    assert "up to 220 s; vSphere by default ends a vMotion after 100 s" in slow.hint


def test_the_hint_names_the_stun_of_a_host_that_only_the_budget_excludes() -> None:
    full = with_gpus(2, gpu("vm-8"), link_mbit=LINK)
    slower = with_gpus(3, gpu(), link_mbit=5_000)
    plan = plan_all(world_of([with_gpus(1), full, slower], [with_vgpus(1, HALF), user(8, WHOLE)]), stall_budget=5.0)
    hints = {reason.check: reason.hint for reason in plan.refusals[0].reasons}
    assert "up to 24 s" in hints["vgpu_stun"]
    assert hints.keys() == {"vgpu_stun", "no_vgpu_slot"}


def test_a_plan_says_how_long_its_vms_stand_still() -> None:
    plan = budgeted(WHOLE, 30.0)
    assert plan_lines(plan)[0] == "ml-1: esx-1 → esx-2; stands still for up to 22 s (vGPU grid_v100-16q)"
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan
    (move,) = plan.moves
    other = replace(plan, moves=(replace(move, predicted_stun=None),))
    assert plan_id_of(other) == plan.plan_id, "a prediction is not a decision"
    assert plan_lines(other)[0].endswith("; it is not known how long it stands still (vGPU grid_v100-16q)")
    assert "stand" not in "".join(plan_lines(plan_all(estate([host(1), host(2)], [vm(1)]))))


def test_a_run_refuses_a_longer_stun_than_its_own_budget_and_other_vgpus() -> None:
    world = world_of([with_gpus(1), with_gpus(2, gpu())], [with_vgpus(1, HALF)])
    plan = plan_all(world, stall_budget=30.0)
    assert revalidate(plan, world, 12.0) == ()
    (drift,) = revalidate(plan, world, 5.0)
    assert drift.what == "it may stand still for up to 12 s, and stall_budget is 5 s"
    for changed, words in (
        (replace(world, vms={"vm-1": with_vgpus(1, WHOLE)}), "its vGPUs are grid_v100-16q, in the plan grid_v100-8q"),
        (replace(world, vms={"vm-1": vm(1)}), "its vGPUs are none, in the plan grid_v100-8q"),
        (
            replace(world, hosts={**world.hosts, "host-2": host(2)}),
            "esx-2 does not offer the vGPU profile grid_v100-8q any more",
        ),
    ):
        assert words in revalidate(plan, changed, 30.0)[0].what


def test_moves_in_flight_take_their_vgpus() -> None:
    world = world_of(
        [with_gpus(1), with_gpus(2, gpu())], [with_vgpus(1, WHOLE, moving_task="task-1"), with_vgpus(2, WHOLE)]
    )
    plan = plan_all(world, moving={"vm-1": ("host-2", "task-1")})
    assert [move.vm for move in plan.moves] == ["vm-1"]
    assert checks(plan) == {"ml-2": {"no_vgpu_slot"}}


def test_each_gpu_counts_its_own_vgpus() -> None:
    users = Counter(move.target for move in plan_all(
        world_of([with_gpus(1), with_gpus(2, gpu()), with_gpus(3, gpu(), gpu())], [with_vgpus(n, WHOLE) for n in range(4)])
    ).moves)  # fmt: skip
    assert users == {"host-2": 1, "host-3": 2}


@pytest.mark.parametrize(("gib", "free"), [(16.0, True), (15.0, True), (14.9, False), (8.0, False)])
def test_a_card_is_as_large_as_its_largest_profile_if_ecc_explains_the_difference(gib: float, free: bool) -> None:
    assert bool(single(with_gpus(2, gpu(gib=gib)), WHOLE).moves) is free


def test_a_missing_profile_is_named_once_for_each_device_that_has_it() -> None:
    bare = with_gpus(2, gpu(), vgpu_profiles=frozenset({HALF}))
    assert single(bare, HALF, WHOLE).refusals[0].reasons[0].object == WHOLE
    nameless = single(bare, HALF, "").refusals[0].reasons
    assert [(each.check, each.object) for each in nameless] == [("missing_vgpu_profile", "PCI device 1")]


@pytest.mark.parametrize(
    ("budget", "check"), [(99.9, "vgpu_stun_limit"), (101.0, "vgpu_stun_limit"), (500.0, "vgpu_stun_limit")]
)
def test_no_budget_allows_more_than_vsphere_does(budget: float, check: str) -> None:
    found = budgeted(WHOLE, budget, link_mbit=2_000).refusals[0].reasons
    assert [each.check for each in found] == [check]


def test_a_stun_that_is_exactly_the_budget_is_accepted() -> None:
    assert budgeted(HALF, 12.0).moves
    assert budgeted(HALF, 11.9).refusals


@pytest.mark.parametrize(
    ("host_2", "host_3", "figures"),
    [
        ((gpu("vm-8"),), (gpu(),), "most free: esx-3 with 4"),
        ((gpu(),), (gpu("vm-8"),), "most free: esx-2 with 4"),
        ((gpu("vm-8"), gpu()), (gpu(),), "most free: esx-2 with 7"),
    ],
)
def test_the_hint_names_the_host_with_the_most_free_vgpus(
    host_2: tuple[Gpu, ...], host_3: tuple[Gpu, ...], figures: str
) -> None:
    hosts = [with_gpus(1), with_gpus(2, *host_2), with_gpus(3, *host_3)]
    plan = plan_all(world_of(hosts, [with_vgpus(1, *[QUARTER] * 9), user(8, QUARTER)]))
    (reason,) = plan.refusals[0].reasons
    assert figures in reason.hint
    assert reason.hint.startswith("9 × grid_v100-4q needed")


def test_vgpus_of_earlier_moves_take_their_slots() -> None:
    hosts = [with_gpus(1), with_gpus(2, gpu(), gpu())]
    plan = plan_all(world_of(hosts, [with_vgpus(n, WHOLE, gib=9 - n) for n in (1, 2, 3)]))
    assert [move.vm for move in plan.moves] == ["vm-1", "vm-2"]
    assert "most free: esx-2 with 0" in plan.refusals[0].reasons[0].hint


@pytest.mark.parametrize(
    ("framebuffer", "seconds"), [(1.5, 3.0), (3.0, 5.0), (6.0, 9.0), (24.0, 30.5), (48.0, 58.5), (0.25, 2.0)]
)
def test_between_the_published_points_the_stun_grows_evenly(framebuffer: float, seconds: float) -> None:
    assert published_stun(framebuffer) == pytest.approx(seconds)
