# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of provider ``exec`` gets its own secrets, and no others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.builders.sources import observed, settings

PROGRAM = """
import json, os, sys
for line in sys.stdin:
    seen = {"environment": dict(os.environ), "secrets": json.loads(line)["secrets"]}
    json.dump(seen, open(sys.argv[1], "w"))
    print(json.dumps({"experiments": []}), flush=True)
"""
OTHERS = (
    "VMWARE_PASSWORD", "H2O_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "GITHUB_TOKEN", "SSH_AUTH_SOCK",
    "ANSIBLE_VAULT_PASSWORD_FILE", "PATH_OF_SECRET", "HOMEPASS", "LC_", "PYTHONPATH",
)  # fmt: skip


def test_a_program_gets_its_token_on_standard_input_and_no_secret_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OTHERS:
        monkeypatch.setenv(name, "CANARY")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    script, seen = tmp_path / "provider.py", tmp_path / "seen.json"
    script.write_text(PROGRAM)
    observed(settings("exec", command=[sys.executable, str(script), str(seen)], token="its-own"))
    found = json.loads(seen.read_text())
    assert found["secrets"] == {"token": "its-own"}
    assert "CANARY" not in found["environment"].values()
    assert {"PATH", "LC_ALL"} <= set(found["environment"])
