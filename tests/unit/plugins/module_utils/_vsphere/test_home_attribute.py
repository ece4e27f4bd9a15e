# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A home survives its attribute, and no text in the attribute, which others can write, breaks a run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import InventoryPlace, Plug
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    Home,
    HomeFile,
    decode_home,
    encode_home,
    spans_vcenters,
)
from hypothesis import given
from hypothesis import strategies as st

HOME = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "run", "2026-03-01T11:00:00Z")
PLACE = InventoryPlace("", "resgroup-2", "", "group-v3", "", (Plug(4000, "network-1"), Plug(4001, "network-2")))
FILES = (HomeFile(0, "ds-1", "shared", "ds-2"), HomeFile(2000, "ds-1", "shared", "ds-3", "policy-1"))
MAX_ATTRIBUTE = 255  # characters that older vCenters keep

moids = st.from_regex(r"[a-z]{1,8}-[0-9]{1,4}", fullmatch=True)
names = st.text(st.characters(categories=["L", "N", "P"]), max_size=20)
vcenters = st.sampled_from(["1111aaaa", "2222bbbb"])


@st.composite
def homes(draw: st.DrawFn, *, two_vcenters: bool) -> Home:
    def identifier() -> str:
        return draw(moids) + (f"@{draw(vcenters)}" if two_vcenters else "")

    files = tuple(
        HomeFile(part, identifier(), draw(names), identifier(), draw(names))
        for part in draw(st.lists(st.integers(0, 3000), unique=True, max_size=3))
    )
    plugs = tuple(Plug(key, identifier()) for key in draw(st.lists(st.integers(4000, 4009), unique=True, max_size=2)))
    place = InventoryPlace("", identifier(), "", identifier(), "", plugs) if draw(st.booleans()) else None
    return Home(
        "vm-1", identifier(), draw(names), identifier(), draw(names), "run", "now", identifier() if draw(st.booleans()) else "",
        files=files, place=place,
        home_vcenter=draw(names) if two_vcenters else "", target_vcenter=draw(names) if two_vcenters else "",
    )  # fmt: skip


@given(homes(two_vcenters=False))
def test_a_home_is_what_it_was(home: Home) -> None:
    assert decode_home("vm-1", encode_home(home)) == home


@given(homes(two_vcenters=True))
def test_a_home_over_two_vcenters_is_what_it_was(home: Home) -> None:
    """Of which its hosts name both: each other id is in one of them."""
    home = replace(home, host="host-1@1111aaaa", target="host-1@2222bbbb")
    assert decode_home("vm-1", encode_home(home)) == home


def test_the_value_is_short() -> None:
    assert len(encode_home(HOME)) < MAX_ATTRIBUTE / 2
    far = replace(HOME, host="host-1@1111aaaa", target="host-9@2222bbbb", start="host-1@1111aaaa")
    assert [encode_home(far).count(uuid) for uuid in ("1111aaaa", "2222bbbb")] == [1, 1]


def test_an_id_that_names_a_vcenter_without_a_host_stays_whole() -> None:
    files = (HomeFile(0, "ds-1@3333cccc", "far", "ds-2@1111aaaa"),)
    home = replace(HOME, host="host-1@1111aaaa", target="host-2@1111aaaa", files=files)
    assert decode_home("vm-1", encode_home(home)) == home


@pytest.mark.parametrize("place", ["@2", "@9", "@x", "@10", "@0", "@\u00b2"])
def test_an_id_with_an_unknown_place_stays_as_it_is(place: str) -> None:
    far = replace(HOME, host="host-1@1111aaaa", target="host-9@2222bbbb")
    text = encode_home(far).replace("host-9@1", f"host-9{place}")
    found = decode_home("vm-1", text)
    assert found is not None
    assert found.target == f"host-9{place}"
    assert found.host == "host-1@1111aaaa"


def recorded(**changes: Any) -> str:
    return json.dumps({**json.loads(encode_home(replace(HOME, files=FILES, place=PLACE))), **changes})


def test_a_home_without_what_later_versions_record_is_complete() -> None:
    data = json.loads(encode_home(HOME))
    del data["s"]
    assert decode_home("vm-1", json.dumps(data)) == HOME


