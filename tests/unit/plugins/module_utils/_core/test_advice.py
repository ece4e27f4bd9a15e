# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What verdicts and failures mean and what to do: something for each of them, and never more than was seen."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core import advice, standing
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import FAILURES, VERDICTS, Failure
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import VsphereError
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import WORST_FIRST, Verdict
from hypothesis import given
from hypothesis import strategies as st

from tests.labs import ROOT

STALL = {"seconds": 0.41, "low": 0.33, "high": 0.45}
AT = "2026-01-31T09:12:03.120Z"
CLAIMS = st.sampled_from(["proven", "refuted", "unknown"])
PROGRESS = st.none() | st.floats(0, 1)
SEEN = st.none() | st.fixed_dictionaries({"progress": st.floats(0, 1), "at": st.sampled_from([None, AT])})
ROWS = st.fixed_dictionaries(
    {
        "id": st.just("job"),
        "vms": st.just(["ML-1"]),
        "verdict": st.sampled_from(WORST_FIRST),
        "longest_stall": st.sampled_from([None, STALL]),
        "identity": CLAIMS,
        "progress_claim": CLAIMS,
        "progress_before": PROGRESS,
        "progress_after": PROGRESS,
        "unwatched_seconds": st.sampled_from([0.0, 26.0]),
        "detail": st.sampled_from(["", "its process is gone"]),
    },
    optional={
        "last_seen": SEEN,
        "fell_to": SEEN,
        "latest": SEEN,
        "watched_seconds": st.sampled_from([None, 34.0]),
        "stall_budget": st.sampled_from([None, 5.0]),
        "recoverable": st.sampled_from(["yes", "no", "unknown"]),
        "recovery": st.sampled_from(["", "/checkpoints"]),
        "names_process": st.booleans(),
    },
)


def row(verdict: str, **more: Any) -> dict[str, Any]:
    known = {
        "id": "job", "description": "GBM gbm_1", "vms": ["ML-1"], "verdict": verdict, "longest_stall": STALL,
        "progress_before": 0.08, "progress_after": 0.21, "identity": "proven", "progress_claim": "proven", "detail": "",
    }  # fmt: skip
    return {**known, **more}


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "local_moment", lambda at: f"{at[11:19]} UTC")


def test_each_verdict_and_each_failure_has_advice_in_whole_sentences() -> None:
    assert set(VERDICTS) == set(advice.VERDICT_WORDS) == {str(verdict) for verdict in Verdict}
    assert set(FAILURES) == set(Failure)
    for each in (*VERDICTS.values(), *FAILURES.values(), advice.NO_EXPERIMENT):
        assert each.means.endswith(".")
        assert each.do.endswith(".")
        assert len(each.text) < 260, "it is shown on one screen with everything else"


def test_the_documentation_has_all_advice() -> None:
    text = " ".join((ROOT / "docs/docsite/rst/explanation_verdicts.rst").read_text().split())
    for name, each in {**VERDICTS, **FAILURES, "no experiment": advice.NO_EXPERIMENT}.items():
        assert f"* - {name} - {each.means} - {each.do}" in text


def test_every_error_of_a_module_is_a_failure() -> None:
    def classes(of: type[VsphereError]) -> set[str]:
        return {of.__name__, *(name for each in of.__subclasses__() for name in classes(each))}

    known = classes(VsphereError)
    assert set(advice._OF_ERRORS) <= known
    assert {advice.failure_of_error(name) for name in known} >= {Failure.ERROR, Failure.LOGIN, Failure.CONNECTION}
    assert advice.failure_of_error("") is Failure.ERROR


@given(ROWS)
def test_no_more_is_said_than_was_seen(row: dict[str, Any]) -> None:
    seen, verdict = advice.seen_of(row), row["verdict"]
    assert seen == "" or seen.endswith(".")
    assert "None" not in seen + advice.do_of(row)
    assert ("every answer came from the same process" in seen) <= (row["identity"] == "proven")
    assert ("its progress continued" in seen) <= (row["progress_claim"] == "proven")
    assert (" UTC" in seen) <= any((row.get(key) or {}).get("at") for key in ("last_seen", "fell_to", "latest"))
    assert ("watched for 34 s" in seen) <= (row.get("watched_seconds") == 34.0)
    assert ("were allowed" in seen) <= (row.get("stall_budget") is not None)
    assert ("what it has not saved" in seen) <= (row.get("recoverable") == "no")
    assert ("since its newest checkpoint" in seen) <= (row.get("recoverable") == "yes")
    assert ("no loss of progress" in seen) <= (row["progress_claim"] != "refuted")
    assert ("and continued" in seen) <= (row["progress_claim"] == "proven")
    assert ("Alive: yes" in seen) <= (verdict in ("stalled", "restarted"))
    assert ("Alive: no," in seen or "Alive: no." in seen) <= (verdict in ("lost", "failed"))
    if verdict in ("lost", "restarted", "failed"):
        assert "tall" not in seen, "a dead process does not stall"
    if "→" in seen:
        assert None not in (row["progress_before"], row["progress_after"])
    assert (f"{STALL['low']:.2f}" in seen) <= (row["longest_stall"] is not None)


