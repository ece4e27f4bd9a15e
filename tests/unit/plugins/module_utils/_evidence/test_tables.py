# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence as tables: every row there, figures as a person reads them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core import wording
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import tables as _tables

from tests.builders.journals import made_evidence


@pytest.mark.parametrize("moves", [1, 8, 64])
def test_there_is_a_row_for_each_experiment_and_each_move(moves: int) -> None:
    evidence = made_evidence(moves, ["uninterrupted"] * moves)
    tables = {table.key: table for table in _tables.all_tables(evidence)}
    assert [len(tables[key].rows) for key in ("experiments", "moves", "measurement")] == [moves] * 3
    assert ("owners" in tables) == (moves > 1), "a single owner needs no summary"
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.heads)}


def test_a_run_without_experiments_has_no_table_of_them() -> None:
    keys = [table.key for table in _tables.all_tables(made_evidence(2, []))]
    assert keys == ["moves", "placement", "refusals", "gaps"]


def test_predicted_stands_beside_measured() -> None:
    table = _tables.moves_table(made_evidence(1, result="timed_out"))
    row = dict(zip(table.heads, table.rows[0], strict=True))
    assert (row["Predicted"].text, row["Took"].text) == ("20 s", "23 s")
    assert (row["Started"].text, row["Switched over"].text) == ("+3.0 s", "not seen")
    assert (row["Result"].text, row["Result"].tone) == ("timed out", "bad")
    assert row["Result"].note == "Timedout: the copy did not converge"


def test_placement_says_how_many_changed_their_fault_domain() -> None:
    evidence = made_evidence(8)
    assert _tables.crossings(evidence) == (
        "us-west-2b had 8 of these VMs and has 6; us-west-2c had 0 of these VMs and has 2. "
        "2 of 8 moved VMs changed their fault domain."
    )
    evidence["placement"][0]["fault_domain"] = None
    assert _tables.crossings(evidence) == "Not every host's fault domain is known."


@pytest.mark.parametrize(
    ("part", "text", "note"),
    [
        ({"rate": 0.3124, "half_width": 0.0349, "unit": "percent"}, "18.7 %/min", "± 2.1"),
        ({"rate": 812.4, "half_width": 9.0, "unit": "steps"}, "812 steps/s", "± 9"),
        ({"rate": 0.5, "half_width": 1e-16, "unit": "percent"}, "30.0 %/min", "± 0.1"),
        ({"rate": 0.0, "half_width": None, "unit": "steps"}, "0.00 steps/s", "no interval"),
        (None, "not known", ""),
    ],
)
def test_a_rate_has_the_digits_that_mean_something(part: dict[str, Any] | None, text: str, note: str) -> None:
    parts = {"before": part, "during": None, "after": None, "during_to_before": None}
    evidence = made_evidence(1)
    evidence["experiments"][0]["throughput"] = parts
    table = _tables.measurement_table(evidence)
    assert table is not None
    cell = table.rows[0][table.heads.index("Throughput before")]
    assert (cell.text, cell.note) == (text, note)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not known"), (0.386, "0.39 s"), (59.6, "60 s"), (300.0, "5 min"), (9000.0, "2.5 h")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert wording.seconds(value) == text


def test_a_broken_chain_is_told_where_it_breaks() -> None:
    evidence = made_evidence(1)
    assert ("Chain of the journal", "unbroken, 9 events") in _tables.integrity_facts(evidence)
    evidence["journal"].update(broken_at=4, why="it is no event", samples_as_sealed=False)
    facts = dict(_tables.integrity_facts(evidence))
    assert facts["Chain of the journal"] == "BROKEN at line 4: it is no event"
    assert facts["Samples"] == "NOT those that were sealed"


def test_a_power_cycle_is_bad_news() -> None:
    move = {"power_on": {"before": "2026-01-01T00:00:00.000Z", "after": "2026-01-31T09:00:30.000Z", "same": False}}
    cell = _tables.powered_cell(move)
    assert (cell.text, cell.note, cell.tone) == ("NO", "powered on again 2026-01-31 09:00:30 UTC", "bad")


def test_the_environment_is_named() -> None:
    facts = dict(_tables.environment_facts(made_evidence(1)))
    assert facts["Version of vCenter"] == "8.0.3"
    assert facts["Collection"] == "liveml.vsphere 0.1.0"
    assert facts["Slots"] == "at most 8 moves at a time touch a host"
    assert facts["Priority of the moves"] == "highPriority"


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ("uninterrupted", "to be expected"),
        ("stalled", "to be expected"),
        ("restarted", "cannot be promised"),
        ("failed", "cannot be promised"),
        ("unknown", "not known"),
    ],
)
def test_the_same_model_is_expected_only_of_an_experiment_that_went_on(verdict: str, answer: str) -> None:
    evidence = made_evidence(1, [verdict])
    evidence["experiments"][0]["reproducible"] = {"state": "yes", "detail": "a seed is set"}
    table = _tables.same_model_table(evidence)
    assert table is not None
    assert table.rows[0][0].text == answer
