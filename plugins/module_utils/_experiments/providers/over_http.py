# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sources and sessions over HTTP share."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ..model import Experiment, Sample
from .base import Source, Target
from .probe import NO_ANSWER, Answer, Endpoint, Probe, endpoint_of, failed_sample, unanswered, url_for


class UrlSource(Source):
    """A source with the URL of its servers in the option ``url``."""

    needs = "url"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.url = settings["url"]

    def discover(self, target: Target) -> tuple[list[Experiment], str]:
        """See the port ``Source``."""
        endpoint = self._endpoint(url_for(self.url, target.address, target.vm_name))
        try:
            found, detail = self._search(endpoint, target)
        except NO_ANSWER as error:
            found, detail = [], unanswered(error, endpoint)
        except UnusableAnswer as error:
            found, detail = [], str(error)
        return found, "" if found else f"{endpoint.url}: {detail}"

    @abstractmethod
    def _search(self, endpoint: Endpoint, target: Target) -> tuple[list[Experiment], str]:
        """Like ``discover``, at one server; the sentence does not name the server. Raises NO_ANSWER or UnusableAnswer."""

    def _endpoint(self, url: str) -> Endpoint:
        return endpoint_of(url, self._settings, "experiments.sources.url")


class UnusableAnswer(Exception):
    """The server answered, but not the question; the text is a sentence why."""


def unusable(answer: Answer, wanted: str) -> UnusableAnswer:
    """Why an answer is not the one of ``wanted``, a server with its article, and what to do about it."""
    if answer.status == 401:
        return UnusableAnswer("authentication failed (HTTP 401); check username, password and token")
    if answer.status == 403:
        return UnusableAnswer("the server does not allow this question (HTTP 403); check username, password and token")
    if 300 <= answer.status < 400 and answer.headers.get("location"):
        return UnusableAnswer(f"it redirects (HTTP {answer.status}) to {answer.headers['location']}; set url to that")
    return UnusableAnswer(f"not {wanted} (HTTP {answer.status})")


def sampled(ask: Callable[[float], Sample]) -> Sample:
    """Call ``ask`` with the time now; an error of server or network becomes a failed sample."""
    sent = time.monotonic()
    try:
        return ask(sent)
    except NO_ANSWER as error:
        return failed_sample(error, sent)


class HttpSession:
    """What sessions with one connection share."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def interrupt(self) -> None:
        """See the port ``Session``."""
        self._probe.interrupt()

    def close(self) -> None:
        """See the port ``Session``."""
        self._probe.close()
