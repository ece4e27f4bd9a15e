# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``train`` part of the topology file: what an H2O-3 server trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lab.errors import LabError
from lab.fields import POSITIVE, TEXT, is_number, one_of

ALGORITHMS = ("gbm", "drf", "xgboost", "glm", "deeplearning", "automl")
WITH_TREES = ("gbm", "drf", "xgboost")
SEED = 2013
RESPONSES = {"xgboost": "late"}  # XGBoost fails if the response is missing in some rows
RESPONSE = "arr_delay"
# Columns that are known only after departure would reveal the delay; tail numbers have too many levels to be useful.
IGNORED = ("year", "tailnum", "time_hour", "dep_time", "dep_delay", "arr_time", "air_time")
# Without min_split_improvement 0 and row sampling a GBM ends early ("cannot be further improved").
USUAL: Mapping[str, Mapping[str, Any]] = {
    "gbm": {"max_depth": 8, "learn_rate": 0.02, "sample_rate": 0.8, "col_sample_rate": 0.8, "min_split_improvement": 0},
    "drf": {"max_depth": 12, "min_split_improvement": 0},
    "xgboost": {"max_depth": 8, "learn_rate": 0.02, "sample_rate": 0.8},
}


@dataclass(frozen=True)
class Training:
    """One training job. ``seconds`` is its target duration on this machine, reached by the number of trees."""

    algorithm: str
    seconds: float | None
    parameters: Mapping[str, Any]


def read_trainings(place: str, value: Any) -> tuple[Training, ...]:
    """Read the ``train`` part: a mapping or a list of mappings; keys other than ours are H2O's parameters."""
    items = [value] if isinstance(value, dict) else value
    return tuple(read_training(f"{place}: train[{index}]", item) for index, item in enumerate(items))


def read_training(place: str, value: Any) -> Training:
    """Read one training.

    Raises:
        LabError: the algorithm is missing or unknown, or ``seconds`` is not possible with it.
    """
    if not isinstance(value, dict) or not all(TEXT.check(key) for key in value):
        raise LabError(f"topology: {place} must be a mapping")
    rest = dict(value)
    algorithm, seconds = rest.pop("algorithm", None), rest.pop("seconds", None)
    if not one_of(*ALGORITHMS).check(algorithm):
        raise LabError(f"topology: {place}.algorithm must be one of {', '.join(ALGORITHMS)}, not {algorithm!r}")
    if seconds is not None:
        check_seconds(place, algorithm, seconds, rest)
    response = rest.pop("response_column", RESPONSES.get(algorithm, RESPONSE))
    other = [name for name in ("arr_delay", "late") if name != response]
    base = {
        "response_column": response,
        "ignored_columns": [*IGNORED, *other],
        "seed": SEED,
        **USUAL.get(algorithm, {}),
    }
    return Training(algorithm, seconds, MappingProxyType({**base, **rest}))


def check_seconds(place: str, algorithm: str, seconds: Any, rest: Mapping[str, Any]) -> None:
    """Fail if ``seconds`` is wrong, or not possible with the algorithm."""
    if not is_number(seconds) or not POSITIVE.check(seconds):
        raise LabError(f"topology: {place}.seconds must be a number above 0, not {seconds!r}")
    if algorithm not in WITH_TREES:
        raise LabError(
            f"topology: {place}.seconds works with {', '.join(WITH_TREES)} only; limit {algorithm} by its own parameters"
        )
    if "ntrees" in rest:
        raise LabError(f"topology: {place} has both seconds and ntrees; set one of them")
