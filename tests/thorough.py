# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests marked ``thorough`` take long, and ``make test`` has a sample of what they test. ``make thorough`` runs them."""

from __future__ import annotations

import os

import pytest

THOROUGH = "THOROUGH" in os.environ


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a thorough test."""
    if not THOROUGH and item.get_closest_marker("thorough"):
        pytest.skip("make thorough runs it")
