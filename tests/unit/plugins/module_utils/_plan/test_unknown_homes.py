# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not known of a home is said by name: it is never taken for no home, and never for the home of another VM."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import placements, recorded_home
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Power, VcenterInfo, VmState
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    ATTRIBUTE,
    Home,
    decode_home,
    encode_home,
)

from tests.builders.estates import estate, host, vm

HOSTS = [host(1), host(2), host(3)]
HOME = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "2026-11-28T10:00:00.000Z", "host-1")
HEAD = '{"h":"host-1","n":"esx-1","t":"host-2","tn":"esx-2","r":"x","at":"2026"'


def with_text(text: str, on: int = 2) -> Estate:
    """A VM whose home attribute has this text."""
    return estate(HOSTS, [vm(1, on=on, attributes={ATTRIBUTE: text})])


@pytest.mark.parametrize(
    "text",
    [
        "esx-1",
        encode_home(HOME)[:100],
        '{"h":"host-1","n":"esx-1"}',
        '{"h":"host-1","n":"esx-1","t":"host-2","tn":"esx-2","r":"x"}',
        '{"h":"","n":"esx-1","t":"host-2","tn":"esx-2","r":"x","at":"2026"}',
        '{"h":null,"n":"esx-1","t":"host-2","tn":"esx-2","r":"x","at":"2026"}',
        HEAD + ',"s":null}',
        HEAD + ',"f":[[1e999,"a","b","c"]]}',
        HEAD + ',"f":[[1.5,"a","b","c"]]}',
        HEAD + ',"f":[[true,"a","b","c"]]}',
        HEAD + ',"f":[[1,null,"b","c"]]}',
        HEAD + ',"f":[[1,"a","b"]]}',
        HEAD + ',"f":[[1,"a","b","c","d","e"]]}',
        HEAD + ',"f":{"1":2}}',
        HEAD + ',"f":5}',
        HEAD + ',"p":"rg"}',
        HEAD + ',"p":"rg","d":"f","w":[1]}',
        HEAD + ',"p":"rg","d":"f","w":{"1e999":"n"}}',
        HEAD + ',"p":"rg","d":"f","w":{"4000":1}}',
        HEAD + ',"v":"u"}',
        HEAD + ',"v":[1]}',
        HEAD + ',"hv":{}}',
    ],
)
def test_a_text_that_is_not_a_home_is_named_and_fails_the_restore(text: str) -> None:
    for journal in ({}, {"vm-1": HOME}):
        (found,) = placements(with_text(text), journal, "host-3")
        assert found.outcome == "unreadable"
        check, about = found.blocker or ("", "")
        assert check == "home_unreadable"
        assert about.startswith(f"liveml_home: {text[:100]}")
        assert "is not a home" in found.sentence
        assert ("The journal names esx-1." in found.sentence) is bool(journal)


def test_a_text_that_is_not_a_home_is_not_overwritten() -> None:
    world = with_text("esx-1", on=1)
    plan = make_plan(world, PlanRequest(("vm-1",), evacuated=frozenset({"host-1"})))
    assert [(r.check, r.object) for r in plan.refusals[0].reasons] == [("home_unreadable", "liveml_home: esx-1")]
    assert make_plan(world, PlanRequest(("vm-1",))).moves, "such a move records no home"


def test_a_home_that_is_edited_after_the_plan_was_made_is_not_overwritten() -> None:
    plan = make_plan(with_text("", on=1), PlanRequest(("vm-1",), evacuated=frozenset({"host-1"})))
    edited = with_text("esx-1", on=1)
    (drift,) = revalidate(plan, edited, records_homes=True)
    assert drift.what == "home_unreadable (liveml_home: esx-1)"
    assert revalidate(plan, edited) == ()
    moved = replace(edited.vms["vm-1"], host=plan.moves[0].target)
    assert revalidate(plan, replace(edited, vms={"vm-1": moved}), records_homes=True) == ()


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_text_is_no_home(text: str) -> None:
    assert placements(with_text(text), {}) == ()


def test_every_field_of_a_home_is_read_again() -> None:
    full = (
        HEAD
        + ',"s":"host-1","f":[[0,"ds-1","one","ds-2"],[2000,"ds-1","one","ds-2","p"]],"p":"rg","d":"f","w":{"4000":"n"}}'
    )
    home = decode_home("vm-1", full)
    assert home is not None
    assert [file.policy for file in home.files] == ["", "p"]
    assert home.place is not None
    assert [plug.network for plug in home.place.plugs] == ["n"]


