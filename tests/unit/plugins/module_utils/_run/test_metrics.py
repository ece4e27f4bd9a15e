# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics of runs as Prometheus reads them, and the dashboard that shows them."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from itertools import combinations, count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._run import journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.metrics import PREFIX, families_of, metrics_text
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import JOURNAL, state_path, stored_runs
from ansible_collections.liveml.vsphere.plugins.modules import run_metrics
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from prometheus_client.parser import text_string_to_metric_families

from tests.builders.journals import write_event
from tests.labs import ROOT

DASHBOARD = json.loads((ROOT / "extensions" / "grafana" / "liveml_vsphere.json").read_text())
PAGE = (ROOT / "docs" / "docsite" / "rst" / "howto_metrics.rst").read_text()
HOST = {"purpose": "evacuate", "host": "esx-05", "vcenter": "u"}
MOVED = ("move_finished", {})
ENDED = ("run_finished", {})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return state_path(str(tmp_path / "state"))


def write_run(state: Path, run_id: str, *events: tuple[str, dict[str, Any]], **start: Any) -> None:
    folder = state / "runs" / run_id
    folder.mkdir()
    written = Journal(folder / JOURNAL)
    for kind, fields in (("run_started", {"run_id": run_id, **start}), ("planned", {}), *events):
        write_event(written, kind, **fields)
    written.close()


