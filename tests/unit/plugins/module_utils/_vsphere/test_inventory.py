# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of vCenter, and what is unknown. No property that was not read is taken for a default."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, PermissionMissing
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
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
    Gpu,
    Maintenance,
    Network,
    Part,
    Power,
    StunEstimate,
    VcenterInfo,
    VgpuMode,
    VgpuProfile,
    VmHostRule,
    hides_mode,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import (
    STOCK_SIMULATOR,
    Row,
    _drs,
    _gpus,
    is_move,
    iso_time,
    read_alarms,
    read_devices,
    read_drs_overrides,
    read_estate,
    read_graphics,
    read_hosts,
    read_objects,
    read_placement,
    read_places,
    read_power_on,
    read_vcenter,
)
from pyVmomi import vim, vmodl

from tests.builders.estates import GIB
from tests.doubles.stub import Server

MissingProperty = vmodl.query.PropertyCollector.MissingProperty
CONFIG, OVERRIDES = "configurationEx.drsConfig", "configurationEx.drsVmConfig"


def config(**values: Any) -> Any:
    return vim.cluster.DrsConfigInfo(enableVmBehaviorOverrides=True, **values)


def override(vm: str, **values: Any) -> Any:
    return vim.cluster.DrsVmConfigInfo(key=vim.VirtualMachine(vm, None), **values)


@pytest.mark.parametrize(
    ("found", "automation"),
    [
        (config(enabled=True, defaultVmBehavior="fullyAutomated"), Automation.FULL),
        (config(enabled=True, defaultVmBehavior="partiallyAutomated"), Automation.PARTIAL),
        (config(enabled=True, defaultVmBehavior="manual"), Automation.MANUAL),
        (config(enabled=False, defaultVmBehavior="fullyAutomated"), Automation.DISABLED),
        (config(enabled=True), Automation.UNKNOWN),
        (config(defaultVmBehavior="manual"), Automation.UNKNOWN),
    ],
)
def test_the_automation_of_a_cluster(found: Any, automation: Automation) -> None:
    assert _drs(Row({CONFIG: found})) == Drs(automation, overrides_allowed=True, overrides={})


@pytest.mark.parametrize(
    ("key", "value", "moves"),
    [
        ("PassthroughDrsAutomation", "1", True),
        ("passthroughdrsautomation", 1, True),
        ("PassthroughDrsAutomation", "0", False),
        ("VgpuMMAutomationTimeoutSecs", "-1", True),
        ("LBMaxVmotionPerHost", "1", False),
    ],
)
def test_an_advanced_option_makes_drs_move_vms_with_vgpus(key: str, value: object, moves: bool) -> None:
    option = vim.option.OptionValue(key=key, value=value)
    assert _drs(Row({CONFIG: config(enabled=True, option=[option])})).moves_vgpus is moves


def card(**values: Any) -> Any:
    known = {
        "deviceName": "NVIDIA Tesla V100",
        "vendorName": "NVIDIA",
        "pciId": "0000:3b:00.0",
        "memorySizeInKB": 16 * 1024**2,
    }
    return vim.host.GraphicsInfo(**{**known, "graphicsType": "sharedDirect", **values})


def test_the_gpus_of_a_host() -> None:
    vms = [vim.VirtualMachine("vm-2", None), vim.VirtualMachine("vm-1", None)]
    found = [card(vm=vms, vgpuMode="mixedSize"), card(graphicsType="basic"), card(memorySizeInKB=0, vgpuMode="none")]
    assert _gpus(Row({"config.graphicsInfo": found})) == (
        Gpu("NVIDIA Tesla V100", 16 * 2**30, VgpuMode.MIXED_SIZE, ("vm-1", "vm-2")),
        Gpu("NVIDIA Tesla V100", 0),
    )
    assert _gpus(Row({})) == ()
    assert _gpus(Row({}, unreadable=["config.graphicsInfo"])) is None


def test_overrides_keep_what_is_not_set() -> None:
    drs = _drs(
        Row(
            {
                CONFIG: config(enabled=True, defaultVmBehavior="fullyAutomated"),
                OVERRIDES: [
                    override("vm-1", enabled=False),
                    override("vm-2", enabled=True, behavior="manual"),
                    override("vm-3", behavior="fullyAutomated"),
                ],
            }
        )
    )
    assert drs.overrides == {
        "vm-1": DrsOverride(enabled=False),
        "vm-2": DrsOverride(enabled=True, behavior=Automation.MANUAL),
        "vm-3": DrsOverride(behavior=Automation.FULL),
    }


def test_what_could_not_be_read_is_unknown() -> None:
    assert _drs(Row({}, unreadable=[CONFIG, OVERRIDES])) == Drs(Automation.UNKNOWN, None, None)
    assert _drs(Row({}, unreadable=[CONFIG])).automation is Automation.UNKNOWN
    assert _drs(Row({CONFIG: config(enabled=True)}, unreadable=[OVERRIDES])).overrides is None


def test_a_host_without_a_cluster_has_no_drs() -> None:
    assert _drs(None).automation is Automation.DISABLED


@pytest.mark.parametrize(
    "task", ["Drm.ExecuteVMotionLRO", "VirtualMachine.relocate", "VirtualMachine.migrate", "drm.executevmotionlro"]
)
def test_a_vmotion_of_drs_is_a_move(task: str) -> None:
    assert is_move(task)
    assert not is_move("VirtualMachine.createSnapshot")


# What follows is read from a whole vCenter, as the modules read it.


def world() -> Server:
    """A data centre with a cluster of two hosts, a datastore, a network, and a VM in a folder and a resource pool."""
    server = Server()
    ref = {kind: getattr(vim, kind) for kind in ("Folder", "ClusterComputeResource", "ResourcePool")}
    dc = server.add(vim.Datacenter, "datacenter-1", {"name": "DC", "vmFolder": ref["Folder"]("group-v1", server)})
    server.add(vim.Folder, "group-v1", {"name": "vm", "parent": dc})
    server.add(vim.Folder, "group-v2", {"name": "ml", "parent": ref["Folder"]("group-v1", server)})
    server.add(vim.Folder, "group-v3", {"name": "vision", "parent": ref["Folder"]("group-v2", server)})
    server.add(vim.Folder, "group-h1", {"name": "host", "parent": dc})
    cluster = server.add(
        vim.ClusterComputeResource,
        "domain-c1",
        {
            "name": "ml-cluster",
            "parent": ref["Folder"]("group-h1", server),
            "environmentBrowser": vim.EnvironmentBrowser("envbrowser-1", server),
        },
    )
    root = server.add(vim.ResourcePool, "resgroup-1", {"name": "Resources", "parent": cluster, "owner": cluster})
    pool = server.add(vim.ResourcePool, "resgroup-2", {"name": "ml", "parent": root, "owner": cluster})
    server.add(vim.ResourcePool, "resgroup-3", {"name": "gpu", "parent": pool, "owner": cluster})
    store = server.add(vim.Datastore, "datastore-1", {"name": "shared"})
    network = server.add(vim.Network, "network-1", {"name": "ml-net"})
    seen = {"datastore": [store], "network": [network]}
    hosts = [server.add(vim.HostSystem, f"host-{n}", {"name": f"esx-{n}", "parent": cluster, **seen}) for n in (1, 2)]
    folder = ref["Folder"]("group-v3", server)
    properties = {"name": "ml-1", "runtime.host": hosts[0], "parent": folder, "resourcePool": pool, **seen}
    server.add(vim.VirtualMachine, "vm-1", properties)
    return server


