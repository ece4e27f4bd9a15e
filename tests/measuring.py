# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How tests stay true on a slow machine: they wait for what they need, and say when they could not measure.

``until(met)`` waits. ``with measured():`` is for what is true only while the processors are the tests' own, for example that
a stated interval holds a freeze: what fails inside is skipped with figures if other programs were proven to use the
processors meanwhile, and fails otherwise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.processes import MARK as LAB

PATIENCE = 900.0  # only what hangs takes longer
RUN = "LIVEML_TEST_RUN"  # environment variable: what this run of the tests starts carries the run's own value
os.environ.setdefault(RUN, f"{os.getpid()}-{time.time_ns()}")
MIN_SHARE = 0.25  # of one processor: if others use less, it does not prove that they disturbed
MAX_SAID = 400
PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
INIT = 1
# This process and its workers' controller began before the variable was set.
OWN = {str(os.getpid()), *([str(os.getppid())] if "PYTEST_XDIST_WORKER" in os.environ else [])}


def until(met: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    """Wait for ``met`` to return something true, and return it."""
    deadline = time.monotonic() + patience
    while not (found := met()):
        assert time.monotonic() < deadline, f"not seen in {patience:.0f} s"
        time.sleep(0.02)
    return found


class Process(NamedTuple):
    """A process: its parent, when it started, and the processor time of it and of its children that ended."""

    parent: int
    started: int
    ticks: int
    ours: bool


def processes() -> dict[int, Process]:
    """All processes that can be seen; empty if the system has no proc(5)."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            number = int(folder.name)
            # The children of init are orphans of anybody, the tests' labs among them.
            ticks = sum(map(int, fields[11:13] if number == INIT else fields[11:15]))
            found[number] = Process(int(fields[1]), int(fields[19]), ticks, _is_ours(folder))
    return found


def _is_ours(folder: Path) -> bool:
    if folder.name in OWN:
        return True
    with suppress(OSError):
        entries = (folder / "environ").read_bytes().split(b"\0")
        return f"{RUN}={os.environ[RUN]}".encode() in entries or any(e.startswith(f"{LAB}=".encode()) for e in entries)
    return False


def others_seconds(before: dict[int, Process], after: dict[int, Process]) -> float:
    """Processor time that programs other than tests and labs used between two looks.

    It is that or less: a program that came and went is seen only if the parent that waited for it is still there.
    """

    def ours(number: int, among: dict[int, Process]) -> bool:
        while (process := among.get(number)) is not None:
            if process.ours:
                return True
            number = process.parent
        return False

    def others(among: dict[int, Process]) -> dict[tuple[int, int], int]:
        return {(n, p.started): p.ticks for n, p in among.items() if not ours(n, among)}

    # What ended was counted with its parent when it ended, so what it had used before the first look goes off.
    return max(0, sum(others(after).values()) - sum(others(before).values())) / TICKS


def stolen_seconds() -> float:
    """Processor time that the hypervisor gave to other machines."""
    with suppress(OSError):
        return int((PROC / "stat").read_text().split("\n", 1)[0].split()[8]) / TICKS
    return 0.0


class Measured:
    """What was asserted of measurements, and which of it failed although others used the processors."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self._began, self._before, self._stolen = time.monotonic(), processes(), stolen_seconds()

    def others(self) -> float:
        """How many processors other programs used on average since this was made."""
        used = others_seconds(self._before, processes()) + stolen_seconds() - self._stolen
        return min(used / (time.monotonic() - self._began), float(os.cpu_count() or 1))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let what is asserted inside fail the test only if the processors were the tests' own."""
        try:
            yield
        except AssertionError as error:
            share = self.others()
            if share < MIN_SHARE:
                raise
            said = " ".join(str(error).split())[:MAX_SAID]
            self.missed.append(f"other programs used {share:.1f} of {os.cpu_count()} processors; it saw: {said}")


_MEASURED = pytest.StashKey[Measured]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """See the module."""
    request.node.stash[_MEASURED] = Measured()
    return request.node.stash[_MEASURED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test that passed apart from what it could not measure."""
    yield
    found = item.stash.get(_MEASURED, None)
    if found is not None and found.missed:
        pytest.skip(f"{item.name} could not measure: {'; '.join(found.missed)}")
