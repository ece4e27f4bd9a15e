# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verdicts: the truth is generated, a poller is simulated, and no claim may be false."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import do_of
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import (
    ALL_DONE,
    AS_USUAL,
    JOB_DONE,
    JOB_GONE,
    WORKS,
    facts_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    BETWEEN,
    WITHOUT_IT,
    Capabilities,
    Experiment,
    Judgement,
    Sample,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import driverless_ai, h2o3
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.record import REPEATS
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import (
    Finding,
    resolution,
    steps_stood_still,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import longest_stall as found_stall
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import (
    OLD_WORK,
    after_its_move,
    has_ended,
    judge,
    must_stop_run,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import has_continued
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.samples import answer, poll


def longest_stall(samples: list[Sample], **given: object) -> Stall | None:
    finding: Finding | None = found_stall(samples, **given)  # type: ignore[arg-type]
    return finding.stall if finding is not None else None


EXPERIMENT = Experiment("vm-1", "ml-1", "h2o3", "job", "100", "http://x", progress=0.1)


@given(
    start=st.floats(5, 15),
    length=st.floats(0.05, 30),
    hz=st.sampled_from([5.0, 20.0]),
    latencies=st.lists(st.floats(0.0005, 0.02), min_size=1, max_size=20),
)
def test_the_interval_holds_the_true_freeze(start: float, length: float, hz: float, latencies: list[float]) -> None:
    stall = longest_stall(poll([(start, length)], hz=hz, latencies=latencies, seconds=60))
    assert stall is not None
    assert stall.low <= length <= stall.high or (length < 1 / hz and stall.high >= length)
    assert stall.high <= length + 1 / hz + 0.07
    if length > 0.25 + 1 / hz + 0.07:  # below, a busy server looks like a stall
        assert stall.high - stall.low <= 1 / hz + 0.2


@given(length=st.floats(0.3, 30), hz=st.sampled_from([5.0, 20.0]))
def test_the_resolution_is_that_of_undisturbed_operation(length: float, hz: float) -> None:
    found = resolution(poll([(10, length)], hz=hz, latencies=[0.002], seconds=60))
    assert found is not None
    assert found <= 1 / hz + 0.02


def moving(freeze: float, **last: object) -> list[Sample]:
    samples = poll([(10, freeze)], hz=20, latencies=[0.002], seconds=20)
    return [*samples, answer(99.0, 99.002, 0.9, **last)] if last else samples


AGAIN = [answer(21.2, 21.201, 0.9), answer(21.3, 21.301, 0.91), answer(21.4, 21.401, 0.92)]
DONE = [*moving(0.4), answer(21, 21.002, 1.0, status="DONE")]
FAILED = [*moving(0.4), answer(21, 21.002, 0.5, status="FAILED")]


def test_a_training_that_hangs_after_its_move_is_not_called_uninterrupted() -> None:
    moved = [
        replace(s, progress=min(s.progress or 0, 0.011), detail="")
        for s in poll([], hz=20, latencies=[0.002], seconds=20)
    ]
    before = judge(EXPERIMENT, moved, stall_budget=5, moved_at=9)
    assert before.verdict is Verdict.UNINTERRUPTED
    after = judge(EXPERIMENT, moved, stall_budget=5, moved_at=9, arrived_at=12)
    assert (after.verdict, after.identity, after.progress) == (Verdict.UNKNOWN, "proven", "unknown")


@pytest.mark.parametrize("process", ["100", ""])
@pytest.mark.parametrize(
    ("killed", "until", "claim"), [(57, 62, "unknown"), (57, 90, "unknown"), (99, 67, "unknown"), (99, 80, "proven")]
)
def test_an_old_record_proves_work_after_the_move_only_once_it_is_of_that_time(
    killed: float, until: int, claim: str, process: str
) -> None:
    """Each answer is 8 s old, of at most 10. The move ended at 60 s: steps from before that are shown after it, also if the training is dead."""
    known = replace(BY_CHANGES, process=process, capabilities=Capabilities("process", "changes", 10.0))
    samples = [
        answer(n / 5, n / 5 + 0.01, None, process=process, detail="", step=float(min(n / 5 - 8, killed) // 1))
        for n in range(until * 5)
    ]
    found = judge(known, samples, stall_budget=15, moved_at=50, arrived_at=60, measured_from=50)
    assert found.progress == claim
    good = claim == "proven" and process
    assert found.verdict is (Verdict.UNINTERRUPTED if good else Verdict.UNKNOWN)
    assert (OLD_WORK in found.detail) is (claim == "unknown" and until < 90)
    assert must_stop_run(found) is (until == 90 and not process), "else it was seen after its move"


@pytest.mark.parametrize(
    ("freshness", "until", "claim"),
    [(0.0, 9.0, "unknown"), (0.0, 40.0, "proven"), (12.0, 20.0, "unknown"), (12.0, 40.0, "proven")],
)
@pytest.mark.parametrize("process", ["100", ""])
def test_work_before_a_time_without_a_watch_proves_nothing_after_it(
    freshness: float, until: float, claim: str, process: str
) -> None:
    """The run is resumed at 20 s, and its move ended between the two watches. The training hangs from ``until`` on."""
    signal = "changes" if freshness else "answers"
    known = replace(EXPERIMENT, process=process, capabilities=Capabilities("process", signal, freshness))
    samples = [
        answer(
            t / 10, t / 10 + 0.01, None, process=process, detail="", step=float(min(t / 10 - freshness / 2, until) // 1)
        )
        for t in (*range(100), *range(200, 400))
    ]
    found = judge(known, samples, stall_budget=15, unwatched=[(9.91, 20.0)])
    assert (found.progress, found.verdict) == (claim, Verdict.UNKNOWN)


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_news_from_before_a_gap_or_the_moves_end_prove_nothing_after_it(carried: bool, frozen: bool) -> None:
    """The training hangs at 10.0, after a freeze of one second or at the move's end, but the server still answers."""
    gap = 1.0 if frozen else 0.0
    samples = [answer(t / 10, t / 10 + 0.002, t / 1000) for t in range(100)]
    late = answer(9.99, 10.002 + gap, 0.099)
    samples.append(replace(late, asked=9.9) if carried else replace(late, progress=0.1, detail="0.1"))
    samples += [answer(t / 10 + gap, t / 10 + gap + 0.002, 0.1) for t in range(101, 140)]
    judgement = judge(EXPERIMENT, samples, stall_budget=5, moved_at=5, arrived_at=None if frozen else 9.95)
    assert (judgement.verdict, judgement.progress) == (Verdict.UNKNOWN, "unknown")


def test_a_training_that_lost_progress_and_then_finished_was_restarted() -> None:
    samples = [*moving(0.2), answer(21, 21.002, 0.001), answer(22, 22.002, 1.0, status="DONE")]
    assert judge(EXPERIMENT, samples, stall_budget=5, moved_at=9).verdict is Verdict.RESTARTED


def test_a_short_stall_with_progress_after_it_is_uninterrupted() -> None:
    judgement = judge(EXPERIMENT, moving(0.4), stall_budget=5, moved_at=9)
    assert judgement.verdict is Verdict.UNINTERRUPTED
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.at == pytest.approx(10, abs=0.1)
    assert (judgement.identity, judgement.progress, judgement.stall) == ("proven", "proven", "proven")


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        (moving(8), Verdict.STALLED),
        ([*moving(0.4), answer(21, 21.1, process="101")], Verdict.RESTARTED),
        ([*moving(0.4), Sample(21, 21.1, "job_missing", "101")], Verdict.LOST),
        ([*moving(0.4), answer(21, 21.1, 0.001)], Verdict.RESTARTED),
        ([*moving(0.4), answer(21, 21.1, status="FAILED")], Verdict.FAILED),
        ([*moving(0.4), answer(21, 21.1, status="CANCELLED")], Verdict.FAILED),
        ([*moving(0.4), answer(21, 21.1, 1.0, status="CANCELLED", detail="Done.")], Verdict.COMPLETED),
        ([*moving(0.4), answer(21, 21.1, 1.0, status="DONE")], Verdict.COMPLETED),
        ([*DONE, Sample(22, 22.1, "refused")], Verdict.COMPLETED),
        ([*DONE, Sample(22, 25.1, "silent")], Verdict.COMPLETED),
        ([*DONE, Sample(22, 22.1, "job_missing", "101")], Verdict.COMPLETED),
        ([*DONE, answer(22, 22.1, None, process="101", status=None)], Verdict.COMPLETED),
        ([*DONE, answer(22, 22.1, 0.9), Sample(23, 23.1, "refused")], Verdict.LOST),
        ([*DONE, answer(22, 22.1, 0.1, process="101")], Verdict.RESTARTED),
        ([*DONE, answer(22, 22.1, 1.0, status="FAILED"), Sample(23, 26, "silent")], Verdict.FAILED),
        ([*FAILED, Sample(22, 22.1, "job_missing", "100")], Verdict.FAILED),
        ([*FAILED, Sample(22, 22.1, "job_missing", "101")], Verdict.FAILED),
        ([*FAILED, answer(22, 22.1, None, process="101", status=None)], Verdict.FAILED),
        ([*FAILED, Sample(22, 22.1, "refused")], Verdict.FAILED),
        ([*FAILED, Sample(22, 25.1, "silent")], Verdict.FAILED),
        ([*FAILED, answer(22, 22.1, 0.5, status="CANCELLED"), Sample(23, 23.1, "invalid")], Verdict.FAILED),
        ([*FAILED, answer(22, 22.1, 1.0, status="DONE"), Sample(23, 23.1, "refused")], Verdict.COMPLETED),
        ([*FAILED, answer(22, 22.1, 0.9), Sample(23, 23.1, "silent")], Verdict.UNKNOWN),
        ([*FAILED, answer(22, 22.1, 0.1, process="101")], Verdict.RESTARTED),
        ([*moving(8), answer(21, 21.1, 1.0, status="DONE"), Sample(22, 22.1, "refused")], Verdict.STALLED),
        ([*moving(0.4), Sample(21, 21.1, "refused")], Verdict.LOST),
        ([*moving(0.4), Sample(21, 21.1, "refused", detail="ConnectionRefusedError")], Verdict.LOST),
        ([*moving(0.4), Sample(21, 21.1, "refused", detail="ConnectionResetError")], Verdict.UNKNOWN),
        ([*moving(0.4), *[Sample(21, 21.1, "refused", detail="ConnectionResetError")] * 2], Verdict.LOST),
        ([*moving(0.4), answer(21, 21.1, process="101"), Sample(22, 22.1, "refused")], Verdict.LOST),
        ([*moving(0.4), Sample(21, 21.1, "refused"), *AGAIN], Verdict.UNINTERRUPTED),
        ([*moving(0.4), answer(21, 21.1, status="SCHEDULED")], Verdict.UNKNOWN),
        ([*moving(0.4), Sample(21, 25.1, "silent")], Verdict.UNKNOWN),
        ([*moving(0.4), Sample(21, 21.1, "invalid")], Verdict.UNKNOWN),
        ([*moving(0.4), Sample(21, 21.1, "job_missing", "100")], Verdict.UNKNOWN),
        ([], Verdict.UNKNOWN),
        ([answer(n / 5, n / 5 + 0.001, 0.5) for n in range(50)], Verdict.UNKNOWN),
    ],
)
def test_endings(samples: list[Sample], verdict: Verdict) -> None:
    assert judge(EXPERIMENT, samples, stall_budget=5).verdict is verdict


@pytest.mark.parametrize(
    "last", [Sample(21, 21.1, "refused"), Sample(21, 21.1, "job_missing", "101"), answer(21, 21.1, process="101")]
)
def test_a_dead_process_did_not_stall(last: Sample) -> None:
    judgement = judge(EXPERIMENT, [*moving(8), last], stall_budget=5)
    assert judgement.verdict in (Verdict.LOST, Verdict.RESTARTED)
    assert (judgement.longest_stall, judgement.stall) == (None, "unknown")


def test_progress_that_follows_the_clock_proves_no_work() -> None:
    """The server answers after the move, but its training hangs: only the elapsed share of the time limit grows."""
    limited = replace(EXPERIMENT, clock_progress=True)
    samples = [replace(s, detail="Built 7 trees") for s in moving(0.4)]
    assert judge(limited, moving(0.4), stall_budget=5, moved_at=9).verdict is Verdict.UNINTERRUPTED
    judgement = judge(limited, samples, stall_budget=5, moved_at=9, arrived_at=12)
    assert (judgement.verdict, judgement.progress) == (Verdict.UNKNOWN, "unknown")


@pytest.mark.parametrize("signal", ["answers", "changes"])
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (5.0, "gpu at {0:.0f} %"),
        (5.0, "last seen {0:.1f}"),
        (None, "epoch 3, running for {0:.1f} s"),
        (None, "epoch 3 [00:{0:04.1f} elapsed: {0:.0f}, ETA 1 min {0:.1f} sec]"),
        (None, "2026-01-31 00:00:{0:04.1f} epoch 3"),
    ],
)
def test_a_clock_in_a_message_proves_no_work(signal: str, step: float | None, message: str) -> None:
    """The training hangs from 10.0 on, and its program still reports, for how long or what a monitor shows."""
    own = replace(EXPERIMENT, provider="exec", capabilities=Capabilities("process", signal))

    def told(at: float) -> Sample:
        work = min(at, 10.0)
        share = None if step is None else 0.01 * work
        count = None if step is None else step * work
        return answer(at, at + 0.01, share, step=count, detail=message.format(at) if at > 10 or step else f"{work}")

    samples = [told(n / 10) for n in range(400)]
    found = judge(own, samples, stall_budget=5, moved_at=8.0, arrived_at=12.0)
    assert (found.identity, found.progress) == ("proven", "unknown")
    assert found.verdict is (Verdict.UNKNOWN if signal == "answers" else Verdict.STALLED)
    assert found.unseen.startswith("no progress was seen")


@pytest.mark.parametrize("budget", [5.0, 60.0])
@pytest.mark.parametrize("by_record", [True, False])
@pytest.mark.parametrize("works", [True, False])
def test_the_name_of_a_process_in_a_record_does_not_show_that_it_lives(
    budget: float, by_record: bool, works: bool
) -> None:
    """A run of MLflow keeps its tags. A scrape is an answer of the process itself."""
    signals = Capabilities("process", "changes", named_by_record=by_record)
    known = replace(EXPERIMENT, provider="mlflow", process="4711@1", capabilities=signals)

    def shown(at: float) -> Sample:
        step = (at if works else min(at, 10.0)) // 0.5
        return answer(at, at + 0.01, None, process="4711@1", detail="", step=step, logged=1000 + step / 2)

    found = judge(known, [shown(n / 10) for n in range(400)], stall_budget=budget, moved_at=9.0, arrived_at=12.0)
    proven = works or not by_record
    assert found.identity == ("proven" if proven else "unknown")
    assert (found.verdict is Verdict.UNINTERRUPTED) is works
    assert must_stop_run(found) is (not proven or found.verdict is Verdict.STALLED)
    assert has_continued(found.identity, found.verdict) is (works or (not by_record and budget == 5.0))


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("names", ["", "4711@1"])
def test_a_training_whose_steps_repeat_is_seen_to_work_by_their_times(names: str, works: bool) -> None:
    """A batch index in a record: how far the training is, is not known, but that it works is."""
    known = replace(EXPERIMENT, provider="mlflow", process=names, capabilities=Capabilities("run", "changes"))

    def shown(at: float) -> Sample:
        logged = at if works else min(at, 10.0)
        return answer(at, at + 0.01, None, process=names, detail=REPEATS, logged=float(int(logged)))

    found = judge(known, [shown(n / 10) for n in range(400)], stall_budget=5, moved_at=8.0, arrived_at=12.0)
    assert (found.progress, WORKS in found.detail) == ("unknown", works)
    assert found.verdict is (Verdict.UNKNOWN if works else Verdict.STALLED)
    assert must_stop_run(found) is not works
    assert found.unseen.startswith("no progress was seen") is not works


@pytest.mark.parametrize("last", [REPEATS, ""])
def test_the_last_answer_says_whether_steps_repeat(last: str) -> None:
    """A record may show only later that its steps repeat; or it stops to be read as one whose steps do."""
    known = replace(BY_CHANGES, process="4711@1")
    samples = [
        answer(
            n / 10, n / 10 + 0.01, None, process="4711@1", detail=last if n == 399 else REPEATS * (not last), logged=n
        )
        for n in range(400)
    ]
    found = judge(known, samples, stall_budget=5, moved_at=8.0, arrived_at=12.0)
    assert found.progress == ("unknown" if last else "proven")


SETTLED = judge(EXPERIMENT, moving(0.4), stall_budget=5, moved_at=9)


@pytest.mark.parametrize(
    ("samples", "unwatched", "verdict"),
    [
        ([answer(25, 25.1, 0.95)], [(20, 25)], Verdict.UNINTERRUPTED),
        ([Sample(25, 25.1, "silent")], [], Verdict.UNKNOWN),
        ([answer(21, 40, 0.95)], [], Verdict.UNINTERRUPTED),
        ([answer(25, 25.1, 1.0, status="DONE")], [], Verdict.COMPLETED),
        ([answer(25, 25.1, process="101")], [(20, 25)], Verdict.RESTARTED),
        ([Sample(25, 25.1, "refused")], [(20, 25)], Verdict.UNKNOWN),
        ([Sample(25, 25.1, "job_missing", "101")], [], Verdict.LOST),
        ([answer(25, 25.1, status="FAILED")], [], Verdict.FAILED),
    ],
)
def test_the_verdict_of_a_finished_move_is_final(
    samples: list[Sample], unwatched: list[tuple[float, float]], verdict: Verdict
) -> None:
    later = judge(EXPERIMENT, [*moving(0.4), *samples], stall_budget=5, moved_at=9, unwatched=unwatched)
    whole = after_its_move(SETTLED, later)
    assert whole.verdict is verdict
    assert whole.unwatched_seconds == later.unwatched_seconds
    if verdict is Verdict.UNINTERRUPTED:
        assert whole.longest_stall == SETTLED.longest_stall
        assert ("not watched for 5.00 s after its move" in whole.detail) is bool(unwatched)


@pytest.mark.parametrize(
    ("process", "verdict"), [("100", Verdict.UNINTERRUPTED), ("101", Verdict.RESTARTED), ("", Verdict.RESTARTED)]
)
def test_who_answers_again_after_its_port_refused_was_not_lost(process: str, verdict: Verdict) -> None:
    """A proxy or a forwarder in front of the training may be restarted, as when the network of a VM is set up again."""
    gone = [*moving(0.4), *[Sample(21 + n, 21.1 + n, "refused", detail="ConnectionRefusedError") for n in range(2)]]
    again = [answer(24 + n / 5, 24.01 + n / 5, 0.3 + n / 1000, process=process) for n in range(50)]
    lost, later = (judge(EXPERIMENT, known, stall_budget=5, moved_at=9) for known in (gone, [*gone, *again]))
    assert lost.verdict is Verdict.LOST
    assert after_its_move(lost, later).verdict is verdict


@pytest.mark.parametrize("capabilities", [h2o3.CAPABILITIES, driverless_ai.CAPABILITIES])
@pytest.mark.parametrize("reached", [0.6, 1.0])
def test_a_server_that_reports_the_end_is_lost_with_its_port(capabilities: Capabilities, reached: float) -> None:
    experiment = replace(EXPERIMENT, capabilities=capabilities)
    run = [answer(i / 10, i / 10 + 0.01, min(reached, i / 200)) for i in range(201)]
    settled = judge(experiment, moving(0.4), stall_budget=5, moved_at=9)
    ended = judge(experiment, [*run, Sample(20.2, 20.21, "refused")], stall_budget=5, moved_at=3, arrived_at=5)
    final = after_its_move(replace(settled, experiment=experiment), ended)
    assert (ended.verdict, final.verdict, must_stop_run(final)) == (Verdict.LOST, Verdict.LOST, True)


BY_CHANGES = replace(EXPERIMENT, capabilities=Capabilities("process", "changes"))
BY_CHANGES_NAMELESS = replace(BY_CHANGES, process="")
LATER = {
    "no answer": lambda at, _last: Sample(at, at + 0.9, "silent", detail="no answer in time"),
    "its server no longer knows the job": lambda at, _last: Sample(at, at + 0.1, "job_missing", "100"),
    "HTTP 502": lambda at, _last: Sample(at, at + 0.1, "invalid", detail="HTTP 502"),
    "no progress was seen": lambda at, last: replace(last, sent=at, received=at + 0.1),
}


@pytest.mark.parametrize("experiment", [EXPERIMENT, BY_CHANGES])
@pytest.mark.parametrize("why", LATER)
@pytest.mark.parametrize("silence", [12, 1800])
def test_who_is_not_seen_to_work_at_the_end_gets_no_all_clear(experiment: Experiment, why: str, silence: int) -> None:
    run = moving(0.4)
    settled = judge(experiment, run, stall_budget=5, moved_at=9)
    assert settled.verdict is Verdict.UNINTERRUPTED
    after = [LATER[why](run[-1].received + 1 + second, run[-1]) for second in range(0, silence, max(1, silence // 40))]
    final = after_its_move(settled, judge(experiment, [*run, *after], stall_budget=5, moved_at=9))
    assert final.verdict is Verdict.UNKNOWN
    assert why in final.detail
    assert "its move did not interrupt it" in final.detail
    assert not must_stop_run(final)
    again = answer(after[-1].received + 0.5, after[-1].received + 0.6, 0.95)
    back = after_its_move(settled, judge(experiment, [*run, *after, again], stall_budget=5, moved_at=9))
    assert back.verdict is Verdict.UNINTERRUPTED


EXPORTER = replace(EXPERIMENT, provider="prometheus")


@pytest.mark.parametrize("reached", [0.6, 1.0, None])
@pytest.mark.parametrize("refusals", [1, 2, 30])
def test_a_training_that_ends_with_its_port_is_not_lost(reached: float | None, refusals: int) -> None:
    """Who trains beside an exporter ends without saying so, perhaps before all planned steps."""
    share = [None if reached is None else min(reached, i / 200) for i in range(201)]
    run = [answer(i / 10, i / 10 + 0.01, share[i], step=float(i)) for i in range(201)]
    refused = [
        Sample(20.1 + i / 10, 20.11 + i / 10, "refused", detail="ConnectionRefusedError") for i in range(refusals)
    ]
    settled = judge(EXPORTER, run[:100], stall_budget=5, moved_at=3, arrived_at=5)
    assert settled.verdict is Verdict.UNINTERRUPTED
    ended = judge(EXPORTER, [*run, *refused], stall_budget=5, moved_at=3, arrived_at=5)
    final = after_its_move(settled, ended)
    assert (final.verdict, must_stop_run(final)) == (Verdict.UNKNOWN, False)
    assert "its port refuses connections" in final.detail
    # In its move, only one that had done all its work is not lost.
    assert ended.verdict is (Verdict.UNKNOWN if reached == 1.0 else Verdict.LOST)
    limited = replace(EXPORTER, clock_progress=True)
    assert judge(limited, [*run, *refused], stall_budget=5).verdict is Verdict.LOST
    unsettled = replace(settled, verdict=Verdict.STALLED)
    assert after_its_move(unsettled, ended).verdict is (Verdict.STALLED if reached == 1.0 else Verdict.LOST)


@pytest.mark.parametrize(
    "later",
    [
        [answer(700 + i, 700.1 + i, 1.0, process="99") for i in range(20)],
        [answer(700, 700.1, 1.0, process="99"), answer(730, 730.1, 1.0, process="99", status="DONE")],
        [answer(700, 700.1, 0.2)],
        [answer(700, 700.1, 1.0, status="FAILED")],
        [answer(700, 700.1, 1.0), Sample(701, 702, "silent")],
        [Sample(701, 702, "refused"), Sample(703, 704, "job_missing", "101")],
    ],
)
def test_what_was_completed_stays_completed(later: list[Sample]) -> None:
    """A finished run may be reopened, to add a figure of a test."""
    settled = judge(EXPERIMENT, DONE, stall_budget=5, moved_at=9)
    assert settled.verdict is Verdict.COMPLETED
    final = after_its_move(settled, judge(EXPERIMENT, [*DONE, *later], stall_budget=5, moved_at=9))
    assert (final.verdict, final.unseen) == (Verdict.COMPLETED, "")
    assert "not seen" not in final.detail


@pytest.mark.parametrize("step", [-0.5, -3.0, -30.0, 3.0])
def test_a_clock_that_is_set_back_is_no_lost_work(step: float) -> None:
    """The progress of an AutoML with a time limit is the guest's clock."""
    limited = replace(EXPERIMENT, clock_progress=True)
    samples = [
        replace(s, progress=(60 + s.received + (step if s.received > 14 else 0)) / 300, detail=f"Built {i} trees")
        for i, s in enumerate(moving(0.4))
    ]
    found = judge(limited, samples, stall_budget=5, moved_at=9, arrived_at=12)
    assert (found.verdict, found.progress) == (Verdict.UNINTERRUPTED, "proven")
    assert step > 0 or judge(EXPERIMENT, samples, stall_budget=5, moved_at=9).verdict is Verdict.RESTARTED
    fewer = [replace(s, step=float(i if s.received < 14 else i - 90)) for i, s in enumerate(samples)]
    assert judge(limited, fewer, stall_budget=5, moved_at=9).progress == "unknown", "the same process counts again"


def test_quiet_times_that_are_usual_are_no_reason_to_doubt() -> None:
    quiet = [answer(20 + 0.2 * i, 20.1 + 0.2 * i, 0.5 + (i // 60) / 100) for i in range(350)]
    settled = judge(EXPERIMENT, [*moving(0.4)], stall_budget=5, moved_at=9)
    final = after_its_move(settled, judge(EXPERIMENT, [*moving(0.4), *quiet], stall_budget=5, moved_at=9))
    assert (final.verdict, final.unseen) == (Verdict.UNINTERRUPTED, "")


def test_who_was_not_watched_at_the_end_gets_no_all_clear() -> None:
    later = judge(EXPERIMENT, moving(0.4), stall_budget=5, moved_at=9, unwatched=[(20.0, 320.0)])
    final = after_its_move(SETTLED, later)
    assert final.verdict is Verdict.UNKNOWN
    assert "it was not watched in the last 5 min" in final.detail


def test_what_was_unknown_after_the_move_may_be_known_later() -> None:
    unknown = replace(SETTLED, verdict=Verdict.UNKNOWN)
    assert after_its_move(unknown, SETTLED) is SETTLED


def test_an_unwatched_window_is_not_proof() -> None:
    samples = moving(0.4)
    judgement = judge(EXPERIMENT, samples, stall_budget=5, unwatched=[(9.9, 10.6)])
    assert judgement.verdict is Verdict.UNKNOWN
    assert (judgement.identity, judgement.stall) == ("proven", "unknown")
    assert judgement.unwatched_seconds == pytest.approx(0.7)


@given(st.lists(st.sampled_from(["answered", "refused", "silent", "invalid", "job_missing"]), min_size=1, max_size=30))
def test_what_is_not_observed_at_the_end_is_never_uninterrupted(outcomes: list[str]) -> None:
    samples = [
        answer(n / 5, n / 5 + 0.001, n / 100) if o == "answered" else Sample(n / 5, n / 5 + 0.001, o)
        for n, o in enumerate(outcomes)
    ]
    verdict = judge(EXPERIMENT, samples, stall_budget=5).verdict
    assert verdict is not Verdict.UNINTERRUPTED or outcomes[-1] == "answered"


RUN = replace(EXPERIMENT, provider="mlflow", process="run", capabilities=Capabilities("run", "changes"))


def records(durations: list[float], freeze: tuple[float, float], *, hz: float, seconds: float) -> list[Sample]:
    """The samples of a server that always answers with the last step of a training; the training is frozen once."""
    start, length = freeze
    ends, now, turn = [], 0.0, 0
    while now < seconds:
        now += durations[turn % len(durations)]
        ends.append(now)
        turn += 1
    done = [end if end <= start else end + length for end in ends]
    samples, now = [], 0.0
    while now < seconds:
        step = float(sum(end <= now for end in done))
        samples.append(Sample(now, now + 0.005, "answered", "run", status="RUNNING", step=step))
        now += 1 / hz
    return samples


@given(
    durations=st.lists(st.floats(0.1, 2.0), min_size=1, max_size=6),
    start=st.floats(0, 40),
    length=st.floats(0, 20),
    hz=st.sampled_from([4.0, 10.0]),
)
def test_quiet_steps_bound_the_freeze(durations: list[float], start: float, length: float, hz: float) -> None:
    samples = records(durations, (start, length), hz=hz, seconds=90)
    stall = longest_stall(samples, capabilities=RUN.capabilities)
    assert stall is not None
    assert stall.low <= length <= stall.high
    assert stall.high <= length + max(durations) + 3 / hz, (
        "a bound that is always true because it is wide proves nothing"
    )


def test_a_stall_before_the_first_step_that_was_seen_is_a_stall() -> None:
    samples = [*records([0.1], (0.0, 4.0), hz=20, seconds=6)]
    judgement = judge(RUN, samples, stall_budget=1, moved_at=0.1)
    assert judgement.verdict is Verdict.STALLED
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.low > 3


@given(seconds=st.floats(61, 200), hz=st.sampled_from([1.0, 5.0]))
def test_a_slow_step_beside_parts_of_steps_is_not_a_stall(seconds: float, hz: float) -> None:
    """The watch begins and ends within a step: only whole steps show how long a whole one takes."""
    stall = longest_stall(records([60.0], (0.0, 0.0), hz=hz, seconds=seconds), capabilities=RUN.capabilities)
    assert stall is not None
    assert stall.low == 0


def test_an_evaluation_that_the_end_of_the_watch_cuts_off_is_evidence_of_long_steps() -> None:
    """A step of 20 s is not a stall if another one took at least 18 s."""
    samples = records([0.1] * 200 + [20.0], (0.0, 0.0), hz=5, seconds=78)
    stall = longest_stall(samples, capabilities=RUN.capabilities)
    assert stall is not None
    assert stall.low == 0
    assert stall.high > 20


@pytest.mark.parametrize("signal", ["answers", "changes"])
@pytest.mark.parametrize("outcome", ["silent", "refused", "invalid"])
def test_what_no_question_was_answered_about_may_have_been_a_stall(signal: str, outcome: str) -> None:
    """The server did not work when the watch began, and the VM moved meanwhile."""
    experiment = replace(RUN, capabilities=Capabilities("run", signal))
    samples = [Sample(n / 5, n / 5 + 0.01, outcome) for n in range(200)]
    samples += [
        replace(s, sent=s.sent + 40, received=s.received + 40) for s in records([0.1], (0.0, 0.0), hz=20, seconds=20)
    ]
    judgement = judge(experiment, samples, stall_budget=5, moved_at=9)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.low == 0
    assert judgement.longest_stall.high >= 40


def test_work_between_the_last_step_and_the_end_is_not_a_stall() -> None:
    samples = records([0.1], (20.0, 0.0), hz=5, seconds=20)
    samples += [replace(samples[-1], sent=20 + n / 5, received=20.01 + n / 5) for n in range(150)]
    samples.append(replace(samples[-1], sent=50.0, received=50.01, status="DONE"))
    assert judge(RUN, samples, stall_budget=5, moved_at=9).verdict is Verdict.COMPLETED


@pytest.mark.parametrize("gap", [50.0, 600.0])
def test_unwatched_time_is_not_a_step_and_hides_no_stall(gap: float) -> None:
    """A watched stall of three seconds, then a second watch."""
    first = records([0.1], (30.0, 3.0), hz=5, seconds=340)
    second = [
        replace(s, sent=s.sent + 340 + gap, received=s.received + 340 + gap, step=9000.0 + (s.step or 0))
        for s in records([0.1], (0.0, 0.0), hz=5, seconds=20)
    ]
    unwatched = [(first[-1].received, second[0].sent)]
    judgement = judge(RUN, [*first, *second], stall_budget=2, moved_at=9, unwatched=unwatched)
    assert judgement.verdict is Verdict.STALLED
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.low <= 3 <= judgement.longest_stall.high < 4
    frozen_at_its_end = [*first[: 5 * 32], *second]
    unwatched = [(first[159].received, second[0].sent)]
    stall = judge(RUN, frozen_at_its_end, stall_budget=2, moved_at=9, unwatched=unwatched).longest_stall
    assert stall is not None
    assert stall.low <= 1.8 <= stall.high < 3


@pytest.mark.parametrize("other_clock", [-49_900.0, 0.0, 40_000.0])
@pytest.mark.parametrize("hangs", [True, False])
def test_work_from_before_a_resume_proves_nothing_after_it(other_clock: float, hangs: bool) -> None:
    """The clock of another machine may show anything."""
    old = [answer(50_000 + i / 10, 50_000 + i / 10 + 0.01, i / 4000) for i in range(100)]
    start = 50_020 + other_clock
    new = [answer(start + i / 10, start + i / 10 + 0.01, 0.025 if hangs else 0.025 + i / 4000) for i in range(200)]
    unwatched = [(old[-1].received, new[0].sent)]
    found = judge(
        EXPERIMENT, [*old, *new], stall_budget=5, moved_at=start + 1, arrived_at=start + 5, unwatched=unwatched
    )
    assert found.progress == ("unknown" if hangs else "proven")


@pytest.mark.parametrize("capabilities", [Capabilities("run", "answers"), Capabilities("process", "changes")])
@pytest.mark.parametrize("other_clock", [-49_900.0, 0.0, 40_000.0])
def test_a_restart_that_an_earlier_watch_saw_is_not_forgotten(capabilities: Capabilities, other_clock: float) -> None:
    nameless = replace(EXPERIMENT, process="", capabilities=capabilities)
    why = "its counter went back from 40 to 30"
    old = [
        answer(50_000 + i / 10, 50_000 + i / 10 + 0.01, None, process="", step=i, restarted=why if i > 50 else "")
        for i in range(99)
    ]
    start = 50_020 + other_clock
    new = [answer(start + i / 10, start + i / 10 + 0.01, None, process="", step=200 + i) for i in range(99)]
    for later in (new, [*new, Sample(start + 20, start + 21, "silent")]):
        found = judge(nameless, [*old, *later], stall_budget=5, unwatched=[(old[-1].received, start)])
        assert (found.verdict is Verdict.RESTARTED or later is not new, found.identity) == (True, "refuted")
    seen_wrong = [*old, replace(old[-1], restarted="", sent=50_010, received=50_010.1)]  # it learned more
    assert judge(nameless, [*seen_wrong, *new], stall_budget=5, unwatched=[(50_010.1, start)]).identity != "refuted"


@pytest.mark.parametrize("other_clock", [0.0, 5000.0, -100.0])
@pytest.mark.parametrize("lost", [0.0, 60.0])
def test_an_old_first_answer_after_a_resume_is_not_lost_progress(other_clock: float, lost: float) -> None:
    """The answers are up to 20 s old, and another server answers first when the run is resumed."""
    known = replace(BY_CHANGES, process="", capabilities=Capabilities("run", "changes", 20.0))

    def told(at: float, age: float) -> Sample:
        done = float(int((at - age - lost * (at > 110)) / 5))
        return answer(at, at + 0.01, None, process="", detail="", step=done)

    first = [told(n / 2, 0.0) for n in range(200)]
    second = [told(105 + n / 2, 18.0) for n in range(200)]
    second = [replace(s, sent=s.sent + other_clock, received=s.received + other_clock) for s in second]
    gap = (first[-1].received, second[0].sent)
    found = judge(known, [*first, *second], stall_budget=60, moved_at=50.0, arrived_at=60.0, unwatched=[gap])
    assert found.progress == ("refuted" if lost else "proven")
    assert found.verdict is (Verdict.RESTARTED if lost else Verdict.UNKNOWN)


def logged(count: int, **last: object) -> list[Sample]:
    """A run that logs a step each 0.2 s and names no process; the last sample is ``last``."""
    samples = [
        replace(answer(n / 10, n / 10 + 0.01, None, process="", detail="", step=float(n // 2)), logged=n // 2 / 5)
        for n in range(count)
    ]
    return [*samples, replace(samples[-1], sent=count / 10, received=count / 10 + 0.01, **last)]  # type: ignore[arg-type]


@pytest.mark.parametrize("between", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("quiet", [0.0, 5.0])
def test_a_search_that_ends_some_time_after_its_last_run_is_completed(between: float, quiet: float) -> None:
    """Its last run may have been continued by another process only before it ended."""
    run = logged(300, status="RUNNING")
    ended = run[-1].received + quiet
    looks = [replace(run[-1], sent=ended + n / 10, received=ended + n / 10) for n in range(int(between * 10))]
    samples = [*run, *(replace(s, status=BETWEEN) for s in looks)]
    waiting = judge(BY_CHANGES_NAMELESS, samples, stall_budget=5, moved_at=9, arrived_at=15)
    assert waiting.verdict is Verdict.UNKNOWN
    assert ("its parent still says RUNNING" in waiting.detail, must_stop_run(waiting)) == (True, False)
    end = replace(samples[-1], sent=ended + between, received=ended + between, status="DONE")
    found = judge(BY_CHANGES_NAMELESS, [*samples, end], stall_budget=5, moved_at=9, arrived_at=15)
    assert found.verdict is (Verdict.UNKNOWN if quiet else Verdict.COMPLETED)
    late = judge(BY_CHANGES_NAMELESS, samples, stall_budget=5, moved_at=9, arrived_at=run[-1].sent - 0.001)
    assert late.progress == "proven", "after its move nothing was logged, but the end of a run is work, too"


@pytest.mark.parametrize("process", ["100", ""])
@pytest.mark.parametrize(
    ("step", "total", "every", "early"),
    [(149, 150, 1, False), (148, 150, 1, False), (140, 150, 10, False), (140, 152, 10, True), (149, 9000, 1, True),
     (140, 150, 500, False), (140, 300, 500, True), (140, None, 10, False)],
)  # fmt: skip
def test_a_run_that_says_finished_with_a_part_of_its_steps_is_not_completed(
    process: str, step: float, total: int | None, every: float, early: bool
) -> None:
    """MLflow's client says FINISHED when Python ends, also after an exception (mlflow#5963)."""
    known = replace(BY_CHANGES, process=process)
    run = [
        replace(s, process=process, step=shown, progress=shown / total if total else None, logged=shown / 5)
        for s in logged(300, status="RUNNING")
        for shown in [min(step, (s.step or 0.0) // every * every or step % every if every < step else step)]
    ]
    ended = replace(run[-1], sent=run[-1].received + 0.1, received=run[-1].received + 0.11, status="DONE")
    found = judge(known, [*run, ended], stall_budget=5, moved_at=9, arrived_at=15)
    if every > step and not process:
        assert found.verdict is Verdict.UNKNOWN, "one step alone does not show that no other process trains"
        return
    assert found.verdict is (Verdict.UNKNOWN if early else Verdict.COMPLETED)
    assert ("it ended with" in found.detail) is early
    assert not must_stop_run(found)
    final = after_its_move(replace(found, verdict=Verdict.UNINTERRUPTED, detail=""), found)
    assert (final.verdict, "it ended with" in final.detail) == (found.verdict, early)


@pytest.mark.parametrize("known", [BY_CHANGES_NAMELESS, replace(BY_CHANGES_NAMELESS, process="100")])
def test_a_run_that_failed_in_a_search_that_goes_on_is_unknown_and_stops_nothing(known: Experiment) -> None:
    """Searches end unpromising runs, which MLflow calls failed if an exception did it, as in a training that the move killed."""
    run = [replace(s, process=known.process) for s in logged(300, status="RUNNING")]
    others = [
        replace(run[-1], sent=s.sent, received=s.received, logged=s.logged, step=None, status=WITHOUT_IT, detail=f"run c2: step {s.step}")
        for s in logged(600, status="RUNNING")[300:]
    ]  # fmt: skip
    found = judge(known, [*run, *others], stall_budget=5, moved_at=9, arrived_at=35)
    assert (found.verdict, must_stop_run(found)) == (Verdict.UNKNOWN, False)
    assert "its run failed or was killed" in found.detail


@pytest.mark.parametrize("process", ["", "100"])
@pytest.mark.parametrize(("total", "done"), [(590.0, True), (650.0, True), (9000.0, False)])
def test_a_record_of_a_training_that_has_done_all_its_steps_shows_no_stall(
    process: str, total: float, done: bool
) -> None:
    """It saves its model, or has ended. It was moved from 100 to 120 s; its last step is before that is over, or after."""
    known, last = replace(BY_CHANGES, process=process), min(total, 650.0)
    samples = [
        replace(answer(n / 5, n / 5 + 0.01, step / total, process=process, detail="", step=step), logged=step / 5)
        for n in range(900)
        for step in [min(float(n), last)]
    ]
    found = judge(known, samples, stall_budget=5, moved_at=100, arrived_at=120, measured_from=100)
    assert (found.verdict is Verdict.STALLED) is not done
    assert must_stop_run(found) is not done
    assert found.longest_stall is not None
    assert found.longest_stall.high > 40, "the VM may have stood still without a step"
    if done:
        assert (found.verdict, ALL_DONE in found.detail, found.longest_stall.low) == (Verdict.UNKNOWN, True, 0.0)


@pytest.mark.parametrize("later", [0.2, 60.0])
def test_a_stall_before_the_last_step_is_a_stall_though_nothing_is_left_to_do(later: float) -> None:
    """5 steps per second, but the last one takes 1.3 s; the question after it is answered soon, or a minute later."""
    known, total = replace(BY_CHANGES, process="100"), 650
    times = [(n / 5, float(min(n, total - 1))) for n in range(656)]
    times += [(131.1, float(total)), *((131.1 + later + n / 5, float(total)) for n in range(20))]
    samples = [
        replace(answer(at, at + 0.01, step / total, process="100", detail="", step=step), logged=step / 5)
        for at, step in times
    ]
    stall = judge(known, samples, stall_budget=500, moved_at=100, arrived_at=120, measured_from=100).longest_stall
    assert stall is not None
    # Without a change from the answer of 129.81 to the question of 131.0; each of 648 other steps takes at most 0.41 s.
    assert stall.low == pytest.approx(131.0 - 129.81 - 0.41 * (1 + 10 / 648))
    assert stall.at == pytest.approx(129.81)
    assert stall.high == pytest.approx(131.11 + later + 19 / 5 - 131.0)
    assert stall.seconds == pytest.approx((stall.low + stall.high) / 2)


@pytest.mark.parametrize("may_fall", [False, True])
def test_an_expression_that_misses_a_series_after_a_resume_shows_no_restart(may_fall: bool) -> None:
    """The sum over two ranks, one of which is not scraped from the resume on."""
    shown = Capabilities("run", "changes", 2.0, may_fall=may_fall)
    known = replace(BY_CHANGES, process="", capabilities=shown)
    first = [answer(n / 2, n / 2, None, process="", detail="", step=200.0 + n // 4) for n in range(200)]
    second = [answer(110 + n / 2, 110 + n / 2, None, process="", detail="", step=150.0 + n // 4) for n in range(200)]
    found = judge(known, [*first, *second], stall_budget=60, moved_at=50.0, unwatched=[(99.5, 110.0)])
    assert found.progress == ("proven" if may_fall else "refuted")
    assert found.verdict is (Verdict.UNKNOWN if may_fall else Verdict.RESTARTED)
    fell = [*first, *(replace(s, step=(s.step or 0) - 100 * (n > 50)) for n, s in enumerate(second))]
    within = judge(known, fell, stall_budget=60, moved_at=50.0, unwatched=[(99.5, 110.0)])
    assert within.verdict is Verdict.RESTARTED, "what one watch sees is known to its session"


@pytest.mark.parametrize("signal", ["answers", "changes"])
def test_a_run_that_is_resumed_on_another_machine_proves_nothing_false(signal: str) -> None:
    first = [
        replace(s, sent=s.sent + 1e5, received=s.received + 1e5) for s in records([0.1], (0.0, 0.0), hz=5, seconds=20)
    ]
    second = [replace(s, step=300 + (s.step or 0)) for s in records([0.1], (0.0, 0.0), hz=5, seconds=20)]
    experiment = replace(RUN, capabilities=Capabilities("run", signal))
    unwatched = [(first[-1].received, second[0].sent)]
    judgement = judge(experiment, [*first, *second], stall_budget=5, moved_at=9, unwatched=unwatched)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.unwatched_seconds == 0
    assert judgement.longest_stall is not None
    assert 0 <= judgement.longest_stall.low <= judgement.longest_stall.seconds <= judgement.longest_stall.high


def test_the_resolution_is_not_that_of_a_part_of_a_step() -> None:
    samples = records([60.0], (0.0, 0.0), hz=5, seconds=119)[5 * 59 :]
    judgement = judge(RUN, samples, stall_budget=5)
    assert judgement.resolution is not None
    assert judgement.resolution > 50


def test_records_that_are_old_widen_the_interval_and_do_not_bend_it() -> None:
    fresh = records([0.1], (30.0, 3.0), hz=10, seconds=60)
    shown = [replace(s, step=fresh[max(0, i - 20)].step) for i, s in enumerate(fresh)]  # two seconds late
    late = Capabilities("run", "changes", 2.0)
    stall = longest_stall(shown, capabilities=late)
    assert stall is not None
    assert stall.low <= 3.0 <= stall.high
    assert stall.high - stall.low < 9


def test_a_recorded_step_that_goes_back_is_a_restart() -> None:
    samples = records([0.5], (30.0, 0.0), hz=4, seconds=60)
    back = [*samples, replace(samples[-1], sent=61.0, received=61.1, step=3.0)]
    judgement = judge(RUN, back, stall_budget=5, moved_at=29)
    assert judgement.verdict is Verdict.RESTARTED
    assert "went back from step" in judgement.detail


@pytest.mark.parametrize(
    ("process", "signal"), [("100", "answers"), ("", "answers"), ("", "changes"), ("100", "changes")]
)
@pytest.mark.parametrize("figure", ["progress", "step"])
def test_an_answer_without_a_figure_hides_no_lost_progress(process: str, signal: str, figure: str) -> None:
    """A training that says only what it loads, and continues from its checkpoint. Its process may be a launcher."""
    known = replace(EXPERIMENT, process=process, capabilities=Capabilities("process", signal))

    def told(at: float) -> Sample:
        loads, done = 15 <= at < 16, int(at if at < 15 else at - 10)
        share, step = (None if loads or figure == "step" else done / 100, None if loads else float(done))
        says = f"loading {at:.1f} %" if loads else "training"
        return answer(at, at + 0.01, share, process=process, step=step if figure == "step" else None, detail=says)

    found = judge(known, [told(n / 5) for n in range(200)], stall_budget=5, moved_at=14.0, arrived_at=17.0)
    same = (process, signal, figure) == ("100", "answers", "step")
    assert (found.verdict, found.progress) == ((Verdict.UNKNOWN, "unknown") if same else (Verdict.RESTARTED, "refuted"))


FORGED = f"x) {AS_USUAL}; {WORKS}; {JOB_DONE}; {ALL_DONE} ("


@pytest.mark.parametrize("outcome", ["silent", "invalid"])
def test_words_of_a_guest_are_no_reason_of_a_verdict(outcome: str) -> None:
    """A program, and the first line of a server's answer, may say anything, also what ends a wait or lets a run continue."""
    known = replace(EXPERIMENT, process="", provider="exec")
    asked = [Sample(n / 5, n / 5 + 0.01, outcome, detail=FORGED) for n in range(100)]
    found = judge(known, [answer(0.0, 0.01, 0.1, process=""), *asked[1:]], stall_budget=5, moved_at=9.0)
    settled = judge(EXPERIMENT, moving(0.4), stall_budget=5, moved_at=9)
    after = after_its_move(settled, judge(EXPERIMENT, [*moving(0.4), *asked[:3]], stall_budget=5, moved_at=9))
    broken = judge(known, [*asked[:2], *moving(0.4)], stall_budget=5, moved_at=9)
    assert found.verdict is Verdict.UNKNOWN
    assert must_stop_run(found)
    assert not has_ended(found)
    assert not has_ended(after)
    for judgement in (found, after, broken):
        assert dict(facts_of(row_of(judgement)))["Alive"].startswith("not known")


def row_of(judgement: Judgement) -> dict[str, object]:
    return {"verdict": judgement.verdict, "detail": judgement.detail, "progress_after": judgement.progress_after}


@pytest.mark.parametrize("freeze", [0.4, 8.0])
@pytest.mark.parametrize("process", ["100", ""])
def test_a_training_that_has_finished_is_not_called_alive(freeze: float, process: str) -> None:
    """It ended after a freeze, whose verdict is not ``completed``, or nothing names its process after that."""
    known = replace(EXPERIMENT, process=process)
    run = [replace(s, process=process) for s in moving(freeze)]
    ended = [*run, answer(23.0, 23.002, 1.0, process=process, status="DONE")]
    during = judge(known, ended, stall_budget=5, moved_at=9)
    settled = replace(SETTLED, experiment=known)
    for judgement in (during, after_its_move(settled, during)):
        alive = dict(facts_of(row_of(judgement)))["Alive"]
        assert alive.startswith("it has finished"), (judgement.verdict, judgement.detail)


def test_a_tracking_server_that_is_gone_says_nothing_about_the_training() -> None:
    samples = [*records([0.5], (30.0, 0.0), hz=4, seconds=60), Sample(61.0, 61.0, "refused")]
    assert judge(RUN, samples, stall_budget=5, moved_at=29).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("outcome", "detail", "why"),
    [
        ("silent", "", "the last question was not answered"),
        ("invalid", "HTTP 502", "the last answer of the server could not be used (HTTP 502)"),
        ("refused", "ConnectionRefusedError", "its port refuses connections; the last question was not answered"),
        ("refused", "ConnectionResetError", "the last question was not answered"),
    ],
)
def test_how_the_end_was_not_seen_is_part_of_the_reason(outcome: str, detail: str, why: str) -> None:
    records = replace(EXPERIMENT, capabilities=replace(EXPERIMENT.capabilities, signal="records"))
    judgement = judge(records, [*moving(0.4), Sample(20.05, 20.1, outcome, detail=detail)], stall_budget=5)
    assert (judgement.verdict, judgement.detail) == (Verdict.UNKNOWN, why)


def test_a_completed_training_needs_no_reason() -> None:
    assert (judge(EXPERIMENT, DONE, stall_budget=5).verdict, judge(EXPERIMENT, DONE, stall_budget=5).detail) == (
        Verdict.COMPLETED,
        "",
    )


def test_a_run_that_stands_still_is_not_uninterrupted() -> None:
    samples = records([0.5], (30.0, 1000.0), hz=4, seconds=60)
    judgement = judge(RUN, samples, stall_budget=5, moved_at=29)
    assert judgement.verdict in (Verdict.STALLED, Verdict.UNKNOWN)
    assert judgement.progress == "unknown"


@pytest.mark.parametrize("pace", [1.0, 0.5, 0.2])
def test_a_cut_network_while_the_training_continues_is_not_a_stall(pace: float) -> None:
    """The answer waits for 20 s as in a freeze, but progress continued, though slower on a busy host."""
    samples = [answer(n / 20, n / 20 + 0.002, n / 2000) for n in range(200)]
    samples.append(answer(10.0, 30.0, 0.1 + 0.2 * pace))
    samples += [answer(30 + n / 20, 30.002 + n / 20, 0.1 + 0.2 * pace + n / 2000) for n in range(200)]
    judgement = judge(EXPERIMENT, samples, stall_budget=5, moved_at=9)
    assert judgement.verdict is Verdict.UNKNOWN, "it may have stood still for an unknown time"
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.low == 0.0
    frozen = [replace(s, progress=(s.progress or 0) - 0.2 * pace) if s.received >= 30 else s for s in samples]
    assert judge(EXPERIMENT, frozen, stall_budget=5, moved_at=9).verdict is Verdict.STALLED


def test_a_stall_that_may_exceed_the_budget_is_neither_within_nor_beyond_it() -> None:
    judgement = judge(EXPERIMENT, moving(4.99), stall_budget=5, moved_at=9)
    assert (judgement.verdict, judgement.stall) == (Verdict.UNKNOWN, "unknown")
    assert "longer than the budget" in judgement.detail


def test_progress_before_and_after_is_that_of_the_move() -> None:
    samples = [answer(1.0, 1.1, 0.1), answer(2.0, 2.1, 0.2), answer(3.0, 3.1, 0.3), answer(4.0, 4.1, None)]
    figures = {
        moved_at: judge(EXPERIMENT, samples, stall_budget=5, moved_at=moved_at) for moved_at in (None, 0.5, 2.1, 3.0)
    }
    assert {at: judged.progress_before for at, judged in figures.items()} == {None: 0.3, 0.5: 0.1, 2.1: 0.2, 3.0: 0.2}
    assert {judged.progress_after for judged in figures.values()} == {0.3}
    nothing = judge(EXPERIMENT, [Sample(5.0, 5.1, "silent", progress=0.7)], stall_budget=5)
    assert (nothing.progress_before, nothing.progress_after) == (0.1, None)


def test_the_stall_is_compared_with_the_budget_at_both_bounds() -> None:
    """A question each 1/8 s, answered after 1/16 s: each silence lasts 0 to 3/16 s."""
    samples = [answer(n / 8, n / 8 + 0.0625, n / 100) for n in range(40)]
    judgement = judge(EXPERIMENT, samples, stall_budget=0.1875)
    assert judgement.longest_stall is not None
    assert (judgement.longest_stall.low, judgement.longest_stall.high) == (0.0, 0.1875)
    assert judge(EXPERIMENT, samples, stall_budget=0.1875).stall == "proven"
    assert judge(EXPERIMENT, samples, stall_budget=0.1874).stall == "unknown"
    assert judge(EXPERIMENT, samples, stall_budget=0.0).stall == "unknown"


def test_a_stall_after_the_last_answer_may_still_last() -> None:
    judgement = judge(EXPERIMENT, [*moving(0.4), Sample(20.05, 20.1, "silent")], stall_budget=5)
    assert (judgement.stall, judgement.progress) == ("unknown", "unknown")
    first = judge(EXPERIMENT, [Sample(-0.1, -0.05, "silent"), *moving(0.4)], stall_budget=5)
    assert (first.stall, first.progress) == ("proven", "proven")


@pytest.mark.parametrize("outcome", ["silent", "invalid"])
def test_questions_that_nobody_answered_at_the_end_are_no_stall(outcome: str) -> None:
    before = judge(EXPERIMENT, moving(0.4), stall_budget=5)
    silent = judge(EXPERIMENT, [*moving(0.4), Sample(20.05, 80.0, outcome)], stall_budget=5)
    assert (silent.verdict, silent.stall) == (Verdict.UNKNOWN, "unknown")
    assert silent.longest_stall == before.longest_stall


@pytest.mark.parametrize("after", [0.0, 1.0, 60.0])
def test_a_training_that_nothing_names_is_completed_however_long_its_end_is_watched(after: float) -> None:
    """A run of MLflow without tags: after its end no step is logged, and no other process can have taken over."""
    known = replace(RUN, process="", capabilities=Capabilities("run", "changes"))
    steps = [
        Sample(n / 10, n / 10 + 0.01, "answered", "", "RUNNING", step=float(n // 3), logged=float(n // 3))
        for n in range(300)
    ]
    steps = [replace(s, logged=0.3 * (s.step or 0.0)) for s in steps]
    ended = [
        replace(steps[-1], sent=30 + n / 10, received=30.01 + n / 10, status="DONE") for n in range(1 + int(10 * after))
    ]
    found = judge(known, [*steps, *ended], stall_budget=5, moved_at=10.0, arrived_at=15.0)
    assert (found.verdict, found.over) == (Verdict.COMPLETED, True)


@pytest.mark.parametrize("process", ["100", ""])
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_an_exporter_whose_training_has_done_all_its_steps_does_not_stop_the_run(
    process: str, done: bool, closed: bool
) -> None:
    """It saves or evaluates its model after its last step, for as long as it takes, and then it ends with its port."""
    exporter = replace(EXPERIMENT, provider="prometheus", process=process, capabilities=Capabilities("run", "answers"))
    most = 100 if done else 90
    samples = [
        answer(n / 10, n / 10 + 0.01, min(n, most) / 100, process=process, detail="", step=float(min(n, most)))
        for n in range(200)
    ]
    samples += [Sample(21, 21.01, "refused", detail="ConnectionRefusedError")] if closed else []
    found = judge(exporter, samples, stall_budget=5, moved_at=8.0, arrived_at=12.0, measured_from=8.0)
    assert found.verdict is (Verdict.LOST if closed and not done else Verdict.UNKNOWN)
    assert must_stop_run(found) is (not done and (closed or not process))
    assert ("it hung" in found.detail) is not done
    if done:
        assert (AS_USUAL if closed else ALL_DONE) in found.detail


@pytest.mark.parametrize(
    ("signal", "reports_end", "closed", "verdict", "reason"),
    [
        ("answers", False, False, Verdict.UNINTERRUPTED, ""),  # it has no more work to show
        ("answers", False, True, Verdict.UNKNOWN, AS_USUAL),
        ("answers", True, False, Verdict.UNKNOWN, "no progress was seen"),  # its server would say that it is done
        ("changes", False, False, Verdict.UNKNOWN, ALL_DONE),
    ],
)
def test_a_training_that_does_its_last_steps_after_its_move_is_not_called_one_that_stands_still(
    signal: str, reports_end: bool, closed: bool, verdict: Verdict, reason: str
) -> None:
    """Nobody may read the advice to start it again without a look at its result."""
    known = replace(EXPERIMENT, capabilities=Capabilities("process", signal, reports_end=reports_end))
    samples = [
        answer(n / 5, n / 5 + 0.01, min(n / 500, 1.0), detail="", step=float(min(n, 500)), logged=n / 5)
        for n in range(1500)
    ]
    ended = [Sample(300.1 + n / 5, 300.11 + n / 5, "refused", detail="ConnectionRefusedError") for n in range(100)]
    settled = judge(known, samples[:300], stall_budget=15, moved_at=20, arrived_at=40, measured_from=20)
    later = judge(known, samples + ended * closed, stall_budget=15, moved_at=20, arrived_at=40, measured_from=20)
    final = after_its_move(settled, later)
    assert (settled.verdict, final.verdict) == (Verdict.UNINTERRUPTED, verdict)
    assert reason in final.detail
    assert not must_stop_run(final)
    advice = do_of({"verdict": str(final.verdict), "detail": final.detail, "recoverable": "unknown"})
    assert ("Look whether its result is there" in advice) is (reason in (AS_USUAL, ALL_DONE))


def test_a_server_that_says_it_no_longer_knows_the_job_has_answered() -> None:
    judged = judge(EXPERIMENT, [*moving(0.4), Sample(22, 22.1, "job_missing", "100")], stall_budget=5)
    assert judged.detail == JOB_GONE


def test_a_job_that_was_cancelled_is_not_being_cancelled_any_more() -> None:
    pending = answer(21, 21.1, 0.5, status="CANCEL_PENDING")
    over = answer(22, 22.1, 0.5, status="CANCELLED")
    gone = Sample(23, 23.1, "job_missing", "100")
    for seen, status in (([pending, gone], "CANCEL_PENDING"), ([pending, over, gone], "CANCELLED")):
        judged = judge(EXPERIMENT, [*moving(0.4), *seen], stall_budget=5)
        assert (judged.verdict, judged.detail) == (Verdict.FAILED, f"the job is {status}")


def test_what_failed_did_not_stall() -> None:
    failed = judge(EXPERIMENT, [*moving(7.0), answer(21, 21.002, 0.9, status="FAILED")], stall_budget=5)
    assert (failed.verdict, failed.stall, failed.longest_stall) == (Verdict.FAILED, "unknown", None)
    assert failed.detail == "the job is FAILED"


@pytest.mark.parametrize(("share", "claim"), [(0.005, "refuted"), (0.9, "unknown")])
def test_another_process_may_show_that_progress_was_lost_but_not_that_it_was_kept(share: float, claim: str) -> None:
    other = [answer(21 + n / 10, 21.002 + n / 10, share + n / 1000, process="200") for n in range(5)]
    judgement = judge(EXPERIMENT, [*moving(0.4), *other], stall_budget=5, moved_at=9, arrived_at=20)
    assert (judgement.verdict, judgement.identity, judgement.progress) == (Verdict.RESTARTED, "refuted", claim)
    assert judgement.detail == "a different server process now answers in this VM"


def test_details_say_why_and_name_what_was_compared() -> None:
    limited = replace(EXPERIMENT, clock_progress=True)
    assert "progress may follow the wall clock" in judge(limited, moving(0.4), stall_budget=5).detail
    assert judge(EXPERIMENT, moving(0.4), stall_budget=5).detail == ""
    recorded = judge(RUN, records([0.5], (30.0, 0.0), hz=4, seconds=60), stall_budget=5)
    assert "other steps of up to" in recorded.detail
    silent = judge(EXPERIMENT, [Sample(0.0, 1.0, "silent")], stall_budget=5)
    assert "too few answers to measure a stall" in silent.detail


@pytest.mark.parametrize(
    ("verdict", "identity", "progress", "stops"),
    [
        (Verdict.UNINTERRUPTED, "unknown", "unknown", False),
        (Verdict.COMPLETED, "unknown", "unknown", False),
        (Verdict.UNKNOWN, "unknown", "unknown", True),
        (Verdict.UNKNOWN, "refuted", "unknown", True),
        (Verdict.UNKNOWN, "proven", "unknown", False),
        (Verdict.UNKNOWN, "unknown", "proven", False),
        (Verdict.STALLED, "proven", "proven", True),
        (Verdict.LOST, "proven", "proven", True),
        (Verdict.RESTARTED, "proven", "proven", True),
        (Verdict.FAILED, "proven", "proven", True),
    ],
)
def test_what_stops_a_run(verdict: Verdict, identity: str, progress: str, stops: bool) -> None:
    judgement = replace(SETTLED, verdict=verdict, identity=identity, progress=progress)
    assert must_stop_run(judgement) is stops


def test_a_later_stall_and_progress_are_added_to_a_settled_verdict() -> None:
    stalled = replace(SETTLED, verdict=Verdict.STALLED, longest_stall=Stall(8.0, 7.5, 8.5), progress_after=0.7)
    whole = after_its_move(replace(SETTLED, detail=""), stalled)
    assert (whole.verdict, whole.detail, whole.progress_after) == (
        Verdict.UNINTERRUPTED,
        "after its move, it stalled for 8.00 s",
        0.7,
    )
    unseen = replace(SETTLED, verdict=Verdict.UNKNOWN, longest_stall=None, progress_after=None)
    whole = after_its_move(replace(SETTLED, detail="", progress_after=0.4), unseen)
    assert (whole.detail, whole.progress_after) == ("", 0.4)
    assert after_its_move(replace(SETTLED, detail=""), replace(stalled, longest_stall=None)).detail == ""
    calm = replace(stalled, verdict=Verdict.UNINTERRUPTED)
    assert after_its_move(replace(SETTLED, detail=""), calm).detail == ""


@pytest.mark.parametrize(
    ("signal", "names", "verdict"),
    [
        ("answers", "4711@1", Verdict.UNKNOWN),
        ("answers", "", Verdict.RESTARTED),
        ("changes", "4711@1", Verdict.RESTARTED),
    ],
)
def test_a_batch_index_of_the_same_process_says_nothing_of_progress(signal: str, names: str, verdict: Verdict) -> None:
    known = Experiment("vm-1", "ml-1", "exec", "r", names, "", capabilities=Capabilities("process", signal))
    seen = [
        Sample(t / 10, t / 10 + 0.002, "answered", names, "RUNNING", progress=(t % 40) / 100, step=float(t % 40))
        for t in range(200)
    ]
    judged = judge(known, seen, stall_budget=5.0, moved_at=3.0, arrived_at=5.0)
    assert judged.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert (judged.identity, judged.progress, must_stop_run(judged)) == ("proven", "unknown", False)


def counted(still: float, *, evaluates: bool = False, frozen: bool = False) -> Judgement:
    """An exporter that does 10 steps per second; ``still`` seconds without one, in which it answers if it is not ``frozen``."""
    pauses = [(10.0, still)] + ([(4.0, 4.5)] if evaluates else [])

    def step(at: float) -> float:
        return (at - sum(min(max(0.0, at - begin), length) for begin, length in pauses)) * 10 // 1

    times = [n / 10 for n in range(400) if not (frozen and 10.0 < n / 10 < 10.0 + still)]
    samples = [answer(at, at + 0.002, 0.1, step=step(at)) for at in times]
    if frozen:
        after = next(i for i, at in enumerate(times) if at >= 10.0 + still)
        samples[after] = replace(samples[after], sent=10.05)
    return judge(EXPORTER, samples, stall_budget=5.0, moved_at=9.0, measured_from=9.0)


def test_a_server_that_answers_while_no_step_is_done_is_named() -> None:
    """Nothing shows whether it hung, so that the verdict is the same; but the report says what was seen."""
    hung = counted(8.0)
    assert hung.verdict is Verdict.UNINTERRUPTED
    assert "it did no step for 8.0 s: a checkpoint, an evaluation, or it hung" in hung.detail
    assert "no step" not in counted(4.0).detail, "within the budget"
    assert "no step" not in counted(8.0, evaluates=True).detail, "it does that now and then"
    assert "no step" not in counted(8.0, frozen=True).detail, "the server did not answer"


def test_a_time_in_which_the_server_did_not_answer_is_not_one_in_which_it_did() -> None:
    """Of 10 s without a step, it did not answer for 4 s."""
    times = [n / 10 for n in range(300) if not 15 <= n / 10 < 19]
    samples = [answer(at, at + 0.002, 0.1, step=min(at, 12.0) + max(0.0, at - 22.0)) for at in times]
    late = next(i for i, sample in enumerate(samples) if sample.sent >= 19)
    samples[late] = replace(samples[late], sent=15.0)
    assert steps_stood_still(samples, [], 9.0) == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("hides", [False, True])
def test_a_record_that_hides_its_steps_shows_no_stall_at_its_end(hides: bool) -> None:
    """Its highest step is the same for 30 s. It may have started again from scratch, or log the batches of its next epoch."""
    samples = [answer(n / 5, n / 5 + 0.01, None, detail="", step=float(min(n // 5, 20))) for n in range(250)]
    samples = [replace(s, hides_steps=hides and s.sent > 25) for s in samples]
    judgement = judge(BY_CHANGES, samples, stall_budget=5, moved_at=10)
    assert judgement.verdict is (Verdict.UNKNOWN if hides else Verdict.STALLED)
    assert judgement.longest_stall is not None
    assert (judgement.longest_stall.low == 0) == hides
