# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every exposition that Prometheus reads is read, and of several series the one that advances is found."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import WORKS
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Capabilities,
    Experiment,
    Judgement,
    Sample,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import prometheus
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import (
    Endpoint,
    UnusableAddress,
    UnusableAnswer,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.prometheus import (
    Reading,
    Series,
    SeriesSession,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.prometheus_relays import (
    telling_names,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import judge, must_stop_run
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.sources import observed, settings
from tests.doubles.servers import Answering, answering, serving

Serve = Callable[[Callable[[str], tuple[int, Any]]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers each path with a status and text or JSON; returns its URL."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(answering(answer))


def values(page: str | bytes, metric: str) -> list[float | None]:
    wanted = prometheus.selector_of(metric)
    assert wanted is not None
    data = page.encode() if isinstance(page, str) else page
    return [series.value for series in prometheus.series_of(data, wanted)]


@pytest.mark.parametrize(
    ("line", "metric", "value"),
    [
        ("steps_total 5", "steps_total", 5.0),
        ("steps_total 5.0 1520879607.789", "steps_total", 5.0),
        ("steps_total 5 1520879607789", "steps_total", 5.0),
        ("steps_total 5 -1520879607789", "steps_total", 5.0),
        ('steps_total 5.0 # {trace_id="x"} 1.0 1520879607.789', "steps_total", 5.0),
        ('steps_total 5.0 1520879607.789 # {trace_id="x } y"} 1.0', "steps_total", 5.0),
        ('steps_total{run="a # b"} 5 # {trace_id="x"} 1', "steps_total", 5.0),
        ('{"train.steps",run="a"} 5', "train.steps", 5.0),
        ('{run="a","train.steps"} 5', "train.steps", 5.0),
        ('{run="a","run"} 5', "run", 5.0),
        ('{"train.steps"} 5', '{"train.steps"}', 5.0),
        ('{"train \\"steps\\""} 5', 'train "steps"', 5.0),
        ('{"Schritte.äöü",run="a"} 5', "Schritte.äöü", 5.0),
        ('steps_total{"run.id"="a"} 5', 'steps_total{"run.id"="a"}', 5.0),
        ('steps_total{path="C:\\\\DIR\\n\\"x\\"}"} 1e3', "steps_total", 1000.0),
        ('steps_total{a="1",b="2",} 5', 'steps_total{b="2"}', 5.0),
        ('steps_total {a="1" , b="2"} 5', 'steps_total{b="2",a="1"}', 5.0),
        ("steps_total\t5", "steps_total", 5.0),
        ("  steps_total   5  ", "steps_total", 5.0),
        ("steps_total 5\r", "steps_total", 5.0),
        ("steps_total 1.5E+3", "steps_total", 1500.0),
        ("steps_total +5", "steps_total", 5.0),
        ("steps_total NaN", "steps_total", None),
        ("steps_total +Inf", "steps_total", None),
        ('batch_seconds_bucket{le="+Inf"} 5 # {trace_id="x"} 0.2', 'batch_seconds_bucket{le="+Inf"}', 5.0),
        ("batch_seconds_count 5", "batch_seconds_count", 5.0),
        ('batch_seconds{quantile="0.5"} 5', "batch_seconds", 5.0),
        ("job:steps:rate5m 5", "job:steps:rate5m", 5.0),
    ],
)
def test_a_line_that_prometheus_reads_is_read(line: str, metric: str, value: float | None) -> None:
    comments = "# HELP steps_total steps_total 1\n# TYPE steps_total counter\n"
    assert values(f"{comments}other 7\n{line}\nsteps_total_created 1e9\n# EOF\n", metric) == [value]
    assert values(line, metric) == [value], "the last line may end without a line feed"


def test_a_line_that_cannot_be_read_does_not_hide_the_others() -> None:
    native = (
        "h {count:24,sum:100,schema:0,zero_threshold:0.001,zero_count:4,positive_spans:[0:2],positive_deltas:[2,1]}"
    )
    page = f'bro ken{{\nother{{x="}} 5\n{native}\nsteps_total 5\nsteps_total{{run="}} 6\n'
    assert values(page, "steps_total") == [5.0]
    assert values(b"\xff\xfe 1\nsteps_total 5\n", "steps_total") == [5.0]


def test_a_name_in_a_comment_or_in_a_label_is_not_the_metric() -> None:
    page = '# TYPE steps_total counter\n#steps_total 4\nother{of="steps_total"} 5\nmy_steps_total 6\nsteps_totals 7\n'
    assert values(page, "steps_total") == []


def test_labels_choose_a_series_in_any_order() -> None:
    page = 'steps_total{run="a",pid="1"} 1\nsteps_total{run="b",pid="2"} 2\nsteps_total 3\n'
    assert values(page, 'steps_total{pid="2"}') == [2.0]
    assert values(page, 'steps_total{pid="1",run="a"}') == [1.0]
    assert values(page, "steps_total") == [3.0], "there is one with just this name"
    assert values(page, 'steps_total{run="c"}') == []


@given(st.binary(max_size=300))
def test_any_bytes_are_an_exposition(data: bytes) -> None:
    values(data, "a")
    values(b"a" + data, "a")


@given(st.text(min_size=1), st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_a_selector_means_its_series(name: str, labels: dict[str, str]) -> None:
    """A series that is watched is found again by its name and labels, whatever they contain."""
    series = Series(name, labels, 5.0)
    line = f"{series.selector} 5"
    if prometheus.parsed_line(line.encode()) == series:  # there are names that the parser does not accept
        assert values(line, series.selector) == [5.0]


@pytest.mark.parametrize(
    "page",
    [
        b"steps_total 5\n" * 1_000_000,
        b"steps_total{" + b'a="",' * 3_000_000 + b"} 5",
        b"steps_total" * 1_400_000,
        b'{"steps_total",' * 1_000_000,
        b"\n" * 16_000_000,
        b"go_a_build_info 1\n" * 900_000,
    ],
    ids=["lines", "labels", "names", "braces", "empty", "relays"],
)
def test_a_page_cannot_keep_the_controller_busy(page: bytes) -> None:
    began = time.process_time()
    values(page, "steps_total")
    telling_names(page)
    assert time.process_time() - began < 10


def exporter(serve: Serve, page: str) -> str:
    """The URL of an exporter; ``{step}`` in its page grows with each answer."""
    asked = [0]

    def answer(_path: str) -> tuple[int, str]:
        asked[0] += 1
        return 200, page.replace("{step}", str(asked[0]))

    return serve(answer)


def test_a_page_that_takes_too_long_to_read_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prometheus.PARSE_SECONDS < prometheus.DISCOVERY_SECONDS
    monkeypatch.setattr(prometheus, "PARSE_SECONDS", -1.0)
    url = exporter(serve, 's{pid="1"} {step}\ns{pid="2"} 2\n')
    assert "its page takes longer than -1 s to read" in observed(settings("prometheus", url=url, metric="s")).detail


def test_of_several_series_the_one_that_advances_is_watched(serve: Serve) -> None:
    page = 'steps_total{pid="1"} 900\nsteps_total{pid="2"} {step}\nsteps_total{pid="3"} 7\n'
    source = settings("prometheus", url=exporter(serve, page), metric="steps_total")
    (experiment,) = observed(source).experiments
    assert experiment.metric == 'steps_total{pid="2"}'
    session = prometheus.Prometheus(source).session(experiment)
    first, second = session.sample(), session.sample()
    session.close()
    assert (first.outcome, second.step) == ("answered", (first.step or 0) + 1)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ('s{pid="1",job="x"} 9\ns{pid="2",job="x"} 7\n', "none of the 2 series of s advanced in 1 s; give labels that"),
        ('s{pid="1"} {step}\ns{pid="2"} {step}\ns{pid="3"} 1\n', "2 of the 3 series of s advanced in 1 s; give labels"),
        ("s 9\n", "s did not advance in 1 s"),
        ("s NaN\n", "the value of s is not a number of at most 1e+15"),
        ("s 3.2e+21\n", "the value of s is not a number of at most 1e+15"),  # operations, not steps
        ("s_total 5\n", "the exporter has no metric s, but s_total"),
        ("t 5\n", "the exporter has no metric s"),
        ("s {count:24,sum:100}\n", "the exporter has the metric s, but its value cannot be read"),
    ],
)
def test_the_reason_is_the_true_one(serve: Serve, page: str, reason: str) -> None:
    url = exporter(serve, page)
    assert observed(settings("prometheus", url=url, metric="s")).detail.startswith(f"{url}: {reason}")


def test_the_labels_that_distinguish_the_series_are_named(serve: Serve) -> None:
    url = exporter(serve, 's{pid="1",job="x",run="a"} 9\ns{pid="2",job="x"} 7\n')
    detail = observed(settings("prometheus", url=url, metric="s")).detail
    assert detail.endswith("give labels that only one of them has (pid, run)")
    others = observed(settings("prometheus", url=url, metric='s{pid="3"}')).detail
    assert others.endswith('the exporter has no series s{pid="3"}, but others of that name')


def test_a_series_that_gets_others_beside_it_is_not_guessed(serve: Serve) -> None:
    page = ['s{step="x"} 1\n']
    source = settings("prometheus", url=serve(lambda _path: (200, page[0])), metric="s")
    known = Experiment("vm-1", "ML-1", "prometheus", "s", "", source["url"], metric="s")
    session = prometheus.Prometheus(source).session(known)
    assert session.sample().outcome == "answered"
    page[0] += 's{step="y"} 2\n'
    sample = session.sample()
    session.close()
    assert (sample.outcome, sample.detail) == (
        "invalid",
        "now 2 series of s; give labels that only one of them has (step)",
    )


@pytest.mark.parametrize("kind", ["metric", "query"])
def test_the_series_that_was_found_is_watched_when_others_appear(serve: Serve, kind: str) -> None:
    """An evaluation counts its steps by the same name and another label."""
    shown, asked = [{"phase": "train", "job": "j"}], [0]

    def answer(path: str) -> tuple[int, Any]:
        asked[0] += 1
        value = {"train": asked[0], "val": 3}
        if "config" in path:
            return 200, {"data": {"yaml": "scrape_interval: 10ms\nscrape_timeout: 10ms"}}
        if "query" in path:
            rows = [{"metric": {"__name__": "s", **each}, "value": [1, str(value[each["phase"]])]} for each in shown]
            return 200, {"status": "success", "data": {"resultType": "vector", "result": rows}}
        return 200, "".join(f's{{phase="{each["phase"]}"}} {value[each["phase"]]}\n' for each in shown)

    source = settings("prometheus", url=serve(answer), **{kind: "s"})
    (experiment,) = observed(source).experiments
    assert experiment.description == "s"
    shown.insert(0, {"phase": "val", "job": "j"})
    session = prometheus.Prometheus(source).session(experiment)  # as after a resume of the run
    first, second = session.sample(), session.sample()
    assert (first.outcome, second.step or 0) == ("answered", pytest.approx((first.step or 0) + 1, abs=1))
    shown[:] = [{"phase": "val", "job": "j"}]
    assert session.sample().outcome == "answered", "after a restart it may have other labels"
    session.close()


RULES = {
    "groups": [
        {
            "interval": 30,
            "rules": [
                {"type": "recording", "name": "vm:steps:sum", "query": "sum by (vm) (job:steps:max)"},
                {"type": "recording", "name": "job:steps:max", "query": 'max_over_time(steps{of="a:b"}[2m:1m])'},
                {"type": "alerting", "name": "vm:steps:sum", "query": "x[9h]"},
            ],
        },
        {"interval": 900, "rules": [{"type": "recording", "name": "of:another", "query": "x"}]},
    ]
}


@pytest.mark.parametrize(
    ("query", "known", "age"),
    [
        ("steps", RULES, 0.0),
        ('sum(steps{of="a:b"})', RULES, 0.0),
        ("job:steps:max", RULES, 30.0 + 120.0),
        ("vm:steps:sum", RULES, 30.0 + 30.0 + 120.0),
        ("2 * vm:steps:sum", RULES, 30.0 + 30.0 + 120.0),
        ('{__name__="job:steps:max"}', RULES, 30.0 + 120.0),
        ("job:unknown", RULES, 60.0),
        ("job:steps:max", None, 60.0),
        ("job:steps:max", {"groups": [{"rules": [RULES, *RULES["groups"][0]["rules"]]}]}, 60.0 + 120.0),  # type: ignore[dict-item]
    ],
)
def test_a_recording_rule_delays_what_a_server_shows(serve: Serve, query: str, known: object, age: float) -> None:
    """Its value is made once in the interval of its group, so a stall may last that much longer than a value stays the same."""
    asked = [0]

    def answer(path: str) -> tuple[int, Any]:
        if "config" in path:
            return 200, {"data": {"yaml": "scrape_interval: 15s\nscrape_timeout: 10s"}}
        if "rules" in path:
            return (200, {"status": "success", "data": known}) if known else (422, {"status": "error"})
        asked[0] += 1
        name = {} if query[0] in "2s" else {"__name__": query if query[0] != "{" else "job:steps:max"}
        rows = [{"metric": name, "value": [1, str(asked[0])]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": rows}}

    (experiment,) = observed(settings("prometheus", url=serve(answer), query=query)).experiments
    assert experiment.capabilities.freshness == 25.0 + age


def test_a_page_is_asked_for_as_its_url_says() -> None:
    asked: list[tuple[str, str]] = []

    class Handler(Answering):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Accept"]))
            self.answer(200, f"s {len(asked)}\n")

    with serving(Handler) as port:
        for path, as_asked in (
            ("/metrics?name[]=s&name[]=t", "/metrics?name[]=s&name[]=t"),
            ("/metrics/", "/metrics/"),
            ("", "/"),
            ('/federate?match[]={job="x y"}', "/federate?match[]=%7Bjob=%22x%20y%22%7D"),
            ("/probe?k=CANARY&vm={vm}&at={address}&CANARY", "/probe?k=CANARY&vm=ML-1&at=127.0.0.1&CANARY"),
        ):
            url = f"http://127.0.0.1:{port}{path}"
            source = settings("prometheus", url=url, metric="s")
            asked.clear()
            (experiment,) = observed(source).experiments
            assert "CANARY" not in str(experiment), "any parameter may be a secret"
            session = prometheus.Prometheus(source).session(experiment)
            assert session.sample().outcome == "answered"
            session.close()
            assert {path for path, _accept in asked} == {as_asked}
    assert all("openmetrics" in accept and "escaping=allow-utf-8" in accept for _path, accept in asked)


def test_pages_that_differ_in_what_is_not_kept_are_different_experiments(serve: Serve) -> None:
    url = exporter(serve, "s {step}\n")
    sources = [settings("prometheus", url=f"{url}/?match[]={job}", metric="s") for job in "ab"]
    first, second = observed(*sources).experiments
    assert (first.url, first.id == second.id) == (second.url, False)


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (401, {}, "authentication failed (HTTP 401)"),
        (404, {}, "not an exporter (HTTP 404)"),
        (307, {"Location": "http://a/metrics/"}, "it redirects (HTTP 307) to http://a/metrics/; set url to that"),
        (
            302,
            {"Location": "http://u:CANARY@a/x?k=CANARY#CANARY"},
            "it redirects (HTTP 302) to http://a/x; set url to that",
        ),
        (200, {"Content-Type": "text/html; charset=utf-8"}, "not an exporter's page, but text/html"),
    ],
)
def test_what_is_not_an_exporter_is_named(status: int, headers: dict[str, str], reason: str) -> None:
    class Handler(Answering):
        def do_GET(self) -> None:
            self.answer(status, "", **headers)

    with serving(Handler) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        assert observed(settings("prometheus", url=url, metric="s")).detail.startswith(f"{url}: {reason}")


def prometheus_server(serve: Serve, *results: dict[str, Any]) -> str:
    """The URL of a Prometheus; a value of ``None`` grows with each answer."""
    asked = [0]

    def answer(path: str) -> tuple[int, Any]:
        if "config" in path:
            return 200, {"data": {"yaml": "scrape_interval: 10ms\nscrape_timeout: 10ms"}}
        asked[0] += 1
        shown = [
            {"metric": r["metric"], "value": [1, str(asked[0] if r["value"] is None else r["value"])]} for r in results
        ]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": shown}}

    return serve(answer)


def test_of_several_series_in_prometheus_the_one_that_advances_is_watched(serve: Serve) -> None:
    dead = {"metric": {"__name__": "s", "pid": "1"}, "value": 900}
    live = {"metric": {"__name__": "s", "pid": "2"}, "value": None}
    url = prometheus_server(serve, dead, live)
    (experiment,) = observed(settings("prometheus", url=url, query="s")).experiments
    assert experiment.metric == 's{pid="2"}'
    refused = observed(settings("prometheus", url=url, query="sum by (pid) (s)")).detail
    assert refused.endswith("means 2 series instead of one; give labels that only one of them has (pid)")
    empty = prometheus_server(serve)
    assert observed(settings("prometheus", url=empty, query="s")).detail == f"{empty}: the query returns no series"


def estate(serve: Serve, pages: dict[tuple[str, str], dict[str, float]], **labels: str) -> str:
    """The URL of a Prometheus that has scraped pages of jobs and instances; the series ``s`` with these labels grows."""
    asked = [0]

    def rows(query: str) -> list[dict[str, Any]]:
        if not query.startswith("count"):
            return [{"metric": {"__name__": "s", **labels}, "value": [1, str(asked[0])]}]
        pattern, chosen = re.findall(r'"((?:[^"])*)"', query), []
        for (job, instance), page in pages.items():
            if [job, instance] == pattern[1:3]:
                named = [name for name in page if re.fullmatch(pattern[0], name)]
                chosen += [{"metric": {"__name__": name}, "value": [1, "1"]} for name in named]
                target = {"job": job, "instance": instance}
                chosen += [
                    {"metric": {"__name__": name, **target}, "value": [1, str(page[name])]}
                    for name in page
                    if name == prometheus.START
                ]
        return chosen

    def answer(path: str) -> tuple[int, Any]:
        if "config" in path:
            return 200, {"data": {"yaml": "scrape_interval: 10ms\nscrape_timeout: 10ms"}}
        asked[0] += 1
        query = parse_qs(urlsplit(path).query)["query"][0]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": rows(query)}}

    return serve(answer)


TRAINING, OTHER = ("train", "ml-1:8000"), ("other", "ml-1:9100")
STARTED = {prometheus.START: 1000.5}


@pytest.mark.parametrize(
    ("pages", "labels", "process"),
    [
        ({TRAINING: STARTED}, {"job": "train", "instance": "ml-1:8000"}, "started 1000.50"),
        ({TRAINING: STARTED | {"python_info": 1, "my_build_info": 1}}, {"job": "train", "instance": "ml-1:8000"}, "started 1000.50"),
        ({OTHER: STARTED}, {"job": "train", "instance": "ml-1:8000"}, ""),
        ({OTHER: STARTED}, {}, ""),
        ({OTHER: STARTED}, {"vm": "ML-1"}, ""),
        ({OTHER: STARTED | {"node_exporter_build_info": 1}}, {"job": "other", "instance": "ml-1:9100"}, ""),
        ({OTHER: STARTED | {"go_goroutines": 9}}, {"job": "other", "instance": "ml-1:9100"}, ""),
        ({OTHER: STARTED | {"push_time_seconds": 9}}, {"job": "other", "instance": "ml-1:9100"}, ""),
        ({OTHER: STARTED | {"any_build_info": 1}}, {"job": "other", "instance": "ml-1:9100"}, ""),
        ({OTHER: STARTED}, {"job": "other", "instance": "ml-1:9100", "exported_job": "train"}, ""),
        ({TRAINING: {prometheus.START: "1.76448e+09"}}, {"job": "train", "instance": "ml-1:8000"}, ""),
        ({OTHER: {prometheus.START: 0}}, {"job": "other", "instance": "ml-1:9100"}, ""),
        ({("node", "a:1"): STARTED}, {"job": "node", "instance": "a:1"}, ""),
        ({("Pushgateway", "a:1"): STARTED}, {"job": "Pushgateway", "instance": "a:1"}, ""),
    ],
)  # fmt: skip
def test_only_the_process_that_exports_a_series_may_be_the_training(
    serve: Serve, pages: dict[tuple[str, str], dict[str, float]], labels: dict[str, str], process: str
) -> None:
    source = settings("prometheus", url=estate(serve, pages, **labels), query="s")
    (experiment,) = observed(source).experiments
    session = prometheus.Prometheus(source).session(experiment)
    assert (experiment.process, session.sample().process) == (process, process)
    session.close()


@pytest.mark.parametrize(
    ("page", "is_relay"),
    [
        ("node_exporter_build_info 1", True),
        ('statsd_exporter_build_info{version="0.26"} 1', True),
        ('go_info{version="go1.21"} 1', True),
        ("go_goroutines 9", True),
        ("go_memstats_sys_bytes 9", True),
        ('pushgateway_build_info{version="1"} 1', True),
        ('push_time_seconds{job="train"} 1', True),
        ('vector_build_info{version="1"} 1', True),
        ("any_build_info 1", True),
        ('python_info{version="3"} 1\nany_exporter_build_info 1', True),
        ('python_info{version="3"} 1\nmy_build_info 1', False),
        ('python_info{version="3"} 1', False),
        ("# HELP go_info of a training that says more of itself", False),
        ('other{of="go_info"} 1', False),
        ("go_games_total 5", False),
        ("my_go_info 5", False),
    ],
)
def test_the_page_of_a_relay_is_recognised(serve: Serve, page: str, is_relay: bool) -> None:
    url = exporter(serve, f"{prometheus.START} 1000\n{page}\ns {{step}}\n")
    (experiment,) = observed(settings("prometheus", url=url, metric="s")).experiments
    assert (experiment.process == "") is is_relay
    assert experiment.capabilities.signal == ("changes" if is_relay else "answers"), (
        "a gateway does not freeze with the VM"
    )


@pytest.mark.parametrize(
    ("page", "url", "signal"),
    [
        ("s {step}", "http://{address}", "answers"),
        ("s {step}", "http://127.0.0.1", "answers"),
        ("s {step}", "http://localhost", "answers"),
        ("s {step}", "http://127.0.0.2", "changes"),
        (f"s {{step}}\n{prometheus.START} 1000", "http://127.0.0.2", "answers"),
        (f's{{job="a",instance="b"}} {{step}}\n{prometheus.START} 1000', "http://127.0.0.2", "changes"),
        (f's {{step}}\n{prometheus.START}{{job="a",instance="b"}} 1000', "http://127.0.0.2", "changes"),
    ],
)
def test_a_page_of_another_machine_is_a_record_unless_it_names_the_training(page: str, url: str, signal: str) -> None:
    asked = [0]

    class Handler(Answering):
        def do_GET(self) -> None:
            asked[0] += 1
            self.answer(200, page.replace("{step}", str(asked[0])))

    with serving(Handler, "0.0.0.0") as port:
        source = settings("prometheus", url=f"{url}:{port}", metric="s")
        (experiment,) = observed(source).experiments
        session = prometheus.Prometheus(source).session(experiment)
        assert (experiment.capabilities.signal, session.sample().outcome) == (signal, "answered")
        session.close()


def test_a_freeze_behind_a_gateway_is_measured_by_what_was_pushed(serve: Serve) -> None:
    """The gateway answers all the time, also while the VM stands still."""
    pushed = [0, 1]

    def answer(_path: str) -> tuple[int, str]:
        pushed[0] += pushed[1]
        return 200, f's {pushed[0]}\ngo_info{{version="1"}} 1\n'

    source = settings("prometheus", url=serve(answer), metric="s")
    (experiment,) = observed(source).experiments
    session = prometheus.Prometheus(source).session(experiment)
    samples = []
    for second in range(30):
        pushed[1] = 0 if 10 <= second < 16 else 1
        samples.append(replace(session.sample(), sent=second - 0.01, received=float(second)))
    session.close()
    judged = judge(experiment, samples, stall_budget=5.0, moved_at=5.0, arrived_at=20.0)
    stall = judged.longest_stall
    assert stall is not None
    assert (judged.verdict, stall.low <= 6.0 <= stall.high) == (Verdict.UNKNOWN, True)


TRAINING, FEDERATION = {"job": "train", "instance": "ml-1:8000"}, {"job": "federate", "instance": "inner:9090"}


@pytest.mark.parametrize(
    ("labels", "targets", "age"),
    [
        (TRAINING, [FEDERATION, TRAINING], 0.0),
        (TRAINING, [FEDERATION], 70.0),  # honor_labels keeps the labels of the server inside
        (TRAINING, [], 70.0),  # remote write
        (TRAINING, [{**TRAINING, "job": "node"}, {**TRAINING, "instance": "ml-2:8000"}], 70.0),
        (TRAINING, None, 0.0),  # as Thanos and Mimir
        (TRAINING, "x", 0.0),
        ({"job": "train"}, [FEDERATION], 0.0),  # then nothing names its process
    ],
)
def test_what_another_server_has_scraped_is_older(
    serve: Serve, labels: dict[str, str], targets: object, age: float
) -> None:
    """The one inside scrapes at times of its own, so a training that is dead still shows new steps for that long."""
    asked = [0]

    def answer(path: str) -> tuple[int, Any]:
        if "config" in path:
            return 200, {"data": {"yaml": "scrape_interval: 10ms\nscrape_timeout: 10ms"}}
        if "targets" in path:
            active = [{"labels": each} for each in targets] if isinstance(targets, list) else targets
            return (404, {}) if targets is None else (200, {"status": "success", "data": {"activeTargets": active}})
        asked[0] += 1
        rows = [{"metric": {"__name__": "s", **labels}, "value": [1, str(asked[0])]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": rows}}

    source = settings("prometheus", url=serve(answer), query="s", advance_timeout=1)
    (experiment,) = observed(source).experiments
    assert experiment.capabilities.freshness == pytest.approx(0.02 + age)


@pytest.mark.parametrize(
    ("query", "age"),
    [
        ("s", 0.0),
        ("sum(s)", 0.0),
        ("avg_over_time(s[5m])", 300.0),
        ("s offset 1m30s", 90.0),
        ("avg_over_time(s[300])", 300.0),  # Prometheus 3 takes numbers for seconds
        ("max_over_time(s[ 1.5e2:30 ] OFFSET 60)", 210.0),
        ("max_over_time(rate(s[1m])[10m:30s]) offset 1d", 60.0 + 600 + 86400),
        ("s{run=\"[5m] offset 5m\",a=~'x[0-9]h'}", 0.0),
        ("s offset -5m", 0.0),
    ],
)
def test_a_query_over_a_range_shows_a_freeze_only_later(serve: Serve, query: str, age: float) -> None:
    live = {"metric": {"__name__": "s"}, "value": None}
    (experiment,) = observed(settings("prometheus", url=prometheus_server(serve, live), query=query)).experiments
    assert experiment.capabilities.freshness == pytest.approx(0.02 + age)


@pytest.mark.parametrize(
    ("query", "series", "may_fall"),
    [
        ("s", {"__name__": "s"}, False),
        ('s{job="a"}', {"__name__": "s", "job": "a"}, False),
        ("sum(s)", {}, True),
        ("s * 2", {}, True),
        ("job:s:sum", {"__name__": "job:s:sum", "job": "a"}, True),  # the name of a recording rule
        ("instance:s:max", {"__name__": "instance:s:max", "instance": "ml-1:8000"}, False),
    ],
)
def test_only_an_expression_may_fall(serve: Serve, query: str, series: dict[str, str], may_fall: bool) -> None:
    live = {"metric": series, "value": None}
    source = settings("prometheus", url=prometheus_server(serve, live), query=query)
    (experiment,) = observed(source).experiments
    assert experiment.capabilities.may_fall is may_fall
    session = prometheus.Prometheus(source).session(experiment)
    assert session.asks_expression is may_fall
    session.close()


@pytest.mark.parametrize("metric", ["s{", 's{run="a"', "s{run=a}", " s", "{}"])
def test_a_metric_that_means_nothing_is_refused(metric: str) -> None:
    with pytest.raises(InvalidInput, match="not the name of a metric"):
        observed(settings("prometheus", url="http://a", metric=metric))


def test_without_the_parser_its_package_is_named(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr(prometheus, "PARSER_ERROR", "No module named 'prometheus_client'")
    with pytest.raises(InvalidInput, match="prometheus-client"):
        observed(settings("prometheus", url="http://a", metric="s"))
    live = {"metric": {"__name__": "s"}, "value": None}
    assert observed(settings("prometheus", url=prometheus_server(serve, live), query="s")).experiments


def in_query(query: str, name: str, address: str = "10.1.2.3") -> str:
    return prometheus.query_for(query, Target("vm-1", name, address))


@pytest.mark.parametrize(
    ("query", "name", "asked"),
    [
        ('steps{vm="{vm}"}', "ml-1", 'steps{vm="ml-1"}'),
        ('steps{vm="{vm}"}', 'x"} or steps{vm="victim', r'steps{vm="x\"} or steps{vm=\"victim"}'),
        ('steps{vm="{vm}"}', "x\\", r'steps{vm="x\\"}'),
        ('steps{vm="{vm}"}', "x\ny", r'steps{vm="x\ny"}'),
        ("steps{vm='{vm}'}", "x'} or steps{vm='y", r"steps{vm='x\'} or steps{vm=\'y'}"),
        ("steps{vm='{vm}'}", 'x"y', "steps{vm='x\"y'}"),
        ("steps{vm=`{vm}`}", "x\\y", "steps{vm=`x\\y`}"),
        ('steps{vm=~"{vm}:.*"}', "a.b|c.*", r'steps{vm=~"a\\.b\\|c\\.\\*:.*"}'),
        ('steps{vm!~ "{address}"}', "ml-1", r'steps{vm!~ "10\\.1\\.2\\.3"}'),
        ('steps{a="\\"",vm="{vm}"}', 'x"', r'steps{a="\"",vm="x\""}'),
        ("steps_{vm}", "ml_1", "steps_ml_1"),
    ],
)
def test_a_name_is_only_text_in_a_query(query: str, name: str, asked: str) -> None:
    assert in_query(query, name) == asked


@pytest.mark.parametrize(("query", "name"), [("steps_{vm}", "x or up"), ("steps{vm=`{vm}`}", "x`} or up{a=`")])
def test_a_name_that_cannot_be_text_in_a_query_costs_only_its_vm(query: str, name: str) -> None:
    with pytest.raises(UnusableAddress, match="cannot be written in the query"):
        in_query(query, name)


@given(st.text(max_size=30))
def test_no_name_ends_the_text_of_a_query(name: str) -> None:
    asked = in_query('steps{vm="{vm}"}', name)
    assert re.fullmatch(r'steps\{vm="(?:[^"\\\n]|\\.)*"\}', asked)
    assert prometheus.selector_of(asked.replace("\\r", "")) is not None or prometheus.PARSER_ERROR


@pytest.mark.parametrize("signal", ["answers", "changes"])
@pytest.mark.parametrize(
    ("failures", "gone"),
    [
        ([ConnectionRefusedError()], True),
        ([ConnectionResetError(), ConnectionResetError()], True),
        ([ConnectionRefusedError(), TimeoutError()], True),
        ([ConnectionResetError()], False),
        ([TimeoutError(), TimeoutError()], False),
        ([UnusableAnswer("not an exporter (HTTP 504)")], False),
        ([UnusableAnswer("no series of steps_total")] * 3, False),
    ],
)
def test_a_clock_that_is_set_while_a_question_fails_is_no_restart(
    monkeypatch: pytest.MonkeyPatch, signal: str, failures: list[Exception], gone: bool
) -> None:
    """A failed scrape, a proxy's HTTP 504 and a Prometheus server that is restarted say nothing of the training's process."""
    known = Experiment(
        "vm-1", "ml-1", "prometheus", "steps", "started 1700000000.00", "http://x", metric="steps_total",
        capabilities=Capabilities("process", signal),
    )  # fmt: skip
    session = SeriesSession(Endpoint("192.0.2.1", 1), known, None)
    readings = iter(
        [
            Reading([Series("steps_total", {}, 40.0)], 1.7e9),
            *failures,
            Reading([Series("steps_total", {}, 41.0)], 1.7e9 + 12),
        ]
    )

    def read() -> Reading:
        reading = next(readings)
        if isinstance(reading, Exception):
            raise reading
        return reading

    monkeypatch.setattr(session, "read", read)
    *_others, last = [session.sample() for _question in range(len(failures) + 2)]
    assert (last.outcome, last.process) == ("answered", "")
    assert bool(last.restarted) is (gone and signal == "answers")


def steps_shown(
    monkeypatch: pytest.MonkeyPatch, query: str, shown: list[tuple[float, float]], *more: Any, **named: Any
) -> list[tuple[float | None, bool]]:
    """(step, whether a restart was seen) of the samples of ``queried``."""
    return [(sample.step, bool(sample.restarted)) for sample in queried(monkeypatch, query, shown, *more, **named)]


def queried(
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    shown: list[tuple[float, float]],
    process: str = "",
    started: float = 0.0,
    falls: float | None = 0.0,
) -> list[Sample]:
    """The samples of a query's session that is shown each value at its time.

    Prometheus says that the value fell ``falls`` times in the hour before.
    """
    signal = Capabilities("run", "changes", 70.0)
    known = Experiment("vm-1", "ML-1", "prometheus", "x", process, "http://x", metric=query, capabilities=signal)
    session = prometheus.SeriesSession(Endpoint("192.0.2.1", 1), known, None, is_page=False)

    def values_of(asked: str) -> list[Series]:
        if falls is None:
            raise UnusableAnswer("unknown function")
        return [Series("", {}, falls)] if asked == "resets(s[1h])" else []

    monkeypatch.setattr(session, "_values", values_of)
    found = []
    for at, value in shown:
        reading = prometheus.Reading([Series("s", {}, value)], started or None)
        monkeypatch.setattr(prometheus.time, "monotonic", lambda at=at: at)
        monkeypatch.setattr(session, "read", lambda reading=reading: reading)
        found.append(session._ask(at))
    return found


REPLICAS = [(0.0, 100.0), (30.0, 160.0), (60.0, 120.0), (90.0, 220.0), (120.0, 180.0), (150.0, 300.0)]


def test_a_replica_that_is_behind_is_not_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers behind one address have scraped at different times; an answer may be 70 s old."""
    steps = [step for step, _restarted in steps_shown(monkeypatch, "s", REPLICAS)]
    assert steps == [100, 160, 160, 220, 220, 300]
    assert not any(restarted for _step, restarted in steps_shown(monkeypatch, "s", REPLICAS))


def test_a_counter_that_stays_below_what_was_shown_is_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(0.0, 100.0), (60.0, 160.0), (90.0, 150.0), (120.0, 155.0), (140.0, 159.0)]
    assert [restarted for _step, restarted in steps_shown(monkeypatch, "s", shown)] == [False] * 4 + [True]
    at_once = [(0.0, 100.0), (71.0, 160.0), (72.0, 0.0)]
    assert steps_shown(monkeypatch, "s", at_once)[-1] == (0.0, True)


def test_a_count_that_falls_with_another_start_is_a_restart_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(0.0, 100.0), (1.0, 90.0)]
    assert steps_shown(monkeypatch, "s", shown, "started 1000.00", 1030.0)[-1] == (90.0, True)
    assert steps_shown(monkeypatch, "s", shown, "started 1000.00", 1000.0)[-1] == (100.0, False)


def test_an_expression_that_misses_a_series_is_not_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum over two ranks, one of which is not scraped for a long time; what the other does counts."""
    shown = [(0.0, 200.0), (80.0, 300.0), (90.0, 155.0), (100.0, 160.0), (200.0, 200.0), (210.0, 205.0), (300.0, 500.0)]
    found = steps_shown(monkeypatch, "sum(s)", shown)
    assert not any(restarted for _step, restarted in found)
    assert [step for step, _restarted in found] == [200, 300, 300, 305, 345, 350, 500]


def exported(
    monkeypatch: pytest.MonkeyPatch, shown: list[tuple[float, float | Exception]]
) -> list[tuple[float | None, str, bool]]:
    """(step, detail, whether a restart was seen) of an exporter that names no process, at each time."""
    known = Experiment("vm-1", "ML-1", "prometheus", "x", "", "http://x", metric="s")
    session = SeriesSession(Endpoint("192.0.2.1", 1), replace(known, capabilities=Capabilities("run", "answers")), None)
    found = []
    for at, value in shown:

        def read(value: float | Exception = value) -> Reading:
            if isinstance(value, Exception):
                raise value
            return Reading([Series("s", {}, value)], None)

        monkeypatch.setattr(prometheus.time, "monotonic", lambda at=at: at)
        monkeypatch.setattr(session, "read", read)
        sample = session.sample()
        found.append((sample.step, sample.detail, bool(sample.restarted)))
    return found


@pytest.mark.parametrize("pace", [0.1, 0.2, 1.0])
@pytest.mark.parametrize(
    "values", [[n % 5 for n in range(20)], [1 / (n + 1) for n in range(20)], [4, 5, 1, 6, 5, 7, 6, 8, 7, 9, 8, 7]]
)
def test_a_value_that_falls_when_its_next_step_is_due_is_no_restart(
    monkeypatch: pytest.MonkeyPatch, pace: float, values: list[float]
) -> None:
    """An index of a batch, a loss and a gauge that goes up and down, without the start time of a process."""
    asked = [n / 10 for n in range(int(10 * pace * (len(values) - 1)))]
    step, detail, restarted = exported(monkeypatch, [(at, values[int(at / pace + 1e-6)]) for at in asked])[-1]
    assert (step, detail, restarted) == (values[int(asked[-1] / pace + 1e-6)], prometheus.REPEATS, False)


@pytest.mark.parametrize("failure", [None, ConnectionResetError(), UnusableAnswer("HTTP 502")])
@pytest.mark.parametrize("first", [0.0, 30.0])
def test_a_counter_that_falls_after_a_pause_or_a_failure_is_a_restart(
    monkeypatch: pytest.MonkeyPatch, failure: Exception | None, first: float
) -> None:
    shown: list[tuple[float, float | Exception]] = [(n / 10, float(n // 3)) for n in range(300)]
    shown += [(30.0, failure)] if failure is not None else [(30.0 + n / 10, 99.0) for n in range(10)]
    shown += [(31.0 + n / 10, first + n // 3) for n in range(100)]
    assert exported(monkeypatch, shown)[-1] == (first + 33, "", True)


def test_a_batch_index_in_a_query_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(0.0, 100.0), (100.0, 200.0), (101.0, 5.0), (102.0, 6.0)]
    found = steps_shown(monkeypatch, "s", shown, "started 1000.00", 1000.0)
    assert found[-2:] == [(5.0, False), (6.0, False)]


def judged_query(samples: list[Sample], process: str) -> Judgement:
    signal = Capabilities("run", "changes", 70.0)
    known = Experiment("vm-1", "ML-1", "prometheus", "x", process, "http://x", metric="s", capabilities=signal)
    return judge(known, samples, stall_budget=300.0, moved_at=150.0, arrived_at=160.0)


EPOCHS = [(float(at), float(at // 15 % 7)) for at in range(0, 900, 5)]  # an index of a batch, by its scrapes


@pytest.mark.parametrize(
    ("process", "falls", "verdict"),
    [
        ("started 1000.00", 0.0, Verdict.UNKNOWN),  # the same process counts from 0 again
        ("", 9.0, Verdict.UNKNOWN),  # it did so before the move, too
        ("", 2.0, Verdict.RESTARTED),
    ],
)
def test_a_batch_index_in_a_query_is_not_a_restart_if_it_fell_before_or_its_process_is_the_same(
    monkeypatch: pytest.MonkeyPatch, process: str, falls: float, verdict: Verdict
) -> None:
    samples = queried(monkeypatch, "s", EPOCHS, process, 1000.0 if process else 0.0, falls)
    judgement = judged_query(samples, process)
    assert judgement.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert WORKS in judgement.detail
        assert not must_stop_run(judgement)


def test_a_server_that_does_not_say_how_often_a_value_fell_hides_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(0.0, 100.0), (100.0, 200.0), (101.0, 5.0), (102.0, 6.0)]
    assert steps_shown(monkeypatch, "s", shown, falls=None)[-1] == (6.0, True)


LABELS = '{application="a",region="b"}'
MICROMETER = (
    f"s{LABELS} {{step}}\nprocess_start_time_seconds{LABELS} 1000.5\nprocess_uptime_seconds{LABELS} {{uptime}}\n"
)


@pytest.mark.parametrize(
    ("page", "every", "process"),
    [
        (MICROMETER, 0.0, "started 1000.50"),
        (MICROMETER, 1.0, ""),  # a program that scrapes it each second
        (MICROMETER, 60.0, ""),
        (MICROMETER.replace("s{app", 's{host="h",app', 1), 0.0, "started 1000.50"),
        (MICROMETER.replace("start_time_seconds{", 'start_time_seconds{host="h",'), 0.0, ""),
        (f"{MICROMETER}go_info 1\n", 0.0, ""),
        (MICROMETER.replace("region", "instance").replace("application", "job"), 0.0, ""),
        (MICROMETER.replace("process_uptime_seconds", "other"), 0.0, ""),
        (f'{MICROMETER}process_uptime_seconds{{application="c"}} 5\n', 0.0, ""),
    ],
)
def test_common_labels_are_those_of_a_relay_unless_the_page_shows_the_present(
    page: str, every: float, process: str
) -> None:
    asked = [0]

    class Handler(Answering):
        def do_GET(self) -> None:
            asked[0] += 1
            now = time.monotonic()
            uptime = now // every * every if every else now
            self.answer(200, page.replace("{step}", str(asked[0])).replace("{uptime}", f"{uptime:.3f}"))

    with serving(Handler) as port:
        source = settings("prometheus", url=f"http://127.0.0.1:{port}", metric="s")
        (experiment,) = observed(source).experiments
        session = prometheus.Prometheus(source).session(experiment)
        assert (experiment.process, session.sample().process) == (process, process)
        session.close()
    assert experiment.capabilities.signal == ("answers" if process else "changes")
