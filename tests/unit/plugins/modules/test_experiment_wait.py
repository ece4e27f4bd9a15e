# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the wait for an experiment is over."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import ALL_DONE, AS_USUAL
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement, Verdict
from ansible_collections.liveml.vsphere.plugins.modules.experiment_wait import reached

TRAINING = Experiment("vm-1", "ml-1", "prometheus", "steps", "", "http://x:9")


def judged(verdict: Verdict, progress: str = "unknown", detail: str = "", *, over: bool = False) -> Judgement:
    return Judgement(
        TRAINING, verdict, "unknown", progress, "unknown", None, None, 0.1, 0.2, samples=50, detail=detail, over=over
    )


@pytest.mark.parametrize(
    ("judgement", "of_progress", "of_the_end"),
    [
        (judged(Verdict.UNINTERRUPTED, "proven"), True, False),
        (judged(Verdict.UNKNOWN, "proven"), True, False),
        (judged(Verdict.COMPLETED, "proven", over=True), True, True),
        (judged(Verdict.FAILED), True, True),  # there is nothing more to wait for
        (judged(Verdict.UNKNOWN), True, True),
        (judged(Verdict.UNKNOWN, detail=ALL_DONE), False, False),  # it saves its model
        (judged(Verdict.UNKNOWN, detail=f"port 9 refuses connections, but {AS_USUAL}"), True, True),
    ],
)
def test_a_wait_is_over(judgement: Judgement, of_progress: bool, of_the_end: bool) -> None:
    assert (reached(judgement, "progress"), reached(judgement, "finished")) == (of_progress, of_the_end)
