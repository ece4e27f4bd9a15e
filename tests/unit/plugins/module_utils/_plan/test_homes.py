# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes survive evacuations that follow each other, and show which moves of a run are under way when its journal is lost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import (
    files_under_way,
    moves_under_way,
    next_home,
    placements,
    stays,
    without_home_host,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, PartMove, Plan, Refusal
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    Datastore,
    HostState,
    InventoryPlace,
    Maintenance,
    Pool,
    Power,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    ATTRIBUTE,
    Home,
    HomeFile,
    decode_home,
    encode_home,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import INFO, estate, host, vm


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
    told = {p.vm: p.sentence for p in placements(world, homes, "host-1", lambda _vm, _host: "alice", lambda vms: vms)}
    one, two, three = (world.vms[f"vm-{n}"].name for n in (1, 2, 3))
    assert told == {
        "vm-1": f"{one} is home on esx-1.",
        "vm-2": f"{two} is on esx-2, away from its home esx-1.",
        "vm-3": f"{three} is on esx-3 and stays there: it was moved after its evacuation to esx-2.",
        "vm-4": "ml-4 is no longer in vCenter: it was deleted, unregistered or moved to another vCenter.",
        "vm-5": "vm-5 is no longer in vCenter: it was deleted, unregistered or moved to another vCenter.",
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
    (found,) = placements(world, {"vm-1": home}, deleted=lambda vms: vms)
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
    assert [p.outcome for p in placements(twins, {"vm-1": home}, deleted=lambda vms: vms)] == ["gone"]
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


@pytest.mark.parametrize(
    ("mover", "outcome"),
    [
        ("DRS", "away"),
        ("vSphere HA", "away"),
        (
            "VSPHERE.LOCAL\\vpxd-extension-3a1f0b6e-0c5c-4a4e-9c2d-6f1f0a2b7c11",
            "away",
        ),  # vSphere Lifecycle Manager, for example
        ("VSPHERE.LOCAL\\vpxd-extension-anna", "moved_by_person"),
        ("alice", "moved_by_person"),
        ("", "mover_unknown"),
    ],
)
def test_what_drs_or_ha_moved_after_the_evacuation_is_still_to_come_home(mover: str, outcome: str) -> None:
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


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("pool-1", "ml-1 is home on esx-1."),
        ("pool-2", "ml-1 is home on esx-1, but not in its resource pool ml/gpu, where a restore does not put it."),
    ],
)
def test_a_vm_that_came_home_into_another_resource_pool_is_named(pool: str, said: str) -> None:
    place = InventoryPlace("c", "pool-1", "", "folder", "")
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", start="host-1", place=place)
    pools = {"pool-1": Pool("pool-1", "ml/gpu", "c"), "pool-2": Pool("pool-2", "", "c")}
    world = estate([host(1), host(2)], [vm(1, pool=pool)], pools=pools)
    (found,) = placements(world, {"vm-1": home}, "host-1")
    assert (found.outcome, found.sentence) == ("home", said)


@pytest.mark.parametrize(("power", "recorded"), [(Power.ON, True), (Power.UNKNOWN, True), (Power.OFF, False)])
def test_a_vm_that_cannot_move_and_may_run_gets_its_home_recorded(power: Power, recorded: bool) -> None:
    world = estate([host(1), host(2)], [vm(1, power=power)])
    plan = Plan("p", world.vcenter, (), (Refusal("vm-1", "ml-1", ()),))
    assert [(move.vm, move.source, move.target) for move in stays(world, plan, "host-1")] == (
        [("vm-1", "host-1", "host-1")] if recorded else []
    )


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


HERE = InventoryPlace("c", "pool-1", "ml", "folder-1", "vision")
OUT = PartMove(0, "files", "a", "A", "b", "B", policy="p-new", policy_before="p-old")
LEAVING = Move(
    1, "vm-1", "ml-1", "host-1", "esx-1", "host-2", "esx-2", 1, 1.0, parts=(OUT,), place_before=HERE,
    source_vcenter="vc1", target_vcenter="vc2",
)  # fmt: skip
KNOWN = Home(
    "vm-1", "host-8", "esx-8", "host-1", "esx-1", "r1", "then", start="host-8", files=(HomeFile(0, "x", "X", "a", "p-first"),),
    place=replace(HERE, pool="pool-8"), home_vcenter="vc8",
)  # fmt: skip


