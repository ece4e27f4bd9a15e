# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of tests run side by side, except those marked ``alone``: they measure, and have the machine for themselves."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

FOLDER = "LIVEML_TEST_TURNS"  # environment variable: where the workers of one run meet


class Turns:
    """The floor is shared by many or held by one; who waits for it at the gate keeps others from going before."""

    def __init__(self, folder: Path) -> None:
        self._gate, self._floor = ((folder / name).open("a") for name in ("gate", "floor"))

    def take(self, *, alone: bool) -> None:
        """Wait for the floor."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def give(self) -> None:
        """Leave the floor to others."""
        fcntl.flock(self._floor, fcntl.LOCK_UN)


class ByFile:
    """Takes the floor before the first test of a file, and gives it after the last one and the teardown of its fixtures."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._holder: Path | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
        if self._holder != item.path:
            self._turns.take(alone=item.get_closest_marker("alone") is not None)
            self._holder = item.path
        try:
            return (yield)
        finally:
            if nextitem is None or nextitem.path != item.path:
                self._turns.give()
                self._holder = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files marked ``alone`` come first, ``long`` ones next: no worker is left with one at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    marks = ("alone", "long")
    return next((turn for turn, mark in enumerate(marks) if item.get_closest_marker(mark)), len(marks))


def pytest_configure(config: pytest.Config) -> None:
    """Workers take turns; a single process needs none."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(ByFile(Turns(Path(os.environ[FOLDER]))))
    else:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="liveml-turns-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the workers met at."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)
