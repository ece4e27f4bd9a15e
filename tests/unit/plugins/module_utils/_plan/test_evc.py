# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM does not move live to a host whose processors, or whose cluster's EVC mode, are known to be older than it needs."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.evc import GENERATIONS, lacks_mode
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest, Scope, StorageRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import estate, host, plan_all, vm

KNOWN = [f"{vendor}-{name}" for vendor, names in GENERATIONS.items() for name in names]
MODES = st.sampled_from([*KNOWN, "", "intel-from-the-future", "amd-rev-e"])


@pytest.mark.parametrize(
    ("offered", "needed", "lacks"),
    [
        ("intel-haswell", "intel-skylake", True),
        ("intel-skylake", "intel-skylake", False),
        ("intel-skylake", "intel-haswell", False),
        ("amd-zen4", "intel-merom", True),
        ("intel-merom", "amd-bulldozer", True),
        ("", "intel-merom", False),
        ("intel-merom", "", False),
        ("intel-from-the-future", "intel-merom", False),
        ("intel-merom", "intel-from-the-future", False),
    ],
)
def test_only_what_is_known_to_be_older_lacks_something(offered: str, needed: str, lacks: bool) -> None:
    assert lacks_mode(offered, needed) is lacks


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.sampled_from(KNOWN))
def test_the_modes_of_a_vendor_have_one_order(one: str, two: str, three: str) -> None:
    same = one.split("-", maxsplit=1)[0] == two.split("-", maxsplit=1)[0]
    assert not lacks_mode(one, one)
    assert (lacks_mode(one, two) or lacks_mode(two, one)) is (one != two)
    assert not (same and lacks_mode(one, two) and lacks_mode(two, one))
    if not lacks_mode(one, two) and not lacks_mode(two, three):
        assert not lacks_mode(one, three)


@given(st.lists(MODES, min_size=1, max_size=5), MODES)
def test_no_target_is_known_to_be_older_and_unknown_prevents_nothing(offered: list[str], needed: str) -> None:
    world = estate([host(1), *(host(n, evc_mode=mode) for n, mode in enumerate(offered, 2))], [vm(1, evc_mode=needed)])
    plan = plan_all(world)
    fit = [mode for mode in offered if not lacks_mode(mode, needed)]
    assert len(plan.moves) == bool(fit)
    for move in plan.moves:
        assert not lacks_mode(world.hosts[move.target].evc_mode, needed)


def test_the_refusal_names_both_modes_and_what_to_do() -> None:
    hosts = [host(1, evc_mode="intel-skylake"), host(2, evc_mode="intel-haswell"), host(3, evc_mode="amd-zen3")]
    [refusal] = plan_all(estate(hosts, [vm(1, evc_mode="intel-skylake")])).refusals
    [why] = refusal.reasons
    assert (why.check, why.object) == ("evc_mode", "esx-2 (intel-haswell), esx-3 (amd-zen3)")
    assert why.hint.startswith("The VM needs intel-skylake since it was powered on. Choose another target.")
    assert "power cycle" in why.hint


def test_files_move_whatever_the_processors() -> None:
    world = estate([host(1, evc_mode="intel-haswell")], [vm(1, evc_mode="intel-skylake")])
    refusals = make_plan(world, PlanRequest(("vm-1",), storage=StorageRequest(scope=Scope.STORAGE))).refusals
    assert all(reason.check != "evc_mode" for refusal in refusals for reason in refusal.reasons)
