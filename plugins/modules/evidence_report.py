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
  - Each line of the journal contains the SHA-256 of the line before it, and C(journal.head) keeps that of the last line. The module
    verifies both and the samples' SHA-256, and fails if something was changed. The message names the folder and the line.
  - Also writes C(index.html) in O(state_dir), the index of all runs. See M(liveml.vsphere.run_index). C(changed) is about the files of the
    run alone, because it shows whether the evidence is as it was.
  - A signed C(evidence.json) is never replaced by one that says something else. If the run was resumed since, the signed one stays as
    C(evidence-LINES.json). Damaged evidence is not signed.
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
    choices: [evacuate, restore, migrate, witness]
  host:
    description:
      - Name or MoID of the host that was evacuated, restored or witnessed.
    type: str
  signing_key:
    description:
      - Private SSH key that signs C(evidence.json). The signature is written to C(evidence.json.sig).
      - The key must not have a passphrase, unless an SSH agent holds it.
      - To verify, run C(ssh-keygen -Y verify -f ALLOWED_SIGNERS -I SIGNER -n liveml.vsphere -s evidence.json.sig < evidence.json).
    type: path
  excerpts:
    description:
      - Whether each owner gets a page with their part of the report, C(report-of-OWNER.html). It shows their experiments, and nothing
        about VMs of others.
    type: bool
    default: false
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
  - module: liveml.vsphere.run_index
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

- name: Write the report of the newest evacuation, and the part of each owner
  liveml.vsphere.evidence_report:
    purpose: evacuate
    excerpts: true
  register: report

- name: Fail unless the newest evacuation of a host interrupted no experiment, and its journal is unchanged
  liveml.vsphere.evidence_report:
    purpose: evacuate
    host: esx-05.example.com
  register: proof
  failed_when: proof.failed or proof.journal.broken_at or proof.artifact.verdict not in ['uninterrupted', 'completed']
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
index_path:
  description: Path of C(index.html), the index of all runs; empty if it could not be written.
  returned: when a run was found
  type: str
  sample: /srv/liveml/index.html
excerpts:
  description: Path of the page of each owner.
  returned: when a run was found
  type: dict
  sample:
    vision: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/report-of-vision.html
