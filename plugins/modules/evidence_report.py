#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_report
short_description: Write a run's evidence as JSON, page and Markdown
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes C(evidence.json), C(report.html) and C(report.md) from the journal and the samples of a run. It needs no vCenter.
  - The same journal makes the same files.
extends_documentation_fragment:
  - liveml.vsphere.attributes
requirements:
  - matplotlib >= 3.8
  - Jinja2
options:
  state_dir:
    description:
      - Folder of the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - The run; the newest that fits O(purpose) and O(host) by default.
    type: str
  purpose:
    description:
      - Only runs of this purpose.
    type: str
    choices: [evacuate, restore, migrate]
  host:
    description:
      - Only runs for the host of this name.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Write the report of the latest evacuation
  liveml.vsphere.evidence_report:
    purpose: evacuate
"""

RETURN = r"""
evidence_path:
  description: Path of C(evidence.json).
  returned: when a run was found
  type: str
report_path:
  description: Path of C(report.html).
  returned: when a run was found
  type: str
markdown_path:
  description: Path of C(report.md).
  returned: when a run was found
  type: str
statements:
  description: What the evidence says about each experiment.
  returned: when a run was found
  type: list
  elements: str
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._errors import NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._journal import Event, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._module import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._report import render_html, render_markdown
from ansible_collections.liveml.vsphere.plugins.module_utils._runs import run_folders, state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._samples import read_samples

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "run_id": {"type": "str"},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate"]},
    "host": {"type": "str"},
}


def find_run(params: dict[str, Any]) -> tuple[Path, list[Event]] | None:
    """The wanted run's folder and journal. Raises NotFound for a run_id that does not exist."""
    for folder in run_folders(state_path(params["state_dir"])):
        events = read_journal(folder / "journal.jsonl")
        if events and events[0]["event"] == "run_started" and fits(events[0], folder, params):
            return folder, events
    if params["run_id"]:
        raise NotFound(
            f"There is no run {params['run_id']}",
            hint=f"Look into {params['state_dir']}/runs",
            option="run_id",
        )
    return None


def fits(start: Event, folder: Path, params: dict[str, Any]) -> bool:
    """Whether a run is one that was asked for."""
    host = start["host"]["name"] if start["host"] else None
    return (
        params["run_id"] in (None, folder.name)
        and params["purpose"] in (None, start["purpose"])
        and params["host"] in (None, host)
    )


def write(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    new = path.with_suffix(path.suffix + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(path)


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the run, render, write what changed."""
    found = find_run(module.params)
    if found is None:
        return {"changed": False, "msg": "no run yet"}
    folder, events = found
    samples = {k: [s for _session, s in rows] for k, rows in read_samples(folder / "samples.jsonl").items()}
    evidence = evidence_of(events, samples)
    changed = False
    # The record first: a missing plot library must not cost it.
    renderings = (
        ("evidence.json", lambda: json.dumps(evidence, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
        ("report.md", lambda: render_markdown(evidence)),
        ("report.html", lambda: render_html(evidence)),
    )
    for name, render in renderings:
        path, text = folder / name, render()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed = True
            if not module.check_mode:
                write(path, text)
    return {
        "changed": changed,
        "evidence_path": str(folder / "evidence.json"),
        "report_path": str(folder / "report.html"),
        "markdown_path": str(folder / "report.md"),
        "statements": evidence["statements"],
    }


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
