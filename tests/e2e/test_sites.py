# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is evacuated into another cluster under real training, and its VMs come home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import Lab, play, running_lab

pytestmark = [pytest.mark.alone, pytest.mark.thorough]  # make test has the same by modules, without a training
HOST, TRAINS = "esx-01", "ML-cpu-vm-03"
ELSEWHERE = {
    "GPU-cluster": {"pool_map": {"batch": "ml-training"}, "network_map": {"west-storage": "ml-network"}},
    "East-cluster": {"folder_map": {"ml/vision": "archive"}, "network_map": {"west-storage": "east-storage"}},
}


def topology(folder: Path) -> str:
    """The topology of sites with a server that trains. Only the first cluster has the network west-storage, and all reach all files."""
    document = yaml.safe_load((TOPOLOGIES / "sites.yml").read_text(encoding="utf-8"))
    document["networks"][1]["hosts"] = ["esx-01", "esx-02"]
    for vm in document["vms"]:
        vm.pop("datastores", None)
        if vm["name"] == TRAINS:
            vm["h2o3"] = {"heap_mb": 1024, "train": {"algorithm": "gbm", "seconds": 150}}
    path = folder / "sites.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def places(lab: Lab) -> dict[str, tuple[str, str, str]]:
    """Host, resource pool and folder of each VM, as the lab's own account has it."""
    return {name: (vm["host"], vm["pool"], vm["folder"]) for name, vm in lab.get("state")["vms"].items()}


def experiment(state_dir: Path, purpose: str) -> dict[str, Any]:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    (found,) = json.loads((folder / "evidence.json").read_text())["experiments"]
    return dict(found)


@pytest.mark.parametrize("cluster", ["GPU-cluster", "East-cluster"])
def test_a_host_is_evacuated_into_another_cluster_under_training(cluster: str, tmp_path: Path) -> None:
    options = {f"evacuate_host_{name}": value for name, value in ELSEWHERE[cluster].items()}
    options |= {"evacuate_host_name": HOST, "evacuate_host_destination_cluster": cluster}
    with running_lab("--time-scale", "0.05", "--drs", "full", "--topology", topology(tmp_path)) as lab:
        before = places(lab)
        out = play("evacuate_host", lab, tmp_path, "--check", "--diff", **options)
        assert out.returncode == 0, out.stdout
        shown = next(line for line in out.stdout.splitlines() if f"{TRAINS}: {HOST} → " in line)
        assert f"(cluster {cluster}, resource pool ml-training, folder " in shown
        assert places(lab) == before

        out = play("evacuate_host", lab, tmp_path, **options)
        assert out.returncode == 0, out.stdout
        there = places(lab)
        hosts = lab.get("state")["hosts"]
        left = [name for name, (host, _pool, _folder) in before.items() if host == HOST]
        assert {hosts[there[name][0]]["cluster"] for name in left} == {cluster}
        assert hosts[HOST]["maintenance"] == "in"

        out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert places(lab) == before
        first, second = experiment(tmp_path, "evacuate"), experiment(tmp_path, "restore")
        assert (first["verdict"], second["verdict"]) == ("uninterrupted", "uninterrupted")
        assert first["id"] == second["id"]
        assert second["progress_before"] >= first["progress_after"] > first["progress_before"]