def test_a_lost_training_has_a_time_and_a_place_to_start_again() -> None:
    last = {"progress": 0.3, "at": AT}
    lost = row("lost", last_seen=last, detail="port 1 refuses connections", recoverable="yes", recovery="checkpoint /c")
    assert advice.seen_of({**lost, "since_move": "9 s after its move began"}) == (
        "Alive: no, last seen at 09:12:03 UTC, 30 %. Lost: the work since its newest checkpoint; whether there is one is not known. "
        "No server listens at its port any more, and no error of the job was reported. "
        "It was last seen 9 s after its move began."
    )
    assert advice.do_of(lost) == (
        "Start it again: make sure that its old process is gone, start a server first, and then the training from its newest "
        "checkpoint, if there is one (checkpoint /c)."
    )
    lost |= {"recoverable": "no", "recovery": "", "last_seen": None, "detail": f"x; {standing.JOB_UNKNOWN}"}
    assert advice.seen_of(lost) == (
        "Alive: no, last seen at 21 %. Lost: what it has not saved, without a checkpoint to continue from. "
        "Its server was replaced: only another process answers."
    )
    assert advice.do_of(lost) == "Start it again on the server that answers now from the beginning."
    assert advice.do_of(row("lost")) == VERDICTS["lost"].do


def test_the_reason_of_a_verdict_is_shown_as_it_was_written() -> None:
    assert (
        advice.reason_of(row("lost", detail="ml-1: its process is gone")) == "What was seen: ml-1: its process is gone."
    )
    assert advice.reason_of(row("uninterrupted", detail="progress may follow the wall clock")) == ""
    assert advice.reason_of(row("lost")) == ""


def test_a_restarted_training_shows_from_where_to_where_it_fell() -> None:
    latest = {"progress": 0.21, "at": AT}
    fallen = row(
        "restarted", last_seen={"progress": 0.3, "at": AT}, fell_to={"progress": 0.1, "at": None}, latest=latest
    )
    assert advice.seen_of({**fallen, "lost_seconds": 61.0}) == (
        "Alive: yes, last seen at 09:12:03 UTC, 21 %. "
        "Lost: progress fell from 30 % to 10 %, about 61 s of work at the pace before the move. "
        "It was seen at 30 % at 09:12:03 UTC, and later at 10 %: the work from 10 % to 30 % is done again."
    )
    still = {**fallen, "latest": {**latest, "progress": 0.1}}
    assert advice.seen_of(still).startswith("Alive: not known, last seen at 09:12:03 UTC, 10 %. ")
    assert advice.seen_of(still).endswith("the work from 10 % to 30 % was lost.")
    assert advice.seen_of(row("restarted")).endswith("Lost: no loss of progress was seen (8 % → 21 %).")
    assert advice.seen_of(row("restarted", progress_after=0.05)).endswith("Lost: how much is not known.")
    kept = row("restarted", recoverable="yes", recovery="/ckpt")
    assert (
        "Compare your newest checkpoint (/ckpt) with the progress that the training shows when you look"
        in advice.do_of(kept)
    )


def test_an_unknown_verdict_says_what_is_proven_and_how_long_the_stall_was_at_most() -> None:
    gap = row(
        "unknown",
        unwatched_seconds=26.0,
        detail="part of the move was not watched",
        last_seen={"progress": 0.21, "at": AT},
    )
    assert advice.seen_of(gap) == (
        "Alive: not known, last seen at 09:12:03 UTC, 21 %. Lost: not known. "
        "Proven all the same: every answer came from the same process and job, and its progress continued, 8 % → 21 %. "
        "While it was watched, it stood still for at most 0.45 s. "
        "It was not watched for 26 s, and may have stood still for as long as that."
    )
    assert "If it is further than 21 %, or makes progress, let it run." in advice.do_of(gap)
    assert advice.do_of(gap).endswith("If you cannot reach it either, call the operators.")
    assert advice.do_of(row("unknown")) == VERDICTS["unknown"].do
    nothing = row("unknown", identity="unknown", progress_claim="unknown", longest_stall=None, progress_after=None)
    assert advice.seen_of(nothing) == "Alive: not known. Lost: not known. Nothing is proven."
    until = row("unknown", identity="unknown", progress_claim="unknown", latest={"progress": 0.21, "at": AT})
    assert "Until it was last seen, its progress was 8 % → 21 %, and never went back. " in advice.seen_of(until)
    assert "Nothing is proven." in advice.seen_of({**until, "fell_to": {"progress": 0.1, "at": AT}})


