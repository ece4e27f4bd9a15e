# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start trainings on an H2O-3 server of the lab, and wait until they run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.data import ROWS
from lab.errors import LabError, say
from lab.guests import Server
from lab.h2o import H2O
from lab.processes import cpu_seconds
from lab.training_spec import Training

FRAME = "flights"
TRIAL_SECONDS = 5.0
TRIAL_TREES = 5_000
WARMED_UP = 1.2  # later a JVM builds trees this much faster than in the second half of the trial (measured)
MAX_SERVER_START_SECONDS = 120.0
MAX_JOB_SECONDS = 120.0
AUTOML_CONTROL = ("project_name", "nfolds", "export_checkpoints_dir")
AUTOML_STOPPING = ("max_models", "max_runtime_secs", "max_runtime_secs_per_model", "seed", "stopping_rounds")
AUTOML_MODELS = ("exclude_algos", "include_algos")
AUTOML_INPUT = ("response_column", "ignored_columns")


def await_server(server: Server, check: Callable[[Server], None]) -> H2O:
    """Wait until the server answers; ``check`` raises an error if it never will."""
    h2o = H2O(server.url)
    end = time.monotonic() + MAX_SERVER_START_SECONDS
    while not h2o.answers():
        check(server)
        if time.monotonic() > end:
            raise LabError(f"the H2O-3 server of {server.vm} has not answered in {MAX_SERVER_START_SECONDS:.0f} s")
        time.sleep(0.2)
    return h2o


def await_cloud(h2o: H2O, size: int, server: Server, check: Callable[[Server], None]) -> None:
    """Wait until all nodes have found each other. Any other request would lock a cloud that is still forming."""
    end = time.monotonic() + MAX_SERVER_START_SECONDS
    while (seen := h2o.get("/3/Cloud")["cloud_size"]) < size:
        check(server)
        if time.monotonic() > end:
            raise LabError(
                f"the cloud of {server.vm} has {seen} of {size} nodes after {MAX_SERVER_START_SECONDS:.0f} s"
            )
        time.sleep(0.1)


