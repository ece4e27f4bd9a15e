# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finished models of H2O-3: which are reproducible, errors of servers, hostile archives. Servers here are scripted."""

from __future__ import annotations

import http.client
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import ExperimentError, InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.finished_models import (
    Exported,
    ExportRequest,
    holds,
    sha256_of,
    stored_name,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_models import (
    checksum_of,
    fetch_model,
    mojo_digest,
    reproducible_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Answer, Endpoint, Probe
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.h2o3 import ScriptedServer
from tests.doubles.servers import serving

EXPERIMENT = Experiment("vm-1", "ML-1", "h2o3", "$03_job", "77", "http://x:54321", "GBM gbm1")
INI = "[info]\nh2o_version = 3.46.0.11\nuuid = {}\ntimestamp = {}\nseed = 7\n"


def model(algorithm: str = "gbm", given: int | None = 7, **actual: Any) -> Answer:
    usual = {"seed": 7, "max_runtime_secs": 0.0, "stopping_rounds": 0, "score_tree_interval": 0, "reproducible": None}
    parameters = [
        {"name": name, "actual_value": value, "input_value": given if name == "seed" else value}
        for name, value in {**usual, **actual}.items()
    ]
    return Answer(200, {}, {"models": [{"algo": algorithm, "parameters": parameters, "have_mojo": True}]})


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (model(), "yes", "seed 7, the same data"),
        (model(given=-1), "yes", "seed 7 (chosen by the server)"),
        (model("glm"), "yes", ""),
        (model("xgboost", max_runtime_secs=60), "no", "max_runtime_secs"),
        (model("deeplearning", reproducible=False), "no", "threads race"),
        (model("deeplearning", reproducible=True), "yes", ""),
        (model("deeplearning", reproducible=True, stopping_rounds=5, overwrite_with_best_model=True), "yes", ""),
        (model("drf", stopping_rounds=3), "no", "score_tree_interval"),
        (model("drf", stopping_rounds=3, score_tree_interval=5), "yes", ""),
        (model("gbm", stopping_rounds=3, score_each_iteration=True), "yes", ""),
        (model("kmeans"), "unknown", "not measured for kmeans"),
        (Answer(404, {}, {}), "unknown", "does not report"),
    ],
)
def test_what_is_promised_follows_from_the_parameters(answer: Answer, state: str, why: str) -> None:
    found, detail = reproducible_of("Key<Model>", answer)
    assert found == state
    assert why in detail


