# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``h2o3``: finds training jobs of an H2O-3 server and samples them. It only reads.

Calls: ``GET /3/Cloud`` (does not lock a forming cloud) and ``GET /3/Jobs``; then ``GET /3/Jobs/{key}``, and between two
of these ``OPTIONS /``. Each HTTP server answers ``OPTIONS /``, and it costs the training half as much (RFC 9110, 9.3.7;
measured). The header ``X-h2o-cluster-id`` of each answer identifies the process.

In a cluster each node has its own identity, and a job's home node answers about the job. While the home node is frozen,
all others let questions about the job wait, but answer about themselves (measured). So a node is asked about itself, and
about the job on another connection.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._core.errors import ExperimentError, InvalidInput
from ..._core.untrusted import (
    if_shortened,
    items,
    mapping,
    number,
    quoted,
    share,
    shortened,
    text,
)
from ..finished_models import Exported, ExportRequest
from ..model import Capabilities, Experiment, Final
from .base import Searched, Session, Source, Target
from .h2o3_job_list import jobs_of
from .h2o3_jobs import MODEL, is_clock, is_running, jobs_in, key_of, kind_of, like_segments, name_of, trainings
from .h2o3_models import (
    fetch_model,
    is_of_its_own,
    job_of,
    job_path,
    listed_models,
    parameters_of,
    parameters_path,
    reproducible_of,
)
from .h2o3_sessions import (
    DISCOVERY_SECONDS,
    JobSession,
    NodeSession,
)
from .over_http import BUSY, searched, unusable
from .probe import (
    NO_ANSWER,
    SMALL,
    WHOLE_MODEL,
    Absent,
    Answer,
    Endpoint,
    Limits,
    Probe,
    UnusableAnswer,
    server_of,
    tls_of,
    unanswered,
)

PROVIDER = "h2o3"
PATIENCE_SECONDS = 30.0  # for questions about all jobs of a server
MAX_JOBS = 64
MAX_NODES = 256
MAX_MODELS = 20
METRIC = {"Regression": "RMSE", "Binomial": "AUC", "Multinomial": "logloss", "Ordinal": "logloss"}
CHECKPOINTS = ("in_training_checkpoints_dir", "export_checkpoints_dir")
CAPABILITIES = Capabilities(
    identity="process",
    signal="answers",
    note="answers of the server in the VM, at most 32 per second",
    reports_end=True,
)


