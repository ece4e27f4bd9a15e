# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the estate: the needed property paths in bulk, with a number of calls that does not depend on its size.

The number of pages of an answer grows with the inventory: one per 500 objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from functools import partial
from operator import attrgetter
from typing import Any

from .._core.errors import CallFailed, ConnectError, PermissionMissing
from .._core.untrusted import printable, shortened, text
from .client import Client, ReadBroken, SessionEnded, fault_name
from .estate import (
    FAULT_DOMAIN,
    OWN_FILES,
    Adapter,
    AdmissionControl,
    AffinityRule,
    Alarm,
    AntiAffinityRule,
    Automation,
    Connection,
    Datastore,
    Device,
    Drs,
    DrsOverride,
    Estate,
    FenceTask,
    Folder,
    Gpu,
    HostState,
    Maintenance,
    Network,
    Part,
    Pool,
    Power,
    StunEstimate,
    VcenterInfo,
    VgpuMode,
    VgpuProfile,
    VmHostRule,
    VmState,
    unescaped,
)
from .faults import is_gone

try:
    from pyVmomi import vim, vmodl
except ImportError:
    pass

MIB = 1024**2
_PAGE = 500
# They do not decide whether a VM may move, but how its move is guarded: see Drs. A host's addresses are for hints.
_DRS, _DRS_OVERRIDES = DRS_PATHS = ("configurationEx.drsConfig", "configurationEx.drsVmConfig")
# They do not decide whether a VM may move, but whether its files may.
SPACE_PATHS = ("summary.capacity", "summary.freeSpace", "summary.maintenanceMode", "parent")
_POD_DRS = (
    "podStorageDrsEntry.storageDrsConfig.podConfig.enabled"  # decides only who ranks the datastores of the cluster
)
_FILES, _LAYOUT = STORAGE_PATHS = ("config.files.vmPathName", "layoutEx")
_VNIC, _DNS = ADDRESS_PATHS = ("config.network.vnic", "config.network.dnsConfig")
# vCenter's own check of a move decides without these. The last ones decide only about VMs with a vGPU.
_EVC, _EVC_MAX, _EVC_NEEDED = EVC_PATHS = (
    "summary.currentEVCModeKey",
    "summary.maxEVCModeKey",
    "runtime.minRequiredEVCModeKey",
)
_GPUS, _VGPU_ASSIGNMENT = GPU_PATHS = ("config.graphicsInfo", "config.graphicsConfig.sharedPassthruAssignmentPolicy")
PATHS = {
    "Datacenter": ["name", "vmFolder"],
    "Folder": ["name", "parent"],
    "ComputeResource": ["name", "parent", "environmentBrowser"],
    "ClusterComputeResource": [
        "configurationEx.rule",
        "configurationEx.group",
        "configurationEx.dasConfig.enabled",
        "configurationEx.dasConfig.admissionControlEnabled",
        "configurationEx.dasConfig.admissionControlPolicy",
        *DRS_PATHS,
    ],
    "ResourcePool": ["name", "parent", "owner"],
    "VirtualApp": ["parentFolder", "parentVApp"],
    "Datastore": ["name", "host", "summary.accessible", "summary.url", *SPACE_PATHS],
    "StoragePod": ["name", _POD_DRS],
    "Network": ["name"],
    "HostSystem": [
        "name",
        "parent",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "runtime.inQuarantineMode",
        "runtime.powerState",
        "overallStatus",
        "hardware.memorySize",
        "summary.hardware.numCpuCores",
        "summary.hardware.numCpuThreads",
        "summary.hardware.cpuMhz",
        "summary.quickStats.overallMemoryUsage",
        "summary.quickStats.overallCpuUsage",
        "summary.config.vmotionEnabled",
        "summary.config.product.version",
        "config.sharedPassthruGpuTypes",
        FAULT_DOMAIN,
        "config.network.pnic",
        *ADDRESS_PATHS,
        *GPU_PATHS,
        _EVC,
        _EVC_MAX,
        "datastore",
        "network",
        "recentTask",
    ],
    "VirtualMachine": [
        "name",
        "config.instanceUuid",
        "config.template",
        "config.version",
        "config.managedBy.extensionKey",
        "config.memoryAllocation.reservation",
        "config.cpuAllocation.reservation",
        "summary.config.memorySizeMB",
        "summary.config.numCpu",
        "summary.quickStats.hostMemoryUsage",
        "summary.quickStats.overallCpuUsage",
        "runtime.host",
        "runtime.powerState",
        "runtime.connectionState",
        "runtime.question",
        _EVC_NEEDED,
        "runtime.faultToleranceState",
        "guest.ipAddress",
        "parent",
        "parentVApp",
        "resourcePool",
        "datastore",
        "network",
        "disabledMethod",
        "customValue",
        "availableField",
        "recentTask",
    ],
}
HOST_KINDS = ("Datacenter", "Folder", "ComputeResource", "ClusterComputeResource", "HostSystem")
STOCK_SIMULATOR = "dbed6e0c-bd88-4ef6-b594-21283e1c677f"  # instanceUuid of govmomi's simulator, whatever its name
TASK_PATHS = ["info.state", "info.descriptionId"]
_DEVICE = "config.hardware.device"
DEVICE_PATHS = [_DEVICE, "config.cpuAffinity", "config.memoryAffinity", *STORAGE_PATHS]
CHECKING_TASKS = "vm.check."  # they lock nothing
MOVING_TASKS = ("relocate", "migrate", "executevmotion")  # the last one is DRS: Drm.ExecuteVMotionLRO

BEHAVIORS = {  # DrsBehavior
    Automation.MANUAL: "manual",
    Automation.PARTIAL: "partiallyAutomated",
    Automation.FULL: "fullyAutomated",
}
_VGPU_MODES = {str(mode): mode for mode in VgpuMode}
_AUTOMATION = {name: automation for automation, name in BEHAVIORS.items()}

