# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The invented runs of tests and pictures: what is said about each training is what its samples show."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import GOOD
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import percent
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import rows_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import WORST_FIRST

from tests.builders.journals import made_evidence

VERDICT_LIST = [str(verdict) for verdict in WORST_FIRST]
pytestmark = pytest.mark.parametrize("verdict", VERDICT_LIST)


def test_a_run_reaches_the_verdict_for_which_it_was_invented(verdict: str) -> None:
    evidence = made_evidence(20, [verdict] * 20)
    assert {experiment["verdict"] for experiment in evidence["experiments"]} == {verdict}
    assert evidence["run"]["result"] == ("success" if verdict in GOOD else "failed")


def test_progress_before_and_after_is_that_of_the_samples(verdict: str) -> None:
    (experiment,) = made_evidence(1, [verdict])["experiments"]
    ((begun, _arrived),) = experiment["moving"]
    assert experiment["progress_before"] == [share for at, share in experiment["curve"] if at <= begun][-1]
    assert experiment["progress_after"] == experiment["curve"][-1][1]


def test_the_curve_is_flat_while_the_training_stands_still(verdict: str) -> None:
    (experiment,) = made_evidence(1, [verdict])["experiments"]
    stall, at, curve = experiment["longest_stall"], experiment["stall_at"], experiment["curve"]
    (first, low), (last, high) = curve[0], next(point for point in curve if point[0] > 3.0)
    pace = (high - low) / (last - first)
    if stall is None:
        assert verdict in ("lost", "restarted", "failed"), "what is dead does not stall"
        return
    assert at is not None
    before = [share for seconds, share in curve if seconds <= at][-1]
    after = next(share for seconds, share in curve if seconds > at)
    assert 0 <= after - before <= pace * (stall["high"] - stall["low"]) + 1e-4


def test_the_curve_shows_what_became_of_the_training(verdict: str) -> None:
    evidence = made_evidence(1, [verdict])
    (experiment,) = evidence["experiments"]
    ((_begun, arrived),) = experiment["moving"]
    shares = [share for _at, share in experiment["curve"]]
    later = [share for at, share in experiment["curve"] if at > arrived]
    went_back = any(after < before for before, after in itertools.pairwise(shares))
    works = len(set(later)) > 1
    assert {
        "uninterrupted": works and not went_back,
        "completed": shares[-1] == 1.0 and not went_back,
        "stalled": works and not went_back,
        "restarted": works and went_back,
        "lost": not later,
        "failed": len(set(later)) == 1 and not went_back,
        "unknown": not later,
    }[verdict]


def test_the_words_say_what_the_figures_say(verdict: str) -> None:
    evidence = made_evidence(1, [verdict])
    (experiment,), (row,) = evidence["experiments"], rows_of(evidence)
    assert percent(experiment["curve"][-1][1]) in row["seen"]
    if verdict in GOOD:
        assert set(experiment["claims"].values()) == {"proven"}
    else:
        assert experiment["detail"] or experiment["claims"]["stall"] == "refuted"
