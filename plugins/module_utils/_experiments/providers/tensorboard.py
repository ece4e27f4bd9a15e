# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``tensorboard``: scalars of event files, over TensorBoard's own HTTP API. It only reads.

TensorBoard shows what was flushed to disk and reloaded. The maximum age of its answers is the reload interval (read from
``/data/environment``) plus the writer's flush interval (an option, default 120 s). It does not name the process that
writes. After a restart in the same folder, steps that were over come again (``record.py``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlencode

from ..._core.untrusted import count, exact, items, mapping, shortened, text
from ..model import (
    Capabilities,
    Experiment,
    Sample,
)
from ..record import REPEATS, hide_progress, longest_pause, repeats, restart_in, returns, seconds_below
from ..training_clock import Point
from .base import (
    Advance,
    Mark,
    Searched,
    Seen,
    Session,
    Target,
    advancing,
    doubt,
    names_one,
    progress_at,
)
from .over_http import HttpSession, UrlSource, sampled, unusable
from .probe import (
    LARGE,
    NO_ANSWER,
    REQUEST_SECONDS,
    Answer,
    Endpoint,
    Limits,
    Probe,
)

PROVIDER = "tensorboard"
SCALARS = "/data/plugin/scalars"
USUAL_RELOAD = 5.0
LONGEST_WAIT = 300.0  # seconds; a search never waits longer for a reload, whatever a server reports
GUEST_WAIT = 60.0  # the same for a server in a VM
DISCOVERY_SECONDS = 10.0
RECORD_SECONDS = 10.0
MAX_POINTS = 20_000  # kept of a series
ASKERS = 8  # questions at a time
GUEST_ASKERS = 2  # the same to a server in a VM
MAX_RUNS = 10_000  # of a VM
APART = 1.0  # seconds between the writers of one training, about
MIN_BETWEEN = 4  # points between two starts of a training, on average
MAX_TAGS = 8  # of one of many runs; some are written only once, so not just the first one is looked at
MAX_ASKED = 512  # tags of all runs together; of few runs, all tags are looked at
SEPARATOR = re.compile(r"[/\\]")  # of a path; a TensorBoard on Windows names its runs by folders, too
NOTE = "changes of the last step that TensorBoard shows"


class Tensorboard(UrlSource):
    """A TensorBoard; a run belongs to the VM that is named in its path, or to the source's only VM."""

    provider = PROVIDER

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._only = self.in_guest or names_one(settings["vms"])

    def _search(self, endpoint: Endpoint, target: Target) -> Searched:
        with Probe(endpoint, min(DISCOVERY_SECONDS, target.seconds_left), self._limits) as probe:
            environment, tags = probe.get("/data/environment"), probe.get(f"{SCALARS}/tags")
            for answer in (environment, tags):
                if answer.status != 200 or not isinstance(answer.body, dict):
                    raise unusable(answer, "a TensorBoard")
        series = self._series(tags.body, target.vm_name)
        if not series:
            return Searched([], self._none_fits(tags.body, target))
        reload, flush = reload_interval(environment), self._settings["flush_seconds"]
        capabilities = Capabilities("run", "changes", reload + flush, NOTE)
        runs = [self._experiment(run, endpoint, target, capabilities) for run in series]
        longest_wait = GUEST_WAIT if self.in_guest else LONGEST_WAIT
        seconds = max(self._settings["advance_timeout"], 2 * (min(reload, longest_wait) + flush))
        limits, askers = self._limits, GUEST_ASKERS if self.in_guest else ASKERS
        search = advancing(
            lambda found: look(endpoint, runs, series, found, limits, askers),
            seconds,
            longest=self.longest_look,
            room=self.room,
            is_named=bool(self._settings["metric"]),
        )
        found = [watched(advance) for advance in search.found]
        most = max(map(len, series.values()))
        is_part = any(len(names) < len(mapping(tags.body[run])) for run, names in series.items())
        limit = f"; only the first {most} tags of each run were looked at: give metric"
        limit = limit if is_part and not self._settings["metric"] else ""
        none = "" if found else f"none of {search.runs} runs advanced in {seconds:.0f} s"
        if len(found) == search.runs:
            limit = ""
        detail = f"{none}{search.detail}{limit}".removeprefix("; ")
        return Searched(found, detail, complete=not (search.detail or limit))

    def _experiment(self, run: str, endpoint: Endpoint, target: Target, capabilities: Capabilities) -> Experiment:
        return Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=shortened(run),
            process="",
            url=endpoint.url,
            description=text(run),
            capabilities=capabilities,
            exact_id=run,
        )

    def _mine(self, run: str, vm_name: str) -> bool:
        return self._only or vm_name in SEPARATOR.split(run)

    def _series(self, body: Mapping[str, Any], vm_name: str) -> dict[str, list[str]]:
        """The tags that may be watched, by run."""
        wanted = self._settings["metric"]
        found = {}
        for run, tags in body.items():
            names = [tag for tag in map(exact, mapping(tags)) if tag and (not wanted or tag == wanted)]
            if exact(run) and names and self._mine(run, vm_name):
                found[run] = names[:MAX_ASKED]
            if len(found) == MAX_RUNS:
                break
        most = max(MAX_TAGS, MAX_ASKED // max(1, len(found)))
        return {run: names[:most] for run, names in found.items()}

    def _none_fits(self, body: Mapping[str, Any], target: Target) -> str:
        if not body:
            return "it has no run"
        mine = [run for run in body if self._mine(run, target.vm_name)]
        if not mine:
            return f"none of {len(body)} runs has {target.vm_name} in its path"
        return f"none of {len(mine)} runs has scalars" + (
            f" with the tag {self._settings['metric']}" if self._settings["metric"] else ""
        )

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """See the port ``Source``: the time of each step that TensorBoard kept."""
        with suppress(*NO_ANSWER), Probe(self._endpoint(experiment.url), RECORD_SECONDS, self._limits) as probe:
            points = points_of(items(probe.get(series_path(experiment)).body))
            return [point for point in points if first <= point[1] <= last]
        return []

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> Session:
        """See the port ``Source``."""
        return SeriesSession(
            self._endpoint(experiment.url), experiment, self._settings["total_steps"], timeout, self._limits
        )


def reload_interval(environment: Answer) -> float:
    """Seconds between two loads of the event files, from TensorBoard's own settings."""
    flags = mapping(mapping(mapping(environment.body).get("debug")).get("flags"))
    found = count(flags.get("reload_interval"))
    return USUAL_RELOAD if found is None else max(0.0, found)


def scalars_path(run: str, tag: str) -> str:
    """Path of the scalars of a run."""
    return f"{SCALARS}/scalars?{urlencode({'run': run, 'tag': tag}, errors='replace')}"


def series_path(experiment: Experiment) -> str:
    """Path of the scalars of an experiment. Journals of older releases know only its id ``RUN:TAG``."""
    run, _colon, tag = experiment.id.rpartition(":")
    return scalars_path(experiment.exact_id, experiment.metric) if experiment.exact_id else scalars_path(run, tag)


def look(
    endpoint: Endpoint,
    runs: list[Experiment],
    series: Mapping[str, list[str]],
    found: Container[str],
    limits: Limits,
    askers: int,
) -> Iterator[Seen]:
    """The last step of each series of the runs that are not found yet. Raises NO_ANSWER.

    A question takes TensorBoard 50 ms, most of which it waits for the network's acknowledgement (measured). So several
    are asked at a time.
    """
    wanted = [run for run in runs if run.asked_id not in found]
    free: SimpleQueue[Probe] = SimpleQueue()

    def ask(run: Experiment) -> Seen:
        probe = free.get()
        try:
            return seen(probe, run, series[run.asked_id])
        finally:
            free.put(probe)

    with ExitStack() as stack:
        for _asker in range(askers):
            free.put(stack.enter_context(Probe(endpoint, DISCOVERY_SECONDS, limits)))
        yield from stack.enter_context(ThreadPoolExecutor(askers)).map(ask, wanted)


def seen(probe: Probe, run: Experiment, tags: list[str]) -> Seen:
    """The last step of each series of a run. Raises NO_ANSWER."""
    marks: dict[str, Mark] = {}
    is_read = False
    for tag in tags:
        answer = probe.get(scalars_path(run.asked_id, tag))
        known = points_of(items(answer.body)) if answer.status == 200 else []
        is_read = is_read or answer.status == 200
        if known:
            marks[tag] = (known[-1][1], known[-1][0])
    return Seen(run, marks if is_read else None)


def watched(advance: Advance) -> Experiment:
    """The experiment with the series that is watched: the first one that advanced, of a monitor only if there is no other."""
    marks, before = advance.changed, advance.before
    run, tag = advance.experiment, min(marks, key=lambda name: doubt(name, before.get(name), marks[name]))
    return replace(run, id=shortened(f"{run.exact_id}:{tag}"), description=f"{run.description} {text(tag)}", metric=tag)


def last_value(points: list[Point]) -> str:
    """What shows that a training works which does not write steps: all are 0, but the time of the last one changes."""
    return f"no steps are written; last value at {points[-1][0]:.3f}" if points else ""


class SeriesSession(HttpSession):
    """Questions about one series of scalars."""

    max_hz = 4.0

    def __init__(
        self,
        endpoint: Endpoint,
        experiment: Experiment,
        total_steps: int | None,
        timeout: float,
        limits: Limits = LARGE,
    ) -> None:
        super().__init__(Probe(endpoint, timeout, limits))
        self._path = series_path(experiment)
        self._total = total_steps
        self._points: set[Point] = set()  # all that TensorBoard has shown: it drops the steps before a new start
        self._over: set[Point] = set()  # what was done before the training was resumed, before the first answer
        self._since: float | None = None  # time of the last point at the first answer
        self._paused = 0.0
        self._restarted = self._known = ""
        self._repeats = False
        self._hidden = False  # how far the training is

    def sample(self) -> Sample:
        """See the port ``Session``."""
        return sampled(self._probe, self._ask)

    def _ask(self, sent: float) -> Sample:
        answer = self._probe.get(self._path)
        received = time.monotonic()
        if answer.status != 200 or not isinstance(answer.body, list):
            kind = "job_missing" if answer.status in (400, 404) else "invalid"
            return Sample(sent, received, kind, detail=f"HTTP {answer.status}")
        points = points_of(answer.body)
        self._notice(points)
        # A late point is not a step back; steps that repeat say where in an epoch the training is, and not how far.
        own = self._points - self._over
        step = None if self._hidden else max((step for _at, step in own), default=None)
        return Sample(
            sent,
            received,
            "answered",
            "",
            status="RUNNING",
            progress=progress_at(step, self._total),
            detail=REPEATS if self._hidden else last_value(points) if step == 0 else "",
            step=step,
            logged=max((at for at, _step in points), default=None),
            paused=self._paused,
            restarted=self._restarted,
            hides_steps=step is not None and seconds_below(own, step) > APART,
        )

    def _notice(self, points: list[Point]) -> None:
        """Look for a new start in all points that were shown so far."""
        if not points or self._points.issuperset(points):
            return
        if self._since is None:
            self._since, self._over = max(points)[0], before_the_last_start(points)
        self._points.update(points)
        if len(self._points) > MAX_POINTS:
            self._points = set(sorted(self._points)[-MAX_POINTS // 2 :])
            self._known = self._restarted  # the points that show it are dropped
        found = returns(list(self._points))
        self._paused = longest_pause(sorted(point for point in self._points if point[0] >= self._since))
        self._repeats = self._repeats or repeats(found)
        self._hidden = hide_progress(found, list(self._points))
        self._restarted = "" if self._repeats else restart_in(found, self._since) or self._known


def before_the_last_start(points: list[Point]) -> set[Point]:
    """The points before the steps went back for the last time, in the order in which they were written.

    A writer without ``purge_step`` leaves the steps of an earlier process that are higher than those of a resumed training.
    Where they go back all the time, several writers are some steps apart, and none of them has started again.
    """
    falls = [place for place in range(1, len(points)) if points[place][1] < points[place - 1][1]]
    return set(points[: falls[-1]]) if falls and MIN_BETWEEN * len(falls) < len(points) else set()


def points_of(body: list[Any]) -> list[Point]:
    """(wall time, step) in the order of the answer; rows that are not points are skipped."""
    found = []
    for row in map(items, body):
        if len(row) == 3:
            at, step = count(row[0]), count(row[1])
            if at is not None and step is not None:
                found.append((at, step))
    return found
