# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST calls to the H2O-3 servers of the lab."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from lab.errors import LabError

TIMEOUT = 60.0
MAX_ANSWER_BYTES = 16 << 20
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Unreachable(LabError):
    """The server does not answer; it may still be starting."""


class H2O:
    """An H2O-3 server at ``url``. All methods raise LabError if it does not answer, or answers with an error."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> dict[str, Any]:
        """Send a request; return the JSON answer."""
        # With a content type H2O would expect a body.
        headers = {"Content-Type": kind} if body is not None else {}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with NO_PROXY.open(request, timeout=TIMEOUT) as answer:
                parsed = json.loads(answer.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise LabError(f"H2O at {self.url} rejected {path.partition('?')[0]}: {error_text(error)}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"H2O at {self.url} does not answer {path.partition('?')[0]}: {error}") from error
        return parsed if isinstance(parsed, dict) else {}

    def get(self, path: str) -> dict[str, Any]:
        """GET."""
        return self.call("GET", path)

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE."""
        return self.call("DELETE", path)

    def post(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """POST a form; lists and booleans are written as H2O reads them."""
        form = urllib.parse.urlencode({key: form_value(value) for key, value in parameters.items()})
        return self.call("POST", path, form.encode(), "application/x-www-form-urlencoded")

    def post_json(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """POST a JSON document."""
        return self.call("POST", path, json.dumps(document).encode(), "application/json")

    def job(self, key: str) -> dict[str, Any]:
        """The current state of a job."""
        return dict(self.get(f"/3/Jobs/{urllib.parse.quote(key)}")["jobs"][0])

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            self.get("/3/Cloud")
        except Unreachable:
            return False
        return True


def form_value(value: Any) -> str:
    """``True`` -> true, ``["a"]`` -> ["a"], 3 -> 3."""
    return value if isinstance(value, str) else json.dumps(value)


def error_text(error: urllib.error.HTTPError) -> str:
    """H2O's own words about a rejected request."""
    try:
        document = json.loads(error.read(MAX_ANSWER_BYTES))
        return " ".join(str(document.get("msg") or document.get("exception_msg") or error).split())[:500]
    except (OSError, ValueError, AttributeError):
        return str(error)
