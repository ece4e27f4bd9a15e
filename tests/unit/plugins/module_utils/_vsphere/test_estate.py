# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from what was read: names of hosts, DRS of a VM, rules, policies, places."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from urllib.parse import quote

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Adapter,
    AdmissionControl,
    Alarm,
    Automation,
    Connection,
    Datastore,
    Device,
    Drs,
    DrsOverride,
    HostState,
    InventoryPlace,
    Maintenance,
    Part,
    Plug,
    Power,
    StoragePolicies,
    VmHostRule,
    VmState,
    assume_in_service,
    known_as,
    unescaped,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import estate, host, vm

FULL, PARTIAL, MANUAL = Automation.FULL, Automation.PARTIAL, Automation.MANUAL
DISABLED, UNKNOWN = Automation.DISABLED, Automation.UNKNOWN
EXCLUDED = DrsOverride(enabled=False)
VGPU = Device("vgpu", "PCI device 0", "grid_t4-4q")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("esx-1.lab.example.com", True),
        ("ESX-1.Lab.Example.com", True),
        ("esx-1", True),
        ("esx-1.lab.example.com.", False),
        ("esx-1.lab", False),
        ("esx", False),
        ("esx-11", False),
        ("esx-1.other.example.com", False),
        ("10.0.0.1", True),
        ("10.0.0", False),
        ("10", False),
        ("10.0.0.12", False),
        ("", False),
    ],
)
def test_a_host_is_known_by_its_short_and_full_name_and_its_addresses(name: str, found: bool) -> None:
    known = host(1, name="esx-1.Lab.example.com", aliases=frozenset({"10.0.0.1"}))
    assert known_as(known, name) is found


def test_a_host_that_vcenter_knows_by_its_short_name_is_found_by_the_full_one() -> None:
    assert known_as(host(1, name="esx-1"), "esx-1.lab.example.com")
    assert not known_as(host(1, name="10"), "10.0.0.1")


@given(st.text())
def test_a_name_is_shown_as_people_wrote_it(name: str) -> None:
    """What vCenter does to a name: it escapes the percent sign first, else the other escapes would be escaped again."""
    escaped = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    assert unescaped(escaped) == name


def test_escapes_are_known_in_both_cases() -> None:
    assert unescaped("a" + quote("/\\%", safe="")) == "a/\\%"


def drs_of_vm(automation: Automation, override: DrsOverride | None = None, **changes: object) -> Automation:
    overrides = {} if override is None else {"vm-1": override}
    known = Drs(automation, True, overrides)
    return replace(known, **changes).level_of("vm-1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cluster", "override", "level"),
    [
        (FULL, None, FULL),
        (FULL, EXCLUDED, DISABLED),
        (FULL, DrsOverride(enabled=True), FULL),
        (FULL, DrsOverride(behavior=MANUAL), MANUAL),
        (FULL, DrsOverride(enabled=False, behavior=FULL), DISABLED),
        (MANUAL, DrsOverride(enabled=True, behavior=FULL), FULL),
        (PARTIAL, DrsOverride(), PARTIAL),
        (DISABLED, DrsOverride(behavior=FULL), DISABLED),
        (UNKNOWN, EXCLUDED, UNKNOWN),
    ],
)
def test_an_override_decides_for_its_vm_while_drs_is_on(
    cluster: Automation, override: DrsOverride | None, level: Automation
) -> None:
    assert drs_of_vm(cluster, override) is level


def test_overrides_that_the_cluster_does_not_allow_are_ignored() -> None:
    assert drs_of_vm(FULL, EXCLUDED, overrides_allowed=False) is FULL


def test_overrides_that_could_not_be_read_make_the_level_unknown() -> None:
    assert drs_of_vm(FULL, overrides=None) is UNKNOWN
    assert drs_of_vm(FULL, overrides=None, overrides_allowed=False) is FULL
    assert drs_of_vm(DISABLED, overrides=None) is DISABLED


def test_if_it_is_unknown_whether_overrides_count_only_those_that_change_nothing_are_known() -> None:
    assert drs_of_vm(FULL, EXCLUDED, overrides_allowed=None) is UNKNOWN
    assert drs_of_vm(FULL, DrsOverride(behavior=FULL), overrides_allowed=None) is FULL
    assert drs_of_vm(FULL, None, overrides_allowed=None) is FULL


@pytest.mark.parametrize("level", [FULL, PARTIAL, MANUAL, DISABLED])
def test_drs_moves_no_vm_with_a_vgpu_by_itself(level: Automation) -> None:
    drs, with_vgpu = Drs(level, True, {}), vm(1, devices=(VGPU,))
    assert drs.of(with_vgpu) is (PARTIAL if level is FULL else level)
    assert replace(drs, moves_vgpus=True).of(with_vgpu) is level
    assert drs.of(vm(1)) is level


def test_a_vm_with_a_vgpu_stays_even_if_its_override_is_unknown_but_not_if_drs_is() -> None:
    with_vgpu = vm(1, devices=(VGPU,))
    assert Drs(FULL, True, None).of(with_vgpu) is PARTIAL
    assert Drs(FULL, True, None).of(vm(1)) is UNKNOWN
    assert Drs().of(with_vgpu) is UNKNOWN


