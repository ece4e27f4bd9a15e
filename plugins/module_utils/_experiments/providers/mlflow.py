# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``mlflow``: runs of any framework that logs to an MLflow tracking server (REST API 2.0). It only reads.

The server answers while the VM is frozen, so a stall is measured by the changes of the run's step. A run counts only
while its step advances: MLflow shows a killed run as RUNNING forever. ``runs/get`` returns the metric with the highest
step, so a training that resumed from a checkpoint is found by its history in time order.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self
from urllib.parse import urlencode

from ..._core.untrusted import count, exact, if_shortened, items, mapping, number, shortened, text
from ..model import (
    BETWEEN,
    WITHOUT_IT,
    Capabilities,
    Experiment,
    Final,
    Sample,
)
from ..record import REPEATS, RESTART_SECONDS, hide_progress, repeats, restart_in, returns
from ..training_clock import Point
from .base import (
    LONGEST_LOOK,
    OF_A_MONITOR,
    Advance,
    Mark,
    Search,
    Searched,
    Seen,
    Session,
    Target,
    advancing,
    doubt,
    names_one,
    progress_at,
)
from .over_http import BUSY, HttpSession, UrlSource, sampled, unusable
from .probe import (
    LARGE,
    NO_ANSWER,
    REQUEST_SECONDS,
    Answer,
    Endpoint,
    Limits,
    Probe,
    TooLong,
    UnusableAnswer,
)

PROVIDER = "mlflow"
APIS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
VM_TAG = "liveml.vm"
CHECKPOINT_TAG = "liveml.checkpoint"
PROCESS_TAGS = ("liveml.pid", "liveml.started")
STATUS = {"RUNNING": "RUNNING", "FINISHED": "DONE", "FAILED": "FAILED", "KILLED": "CANCELLED"}
RECORD_SECONDS = 10.0
RUNS_PER_PAGE = 1000  # a search costs the server 3 ms per run, and the same again for each page (measured)
FEW_RUNS = 100
PAGE_SECONDS = 60.0
EXPERIMENTS_PER_PAGE = 1000
MAX_EXPERIMENTS = 100_000  # on a server
GUEST_EXPERIMENTS = 2_000  # the same in a VM
MAX_ID = 64  # characters; MLflow's own ids have up to 32
EXPERIMENTS_PER_SEARCH = 500  # databases limit the values of a question
WITH_EVERYTHING = ("epoch",)  # logged beside each metric, several times per step: not a sign of a new start
PARENT_TAG = "mlflow.parentRunId"
PARENT_ID = re.compile(r"[\w-]{1,64}")
IDLE_SECONDS = 3600.0  # a parent that did nothing for so long before a run began does not start its runs itself
SWEEP_SECONDS = 1.0  # between two looks at the runs of a sweep
QUIET_SECONDS = 2.0
LOOK_BACK = 500  # steps; ten times as many at each further look while the step does not change
MAX_LOOKS = 9
MAX_POINTS = 2500
MAX_PAGES = 10  # of a history
PAGE_POINTS = 25_000
MAX_AGAIN = 10  # runs that are asked for lower steps
GROW = "log steps that only grow, not the index of a batch"
NOTE = "changes of the run's step, as the tracking server records them"


