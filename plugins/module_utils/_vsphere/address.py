# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a vCenter is: understands what people write, also what they copy from a browser. Pure."""

from __future__ import annotations

import re
from typing import NoReturn

from .._core.errors import InvalidInput
from .._core.servers import is_host

HTTPS_PORT = 443
MAX_PORT = 65535
NAME = "hostname (VMWARE_HOST)"
# First parts of the paths of vCenter's own pages and interfaces. Behind another path is something else, which gets no password.
_OWN_PATHS = frozenset({"", "sdk", "ui", "vsphere-client", "websso", "api", "rest", "mob", "folder"})
_AROUND = " \t\r\n\"'<>\xa0\u200b\ufeff"  # what copying and files of variables add
_SCHEME = re.compile(r"(https?)(?::/{0,2}|/{1,2})|([a-z][a-z0-9+.-]*)://|//", re.IGNORECASE)


def address_of(written: str, port: int) -> tuple[str, int]:
    """Host and port of a vCenter: ``vc``, ``https://vc/``, ``vc:8443``, ``[2001:db8::1]:8443``, or the URL of one of its pages.

    A port in ``written`` counts if ``port`` is the usual one or the same. Raises InvalidInput with the value to use instead.
    """
    _before, login, found = written.strip(_AROUND).replace("\\", "/").rpartition("@")
    scheme = _SCHEME.match(found)
    server, _slash, path = found[scheme.end() if scheme else 0 :].partition("/")
    host, own_port = _host_and_port(re.split("[?#]", server)[0])
    if login:  # which may be a password: nothing of it is repeated
        _refuse(
            "contains a login",
            host,
            own_port,
            " and give the login in username (VMWARE_USER) and password (VMWARE_PASSWORD)",
        )
    if not is_host(host):
        _refuse(f"is {written!r}, which is not the name or address of a server")
    if scheme and (scheme[1] or scheme[2] or "https").lower() != "https":
        _refuse(f"is {written!r}, but vCenter is only reached by https", host, own_port)
    if re.split("[/?#]", path)[0].lower() not in _OWN_PATHS:
        _refuse(f"is {written!r}, but vCenter has no such path", host, own_port)
    return host, _port(own_port, port, host)


def _host_and_port(server: str) -> tuple[str, str]:
    """The two parts of ``vc:8443``, ``[::1]:8443`` or ``::1``; the port is empty if there is none."""
    if found := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", server):
        return found[1], found[2] or ""
    host, _colon, port = server.partition(":")
    return (server, "") if ":" in port else (host, port)


def _port(own: str, given: int, host: str) -> int:
    """The port that counts: ``own`` is that of the address, ``given`` that of the option."""
    if not own:
        if not 0 < given <= MAX_PORT:
            raise InvalidInput(
                f"port (VMWARE_PORT) is {given}", hint=f"Set it to a number from 1 to {MAX_PORT}", option="port"
            )
        return given
    if not _is_port(own):
        _refuse(f"has the port {own!r}, which is not a number from 1 to {MAX_PORT}", host)
    if given not in (HTTPS_PORT, int(own)):
        _refuse(f"has the port {own}, but port (VMWARE_PORT) is {given}", host)
    return int(own)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PORT


def _refuse(why: str, host: str = "", port: str = "", further: str = "") -> NoReturn:
    """Raise InvalidInput with the corrected value, if there is one."""
    value = "a name such as vcenter.example.com"
    if is_host(host):
        value = (
            host
            if not _is_port(port) or int(port) in (80, HTTPS_PORT)
            else f"{f'[{host}]' if ':' in host else host}:{port}"
        )
    raise InvalidInput(f"{NAME} {why}", hint=f"Set it to {value}{further}", option="hostname")
