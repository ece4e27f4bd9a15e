# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks run on a cluster as most are: its DRS is fully automated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labs import Lab, running_lab


@pytest.fixture
def fast_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A fresh lab without guests, 50 times faster than life; DRS is fully automated, or as the parameter says."""
    drs = getattr(request, "param", "full")
    with running_lab("--no-guests", "--time-scale", "0.02", "--drs", drs) as lab:
        yield lab
