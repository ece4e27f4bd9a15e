# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs leave for another vCenter under real training, and come home.

What moves, where to, and which test proves it there and back under real training with the evidence:

=========  ===================  ==============================  ==================================================================
scope      same cluster         other cluster                   other vCenter
=========  ===================  ==============================  ==================================================================
compute    ``test_round_trip``  ``test_sites``                  refused by vSphere: its datastores are others, so files always move
storage    ``test_storage``     the host stays, so there is no such move
both       ``test_storage``     ``test_sites``                  here: a host, one VM, a fault domain
=========  ===================  ==============================  ==================================================================

``test_cloud_failures`` has what goes wrong on the way to another vCenter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, login, places, play, running_lab

pytestmark = [pytest.mark.alone, pytest.mark.thorough]  # make test has the same by modules, without a training
HOST, TRAINS = "esx-01", "ML-cpu-vm-01"
THERE = {
    "pool_map": {"ml-training": "Compute-ResourcePool", "infra": "Mgmt-ResourcePool"},
    "folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision", "infra": "Workloads"},
    "network_map": {"ml-network": "ml-segment"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The topology cloud.yml with both hosts in one fault domain, and a training that outlasts all tests."""
    topology = yaml.safe_load((TOPOLOGIES / "cloud.yml").read_text(encoding="utf-8"))
    topology["vms"][0]["h2o3"] = {"heap_mb": 1024, "train": {"algorithm": "gbm", "seconds": 500}}
    for host in topology["hosts"]:
        host["fault_domain"] = "us-west-2a"
    path = tmp_path_factory.mktemp("topology") / "cloud.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--topology", str(path)) as lab:
        yield lab


@pytest.fixture
def cloud(site: Lab) -> Lab:
    return site.other("cloud")


def options(role: str, there: Lab, **given: Any) -> dict[str, Any]:
    """The variables of a role that leads to another vCenter."""
    wan = {"wan_mbit": 5000, "wan_latency_ms": 20}
    return {f"{role}_{name}": value for name, value in {"destination_vcenter": login(there), **wan, **given}.items()}


def evidence(state_dir: Path, purpose: str) -> dict[str, Any]:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return dict(json.loads((folder / "evidence.json").read_text()))


def proved(there: dict[str, Any], back: dict[str, Any]) -> None:
    """The training is the same all the time and never went back, no VM was started again, and the evidence names all files."""
    (first,), (second,) = there["experiments"], back["experiments"]
    assert (first["verdict"], second["verdict"]) == ("uninterrupted", "uninterrupted")
    assert first["id"] == second["id"]
    assert second["progress_before"] >= first["progress_after"] > first["progress_before"]
    moves = (*there["moves"], *back["moves"])
    assert all(move["power_on"]["same"] for move in moves)
    assert all({part["target"] for part in move["storage"]} == {"WorkloadDatastore"} for move in there["moves"]), moves
    assert all({part["source"] for part in move["storage"]} == {"WorkloadDatastore"} for move in back["moves"]), moves
    assert {(move["source_vcenter"], move["target_vcenter"]) for move in there["moves"]} == {
        (move["target_vcenter"], move["source_vcenter"]) for move in back["moves"]
    }


def test_the_vms_of_a_host_train_in_the_cloud_and_come_home(site: Lab, cloud: Lab, tmp_path: Path) -> None:
    before = places(site, cloud)
    out = play("round_trip_cloud", site, tmp_path, **options("evacuate_host", cloud, name=HOST, **THERE))
    assert out.returncode == 0, out.stdout
    assert login(cloud)["password"] not in out.stdout
    assert places(site, cloud) == before
    where = f"in vCenter {login(cloud)['hostname']}:{login(cloud)['port']}"
    assert "moved to esx-c" in out.stdout
    assert f" [WorkloadDatastore] {where}" in out.stdout
    assert "restore_host_destination_vcenter" in out.stdout
    proved(evidence(tmp_path, "evacuate"), evidence(tmp_path, "restore"))


def test_one_vm_goes_to_a_host_of_the_cloud_and_home(site: Lab, cloud: Lab, tmp_path: Path) -> None:
    """The way home begins with the login of the cloud, as for any of its VMs."""
    before = places(site, cloud)
    alone = play("migrate_vm", site, tmp_path, **options("migrate_vm", cloud, name=TRAINS, scope="storage", **THERE))
    assert alone.returncode != 0
    assert places(site, cloud) == before
    out = play("migrate_vm", site, tmp_path, **options("migrate_vm", cloud, name=TRAINS, destination="esx-c2", **THERE))
    assert out.returncode == 0, out.stdout
    assert cloud.where() == {"web-21": "esx-c1", TRAINS: "esx-c2"}
    there = evidence(tmp_path, "migrate")
    back: dict[str, Any] = {
        "pool_map": {"Compute-ResourcePool": "ml-training"},
        "folder_map": {"Workloads/vision": "ml/vision"},
        "network_map": {"ml-segment": "ml-network"},
    }
    home = options("migrate_vm", site, name=TRAINS, destination=HOST, datastore="vsanDatastore", **back)
    out = play("migrate_vm", cloud, tmp_path, **home)
    assert out.returncode == 0, out.stdout
    assert places(site, cloud) == before
    proved(there, evidence(tmp_path, "migrate"))


def test_a_fault_domain_is_emptied_into_the_cloud_and_filled_again(site: Lab, cloud: Lab, tmp_path: Path) -> None:
    before = places(site, cloud)
    leaving = {"name": "us-west-2a", **THERE}
    out = play("evacuate_fault_domain", site, tmp_path, **options("fault_domain", cloud, **leaving))
    assert out.returncode == 0, out.stdout
    assert site.where() == {}
    assert {host["maintenance"] for host in site.get("state")["hosts"].values()} == {"in"}
    out = play("restore_fault_domain", site, tmp_path, **options("fault_domain", cloud, name="us-west-2a"))
    assert out.returncode == 0, out.stdout
    assert places(site, cloud) == before
    assert {host["maintenance"] for host in site.get("state")["hosts"].values()} == {"normal"}
    runs = {purpose: sorted((tmp_path / "runs").glob(f"*-{purpose}-*")) for purpose in ("evacuate", "restore")}
    documents = {p: [json.loads((f / "evidence.json").read_text()) for f in found] for p, found in runs.items()}
    assert {purpose: len(found) for purpose, found in documents.items()} == {"evacuate": 2, "restore": 2}
    (there,), (back,) = ([each for each in found if each["experiments"]] for found in documents.values())
    proved(there, back)
