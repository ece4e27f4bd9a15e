# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in a VM itself keeps it from moving."""

from __future__ import annotations

from dataclasses import replace
from string import Formatter
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.blockers import (
    BLOCKERS,
    has_twin,
    lock_reasons,
    reason,
    vm_reasons,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    Datastore,
    Device,
    Estate,
    Power,
    VmState,
)

from tests.builders.estates import estate, host, vm

BOTH = frozenset({"host-1", "host-2"})
STORES = {
    "ds": Datastore("ds", "shared", BOTH),
    "own": Datastore("own", "local", frozenset({"host-1"})),
    "own2": Datastore("own2", "local too", frozenset({"host-1"})),
    "dead": Datastore("dead", "dead", frozenset(), accessible=False),
    "lost": Datastore("lost", "lost", BOTH, accessible=False),
}


def world(machine: VmState, source: dict[str, Any] | None = None, **changes: Any) -> Estate:
    return estate([host(1, **(source or {})), host(2)], [machine], **{"datastores": STORES, **changes})


def found(
    machine: VmState,
    source: dict[str, Any] | None = None,
    *,
    stays: bool = False,
    leaving: tuple[str, ...] = (),
    **changes: Any,
) -> list[tuple[str, str]]:
    reasons = vm_reasons(world(machine, source, **changes), machine, leaving, stays=stays)
    assert all(each.hint for each in reasons)
    return [(each.check, each.object) for each in reasons]


def test_only_vms_that_may_stay_do_not_prevent_maintenance_mode() -> None:
    """ESXi enters maintenance mode with VMs that do not run, and vCenter takes its own VMs away itself."""
    harmless = {name for name, blocker in BLOCKERS.items() if not blocker.prevents_maintenance}
    assert harmless == {"other_vcenter", "managed_by", "not_powered_on", "template"}


