# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes survive evacuations that follow each other, and show which moves of a run are under way when its journal is lost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import moves_under_way, next_home, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    HostState,
    Maintenance,
    Power,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    ATTRIBUTE,
    Home,
    decode_home,
    encode_home,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import estate, host, vm


@pytest.mark.parametrize(
    ("homeward", "expected"),
    [(False, {"vm-1": ("host-2", "task-1")}), (True, {"vm-3": ("host-1", "task-3")})],
)
def test_a_move_under_way_is_known_from_its_home(homeward: bool, expected: dict[str, tuple[str, str]]) -> None:
    vms = [
        vm(1, on=1, moving_task="task-1"),
        vm(2, on=1),
        vm(3, on=2, moving_task="task-3"),
        vm(4, on=3, moving_task="task-4"),  # a person moved it
        vm(5, on=1, moving_task="task-5"),  # no home was recorded
        vm(6, on=1, moving_task="task-6"),  # it never left home, so no move of ours leads from there to there
    ]
    world = estate([host(1), host(2), host(3)], vms)
    homes = {f"vm-{n}": Home(f"vm-{n}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now") for n in (1, 2, 3, 4)}
    homes["vm-6"] = Home("vm-6", "host-1", "esx-1", "host-1", "esx-1", "r1", "now")
    found = placements(world, homes, "host-1")
    assert moves_under_way(world, found, homeward=homeward) == expected


def test_a_move_under_way_from_where_an_earlier_evacuation_put_the_vm_is_known() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1, on=2, moving_task="task-1")])
    home = Home("vm-1", "host-1", "esx-1", "host-3", "esx-3", "r2", "now", start="host-2")
    found = placements(world, {"vm-1": home}, "host-1")
    assert moves_under_way(world, found) == {"vm-1": ("host-3", "task-1")}
    assert moves_under_way(world, found, homeward=True) == {"vm-1": ("host-1", "task-1")}


@given(trips=st.lists(st.tuples(st.integers(2, 4), st.booleans()), min_size=1, max_size=6))
def test_the_first_home_lasts_whichever_moves_happen(trips: list[tuple[int, bool]]) -> None:
    place, text = 1, ""
    for number, (target, arrives) in enumerate(trips):
        if target == place:
            continue
        machine = vm(1, on=place, attributes={ATTRIBUTE: text})
        move = Move(1, "vm-1", "ml-1", f"host-{place}", f"esx-{place}", f"host-{target}", f"esx-{target}", 1, 1.0)
        earlier = decode_home("vm-1", text)
        text = encode_home(next_home(machine, move, earlier, run_id=f"r{number}", recorded_at="now"))
        place = target if arrives else place
    machine = vm(1, on=place, attributes={ATTRIBUTE: text})
    (found,) = placements(estate([host(n) for n in range(1, 5)], [machine]), {})
    assert found.home.host == "host-1"
    assert found.outcome == ("home" if place == 1 else "away")


def test_a_home_that_does_not_tell_where_the_move_starts_is_read() -> None:
    text = '{"h":"host-1","n":"esx-1","t":"host-2","tn":"esx-2","r":"r1","at":"now"}'
    assert decode_home("vm-1", text) == Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")


def test_a_vm_that_is_where_no_evacuation_put_it_gets_a_new_home() -> None:
    earlier = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", start="host-1")
    move = Move(1, "vm-1", "ml-1", "host-3", "esx-3", "host-4", "esx-4", 1, 1.0)
    assert next_home(vm(1, on=3), move, earlier, run_id="r2", recorded_at="now").host == "host-3"


