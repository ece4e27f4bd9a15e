# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of tests run side by side; while those marked ``alone`` measure, the others take only what is left of the processors.

``--dist loadgroup`` gives all files marked ``alone`` to one worker, one after the other, and every other file as a whole
to any. While one measures, the processes of the others have Linux's policy ``SCHED_IDLE`` (sched(7)); where the system
does not let a user take that back, they keep it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

FOLDER = "LIVEML_TEST_TURNS"  # environment variable: where the workers of one run meet
MARKS = ("alone", "long")  # what begins first, so that no worker is left with it at the end


class Turns:
    """What a worker keeps of the processors before each test; ``measuring`` is there until the last measurement ended."""

    def __init__(self, measuring: Path) -> None:
        self._measuring = measuring

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Where nothing is measured, nobody waits."""
        if not any(map(measures, session.items)):
            self._measuring.unlink(missing_ok=True)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Step back while another worker measures."""
        policy = os.SCHED_IDLE if self._measuring.exists() and not measures(item) else os.SCHED_OTHER
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, policy, os.sched_param(0))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """After the last measurement the others come forward."""
        if measures(item) and (nextitem is None or not measures(nextitem)):
            self._measuring.unlink(missing_ok=True)


def measures(item: pytest.Item) -> bool:
    """Whether a test needs the processors."""
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first; a file stays whole, and those that measure stay together."""
    items.sort(key=_turn)
    for item in items:
        group = MARKS[0] if measures(item) else item.path.relative_to(item.config.rootpath).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, mark in enumerate(MARKS) if item.get_closest_marker(mark)), len(MARKS))


def pytest_configure(config: pytest.Config) -> None:
    """Workers take turns; a single process needs none."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(Path(os.environ[FOLDER]) / "measuring"))
    else:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="liveml-turns-")
        (Path(os.environ[FOLDER]) / "measuring").touch()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the workers met at."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)
