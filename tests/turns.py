# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of tests run side by side; while tests marked ``alone`` measure, half of the processors is theirs and one guest's.

What measures waits most of the time, so one other worker may use its processors, too. A second one would disturb it.

``--dist loadgroup`` gives all tests marked ``alone`` to one worker, one after the other, and what else a file holds as a
whole to any. Priorities would not do: Linux weighs sessions, not processes (autogroup, sched(7)), and each lab is a session of
its own. Where processors cannot be assigned, measurements take what they get.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.paths import cache_dir
from lab.toolchain import simulator_binary

FOLDER = "LIVEML_TEST_TURNS"  # environment variable: where the workers of one run meet
MARKS = ("alone", "long")  # what begins first, so that no worker is left with it at the end


class Turns:
    """On which processors a worker runs each test; ``measuring`` is there until the last measurement ended."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._measuring, self._guest = folder / "measuring", folder / "guest"
        self._worker = worker
        self._processors = processors()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Where nothing is measured, nothing is kept free."""
        if not any(map(measures, session.items)):
            self._measuring.unlink(missing_ok=True)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """What the test starts inherits its processors."""
        half = len(self._processors) // 2
        if half == 0:
            return
        if measures(item):
            os.sched_setaffinity(0, self._processors[:half])
        elif self._measuring.exists() and not self._is_guest():
            os.sched_setaffinity(0, self._processors[half:])
        else:
            os.sched_setaffinity(0, self._processors)

    def _is_guest(self) -> bool:
        """Whether this worker is the guest: the first one that asks."""
        with contextlib.suppress(FileExistsError), self._guest.open("x") as stream:
            stream.write(self._worker)
        return self._guest.read_text() == self._worker

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """After the last measurement all processors are everybody's."""
        if measures(item) and (nextitem is None or not measures(nextitem)):
            self._measuring.unlink(missing_ok=True)


def processors() -> list[int]:
    """The processors that may be assigned; none where the system does not let them be."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def measures(item: pytest.Item) -> bool:
    """Whether a test needs processors of its own."""
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first; what measures stays together, and so does what else a file holds."""
    items.sort(key=_turn)
    for item in items:
        group = MARKS[0] if measures(item) else item.path.relative_to(item.config.rootpath).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, mark in enumerate(MARKS) if item.get_closest_marker(mark)), len(MARKS))


def pytest_configure(config: pytest.Config) -> None:
    """Workers take turns; a single process needs none."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(Path(os.environ[FOLDER]), config.workerinput["workerid"]))
    else:
        folder = Path(tempfile.mkdtemp(prefix="liveml-turns-"))
        os.environ[FOLDER] = str(folder)
        (folder / "measuring").touch()
        if config.getoption("numprocesses", None):
            threading.Thread(target=build_simulator, args=(folder,), daemon=True).start()


def build_simulator(folder: Path) -> None:
    """Compile the lab's vCenter on all processors, before a worker does it on those that it has."""
    with contextlib.suppress(LabError):  # the worker that needs it reports the error
        simulator_binary(cache_dir(), folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the workers met at."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)
