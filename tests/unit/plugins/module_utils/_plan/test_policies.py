# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage policies in a plan: which one each part gets or keeps, and which datastores may take it."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_from_dict,
    plan_id_of,
    plan_lines,
    plan_to_dict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import next_home
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Plan,
    PlanRequest,
    Policy,
    Scope,
    StorageRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.server_checks import relocation_of
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, StoragePolicies
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import decode_home, encode_home

from tests.builders.estates import plan_all
from tests.builders.storage import refused, store, stored, world

BOTH = StorageRequest(scope=Scope.BOTH)
FILES, DISK = 0, 2000
POLICIES = StoragePolicies(
    names={"p-gold": "gold", "p-silver": "silver", "p-none": "nothing fits"},
    of_vms={"vm-1": {FILES: "p-silver", DISK: "p-silver"}},
    fitting={"p-gold": frozenset({"g"}), "p-silver": frozenset({"a", "s"}), "p-none": frozenset()},
)
STORES = [store("a", "1"), store("b", "23", 900), store("g", "3"), store("s", "2", 300)]


def here(policies: StoragePolicies = POLICIES) -> Estate:
    """A VM on a local datastore; of the others, the emptiest one fits no policy."""
    return replace(world(STORES, stored(1, ("a", 1), ("a", 40))), policies=policies)


def placed(plan: Plan) -> dict[int, tuple[str, str]]:
    """Datastore and policy of each part after the only move."""
    (move,) = plan.moves
    return {part.key: (part.target, part.policy) for part in move.parts}


def homeward(now: Estate, storage: StorageRequest) -> Plan:
    return make_plan(now, PlanRequest(("vm-1",), Policy.ANY, destinations={"vm-1": "host-1"}, storage=storage))


def test_files_keep_their_policies_and_go_where_these_fit() -> None:
    plan = plan_all(here(), storage=BOTH)
    assert placed(plan) == {FILES: ("s", "p-silver"), DISK: ("s", "p-silver")}
    assert plan_lines(plan)[0].endswith("[name-s] (storage policy silver)")
    assert plan.notes == ()
    (move,) = plan.moves
    assert dict(relocation_of(move).policies) == {FILES: "p-silver", DISK: "p-silver"}


def test_each_part_has_its_own_policy() -> None:
    mixed = replace(POLICIES, of_vms={"vm-1": {FILES: "", DISK: "p-gold"}})
    assert placed(plan_all(here(mixed), storage=BOTH)) == {FILES: ("g", ""), DISK: ("g", "p-gold")}


def test_the_policy_that_is_asked_for_counts_for_all_parts() -> None:
    gold = replace(BOTH, policy="p-gold")
    assert placed(plan_all(here(), storage=gold)) == {FILES: ("g", "p-gold"), DISK: ("g", "p-gold")}
    nowhere = plan_all(here(), storage=replace(BOTH, policy="p-none"))
    assert refused(nowhere).keys() == {"datastore_policy"}
    assert "name-b for nothing fits" in refused(nowhere)["datastore_policy"]


def test_a_datastore_that_is_named_must_fit_too() -> None:
    named = replace(BOTH, datastores=frozenset({"b"}))
    assert refused(plan_all(here(), storage=named)) == {"datastore_policy": "name-b for silver"}


def test_a_policy_of_which_no_datastore_is_known_fits_none() -> None:
    unasked = replace(POLICIES, fitting={})
    assert refused(plan_all(here(unasked), storage=BOTH)).keys() == {"datastore_policy"}


def test_what_already_fits_stays_and_the_plan_says_that_it_keeps_its_policy() -> None:
    shared = replace(
        world([store("g", "123")], stored(1, ("g", 1))),
        policies=replace(POLICIES, of_vms={"vm-1": {FILES: "p-silver"}}),
    )
    plan = plan_all(shared, storage=replace(BOTH, policy="p-gold"))
    assert [move.parts for move in plan.moves] == [()]
    assert "do not move, because their datastores fit gold" in plan.notes[0]


