# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run's journal and samples are as the run wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._experiments.samples import digest
from .._run.events import Entry, RunFinished, SamplesSealed
from .._run.journal import verify_chain


def integrity_of(folder: Path, entries: Sequence[Entry]) -> dict[str, Any]:
    """What verifying the journal's chain and the samples' seal found."""
    chain = verify_chain(folder / "journal.jsonl")
    seal = next((e.event.sha256 for e in reversed(entries) if isinstance(e.event, SamplesSealed)), None)
    finished = bool(entries) and isinstance(entries[-1].event, RunFinished)
    sha256 = digest(folder / "samples.jsonl")
    return {
        **asdict(chain),
        "samples_sha256": sha256,
        "samples_as_sealed": sha256 == seal if seal is not None and finished else None,
    }
