# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks run on a cluster as most are: its DRS is fully automated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labs import Lab, running_lab


@pytest.fixture
def fast_lab() -> Iterator[Lab]:
    """A fresh lab with fully automated DRS, without guests, 50 times faster than life."""
    with running_lab("--no-guests", "--time-scale", "0.02", "--drs", "full") as lab:
        yield lab
