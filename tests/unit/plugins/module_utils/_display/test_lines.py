# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events as lines, the heartbeat between them, and bars: one line a transition, and an end in sight."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display import lines as _progress
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import RunDisplay, line

from tests.builders.journals import ORIGIN, entries, made_run

TRANSITIONS = {
    "refused", "experiment_found", "move_submitting", "move_finished", "verdict",
    "run_started", "run_finished",
}  # fmt: skip


def heard(board: RunDisplay, events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["event"], text) for event in events if (text := board.hear(*entries([event]))) is not None]


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("moves", [1, 8, 64])
def test_every_transition_has_exactly_one_line(moves: int, bars: bool) -> None:
    events, _samples = made_run(moves, ["uninterrupted"])
    told = heard(RunDisplay(bars=bars), events)
    lines = [str(line(*entries([event]))) for event in events if event["event"] in TRANSITIONS]
    without_times = dict.fromkeys(text[len("09:00:00") :] for text in lines)  # a verdict may be repeated at the end
    assert [text[len("09:00:00") :] for name, text in told if name in TRANSITIONS] == list(without_times)
    assert all("\n" not in text for _name, text in told)


def test_progress_of_a_move_is_in_its_bar_and_in_the_heartbeat_only() -> None:
    events, _samples = made_run(1)
    submitting = next(e for e in events if e["event"] == "move_submitting")
    fine = [
        {**events[0], "event": "move_progress", "vm": {"moid": "vm-0", "name": "ML-cpu-vm-00"}, "percent": percent}
        for percent in (0, 12, 95)
    ]
    for bars in (False, True):
        board = RunDisplay(bars=bars)
        board.hear(*entries([submitting]))
        assert heard(board, fine) == []
        assert "95 %" in board.summary(now=ORIGIN + 20)
    assert " 95 % → " in board.bars(now=ORIGIN + 20, columns=100, rows=3)[0]


def test_a_vm_that_ha_restarted_did_not_move() -> None:
    events, _samples = made_run(1)
    board = RunDisplay()
    heard(board, [{**event, "by": "vSphere HA"} if event["event"] == "move_finished" else event for event in events])
    assert board.summary(now=ORIGIN + 90).startswith("0 of 1 moved")
    assert "1 not moved" in board.summary(now=ORIGIN + 90)


@pytest.mark.parametrize(
    ("result", "where"), [("gone", "no host: it is no longer in vCenter"), ("failed", "a host that is not known")]
)
def test_a_vm_whose_host_is_not_known_is_not_gone(result: str, where: str) -> None:
    event = next(e for e in made_run(1)[0] if e["event"] == "move_finished")
    error = {"fault": "VmPlaceUnknown", "message": "vCenter does not show it"}
    said = line(*entries([{**event, "result": result, "host": None, "error": error}]))
    assert said is not None
    assert said.endswith(f"the VM is on {where}")


@pytest.mark.parametrize("experiments", [1, 10, 64])
def test_many_experiments_do_not_drown_the_rest(experiments: int) -> None:
    """Each experiment progresses every 3 s. About one line is shown in that time, for each experiment in turn."""
    board, told = RunDisplay(), []
    for tick in range(300):
        for number in range(experiments):
            event = {
                "event": "experiment_progress", "at": "2026-01-31T09:00:00.000Z", "mono": ORIGIN + 3 * tick,
                "vm": {"moid": f"vm-{number}", "name": f"vm-{number}"}, "id": "job", "progress": 0.61, "gained": 0.02,
            }  # fmt: skip
            if board.hear(*entries([event])):
                told.append(number)
    assert len(told) <= 301 + experiments * 8
    assert set(told) == set(range(experiments))


def test_the_heartbeat_comes_while_nothing_new_is_told() -> None:
    events, _samples = made_run(10)
    board, beats, now = RunDisplay(), [], ORIGIN
    for event in events:
        while now < event["mono"]:
            now += 0.5
            if beat := board.heartbeat(now):
                beats.append((now, beat))
        board.hear(*entries([event]))
    assert beats
    told = [event["mono"] for event in events if event["event"] in TRANSITIONS] + [at for at, _text in beats]
    for at, text in beats:
        before = max(t for t in told if t < at)
        assert at - before >= _progress.HEARTBEAT_SECONDS
        assert " moving" in text
        assert "2026" not in text
    assert board.heartbeat(now + 100) is None, "no move is in flight any more"
    assert RunDisplay().heartbeat(now) is None


def test_the_heartbeat_counts_and_foretells() -> None:
    events, _samples = made_run(10)
    board = RunDisplay()
    half = [event for event in events if event["mono"] <= ORIGIN + 40]
    for event in half:
        board.hear(*entries([event]))
    text = board.heartbeat(ORIGIN + 60)
    moved = sum(event["event"] == "move_finished" for event in half)
    assert text is not None
    assert text.startswith(f"09:01:00  {moved} of 10 moved (")
    begun = sum(event["event"] == "move_submitting" for event in half)
    assert f" % of the work), {begun - moved} moving, about " in text
    assert text.endswith(" left")