# Objects of which an unreadable property decides whether a VM may move.
DECIDING = ("HostSystem", "VirtualMachine", "ClusterComputeResource", "Datastore")


class Row(dict[str, Any]):
    """Properties of one object by path. ``unreadable`` are the paths that vCenter did not give, ``kind`` is the object's class."""

    def __init__(self, values: Mapping[str, Any] | None = None, unreadable: Iterable[str] = (), kind: str = "") -> None:
        super().__init__(values or {})
        self.unreadable = frozenset(unreadable)
        self.kind = kind

    def only(self, paths: Iterable[str]) -> Row:
        """The row with these paths alone."""
        wanted = frozenset(paths)
        return Row({path: value for path, value in self.items() if path in wanted}, self.unreadable & wanted, self.kind)

    def merge(self, other: Row) -> None:
        """Add the properties of another answer about the same object."""
        self.update(other)
        self.unreadable |= other.unreadable
        self.kind = other.kind


Rows = dict[str, Row]


def read_vcenter(client: Client) -> VcenterInfo:
    """The vCenter's name, ID and version. A simulator is known by its name in ``about``."""
    about = client.content.about
    names = f"{about.name} {about.fullName}".lower()
    return VcenterInfo(
        name=text(about.name),
        instance_uuid=about.instanceUuid or "",
        version=text(about.version),
        simulated="simulator" in names or "vcsim" in names or about.instanceUuid == STOCK_SIMULATOR,
        product=text(about.fullName),
        address=client.address,
    )


def read_estate(
    client: Client,
    *,
    devices_of_vms: Iterable[str] = (),
    fault_domains: Mapping[str, str] | None = None,
) -> Estate:
    """Read everything that the planner may know.

    ``devices_of_vms`` are MoIDs of the VMs whose devices are read. ``fault_domains`` (host name -> fault domain) takes
    precedence over the fault domains of vSAN. Raises CallFailed or PermissionMissing.
    """
    return read_devices(client, _read(client, PATHS, fault_domains or {}), devices_of_vms)


def read_hosts(client: Client, *, fault_domains: Mapping[str, str] | None = None) -> Estate:
    """Read the hosts and their clusters alone: an estate without VMs, datastores, networks, pools and folders of VMs."""
    return _read(client, HOST_KINDS, fault_domains or {})


def _read(client: Client, kinds: Collection[str], fault_domains: Mapping[str, str]) -> Estate:
    """The estate with the objects of these kinds."""
    rows = client.whole(lambda: _read_inventory(client, {kind: PATHS[kind] for kind in kinds}))
    tasks = _read_tasks(client, rows)
    clusters = rows["ComputeResource"]
    return Estate(
        vcenter=read_vcenter(client),
        hosts={m: _host(m, row, clusters, rows, tasks, fault_domains) for m, row in rows["HostSystem"].items()},
        vms={m: _vm(m, row, rows, tasks) for m, row in rows["VirtualMachine"].items()},
        datastores={m: _datastore(m, row, rows["StoragePod"]) for m, row in rows["Datastore"].items()},
        networks={m: Network(m, _name(row, m), row.kind) for m, row in rows["Network"].items()},
        anti_affinity=tuple(_anti_affinity(rows["ClusterComputeResource"])),
        affinity=tuple(_affinity(rows["ClusterComputeResource"])),
        vm_host_rules=tuple(_vm_host_rules(rows["ClusterComputeResource"])),
        unreadable=_hidden_clusters(rows)
        | {
            moid: unread
            for kind in DECIDING
            for moid, row in rows[kind].items()
            if (
                unread := row.unreadable.difference(
                    DRS_PATHS, ADDRESS_PATHS, GPU_PATHS, EVC_PATHS, SPACE_PATHS if kind == "Datastore" else ()
                )
            )
        },
        drs={m: _drs(rows["ClusterComputeResource"].get(m)) for m in clusters},
        admission={m: _admission(row) for m, row in rows["ClusterComputeResource"].items()},
        pools={m: _pool(m, row, rows["ResourcePool"]) for m, row in rows["ResourcePool"].items()},
        folders=_vm_folders(rows) if "VirtualMachine" in kinds else {},
    )


def _hidden_clusters(rows: dict[str, Rows]) -> dict[str, frozenset[str]]:
    """What is not known of clusters (MoIDs) that vCenter does not show, although it shows hosts in them."""
    parents = [row["parent"] for row in rows["HostSystem"].values() if row.get("parent") is not None]
    clusters = {_moid(parent) for parent in parents if isinstance(parent, vim.ClusterComputeResource)}
    paths = frozenset(PATHS["ClusterComputeResource"]).difference(DRS_PATHS)
    return dict.fromkeys(clusters - rows["ClusterComputeResource"].keys(), paths)


def read_devices(client: Client, estate: Estate, vms: Iterable[str]) -> Estate:
    """The estate with devices, affinities and parts of VMs (MoIDs), read in one call. The rest stays as it was read."""
    rows = read_existing_vms(client, [vm for vm in dict.fromkeys(vms) if vm in estate.vms], DEVICE_PATHS)
    unreadable = {
        m: estate.unreadable.get(m, frozenset()) | unread
        for m, row in rows.items()
        if (unread := row.unreadable.difference(STORAGE_PATHS))
    }
    return replace(
        estate,
        vms={**estate.vms, **{m: _with_devices(estate.vms[m], row, estate.datastores) for m, row in rows.items()}},
        unreadable={**estate.unreadable, **unreadable},
    )


def _read_vgpus(client: Client, estate: Estate) -> dict[str, tuple[str, ...]]:
    """The profiles of the vGPUs of the VMs that are on GPUs. A VM of which vCenter does not show the devices is left out."""
    users = {vm for host in estate.hosts.values() for gpu in host.gpus or () for vm in gpu.vms}
    rows = read_existing_vms(client, sorted(users), [_DEVICE])
    return {
        moid: tuple(device.profile for device in _devices(row[_DEVICE]) if device.kind == "vgpu")
        for moid, row in rows.items()
        if _DEVICE in row
    }


