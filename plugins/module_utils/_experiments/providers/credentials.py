# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials of experiment servers: which can be sent, where they must not stand, and when others can read them. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from ..._core.errors import InvalidInput

CREDENTIALS = ("username", "token", "client_cert")  # a password is sent with its user only
MIN_REPEATED = 6  # characters of a secret that is looked for in answers
TOKEN = re.compile(r"[!-~]+")  # what a header can carry: visible ASCII, RFC 9110 5.5
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SECRET_NAME = re.compile(r"token|secret|passw|pwd|credential|api_?key|^key$|^auth|^sig(nature)?$", re.IGNORECASE)


def has_secret_query(url: str) -> bool:
    """Whether the query of a URL has a parameter that is named like a secret."""
    try:
        names = [name for name, _value in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    except ValueError:
        return False
    return any(SECRET_NAME.search(name) for name in names)


def written_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets, the longest first, also as JSON and URLs write them. One that is shorter than ``MIN_REPEATED`` is in any text."""
    known = {secret for secret in secrets if len(secret) >= MIN_REPEATED}
    forms = {form for each in known for form in (each, json.dumps(each)[1:-1], quote(each, safe="", errors="replace"))}
    return tuple(sorted(forms, key=len, reverse=True))


def without_repeated(value: Any, forms: Sequence[str]) -> Any:
    """JSON data whose texts have ``********`` instead of secrets: some servers repeat in an error what they were sent.

    ``None`` for data that is nested too deep.
    """
    try:
        return _without(value, forms) if forms else value
    except RecursionError:
        return None


def _without(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, "********")
        return value
    if isinstance(value, dict):
        return {key: _without(each, forms) for key, each in value.items()}
    return [_without(each, forms) for each in value] if isinstance(value, list) else value


def sends_credentials(settings: Mapping[str, Any]) -> bool:
    """Whether a server is shown anything that is meant only for it."""
    return any(settings.get(name) for name in CREDENTIALS)


def refuse_unsendable(settings: Mapping[str, Any], option: str) -> None:
    """Raise InvalidInput for credentials that no HTTP header can carry. The message never contains their value."""
    token, username = settings.get("token"), settings.get("username")
    if token and not TOKEN.fullmatch(token):
        raise _unsendable(f"{option}.token", "a space, a line break or a letter that is not ASCII")
    if username and ":" in username:
        raise _unsendable(f"{option}.username", "a colon")
    for name in ("username", "password"):
        if CONTROL.search(settings.get(name) or ""):
            raise _unsendable(f"{option}.{name}", "a line break or another control character")


def _unsendable(option: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{option} contains {what}, which cannot be sent to a server",
        hint="Correct it. A line break at the end often comes from a block of YAML (|) or from echo",
        option="experiments",
    )


def goes_in_clear(url: str) -> bool:
    """Whether a question to a URL crosses a network by plain HTTP."""
    try:
        parts = urlsplit(url)
        local = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name, or no URL at all
        local = False
    return url.lower().startswith("http://") and not local


def readable_by_others(settings: Mapping[str, Any], option: str, where: str) -> list[str]:
    """Sentences about the password or the token that others can read on its way."""
    sent = [name for name in ("password", "token") if settings.get(name)] if sends_credentials(settings) else []
    return [
        f"{option}.{name} goes by plain HTTP to {where}: anybody on the network path can read it. Use TLS if the server supports it."
        for name in sent
    ]
