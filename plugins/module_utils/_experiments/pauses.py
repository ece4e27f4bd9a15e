# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the watching process itself stood still: its own delay is not a stall of an experiment.

There are two sources. One is the time a thread was ready to run and had no processor (proc(5), ``schedstat``; Linux
only). The other is a pulse. It also shows that the whole controller was stopped, for example by its own vMotion.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Self

BEAT_SECONDS = 0.02
MIN_PAUSE = 0.01  # a beat that comes this late shows a pause
MAX_PAUSES = 1000


class Pulse:
    """Beats in its own thread while its context is open, and records when it could not."""

    def __init__(self) -> None:
        self._beat = time.monotonic()
        self._pauses: deque[tuple[float, float]] = deque(maxlen=MAX_PAUSES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            due = time.monotonic() + BEAT_SECONDS
            if self._stop.wait(BEAT_SECONDS):
                return
            now = time.monotonic()
            if now - due > MIN_PAUSE:
                self._pauses.append((due, now))
            self._beat = now

    def paused(self, since: float, until: float, *, at_least: float = 0.0) -> float:
        """Seconds between two times in the past that this process stood still, in pauses of ``at_least`` seconds.

        It waits for the next beat.
        """
        while self._beat < until and self._thread.is_alive() and not self._stop.is_set():
            time.sleep(BEAT_SECONDS / 4)
        known = [(start, end) for start, end in list(self._pauses) if end - start >= at_least]
        return sum(max(0.0, min(end, until) - max(start, since)) for start, end in known)


class RunDelay:
    """Seconds that the thread which created this has waited for a processor since the thread started."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None

    def seconds(self) -> float:
        """See the class; 0 if the operating system does not report it."""
        if self._file is None:
            return 0.0
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
