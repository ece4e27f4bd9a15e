# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every reason why a VM cannot move that lies in the VM itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .._vsphere.estate import Estate, Power, VmState
from .model import Reason

# Reasons of VMs which do not keep their host from entering maintenance mode.
HARMLESS = frozenset({"not_powered_on", "template", "managed_by"})


def vm_reasons(estate: Estate, vm: VmState) -> tuple[Reason, ...]:
    """Every reason that lies in the VM itself (vSphere's vMotion requirements; facts of blockers by property)."""
    return (*_state_reasons(vm), *lock_reasons(vm), *_attachment_reasons(estate, vm))


def _state_reasons(vm: VmState) -> Iterator[Reason]:
    if vm.template:
        yield Reason("template", vm.name, "A template runs nothing and may stay")
    elif vm.power is not Power.ON:
        yield Reason("not_powered_on", vm.name, f"The VM is {vm.power}; power it on to move it live, or leave it")
    if vm.managed_by:
        yield Reason("managed_by", vm.managed_by, "vCenter manages this VM and moves or removes it by itself")
    if vm.connection != "connected":
        yield Reason("vm_connection", vm.connection, "Repair the VM's connection in vCenter first")
    if vm.fault_tolerance:
        yield Reason("fault_tolerance", vm.name, "Suspend Fault Tolerance, or move the VM by hand")
    if vm.cpu_affinity:
        yield Reason("cpu_affinity", vm.name, "Remove the CPU or memory affinity")


def lock_reasons(vm: VmState) -> Iterator[Reason]:
    if vm.moving_task:
        yield Reason("already_moving", vm.moving_task, "Wait until the running move has ended, then plan again")
    if vm.busy:
        yield Reason("busy", vm.busy, "Wait until the running task has ended, then plan again")
    if vm.question:
        yield Reason("pending_question", vm.question, "Answer the VM's question in vCenter")
    for method in sorted(vm.disabled_methods & {"RelocateVM_Task", "MigrateVM_Task"}):
        yield Reason("method_disabled", method, "A backup or another solution locks the VM; let it finish")


def _attachment_reasons(estate: Estate, vm: VmState) -> Iterator[Reason]:
    for device in vm.devices:
        if device.kind in ("pci_passthrough", "sriov"):
            yield Reason("passthrough_device", device.label, "A passthrough device cannot move live; detach it")
        elif device.kind != "vgpu":
            yield Reason("host_device", device.label, "Disconnect this device of the host from the VM")
    for moid in sorted(vm.datastores):
        datastore = estate.datastores.get(moid)
        if datastore is not None and datastore.hosts <= {vm.host}:
            yield Reason("local_datastore", datastore.name, "Move the VM's files to a datastore that other hosts mount")
