# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs with vGPUs: the lab's hosts have GPUs, which say who is on them, and moves need a free vGPU and take a stun."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import FOLLOW_SECONDS
from pyVim.task import WaitForTask
from pyVmomi import vim

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, running_lab
from tests.measuring import until
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


def planned(run_module: RunModule, lab: Lab, state: Path, **options: Any) -> dict[str, Any]:
    plan = run_module("migration_plan", lab, host="esx-01", policy="any", state_dir=str(state), **options)
    assert not plan.get("failed"), plan["msg"]
    return plan


def reasons(plan: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The hints by VM and check, of the VMs that prevent maintenance mode."""
    return {r["vm_name"]: {x["check"]: x["hint"] for x in r["reasons"]} for r in plan["refusals"] if r["blocking"]}


def test_an_evacuation_plans_vgpus_and_moves_them_itself_while_drs_moves_the_others(
    tmp_path: Path, run_module: RunModule
) -> None:
    with gpu_lab(tmp_path) as lab:
        tight = reasons(planned(run_module, lab, tmp_path, stall_budget=3))
        assert tight.keys() == {ON(1), ON(2)}
        assert "up to 4 s; the stall budget is 3 s. Raise stall_budget to 4" in tight[ON(1)]["vgpu_stun"]
        assert lab.get("calls")["QueryConfigTarget"] == 3, "once for each host that offers the profile"

        lab.post("calls/refuse", call="QueryConfigTarget", fault="NoPermission", times=3)
        assert "up to 12 s" in reasons(planned(run_module, lab, tmp_path))[ON(1)]["vgpu_stun"], "from the table"

        lab.post("hide", object="esx-03", paths=["config.graphicsInfo"], fault="NoPermission")
        hidden = planned(run_module, lab, tmp_path)
        assert {move["vm_name"]: move["target_name"] for move in hidden["moves"] if move["vgpus"]} == {
            ON(1): "esx-03", ON(2): "esx-03",
        }, "vCenter checks each VM alone, and reserves nothing"  # fmt: skip
        assert "It is not known whether esx-03 has free vGPUs." in " ".join(hidden["lines"])
        lab.post("hide", object="esx-03", paths=["config.graphicsInfo"], fault="none")

        lab.post("faults", vm=ON(3), times=1, fault="InsufficientGraphicsResourcesFault")
        failed = run_module(
            "vm_migrate", lab, plan=planned(run_module, lab, tmp_path)["plan"], on_failure="rollback", state_dir=str(tmp_path),
            experiments={"enabled": False},
        )  # fmt: skip
        assert "has no free vGPU of the VM's profile. Free one of its GPUs" in failed["msg"]
        back = [move for move in failed["moves"] if move["back"]]
        assert [(move["target"], move["result"]) for move in back] == [("esx-01", "moved")], "its vGPU there is free"

        plan = planned(run_module, lab, tmp_path, drs="follow")
        (moving,) = [move for move in plan["moves"] if move["vgpus"]]
        (left,) = {ON(1), ON(2)} - {moving["vm_name"]}
        assert (moving["target_name"], moving["predicted_stun"]) == ("esx-03", 4.0)
        assert f"{moving['vm_name']}: esx-01 → esx-03; stands still for up to 4 s (vGPU {HALF})" in plan["lines"]
        assert "with 0. Free a GPU" in reasons(plan)[left]["no_vgpu_slot"]
        assert "does not move 1 VM with a vGPU by itself (Broadcom KB 313479); this run does." in plan["lines"][-1]

        began = time.monotonic()
        moved = run_module(
            "vm_migrate", lab, plan=plan["plan"], host="esx-01", purpose="evacuate", fence=True, state_dir=str(tmp_path),
            experiments={"enabled": False},
        )  # fmt: skip
        assert not moved.get("failed"), moved["msg"]
        assert {move["vm"]: move["by"] for move in moved["moves"]} == {moving["vm_name"]: "", ON(3): "DRS"}
        assert time.monotonic() - began < FOLLOW_SECONDS, "nobody waited for DRS to move it"
        until(lambda: lab.where()[moving["vm_name"]] == "esx-03")
