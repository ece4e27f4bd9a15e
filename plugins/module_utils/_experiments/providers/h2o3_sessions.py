# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions about one H2O-3 job while it is watched."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from ..._core.untrusted import count, items, mapping, share, shortened, text
from ..model import Sample
from .h2o3_job_list import jobs_of
from .h2o3_jobs import SEGMENTS, Job, children, is_running, jobs_in, key_of, kind_of, name_of, trains_others
from .h2o3_models import is_of_its_own, job_path
from .over_http import HttpSession, sampled
from .probe import NO_ANSWER, Answer, Endpoint, Probe, UnusableAnswer

DISCOVERY_SECONDS = 3.0
JOB_SECONDS = 0.2
FRESH_SECONDS = (
    0.9 * JOB_SECONDS
)  # so that at 5 questions per second each one is about the job, even a slightly early one
CHEAP_HZ = 15.0  # most of the questions are liveness checks, which cost half; tested by benchmarks/probing.py
LONG_ANSWER = 0.25
CHILD_SECONDS = 1.0
LOOK_SECONDS = 5.0
MISSING = (
    400,
    404,
    412,
)  # how the server says that it does not know a key; an error of its own, as without memory, is another code


class JobSession(HttpSession):
    """Questions about one job, one after the other; only the cheap liveness check while the last job answer is fresh.

    After a freeze the job answer is not fresh, so the next question is about the job.
    """

    max_hz = 32.0
    max_hz_per_processor = CHEAP_HZ

    def __init__(self, endpoint: Endpoint, job: str, *, asks_again: bool = True) -> None:
        super().__init__(Probe(endpoint, asks_again=asks_again))
        self._job = job
        self._job_answer: Sample | None = None
        self._child = Child()

    @cached_property
    def _supports_liveness(self) -> bool:
        return supports_liveness(self._probe.endpoint)

    def sample(self) -> Sample:
        """See the port ``Session``."""
        if not self._supports_liveness:
            return self.ask()
        job = self._job_answer
        if job is None or time.monotonic() - job.sent > FRESH_SECONDS:
            return self.ask()
        liveness = liveness_of(self._probe)
        if liveness.outcome == "invalid":
            return self._ask_instead(liveness)
        if liveness.outcome != "answered" or liveness.process != job.process:
            self._job_answer = None
            return liveness
        return joined(liveness, job)

    def ask(self) -> Sample:
        """Ask about the job, even if the last answer is fresh."""
        job = sampled(self._probe, self._ask)
        self._job_answer = job if job.outcome == "answered" else None
        return job

    def _ask(self, sent: float) -> Sample:
        self._child.ask(self._probe)  # before the job, so that a freeze delays this answer
        answer = self._probe.get(job_path(self._job))
        self._child.of(answer)
        job = parse_sample(answer, sent, time.monotonic())
        if job.status != "RUNNING":
            return job  # its own message says how it ended
        return replace(job, detail=shortened("; ".join(filter(None, (job.detail, self._child.message)))))

    def _ask_instead(self, liveness: Sample) -> Sample:
        """A proxy answered the liveness check: if the server itself answers about the job, never check again."""
        job = self.ask()
        self._supports_liveness = job.outcome != "answered"
        return replace(job, sent=liveness.sent, asked=job.sent)


class Child:
    """What the models of a job say while they are trained by jobs of their own.

    The job itself often shows only a clock, or nothing until the next model.
    """

    def __init__(self) -> None:
        self.message = ""
        self._parent: Job = {}
        self._key = ""
        self._asked = float("-inf")
        self._looked = float("-inf")

    def of(self, answer: Answer) -> None:
        """Remember the job in the answer to ``GET /3/Jobs/{key}``."""
        self._parent = next(iter(jobs_in(answer)), {})

    def ask(self, probe: Probe) -> None:
        """Ask for the message of a running child, if it is time and the job has children. Raises NO_ANSWER."""
        now = time.monotonic()
        if not trains_others(self._parent) or now < self._asked + CHILD_SECONDS:
            return
        self._asked = now
        child = next(iter(jobs_in(probe.get(job_path(self._key)))), {}) if self._key else {}
        if not is_running(child):
            child = self._found(probe, now)
        self._key = key_of(child)
        if self._key:  # another model is work, too
            self.message = f"{text(name_of(child))} {text(child.get('progress_msg'))}".strip()

    def _found(self, probe: Probe, now: float) -> Job:
        """A running child in the list of all jobs, which is long and thus rarely asked for."""
        if now < self._looked + LOOK_SECONDS:
            return {}
        self._looked = now
        with suppress(UnusableAnswer, *NO_ANSWER):
            named = children(jobs_of(probe.endpoint, waits=probe.waits), self._parent)
            of_segments = kind_of(self._parent) == SEGMENTS
            return next((job for job in named if not (of_segments and is_of_its_own(probe, name_of(job)))), {})
        return {}


