#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_plan
short_description: Plan which host each VM moves to, or report why it cannot move
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reads vCenter and chooses a target host for each selected VM, by fault domain and by load.
  - Each target is the host with the lowest load after the move. The load of earlier moves of the plan is counted.
  - A VM that cannot move is returned in RV(refusals) with every reason at once. See the page of blockers for all reasons.
  - Select VMs with O(host) or O(fault_domain), O(vms), O(patterns), O(folders) and O(attributes). A VM must fit each criterion that
    is set, and at least one must be set.
  - The module changes nothing.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.destination_vcenter
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
options:
  host:
    description:
      - Name or MoID of a host. VMs on it are planned.
      - With O(use_homes=true), the host to which its former VMs return.
    type: str
  fault_domain:
    description:
      - Name of a fault domain. VMs on its hosts are planned, each with a target outside of the fault domain.
      - With O(use_homes=true), the fault domain to which its former VMs return.
    type: str
  vms:
    description:
      - Names or MoIDs of VMs. If several of O(vms), O(patterns), O(folders) and O(attributes) are set, a VM must fit each of them. It is
        an error if no VM of the vCenter does.
    type: list
    elements: str
    default: []
  patterns:
    description:
      - Shell patterns of VM names, for example V(ML-gpu-*). A pattern that fits no VM of the vCenter is an error.
    type: list
    elements: str
    default: []
  folders:
    description:
      - Folders of VMs, including all folders in them, as paths below the datacenter's VM folder, for example V(ml/vision).
    type: list
    elements: str
    default: []
  attributes:
    description:
      - Custom attributes, by name, and the values that a VM must have.
      - An attribute that no VM of the vCenter has, or has with this value, is an error.
    type: dict
    default: {}
  destination:
    description:
      - Name or MoID of the host to which all selected VMs move. It may be in another cluster or data centre than a VM.
    type: str
  destination_cluster:
    description:
      - Name, inventory path or MoID of the cluster, or of the standalone host, to which all selected VMs move. It may be in another
        data centre. VMs that are in it already stay.
      - It cannot be combined with O(destination), O(use_homes), O(scope=storage) and O(drs=follow).
      - With O(destination_vcenter), it is a cluster of that vCenter, and so is the host in O(destination). If neither is set, it is the
        only cluster there.
    type: str
  pool_map:
    description:
      - Mapping of a VM's present resource pool to its pool in another cluster. Pools are paths below the root pool, such as V(ml/training);
        V(/) is the root pool.
      - A VM whose pool is not mapped gets the pool with the same path. If the cluster does not have it, the VM is refused with the names
        of the pools that exist.
    type: dict
    default: {}
  folder_map:
    description:
      - Mapping of a VM's present folder to its folder after a move to another cluster. Folders are paths below the folder of all VMs of
        the data centre, such as V(ml/vision); V(/) is that folder.
      - A VM whose folder is not mapped stays in its folder. In another data centre it gets the folder with the same path. If there is none,
        the VM is refused with the names of the folders that exist.
    type: dict
    default: {}
  network_map:
    description:
      - Mapping of the name of a VM's present network to the name of its network in another cluster.
      - A network adapter whose network is not mapped gets the network with the same name. If the host does not have it, the VM is refused
        with the names of the networks that exist.
    type: dict
    default: {}
  wan_mbit:
    description:
      - Bandwidth between the two vCenters for vMotion, in Mbit/s. vSphere needs 250 Mbit/s for each move. With less, VMs are refused.
      - The plan predicts durations with it, and M(liveml.vsphere.vm_migrate) starts only as many moves between the vCenters as it can
        carry.
    type: float
  wan_latency_ms:
    description:
      - Round-trip time between the two vCenters, in milliseconds. vSphere supports at most 150. With more, VMs are refused.
    type: float
  policy:
    description:
      - Which fault domain a target may be in, compared with the fault domain of the VM's present host.
      - V(same_preferred) prefers hosts in the same fault domain, and uses other fault domains if none of these hosts fits.
      - V(other_preferred) prefers hosts in other fault domains, and uses the same one if none of these hosts fits.
      - V(same_only) and V(other_only) allow nothing else. A host without a fault domain is then never a target.
      - V(any) ignores fault domains.
    type: str
    choices: [same_preferred, other_preferred, same_only, other_only, any]
    default: same_preferred
  fault_domains:
    description:
      - Fault domains by host name. Hosts that are not listed have their vSAN fault domain.
    type: dict
    default: {}
  exclude_hosts:
    description:
      - Names or MoIDs of hosts that must not be a target.
    type: list
    elements: str
    default: []
  memory_headroom:
    description:
      - Percentage of a target's memory that must stay free, 0 to 99.
    type: int
    default: 10
  cpu_headroom:
    description:
      - Percentage of a target's CPU that must stay free, 0 to 99.
    type: int
    default: 10
  scope:
    description:
      - What the moves may change.
      - V(compute) changes the host of each VM and leaves its files where they are. Every target must mount their datastores.
      - V(both) changes the host, and moves files to another datastore if the target does not mount the one where they are, or if
        O(datastore) or O(disk_datastores) asks for another one. A VM on a datastore that only its own host mounts can then leave.
      - V(storage) leaves each VM on its host, and moves its files to O(datastore) or O(disk_datastores).
      - With O(use_homes), files go back to the datastores that the evacuation recorded, whatever the scope is.
      - Into another vCenter, files always move.
      - A disk stays thin or thick. The plan counts what its earlier moves bring to a datastore. What they take away is not counted,
        because that space is free only when the move has ended.
    type: str
    choices: [compute, storage, both]
    default: compute
  datastore:
    description:
      - Name or MoID of the datastore for the files of the VMs, or name of a datastore cluster. Of a datastore cluster, each VM gets the
        datastore with the largest share of free space, after the moves planned so far. All files of a VM go to one datastore if one
        has the room.
      - If Storage DRS is enabled in the datastore cluster, each VM gets the datastore that it recommends, if that has the room after the
        moves planned so far.
      - If it is not set, files that must move may go to each datastore that the target mounts. Datastores that other hosts mount too
        are preferred.
    type: str
  disk_datastores:
    description:
      - Mapping of the label of a disk, such as V(Hard disk 2), to its datastore or datastore cluster. For this disk of each VM, it takes
        precedence over O(datastore). A label that no VM has is an error.
    type: dict
    default: {}
  storage_policy:
    description:
      - Name of the storage policy (SPBM) that the files of the VMs get. They move only to datastores that fit it, as the policy service of
        vCenter says. With O(datastore) and O(disk_datastores), those must fit it too.
      - A VM whose files are all on datastores that fit it keeps its files where they are, and its storage policies.
      - If it is not set, files keep their storage policies, and move only to datastores that fit them. If the policies cannot be read, the
        plan says so, and files may move to any datastore.
      - With O(use_homes), files get the storage policies back that they had at home.
      - It needs O(scope=both) or O(scope=storage), and the privilege StorageProfile.View.
    type: str
  storage_headroom:
    description:
      - Percentage of each datastore that stays free. Not used with O(use_homes).
    type: int
    default: 10
  use_homes:
    description:
      - Plan the return of the VMs that an evacuation moved away from O(host) or O(fault_domain).
    type: bool
    default: false
  stall_budget:
    description:
      - Maximum time in seconds that a VM with a vGPU may stand still, as O(liveml.vsphere.vm_migrate#module:experiments.stall_budget).
      - A VM that may stand still for longer, with all memory of its vGPUs in use, is refused.
      - The time is the host's own estimate (vSphere 8.0.2 and newer), else that of the table that VMware published for 10GbE.
    type: float
    default: 5.0
  drs:
    description:
      - What to do if DRS is fully automated, so that it moves the VMs by itself.
      - V(auto) excludes the VMs from DRS while they move, if the cluster allows overrides and the user may edit the cluster.
        Otherwise an evacuation fences the host after the VMs have left it, because the fence makes DRS evacuate the host.
      - V(follow) excludes no VM from DRS. In an evacuation of O(host) or O(fault_domain), DRS chooses the targets and moves the VMs.
        M(liveml.vsphere.vm_migrate) watches these moves, and moves the VMs that DRS does not move.
      - RV(plan.drs) has the decision, and M(liveml.vsphere.vm_migrate) carries it out.
    type: str
    choices: [auto, follow]
    default: auto
  assume_in_service:
    description:
      - In check mode, plan as if O(host), or all hosts of O(fault_domain), were not in maintenance mode.
    type: bool
    default: false
  approved:
    description:
      - The approved plan, as this module returned it in RV(plan). Its targets are used regardless of the load.
      - The module fails and lists every difference if the approved plan no longer applies.
      - Moves that are done already are not differences, so an interrupted run can be resumed. Moves of other hosts than O(host)
        are not differences either, so one plan for a fault domain can be used for each of its hosts.
    type: dict
    default: {}
  plan_id:
    description:
      - Fail unless the plan made now has this ID, or is the rest of a plan with this ID that a run in O(state_dir) began.
      - With O(approved), the ID that the approved plan must have.
      - An empty value accepts any plan.
    type: str
    default: ""
  state_dir:
    description:
      - Directory that contains the runs. Moves of an interrupted run that are still in flight become part of the plan.
    type: path
    default: ~/.local/state/liveml.vsphere
  lock_timeout:
    description:
      - Maximum time, in seconds, to wait for another process that carries out a run for O(host) or for a host of O(fault_domain).
    type: float
    default: 600.0
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.host_info
  - module: liveml.vsphere.placement
  - ref: Blockers <ansible_collections.liveml.vsphere.docsite.reference_blockers>
    description: All checks that can keep a VM from moving, and their remedies.
"""

EXAMPLES = r"""
- name: Plan the evacuation of a host, preferably to other fault domains
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    policy: other_preferred
  register: plan

- name: Show each move and each VM that cannot move
  ansible.builtin.debug:
    msg: "{{ plan.lines + plan.refusals | map(attribute='text') | list }}"

- name: Plan the move of some VMs of a team to one host
  liveml.vsphere.migration_plan:
    patterns:
      - ML-gpu-*
    attributes:
      team: vision
    destination: esx-06.example.com

- name: Plan the evacuation of a host with local datastores
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    scope: both

- name: Plan to move the files of a VM, one disk to a faster datastore
  liveml.vsphere.migration_plan:
    vms:
      - ML-cpu-vm-04
    scope: storage
    datastore: gold-cluster
    disk_datastores:
      Hard disk 2: nvme-03

- name: Plan the evacuation of a host, its files only to datastores that fit a storage policy
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    scope: both
    storage_policy: gold

- name: Plan the move of the VMs of a folder to another cluster
  liveml.vsphere.migration_plan:
    folders:
      - ml/vision
    destination_cluster: gpu-cluster
    pool_map:
      ml-training: training/gpu
    network_map:
      ml-network: ml-network-east

- name: Plan the evacuation of a host into another vCenter
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    destination_vcenter:
      hostname: vcenter.cloud.example.com
      username: automation@vsphere.local
      password: "{{ cloud_password }}"
    destination_cluster: Cluster-1
    pool_map:
      ml-training: Compute-ResourcePool
    network_map:
      ml-network: ml-segment
    wan_mbit: 2000
    wan_latency_ms: 20

- name: Plan the return of the VMs whose home is this host
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
    use_homes: true

- name: Set the login once for all modules of the collection
  module_defaults:
    group/liveml.vsphere.vcenter:
      hostname: vcenter.example.com
      username: automation@vsphere.local
      password: "{{ vcenter_password }}"
  block:
    - name: Plan the evacuation of a fault domain, but not to this host
      liveml.vsphere.migration_plan:
        fault_domain: us-west-2b
        exclude_hosts:
          - esx-09.example.com
"""

RETURN = r"""
plan_id:
  description: ID of the plan. Two plans have the same ID if they move the same VMs to the same hosts and datastores, the same VMs
    cannot move, and they handle DRS in the same way.
  returned: always
  type: str
  sample: 0f343b0931126a20f133d67c2b018a3b5d9ae7b36c2d0f0a6f3f0f1d2c4b5a69
plan:
  description: The plan for O(liveml.vsphere.vm_migrate#module:plan). An edited plan is refused.
  returned: always
  type: dict
  contains:
    plan_id:
      description: The same as RV(plan_id).
      type: str
      sample: 0f343b0931126a20f133d67c2b018a3b5d9ae7b36c2d0f0a6f3f0f1d2c4b5a69
    vcenter:
      description: The vCenter for which the plan was made.
      type: dict
      contains: &vcenter
        name:
          description: Product name.
          type: str
          sample: VMware vCenter Server
        instance_uuid:
          description: ID of this vCenter.
          type: str
          sample: 6d7c5f8e-2f4b-4c57-9b0a-0a5c3f1d2e4b
        version:
          description: Version.
          type: str
          sample: 8.0.3
        simulated:
          description: Whether the vCenter says that it is a simulator.
          type: bool
          sample: false
        product:
          description: Product name with version and build.
          type: str
          sample: VMware vCenter Server 8.0.3 build-24022515
        address:
          description: Name or address under which it was reached.
          type: str
          sample: vcenter.example.com
    second:
      description: The other vCenter, in the same form as C(vcenter), if O(destination_vcenter) is set, else null.
      type: dict
      contains: *vcenter
    wan:
      description: The network between the two vCenters as the options state it.
      type: dict
      contains:
        mbit:
          description: Bandwidth in Mbit/s, or null.
          type: float
          sample: 2000.0
        latency_ms:
          description: Round-trip time in milliseconds, or null.
          type: float
          sample: 20.0
    notes:
      description:
        - Sentences about the moves between the two vCenters, for example that a certificate is not verified.
        - And about what else the maintenance changes, for example that HA's admission control is violated meanwhile.
      type: list
      elements: str
      sample: []
    moves:
      description: The same as RV(moves).
      type: list
      elements: dict
    refusals:
      description: The same as RV(refusals), without C(text).
      type: list
      elements: dict
    settled:
      description: Names of the VMs that are at their destination already. A name has the MoID if several VMs have it.
      type: list
      elements: str
      sample: []
    checks:
      description:
        - What vCenter's own checks of the planned moves found. Moves that vCenter rejects are not planned.
        - vCenter is asked for each move that has not begun. It reserves nothing, so a checked move can still fail.
      type: dict
      contains:
        checked:
          description: Number of moves of which vCenter found that they are possible now.
          type: int
          sample: 10
        unchecked:
          description: Number of moves for which vCenter did not answer. They are planned nevertheless.
          type: int
          sample: 0
        why_unchecked:
          description: Why it did not answer, or an empty text.
          type: str
          sample: ""
        warnings:
          description: What vCenter warns of, one sentence for each warning of a planned move.
          type: list
          elements: str
          sample: []
    drs:
      description:
        - How DRS is handled, with one entry for each cluster of the evacuated hosts, and for each other cluster whose DRS may move one of
          the VMs by itself.
      type: list
      elements: dict
      contains:
        cluster:
          description: MoID of the cluster.
          type: str
          sample: domain-c8
        cluster_name:
          description: Name of the cluster.
          type: str
          sample: ml-cluster
        automation:
          description:
            - What DRS of the cluster does, V(disabled), V(manual), V(partial) or V(full). Single VMs may differ.
            - V(unknown) if it could not be read.
          type: str
          sample: full
        how:
          description:
            - V(ignore) if DRS moves none of the planned VMs by itself, so nothing must be done.
            - V(pin) if the VMs in RV(plan.drs[].pinned) get an override that excludes them from DRS before they move,
              and their previous settings afterwards.
            - V(fence_last) if the VMs move before the host is fenced.
            - V(follow) if DRS chooses the targets and moves the VMs.
            - V(allow) if DRS may move the VMs before their turn. They then move from where they are. Not in evacuations.
          type: str
          sample: pin
        pinned:
          description: MoIDs of the VMs to exclude from DRS.
          type: list
          elements: str
          sample: [vm-42]
        not_moved:
          description:
            - With V(follow), MoIDs of the VMs that DRS does not move by itself, such as those with a vGPU. The run moves them without waiting
              for DRS.
          type: list
          elements: str
          sample: []
        why:
          description: One sentence that says so, or an empty text if there is nothing to say.
          type: str
          sample: DRS of cluster ml-cluster is fully automated for 1 of 1 VMs. They are excluded from DRS while they move.
hosts:
  description: Names of the hosts that O(host) or O(fault_domain) selects.
  returned: always
  type: list
  elements: str
  sample: [esx-05.example.com]
lines:
  description:
    - "One line per move, C(vm: source → target), with datastores if files move, C(vm: source [local] → target [shared]), and with
      the storage policies of these files. A move into another cluster names cluster, resource pool, folder and changed networks, and a
      move into another vCenter names both vCenters. A move of a VM with a vGPU says how long the VM may stand still."
    - Then what vCenter's own checks of the moves found, and whether some moves could not be checked.
    - Then one line for each cluster whose DRS moves VMs of the plan by itself, or for which that could not be read, and the notes of
      the plan.
  returned: always
  type: list
  elements: str
  sample: ["ML-cpu-vm-04: esx-05.example.com → esx-06.example.com"]
moves:
  description: The planned moves, longest first.
  returned: always
  type: list
  elements: dict
  contains:
    number:
      description: Number of the move, from 1.
      type: int
      sample: 1
    vm:
      description: MoID of the VM. With O(destination_vcenter) its instance UUID, because its MoID changes with the vCenter, and the IDs of
        other objects in that vCenter have its instance UUID behind the MoID, C(host-12@0c6dd2a5-...).
      type: str
      sample: vm-42
    vm_name:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    source_vcenter:
      description: Address of the vCenter of the present host, or empty if the plan is for one vCenter.
      type: str
      sample: ""
    target_vcenter:
      description: Address of the vCenter of the target host, or empty if the plan is for one vCenter.
      type: str
      sample: ""
    source:
      description: MoID of the host on which the VM runs now.
      type: str
      sample: host-31
    source_name:
      description: Name of that host.
      type: str
      sample: esx-05.example.com
    source_fault_domain:
      description: Fault domain of that host, or null.
      type: str
      sample: us-west-2b
    target:
      description: MoID of the target host.
      type: str
      sample: host-33
    target_name:
      description: Name of the target host.
      type: str
      sample: esx-06.example.com
    target_fault_domain:
      description: Fault domain of the target host, or null.
      type: str
      sample: us-west-2c
    memory_bytes:
      description: Memory of the VM, in bytes.
      type: int
      sample: 34359738368
    predicted_seconds:
      description: Predicted duration of a vMotion that has the link to itself, in seconds.
      type: float
      sample: 40.4
    vgpus:
      description: Profiles of the VM's vGPUs if it changes its host, else empty.
      type: list
      elements: str
      sample: [grid_v100-4q]
    predicted_stun:
      description:
        - Longest time in seconds for which the vGPUs make the VM stand still, with all their memory in use.
        - Null if the VM does not have a vGPU, or if that is not known.
      type: float
      sample: 6.0
    free_vgpus_known:
      description: Whether it is known that the target has free vGPUs for the VM. Otherwise only vCenter's own check decides.
      type: bool
      sample: true
    place_after:
      description: Where the VM will be if its resource pool, folder or networks change, as in a move into another cluster, or null.
      type: dict
      contains: &place
        cluster_name:
          description: Name of the cluster.
          type: str
          sample: gpu-cluster
        pool:
          description: MoID of the resource pool.
          type: str
          sample: resgroup-8
        pool_name:
          description: Path of the resource pool.
          type: str
          sample: ml-training
        folder:
          description: MoID of the folder, or empty if the VM keeps its folder.
          type: str
          sample: group-v12
        folder_name:
          description: Path of the folder.
          type: str
          sample: ml/vision
        datastore:
          description: MoID of the VM's datastore in another data centre, or empty. The VM's files stay where they are.
          type: str
          sample: ""
        plugs:
          description: The network adapters that get another network.
          type: list
          elements: dict
          contains:
            adapter:
              description: Device key of the adapter.
              type: int
              sample: 4000
            network:
              description: MoID of the network.
              type: str
              sample: network-12
            network_name:
              description: Name of the network.
              type: str
              sample: ml-east
            kind:
              description: Class of the network in the vSphere API.
              type: str
              sample: Network
    place_before:
      description: Where the VM is in the inventory now, in the same form as C(place_after), with all its network adapters, or null.
      type: dict
      contains: *place
    task:
      description: MoID of the task that is moving the VM already, or null.
      type: str
      sample: task-1234
    inferred:
      description: Whether the task may belong to somebody else.
      type: bool
      sample: false
    parts:
      description: The parts of the VM if one of them moves to another datastore, else empty.
      type: list
      elements: dict
      contains:
        key:
          description: 0 for the VM's own files (configuration, swap, log), else the device key of the disk.
          type: int
          sample: 2000
        label:
          description: V(files), or the label of the disk.
          type: str
          sample: Hard disk 1
        source:
          description: MoID of the datastore where the part is now.
          type: str
          sample: datastore-12
        source_name:
          description: Name of that datastore.
          type: str
          sample: esx-05-local
        target:
          description: MoID of the datastore where the part will be. It is the same if the part stays.
          type: str
          sample: datastore-15
        target_name:
          description: Name of that datastore.
          type: str
          sample: vsanDatastore
        size:
          description: Space that the part takes on its datastore, in bytes.
          type: int
          sample: 42949672960
        policy:
          description: ID of the storage policy that the part gets or keeps, or empty.
          type: str
          sample: aa6d5a82-1c88-45da-85d3-3d74b91a5bad
        policy_name:
          description: Name of that policy.
          type: str
          sample: gold
        policy_before:
          description: ID of the storage policy that the part has now, or empty.
          type: str
          sample: aa6d5a82-1c88-45da-85d3-3d74b91a5bad
    why:
      description: Why this target was chosen.
      type: str
      sample: least loaded fitting host in us-west-2c (57 % memory, 12 % CPU after the move)
refusals:
  description: The VMs that cannot move, with every reason.
  returned: always
  type: list
  elements: dict
  contains:
    vm:
      description: MoID of the VM.
      type: str
      sample: vm-47
    vm_name:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-09
    blocking:
      description: Whether the VM prevents maintenance mode of its host.
      type: bool
      sample: true
    reasons:
      description: The reasons.
      type: list
      elements: dict
      contains:
        check:
          description: Name of the failed check.
          type: str
          sample: missing_network
        object:
          description: Name of the object on which it failed.
          type: str
          sample: ml-training-9
        hint:
          description: What to do about it.
          type: str
          sample: Provide the network on another host of the cluster
    text:
      description: All reasons in one sentence.
      type: str
      sample: "ML-cpu-vm-09 stays because of ml-training-9: Provide the network on another host of the cluster [missing_network]."
"""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import stays_text
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    DESTINATION_VCENTER_SPEC,
    STATE_DIR_SPEC,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_diff, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.crossing import to_enter
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drs import pinnable_clusters
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import DrsOption, Plan, Policy, Scope
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import check_fault_domains
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.sites import pools_to_enter
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import between_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import (
    approved_plan,
    check_disks,
    datastores_to_ask,
    hosts_of,
    moves_files,
    refuse_departure,
    request_of,
    with_forestalled,
    with_policy,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.server_checks import checked_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.storage_drs import with_recommendations
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Maintenance, assume_in_service
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import AnyVcenter

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **DESTINATION_VCENTER_SPEC,
    "host": {"type": "str"},
    "fault_domain": {"type": "str"},
    "vms": {"type": "list", "elements": "str", "default": []},
    "patterns": {"type": "list", "elements": "str", "default": []},
    "folders": {"type": "list", "elements": "str", "default": []},
    "attributes": {"type": "dict", "default": {}},
    "destination": {"type": "str"},
    "destination_cluster": {"type": "str"},
    "pool_map": {"type": "dict", "default": {}},
    "folder_map": {"type": "dict", "default": {}},
    "network_map": {"type": "dict", "default": {}},
    "wan_mbit": {"type": "float"},
    "wan_latency_ms": {"type": "float"},
    "policy": {"type": "str", "choices": [str(policy) for policy in Policy], "default": "same_preferred"},
    "fault_domains": {"type": "dict", "default": {}},
    "exclude_hosts": {"type": "list", "elements": "str", "default": []},
    "memory_headroom": {"type": "int", "default": 10},
    "cpu_headroom": {"type": "int", "default": 10},
    "scope": {"type": "str", "choices": [str(scope) for scope in Scope], "default": "compute"},
    "datastore": {"type": "str"},
    "disk_datastores": {"type": "dict", "default": {}},
    "storage_policy": {"type": "str"},
    "storage_headroom": {"type": "int", "default": 10},
    "use_homes": {"type": "bool", "default": False},
    "stall_budget": {"type": "float", "default": 5.0},
    "drs": {"type": "str", "choices": [str(option) for option in DrsOption], "default": "auto"},
    "assume_in_service": {"type": "bool", "default": False},
    "approved": {"type": "dict", "default": {}},
    "plan_id": {"type": "str", "default": ""},
    "lock_timeout": {"type": "float", "default": 600.0},
}


def body(module: AnsibleModule, vcenter: AnyVcenter) -> dict[str, Any]:
    """Wait for runs of the same hosts, read vCenter, and plan."""
    params = module.params
    domains = params["fault_domains"]
    known = vcenter.estate_of_hosts(fault_domains=domains)
    check_fault_domains(known, domains)
    try:
        hosts = hosts_of(params, known)
    except NotFound:
        hosts = hosts_of(params, vcenter.estate(fault_domains=domains))  # says if it is the name of a VM
    if params["use_homes"] and not hosts:
        raise InvalidInput(
            "use_homes needs host or fault_domain", hint="Set host to the host to which VMs return", option="host"
        )
    with ExitStack() as locks:
        for host in hosts:
            key = run_key(known.vcenter.instance_uuid, host.moid)
            state = state_to_read(params["state_dir"])
            locks.enter_context(between_runs(state, key, timeout=params["lock_timeout"], waiting=module.warn))
        estate = vcenter.estate(fault_domains=domains)
    approved = approved_plan(params, estate)
    request = request_of(params, estate, hosts, approved, module.warn, vcenter.mover, vcenter.deleted, vcenter.lost_vms)
    request = replace(
        request,
        not_permitted=vcenter.missing_to_move(request.vms),
        editable_clusters=vcenter.editable_clusters(pinnable_clusters(estate, request)),
        storage=replace(
            request.storage, not_permitted=vcenter.without_space(datastores_to_ask(estate, request.storage))
        ),
        closed_pools=vcenter.closed_pools(pools_to_enter(estate, request)),
    )
    networks, folders = to_enter(estate, request)
    if networks or folders:
        request = replace(
            request, closed_networks=vcenter.closed_networks(networks), closed_folders=vcenter.closed_folders(folders)
        )
    # Only devices: VMs may have moved since they were selected.
    moved = [move.vm for move in approved.moves if move.parts] if approved is not None else []
    estate = vcenter.devices(estate, (*request.vms, *moved))
    check_disks(estate, request)
    if moves_files(request.storage):
        wanted = params["storage_policy"]
        estate = vcenter.policies(estate, request.vms, wanted or "")
        request = replace(request, storage=with_policy(request.storage, wanted, estate))
        request = with_recommendations(vcenter, estate, request)
    assumed = list[str]()
    if module.check_mode and params["assume_in_service"]:
        assumed = [host.moid for host in hosts if estate.hosts[host.moid].maintenance is not Maintenance.NORMAL]
        estate = assume_in_service(estate, *(host.moid for host in hosts))
    if profiles := estate.vgpus_of(request.vms):
        estate = vcenter.graphics(estate, profiles)
    plan = checked_plan(vcenter, estate, request, assumed)
    if any(move.changes_vcenter for move in plan.moves):
        plan = replace(plan, notes=(*plan.notes, *vcenter.notes()))
    plan = with_forestalled(params, approved, plan, estate, hosts)
    refuse_departure(params["plan_id"], approved, plan, estate, hosts)
    return {**result_of(plan), "hosts": [host.name for host in hosts]}


def result_of(plan: Plan) -> dict[str, Any]:
    """The module's result."""
    refusals = plan_to_dict(plan)["refusals"]
    for refusal in refusals:
        reasons = [(r["check"], r["object"], r["hint"]) for r in refusal["reasons"]]
        refusal["text"] = f"{refusal['vm_name']} {stays_text(refusal['vm_name'], reasons)}."
    data = plan_to_dict(plan)
    return {
        "plan_id": plan.plan_id,
        "plan": data,
        "moves": data["moves"],
        "refusals": refusals,
        "lines": plan_lines(plan),
        "diff": plan_diff(plan),
    }


def main() -> None:
    """Entry point."""
    run_module(SPEC, body, mutually_exclusive=[("host", "fault_domain")])


if __name__ == "__main__":
    main()
