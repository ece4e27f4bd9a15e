# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the estate: the needed property paths in bulk, with a number of calls that does not depend on its size.

The number of pages of an answer grows with the inventory: one per 500 objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from functools import partial
from operator import attrgetter
from typing import Any

from .._core.errors import CallFailed
from .._core.untrusted import printable, shortened, text
from .client import Client
from .estate import (
    Alarm,
    AntiAffinityRule,
    Connection,
    Datastore,
    Device,
    Estate,
    HostState,
    Maintenance,
    Network,
    Power,
    VcenterInfo,
    VmHostRule,
    VmState,
)
from .faults import is_gone

try:
    from pyVmomi import vim, vmodl
except ImportError:
    pass

MIB = 1024**2
_PAGE = 500
PATHS = {
    "Datacenter": ["name", "vmFolder"],
    "Folder": ["name", "parent"],
    "ComputeResource": ["name", "parent"],
    "ClusterComputeResource": ["configurationEx.rule", "configurationEx.group"],
    "Datastore": ["name", "host", "summary.accessible"],
    "Network": ["name"],
    "HostSystem": [
        "name",
        "parent",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "hardware.memorySize",
        "summary.hardware.numCpuCores",
        "summary.hardware.cpuMhz",
        "summary.quickStats.overallMemoryUsage",
        "summary.quickStats.overallCpuUsage",
        "summary.config.vmotionEnabled",
        "config.vsanHostConfig.faultDomainInfo.name",
        "config.network.pnic",
        "datastore",
        "network",
        "recentTask",
    ],
    "VirtualMachine": [
        "name",
        "config.instanceUuid",
        "config.template",
        "config.managedBy.extensionKey",
        "config.memoryAllocation.reservation",
        "summary.config.memorySizeMB",
        "summary.config.numCpu",
        "summary.quickStats.hostMemoryUsage",
        "summary.quickStats.overallCpuUsage",
        "runtime.host",
        "runtime.powerState",
        "runtime.connectionState",
        "runtime.question",
        "runtime.faultToleranceState",
        "guest.ipAddress",
        "parent",
        "resourcePool",
        "datastore",
        "network",
        "disabledMethod",
        "customValue",
        "availableField",
        "recentTask",
    ],
}
TASK_PATHS = ["info.state", "info.descriptionId"]
DEVICE_PATHS = ["config.hardware.device", "config.cpuAffinity", "config.memoryAffinity"]
MOVING_TASKS = ("relocate", "migrate")

Rows = dict[str, dict[str, Any]]


