# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and addresses of servers. Pure: nothing is looked up."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}")  # a part of a server's name; a DNS server may accept the underscore
MAX_HOST = 253


def is_host(name: str) -> bool:
    """Whether a name can be looked up, or is an IP address."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    try:
        labels = name.removesuffix(".").encode("idna").decode("ascii").split(".")
    except UnicodeError:
        return False
    return len(name) <= MAX_HOST and all(LABEL.fullmatch(label) for label in labels)


def is_number(host: str) -> bool:
    """Whether a host is an address, or what the system takes for one (``127.1``, ``0x7f000001``), or this machine."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    last = host.removesuffix(".").rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x") or last == "localhost"
