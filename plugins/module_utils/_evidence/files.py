# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the evidence in the directory of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .model import Evidence
from .report import render_html, render_markdown

JSON, MARKDOWN, HTML = "evidence.json", "report.md", "report.html"


@dataclass(frozen=True, slots=True)
class Change:
    """A file whose content changes; ``before`` is empty for a new file."""

    path: Path
    before: str
    after: str


def write_files(folder: Path, evidence: Evidence, *, check_mode: bool) -> list[Change]:
    """Write the files whose content changes; in check mode, only report them. Raises ImportError if a library is missing."""
    # The JSON comes first: it must be written even if the plot library is missing.
    renderings: tuple[tuple[str, Callable[[Evidence], str]], ...] = (
        (JSON, render_json),
        (MARKDOWN, render_markdown),
        (HTML, render_html),
    )
    changes = []
    for name, render in renderings:
        path, after = folder / name, render(evidence)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before != after:
            changes.append(Change(path, before, after))
            if not check_mode:
                _replace(path, after)
    return changes


def render_json(evidence: Evidence) -> str:
    """The text of ``evidence.json``."""
    return json.dumps(evidence, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step. Only its owner can read it."""
    new = path.with_suffix(path.suffix + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(path)
