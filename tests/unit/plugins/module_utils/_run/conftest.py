# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs wait for in a real vCenter takes no time here."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

RUN = "ansible_collections.liveml.vsphere.plugins.module_utils._run"  # cannot be imported before pytest has loaded its plugins


@pytest.fixture(autouse=True)
def _no_rivals_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RUN}.lease.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(f"{RUN}.pins.PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing settles, and no line of a journal waits for a disk."""
    monkeypatch.setattr(f"{RUN}.executor._SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory."""
    path: Path = import_module(f"{RUN}.store").state_path(str(tmp_path))
    return path