class Mlflow(UrlSource):
    """A tracking server; runs belong to the VM that their tag ``liveml.vm`` names, or to the source's only VM."""

    provider = PROVIDER

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._only = names_one(settings["vms"])

    def _search(self, endpoint: Endpoint, target: Target) -> Searched:
        seconds = self._settings["advance_timeout"]
        page = min(PAGE_SECONDS, target.seconds_left)
        with Tracking(Probe(endpoint, page, self._limits), self.longest_look) as server:
            known = server.found("experiments", {"max_results": EXPERIMENTS_PER_PAGE})
            named = (exact(experiment.get("experiment_id")) for experiment in known)
            most = GUEST_EXPERIMENTS if self.in_guest else MAX_EXPERIMENTS
            ids = list(itertools.islice((name for name in named if 0 < len(name) <= MAX_ID), most))
            few: list[Seen] = []

            def look(_found: object) -> Iterator[Seen]:
                few.clear()
                for seen in self._look(server, ids, endpoint, target):
                    few.extend([seen] if len(few) < MAX_AGAIN else [])
                    yield seen

            search = advancing(
                look,
                seconds,
                longest=self.longest_look,
                room=self.room,
                is_named=bool(self._settings["metric"]),
            )
        complete = not search.detail
        if search.found:
            found = [self._watched(advance) for advance in search.found]
            return Searched(found, search.detail.removeprefix("; "), complete=complete)
        with Tracking(Probe(endpoint, min(RECORD_SECONDS, target.seconds_left), self._limits)) as server:
            why = self._none_advanced(search, target, seconds) + logs_again(server, few, target.until)
            return Searched([], why, complete=complete)

    def _none_advanced(self, search: Search, target: Target, seconds: float) -> str:
        mine = "" if self._only else f" with the tag {VM_TAG}={target.vm_name}"
        if not search.runs:
            return f"no run{mine} is RUNNING{search.detail}"
        metric = f"the metric {self._settings['metric']}" if self._settings["metric"] else "a metric"
        what = f"logged a further step of {metric} in {seconds:.0f} s"
        return f"{search.runs} runs{mine} are RUNNING, none {what}{search.detail}"

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
        with self._server(experiment) as server:
            run = mapping(checked(server.get("runs/get", run_id=experiment.asked_id)).get("run"))
            files = items(checked(server.get("artifacts/list", run_id=experiment.asked_id)).get("files"))
        return run, [text(mapping(file).get("path")) for file in files]

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """See the port ``Source``: when each step was logged."""
        with suppress(*NO_ANSWER), self._server(experiment) as server:
            return history(server, experiment.asked_id, experiment.metric, first, last) or []
        return []

    def _server(self, experiment: Experiment) -> Tracking:
        return Tracking(Probe(self._endpoint(experiment.url), RECORD_SECONDS, self._limits))

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> Session:
        """See the port ``Source``."""
        return RunSession(self._endpoint(experiment.url), experiment, self._settings, timeout, self._limits)

    def _look(self, server: Tracking, ids: list[str], endpoint: Endpoint, target: Target) -> Iterator[Seen]:
        """All runs that are RUNNING, with the progress of their metrics. Raises UnusableAnswer or NO_ANSWER."""
        server.close()  # the server closes a connection that was idle between two looks
        wanted = "attributes.status = 'RUNNING'"
        quote = next((quote for quote in "'\"" if not {quote, "\\"} & set(target.vm_name)), "")
        if not self._only and quote:
            wanted += f" and tags.`{VM_TAG}` = {quote}{target.vm_name}{quote}"
        for first in range(0, len(ids), EXPERIMENTS_PER_SEARCH):
            # The latest come first: of too many runs, those are looked at that are most likely alive.
            query = {
                "experiment_ids": ids[first : first + EXPERIMENTS_PER_SEARCH],
                "filter": wanted,
                "order_by": ["attributes.start_time DESC"],
                "max_results": RUNS_PER_PAGE,
            }
            for run in server.found("runs", query):
                experiment = self._experiment(run, endpoint, target)
                if experiment is not None and (self._only or pairs(run, "tags").get(VM_TAG) == target.vm_name):
                    yield Seen(experiment, self._marks(run))

    def _marks(self, run: Mapping[str, Any]) -> dict[str, Mark]:
        """(step, timestamp) of each metric of the training, or of the one that the settings name."""
        wanted = self._settings["metric"]
        known = metrics_of(run).items()
        return {sys.intern(key): mark for key, mark in known if (key == wanted if wanted else is_of_training(key))}

    def _watched(self, advance: Advance) -> Experiment:
        """The experiment with the metric that is watched: the one with the most steps of those that advanced."""
        metric = busiest_metric(advance.changed, advance.before)
        described = f"{advance.experiment.description} {text(metric)}".strip()
        return replace(advance.experiment, metric=metric, description=described)

    def _experiment(self, run: Mapping[str, Any], endpoint: Endpoint, target: Target) -> Experiment | None:
        info, tags = mapping(run.get("info")), pairs(run, "tags")
        run_id = exact(info.get("run_id"))
        if not run_id:
            return None
        return Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=shortened(run_id),
            exact_id=if_shortened(run_id),
            process=process_of(tags),
            url=endpoint.url,
            description=text(info.get("run_name")) or tags.get("mlflow.runName", ""),
            owner=tags.get("mlflow.user", ""),
            capabilities=Capabilities(
                "process" if process_of(tags) else "run", "changes", 0.0, NOTE, named_by_record=True
            ),
        )


