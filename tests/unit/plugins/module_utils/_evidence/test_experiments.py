# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a move cost a training: never its end, and nothing if it did not survive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.experiments import throughputs
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Sample, Verdict

EXPERIMENT = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://x")
MOVE = (40.0, 80.0)


def trained(until: float = 90.0, *, frozen: tuple[float, float] = (0.0, 0.0)) -> list[Sample]:
    """A training of 10 steps per second, asked 10 times per second; nothing answers while it is frozen."""
    at, length = frozen
    return [
        Sample(
            n / 10, n / 10 + 0.004, "answered", "1", "RUNNING", step=float(n if n / 10 < at or not length else n - int(10 * length))
        )
        for n in range(int(10 * until))
        if not at <= n / 10 < at + length
    ]  # fmt: skip


def cost(samples: list[Sample], verdict: Verdict = Verdict.UNINTERRUPTED) -> tuple[float, float] | None:
    found = throughputs(EXPERIMENT, verdict, samples, [MOVE])
    assert found is not None
    known = found["cost"]
    return None if known is None else (known["low"], known["high"])


def test_the_end_of_a_training_costs_its_move_nothing() -> None:
    """It ends in the middle of the move, and its server answers until the end of the watch."""
    done = [replace(trained(51.0)[-1], sent=n / 10, received=n / 10 + 0.004, status="DONE") for n in range(510, 900)]
    found = cost([*trained(51.0), *done], Verdict.COMPLETED)
    assert found is not None
    assert found[0] <= 0.0 <= found[1] < 1.0


@pytest.mark.parametrize("start", [50.0, 78.0, 79.9])
def test_a_stall_that_lasts_beyond_the_end_of_the_task_is_a_cost_of_the_move(start: float) -> None:
    """The task ends at 80 s; the network finds the VM up to 3 s later."""
    found = cost(trained(frozen=(start, 3.0)))
    assert found is not None
    assert found[0] <= 3.0 <= found[1]


@pytest.mark.parametrize("outcome", ["silent", "refused", "job_missing"])
@pytest.mark.parametrize("verdict", [Verdict.LOST, Verdict.UNKNOWN])
def test_what_is_not_seen_after_a_move_has_no_cost(outcome: str, verdict: Verdict) -> None:
    dead = [Sample(n / 10, n / 10 + 0.004, outcome) for n in range(500, 900)]
    assert cost([*trained(50.0), *dead], verdict) is None


@pytest.mark.parametrize("verdict", [Verdict.RESTARTED, Verdict.FAILED])
def test_a_training_that_did_not_continue_as_before_has_no_cost(verdict: Verdict) -> None:
    assert cost(trained(), verdict) is None
