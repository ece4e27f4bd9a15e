# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models of an H2O-3 server: whether one is reproducible, and the export of a finished one. Only GET is sent.

Calls: ``/3/Jobs/{key}``, ``/3/Models/{id}`` without its output, ``/3/ModelMetrics/models/{id}``, ``/99/AutoML/{id}``,
``/99/Grids/{id}``, ``/3/Models/{id}/mojo`` and ``/3/Models.fetch.bin/{id}``.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..._core.errors import ExperimentError, InvalidInput
from ..._core.untrusted import (
    items,
    mapping,
    number,
    quoted,
    share,
    text,
)
from ..finished_models import (
    BLOCK,
    CappedFile,
    Exported,
    ExportRequest,
    sha256_of,
)
from ..model import Experiment
from .probe import NO_ANSWER, Answer, Probe

# For these algorithms the same seed gave the same model with and without freezes (measured); for others it is not known.
# Reproducible deep learning is scored after each iteration, so early stopping and the best model do not depend on time.
MEASURED = ("gbm", "drf", "xgboost", "glm", "isolationforest", "deeplearning")
TREES = ("gbm", "drf", "xgboost", "isolationforest")
# What differs between equal models (measured): these lines of model.ini, and a file with the training's names and times.
VOLATILE = (b"uuid = ", b"timestamp = ")
DETAILS = "experimental/modelDetails.json"
MAX_UNPACK_RATIO = 100  # a MOJO that unpacks to more than this many times its size is not a model
MAX_ENTRIES = 200_000


def job_path(job: str) -> str:
    """Path of a job; keys contain a dollar sign."""
    return f"/3/Jobs/{quoted(job)}"


def job_of(answer: Answer) -> Mapping[str, Any]:
    """The job in the answer to ``job_path``; empty if there is none."""
    return mapping(next(iter(items(mapping(answer.body).get("jobs"))), None))


def parameters_path(model: str) -> str:
    """Path of a model without its output, which may have megabytes."""
    return f"/3/Models/{quoted(model)}?_exclude_fields=models/output"


def description_of(answer: Answer) -> Mapping[str, Any]:
    """The model in the answer to ``parameters_path``; empty if there is none."""
    return mapping(next(iter(items(mapping(answer.body).get("models"))), None)) if answer.status == 200 else {}


def parameters_of(answer: Answer, value: str = "actual_value") -> dict[str, Any]:
    """Values of a model's parameters by name, the actual or the given ones (``input_value``)."""
    listed = map(mapping, items(description_of(answer).get("parameters")))
    return {p["name"]: p.get(value) for p in listed if isinstance(p.get("name"), str)}


def has_own_frame(answer: Answer) -> bool:
    """Whether the model in the answer to ``parameters_path`` is trained on a frame with a name. Those of segments have none (measured).

    The server makes the frame of a segment, and its key begins with a dollar sign.
    """
    name = mapping(parameters_of(answer).get("training_frame")).get("name")
    return isinstance(name, str) and not name.startswith("$")


def is_of_its_own(probe: Probe, model: str) -> bool:
    """Whether a model in training does not serve segment models, whatever its name; false if that is not known."""
    with suppress(*NO_ANSWER):
        return has_own_frame(probe.get(parameters_path(model)))
    return False


def listed_models(dest: Mapping[str, Any], probe: Probe) -> list[str]:
    """Names of the models that a finished job made, the best first: its only one, or those of an AutoML or grid.

    A grid sorts them by the default metric of its response.
    """
    name = dest.get("name")
    if not isinstance(name, str):
        return []
    key = quoted(name)
    if dest.get("type") == "Key<AutoML>":
        listed = items(mapping(mapping(probe.get(f"/99/AutoML/{key}").body).get("leaderboard")).get("models"))
    elif dest.get("type") == "Key<Grid>":
        listed = items(mapping(probe.get(f"/99/Grids/{key}").body).get("model_ids"))
    else:
        return [name]
    return [found for found in (mapping(model).get("name") for model in listed) if isinstance(found, str)]


