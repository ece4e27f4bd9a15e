# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control API of a running lab, for tests and benchmarks; ``lab/README.md`` lists its requests."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from lab.h2o import NO_PROXY

TIMEOUT = 60.0


class Control:
    """The control API at ``url``, as ``up`` prints it. Methods raise OSError if it does not answer or rejects a request.

    Requests are about the vCenter with the name ``vcenter``, without it about the first one.
    """

    def __init__(self, url: str, vcenter: str | None = None) -> None:
        self.url = url
        self.vcenter = vcenter

    def address(self, path: str) -> str:
        """The URL of ``/v1/PATH``."""
        query = "" if self.vcenter is None else f"?vcenter={urllib.parse.quote(self.vcenter)}"
        return f"{self.url}/v1/{path}{query}"

    def get(self, path: str) -> dict[str, Any]:
        """GET ``/v1/PATH``."""
        with NO_PROXY.open(self.address(path), timeout=TIMEOUT) as reply:
            return dict(json.load(reply))

    def post(self, path: str, **body: Any) -> None:
        """POST a request to ``/v1/PATH``."""
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address(path), json.dumps(body).encode(), kind)
        with NO_PROXY.open(request, timeout=TIMEOUT):
            pass
