# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No verdict is better than the truth of a generated world; ``make worlds`` tries 100,000 of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import judged, lies, lies_at_the_end, made, tried

SAMPLE = 800


def test_no_verdict_is_better_than_the_truth() -> None:
    verdicts, wrong = tried(range(SAMPLE))
    assert wrong == []
    for kind in ("h2o", "exporter", "mlflow", "tensorboard"):
        least = 0 if kind == "tensorboard" else 2  # a record that is shown late proves little
        assert verdicts[f"{kind} uninterrupted"] > least, "modesty alone proves nothing"
        assert verdicts[f"{kind} {'lost' if kind == 'h2o' else 'restarted'}"] > 2


@pytest.mark.parametrize("seed", [1218])
def test_worlds_that_a_verdict_was_once_wrong_about(seed: int) -> None:
    """1218: MLflow shows only the last step of each epoch, and a process that nothing names starts again between two of them."""
    assert tried(range(seed, seed + 1))[1] == []


@given(st.integers(10**6, 10**12))
def test_no_verdict_is_better_than_the_truth_of_any_world(seed: int) -> None:
    world = made(seed)
    judgement, final = judged(world)
    assert lies(world, judgement) == []
    assert lies_at_the_end(world, judgement, final) == []
