#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_metrics
short_description: Write metrics of runs for Prometheus
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Makes metrics in the text format of Prometheus from the journals of all runs on this controller, and writes them into a file for the
    textfile collector of node_exporter.
  - It reads journals only and does not connect to vCenter.
  - Counters count the runs whose journals exist. The other metrics are about the last run that ended, of each purpose and host. What was
    not measured has no value.
extends_documentation_fragment:
  - liveml.vsphere.attributes
options:
  path:
    description:
      - File to write, in the directory of the textfile collector. Its name ends with C(.prom). It is replaced as a whole, and everybody can
        read it, because node_exporter runs as another user.
      - Without it, nothing is written. RV(text) is for a Pushgateway then.
    type: path
  state_dir:
    description:
      - Directory that contains the runs. If it does not exist, there are no runs.
    type: path
    default: ~/.local/state/liveml.vsphere
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.run_info
  - module: liveml.vsphere.evidence_report
"""

EXAMPLES = r"""
- name: Write metrics for node_exporter
  liveml.vsphere.run_metrics:
    path: /var/lib/node_exporter/textfile_collector/liveml_vsphere.prom

- name: See what would change in the file
  liveml.vsphere.run_metrics:
    path: /var/lib/node_exporter/textfile_collector/liveml_vsphere.prom
    state_dir: /srv/liveml
  check_mode: true
  diff: true

- name: Make the metrics
  liveml.vsphere.run_metrics:
  register: metrics

- name: Push them to a Pushgateway
  ansible.builtin.uri:
    url: http://pushgateway.example.com:9091/metrics/job/liveml_vsphere/instance/{{ ansible_play_name | urlencode }}
    method: PUT
    body: "{{ metrics.text }}"
    headers:
      Content-Type: text/plain
    status_code: [200, 202]
"""

RETURN = r"""
text:
  description: The metrics in the text format of Prometheus.
  returned: always
  type: str
  sample: "liveml_vsphere_last_run_success{purpose=\"evacuate\",host=\"esx-05\",vcenter=\"a1b2\"} 1\n"
path:
  description: The file.
  returned: when O(path) is set
  type: str
  sample: /var/lib/node_exporter/textfile_collector/liveml_vsphere.prom
runs:
  description: Number of runs that were read.
  returned: always
  type: int
  sample: 12
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.files import replace_file
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.metrics import metrics_text
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read, stored_runs

SPEC: dict[str, Any] = {**STATE_DIR_SPEC, "path": {"type": "path"}}
MODE = 0o644  # the metrics are read by another user


def body(module: AnsibleModule) -> dict[str, Any]:
    """Read the journals, and write the file if its content changes."""
    runs = list(stored_runs(state_to_read(module.params["state_dir"]), warn=module.warn))
    text = metrics_text(runs)
    result = {"changed": False, "text": text, "runs": len(runs)}
    if not module.params["path"]:
        return result
    path = Path(module.params["path"])
    if path.suffix != ".prom":
        raise InvalidInput(f"{path} does not end with .prom", hint="node_exporter reads only such files", option="path")
    if path.is_symlink():  # others may write the folder, and the diff shows what the file has
        raise InvalidInput(f"{path} is a link", hint="Find out who put it there, and remove it", option="path")
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        changed = before != text or path.stat().st_mode & 0o777 != MODE
        if changed and not module.check_mode:
            replace_file(path, text.encode(), durable=False, mode=MODE)  # several runs may end at once
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}",
            hint="Create its directory, and let the user of this play write there",
            option="path",
        ) from error
    diff = {"before_header": str(path), "after_header": str(path), "before": before, "after": text}
    return {**result, "changed": changed, "path": str(path), "diff": diff}


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
