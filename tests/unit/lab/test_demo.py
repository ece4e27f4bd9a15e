# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: a real VM is among the others if real VMs can run, and otherwise it says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import demo
from lab.errors import LabError
from lab.live.hypervisor import Hypervisor
from lab.live.image import Image
from lab.live.machine import Equipment, LiveSpec
from lab.paths import DEFAULT_TOPOLOGY
from lab.topology import load

EQUIPMENT = Equipment(Hypervisor(("/qemu",), "10.0.2"), Image(Path("/image"), "d"), 1)


def test_a_real_vm_is_on_the_host_that_is_evacuated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "equip", lambda *_args: EQUIPMENT)
    chosen = demo.topology(tmp_path / "topology.yml")
    assert chosen is not None
    topology = load(chosen)
    real = dict(zip((vm["name"] for vm in topology.vms), topology.guests, strict=True))[demo.REAL_VM]
    assert real == LiveSpec("light", 192)
    assert next(vm["host"] for vm in topology.vms if vm["name"] == demo.REAL_VM) == demo.HOST
    assert len(topology.vms) == len(yaml.safe_load(DEFAULT_TOPOLOGY.read_text())["vms"]) + 1
    assert "a live migration by QEMU 10.0.2 moves it" in capsys.readouterr().out


def test_without_qemu_the_demonstration_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_args: object) -> Equipment:
        raise LabError("a real VM needs apt-get of Debian's package apt, which this machine does not have")

    monkeypatch.setattr(demo, "equip", missing)
    assert demo.topology(tmp_path / "topology.yml") is None
    assert "No real VM moves in this demonstration: a real VM needs apt-get" in capsys.readouterr().out
