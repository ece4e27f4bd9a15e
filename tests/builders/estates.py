# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts, VMs, whole estates, and plans for them."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan, PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import select_vms
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AntiAffinityRule,
    Connection,
    Datastore,
    Estate,
    HostState,
    Maintenance,
    Power,
    VcenterInfo,
    VmState,
)
from hypothesis import strategies as st

GIB = 2**30
INFO = VcenterInfo("vc", "uuid", "8.0.3", False)


def host(number: int, domain: str | None = "a", **changes: object) -> HostState:
    values = {
        "moid": f"host-{number}", "name": f"esx-{number}", "cluster": "c", "cluster_name": "c", "datacenter": "dc",
        "fault_domain": domain, "connection": Connection.CONNECTED, "maintenance": Maintenance.NORMAL,
        "memory_bytes": 100 * GIB, "memory_used_bytes": 10 * GIB, "cpu_mhz": 10_000, "cpu_used_mhz": 1_000,
        "datastores": frozenset({"ds"}), "networks": frozenset({"net"}), **changes,
    }  # fmt: skip
    return HostState(**values)  # type: ignore[arg-type]


def vm(number: int, on: int = 1, gib: int = 4, **changes: object) -> VmState:
    values = {
        "moid": f"vm-{number}", "name": f"ml-{number}", "instance_uuid": f"u{number}", "host": f"host-{on}",
        "power": Power.ON, "memory_bytes": gib * GIB, "memory_used_bytes": gib * GIB, "cpu_used_mhz": 100,
        "datastores": frozenset({"ds"}), "networks": frozenset({"net"}), "datacenter": "dc", **changes,
    }  # fmt: skip
    return VmState(**values)  # type: ignore[arg-type]


def estate(hosts: list[HostState], vms: list[VmState], **changes: object) -> Estate:
    stores = {"ds": Datastore("ds", "shared", frozenset(h.moid for h in hosts))}
    values: Mapping[str, object] = {"datastores": stores, **changes}
    return Estate(INFO, {h.moid: h for h in hosts}, {v.moid: v for v in vms}, **values)  # type: ignore[arg-type]


def plan_all(world: Estate, **changes: object) -> Plan:
    return make_plan(world, PlanRequest(select_vms(world, host="host-1"), **changes))  # type: ignore[arg-type]


@st.composite
def worlds(draw: st.DrawFn) -> Estate:
    hosts = [
        host(n, draw(st.sampled_from(["a", "b", None])), memory_used_bytes=draw(st.integers(0, 90)) * GIB)
        for n in range(1, draw(st.integers(2, 7)))
    ]
    vms = [vm(n, gib=draw(st.integers(1, 40))) for n in range(draw(st.integers(0, 12)))]
    rules = (AntiAffinityRule("apart", frozenset(v.moid for v in vms[:3])),) if draw(st.booleans()) else ()
    return estate(hosts, vms, anti_affinity=rules)
