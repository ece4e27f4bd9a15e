# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The blockers: the table of all checks that can keep a VM from moving, and the checks of the VM itself. Pure.

The checks of a target host are in ``planner``. The reference page of blockers is made from ``BLOCKERS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .._vsphere.estate import Estate, Power, VmState
from .model import Reason

POWER_WORDS = {Power.OFF: "powered off", Power.SUSPENDED: "suspended"}


@dataclass(frozen=True, slots=True)
class Blocker:
    """What a check means, and what the operator can do.

    ``remedy`` is the hint of a :class:`Reason`; its ``{fields}`` are filled with figures of the case. ``object`` says what
    the check names. ``prevents_maintenance`` is false if the host can enter maintenance mode although the VM stays.
    """

    meaning: str
    object: str
    remedy: str
    prevents_maintenance: bool = True


BLOCKERS: Mapping[str, Blocker] = MappingProxyType(
    {
        # The VM itself
        "already_moving": Blocker(
            "A task of vCenter is moving the VM now.",
            "the task's MoID",
            "A task is already moving the VM. Wait until it ends, then plan again",
        ),
        "busy": Blocker(
            "Another task of vCenter locks the VM, for example a snapshot.",
            "the task's type",
            "Another task locks the VM. Wait until it ends, then plan again",
        ),
        "cpu_affinity": Blocker(
            "The VM is bound to processors or NUMA nodes of its host.",
            "the VM",
            "Remove the CPU and memory affinity in the VM's settings",
        ),
        "fault_tolerance": Blocker(
            "Fault Tolerance protects the VM.",
            "the VM",
            "Turn off Fault Tolerance for the VM, or move it manually",
        ),
        "host_device": Blocker(
            "A CD/DVD drive, floppy drive, USB device, serial port or parallel port of the VM uses a device of its host.",
            "the device",
            "It uses a device of the host. Set it to a client device or an image file, or remove it from the VM",
        ),
        "local_datastore": Blocker(
            "No other host mounts a datastore of the VM.",
            "the datastore",
            "Only the VM's own host mounts it. Move the VM's files to a datastore that other hosts mount",
        ),
        "managed_by": Blocker(
            "vCenter or a solution manages the VM, for example an agent VM of vSphere Cluster Services (vCLS).",
            "the manager's extension key",
            "vCenter moves or removes this VM itself. No action is needed",
            prevents_maintenance=False,
        ),
        "method_disabled": Blocker(
            "A backup or another solution has disabled migration of the VM.",
            "the disabled method of the vSphere API",
            "A backup or another solution has disabled this method. Wait until it finishes, then plan again",
        ),
        "not_powered_on": Blocker(
            "The VM is powered off or suspended.",
            "the VM",
            "The VM is {power}, which does not prevent maintenance mode. Power it on to move it live",
            prevents_maintenance=False,
        ),
        "passthrough_device": Blocker(
            "The VM uses a PCI passthrough or SR-IOV device.",
            "the device",
            "A passthrough device cannot move live. Remove it from the VM, or shut down the VM",
        ),
        "pending_question": Blocker(
            "The VM waits for an answer.",
            "the text of the question",
            "Answer this question in vCenter, then plan again",
        ),
        "template": Blocker(
            "The object is a template.",
            "the template",
            "A template does not prevent maintenance mode. No action is needed",
            prevents_maintenance=False,
        ),
        "vm_connection": Blocker(
            "vCenter cannot manage the VM: it is disconnected, inaccessible, invalid or orphaned.",
            "the state of the connection",
            "Reconnect or re-register the VM in vCenter, then plan again",
        ),
        # The target hosts
        "anti_affinity": Blocker(
            "An anti-affinity rule keeps the VM apart from a VM that is on the host, or that the plan moves there.",
            "the rules",
            "The rule keeps its VMs on different hosts. Add a host, or disable the rule",
        ),
        "excluded": Blocker(
            "The operator excluded the host (``exclude_hosts``), or it is in the fault domain that is evacuated.",
            "the hosts",
            "These hosts are excluded. Remove one from exclude_hosts, or evacuate fewer hosts",
        ),
        "fault_domain": Blocker(
            "The policy forbids the fault domain of the host. A host without a fault domain never fits a strict policy.",
            "the hosts",
            "Policy {policy} does not allow their fault domain. Choose another policy, or set fault_domains",
        ),
        "missing_datastore": Blocker(
            "The host does not mount a datastore of the VM.",
            "the datastores",
            "Mount the datastore on another host of the cluster",
        ),
        "missing_network": Blocker(
            "The host does not have a network of the VM.",
            "the networks",
            "Provide the network on another host of the cluster",
        ),
        "no_capacity_cpu": Blocker(
            "The host does not have enough free CPU above the headroom. Earlier moves of the plan are counted.",
            "the hosts",
            "{cpu_needed} MHz needed; most free above the headroom: {cpu_host} with {cpu_free} MHz. "
            "Free CPU, or lower cpu_headroom",
        ),
        "no_capacity_memory": Blocker(
            "The host does not have enough free memory above the headroom. Earlier moves of the plan are counted.",
            "the hosts",
            "{memory_needed} GiB needed; most free above the headroom: {memory_host} with {memory_free} GiB. "
            "Free memory, or lower memory_headroom",
        ),
        "no_target": Blocker(
            "The cluster does not have another host.",
            "the VM",
            "Add a host to the cluster, or set destination",
        ),
        "other_cluster": Blocker(
            "The host is in another cluster than the VM.",
            "the hosts",
            "Choose a host in the cluster of the VM",
        ),
        "target_disconnected": Blocker(
            "vCenter is not connected to the host.",
            "the hosts",
            "Reconnect the host in vCenter",
        ),
        "target_maintenance": Blocker(
            "The host is in maintenance mode, or is entering it.",
            "the hosts",
            "The host is in or entering maintenance mode. Take it back into service, or choose another target",
        ),
        "target_vmotion_off": Blocker(
            "The host does not have a VMkernel adapter with vMotion.",
            "the hosts",
            "Enable vMotion on a VMkernel adapter of the host",
        ),
        "vm_host_rule": Blocker(
            "A mandatory VM-host rule forbids the host.",
            "the rules",
            "The rule forbids the other hosts. Add hosts to its host group, or disable the rule",
        ),
    }
)


