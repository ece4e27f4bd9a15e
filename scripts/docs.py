# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the documentation: ``python scripts/docs.py [FOLDER]``; without a folder into ``.venv/docs``.

antsibull-docs turns modules, roles and `docs/docsite` into one Sphinx project, and Sphinx turns that into HTML. A warning of either is an
error. The build needs no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DOCS = ROOT / "docs"


def main() -> None:
    """Build into the folder named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv" / "docs").resolve()
    if (DOCS / "docsite").is_relative_to(folder):
        sys.exit(f"docs: {folder} contains the documentation's sources; name another folder.")
    source, site = folder / "source", folder / "html"
    for path in (source, site):
        shutil.rmtree(path, ignore_errors=True)
    source.mkdir(parents=True, mode=0o755)
    antsibull = [BIN / "antsibull-docs", "collection", "--fail-on-error"]
    run([*antsibull, "--use-current", "--squash-hierarchy", "--dest-dir", source, "liveml.vsphere"])
    # antsibull-docs copies pages only. Add the settings, and the images and examples that pages show.
    for name in ("conf.py", "landing.rst"):
        shutil.copy(DOCS / "sphinx" / name, source)
    for name in ("images", "examples"):
        if (DOCS / name).is_dir():
            shutil.copytree(DOCS / name, source / "docsite" / name)
    run([BIN / "sphinx-build", "-b", "html", "-q", "-W", "--keep-going", "-d", folder / "doctrees", source, site])
    print(f"docs: {site}/index.html")


def run(command: list[object]) -> None:
    """Run one tool, and exit if it fails."""
    collections = str(ROOT / ".venv" / "collections")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "PATH": f"{BIN}:{os.environ['PATH']}"}
    outcome = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False)
    if outcome.returncode != 0:
        sys.exit(f"docs: {Path(str(command[0])).name} failed with exit code {outcome.returncode}.")


if __name__ == "__main__":
    main()
