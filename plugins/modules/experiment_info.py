#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_info
short_description: Find the experiments that are training in VMs
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Looks for training jobs in VMs that are powered on. It only reads from vCenter and from the experiment servers.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
  - liveml.vsphere.experiments
options:
  host:
    description:
      - Name or MoID of a host. Only VMs on this host are searched. Otherwise VMs on all hosts are searched.
    type: str
  vms:
    description:
      - Names or MoIDs of VMs. Only these VMs are searched.
    type: list
    elements: str
    default: []
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.experiment_wait
"""

EXAMPLES = r"""
- name: Find the experiments on a host
  liveml.vsphere.experiment_info:
    host: esx-05.example.com
  register: found

- name: Show which experiment trains where
  ansible.builtin.debug:
    msg: "{{ item.vm_name }}: {{ item.description }}, {{ (100 * (item.progress or 0)) | round }} %"
  loop: "{{ found.experiments }}"

- name: Find H2O-3 servers on another port, with a login
  liveml.vsphere.experiment_info:
    vms:
      - ML-cpu-vm-04
    experiments:
      ports:
        - 54400
      username: watcher
      password: "{{ h2o_password }}"
      allowed_networks:
        - 10.1.4.0/24

- name: Find the runs of a TensorBoard in one VM
  liveml.vsphere.experiment_info:
    vms:
      - ML-gpu-vm-02
    experiments:
      h2o3: false
      sources:
        - provider: tensorboard
          vms:
            - ML-gpu-vm-02
          url: http://{address}:6006
"""

RETURN = r"""
experiments:
  description: The experiments that are training now, one entry per VM. A cluster has one entry per node.
  returned: always
  type: list
  elements: dict
  contains:
    vm:
      description: MoID of the VM.
      type: str
      sample: vm-42
    vm_name:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    provider:
      description: Provider that found the experiment.
      type: str
      sample: h2o3
    id:
      description: ID of the experiment on its server.
      type: str
      sample: $03017f00000132d4ffffffff$_adf5
    process:
      description: What identifies the server process, or the run if the provider does not know a process.
      type: str
      sample: "1769850000000"
    url:
      description: URL of the server.
      type: str
      sample: http://10.1.4.7:54321
    description:
      description: What is trained.
      type: str
      sample: GBM gbm_arr_delay_1
    progress:
      description: Progress from 0 to 1, or null if it is not known.
      type: float
      sample: 0.61
    clock_progress:
      description: Whether progress follows a time limit. Such progress does not prove that the experiment works.
      type: bool
      sample: false
    owner:
      description: Owner of the experiment, or empty if nobody is known.
      type: str
      sample: vision
    cluster:
      description: Name of the cluster that has a node in this VM, or empty for a single server.
      type: str
      sample: ""
    nodes:
      description: Addresses of the cluster's nodes.
      type: list
      elements: str
      sample: []
    metric:
      description: Metric whose steps are watched, if there are several.
      type: str
      sample: ""
    source:
      description: Which of O(experiments.sources) found it, or empty.
      type: str
      sample: ""
    capabilities:
      description: What the provider can prove.
      type: dict
      contains:
        identity:
          description: V(process) if the provider recognizes the process that answers, V(run) if it only knows the record of the run.
          type: str
          sample: process
        signal:
          description: What a stall is read from, V(answers) or V(changes) of step and progress.
          type: str
          sample: answers
        freshness:
          description: Maximum age of an answer, in seconds.
          type: float
          sample: 0.0
        note:
          description: Explains limits, or empty.
          type: str
          sample: ""
        reports_end:
          description: Whether the server stays when a training ends, and says how it ended.
          type: bool
          sample: true
        may_fall:
          description: Whether the figures may be less for a while although the training loses nothing, as the sum over several processes.
          type: bool
          sample: false
        named_by_record:
          description: Whether a record names the process, and still does so when the process has ended. Then only later work shows that it lives.
          type: bool
          sample: false
    recoverable:
      description: Whether a checkpoint would limit the loss if the training were lost, V(yes), V(no) or V(unknown).
      type: str
      sample: "no"
    recovery:
      description: Which checkpoint, or why there is none.
      type: str
      sample: no in_training_checkpoints_dir and no auto-recovery
    reproducible:
      description: Whether the same seed and data would give the same model, V(yes), V(no) or V(unknown).
      type: str
      sample: "yes"
    reproducibility:
      description: Under which conditions, or why not.
      type: str
      sample: seed 2013
    processors:
      description: Number of processors of the VM, if they also answer questions about the experiment. Otherwise 0.
      type: int
      sample: 4
    exact_id:
      description: Name of the experiment on its server, if it differs from C(id), which may be shortened.
      type: str
      sample: ""
unobserved:
  description: Names of VMs without an observed experiment, and what was seen instead. The name has the MoID if VMs share it.
  returned: always
  type: dict
  sample:
    ML-cpu-vm-07: "http://10.1.4.8:54321: no server listens"
partly_searched:
  description: >-
    Names of VMs with an experiment that may have other ones, because not every source could look, and why.
    The name has the MoID if VMs share it.
  returned: always
  type: dict
  sample:
    ML-cpu-vm-08: "https://mlflow.example.com: authentication failed (HTTP 401); check username, password and token"
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import show_warnings
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import display_name, find_host, select_vms
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession


def body(module: AnsibleModule, vcenter: VcenterSession) -> dict[str, Any]:
    """Select the VMs and find their experiments."""
    params = module.params
    estate = vcenter.estate()
    host = find_host(estate, params["host"]).moid if params["host"] is not None else None
    vms = [estate.vms[vm] for vm in select_vms(estate, host=host, names=params["vms"])]
    providers = Providers(params["experiments"])
    show_warnings(module, providers.warnings)
    providers.refuse_shared_names(estate.vms.values())
    seen = providers.observe(vms, among=estate.vms.values())
    return {
        "experiments": [asdict(e) for observation in seen for e in observation.experiments],
        "unobserved": {display_name(estate, o.vm.moid): o.detail for o in seen if not o.experiments},
        "partly_searched": {display_name(estate, o.vm.moid): o.unseen for o in seen if o.unseen},
    }


def main() -> None:
    """Entry point."""
    run_module(
        {**EXPERIMENT_SPEC, "host": {"type": "str"}, "vms": {"type": "list", "elements": "str", "default": []}}, body
    )


if __name__ == "__main__":
    main()