def reason(check: str, found: str, **figures: object) -> Reason:
    """The reason that a failed check gives; ``found`` is the object it failed on, ``figures`` fill the remedy."""
    return Reason(check, found, BLOCKERS[check].remedy.format(**figures))


def vm_reasons(estate: Estate, vm: VmState) -> tuple[Reason, ...]:
    """Every reason that lies in the VM itself (vSphere's requirements for vMotion)."""
    return (*_state_reasons(vm), *lock_reasons(vm), *_attachment_reasons(estate, vm))


def _state_reasons(vm: VmState) -> Iterator[Reason]:
    if vm.template:
        yield reason("template", vm.name)
    elif vm.power is not Power.ON:
        yield reason("not_powered_on", vm.name, power=POWER_WORDS[vm.power])
    if vm.managed_by:
        yield reason("managed_by", vm.managed_by)
    if vm.connection != "connected":
        yield reason("vm_connection", vm.connection)
    if vm.fault_tolerance:
        yield reason("fault_tolerance", vm.name)
    if vm.cpu_affinity:
        yield reason("cpu_affinity", vm.name)


def lock_reasons(vm: VmState) -> Iterator[Reason]:
    """The reasons that end by themselves or by an answer: tasks, questions and disabled methods."""
    if vm.moving_task:
        yield reason("already_moving", vm.moving_task)
    if vm.busy:
        yield reason("busy", vm.busy)
    if vm.question:
        yield reason("pending_question", vm.question)
    for method in sorted(vm.disabled_methods & {"RelocateVM_Task", "MigrateVM_Task"}):
        yield reason("method_disabled", method)


def _attachment_reasons(estate: Estate, vm: VmState) -> Iterator[Reason]:
    for device in vm.devices:
        if device.kind in ("pci_passthrough", "sriov"):
            yield reason("passthrough_device", device.label)
        elif device.kind != "vgpu":
            yield reason("host_device", device.label)
    for moid in sorted(vm.datastores):
        datastore = estate.datastores.get(moid)
        if datastore is not None and datastore.hosts <= {vm.host}:
            yield reason("local_datastore", datastore.name)
