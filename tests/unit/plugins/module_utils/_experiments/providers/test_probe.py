# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of a cache between the controller and a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import prometheus
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Session

from tests.builders.sources import observed, settings
from tests.doubles.servers import Answering, serving


class Cache(Answering):
    """Keeps the page of an exporter, as an HTTP accelerator in front of it does; ``age`` is how long, as a header."""

    age: str | None = None
    said: ClassVar[dict[str, str]] = {}
    asked = ""
    steps = 0

    def do_GET(self) -> None:
        type(self).steps += 1
        type(self).asked = self.headers.get("Cache-Control", "")
        page = f"steps_total {self.steps}\nprocess_start_time_seconds 1700000123.5\n"
        self.answer(200, page, **({} if self.age is None else {"Age": self.age}), **self.said)


@pytest.fixture
def cache() -> Iterator[tuple[type[Cache], str]]:
    handler = type("OwnCache", (Cache,), {})
    with serving(handler) as port:
        yield handler, f"http://127.0.0.1:{port}/metrics"


def session_at(url: str) -> Session:
    experiment = Experiment("vm-1", "ML-1", "prometheus", "steps_total", "", url, metric="steps_total")
    return prometheus.Prometheus(settings("prometheus", url=url, metric="steps_total")).session(experiment)


@pytest.mark.parametrize(
    ("age", "outcome"),
    [(None, "answered"), ("0", "answered"), ("soon", "answered"), ("1", "invalid"), ("86400", "invalid")],
)
def test_what_a_cache_has_kept_is_no_answer_of_the_server(
    cache: tuple[type[Cache], str], age: str | None, outcome: str
) -> None:
    """It is given also while the VM stands still. Some caches say an age of 0 of what they have just asked for."""
    handler, url = cache
    session = session_at(url)
    assert session.sample().outcome == "answered"
    handler.age = age
    sample = session.sample()
    assert (sample.outcome, handler.asked) == (outcome, "no-cache")
    assert ("a cache answered" in sample.detail) is (outcome == "invalid")
    handler.age = None
    assert session.sample().outcome == "answered"
    session.close()


WORDS_OF_CACHES = [
    ("Cache-Status", "Proxy; fwd=uri-miss; stored", False),
    ("Cache-Status", "Proxy; hit; ttl=30", True),
    ("Cache-Status", "Origin;hit, Edge; fwd=miss", True),
    ("X-Cache", "MISS", False),
    ("X-Cache", "HIT", True),
    ("X-Cache", "MISS, HIT", True),
    ("X-Cache", "Hit from cloudfront", True),
    ("X-Cache", "RefreshHit from cloudfront", False),
    ("X-Cache", "TCP_HIT from a.example.com", True),
    ("X-Cache-Lookup", "HIT from squid:3128", False),
    ("X-Cache-Hits", "0", False),
    ("X-Cache-Status", "EXPIRED", False),
    ("X-Cache-Status", "REVALIDATED", False),
    ("X-Cache-Status", "BYPASS", False),
    ("X-Cache-Status", "STALE", True),
    ("X-Cache-Status", "UPDATING", True),
    ("X-Proxy-Cache", "HIT", True),
    ("CF-Cache-Status", "DYNAMIC", False),
    ("CF-Cache-Status", "HIT", True),
    ("X-Model", "HIT", False),
]


def test_a_cache_that_says_no_age_is_recognised_by_what_it_says(cache: tuple[type[Cache], str]) -> None:
    """As with proxy_cache and proxy_cache_use_stale of nginx, which may answer for a server that stands still."""
    handler, url = cache
    session = session_at(url)
    for name, says, kept in WORDS_OF_CACHES:
        handler.said = {name: says}
        sample = session.sample()
        assert sample.outcome == ("invalid" if kept else "answered"), (name, says)
        assert ("a cache answered" in sample.detail) is kept, (name, says)
    session.close()


def test_a_training_behind_a_cache_is_not_found_and_the_cache_is_named(cache: tuple[type[Cache], str]) -> None:
    handler, url = cache
    handler.age = "7"
    said = "a cache answered with what its server said 7 s before; give the address of the server itself"
    assert observed(settings("prometheus", url=url, metric="steps_total")).detail == f"{url}: {said}"
