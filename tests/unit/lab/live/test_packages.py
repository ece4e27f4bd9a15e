# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's packages: which sources are used, and what is said if something is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.live import packages
from lab.live.packages import Archive, codename, run, source_lines, tool

TARGETS = """u://debian/|trixie|main
u://debian/|trixie|contrib
u://debian/|trixie|main
u://security/|trixie-security|main
"""


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "KEYRING", tmp_path / "none")


def test_the_machines_own_sources_are_used() -> None:
    assert source_lines(TARGETS, "trixie", False) == [
        "deb u://debian/ trixie main",
        "deb u://security/ trixie-security main",
    ]


def test_backports_come_from_where_the_release_comes_from() -> None:
    assert source_lines(TARGETS, "trixie", True)[1] == "deb u://debian/ trixie-backports main"


def test_debians_own_key_is_named_if_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keyring = tmp_path / "debian.gpg"
    keyring.touch()
    monkeypatch.setattr(packages, "KEYRING", keyring)
    assert source_lines("u://d/|x|main", "x", False) == [f"deb [signed-by={keyring}] u://d/ x main"]


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(LabError, match=r"needs mke2fs of Debian's package e2fsprogs, which this machine does not have"):
        tool("mke2fs")


def test_a_system_without_a_release_is_not_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = tmp_path / "os-release"
    monkeypatch.setattr(packages, "OS_RELEASE", system)
    with pytest.raises(LabError, match="can only be unpacked on a Debian system"):
        codename()
    system.write_text('NAME="Debian"\nVERSION_CODENAME="trixie"\n')
    assert codename() == "trixie"


def test_the_output_of_a_failed_command_is_said() -> None:
    with pytest.raises(LabError, match=r"(?s)`sh .* failed, and a real VM needs it:.*no such archive"):
        run(["sh", "-c", "echo no such archive >&2; exit 3"])
    with pytest.raises(LabError, match="failed, and a real VM needs it"):
        run(["/does/not/exist"])


def test_without_sources_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "run", lambda *_args: "")
    monkeypatch.setattr(packages, "tool", lambda name: name)
    monkeypatch.setattr(packages, "codename", lambda: "trixie")
    with pytest.raises(LabError, match="apt has no package sources here"):
        Archive(tmp_path).open()


def test_a_package_that_apt_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n"
    monkeypatch.setattr(packages, "run", lambda *_args: answer)
    monkeypatch.setattr(packages, "tool", lambda name: name)
    archive = Archive(tmp_path)
    assert archive.dependency("linux-image-cloud-amd64", r"linux-image-[0-9]\S+") == "linux-image-6.1.0-56-cloud-amd64"
    with pytest.raises(LabError, match="Debian's package python3-minimal is needed"):
        archive.dependency("python3-minimal", r"python3\.\d+-minimal")
