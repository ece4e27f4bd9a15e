# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Report that an H2O-3 server trains, from inside a real VM: ``h2o_beats.py BEATS``.

H2O trains in threads whose names begin with "FJ-". The kernel counts the time that each of them was on a processor. When
that time has grown, the training has worked, and one line goes to the serial line BEATS: the guest's clock, and the
milliseconds of work. Whatever else runs, for example a garbage collection or an answer, gives no line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

BEAT_SECONDS = 0.012
FIRST_LOOK_SECONDS = 0.5
NAMED_SECONDS = 1.0  # a thread gets its name a moment after its start
WORKER = "FJ-"
PROC = "/proc"


def java() -> str:
    """The folder of the server's process; "" before it starts."""
    for name in os.listdir(PROC):
        with contextlib.suppress(OSError):
            if name.isdigit() and read(f"{PROC}/{name}/comm").strip() == "java":
                return f"{PROC}/{name}"
    return ""


def read(path: str) -> str:
    """The content of a small file."""
    with open(path) as file:
        return file.read()


class Workers:
    """The threads of one process that train."""

    def __init__(self, folder: str) -> None:
        self.tasks = f"{folder}/task"
        self.files: dict[str, int] = {}  # open files with the time of each worker, by thread
        self.times: dict[str, int] = {}  # nanoseconds on a processor
        self.others: set[str] = set()  # threads with other names
        self.looked = 0.0
        self.latest = ""  # the worker that worked last: it is asked first
        self.worked = 0  # nanoseconds, in all

    def grew(self) -> bool:
        """Whether one of them has worked since the last call."""
        if self.latest and self.look(self.latest):
            return True
        self.find()
        return any([self.look(thread) for thread in list(self.files)])

    def find(self) -> None:
        """Add new workers."""
        if time.monotonic() > self.looked + NAMED_SECONDS:
            self.looked = time.monotonic()
            self.others.clear()
        for thread in set(os.listdir(self.tasks)) - self.others - self.files.keys():
            with contextlib.suppress(OSError):
                if read(f"{self.tasks}/{thread}/comm").startswith(WORKER):
                    self.files[thread] = os.open(f"{self.tasks}/{thread}/schedstat", os.O_RDONLY)
                    self.times[thread] = 0
                else:
                    self.others.add(thread)

    def look(self, thread: str) -> bool:
        """Whether a worker has worked."""
        try:
            now = int(os.pread(self.files[thread], 64, 0).split()[0])
        except (OSError, IndexError):  # it has ended
            os.close(self.files.pop(thread))
            self.latest = "" if self.latest == thread else self.latest
            return False
        gained, self.times[thread] = now - self.times[thread], now
        if gained > 0:
            self.worked, self.latest = self.worked + gained, thread
        return gained > 0


def main() -> None:
    """Beat for as long as the server lives."""
    line = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
    while not (folder := java()):
        time.sleep(FIRST_LOOK_SECONDS)
    workers = Workers(folder)
    while True:
        if workers.grew():
            with contextlib.suppress(BlockingIOError):
                os.write(line, b"%.4f %d\n" % (time.monotonic(), workers.worked // 1_000_000))
        time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main()
