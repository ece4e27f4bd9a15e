# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of variables: misspelled ones, those of the login, and those that messages name."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.action.variable_check import NUMBERS, called_role
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import (
    about_login,
    complaints,
    in_login_names,
    in_variables,
    infinite_variables,
    login_names,
    options_of,
    public_roles,
    variable_in,
    variables_of,
    with_login,
)


def test_a_misspelled_variable_is_named_with_the_one_that_was_meant() -> None:
    assert complaints({"evacuate_host_polcy", "evacuate_host_name"}, ["evacuate_host"]) == [
        "evacuate_host_polcy is not a variable of evacuate_host. Did you mean evacuate_host_policy?"
    ]
    assert complaints({"liveml_vsphere_hostnmae"}, ["evacuate_host"]) == [
        "liveml_vsphere_hostnmae is not a variable of liveml.vsphere. Did you mean liveml_vsphere_hostname?"
    ]
    assert complaints({"evacuate_host_xyz"}, ["evacuate_host"]) == [
        "evacuate_host_xyz is not a variable of evacuate_host."
    ]


def test_variables_of_others_are_no_concern() -> None:
    others = {
        "restore_host_polcy",  # of a role that does not play
        "notify_url",  # a site's own, although a role of ours is called notify
        "__evacuate_host_run",
        "evacuate_hosts",
        "liveml_vsphere_artifact",
        "liveml_vsphere_evidence",
        "liveml_vsphere_hardware",
    }
    assert complaints(others, ["evacuate_host"]) == []
    assert len(complaints(others, ["evacuate_host", "restore_host", "notify"])) == 2


@pytest.mark.parametrize("role", public_roles())
def test_every_variable_of_a_role_is_known(role: str) -> None:
    assert variables_of(role)
    assert complaints(variables_of(role), public_roles()) == []


@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), float("nan"), "inf", ".inf".strip("."), "nan", "-Infinity", "1e999"]
)
@pytest.mark.parametrize(
    ("role", "name"),
    [(r, n) for r in public_roles() for n, option in options_of(r).items() if option["type"] == "float"],
)
def test_a_number_that_is_not_finite_is_named_before_anything_is_done(role: str, name: str, value: object) -> None:
    assert infinite_variables({name: value}, [role], NUMBERS) == [f"{name} must be a finite number, and is {value}."]


@pytest.mark.parametrize("value", [1.5, "1.5", 3, None, "", "soon", True])
def test_other_values_of_a_number_are_left_to_their_specs(value: object) -> None:
    assert infinite_variables({"evacuate_host_stall_budget": value}, ["evacuate_host"], NUMBERS) == []


def test_numbers_within_a_mapping_are_checked_by_their_names() -> None:
    values = {
        "evacuate_host_experiments": {
            "baseline": "inf",
            "owners": {"*": "nan"},
            "addresses": {"vm-1": float("inf")},
            "sources": [{"flush_seconds": float("nan"), "metric": "inf"}],
        }
    }
    assert [text.split()[0] for text in infinite_variables(values, ["evacuate_host"], NUMBERS)] == [
        "evacuate_host_experiments.baseline",
        "evacuate_host_experiments.addresses.vm-1",
        "evacuate_host_experiments.sources.flush_seconds",
    ]


def test_no_role_has_a_name_that_begins_the_variables_of_another() -> None:
    roles = public_roles()
    assert not [(role, other) for role in roles for other in roles if role != other and other.startswith(f"{role}_")]


def test_a_role_checks_itself_unless_a_role_of_ours_has_called_it() -> None:
    name = "liveml.vsphere.evacuate_host"
    assert called_role({"ansible_role_name": name}) == ["evacuate_host"]
    assert called_role({"ansible_role_name": name, "ansible_parent_role_names": ["site.own.night"]}) == [
        "evacuate_host"
    ]
    assert called_role({"ansible_role_name": name, "ansible_parent_role_names": ["liveml.vsphere.fault_domain"]}) == []


def test_what_a_task_gives_wins_over_the_variables_of_the_login() -> None:
    variables = {
        "liveml_vsphere_hostname": "{{ site }}",
        "liveml_vsphere_username": "operator",
        "liveml_vsphere_port": "OMIT",
        "omit": "OMIT",
    }
    given = {"username": "other", "host": "esx-05"}
    assert with_login(given, variables, lambda value: "vc-1" if value == "{{ site }}" else value) == {
        "hostname": "vc-1",
        "username": "other",
        "host": "esx-05",
    }