def await_job(h2o: H2O, job: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll a job until ``done`` accepts its state.

    Raises:
        LabError: the job failed, was cancelled or took too long.
    """
    end = time.monotonic() + MAX_JOB_SECONDS
    while True:
        state = h2o.job(job)
        if state["status"] in ("FAILED", "CANCELLED"):
            raise LabError(f"H2O at {h2o.url}: {state['description']} {state['status']}: {state.get('exception')}")
        if done(state):
            return state
        if time.monotonic() > end:
            raise LabError(f"H2O at {h2o.url}: {state['description']} made no progress in {MAX_JOB_SECONDS:.0f} s")
        time.sleep(0.05)


def is_done(job: dict[str, Any]) -> bool:
    return bool(job["status"] == "DONE")


def has_begun(job: dict[str, Any]) -> bool:
    """Whether the training has made progress. A GLM's progress may stay at 0 for a minute; its iterations count too."""
    return is_done(job) or float(job["progress"]) > 0 or "iter=" in (job["progress_msg"] or "")


def import_flights(h2o: H2O, csv: Path) -> None:
    """Make the server read the flights from disk into the frame ``flights``."""
    source = h2o.post("/3/ImportFiles", {"path": str(csv)})["destination_frames"]
    setup = h2o.post("/3/ParseSetup", {"source_frames": source})
    keys = ("parse_type", "separator", "number_columns", "single_quotes", "check_header", "chunk_size")
    wanted = {key: setup[key] for key in (*keys, "column_names", "column_types")}
    wanted |= {"destination_frame": FRAME, "source_frames": source, "delete_on_done": True}
    parse = h2o.post("/3/Parse", wanted)
    await_job(h2o, parse["job"]["key"]["name"], is_done)
    rows = h2o.get(f"/3/Frames/{FRAME}?row_count=1&column_count=1")["frames"][0]["rows"]
    if rows != ROWS:
        raise LabError(f"H2O at {h2o.url} read {rows} of {ROWS} flights; delete {csv} and try again")


def start_model(h2o: H2O, algorithm: str, parameters: dict[str, Any]) -> str:
    """Start one training; return its job key."""
    if algorithm == "automl":
        answer = h2o.post_json("/99/AutoMLBuilder", automl_document(parameters))
    else:
        answer = h2o.post(f"/3/ModelBuilders/{algorithm}", {**parameters, "training_frame": FRAME})
    return str(answer["job"]["key"]["name"])


def with_result_name(algorithm: str, index: int, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, with a name for the result if they have none."""
    key = "project_name" if algorithm == "automl" else "model_id"
    return {key: f"{algorithm}_{parameters['response_column']}_{index}", **parameters}


def automl_document(parameters: dict[str, Any]) -> dict[str, Any]:
    """AutoML's nested request, made from flat parameters."""
    unknown = sorted(set(parameters) - {*AUTOML_CONTROL, *AUTOML_STOPPING, *AUTOML_MODELS, *AUTOML_INPUT})
    if unknown:
        raise LabError(
            f"unknown parameter {unknown[0]!r} of automl; known parameters: {', '.join(AUTOML_CONTROL + AUTOML_STOPPING + AUTOML_MODELS)}"
        )

    def chosen(names: tuple[str, ...]) -> dict[str, Any]:
        return {key: parameters[key] for key in names if key in parameters}

    return {
        "build_control": {**chosen(AUTOML_CONTROL), "stopping_criteria": chosen(AUTOML_STOPPING)},
        "input_spec": {**chosen(AUTOML_INPUT), "training_frame": FRAME},
        "build_models": chosen(AUTOML_MODELS),
    }


def trees_per_second(samples: list[tuple[float, float]]) -> float:
    """Rate over the second half of (seconds, trees) samples; in the first half the JVM is still warming up.

    Raises:
        LabError: no tree was built in the second half.
    """
    late = [sample for sample in samples if sample[0] >= samples[-1][0] / 2]
    (t0, n0), (t1, n1) = late[0], late[-1]
    if t1 <= t0 or n1 <= n0:
        raise LabError(
            f"no tree was built in {samples[-1][0]:.0f} s; the machine is too slow for this topology; use ntrees instead of seconds"
        )
    return (n1 - n0) / (t1 - t0)


def calibrated_trees(h2o: H2O, training: Training, seconds: float, threads: int) -> int:
    """How many trees keep this server busy for ``seconds``, measured with a trial model that is then removed.

    ``max_runtime_secs`` is not used, because progress would then be a clock and not a proof of work. The trial measures
    the CPU time of the server, divided by the cores it may use. So other work on the machine does not shorten the
    training.
    """
    pid = int(h2o.get("/3/Cloud")["nodes"][0]["pid"])
    cores = min(threads, os.cpu_count() or 1)
    job = start_model(h2o, training.algorithm, {**training.parameters, "ntrees": TRIAL_TREES, "model_id": "trial"})
    await_job(h2o, job, has_begun)
    samples: list[tuple[float, float]] = []
    first, end = cpu_seconds(pid), time.monotonic() + TRIAL_SECONDS
    while time.monotonic() < end or len(samples) < 2:
        time.sleep(0.05)
        trees = float(h2o.job(job)["progress"]) * TRIAL_TREES
        samples.append(((cpu_seconds(pid) - first) / cores, trees))
    h2o.post(f"/3/Jobs/{job}/cancel", {})
    remove_trial(h2o, job)
    rate = trees_per_second(samples) * WARMED_UP
    return max(2, round(rate * seconds))


def remove_trial(h2o: H2O, job: str) -> None:
    """Remove the trial's model and job when it has stopped, so that only the real experiment can be found."""
    end = time.monotonic() + 30.0
    while h2o.job(job)["status"] in ("RUNNING", "CANCEL_PENDING"):
        if time.monotonic() > end:
            raise LabError(f"H2O at {h2o.url} did not stop its trial model in 30 s")
        time.sleep(0.05)
    h2o.delete("/3/Models/trial")
    h2o.delete(f"/3/DKV/{job}")


def start_trainings(server: Server, csv: Path, check: Callable[[Server], None]) -> None:
    """Import the flights, calibrate, start all trainings of a server, and wait until each has made progress."""
    h2o = await_server(server, check)
    if not server.spec.trainings:
        return
    await_cloud(h2o, max(1, len(server.nodes)), server, check)
    import_flights(h2o, csv)
    ready = []
    for training in server.spec.trainings:
        parameters = dict(training.parameters)
        if training.seconds is not None:
            parameters["ntrees"] = calibrated_trees(h2o, training, training.seconds, server.spec.threads)
        ready.append((training.algorithm, parameters))
    jobs = [
        start_model(h2o, algorithm, with_result_name(algorithm, index, parameters))
        for index, (algorithm, parameters) in enumerate(ready, 1)
    ]
    for job, (algorithm, parameters) in zip(jobs, ready, strict=True):
        state = await_job(h2o, job, has_begun)
        trees = f", {parameters['ntrees']} trees" if "ntrees" in parameters else ""
        say(f"{server.vm} trains {algorithm} on {ROWS:,} flights{trees}: {state['progress_msg']}")
