# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_migrate``: what it takes for a run."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import failures_of, verdict_text
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Ended,
    MoveResult,
    Outcome,
    RolledBack,
    RunReport,
    RunRequest,
)
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import (
    SPEC,
    request_of,
    result_of,
    warn_of_arrivals,
    warn_of_homes,
)

from tests.builders.estates import INFO


def asked(folder: Path, *, check: bool = False, **options: Any) -> RunRequest:
    """The run that these options of the module ask for."""
    given = {"plan": {}, "state_dir": str(folder), **options}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    return request_of(SimpleNamespace(params=params, check_mode=check), Plan("p", INFO, ()), None, [])


@pytest.mark.parametrize("most", [0, -1])
@pytest.mark.parametrize("policy", ["stop", "rollback", "continue"])
def test_no_failure_at_all_is_no_limit_of_failures(most: int, policy: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"max_failures is {most}"):
        asked(tmp_path, max_failures=most, on_failure=policy)


def test_a_move_is_tried_as_often_as_asked(tmp_path: Path) -> None:
    assert (asked(tmp_path).rules.retries, asked(tmp_path, retries=0).rules.retries) == (2, 0)
    with pytest.raises(InvalidInput, match="retries is -1"):
        asked(tmp_path, retries=-1)


def test_the_defaults_are_valid(tmp_path: Path) -> None:
    assert asked(tmp_path).rules.max_failures == 1


def test_check_mode_makes_no_state_directory(tmp_path: Path) -> None:
    assert asked(tmp_path / "state", check=True).state == tmp_path / "state"
    assert not (tmp_path / "state").exists()
    assert asked(tmp_path / "state").state.is_dir()


def test_a_fence_needs_a_host(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no host") as refused:
        asked(tmp_path, fence=True)
    assert refused.value.option == "fence"


LOST = Judgement(
    Experiment("vm-1", "ML-1", "h2o3", "$03017f00000132d4ffffffff$_adf5", "1", "", description="GBM gbm_1"),
    Verdict.LOST, "unknown", "unknown", "unknown", None, None, 0.1, 0.3, detail="its process is gone",
)  # fmt: skip


def reported(*results: MoveResult, stopped: str, interrupted: bool = False, back: bool = False) -> dict[str, Any]:
    """What the module returns for these moves, of which the first lost its experiment."""
    moves = [
        Move(n, f"vm-{n}", f"ML-{n}", "h5", "esx-05", "h6", "esx-06", 2**30, 9.0) for n in range(1, len(results) + 1)
    ]
    ended = tuple(
        Ended(
            move,
            result,
            "h6" if result is MoveResult.MOVED else "h5",
            "esx-06" if result is MoveResult.MOVED else "esx-05",
        )
        for move, result in zip(moves, results, strict=True)
    )
    outcome = Outcome(ended, (LOST,), stopped, interrupted)
    rolled_back = RolledBack(Outcome((), (LOST,)), ()) if back else None
    return result_of(RunReport("r1", None, outcome, failures_of(outcome), rolled_back=rolled_back))


def test_an_interrupted_experiment_is_named_once_and_no_move_is_said_to_be_missing_if_all_were_made() -> None:
    told = "GBM gbm_1 in ML-1 was lost: its process is gone."
    stopped = verdict_text(LOST)
    assert reported(MoveResult.MOVED, MoveResult.MOVED, stopped=stopped)["failure"] == told
    assert reported(MoveResult.MOVED, stopped=stopped, back=True)["failure"] == told
    some = reported(MoveResult.MOVED, MoveResult.NOT_STARTED, stopped=stopped)["failure"]
    assert some == f"ML-2 was left on esx-05 (not started). {told} No further move was started."


def test_why_a_run_stopped_is_said_if_no_failure_says_it() -> None:
    ctrl_c = "the run was interrupted; moves in flight were completed, no further move was started"
    told = reported(MoveResult.MOVED, stopped=ctrl_c, interrupted=True)["failure"]
    assert told == f"GBM gbm_1 in ML-1 was lost: its process is gone. The {ctrl_c[4:]}."
    failed = reported(MoveResult.FAILED, stopped="the move of ML-1 failed (NoPermission)", back=True)["failure"]
    assert failed.endswith("The move of ML-1 failed (NoPermission).")


@pytest.mark.parametrize(("names", "warned"), [(("ml-1", "ml-2"), True), ((), False)])
def test_vms_whose_homes_no_other_controller_finds_are_named(names: tuple[str, ...], warned: bool) -> None:
    said = list[str]()
    warn_of_homes(SimpleNamespace(warn=said.append), RunReport("r", None, Outcome((), ()), homes_in_journal=names))
    assert [text.startswith("The homes of ml-1, ml-2 are in the journal alone") for text in said] == [True] * warned


@pytest.mark.parametrize(
    ("arrived", "begins"),
    [
        ((), []),
        (("ml-1", "ml-9"), ["Before esx-1 was fenced, these VMs were placed or powered on there: ml-1, ml-9. "]),
        (None, ["It is not known whether other VMs were placed or powered on on esx-1 before it was fenced. "]),
    ],
)
def test_the_vms_are_named_that_leave_the_host_unwatched(arrived: tuple[str, ...] | None, begins: list[str]) -> None:
    said = list[str]()
    module = SimpleNamespace(warn=said.append, params={"host": "esx-1"})
    warn_of_arrivals(module, RunReport("r", None, Outcome((), ()), arrived=arrived))  # type: ignore[arg-type]
    assert [text.startswith(begin) for text, begin in zip(said, begins, strict=True)] == [True] * len(begins)
