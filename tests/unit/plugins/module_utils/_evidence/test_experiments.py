# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a move cost a training: never its end, and nothing if it did not survive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.experiments import throughputs
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Capabilities,
    Experiment,
    Sample,
    Verdict,
)

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


@pytest.mark.parametrize("start", [39.95, 39.2, 38.9])
def test_a_stall_that_begins_with_the_move_is_a_cost_of_it(start: float) -> None:
    """The first question of the move waits, or was asked before it: then the last answer is older than the move."""
    found = cost(trained(frozen=(start, 3.0)))
    assert found is not None
    assert found[0] <= 3.0 <= found[1]


@pytest.mark.parametrize(("begin", "end"), [(85.0, 115.0), (35.0, 60.0), (85.0, 125.0), (105.0, 170.0)])
def test_the_cost_of_moves_is_that_of_all_of_them(begin: float, end: float) -> None:
    """From ``begin`` to ``end`` no process watched. The training stood still for 3 s in each of two moves."""
    still = [(50.0, 3.0), (110.0, 3.0)]
    samples = [
        replace(s, step=s.sent * 10 - sum(10 * min(length, max(0.0, s.sent - at)) for at, length in still))
        for s in trained(160.0)
        if not any(at <= s.sent < at + length for at, length in still) and not begin <= s.sent < end
    ]
    found = throughputs(EXPERIMENT, Verdict.UNKNOWN, samples, [MOVE, (100.0, 120.0)])
    assert found is not None
    known = found["cost"]
    if end > 120.0:  # only the ends of the second move were seen, if at all
        assert known is None
        return
    assert known is not None
    assert known["low"] <= 6.0 <= known["high"]
    assert known["seconds"] == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("start", [50.0, 76.9])
def test_a_record_shows_what_a_move_cost_only_when_it_is_as_old(start: float) -> None:
    """It shows each step 20 s late; the switch-over is at the end of a vMotion."""
    by_record = replace(EXPERIMENT, capabilities=Capabilities("run", "changes", freshness=20.0))
    shown = [replace(s, sent=s.sent + 20.0, received=s.received + 20.0) for s in trained(110.0, frozen=(start, 3.0))]
    kept = [replace(s, step=0.0, sent=s.sent, received=s.received) for s in trained(20.0)]
    found = throughputs(by_record, Verdict.UNINTERRUPTED, [*kept, *shown], [MOVE])
    assert found is not None and found["cost"] is not None
    assert found["cost"]["low"] <= 3.0 <= found["cost"]["high"]


@pytest.mark.parametrize("outcome", ["silent", "refused", "job_missing"])
@pytest.mark.parametrize("verdict", [Verdict.LOST, Verdict.UNKNOWN])
def test_what_is_not_seen_after_a_move_has_no_cost(outcome: str, verdict: Verdict) -> None:
    dead = [Sample(n / 10, n / 10 + 0.004, outcome) for n in range(500, 900)]
    assert cost([*trained(50.0), *dead], verdict) is None


@pytest.mark.parametrize("verdict", [Verdict.RESTARTED, Verdict.FAILED])
def test_a_training_that_did_not_continue_as_before_has_no_cost(verdict: Verdict) -> None:
    assert cost(trained(), verdict) is None
