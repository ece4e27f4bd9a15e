# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sources and sessions over HTTP share."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..._core.urls import without_secrets
from ..model import Sample
from ..stall import HEARD
from .base import Searched, Source, Target
from .dates import DATE_STEP
from .probe import (
    LARGE,
    NO_ANSWER,
    SMALL,
    Absent,
    Answer,
    Endpoint,
    Limits,
    Probe,
    UnusableAnswer,
    check_places,
    endpoint_of,
    failed_sample,
    server_in,
    unanswered,
    url_for,
)
from .questions import PATIENCE, Wait

BUSY = (429, 502, 503, 504)  # of a server that starts or is asked too often, and of a proxy that does not reach it
BUSY_PAUSE = 1.0  # seconds until a search that such a server refused is made again


class Busy(UnusableAnswer):
    """The server cannot answer now."""


def searched(search: Callable[[], Searched], until: float) -> Searched:
    """What a search finds. A busy server is asked once more if there is time ``until`` (monotonic): a VM without experiment is not watched.

    Raises like ``search``.
    """
    try:
        return search()
    except Busy:
        if time.monotonic() + BUSY_PAUSE > until:
            raise
    time.sleep(BUSY_PAUSE)
    return search()


class UrlSource(Source):
    """A source with the URL of its servers in the option ``url``."""

    needs = "url"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.url = settings["url"]
        check_places(self.url, "experiments.sources.url")

    def server_named_by(self, target: Target) -> str:
        """See the port ``Source``."""
        if "{vm}" not in server_in(self.url):
            return ""
        return urlsplit(url_for(self.url, target.address, target.vm_name)).hostname or ""

    def discover(self, target: Target) -> Searched:
        """See the port ``Source``. A VM in which no server listens has none; a server for all VMs that does not listen may know some."""
        endpoint = self._endpoint(url_for(self.url, target.address, target.vm_name))
        try:
            seen = searched(lambda: self._search(endpoint, target), target.until)
        except NO_ANSWER as error:
            none_there = self.in_guest and isinstance(error, ConnectionRefusedError)
            seen = Searched([], unanswered(error, endpoint), complete=none_there)
        except UnusableAnswer as error:
            seen = Searched([], str(error), complete=isinstance(error, Absent))
        return replace(seen, detail=f"{endpoint.url}: {seen.detail}" if seen.detail else "")

    @property
    def _limits(self) -> Limits:
        """What is accepted of a long answer: less of a server in a VM, because there are many of them at a time."""
        return SMALL if self.in_guest else LARGE

    @abstractmethod
    def _search(self, endpoint: Endpoint, target: Target) -> Searched:
        """Like ``discover``, at one server; the sentence does not name the server. Raises NO_ANSWER or UnusableAnswer."""

    def _endpoint(self, url: str) -> Endpoint:
        return endpoint_of(url, self._settings, "experiments.sources.url")


def unusable(answer: Answer, wanted: str) -> UnusableAnswer:
    """Why an answer is not the one of ``wanted``, a server with its article, and what to do about it."""
    if answer.status == 401:
        return UnusableAnswer("authentication failed (HTTP 401); check username, password and token")
    if answer.status == 403:
        return UnusableAnswer("the server does not allow this question (HTTP 403); check username, password and token")
    if 300 <= answer.status < 400 and answer.headers.get("location"):
        # A server may repeat the query of the question, and so a secret.
        where = without_secrets(answer.headers["location"])
        return UnusableAnswer(f"it redirects (HTTP {answer.status}) to {where}; set url to that")
    if answer.status in BUSY:
        return Busy(f"the server, or a proxy before it, cannot answer now (HTTP {answer.status}); try again")
    return UnusableAnswer(f"not {wanted} (HTTP {answer.status})")


def sampled(probe: Probe, ask: Callable[[float], Sample]) -> Sample:
    """Call ``ask`` with the time now, and add to its answer what its questions to ``probe`` showed while they waited.

    Without a better clock, the last answer's date is the clock of the guest.

    An error of server or network becomes a failed sample.
    """
    probe.waits.clear()
    probe.date = None
    sent = time.monotonic()
    try:
        sample = ask(sent)
    except NO_ANSWER as error:
        failed = failed_sample(error, sent)
        return replace(failed, detail=probe.endpoint.hide(failed.detail))
    if sample.outcome not in HEARD:
        return sample
    if sample.clock is None and probe.date is not None:
        sample = replace(sample, clock=probe.date, clock_step=DATE_STEP)
    return with_waits(sample, tuple(probe.waits))


def with_waits(sample: Sample, waits: Sequence[Wait]) -> Sample:
    """A sample with what its questions showed; the longest wait counts, and the time of the others does not.

    A client or a program of others may also have waited for the server, between these questions.
    """
    if not waits:
        return sample
    known = (*waits, *unseen_waits(sample.sent, waits))
    longest, last = max(known, key=lambda wait: wait.received - wait.sent), waits[-1]
    again = last.again if last.again is not None or len(known) == 1 else last.sent
    return replace(
        sample,
        received=last.received,
        late=round(max(0.0, longest.sent - sample.sent), 6),
        exact=all(wait.exact for wait in known),
        resent=longest.resent,
        unheard=longest.unheard,
        again=again,
        deaf=longest.deaf,
        awake=longest.awake,
        deaf_since=longest.deaf_since,
        full=longest.full,
    )


def unseen_waits(sent: float, waits: Sequence[Wait]) -> list[Wait]:
    """The times since ``sent`` in which none of the questions waited: somebody else may have, as for a frozen server."""
    ends = [sent, *(wait.received for wait in waits)]
    found = [Wait(end, wait.sent, exact=False, resent=True) for end, wait in zip(ends, waits, strict=False)]
    return [wait for wait in found if wait.received - wait.sent > PATIENCE]


class HttpSession:
    """What sessions with one connection share."""

    max_hz_per_processor = 10.0

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def interrupt(self) -> None:
        """See the port ``Session``."""
        self._probe.interrupt()

    def close(self) -> None:
        """See the port ``Session``."""
        self._probe.close()
