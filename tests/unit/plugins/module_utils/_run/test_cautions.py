# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan cannot decide, and says: homes on hosts that are gone, homes that are given up, and VMs that stay excluded from DRS."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import hosts_of, request_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    Drs,
    DrsOverride,
    Estate,
    InventoryPlace,
    Pool,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE, Home, encode_home
from ansible_collections.liveml.vsphere.plugins.modules.migration_plan import SPEC

from tests.builders.estates import INFO, estate, host, vm
from tests.builders.journals import EXAMPLES, VCENTER, write_event

HERE = {**VCENTER, "instance_uuid": INFO.instance_uuid}
THERE = {**VCENTER, "instance_uuid": "uuid-2", "address": "vc2"}


def away(number: int, home: tuple[str, str], on: int = 2, target: int = 2) -> VmState:
    """A VM that an evacuation moved to a host."""
    place = (f"host-{target}", f"esx-{target}")
    known = Home(f"vm-{number}", *home, *place, "run", "2026-01-31T09:00:00Z", start=home[0], vm_uuid=f"u{number}")
    return vm(number, on=on, attributes={ATTRIBUTE: encode_home(known)})


def notes(
    world: Estate, state: Path, mover: str = "", lost: Mapping[str, list[str] | None] | None = None, **options: Any
) -> tuple[str, ...]:
    """The notes of the plan."""
    return planned(world, state, mover, lost, **options).notes


def planned(
    world: Estate, state: Path, mover: str = "", lost: Mapping[str, list[str] | None] | None = None, **options: Any
) -> Plan:
    """The plan. ``lost`` are the VMs that were on a host when vCenter lost it."""
    given = {"state_dir": str(state), "host": "esx-1", **options}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    request = request_of(
        params,
        world,
        hosts_of(params, world),
        None,
        mover=lambda _vm, _host: mover,
        lost=lambda moid: (lost or {}).get(moid, []),
    )
    return make_plan(world, request)


LOST = ("host-9", "old-name")


def test_homes_on_hosts_that_are_gone_are_said_also_if_others_are_known(tmp_path: Path) -> None:
    hosts = [host(1), host(2)]
    world = estate(hosts, [away(1, ("host-1", "esx-1")), away(2, LOST), away(3, ("host-2", "esx-2"))])
    (note,) = notes(world, tmp_path, use_homes=True)
    assert "vCenter no longer has: ml-2 (old-name, host-9). They stay where they are." in note
    assert "If one of these hosts is now esx-1, move its VMs with liveml.vsphere.migrate_vm." in note
    elsewhere = estate([*hosts, host(5, cluster="d")], [away(1, ("host-1", "esx-1")), away(2, LOST, on=5, target=5)])
    assert notes(elsewhere, tmp_path, use_homes=True) == (), "the host was in another cluster"
    with pytest.raises(NotFound, match=r"No home is recorded on esx-1.*ml-2 \(old-name, host-9\)"):
        notes(estate(hosts, [away(2, LOST)]), tmp_path, use_homes=True)


def test_a_lost_home_counts_for_the_cluster_that_its_vm_left(tmp_path: Path) -> None:
    there = InventoryPlace("c", "pool-c", "", "folder", "")
    lost = Home(
        "vm-2", *LOST, "host-5", "esx-5", "run", "2026-01-31T09:00:00Z", start=LOST[0], vm_uuid="u2", place=there
    )
    gone = vm(2, on=5, attributes={ATTRIBUTE: encode_home(lost)})
    hosts = [host(1), host(2), host(5, cluster="d")]
    pools = {"pool-c": Pool("pool-c", "ml", "c")}
    world = estate(hosts, [away(1, ("host-1", "esx-1")), gone], pools=pools)
    (note,) = notes(world, tmp_path, use_homes=True)
    assert "vCenter no longer has: ml-2 (old-name, host-9)." in note


@pytest.mark.parametrize(("domain", "missing"), [(None, True), ("a", True), ("b", False)])
def test_the_restore_of_a_fault_domain_names_vms_whose_home_was_perhaps_in_it_and_is_gone(
    tmp_path: Path, domain: str | None, missing: bool
) -> None:
    folder = state_path(str(tmp_path)) / "runs" / "20260131T090000Z-evacuate-old-name-aaaa"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    write_event(journal, "run_started", run_id=folder.name, key="uuid.host-9", vcenter=HERE)
    write_event(journal, "planned", source={"moid": LOST[0], "name": LOST[1], "fault_domain": domain, "vcenter": ""})
    write_event(journal, "run_finished", result="success")
    journal.close()
    world = estate([host(1), host(2)], [away(1, ("host-1", "esx-1")), away(2, LOST)])
    plan = planned(world, tmp_path, host=None, fault_domain="a", use_homes=True)
    told = [(each.vm_name, each.reasons[0].check, each.reasons[0].object, each.blocking) for each in plan.refusals]
    assert told == ([("ml-2", "home_gone", "old-name", False)] if missing else [])
    assert len(plan.notes) == (not missing)


@pytest.mark.parametrize(("mover", "said"), [("DRS", True), ("vSphere HA", True), ("alice", False), ("", False)])
def test_only_of_vms_with_a_lost_home_it_is_asked_who_moved_them(tmp_path: Path, mover: str, said: bool) -> None:
    asked = list[str]()

    def moved_by(moid: str, _host: str) -> str:
        asked.append(moid)
        return mover

    world = estate(
        [host(n) for n in (1, 2, 3)],
        [away(1, ("host-1", "esx-1")), away(2, LOST, on=3), away(3, ("host-2", "x"), on=3)],
    )
    given = {"state_dir": str(tmp_path), "host": "esx-1", "use_homes": True}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    request = request_of(params, world, hosts_of(params, world), None, mover=moved_by)
    assert set(asked) == {"vm-2"}
    assert bool(request.notes) is said


