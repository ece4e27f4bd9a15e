# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clock of a guest as the header ``Date`` of its answers shows it (RFC 9110, 6.6.1), in whole seconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

DATE_STEP = 1.0  # seconds: the header shows nothing finer
# How servers begin that look at the clock for each answer (their sources). Others show an older time: asyncio's servers
# look once per second, and caches and most proxies answer with a time of their own.
PROMPT_SERVERS = ("BaseHTTP/", "SimpleHTTP/", "WSGIServer/", "Werkzeug/", "gunicorn")


def date_of(headers: Mapping[str, str]) -> float | None:
    """Seconds since 1970 by the clock of the server when it answered; ``None`` if its answer does not show that.

    ``headers``: with names in lower case.
    """
    if not headers.get("server", "").startswith(PROMPT_SERVERS) or "age" in headers or "via" in headers:
        return None
    date = headers.get("date", "")
    parts = parsedate_tz(date) if date.endswith("GMT") else None
    try:
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError):
        return None
