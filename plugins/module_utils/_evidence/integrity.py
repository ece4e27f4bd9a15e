# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run's journal and samples are as the run wrote them, and whether its evidence may be replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from .._core.own_files import read_own
from .._experiments.samples import digest
from .._run.events import SamplesSealed
from .._run.journal import Reading
from .model import Integrity
from .signature import Fit


def integrity_of(folder: Path, reading: Reading) -> Integrity:
    """What verifying the journal showed, and the samples' SHA-256 compared with the one in the journal."""
    seal = next((e.event.sha256 for e in reversed(reading.entries) if isinstance(e.event, SamplesSealed)), None)
    sha256 = digest(folder / "samples.jsonl")
    return {
        "head": reading.head,
        "events": len(reading.entries),
        "broken_at": reading.broken_at,
        "why": reading.why,
        "end_kept": reading.end_kept,
        "samples_sha256": sha256,
        "samples_as_sealed": sha256 == seal if seal is not None and reading.finished else None,
    }


def damage(integrity: Integrity) -> list[str]:
    """Sentences about everything that was changed after the run."""
    found = []
    if integrity["broken_at"] is not None:
        found.append(
            f"The journal was changed: line {integrity['broken_at']} is wrong ({integrity['why']}). "
            "The evidence does not prove anything from that line on."
        )
    elif integrity["why"]:
        found.append(
            f"The end of the journal cannot be verified: {integrity['why']}. The evidence does not prove anything."
        )
    if integrity["samples_as_sealed"] is False:
        found.append(
            "The samples were changed: their SHA-256 is not the one in the journal. The evidence does not prove anything."
        )
    return found


def failure_of(folder: Path, integrity: Integrity) -> str:
    """Why the evidence of a run is not valid, and what to do; empty if it is valid."""
    found = damage(integrity)
    return f"Run {folder.name}: {' '.join(found)} Find out who changed the files in {folder}." if found else ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The ``evidence.json`` that is there already: its text, and the record from which it was made."""

    text: str
    lines: int = 0
    head: str = ""
    samples: str = ""

    def is_of(self, integrity: Integrity) -> bool:
        """Whether it was made from the same journal and samples."""
        known = (integrity["events"], integrity["head"], integrity["samples_sha256"])
        return (self.lines, self.head, self.samples) == known

    def continued_by(self, reading: Reading) -> bool:
        """Whether the journal continues where this evidence was made: the run was resumed."""
        return 0 < self.lines < len(reading.entries) and reading.sha256s[self.lines - 1] == self.head

    def contradicts(self, reading: Reading) -> str:
        """Why this evidence was made from another journal; empty if it was not, or says nothing about it."""
        if self.lines > len(reading.entries):
            return f"line {len(reading.entries) + 1} is missing: evidence.json was made from {self.lines} lines"
        if self.lines and reading.sha256s[self.lines - 1] != self.head:
            return f"line {self.lines} is not the one from which evidence.json was made"
        return ""


def earlier_evidence(path: Path) -> Earlier | None:
    """The evidence of a path, ``None`` if there is none. It may have been edited: what cannot be read says nothing.

    Raises InvalidInput if it is a link or no file.
    """
    try:
        text = read_own(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    try:
        journal: Any = json.loads(text)["journal"]
        lines, head, samples = journal["events"], journal["head"], journal["samples_sha256"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return Earlier(text)
    if isinstance(lines, bool) or not isinstance(lines, int) or lines < 0:
        return Earlier(text)
    return Earlier(text, lines, str(head), str(samples))


class Replacing(StrEnum):
    """What may be done with the ``evidence.json`` that is there."""

    WRITE = "write"
    KEEP = "keep"  # signed, and the record is the same: only the collection makes another text of it
    SET_ASIDE = "set aside"  # signed, and the run was resumed since
    REFUSE = "refuse"


def replacing(
    earlier: Earlier | None, text: str, reading: Reading, integrity: Integrity, fit: Fit
) -> tuple[Replacing, str]:
    """Whether ``text`` may replace the evidence that is there, whose signature has that ``fit``; and why not, if so.

    An unsigned document is only a copy of what journal and samples say, unless nothing else vouches for the journal's end.
    """
    if earlier is None or earlier.text == text:
        return Replacing.WRITE, ""
    if not reading.problem and not reading.end_kept and (why := earlier.contradicts(reading)):
        return Replacing.REFUSE, f"The journal was changed: {why}."
    if fit not in (Fit.GOOD, Fit.NOT_CHECKED):
        return Replacing.WRITE, ""
    if fit is Fit.GOOD and earlier.is_of(integrity) and not damage(integrity):
        return Replacing.KEEP, ""
    if earlier.continued_by(reading):
        return Replacing.SET_ASIDE, ""
    return (
        Replacing.REFUSE,
        "evidence.json is signed and says something else than journal and samples. It was not replaced.",
    )