def test_the_first_evacuation_records_where_everything_was() -> None:
    home = next_home(vm(1), LEAVING, None, run_id="r", recorded_at="now")
    assert home == Home(
        "vm-1", "host-1", "esx-1", "host-2", "esx-2", "r", "now", start="host-1", files=(HomeFile(0, "a", "A", "b", "p-old"),),
        place=HERE, home_vcenter="vc1", target_vcenter="vc2",
    )  # fmt: skip


def test_a_later_evacuation_keeps_the_home_and_knows_the_new_target() -> None:
    home = next_home(vm(1), LEAVING, KNOWN, run_id="r", recorded_at="now")
    assert (home.host, home.host_name, home.place, home.home_vcenter) == ("host-8", "esx-8", KNOWN.place, "vc8")
    assert home.files == (HomeFile(0, "x", "X", "b", "p-first"),)
    assert (home.target, home.start, home.target_vcenter) == ("host-2", "host-1", "vc2")
    bare = next_home(
        vm(1), LEAVING, replace(KNOWN, files=(), place=None, home_vcenter=""), run_id="r", recorded_at="now"
    )
    assert (bare.host, bare.files, bare.place, bare.home_vcenter) == (
        "host-8",
        (HomeFile(0, "a", "A", "b", "p-old"),),
        HERE,
        "vc1",
    )


def test_a_vm_that_a_person_moved_has_its_home_where_it_is_now() -> None:
    home = next_home(
        vm(1, on=5), replace(LEAVING, source="host-5", source_name="esx-5"), KNOWN, run_id="r", recorded_at="now"
    )
    assert (home.host, home.host_name, home.place, home.home_vcenter) == ("host-5", "esx-5", HERE, "vc1")
    assert home.files == (HomeFile(0, "a", "A", "b", "p-old"),)
    stays = next_home(vm(1, on=5), replace(LEAVING, source="host-5", parts=()), KNOWN, run_id="r", recorded_at="now")
    assert stays.files == ()


@pytest.mark.parametrize(
    ("gets", "has", "first", "recorded"),
    [
        ("p-new", "p-old", "", "p-old"),
        ("p-new", "p-old", "p-first", "p-first"),
        ("p-same", "p-same", "", ""),
        ("", "p-old", "", ""),
        ("", "p-old", "p-first", "p-first"),
    ],
)
def test_the_policy_of_a_home_counts_from_the_first_move_that_changes_it(
    gets: str, has: str, first: str, recorded: str
) -> None:
    move = replace(LEAVING, parts=(replace(OUT, policy=gets, policy_before=has),))
    earlier = replace(KNOWN, files=(replace(KNOWN.files[0], policy=first),))
    (file,) = next_home(vm(1), move, earlier, run_id="r", recorded_at="now").files
    assert file.policy == recorded


@pytest.mark.parametrize(
    ("stores", "name", "found"),
    [
        ({"a": "A"}, "A", "a"),
        ({"a": "renamed", "n": "A"}, "A", "a"),
        ({"n": "A", "m": "B"}, "A", "n"),
        ({"n": "A", "m": "A"}, "A", "a"),
        ({"m": "B"}, "A", "a"),
        ({"n": ""}, "", "a"),
    ],
)
def test_a_datastore_of_a_home_is_found_again_by_its_only_name(stores: dict[str, str], name: str, found: str) -> None:
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now", files=(HomeFile(0, "a", name, "b"),))
    known = {moid: Datastore(moid, its, frozenset({"host-1"})) for moid, its in stores.items()}
    world = estate([host(1), host(2)], [vm(1, on=2)], datastores=known)
    (placed,) = placements(world, {"vm-1": home})
    assert placed.home.datastores == {0: found}


FAR = "host-7@uuid-2"


