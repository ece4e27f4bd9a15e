# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is trained, how many trees that takes, and how the requests look."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.h2o import form_value
from lab.h2o_jobs import automl_document, has_begun, named, trees_per_second
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


@given(rate=st.floats(0.5, 500), slow=st.floats(0.1, 0.9))
def test_rate_leaves_out_the_warm_up(rate: float, slow: float) -> None:
    """The first half runs at a fraction of the rate; only the second counts."""
    times = [index / 10 for index in range(1, 51)]
    trees = [rate * slow * t if t < 2.5 else rate * slow * 2.5 + rate * (t - 2.5) for t in times]
    assert trees_per_second(list(zip(times, trees, strict=True))) == pytest.approx(rate, rel=1e-6)


def test_no_tree_is_an_error() -> None:
    with pytest.raises(LabError, match="too slow"):
        trees_per_second([(1.0, 0.0), (4.0, 0.0), (5.0, 0.0)])


@pytest.mark.parametrize(
    ("status", "progress", "message", "begun"),
    [
        ("RUNNING", 0.0, "Scoring the model.", False),
        ("RUNNING", 0.001, "Built 1 trees", True),
        ("RUNNING", 0.0, "iter=3 lmb=.1", True),
        ("RUNNING", 0.0, None, False),
        ("DONE", 0.0, "Done.", True),
    ],
)
def test_has_begun(status: str, progress: float, message: str | None, begun: bool) -> None:
    assert has_begun({"status": status, "progress": progress, "progress_msg": message}) is begun


def test_results_are_named_once() -> None:
    assert named("gbm", 2, {"response_column": "late"})["model_id"] == "gbm_late_2"
    assert named("gbm", 2, {"response_column": "late", "model_id": "mine"})["model_id"] == "mine"
    assert named("automl", 1, {"response_column": "late"})["project_name"] == "automl_late_1"


def test_automl_document_nests_the_parameters() -> None:
    document = automl_document({"max_models": 3, "seed": 1, "response_column": "late", "exclude_algos": ["GLM"]})
    assert document["build_control"]["stopping_criteria"] == {"max_models": 3, "seed": 1}
    assert document["input_spec"] == {"response_column": "late", "training_frame": "flights"}
    assert document["build_models"] == {"exclude_algos": ["GLM"]}


def test_automl_refuses_what_it_would_drop() -> None:
    with pytest.raises(LabError, match="no parameter 'max_depth'"):
        automl_document({"max_depth": 3})


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (True, "true"), (["a", "b"], '["a", "b"]'), (0.5, "0.5")])
def test_form_values(value: Any, text: str) -> None:
    assert form_value(value) == text
