# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about interrupted experiments are sent while the run is under way, by a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import Message
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Entry
from ansible_collections.liveml.vsphere.plugins.plugin_utils import _alarms
from ansible_collections.liveml.vsphere.plugins.plugin_utils._alarms import Alarms

from tests.builders.journals import entries, made_run
from tests.measuring import until

HOOKS = [{"kind": "webhook"}, {"kind": "slack"}]
EVENTS = made_run(3, ("uninterrupted",) * 3)[0]
START = entries([event for event in EVENTS if event["event"] == "run_started"])[0]
VERDICTS = list({event["vm"]["moid"]: event for event in EVENTS if event["event"] == "verdict"}.values())


def reached(number: int, verdict: str) -> Entry:
    """A verdict about one of the experiments."""
    (entry,) = entries([{**VERDICTS[number], "verdict": verdict}])
    return entry


def writing(path: Path) -> Callable[[Sequence[Message]], list[str]]:
    """Sends into a file; the message to Slack fails."""

    def send(found: Sequence[Message]) -> list[str]:
        with path.open("a") as stream:
            stream.writelines(
                f"{os.getpid() == TEST} {each.kind} {len(each.experiments)} {each.run_id}\n" for each in found
            )
        return ["no route" if each.kind == "slack" else "" for each in found]

    return send


TEST = os.getpid()


def test_harm_is_sent_at_once_and_only_once(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    alarms = Alarms(writing(sent), HOOKS, "Evacuation of esx-05")
    for entry in (START, reached(0, "uninterrupted"), reached(1, "completed"), reached(2, "unknown")):
        alarms.hear(entry)
    assert alarms.look() == []
    assert not sent.exists()
    alarms.hear(reached(0, "stalled"))
    alarms.look()
    until(sent.exists)  # before the run ends
    alarms.hear(reached(1, "lost"))
    lines = alarms.finish()
    assert lines == ["NOT SENT: slack (stall): no route"] * 2
    run_id = START.event.run_id
    assert sent.read_text().splitlines() == [f"False {kind} 1 {run_id}" for kind in ("webhook", "slack")] * 2
    assert [(mark["hook"], mark["verdict"]) for mark in alarms.reported] == [(0, "stalled"), (0, "lost")]
    alarms.hear(reached(1, "lost"))  # as the run passes each verdict again at its end
    alarms.finish()
    assert sent.read_text().splitlines()[4:] == [f"False slack 1 {run_id}"], "it goes to the hook that did not get it"


def test_what_happens_while_messages_are_on_their_way_is_one_message(tmp_path: Path) -> None:
    sizes = tmp_path / "sizes"

    def send(found: Sequence[Message]) -> list[str]:
        until((tmp_path / "answer").exists)
        with sizes.open("a") as stream:
            stream.write(f"{len(found[0].experiments)}\n")
        return [""] * len(found)

    alarms = Alarms(send, HOOKS[:1], "s")
    alarms.hear(reached(0, "stalled"))
    alarms.look()
    began = time.monotonic()
    alarms.hear(reached(1, "stalled"))
    assert alarms.look() == []
    alarms.hear(reached(2, "stalled"))
    assert alarms.look() == []
    assert time.monotonic() - began < 5.0, "nobody waits for a server"
    (tmp_path / "answer").touch()
    assert alarms.finish() == []
    assert sizes.read_text().split() == ["1", "2"]


def test_a_server_that_never_answers_does_not_hold_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_alarms, "PATIENCE_SECONDS", 0.1)
    alarms = Alarms(lambda _found: time.sleep(600) or [], HOOKS[:1], "s")
    alarms.hear(reached(0, "stalled"))
    assert alarms.finish() == []
    assert alarms.reported == [], "the message after the run repeats it"


def test_a_failure_of_the_sender_is_said() -> None:
    def send(_found: Sequence[Message]) -> list[str]:
        raise AnsibleError("no interpreter")

    alarms = Alarms(send, HOOKS[:1], "s")
    alarms.hear(reached(0, "stalled"))
    assert alarms.finish() == ["NOT SENT: webhook (stall): no interpreter"]