def reproducible_of(kind: str, answer: Answer | None) -> tuple[str, str]:
    """Whether the same seed and data would give the same model (``yes``, ``no``, ``unknown``), and why.

    ``kind`` is the type of the job's destination; for a model, ``answer`` is the answer to ``parameters_path``. Sources:
    H2O's documentation of reproducibility and ``score_tree_interval``, and own measurements under freezes.
    """
    if kind == "Key<AutoML>":
        return "no", "an AutoML ends by time limits and includes deep learning, whose threads race"
    if kind == "Key<Grid>":
        return "unknown", "a grid search has an answer for each of its models, not for the search"
    algorithm = text(description_of(answer).get("algo")) if answer is not None else ""
    if answer is None or not algorithm:
        return "unknown", "the server does not report the model's parameters"
    actual = parameters_of(answer)
    why = why_not_reproducible(algorithm, actual)
    if why:
        return "no", why
    if algorithm not in MEASURED:
        return "unknown", f"not measured for {algorithm}"
    drawn = " (chosen by the server)" if parameters_of(answer, "input_value").get("seed") == -1 else ""
    seed = actual.get("seed")
    seeded = f"seed {seed}{drawn}" if isinstance(seed, int) else "the same seed"
    return "yes", f"{seeded}, the same data, nodes and threads"


def why_not_reproducible(algorithm: str, actual: Mapping[str, Any]) -> str:
    """Which of a model's parameters makes the result random, "" if none does."""

    def above_zero(name: str) -> bool:
        return (number(actual.get(name)) or 0) > 0

    each = actual.get("score_each_iteration") is True
    if above_zero("max_runtime_secs"):
        return "max_runtime_secs is set, so time ends the training and a stall leaves less work done"
    if algorithm == "deeplearning" and actual.get("reproducible") is not True:
        return "deep learning without reproducible: its threads race"
    if algorithm in TREES and above_zero("stopping_rounds") and not each and not above_zero("score_tree_interval"):
        return "early stopping depends on time; set score_tree_interval"
    return ""