@pytest.mark.parametrize(("mover", "said"), [("", True), ("DRS", False), ("alice", False)])
def test_a_home_that_is_given_up_because_nobody_knows_who_moved_its_vm_is_said(
    tmp_path: Path, mover: str, said: bool
) -> None:
    hosts = [host(1), host(2), host(3)]
    strayed = away(1, ("host-3", "esx-3"), on=1)
    world = estate(
        hosts, [strayed, away(2, ("host-3", "esx-3"), on=1, target=1), away(3, ("host-1", "esx-1"), on=1), vm(4)]
    )
    found = notes(world, tmp_path, mover)
    assert len(found) == said
    if said:
        assert found == (
            "ml-1 had its home on esx-3. vCenter does not say who moved it to esx-1 after its evacuation to esx-2, so its home is now "
            "esx-1: a restore of esx-3 does not bring it back any more.",
        )


@pytest.mark.parametrize(
    ("mover", "said"),
    [
        ("vSphere HA", "vSphere HA restarted these VMs on other hosts, after vCenter had lost esx-1: ml-1 (esx-2). "),
        (
            "",
            "vCenter lost the connection to esx-1, and does not say who moved or restarted these VMs on other hosts since: ml-1 (esx-2). ",
        ),
        ("alice", ""),
        ("DRS", ""),
    ],
)
def test_vms_that_ha_took_off_the_host_before_its_evacuation_are_named(tmp_path: Path, mover: str, said: str) -> None:
    world = estate(
        [host(1), host(2)], [vm(1, on=2), vm(2), away(3, ("host-1", "esx-1")), vm(4, on=2), replace(vm(5), host="")]
    )
    found = notes(world, tmp_path, mover, lost={"host-1": ["vm-1", "vm-2", "vm-3", "vm-5", "vm-gone"]})
    assert len(found) == bool(said)
    if said:
        assert found[0].startswith(said)
        assert "a restore of esx-1 does not bring them back" in found[0]
    assert notes(world, tmp_path, mover, use_homes=True, lost={"host-1": ["vm-1"]}) == ()


def test_it_is_said_if_vcenter_does_not_show_whether_ha_restarted_vms(tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [vm(1, on=2)])
    (note,) = notes(world, tmp_path, lost={"host-1": None})
    assert note.startswith(
        "It is not known whether vSphere HA restarted VMs of esx-1 on other hosts before this evacuation"
    )


def run_with_pin(state: Path, name: str, *, pinned: str = "u1", key: str = "uuid.host-1", **started: Any) -> None:
    folder = state_path(str(state)) / "runs" / name
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    write_event(journal, "run_started", run_id=name, key=key, vcenter=HERE, **started)
    pin = {**EXAMPLES["drs_pinning"]["pins"][0], "vm": {"moid": pinned, "name": "ml-1"}, "cluster": "c"}
    write_event(journal, "drs_pinning", pins=[pin])
    write_event(journal, "run_finished", result="failed")
    journal.close()


def world_with(override: DrsOverride | None, second: bool = False) -> Estate:
    overrides = {} if override is None else {"vm-1": override}
    drs = {"c": Drs(Automation.FULL, True, overrides)}
    far = [host(7, moid="host-7@uuid-2", name="far-7", cluster="c@uuid-2")] if second else []
    found = estate([host(1), host(2), *far], [vm(1), vm(2)], drs=drs)
    return replace(found, second=replace(INFO, instance_uuid="uuid-2", address="vc2")) if second else found


EXCLUDED = DrsOverride(enabled=False)
BOTH = (
    "ml-1 may still be excluded from DRS by the run 20260131T090000Z-evacuate-esx-1-aaaa, which was over two vCenters. This call does not "
    "give them back. Run that playbook again with destination_vcenter, or remove their DRS overrides in vCenter."
)


@pytest.mark.parametrize("key", ["uuid.host-1", "uuid-2.host-1"], ids=["first", "second"])
def test_what_a_run_over_two_vcenters_left_excluded_from_drs_is_said_in_one_of_them(tmp_path: Path, key: str) -> None:
    second = THERE if key.startswith("uuid.") else {**THERE, "instance_uuid": "uuid"}
    run_with_pin(tmp_path, "20260131T090000Z-evacuate-esx-1-aaaa", key=key, second=second)
    assert notes(world_with(EXCLUDED), tmp_path) == (BOTH,)
    assert notes(world_with(None), tmp_path) == (), "somebody has removed the override"
    unread = replace(world_with(None), drs={"c": Drs(Automation.UNKNOWN, None, None)})
    assert BOTH in notes(unread, tmp_path), "it is not known whether it is excluded"
    with run_lock(state_path(str(tmp_path)), key, timeout=1.0):
        assert notes(world_with(EXCLUDED), tmp_path) == (), "its run is under way"


def test_what_a_run_over_one_vcenter_left_excluded_from_drs_is_said_over_two(tmp_path: Path) -> None:
    run_with_pin(tmp_path, "20260131T090000Z-evacuate-esx-1-aaaa", pinned="vm-1")
    assert notes(world_with(EXCLUDED), tmp_path) == (), "this run gives it back"
    both = world_with(EXCLUDED, second=True)
    (note,) = [each for each in notes(both, tmp_path, destination="far-7") if "DRS" in each]
    assert "which was over one vCenter. This call does not give them back. Run that playbook again without" in note
