# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the checkout importable as ``ansible_collections.liveml.vsphere`` (the links of the bootstrap)."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".venv" / "collections"

# A busy machine is no failure of a property.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

for path in (str(ROOT), str(COLLECTIONS)):
    if path not in sys.path:
        sys.path.insert(0, path)

from tests.labs import fast_lab, run_module  # noqa: F401 - fixtures for every folder
from tests.turns import pytest_collection_modifyitems, pytest_configure, pytest_unconfigure  # noqa: F401 - workers take turns
