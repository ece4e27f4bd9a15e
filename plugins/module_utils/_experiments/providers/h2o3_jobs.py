# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of an H2O-3 server: which ones are experiments, and which ones only serve another job. Pure.

A job over many models is the experiment: the end of one of its models is not its end. Measured with 3.46: an AutoML and
segment models start one job for each model, a grid search has one job for all. Some algorithms (RuleFit, Infogram, ...)
are one model that trains others.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from ..._core.untrusted import exact, items, mapping, number, text
from .probe import Answer

MODEL, AUTOML, GRID, SEGMENTS = "Key<Model>", "Key<AutoML>", "Key<Grid>", "Key<SegmentModels>"
TRAINING = (MODEL, AUTOML, GRID, SEGMENTS)
# Their progress is the elapsed share of a time limit, if they have one; their answers do not say whether.
CLOCKS = (AUTOML, GRID)
# Without a limit, a grid of which H2O-3 does not know how much work it is shows shares of 2^63 (measured: 1e-19 to 3e-17). A time limit
# that shows so little after a second would be one of centuries.
OF_NO_LIMIT = 1e-10
HELPERS = ("Quantiles",)  # descriptions of short jobs that a training starts; they also make a model
# Algorithms that train other models, and the algorithms of those that the server names itself. RuleFit can also
# use GBM; then its models are shown, because nothing distinguishes them from a GBM of somebody else.
COMPOSED = {
    "rulefit": ("DRF", "GLM"),
    "infogram": ("GBM", "DRF", "GLM", "XGBoost", "DeepLearning"),
    "modelselection": ("GLM",),
    "adaboost": (),
    "anovaglm": ("GLM",),
    "gam": ("GLM",),
    "stackedensemble": (),
}
MADE_BY_SERVER = re.compile(r"([A-Za-z0-9]+)_model_\d+_\d+")  # of a model without a name of its own
# The time of an AutoML is in the names of its models. What follows it is that of a grid, of a selection or of folds.
MADE_BY_AUTOML = re.compile(
    r"(?:metalearner_[A-Za-z]+_)?(?:GBM|DRF|XRT|XGBoost|GLM|DeepLearning|StackedEnsemble)(?:_[A-Za-z0-9]+)*"
    r"_AutoML_\d+(?:_\d{8}_\d{6})?(?:_(?:model|select|selection|grid|cv|lr|annealing|search|\d+))*"
)
# What the server calls an AutoML whose user gave it no name; its models have the same in their names.
OF_AUTOML = re.compile(r"AutoML_\d+_\d{8}_\d+")
NUMBERED = re.compile(r"(?:(?:glm|gam|gbm|drf|dt|model|tree|cv)_?)*\d+", re.IGNORECASE)

Job = Mapping[str, Any]


def jobs_in(answer: Answer) -> list[Job]:
    """The jobs in the answer to ``GET /3/Jobs`` or ``GET /3/Jobs/{key}``."""
    return [mapping(job) for job in items(mapping(answer.body).get("jobs"))]


def key_of(job: Job) -> str:
    """The key of a job; empty if it has none."""
    return exact(mapping(job.get("key")).get("name"))


def kind_of(job: Job) -> str:
    """What a job makes: the type of its destination."""
    return text(mapping(job.get("dest")).get("type"))


def name_of(job: Job) -> str:
    """The name of what a job makes."""
    return exact(mapping(job.get("dest")).get("name"))


def is_clock(job: Job) -> bool:
    """Whether the progress of a job may follow the clock, by what the job shows."""
    done = number(job.get("progress")) or 0.0
    return kind_of(job) in CLOCKS and not (kind_of(job) == GRID and 0 < done < OF_NO_LIMIT)


def is_running(job: Job) -> bool:
    """Whether a job runs."""
    return job.get("status") == "RUNNING"


def trainings(answer: Answer, own: Container[str] = ()) -> list[Job]:
    """The running jobs in ``GET /3/Jobs`` that are experiments of their own; those with the keys ``own`` serve no other job."""
    running = [job for job in jobs_in(answer) if is_running(job)]
    parents = [job for job in running if trains_others(job)]
    return [
        job
        for job in running
        if kind_of(job) in TRAINING
        and key_of(job)
        and job.get("description") not in HELPERS
        and (key_of(job) in own or not any(serves(job, parent) for parent in parents))
    ]


def like_segments(answer: Answer) -> list[Job]:
    """The running jobs whose names are those of the models of segments. Anybody may give a model such a name."""
    running = [job for job in jobs_in(answer) if is_running(job)]
    parents = [job for job in running if kind_of(job) == SEGMENTS]
    return [job for job in running if any(serves(job, parent) for parent in parents)]


def trains_others(job: Job) -> bool:
    """Whether a job trains models by jobs of their own."""
    return kind_of(job) in (AUTOML, GRID, SEGMENTS) or (kind_of(job) == MODEL and _algorithm(job) in COMPOSED)


def _algorithm(job: Job) -> str:
    return text(job.get("description")).lower().replace(" ", "")


def children(answer: Answer, parent: Job) -> list[Job]:
    """The running jobs in ``GET /3/Jobs`` that train models for another job, and not for an AutoML that runs beside it."""
    running = [job for job in jobs_in(answer) if is_running(job)]
    found = [job for job in running if kind_of(job) == MODEL and serves(job, parent)]
    beside = [job for job in running if kind_of(job) == AUTOML and key_of(job) != key_of(parent)]
    if kind_of(parent) != AUTOML or not beside:
        return found
    own, others = _automl(parent), set(map(_automl, beside))
    return [job for job in found if (_automl(job) == own if own else _automl(job) not in others)]


def _automl(job: Job) -> str:
    """The server's name of the AutoML that a job is or serves; "" if the names do not say it."""
    found = OF_AUTOML.search(name_of(job))
    return found[0] if found else ""


def serves(job: Job, parent: Job) -> bool:
    """Whether a job trains a model for another one, by the names that the server gives to such models."""
    if key_of(job) == key_of(parent) or kind_of(job) not in (MODEL, GRID) or not _is_later(job, parent):
        return False
    name, whole, kind = name_of(job), name_of(parent), kind_of(parent)
    if kind == AUTOML:
        return MADE_BY_AUTOML.fullmatch(name) is not None
    if kind == SEGMENTS:
        return re.fullmatch(re.escape(whole) + r"_\d+", name) is not None
    if kind == GRID:
        return re.fullmatch(re.escape(whole) + r"_model_\d+", name) is not None
    return trains_others(parent) and _is_part(name, whole, COMPOSED[_algorithm(parent)])


def _is_part(name: str, whole: str, algorithms: tuple[str, ...]) -> bool:
    """Whether a model has a name that the server gives to a part of another model."""
    made = MADE_BY_SERVER.fullmatch(name)
    if made is not None:
        return made[1] in algorithms
    numbered = name.startswith(f"{whole}_") and NUMBERED.fullmatch(name.removeprefix(f"{whole}_")) is not None
    return numbered or (name.startswith("metalearner_") and name.endswith(f"_{whole}"))


def _is_later(job: Job, parent: Job) -> bool:
    """Whether a job started after another one, if both say when."""
    start, before = number(job.get("start_time")), number(parent.get("start_time"))
    return start is None or before is None or start >= before
