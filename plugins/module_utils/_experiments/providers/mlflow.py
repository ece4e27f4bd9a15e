# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``mlflow``: runs of any framework that logs to an MLflow tracking server (REST API 2.0). It only reads.

The server answers while the VM is frozen, so a stall is measured by the changes of the run's step. A run counts only
while its step advances: MLflow shows a killed run as RUNNING forever. ``runs/get`` returns the metric with the highest
step, so a training that resumed from a checkpoint is found by its history in time order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from ..._core.untrusted import count, items, mapping, number, text
from ..identity import RESTART_SECONDS
from ..model import (
    Capabilities,
    Experiment,
    Final,
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

PROVIDER = "mlflow"
API = "/api/2.0/mlflow"
VM_TAG = "liveml.vm"
CHECKPOINT_TAG = "liveml.checkpoint"
PROCESS_TAGS = ("liveml.pid", "liveml.started")
STATUS = {"RUNNING": "RUNNING", "FINISHED": "DONE", "FAILED": "FAILED", "KILLED": "CANCELLED"}
DISCOVERY_SECONDS = 10.0
RECORD_SECONDS = 10.0
MAX_BYTES = 16 << 20  # of an answer with many runs
MAX_PAGES = 10
WITH_EVERYTHING = ("epoch",)  # logged beside each metric, several times per step: not a sign of a new start
QUIET_SECONDS = 2.0
LOOK_BACK = 500  # steps; ten times as many at each further look while the step does not change
MAX_LOOKS = 9
MAX_POINTS = 2500
PAGE_POINTS = 25_000
REPEATS = "the steps repeat, so they do not show how far the training is"
NOTE = "changes of the run's step, as the tracking server records them"


class Mlflow(UrlSource):
    """A tracking server; runs belong to the VM that their tag ``liveml.vm`` names, or to the source's only VM."""

    provider = PROVIDER

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._only = names_one(settings["vms"])

    def _search(self, endpoint: Endpoint, target: Target) -> tuple[list[Experiment], str]:
        try:
            with Probe(endpoint, DISCOVERY_SECONDS, MAX_BYTES) as probe:
                runs = self._runs(probe, target.vm_name)
        except UnusableAnswer as error:
            return [], str(error)
        candidates = [e for e in (self._experiment(run, endpoint, target) for run in runs) if e is not None]
        seconds = self._settings["advance_timeout"]
        found = advancing([(e, self.session(e, DISCOVERY_SECONDS)) for e in candidates], seconds)
        return found, (
            f"{len(candidates)} runs are RUNNING, none advanced in {seconds:.0f} s" if candidates else "no run"
        )

    def recovery(self, experiment: Experiment) -> tuple[str, str]:
        """See the port ``Source``: the tag ``liveml.checkpoint``, or an artifact with "checkpoint" in its name."""
        try:
            run, names = self._record(experiment)
        except (UnusableAnswer, *NO_ANSWER) as error:
            return "unknown", text(str(error)) or type(error).__name__
        tag = pairs(run, "tags").get(CHECKPOINT_TAG, "")
        found = tag or next((name for name in names if "checkpoint" in name.lower()), "")
        return (
            ("yes", f"checkpoint {found}")
            if found
            else ("no", f"no checkpoint among the artifacts and no tag {CHECKPOINT_TAG}")
        )

    def final(self, experiment: Experiment) -> Final | None:
        """See the port ``Source``: the run's status, the last value of its metric and its artifacts."""
        try:
            run, names = self._record(experiment)
        except (UnusableAnswer, *NO_ANSWER):
            return None
        metrics = map(mapping, items(mapping(run.get("data")).get("metrics")))
        score = next((number(m.get("value")) for m in metrics if m.get("key") == experiment.metric), None)
        status = text(mapping(run.get("info")).get("status"))
        return Final(STATUS.get(status, status), experiment.metric, score, tuple(names))

    def _record(self, experiment: Experiment) -> tuple[Mapping[str, Any], list[str]]:
        """The run and the names of its artifacts. Raises UnusableAnswer or NO_ANSWER."""
        query = urlencode({"run_id": experiment.id})
        with self._probe(experiment) as probe:
            run = mapping(checked(probe.get(f"{API}/runs/get?{query}")).get("run"))
            files = items(checked(probe.get(f"{API}/artifacts/list?{query}")).get("files"))
        return run, [text(mapping(file).get("path")) for file in files]

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """See the port ``Source``: when each step was logged."""
        with suppress(*NO_ANSWER), self._probe(experiment) as probe:
            return history(probe, experiment.id, experiment.metric, first, last) or []
        return []

    def _probe(self, experiment: Experiment) -> Probe:
        return Probe(self._endpoint(experiment.url), RECORD_SECONDS, MAX_BYTES)

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> Session:
        """See the port ``Source``."""
        return RunSession(self._endpoint(experiment.url), experiment, self._settings, timeout)

    def _runs(self, probe: Probe, vm_name: str) -> list[Mapping[str, Any]]:
        known = searched(probe, "experiments", {"max_results": 1000})
        ids = [str(experiment.get("experiment_id")) for experiment in known]
        if not ids:
            return []
        wanted = "attributes.status = 'RUNNING'"
        if not self._only and "'" not in vm_name:
            wanted += f" and tags.`{VM_TAG}` = '{vm_name}'"
        # Killed runs stay RUNNING forever, so the latest come first.
        query = {
            "experiment_ids": ids,
            "filter": wanted,
            "order_by": ["attributes.start_time DESC"],
            "max_results": 100,
        }
        runs = searched(probe, "runs", query)
        return [run for run in runs if self._only or pairs(run, "tags").get(VM_TAG) == vm_name]

    def _experiment(self, run: Mapping[str, Any], endpoint: Endpoint, target: Target) -> Experiment | None:
        info, tags = mapping(run.get("info")), pairs(run, "tags")
        run_id = text(info.get("run_id"))
        metric = self._settings["metric"] or busiest_metric(run)
        if not run_id or not metric:
            return None
        return Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=run_id,
            process=process_of(tags),
            url=endpoint.url,
            description=f"{text(info.get('run_name'))} {metric}".strip(),
            metric=metric,
            owner=tags.get("mlflow.user", ""),
            capabilities=Capabilities("process" if PROCESS_TAGS[0] in tags else "run", "changes", 0.0, NOTE),
        )


