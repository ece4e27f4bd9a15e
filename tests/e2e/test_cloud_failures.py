# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong between two vCenters while a VM of the host trains: the reason is said, each VM is on exactly one side, both sides
know its home, and the same playbook without the fault converges. The training never notices.

================================  =====================================================================================
before anything moves             ``test_what_cannot_work_is_refused``: no network map, a datastore without room, an older
                                  vCenter, an expired certificate; ``test_a_privilege_that_is_missing_on_one_side``
while VMs move                    ``test_the_line_or_a_vcenter_fails_in_mid_move``: the line breaks, the other vCenter restarts or
                                  dies, the own one dies; ``test_a_certificate_that_is_renewed_in_mid_run``;
                                  ``test_the_controller_is_killed_in_mid_move``
================================  =====================================================================================
"""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVmomi import vim

from benchmarks.chaos import descendants
from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, login, places, play, running_lab, started_play
from tests.measuring import PATIENCE, until
from tests.sdk import content_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.thorough,
]  # tests/integration/test_two_vcenters.py has a sample without a training
HOST, TRAINS = "esx-01", "ML-cpu-vm-01"
UNHARMED = ("uninterrupted", "stalled")  # a busy machine makes long stalls
MAPS: dict[str, Any] = {
    "pool_map": {"ml-training": "Compute-ResourcePool"},
    "folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
    "network_map": {"ml-network": "ml-segment"},
}
PRIVILEGES = (
    "System.Anonymous", "System.Read", "System.View", "Resource.HotMigrate", "Resource.ColdMigrate", "Resource.AssignVMToPool",
    "Datastore.AllocateSpace", "Network.Assign", "VirtualMachine.Inventory.Register", "Host.Config.Maintenance", "Global.SetCustomField",
    "Global.ManageCustomFields",
)  # fmt: skip
OTHERS = {
    "older": {"version": "8.0.2"},
    "expired": {"certificate": "expired"},
    "full": {"datastores": [{"name": "WorkloadDatastore", "capacity_gb": 100, "free_gb": 3}]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The site and the cloud of the topology ``cloud.yml``, other clouds that cannot take its VMs, and a training that outlasts all."""
    topology = yaml.safe_load((TOPOLOGIES / "cloud.yml").read_text(encoding="utf-8"))
    topology["vms"][0]["h2o3"] = {"heap_mb": 1024, "threads": 1, "train": {"algorithm": "gbm", "seconds": 1500}}
    (cloud,) = topology["vcenters"]
    topology["vcenters"] += [{**copy.deepcopy(cloud), "name": name, **changes} for name, changes in OTHERS.items()]
    for number, each in enumerate(topology["vcenters"]):
        each["vms"][0] |= {"name": f"web-{21 + number}"}
    path = tmp_path_factory.mktemp("topology") / "clouds.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--topology", str(path)) as lab:
        yield lab


@pytest.fixture
def cloud(site: Lab) -> Iterator[Lab]:
    """The cloud, whose line is fast again at the end."""
    yield site.other("cloud")
    site.other("cloud").post("wan", state="up", mbit=5000)


def variables(there: Lab, role: str, **changed: Any) -> dict[str, Any]:
    """Those of a playbook that moves the VMs of the host to another vCenter, or from it."""
    options = {
        "name": HOST,
        "destination_vcenter": login(there),
        **(MAPS if role == "evacuate_host" else {}),
        **changed,
    }
    return {f"{role}_{name}": value for name, value in options.items()}


def evidence(state_dir: Path, purpose: str) -> dict[str, Any]:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return dict(json.loads((folder / "evidence.json").read_text()))


def flying(*labs: Lab) -> list[dict[str, Any]]:
    """The moves that copy now, by the lab's account."""
    return [m for lab in labs for m in lab.get("state")["moves"] if m["started"] and not m["finished"]]