@pytest.mark.parametrize(
    "changes",
    [
        {"f": 1},
        {"f": None},
        {"f": [1]},
        {"f": [["x", "ds-1", "shared", "ds-2"]]},
        {"f": [[0, "ds-1", "shared"]]},
        {"f": [[float("inf"), "ds-1", "shared", "ds-2"]]},
        {"f": [[float("nan"), "ds-1", "shared", "ds-2"]]},
        {"w": {"x": "network-1"}},
    ],
)
def test_a_damaged_home_is_none(changes: dict[str, Any]) -> None:
    assert decode_home("vm-1", recorded(**changes)) is None


@pytest.mark.parametrize("key", ["h", "n", "t", "tn", "r", "at"])
def test_a_home_of_which_a_part_is_missing_is_none(key: str) -> None:
    data = json.loads(encode_home(HOME))
    del data[key]
    assert decode_home("vm-1", json.dumps(data)) is None


@pytest.mark.parametrize("key", ["h", "t"])
def test_a_home_without_one_of_its_hosts_is_none(key: str) -> None:
    assert decode_home("vm-1", recorded(**{key: ""})) is None


def test_a_home_is_the_same_whether_a_journal_or_an_attribute_has_it() -> None:
    """Only a journal has the name and the instance UUID of its VM."""
    assert replace(HOME, vm_name="ml-1", vm_uuid="u1") == HOME


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["h", "f", "p", "d", "w", "v", "hv", "tv", "at"]), anything))
def test_no_text_in_the_attribute_breaks_a_run(changes: dict[str, Any]) -> None:
    found = decode_home("vm-1", recorded(**changes))
    assert found is None or all(each.isprintable() for each in (found.host, found.recorded_at, found.home_vcenter))


@pytest.mark.parametrize("text", ["", "liveml", "[]", '"h"', "[" * 100_000, '{"f":[[' + "9" * 5000 + "]]}", "\ud800"])
def test_a_text_that_is_something_else_is_no_home(text: str) -> None:
    assert decode_home("vm-1", text) is None


def test_what_others_wrote_is_printable() -> None:
    found = decode_home("vm-1", recorded(n="esx\x1b[1m", p="res\n", w={"4000": "net\u202e"}))
    assert found is not None
    assert found.place is not None
    assert (found.host_name, found.place.pool, found.place.plugs) == ("esx [1m", "res ", (Plug(4000, "net "),))


@pytest.mark.parametrize(
    ("host", "target", "start", "spans"),
    [
        ("host-1", "host-2", "", False),
        ("host-1@1111aaaa", "host-2", "", True),
        ("host-1", "host-2@2222bbbb", "", True),
        ("host-1", "host-2", "host-3@2222bbbb", True),
    ],
)
def test_a_home_spans_vcenters_if_one_of_its_hosts_is_elsewhere(
    host: str, target: str, start: str, spans: bool
) -> None:
    assert spans_vcenters(replace(HOME, host=host, target=target, start=start)) is spans


def test_where_a_vm_can_be() -> None:
    assert HOME.places == ("host-2",)
    assert replace(HOME, start="host-3").places == ("host-2", "host-3")
    assert replace(HOME, files=FILES).datastores == {0: "ds-1", 2000: "ds-1"}


@pytest.mark.parametrize(
    ("used", "back"),
    [
        ({"ds-1"}, True),
        ({"ds-1", "ds-9"}, True),
        ({"ds-1", "ds-2"}, False),
        ({"ds-1", "ds-3"}, False),
        ({"ds-2", "ds-3"}, False),
        ({"ds-9"}, False),
        (set(), False),
    ],
)
def test_files_are_back_if_they_use_the_home_and_none_of_the_places_they_were_moved_to(
    used: set[str], back: bool
) -> None:
    assert replace(HOME, files=FILES).has_files_back(frozenset(used)) is back


def test_files_may_move_among_the_datastores_of_their_home() -> None:
    swapped = (HomeFile(0, "ds-1", "a", "ds-2"), HomeFile(2000, "ds-2", "b", "ds-1"))
    assert replace(HOME, files=swapped).has_files_back(frozenset({"ds-1", "ds-2"}))
    assert HOME.has_files_back(frozenset({"ds-7"}))
