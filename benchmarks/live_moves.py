# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab with one real VM, and moves of it that the collection watches. Tests and benchmarks use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Observation, Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Judgement
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState

from lab.control import Control
from lab.errors import LabError
from lab.live import training

HOME, AWAY, VM = "esx-01", "esx-02", "ML-live-vm-01"
SOURCE = {**training.SOURCE, "total_steps": 100_000_000, "vms": [VM]}
# How the watch of each guest finds its training; everything else is the default of the modules.
SOURCES = {
    "light": {
        "h2o3": False,
        "sources": [{name: option.get("default") for name, option in SOURCE_OPTIONS.items()} | SOURCE],
    },
    "h2o": {"h2o3": True},
}
LEAD_SECONDS = 1.0  # watched as closely as in a move, before the move
MAX_MOVE_SECONDS, MAX_TRUTH_SECONDS = 300.0, 60.0
LOOK_SECONDS = 0.1
LOOKS = 5  # for a training before it counts as missing
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


def topology_of(others: int = 0, **qemu: Any) -> dict[str, Any]:
    """Two hosts with a real VM, and some simulated ones beside it."""
    vms = [{"name": VM, "host": HOME, "qemu": qemu}]
    vms += [{"name": f"ML-cpu-vm-{number:02d}", "host": HOME} for number in range(2, 2 + others)]
    return {**TOPOLOGY, "vms": vms}


# Of a lab's guests: behind the switch, and on the bridge.
GUEST_NETWORKS = ["127.0.0.0/8", "10.99.0.0/24"]


def settings_of(run: str) -> dict[str, Any]:
    """The option ``experiments`` for a guest."""
    usual = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()}
    return {**usual, "allowed_networks": GUEST_NETWORKS, **SOURCES[run]}


@dataclass(frozen=True)
class Truth:
    """What the hypervisor and the serial line say about one move, in seconds.

    ``freeze``: from STOP to RESUME. ``standstill``: the longest time without a beat of the training around the freeze;
    ``longest``: the longest one in the whole time that was watched.
    """

    freeze: float
    standstill: float
    longest: float
    passes: int
    transferred_mb: float


@dataclass(frozen=True)
class Watched:
    """A move that was watched. Its stall is the longest one after ``since``, in monotonic seconds."""

    judgement: Judgement
    truth: Truth
    since: float


class RealVm:
    """The real VM of a lab. ``folder`` is for what is written while it is watched."""

    def __init__(self, control: Control, folder: Path, run: str = "light") -> None:
        self.control = control
        self.folder = folder
        self.run = run

    def state(self) -> dict[str, Any]:
        """What the lab reports of it."""
        return dict(self.control.get("state")["vms"][VM])

    @property
    def address(self) -> str:
        """The address on which its training answers."""
        return str(self.state()["guest_address"])

    def begin_move(self, target: str) -> int:
        """Start a move; return its place in the lab's list."""
        self.control.post(f"vms/{VM}", action="move", target=target)
        return len(self.control.get("state")["moves"]) - 1

    def end_of(self, number: int) -> dict[str, Any]:
        """Wait for the end of a move, and return its record. Raises LabError if it takes too long."""
        _await(lambda: self.control.get("state")["moves"][number]["finished"], MAX_MOVE_SECONDS, "its move ends")
        return dict(self.control.get("state")["moves"][number])

    def move(self, hold: float = 0.0) -> dict[str, Any]:
        """Move the VM to the other host; the switch-over takes at least ``hold`` seconds."""
        if hold:
            self.control.post(f"guests/{VM}", action="hold", seconds=hold)
        return self.end_of(self.begin_move(AWAY if self.state()["host"] == HOME else HOME))

    def truth(self, since: float | None = None) -> Truth:
        """Of the last move; ``since`` (monotonic) is when the watch began. Raises LabError if its training stands still."""
        _await(lambda: self.state()["freezes"][-1].get("standstill"), MAX_TRUTH_SECONDS, "its training continues")
        last = self.state()["freezes"][-1]
        if last["cause"] != "vmotion":
            raise LabError(f"{VM} did not move last: {last['cause']}")
        longest = max([last["standstill"], *self._gaps(since)])
        return Truth(last["seconds"], last["standstill"], longest, last["passes"], last["transferred_mb"])

    def _gaps(self, since: float | None) -> list[float]:
        """Seconds without a beat, of all such times that ended after ``since``."""
        if since is None:
            return []
        began = since + time.time() - time.monotonic()
        gaps = [(_epoch(gap["started"]), gap["seconds"]) for gap in self.control.get(f"guests/{VM}/gaps")["gaps"]]
        return [seconds for started, seconds in gaps if started + seconds > began]

    def _training(self, providers: Providers) -> Observation:
        """The training of the VM. An emulated VM on a busy machine may be too slow for the first look."""
        machine = VmState("vm-1", VM, "u", "host-1", Power.ON, 1 << 30, guest_address=self.address)
        for _look in range(LOOKS):
            (seen,) = providers.observe([machine])
            if len(seen.experiments) == 1:
                return seen
        raise LabError(f"{len(seen.experiments)} trainings were found in {VM}, not one: {seen.detail}")

    def judged(self, hold: float, trial: str) -> Watched:
        """Move the VM while the collection watches it. Raises LabError if it did not move or its training is not found."""
        folder = self.folder / trial
        folder.mkdir()
        providers = Providers(settings_of(self.run))
        seen = self._training(providers)
        with providers.watch(seen.experiments, folder, lambda *_news: None) as watch:
            watch.baseline()
            watch.focus("vm-1")
            began = time.monotonic()
            time.sleep(LEAD_SECONDS)
            record = self.move(hold)
            watch.moved("vm-1")
            _await(lambda: watch.settled("vm-1"), MAX_MOVE_SECONDS, "its training settles")
            (judgement,) = watch.judge("vm-1")
        if record["result"] != "success":
            raise LabError(f"{VM} did not move: {record}")
        return Watched(judgement, self.truth(began), began)


def _await(met: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait until ``met`` returns something true. Raises LabError."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            raise LabError(f"{VM}: waited {seconds:.0f} s until {what}")
        time.sleep(LOOK_SECONDS)


def _epoch(text: str) -> float:
    """A time of the lab in seconds."""
    return datetime.fromisoformat(text).timestamp()
