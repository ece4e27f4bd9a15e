# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How messages are sent: which module gets which arguments."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._display.deliveries import (
    Delivery,
    delivery,
    without_secrets,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import About, messages

NASTY = "<!channel> & <http://evil.example.com|click>"


def seen(vm: str = "ML-1", verdict: str = "stalled") -> dict[str, Any]:
    return {"provider": "h2o3", "id": "j", "owner": "a", "vms": [vm], "verdict": verdict, "longest_stall": None}


def sent(hook: dict[str, Any], *, vm: str = "ML-1", attach: bool = True) -> Delivery:
    about = About("Move of x", report="/runs/R1/report.html", controller="awx-1", result={"run_id": "R1"})
    (message,) = messages([hook], "after", [seen(vm)], about)
    return delivery(hook, message, attach=attach)


def test_mail_has_the_report_attached_and_says_so() -> None:
    hook = {"kind": "mail", "to": "a@example.com", "host": "smtp.example.com", "from": "v@example.com", "username": ""}
    found = sent(hook)
    assert found.module == "community.general.mail"
    assert found.attached
    assert found.arguments.pop("body").endswith("\n\nThe report is attached.\n")
    assert found.arguments == {
        "host": "smtp.example.com", "sender": "v@example.com", "to": ["a@example.com"],
        "subject": "Move of x: done, 1 experiment stalled", "attach": ["/runs/R1/report.html"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "attach", "attached"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"attach": False}, True, False),
        ({"attach": "no"}, True, False),
        ({"owners": ["a"]}, True, False),
        ({"to": {"a": "a@example.com"}}, True, False),
        ({"to": {"a": "a@example.com"}, "attach": True}, True, True),
        ({"owners": ["a"], "attach": "yes"}, True, True),
    ],
)
def test_the_report_of_all_experiments_goes_to_who_gets_all_or_as_the_hook_says(
    more: dict[str, Any], attach: bool, attached: bool
) -> None:
    found = sent({"kind": "mail", "to": "a@example.com", **more}, attach=attach)
    assert found.attached is attached
    assert ("attach" in found.arguments) is attached
    assert ("attached" in found.arguments["body"]) is attached


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
    assert "<" not in message


def test_what_is_said_of_a_failure_has_no_secret() -> None:
    hook = {"kind": "webhook", "url": "https://x/s3cret", "token": "", "password": "pw-1", "headers": {"A": "Bearer b"}}
    said = without_secrets(hook, "no https://x/s3cret with pw-1 and Bearer b")
    assert said == "no ******** with ******** and ********"
