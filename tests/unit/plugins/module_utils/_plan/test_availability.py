# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HA's admission control: what a plan says of it, and that DRS is not left to empty a host when it would not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.availability import violations
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_lines, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import DrsHandling, DrsOption
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AdmissionControl,
    Automation,
    Connection,
    Drs,
    Estate,
    Maintenance,
    Power,
)

from tests.builders.estates import GIB, estate, host, plan_all, vm

FIRST = frozenset({"host-1"})


def world(control: AdmissionControl, *reservations: int, hosts: int = 3, **of_last: Any) -> Estate:
    """Hosts of 100 GiB and 10,000 MHz; reservations of memory in GiB, the last VM is changed."""
    vms = [vm(n, on=1, memory_reservation_bytes=gib * GIB) for n, gib in enumerate(reservations, 1)]
    if of_last:
        vms[-1] = vm(len(vms), memory_reservation_bytes=reservations[-1] * GIB, **of_last)
    return estate([host(n) for n in range(1, hosts + 1)], vms, admission={"c": control})


@pytest.mark.parametrize(
    ("control", "reservations", "said"),
    [
        (AdmissionControl(), (199,), ""),
        (AdmissionControl(memory_percent=25), (150,), ""),
        (
            AdmissionControl(memory_percent=25),
            (100, 51),
            "at most 24.5 % of memory is left, and 25 % must stay free",
        ),
        (AdmissionControl(cpu_percent=100), (0,), "at most 99.8 % of processor is left, and 100 % must stay free"),
        (AdmissionControl(memory_percent=10, hosts=1), (100,), ""),
        (AdmissionControl(memory_percent=10, hosts=1), (101,), "at most 49.5 % of memory is left, and 50 % must stay"),
        (AdmissionControl(slot_hosts=1), (50, 50), ""),
        (AdmissionControl(slot_hosts=1), (50, 40, 10), "the failure of 1 host there are at most 2 slots for 3 VMs"),
        (AdmissionControl(slot_hosts=2), (), "after the failure of 2 hosts there are at most 0 slots for 0 VMs"),
    ],
)
def test_what_lacks_without_the_host_is_said(
    control: AdmissionControl, reservations: tuple[int, ...], said: str
) -> None:
    found = violations(world(control, *reservations), FIRST)
    assert set(found) == ({"c"} if said else set())
    assert said in found.get("c", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"maintenance": Maintenance.ENTERING},
        {"connection": Connection.DISCONNECTED},
        {"standby": True},
        {"failover": True},
        {"cluster": "other"},
    ],
)
def test_only_hosts_in_service_count(changes: dict[str, Any]) -> None:
    control = AdmissionControl(memory_percent=25)
    vms = [vm(1, memory_reservation_bytes=100 * GIB)]
    assert violations(estate([host(1), host(2), host(3)], vms, admission={"c": control}), FIRST) == {}
    fewer = estate([host(1), host(2), host(3, **changes)], vms, admission={"c": control})
    assert "at most 0 % of memory is left" in violations(fewer, FIRST)["c"]


@pytest.mark.parametrize("changes", [{"power": Power.OFF}, {"on": 9}])
def test_only_powered_on_vms_of_the_cluster_count(changes: dict[str, Any]) -> None:
    control = AdmissionControl(memory_percent=25)
    assert violations(world(control, 100, 60), FIRST)
    assert violations(world(control, 100, 60, **changes), FIRST) == {}


def test_a_reservation_of_processor_counts() -> None:
    control = AdmissionControl(cpu_percent=50)
    hosts = [host(1), host(2)]
    assert violations(estate(hosts, [vm(1, cpu_reservation_mhz=5000)], admission={"c": control}), FIRST) == {}
    assert violations(estate(hosts, [vm(1, cpu_reservation_mhz=5001)], admission={"c": control}), FIRST)


