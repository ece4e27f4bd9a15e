# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput: its interval contains the true rate about as often as it claims, and few samples give no result."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.throughput import (
    Throughput,
    cost,
    joined,
    slowdown,
    throughput,
)
from hypothesis import given
from hypothesis import strategies as st


def trained(
    seed: int, *, step: float = 0.1, spread: float = 0.3, seconds: float = 60, slow: float = 1.0
) -> list[Sample]:
    """Samples of a training at 5 Hz: steps of random length, ``slow`` times longer in the second half."""
    chance, now, done = random.Random(seed), 0.0, []
    while now < seconds:
        now += chance.uniform(1 - spread, 1 + spread) * step * (slow if now > seconds / 2 else 1)
        done.append(now)
    samples = []
    for n in range(int(seconds * 5)):
        at = n / 5
        samples.append(Sample(at, at + 0.002, "answered", "1", "RUNNING", step=float(sum(d <= at for d in done))))
    return samples


def test_the_interval_holds_the_true_rate_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        found = throughput(trained(seed), 0, 60)
        assert found is not None and found.half_width is not None
        held += abs(found.rate - 10) <= found.half_width
        assert found.half_width < 0.5
    assert held >= 88


def test_a_repeated_answer_counts_at_the_time_of_the_first_one() -> None:
    samples = [s for s in trained(3) if s.sent < 40]
    again = [
        each for s in samples for each in (s, replace(s, sent=s.sent + 0.1, received=s.received + 0.1, asked=s.sent))
    ]
    assert throughput(again, 0, 40) == throughput(samples, 0, 40)
    assert throughput(again[1:], 0, 40) == throughput(samples, 0, 40)


def test_a_slower_half_is_reported_and_an_equal_one_is_not() -> None:
    samples = trained(1, slow=1.25)
    slower = slowdown(throughput(samples, 0, 30), throughput(samples, 30, 60))
    assert slower is not None
    assert slower[1] < 0.8 < slower[2]
    assert slower[2] < 1
    same = trained(2)
    equal = slowdown(throughput(same, 0, 30), throughput(same, 30, 60))
    assert equal is not None
    assert equal[1] < 1 < equal[2]


@given(st.integers(0, 1), st.floats(0, 1))
def test_too_few_samples_give_no_throughput(count: int, progress: float) -> None:
    samples = [Sample(float(n), n + 0.1, "answered", "1", "RUNNING", progress) for n in range(count)]
    assert throughput(samples, 0, 100) is None
    assert slowdown(None, None) is None


def test_steps_that_repeat_give_no_throughput() -> None:
    """A batch index: 10 steps per second, but 4 in 40 s by its ends."""
    samples = [replace(s, step=(s.step or 0.0) % 50) for s in trained(1, seconds=40)]
    assert throughput(samples, 0, 40) is None
    assert throughput(samples, 0, 4) is not None


def test_few_changes_give_a_rate_without_an_interval() -> None:
    samples = [Sample(n / 5, n / 5, "answered", "1", "RUNNING", progress=n // 20 / 100) for n in range(100)]
    found = throughput(samples, 0, 100)
    assert found is not None
    assert (found.unit, found.half_width) == ("percent", None)
    assert slowdown(found, found) is None


def test_windows_are_joined_by_their_lengths() -> None:
    long, short = Throughput(30.0, 10.0, 1.0, "steps"), Throughput(10.0, 2.0, None, "steps")
    assert joined([long, None, short]) == Throughput(40.0, 8.0, None, "steps")
    assert joined([long, long]) == Throughput(60.0, 10.0, pytest.approx(0.5**0.5), "steps")
    assert joined([None]) is None


def test_the_cost_of_a_move_is_the_work_that_is_missing_from_its_time() -> None:
    before = Throughput(20, 10.0, 0.2, "steps")
    during = Throughput(8, 7.5, 0.3, "steps")  # stalls and slowdown together
    found = cost(before, during)
    assert found is not None
    lost, low, high = found
    assert lost == pytest.approx(8 * 0.25)
    assert low < lost < high
    assert cost(before, None) is None
    assert cost(replace(before, half_width=None), during) is None
