# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Go tests of the simulator."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.paths import GO_SOURCE, cache_dir
from lab.toolchain import find_go, go_environment, simulator_binary


def test_go_tests_pass(tmp_path: Path) -> None:
    simulator_binary(cache_dir(), tmp_path)  # the tests use what this compiles
    environment = go_environment(cache_dir(), tmp_path)
    outcome = subprocess.run(
        [str(find_go(environment)), "test", "./..."],
        cwd=GO_SOURCE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
