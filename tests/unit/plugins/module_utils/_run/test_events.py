# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events as JSON and back: each kind, whatever a file holds."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.codec import Malformed
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    KINDS,
    Entry,
    ExperimentFound,
    Unrecognised,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.journals import EXAMPLES, entries

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def test_each_kind_has_an_example() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    assert len({kind.__name__ for kind in KINDS.values()}) == len(KINDS)
    assert all(kind.__doc__ for kind in KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_the_same_after_json(kind: str) -> None:
    (entry,) = entries([{"event": kind}])
    data = json.loads(json.dumps(entry.to_json()))
    assert data["event"] == kind
    assert EXAMPLES[kind].items() <= data.items()
    assert Entry.from_json(data) == entry


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind] is not ExperimentFound])
def test_a_missing_field_is_named(kind: str) -> None:
    needed = [f.name for f in fields(KINDS[kind]) if f.default is MISSING]  # type: ignore[arg-type]
    assert needed
    for name in needed:
        rest = {key: value for key, value in EXAMPLES[kind].items() if key != name}
        with pytest.raises(Malformed, match=f"{name} is missing"):
            KINDS[kind].from_json(rest)


@given(kind=st.sampled_from(sorted(KINDS)), changes=st.dictionaries(st.text(max_size=8), JSON), data=st.data())
def test_whatever_a_line_holds_is_an_event_or_malformed(
    kind: str, changes: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(EXAMPLES[kind])))
    line = {"seq": 1, "at": "x", "mono": 0.0, "event": kind, **EXAMPLES[kind], **changes, name: data.draw(JSON)}
    try:
        entry = Entry.from_json(line)
    except Malformed:
        return
    assert entry == Entry.from_json(json.loads(json.dumps(entry.to_json())))


def test_an_event_of_a_later_version_is_kept_apart() -> None:
    line = {"seq": 1, "at": "x", "mono": 0.0, "event": "coffee_made", "cups": 2}
    assert Entry.from_json(line).event == Unrecognised("coffee_made")


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert Entry.from_json({**entries([{"event": "fence"}])[0].to_json(), "colour": "red"}).event.kind == "fence"
