# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a message is sent: the Ansible module and its arguments for each kind of hook. Pure.

Names in messages come from guests. Each kind shows them as text, whatever they contain: nothing becomes a link, a mention or markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from .messages import Hook, Message

MODULES = {
    "mail": "community.general.mail",
    "slack": "community.general.slack",
    "teams": "ansible.builtin.uri",
    "webhook": "ansible.builtin.uri",
}
NEEDED = {"slack": "token", "teams": "url", "webhook": "url"}  # the key without which a hook of a kind cannot work
SECRETS = ("password", "token", "url")  # keys of a hook whose values must not be shown, besides its headers
MIN_PART = 4  # characters of a part of a secret that is not shown; shorter ones are in each text
# Texts that are longer are refused or cut by the other side. Teams counts the bytes of the whole request, and its limit of 28 KB
# has been seen to be lower in fact. Sources: Microsoft's pages on incoming webhooks, ServiceNow's on journal fields and on fields
# of type string, Atlassian's on the description and the summary of an issue.
MAX_SLACK = 30_000
MAX_TEAMS = 20_000
MAX_SERVICENOW = 4_000
MAX_SERVICENOW_SUBJECT = 160
MAX_JIRA = 32_000
MAX_JIRA_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Delivery:
    """A module and its arguments, which contain secrets. ``attached``: they name files."""

    module: str
    arguments: dict[str, Any]
    attached: bool = False


def delivery(hook: Hook, message: Message, *, attach: bool = True) -> Delivery:
    """How to send a message. Without ``attach``, nothing is attached whatever the hook says."""
    files = attachments(hook, message) if attach else ()
    arguments = _ARGUMENTS[hook["kind"]](hook, message, files)
    given = {name: value for name, value in arguments.items() if value not in (None, "", [], {})}
    return Delivery(MODULES[hook["kind"]], given, bool(files))


def attachments(hook: Hook, message: Message) -> tuple[str, ...]:
    """The files to attach. The report shows all experiments, so owners get their part of it unless the hook says otherwise."""
    if hook["kind"] != "mail" or not message.report:
        return ()
    wanted = hook.get("attach")
    if wanted is None:
        return (message.report,) if message.whole else message.excerpts
    return (message.report,) if str(wanted).strip().lower() in ("true", "yes", "on", "y", "1") else ()


def complaint(hook: Hook) -> str:
    """Why a hook cannot work, "" if it can."""
    for key, known in (("kind", MODULES), ("format", FORMATS)):
        value = hook.get(key) or ("liveml" if key == "format" else None)
        if not isinstance(value, str) or value not in known:
            got = value if isinstance(value, str) else type(value).__name__
            return f"value of {key} must be one of: {', '.join(known)}, got: {got}."
    if not _is_recipients(hook.get("to")):
        return "to must be an address, a list of addresses, or a mapping of owner to addresses."
    kind = hook["kind"]
    needed = NEEDED.get(kind)
    return f"A hook of kind {kind} needs {needed}." if needed and not hook.get(needed) else ""


def _is_recipients(to: Any) -> bool:
    if isinstance(to, Mapping):
        return all(isinstance(owner, str) and not isinstance(each, Mapping) for owner, each in to.items()) and all(
            map(_is_recipients, to.values())
        )
    return to is None or isinstance(to, str) or (isinstance(to, list) and all(isinstance(each, str) for each in to))


def without_secrets(hook: Hook, text: str) -> str:
    """A text about the delivery without the secrets of the hook, also where it repeats a part of one or writes it in another way."""
    for form in sorted(_secret_forms(hook), key=len, reverse=True):
        text = text.replace(form, "********")
    return text


def _secret_forms(hook: Hook) -> set[str]:
    headers = hook.get("headers")
    values = [hook.get(name) for name in SECRETS] + (list(headers.values()) if isinstance(headers, Mapping) else [])
    whole = {str(value) for value in values if value}
    parts = {part for value in whole for part in (*value.split(), *_parts(value)) if len(part) >= MIN_PART}
    return {form for value in whole | parts for form in _written(value) if form.strip()}


def _parts(url: str) -> Iterator[str]:
    """What an error may repeat of a URL without its beginning; its server is not a secret."""
    after = url.partition("://")[2]
    login, _at, rest = after.rpartition("@")
    yield from (login, *login.split(":", 1))
    path = rest[len(re.split("[/?#]", rest, maxsplit=1)[0]) :]
    yield from (path, path[1:], *re.split("[?#]", path))


def _written(value: str) -> Iterator[str]:
    """A text as errors write it: as it is, with escapes as Python or JSON, and as in a URL or a header."""
    for form in (value, value.strip(), quote(value, errors="replace"), unquote(value)):
        yield from (form, repr(form)[1:-1], json.dumps(form)[1:-1])


def _mail(hook: Hook, message: Message, files: tuple[str, ...]) -> dict[str, Any]:
    part = "The report" if message.report in files else "The part of the report about your experiments"
    report = f"{part} is attached." if files else message.report_text
    return {
        "host": hook.get("host"),
        "port": hook.get("port"),
        "secure": hook.get("secure"),
        "username": hook.get("username"),
        "password": hook.get("password"),
        "sender": hook.get("from"),
        "to": list(message.to),
        "subject": message.subject,
        "body": _text(message, report),
        "attach": list(files),
    }


