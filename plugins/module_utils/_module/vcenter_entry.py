# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entry of the modules that connect to vCenter. A module without vCenter takes ``entry`` and needs no pyVmomi."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._core.errors import InvalidInput, VsphereError
from .._core.untrusted import printable
from .._vsphere.client import PYVMOMI_ERROR, Endpoint, connected
from .._vsphere.session import VcenterSession
from .argspec import CONNECTION_SPEC
from .entry import finish, prepared


def run_module(
    spec: dict[str, Any], body: Callable[[AnsibleModule, VcenterSession], dict[str, Any]], **options: Any
) -> None:
    """Run ``body`` with a connection to vCenter, then exit or fail. ``options`` are those of AnsibleModule."""
    module = prepared({**CONNECTION_SPEC, **spec}, **options)
    if PYVMOMI_ERROR is not None:
        module.fail_json(msg=missing_required_lib("pyVmomi"), exception=PYVMOMI_ERROR)
    try:
        with connected(connection_of(module.params), patience_of(module.params)) as client:
            result = body(module, VcenterSession(client))
    except VsphereError as error:
        about = {"run_id": error.run_id, "option": error.option, "fenced": error.fenced}
        module.fail_json(msg=printable(str(error)), **{name: value for name, value in about.items() if value})
    finish(module, result)


def connection_of(params: dict[str, Any]) -> Endpoint:
    """The vCenter that the module's options name."""
    return Endpoint(
        host=params["hostname"],
        user=params["username"],
        password=params["password"],
        port=params["port"],
        validate_certs=params["validate_certs"],
        ca_path=params["ca_path"],
    )


def patience_of(params: dict[str, Any]) -> float:
    """Seconds for which vCenter may be silent. Raises InvalidInput."""
    patience = float(params["vcenter_patience"])
    if patience < 0:
        raise InvalidInput(
            f"vcenter_patience is {patience}", hint="Give a number of seconds of at least 0", option="vcenter_patience"
        )
    return patience
