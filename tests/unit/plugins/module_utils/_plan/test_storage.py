# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of VMs go: no datastore gets more than it has room for, and no VM a target that lacks its files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_diff,
    plan_from_dict,
    plan_id_of,
    plan_lines,
    plan_to_dict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import (
    next_home,
    placements,
    recorded_home,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Plan,
    PlanRequest,
    Scope,
    StorageRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Datastore,
    Estate,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import decode_home, encode_home
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import GIB, plan_all
from tests.builders.storage import refused, store, stored, world

BOTH = StorageRequest(scope=Scope.BOTH)


LOCAL = [store("a", "1"), store("b", "2"), store("c", "3", 900)]


def test_a_vm_on_a_local_datastore_leaves_with_its_files_if_they_may_move() -> None:
    here = world(LOCAL, stored(1, ("a", 1), ("a", 40)))
    assert set(refused(plan_all(here))) == {"local_datastore", "missing_datastore"}
    (move,) = plan_all(here, storage=BOTH).moves
    assert {part.source for part in move.parts} == {"a"}
    assert {part.target for part in move.parts} in ({"b"}, {"c"})
    assert move.storage_bytes == 41 * GIB


def test_files_that_the_target_reaches_stay() -> None:
    shared = store("s", "123")
    plan = plan_all(world([shared, *LOCAL], stored(1, ("s", 1), ("s", 40))), storage=BOTH)
    assert [move.parts for move in plan.moves] == [()]
    (move,) = plan_all(world([shared, *LOCAL], stored(1, ("s", 1), ("a", 40))), storage=BOTH).moves
    assert [(part.label, part.moves) for part in move.parts] == [("files", False), ("Hard disk 1", True)]
    assert move.parts[1].target == "s"  # a datastore that other hosts reach too


def test_a_target_without_files_to_move_is_preferred() -> None:
    here = world([store("s", "12"), store("c", "3")], stored(1, ("s", 1)))
    full = replace(here.hosts["host-2"], memory_used_bytes=50 * GIB)
    (move,) = plan_all(replace(here, hosts={**here.hosts, "host-2": full}), storage=BOTH).moves
    assert (move.target, move.parts) == ("host-2", ())


@pytest.mark.parametrize(
    ("target", "request_", "check"),
    [
        (store("b", "2", 40), BOTH, "no_capacity_datastore"),
        (store("b", "2", 145), BOTH, "no_capacity_datastore"),  # 45 GiB above the headroom
        (store("b", "2", in_service=False), BOTH, "no_datastore"),
        (store("b", "2", read_only=frozenset({"host-2"})), BOTH, "no_datastore"),
        (store("b", "2", free_bytes=None), BOTH, "no_datastore"),
        (store("b", "2"), replace(BOTH, not_permitted=frozenset({"b"})), "datastore_not_permitted"),
        (store("b", "2", in_service=False), replace(BOTH, not_permitted=frozenset({"b"})), "no_datastore"),
        (store("b", "2", in_service=False), replace(BOTH, datastores=frozenset({"b"})), "datastore_maintenance"),
        (store("b", "2", free_bytes=None), replace(BOTH, datastores=frozenset({"b"})), "unreadable"),
        (store("b", "3"), replace(BOTH, datastores=frozenset({"b"})), "datastore_unreached"),
        (
            store("b", "2"),
            replace(BOTH, datastores=frozenset({"b"}), not_permitted=frozenset({"b"})),
            "datastore_not_permitted",
        ),
        (store("b", "2"), replace(BOTH, homes={"vm-1": {0: "z"}}), "datastore_gone"),
    ],
)
def test_a_datastore_that_cannot_take_the_files_is_a_reason(
    target: Datastore, request_: StorageRequest, check: str
) -> None:
    here = world([store("a", "1"), target], stored(1, ("a", 1), ("a", 50)), hosts=2)
    found = refused(plan_all(here, storage=request_))
    assert check in found
    assert found[check]
    assert "local_datastore" not in found


def test_a_datastore_that_the_target_mounts_and_cannot_access_takes_nothing() -> None:
    here = world([store("a", "1"), store("b", "2")], stored(1, ("a", 1)), hosts=2)
    lost = replace(here, datastores={**here.datastores, "b": store("b", "")})
    assert set(refused(plan_all(lost, storage=BOTH))) == {"no_datastore"}


def test_the_shortage_is_given_in_figures() -> None:
    here = world([store("a", "1"), store("b", "2", 130)], stored(1, ("a", 1), ("a", 50)), hosts=2)
    (reason,) = plan_all(here, storage=BOTH).refusals[0].reasons
    assert reason.hint.startswith("51 GiB needed; most free above the headroom: name-b with 30 GiB.")


def test_parts_are_split_if_no_datastore_has_room_for_all() -> None:
    here = world(
        [store("a", "1"), store("b", "2", 160), store("c", "2", 150)], stored(1, ("a", 1), ("a", 50), ("a", 45))
    )
    (move,) = plan_all(here, storage=BOTH).moves
    assert [part.target for part in move.parts] == ["b", "b", "c"]


def test_a_disk_that_cannot_move_and_parts_that_are_unknown_are_refused() -> None:
    fixed = stored(1, ("a", 1), ("a", 5))
    fixed = replace(fixed, parts=(fixed.parts[0], replace(fixed.parts[1], fixed="several VMs may write to it")))
    assert refused(plan_all(world(LOCAL, fixed), storage=BOTH)) == {
        "disk_not_movable": "Hard disk 1 (several VMs may write to it)"
    }
    unknown = replace(fixed, parts=())
    assert set(refused(plan_all(world(LOCAL, unknown), storage=BOTH))) >= {"unreadable"}


def test_an_image_on_a_local_datastore_still_keeps_its_vm() -> None:
    disks = stored(1, ("a", 1))
    image = replace(disks, datastores=frozenset({"a", "iso"}))
    here = world([*LOCAL, store("iso", "1")], image)
    assert "missing_datastore" in refused(plan_all(here, storage=BOTH))


def test_with_scope_storage_the_vm_stays_on_its_host() -> None:
    request = StorageRequest(Scope.STORAGE, frozenset({"b", "s"}), disks={"Hard disk 2": frozenset({"t"})})
    stores = [store("a", "1"), store("b", "2"), store("s", "1"), store("t", "1")]
    here = world(stores, stored(1, ("a", 1), ("a", 5), ("a", 5)))
    plan = plan_all(here, storage=request)
    (move,) = plan.moves
    assert (move.source, move.target, move.changes_host) == ("host-1", "host-1", False)
    assert [part.target for part in move.parts] == ["s", "s", "t"]
    assert plan_lines(plan)[0] == "ml-1: esx-1 [name-a] → esx-1 [name-s, name-t]"
    assert plan_diff(plan)["before"] == "ml-1: esx-1 [name-a]\n"
    settled = plan_all(world(stores, stored(1, ("s", 1), ("s", 5), ("t", 5))), storage=request)
    assert (settled.moves, settled.settled) == ((), ("ml-1",))


def test_a_way_home_needs_no_headroom_and_goes_to_exactly_the_recorded_datastores() -> None:
    here = world([store("a", "1", 52), store("b", "2")], stored(1, ("b", 1), ("b", 50), on=2), hosts=2)
    homes = {"vm-1": {0: "a", 2000: "a"}}
    request = {"vms": ("vm-1",), "destinations": {"vm-1": "host-1"}, "storage": StorageRequest(homes=homes)}
    (move,) = make_plan(here, PlanRequest(**request)).moves  # type: ignore[arg-type]
    assert (move.target, move.targets) == ("host-1", homes["vm-1"])
    at_home = world([store("a", "1", 52), store("b", "12")], stored(1, ("b", 1), ("b", 50)), hosts=2)
    (files,) = make_plan(at_home, PlanRequest(**request)).moves  # type: ignore[arg-type]
    assert (files.changes_host, files.targets) == (False, homes["vm-1"])


@st.composite
def stores_and_vms(draw: st.DrawFn) -> Estate:
    count = draw(st.integers(2, 5))
    numbers = [str(n) for n in range(1, count + 1)]
    stores = [
        store(
            f"ds-{n}", "".join(draw(st.sets(st.sampled_from(numbers), min_size=1))), draw(st.integers(0, 300)),
            in_service=draw(st.integers(0, 5)) > 0,
        )
        for n in range(draw(st.integers(1, 6)))
    ]  # fmt: skip
    here = [d.moid for d in stores if "host-1" in d.hosts]
    if not here:
        stores.append(store("ds-x", "1", 100))
        here = ["ds-x"]
    parts = st.lists(st.tuples(st.sampled_from(here), st.integers(0, 90)), min_size=1, max_size=3)
    return world(stores, *(stored(n, *draw(parts)) for n in range(draw(st.integers(0, 8)))), hosts=count)


@given(stores_and_vms(), st.sampled_from([Scope.COMPUTE, Scope.BOTH]), st.sampled_from([0.0, 0.1]))
def test_no_datastore_gets_too_much_and_every_target_reaches_all_files(
    here: Estate, scope: Scope, headroom: float
) -> None:
    plan = plan_all(here, storage=StorageRequest(scope=scope, headroom=headroom))
    assert len(plan.moves) + len(plan.refusals) == len(here.vms)
    arriving: Counter[str] = Counter()
    for move in plan.moves:
        machine = here.vms[move.vm]
        after = {**machine.places, **move.targets}
        assert all(move.target in here.datastores[moid].hosts for moid in after.values())
        assert move.sources in ({}, machine.places)
        assert not (move.parts and scope is Scope.COMPUTE)
        for part in move.parts:
            assert here.datastores[part.target].in_service or not part.moves
            arriving[part.target] += part.size * part.moves
    for moid, size in arriving.items():
        assert size <= here.datastores[moid].free_bytes - headroom * here.datastores[moid].capacity_bytes or size == 0  # type: ignore[operator]


def moved_plan() -> tuple[Estate, Plan]:
    here = world([store("a", "1"), store("b", "2")], stored(1, ("a", 1), ("a", 40)), hosts=2)
    return here, plan_all(here, storage=BOTH)


def test_datastores_belong_to_what_a_plan_decides() -> None:
    _here, plan = moved_plan()
    assert plan_from_dict(plan_to_dict(plan)) == plan
    (move,) = plan.moves
    other = replace(move, parts=tuple(replace(part, target="z") for part in move.parts))
    assert plan_id_of(replace(plan, moves=(other,))) != plan.plan_id
    older = plan_to_dict(replace(plan, moves=(replace(move, parts=()),)))
    del older["moves"][0]["parts"]
    older["plan_id"] = plan_id_of(replace(plan, moves=(replace(move, parts=()),)))
    assert plan_from_dict(older).moves[0].parts == ()


def test_files_that_are_elsewhere_and_a_datastore_that_filled_up_are_drift() -> None:
    here, plan = moved_plan()
    assert revalidate(plan, here) == ()
    full = replace(here, datastores={**here.datastores, "b": store("b", "2", 7)})
    (drift,) = revalidate(plan, full)
    assert drift.what == "the datastore name-b has only 7 GiB free"
    gone = replace(here, datastores={"a": here.datastores["a"]})
    assert "cannot put files on the datastore name-b" in revalidate(plan, gone)[0].what
    elsewhere = replace(here.vms["vm-1"], parts=tuple(replace(p, datastore="c") for p in here.vms["vm-1"].parts))
    assert "is on another datastore than name-a" in revalidate(plan, replace(here, vms={"vm-1": elsewhere}))[0].what
    grown = stored(1, ("a", 1), ("a", 40), ("a", 1))
    assert "other disks" in revalidate(plan, replace(here, vms={"vm-1": grown}))[0].what
    done = stored(1, ("b", 1), ("b", 40), on=2)
    assert revalidate(plan, replace(here, vms={"vm-1": done})) == ()
    half = stored(1, ("a", 1), ("a", 40), on=2)
    assert revalidate(plan, replace(here, vms={"vm-1": half})) != ()


def test_another_datastore_than_approved_is_a_deviation() -> None:
    here, plan = moved_plan()
    (move,) = plan.moves
    other = replace(move, parts=tuple(replace(part, target="z", target_name="other") for part in move.parts))
    approved = replace(plan, moves=(other,))
    (found,) = deviations_from_approved(approved, plan, here)
    assert found.what == "it would move to esx-2 [name-b]; approved is esx-2 [other]"
    done = replace(here, vms={"vm-1": stored(1, ("b", 1), ("b", 40), on=2)})
    assert deviations_from_approved(plan, replace(plan, moves=()), done) == ()


def test_a_home_keeps_the_datastores_of_the_first_evacuation() -> None:
    here, plan = moved_plan()
    (move,) = plan.moves
    home = next_home(here.vms["vm-1"], move, None, run_id="r", recorded_at="2026-01-01T00:00:00Z")
    assert home.datastores == {0: "a", 2000: "a"}
    assert decode_home("vm-1", encode_home(home)) == home
    away = replace(stored(1, ("b", 1), ("b", 40), on=2), attributes={"liveml_home": encode_home(home)})
    after = replace(here, vms={"vm-1": away})
    (place,) = placements(after, {})
    assert place.outcome == "away"
    again = replace(
        move, source="host-2", target="host-3", parts=tuple(replace(p, source="b", target="c") for p in move.parts)
    )
    later = next_home(away, again, recorded_home(after, away, {}), run_id="s", recorded_at="2026-01-02T00:00:00Z")
    assert (later.host, later.datastores, later.files[0].target) == ("host-1", {0: "a", 2000: "a"}, "c")
    compute = next_home(away, replace(again, parts=()), home, run_id="s", recorded_at="2026-01-02T00:00:00Z")
    assert compute.files == home.files


@pytest.mark.parametrize(
    ("machine", "outcome"),
    [
        (stored(1, ("a", 1), ("a", 40)), "home"),
        (stored(1, ("b", 1), ("b", 40)), "away"),
        (stored(1, ("a", 1), ("b", 40)), "away"),
    ],
)
def test_a_vm_is_home_only_with_its_files(machine: VmState, outcome: str) -> None:
    here, plan = moved_plan()
    home = next_home(here.vms["vm-1"], plan.moves[0], None, run_id="r", recorded_at="2026-01-01T00:00:00Z")
    back = replace(machine, attributes={"liveml_home": encode_home(home)})
    (place,) = placements(replace(here, vms={"vm-1": back}), {})
    assert place.outcome == outcome
    if outcome == "away":
        assert place.sentence == "ml-1 is on esx-1, its home, but its files are away from name-a."


def test_a_datastore_that_was_added_again_is_found_by_its_name() -> None:
    here, plan = moved_plan()
    home = next_home(here.vms["vm-1"], plan.moves[0], None, run_id="r", recorded_at="2026-01-01T00:00:00Z")
    again = replace(store("new", "1"), name="name-a")
    estate_now = replace(here, datastores={"new": again, "b": here.datastores["b"]})
    found = recorded_home(estate_now, replace(here.vms["vm-1"], attributes={"liveml_home": encode_home(home)}), {})
    assert found is not None
    assert found.datastores == {0: "new", 2000: "new"}


def only_part(plan: Plan) -> str:
    """The datastore to which all files of the only move go."""
    (move,) = plan.moves
    (target,) = set(move.targets.values())
    return target


@pytest.mark.parametrize(
    ("stores", "chosen"),
    [
        # The greatest share counts that stays free, above the headroom and with the files.
        ([store("b", "2", 500), store("c", "2", 300, capacity_bytes=400 * GIB)], "c"),
        ([store("b", "2", 500), store("c", "2", 60, capacity_bytes=100 * GIB)], "b"),
        ([store("b", "2", 500), store("c", "2", 500)], "b"),
        ([store("b", "2", 900), store("c", "23", 200)], "c"),  # one that a single host reaches comes last
        ([store("b", "2", 900, capacity_bytes=0), store("c", "2", 900)], "b"),
    ],
)
def test_which_datastore_takes_the_files(stores: list[Datastore], chosen: str) -> None:
    here = world([store("a", "1"), *stores], stored(1, ("a", 1), ("a", 40)))
    plan = make_plan(here, PlanRequest(("vm-1",), destinations={"vm-1": "host-2"}, storage=BOTH))
    assert only_part(plan) == chosen


@pytest.mark.parametrize(
    ("rooms", "sizes", "targets"),
    [
        ((152, 140), (1, 30, 50), ["c", "c", "b"]),  # the largest first, else the last one would have no room
        ((160, 120), (1, 50, 45), None),  # what one part took is gone for the next one
        ((150, 150), (1, 50, 49), ["c", "b", "c"]),
    ],
)
def test_parts_are_placed_one_after_the_other(
    rooms: tuple[int, int], sizes: tuple[int, ...], targets: list[str] | None
) -> None:
    stores = [store("a", "1"), *(store(moid, "2", room) for moid, room in zip("bc", rooms, strict=True))]
    plan = plan_all(world(stores, stored(1, *(("a", size) for size in sizes)), hosts=2), storage=BOTH)
    if targets is None:
        assert refused(plan) == {"no_capacity_datastore": "name-b, name-c"}
    else:
        assert [part.target for part in plan.moves[0].parts] == targets


def test_files_of_earlier_moves_take_their_room() -> None:
    here = world([store("a", "1"), store("b", "2", 180)], stored(1, ("a", 50)), stored(2, ("a", 40)), hosts=2)
    plan = plan_all(here, storage=BOTH)
    assert [move.vm for move in plan.moves] == ["vm-1"]
    assert [reason.check for reason in plan.refusals[0].reasons] == ["no_capacity_datastore"]
    assert "40 GiB needed; most free above the headroom: name-b with 30 GiB" in plan.refusals[0].reasons[0].hint


def test_the_shortage_names_the_roomiest_datastore_of_all_hosts_and_is_rounded_to_the_safe_side() -> None:
    stores = [store("a", "1"), store("s", "12"), store("b", "2", 110), store("c", "3", 105)]
    machine = stored(1, ("s", 7), ("a", 50))
    bigger = replace(machine, parts=(machine.parts[0], replace(machine.parts[1], size=50 * GIB + 1)))
    full = world([replace(each, free_bytes=100 * GIB) if each.moid == "s" else each for each in stores], bigger)
    (reason,) = plan_all(full, storage=BOTH).refusals[0].reasons
    assert reason.object == "name-b, name-s, name-c"
    assert reason.hint.startswith("57.1 GiB needed; most free above the headroom: name-b with 10 GiB.")
    odd = replace(full, datastores={**full.datastores, "b": store("b", "2", free_bytes=111 * GIB - 1)})
    (reason,) = plan_all(odd, storage=BOTH).refusals[0].reasons
    assert "name-b with 10.9 GiB." in reason.hint


@pytest.mark.parametrize(
    ("storage", "adopted"),
    [
        ({}, True),
        ({"datastores": frozenset({"b", "c"})}, True),
        ({"datastores": frozenset({"c"})}, False),
        ({"disks": {"Hard disk 1": frozenset({"c"})}}, False),
        ({"disks": {"Hard disk 1": frozenset({"b"})}, "datastores": frozenset({"c"})}, False),
        ({"moving": {}}, True),
        ({"moving": {}, "scope": Scope.COMPUTE}, True),
        ({"moving": {}, "scope": Scope.STORAGE, "datastores": frozenset({"b"})}, False),
        ({"moving": {}, "homes": {"vm-1": {0: "b", 2000: "b"}}}, False),
        ({"homes": {"vm-1": {0: "b", 2000: "b"}}}, True),
        ({"homes": {"vm-1": {0: "b", 2000: "c"}}}, False),
    ],
)
def test_a_task_is_adopted_if_it_brings_the_files_where_they_should_go(storage: dict[str, Any], adopted: bool) -> None:
    here = world([store("a", "12"), store("b", "12"), store("c", "12")], stored(1, ("a", 1), ("a", 40)), hosts=2)
    flying = replace(here, vms={"vm-1": replace(here.vms["vm-1"], moving_task="task-1")})
    request = replace(BOTH, **{"moving": {"vm-1": {0: "b", 2000: "b"}}, **storage})
    plan = plan_all(flying, moving={"vm-1": ("host-2", "task-1")}, storage=request)
    assert [move.task for move in plan.moves] == (["task-1"] if adopted else [])
    if adopted and request.moving:
        assert plan.moves[0].targets == {0: "b", 2000: "b"}


def test_the_files_of_a_move_in_flight_take_their_room() -> None:
    flying = stored(2, ("a", 50), moving_task="task-1")
    here = world([store("a", "1"), store("b", "2", 180)], stored(1, ("a", 40)), flying, hosts=2)
    request = PlanRequest(
        ("vm-1",), moving={"vm-2": ("host-2", "task-1")}, storage=replace(BOTH, moving={"vm-2": {1999: "b", 0: "b"}})
    )
    assert refused(make_plan(here, request)) == {"no_capacity_datastore": "name-b"}
    assert len(make_plan(here, replace(request, moving={})).moves) == 1


@pytest.mark.parametrize(
    "lost",
    [{"read_only": frozenset({"host-2"})}, {"hosts": frozenset({"host-1"})}],
)
def test_files_do_not_stay_where_the_target_cannot_write(lost: dict[str, Any]) -> None:
    """A host may list a datastore that it has lost, or that it only reads."""
    here = world([store("s", "12"), store("b", "12")], stored(1, ("s", 1)), hosts=2)
    now = replace(here, datastores={**here.datastores, "s": replace(here.datastores["s"], **lost)})
    assert only_part(plan_all(now, storage=BOTH)) == "b"


def test_a_disk_goes_to_its_own_datastores_and_other_files_to_the_common_ones() -> None:
    stores = [store(moid, "12") for moid in "abc"]
    here = world(stores, stored(1, ("a", 1), ("a", 5), ("c", 5)), hosts=2)
    request = replace(BOTH, datastores=frozenset({"b"}), disks={"Hard disk 2": frozenset({"c"})})
    (move,) = plan_all(here, storage=request).moves
    assert [part.target for part in move.parts] == ["b", "b", "c"]
    assert move.storage_bytes == 6 * GIB


def test_every_reason_against_a_named_datastore_is_given() -> None:
    broken = store("b", "3", in_service=False, free_bytes=None)
    here = world([store("a", "1"), broken], stored(1, ("a", 1)), hosts=2)
    request = replace(BOTH, datastores=frozenset({"b", "z"}), not_permitted=frozenset({"b"}))
    found = refused(plan_all(here, storage=request))
    assert found == {
        "datastore_gone": "z",
        "datastore_unreached": "name-b",
        "datastore_maintenance": "name-b",
        "unreadable": "name-b: its free space",
        "datastore_not_permitted": "name-b",
    }


def test_an_approved_datastore_is_taken_before_a_better_one_and_only_if_it_has_room() -> None:
    stores = [store("a", "1"), store("b", "23", 900), store("c", "2", 300), store("d", "23", 100)]
    here = world(stores, stored(1, ("a", 1), ("a", 40)), hosts=2)
    for wanted, chosen in (("c", "c"), ("d", "b")):
        assert (
            only_part(plan_all(here, storage=replace(BOTH, preferred={"vm-1": dict.fromkeys((0, 2000), wanted)})))
            == chosen
        )
