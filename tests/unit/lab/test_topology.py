# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The topology file: its defaults, and one clear error with the place for every mistake."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.live.machine import LiveSpec
from lab.paths import DEFAULT_TOPOLOGY, TOPOLOGIES
from lab.topology import load, parse

MINIMAL: dict[str, Any] = {
    "clusters": [{"name": "c"}],
    "datastores": [{"name": "ds", "capacity_gb": 10, "free_gb": 5}],
    "networks": [{"name": "net"}],
    "hosts": [{"name": "esx-01", "cluster": "c", "cores": 4, "mhz": 2000, "memory_gb": 16}],
    "vms": [{"name": "vm-07", "host": "esx-01", "memory_gb": 2, "cpus": 1}],
}


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    document = copy.deepcopy(MINIMAL)
    change(document)
    return document


def test_minimal_is_filled_with_defaults() -> None:
    topology = parse(MINIMAL)
    assert topology.sddc["name"] == "vcenter.lab"
    assert topology.sddc["time_scale"] == 1.0
    assert topology.sddc["hosts"][0]["connection"] == "connected"
    assert topology.sddc["datastores"][0]["hosts"] == ["*"]
    vm = topology.vms[0]
    assert (vm["power"], vm["template"], vm["memory_used_gb"]) == ("on", False, 2)
    assert topology.numbers == (7,)
    assert topology.guests == (None,)


def test_defaults_apply_and_are_overridden() -> None:
    document = changed(lambda d: d.update(defaults={"host": {"fault_domain": "a"}, "vm": {"cpus": 8, "power": "off"}}))
    topology = parse(document)
    assert topology.sddc["hosts"][0]["fault_domain"] == "a"
    assert (topology.vms[0]["cpus"], topology.vms[0]["power"], topology.vms[0]["memory_used_gb"]) == (1, "off", 0)


@pytest.mark.parametrize(
    ("written", "read"),
    [(False, "off"), (True, "manual"), ("manual", "manual"), ("partial", "partial"), ("full", "full")],
)
def test_drs_moves_nothing_unless_it_is_asked_for(written: object, read: str) -> None:
    assert parse(changed(lambda d: d["clusters"][0].update(drs=written))).sddc["clusters"][0]["drs"] == read


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"drs": "automatic"}, "drs must be false, true or one of manual, partial, full, not 'automatic'"),
        ({"drs_overrides": {"vm-07": "off"}}, "a mapping of VM names to one of manual, partial, full, disabled"),
        ({"drs_overrides": {"vm-08": "full"}}, "drs_overrides of c refers to VM 'vm-08', which does not exist"),
        ({"drs_vmotion_rate": 6}, "drs_vmotion_rate must be a whole number from 1 to 5, not 6"),
        ({"drs_interval": -1}, "drs_interval must be a number, min 0, not -1"),
    ],
)
def test_wrong_keys_of_drs_are_named(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=re.escape(words)):
        parse(changed(lambda d: d["clusters"][0].update(keys)))


def test_a_disk_is_on_the_first_datastore_of_its_vm_unless_it_names_another() -> None:
    def disks(d: dict[str, Any]) -> None:
        d["datastores"] += [{"name": "fast", "capacity_gb": 10, "free_gb": 5, "datastore_cluster": "gold"}]
        d["vms"][0] |= {
            "datastores": ["ds"],
            "disks": [{"size_gb": 4}, {"size_gb": 2, "thin": False, "datastore": "fast"}],
        }

    (vm,) = parse(changed(disks)).vms
    assert [(d["datastore"], d["used_gb"], d["thin"]) for d in vm["disks"]] == [("ds", 4, True), ("fast", 2, False)]
    assert vm["datastores"] == ["ds", "fast"]
    (plain,) = parse(changed(lambda d: d["vms"][0].update(datastores=["ds"]))).vms
    assert [(d["datastore"], d["size_gb"], d["used_gb"]) for d in plain["disks"]] == [("ds", 40, 10)]
    assert parse(MINIMAL).vms[0]["disks"] == []


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        ({"disks": [{"size_gb": 4}]}, "disks of vm-07[0] has no datastore; set datastore"),
        ({"datastores": ["ds"], "disks": [{"size_gb": 4, "used_gb": 5}]}, "[0].used_gb must be at most size_gb, 4"),
        ({"disks": [{"size_gb": 4, "datastore": "x"}]}, "refers to datastore 'x', which does not exist"),
        ({"disks": [{}]}, "disks of vm-07[0] has no 'size_gb'; set it to a number above 0"),
        ({"storage_policy": "x"}, "refers to storage policy 'x', which does not exist"),
    ],
)
def test_wrong_disks_are_named(vm: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=re.escape(words)):
        parse(changed(lambda d: d["vms"][0].update(vm)))


