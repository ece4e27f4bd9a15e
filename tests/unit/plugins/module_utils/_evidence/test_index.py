# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The index of all runs: what each report says, and no run that is damaged, foreign or hostile hides the others."""

from __future__ import annotations

import html
import json
import os
import re
import time
from datetime import timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import files, index_file
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index import Row, render_index, trips_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index_file import INDEX, write_index
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live import LiveRun
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_page import Moment, render_live
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.modules import run_index
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.journals import made_evidence, write_run

ZONE = timezone(timedelta(hours=1), "CET")
NAME = "20260131T090000Z-evacuate-esx-05-7f3a"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return state_path(str(tmp_path / "state"))


def folder(state: Path, name: str = NAME) -> Path:
    made = state / "runs" / name
    made.mkdir()
    return made


def reported(state: Path, name: str = NAME, *verdicts: str, **changes: Any) -> Path:
    """A run with evidence and report."""
    made = folder(state, name)
    write_run(made)
    evidence = {**made_evidence(4, list(verdicts or ["uninterrupted"])), **changes}
    (made / files.JSON).write_text(json.dumps(evidence))
    (made / files.HTML).write_text("a report")
    return made


def rows(state: Path) -> list[Row]:
    return write_index(state, check_mode=True)[1]


def text(page: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").split())


def test_a_row_says_what_the_report_says(state: Path) -> None:
    reported(state, NAME, "uninterrupted", "stalled", "uninterrupted")
    (row,) = rows(state)
    said = text(render_index([row], zone=ZONE))
    assert f"Evacuation of esx-05 {NAME} 2026-01-31 10:00:00 CET (09:00:00 UTC) 74 s ✕ failed" in said
    assert "! 1 stalled, 2 uninterrupted 7.45 s 7.20 to 7.56 s" in said
    assert f'href="runs/{NAME}/report.html"' in render_index([row])


def test_hosts_of_one_name_in_two_vcenters_have_a_trip_each(state: Path) -> None:
    """Every vCenter says of itself that it is the VMware vCenter Server."""
    for number, vcenter in enumerate(("one", "two"), 1):
        made = folder(state, f"2026010{number}T000000Z-evacuate-esx-05-0000")
        write_run(made, key=f"{vcenter}.host-5")
    assert [[row.vcenter for row in trip.out] for trip in trips_of(rows(state))] == [["two"], ["one"]]


def test_a_vm_that_ha_restarted_did_not_move(state: Path) -> None:
    moves = made_evidence(4, ["uninterrupted"])["moves"]
    reported(state, moves=[{**moves[0], "by": "vSphere HA"}, *moves[1:]])
    assert [row.moved for row in rows(state)] == [sum(move["result"] == "moved" for move in moves) - 1]


def test_the_newest_run_comes_first_and_the_page_is_written_only_if_it_changes(state: Path) -> None:
    assert write_index(state, check_mode=False) == (None, []), "nothing to list"
    reported(state, "20260101T000000Z-evacuate-a-0000")
    reported(state, "20260201T000000Z-restore-a-0000")
    change, found = write_index(state, check_mode=True)
    assert [row.name[:8] for row in found] == ["20260201", "20260101"]
    assert change is not None
    assert not (state / INDEX).exists()
    change, _rows = write_index(state, check_mode=False)
    assert change is not None
    assert (state / INDEX).read_text() == change.after
    assert (state / INDEX).stat().st_mode & 0o777 == 0o600
    assert write_index(state, check_mode=False)[0] is None
    assert sorted(path.name for path in state.iterdir()) == [INDEX, "locks", "runs"]


def test_a_run_without_evidence_has_no_verdict(state: Path) -> None:
    made = folder(state)
    write_run(made, upto=5)
    (row,) = rows(state)
    assert (row.result, row.verdicts, row.page, row.finished) == ("unfinished", None, "", None)
    assert "not ended ? unfinished no report no evidence yet not known" in text(render_index([row]))
    (made / files.HTML).write_text("".join(render_live(LiveRun(), (), Moment("2026-01-31T09:00:00.000Z"))))
    assert "the link is its live page" in text(render_index(rows(state)))


def test_evidence_from_before_a_resume_counts_no_more(state: Path) -> None:
    made = reported(state)
    assert rows(state)[0].verdicts == {"uninterrupted": 1}
    later = time.time() + 60
    os.utime(made / "journal.jsonl", (later, later))
    assert rows(state)[0].verdicts is None


BROKEN = {
    "no JSON": (b"{", "evidence.json is damaged"),
    "another document": (b'{"run": []}', "evidence.json is damaged"),
    "deep": (b"[" * 100_000, "evidence.json is damaged"),
    "not text": (b"\xff\xfe", "evidence.json is damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_evidence_is_named_and_the_journal_still_counts(state: Path, name: str) -> None:
    made = reported(state)
    (made / files.JSON).write_bytes(BROKEN[name][0])
    (row,) = rows(state)
    assert row.problem == BROKEN[name][1]
    assert (row.result, row.verdicts) == ("success", None)
    assert row.problem in text(render_index([row]))


def test_what_is_not_a_run_is_named_with_the_reason(state: Path) -> None:
    folder(state, "lost+found")
    (folder(state, "foreign") / "journal.jsonl").write_text('{"event": "something"}\n')
    damaged = folder(state, "damaged") / "journal.jsonl"
    write_run(damaged.parent)
    damaged.write_bytes(damaged.read_bytes().replace(b"task-9", b"task-8"))
    linked = folder(state, "linked")
    (linked / "journal.jsonl").symlink_to(damaged)
    reported(state)
    found = {row.name: row for row in rows(state)}
    assert found["lost+found"].problem == "it has no journal"
    assert "does not begin with the start of a run" in found["foreign"].problem
    assert "is damaged" in found["damaged"].problem
    assert "is a link or a device" in found["linked"].problem
    assert found[NAME].problem == ""
    said = text(render_index(list(found.values())))
    for row in found.values():
        assert row.problem in said


@pytest.mark.parametrize(
    "changes",
    [
        {"started": "yesterday"}, {"started": 5}, {"started": "0001-01-01T00:00:00Z"}, {"started": "9999-12-31T23:59:59Z"},
        {"finished": "x"}, {"finished": []}, {"purpose": {}}, {"purpose": "none"}, {"host": {}}, {"window": 1},
    ],
    ids=str,
)  # fmt: skip
def test_values_of_a_forged_document_break_nothing(state: Path, changes: dict[str, Any]) -> None:
    run = {**made_evidence(1)["run"], **changes}
    made = reported(state, NAME, run=run)
    found = rows(state)
    render_index(found)
    assert found[0].problem or changes == {"host": {}}
    (made / "journal.jsonl").unlink()
    render_index(rows(state))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
EVIDENCE = made_evidence(1)


@settings(max_examples=50)
@given(st.sampled_from(["", "run", "experiments", "overall", "moves", "vcenter"]), ANYTHING)
def test_any_json_is_a_row(tmp_path_factory: pytest.TempPathFactory, part: str, value: Any) -> None:
    made = tmp_path_factory.mktemp("state") / "runs" / "r1"
    made.mkdir(parents=True)
    (made / files.JSON).write_text(json.dumps({**EVIDENCE, part: value} if part else value))
    render_index([index_file.row_of_folder(made)])


def test_hostile_names_stay_text_and_links_stay_in_the_folder(state: Path) -> None:
    name = '"><script>alert(1)</script>\u202e'.replace("/", "_")
    reported(state, name, moves=[])
    reported(state, "javascript:alert(1)")
    page = render_index(rows(state), [name, "javascript:alert(1)"])
    assert "<script>" not in page
    assert "\u202e" not in page
    links = re.findall(r'href="([^"]*)"', page)
    assert len(links) == 5
    assert all(re.fullmatch(r"runs/[A-Za-z0-9_.~%-]+/(report\.html)?", link) for link in links), links


def test_thousands_of_runs_are_bounded(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "MAX_ROWS", 3)
    monkeypatch.setattr(index_file, "MAX_LINKS", 4)
    for number in range(10):
        write_run(folder(state, f"2026013{number}T000000Z-evacuate-a-0000"))
    change, found = write_index(state, check_mode=True)
    assert change is not None
    assert [row.name[7] for row in found] == ["9", "8", "7"]
    links = re.findall(r'<li><a href="runs/2026013(\d)', change.after)
    assert links == ["6", "5", "4", "3"]
    said = text(change.after)
    assert "10 runs, the newest first." in said
    assert "3 more are in the folder runs." in said


def test_evidence_that_is_too_large_is_not_read(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported(state)
    monkeypatch.setattr(index_file, "MAX_BYTES", 10)
    assert rows(state)[0].verdicts is None


def a_run(purpose: str, day: int, **changes: Any) -> Row:
    at = f"2026-01-{day:02}T09:00:00.000Z"
    known = {"result": "success", "verdict": "uninterrupted", "verdicts": {"uninterrupted": 1}, "moved": 8,
             "stall": {"seconds": 0.4, "low": 0.3, "high": 0.5}, "page": "report.html", "host": "esx-05", "vcenter": "vc",
             "judged": (("vm-1", "job", "uninterrupted"),), **changes}  # fmt: skip
    finished = f"2026-01-{day:02}T10:00:00.000Z"
    return Row(f"run-{day}", "x", **{"started": at, "finished": finished, "purpose": purpose, **known})


def trips(*rows: Row) -> list[tuple[list[str], list[str]]]:
    return [([row.name for row in trip.out], [row.name for row in trip.back]) for trip in trips_of(rows[::-1])]


def test_the_evacuation_and_the_restore_of_a_host_belong_together() -> None:
    out, back = a_run("evacuate", 1), a_run("restore", 2)
    assert trips(out, back) == [(["run-1"], ["run-2"])]
    assert trips(out) == [(["run-1"], [])]
    assert trips(back) == [], "its evacuation is not here"
    again, later = a_run("evacuate", 3), a_run("restore", 4)
    assert trips(out, back, again, later) == [(["run-3"], ["run-4"]), (["run-1"], ["run-2"])]
    assert trips(out, a_run("evacuate", 2, result="failed"), later) == [(["run-1", "run-2"], ["run-4"])]
    assert trips(out, a_run("restore", 2, host="esx-06"), a_run("restore", 3, vcenter="other")) == [(["run-1"], [])]
    assert trips(a_run("migrate", 1, host=""), a_run("witness", 2)) == []


def test_a_maintenance_counts_the_worst_verdict_of_each_experiment() -> None:
    two = (("vm-1", "job", "uninterrupted"), ("vm-2", "job", "uninterrupted"))
    worse = (("vm-1", "job", "uninterrupted"), ("vm-2", "job", "stalled"))
    out = a_run("evacuate", 1, judged=two, domain="us-west-2b")
    back = a_run(
        "restore", 3, judged=worse, verdict="stalled", moved=7, stall={"seconds": 6.0, "low": 5.9, "high": 6.2}
    )
    said = text(render_index([back, out], zone=ZONE))
    assert "esx-05 us-west-2b ✓ 2026-01-01 10:00:00 CET (09:00:00 UTC) success" in said
    assert "49.0 h 8 moved, 7 moved back ! 1 stalled, 1 uninterrupted 6.00 s 5.90 to 6.20 s" in said
    unknown = text(render_index([a_run("restore", 3, verdicts=None, judged=(), stall=None), out], zone=ZONE))
    assert "? 2 uninterrupted 1 run without evidence" in unknown
    assert "? not in these runs not ended 8 moved" in text(render_index([out], zone=ZONE))


def indexed(state: Path, *, check_mode: bool = False) -> tuple[dict[str, Any], list[str]]:
    """What the module returns, and its warnings."""
    warnings: list[str] = []
    module = SimpleNamespace(params={"state_dir": str(state)}, check_mode=check_mode, warn=warnings.append)
    return run_index.body(module), warnings


def test_the_module_writes_the_index_and_warns_of_what_it_cannot_read(state: Path) -> None:
    assert indexed(state) == ({"changed": False, "index_path": "", "runs": []}, [])
    reported(state, NAME, "stalled", "uninterrupted")
    folder(state, "lost+found")
    checked, _warnings = indexed(state, check_mode=True)
    assert (checked["changed"], (state / INDEX).exists()) == (True, False)
    found, warnings = indexed(state)
    assert warnings == ["Run lost+found: it has no journal"]
    assert (found["changed"], found["index_path"]) == (True, str(state / INDEX))
    assert found["runs"][1]["verdicts"] == {"stalled": 1, "uninterrupted": 1}
    assert set(found["runs"][0]) == set(yaml.safe_load(run_index.RETURN)["runs"]["contains"])
    assert indexed(state)[0]["changed"] is False
