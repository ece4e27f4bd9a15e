# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs with vGPUs: the lab's hosts have GPUs, which say who is on them, and moves need a free vGPU and take a stun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVim.task import WaitForTask
from pyVmomi import vim

from lab.paths import TOPOLOGIES
from tests.labs import Lab, running_lab
from tests.sdk import content_of, find

HALF, WHOLE = "grid_v100-8q", "grid_v100-16q"
V100 = {"model": "NVIDIA Tesla V100", "memory_gb": 16}
ON = "ML-cpu-vm-0{}".format


@contextmanager
def gpu_lab(folder: Path) -> Iterator[Lab]:
    """VMs 1 and 2 fill the GPU of esx-01 by halves, VM 5 has that of esx-02 alone, VM 6 half of that of esx-03. esx-04 has none."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    hosts = {host["name"]: host for host in topology["hosts"]}
    for name in ("esx-01", "esx-02", "esx-03"):
        hosts[name] |= {"gpus": [V100], "vgpu_profiles": [HALF, WHOLE]}
    hosts["esx-03"]["stun_estimates"] = {HALF: [[10_000, 4], [25_000, 2]]}
    vms = {vm["name"]: vm for vm in topology["vms"]}
    for number, profile in ((1, HALF), (2, HALF), (5, WHOLE), (6, HALF)):
        vms[ON(number)]["devices"] = [f"vgpu:{profile}"]
    topology["clusters"][0]["drs"] = "full"
    path = folder / "gpus.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        yield lab


def users(host: Any) -> list[set[str]]:
    """The names of the VMs on each GPU of a host."""
    return [{vm.name for vm in gpu.vm} for gpu in host.config.graphicsInfo]


def stuns(host: Any) -> dict[str, list[tuple[int, int]]]:
    target = host.parent.environmentBrowser.QueryConfigTarget(host)
    return {p.profileName: [(e.migrationBW, e.stunTime) for e in p.stunTimeEstimates] for p in target.vgpuProfileInfo}


def test_vcenter_says_who_is_on_a_gpu_and_moves_a_vm_only_to_a_free_vgpu(tmp_path: Path) -> None:
    with gpu_lab(tmp_path) as lab, content_of(lab) as content:
        source, full, target, plain = (find(content, vim.HostSystem, f"esx-0{n}") for n in (1, 2, 3, 4))
        assert users(source) == [{ON(1), ON(2)}]
        assert users(target) == [{ON(6)}]
        assert not plain.config.graphicsInfo
        assert stuns(target) == {HALF: [(10_000, 4), (25_000, 2)], WHOLE: []}
        one, two = (find(content, vim.VirtualMachine, ON(n)) for n in (1, 2))
        for host in (full, plain):
            with pytest.raises(vim.fault.InsufficientGraphicsResourcesFault):
                WaitForTask(one.RelocateVM_Task(vim.vm.RelocateSpec(host=host)))
        tasks = [vm.RelocateVM_Task(vim.vm.RelocateSpec(host=target)) for vm in (one, two)]
        ends = set[str]()
        for task in tasks:
            try:
                ends.add(str(WaitForTask(task)))
            except vim.fault.InsufficientGraphicsResourcesFault:
                ends.add("full")
        assert ends == {"success", "full"}, "a vGPU is reserved when the move begins"
        (there,) = users(target)
        assert there - {ON(6)} in ({ON(1)}, {ON(2)})
        assert users(source) == [{ON(1), ON(2)} - there]
