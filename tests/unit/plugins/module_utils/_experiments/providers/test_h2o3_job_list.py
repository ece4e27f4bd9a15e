# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A list of very many jobs: the running one is found, with little memory, or the true reason is given."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import h2o3, h2o3_job_list
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Searched
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import (
    Endpoint,
    UnusableAnswer,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.h2o3 import job
from tests.doubles.servers import Answering, serving

H2O = {"X-h2o-cluster-id": "77", "X-h2o-build-project-version": "3.46.0.12"}
PADDING = {"description": "a job of the past", "warnings": ["x" * 600]}


def listed(*jobs: Any) -> bytes:
    return json.dumps(
        {"__meta": {"schema_name": "JobsV3"}, "_exclude_fields": "", "job_id": None, "jobs": jobs}
    ).encode()


def past(count: int) -> list[Any]:
    return [job(f"$03_{n}", status="DONE", **PADDING) for n in range(count)]


@contextmanager
def h2o_server(jobs: bytes, *, status: int = 200, drip: float = 0.0) -> Iterator[Endpoint]:
    """An H2O-3 server with a list of jobs; with ``drip``, its parts arrive so many seconds apart."""

    class Handler(Answering):
        def do_GET(self) -> None:
            if self.path == "/3/Cloud":
                self.answer(200, {"__meta": {"schema_name": "CloudV3"}}, **H2O)
            elif self.path == "/3/Jobs":
                self.send_response(status)
                for name, value in {**H2O, "Content-Length": str(len(jobs))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):
                    for first in range(0, len(jobs), 1 << 20):
                        self.wfile.write(jobs[first : first + (1 << 20)])
                        self.wfile.flush()
                        time.sleep(drip)
            else:
                self.answer(404, {}, **H2O)

    with serving(Handler) as port:
        yield Endpoint("127.0.0.1", port)


@pytest.mark.parametrize("place", [0, 24_000])
def test_a_running_job_among_24000_past_ones_is_found_with_little_memory(place: int) -> None:
    jobs = past(24_000)
    jobs.insert(place, job("live"))
    data = listed(*jobs)
    del jobs
    assert len(data) > 17_000_000
    with h2o_server(data) as endpoint:
        tracemalloc.start()
        (experiment,) = h2o3.discover(endpoint, "vm-1", "a").found
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert experiment.id == "live"
    assert peak < 8 << 20, "the whole list takes 180 MB"


@pytest.mark.parametrize("key", ["$03_" + "k" * 300, "$03_a\u200bb"])
def test_a_job_is_asked_for_by_its_whole_key(key: str) -> None:
    with h2o_server(listed(job(key))) as endpoint:
        (experiment,) = h2o3.discover(endpoint, "vm-1", "a").found
    assert len(experiment.id) <= 200
    assert experiment.id.isprintable()
    assert experiment.asked_id == key


def test_a_list_that_arrives_slowly_is_waited_for() -> None:
    with h2o_server(listed(*past(6000), job("live")), drip=1.0) as endpoint:
        assert len(h2o3.discover(endpoint, "vm-1", "a").found) == 1


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"MAX_BYTES": 2 << 20}, "its list of jobs is too long (more than 2 MiB)"),
        ({"LIST_SECONDS": 0.7}, "its list of jobs took longer than 1 s; "),
    ],
)
def test_the_reason_is_the_true_one(monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], reason: str) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(h2o3_job_list, name, value)
    with h2o_server(listed(*past(6000)), drip=0.5) as endpoint:
        seen = h2o3.discover(endpoint, "vm-1", "a")
        experiments, detail = seen.found, seen.detail
    assert experiments == []
    assert detail.startswith(reason)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (listed(), 200, "no training job runs"),
        (b'{"jobs": []}', 200, "no training job runs"),
        (b"{}", 500, "its list of jobs cannot be read (HTTP 500)"),
        (b"{}", 200, "its list of jobs cannot be read (HTTP 200)"),
        (b'{"jobs": [{"status": "RUNNING"', 200, "its list of jobs cannot be read (HTTP 200)"),
        (b'{"jobs": [' + b'{"a":' * 100_000, 200, "its list of jobs cannot be read (HTTP 200)"),
        (b'{"jobs": [{"a":"' + b"x" * (3 << 20), 200, "its list of jobs cannot be read"),
        (b" " * (3 << 20), 200, "its list of jobs cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_is_not_an_empty_one(data: bytes, status: int, reason: str) -> None:
    with h2o_server(data, status=status) as endpoint:
        assert h2o3.discover(endpoint, "vm-1", "a") == Searched([], reason, complete=reason == "no training job runs")


STATUS = st.sampled_from(["RUNNING", "DONE", "FAILED", "CANCELLED", "CREATED", None])
TEXT = st.text(max_size=8)


@given(st.lists(st.tuples(STATUS, TEXT), max_size=8), st.integers(1, 40), st.booleans())
def test_any_blocks_are_read_like_the_whole(jobs: list[tuple[str | None, str]], size: int, ascii_only: bool) -> None:
    known = [{"key": {"name": name}, "status": status, "more": [{"jobs": []}, name]} for status, name in jobs]
    data = json.dumps({"__meta": {}, "jobs": known, "after": "]"}, ensure_ascii=ascii_only).encode("utf-8", "replace")
    reader = h2o3_job_list.JobList()
    for first in range(0, len(data), size):
        reader.add(data[first : first + size])
    assert reader.whole
    expected = [each for each in json.loads(data)["jobs"] if each["status"] not in h2o3_job_list.ENDED]
    assert reader.kept == [h2o3_job_list.used_of(each) for each in expected]


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed(data: bytes) -> None:
    reader = h2o3_job_list.JobList()
    with suppress(UnusableAnswer):
        reader.add(b'{"jobs": [' + data)
    assert len(reader.kept) <= 200
