# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The estate: what was read from vCenter, as frozen dataclasses. Pure.

Objects are identified by MoID (``host-31``, ``vm-42``); names are for people. Memory is in bytes, CPU in MHz.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

EDIT_CLUSTER = "Host.Inventory.EditCluster"  # the privilege to change DRS, its overrides included


class Connection(StrEnum):
    """``HostSystemConnectionState``."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    NOT_RESPONDING = "notResponding"
    UNKNOWN = "unknown"  # could not be read


class Maintenance(StrEnum):
    """Maintenance mode of a host. A host that is *entering* it is fenced: no VM can be moved to it."""

    NORMAL = "normal"
    ENTERING = "entering"
    IN = "in"


class Power(StrEnum):
    """``VirtualMachinePowerState``."""

    ON = "poweredOn"
    OFF = "poweredOff"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"  # could not be read


@dataclass(frozen=True, slots=True)
class VcenterInfo:
    """A vCenter. ``simulated`` is true if it says that it is a simulator; ``product`` is its full name with its build.

    ``address`` is the name or address under which it was reached.
    """

    name: str
    instance_uuid: str
    version: str
    simulated: bool
    product: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore. ``hosts`` are MoIDs of the hosts that can access it; ``accessible``: at least one of them can.

    Each data centre has a datastore of its own for a location that its hosts share with others; they have the same ``url``.
    """

    moid: str
    name: str
    hosts: frozenset[str]
    accessible: bool = True
    capacity_bytes: int = 0
    free_bytes: int | None = None  # None: could not be read
    cluster: str = ""  # name of its datastore cluster (StoragePod)
    in_service: bool = True  # it is not in maintenance mode, and is not entering it
    read_only: frozenset[str] = frozenset()  # hosts that cannot write to it
    url: str = ""  # "" if unknown
    storage_drs: str = ""  # MoID of its datastore cluster, if Storage DRS is enabled there

    @property
    def local(self) -> bool:
        """Whether only one host can access it."""
        return len(self.hosts) == 1


@dataclass(frozen=True, slots=True)
class Network:
    """A network or distributed port group. ``kind`` is the class of the API, for example ``DistributedVirtualPortgroup``."""

    moid: str
    name: str
    kind: str = "Network"


@dataclass(frozen=True, slots=True)
class Pool:
    """A resource pool or vApp. ``path`` is below the root pool of its cluster, "" for the root pool itself.

    It is ``None`` if vCenter does not show a pool above it: then it is not known which pool of another cluster has the same path.
    """

    moid: str
    path: str | None
    cluster: str  # MoID of the compute resource


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of VMs. ``path`` is below the folder of all VMs of its data centre, "" for that folder itself."""

    moid: str
    path: str
    datacenter: str  # MoID


@dataclass(frozen=True, slots=True)
class Plug:
    """A network adapter of a VM (device key), and the network that it gets or has."""

    adapter: int
    network: str  # MoID
    network_name: str = ""
    kind: str = "Network"  # class of the network


@dataclass(frozen=True, slots=True)
class InventoryPlace:
    """Where a VM is in the inventory, besides its host and datastores. ``pool`` and ``folder`` are MoIDs; names are paths.

    Of a VM that enters the place, ``folder`` is "" if it keeps its folder, and ``plugs`` are the adapters that get another network.
    """

    cluster_name: str
    pool: str
    pool_name: str
    folder: str
    folder_name: str
    plugs: tuple[Plug, ...] = ()
    datastore: str = ""  # MoID of the VM's datastore in another data centre; its files stay where they are

    @property
    def text(self) -> str:
        """The place for people."""
        networks = "".join(f", network {plug.network_name or plug.network}" for plug in self.plugs)
        return f"cluster {self.cluster_name}, resource pool {self.pool_name}, folder {self.folder_name}{networks}"


class VgpuMode(StrEnum):
    """How the vGPUs of a card may differ (``HostGraphicsInfoVgpuMode``)."""

    SAME_SIZE = "sameSize"  # also what a host older than 8.0.3 does, which does not say it
    MIXED_SIZE = "mixedSize"
    MULTI_INSTANCE = "multiInstanceGpu"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics card that VMs share by vGPUs. ``vms`` are the MoIDs of the VMs that use it."""

    name: str
    memory_bytes: int  # 0 if unknown
    mode: VgpuMode = VgpuMode.SAME_SIZE
    vms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StunEstimate:
    """How long a host expects that a full vGPU makes its VM stand still in a vMotion over a link."""

    link_mbit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class VgpuProfile:
    """What a host says of a vGPU profile. ``framebuffer_gib`` is 0 if it does not say it."""

    framebuffer_gib: int
    stuns: tuple[StunEstimate, ...] = ()