class Tracking:
    """Questions to a tracking server, at its REST API or, where only that is routed, at the API of its web page.

    MLflow before 3.12 adds the prefix of ``--static-prefix`` only to the second.
    """

    def __init__(self, probe: Probe, longest_look: float = LONGEST_LOOK) -> None:
        self._probe = probe
        self._longest_look = longest_look
        self._api = ""

    def __enter__(self) -> Self:
        """Connect at the first question."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        self._probe.close()

    def get(self, path: str, **query: Any) -> Answer:
        """GET a path of the API. Raises NO_ANSWER."""
        return self._asked(lambda api: self._probe.get(f"{api}/{path}?{encoded(query)}"))

    def search(self, path: str, query: Mapping[str, Any]) -> Answer:
        """POST a search, which changes nothing. Raises NO_ANSWER."""
        return self._asked(lambda api: self._probe.search(f"{api}/{path}", query))

    def _asked(self, ask: Callable[[str], Answer]) -> Answer:
        if self._api:
            return ask(self._api)
        answers = []
        for api in APIS:
            answer = ask(api)
            if is_mlflow(answer):
                self._api = api
                return answer
            answers.append(answer)
        return answers[0]

    def found(self, kind: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The ``experiments`` or ``runs`` of a search, page by page. Raises UnusableAnswer or NO_ANSWER."""
        token, most, end = "", query["max_results"], time.monotonic() + self._longest_look + PAGE_SECONDS
        while time.monotonic() < end:
            page = {**query, "max_results": most, **({"page_token": token} if token else {})}
            try:
                answer = self.search(f"{kind}/search", page)
            except (TooLong, TimeoutError) as error:  # runs with thousands of metrics or parameters, or a busy server
                if most == 1 or (most <= FEW_RUNS and isinstance(error, TimeoutError)):
                    raise
                most = max(1, most // 10)
                continue
            body = checked(answer)
            yield from map(mapping, items(body.get(kind)))
            previous, token = token, exact(body.get("next_page_token"))
            if not token or token == previous:
                return
        raise TimeoutError("the list has no end")


def is_mlflow(answer: Answer) -> bool:
    """Whether MLflow itself answered: with JSON, and with a code for an error."""
    return isinstance(answer.body, dict) and (answer.status == 200 or "error_code" in answer.body)


def encoded(query: Mapping[str, Any]) -> str:
    """The query of a URL."""
    return urlencode(query, errors="replace")


def checked(answer: Answer) -> Mapping[str, Any]:
    """The body of a good answer. Raises UnusableAnswer with a remedy for any other."""
    if answer.status == 403:
        raise UnusableAnswer(
            "this client or Host header is not allowed (HTTP 403); "
            "check username, password and token in experiments.sources, and mlflow's --allowed-hosts"
        )
    if answer.status == 401 or not is_mlflow(answer):
        raise unusable(answer, "an MLflow server")
    if answer.status != 200:
        raise UnusableAnswer(
            f"MLflow answers {text(answer.body.get('error_code'))}: {text(answer.body.get('message'))}"
        )
    body: Mapping[str, Any] = answer.body
    return body


def pairs(run: Mapping[str, Any], kind: str) -> dict[str, str]:
    """A run's tags or params as a dictionary."""
    found = map(mapping, items(mapping(run.get("data")).get(kind)))
    return {(key := text(pair.get("key"))): _value(key, pair.get("value")) for pair in found}


def _value(key: str, value: Any) -> str:
    """The text of a tag or param. Two processes that differ stay different."""
    return shortened(value) if key in PROCESS_TAGS and isinstance(value, str) else text(value)


def metrics_of(run: Mapping[str, Any]) -> dict[str, Mark]:
    """(step, timestamp in ms of the training's clock) by metric."""
    found = {}
    for metric in map(mapping, items(mapping(run.get("data")).get("metrics"))):
        key, step, stamp = exact(metric.get("key")), count(metric.get("step", 0)), count(metric.get("timestamp"))
        if key and step is not None and stamp is not None:
            found[key] = (step, stamp)
    return found


def is_of_training(metric: str) -> bool:
    """Whether the training logs it: MLflow itself logs the system metrics."""
    return not metric.startswith("system/")


def busiest_metric(metrics: Mapping[str, Mark], before: Mapping[str, Mark]) -> str:
    """The metric with the most steps; that of a monitor or ``epoch`` only if there is no other."""

    def rank(key: str) -> tuple[int, float, bool]:
        return -doubt(key, before.get(key), metrics[key]), metrics[key][0], key not in WITH_EVERYTHING

    return max(metrics, key=rank, default="")


def logs_again(server: Tracking, runs: Sequence[Seen], until: float) -> str:
    """Which of the runs logged lower steps after its highest one, as a batch index does, to be added to a sentence.

    The server shows only the point with the highest step of a metric, so such a run does not seem to advance. No question is
    asked after ``until`` (monotonic).
    """
    with suppress(*NO_ANSWER):
        for seen in itertools.takewhile(lambda _seen: time.monotonic() < until, runs):
            metric, (step, at) = max((seen.marks or {}).items(), key=lambda mark: mark[1], default=("", (0.0, 0.0)))
            points = history(server, seen.experiment.asked_id, metric, 0, step) if step > 0 else None
            if any(1000 * logged > at and lower < step for logged, lower in points or ()):
                name = seen.experiment.description or seen.experiment.id
                return f"; run {name} logged lower steps after its highest one, and the server shows only that: {GROW}"
    return ""


def history(server: Tracking, run: str, metric: str, first: float, last: float) -> list[Point] | None:
    """When steps ``first`` to ``last`` of a metric were logged. ``None`` if the server does not report it. Raises NO_ANSWER.

    Servers before 2.11 or so cannot be asked for a part of the history.
    """
    steps = {"start_step": int(first), "end_step": int(last), "max_results": MAX_POINTS}
    answer = server.get("metrics/get-history-bulk-interval", run_ids=run, metric_key=metric, **steps)
    if answer.status == 200 and isinstance(answer.body, dict):
        return points_of(answer)
    found = whole_history(server, run, metric)
    return None if found is None else [point for point in found if first <= point[1] <= last]


def whole_history(server: Tracking, run: str, metric: str) -> list[Point] | None:
    """All points of a metric, page by page. ``None`` if the server does not report them, or if they are too many to read."""
    found: list[Point] = []
    query = {"run_id": run, "metric_key": metric, "max_results": str(PAGE_POINTS)}
    for _page in range(MAX_PAGES):
        answer = server.get("metrics/get-history", **query)
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
    """The training process if the training reports it in both tags; else empty.

    A process of a container has the same number after each start.
    """
    known = [tags.get(tag, "") for tag in PROCESS_TAGS]
    return "/".join(known) if all(known) else ""


def last_value(point: Mark) -> str:
    """What shows that a training works which does not log steps: all are 0, but the time of the last one changes."""
    return f"no steps are logged; last value at {point[1] / 1000:.3f}" if point[0] == 0 else ""


class Sweep:
    """The runs of a parent run, as a search for parameters makes them: the end of one of them is not the end of the search.

    Parents that were never ended say RUNNING all the time. One that did nothing for long before the run began is not asked.
    Only runs of the same VM show work. If the process of the run that has ended is known, runs of the same process go first.
    """

    def __init__(self, server: Tracking) -> None:
        self._server = server
        self._asked = float("-inf")
        self._is_idle: bool | None = None
        self._status = ""  # of the parent
        self._works = False  # one of its runs
        self._detail = ""
        self._logged: float | None = None
        self._process = ""  # of the run that shows the work

    def continued(self, sample: Sample, run: Mapping[str, Any]) -> Sample:
        """The sample of a run that has ended, with the state of its parent and the latest step of the others. Raises NO_ANSWER."""
        parent = pairs(run, "tags").get(PARENT_TAG, "")
        if PARENT_ID.fullmatch(parent) and sample.received >= self._asked + SWEEP_SECONDS and not self._is_idle:
            self._asked = sample.received
            with suppress(UnusableAnswer):
                self._look(parent, run)
        if self._is_idle:
            return sample
        if self._status == "RUNNING" and not self._works:
            return replace(sample, status=BETWEEN)
        status = self._status or sample.status
        if sample.status != "DONE" and self._status in ("RUNNING", "DONE"):
            status = WITHOUT_IT
        if not self._detail:
            return replace(sample, status=status)
        process = sample.process if self._process == sample.process else ""
        return replace(
            sample,
            process=process,
            status=status,
            step=None,
            progress=None,
            detail=self._detail,
            logged=self._logged,
        )

    def _look(self, name: str, run: Mapping[str, Any]) -> None:
        answer = self._server.get("runs/get", run_id=name)
        if answer.status in BUSY or answer.status == 500:
            self._status = self._status or "RUNNING"  # it does not say that the search has ended
            return
        parent = mapping(mapping(answer.body).get("run"))
        self._status = status_of(parent)
        if self._status != "RUNNING":
            return
        if self._is_idle is None:
            self._is_idle = was_idle(parent, self._runs(parent, name), time_of(run, "start_time"))
        tags = pairs(run, "tags")
        latest = [
            (
                process_of(known) == process_of(tags),
                at / 1000,
                step,
                text(mapping(other.get("info")).get("run_id")),
                process_of(known),
            )
            for other in self._runs(parent, name, " and attributes.status = 'RUNNING'")
            if (known := pairs(other, "tags")).get(VM_TAG) == tags.get(VM_TAG)
            for metric, (step, at) in metrics_of(other).items()
            # One that logged nothing since this run has ended may be dead.
            if is_of_training(metric) and not OF_A_MONITOR.search(metric) and at > time_of(run, "end_time")
        ]
        self._works = bool(latest)
        if latest:
            _same, self._logged, step, name, self._process = max(latest)
            self._detail = f"run {name} of the same parent: step {step:g}"

    def _runs(self, parent: Mapping[str, Any], name: str, also: str = "") -> list[Mapping[str, Any]]:
        """The latest runs of the parent."""
        query = {
            "experiment_ids": [exact(mapping(parent.get("info")).get("experiment_id"))],
            "filter": f"tags.`{PARENT_TAG}` = '{name}'{also}",
            "order_by": ["attributes.start_time DESC"],
            "max_results": FEW_RUNS,
        }
        return list(itertools.islice(self._server.found("runs", query), FEW_RUNS))


def time_of(run: Mapping[str, Any], event: str) -> float:
    """The ``start_time`` or ``end_time`` of a run in milliseconds; 0 if it is not known."""
    return count(mapping(run.get("info")).get(event)) or 0.0


def was_idle(parent: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], until: float) -> bool:
    """Whether neither a parent nor its runs showed any work in the ``IDLE_SECONDS`` before a time."""
    if not time_of(parent, "start_time"):
        return False
    return max(last_sign(each, until) for each in (parent, *runs)) < until - 1000 * IDLE_SECONDS


