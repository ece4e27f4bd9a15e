# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When Storage DRS is asked for datastores, and what an operator hears of its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    PermissionMissing,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Plan,
    PlanRequest,
    Policy,
    Scope,
    StorageRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.storage_drs import with_recommendations
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Relocation

from tests.builders.storage import store, stored, world
from tests.doubles.vcenter import Agreeing

BOTH = StorageRequest(scope=Scope.BOTH)
POD = replace(BOTH, datastores=frozenset({"b", "s"}))
FILES, DISK = 0, 2000
STORES = [store("a", "1"), store("b", "23", 900), store("g", "3"), store("s", "2", 300)]


def placed(plan: Plan) -> dict[int, tuple[str, str]]:
    """Datastore and policy of each part after the only move."""
    (move,) = plan.moves
    return {part.key: (part.target, part.policy) for part in move.parts}


class Advising(Agreeing):
    """A vCenter whose Storage DRS recommends one datastore, or fails."""

    def __init__(self, answers: dict[str, dict[int, str]], error: VsphereError | None = None) -> None:
        super().__init__()
        self.answers, self.error, self.asked = answers, error, list[tuple[str, str]]()

    def recommended_datastores(self, move: Relocation, cluster: str) -> dict[int, str]:
        self.asked.append((move.vm, cluster))
        if self.error is not None:
            raise self.error
        return self.answers.get(move.vm, {})


def balanced(storage: StorageRequest) -> tuple[Estate, PlanRequest]:
    """A datastore cluster of b and s with Storage DRS, and a request for the VM."""
    stores = [replace(each, cluster="pod", storage_drs="group-p1") if each.moid in "bs" else each for each in STORES]
    return world(stores, stored(1, ("a", 1), ("a", 40))), PlanRequest(vms=("vm-1",), policy=Policy.ANY, storage=storage)


def test_storage_drs_is_asked_for_the_datastore_cluster_that_was_named() -> None:
    made, request = balanced(replace(BOTH, datastores=frozenset({"b", "s"})))
    vcenter = Advising({"vm-1": {FILES: "s", DISK: "s"}})
    asked = with_recommendations(vcenter, made, request)  # type: ignore[arg-type]
    assert vcenter.asked == [("vm-1", "group-p1")]
    plan = make_plan(made, asked)
    assert placed(plan)[DISK] == ("s", "")
    assert plan.notes[0].startswith("Storage DRS of pod recommended the datastores.")
    silent = make_plan(made, with_recommendations(Advising({}), made, request))  # type: ignore[arg-type]
    assert placed(silent)[DISK] == ("b", "")
    assert "(it recommended none)" in silent.notes[0]
    failing = Advising({}, CallFailed("vCenter could not ask", fault="NotSupported"))
    assert "(vCenter could not ask)" in with_recommendations(failing, made, request).storage.advice[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("named", [set(), {"b"}, {"b", "s", "g"}])
def test_storage_drs_is_not_asked_for_anything_else(named: set[str]) -> None:
    made, request = balanced(replace(BOTH, datastores=frozenset(named)))
    vcenter = Advising({"vm-1": {FILES: "s", DISK: "s"}})
    assert with_recommendations(vcenter, made, request) == request  # type: ignore[arg-type]
    assert vcenter.asked == []


def advised(vcenter: Any, *vms: int, **changes: Any) -> PlanRequest:
    """The request for VMs of these numbers after Storage DRS was asked."""
    made, request = balanced(POD)
    machines = {f"vm-{n}": stored(n, ("a", 1), ("a", 40), **changes) for n in vms}
    return with_recommendations(vcenter, replace(made, vms=machines), replace(request, vms=tuple(machines)))


def test_the_vms_that_got_no_advice_are_named_once() -> None:
    vcenter = Advising({"vm-2": {FILES: "s", DISK: "s"}})
    (said,) = advised(vcenter, 3, 1, 2).storage.advice
    assert (
        said
        == "Storage DRS of pod did not choose the datastores of ml-1, ml-3 (it recommended none). The plan chose them."
    )
    assert len(vcenter.asked) == 3


@pytest.mark.parametrize(
    "error",
    [
        CallFailed("It is down.", fault="X"),
        ConnectError("It is down."),
        PermissionMissing("It is down.", privilege="p"),
    ],
)
def test_after_an_error_nothing_more_is_asked(error: VsphereError) -> None:
    vcenter = Advising({}, error)
    request = advised(vcenter, 1, 2)
    assert len(vcenter.asked) == 1
    assert request.storage.recommended == {}
    assert "of ml-1, ml-2 (It is down" in request.storage.advice[0]
    assert ".)" not in request.storage.advice[0]


def test_what_is_decided_already_is_not_asked() -> None:
    vcenter = Advising({})
    made, request = balanced(replace(POD, preferred={"vm-1": {FILES: "b", DISK: "b"}}))
    assert with_recommendations(vcenter, made, request).storage.advice == ()  # type: ignore[arg-type]
    here = replace(made, vms={"vm-1": replace(made.vms["vm-1"], moving_task="task-1")})
    flying = replace(
        request, storage=replace(POD, moving={"vm-1": {FILES: "b", DISK: "b"}}), moving={"vm-1": ("host-2", "task-1")}
    )
    assert make_plan(here, flying).moves[0].task == "task-1"
    with_recommendations(vcenter, here, flying)  # type: ignore[arg-type]
    stay = {
        moid: replace(each, datastores=frozenset({"b"}), parts=tuple(replace(p, datastore="b") for p in each.parts))
        for moid, each in made.vms.items()
    }
    with_recommendations(vcenter, replace(made, vms=stay), replace(request, storage=POD))  # type: ignore[arg-type]
    assert vcenter.asked == []


def test_a_part_that_the_advice_leaves_out_is_chosen_by_the_plan() -> None:
    made, request = balanced(POD)
    asked = with_recommendations(Advising({"vm-1": {FILES: "s"}}), made, request)  # type: ignore[arg-type]
    assert placed(make_plan(made, asked))[DISK] == ("b", "")
