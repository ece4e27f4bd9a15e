# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs over two vCenters: there and back, killed at any call, and what each login alone knows of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import nobody, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Entry, HomeRecorded, RunStarted
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE

from tests.doubles.sites import HERE, THERE, Sites, back_in_service, carried_out, planned
from tests.doubles.vcenter import Killed

HOME = {"ml-1": "near-1", "ml-2": "near-1", "stranger": "far-2"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "locks").mkdir()
    return tmp_path


def leave(sites: Sites, state: Path, **options: Any) -> Any:
    pair = sites.pair()
    return carried_out(pair, planned(pair, state, **options), state)


def come_home(sites: Sites, state: Path) -> Any:
    back_in_service(sites.near)
    pair = sites.pair()
    return carried_out(pair, planned(pair, state, use_homes=True), state, Purpose.RESTORE)


def test_there_and_back(state: Path) -> None:
    sites = Sites()
    before = dict(sites.near.vms)
    report = leave(sites, state)
    assert (report.failures, len(report.outcome.moved)) == ((), 2)
    assert {host.partition("-")[0] for name, host in sites.where.items() if name != "stranger"} == {"far"}
    assert not sites.near.vms
    report = come_home(sites, state)
    assert (report.failures, len(report.outcome.moved)) == ((), 2)
    assert sites.where == HOME

    def described(vms: Any) -> dict[str, Any]:
        return {each.name: replace(each, moid="", attributes={}) for each in vms.values()}

    assert described(sites.near.vms) == described(before)
    assert planned(sites.pair(), state, use_homes=True).moves == ()


def test_the_plan_shows_both_vcenters(state: Path) -> None:
    plan = planned(Sites().pair(), state, wan_mbit=1000.0)
    assert plan.second is not None
    assert plan.second.address == "far"
    for move in plan.moves:
        assert (move.source_vcenter, move.target_vcenter, move.changes_vcenter) == ("near", "far", True)
        assert move.target.endswith(f"@{THERE}")
        assert {part.target for part in move.parts} == {f"ds@{THERE}"}
        assert move.place_after is not None
        assert [plug.network for plug in move.place_after.plugs] == [f"net@{THERE}"]


def test_the_home_is_recorded_on_both_sides(state: Path) -> None:
    sites, events = Sites(1), list[Entry]()
    pair = sites.pair()
    plan = planned(pair, state)
    seen = list[str]()

    def listen(entry: Entry) -> None:
        events.append(entry)
        seen.append(f"{type(entry.event).__name__}:{'near' if 'vm-1' in sites.near.vms else 'far'}")

    carried_out(pair, plan, state, listener=listen)
    assert [each for each in seen if each.startswith("HomeRecorded")] == ["HomeRecorded:near"] * 2 + [
        "HomeRecorded:far"
    ] * 2
    (there,) = [each for each in sites.far.vms.values() if each.name == "ml-1"]
    assert "host-1" in there.attributes[ATTRIBUTE]
    assert HERE in there.attributes[ATTRIBUTE]
    homes = [entry.event for entry in events if isinstance(entry.event, HomeRecorded)]
    assert {(h.vm_uuid, h.home.moid, h.home_vcenter, h.target_vcenter) for h in homes} == {
        ("u1", "host-1", "near", "far")
    }
    (begin,) = [entry.event for entry in events if isinstance(entry.event, RunStarted)]
    assert begin.second is not None
    assert begin.second.instance_uuid == THERE


def outcomes(vcenter: Any, state: Path, uuid: str) -> dict[str, tuple[str, str]]:
    estate = vcenter.estate()
    found = placements(estate, journal_homes(state, uuid), None, nobody)
    return {each.vm_name: (each.outcome, each.sentence) for each in found}


def test_each_login_says_what_it_knows(state: Path, tmp_path: Path) -> None:
    sites = Sites(1)
    leave(sites, state)
    back_in_service(sites.near)
    elsewhere = tmp_path / "another controller"
    assert outcomes(sites.pair(), state, HERE)["ml-1"][0] == "away"
    assert outcomes(sites.pair(), elsewhere, HERE)["ml-1"][0] == "away"  # from the attribute alone
    assert outcomes(sites.reversed(), elsewhere, THERE)["ml-1"][0] == "away"
    outcome, sentence = outcomes(sites.near, state, HERE)["ml-1"]
    assert outcome == "other_vcenter"
    assert "was moved to far-" in sentence
    assert "in vCenter far" in sentence
    assert "no longer in" not in sentence
    assert outcomes(sites.near, elsewhere, HERE) == {}  # nothing there says that the VM exists
    outcome, sentence = outcomes(sites.far, elsewhere, THERE)["ml-1"]
    assert outcome == "other_vcenter"
    assert "Its home near-1 is in vCenter near" in sentence


