# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real VM of the lab: what its guest runs, the command line of its QEMU, and its part of the simulator's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.live.bridge import BITS, GUEST, TAPS
from lab.live.hypervisor import Hypervisor, find_hypervisor, tsc_khz
from lab.live.image import Image, guest_image
from lab.processes import bare_environment

MAC = "52:54:00:4c:51:02"
PORTS = {"light": 9100, "h2o": 54321}
MEMORY_MB = {"light": 192, "h2o": 1280}
HEAP_SHARE = 0.55  # of the memory, for Java
NETWORKS = ("switch", "bridge")
DIRTY_SHARE = 3  # one part in so many of the memory is written to
NICE = 10


@dataclass(frozen=True)
class LiveSpec:
    """The ``qemu`` part of a VM: ``light`` or ``h2o``, its memory in MiB, and how fast memory is written, in MiB/s.

    ``network``: the ``switch`` of the simulator's process, or the ``bridge`` of :mod:`.bridge`.
    """

    run: str
    memory_mb: int
    dirty_mb_s: int = 0
    network: str = "switch"

    @property
    def port(self) -> int:
        """The port on which its training answers."""
        return PORTS[self.run]

    @property
    def bridged(self) -> bool:
        """Whether the VM is on the bridge, which is for one VM: all real VMs have the same address of their own."""
        return self.network == "bridge"


@dataclass(frozen=True)
class Equipment:
    """What one kind of real VM needs on this machine."""

    hypervisor: Hypervisor
    image: Image
    tsc_khz: int


def equip(cache: Path, spec: LiveSpec) -> Equipment:
    """Find or make the hypervisor and the image.

    Raises:
        LabError: something is missing; the text says what.
    """
    return Equipment(find_hypervisor(cache), guest_image(cache, spec.run), tsc_khz())


def kernel_line(spec: LiveSpec, khz: int) -> str:
    """The kernel's command line; ``guest/start.sh`` reads the words that begin with ``live.``."""
    # Without the first line a guest on a busy machine measures the rate of its counter wrongly.
    words = f"""
        tsc_early_khz={khz} tsc=reliable clocksource=tsc no_timer_check
        console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on
        live.address={GUEST}/{BITS} live.run={spec.run} live.heap={int(spec.memory_mb * HEAP_SHARE)}
        live.dirty={spec.memory_mb // DIRTY_SHARE}/{spec.dirty_mb_s}
    """
    return " ".join(words.split())


def qemu_command(equipment: Equipment, spec: LiveSpec) -> list[str]:
    """QEMU's command line, without what differs between the two sides of a migration: names, sockets and logs."""
    image = equipment.image
    return [
        *equipment.hypervisor.command,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        # Emulation: what a machine without usable KVM has, and equal everywhere.
        *("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max", "-smp", "1"),
        *("-m", f"{spec.memory_mb}M"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel_line(spec, equipment.tsc_khz)),
        *("-blockdev", f"driver=file,node-name=file,filename={image.root},read-only=on,auto-read-only=off"),
        *("-blockdev", "driver=raw,node-name=disk,file=file,read-only=on"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
    ]


def live_entry(equipment: Equipment, spec: LiveSpec, folder: Path, state: Path, kept: Path | None) -> dict[str, Any]:
    """How the simulator starts and moves the VM. ``kept`` is the file with the state that it starts from."""
    return {
        "env": {**bare_environment(state), **equipment.hypervisor.environment},
        "nice": NICE,
        "live": {
            "hypervisor": equipment.hypervisor.name,
            "command": qemu_command(equipment, spec),
            "folder": str(folder),
            "state": str(kept or ""),
            "inside": GUEST,
            "mac": MAC,
            "taps": TAPS if spec.bridged else [],
            "ports": [spec.port],
        },
    }