def read_graphics(client: Client, estate: Estate, profiles: Collection[str]) -> Estate:
    """The estate with the vGPUs of the VMs on GPUs, and with what hosts say of their profiles.

    Only hosts that offer one of these profiles are asked, in one call for each. What a host does not say stays unknown.
    """
    offering = [
        host
        for host in estate.hosts.values()
        if host.vgpu_profiles.intersection(profiles) and host.environment and host.connection is Connection.CONNECTED
    ]
    said = dict[str, Mapping[str, VgpuProfile]]()
    for host in offering:
        browser = client.reference("EnvironmentBrowser", host.environment)
        machine = client.reference("HostSystem", host.moid)
        with suppress(CallFailed, PermissionMissing):
            target = client.call("read the vGPU profiles of a host", partial(browser.QueryConfigTarget, machine))
            infos = getattr(target, "vgpuProfileInfo", ()) or ()
            said[host.moid] = {text(info.profileName): _vgpu_profile(info) for info in infos}
    return replace(estate, vgpus=_read_vgpus(client, estate), vgpu_profiles=said)


def _vgpu_profile(info: Any) -> VgpuProfile:
    estimates = (
        StunEstimate(int(each.migrationBW), int(each.stunTime)) for each in getattr(info, "stunTimeEstimates", ()) or ()
    )
    return VgpuProfile(int(info.fbSizeInGib or 0), tuple(each for each in estimates if each.link_mbit > 0))


def read_identities(client: Client) -> dict[str, tuple[str, Power]]:
    """Instance UUID ("" if it is not known) and power state of each VM, by MoID, in one call."""
    paths = {"VirtualMachine": ["config.instanceUuid", "runtime.powerState"]}
    rows = client.whole(lambda: _read_inventory(client, paths))["VirtualMachine"]
    return {
        moid: (str(row.get("config.instanceUuid") or ""), Power(str(row.get("runtime.powerState", "unknown"))))
        for moid, row in rows.items()
    }


def _read_inventory(client: Client, wanted: Mapping[str, list[str]]) -> dict[str, Rows]:
    content, types = client.content, [getattr(vim, kind) for kind in wanted]
    view = client.call(
        "list the inventory", lambda: content.viewManager.CreateContainerView(content.rootFolder, types, True)
    )
    rows = {kind: Rows() for kind in PATHS}
    try:
        traversal = vmodl.query.PropertyCollector.TraversalSpec(
            name="view", type=vim.view.ContainerView, path="view", skip=False
        )
        start = vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[traversal])
        for moid, row, found in _retrieve(client, [start], wanted):
            for kind, paths in wanted.items():
                if isinstance(found, getattr(vim, kind)):
                    rows[kind].setdefault(moid, Row()).merge(row.only(paths))
    finally:
        _close_view(client, view)
    return rows


def _close_view(client: Client, view: Any) -> None:
    """The view ends with its session at the latest, so it is not an error that it cannot be closed."""
    with suppress(CallFailed, ConnectError, PermissionMissing):
        client.call("close the list of the inventory", view.DestroyView, once=True)


def _retrieve(client: Client, objects: list[Any], paths: Mapping[str, list[str]]) -> Iterator[tuple[str, Row, Any]]:
    """MoID, properties and reference of each object. An object that vanished meanwhile is left out.

    Raises ReadBroken: call it inside ``Client.whole``.
    """
    collector = client.content.propertyCollector
    properties = [
        vmodl.query.PropertyCollector.PropertySpec(type=attrgetter(kind)(vim), pathSet=names, all=False)
        for kind, names in paths.items()
    ]
    query = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=objects, propSet=properties, reportMissingObjectsInResults=True
    )
    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=_PAGE)
    page = client.call("read the inventory", lambda: collector.RetrievePropertiesEx([query], options))
    while page is not None:
        for item in page.objects:
            row = _row(item)
            if row is not None:
                yield item.obj._moId, row, item.obj
        token = page.token
        if not token:
            return
        more = partial(collector.ContinueRetrievePropertiesEx, token)
        try:
            page = client.call("read the next page of the inventory", more, once=True)
        except (CallFailed, ConnectError) as error:
            raise ReadBroken from error  # a page cannot be asked for twice


def _row(item: Any) -> Row | None:
    """What vCenter gave of an object, and what it did not give; ``None`` if the object no longer exists.

    A property that is not set is in neither list. Raises SessionEnded: a session that has ended is answered with HTTP 200 and
    without properties.
    """
    faults = {missing.path: missing.fault for missing in item.missingSet or ()}
    if any(isinstance(fault, vim.fault.NotAuthenticated) for fault in faults.values()):
        raise SessionEnded
    if any(isinstance(fault, vmodl.fault.ManagedObjectNotFound) for fault in faults.values()):
        return None
    return Row({p.name: p.val for p in item.propSet or ()}, faults, type(item.obj).__name__.rpartition(".")[2])


def read_objects(client: Client, kind: str, moids: Iterable[str], paths: list[str]) -> Rows:
    """Properties of objects of one kind, by MoID, in one call.

    Objects that no longer exist are left out. A server that cannot do that makes it raise CallFailed (``ManagedObjectNotFound``).
    """
    objects = [
        vmodl.query.PropertyCollector.ObjectSpec(obj=client.reference(kind, moid), skip=False) for moid in sorted(moids)
    ]
    if not objects:
        return Rows()
    return client.whole(lambda: {moid: row for moid, row, _found in _retrieve(client, objects, {kind: paths})})


def read_placement(client: Client, moids: Iterable[str]) -> Rows:
    """``runtime.host`` and ``runtime.powerState`` of VMs, by MoID. VMs that no longer exist are left out."""
    return read_existing_vms(client, list(moids), ["runtime.host", "runtime.powerState"])


def read_power_on(client: Client, moids: Iterable[str]) -> Rows:
    """``runtime.bootTime`` of VMs, by MoID. VMs that no longer exist are left out."""
    return read_existing_vms(client, list(moids), ["runtime.bootTime"])


