# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``tensorboard``: scalars of event files, over TensorBoard's own HTTP API. It only reads.

TensorBoard shows what was flushed to disk and reloaded. The maximum age of its answers is the reload interval (read from
``/data/environment``) plus the writer's flush interval (an option, default 120 s). It does not name the process that
writes. After a restart in the same folder, steps that were over come again (``record.py``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from ..._core.untrusted import count, items, mapping, text
from ..model import (
    Capabilities,
    Experiment,
    Sample,
)
from ..record import repeats, restart_in, returns
from ..training_clock import Point
from .base import (
    Session,
    Target,
    advancing,
    names_one,
    progress_at,
)
from .over_http import HttpSession, UrlSource, sampled
from .probe import (
    NO_ANSWER,
    REQUEST_SECONDS,
    Answer,
    Endpoint,
    Probe,
)

PROVIDER = "tensorboard"
SCALARS = "/data/plugin/scalars"
USUAL_RELOAD = 5.0
LONGEST_WAIT = 300.0  # seconds; a search never waits longer, whatever a guest reports
DISCOVERY_SECONDS = 10.0
RECORD_SECONDS = 10.0
MAX_BYTES = 16 << 20
MAX_POINTS = 20_000  # kept of a series
REPEATS = "the steps repeat, so they do not show how far the training is"
NOTE = "changes of the last step that TensorBoard shows"


class Tensorboard(UrlSource):
    """A TensorBoard; a run belongs to the VM that is named in its path, or to the source's only VM."""

    provider = PROVIDER

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._only = self.in_guest or names_one(settings["vms"])

    def _search(self, endpoint: Endpoint, target: Target) -> tuple[list[Experiment], str]:
        with Probe(endpoint, DISCOVERY_SECONDS, MAX_BYTES) as probe:
            environment, tags = probe.get("/data/environment"), probe.get(f"{SCALARS}/tags")
        if environment.status != 200 or tags.status != 200 or not isinstance(tags.body, dict):
            return [], f"not a TensorBoard (HTTP {tags.status})"
        reload, flush = reload_interval(environment), self._settings["flush_seconds"]
        freshness = reload + flush
        candidates = [
            Experiment(
                vm=target.vm,
                vm_name=target.vm_name,
                provider=PROVIDER,
                id=f"{text(run)}:{tag}",
                process="",
                url=endpoint.url,
                description=f"{text(run)} {tag}",
                capabilities=Capabilities("run", "changes", freshness, NOTE),
            )
            for run, tag in self._series(tags.body, target.vm_name)
        ]
        seconds = max(self._settings["advance_timeout"], 2 * (min(reload, LONGEST_WAIT) + flush))
        found = advancing([(e, self.session(e, DISCOVERY_SECONDS)) for e in candidates], seconds)
        return found, f"none of {len(candidates)} runs advanced in {seconds:.0f} s"

    def _series(self, body: Mapping[str, Any], vm_name: str) -> list[tuple[str, str]]:
        wanted = self._settings["metric"]
        found = []
        for run, tags in body.items():
            names = list(mapping(tags))
            tag = wanted if wanted in names else "" if wanted else next(iter(names), "")
            if tag and (self._only or vm_name in run.split("/")):
                found.append((run, text(tag)))
        return found

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """See the port ``Source``: the time of each step that TensorBoard kept."""
        with suppress(*NO_ANSWER), Probe(self._endpoint(experiment.url), RECORD_SECONDS, MAX_BYTES) as probe:
            points = points_of(items(probe.get(series_path(experiment.id)).body))
            return [point for point in points if first <= point[1] <= last]
        return []

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> Session:
        """See the port ``Source``."""
        return SeriesSession(self._endpoint(experiment.url), experiment, self._settings["total_steps"], timeout)


def reload_interval(environment: Answer) -> float:
    """Seconds between two loads of the event files, from TensorBoard's own settings."""
    flags = mapping(mapping(mapping(environment.body).get("debug")).get("flags"))
    found = count(flags.get("reload_interval"))
    return USUAL_RELOAD if found is None else max(0.0, found)


def series_path(series: str) -> str:
    """Path of the scalars of an experiment with the id ``RUN:TAG``."""
    run, _colon, tag = series.rpartition(":")
    return f"{SCALARS}/scalars?{urlencode({'run': run, 'tag': tag})}"


class SeriesSession(HttpSession):
    """Questions about one series of scalars."""

    max_hz = 4.0

    def __init__(self, endpoint: Endpoint, experiment: Experiment, total_steps: int | None, timeout: float) -> None:
        super().__init__(Probe(endpoint, timeout, MAX_BYTES))
        self._path = series_path(experiment.id)
        self._total = total_steps
        self._points: set[Point] = set()  # all that TensorBoard has shown: it drops the steps before a new start
        self._since: float | None = None  # time of the last point at the first answer
        self._restarted = ""
        self._repeats = False

    def sample(self) -> Sample:
        """See the port ``Session``."""
        return sampled(self._ask)

    def _ask(self, sent: float) -> Sample:
        answer = self._probe.get(self._path)
        received = time.monotonic()
        if answer.status != 200 or not isinstance(answer.body, list):
            kind = "job_missing" if answer.status in (400, 404) else "invalid"
            return Sample(sent, received, kind, detail=f"HTTP {answer.status}")
        points = points_of(answer.body)
        self._notice(points)
        # A late point is not a step back; steps that repeat say where in an epoch the training is, and not how far.
        step = None if self._repeats else max((step for _at, step in self._points), default=None)
        return Sample(
            sent,
            received,
            "answered",
            "",
            status="RUNNING",
            progress=progress_at(step, self._total),
            detail=REPEATS if self._repeats else "",
            step=step,
            logged=max((at for at, _step in points), default=None),
            restarted=self._restarted,
        )

    def _notice(self, points: list[Point]) -> None:
        """Look for a new start in all points that were shown so far."""
        if not points or self._points.issuperset(points):
            return
        self._since = max(points)[0] if self._since is None else self._since
        self._points.update(points)
        if len(self._points) > MAX_POINTS:
            self._points = set(sorted(self._points)[-MAX_POINTS // 2 :])
        found = returns(list(self._points))
        self._repeats = self._repeats or repeats(found)
        self._restarted = self._restarted or restart_in(found, self._since)


def points_of(body: list[Any]) -> list[Point]:
    """(wall time, step) in the order of the answer; rows that are not points are skipped."""
    found = []
    for row in map(items, body):
        if len(row) == 3:
            at, step = count(row[0]), count(row[1])
            if at is not None and step is not None:
                found.append((at, step))
    return found
