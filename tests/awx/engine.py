# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs what the double was configured with, as AWX does: jobs by ansible-runner, each on a disk of its own.

Variables of a job, the later winning: the template's, the defaults of its survey, what earlier jobs published with
`set_stats`, the workflow's own (AWX 24.6.1, `WorkflowJobNode.get_job_kwargs`, `_update_unified_job_kwargs`). AWX writes them as
YAML, and marks every text `!unsafe` that the template's author did not write.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import yaml
from jinja2 import Environment

from tests.awx.double import Item, Store
from tests.awx.surveys import defaults_of
from tests.labs import ROOT

# The built-in type "VMware vCenter" of AWX.
VCENTER_ENV = {
    "VMWARE_HOST": "{{ host }}",
    "VMWARE_USER": "{{ username }}",
    "VMWARE_PASSWORD": "{{ password }}",
    "VMWARE_VALIDATE_CERTS": "False",  # a setting of AWX's settings file, which no API shows
}
EDGES = {"successful": ("success_nodes", "always_nodes"), "failed": ("failure_nodes", "always_nodes")}


class _UnsafeDumper(yaml.SafeDumper):
    """Marks texts, also those that are keys."""


_UnsafeDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("!unsafe", text))


def written(variables: dict[str, Any], trusted: dict[str, Any]) -> str:
    """Extra variables as AWX writes them; ``trusted`` are those of the template, which may contain templates."""
    parts = [
        yaml.dump({name: value}, Dumper=yaml.SafeDumper if trusted.get(name) == value else _UnsafeDumper)
        for name, value in variables.items()
    ]
    return "".join(parts)


@dataclass
class Job:
    """How a job ended: AWX's status, what it published with `set_stats`, and its events."""

    status: str
    artifacts: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""


def run_job(
    store: Store,
    template: Item,
    variables: dict[str, Any],
    folder: Path,
    *,
    cancel: Callable[[], bool] = lambda: False,
) -> Job:
    """Run a job template in a fresh private data directory, its home folder in it."""
    (folder / "env").mkdir(parents=True)
    trusted = json.loads(template["extra_vars"] or "{}")
    # AWX passes what credentials inject in a file of its own; no other variable has the same name.
    injected = written(credential_variables(store, template), {})
    (folder / "env" / "extravars").write_text(written(variables, trusted) + injected, encoding="utf-8")
    options = ["--check"] * (template["job_type"] == "check") + ["--diff"] * template["diff_mode"]
    run = ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=str(ROOT),
        playbook=template["playbook"],
        inventory="localhost,",
        envvars={
            **credential_environment(store, template),
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
            "LIVEML_VSPHERE_ALLOWED_NETWORKS": "127.0.0.0/8",  # where a lab's guests are
        },
        cmdline=" ".join(options) or None,
        cancel_callback=cancel,
        quiet=True,
    )
    events = list(run.events)
    (stats,) = [e for e in events if e["event"] == "playbook_on_stats"] or [{"event_data": {}}]
    return Job(run.status, stats["event_data"].get("artifact_data", {}), events, run.stdout.read())


def credential_environment(store: Store, template: Item) -> dict[str, str]:
    """What the template's credentials inject."""
    found = {}
    for credential in store.associated("job_templates", template["id"], "credentials"):
        kind = store.one("credential_types", credential["credential_type"])
        injected = VCENTER_ENV if kind["managed"] else kind["injectors"].get("env", {})
        found |= filled(injected, store.secrets[credential["id"]])
    return found


def credential_variables(store: Store, template: Item) -> dict[str, Any]:
    """The extra variables that the template's credentials inject."""
    found: dict[str, Any] = {}
    for credential in store.associated("job_templates", template["id"], "credentials"):
        kind = store.one("credential_types", credential["credential_type"])
        found |= filled(kind["injectors"].get("extra_vars", {}), store.secrets[credential["id"]])
    return found


def filled(injector: Any, inputs: dict[str, Any]) -> Any:
    """An injector with the inputs of a credential in it."""
    if isinstance(injector, dict):
        return {name: filled(value, inputs) for name, value in injector.items()}
    return Environment(autoescape=False).from_string(injector).render(inputs)


def variables_of(store: Store, template: Item, runtime: dict[str, Any]) -> dict[str, Any]:
    """A job's variables."""
    own = json.loads(template["extra_vars"] or "{}")
    return {**own, **defaults_of(store.survey_of("job_templates", template["id"])), **runtime}


class Workflow:
    """One run of a workflow; `decide` gives or denies each approval by its name."""

    def __init__(self, store: Store, name: str, answers: dict[str, Any], decide: Callable[[str], bool], folder: Path):
        self._store = store
        self._template = store.named("workflow_job_templates", name)
        accepted = store.launch("workflow_job_templates", self._template["id"], {"extra_vars": answers})["extra_vars"]
        survey = store.survey_of("workflow_job_templates", self._template["id"])
        self._variables = {**json.loads(self._template["extra_vars"] or "{}"), **defaults_of(survey), **accepted}
        self._decide = decide
        self._folder = folder
        self.jobs: dict[str, Job] = {}

    @property
    def status(self) -> str:
        """AWX's: failed when a node failed that no edge catches."""
        uncaught = [
            node
            for identifier, job in self.jobs.items()
            if job.status != "successful"
            for node in [self._node(identifier)]
            if not any(self._children(node, edge) for edge in EDGES["failed"])
        ]
        return "failed" if uncaught else "successful"

    def run(self) -> dict[str, Job]:
        """Run node after node, from the roots; a node runs when an edge of a node that ended leads to it."""
        nodes = [
            n for n in self._all("workflow_job_template_nodes") if n["workflow_job_template"] == self._template["id"]
        ]
        children = {
            child for node in nodes for edges in EDGES.values() for e in edges for child in self._children(node, e)
        }
        ready = [(node, dict[str, Any]()) for node in nodes if node["id"] not in children]
        while ready:
            node, handed_on = ready.pop(0)
            job = self._run(node, handed_on)
            self.jobs[node["identifier"]] = job
            edges = EDGES["successful" if job.status == "successful" else "failed"]
            for child in (child for edge in edges for child in self._children(node, edge)):
                ready.append((self._store.one("workflow_job_template_nodes", child), {**handed_on, **job.artifacts}))
        return self.jobs

    def _run(self, node: Item, handed_on: dict[str, Any]) -> Job:
        template = self._store.one("unified_job_templates", node["unified_job_template"])
        if template["type"] == "workflow_approval_template":
            return Job("successful" if self._decide(template["name"]) else "failed")
        variables = variables_of(self._store, template, {**handed_on, **self._variables})
        return run_job(self._store, template, variables, self._folder / f"{len(self.jobs)}-{node['identifier']}")

    def _all(self, resource: str) -> list[Item]:
        return self._store.found(resource, [])

    def _node(self, identifier: str) -> Item:
        query = [("identifier", identifier), ("workflow_job_template", str(self._template["id"]))]
        (node,) = self._store.found("workflow_job_template_nodes", query)
        return node

    def _children(self, node: Item, edge: str) -> list[int]:
        return self._store.lists.get(("workflow_job_template_nodes", node["id"], edge), [])
