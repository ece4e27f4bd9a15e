# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of the files of the evidence, for those who neither make nor write them."""

from __future__ import annotations

import os
from pathlib import Path

from .._core.errors import InvalidInput
from .._core.own_files import open_own

REFRESHES, BEGIN = b'http-equiv="refresh"', 200  # what only the live page has, in its first bytes
JSON, MARKDOWN, HTML = "evidence.json", "report.md", "report.html"


def is_live(report: Path) -> bool:
    """Whether a page is the live one of a run, and not its report. A page that cannot be read is not."""
    try:
        with os.fdopen(open_own(report, os.O_RDONLY), "rb") as stream:
            return REFRESHES in stream.read(BEGIN)
    except (OSError, InvalidInput):
        return False
