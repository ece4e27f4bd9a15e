# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of the lab: sources, cache (kept between runs) and the default state folder."""

from __future__ import annotations

import os
from pathlib import Path

LAB = Path(__file__).resolve().parent
ROOT = LAB.parent
GO_SOURCE = LAB / "simulator"
TOPOLOGIES = LAB / "topologies"
DEFAULT_TOPOLOGY = TOPOLOGIES / "default.yml"
DEFAULT_STATE = ROOT / ".lab"


def cache_dir() -> Path:
    """Folder of everything that outlives a lab: the built simulator, Go's caches, the training data."""
    chosen = os.environ.get("LIVEML_LAB_CACHE", "")
    folder = Path(chosen).absolute() if chosen else ROOT / ".venv" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
