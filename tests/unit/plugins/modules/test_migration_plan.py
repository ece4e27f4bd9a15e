# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``migration_plan`` on estates that are given: what selects VMs, and which moves are under way already."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import hosts_of, request_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import new_run, state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, Drs, Estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE, Home, encode_home
from ansible_collections.liveml.vsphere.plugins.modules.migration_plan import SPEC, body

from tests.builders.estates import estate, host, vm
from tests.builders.journals import write_run
from tests.builders.storage import store, stored
from tests.builders.storage import world as world_of_stores
from tests.doubles.vcenter import Agreeing


def requested(world: Estate, folder: Path, **options: Any) -> PlanRequest:
    """What these options of the module plan."""
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate({"state_dir": str(folder), **options}).validated_parameters
    return request_of(params, world, hosts_of(params, world), None)


@pytest.mark.parametrize(
    "other",
    [{"destination": "esx-2"}, {"scope": "storage", "datastore": "shared"}, {"drs": "follow"}, {"use_homes": True}],
)
def test_a_destination_cluster_excludes_what_keeps_a_vm_in_its_cluster(other: dict[str, Any], tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [vm(1)])
    with pytest.raises(InvalidInput, match="destination_cluster cannot be combined with"):
        requested(world, tmp_path, host="esx-1", destination_cluster="c", **other)
    assert requested(world, tmp_path, host="esx-1", destination_cluster="c").cluster == "c"


@pytest.mark.parametrize("property_", ["runtime.host", "customValue"])
def test_a_restore_refuses_by_name_what_it_cannot_see(property_: str, tmp_path: Path) -> None:
    """Without a refusal the run would say that no VM has to come home, and succeed."""
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    hides_place = property_ == "runtime.host"
    lost = vm(1, on=2, attributes={ATTRIBUTE: encode_home(home)} if hides_place else {})
    if hides_place:
        lost = replace(lost, host="")
    world = estate([host(1), host(2)], [lost, vm(2)], unreadable={"vm-1": frozenset({property_})})
    for where in ({"host": "esx-1"}, {"fault_domain": "a"}):
        plan = make_plan(world, requested(world, tmp_path, use_homes=True, **where))
        assert plan.moves == ()
        refused = [(refusal.vm, [(r.check, r.object) for r in refusal.reasons]) for refusal in plan.refusals]
        assert refused == [("vm-1", [("unreadable", f"ml-1: {property_}")])]


def test_each_evacuation_refuses_once_a_vm_whose_host_is_not_shown(tmp_path: Path) -> None:
    world = estate([host(1), host(2), host(3, "b")], [replace(vm(1), host=""), vm(2)])
    for where in ({"host": "esx-1"}, {"fault_domain": "a"}):
        plan = make_plan(world, requested(world, tmp_path, **where))
        assert [(r.vm, r.blocking, [x.object for x in r.reasons]) for r in plan.refusals][:1] == [
            ("vm-1", True, ["ml-1: runtime.host"])
        ]
        assert len({refusal.vm for refusal in plan.refusals}) == len(plan.refusals)


@pytest.mark.parametrize(
    ("upto", "task", "inferred"),
    [
        (5, "task-9", False),
        (5, "task-10", True),  # the journal's task ended, and another one moves the VM
        (4, "task-9", True),  # killed before it knew its task
    ],
)
def test_only_a_task_that_a_journal_names_is_the_runs_own(upto: int, task: str, inferred: bool, tmp_path: Path) -> None:
    write_run(new_run(state_path(str(tmp_path)), Purpose.EVACUATE, "esx-5"), upto=upto)
    world = estate([host(5), host(6)], [vm(4, on=5, moving_task=task)])
    plan = make_plan(world, requested(world, tmp_path, host="esx-5"))
    assert [(move.target, move.task, move.inferred) for move in plan.moves] == [("host-6", task, inferred)]


