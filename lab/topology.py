# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The topology file, which describes the SDDC: read it, fill in defaults, check it as a whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from lab.errors import LabError
from lab.fields import (
    BOOLEAN,
    COUNT,
    MAPPING,
    NOT_NEGATIVE,
    POSITIVE,
    TEXT,
    TEXTS,
    WHOLE,
    Field,
    check_keys,
    list_of,
    name_place,
    nullable,
    one_of,
    read,
    read_all,
)
from lab.live.machine import MEMORY_MB, NETWORKS, LiveSpec
from lab.training_spec import Training, read_trainings

NAMES = list_of(TEXT)
EVERYWHERE = NAMES.optional(["*"])
EVC_MODES = {
    "intel": "merom penryn nehalem westmere sandybridge ivybridge haswell broadwell skylake cascadelake icelake sapphirerapids",
    "amd": "bulldozer piledriver steamroller zen zen2 zen3 zen4",
}
EVC = one_of("", *(f"{vendor}-{mode}" for vendor, modes in EVC_MODES.items() for mode in modes.split())).optional("")
DEVICES = (
    "passthrough", "cdrom_host", "cdrom_iso", "usb_host", "usb_remote", "serial_uri", "serial_proxy", "scsi_host",
    "shared_bus",
)  # fmt: skip
DEVICE = Field(
    f"one of {', '.join(DEVICES)}, vgpu and vgpu:PROFILE",
    lambda v: isinstance(v, str) and (v in DEVICES or v == "vgpu" or bool(re.fullmatch(r"vgpu:\S+", v))),
)
MAX_REAL_VMS = 2  # each emulates a processor
GUEST_NUMBERS = range(1, 255)
VERSION = re.compile(r"\d+\.\d+\.\d+")
SHORT = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")  # it is a part of file names

