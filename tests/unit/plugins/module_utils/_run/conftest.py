# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs wait for in a real vCenter takes no time here."""

from __future__ import annotations

import pytest

LEASE = "ansible_collections.liveml.vsphere.plugins.module_utils._run.lease"


@pytest.fixture(autouse=True)
def _no_rivals_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{LEASE}.SETTLE_SECONDS", 0.0)
