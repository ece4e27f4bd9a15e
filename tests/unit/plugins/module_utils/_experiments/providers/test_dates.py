# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that looks at the clock for each answer shows the guest's clock in its header ``Date``."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.dates import DATE_STEP, date_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.over_http import sampled
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Endpoint, Probe
from prometheus_client import CollectorRegistry, start_http_server

DATE = "Mon, 30 Nov 2026 15:04:05 GMT"
SECONDS = 1796051045.0


@pytest.mark.parametrize("server", ["BaseHTTP/0.6 Python/3.11.2", "WSGIServer/0.2 CPython/3.13.0", "gunicorn"])
def test_a_server_that_looks_at_its_clock_shows_it(server: str) -> None:
    assert date_of({"server": server, "date": DATE}) == SECONDS


@pytest.mark.parametrize(
    "headers",
    [
        {"date": DATE},
        {"server": "uvicorn", "date": DATE},
        {"server": "nginx/1.27", "date": DATE},
        {"server": "BaseHTTP/0.6", "date": DATE, "age": "0"},
        {"server": "BaseHTTP/0.6", "date": DATE, "via": "1.1 proxy"},
        {"server": "BaseHTTP/0.6"},
        {"server": "BaseHTTP/0.6", "date": "soon"},
        {"server": "BaseHTTP/0.6", "date": "Mon, 30 Nov 99999999999 15:04:05 GMT"},
        {"server": "BaseHTTP/0.6", "date": "Mon, 99 Nov 2026 99:99:99 +99999999999999999999"},
    ],
)
def test_other_answers_show_no_clock(headers: dict[str, str]) -> None:
    assert date_of(headers) is None


@pytest.fixture
def exporter() -> Iterator[Endpoint]:
    """A real exporter."""
    server, thread = start_http_server(0, "127.0.0.1", CollectorRegistry())
    yield Endpoint("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()
    thread.join()


def sample_of(endpoint: Endpoint, *, asks_again: bool = True, clock: float | None = None) -> Sample:
    with Probe(endpoint, asks_again=asks_again) as probe:

        def ask(sent: float) -> Sample:
            probe.get("/metrics")
            return Sample(sent, time.monotonic(), "answered", clock=clock)

        return sampled(probe, ask)


def test_an_exporter_shows_the_clock_of_its_guest(exporter: Endpoint) -> None:
    before = time.time()
    sample = sample_of(exporter)
    assert sample.clock is not None
    assert before - DATE_STEP <= sample.clock <= time.time()
    assert sample.clock_step == DATE_STEP


def test_a_better_clock_and_one_of_another_machine_are_left_alone(exporter: Endpoint) -> None:
    own = sample_of(exporter, clock=7.25)
    assert (own.clock, own.clock_step) == (7.25, 0.0)
    assert sample_of(exporter, asks_again=False).clock is None
