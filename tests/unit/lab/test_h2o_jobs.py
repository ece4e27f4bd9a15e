# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many trees a duration takes, when a training has begun, and how the requests look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.h2o_jobs import automl_document, has_begun, trees_per_second, with_result_name


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
    assert with_result_name("gbm", 2, {"response_column": "late"})["model_id"] == "gbm_late_2"
    assert with_result_name("gbm", 2, {"response_column": "late", "model_id": "mine"})["model_id"] == "mine"
    assert with_result_name("automl", 1, {"response_column": "late"})["project_name"] == "automl_late_1"


def test_automl_document_nests_the_parameters() -> None:
    document = automl_document({"max_models": 3, "seed": 1, "response_column": "late", "exclude_algos": ["GLM"]})
    assert document["build_control"]["stopping_criteria"] == {"max_models": 3, "seed": 1}
    assert document["input_spec"] == {"response_column": "late", "training_frame": "flights"}
    assert document["build_models"] == {"exclude_algos": ["GLM"]}


def test_automl_fails_on_parameters_that_it_would_drop() -> None:
    with pytest.raises(LabError, match="unknown parameter 'max_depth' of automl"):
        automl_document({"max_depth": 3})
