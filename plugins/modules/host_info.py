#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Hosts with fault domain, load, maintenance, triggered alarms and VMs
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reads hosts and the VMs on them in a constant number of calls.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  host:
    description:
      - Only this host, by name or MoID.
    type: str
"""

EXAMPLES = r"""
- name: Look at all hosts
  liveml.vsphere.host_info:
"""

RETURN = r"""
vcenter:
  description: Name, version and whether the vCenter is a simulator.
  returned: always
  type: dict
hosts:
  description: The hosts, by name. C(alarms) are those that are triggered on the host, each with C(name), C(status) V(yellow) or V(red),
    and C(acknowledged).
  returned: always
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import utilization
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Alarm, Estate, HostState
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere


def described(estate: Estate, host: HostState, alarms: tuple[Alarm, ...]) -> dict[str, Any]:
    """A host as the module returns it."""
    memory, cpu = utilization(host)
    vms = sorted((vm for vm in estate.vms.values() if vm.host == host.moid), key=lambda vm: vm.name)
    return {
        "name": host.name,
        "moid": host.moid,
        "cluster": host.cluster_name,
        "datacenter": host.datacenter,
        "fault_domain": host.fault_domain,
        "connection": str(host.connection),
        "maintenance": str(host.maintenance),
        "memory_percent": round(100 * memory, 1),
        "cpu_percent": round(100 * cpu, 1),
        "link_mbit": host.link_mbit,
        "alarms": [asdict(alarm) for alarm in alarms],
        "vms": [
            {"name": vm.name, "moid": vm.moid, "power": str(vm.power), "guest_address": vm.guest_address} for vm in vms
        ],
    }


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Read once, describe."""
    estate = vcenter.estate()
    name = module.params["host"]
    hosts = [find_host(estate, name)] if name is not None else sorted(estate.hosts.values(), key=lambda host: host.name)
    alarms = vcenter.alarms(host.moid for host in hosts)
    info = estate.vcenter
    return {
        "vcenter": {"name": info.name, "version": info.version, "simulated": info.simulated},
        "hosts": [described(estate, host, alarms.get(host.moid, ())) for host in hosts],
    }


def main() -> None:
    """Entry point."""
    run_module({"host": {"type": "str"}}, body)


if __name__ == "__main__":
    main()