def test_every_outcome_of_a_restore_is_named() -> None:
    world = estate([host(1), host(2), host(3)], [vm(1, on=1), vm(2, on=2), vm(3, on=3)])
    homes = {f"vm-{n}": Home(f"vm-{n}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now") for n in (1, 2, 3)}
    homes["vm-4"] = Home("vm-4", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", vm_name="ml-4")
    homes["vm-5"] = Home("vm-5", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    told = {p.vm: p.sentence for p in placements(world, homes, "host-1")}
    one, two, three = (world.vms[f"vm-{n}"].name for n in (1, 2, 3))
    assert told == {
        "vm-1": f"{one} is home on esx-1.",
        "vm-2": f"{two} is on esx-2, away from its home esx-1.",
        "vm-3": f"{three} is on esx-3 and stays there: it was moved after its evacuation to esx-2.",
        "vm-4": "ml-4 no longer exists.",
        "vm-5": "vm-5 no longer exists.",
    }


def test_a_host_that_was_added_again_is_still_home() -> None:
    again = host(9, name="esx-1")
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", start="host-1")
    world = estate([again, host(2)], [vm(1, on=2, attributes={ATTRIBUTE: encode_home(home)})])
    (found,) = placements(world, {}, "host-9")
    assert (found.outcome, found.home.host, found.home.start) == ("away", "host-9", "host-9")


def test_a_target_that_was_added_again_is_where_the_evacuation_put_the_vm() -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    (found,) = placements(estate([host(1), host(8, name="esx-2")], [vm(1, on=8)]), {"vm-1": home})
    assert found.outcome == "away"


@pytest.mark.parametrize("hosts", [[host(2)], [host(2), host(8, name="esx-1"), host(9, name="esx-1")]])
def test_a_home_that_no_single_host_fits_is_not_guessed(hosts: list[HostState]) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    (found,) = placements(estate(hosts, [vm(1, on=2)]), {"vm-1": home})
    assert (found.outcome, found.home.host) == ("home_unhealthy", "host-1")


@pytest.mark.parametrize(
    ("uuid", "name", "outcome"),
    [
        ("u7", "renamed", "away"),
        ("other", "ml-1", "away"),  # from a backup, or registered as a copy
        ("other", "renamed", "gone"),
        ("", "ml-1", "away"),
        ("", "renamed", "gone"),
    ],
)
def test_a_vm_that_was_registered_again_keeps_the_home_of_the_journal(uuid: str, name: str, outcome: str) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", vm_name="ml-1", vm_uuid=uuid)
    world = estate([host(1), host(2)], [vm(7, on=2, name=name)])
    (found,) = placements(world, {"vm-1": home})
    assert (found.outcome, found.vm) == (outcome, "vm-7" if outcome == "away" else "vm-1")


def test_the_homes_of_thousands_of_vms_are_found_at_once() -> None:
    """Not each VM is compared with all others: 10,000 VMs would take minutes."""
    lost = Home("vm-0", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", vm_name="ml-7", vm_uuid="gone")
    world = estate([host(1), host(2)], [vm(number, on=2) for number in range(1, 5001)])
    began = time.process_time()
    for journal in ({}, {"vm-0": lost}):
        assert [p.vm for p in placements(world, journal)] == ["vm-7"] * len(journal)
    assert time.process_time() - began < 1.0, "0.01 s were seen, and 4.8 s when each was compared with all"


def test_a_name_decides_only_if_it_is_unique_and_no_other_vm_has_the_recorded_uuid() -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", vm_name="ml-1", vm_uuid="u8")
    twins = estate([host(1), host(2)], [vm(6, on=2, name="ml-1"), vm(7, on=2, name="ml-1")])
    assert [p.outcome for p in placements(twins, {"vm-1": home})] == ["gone"]
    renamed = estate([host(1), host(2)], [vm(7, on=2, name="ml-1"), vm(8, on=2, name="renamed")])
    assert [p.vm for p in placements(renamed, {"vm-1": home})] == ["vm-8"]


@pytest.mark.parametrize(
    ("recorded", "now", "aliases", "found"),
    [
        ("esx-1", "ESX-1", (), True),
        ("esx-1", "esx-1.example.com", (), True),
        ("esx-1.example.com", "esx-1", (), True),
        ("10.2.0.11", "esx-1.example.com", ("10.2.0.11",), True),
        ("esx-1.example.com", "10.2.0.11", ("esx-1", "esx-1.example.com"), True),
        ("esx-1.a.example.com", "esx-1.b.example.com", (), False),
        ("10", "10.2.0.11", (), False),
        ("10.2.0.1", "10.2.0.11", (), False),
        ("", "esx-1", (), False),
    ],
)
def test_a_host_that_was_added_again_under_another_spelling_is_still_home(
    recorded: str, now: str, aliases: tuple[str, ...], found: bool
) -> None:
    home = Home("vm-1", "host-1", recorded, "host-2", "esx-2", "r1", "now", start="host-1")
    world = estate([host(9, name=now, aliases=frozenset(aliases)), host(2)], [vm(1, on=2)])
    (placed,) = placements(world, {"vm-1": home})
    assert (placed.outcome, placed.home.host) == (("away", "host-9") if found else ("home_unhealthy", "host-1"))
    assert placed.home.host_name == (now if found else recorded), "commands need the present name"
    if not found:
        assert placed.sentence == f"ml-1 is on esx-2: its home {recorded} is no longer in vCenter."


def test_the_same_name_comes_before_another_spelling_of_it() -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    world = estate([host(8, name="esx-1"), host(9, name="esx-1.example.com"), host(2)], [vm(1, on=2)])
    (placed,) = placements(world, {"vm-1": home})
    assert placed.home.host == "host-8"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"maintenance": Maintenance.IN}, "in maintenance mode"),
        ({"maintenance": Maintenance.ENTERING}, "entering maintenance mode"),
        ({"connection": Connection.NOT_RESPONDING}, "disconnected"),
        ({"connection": Connection.UNKNOWN}, "in a state that vCenter does not show"),
    ],
)
def test_what_is_wrong_with_a_home_is_said(changes: dict[str, object], wrong: str) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    (placed,) = placements(estate([host(1, **changes), host(2)], [vm(1, on=2)]), {"vm-1": home})
    assert placed.outcome == "home_unhealthy"
    assert placed.sentence == f"ml-1 is on esx-2: its home esx-1 is {wrong}."


