# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs of a host leave for another vCenter under real training, and come home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.paths import TOPOLOGIES
from tests.labs import login, places, play, running_lab

pytestmark = [pytest.mark.alone, pytest.mark.thorough]  # make test has the same by modules, without a training
HOST, TRAINS = "esx-01", "ML-cpu-vm-01"
MAPS = {
    "evacuate_host_pool_map": {"ml-training": "Compute-ResourcePool"},
    "evacuate_host_folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
    "evacuate_host_network_map": {"ml-network": "ml-segment"},
}


def evidence(state_dir: Path, purpose: str) -> dict[str, Any]:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return dict(json.loads((folder / "evidence.json").read_text()))


def test_vms_train_in_the_cloud_and_come_home(tmp_path: Path) -> None:
    with running_lab("--topology", str(TOPOLOGIES / "cloud.yml")) as lab:
        cloud = lab.other("cloud")
        before = places(lab, cloud)
        options = {"evacuate_host_name": HOST, "evacuate_host_destination_vcenter": login(cloud), **MAPS}
        options |= {"evacuate_host_wan_mbit": 5000, "evacuate_host_wan_latency_ms": 20}
        out = play("round_trip_cloud", lab, tmp_path, **options)
        assert out.returncode == 0, out.stdout
        assert login(cloud)["password"] not in out.stdout
        assert places(lab, cloud) == before
        where = f"in vCenter {login(cloud)['hostname']}:{login(cloud)['port']}"
        assert "moved to esx-c" in out.stdout
        assert f" [WorkloadDatastore] {where}" in out.stdout
        assert "restore_host_destination_vcenter" in out.stdout
        there, back = evidence(tmp_path, "evacuate"), evidence(tmp_path, "restore")
        (first,), (second,) = there["experiments"], back["experiments"]
        assert (first["verdict"], second["verdict"]) == ("uninterrupted", "uninterrupted")
        assert first["id"] == second["id"]
        assert second["progress_before"] >= first["progress_after"] > first["progress_before"]
        assert all(move["power_on"]["same"] for move in (*there["moves"], *back["moves"]))
