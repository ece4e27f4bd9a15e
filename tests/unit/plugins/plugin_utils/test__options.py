# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of the roles' options: an empty one is not given, any other has its type or a sentence."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.liveml.vsphere.plugins.filter.option import option as option_filter
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import (
    complaints_about,
    option_named,
    options_of,
    value_of,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import public_roles, variable_in, with_login
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = [option for role in public_roles() for option in options_of(role)]
EMPTY = (None, "", " ", "\n\t", "\u00a0\u200b\ufeff")


@pytest.mark.parametrize("empty", EMPTY)
def test_an_empty_value_is_as_if_it_was_not_given(empty: str | None) -> None:
    for option in OPTIONS:
        if option.required:
            with pytest.raises(ValueError, match=f"{option.variable} is empty"):
                value_of(option, empty)
        else:
            assert value_of(option, empty) == option.default
            assert value_of(option, empty, empty) == option.default


def test_a_computed_default_stands_for_an_empty_value_and_not_for_one_that_was_given() -> None:
    upload = option_named("evacuate_host_evidence_upload")
    site = {"kind": "directory", "path": "/srv"}
    assert value_of(upload, None, site) == site
    assert value_of(upload, "", '{"kind": "none"}') == {"kind": "none"}
    assert value_of(upload, {}, site) == {}


@pytest.mark.parametrize(
    ("variable", "given", "value"),
    [
        ("evacuate_host_slots", "3", 3),
        ("evacuate_host_slots", 3.0, 3),
        ("evacuate_host_stall_budget", "2.5", 2.5),
        ("evacuate_host_stall_budget", 2, 2.0),
        ("evacuate_host_maintenance", "no", False),
        ("evacuate_host_maintenance", "Yes", True),
        ("evacuate_host_maintenance", 0, False),
        ("evacuate_host_name", 5, "5"),
        ("evacuate_host_name", datetime.date(2026, 1, 2), "2026-01-02"),
        ("evacuate_host_exclude_hosts", "esx-01, esx-02,,", ["esx-01", "esx-02"]),
        ("evacuate_host_exclude_hosts", '["esx-01", "esx-02"]', ["esx-01", "esx-02"]),
        ("evacuate_host_exclude_hosts", ["esx-01", None, 7], ["esx-01", "7"]),
        ("evacuate_host_exclude_hosts", 7, ["7"]),
        ("hardware_event_statuses", '["red"]', ["red"]),
        ("evacuate_host_experiments", '{"h2o3": false}', {"h2o3": False}),
        ("evacuate_host_experiments", {"h2o3": False}, {"h2o3": False}),
        ("evacuate_host_notify", '[{"kind": "webhook"}]', [{"kind": "webhook"}]),
        ("evacuate_host_notify", '{"kind": "webhook"}', [{"kind": "webhook"}]),
        ("hardware_event_aliases", '{"i-1": "esx-01"}', {"i-1": "esx-01"}),
    ],
)
def test_a_value_gets_its_type(variable: str, given: Any, value: Any) -> None:
    found = value_of(option_named(variable), given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("variable", "given", "sentence"),
    [
        ("evacuate_host_slots", 9, "evacuate_host_slots is 9; it must be a whole number from 1 to 8."),
        ("evacuate_host_slots", 0, "from 1 to 8"),
        ("evacuate_host_slots", True, "evacuate_host_slots is true; it must be a whole number"),
        ("evacuate_host_slots", 2.5, "whole number"),
        ("evacuate_host_slots", "8 of them", 'evacuate_host_slots is "8 of them"; it must be'),
        ("evacuate_host_max_failures", 0, "a whole number of at least 1"),
        ("evacuate_host_memory_headroom", False, "from 0 to 99"),
        ("evacuate_host_stall_budget", math.inf, "must be a number"),
        ("evacuate_host_stall_budget", "nan", "must be a number"),
        ("evacuate_host_stall_budget", "1e999", "must be a number"),
        ("evacuate_host_stall_budget", -1, "of at least 0"),
        ("evacuate_host_maintenance", 5, "must be yes or no"),
        ("evacuate_host_policy", "nearest", 'evacuate_host_policy is "nearest"; it must be one of same_preferred'),
        ("evacuate_host_policy", False, "must be one of"),
        ("evacuate_host_name", False, "in AWX, which reads YAML without quotes, give the MoID"),
        ("evacuate_host_name", 1.1, "must be a text"),
        ("evacuate_host_name", ["esx-01"], "must be a text"),
        ("evacuate_host_exclude_hosts", {"a": 1}, "a list, or items with commas"),
        ("evacuate_host_exclude_hosts", "[esx-01", "a list"),
        ("hardware_event_statuses", "blue", "one of yellow, red"),
        ("evacuate_host_experiments", "h2o3", "a dictionary, or the JSON text of one"),
        ("evacuate_host_experiments", '{"stall_budget": Infinity}', "the JSON text of one"),
        ("evacuate_host_experiments", "[" * 100_000, "the JSON text of one"),
        ("evacuate_host_notify", "[1]", "a list of dictionaries"),
    ],
)
def test_a_wrong_value_gets_one_sentence(variable: str, given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + variable) as caught:
        value_of(option_named(variable), given)
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text
    assert len(text) < 300
    with pytest.raises(AnsibleFilterError, match="^" + variable):
        option_filter(given, variable)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("evacuate_host_notify", '[{"token": "a-secret"}'),
        ("evacuate_host_notify", ["a-secret"]),
        ("evacuate_host_experiments", '{"token": "a-secret"'),
        ("liveml_vsphere_password", ["a-secret"]),
    ],
)
def test_what_may_be_secret_is_not_repeated(variable: str, value: Any) -> None:
    with pytest.raises(ValueError, match=variable) as caught:
        value_of(option_named(variable), value)
    assert "a-secret" not in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(OPTIONS), ANYTHING)
def test_any_value_has_its_type_or_a_sentence(option: Any, value: Any) -> None:
    try:
        found = value_of(option, value)
    except ValueError as error:
        assert str(error).startswith(f"{option.variable} is ")
    else:
        kinds = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "dict": dict, "list": list}
        assert found is None or isinstance(found, kinds[option.type])
        assert option.type != "float" or found is None or math.isfinite(found)


def test_all_wrong_values_are_named_at_once_and_unknown_ones_later() -> None:
    def template(value: Any) -> Any:
        if value == "{{ later }}":
            raise LookupError
        return value

    values = {"evacuate_host_slots": 9, "evacuate_host_retries": "x", "evacuate_host_policy": "{{ later }}", "other": 1}
    found = complaints_about(values, "evacuate_host", template, LookupError)
    assert [sentence.split(" ")[0] for sentence in found] == ["evacuate_host_slots", "evacuate_host_retries"]


def test_errors_of_modules_name_the_variable_that_an_operator_knows() -> None:
    assert variable_in("{{ __evacuate_host_name }}") == "evacuate_host_name"
    assert variable_in("{{ __internal_plan.plan }}") is None


def test_an_empty_login_is_not_given() -> None:
    variables = {"liveml_vsphere_port": "", "liveml_vsphere_ca_path": None, "liveml_vsphere_hostname": "vc"}
    assert with_login({}, variables, lambda value: value) == {"hostname": "vc"}


def test_a_variable_of_no_role_is_an_error() -> None:
    with pytest.raises(ValueError, match="no role has the option evacuate_host_xyz"):
        option_named("evacuate_host_xyz")
