# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether it is the same process: what each kind of answer proves, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.identity import (
    CUT,
    QUICK_START_SECONDS,
    RESTART_SECONDS,
    Identity,
    identity_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Experiment, Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import GONE

NAMED = Experiment("vm-1", "ml-1", "h2o3", "job", "100", "http://x")
NAMELESS = replace(NAMED, process="", capabilities=Capabilities("run", "answers"))
RECORDED = replace(NAMED, process="", capabilities=Capabilities("run", "changes"))
REFUSED = "ConnectionRefusedError"


def answers(process: str | None, *, count: int = 20, start: float = 0.0, hz: float = 20.0) -> list[Sample]:
    return [
        Sample(start + n / hz, start + n / hz + 0.002, "answered", process, "RUNNING", step=float(n))
        for n in range(count)
    ]


def failed(outcome: str, detail: str = "", at: float = 1.0) -> Sample:
    return Sample(at, at + 0.001, outcome, detail=detail)


def claim(experiment: Experiment, *parts: list[Sample] | Sample, unwatched: bool = False) -> Identity:
    samples = [s for part in parts for s in (part if isinstance(part, list) else [part])]
    return identity_of(experiment, samples, [(0.4, 0.5)] if unwatched else [])


def later(process: str | None, start: float = 1.1) -> list[Sample]:
    return answers(process, start=start)


def test_the_same_name_in_the_last_answer_proves_the_process_whatever_was_before_it() -> None:
    for between in (failed("refused", REFUSED), failed("invalid", "HTTP 502"), failed("silent"), failed("job_missing")):
        found = claim(NAMED, answers("100"), between, later("100"), unwatched=True)
        assert (found.claim, found.good) == ("proven", True)


@pytest.mark.parametrize("process", ["101", "started 5.00"])
def test_another_name_is_another_process(process: str) -> None:
    found = claim(NAMED, answers("100"), answers(process, start=1.1))
    assert (found.claim, found.why) == ("refuted", "a different server process now answers in this VM")
    assert claim(NAMELESS, answers(""), answers(process, start=1.1)).claim == "refuted"


def test_a_new_start_has_the_words_of_who_saw_it() -> None:
    begun = [replace(s, restarted="steps came again") for s in later("100")]
    assert claim(NAMED, answers("100"), begun) == Identity("refuted", "steps came again")


@pytest.mark.parametrize("experiment", [NAMED, NAMELESS, RECORDED])
@pytest.mark.parametrize("outcome", ["silent", "refused", "invalid", "job_missing"])
def test_what_does_not_answer_at_the_end_is_unknown(experiment: Experiment, outcome: str) -> None:
    assert claim(experiment, answers(experiment.process), failed(outcome)) == Identity("unknown")
    assert claim(experiment) == Identity("unknown")


@pytest.mark.parametrize("process", ["", None])
def test_a_name_that_is_no_longer_told_is_unknown(process: str | None) -> None:
    found = claim(NAMED, answers("100"), later(process, 1.0))
    assert (found.claim, found.good) == ("unknown", False)


@pytest.mark.parametrize("process", ["", None])
def test_nothing_is_proven_where_nothing_names_the_process(process: str | None) -> None:
    found = claim(NAMELESS, answers(process), later(process, 1.0))
    assert (found.claim, found.unbroken) == ("unknown", True)


@pytest.mark.parametrize("experiment", [NAMED, NAMELESS])
@pytest.mark.parametrize("detail", [REFUSED, ""])
def test_who_refused_connections_was_gone_until_the_same_name_answers(experiment: Experiment, detail: str) -> None:
    found = claim(experiment, answers(experiment.process), failed("refused", detail), later(""))
    assert (found.claim, found.good) == ("refuted", False)
    assert "refused" in found.why


@pytest.mark.parametrize("detail", CUT)
def test_a_connection_that_was_cut_is_no_restart_and_proves_nothing(detail: str) -> None:
    """A firewall that lost its state cuts connections; a process that died does so, too."""
    found = claim(NAMELESS, answers(""), failed("refused", detail), later("", 1.05))
    assert (found.claim, found.good) == ("unknown", False)
    assert detail in found.why


@pytest.mark.parametrize("detail", CUT)
def test_connections_that_are_cut_one_after_the_other_are_refused(detail: str) -> None:
    """A port forward accepts for a process that is gone, and then cuts the connection."""
    cut = [failed("refused", detail, 1.0), failed("refused", detail, 1.1)]
    assert claim(NAMELESS, answers(""), cut, later("", 1.2)).claim == "refuted"
    assert claim(NAMED, answers("100"), cut, later("100", 1.2)).claim == "proven"


def test_all_ways_in_which_a_connection_is_cut_are_known() -> None:
    assert {error.__name__ for error in GONE} <= set(CUT)


