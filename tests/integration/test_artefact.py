# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built artefact: what is in it, that it works where only it is installed, and ansible-test's sanity of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.labs import ROOT, Lab

BIN = Path(sys.executable).parent
LEFT_OUT = (
    "lab",
    "tests/unit",
    "tests/integration",
    "tests/e2e",
    "inventories",
    "benchmarks",
    "scripts",
    ".venv",
    ".ci",
)
# Those that build no environment of their own: for that ansible-test downloads pip from outside the package index.
SANITY = (
    "action-plugin-docs",
    "compile",
    "empty-init",
    "ignores",
    "line-endings",
    "no-assert",
    "no-get-exception",
    "no-illegal-filenames",
    "no-smart-quotes",
    "replace-urlopen",
    "shebang",
    "symlinks",
    "use-argspec-type-path",
    "use-compat-six",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing but the artefact is installed."""
    folder = tmp_path_factory.mktemp("galaxy")
    run([BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, ROOT], folder)
    (artefact,) = folder.glob("liveml-vsphere-*.tar.gz")
    command = [BIN / "ansible-galaxy", "collection", "install", artefact, "--collections-path", folder, "--offline"]
    run(command, folder)
    return folder


def run(command: list[object], folder: Path, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    kept |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(folder), **environment}
    arguments = [str(part) for part in command]
    outcome = subprocess.run(arguments, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout + outcome.stderr


def test_the_artefact_holds_the_collection_alone(installed: Path) -> None:
    (artefact,) = installed.glob("liveml-vsphere-*.tar.gz")
    with tarfile.open(artefact) as archive:
        names = archive.getnames()
    assert not [name for name in names for part in LEFT_OUT if name == part or name.startswith(f"{part}/")]
    assert {"plugins/modules/vm_migrate.py", "roles/evacuate_host/README.md", "playbooks/restore_host.yml"} <= set(
        names
    )
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert modules == set(runtime["action_groups"]["all"]), "module_defaults must reach every module"
    assert runtime["requires_ansible"] == ">=2.16.0"


def test_playbooks_run_from_the_artefact(installed: Path, fast_lab: Lab, tmp_path: Path) -> None:
    variables = {
        "liveml_vsphere_state_dir": str(tmp_path),
        "evacuate_host_name": "esx-05",
        "restore_host_name": "esx-05",
    }
    before = fast_lab.where()
    for name in ("evacuate_host", "restore_host"):
        playbook = [BIN / "ansible-playbook", f"liveml.vsphere.{name}", "-e", json.dumps(variables)]
        assert "10 moved, 0 failed" in run(playbook, installed, **fast_lab.env)
    assert fast_lab.where() == before


def test_sanity(installed: Path) -> None:
    folder = installed / "ansible_collections" / "liveml" / "vsphere"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    tests = [part for name in SANITY for part in ("--test", name)]
    run([BIN / "ansible-test", "sanity", "--python", version, "--allow-disabled", *tests], folder)
