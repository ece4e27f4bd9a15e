# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The linters as tests, so that the closing line of the test run counts them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = ROOT / ".venv" / "bin"
TREE = ROOT / ".venv" / "collections"
PLUGINS = "ansible_collections/liveml/vsphere/plugins"

COMMANDS = {
    "ruff": (ROOT, [BIN / "ruff", "check", "."]),
    "ruff-format": (ROOT, [BIN / "ruff", "format", "--check", "."]),
    "mypy": (TREE, [BIN / "mypy", "--config-file", ROOT / "pyproject.toml", PLUGINS]),
    "yamllint": (ROOT, [BIN / "yamllint", "--strict", "."]),
    "ansible-lint": (ROOT, [BIN / "ansible-lint", "--offline", "--strict"]),
    # In the checkout: it looks into no linked folder.
    "antsibull-docs": (ROOT, [BIN / "antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]),
    "antsibull-changelog": (ROOT, [BIN / "antsibull-changelog", "lint"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_linter_is_content(name: str) -> None:
    folder, command = COMMANDS[name]
    environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", NO_COLOR="1")
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(TREE)
    outcome = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
