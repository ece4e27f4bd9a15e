# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages are sent by modules that log nothing, and a report that cannot be attached does not keep a message back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display import deliveries
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import About, messages
from ansible_collections.liveml.vsphere.plugins.plugin_utils._courier import Courier, checked_hooks

HOOK = {"kind": "mail", "to": "a@example.com", "password": "pw-1"}


class Action:
    """An action whose modules answer as given, and say whether they may log."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._task = SimpleNamespace(no_log=False, copy=SimpleNamespace)
        self._connection = SimpleNamespace(transport="local")
        self.answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any], bool]] = []

    def _execute_module(
        self, *, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        self.calls.append((module_name, module_args, self._task.no_log))
        return self.answers.pop(0)


def sent(action: Action, report: Path) -> str:
    (message,) = messages([HOOK], "after", [], About("s", report=str(report), result={"run_id": "R1"}))
    return Courier(action, [HOOK], {}).send(message)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("a report")
    return path


def test_a_message_is_sent_without_a_trace_in_logs(report: Path) -> None:
    action = Action({"msg": "Mail sent successfully", "result": {}})
    assert sent(action, report) == ""
    ((module, arguments, no_log),) = action.calls
    assert (module, arguments["attach"], no_log) == ("community.general.mail", [str(report)], True)
    assert action._task.no_log is False, "the result of the task is shown"


def test_a_report_that_is_too_large_does_not_keep_the_message_back(report: Path) -> None:
    action = Action({"failed": True, "msg": "552 too large"}, {"msg": "Mail sent successfully"})
    assert sent(action, report) == ""
    assert "attach" not in action.calls[1][1]
    assert f": {report}" in action.calls[1][1]["body"]


def test_a_report_that_is_gone_is_not_attached(tmp_path: Path) -> None:
    action = Action({})
    assert sent(action, tmp_path / "gone") == ""
    assert "attach" not in action.calls[0][1]


def test_the_reason_of_a_failure_has_no_secret_and_one_line(report: Path) -> None:
    action = Action({"failed": True, "msg": "x"}, {"failed": True, "msg": "pw-1\nis wrong"})
    assert sent(action, report) == "******** is wrong"
    assert sent(Action({"failed": True}, {"failed": True}), report) == "no reason was given"


def test_a_recipient_that_was_refused_is_a_failure(report: Path) -> None:
    refused = {"msg": "Failed to send mail to at least one recipient", "result": {"a@example.com": [550, "no"]}}
    assert "at least one recipient" in sent(Action(refused, refused), report)


def test_hooks_that_cannot_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked_hooks([HOOK, {"kind": "webhook", "url": "x"}]) == [HOOK, {"kind": "webhook", "url": "x"}]
    with pytest.raises(ValueError, match="must be one of: mail, slack"):
        checked_hooks([{"kind": "pigeon"}])
    monkeypatch.setitem(deliveries.MODULES, "mail", "acme.missing.mail")
    with pytest.raises(ValueError, match=r"ansible-galaxy collection install acme\.missing"):
        checked_hooks([HOOK])


def test_values_of_hooks_get_the_types_of_their_keys() -> None:
    given = {"kind": "webhook", "url": "x", "when": "stall", "owners": "a,b", "validate_certs": "no", "port": "25"}
    typed = {"when": ["stall"], "owners": ["a", "b"], "validate_certs": False, "port": 25}
    assert checked_hooks([given]) == [{**given, **typed}]


@pytest.mark.parametrize(
    "hooks",
    [
        {"kind": "mail", "password": "CANARY"},
        "CANARY",
        ["CANARY"],
        [None],
        [{"kind": ["mail"]}],
        [{"kind": "webhook", "url": "CANARY", "format": {"a": "CANARY"}}],
        [{"kind": "webhook", "url": "CANARY", "when": 5}],
        [{"kind": "webhook", "url": "CANARY", "when": ["never"]}],
        [{"kind": "webhook", "url": "CANARY", "owners": {"a": 1}}],
        [{"kind": "webhook", "url": "CANARY", "fields": ["CANARY"]}],
        [{"kind": "webhook", "url": "CANARY", "headers": ["CANARY"]}],
        [{"kind": "mail", "to": 5}],
        [{"kind": "mail", "to": {"a": {"b": "c"}}}],
        [{"kind": "mail", "to": {5: "c"}}],
        [{"kind": "mail", "port": "x"}],
    ],
    ids=str,
)
def test_hooks_of_wrong_types_are_one_sentence_without_their_values(hooks: Any) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        checked_hooks(hooks)
    assert "CANARY" not in str(caught.value)
