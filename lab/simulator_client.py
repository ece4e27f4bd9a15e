# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python side of the simulator: its configuration, and whether it answers."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.topology import Topology

ADMINISTRATOR = "administrator@vsphere.local"
RESTRICTED = "cloudadmin@vmc.local"
OPERATOR = "operator@vsphere.local"
OPERATORS = "operators@vsphere.local"  # a group
GUEST_USER = "trainer"
MAX_ANSWER_BYTES = 1 << 20


def password() -> str:
    """A new password. Its first characters satisfy rules about classes of characters."""
    return "Aa1-" + secrets.token_urlsafe(18)


def configuration(
    topology: Topology, vms: list[list[dict[str, Any]]], state: Path, time_scale: float
) -> dict[str, Any]:
    """The ``--config`` document. ``vms`` has the VMs of each vCenter, with their guests."""
    common = {
        "state_dir": str(state),
        "time_scale": time_scale,
        "guest_login": {"user": GUEST_USER, "password": password()},
    }
    first, *others = ({**one_vcenter(each, own), **common} for each, own in zip(topology.vcenters, vms, strict=True))
    return {**first, "control": {"listen": "127.0.0.1:0"}, "vcenters": others}


def one_vcenter(topology: Topology, vms: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of the document that describes one vCenter. Its passwords are its own, also of users with the same name."""
    sddc = {key: value for key, value in topology.sddc.items() if key not in ("name", "time_scale")}
    return {
        **sddc,
        "vcenter": {
            "name": topology.sddc["name"],
            "user": ADMINISTRATOR,
            "password": password(),
            "listen": "127.0.0.1:0",
        },
        "restricted": {"user": RESTRICTED, "password": password()},
        "operator": {"user": OPERATOR, "password": password(), "groups": [OPERATORS]},
        "vms": vms,
    }


def environment(vcenter: dict[str, Any]) -> dict[str, str]:
    """The variables with which playbooks use a vCenter."""
    return {
        "VMWARE_HOST": vcenter["host"],
        "VMWARE_USER": vcenter["user"],
        "VMWARE_PASSWORD": vcenter["password"],
        "VMWARE_PORT": str(vcenter["port"]),
        "VMWARE_VALIDATE_CERTS": "true",
        "SSL_CERT_FILE": vcenter["ca_file"],
        # The guests are processes of this machine. Real guests are not, so without this they are not asked.
        "LIVEML_VSPHERE_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


def connection_details(ready: dict[str, Any], state: Path) -> dict[str, Any]:
    """What ``up`` prints, made from ``ready.json``."""
    return {
        "vcenter": ready["vcenter"],
        "restricted": {key: ready["restricted"][key] for key in ("user", "password")},
        "operator": {key: ready["operator"][key] for key in ("user", "password")},
        "guest": {key: ready["guest"][key] for key in ("user", "password")},
        "vcenters": ready["vcenters"],
        "control": ready["control"],
        "env": environment(ready["vcenter"]),
        "pid": ready["pid"],
        "state": str(state),
    }


def of_vcenter(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """What ``up`` printed, with another vCenter and its users in the place of the first one.

    Raises:
        LabError: there is no other vCenter with this name.
    """
    other = answer["vcenters"].get(name)
    if other is None:
        known = ", ".join(sorted(answer["vcenters"])) or "none"
        raise LabError(f"the lab has no other vCenter {name!r}; it has {known}")
    users = {user: other[user] for user in ("restricted", "operator")}
    return {**answer, "vcenter": other, **users, "env": environment(other)}


def get(url: str, ca_file: str | None, timeout: float) -> bytes:
    """GET ``url`` without a proxy; an https certificate is verified against ``ca_file``."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca_file:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
    with urllib.request.build_opener(*handlers).open(url, timeout=timeout) as answer:
        return bytes(answer.read(MAX_ANSWER_BYTES))


def check_answers(answer: dict[str, Any], timeout: float = 10.0) -> None:
    """Check that the vSphere API (with its certificate) and the control API answer.

    Raises:
        LabError: one of them does not.
    """
    vcenter = answer["vcenter"]
    calls = (
        (f"https://{vcenter['host']}:{vcenter['port']}/sdk/vimServiceVersions.xml", vcenter["ca_file"]),
        (f"{answer['control']}/v1/state", None),
    )
    for url, ca_file in calls:
        try:
            get(url, ca_file, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LabError(f"{url} does not answer: {error}") from error
    for name, other in answer["vcenters"].items():
        check_certificate(name, other, timeout)


def check_certificate(name: str, vcenter: dict[str, Any], timeout: float) -> None:
    """Check that a vCenter shows its certificate, which may have expired."""
    where = (vcenter["host"], vcenter["port"])
    try:
        shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(where, timeout=timeout))
    except OSError as error:
        raise LabError(f"the vCenter {name} does not answer: {error}") from error
    if hashlib.sha256(shown).hexdigest() != vcenter["thumbprint_sha256"].replace(":", "").lower():
        raise LabError(f"another program answers on port {vcenter['port']} in the place of the vCenter {name}")


def guest_state(control: str, vcenter: str, vm: str) -> str:
    """State of the process in a VM: running, frozen, dead or none."""
    try:
        state = json.loads(get(f"{control}/v1/state?vcenter={urllib.parse.quote(vcenter)}", None, 10.0))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LabError(f"{control}/v1/state does not answer: {error}") from error
    return str(state["vms"][vm]["guest"]["state"])


def read_ready(path: Path) -> dict[str, Any] | None:
    """``ready.json``, None while it does not exist."""
    try:
        ready = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path} is not JSON: {error}") from error
    return dict(ready)