def test_the_plan_says_it_and_does_not_leave_the_host_to_drs() -> None:
    drs = {"c": Drs(Automation.FULL, overrides_allowed=True, overrides={})}
    for percent, how in ((60, DrsHandling.FENCE_LAST), (0, DrsHandling.FOLLOW)):
        known = estate(
            [host(1), host(2)], [vm(1, memory_reservation_bytes=50 * GIB)], drs=drs,
            admission={"c": AdmissionControl(memory_percent=percent)},
        )  # fmt: skip
        plan = plan_all(known, evacuated=FIRST, drs=DrsOption.FOLLOW, editable_clusters=frozenset({"c"}))
        assert [each.how for each in plan.drs] == [how]
        assert bool(plan.notes) is bool(percent)
        assert plan_from_dict(plan_to_dict(plan)) == plan
        if percent:
            assert "but does not empty a host now, so they leave before the host is fenced." in plan.drs[0].why
            assert plan_lines(plan)[-1] == (
                "Without esx-1, HA's admission control of cluster c is violated: at most 50 % of memory is left, and 60 % must "
                "stay free. Meanwhile vCenter may refuse to power on VMs there, and DRS does not empty a host."
            )
    assert not plan_all(known).notes, "nothing is evacuated"


def test_each_cluster_and_all_of_its_evacuated_hosts_are_named() -> None:
    far = {"cluster": "d", "cluster_name": "far"}
    hosts = [host(2), host(1), host(3), host(4, **far), host(5, **far)]
    control = AdmissionControl(memory_percent=50)
    vms = [vm(1, memory_reservation_bytes=60 * GIB), vm(2, on=4, memory_reservation_bytes=60 * GIB)]
    world = estate(hosts, vms, admission={"c": control, "d": control})
    found = violations(world, frozenset({"host-1", "host-2", "host-5", "host-9"}))
    assert list(found) == ["c", "d"]
    assert found["c"].startswith("Without esx-1, esx-2, HA's admission control of cluster c is violated: at most 40 %")
    assert found["d"].startswith("Without esx-5, HA's admission control of cluster far is violated")


@pytest.mark.parametrize(("vms", "lacks"), [(156, False), (157, True)])
def test_a_vm_without_a_reservation_of_processor_counts_as_ha_counts_it(vms: int, lacks: bool) -> None:
    """With 32 MHz (das.vmCpuMinMHz): 156 of them leave 50.08 % of 10,000 MHz."""
    control = AdmissionControl(cpu_percent=50)
    world = estate([host(1), host(2)], [vm(n) for n in range(vms)], admission={"c": control})
    assert bool(violations(world, FIRST)) is lacks


@pytest.mark.parametrize(
    ("hosts", "failures", "cpu", "said"),
    [
        ((10_000, 10_000), 1, 5_000, ""),
        ((10_000, 9_999), 1, 5_000, "after the failure of 1 host there are at most 1 slot for 2 VMs"),
        ((10_000, 4_999), 1, 5_000, "there are at most 0 slots for 2 VMs"),  # the largest one fails
        ((10_000, 10_000, 10_000), 2, 5_000, ""),
        ((10_000,), 1, 5_000, "there are at most 0 slots for 2 VMs"),
        ((64, 64), 1, 0, ""),  # without a reservation a slot has 32 MHz
        ((64, 63), 1, 0, "there are at most 1 slot for 2 VMs"),
    ],
)
def test_slots_are_those_of_the_hosts_that_are_left_if_the_largest_fail(
    hosts: tuple[int, ...], failures: int, cpu: int, said: str
) -> None:
    left = [host(n, cpu_mhz=mhz) for n, mhz in enumerate(hosts, 2)]
    vms = [vm(1, cpu_reservation_mhz=cpu), vm(2)]
    world = estate([host(1), *left], vms, admission={"c": AdmissionControl(slot_hosts=failures)})
    found = violations(world, FIRST)
    assert said in found.get("c", "")
    assert bool(found) is bool(said)


@pytest.mark.parametrize(("failures", "hosts", "lacks"), [(1, 4, False), (2, 4, True), (1, 3, True)])
def test_hosts_that_may_fail_are_a_share_of_those_that_are_left(failures: int, hosts: int, lacks: bool) -> None:
    """60 % of the memory of one host is reserved."""
    control = AdmissionControl(hosts=failures)
    vms = [vm(n, memory_reservation_bytes=45 * GIB) for n in (1, 2, 3)]
    world = estate([host(n) for n in range(1, hosts + 1)], vms, admission={"c": control})
    assert bool(violations(world, FIRST)) is lacks


def test_a_cluster_that_is_left_without_a_host_keeps_nothing_free() -> None:
    found = violations(estate([host(1)], [], admission={"c": AdmissionControl(memory_percent=1)}), FIRST)
    assert "at most 0 % of memory is left, and 1 % must stay free" in found["c"]
