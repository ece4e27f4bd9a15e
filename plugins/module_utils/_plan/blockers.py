# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The blockers: the table of all checks that can keep a VM from moving, and the checks of the VM itself. Pure.

The checks of a target host are in ``planner``. The reference page of blockers is made from ``BLOCKERS``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .._vsphere.estate import PLACE, Connection, Datastore, Estate, Power, VmState, has_unknown_place
from .model import Reason

POWER_WORDS = {Power.OFF: "powered off", Power.SUSPENDED: "suspended"}
MAY_STAY = "It may stay on its host, also in maintenance mode"
POWER_ON = "Power it on and plan again, or move it in vCenter as it is"
# Extensions whose VMs vCenter moves or removes itself: agents, vCLS (until 8.0 U2, and since 8.0 U3 by vCenter itself).
SELF_MANAGED = ("com.vmware.vim.eam", "VirtualCenter")


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
        "other_vcenter": Blocker(
            "An evacuation moved the VM to another vCenter, which this login does not show. Whether it is still there is not known.",
            "the address of the other vCenter",
            "Set destination_vcenter to a login of that vCenter, so that the VM can be found there and brought home",
            prevents_maintenance=False,
        ),
        "twin": Blocker(
            "VMs of both vCenters have the same instance UUID, and none of them is being moved. It is not known which one is meant.",
            "the address of the other vCenter",
            "The other vCenter has a VM with the same instance UUID. Find out which of the two is used. Remove the other one from its "
            "inventory or give it another UUID, then plan again",
        ),
        "cpu_affinity": Blocker(
            "The VM is bound to processors or NUMA nodes of its host.",
            "the VM",
            "Remove the CPU and memory affinity in the VM's settings",
        ),
        "datastore_inaccessible": Blocker(
            "No host can access a datastore of the VM.",
            "the datastore",
            "Repair the access of the hosts to the datastore, then plan again",
        ),
        "fault_tolerance": Blocker(
            "Fault Tolerance protects the VM.",
            "the VM",
            "Turn off Fault Tolerance for the VM, or move it manually",
        ),
        "mover_unknown": Blocker(
            "The VM is not where the evacuation put it, and vCenter's events do not say who moved it: they may have expired, or the user may "
            "not read them. Only what a person moved stays where it is.",
            "the host where the VM is",
            "Move it home with liveml.vsphere.migrate_vm; or, if it stays there, clear its home with liveml.vsphere.placement (state: absent, "
            "outcomes: [mover_unknown])",
        ),
        "home_gone": Blocker(
            "The fault domain is restored, and the home of the VM is a host that vCenter no longer has. No journal says that it was in another "
            "fault domain, so it may have been in this one.",
            "the host",
            "vCenter no longer has this host. If it was added again under another name, or the VM has to run on another host of the fault "
            "domain, move it with liveml.vsphere.migrate_vm. If it stays where it is, clear its home with liveml.vsphere.placement "
            "(state: absent, outcomes: [home_unhealthy])",
        ),
        "home_missing": Blocker(
            "The journal has a home of the VM, which was in the VM's custom attribute, too, and is not there any more. Another controller may "
            "have brought the VM home and cleared it, or the VM lost its custom attributes.",
            "the custom attribute",
            "It had the home that the journal has, and is empty. If the VM has to come home, move it with liveml.vsphere.migrate_vm. Then "
            "clear its home with liveml.vsphere.placement (state: absent, outcomes: [unreadable])",
        ),
        "not_shown": Blocker(
            "The journal has a home of the VM, and vCenter does not show the VM. It may be that the user has no permission on it any more, or "
            "that it was deleted. It counts as deleted only if vCenter says so of its MoID.",
            "the VM",
            "vCenter does not show the VM. Grant the user a role on it, for example with liveml.vsphere.create_role; or, if it was deleted, "
            "clear its home with liveml.vsphere.placement (state: absent, outcomes: [not_shown])",
        ),
        "home_unreadable": Blocker(
            "The VM's custom attribute ``liveml_home`` has a text that is not a home. It may be a home that was cut or edited, so a restore "
            "does not ignore it, and an evacuation does not overwrite it.",
            "the custom attribute and its text",
            "This text is not a home. Correct it in the VM's custom attribute; or move the VM to where it belongs with "
            "liveml.vsphere.migrate_vm, and empty the custom attribute",
        ),
        "host_device": Blocker(
            "A CD/DVD drive, floppy drive, USB device, serial port or parallel port of the VM uses a device of its host.",
            "the device",
            "It uses a device of the host. Set a CD/DVD or floppy drive to Client Device or to an image file in the VM's settings; the VM can "
            "stay powered on. Remove a USB device or a port that uses the host",
        ),
        "local_datastore": Blocker(
            "No other host mounts a datastore of the VM.",
            "the datastore",
            "Only the VM's own host mounts it. Set scope to both, so that the VM's files move too",
        ),
        "managed_by": Blocker(
            "vCenter manages the VM: an agent VM, for example one of vSphere Cluster Services (vCLS). A VM of another solution, "
            "such as OpenStack, is an ordinary VM.",
            "the manager's extension key",
            "vCenter moves or removes this VM itself. No action is needed",
            prevents_maintenance=False,
        ),
        "method_disabled": Blocker(
            "A backup or another solution has disabled migration of the VM.",
            "the disabled method of the vSphere API",
            "A backup or another solution has disabled this method. Wait until it finishes, then plan again",
        ),
        "not_permitted": Blocker(
            "The vCenter user may not move the VM.",
            "the missing privilege",
            "Grant the user this privilege on the VM or on its folder, for example with the playbook liveml.vsphere.create_role",
        ),
        "not_powered_on": Blocker(
            "The VM is powered off or suspended. In an evacuation it may stay on its host, also in maintenance mode. To come to another host, "
            "it has to be powered on, or moved in vCenter as it is.",
            "the VM",
            "The VM is {power}. {next_step}. Only a VM that is powered on moves live",
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
        "shared_bus": Blocker(
            "A SCSI controller of the VM shares its bus with other VMs of the same host (``virtualSharing``).",
            "the controller",
            "VMs that share a virtual SCSI bus must be on one host. Shut them down to move them",
        ),
        "source_disconnected": Blocker(
            "vCenter is not connected to the VM's host.",
            "the host",
            "Reconnect the host in vCenter",
        ),
        "source_vmotion_off": Blocker(
            "The VM's host does not have a VMkernel adapter with vMotion.",
            "the host",
            "Enable vMotion on a VMkernel adapter of the host that the VM leaves",
        ),
        "template": Blocker(
            "The object is a template.",
            "the template",
            "A template does not prevent maintenance mode. No action is needed",
            prevents_maintenance=False,
        ),
        "unreadable": Blocker(
            "vCenter did not give a property that decides whether the VM may move, or where. It is never taken for unset.",
            "the object, and the properties of the vSphere API",
            "Grant the user System.Read on this object (the role Read-only has it), then plan again",
        ),
        "vm_connection": Blocker(
            "vCenter cannot manage the VM: it is disconnected, inaccessible, invalid or orphaned.",
            "the state of the connection",
            "Reconnect or re-register the VM in vCenter, then plan again",
        ),
        # The datastores for the VM's files
        "datastore_gone": Blocker(
            "The datastore to which the VM's files should return no longer exists.",
            "the datastore's MoID",
            "The datastore no longer exists. Move the VM's files with scope storage or both to another datastore",
        ),
        "datastore_maintenance": Blocker(
            "The datastore to which the VM's files should move is in maintenance mode, or is entering it.",
            "the datastores",
            "The datastore is in or entering maintenance mode. Take it back into service, or choose another datastore",
        ),
        "datastore_not_permitted": Blocker(
            "The vCenter user may not put files on the datastore to which the VM's files should move, or on any that could take them.",
            "the datastores",
            "Grant the user Datastore.AllocateSpace on this datastore, for example with the playbook liveml.vsphere.create_role",
        ),
        "datastore_policy": Blocker(
            "The datastore does not fit the storage policy of the VM's files, or the one that they should get (``storage_policy``), as "
            "vCenter's policy service says.",
            "the datastores, each with the policy",
            "Choose a datastore that fits this storage policy, or set storage_policy to one that a datastore of the target fits",
        ),
        "datastore_unreached": Blocker(
            "The host does not mount the datastore to which the VM's files should move, or cannot write to it.",
            "the datastores",
            "Mount the datastore on the target host, or choose a datastore that the target host mounts",
        ),
        "disk_not_movable": Blocker(
            "A disk must move to another datastore and cannot while the VM runs: several VMs may write to it, or its changes are "
            "discarded at power-off.",
            "the disks",
            "Shut down the VM to move this disk, or change the disk in the VM's settings",
        ),
        "no_capacity_datastore": Blocker(
            "No datastore has enough free space above the headroom. Earlier moves of the plan are counted.",
            "the datastores",
            "{storage_needed} GiB needed; most free above the headroom: {datastore} with {datastore_free} GiB. "
            "Free space, choose another datastore, or lower storage_headroom",
        ),
        "no_datastore": Blocker(
            "The host mounts no datastore that could take the VM's files.",
            "the hosts",
            "Mount a datastore on the target host that is in service",
        ),
        # The target hosts
        "anti_affinity": Blocker(
            "An anti-affinity rule keeps the VM apart from a VM that is on the host, or that the plan moves there.",
            "the rules",
            "The rule keeps its VMs on different hosts. Add a host, or disable the rule",
        ),
        "evc_mode": Blocker(
            "The EVC mode of the host's cluster is lower than the VM needs since it was powered on, or of another vendor. Without EVC, "
            "the highest mode that the host supports counts. If a mode is not known, vCenter's own check of the move decides.",
            "the hosts, each with its mode",
            "The VM needs {evc_mode} since it was powered on. Choose another target. Or give the VM a lower EVC mode of its own, or move "
            "it while it is powered off: both need a power cycle, which ends what trains in it",
        ),
        "excluded": Blocker(
            "The operator excluded the host (``exclude_hosts``), or it is in the fault domain that is evacuated.",
            "the hosts",
            "These hosts are excluded. Remove one from exclude_hosts, or evacuate fewer hosts",
        ),
        "failover_host": Blocker(
            "vSphere HA keeps the host free as a dedicated failover host, and rejects VMs there.",
            "the hosts",
            "HA keeps these hosts free. Choose another target, or change HA's admission control",
        ),
        "fault_domain": Blocker(
            "The policy forbids the fault domain of the host. A host without a fault domain never fits a strict policy.",
            "the hosts",
            "Policy {policy} does not allow their fault domain. Choose another policy, or set fault_domains",
        ),
        "hardware_version": Blocker(
            "The host's ESXi is too old for the VM's virtual hardware version.",
            "the hosts",
            "Their ESXi does not support virtual hardware version {hardware_version}. Update a host, or choose another target",
        ),
        "missing_datastore": Blocker(
            "The host does not mount a datastore of the VM, or cannot access it. With the scope V(both), files that may move are not "
            "counted.",
            "the datastores",
            "Mount the datastore on another host of the cluster, or set scope to both",
        ),
        "missing_network": Blocker(
            "The host does not have a network of the VM.",
            "the networks",
            "Provide the network on another host of the cluster",
        ),
        "no_folder": Blocker(
            "The data centre of the host has no folder of that path for the VM.",
            "the folder",
            "Folders there are {folders}. Map the folder with folder_map, or make it",
        ),
        "no_network": Blocker(
            "The host is in another cluster, and has no network of that name.",
            "the networks",
            "Networks there are {networks}. Map the network with network_map, or provide it there",
        ),
        "no_pool": Blocker(
            "The cluster of the host has no resource pool of that path.",
            "the resource pool",
            "Resource pools there are {pools}. Map the pool with pool_map, or make it",
        ),
        "pool_not_permitted": Blocker(
            "The vCenter user may not assign VMs to the resource pool in the other cluster.",
            "the resource pool",
            "Grant the user Resource.AssignVMToPool on this resource pool",
        ),
        "folder_not_permitted": Blocker(
            "The vCenter user may not register VMs in the folder in the other vCenter.",
            "the folder",
            "Grant the user VirtualMachine.Inventory.Register on this folder, or map another one with folder_map",
        ),
        "network_not_permitted": Blocker(
            "The vCenter user may not connect VMs to the network in the other vCenter.",
            "the networks",
            "Grant the user Network.Assign on this network, or map another one with network_map",
        ),
        "vcenter_version": Blocker(
            "The vCenter of the host is older than the vCenter of the VM. vSphere moves VMs to the same or to a newer version only "
            "(Broadcom KB 2106952).",
            "both versions",
            "Update the older vCenter, or choose a host in a vCenter that is not older",
        ),
        "wan_bandwidth": Blocker(
            "The stated bandwidth between the vCenters is less than the 250 Mbit/s that vSphere needs for each move.",
            "the bandwidth",
            "Provide at least 250 Mbit/s between the sites, or correct wan_mbit",
        ),
        "wan_latency": Blocker(
            "The stated round-trip time between the vCenters is more than the 150 ms that vSphere supports.",
            "the round-trip time",
            "Shorten the way between the sites, or correct wan_latency_ms",
        ),
        "missing_vgpu_profile": Blocker(
            "The host does not offer a vGPU profile of the VM.",
            "the profiles",
            "Choose a target with a GPU that offers this profile",
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
        "no_vgpu_slot": Blocker(
            "The GPUs of the host do not have enough free vGPUs of the VM's profile. Earlier moves of the plan are counted. A GPU holds "
            "vGPUs of one profile, unless its mode is mixedSize. A GPU with a VM whose profile could not be read counts as full.",
            "the hosts",
            "{vgpus_needed} needed; most free: {vgpu_host} with {vgpus_free}. Free a GPU that offers this profile, or choose another "
            "target",
        ),
        "no_target": Blocker(
            "The cluster does not have another host.",
            "the VM",
            "Add a host to the cluster, or set destination",
        ),
        "several_datastores": Blocker(
            "The host is in another data centre, and the VM has files on more than one datastore.",
            "the datastores",
            "Move the VM's files to one datastore that both data centres share",
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
        "target_standby": Blocker(
            "Power management has switched the host to standby.",
            "the hosts",
            "Power on the host, or choose another target",
        ),
        "target_vmotion_off": Blocker(
            "The host does not have a VMkernel adapter with vMotion.",
            "the hosts",
            "Enable vMotion on a VMkernel adapter of the host",
        ),
        "too_few_processors": Blocker(
            "The VM has more virtual CPUs than the host has logical processors.",
            "the hosts",
            "The VM has {cpus} virtual CPUs, more than these hosts have logical processors. Choose a larger host",
        ),
        "vcenter_check": Blocker(
            "vCenter's own check of the move finds a fault, for example in processor features, admission control or encryption.",
            "the hosts, each with the faults",
            "vCenter would reject the move. Remove the cause that it names, or choose another target",
        ),
        "vgpu_stun": Blocker(
            "The VM has a vGPU and may stand still for longer than the stall budget. All memory of the vGPU counts as in use.",
            "the hosts",
            "It may stand still for up to {stun} s; the stall budget is {stall_budget} s. Raise stall_budget to {stun}, or move it when "
            "nothing trains",
        ),
        "vgpu_stun_limit": Blocker(
            "The VM has a vGPU and may stand still for longer than vSphere by default lets a VM stand still in a vMotion. All memory of "
            "the vGPU counts as in use.",
            "the hosts",
            "It may stand still for up to {stun} s; vSphere by default ends a vMotion after {stun_limit} s. Give both hosts a faster "
            "vMotion network, or shut down the VM",
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


def vm_reasons(
    estate: Estate, vm: VmState, leaving: Container[str] = (), *, stays: bool = False, evacuated: bool = True
) -> tuple[Reason, ...]:
    """Every reason that lies in the VM itself (vSphere's requirements for vMotion).

    ``leaving`` are datastores (MoIDs) that the VM's files may leave. With ``stays`` the VM does not change its host. If its host is
    not ``evacuated``, it is to come to another one.
    """
    return (
        *_unreadable_reasons(estate, vm),
        *_state_reasons(vm, MAY_STAY if evacuated else POWER_ON),
        *_source_reasons(estate, vm, stays=stays),
        *lock_reasons(vm),
        *(() if stays else _attachment_reasons(estate, vm, leaving)),
    )


def unreadable(estate: Estate, moid: str, name: str) -> str:
    """What could not be read of an object, for an operator; "" if everything could."""
    paths = estate.unreadable.get(moid)
    return f"{name}: {', '.join(sorted(paths))}" if paths else ""


def _unreadable_reasons(estate: Estate, vm: VmState) -> Iterator[Reason]:
    source = estate.hosts.get(vm.host)
    if has_unknown_place(estate, vm) and not estate.hides(vm.moid, PLACE):  # it runs, and vCenter leaves the host out
        yield reason("unreadable", f"{vm.name}: {PLACE}")
    objects = [(vm.moid, vm.name)]
    if source is not None:
        objects.append((source.cluster, source.cluster_name))
    objects += [(moid, estate.datastores[moid].name) for moid in sorted(vm.datastores) if moid in estate.datastores]
    for moid, name in objects:
        if what := unreadable(estate, moid, name):
            yield reason("unreadable", what)


def _source_reasons(estate: Estate, vm: VmState, *, stays: bool) -> Iterator[Reason]:
    source = estate.hosts.get(vm.host)
    if source is None or vm.power is not Power.ON:
        return
    if what := unreadable(estate, source.moid, source.name):
        yield reason("unreadable", what)
    if source.connection not in (Connection.CONNECTED, Connection.UNKNOWN):
        yield reason("source_disconnected", source.name)
    if not stays and not source.vmotion_enabled and source.moid not in estate.unreadable:
        yield reason("source_vmotion_off", source.name)


def _state_reasons(vm: VmState, next_step: str) -> Iterator[Reason]:
    if vm.template:
        yield reason("template", vm.name)
    elif vm.power in POWER_WORDS:
        yield reason("not_powered_on", vm.name, power=POWER_WORDS[vm.power], next_step=next_step)
    if vm.managed_by in SELF_MANAGED:
        yield reason("managed_by", vm.managed_by)
    if vm.connection != "connected":
        yield reason("vm_connection", vm.connection)
    if vm.fault_tolerance:
        yield reason("fault_tolerance", vm.name)
    if vm.cpu_affinity:
        yield reason("cpu_affinity", vm.name)
    if vm.twin:
        yield reason("twin", vm.twin)


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


def has_twin(estate: Estate, datastore: Datastore) -> bool:
    """Whether hosts of another data centre share the datastore's location."""
    return any(
        other.url == datastore.url and other.moid != datastore.moid
        for other in estate.datastores.values()
        if datastore.url
    )


def _attachment_reasons(estate: Estate, vm: VmState, leaving: Container[str]) -> Iterator[Reason]:
    for device in vm.devices:
        if device.kind in ("pci_passthrough", "sriov"):
            yield reason("passthrough_device", device.label)
        elif device.kind == "shared_bus":
            yield reason("shared_bus", device.label)
        elif device.kind != "vgpu":
            yield reason("host_device", device.label)
    for moid in sorted(vm.datastores):
        datastore = estate.datastores.get(moid)
        if datastore is None or moid in estate.unreadable:
            continue
        if not datastore.accessible or not datastore.hosts:
            yield reason("datastore_inaccessible", datastore.name)
        elif datastore.hosts <= {vm.host} and moid not in leaving and not has_twin(estate, datastore):
            yield reason("local_datastore", datastore.name)