def read_existing_vms(client: Client, vms: list[str], paths: list[str]) -> Rows:
    """Read VMs in one call; if one no longer exists, read each by itself and leave that one out."""
    try:
        return read_objects(client, "VirtualMachine", vms, paths)
    except CallFailed as error:
        if not is_gone(error.fault):
            raise
        if len(vms) == 1:
            return Rows()
        return {m: row for moid in vms for m, row in read_existing_vms(client, [moid], paths).items()}


def read_alarms(client: Client, hosts: Iterable[str]) -> dict[str, tuple[Alarm, ...] | None]:
    """Alarms triggered on hosts, by host MoID and sorted by name, in two calls. Alarms of a host's VMs are left out.

    ``None`` if vCenter does not show the alarms of a host, or which alarm one of them is.
    """
    rows = read_objects(client, "HostSystem", hosts, ["triggeredAlarmState"])
    states = {
        moid: [state for state in row.get("triggeredAlarmState") or () if state.entity._moId == moid]
        for moid, row in rows.items()
        if "triggeredAlarmState" not in row.unreadable
    }
    known = {state.alarm._moId for found in states.values() for state in found}
    definitions = read_objects(client, "alarm.Alarm", known, ["info.name"])
    names = {moid: shortened(str(row["info.name"])) for moid, row in definitions.items() if "info.name" in row}
    hidden = definitions.keys() - names.keys()  # the user may see a host, and not the definition of an alarm on it
    return dict.fromkeys(rows) | {
        moid: tuple(
            sorted(
                (
                    Alarm(names.get(s.alarm._moId, s.alarm._moId), str(s.overallStatus), bool(s.acknowledged))
                    for s in found
                ),
                key=lambda alarm: alarm.name,
            )
        )
        for moid, found in states.items()
        if hidden.isdisjoint(state.alarm._moId for state in found)
    }


def is_move(description: str) -> bool:
    """Whether a task of this ``descriptionId`` moves a VM, for example ``VirtualMachine.relocate``."""
    return _last_word(description).startswith(MOVING_TASKS)


def iso_time(value: Any) -> str | None:
    """A time of vCenter as UTC in ISO 8601, with milliseconds."""
    if value is None:
        return None
    return str(value.astimezone(UTC).isoformat(timespec="milliseconds")).replace("+00:00", "Z")


def _read_tasks(client: Client, rows: dict[str, Rows]) -> dict[str, str]:
    """Task MoID -> descriptionId, for the queued and running tasks of hosts and VMs.

    What vCenter does not show of a task is not known of its host or VM either: it may be about to be fenced or moved.
    """
    owners = [row for kind in ("HostSystem", "VirtualMachine") for row in rows[kind].values()]
    found = read_objects(
        client, "Task", {task._moId for row in owners for task in row.get("recentTask", ())}, TASK_PATHS
    )
    hidden = {moid for moid, row in found.items() if hides_task(row)}
    for row in owners:
        if not hidden.isdisjoint(task._moId for task in row.get("recentTask", ())):
            row.unreadable |= {"recentTask"}
    return {
        moid: str(row.get("info.descriptionId", ""))
        for moid, row in found.items()
        if row.get("info.state") in ("queued", "running")
    }


def hides_task(row: Row) -> bool:
    """Whether vCenter does not show if a task runs, or what a running task does."""
    runs = row.get("info.state") in ("queued", "running")
    return "info.state" in row.unreadable or (runs and "info.descriptionId" in row.unreadable)


def _host(
    moid: str,
    row: Row,
    clusters: Rows,
    rows: dict[str, Rows],
    tasks: dict[str, str],
    domains: Mapping[str, str],
) -> HostState:
    cluster = _moid(row.get("parent"))
    entering = next((t._moId for t in row.get("recentTask", ()) if "nterMaintenance" in tasks.get(t._moId, "")), None)
    maintenance = Maintenance.ENTERING if entering else Maintenance.NORMAL
    if row.get("runtime.inMaintenanceMode"):
        maintenance = Maintenance.IN
    name = _name(row, moid)
    own = row.get(FAULT_DOMAIN)
    domain = domains.get(str(row.get("name"))) or domains.get(name) or (shortened(str(own)) if own else None)
    links = [nic.linkSpeed.speedMb for nic in row.get("config.network.pnic") or () if nic.linkSpeed is not None]
    return HostState(
        moid=moid,
        name=name,
        cluster=cluster,
        cluster_name=_name(clusters.get(cluster, Row()), cluster),
        datacenter=_datacenter(clusters.get(cluster, Row()), rows),
        fault_domain=domain,
        connection=Connection(str(row.get("runtime.connectionState", "unknown"))),
        maintenance=maintenance,
        memory_bytes=int(row.get("hardware.memorySize") or 0),
        memory_used_bytes=int(row.get("summary.quickStats.overallMemoryUsage") or 0) * MIB,
        cpu_mhz=int(row.get("summary.hardware.numCpuCores") or 0) * int(row.get("summary.hardware.cpuMhz") or 0),
        cpu_used_mhz=int(row.get("summary.quickStats.overallCpuUsage") or 0),
        vmotion_enabled=bool(row.get("summary.config.vmotionEnabled")),
        link_mbit=max(links, default=None),
        datastores=_moids(row.get("datastore")),
        networks=_moids(row.get("network")),
        maintenance_task=entering,
        threads=_whole(row.get("summary.hardware.numCpuThreads")),
        version=str(row.get("summary.config.product.version") or ""),
        vgpu_profiles=frozenset(map(text, row.get("config.sharedPassthruGpuTypes") or ())),
        standby=str(row.get("runtime.powerState")) == "standBy",
        quarantined=bool(row.get("runtime.inQuarantineMode")),
        red=str(row.get("overallStatus")) == "red",
        aliases=_aliases(row),
        failover=moid in _failover_hosts(rows["ClusterComputeResource"].get(cluster, Row())),
        datacenter_moid=_datacenter_moid(clusters.get(cluster, Row()), rows),
        gpus=_gpus(row),
        evc_mode=text(row.get(_EVC) or row.get(_EVC_MAX) or ""),
        consolidates_vgpus=row.get(_VGPU_ASSIGNMENT) == "consolidation",
        shows_config=any(path.startswith("config.") for path in row),
        environment=_moid(clusters.get(cluster, Row()).get("environmentBrowser")),
    )


