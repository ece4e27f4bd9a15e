# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab with a real VM for the tests of this folder."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.live_moves import RealVm, topology_of
from lab.errors import LabError
from lab.live import training
from lab.live.machine import MEMORY_MB, LiveSpec, equip
from lab.paths import cache_dir
from tests.labs import Lab, running_lab

EVERYTHING = os.environ.get("LIVE") == "all"  # `make live`; otherwise only a sample is run


class Real(RealVm):
    """A lab with a real VM."""

    def __init__(self, lab: Lab, folder: Path, run: str = "light") -> None:
        super().__init__(lab, folder, run)
        self.lab = lab

    def steps(self) -> int:
        """Steps of the light training, asked over the network."""
        return training.light_steps(f"http://{self.address}:9100")

    def metric(self, name: str) -> float:
        """A figure of the light training's exporter."""
        with urllib.request.urlopen(f"http://{self.address}:9100/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def require(run: str) -> None:
    """Skip a test on a machine that cannot run real VMs, with the reason; `make live` fails there."""
    try:
        equip(cache_dir(), LiveSpec(run, MEMORY_MB[run]))
    except LabError as error:
        if EVERYTHING:
            pytest.fail(f"real VMs cannot run here: {error}", pytrace=False)
        pytest.skip(f"real VMs cannot run here: {error}")


@contextmanager
def real_lab(folder: Path, others: int = 0, run: str = "light", **qemu: Any) -> Iterator[Real]:
    """A lab with two hosts, a real VM and some simulated ones beside it."""
    require(run)
    topology = folder / "topology.yml"
    topology.write_text(json.dumps(topology_of(others, run=run, **qemu)))
    with running_lab("--topology", str(topology)) as lab:
        yield Real(lab, folder, run)
