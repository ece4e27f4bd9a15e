# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence and report from journals: schema, escaping, unfinished runs, 1 to 64 moves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core import wording
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import FAILURES, VERDICTS, Failure
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import tables
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import (
    artifact_of,
    evidence_of,
    statement,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.experiments import MAX_POINTS, _united
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Sample,
    Verdict,
    worst,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import experiment_from_json
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.journals import Book, entries, made_run

INTEGRITY = {
    "head": "a" * 64,
    "events": 9,
    "broken_at": None,
    "why": "",
    "end_kept": True,
    "samples_sha256": "b" * 64,
    "samples_as_sealed": True,
}
SCHEMA = json.loads((Path(__file__).parents[5] / "docs/schema/evidence-1.0.json").read_text())
STALL = {"seconds": 0.4, "low": 0.37, "high": 0.43, "at_mono": 110.0}


def journal(
    moves: int, *, verdict: str = "uninterrupted", name: str = "ML-cpu-vm", upto: int | None = None
) -> list[Any]:
    events: list[dict[str, Any]] = []

    def add(event: str, **fields: Any) -> None:
        second = len(events)
        at = f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"
        events.append({"seq": second + 1, "at": at, "mono": 100.0 + second, "event": event, **fields})

    vcenter = {
        "name": "vc",
        "instance_uuid": "u",
        "version": "8.0.3",
        "simulated": True,
        "product": "vc 8.0.3; b by QEMU",
    }
    host = {"moid": "host-5", "name": "esx-05"}
    add("run_started", run_id="r1", plan_id="0" * 64, purpose="evacuate", key="u.host-5", host=host, vcenter=vcenter)
    source, target = {**host, "fault_domain": "a"}, {"moid": "host-6", "name": "esx-06", "fault_domain": "b"}
    vms = [{"moid": f"vm-{n}", "name": f"{name}-{n:02}"} for n in range(moves)]
    for n, vm in enumerate(vms):
        add("planned", number=n + 1, vm=vm, source=source, target=target, why="")
    add("experiment_found", vm=vms[0], provider="h2o3", id="job", process="1", url="http://x", description="GBM",
        progress=0.1, clock_progress=False)  # fmt: skip
    add("refused", vm={"moid": "vm-x", "name": f"{name}-x"}, blocking=True,
        reasons=[{"check": "busy", "object": "snapshot", "hint": "Wait"}])  # fmt: skip
    for n, vm in enumerate(vms):
        for attempt in (1, 2):
            add("move_submitting", number=n + 1, vm=vm, source=source, target=target, attempt=attempt)
        add("switched_over", number=n + 1, vm=vm, host="esx-06")
        add(
            "move_finished",
            number=n + 1,
            vm=vm,
            source=source,
            target=target,
            result="moved",
            error=None,
            host="esx-06",
        )
    add("verdict", vm=vms[0], provider="h2o3", id="job", verdict=verdict, identity="proven", progress_claim="proven",
        stall_claim="proven", longest_stall=STALL, resolution=0.2, progress_before=0.1, progress_after=0.6, samples=9,
        unwatched_seconds=0.0, detail="")  # fmt: skip
    add("run_finished", result="success", moved=moves, failed=0, left_behind=0)
    return events[:upto]


def samples(count: int) -> dict[tuple[str, str], list[Sample]]:
    points = [Sample(100 + n / 20, 100 + n / 20 + 0.001, "answered", "1", "RUNNING", n / count) for n in range(count)]
    return {("vm-0", "job"): points}


@pytest.mark.parametrize("moves", [1, 8, 64])
def test_evidence_fits_its_schema_and_renders(moves: int) -> None:
    evidence = evidence_of(entries(journal(moves)), samples(2000), INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    assert len(evidence["moves"]) == moves
    assert {m["attempts"] for m in evidence["moves"]} == {2}
    assert evidence["statements"] == [
        "GBM in ML-cpu-vm-00: no restart; same process, same job, progress kept; "
        "longest stall about 0.40 s (between 0.37 and 0.43 s), watched for 100 s."
    ]
    curve = evidence["experiments"][0]["curve"]
    assert len(curve) <= MAX_POINTS
    assert (curve[0][1], curve[-1][1]) == (0.0, 1999 / 2000)
    page = render_html(evidence)
    assert page.count("<svg") == (6 if moves == 64 else 4), "timeline and curve, each for a desktop and a phone"
    assert all(page.count(f"ML-cpu-vm-{n:02}") >= 3 for n in range(moves))
    assert "simulated" in page
    assert "vc 8.0.3; b by QEMU" in page, "the report says what moved the VMs"
    assert "<script" not in page
    assert "simulated" in render_markdown(evidence)


def test_a_journal_without_the_product_is_read() -> None:
    lines = journal(1)
    del lines[0]["vcenter"]["product"]
    evidence = evidence_of(entries(lines), samples(10), INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    assert evidence["vcenter"]["product"] is None


def test_a_run_over_two_vcenters_names_both() -> None:
    lines = journal(1)
    lines[0] |= {"second": {**lines[0]["vcenter"], "address": "cloud.example.com"}, "notes": ["A note about both."]}
    for line in lines:
        for end, address in (("source", "near.example.com"), ("target", "cloud.example.com")):
            if line["event"] != "home_recorded" and isinstance(line.get(end), dict):
                line[end] = {**line[end], "vcenter": address}
    evidence = evidence_of(entries(lines), samples(10), INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    (move,) = evidence["moves"]
    assert (move.get("source_vcenter"), move.get("target_vcenter")) == ("near.example.com", "cloud.example.com")
    for shown in (render_html(evidence), render_markdown(evidence)):
        assert "vCenter near.example.com" in shown
        assert "vCenter cloud.example.com" in shown
        assert "A note about both." in shown


@pytest.mark.parametrize("upto", [1, 2, 5, 8, 12])
def test_a_killed_run_has_evidence_of_what_it_did(upto: int) -> None:
    evidence = evidence_of(entries(journal(2, upto=upto)), samples(10), INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    assert evidence["run"]["result"] == "unfinished"
    assert {e["verdict"] for e in evidence["experiments"]} <= {"unknown"}
    render_html(evidence)


@pytest.mark.parametrize("verdict", ["stalled", "restarted", "lost", "failed", "unknown", "completed"])
def test_no_other_verdict_reads_as_uninterrupted(verdict: str) -> None:
    evidence = evidence_of(entries(journal(1, verdict=verdict)), samples(10), INTEGRITY)
    text = render_html(evidence) + render_markdown(evidence)
    assert verdict in text
    assert "uninterrupted" not in text
    assert "zero interruption" not in text


def test_hostile_names_do_no_harm() -> None:
    evidence = evidence_of(entries(journal(1, name="<script>alert(1)</script>$x|y")), samples(10), INTEGRITY)
    assert "<script" not in render_html(evidence)
    assert "<script" not in render_markdown(evidence)


@pytest.mark.parametrize(
    ("verdict", "upto", "word"),
    [("uninterrupted", None, "uninterrupted"), ("failed", None, "failed"), ("failed", 4, "unknown")],
)
def test_the_artifact_is_small_and_says_the_worst(verdict: str, upto: int | None, word: str) -> None:
    events = journal(2, verdict=verdict, upto=upto)
    artifact = artifact_of(entries(events), evidence_of(entries(events), samples(5), INTEGRITY))
    assert artifact["verdict"] == word
    assert (artifact["run_id"], artifact["plan_id"], artifact["purpose"]) == ("r1", "0" * 64, "evacuate")
    assert [experiment_from_json(e).id for e in artifact["experiments"]] == ["job"]
    assert artifact["result"] == ("success" if upto is None else "unfinished")
    assert artifact["what_to_do"].endswith((VERDICTS[word].do, FAILURES[Failure.UNFINISHED].do))
    assert len(json.dumps(artifact)) < 850


@given(st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_artifact_report_and_cluster_have_one_order_of_severity(verdicts: list[Verdict]) -> None:
    events, taken = made_run(4, [str(verdict) for verdict in verdicts])
    evidence = evidence_of(entries(events), taken, INTEGRITY)
    word = artifact_of(entries(events), evidence)["verdict"]
    assert word == evidence["overall"]["verdict"] == str(worst(verdicts))
    nodes = tuple(f"192.0.2.{n}:54321" for n in range(len(verdicts)))
    (whole,) = merged(
        Judgement(
            Experiment(f"vm-{n}", f"ML-{n}", "h2o3", "job", "1", "", cluster="c", nodes=nodes),
            verdict, "proven", "proven", "proven", None, None, None, None,
        )
        for n, verdict in enumerate(verdicts)
    )  # fmt: skip
    assert str(whole.verdict) == word


@pytest.mark.parametrize("verdict", ["stalled", "restarted", "lost", "failed"])
def test_harm_is_never_hidden_by_what_could_not_be_observed(verdict: str) -> None:
    events, taken = made_run(2, ["unknown", verdict])
    assert artifact_of(entries(events), evidence_of(entries(events), taken, INTEGRITY))["verdict"] == verdict


def test_the_artifact_of_an_unfinished_run_is_no_better_than_its_report() -> None:
    events, taken = made_run(2, ["uninterrupted"])
    evidence = evidence_of(entries(events[:-1]), taken, INTEGRITY)
    assert artifact_of(entries(events[:-1]), evidence)["verdict"] == evidence["overall"]["verdict"] == "unknown"


def test_the_artifact_says_when_no_experiment_was_observed() -> None:
    events = [e for e in journal(1) if e["event"] not in ("experiment_found", "verdict")]
    assert artifact_of(entries(events), evidence_of(entries(events), {}, INTEGRITY))["verdict"] == "no_experiment"


def test_vms_of_one_name_are_not_mixed_up() -> None:
    events, taken = made_run(3, ["uninterrupted", "failed"], result="failed")
    renamed = json.loads(re.sub(r'"ML-cpu-vm-\d\d"', '"twin"', json.dumps(events)))
    evidence = evidence_of(entries(renamed), taken, INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    apart = evidence_of(entries(events), taken, INTEGRITY)
    for experiment, other in zip(evidence["experiments"], apart["experiments"], strict=True):
        assert experiment["moid"] == other["moid"]
        assert experiment["moving"] == other["moving"]
    for place, other in zip(evidence["placement"], apart["placement"], strict=True):
        assert [len(place[when]) for when in ("before", "after")] == [len(other[when]) for when in ("before", "after")]
    assert [len(gap["vms"]) for gap in evidence["gaps"]] == [len(gap["vms"]) for gap in apart["gaps"]]
    assert tables.crossings(evidence) == tables.crossings(apart)
    assert evidence["left_behind"] == ["twin"]
    assert evidence["statements"][0].startswith("GBM gbm_0 in twin (vm-0): no restart")
    assert evidence["statements"][1].startswith("GBM gbm_1 in twin (vm-1): the experiment failed")
    page = render_html(evidence)
    assert all(f"twin (vm-{n})" in page and f"twin (vm-{n})" in render_markdown(evidence) for n in range(3))


SUBMIT, ADOPT, END = "submit", "adopt", "moved"


@pytest.mark.parametrize(
    ("steps", "moving", "attempts", "began"),
    [
        ([(5, SUBMIT), (9, END)], [[5, 9]], 1, 5),
        ([(5, SUBMIT), (7, SUBMIT), (9, END)], [[5, 9]], 2, 5),
        ([(5, SUBMIT), (7, ADOPT), (9, END)], [[5, 9]], 1, 5),
        ([(5, SUBMIT), (7, ADOPT), (8, SUBMIT), (9, END)], [[5, 9]], 2, 5),
        ([(5, SUBMIT), (6, "failed"), (8, SUBMIT), (9, END)], [[5, 6], [8, 9]], 2, 8),
        ([(3, ADOPT), (9, END)], [[3, 9]], 0, 3),
        ([(3, ADOPT), (5, SUBMIT), (9, END)], [[5, 9]], 1, 5),
        ([(5, SUBMIT)], [[5, None]], 1, 5),
        ([(5, "not_started")], [], 0, None),
    ],
)
def test_a_move_lasts_from_its_submission_to_its_end(
    steps: list[tuple[int, str]], moving: list[list[int | None]], attempts: int, began: int | None
) -> None:
    one, book = {"moid": "vm-0", "name": "ML-cpu-vm-00"}, Book()
    whole, taken = made_run(1)
    for event in whole:
        if event["event"] in ("run_started", "planned", "experiment_found"):
            fields = {key: event[key] for key in event if key not in ("seq", "at", "mono", "event")}
            book.add(0, event["event"], **fields)
    for seconds, what in steps:
        if what in (SUBMIT, ADOPT):
            book.add(
                seconds, "move_submitting", number=1, vm=one, attempt=1, **({"adopted": True} if what == ADOPT else {})
            )
        else:
            book.add(seconds, "move_finished", number=1, vm=one, result=what, error=None, host="esx-06")
    evidence = evidence_of(entries(book.events()), taken, INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    (move,), (experiment,) = evidence["moves"], evidence["experiments"]
    assert experiment["moving"] == moving
    assert move["attempts"] == attempts
    assert wording.after(evidence["run"]["started"], move["started"]) == (f"+{began}.0 s" if began else "not seen")
    assert move["result"] == (steps[-1][1] if steps[-1][1] != SUBMIT else "unfinished")
    rates = experiment["throughput"] or {}
    assert bool(rates) == bool(moving)
    if moving and moving[-1][1] is not None:
        assert rates["during"]["seconds"] == pytest.approx(sum(end - start for start, end in moving), abs=0.5)
        assert rates["before"]["seconds"] == pytest.approx(moving[0][0], abs=0.5)
    if moving:
        assert (rates["after"] is None) == (moving[-1][1] is None)
    assert ("No move was started" in render_html(evidence)) == (not moving)


def test_moves_of_a_cluster_are_one_window_where_they_overlap() -> None:
    assert _united([[(5.0, 9.0), (20.0, 25.0)], [(8.0, 12.0)], [(22.0, None)]]) == [(5.0, 12.0), (20.0, None)]


def extended(*more: dict[str, Any], result: str = "moved") -> dict[str, Any]:
    """Evidence of a run of two moves with more events before its end."""
    events, taken = made_run(2, ["stalled"], result=result)
    last = events[-1]
    added = [{**{key: last[key] for key in ("at", "mono")}, **event} for event in more]
    events = [{**event, "seq": n} for n, event in enumerate([*events[:-1], *added, last], 1)]
    evidence = evidence_of(entries(events), taken, INTEGRITY)
    jsonschema.validate(evidence, SCHEMA)
    return evidence


FENCED = {"event": "fence", "detail": "esx-05 is fenced", "own": True}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "esx-05 is fenced"),
        (
            [{"event": "fence_lifting"}],
            "esx-05 is fenced; the run began to lift the fence, and the end of this was not seen",
        ),
        ([{"event": "fence_lifting"}, {"event": "fence_lifted"}], "esx-05 is fenced; the run lifted the fence"),
        (
            [{"event": "fence_lifting"}, {"event": "fence_kept", "detail": "not now"}],
            "esx-05 is fenced; the run could not lift the fence: not now",
        ),
    ],
)
def test_a_fence_that_was_lifted_is_not_said_to_stand(more: list[dict[str, Any]], said: str) -> None:
    assert extended(FENCED, *({**event, "host": "esx-05"} for event in more))["fence"] == said


def test_a_vm_that_a_rollback_could_not_bring_back_is_left_behind() -> None:
    stayed = {
        "event": "left_behind",
        "vm": {"moid": "vm-0", "name": "ML-cpu-vm-00"},
        "host": "esx-06",
        "reasons": ["no room"],
    }
    evidence = extended({"event": "rolling_back", "reason": "x"}, stayed, result="failed")
    assert evidence["left_behind"] == ["ML-cpu-vm-00", "ML-cpu-vm-01"]


def test_the_same_process_is_said_only_where_it_was_proved() -> None:
    (experiment,) = extended()["experiments"]
    assert "same process, but it stood still for 7.50 s, and continued; longest" in statement(experiment)
    experiment["claims"]["identity"] = "unknown"
    assert "same process" not in statement(experiment)


def test_progress_before_is_that_before_the_first_move_also_in_a_resumed_run() -> None:
    events, taken = made_run(1, ["uninterrupted"])
    verdict = next(e for e in events if e["event"] == "verdict")
    verdict["progress_before"] = verdict["progress_after"]
    (experiment,) = evidence_of(entries(events), taken, INTEGRITY)["experiments"]
    begun = experiment["moving"][0][0]
    assert experiment["progress_before"] == [p for at, p in experiment["curve"] if at <= begun][-1]


def test_a_reading_from_before_a_resume_proves_nothing_of_what_came_after() -> None:
    times = {"vm-0": "2026-01-01T00:00:00.000Z"}
    asked = {"event": "power_on", "when": "before", "times": times}
    resumed = [asked, {**asked, "when": "after"}, {"event": "run_resumed", "plan_id": "0" * 64}, asked]
    events, taken = made_run(1)
    kept = [event for event in events if event["event"] != "power_on"]
    readings = [{**event, "at": kept[-1]["at"], "mono": kept[-1]["mono"]} for event in resumed]

    def power_on(*more: dict[str, Any]) -> dict[str, Any]:
        (move,) = evidence_of(entries([*kept[:-1], *readings, *more, kept[-1]]), taken, INTEGRITY)["moves"]
        return dict(move["power_on"])

    assert power_on()["same"] is None
    assert power_on({**readings[1], "times": {}})["same"] is None, "vCenter could not be asked"
    unread = {**readings[1], "times": dict.fromkeys(readings[1]["times"])}
    assert power_on(unread)["same"] is None, "vCenter does not show when it was powered on"
    assert power_on(readings[1])["same"] is True