def _gpus(row: Row) -> tuple[Gpu, ...] | None:
    """The cards of a host that VMs share by vGPUs, ``None`` if they could not be read."""
    if _GPUS in row.unreadable:
        return None
    cards = [card for card in row.get(_GPUS) or () if str(card.graphicsType) == "sharedDirect"]
    return tuple(
        Gpu(
            text(str(card.deviceName)),
            int(card.memorySizeInKB or 0) * 1024,
            _VGPU_MODES.get(str(getattr(card, "vgpuMode", None)), VgpuMode.SAME_SIZE),
            tuple(sorted(_moids(card.vm))),
        )
        for card in cards
    )


def _aliases(row: Row) -> frozenset[str]:
    """The host's own DNS name, with and without its domain, and the addresses of its VMkernel adapters."""
    dns = row.get(_DNS)
    name, domain = (str(getattr(dns, field, "") or "") for field in ("hostName", "domainName"))
    known = {name, f"{name}.{domain}"} if name and domain else {name}
    known |= {str(nic.spec.ip.ipAddress or "") for nic in row.get(_VNIC) or () if nic.spec.ip}
    unset = ("", "localhost", "localhost.localdomain")
    return frozenset(
        shortened(each) for each in known if each not in unset and not each.startswith(("127.", "169.254."))
    )


def _failover_hosts(cluster: Row) -> frozenset[str]:
    """The hosts that HA keeps free for a failure (``ClusterFailoverHostAdmissionControlPolicy``)."""
    policy = cluster.get("configurationEx.dasConfig.admissionControlPolicy")
    if not cluster.get("configurationEx.dasConfig.enabled") or policy is None:
        return frozenset()
    return _moids(getattr(policy, "failoverHosts", ()))


def _admission(cluster: Row) -> AdmissionControl:
    """What HA keeps free; dedicated failover hosts are a property of the hosts."""
    policy = cluster.get("configurationEx.dasConfig.admissionControlPolicy")
    switches = ("configurationEx.dasConfig.enabled", "configurationEx.dasConfig.admissionControlEnabled")
    if policy is None or not all(cluster.get(switch) for switch in switches):
        return AdmissionControl()
    level = int(getattr(policy, "failoverLevel", None) or 0)
    if isinstance(policy, vim.cluster.FailoverLevelAdmissionControlPolicy):
        return AdmissionControl(slot_hosts=level)
    if not isinstance(policy, vim.cluster.FailoverResourcesAdmissionControlPolicy):
        return AdmissionControl()
    return AdmissionControl(
        cpu_percent=int(policy.cpuFailoverResourcesPercent or 0),
        memory_percent=int(policy.memoryFailoverResourcesPercent or 0),
        hosts=level if policy.autoComputePercentages else 0,
    )


def _whole(value: Any) -> int | None:
    return int(value) if value else None


def _name(row: Row, moid: str) -> str:
    """The name of an object as it is shown everywhere: people choose names, and anybody who renames a VM is not trusted.

    A name that cannot be shown as it is gets a mark, so that two names that differ stay different.
    """
    return shortened(unescaped(str(row.get("name", moid))))


def _datacenter(row: Row, rows: dict[str, Rows]) -> str:
    """The name of the datacenter above an object that is in a folder."""
    moid = _datacenter_moid(row, rows)
    return _name(rows["Datacenter"][moid], moid) if moid else ""


def _datacenter_moid(row: Row, rows: dict[str, Rows]) -> str:
    parent = _moid(row.get("parent"))
    while parent in rows["Folder"]:
        parent = _moid(rows["Folder"][parent].get("parent"))
    return parent if parent in rows["Datacenter"] else ""


def _pool(moid: str, row: Row, rows: Rows) -> Pool:
    """A resource pool with its path: only the root pool has a parent that is not a pool."""
    names, here = list[str](), moid
    while (parent := _moid(rows[here].get("parent"))) in rows:
        names.append(_name(rows[here], here))
        here = parent
    is_root = isinstance(rows[here].get("parent"), vim.ComputeResource)
    return Pool(moid, "/".join(reversed(names)) if is_root else None, _moid(row.get("owner")))


def _vm_folders(rows: dict[str, Rows]) -> dict[str, Folder]:
    """The folders of VMs by MoID."""
    roots = {_moid(datacenter.get("vmFolder")): name for name, datacenter in rows["Datacenter"].items()}
    return {moid: folder for moid in rows["Folder"] if (folder := _vm_folder(moid, rows, roots)) is not None}


def _vm_folder(moid: str, rows: dict[str, Rows], roots: Mapping[str, str]) -> Folder | None:
    """A folder of VMs with its path; ``None`` for a folder of hosts, datastores or networks, and above data centres."""
    names, here = list[str](), moid
    while here in rows["Folder"] and here not in roots:
        names.append(_name(rows["Folder"][here], here))
        here = _moid(rows["Folder"][here].get("parent"))
    return Folder(moid, "/".join(reversed(names)), roots[here]) if here in roots else None


def _with_devices(vm: VmState, row: Row, datastores: Mapping[str, Datastore]) -> VmState:
    affinities = [row.get(path) for path in ("config.cpuAffinity", "config.memoryAffinity")]
    devices = row.get(_DEVICE) or ()
    return replace(
        vm,
        devices=tuple(_devices(devices)),
        cpu_affinity=any(getattr(affinity, "affinitySet", None) for affinity in affinities),
        unplugged_networks=_networks(devices, connected=False) - _networks(devices, connected=True),
        parts=_parts(row, {d.name: d.moid for d in datastores.values() if d.moid in vm.datastores}),
        adapters=tuple(
            Adapter(int(d.key), _network_of(d.backing), _connected(d))
            for d in devices
            if isinstance(d, vim.vm.device.VirtualEthernetCard)
        ),
    )