def test_unknown_policies_are_said_and_nothing_is_refused() -> None:
    plan = plan_all(here(StoragePolicies(why_unknown="The service is down")), storage=BOTH)
    assert placed(plan)[FILES] == ("b", "")
    assert "not known which storage policies" in plan.notes[0]
    assert "The service is down." in plan.notes[0]
    partly = replace(POLICIES, of_vms={"vm-1": {FILES: "p-silver"}})
    plan = plan_all(here(partly), storage=BOTH)
    assert "vCenter does not say it" in plan.notes[0]
    assert plan_all(here(StoragePolicies(why_unknown="down"))).notes == ()  # no files may move


def test_a_home_gets_its_policies_back_whether_its_datastores_fit_or_not() -> None:
    evacuated = plan_all(here(), storage=replace(BOTH, policy="p-gold")).moves[0]
    home = next_home(here().vms["vm-1"], evacuated, None, run_id="run-1", recorded_at="2026-11-29T00:00:00Z")
    assert {file.policy for file in home.files} == {"p-silver"}
    assert decode_home("vm-1", encode_home(home)) == home
    away = replace(
        world(STORES, stored(1, ("g", 1), ("g", 40), on=3)),
        policies=replace(
            POLICIES, of_vms={"vm-1": {FILES: "p-gold", DISK: "p-gold"}}, fitting={"p-silver": frozenset()}
        ),
    )
    back = StorageRequest(
        homes={"vm-1": home.datastores}, home_policies={"vm-1": {file.part: file.policy for file in home.files}}
    )
    returned = homeward(away, back)
    assert placed(returned) == {FILES: ("a", "p-silver"), DISK: ("a", "p-silver")}
    gone = replace(away, policies=replace(away.policies, names={"p-gold": "gold"}))
    assert placed(homeward(gone, back))[FILES] == (
        "a",
        "p-gold",
    )


def test_a_home_whose_policy_did_not_change_names_none() -> None:
    kept = plan_all(here(), storage=BOTH).moves[0]
    home = next_home(here().vms["vm-1"], kept, None, run_id="run-1", recorded_at="2026-11-29T00:00:00Z")
    assert {file.policy for file in home.files} == {""}
    assert '"f":[[0,"a","name-a","s"],' in encode_home(home)


def test_the_policy_is_part_of_what_is_approved() -> None:
    gold, silver = plan_all(here(), storage=replace(BOTH, policy="p-gold")), plan_all(here(), storage=BOTH)
    assert plan_id_of(gold) != plan_id_of(silver)
    assert plan_from_dict(plan_to_dict(gold)) == gold
    both_fit = replace(POLICIES, fitting={"p-gold": frozenset({"s"}), "p-silver": frozenset({"a", "s"})})
    now = plan_all(here(both_fit), storage=replace(BOTH, policy="p-gold"))
    (drift,) = deviations_from_approved(silver, now, here(both_fit))
    assert "(storage policy gold); approved is" in drift.what
    nothing = plan_to_dict(plan_all(here(StoragePolicies()), storage=BOTH))
    for part in nothing["moves"][0]["parts"]:
        part["policy"] = part["policy_name"] = part["policy_before"] = None  # as AWX passes an empty text on
    assert plan_from_dict(nothing).moves[0].policies == {}


def test_what_storage_drs_recommends_counts_if_it_fits() -> None:
    unknown = here(replace(POLICIES, of_vms={"vm-1": {FILES: "", DISK: ""}}))
    advised = replace(BOTH, datastores=frozenset({"b", "s"}), recommended={"vm-1": {FILES: "s", DISK: "s"}})
    assert placed(plan_all(unknown, storage=advised)) == {FILES: ("s", ""), DISK: ("s", "")}  # b is emptier
    split = replace(advised, recommended={"vm-1": {FILES: "s", DISK: "b"}})
    assert placed(plan_all(unknown, storage=split, destinations={"vm-1": "host-2"})) == {
        FILES: ("s", ""),
        DISK: ("b", ""),
    }
    for wrong in (
        replace(advised, recommended={"vm-1": {FILES: "s"}}),
        replace(advised, recommended={"vm-1": {FILES: "g", DISK: "g"}}),
        replace(advised, preferred={"vm-1": {FILES: "b", DISK: "b"}}),
        replace(advised, headroom=0.29),
    ):
        assert placed(plan_all(unknown, storage=wrong))[FILES] == ("b", ""), wrong
