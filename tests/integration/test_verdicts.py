# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real trainings meet their fates while they are watched; ``make bench ONLY=verdicts`` does it 200 times."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict

from benchmarks.loops import LOOP_FATES
from benchmarks.report import Report
from benchmarks.servers import Fleet
from benchmarks.verdicts import FATES, play
from tests.measuring import Measured

pytestmark = pytest.mark.alone


# A freeze and a kill, of the two kinds of server.
SAMPLE = {"freeze within the budget", "exporter without a start time, killed and restarted"}


@pytest.mark.parametrize("names", [SAMPLE, pytest.param(set(), marks=pytest.mark.thorough)], ids=["sample", "all"])
def test_each_fate_is_called_by_its_name(measured: Measured, names: set[str]) -> None:
    frail = {fate.name for fate in FATES if fate.frail}
    fates = [fate for fate in (*FATES, *LOOP_FATES) if fate.name in names or not (names or fate.name in frail)]
    assert len(fates) >= len(SAMPLE)
    with Fleet(1) as fleet:
        found = play(Report(), fleet, fates, seed=1)
    wrong = {run.fate.name: (run.verdict, run.why) for run in found if not run.right}
    assert not {Verdict.UNINTERRUPTED, Verdict.COMPLETED} & {verdict for verdict, _why in wrong.values()}, wrong
    with measured():
        assert wrong == {}
