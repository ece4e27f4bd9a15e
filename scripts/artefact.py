# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the artefact and install it where nothing else is: what tests and the matrix look at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
COLLECTION = Path("ansible_collections") / "liveml" / "vsphere"


class CommandFailed(Exception):
    """A command ended with an exit code other than 0; the text is all that it printed."""


def run(command: Sequence[object], folder: Path, *, bin_dir: Path = BIN, **environment: str) -> str:
    """The standard output of a command, which sees the collections of ``folder`` alone. Raises CommandFailed."""
    # A checkout's settings must not reach what is run as a user would run it.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHONPATH"))}
    kept |= {"PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(folder)}
    arguments = [str(part) for part in command]
    outcome = subprocess.run(arguments, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise CommandFailed(
            f"{' '.join(arguments)} ended with exit code {outcome.returncode}:\n{outcome.stdout}{outcome.stderr}"
        )
    return outcome.stdout


def build(folder: Path, source: Path = ROOT) -> Path:
    """The artefact, built from a checkout into ``folder``. Raises CommandFailed."""
    run([BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, source], folder)
    (artefact,) = folder.glob("liveml-vsphere-*.tar.gz")
    return artefact


def install(artefact: Path, folder: Path, *, bin_dir: Path = BIN) -> Path:
    """Where ``ansible-galaxy`` installed the artefact below ``folder``. Raises CommandFailed."""
    command = [bin_dir / "ansible-galaxy", "collection", "install", artefact, "--collections-path", folder]
    run([*command, "--offline"], folder, bin_dir=bin_dir)
    return folder / COLLECTION
