# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run's journal and samples are as the run wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._experiments.samples import digest
from .._run.events import Entry, RunFinished, SamplesSealed
from .._run.journal import verify_chain
from .model import Integrity


def integrity_of(folder: Path, entries: Sequence[Entry]) -> Integrity:
    """Verify the journal's chain and the samples' SHA-256."""
    chain = verify_chain(folder / "journal.jsonl")
    seal = next((e.event.sha256 for e in reversed(entries) if isinstance(e.event, SamplesSealed)), None)
    finished = bool(entries) and isinstance(entries[-1].event, RunFinished)
    sha256 = digest(folder / "samples.jsonl")
    return {
        "head": chain.head,
        "events": chain.events,
        "broken_at": chain.broken_at,
        "why": chain.why,
        "samples_sha256": sha256,
        "samples_as_sealed": sha256 == seal if seal is not None and finished else None,
    }


def damage(integrity: Integrity) -> list[str]:
    """Sentences about everything that was changed after the run."""
    found = []
    if integrity["broken_at"] is not None:
        found.append(
            f"The journal was changed: line {integrity['broken_at']} is wrong: {integrity['why']}. "
            "The evidence does not prove anything from that line on."
        )
    if integrity["samples_as_sealed"] is False:
        found.append(
            "The samples were changed: their SHA-256 is not the one in the journal. The evidence does not prove anything."
        )
    return found
