# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages to owners: who hears about which event, and what a message says."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import VERDICTS as ADVICE
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import do_of, seen_of
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import HARMED, About, messages
from hypothesis import given
from hypothesis import strategies as st

VERDICTS = ["uninterrupted", "completed", "unknown", *HARMED]
STALL = {"seconds": 0.4, "low": 0.3, "high": 0.5}
ABOUT = About("Move of x")
RUN = {
    "run_id": "R1",
    "moves": [
        {"vm": "ML-1", "result": "moved", "back": False},
        {"vm": "ML-9", "result": "failed", "back": False},
    ],
    "unobserved": {"ML-9": "no server listens"},
}


def judged(number: int, owner: str, verdict: str = "uninterrupted", **more: Any) -> dict[str, Any]:
    vm = f"ML-{number}"
    return {
        "provider": "h2o3", "id": f"job-{number}", "owner": owner, "vm": {"moid": f"vm-{number}", "name": vm}, "vms": [vm],
        "verdict": verdict, "longest_stall": STALL, "detail": "", "url": "http://192.0.2.1:54321", **more,
    }  # fmt: skip


EXPERIMENTS = st.lists(
    st.builds(judged, st.integers(0, 50), st.sampled_from(["", "a", "b", "c"]), st.sampled_from(VERDICTS)),
    max_size=8,
    unique_by=lambda e: e["id"],
)


@given(EXPERIMENTS, st.sampled_from(["stall", "after"]))
def test_nobody_hears_of_an_experiment_of_somebody_else(experiments: list[dict[str, Any]], event: str) -> None:
    hook = {"kind": "mail", "to": {"a": "a@example.com", "b": ["b@example.com"]}}
    about = About(
        "Move of x", failure="ML-7 burned.", report="/r/ML-7.html", command="move ML-7", notes=("ML-7 is gone.",),
        result={**RUN, "moves": [{"vm": "ML-7", "result": "failed", "back": False}], "unobserved": {"ML-7": "no"}},
    )  # fmt: skip
    experiments = [e for e in experiments if e["vms"] != ["ML-7"]]
    found = messages([hook], event, experiments, about)
    for message in found:
        (owner,) = {e["owner"] for e in message.experiments}
        assert message.to == (f"{owner}@example.com",)
        others = {name for e in experiments if e["owner"] != owner for name in (*e["vms"], e["id"])} | {"ML-7"}
        said = f"{message.subject} {message.text} {message.report_text}"
        assert not others & set(re.findall(r"[\w-]+", said))
        assert not message.whole
    concerned = {e["owner"] for e in experiments if event == "after" or e["verdict"] in HARMED} & {"a", "b"}
    assert {m.experiments[0]["owner"] for m in found} == concerned
    assert "192.0.2.1" not in str([m.experiments for m in found])


def test_harm_is_told_only_when_there_was_some() -> None:
    hook = {"kind": "webhook", "url": "x"}
    assert messages([hook], "stall", [judged(1, "a")], ABOUT) == []
    (message,) = messages([hook], "stall", [judged(1, "a"), judged(2, "a", "stalled")], ABOUT)
    assert [e["id"] for e in message.experiments] == ["job-2"]
    assert message.subject == "Move of x: job-2 stalled beyond the budget"
    assert (
        "stood still for 0.40 s, and whether it continued is not known. Longest stall about 0.40 s (between 0.30 and 0.50 s)."
        in message.text
    )


