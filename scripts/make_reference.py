# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the reference pages that are made from the code: ``python scripts/make_reference.py``.

``PAGES`` maps a page's file name to the function that returns its text. A new page needs a function, a line there and a line
in ``docs/docsite/extra-docs.yml``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "docsite" / "rst"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.liveml.vsphere.plugins.module_utils._plan.blockers import BLOCKERS


def page(name: str, title: str, introduction: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A page with one table. ``name`` is the file's name without suffix; ``rows`` are cells in reStructuredText."""
    lines = [
        ".. Made by scripts/make_reference.py; do not edit.",
        "",
        f".. _ansible_collections.liveml.vsphere.docsite.{name}:",
        "",
        title,
        "=" * len(title),
        "",
        introduction,
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
    ]
    for row in (head, *rows):
        lines += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


class _Figures(dict[str, str]):
    """Shows the fields of a hint in italics."""

    def __missing__(self, key: str) -> str:
        return f"*{key.replace('_', ' ')}*"


def blockers() -> str:
    """The page of the checks that can keep a VM from moving."""
    introduction = (
        "A blocker is a check that keeps a VM from moving. ``migration_plan`` returns every blocker of a VM in ``refusals``, with\n"
        "the name of the check, the object it failed on and a hint. Checks of target hosts count only if no host can take the VM.\n"
        "Most blockers prevent maintenance mode of the host; the table says which do not."
    )
    rows = (
        (
            f"``{check}``",
            blocker.meaning,
            blocker.object,
            f"{blocker.remedy.format_map(_Figures())}.",
            "yes" if blocker.prevents_maintenance else "no",
        )
        for check, blocker in sorted(BLOCKERS.items())
    )
    head = ("Check", "Meaning", "Named object", "Hint", "Prevents maintenance mode")
    return page("reference_blockers", "Blockers", introduction, head, rows)


PAGES: Mapping[str, Callable[[], str]] = {"reference_blockers.rst": blockers}


if __name__ == "__main__":
    for file, text in PAGES.items():
        (FOLDER / file).write_text(text(), encoding="utf-8")
