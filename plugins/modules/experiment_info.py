#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_info
short_description: Experiments that train in VMs now
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Looks for training jobs in powered-on VMs and only reads.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
  - liveml.vsphere.experiments
options:
  host:
    description:
      - Only VMs on this host, by name or MoID.
    type: str
  vms:
    description:
      - Only these VMs, by name or MoID.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See what trains on a host
  liveml.vsphere.experiment_info:
    host: esx-05.example.com
"""

RETURN = r"""
experiments:
  description: The experiments that train now.
  returned: always
  type: list
  elements: dict
unobserved:
  description: VM names without an experiment, with the MoID where VMs share the name, and what was seen instead.
  returned: always
  type: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import display_name, find_host, select_vms
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Select VMs, look into each."""
    params = module.params
    estate = vcenter.estate()
    host = find_host(estate, params["host"]).moid if params["host"] is not None else None
    vms = [estate.vms[vm] for vm in select_vms(estate, host=host, names=params["vms"])]
    seen = Providers(params["experiments"]).observe(vms)
    return {
        "experiments": [asdict(e) for observation in seen for e in observation.experiments],
        "unobserved": {display_name(estate, o.vm.moid): o.detail for o in seen if not o.experiments},
    }


def main() -> None:
    """Entry point."""
    run_module(
        {**EXPERIMENT_SPEC, "host": {"type": "str"}, "vms": {"type": "list", "elements": "str", "default": []}}, body
    )


if __name__ == "__main__":
    main()
