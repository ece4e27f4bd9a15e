# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that modules return about experiments is documented. ``tests/docs/test_examples.py`` compares what examples return."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import VERDICTS
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import artifact_of, evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import rows_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Account,
    Ended,
    MoveResult,
    Outcome,
    RolledBack,
    RunReport,
)
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import result_of

from tests.builders.journals import INTACT, entries, made_run
from tests.module_docs import undocumented

EXPERIMENT = Experiment("vm-1", "ML-1", "h2o3", "GBM_1", "1", "http://10.1.4.7:54321")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_evidence_report_documents_what_it_returns(verdict: str) -> None:
    events, samples = made_run(2, [verdict] * 2)
    journal = entries(events)
    evidence = evidence_of(journal, samples, INTACT)
    returned = {"experiments": rows_of(evidence), "artifact": artifact_of(journal, evidence), "journal": INTACT}
    assert undocumented("evidence_report", returned) == []


def test_experiment_info_documents_what_it_returns() -> None:
    assert undocumented("experiment_info", json.loads(json.dumps({"experiments": [asdict(EXPERIMENT)]}))) == []


def test_vm_migrate_documents_what_it_returns() -> None:
    move = Move(1, "vm-1", "ML-1", "h5", "esx-05", "h6", "esx-06", 2**30, 9.0)
    stall = Stall(0.4, 0.3, 0.5, 7031.25)
    judged = Judgement(EXPERIMENT, Verdict.STALLED, *["proven"] * 3, stall, 0.1, 0.3, 0.4, longest_freeze=stall)
    outcome = Outcome((Ended(move, MoveResult.MOVED, "h6", "esx-06"),), (judged,))
    back = RolledBack(outcome, (Account("vm-1", "ML-1", "esx-05", "back"),))
    returned = result_of(RunReport("r1", None, outcome, rolled_back=back))
    assert undocumented("vm_migrate", {key: returned[key] for key in returned if key != "failure"}) == []