RULE = {
    "name": TEXT,
    "kind": one_of("anti_affinity", "affinity", "vm_host"),
    "vms": NAMES,
    "hosts": NAMES,
    "mandatory": BOOLEAN.optional(True),
    "enabled": BOOLEAN.optional(True),
}
DRS_LEVELS = ("manual", "partial", "full")
DRS = one_of(*DRS_LEVELS)
OVERRIDE = one_of(*DRS_LEVELS, "disabled")
DATACENTER = {"name": TEXT, "folders": nullable(NAMES)}
CLUSTER = {
    "name": TEXT,
    "datacenter": nullable(TEXT),
    "resource_pools": nullable(NAMES),
    "drs": Field(f"false, true or {DRS.words}", lambda v: isinstance(v, bool) or DRS.check(v)).optional(False),
    "drs_overrides": Field(
        f"a mapping of VM names to {OVERRIDE.words}",
        lambda v: isinstance(v, dict) and all(TEXT.check(name) and OVERRIDE.check(level) for name, level in v.items()),
    ).optional({}),
    "drs_allow_overrides": BOOLEAN.optional(True),
    "drs_moves_vgpus": BOOLEAN.optional(False),
    "evc": EVC,
    "drs_vmotion_rate": Field("a whole number from 1 to 5", lambda v: COUNT.check(v) and v <= 5).optional(3),
    "drs_interval": NOT_NEGATIVE.optional(300),
    "rules": list_of(MAPPING),
    "failover_hosts": NAMES,
    "failover_percent": nullable(Field("a whole number from 1 to 100", lambda v: COUNT.check(v) and v <= 100)),
    "failover_level": nullable(COUNT),
    "failover_slots": nullable(COUNT),
}
FAILOVER = ("failover_hosts", "failover_percent", "failover_level", "failover_slots")
DATASTORE = {
    "name": TEXT,
    "capacity_gb": POSITIVE,
    "free_gb": NOT_NEGATIVE,
    "hosts": EVERYWHERE,
    "local": BOOLEAN.optional(False),
    "type": one_of("vsan", "VMFS", "NFS").optional("VMFS"),
    "dead_on": NAMES,
    "datastore_cluster": TEXT.optional(""),
    "latency_ms": NOT_NEGATIVE.optional(0),
    "maintenance": BOOLEAN.optional(False),
}
POLICY = {"name": TEXT, "datastores": NAMES}
DISK = {
    "size_gb": POSITIVE,
    "used_gb": nullable(NOT_NEGATIVE),
    "thin": BOOLEAN.optional(True),
    "datastore": nullable(TEXT),
    "multi_writer": BOOLEAN.optional(False),
    "storage_policy": nullable(TEXT),
}
DEFAULT_DISK = {"size_gb": 40, "used_gb": 10}
NETWORK = {"name": TEXT, "datacenter": nullable(TEXT), "hosts": EVERYWHERE}
GPU = {"model": TEXT, "memory_gb": POSITIVE, "vgpu_mode": one_of("sameSize", "mixedSize").optional("sameSize")}
ESTIMATES = Field(
    "a mapping of vGPU profiles to pairs of Mbit/s and seconds",
    lambda v: (
        isinstance(v, dict)
        and all(
            TEXT.check(profile)
            and isinstance(pairs, list)
            and all(isinstance(pair, list) and len(pair) == 2 and all(map(COUNT.check, pair)) for pair in pairs)
            for profile, pairs in v.items()
        )
    ),
)
HOST = {
    "name": TEXT,
    "cluster": nullable(TEXT),
    "datacenter": nullable(TEXT),
    "fault_domain": TEXT.optional(""),
    "cores": COUNT,
    "mhz": COUNT,
    "memory_gb": POSITIVE,
    "cpu_used_mhz": WHOLE.optional(0),
    "memory_used_gb": NOT_NEGATIVE.optional(1),
    "link_mbit": nullable(COUNT),
    "connection": one_of("connected", "disconnected").optional("connected"),
    "maintenance": BOOLEAN.optional(False),
    "vmotion": BOOLEAN.optional(True),
    "esxi": TEXT.optional("8.0.2"),
    "quarantine": BOOLEAN.optional(False),
    "gpus": list_of(MAPPING),
    "vgpu_profiles": NAMES,
    "vgpu_assignment": one_of("performance", "consolidation").optional("performance"),
    "stun_estimates": ESTIMATES.optional({}),
    "cpu_features": NAMES,
    "evc_max": EVC,
    "standby": BOOLEAN.optional(False),
}
VM = {
    "name": TEXT,
    "host": TEXT,
    "folder": TEXT.optional(""),
    "pool": TEXT.optional(""),
    "memory_gb": POSITIVE,
    "memory_reservation_gb": NOT_NEGATIVE.optional(0),
    "cpus": COUNT,
    "cpu_used_mhz": WHOLE.optional(0),
    "cpu_reservation_mhz": WHOLE.optional(0),
    "memory_used_gb": nullable(NOT_NEGATIVE),
    "power": one_of("on", "off", "suspended").optional("on"),
    "template": BOOLEAN.optional(False),
    "datastores": NAMES,
    "disks": list_of(MAPPING),
    "storage_policy": TEXT.optional(""),
    "networks": NAMES,
    "devices": list_of(DEVICE),
    "vgpu_used_gb": nullable(NOT_NEGATIVE),
    "disabled_methods": NAMES,
    "attributes": TEXTS.optional({}),
    "cpu_affinity": list_of(WHOLE),
    "managed_by": TEXT.optional(""),
    "hardware_version": COUNT.optional(19),
    "cpu_features": NAMES,
    "evc": EVC,
    "guest_number": nullable(Field("a number from 1 to 254", lambda v: WHOLE.check(v) and v in GUEST_NUMBERS)),
    "stun_seconds": nullable(POSITIVE),
    "tools": BOOLEAN.optional(True),
    "h2o3": nullable(MAPPING),
    "qemu": nullable(MAPPING),
}
QEMU = {
    "run": one_of(*MEMORY_MB),
    "memory_mb": nullable(COUNT),
    "dirty_mb_s": WHOLE.optional(0),
    "network": one_of(*NETWORKS).optional(NETWORKS[0]),
}
H2O3 = {
    "heap_mb": COUNT.optional(2048),
    "threads": COUNT.optional(2),
    "nice": Field("a whole number from 0 to 19", lambda v: WHOLE.check(v) and v <= 19).optional(10),
    "cloud": nullable(TEXT),
    "train": Field("a mapping or a list of mappings", lambda v: isinstance(v, dict | list)).optional([]),
}
VCENTER = {
    "name": TEXT.optional("vcenter.lab"),
    "version": Field("a version such as 8.0.3", lambda v: isinstance(v, str) and bool(VERSION.fullmatch(v))).optional(
        "8.0.3"
    ),
    "link_mbit": COUNT.optional(10_000),
    "storage_mb_s": COUNT.optional(1000),
    "language": one_of("en", "de").optional("en"),
    "task_seconds": POSITIVE.optional(600),
    "datacenter": TEXT.optional("DC-west"),
    "datacenters": list_of(MAPPING),
    "clusters": list_of(MAPPING),
    "datastores": list_of(MAPPING),
    "storage_policies": list_of(MAPPING),
    "storage_drs": NAMES,
    "policy_service": BOOLEAN.optional(True),
    "networks": list_of(MAPPING),
    "folders": NAMES,
    "resource_pools": NAMES,
    "defaults": MAPPING.optional({}),
    "hosts": list_of(MAPPING),
    "vms": list_of(MAPPING),
    "fleet": nullable(MAPPING),
}
TOPOLOGY = {
    "name": VCENTER["name"],
    "time_scale": POSITIVE.optional(1.0),
    **VCENTER,
    "vcenters": list_of(MAPPING),
}
OTHER = {
    **VCENTER,
    "name": Field(
        "a name of small letters, digits and hyphens", lambda v: isinstance(v, str) and bool(SHORT.fullmatch(v))
    ),
    "certificate": one_of("valid", "expired").optional("valid"),
    "wan": MAPPING.optional({}),
}
WAN = {"mbit": COUNT.optional(10_000), "latency_ms": NOT_NEGATIVE.optional(10)}
FLEET = {"clusters": COUNT, "hosts": COUNT, "vms": COUNT}
FLEET_DOMAINS = 3
DEFAULTS = {"host": MAPPING.optional({}), "vm": MAPPING.optional({})}