def test_an_automl_is_not_reproducible_and_a_grid_is_unknown() -> None:
    assert reproducible_of("Key<AutoML>", None)[0] == "no"
    assert reproducible_of("Key<Grid>", None)[0] == "unknown"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["models", "parameters", "name", "actual_value", "algo", "model_metrics", "model_checksum"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_answer_about_a_model_is_parsed_without_a_promise(body: Any) -> None:
    state, detail = reproducible_of("Key<Model>", Answer(200, {}, body))
    assert state in ("yes", "no", "unknown")
    assert len(detail) <= 300
    checksum_of(Answer(200, {}, body))


def mojo(path: Path, *, uuid: str = "1", trees: bytes = b"tree", name: str = "trees/t00") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.ini", INI.format(uuid, uuid))
        archive.writestr(name, trees)
        archive.writestr("experimental/modelDetails.json", f'{{"timestamp": {uuid}}}')
    return path


def test_two_exports_of_one_model_are_one_and_another_model_is_not(tmp_path: Path) -> None:
    first, second = mojo(tmp_path / "1", uuid="1"), mojo(tmp_path / "2", uuid="2")
    assert sha256_of(first) != sha256_of(second)
    assert mojo_digest(first) == mojo_digest(second)
    assert mojo_digest(mojo(tmp_path / "3", trees=b"trees")) != mojo_digest(first)
    assert mojo_digest(mojo(tmp_path / "4", name="trees/t01")) != mojo_digest(first)


def test_what_is_not_a_mojo_is_an_error(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.ini", INI)
        archive.writestr("bomb", b"\0" * (20 << 20))
    assert bomb.stat().st_size * 100 < 20 << 20
    text = tmp_path / "text"
    text.write_text("<html>")
    cut = tmp_path / "cut"
    cut.write_bytes(mojo(tmp_path / "whole").read_bytes()[:60])
    other = tmp_path / "other"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme", "no model")
    for path in (bomb, text, cut, other):
        with pytest.raises(ExperimentError, match="is not a MOJO"):
            mojo_digest(path)


def test_a_servers_names_never_reach_the_path(tmp_path: Path) -> None:
    hostile = Experiment("vm-1", "../../etc/ML 1\n", "h2o3", "../id", "1", "http://x")
    name = stored_name(hostile, Exported(tmp_path, "../../model", "mojo", ".zip", sha256_of))
    assert name.startswith("etc-ML-1-")
    assert "/" not in name
    assert ".." not in name


def test_a_damaged_or_foreign_file_at_the_place(tmp_path: Path) -> None:
    path, final = tmp_path / "old.zip", Exported(mojo(tmp_path / "new"), "m", "mojo", ".zip", mojo_digest)
    digest = mojo_digest(final.path)
    assert not holds(path, final, digest)
    path.write_bytes(b"damaged")
    assert not holds(path, final, digest)
    mojo(path, uuid="9")
    assert holds(path, final, digest)
    path.unlink()
    path.symlink_to(final.path)
    with pytest.raises(InvalidInput, match="is not a regular file"):
        holds(path, final, digest)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    scripted.job()
    archive = io.BytesIO(mojo(tmp_path / "served").read_bytes())
    scripted.answers |= {
        "/3/Models/gbm1": (200, model().body),
        "/3/ModelMetrics/models/gbm1": (200, {"model_metrics": [{"model_checksum": -7990819755528708664}]}),
        "/3/Models/gbm1/mojo": (200, archive.getvalue()),
        "/3/Models.fetch.bin/gbm1": (200, b"binary model"),
    }
    with serving(scripted.handler) as scripted.port:
        yield scripted


def fetch(server: ScriptedServer, folder: Path, experiment: Experiment = EXPERIMENT, **wanted: Any) -> Exported:
    place = folder / "place"
    place.mkdir(exist_ok=True)
    for left in place.iterdir():
        left.unlink()
    probe = Probe(Endpoint("127.0.0.1", server.port), timeout=5)
    try:
        return fetch_model(probe, experiment, ExportRequest(**wanted), place)
    finally:
        probe.close()


def test_a_mojo_is_fetched_by_reading_alone(server: ScriptedServer, tmp_path: Path) -> None:
    final = fetch(server, tmp_path)
    assert (final.format, final.model, final.algorithm, final.note) == ("mojo", "gbm1", "gbm", "")
    assert final.checksum == "-7990819755528708664"
    assert final.reproducible[0] == "yes"
    assert final.path.stat().st_mode & 0o777 == 0o600
    assert server.methods == {"GET"}
    assert fetch(server, tmp_path, format="binary").path.read_bytes() == b"binary model"


def test_the_binary_model_is_exported_if_the_server_does_not_export_the_mojo(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers["/3/Models/gbm1/mojo"] = (412, {"msg": "H2O-3 SECURE REQUIRED - MOJO export is blocked"})
    final = fetch(server, tmp_path)
    assert (final.format, final.suffix) == ("binary", ".bin")
    assert "H2O-3 3.46.0.12 does not export the MOJO (H2O-3 SECURE REQUIRED" in final.note
    assert "only H2O-3 3.46.0.12 can load" in final.note
    with pytest.raises(ExperimentError, match="does not export"):
        fetch(server, tmp_path, format="mojo")
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        ("RUNNING", "", "GBM gbm1 is not finished (62 % done). Wait with experiment_wait"),
        ("FAILED", "Failed.", "is FAILED and has no finished model"),
        ("CANCELLED", "Cancelled.", "is CANCELLED"),
    ],
)
def test_an_unfinished_job_is_one_clear_error(
    server: ScriptedServer, tmp_path: Path, status: str, message: str, sentence: str
) -> None:
    server.job(status, progress_msg=message)
    with pytest.raises(ExperimentError) as error:
        fetch(server, tmp_path)
    assert sentence in str(error.value)
    server.job("CANCELLED", progress_msg="Done.")
    assert fetch(server, tmp_path).format == "mojo", "a finished job that was cancelled later is finished"


def test_servers_that_are_not_the_one_from_before(server: ScriptedServer, tmp_path: Path) -> None:
    server.headers["X-h2o-cluster-id"] = "78"
    with pytest.raises(ExperimentError, match="was restarted"):
        fetch(server, tmp_path)
    server.headers["X-h2o-cluster-id"] = "77"
    server.answers["/3/Jobs/$03_job"] = (400, {"msg": "Job is missing"})
    with pytest.raises(ExperimentError, match="no longer knows the job"):
        fetch(server, tmp_path)
    server.answers["/3/Jobs/$03_job"] = (401, {})
    with pytest.raises(ExperimentError, match="authentication failed"):
        fetch(server, tmp_path)
    server.job()
    server.answers["/3/Models/gbm1"] = (404, {})
    with pytest.raises(ExperimentError, match="no longer has the model gbm1"):
        fetch(server, tmp_path)
    server.headers = {}
    with pytest.raises(ExperimentError, match="not an H2O-3 server"):
        fetch(server, tmp_path)


def test_the_best_of_a_grid_or_automl_or_the_one_that_is_asked_for(server: ScriptedServer, tmp_path: Path) -> None:
    names = [{"name": "gbm2"}, {"name": "gbm1"}]
    server.answers["/99/Grids/g"] = (200, {"model_ids": names})
    server.answers["/99/AutoML/a@@y"] = (200, {"leaderboard": {"models": list(reversed(names))}})
    server.job(kind="Key<Grid>", dest="g")
    with pytest.raises(ExperimentError, match="no longer has the model gbm2"):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path, model="gbm1").model == "gbm1"
    with pytest.raises(InvalidInput, match="has no model gbm3; available: gbm2, gbm1"):
        fetch(server, tmp_path, model="gbm3")
    server.job(kind="Key<AutoML>", dest="a@@y")
    assert fetch(server, tmp_path).model == "gbm1"
    server.answers["/99/AutoML/a@@y"] = (200, {})
    with pytest.raises(ExperimentError, match="made no model"):
        fetch(server, tmp_path)


def test_a_model_that_is_too_large_or_cut_short_is_not_kept(server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="larger than 0 MiB") as error:
        fetch(server, tmp_path, format="binary", max_bytes=5)
    assert error.value.option == "max_mib"
    server.cut = True
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(server, tmp_path, format="binary")
    server.cut = False
    server.answers["/3/Models/gbm1/mojo"] = (200, b"<html>not a model</html>")
    with pytest.raises(ExperimentError, match="is not a MOJO"):
        fetch(server, tmp_path)


def test_formats_of_other_providers_are_an_error(server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no format python"):
        fetch(server, tmp_path, format="python")
