# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of provider ``exec`` gets its own secrets, and no others; what its answers show of a training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import exec as _exec

from tests.builders.sources import observed, settings

PROGRAM = """
import json, os, sys
for line in sys.stdin:
    seen = {"environment": dict(os.environ), "secrets": json.loads(line)["secrets"]}
    json.dump(seen, open(sys.argv[1], "w"))
    print(json.dumps({"experiments": []}), flush=True)
"""
OTHERS = (
    "VMWARE_PASSWORD", "H2O_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "GITHUB_TOKEN", "SSH_AUTH_SOCK",
    "ANSIBLE_VAULT_PASSWORD_FILE", "PATH_OF_SECRET", "HOMEPASS", "LC_", "PYTHONPATH",
)  # fmt: skip


def test_a_program_gets_its_token_on_standard_input_and_no_secret_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OTHERS:
        monkeypatch.setenv(name, "CANARY")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    script, seen = tmp_path / "provider.py", tmp_path / "seen.json"
    script.write_text(PROGRAM)
    observed(settings("exec", command=[sys.executable, str(script), str(seen)], token="its-own"))
    found = json.loads(seen.read_text())
    assert found["secrets"] == {"token": "its-own"}
    assert "CANARY" not in found["environment"].values()
    assert {"PATH", "LC_ALL"} <= set(found["environment"])


class Answers:
    """A program that gives these answers."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = iter(answers)

    def ask(self, _question: Any, _seconds: float) -> dict[str, Any]:
        return next(self._answers)


@pytest.mark.parametrize(("signal", "process"), [("answers", "4711@1"), ("changes", "")])
def test_a_batch_index_of_the_same_process_is_not_a_restart(signal: str, process: str) -> None:
    known = Experiment("vm-1", "ML-1", "exec", "r", "4711@1", "", capabilities=Capabilities("process", signal))
    steps = (38.0, 39.0, 0.0, 1.0)
    program = Answers(*({"process": "4711@1", "step": step, "progress": step / 1000 + 0.5} for step in steps))
    session = _exec.ProgramSession(program, known, {})  # type: ignore[arg-type]
    samples = [session.sample() for _step in steps]
    assert [(each.step, each.process) for each in samples[:2]] == [(38.0, "4711@1"), (39.0, "4711@1")]
    assert [(each.step, each.progress, each.process) for each in samples[2:]] == [(None, None, process)] * 2
    assert (samples[2].detail == samples[3].detail) is (signal == "answers"), "changes show that it works"


def test_a_batch_index_does_not_hide_the_progress_of_the_whole_training() -> None:
    known = Experiment("vm-1", "ML-1", "exec", "r", "4711@1", "")
    answers = [
        {"process": "4711@1", "step": step, "progress": done} for step, done in ((39, 0.5), (0, 0.51), (1, 0.52))
    ]
    session = _exec.ProgramSession(Answers(*answers), known, {})  # type: ignore[arg-type]
    assert [session.sample().progress for _answer in answers] == [0.5, 0.51, 0.52]


def test_lower_steps_of_another_process_are_shown() -> None:
    known = Experiment("vm-1", "ML-1", "exec", "r", "4711@1", "")
    answers = [{"process": "4711@1", "step": 39}, {"process": "4712@9", "step": 0}]
    session = _exec.ProgramSession(Answers(*answers), known, {})  # type: ignore[arg-type]
    assert [(s.process, s.step) for s in (session.sample(), session.sample())] == [("4711@1", 39), ("4712@9", 0)]