@dataclass(frozen=True, slots=True)
class HostState:
    """An ESXi host. ``fault_domain`` is ``None`` if it has none."""

    moid: str
    name: str
    cluster: str  # MoID of the compute resource
    cluster_name: str
    datacenter: str  # name
    fault_domain: str | None
    connection: Connection
    maintenance: Maintenance
    memory_bytes: int
    memory_used_bytes: int
    cpu_mhz: int
    cpu_used_mhz: int
    vmotion_enabled: bool = True
    link_mbit: int | None = None  # of the fastest NIC that has a link, assumed to carry vMotion; None if unknown
    datastores: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    maintenance_task: str | None = None  # MoID of the running enter-maintenance task
    threads: int | None = None  # logical processors; None if unknown
    version: str = ""  # of ESXi, "8.0.2"; "" if unknown
    vgpu_profiles: frozenset[str] = frozenset()
    standby: bool = False  # power management has switched it off
    quarantined: bool = False  # proactive HA or DRS empties it
    red: bool = False  # an alarm of the host is red
    failover: bool = False  # HA keeps it free as a dedicated failover host
    aliases: frozenset[str] = frozenset()  # its DNS name and the addresses of its VMkernel adapters
    datacenter_moid: str = ""
    vcenter: str = ""  # address of its vCenter, if the estate has two
    environment: str = ""  # MoID of the environment browser of its compute resource
    gpus: tuple[Gpu, ...] | None = None  # that VMs share by vGPUs; None: could not be read
    evc_mode: str = (
        ""  # key of the EVC mode of its cluster; without EVC, of the highest one that it supports; "" if unknown
    )
    shows_config: bool = (
        True  # vCenter may have no configuration of a disconnected host, so that its fault domain is not known
    )
    consolidates_vgpus: bool = False  # a new vGPU goes to the card with the most vGPUs, else to the one with the fewest


@dataclass(frozen=True, slots=True)
class Alarm:
    """A triggered alarm of vCenter. ``status`` is yellow or red."""

    name: str
    status: str
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device that limits where a VM can move, or prevents a vMotion.

    ``kind``: pci_passthrough, sriov, vgpu (with its ``profile``), cdrom_host, floppy_host, serial_host, parallel_host,
    usb_host, scsi_host, shared_bus.
    """

    kind: str
    label: str
    profile: str = ""


OWN_FILES = 0  # key of the part of a VM that is not a disk


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a VM that has a datastore: its own files (configuration, swap, log), or one disk.

    ``key`` is ``OWN_FILES``, or the device key of the disk. ``size`` in bytes is what it takes on its datastore. ``fixed`` is why
    it cannot move to another datastore, "" if it can.
    """

    key: int
    label: str  # "files" or "Hard disk 1"
    datastore: str  # MoID, "" if unknown
    size: int
    fixed: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A network adapter of a VM. ``network`` is a MoID, "" if unknown."""

    key: int  # of the device
    network: str
    connected: bool = True


@dataclass(frozen=True, slots=True)
class VmState:
    """A VM. ``adapters``, ``devices``, ``cpu_affinity``, ``unplugged_networks`` and ``parts`` are set only after ``read_devices``.

    Without ``parts`` it is not known where the VM's files are.
    """

    moid: str
    name: str
    instance_uuid: str
    host: str  # MoID, "" if unknown
    power: Power
    memory_bytes: int
    template: bool = False
    connection: str = "connected"
    folder: str = ""  # path below the datacenter's VM folder, "ml/vision"
    pool: str = ""  # MoID of the resource pool
    memory_used_bytes: int = 0  # consumed host memory
    memory_reservation_bytes: int = 0
    cpu_reservation_mhz: int = 0
    cpus: int = 1
    cpu_used_mhz: int = 0
    guest_address: str = ""
    datastores: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    disabled_methods: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)  # custom attributes by name
    devices: tuple[Device, ...] = ()
    cpu_affinity: bool = False
    fault_tolerance: bool = False
    question: str = ""  # text of a pending question
    managed_by: str = ""  # extension key of the solution that made the VM (vCLS, OpenStack, ...)
    moving_task: str | None = None  # MoID of a running relocation/migration task
    busy: str = ""  # descriptionId of another running task that locks the VM
    datacenter: str = ""  # name
    hardware_version: int | None = None  # 21 for vmx-21; None if unknown
    evc_mode: str = ""  # key of the lowest EVC mode that it needs since it was powered on; "" if unknown
    unplugged_networks: frozenset[str] = frozenset()  # only disconnected adapters use them: a target may lack them
    folder_moid: str = ""
    adapters: tuple[Adapter, ...] = ()
    parts: tuple[Part, ...] = ()
    twin: str = ""  # address of the other vCenter, if a VM there has the same instance UUID

    @property
    def vgpus(self) -> tuple[str, ...]:
        """The profiles of the VM's vGPUs, "" for one that is unknown."""
        return tuple(device.profile for device in self.devices if device.kind == "vgpu")

    @property
    def places(self) -> dict[int, str]:
        """The datastore (MoID) of each part, by the key of the part."""
        return {part.key: part.datastore for part in self.parts}


