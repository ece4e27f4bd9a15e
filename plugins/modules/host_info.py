#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Return hosts with fault domain, load, maintenance mode, alarms and VMs
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reads hosts and the VMs on them. The number of calls does not depend on the size of the inventory.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  host:
    description:
      - Name or MoID of a host. Only this host is returned.
    type: str
seealso:
  - module: liveml.vsphere.host_maintenance
  - module: liveml.vsphere.migration_plan
"""

EXAMPLES = r"""
- name: Read all hosts
  liveml.vsphere.host_info:
  register: info

- name: Show fault domain and load of each host
  ansible.builtin.debug:
    msg: "{{ item.name }} ({{ item.fault_domain }}): {{ item.memory_percent }} % memory, {{ item.cpu_percent }} % CPU"
  loop: "{{ info.hosts }}"

- name: Fail if a host has a red alarm
  liveml.vsphere.host_info:
    host: esx-05.example.com
  register: info
  failed_when: "'red' in info.hosts[0].alarms | map(attribute='status')"

- name: Set the login once for all modules of the collection
  module_defaults:
    group/liveml.vsphere.vcenter:
      hostname: vcenter.example.com
      username: automation@vsphere.local
      password: "{{ vcenter_password }}"
  block:
    - name: Read the hosts
      liveml.vsphere.host_info:
      register: info

    - name: Show the hosts in maintenance mode
      ansible.builtin.debug:
        msg: "{{ info.hosts | selectattr('maintenance', 'eq', 'in') | map(attribute='name') }}"
"""

RETURN = r"""
vcenter:
  description: The vCenter.
  returned: always
  type: dict
  contains:
    name:
      description: Product name.
      type: str
      sample: VMware vCenter Server
    version:
      description: Version.
      type: str
      sample: 8.0.3
    simulated:
      description: Whether the vCenter says that it is a simulator.
      type: bool
      sample: false
vms_without_host:
  description: Names of the VMs of which vCenter does not show the host. They may be on any of the hosts.
  returned: success
  type: list
  elements: str
  sample: []
hosts:
  description: The hosts, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the host.
      type: str
      sample: esx-05.example.com
    moid:
      description: MoID of the host.
      type: str
      sample: host-31
    cluster:
      description: Name of the cluster.
      type: str
      sample: ml-cluster
    drs:
      description:
        - What DRS of the cluster does with VMs, V(disabled), V(manual), V(partial) or V(full). Single VMs may differ.
        - V(unknown) if it could not be read.
      type: str
      sample: full
    datacenter:
      description: Name of the datacenter.
      type: str
      sample: us-west-2
    fault_domain:
      description: vSAN fault domain, or null.
      type: str
      sample: us-west-2b
    connection:
      description: V(connected), V(disconnected) or V(notResponding).
      type: str
      sample: connected
    maintenance:
      description: Maintenance mode, V(normal), V(entering) or V(in), or V(unknown) if vCenter does not show it.
      type: str
      sample: normal
    memory_percent:
      description: Used memory in percent, or null if vCenter does not show it.
      type: float
      sample: 57.1
    cpu_percent:
      description: Used CPU in percent, or null if vCenter does not show it.
      type: float
      sample: 12.4
    link_mbit:
      description: Speed of the fastest network adapter that has a link, in Mbit/s, or null if it is not known.
      type: int
      sample: 25000
    alarms:
      description: Alarms that are triggered on the host, or null if vCenter does not show them.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the alarm.
          type: str
          sample: Host memory status
        status:
          description: V(yellow) or V(red).
          type: str
          sample: red
        acknowledged:
          description: Whether a person has acknowledged it.
          type: bool
          sample: false
    vms:
      description: VMs on the host, sorted by name.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the VM.
          type: str
          sample: ML-cpu-vm-04
        moid:
          description: MoID of the VM.
          type: str
          sample: vm-42
        power:
          description: V(poweredOn), V(poweredOff) or V(suspended), or V(unknown) if it could not be read.
          type: str
          sample: poweredOn
        guest_address:
          description: Address of the guest, or empty if VMware Tools do not report it.
          type: str
          sample: 10.1.4.7
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Alarm,
    Estate,
    HostState,
    has_unknown_place,
    hides_mode,
    shows_use,
    utilization,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession


def result_for(estate: Estate, host: HostState, alarms: tuple[Alarm, ...] | None) -> dict[str, Any]:
    """The module's result for one host."""
    memory, cpu = (round(100 * share, 1) if shows_use(estate, host) else None for share in utilization(host))
    vms = sorted((vm for vm in estate.vms.values() if vm.host == host.moid), key=lambda vm: vm.name)
    return {
        "name": host.name,
        "moid": host.moid,
        "cluster": host.cluster_name,
        "drs": str(estate.drs_of(host).automation),
        "datacenter": host.datacenter,
        "fault_domain": host.fault_domain,
        "connection": str(host.connection),
        "maintenance": "unknown" if hides_mode(estate, host) else str(host.maintenance),
        "memory_percent": memory,
        "cpu_percent": cpu,
        "link_mbit": host.link_mbit,
        "alarms": None if alarms is None else [asdict(alarm) for alarm in alarms],
        "vms": [
            {"name": vm.name, "moid": vm.moid, "power": str(vm.power), "guest_address": vm.guest_address} for vm in vms
        ],
    }


def body(module: AnsibleModule, vcenter: VcenterSession) -> dict[str, Any]:
    """Read the estate and the alarms."""
    estate = vcenter.estate()
    name = module.params["host"]
    hosts = [find_host(estate, name)] if name is not None else sorted(estate.hosts.values(), key=lambda host: host.name)
    alarms = vcenter.alarms(host.moid for host in hosts)
    info = estate.vcenter
    return {
        "vcenter": {"name": info.name, "version": info.version, "simulated": info.simulated},
        "hosts": [result_for(estate, host, alarms.get(host.moid)) for host in hosts],
        "vms_without_host": sorted(vm.name for vm in estate.vms.values() if has_unknown_place(estate, vm)),
    }


def main() -> None:
    """Entry point."""
    run_module({"host": {"type": "str"}}, body)


if __name__ == "__main__":
    main()
