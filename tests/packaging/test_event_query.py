# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Node counting: the queries find in real results of the modules exactly the nodes that these are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jq
import pytest
import yaml

from tests.labs import ROOT, Lab, RunModule

QUERIES = yaml.safe_load((ROOT / "extensions" / "audit" / "event_query.yml").read_text())
MODULES = {path.stem: path.read_text() for path in (ROOT / "plugins" / "modules").glob("*.py")}


def records(module: str, result: object) -> list[dict[str, Any]]:
    """What the controller makes of a result."""
    return list(jq.compile(QUERIES[f"liveml.vsphere.{module}"]["query"]).input_value(result).all())


def nodes(module: str, result: dict[str, Any]) -> dict[str, str]:
    """Name by MoID of a result's nodes. Checks what the controller asks of every record."""
    found = {}
    for record in records(module, result):
        assert set(record) == {"name", "canonical_facts", "facts"}
        assert isinstance(record["name"], str)
        assert list(record["canonical_facts"]) == ["moid"]
        assert isinstance(record["canonical_facts"]["moid"], str)
        assert record["facts"]["module"] == module
        assert set(record["facts"]) == {"infra_type", "infra_bucket", "device_type", "module"}
        found[record["canonical_facts"]["moid"]] = record["name"]
    return found


def test_every_module_that_connects_has_a_query() -> None:
    connects = {name for name, text in MODULES.items() if "- liveml.vsphere.connection" in text}
    assert len(connects) >= 6
    assert {f"liveml.vsphere.{name}" for name in connects} == set(QUERIES)


@pytest.mark.parametrize("module", sorted(name.rpartition(".")[2] for name in QUERIES))
@pytest.mark.parametrize(
    "result",
    [
        {},
        {"msg": "failed"},
        {"moves": None, "hosts": None, "placements": None, "experiments": None, "moid": None},
        {"moves": [None, "x", {}], "hosts": [1], "placements": [[]], "experiments": [{"vm": None}]},
        {"moves": [{"vm": None, "moid": None, "result": "moved"}]},
    ],
)
def test_a_result_without_nodes_gives_none_and_no_error(module: str, result: dict[str, Any]) -> None:
    # An error in one query costs the records of every other module of that event.
    assert records(module, result) == []


def test_queries_find_the_nodes_of_real_results(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    leaving = fast_lab.on("esx-05")
    state = {"state_dir": str(tmp_path)}
    hosts = run_module("host_info", fast_lab)
    moids = {account["moid"]: name for name, account in fast_lab.get("state")["hosts"].items()}
    assert nodes("host_info", hosts) == moids
    fenced = run_module("host_maintenance", fast_lab, host="esx-05", state="fenced")
    assert nodes("host_maintenance", fenced) == {key: name for key, name in moids.items() if name == "esx-05"}
    planned = run_module("migration_plan", fast_lab, host="esx-05", **state)
    assert set(nodes("migration_plan", planned).values()) == leaving
    experiments = {"settle_timeout": 0}
    moved = run_module(
        "vm_migrate",
        fast_lab,
        plan=planned["plan"],
        purpose="evacuate",
        host="esx-05",
        experiments=experiments,
        **state,
    )
    assert set(nodes("vm_migrate", moved).values()) == leaving
    placed = run_module("placement", fast_lab, host="esx-05", **state)
    assert nodes("vm_migrate", moved) == nodes("migration_plan", planned) == nodes("placement", placed), "counted once"


def test_only_what_was_moved_is_counted() -> None:
    moves = [
        {"vm": "a", "moid": "vm-1", "result": "moved"},
        {"vm": "b", "moid": "vm-2", "result": "failed"},
        {"vm": "c", "moid": "vm-3", "result": "not_started"},
    ]
    assert nodes("vm_migrate", {"moves": moves}) == {"vm-1": "a"}


def test_an_experiment_is_a_node_of_its_vm() -> None:
    seen = [{"vm": "vm-1", "vm_name": "a", "id": "x"}, {"vm": "vm-1", "vm_name": "a", "id": "y"}]
    assert nodes("experiment_info", {"experiments": seen}) == {"vm-1": "a"}