@dataclass(frozen=True, slots=True)
class AntiAffinityRule:
    """An enabled rule: its VMs must not share a host (``ClusterAntiAffinityRuleSpec``)."""

    name: str
    vms: frozenset[str]


@dataclass(frozen=True, slots=True)
class AffinityRule:
    """An enabled rule: DRS keeps its VMs on one host (``ClusterAffinityRuleSpec``). It prevents no vMotion."""

    name: str
    vms: frozenset[str]


@dataclass(frozen=True, slots=True)
class VmHostRule:
    """An enabled VM-host rule: its VMs run on its hosts (``affine``), or do not (``ClusterVmHostRuleInfo``).

    ``mandatory``: they must; otherwise they should, and DRS moves a VM that breaks the rule.
    """

    name: str
    vms: frozenset[str]
    hosts: frozenset[str]
    affine: bool
    mandatory: bool = True

    def forbids(self, vm: str, host: str) -> bool:
        """Whether the VM breaks the rule on that host. Both are MoIDs."""
        return vm in self.vms and (host in self.hosts) is not self.affine


@dataclass(frozen=True, slots=True)
class Checked:
    """What vCenter's own check of a move found: faults that would prevent it, and warnings, each with its class name."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relocation:
    """What vCenter is asked to do with a VM; all are MoIDs. ``host`` is ``None`` if only files move, ``place`` if the VM keeps its own.

    ``files`` are key and datastore of all its parts, if one of them moves; ``policies`` are key and storage policy of those that
    get or keep one.
    """

    vm: str
    host: str | None
    place: InventoryPlace | None = None
    files: tuple[tuple[int, str], ...] = ()
    policies: tuple[tuple[int, str], ...] = ()


class FenceTask(StrEnum):
    """How a task that enters maintenance mode has ended, if it has."""

    RUNNING = "running"
    FAILED = "failed"  # it ended without maintenance mode, for example because somebody cancelled it
    ENTERED = "entered"  # it brought the host into maintenance mode, and no later task changed that
    FOLLOWED = "followed"  # it did, and a later task changed the maintenance mode again
    HIDDEN = "hidden"  # vCenter does not know it any more, or does not show it


class Automation(StrEnum):
    """What DRS does with VMs of a cluster, or with one VM."""

    DISABLED = "disabled"  # nothing: DRS is off, or the VM is excluded from it
    MANUAL = "manual"  # it recommends
    PARTIAL = "partial"  # it places a VM at power-on; later it recommends
    FULL = "full"  # it moves VMs by itself
    UNKNOWN = "unknown"  # could not be read


@dataclass(frozen=True, slots=True)
class DrsOverride:
    """A cluster's setting for one VM (``ClusterDrsVmConfigInfo``). What is not set, the cluster decides.

    A run that changes an override sets exactly these values again.
    """

    enabled: bool | None = None  # False excludes the VM from DRS
    behavior: Automation | None = None  # manual, partial or full


@dataclass(frozen=True, slots=True)
class Drs:
    """DRS of one cluster. ``overrides`` are by VM MoID. By default nothing is known."""

    automation: Automation = Automation.UNKNOWN
    overrides_allowed: bool | None = None  # None: could not be read. If not allowed, DRS ignores the overrides
    overrides: Mapping[str, DrsOverride] | None = None  # None: could not be read
    moves_vgpus: bool = False  # an advanced option makes it treat VMs with a vGPU as others

    def of(self, vm: VmState) -> Automation:
        """What DRS does with a VM whose devices were read. A VM with a vGPU it does not move by itself (Broadcom KB 313479)."""
        level = self.level_of(vm.moid)
        leaves_it = bool(vm.vgpus) and not self.moves_vgpus and self.automation is not Automation.UNKNOWN
        return Automation.PARTIAL if leaves_it and level in (Automation.FULL, Automation.UNKNOWN) else level

    def level_of(self, vm: str) -> Automation:
        """The automation level of a VM (MoID)."""
        if self.automation in (Automation.DISABLED, Automation.UNKNOWN) or self.overrides_allowed is False:
            return self.automation
        if self.overrides is None:
            return Automation.UNKNOWN
        override = self.overrides.get(vm)
        if override is None:
            return self.automation
        own = Automation.DISABLED if override.enabled is False else override.behavior or self.automation
        return own if self.overrides_allowed or own is self.automation else Automation.UNKNOWN


@dataclass(frozen=True, slots=True)
class AdmissionControl:
    """What HA keeps free in one cluster for a failure of hosts. By default nothing.

    ``hosts``: the percentages follow from this number of hosts that may fail. ``slot_hosts`` is that number if HA counts slots.
    """

    cpu_percent: int = 0
    memory_percent: int = 0
    hosts: int = 0
    slot_hosts: int = 0


@dataclass(frozen=True, slots=True)
class StoragePolicies:
    """What was read of storage policies, which are ids of vCenter's policy service. By default nothing is known.

    ``of_vms`` is the policy of each part of a VM (MoID) by the key of the part, "" if it has none; a part that is left out has an
    unknown one. ``fitting`` are the datastores (MoIDs) that fit a policy, as the policy service says.
    """

    names: Mapping[str, str] = field(default_factory=dict)  # of all policies
    of_vms: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    fitting: Mapping[str, frozenset[str]] = field(default_factory=dict)
    why_unknown: str = ""  # why they could not be read

    def of(self, vm: str, part: int) -> str | None:
        """The policy of a part, ``None`` if it is unknown."""
        return self.of_vms.get(vm, {}).get(part)

    def fits(self, policy: str, datastore: str) -> bool:
        """Whether a datastore fits a policy. One of which that is not known does not."""
        return datastore in self.fitting.get(policy, frozenset())


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything that the planner may know. Keys are MoIDs.

    ``unreadable`` are the property paths that vCenter did not give, by MoID of the host, VM, cluster or datastore. What
    could not be read is unknown, never none: the planner refuses where it decides. ``vgpus`` are the profiles of the vGPUs of VMs
    that are on GPUs; a VM that is not in it has unknown ones. ``vgpu_profiles`` is what hosts say of the profiles that they offer.

    An estate may be of two vCenters: see ``qualified``. ``vcenter`` is the first one.
    """

    vcenter: VcenterInfo
    hosts: Mapping[str, HostState]
    vms: Mapping[str, VmState]
    datastores: Mapping[str, Datastore] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    anti_affinity: tuple[AntiAffinityRule, ...] = ()
    affinity: tuple[AffinityRule, ...] = ()
    vm_host_rules: tuple[VmHostRule, ...] = ()
    unreadable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    drs: Mapping[str, Drs] = field(default_factory=dict)  # by MoID of the compute resource
    admission: Mapping[str, AdmissionControl] = field(default_factory=dict)  # by MoID of the cluster
    pools: Mapping[str, Pool] = field(default_factory=dict)
    folders: Mapping[str, Folder] = field(default_factory=dict)
    second: VcenterInfo | None = None
    vgpus: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vgpu_profiles: Mapping[str, Mapping[str, VgpuProfile]] = field(default_factory=dict)  # by host, by name
    policies: StoragePolicies = field(default_factory=StoragePolicies)

    def vgpus_of(self, vms: Iterable[str]) -> frozenset[str]:
        """The profiles of the vGPUs of these VMs, whose devices were read."""
        return frozenset(profile for vm in vms if vm in self.vms for profile in self.vms[vm].vgpus)

    def host_name(self, host: str) -> str:
        """The name of a host, or its MoID if it is not known."""
        return self.hosts[host].name if host in self.hosts else host

    def drs_of(self, host: HostState) -> Drs:
        """DRS of the host's cluster."""
        return self.drs.get(host.cluster, Drs())

    def hides(self, moid: str, *paths: str) -> bool:
        """Whether vCenter did not give one of these properties of an object."""
        return not self.unreadable.get(moid, frozenset()).isdisjoint(paths)

    @property
    def host_names(self) -> dict[str, str]:
        """Names of all hosts by MoID."""
        return {host.moid: host.name for host in self.hosts.values()}


