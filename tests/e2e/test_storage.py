# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files move under real training: alone, with their VM, and all of a host with local datastores, there and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.labs import ROOT, Lab, play, running_lab

pytestmark = pytest.mark.alone
HOST, TRAINS = "esx-01", "ML-cpu-vm-01"
H2O3 = {"heap_mb": 1024, "threads": 1, "train": {"algorithm": "gbm", "seconds": 300}}


def with_training(name: str, folder: Path) -> str:
    """The path of a topology of the lab with a real training in the VM that moves."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / name).read_text(encoding="utf-8"))
    next(vm for vm in topology["vms"] if vm["name"] == TRAINS)["h2o3"] = H2O3
    path = folder / name
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The topology of the how-to."""
    topology = with_training("storage.yml", tmp_path_factory.mktemp("topology"))
    with running_lab("--topology", topology, "--time-scale", "0.02", "--drs", "full") as running:
        yield running


def stored(lab: Lab) -> dict[str, set[str]]:
    return {name: set(vm["storage"].values()) for name, vm in lab.get("state")["vms"].items()}


def evidence(state_dir: Path, purpose: str) -> Any:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return json.loads((folder / "evidence.json").read_text())


def proved(document: Any, stores: dict[str, set[str]]) -> None:
    """The training kept running, and the evidence names the datastore of each part."""
    (experiment,) = document["experiments"]
    assert (experiment["vm"], experiment["verdict"]) == (TRAINS, "uninterrupted"), experiment
    for move in document["moves"]:
        assert move["result"] == "moved"
        assert {part["target"] for part in move["storage"]} == stores[move["vm"]], move


def test_files_alone_move_while_their_vm_trains(lab: Lab, tmp_path: Path) -> None:
    """A sample of the next test."""
    options = {"migrate_vm_name": TRAINS, "migrate_vm_scope": "storage", "migrate_vm_datastore": "esx-01-spare"}
    out = play("migrate_vm", lab, tmp_path, **options)
    assert out.returncode == 0, out.stdout
    assert f"{TRAINS}: esx-01 [esx-01-local] → esx-01 [esx-01-spare]" in out.stdout
    assert lab.where()[TRAINS] == HOST
    proved(evidence(tmp_path, "migrate"), stored(lab))
    assert stored(lab)[TRAINS] == {"esx-01-spare"}


@pytest.mark.thorough
def test_a_host_with_local_datastores_is_emptied_and_filled_again_under_training(lab: Lab, tmp_path: Path) -> None:
    if stored(lab)[TRAINS] != {"esx-01-spare"}:  # the sample was not run
        test_files_alone_move_while_their_vm_trains(lab, tmp_path)
    files = {"migrate_vm_name": TRAINS, "migrate_vm_scope": "storage"}
    far = play("migrate_vm", lab, tmp_path, **files, migrate_vm_datastore="esx-02-local")
    assert far.returncode != 0
    assert "because of esx-02-local: " in far.stdout
    lab.post("datastores/esx-01-local", free_gb=5)
    full = play("migrate_vm", lab, tmp_path, **files, migrate_vm_datastore="esx-01-local")
    assert full.returncode != 0
    assert "14 GiB needed; most free above the headroom: esx-01-local with 0 GiB" in full.stdout
    lab.post("datastores/esx-01-local", free_gb=400)
    out = play("migrate_vm", lab, tmp_path, **files, migrate_vm_datastore="esx-01-local")
    assert out.returncode == 0, out.stdout
    proved(evidence(tmp_path, "migrate"), stored(lab))
    assert (lab.where()[TRAINS], stored(lab)[TRAINS]) == (HOST, {"esx-01-local"})

    before, where = stored(lab), lab.where()
    refused = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST)
    assert refused.returncode != 0
    assert "local_datastore" in refused.stdout
    assert "Set scope to both" in refused.stdout

    evacuate = {"evacuate_host_name": HOST, "evacuate_host_scope": "both"}
    check = play("evacuate_host", lab, tmp_path, "--check", "--diff", **evacuate)
    assert check.returncode == 0, check.stdout
    assert f"{TRAINS}: esx-01 [esx-01-local] → " in check.stdout
    assert stored(lab) == before
    out = play("evacuate_host", lab, tmp_path, **evacuate)
    assert out.returncode == 0, out.stdout
    assert lab.on(HOST) == set()
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
    proved(evidence(tmp_path, "evacuate"), stored(lab))
    assert lab.get("state")["hosts"][HOST]["slots"]["peak"] <= 8

    out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
    assert out.returncode == 0, out.stdout
    assert (stored(lab), lab.where()) == (before, where)
    proved(evidence(tmp_path, "restore"), stored(lab))

    out = play(
        "migrate_vm", lab, tmp_path, migrate_vm_name=TRAINS, migrate_vm_scope="both", migrate_vm_destination="esx-04",
        migrate_vm_datastore="gold",
    )  # fmt: skip
    assert out.returncode == 0, out.stdout
    assert lab.where()[TRAINS] == "esx-04"
    assert stored(lab)[TRAINS] <= {"gold-1", "gold-2"}
    proved(evidence(tmp_path, "migrate"), stored(lab))


@pytest.fixture(scope="module")
def policy_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Another topology, with storage policies; the tests of modules against it are the sample."""
    topology = with_training("policies.yml", tmp_path_factory.mktemp("topology"))
    with running_lab("--topology", topology, "--time-scale", "0.02") as running:
        yield running


def policies(lab: Lab) -> dict[str, dict[str, str]]:
    return {
        name: {part: each["policy"] for part, each in vm["policies"].items()}
        for name, vm in lab.get("state")["vms"].items()
    }


@pytest.mark.thorough
def test_a_host_is_emptied_to_datastores_that_fit_a_policy_and_filled_again(policy_lab: Lab, tmp_path: Path) -> None:
    lab = policy_lab
    before = stored(lab), policies(lab), lab.where()
    unknown = play(
        "evacuate_host",
        lab,
        tmp_path,
        evacuate_host_name=HOST,
        evacuate_host_scope="both",
        evacuate_host_storage_policy="x",
    )
    assert unknown.returncode != 0
    assert "one of its policies: gold, platinum, silver" in " ".join(unknown.stdout.split()), unknown.stdout
    evacuate = {
        "evacuate_host_name": HOST, "evacuate_host_scope": "both", "evacuate_host_storage_policy": "gold",
    }  # fmt: skip
    out = play("evacuate_host", lab, tmp_path, **evacuate)
    assert out.returncode == 0, out.stdout
    assert "(storage policy gold)" in out.stdout
    assert lab.on(HOST) == set()
    document = evidence(tmp_path, "evacuate")
    proved(document, stored(lab))
    assert {part["policy"] for move in document["moves"] for part in move["storage"]} == {"gold"}
    moved = [move["vm"] for move in document["moves"]]
    assert {policy for vm in moved for policy in policies(lab)[vm].values()} == {"gold"}

    out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
    assert out.returncode == 0, out.stdout
    proved(evidence(tmp_path, "restore"), stored(lab))
    after = policies(lab)
    assert (stored(lab), lab.where()) == (before[0], before[2])
    assert {vm: after[vm] for vm in moved if before[1][vm]} == {vm: before[1][vm] for vm in moved if before[1][vm]}
