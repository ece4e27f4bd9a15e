# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of surveys as AWX writes them: an empty one is as if it was not given, a wrong one is one refusal before the fence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import option_named

from tests.awx import answers
from tests.labs import ROOT, Lab, playbook_environment
from tests.measuring import PATIENCE

SURVEYS = ROOT / "awx/config/surveys.yml"
BIN = Path(sys.executable).parent
EMPTY = {"!unsafe ''", "null", "~", "!unsafe ' '", '!unsafe "\\t\\u00a0\\u200b\\ufeff"'}


@pytest.fixture(scope="module")
def outcomes() -> list[dict[str, Any]]:
    return list(answers.outcomes(SURVEYS))


def test_every_answer_of_every_question_is_a_value_or_one_refusal(outcomes: list[dict[str, Any]]) -> None:
    assert answers.wrong(outcomes) == []
    assert len({(found["survey"], found["variable"]) for found in outcomes}) > 50
    assert {found["survey"] for found in outcomes} == set(yaml.safe_load(SURVEYS.read_text())["awx_surveys"])


def test_an_empty_answer_is_as_if_it_was_not_given(outcomes: list[dict[str, Any]]) -> None:
    for found in outcomes:
        option = option_named(found["variable"])
        if found["answer"] in EMPTY and not option.required:
            assert (found["refused"], found["value"]) == ([], option.default), found


def test_no_survey_sends_an_empty_default() -> None:
    for survey in yaml.safe_load(SURVEYS.read_text())["awx_surveys"].values():
        assert [
            question for question in survey["spec"] if question.get("default") in ("", None) and "default" in question
        ] == []


def questions(role: str) -> Iterator[str]:
    survey = next(
        survey
        for survey in yaml.safe_load(SURVEYS.read_text())["awx_surveys"].values()
        if any(question["variable"].startswith(f"{role}_") for question in survey["spec"])
    )
    yield from (question["variable"] for question in survey["spec"] if not question["required"])


def play_with(lab: Lab, folder: Path, playbook: str, given: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A playbook with a file of extra variables."""
    folder.mkdir(exist_ok=True)
    variables = folder / "extravars.yml"
    variables.write_text(f"{given}\nliveml_vsphere_state_dir: {folder / 'state'}\n")
    command = [str(BIN / "ansible-playbook"), f"playbooks/{playbook}.yml", "-e", f"@{variables}", *options]
    environment = playbook_environment(lab)
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


ROLES = {
    "evacuate_host": ("evacuate_host", "evacuate_host_name: esx-05"),
    "restore_host": ("restore_host", "restore_host_name: esx-05"),
    "migrate_vm": ("migrate_vm", "migrate_vm_name: ML-cpu-vm-01"),
    "witness": ("witness", "witness_host: esx-05\nwitness_window: 600"),
    "fault_domain": ("evacuate_fault_domain", "fault_domain_name: us-west-2b"),
    "hardware_event": ("hardware_event", "hardware_event_host: esx-05"),
}


@pytest.mark.parametrize(
    "role", [pytest.param(role, marks=[pytest.mark.thorough] if role != "evacuate_host" else []) for role in ROLES]
)
def test_a_playbook_with_empty_answers_does_what_it_does_without(fast_lab: Lab, tmp_path: Path, role: str) -> None:
    playbook, name = ROLES[role]
    found = []
    for number, empty in enumerate(("", "!unsafe ''")):
        given = "\n".join([name, *(f"{v}: {empty}" for v in questions(role) if number and f"{v}:" not in name)])
        done = play_with(fast_lab, tmp_path / str(number), playbook, given, "--check")
        shown = done.stdout.replace(str(tmp_path / str(number)), "FOLDER")
        found.append((done.returncode, [line for line in shown.splitlines() if not line.startswith("included: ")]))
    assert found[1] == found[0]
    assert found[0][0] == 0, found[0]


WRONG = {
    "evacuate_host_slots: !unsafe 'no'": "it must be a whole number from 1 to 8.",
    "evacuate_host_stall_budget: .inf": "evacuate_host_stall_budget is inf; it must be a number",
    "evacuate_host_settle_timeout: !unsafe 'nan'": "evacuate_host_settle_timeout is",
    "evacuate_host_policy: 5": "evacuate_host_policy is 5; it must be one of",
    "evacuate_host_experiments: !unsafe 'x'": "evacuate_host_experiments is",
}


def test_wrong_answers_are_refused_together_before_the_fence(fast_lab: Lab, tmp_path: Path) -> None:
    done = play_with(fast_lab, tmp_path / "job", "evacuate_host", "\n".join(["evacuate_host_name: esx-05", *WRONG]))
    output = " ".join((done.stdout + done.stderr).split())
    assert [sentence for sentence in WRONG.values() if sentence not in output] == []
    untouched(fast_lab, output)


@pytest.mark.parametrize("name", ["!unsafe ''", "!unsafe 'no'"])
def test_a_host_that_is_not_a_name_is_one_refusal(fast_lab: Lab, tmp_path: Path, name: str) -> None:
    done = play_with(fast_lab, tmp_path / "job", "evacuate_host", f"evacuate_host_name: {name}")
    assert done.returncode != 0
    output = " ".join((done.stdout + done.stderr).split())
    assert "evacuate_host_name" in output
    untouched(fast_lab, output)


def untouched(lab: Lab, output: str) -> None:
    assert "Traceback" not in output
    assert lab.get("state")["moves"] == []
    assert lab.get("state")["hosts"]["esx-05"]["maintenance"] == "normal"


@pytest.mark.thorough
def test_a_dictionary_may_be_json_text(fast_lab: Lab, tmp_path: Path) -> None:
    given = "\n".join(
        [
            "evacuate_host_name: esx-05",
            f"evacuate_host_experiments: !unsafe '{json.dumps({'h2o3': False})}'",
            "evacuate_host_notify: !unsafe '[]'",
            f"evacuate_host_evidence_upload: !unsafe '{json.dumps({'kind': 'directory', 'path': str(tmp_path / 'share')})}'",
            f"liveml_vsphere_fault_domains: !unsafe '{json.dumps({'esx-05': 'east'})}'",
            "evacuate_host_slots: !unsafe ''",
        ]
    )
    done = play_with(fast_lab, tmp_path / "job", "evacuate_host", given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert fast_lab.on("esx-05") == set()
    assert list((tmp_path / "share").glob("*/evidence.json"))
