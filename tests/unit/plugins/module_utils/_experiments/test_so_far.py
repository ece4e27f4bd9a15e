# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was seen of an experiment so far: an upper bound that never contradicts the stall that is measured at the end."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Experiment, Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import shifted
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.so_far import Seen, SoFar
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import longest_stall
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.samples import answer, poll

ANSWERS, CHANGES = Capabilities("process", "answers"), Capabilities("run", "changes", freshness=2.0)


def experiment(capabilities: Capabilities = ANSWERS) -> Experiment:
    return Experiment("vm-4", "ml-4", "h2o3", "job", "100", "http://x", progress=0.1, capabilities=capabilities)


def seen(samples: list[Sample], now: float, capabilities: Capabilities = ANSWERS, *, watched: bool = True) -> Seen:
    so_far = SoFar(experiment(capabilities))
    for sample in samples:
        so_far.add(sample)
    return so_far.seen(now, watched=watched)


def silent(sent: float, received: float) -> Sample:
    return Sample(sent, received, "silent")


def test_nothing_is_known_before_the_first_answer() -> None:
    nothing = seen([], 5.0)
    assert (nothing.at_most, nothing.silent, nothing.outcome, nothing.progress) == (None, None, "", 0.1)
    waiting = seen([silent(1.0, 4.0)], 5.0)
    assert (waiting.at_most, waiting.silent, waiting.outcome) == (None, None, "silent")
    heard = seen([silent(1.0, 4.0), answer(4.0, 4.5, 0.2)], 4.6)
    assert heard.at_most == 3.5, "a stall may have been there before the first answer"
    assert (heard.progress, heard.outcome) == (0.2, "answered")
    assert heard.silent == pytest.approx(0.1)


def test_a_silence_that_lasts_grows_until_somebody_answers() -> None:
    samples = [answer(0.0, 0.1), answer(1.0, 1.1), silent(2.0, 7.0)]
    assert [seen(samples, now).at_most for now in (7.0, 9.0)] == [6.0, 8.0]
    assert seen(samples, 9.0).silent == pytest.approx(7.9)
    assert seen([*samples, answer(9.0, 9.1)], 20.0).at_most == 11.0, "and the next silence after it"
    assert seen([*samples, answer(9.0, 9.1)], 9.2).at_most == pytest.approx(8.1)


def test_the_time_when_nobody_watched_is_no_stall() -> None:
    so_far = SoFar(experiment())
    for sample in (answer(0.0, 0.1), answer(0.2, 0.3)):
        so_far.add(sample)
    so_far.pause()
    paused = so_far.seen(500.0, watched=True)
    assert (paused.at_most, paused.silent) == (pytest.approx(0.3), None)
    so_far.add(answer(3.0, 3.2))  # by another process, with another clock
    assert so_far.seen(3.3, watched=True).at_most == pytest.approx(0.3)


def test_a_silence_at_the_end_of_a_watch_may_be_a_stall() -> None:
    """Its process was killed while nobody answered."""
    so_far = SoFar(experiment())
    for sample in (answer(0.0, 0.1), silent(0.2, 9.0)):
        so_far.add(sample)
    so_far.pause()
    so_far.pause()
    so_far.add(answer(3.0, 3.2))
    assert so_far.seen(3.3, watched=True).at_most == 9.0


def test_after_the_end_of_a_job_and_of_the_watch_silence_is_none() -> None:
    samples = [answer(0.0, 0.1), answer(1.0, 1.1, 1.0, status="DONE")]
    ended = seen(samples, 60.0)
    assert (ended.over, ended.at_most) == (True, pytest.approx(1.1))
    later = [*samples, silent(2.0, 30.0), answer(31.0, 31.1, 1.0, status="DONE")]
    assert seen(later, 60.0).at_most == pytest.approx(1.1)
    again = seen([*samples, answer(50.0, 50.1, 0.0)], 50.2)
    assert (again.over, again.at_most) == (False, pytest.approx(1.1))
    full = seen(samples[:1], 60.0, watched=False)
    assert (full.watched, full.at_most) == (False, pytest.approx(0.1))


def test_an_unknown_job_is_an_answer_of_a_server_and_no_change_of_a_record() -> None:
    samples = [answer(0.0, 0.1), Sample(1.0, 1.1, "job_missing"), answer(2.0, 2.1)]
    assert seen(samples, 2.1).at_most == pytest.approx(1.1)
    assert seen(samples, 2.1, CHANGES).at_most == pytest.approx(4.1), "2.1 s without a change, and 2 s of delay"


def test_by_changes_each_step_is_a_gap() -> None:
    steps = [answer(float(t), t + 0.1, progress) for t, progress in ((0, 0.1), (1, 0.1), (2, 0.2), (3, 0.2), (9, 0.3))]
    assert seen(steps, 9.1, CHANGES).at_most == pytest.approx(9.1 - 1.0 + 2.0)
    assert seen(steps[:2], 30.0, CHANGES).at_most == pytest.approx(32.0), "no change was seen yet"


FREEZES = st.lists(st.tuples(st.floats(0, 15), st.floats(0.05, 6)), max_size=3)


@given(FREEZES, st.sampled_from([ANSWERS, CHANGES]), st.integers(0, 100), st.integers(0, 100))
def test_no_stall_that_is_measured_is_longer(
    freezes: list[tuple[float, float]], capabilities: Capabilities, lost: int, cut: int
) -> None:
    samples = poll(freezes, hz=5.0, latencies=[0.01, 0.05], seconds=20.0)
    samples = [silent(s.sent, s.received) if lost <= n % 101 <= lost + 2 else s for n, s in enumerate(samples)]
    first, second = samples[:cut], [shifted(s, 30.0) for s in samples[cut:]]
    samples = [*first, *second]
    unwatched = [(first[-1].received, second[0].sent)] if first and second else []
    finding = longest_stall(samples, unwatched, capabilities=capabilities)
    so_far = SoFar(experiment(capabilities))
    for n, sample in enumerate(samples):
        if n == cut:
            so_far.pause()
        so_far.add(sample)
    found = so_far.seen(samples[-1].received, watched=True)
    if finding is not None:
        assert found.at_most is not None
        assert found.at_most >= finding.stall.high - 1e-9
