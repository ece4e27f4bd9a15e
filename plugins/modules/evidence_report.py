#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_report
short_description: Write the evidence of a run as JSON, HTML and Markdown
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes C(evidence.json), C(report.html) and C(report.md) from the journal and the samples of a run, in the run's directory.
  - The same journal always gives the same files. The module does not connect to vCenter.
  - Each line of the journal contains the SHA-256 of the line before it. The module verifies this chain and the samples' SHA-256,
    and fails if something was changed. The message names the line.
extends_documentation_fragment:
  - liveml.vsphere.attributes
requirements:
  - matplotlib >= 3.8
  - Jinja2
options:
  state_dir:
    description:
      - Directory that contains the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - ID of the run. The default is the newest run that fits O(purpose) and O(host).
    type: str
  purpose:
    description:
      - Purpose of the run.
    type: str
    choices: [evacuate, restore, migrate]
  host:
    description:
      - Name or MoID of the host that was evacuated or restored.
    type: str
  signing_key:
    description:
      - Private SSH key that signs C(evidence.json). The signature is written to C(evidence.json.sig).
      - The key must not have a passphrase, unless an SSH agent holds it.
      - To verify, run C(ssh-keygen -Y verify -f ALLOWED_SIGNERS -I SIGNER -n liveml.vsphere -s evidence.json.sig < evidence.json).
    type: path
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.experiment_wait
"""

EXAMPLES = r"""
- name: Write the report of the newest evacuation
  liveml.vsphere.evidence_report:
    purpose: evacuate
  register: report

- name: Show what the evidence says, and where the report is
  ansible.builtin.debug:
    msg: "{{ report.statements + [report.report_path] }}"

- name: Write and sign the evidence of one run
  liveml.vsphere.evidence_report:
    run_id: 20260131T090000Z-evacuate-esx-05-7f3a
    signing_key: ~/.ssh/id_evidence
"""

RETURN = r"""
evidence_path:
  description: Path of C(evidence.json).
  returned: when a run was found
  type: str
  sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/evidence.json
report_path:
  description: Path of C(report.html).
  returned: when a run was found
  type: str
  sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/report.html
markdown_path:
  description: Path of C(report.md).
  returned: when a run was found
  type: str
  sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/report.md
journal:
  description: Whether journal and samples are as the run wrote them.
  returned: when a run was found
  type: dict
  contains:
    head:
      description: SHA-256 of the last line of the journal.
      type: str
    events:
      description: Number of events in the journal.
      type: int
      sample: 214
    broken_at:
      description: Number of the first line that was changed, or null.
      type: int
    why:
      description: What is wrong with that line, or empty.
      type: str
      sample: ""
    samples_sha256:
      description: SHA-256 of the samples.
      type: str
    samples_as_sealed:
      description: Whether this is the SHA-256 that the journal contains, or null if the journal does not contain one.
      type: bool
      sample: true
artifact:
  description: What a job on another controller must know about the run, for O(liveml.vsphere.experiment_wait#module:artifact).
  returned: when a run was found
  type: dict
  contains:
    version:
      description: Version of this format.
      type: int
    purpose:
      description: V(evacuate), V(restore) or V(migrate).
      type: str
      sample: evacuate
    host:
      description: Name of the host that was evacuated or restored, or null.
      type: str
      sample: esx-05.example.com
    run_id:
      description: ID of the run.
      type: str
      sample: 20260131T090000Z-evacuate-esx-05-7f3a
    plan_id:
      description: ID of the plan.
      type: str
    result:
      description: Result of the run, for example V(success) or V(failed).
      type: str
      sample: success
    verdict:
      description: Verdict of the whole run, or V(no_experiment).
      type: str
      sample: uninterrupted
    experiments:
      description: The experiments.
      type: list
      elements: dict
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
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import RunFilter, find_run, state_to_read

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "run_id": {"type": "str"},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate"]},
    "host": {"type": "str"},
    "signing_key": {"type": "path"},
}


def write(path: Path, text: str) -> None:
    """Replace a file in one step. Only its owner can read it."""
    new = path.with_suffix(path.suffix + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(path)


def sign(path: Path, module: AnsibleModule) -> bool:
    """Sign a file with ``ssh-keygen -Y sign``. Returns whether there is a new signature. Raises InvalidInput."""
    signature = path.with_name(f"{path.name}.sig")
    if signature.exists() and path.exists() and signature.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return False
    if module.check_mode:
        return True
    program = module.get_bin_path("ssh-keygen")
    if program is None:
        raise InvalidInput(
            "signing_key needs the program ssh-keygen, which was not found",
            hint="Install the OpenSSH client",
            option="signing_key",
        )
    signature.unlink(missing_ok=True)
    command = [program, "-Y", "sign", "-f", module.params["signing_key"], "-n", "liveml.vsphere", str(path)]
    code, _output, errors = module.run_command(command)
    if code != 0:
        raise InvalidInput(
            f"{path} cannot be signed: {' '.join(errors.split())[:200]}",
            hint="Set signing_key to an SSH key without a passphrase, or to a key that the SSH agent holds",
            option="signing_key",
        )
    signature.chmod(0o600)
    return True


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the run, make its files, and write those that changed."""
    params = module.params
    wanted = RunFilter(params["run_id"], params["purpose"], params["host"])
    run = find_run(state_to_read(params["state_dir"]), wanted, warn=module.warn)
    if run is None:
        return {"changed": False, "msg": "no run yet"}
    folder, entries = run.folder, run.entries
    samples = {k: [s for _session, s in rows] for k, rows in read_samples(folder / "samples.jsonl").items()}
    integrity = integrity_of(folder, entries)
    evidence = evidence_of(entries, samples, integrity)
    changed = False
    before, after = {}, {}
    # The JSON comes first: it must be written even if the plot library is missing.
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
        "artifact": artifact_of(entries, evidence),
        "statements": evidence["statements"],
    }
    if integrity["broken_at"] is not None:
        result["failure"] = (
            f"The journal of run {folder.name} was changed: line {integrity['broken_at']} is wrong: {integrity['why']}. "
            "The evidence does not prove anything from that line on. Find out who changed the file."
        )
    elif integrity["samples_as_sealed"] is False:
        result["failure"] = (
            f"The samples of run {folder.name} were changed: their SHA-256 is not the one in the journal. "
            "The evidence does not prove anything. Find out who changed the file."
        )
    return result


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