def read_places(client: Client, vms: Iterable[str]) -> dict[str, dict[int, str]]:
    """The datastore (MoID) of each part of VMs, by VM MoID, in two calls. Parts of which it cannot be read are left out.

    VMs that no longer exist are left out.
    """
    rows = read_existing_vms(client, list(vms), [_DEVICE, "datastore", _FILES])
    used = {moid: _moids(row.get("datastore")) for moid, row in rows.items()}
    names = read_objects(client, "Datastore", frozenset[str]().union(*used.values()), ["name"])
    return {
        moid: {
            part.key: part.datastore
            for part in _files(row, {_name(names[m], m): m for m in used[moid] if m in names}, {})
            if part.datastore
        }
        for moid, row in rows.items()
    }


def _parts(row: Row, datastores: Mapping[str, str]) -> tuple[Part, ...]:
    """The parts of a VM, if all is known of them; ``datastores``: MoID by name."""
    if _LAYOUT not in row:
        return ()
    layout = row[_LAYOUT]
    sizes = {file.key: int(file.size) for file in layout.file or ()}
    chains = {disk.key: {key for unit in disk.chain or () for key in unit.fileKey or ()} for disk in layout.disk or ()}
    of_disks = set[int]().union(*chains.values())
    taken = {key: sum(sizes.get(file, 0) for file in files) for key, files in chains.items()}
    taken[OWN_FILES] = sum(size for file, size in sizes.items() if file not in of_disks)
    return _files(row, datastores, taken)


def _files(row: Row, datastores: Mapping[str, str], taken: Mapping[int, int]) -> tuple[Part, ...]:
    """The parts of a VM that takes so many bytes for each; a thick disk takes its capacity. None if they cannot be read."""
    if _FILES not in row or _DEVICE not in row:
        return ()
    name = str(row[_FILES]).removeprefix("[").partition("] ")[0]
    parts = [Part(OWN_FILES, "files", datastores.get(shortened(unescaped(name)), ""), taken.get(OWN_FILES, 0))]
    for device in row[_DEVICE] or ():
        if isinstance(device, vim.vm.device.VirtualDisk):
            backing = device.backing
            size = taken.get(device.key, 0)
            if getattr(backing, "thinProvisioned", None) is False:
                size = max(size, int(device.capacityInBytes or 0))
            label = getattr(device.deviceInfo, "label", "") or f"disk {device.key}"
            datastore = _moid(getattr(backing, "datastore", None))
            parts.append(Part(device.key, text(label), datastore, size, _fixed(backing)))
    return tuple(parts)


def _fixed(backing: Any) -> str:
    """Why a disk with this backing cannot move to another datastore while its VM runs."""
    if str(getattr(backing, "sharing", None)) == "sharingMultiWriter":
        return "several VMs may write to it"
    if str(getattr(backing, "diskMode", "")) in ("nonpersistent", "independent_nonpersistent"):
        return "its changes are discarded at power-off"
    return ""


def _networks(devices: Iterable[Any], *, connected: bool) -> frozenset[str]:
    """MoIDs of the networks of a VM's adapters that are connected, or that are not."""
    adapters = [d for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard) and _connected(d) is connected]
    return frozenset(moid for adapter in adapters if (moid := _network_of(adapter.backing)))


def _network_of(backing: Any) -> str:
    port = getattr(backing, "port", None)
    return _moid(getattr(backing, "network", None)) or str(getattr(port, "portgroupKey", None) or "")


def _connected(device: Any) -> bool:
    return bool(getattr(getattr(device, "connectable", None), "connected", True))


def _vm(moid: str, row: Row, rows: dict[str, Rows], tasks: dict[str, str]) -> VmState:
    running = {t._moId: tasks[t._moId] for t in row.get("recentTask", ()) if t._moId in tasks}
    moving = next((task for task, name in running.items() if is_move(name)), None)
    others = (name for task, name in running.items() if task != moving)
    busy = next((name for name in others if not name.startswith(CHECKING_TASKS)), "")
    question = row.get("runtime.question")
    memory_mib = int(row.get("summary.config.memorySizeMB") or 0)
    version = str(row.get("config.version") or "").removeprefix("vmx-")
    return VmState(
        moid=moid,
        name=_name(row, moid),
        instance_uuid=str(row.get("config.instanceUuid") or ""),
        host=_moid(row.get("runtime.host")),
        power=Power(str(row.get("runtime.powerState", "unknown"))),
        memory_bytes=memory_mib * MIB,
        template=bool(row.get("config.template")),
        connection=str(row.get("runtime.connectionState", "connected")),
        folder=_folder(row, rows),
        pool=_moid(row.get("resourcePool")),
        memory_used_bytes=int(row.get("summary.quickStats.hostMemoryUsage") or 0) * MIB,
        memory_reservation_bytes=int(row.get("config.memoryAllocation.reservation") or 0) * MIB,
        cpu_reservation_mhz=int(row.get("config.cpuAllocation.reservation") or 0),
        cpus=int(row.get("summary.config.numCpu") or 1),
        cpu_used_mhz=int(row.get("summary.quickStats.overallCpuUsage") or 0),
        guest_address=str(row.get("guest.ipAddress") or ""),
        datastores=_moids(row.get("datastore")),
        networks=_moids(row.get("network")),
        disabled_methods=frozenset(row.get("disabledMethod") or ()),
        attributes=_attributes(row),
        fault_tolerance=str(row.get("runtime.faultToleranceState") or "notConfigured") != "notConfigured",
        question=text(question.text) if question is not None else "",
        managed_by=str(row.get("config.managedBy.extensionKey") or ""),
        moving_task=moving,
        busy=busy,
        datacenter=_datacenter(_above(row, rows), rows),
        evc_mode=text(row.get(_EVC_NEEDED) or ""),
        hardware_version=int(version) if version.isdecimal() else None,
        folder_moid=_moid(_above(row, rows).get("parent")),
    )


