# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of an H2O-3 server's jobs, which has every job since its start: 18 MB for 24,000 jobs (measured).

It is read as it arrives, job by job, and only the jobs that have not ended are kept. Each prediction, parsed file and
model of a cross-validation is a job, so a server of some weeks has such a list. It has no filter and no pages.
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..._core.untrusted import mapping
from .probe import Answer, Endpoint, Probe, TooLong, UnusableAnswer
from .questions import Wait

LIST_SECONDS = 60.0  # a busy server needs seconds for a long list
MAX_BYTES = 256 << 20  # 340,000 jobs
MAX_JOB = 1 << 20  # characters of one job; a usual one has 750
MAX_KEPT = 5000  # jobs
MAX_KEPT_TEXT = 1 << 20  # characters of these
USED = ("status", "description", "progress", "progress_msg", "start_time")
PARSE_SECONDS = 10.0  # of the processor
ENDED = ("DONE", "FAILED", "CANCELLED")
START = re.compile(r'"jobs"\s*:\s*\[')
BETWEEN = re.compile(r"[\s,]*")
DECODER = json.JSONDecoder()


class JobList:
    """Parses the list from its blocks; ``kept`` are the jobs that have not ended."""

    def __init__(self) -> None:
        self.size = 0
        self.whole = False
        self.kept: list[Mapping[str, Any]] = []
        self._text = ""
        self._began = False
        self._kept_size = 0
        self._parsing = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, block: bytes) -> None:
        """Take the next block of the answer. Raises TooLong or UnusableAnswer."""
        self.size += len(block)
        if self.size > MAX_BYTES:
            raise TooLong(MAX_BYTES)
        if self.whole:
            return
        self._text += self._decoder.decode(block)
        if not self._began:
            start = START.search(self._text)
            self._began = start is not None
            self._text = self._text[start.end() :] if start else self._text
        began = time.thread_time()
        if self._began:
            self._text = self._text[self._read() :]
        self._parsing += time.thread_time() - began
        if self._parsing > PARSE_SECONDS:
            raise UnusableAnswer(f"its list of jobs takes longer than {PARSE_SECONDS:.0f} s to read")
        if len(self._text) > MAX_JOB:
            raise UnusableAnswer("its list of jobs cannot be read")

    def _read(self) -> int:
        """Read the jobs that have arrived as a whole; the place of the next one."""
        at = 0
        while True:
            at = BETWEEN.match(self._text, at).end()  # type: ignore[union-attr]  # it matches the empty text, too
            if self._text[at : at + 1] == "]":
                self.whole = True
            if self._text[at : at + 1] != "{":
                return at
            try:
                job, end = DECODER.raw_decode(self._text, at)
            except (ValueError, RecursionError):
                return at
            if mapping(job).get("status") not in ENDED:
                self._keep(job, end - at)
            at = end

    def _keep(self, job: Any, size: int) -> None:
        self._kept_size += size
        if len(self.kept) < MAX_KEPT and self._kept_size <= MAX_KEPT_TEXT:
            self.kept.append(used_of(job))


def used_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a job that are used; the rest may have any size."""
    key, dest = mapping(job.get("key")), mapping(job.get("dest"))
    found = {name: job[name] for name in USED if isinstance(job.get(name), (str, int, float))}
    return {**found, "key": {"name": key.get("name")}, "dest": {name: dest.get(name) for name in ("name", "type")}}


def jobs_of(endpoint: Endpoint, seconds: float | None = None, *, waits: deque[Wait] | None = None) -> Answer:
    """The answer to ``GET /3/Jobs`` with only the jobs that have not ended, in at most ``seconds``.

    What was learned while it waited is added to ``waits``. Raises NO_ANSWER or UnusableAnswer.
    """
    jobs, most = JobList(), LIST_SECONDS if seconds is None else max(0.1, min(seconds, LIST_SECONDS))
    try:
        with Probe(endpoint, most) as probe:
            answer = probe.download("/3/Jobs", jobs.add)
            if waits is not None:
                waits.extend(probe.waits)
    except TooLong as error:
        raise UnusableAnswer(f"its list of jobs is too long (more than {MAX_BYTES >> 20} MiB)") from error
    except TimeoutError as error:
        size = f"{jobs.size / 1e6:.0f} MB of it" if jobs.size else "nothing of it"
        raise UnusableAnswer(f"its list of jobs took longer than {most:.0f} s; {size} arrived") from error
    if answer.status != 200 or not jobs.whole:
        raise UnusableAnswer(f"its list of jobs cannot be read (HTTP {answer.status})")
    return replace(answer, body={"jobs": jobs.kept})