class Restless(Agreeing):
    """A vCenter where VM 1 leaves host 1 and VM 2 is deleted as soon as the host's lock is held and the estate was read."""

    def __init__(self) -> None:
        hosts = [host(1), host(2), host(3)]
        first = estate(hosts, [vm(1), vm(2), vm(3)])
        self.readings = [first, first, estate(hosts, [vm(1, on=2), vm(3)])]

    def estate_of_hosts(self, **_options: Any) -> Estate:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Estate:
        return self.readings.pop(0)

    def mover(self, _vm: str, _host: str) -> str:
        return ""

    def missing_to_move(self, _vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return {}

    def closed_pools(self, _pools: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def without_space(self, _datastores: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def editable_clusters(self, _clusters: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def devices(self, world: Estate, vms: tuple[str, ...]) -> Estate:
        assert vms == ("vm-1", "vm-2", "vm-3")
        return replace(world, vms={**world.vms, "vm-3": replace(world.vms["vm-3"], cpu_affinity=True)})


def test_a_plan_is_made_of_one_reading(tmp_path: Path) -> None:
    """A VM that left its host meanwhile is not moved from its new host, and a deleted VM does not crash the module."""
    params = (
        ArgumentSpecValidator(deepcopy(SPEC))
        .validate({"state_dir": str(tmp_path), "host": "esx-1"})
        .validated_parameters
    )
    told = body(SimpleNamespace(params=params, check_mode=False, warn=print), Restless())
    assert {(move["vm"], move["source"]) for move in told["moves"]} == {("vm-1", "host-1"), ("vm-2", "host-1")}
    assert [refusal["vm"] for refusal in told["refusals"]] == ["vm-3"]


def test_a_disk_that_the_vm_does_not_have_is_an_error(tmp_path: Path) -> None:
    class Still(Restless):
        def estate(self, **_options: Any) -> Estate:
            return world_of_stores([store("a", "1"), store("b", "1")], stored(1, ("a", 1), ("a", 5)))

        def devices(self, world: Estate, vms: tuple[str, ...]) -> Estate:
            return world

    options = {"vms": ["ml-1"], "scope": "storage", "disk_datastores": {"Hard disk 7": "name-b"}}
    params = (
        ArgumentSpecValidator(deepcopy(SPEC)).validate({"state_dir": str(tmp_path), **options}).validated_parameters
    )
    with pytest.raises(NotFound, match="ml-1 does not have a disk named Hard disk 7"):
        body(SimpleNamespace(params=params, check_mode=False, warn=print), Still())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "No option selects VMs"),
        ({"vms": [], "patterns": [], "folders": [], "attributes": {}}, "No option selects VMs"),
        ({"destination": "esx-2"}, "No option selects VMs"),
        ({"host": ""}, "host is empty"),
        ({"fault_domain": ""}, "fault_domain is empty"),
        ({"vms": ["ml-1"], "destination": ""}, "destination is empty"),
    ],
)
def test_what_selects_nothing_never_means_every_vm(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [vm(1), vm(2, on=2)])
    with pytest.raises(InvalidInput, match=words):
        requested(world, tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "vms"),
    [
        ({"host": "esx-1"}, ("vm-1",)),
        ({"fault_domain": "a"}, ("vm-1", "vm-2")),
        ({"vms": ["ml-2"]}, ("vm-2",)),
        ({"patterns": ["*"]}, ("vm-1", "vm-2")),
        ({"host": "esx-1", "patterns": ["ml-2"]}, ()),
    ],
)
def test_any_criterion_selects(options: dict[str, Any], vms: tuple[str, ...], tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [vm(1), vm(2, on=2)])
    assert requested(world, tmp_path, **options).vms == vms


def test_a_restore_waits_for_the_moves_of_a_killed_evacuation(tmp_path: Path) -> None:
    """The VM still is at home, and on its way to where the evacuation sent it."""
    write_run(new_run(state_path(str(tmp_path)), Purpose.EVACUATE, "esx-5"), upto=5)
    world = estate([host(5), host(6)], [vm(4, on=5, moving_task="task-9")])
    restore = make_plan(world, requested(world, tmp_path, host="esx-5", use_homes=True))
    assert (restore.moves, restore.settled) == ((), ())
    assert [reason.check for refusal in restore.refusals for reason in refusal.reasons] == ["already_moving"]
    again = make_plan(world, requested(world, tmp_path, host="esx-5"))
    assert [(move.target, move.task) for move in again.moves] == [("host-6", "task-9")]


class Asked(Agreeing):
    """A vCenter that notes for which clusters it was asked whether the user may edit them, and says yes."""

    def without_space(self, datastores: Iterable[str]) -> frozenset[str]:
        assert not tuple(datastores)  # no files move
        return frozenset()

    def __init__(self, world: Estate) -> None:
        self.world = world
        self.asked: list[set[str]] = []

    def estate_of_hosts(self, **_options: Any) -> Estate:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Estate:
        return self.world

    def mover(self, _vm: str, _host: str) -> str:
        return ""

    def devices(self, world: Estate, _vms: Iterable[str]) -> Estate:
        return world

    def missing_to_move(self, _vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return {}

    def closed_pools(self, _pools: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def editable_clusters(self, clusters: Iterable[str]) -> frozenset[str]:
        self.asked.append(set(clusters))
        return frozenset(self.asked[-1])


@pytest.mark.parametrize(
    ("options", "how", "asked"),
    [
        ({"host": "esx-1"}, ["pin"], {"c"}),
        ({"host": "esx-1", "drs": "follow"}, ["follow"], set()),
        ({"fault_domain": "a"}, ["pin"], {"c"}),
        ({"vms": ["ml-1"]}, ["pin"], {"c"}),
        ({"vms": ["ml-1"], "drs": "follow"}, ["allow"], set()),
        ({"host": "esx-1", "use_homes": True}, [], set()),
    ],
)
def test_drs_is_handled_if_it_may_move_a_planned_vm(
    options: dict[str, Any], how: list[str], asked: set[str], tmp_path: Path
) -> None:
    drs = {"c": Drs(Automation.FULL, overrides_allowed=True, overrides={})}
    vcenter = Asked(estate([host(1), host(2, "b")], [vm(1)], drs=drs))
    params = (
        ArgumentSpecValidator(deepcopy(SPEC)).validate({"state_dir": str(tmp_path), **options}).validated_parameters
    )
    told = body(SimpleNamespace(params=params, check_mode=False, warn=print), vcenter)
    assert [decision["how"] for decision in told["plan"]["drs"]] == how
    assert vcenter.asked == [asked]
    assert [line for line in told["lines"] if "DRS" in line] == [decision["why"] for decision in told["plan"]["drs"]]