def attribute_key(fields: Iterable[Any], name: str, kind: type[Any]) -> int | None:
    """The key of the custom attribute of that name for objects of a class; ``None`` if vCenter has none.

    Several attributes may have one name: one for each class, and one for all objects. That of the class counts first.
    """
    named = [(field, getattr(field, "managedObjectType", None)) for field in fields if field.name == name]
    fitting = [(of is None, int(field.key)) for field, of in named if of is None or issubclass(kind, of)]
    return min(fitting)[1] if fitting else None


def _attributes(row: Row) -> dict[str, str]:
    """The custom attributes of a VM by name."""
    fields, values = row.get("availableField") or (), row.get("customValue") or ()
    names = {field.key: field.name for field in fields}
    if len(set(names.values())) < len(names):
        first = {attribute_key(fields, name, vim.VirtualMachine) for name in names.values()}
        values = sorted(values, key=lambda value: value.key in first)
    return {printable(str(names.get(value.key, value.key))): printable(str(value.value)) for value in values}


def _above(row: Row, rows: dict[str, Rows]) -> Row:
    """The VM's row with its folder as ``parent``: for a VM in a vApp, the folder of the outermost vApp."""
    app = _moid(row.get("parentVApp"))
    for _depth in range(len(rows["VirtualApp"])):
        folder = rows["VirtualApp"].get(app, Row()).get("parentFolder")
        if folder is not None:
            return Row({"parent": folder})
        app = _moid(rows["VirtualApp"].get(app, Row()).get("parentVApp"))
    return row


def _folder(row: Row, rows: dict[str, Rows]) -> str:
    """The path below the datacenter's VM folder, ``ml/vision``."""
    roots = {_moid(datacenter.get("vmFolder")) for datacenter in rows["Datacenter"].values()}
    names, parent = list[str](), _moid(_above(row, rows).get("parent"))
    while parent in rows["Folder"] and parent not in roots:
        names.append(_name(rows["Folder"][parent], parent))
        parent = _moid(rows["Folder"][parent].get("parent"))
    return "/".join(reversed(names))


def _devices(devices: Iterable[Any]) -> Iterator[Device]:
    """The devices that limit where a VM can move, or prevent a vMotion."""
    for device in devices:
        backing = getattr(device, "backing", None)
        kind = _device_kind(device, backing)
        if kind and (_connected(device) or kind in ("pci_passthrough", "sriov", "vgpu")):
            label = getattr(device.deviceInfo, "label", "") if device.deviceInfo else ""
            profile = text(getattr(backing, "vgpu", None)) if kind == "vgpu" else ""
            yield Device(kind, label or f"device {device.key}", profile)


def _device_kind(device: Any, backing: Any) -> str:
    types = vim.vm.device
    if isinstance(device, types.VirtualPCIPassthrough):
        return "vgpu" if isinstance(backing, types.VirtualPCIPassthrough.VmiopBackingInfo) else "pci_passthrough"
    if isinstance(device, types.VirtualSriovEthernetCard):
        return "sriov"
    if isinstance(device, types.VirtualSCSIController) and str(device.sharedBus) == "virtualSharing":
        return "shared_bus"
    if isinstance(device, types.VirtualUSB):
        # A device on a remote host is attached so that vMotion keeps it.
        return "" if isinstance(backing, types.VirtualUSB.RemoteHostBackingInfo) else "usb_host"
    if isinstance(device, types.VirtualSerialPort) and isinstance(backing, types.VirtualSerialPort.URIBackingInfo):
        return "" if backing.proxyURI else "serial_host"  # only a concentrator (vSPC) follows the VM
    on_host = isinstance(backing, (types.VirtualDevice.DeviceBackingInfo, types.VirtualDevice.RemoteDeviceBackingInfo))
    kinds = {
        types.VirtualCdrom: "cdrom_host",
        types.VirtualFloppy: "floppy_host",
        types.VirtualSerialPort: "serial_host",
        types.VirtualParallelPort: "parallel_host",
        types.VirtualSCSIPassthrough: "scsi_host",
    }
    return next((name for kind, name in kinds.items() if on_host and isinstance(device, kind)), "")


def _datastore(moid: str, row: Row, clusters: Rows) -> Datastore:
    mounts = [m for m in row.get("host") or () if m.mountInfo.accessible is not False]
    cluster = _moid(row.get("parent"))
    unread = row.unreadable.intersection(SPACE_PATHS)
    return Datastore(
        moid=moid,
        name=_name(row, moid),
        hosts=frozenset(m.key._moId for m in mounts),
        accessible=bool(row.get("summary.accessible", True)),
        url=str(row.get("summary.url") or ""),
        capacity_bytes=int(row.get("summary.capacity") or 0),
        free_bytes=None if unread or "summary.freeSpace" not in row else int(row["summary.freeSpace"]),
        cluster=_name(clusters[cluster], cluster) if cluster in clusters else "",
        storage_drs=cluster if cluster in clusters and clusters[cluster].get(_POD_DRS) else "",
        in_service=str(row.get("summary.maintenanceMode") or "normal") == "normal",
        read_only=frozenset(m.key._moId for m in mounts if str(m.mountInfo.accessMode) == "readOnly"),
    )


def _rules(clusters: Rows, kind: Any) -> Iterator[tuple[Any, Row]]:
    """The enabled rules of a class, each with the row of its cluster."""
    for row in clusters.values():
        for rule in row.get("configurationEx.rule") or ():
            if isinstance(rule, kind) and rule.enabled:
                yield rule, row


