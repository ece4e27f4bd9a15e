# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real trainings meet each fate once while they are watched; ``make bench ONLY=verdicts`` does it 200 times."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict

from benchmarks.loops import LOOP_FATES
from benchmarks.report import Report
from benchmarks.servers import Fleet
from benchmarks.verdicts import FATES, play
from tests.measuring import Measured

pytestmark = pytest.mark.alone


def test_each_fate_is_called_by_its_name(measured: Measured) -> None:
    with Fleet(1) as fleet:
        found = play(Report(), fleet, [*(fate for fate in FATES if not fate.frail), *LOOP_FATES], seed=1)
    wrong = {run.fate.name: run.verdict for run in found if not run.right}
    assert not {Verdict.UNINTERRUPTED, Verdict.COMPLETED} & set(wrong.values()), wrong
    with measured():
        assert wrong == {}