@pytest.mark.parametrize(("outcome", "detail"), [("invalid", "HTTP 502"), ("silent", ""), ("job_missing", "")])
def test_a_question_that_a_proxy_answered_or_nobody_leaves_room_for_another_process(outcome: str, detail: str) -> None:
    found = claim(NAMELESS, answers(""), failed(outcome, detail), later("", 1.05))
    assert (found.claim, found.good) == ("unknown", False)


@pytest.mark.parametrize(("wait", "good"), [(RESTART_SECONDS - 0.1, True), (RESTART_SECONDS + 0.01, False)])
def test_a_long_wait_leaves_room_for_another_process(wait: float, good: bool) -> None:
    found = claim(NAMELESS, answers(""), Sample(1.0, 1.0 + wait, "answered", ""), later("", 1.01 + wait))
    assert found.good is good
    assert claim(NAMELESS, Sample(0.0, wait + 0.05, "answered", ""), later("", wait + 0.06)).good is good


def test_time_that_nobody_watched_leaves_room_for_another_process() -> None:
    assert not claim(NAMELESS, answers(""), unwatched=True).good


def logged(stamps: list[float], *, shown: list[float] | None = None, watched: float = 0.2) -> list[Sample]:
    """A record that is asked 10 times per second, with the times of its steps; ``watched`` seconds after the last one."""
    shown = shown or stamps
    asked = [n / 10 for n in range(round((shown[-1] + watched) * 10))]
    found = []
    for at in asked:
        step = max((i for i, time in enumerate(shown) if time <= at), default=0)
        found.append(Sample(at, at + 0.005, "answered", "", "RUNNING", step=float(step), logged=1000.0 + stamps[step]))
    return found


@pytest.mark.parametrize(
    ("stamps", "good"),
    [
        ([0, 2.5, 5, 7.5, 10], True),
        ([0, 2.5, 5, 7.65, 10.15], True),
        ([0, 2.5, 5, 7.75, 10.25], False),
        ([0, 2.5, 5, 8.1, 10.6], False),
        ([0, 2.5, 5, 4.9, 7.4], False),
        ([0, 2.5], False),
        ([0, 0.1, 0.2, 0.3, 0.65], False),
    ],
)
def test_a_record_without_a_pause_leaves_no_room_for_another_process(stamps: list[float], good: bool) -> None:
    shown = [float(n) for n in range(len(stamps))] if stamps != sorted(stamps) else None
    found = claim(RECORDED, logged([float(s) for s in stamps], shown=shown))
    assert (found.claim, found.good) == ("unknown", good), found


@pytest.mark.parametrize(("late", "good"), [(0.3, True), (0.6, False)])
def test_a_step_that_is_seen_late_leaves_room_though_the_trainings_clock_shows_no_pause(
    late: float, good: bool
) -> None:
    """Its clock may have been set back meanwhile."""
    stamps = [float(n) for n in range(9)]
    found = claim(RECORDED, logged(stamps, shown=[at + (late if at > 3 else 0.0) for at in stamps]))
    assert (found.claim, found.good) == ("unknown", good), found


@pytest.mark.parametrize(
    ("steps", "good"),
    [
        ([1, 2, 3, 4, 5, 6], True),
        ([1, 1, 1, 2, 2, 2, 3, 3, 3, 4], True),
        ([1, 2, 2, 2, 3, 3, 3, 4, 4], True),
        ([8, 8, 8], False),
        ([7, 8, 8, 8], False),
        ([7, 8, 8, 8, 9], False),
        ([None] * 6, True),
    ],
)
def test_the_highest_step_that_comes_again_hides_the_steps_below_it(steps: list[int | None], good: bool) -> None:
    """An index of batches from 0 to 8: MLflow shows 8 once in each epoch, and a process may have been replaced between."""
    samples = [replace(s, step=steps[int(s.step or 0)]) for s in logged([float(n) for n in range(len(steps))])]
    assert claim(RECORDED, samples).good is good


def test_a_last_step_that_is_logged_again_soon_hides_nothing() -> None:
    """As trainings do that log their last evaluation with the number of their last step."""
    stamps = [0.0, 1.0, 2.0, 3.0, 3.9]
    assert claim(RECORDED, [replace(s, step=min(3.0, s.step or 0.0)) for s in logged(stamps)]).good


def test_a_record_whose_last_step_is_older_than_usual_leaves_room() -> None:
    stamps = [0.0, 1.0, 2.0, 3.0]
    assert claim(RECORDED, logged(stamps, watched=1.0)).good
    assert not claim(RECORDED, logged(stamps, watched=2.0)).good
    old = replace(RECORDED, capabilities=Capabilities("run", "changes", 0.4))
    assert claim(old, logged(stamps, watched=1.5)).good
    assert not claim(old, logged(stamps, watched=2.5)).good