@dataclass(frozen=True)
class Guest:
    """A real H2O-3 server that runs in a VM. ``heap_mb`` in MiB; servers of one ``cloud`` are nodes of one cluster."""

    heap_mb: int
    threads: int
    nice: int
    trainings: tuple[Training, ...]
    cloud: str | None = None


@dataclass(frozen=True)
class Topology:
    """A checked topology. ``vms[i]`` has guest number ``numbers[i]`` (0: no address), and the server or real VM ``guests[i]`` or None.

    All of it belongs to the first vCenter; ``others`` are the topologies of the others.
    """

    sddc: dict[str, Any]
    vms: tuple[dict[str, Any], ...]
    numbers: tuple[int, ...]
    guests: tuple[Guest | LiveSpec | None, ...]
    others: tuple[Topology, ...] = ()

    @property
    def vcenters(self) -> tuple[Topology, ...]:
        """One topology for each vCenter; that of the first one is first."""
        return self, *self.others

    @property
    def all_guests(self) -> list[Guest | LiveSpec]:
        """Servers and real VMs of all vCenters."""
        return [guest for each in self.vcenters for guest in each.guests if guest is not None]

    @property
    def all_numbers(self) -> list[int]:
        """Guest numbers of all vCenters, of the VMs that have an address."""
        return [number for each in self.vcenters for number in each.numbers if number]

    @property
    def drs(self) -> str:
        """The automation of DRS of the first cluster: off, or one of ``DRS_LEVELS``."""
        return str(self.sddc["clusters"][0]["drs"])

    def with_drs(self, level: str) -> Topology:
        """The topology with another automation of DRS, the same in all clusters of the first vCenter."""
        clusters = [each if each["standalone"] else {**each, "drs": level} for each in self.sddc["clusters"]]
        return replace(self, sddc={**self.sddc, "clusters": clusters})