def _slack(hook: Hook, message: Message, _files: tuple[str, ...]) -> dict[str, Any]:
    subject, text = (
        part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for part in (message.subject, _text(message, message.report_text, MAX_SLACK))
    )
    return {
        "token": hook.get("token"),
        "channel": hook.get("channel"),
        "msg": f"*{subject}*\n{text}",
        "link_names": 0,
        "validate_certs": hook.get("validate_certs"),
    }


def _teams(hook: Hook, message: Message, _files: tuple[str, ...]) -> dict[str, Any]:
    return _request(hook, "POST", _fitting(lambda most: _card(message, most), MAX_TEAMS))


def _fitting(make: Callable[[int], dict[str, Any]], most: int) -> dict[str, Any]:
    """What is made of at most so many characters of text, so few that its JSON has at most ``most``."""
    room = most
    made = make(room)
    while len(json.dumps(made)) > most and room > 1000:
        room -= room // 5
        made = make(room)
    return made


def _card(message: Message, most: int) -> dict[str, Any]:
    """An Adaptive Card in the envelope that workflows of Teams take.

    Blocks of rich text have no markup. Blocks of plain text, and facts, would show that of Markdown.
    """
    head = {"type": "TextRun", "text": message.subject, "weight": "Bolder", "size": "Medium"}
    lines = [line for line in _text(message, message.report_text, most).splitlines() if line]
    runs = [[head], *([{"type": "TextRun", "text": line}] for line in lines)]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [{"type": "RichTextBlock", "inlines": inlines} for inlines in runs],
    }
    if message.report_url.startswith("https://"):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Report", "url": message.report_url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _webhook(hook: Hook, message: Message, _files: tuple[str, ...]) -> dict[str, Any]:
    method, body = FORMATS[hook.get("format") or "liveml"](message, dict(hook.get("fields") or {}))
    return _request(hook, method, body)


def _request(hook: Hook, method: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "url": hook["url"],
        "url_username": hook.get("username"),
        "url_password": hook.get("password"),
        "force_basic_auth": True if hook.get("username") else None,
        "method": method,
        "headers": hook.get("headers"),
        "body_format": "json",
        "body": body,
        "status_code": [200, 201, 202, 204],
        "validate_certs": hook.get("validate_certs"),
    }


def _liveml(message: Message, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    body = {
        "event": message.event,
        "subject": message.subject,
        "text": _text(message, message.report_text),
        "experiments": list(message.experiments),
        "run_id": message.run_id,
        "report": message.report,
        "report_url": message.report_url,
    }
    return "POST", {**body, **fields}


def _servicenow(message: Message, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A record of a table such as ``incident``; all messages of a run have the same ``correlation_id``."""
    body = {
        "short_description": message.subject[:MAX_SERVICENOW_SUBJECT],
        "description": _text(message, message.report_text, MAX_SERVICENOW),
        "correlation_id": message.run_id,
        "correlation_display": "liveml.vsphere",
    }
    return "POST", {**body, **fields}


def _servicenow_note(message: Message, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A work note of a record that exists. What stands between code tags would be shown as HTML."""
    text = f"{message.subject}\n\n{_text(message, message.report_text, MAX_SERVICENOW)}"
    return "PATCH", {"work_notes": re.sub(r"\[(/?\s*code\s*)\]", r"(\1)", text, flags=re.IGNORECASE), **fields}


def _jira_issue(message: Message, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    own = {
        "summary": message.subject[:MAX_JIRA_SUBJECT],
        "description": _fitting(lambda most: _document(_text(message, message.report_text, most)), MAX_JIRA),
        "issuetype": {"name": "Task"},
    }
    return "POST", {"fields": {**own, **fields}}


def _jira_comment(message: Message, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:

    def document(most: int) -> dict[str, Any]:
        return _document(f"{message.subject}\n\n{_text(message, message.report_text, most)}")

    return "POST", {"body": _fitting(document, MAX_JIRA), **fields}


def _document(text: str) -> dict[str, Any]:
    """A text in the Atlassian document format: paragraphs of plain text."""
    paragraphs = []
    for paragraph in filter(None, text.strip().split("\n\n")):
        content: list[dict[str, Any]] = []
        for line in filter(None, paragraph.split("\n")):
            content += [{"type": "hardBreak"}] if content else []
            content.append({"type": "text", "text": line})
        paragraphs.append({"type": "paragraph", "content": content})
    return {"type": "doc", "version": 1, "content": paragraphs}


def _text(message: Message, report: str, most: int | None = None) -> str:
    """The text with the sentence about the report. With ``most``, lines that make it longer than that are left out."""
    text = f"{message.text}\n{report}\n" if report else message.text
    if most is None or len(text) <= most:
        return text
    lines, end = message.text.splitlines(), f"\n\n{report}" if report else ""
    room, kept = most - len(end) - len("\n... and 1000000 more lines"), list[str]()
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    kept = kept or [lines[0][: max(0, most - len(end) - 40)]]
    return "\n".join(kept) + f"\n... and {len(lines) - len(kept)} more lines{end}"


FORMATS: dict[str, Callable[[Message, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "liveml": _liveml,
    "servicenow": _servicenow,
    "servicenow_note": _servicenow_note,
    "jira_issue": _jira_issue,
    "jira_comment": _jira_comment,
}
_ARGUMENTS: dict[str, Callable[[Hook, Message, tuple[str, ...]], dict[str, Any]]] = {
    "mail": _mail,
    "slack": _slack,
    "teams": _teams,
    "webhook": _webhook,
}