WRITTEN = replace(HOME, vm_name="ml-1", vm_uuid="u1", in_attribute=True)
CLEARED = {ATTRIBUTE: ""}
FAR = VcenterInfo("far", "there", "8.0.3", False)


def test_a_home_that_another_controller_cleared_is_none_although_the_journal_has_it() -> None:
    """The other one brought the VM home; then a person moved it to the host that was the target of the evacuation."""
    asked: list[str] = []
    cleared = estate(HOSTS, [vm(1, on=2, attributes=CLEARED)])
    assert placements(cleared, {"vm-1": WRITTEN}, None, lambda moid, _host: asked.append(moid) or "alice") == ()
    assert recorded_home(cleared, cleared.vms["vm-1"], {"vm-1": WRITTEN}) is None, (
        "a next evacuation records another home"
    )
    dropped = estate(HOSTS, [vm(1, on=2), vm(2, on=2, attributes=CLEARED)])
    assert placements(dropped, {"vm-1": WRITTEN}) == (), "vCenter may leave out an empty attribute"


@pytest.mark.parametrize(
    ("machine", "home"),
    [
        (vm(1, on=2, attributes=CLEARED), replace(WRITTEN, in_attribute=False)),  # the user may not set attributes
        (vm(7, on=2, instance_uuid="u1"), WRITTEN),  # registered again, without attributes
        (vm(7, on=2, instance_uuid="u1", attributes=CLEARED), WRITTEN),
        (vm(1, on=2, attributes={ATTRIBUTE: encode_home(WRITTEN)}), WRITTEN),
    ],
)
def test_a_home_that_nobody_can_have_cleared_counts(machine: VmState, home: Home) -> None:
    (found,) = placements(estate(HOSTS, [machine]), {"vm-1": home}, "host-1")
    assert (found.outcome, found.vm) == ("away", machine.moid)


@pytest.mark.parametrize(
    "world",
    [
        estate(HOSTS, [vm(1, on=2)]),  # the attribute may have been removed from vCenter
        estate(HOSTS, [vm(1, on=2, attributes=CLEARED, moid="u1")], second=FAR),  # perhaps registered again
    ],
)
def test_a_home_that_was_cleared_or_lost_is_said_and_fails(world: Estate) -> None:
    (moid,) = world.vms
    (found,) = placements(world, {moid: replace(WRITTEN, vm=moid)}, "host-1")
    assert (found.outcome, found.blocker) == ("unreadable", ("home_missing", ATTRIBUTE))
    assert found.sentence == (
        "The journal names esx-1 as the home of ml-1, but the VM's custom attribute liveml_home, which had it too, is empty. Another "
        "controller may have cleared it."
    )
    assert placements(world, {moid: replace(WRITTEN, vm=moid)}, "host-2") == ()


@pytest.mark.parametrize(
    "world",
    [
        estate(HOSTS, [vm(1, on=1)]),
        estate(HOSTS, [vm(1, on=1, attributes=CLEARED, moid="u1")], second=FAR),
    ],
)
def test_a_vm_that_another_controller_brought_home_is_home(world: Estate) -> None:
    """Whether that one cleared its attribute, or the attribute was lost, decides nothing then."""
    (moid,) = world.vms
    (found,) = placements(world, {moid: replace(WRITTEN, vm=moid)}, "host-1")
    assert (found.outcome, found.blocker) == ("home", None)


def test_a_clone_does_not_get_the_home_of_its_vm() -> None:
    copied = {ATTRIBUTE: encode_home(WRITTEN)}
    clone = vm(9, on=2, name="clone", attributes=copied)
    for vms in ([vm(1, on=2, attributes=copied), clone], [clone]):
        world = estate(HOSTS, vms)
        assert [p.vm for p in placements(world, {}, "host-1")] == [each.moid for each in vms if each is not clone]
        assert recorded_home(world, clone, {}) is None
    old = {ATTRIBUTE: encode_home(HOME)}
    assert [p.vm for p in placements(estate(HOSTS, [vm(1, on=2, attributes=old)]), {})] == ["vm-1"]


@pytest.mark.parametrize("place", [3, 9])
def test_a_vm_that_nobody_knows_to_have_moved_is_not_left_where_it_is(place: int) -> None:
    (found,) = placements(estate(HOSTS, [vm(1, on=place)]), {"vm-1": HOME}, "host-1")
    name = "esx-3" if place == 3 else "a host that vCenter does not show"
    assert (found.outcome, found.blocker) == ("mover_unknown", ("mover_unknown", name))
    assert found.sentence == (
        f"ml-1 is on {name}. vCenter does not say who moved it there after its evacuation to esx-2."
    )


