#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_index
short_description: Write an index of all runs as HTML
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Writes C(index.html) in the directory of the runs - what each run was for, when it was, its result, its verdicts, its longest stall and a
    link to its report, the newest first.
  - M(liveml.vsphere.evidence_report) writes the same index whenever it writes a report. Use this module after runs without a report, or
    after you removed or copied runs.
  - The index repeats what C(evidence.json) of each run says, and verifies nothing. Runs that cannot be read are named with the reason. The
    200 newest runs have a row each, and older ones a link.
  - The module does not connect to vCenter.
extends_documentation_fragment:
  - liveml.vsphere.attributes
requirements:
  - Jinja2
options:
  state_dir:
    description:
      - Directory that contains the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The page is too long to compare.
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.evidence_report
  - module: liveml.vsphere.run_info
"""

EXAMPLES = r"""
- name: Write the index of all runs
  liveml.vsphere.run_index:
  register: index

- name: Show where it is
  ansible.builtin.debug:
    var: index.index_path

- name: Write the index of runs that were copied from another controller
  liveml.vsphere.run_index:
    state_dir: /srv/liveml

- name: Fail if an experiment of a run was stalled
  liveml.vsphere.run_index:
  register: index
  failed_when: index.runs | selectattr('verdicts') | selectattr('verdicts.stalled', 'defined') | length > 0
"""

RETURN = r"""
index_path:
  description: Path of C(index.html), or an empty text if there are no runs.
  returned: always
  type: str
  sample: /srv/liveml/index.html
runs:
  description: The newest runs, as the index lists them.
  returned: always
  type: list
  elements: dict
  contains:
    run_id:
      description: ID of the run, which is the name of its folder.
      type: str
      sample: 20260131T090000Z-evacuate-esx-05-7f3a
    subject:
      description: What the run was for.
      type: str
      sample: Evacuation of esx-05
    started:
      description: When it began, in UTC; empty if that is not known.
      type: str
      sample: "2026-01-31T09:00:00.123Z"
    finished:
      description: When it ended, in UTC; null if it has not ended.
      type: str
      sample: "2026-01-31T09:12:31.456Z"
    result:
      description: V(success), V(failed), V(unfinished), or empty if the run cannot be read.
      type: str
      sample: success
    verdicts:
      description: Number of experiments by verdict, the worst first; null without evidence.
      type: dict
      sample: {stalled: 1, uninterrupted: 7}
    problem:
      description: What is wrong with the files of the run, or empty.
      type: str
      sample: ""
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import printable_data
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index import Row
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index_file import INDEX, write_index
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read

SPEC: dict[str, Any] = {**STATE_DIR_SPEC}


def body(module: AnsibleModule) -> dict[str, Any]:
    """Write the index."""
    state = state_to_read(module.params["state_dir"])
    change, rows = write_index(state, check_mode=module.check_mode)
    for row in rows:
        if row.problem:
            module.warn(f"Run {row.name}: {row.problem}")
    return {
        "changed": change is not None,
        "index_path": str(state / INDEX) if rows else "",
        "runs": printable_data([as_result(row) for row in rows]),
    }


def as_result(row: Row) -> dict[str, Any]:
    """A run as the module returns it."""
    return {
        "run_id": row.name,
        "subject": row.subject,
        "started": row.started,
        "finished": row.finished,
        "result": row.result,
        "verdicts": None if row.verdicts is None else dict(row.verdicts),
        "problem": row.problem,
    }


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