def knows(server: Server, moid: str, unreadable: Iterable[str] = (), **properties: Any) -> Server:
    """The server with further properties of an object; ``__`` in a name is a dot."""
    reference, values, denied = server.objects[moid]
    further = {path.replace("__", "."): value for path, value in properties.items()}
    server.objects[moid] = (reference, {**values, **further}, denied | frozenset(unreadable))
    return server


def test_everything_has_its_place() -> None:
    server = world()
    found = read_estate(server.client())
    assert found.vcenter == VcenterInfo(
        "VMware vCenter Server", "1111aaaa", "8.0.3", False, "VMware vCenter Server 8.0.3", "vc"
    )
    host, machine = found.hosts["host-1"], found.vms["vm-1"]
    assert (host.name, host.cluster, host.cluster_name) == ("esx-1", "domain-c1", "ml-cluster")
    assert (host.datacenter, host.datacenter_moid, host.environment) == ("DC", "datacenter-1", "envbrowser-1")
    assert (host.datastores, host.networks) == ({"datastore-1"}, {"network-1"})
    assert (machine.name, machine.host, machine.pool) == ("ml-1", "host-1", "resgroup-2")
    assert (machine.folder, machine.folder_moid, machine.datacenter) == ("ml/vision", "group-v3", "DC")
    assert (machine.datastores, machine.networks) == ({"datastore-1"}, {"network-1"})
    assert {m: p.path for m, p in found.pools.items()} == {"resgroup-1": "", "resgroup-2": "ml", "resgroup-3": "ml/gpu"}
    assert {p.cluster for p in found.pools.values()} == {"domain-c1"}
    assert {m: (f.path, f.datacenter) for m, f in found.folders.items()} == {
        "group-v1": ("", "datacenter-1"),
        "group-v2": ("ml", "datacenter-1"),
        "group-v3": ("ml/vision", "datacenter-1"),
    }
    assert found.networks == {"network-1": Network("network-1", "ml-net", "Network")}
    assert found.unreadable == {}


def test_hosts_alone_are_read_without_vms() -> None:
    found = read_hosts(world().client(), fault_domains={"esx-2": "rack-b"})
    assert {host.name: host.fault_domain for host in found.hosts.values()} == {"esx-1": None, "esx-2": "rack-b"}
    assert found.hosts["host-1"].datacenter == "DC"
    assert (found.vms, found.datastores, found.networks, found.pools, found.folders) == ({}, {}, {}, {}, {})


def test_an_inventory_of_several_pages_is_read_whole() -> None:
    server = world()
    for number in range(2, 1203):
        server.add(vim.VirtualMachine, f"vm-{number}", {"name": f"ml-{number}"})
    found = read_estate(server.client())
    assert {machine.name for machine in found.vms.values()} == {f"ml-{number}" for number in range(1, 1203)}
    assert len(server.asked("ContinueRetrievePropertiesEx")) == 2


def big_world() -> Server:
    server = world()
    for number in range(2, 502):
        server.add(vim.VirtualMachine, f"vm-{number}", {"name": f"ml-{number}"})
    return server


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), vmodl.fault.InvalidArgument()])
def test_a_lost_page_makes_the_read_begin_again(error: Exception) -> None:
    """A page cannot be asked for twice."""
    server = big_world()
    server.broken["ContinueRetrievePropertiesEx"] = [error]
    assert len(read_estate(server.client()).vms) == 501


def test_a_page_that_may_not_be_read_is_an_error() -> None:
    server = big_world()
    server.broken["ContinueRetrievePropertiesEx"] = [vim.fault.NoPermission()]
    with pytest.raises(PermissionMissing):
        read_estate(server.client())


def test_the_list_of_the_inventory_is_closed_and_it_does_no_harm_if_that_fails() -> None:
    server = world()
    server.broken["DestroyView"] = [ConnectionResetError("reset")]
    assert read_estate(server.client()).vms.keys() == {"vm-1"}
    server.broken["RetrievePropertiesEx"] = [vmodl.fault.InvalidArgument()]
    with pytest.raises(CallFailed):
        read_estate(server.client())
    assert len(server.asked("DestroyView")) == 2


def test_a_session_that_ended_is_not_an_inventory_without_properties() -> None:
    """vCenter answers with HTTP 200, and every property is missing."""
    server = world()
    read, ended = server.answers["RetrievePropertiesEx"], [True]

    def answer(collector: Any, specs: Any, options: Any) -> Any:
        found = read(collector, specs, options)
        if ended and ended.pop():
            for each in found.objects:
                missing = [p.name for p in each.propSet]
                each.propSet = []
                each.missingSet = [MissingProperty(path=p, fault=vim.fault.NotAuthenticated()) for p in missing]
        return found

    server.answers["RetrievePropertiesEx"] = answer
    client = server.client()
    assert read_estate(client).vms["vm-1"].name == "ml-1"
    assert client.renewed == 1


def test_an_object_that_vanished_meanwhile_is_left_out() -> None:
    server = world()
    server.add(vim.VirtualMachine, "vm-2", {"name": "ml-2"})
    rows = read_objects(server.client(), "VirtualMachine", ["vm-1", "vm-2", "vm-3"], ["name"])
    assert {moid: dict(row) for moid, row in rows.items()} == {"vm-1": {"name": "ml-1"}, "vm-2": {"name": "ml-2"}}


def test_nothing_is_asked_about_no_objects() -> None:
    server = world()
    assert read_objects(server.client(), "VirtualMachine", [], ["name"]) == {}
    assert server.calls == []


def test_a_server_that_cannot_leave_out_deleted_vms_is_asked_about_each() -> None:
    server = world()
    server.add(vim.VirtualMachine, "vm-3", {"runtime.bootTime": None})
    read = server.answers["RetrievePropertiesEx"]

    def answer(collector: Any, specs: Any, options: Any) -> Any:
        specs[0].reportMissingObjectsInResults = False
        return read(collector, specs, options)

    server.answers["RetrievePropertiesEx"] = answer
    client = server.client()
    assert read_placement(client, ["vm-1", "vm-2"]).keys() == {"vm-1"}
    assert read_placement(client, ["vm-2"]) == {}
    assert read_power_on(client, ["vm-1", "vm-2", "vm-3"]).keys() == {"vm-1", "vm-3"}


def test_vms_that_cannot_be_read_for_another_reason_are_an_error() -> None:
    server = world()
    server.broken["RetrievePropertiesEx"] = [vmodl.fault.InvalidArgument()]
    with pytest.raises(CallFailed, match="InvalidArgument"):
        read_placement(server.client(), ["vm-1", "vm-2"])


