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
  - Each line of the journal carries the SHA-256 of the line before it. The module verifies this chain and the samples' seal,
    names the last line's SHA-256 in the evidence, and fails when something was changed, saying where.
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
  signing_key:
    description:
      - Private SSH key, without a passphrase or held by the agent, that signs C(evidence.json). The signature is C(evidence.json.sig).
      - It is verified by C(ssh-keygen -Y verify -f ALLOWED_SIGNERS -I SIGNER -n liveml.vsphere -s evidence.json.sig < evidence.json).
    type: path
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
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
journal:
  description: What verifying the journal found, C(head), C(events), C(broken_at), C(why), C(samples_sha256), C(samples_as_sealed).
  returned: when a run was found
  type: dict
artifact:
  description:
    - What a later job on another controller needs to know of the run, C(version), C(purpose), C(host), C(run_id), C(plan_id),
      C(result), C(verdict) (that of the whole report, or C(no_experiment)) and the C(experiments) for M(liveml.vsphere.experiment_wait).
  returned: when a run was found
  type: dict
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
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import artifact_of, evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.integrity import integrity_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import read_samples
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Event
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import no_run, run_journals, state_to_read

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "run_id": {"type": "str"},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate"]},
    "host": {"type": "str"},
    "signing_key": {"type": "path"},
}


def find_run(params: dict[str, Any]) -> tuple[Path, list[Event]] | None:
    """The wanted run's folder and journal. Raises NotFound for a run_id that does not exist."""
    state = state_to_read(params["state_dir"])
    for folder, events in run_journals(state):
        if events and events[0]["event"] == "run_started" and fits(events[0], folder, params):
            return folder, events
    if params["run_id"]:
        raise no_run(state, params["run_id"])
    return None


def fits(start: Event, folder: Path, params: dict[str, Any]) -> bool:
    """Whether a run is one that was asked for."""
    host = (start["host"]["name"], start["host"]["moid"]) if start["host"] else ()
    return (
        params["run_id"] in (None, folder.name)
        and params["purpose"] in (None, start["purpose"])
        and (params["host"] is None or params["host"] in host)
    )


def write(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    new = path.with_suffix(path.suffix + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(path)


def sign(path: Path, module: AnsibleModule) -> bool:
    """Sign a file as ``ssh-keygen -Y`` does; whether that changed anything. Raises InvalidInput when it cannot."""
    signature = path.with_name(f"{path.name}.sig")
    if signature.exists() and path.exists() and signature.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return False
    if module.check_mode:
        return True
    program = module.get_bin_path("ssh-keygen")
    if program is None:
        raise InvalidInput("There is no ssh-keygen", hint="Install OpenSSH's client", option="signing_key")
    signature.unlink(missing_ok=True)
    command = [program, "-Y", "sign", "-f", module.params["signing_key"], "-n", "liveml.vsphere", str(path)]
    code, _output, errors = module.run_command(command)
    if code != 0:
        raise InvalidInput(
            f"{path} cannot be signed: {' '.join(errors.split())[:200]}",
            hint="Give an SSH key without a passphrase, or one that the agent holds",
            option="signing_key",
        )
    signature.chmod(0o600)
    return True


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the run, render, write what changed."""
    found = find_run(module.params)
    if found is None:
        return {"changed": False, "msg": "no run yet"}
    folder, events = found
    samples = {k: [s for _session, s in rows] for k, rows in read_samples(folder / "samples.jsonl").items()}
    integrity = integrity_of(folder, events)
    evidence = evidence_of(events, samples, integrity)
    changed = False
    before, after = {}, {}
    # The record first: a missing plot library must not cost it.
    renderings = (
        ("evidence.json", lambda: json.dumps(evidence, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
        ("report.md", lambda: render_markdown(evidence)),
        ("report.html", lambda: render_html(evidence)),
    )
    for name, render in renderings:
        path, text = folder / name, render()
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if known != text:
            changed = True
            before[name], after[name] = known, text
            if not module.check_mode:
                write(path, text)
    signed = sign(folder / "evidence.json", module) if module.params["signing_key"] else False
    result: dict[str, Any] = {
        "changed": changed or signed,
        "diff": [
            {
                "before_header": str(folder / name),
                "after_header": str(folder / name),
                "before": before[name],
                "after": after[name],
            }
            for name in ("report.md",)
            if name in after
        ],
        "journal": integrity,
        "evidence_path": str(folder / "evidence.json"),
        "report_path": str(folder / "report.html"),
        "markdown_path": str(folder / "report.md"),
        "artifact": artifact_of(events, evidence),
        "statements": evidence["statements"],
    }
    if integrity["broken_at"] is not None:
        result["failure"] = (
            f"The journal of run {folder.name} was changed: line {integrity['broken_at']} is wrong, {integrity['why']}. "
            "What the evidence says after that line proves nothing."
        )
    elif integrity["samples_as_sealed"] is False:
        result["failure"] = f"The samples of run {folder.name} are not those that the journal sealed."
    return result


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