def test_a_vm_that_vcenter_does_not_show_was_not_deleted() -> None:
    """The user may have lost the permission on it; in two vCenters nobody can say that a VM with its UUID was deleted."""
    named = replace(WRITTEN, in_attribute=False)
    (found,) = placements(estate(HOSTS, [vm(2)]), {"vm-1": named}, "host-1")
    assert (found.outcome, found.blocker) == ("not_shown", ("not_shown", "ml-1"))
    assert found.sentence == "vCenter does not show ml-1. Its home is esx-1."
    far = replace(named, vm="u1")
    (found,) = placements(estate(HOSTS, [], second=FAR), {"u1": far}, "host-1", deleted=lambda vms: vms)
    assert found.outcome == "not_shown"


def test_only_vms_with_this_home_that_the_estate_lacks_are_asked_for() -> None:
    asked: list[list[str]] = []

    def deleted(vms: Collection[str]) -> Collection[str]:
        asked.append(sorted(vms))
        return vms

    homes = {f"vm-{n}": replace(HOME, vm=f"vm-{n}") for n in (1, 2, 3)}
    homes["vm-4"] = replace(HOME, vm="vm-4", host="host-3")
    found = placements(estate(HOSTS, [vm(1, on=2)]), homes, "host-1", deleted=deleted)
    assert {p.vm: p.outcome for p in found} == {"vm-1": "away", "vm-2": "gone", "vm-3": "gone"}
    assert asked == [["vm-2", "vm-3"]], "in one call"


EARLY, LATE = "2026-11-28T10:00:00.000Z", "2026-11-28T10:10:00.000Z"
ONWARD = replace(HOME, target="host-3", target_name="esx-3", start="host-2", run_id="theirs", recorded_at=EARLY)


@pytest.mark.parametrize(
    ("attribute", "own", "target"),
    [
        (ONWARD, replace(HOME, recorded_at=LATE), "esx-3"),  # this controller's clock is 10 minutes ahead
        (replace(HOME, run_id="theirs", recorded_at=LATE), replace(ONWARD, run_id="r1"), "esx-3"),
        (replace(ONWARD, start="host-1"), replace(WRITTEN, recorded_at=LATE), "esx-3"),  # it was overwritten
        (replace(ONWARD, start="host-1"), replace(HOME, recorded_at=LATE), "esx-2"),  # nothing but the times
        (replace(ONWARD, start="host-1", recorded_at=LATE), replace(HOME, recorded_at=EARLY), "esx-3"),
        (
            replace(ONWARD, start="host-1", recorded_at="2026-11-28T11:05:00+02:00"),
            replace(HOME, recorded_at=LATE),
            "esx-2",
        ),
        (replace(ONWARD, start="host-1", recorded_at="2026-11-28T10:20:00"), replace(HOME, recorded_at=LATE), "esx-3"),
        (replace(ONWARD, start="host-1", recorded_at="yesterday"), replace(HOME, recorded_at=EARLY), "esx-2"),
        (replace(ONWARD, start="host-1", recorded_at="0001-01-01T00:00:00+14:00"), HOME, "esx-2"),
        # There and back: each one starts where the other one led
        (replace(ONWARD, target="host-1", target_name="esx-1"), replace(HOME, recorded_at=LATE), "esx-2"),
        (replace(ONWARD, run_id="r1", start="host-1"), replace(HOME, recorded_at=LATE), "esx-2"),
    ],
)
def test_of_two_homes_the_later_one_counts_whatever_the_clocks_say(attribute: Home, own: Home, target: str) -> None:
    world = estate(HOSTS, [vm(1, on=3, attributes={ATTRIBUTE: encode_home(attribute)})])
    (found,) = placements(world, {"vm-1": own})
    assert found.home.target_name == target


@pytest.mark.parametrize(("power", "place"), [(Power.ON, "a host that vCenter does not show"), (Power.OFF, "no host")])
def test_a_vm_without_a_host_is_not_said_to_be_on_one(power: Power, place: str) -> None:
    plan = make_plan(with_text("", on=1), PlanRequest(("vm-1",)))
    lost = estate(HOSTS, [replace(vm(1), host="", power=power)])
    assert [drift.what for drift in revalidate(plan, lost)] == [f"the VM is on {place}, not on esx-1"]
    now = make_plan(lost, PlanRequest(()))
    (deviation,) = deviations_from_approved(plan, now, lost)
    assert deviation.what == f"it is on {place}, not on esx-1"
