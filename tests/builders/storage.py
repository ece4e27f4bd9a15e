# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Estates of a few hosts with datastores, and VMs whose files are on them."""

from __future__ import annotations

from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Datastore, Estate, Part, VmState

from tests.builders.estates import GIB, estate, host, vm


def store(moid: str, hosts: str, free: int = 500, **changes: Any) -> Datastore:
    """A datastore that hosts of these numbers reach; sizes in GiB."""
    reached = frozenset(f"host-{number}" for number in hosts)
    values = {"capacity_bytes": 1000 * GIB, "free_bytes": free * GIB, **changes}
    return Datastore(moid, f"name-{moid}", reached, **values)


def stored(number: int, *parts: tuple[str, int], **changes: Any) -> VmState:
    """A VM whose own files and disks are on these datastores, with their sizes in GiB."""
    made = tuple(
        Part(1999 + n if n else 0, f"Hard disk {n}" if n else "files", moid, size * GIB)
        for n, (moid, size) in enumerate(parts)
    )
    return vm(number, datastores=frozenset(part.datastore for part in made), parts=made, **changes)


def world(stores: list[Datastore], *vms: VmState, hosts: int = 3) -> Estate:
    known = {each.moid: each for each in stores}
    made = [
        host(n, datastores=frozenset(d.moid for d in stores if f"host-{n}" in d.hosts)) for n in range(1, hosts + 1)
    ]
    return estate(made, list(vms), datastores=known)


def refused(plan: Plan) -> dict[str, str]:
    assert plan.moves == ()
    return {reason.check: reason.object for reason in plan.refusals[0].reasons}
