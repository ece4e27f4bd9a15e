# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An owner's part of the report has all about their experiments, and nothing about VMs of others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.excerpt import excerpt_of, file_name, owners_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html
from jsonschema import Draft202012Validator

from tests.builders.journals import OWNERS, made_evidence
from tests.labs import ROOT

VERDICTS = ["uninterrupted", "stalled", "restarted", "lost", "unknown", "completed"]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "evidence-1.0.json").read_text())


@pytest.fixture(scope="module")
def evidence() -> dict[str, Any]:
    """Ten moves; six experiments of three owners; other VMs are refused, not observed, noticed and left behind."""
    found = made_evidence(10, VERDICTS, result="timed_out")
    other = {"vm": "ML-cpu-vm-77", "moid": "vm-77"}
    found["run"] = {**found["run"], "rolled_back": "ML-cpu-vm-77 burned"}
    return {
        **found,
        "noticed": [{**other, "detail": "it came later"}],
        "partly_searched": [{**other, "detail": "no answer"}],
        "left_behind": ["ML-cpu-vm-77"],
    }


def test_owners_are_those_that_are_known(evidence: dict[str, Any]) -> None:
    assert owners_of(evidence) == sorted(OWNERS)
    nobody = [{**each, "owner": ""} for each in evidence["experiments"]]
    assert owners_of({**evidence, "experiments": nobody}) == []


@pytest.mark.parametrize("owner", OWNERS)
def test_nothing_of_others_is_in_it(evidence: dict[str, Any], owner: str) -> None:
    part = excerpt_of(evidence, owner)
    Draft202012Validator(SCHEMA).validate(part)
    theirs = {name for each in part["experiments"] for name in (*each["vms"], each["id"], each["description"])}
    assert {each["owner"] for each in part["experiments"]} == {owner}
    assert [each for each in evidence["experiments"] if each["owner"] == owner] == part["experiments"]
    said = json.dumps(part) + render_html(part, owner)
    named = set(re.findall(r"ML-cpu-vm-\d+|job-\d+|GBM gbm_\d+", said))
    assert named == theirs
    others = {each["owner"] for each in evidence["experiments"]} - {owner}
    assert not [other for other in others if other in said]


def test_the_page_says_that_it_is_a_part_and_the_figures_are_those_of_the_whole(evidence: dict[str, Any]) -> None:
    part = excerpt_of(evidence, "vision")
    page, whole = render_html(part, "vision"), render_html(evidence)
    note = "This is the part of the report about the experiments of vision."
    assert note in page
    assert note not in whole
    assert set(part["statements"]) < set(evidence["statements"])
    assert part["overall"]["verdict"] == "restarted"
    assert [row for row in evidence["owners"] if row["owner"] == "vision"] == part["owners"]
    assert part["journal"] == evidence["journal"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("vision", "report-of-vision.html"),
        ("ml.team-1", "report-of-ml.team-1.html"),
        ("a b", "report-of-a-b-c8687a08.html"),
        ("../../etc/passwd", "report-of-etc-passwd-"),
        ("x" * 300, f"report-of-{'x' * 40}-"),
        ("日本", "report-of--"),
        (".", "report-of--"),
    ],
)
def test_no_owner_names_a_file_elsewhere(owner: str, name: str) -> None:
    found = file_name(owner)
    assert found.startswith(name)
    assert re.fullmatch(r"report-of-[A-Za-z0-9.-]*\.html", found)
    assert len(found) < 80
    assert file_name(owner + "?") != found
