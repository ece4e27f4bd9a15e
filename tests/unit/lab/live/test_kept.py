# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kept state of a booted VM: QEMU's monitor, and what is said if the guest does not come up."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.live import kept
from lab.live.hypervisor import Hypervisor
from lab.live.image import Image
from lab.live.kept import ask, await_ready, kept_state
from lab.live.machine import Equipment, LiveSpec

EQUIPMENT = Equipment(Hypervisor(("/qemu",), "10.0.2"), Image(Path("/image"), "d"), 2_600_000)


class Wire(io.BytesIO):
    """A monitor that answers with given lines."""

    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def test_events_between_an_answer_do_not_count() -> None:
    wire = Wire(b'{"event": "STOP"}\n{"return": {"status": "active"}}\n')
    assert ask(wire, "query-migrate") == {"status": "active"}


def test_an_error_and_the_end_of_qemu_are_said() -> None:
    with pytest.raises(LabError, match="QEMU rejected migrate: no space"):
        ask(Wire(b'{"error": {"desc": "no space"}}\n'), "migrate")
    with pytest.raises(LabError, match="QEMU ended during stop"):
        ask(Wire(b""), "stop")


def test_a_guest_that_trains_is_ready(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "console").write_text("booting\nLIVE ready\n")
        await_ready(process, tmp_path)
    finally:
        process.kill()
        process.wait()


def test_a_guest_that_dies_is_reported_with_its_console(tmp_path: Path) -> None:
    (tmp_path / "console").write_text("Kernel panic - not syncing\n")
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(LabError, match=r"(?s)did not start to train; it said:.*Kernel panic"):
        await_ready(process, tmp_path)


def test_a_state_is_made_once_and_only_for_its_own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    booted = []

    def boot(folder: Path, *_rest: object) -> None:
        booted.append(folder)
        (folder / "state").write_bytes(b"state")

    monkeypatch.setattr(kept, "boot_and_keep", boot)
    first = kept_state(tmp_path, tmp_path, EQUIPMENT, LiveSpec("h2o", 1280))
    assert kept_state(tmp_path, tmp_path, EQUIPMENT, LiveSpec("h2o", 1280)) == first
    assert first.read_bytes() == b"state"
    assert len(booted) == 1
    again = replace(EQUIPMENT, tsc_khz=EQUIPMENT.tsc_khz + 3)
    assert kept_state(tmp_path, tmp_path, again, LiveSpec("h2o", 1280)) == first, "the same machine, measured again"
    assert len(booted) == 1
    other = replace(EQUIPMENT, tsc_khz=2_900_000)
    assert kept_state(tmp_path, tmp_path, other, LiveSpec("h2o", 1280)) != first
    assert kept_state(tmp_path, tmp_path, EQUIPMENT, LiveSpec("h2o", 2048)) != first
    assert [path for path in (tmp_path / "live").iterdir() if path.is_dir()] == []
