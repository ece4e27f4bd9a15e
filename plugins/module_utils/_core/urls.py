# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URLs may contain secrets: a login, a query, a fragment. Pure; a URL may be malformed in any way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from .untrusted import text

MIN_SECRET = 4  # characters; what is shorter is in every text
_SCHEME = re.compile(r"^\s*\w[\w+.-]*://")
_NAMES = ("url", "hostname")  # options whose values are URLs also without a scheme


def without_secrets(url: str) -> str:
    """A URL as messages may show it: without user, password, query and fragment, however malformed it is."""
    scheme = "".join(re.findall(r"^\w+://", url))
    server, *query = re.split(r"[?#]", url.removeprefix(scheme), maxsplit=1)
    if "@" in "".join(query):  # a password with a question mark, or a query with an at sign
        return f"{scheme}..."
    return text(f"{scheme}{server.rpartition('@')[2]}")


def secrets_in(value: Any, name: str = "") -> set[str]:
    """What may be secret in the URLs of options, at any depth. ``name`` is that of the option."""
    if isinstance(value, Mapping):
        return {secret for key, each in value.items() for secret in secrets_in(each, str(key))}
    if isinstance(value, list | tuple):
        return {secret for each in value for secret in secrets_in(each, name)}
    if not isinstance(value, str) or not (name in _NAMES or _SCHEME.match(value)):
        return set()
    return {form for part in _secret_parts(value) for form in (part, unquote(part)) if len(form) >= MIN_SECRET}


def _secret_parts(url: str) -> Iterator[str]:
    """The password of a URL, or its user who has none and may be a token; its query and its fragment, and each parameter."""
    rest = _SCHEME.sub("", url)
    login, _at, _server = rest.rpartition("@")
    user, _colon, password = login.partition(":")
    yield password or user
    _server, *queries = re.split(r"[?#]", rest)
    if any("@" in query for query in queries):  # nobody knows which part is what
        yield from re.split(r"[@?#&]", rest)
    for query in queries:
        yield query
        yield from query.split("&")
