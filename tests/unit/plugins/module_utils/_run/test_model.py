# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run is asked to do, and how people hear of its end."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Account,
    Ended,
    MoveResult,
    Outcome,
    Purpose,
    RolledBack,
    Rules,
    RunReport,
    RunRequest,
    WitnessRequest,
    run_key,
)
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import SPEC, request_of

from tests.builders.estates import INFO, host

ENDED = {
    result: Ended(Move(n, f"vm-{n}", result, "host-1", "", "host-2", "", 1, 1.0), result, None, "")
    for n, result in enumerate(MoveResult, 1)
}


def request(*vms: str, at_host: bool = True) -> RunRequest:
    moves = tuple(Move(1, vm, vm.replace("vm", "ml"), "host-1", "", "host-2", "", 1, 1.0) for vm in vms)
    return RunRequest(Plan("p", INFO, moves), Purpose.MIGRATE, host(5) if at_host else None, Path("s"), Rules())


def test_a_run_without_options_keeps_the_rules_that_the_module_documents(tmp_path: Path) -> None:
    given = {"plan": {}, "state_dir": str(tmp_path)}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    asked: Any = SimpleNamespace(params=params, check_mode=True)
    documented = request_of(asked, Plan("p", INFO, ()), None, [])
    plain = RunRequest(documented.plan, documented.purpose, None, documented.state, Rules())
    assert documented == plain


@pytest.mark.parametrize(
    ("outcome", "reason", "sentence"),
    [
        ("back", "", "ml-1 is back on esx-1"),
        ("stayed", "locked", "ml-1 stayed on esx-1 (locked)"),
        ("stayed", "", "ml-1 stayed on esx-1"),
        ("never_left", "too slow", "ml-1 was left on esx-1 (too slow)"),
        ("elsewhere", "", "ml-1 is on esx-1, where this run did not put it"),
        ("gone", "", "ml-1 is no longer in vCenter"),
    ],
)
def test_where_a_vm_is_after_a_rollback(outcome: str, reason: str, sentence: str) -> None:
    assert Account("vm-1", "ml-1", "esx-1", outcome, reason).sentence == sentence


def test_a_vm_that_was_deleted_is_neither_moved_nor_left_behind() -> None:
    outcome = Outcome(tuple(ENDED.values()), ())
    assert [ended.result for ended in outcome.moved] == ["moved"]
    assert [ended.result for ended in outcome.left_behind] == ["failed", "cancelled", "timed_out", "not_started"]


def test_after_a_rollback_the_vms_count_that_it_did_not_bring_back() -> None:
    outcome = Outcome(tuple(ENDED.values()), ())
    forward = RunReport("r", None, outcome)
    assert forward.left_behind == ("failed", "cancelled", "timed_out", "not_started")
    names = ("back", "stayed", "never_left", "elsewhere", "gone")
    accounts = tuple(Account(name, name, "esx", name) for name in names)
    back = RunReport("r", None, outcome, rolled_back=RolledBack(outcome, accounts))
    assert back.left_behind == ("stayed", "never_left")
    assert not any((forward.failures, forward.resumed, forward.fenced, forward.fence_lifted, outcome.interrupted))


def test_a_run_works_for_its_host_else_for_its_vms() -> None:
    assert request("vm-1", "vm-2").key == request().key == "uuid.host-5"
    assert request("vm-2", "vm-1", at_host=False).key == request("vm-1", "vm-2", at_host=False).key == "uuid.vm-1+vm-2"
    assert [request("vm-1", "vm-2", at_host=at_host).subject for at_host in (True, False)] == ["esx-5", "ml-1,ml-2"]


def test_a_witness_never_blocks_a_run_that_moves() -> None:
    seen = WitnessRequest(INFO, "host-5", (), ("host-5",), 1.0, Path("s"))
    assert seen.key != request().key
    assert seen.key.startswith("uuid.")
    assert not seen.until_returned
    assert seen.stall_budget == request().stall_budget, "a stall is as long for a witness"


@pytest.mark.parametrize(
    ("host_", "key"), [("host-1@uuid 2/x", "u.host-1_uuid_2_x"), ("../etc", "u..._etc"), ("x" * 500, "u." + "x" * 198)]
)
def test_a_key_is_the_name_of_a_file(host_: str, key: str) -> None:
    assert run_key("u", host_) == key