@pytest.mark.parametrize(
    ("name", "full_name", "uuid", "simulated"),
    [
        ("VMware vCenter Server", "VMware vCenter Server 8.0.3 build-1", "u", False),
        ("VMware vCenter Server (govmomi simulator)", "x", "u", True),
        ("VMware vCenter Server", "VCSIM 0.55", "u", True),
        ("VMware vCenter Server", "VMware vCenter Server 8.0.3", STOCK_SIMULATOR, True),
    ],
)
def test_a_simulator_is_recognised(name: str, full_name: str, uuid: str, simulated: bool) -> None:
    server = Server(uuid)
    server.content.about.name, server.content.about.fullName = name, full_name
    assert read_vcenter(server.client()).simulated is simulated


# hosts


def host_with(unreadable: Iterable[str] = (), **properties: Any) -> Any:
    return read_estate(knows(world(), "host-1", unreadable, **properties).client()).hosts["host-1"]


def link(mbit: int | None) -> Any:
    speed = None if mbit is None else vim.host.PhysicalNic.LinkSpeedDuplex(speedMb=mbit, duplex=True)
    return vim.host.PhysicalNic(linkSpeed=speed)


def vmkernel(address: str | None) -> Any:
    ip = None if address is None else vim.host.IpConfig(ipAddress=address or None)
    return vim.host.VirtualNic(spec=vim.host.VirtualNic.Specification(ip=ip))


@pytest.mark.parametrize(
    ("properties", "field", "value"),
    [
        ({"runtime__connectionState": "notResponding"}, "connection", Connection.NOT_RESPONDING),
        ({}, "connection", Connection.UNKNOWN),
        ({"runtime__inMaintenanceMode": True}, "maintenance", Maintenance.IN),
        ({"runtime__inMaintenanceMode": False}, "maintenance", Maintenance.NORMAL),
        ({"runtime__inQuarantineMode": True}, "quarantined", True),
        ({"runtime__powerState": "standBy"}, "standby", True),
        ({"runtime__powerState": "poweredOn"}, "standby", False),
        ({"overallStatus": "red"}, "red", True),
        ({"overallStatus": "yellow"}, "red", False),
        ({"hardware__memorySize": 64 * GIB}, "memory_bytes", 64 * GIB),
        ({"summary__quickStats__overallMemoryUsage": 3 * 1024}, "memory_used_bytes", 3 * GIB),
        ({"summary__hardware__numCpuCores": 16, "summary__hardware__cpuMhz": 2500}, "cpu_mhz", 40_000),
        ({"summary__hardware__numCpuCores": 16}, "cpu_mhz", 0),
        ({"summary__hardware__cpuMhz": 2500}, "cpu_mhz", 0),
        ({"summary__quickStats__overallCpuUsage": 700}, "cpu_used_mhz", 700),
        ({"summary__hardware__numCpuThreads": 32}, "threads", 32),
        ({"summary__hardware__numCpuThreads": 0}, "threads", None),
        ({"summary__config__vmotionEnabled": True}, "vmotion_enabled", True),
        ({}, "vmotion_enabled", False),
        ({"summary__config__product__version": "8.0.2"}, "version", "8.0.2"),
        ({"config__network__pnic": [link(1000), link(None), link(25_000)]}, "link_mbit", 25_000),
        ({"config__network__pnic": [link(None)]}, "link_mbit", None),
        ({"config__sharedPassthruGpuTypes": ["grid_t4-4q"]}, "vgpu_profiles", {"grid_t4-4q"}),
        ({"config__graphicsConfig__sharedPassthruAssignmentPolicy": "consolidation"}, "consolidates_vgpus", True),
        ({"config__graphicsConfig__sharedPassthruAssignmentPolicy": "performance"}, "consolidates_vgpus", False),
        ({"config__vsanHostConfig__faultDomainInfo__name": "rack-a"}, "fault_domain", "rack-a"),
        ({}, "fault_domain", None),
        ({"runtime__connectionState": "notResponding", "name": "esx-1"}, "shows_config", False),
        ({"config__network__pnic": [link(None)]}, "shows_config", True),
        ({"name": "esx%2f1"}, "name", "esx/1"),
    ],
)
def test_a_property_of_a_host(properties: dict[str, Any], field: str, value: object) -> None:
    assert getattr(host_with(**properties), field) == value


@pytest.mark.parametrize(
    "path", ["hardware.memorySize", "summary.quickStats.overallMemoryUsage", "summary.config.vmotionEnabled"]
)
def test_a_host_that_does_not_show_what_decides_is_unreadable(path: str) -> None:
    found = read_estate(knows(world(), "host-1", [path]).client())
    assert found.unreadable == {"host-1": {path}}
    assert (found.hosts["host-1"].memory_bytes, found.hosts["host-1"].memory_used_bytes) == (0, 0)


@pytest.mark.parametrize("path", ["config.network.vnic", "config.network.dnsConfig", "config.graphicsInfo"])
def test_what_only_helps_may_be_unreadable(path: str) -> None:
    assert read_estate(knows(world(), "host-1", [path]).client()).unreadable == {}


def test_a_given_fault_domain_comes_before_that_of_vsan() -> None:
    server = knows(world(), "host-1", config__vsanHostConfig__faultDomainInfo__name="rack-a", name="esx%2f1")
    for name in ("esx%2f1", "esx/1"):
        assert read_estate(server.client(), fault_domains={name: "rack-z"}).hosts["host-1"].fault_domain == "rack-z"


def test_the_addresses_of_a_host_are_its_names_too() -> None:
    nics = [vmkernel("10.0.0.1"), vmkernel("169.254.0.7"), vmkernel("127.0.0.1"), vmkernel(""), vmkernel(None)]
    dns = vim.host.DnsConfig(hostName="esx-1", domainName="lab.example.com")
    found = host_with(config__network__vnic=nics, config__network__dnsConfig=dns)
    assert found.aliases == {"esx-1", "esx-1.lab.example.com", "10.0.0.1"}


@pytest.mark.parametrize(
    ("name", "domain", "aliases"),
    [("esx-1", "", {"esx-1"}), ("", "lab", set()), ("localhost", "localdomain", set())],
)
def test_a_name_that_every_host_may_have_is_not_an_alias(name: str, domain: str, aliases: set[str]) -> None:
    dns = vim.host.DnsConfig(hostName=name, domainName=domain)
    assert host_with(config__network__dnsConfig=dns).aliases == aliases


def task(server: Server, moid: str, description: str, state: str = "running") -> Any:
    return server.add(vim.Task, moid, {"info.state": state, "info.descriptionId": description})


@pytest.mark.parametrize(
    ("description", "state", "maintenance"),
    [
        ("HostSystem.enterMaintenanceMode", "running", Maintenance.ENTERING),
        ("EnterMaintenanceMode", "queued", Maintenance.ENTERING),
        ("HostSystem.enterMaintenanceMode", "success", Maintenance.NORMAL),
        ("HostSystem.exitMaintenanceMode", "running", Maintenance.NORMAL),
    ],
)
def test_a_host_enters_maintenance_mode_while_its_task_runs(
    description: str, state: str, maintenance: Maintenance
) -> None:
    server = world()
    running = task(server, "task-1", description, state)
    other = task(server, "task-0", "HostSystem.rescan")
    found = read_estate(knows(server, "host-1", recentTask=[other, running]).client()).hosts["host-1"]
    assert found.maintenance is maintenance
    assert found.maintenance_task == ("task-1" if maintenance is Maintenance.ENTERING else None)
    server = knows(server, "host-1", runtime__inMaintenanceMode=True)
    assert read_estate(server.client()).hosts["host-1"].maintenance is Maintenance.IN


