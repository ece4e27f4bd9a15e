# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The labs of ``chaos``: a small cluster whose first host has eight VMs, alone or with a cloud that has another vCenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
HOST, VMS, CLOUD = "esx-01", 8, "cloud"
HA = {"failover_level": 1}  # HA restarts the VMs of a host that fails
MAPS = {
    "pool_map": {"ml-training": "Compute-ResourcePool"},
    "folder_map": {"ml": "Workloads"},
    "network_map": {"ml-network": "ml-segment"},
}


def alone(drs: str | None, *, files_move: bool) -> dict[str, Any]:
    """A cluster; one more VM of its first host is powered off, and one may be on a datastore of this host alone."""
    small: dict[str, Any] = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text(encoding="utf-8"))
    small["hosts"].append({"name": "esx-05", "fault_domain": "us-west-2a"})
    small["vms"] = [{"name": f"ml-{n}", "host": HOST} for n in range(1, VMS + 1)]
    small["vms"] += [{"name": "off-9", "host": HOST, "power": "off"}, {"name": "other-10", "host": "esx-03"}]
    if files_move:
        small["datastores"].append(
            {"name": "esx-01-local", "capacity_gb": 500, "free_gb": 300, "hosts": [HOST], "local": True}
        )
        small["vms"][VMS - 1] |= {"datastores": ["esx-01-local"], "disks": [{"size_gb": 4, "used_gb": 2}]}
    small["time_scale"] = 0.15
    small["clusters"][0] |= {"drs": drs, "drs_overrides": {"ml-2": "disabled", "ml-3": "full"}} if drs else {}
    small["clusters"][0] |= HA
    return small


def with_cloud(site: dict[str, Any]) -> dict[str, Any]:
    """The cluster with the cloud of the topology ``cloud.yml``."""
    document = yaml.safe_load((ROOT / "lab" / "topologies" / "cloud.yml").read_text(encoding="utf-8"))
    (cloud,) = document["vcenters"]
    cloud["clusters"] = [{**cluster, **HA} for cluster in cloud["clusters"]]
    return {**site, "vcenters": [{**cloud, "wan": {"mbit": 10000, "latency_ms": 20}}]}
