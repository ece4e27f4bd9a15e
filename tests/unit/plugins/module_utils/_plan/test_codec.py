# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as JSON and back, what its ID holds, and its text for people."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_diff,
    plan_from_dict,
    plan_id_of,
    plan_lines,
    plan_to_dict,
    source_text,
    target_text,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Move,
    PartMove,
    Plan,
    Reason,
    Refusal,
    ServerChecks,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import InventoryPlace, Plug, VcenterInfo
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import INFO, estate, host, plan_all, vm

PLACE = InventoryPlace("gold", "pool-1", "ml", "folder-1", "vision", (Plug(4000, "net-1", "vlan 9"),))
FILES = (PartMove(0, "files", "a", "local", "b", "shared", 5), PartMove(2000, "disk", "b", "shared", "b", "shared", 7))
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}) | st.just([[1]])


def move(number: int = 1, **changes: Any) -> Move:
    ends = ("host-1", "esx-1", "host-2", "esx-2")
    return Move(**{**vars_of(Move(number, f"vm-{number}", f"ml-{number}", *ends, 2**30, 10.0)), **changes})


def vars_of(made: Move) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def plan_of(*moves: Move, **changes: Any) -> Plan:
    plan = Plan("", INFO, moves, **changes)
    return replace(plan, plan_id=plan_id_of(plan))


RICH = plan_of(
    move(1, parts=FILES, place_before=PLACE, place_after=PLACE, vgpus=("grid_t4-4q", ""), predicted_stun=2.5),
    move(2, task="task-1", inferred=True),
    refusals=(
        Refusal("vm-3", "ml-3", (Reason("busy", "backup", "Wait"), Reason("twin", "vc2", "Remove")), blocking=True),
        Refusal("vm-4", "ml-4", (Reason("template", "ml-4", "None"),), blocking=False),
    ),
    settled=("ml-5",),
    second=replace(INFO, instance_uuid="other"),
    notes=("A sentence.",),
    checks=ServerChecks(1, 2, "why", ("w",)),
)


def test_a_plan_is_the_same_after_json() -> None:
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(RICH)))) == RICH


@given(data=st.data(), junk=JSON)
def test_whatever_was_edited_is_refused_or_makes_no_difference(data: st.DataObject, junk: Any) -> None:
    """An operator passes the plan on as YAML, so that anything may be in any place of it."""
    plan = json.loads(json.dumps(plan_to_dict(RICH)))
    place: Any = plan
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = junk
    try:
        found = plan_from_dict(plan, option="approved")
    except InvalidInput as error:
        assert error.option == "approved"
    else:
        assert found.plan_id == RICH.plan_id


def nulls_for_empty_texts(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: nulls_for_empty_texts(each) for key, each in data.items()}
    if isinstance(data, list):
        return [nulls_for_empty_texts(each) for each in data]
    return None if data == "" else data


def test_a_plan_whose_empty_texts_became_null_is_the_same_plan() -> None:
    """AWX passes them on so, wherever they are: a VM that keeps its folder has an empty one in its new place."""
    keeps = replace(PLACE, folder="", folder_name="", plugs=(Plug(4000, "net-1", ""),))
    plan = plan_of(*RICH.moves, move(5, place_before=keeps, place_after=keeps), checks=RICH.checks)
    assert plan_from_dict(nulls_for_empty_texts(json.loads(json.dumps(plan_to_dict(plan))))) == plan


@pytest.mark.parametrize("key", ["checks", "drs", "second", "wan", "notes"])
def test_a_plan_of_an_older_version_can_still_be_read(key: str) -> None:
    old = plan_to_dict(replace(RICH, second=None))
    del old[key]
    assert plan_from_dict(old).moves == RICH.moves
    assert plan_from_dict({**old, key: None}).plan_id == RICH.plan_id


ELSEWHERE = replace(PLACE, pool="pool-2")


@pytest.mark.parametrize(
    "other",
    [
        {"vm": "vm-9"},
        {"source": "host-9"},
        {"target": "host-9"},
        {"parts": FILES},
        {"parts": (replace(FILES[0], target="c"), FILES[1])},
        {"parts": (replace(FILES[0], policy="gold"), FILES[1])},
        {"place_after": PLACE},
        {"place_after": ELSEWHERE},
        {"place_after": replace(PLACE, folder="folder-2")},
        {"place_after": replace(PLACE, plugs=(Plug(4000, "net-2", "vlan 9"),))},
    ],
)
def test_each_decision_of_a_move_changes_the_id(other: dict[str, Any]) -> None:
    alone = [plan_of(move(**changes)).plan_id for changes in ({}, other)]
    assert len(set(alone)) == 2
    among = [plan_of(move(**changes), move(2, parts=FILES)).plan_id for changes in ({}, other)]
    assert len({*alone, *among}) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"predicted_seconds": 99.0},
        {"why": "another reason"},
        {"task": "task-2"},
        {"vm_name": "renamed"},
        {"memory_bytes": 1},
        {"predicted_stun": 3.0},
        {"place_before": PLACE},
    ],
)
def test_what_changes_by_itself_does_not_change_the_id(other: dict[str, Any]) -> None:
    assert plan_of(move(**other)).plan_id == plan_of(move()).plan_id


