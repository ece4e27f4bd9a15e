# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""QEMU: the machine's own if it is new enough, else Debian's, unpacked into the cache.

Older than 9, QEMU corrupts a guest that it moves live without KVM, so it is never used.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, say
from lab.filelock import locked
from lab.live.packages import Archive, codename
from lab.toolchain import output_of

PROGRAM = "qemu-system-x86_64"
PACKAGE = "qemu-system-x86"
MIN_VERSION = (9, 0)
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_TSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
TSC_SECONDS = 0.1


@dataclass(frozen=True)
class Hypervisor:
    """A QEMU that runs here. ``libraries`` is its LD_LIBRARY_PATH, empty for one that is installed."""

    command: tuple[str, ...]
    version: str
    libraries: str = ""

    @property
    def name(self) -> str:
        """``QEMU 10.0.2``."""
        return f"QEMU {self.version}"

    @property
    def environment(self) -> dict[str, str]:
        """What its processes need in their environment."""
        return {"LD_LIBRARY_PATH": self.libraries} if self.libraries else {}


def version_of(text: str) -> tuple[int, ...] | None:
    """``QEMU emulator version 10.0.2 (Debian ..)`` -> (10, 0, 2); ``1:10.0.2+ds-2`` -> (10, 0, 2)."""
    found = re.search(r"(?:version |\d:|^)(\d+(?:\.\d+)+)", text)
    return tuple(map(int, found[1].split("."))) if found else None


def probe(command: tuple[str, ...], libraries: str = "") -> Hypervisor | None:
    """The QEMU behind a command, None if it does not run."""
    environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
    version = version_of(output_of([*command, "--version"], environment))
    return Hypervisor(command, ".".join(map(str, version)), libraries) if version else None


def is_new(hypervisor: Hypervisor) -> bool:
    """Whether live migration without KVM leaves the guest intact."""
    return tuple(map(int, hypervisor.version.split("."))) >= MIN_VERSION


def unpacked(root: Path) -> Hypervisor | None:
    """The QEMU that was unpacked into ``root``."""
    share = root / "usr" / "share"
    command = (str(root / "usr/bin" / PROGRAM), "-L", str(share / "qemu"), "-L", str(share / "seabios"))
    return probe(command, os.pathsep.join(str(root / folder) for folder in LIBRARIES))


def find_hypervisor(cache: Path) -> Hypervisor:
    """A QEMU, min 9.0, downloaded if the machine has none.

    Raises:
        LabError: there is none and it cannot be downloaded; the text says what is missing.
    """
    if platform.machine() != "x86_64":
        raise LabError(f"a real VM needs a processor of type x86_64, and this machine is {platform.machine()}")
    path = shutil.which(PROGRAM)
    found = probe((path,)) if path else None
    if found is not None and is_new(found):
        return found
    root = cache / "live" / "qemu"
    with locked(cache / "live.lock"):
        found = unpacked(root)
        if found is None:
            download(root, cache)
            found = unpacked(root)
    if found is None:
        raise LabError(
            f"QEMU of Debian does not run here, and a real VM needs it: see {root / 'usr/bin' / PROGRAM} --version"
        )
    return found


def download(root: Path, cache: Path) -> None:
    """Unpack Debian's QEMU into ``root``, from the backports if the release itself has an older one."""
    say("a real VM needs QEMU 9 or newer: unpacking Debian's (15 MB), nothing is installed")
    archive = Archive(cache / "live" / "apt")
    archive.open()
    suite = ""
    if not any(map(has_min_version, archive.versions(PACKAGE))):
        archive.open(backports=True)
        suite = f"{codename()}-backports"
    offered = archive.versions(PACKAGE)
    if not any(map(has_min_version, offered)):
        raise LabError(
            f"a real VM needs QEMU 9 or newer, and the packages of this system have {', '.join(offered) or 'none'};"
            f" install {PROGRAM} 9 or newer"
        )
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    archive.unpack([PACKAGE], part, suite=suite, missing_only=True)
    shutil.rmtree(root, ignore_errors=True)
    part.rename(root)


def has_min_version(text: str) -> bool:
    """Whether a package's version is new enough."""
    version = version_of(text)
    return version is not None and version >= MIN_VERSION


def tsc_khz() -> int:
    """How fast this processor's time stamp counter runs, in kHz.

    QEMU passes the counter to its guests. A guest on a busy machine measures its rate wrongly, and then its clock is wrong.
    """
    code = mmap.mmap(-1, len(READ_TSC), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(READ_TSC)
    holder = ctypes.c_char.from_buffer(code)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(holder))

    def moment() -> tuple[int, int]:
        """Counter and clock (ns), from the quickest of some readings: the process may be interrupted in between."""
        readings = []
        for _ in range(20):
            before, counter, after = time.monotonic_ns(), read(), time.monotonic_ns()
            readings.append((after - before, counter, (before + after) // 2))
        return min(readings)[1:]

    counter, clock = moment()
    time.sleep(TSC_SECONDS)
    later_counter, later_clock = moment()
    return round((later_counter - counter) * 1e6 / (later_clock - clock))
