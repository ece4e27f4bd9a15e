# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real TensorFlow, watched through a real MLflow, TensorBoard, exporter and Prometheus while it is really frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import PATH_MARGIN

from benchmarks.frameworks import VM, World, judged, missing, running
from scripts.bootstrap import prometheus
from tests.measuring import Measured

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"not installed: {', '.join(missing())}; make frameworks does it"
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running() as world:
        yield world


@pytest.mark.parametrize(
    ("source", "seconds", "widest"),
    [
        # In so short a watch, steps alone do not show that a pause was longer than usual, so the lower bound is 0.
        ("mlflow", 2.0, 2.5),
        ("exec", 2.0, 2.5),
        ("exporter", 1.0, 0.35 + PATH_MARGIN),
        ("tensorboard", 8.0, 12.0),
        ("prometheus", 8.0, 12.0),
    ],
)
def test_a_freeze_lies_within_the_stated_interval(
    world: World, tmp_path: Path, source: str, seconds: float, widest: float, measured: Measured
) -> None:
    if source == "prometheus" and prometheus() is None:
        pytest.skip("there is no Prometheus; make frameworks unpacks Debian's")
    _experiment, watch = world.watched(source, tmp_path, stall_budget=30.0)
    judgement, frozen = judged(watch, lambda: world.freeze(seconds))
    stall = judgement.longest_stall
    assert stall is not None
    assert stall.low <= frozen.seconds + frozen.doubt, (frozen, stall)
    assert frozen.seconds <= stall.high, (frozen, stall)
    with measured():
        assert stall.high - stall.low <= widest, stall
    # Nothing in TensorBoard's records names the process, and eight seconds suffice to start another one.
    right = Verdict.UNKNOWN if source == "tensorboard" else Verdict.UNINTERRUPTED
    assert judgement.verdict is right, judgement
    assert judgement.progress == "proven"


def test_mlflow_finds_the_process_and_no_dead_run(world: World, tmp_path: Path) -> None:
    experiment, watch = world.watched("mlflow", tmp_path)
    with watch:
        pass
    assert experiment.id == world.run_id
    assert experiment.capabilities.identity == "process"
    assert str(world.training.pid) in experiment.process


def test_a_killed_training_is_no_experiment_and_a_resumed_one_is_restarted(world: World, tmp_path: Path) -> None:
    _experiment, watch = world.watched("mlflow", tmp_path, settle_timeout=60.0)
    run = world.run_id

    def killed_and_resumed() -> None:
        world.training.kill()
        world.training.wait()
        gone = world.providers(sources=[{**world.source("mlflow"), "advance_timeout": 2.0}])
        (seen,) = gone.observe([VM])
        assert seen.experiments == ()
        assert "none logged a further step" in seen.detail, "MLflow shows a killed run as RUNNING forever"
        world.train(run, "20")
        time.sleep(5)

    judgement, _told = judged(watch, killed_and_resumed)
    assert judgement.verdict is Verdict.RESTARTED, judgement
