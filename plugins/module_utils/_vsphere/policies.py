# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads storage policies: their names, which of them VMs and their disks have, and which datastores fit them.

Only vCenter's policy service (SPBM) knows that. It has an API of its own, with the same sessions. All its calls here need
``StorageProfile.View``. Their number grows with the number of policies that are in use, not with that of VMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from .._core.errors import CallFailed, ConnectError, PermissionMissing, VsphereError
from .._core.untrusted import shortened
from .client import Client
from .estate import OWN_FILES, Estate, StoragePolicies, VmState

try:
    from pyVmomi import pbm
except ImportError:
    pass

OPTION = "storage_policy"
UNREADABLE = (CallFailed, ConnectError, PermissionMissing)
_KINDS = {False: "virtualMachine", True: "virtualDiskId"}  # by whether a key has the key of a disk
_PAGE = 500  # objects in one question
_ATTEMPTS = 3  # for a call without an answer
Ask = Callable[[str, Callable[[], Any]], Any]


def read_policies(client: Client, estate: Estate, vms: Iterable[str], wanted: str = "") -> StoragePolicies:
    """The policies of VMs (MoIDs) whose parts were read, and what is known of the policy of that name.

    If they cannot be read, the answer says why. With ``wanted`` that is an error instead: PermissionMissing, CallFailed or ConnectError.
    """
    try:
        return _read(client, estate, [estate.vms[vm] for vm in dict.fromkeys(vms) if vm in estate.vms], wanted)
    except UNREADABLE as error:
        if not wanted:
            return StoragePolicies(why_unknown=_why(error))
        error.option = OPTION
        raise


def _why(error: VsphereError) -> str:
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message


def _asking(client: Client) -> Ask:
    """How to call the policy service: with what is asked, and the call. It can be down while vCenter answers: then ConnectError."""

    def ask(what: str, question: Callable[[], Any]) -> Any:
        for _attempt in range(_ATTEMPTS - 1):
            with suppress(ConnectError):
                return client.ask_policies(what, question)
        try:
            return client.ask_policies(what, question)
        except ConnectError as error:
            raise ConnectError(
                f"The policy service of vCenter does not answer ({error.message})",
                hint="Check the service vmware-sps of the vCenter, and whether it answers under /pbm/sdk",
            ) from error

    return ask


def _read(client: Client, estate: Estate, vms: Sequence[VmState], wanted: str) -> StoragePolicies:
    ask = _asking(client)
    content = ask("read the policy service", client.policy_service().RetrieveContent)
    names = _names(ask, content.profileManager)
    of_vms = _associated(ask, content.profileManager, vms)
    used = {policy for parts in of_vms.values() for policy in parts.values()} - {""}
    used |= {policy for policy, name in names.items() if name == wanted}
    hubs = [pbm.placement.PlacementHub(hubType="Datastore", hubId=moid) for moid in sorted(estate.datastores)]
    fitting = {policy: _fitting(ask, content.placementSolver, hubs, policy) for policy in sorted(used)}
    return StoragePolicies(names, of_vms, fitting)


def _names(ask: Ask, manager: Any) -> dict[str, str]:
    """The names of all storage policies that VMs can have, by id."""
    storage, what = pbm.profile.ResourceType(resourceType="STORAGE"), "read the storage policies"
    ids = ask(what, lambda: manager.PbmQueryProfile(storage, "REQUIREMENT"))
    found = ask(what, lambda: manager.PbmRetrieveContent(list(ids))) if ids else ()
    return {str(each.profileId.uniqueId): shortened(str(each.name)) for each in found or ()}


def _associated(ask: Ask, manager: Any, vms: Sequence[VmState]) -> dict[str, dict[int, str]]:
    """The policy of each part, "" for none. Parts of which the service does not say it are left out."""
    parts = {_key(vm.moid, part.key): (vm.moid, part.key) for vm in vms for part in vm.parts}
    refs = [pbm.ServerObjectRef(objectType=_KINDS[":" in key], key=key) for key in parts]
    found: dict[str, dict[int, str]] = {vm.moid: {} for vm in vms}
    for begin in range(0, len(refs), _PAGE):
        question = partial(manager.PbmQueryAssociatedProfiles, refs[begin : begin + _PAGE])
        for result in ask("read the storage policies of VMs", question) or ():
            if result.fault is None and result.object.key in parts:
                vm, part = parts[result.object.key]
                found[vm][part] = str(result.profileId[0].uniqueId) if result.profileId else ""
    return found


def _key(vm: str, part: int) -> str:
    return vm if part == OWN_FILES else f"{vm}:{part}"


def _fitting(ask: Ask, solver: Any, hubs: list[Any], policy: str) -> frozenset[str]:
    """The datastores (MoIDs) that the service finds compatible with a policy."""
    profile = pbm.profile.ProfileId(uniqueId=policy)
    question = partial(solver.PbmCheckCompatibility, hubs, profile)
    results = ask("compare the datastores with a storage policy", question) if hubs else ()
    return frozenset(str(each.hub.hubId) for each in results or () if not each.error)
