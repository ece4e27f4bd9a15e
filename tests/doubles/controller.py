# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An AWX that ansible-rulebook launches templates on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.doubles.servers import Answering, serving
from tests.labs import ROOT

SHIPPED = yaml.safe_load((ROOT / "extensions/eda/vars.yml").read_text())


class Controller(Answering):
    """What ansible-rulebook asks of AWX: templates by name, launches, jobs. It runs nothing."""

    launches: list[tuple[str, dict[str, Any]]]
    confirmed: bool
    templates = (("job_template", SHIPPED["check_template"]), ("workflow_job_template", SHIPPED["workflow"]))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path.endswith("unified_job_templates/"):
            found = [self._template(n) for n in range(2) if self.templates[n][1] == query["name"]]
            self._answer(200, {"count": len(found), "results": found, "next": None})
        elif url.path.endswith("jobs/"):
            self._answer(200, {"results": [self._job(int(number)) for number in query["id__in"].split(",")]})
        else:
            self._answer(200, {"version": "24.6.1"})

    def do_POST(self) -> None:
        body = json.loads(self.body())
        if self.headers["Authorization"] != "Bearer controller-token":
            self._answer(401, {"detail": "no"})
            return
        kind, name = self.templates[int(self.path.split("/")[-3])]
        self.launches.append((name, body["extra_vars"]))
        jobs = "workflow_jobs" if kind.startswith("workflow") else "jobs"
        self._answer(201, {"id": len(self.launches), "url": f"/api/v2/{jobs}/{len(self.launches)}/"})

    def _template(self, number: int) -> dict[str, Any]:
        kind, name = self.templates[number]
        asks = dict.fromkeys([f"ask_{what}_on_launch" for what in ("limit", "labels", "inventory", "variables")], False)
        launch = f"/api/v2/{kind}s/{number}/launch/"
        organization = {"organization": {"name": "Default"}}
        return {
            "id": number, "type": kind, "name": name, "related": {"launch": launch}, "summary_fields": organization, **asks,
        }  # fmt: skip

    def _job(self, number: int) -> dict[str, Any]:
        name, variables = self.launches[number - 1]
        finding = {"host": variables.get("hardware_event_host"), "confirmed": self.confirmed, "message": "as reported"}
        artifacts = {"liveml_vsphere_hardware": finding} if name == SHIPPED["check_template"] else {}
        return {"id": number, "status": "successful", "created": "2026-11-02T22:00:00Z", "artifacts": artifacts}

    def _answer(self, status: int, body: object) -> None:
        self.answer(status, body, **{"Content-Type": "application/json"})


@contextlib.contextmanager
def controller(*, confirmed: bool) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    launches: list[tuple[str, dict[str, Any]]] = []
    handler = type("SeenController", (Controller,), {"launches": launches, "confirmed": confirmed})
    with serving(handler) as port:
        yield f"http://127.0.0.1:{port}", launches
