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
    assert row["Predicted"].note == ""
    (move,) = made_evidence(1)["moves"]
    for stun, words in ((21.7, "stands still for up to 22 s"), (None, "it is not known how long it stands still")):
        shown = {**made_evidence(1), "moves": [{**move, "vgpus": ["grid_v100-16q"], "predicted_stun": stun}]}
        (cells,) = _tables.moves_table(shown).rows
        assert f"{words} (vGPU grid_v100-16q)" in {cell.note for cell in cells}
    assert (row["Started"].text, row["Switched over"].text) == ("+3.0 s", "not seen")
    assert (row["Result"].text, row["Result"].tone) == ("timed out", "bad")
    assert row["Result"].note == "Timedout: the copy did not converge"


def test_placement_says_how_many_changed_their_fault_domain() -> None:
    evidence = made_evidence(8)
    assert _tables.crossings(evidence) == (
        "2 of 8 moved VMs changed the fault domain. us-west-2b: 8 VMs before, 6 after; us-west-2c: 0 VMs before, 2 after."
    )
    evidence["placement"][0]["fault_domain"] = None
    assert _tables.crossings(evidence) == "The fault domain of some hosts is not known."


@pytest.mark.parametrize(
    ("moves", "result", "words"),
    [
        (3, "moved", "All 3 moved VMs stayed in fault domain us-west-2b."),
        (1, "moved", "The moved VM stayed in fault domain us-west-2b."),
        (1, "failed", "No VM moved."),
    ],
)
def test_placement_says_when_no_vm_changed_its_fault_domain(moves: int, result: str, words: str) -> None:
    assert _tables.crossings(made_evidence(moves, result=result)) == words


def test_placement_says_when_moved_vms_stayed_in_several_fault_domains() -> None:
    evidence = made_evidence(2)
    evidence["moves"][1].update(source_fault_domain="us-west-2c", target_fault_domain="us-west-2c")
    assert _tables.crossings(evidence) == "All 2 moved VMs stayed in their fault domains."


def test_placement_does_not_say_that_vms_stayed_that_came_back() -> None:
    evidence = made_evidence(1)
    move = evidence["moves"][0]
    move["target_fault_domain"] = "us-west-2c"
    back = {**move, "back": True, "source_fault_domain": "us-west-2c", "target_fault_domain": "us-west-2b"}
    evidence["moves"].append(back)
    assert _tables.crossings(evidence) == "The moved VM is in the same fault domain as before the run."


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
    parts = {"before": part, "during": None, "after": None, "during_to_before": None, "cost": None}
    evidence = made_evidence(1)
    evidence["experiments"][0]["throughput"] = parts
    table = _tables.measurement_table(evidence)
    assert table is not None
    cell = table.rows[0][table.heads.index("Throughput before")]
    assert (cell.text, cell.note) == (text, note)


def test_the_freeze_of_the_vm_stands_beside_the_stall_only_if_it_was_seen() -> None:
    evidence = made_evidence(1)
    experiment = evidence["experiments"][0]
    experiment["longest_stall"] = {"seconds": 0.4, "low": 0.3, "high": 0.5}
    notes = []
    for low in (0.0, 0.2):
        experiment["longest_freeze"] = {"seconds": 0.3, "low": low, "high": 0.45}
        table = _tables.experiments_table(evidence)
        assert table is not None
        notes.append(table.rows[0][table.heads.index("Longest stall")].note)
    assert notes == ["0.30 to 0.50 s", "0.30 to 0.50 s; the VM 0.20 to 0.45 s"]


def test_the_cost_of_the_moves_is_shown_with_its_interval() -> None:
    evidence = made_evidence(1)
    cost = {"seconds": 2.04, "low": 1.5, "high": 2.61}
    evidence["experiments"][0]["throughput"] = {
        "before": None, "during": None, "after": None, "cost": cost,
        "during_to_before": {"ratio": 0.75, "low": 0.678, "high": 0.82},
    }  # fmt: skip
    table = _tables.measurement_table(evidence)
    assert table is not None
    cell = table.rows[0][table.heads.index("During / before")]
    assert (cell.text, cell.note) == ("75 %", "67 to 82 %; cost 1.5 to 2.7 s")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not known"), (0.386, "0.39 s"), (59.6, "60 s"), (300.0, "5 min"), (9000.0, "2.5 h")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert wording.seconds(value) == text


def test_a_broken_chain_is_reported_with_its_line() -> None:
    evidence = made_evidence(1)
    assert ("Hash chain of the journal", "unbroken, 9 events") in _tables.integrity_facts(evidence)
    evidence["journal"].update(broken_at=4, why="it is not an event", samples_as_sealed=False)
    facts = dict(_tables.integrity_facts(evidence))
    assert facts["Hash chain of the journal"] == "BROKEN at line 4: it is not an event"
    assert facts["Samples"] == "CHANGED (their SHA-256 is not the one in the journal)"


