# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live page: what it says of a run that is under way, and what it must not say."""

from __future__ import annotations

import html
import re
from datetime import timedelta, timezone
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live import LiveRun, Stage, heard
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_page import MAX_ROWS, Moment, render_live
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.so_far import Seen
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import KINDS

from tests.builders.journals import EXAMPLES, entries, made_run, vm

ZONE = timezone(timedelta(hours=1), "CET")
NOW = Moment("2026-01-31T09:00:30.000Z", ZONE)
VERDICTS = ["uninterrupted", "stalled", "unknown", "restarted"]
START, PLANNED, SUBMITTING = {"event": "run_started"}, {"event": "planned"}, {"event": "move_submitting"}
FOUND, FINISHED, VERDICT = {"event": "experiment_found"}, {"event": "move_finished"}, {"event": "verdict"}
JOB = ("vm-4", "job-1")


def run_of(*events: dict[str, Any]) -> LiveRun:
    return heard(entries(events))


def seen(run: LiveRun, **changes: Any) -> list[Seen]:
    """What a watch saw of every experiment."""
    known = {"at_most": 0.43, "silent": 0.05, "progress": 0.41, "step": None, "outcome": "answered", "over": False,
             "watched": True, **changes}  # fmt: skip
    return [Seen(experiment, **known) for experiment in run.experiments.values()]


def page(run: LiveRun, watched: list[Seen] | None = None, now: Moment = NOW, *, over: bool = False) -> str:
    return "".join(render_live(run, watched or [], now, over=over))


