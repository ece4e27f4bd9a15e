# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The beats of an H2O-3 guest: only the time of the threads that train gives one."""

from __future__ import annotations

from pathlib import Path

from lab.live.guest.h2o_beats import Workers


def run(process: Path, thread: str, name: str, nanoseconds: int) -> None:
    """A thread of the process has been on a processor for that time."""
    folder = process / "task" / thread
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "schedstat").write_text(f"{nanoseconds} 5 7\n")


def test_only_work_of_the_training_is_a_beat(tmp_path: Path) -> None:
    run(tmp_path, "1", "java", 9_000_000)
    run(tmp_path, "2", "FJ-1-3", 4_000_000)
    run(tmp_path, "3", "qtp12-40", 1_000_000)
    workers = Workers(str(tmp_path))
    assert workers.grew()
    assert workers.worked == 4_000_000
    assert not workers.grew(), "nobody worked"
    run(tmp_path, "3", "qtp12-40", 8_000_000)
    assert not workers.grew(), "the server answered, and the training did not work"
    run(tmp_path, "2", "FJ-1-3", 5_000_000)
    assert workers.grew()
    assert workers.worked == 5_000_000


def test_work_that_goes_to_another_thread_is_seen_at_once(tmp_path: Path) -> None:
    run(tmp_path, "2", "FJ-1-3", 4_000_000)
    run(tmp_path, "4", "FJ-0-1", 1_000_000)
    workers = Workers(str(tmp_path))
    assert workers.grew()
    run(tmp_path, "4", "FJ-0-1", 2_000_000)
    assert workers.grew()
    run(tmp_path, "5", "FJ-0-7", 3_000_000)
    assert workers.grew(), "a new thread"
    (tmp_path / "task/5/schedstat").write_text("")
    assert not workers.grew(), "it has ended"
    run(tmp_path, "2", "FJ-1-3", 4_500_000)
    assert workers.grew()


def test_a_thread_that_gets_its_name_late_is_found(tmp_path: Path) -> None:
    run(tmp_path, "2", "java", 1)
    workers = Workers(str(tmp_path))
    assert not workers.grew()
    run(tmp_path, "2", "FJ-1-3", 5_000_000)
    workers.looked -= 2
    assert workers.grew()
