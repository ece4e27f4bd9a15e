# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events about hardware: which alarms the role and the rulebooks count."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.plugins.filter.core import regex_escape
from ansible.plugins.test.core import search
from jinja2.nativetypes import NativeEnvironment

from tests.labs import ROOT

ROLE = ROOT / "roles/hardware_event"
RULEBOOKS = ("vcenter_events", "vcenter_events_without_awx")
# Alarms that vCenter has of hosts, and whether they mean failing hardware.
ALARMS = {
    "Host hardware fan status": True,
    "Host hardware power status": True,
    "Host memory status": True,
    "Host processor status": True,
    "Host storage status": True,
    "Host memory usage": False,
    "Host CPU usage": False,
}


def shown(alarms: list[dict[str, Any]]) -> list[str]:
    """The names of the alarms that the role counts."""
    role = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    environment = NativeEnvironment()
    environment.filters["regex_escape"] = regex_escape
    environment.tests["search"] = search
    [variables] = [task["vars"] for task in role[0]["block"] if "vars" in task]
    expression = variables["__hardware_event_shown"]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    read = {f"__{name}": value for name, value in defaults.items()}
    found = environment.from_string(expression).render(**read, __hardware_event_found={"alarms": alarms})
    return list(found)


def test_load_is_no_failing_hardware() -> None:
    alarms = [{"name": name, "status": "red", "acknowledged": False} for name in ALARMS]
    assert shown(alarms) == [name for name, counts in ALARMS.items() if counts]
    assert shown([{**alarms[0], "acknowledged": True}, {**alarms[1], "status": "yellow"}]) == []


@pytest.mark.parametrize("name", RULEBOOKS)
def test_a_rulebook_hears_the_alarms_that_the_role_counts(name: str) -> None:
    [rules] = yaml.safe_load((ROOT / f"extensions/eda/rulebooks/{name}.yml").read_text())
    condition = rules["rules"][0]["condition"]
    wanted = re.findall(r'event\.alarm\.name is (not )?search\("([^"]+)", ignorecase=true\)', condition)

    def heard(alarm: str) -> bool:
        return all(bool(re.search(words, alarm, re.IGNORECASE)) != bool(negated) for negated, words in wanted)

    assert {alarm: heard(alarm) for alarm in ALARMS} == ALARMS


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        ({}, ""),
        ({"maintenance": "in"}, ""),
        ({"alarms": None}, "does not show the alarms"),
        ({"maintenance": "unknown"}, "does not show the maintenance mode"),
        ({"connection": "unknown"}, "does not show the connection"),
    ],
)
def test_what_decides_and_is_not_shown_is_no_reason_to_leave_a_host_alone(found: dict[str, Any], refused: str) -> None:
    host = {"name": "esx-05", "connection": "connected", "maintenance": "normal", "alarms": [], **found}
    known = {"__hardware_event_found": host, "__hardware_event_condition": "alarm"}
    environment = NativeEnvironment()
    texts = []
    for task in yaml.safe_load((ROLE / "tasks/check.yml").read_text()):
        conditions = task.get("when", ())
        conditions = [conditions] if isinstance(conditions, str) else conditions
        if "ansible.builtin.fail" in task and all(environment.compile_expression(each)(**known) for each in conditions):
            texts.append(environment.from_string(task["ansible.builtin.fail"]["msg"]).render(**known))
    assert [refused in text for text in texts] == [True] * bool(refused)
