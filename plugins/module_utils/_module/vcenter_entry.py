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
from .._vsphere.address import address_of
from .._vsphere.client import PYVMOMI_ERROR, Endpoint, connected
from .._vsphere.session import VcenterSession
from .argspec import CONNECTION_SPEC
from .entry import finish, prepared

_LOGIN = {"hostname": "VMWARE_HOST", "username": "VMWARE_USER", "password": "VMWARE_PASSWORD"}


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
        about = {
            "error": type(error).__name__,
            "run_id": error.run_id,
            "option": error.option,
            "fenced": error.fenced,
        }
        module.fail_json(msg=printable(str(error)), **{name: value for name, value in about.items() if value})
    finish(module, result)


def connection_of(params: dict[str, Any]) -> Endpoint:
    """The vCenter that the module's options name. Raises InvalidInput."""
    empty = [option for option in _LOGIN if not params[option].strip()]
    if empty:
        names = " and ".join(f"{option} ({_LOGIN[option]})" for option in empty)
        raise InvalidInput(
            f"The login of vCenter is incomplete: {names} {'is' if len(empty) == 1 else 'are'} empty",
            hint="Set what is empty",
            option=empty[0],
        )
    host, port = address_of(params["hostname"], params["port"])
    return Endpoint(
        host=host,
        user=params["username"],
        password=params["password"],
        port=port,
        validate_certs=params["validate_certs"],
        ca_path=params["ca_path"],
    )


def patience_of(params: dict[str, Any]) -> float:
    """Seconds for which vCenter may be silent. Raises InvalidInput."""
    patience = float(params["vcenter_patience"])
    if patience < 0:
        raise InvalidInput(
            f"vcenter_patience (LIVEML_VSPHERE_VCENTER_PATIENCE) is {patience}",
            hint="Set it to a number of seconds, 0 or more",
            option="vcenter_patience",
        )
    return patience