def last_sign(run: Mapping[str, Any], before: float) -> float:
    """When a run that began before a time last showed that it works; 0 if it began later. In milliseconds."""
    begun = time_of(run, "start_time")
    if begun >= before:
        return 0.0
    return max(begun, time_of(run, "end_time"), *(at for _step, at in metrics_of(run).values()))


def status_of(run: Mapping[str, Any]) -> str:
    """How a run is, as in ``Sample``; empty if that is not known."""
    status = text(mapping(run.get("info")).get("status"))
    return STATUS.get(status, status)


class RunSession(HttpSession):
    """Questions about one run."""

    max_hz = 10.0

    def __init__(
        self,
        endpoint: Endpoint,
        experiment: Experiment,
        settings: Mapping[str, Any],
        timeout: float,
        limits: Limits = LARGE,
    ) -> None:
        super().__init__(Probe(endpoint, timeout))
        self._limits = limits
        self._server = Tracking(self._probe)
        self._sweep = Sweep(self._server)
        self._run = experiment.asked_id
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
        self._hidden = False  # how far the training is
        self._newest = 0.0  # time of the newest point that the history showed
        self._unread = False  # the history, though the step does not change

    def sample(self) -> Sample:
        """See the port ``Session``."""
        return sampled(self._probe, self._ask)

    def _ask(self, sent: float) -> Sample:
        answer = self._server.get("runs/get", run_id=self._run)
        received = time.monotonic()
        run = mapping(mapping(answer.body).get("run"))
        info = mapping(run.get("info"))
        if answer.status != 200 or not info:
            missing = mapping(answer.body).get("error_code") == "RESOURCE_DOES_NOT_EXIST"
            return Sample(sent, received, "job_missing" if missing else "invalid", detail=f"HTTP {answer.status}")
        if info.get("lifecycle_stage") == "deleted" and status_of(run) == "RUNNING":
            # The server refuses further steps of it, so that its record does not show whether the training works.
            return Sample(sent, received, "job_missing", detail="the run was deleted")
        point = metrics_of(run).get(self._metric)
        self._notice(point, received)
        step = None if point is None or self._hidden else point[0] or None
        sample = Sample(
            sent,
            received,
            "answered",
            process_of(pairs(run, "tags")) if self._tagged else "",  # tags that are set later are not another process
            status=status_of(run),
            progress=progress_at(step, self._total),
            detail=REPEATS if self._hidden else last_value(point) if point else "",
            step=step,
            logged=max(point[1] / 1000, self._newest if self._hidden else 0.0) if point else None,
            hides_steps=self._unread,
            restarted=self._restarted,
        )
        return sample if sample.status == "RUNNING" else self._sweep.continued(sample, run)

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
            self._unread = self._unread and point[0] <= self._last[0]
            self._last, self._changed, self._looks = point, now, 0

    def _look_back(self, step: float, since: float) -> None:
        """Look at a part of the history before ``step``, each time at a longer one. A failure is not a failed sample.

        A training that starts from scratch logs its first steps again, so only the whole history shows that nothing is logged.
        """
        first = max(0, int(step) - LOOK_BACK * 10**self._looks)
        self._looks = min(self._looks + 1, MAX_LOOKS)
        self._unread = True
        with suppress(*NO_ANSWER), Tracking(Probe(self._probe.endpoint, RECORD_SECONDS, self._limits)) as server:
            points = history(server, self._run, self._metric, first, step)
            if points is None:
                return
            self._unread = first > 0
            self._newest = max((at for at, _step in points), default=0.0)
            found = returns(points)
            self._repeats = self._repeats or repeats(found)
            self._hidden = hide_progress(found, points)
            self._restarted = "" if self._repeats else self._restarted or restart_in(found, since)