def read_vcenter(client: Client) -> VcenterInfo:
    """The vCenter's name, ID and version. A simulator is known by its name in ``about``."""
    about = client.content.about
    names = f"{about.name} {about.fullName}".lower()
    return VcenterInfo(
        name=text(about.name),
        instance_uuid=about.instanceUuid or "",
        version=text(about.version),
        simulated="simulator" in names or "vcsim" in names,
        product=text(about.fullName),
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
    rows = {kind: dict[str, dict[str, Any]]() for kind in PATHS}
    for kind, moid, properties in _read_inventory(client):
        rows[kind].setdefault(moid, {}).update(properties)
    tasks = _read_tasks(client, rows)
    clusters = rows["ComputeResource"]
    estate = Estate(
        vcenter=read_vcenter(client),
        hosts={m: _host(m, row, clusters, rows, tasks, fault_domains or {}) for m, row in rows["HostSystem"].items()},
        vms={m: _vm(m, row, rows, tasks) for m, row in rows["VirtualMachine"].items()},
        datastores={m: _datastore(m, row) for m, row in rows["Datastore"].items()},
        networks={m: Network(m, _name(row, m)) for m, row in rows["Network"].items()},
        anti_affinity=tuple(_anti_affinity(rows["ClusterComputeResource"])),
        vm_host_rules=tuple(_vm_host_rules(rows["ClusterComputeResource"])),
    )
    return read_devices(client, estate, devices_of_vms)


def read_devices(client: Client, estate: Estate, vms: Iterable[str]) -> Estate:
    """The estate with devices and affinities of VMs (MoIDs), read in one call. The rest of the estate stays as it was read."""
    rows = _read_existing_vms(client, [vm for vm in dict.fromkeys(vms) if vm in estate.vms], DEVICE_PATHS)
    return replace(estate, vms={**estate.vms, **{vm: _with_devices(estate.vms[vm], row) for vm, row in rows.items()}})


def _read_inventory(client: Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    kinds = [getattr(vim, kind) for kind in PATHS]
    content = client.content
    view = client.call(
        "list the inventory", lambda: content.viewManager.CreateContainerView(content.rootFolder, kinds, True)
    )
    try:
        traversal = vmodl.query.PropertyCollector.TraversalSpec(
            name="view", type=vim.view.ContainerView, path="view", skip=False
        )
        start = vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[traversal])
        for item in _retrieve(client, [start], PATHS):
            for kind in PATHS:
                if isinstance(item.obj, getattr(vim, kind)):
                    paths = set(PATHS[kind])
                    yield kind, item.obj._moId, {p.name: p.val for p in item.propSet if p.name in paths}
    finally:
        client.call("close the list of the inventory", view.DestroyView)


def _retrieve(client: Client, objects: list[Any], paths: Mapping[str, list[str]]) -> Iterator[Any]:
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
        yield from page.objects
        token = page.token
        if not token:
            return
        page = client.call(
            "read the next page of the inventory", partial(collector.ContinueRetrievePropertiesEx, token)
        )


def read_objects(client: Client, kind: str, moids: Iterable[str], paths: list[str]) -> Rows:
    """Properties of objects of one kind, by MoID, in one call.

    Objects that no longer exist are left out. A server that cannot do that makes it raise CallFailed (``ManagedObjectNotFound``).
    """
    objects = [
        vmodl.query.PropertyCollector.ObjectSpec(obj=client.reference(kind, moid), skip=False) for moid in sorted(moids)
    ]
    if not objects:
        return {}
    return {item.obj._moId: {p.name: p.val for p in item.propSet} for item in _retrieve(client, objects, {kind: paths})}


def read_placement(client: Client, moids: Iterable[str]) -> Rows:
    """``runtime.host`` and ``runtime.powerState`` of VMs, by MoID. VMs that no longer exist are left out."""
    return _read_existing_vms(client, list(moids), ["runtime.host", "runtime.powerState"])


def read_power_on(client: Client, moids: Iterable[str]) -> Rows:
    """``runtime.bootTime`` of VMs, by MoID. VMs that no longer exist are left out."""
    return _read_existing_vms(client, list(moids), ["runtime.bootTime"])


def _read_existing_vms(client: Client, vms: list[str], paths: list[str]) -> Rows:
    """Read VMs in one call; if one no longer exists, read each by itself and leave that one out."""
    try:
        return read_objects(client, "VirtualMachine", vms, paths)
    except CallFailed as error:
        if not is_gone(error.fault):
            raise
        if len(vms) == 1:
            return {}
        return {m: row for moid in vms for m, row in _read_existing_vms(client, [moid], paths).items()}


def read_alarms(client: Client, hosts: Iterable[str]) -> dict[str, tuple[Alarm, ...]]:
    """Alarms triggered on hosts, by host MoID and sorted by name, in two calls. Alarms of a host's VMs are left out."""
    rows = read_objects(client, "HostSystem", hosts, ["triggeredAlarmState"])
    states = {
        moid: [state for state in row.get("triggeredAlarmState") or () if state.entity._moId == moid]
        for moid, row in rows.items()
    }
    known = {state.alarm._moId for found in states.values() for state in found}
    names = {
        moid: shortened(str(row["info.name"]))
        for moid, row in read_objects(client, "alarm.Alarm", known, ["info.name"]).items()
    }
    return {
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
    }


def iso_time(value: Any) -> str | None:
    """A time of vCenter as UTC in ISO 8601, with milliseconds."""
    if value is None:
        return None
    return str(value.astimezone(UTC).isoformat(timespec="milliseconds")).replace("+00:00", "Z")


def _read_tasks(client: Client, rows: dict[str, Rows]) -> dict[str, str]:
    """Task MoID -> descriptionId, for the queued and running tasks of hosts and VMs."""
    moids = {
        task._moId for kind in ("HostSystem", "VirtualMachine") for row in rows[kind].values()
        for task in row.get("recentTask", ())
    }  # fmt: skip
    return {
        moid: str(row.get("info.descriptionId", ""))
        for moid, row in read_objects(client, "Task", moids, TASK_PATHS).items()
        if row.get("info.state") in ("queued", "running")
    }


def _host(
    moid: str,
    row: dict[str, Any],
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
    own = row.get("config.vsanHostConfig.faultDomainInfo.name")
    domain = domains.get(str(row.get("name"))) or domains.get(name) or (shortened(str(own)) if own else None)
    links = [nic.linkSpeed.speedMb for nic in row.get("config.network.pnic") or () if nic.linkSpeed is not None]
    return HostState(
        moid=moid,
        name=name,
        cluster=cluster,
        cluster_name=_name(clusters.get(cluster, {}), cluster),
        datacenter=_datacenter(clusters.get(cluster, {}), rows),
        fault_domain=domain,
        connection=Connection(str(row["runtime.connectionState"])),
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
    )


def _datacenter(cluster: dict[str, Any], rows: dict[str, Rows]) -> str:
    parent = _moid(cluster.get("parent"))
    while parent in rows["Folder"]:
        parent = _moid(rows["Folder"][parent].get("parent"))
    return _name(rows["Datacenter"].get(parent, {}), "")


def _with_devices(vm: VmState, row: dict[str, Any]) -> VmState:
    affinities = [row.get(path) for path in ("config.cpuAffinity", "config.memoryAffinity")]
    return replace(
        vm,
        devices=tuple(_devices(row.get("config.hardware.device") or ())),
        cpu_affinity=any(getattr(affinity, "affinitySet", None) for affinity in affinities),
    )


def _vm(moid: str, row: dict[str, Any], rows: dict[str, Rows], tasks: dict[str, str]) -> VmState:
    running = {t._moId: tasks[t._moId] for t in row.get("recentTask", ()) if t._moId in tasks}
    moving = next((task for task, name in running.items() if name.rsplit(".", 1)[-1].startswith(MOVING_TASKS)), None)
    busy = next((name for task, name in running.items() if task != moving), "")
    names = {field.key: field.name for field in row.get("availableField") or ()}
    question = row.get("runtime.question")
    memory_mib = int(row.get("summary.config.memorySizeMB") or 0)
    return VmState(
        moid=moid,
        name=_name(row, moid),
        instance_uuid=str(row.get("config.instanceUuid") or ""),
        host=_moid(row.get("runtime.host")),
        power=Power(str(row["runtime.powerState"])),
        memory_bytes=memory_mib * MIB,
        template=bool(row.get("config.template")),
        connection=str(row.get("runtime.connectionState", "connected")),
        folder=_folder(row, rows),
        pool=_moid(row.get("resourcePool")),
        memory_used_bytes=int(row.get("summary.quickStats.hostMemoryUsage") or 0) * MIB,
        memory_reservation_bytes=int(row.get("config.memoryAllocation.reservation") or 0) * MIB,
        cpus=int(row.get("summary.config.numCpu") or 1),
        cpu_used_mhz=int(row.get("summary.quickStats.overallCpuUsage") or 0),
        guest_address=str(row.get("guest.ipAddress") or ""),
        datastores=_moids(row.get("datastore")),
        networks=_moids(row.get("network")),
        disabled_methods=frozenset(row.get("disabledMethod") or ()),
        attributes={
            printable(str(names.get(value.key, value.key))): printable(str(value.value))
            for value in row.get("customValue") or ()
        },
        fault_tolerance=str(row.get("runtime.faultToleranceState") or "notConfigured") != "notConfigured",
        question=text(question.text) if question is not None else "",
        managed_by=str(row.get("config.managedBy.extensionKey") or ""),
        moving_task=moving,
        busy=busy,
    )


def _folder(row: dict[str, Any], rows: dict[str, Rows]) -> str:
    """The path below the datacenter's VM folder, ``ml/vision``."""
    roots = {_moid(datacenter.get("vmFolder")) for datacenter in rows["Datacenter"].values()}
    names, parent = list[str](), _moid(row.get("parent"))
    while parent in rows["Folder"] and parent not in roots:
        names.append(_name(rows["Folder"][parent], parent))
        parent = _moid(rows["Folder"][parent].get("parent"))
    return "/".join(reversed(names))


def _devices(devices: Iterable[Any]) -> Iterator[Device]:
    """The devices that prevent a vMotion."""
    for device in devices:
        kind = _device_kind(device, getattr(device, "backing", None))
        connected = getattr(getattr(device, "connectable", None), "connected", True)
        if kind and (connected or kind in ("pci_passthrough", "sriov", "vgpu")):
            label = getattr(device.deviceInfo, "label", "") if device.deviceInfo else ""
            yield Device(kind, label or f"device {device.key}")


def _device_kind(device: Any, backing: Any) -> str:
    types = vim.vm.device
    if isinstance(device, types.VirtualPCIPassthrough):
        return "vgpu" if isinstance(backing, types.VirtualPCIPassthrough.VmiopBackingInfo) else "pci_passthrough"
    if isinstance(device, types.VirtualSriovEthernetCard):
        return "sriov"
    if isinstance(device, types.VirtualUSB):
        return "usb_host"
    on_host = isinstance(backing, (types.VirtualDevice.DeviceBackingInfo, types.VirtualDevice.RemoteDeviceBackingInfo))
    kinds = {
        types.VirtualCdrom: "cdrom_host",
        types.VirtualFloppy: "floppy_host",
        types.VirtualSerialPort: "serial_host",
        types.VirtualParallelPort: "parallel_host",
    }
    return next((name for kind, name in kinds.items() if on_host and isinstance(device, kind)), "")


def _datastore(moid: str, row: dict[str, Any]) -> Datastore:
    mounts = [m for m in row.get("host") or () if m.mountInfo.accessible is not False]
    accessible = bool(row.get("summary.accessible", True))
    return Datastore(moid, _name(row, moid), frozenset(m.key._moId for m in mounts), accessible)


def _anti_affinity(clusters: Rows) -> Iterator[AntiAffinityRule]:
    for row in clusters.values():
        for rule in row.get("configurationEx.rule") or ():
            if isinstance(rule, vim.cluster.AntiAffinityRuleSpec) and rule.enabled:
                yield AntiAffinityRule(shortened(str(rule.name)), frozenset(vm._moId for vm in rule.vm))


def _vm_host_rules(clusters: Rows) -> Iterator[VmHostRule]:
    for row in clusters.values():
        groups = {group.name: group for group in row.get("configurationEx.group") or ()}
        for rule in row.get("configurationEx.rule") or ():
            if not (isinstance(rule, vim.cluster.VmHostRuleInfo) and rule.enabled and rule.mandatory):
                continue
            vms = frozenset(vm._moId for vm in getattr(groups.get(rule.vmGroupName), "vm", ()))
            for name, affine in ((rule.affineHostGroupName, True), (rule.antiAffineHostGroupName, False)):
                if name:
                    hosts = frozenset(host._moId for host in getattr(groups.get(name), "host", ()))
                    yield VmHostRule(shortened(str(rule.name)), vms, hosts, affine)


def _name(row: dict[str, Any], moid: str) -> str:
    """The name of an object as it is shown everywhere: people choose names, and anybody who renames a VM is not trusted.

    A name that cannot be shown as it is gets a mark, so that two names that differ stay different.
    """
    return shortened(str(row.get("name", moid)))


def _moid(reference: Any) -> str:
    return str(reference._moId) if reference is not None else ""


def _moids(references: Any) -> frozenset[str]:
    return frozenset(reference._moId for reference in references or ())
