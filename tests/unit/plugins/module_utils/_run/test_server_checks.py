# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vCenter is asked about each planned move; what it rejects is planned elsewhere, and what it does not answer is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    PermissionMissing,
    TaskTimeout,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, PartMove, PlanRequest, Policy
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.server_checks import (
    MAX_ROUNDS,
    checked_plan,
    relocation_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Checked,
    InventoryPlace,
    Maintenance,
    Pool,
    Relocation,
)

from tests.builders.estates import GIB, estate, host, vm

CPU = ("FeatureRequirementsNotMet",)
Pair = tuple[str, str]


class Checking:
    """A vCenter whose checks find faults: ``general`` and ``single`` are errors by VM and host."""

    def __init__(self, general: Any = None, single: Any = None, warnings: dict[Pair, tuple[str, ...]] | None = None):
        self.general, self.single, self.warnings = general or {}, single or {}, warnings or {}
        self.asked: list[list[Pair]] = []
        self.compared: list[tuple[list[str], list[str]]] = []

    def compatible(self, vms: Iterable[str], hosts: Iterable[str]) -> dict[Pair, Checked]:
        self.compared.append((list(vms), list(hosts)))
        if isinstance(self.general, Exception):
            raise self.general
        return {pair: Checked(errors) for pair, errors in self.general.items()}

    def check_moves(self, moves: Sequence[Relocation]) -> list[Checked]:
        self.asked.append([(move.vm, move.host or "") for move in moves])
        if isinstance(self.single, Exception):
            raise self.single
        return [Checked(self.single.get(pair, ()), self.warnings.get(pair, ())) for pair in self.asked[-1]]


def planned(vcenter: Any, hosts: int = 4, vms: int = 2, **changes: Any) -> Any:
    world = estate([host(n) for n in range(1, hosts + 1)], [vm(n) for n in range(1, vms + 1)])
    request = PlanRequest(tuple(f"vm-{n}" for n in range(1, vms + 1)), **changes)
    return checked_plan(vcenter, world, request)


def said(plan: Any) -> list[str]:
    """What the plan says of vCenter's checks."""
    return [line for line in plan_lines(plan) if line.startswith("vCenter ")]


def targets(plan: Any) -> dict[str, str]:
    return {move.vm: move.target for move in plan.moves}


def test_a_plan_that_vcenter_accepts_without_a_warning_needs_no_line() -> None:
    vcenter = Checking()
    plan = planned(vcenter)
    assert vcenter.compared == [(["vm-1", "vm-2"], ["host-1", "host-2", "host-3", "host-4"])]
    assert [sorted(asked) for asked in vcenter.asked] == [sorted(targets(plan).items())]
    assert said(plan) == []
    assert plan.checks.checked == 2


def test_checks_do_not_change_the_id_of_a_plan_and_survive_json() -> None:
    world = estate([host(1), host(2)], [vm(1)])
    checked = checked_plan(
        Checking(warnings={("vm-1", "host-2"): ("DeviceNotSupported",)}), world, PlanRequest(("vm-1",))
    )
    assert checked.plan_id == make_plan(world, PlanRequest(("vm-1",))).plan_id
    assert plan_from_dict(plan_to_dict(checked)) == checked
    older = {key: value for key, value in plan_to_dict(checked).items() if key != "checks"}
    assert plan_from_dict(older).checks.checked == 0
    assert said(checked) == [
        "vCenter checked 1 move, and prevents none of them. It warns, which does not prevent a move: ml-1 → esx-2: DeviceNotSupported."
    ]


@pytest.mark.parametrize("where", ["general", "single"])
def test_a_host_that_vcenter_rejects_is_no_target(where: str) -> None:
    vcenter = Checking(**{where: {("vm-1", "host-2"): CPU, ("vm-1", "host-3"): CPU}})
    plan = planned(vcenter)
    assert targets(plan)["vm-1"] == "host-4"
    assert plan.checks.checked == 2


