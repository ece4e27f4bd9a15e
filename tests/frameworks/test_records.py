# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers of records, an old MLflow among them: real processes log to them, are killed and continue in the same run.

If nothing names the process of a training, only the record can show what happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Judgement, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.mlflow import Mlflow
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import must_stop_run

from benchmarks.frameworks import judged
from tests.builders.sources import observed, providers
from tests.doubles.servers import routing
from tests.frameworks.trackers import BOARD, NEW, OLD, Release, Tracker, Training, running
from tests.measuring import Measured, until

ALL = (OLD, NEW, BOARD)
RESTARTED = frozenset({Verdict.RESTARTED})
UNKNOWN = frozenset({Verdict.UNKNOWN})
DOUBTED = frozenset({Verdict.RESTARTED, Verdict.UNKNOWN})  # without a pause, steps come again in each epoch, too
SOUND = frozenset({Verdict.UNINTERRUPTED})
LONG = f"sweep/{','.join(f'parameter_{n}=0.{n:05}' for n in range(10))}/train"  # 211 characters, as sweeps make them


@dataclass(frozen=True)
class Fate:
    """What a training logs, from how many steps before its last one it continues after a kill, and the right verdicts."""

    name: str
    right: frozenset[Verdict]
    logs: dict[str, Any] = field(default_factory=dict)
    lost: int | None = None  # None: it is not killed
    loads: float = (
        0.0  # seconds for libraries and a checkpoint, without which a client of MLflow 2.2 continues in 0.25 s
    )
    of: tuple[Release, ...] = ALL


FATES = (
    Fate("nothing happens", SOUND),
    Fate("killed and resumed six steps earlier", RESTARTED, lost=6, loads=0.5),
    Fate("killed and begun from step 0", RESTARTED, lost=10**6, loads=0.5),
    Fate("killed and resumed at once six steps earlier", DOUBTED, lost=6),
    Fate("killed and resumed without a loss", UNKNOWN, lost=0),
    Fate("named, killed and resumed without a loss", RESTARTED, {"named": True}, lost=0, of=(OLD, NEW)),
    Fate("each step logged four times", SOUND, {"times": 4, "pace": 2.5}, of=(OLD, NEW)),
    Fate("each step logged four times", SOUND, {"times": 4, "pace": 0.5}, of=(BOARD,)),
    Fate("the index of a batch", UNKNOWN, {"batches": 5, "pace": 0.5}),
    Fate("a long name", SOUND, {"run": LONG}, of=(BOARD,)),
    Fate("no steps", SOUND, {"steps": False}, of=(OLD, NEW)),
    Fate("no steps, killed and resumed", UNKNOWN, {"steps": False}, lost=0, of=(OLD, NEW)),
)
PREFIX = "/mlflow"
SAMPLE = "killed and resumed six steps earlier"


@pytest.fixture(scope="module", params=ALL, ids=lambda release: release.name)
def tracker(request: pytest.FixtureRequest) -> Iterator[Tracker]:
    if why := request.param.missing():
        pytest.skip(why)
    with running(request.param) as tracker:
        yield tracker


def continued(tracker: Tracker, training: Training, fate: Fate) -> None:
    """Let it train for some steps; if it is killed, another process continues its run."""
    training.has_logged(len(training.logged) + 4)
    if fate.lost is not None:
        training.kill()
        first = max(0, training.logged[-1] + 1 - fate.lost)
        tracker.train(run=training.run, first=first, loads=fate.loads, **fate.logs).has_logged(6)


def judgement_of(tracker: Tracker, training: Training, fate: Fate, folder: Path) -> Judgement:
    """What a watch says of the fate of a training."""
    options = {"baseline": 3.0, "settle_timeout": 25.0, "stall_budget": 60.0}
    found = until(lambda: observed(tracker.source()).experiments)  # TensorBoard shows a new run at its next reload
    assert [bool(experiment.process) for experiment in found] == [bool(fate.logs.get("named"))]
    watch = providers(tracker.source(), **options).watch(found, folder, lambda *_news: None)
    judgement, _none = judged(watch, lambda: continued(tracker, training, fate))
    return judgement


@pytest.mark.parametrize(
    "fate", [pytest.param(f, id=f.name, marks=[] if f.name == SAMPLE else pytest.mark.thorough) for f in FATES]
)
def test_no_record_is_called_better_than_what_happened(
    tracker: Tracker, fate: Fate, tmp_path: Path, measured: Measured
) -> None:
    if tracker.release not in fate.of:
        pytest.skip(f"this is not tried with {tracker.release.name}")
    training = tracker.train(**fate.logs)
    try:
        judgement = judgement_of(tracker, training, fate, tmp_path)
    finally:
        for each in tracker.trainings:
            each.kill()
    assert judgement.identity != "proven", judgement
    if fate.right == SOUND:
        assert not must_stop_run(judgement), judgement
        with measured():  # on a busy machine the pause between two steps may be long enough for another process
            # TensorBoard shows its records up to 2 s late, and that is enough for another process.
            right = Verdict.UNKNOWN if tracker.release is BOARD else Verdict.UNINTERRUPTED
            assert (judgement.verdict, judgement.progress) == (right, "proven"), judgement
    else:
        assert judgement.verdict in fate.right, judgement


@pytest.mark.thorough
@pytest.mark.parametrize("release", [OLD, NEW], ids=lambda release: release.name)
def test_the_live_run_among_a_thousand_dead_ones_is_found(release: Release) -> None:
    if why := release.missing():
        pytest.skip(why)
    with running(release) as tracker:
        dead = tracker.train()
        dead.kill()
        tracker.copy(dead.run, 1100)
        seen = observed(tracker.source())
        assert seen.detail == f"{tracker.url}: 1101 runs are RUNNING, none logged a further step of a metric in 6 s"
        live = tracker.train()
        assert [experiment.id for experiment in observed(tracker.source()).experiments] == [live.run]


@pytest.mark.parametrize("release", [OLD, pytest.param(NEW, marks=pytest.mark.thorough)], ids=lambda each: each.name)
def test_a_server_behind_a_proxy_that_routes_only_its_prefix_is_found(release: Release) -> None:
    """MLflow before 3.12 has the prefix only before the API of its web page, and its own client cannot pass the proxy."""
    if why := release.missing():
        pytest.skip(why)
    with running(release, prefix=PREFIX) as tracker, routing(PREFIX, tracker.port) as url:
        training = tracker.train(place=tracker.url if release is OLD else url + PREFIX)
        source = tracker.source(url=url + PREFIX)
        (experiment,) = observed(source).experiments
        assert experiment.id == training.run
        session = Mlflow(source).session(experiment)
        assert session.sample().outcome == "answered"
        session.close()
        assert len(Mlflow(source).history(experiment, 0, 10**6)) > 1
