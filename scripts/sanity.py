# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ansible-test sanity`` of the artefact without containers: ``python -m scripts.sanity [TEST...]``.

ansible-test makes a virtual environment for each test that needs packages, and fetches pip for them from a server
of its own. Its documented cache is filled beforehand with a script that takes the same pip from the package index.
All that it keeps lies in `.venv/ansible-test`.
"""

from __future__ import annotations

import configparser
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scripts.artefact import BIN, ROOT, CommandFailed, build, install, run

HOME = ROOT / ".venv" / "ansible-test"
# With the arguments of get-pip: the packages to install, and switches for those that are not wanted. The pip that
# comes with the environment's own Python takes them: that of another, older one may not know this Python.
BOOTSTRAP = """\
import subprocess
import sys

packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)
"""
WANTED_PIP = """\
from types import SimpleNamespace
from ansible_test._internal.python_requirements import get_venv_packages
print(get_venv_packages(SimpleNamespace(version="{version}"))["pip"])
"""


def sanity(
    artefact: Path, version: str, tests: Iterable[str] = (), *, skipped: Iterable[str] = (), bin_dir: Path = BIN
) -> str:
    """What ansible-test prints for the artefact, with the Python ``version`` of ``bin_dir``. Raises CommandFailed."""
    with tempfile.TemporaryDirectory(prefix="liveml-sanity-") as name:
        folder = Path(name)
        tree = install(artefact, folder, bin_dir=bin_dir)
        # ansible-test's settings, which the artefact leaves out with all tests. They ignore nothing: each
        # finding is fixed, or excused in its line with the reason.
        (tree / "tests").mkdir()
        shutil.copy(ROOT / "tests" / "config.yml", tree / "tests")
        prepare_home(folder, version, bin_dir)
        chosen = [*_options("--test", tests), *_options("--skip-test", skipped)]
        command = [bin_dir / "ansible-test", "sanity", "--python", version, "--allow-disabled", *chosen]
        return run(command, tree, bin_dir=bin_dir, HOME=str(HOME), ANSIBLE_COLLECTIONS_PATH=str(folder))


def _options(name: str, values: Iterable[str]) -> list[str]:
    return [part for value in values for part in (name, value)]


def prepare_home(folder: Path, version: str, bin_dir: Path) -> None:
    """Give ansible-test its pip, and pass that pip the settings that ansible-test does not pass from the environment."""
    pip = run([bin_dir / "python", "-c", WANTED_PIP.format(version=version)], folder, bin_dir=bin_dir).strip()
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{pip.replace('.', '_')}.py").write_text(BOOTSTRAP)
    settings = configparser.RawConfigParser()
    settings["global"] = {
        key.removeprefix("PIP_").lower().replace("_", "-"): value
        for key, value in os.environ.items()
        if key.startswith("PIP_") and key != "PIP_CONFIG_FILE"
    }
    (HOME / ".config" / "pip").mkdir(parents=True, exist_ok=True)
    with open(HOME / ".config" / "pip" / "pip.conf", "w", encoding="utf-8") as stream:
        settings.write(stream)


def main() -> None:
    """Run all sanity tests, or those that are named, and end with ansible-test's verdict."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with tempfile.TemporaryDirectory(prefix="liveml-artefact-") as folder:
            print(sanity(build(Path(folder)), version, sys.argv[1:]), end="")
    except CommandFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
