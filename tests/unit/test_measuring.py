# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only other programs that were seen to use the processors excuse a measurement."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.measuring import MIN_SHARE, TICKS, Measured, Process, others_seconds, processes, until

BURN = [sys.executable, "-c", "while True: pass"]


def test_what_tests_and_their_children_use_is_not_counted() -> None:
    before = {1: Process(0, 1, 0, False), 7: Process(1, 5, 100, False), 8: Process(1, 5, 100, True)}
    after = {
        1: Process(0, 1, 0, False),
        7: Process(1, 5, 100 + TICKS, False),
        8: Process(1, 5, 900, True),
        9: Process(8, 6, 800, False),  # a child of the tests that has no mark
        10: Process(7, 6, TICKS, False),  # new
    }
    assert others_seconds(before, after) == 2


def test_a_program_that_ended_is_counted_from_the_first_look_on() -> None:
    shell = Process(1, 5, 100, False)
    before = {7: shell, 9: Process(7, 6, 50 * TICKS, False)}
    assert others_seconds(before, {7: shell._replace(ticks=100 + 51 * TICKS)}) == 1


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A program that burns a processor and carries no mark of the tests."""
    process = subprocess.Popen(BURN, env={})
    yield process
    process.kill()
    process.wait()


def test_a_stranger_is_told_from_a_child_of_the_tests(stranger: subprocess.Popen[bytes]) -> None:
    child = subprocess.Popen(BURN)
    try:
        until(lambda: processes()[child.pid].ours)
        seen = processes()
        strange = {stranger.pid: seen[stranger.pid]._replace(parent=1)}
        time.sleep(0.5)
        after = processes()
        assert others_seconds(strange, {stranger.pid: after[stranger.pid]._replace(parent=1)}) > 0
        assert others_seconds({child.pid: seen[child.pid]}, {child.pid: after[child.pid]}) == 0
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("share", [0.0, MIN_SHARE - 0.01])
def test_on_processors_of_its_own_a_wrong_measurement_fails(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    measured = Measured()
    monkeypatch.setattr(measured, "others", lambda: share)
    with pytest.raises(AssertionError, match="too long"), measured():
        raise AssertionError("too long")
    assert measured.missed == []


def test_on_a_busy_machine_it_says_what_it_could_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured()
    monkeypatch.setattr(measured, "others", lambda: 1.5)
    with measured():
        raise AssertionError("too long")
    assert len(measured.missed) == 1
    assert "other programs used 1.5 of" in measured.missed[0]
    assert measured.missed[0].endswith("too long")
