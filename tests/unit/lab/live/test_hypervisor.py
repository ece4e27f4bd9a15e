# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which QEMU is used, and what is said if there is none that is new enough."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.live import hypervisor
from lab.live.hypervisor import Hypervisor, download, find_hypervisor, has_min_version, is_new, tsc_khz, version_of
from lab.live.packages import Archive


def installed(tmp_path: Path, version: str) -> str:
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian)'\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", (10, 0, 2)),
        ("1:7.2+dfsg-7+deb12u18", (7, 2)),
        ("", None),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, ...] | None) -> None:
    assert version_of(text) == version


def test_the_machines_own_qemu_is_used_if_it_is_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = installed(tmp_path, "9.2.1")
    monkeypatch.setattr(hypervisor.shutil, "which", lambda *_args, **_options: program)
    found = find_hypervisor(tmp_path)
    assert (found.command, found.name, found.environment) == ((program,), "QEMU 9.2.1", {})


def test_an_old_qemu_is_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = installed(tmp_path, "7.2.22")
    monkeypatch.setattr(hypervisor.shutil, "which", lambda *_args, **_options: program)
    ready = Hypervisor(("/unpacked",), "10.0.2", "/libraries")
    answers = iter([None, ready])
    monkeypatch.setattr(hypervisor, "unpacked", lambda _root: next(answers))
    fetched = []
    monkeypatch.setattr(hypervisor, "download", lambda root, _cache: fetched.append(root.name))
    assert find_hypervisor(tmp_path) is ready
    assert fetched == ["qemu"]
    assert ready.environment == {"LD_LIBRARY_PATH": "/libraries"}


@pytest.mark.parametrize(("version", "new"), [("8.2.4", False), ("9.0", True), ("10.0.2", True)])
def test_nine_is_new(version: str, new: bool) -> None:
    assert is_new(Hypervisor((), version)) is new
    assert has_min_version(f"1:{version}+ds-2") is new


def test_another_kind_of_processor_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(LabError, match="needs a processor of type x86_64, and this machine is aarch64"):
        find_hypervisor(tmp_path)


def test_packages_that_are_too_old_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[bool] = []
    monkeypatch.setattr(Archive, "open", lambda _archive, backports=False: opened.append(backports))
    monkeypatch.setattr(Archive, "versions", lambda _archive, _name: ["1:7.2+dfsg-7"])
    monkeypatch.setattr(hypervisor, "codename", lambda: "bookworm")
    with pytest.raises(
        LabError, match=r"the packages of this system have 1:7\.2\+dfsg-7; install qemu-system-x86_64 9"
    ):
        download(tmp_path / "qemu", tmp_path)
    assert opened == [False, True]
    assert not (tmp_path / "qemu").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the counter of x86_64 is read")
def test_the_counter_has_the_same_rate_whenever_it_is_measured() -> None:
    first = tsc_khz()
    time.sleep(0.05)
    assert tsc_khz() == pytest.approx(first, rel=0.005)