def test_a_missing_login_names_both_ways_to_give_it() -> None:
    assert about_login("missing required arguments: hostname, password") == (
        "The login of vCenter is incomplete: hostname, password missing. Set liveml_vsphere_hostname (or the environment "
        "variable VMWARE_HOST) and liveml_vsphere_password (or the environment variable VMWARE_PASSWORD)."
    )
    for message in ("missing required arguments: plan", "vCenter cannot be reached."):
        assert about_login(message) == message


@pytest.mark.parametrize(
    ("given", "completed", "name"),
    [
        ({"hostname"}, {"hostname"}, "hostname"),
        (set(), {"hostname"}, "liveml_vsphere_hostname"),
        (set(), set(), "VMWARE_HOST"),
    ],
)
def test_a_message_about_the_login_uses_the_name_that_the_person_used(
    given: set[str], completed: set[str], name: str
) -> None:
    names = login_names(given, completed)
    assert in_login_names(
        "hostname (VMWARE_HOST) is 'x y'. Check hostname (VMWARE_HOST), port (VMWARE_PORT).", names
    ) == (f"{name} is 'x y'. Check {name}, VMWARE_PORT.")
    assert in_login_names("The hostname of VMWARE_HOST", names) == "The hostname of VMWARE_HOST"


def test_a_login_of_the_wrong_type_names_where_it_came_from() -> None:
    said = "argument 'port' is of type <class 'str'> and we were unable to convert to int"
    assert in_login_names(said, login_names(set(), set())).startswith("VMWARE_PORT is of type")
    assert in_login_names(said.replace("port", "slots"), login_names(set(), set())) == said.replace("port", "slots")


@pytest.mark.parametrize(
    ("written", "role", "variable"),
    [
        ("{{ internal_run.options.slots | default(omit) }}", "evacuate_host", "evacuate_host_slots"),
        ("{{ internal_run.options.host | default(omit, true) }}", "witness", "witness_host"),
        ("{{ internal_run.options.vms }}", "witness", "witness_vms"),
        ("{{ internal_run.options.slots | default(omit) }}", "", None),
        ("{{ internal_run.options.nosuch }}", "witness", None),
        ("{{ internal_run.host }}", "evacuate_host", None),
    ],
)
def test_an_option_of_a_run_is_the_variable_of_the_role_that_runs(
    written: str, role: str, variable: str | None
) -> None:
    assert variable_in(written, role) == variable


@pytest.mark.parametrize(
    ("written", "variable"),
    [
        ("{{ evacuate_host_name }}", "evacuate_host_name"),
        ("{{ evacuate_host_slots | int }}", "evacuate_host_slots"),
        (["{{ migrate_vm_name }}"], "migrate_vm_name"),
        ("esx-05", None),
        ("{{ __fault_domain_host }}", None),
        ("{{ internal_options.slots }}", None),
        (None, None),
        (8, None),
    ],
)
def test_the_variable_of_an_argument_is_read_from_the_task(written: object, variable: str | None) -> None:
    assert variable_in(written) == variable


@pytest.mark.parametrize(
    ("message", "option", "expected"),
    [
        (
            "There is no host esx-50. Check host; similar names: esx-05.",
            "host",
            "There is no host esx-50. Check evacuate_host_name; similar names: esx-05.",
        ),
        ("Give the name of an ESXi host in host.", "host", "Give the name of an ESXi host in evacuate_host_name."),
        ("Did you mean esx-05? (host)", "host", "Did you mean esx-05? (evacuate_host_name)"),
        ("Correct host.", "host", "Correct evacuate_host_name."),
        ("host is empty.", "host", "evacuate_host_name is empty."),
        ("memory_headroom is 120.", "memory_headroom", "evacuate_host_name is 120."),
        ("The vhost in hosts.", "host", "The vhost in hosts."),
    ],
)
def test_a_message_names_the_variable_of_an_option(message: str, option: str, expected: str) -> None:
    assert in_variables(message, option, "evacuate_host_name") == expected
