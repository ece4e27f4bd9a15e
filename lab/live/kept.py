# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kept state of a booted VM: an emulated H2O-3 server needs more than a minute until it trains, once."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from lab.errors import LabError, say
from lab.filelock import locked
from lab.live.machine import Equipment, LiveSpec, qemu_command
from lab.processes import bare_environment
from lab.state import tail

MAX_BOOT_SECONDS = 900.0
MAX_SAVE_SECONDS = 120.0
MAX_RATE_DIFFERENCE = 1e-4
MONITOR = "monitor"
CONSOLE = "console"
# What the simulator connects to the outside is connected to nothing here; the VM has the same devices.
UNCONNECTED = (
    *("-netdev", "hubport,hubid=0,id=net"),
    *("-serial", f"file:{CONSOLE}", "-chardev", "null,id=beats", "-serial", "chardev:beats"),
    *("-qmp", f"unix:{MONITOR},server=on,wait=off"),
)


def kept_state(cache: Path, state: Path, equipment: Equipment, spec: LiveSpec) -> Path:
    """The file with the state of this VM when its training had begun; made if it is not in the cache.

    ``state`` is the lab's state folder: a lab that is stopped meanwhile finds the QEMU by it.

    Raises:
        LabError: the guest did not start to train; with the end of its console.
    """
    command = qemu_command(equipment, spec)
    made_of = json.dumps(
        [qemu_command(replace(equipment, tsc_khz=0), spec), equipment.hypervisor.version, equipment.image.digest]
    )
    name = f"state-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    with locked(cache / "live-state.lock"):
        path = kept_before(cache / "live", name, equipment.tsc_khz)
        if path is None:
            path = cache / "live" / f"{name}-{equipment.tsc_khz}"
            say(f"booting the {spec.run} guest of a real VM, to keep its state (a minute or more, once)")
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="boot-", dir=path.parent) as folder:
                boot_and_keep(Path(folder), command, equipment, state)
                os.replace(Path(folder) / "state", path)
            say(f"kept {path.stat().st_size >> 20} MB after {time.monotonic() - began:.0f} s")
    return path


def kept_before(folder: Path, name: str, khz: int) -> Path | None:
    """The kept state of this name whose counter ran about as fast: two readings on one machine differ a little."""
    rates = {path: int(path.name.rpartition("-")[2]) for path in folder.glob(f"{name}-*")}
    return next((path for path, rate in sorted(rates.items()) if abs(rate - khz) <= khz * MAX_RATE_DIFFERENCE), None)


def boot_and_keep(folder: Path, command: list[str], equipment: Equipment, state: Path) -> None:
    """Boot a VM, and write its state to ``folder/state`` when it trains."""
    environment = {**bare_environment(state), **equipment.hypervisor.environment}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *UNCONNECTED], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        await_ready(process, folder)
        save(folder)
    finally:
        process.kill()
        process.wait()


def await_ready(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the guest reports on its console that it trains."""
    console, end = folder / CONSOLE, time.monotonic() + MAX_BOOT_SECONDS
    while True:
        text = console.read_text(errors="replace") if console.is_file() else ""
        if "LIVE ready" in text:
            return
        if process.poll() is not None or "LIVE ended" in text or time.monotonic() > end:
            said = "\n".join(filter(None, (tail(folder / "log"), tail(console))))
            raise LabError(f"the guest of a real VM did not start to train; it said:\n{said}")
        time.sleep(0.2)


def save(folder: Path) -> None:
    """Stop the VM and write its state."""
    with monitor(folder / MONITOR) as wire:
        ask(wire, "stop")
        ask(wire, "migrate-set-parameters", {"max-bandwidth": 4 << 30})
        ask(wire, "migrate", {"uri": "file:state"})
        end = time.monotonic() + MAX_SAVE_SECONDS
        while (status := ask(wire, "query-migrate")["status"]) != "completed":
            if status == "failed" or time.monotonic() > end:
                raise LabError(f"the state of a real VM could not be kept: {status}; see whether the disk is full")
            time.sleep(0.05)


@contextmanager
def monitor(path: Path) -> Iterator[BinaryIO]:
    """QEMU's monitor. The path of a socket has at most 107 bytes, so it is reached by the descriptor of its folder."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"/proc/self/fd/{descriptor}/{path.name}")
            connection.settimeout(MAX_SAVE_SECONDS)
            with connection.makefile("rwb", buffering=0) as raw:
                wire: BinaryIO = raw  # type: ignore[assignment]
                wire.readline()
                ask(wire, "qmp_capabilities")
                yield wire
    except OSError as error:
        raise LabError(f"QEMU does not answer: {error}") from error
    finally:
        os.close(descriptor)


def ask(wire: BinaryIO, command: str, arguments: dict[str, Any] | None = None) -> Any:
    """Run one command of the monitor; events in between do not count."""
    wire.write(json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})}).encode() + b"\n")
    while line := wire.readline():
        message = json.loads(line)
        if "error" in message:
            raise LabError(f"QEMU rejected {command}: {message['error']['desc']}")
        if "return" in message:
            return message["return"]
    raise LabError(f"QEMU ended during {command}")
