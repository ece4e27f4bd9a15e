# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks of one run of the tests share the archives of modules, with bytecode for every source in them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from ansible import constants
from ansible.executor.module_common import _CachedModule

from tests import turns
from tests.callbacks import built_once
from tests.labs import ROOT

PLAY = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"liveml.vsphere.run_info": {"state_dir": "none"}}]}]


def run(folder: Path) -> None:
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps(PLAY))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook)]
    environment = {**os.environ, built_once.FOLDER: str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def test_the_second_run_takes_what_the_first_one_built(tmp_path: Path) -> None:
    run(tmp_path)
    (archive,) = (tmp_path / "modules").glob(built_once.BUILT)
    names = zipfile.ZipFile(BytesIO(base64.b64decode(_CachedModule.load(str(archive)).zip_data))).namelist()
    sources = {name for name in names if name.endswith(".py")}
    assert len(sources) > 40
    assert sorted(names) == sorted([*sources, *(f"{name}c" for name in sources)])
    built = archive.stat().st_mtime_ns
    run(tmp_path)
    assert archive.stat().st_mtime_ns == built


def test_workers_share_a_folder_and_other_collections_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built_once.FOLDER == turns.FOLDER
    monkeypatch.setenv(turns.FOLDER, str(tmp_path))
    monkeypatch.setattr(constants, "COLLECTIONS_PATHS", [str(ROOT / ".venv" / "collections"), "/usr/share"])
    assert built_once.shared_folder() == tmp_path / "modules"
    monkeypatch.setattr(constants, "COLLECTIONS_PATHS", [str(tmp_path)])
    assert built_once.shared_folder() is None
    monkeypatch.setattr(constants, "COLLECTIONS_PATHS", [str(ROOT / ".venv" / "collections")])
    monkeypatch.delenv(turns.FOLDER)
    assert built_once.shared_folder() is None
