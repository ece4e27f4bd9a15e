# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the bootstrap brings a browser, Prometheus and an old MLflow: once, if it may, and never in silence."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.labs import ROOT


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    return module


@pytest.mark.parametrize(
    ("user", "programs", "installs"),
    [(0, {"apt-get"}, True), (1000, {"apt-get"}, False), (0, set(), False), (0, {"apt-get", "chromium"}, False)],
)
def test_chromium_is_asked_for_once_and_only_where_it_may_be(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: int,
    programs: set[str],
    installs: bool,
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/bin/{name}" if name in programs else None)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: user, raising=False)
    monkeypatch.setattr(
        bootstrap,
        "subprocess",
        SimpleNamespace(run=lambda command, **_options: calls.append(command), DEVNULL=-1),
    )
    for _time in range(2):
        bootstrap.browser()
    assert [call[-1] for call in calls] == (["update", "chromium"] if installs else [])
    told = capsys.readouterr().err
    assert told.count("tests in a browser are skipped") == (0 if "chromium" in programs else 2)


def test_the_simulator_is_built_beside_only_the_first_time(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "BIN", ROOT / ".venv" / "bin")
    monkeypatch.setenv("LIVEML_LAB_CACHE", str(tmp_path / "lab"))
    quickly = "import lab.toolchain\nlab.toolchain.build = lambda binary, *_rest: binary.touch()"
    monkeypatch.setattr(bootstrap, "BUILD", quickly + bootstrap.BUILD)
    building = bootstrap.simulator()
    assert building is not None
    assert building.wait() == 0
    assert (tmp_path / "lab" / "simulator").exists()
    assert bootstrap.simulator() is None


APT_GET = 'echo "$@" >> "$CALLS"; touch prometheus_2_amd64.deb'
DPKG = 'mkdir -p "$3/usr/bin"; touch "$3/usr/bin/prometheus"; chmod +x "$3/usr/bin/prometheus"'


@pytest.mark.parametrize(
    ("programs", "found"),
    [({"apt-get": APT_GET, "dpkg": DPKG}, True), ({"apt-get": "exit 100", "dpkg": DPKG}, False), ({}, False)],
)
def test_prometheus_is_unpacked_once_and_told_missing(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    programs: dict[str, str],
    found: bool,
) -> None:
    folder, calls = tmp_path / "programs", tmp_path / "calls"
    folder.mkdir()
    for tool in ("mkdir", "touch", "chmod"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CALLS", str(calls))
    for _time in range(2):
        bootstrap.metrics_server()
    unpacked = tmp_path / "debian" / "usr" / "bin" / "prometheus"
    assert bootstrap.prometheus() == (str(unpacked) if found else None)
    assert (len(calls.read_text().splitlines()) if calls.exists() else 0) == (1 if found else 0)
    assert capsys.readouterr().err.count("there is no Prometheus") == (0 if found else 2)


@pytest.mark.parametrize("pythons", [[((3, 13), "/new"), ((3, 11), "/old")], [((3, 13), "/new")]], ids=["3.11", "none"])
def test_an_old_mlflow_gets_a_python_of_its_time_once_or_is_told_missing(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    pythons: list[tuple[tuple[int, int], str]],
) -> None:
    calls: list[list[str]] = []
    folder = tmp_path / "mlflow-2.2"

    def run(command: list[str]) -> None:
        calls.append(command)
        if "venv" in command:
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").touch()

    monkeypatch.setattr(bootstrap, "OLD_MLFLOW", folder)
    monkeypatch.setattr(bootstrap, "candidates", lambda: pythons)
    monkeypatch.setattr(bootstrap, "run", run)
    for _time in range(2):
        bootstrap.old_tracking_server()
    found = len(pythons) == 2
    assert [call[1:3] for call in calls] == ([["venv", "--quiet"], ["pip", "install"]] if found else [])
    assert {part for call in calls for part in call} >= (
        {"/old", f"{folder}/bin/python", "--require-hashes"} if found else set()
    )
    assert capsys.readouterr().err.count("there is no Python 3.11") == (0 if found else 2)
