# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``prometheus``: a metric that counts training steps, from its exporter or by a query. It only reads.

An exporter in the training process freezes with the VM. If it is asked directly, a stall is a gap between its answers,
with the resolution of the polling, and ``process_start_time_seconds`` identifies the process. Nothing does without it (as
in the client's multiprocess mode), or if a node exporter or a push gateway answers for the training. A Prometheus server
always answers, and its samples are as old as its scrape interval. A failed scrape makes the series disappear; that alone
is not a stall.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from ..._core.errors import InvalidInput
from ..._core.untrusted import count, items, mapping, number, text
from ..model import (
    Capabilities,
    Experiment,
    Sample,
)
from .base import Target, advancing, progress_at
from .over_http import HttpSession, UrlSource, sampled
from .probe import (
    REQUEST_SECONDS,
    Answer,
    Endpoint,
    Probe,
)

PROVIDER = "prometheus"
START = "process_start_time_seconds"
RELAYS = ("node_exporter_build_info", "pushgateway_build_info")  # who answers for others; its start is its own
STARTED = "started "  # followed by the process' start in seconds since the epoch
CLOCK_STEP = 2.0  # seconds by which a correction of the guest clock may shift a process' start
USUAL_INTERVAL, USUAL_TIMEOUT = 60.0, 10.0  # Prometheus' own defaults
LONGEST_WAIT = 600.0  # seconds; a search never waits longer, whatever a server reports
DISCOVERY_SECONDS = 10.0
MAX_BYTES = 16 << 20
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^\n]*\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$")
SELECTOR = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})?$")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Prometheus(UrlSource):
    """An exporter (``metric``), or a Prometheus server (``query``)."""

    provider = PROVIDER
    names_its_vm = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if bool(settings["metric"]) == bool(settings["query"]):
            raise InvalidInput(
                "A source of provider prometheus needs either metric or query",
                hint="Set metric (a counter's name; url is its exporter) or query (PromQL; url is a Prometheus server)",
                option="experiments",
            )
        super().__init__(settings)

    def _search(self, endpoint: Endpoint, target: Target) -> tuple[list[Experiment], str]:
        query = self._settings["query"] or ""
        series = query.replace("{vm}", target.vm_name).replace("{address}", target.address) or self._settings["metric"]
        capabilities = self._capabilities(endpoint)
        candidate = Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=f"{series} at {endpoint.url}",
            process="",
            url=endpoint.url,
            description=series,
            metric=series,
            capabilities=capabilities,
        )
        session = self.session(candidate, DISCOVERY_SECONDS)
        first = session.sample()
        session.close()
        if first.outcome != "answered" or first.step is None:
            return [], first.detail or "the metric does not exist"
        candidate = with_process(candidate, session.started)
        seconds = max(self._settings["advance_timeout"], min(3 * capabilities.freshness, LONGEST_WAIT))
        found = advancing([(candidate, self.session(candidate, DISCOVERY_SECONDS))], seconds)
        return found, f"{series} did not advance in {seconds:.0f} s"

    def _capabilities(self, endpoint: Endpoint) -> Capabilities:
        if self._settings["metric"]:
            return Capabilities("run", "answers", 0.0, "answers of the exporter in the training process")
        with Probe(endpoint, DISCOVERY_SECONDS) as probe:
            freshness = scrape_age(probe.get("/api/v1/status/config"))
        return Capabilities("run", "changes", freshness, "changes of a query's value; as old as the scrape interval")

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> SeriesSession:
        """See the port ``Source``."""
        return SeriesSession(self._endpoint(experiment.url), experiment, self._settings["total_steps"], timeout)


def with_process(experiment: Experiment, started: float | None) -> Experiment:
    """The experiment with its process, if the process reports when it started."""
    if started is None:
        return experiment
    capabilities = replace(experiment.capabilities, identity="process")
    return replace(experiment, process=f"{STARTED}{started:.2f}", capabilities=capabilities)


def scrape_age(config: Answer) -> float:
    """Maximum age of a sample in seconds: the longest scrape interval and timeout in the server's configuration."""
    yaml = mapping(mapping(config.body).get("data")).get("yaml")
    yaml = yaml if isinstance(yaml, str) else ""
    intervals = [seconds(found) for found in re.findall(r"scrape_interval:\s*(\S+)", yaml)]
    timeouts = [seconds(found) for found in re.findall(r"scrape_timeout:\s*(\S+)", yaml)]
    return max(intervals, default=USUAL_INTERVAL) + max(timeouts, default=USUAL_TIMEOUT)


