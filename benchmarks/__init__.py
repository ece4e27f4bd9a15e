# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure what the collection promises, on real trainings: ``python -m benchmarks``."""

from __future__ import annotations

import sys
from pathlib import Path

# The bootstrap links the checkout as ``ansible_collections.liveml.vsphere`` there.
_COLLECTIONS = str(Path(__file__).resolve().parent.parent / ".venv" / "collections")
if _COLLECTIONS not in sys.path:
    sys.path.insert(0, _COLLECTIONS)
