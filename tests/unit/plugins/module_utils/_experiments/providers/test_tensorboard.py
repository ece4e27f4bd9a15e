# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which runs of a TensorBoard are experiments, whatever their names, and why none is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import tensorboard
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import experiment_from_json, experiment_to_json

from tests.builders.sources import observed, settings
from tests.doubles.servers import answering

Serve = Callable[..., str]
LONG = "sweep/" + ",".join(f"parameter_{n}=0.{n:05}" for n in range(20)) + "/train"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a TensorBoard with tags by run; those in ``live`` get a point with each answer. Returns its URL."""
    with ExitStack() as servers:

        def board(tags: dict[str, list[str]], *live: tuple[str, str]) -> str:
            points = {pair: [[1.0, 1.0, 0.5]] for pair in live}

            def answer(path: str) -> tuple[int, Any]:
                parts = urlsplit(path)
                if parts.path == "/data/environment":
                    return 200, {"debug": {"flags": {"reload_interval": 0.1}}}
                if parts.path.endswith("/tags"):
                    return 200, {run: {tag: {} for tag in known} for run, known in tags.items()}
                run, tag = (parse_qs(parts.query)[name][0] for name in ("run", "tag"))
                if tag not in tags.get(run, []):
                    return 404, {}
                known = points.get((run, tag), [[1.0, 7.0, 0.5]])
                if (run, tag) in points:
                    known.append([time.time(), known[-1][1] + 1, 0.5])
                return 200, known

            return servers.enter_context(answering(answer))

        yield board


def source(url: str, **changes: Any) -> dict[str, Any]:
    return settings("tensorboard", url=url, flush_seconds=0.1, vms=["ML-1"], **changes)


@pytest.mark.parametrize(
    ("run", "tag"), [(LONG, "loss"), (LONG, "t" * 300), ("a:b", "c:0"), ("zero\u200bwidth", "loss"), ("a\nb", "ä 😀")]
)
def test_a_run_is_asked_for_by_its_whole_name(serve: Serve, run: str, tag: str) -> None:
    chosen = source(serve({run: [tag]}, (run, tag)))
    (found,) = observed(chosen).experiments
    assert len(found.id) <= 200
    assert found.id.isprintable()
    experiment = experiment_from_json(experiment_to_json(found))
    session = tensorboard.Tensorboard(chosen).session(experiment)
    first, second = session.sample(), session.sample()
    session.close()
    assert (first.outcome, second.step) == ("answered", (first.step or 0) + 1)
    assert tensorboard.Tensorboard(chosen).history(experiment, 0, 1e9)


def test_runs_whose_long_names_differ_at_the_end_are_two_experiments(serve: Serve) -> None:
    runs = [f"{LONG}/{n}" for n in range(2)]
    found = observed(source(serve({run: ["loss"] for run in runs}, *((run, "loss") for run in runs)))).experiments
    assert len({experiment.id for experiment in found}) == 2


def test_an_experiment_of_an_older_journal_is_asked_for_its_id(serve: Serve) -> None:
    chosen = source(serve({"a/b": ["loss"]}))
    known = Experiment(
        "vm-1", "ML-1", "tensorboard", "a/b:loss", "", chosen["url"], capabilities=Capabilities("run", "changes")
    )
    session = tensorboard.Tensorboard(chosen).session(known)
    assert session.sample().step == 7.0
    session.close()


def test_the_series_that_advances_is_watched(serve: Serve) -> None:
    """The first tag of a run is often written only once, such as hyperparameters."""
    url = serve({"a": ["hparams", "loss"]}, ("a", "loss"))
    (experiment,) = observed(source(url)).experiments
    assert (experiment.id, experiment.metric) == ("a:loss", "loss")


@pytest.mark.parametrize("run", ["ML-1/train", "a\\ML-1\\train", "ML-1"])
def test_the_vm_is_found_in_the_path_of_a_run(serve: Serve, run: str) -> None:
    """A TensorBoard on Windows separates folders by backslashes."""
    url = serve({run: ["loss"], "ML-10/train": ["loss"]}, (run, "loss"))
    (experiment,) = observed({**source(url), "vms": ["ML-*"]}).experiments
    assert experiment.asked_id == run


def test_a_live_run_among_hundreds_of_dead_ones_is_found(serve: Serve) -> None:
    runs = {f"run-{n}": ["loss"] for n in range(300)}
    (experiment,) = observed(source(serve(runs, ("run-250", "loss")))).experiments
    assert experiment.id == "run-250:loss"


@pytest.mark.parametrize(
    ("tags", "changes", "reason"),
    [
        ({}, {}, "it has no run"),
        ({"a/b": ["loss"]}, {"vms": ["ML-*"]}, "none of 1 runs has ML-1 in its path"),
        ({"ML-1": []}, {}, "none of 1 runs has scalars"),
        ({"a": ["loss"]}, {"metric": "accuracy"}, "none of 1 runs has scalars with the tag accuracy"),
        ({"a": ["loss"], "b": ["loss"]}, {}, "none of 2 runs advanced in 1 s"),
    ],
)
def test_the_reason_is_the_true_one(serve: Serve, tags: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    url = serve(tags)
    assert observed({**source(url), **changes}).detail == f"{url}: {reason}"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, {}, "not a TensorBoard (HTTP 404)"),
        (200, "<html>", "not a TensorBoard (HTTP 200)"),
        (401, {}, "authentication failed (HTTP 401); check username, password and token"),
    ],
)
def test_what_is_not_a_tensorboard_is_named(status: int, body: Any, reason: str) -> None:
    with answering(lambda _path: (status, body)) as url:
        assert observed(source(url)).detail == f"{url}: {reason}"


def test_runs_that_cannot_be_read_are_counted() -> None:
    def answer(path: str) -> tuple[int, Any]:
        if "scalars?" in path:
            return 500, {}
        return 200, {"debug": {"flags": {"reload_interval": 0.1}}} if path.endswith("environment") else {
            "a": {"loss": {}}
        }

    with answering(answer) as url:
        seen = observed(source(url, advance_timeout=0.1))
        assert seen.detail.endswith("; 1 of them could not be read")


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ([(1.0, 390.0), (2.0, 399.0), (50.0, 100.0), (51.0, 101.0)], 102.0),  # from a checkpoint
        ([(1.0, 390.0), (2.0, 399.0), (50.0, 205.0), (51.0, 215.0)], 216.0),  # steps that were not logged before
        ([(900.0, 390.0), (901.0, 399.0), (50.0, 100.0), (51.0, 101.0)], 102.0),  # the clock was set back
        ([(1.0, 8.0), (2.0, 9.0), (3.0, 8.0), (4.0, 10.0)], 11.0),  # two ranks, or a late value
        ([(1.0, 8.0), (2.0, 9.0)], 10.0),
    ],
)
def test_a_training_that_was_resumed_before_the_watch_shows_its_own_steps(
    written: list[tuple[float, float]], step: float
) -> None:
    points = [[at, done, 0.5] for at, done in written]

    def answer(_path: str) -> tuple[int, Any]:
        points.append([points[-1][0] + 1, points[-1][1] + 1, 0.5])
        return 200, points

    known = Experiment("vm-1", "ML-1", "tensorboard", "run:loss", "", "http://x", metric="loss", exact_id="run")
    with answering(answer) as url:
        session = tensorboard.Tensorboard(source(url)).session(replace(known, url=url))
        samples = [session.sample() for _question in range(3)]
        session.close()
    assert [each.step for each in samples] == [step, step + 1, step + 2]
    assert {(each.restarted, each.hides_steps) for each in samples} == {("", False)}


@pytest.mark.parametrize(("others", "tags", "found"), [(0, 9, 1), (0, 60, 1), (3, 60, 1), (70, 9, 0)])
def test_tags_that_are_written_once_do_not_hide_the_one_that_advances(
    serve: Serve, others: int, tags: int, found: int
) -> None:
    configuration = [f"config/{number}" for number in range(tags)]
    runs = {f"old/{number}": ["loss"] for number in range(others)} | {"run": [*configuration, "loss"]}
    seen = observed(source(serve(runs, ("run", "loss"))))
    assert len(seen.experiments) == found
    assert found or seen.detail.endswith("only the first 8 tags of each run were looked at: give metric")


@pytest.mark.parametrize("behind", [1, 3])
def test_ranks_that_log_one_after_the_other_show_how_far_the_training_is(behind: int) -> None:
    """Three ranks log all steps, each some steps behind the one before it."""
    done = [60]

    def answer(_path: str) -> tuple[int, Any]:
        done[0] += 1
        shown = [(float(at), at - behind * rank) for at in range(done[0]) for rank in range(3)]
        return 200, [[at + 0.01 * rank, step, 0.5] for rank, (at, step) in enumerate(shown) if step >= 0]

    known = Experiment("vm-1", "ML-1", "tensorboard", "run:loss", "", "http://x", metric="loss", exact_id="run")
    with answering(answer) as url:
        session = tensorboard.Tensorboard(source(url)).session(replace(known, url=url))
        samples = [session.sample() for _question in range(5)]
        session.close()
    assert [each.step for each in samples] == [60, 61, 62, 63, 64]
    assert {(each.restarted, each.detail) for each in samples} == {("", "")}


def test_a_restart_is_still_known_when_its_points_are_no_longer_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "MAX_POINTS", 60)
    written = [(float(at), float(at)) for at in range(40)]
    written += [(43.0 + at, 30.0 + at) for at in range(200)]
    shown = [20]

    def answer(_path: str) -> tuple[int, Any]:
        shown[0] += 20
        return 200, [[at, step, 0.5] for at, step in written[max(0, shown[0] - 50) : shown[0]]]

    known = Experiment("vm-1", "ML-1", "tensorboard", "run:loss", "", "http://x", metric="loss", exact_id="run")
    with answering(answer) as url:
        session = tensorboard.Tensorboard(source(url)).session(replace(known, url=url))
        samples = [session.sample() for _question in range(11)]
        session.close()
    assert samples[0].restarted == ""
    assert {each.restarted for each in samples[1:]} == {"steps that were over came again: from step 39 back to step 30"}


@pytest.mark.parametrize(("seconds", "hides"), [(0.5, False), (3.0, True)])
def test_a_new_start_from_steps_that_were_never_shown_is_not_taken_for_a_stall(seconds: float, hides: bool) -> None:
    """TensorBoard shows a part of the steps. The highest one stays what it was, and the training works from step 0 on."""
    before = [(at / 10, float(at)) for at in range(60, 100)]
    again = [(10.2 + at / 10, float(at)) for at in range(round(10 * seconds))]
    shown = [before, [*before, *again]]

    def answer(_path: str) -> tuple[int, Any]:
        return 200, [[at, step, 0.5] for at, step in shown.pop(0)]

    known = Experiment("vm-1", "ML-1", "tensorboard", "run:loss", "", "http://x", metric="loss", exact_id="run")
    with answering(answer) as url:
        session = tensorboard.Tensorboard(source(url)).session(replace(known, url=url))
        first, last = session.sample(), session.sample()
        session.close()
    assert (first.step, first.hides_steps) == (99.0, False)
    assert (last.step, last.restarted, last.hides_steps) == (99.0, "", hides)