# Properties of a VM: the host where it is, and its custom attributes with their names.
PLACE, ATTRIBUTES = "runtime.host", ("customValue", "availableField")


IDLE = (Power.OFF, Power.SUSPENDED)  # a VM whose power state vCenter does not show may run


def has_unknown_place(estate: Estate, vm: VmState) -> bool:
    """Whether vCenter does not show on which host a VM is. Only a VM that does not run can be on none."""
    return not vm.host and (vm.power not in IDLE or estate.hides(vm.moid, PLACE))


FAULT_DOMAIN = "config.vsanHostConfig.faultDomainInfo.name"
MODE = "runtime.inMaintenanceMode"
USE = (
    "hardware.memorySize",
    "summary.hardware.numCpuCores",
    "summary.hardware.cpuMhz",
    "summary.quickStats.overallMemoryUsage",
    "summary.quickStats.overallCpuUsage",
)


def hides_mode(estate: Estate, host: HostState) -> bool:
    """Whether vCenter does not show if a host is in maintenance mode. A task that enters it shows that it is fenced."""
    return host.maintenance is Maintenance.NORMAL and estate.hides(host.moid, MODE, "recentTask")


def shows_use(estate: Estate, host: HostState) -> bool:
    """Whether vCenter shows how much memory and CPU of a host are used. Every host uses memory, so 0 is a figure that is left out."""
    return host.memory_used_bytes > 0 and not estate.hides(host.moid, *USE)