class NodeSession(HttpSession):
    """Questions about one node of a cluster, joined with the job's last answer.

    After a slow answer of the node only later job queries count: the server may have written an answer before a freeze
    and sent it after the freeze.
    """

    max_hz = 32.0
    max_hz_per_processor = CHEAP_HZ

    def __init__(self, endpoint: Endpoint, job: str) -> None:
        super().__init__(Probe(endpoint, asks_again=True))
        # Another node may be frozen: then this one lets questions about the job wait, however often they are asked.
        self._jobs = JobSession(endpoint, job, asks_again=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow_job, name=f"job at {endpoint.address}", daemon=True)
        self._latest: Sample | None = None
        self._job_answer: Sample | None = None
        self._since = float("-inf")

    @cached_property
    def _supports_liveness(self) -> bool:
        return supports_liveness(self._probe.endpoint)

    def sample(self) -> Sample:
        """See the port ``Session``."""
        if not self._thread.ident:
            self._thread.start()
        liveness = liveness_of(self._probe, cheaply=self._supports_liveness)
        if liveness.outcome != "answered":
            return liveness
        if liveness.waited > LONG_ANSWER:
            self._since = liveness.received
        latest = self._latest
        if latest is not None and latest.sent > self._since:
            self._job_answer = latest
        return joined(liveness, self._job_answer)

    def _follow_job(self) -> None:
        while not self._stop.is_set():
            sample = self._jobs.ask()
            if sample.outcome in ("answered", "job_missing"):
                self._latest = sample
            self._stop.wait(JOB_SECONDS)

    def interrupt(self) -> None:
        """See the port ``Session``."""
        self._stop.set()
        self._jobs.interrupt()
        super().interrupt()

    def close(self) -> None:
        """See the port ``Session``."""
        self.interrupt()
        if self._thread.ident:
            self._thread.join(timeout=2)
        self._jobs.close()
        super().close()


def supports_liveness(endpoint: Endpoint) -> bool:
    """Whether the server itself answers the cheap liveness check: a proxy may answer it, a firewall may drop it."""
    with Probe(endpoint, DISCOVERY_SECONDS) as probe:
        return liveness_of(probe).outcome == "answered"


def liveness_of(probe: Probe, *, cheaply: bool = True) -> Sample:
    """Ask once whether the server lives, and which process it is. Never raises for an error of server or network."""

    def ask(sent: float) -> Sample:
        answer = probe.options("/") if cheaply else probe.get("/3/Cloud")
        process = answer.headers.get("x-h2o-cluster-id")
        if process is None or answer.status != 200:
            return Sample(sent, time.monotonic(), "invalid", detail=f"not an H2O-3 server (HTTP {answer.status})")
        return Sample(sent, time.monotonic(), "answered", process)

    return sampled(probe, ask)


def joined(liveness: Sample, job: Sample | None) -> Sample:
    """A liveness answer with the figures of the last job answer."""
    if job is None:
        return liveness
    return replace(
        liveness, outcome=job.outcome, status=job.status, progress=job.progress, detail=job.detail, asked=job.sent
    )


def parse_sample(answer: Answer, sent: float, received: float) -> Sample:
    """The answer to ``GET /3/Jobs/{key}`` as a sample; ``invalid`` if another service answered, or the server could not say."""
    process = answer.headers.get("x-h2o-cluster-id")
    if process is None:
        return Sample(sent, received, "invalid", detail=f"not an H2O-3 server (HTTP {answer.status})")
    jobs = items(mapping(answer.body).get("jobs")) if answer.status == 200 else []
    job = mapping(jobs[0]) if jobs else {}
    if not job:
        missing = answer.status in MISSING or (answer.status == 200 and mapping(answer.body).get("jobs") == [])
        return Sample(sent, received, "job_missing" if missing else "invalid", process, detail=f"HTTP {answer.status}")
    return Sample(
        sent,
        received,
        "answered",
        process,
        status=text(job.get("status")),
        progress=share(job.get("progress")),
        detail=text(job.get("progress_msg")),
        clock=clock_of(job),
    )


def clock_of(job: Job) -> float | None:
    """Seconds on the clock of the guest: a running job says how long it runs, in ms of that clock (Job.msec())."""
    runs = count(job.get("msec")) if is_running(job) else None
    return None if runs is None else runs / 1000