def test_the_id_holds_who_stays_and_the_vcenter_and_not_the_order() -> None:
    plan = plan_of(move(1), move(2), refusals=(Refusal("vm-3", "ml-3", ()), Refusal("vm-4", "ml-4", ())))
    turned = replace(plan, moves=plan.moves[::-1], refusals=plan.refusals[::-1])
    assert plan_id_of(turned) == plan.plan_id
    for other in (
        replace(plan, refusals=plan.refusals[:1]),
        replace(plan, refusals=(replace(plan.refusals[0], blocking=False), plan.refusals[1])),
        replace(plan, vcenter=VcenterInfo("vc", "another", "8.0.3", False)),
        replace(plan, moves=plan.moves[:1]),
    ):
        assert plan_id_of(other) != plan.plan_id
    assert plan_id_of(replace(plan, notes=("n",), settled=("s",), checks=ServerChecks(3))) == plan.plan_id


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "ml-1: esx-1 → esx-2"),
        ({"parts": FILES}, "ml-1: esx-1 [local, shared] → esx-2 [shared]"),
        ({"place_after": PLACE}, f"ml-1: esx-1 → esx-2 ({PLACE.text})"),
        ({"source_vcenter": "vc1", "target_vcenter": "vc2"}, "ml-1: esx-1 → esx-2"),
        (
            {"target": "host-2@other", "source_vcenter": "vc1", "target_vcenter": "vc2"},
            "ml-1: esx-1 in vCenter vc1 → esx-2 in vCenter vc2",
        ),
        (
            {"vgpus": ("grid_t4-4q",), "predicted_stun": 2.1},
            "ml-1: esx-1 → esx-2; stands still for up to 3 s (vGPU grid_t4-4q)",
        ),
        (
            {"parts": (replace(FILES[0], policy_name="gold"), replace(FILES[1], policy_name="gold"))},
            "ml-1: esx-1 [local, shared] → esx-2 [shared] (storage policy gold)",
        ),
        (
            {"parts": (replace(FILES[0], policy_name="silver"), replace(FILES[1], policy_name="gold"))},
            "ml-1: esx-1 [local, shared] → esx-2 [shared] (storage policies gold, silver)",
        ),
    ],
)
def test_a_move_in_one_line(changes: dict[str, Any], line: str) -> None:
    made = move(**changes)
    assert plan_lines(plan_of(made)) == [line]
    assert line.startswith(f"ml-1: {source_text(made)} → {target_text(made)}")


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        (ServerChecks(), ""),
        (ServerChecks(checked=3), ""),
        (
            ServerChecks(checked=1, unchecked=2, why_unchecked="It is down."),
            "vCenter checked 1 move, and prevents none of them. vCenter did not check 2 moves: It is down. "
            "What only vCenter knows may still prevent them.",
        ),
        (
            ServerChecks(unchecked=1, why_unchecked="It is down"),
            "vCenter did not check 1 move: It is down. What only vCenter knows may still prevent them.",
        ),
        (
            ServerChecks(checked=2, warnings=("a", "b", "c")),
            "vCenter checked 2 moves, and prevents none of them. It warns, which does not prevent a move: a; b; c.",
        ),
        (ServerChecks(warnings=tuple("abcde")), "It warns, which does not prevent a move: a; b; c; and 2 more."),
        (ServerChecks(warnings=tuple("abcd")), "It warns, which does not prevent a move: a; b; c; and 1 more."),
    ],
)
def test_what_vcenter_checked_and_what_it_did_not(checks: ServerChecks, said: str) -> None:
    assert plan_lines(plan_of(move(), checks=checks))[1:] == ([said] if said else [])


def test_hosts_whose_free_vgpus_are_unknown_are_named_once() -> None:
    known, unknown = move(1), {"free_vgpus_known": False, "vgpus": ("p",), "predicted_stun": 1.0}
    assert len(plan_lines(plan_of(known))) == 1
    said = plan_lines(plan_of(known, move(2, **unknown), move(3, **unknown), move(4, **unknown, target_name="esx-1")))
    assert said[4:] == [
        "It is not known whether esx-1, esx-2 has free vGPUs. vCenter's own check of each move decides."
    ]


def test_the_diff_shows_where_a_vm_was_and_where_it_will_be() -> None:
    entered = replace(PLACE, cluster_name="far")
    diff = plan_diff(plan_of(move(1, place_before=PLACE, place_after=entered), move(2), notes=("A note.",)))
    assert diff["before"] == f"ml-1: esx-1 ({PLACE.text})\nml-2: esx-1\n"
    assert diff["after"] == f"ml-1: esx-1 → esx-2 ({entered.text})\nml-2: esx-1 → esx-2\nA note.\n"


@pytest.mark.parametrize("edit", [lambda d: d["moves"][0].update(target="host-9"), lambda d: d.pop("moves")])
def test_an_edited_plan_is_refused(edit: object) -> None:
    data = json.loads(json.dumps(plan_to_dict(plan_all(estate([host(1), host(2)], [vm(1)])))))
    edit(data)  # type: ignore[operator]
    with pytest.raises(InvalidInput) as caught:
        plan_from_dict(data)
    assert caught.value.option == "plan"