def load(path: Path) -> Topology:
    """Read a topology file.

    Raises:
        LabError: it cannot be read, is not YAML, or has an error, whose place is named.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"--topology {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"--topology {path} is not valid YAML: {error}") from error
    return parse(document)


def parse(document: Any) -> Topology:
    """Check a topology that has been parsed; see :func:`load`."""
    top = read("the file", document, TOPOLOGY)
    given = read_all("vcenters", top.pop("vcenters"), OTHER)
    topology = replace(parse_vcenter(top), others=tuple(parse_other(index, each) for index, each in enumerate(given)))
    check_unique("names of vCenters", [each.sddc["name"] for each in topology.vcenters], "rename one")
    check_unique("guest numbers", topology.all_numbers, "set guest_number")
    check_real(
        [
            (vm["name"], guest)
            for each in topology.vcenters
            for vm, guest in zip(each.vms, each.guests, strict=True)
            if isinstance(guest, LiveSpec)
        ]
    )
    return topology


def parse_other(index: int, given: dict[str, Any]) -> Topology:
    """The SDDC of another vCenter. Errors name the vCenter after the place in it."""
    place = name_place("vcenters", index, given)
    given["wan"] = read(f"{place}.wan", given["wan"], WAN)
    try:
        return parse_vcenter(given)
    except LabError as error:
        raise LabError(f"{error} (in {place})") from error


def parse_vcenter(top: dict[str, Any]) -> Topology:
    """Check the SDDC of one vCenter, whose keys have been read."""
    defaults = read("defaults", top.pop("defaults"), DEFAULTS)
    check_keys("defaults.host", defaults["host"], HOST)
    check_keys("defaults.vm", defaults["vm"], VM)
    add_fleet(top)
    top["clusters"] = read_all("clusters", top["clusters"], CLUSTER)
    for cluster in top["clusters"]:
        cluster["rules"] = read_all(f"rules of {cluster['name']}", cluster["rules"], RULE)
        cluster["drs"] = {False: "off", True: "manual"}.get(cluster["drs"], cluster["drs"])
    top["datastores"] = read_all("datastores", top["datastores"], DATASTORE)
    top["storage_policies"] = read_all("storage_policies", top["storage_policies"], POLICY)
    top["networks"] = read_all("networks", top["networks"], NETWORK)
    top["hosts"] = read_all("hosts", top["hosts"], HOST, defaults["host"])
    for host in top["hosts"]:
        host["gpus"] = read_all(f"gpus of {host['name']}", host["gpus"], GPU)
        if host["gpus"] and not host["vgpu_profiles"]:
            raise LabError(f"topology: host {host['name']} has GPUs and offers no profile; set vgpu_profiles")
    divide(top)
    vms = read_all("vms", top.pop("vms"), VM, defaults["vm"])
    for vm in vms:
        vm["disks"] = read_disks(vm)
    check_whole(top, vms)
    guests = tuple(read_real(vm["name"], vm.pop("h2o3"), vm.pop("qemu")) for vm in vms)
    numbers = tuple(guest_number(vm) for vm in vms)
    for vm in vms:
        if vm["memory_used_gb"] is None:
            vm["memory_used_gb"] = vm["memory_gb"] if vm["power"] == "on" else 0
    return Topology(top, tuple(vms), numbers, guests)


def add_fleet(top: dict[str, Any]) -> None:
    """Add the clusters, hosts and VMs of the ``fleet``, divided evenly. Its VMs have no Tools, and so no address."""
    given = top.pop("fleet")
    if given is None:
        return
    fleet = read("fleet", given, FLEET)
    clusters = [f"fleet-{n:02}" for n in range(1, fleet["clusters"] + 1)]
    hosts = [f"fleet-esx-{n:04}" for n in range(1, fleet["hosts"] + 1)]
    top["clusters"] = [*top["clusters"], *({"name": name, "drs_interval": 0} for name in clusters)]
    top["hosts"] = [
        *top["hosts"],
        *(
            {
                "name": name,
                "cluster": clusters[n * len(clusters) // len(hosts)],
                "fault_domain": f"fleet-{n % FLEET_DOMAINS + 1}",
            }
            for n, name in enumerate(hosts)
        ),
    ]
    top["vms"] = [
        *top["vms"],
        *(
            {"name": f"fleet-vm-{n + 1:05}", "host": hosts[n * len(hosts) // fleet["vms"]], "tools": False}
            for n in range(fleet["vms"])
        ),
    ]


def divide(top: dict[str, Any]) -> None:
    """Say of every cluster and network in which data centre it is, and make a compute resource of every standalone host.

    What is in no other data centre is in the first one. Each data centre has the folders, and each cluster the resource pools,
    of the whole file, unless it has its own.
    """
    first, folders, pools = top.pop("datacenter"), top.pop("folders"), top.pop("resource_pools")
    given = read_all("datacenters", top["datacenters"], DATACENTER) or [{"name": first, "folders": None}]
    top["datacenters"] = [{**each, "folders": own_or(each["folders"], folders)} for each in given]
    for cluster in top["clusters"]:
        cluster["standalone"] = False
    for index, host in enumerate(top["hosts"]):
        elsewhere = host.pop("datacenter")
        if host["cluster"] is None:
            resource = read(f"hosts[{index}]", {"name": host["name"], "datacenter": elsewhere}, CLUSTER)
            top["clusters"].append({**resource, "drs": "off", "standalone": True})
            host["cluster"] = host["name"]
        elif elsewhere is not None:
            place = name_place("hosts", index, host)
            raise LabError(f"topology: {place} has a cluster and a datacenter; set the datacenter of the cluster")
    for item in (*top["clusters"], *top["networks"]):
        item["datacenter"] = own_or(item["datacenter"], top["datacenters"][0]["name"])
    for cluster in top["clusters"]:
        cluster["resource_pools"] = own_or(cluster["resource_pools"], pools)


def own_or(own: Any, common: Any) -> Any:
    """A key that an item sets itself, otherwise the common one."""
    return common if own is None else own


def read_disks(vm: dict[str, Any]) -> list[dict[str, Any]]:
    """The disks of a VM; one if none is listed. A disk without a datastore is on the first one of the VM, and has its storage policy.

    Datastores of disks become datastores of the VM.
    """
    if not vm["disks"] and not vm["datastores"]:
        return []
    place = f"disks of {vm['name']}"
    disks = read_all(place, vm["disks"] or [DEFAULT_DISK], DISK)
    for index, disk in enumerate(disks):
        if disk["datastore"] is None and not vm["datastores"]:
            raise LabError(f"topology: {place}[{index}] has no datastore; set datastore, or datastores of the VM")
        disk["datastore"] = disk["datastore"] or vm["datastores"][0]
        disk["storage_policy"] = own_or(disk["storage_policy"], vm["storage_policy"])
        if disk["used_gb"] is None:
            disk["used_gb"] = disk["size_gb"]
        if disk["used_gb"] > disk["size_gb"]:
            raise LabError(f"topology: {place}[{index}].used_gb must be at most size_gb, {disk['size_gb']}")
    vm["datastores"] = list(dict.fromkeys([*vm["datastores"], *(disk["datastore"] for disk in disks)]))
    return disks


def read_real(name: str, server: Any, machine: Any) -> Guest | LiveSpec | None:
    """What really runs in a VM: the ``h2o3`` or the ``qemu`` part; at most one of them is given."""
    return read_live(name, machine) if server is None else read_guest(name, server)


def read_guest(name: str, value: Any) -> Guest | None:
    """The ``h2o3`` part of a VM."""
    if value is None:
        return None
    place = f"h2o3 of {name}"
    given = read(place, value, H2O3)
    return Guest(
        given["heap_mb"], given["threads"], given["nice"], read_trainings(place, given["train"]), given["cloud"]
    )


def read_live(name: str, value: Any) -> LiveSpec | None:
    """The ``qemu`` part of a VM."""
    if value is None:
        return None
    given = read(f"qemu of {name}", value, QEMU)
    memory = given["memory_mb"] or MEMORY_MB[given["run"]]
    if memory < MEMORY_MB[given["run"]]:
        raise LabError(f"topology: qemu of {name}.memory_mb must be at least {MEMORY_MB[given['run']]}, not {memory}")
    return LiveSpec(given["run"], memory, given["dirty_mb_s"], given["network"])


def is_bridged(guest: Guest | LiveSpec | None) -> bool:
    """Whether it is a real VM on the bridge."""
    return isinstance(guest, LiveSpec) and guest.bridged


def check_real(machines: list[tuple[str, LiveSpec]]) -> None:
    """Fail on too many real VMs, and on several of them on the bridge."""
    names = [name for name, _ in machines]
    bridged = [name for name, spec in machines if spec.bridged]
    if len(names) > MAX_REAL_VMS:
        raise LabError(f"topology: {len(names)} VMs have qemu, at most {MAX_REAL_VMS} may: {', '.join(names)}")
    if len(bridged) > 1:
        raise LabError(f"topology: {len(bridged)} VMs have network: bridge, at most one may: {', '.join(bridged)}")


def guest_number(vm: dict[str, Any]) -> int:
    """The N of the VM's guest address 127.0.1.N: ``guest_number``, or the number at the end of its name.

    0 for none: a VM without Tools needs no address.
    """
    number = vm.pop("guest_number")
    if number is None and not vm["tools"]:
        return 0
    if number is None:
        found = re.search(r"(\d+)$", vm["name"])
        number = int(found[1]) if found else 0
    if number not in GUEST_NUMBERS:
        raise LabError(
            f"topology: VM {vm['name']} has no number from 1 to 254 at the end of its name; set guest_number"
        )
    return int(number)


def check_unique(what: str, values: Iterable[Any], remedy: str) -> None:
    """Fail on values that occur twice."""
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise LabError(f"topology: {what} must differ, {twice[0]!r} occurs twice; {remedy}")


def check_known(place: str, names: Iterable[str], choices: Iterable[str], what: str) -> None:
    """Fail on names that do not exist."""
    have = set(choices)
    for name in names:
        if name not in have:
            raise LabError(
                f"topology: {place} refers to {what} {name!r}, which does not exist; correct the name or add the {what}"
            )


def check_whole(top: dict[str, Any], vms: list[dict[str, Any]]) -> None:
    """Check the items against each other: names that occur twice, and names that do not exist.

    Two VMs in different folders may have the same name, and two networks in different data centres, as in a vCenter.
    """
    kinds = ("datacenters", "clusters", "datastores", "networks", "hosts")
    names = {kind: [item["name"] for item in top[kind]] for kind in kinds}
    for kind, given in names.items():
        if not given:
            raise LabError(f"topology: there are no {kind}; add one")
        if kind != "networks":
            check_unique(f"names of {kind}", given, "rename one")
    for kind in ("clusters", "networks"):
        for index, item in enumerate(top[kind]):
            check_known(name_place(kind, index, item), [item["datacenter"]], names["datacenters"], "data centre")
    for index, host in enumerate(top["hosts"]):
        check_known(name_place("hosts", index, host), [host["cluster"]], names["clusters"], "cluster")
    check_unique("networks of one data centre", [(n["datacenter"], n["name"]) for n in top["networks"]], "rename one")
    sites = {host["name"]: site_of(top, host["name"]) for host in top["hosts"]}
    for index, item in enumerate(top["datastores"]):
        check_known(name_place("datastores", index, item), item["hosts"], [*names["hosts"], "*"], "host")
        check_known(name_place("datastores", index, item), item["dead_on"], names["hosts"], "host")
    check_known(
        "storage_drs", top["storage_drs"], (d["datastore_cluster"] for d in top["datastores"]), "datastore cluster"
    )
    check_unique("names of storage policies", [item["name"] for item in top["storage_policies"]], "rename one")
    for index, item in enumerate(top["storage_policies"]):
        check_known(name_place("storage_policies", index, item), item["datastores"], names["datastores"], "datastore")
    for index, item in enumerate(top["networks"]):
        near = [name for name, site in sites.items() if site == item["datacenter"]]
        check_known(name_place("networks", index, item), item["hosts"], [*near, "*"], "host")
    check_failover(top["clusters"], names["hosts"])
    check_vms(top, vms, sites)
    places = [(sites[vm["host"]], vm["folder"], vm["name"]) for vm in vms]
    check_unique("VMs of one folder", places, "rename one")
    check_rules(top, [vm["name"] for vm in vms], names["hosts"])


def check_failover(clusters: list[dict[str, Any]], hosts: list[str]) -> None:
    """Check what HA keeps free in each cluster."""
    for index, item in enumerate(clusters):
        place = name_place("clusters", index, item)
        check_known(place, item["failover_hosts"], hosts, "host")
        if len(given := [key for key in FAILOVER if item[key]]) > 1:
            raise LabError(f"topology: {place} has {' and '.join(given)}; set one of them")


def resource_of(top: dict[str, Any], host: str) -> dict[str, Any]:
    """The cluster that a host is in, or the compute resource of a standalone host."""
    name = next(each["cluster"] for each in top["hosts"] if each["name"] == host)
    return next(cluster for cluster in top["clusters"] if cluster["name"] == name)


def site_of(top: dict[str, Any], host: str) -> str:
    """The name of the data centre that a host is in."""
    return str(resource_of(top, host)["datacenter"])


def check_vms(top: dict[str, Any], vms: list[dict[str, Any]], sites: dict[str, str]) -> None:
    """Check the names that VMs refer to. ``sites`` are the data centres of the hosts."""
    datastores = [item["name"] for item in top["datastores"]]
    policies = [item["name"] for item in top["storage_policies"]]
    for index, vm in enumerate(vms):
        place = name_place("vms", index, vm)
        check_known(place, [vm["host"]], sites, "host")
        site = next(item for item in top["datacenters"] if item["name"] == sites[vm["host"]])
        networks = [item["name"] for item in top["networks"] if item["datacenter"] == site["name"]]
        check_known(place, vm["datastores"], datastores, "datastore")
        assigned = [vm["storage_policy"], *(disk["storage_policy"] for disk in vm["disks"])]
        check_known(place, filter(None, assigned), policies, "storage policy")
        check_known(place, vm["networks"], networks, "network")
        check_known(place, filter(None, [vm["folder"]]), site["folders"], "folder")
        check_known(place, filter(None, [vm["pool"]]), resource_of(top, vm["host"])["resource_pools"], "resource pool")
        if vm["template"] and vm["power"] != "off":
            raise LabError(f"topology: {place} is a template, which cannot be powered on; set power: off")
        for kind in ("h2o3", "qemu"):
            if vm[kind] is not None and vm["power"] != "on":
                raise LabError(f"topology: {place} has {kind} but is not powered on; set power: on")
        if vm["h2o3"] is not None and vm["qemu"] is not None:
            raise LabError(f"topology: {place} has h2o3 and qemu; choose one")


def check_rules(top: dict[str, Any], vms: list[str], hosts: list[str]) -> None:
    """Check the names that DRS rules and overrides refer to."""
    for cluster in top["clusters"]:
        check_known(f"drs_overrides of {cluster['name']}", cluster["drs_overrides"], vms, "VM")
        for index, rule in enumerate(cluster["rules"]):
            place = name_place("rules", index, rule)
            check_known(place, rule["vms"], vms, "VM")
            check_known(place, rule["hosts"], hosts, "host")
            if rule["kind"] == "vm_host" and not rule["hosts"]:
                raise LabError(f"topology: {place} is a vm_host rule without hosts; set hosts")