def test_the_home_of_an_older_run_is_named() -> None:
    theirs = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "1")
    ours = Home("vm-1", "host-3", "esx-3", "host-2", "esx-2", "r2", "2")
    machine = vm(1, on=2, attributes={ATTRIBUTE: encode_home(theirs)})
    world = estate([host(1), host(2), host(3)], [machine])
    (found,) = placements(world, {"vm-1": ours})
    assert found.sentence == (
        "ml-1 is on esx-2, away from its home esx-3. An older run recorded esx-1 as its home; the newer one counts."
    )
    (same,) = placements(world, {"vm-1": replace(ours, host="host-1", host_name="esx-1")})
    assert same.superseded == ""


@pytest.mark.parametrize(("attribute", "journal", "expected"), [("1", "2", "host-3"), ("2", "1", "host-1")])
def test_of_two_controllers_the_newer_home_counts(attribute: str, journal: str, expected: str) -> None:
    theirs = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", attribute)
    ours = Home("vm-1", "host-3", "esx-3", "host-2", "esx-2", "r2", journal)
    world = estate([host(1), host(2), host(3)], [vm(1, on=2, attributes={ATTRIBUTE: encode_home(theirs)})])
    (found,) = placements(world, {"vm-1": ours})
    assert found.home.host == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "null",
        "[]",
        "[" * 100_000,
        '{"h":' * 100_000,
        '{"h":' + "9" * 5000 + "}",
        "{}",
        '{"h":"a"}',
        "\ud800",
        "NaN",
    ],
)
def test_an_attribute_that_holds_no_home_is_none(value: str) -> None:
    assert decode_home("vm-1", value) is None


@pytest.mark.parametrize(("mover", "outcome"), [("DRS", "away"), ("alice", "moved_by_person"), ("", "moved_by_person")])
def test_what_drs_moved_after_the_evacuation_is_still_to_come_home(mover: str, outcome: str) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", start="host-1")
    asked: list[tuple[str, str]] = []

    def who(moid: str, place: str) -> str:
        asked.append((moid, place))
        return mover

    world = estate([host(n) for n in range(1, 5)], [vm(1, on=3)])
    (found,) = placements(world, {"vm-1": home}, "host-1", who)
    assert (found.outcome, asked) == (outcome, [("vm-1", "host-3")])
    asked.clear()
    placements(estate([host(1), host(2)], [vm(1, on=2)]), {"vm-1": home}, "host-1", who)
    assert asked == [], "the VM is where the evacuation put it"


@pytest.mark.parametrize("power", [Power.ON, Power.OFF, Power.UNKNOWN])
def test_a_vm_whose_host_vcenter_does_not_show_was_not_moved_by_a_person(power: Power) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    lost = replace(vm(1, attributes={ATTRIBUTE: encode_home(home)}, power=power), host="")
    world = estate([host(1), host(2)], [lost], unreadable={"vm-1": frozenset({"runtime.host"})})
    (found,) = placements(world, {}, "host-1")
    assert (found.outcome, found.blocker) == ("unreadable", ("unreadable", "ml-1: runtime.host"))
    assert found.sentence == "vCenter does not show on which host ml-1 is. Its home is esx-1."
    assert placements(world, {}, "host-2") == (), "its home is known"


@pytest.mark.parametrize("path", ["customValue", "availableField"])
@pytest.mark.parametrize("place", [1, 2])
def test_attributes_that_vcenter_does_not_show_may_hold_a_home_on_each_host(path: str, place: int) -> None:
    world = estate([host(1), host(2)], [vm(1, on=place), vm(2)], unreadable={"vm-1": frozenset({path})})
    (found,) = placements(world, {}, "host-1")
    assert (found.vm, found.outcome, found.blocker) == ("vm-1", "unreadable", ("unreadable", f"ml-1: {path}"))
    assert found.sentence == (
        f"vCenter does not show the custom attributes of ml-1 ({path}), so that its home is not known."
    )


def test_the_journal_does_not_decide_while_the_attribute_may_hold_a_newer_home() -> None:
    """It would be said of the VM that a person moved it, because the onward evacuation is in the attribute alone."""
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    world = estate([host(n) for n in (1, 2, 3)], [vm(1, on=3)], unreadable={"vm-1": frozenset({"customValue"})})
    assert [p.outcome for p in placements(world, {"vm-1": home}, "host-1")] == ["unreadable"]
