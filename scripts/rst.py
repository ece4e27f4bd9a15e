# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of pages in reStructuredText, for the pages that are made."""

from __future__ import annotations

import re
from collections.abc import Iterable

LABEL = "ansible_collections.liveml.vsphere."


def beginning(name: str, title: str) -> list[str]:
    """The first lines of a page: note, label and title. ``name`` is the file's name without suffix."""
    note = ".. Made by scripts/make_reference.py; do not edit."
    return [note, "", f".. _{LABEL}docsite.{name}:", "", title, "=" * len(title), ""]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a table. The cells are in reStructuredText; without ``head`` there is no header."""
    lines = [".. list-table::", *(["   :header-rows: 1"] if head else []), ""]
    for row in (head, *rows) if head else rows:
        lines += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
    return [*lines, ""]


def from_markdown(cell: str) -> str:
    """A cell of a table in Markdown as reStructuredText."""
    parts = re.split(r"(`[^`]*`)", cell.replace(r"\|", "|"))
    return "".join(f"`{part}`" if number % 2 else part for number, part in enumerate(parts))