@pytest.mark.parametrize("check", BLOCKERS)
def test_a_remedy_is_complete_with_its_figures(check: str) -> None:
    blocker = BLOCKERS[check]
    fields = {name for _text, name, _spec, _conversion in Formatter().parse(blocker.remedy) if name}
    made = reason(check, "it", **dict.fromkeys(fields, 7))
    assert (made.check, made.object) == (check, "it")
    assert "{" not in made.hint
    assert blocker.meaning.endswith(".")
    assert not made.hint.endswith(".")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"template": True, "power": Power.OFF}, [("template", "ml-1")]),
        ({"power": Power.OFF}, [("not_powered_on", "ml-1")]),
        ({"power": Power.SUSPENDED}, [("not_powered_on", "ml-1")]),
        ({"managed_by": "com.vmware.vim.eam"}, [("managed_by", "com.vmware.vim.eam")]),
        ({"managed_by": "org.openstack.compute"}, []),
        ({"connection": "orphaned"}, [("vm_connection", "orphaned")]),
        ({"fault_tolerance": True}, [("fault_tolerance", "ml-1")]),
        ({"cpu_affinity": True}, [("cpu_affinity", "ml-1")]),
        ({"twin": "vc2"}, [("twin", "vc2")]),
        ({"moving_task": "task-1"}, [("already_moving", "task-1")]),
        ({"busy": "backup"}, [("busy", "backup")]),
        ({"question": "Which?"}, [("pending_question", "Which?")]),
        (
            {"disabled_methods": frozenset({"RelocateVM_Task", "PowerOffVM_Task"})},
            [("method_disabled", "RelocateVM_Task")],
        ),
        ({"disabled_methods": frozenset({"PowerOffVM_Task"})}, []),
        ({"devices": (Device("sriov", "NIC"),)}, [("passthrough_device", "NIC")]),
        ({"devices": (Device("shared_bus", "SCSI"),)}, [("shared_bus", "SCSI")]),
        ({"devices": (Device("vgpu", "GPU", "p"),)}, []),
        (
            {"devices": (Device("usb_host", "USB"), Device("vgpu", "GPU", "p"), Device("cdrom_host", "CD"))},
            [("host_device", "USB"), ("host_device", "CD")],
        ),
        ({"datastores": frozenset({"own"})}, [("local_datastore", "local")]),
        (
            {"datastores": frozenset({"dead", "lost"})},
            [("datastore_inaccessible", "dead"), ("datastore_inaccessible", "lost")],
        ),
        (
            {"datastores": frozenset({"a-unknown", "own", "own2"})},
            [("local_datastore", "local"), ("local_datastore", "local too")],
        ),
    ],
)
def test_each_reason_of_a_vm_names_its_object(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(vm(1, **changes)) == expected


def test_a_vm_that_stays_may_be_attached_to_its_host() -> None:
    attached = vm(1, devices=(Device("usb_host", "USB"),), datastores=frozenset({"own", "dead"}), busy="backup")
    assert found(attached, {"vmotion_enabled": False}, stays=True) == [("busy", "backup")]


def test_a_datastore_that_the_files_leave_may_be_local_and_not_lost() -> None:
    assert found(vm(1, datastores=frozenset({"own", "own2"})), leaving=("own",)) == [("local_datastore", "local too")]
    assert found(vm(1, datastores=frozenset({"dead"})), leaving=("dead",)) == [("datastore_inaccessible", "dead")]


@pytest.mark.parametrize(
    ("source", "power", "expected"),
    [
        ({"connection": Connection.DISCONNECTED}, Power.ON, [("source_disconnected", "esx-1")]),
        ({"connection": Connection.NOT_RESPONDING}, Power.ON, [("source_disconnected", "esx-1")]),
        ({"connection": Connection.UNKNOWN}, Power.ON, []),
        ({"vmotion_enabled": False}, Power.ON, [("source_vmotion_off", "esx-1")]),
        ({"vmotion_enabled": False, "connection": Connection.DISCONNECTED}, Power.OFF, [("not_powered_on", "ml-1")]),
    ],
)
def test_what_a_host_lacks_that_a_running_vm_leaves(
    source: dict[str, Any], power: Power, expected: list[tuple[str, str]]
) -> None:
    assert found(vm(1, power=power), source) == expected


def test_what_could_not_be_read_of_the_host_is_not_said_twice() -> None:
    hidden = {"host-1": frozenset({"config.vmotion", "b"})}
    assert found(vm(1), {"vmotion_enabled": False}, unreadable=hidden) == [("unreadable", "esx-1: b, config.vmotion")]


def test_everything_that_could_not_be_read_is_named() -> None:
    hidden = dict.fromkeys(("vm-1", "c", "ds", "own", "elsewhere"), frozenset({"x"}))
    machine = vm(1, datastores=frozenset({"own", "ds", "own2"}))
    assert found(machine, unreadable=hidden) == [
        ("unreadable", "ml-1: x"), ("unreadable", "c: x"), ("unreadable", "shared: x"), ("unreadable", "local: x"),
        ("local_datastore", "local too"),
    ]  # fmt: skip


def test_locks_come_all_at_once() -> None:
    locked = vm(
        1, moving_task="t", busy="b", question="q", disabled_methods=frozenset({"MigrateVM_Task", "RelocateVM_Task"})
    )
    assert [each.check for each in lock_reasons(locked)] == [
        "already_moving", "busy", "pending_question", "method_disabled", "method_disabled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "other_url", "twin"),
    [("nfs://a", "nfs://a", True), ("nfs://a", "nfs://b", False), ("", "", False), ("nfs://a", "", False)],
)
def test_a_datastore_has_a_twin_in_a_data_centre_that_shares_its_location(url: str, other_url: str, twin: bool) -> None:
    own = replace(STORES["own"], url=url)
    known = {"own": own, "far": Datastore("far", "local", frozenset({"host-9"}), url=other_url)}
    assert has_twin(world(vm(1), datastores=known), own) is twin
    assert not has_twin(world(vm(1), datastores={"own": own}), own)
    machine = vm(1, datastores=frozenset({"own"}))
    assert bool(found(machine, datastores=known)) is not twin
