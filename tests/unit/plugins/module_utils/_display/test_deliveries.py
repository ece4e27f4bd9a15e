# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How messages are sent: which module gets which arguments."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display.deliveries import (
    MAX_JIRA,
    MAX_SERVICENOW,
    MAX_SLACK,
    MAX_TEAMS,
    Delivery,
    complaint,
    delivery,
    without_secrets,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import About, messages

NASTY = "<!channel> & <http://evil.example.com|click> **b** [x](http://evil.example.com) [code]<b>x</b>[/code] {code}"
URL = {"url": "https://x/"}


def seen(vm: str = "ML-1", verdict: str = "stalled") -> dict[str, Any]:
    return {"provider": "h2o3", "id": "j", "owner": "a", "vms": [vm], "verdict": verdict, "longest_stall": None}


def sent(hook: dict[str, Any], *, vm: str = "ML-1", attach: bool = True, more: int = 0) -> Delivery:
    parts = {"a": "/runs/R1/report-of-a.html", "b": "/runs/R1/report-of-b.html"}
    about = About(
        "Move of x", report="/runs/R1/report.html", excerpts=parts, controller="awx-1", result={"run_id": "R1"}
    )
    others = [{**seen(f"VM {number}", "uninterrupted"), "id": str(number)} for number in range(more)]
    (message,) = messages([hook], "after", [seen(vm), *others], about)
    return delivery(hook, message, attach=attach)


def test_mail_has_the_report_attached_and_says_so() -> None:
    hook = {"kind": "mail", "to": "a@example.com", "host": "smtp.example.com", "from": "v@example.com", "username": ""}
    found = sent(hook)
    assert found.module == "community.general.mail"
    assert found.attached
    assert found.arguments.pop("body").endswith("\n\nThe report is attached.\n")
    assert found.arguments == {
        "host": "smtp.example.com", "sender": "v@example.com", "to": ["a@example.com"],
        "subject": "Move of x: done, j stalled beyond the budget", "attach": ["/runs/R1/report.html"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "attach", "attached"),
    [
        ({}, True, "report"),
        ({}, False, ""),
        ({"attach": False}, True, ""),
        ({"attach": "no"}, True, ""),
        ({"owners": ["a"]}, True, "report-of-a"),
        ({"to": {"a": "a@example.com"}}, True, "report-of-a"),
        ({"to": {"a": "a@example.com"}}, False, ""),
        ({"to": {"a": "a@example.com"}, "attach": False}, True, ""),
        ({"to": {"a": "a@example.com"}, "attach": True}, True, "report"),
        ({"owners": ["a"], "attach": "yes"}, True, "report"),
    ],
)
def test_owners_get_their_part_of_the_report_and_who_gets_all_the_whole(
    more: dict[str, Any], attach: bool, attached: str
) -> None:
    found = sent({"kind": "mail", "to": "a@example.com", **more}, attach=attach)
    assert found.attached is bool(attached)
    assert found.arguments.get("attach", []) == ([f"/runs/R1/{attached}.html"] if attached else [])
    said = {
        "report": "\n\nThe report is attached.\n",
        "report-of-a": "The part of the report about your experiments is attached.\n",
    }
    assert found.arguments["body"].endswith(said[attached]) if attached else "attached" not in found.arguments["body"]


def test_a_webhook_gets_the_facts() -> None:
    found = sent({"kind": "webhook", "url": "https://x/", "headers": {"A": "b"}, "report_url": "https://e/{run_id}"})
    assert found.module == "ansible.builtin.uri"
    assert found.arguments["headers"] == {"A": "b"}
    body = found.arguments["body"]
    assert (body["event"], body["run_id"], body["report"], body["report_url"]) == (
        "after", "R1", "/runs/R1/report.html", "https://e/R1"
    )  # fmt: skip
    assert body["text"].endswith("\n\nReport: https://e/R1\n")


def test_names_of_guests_stay_text_in_slack() -> None:
    message = sent({"kind": "slack", "token": "t", "channel": "c"}, vm=NASTY).arguments["msg"]
    assert "&lt;!channel&gt; &amp; &lt;http" in message
    assert "<" not in message.replace("&lt;", "")


def test_what_is_said_of_a_failure_has_no_secret() -> None:
    hook = {"kind": "webhook", "url": "https://x/s3cret", "token": "", "password": "pw-1", "headers": {"A": "Bearer b"}}
    said = without_secrets(hook, "no https://x/s3cret with pw-1 and Bearer b")
    assert said == "no ******** with ******** and ********"


@pytest.mark.parametrize(
    "hook",
    [
        {"url": "https://hooks.example.com/services/CANARY 1"},
        {"url": "https://hooks.example.com/CANARY\n"},
        {"url": "https://hooks.example.com/x?sig=CANARY 1#CANARY"},
        {"url": "https://bob:CANARY@hooks.example.com/x"},
        {"url": "https://hooks.example.com/x", "headers": {"Authorization": "Bearer CANARY\n"}},
        {"url": "https://hooks.example.com/x", "headers": {"X-Key": "CANARY\u00e9\u2028"}},
    ],
    ids=str,
)
def test_no_error_of_python_brings_a_part_of_a_secret_into_a_message(hook: dict[str, Any]) -> None:
    with pytest.raises((HTTPException, OSError, ValueError)) as caught:
        urlopen(Request(hook["url"], headers=hook.get("headers", {})), timeout=0.01)
    for text in (str(caught.value), repr(caught.value), f"POST {hook['url']!r} {hook.get('headers')}"):
        assert "CANARY" not in without_secrets(hook, text)