def test_a_power_cycle_is_bad_news() -> None:
    move = made_evidence(1)["moves"][0]
    move["power_on"].update(after="2026-01-31T09:00:30.000Z", same=False)
    cell = _tables.powered_cell(move)
    assert (cell.text, cell.note, cell.tone) == ("NO", "powered on again at 2026-01-31 09:00:30 UTC", "bad")


def test_the_environment_is_named() -> None:
    facts = dict(_tables.environment_facts(made_evidence(1)))
    assert facts["vCenter version"] == "8.0.3"
    assert facts["Collection"] == "liveml.vsphere 0.1.0"
    assert facts["Slots"] == "at most 8 moves per host at a time"
    assert facts["Priority of moves"] == "highPriority"


@pytest.mark.parametrize(
    ("resumed", "text"), [(0, "success"), (1, "success, resumed once"), (3, "success, resumed 3 times")]
)
def test_the_result_says_how_often_the_run_was_resumed(resumed: int, text: str) -> None:
    evidence = made_evidence(1)
    evidence["run"]["resumed"] = resumed
    assert dict(_tables.environment_facts(evidence))["Result"] == text


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ("uninterrupted", "yes, expected"),
        ("stalled", "yes, expected"),
        ("restarted", "not guaranteed"),
        ("failed", "not guaranteed"),
        ("unknown", "not known"),
    ],
)
def test_the_same_model_is_expected_only_of_an_experiment_that_went_on(verdict: str, answer: str) -> None:
    evidence = made_evidence(1, [verdict])
    evidence["experiments"][0]["reproducible"] = {"state": "yes", "detail": "a seed is set"}
    table = _tables.same_model_table(evidence)
    assert table is not None
    assert table.rows[0][0].text == answer


def cells_of(table: _tables.Table | None) -> dict[str, _tables.Cell]:
    assert table is not None
    return dict(zip(table.heads, table.rows[0], strict=True))


@pytest.mark.parametrize(
    ("verdict", "progress", "identity"),
    [
        ("uninterrupted", "11 % → 24 % ()", "yes () good"),
        ("restarted", "fell from 19 % to 14 %, now 17 % (11 % at the begin)", "no () bad"),
        ("lost", "last seen at 19 % (11 % at the begin)", "not known () open"),
        (
            "failed",
            "last seen at 19 % (11 % at the begin)",
            "yes (of the server) good",
        ),
        ("unknown", "last seen at 23 % (11 % at the begin)", "not known () open"),
    ],
)
def test_what_was_lost_does_not_look_like_a_gain(verdict: str, progress: str, identity: str) -> None:
    cells = cells_of(_tables.experiments_table(made_evidence(1, [verdict])))
    assert f"{cells['Progress'].text} ({cells['Progress'].note})" == progress
    same = cells["Same process"]
    assert f"{same.text} ({same.note}) {same.tone}" == identity


def test_a_stall_is_of_the_time_that_was_watched_and_its_absence_has_a_reason() -> None:
    notes = {
        verdict: cells_of(_tables.experiments_table(made_evidence(1, [verdict])))["Longest stall"].note
        for verdict in ("unknown", "failed", "stalled")
    }
    assert notes == {
        "unknown": "0.25 to 0.61 s, while watched",
        "failed": "",
        "stalled": "7.25 to 7.61 s",
    }


def test_a_checkpoint_that_nobody_saw_is_only_set_up() -> None:
    evidence = made_evidence(1)
    cell = cells_of(_tables.measurement_table(evidence))["Recoverable"]
    assert (cell.text, cell.note) == ("set up", "checkpoints in /exports")
    table = _tables.measurement_table(evidence)
    assert table is not None
    assert "nobody looked for one" in table.lead
    evidence["experiments"][0]["recoverable"] = {"state": "no", "detail": "no folder"}
    cell = cells_of(_tables.measurement_table(evidence))["Recoverable"]
    assert (cell.text, cell.note) == ("no", "no folder")


def test_vms_that_stay_are_not_counted_as_gone() -> None:
    evidence = made_evidence(1)
    table = _tables.placement_table(evidence)
    assert table is not None
    assert table.lead.endswith(" 1 VM that stays is not counted.")
    assert table.heads[2:] == ("Planned VMs before", "Planned VMs after")
    evidence["refusals"] = []
    table = _tables.placement_table(evidence)
    assert table is not None
    assert "not counted" not in table.lead
