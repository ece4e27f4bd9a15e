# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``driverless_ai``: H2O Driverless AI, with its official client and its documented health API. It only reads.

Calls of the client: ``Client(address, username, password, token_provider, verify)``, ``server.version``,
``experiments.list()``, and of an experiment ``key``, ``name``, ``is_running()``, ``status(verbose=1)``, ``metrics()``,
``artifacts.list()`` and ``artifacts.download(names, folder, overwrite=True)``. ``artifacts.create`` is never called: it
would make the server work. Liveness: ``GET /apis/health/v1``.

The client uses ``requests``, which follows redirects to other servers and uses proxies of the environment. It also downloads
Python code from a server whose version it does not know, and runs it. :func:`keep_to_servers` prevents all three.

The client is imported only if a source needs it; users accept its licence themselves. Its percentages are coarse. So the
stall is measured by the answers of the health API (a server in the VM), and progress only proves that it never went back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..._core.errors import (
    ExperimentError,
    InvalidInput,
    VsphereError,
)
from ..._core.untrusted import if_shortened, mapping, number, shortened, text
from ..finished_models import (
    Exported,
    ExportRequest,
    sha256_of,
    too_large,
)
from ..model import (
    Capabilities,
    Experiment,
    Final,
    Sample,
)
from .base import Searched, Session, Target
from .over_http import HttpSession, UrlSource, sampled
from .probe import Endpoint, Probe

PROVIDER = "driverless_ai"
HEALTH = "/apis/health/v1"
CODE = "/clients/"  # where a server offers Python code for itself
STATUS_SECONDS = 2.0
MAX_LOGIN_SECONDS = 30.0  # between two logins that fail: many in a row lock an account
PIPELINES = {"mojo": "mojo_pipeline", "python": "python_pipeline"}  # scoring pipelines, as the client names them
OLDEST = (1, 10)  # every release of the client supports it
STATUS = {
    "running": "RUNNING",
    "finishing": "RUNNING",
    "complete": "DONE",
    "failed": "FAILED",
    "aborted": "CANCELLED",
    "cancell?ed": "CANCELLED",
}
PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
CAPABILITIES = Capabilities(
    "run",
    "answers",
    0.0,
    "answers of the server's health API; the experiment's own progress is coarse",
    reports_end=True,
)


