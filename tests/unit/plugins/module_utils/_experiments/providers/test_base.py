# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A search finds what advances between two looks, in a bounded time."""

from __future__ import annotations

from collections.abc import Container, Iterator

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import base, mlflow, tensorboard
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import (
    Seen,
    advancing,
    progress_at,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import UnusableAnswer


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only sleeping and looking advance."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        assert seconds >= 0
        clock[0] += seconds

    monkeypatch.setattr(base.time, "sleep", sleep)
    return clock


class Runs:
    """``count`` dead runs, looked at in ``seconds`` each; ``live`` steps once in ``pace`` seconds."""

    def __init__(self, now: list[float], count: int, live: int = -1, seconds: float = 0.001, pace: float = 1.0) -> None:
        self.now, self.count, self.live, self.seconds, self.pace = now, count, live, seconds, pace
        self.begun: list[float] = []
        self.looked = 0

    def look(self, found: Container[str]) -> Iterator[Seen]:
        self.begun.append(self.now[0])
        for n in range(self.count):
            run = Experiment("vm-1", "ML-1", "mlflow", str(n), "", "http://a")
            if run.id not in found:
                self.looked += 1
                self.now[0] += self.seconds
                yield Seen(run, {"loss": (self.now[0] // self.pace if n == self.live else 7.0, 0.0)})

    def search(self, seconds: float) -> base.Search:
        return advancing(self.look, seconds, clock=lambda: self.now[0])


@pytest.mark.parametrize(("count", "live"), [(1, 0), (1000, 0), (1000, 999), (50_000, 49_999)])
def test_a_run_that_advances_is_found(now: list[float], count: int, live: int) -> None:
    search = Runs(now, count, live).search(15.0)
    assert [advance.experiment.id for advance in search.found] == [str(live)]
    assert (search.runs, search.unread, search.whole, search.detail) == (count, 0, True, "")


def test_a_run_is_found_if_it_steps_once_in_the_time_to_wait(now: list[float]) -> None:
    runs = Runs(now, 1000, live=0, pace=14.9)
    assert len(runs.search(15.0).found) == 1
    assert len(Runs(now, 1000, live=0, pace=1e6).search(15.0).found) == 0


def test_the_search_ends_as_soon_as_every_run_was_found(now: list[float]) -> None:
    Runs(now, 1, live=0).search(15.0)
    assert now[0] < 2


def test_a_server_of_many_runs_rests_between_two_looks(now: list[float]) -> None:
    runs = Runs(now, 1000)
    runs.search(15.0)
    assert runs.looked * runs.seconds <= 0.6 * now[0]


def test_a_search_is_bounded(now: list[float]) -> None:
    runs = Runs(now, 10**9, live=10**6, seconds=1.0)
    search = runs.search(15.0)
    assert now[0] < 2 * base.LONGEST_LOOK + 15 + 5
    assert (search.found, search.whole) == ((), False)
    assert search.detail == "; more could not be looked at in 300 s"


@pytest.mark.parametrize(
    "marks",
    [{"loss": 1}, {"loss": None}, {f"{n:01000}": 1 for n in range(50)}, {}],
    ids=["usual", "unread", "large", "empty"],
)
def test_what_is_remembered_of_a_hostile_server_is_bounded(now: list[float], marks: dict[str, int | None]) -> None:
    looked, live = [0], {"runs": 0}

    def look(_found: Container[str]) -> Iterator[Seen]:
        for n in range(10**6):
            looked[0] += 1
            now[0] += 1e-5
            live["runs"] += n == 0
            step = {"": (live["runs"], 0.0)} if n == 0 else {name: (step, 0.0) for name, step in marks.items() if step}
            run = Experiment("vm-1", "ML-1", "mlflow", f"{n:0200}", "", "http://a")
            yield Seen(run, None if None in marks.values() and n else step)

    search = advancing(look, 3.0, room=1 << 20, clock=lambda: now[0])
    assert [advance.experiment.id for advance in search.found] == [f"{0:0200}"], "those that were seen are compared"
    assert search.runs * 500 <= 1 << 20
    assert (search.whole, search.full) == (False, True)
    assert "more could not be looked at because there are too many" in search.detail
    assert looked[0] < 40_000


def test_an_answer_that_fails_later_does_not_hide_what_was_found(now: list[float]) -> None:
    runs = Runs(now, 3, live=0)

    def look(found: Container[str]) -> Iterator[Seen]:
        if now[0] > 5:
            raise TimeoutError
        yield from runs.look(found)

    assert len(advancing(look, 15.0, clock=lambda: now[0]).found) == 1
    runs.live = -1
    now[0] = 0.0
    with pytest.raises(TimeoutError):
        advancing(look, 15.0, clock=lambda: now[0])
    with pytest.raises(TimeoutError):
        advancing(look, 15.0, clock=lambda: now[0])


def test_runs_that_could_not_be_read_are_counted(now: list[float]) -> None:
    def look(_found: Container[str]) -> Iterator[Seen]:
        now[0] += 1.0
        for n in range(3):
            yield Seen(Experiment("vm-1", "ML-1", "mlflow", str(n), "", "http://a"), None if n else {})

    search = advancing(look, 5.0, clock=lambda: now[0])
    assert (search.runs, search.unread, search.detail) == (3, 2, "; 2 of them could not be read")


MS = 1_795_000_000_000.0  # the time in ms


@pytest.mark.parametrize(
    ("before", "after", "clock"),
    [
        ((MS / 1000, MS), (MS / 1000 + 5, MS + 5000), True),
        ((MS / 250, MS), (MS / 250 + 20, MS + 5000), True),
        ((MS, MS), (MS + 5003, MS + 5003), True),
        ((MS / 1000, MS / 1000), (MS / 1000 + 5, MS / 1000 + 5.4), True),  # as TensorBoard writes it
        ((MS // 1000, MS), (MS // 1000 + 1, MS + 250), True),
        ((100.0, MS), (110.0, MS + 5000), False),
        ((1e9, MS), (1e9 + 1e5, MS + 5000), False),  # tokens
        ((0.0, MS), (0.0, MS + 5000), False),
        ((5.0, 0.0), (9.0, 0.0), False),
        (None, (MS, MS), False),
    ],
)
def test_steps_that_are_the_time_are_a_clock(before: base.Mark | None, after: base.Mark, clock: bool) -> None:
    assert base.is_clock(before, after) is clock


@pytest.mark.parametrize(
    ("name", "steps", "ms", "doubt"),
    [
        ("gpu_util", 3, 9000, 2),
        ("monitor/GPU 0 power", 3, 9000, 2),
        ("memory_usage", 3, 9000, 2),
        ("anything", 9, 9020, 1),
        ("loss", 3, 9000, 0),
        ("step_time", 30, 9000, 0),
        ("input/template_loss", 3, 9000, 0),
        ("network_loss", 3, 9000, 2),
        ("loss", 1, 1000, 0),
    ],
)
def test_the_series_of_a_monitor_is_doubtful(name: str, steps: float, ms: float, doubt: int) -> None:
    assert base.doubt(name, (100.0, MS), (100.0 + steps, MS + ms)) == doubt


@pytest.mark.parametrize("monitor", ["gpu_util", "a/gpu_util"])
def test_a_monitor_is_not_watched_for_a_training_that_does_one_step_per_second(monitor: str) -> None:
    """It does not die with the training, logs as often or more often, and its name comes first."""
    before = {monitor: (0.0, MS), "loss": (0.0, MS)}
    changed = {monitor: (36.0, MS + 9000), "loss": (9.0, MS + 9000)}
    assert mlflow.busiest_metric(changed, before) == "loss"
    run = Experiment("vm-1", "ML-1", "tensorboard", "run", "", "http://x", exact_id="run")
    assert tensorboard.watched(base.Advance(run, changed, before)).metric == "loss"


@pytest.mark.parametrize(
    ("loss_every", "named", "watched"),
    [(1.0, False, "loss"), (7.0, False, "loss"), (99.0, False, ""), (99.0, True, "t")],
)
def test_a_monitor_beside_a_training_is_not_taken_for_it(
    now: list[float], loss_every: float, named: bool, watched: str
) -> None:
    """The monitor logs more often than the training, and the time is its step."""

    def look(_found: Container[str]) -> Iterator[Seen]:
        run = Experiment("vm-1", "ML-1", "mlflow", "run", "", "http://x")
        at, losses = MS + 1000 * now[0], now[0] // loss_every
        loss = (losses, MS + 1000 * losses * loss_every)
        yield Seen(run, {"t": (at // 1000, at), "gpu": (now[0] * 3, at), "loss": loss})

    search = advancing(look, 15.0, is_named=named, clock=lambda: now[0])
    (found,) = search.found
    assert ("loss" in found.changed) is (watched == "loss")
    assert ("t" in found.changed) is named


@pytest.mark.parametrize("error", [UnusableAnswer("HTTP 503"), TimeoutError()])
@pytest.mark.parametrize("failing", [{2}, {2, 3, 4}, {1}])
def test_a_server_that_is_busy_in_a_later_look_hides_no_run(
    now: list[float], error: Exception, failing: set[int]
) -> None:
    runs = Runs(now, 10, live=3, pace=14.9)

    def look(found: Container[str]) -> Iterator[Seen]:
        yield from runs.look(found)
        if len(runs.begun) in failing:
            raise error

    if failing == {1}:
        with pytest.raises(type(error)):
            advancing(look, 15.0, clock=lambda: now[0])
        return
    found = advancing(look, 15.0, clock=lambda: now[0]).found
    assert [each.experiment.id for each in found] == ["3"]


@pytest.mark.parametrize(
    ("step", "total", "share"),
    [
        (None, 100, None),
        (50.0, None, None),
        (50.0, 100, 0.5),
        (100.0, 100, 1.0),
        (101.0, 100, 1.0),
        (102.0, 100, None),
        (-1.0, 100, 0.0),
    ],
)
def test_more_steps_than_there_are_show_that_their_number_is_wrong(
    step: float | None, total: int | None, share: float | None
) -> None:
    assert progress_at(step, total) == share
