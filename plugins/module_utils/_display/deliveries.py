# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a message is sent: the Ansible module and its arguments for each kind of hook. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .messages import Hook, Message

MODULES = {
    "mail": "community.general.mail",
    "slack": "community.general.slack",
    "webhook": "ansible.builtin.uri",
}
SECRETS = ("password", "token", "url")  # keys of a hook whose values must not be shown, besides its headers


@dataclass(frozen=True, slots=True)
class Delivery:
    """A module and its arguments, which contain secrets. ``attached``: they name a file."""

    module: str
    arguments: dict[str, Any]
    attached: bool = False


def delivery(hook: Hook, message: Message, *, attach: bool = True) -> Delivery:
    """How to send a message. Without ``attach``, the report is not attached whatever the hook says."""
    attached = attach and hook["kind"] == "mail" and bool(message.report) and attaches(hook, message)
    arguments = _ARGUMENTS[hook["kind"]](hook, message, attached)
    given = {name: value for name, value in arguments.items() if value not in (None, "", [], {})}
    return Delivery(MODULES[hook["kind"]], given, attached)


def attaches(hook: Hook, message: Message) -> bool:
    """Whether a hook wants the report. It shows all experiments, so owners get it only if the hook says so."""
    wanted = hook.get("attach")
    return message.whole if wanted is None else str(wanted).strip().lower() in ("true", "yes", "on", "y", "1")


def without_secrets(hook: Hook, text: str) -> str:
    """A text about the delivery without the secrets of the hook."""
    headers = hook.get("headers")
    values = [hook.get(name) for name in SECRETS] + (list(headers.values()) if isinstance(headers, Mapping) else [])
    for secret in sorted({str(value) for value in values if value}, key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def _mail(hook: Hook, message: Message, attached: bool) -> dict[str, Any]:
    report = "The report is attached." if attached else message.report_text
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
        "attach": [message.report] if attached else [],
    }


def _slack(hook: Hook, message: Message, _attached: bool) -> dict[str, Any]:
    # Names come from guests. Escape them, so that they cannot mention a channel or look like a link.
    subject, text = (
        part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for part in (message.subject, _text(message, message.report_text))
    )
    return {
        "token": hook.get("token"),
        "channel": hook.get("channel"),
        "msg": f"*{subject}*\n{text}",
        "link_names": 0,
        "validate_certs": hook.get("validate_certs"),
    }


def _webhook(hook: Hook, message: Message, _attached: bool) -> dict[str, Any]:
    body = {
        "event": message.event,
        "subject": message.subject,
        "text": _text(message, message.report_text),
        "experiments": list(message.experiments),
        "run_id": message.run_id,
        "report": message.report,
        "report_url": message.report_url,
    }
    return {
        "url": hook["url"],
        "method": "POST",
        "headers": hook.get("headers"),
        "body_format": "json",
        "body": body,
        "status_code": [200, 201, 202, 204],
        "validate_certs": hook.get("validate_certs"),
    }


def _text(message: Message, report: str) -> str:
    return f"{message.text}\n{report}\n" if report else message.text


_ARGUMENTS: dict[str, Callable[[Hook, Message, bool], dict[str, Any]]] = {
    "mail": _mail,
    "slack": _slack,
    "webhook": _webhook,
}