@pytest.mark.parametrize("freshness", [RESTART_SECONDS, 6.0, 120.0])
@pytest.mark.parametrize("pace", [0.1, 0.3, 1.0])
def test_an_old_record_with_a_clock_that_is_set_leaves_room(freshness: float, pace: float) -> None:
    """Killed, dead for 4 s, and the guest's clock is set back by as much: its own clock shows nothing."""
    stamps = [i * pace for i in range(60)]
    shown = [at + (4.0 if at > 3.0 else 0.0) for at in stamps]
    old = replace(RECORDED, capabilities=Capabilities("run", "changes", freshness))
    for seen in (shown, stamps):
        found = claim(old, logged(stamps, shown=seen))
        assert (found.claim, found.good) == ("unknown", False)
    assert claim(RECORDED, logged(stamps, shown=stamps)).good
    assert not claim(RECORDED, logged(stamps, shown=shown)).good


def worked(dead: float, pace: float, *, hz: float = 10.0, skipped: int = 0, kind: str = "step") -> list[Sample]:
    """Answers of a page or program beside the training, which is dead from 5.0 on, and then continues."""
    found = []
    for n in range(round((12 + dead) * hz)):
        at = n / hz
        work = round(min(at, 5.0) + max(0.0, at - 5.0 - dead), 6)
        step = float(int(work / pace + 1e-6) + (skipped if at > 5.0 + dead else 0))
        shown = (
            {"step": step}
            if kind == "step"
            else {"progress": step / 1000}
            if kind == "share"
            else {"detail": f"{step}"}
        )
        found.append(Sample(at, at + 0.002, "answered", "", "RUNNING", **shown))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("kind", ["step", "share", "detail"])
@pytest.mark.parametrize("dead", [0.7, 3.0, 60.0])
@pytest.mark.parametrize("pace", [0.1, 0.5, 1.0])
def test_who_answers_is_not_who_trains(kind: str, dead: float, pace: float) -> None:
    """A push gateway, the first of several workers and the operator's program answer while the training is dead."""
    assert claim(NAMELESS, worked(0.0, pace, kind=kind)).good
    found = claim(NAMELESS, worked(dead, pace, kind=kind))
    assert (found.claim, found.good) == ("unknown", False)
    assert not claim(NAMELESS, worked(dead, pace, skipped=7)).good
    never = [s for s in worked(dead, pace, kind=kind) if s.sent < 5.0 + dead - 0.1]  # dead until the end
    assert dead < 1 or not claim(NAMELESS, never).good
    assert claim(NAMED, [replace(s, process="100") for s in worked(dead, pace)]).claim == "proven"


def test_steps_that_were_not_seen_one_by_one_do_not_explain_others_that_were_skipped() -> None:
    """A network that was silent for 0.4 s hid some steps. The new process skipped six, after 0.8 s."""
    samples = worked(0.0, 0.2)
    silent = [s for s in samples if not 2.0 < s.sent < 2.4]
    assert claim(NAMELESS, silent).good
    restarted = [s for s in worked(0.7, 0.2, skipped=5) if not 2.0 < s.sent < 2.4]
    assert not claim(NAMELESS, restarted).good


def test_a_pause_is_not_explained_by_a_few_steps_that_were_skipped() -> None:
    """One or two steps are seen at once, and six after a restart that took 0.6 s."""
    assert claim(NAMELESS, worked(0.0, 0.1, hz=7.0)).good
    assert not claim(NAMELESS, worked(0.6, 0.1, hz=7.0, skipped=4)).good


def test_a_server_that_runs_its_jobs_itself_says_how_they_end() -> None:
    coarse = [replace(s, asked=s.sent) for s in worked(0.0, 3.0, kind="share")]
    assert claim(NAMELESS, coarse).good


def test_too_little_work_leaves_room_for_another_process() -> None:
    assert not claim(NAMELESS, worked(0.0, 5.0)).good


def test_a_pause_between_steps_that_were_not_seen_one_by_one_leaves_room() -> None:
    samples = logged([0.0, 1.0, 2.0, 3.0], watched=0.5)
    assert claim(RECORDED, [replace(s, paused=QUICK_START_SECONDS - 0.01) for s in samples]).good
    assert not claim(RECORDED, [replace(s, paused=QUICK_START_SECONDS) for s in samples]).good


def test_a_record_without_times_leaves_room() -> None:
    assert not claim(RECORDED, [replace(s, logged=None) for s in logged([0.0, 1.0, 2.0])]).good


def test_a_server_of_records_that_refused_connections_says_nothing_of_the_training() -> None:
    samples = logged([0.0, 1.0, 2.0, 3.0])
    samples[15] = failed("refused", REFUSED, at=1.5)
    found = claim(RECORDED, samples)
    assert (found.claim, found.good) == ("unknown", True)
