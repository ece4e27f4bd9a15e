# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run still takes: bounds that hold for any moves, and exact where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display.estimate import (
    MIN_SHARE,
    MoveProgress,
    duration_text,
    seconds_left,
    share_done,
)
from hypothesis import assume, given
from hypothesis import strategies as st

LEGS = st.lists(
    st.builds(MoveProgress, predicted=st.floats(0.1, 1e4), share=st.integers(0, 100).map(lambda n: n / 100)), min_size=1
)
SECONDS = st.floats(0.1, 1e5)


@given(LEGS, SECONDS)
def test_what_is_left_is_never_shorter_than_the_longest_rest(legs: list[MoveProgress], elapsed: float) -> None:
    left = seconds_left(legs, elapsed)
    assert 0 <= share_done(legs) <= 1 + 1e-9
    if left is None:
        assert share_done(legs) < MIN_SHARE
    else:
        assert left >= max(leg.rest for leg in legs)


@given(LEGS, SECONDS, st.floats(0.1, 1e4))
def test_one_more_move_never_makes_it_shorter(legs: list[MoveProgress], elapsed: float, predicted: float) -> None:
    before, after = seconds_left(legs, elapsed), seconds_left([*legs, MoveProgress(predicted)], elapsed)
    assume(before is not None and after is not None)
    assert after >= before - 1e-9


@given(LEGS, SECONDS)
def test_progress_never_makes_it_longer(legs: list[MoveProgress], elapsed: float) -> None:
    before = seconds_left(legs, elapsed)
    after = seconds_left([replace(legs[0], share=min(1.0, legs[0].share + 0.2)), *legs[1:]], elapsed)
    assume(before is not None and after is not None)
    assert after <= before + 1e-9 * max(1.0, before)


@given(LEGS, SECONDS)
def test_nothing_is_left_when_all_is_done(legs: list[MoveProgress], elapsed: float) -> None:
    done = [replace(leg, share=1.0) for leg in legs]
    assert seconds_left(done, elapsed) == 0
    assert share_done(done) == pytest.approx(1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_moves_that_share_a_link_end_when_the_work_is_done(share: float) -> None:
    """Eight of 10 s each on one link: together they take 80 s, however far they are."""
    assert seconds_left([MoveProgress(10.0, share)] * 8, 80 * share) == pytest.approx(80 * (1 - share))


def test_a_move_alone_is_scaled_by_what_was_measured() -> None:
    assert seconds_left([MoveProgress(10.0, 0.5)], 15) == pytest.approx(15), (
        "half of it took 15 s, so does the other half"
    )
    assert seconds_left([MoveProgress(10.0, 0.5)], 1) == pytest.approx(5), (
        "but no move is faster than alone on the link"
    )


def test_no_time_is_told_before_something_was_measured() -> None:
    assert seconds_left([MoveProgress(10.0)] * 3, 5) is None
    assert seconds_left([MoveProgress(10.0, 0.5)], 0) is None
    assert seconds_left([], 5) == 0


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (24.4, "24 s"), (300, "5 min"), (7200, "2.0 h")])
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