journal:
  description: Whether journal and samples are as the run wrote them.
  returned: when a run was found
  type: dict
  contains:
    head:
      description: SHA-256 of the last line of the journal.
      type: str
      sample: 2f1f5c0a6c3b8d5e0d4c7b9a8e6f1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6
    events:
      description: Number of events in the journal.
      type: int
      sample: 214
    broken_at:
      description: Number of the first line that was changed, or null.
      type: int
      sample: 17
    why:
      description: What is wrong with that line or with the end, or empty.
      type: str
      sample: ""
    end_kept:
      description: Whether C(journal.head) vouches for the last line. It does not if the process of the run was killed.
      type: bool
      sample: true
    samples_sha256:
      description: SHA-256 of the samples.
      type: str
      sample: 9c1e0f4b7a6d5c3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e
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
      sample: 1
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
      sample: 0f343b0931126a20f133d67c2b018a3b5d9ae7b36c2d0f0a6f3f0f1d2c4b5a69
    result:
      description: Result of the run, for example V(success) or V(failed).
      type: str
      sample: success
    verdict:
      description: Verdict of the whole run, or V(no_experiment).
      type: str
      sample: uninterrupted
    what_to_do:
      description: What the verdict means for the trainings, and what to do next.
      type: str
      sample: The training continued, and no progress was lost. You do not have to do anything.
    experiments:
      description: >-
        The experiments, as in RV(liveml.vsphere.experiment_info#module:experiments), without C(description), C(recovery) and empty values.
      type: list
      elements: dict
      sample:
        - vm: vm-42
          vm_name: ML-cpu-vm-04
          provider: h2o3
          id: $03017f00000132d4ffffffff$_adf5
          process: "1769850000000"
          url: http://10.1.4.7:54321
          progress: 0.61
          owner: vision
experiments:
  description: >-
    What the evidence says about each experiment, the worst first, as in RV(liveml.vsphere.vm_migrate#module:experiments), with more that
    only the samples show.
  returned: when a run was found
  type: list
  elements: dict
  contains:
    title:
      description: Name of the experiment, and its VMs.
      type: str
      sample: GBM gbm_arr_delay_1 in ML-cpu-vm-04
    verdict:
      description: V(uninterrupted), V(stalled), V(restarted), V(lost), V(failed), V(completed) or V(unknown).
      type: str
      sample: lost
    seen:
      description: What was seen of it, in words.
      type: str
      sample: "Alive: no, last seen at 2026-01-31 09:12:03 UTC, 30 %. Lost: what it has not saved."
    reason:
      description: What led to a verdict that is not good, in words, or empty.
      type: str
      sample: "What was seen: port 54321 refuses connections."
    what_to_do:
      description: What to do about it.
      type: str
      sample: Start it again on the server that answers now from the beginning.
    watched_seconds:
      description: For how many seconds its progress was seen, or null.
      type: float
      sample: 34.2
    watched_after_move:
      description: Seconds from the end of its last move to its last sampled progress, or null.
      type: float
      sample: 21.4
    last_seen:
      description: Its last progress before it went back or stopped, or null.
      type: dict
      contains:
        progress:
          description: The progress, from 0 to 1.
          type: float
          sample: 0.3
        at:
          description: When it was seen (ISO 8601, UTC), or null.
          type: str
          sample: "2026-01-31T09:12:03.120Z"
    fell_to:
      description: The first progress after it went back, or null.
      type: dict
      contains:
        progress:
          description: The progress, from 0 to 1.
          type: float
          sample: 0.1
        at:
          description: When it was seen (ISO 8601, UTC), or null.
          type: str
          sample: "2026-01-31T09:12:24.480Z"
    latest:
      description: The last progress of all, or null.
      type: dict
      contains:
        progress:
          description: The progress, from 0 to 1.
          type: float
          sample: 0.14
        at:
          description: When it was seen (ISO 8601, UTC), or null.
          type: str
          sample: "2026-01-31T09:13:00.016Z"
    reached:
      description: When its last progress was seen first, or null. A training that hangs still answers, with the same progress.
      type: dict
      contains:
        progress:
          description: The progress, from 0 to 1.
          type: float
          sample: 0.14
        at:
          description: When it was seen (ISO 8601, UTC), or null.
          type: str
          sample: "2026-01-31T09:12:58.512Z"
    quiet_seconds:
      description: Seconds from its last sampled progress to the end of the run, or null if they are few or not known.
      type: float
      sample: 41.7
    still_seconds:
      description: For how many seconds its last sampled progress had not changed, or null.
      type: float
      sample: 1.5
    since_move:
      description: When it was last seen to work, counted from the begin of its move, in words. Empty if that is not known.
      type: str
      sample: 12 s after its move began, after the switch-over
    lost_seconds:
      description: How many seconds of work were lost when progress went back, at the pace before the move, or null.
      type: float
      sample: 95.3
    error:
      description: What its server says about its failure, or empty.
      type: str
      sample: ""
    recoverable:
      description: Whether a checkpoint limits the loss if the training is lost, V(yes), V(no) or V(unknown).
      type: str
      sample: "no"
    recovery:
      description: Which checkpoint, or why there is none.
      type: str
      sample: no in_training_checkpoints_dir and no auto-recovery
    names_process:
      description: Whether answers about the experiment identify its process.
      type: bool
      sample: true
    stall_budget:
      description: Maximum time in seconds that the run allowed the experiment to stall.
      type: float
      sample: 5.0
unobserved:
  description: >-
    Names of VMs without an observed experiment, and what was seen instead, of the whole run. The name has the MoID if VMs share it.
  returned: when a run was found
  type: dict
  sample:
    ML-cpu-vm-07: "http://10.1.4.7:54321: no server listens"
partly_searched:
  description: >-
    Names of VMs with an observed experiment that may have had other ones, because not every source could look, and why, of the whole run.
    The name has the MoID if VMs share it.
  returned: when a run was found
  type: dict
  sample:
    ML-cpu-vm-08: "https://mlflow.example.com: authentication failed (HTTP 401); check username, password and token"
statements:
  description: What the evidence says about each experiment.
  returned: when a run was found
  type: list
  elements: str
  sample: ["ML-cpu-vm-04: no restart; same process, same job, progress kept; longest stall 0.43 s (0.41 to 0.52 s)."]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import printable_data
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import artifact_of, evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.excerpt import file_name, owners_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.files import Change, render_json, write_files
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index_file import INDEX, write_index
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.integrity import (
    Replacing,
    earlier_evidence,
    failure_of,
    integrity_of,
    replacing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.model import Artifact, Evidence, Unobserved
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.names import HTML, JSON, MARKDOWN
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import rows_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.signature import Fit, Signatures, set_aside
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.summary import display_name, shared_names
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import by_boot, recorded
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    RunFilter,
    StoredRun,
    find_run,
    state_to_read,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.timeline import timeline

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "run_id": {"type": "str"},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate", "witness"]},
    "host": {"type": "str"},
    "signing_key": {"type": "path"},
    "excerpts": {"type": "bool", "default": False},
}


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the run, make its files, and write those that changed."""
    params = module.params
    selected = RunFilter(params["run_id"], params["purpose"], params["host"])
    run = find_run(state_to_read(params["state_dir"]), selected, warn=module.warn)
    if run is None:
        return {"changed": False, "msg": "no run yet"}
    evidence, path, signatures = evidence_of_run(run), run.folder / JSON, signatures_of(module)
    earlier = earlier_evidence(path)
    action, refusal = replacing(earlier, render_json(evidence), run.reading, evidence["journal"], signatures.fit(path))
    failures = [failure_of(run.folder, evidence["journal"]), f"{run.folder}: {refusal}" if refusal else ""]
    if action is Replacing.KEEP:
        module.warn(f"{path} is signed, and another version of the collection made it. It stays as it is.")
    if action is Replacing.SET_ASIDE and earlier is not None and not module.check_mode:
        set_aside(path, earlier.lines)
    owners = owners_of(evidence) if params["excerpts"] else []
    changes = write(module, run.folder, evidence, action, owners)
    signed = not any(failures) and sign(module, signatures, path, changed=any(c.path == path for c in changes))
    if not any(failures) and not module.check_mode and signatures.fit(path) is Fit.BAD:
        failures.append(
            f"{path}.sig is not the signature of this file. Find out who changed it, or sign it with signing_key."
        )
    result = result_of(run.folder, evidence, artifact_of(run.entries, evidence), changes, signed=signed)
    result["excerpts"] = {owner: str(run.folder / file_name(owner)) for owner in owners}
    result["index_path"] = write_index_of(module, run.folder.parents[1])
    failure = " ".join(filter(None, failures))
    return {**result, "failure": failure} if failure else result


def write(
    module: AnsibleModule, folder: Path, evidence: Evidence, action: Replacing, owners: list[str]
) -> list[Change]:
    """Write what may be written."""
    if action is Replacing.REFUSE:
        return []
    keep = action is Replacing.KEEP
    return write_files(folder, evidence, check_mode=module.check_mode, keep_json=keep, owners=owners)


def write_index_of(module: AnsibleModule, state: Path) -> str:
    """Write the index of all runs; returns its path, "" if that failed. The report is there all the same."""
    try:
        write_index(state, check_mode=module.check_mode)
    except InvalidInput as error:
        module.warn(f"The index of all runs could not be written: {error}")
        return ""
    return str(state / INDEX)


def evidence_of_run(run: StoredRun) -> Evidence:
    """The evidence from the journal and the samples of a run."""
    times = timeline(run.entries)
    samples = by_boot(recorded(run.folder / "samples.jsonl"), times.shifts)
    return evidence_of(times.entries, samples, integrity_of(run.folder, run.reading))


def signatures_of(module: AnsibleModule) -> Signatures:
    """What makes and checks signatures on this machine."""

    def run(command: list[str], data: bytes | None) -> tuple[int, str, str]:
        try:
            code, output, errors = module.run_command(command, data=data, binary_data=True, handle_exceptions=False)
        except BrokenPipeError:  # without any signature in the file, ssh-keygen ends before it reads the document
            return 255, "", ""
        return int(code), str(output), str(errors)

    return Signatures(module.get_bin_path("ssh-keygen"), run)


def sign(module: AnsibleModule, signatures: Signatures, path: Path, *, changed: bool) -> bool:
    """Sign a file if there is a key, and no signature by this key. Returns whether there is a new signature."""
    key = module.params["signing_key"]
    if not key or (not changed and signatures.is_by(path, key)):
        return False
    if not module.check_mode:
        signatures.sign(path, key)
    return True


def result_of(
    folder: Path, evidence: Evidence, artifact: Artifact, changes: list[Change], *, signed: bool
) -> dict[str, Any]:
    """What the module returns for a run."""
    return {
        "changed": bool(changes) or signed,
        "diff": [diff_of(change) for change in changes if change.path.name == MARKDOWN],
        "journal": evidence["journal"],
        "evidence_path": str(folder / JSON),
        "report_path": str(folder / HTML),
        "markdown_path": str(folder / MARKDOWN),
        "artifact": artifact,
        "statements": evidence["statements"],
        "experiments": printable_data(rows_of(evidence)),
        "unobserved": by_vm(evidence, evidence["unobserved"]),
        "partly_searched": by_vm(evidence, evidence.get("partly_searched", [])),
    }


def by_vm(evidence: Evidence, told: Iterable[Unobserved]) -> dict[str, str]:
    """What is reported of each VM, by the name with which it is shown."""
    shared = shared_names(evidence)
    return {display_name(each["vm"], each["moid"], shared): each["detail"] for each in told}


def diff_of(change: Change) -> dict[str, str]:
    """A changed file for Ansible's diff mode."""
    path = str(change.path)
    return {"before_header": path, "after_header": path, "before": change.before, "after": change.after}


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