def test_a_disk_has_the_storage_policy_of_its_vm_unless_it_names_another() -> None:
    def policies(d: dict[str, Any]) -> None:
        d["storage_policies"] = [{"name": "gold", "datastores": ["ds"]}, {"name": "silver", "datastores": []}]
        d["vms"][0] |= {
            "datastores": ["ds"],
            "storage_policy": "gold",
            "disks": [{"size_gb": 4}, {"size_gb": 4, "storage_policy": "silver"}],
        }

    (vm,) = parse(changed(policies)).vms
    assert [disk["storage_policy"] for disk in vm["disks"]] == ["gold", "silver"]
    with pytest.raises(LabError, match="refers to datastore 'gone'"):
        parse(changed(lambda d: d.update(storage_policies=[{"name": "gold", "datastores": ["gone"]}])))


def test_a_real_vm_has_the_memory_that_its_training_needs() -> None:
    def two(d: dict[str, Any]) -> None:
        d["vms"] = [{**d["vms"][0], "name": f"vm-{n}", "qemu": {"run": run}} for n, run in ((1, "light"), (2, "h2o"))]

    assert parse(changed(two)).guests == (LiveSpec("light", 192), LiveSpec("h2o", 1280))


def test_guest_number_overrides_the_name() -> None:
    assert parse(changed(lambda d: d["vms"][0].update(guest_number=3))).numbers == (3,)


def test_a_fleet_is_divided_evenly_over_clusters_and_hosts() -> None:
    def fleet(d: dict[str, Any]) -> None:
        d["defaults"] = {
            "host": {"cores": 4, "mhz": 2000, "memory_gb": 16},
            "vm": {"memory_gb": 2, "cpus": 1},
        }
        d["fleet"] = {"clusters": 2, "hosts": 4, "vms": 8}

    topology = parse(changed(fleet))
    assert [host["cluster"] for host in topology.sddc["hosts"]] == ["c", *["fleet-01"] * 2, *["fleet-02"] * 2]
    assert [vm["host"] for vm in topology.vms[1:]] == [f"fleet-esx-{n:04}" for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert topology.numbers == (7, *[0] * 8), "VMs without Tools have no address"
    assert topology.all_numbers == [7]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"failover_percent": 25, "failover_level": 1}, "has failover_percent and failover_level; set one of them"),
        ({"failover_hosts": ["esx-09"]}, "refers to host 'esx-09', which does not exist"),
        ({"failover_percent": 101}, "failover_percent must be a whole number from 1 to 100"),
    ],
)
def test_what_ha_keeps_free_is_checked(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=re.escape(words)):
        parse(changed(lambda d: d["clusters"][0].update(keys)))


def test_two_vms_may_share_a_name_in_different_folders() -> None:
    def twin(d: dict[str, Any]) -> None:
        d["folders"] = ["a", "b"]
        d["vms"] = [{**d["vms"][0], "folder": name, "guest_number": n} for n, name in enumerate("ab", 1)]

    assert parse(changed(twin)).numbers == (1, 2)


def second_site(d: dict[str, Any]) -> None:
    """A second data centre with a cluster, a network of the same name, and a standalone host."""
    d |= {
        "folders": ["ml"],
        "resource_pools": ["training"],
        "datacenters": [{"name": "west"}, {"name": "east", "folders": ["x"]}],
    }
    d["clusters"].append({"name": "c2", "datacenter": "east", "resource_pools": []})
    d["networks"].append({"name": "net", "datacenter": "east"})
    d["hosts"].append({**d["hosts"][0], "name": "esx-02", "cluster": "c2"})
    alone = {key: value for key, value in d["hosts"][0].items() if key != "cluster"}
    d["hosts"].append({**alone, "name": "esx-03", "datacenter": "east"})


