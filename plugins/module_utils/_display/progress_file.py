# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file through which a module sends its events to the action plugin that shows them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from .._run.events import Entry


class ProgressFile:
    """Appends each event to the file that the action plugin reads."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __call__(self, entry: Entry) -> None:
        """Append one entry. A file that cannot be written never stops the run."""
        if self._path is not None and Path(self._path).exists():
            with suppress(OSError), open(self._path, "a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(entry.to_json(), ensure_ascii=False)}\n")