def test_harm_that_was_reported_while_the_run_was_under_way_is_not_reported_again() -> None:
    hooks = [{"kind": "webhook"}, {"kind": "slack"}]
    harmed = [judged(1, "a", "stalled"), judged(2, "a", "stalled")]
    first = messages(hooks, "stall", harmed[:1], About("s", under_way=True))
    assert first[0].text.startswith("s is still under way.\n")
    known = About("s", result={"reported": [*first[0].reported]})
    harmed = [{**each, "vms": [f"{each['vms'][0]} (vm-1)"]} for each in harmed]  # the evidence may name VMs otherwise
    (again, other) = messages(hooks, "stall", harmed, known)
    assert [e["id"] for e in again.experiments] == ["job-2"]
    assert [e["id"] for e in other.experiments] == ["job-1", "job-2"], "this hook did not get the first message"
    (worse,) = messages(hooks[:1], "stall", [judged(1, "a", "lost")], known)
    assert worse.subject == "s: job-1 was lost"
    assert worse.text.startswith("s has ended.\n")
    (end,) = messages(hooks[:1], "after", harmed[:1], known)
    assert "1 experiment stalled beyond the budget." in end.text, "what was reported is part of the whole"


def test_the_end_says_what_happened_the_worst_first_and_what_to_do_next() -> None:
    about = About(
        "Evacuation of esx-05", failure="It burned.", report="/runs/R1/report.html", controller="awx-1",
        command="To continue: ansible-playbook x", notes=("", "esx-05 is fenced."), result=RUN,
    )  # fmt: skip
    known = {"description": "GBM gbm_4", "recoverable": "no", "detail": "its port refuses connections",
             "last_seen": {"progress": 0.3, "at": None}}  # fmt: skip
    seen = [
        judged(1, "a", progress_before=0.12, progress_after=0.4),
        judged(2, "b", "unknown"),
        judged(3, "", "lost"),
        judged(4, "a", "lost", **known),
    ]
    (message,) = messages([{"kind": "mail", "to": ["a@example.com"]}], "after", seen, about)
    assert message.subject == "Evacuation of esx-05: failed, 2 experiments were lost"
    stall = "about 0.40 s (between 0.30 and 0.50 s)"
    lost, unknown, good = (ADVICE[verdict] for verdict in ("lost", "unknown", "uninterrupted"))
    assert message.text == (
        "Evacuation of esx-05 failed. 1 of 2 VMs moved. Not moved: ML-9.\nIt burned.\n\n"
        f"2 experiments were lost. {lost.means}\n"
        "- GBM gbm_4 in ML-4 (owner a): Alive: no, last seen at 30 %. Lost: what it has not saved, without a checkpoint to continue from. "
        "No server listens at its port any more, and no error of the job was reported. "
        "What was seen: its port refuses connections.\n"
        "  What to do: Start it again: make sure that its old process is gone, start a server first, and then the training from the "
        "beginning.\n"
        "- job-3 in ML-3: Alive: no. Lost: not known, nor whether it has a checkpoint.\n"
        f"  What to do: {lost.do}\n\n"
        f"1 experiment could not be judged. {unknown.means}\n"
        "- job-2 in ML-2 (owner b): Alive: not known. Lost: not known. Nothing is proven. While it was watched, it stood still for at most 0.50 s.\n"
        f"  What to do: {unknown.do}\n\n"
        f"1 experiment was uninterrupted. {good.text}\n"
        f"- job-1 in ML-1 (owner a): Longest stall {stall}, progress 12 % → 40 %.\n\n"
        "In the other VM no experiment was found. If one runs there, it was not watched.\n\n- esx-05 is fenced.\n\n"
        "To continue: ansible-playbook x\n"
    )
    assert message.report_text == "The report is on awx-1: /runs/R1/report.html"


def test_a_good_end_needs_no_count() -> None:
    (message,) = messages([{"kind": "webhook"}], "after", [judged(1, "a")], ABOUT)
    assert message.subject == "Move of x: done"
    (message,) = messages([{"kind": "webhook"}], "after", [], ABOUT)
    assert message.text == "Move of x is done.\n\nNo experiment was observed in the VMs.\n"


