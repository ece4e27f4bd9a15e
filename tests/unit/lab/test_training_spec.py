# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``train`` part of the topology file: fixed seeds, no predictor that reveals the response, clear errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab.errors import LabError
from lab.training_spec import ALGORITHMS, SEED, read_trainings


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_fixed_seed_and_no_clock(algorithm: str) -> None:
    (training,) = read_trainings("x", {"algorithm": algorithm})
    assert training.parameters["seed"] == SEED
    assert "max_runtime_secs" not in training.parameters
    assert training.seconds is None


def test_parameters_pass_through_and_win() -> None:
    first, second = read_trainings("x", [{"algorithm": "gbm", "max_depth": 3, "seconds": 9}, {"algorithm": "glm"}])
    assert (first.seconds, first.parameters["max_depth"], first.parameters["learn_rate"]) == (9, 3, 0.02)
    assert second.parameters["response_column"] == "arr_delay"


def test_the_other_response_is_never_a_predictor() -> None:
    for response, other in (("late", "arr_delay"), ("arr_delay", "late")):
        (training,) = read_trainings("x", {"algorithm": "gbm", "response_column": response})
        assert other in training.parameters["ignored_columns"]
        assert response not in training.parameters["ignored_columns"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "x: train[0].algorithm must be one of gbm, drf"),
        ({"algorithm": "svm"}, "must be one of gbm, drf, xgboost, glm, deeplearning, automl, not 'svm'"),
        ({"algorithm": "glm", "seconds": 3}, "seconds works with gbm, drf, xgboost"),
        ({"algorithm": "gbm", "seconds": -3}, "seconds must be a number above 0"),
        ({"algorithm": "gbm", "seconds": 3, "ntrees": 5}, "has both seconds and ntrees"),
        (["gbm"], "train[0] must be a mapping"),
    ],
)
def test_mistakes_are_named(value: Any, message: str) -> None:
    with pytest.raises(LabError, match=re.escape(message)):
        read_trainings("x", value)
