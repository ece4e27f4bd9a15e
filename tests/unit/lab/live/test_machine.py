# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of a real VM, and its part of the simulator's configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.live_moves import topology_of
from lab.addresses import Claim
from lab.guests import Supply, place_guests
from lab.live.hypervisor import Hypervisor
from lab.live.image import Image
from lab.live.machine import Equipment, LiveSpec, kernel_line, live_entry, qemu_command
from lab.processes import MARK
from lab.topology import parse

EQUIPMENT = Equipment(
    Hypervisor(("/qemu", "-L", "/share"), "10.0.2", "/libraries"), Image(Path("/image"), "d"), 2_600_000
)
LIGHT = LiveSpec("light", 192, 30)


def test_the_guest_is_given_the_rate_of_its_counter_and_its_work() -> None:
    words = kernel_line(LIGHT, 2_600_000).split()
    assert "tsc_early_khz=2600000" in words
    assert {"live.address=10.99.0.2/24", "live.run=light", "live.dirty=64/30"} <= set(words)
    assert "live.heap=704" in kernel_line(LiveSpec("h2o", 1280), 1).split()


def test_both_sides_of_a_migration_have_the_same_devices() -> None:
    command = qemu_command(EQUIPMENT, LIGHT)
    assert command[:3] == ["/qemu", "-L", "/share"]
    assert command[command.index("-m") + 1] == "192M"
    assert command[command.index("-accel") + 1].startswith("tcg"), "KVM is never used unasked"
    assert not {"-netdev", "-qmp", "-serial", "-incoming", "-name"} & set(command), "these differ on the two sides"


def test_a_real_vm_is_started_by_the_simulator(tmp_path: Path) -> None:
    entry = live_entry(EQUIPMENT, LIGHT, tmp_path / "guest", tmp_path, None)
    assert entry["env"][MARK] == str(tmp_path), "`down` finds it by that"
    assert entry["env"]["LD_LIBRARY_PATH"] == "/libraries"
    assert entry["live"]["hypervisor"] == "QEMU 10.0.2"
    assert (entry["live"]["state"], entry["live"]["ports"]) == ("", [9100])
    kept = live_entry(EQUIPMENT, LiveSpec("h2o", 1280), tmp_path, tmp_path, Path("/kept"))
    assert (kept["live"]["state"], kept["live"]["ports"]) == ("/kept", [54321])
    assert entry["live"]["taps"] == []
    bridged = live_entry(EQUIPMENT, replace(LIGHT, network="bridge"), tmp_path, tmp_path, None)
    assert bridged["live"] == {**entry["live"], "folder": str(tmp_path), "taps": ("tap0", "tap1")}


def test_a_vm_with_qemu_is_placed_with_its_folder(tmp_path: Path) -> None:
    document = {
        "clusters": [{"name": "c"}],
        "datastores": [{"name": "ds", "capacity_gb": 10, "free_gb": 5}],
        "networks": [{"name": "net"}],
        "hosts": [{"name": "esx-01", "cluster": "c", "cores": 4, "mhz": 2000, "memory_gb": 16}],
        "vms": [
            {"name": "vm-07", "host": "esx-01", "memory_gb": 2, "cpus": 1, "qemu": {"run": "light", "dirty_mb_s": 30}},
            {"name": "vm-08", "host": "esx-01", "memory_gb": 2, "cpus": 1},
        ],
    }
    supply = Supply(live={LIGHT: (EQUIPMENT, None)})
    (real, plain), servers, (machine,) = place_guests(parse(document), Claim(32), tmp_path, supply)
    assert servers == []
    assert (machine.vm, machine.url) == ("vm-07", "http://127.0.1.39:9100")
    assert machine.folder.is_dir()
    assert real["guest"]["live"]["folder"] == str(machine.folder)
    assert "live" not in plain["guest"]


def test_a_vm_on_the_bridge_answers_on_its_own_address(tmp_path: Path) -> None:
    bridged = replace(LIGHT, network="bridge")
    document = topology_of(run="light", dirty_mb_s=30, network="bridge")
    (entry,), _servers, (machine,) = place_guests(
        parse(document), Claim(32), tmp_path, Supply(live={bridged: (EQUIPMENT, None)})
    )
    assert machine.url == "http://10.99.0.2:9100"
    assert entry["guest"]["address"] == "10.99.0.2"
