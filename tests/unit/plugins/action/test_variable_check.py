# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dictionaries with the keys of the option ``experiments`` are refused before anything is done."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.action.variable_check import complaints_about_experiments

VARIABLE = "evacuate_host_experiments"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stall_budgt": 2}, f"{VARIABLE}.stall_budgt is not an option. Did you mean stall_budget?"),
        ({"Ports": [1]}, f"{VARIABLE}.Ports is not an option. Did you mean ports?"),
        ({7: 1}, f"{VARIABLE}.7 is not an option. Known are addresses, "),
        ({"sources": [{"provider": "exec", "comand": "x"}]}, f"{VARIABLE}.sources.comand is not an option."),
        ({"stall_budget": "much"}, "argument 'stall_budget' "),
        ({"sources": [{"provider": "tensorflow"}]}, "value of provider must be one of: driverless_ai, "),
        ({"sources": "mlflow"}, "dictionary requested"),
        ({"guest_username": "trainer"}, "parameters are required together: guest_username, "),
    ],
)
def test_wrong_keys_and_values_are_refused(given: dict[str, Any], sentence: str) -> None:
    found = complaints_about_experiments(VARIABLE, given)
    assert sentence in found[0]
    assert all(VARIABLE in each and each[-1] in ".?" for each in found)


@pytest.mark.parametrize(
    "variable", [VARIABLE, "migrate_vm_experiments", "witness_experiments", "report_state_experiments"]
)
def test_every_role_that_looks_for_experiments_checks_them(variable: str) -> None:
    assert complaints_about_experiments(variable, {"port": [1]})


@pytest.mark.parametrize(
    "given",
    [{}, {"ports": ["54321"], "stall_budget": 2}, {"sources": [{"provider": "exec", "command": "x"}]}, None, "text"],
)
def test_what_is_right_or_no_dictionary_is_left_to_others(given: Any) -> None:
    assert complaints_about_experiments(VARIABLE, given) == []


def test_other_dictionaries_have_other_keys() -> None:
    assert complaints_about_experiments("evacuate_host_evidence_upload", {"port": 1}) == []
