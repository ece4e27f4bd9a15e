# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real VM moves there and back while its training is watched: the sample of this folder that `make test` runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict

from benchmarks.live_moves import AWAY, HOME
from lab.processes import marked_pids
from tests.live.real import EVERYTHING, real_lab
from tests.measuring import Measured

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(EVERYTHING, reason="the moves of test_moves.py show more"),
]


def test_a_real_vm_moves_there_and_back_and_trains_on(tmp_path: Path, measured: Measured) -> None:
    with real_lab(tmp_path) as real:
        state = Path(real.lab.answer["state"])
        first = real.state()["guest"]
        assert first["hypervisor"].startswith("QEMU ")
        started, steps = real.metric("process_start_time_seconds"), real.steps()
        assert real.move()["result"] == "success"
        there = real.truth()
        assert 0 < there.freeze <= there.standstill
        assert there.transferred_mb > 50
        assert real.state()["host"] == AWAY
        assert real.state()["guest"]["pid"] != first["pid"], "another process runs the VM now"
        watched = real.judged(0.5, "back")
        judgement, back = watched.judgement, watched.truth
        assert judgement.verdict in (Verdict.UNINTERRUPTED, Verdict.UNKNOWN), judgement
        with measured():  # an emulated VM that gets no processor answers too late to be sure
            assert judgement.verdict is Verdict.UNINTERRUPTED, judgement
        assert 0.5 <= back.freeze <= back.standstill
        assert real.state()["host"] == HOME
        assert real.metric("process_start_time_seconds") == started
        assert real.steps() > steps
        assert len(marked_pids(state)) == 2, "the simulated vCenter and one QEMU"
    assert marked_pids(state) == []