# HA, DRS and rules


DAS = "configurationEx__dasConfig__"


def cluster_with(unreadable: Iterable[str] = (), **properties: Any) -> Estate:
    return read_estate(knows(world(), "domain-c1", unreadable, **properties).client())


LEVEL = vim.cluster.FailoverLevelAdmissionControlPolicy(failoverLevel=2)
PERCENT = vim.cluster.FailoverResourcesAdmissionControlPolicy(
    cpuFailoverResourcesPercent=25, memoryFailoverResourcesPercent=30, autoComputePercentages=False, failoverLevel=1
)
COMPUTED = vim.cluster.FailoverResourcesAdmissionControlPolicy(
    cpuFailoverResourcesPercent=50, memoryFailoverResourcesPercent=50, autoComputePercentages=True, failoverLevel=1
)
UNSET = vim.cluster.FailoverResourcesAdmissionControlPolicy(autoComputePercentages=True)
DEDICATED = vim.cluster.FailoverHostAdmissionControlPolicy(failoverHosts=[vim.HostSystem("host-2", None)])


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (LEVEL, AdmissionControl(slot_hosts=2)),
        (PERCENT, AdmissionControl(cpu_percent=25, memory_percent=30)),
        (COMPUTED, AdmissionControl(cpu_percent=50, memory_percent=50, hosts=1)),
        (UNSET, AdmissionControl()),
        (DEDICATED, AdmissionControl()),
        (None, AdmissionControl()),
    ],
)
def test_what_ha_keeps_free(policy: Any, kept: AdmissionControl) -> None:
    ha = {f"{DAS}enabled": True, f"{DAS}admissionControlEnabled": True}
    assert cluster_with(**ha, **{f"{DAS}admissionControlPolicy": policy}).admission == {"domain-c1": kept}


@pytest.mark.parametrize("off", ["enabled", "admissionControlEnabled"])
def test_without_ha_or_admission_control_nothing_is_kept_free(off: str) -> None:
    switches = {"enabled": True, "admissionControlEnabled": True, off: False}
    ha = {f"{DAS}{name}": value for name, value in switches.items()}
    assert cluster_with(**ha, **{f"{DAS}admissionControlPolicy": LEVEL}).admission == {"domain-c1": AdmissionControl()}


@pytest.mark.parametrize(
    ("enabled", "policy", "kept"),
    [(True, DEDICATED, {"host-2"}), (False, DEDICATED, set()), (True, LEVEL, set()), (True, None, set())],
)
def test_a_dedicated_failover_host_is_known_while_ha_is_on(enabled: bool, policy: Any, kept: set[str]) -> None:
    found = cluster_with(**{f"{DAS}enabled": enabled, f"{DAS}admissionControlPolicy": policy})
    assert {host.moid for host in found.hosts.values() if host.failover} == kept


def test_the_drs_of_each_cluster_and_standalone_host() -> None:
    server = knows(world(), "domain-c1", **{CONFIG: config(enabled=True, defaultVmBehavior="manual")})
    server.add(vim.ComputeResource, "domain-s2", {"name": "esx-9"})
    found = read_estate(server.client())
    assert {moid: drs.automation for moid, drs in found.drs.items()} == {
        "domain-c1": Automation.MANUAL,
        "domain-s2": Automation.DISABLED,
    }


def test_drs_does_not_decide_whether_a_vm_may_move_but_rules_do() -> None:
    rule = "configurationEx.rule"
    assert cluster_with([CONFIG, OVERRIDES]).unreadable == {}
    assert cluster_with([CONFIG, rule]).unreadable == {"domain-c1": {rule}}


def test_the_rules_of_a_cluster_that_is_not_shown_are_not_none() -> None:
    """A user may see hosts, and not their cluster: the role was granted on the hosts themselves."""
    server = world()
    del server.objects["domain-c1"]
    found = read_estate(server.client())
    assert "configurationEx.rule" in found.unreadable["domain-c1"]
    assert found.drs_of(found.hosts["host-1"]).automation is Automation.UNKNOWN
    plan = make_plan(found, PlanRequest(("vm-1",)))
    assert "domain-c1: " in "; ".join(r.object for r in plan.refusals[0].reasons if r.check == "unreadable")
    standalone = vim.ComputeResource("domain-s1", None)
    for host in ("host-1", "host-2"):
        knows(server, host, parent=standalone)
    assert read_estate(server.client()).unreadable == {}


def refs(*vms: str) -> list[Any]:
    return [vim.VirtualMachine(vm, None) for vm in vms]


def test_enabled_rules_of_vms() -> None:
    rules = [
        vim.cluster.AntiAffinityRuleSpec(name="apart", enabled=True, vm=refs("vm-1", "vm-2")),
        vim.cluster.AffinityRuleSpec(name="together", enabled=True, vm=refs("vm-1", "vm-3")),
        vim.cluster.AntiAffinityRuleSpec(name="off", enabled=False, vm=refs("vm-1", "vm-4")),
        vim.cluster.AffinityRuleSpec(name="unset", vm=refs("vm-1", "vm-4")),
    ]
    found = cluster_with(configurationEx__rule=rules)
    assert found.anti_affinity == (AntiAffinityRule("apart", frozenset({"vm-1", "vm-2"})),)
    assert found.affinity == (AffinityRule("together", frozenset({"vm-1", "vm-3"})),)


def test_rules_between_vms_and_hosts() -> None:
    groups = [
        vim.cluster.VmGroup(name="ml", vm=refs("vm-1")),
        vim.cluster.HostGroup(name="gpu", host=[vim.HostSystem("host-1", None)]),
        vim.cluster.HostGroup(name="old", host=[vim.HostSystem("host-2", None)]),
    ]
    rules = [
        vim.cluster.VmHostRuleInfo(
            name="both", enabled=True, mandatory=True, vmGroupName="ml", affineHostGroupName="gpu", antiAffineHostGroupName="old"
        ),
        vim.cluster.VmHostRuleInfo(name="soft", enabled=True, mandatory=False, vmGroupName="ml", antiAffineHostGroupName="old"),
        vim.cluster.VmHostRuleInfo(name="lost", enabled=True, vmGroupName="gone", affineHostGroupName="gone"),
    ]  # fmt: skip
    vms, gpu, old = (frozenset({moid}) for moid in ("vm-1", "host-1", "host-2"))
    assert cluster_with(configurationEx__rule=rules, configurationEx__group=groups).vm_host_rules == (
        VmHostRule("both", vms, gpu, affine=True, mandatory=True),
        VmHostRule("both", vms, old, affine=False, mandatory=True),
        VmHostRule("soft", vms, old, affine=False, mandatory=False),
        VmHostRule("lost", frozenset(), frozenset(), affine=True, mandatory=False),
    )


