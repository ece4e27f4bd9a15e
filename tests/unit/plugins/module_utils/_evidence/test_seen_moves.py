# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves that a witness saw: one VM may have several, and what nobody saw of them is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown, tiles
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.tables import crossings
from jsonschema import validate

from tests.builders.journals import INTACT, ORIGIN, Book, entries

SCHEMA = json.loads((Path(__file__).parents[5] / "docs/schema/evidence-1.0.json").read_text())
VM = {"moid": "vm-4", "name": "ML-cpu-vm-04"}


def place(number: int, domain: str) -> dict[str, str]:
    return {"moid": f"host-{number}", "name": f"esx-0{number}", "fault_domain": domain}


FIRST, SECOND, THIRD = place(1, "a"), place(2, "b"), place(3, "a")


def window(*, closed: bool = True, moves: int = 3) -> dict[str, Any]:
    """A window in which a VM moves from one fault domain to another, and back to the first one."""
    book = Book()
    book.add(0, "run_started", plan_id="", purpose="witness", key="u.witness-ml", host=None, priority=None, slots=None)
    book.add(0, "experiment_found", vm=VM, id="job-1", progress=0.1)
    book.add(1, "window_opened", subject="ml", seconds=60.0, vms=1, until_returned=False)
    book.add(10, "move_seen", number=1, vm=VM, source=FIRST, task="task-1", within=1.0)
    book.add(14, "switched_over", number=1, vm=VM, host="esx-02")
    book.add(15, "move_finished", number=1, vm=VM, source=FIRST, target=SECOND, result="moved", host="esx-02", by="DRS")
    book.add(20, "move_seen", number=2, vm=VM, source=SECOND, task="", within=2.5)
    book.add(20, "move_finished", number=2, vm=VM, source=SECOND, target=THIRD, result="moved", host="esx-03", by="ada")
    if moves > 2:  # its end is not seen
        book.add(40, "move_seen", number=3, vm=VM, source=THIRD, task="task-3", within=1.0)
    if closed:
        book.add(61, "window_closed", seconds=60.0, cut="", unread="")
        book.add(62, "run_finished", result="success", moved=2, failed=0, left_behind=0)
    document: dict[str, Any] = evidence_of(entries(book.events()), {}, INTACT)  # type: ignore[assignment,arg-type]
    validate(document, SCHEMA)
    return document


def test_every_move_of_a_vm_is_kept_in_order() -> None:
    document = window()
    shown = [(m["number"], m["source"], m["target"], m["result"], m["by"]) for m in document["moves"]]
    assert shown == [
        (1, "esx-01", "esx-02", "moved", "DRS"),
        (2, "esx-02", "esx-03", "moved", "ada"),
        (3, "esx-03", "", "unfinished", ""),
    ]
    assert [m["started"] is None for m in document["moves"]] == [False, True, False], (
        "the second one was over when seen"
    )
    assert ORIGIN == 1000.0
    assert document["experiments"][0]["moving"] == [[9.0, 15.0], [17.5, 20.0], [39.0, None]]
    assert document["left_behind"] == []


def test_a_vm_counts_once_on_the_host_before_and_after() -> None:
    settled = window(moves=2)
    assert {p["host"]: (len(p["before"]), len(p["after"])) for p in settled["placement"]} == {
        "esx-01": (1, 0), "esx-02": (0, 0), "esx-03": (0, 1),
    }  # fmt: skip
    assert crossings(settled).startswith("The moved VM stayed in fault domain a")  # type: ignore[arg-type]


def test_the_report_names_what_was_seen_and_by_whom() -> None:
    document = window()
    text = render_markdown(document)  # type: ignore[arg-type]
    assert "## Witness of ml" in text
    assert "moved by DRS" in text
    assert "moved by ada" in text
    assert "2 moves of 1 VM seen." in document["overall"]["statement"]
    assert ("Moves seen", "2", "of 1 VM") in tiles(document)  # type: ignore[arg-type]
    assert "Plan ID" not in text
    render_html(document)  # type: ignore[arg-type]


def test_a_killed_witness_has_no_good_verdict() -> None:
    document = window(closed=False)
    assert document["run"]["result"] == "unfinished"
    assert document["run"]["window"]["watched_seconds"] is None
    assert document["overall"]["verdict"] == "unknown"
    assert document["overall"]["statement"].startswith("The run is unfinished.")