@pytest.mark.parametrize("text", ["no /T0/CANARY", "no T0%2FCANARY", "no \"b'Bearer CANARY\\n'\"", "no CANARY"])
def test_a_secret_that_is_written_in_another_way_is_not_shown(text: str) -> None:
    hook = {"url": "https://x/T0/CANARY", "token": "T0/CANARY", "headers": {"Authorization": "Bearer CANARY\n"}}
    assert without_secrets(hook, text).startswith("no ")
    assert "CANARY" not in without_secrets(hook, text)


def texts_of(value: Any) -> list[str]:
    """All texts in JSON data."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_of(each)]
    return [text for each in value for text in texts_of(each)] if isinstance(value, list) else [str(value)]


def test_teams_gets_a_card_of_texts_without_markup() -> None:
    found = sent({"kind": "teams", **URL, "report_url": "https://e/{run_id}"}, vm=NASTY)
    assert found.module == "ansible.builtin.uri"
    (attachment,) = found.arguments["body"]["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}, "other blocks show Markdown"
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert runs[0]["text"] == "Move of x: done, j stalled beyond the budget"
    assert any(NASTY in run["text"] for run in runs)
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Report", "url": "https://e/R1"}]
    assert "entities" not in card["msteams"], "nobody is mentioned"
    plain = sent({"kind": "teams", **URL, "report_url": "javascript:x"}).arguments["body"]["attachments"][0]
    assert "actions" not in plain["content"]


def test_servicenow_gets_an_incident_or_a_work_note() -> None:
    hook = {"kind": "webhook", **URL, "username": "u", "password": "p", "fields": {"urgency": "2"}}
    incident = sent({**hook, "format": "servicenow"}).arguments
    assert (incident["method"], incident["url_username"], incident["force_basic_auth"]) == ("POST", "u", True)
    assert (
        incident["body"].pop("description").startswith("Move of x is done.\n\n1 experiment stalled beyond the budget. ")
    )
    assert incident["body"] == {
        "short_description": "Move of x: done, j stalled beyond the budget", "correlation_id": "R1",
        "correlation_display": "liveml.vsphere", "urgency": "2",
    }  # fmt: skip
    note = sent({**hook, "format": "servicenow_note"}, vm=NASTY).arguments
    assert note["method"] == "PATCH"
    assert "(code)<b>x</b>(/code)" in note["body"]["work_notes"], "code tags would make HTML of it"


def test_jira_gets_an_issue_or_a_comment_of_plain_texts() -> None:
    hook = {"kind": "webhook", **URL, "format": "jira_issue", "fields": {"project": {"key": "OPS"}}}
    fields = sent(hook, vm=NASTY).arguments["body"]["fields"]
    assert (fields["project"], fields["issuetype"]) == ({"key": "OPS"}, {"name": "Task"})
    assert fields["summary"] == "Move of x: done, j stalled beyond the budget"
    document = fields["description"]
    assert (document["type"], document["version"]) == ("doc", 1)
    nodes = [node for paragraph in document["content"] for node in paragraph["content"]]
    assert {node["type"] for node in nodes} <= {"text", "hardBreak"}
    assert all(node["text"] and "marks" not in node for node in nodes if node["type"] == "text")
    assert any(NASTY in node.get("text", "") for node in nodes)
    comment = sent({"kind": "webhook", **URL, "format": "jira_comment"}).arguments["body"]
    assert comment["body"]["content"][0]["content"] == [{"type": "text", "text": fields["summary"]}]


@pytest.mark.parametrize(
    ("hook", "most"),
    [
        ({"kind": "slack", "token": "t"}, MAX_SLACK + 200),
        ({"kind": "teams"}, MAX_TEAMS),
        ({"kind": "webhook", "format": "servicenow"}, MAX_SERVICENOW + 200),
        ({"kind": "webhook", "format": "servicenow_note"}, MAX_SERVICENOW + 200),
        ({"kind": "webhook", "format": "jira_issue"}, MAX_JIRA + 200),
        ({"kind": "webhook", "format": "jira_comment"}, MAX_JIRA + 200),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_message_about_very_many_experiments_is_cut_and_says_so(hook: dict[str, Any], most: int) -> None:
    arguments = sent({**hook, **URL}, more=2000).arguments
    texts = texts_of(arguments.get("body") or arguments["msg"])
    as_json = hook["kind"] == "teams" or "jira" in hook.get("format", "")
    size = len(json.dumps(arguments["body"])) if as_json else sum(map(len, texts))
    assert 0.7 * most < size <= most
    whole = " ".join(texts)
    assert "- j in ML-1 (owner a): " in whole, "the worst comes first"
    assert " more lines" in whole
    assert "The report is on awx-1" in whole, "the end is kept"


def test_one_endless_line_is_cut_too() -> None:
    about = About("x" * 9000, report="/r", result={"run_id": "R"})
    hook = {"kind": "webhook", **URL, "format": "servicenow"}
    (message,) = messages([hook], "after", [], about)
    body = delivery(hook, message).arguments["body"]
    assert len(body["description"]) <= MAX_SERVICENOW
    assert len(body["short_description"]) == 160


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({"kind": "pigeon"}, "must be one of: mail, slack, teams, webhook, got: pigeon"),
        ({"kind": "slack"}, "needs token"),
        ({"kind": "teams", "url": ""}, "needs url"),
        ({"kind": "webhook", **URL, "format": "telex"}, "format must be one of: liveml, servicenow"),
        ({"kind": "webhook", **URL, "format": "jira_issue"}, ""),
        ({"kind": "mail"}, ""),
    ],
)
def test_a_hook_that_cannot_work_is_named(hook: dict[str, Any], words: str) -> None:
    assert words in complaint(hook)
    assert bool(complaint(hook)) is bool(words)
