# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not known of a home is said by name: it is never taken for no home, and never for the home of another VM."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate
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