def test_a_vm_that_vcenter_moves_nowhere_stays_with_the_reason_of_each_host() -> None:
    plan = planned(Checking(single={("vm-1", f"host-{n}"): CPU for n in (2, 3, 4)}))
    assert targets(plan).keys() == {"vm-2"}
    [refusal] = plan.refusals
    [reason] = refusal.reasons
    assert reason.check == "vcenter_check"
    assert reason.object == ", ".join(f"esx-{n}: FeatureRequirementsNotMet" for n in (2, 3, 4))
    assert refusal.blocking


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (CallFailed("vCenter could not check the move: NotSupported", fault="NotSupported"), "NotSupported"),
        (PermissionMissing("The user is not allowed to check the move", privilege="System.View"), "not allowed"),
        (TaskTimeout("vCenter did not finish its checks within 120 s", last_state="running"), "within 120 s"),
    ],
)
def test_no_answer_is_not_a_yes(problem: Exception, why: str) -> None:
    plan = planned(Checking(general=problem, single=problem))
    assert len(plan.moves) == 2, "the own checks decide"
    assert (plan.checks.checked, plan.checks.unchecked) == (0, 2)
    line = said(plan)[-1]
    assert line.startswith("vCenter did not check 2 moves: ")
    assert why in line
    assert line.endswith("What only vCenter knows may still prevent them.")


def test_the_comparison_counts_if_the_single_checks_fail() -> None:
    fails = CallFailed("vCenter could not check the move: NotSupported", fault="NotSupported")
    plan = planned(Checking(general={("vm-1", "host-2"): CPU}, single=fails))
    assert targets(plan)["vm-1"] != "host-2"
    assert plan.checks.unchecked == 2


def test_the_single_checks_count_if_the_comparison_fails() -> None:
    fails = CallFailed("vCenter could not check the VMs with the hosts: NotSupported", fault="NotSupported")
    plan = planned(Checking(general=fails, single={("vm-1", "host-2"): CPU}))
    assert targets(plan)["vm-1"] != "host-2"
    assert (plan.checks.checked, plan.checks.unchecked) == (2, 0)


def test_moves_that_could_not_all_be_checked_are_counted() -> None:
    hosts = MAX_ROUNDS + 3
    rejected = {("vm-1", f"host-{n}"): CPU for n in range(2, hosts)}
    plan = planned(Checking(single=rejected), hosts=hosts, vms=1)
    assert targets(plan) == {"vm-1": f"host-{2 + MAX_ROUNDS}"}
    assert (plan.checks.checked, plan.checks.unchecked) == (0, 1)
    assert "it gave no answer for them" in said(plan)[-1]


def test_a_host_that_is_not_in_service_yet_is_only_compared() -> None:
    world = estate([host(1), host(2, maintenance=Maintenance.NORMAL)], [vm(1)])
    vcenter = Checking()
    plan = checked_plan(vcenter, world, PlanRequest(("vm-1",), destinations={"vm-1": "host-2"}), ["host-2"])
    assert vcenter.asked == []
    assert vcenter.compared == [(["vm-1"], ["host-1", "host-2"])]
    assert "vCenter did not check 1 move: esx-2 is not in service yet." in said(plan)[-1]


def test_a_move_under_way_and_an_empty_plan_ask_nothing() -> None:
    vcenter = Checking()
    world = estate([host(1), host(2)], [vm(1, moving_task="task-7")])
    plan = checked_plan(vcenter, world, PlanRequest(("vm-1",), moving={"vm-1": ("host-2", "task-7")}))
    assert [move.task for move in plan.moves] == ["task-7"]
    assert (vcenter.asked, vcenter.compared) == ([], [])
    assert said(plan) == []


PLACE = InventoryPlace("far", "pool-1", "ml", "", "")
FILES = (PartMove(0, "files", "a", "A", "b", "B", policy="gold"), PartMove(1, "disk", "a", "A", "a", "A"))


@pytest.mark.parametrize(
    ("target", "parts", "host_"),
    [("host-2", (), "host-2"), ("host-2", FILES, "host-2"), ("host-1", FILES, None), ("host-1", (), "host-1")],
)
def test_vcenter_is_asked_for_exactly_the_move(target: str, parts: tuple[PartMove, ...], host_: str | None) -> None:
    move = Move(1, "vm-1", "ml-1", "host-1", "", target, "", 1, 1.0, parts=parts, place_after=PLACE)
    asked = relocation_of(move)
    assert (asked.vm, asked.host, asked.place) == ("vm-1", host_, PLACE)
    assert (dict(asked.files), dict(asked.policies)) == (({0: "b", 1: "a"}, {0: "gold"}) if parts else ({}, {}))


