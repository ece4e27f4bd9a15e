# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which runs of an MLflow server are experiments, however many dead ones it shows as RUNNING."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import mlflow
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Probe, endpoint_of

from tests.builders.sources import observed, settings
from tests.doubles.mlflow import Tracking
from tests.doubles.servers import Answering, answering, serving

Serve = Callable[[Tracking], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a tracking server; returns its URL."""
    with ExitStack() as servers:
        yield lambda tracking: f"http://127.0.0.1:{servers.enter_context(serving(tracking.handler))}"


def source(url: str, **changes: Any) -> dict[str, Any]:
    return settings("mlflow", url=url, vms=["ML-1"], **changes)


@pytest.mark.parametrize("position", [0, 1500, 2999])
def test_a_live_run_among_thousands_of_dead_ones_is_found(serve: Serve, position: int) -> None:
    tracking = Tracking(3000)
    run = tracking.runs[position]["id"]
    tracking.live[run] = "loss"
    (experiment,) = observed(source(serve(tracking))).experiments
    assert (experiment.id, experiment.metric) == (run, "loss")
    assert len(tracking.asked) < 100, "runs must not be asked for one by one"


def test_the_reason_counts_all_runs_that_were_looked_at(serve: Serve) -> None:
    url = serve(Tracking(2500))
    assert (
        observed(source(url)).detail == f"{url}: 2500 runs are RUNNING, none logged a further step of a metric in 1 s"
    )
    named = observed(source(url, metric="accuracy")).detail
    assert named == f"{url}: 2500 runs are RUNNING, none logged a further step of the metric accuracy in 1 s"


@pytest.mark.parametrize(
    ("vms", "reason"),
    [(["ML-1"], "no run is RUNNING"), (["ML-*"], "no run with the tag liveml.vm=ML-1 is RUNNING")],
)
def test_without_any_run_the_reason_is_that(serve: Serve, vms: list[str], reason: str) -> None:
    url = serve(Tracking())
    assert observed(settings("mlflow", url=url, vms=vms)).detail == f"{url}: {reason}"


def test_a_search_that_takes_too_long_says_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base.LONGEST_LOOK", 0
    )
    seen = observed(source(serve(Tracking(20)), advance_timeout=0.1))
    assert "1 runs are RUNNING" in seen.detail
    assert seen.detail.endswith("; more could not be looked at in 0 s")


def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base.LONGEST_LOOK", 0.0
    )
    monkeypatch.setattr(mlflow, "PAGE_SECONDS", 0.5)
    pages = iter(range(10**9))
    with answering(lambda _path: (200, {"experiments": [], "next_page_token": str(next(pages))})) as url:
        assert observed(source(url)).detail == f"{url}: no answer in time"


def test_pages_that_are_too_large_are_asked_for_in_parts(serve: Serve) -> None:
    tracking = Tracking(150)
    tracking.largest_page = 100
    tracking.live[tracking.runs[140]["id"]] = "loss"
    (experiment,) = observed(source(serve(tracking))).experiments
    assert experiment.id == tracking.runs[140]["id"]


def test_runs_of_thousands_of_experiments_are_searched_in_parts(serve: Serve) -> None:
    tracking = Tracking(3)
    tracking.experiments = 1200
    tracking.live[tracking.runs[2]["id"]] = "loss"
    assert len(observed(source(serve(tracking))).experiments) == 1


@pytest.mark.parametrize(
    ("history", "again"),
    [
        ([(99, 900), (100, 1000), (0, 1500), (1, 2000)], True),
        ([(100, 1000), (99, 900)], False),  # a clock that was set back
        ([(0, 100), (100, 1000)], False),
        ([], False),
    ],
)
def test_a_run_that_logs_steps_which_the_server_does_not_show_is_named(
    serve: Serve, history: list[tuple[int, int]], again: bool
) -> None:
    """MLflow shows the highest step of a metric. That of a batch index does not change until the end of an epoch."""
    tracking = Tracking(2)
    tracking.history[tracking.runs[0]["id"]] = history
    detail = observed(source(serve(tracking))).detail
    assert "2 runs are RUNNING, none logged a further step of a metric in 1 s" in detail
    assert ("; run a name logged lower steps after its highest one" in detail) is again


def test_the_metric_that_advances_is_watched(serve: Serve) -> None:
    """One with more steps was logged once; system metrics and ``epoch`` say nothing about the training."""
    tracking = Tracking(1)
    run = tracking.runs[0]
    run["metrics"] = {"parameters": (10**9, 1.0), "epoch": (10**9, 1.0)}
    tracking.live[run["id"]] = "loss"
    (experiment,) = observed(source(serve(tracking))).experiments
    assert (experiment.metric, experiment.description) == ("loss", "a name loss")
    tracking.live[run["id"]] = "system/cpu"
    assert observed(source(serve(tracking))).experiments == ()


def test_a_monitor_that_logs_beside_the_training_is_not_watched(serve: Serve) -> None:
    """It would continue after the training has died. The quickest metric is that of the monitor."""
    tracking = Tracking(1)
    run = tracking.runs[0]
    tracking.live[run["id"]] = "loss"
    known = tracking.run

    def with_monitor(of: dict[str, Any]) -> dict[str, Any]:
        shown, at = known(of), round(1000 * time.time())
        shown["data"]["metrics"] += [{"key": key, "step": at // 250, "timestamp": at} for key in ("gpu_util", "any")]
        return shown

    tracking.run = with_monitor  # type: ignore[method-assign]
    (experiment,) = observed(source(serve(tracking))).experiments
    assert experiment.metric == "loss"
    (experiment,) = observed(source(serve(tracking), metric="any")).experiments
    assert experiment.metric == "any"


@pytest.mark.parametrize(
    ("tags", "process"),
    [
        ({"liveml.pid": "1", "liveml.started": "1700000000.5"}, "1/1700000000.5"),
        ({"liveml.pid": "1"}, ""),  # each process of a container may be number 1
        ({"liveml.started": "1700000000.5"}, ""),
        ({"liveml.pid": "1", "liveml.started": ""}, ""),
    ],
)
def test_only_number_and_start_together_name_a_process(serve: Serve, tags: dict[str, str], process: str) -> None:
    tracking = Tracking(1)
    tracking.tags = tags
    tracking.live[tracking.runs[0]["id"]] = "loss"
    (experiment,) = observed(source(serve(tracking))).experiments
    assert (experiment.process, experiment.capabilities.identity) == (process, "process" if process else "run")
    assert experiment.capabilities.named_by_record


def test_a_run_that_logs_its_first_step_is_found(serve: Serve) -> None:
    tracking = Tracking(1)
    tracking.runs[0]["metrics"] = {}
    url = serve(tracking)
    assert "none logged a further step" in observed(source(url)).detail
    tracking.live[tracking.runs[0]["id"]] = "loss"
    assert len(observed(source(url)).experiments) == 1


def test_a_training_that_gives_no_steps_is_watched_by_the_time_of_its_values(serve: Serve) -> None:
    tracking = Tracking(1)
    tracking.steps = False
    tracking.live[tracking.runs[0]["id"]] = "loss"
    chosen = source(serve(tracking))
    (experiment,) = observed(chosen).experiments
    session = mlflow.Mlflow(chosen).session(experiment)
    first = session.sample()
    time.sleep(0.5)
    second = session.sample()
    session.close()
    assert (first.outcome, first.step, second.step) == ("answered", None, None)
    assert first.detail != second.detail


@pytest.mark.parametrize(("status", "outcome"), [("RUNNING", "job_missing"), ("FINISHED", "answered")])
def test_a_run_that_somebody_deletes_while_it_trains_is_not_a_training_that_stands_still(
    serve: Serve, status: str, outcome: str
) -> None:
    """A search may delete runs that have ended, as those of bad trials."""
    tracking = Tracking(1)
    tracking.live[tracking.runs[0]["id"]] = "loss"
    chosen = source(serve(tracking))
    (experiment,) = observed(chosen).experiments
    known = tracking.run

    def deleted(of: dict[str, Any]) -> dict[str, Any]:
        shown = known(of)
        return {**shown, "info": {**shown["info"], "status": status, "lifecycle_stage": "deleted"}}

    tracking.run = deleted  # type: ignore[method-assign]
    session = mlflow.Mlflow(chosen).session(experiment)
    assert session.sample().outcome == outcome
    session.close()


@pytest.mark.parametrize("prefix", ["", "/mlflow"])
def test_where_only_the_api_of_the_web_page_is_routed_it_is_asked(serve: Serve, prefix: str) -> None:
    tracking = Tracking(2, api=f"{prefix}/ajax-api/2.0/mlflow")
    tracking.live[tracking.runs[0]["id"]] = "loss"
    chosen = source(serve(tracking) + prefix)
    (experiment,) = observed(chosen).experiments
    session = mlflow.Mlflow(chosen).session(experiment)
    assert session.sample().outcome == "answered"
    session.close()


def test_names_are_asked_for_in_full(serve: Serve) -> None:
    tracking = Tracking(1)
    run, metric = tracking.runs[0], "m" * 240
    run["id"] = "r" * 230
    tracking.live[run["id"]] = metric
    chosen = source(serve(tracking), metric=metric)
    (experiment,) = observed(chosen).experiments
    assert len(experiment.id) == 200
    assert experiment.asked_id == run["id"]
    session = mlflow.Mlflow(chosen).session(experiment)
    sample = session.sample()
    session.close()
    assert (sample.outcome, sample.step is not None) == ("answered", True)


@pytest.mark.parametrize("name", ["ML-1", "it's", 'a "b"'])
def test_a_vms_name_with_quotes_is_asked_for(serve: Serve, name: str) -> None:
    tracking = Tracking(1)
    tracking.tags = {"liveml.vm": name}
    server = mlflow.Tracking(Probe(endpoint_of(serve(tracking), {}, "url")))
    target = Target("vm-1", name, "")
    found = mlflow.Mlflow(settings("mlflow", url="http://a"))
    assert len(list(found._look(server, ["0"], server._probe.endpoint, target))) == 1
    assert name in tracking.filters[0]
    server.close()


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, "no", "authentication failed (HTTP 401); check username, password and token"),
        (403, "no", "--allowed-hosts"),
        (200, "[]", "not an MLflow server (HTTP 200)"),
        (404, "<html>", "not an MLflow server (HTTP 404)"),
        (503, "<html>", "the server, or a proxy before it, cannot answer now (HTTP 503); try again"),
        (429, "", "the server, or a proxy before it, cannot answer now (HTTP 429); try again"),
        (500, {"error_code": "INTERNAL_ERROR", "message": "down"}, "MLflow answers INTERNAL_ERROR: down"),
    ],
)
def test_answers_are_checked(status: int, body: Any, sentence: str) -> None:
    with answering(lambda _path: (status, body)) as url:
        assert sentence in observed(source(url)).detail


def test_an_experiment_of_an_older_journal_is_asked_for_its_id() -> None:
    assert Experiment("vm-1", "ML-1", "mlflow", "17", "", "http://a").asked_id == "17"


def test_servers_without_parts_of_a_history_are_asked_for_all_of_it() -> None:
    """MLflow 2.2 answers 404 to the one question, and ignores max_results in the other; later versions have pages."""
    pages = {"": ([[0, 1000], [1, 2000]], "next"), "next": ([[2, 3000], [9, 4000]], "")}

    def answer(path: str) -> tuple[int, Any]:
        if "bulk-interval" in path:
            return 404, "<title>404 Not Found</title>"
        points, token = pages["next" if "page_token=next" in path else ""]
        metrics = [{"key": "loss", "step": step, "timestamp": stamp} for step, stamp in points]
        return 200, {"metrics": metrics, **({"next_page_token": token} if token else {})}

    with answering(answer) as url, mlflow.Tracking(Probe(endpoint_of(url, {}, "url"))) as server:
        assert mlflow.history(server, "run", "loss", 1, 5) == [(2.0, 1.0), (3.0, 2.0)]


@pytest.mark.parametrize("answer", [(404, {}), (200, "no JSON"), (200, {"next_page_token": "more", "metrics": []})])
def test_a_history_that_a_server_does_not_report_is_not_an_empty_one(answer: tuple[int, Any]) -> None:
    reported = answering(lambda path: (404, {}) if "bulk" in path else answer)
    with reported as url, mlflow.Tracking(Probe(endpoint_of(url, {}, "url"))) as server:
        assert mlflow.history(server, "run", "loss", 0, 9) is None


ENDED, AGAIN = [*enumerate(range(20))], [*enumerate(range(13, 17), 30)]  # (second, step), before a kill and after it


@pytest.mark.parametrize("history", ["part", "whole", "none"])
@pytest.mark.parametrize(
    ("points", "restarted", "detail"),
    [
        ([*ENDED, *AGAIN], "steps that were over came again: from step 19 back to step 13", ""),
        ([*ENDED, *enumerate(range(20, 24), 30)], "", ""),
        ([(2.5 * number, number // 4) for number in range(40)], "", ""),
        ([(0.5 * number, number % 5) for number in range(40)], "", mlflow.REPEATS),
    ],
    ids=["resumed earlier", "resumed without a loss", "logged four times", "index of a batch"],
)
def test_what_a_history_shows_of_a_run_is_said_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
    history: str,
    points: list[tuple[float, int]],
    restarted: str,
    detail: str,
) -> None:
    """MLflow shows the highest step, so a training that continues before it is only found in the history."""
    monkeypatch.setattr(mlflow, "QUIET_SECONDS", -1.0)
    said = [{"key": "loss", "step": step, "timestamp": round(1000 * (1 + at))} for at, step in points]
    highest = max(said, key=lambda point: (point["step"], point["timestamp"]))
    first = [said[0]]

    def answer(path: str) -> tuple[int, Any]:
        if "runs/get" in path:
            shown = first.pop() if first else highest
            return 200, {"run": {"info": {"status": "RUNNING"}, "data": {"metrics": [shown]}}}
        known = {"part": "get-history-bulk-interval", "whole": "get-history?"}.get(history, "nothing")
        return (200, {"metrics": said}) if known in path else (404, "<title>404 Not Found</title>")

    with answering(answer) as url:
        chosen = source(url)
        known = Experiment("vm-1", "ML-1", "mlflow", "run", "", url, metric="loss")
        session = mlflow.Mlflow(chosen).session(known)
        session.sample()
        sample = session.sample()
        session.close()
    assert sample.outcome == "answered"
    assert (sample.restarted, sample.detail) == (("", "") if history == "none" else (restarted, detail))


@pytest.mark.parametrize(
    ("history", "highest", "hides", "logged"),
    [("whole", 4, False, 20.5), ("none", 4, True, 3.0), ("part", mlflow.LOOK_BACK + 4, True, 3.0)],
    ids=["read", "not reported", "read in part"],
)
def test_what_was_logged_below_the_highest_step_is_known_or_said_not_to_be(
    monkeypatch: pytest.MonkeyPatch, history: str, highest: int, hides: bool, logged: float
) -> None:
    """The highest step was logged last 3 s after the begin, and lower ones, of the next epochs, until now."""
    monkeypatch.setattr(mlflow, "QUIET_SECONDS", -1.0)
    points = [(1 + 0.5 * number, number % 5) for number in range(40)] if history == "whole" else []
    said = [{"key": "loss", "step": step, "timestamp": round(1000 * at)} for at, step in points]

    def answer(path: str) -> tuple[int, Any]:
        if "runs/get" in path:
            shown = {"key": "loss", "step": highest, "timestamp": 3000}
            return 200, {"run": {"info": {"status": "RUNNING"}, "data": {"metrics": [shown]}}}
        return (404, "") if history == "none" else (200, {"metrics": said})

    with answering(answer) as url:
        chosen = source(url)
        session = mlflow.Mlflow(chosen).session(Experiment("vm-1", "ML-1", "mlflow", "run", "", url, metric="loss"))
        session.sample()
        session.sample()
        sample = session.sample()
        session.close()
    assert (sample.hides_steps, sample.logged) == (hides, logged)


def run_of(name: str, status: str, step: float, **tags: str) -> dict[str, Any]:
    metrics = [{"key": "loss", "step": step, "timestamp": 1e6 + step}] if step else []
    known = [{"key": key.replace("_", "."), "value": value} for key, value in tags.items()]
    return {
        "info": {"run_id": name, "status": status, "experiment_id": "7"},
        "data": {"metrics": metrics, "tags": known},
    }


@pytest.mark.parametrize("ended", ["FINISHED", "FAILED"])
@pytest.mark.parametrize(
    ("parent", "other", "status", "detail"),
    [
        ("RUNNING", 5, "RUNNING", "run c2 of the same parent: step 5"),
        ("RUNNING", 0, mlflow.BETWEEN, ""),
        ("FINISHED", 5, "DONE", ""),
        ("KILLED", 5, "CANCELLED", ""),
        ("", 5, "", ""),
    ],
)
def test_the_end_of_one_run_is_not_the_end_of_a_search_for_parameters(
    monkeypatch: pytest.MonkeyPatch, ended: str, parent: str, other: float, status: str, detail: str
) -> None:
    """A parent run with a run for each trial: the next one works for the same parent."""
    monkeypatch.setattr(mlflow, "SWEEP_SECONDS", 0.0)
    trial = {"status": "RUNNING"}
    asked = []

    def answer(path: str) -> tuple[int, Any]:
        if "runs/search" in path:
            asked.append(path)
            return 200, {"runs": [run_of("c2", "RUNNING", other)]}
        if "run_id=parent" in path:
            return (200, {"run": run_of("parent", parent, 0)}) if parent else (404, {"error_code": "X"})
        return 200, {"run": run_of("c1", trial["status"], 40, **{"mlflow_parentRunId": "parent"})}

    with answering(answer) as url:
        known = Experiment("vm-1", "ML-1", "mlflow", "c1", "", url, metric="loss")
        session = mlflow.Mlflow(source(url)).session(known)
        assert (session.sample().status, asked) == ("RUNNING", [])
        trial["status"] = ended
        sample = session.sample()
        session.close()
    # A search may end its runs like that, and so may an error: it is not known which.
    status = mlflow.WITHOUT_IT if ended == "FAILED" and status in ("RUNNING", "DONE") else status
    assert (sample.outcome, sample.status) == ("answered", status or mlflow.STATUS[ended])
    assert (sample.detail, sample.step) == (detail, None if detail else 40)


@pytest.mark.parametrize(
    ("others", "status", "process", "detail"),
    [
        ([("c2", "vm-1", "7")], "RUNNING", "7/0", "run c2 of the same parent: step 5"),
        ([("c2", "vm-1", "8")], "RUNNING", "", "run c2 of the same parent: step 5"),
        ([("c3", "vm-1", "7"), ("c2", "vm-1", "8")], "RUNNING", "7/0", "run c3 of the same parent: step 5"),
        ([("c2", "vm-2", "9")], mlflow.BETWEEN, "7/0", ""),
        ([("c2", "", "7")], mlflow.BETWEEN, "7/0", ""),
    ],
    ids=["its process", "another process", "both", "in another VM", "nobody knows in which VM"],
)
def test_only_runs_of_its_process_and_vm_show_that_a_search_goes_on_there(
    others: list[tuple[str, str, str]], status: str, process: str, detail: str
) -> None:
    """Workers in several VMs, and several processes of one VM, work for one parent. What one does says nothing of another."""

    def tags(vm: str, number: str) -> dict[str, str]:
        return {"mlflow_parentRunId": "parent", "liveml_pid": number, "liveml_started": "0", "liveml_vm": vm}

    def answer(path: str) -> tuple[int, Any]:
        if "runs/search" in path:
            return 200, {"runs": [run_of(name, "RUNNING", 5, **tags(vm, number)) for name, vm, number in others]}
        return 200, {
            "run": run_of("parent", "RUNNING", 0)
            if "run_id=parent" in path
            else run_of("c1", "FINISHED", 40, **tags("vm-1", "7"))
        }

    with answering(answer) as url:
        known = Experiment("vm-1", "vm-1", "mlflow", "c1", "7/0", url, metric="loss")
        session = mlflow.Mlflow(source(url)).session(known)
        sample = session.sample()
        session.close()
    assert (sample.status, sample.process, sample.detail) == (status, process, detail)


@pytest.mark.parametrize("busy", [429, 500, 503])
@pytest.mark.parametrize("works", [True, False])
def test_a_server_that_is_busy_does_not_end_a_search(monkeypatch: pytest.MonkeyPatch, busy: int, works: bool) -> None:
    """The end of one of its runs is not its end, also if the server does not answer about the search then."""
    monkeypatch.setattr(mlflow, "SWEEP_SECONDS", 0.0)
    fails = [not works]

    def answer(path: str) -> tuple[int, Any]:
        if "runs/search" in path:
            return 200, {"runs": [run_of("c2", "RUNNING", 5, mlflow_parentRunId="parent")]}
        if "run_id=parent" in path:
            return (busy, {"error_code": "X"}) if fails[0] else (200, {"run": run_of("parent", "RUNNING", 0)})
        return 200, {"run": run_of("c1", "FINISHED", 40, mlflow_parentRunId="parent")}

    with answering(answer) as url:
        session = mlflow.Mlflow(source(url)).session(Experiment("vm-1", "vm-1", "mlflow", "c1", "", url, metric="loss"))
        found = [session.sample().status]
        fails[0] = not fails[0]
        found.append(session.sample().status)
        session.close()
    assert found == (["RUNNING", "RUNNING"] if works else [mlflow.BETWEEN, "RUNNING"])


@pytest.mark.parametrize(("metric", "works"), [("loss", True), ("gpu_util", False), ("system/cpu", False)])
def test_a_monitor_beside_a_run_is_no_work_of_its_search(metric: str, works: bool) -> None:
    """It may live on after the training of the next run was killed."""
    other = run_of("c2", "RUNNING", 5, mlflow_parentRunId="parent")
    other["data"]["metrics"][0]["key"] = metric

    def answer(path: str) -> tuple[int, Any]:
        if "runs/search" in path:
            return 200, {"runs": [other]}
        ended = run_of("c1", "FINISHED", 40, mlflow_parentRunId="parent")
        return 200, {"run": run_of("parent", "RUNNING", 0) if "run_id=parent" in path else ended}

    with answering(answer) as url:
        session = mlflow.Mlflow(source(url)).session(Experiment("vm-1", "vm-1", "mlflow", "c1", "", url, metric="loss"))
        sample = session.sample()
        session.close()
    assert sample.status == ("RUNNING" if works else mlflow.BETWEEN)


NOW = 1_700_000_000_000.0  # milliseconds
HOUR = 3_600_000.0


def at_times(run: dict[str, Any], **info: float) -> dict[str, Any]:
    return {**run, "info": {**run["info"], **info}}


def metric_at(run: dict[str, Any], at: float) -> dict[str, Any]:
    return {**run, "data": {**run["data"], "metrics": [{"key": "loss", "step": 7, "timestamp": at}]}}


PARENT = at_times(run_of("parent", "RUNNING", 0), start_time=NOW - 90 * HOUR)
OTHER = run_of("c0", "FINISHED", 9)
DEAD = metric_at(at_times(run_of("c9", "RUNNING", 9), start_time=NOW - 80 * HOUR), NOW - 79 * HOUR)


@pytest.mark.parametrize(
    ("parent", "others", "status"),
    [
        (PARENT, [], "DONE"),
        (PARENT, [at_times(OTHER, start_time=NOW - 9 * HOUR, end_time=NOW - 2 * HOUR)], "DONE"),
        (PARENT, [at_times(OTHER, start_time=NOW - 9 * HOUR, end_time=NOW - 0.5 * HOUR)], mlflow.BETWEEN),
        (PARENT, [at_times(OTHER, start_time=NOW - 9 * HOUR, end_time=NOW + HOUR)], mlflow.BETWEEN),
        (PARENT, [metric_at(at_times(run_of("c0", "RUNNING", 9), start_time=NOW - 9 * HOUR), NOW - 1)], mlflow.BETWEEN),
        (metric_at(PARENT, NOW - 5000), [], mlflow.BETWEEN),
        (at_times(PARENT, start_time=NOW - 5000), [], mlflow.BETWEEN),
        (run_of("parent", "RUNNING", 0), [], mlflow.BETWEEN),
        (PARENT, [DEAD], "DONE"),
        (at_times(PARENT, start_time=NOW - 5000), [DEAD], mlflow.BETWEEN),
        (at_times(PARENT, start_time=NOW - 5000), [metric_at(DEAD, NOW + 2 * HOUR)], "RUNNING"),
    ],
    ids=["never ended", "a run of hours before", "a run shortly before", "a run beside it", "a run that works", "the parent works",
         "just begun", "no times", "only a dead run", "a dead run beside it", "a run that continues"],
)  # fmt: skip
def test_a_parent_that_was_never_ended_does_not_keep_its_run_from_its_end(
    parent: dict[str, Any], others: list[dict[str, Any]], status: str
) -> None:
    """Nobody ended the parent, days ago. A search starts its next run soon, so a parent without any work for an hour is not one."""
    trial = at_times(
        run_of("c1", "FINISHED", 40, **{"mlflow_parentRunId": "parent"}), start_time=NOW, end_time=NOW + HOUR
    )

    class Handler(Answering):
        def do_POST(self) -> None:
            running = "RUNNING" in self.json()["filter"]
            known = [trial, *others]
            self.answer(200, {"runs": [r for r in known if r["info"]["status"] == "RUNNING" or not running]})

        def do_GET(self) -> None:
            self.answer(200, {"run": parent if "run_id=parent" in self.path else trial})

    with serving(Handler) as port:
        url = f"http://127.0.0.1:{port}"
        session = mlflow.Mlflow(source(url)).session(Experiment("vm-1", "ML-1", "mlflow", "c1", "", url, metric="loss"))
        sample = session.sample()
        session.close()
    assert (sample.outcome, sample.status) == ("answered", status)
