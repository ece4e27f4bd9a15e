# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a record of steps says of a new start, in generated records."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.record import (
    RESTART_SECONDS,
    hide_progress,
    longest_pause,
    repeats,
    restart_in,
    returns,
)
from hypothesis import given
from hypothesis import strategies as st

Points = list[tuple[float, float]]
COUNTS = st.integers(5, 60)
PACES = st.floats(0.01, 5)


def record(count: int, pace: float, *, start: float = 0.0, first: int = 0) -> Points:
    return [(start + pace * number, float(first + number)) for number in range(count)]


def says(points: Points, since: float = -1.0) -> str:
    return restart_in(returns(points), since)


@given(COUNTS, PACES, st.integers(1, 5))
def test_steps_that_go_on_and_steps_that_are_logged_several_times_are_no_new_start(
    count: int, pace: float, times: int
) -> None:
    points = [(at + pace * part / times, step) for at, step in record(count, pace) for part in range(times)]
    assert returns(points) == []


@given(COUNTS, PACES, st.integers(2, 5), st.floats(RESTART_SECONDS * 1.01, 60))
def test_steps_that_were_over_and_go_on_from_there_are_a_new_start(
    count: int, pace: float, lost: int, pause: float
) -> None:
    before = record(count, pace)
    after = record(count, pace, start=before[-1][0] + pace + pause, first=count - lost)
    (found,) = returns([*before, *after])
    assert (found.top, found.step) == (count - 1, count - lost)
    assert f"from step {count - 1} back to step {count - lost}" in says([*before, *after])
    assert says([*before, *after], since=after[0][0]) == "", "what was before the watch does not count"
    assert says([*before, after[0]]) == "", "one point may be late"


@given(COUNTS, PACES, st.integers(1, 4), st.floats(0.0, 1.0))
def test_one_late_point_is_no_new_start(count: int, pace: float, behind: int, late: float) -> None:
    points = record(count + 1, pace)
    points.append((points[-2][0] + late * pace, float(count - 1 - behind)))
    assert says(points) == ""


@given(st.integers(3, 40), st.integers(2, 5), PACES, st.floats(0, 30))
def test_a_batch_index_repeats_and_is_no_new_start(batches: int, epochs: int, pace: float, evaluation: float) -> None:
    points: Points = []
    for _epoch in range(epochs):
        points += record(batches, pace, start=points[-1][0] + pace + evaluation if points else 0.0)
    found = returns(points)
    assert len(found) == epochs - 1
    if epochs > 2 or evaluation < RESTART_SECONDS * 0.99:
        assert repeats(found)
        assert says(points) == ""


@given(st.lists(st.integers(3, 60), min_size=3, max_size=6), PACES, st.floats(0.6, 30))
def test_epochs_and_parts_of_differing_length_repeat(lengths: list[int], pace: float, pause: float) -> None:
    points: Points = []
    for length in lengths:
        points += record(length, pace, start=points[-1][0] + pace + pause if points else 0.0)
    found = returns(points)
    if len(found) > 1:
        assert repeats(found)
        assert says(points) == ""


def test_an_evaluation_may_log_its_batches_by_the_name_of_the_training() -> None:
    points: Points = []
    for block in range(4):
        start = points[-1][0] + 3.0 if points else 0.0
        points += [(start + i * 0.2, float(block * 100 + i)) for i in range(100)]
        points += [(points[-1][0] + 2.0 + i * 0.2, float(i)) for i in range(20)]
    assert says(points) == ""


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50).map(float)), max_size=40))
def test_any_points_are_a_record(points: Points) -> None:
    for each in returns(points):
        assert each.step < each.top
        assert each.at <= 100


@given(COUNTS, st.integers(1, 3), st.floats(0.5, 20), st.lists(st.floats(0.1, 2.0), min_size=1, max_size=7))
def test_a_clock_that_is_set_back_mixes_steps_and_is_no_new_start(
    count: int, times: int, back: float, durations: list[float]
) -> None:
    points, now = [], 0.0
    for step in range(2 * count):
        now += durations[step % len(durations)]
        points += [(now + part / 100 - (back if step >= count else 0.0), float(step)) for part in range(times)]
    assert says(points) == ""


@pytest.mark.parametrize(
    ("points", "seconds"),
    [
        ([], 0.0),
        ([(0.0, 1.0)], 0.0),
        ([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)], 0.0),
        ([(0.0, 0.0), (1.0, 1.0), (3.5, 2.0)], 1.5),
        ([(0.0, 0.0), (1.0, 1.0), (3.5, 3.0)], 1.5),
        ([(0.0, 0.0), (0.25, 0.0), (1.25, 0.0)], 0.75),
        ([(0.0, 5.0), (1.0, 6.0), (3.0, 2.0)], 1.0),
    ],
)
def test_the_longest_pause_is_what_steps_do_not_explain(points: Points, seconds: float) -> None:
    assert longest_pause(points) == seconds


def test_two_ranks_that_log_the_same_steps_are_no_new_start() -> None:
    first, second = record(30, 1.0), record(30, 1.0, start=1.4)  # the second is one step and a bit behind
    assert says([*first, *second]) == ""


@given(st.integers(2, 8), st.floats(0.1, 3), PACES, st.integers(0, 100))
def test_ranks_that_log_the_same_steps_do_not_hide_how_far_the_training_is(
    ranks: int, behind: float, pace: float, cut: int
) -> None:
    points = sorted(p for rank in range(ranks) for p in record(200, pace, start=rank * (behind + 0.02) * pace))[cut:]
    assert not hide_progress(returns(points), points)


@given(st.integers(5, 40), st.integers(2, 5), PACES, st.floats(0, 0.4))
def test_a_batch_index_hides_how_far_the_training_is(batches: int, epochs: int, pace: float, evaluation: float) -> None:
    points: Points = []
    for _epoch in range(epochs):
        points += record(batches, pace, start=points[-1][0] + pace + evaluation if points else 0.0)
    assert hide_progress(returns(points), points)
    assert not hide_progress([], [])


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("skipped", [0, 1, 5, 13, 300])
def test_steps_that_a_new_process_skips_do_not_explain_the_pause(every: int, skipped: int) -> None:
    pace, dead = 0.3 * every, 4.0 * every
    points = [(i * pace, float(i * every)) for i in range(40)]
    points += [(dead + i * pace, float(i * every + skipped * every)) for i in range(40, 80)]
    assert longest_pause(points) >= RESTART_SECONDS
    back = [(at - dead * (step > 39 * every), step) for at, step in points]  # somebody sets the clock back by as much
    assert skipped <= 1 or longest_pause(back) >= RESTART_SECONDS


@given(st.integers(30, 200), PACES, st.integers(2, 9))
def test_a_recorder_that_keeps_only_some_points_shows_no_pause(count: int, pace: float, largest: int) -> None:
    points, step = [], 0
    for number in range(count):
        step += 1 + number * 7 % largest
        points.append((step * pace, float(step)))
    assert longest_pause(points) < 1e-6
