# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages to owners: who hears about which event, and what a hook needs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.liveml.vsphere.plugins.filter import messages as plugin
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import HARMED, messages
from hypothesis import given
from hypothesis import strategies as st

VERDICTS = ["uninterrupted", "completed", "unknown", *HARMED]
STALL = {"seconds": 0.4, "low": 0.3, "high": 0.5}


def judged(number: int, owner: str, verdict: str = "uninterrupted") -> dict[str, Any]:
    return {
        "provider": "h2o3", "id": f"job-{number}", "owner": owner, "vms": [f"ML-{number}"], "verdict": verdict,
        "longest_stall": STALL, "detail": "", "url": "http://192.0.2.1:54321",
    }  # fmt: skip


EXPERIMENTS = st.lists(
    st.builds(judged, st.integers(0, 50), st.sampled_from(["", "a", "b", "c"]), st.sampled_from(VERDICTS)),
    max_size=8,
    unique_by=lambda e: e["id"],
)


@given(EXPERIMENTS, st.sampled_from(["stall", "after"]))
def test_nobody_hears_of_an_experiment_of_somebody_else(experiments: list[dict[str, Any]], event: str) -> None:
    hook = {"kind": "mail", "to": {"a": "a@example.com", "b": ["b@example.com"]}}
    found = messages([hook], event, experiments, subject="Move of x")
    for message in found:
        (owner,) = {e["owner"] for e in message["experiments"]}
        assert message["to"] == [f"{owner}@example.com"]
        others = {vm for e in experiments if e["owner"] != owner for vm in e["vms"]}
        lines = [line.split(":")[0] for line in message["text"].splitlines() if line.startswith("- ")]
        assert not others & {line.removeprefix("- ") for line in lines}
    concerned = {e["owner"] for e in experiments if event == "after" or e["verdict"] in HARMED} & {"a", "b"}
    assert {m["experiments"][0]["owner"] for m in found} == concerned
    assert "192.0.2.1" not in str([m["experiments"] for m in found])


def test_harm_is_told_only_when_there_was_some() -> None:
    hook = {"kind": "webhook", "url": "x"}
    assert messages([hook], "stall", [judged(1, "a")], subject="s") == []
    (message,) = messages([hook], "stall", [judged(1, "a"), judged(2, "a", "stalled")], subject="s")
    assert [e["id"] for e in message["experiments"]] == ["job-2"]
    assert "longest stall 0.40 s (0.30 to 0.50 s)" in message["text"]


def test_a_hook_hears_of_its_events() -> None:
    hook = {"kind": "webhook", "when": ["after"]}
    assert messages([hook], "before", [], subject="s") == []
    (message,) = messages([hook], "after", [], subject="s", failure="It burned.", report="/r.html")
    assert message["subject"] == "s: failed"
    assert "No experiment was observed" in message["text"]
    assert message["text"].endswith("It burned.\n\nReport: /r.html\n")


def test_messages_contain_nothing_of_their_hook_but_whom_they_reach() -> None:
    """Ansible keeps what a task loops over, in the events of a job."""
    hooks = [
        {"kind": "mail", "to": "a@example.com", "username": "CANARY", "password": "CANARY"},
        {"kind": "slack", "token": "CANARY", "channel": "CANARY"},
        {"kind": "webhook", "url": "CANARY", "headers": {"Authorization": "CANARY"}, "later": "CANARY"},
    ]
    found = messages(hooks, "before", [judged(1, "a")], subject="s")
    assert [message["hook"] for message in found] == [0, 1, 2]
    assert "CANARY" not in str(found)


def test_what_is_said_of_vms_is_for_whoever_is_told_of_all_experiments() -> None:
    hooks = [{"kind": "webhook"}, {"kind": "webhook", "owners": ["a"]}]
    both = messages(hooks, "after", [judged(1, "a")], subject="s", notes=["vm-7 no longer exists."])
    assert ["- vm-7 no longer exists." in m["text"] for m in both] == [True, False]
    (before, _theirs) = messages(hooks, "before", [judged(1, "a")], subject="s", notes=["vm-7 no longer exists."])
    assert "vm-7" not in before["text"]


def test_a_cluster_is_one_experiment() -> None:
    nodes = [{"provider": "h2o3", "id": "j", "vm_name": vm, "cluster": "c", "progress": 0.1} for vm in ("b", "a")]
    (message,) = messages([{"kind": "slack"}], "before", nodes, subject="s")
    assert "- b, a: j, 10 %" in message["text"]


def test_a_missing_collection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugin.MODULES, "mail", "acme.missing.mail")
    with pytest.raises(AnsibleFilterError, match=r"ansible-galaxy collection install acme\.missing"):
        plugin.messages([{"kind": "mail"}], "before", [], subject="s")
    assert plugin.FilterModule().filters()["messages"]([{"kind": "webhook"}], "after", [], subject="s")


def test_a_name_makes_no_line_and_no_header_of_a_message() -> None:
    nasty = "x\nBcc: all@example.com\r\u202e\x9b"
    harmed = {**judged(1, nasty, "stalled"), "vms": [nasty], "detail": nasty}
    (message,) = messages([{"kind": "mail", "to": "a@example.com"}], "stall", [harmed], subject=f"Move of {nasty}")
    (usual,) = messages([{"kind": "mail", "to": "a@example.com"}], "stall", [judged(1, "a", "stalled")], subject="s")
    assert message["subject"].isprintable()
    assert len(message["text"].splitlines()) == len(usual["text"].splitlines())
    assert all(line.isprintable() for line in message["text"].splitlines())