class H2o3(Source):
    """H2O-3 servers at the addresses of the VMs, on a list of ports."""

    provider = PROVIDER
    url = "//{address}"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._tls = tls_of(settings, "experiments.use_tls") if settings["use_tls"] else None
        check_ports(settings["ports"])

    def discover(self, target: Target) -> Searched:
        """See the port ``Source``."""
        found: dict[tuple[str, str], Experiment] = {}
        details: list[tuple[str, bool]] = []
        for port in self._settings["ports"]:
            endpoint = self._endpoint(target.address, port)
            seen = discover(endpoint, target.vm, target.vm_name, until=target.until)
            for experiment in seen.found:  # nodes of a cluster report the same job, and each is a member of it
                found.setdefault((experiment.id, experiment.process if experiment.cluster else ""), experiment)
            details.append((f"{endpoint.url}: {seen.detail}", seen.complete))
        complete = all(whole for _detail, whole in details)
        told = [detail for detail, whole in details if not (found and whole)]
        return Searched(list(found.values()), "; ".join(told), complete=complete)

    def reproducible(self, experiment: Experiment) -> tuple[str, str]:
        """See the port ``Source``: from the parameters of the job's model."""
        try:
            with self._probe(experiment) as probe:
                destination = mapping(job_of(probe.get(job_path(experiment.asked_id))).get("dest"))
                kind, name = text(destination.get("type")), text(destination.get("name"))
                return reproducible_of(kind, probe.get(parameters_path(name)) if kind == "Key<Model>" else None)
        except NO_ANSWER as error:
            return "unknown", text(f"{type(error).__name__} {error}")

    def export(self, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
        """See the port ``Exporter``."""
        try:
            with Probe(self._endpoint_of(experiment), limits=WHOLE_MODEL) as probe:
                return fetch_model(probe, experiment, request, folder)
        except NO_ANSWER as error:
            raise ExperimentError(
                f"{experiment.vm_name}: {experiment.url} did not answer completely ({type(error).__name__})",
                hint="Check that the VM and its H2O-3 server are running, then export again",
            ) from error

    def recovery(self, experiment: Experiment) -> tuple[str, str]:
        """See the port ``Source``: ``auto_recoverable`` of the job, else the checkpoint folders of its model."""
        try:
            with self._probe(experiment) as probe:
                job = job_of(probe.get(job_path(experiment.asked_id)))
                if job.get("auto_recoverable") is True:
                    return "yes", "the server's auto-recovery"
                return recovery_of(probe.get(parameters_path(text(mapping(job.get("dest")).get("name")))))
        except NO_ANSWER as error:
            return "unknown", text(f"{type(error).__name__} {error}")

    def final(self, experiment: Experiment) -> Final | None:
        """See the port ``Source``: the job's status, its best model and the metric of that model."""
        try:
            with self._probe(experiment, WHOLE_MODEL) as probe:
                job = job_of(probe.get(job_path(experiment.asked_id)))
                models = models_of(mapping(job.get("dest")), probe) if job.get("status") == "DONE" else []
                metric, score = score_of(probe.get(f"/3/Models/{quoted(models[0])}")) if models else ("", None)
        except NO_ANSWER:
            return None
        detail = text(job.get("exception") or job.get("progress_msg"))
        return Final(text(job.get("status")), metric, score, tuple(models), detail) if job else None

    def _probe(self, experiment: Experiment, limits: Limits = SMALL) -> Probe:
        return Probe(self._endpoint_of(experiment), DISCOVERY_SECONDS, limits)

    def _endpoint_of(self, experiment: Experiment) -> Endpoint:
        return self._endpoint(*server_of(experiment.url))

    def session(self, experiment: Experiment) -> Session:
        """See the port ``Source``."""
        endpoint = self._endpoint_of(experiment)
        return (NodeSession if experiment.cluster else JobSession)(endpoint, experiment.asked_id)

    def _endpoint(self, address: str, port: int) -> Endpoint:
        chosen = self._settings
        path = (chosen.get("context_path") or "").strip("/")
        return Endpoint(
            address, port, self._tls, chosen["username"], chosen["password"], prefix=f"/{path}" if path else ""
        )


def check_ports(ports: Sequence[int]) -> None:
    """Raise InvalidInput for a number that is not a port."""
    wrong = [port for port in ports if not 0 < port < 65536]
    if wrong:
        raise InvalidInput(
            f"experiments.ports contains {text(str(wrong[0]))}, which is not a port",
            hint="Set experiments.ports to numbers from 1 to 65535",
            option="experiments",
        )


def discover(
    endpoint: Endpoint, vm: str, vm_name: str, *, timeout: float = DISCOVERY_SECONDS, until: float = math.inf
) -> Searched:
    """Training jobs that run on a server. ``until`` (monotonic) is the time it may take."""

    def search() -> Searched:
        with Probe(endpoint, min(timeout, max(0.1, until - time.monotonic()))) as probe:
            return _discover(probe, vm, vm_name, until)

    try:
        return searched(search, until)
    except ConnectionRefusedError:
        return Searched([], "no server listens")
    except UnusableAnswer as error:
        return Searched([], str(error), complete=isinstance(error, Absent))
    except NO_ANSWER as error:
        return Searched([], unanswered(error, endpoint), complete=False)


def _discover(probe: Probe, vm: str, vm_name: str, until: float) -> Searched:
    """See :func:`discover`. Raises NO_ANSWER or UnusableAnswer."""
    cloud = probe.get("/3/Cloud")
    if cloud.status == 401:
        raise UnusableAnswer("authentication failed; check experiments.username and experiments.password")
    if not is_h2o(cloud):
        other = unusable(cloud, "an H2O-3 server")
        raise other if cloud.status in (403, *BUSY) else Absent(str(other))
    if mapping(cloud.body).get("locked") is False:
        # A job would have locked the cloud; a query for jobs would lock it, too.
        return Searched([], "no training job runs")
    name, nodes = cluster_of(cloud)
    jobs = jobs_of(probe.endpoint, until - time.monotonic())
    end = min(until, time.monotonic() + PATIENCE_SECONDS)
    own = {
        key_of(job)
        for job in like_segments(jobs)[:MAX_JOBS]
        if time.monotonic() < end and is_of_its_own(probe, name_of(job))
    }
    running = running_experiments(jobs, probe.endpoint.url, vm, vm_name, own)
    models = models_in_training(jobs)
    unlimited = {
        e.id
        for e in running[:MAX_JOBS]
        if e.asked_id in models and time.monotonic() < end and not may_have_time_limit(probe, models[e.asked_id])
    }
    found = [
        replace(
            e,
            cluster=name,
            nodes=nodes,
            clock_progress=e.clock_progress or (e.asked_id in models and e.id not in unlimited),
        )
        for e in running
    ]
    return Searched(found, "" if found else "no training job runs")


def is_h2o(answer: Answer) -> bool:
    """Whether an H2O-3 server answered ``GET /3/Cloud``."""
    meta = mapping(mapping(answer.body).get("__meta"))
    return "x-h2o-build-project-version" in answer.headers and meta.get("schema_name") == "CloudV3"


def models_in_training(jobs: Answer) -> dict[str, str]:
    """The model by the job key, for the jobs in ``GET /3/Jobs`` that train one model."""
    return {key_of(job): name_of(job) for job in jobs_in(jobs) if is_running(job) and kind_of(job) == MODEL}


def may_have_time_limit(probe: Probe, model: str) -> bool:
    """Whether a model in training may have ``max_runtime_secs``: then its progress is a clock (measured).

    A model that does not exist yet does not say.
    """
    try:
        given = parameters_of(probe.get(parameters_path(model))).get("max_runtime_secs")
    except NO_ANSWER:
        return True
    limit = number(given)
    return limit is None or limit > 0


def models_of(dest: Mapping[str, Any], probe: Probe) -> list[str]:
    """The models that a finished job made, the best first, at most ``MAX_MODELS``."""
    return [text(name) for name in listed_models(dest, probe)[:MAX_MODELS]]


def score_of(answer: Answer) -> tuple[str, float | None]:
    """Metric and value of a model: from cross-validation, else from the validation frame, else from training."""
    output = mapping(mapping(next(iter(items(mapping(answer.body).get("models"))), None)).get("output"))
    name = METRIC.get(text(output.get("model_category")), "")
    for kind in ("cross_validation", "validation", "training"):
        value = number(mapping(output.get(f"{kind}_metrics")).get(name)) if name else None
        if value is not None:
            return f"{kind} {name}", value
    return "", None


def recovery_of(answer: Answer) -> tuple[str, str]:
    """From ``GET /3/Models/{id}`` of a model in training: folders into which it writes checkpoints.

    ``export_checkpoints_dir`` receives only finished models, so it helps a grid or an AutoML, but not a single model.
    """
    parameters = parameters_of(answer)
    if answer.status != 200 or not parameters:
        return "no", "neither auto-recovery nor a model with checkpoints"
    folders = {name: text(parameters.get(name)) for name in CHECKPOINTS}
    if folders.get("in_training_checkpoints_dir"):
        return "yes", f"in_training_checkpoints_dir {folders['in_training_checkpoints_dir']}"
    if folders.get("export_checkpoints_dir"):
        return "no", "export_checkpoints_dir contains only finished models"
    return "no", "no in_training_checkpoints_dir and no auto-recovery"


def cluster_of(cloud: Answer) -> tuple[str, tuple[str, ...]]:
    """Name and node addresses of a cluster of several nodes; empty for a single server."""
    body = mapping(cloud.body)
    nodes = tuple(text(mapping(node).get("ip_port")) for node in items(body.get("nodes"))[:MAX_NODES])
    return (text(body.get("cloud_name")) or "unnamed", nodes) if len(nodes) > 1 else ("", ())


def running_experiments(answer: Answer, url: str, vm: str, vm_name: str, own: Container[str] = ()) -> list[Experiment]:
    """The experiments in ``GET /3/Jobs``: running training jobs without those that only serve another one.

    Those with the keys ``own`` do not, whatever their names.
    """
    return [
        Experiment(
            vm=vm,
            vm_name=vm_name,
            provider=PROVIDER,
            id=shortened(key_of(job)),
            exact_id=if_shortened(key_of(job)),
            process=answer.headers.get("x-h2o-cluster-id", ""),
            url=url,
            description=f"{text(job.get('description'))} {text(name_of(job))}".strip(),
            progress=share(job.get("progress")),
            clock_progress=is_clock(job),
            capabilities=CAPABILITIES,
        )
        for job in trainings(answer, own)
    ]