def test_a_failed_training_stopped_when_its_progress_did() -> None:
    reached, latest = {"progress": 0.21, "at": AT}, {"progress": 0.21, "at": "2026-01-31T09:30:00.000Z"}
    failed = row("failed", reached=reached, latest=latest, last_seen=latest, recoverable="no")
    assert advice.seen_of(failed).startswith(
        "Alive: no, stopped at 21 %, no progress after 09:12:03 UTC. Lost: what it has"
    )
    assert advice.seen_of({**failed, "reached": None}).startswith("Alive: no, last seen at 09:30:00 UTC, 21 %.")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("FAILED", "ended with an error (FAILED), as"),
        ("CANCELLED", "was cancelled (CANCELLED), as"),
        ("CANCEL_PENDING", "is being cancelled (CANCEL_PENDING), as"),
        ("", "ended with an error or was cancelled, as"),
    ],
)
def test_a_failed_training_says_which_end_its_server_reports(status: str, said: str) -> None:
    failed = row("failed", detail=f"the job is {status}; more" if status else "")
    assert advice.means_of(failed).startswith(f"The training {said} its server reports.")
    assert ("Alive: it is being cancelled" in advice.seen_of(failed)) == (status == "CANCEL_PENDING")


def test_a_completed_training_has_the_time_of_its_end() -> None:
    done = row("completed", reached={"progress": 1.0, "at": AT}, latest={"progress": 1.0, "at": AT})
    assert dict(standing.facts_of(done))["Alive"] == "it has finished, 100 % was first seen at 09:12:03 UTC"
    early = {**done, "reached": {"progress": 0.6, "at": AT}, "latest": {"progress": 0.6, "at": AT}}
    assert dict(standing.facts_of(early))["Alive"] == "it has finished, last seen at 09:12:03 UTC, 60 %"


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        ("the last question was not answered", ": the last question was not answered."),
        ("the server no longer knows the job", ": at the end, its server no longer knew the job."),
        ("port 54321 refuses connections", ": at the end, its server's port refused connections."),
        ("too few answers", "after that."),
    ],
)
def test_a_training_that_nobody_could_ask_any_more_may_have_worked(detail: str, why: str) -> None:
    silent = row("unknown", last_seen={"progress": 0.21, "at": AT}, quiet_seconds=61.2, detail=detail)
    said = advice.seen_of(silent)
    assert (
        "Before it was last seen, it stood still for at most 0.45 s. No answer showed its progress in the 61 s after that"
        in said
    )
    assert said.endswith(why)


def test_a_stall_is_shown_beside_what_was_watched_and_what_was_allowed() -> None:
    assert advice.seen_of(row("uninterrupted", watched_seconds=10800.0)) == (
        "Longest stall about 0.41 s (between 0.33 and 0.45 s), watched for 3.0 h, progress 8 % → 21 %."
    )
    assert advice.seen_of(row("stalled", stall_budget=0.2)) == (
        "Alive: yes, last seen at 21 %. Lost: nothing of its progress; it stood still for 0.41 s, and continued. Longest stall about 0.41 s (between 0.33 and 0.45 s); 0.20 s were allowed. It continued after that: progress 8 % → 21 %."
    )
    assert advice.seen_of(row("stalled", progress_claim="unknown")).endswith(
        "(between 0.33 and 0.45 s). Progress 8 % → 21 %."
    )


def test_the_name_of_the_experiment_comes_first() -> None:
    assert advice.title_of(row("lost", cluster="c", vms=["ML-1", "ML-2"])) == "GBM gbm_1 in ML-1, ML-2 (cluster c)"
    assert advice.title_of({"id": "job", "vm_name": "ML-1"}) == "job in ML-1"
    assert advice.title_of({"id": "$" * 90, "vm": {"name": "ML-1"}}) == f"{'$' * 29}…{'$' * 30} in ML-1"
