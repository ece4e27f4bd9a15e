# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Galaxy's and Automation Hub's import of the artefact, without a container: ``python -m scripts.importer``.

Whatever the importer warns of is a failure here.
"""

from __future__ import annotations

import configparser
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.artefact import BIN, CommandFailed, build, run

# Stricter than Galaxy: Automation Hub asks for one of its tags.
SETTINGS = {
    "check_required_tags": True,
    "run_ansible_doc": True,
    "run_ansible_lint": True,
    "offline_ansible_lint": True,
}


def imported(artefact: Path, **settings: bool) -> dict[str, Any]:
    """The importer's account of the artefact. Raises CommandFailed on its refusal, errors and warnings."""
    with tempfile.TemporaryDirectory(prefix="liveml-importer-") as name:
        folder = Path(name)
        config = configparser.ConfigParser()
        config["galaxy-importer"] = {key: str(value) for key, value in (SETTINGS | settings).items()}
        with open(folder / "settings.cfg", "w", encoding="utf-8") as stream:
            config.write(stream)
        command = [BIN / "python", "-m", "galaxy_importer.main", artefact]
        printed = run(command, folder, GALAXY_IMPORTER_CONFIG=str(folder / "settings.cfg"))
        complaints = [line for line in printed.splitlines() if line.startswith(("WARNING", "ERROR"))]
        result = folder / "importer_result.json"
        if complaints or not result.exists():
            raise CommandFailed(printed if not complaints else "\n".join(complaints))
        return dict(json.loads(result.read_text(encoding="utf-8")))


def main() -> None:
    """Import, and say what is in the artefact."""
    try:
        with tempfile.TemporaryDirectory(prefix="liveml-artefact-") as folder:
            account = imported(build(Path(folder)))
    except CommandFailed as error:
        sys.exit(str(error))
    for content in account["contents"]:
        print(f"{content['content_type']:14} {content['name']:24} {content['description'] or ''}")
    print("importer: clean")


if __name__ == "__main__":
    main()
