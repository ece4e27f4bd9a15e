# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab with a real VM for the tests of this folder, and the watch of the training in it."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Judgement
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState

from lab.errors import LabError
from lab.live import training
from lab.live.machine import MEMORY_MB, LiveSpec, equip
from lab.paths import cache_dir
from tests.labs import Lab, running_lab
from tests.measuring import until

EVERYTHING = os.environ.get("LIVE") == "all"  # `make live`; otherwise only a sample is run
HOME, AWAY, VM = "esx-01", "esx-02", "ML-live-vm-01"
SOURCE = {**training.SOURCE, "total_steps": 100_000_000, "vms": [VM]}
SETTINGS = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()} | {
    "h2o3": False,
    "baseline": 3.0,
    "settle_timeout": 60.0,
    "sources": [{name: option.get("default") for name, option in SOURCE_OPTIONS.items()} | SOURCE],
}
TOPOLOGY = {
    "time_scale": 0.05,
    "link_mbit": 10_000,
    "clusters": [{"name": "ML-cluster"}],
    "datastores": [{"name": "vsanDatastore", "type": "vsan", "capacity_gb": 4096, "free_gb": 2048}],
    "networks": [{"name": "ml-network"}],
    "defaults": {
        "host": {"cluster": "ML-cluster", "cores": 16, "mhz": 2600, "memory_gb": 64},
        "vm": {"memory_gb": 1, "cpus": 1, "datastores": ["vsanDatastore"], "networks": ["ml-network"]},
    },
    "hosts": [{"name": HOME, "fault_domain": "a"}, {"name": AWAY, "fault_domain": "a"}],
}


@dataclass(frozen=True)
class Truth:
    """What the hypervisor and the serial line say about one move, in seconds."""

    freeze: float
    standstill: float
    passes: int
    transferred_mb: float


@dataclass(frozen=True)
class Real:
    """A lab with a real VM."""

    lab: Lab
    folder: Path

    def vm(self) -> dict[str, Any]:
        return dict(self.lab.get("state")["vms"][VM])

    def steps(self) -> int:
        """Steps of the training, asked over the network."""
        return training.light_steps(f"http://{self.vm()['guest_address']}:9100")

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{self.vm()['guest_address']}:9100/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def begin_move(self, target: str) -> int:
        """Start a move; return its place in the lab's list."""
        self.lab.post(f"vms/{VM}", action="move", target=target)
        return len(self.lab.get("state")["moves"]) - 1

    def end_of(self, number: int) -> dict[str, Any]:
        """Wait for the end of a move, and return its record."""
        until(lambda: self.lab.get("state")["moves"][number]["finished"])
        return dict(self.lab.get("state")["moves"][number])

    def move(self, hold: float = 0.0) -> dict[str, Any]:
        """Move the VM to the other host."""
        if hold:
            self.lab.post(f"guests/{VM}", action="hold", seconds=hold)
        return self.end_of(self.begin_move(AWAY if self.vm()["host"] == HOME else HOME))

    def truth(self) -> Truth:
        """Of the last move. The standstill is known a moment after it."""
        until(lambda: self.vm()["freezes"][-1].get("standstill"), patience=60.0)
        last = self.vm()["freezes"][-1]
        assert last["cause"] == "vmotion"
        return Truth(last["seconds"], last["standstill"], last["passes"], last["transferred_mb"])

    def judged(self, hold: float, trial: str) -> tuple[Judgement, Truth]:
        """Move the VM while the collection watches it."""
        folder = self.folder / trial
        folder.mkdir()
        providers = Providers(SETTINGS)
        address = self.vm()["guest_address"]
        (seen,) = providers.observe([VmState("vm-1", VM, "uuid", "host-1", Power.ON, 1 << 30, guest_address=address)])
        assert len(seen.experiments) == 1, seen.detail
        with providers.watch(seen.experiments, folder, lambda *_news: None) as watch:
            watch.baseline()
            watch.focus("vm-1")
            time.sleep(1)
            record = self.move(hold)
            watch.moved("vm-1")
            until(lambda: watch.settled("vm-1"))
            (judgement,) = watch.judge("vm-1")
        assert record["result"] == "success", record
        return judgement, self.truth()


def require() -> None:
    """Skip a test on a machine that cannot run real VMs, with the reason; `make live` fails there."""
    try:
        equip(cache_dir(), LiveSpec("light", MEMORY_MB["light"]))
    except LabError as error:
        if EVERYTHING:
            pytest.fail(f"real VMs cannot run here: {error}", pytrace=False)
        pytest.skip(f"real VMs cannot run here: {error}")


@contextmanager
def real_lab(folder: Path, others: int = 0, **qemu: Any) -> Iterator[Real]:
    """A lab with two hosts, a real VM and some simulated ones beside it."""
    require()
    vms = [{"name": VM, "host": HOME, "qemu": {"run": "light", **qemu}}]
    vms += [{"name": f"ML-cpu-vm-{number:02d}", "host": HOME} for number in range(2, 2 + others)]
    topology = folder / "topology.yml"
    topology.write_text(json.dumps({**TOPOLOGY, "vms": vms}))
    with running_lab("--topology", str(topology)) as lab:
        yield Real(lab, folder)
