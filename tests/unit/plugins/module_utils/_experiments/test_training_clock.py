# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The largest gap by the training's clock, even if a recorder kept only some points."""

from __future__ import annotations

import random

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.training_clock import largest_gap
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(0.01, 2), st.integers(10, 200), st.floats(5, 60), st.data())
def test_a_pause_is_found_also_among_thinned_points(pace: float, steps: int, pause: float, data: st.DataObject) -> None:
    paused = data.draw(st.integers(1, steps - 2))
    points = [(pace * step + (pause if step > paused else 0), float(step)) for step in range(steps)]
    kept = [point for point in points if point[1] in (0, steps - 1) or data.draw(st.booleans())]
    shuffled = random.Random(7).sample(kept, len(kept))
    gap = largest_gap(shuffled)
    if gap is None:
        assert len(kept) < 3
        return
    assert gap.after_step <= paused < gap.after_step + gap.steps
    assert abs(gap.seconds - pause - pace * gap.steps) < 0.01
    assert gap.clock == "guest"


def test_a_pace_takes_more_than_one_gap() -> None:
    assert largest_gap([]) is None
    assert largest_gap([(1.0, 1.0), (2.0, 2.0)]) is None
    assert largest_gap([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]) is None, "no step was done"
