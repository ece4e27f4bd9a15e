# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What evidence says on the whole: never better than its worst part, by owner, by place, with its gaps."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import summary
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import tiles
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import WORST_FIRST
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.journals import INTACT, entries, made_evidence, made_run

VERDICTS = st.lists(st.sampled_from(WORST_FIRST), max_size=6)


@given(VERDICTS)
@settings(max_examples=25, deadline=None)
def test_the_whole_is_no_better_than_its_worst_part(verdicts: list[str]) -> None:
    evidence = made_evidence(6, verdicts)
    whole = evidence["overall"]
    assert whole["verdict"] == min(verdicts, key=WORST_FIRST.index, default="unknown")
    assert ("uninterrupted" in whole["statement"]) <= ("uninterrupted" in verdicts)
    assert sum(owner["experiments"] for owner in evidence["owners"]) == len(verdicts)
    for owner in evidence["owners"]:
        theirs = [x["verdict"] for x in evidence["experiments"] if x["owner"] == owner["owner"]]
        assert owner["verdict"] in theirs
        assert sum(owner["verdicts"].values()) == owner["experiments"] == len(theirs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"journal": {"broken_at": 7, "samples_as_sealed": True}}, "changed after the run"),
        ({"journal": {"broken_at": None, "samples_as_sealed": False}}, "changed after the run"),
        ({"run": {"result": "unfinished"}}, "unfinished"),
        ({"experiments": []}, "nothing is proven"),
    ],
)
def test_good_verdicts_do_not_make_a_doubtful_run_good(change: dict[str, Any], words: str) -> None:
    evidence = made_evidence(2, ["uninterrupted"] * 2)
    assert evidence["overall"]["verdict"] == "uninterrupted"
    changed = {key: {**evidence[key], **value} if isinstance(value, dict) else value for key, value in change.items()}
    whole = summary.overall({**evidence, **changed}, evidence["statements"])
    assert whole["verdict"] == "unknown"
    assert words in whole["statement"]


def test_a_bad_verdict_stays_bad_in_an_unfinished_run() -> None:
    evidence = made_evidence(2, ["uninterrupted", "restarted"])
    evidence["run"]["result"] = "unfinished"
    assert summary.overall(evidence, evidence["statements"])["verdict"] == "restarted"


def test_the_worst_stands_first_and_among_equals_the_longest_stall() -> None:
    evidence = made_evidence(4, ["uninterrupted", "uninterrupted", "failed", "stalled"])
    order = [(x["verdict"], x["vm"]) for x in summary.worst_first(evidence["experiments"])]
    assert order == [
        ("failed", "ML-cpu-vm-02"),
        ("stalled", "ML-cpu-vm-03"),
        ("uninterrupted", "ML-cpu-vm-01"),
        ("uninterrupted", "ML-cpu-vm-00"),
    ]
    assert (
        "longest stall about 7.55 s (between 7.30 and 7.66 s), watched for 74 s: GBM gbm_3 in ML-cpu-vm-03"
        in evidence["overall"]["statement"]
    )


def test_the_longest_stall_of_all_lies_within_the_bounds_of_all() -> None:
    """The widest interval is not that of the longest stall."""
    wide, long = ({"seconds": 0.35, "low": 0.03, "high": 0.48}, {"seconds": 0.41, "low": 0.32, "high": 0.42})
    evidence = made_evidence(3, ["uninterrupted"] * 3)
    for experiment, stall in zip(evidence["experiments"], (wide, long, None), strict=True):
        experiment["longest_stall"] = stall
    found = summary.longest_stall(evidence["experiments"])
    assert found is not None
    assert found[0] == {"seconds": 0.41, "low": 0.32, "high": 0.48}
    assert found[1]["vm"] == "ML-cpu-vm-01"
    assert summary.longest_stall(evidence["experiments"][2:]) is None


@pytest.mark.parametrize(("result", "stays"), [("moved", 0), ("timed_out", 1), ("gone", 0)])
def test_placement_counts_each_vm_where_it_is(result: str, stays: int) -> None:
    places = made_evidence(8, result=result)["placement"]
    source = next(place for place in places if place["host"] == "esx-05")
    assert (len(source["before"]), len(source["after"])) == (8, stays)
    assert sum(len(place["after"]) for place in places) == (7 if result == "gone" else 8)
    assert [place["fault_domain"] for place in places] == sorted(place["fault_domain"] for place in places)


def test_a_vm_that_is_elsewhere_is_placed_where_it_was_seen() -> None:
    events, taken = made_run(8, result="failed")
    last = next(e for e in events if e["event"] == "move_finished" and e["result"] == "failed")
    last["host"] = "esx-99"
    places = evidence_of(entries(events), taken, INTACT)["placement"]
    assert {p["host"]: len(p["after"]) for p in places if p["host"] in ("esx-05", "esx-99")} == {
        "esx-05": 0,
        "esx-99": 1,
    }


def test_a_vm_whose_move_was_not_seen_to_end_is_placed_nowhere() -> None:
    events, taken = made_run(1)
    cut = next(n for n, e in enumerate(events) if e["event"] == "move_finished")
    evidence = evidence_of(entries(events[:cut]), taken, INTACT)
    assert [place["after"] for place in evidence["placement"]] == [[]]
    assert ("Where the VM is", ["ML-cpu-vm-00"]) in [(gap["what"], gap["vms"]) for gap in evidence["gaps"]]


def test_gaps_name_each_limit_once_with_its_vms() -> None:
    evidence = made_evidence(4, ["unknown", "uninterrupted"])
    assert evidence["gaps"] == [
        {
            "what": "No experiment was observed",
            "why": "no server listens",
            "vms": ["ML-cpu-vm-02", "ML-cpu-vm-03"],
        },
        {
            "what": "Whether process and job are the same, whether progress was kept, "
            "whether the longest stall is within the budget",
            "why": "the last question was not answered",
            "vms": ["ML-cpu-vm-00"],
        },
    ]


def test_what_no_process_saw_is_a_gap() -> None:
    evidence = made_evidence(1)
    evidence["moves"][0].update(switched_over=None, power_on=None)
    evidence["experiments"][0].update(unwatched_seconds=12.4)
    evidence["experiments"][0]["capabilities"]["identity"] = "run"
    assert [gap["what"] for gap in summary.gaps(evidence)] == [
        "The process in the guest",
        "Part of the run",
        "The moment of the switch-over",
        "Whether the VM stayed powered on",
    ]


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["unknown", "uninterrupted", "unknown"], "; not measured for 2 experiments."),
        (["lost", "uninterrupted", "failed"], ""),
        (["unknown", "unknown"], ""),
    ],
)
def test_the_longest_stall_is_not_that_of_what_was_not_measured(verdicts: list[str], words: str) -> None:
    evidence = made_evidence(3, verdicts)
    for each in evidence["experiments"]:
        if each["verdict"] != "uninterrupted":
            each["longest_stall"] = None
    said = summary.overall(evidence, evidence["statements"])["statement"]
    assert words in said
    assert ("not measured for" in said) == bool(words)
    shown = next(note for name, _figure, note in tiles(evidence) if name == "Longest stall")
    assert shown.endswith(words.rstrip(".")) and ("not measured for" in shown) == bool(words)