def test_overrides_of_drs_that_a_run_will_set_again_must_be_readable() -> None:
    server = knows(world(), "domain-c1", **{OVERRIDES: [override("vm-1", enabled=False)]})
    assert read_drs_overrides(server.client(), "domain-c1") == {"vm-1": DrsOverride(enabled=False)}
    assert read_drs_overrides(world().client(), "domain-c1") == {}
    for moid, hidden in (("domain-c1", [OVERRIDES]), ("domain-c9", [])):
        with pytest.raises(CallFailed, match="does not show the DRS overrides"):
            read_drs_overrides(knows(world(), "domain-c1", hidden).client(), moid)


def test_an_override_that_this_version_does_not_know_is_unknown() -> None:
    info = SimpleNamespace(key=vim.VirtualMachine("vm-1", None), enabled=None, behavior="telepathic")
    assert _drs(Row({OVERRIDES: [info]})).overrides == {"vm-1": DrsOverride(None, Automation.UNKNOWN)}


# datastores


def mount(host: str, *, accessible: bool | None = True, mode: str = "readWrite") -> Any:
    info = vim.host.MountInfo(accessible=accessible, accessMode=mode)
    return vim.Datastore.HostMount(key=vim.HostSystem(host, None), mountInfo=info)


def datastore_with(unreadable: Iterable[str] = (), **properties: Any) -> Datastore:
    server = knows(world(), "datastore-1", unreadable, **properties)
    return read_estate(server.client()).datastores["datastore-1"]


def test_the_hosts_of_a_datastore_are_those_that_reach_it() -> None:
    """A host of which it is not said whether it reaches the datastore counts."""
    mounts = [mount("host-1"), mount("host-2", accessible=False), mount("host-3", accessible=None, mode="readOnly")]
    found = datastore_with(host=[*mounts, mount("host-4", accessible=False, mode="readOnly")])
    assert (found.hosts, found.read_only) == ({"host-1", "host-3"}, {"host-3"})


@pytest.mark.parametrize(
    ("properties", "field", "value"),
    [
        ({"summary__accessible": False}, "accessible", False),
        ({}, "accessible", True),
        ({"summary__url": "ds:///vmfs/volumes/1/"}, "url", "ds:///vmfs/volumes/1/"),
        ({"summary__capacity": 5 * GIB}, "capacity_bytes", 5 * GIB),
        ({}, "capacity_bytes", 0),
        ({"summary__freeSpace": 0}, "free_bytes", 0),
        ({"summary__freeSpace": 2 * GIB}, "free_bytes", 2 * GIB),
        ({}, "free_bytes", None),
        ({"summary__maintenanceMode": "normal"}, "in_service", True),
        ({"summary__maintenanceMode": "enteringMaintenance"}, "in_service", False),
        ({"summary__maintenanceMode": "inMaintenance"}, "in_service", False),
        ({}, "in_service", True),
    ],
)
def test_a_property_of_a_datastore(properties: dict[str, Any], field: str, value: object) -> None:
    assert getattr(datastore_with(**properties), field) == value


@pytest.mark.parametrize("path", ["summary.capacity", "summary.freeSpace", "summary.maintenanceMode", "parent"])
def test_space_is_unknown_if_something_of_it_could_not_be_read(path: str) -> None:
    assert datastore_with([path], summary__freeSpace=GIB).free_bytes is None
    assert read_estate(knows(world(), "datastore-1", [path]).client()).unreadable == {}


def test_a_datastore_whose_hosts_cannot_be_read_is_unreadable() -> None:
    assert read_estate(knows(world(), "datastore-1", ["host"]).client()).unreadable == {"datastore-1": {"host"}}


@pytest.mark.parametrize(("enabled", "storage_drs"), [(True, "group-p1"), (False, ""), (None, "")])
def test_the_cluster_of_a_datastore(enabled: bool | None, storage_drs: str) -> None:
    server = world()
    path = "podStorageDrsEntry.storageDrsConfig.podConfig.enabled"
    known = {} if enabled is None else {path: enabled}
    pod = server.add(vim.StoragePod, "group-p1", {"name": "pod", **known})
    found = read_estate(knows(server, "datastore-1", parent=pod).client()).datastores["datastore-1"]
    assert (found.cluster, found.storage_drs) == ("pod", storage_drs)


def test_a_datastore_in_a_folder_has_no_cluster() -> None:
    found = datastore_with(parent=vim.Folder("group-s1", None))
    assert (found.cluster, found.storage_drs) == ("", "")


def test_a_port_group_of_a_distributed_switch_is_known_by_its_class() -> None:
    server = world()
    server.add(vim.dvs.DistributedVirtualPortgroup, "dvportgroup-1", {"name": "ml%2f1"})
    assert read_estate(server.client()).networks["dvportgroup-1"] == Network(
        "dvportgroup-1", "ml/1", "DistributedVirtualPortgroup"
    )


# VMs


def vm_with(unreadable: Iterable[str] = (), **properties: Any) -> Any:
    return read_estate(knows(world(), "vm-1", unreadable, **properties).client()).vms["vm-1"]


@pytest.mark.parametrize(
    ("properties", "field", "value"),
    [
        ({"config__instanceUuid": "u1"}, "instance_uuid", "u1"),
        ({"runtime__powerState": "suspended"}, "power", Power.SUSPENDED),
        ({}, "power", Power.UNKNOWN),
        ({"summary__config__memorySizeMB": 4096}, "memory_bytes", 4 * GIB),
        ({}, "memory_bytes", 0),
        ({"summary__quickStats__hostMemoryUsage": 2048}, "memory_used_bytes", 2 * GIB),
        ({}, "memory_used_bytes", 0),
        ({"config__memoryAllocation__reservation": 1024}, "memory_reservation_bytes", GIB),
        ({}, "memory_reservation_bytes", 0),
        ({"config__cpuAllocation__reservation": 500}, "cpu_reservation_mhz", 500),
        ({}, "cpu_reservation_mhz", 0),
        ({"summary__config__numCpu": 8}, "cpus", 8),
        ({}, "cpus", 1),
        ({"summary__quickStats__overallCpuUsage": 900}, "cpu_used_mhz", 900),
        ({}, "cpu_used_mhz", 0),
        ({"config__template": True}, "template", True),
        ({"runtime__connectionState": "orphaned"}, "connection", "orphaned"),
        ({}, "connection", "connected"),
        ({"guest__ipAddress": "10.0.0.9"}, "guest_address", "10.0.0.9"),
        ({"config__managedBy__extensionKey": "com.vmware.vim.eam"}, "managed_by", "com.vmware.vim.eam"),
        ({"runtime__faultToleranceState": "notConfigured"}, "fault_tolerance", False),
        ({"runtime__faultToleranceState": "running"}, "fault_tolerance", True),
        ({}, "fault_tolerance", False),
        ({"config__version": "vmx-21"}, "hardware_version", 21),
        ({"config__version": "vmx-next"}, "hardware_version", None),
        ({}, "hardware_version", None),
        ({"runtime__question": vim.vm.QuestionInfo(text="Moved or copied?")}, "question", "Moved or copied?"),
        ({}, "question", ""),
        ({"disabledMethod": ["RelocateVM_Task"]}, "disabled_methods", {"RelocateVM_Task"}),
        ({"runtime__host": None}, "host", ""),
    ],
)
def test_a_property_of_a_vm(properties: dict[str, Any], field: str, value: object) -> None:
    assert getattr(vm_with(**properties), field) == value


