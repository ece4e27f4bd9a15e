# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is evacuated into another cluster under real training, alone or with its files, and its VMs come home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import TOPOLOGIES
from tests.labs import places, play, running_lab

pytestmark = [pytest.mark.alone, pytest.mark.thorough]  # make test has the same by modules, without a training
HOST, TRAINS = "esx-01", "ML-cpu-vm-03"
ELSEWHERE = {
    "GPU-cluster": {"pool_map": {"batch": "ml-training"}, "network_map": {"west-storage": "ml-network"}},
    "East-cluster": {"folder_map": {"ml/vision": "archive"}, "network_map": {"west-storage": "east-storage"}},
}


def topology(folder: Path, *, files_move: bool) -> str:
    """The topology of sites with a server that trains. Only the first cluster has the network west-storage.

    All reach all files, or no other cluster reaches those of the VMs.
    """
    document = yaml.safe_load((TOPOLOGIES / "sites.yml").read_text(encoding="utf-8"))
    document["networks"][1]["hosts"] = ["esx-01", "esx-02"]
    for vm in document["vms"]:
        vm.pop("datastores", None)
        if files_move and vm["host"] == HOST:
            vm["datastores"] = ["first-vsan"]
        if vm["name"] == TRAINS:
            vm["h2o3"] = {"heap_mb": 1024, "train": {"algorithm": "gbm", "seconds": 150}}
    if files_move:
        document["datastores"].append(
            {"name": "first-vsan", "type": "vsan", "capacity_gb": 2048, "free_gb": 1024, "hosts": ["esx-01", "esx-02"]}
        )
    path = folder / "sites.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def experiment(state_dir: Path, purpose: str) -> dict[str, Any]:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    (found,) = json.loads((folder / "evidence.json").read_text())["experiments"]
    return dict(found)


@pytest.mark.parametrize("scope", ["compute", "both"])
@pytest.mark.parametrize("cluster", ["GPU-cluster", "East-cluster"])
def test_a_host_is_evacuated_into_another_cluster_under_training(cluster: str, scope: str, tmp_path: Path) -> None:
    files_move = scope == "both"
    options = {f"evacuate_host_{name}": value for name, value in ELSEWHERE[cluster].items()}
    options |= {"evacuate_host_name": HOST, "evacuate_host_destination_cluster": cluster, "evacuate_host_scope": scope}
    path = topology(tmp_path, files_move=files_move)
    with running_lab("--time-scale", "0.05", "--drs", "full", "--topology", path) as lab:
        before = places(lab)
        out = play("evacuate_host", lab, tmp_path, "--check", "--diff", **options)
        assert out.returncode == 0, out.stdout
        start = f"{TRAINS}: {HOST} [first-vsan] → " if files_move else f"{TRAINS}: {HOST} → "
        shown = next(line for line in out.stdout.splitlines() if start in line)
        assert f"(cluster {cluster}, resource pool ml-training, folder " in shown
        assert places(lab) == before

        out = play("evacuate_host", lab, tmp_path, **options)
        assert out.returncode == 0, out.stdout
        there = places(lab)
        hosts = lab.get("state")["hosts"]
        left = [name for name, place in before.items() if place[0] == HOST]
        assert {hosts[there[name][0]]["cluster"] for name in left} == {cluster}
        assert hosts[HOST]["maintenance"] == "in"
        assert [name for name in left if "first-vsan" in there[name][3:]] == []

        out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert places(lab) == before
        first, second = experiment(tmp_path, "evacuate"), experiment(tmp_path, "restore")
        assert (first["verdict"], second["verdict"]) == ("uninterrupted", "uninterrupted")
        assert first["id"] == second["id"]
        assert second["progress_before"] >= first["progress_after"] > first["progress_before"]
