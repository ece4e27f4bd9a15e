# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No harm to the result: models trained with and without moves of their VM, compared row by row; and their export.

One real H2O-3 server trains five algorithms undisturbed, then all of them again while its VM moves twice, with a real
freeze at each switch-over. ``SAME_MODEL=long`` (``make same-model``) does it on all flights.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_models import mojo_digest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import experiment_to_json
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal

from lab.data import ROWS, flights_csv
from lab.h2o import H2O, NO_PROXY
from lab.h2o_jobs import automl_document, has_begun, import_flights
from lab.paths import cache_dir
from lab.training_spec import read_training
from tests.builders.journals import write_event
from tests.labs import ROOT, Lab, RunModule, running_lab
from tests.thorough import THOROUGH

pytestmark = pytest.mark.long

VM = "ML-cpu-vm-01"
LONG = os.environ.get("SAME_MODEL") == "long"
TRAINED = ROWS if LONG else 20_000
FREEZE = 0.6
PATIENCE = 1800.0 if LONG else 400.0
EVERY_RECIPE: dict[str, dict[str, Any]] = {
    "gbm": {"ntrees": 600},
    "drf": {"ntrees": 50},
    "xgboost": {"ntrees": 10},
    "glm": {
        "family": "multinomial",
        "response_column": "carrier",
        "lambda_search": True,
        "nlambdas": 2,
        "max_iterations": 7,
    },
    "deeplearning": {"hidden": [20], "epochs": 12, "reproducible": True},
}
SAMPLE = ("gbm", "deeplearning") if THOROUGH else ("gbm",)
RECIPES = {name: recipe for name, recipe in EVERY_RECIPE.items() if LONG or name in SAMPLE}
QUICK = {"baseline": 0.5, "settle_timeout": 20.0}
INPUT = {"response_column": "arr_delay", "ignored_columns": ["tailnum", "time_hour", "dest", "late"]}


