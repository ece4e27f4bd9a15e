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
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import (
    FAILURES,
    GOOD,
    Failure,
    means_of,
    more_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import facts_of
from ansible_collections.liveml.vsphere.plugins.module_utils._display.closing import closing_lines
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown, tiles
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import (
    MAX_ENTRIES,
    entries_of,
    failures_of,
    headline_facts,
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
        assert more_of(row) in text, place
        assert place != "terminal" or row["seen"] in text
        assert all(f"{name}: {fact}." in text for name, fact in facts_of(row)) or verdict in GOOD, place
        assert row["what_to_do"] in text or (place == "terminal" and verdict in GOOD), place
        figures = set(re.findall(r"\d+\.\d\d s", text))
        assert figures <= {"1.23 s", "1.38 s", "1.17 s", "5.00 s"}, place
        assert ("watched for 29 s" in text) or verdict in ("lost", "failed", "restarted", "unknown"), place
    assert means_of(row) in places["report"]
    headline = places["report"].partition("What to do")[0]
    assert (
        headline.index("Alive: ") < headline.index("Lost: ") < headline.index("To do: ") < headline.index(row["title"])
    )


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
    assert "progress fell from 30 % to 5 %" in row["seen"]


def test_the_work_that_is_done_again_has_a_length_only_if_the_pace_is_known() -> None:
    evidence = made_evidence(1, ["restarted"])
    (row,) = rows_of(evidence)
    assert "about 10 s of work at the pace before the move" in row["seen"], "so old was the checkpoint"
    evidence["experiments"][0]["throughput"]["before"]["unit"] = "steps"
    assert rows_of(evidence)[0]["lost_seconds"] is None
    evidence["experiments"][0]["throughput"] = None
    assert "of work at the pace" not in rows_of(evidence)[0]["seen"]


@pytest.mark.parametrize("verdict", ["restarted", "stalled"])
def test_a_training_that_hangs_at_the_end_is_not_said_to_be_alive(verdict: str) -> None:
    evidence = made_evidence(1, [verdict])
    (experiment,) = evidence["experiments"]
    assert rows_of(evidence)[0]["seen"].startswith("Alive: yes, last seen at ")
    last = experiment["curve"][-1]
    experiment["curve"] += [[last[0] + seconds, last[1]] for seconds in (3.0, 6.0)]
    assert rows_of(evidence)[0]["seen"].startswith("Alive: not known, last seen at ")
    del experiment["curve"][-2:]
    experiment["detail"] = "no progress was seen in the last 30 s"
    assert rows_of(evidence)[0]["seen"].startswith("Alive: not known, last seen at ")


@pytest.mark.parametrize("verdict", ["lost", "failed"])
def test_what_stopped_says_when_that_was_in_its_move(verdict: str) -> None:
    evidence = made_evidence(1, [verdict])
    (row,) = rows_of(evidence)
    assert row["since_move"] == "15 s after its move began, before the switch-over"
    evidence["moves"][0]["switched_over"] = evidence["run"]["started"]
    assert rows_of(evidence)[0]["since_move"].endswith(", after the switch-over")
    evidence["moves"][0]["switched_over"] = None
    assert rows_of(evidence)[0]["since_move"] == "15 s after its move began"
    evidence["experiments"][0]["moving"] = []
    assert rows_of(evidence)[0]["since_move"] == ""


def test_the_error_of_a_guest_is_shown_shortened_and_as_text() -> None:
    evidence = made_evidence(1, ["failed"])
    evidence["experiments"][0]["final"]["detail"] = "<script>x</script>\n\x1b[2J" + "y" * 500
    page = render_html(evidence)
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    assert "y" * 200 not in page
    assert "\x1b" not in page
    assert "ended with an error (FAILED)" in shown(page)
    evidence["experiments"][0]["final"] = None
    assert "says of the job" not in rows_of(evidence)[0]["seen"]


def test_several_experiments_have_their_facts_beside_them() -> None:
    evidence = made_evidence(2, ["lost", "uninterrupted"])
    assert headline_facts(evidence) == []
    assert entries_of(evidence)[0].means.partition("not known. ")[2].startswith("Alive: no, last seen at ")
    unfinished = made_evidence(1)
    unfinished["overall"]["verdict"] = "unknown"
    assert headline_facts(unfinished) == [], "the verdict of the run is not that of its experiment"


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


def test_a_vm_that_ha_restarted_is_a_failure() -> None:
    evidence = made_evidence(2)
    evidence["moves"][0]["by"] = "vSphere HA"
    assert failures_of(evidence) == [Failure.RESTARTED]
    assert tiles(evidence)[0][:2] == ("VMs moved", "1 of 2"), "a restart does not count"


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
    assert f"fell from {before:.0f} % to {after:.0f} %, now " in shown(render_html(evidence))


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