def test_a_hook_hears_of_its_events() -> None:
    hook = {"kind": "webhook", "when": ["after"]}
    assert messages([hook], "before", [], ABOUT) == []
    assert len(messages([hook], "after", [], ABOUT)) == 1


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        ({}, "The report is on awx-1: /runs/R1/report.html"),
        ({"report_url": "https://e.example.com/{run_id}/"}, "Report: https://e.example.com/R1/"),
        ({"owners": ["a"]}, "The people who operate the hosts have the report of the run R1."),
        ({"owners": ["a"], "report_url": "https://e.example.com/{run_id}/"}, "Report: https://e.example.com/R1/"),
    ],
)
def test_where_the_report_is_depends_on_who_asks(hook: dict[str, Any], text: str) -> None:
    about = About("s", report="/runs/R1/report.html", controller="awx-1", result={"run_id": "R1"})
    (message,) = messages([{"kind": "webhook", **hook}], "after", [judged(1, "a")], about)
    assert message.report_text == text
    (none,) = messages([{"kind": "webhook", **hook}], "after", [judged(1, "a")], About("s"))
    assert (none.report_text, none.report_url) == ("", ""), "without a report, nothing is said about one"


def test_messages_contain_nothing_of_their_hook_but_whom_they_reach() -> None:
    hooks = [
        {"kind": "mail", "to": "a@example.com", "username": "CANARY", "password": "CANARY"},
        {"kind": "slack", "token": "CANARY", "channel": "CANARY"},
        {"kind": "webhook", "url": "CANARY", "headers": {"Authorization": "CANARY"}, "later": "CANARY"},
    ]
    found = messages(hooks, "before", [judged(1, "a")], ABOUT)
    assert [message.hook for message in found] == [0, 1, 2]
    assert [message.label for message in found] == [
        "mail to a@example.com (before)", "slack (before)", "webhook (before)"
    ]  # fmt: skip
    assert "CANARY" not in str([asdict(message) for message in found])


def test_a_cluster_is_one_experiment() -> None:
    nodes = [{"provider": "h2o3", "id": "j", "vm_name": vm, "cluster": "c", "progress": 0.1} for vm in ("b", "a")]
    (message,) = messages([{"kind": "slack"}], "before", nodes, ABOUT)
    assert "- j in b, a (cluster c): 10 %" in message.text
    (webhook,) = messages([{"kind": "webhook"}], "before", nodes, ABOUT)
    assert webhook.experiments[0]["title"] == "j in b, a (cluster c)"
    assert "means" not in webhook.experiments[0], "there is no verdict yet"


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_webhook_gets_what_a_verdict_means_and_what_to_do(verdict: str) -> None:
    row = judged(1, "a", verdict, recoverable="no")
    (message,) = messages([{"kind": "webhook"}], "after", [row], ABOUT)
    (facts,) = message.experiments
    assert facts["title"] == "job-1 in ML-1"
    assert facts["means"] == ADVICE[verdict].means
    assert (facts["seen"], facts["what_to_do"]) == (seen_of(row), do_of(row))
    assert facts["means"] in message.text
    assert facts["what_to_do"] in message.text


def test_a_name_makes_no_line_and_no_header_of_a_message() -> None:
    nasty = "x\nBcc: all@example.com\r\u202e\x9b"
    harmed = {**judged(1, nasty, "stalled"), "vms": [nasty], "detail": nasty}
    hook = {"kind": "mail", "to": "a@example.com"}
    about = About(f"Move of {nasty}", nasty, nasty, nasty, nasty, (nasty,), {"unobserved": {nasty: nasty}})
    for event in ("stall", "after"):
        (message,) = messages([hook], event, [harmed], about)
        (usual,) = messages([hook], event, [judged(1, "a", "stalled")], About("s", "s", "s", "s", "s", ("s",), {"unobserved": {"s": "s"}}))  # fmt: skip
        assert message.subject.isprintable()
        assert len(message.text.splitlines()) == len(usual.text.splitlines())
        assert all(line.isprintable() for line in [*message.text.splitlines(), message.report_text, message.label])
