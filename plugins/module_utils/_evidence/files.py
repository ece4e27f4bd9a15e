# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the evidence in the directory of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .._core.files import accessing, replace_file
from .._core.own_files import read_own
from .excerpt import excerpt_of, file_name
from .model import Evidence
from .names import HTML, JSON, MARKDOWN
from .report import render_html, render_markdown


@dataclass(frozen=True, slots=True)
class Change:
    """A file whose content changes; ``before`` is empty for a new file."""

    path: Path
    before: str
    after: str


def write_files(
    folder: Path, evidence: Evidence, *, check_mode: bool, keep_json: bool = False, owners: Iterable[str] = ()
) -> list[Change]:
    """Write the files whose content changes, the JSON not with ``keep_json``; in check mode, only report them.

    Each of ``owners`` gets a page with their part of the report.

    Raises InvalidInput if a file cannot be written, and ImportError if a library is missing.
    """
    # The JSON comes first: it must be written even if the plot library is missing.
    renderings: tuple[tuple[str, Callable[[Evidence], str]], ...] = (
        (JSON, render_json),
        (MARKDOWN, render_markdown),
        (HTML, render_html),
        *((file_name(owner), partial(_excerpt, owner=owner)) for owner in owners),
    )
    changes = []
    for name, render in renderings[keep_json:]:
        path, after = folder / name, render(evidence)
        before = read_own(path).decode("utf-8", "replace") if path.exists() else ""
        if before != after:
            changes.append(Change(path, before, after))
            if not check_mode:
                with accessing(path, "written"):
                    replace_file(path, after.encode())
    return changes


def _excerpt(evidence: Evidence, owner: str) -> str:
    return render_html(excerpt_of(evidence, owner), owner)


def render_json(evidence: Evidence) -> str:
    """The text of ``evidence.json``."""
    return json.dumps(evidence, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
