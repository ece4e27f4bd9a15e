# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples on a disk that becomes full: the watch continues, and says at its end that samples are missing.

Samples of processes on several machines: their times are compared by the time of day.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.clock import Clock
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import StateUnwritable
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments import samples
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import (
    IN_ORDER,
    Recorded,
    Rows,
    SampleLog,
    by_clock,
    read_samples,
    recorded,
    unwatched_windows,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import Watch


def fill_disk(log: SampleLog) -> None:
    """From now on every write of the log fails for want of room, as it does on this device of Linux."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._stream.fileno())
    os.close(full)


def test_samples_that_cannot_be_written_do_not_end_the_watch_and_are_told(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.jsonl")
    fill_disk(log)
    for _more_than_the_buffer in range(500):
        log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
    log.flush()
    log.close()
    with pytest.raises(StateUnwritable, match=r"samples.jsonl cannot be written \(No space left on device\)"):
        log.check()


@pytest.mark.parametrize("other", [False, True])
def test_a_watch_that_lost_samples_fails_at_its_end_unless_something_worse_happened(
    tmp_path: Path, other: bool
) -> None:
    watch = Watch([], tmp_path, stall_budget=1.0, settle_timeout=1.0, baseline=0.0, listener=lambda *_news: None)

    def lose() -> None:
        with watch:
            fill_disk(watch._log)
            watch._log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
            if other:
                raise KeyError

    with pytest.raises(KeyError if other else StateUnwritable):
        lose()


def test_samples_that_were_written_are_no_failure(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.jsonl")
    log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
    log.close()
    log.check()


KEY = ("vm-1", "job")


def watched_by(folder: Path, clock: Clock, first: float) -> None:
    """A process whose monotonic clock shows ``first`` takes three samples in two seconds."""
    log = SampleLog(folder / "samples.jsonl", clock)
    for at in (first, first + 1, first + 2):
        log.add(KEY, Sample(at, at, "answered", asked=at - 0.5))
    log.close()


def rows_by(folder: Path, clock: Clock, now: float) -> Rows:
    return by_clock(recorded(folder / "samples.jsonl"), clock, now)[KEY]


@pytest.mark.parametrize("resumed_at", [50.0, 90_000.0], ids=["a lower clock", "a higher clock"])
def test_samples_of_another_machine_are_as_old_as_the_time_of_day_says(tmp_path: Path, resumed_at: float) -> None:
    """At 20:00:02 the first watch ends, at 20:00:42 the second one begins; their machines run for other times."""
    watched_by(tmp_path, Clock("a", 10_000.0), 5000.0)
    rows = rows_by(tmp_path, Clock("b", 15_042.0 - resumed_at), resumed_at)
    assert [sample.sent for _session, sample in rows] == pytest.approx([resumed_at - s for s in (42, 41, 40)])
    assert rows[-1][1].asked == pytest.approx(resumed_at - 40.5)


def test_samples_of_the_same_machine_keep_their_times_whatever_was_done_to_its_time_of_day(tmp_path: Path) -> None:
    watched_by(tmp_path, Clock("a", 10_000.0), 5000.0)
    assert rows_by(tmp_path, Clock("a", 99.0), 5100.0) == read_samples(tmp_path / "samples.jsonl")[KEY]


def test_a_time_of_day_that_differs_never_makes_a_watch_end_after_the_next_one_began(tmp_path: Path) -> None:
    watched_by(tmp_path, Clock("a", 10_000.0), 5000.0)  # by its time of day, it ends 60 s after the next one began
    watched_by(tmp_path, Clock("b", 14_942.0), 0.0)
    watched_by(tmp_path, Clock("a", 10_000.0), 5010.0)
    rows = rows_by(tmp_path, Clock("c", 15_000.0), 100.0)
    windows = unwatched_windows([*rows, ("now", Sample(100.0, 100.1, "answered"))])
    assert len(windows) == 3
    assert all(end - start > IN_ORDER / 2 for start, end in windows)
    assert [s.sent for _session, s in rows] == sorted(s.sent for _session, s in rows)


def test_samples_without_a_known_clock_end_before_the_present(tmp_path: Path) -> None:
    """As older versions wrote them."""
    path = tmp_path / "samples.jsonl"
    watched_by(tmp_path, Clock("a", 10_000.0), 5000.0)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"zero"' not in line))
    assert [s.sent for _session, s in rows_by(tmp_path, Clock("a", 10_000.0), 6000.0)] == [5000.0, 5001.0, 5002.0]
    assert rows_by(tmp_path, Clock("b", 10_000.0), 100.0)[-1][1].received == pytest.approx(100.0, abs=0.01)


@pytest.mark.parametrize(
    "line",
    ['{"session": "1"}', '{"session": "1", "boot": "a", "zero": NaN}', '{"session": "1", "boot": "a", "zero": []}'],
)
def test_a_line_that_is_neither_a_sample_nor_a_clock_is_skipped(tmp_path: Path, line: str) -> None:
    (tmp_path / "samples.jsonl").write_text(f"{line}\n")
    assert recorded(tmp_path / "samples.jsonl") == Recorded({}, {})


def test_after_a_suspension_of_the_machine_another_session_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its monotonic clock does not show the ten minutes of it. Slow readings of two clocks do not show one."""
    slept = [0.0]
    monkeypatch.setattr(samples, "asleep", lambda: slept[0])
    log = SampleLog(tmp_path / "samples.jsonl", Clock("a", 10_000.0))
    sessions = []
    for slept[0] in (0.0, -3.0, 0.0, 600.0, 600.2):
        monkeypatch.setattr(samples, "own_clock", lambda: Clock("a suspended for 600 s", 10_600.0))
        at = 5000.0 + len(sessions)
        sessions.append(log.add(KEY, Sample(at, at, "answered")))
    log.close()
    assert [session == sessions[0] for session in sessions] == [True, True, True, False, False]
    assert sessions[3] == sessions[4]
    rows = rows_by(tmp_path, Clock("a suspended for 600 s", 10_600.0), 6000.0)
    assert [round(s.sent) for _session, s in rows] == [4400, 4401, 4402, 5003, 5004]