def check_homes(site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path) -> set[str]:
    """The site's journal and the VMs in the cloud say where each VM belongs, and ``status`` names those that are away, which are returned."""
    here, there = set(site.where()), set(cloud.where()) - {"web-21"}
    assert here | there == {"ML-cpu-vm-01", "ML-cpu-vm-02", "ML-cpu-vm-03", "infra-11"}
    known = run_module("placement", site, state_dir=str(tmp_path))["placements"]
    assert {each["vm"] for each in known if each["outcome"] == "other_vcenter"} >= there, known
    assert {each["vm"] for each in known if each["outcome"] == "home"} <= here, known
    by_themselves = run_module("placement", cloud, state_dir=str(tmp_path / "nowhere"))["placements"]
    assert {each["vm"]: each["home"] for each in by_themselves} == dict.fromkeys(there, HOST)
    shown = play("status", site, tmp_path, report_state_destination_vcenter=login(cloud))
    assert shown.returncode == 0, shown.stdout
    away = next((line for line in shown.stdout.splitlines() if line.strip().startswith(f"Away from {HOST}: ")), "")
    assert {vm for vm in here | there if vm in away} == there, shown.stdout
    return there


def converges(site: Lab, cloud: Lab, before: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """The same playbook finishes, and the VMs come home; the training never noticed."""
    ids = set()
    for role in ("evacuate_host", "restore_host"):
        out = play(role, site, tmp_path, **variables(cloud, role))
        assert out.returncode == 0, out.stdout
        if role == "evacuate_host":
            assert set(cloud.where()) == {"web-21", "ML-cpu-vm-01", "ML-cpu-vm-02"}
        for experiment in evidence(tmp_path, role.partition("_")[0])["experiments"]:  # none if only other VMs were left
            assert (experiment["vm"], experiment["verdict"] in UNHARMED) == (TRAINS, True), experiment
            ids.add(experiment["id"])
    assert places(site, cloud) == before
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("cloud", {"network_map": {}}, "because of ml-network: "),
        ("full", {}, "no_capacity_datastore"),
        ("older", {}, "because of 8.0.2 of"),
        ("expired", {}, "cannot be verified (certificate has expired)"),
    ],
)
def test_what_cannot_work_is_refused(
    name: str, changed: dict[str, Any], words: str, site: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    there = site.other(name)
    before = places(site, there)
    out = play("evacuate_host", site, tmp_path, **variables(there, "evacuate_host", **changed))
    assert out.returncode != 0
    assert words in " ".join(out.stdout.split()), out.stdout
    assert places(site, there) == before
    assert site.get("state")["hosts"][HOST]["maintenance"] == "normal"
    assert not [m for m in site.get("state")["moves"] if m["target_vcenter"] == name]
    assert run_module("placement", site, state_dir=str(tmp_path))["placements"] == []


def grant(lab: Lab, without: str) -> None:
    """Give the user operator of a vCenter all privileges that are needed but one."""
    with content_of(lab) as content:
        roles = content.authorizationManager
        name = f"all but {without}"
        known = {role.name: role.roleId for role in roles.roleList}
        role = known.get(name) or roles.AddAuthorizationRole(name, [each for each in PRIVILEGES if each != without])
        principal = rf"VSPHERE.LOCAL\{lab.answer['operator']['user'].partition('@')[0]}"
        own = vim.AuthorizationManager.Permission(principal=principal, group=False, roleId=role, propagate=True)
        roles.SetEntityPermissions(content.rootFolder, [own])


@pytest.mark.parametrize(
    ("side", "missing"),
    [
        ("site", "Resource.HotMigrate"),
        ("cloud", "Network.Assign"),
        ("cloud", "Datastore.AllocateSpace"),
        ("cloud", "Resource.AssignVMToPool"),
        ("cloud", "VirtualMachine.Inventory.Register"),
    ],
)
def test_a_privilege_that_is_missing_on_one_side(
    side: str, missing: str, site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    """It is refused in a plan; if the plan was made with more rights, before anything moves; and afterwards the plan is carried out."""
    before = places(site, cloud)
    grant(site if side == "site" else cloud, missing)
    who = {key: site.answer["operator"][given] for key, given in (("username", "user"), ("password", "password"))}
    poor: dict[str, Any] = {**who} if side == "site" else {}
    poor |= {
        "destination_vcenter": login(cloud, "vcenter" if side == "site" else "operator"),
        "state_dir": str(tmp_path),
    }
    refused = run_module("migration_plan", site, host=HOST, **MAPS, **poor)
    assert refused["moves"] == []
    assert all(missing in each["text"] for each in refused["refusals"]), refused["refusals"]

    rich = {"destination_vcenter": login(cloud), "state_dir": str(tmp_path)}
    plan = run_module("migration_plan", site, host=HOST, **MAPS, **rich)
    evacuate = {"plan": plan["plan"], "purpose": "evacuate", "host": HOST, "fence": True}
    out = run_module("vm_migrate", site, **evacuate, **poor)
    assert out["failed"], out
    assert missing in out["msg"], out["msg"]
    assert places(site, cloud) == before
    moved = run_module("vm_migrate", site, **evacuate, **rich)
    assert not moved.get("failed"), moved["msg"]
    out = play("restore_host", site, tmp_path, **variables(cloud, "restore_host"))
    assert out.returncode == 0, out.stdout
    assert places(site, cloud) == before


FAULTS: dict[str, tuple[Callable[[Lab, Lab], None], tuple[str, ...]]] = {
    # What is said, if the playbook does not get over it by itself.
    "the line breaks": (
        lambda _site, cloud: cloud.post("wan", state="down"),
        ("the network between the two sites is down",),
    ),
    "the cloud restarts": (lambda _site, cloud: cloud.post("restart", seconds=3), ("HostCommunication",)),
    "the cloud dies": (lambda _site, cloud: cloud.post("kill", seconds=25), ("HostCommunication", "NoHost")),
    "the site dies": (lambda site, _cloud: site.post("kill", seconds=15), ("has not answered for",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_line_or_a_vcenter_fails_in_mid_move(
    fault: str, site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    before = places(site, cloud)
    strike, words = FAULTS[fault]
    cloud.post("wan", mbit=400)
    process = started_play("evacuate_host", site, tmp_path, **variables(cloud, "evacuate_host", retries=0))
    until(lambda: any(move["vm"] == TRAINS for move in flying(site)))
    strike(site, cloud)
    text, _errors = process.communicate(timeout=PATIENCE)
    until(lambda: not flying(site, cloud))
    assert "Traceback" not in text
    if process.returncode:
        assert any(word in text for word in words), text
    cloud.post("wan", state="up", mbit=5000)
    (experiment,) = evidence(tmp_path, "evacuate")["experiments"]
    assert experiment["verdict"] in UNHARMED, experiment
    moved = {move["vm"] for move in evidence(tmp_path, "evacuate")["moves"] if move["result"] == "moved"}
    assert check_homes(site, cloud, run_module, tmp_path) == moved
    assert (process.returncode == 0) == (moved == {"ML-cpu-vm-01", "ML-cpu-vm-02"}), text
    converges(site, cloud, before, tmp_path)


def test_a_certificate_that_is_renewed_in_mid_run(site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path) -> None:
    """The moves name the certificate that the controller saw. vCenter sees another one, and refuses to log in there."""
    before = places(site, cloud)
    cloud.post("wan", mbit=400)
    process = started_play("evacuate_host", site, tmp_path, **variables(cloud, "evacuate_host", retries=0, slots=1))
    until(lambda: flying(site))
    cloud.post("certificate")
    text, _errors = process.communicate(timeout=PATIENCE)
    assert places(site, cloud).keys() == before.keys()
    assert process.returncode != 0, text
    assert "SSLVerifyFault" in text, text
    assert len(check_homes(site, cloud, run_module, tmp_path)) == 1
    cloud.post("wan", mbit=5000)
    converges(site, cloud, before, tmp_path)


def test_the_controller_is_killed_in_mid_move(site: Lab, cloud: Lab, run_module: RunModule, tmp_path: Path) -> None:
    before = places(site, cloud)
    cloud.post("wan", mbit=400)
    process = started_play("evacuate_host", site, tmp_path, **variables(cloud, "evacuate_host"))
    until(lambda: any(move["vm"] == TRAINS for move in flying(site)))
    for pid in (*descendants(process.pid), process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    until(lambda: not flying(site, cloud))
    there = set(cloud.where()) - {"web-21"}
    assert TRAINS in there, "vCenter finishes what it has begun"
    assert set(site.where()) & there == set()
    shown = play("status", site, tmp_path, report_state_destination_vcenter=login(cloud))
    assert shown.returncode == 0, shown.stdout
    assert all(vm in shown.stdout for vm in there), shown.stdout
    cloud.post("wan", mbit=5000)
    out = play("evacuate_host", site, tmp_path, **variables(cloud, "evacuate_host"))
    assert out.returncode == 0, out.stdout
    assert check_homes(site, cloud, run_module, tmp_path) == {"ML-cpu-vm-01", "ML-cpu-vm-02"}
    converges(site, cloud, before, tmp_path)
