# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was changed after a run is named; evidence is replaced only if nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.integrity import (
    Replacing,
    earlier_evidence,
    failure_of,
    replacing,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.signature import Fit
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Reading

from tests.builders.journals import INTACT, entries

CHAIN = (
    "The journal was changed: line 4 is wrong (it is not an event). "
    "The evidence does not prove anything from that line on."
)
SAMPLES = "The samples were changed: their SHA-256 is not the one in the journal. The evidence does not prove anything."
END = "The end of the journal cannot be verified: journal.head is damaged. The evidence does not prove anything."
BROKEN = {"broken_at": 4, "why": "it is not an event"}


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({}, None),
        ({"samples_as_sealed": None}, None),
        (BROKEN, CHAIN),
        ({"samples_as_sealed": False}, SAMPLES),
        ({"why": "journal.head is damaged"}, END),
        ({**BROKEN, "samples_as_sealed": False}, f"{CHAIN} {SAMPLES}"),
    ],
)
def test_the_failure_names_everything_that_was_changed(change: dict[str, object], sentences: str | None) -> None:
    failure = failure_of(Path("/s/r1"), {**INTACT, **change})
    assert failure == ("" if sentences is None else f"Run r1: {sentences} Find out who changed the files in /s/r1.")


READING = Reading(tuple(entries([{"event": "run_started"}] * 3)), sha256s=("1", "2", "3"))
RECORD: Any = {**INTACT, "events": 3, "head": "3"}


@pytest.mark.parametrize(
    ("there", "kept", "unsigned", "signed"),
    [
        ((3, "3"), True, Replacing.WRITE, Replacing.KEEP),  # the same record
        ((3, "x"), True, Replacing.WRITE, Replacing.REFUSE),  # an edited last line, or an edited document
        ((2, "2"), True, Replacing.WRITE, Replacing.SET_ASIDE),  # the run was resumed
        ((5, "5"), True, Replacing.WRITE, Replacing.REFUSE),  # lines are gone
        (("odd", "3"), True, Replacing.WRITE, Replacing.REFUSE),
        ((3, "3"), False, Replacing.WRITE, Replacing.KEEP),
        ((2, "2"), False, Replacing.WRITE, Replacing.SET_ASIDE),
        # Nothing but this document vouches for the end of the journal.
        ((3, "x"), False, Replacing.REFUSE, Replacing.REFUSE),
        ((5, "5"), False, Replacing.REFUSE, Replacing.REFUSE),
    ],
)
def test_evidence_is_replaced_only_if_nothing_is_lost(
    tmp_path: Path, there: tuple[Any, str], kept: bool, unsigned: Replacing, signed: Replacing
) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"journal": {**RECORD, "events": there[0], "head": there[1]}, "result": "success"}))
    reading = Reading(READING.entries, sha256s=READING.sha256s, end_kept=kept)
    earlier = earlier_evidence(path)
    for fit, wanted in ((Fit.NONE, unsigned), (Fit.BAD, unsigned), (Fit.GOOD, signed)):
        action, why = replacing(earlier, "another text", reading, RECORD, fit)
        assert action is wanted
        assert bool(why) == (action is Replacing.REFUSE)
    assert replacing(earlier, "another text", reading, RECORD, Fit.NOT_CHECKED)[0] is not Replacing.WRITE
    assert replacing(earlier, path.read_text(), reading, RECORD, Fit.GOOD)[0] is Replacing.WRITE
    assert replacing(None, "another text", reading, RECORD, Fit.NONE)[0] is Replacing.WRITE


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"journal": {"events": 1}}', "[" * 5000, "\0"])
def test_a_document_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "evidence.json").write_text(text)
    earlier = earlier_evidence(tmp_path / "evidence.json")
    assert earlier is not None
    assert (earlier.lines, earlier.contradicts(READING)) == (0, "")
    assert replacing(earlier, "another text", READING, RECORD, Fit.NONE)[0] is Replacing.WRITE
