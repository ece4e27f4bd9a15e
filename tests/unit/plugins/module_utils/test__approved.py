# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An approved plan is recognised however far a killed run got, and refused when anything else is different."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._approved import (
    approved_plan,
    begun_moves,
    begun_targets,
    check_plan_id,
    in_flight,
    pending,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._errors import InvalidInput, PlanRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._homes import placements
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Estate, Home, Move, Plan, PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._select import select_vms
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.test__plan import estate, host, vm, worlds


def moved(world: Estate, moves: list[Move]) -> Estate:
    """The world after the moves, each VM's load with it."""
    vms, hosts = dict(world.vms), dict(world.hosts)
    for move in moves:
        load = vms[move.vm]
        vms[move.vm] = replace(load, host=move.target)
        for moid, sign in ((move.source, -1), (move.target, 1)):
            known = hosts[moid]
            hosts[moid] = replace(
                known,
                memory_used_bytes=known.memory_used_bytes + sign * load.memory_used_bytes,
                cpu_used_mhz=known.cpu_used_mhz + sign * load.cpu_used_mhz,
            )
    return replace(world, hosts=hosts, vms=vms)


def homes(plan: Plan, moves: list[Move], run: str = "r1") -> dict[str, Home]:
    return {m.vm: Home(m.vm, m.source, m.source_name, m.target, m.target_name, run, "now") for m in moves}


def request(world: Estate, **changes: object) -> PlanRequest:
    return PlanRequest(select_vms(world, host="host-1"), **changes)  # type: ignore[arg-type]


def loaded(world: Estate) -> Estate:
    """The world with host-1 carrying at least what its VMs use, so that accounts stay exact when they leave."""
    used = sum(v.memory_used_bytes for v in world.vms.values())
    source = replace(world.hosts["host-1"], memory_used_bytes=used, memory_bytes=used * 2 + 1, cpu_used_mhz=5000)
    return replace(world, hosts={**world.hosts, "host-1": source})


@given(worlds().map(loaded), st.data())
def test_a_plan_that_a_killed_run_began_keeps_its_id(world: Estate, data: st.DataObject) -> None:
    plan = make_plan(world, request(world))
    done = [move for move in plan.moves if data.draw(st.booleans())]
    first = [move for move in done if data.draw(st.booleans())]
    recorded = {**homes(plan, done, "r1"), **homes(plan, first, "r2")}
    later = moved(world, done)
    begun = begun_moves(later, placements(later, recorded, "host-1"), homeward=False)
    found = approved_plan(later, request(later), plan.plan_id, begun)
    assert {m.vm for m in pending(found, later).moves} == {m.vm for m in plan.moves} - {m.vm for m in done}
    if len(done) < len(plan.moves):
        assert found.plan_id == plan.plan_id
        assert {(m.vm, m.target) for m in found.moves} == {(m.vm, m.target) for m in plan.moves}


def test_a_move_on_its_way_is_taken_up_with_its_task() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1), vm(2)])
    plan = make_plan(world, request(world))
    flying = plan.moves[0]
    later = replace(world, vms={**world.vms, flying.vm: replace(world.vms[flying.vm], moving_task="task-7")})
    begun = begun_moves(later, placements(later, homes(plan, [flying]), "host-1"), homeward=False)
    found = approved_plan(later, request(later), plan.plan_id, begun)
    assert {m.vm: m.task for m in found.moves} == {flying.vm: "task-7", plan.moves[1].vm: None}
    assert in_flight(later, begun) == {flying.vm: (flying.target, "task-7")}
    by_targets = begun_targets(later, "host-1", {m.vm: m.target for m in plan.moves})
    assert by_targets == [{flying.vm: ("host-1", flying.target)}]


def test_the_way_home_begins_at_the_target() -> None:
    world = estate([host(1), host(2)], [vm(1, on=1), vm(2, on=2), vm(3, on=2, moving_task="task-1")])
    recorded = {f"vm-{n}": Home(f"vm-{n}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now") for n in (1, 2, 3)}
    begun = begun_moves(world, placements(world, recorded, "host-1"), homeward=True)
    assert begun == [{"vm-1": ("host-2", "host-1"), "vm-3": ("host-2", "host-1")}]
    assert in_flight(world, begun) == {"vm-3": ("host-1", "task-1")}


def test_targets_keep_a_plan_when_the_load_of_the_hosts_changes() -> None:
    world = estate([host(1), host(2), host(3, memory_used_bytes=20 * 2**30)], [vm(1)])
    plan = make_plan(world, request(world))
    assert plan.moves[0].target == "host-2"
    busier = replace(world, hosts={**world.hosts, "host-2": replace(world.hosts["host-2"], memory_used_bytes=2**35)})
    with pytest.raises(PlanRefused):
        approved_plan(busier, request(busier), plan.plan_id, [])
    targets = {move.vm: move.target for move in plan.moves}
    assert approved_plan(busier, request(busier, destinations=targets), plan.plan_id, []).plan_id == plan.plan_id


def test_a_drifted_plan_is_refused_with_both_ids() -> None:
    world = estate([host(1), host(2)], [vm(1)])
    plan = make_plan(world, request(world))
    other = estate([host(1), host(2)], [vm(1), vm(2)])
    now = make_plan(other, request(other))
    with pytest.raises(PlanRefused) as refusal:
        approved_plan(other, request(other), plan.plan_id, [])
    assert plan.plan_id in str(refusal.value)
    assert now.plan_id in str(refusal.value)


def test_when_all_is_done_nothing_is_left_to_move() -> None:
    world = estate([host(1), host(2)], [vm(1)])
    plan = make_plan(world, request(world))
    later = moved(world, list(plan.moves))
    begun = begun_moves(later, placements(later, homes(plan, list(plan.moves)), "host-1"), homeward=False)
    assert approved_plan(later, request(later), plan.plan_id, begun).moves == ()


@pytest.mark.parametrize("text", ["abc", "0" * 63, "G" * 64, "{{ plan }}"])
def test_what_is_no_plan_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
        check_plan_id(text)
    check_plan_id("0" * 64)
