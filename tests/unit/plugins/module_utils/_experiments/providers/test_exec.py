# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of provider ``exec`` gets its own secrets, and no others. What its steps show."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import WORKS
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import MAX_TEXT
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Capabilities,
    Experiment,
    Judgement,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import exec as exec_provider
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.exec import Program, ProgramSession
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import judge, must_stop_run

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


def answering(tmp_path: Path, answer: object) -> list[str]:
    """The command of a program that gives the same answer to each question."""
    script = tmp_path / "provider.py"
    script.write_text(f"import sys\nfor _line in sys.stdin:\n    print({json.dumps(answer)!r}, flush=True)\n")
    return [sys.executable, str(script)]


@pytest.mark.parametrize("signal", ["answers", "changes"])
def test_only_a_program_that_asks_the_training_itself_shows_that_its_process_lives(tmp_path: Path, signal: str) -> None:
    command = answering(tmp_path, {"experiments": [{"id": "x", "process": "4711@1795572243"}]})
    (found,) = observed(settings("exec", command=command, signal=signal)).experiments
    assert (found.process, found.capabilities.named_by_record) == ("4711@1795572243", signal == "changes")


@pytest.mark.parametrize("process", ["1", 1, "pid 1", "PID:4711", "process=17", " 17 "])
def test_a_process_number_alone_does_not_name_a_process(tmp_path: Path, process: object) -> None:
    """However it is written: that of a container is the same after a restart."""
    command = answering(tmp_path, {"experiments": [{"id": "x", "process": process}]})
    (found,) = observed(settings("exec", command=command)).experiments
    assert (found.process, found.capabilities.identity) == ("", "run")


@pytest.mark.parametrize("process", ["4711@1795572243", 1795572243, "pid 17 boot 4d2c", "train-17"])
def test_what_differs_after_a_restart_names_a_process(tmp_path: Path, process: object) -> None:
    command = answering(tmp_path, {"experiments": [{"id": "x", "process": process}]})
    (found,) = observed(settings("exec", command=command)).experiments
    assert found.process == str(process)


@pytest.mark.parametrize(("error", "outcome"), [(None, "answered"), ("", "answered"), ("gone", "silent")])
def test_an_empty_error_is_none(monkeypatch: pytest.MonkeyPatch, error: object, outcome: str) -> None:
    """As programs write it in whose language an answer has every field."""
    known = Experiment("vm-1", "ML-1", "exec", "x", "", "exec:x")
    program = Program([], {})
    monkeypatch.setattr(program, "ask", lambda *_question: {"step": 7, "error": error})
    assert ProgramSession(program, known, {}).sample().outcome == outcome


def judged(monkeypatch: pytest.MonkeyPatch, steps: list[float | None], signal: str = "answers") -> Judgement:
    """The verdict on a training whose program, asked each 0.1 s, names no process; it does not answer for a step of ``None``."""
    known = Experiment("vm-1", "ML-1", "exec", "x", "", "exec:x", capabilities=Capabilities("run", signal))
    program = Program([], {})
    session = ProgramSession(program, known, {})
    samples = []
    for n, step in enumerate(steps):
        answer = {"error": "no answer"} if step is None else {"step": step, "detail": "works"}
        monkeypatch.setattr(program, "ask", lambda *_question, answer=answer: answer)
        monkeypatch.setattr(exec_provider.time, "monotonic", lambda n=n: n / 10)
        samples.append(session.sample())
    return judge(known, samples, stall_budget=5, moved_at=2.0, arrived_at=4.0)


BATCHES: list[float | None] = [float(n // 3 % 7) for n in range(120)]
COUNT: list[float | None] = [float(n // 3) for n in range(60)]


def test_a_step_that_falls_when_the_next_one_is_due_is_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that shows the index of a batch, and no process."""
    found = judged(monkeypatch, BATCHES)
    assert (found.verdict, WORKS in found.detail, must_stop_run(found)) == (Verdict.UNKNOWN, True, False)


@pytest.mark.parametrize(
    ("steps", "signal"),
    [
        ([*COUNT, *([19.0] * 12), *COUNT], "answers"),
        ([*COUNT, None, *COUNT], "answers"),
        (BATCHES, "changes"),
    ],
    ids=["after a pause", "after a failure", "a record"],
)
def test_other_steps_that_fall_are_a_restart(
    monkeypatch: pytest.MonkeyPatch, steps: list[float | None], signal: str
) -> None:
    assert judged(monkeypatch, steps, signal).verdict is Verdict.RESTARTED


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        ({}, "answered", "RUNNING"),
        ({"status": None}, "answered", "RUNNING"),
        ({"status": "DONE"}, "answered", "DONE"),
        ({"status": "failed"}, "invalid", None),
        ({"status": ""}, "invalid", None),
        ({"status": 1}, "invalid", None),
        ({"status": False}, "invalid", None),
        ({"status": {"state": "FAILED"}}, "invalid", None),
    ],
)
def test_a_status_that_is_not_known_is_not_taken_for_running(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], outcome: str, status: str | None
) -> None:
    """A program may report an exit code, or what another system calls it."""
    known = Experiment("vm-1", "ML-1", "exec", "x", "", "exec:x", capabilities=Capabilities("run", "answers"))
    program = Program([], {})
    monkeypatch.setattr(program, "ask", lambda *_question: {"step": 1, **answer})
    sample = ProgramSession(program, known, {}).sample()
    assert (sample.outcome, sample.status) == (outcome, status)


@pytest.mark.parametrize("shared", ["", "train.py " * 60])
def test_two_long_names_of_processes_or_works_are_not_the_same(monkeypatch: pytest.MonkeyPatch, shared: str) -> None:
    """A program may name a process by its whole command, and say what it does in a long sentence."""
    names = [f"{shared}started {n}" for n in (1, 2)]
    monkeypatch.setattr(Program, "ask", lambda *_question: {"experiments": [{"id": "x", "process": names[0]}]})
    (known,) = observed(settings("exec", command=["x"])).experiments
    program = Program([], {})
    session = ProgramSession(program, known, {})
    told = []
    for name in names:
        answer = {"process": name, "detail": name}
        monkeypatch.setattr(program, "ask", lambda *_question, answer=answer: answer)
        told.append(session.sample())
    assert [sample.process == known.process for sample in told] == [True, False]
    assert told[0].detail != told[1].detail
    assert max(len(sample.detail) for sample in told) <= MAX_TEXT