def read(state: Path) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The values by labels of each metric, as Prometheus' own library reads them. No value may be there twice."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics_text(stored_runs(state))):
        for sample in family.samples:
            values = found.setdefault(sample.name.removeprefix(PREFIX), {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in values
            values[labels] = sample.value
    return found


def at(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_the_last_run_and_the_totals_are_measured(state: Path) -> None:
    write_run(state, "r1", MOVED, ("verdict", {}), ENDED)
    write_run(state, "r2", ("move_finished", {"result": "failed"}), ("verdict", {"verdict": "lost"}), ("no_experiment", {}),
              ("run_finished", {"result": "failed"}))  # fmt: skip
    write_run(state, "r3")
    found = read(state)
    assert found["last_run_success"] == {at(**HOST): 0.0}
    assert found["last_run_info"] == {at(**HOST, run_id="r2", result="failed"): 1.0}
    assert found["runs_total"][at(purpose="evacuate", result="success")] == 1
    assert found["runs_total"][at(purpose="restore", result="failed")] == 0
    assert found["moves_total"][at(purpose="evacuate", result="failed")] == 1
    assert found["verdicts_total"][at(purpose="evacuate", verdict="lost")] == 1
    assert found["runs_unfinished"][at(purpose="evacuate")] == 1
    assert (found["last_run_vms"][at(**HOST)], found["last_run_moved_vms"][at(**HOST)]) == (1, 0)
    assert found["last_run_unobserved_vms"] == {at(**HOST): 1}
    assert found["last_run_longest_stall_seconds"] == {at(**HOST): 0.4}
    assert found["last_run_longest_stall_upper_bound_seconds"] == {at(**HOST): 0.5}
    own = {**HOST, "vm": "ML-cpu-vm-04", "moid": "vm-4", "experiment": "job-1", "owner": ""}
    verdicts = {dict(labels)["verdict"]: value for labels, value in found["experiment_verdict"].items()}
    assert {verdict for verdict, value in verdicts.items() if value} == {"lost"}
    assert len(verdicts) == 7
    assert found["experiment_longest_stall_seconds"] == {at(**own): 0.4}
    times = [json.loads(line)["at"] for line in (state / "runs" / "r1" / JOURNAL).read_text().splitlines()]
    (success,) = found["last_success_timestamp_seconds"].values()
    assert success == pytest.approx(run_end(times), abs=0.01), "that of the run before, which succeeded"
    assert 0 <= found["last_run_duration_seconds"][at(**HOST)] < 60


def test_a_vm_that_ha_restarted_did_not_move(state: Path) -> None:
    write_run(state, "r1", (MOVED[0], {**MOVED[1], "by": "vSphere HA"}), ENDED)
    found = read(state)
    assert found["last_run_moved_vms"] == {at(**HOST): 0}
    totals = {result: found["moves_total"][at(purpose="evacuate", result=result)] for result in ("moved", "restarted")}
    assert totals == {"moved": 0, "restarted": 1}


def test_a_run_lasts_from_its_first_line_to_its_last(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = count(1)
    monkeypatch.setattr(journal, "utc_now", lambda: f"2026-03-01T{next(hours):02}:00:00.000Z")
    write_run(state, "r1", MOVED, ("verdict", {}), ENDED)
    found = read(state)
    assert found["last_run_duration_seconds"] == {at(**HOST): 4 * 3600}
    ended = datetime(2026, 3, 1, 5, tzinfo=UTC).timestamp()
    assert found["last_run_end_timestamp_seconds"] == {at(**HOST): ended}
    assert list(found["last_success_timestamp_seconds"].values()) == [ended]


def run_end(times: list[str]) -> float:
    return datetime.fromisoformat(times[-1]).timestamp()


def test_what_was_not_measured_has_no_value(state: Path) -> None:
    assert not [text for text in metrics_text([]).splitlines() if "last_" in text]
    write_run(state, "r1", ("verdict", {"longest_stall": None, "verdict": "unknown"}), ENDED)
    found = read(state)
    assert "last_run_longest_stall_seconds" not in found
    assert "experiment_longest_stall_seconds" not in found
    assert "last_success_timestamp_seconds" in found


@pytest.mark.parametrize(("verdict", "is_known"), [("unknown", False), ("lost", True), ("restarted", True)])
def test_nothing_bounds_a_stall_that_was_not_measured(state: Path, verdict: str, is_known: bool) -> None:
    """Beside one of at most 0.5 s. What is lost did not stall."""
    unmeasured = {"id": "b", "longest_stall": None, "verdict": verdict}
    write_run(state, "r1", ("verdict", {}), ("verdict", unmeasured), ENDED)
    found = read(state)
    assert found["last_run_longest_stall_seconds"] == {at(**HOST): 0.4}
    assert ("last_run_longest_stall_upper_bound_seconds" in found) == is_known


@pytest.mark.parametrize("name", ['a"} 1\nup{x="', "a\\", "a\u2028b", "\u202e\x9b"])
def test_a_name_of_a_guest_is_the_value_of_a_label_and_nothing_else(state: Path, name: str) -> None:
    twins = [("verdict", {"id": name, "owner": name, "vm": {"moid": f"vm-{n}", "name": "twin"}}) for n in (1, 2)]
    write_run(state, "r1", *twins, ENDED)
    found = read(state)
    assert "up" not in found
    shown = {dict(labels)["experiment"] for labels in found["experiment_longest_stall_seconds"]}
    assert len(found["experiment_longest_stall_seconds"]) == 2, "also of two VMs of one name"
    assert all(len(each) == len(name) and each.isprintable() for each in shown)


def written(state: Path, path: str | None, *, check: bool = False) -> dict[str, Any]:
    params = {"state_dir": str(state), "path": path}
    return run_metrics.body(SimpleNamespace(params=params, check_mode=check, warn=print))


def test_everybody_can_read_the_file_and_it_is_replaced_as_a_whole(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "liveml.prom"
    assert written(state, None)["text"]
    write_run(state, "r1", MOVED, ENDED)
    assert written(state, str(path), check=True)["changed"] is True
    assert not path.exists()
    found = written(state, str(path))
    assert (found["changed"], found["runs"], found["path"]) == (True, 1, str(path))
    assert path.read_text() == found["text"]
    assert path.stat().st_mode & 0o777 == 0o644
    inode = path.stat().st_ino
    assert written(state, str(path))["changed"] is False
    path.chmod(0o600)
    assert written(state, str(path))["changed"] is True
    assert path.stat().st_ino != inode, "a new file took its place"
    assert sorted(os.listdir(tmp_path)) == ["liveml.prom", "state"]


@pytest.mark.parametrize(
    ("name", "words"), [("metrics.txt", "end with .prom"), ("nowhere/x.prom", "Create its directory")]
)
def test_a_file_that_is_of_no_use_is_refused(state: Path, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        written(state, str(tmp_path / name))
    assert words in f"{error.value}"


def test_a_link_in_a_folder_of_others_is_not_followed(state: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "x.prom").symlink_to(tmp_path / "precious")
    with pytest.raises(InvalidInput, match="is a link"):
        written(state, str(tmp_path / "x.prom"))


NAMES = {PREFIX + family.name for family in families_of([])}
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
VARIABLES = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]


def test_the_dashboard_shows_metrics_that_exist_and_the_page_describes_all() -> None:
    asked = {
        name
        for text in [*EXPRESSIONS, *(each["definition"] for each in VARIABLES)]
        for name in re.findall(rf"{PREFIX}\w+", text)
    }
    assert asked <= NAMES
    shown = {
        PREFIX + each
        for each in ("experiment_verdict", "last_run_success", "runs_total", "moves_total", "verdicts_total")
    }
    assert shown <= asked
    assert set(re.findall(rf"{PREFIX}\w+(?<!_path)", PAGE)) - {f"{PREFIX}metrics"} >= NAMES


QUERIES = [*EXPRESSIONS, *re.findall(r"^ +expr: (.+)$", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("query", QUERIES)
def test_prometheus_understands_the_queries(query: str, state: Path) -> None:
    """Its grammar as a maintained parser has it; and each label is one that the metric has."""
    tree = promql_parser.parse(query)
    asked: list[Any] = []
    promql_parser.walk(
        tree, lambda node: asked.append(node) if isinstance(node, promql_parser.VectorSelector) else None
    )
    assert asked
    write_run(state, "r1", MOVED, ("verdict", {}), ENDED, **{"host": {"moid": "host-5", "name": "esx-05"}})
    known = read(state)
    for selector in asked:
        (labels,) = {frozenset(name for name, _value in labels) for labels in known[selector.name.removeprefix(PREFIX)]}
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels, selector.name


@pytest.mark.parametrize("broken", ["sum(x[1d]", "sum by result (x)", "rate(x)", "x{host=~$host}"])
def test_a_query_that_is_not_promql_is_found(broken: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        promql_parser.parse(broken)


def lost(given: Any, known: Any, place: str = "") -> list[str]:
    """The places of a document that are not in another one, or are not the same there. Unset fields do not count."""
    if isinstance(given, dict) and isinstance(known, dict):
        named = [(given[key], known.get(key), f"{place}.{key}") for key in given if given[key] is not None]
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        named = [(*pair, f"{place}[{number}]") for number, pair in enumerate(zip(given, known, strict=True))]
    else:
        return [] if given == known else [place]
    return [each for mine, its, where in named for each in lost(mine, its, where)]


def test_grafanas_own_model_knows_all_of_the_dashboard() -> None:
    known = json.loads(JSONEncoder().encode(dashboard.Dashboard.from_json(DASHBOARD)))
    unknown = lost(DASHBOARD, known)
    # What Grafana shows as the query of a variable; the model has the query itself.
    assert [place for place in unknown if not place.endswith(".definition")] == []


def test_the_dashboard_can_be_imported() -> None:
    """Its structure as Grafana's page on the JSON model of dashboards describes it."""
    assert DASHBOARD["id"] is None, "an import gives it one"
    assert DASHBOARD["schemaVersion"] >= 36
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    (source,) = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"]
    assert source["query"] == "prometheus"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], "panels overlap"
    used = {name for text in EXPRESSIONS for name in re.findall(r"\$(\w+)", text)}
    assert used == {each["name"] for each in VARIABLES}