@pytest.mark.parametrize(
    ("second", "home", "on", "outcome", "vcenter"),
    [
        (False, {"host": FAR, "home_vcenter": "vc2"}, 2, "other_vcenter", "vc2"),
        (False, {"host": FAR}, 2, "other_vcenter", "another vCenter"),
        (False, {"target": FAR, "target_vcenter": "vc2"}, None, "other_vcenter", "vc2"),
        (False, {"start": FAR, "target_vcenter": "vc2"}, None, "other_vcenter", "vc2"),
        (False, {}, None, "gone", ""),
        (True, {"host": FAR, "home_vcenter": "vc2"}, 2, "away", ""),
        (True, {"target": FAR, "start": FAR}, None, "gone", ""),
    ],
)
def test_what_a_login_to_one_vcenter_does_not_show_is_not_called_gone(
    second: bool, home: dict[str, str], on: int | None, outcome: str, vcenter: str
) -> None:
    recorded = Home(**{"vm": "vm-1", "host": "host-1", "host_name": "esx-1", "target": "host-2", "target_name": "esx-2",
                       "run_id": "r", "recorded_at": "now", "vm_name": "ml-1", **home})  # type: ignore[arg-type]  # fmt: skip
    world = estate([host(1), host(2), host(7, moid=FAR)], [] if on is None else [vm(1, on=on)])
    world = replace(world, second=replace(INFO, instance_uuid="uuid-2") if second else None)
    (placed,) = placements(world, {"vm-1": recorded}, deleted=lambda vms: vms)
    assert (placed.outcome, placed.vcenter) == (outcome, vcenter)
    if outcome == "other_vcenter":
        assert f"in vCenter {vcenter}" in placed.sentence
        assert ("was moved to" in placed.sentence) is (on is None)


def test_a_vm_that_is_in_the_other_vcenter_is_said_to_be_there() -> None:
    far = host(7, moid=FAR, name="far-7", vcenter="vc2")
    home = Home("vm-1", "host-1", "esx-1", FAR, "far-7", "r1", "now")
    (placed,) = placements(estate([host(1), far], [vm(1, host=FAR)]), {"vm-1": home})
    assert placed.sentence == "ml-1 is on far-7 in vCenter vc2, away from its home esx-1."


@pytest.mark.parametrize(
    ("cluster", "home", "on", "lost"), [("c", 9, 2, True), ("d", 9, 2, False), ("c", 1, 2, False), ("c", 9, 4, False)]
)
def test_a_vm_whose_home_host_is_gone_is_known_by_the_cluster_where_it_waits(
    cluster: str, home: int, on: int, lost: bool
) -> None:
    recorded = Home("vm-1", f"host-{home}", f"esx-{home}", f"host-{on}", f"esx-{on}", "r1", "now")
    world = estate([host(1, maintenance=Maintenance.IN), host(2)], [vm(1, on=on)])
    found = placements(world, {"vm-1": recorded})
    assert [placed.outcome for placed in found] == ["home_unhealthy"]
    assert bool(without_home_host(world, found, cluster)) is lost


def test_a_home_in_an_older_record_is_mentioned() -> None:
    newer = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r2", "2026-02-01")
    older = replace(newer, host="host-3", host_name="esx-3", recorded_at="2026-01-01", run_id="r1")
    for attribute, journal in ((newer, older), (older, newer)):
        world = estate([host(1), host(2), host(3)], [vm(1, on=2, attributes={ATTRIBUTE: encode_home(attribute)})])
        (placed,) = placements(world, {"vm-1": journal})
        assert (placed.home.host, placed.superseded) == ("host-1", "esx-3")
        assert placed.sentence.endswith("An older run recorded esx-3 as its home; the newer one counts.")
    same = replace(newer, recorded_at="2026-01-01")
    world = estate([host(1), host(2)], [vm(1, on=2, attributes={ATTRIBUTE: encode_home(newer)})])
    assert [placed.superseded for placed in placements(world, {"vm-1": same})] == [""]


def test_placements_come_in_the_order_of_names_and_for_one_home_alone() -> None:
    homes = {
        f"vm-{n}": Home(f"vm-{n}", f"host-{home}", "", "host-3", "", "r", "now") for n, home in ((1, 1), (2, 2), (3, 1))
    }
    world = estate([host(1), host(2), host(3)], [vm(1, on=3, name="b"), vm(2, on=3, name="a"), vm(3, on=3, name="b")])
    assert [placed.vm for placed in placements(world, homes)] == ["vm-2", "vm-1", "vm-3"]
    assert [placed.vm for placed in placements(world, homes, "host-1")] == ["vm-1", "vm-3"]


def test_the_files_of_moves_under_way_lead_out_or_home() -> None:
    world = estate([host(1), host(2)], [vm(1), vm(2)])
    homes = {f"vm-{n}": Home(f"vm-{n}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now") for n in (1, 2)}
    homes["vm-1"] = replace(homes["vm-1"], files=(HomeFile(0, "ds", "shared", "b"), HomeFile(1, "ds", "shared", "c")))
    found = placements(world, homes)
    assert files_under_way(found) == {"vm-1": {0: "b", 1: "c"}}
    assert files_under_way(found, homeward=True) == {"vm-1": {0: "ds", 1: "ds"}}