class UnusableAnswer(Exception):
    """The server answered, but not the question."""


def checked(answer: Answer) -> Mapping[str, Any]:
    """The body of a good answer. Raises UnusableAnswer with a remedy for any other."""
    if answer.status in (401, 403):
        reason = "authentication failed" if answer.status == 401 else "this client or Host header is not allowed"
        raise UnusableAnswer(
            f"{reason} (HTTP {answer.status}); check username, password and token in experiments.sources, and mlflow's --allowed-hosts"
        )
    if answer.status != 200 or not isinstance(answer.body, dict):
        raise UnusableAnswer(f"not an MLflow server (HTTP {answer.status})")
    return answer.body


def searched(probe: Probe, kind: str, query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ``experiments`` or ``runs`` of a search, from at most ten pages. Raises UnusableAnswer or NO_ANSWER."""
    found: list[Mapping[str, Any]] = []
    token = ""
    for _page in range(MAX_PAGES):
        body = checked(probe.search(f"{API}/{kind}/search", {**query, **({"page_token": token} if token else {})}))
        found += map(mapping, items(body.get(kind)))
        token = body.get("next_page_token") or ""
        if not isinstance(token, str) or not token:
            break
    return found


def pairs(run: Mapping[str, Any], kind: str) -> dict[str, str]:
    """A run's tags or params as a dictionary."""
    found = map(mapping, items(mapping(run.get("data")).get(kind)))
    return {text(pair.get("key")): text(pair.get("value")) for pair in found}


def metrics_of(run: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """(step, timestamp in ms of the training's clock) by metric."""
    found = {}
    for metric in map(mapping, items(mapping(run.get("data")).get("metrics"))):
        step, stamp = count(metric.get("step", 0)), count(metric.get("timestamp"))
        if step is not None and stamp is not None:
            found[text(metric.get("key"))] = (step, stamp)
    return found


def busiest_metric(run: Mapping[str, Any]) -> str:
    """The metric with the most steps; never a system metric, and ``epoch`` only if it is the only one."""
    found = {key: step for key, (step, _at) in metrics_of(run).items() if not key.startswith("system/")}
    return max(found, key=lambda key: (found[key], key not in WITH_EVERYTHING)) if found else ""


def history(probe: Probe, run: str, metric: str, first: float, last: float) -> list[Point] | None:
    """When steps ``first`` to ``last`` of a metric were logged. ``None`` if the server does not report it. Raises NO_ANSWER.

    Servers before 2.11 or so cannot be asked for a part of the history.
    """
    steps = {"start_step": int(first), "end_step": int(last), "max_results": MAX_POINTS}
    query = urlencode({"run_ids": run, "metric_key": metric, **steps})
    answer = probe.get(f"{API}/metrics/get-history-bulk-interval?{query}")
    if answer.status == 200 and isinstance(answer.body, dict):
        return points_of(answer)
    found = whole_history(probe, run, metric)
    return None if found is None else [point for point in found if first <= point[1] <= last]


def whole_history(probe: Probe, run: str, metric: str) -> list[Point] | None:
    """All points of a metric, page by page. ``None`` if the server does not report them, or if they are too many to read."""
    found: list[Point] = []
    query = {"run_id": run, "metric_key": metric, "max_results": str(PAGE_POINTS)}
    for _page in range(MAX_PAGES):
        answer = probe.get(f"{API}/metrics/get-history?{urlencode(query)}")
        if answer.status != 200 or not isinstance(answer.body, dict):
            return None
        found += points_of(answer)
        token = answer.body.get("next_page_token")
        if not isinstance(token, str) or not token:
            return found
        query["page_token"] = token
    return None


def points_of(answer: Answer) -> list[Point]:
    """(seconds of the training's clock, step) of the metrics in an answer; what is not a point is skipped."""
    found = []
    for point in map(mapping, items(mapping(answer.body).get("metrics"))):
        stamp, step = count(point.get("timestamp")), count(point.get("step", 0))
        if stamp is not None and step is not None:
            found.append((stamp / 1000, step))
    return found


def process_of(tags: Mapping[str, str]) -> str:
    """The training process if the training reports it in tags; else empty."""
    return "/".join(tags[tag] for tag in PROCESS_TAGS if tag in tags)


class RunSession(HttpSession):
    """Questions about one run."""

    max_hz = 10.0

    def __init__(self, endpoint: Endpoint, experiment: Experiment, settings: Mapping[str, Any], timeout: float) -> None:
        super().__init__(Probe(endpoint, timeout))
        self._run = experiment.id
        self._tagged = bool(experiment.process)
        self._metric = experiment.metric
        self._total = settings["total_steps"]
        self._first: float | None = None  # timestamp of the first point seen
        self._last: tuple[float, float] | None = None
        self._changed = time.monotonic()
        self._looked = 0.0
        self._looks = 0
        self._restarted = ""
        self._repeats = False

    def sample(self) -> Sample:
        """See the port ``Session``."""
        return sampled(self._ask)

    def _ask(self, sent: float) -> Sample:
        answer = self._probe.get(f"{API}/runs/get?{urlencode({'run_id': self._run})}")
        received = time.monotonic()
        run = mapping(mapping(answer.body).get("run"))
        info = mapping(run.get("info"))
        if answer.status != 200 or not info:
            missing = mapping(answer.body).get("error_code") == "RESOURCE_DOES_NOT_EXIST"
            return Sample(sent, received, "job_missing" if missing else "invalid", detail=f"HTTP {answer.status}")
        point = metrics_of(run).get(self._metric)
        self._notice(point, received)
        step = None if point is None or self._repeats else point[0]
        return Sample(
            sent,
            received,
            "answered",
            process_of(pairs(run, "tags")) if self._tagged else "",  # tags that are set later are not another process
            status=STATUS.get(text(info.get("status")), text(info.get("status"))),
            progress=progress_at(step, self._total),
            detail=REPEATS if self._repeats else "",
            step=step,
            logged=point[1] / 1000 if point else None,
            restarted=self._restarted,
        )

    def _notice(self, point: tuple[float, float] | None, now: float) -> None:
        """Look into the history if the step does not change: the highest step hides a training that started again."""
        if point is None:
            return
        if self._first is None or self._last is None:
            self._first, self._last, self._changed = point[1], point, now
            return
        quiet = now - self._changed > QUIET_SECONDS or point[1] - self._last[1] > 1000 * RESTART_SECONDS
        if quiet and now - self._looked > 1.0:
            self._looked = now
            self._look_back(point[0], self._first / 1000)
        if point != self._last:
            self._last, self._changed, self._looks = point, now, 0

    def _look_back(self, step: float, since: float) -> None:
        """Look at a part of the history before ``step``, each time at a longer one. A failure is not a failed sample."""
        first = max(0, int(step) - LOOK_BACK * 10**self._looks)
        self._looks = min(self._looks + 1, MAX_LOOKS)
        with suppress(*NO_ANSWER), Probe(self._probe.endpoint, RECORD_SECONDS, MAX_BYTES) as probe:
            found = returns(history(probe, self._run, self._metric, first, step) or [])
            self._repeats = self._repeats or repeats(found)
            self._restarted = self._restarted or restart_in(found, since)
