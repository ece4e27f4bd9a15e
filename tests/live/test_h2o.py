# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make live`: a real guest with an H2O-3 server, which starts from its kept state."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict

from lab.h2o import H2O
from tests.live.real import EVERYTHING, real_lab

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not EVERYTHING, reason="only a light guest is a sample; make live moves an H2O-3 server, too"),
]


def test_an_h2o_server_trains_on_at_the_target(tmp_path: Path) -> None:
    with real_lab(tmp_path, run="h2o") as real:
        server = H2O(f"http://{real.address}:54321")
        (job,) = [job for job in server.get("/3/Jobs")["jobs"] if job["status"] == "RUNNING"]
        watched = real.judged(1.0, "h2o")
        judgement, truth = watched.judgement, watched.truth
        print(f"H2O-3, held 1.0 s: {truth}, stated {judgement.longest_stall}, {judgement.verdict.value}")
        assert judgement.longest_stall is not None
        assert judgement.longest_stall.low <= truth.longest, (truth, judgement.longest_stall)
        assert truth.freeze <= judgement.longest_stall.high, (truth, judgement.longest_stall)
        assert judgement.verdict is Verdict.UNINTERRUPTED, (truth, judgement)
        assert server.job(job["key"]["name"])["progress"] >= job["progress"]
        assert real.state()["guest"]["steps"] > 0, "the serial line counts the work of its training threads"
