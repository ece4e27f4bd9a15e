# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the reference pages that are made from the code: ``python -m scripts.make_reference``.

``PAGES`` maps a page's file name to the function that returns its text. A new page needs a function, a line there and a line
in ``docs/docsite/extra-docs.yml``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "docsite" / "rst"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.blockers import BLOCKERS
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    FORMAT,
    KINDS,
    Event,
    ExperimentFound,
    RunStarted,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.faults import (
    CONSEQUENCES,
    FAULTS,
    OWN_REASONS,
    OwnReason,
)

from scripts.playbook_pages import VARIABLES, page_of, page_of_variables, playbooks
from scripts.rst import beginning, table


def page(name: str, title: str, introduction: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A page with one table. ``name`` is the file's name without suffix; ``rows`` are cells in reStructuredText."""
    return "\n".join([*beginning(name, title), introduction, "", *table(head, rows)])


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


def events() -> str:
    """The page of the events of a run's journal."""
    introduction = (
        "``<state_dir>/runs/<run_id>/journal.jsonl`` has one line per event, a JSON object. Every line has ``seq`` (its number),\n"
        "``prev`` (the SHA-256 of the line before), ``at`` (UTC, ISO 8601), ``mono`` (monotonic seconds of the controller) and\n"
        f"``event`` (the name below), then the fields of the event. The first line is ``{RunStarted.kind}``; it names the format of the\n"
        f"journal, which is {FORMAT}. An event is on disk before the call that it announces; only the events that are marked may be\n"
        "lost in a crash. Times in seconds, progress from 0 to 1, memory in bytes."
    )
    rows = (
        (
            f"``{kind}``",
            f"{' '.join((event.__doc__ or '').split())}{' May be lost in a crash.' if event.volatile else ''}",
            ", ".join(f"``{each}``" for each in _journalled(event)) or "none",
        )
        for kind, event in KINDS.items()
    )
    return page("reference_events", "Events of a journal", introduction, ("Event", "Meaning", "Fields"), rows)


def _journalled(event: type[Event]) -> list[str]:
    """Names of an event's fields in a journal."""
    if event is ExperimentFound:
        return [each.name for each in fields(Experiment) if each.name != "vm_name"]
    return [each.name for each in fields(event)]  # type: ignore[arg-type]


def faults() -> str:
    """The page of the faults that a run distinguishes, and of its own reasons."""
    introduction = (
        "If a move ends without success, evidence and live lines name a fault. It is the class name of vSphere's fault, or a\n"
        "reason of this collection. A fault of vSphere that is not in the table ends its move; the run then follows ``on_failure``."
    )
    theirs = (
        (f"``{name}``", "vSphere", fault.meaning, CONSEQUENCES[fault.kind]) for name, fault in sorted(FAULTS.items())
    )
    ours = ((f"``{reason}``", "this collection", OWN_REASONS[reason], "The move ends.") for reason in sorted(OwnReason))
    head = ("Name", "From", "Meaning", "What the run does")
    return page("reference_faults", "Faults", introduction, head, (*theirs, *ours))


PAGES: Mapping[str, Callable[[], str]] = {
    "reference_blockers.rst": blockers,
    "reference_events.rst": events,
    "reference_faults.rst": faults,
    f"{VARIABLES}.rst": page_of_variables,
    **{f"playbook_{name}.rst": partial(page_of, name) for name in playbooks()},
}


if __name__ == "__main__":
    for file, text in PAGES.items():
        (FOLDER / file).write_text(text(), encoding="utf-8")
