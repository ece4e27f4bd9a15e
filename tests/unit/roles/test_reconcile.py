# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a request as a comment: what vCenter calls things stays text. Whose evidence is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment
from jinja2.nativetypes import NativeEnvironment

from tests.labs import ROOT

ROLE = ROOT / "roles/reconcile"
HOSTILE = "x` | [**Approved**](https://evil.example.com) <img src=x> @all"


def comment(
    vm: str = "ML-1", host: str = "esx-05", domain: str = "us-west-2a", cluster: str = "ml", datastore: str = "", place: str = ""
) -> str:  # fmt: skip
    """The comment of a plan of one move, whose names are given."""
    move = {
        "number": 1, "vm_name": vm, "source_name": host, "source_fault_domain": domain, "target_name": host,
        "target_fault_domain": domain, "predicted_seconds": 9.7,
        "parts": [{"source_name": "local", "target_name": datastore} for _part in range(2)] if datastore else [],
        "place_after": None,
    }  # fmt: skip
    if place:
        plugs = [{"network_name": place}, {"network_name": "b"}]
        around = {"cluster_name": place, "pool_name": place, "folder": "group-1", "folder_name": place, "plugs": plugs}
        move["place_after"] = around
    refusals = [
        {"vm_name": vm, "blocking": blocking, "reasons": [{"check": "no_capacity_memory"}], "text": f"{vm} stays."}
        for blocking in (True, False)
    ]
    request = {
        "state": "evacuated", "subject": "host esx-05", "requester": "ops@example.com", "reason": "a fan",
        "from": "2026-11-02T22:00:00+00:00", "until": "2026-11-03T04:00:00+00:00",
        "destination_cluster": place, "scope": "both" if datastore else "compute", "datastore": datastore,
    }  # fmt: skip
    plan = {"hosts": [host, "esx-06"], "moves": [move], "refusals": refusals, "plan_id": "0a1b"}
    plan["plan"] = {"drs": [{"why": f"DRS of cluster {cluster} is fully automated."}, {"why": ""}]}
    template = Environment(trim_blocks=True, autoescape=False).from_string((ROLE / "templates/plan.md.j2").read_text())
    return template.render(
        __reconcile={"request": request}, __reconcile_plan=plan, reconcile_request="requests/esx-05.yml"
    )


def unquoted(text: str) -> str:
    """What is not in code spans, which no service gives a meaning."""
    return re.sub(r"`[^`\r\n]*`", "CODE", text)


@pytest.mark.parametrize("name", ["vm", "host", "domain", "cluster", "datastore", "place"])
@pytest.mark.parametrize("end", ["", "\n", "\r", "\u2028"])
def test_a_name_is_no_markup_in_a_plan(name: str, end: str) -> None:
    usual = {"datastore": "gold", "place": "gpu"}
    hostile = comment(**{**usual, name: f"{HOSTILE}{end}## Approved"})
    assert unquoted(hostile) == unquoted(comment(**usual))
    assert "Approved" in hostile


def test_a_plan_says_from_where_to_where() -> None:
    text = comment()
    assert "| hosts | `esx-05`, `esx-06` |\n" in text
    assert "| 1 | `ML-1` | `esx-05` `us-west-2a` | `esx-05` `us-west-2a` | 10 s |\n" in text
    assert "| 1 | `ML-1` | `esx-05` | `esx-05` | 10 s |\n" in comment(domain="")
    assert text.count("DRS") == 1
    assert "\n\n`DRS of cluster ml is fully automated.`\n" in text


def test_a_plan_says_what_changes_beside_the_host() -> None:
    text = comment(datastore="gold-1")
    assert "| files | may move to `gold-1` |\n" in text
    assert "| 1 | `ML-1` | `esx-05` `us-west-2a` `[local]` | `esx-05` `us-west-2a` `[gold-1]` | 10 s |\n" in text
    assert "cluster" not in text.replace("DRS of cluster", "")
    text = comment(place="gpu")
    assert "| cluster | `gpu` |\n" in text
    assert "| files |" not in text
    assert "\n\n- `ML-1` moves to the cluster `gpu`, resource pool `gpu`, folder `gpu`, network `gpu`, `b`\n" in text


BEGUN = "2026-11-02T22:20:00"  # when the request is carried out


@pytest.mark.parametrize(
    ("finished", "moved", "kept"),
    [
        ("2026-11-02T23:00:00.000Z", ["vm-1"], True),
        ("2026-11-02T22:30:00.000Z", [], True),
        ("2026-11-02T22:10:00.000Z", ["vm-1"], True),  # of a playbook that was killed before it kept the evidence
        ("2026-11-02T22:10:00.000Z", ["vm-1", "vm-7"], False),  # a person evacuated the host in the window
        ("2026-11-02T22:10:00.000Z", [], False),
        (None, ["vm-1"], True),
        ("2026-10-02T23:00:00.000Z", ["vm-1"], False),
    ],
)
def test_the_evidence_of_what_the_request_has_done_is_kept(
    tmp_path: Path, finished: str | None, moved: list[str], kept: bool
) -> None:
    evidence = tmp_path / "20261102T220500Z-evacuate-esx-05-ab12" / "evidence.json"
    evidence.parent.mkdir()
    evidence.write_text(json.dumps({"run": {"finished": finished}, "moves": [{"moid": vm} for vm in moved]}))
    copied = yaml.safe_load((ROLE / "tasks/evidence.yml").read_text())[1]
    environment = NativeEnvironment()
    environment.filters |= {"from_json": json.loads, "difference": lambda one, two: sorted({*one} - {*two})}
    known = {
        "lookup": lambda _name, path: Path(path).read_text(),
        "__reconcile": {
            "request": {"from": "2026-11-02T22:00:00+00:00"},
            "plan": {"moves": [{"vm": "vm-1"}, {"vm": "vm-2"}]},
        },
        "__reconcile_evidence": {"evidence_path": str(evidence)},
        "__reconcile_begun": BEGUN,
    }
    for name, value in copied["vars"].items():
        known[name] = environment.from_string(value).render(known)
    conditions = [environment.from_string("{{ " + condition + " }}") for condition in copied["when"]]
    assert all(condition.render(known) for condition in conditions) is kept
