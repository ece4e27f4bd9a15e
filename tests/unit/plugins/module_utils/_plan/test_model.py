# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a move says of itself, and what an older plan that does not say something means."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    DrsDecision,
    Move,
    PartMove,
    Plan,
    PlanRequest,
    Refusal,
    ServerChecks,
    SlotLimits,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.slots import next_moves
from ansible_collections.liveml.vsphere.plugins.modules.migration_plan import SPEC

STAYS, GOES = PartMove(0, "files", "a", "A", "a", "A", 5, "gold"), PartMove(1, "disk", "a", "A", "b", "B", 7)


def move(source: str = "host-1", target: str = "host-2", number: int = 1, **changes: Any) -> Move:
    return Move(number, f"vm-{number}", f"ml-{number}", source, source, target, target, 1, 1.0, **changes)


@pytest.mark.parametrize("kind", [Move, PartMove, ServerChecks, DrsDecision, Plan])
def test_what_a_plan_does_not_say_is_not_claimed(kind: Any) -> None:
    """Plans of older versions lack fields. That the free vGPUs of a target are unknown is said, not that they are known."""
    given = {each.name: each.default for each in fields(kind) if each.default is not MISSING}
    given.pop("checks", None)
    assert given.pop("free_vgpus_known", True)
    assert not any(given.values())


@pytest.mark.parametrize(
    ("host", "places", "arrived"),
    [
        ("host-2", {0: "a", 1: "b"}, True),
        ("host-2", {0: "a", 1: "b", 2: "z"}, True),  # a disk that was added meanwhile
        ("host-2", {0: "a", 1: "a"}, False),
        ("host-2", {1: "b"}, False),
        ("host-1", {0: "a", 1: "b"}, False),
        (None, {0: "a", 1: "b"}, False),
    ],
)
def test_a_vm_has_arrived_with_all_its_files(host: str | None, places: dict[int, str], arrived: bool) -> None:
    assert move(parts=(STAYS, GOES)).has_arrived(host, places) is arrived
    assert move().has_arrived(host, places) is (host == "host-2")


def test_what_a_move_changes() -> None:
    moves = (move(), move(target="host-1"), move(target="host-1@other"), move("host-1@other", "host-2@other"))
    assert [(each.changes_host, each.changes_vcenter) for each in moves] == [
        (True, False), (False, False), (True, True), (True, False),
    ]  # fmt: skip


def test_where_the_files_of_a_move_were_and_will_be() -> None:
    made = move(parts=(STAYS, GOES))
    assert (made.sources, made.targets) == ({0: "a", 1: "a"}, {0: "a", 1: "b"})
    assert (made.storage_bytes, made.policies) == (7, {0: "gold"})
    assert (move().sources, move().storage_bytes) == ({}, 0)


def test_by_default_hosts_and_datastores_carry_what_vsphere_allows() -> None:
    """Eight vMotions of a host, and eight storage moves of a datastore (vSphere's limits for 10GbE)."""
    hosts = [move("host-0", f"host-{n}", n) for n in range(1, 13)]
    stores = [move(f"host-{n}", f"host-{n + 50}", n, parts=(GOES,)) for n in range(1, 13)]
    assert [len(next_moves(moves, (), SlotLimits())) for moves in (hosts, stores)] == [8, 8]


def test_a_request_keeps_free_what_the_options_keep_free_by_default() -> None:
    request = PlanRequest(())
    shares = (request.memory_headroom, request.cpu_headroom, request.storage.headroom)
    options = ("memory_headroom", "cpu_headroom", "storage_headroom")
    assert [100 * share for share in shares] == [SPEC[option]["default"] for option in options]


def test_a_vm_that_stays_prevents_maintenance_mode_unless_it_is_known_not_to() -> None:
    assert Refusal("vm-1", "ml-1", ()).blocking