def seconds(duration: str) -> float:
    """A duration such as ``1m30s`` in seconds."""
    return sum(float(count) * UNITS[unit] for count, unit in re.findall(r"(\d{1,9})(ms|s|m|h)", duration))


def exposition(data: bytes, names: set[str]) -> dict[str, float]:
    """The values of ``names`` in an exposition. A name without labels is the first series of that name."""
    found: dict[str, float] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        match = SERIES.match(line)
        if match is None:
            continue
        value = count(match[3])
        for name in (match[1], f"{match[1]}{match[2] or ''}"):
            if name in names and value is not None:
                found.setdefault(name, value)
    return found


class SeriesSession(HttpSession):
    """Questions about one series."""

    max_hz = 20.0

    def __init__(
        self, endpoint: Endpoint, experiment: Experiment, total_steps: int | None, timeout: float = REQUEST_SECONDS
    ) -> None:
        super().__init__(Probe(endpoint, timeout, MAX_BYTES))
        self._series = experiment.metric
        self._process = experiment.process
        self._direct = experiment.capabilities.signal == "answers"
        self._start_query = START + self._series[self._series.index("{") :] if "{" in self._series else START
        self._asks_start = bool(SELECTOR.match(self._series))
        self._total = total_steps
        self.started = number(experiment.process.removeprefix(STARTED)) if experiment.process else None
        self._last: float | None = None
        self._gone = False  # a question since the last answer was refused, or something else answered it
        self._same_start = True
        self._restarted = ""

    def sample(self) -> Sample:
        """See the port ``Session``."""
        sample = sampled(self._ask)
        self._gone = sample.outcome != "answered" and (self._gone or sample.outcome != "silent")
        return sample

    def _ask(self, sent: float) -> Sample:
        step, started, detail = self._scraped() if self._direct else self._queried()
        received = time.monotonic()
        if detail:
            return Sample(sent, received, "invalid", detail=detail)
        self._notice(step, started)
        return Sample(
            sent,
            received,
            "answered",
            self._process if self._same_start and started is not None else "",
            status="RUNNING",
            progress=progress_at(step, self._total),
            step=step,
            restarted=self._restarted,
        )

    def _scraped(self) -> tuple[float | None, float | None, str]:
        answer = self._probe.get("")
        if answer.status != 200:
            return None, None, f"HTTP {answer.status}"
        found = exposition(answer.data, {self._series, START, *RELAYS})
        missing = "" if self._series in found else f"the exporter has no metric {self._series}"
        return found.get(self._series), None if found.keys() & set(RELAYS) else found.get(START), missing

    def _queried(self) -> tuple[float | None, float | None, str]:
        step, detail = self._value(self._series)
        started = self._value(self._start_query)[0] if self._asks_start and not detail else None
        return step, started, detail

    def _value(self, query: str) -> tuple[float | None, str]:
        answer = self._probe.get(f"/api/v1/query?{urlencode({'query': query})}")
        body = mapping(answer.body)
        if answer.status != 200 or body.get("status") != "success":
            return None, text(body.get("error")) or f"not a Prometheus server (HTTP {answer.status})"
        results = items(mapping(body.get("data")).get("result"))
        if len(results) != 1:
            return None, f"the query returns {len(results)} series instead of one"
        value = items(mapping(results[0]).get("value"))
        return (count(value[1]), "") if len(value) == 2 else (None, "the query does not return an instant vector")

    def _notice(self, step: float | None, started: float | None) -> None:
        """Notice a restart: the counter decreased, or the process started at another time after it was gone.

        Some exporters compute their start from the clock at each question, and hypervisors step the clock of a guest.
        So another start alone is not a restart; but the process is no longer known.
        """
        if step is not None and self._last is not None and step < self._last:
            self._restarted = self._restarted or f"its counter went back from {self._last:g} to {step:g}"
        if started is not None and self.started is not None and abs(started - self.started) > CLOCK_STEP:
            self._same_start = False
            if self._gone:
                self._restarted = self._restarted or "it was gone, and then a process with another start time answered"
        self.started = started if started is not None else self.started
        self._last = step if step is not None else self._last