def test_what_failed_is_counted_apart() -> None:
    events, _samples = made_run(2, result="timed_out")
    board = RunDisplay()
    for event in events:
        board.hear(*entries([event]))
    assert board.summary(ORIGIN + 100) == "1 of 2 moved (100 % of the work), 0 moving, 1 not moved, about 1 s left"


def test_a_vm_on_its_way_back_is_moving_and_no_longer_moved() -> None:
    events, _samples = made_run(2)
    board = RunDisplay(bars=True)
    for event in events:
        board.hear(*entries([event]))
    there = next(e for e in events if e["event"] == "move_submitting")
    back = {**there, "source": there["target"], "target": there["source"], "mono": ORIGIN + 90}
    for event in ({**back, "event": "planned", "predicted_seconds": 20.0, "why": "back"}, back):
        board.hear(*entries([event]))
    assert board.summary(ORIGIN + 91).startswith("1 of 2 moved (")
    assert "→ esx-05" in board.bars(ORIGIN + 91, 100, 3)[0]


def test_bars_fit_the_terminal_and_show_what_is_in_flight() -> None:
    events, _samples = made_run(10, ["uninterrupted"])
    board = RunDisplay(bars=True)
    for event in events:
        if event["mono"] > ORIGIN + 20:
            break
        board.hear(*entries([event]))
    training = {"event": "experiment_progress", "vm": {"moid": "vm-0", "name": "x"}, "id": "job-0", "progress": 0.17}
    board.hear(*entries([{**training, "gained": None}]))
    lines = board.bars(ORIGIN + 20, 200, 20)
    assert len(lines) == 9, "eight moves and the summary"
    assert lines[0] == "ML-cpu-vm-00       ██████████████░░░░░░  70 % → esx-06, experiment 17 %"
    assert lines[-1].startswith("0 of 10 moved")
    assert all(len(text) <= 30 for text in board.bars(ORIGIN + 20, 30, 20))
    few = board.bars(ORIGIN + 20, 200, 4)
    assert len(few) == 4
    assert few[-1].endswith(", 5 more in flight")
    assert board.bars(ORIGIN + 20, 200, 0) == []
    assert board.heartbeat(ORIGIN + 500) is None, "the summary is already below the bars"


def test_no_bar_is_left_when_all_is_over() -> None:
    events, _samples = made_run(3)
    board = RunDisplay(bars=True)
    for event in events:
        board.hear(*entries([event]))
    assert board.bars(ORIGIN + 500, 100, 20) == []


def test_a_verdict_is_told_again_only_when_it_changed() -> None:
    events, _samples = made_run(1, ["uninterrupted"])
    verdict = next(event for event in events if event["event"] == "verdict")
    board = RunDisplay()
    assert board.hear(*entries([verdict])) == line(*entries([verdict]))
    assert board.hear(*entries([{**verdict, "mono": verdict["mono"] + 9}])) is None
    worse = {**verdict, "verdict": "restarted"}
    assert board.hear(*entries([worse])) == line(*entries([worse]))
    other = {**verdict, "id": "another"}
    assert board.hear(*entries([other])) == line(*entries([other]))


NASTY = "line1\nFAKE  : run success: 9 moved\r\tx\x1b[2J\x9b2K\u202e\u2066\u200b"


@pytest.mark.parametrize(
    "event", ["planned", "experiment_found", "move_submitting", "move_finished", "verdict", "refused"]
)
def test_a_name_makes_no_line_of_its_own_and_moves_nothing(event: str) -> None:
    events, _samples = made_run(2, ["uninterrupted"], prefix=NASTY)
    shown = [line(*entries([each])) or "" for each in events if each["event"] == event]
    assert shown
    assert all(text.isprintable() for text in shown)
    board = RunDisplay(bars=True)
    for each in events[: next(n for n, e in enumerate(events) if e["event"] == "move_finished")]:
        board.hear(*entries([each]))
    assert all(text.isprintable() for text in board.bars(ORIGIN + 5, 200, 10))


def test_times_are_those_of_the_machine_and_the_first_line_names_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    try:
        started, found = (line(entry) for entry in entries([{"event": "run_started"}, {"event": "experiment_found"}]))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert started is not None
    assert re.fullmatch(r"10:00:00  run r1 on .*; times in CET", started)
    assert str(found).startswith("10:00:00  ML-cpu-vm-04 ")


def test_a_verdict_names_its_experiment() -> None:
    (entry,) = entries([{"event": "verdict", "description": "GBM gbm_1"}])
    assert " GBM gbm_1 uninterrupted: ? % → ? %, longest stall about 0.40 s (between 0.30 and 0.50 s)" in str(
        line(entry)
    )
