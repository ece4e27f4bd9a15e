# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of provider h2o3: what counts as an experiment. No answer of a guest makes it fail."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import merged, moid_list, vm_list
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Sample,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import h2o3 as _h2o3
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import h2o3_sessions
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import probe as _http
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_jobs import children
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_models import job_path
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.over_http import (
    sampled,
    with_waits,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.questions import Wait
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import judge
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.sources import VM, providers
from tests.doubles.h2o3 import FROZEN_SECONDS, TwoNodes, job
from tests.doubles.servers import Answering, sending, serving
from tests.measuring import Measured, until

PROCESS = {"x-h2o-cluster-id": "1795488099890"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from(["jobs", "key", "name", "dest", "type", "status", "progress", "progress_msg"])
LIKE_H2O = st.recursive(JSON, lambda inner: st.dictionaries(NAMES, inner | st.lists(inner, max_size=2), max_size=6))


def sample(probe: _http.Probe, job: str) -> Sample:
    return sampled(probe, lambda sent: h2o3_sessions.parse_sample(probe.get(job_path(job)), sent, sent))


def found(*jobs: dict) -> list[str]:
    answer = _http.Answer(200, PROCESS, {"jobs": list(jobs)})
    return [e.id for e in _h2o3.running_experiments(answer, "http://127.0.1.4:54321", "vm-4", "ML-cpu-vm-04")]


def test_training_jobs_that_run_are_experiments() -> None:
    parse = job("parse", "Key<Frame>")
    over = job("over", status="DONE")
    assert found(job("a"), job("b", "Key<Grid>"), parse, over, job("c", status="CANCEL_PENDING")) == ["a", "b"]


def test_children_of_an_automl_are_not_counted_twice() -> None:
    parent = job("aml", "Key<AutoML>", dest="aml1@@dep_delay")
    child = job("child", dest="GBM_1_AutoML_1_20261124_101500")
    assert found(parent, child, job("own")) == ["aml", "own"]
    assert found(child) == ["child"], "it is not a child if no AutoML runs"


@pytest.mark.parametrize(
    ("parent", "child", "counted"),
    [
        (job("s", "Key<SegmentModels>", dest="seg1"), job("c", dest="seg1_12"), ["s"]),
        (job("s", "Key<SegmentModels>", dest="seg1"), job("c", dest="seg10_x"), ["s", "c"]),
        (job("g", "Key<Grid>", dest="depths"), job("c", dest="depths_model_3"), ["g"]),
        (job("r", dest="rules", description="RuleFit"), job("c", dest="DRF_model_1795916336066_1"), ["r"]),
        (job("r", dest="rules", description="Infogram"), job("c", dest="GBM_model_1795916336066_110"), ["r"]),
        (job("r", dest="rules", description="AdaBoost"), job("c", dest="rules_1"), ["r"]),
        (job("r", dest="rules", description="RuleFit"), job("c", dest="GBM_model_python_17959_1"), ["r", "c"]),
        (job("r", dest="rules", description="RuleFit"), job("c", dest="mine"), ["r", "c"]),
        (job("r", dest="rules", description="RuleFit"), job("c", dest="GBM_model_1795916336066_7"), ["r", "c"]),
        (job("u", dest="up", description="UpliftDRF"), job("c", dest="DRF_model_1795916336066_1"), ["u", "c"]),
        (job("g", dest="gbm", description="GAM"), job("c", dest="gbm_fraud"), ["g", "c"]),
        (job("g", dest="gbm", description="GAM"), job("c", dest="gbm_fraud_2"), ["g", "c"]),
        (job("g", "Key<Grid>", dest="depths"), job("c", dest="depths_model_of_mine"), ["g", "c"]),
        (job("e", dest="se", description="StackedEnsemble"), job("c", dest="metalearner_AUTO_se"), ["e"]),
        (job("a", "Key<AutoML>", dest="a@@y"), job("c", dest="my_AutoML_copy"), ["a", "c"]),
        (job("a", "Key<AutoML>", dest="a@@y"), job("c", dest="GBM_1_AutoML_1_20261124_101500_of_mine"), ["a", "c"]),
        (job("a", "Key<AutoML>", dest="a@@y"), job("c", dest="XGBoost_grid_1_AutoML_1_20261124_101500_model_3"), ["a"]),
        (
            job("a", "Key<AutoML>", dest="a@@y"),
            job("c", dest="StackedEnsemble_BestOfFamily_1_AutoML_1_20261124_101500"),
            ["a"],
        ),
        (job("m", dest="other", description="GBM"), job("c", dest="DRF_model_1795916336066_1"), ["m", "c"]),
        (
            job("r", dest="rules", description="RuleFit", start_time=5),
            job("c", dest="DRF_model_1795916336066_1", start_time=4),
            ["r", "c"],
        ),
    ],
)
def test_a_job_over_many_models_is_the_experiment_and_not_its_models(
    parent: dict[str, Any], child: dict[str, Any], counted: list[str]
) -> None:
    assert found(parent, child) == counted
    assert sorted(found(child, parent)) == sorted(counted)


def answer_by(monkeypatch: pytest.MonkeyPatch, get: Callable[[_http.Probe, str], _http.Answer]) -> None:
    """A server that answers each question so."""

    def download(probe: _http.Probe, path: str, sink: Callable[[bytes], None]) -> _http.Answer:
        answer = get(probe, path)
        sink(json.dumps(answer.body).encode())
        return answer

    monkeypatch.setattr(_http.Probe, "get", get)
    monkeypatch.setattr(_http.Probe, "download", download)


def answer_paths(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]) -> None:
    """A server that knows these paths."""

    def get(_probe: _http.Probe, path: str) -> _http.Answer:
        body = said.get(path)
        return _http.Answer(200 if body else 404, PROCESS | {"x-h2o-build-project-version": "3.46"}, body)

    answer_by(monkeypatch, get)


@pytest.mark.parametrize(
    ("kind", "parameters", "clock"),
    [
        ("Key<AutoML>", [], True),
        ("Key<Grid>", [], True),
        ("Key<SegmentModels>", [], False),
        ("Key<Model>", [{"name": "max_runtime_secs", "actual_value": 60.0}], True),
        ("Key<Model>", [{"name": "max_runtime_secs", "actual_value": 0.0}], False),
        ("Key<Model>", [], True),
    ],
)
def test_what_may_be_a_clock_is_taken_for_one(
    monkeypatch: pytest.MonkeyPatch, kind: str, parameters: list[dict[str, Any]], clock: bool
) -> None:
    said: dict[str, Any] = {
        "/3/Cloud": {"__meta": {"schema_name": "CloudV3"}},
        "/3/Jobs": {"jobs": [job("a", kind, dest="made")]},
        "/3/Models/made?_exclude_fields=models/output": {"models": [{"parameters": parameters}]},
    }

    answer_paths(monkeypatch, said)
    (experiment,) = _h2o3.discover(_http.Endpoint("127.0.0.1", 1), "vm-1", "a").found
    assert experiment.clock_progress is clock


FIRST = job("1", "Key<AutoML>", dest="mine@@y")
SECOND = job("2", "Key<AutoML>", dest="AutoML_2_20261130_93325@@y")
OF_FIRST, OF_SECOND = job("a", dest="GBM_1_AutoML_1_20261130_93317"), job("b", dest="GBM_1_AutoML_2_20261130_93325")


def test_the_models_of_one_automl_show_no_work_of_another() -> None:
    """Names as those of two AutoML runs of H2O-3 3.46 at a time, one with a name of its own."""
    answer = _http.Answer(200, PROCESS, {"jobs": [FIRST, SECOND, OF_FIRST, OF_SECOND]})
    assert children(answer, SECOND) == [OF_SECOND]
    assert children(answer, FIRST) == [OF_FIRST]
    alone = _http.Answer(200, PROCESS, {"jobs": [SECOND, OF_FIRST]})
    assert children(alone, SECOND) == [OF_FIRST], "the name of an AutoML that is continued is that of its first run"
    assert found(FIRST, SECOND, OF_FIRST, OF_SECOND) == ["1", "2"]


@pytest.mark.parametrize(("progress", "clock"), [(0.0, True), (1.6263033e-18, False), (2.6e-17, False), (2.8e-7, True)])
def test_a_grid_whose_progress_cannot_be_that_of_a_time_limit_shows_its_work(progress: float, clock: bool) -> None:
    """Values of two grids of H2O-3 3.46 without a limit, and the first one of a grid with an hour."""
    jobs = {"jobs": [job("g", "Key<Grid>", progress=progress), job("a", "Key<AutoML>", dest="a", progress=progress)]}
    experiments = _h2o3.running_experiments(_http.Answer(200, PROCESS, jobs), "http://x", "vm-4", "a")
    assert [each.clock_progress for each in experiments] == [clock, True]


SEGMENT = "$4672616d65206b65793a2066720a"  # the key of a segment's frame in H2O-3 3.46


def with_models(monkeypatch: pytest.MonkeyPatch, jobs: list[dict[str, Any]], frames: dict[str, str]) -> None:
    """A server with these jobs, and with models that are trained on these frames."""
    said: dict[str, Any] = {"/3/Cloud": {"__meta": {"schema_name": "CloudV3"}}, "/3/Jobs": {"jobs": jobs}}
    said |= {f"/3/Jobs/{each['key']['name']}": {"jobs": [each]} for each in jobs}
    for model, frame in frames.items():
        parameters = [{"name": "training_frame", "actual_value": {"name": frame, "type": "Key<Frame>"}}]
        said[f"/3/Models/{model}?_exclude_fields=models/output"] = {"models": [{"parameters": parameters}]}

    answer_paths(monkeypatch, said)


SEGMENTS = job("s", "Key<SegmentModels>", dest="seg", progress_msg="")
PART = job("c", dest="seg_1", progress_msg="Built 5 trees")


@pytest.mark.parametrize(
    ("frame", "counted", "shown"),
    [("airlines", ["s", "c"], ""), (SEGMENT, ["s"], "seg_1 Built 5 trees"), ("", ["s"], "seg_1 Built 5 trees")],
    ids=["of somebody else", "of a segment", "not known"],
)
def test_a_model_that_only_has_the_name_of_one_of_a_segment_is_an_experiment_and_no_work_of_the_segments(
    monkeypatch: pytest.MonkeyPatch, frame: str, counted: list[str], shown: str
) -> None:
    with_models(monkeypatch, [SEGMENTS, PART], {"seg_1": frame} if frame else {})
    monkeypatch.setattr(h2o3_sessions, "CHILD_SECONDS", 0.0)
    experiments = _h2o3.discover(_http.Endpoint("127.0.0.1", 1), "vm-1", "a").found
    assert [each.id for each in experiments] == counted
    session = h2o3_sessions.JobSession(_http.Endpoint("127.0.0.1", 1), "s")
    samples = [session.ask() for _question in range(3)]
    session.close()
    assert samples[-1].detail == shown


def test_the_models_of_an_automl_show_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The AutoML's own message is the name of a model, and its progress is a clock."""
    trees = iter(range(100))
    parent = job("aml", "Key<AutoML>", dest="aml", progress_msg="GBM_1_AutoML_1 [GBM def_5]")

    def get(_probe: _http.Probe, path: str) -> _http.Answer:
        child = job("child", dest="GBM_1_AutoML_1", progress_msg=f"Built {next(trees)} trees")
        jobs = {"/3/Jobs/aml": [parent], "/3/Jobs/child": [child], "/3/Jobs": [parent, child]}
        return _http.Answer(200, PROCESS, {"jobs": jobs[path]})

    answer_by(monkeypatch, get)
    monkeypatch.setattr(h2o3_sessions, "CHILD_SECONDS", 0.0)
    session = h2o3_sessions.JobSession(_http.Endpoint("127.0.0.1", 1), "aml")
    details = [session.ask().detail for _question in range(4)]
    assert details[0] == "GBM_1_AutoML_1 [GBM def_5]"
    assert len(set(details)) == 4
    assert details[3].startswith("GBM_1_AutoML_1 [GBM def_5]; GBM_1_AutoML_1 Built ")


def test_a_finished_automl_that_is_cancelled_was_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of its last model must not hide its own."""
    monkeypatch.setattr(h2o3_sessions, "CHILD_SECONDS", 0.0)
    shown = {"status": "RUNNING", "progress_msg": "GBM_1_AutoML_1 [GBM def_5]"}

    class Handler(Answering):
        def do_GET(self) -> None:
            parent = job("aml", "Key<AutoML>", dest="aml", **shown)
            child = job("child", dest="GBM_1_AutoML_1", progress_msg="Built 5 trees")
            jobs = {"/3/Jobs/aml": [parent], "/3/Jobs/child": [child], "/3/Jobs": [parent, child]}
            self.answer(200, {"jobs": jobs[self.path]}, **PROCESS)

    with serving(Handler) as port:
        session = h2o3_sessions.JobSession(_http.Endpoint("127.0.0.1", port), "aml")
        samples = [session.ask() for _question in range(3)]
        assert samples[-1].detail.endswith("; GBM_1_AutoML_1 Built 5 trees")
        for status in ("DONE", "CANCELLED"):
            shown.update(status=status, progress_msg="Done.")
            samples.append(session.ask())
        session.close()
    assert [(each.status, each.detail) for each in samples[-2:]] == [("DONE", "Done."), ("CANCELLED", "Done.")]
    experiment = Experiment("vm-1", "ML-1", "h2o3", "aml", PROCESS["x-h2o-cluster-id"], "http://x", clock_progress=True)
    older = [*samples[:-1], replace(samples[-1], detail="Done.; GBM_1_AutoML_1 Built 5 trees")]
    assert judge(experiment, samples, stall_budget=5.0).verdict is Verdict.COMPLETED
    assert judge(experiment, older, stall_budget=5.0).verdict is Verdict.COMPLETED


@pytest.mark.parametrize("slow", ["/3/Jobs", "/3/Jobs/child"])
def test_a_freeze_in_a_question_for_a_child_is_not_a_delay_of_the_controller(
    monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr(h2o3_sessions, "CHILD_SECONDS", 0.0)
    frozen = {"/3/Jobs": 0.0, "/3/Jobs/child": 0.0}

    class Handler(Answering):
        def do_GET(self) -> None:
            time.sleep(frozen.get(self.path, 0.0))
            frozen[self.path] = 0.0
            parent, child = job("aml", "Key<AutoML>", dest="aml"), job("child", dest="GBM_1_AutoML_1")
            jobs = {"/3/Jobs/aml": [parent], "/3/Jobs/child": [child], "/3/Jobs": [parent, child]}
            self.answer(200, {"jobs": jobs[self.path]}, **PROCESS)

    with serving(Handler) as port:
        session = h2o3_sessions.JobSession(_http.Endpoint("127.0.0.1", port), "aml")
        taken = []
        for turn in range(6):
            if turn == (1 if slow == "/3/Jobs" else 4):
                frozen[slow] = 0.8
            taken.append(session.ask())
        session.close()
    assert all(each.outcome == "answered" for each in taken)
    assert max(each.waited for each in taken) >= 0.8


def test_what_a_question_shows_is_not_hidden_by_one_that_nobody_measured() -> None:
    asked = Sample(10.0, 16.3, "answered")
    alone = with_waits(asked, [Wait(16.2, 16.3, exact=True, resent=False)])
    assert (alone.waited, alone.exact, alone.resent) == (pytest.approx(6.3), False, True)
    assert alone.alive_since == 16.2
    quick = with_waits(asked, [Wait(10.0, 10.1, exact=True, resent=False), Wait(10.15, 16.3, exact=True, resent=False)])
    assert (quick.late, quick.exact, quick.resent) == (0.15, True, False)


@given(LIKE_H2O, st.dictionaries(st.sampled_from(["x-h2o-cluster-id", "server"]), st.text(), max_size=2))
def test_any_answer_of_a_guest_is_parsed_into_bounds(body: Any, headers: dict[str, str]) -> None:
    answer = _http.Answer(200, headers, body)
    for experiment in _h2o3.running_experiments(answer, "http://a:1", "vm-1", "a"):
        assert len(experiment.id) <= 200
        assert experiment.progress is None or 0 <= experiment.progress <= 1
    sample = h2o3_sessions.parse_sample(answer, 1.0, 2.0)
    assert sample.outcome in {"answered", "invalid", "job_missing"}
    assert sample.progress is None or 0 <= sample.progress <= 1
    assert len(sample.detail) <= 200
    _h2o3.is_h2o(answer)


@pytest.mark.parametrize(
    ("job", "clock"),
    [
        ({"status": "RUNNING", "msec": 12345}, 12.345),
        ({"status": "DONE", "msec": 12345}, None),
        ({"status": "RUNNING"}, None),
        ({"status": "RUNNING", "msec": "NaN"}, None),
        ({"status": "RUNNING", "msec": 1e300}, None),
    ],
)
def test_a_running_job_shows_the_clock_of_its_guest(job: dict[str, Any], clock: float | None) -> None:
    answer = _http.Answer(200, PROCESS, {"jobs": [job]})
    assert h2o3_sessions.parse_sample(answer, 1.0, 2.0).clock == clock


@given(st.text())
def test_text_of_a_guest_cannot_control_a_terminal(value: str) -> None:
    shown = _http.text(value)
    assert shown.isprintable()
    assert len(shown) <= 200


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_are_nothing(data: bytes) -> None:
    parsed = _http.parsed(data)
    assert parsed is None or json.dumps(parsed)


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome"),
    [
        (200, PROCESS, {"jobs": [job("a")]}, "answered"),
        (400, PROCESS, {"msg": "Job is missing"}, "job_missing"),
        (200, {}, {"jobs": [job("a")]}, "invalid"),
        (404, {}, None, "invalid"),
        (404, PROCESS, {"msg": "Object 'a' not found"}, "job_missing"),
        (200, PROCESS, {"jobs": []}, "job_missing"),
        (
            500,
            PROCESS,
            {"msg": "Java heap space"},
            "invalid",
        ),  # as an error of its own, which says nothing about the job
        (503, PROCESS, None, "invalid"),
        (200, PROCESS, None, "invalid"),  # such as a part of an answer
        (500, PROCESS, {"jobs": [job("a")]}, "invalid"),
    ],
)
def test_outcome_of_an_answer(status: int, headers: dict[str, str], body: Any, outcome: str) -> None:
    assert h2o3_sessions.parse_sample(_http.Answer(status, headers, body), 0.0, 0.1).outcome == outcome


def models(*parameters: dict[str, Any], **output: Any) -> _http.Answer:
    return _http.Answer(200, PROCESS, {"models": [{"parameters": list(parameters), "output": output}]})


def test_the_score_is_that_of_the_best_known_data() -> None:
    training, crossed = {"AUC": 0.9, "RMSE": 1}, {"AUC": 0.7}
    output = {"model_category": "Binomial", "training_metrics": training, "cross_validation_metrics": None}
    assert _h2o3.score_of(models(**output)) == ("training AUC", 0.9)
    assert _h2o3.score_of(models(**output | {"cross_validation_metrics": crossed})) == ("cross_validation AUC", 0.7)
    assert _h2o3.score_of(models(**output | {"model_category": "Clustering"})) == ("", None)
    assert _h2o3.score_of(models(**output | {"training_metrics": {"AUC": "NaN"}})) == ("", None)
    assert _h2o3.score_of(_http.Answer(404, PROCESS, None)) == ("", None)


def test_checkpoints_of_a_model() -> None:
    folder = {"name": "in_training_checkpoints_dir", "actual_value": "/checkpoints"}
    export = {"name": "export_checkpoints_dir", "actual_value": "/models"}
    assert _h2o3.recovery_of(models(folder, export)) == ("yes", "in_training_checkpoints_dir /checkpoints")
    assert _h2o3.recovery_of(models(export))[0] == "no"
    assert _h2o3.recovery_of(_http.Answer(404, PROCESS, None))[0] == "no"


@given(LIKE_H2O)
def test_any_model_is_parsed(body: Any) -> None:
    answer = _http.Answer(200, PROCESS, body)
    _h2o3.score_of(answer)
    _h2o3.recovery_of(answer)
    _h2o3.models_in_training(answer)
    _h2o3.trainings(answer)
    _h2o3.cluster_of(answer)


def test_of_thousands_of_jobs_a_few_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    reported = {
        "/3/Cloud": {"__meta": {"schema_name": "CloudV3"}},
        "/3/Jobs": {"jobs": [job(f"$03_{n}") for n in range(5000)]},
    }

    def get(_probe: _http.Probe, path: str) -> _http.Answer:
        asked.append(path)
        return _http.Answer(200, PROCESS | {"x-h2o-build-project-version": "3.46"}, reported.get(path))

    answer_by(monkeypatch, get)
    experiments = _h2o3.discover(_http.Endpoint("127.0.0.1", 1), "vm-1", "a").found
    assert len(experiments) == 5000
    assert len(asked) == 2 + _h2o3.MAX_JOBS


@pytest.mark.parametrize("kind", ["Key<Model>", "Key<AutoML>", "Key<Grid>"])
def test_names_without_bytes_end_nothing(kind: str) -> None:
    class Server:
        def get(self, path: str) -> _http.Answer:
            path.encode("ascii")
            return _http.Answer(200, PROCESS, {"model_ids": [{"name": "\udc00"}]})

    _h2o3.models_of({"type": kind, "name": "\ud800"}, Server())  # type: ignore[arg-type]


Serve = Callable[[bytes], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers each request with the given bytes, or never if there are none; returns its port."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(sending(answer))


@pytest.mark.parametrize("extra", ["", "Connection: close\r\n"])
def test_who_answers_byte_by_byte_is_not_waited_for(extra: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with suppress(OSError):
            while True:
                connection, _peer = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.1 200 OK\r\n{extra}Content-Length: 1000\r\n\r\n".encode())
                    for _byte in range(1000):
                        connection.sendall(b" ")
                        time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    began = time.monotonic()
    probe = _http.Probe(_http.Endpoint("127.0.0.1", listening.getsockname()[1]), timeout=0.5)
    with pytest.raises(TimeoutError):
        probe.get("/3/Cloud")
    assert time.monotonic() - began < 25, "the whole answer takes 50 s"
    listening.close()


def head(extra: str = "", length: int = 2) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def serve_many() -> Iterator[int]:
    """The port of a server that keeps connections and answers with their number, below ``/chunked`` in chunks."""
    seen: list[Any] = []

    class Handler(Answering):
        def setup(self) -> None:
            super().setup()
            seen.append(self)

        def do_GET(self) -> None:
            if self.path != "/chunked":
                self.answer(200, {"connections": len(seen)})
                return
            data = json.dumps({"connections": len(seen)}).encode()
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

        def do_OPTIONS(self) -> None:
            self.answer(200)

    with serving(Handler) as port:
        yield port


def test_another_service_is_named_so(serve: Serve) -> None:
    port = serve(head() + b"{}")
    seen = _h2o3.discover(_http.Endpoint("127.0.0.1", port), "vm-1", "a")
    experiments, detail = seen.found, seen.detail
    assert (experiments, detail) == ([], "not an H2O-3 server (HTTP 200)")


def test_wrong_credentials_are_named_so(serve: Serve) -> None:
    port = serve(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    seen = _h2o3.discover(_http.Endpoint("127.0.0.1", port, username="alice"), "vm-1", "a")
    experiments, detail = seen.found, seen.detail
    assert experiments == []
    assert "experiments.password" in detail


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (head(length=1 << 21) + b" " * (1 << 21), "silent"),
        pytest.param(head(length=75_001) + b"[" + b"[]," * 24_999 + b"[]]", "silent", id="many values"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "silent"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "invalid"),
        (head(length=50) + b"{", "silent"),
        (CHUNKED + b"1\r\n{\r\nnothing\r\n", "silent"),
        (CHUNKED + b"-5\r\n" + b" " * 99, "silent"),
        (CHUNKED + b"-" + b"F" * 99 + b"\r\n" + b" " * 99, "silent"),
    ],
)
def test_hostile_answers_are_samples_too(serve: Serve, answer: bytes, outcome: str) -> None:
    probe = _http.Probe(_http.Endpoint("127.0.0.1", serve(answer)), timeout=2)
    assert sample(probe, "$03_a").outcome == outcome
    probe.close()


def test_a_chunk_of_negative_length_does_not_allow_an_endless_answer() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    sent = [0]

    def pour() -> None:
        connection, _peer = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(CHUNKED + b"-1\r\n")
            while sent[0] < 32 << 20:
                sent[0] += connection.send(b" " * 65536)

    threading.Thread(target=pour, daemon=True).start()
    probe = _http.Probe(_http.Endpoint("127.0.0.1", listening.getsockname()[1]))
    with pytest.raises(http.client.HTTPException, match="larger than"):
        probe.get("/3/Cloud")
    assert sent[0] < 32 << 20
    listening.close()


def test_a_connection_takes_one_question_after_the_other(serve_many: int) -> None:
    probe = _http.Probe(_http.Endpoint("127.0.0.1", serve_many), timeout=2)
    answers = [(probe.get("/").body, probe.get("/chunked").body, probe.options("/").status) for _turn in range(3)]
    assert answers == [({"connections": 1}, {"connections": 1}, 200)] * 3
    probe.close()


def test_silence_and_refusal_differ(serve: Serve) -> None:
    silent = _http.Probe(_http.Endpoint("127.0.0.1", serve(b"")), timeout=0.2)
    assert sample(silent, "a").outcome == "silent"
    assert sample(_http.Probe(_http.Endpoint("127.0.0.1", 1)), "a").outcome == "refused"


def test_a_waiting_probe_is_woken(serve: Serve) -> None:
    probe = _http.Probe(_http.Endpoint("127.0.0.1", serve(b"")), timeout=60)
    woken: list[str] = []
    thread = threading.Thread(target=lambda: woken.append(sample(probe, "a").outcome))
    thread.start()
    while thread.is_alive():
        probe.interrupt()
        thread.join(0.05)
    assert woken in (["silent"], ["refused"])


def test_a_password_never_shows() -> None:
    endpoint = _http.Endpoint("127.0.0.1", 1, username="alice", password="a-secret")
    assert "a-secret" not in repr(endpoint) + endpoint.url
    assert "Basic" in _http.Probe(endpoint)._headers()["Authorization"]


@pytest.mark.parametrize("nodes", [2, 1])
def test_each_node_in_a_vm_is_a_member_of_the_job_of_its_cluster(monkeypatch: pytest.MonkeyPatch, nodes: int) -> None:
    """Each is watched, else the cluster could never be uninterrupted. A node that answers at two ports is one member."""
    names = [{"ip_port": f"127.0.0.1:{port}"} for port in (1, 2)]
    cloud = {"__meta": {"schema_name": "CloudV3"}, "cloud_name": "c", "locked": True, "nodes": names}

    def get(probe: _http.Probe, path: str) -> _http.Answer:
        process = str(100 + probe.endpoint.port % nodes)
        headers = {"x-h2o-cluster-id": process, "x-h2o-build-project-version": "3.46"}
        body = {"/3/Cloud": cloud, "/3/Jobs": {"jobs": [job("a")]}}.get(path)
        return _http.Answer(200 if body else 404, headers, body)

    answer_by(monkeypatch, get)
    (seen,) = providers(h2o3=True, ports=[1, 2]).observe([VM])
    found = seen.experiments
    assert [e.asked_id for e in found] == ["a"] * nodes
    assert len({(e.id, e.process) for e in found}) == nodes
    judged = [Judgement(e, Verdict.UNINTERRUPTED, *["proven"] * 3, None, 0.1, 0.2, 0.3) for e in found]
    (whole,) = merged(judged)
    assert whole.verdict is (Verdict.UNINTERRUPTED if nodes == 2 else Verdict.UNKNOWN)
    assert (vm_list(whole), moid_list(whole)) == ([VM.name], [VM.moid])


@pytest.fixture
def two_nodes() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    with serving(nodes.handler) as nodes.port:
        yield nodes
        nodes.home.set()
        nodes.node.set()


def test_a_node_answers_for_itself_while_the_home_of_the_job_is_frozen(two_nodes: TwoNodes) -> None:
    session = h2o3_sessions.NodeSession(_http.Endpoint("127.0.0.1", two_nodes.port), "a")
    until(lambda: (lively := session.sample()).status == "RUNNING" and lively.process == "17")
    two_nodes.home.clear()
    until(lambda: two_nodes.waiting)
    quiet = [session.sample() for _ in range(5)]
    assert {sample.outcome for sample in quiet} == {"answered"}
    assert all(sample.received - sample.sent < FROZEN_SECONDS / 2 for sample in quiet)
    assert len({sample.detail for sample in quiet}) == 1, "no answer has news of the job"
    session.close()


def test_after_a_freeze_only_news_that_were_asked_for_later_count(two_nodes: TwoNodes) -> None:
    session = h2o3_sessions.NodeSession(_http.Endpoint("127.0.0.1", two_nodes.port), "a")
    until(lambda: session.sample().status == "RUNNING")
    two_nodes.node.clear()
    until(lambda: two_nodes.waiting)  # the question about the job was sent, too
    before = session._job_answer
    assert before is not None
    two_nodes.thaw_after_question()
    frozen = session.sample()
    assert frozen.received - frozen.sent > 0.25
    assert frozen.detail == before.detail
    trees = two_nodes.trees
    until(lambda: int(session.sample().detail.split()[0]) > trees)
    session.close()
    assert not session._thread.is_alive()


@pytest.fixture
def job_session(two_nodes: TwoNodes) -> Iterator[h2o3_sessions.JobSession]:
    session = h2o3_sessions.JobSession(_http.Endpoint("127.0.0.1", two_nodes.port), "a")
    yield session
    session.close()


@pytest.fixture
def long_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next question is not about the job, however slow the machine is."""
    monkeypatch.setattr(h2o3_sessions, "FRESH_SECONDS", 60.0)


def test_who_asks_often_asks_for_the_job_five_times_a_second(
    two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession, measured: Measured
) -> None:
    samples = []
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        samples.append(job_session.sample())
        time.sleep(0.02)
    assert two_nodes.trees <= 1 + (time.monotonic() - began) / h2o3_sessions.FRESH_SECONDS
    assert two_nodes.lives + two_nodes.trees == len(samples) + 1, "and one check whether the cheap question is answered"
    assert all(s.news_from <= s.sent for s in samples)
    assert len({s.news_from for s in samples}) == two_nodes.trees
    assert {(s.outcome, s.process, s.status) for s in samples} == {("answered", "17", "RUNNING")}
    with measured():
        assert max(s.waited for s in samples) < 0.1, "each is a separate question"
    assert len({s.detail for s in samples}) == two_nodes.trees


def test_who_asks_seldom_asks_for_the_job_alone(two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession) -> None:
    for _turn in range(3):
        job_session.sample()
        time.sleep(0.19)
    assert (two_nodes.trees, two_nodes.lives) == (3, 1)


@pytest.mark.parametrize("dropped", [True, False])
def test_if_a_proxy_answers_the_liveness_check_only_the_job_is_queried(
    two_nodes: TwoNodes,
    job_session: h2o3_sessions.JobSession,
    monkeypatch: pytest.MonkeyPatch,
    measured: Measured,
    dropped: bool,
) -> None:
    monkeypatch.setattr(_h2o3, "DISCOVERY_SECONDS", 0.2)
    two_nodes.process, two_nodes.drops = None, dropped
    samples = [job_session.sample() for _turn in range(4)]
    assert (two_nodes.trees, two_nodes.lives) == (4, 0 if dropped else 1)
    assert {(s.outcome, s.process, s.asked) for s in samples} == {("answered", "17", None)}
    with measured():
        assert max(s.waited for s in samples) < 0.1


@pytest.mark.usefixtures("long_fresh")
def test_a_proxy_that_answers_for_a_while_differs_from_a_permanent_one(
    two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession
) -> None:
    job_session.sample()
    two_nodes.process, two_nodes.failing = None, True
    assert job_session.sample().outcome == "invalid"
    two_nodes.process, two_nodes.failing = "17", False
    job_session.sample()
    lives = two_nodes.lives
    assert (job_session.sample().outcome, two_nodes.lives) == ("answered", lives + 1)
    two_nodes.process = None
    reported = job_session.sample()
    assert (reported.outcome, reported.process, reported.status) == ("answered", "17", "RUNNING")
    assert reported.sent < reported.news_from
    lives = two_nodes.lives
    job_session.sample()
    assert two_nodes.lives == lives


def test_a_node_behind_a_proxy_is_asked_for_its_cloud(two_nodes: TwoNodes) -> None:
    two_nodes.process = None
    session = h2o3_sessions.NodeSession(_http.Endpoint("127.0.0.1", two_nodes.port), "a")
    assert [(s.outcome, s.process) for s in (session.sample(), session.sample())] == [("answered", "17")] * 2
    assert (two_nodes.lives, two_nodes.clouds) == (1, 2)
    session.close()


@pytest.mark.usefixtures("long_fresh")
def test_after_a_refused_connection_the_next_question_is_about_the_job(
    two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession
) -> None:
    job_session.sample()
    two_nodes.drops = True
    assert job_session.sample().outcome == "refused"
    two_nodes.drops = False
    assert job_session.sample().detail == "2 trees"


@pytest.mark.usefixtures("long_fresh")
def test_another_process_is_seen_at_once_without_news_of_the_job(
    two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession
) -> None:
    job_session.sample()
    two_nodes.process = "18"
    other = job_session.sample()
    assert (other.outcome, other.process, other.status, other.detail) == ("answered", "18", None, "")
    assert job_session.sample().detail == "2 trees", "the next question is about the job"


@pytest.mark.parametrize("asked_for_the_job", [True, False])
def test_after_a_freeze_the_job_is_asked_for(
    two_nodes: TwoNodes, job_session: h2o3_sessions.JobSession, asked_for_the_job: bool
) -> None:
    job_session.sample()
    if asked_for_the_job:
        time.sleep(0.2)
    two_nodes.node.clear()
    two_nodes.thaw_after_question()
    assert job_session.sample().waited > 0.25
    assert job_session.sample().asked is None, "the question is about the job"
