# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the shell steps of the shipped pipelines as their services would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.labs import ROOT
from tests.measuring import PATIENCE

GITHUB = ROOT / "gitops/github/maintenance.yml"
GITLAB = ROOT / "gitops/gitlab/.gitlab-ci.yml"
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=author", "-c", "user.email=author@example.com", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


class Runner:
    """A checkout of a repository with what a pipeline finds around it: tools, secrets, files of the service."""

    def __init__(self, folder: Path, origin: Path, ref: str, env: Mapping[str, str], tools: Path) -> None:
        self.folder = folder / "checkout"
        self.temp = folder / "temp"
        self.temp.mkdir(parents=True)
        git(folder, "clone", "--quiet", "--branch", ref, str(origin), "checkout")
        path = f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.temp), "NO_COLOR": "1", "RUNNER_TEMP": str(self.temp)}
        own |= {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections")}
        own |= {"MPLCONFIGDIR": str(ROOT / ".venv" / "matplotlib")}  # a new home would measure all fonts again
        own |= {f"GITHUB_{name}": str(self.temp / name) for name in ("OUTPUT", "STEP_SUMMARY")}
        self._env = {**own, **env}

    def shell(self, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a script with exactly the given environment, as both services do: it ends at the first failure."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self._env, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def github(self, job: str, step: str, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run one step of a job; ``values`` are those of the expressions in its environment."""
        described = yaml.safe_load(GITHUB.read_text())["jobs"][job]
        found = next(entry for entry in described["steps"] if entry["name"] == step)
        env = {**described.get("env", {}), **found.get("env", {})}
        return self.shell(found["run"], {name: _resolved(str(value), values) for name, value in env.items()})

    def gitlab(self, job: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the script of a job."""
        return self.shell("\n".join(gitlab_job(job)["script"]), env)


def gitlab_job(job: str) -> dict[str, Any]:
    return dict(yaml.safe_load(GITLAB.read_text())[job])


def _resolved(text: str, values: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: values[match[1]], text)