def _anti_affinity(clusters: Rows) -> Iterator[AntiAffinityRule]:
    for rule, _cluster in _rules(clusters, vim.cluster.AntiAffinityRuleSpec):
        yield AntiAffinityRule(shortened(str(rule.name)), _moids(rule.vm))


def _affinity(clusters: Rows) -> Iterator[AffinityRule]:
    for rule, _cluster in _rules(clusters, vim.cluster.AffinityRuleSpec):
        yield AffinityRule(shortened(str(rule.name)), _moids(rule.vm))


def _vm_host_rules(clusters: Rows) -> Iterator[VmHostRule]:
    for rule, cluster in _rules(clusters, vim.cluster.VmHostRuleInfo):
        groups = {group.name: group for group in cluster.get("configurationEx.group") or ()}
        vms = _moids(getattr(groups.get(rule.vmGroupName), "vm", ()))
        for name, affine in ((rule.affineHostGroupName, True), (rule.antiAffineHostGroupName, False)):
            if name:
                hosts = _moids(getattr(groups.get(name), "host", ()))
                yield VmHostRule(shortened(str(rule.name)), vms, hosts, affine, bool(rule.mandatory))


def _drs(cluster: Row | None) -> Drs:
    """DRS of a cluster, or of a standalone host (``None``), which does not have it."""
    if cluster is None:
        return Drs(Automation.DISABLED)
    config = cluster.get(_DRS)
    overrides = {_moid(o.key): _override(o) for o in cluster.get(_DRS_OVERRIDES) or ()}
    return Drs(
        automation=_automation(config),
        overrides_allowed=getattr(config, "enableVmBehaviorOverrides", None),
        overrides=None if _DRS_OVERRIDES in cluster.unreadable else overrides,
        moves_vgpus=any(_moves_vgpus(option) for option in getattr(config, "option", None) or ()),
    )


def _moves_vgpus(option: Any) -> bool:
    """Whether an advanced option makes DRS move VMs with a vGPU: the one of 8.0 U2, or that of 7.0 U3f (Broadcom KB 313479, 88271)."""
    key, value = str(option.key).lower(), str(option.value).strip()
    return (key == "passthroughdrsautomation" and value == "1") or key == "vgpummautomationtimeoutsecs"


def _automation(config: Any) -> Automation:
    """What ``ClusterDrsConfigInfo`` says. A value that is not set or not known may mean anything."""
    if getattr(config, "enabled", None) is None:
        return Automation.UNKNOWN
    return _AUTOMATION.get(str(config.defaultVmBehavior), Automation.UNKNOWN) if config.enabled else Automation.DISABLED


def read_drs_overrides(client: Client, cluster: str) -> dict[str, DrsOverride]:
    """The overrides of DRS of a cluster (MoID), by VM MoID. Raises CallFailed if they cannot be read."""
    row = read_objects(client, "ClusterComputeResource", (cluster,), [_DRS_OVERRIDES]).get(cluster)
    if row is None or _DRS_OVERRIDES in row.unreadable:
        raise CallFailed(
            "vCenter does not show the DRS overrides of the cluster",
            fault="Unreadable",
            hint="Grant the user System.Read on the cluster",
        )
    return {_moid(each.key): _override(each) for each in row.get(_DRS_OVERRIDES) or ()}


def read_fence_task(client: Client, host: str, task: str) -> tuple[FenceTask, str]:
    """How a task (MoID) ended that fences a host (MoID), if it has, and the fault that ended it, "" without one."""
    recent = read_objects(client, "HostSystem", (host,), ["recentTask"]).get(host, Row())
    others = {each._moId for each in recent.get("recentTask") or ()} - {task}
    rows = read_objects(client, "Task", others, [*TASK_PATHS, "info.queueTime"])
    try:
        own = read_objects(client, "Task", (task,), [*TASK_PATHS, "info.queueTime", "info.error"]).get(task, Row())
    except CallFailed as error:
        if not is_gone(error.fault):
            raise
        own = Row()
    state, cause = str(own.get("info.state", "")), own.get("info.error")
    if state in ("queued", "running"):
        return FenceTask.RUNNING, ""
    if state == "error":
        return FenceTask.FAILED, "" if cause is None else fault_name(cause)
    if state != "success":
        return FenceTask.HIDDEN, ""
    later = any(
        "aintenance" in str(row.get("info.descriptionId", ""))
        and _is_later(row, own)
        and row.get("info.state") != "error"
        for row in rows.values()
    )
    return FenceTask.FOLLOWED if later else FenceTask.ENTERED, ""


def _is_later(row: Row, other: Row) -> bool:
    """Whether a task was queued after another one."""
    one, two = row.get("info.queueTime"), other.get("info.queueTime")
    return one is not None and two is not None and bool(one > two)


def read_changes(client: Client, cluster: str) -> tuple[str, ...] | None:
    """The queued and running tasks (MoIDs) that change a cluster (MoID); ``None`` if vCenter does not show them."""
    row = read_objects(client, "ClusterComputeResource", (cluster,), ["recentTask"]).get(cluster)
    if row is None or "recentTask" in row.unreadable:
        return None
    tasks = read_objects(client, "Task", [task._moId for task in row.get("recentTask") or ()], TASK_PATHS)
    if any("info.state" in task.unreadable for task in tasks.values()):
        return None
    changes = {
        moid: str(task.get("info.descriptionId", ""))
        for moid, task in tasks.items()
        if task.get("info.state") in ("queued", "running")
    }
    return tuple(sorted(moid for moid, what in changes.items() if _last_word(what).startswith("reconfigure")))


def _last_word(description: str) -> str:
    return description.rsplit(".", 1)[-1].lower()


def _override(info: Any) -> DrsOverride:
    behavior = None if info.behavior is None else _AUTOMATION.get(str(info.behavior), Automation.UNKNOWN)
    return DrsOverride(info.enabled, behavior)


def _moid(reference: Any) -> str:
    return str(reference._moId) if reference is not None else ""


def _moids(references: Any) -> frozenset[str]:
    return frozenset(reference._moId for reference in references or ())
