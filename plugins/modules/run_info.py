#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_info
short_description: Report runs from their journals
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reports the runs whose journals are on this controller, the newest first, whether each of them is running, was interrupted or has
    ended, what is left to do, and where the evidence is.
  - It reads journals only and does not connect to vCenter. So it also answers while vCenter is down.
extends_documentation_fragment:
  - liveml.vsphere.attributes
options:
  host:
    description:
      - Name or MoID of a host. Only runs that evacuated or restored it are returned.
    type: str
  run_id:
    description:
      - ID of a run. Only this one is returned.
    type: str
  purpose:
    description:
      - Only runs with this purpose are returned.
    type: str
    choices: [evacuate, restore, migrate, witness]
  limit:
    description:
      - Maximum number of runs to return. The newest count, and runs that are running, were interrupted, or have left something to do.
    type: int
    default: 10
  state_dir:
    description:
      - Directory that contains the runs. If it does not exist, there are no runs.
    type: path
    default: ~/.local/state/liveml.vsphere
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.evidence_report
  - module: liveml.vsphere.placement
"""

EXAMPLES = r"""
- name: Read the last runs
  liveml.vsphere.run_info:
  register: found

- name: Show them
  ansible.builtin.debug:
    msg: "{{ found.lines }}"

- name: Fail if the last run for a host was interrupted
  liveml.vsphere.run_info:
    host: esx-05.example.com
    limit: 1
  register: last
  failed_when: last.runs | selectattr('status', 'eq', 'interrupted') | length > 0

- name: Read the last evacuation
  liveml.vsphere.run_info:
    purpose: evacuate
    limit: 1
  register: last

- name: Show where its report is, and the VMs that it did not move
  ansible.builtin.debug:
    msg: "{{ item.report_path }}: {{ item.left_behind | join(', ') or 'all VMs moved' }}"
  loop: "{{ last.runs }}"
"""

RETURN = r"""
runs:
  description: The runs, newest first.
  returned: always
  type: list
  elements: dict
  contains:
    run_id:
      description: ID of the run.
      type: str
      sample: 20260131T090000Z-evacuate-esx-05-7f3a
    subject:
      description: What the run is for.
      type: str
      sample: Evacuation of esx-05
    purpose:
      description: V(evacuate), V(restore), V(migrate) or V(witness).
      type: str
      sample: evacuate
    host:
      description: Name of the host that is evacuated or restored, or an empty text.
      type: str
      sample: esx-05
    status:
      description:
        - V(running) if a process of this controller carries it out.
        - V(interrupted) if none does. The same playbook resumes it.
        - V(superseded) if it never ended, and another run for the same host followed.
        - V(finished) if it has ended.
      type: str
      sample: finished
    result:
      description: V(success), V(failed), or V(unfinished) if the run has not ended.
      type: str
      sample: success
    started:
      description: When it began, in UTC.
      type: str
      sample: "2026-01-31T09:00:00.123Z"
    ended:
      description: When its journal was last written, in UTC; null while it is running.
      type: str
      sample: "2026-01-31T09:12:31.456Z"
    vms:
      description: Number of VMs to move.
      type: int
      sample: 8
    moved:
      description: Number of VMs that moved.
      type: int
      sample: 8
    stopping:
      description: Whether the run was interrupted, so that its process starts no further move.
      type: bool
      sample: false
    silent:
      description: Seconds for which vCenter had not answered when the run was last seen, or 0. Then it is unknown which moves are in flight.
      type: float
      sample: 0.0
    in_flight:
      description: Names of VMs whose moves had begun and whose end the run has not seen.
      type: list
      elements: str
      sample: []
    waiting:
      description: Names of VMs whose moves were planned and have not begun.
      type: list
      elements: str
      sample: []
    left_behind:
      description: Names of VMs that an ended run did not move.
      type: list
      elements: str
      sample: []
    restarted:
      description: Names of VMs that were restarted during the run, so that what ran in them has ended.
      type: list
      elements: str
      sample: []
    experiments:
      description: The experiments of the run.
      type: list
      elements: dict
      contains:
        vm:
          description: Name of the VM.
          type: str
          sample: ML-cpu-vm-04
        name:
          description: What the experiment is called.
          type: str
          sample: GBM gbm_arr_delay
        verdict:
          description: The last verdict about it, or null without one.
          type: str
          sample: uninterrupted
        progress:
          description: Its last known progress, from 0 to 1, or null.
          type: float
          sample: 0.12
    fenced:
      description: Whether the run fenced the host and did not lift the fence. The host may have left maintenance mode since.
      type: bool
      sample: true
    fence_unknown:
      description: Whether the run did not see if the host is fenced. vCenter may not show it after a restart.
      type: bool
      sample: false
    pinned:
      description: Names of VMs that the run excluded from DRS and that no run has given back.
      type: list
      elements: str
      sample: []
    pid:
      description: Process that carries it out, 0 if its number is not known; null if none does.
      type: int
      sample: 4711
    command:
      description: Command that carries out the run, and that resumes it after an interruption. Empty for a witness.
      type: str
      sample: ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-05
    text:
      description: The same as one paragraph.
      type: str
      sample: "Evacuation of esx-05: succeeded at 2026-01-31 09:12:31 UTC. 8 of 8 VMs moved."
    evidence_path:
      description: Path of C(evidence.json), or an empty text if it has not been written.
      type: str
      sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/evidence.json
    report_path:
      description: Path of C(report.html), or an empty text if it has not been written.
      type: str
      sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a/report.html
    live:
      description: Whether this file is still the live page of the run, and not its report.
      type: bool
      sample: false
lines:
  description: One paragraph for each run.
  returned: always
  type: list
  elements: str
  sample: ["Evacuation of esx-05: succeeded at 2026-01-31 09:12:31 UTC. 8 of 8 VMs moved."]
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import printable_data
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.names import HTML, JSON, is_live
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import holder_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunOverview, RunStatus, overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import RunFilter, state_to_read, stored_runs

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    "host": {"type": "str"},
    "run_id": {"type": "str"},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate", "witness"]},
    "limit": {"type": "int", "default": 10},
}


def body(module: AnsibleModule) -> dict[str, Any]:
    """Read the journals, and return what is asked for."""
    params = module.params
    if params["limit"] < 1:
        raise InvalidInput(f"limit is {params['limit']}", hint="Give a number of at least 1", option="limit")
    state = state_to_read(params["state_dir"])
    selected = RunFilter(params["run_id"], params["purpose"], params["host"])
    stored = list(stored_runs(state, module.warn))
    found = zip(stored, overviews(stored, partial(holder_of, state)), strict=True)
    wanted = [(run, overview) for run, overview in found if selected.fits(run)]
    rows = [
        {**asdict(overview), **texts(run.folder, overview)}
        for number, (run, overview) in enumerate(wanted)
        if number < params["limit"] or needs_attention(overview)
    ]
    return {"runs": printable_data(rows), "lines": [printable_data(row["text"]) for row in rows]}


def needs_attention(overview: RunOverview) -> bool:
    """Whether a run is running, can be resumed, or has left VMs excluded from DRS."""
    return overview.status in (RunStatus.RUNNING, RunStatus.INTERRUPTED) or bool(overview.pinned)


def texts(folder: Path, overview: RunOverview) -> dict[str, Any]:
    """The paragraph about a run, and the paths of its files."""
    files = {"evidence_path": folder / JSON, "report_path": folder / HTML}
    paths = {name: str(path) if path.exists() else "" for name, path in files.items()}
    return {"text": overview.text, **paths, "live": is_live(folder / HTML)}


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