def test_a_restore_with_one_login_refuses_and_names_the_other(state: Path) -> None:
    sites = Sites(1)
    leave(sites, state)
    back_in_service(sites.near)
    (refusal,) = planned(sites.near, state, use_homes=True).refusals
    assert (refusal.vm_name, refusal.reasons[0].check, refusal.reasons[0].object) == ("ml-1", "other_vcenter", "far")
    assert "destination_vcenter" in refusal.reasons[0].hint


def test_an_interrupted_run_needs_the_same_vcenters(state: Path) -> None:
    sites = Sites()
    sites.near.counter[0] = 30
    with pytest.raises(Killed):
        leave(sites, state)
    back_in_service(sites.near)
    with pytest.raises(InvalidInput, match="moves VMs between this vCenter and far") as error:
        carried_out(sites.near, planned(sites.near, state), state)
    assert "destination_vcenter" in str(error.value)


def calls_of_a_run(state: Path) -> int:
    sites = Sites()
    leave(sites, state)
    return -sites.near.counter[0]


def test_a_run_killed_at_any_call_is_resumed(state: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After the kill the tasks end by themselves. Each VM is then on exactly one side, and continues from there."""
    for call in range(1, calls_of_a_run(state)):
        folder = tmp_path_factory.mktemp("killed")
        (folder / "runs").mkdir()
        (folder / "locks").mkdir()
        sites = Sites()
        sites.near.counter[0] = call
        with pytest.raises(Killed):
            leave(sites, folder)
        if call % 2:
            sites.near.advance()  # else they still run, and the next process adopts them
        assert set(sites.where) == set(HOME)
        report = leave(sites, folder)
        assert report.failures == (), call
        assert not sites.near.vms, call
        recorded = [each for each in sites.far.vms.values() if ATTRIBUTE in each.attributes]
        assert {each.name for each in recorded} == {"ml-1", "ml-2"}, call
        assert come_home(sites, folder).failures == (), call
        assert sites.where == HOME, call


def test_a_failed_move_leaves_the_vm_on_its_side(state: Path) -> None:
    sites = Sites()
    sites.near.faults["ml-1"] = "HostNotReachable"
    report = leave(sites, state)
    assert any("ml-1 was left on near-1" in failure for failure in report.failures)
    assert sites.where["ml-1"] == "near-1"
    assert outcomes(sites.near, state, HERE)["ml-1"][0] == "home"


def test_a_vm_that_appears_late_is_not_gone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = Sites(1)
    pair = sites.pair()
    plan = planned(pair, state)
    sleep = pair._sleep
    sites.far.hidden.add("vm-901")

    def appear(seconds: float) -> None:
        sites.far.hidden.clear()
        sleep(seconds)

    monkeypatch.setattr(pair, "_sleep", appear)
    report = carried_out(pair, plan, state)
    assert (report.failures, len(report.outcome.moved)) == ((), 1)


def test_a_vm_that_arrives_where_the_login_does_not_see_it_is_not_gone(state: Path) -> None:
    """The user may register VMs in the folder by a role that does not propagate."""
    sites = Sites(1)
    pair = sites.pair()
    plan = planned(pair, state)
    sites.far.hidden.add("vm-901")
    report = carried_out(pair, plan, state)
    assert sites.where["ml-1"].startswith("far-")
    assert [ended.result for ended in report.outcome.ended] == ["failed"]
    (failure,) = report.failures
    assert failure.startswith("It is not known on which host ml-1 is (failed: neither vCenter shows it to these logins")
    assert outcomes(sites.pair(), state, HERE)["ml-1"][0] != "gone"


def test_a_vm_in_neither_vcenter_is_gone(state: Path) -> None:
    """Nobody has moved it: its own vCenter says that it was deleted."""
    sites = Sites(1)
    pair = sites.pair()
    plan = planned(pair, state)

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, HomeRecorded):
            sites.near.vms.pop("vm-1", None)

    report = carried_out(pair, plan, state, listener=listen)
    assert [ended.result for ended in report.outcome.ended] == ["gone"]
