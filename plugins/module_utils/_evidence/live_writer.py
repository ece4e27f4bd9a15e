# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the live page of a run, in a thread of its own.

The run and its watch only put events into a queue. This thread folds them and writes, and gives other threads the processor after
each part of the page, so that it does not delay the questions to experiments.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._core.errors import VsphereError
from .._core.files import replace_file
from .._experiments.so_far import Seen
from .._run.events import Entry
from .._run.journal import read_journal, utc_now
from .._run.ports import ExperimentWatch
from .live import LiveRun, heard
from .live_page import REFRESH_SECONDS, Moment, render_live
from .names import HTML

MAX_SHARE = 0.01  # of a processor; a page that costs more is written less often
MAX_WORK = 0.001  # seconds
END_SECONDS = 2.0  # that the end of a run waits for the last page


def live_dir_of(params: Mapping[str, Any]) -> Path | None:
    """Where the page is published, from the options of a module."""
    return Path(params["live_dir"]) if params["live_dir"] else None


class LivePage:
    """Keeps ``report.html`` in the folder of a run up to date; implements the port ``Onlooker``.

    With ``published``, a folder, so is the page in the folder of the run there, until the report replaces it, too.
    Nothing that goes wrong with it ends or delays the run: ``warn`` hears of it once, when the run has ended.
    """

    def __init__(
        self, warn: Callable[[str], None], *, published: Path | None = None, seconds: float = REFRESH_SECONDS
    ) -> None:
        self._warn = warn
        self._published = published
        self._seconds = seconds
        self._writer: _Writer | None = None

    def begin(self, folder: Path) -> None:
        """See the port."""
        places = [folder, *([self._published / folder.name] if self._published else [])]
        self._writer = _Writer(folder, places, self._seconds)
        self._writer.start()

    def hear(self, entry: Entry) -> None:
        """See the port."""
        if self._writer is not None:
            self._writer.put(entry)

    def watching(self, watch: ExperimentWatch) -> None:
        """See the port."""
        if self._writer is not None:
            self._writer.watch = watch

    def end(self) -> None:
        """See the port."""
        writer, self._writer = self._writer, None
        if writer is not None and (problem := writer.stop()):
            self._warn(f"The live page of the run could not be written: {problem}")


class _Writer:
    def __init__(self, folder: Path, places: Sequence[Path], seconds: float) -> None:
        self.watch: ExperimentWatch | None = None
        self._folder = folder
        self._places = places
        self._seconds = seconds
        self._run = LiveRun()
        self._news: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()  # None: the run is over
        self._thread = threading.Thread(target=self._work, name="live page", daemon=True)
        self._known = 0  # number of the last event that was in the journal at the begin
        self._problem = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """An event that the page shows next time."""
        if self._thread.is_alive():
            self._news.put(entry)

    def stop(self) -> str:
        """Write the last page; returns what went wrong, "" if nothing did."""
        self._news.put(None)
        self._thread.join(END_SECONDS)
        return self._problem

    def _work(self) -> None:
        try:
            self._catch_up()
            while self._listen(self._write(over=False)):
                pass
            self._write(over=True)
        except Exception as error:  # whatever is wrong with the page, the run continues
            self._problem = f"{type(error).__name__}: {error}"

    def _catch_up(self) -> None:
        """Hear what earlier processes wrote; this process may have written more meanwhile, which is in the queue, too."""
        entries = read_journal(self._folder / "journal.jsonl").entries
        self._run = heard(entries)
        self._known = len(entries)

    def _listen(self, pause: float) -> bool:
        """Hear events for so many seconds; false if the run is over."""
        end = time.monotonic() + pause
        while True:
            try:
                entry = self._news.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return True
            if entry is None:
                return False
            if entry.seq > self._known:
                self._run.hear(entry)

    def _write(self, *, over: bool) -> float:
        """Write the page; returns the seconds until the next one. There is no page before the first event."""
        if self._run.start is None:
            return 0.05
        began = time.thread_time()
        try:
            page = gently(render_live(self._run, self._seen(), Moment(utc_now()), over=over))
            self._problem = self._put(page.encode("utf-8", "replace"))
        except VsphereError as error:
            self._problem = str(error)
        return max(self._seconds, (time.thread_time() - began) / MAX_SHARE)

    def _put(self, page: bytes) -> str:
        """Write the page to each place; returns what went wrong. A disk may have room again later."""
        problems = []
        for place in self._places:
            try:
                if place != self._folder:
                    place.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(place / HTML, page, durable=False)
            except OSError as error:
                problems.append(str(error))
        return "; ".join(problems)

    def _seen(self) -> Iterable[Seen]:
        return () if self.watch is None else self.watch.seen()


def gently(parts: Iterable[str]) -> str:
    """All parts as one text. After each ``MAX_WORK`` seconds of work, other threads get the processor."""
    made, since = [], time.monotonic()
    for part in parts:
        made.append(part)
        if time.monotonic() - since > MAX_WORK:
            time.sleep(MAX_WORK)
            since = time.monotonic()
    return "".join(made)