def test_a_vm_that_does_not_show_a_property_is_unreadable() -> None:
    found = read_estate(knows(world(), "vm-1", ["runtime.question"]).client())
    assert found.unreadable == {"vm-1": {"runtime.question"}}


def test_custom_attributes_have_their_names() -> None:
    fields = [SimpleNamespace(key=101, name="liveml_home")]
    values = [SimpleNamespace(key=101, value="home\x1b"), SimpleNamespace(key=102, value="x")]
    assert vm_with(availableField=fields, customValue=values).attributes == {"liveml_home": "home ", "102": "x"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_attribute_of_vms_counts_before_one_of_all_objects_with_its_name(order: int) -> None:
    fields = [
        SimpleNamespace(key=101, name="liveml_home", managedObjectType=None),
        SimpleNamespace(key=102, name="liveml_home", managedObjectType=vim.VirtualMachine),
        SimpleNamespace(key=103, name="owner", managedObjectType=None),
    ]
    values = [SimpleNamespace(key=key, value=f"value {key}") for key in (101, 102, 103)]
    found = vm_with(availableField=fields[::order], customValue=values[::order]).attributes
    assert found == {"liveml_home": "value 102", "owner": "value 103"}
    found = vm_with(availableField=fields[::order], customValue=values[:1]).attributes
    assert found == {"liveml_home": "value 101"}


@pytest.mark.parametrize(
    ("tasks", "moving", "busy"),
    [
        ([("VirtualMachine.relocate", "running")], "task-0", ""),
        ([("Drm.ExecuteVMotionLRO", "queued")], "task-0", ""),
        ([("VirtualMachine.relocate", "success")], None, ""),
        ([("VirtualMachine.createSnapshot", "running")], None, "VirtualMachine.createSnapshot"),
        ([("vm.check.ProvisioningChecker.checkRelocate", "running")], None, ""),
        (
            [("VirtualMachine.createSnapshot", "running"), ("VirtualMachine.migrate", "running")],
            "task-1",
            "VirtualMachine.createSnapshot",
        ),
    ],
)
def test_a_task_moves_a_vm_or_locks_it(tasks: list[tuple[str, str]], moving: str | None, busy: str) -> None:
    server = world()
    recent = [task(server, f"task-{n}", *each) for n, each in enumerate(tasks)]
    found = read_estate(knows(server, "vm-1", recentTask=recent).client()).vms["vm-1"]
    assert (found.moving_task, found.busy) == (moving, busy)


def test_a_vm_in_a_vapp_is_in_the_folder_of_the_outermost_one() -> None:
    server = world()
    outer = server.add(vim.VirtualApp, "resgroup-v1", {"name": "outer", "parentFolder": vim.Folder("group-v2", None)})
    inner = server.add(vim.VirtualApp, "resgroup-v2", {"name": "inner", "parentVApp": outer})
    found = read_estate(knows(server, "vm-1", parent=None, parentVApp=inner).client()).vms["vm-1"]
    assert (found.folder, found.folder_moid, found.datacenter) == ("ml", "group-v2", "DC")


def test_a_vm_whose_vapp_is_not_shown_has_no_known_folder() -> None:
    found = vm_with(parent=None, parentVApp=vim.VirtualApp("resgroup-v9", None))
    assert (found.folder, found.folder_moid, found.datacenter) == ("", "", "")


def test_a_pool_below_one_that_is_not_shown_is_not_the_root_pool() -> None:
    """A user may see a pool, and not the one above it: the role was granted on the pool itself."""
    server = world()
    del server.objects["resgroup-2"]
    assert {m: p.path for m, p in read_estate(server.client()).pools.items()} == {"resgroup-1": "", "resgroup-3": None}
    assert read_estate(knows(server, "resgroup-3", ["parent"]).client()).pools["resgroup-3"].path is None


def test_a_folder_without_a_readable_name_is_shown_by_its_moid() -> None:
    server = world()
    for moid in ("group-v2", "resgroup-2"):
        del server.objects[moid][1]["name"]
    found = read_estate(server.client())
    assert found.folders["group-v3"].path == "group-v2/vision"
    assert found.vms["vm-1"].folder == "group-v2/vision"
    assert found.pools["resgroup-3"].path == "resgroup-2/gpu"


# devices and files of VMs


types = vim.vm.device
HOST_BACKING = {"deviceName": "/dev/0"}


def device(made: Any, key: int = 1, label: str | None = "dev", connected: bool | None = None) -> Any:
    made.key = key
    made.deviceInfo = None if label is None else vim.Description(label=label, summary="")
    if connected is not None:
        made.connectable = types.VirtualDevice.ConnectInfo(connected=connected)
    return made


def with_devices(*devices: Any, **properties: Any) -> Any:
    server = knows(world(), "vm-1", config__hardware__device=list(devices), **properties)
    return read_estate(server.client(), devices_of_vms=["vm-1", "gone"]).vms["vm-1"]


URI = types.VirtualSerialPort.URIBackingInfo


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (types.VirtualPCIPassthrough(), "pci_passthrough"),
        (types.VirtualSriovEthernetCard(), "sriov"),
        (types.ParaVirtualSCSIController(sharedBus="virtualSharing"), "shared_bus"),
        (types.ParaVirtualSCSIController(sharedBus="physicalSharing"), ""),
        (types.VirtualUSB(), "usb_host"),
        (types.VirtualUSB(backing=types.VirtualUSB.RemoteHostBackingInfo(hostname="host-1")), ""),
        (types.VirtualSerialPort(backing=URI(serviceURI="telnet://:1", direction="server")), "serial_host"),
        (types.VirtualSerialPort(backing=URI(serviceURI="telnet://:1", direction="server", proxyURI="vspc")), ""),
        (types.VirtualSerialPort(backing=types.VirtualSerialPort.DeviceBackingInfo(**HOST_BACKING)), "serial_host"),
        (types.VirtualSerialPort(backing=types.VirtualSerialPort.FileBackingInfo(fileName="x")), ""),
        (types.VirtualParallelPort(backing=types.VirtualParallelPort.DeviceBackingInfo(**HOST_BACKING)), "parallel_host"),
        (types.VirtualCdrom(backing=types.VirtualCdrom.AtapiBackingInfo(**HOST_BACKING)), "cdrom_host"),
        (types.VirtualCdrom(backing=types.VirtualCdrom.RemotePassthroughBackingInfo(**HOST_BACKING)), "cdrom_host"),
        (types.VirtualCdrom(backing=types.VirtualCdrom.IsoBackingInfo(fileName="[shared] x.iso")), ""),
        (types.VirtualFloppy(backing=types.VirtualFloppy.DeviceBackingInfo(**HOST_BACKING)), "floppy_host"),
        (types.VirtualSCSIPassthrough(backing=types.VirtualSCSIPassthrough.DeviceBackingInfo(**HOST_BACKING)), "scsi_host"),
        (types.VirtualE1000(), ""),
    ],
)  # fmt: skip
def test_a_device_keeps_a_vm_on_its_host_or_does_not(made: Any, kind: str) -> None:
    assert with_devices(device(made)).devices == ((Device(kind, "dev"),) if kind else ())


