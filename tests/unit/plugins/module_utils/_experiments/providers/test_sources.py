# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources other than H2O-3: what counts as progress, as a restart and as an answer; and wrong settings."""

from __future__ import annotations

import ast
import itertools
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import ExperimentError, InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.finished_models import (
    Exported,
    Exporter,
    ExportRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Final
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import (
    driverless_ai as _driverless_ai,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import exec as _exec
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import (
    over_http,
    prometheus,
    tensorboard,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import probe as _http
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Search, Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.sources import PROVIDERS
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.record import RESTART_SECONDS
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.training_clock import largest_gap
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders.sources import observed, settings
from tests.doubles.servers import answering

TARGET = Target("vm-1", "ML-1", "127.0.0.1")


Serve = Callable[[Callable[[str], tuple[int, Any]]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers each path with a status and text or JSON; returns its URL."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(answering(answer))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (settings("mlflow"), "url"),
        (settings("exec"), "command"),
        (settings("mlflow", url="mlflow.example.com"), "not the URL"),
        (settings("mlflow", url="https://alice:secret@mlflow.example.com"), "credentials in username"),
        (settings("mlflow", url="https://a", ca_path="/nowhere.pem"), r"experiments\.sources\.ca_path"),
        (settings("prometheus", url="http://a"), "metric or query"),
        (settings("prometheus", url="http://a", metric="x", query="y"), "metric or query"),
        (settings("prometheus", url="http://a/metrics?x=1&api_key=b", metric="x"), "contains a secret, which reports"),
    ],
)
def test_settings_that_make_no_sense_name_their_option(source: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        observed(source)


def test_the_choices_of_the_options_are_the_registry() -> None:
    """The specs must not import the providers: a module without experiments does not load them."""
    listed = [name for name, source in PROVIDERS.items() if source.needs]
    assert SOURCE_OPTIONS["provider"]["choices"] == sorted(listed)
    assert {PROVIDERS[name].needs for name in listed} <= set(SOURCE_OPTIONS)
    everywhere = set(PROVIDERS) - set(listed)
    assert {EXPERIMENT_OPTIONS[name]["type"] for name in everywhere} == {"bool"}


def test_no_provider_is_known_by_name_outside_its_own_files() -> None:
    """Only the choices of the options repeat the names."""
    utils = Path(_http.__file__).parents[2]
    strings = {
        (path.relative_to(utils), node.value)
        for path in utils.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    known = {(path, name) for path, name in strings if name in PROVIDERS and not path.name.startswith(name)}
    assert {str(path) for path, _name in known} <= {"_module/argspec.py"}


def test_a_source_is_asked_only_for_its_vms_and_credentials_stay_with_allowed_addresses() -> None:
    assert observed(settings("mlflow", url="http://127.0.0.1:1", vms=["other-*"])).detail == "no source covers this VM"
    guarded = settings("tensorboard", url="http://{address}:6006", token="a-token")
    elsewhere = observed(guarded, allowed_networks=["10.0.0.0/8"])
    assert elsewhere.detail == "127.0.0.1 is outside experiments.allowed_networks"
    allowed = observed({**guarded, "url": "http://{address}:1"}, allowed_networks=["127.0.0.0/8"])
    assert "no answer" in allowed.detail


def test_owners(serve: Serve, tmp_path: Path) -> None:
    program = tmp_path / "provider"
    program.write_text(PROGRAM)
    source = settings("exec", command=[sys.executable, str(program)])
    assert [e.owner for e in observed(source).experiments] == ["vision"]
    assert [e.owner for e in observed(source, owners={"ML-*": "fraud"}).experiments] == ["fraud"]


LIKE_COUNTS = st.floats(allow_nan=True) | st.integers() | st.sampled_from([5e-324, -1.7e308, 1.7e308, 10**400, "1e999"])


@given(st.lists(st.tuples(LIKE_COUNTS, LIKE_COUNTS), max_size=8))
@example([(0, -1.7e308), (5, 1.7e308), (6, 1.71e308), (7, 1.72e308)])
@example([(0, 0.0), (5, 5e-324), (6, 1e-323)])
def test_the_journal_can_store_a_gap_of_any_steps_that_a_guest_reports(reported: list[tuple[Any, Any]]) -> None:
    gap = largest_gap(tensorboard.points_of([[at, step, 0.0] for at, step in reported]))
    json.dumps(gap and asdict(gap), allow_nan=False)


def test_a_scrape_interval_is_finite() -> None:
    assert math.isfinite(prometheus.seconds("9" * 400 + "h"))


# prometheus


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("nonsense", 0.0)])
def test_durations(text: str, seconds: float) -> None:
    assert prometheus.seconds(text) == seconds


def test_the_age_of_samples_is_read_from_the_server_s_configuration() -> None:
    config = "global:\n  scrape_interval: 15s\n  scrape_timeout: 10s\nscrape_configs:\n- scrape_interval: 1m\n"
    assert prometheus.scrape_age(_http.Answer(200, {}, {"data": {"yaml": config}})) == 70.0
    assert prometheus.scrape_age(_http.Answer(403, {}, None)) == 70.0


def exporter(
    serve: Serve, started: list[float], steps: list[float], *, more: str = "", status: Sequence[int] = (200,)
) -> str:
    def page(_path: str) -> tuple[int, str]:
        steps[0] += 1
        return status[0], f"steps_total {steps[0]}\nprocess_start_time_seconds {started[0]}\n{more}"

    return serve(page) + "/metrics"


def watched_exporter(
    serve: Serve, started: list[float], steps: list[float], status: list[int]
) -> prometheus.SeriesSession:
    source = settings("prometheus", url=exporter(serve, started, steps, status=status), metric="steps_total")
    (experiment,) = observed(source).experiments
    session = prometheus.Prometheus(source).session(experiment)
    assert experiment.process == "started 1000.00"
    assert session.sample().process == experiment.process
    return session


@pytest.mark.parametrize(("refusals", "found"), [(0, 1), (1, 1), (2, 0)])
@pytest.mark.parametrize("busy", over_http.BUSY)
def test_a_busy_server_is_searched_once_more(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, busy: int, refusals: int, found: int
) -> None:
    monkeypatch.setattr(over_http, "BUSY_PAUSE", 0.01)
    steps, answers = itertools.count(1), itertools.count()

    def page(_path: str) -> tuple[int, str]:
        return busy if next(answers) < refusals else 200, f"steps_total {next(steps)}\n"

    seen = observed(settings("prometheus", url=serve(page) + "/metrics", metric="steps_total"))
    assert len(seen.experiments) == found
    assert found or f"cannot answer now (HTTP {busy}); try again" in seen.detail


def test_a_busy_h2o_server_is_searched_once_more(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "BUSY_PAUSE", 0.01)
    asked = list[str]()

    def answer(path: str) -> tuple[int, str]:
        asked.append(path)
        return 503, "busy"

    port = int(serve(answer).rpartition(":")[2])
    assert "cannot answer now (HTTP 503)" in observed(h2o3=True, ports=[port]).detail
    assert asked == ["/3/Cloud"] * 2


def test_a_busy_server_is_not_waited_for_if_there_is_no_time() -> None:
    with pytest.raises(over_http.Busy):
        over_http.searched(Mock(side_effect=[over_http.Busy("busy"), ([], "")]), time.monotonic())


def test_a_corrected_clock_is_not_a_restart(serve: Serve) -> None:
    """Exporters that compute their start from the clock move it when the clock is stepped."""
    started, status = [1000.0], [200]
    session = watched_exporter(serve, started, [0.0], status)
    started[0] += 1.5
    assert session.sample().process == "started 1000.00"
    started[0] += 5
    sample = session.sample()
    assert (sample.process, sample.restarted) == ("", "")
    status[0] = 502
    assert session.sample().outcome == "invalid"
    status[0] = 200
    assert session.sample().restarted == "", "the start did not change again"
    session.close()


def test_another_start_after_a_proxy_answered_is_another_clock_or_another_process(serve: Serve) -> None:
    started, status = [1000.0], [200]
    session = watched_exporter(serve, started, [0.0], status)
    status[0] = 502
    session.sample()
    started[0], status[0] = 1030.0, 200
    sample = session.sample()
    assert (sample.restarted, sample.process) == ("", "")
    session.close()


def test_a_counter_that_decreased_is_a_restart(serve: Serve) -> None:
    started, steps = [1000.0], [100.0]
    session = watched_exporter(serve, started, steps, [200])
    steps[0], started[0] = 0.0, 1030.0
    assert session.sample().restarted.startswith("its counter went back from")
    session.close()


def test_a_batch_index_of_the_same_process_is_not_a_restart(serve: Serve) -> None:
    started, steps = [1000.0], [100.0]
    session = watched_exporter(serve, started, steps, [200])
    for _epoch in range(2):
        steps[0] = 0.0
        sample = session.sample()
        assert (sample.process, sample.restarted, sample.step) == ("started 1000.00", "", 1.0)
    session.close()


def test_a_metric_that_stands_still_or_is_missing_is_not_an_experiment(serve: Serve) -> None:
    url = serve(lambda _path: (200, "steps_total 5\n"))
    assert "did not advance" in observed(settings("prometheus", url=url, metric="steps_total")).detail
    assert "has no metric other" in observed(settings("prometheus", url=url, metric="other")).detail
    several = serve(lambda _path: (200, {"status": "success", "data": {"result": [{}, {}]}}))
    assert "2 series" in observed(settings("prometheus", url=several, query="steps_total")).detail
    assert "not a Prometheus server" in observed(settings("prometheus", url=url, query="steps_total")).detail


# tensorboard


def board(serve: Serve, points: list[list[float]]) -> str:
    def answer(path: str) -> tuple[int, Any]:
        if path.startswith("/data/environment"):
            return 200, {"debug": {"flags": {"reload_interval": 0.25}}}
        if path.endswith("/tags"):
            return 200, {"ML-1/train": {"loss": {}}, "ML-2/train": {"loss": {}}}
        points.append([time.time(), points[-1][1] + 1, 0.5])
        return 200, points

    return serve(answer)


def test_tensorboard_runs_belong_to_the_vm_of_their_path(serve: Serve) -> None:
    points = [[1.0, 1.0, 0.5]]
    source = settings("tensorboard", url=board(serve, points), flush_seconds=0.25, metric="loss")
    (experiment,) = observed(source).experiments
    assert experiment.id == "ML-1/train:loss"
    assert experiment.capabilities.freshness == 0.5
    session = tensorboard.Tensorboard(source).session(experiment)
    assert session.sample().restarted == ""
    points[0][0] = 99.0  # the first step was logged once more
    assert session.sample().restarted == ""
    top = points[-1][1]
    time.sleep(2 * RESTART_SECONDS)
    points[:] = [[time.time(), 3.0, 0.5]]  # TensorBoard drops what was before a new start
    session.sample()
    sample = session.sample()
    assert sample.restarted == f"steps that were over came again: from step {top:g} back to step 3"
    session.close()


def test_a_batch_index_in_tensorboard_is_not_a_restart_and_says_nothing_of_progress(serve: Serve) -> None:
    points = [[1.0, 1.0, 0.5]]
    source = settings("tensorboard", url=board(serve, points), flush_seconds=0.25, metric="loss", total_steps=100)
    (experiment,) = observed(source).experiments
    session = tensorboard.Tensorboard(source).session(experiment)
    assert session.sample().step == points[-1][1]
    points[:] = [[time.time(), 1.0, 0.5]]  # the next epoch
    session.sample()
    sample = session.sample()
    assert (sample.restarted, sample.step, sample.progress, sample.detail) == ("", None, None, tensorboard.REPEATS)
    session.close()


def test_no_search_waits_as_long_as_a_guest_says(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def advancing(_look: Any, seconds: float, **_limits: float) -> Search:
        waits.append(seconds)
        return Search((), 0, 0, whole=True)

    monkeypatch.setattr(tensorboard, "advancing", advancing)
    for reported in (1e9, -1e9):
        flags = {"debug": {"flags": {"reload_interval": reported}}}
        url = serve(lambda path, flags=flags: (200, flags if path.endswith("environment") else {"ML-1": {"loss": {}}}))
        observed(settings("tensorboard", url=url, flush_seconds=10, vms=["ML-1"]))
    monkeypatch.setattr(prometheus, "advancing", advancing)
    config = {"status": "success", "data": {"yaml": "scrape_interval: 900h", "result": [{"value": [1, "5"]}]}}
    observed(settings("prometheus", url=serve(lambda _path: (200, config)), query="steps"))
    assert waits == [2 * (tensorboard.LONGEST_WAIT + 10), 20, prometheus.LONGEST_WAIT]


# exec

PROGRAM = """
import json, os, sys
step = 0
for line in sys.stdin:
    question = json.loads(line)
    step += 1
    if question["op"] == "discover":
        found = {"id": "job-" + question["vm"], "process": "p1", "owner": "vision", "step": step}
        answer = {"experiments": [found, {"id": None}, "nonsense"]}
    elif question["id"] == "ends":
        sys.exit()
    elif question["id"] == "silent":
        import time; time.sleep(60)
    elif question["op"] == "final":
        answer = {"status": "DONE", "metric": "loss", "score": 0.25, "artifacts": ["model.pt"]}
    elif question["op"] == "history":
        answer = {"points": [[1.0, question["first"]], [2.5, question["last"]], ["x", 1], [1]]}
    else:
        secret = question["secrets"].get("token", "")
        answer = {"process": "p1", "status": "RUNNING", "step": step, "progress": 0.5, "detail": str(len(secret))}
        if question["id"] == "odd":
            answer["status"] = "DANCING"
        if question["id"] == "unwell":
            answer = {"error": "the server said no"}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> _exec.Exec:
    path = tmp_path / "provider"
    path.write_text(PROGRAM)
    return _exec.Exec(settings("exec", command=[sys.executable, str(path)], token="a-secret"))


def test_a_program_is_asked_by_lines(program: _exec.Exec) -> None:
    seen = program.discover(TARGET)
    (experiment,), detail = seen.found, seen.detail
    assert (experiment.id, experiment.process, experiment.owner, detail) == ("job-ML-1", "p1", "vision", "")
    session = program.session(experiment)
    first, second = session.sample(), session.sample()
    assert (first.outcome, first.process, first.detail) == ("answered", "p1", "8")
    assert second.step == first.step + 1, "one program answers all questions"
    assert first.sent < first.received
    session.close()


@pytest.mark.parametrize(
    ("found", "reported", "process"),
    [("7@1", None, ""), ("7@1", "7@1", "7@1"), ("7@1", 8, "8"), ("", "7@1", ""), ("", None, "")],
)
def test_a_program_that_omits_the_process_is_not_a_restart(
    tmp_path: Path, found: str, reported: str | int | None, process: str
) -> None:
    answer = {"status": "RUNNING", "step": 1} | ({} if reported is None else {"process": reported})
    path = tmp_path / "provider"
    path.write_text(f"import sys\nfor line in sys.stdin: print({json.dumps(json.dumps(answer))}, flush=True)\n")
    source = _exec.Exec(settings("exec", command=[sys.executable, str(path)]))
    session = source.session(Experiment("vm-1", "ML-1", "exec", "17", found, "exec:x"))
    assert session.sample().process == process
    session.close()


@pytest.mark.parametrize(("reported", "named"), [(1, False), ("4194304", False), ("7@1", True), (1795572243, True)])
def test_the_number_of_a_process_alone_is_no_name(tmp_path: Path, reported: object, named: bool) -> None:
    answer = {"experiments": [{"id": "17", "process": reported}]}
    path = tmp_path / "provider"
    path.write_text(f"import sys\nfor line in sys.stdin: print({json.dumps(json.dumps(answer))}, flush=True)\n")
    (found,) = _exec.Exec(settings("exec", command=[sys.executable, str(path)])).discover(TARGET).found
    assert found.process == (str(reported) if named else "")
    assert found.capabilities.identity == ("process" if named else "run")


def test_a_program_may_report_the_end_and_the_history(program: _exec.Exec) -> None:
    (experiment,) = program.discover(TARGET).found
    assert program.final(experiment) == Final("DONE", "loss", 0.25, ("model.pt",))
    assert program.history(experiment, 3, 4) == [(1.0, 3.0), (2.5, 4.0)]
    mute = _exec.Exec(settings("exec", command=["true"]))
    assert (mute.final(experiment), mute.history(experiment, 3, 4)) == (None, [])


@pytest.mark.parametrize(
    ("reported", "freshness"), [({}, 120.0), ({"freshness": 2}, 2.0), ({"freshness": "-1"}, 120.0)]
)
def test_a_program_reports_how_old_its_answers_are(reported: dict[str, Any], freshness: float) -> None:
    recorded = _exec.Exec(settings("exec", command=["true"], signal="changes"))
    assert recorded._experiment({"id": "a", **reported}, TARGET).capabilities.freshness == freshness
    asked = _exec.Exec(settings("exec", command=["true"]))
    assert asked._experiment({"id": "a", **reported}, TARGET).capabilities.freshness == 0.0


@pytest.mark.parametrize(("job", "outcome"), [("ends", "silent"), ("odd", "invalid"), ("unwell", "silent")])
def test_what_a_program_does_wrong_is_a_sample(program: _exec.Exec, job: str, outcome: str) -> None:
    experiment = program._experiment({"id": job}, TARGET)
    session = program.session(experiment)
    assert session.sample().outcome == outcome
    session.close()


def test_a_program_is_asked_for_the_whole_id(tmp_path: Path) -> None:
    path = tmp_path / "provider"
    path.write_text(
        "import json, sys\nfor line in sys.stdin: print(json.dumps({'detail': str(len(json.loads(line)['id']))}), flush=True)"
    )
    source = _exec.Exec(settings("exec", command=[sys.executable, str(path)]))
    experiment = source._experiment({"id": "x" * 300}, TARGET)
    assert len(experiment.id) == 200
    session = source.session(experiment)
    assert session.sample().detail == "300"
    session.close()


def test_a_program_that_waits_is_woken(program: _exec.Exec) -> None:
    session = program.session(program._experiment({"id": "silent"}, TARGET))
    threading.Timer(0.5, session.interrupt).start()
    assert session.sample().outcome == "silent"


def test_output_before_a_question_is_not_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "provider"
    path.write_text(
        "import sys\n"
        "for step, line in enumerate(sys.stdin):\n"
        "    both = ['{\"step\": %d}' % (2 * step + more) for more in (0, 1)]\n"
        "    print(*both, sep='\\n', flush=True)\n"
    )
    session = _exec.Exec(settings("exec", command=[sys.executable, str(path)])).session(
        Experiment("vm-1", "ML-1", "exec", "17", "", "exec:x")
    )
    first = session.sample()
    time.sleep(0.2)
    second = session.sample()
    assert (first.step, second.outcome, second.detail) == (0, "silent", "the program wrote output before it was asked")
    assert session.sample().step == 0, "another program answers"
    session.close()


def test_a_program_that_does_not_listen_is_ended() -> None:
    source = _exec.Exec(settings("exec", command=["sleep", "300"], token="x" * (1 << 20)))
    session = source.session(Experiment("vm-1", "ML-1", "exec", "17", "", "exec:x"))
    outcomes: list[str] = []
    asking = threading.Thread(target=lambda: outcomes.append(session.sample().outcome), daemon=True)
    began = time.monotonic()
    asking.start()
    time.sleep(0.3)
    session.interrupt()
    asking.join(60)
    session.close()
    assert outcomes == ["silent"]
    assert time.monotonic() - began < 60


def test_a_program_that_is_interrupted_before_it_has_started_is_ended() -> None:
    program = _exec.Program(["sleep", "300"], {})
    program.interrupt()
    with pytest.raises((EOFError, BrokenPipeError)):
        program.ask({"op": "sample"}, 60.0)
    program.close()


def test_a_program_that_cannot_run_is_reported() -> None:
    missing = _exec.Exec(settings("exec", command=["/nowhere/provider"]))
    assert "No such file" in missing.discover(TARGET).detail
    silent = _exec.Exec(settings("exec", command=["true"]))
    assert silent.discover(TARGET).detail.startswith("true: ")


# driverless_ai, with a double of the client's documented calls


def test_driverless_ai_needs_the_official_client(serve: Serve) -> None:
    if "driverlessai" not in sys.modules:
        with pytest.raises(InvalidInput, match="driverlessai"):
            observed(settings("driverless_ai", url="http://127.0.0.1:1"))


class Artifacts:
    """``experiment.artifacts`` as the client documents it; ``leaves`` are the files after a download."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.leaves = {"mojo.zip": b"pipeline"}

    def list(self) -> list[str]:
        return self.names

    def download(self, only: list[str], dst_dir: str, overwrite: bool) -> None:
        assert overwrite
        assert set(only) <= set(self.names)
        for name, data in self.leaves.items():
            (Path(dst_dir) / name).write_bytes(data)


class StandIn:
    """An experiment as the client documents it."""

    def __init__(self, key: str, lines: list[str], running: bool = True) -> None:
        self.key, self.name, self._lines, self._running = key, f"name of {key}", lines, running
        self.artifacts = Artifacts("mojo_pipeline", "summary")

    def is_running(self) -> bool:
        return self._running

    def status(self, verbose: int = 0) -> str:
        assert verbose == 1
        return self._lines[0]

    def metrics(self) -> dict[str, Any]:
        return {"scorer": "AUC", "val_score": 0.91, "val_score_sd": 0.01, "test_score": None}


def test_driverless_ai(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["Running 12.50% - Feature evolution"]
    known = [StandIn("over", ["Complete 100.00%"], running=False), StandIn("lively", lines)]
    logins: list[dict[str, Any]] = []
    server = SimpleNamespace(version="1.10.6.2")

    def client(**arguments: Any) -> SimpleNamespace:
        logins.append(arguments)
        return SimpleNamespace(server=server, experiments=SimpleNamespace(list=lambda: known))

    monkeypatch.setitem(sys.modules, "driverlessai", SimpleNamespace(Client=client))
    monkeypatch.setattr(_driverless_ai, "STATUS_SECONDS", 0.0)
    url = serve(lambda path: (200, {"server_version": "1.11"}) if path == "/apis/health/v1" else (404, {}))
    source = settings("driverless_ai", url=url, username="alice", password="a-secret")
    (experiment,) = observed(source, allowed_networks=["127.0.0.0/8"]).experiments
    assert (experiment.id, experiment.progress, experiment.owner) == ("lively", 0.125, "")
    assert logins[0] == {"address": url, "username": "alice", "password": "a-secret", "verify": True}
    session = _driverless_ai.DriverlessAi(source).session(experiment)
    assert (session.sample().status, session.sample().progress) == ("RUNNING", 0.125)
    lines[0] = "Complete 100.00%"
    assert session.sample().status == "DONE"
    final = _driverless_ai.DriverlessAi(source).final(experiment)
    assert final == Final("DONE", "AUC", 0.91, ("mojo_pipeline", "summary"))
    known.clear()
    session._experiment = None
    missing = session.sample()
    assert (missing.outcome, missing.detail) == ("job_missing", "the server no longer knows the experiment")
    session.close()
    assert _driverless_ai.DriverlessAi(source).final(experiment) is None
    assert "no experiment runs" in observed(source, allowed_networks=["127.0.0.0/8"]).detail
    server.version = "1.9.3"
    assert "older than 1.10.0" in observed(source, allowed_networks=["127.0.0.0/8"]).detail
    observed({**source, "token": "a-token"}, allowed_networks=["127.0.0.0/8"])
    assert logins[-1]["token_provider"]() == "a-token"
    assert "password" not in logins[-1]


def test_driverless_ai_hands_out_a_pipeline_that_it_has_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = StandIn("lively", ["Running 12.50% - Feature evolution"])
    experiment.artifacts = Artifacts("summary", "mojo_pipeline", "python_pipeline")
    known = [experiment]
    server = SimpleNamespace(version="1.10.6.2")
    client = SimpleNamespace(server=server, experiments=SimpleNamespace(list=lambda: known))
    monkeypatch.setitem(sys.modules, "driverlessai", SimpleNamespace(Client=lambda **_arguments: client))
    source = _driverless_ai.DriverlessAi(settings("driverless_ai", url="http://127.0.0.1:1"))
    assert isinstance(source, Exporter)
    journaled = Experiment("vm-1", "ML-1", "driverless_ai", "lively", "", "http://127.0.0.1:1", "name of lively")

    def fetch(**wanted: Any) -> Exported:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return source.export(journaled, ExportRequest(**wanted), folder)

    with pytest.raises(ExperimentError, match=r"name of lively is not finished \(12 % done\)"):
        fetch()
    experiment._lines[0] = "Complete 100.00%"
    final = fetch()
    assert (final.format, final.suffix, final.note, final.path.read_bytes()) == ("mojo", ".zip", "", b"pipeline")
    assert final.path.stat().st_mode & 0o777 == 0o600
    assert fetch(format="python").format == "python"
    with pytest.raises(InvalidInput, match="no model of format binary"):
        fetch(format="binary")
    with pytest.raises(InvalidInput, match="has only one model"):
        fetch(model="other")
    with pytest.raises(InvalidInput, match="larger than"):
        fetch(max_bytes=3)
    experiment.artifacts.leaves = {}
    with pytest.raises(ExperimentError, match="did not download exactly one file"):
        fetch()
    experiment.artifacts = Artifacts("summary", "python_pipeline")
    assert "no MOJO pipeline" in fetch().note
    with pytest.raises(ExperimentError, match="has no mojo_pipeline; available: summary, python_pipeline"):
        fetch(format="mojo")
    experiment._lines[0] = "Failed 40.00%"
    with pytest.raises(ExperimentError, match="is FAILED"):
        fetch()
    known.clear()
    with pytest.raises(ExperimentError, match="no longer knows"):
        fetch()
    known.append(object())  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match="did not return the pipeline"):
        fetch()


def test_no_secret_reaches_the_environment_of_a_program(program: _exec.Exec) -> None:
    assert "a-secret" not in "".join(os.environ.values())
    assert "a-secret" not in " ".join(program._command)
