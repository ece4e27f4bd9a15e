# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vCenter's own checks of moves: the lab answers them truthfully, and a plan asks for them before anything is fenced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Relocation
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import read_estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from lab.paths import TOPOLOGIES
from tests.drs import administrator
from tests.labs import Lab, RunModule, running_lab

HOST, AVX = "esx-01", "cpuid.avx512f"
CHECKS = ("QueryVMotionCompatibilityEx_Task", "CheckRelocate_Task")


@contextmanager
def mixed_lab(folder: Path) -> Iterator[Lab]:
    """Only esx-04 has the processor feature that ML-cpu-vm-01 uses, and no host has that of ML-cpu-vm-02. esx-02 is in standby.

    The processors of esx-03 are older than ML-cpu-vm-03 needs.
    """
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    hosts = {host["name"]: host for host in topology["hosts"]}
    hosts[HOST]["cpu_features"] = [AVX, "cpuid.amx"]
    hosts["esx-04"]["cpu_features"] = [AVX]
    hosts["esx-02"]["standby"] = True
    hosts["esx-03"]["evc_max"] = "intel-haswell"
    hosts["esx-04"]["memory_used_gb"] = 40  # esx-03 has the most room
    vms = {vm["name"]: vm for vm in topology["vms"]}
    vms["ML-cpu-vm-01"]["cpu_features"] = [AVX]
    vms["ML-cpu-vm-02"]["cpu_features"] = ["cpuid.amx"]
    vms["ML-cpu-vm-03"] |= {"devices": ["cdrom_iso"], "evc": "intel-skylake"}
    topology["language"] = "de"
    path = folder / "mixed.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        yield lab


def test_a_plan_asks_vcenter_and_says_what_it_answered(run_module: RunModule, tmp_path: Path) -> None:
    with mixed_lab(tmp_path) as lab:
        state = {"state_dir": str(tmp_path), "policy": "any"}
        plan = run_module("migration_plan", lab, host=HOST, **state)
        to = {move["vm_name"]: move["target_name"] for move in plan["moves"]}
        assert to["ML-cpu-vm-01"] == "esx-04", "the only host with its processor feature"
        assert to["ML-cpu-vm-03"] == "esx-04", (
            "esx-02 is in standby, and the processors of esx-03 are older than the VM needs"
        )
        [refusal] = [refusal for refusal in plan["refusals"] if refusal["blocking"]]
        [reason] = [r for r in refusal["reasons"] if r["check"] == "vcenter_check"]
        assert refusal["vm_name"] == "ML-cpu-vm-02"
        assert "esx-03: FeatureRequirementsNotMet (Der Zielhost unterstützt" in reason["object"], (
            "in vCenter's language"
        )
        assert "esx-02" in next(r["object"] for r in refusal["reasons"] if r["check"] == "target_standby")
        [said] = [line for line in plan["lines"] if line.startswith("vCenter checked ")]
        assert said.startswith(
            f"vCenter checked {len(to)} moves, and prevents none of them. It warns, which does not prevent a move: ML-cpu-vm-03 → "
        )
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "normal"

        for call in CHECKS:
            lab.post("calls/refuse", call=call, fault="NotSupported", times=1)
        unanswered = run_module("migration_plan", lab, host=HOST, **state)
        [line] = [line for line in unanswered["lines"] if line.startswith("vCenter did not check ")]
        assert "NotSupported" in line
        assert "What only vCenter knows may still prevent them." in line
        assert unanswered["plan"]["checks"]["checked"] == 0
        to = {move["vm_name"]: move["target_name"] for move in unanswered["moves"]}
        assert to["ML-cpu-vm-03"] == "esx-04", "EVC modes are known without vCenter's checks"

        moved = run_module(
            "vm_migrate", lab, plan=plan["plan"], host=HOST, purpose="evacuate", experiments={"enabled": False},
            state_dir=str(tmp_path),
        )  # fmt: skip
        assert {move["result"] for move in moved["moves"]} == {"moved"}
        failed = [move["error"] for move in lab.get("state")["moves"] if move["error"]]
        assert failed == [], "vCenter had said that it would make these moves"


def test_the_lab_checks_as_it_moves(tmp_path: Path) -> None:
    """Each answer of a check is the fault with which the same move fails."""
    with mixed_lab(tmp_path) as lab, connected(administrator(lab)) as client:
        session, estate = VcenterSession(client), read_estate(client)
        vms, hosts = ({each.name: moid for moid, each in known.items()} for known in (estate.vms, estate.hosts))
        moves = [Relocation(vms["ML-cpu-vm-02"], hosts[f"esx-0{n}"]) for n in (2, 3, 4)]
        moves.append(Relocation(vms["ML-cpu-vm-03"], hosts["esx-03"]))  # its processors are too old
        for move, found in zip(moves, session.check_moves(moves), strict=True):
            end = session.wait_for(session.relocate(move.vm, move.host, place=None, priority="highPriority"), 20)
            assert end.fault is not None
            assert found.errors[0].startswith(end.fault.name), "the first fault that it names"
        compared = session.compatible([vms["ML-cpu-vm-01"]], list(hosts.values()))
        assert {target for (_vm, target), found in compared.items() if not found.errors} == {
            hosts[HOST],
            hosts["esx-04"],
        }
        checker = client.content.vmProvisioningChecker
        machine = client.reference("VirtualMachine", vms["ML-cpu-vm-01"])
        task = checker.CheckMigrate_Task(
            machine, client.reference("HostSystem", hosts["esx-04"]), None, "poweredOff", None
        )
        session.wait_for(task._moId, 20)
        [result] = task.info.result
        assert type(result.error[0]).__name__.endswith("InvalidPowerState")
        assert task.info.entity == machine