def utilization(host: HostState) -> tuple[float, float]:
    """Used shares (0..1) of a host's memory and CPU."""
    return used_share(host.memory_used_bytes, host.memory_bytes), used_share(host.cpu_used_mhz, host.cpu_mhz)


def used_share(used: float, total: float) -> float:
    """The share (0..1) of a resource that is used; all of it if nobody knows how much there is."""
    return used / total if total else 1.0


def assume_in_service(estate: Estate, *hosts: str) -> Estate:
    """The estate as if hosts (MoIDs) were out of maintenance mode. Check mode plans a restore with it."""
    states = {
        host: replace(estate.hosts[host], maintenance=Maintenance.NORMAL, maintenance_task=None) for host in hosts
    }
    return replace(estate, hosts={**estate.hosts, **states})


def known_as(host: HostState, name: str) -> bool:
    """Whether a name or address is one of the host: in any case, short or with its domain, or one of its aliases."""
    return any(_same_host(name.casefold(), known.casefold()) for known in (host.name, *host.aliases))


def _same_host(one: str, other: str) -> bool:
    """Whether two lower-case names are equal, or one is the short name of the other. An address has no short name."""
    short, long = sorted((one, other), key=len)
    return one == other or ("." not in short and not short.isdecimal() and long.startswith(f"{short}."))


def unescaped(name: str) -> str:
    """A name as people write it: vCenter escapes three characters in every name (``/``, ``\\`` and ``%``)."""
    for escape, character in (("%2f", "/"), ("%5c", "\\"), ("%25", "%")):  # the last one last, else it unescapes twice
        name = name.replace(escape, character).replace(escape.upper(), character)
    return name
