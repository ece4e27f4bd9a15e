# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What roles show of a plan without a move: a VM that cannot move is not one that does not have to."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from tests.labs import ROOT

OWN = ("fault_domain", "reconcile")  # roles whose plan is not that of one run
CANNOT, MAY_STAY = {"vm_name": "ML-8", "blocking": True}, {"vm_name": "ML-9", "blocking": False}


def tasks_of(path: str) -> list[dict[str, Any]]:
    tasks = yaml.safe_load((ROOT / "roles" / path).read_text())
    return [each for task in tasks for each in (*task.get("block", ()), task)]


def shown(path: str, role: str, refusals: list[dict[str, Any]]) -> list[str]:
    """The lines of the task that shows the plan."""
    [task] = [each for each in tasks_of(path) if "how the plan" in each["name"]]
    environment = NativeEnvironment()
    known: dict[str, Any] = {
        f"__{role if role in OWN else 'internal'}_plan": {"lines": [], "refusals": refusals, "plan_id": "0a"},
        f"__{role}_name": "x",
        f"__{role}_approved": {"moves": []},
        "ansible_check_mode": False,
    }
    for _round in task["vars"]:  # they may depend on each other
        for name, value in task["vars"].items():
            known[name] = environment.from_string(value).render(**known) if isinstance(value, str) else value
    return list(environment.from_string(task["liveml.vsphere.show_lines"]["lines"]).render(**known))


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("evacuate_host/tasks/plan.yml", "evacuate_host"),
        ("fault_domain/tasks/plan.yml", "fault_domain"),
        ("migrate_vm/tasks/main.yml", "migrate_vm"),
        ("reconcile/tasks/plan.yml", "reconcile"),
    ],
)
def test_a_vm_that_cannot_move_is_said_to_be_that(path: str, role: str) -> None:
    without = " ".join(shown(path, role, []))
    assert "has to" in without or "already" in without
    refused = " ".join(shown(path, role, [CANNOT, MAY_STAY]))
    assert "annot move" in refused
    assert "has to" not in refused
    assert "already" not in refused
