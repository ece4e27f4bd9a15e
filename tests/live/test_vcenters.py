# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make live`: a real guest moves from one vCenter to another one and back, by live migrations over the WAN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVim.task import WaitForTask
from pyVmomi import vim

from lab.live.training import light_steps
from lab.paths import TOPOLOGIES
from tests.labs import Lab, running_lab
from tests.live.real import EVERYTHING, require
from tests.measuring import until
from tests.sdk import CLOUD, SITE, across, content_of, find

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not EVERYTHING, reason="only a sample of the moves of real VMs is run; make live runs all of them"
    ),
]
VM = "ML-cpu-vm-01"


def topology(folder: Path) -> str:
    """The topology of two vCenters, with a real VM instead of a server. It has nearly no files, so its memory is most of a move."""
    document = yaml.safe_load((TOPOLOGIES / "cloud.yml").read_text(encoding="utf-8"))
    disks = [{"size_gb": 1, "used_gb": 0.001}]
    real = {"memory_gb": 1, "memory_reservation_gb": 1, "cpus": 1, "disks": disks, "qemu": {"run": "light"}}
    document["vms"][0] = {"name": VM, "host": "esx-01", **real}
    path = folder / "cloud.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def guest(lab: Lab) -> dict[str, Any]:
    return dict(lab.get("state")["vms"][VM]["guest"])


def test_a_real_vm_moves_to_another_vcenter_and_home(tmp_path: Path) -> None:
    require("light")
    with running_lab("--topology", topology(tmp_path)) as lab:
        cloud = lab.other("cloud")
        address = lab.get("state")["vms"][VM]["guest_address"]
        with content_of(lab) as near, content_of(cloud) as far:
            first, steps = guest(lab), light_steps(f"http://{address}:9100")
            vm = find(near, vim.VirtualMachine, VM)
            cloud.post("wan", mbit=20)
            task = vm.RelocateVM_Task(across(cloud, far, CLOUD, {4000: "ml-segment"}))
            until(lambda: (task.info.progress or 0) > 5)
            cloud.post("wan", state="down")
            with pytest.raises(vim.fault.GenericVmConfigFault):
                WaitForTask(task)
            assert guest(lab)["pid"] == first["pid"]
            cloud.post("wan", state="up", mbit=10_000)

            WaitForTask(vm.RelocateVM_Task(across(cloud, far, CLOUD, {4000: "ml-segment"})))
            there = guest(cloud)
            assert there["state"] == "running"
            assert there["pid"] != first["pid"]
            assert lab.get("state")["moves"][-1]["freeze_seconds"] > 0
            until(lambda: light_steps(f"http://{address}:9100") > steps)
            steps = light_steps(f"http://{address}:9100")
            arrived = find(far, vim.VirtualMachine, VM)
            WaitForTask(arrived.RelocateVM_Task(across(lab, near, SITE, {4000: "ml-network"})))
            assert guest(lab)["state"] == "running"
            until(lambda: light_steps(f"http://{address}:9100") > steps)
