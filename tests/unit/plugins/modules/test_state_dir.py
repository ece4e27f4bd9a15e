# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that only read the state directory: missing, without a run, and not readable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, NotFound, VsphereError
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import between_runs, run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import RunFilter, find_run, state_path
from ansible_collections.liveml.vsphere.plugins.modules import (
    experiment_wait,
    migration_plan,
    model_export,
    placement,
)

from tests.builders.estates import estate, host, vm
from tests.doubles.vcenter import Agreeing

WORLD = estate([host(1), host(2)], [vm(1)])
RUN = {"run_id": None, "vm": None, "experiment": None, "artifact": {}, "purpose": None, "host": None}
PLAN = {
    "host": "esx-1", "fault_domain": None, "vms": [], "patterns": [], "folders": [], "attributes": {}, "destination": None,
    "policy": "any", "fault_domains": {}, "exclude_hosts": [], "pool_map": {}, "folder_map": {}, "network_map": {},
    "wan_mbit": None, "wan_latency_ms": None, "destination_cluster": None, "memory_headroom": 10, "cpu_headroom": 10,
    "storage_headroom": 10, "scope": "compute", "datastore": None, "disk_datastores": {}, "storage_policy": None,
    "use_homes": False, "drs": "auto", "stall_budget": 5.0, "assume_in_service": False, "approved": {}, "plan_id": "0" * 64, "lock_timeout": 0.0,
}  # fmt: skip


class Still(Agreeing):
    def estate_of_hosts(self, **_options: Any) -> Any:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Any:
        return WORLD

    def mover(self, _vm: str, _host: str) -> str:
        return ""

    def missing_to_move(self, _vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return {}

    def closed_pools(self, _pools: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def without_space(self, _datastores: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def editable_clusters(self, _clusters: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def lost_vms(self, _host: str) -> frozenset[str]:
        return frozenset()

    def devices(self, _estate: Any, _vms: Any) -> Any:
        return WORLD


def homes(state: Path) -> Any:
    params = {"host": None, "state": "present", "outcomes": ["home"], "state_dir": str(state)}
    return placement.body(SimpleNamespace(params=params, check_mode=False, warn=print), Still())["placements"]


def plan(state: Path) -> Any:
    module = SimpleNamespace(params={**PLAN, "state_dir": str(state)}, check_mode=False, warn=print)
    with pytest.raises(VsphereError) as caught:
        migration_plan.body(module, Still())  # no plan has that id
    if isinstance(caught.value, InvalidInput):
        raise caught.value
    return []


def wait(state: Path) -> Any:
    return experiment_wait.experiments_of({**RUN, "state_dir": str(state)})


def export(state: Path) -> Any:
    return model_export.find_experiments({**RUN, "state_dir": str(state)})


def report(state: Path) -> Any:
    return find_run(state, RunFilter()) or []


def report_of_one(state: Path) -> Any:
    return find_run(state, RunFilter(run_id="r1"))


READERS = [homes, plan, wait, export, report, report_of_one]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("made", "what"), [(False, "does not exist"), (True, "contains no runs")])
def test_without_a_run_nothing_is_made_and_the_truth_is_told(
    tmp_path: Path, read: Callable[[Path], Any], made: bool, what: str
) -> None:
    state = tmp_path / "state"
    if made:
        state.mkdir()
    if read in (homes, plan, report):
        assert read(state) == []
    else:
        with pytest.raises(NotFound, match=f"state directory {state} {what}") as caught:
            read(state)
        assert caught.value.option == "state_dir"
    assert [path.name for path in tmp_path.rglob("*")] == (["state"] if made else [])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("unreadable", ["runs", "runs/r1/journal.jsonl"])
def test_what_cannot_be_read_is_one_error_that_names_the_option(
    tmp_path: Path, read: Callable[[Path], Any], unreadable: str
) -> None:
    path = tmp_path / unreadable
    if unreadable == "runs":
        path.write_text("")  # not a folder
    else:
        path.mkdir(parents=True)  # not a file
    with pytest.raises(InvalidInput, match=f"{path} cannot be read: .*state_dir") as caught:
        read(tmp_path)
    assert caught.value.option == "state_dir"


def test_planning_waits_for_a_run_in_progress_and_plans_do_not_wait_for_each_other(tmp_path: Path) -> None:
    state, key = state_path(str(tmp_path)), run_key("uuid", "host-1")
    told: list[str] = []
    with (
        run_lock(state, key, timeout=0),
        pytest.raises(VsphereError, match="carries out a run"),
        between_runs(state, key, timeout=0, waiting=told.append),
    ):
        pass
    assert len(told) == 1
    with (
        between_runs(state, key, timeout=0, waiting=told.append),
        between_runs(state, key, timeout=0, waiting=told.append),
    ):
        pass
    assert len(told) == 1


@pytest.mark.parametrize(
    "experiments", [None, 5, "x", [None], [["a"]], ["x"], [{}], [{"vm": "x"}], [{"vm": {"moid": 1}}]], ids=str
)
def test_an_artifact_that_no_run_wrote_is_one_error(experiments: Any) -> None:
    with pytest.raises(InvalidInput, match="artifact cannot be read"):
        experiment_wait.experiments_of_artifact({"version": 1, "experiments": experiments})
