# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The thread that writes the live page: as a whole, again and again, and never in the way of the run."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import live_page, live_writer
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_writer import LivePage, gently
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.ports import heard_by

from tests.builders.journals import write_event
from tests.measuring import until


class Watching:
    """A watch that counts how often it was asked."""

    asked = 0

    def seen(self) -> tuple[Any, ...]:
        self.asked += 1
        return ()


def begun(folder: Path, warnings: list[str], seconds: float = 0.05) -> tuple[LivePage, Journal]:
    live = LivePage(warnings.append, seconds=seconds)
    journal = Journal(folder / "journal.jsonl", heard_by(lambda _entry: None, live))
    live.begin(folder)
    return live, journal


def written(folder: Path, text: str) -> bool:
    page = folder / "report.html"
    return page.exists() and text in page.read_text(encoding="utf-8")


def test_the_page_follows_the_run_to_its_end(tmp_path: Path) -> None:
    warnings: list[str] = []
    live, journal = begun(tmp_path, warnings)
    time.sleep(0.1)
    assert list(tmp_path.glob("report.html*")) == [], "nothing began"
    write_event(journal, "run_started")
    write_event(journal, "planned")
    until(lambda: written(tmp_path, "being prepared"))
    watch = Watching()
    live.watching(watch)  # type: ignore[arg-type]
    write_event(journal, "move_submitting")
    write_event(journal, "move_progress", percent=73)
    until(lambda: written(tmp_path, "73"))
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600
    first = (tmp_path / "report.html").stat()
    until(lambda: (tmp_path / "report.html").stat().st_ino != first.st_ino)
    until(lambda: watch.asked > 2)
    write_event(journal, "move_finished")
    write_event(journal, "run_finished")
    journal.close()
    live.end()
    assert written(tmp_path, "The run has ended")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.head", "journal.jsonl", "report.html"]
    assert (warnings, [t for t in threading.enumerate() if t.name == "live page"]) == ([], [])
    live.end()


def test_the_page_is_published_and_a_place_that_cannot_be_written_does_not_hinder_the_other(tmp_path: Path) -> None:
    folder, published, warnings = tmp_path / "run-1", tmp_path / "shown" / "evidence", list[str]()
    folder.mkdir()
    live = LivePage(warnings.append, published=published, seconds=0.05)
    journal = Journal(folder / "journal.jsonl", heard_by(lambda _entry: None, live))
    live.begin(folder)
    write_event(journal, "run_started")
    until(lambda: written(published / "run-1", "being prepared"))
    assert (published / "run-1").stat().st_mode & 0o777 == 0o700
    assert written(folder, "being prepared")
    (published / "run-1" / "report.html").unlink()
    (published / "run-1").rmdir()
    (published / "run-1").write_text("in the way")
    write_event(journal, "run_finished")
    journal.close()
    live.end()
    assert written(folder, "The run has ended")
    (warning,) = warnings
    assert "The live page of the run could not be written" in warning
    assert str(published / "run-1") in warning


def test_a_resumed_run_knows_what_was_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for kind in ("run_started", "planned", "move_submitting", "move_finished"):
        write_event(journal, kind)
    journal.close()
    warnings: list[str] = []
    live, journal = begun(tmp_path, warnings)
    write_event(journal, "run_resumed")
    until(lambda: written(tmp_path, "1 of 1 VM moved"))
    journal.close()
    live.end()
    assert written(tmp_path, "The run was interrupted")


def test_an_event_that_is_in_the_journal_and_in_the_queue_counts_once(tmp_path: Path) -> None:
    live = LivePage(print, seconds=0.05)
    journal = Journal(tmp_path / "journal.jsonl", heard_by(lambda _entry: None, live))
    write_event(journal, "run_started")
    write_event(journal, "noticed")
    live.begin(tmp_path)
    for entry in live_writer.read_journal(tmp_path / "journal.jsonl").entries:
        live.hear(entry)
    write_event(journal, "noticed", detail="later")
    until(lambda: written(tmp_path, "later"))
    journal.close()
    live.end()
    assert (tmp_path / "report.html").read_text().count("came during the window") == 1


def test_a_page_that_cannot_be_written_is_written_later_and_hinders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    replace = live_writer.replace_file

    def fails(path: Path, data: bytes, **options: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        replace(path, data, **options)

    monkeypatch.setattr(live_writer, "replace_file", fails)
    warnings: list[str] = []
    live, journal = begun(tmp_path, warnings)
    write_event(journal, "run_started")
    time.sleep(0.2)
    full = False
    until(lambda: written(tmp_path, "Under way"))
    full = True
    write_event(journal, "run_finished")
    journal.close()
    live.end()
    assert warnings == ["The live page of the run could not be written: [Errno 28] No space left on device"]


@pytest.mark.parametrize("broken", ["jinja2", "a bug"])
def test_nothing_that_is_wrong_with_the_page_reaches_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "jinja2":
        monkeypatch.setitem(sys.modules, "jinja2", None)
        live_page.template.cache_clear()
    else:
        monkeypatch.setattr(live_writer, "render_live", lambda *_arguments, **_options: 1 / 0)
    warnings: list[str] = []
    live, journal = begun(tmp_path, warnings)
    write_event(journal, "run_started")
    until(lambda: not [t for t in threading.enumerate() if t.name == "live page"])
    for _ in range(3):
        write_event(journal, "move_progress")
    journal.close()
    live.end()
    live_page.template.cache_clear()
    assert len(warnings) == 1
    assert "The live page of the run could not be written: " in warnings[0]


def test_a_disk_that_hangs_does_not_hold_the_end_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def waits(*_arguments: Any, **_options: Any) -> None:
        hangs.set()
        goes_on.wait()

    monkeypatch.setattr(live_writer, "replace_file", waits)
    monkeypatch.setattr(live_writer, "END_SECONDS", 0.1)
    live, journal = begun(tmp_path, [])
    write_event(journal, "run_started")
    assert hangs.wait(30)
    journal.close()
    began = time.monotonic()
    live.end()
    assert time.monotonic() - began < 20
    goes_on.set()


def test_a_page_that_costs_much_is_written_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_writer, "MAX_SHARE", 1e-9)
    live, journal = begun(tmp_path, [], seconds=0.01)
    write_event(journal, "run_started")
    until((tmp_path / "report.html").exists)
    first = (tmp_path / "report.html").stat().st_ino
    time.sleep(0.3)
    assert (tmp_path / "report.html").stat().st_ino == first
    journal.close()
    live.end()


def test_other_threads_get_the_processor_between_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = iter(range(100))
    monkeypatch.setattr(live_writer.time, "monotonic", lambda: next(clock) * 0.0006)
    monkeypatch.setattr(live_writer.time, "sleep", slept.append)
    assert gently(["a", "b", "c", "d"]) == "abcd"
    assert slept == [live_writer.MAX_WORK] * 2