def fetch_model(probe: Probe, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
    """Download the finished model of an experiment into ``folder``.

    Raises ExperimentError if it does not exist, NO_ANSWER if the server does not answer.
    """
    if request.format == "python":
        raise InvalidInput(
            "An H2O-3 model has no format python", hint="Set format to mojo, binary or auto", option="format"
        )
    destination = finished(probe.get(job_path(experiment.asked_id)), experiment)
    model = chosen(probe, destination, experiment, request.model)
    description = probe.get(parameters_path(model))
    algorithm = text(description_of(description).get("algo"))
    if not algorithm:
        raise ExperimentError(
            f"{experiment.vm_name}: the server no longer has the model {text(model)}", hint="Train again"
        )
    known = partial(
        Exported,
        model=model,
        algorithm=algorithm,
        checksum=checksum_of(probe.get(f"/3/ModelMetrics/models/{quoted(model)}")),
        reproducible=reproducible_of("Key<Model>", description),
    )
    path, note = folder / "model", ""
    if request.format != "binary":
        note = fetch_mojo(probe, model, path, request, description_of(description))
        if not note:
            return known(path=path, format="mojo", suffix=".zip", content=mojo_digest)
        if request.format == "mojo":
            raise ExperimentError(f"{experiment.vm_name}: {note}", hint="Set format to binary or auto", option="format")
        note += f"; the binary model was exported, which only H2O-3 {version_of(description)} can load"
    answer = download(probe, f"/3/Models.fetch.bin/{quoted(model)}", path, request)
    if answer.status != 200:
        raise ExperimentError(
            f"{experiment.vm_name}: the server does not export the model {text(model)} ({message_of(answer)})",
            hint="Ask the administrator of the H2O-3 server",
        )
    return known(path=path, format="binary", suffix=".bin", content=sha256_of, note=note)


def finished(answer: Answer, experiment: Experiment) -> Mapping[str, Any]:
    """The destination of a job that is done. Raises ExperimentError with its progress or its status."""
    who = f"{experiment.vm_name}: {experiment.description or experiment.id}"
    process = answer.headers.get("x-h2o-cluster-id")
    if answer.status == 401:
        raise ExperimentError(
            f"{who}: authentication failed",
            hint="Check experiments.username and experiments.password",
            option="experiments",
        )
    if process is None:
        raise ExperimentError(f"{who}: not an H2O-3 server (HTTP {answer.status})", hint="Check the VM's address")
    if process != experiment.process:
        raise ExperimentError(f"{who}: the server was restarted and has lost the model", hint="Train again")
    job = job_of(answer)
    status, message = text(job.get("status")), text(job.get("progress_msg"))
    if answer.status != 200 or not status:
        raise ExperimentError(f"{who}: the server no longer knows the job", hint="Train again")
    if status == "RUNNING":
        done = share(job.get("progress"))
        raise ExperimentError(
            f"{who} is not finished ({'progress unknown' if done is None else f'{100 * done:.0f} % done'})",
            hint="Wait with experiment_wait until=finished, then export again",
        )
    # A finished job that is cancelled gets the status CANCELLED, but keeps its message "Done.".
    if status != "DONE" and not (status == "CANCELLED" and message == "Done."):
        raise ExperimentError(f"{who} is {status} and has no finished model", hint="Train again")
    return mapping(job.get("dest"))


def chosen(probe: Probe, destination: Mapping[str, Any], experiment: Experiment, name: str | None) -> str:
    """Name of the model: the requested one of a grid or AutoML, else the best or the only one."""
    known = listed_models(destination, probe)
    if not known:
        raise ExperimentError(f"{experiment.vm_name}: the job made no model", hint="Train again")
    if name is None:
        return known[0]
    if name not in known:
        raise InvalidInput(
            f"{experiment.vm_name} has no model {name}; available: {', '.join(map(text, known[:20]))}",
            hint="Set model to one of these, or remove it for the best",
            option="model",
        )
    return name


def fetch_mojo(probe: Probe, model: str, path: Path, request: ExportRequest, description: Mapping[str, Any]) -> str:
    """Download the MOJO; returns why it does not exist, "" if it does."""
    if description.get("have_mojo") is False:
        return f"H2O-3 has no MOJO for {text(description.get('algo_full_name')) or 'this algorithm'}"
    answer = download(probe, f"/3/Models/{quoted(model)}/mojo", path, request)
    if answer.status == 200:
        mojo_digest(path)
        return ""
    return f"H2O-3 {version_of(answer)} does not export the MOJO ({message_of(answer)})"


def download(probe: Probe, path: str, file: Path, request: ExportRequest) -> Answer:
    """Stream an answer to a file, which exists only if the status is 200."""
    sink = CappedFile(file, request.max_bytes)
    try:
        answer = probe.download(path, sink.write)
    finally:
        sink.close()
    if answer.status != 200:
        file.unlink()
    return answer


def checksum_of(answer: Answer) -> str | None:
    """H2O's checksum of a model, a signed 64-bit number as text; equal for equal models (measured)."""
    metrics = items(mapping(answer.body).get("model_metrics"))
    checksum = mapping(next(iter(metrics), None)).get("model_checksum")
    return str(checksum) if isinstance(checksum, int) else None


def version_of(answer: Answer) -> str:
    """The server's version."""
    return answer.headers.get("x-h2o-build-project-version", "of unknown version")


def message_of(answer: Answer) -> str:
    """The server's reason for an error."""
    return text(mapping(answer.body).get("msg")) or f"HTTP {answer.status}"


def mojo_digest(path: Path) -> str:
    """SHA-256 of what makes a MOJO predict, the same for equal models. Raises ExperimentError if it is not a MOJO."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted((e for e in archive.infolist() if e.filename != DETAILS), key=lambda entry: entry.filename)
            if "model.ini" not in archive.namelist() or len(entries) > MAX_ENTRIES:
                raise zipfile.BadZipFile("it has no model.ini, or too many entries")
            room = MAX_UNPACK_RATIO * path.stat().st_size
            for entry in entries:
                digest.update(entry.filename.encode() + b"\0")
                room = _digest_entry(archive, entry, digest, room)
                digest.update(b"\0")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise ExperimentError(f"The server's answer is not a MOJO ({text(str(error))})", hint="Export again") from error
    return digest.hexdigest()


def _digest_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, digest: Any, room: int) -> int:
    """Digest one entry; returns how many bytes may still be unpacked."""
    with archive.open(entry) as stream:
        if entry.filename.rsplit("/", 1)[-1] == "model.ini":
            data = stream.read(room + 1)
            room -= len(data)
            lines = data.splitlines(keepends=True)
            digest.update(b"".join(line for line in lines if not line.startswith(VOLATILE)))
        else:
            while block := stream.read(min(BLOCK, room + 1)):
                digest.update(block)
                room -= len(block)
                if room < 0:
                    break
    if room < 0:
        raise zipfile.BadZipFile("it unpacks to far more than its size")
    return room