@pytest.mark.parametrize(
    ("maintenance", "compared"),
    [(Maintenance.NORMAL, ["host-1", "host-2", "host-3"]), (Maintenance.IN, ["host-1", "host-2"])],
)
def test_hosts_of_the_cluster_that_are_in_service_may_be_targets(maintenance: Maintenance, compared: list[str]) -> None:
    vcenter = Checking()
    hosts = [host(1), host(2), host(3, memory_used_bytes=80 * GIB, maintenance=maintenance), host(4, cluster="d")]
    checked_plan(vcenter, estate(hosts, [vm(1)]), PlanRequest(("vm-1",)))  # type: ignore[arg-type]
    assert vcenter.compared == [(["vm-1"], compared)]


def test_the_comparison_does_not_count_for_another_cluster() -> None:
    """It does not know which networks a VM gets there; the single check does."""
    pools = {f"pool-{c}": Pool(f"pool-{c}", "", c) for c in "cd"}
    world = estate([host(1), host(2, cluster="d", cluster_name="d")], [vm(1, pool="pool-c")], pools=pools)
    request = PlanRequest(("vm-1",), Policy.ANY, cluster="d")
    there = ("vm-1", "host-2")
    plan = checked_plan(Checking(general={there: CPU}), world, request)  # type: ignore[arg-type]
    assert (targets(plan), plan.checks.checked) == ({"vm-1": "host-2"}, 1)
    refused = checked_plan(Checking(single={there: CPU}), world, request)  # type: ignore[arg-type]
    assert [reason.check for reason in refused.refusals[0].reasons] == ["vcenter_check"]


def test_what_was_asked_once_is_not_asked_again() -> None:
    vcenter = Checking(single={("vm-1", "host-2"): CPU, ("vm-1", "host-3"): CPU})
    plan = planned(vcenter, vms=1)
    asked = [pair for moves in vcenter.asked for pair in moves]
    assert len(asked) == len(set(asked)) == 3
    assert (targets(plan), plan.checks.checked, plan.checks.unchecked) == ({"vm-1": "host-4"}, 1, 0)


def test_warnings_and_unchecked_moves_are_counted_by_themselves() -> None:
    hosts = [host(1), host(2), host(3)]
    world = estate(hosts, [vm(1), vm(2)])
    request = PlanRequest(("vm-1", "vm-2"), destinations={"vm-1": "host-2", "vm-2": "host-3"})
    vcenter = Checking(warnings={("vm-1", "host-2"): ("Old", "Slow"), ("vm-2", "host-3"): ("Never asked",)})
    plan = checked_plan(vcenter, world, request, assumed=["host-3"])  # type: ignore[arg-type]
    assert vcenter.asked == [[("vm-1", "host-2")]]
    assert plan.checks.warnings == ("ml-1 → esx-2: Old", "ml-1 → esx-2: Slow")
    assert (plan.checks.checked, plan.checks.unchecked, plan.checks.why_unchecked) == (
        1,
        1,
        "esx-3 is not in service yet",
    )


@pytest.mark.parametrize(("hint", "why"), [("", "It is down."), ("Start it", "It is down. Start it")])
def test_after_an_error_vcenter_is_not_asked_again_and_the_reason_is_given(hint: str, why: str) -> None:
    vcenter = Checking(single=CallFailed("It is down.", fault="X", hint=hint))
    plan = planned(vcenter)
    assert len(vcenter.asked) == 1
    assert (plan.checks.checked, plan.checks.unchecked, plan.checks.why_unchecked) == (0, 2, why)


def test_an_answer_for_each_move_is_needed() -> None:
    """Else the answers would be those of other moves."""

    class Forgetful(Checking):
        def check_moves(self, moves: Sequence[Relocation]) -> list[Checked]:
            return super().check_moves(moves)[1:]

    with pytest.raises(ValueError, match="zip"):
        planned(Forgetful())