class DriverlessAi(UrlSource):
    """Driverless AI servers."""

    provider = PROVIDER
    names_its_vm = False

    def _search(self, endpoint: Endpoint, target: Target) -> Searched:
        try:
            client = connect(endpoint, self._settings)
            if version_of(client) < OLDEST:
                return Searched([], f"server {text(str(client.server.version))} is older than 1.10.0", complete=False)
            listed = list(client.experiments.list())
        except InvalidInput:
            raise
        except Exception as error:  # the client documents no error classes
            return Searched([], _why(error, endpoint), complete=False)
        found, why = [], ""
        for known in listed:
            try:
                found += [self._experiment(known, endpoint, target)] if known.is_running() else []
            except Exception as error:  # such as one that somebody deletes now; the others are found
                why = _why(error, endpoint)
        none = [] if found else ["no experiment runs"]
        left = [f"of one it is not known: {why}"] if why else []
        return Searched(found, "; ".join([*none, *left]), complete=not why)

    def _experiment(self, known: Any, endpoint: Endpoint, target: Target) -> Experiment:
        return Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=shortened(str(known.key)),
            exact_id=if_shortened(str(known.key)),
            process="",
            url=endpoint.url,
            description=text(known.name),
            progress=progress_of(known)[1],
            capabilities=CAPABILITIES,
        )

    def export(self, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
        """See the port ``Exporter``: a scoring pipeline that the server has already built."""
        if request.format not in ("auto", *PIPELINES):
            raise InvalidInput(
                f"A Driverless AI experiment has no model of format {request.format}",
                hint="Set format to mojo, python or auto",
                option="format",
            )
        if request.model is not None:
            raise InvalidInput("A Driverless AI experiment has only one model", hint="Remove model", option="model")
        endpoint = self._endpoint(experiment.url)
        try:
            return fetch_pipeline(connect(endpoint, self._settings), experiment, request, folder)
        except VsphereError:
            raise
        except Exception as error:  # the client documents no error classes
            raise ExperimentError(
                f"{experiment.vm_name}: {endpoint.url} did not return the pipeline ({endpoint.hide(text(str(error))) or type(error).__name__})",
                hint="Check that the VM and its Driverless AI server are running, then export again",
            ) from error

    def final(self, experiment: Experiment) -> Final | None:
        """See the port ``Source``: status, validation score, and the names of the server's downloads."""
        endpoint = self._endpoint(experiment.url)
        try:
            known = found_again(connect(endpoint, self._settings), experiment.asked_id)
            status, _progress = progress_of(known)
            metrics = mapping(known.metrics())
            artifacts = tuple(text(str(name)) for name in known.artifacts.list())
        except InvalidInput:
            raise
        except Exception:  # the client documents no error classes
            return None
        return Final(status, text(metrics.get("scorer")), number(metrics.get("val_score")), artifacts)

    def session(self, experiment: Experiment) -> Session:
        """See the port ``Source``."""
        return ExperimentSession(self._endpoint(experiment.url), experiment.asked_id, self._settings)


def connect(endpoint: Endpoint, settings: Mapping[str, Any]) -> Any:
    """The official client, logged in. Raises InvalidInput if it is not installed."""
    try:
        import driverlessai  # type: ignore[import-not-found]  # noqa: PLC0415 - never a dependency
        import requests  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - what the client uses
    except ImportError as error:
        raise InvalidInput(
            "A source of provider driverless_ai needs the Python package driverlessai on the machine that runs the module",
            hint="Install the client for your server's version, under its own licence",
            option="experiments",
        ) from error
    keep_to_servers(requests, endpoint)
    verify = settings["validate_certs"] and (settings["ca_path"] or True)
    token = settings["token"]
    login = {"token_provider": lambda: token} if token else {key: settings[key] for key in ("username", "password")}
    return driverlessai.Client(address=endpoint.url, verify=verify, **login)


def keep_to_servers(requests: Any, endpoint: Endpoint) -> None:
    """Let ``requests`` reach in this process only the servers that were named here, directly, and no code of theirs.

    The client has no option for that.
    """
    _allowed.add(_origin(endpoint.url))
    send = requests.Session.send
    if getattr(send, "keeps_to_servers", False):
        return

    def checked(session: Any, request: Any, **options: Any) -> Any:
        if _origin(request.url) not in _allowed:
            raise requests.ConnectionError("it redirects to another server; set url to that")
        if urlsplit(request.url).path.startswith(CODE):
            raise requests.ConnectionError(
                "the client does not know this version of the server; install a newer client"
            )
        return send(session, request, **{**options, "proxies": {}})

    checked.keeps_to_servers = True  # type: ignore[attr-defined]
    requests.Session.send = checked


_allowed: set[tuple[str, str | None, int]] = set()


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


class NotKnown(Exception):
    """The server does not list the experiment. The client's own errors may be of any other class."""


def found_again(client: Any, key: str) -> Any:
    """The experiment with a key. Raises NotKnown if the server does not list it."""
    found = next((e for e in client.experiments.list() if e.key == key), None)
    if found is None:
        raise NotKnown("the server no longer knows the experiment")
    return found


def version_of(client: Any) -> tuple[int, ...]:
    """``1.10.6.2`` as (1, 10, 6, 2)."""
    return tuple(int(part) for part in re.findall(r"\d+", str(client.server.version))[:4])


def progress_of(experiment: Any) -> tuple[str, float | None]:
    """The status line as status and progress: ``Running 12.00% - ...``, ``Complete 100.00%``."""
    line = text(experiment.status(verbose=1))
    match = PERCENT.search(line)
    progress = min(1.0, float(match[1]) / 100) if match else None
    word = line.lower()
    status = next((known for said, known in STATUS.items() if re.match(rf"{said}\b", word)), "")
    return status or ("RUNNING" if experiment.is_running() else word.partition(" ")[0].upper()), progress


def _why(error: Exception, endpoint: Endpoint) -> str:
    return endpoint.hide(text(str(error))) or type(error).__name__


def fetch_pipeline(client: Any, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
    """Download the scoring pipeline of a finished experiment. Raises ExperimentError if it does not exist."""
    who = f"{experiment.vm_name}: {experiment.description or experiment.id}"
    found = found_again(client, experiment.asked_id)
    status, progress = progress_of(found)
    if status == "RUNNING":
        raise ExperimentError(
            f"{who} is not finished ({'progress unknown' if progress is None else f'{100 * progress:.0f} % done'})",
            hint="Wait with experiment_wait until=finished, then export again",
        )
    if status != "DONE":
        raise ExperimentError(f"{who} is {status} and has no finished model", hint="Train again")
    offered = [text(name) for name in found.artifacts.list()]
    kinds = list(PIPELINES) if request.format == "auto" else [request.format]
    kind = next((kind for kind in kinds if PIPELINES[kind] in offered), None)
    if kind is None:
        raise ExperimentError(
            f"{who} has no {' or '.join(PIPELINES[k] for k in kinds)}; available: {', '.join(offered) or 'nothing'}",
            hint="Build the scoring pipeline in Driverless AI, then export again",
        )
    found.artifacts.download([PIPELINES[kind]], str(folder), overwrite=True)
    note = "" if kind == kinds[0] else "the experiment has no MOJO pipeline; the Python pipeline was exported"
    return Exported(only_file(folder, request), text(found.key), kind, ".zip", sha256_of, note=note)


def only_file(folder: Path, request: ExportRequest) -> Path:
    """The only file in the client's download folder; its name does not matter."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if len(files) != 1 or files[0].is_symlink() or not files[0].is_file():
        raise ExperimentError("The client did not download exactly one file", hint="Download the pipeline by hand")
    if files[0].stat().st_size > request.max_bytes:
        raise too_large(request.max_bytes)
    files[0].chmod(0o600)
    return files[0]


class ExperimentSession(HttpSession):
    """Questions about one experiment: to the health API each time, through the client every two seconds."""

    max_hz = 10.0

    def __init__(self, endpoint: Endpoint, key: str, settings: Mapping[str, Any]) -> None:
        super().__init__(Probe(endpoint, asks_again=True))
        self._endpoint, self._key, self._settings = endpoint, key, settings
        self._experiment: Any = None
        self._error: Exception | None = None  # of the client's last question
        self._asked = self._login_from = float("-inf")
        self._pause = 0.0  # after the last login that failed
        self._status: tuple[str, float | None] = ("RUNNING", None)

    def sample(self) -> Sample:
        """See the port ``Session``."""
        if self._experiment is None and time.monotonic() >= self._login_from:
            self._ask_client(self._found)  # it connects and logs in, which takes longer than a question
            known = self._experiment is not None
            self._pause = 0.0 if known else min(max(STATUS_SECONDS, 2 * self._pause), MAX_LOGIN_SECONDS)
            self._login_from = time.monotonic() + self._pause
        return sampled(self._probe, self._ask)

    def _ask(self, sent: float) -> Sample:
        if self._experiment is not None and sent >= self._asked + STATUS_SECONDS:
            self._asked = sent
            self._ask_client(self._read)  # before the health, so that a freeze delays this answer
        answer = self._probe.get(HEALTH)
        received = time.monotonic()
        health = mapping(answer.body)
        if answer.status != 200 or "server_version" not in health:
            return Sample(sent, received, "invalid", detail=f"not a Driverless AI server (HTTP {answer.status})")
        if isinstance(self._error, NotKnown):
            return Sample(sent, received, "job_missing", detail=text(str(self._error)))
        if self._error is not None:
            detail = self._endpoint.hide(text(f"{type(self._error).__name__} {self._error}"))
            return Sample(sent, received, "silent", detail=detail)
        status, progress = self._status
        # After a freeze the status may be from before it.
        return Sample(sent, received, "answered", "", status=status, progress=progress, asked=min(sent, self._asked))

    def _ask_client(self, ask: Callable[[], None]) -> None:
        """Let the client ask. Its error is kept: whether the server itself answers is asked next."""
        try:
            ask()
            self._error = None
        except Exception as error:  # the client documents no error classes
            self._error = error
            self._experiment = None if not isinstance(error, NotKnown) else self._experiment

    def _found(self) -> None:
        self._experiment = found_again(connect(self._endpoint, self._settings), self._key)

    def _read(self) -> None:
        self._status = progress_of(self._experiment)
