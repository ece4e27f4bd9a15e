# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subject of a measurement: a real training on a real server. The collection's own code finds and watches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    ProgressListener,
    Sample,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Session, Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3 import H2o3
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import read_samples
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import Watch
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS

from benchmarks.servers import Node
from lab.errors import LabError
from lab.h2o import H2O
from lab.h2o_jobs import await_job, has_begun, start_model
from lab.training_spec import read_training

SETTINGS = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()} | {
    "allowed_networks": ["127.0.0.0/8"]  # the servers are processes of this machine
}
BUDGET = float(SETTINGS["stall_budget"])
# Trainings that outlast a benchmark. A time limit would turn progress into a clock; only AutoML needs one.
ENDLESS: dict[str, dict[str, Any]] = {
    "gbm": {"ntrees": 100_000, "max_depth": 5},
    "xgboost": {"ntrees": 100_000, "max_depth": 5},
    "deeplearning": {"epochs": 100_000, "hidden": [64, 64], "stopping_rounds": 0},
    "glm": {
        "response_column": "origin",
        "family": "multinomial",
        "lambda_search": True,
        "nlambdas": 1000,
        "lambda_min_ratio": 1e-9,
        "max_iterations": 100_000,
    },
    "automl": {"max_runtime_secs": 12 * 3600},
}


def begin(h2o: H2O, algorithm: str, **changes: Any) -> str:
    """Start a training, wait until it makes progress, and return its job's key."""
    given = {"algorithm": algorithm, **ENDLESS[algorithm], **changes}
    job = start_model(h2o, algorithm, dict(read_training("benchmark", given).parameters))
    await_job(h2o, job, has_begun)
    return job


@dataclass
class Subject:
    """A node and its training."""

    node: Node
    algorithm: str

    @property
    def vm(self) -> str:
        """The VM's name, which is also its MoRef because the benchmark runs without a vCenter."""
        return self.node.server.vm

    @property
    def h2o(self) -> H2O:
        """The lab's own client."""
        return H2O(self.node.server.url)

    def running(self) -> list[Experiment]:
        """The experiments that the provider finds."""
        return self._source().discover(Target(self.vm, self.vm, self.node.server.address)).found

    def experiment(self) -> Experiment:
        """The running experiment. A finished training is started again."""
        found = self.running()
        if not found:
            begin(self.h2o, self.algorithm)
            found = self.running()
        if not found:
            raise LabError(f"{self.vm} trains, but the provider does not find the experiment")
        return found[0]

    def session(self, experiment: Experiment) -> Session:
        """The provider's session."""
        return self._source().session(experiment)

    def _source(self) -> H2o3:
        port = int(self.node.server.url.rpartition(":")[2])
        return H2o3({**SETTINGS, "ports": [port]})


@contextmanager
def watching(
    sessions: list[tuple[Experiment, Session]],
    folder: Path,
    *,
    baseline: float,
    settle_timeout: float = 5.0,
    stall_budget: float = BUDGET,
    listener: ProgressListener = lambda *_news: None,
) -> Iterator[Watch]:
    """The collection's watch, after its baseline."""
    with Watch(
        sessions,
        folder,
        stall_budget=stall_budget,
        settle_timeout=settle_timeout,
        baseline=baseline,
        listener=listener,
    ) as watch:
        watch.baseline()
        yield watch


def samples_of(folder: Path, experiment: Experiment) -> list[Sample]:
    """All samples of a watch, in order."""
    found: Mapping[tuple[str, str], list[tuple[str, Sample]]] = read_samples(folder / "samples.jsonl")
    return [sample for _session, sample in found[(experiment.vm, experiment.id)]]