def vgpu(profile: str = "grid_t4-4q") -> Any:
    return types.VirtualPCIPassthrough(backing=types.VirtualPCIPassthrough.VmiopBackingInfo(vgpu=profile))


def test_a_vgpu_has_a_profile() -> None:
    assert with_devices(device(vgpu(), label=None)).devices == (Device("vgpu", "device 1", "grid_t4-4q"),)


def test_a_disconnected_device_holds_nothing_unless_it_is_passed_through() -> None:
    cdrom = types.VirtualCdrom(backing=types.VirtualCdrom.AtapiBackingInfo(**HOST_BACKING))
    assert with_devices(device(cdrom, connected=False)).devices == ()
    assert with_devices(device(cdrom, connected=True)).devices == (Device("cdrom_host", "dev"),)
    held = [types.VirtualPCIPassthrough(), types.VirtualSriovEthernetCard(), vgpu()]
    found = with_devices(*(device(each, connected=False) for each in held)).devices
    assert [each.kind for each in found] == ["pci_passthrough", "sriov", "vgpu"]


def adapter(key: int, network: str = "", group: str = "", connected: bool = True) -> Any:
    card = types.VirtualEthernetCard
    backing = (
        card.DistributedVirtualPortBackingInfo(port=vim.dvs.PortConnection(switchUuid="s", portgroupKey=group))
        if group
        else card.NetworkBackingInfo(deviceName="x", network=vim.Network(network, None) if network else None)
    )
    return device(types.VirtualVmxnet3(backing=backing), key, connected=connected)


def test_the_networks_of_adapters() -> None:
    found = with_devices(adapter(4000, "network-1"), adapter(4001, group="dvportgroup-1"), adapter(4002))
    assert found.adapters == (
        Adapter(4000, "network-1"),
        Adapter(4001, "dvportgroup-1"),
        Adapter(4002, ""),
    )
    assert found.unplugged_networks == frozenset()


def test_a_target_may_lack_a_network_that_only_disconnected_adapters_use() -> None:
    found = with_devices(
        adapter(4000, "network-1"),
        adapter(4001, "network-1", connected=False),
        adapter(4002, "network-2", connected=False),
    )
    assert found.unplugged_networks == {"network-2"}
    assert [each.connected for each in found.adapters] == [True, False, False]


@pytest.mark.parametrize("path", ["config__cpuAffinity", "config__memoryAffinity"])
def test_an_affinity_to_processors_or_nodes(path: str) -> None:
    assert with_devices(**{path: vim.vm.AffinityInfo(affinitySet=[0])}).cpu_affinity
    assert not with_devices(**{path: vim.vm.AffinityInfo(affinitySet=[])}).cpu_affinity


def disk(
    key: int,
    store: str = "datastore-1",
    *,
    thin: bool | None = True,
    size: int = 0,
    label: str | None = "Hard disk",
    **backing: Any,
) -> Any:
    info = types.VirtualDisk.FlatVer2BackingInfo(
        fileName="", datastore=vim.Datastore(store, None), thinProvisioned=thin, **{"diskMode": "persistent", **backing}
    )
    return device(types.VirtualDisk(backing=info, capacityInBytes=size), key, label)


def layout(files: dict[int, int], **disks: list[list[int]]) -> Any:
    """Sizes by key of a file, and the files of each unit of each disk (``d2000``)."""
    chains = [
        vim.vm.FileLayoutEx.DiskLayout(
            key=int(name[1:]), chain=[vim.vm.FileLayoutEx.DiskUnit(fileKey=unit) for unit in units]
        )
        for name, units in disks.items()
    ]
    infos = [vim.vm.FileLayoutEx.FileInfo(key=key, size=size, name="", type="") for key, size in files.items()]
    return vim.vm.FileLayoutEx(file=infos, disk=chains)


def files(name: str, known: Any = None) -> dict[str, Any]:
    return {"config__files__vmPathName": name, "layoutEx": known}


def test_the_parts_of_a_vm_and_what_they_take() -> None:
    known = layout({1: 10, 2: 3, 3: 100, 4: 20, 5: 7}, d2000=[[3], [4]], d2001=[[5, 6]])
    found = with_devices(
        disk(2000, size=999),
        disk(2001, "datastore-2", thin=False, size=50, label=None),
        disk(2002, thin=None, size=9),
        **files("[shared] ml-1/ml-1.vmx", known),
    )
    assert found.parts == (
        Part(0, "files", "datastore-1", 13),
        Part(2000, "Hard disk", "datastore-1", 120),
        Part(2001, "disk 2001", "datastore-2", 50),
        Part(2002, "Hard disk", "datastore-1", 0),
    )


def test_a_thick_disk_with_snapshots_takes_more_than_its_capacity() -> None:
    found = with_devices(disk(2000, thin=False, size=50), **files("[shared] x", layout({1: 60}, d2000=[[1]])))
    assert found.parts[1].size == 60


def test_files_on_a_datastore_that_the_vm_does_not_show_are_nowhere_known() -> None:
    assert with_devices(**files("[other] x/x.vmx", layout({}))).parts == (Part(0, "files", "", 0),)


@pytest.mark.parametrize("hidden", ["config.files.vmPathName", "layoutEx", "config.hardware.device"])
def test_without_all_of_them_no_part_of_a_vm_is_known(hidden: str) -> None:
    properties = {"config__hardware__device": [disk(2000)], **files("[shared] x", layout({}))}
    server = knows(world(), "vm-1", [hidden], **properties)
    found = read_estate(server.client(), devices_of_vms=["vm-1"])
    assert found.vms["vm-1"].parts == ()
    assert found.unreadable == ({"vm-1": {hidden}} if hidden == "config.hardware.device" else {})


@pytest.mark.parametrize(
    ("backing", "why"),
    [
        ({"sharing": "sharingMultiWriter"}, "several VMs may write to it"),
        ({"sharing": "sharingNone"}, ""),
        ({"diskMode": "independent_nonpersistent"}, "its changes are discarded at power-off"),
        ({"diskMode": "nonpersistent"}, "its changes are discarded at power-off"),
        ({"diskMode": "independent_persistent"}, ""),
    ],
)
def test_a_disk_that_cannot_move_says_why(backing: dict[str, str], why: str) -> None:
    found = with_devices(disk(2000, **backing), **files("[shared] x", layout({})))
    assert found.parts[1].fixed == why


def test_what_was_unreadable_before_stays_so_when_devices_are_read() -> None:
    server = knows(world(), "vm-1", ["runtime.question", "config.cpuAffinity"])
    server.add(vim.VirtualMachine, "vm-2", {"name": "ml-2"}, ["runtime.question"])
    client = server.client()
    found = read_devices(client, read_estate(client), ["vm-1", "vm-1"])
    assert found.unreadable == {"vm-1": {"runtime.question", "config.cpuAffinity"}, "vm-2": {"runtime.question"}}


