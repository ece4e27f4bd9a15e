# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tracking server with thousands of runs."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.doubles.servers import Answering

STEP_SECONDS = 0.2


class Tracking:
    """Runs that all say RUNNING; those in ``live`` log a step every ``STEP_SECONDS``."""

    def __init__(self, runs: int = 0, *, api: str = "/api/2.0/mlflow") -> None:
        self.api = api
        self.runs = [{"id": f"{n:032x}", "metrics": {"loss": (100 + n % 7, 1000.0 + n)}} for n in range(runs)]
        self.live: dict[str, str] = {}  # metric by run
        self.history: dict[str, list[tuple[int, int]]] = {}  # (step, timestamp) by run
        self.steps = True
        self.tags: dict[str, str] = {}
        self.experiments = 1
        self.largest_page = 50000
        self.asked: list[str] = []
        self.filters: list[str] = []
        self.began = time.monotonic()
        tracking = self

        class Handler(Answering):
            def do_POST(self) -> None:
                question = self.json()
                self.reply(lambda path: tracking.searched(path, question))

            def do_GET(self) -> None:
                self.reply(tracking.told)

            def reply(self, answer: Any) -> None:
                path = urlsplit(self.path).path
                tracking.asked.append(path)
                if not path.startswith(tracking.api + "/"):
                    self.answer(404, "<html>not routed</html>")
                    return
                self.answer(*answer(self.path.removeprefix(tracking.api + "/")))

        self.handler = Handler

    def run(self, known: dict[str, Any]) -> dict[str, Any]:
        """A run as MLflow shows it."""
        metrics = dict(known["metrics"])
        if known["id"] in self.live:
            done = int((time.monotonic() - self.began) / STEP_SECONDS)
            metrics[self.live[known["id"]]] = (done if self.steps else 0, 1e6 + done)
        shown = [{"key": key, "step": step, "timestamp": at, "value": 1.0} for key, (step, at) in metrics.items()]
        tags = [{"key": key, "value": value} for key, value in self.tags.items()]
        return {
            "info": {"run_id": known["id"], "run_name": "a name", "status": "RUNNING"},
            "data": {"metrics": shown, "tags": tags},
        }

    def searched(self, path: str, question: dict[str, Any]) -> tuple[int, Any]:
        """The answer to a search, a page."""
        if path == "experiments/search":
            return 200, {"experiments": [{"experiment_id": str(n)} for n in range(self.experiments)]}
        self.filters.append(question["filter"])
        if question["max_results"] > self.largest_page:
            return 200, {"runs": [{"padding": "x" * (17 << 20)}]}
        known = self.runs if "0" in question["experiment_ids"] else []
        first = int(question.get("page_token") or 0)
        last = first + question["max_results"]
        more = {"next_page_token": str(last)} if last < len(known) else {}
        return 200, {"runs": [self.run(run) for run in known[first:last]], **more}

    def told(self, path: str) -> tuple[int, Any]:
        """The answer to ``runs/get``, or to a question for the history of a metric."""
        query = parse_qs(urlsplit(path).query)
        if path.startswith("metrics/get-history-bulk-interval"):
            points = self.history.get(query["run_ids"][0], [])
            key = query["metric_key"][0]
            return 200, {"metrics": [{"key": key, "step": step, "timestamp": at} for step, at in points]}
        wanted = query.get("run_id", [""])[0]
        known = next((run for run in self.runs if run["id"] == wanted), None)
        if known is None:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        return 200, {"run": self.run(known)}
