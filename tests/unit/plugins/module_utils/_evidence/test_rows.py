# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do after a run: an entry for each experiment that is not well and each failure, and one set of figures everywhere."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import FAILURES, GOOD, VERDICTS, Failure
from ansible_collections.liveml.vsphere.plugins.module_utils._display.closing import closing_lines
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import (
    MAX_ENTRIES,
    entries_of,
    failures_of,
    rows_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import WORST_FIRST

from tests.builders.journals import INTACT, entries, made_evidence, made_run

VERDICT_LIST = [str(verdict) for verdict in WORST_FIRST]


def shown(page: str) -> str:
    """The text of a page or of Markdown."""
    text = html.unescape(re.sub(r"<[^>]*>", " ", page)).replace("\u200b", "").replace("\u00a0", " ")
    return " ".join(text.split())


@pytest.mark.parametrize("verdict", VERDICT_LIST)
def test_all_show_the_same_figures_and_the_same_advice(verdict: str) -> None:
    events, samples = made_run(1, [verdict])
    for event in events:
        if event.get("longest_stall"):
            event["longest_stall"] |= {"seconds": 1.234, "low": 1.17, "high": 1.38}
    evidence = evidence_of(entries(events), samples, INTACT)
    (row,) = rows_of(evidence)
    moved = {"moves": [{"vm": "ML-cpu-vm-00", "result": "moved", "back": False}]}
    terminal = closing_lines({**moved, "experiments": [row]}, subject="Evacuation of esx-05", failed=False)
    report = render_html(evidence)
    places = {
        "terminal": " ".join(terminal),
        "report": shown(report[report.index("<body") : report.index("</ul>")]),
        "markdown": shown(render_markdown(evidence).partition("### How it was measured")[0]),
    }
    for place, text in places.items():
        assert "GBM gbm_0 in ML-cpu-vm-00" in text, place
        assert row["seen"] in text, place
        assert row["what_to_do"] in text or (place == "terminal" and verdict in GOOD), place
        figures = set(re.findall(r"\d+\.\d\d s", text))
        assert figures <= {"1.23 s", "1.38 s", "1.17 s", "5.00 s"}, place
        assert ("watched for 29 s" in text) or verdict in ("lost", "failed", "restarted", "unknown"), place
    assert VERDICTS[verdict].means in places["report"]


@pytest.mark.parametrize("verdict", ["lost", "failed"])
def test_a_training_that_stopped_was_last_seen_before_it_stopped(verdict: str) -> None:
    evidence = made_evidence(1, [verdict])
    offset, progress = evidence["experiments"][0]["curve"][-1]
    (row,) = rows_of(evidence)
    assert (row["last_seen"]["progress"], row["fell_to"]) == (progress, None)
    assert row["last_seen"]["at"] == f"2026-01-31T09:00:{offset:06.3f}Z"


def test_progress_that_went_back_is_seen_from_where_to_where() -> None:
    evidence = made_evidence(1, ["restarted"])
    evidence["experiments"][0]["curve"] = [[1.0, 0.1], [2.0, 0.3], [9.0, 0.05], [12.0, 0.4]]
    (row,) = rows_of(evidence)
    assert (row["last_seen"]["progress"], row["fell_to"]["progress"]) == (0.3, 0.05)
    assert "It was seen at 30 % at 2026-01-31 " in row["seen"]


@pytest.mark.parametrize("offset", [-5.0, 1e6])
def test_a_time_of_another_clock_is_not_shown(offset: float) -> None:
    evidence = made_evidence(1, ["lost"])
    evidence["experiments"][0]["curve"] = [[offset, 0.3]]
    assert rows_of(evidence)[0]["last_seen"] == {"progress": 0.3, "at": None}
    assert rows_of(evidence)[0]["watched_seconds"] is None


def test_time_that_nobody_watched_is_not_said_to_be_watched() -> None:
    evidence = made_evidence(1)
    experiment = evidence["experiments"][0]
    experiment["curve"], experiment["unwatched_seconds"] = [[0.0, 0.1], [60.0, 0.3]], 26.0
    assert rows_of(evidence)[0]["watched_seconds"] == 34.0


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"journal": {"broken_at": 4, "why": "it is not an event"}}, Failure.CHANGED),
        ({"run": {"result": "unfinished"}}, Failure.UNFINISHED),
        ({"run": {"rolled_back": "a move failed"}}, Failure.ROLLED_BACK),
        ({"left_behind": ["ML-cpu-vm-07"]}, Failure.NOT_MOVED),
        ({"fence": "esx-05 is fenced; the run could not lift the fence: not now"}, Failure.FENCE),
    ],
)
def test_each_failure_of_a_run_is_the_first_entry(change: dict[str, Any], failure: Failure) -> None:
    evidence = made_evidence(2, ["uninterrupted"])
    assert failures_of(evidence) == []
    for key, value in change.items():
        evidence[key] = {**evidence[key], **value} if isinstance(value, dict) else value
    assert failures_of(evidence) == [failure]
    assert (entries_of(evidence)[0].means, entries_of(evidence)[0].do) == (
        FAILURES[failure].means,
        FAILURES[failure].do,
    )
    assert FAILURES[failure].do in shown(render_html(evidence))
    assert FAILURES[failure].do in shown(render_markdown(evidence))


def test_a_vm_that_is_gone_is_a_failure() -> None:
    assert failures_of(made_evidence(2, result="gone")) == [Failure.GONE]


def test_what_became_of_a_training_is_read_from_its_curve() -> None:
    (failed,) = rows_of(made_evidence(1, ["failed"]))
    assert failed["reached"]["at"] < failed["latest"]["at"]
    assert failed["reached"]["progress"] == failed["latest"]["progress"]
    (silent,) = rows_of(made_evidence(1, ["unknown"]))
    assert 55 < silent["quiet_seconds"] < 65
    assert rows_of(made_evidence(1))[0]["quiet_seconds"] is None
    evidence = made_evidence(1, ["restarted"])
    (row,) = rows_of(evidence)
    before, after = (100 * row[key]["progress"] for key in ("last_seen", "fell_to"))
    assert f"went back from {before:.0f} % to {after:.0f} %" in shown(render_html(evidence))


def test_what_is_well_is_said_once() -> None:
    evidence = made_evidence(6, ["uninterrupted"] * 5 + ["lost"])
    found = entries_of(evidence)
    assert [(entry.title, entry.verdict) for entry in found] == [
        ("GBM gbm_5 in ML-cpu-vm-05", "lost"),
        ("5 experiments", "uninterrupted"),
    ]
    assert [entry.do for entry in entries_of(made_evidence(2, []))] == [entries_of(made_evidence(1, []))[0].do]


def test_very_many_are_in_the_table() -> None:
    found = entries_of(made_evidence(20, ["stalled"] * 20))
    assert len(found) == MAX_ENTRIES + 1
    assert found[-1].title == f"{20 - MAX_ENTRIES} more experiments"


def test_rows_are_data() -> None:
    rows = rows_of(made_evidence(2, ["lost", "unknown"]))
    assert json.loads(json.dumps(rows)) == rows