def test_where_the_parts_of_vms_are_now() -> None:
    properties = {"config__hardware__device": [disk(2000), disk(2001, "datastore-9")], **files("[shared] x/x.vmx")}
    server = knows(world(), "vm-1", **properties)
    server.add(vim.VirtualMachine, "vm-2", {"config.hardware.device": [disk(2000)]})
    found = read_places(server.client(), ["vm-1", "vm-2", "vm-3"])
    assert found == {"vm-1": {0: "datastore-1", 2000: "datastore-1", 2001: "datastore-9"}, "vm-2": {}}


def test_a_part_of_which_the_place_cannot_be_read_is_left_out() -> None:
    known = {"config__hardware__device": [disk(2000)], **files("[hidden] x/x.vmx")}
    assert read_places(knows(world(), "vm-1", **known).client(), ["vm-1"]) == {"vm-1": {2000: "datastore-1"}}


# GPUs and alarms


def gpu_world() -> Server:
    cards = [card(vm=refs("vm-1", "vm-2"))]
    known = {"config__sharedPassthruGpuTypes": ["grid_t4-4q"], "config__graphicsInfo": cards}
    server = knows(world(), "host-1", runtime__connectionState="connected", **known)
    knows(server, "vm-1", config__hardware__device=[device(vgpu()), device(types.VirtualUSB())])
    server.add(vim.VirtualMachine, "vm-2", {}, ["config.hardware.device"])
    estimates = [
        SimpleNamespace(migrationBW=10_000, stunTime=3),
        SimpleNamespace(migrationBW=1, stunTime=9),
        SimpleNamespace(migrationBW=0, stunTime=99),
    ]
    info = SimpleNamespace(profileName="grid_t4-4q", fbSizeInGib=4, stunTimeEstimates=estimates)
    older = SimpleNamespace(profileName="grid_t4-2q", fbSizeInGib=None)
    server.answers["QueryConfigTarget"] = SimpleNamespace(vgpuProfileInfo=[info, older])
    return server


def graphics_of(server: Server, *profiles: str) -> Estate:
    client = server.client()
    return read_graphics(client, read_estate(client), profiles)


def test_what_hosts_say_of_vgpus_and_the_vgpus_on_their_gpus() -> None:
    server = gpu_world()
    found = graphics_of(server, "grid_t4-4q")
    assert found.vgpus == {"vm-1": ("grid_t4-4q",)}
    estimates = (StunEstimate(10_000, 3), StunEstimate(1, 9))
    assert found.vgpu_profiles == {"host-1": {"grid_t4-4q": VgpuProfile(4, estimates), "grid_t4-2q": VgpuProfile(0)}}
    assert [arguments[0]._moId for arguments in server.asked("QueryConfigTarget")] == ["host-1"]


def test_only_connected_hosts_that_offer_a_wanted_profile_are_asked() -> None:
    assert graphics_of(gpu_world(), "other").vgpu_profiles == {}
    away = knows(gpu_world(), "host-1", runtime__connectionState="disconnected")
    assert graphics_of(away, "grid_t4-4q").vgpu_profiles == {}
    homeless = knows(gpu_world(), "domain-c1", environmentBrowser=None)
    assert graphics_of(homeless, "grid_t4-4q").vgpu_profiles == {}


@pytest.mark.parametrize("error", [vim.fault.NoPermission(), vmodl.fault.NotSupported()])
def test_what_a_host_does_not_say_of_its_profiles_is_unknown(error: Exception) -> None:
    server = gpu_world()
    server.answers["QueryConfigTarget"] = error
    assert graphics_of(server, "grid_t4-4q").vgpu_profiles == {}
    server.answers["QueryConfigTarget"] = None
    assert graphics_of(server, "grid_t4-4q").vgpu_profiles == {"host-1": {}}


def alarm(name: str, entity: Any, status: str, acknowledged: bool | None = None) -> Any:
    return vim.alarm.AlarmState(
        key=name, entity=entity, alarm=vim.alarm.Alarm(name, None), overallStatus=status, acknowledged=acknowledged
    )


def test_the_alarms_of_hosts_are_theirs_and_sorted_by_name() -> None:
    server = world()
    host, machine = (server.objects[moid][0] for moid in ("host-1", "vm-1"))
    states = [
        alarm("alarm-2", host, "red", True),
        alarm("alarm-1", host, "yellow"),
        alarm("alarm-9", host, "red"),
        alarm("alarm-3", machine, "red"),
    ]
    knows(server, "host-1", triggeredAlarmState=states)
    server.add(vim.alarm.Alarm, "alarm-1", {"info.name": "Z memory"})
    server.add(vim.alarm.Alarm, "alarm-2", {"info.name": "A fan"})
    assert read_alarms(server.client(), ["host-1", "host-2"]) == {
        "host-1": (Alarm("A fan", "red", True), Alarm("Z memory", "yellow"), Alarm("alarm-9", "red")),
        "host-2": (),
    }


def test_alarms_that_vcenter_does_not_show_are_not_none() -> None:
    server = world()
    knows(server, "host-1", unreadable=["triggeredAlarmState"])
    assert read_alarms(server.client(), ["host-1", "host-2"]) == {"host-1": None, "host-2": ()}


def test_an_alarm_whose_name_vcenter_does_not_show_may_be_any() -> None:
    server = world()
    states = [alarm(name, server.objects["host-1"][0], "red") for name in ("alarm-1", "alarm-2")]
    knows(server, "host-1", triggeredAlarmState=states)
    server.add(vim.alarm.Alarm, "alarm-1", {"info.name": "Fan"})
    server.add(vim.alarm.Alarm, "alarm-2", {"info.name": "Memory"}, unreadable=["info.name"])
    assert read_alarms(server.client(), ["host-1", "host-2"]) == {"host-1": None, "host-2": ()}


@pytest.mark.parametrize(
    ("values", "hidden", "unknown"),
    [
        ({}, ["info.state", "info.descriptionId"], True),
        ({"info.descriptionId": "VirtualMachine.relocate"}, ["info.state"], True),
        ({"info.state": "running"}, ["info.descriptionId"], True),
        ({"info.state": "success"}, ["info.descriptionId"], False),
    ],
)
def test_a_task_that_vcenter_does_not_show_may_fence_its_host_or_move_its_vm(
    values: dict[str, Any], hidden: list[str], unknown: bool
) -> None:
    server = world()
    for moid, task in (("host-1", "task-1"), ("vm-1", "task-2")):
        reference = server.add(vim.Task, task, values, unreadable=hidden)
        knows(server, moid, recentTask=[reference])
    found = read_estate(server.client())
    assert {moid for moid in found.unreadable if found.hides(moid, "recentTask")} == (
        {"host-1", "vm-1"} if unknown else set()
    )
    assert hides_mode(found, found.hosts["host-1"]) is unknown


def test_times_are_utc_with_milliseconds() -> None:
    at = datetime(2026, 3, 1, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert iso_time(at) == "2026-03-01T11:00:00.123Z"
    assert iso_time(None) is None