def text(run: LiveRun, watched: list[Seen] | None = None, **options: Any) -> str:
    """What a person reads."""
    body = re.sub(r"<(style|script|noscript)>.*?</\1>", "", page(run, watched, **options), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").split())


def rows(document: str, key: str) -> list[list[str]]:
    """The cells of a table as text."""
    found = re.search(rf'<table id="{key}".*?<tbody[^>]*>(.*?)</tbody>', document, re.DOTALL)
    cells = re.compile(r"<t[hd] [^>]*>(.*?)</t[hd]>", re.DOTALL)
    return [
        [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", c)).replace("\u00a0", " ").split()) for c in cells.findall(row)]
        for row in re.findall(r"<tr .*?</tr>", found[1] if found else "", re.DOTALL)
    ]


def midway(seconds: float = 30.0, moves: int = 10) -> LiveRun:
    events, _samples = made_run(moves, VERDICTS)
    return heard([entry for entry in entries(events) if entry.mono <= 1000 + seconds])


def test_it_says_what_moved_what_moves_and_what_does_not_yet() -> None:
    run = midway()
    document = page(run, seen(run))
    whole = text(run, seen(run))
    assert "Evacuation of esx-05 (under way)" in whole
    assert "Under way: 1 of 10 VMs moved, 8 moving" in whole
    assert "since 2026-01-31 10:00:00 CET (09:00:00 UTC)" in whole
    moving = rows(document, "moving")
    assert [row[0] for row in moving] == [vm(n)["name"] for n in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert moving[0] == ["ML-cpu-vm-01", "esx-05 → esx-07", "70 %", "27 s since 09:00:03 UTC", "33 s"]
    assert rows(document, "over") == [["ML-cpu-vm-00", "esx-06", "✓ moved", "09:00:26 UTC after 23 s"]]
    assert [row[0] for row in rows(document, "waiting")] == ["ML-cpu-vm-09"]
    assert rows(document, "refusals")[0][0] == "ML-cpu-vm-98"


def test_a_vm_that_ha_restarted_did_not_move() -> None:
    run = run_of(START, PLANNED, SUBMITTING, FINISHED | {"by": "vSphere HA"})
    document = page(run)
    assert "0 of 1 VM moved" in text(run)
    (row,) = rows(document, "over")
    assert row[2].endswith("restarted by vSphere HA")
    assert "✓" not in row[2]


def test_it_says_how_long_vgpus_make_a_vm_stand_still() -> None:
    gpus = PLANNED | {"vgpus": ["grid_t4-4q"], "predicted_stun": 5.2}
    stun = "stands still for up to 6 s (vGPU grid_t4-4q)"
    for events, table in (((START, gpus), "waiting"), ((START, gpus, SUBMITTING), "moving")):
        assert rows(page(run_of(*events)), table)[0][-1].endswith(stun)
    assert "stands still" not in page(run_of(START, PLANNED, SUBMITTING))


def test_a_verdict_is_shown_only_when_it_is_final() -> None:
    run = midway(45.0)
    verdicts = {row[0]: row[5] for row in rows(page(run, seen(run)), "experiments")}
    assert verdicts["GBM gbm_0 ML-cpu-vm-00"].startswith(
        "✓ uninterrupted longest stall about 0.50 s (between 0.25 and 0.61 s)"
    )
    assert verdicts["GBM gbm_1 ML-cpu-vm-01"].startswith("! stalled")
    assert verdicts["GBM gbm_2 ML-cpu-vm-02"] == verdicts["GBM gbm_3 ML-cpu-vm-03"] == "not yet"

    over = (START, PLANNED, FOUND, SUBMITTING, FINISHED, VERDICT)
    assert run_of(*over).verdict(JOB) is not None
    for reason, events in {
        "its VM still moves": (START, PLANNED, FOUND, SUBMITTING, VERDICT),
        "its VM moves again": (*over, SUBMITTING),
        "somebody else moves it": (*over, {"event": "move_seen"}),
        "nobody moves it yet": (START, PLANNED, FOUND, VERDICT),
        "what is unknown may become known": (*over[:-1], {**VERDICT, "verdict": "unknown"}),
        "VMs are brought back": (*over, {"event": "rolling_back"}),
    }.items():
        assert run_of(*events).verdict(JOB) is None, reason


def test_what_was_seen_so_far_is_no_verdict() -> None:
    run = midway(10.0)
    quiet = rows(page(run, seen(run)), "experiments")[0]
    assert quiet == ["GBM gbm_0 ML-cpu-vm-00", "forecasting", "10 % → 41 %", "now", "at most 0.43 s", "not yet"]
    silent = rows(page(run, seen(run, silent=7.0, at_most=7.2, outcome="silent", step=12.0)), "experiments")[0]
    assert silent[2:5] == ["10 % → 41 % step 12", "? 7.00 s ago no answer", "at most 7.20 s"]
    never = rows(page(run, seen(run, silent=None, at_most=None, outcome="refused")), "experiments")[0]
    assert never[3:] == ["? none yet connection refused", "not known", "not yet"]
    assert rows(page(run, seen(run, over=True)), "experiments")[0][3] == "the job has ended"
    before = rows(page(run), "experiments")[0]
    assert before[2:] == ["10 % → ? %", "not asked yet", "not known", "not yet"]


def test_the_longest_stall_so_far_is_the_largest_bound() -> None:
    run = midway(10.0)
    watched = [*seen(run, at_most=0.2)[:1], *seen(run, at_most=3.0)[1:2], *seen(run, at_most=None)[2:]]
    assert "Longest stall so far at most 3.00 s GBM gbm_1 in ML-cpu-vm-01; 2 experiments without an answer yet" in text(
        run, watched
    )
    assert "Longest stall so far not measured no experiment" in text(run_of(START, PLANNED))


def test_it_says_when_it_was_written_and_what_its_age_means() -> None:
    """Anybody who reads it after the controller was killed must not believe that the run is under way."""
    said = text(midway(10.0))
    assert "This page was written at 2026-01-31 10:00:30 CET (09:00:30 UTC). It is written every 5 s" in said
    assert "If that is more than a minute ago, nobody writes it any more" in said


def test_after_the_end_it_waits_for_the_report() -> None:
    run = run_of(START, PLANNED, FOUND, SUBMITTING, FINISHED, VERDICT, {"event": "run_finished", "result": "failed"})
    said = text(run)
    assert "(ended)" in said
    assert "The run has ended, and its report follows Result: failed; 1 moved" in said
    assert "evidence_report -a run_id=r1" in said
    assert "under way" not in said
    assert "http-equiv" in page(run), "so that the report appears"


@pytest.mark.parametrize("detail", ["", "the controller is gone"])
def test_an_interrupted_run_is_not_under_way(detail: str) -> None:
    events = [START, PLANNED, SUBMITTING, *([{"event": "run_interrupted", "detail": detail}] if detail else [])]
    said = text(run_of(*events), over=True)
    assert "The run was interrupted Its process ended before the run did" in said
    assert detail in said
    assert "Run the same playbook again to continue" in said
    assert "under way" not in said


def test_a_resumed_run_says_what_nobody_watched() -> None:
    later = {"at": "2026-01-31T09:04:00.000Z"}
    resumed = {"event": "run_resumed", **later}
    run = run_of(START, PLANNED, SUBMITTING, {"event": "move_progress"}, resumed)
    assert [flight.stage for flight in run.flights] == [Stage.UNSEEN]
    assert "Nobody watched from 2026-01-31 10:00:00 CET (09:00:00 UTC) to 2026-01-31 10:04:00 CET" in text(run)
    assert rows(page(run), "moving")[0][2] == "? not known it began before the run was resumed"
    for event in (PLANNED, SUBMITTING):
        run.hear(entries([{**event, **later}])[0])
    assert [flight.stage for flight in run.flights] == [Stage.MOVING]


def test_a_move_back_is_another_move() -> None:
    run = run_of(
        START, PLANNED, SUBMITTING, FINISHED, {"event": "rolling_back"}, {**PLANNED, "back": True}, SUBMITTING,
        {"event": "move_progress", "percent": 55}, {"event": "switched_over"}, {"event": "move_cancelling"},
    )  # fmt: skip
    document = page(run)
    assert "The run brings back what it moved: a move failed." in text(run)
    assert rows(document, "over")[0][0] == "ML-cpu-vm-04"
    assert rows(document, "moving")[0][2] == "55 % took too long, is being cancelled"
    run.hear(entries([{**FINISHED, "result": "failed", "error": {"fault": "Timedout", "message": "slow"}}])[0])
    assert rows(page(run), "over")[-1][:3] == ["ML-cpu-vm-04 (back)", "esx-06", "✕ failed Timedout: slow"]


def test_a_silent_vcenter_and_a_fence_that_stays_are_bad_news() -> None:
    silence = {"event": "vcenter_silence", "seconds": 12.5}
    assert "vCenter has not answered for at least 12 s" in text(run_of(START, silence))
    assert "has not answered" not in text(run_of(START, silence, {**silence, "seconds": 0.0}))
    kept = text(run_of(START, {"event": "fence_kept"}, {"event": "drs_kept"}))
    assert "The fence of esx-05 could not be lifted: no permission." in kept
    assert "overrides of DRS could not be set back for ML-cpu-vm-04" in kept


def test_a_witness_shows_the_moves_of_others() -> None:
    run = run_of(
        {**START, "purpose": "witness", "host": None}, {"event": "window_opened"}, {"event": "move_seen"},
        {"event": "noticed"}, {"event": "move_seen", "number": 2, "vm": vm(5)},
        {**FINISHED, "vm": vm(5), "by": "DRS"},
    )  # fmt: skip
    said = text(run)
    assert "Witness of esx-05 (under way)" in said
    assert "Under way: 1 VM moving" in said
    assert "Moves seen 1" in said
    assert "came during the window" in said
    assert rows(page(run), "moving")[0][1] == "esx-05 → ?"
    assert rows(page(run), "over")[0][2] == "✓ moved by DRS"


def test_no_event_breaks_it_and_hostile_text_stays_text() -> None:
    hostile = {"moid": "vm-4", "name": "<script>alert(1)</script>\u202e"}
    known = [{"event": kind, **({"vm": hostile} if "vm" in EXAMPLES[kind] else {})} for kind in KINDS]
    run = heard(entries([{"event": kind["event"], **kind} for kind in known if kind["event"] != "run_finished"]))
    document = page(run, seen(run))
    assert document.count("<script>") == 1, "its own"
    assert "&lt;script&gt;alert(1)" in document
    assert "\u202e" not in document
    run.hear(entries([{"event": "run_finished"}])[0])
    assert "has ended" in text(run)


def test_two_vms_of_one_name_are_told_apart_by_their_moid() -> None:
    twins = [{**PLANNED, "vm": {"moid": f"vm-{n}", "name": "twin"}} for n in (1, 2)]
    assert [row[0] for row in rows(page(run_of(START, *twins)), "waiting")] == ["twin (vm-1)", "twin (vm-2)"]


def test_a_table_has_an_end() -> None:
    run = run_of(START, *({**PLANNED, "vm": vm(n), "number": n} for n in range(MAX_ROWS + 5)))
    assert len(rows(page(run), "waiting")) == MAX_ROWS
    assert f"Only the first {MAX_ROWS} of {MAX_ROWS + 5} are shown." in text(run)
