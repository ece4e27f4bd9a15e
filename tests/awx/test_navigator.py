# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-navigator with the shipped settings, without a container: live lines on stdout, the way home from another disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, playbook_environment
from tests.measuring import PATIENCE

BIN = Path(sys.executable).parent


def navigate(playbook: str, lab: Lab, home: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    home.mkdir()
    environment = {**playbook_environment(lab), "HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / "ansible-navigator"), "run", f"playbooks/{playbook}.yml", "--ee", "false"]
    command += ["-e", json.dumps(variables)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.thorough
def test_navigator_evacuates_and_restores(fast_lab: Lab, tmp_path: Path) -> None:
    before, leaving = fast_lab.where(), fast_lab.on("esx-05")
    out = navigate("evacuate_host", fast_lab, tmp_path / "first", evacuate_host_name="esx-05")
    assert out.returncode == 0, out.stdout + out.stderr
    assert out.stdout.count("moved to") == len(leaving)
    assert fast_lab.on("esx-05") == set()
    assert list((tmp_path / "first").glob(".local/state/liveml.vsphere/runs/*/evidence.json"))
    out = navigate("restore_host", fast_lab, tmp_path / "second", restore_host_name="esx-05")
    assert out.returncode == 0, out.stdout + out.stderr
    assert fast_lab.where() == before