@pytest.fixture(autouse=True)
def _keep_signal_handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Server:
    """What the tests ask of the lab's H2O-3 server; unlike the collection they post."""

    def __init__(self, h2o: H2O) -> None:
        self.h2o = h2o

    def start(self, algorithm: str, **recipe: Any) -> str:
        """Begin a training; its job."""
        parameters = read_training("test", {"algorithm": algorithm, **recipe}).parameters
        answer = self.h2o.post(f"/3/ModelBuilders/{algorithm}", {**parameters, "training_frame": "some"})
        return str(answer["job"]["key"]["name"])

    def until(self, job: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a state of a job."""
        deadline = time.monotonic() + PATIENCE
        while not reached(found := self.h2o.job(job)):
            assert found["status"] == "RUNNING", found["exception"]
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def finish(self, job: str) -> dict[str, Any]:
        return self.until(job, lambda found: found["status"] == "DONE")

    def cancel(self, job: str) -> None:
        self.h2o.post(f"/3/Jobs/{job}/cancel", {})

    def read(self, path: str) -> bytes:
        with NO_PROXY.open(self.h2o.url + path, timeout=300) as answer:
            return bytes(answer.read())

    def predictions(self, model: str) -> list[str]:
        """A line a flight, numbers as hexadecimal floats, so that nothing is rounded."""
        ask = {"predictions_frame": f"p_{model}"}
        job = self.h2o.post(f"/4/Predictions/models/{model}/frames/some", ask)["key"]["name"]
        self.finish(job)
        rows = self.read(f"/3/DownloadDataset?frame_id=p_{model}&hex_string=true").decode().splitlines()
        assert len(rows) == TRAINED + 1
        return rows

    def checksum(self, model: str) -> str:
        return str(self.h2o.get(f"/3/ModelMetrics/models/{model}")["model_metrics"][0]["model_checksum"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A small cluster with one server that trains nothing by itself."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text())
    guest = {"heap_mb": 4096 if LONG else 1024, "threads": 2, "nice": 5}
    topology["vms"][0] |= {"h2o3": guest, "stun_seconds": FREEZE}
    path = tmp_path_factory.mktemp("topology") / "one.yml"
    path.write_text(yaml.safe_dump(topology))
    with running_lab("--topology", str(path), "--time-scale", "1" if LONG else "0.1") as running:
        yield running


@pytest.fixture(scope="module")
def server(lab: Lab) -> Server:
    h2o = H2O(f"http://{lab.get('state')['vms'][VM]['guest_address']}:54321")
    import_flights(h2o, flights_csv(cache_dir()))
    h2o.post("/99/Rapids", {"ast": f"(assign some (rows flights [0:{TRAINED}]))"})
    return Server(h2o)


def move(lab: Lab, run_module: RunModule, state_dir: Path) -> dict[str, Any]:
    """One real move of the VM under watch, to the other fault domain."""
    before = lab.where()[VM]
    plan = run_module("migration_plan", lab, vms=[VM], policy="other_only", state_dir=str(state_dir))
    result = run_module("vm_migrate", lab, plan=plan["plan"], state_dir=str(state_dir), experiments=QUICK)
    assert not result.get("failed"), result["msg"]
    assert [m["result"] for m in result["moves"]] == ["moved"]
    assert lab.where()[VM] != before
    return result


def freezes_of(lab: Lab, job: dict[str, Any]) -> int:
    """How many whole freezes of the server a job went through, by the lab's clock, which is also the server's."""
    begin, end = job["start_time"] / 1000, (job["start_time"] + job["msec"]) / 1000
    starts = [(moment(f["started"]), f["seconds"]) for f in lab.get("state")["vms"][VM]["freezes"]]
    return sum(begin < start and start + seconds < end for start, seconds in starts)


def moment(text: str) -> float:
    """RFC 3339 with nanoseconds as seconds since the epoch."""
    return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()


def frozen_twice(lab: Lab, server: Server, algorithm: str, model: str) -> dict[str, Any]:
    """Train again under two freezes without a move, where a fast machine was done before the VM had moved twice."""
    job = server.start(algorithm, model_id=model, **RECIPES[algorithm])
    server.until(job, has_begun)
    for _ in range(2):
        lab.post(f"guests/{VM}", action="stun", seconds=0.2)
        time.sleep(0.3)
    return server.finish(job)


def differing(one: list[str], other: list[str]) -> list[int]:
    """Numbers of the rows that differ."""
    return [number for number, rows in enumerate(zip(one, other, strict=True)) if rows[0] != rows[1]]


def train_calmly(lab: Lab, server: Server, recipes: dict[str, dict[str, Any]]) -> None:
    """Train without any disturbance, one after the other."""
    before = lab.get("state")["vms"][VM]["freezes"]
    for algorithm, recipe in recipes.items():
        server.finish(server.start(algorithm, model_id=f"calm_{algorithm}", **recipe))
    assert lab.get("state")["vms"][VM]["freezes"] == before


def test_moves_do_not_change_what_is_learnt(lab: Lab, server: Server, run_module: RunModule, tmp_path: Path) -> None:
    train_calmly(lab, server, RECIPES)
    jobs = {a: server.start(a, model_id=f"moved_{a}", **recipe) for a, recipe in RECIPES.items()}
    for job in jobs.values():
        server.until(job, has_begun)
    first = move(lab, run_module, tmp_path / "runs")
    early = export(run_module, tmp_path, run_id=first["run_id"], experiment=jobs["gbm"])
    second = move(lab, run_module, tmp_path / "runs")
    assert [f["seconds"] >= FREEZE for f in lab.get("state")["vms"][VM]["freezes"]] == [True, True]
    done = {algorithm: server.finish(job) for algorithm, job in jobs.items()}
    names = {algorithm: f"moved_{algorithm}" for algorithm in RECIPES}
    for algorithm, job in done.items():
        if freezes_of(lab, job) < 2:  # on a fast machine it was done before the VM had moved twice
            names[algorithm] = f"frozen_{algorithm}"
            assert freezes_of(lab, frozen_twice(lab, server, algorithm, names[algorithm])) == 2, algorithm
    for algorithm, name in names.items():
        assert differing(server.predictions(f"calm_{algorithm}"), server.predictions(name)) == [], algorithm
        assert server.checksum(f"calm_{algorithm}") == server.checksum(name)
    if freezes_of(lab, done["gbm"]) < 2:
        one_through_two_moves(lab, server, run_module, tmp_path)
    else:
        assert early["failed"]
        assert "is not finished (" in early["msg"]
        assert " % done). Wait with experiment_wait" in early["msg"]
    verdicts = [e["verdict"] for run in (first, second) for e in run["experiments"]]
    assert set(verdicts) <= {"uninterrupted", "completed", "unknown"}
    # On a fast machine the quickest may be done before the run looks for what trains.
    found = {e["id"] for e in first["experiments"]}
    watched = {algorithm for algorithm, job in jobs.items() if job in found}
    assert "gbm" in watched
    exported_models(server, run_module, tmp_path, first["run_id"], watched)
    report = run_module("evidence_report", state_dir=str(tmp_path / "runs"), run_id=first["run_id"])
    evidence = json.loads(Path(report["evidence_path"]).read_text())
    reproducible = {e["id"]: e["reproducible"] for e in evidence["experiments"]}
    assert {reproducible[jobs[algorithm]]["state"] for algorithm in watched} == {"yes"}
    assert all("seed 2013" in reproducible[jobs[algorithm]]["detail"] for algorithm in watched)
    page = Path(report["report_path"]).read_text()
    assert "Would the model be the same without the move?" in page
    assert "yes, expected" in page


def one_through_two_moves(lab: Lab, server: Server, run_module: RunModule, tmp_path: Path) -> None:
    """At least one training must have gone through two real moves: with more trees, until it does."""
    for trees in (2_000, 8_000, 32_000):
        server.finish(server.start("gbm", model_id="calm_more", ntrees=trees))
        job = server.start("gbm", model_id="moved_more", ntrees=trees)
        server.until(job, has_begun)
        for _ in range(2):
            move(lab, run_module, tmp_path / "more")
        if freezes_of(lab, server.finish(job)) == 2:
            assert differing(server.predictions("calm_more"), server.predictions("moved_more")) == []
            return
    raise AssertionError("no training lasted for two moves of its VM")


def export(run_module: RunModule, tmp_path: Path, **options: Any) -> dict[str, Any]:
    paths = {"dest": str(tmp_path / "models"), "state_dir": str(tmp_path / "runs")}
    return run_module("model_export", None, **{**paths, **options})


def exported_models(server: Server, run_module: RunModule, tmp_path: Path, run_id: str, watched: set[str]) -> None:
    """All models of the run: new, then known; in check mode nothing is stored; each is that of the undisturbed training."""
    checked = export(run_module, tmp_path, run_id=run_id, check=True)
    assert checked["changed"]
    assert not list((tmp_path / "models").glob("*"))
    result = export(run_module, tmp_path, run_id=run_id)
    assert not result.get("failed"), result["msg"]
    models = {model["model"].removeprefix("moved_"): model for model in result["models"]}
    assert set(models) == watched
    for algorithm, model in models.items():
        path = Path(model["path"])
        assert (model["format"], model["algorithm"], model["changed"]) == ("mojo", algorithm, True)
        assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, model["size"])
        assert model["model_checksum"] == server.checksum(f"calm_{algorithm}")
        calm = tmp_path / f"calm_{algorithm}.zip"
        calm.write_bytes(server.read(f"/3/Models/calm_{algorithm}/mojo"))
        assert mojo_digest(calm) == mojo_digest(path) == model["content_sha256"], algorithm
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()}
    assert len(stamps) == len(watched)
    again = export(run_module, tmp_path, run_id=run_id)
    assert again["changed"] is False
    assert again["diff"]["before"] == again["diff"]["after"] == result["diff"]["after"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()} == stamps
    Path(models["gbm"]["path"]).write_bytes(b"damaged")
    repaired = export(run_module, tmp_path, run_id=run_id, vm=VM)
    assert [model["algorithm"] for model in repaired["models"] if model["changed"]] == ["gbm"]
    assert "another model" in repaired["diff"]["before"]
    gbm = models["gbm"]["experiment"]
    binary = export(run_module, tmp_path, run_id=run_id, experiment=gbm, format="binary")
    assert [model["format"] for model in binary["models"]] == ["binary"]
    assert not export(run_module, tmp_path, run_id=run_id, experiment=gbm, format="binary")["changed"]
    small = export(run_module, tmp_path, run_id=run_id, experiment=gbm, model="no_such_model")
    assert "has no model no_such_model" in small["msg"]


def test_another_seed_shows_in_every_comparison(server: Server, tmp_path: Path) -> None:
    """The comparisons can fail: they distinguish two models."""
    for seed in (1, 2):
        server.finish(server.start("gbm", model_id=f"seed_{seed}", ntrees=3, seed=seed))
        (tmp_path / f"{seed}.zip").write_bytes(server.read(f"/3/Models/seed_{seed}/mojo"))
    assert differing(server.predictions("seed_1"), server.predictions("seed_2"))
    assert server.checksum("seed_1") != server.checksum("seed_2")
    assert mojo_digest(tmp_path / "1.zip") != mojo_digest(tmp_path / "2.zip")


def test_where_equality_cannot_be_promised_it_is_said(lab: Lab, server: Server, run_module: RunModule) -> None:
    automl = {**INPUT, "project_name": "timed", "max_runtime_secs": 60, "nfolds": 0}
    document = automl_document(automl)
    document["input_spec"]["training_frame"] = "some"
    jobs = {
        "threads race": server.start("deeplearning", model_id="race", hidden=[5], epochs=100_000, stopping_rounds=0),
        "max_runtime_secs": server.start("gbm", model_id="timed", ntrees=100_000, max_runtime_secs=60),
        "score_tree_interval": server.start("drf", model_id="early", ntrees=9_000, max_depth=2, stopping_rounds=500),
        "ends by time limits": server.h2o.post_json("/99/AutoMLBuilder", document)["job"]["key"]["name"],
    }
    for job in jobs.values():
        server.until(job, has_begun)
    found = {e["id"]: e for e in run_module("experiment_info", lab, vms=[VM])["experiments"]}
    for job in jobs.values():
        server.cancel(job)
    for why, job in jobs.items():
        assert job in found, (why, server.h2o.job(job)["status"], {e["description"] for e in found.values()})
        assert found[job]["reproducible"] == "no"
        assert why in found[job]["reproducibility"]


def test_the_best_model_of_a_grid_and_of_an_automl(server: Server, run_module: RunModule, tmp_path: Path) -> None:
    grid = server.h2o.post(
        "/99/Grid/gbm",
        {**INPUT, "training_frame": "some", "grid_id": "grid", "hyper_parameters": '{"ntrees": [1, 8]}', "seed": 7},
    )
    document = automl_document(
        {**INPUT, "project_name": "pair", "max_models": 1, "nfolds": 0, "include_algos": ["GLM"]}
    )
    document["input_spec"]["training_frame"] = "some"
    automl = server.h2o.post_json("/99/AutoMLBuilder", document)
    jobs = [server.finish(answer["job"]["key"]["name"]) for answer in (grid, automl)]
    folder = tmp_path / "runs" / "runs" / "20260101T000000Z-migrate-x-0000"
    folder.mkdir(parents=True)
    with NO_PROXY.open(f"{server.h2o.url}/3/Cloud", timeout=10) as answer:
        process = answer.headers["X-h2o-cluster-id"]
    journal = Journal(folder / "journal.jsonl")
    write_event(journal, "run_started", run_id=folder.name, plan_id="0" * 64, purpose="migrate", key="uuid.x")
    for job in jobs:
        experiment = Experiment("vm-1", VM, "h2o3", job["key"]["name"], process, server.h2o.url, job["description"])
        write_event(journal, "experiment_found", **experiment_to_json(experiment))
    journal.close()
    result = export(run_module, tmp_path)
    assert not result.get("failed"), result["msg"]
    best, leader = result["models"]
    trees = server.h2o.get(f"/3/Models/{best['model']}")["models"][0]["output"]["model_summary"]
    columns = {c["name"]: values[0] for c, values in zip(trees["columns"], trees["data"], strict=True)}
    assert columns["number_of_trees"] == 8, "the best of the grid"
    assert leader["algorithm"] == "glm"
    other = best["model"].removesuffix("1" if best["model"].endswith("1") else "2")
    named = f"{other}{'2' if best['model'].endswith('1') else '1'}"
    chosen = export(run_module, tmp_path, experiment=best["experiment"], model=named)
    assert chosen["models"][0]["model"] == named
    assert chosen["models"][0]["path"] != best["path"]


def test_bad_input_is_one_clear_error(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    runs = tmp_path / "runs" / "runs" / "20260101T000000Z-migrate-x-0000"
    runs.mkdir(parents=True)
    journal = Journal(runs / "journal.jsonl")
    write_event(journal, "run_started", run_id=runs.name, plan_id="0" * 64, purpose="migrate", key="uuid.x")
    for provider, url in (("h2o3", "http://127.0.0.1:1"), ("mlflow", "http://127.0.0.1:1")):
        fields = experiment_to_json(Experiment("vm-1", VM, provider, provider, "1", url, "GBM"))
        write_event(journal, "experiment_found", **fields)
    journal.close()
    mlflow = {"sources": [{"provider": "mlflow", "url": "http://127.0.0.1:1"}]}
    cases: dict[str, dict[str, Any]] = {
        "No run nope found in": {"run_id": "nope"},
        "has an experiment with vm ML-9": {"vm": "ML-9"},
        "max_mib is 0": {"max_mib": 0},
        "cannot be used": {"dest": str(tmp_path / "file" / "models"), "experiment": "h2o3"},
        "did not answer completely (ConnectionRefusedError)": {"experiment": "h2o3"},
        "provider mlflow has no finished model": {"experiment": "mlflow", "experiments": mlflow},
        "No matching source": {},
    }
    for sentence, options in cases.items():
        result = export(run_module, tmp_path, **options)
        assert result["failed"], sentence
        assert sentence in result["msg"], result["msg"]
        assert "Traceback" not in json.dumps(result)
    partly = export(run_module, tmp_path, experiments=mlflow)
    assert "No model was stored: ML-cpu-vm-01: http://127.0.0.1:1 did not answer completely" in partly["msg"]
    assert not [
        path for path in tmp_path.rglob("*") if path.suffix in (".zip", ".bin") or path.name.startswith(".liveml")
    ]
