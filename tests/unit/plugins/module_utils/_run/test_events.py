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
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, PartMove
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    FORMAT,
    KINDS,
    Entry,
    ExperimentFound,
    MoveError,
    MoveFinished,
    Pin,
    Ref,
    Unrecognised,
    VerdictReached,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Ended, MoveResult
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, DrsOverride
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Fault
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.journals import EXAMPLES, entries

PART = PartMove(0, "files", "a", "local", "b", "shared")
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_older_journal_does_not_say_is_not_claimed(kind: str) -> None:
    given = {f.name: f.default for f in fields(KINDS[kind]) if f.default is not MISSING}  # type: ignore[arg-type]
    known = {"attempt": 1, "reason": "timeout", "format": FORMAT}  # what older versions meant without a word
    assert {name: value for name, value in given.items() if value} == {n: v for n, v in known.items() if given.get(n)}


def test_only_what_a_crash_may_take_is_not_waited_for() -> None:
    assert {kind for kind, event in KINDS.items() if event.volatile} == {
        "vcenter_silence", "move_progress", "experiment_progress",
    }  # fmt: skip


def test_a_journal_of_the_first_version_can_still_be_read() -> None:
    assert entries([{"event": "run_started"}])[0].to_json()["format"] == 1


@pytest.mark.parametrize(
    "override", [None, DrsOverride(None), DrsOverride(False), DrsOverride(True, Automation.MANUAL)]
)
def test_a_pin_knows_the_override_that_was_there_before(override: DrsOverride | None) -> None:
    pin = Pin.of(Ref("vm-1", "ml-1"), "c", override)
    assert pin.before == override
    assert pin.had is (override is not None)
    assert not Pin(Ref("vm-1", "ml-1"), "c").had


STALL, FREEZE = Stall(0.4, 0.3, 0.5, 7.0), Stall(0.2, 0.1, 0.3)


@pytest.mark.parametrize(("stall", "freeze"), [(STALL, FREEZE), (STALL, None), (None, FREEZE), (None, None)])
def test_a_judgement_is_the_same_from_the_journal(stall: Stall | None, freeze: Stall | None) -> None:
    experiment = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://x", owner="me", description="GBM")
    made = Judgement(
        experiment,
        Verdict.STALLED,
        "proven",
        "unknown",
        "refuted",
        stall,
        0.2,
        0.1,
        0.3,
        40,
        2.5,
        "late",
        longest_freeze=freeze,
    )
    event = VerdictReached.from_json(json.loads(json.dumps(VerdictReached.of(made).to_json())))
    assert event.judgement(experiment) == made
    assert (event.owner, event.description) == ("me", "GBM")


@pytest.mark.parametrize(
    ("target", "parts", "text"),
    [
        ("host-2", (), "esx-2"),
        ("host-2", (PART, PART), "esx-2 [shared]"),
        ("host-2@other", (PART,), "esx-2 [shared] in vCenter vc2"),
    ],
)
def test_where_a_move_led(target: str, parts: tuple[PartMove, ...], text: str) -> None:
    made = Move(1, "vm-1", "ml-1", "host-1", "esx-1", target, "esx-2", 1, 1.0, parts=parts, target_vcenter="vc2")
    done = MoveFinished.of(Ended(made, MoveResult.MOVED, target, "esx-2"))
    assert (done.target_text, done.error, done.host) == (text, None, "esx-2")
    lost = MoveFinished.of(Ended(made, MoveResult.FAILED, None, "", Fault("Timedout", "too slow")))
    assert (lost.error, lost.host) == (MoveError("Timedout", "too slow"), None)
