# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration of two vCenters: the VMs of a host leave for the cloud while a real H2O-3 server trains in one, and come home."""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from lab.demo import play, print_summary, run_lab, say
from lab.paths import TOPOLOGIES
from lab.simulator_client import of_vcenter

HOST, CLOUD = "esx-01", "cloud"
MAPS = {
    "evacuate_host_pool_map": {"ml-training": "Compute-ResourcePool"},
    "evacuate_host_folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
    "evacuate_host_network_map": {"ml-network": "ml-segment"},
}


def main() -> int:
    """Start the lab, leave for the cloud, come home, print where the evidence is; always stop the lab."""
    with tempfile.TemporaryDirectory(prefix="liveml-demo-") as folder:
        state = Path(folder) / "lab"
        try:
            return demonstrate(state)
        finally:
            run_lab("down", state)


def demonstrate(state: Path) -> int:
    """The steps; the exit code is the one of the first step that fails."""
    say("Starting the lab: a site and a cloud with a vCenter each, and a real H2O-3 server that trains in ML-cpu-vm-01")
    up = json.loads(run_lab("up", state, "--topology", str(TOPOLOGIES / "cloud.yml")))
    there = login(of_vcenter(up, CLOUD))
    wan = {"wan_mbit": 5000, "wan_latency_ms": 20}
    leaving = {"evacuate_host_name": HOST, "evacuate_host_destination_vcenter": there, **MAPS}
    coming = {"restore_host_name": HOST, "restore_host_destination_vcenter": there}
    for text, playbook, variables in (
        (f"The VMs of {HOST} leave for the cloud", "evacuate_host", leaving),
        (f"The VMs come home to {HOST}", "restore_host", coming),
    ):
        print_places(up)
        say(text)
        options = {f"{playbook}_{name}": value for name, value in wan.items()}
        if code := play(playbook, {**variables, **options}, up["env"]):
            return code
    print_places(up)
    print_summary()
    return 0


def login(answer: dict[str, Any]) -> dict[str, Any]:
    """The login of the lab's vCenter as the roles take it."""
    server = answer["vcenter"]
    found = {"hostname": server["host"], "port": server["port"], "username": server["user"]}
    return {**found, "password": server["password"], "ca_path": answer["env"]["SSL_CERT_FILE"]}


def print_places(up: dict[str, Any]) -> None:
    """Print which VM the lab itself knows in which vCenter."""
    for name, query in (("site ", ""), ("cloud", f"?vcenter={CLOUD}")):
        with urllib.request.urlopen(f"{up['control']}/v1/state{query}", timeout=10) as answer:
            vms = json.load(answer)["vms"]
        shown = (f"{vm} on {vms[vm]['host']}" for vm in sorted(vms))
        print(f"{name}: {', '.join(shown) or 'no VM'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
