# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small sample of ``make bench ONLY=hostile``: no input gives a traceback, a hang or another number of messages than one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import hostile
from tests.labs import ROOT


@pytest.mark.parametrize("number", [1, 2])
def test_a_sample_of_hostile_inputs(number: int) -> None:
    # In a process of its own, because ansible-core refuses some texts in one that has loaded the controller.
    code = f"import json; from benchmarks import hostile; print(json.dumps(vars(hostile.tried(60, {number}))))"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    found = json.loads(out.stdout)
    assert found["inputs"] == 60
    assert (found["tracebacks"], found["hangs"], found["other"]) == ([], [], [])


@pytest.mark.parametrize("attack", ["16 MB of [] as the cloud", "3 million lines of one series"])
def test_sixteen_hostile_guests_take_no_memory(attack: str) -> None:
    command = [sys.executable, "-m", "benchmarks.hostile", attack]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(out.stdout)["rss_mib"] <= hostile.MAX_RSS_MIB