def test_what_names_no_data_centre_is_in_the_first_one() -> None:
    top = parse(changed(second_site)).sddc
    assert [(each["name"], each["folders"]) for each in top["datacenters"]] == [("west", ["ml"]), ("east", ["x"])]
    clusters = [(c["name"], c["datacenter"], c["resource_pools"], c["standalone"]) for c in top["clusters"]]
    assert clusters == [
        ("c", "west", ["training"], False),
        ("c2", "east", [], False),
        ("esx-03", "east", ["training"], True),
    ]
    assert [each["datacenter"] for each in top["networks"]] == ["west", "east"]
    assert parse(MINIMAL).sddc["datacenters"] == [{"name": "DC-west", "folders": []}]


def test_the_level_of_drs_is_set_for_every_cluster_that_has_it() -> None:
    clusters = parse(changed(second_site)).with_drs("full").sddc["clusters"]
    assert [each["drs"] for each in clusters] == ["full", "full", "off"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["clusters"][1].update(datacenter="north"), "clusters[1] (c2) refers to data centre 'north'"),
        (lambda d: d["networks"].append(d["networks"][1]), "networks of one data centre must differ"),
        (lambda d: d["networks"][0].update(hosts=["esx-02"]), "networks[0] (net) refers to host 'esx-02'"),
        (lambda d: d["vms"][0].update(host="esx-02", folder="ml"), "vms[0] (vm-07) refers to folder 'ml'"),
        (lambda d: d["vms"][0].update(host="esx-02", pool="training"), "vms[0] (vm-07) refers to resource pool 'training'"),
        (lambda d: d["hosts"][1].update(datacenter="west"), "hosts[1] (esx-02) has a cluster and a datacenter"),
        (lambda d: d["hosts"][2].update(datacenter="north"), "refers to data centre 'north', which does not exist"),
    ],
)  # fmt: skip
def test_mistakes_between_data_centres_are_named(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    document = changed(second_site)
    change(document)
    with pytest.raises(LabError, match=re.escape(message)):
        parse(document)


def with_cloud(**cloud: Any) -> dict[str, Any]:
    """The minimal file with another vCenter, whose VM has a number of its own."""
    other = copy.deepcopy(MINIMAL) | {"name": "cloud"}
    other["vms"][0]["name"] = "vm-08"
    return {**copy.deepcopy(MINIMAL), "vcenters": [other | cloud]}


def test_another_vcenter_has_keys_and_defaults_of_its_own() -> None:
    topology = parse({**with_cloud(datacenter="east", wan={"mbit": 500}), "folders": ["ml"]})
    (cloud,) = topology.others
    assert [each.sddc["name"] for each in topology.vcenters] == ["vcenter.lab", "cloud"]
    assert cloud.sddc["datacenters"] == [{"name": "east", "folders": []}]
    assert (cloud.sddc["wan"], cloud.sddc["version"]) == ({"mbit": 500, "latency_ms": 10}, "8.0.3")
    assert cloud.sddc["certificate"] == "valid"
    assert topology.all_numbers == [7, 8]
    assert cloud.with_drs("full").drs == "full"
    assert topology.with_drs("full").others[0].drs == "off"


@pytest.mark.parametrize(
    ("cloud", "message"),
    [
        ({"name": "a b"}, "vcenters[0] (a b).name must be a name of small letters"),
        ({"name": "vcenter.lab"}, "vcenters[0] (vcenter.lab).name must be a name of small letters"),
        ({"hosts": []}, "there are no hosts; add one (in vcenters[0] (cloud))"),
        ({"wan": {"mbit": 0}}, "vcenters[0] (cloud).wan.mbit must be a whole number above 0, not 0"),
        ({"version": "8"}, "vcenters[0] (cloud).version must be a version such as 8.0.3, not '8'"),
        ({"time_scale": 1}, "unknown key 'time_scale' in vcenters[0] (cloud)"),
        ({"vms": MINIMAL["vms"]}, "guest numbers must differ, 7 occurs twice"),
    ],
)
def test_mistakes_in_another_vcenter_are_named(cloud: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError, match=re.escape(message)):
        parse(with_cloud(**cloud))


def test_real_vms_of_all_vcenters_are_counted_together() -> None:
    document = with_cloud()
    one, two = document, document["vcenters"][0]
    for number, place in ((1, one), (2, one), (3, two)):
        real = {**MINIMAL["vms"][0], "name": f"vm-{number}", "qemu": {"run": "light"}}
        place["vms"] = [*(vm for vm in place["vms"] if vm.get("qemu")), real]
    with pytest.raises(LabError, match="3 VMs have qemu, at most 2 may: vm-1, vm-2, vm-3"):
        parse(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["vms"][0].update(qemu={}), "qemu of vm-07 has no 'run'; set it to one of light, h2o"),
        (lambda d: d["vms"][0].update(qemu={"run": "x"}), "qemu of vm-07.run must be one of light, h2o, not 'x'"),
        (
            lambda d: d["vms"][0].update(qemu={"run": "h2o", "memory_mb": 512}),
            "qemu of vm-07.memory_mb must be at least 1280, not 512",
        ),
        (
            lambda d: d["vms"][0].update(qemu={"run": "light", "dirty": 1}),
            "unknown key 'dirty' in qemu of vm-07; known keys: run, memory_mb, dirty_mb_s",
        ),
        (
            lambda d: d["vms"][0].update(qemu={"run": "light", "dirty_mb_s": -1}),
            "qemu of vm-07.dirty_mb_s must be a whole number, min 0, not -1",
        ),
        (lambda d: d["vms"][0].update(qemu={"run": "light"}, h2o3={}), "vms[0] (vm-07) has h2o3 and qemu; choose one"),
        (
            lambda d: d["vms"][0].update(qemu={"run": "light"}, power="off"),
            "vms[0] (vm-07) has qemu but is not powered on; set power: on",
        ),
        (
            lambda d: d.update(vms=[{**d["vms"][0], "name": f"vm-{n}", "qemu": {"run": "light"}} for n in (1, 2, 3)]),
            "3 VMs have qemu, at most 2 may: vm-1, vm-2, vm-3",
        ),
        (
            lambda d: d["vms"][0].update(qemu={"run": "light", "network": "hub"}),
            "qemu of vm-07.network must be one of switch, bridge, not 'hub'",
        ),
        (
            lambda d: d.update(
                vms=[{**d["vms"][0], "name": f"vm-{n}", "qemu": {"run": "light", "network": "bridge"}} for n in (1, 2)]
            ),
            "2 VMs have network: bridge, at most one may: vm-1, vm-2",
        ),
        (lambda d: d.update(hots=[]), "unknown key 'hots' in the file; known keys: name, time_scale"),
        (lambda d: d.update(hosts=[]), "there are no hosts"),
        (lambda d: d.update(vms={}), "the file.vms must be a list"),
        (lambda d: d.update(time_scale=0), "the file.time_scale must be a number above 0, not 0"),
        (lambda d: d["hosts"][0].pop("cores"), "hosts[0] (esx-01) has no 'cores'; set it to a whole number above 0"),
        (
            lambda d: d["hosts"][0].update(cores=True),
            "hosts[0] (esx-01).cores must be a whole number above 0, not True",
        ),
        (
            lambda d: d["hosts"][0].update(cluster="x"),
            "hosts[0] (esx-01) refers to cluster 'x', which does not exist; correct the name or add the cluster",
        ),
        (lambda d: d["hosts"].append(d["hosts"][0]), "names of hosts must differ, 'esx-01' occurs twice"),
        (lambda d: d["networks"][0].update(hosts=["y"]), "networks[0] (net) refers to host 'y'"),
        (lambda d: d["vms"][0].update(host="*"), "vms[0] (vm-07) refers to host '*'"),
        (lambda d: d["vms"][0].update(datastores=["y"]), "vms[0] (vm-07) refers to datastore 'y'"),
        (lambda d: d["vms"][0].update(folder="y"), "vms[0] (vm-07) refers to folder 'y'"),
        (lambda d: d["vms"][0].update(devices=["floppy"]), "devices must be a list, each one of passthrough"),
        (lambda d: d["vms"][0].update(devices=["vgpu:"]), "cdrom_host, cdrom_iso, usb_host, usb_remote, serial_uri, "),
        (lambda d: d["hosts"][0].update(gpus=[{"model": "V100"}]), "gpus of esx-01[0] has no 'memory_gb'"),
        (
            lambda d: d["hosts"][0].update(gpus=[{"model": "V100", "memory_gb": 16}]),
            "host esx-01 has GPUs and offers no profile; set vgpu_profiles",
        ),
        (lambda d: d["hosts"][0].update(stun_estimates={"p": [[10000]]}), "pairs of Mbit/s and seconds"),
        (lambda d: d["vms"][0].update(power=False), "power must be one of on, off, suspended, not False"),
        (lambda d: d["vms"][0].update(name="web"), "VM web has no number from 1 to 254 at the end of its name"),
        (lambda d: d["vms"][0].update(name="web-300"), "VM web-300 has no number from 1 to 254 at the end of its name"),
        (lambda d: d["vms"][0].update(name="a\nb"), "name must be a non-empty printable text"),
        (lambda d: d["vms"][0].update(template=True), "is a template, which cannot be powered on"),
        (lambda d: d["vms"][0].update(h2o3={}, power="off"), "has h2o3 but is not powered on"),
        (lambda d: d["vms"].append({**d["vms"][0], "name": "x-07"}), "guest numbers must differ, 7 occurs twice"),
        (lambda d: d["vms"].append(d["vms"][0]), "VMs of one folder must differ"),
        (
            lambda d: d["clusters"][0].update(rules=[{"name": "r", "kind": "affinity", "vms": ["z"]}]),
            "rules[0] (r) refers to VM 'z'",
        ),
        (
            lambda d: d["clusters"][0].update(rules=[{"name": "r", "kind": "vm_host", "vms": ["vm-07"]}]),
            "rules[0] (r) is a vm_host rule without hosts; set hosts",
        ),
        (lambda d: d.update(defaults={"vm": {"cpuz": 1}}), "unknown key 'cpuz' in defaults.vm"),
    ],
)
def test_mistakes_are_named(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(LabError, match=re.escape(message)):
        parse(changed(change))


def test_a_file_that_is_not_a_mapping() -> None:
    with pytest.raises(LabError, match="the file must be a mapping"):
        parse(["x"])


@pytest.mark.parametrize(("content", "message"), [("a: [", "is not valid YAML"), ("a: \udcff", "is not valid YAML")])
def test_unreadable_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.yml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(LabError, match=message):
        load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read: No such file"):
        load(tmp_path / "none.yml")


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_topologies_fit(path: Path) -> None:
    """No host holds more memory than it has, and every VM reaches its datastores and networks where it is."""
    for topology in load(path).vcenters:
        for host in topology.sddc["hosts"]:
            used = [vm["memory_used_gb"] for vm in topology.vms if vm["host"] == host["name"]]
            assert host["memory_used_gb"] + sum(used) < host["memory_gb"]
        reach = {item["name"]: item["hosts"] for kind in ("datastores", "networks") for item in topology.sddc[kind]}
        for vm in topology.vms:
            for name in vm["datastores"] + vm["networks"]:
                assert reach[name] == ["*"] or vm["host"] in reach[name]


def test_default_is_the_seed_scenario() -> None:
    topology = load(DEFAULT_TOPOLOGY)
    hosts = {host["name"]: host["fault_domain"] for host in topology.sddc["hosts"]}
    assert list(hosts) == [f"esx-0{n}" for n in range(1, 10)]
    assert set(hosts.values()) == {"us-west-2a", "us-west-2b", "us-west-2c"}
    there = [vm for vm in topology.vms if vm["host"] == "esx-05"]
    assert sum(vm["power"] == "on" for vm in there) == 10
    assert all(set(vm["devices"]) <= {"cdrom_iso"} and not vm["disabled_methods"] for vm in there)
    (real,) = [vm["name"] for vm, guest in zip(topology.vms, topology.guests, strict=True) if guest]
    assert real == "ML-cpu-vm-04"
    for vm, number in zip(topology.vms, topology.numbers, strict=True):
        assert vm["name"].endswith(f"-{number:02}")