def test_what_was_not_read_is_unknown_or_the_least_that_can_be() -> None:
    """A host or VM of which only the needed properties are named gets no privileges, space or capabilities by default."""
    unread = Datastore("ds", "ds", frozenset())
    assert (unread.free_bytes, unread.capacity_bytes) == (None, 0)
    assert (unread.accessible, unread.in_service) == (True, True)
    bare = HostState(
        "h", "h", "c", "c", "dc", None, Connection.CONNECTED, Maintenance.NORMAL,
        memory_bytes=1, memory_used_bytes=0, cpu_mhz=1, cpu_used_mhz=0,
    )  # fmt: skip
    assert (bare.link_mbit, bare.threads, bare.gpus) == (None, None, None)
    assert not any((bare.standby, bare.quarantined, bare.red, bare.failover, bare.consolidates_vgpus))
    assert bare.vmotion_enabled
    machine = VmState("vm", "vm", "u", "h", Power.ON, 1)
    assert not any((machine.template, machine.cpu_affinity, machine.fault_tolerance))
    assert (machine.cpus, machine.cpu_used_mhz, machine.cpu_reservation_mhz) == (1, 0, 0)
    assert (machine.memory_used_bytes, machine.memory_reservation_bytes) == (0, 0)
    assert StoragePolicies().of("vm-1", 0) is None
    assert AdmissionControl() == AdmissionControl(cpu_percent=0, memory_percent=0, hosts=0, slot_hosts=0)
    assert not Alarm("Host memory usage", "red").acknowledged
    assert Adapter(4000, "net").connected


@pytest.mark.parametrize(("hosts", "local"), [("", False), ("1", True), ("12", False)])
def test_a_datastore_is_local_if_one_host_reaches_it(hosts: str, local: bool) -> None:
    assert Datastore("ds", "ds", frozenset(hosts)).local is local


@pytest.mark.parametrize(("listed", "on_its_hosts", "affine"), list(product([True, False], repeat=3)))
def test_a_rule_forbids_its_vms_the_hosts_outside_or_inside(listed: bool, on_its_hosts: bool, affine: bool) -> None:
    rule = VmHostRule("r", frozenset({"vm-1"}), frozenset({"host-1"}), affine)
    machine, place = "vm-1" if listed else "vm-2", "host-1" if on_its_hosts else "host-2"
    assert rule.forbids(machine, place) is (listed and on_its_hosts is not affine)
    assert rule.mandatory


def test_a_policy_of_which_nothing_is_known_does_not_fit() -> None:
    known = StoragePolicies({}, {"vm-1": {0: ""}}, {"gold": frozenset({"ds"})})
    assert known.fits("gold", "ds")
    assert not known.fits("gold", "other")
    assert not known.fits("silver", "ds")
    assert (known.of("vm-1", 0), known.of("vm-1", 2000), known.of("vm-2", 0)) == ("", None, None)


def test_a_place_names_the_networks_that_change_by_name_or_moid() -> None:
    plugs = (Plug(4000, "net-1", "ml-net"), Plug(4001, "net-2"))
    text = InventoryPlace("c", "pool", "ml", "folder", "vision", plugs).text
    assert text == "cluster c, resource pool ml, folder vision, network ml-net, network net-2"


def test_the_vgpus_and_parts_of_vms() -> None:
    usb, unknown = Device("usb_host", "USB 1"), Device("vgpu", "PCI device 1")
    one = vm(1, devices=(VGPU, usb, unknown), parts=(Part(0, "files", "ds", 1), Part(2000, "disk", "fast", 2)))
    world = estate([host(1)], [one, vm(2, devices=(replace(VGPU, profile="grid_t4-8q"),))])
    assert one.vgpus == ("grid_t4-4q", "")
    assert one.places == {0: "ds", 2000: "fast"}
    assert world.vgpus_of(["vm-1", "gone"]) == {"grid_t4-4q", ""}
    assert world.vgpus_of(["vm-1", "vm-2"]) == {"grid_t4-4q", "", "grid_t4-8q"}


def test_drs_of_a_cluster_that_was_not_read_is_unknown() -> None:
    world = estate([host(1), host(2, cluster="d")], [], drs={"c": Drs(FULL)})
    assert world.drs_of(world.hosts["host-1"]) == Drs(FULL)
    assert world.drs_of(world.hosts["host-2"]) == Drs()
    assert world.host_names == {"host-1": "esx-1", "host-2": "esx-2"}


def test_a_restore_is_planned_as_if_its_hosts_were_back() -> None:
    fenced = {"maintenance": Maintenance.ENTERING, "maintenance_task": "task-1"}
    world = estate([host(1, **fenced), host(2, **fenced)], [])
    planned = assume_in_service(world, "host-1")
    assert planned.hosts["host-1"] == host(1)
    assert planned.hosts["host-2"] == world.hosts["host-2"]
