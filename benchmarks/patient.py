# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One patient question on one kept connection: what everybody measures first, for comparison.

What it takes for a stall is the time that a question was in flight for longer than usual. If a packet was lost, that is
the time until TCP sent it again.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Self
from urllib.parse import urlsplit

HZ = 10.0  # as often as the watch asks a VM with one processor
MARGIN, STANDS_OUT, MANY_TIMES = 0.045, 0.25, 2  # as the watch had them when it asked in this way
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Answered:
    """A question and its answer, in monotonic seconds."""

    sent: float
    received: float

    @property
    def waited(self) -> float:
        """Seconds in flight."""
        return self.received - self.sent


@dataclass(frozen=True)
class Stated:
    """The longest stall as an estimate and an interval, in seconds."""

    seconds: float
    low: float
    high: float


class Patient:
    """Asks while the context is open. At its end it waits for the answer to its last question."""

    def __init__(self, url: str, method: str) -> None:
        parts = urlsplit(url)
        self.answers: list[Answered] = []
        self._place = (parts.hostname or "", parts.port)
        self._method, self._path = method, parts.path or "/"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(*self._place, timeout=MAX_WAIT_SECONDS)
        while not self._stop.wait(1 / HZ):
            with suppress(OSError, http.client.HTTPException):
                self.answers.append(self._ask(connection))
                continue
            connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> Answered:
        sent = time.monotonic()
        connection.request(self._method, self._path)
        connection.getresponse().read()
        return Answered(sent, time.monotonic())


def stated(answers: Sequence[Answered], since: float) -> Stated | None:
    """The longest stall after ``since``; ``None`` with too few answers."""
    if len(answers) < 2:
        return None
    middle = median(answer.waited for answer in answers)
    pairs = [(a, b) for a, b in itertools.pairwise(answers) if b.received > since]
    found = [_between(a, b, middle, _slow(answers, b, middle)) for a, b in pairs]
    longest = max(found, key=lambda stall: stall.seconds, default=None)
    if longest is None:
        return None
    return Stated(longest.seconds, max(stall.low for stall in found), max(stall.high for stall in found))


def _slow(answers: Sequence[Answered], but: Answered, middle: float) -> float:
    """How much longer than usual the slowest 1 % of the others were in flight."""
    others = sorted(max(0.0, answer.waited - middle) for answer in answers if answer is not but)
    return others[int(0.99 * (len(others) - 1))]


def _between(before: Answered, after: Answered, middle: float, slow: float) -> Stated:
    longer = max(0.0, after.waited - middle)
    claimed = longer > max(STANDS_OUT, MANY_TIMES * slow)
    gap = after.received - before.received - middle
    low = max(0.0, longer - max(MARGIN, slow)) if claimed else 0.0
    return Stated(max(low, (gap + longer) / 2), low, after.received - before.sent)
