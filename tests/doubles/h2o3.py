# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that answer like H2O-3."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import unquote

from tests.doubles.servers import Answering

FROZEN_SECONDS = 10.0  # the longest that a frozen node waits


def job(name: str, kind: str = "Key<Model>", status: str = "RUNNING", dest: str = "gbm_1", **more: Any) -> dict:
    """A job as ``/3/Jobs`` shows it."""
    return {"key": {"name": name}, "dest": {"type": kind, "name": dest}, "status": status, "progress": 0.5, **more}


class ScriptedServer:
    """Answers paths without their query; JSON, or bytes as they are, cut in half with ``cut``."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.methods: set[str] = set()
        self.headers = {"X-h2o-cluster-id": "77", "X-h2o-build-project-version": "3.46.0.12"}
        self.cut = False
        self.port = 0
        scripted = self

        class Handler(Answering):
            def do_GET(self) -> None:
                scripted.methods.add(self.command)
                status, body = scripted.answers.get(unquote(self.path.partition("?")[0]), (404, {"msg": "not found"}))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in scripted.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if scripted.cut and isinstance(body, bytes) else data)
                self.close_connection = scripted.cut

        self.handler = Handler

    def job(self, status: str = "DONE", kind: str = "Key<Model>", dest: str = "gbm1", **more: Any) -> None:
        self.answers["/3/Jobs/$03_job"] = (200, {"jobs": [job("$03_job", kind, status, dest, progress=0.615, **more)]})


class TwoNodes:
    """A node whose job lives elsewhere: its own life is answered at once, the job when ``home`` may answer."""

    def __init__(self) -> None:
        self.home, self.node = threading.Event(), threading.Event()
        self.home.set()
        self.node.set()
        self.port = 0
        self.trees = self.lives = 0
        self.process: str | None = "17"
        self.clouds = 0
        self.drops = self.failing = False
        self.waiting = 0
        self._thaw_after: float | None = None
        outer = self

        class Handler(Answering):
            def do_GET(self) -> None:
                if self.path == "/3/Cloud":
                    outer.clouds += 1
                    self.answer(200, {}, **{"X-h2o-cluster-id": "17"})
                    return
                outer.waiting += 1
                outer.stand_still(outer.home)
                outer.stand_still(outer.node)
                outer.waiting -= 1
                if outer.failing:
                    self.answer(200, {}, **{"X-h2o-cluster-id": "17"})
                    return
                outer.trees += 1
                jobs = [job("a", progress_msg=f"{outer.trees} trees")]
                self.answer(200, {"jobs": jobs}, **{"X-h2o-cluster-id": "17"})

            def do_OPTIONS(self) -> None:
                if not outer.node.is_set():
                    outer.stand_still(outer.node)
                    time.sleep(0.1)  # the answer about the job, which waited as well, comes first
                if outer.drops:
                    self.close_connection = True
                    return
                outer.lives += 1
                self.answer(200, b"", **({} if outer.process is None else {"X-h2o-cluster-id": outer.process}))

        self.handler = Handler

    def thaw_after_question(self, seconds: float = 0.4) -> None:
        """Let the node run again ``seconds`` after the next question arrived."""
        self._thaw_after = seconds

    def stand_still(self, event: threading.Event) -> None:
        """Wait until ``event`` lets answer."""
        if self._thaw_after is not None and not event.is_set():
            threading.Timer(self._thaw_after, event.set).start()
            self._thaw_after = None
        event.wait(FROZEN_SECONDS)


class Gbm:
    """A server that trains a model, 50 trees per second, until ``finished`` is set; then it has the model."""

    trees = 1_000_000

    def __init__(self, archive: bytes) -> None:
        self._began = time.monotonic()
        self.finished = threading.Event()
        self.logins: set[str | None] = set()
        self._archive = archive
        outer = self

        class Handler(Answering):
            def do_GET(self) -> None:
                outer.logins.add(self.headers.get("Authorization"))
                status, body = outer.answer(unquote(self.path.partition("?")[0]))
                self.answer(status, body, **outer.headers)

            def do_OPTIONS(self) -> None:
                self.answer(200, b"", **outer.headers)

        self.handler = Handler
        self.headers = {"X-h2o-cluster-id": "77", "X-h2o-build-project-version": "3.46.0.12"}

    def answer(self, path: str) -> tuple[int, Any]:
        """Status and body for a path without its query."""
        found: dict[str, Any] = {
            "/3/Cloud": {"__meta": {"schema_name": "CloudV3"}, "locked": True},
            "/3/Jobs": self._jobs(),
            "/3/Jobs/$03_gbm": self._jobs(),
            "/3/Models/gbm_1": {"models": [{"algo": "gbm", "have_mojo": True, "parameters": []}]},
            "/3/ModelMetrics/models/gbm_1": {"model_metrics": [{"model_checksum": 7}]},
        }
        if self.finished.is_set():
            found |= {"/3/Models/gbm_1/mojo": self._archive, "/3/Models.fetch.bin/gbm_1": b"binary model"}
        return (200, found[path]) if path in found else (404, {"msg": "not found"})

    def _jobs(self) -> dict[str, Any]:
        done = self.trees if self.finished.is_set() else int(50 * (time.monotonic() - self._began))
        status = "DONE" if self.finished.is_set() else "RUNNING"
        shown = {"progress": done / self.trees, "progress_msg": f"{done} of {self.trees} trees", "description": "GBM"}
        return {"jobs": [job("$03_gbm", status=status, **shown)]}
