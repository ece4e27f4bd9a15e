# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Provider ``h2o3``: finds training jobs of an H2O-3 server and samples them. It only reads.

Calls: ``GET /3/Cloud`` (does not lock a forming cloud) and ``GET /3/Jobs``; then ``GET /3/Jobs/{key}`` alone.
Process identity is the header ``X-h2o-cluster-id``; the parser stands beside the probe and trusts nothing.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ansible_collections.liveml.vsphere.plugins.module_utils._model import Experiment, Sample

PROVIDER = "h2o3"
TRAINING = ("Key<Model>", "Key<AutoML>", "Key<Grid>")
MOST_BYTES = 1 << 20
MOST_TEXT = 200
REQUEST_SECONDS = 300.0  # a request in flight waits through the freeze


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An H2O-3 server's address; credentials never show in ``url``."""

    address: str
    port: int = 54321
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """``http://address:port``."""
        return f"http{'s' if self.tls else ''}://{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Probe:
    """One keep-alive connection; only GET, no redirects, answers of at most 1 MiB."""

    def __init__(self, endpoint: Endpoint, timeout: float = REQUEST_SECONDS) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Answer:
        """GET a path. Raises OSError or http.client.HTTPException when there is no whole answer."""
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.request("GET", path, headers=self._headers())
            response = self._connection.getresponse()
            data = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if len(data) > MOST_BYTES:
            self.close()
            raise http.client.HTTPException("the answer is larger than 1 MiB")
        if response.length:
            self.close()
            raise http.client.IncompleteRead(data, response.length)
        headers = {name.lower(): text(value) for name, value in response.getheaders()}
        return Answer(response.status, headers, _json(data))

    def _connect(self) -> http.client.HTTPConnection:
        end = self._endpoint
        if end.tls is not None:
            return http.client.HTTPSConnection(end.address, end.port, timeout=self._timeout, context=end.tls)
        return http.client.HTTPConnection(end.address, end.port, timeout=self._timeout)

    def _headers(self) -> dict[str, str]:
        end = self._endpoint
        headers = {"User-Agent": "liveml.vsphere", "Accept": "application/json"}
        if end.username is not None:
            pair = base64.b64encode(f"{end.username}:{end.password or ''}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return headers

    def interrupt(self) -> None:
        """Wake a thread that waits for an answer; called from another thread."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def discover(endpoint: Endpoint, vm: str, vm_name: str, *, timeout: float = 3.0) -> tuple[list[Experiment], str]:
    """Training jobs that run on a server, or none and what was seen instead."""
    probe = Probe(endpoint, timeout)
    try:
        cloud = probe.get("/3/Cloud")
        if cloud.status == 401:
            return [], "the server asks for other credentials (experiments.username and experiments.password)"
        if not is_h2o(cloud):
            return [], "something other than an H2O-3 server answers"
        jobs = probe.get("/3/Jobs")
        return running_experiments(jobs, endpoint.url, vm, vm_name), "no training job runs"
    except ConnectionRefusedError:
        return [], "no server listens"
    except (OSError, http.client.HTTPException) as error:
        return [], f"no answer ({type(error).__name__})"
    finally:
        probe.close()


def is_h2o(answer: Answer) -> bool:
    """Whether ``GET /3/Cloud`` was answered by an H2O-3 server."""
    meta = _mapping(_mapping(answer.body).get("__meta"))
    return "x-h2o-build-project-version" in answer.headers and meta.get("schema_name") == "CloudV3"


def running_experiments(answer: Answer, url: str, vm: str, vm_name: str) -> list[Experiment]:
    """The experiments in ``GET /3/Jobs``: training jobs that run, children of an AutoML not counted."""
    jobs = _mapping(answer.body).get("jobs")
    running = [job for job in map(_mapping, jobs if isinstance(jobs, list) else []) if job.get("status") == "RUNNING"]
    parents = any(_mapping(job.get("dest")).get("type") == "Key<AutoML>" for job in running)
    found = []
    for job in running:
        dest = _mapping(job.get("dest"))
        child = parents and "_AutoML_" in str(dest.get("name")) and dest.get("type") != "Key<AutoML>"
        key = _mapping(job.get("key")).get("name")
        if dest.get("type") in TRAINING and not child and isinstance(key, str):
            found.append(
                Experiment(
                    vm=vm,
                    vm_name=vm_name,
                    provider=PROVIDER,
                    id=text(key),
                    process=answer.headers.get("x-h2o-cluster-id", ""),
                    url=url,
                    description=f"{text(job.get('description'))} {text(dest.get('name'))}".strip(),
                    progress=_progress(job.get("progress")),
                    clock_progress=dest.get("type") == "Key<AutoML>",
                )
            )
    return found


def sample(probe: Probe, job: str) -> Sample:
    """Ask once how the job is. Never raises for what a server or network does."""
    sent = time.monotonic()
    try:
        answer = probe.get(f"/3/Jobs/{quote(job, safe='')}")
    except TimeoutError:
        return Sample(sent, time.monotonic(), "silent", detail="no answer in time")
    except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as error:
        return Sample(sent, time.monotonic(), "refused", detail=type(error).__name__)
    except (OSError, http.client.HTTPException) as error:
        return Sample(sent, time.monotonic(), "silent", detail=text(f"{type(error).__name__} {error}"))
    return parse_sample(answer, sent, time.monotonic())


def parse_sample(answer: Answer, sent: float, received: float) -> Sample:
    """``GET /3/Jobs/{key}`` as a sample; an answer of another service is ``invalid``."""
    process = answer.headers.get("x-h2o-cluster-id")
    if process is None:
        return Sample(sent, received, "invalid", detail=f"HTTP {answer.status} of another service")
    jobs = _mapping(answer.body).get("jobs")
    job = _mapping(jobs[0]) if isinstance(jobs, list) and jobs else {}
    if answer.status != 200 or not job:
        return Sample(sent, received, "job_missing", process, detail=f"HTTP {answer.status}")
    return Sample(
        sent,
        received,
        "answered",
        process,
        status=text(job.get("status")),
        progress=_progress(job.get("progress")),
        detail=text(job.get("progress_msg")),
    )


def text(value: Any) -> str:
    """A guest's text without control characters, at most 200 characters."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:MOST_TEXT])


def _progress(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) and 0 <= value <= 1 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
