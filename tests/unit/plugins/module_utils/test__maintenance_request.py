# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance requests: one clear error for a bad one, and never outside its window, never twice, never unapproved."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, PlanRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._maintenance_request import (
    SCHEMA,
    Applied,
    ApprovedPlan,
    RequestState,
    Stage,
    applied_of,
    approved_of,
    judge,
    parse_request,
    refuse_plan,
    refuse_time,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import complaints, public_roles
from hypothesis import given
from hypothesis import strategies as st

from scripts import make_roles
from tests.labs import ROOT

GOOD: dict[str, Any] = {
    "version": "1.0",
    "state": "evacuated",
    "host": "esx-05",
    "window": {"from": "2026-11-02T22:00:00Z", "until": "2026-11-03T04:00:00Z"},
    "requester": "platform@example.com",
}
BEGIN, END = datetime(2026, 11, 2, 22, tzinfo=UTC), datetime(2026, 11, 3, 4, tzinfo=UTC)
REQUEST = parse_request(yaml.safe_dump(GOOD), "request")
MOMENTS = st.datetimes(datetime(2026, 10, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


def test_the_shipped_schema_is_the_one_that_is_applied() -> None:
    shipped = json.loads((ROOT / "gitops/schema/maintenance-request-1.0.json").read_text())
    assert shipped == json.loads(json.dumps(SCHEMA))


LIMITS = {"memory_headroom": 20, "exclude_hosts": ["esx-09"], "storage_headroom": 5, "slots": 2}
FILES = {"scope": "both", "datastore": "gold-cluster"}
ELSEWHERE = {
    "destination_cluster": "/DC-east/host/gpu-cluster",
    "pool_map": {"ml-training": "training/gpu"},
    "folder_map": {"/": "ml/vision"},
    "network_map": {"ml-network": "ml-network-east"},
}


@pytest.mark.parametrize(
    ("changes", "role", "variables"),
    [
        (
            {"policy": "any", "limits": LIMITS, **FILES, **ELSEWHERE},
            "evacuate_host",
            {
                "evacuate_host_name": "esx-05",
                "evacuate_host_approved": {"moves": []},
                "evacuate_host_policy": "any",
                "evacuate_host_memory_headroom": 20,
                "evacuate_host_storage_headroom": 5,
                "evacuate_host_exclude_hosts": ["esx-09"],
                "evacuate_host_slots": 2,
                **{f"evacuate_host_{name}": value for name, value in (FILES | ELSEWHERE).items()},
            },
        ),
        (
            {"host": None, "fault_domain": "us-west-2b", **FILES},
            "fault_domain",
            {
                "fault_domain_name": "us-west-2b",
                "fault_domain_state": "evacuated",
                "fault_domain_approved": {"moves": []},
                **{f"fault_domain_{name}": value for name, value in FILES.items()},
            },
        ),
        (
            {"state": "restored", "limits": LIMITS},
            "restore_host",
            {
                "restore_host_name": "esx-05",
                "restore_host_approved": {"moves": []},
                "restore_host_memory_headroom": 20,
                "restore_host_slots": 2,
            },
        ),
        (
            {"state": "restored", "host": None, "fault_domain": "us-west-2b", "limits": LIMITS},
            "fault_domain",
            {
                "fault_domain_name": "us-west-2b",
                "fault_domain_state": "restored",
                "fault_domain_approved": {"moves": []},
                "fault_domain_memory_headroom": 20,
                "fault_domain_storage_headroom": 5,
                "fault_domain_exclude_hosts": ["esx-09"],
                "restore_host_slots": 2,
            },
        ),
    ],
)
def test_a_request_becomes_the_variables_of_one_role(
    changes: dict[str, Any], role: str, variables: dict[str, Any]
) -> None:
    document = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    found = parse_request(yaml.safe_dump(document), "request")
    assert (found.role, found.variables({"moves": []})) == (role, variables)
    assert complaints(variables, public_roles()) == [], "the role has these variables"


def test_every_limit_of_a_request_has_a_default() -> None:
    assert set(make_roles.LIMITS) == set(SCHEMA["properties"]["limits"]["properties"])
    assert set(make_roles.STATES) == set(SCHEMA["properties"]["state"]["enum"])


def test_a_request_means_the_same_however_it_is_written() -> None:
    text = "# for the fan\n" + json.dumps(dict(reversed(GOOD.items())))
    unquoted = yaml.safe_dump(GOOD).replace("'2026-11-02T22:00:00Z'", "2026-11-02T22:00:00Z")
    assert "from: 2026" in unquoted
    assert parse_request(text, "other").sha256 == parse_request(unquoted, "third").sha256 == REQUEST.sha256
    assert (REQUEST.begins, REQUEST.ends, REQUEST.subject, REQUEST.policy) == (
        BEGIN,
        END,
        "host esx-05",
        "same_preferred",
    )
    changed = parse_request(yaml.safe_dump({**GOOD, "limits": {"slots": 2}}), "request")
    assert changed.sha256 != REQUEST.sha256
    domain = {k: v for k, v in GOOD.items() if k != "host"} | {"fault_domain": "us-west-2b"}
    assert parse_request(yaml.safe_dump(domain), "request").policy == "other_only"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 1.0}, "request: version: '1.0' was expected. Version of this format, in quotes."),
        ({"state": "rebooted"}, "request: state: 'rebooted' is not one of ['evacuated', 'restored']"),
        ({"host": None}, "request: host: None is not of type 'string'"),
        ({"host": "esx 05; reboot"}, "request: host: 'esx 05; reboot' does not match"),
        ({"host": "esx-05\n"}, "request: host: 'esx-05\\n' does not match"),
        ({"requester": "ops\n"}, "request: requester: 'ops\\n' does not match"),
        ({"limits": {"exclude_hosts": ["esx-01\n"]}}, "does not match"),
        ({"window": {**GOOD["window"], "until": "2026-11-03T04:00:00Z\n"}}, "does not"),
        ({"fault_domain": "us-west-2b"}, "must have exactly one of host and fault_domain"),
        ({"window": {"from": "2026-11-02T22:00:00Z"}}, "request: window: 'until' is a required property"),
        ({"window": {**GOOD["window"], "until": "2026-11-02T22:00:00Z"}}, "is not after 2026-11-02T22:00:00Z"),
        (
            {"window": {**GOOD["window"], "until": "2026-11-03T04:00:00"}},
            "request: window.until: '2026-11-03T04:00:00' does not",
        ),
        (
            {"window": {**GOOD["window"], "until": "2026-11-03T04:00:00+01:00"}},
            "UTC, for example 2026-11-03T04:00:00Z.",
        ),
        ({"window": {**GOOD["window"], "until": "2026-11-31T04:00:00Z"}}, "is not a date and time"),
        ({"limits": {"slots": 9}}, "request: limits.slots: 9 is greater than the maximum of 8"),
        ({"limits": {"slot": 4}}, "('slot' was unexpected)"),
        ({"requester": "see `reboot`"}, "Who requests the maintenance, in one line without markup."),
        ({"scope": "storage"}, "request: scope: 'storage' is not one of ['compute', 'both']. both: files move"),
        ({"scope": "storage"}, "Moving files alone does not empty a host; use the playbook migrate_vm for that."),
        ({"datastore": "gold"}, "request: datastore: files move only with scope: both. Add that, or remove it."),
        ({"datastore": "gold`x`", "scope": "both"}, "request: datastore: 'gold`x`' does not match"),
        (
            {"network_map": {"a": "b"}},
            "request: network_map: it needs destination_cluster or destination_vcenter. Add that, or remove it.",
        ),
        ({**ELSEWHERE, "pool_map": {"a": 5}}, "request: pool_map.a: 5 is not of type 'string'"),
        ({**ELSEWHERE, "pool_map": {"a|b": "c"}}, "request: pool_map: 'a|b' does not match"),
        ({**ELSEWHERE, "destination_cluster": "a\n"}, "request: destination_cluster: 'a\\n' does not match"),
        (
            {"state": "restored", **FILES},
            "request: scope: a restore brings VMs and files to where they were recorded. Remove it.",
        ),
        ({"state": "restored", "destination_cluster": "gpu"}, "request: destination_cluster: a restore brings VMs"),
        ({"destination_vcenter": {"password": "x"}}, "is not of type 'string'. Name or address of the other vCenter"),
        (
            {"destination_vcenter": "vc.example.com/ui"},
            "request: destination_vcenter: 'vc.example.com/ui' does not match",
        ),
        ({"hots": "esx-05"}, "The keys are version, state, host, fault_domain, window"),
    ],
)
def test_a_bad_request_gives_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_request(yaml.safe_dump({**GOOD, **change}), "request")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("host: esx-05\nhost: esx-06\n", "the key host occurs twice"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
        ("host: [", "cannot be read"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEsecret: [\n", "cannot be read (line"),
        ("limits: {stall_budget: .inf}", ".inf is not a finite number"),
        ("limits: {stall_budget: .nan}", ".nan is not a finite number"),
        ("limits: {stall_budget: 1.0e+999}", "is not a finite number"),
        ("!!python/object/apply:os.system [id]", "cannot be read"),
        ("- host\n", "it is not a mapping"),
        ("", "it is not a mapping"),
        ("[" * 5000, "cannot be read"),
        ("#" * 70_000, "longer than 65536 bytes"),
        ("---\na: 1\n---\nb: 2\n", "cannot be read"),
    ],
)
def test_hostile_text_gives_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_request(text, "request")
    assert sentence in str(caught.value)


@given(text=st.text(max_size=200))
def test_no_text_is_more_than_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_request(text, "request")


def test_a_fault_domain_is_left_whatever_policy_would_stay_in_it() -> None:
    domain = {k: v for k, v in GOOD.items() if k != "host"} | {"fault_domain": "us-west-2b", "policy": "same_only"}
    with pytest.raises(InvalidInput, match="policy: 'other_only' was expected"):
        parse_request(yaml.safe_dump(domain), "request")


def test_a_fault_domain_stays_in_its_cluster() -> None:
    domain = {k: v for k, v in GOOD.items() if k != "host"} | {"fault_domain": "us-west-2b", **ELSEWHERE}
    with pytest.raises(InvalidInput, match="destination_cluster: the VMs of a fault domain stay in its cluster"):
        parse_request(yaml.safe_dump(domain), "request")


def test_a_request_names_the_other_vcenter_and_no_login() -> None:
    maps = {key: value for key, value in ELSEWHERE.items() if key != "destination_cluster"}
    there = parse_request(yaml.safe_dump({**GOOD, "destination_vcenter": "vc.cloud", "datastore": "gold", **maps}), "r")
    back = parse_request(yaml.safe_dump({**GOOD, "destination_vcenter": "vc.cloud", "state": "restored"}), "r")
    assert (there.destination_vcenter, back.destination_vcenter, REQUEST.destination_vcenter) == (
        "vc.cloud",
        "vc.cloud",
        "",
    )
    assert "evacuate_host_destination_vcenter" not in there.variables({"moves": []}), "the role adds the login"
    domain = {k: v for k, v in GOOD.items() if k != "host"} | {"fault_domain": "b", "destination_vcenter": "vc.cloud"}
    with pytest.raises(InvalidInput, match="destination_vcenter: the VMs of a fault domain stay in its cluster"):
        parse_request(yaml.safe_dump(domain), "request")


@given(now=MOMENTS, zone=st.integers(-720, 720), applied=st.booleans())
def test_it_is_due_in_its_window_alone_and_once(now: datetime, zone: int, applied: bool) -> None:
    record = Applied(REQUEST.sha256, "p", "2026-11-02T23:00:00Z") if applied else None
    judged = judge(REQUEST, now.astimezone(timezone(timedelta(minutes=zone))), record)
    due = BEGIN <= now < END and not applied
    assert (judged.state is RequestState.DUE) == due
    if not applied:
        assert (judged.state is RequestState.EARLY) == (now < BEGIN)
        assert (judged.state is RequestState.EXPIRED) == (now >= END)
    for stage in Stage:
        refused = judged.state is RequestState.EXPIRED or (stage is Stage.APPLY and judged.state is RequestState.EARLY)
        if refused:
            with pytest.raises(PlanRefused):
                refuse_time(judged, stage, "request")
        else:
            refuse_time(judged, stage, "request")


def test_the_window_has_its_beginning_and_not_its_end() -> None:
    second = timedelta(seconds=1)
    states = [judge(REQUEST, moment, None).state for moment in (BEGIN - second, BEGIN, END - second, END)]
    assert states == ["early", "due", "due", "expired"]


def test_a_record_of_another_content_does_not_count_and_a_time_without_zone_is_refused() -> None:
    assert judge(REQUEST, BEGIN, Applied("other", "p", "then")).state is RequestState.DUE
    with pytest.raises(ValueError, match="no time zone"):
        judge(REQUEST, datetime(2026, 11, 2, 23), None)


def test_only_the_approved_plan_of_just_this_request_is_carried_out() -> None:
    good = ApprovedPlan(REQUEST.sha256, {"plan_id": "ab" * 32})
    refuse_plan(REQUEST, good, "", "request")
    refuse_plan(REQUEST, good, "ab" * 32, "request")
    for approved, plan_id, sentence in (
        (None, "", "No plan was approved for request"),
        (ApprovedPlan("other", good.plan), "", "made for another version of the request"),
        (good, "cd" * 32, "is abababababab, not cdcdcdcdcdcd"),
    ):
        with pytest.raises(PlanRefused, match=sentence):
            refuse_plan(REQUEST, approved, plan_id, "request")


@pytest.mark.parametrize("data", [None, [], {}, {"plan": 1}, {"request_sha256": "a", "plan_id": 1, "at": "b"}, "text"])
def test_what_is_no_record_is_none(data: object) -> None:
    assert applied_of(data) is None
    assert approved_of(data) is None
