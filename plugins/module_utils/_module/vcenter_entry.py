# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entry of the modules that connect to vCenter. A module without vCenter takes ``entry`` and needs no pyVmomi."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._core.errors import InvalidInput, VsphereError
from .._core.untrusted import printable
from .._vsphere.address import address_of
from .._vsphere.client import PYVMOMI_ERROR, Endpoint, connected
from .._vsphere.pair import AnyVcenter, VcenterPair
from .._vsphere.session import VcenterSession
from .argspec import CONNECTION_SPEC
from .entry import finish, prepared

_LOGIN = {"hostname": "VMWARE_HOST", "username": "VMWARE_USER", "password": "VMWARE_PASSWORD"}


def run_module(spec: dict[str, Any], body: Callable[[AnsibleModule, Any], dict[str, Any]], **options: Any) -> None:
    """Run ``body`` with a connection to vCenter, then exit or fail. ``options`` are those of AnsibleModule.

    ``body`` gets a VcenterSession; a module with the option ``destination_vcenter`` gets a VcenterPair if it is set.
    """
    module = prepared({**CONNECTION_SPEC, **spec}, **options)
    if PYVMOMI_ERROR is not None:
        module.fail_json(msg=missing_required_lib("pyVmomi"), exception=PYVMOMI_ERROR)
    try:
        with vcenters(module.params) as vcenter:
            result = body(module, vcenter)
    except VsphereError as error:
        about = {
            "error": type(error).__name__,
            "run_id": error.run_id,
            "option": error.option,
            "fenced": error.fenced,
            "fence_unknown": error.fence_unknown,
        }
        module.fail_json(msg=printable(str(error)), **{name: value for name, value in about.items() if value})
    finish(module, result)


@contextmanager
def vcenters(params: dict[str, Any]) -> Iterator[AnyVcenter]:
    """The vCenter that the module's options name, or it and the other one. Raises InvalidInput or ConnectError."""
    patience, other = patience_of(params), params.get("destination_vcenter")
    with connected(connection_of(params), patience) as first:
        if other is None:
            yield VcenterSession(first)
            return
        with connected(connection_of(other, "destination_vcenter"), patience) as second:
            if first.content.about.instanceUuid == second.content.about.instanceUuid:
                raise InvalidInput(
                    f"destination_vcenter is the same vCenter as {first.address}",
                    hint="Set it to the login of another vCenter, or omit it",
                    option="destination_vcenter",
                )
            yield VcenterPair(VcenterSession(first), VcenterSession(second))


def connection_of(params: Mapping[str, Any], within: str = "") -> Endpoint:
    """The vCenter that options name: those of the module, or those in its option ``within``. Raises InvalidInput."""
    empty = [option for option in _LOGIN if not params[option].strip()]
    if empty:
        names = " and ".join(f"{within}.{option}" if within else f"{option} ({_LOGIN[option]})" for option in empty)
        raise InvalidInput(
            f"The login of vCenter is incomplete: {names} {'is' if len(empty) == 1 else 'are'} empty",
            hint="Set what is empty",
            option=within or empty[0],
        )
    try:
        host, port = address_of(params["hostname"], params["port"])
    except InvalidInput as error:
        if not within:
            raise
        told, hint = (
            re.sub(r"\b(\w+) \(VMWARE_[A-Z]+\)", rf"{within}.\1", text) for text in (error.message, error.hint)
        )
        raise InvalidInput(told, hint=hint, option=within) from error
    return Endpoint(
        host=host,
        user=params["username"],
        password=params["password"],
        port=port,
        validate_certs=params["validate_certs"],
        ca_path=params["ca_path"],
        within=within,
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
