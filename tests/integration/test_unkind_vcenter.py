# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter that ends sessions, restarts, loses answers and hides properties: nothing is lost, and unknown is never none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import read_estate, read_placement
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import TaskUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, running_lab

HOST = "esx-05"
MIGRATE = {"host": HOST, "purpose": "evacuate", "experiments": {"enabled": False}}


@contextmanager
def client_of(lab: Lab) -> Iterator[Client]:
    vcenter = lab.answer["vcenter"]
    endpoint = Endpoint(
        vcenter["host"], vcenter["user"], vcenter["password"], vcenter["port"], ca_path=vcenter["ca_file"]
    )
    with connected(endpoint) as client:
        yield client


def moved_once(lab: Lab, vms: set[str]) -> None:
    """Each VM left the host by exactly one successful move."""
    moves = lab.get("state")["moves"]
    assert Counter(m["vm"] for m in moves if m["result"] == "success") == Counter(vms)
    assert not lab.on(HOST)


def test_a_session_that_ended_hides_nothing(fast_lab: Lab) -> None:
    with client_of(fast_lab) as client:
        before = read_estate(client)
        vms = list(before.vms)
        fast_lab.post("sessions/expire")
        assert read_estate(client) == before
        fast_lab.post("sessions/expire")
        assert set(read_placement(client, vms)) == set(vms), "without a session a vCenter gives no property of any VM"
        assert client.renewed == 2


def test_a_run_survives_a_restart_of_vcenter(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    leaving = fast_lab.on(HOST)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))

    over = threading.Event()

    def restart() -> None:
        while not over.wait(0.02):
            if any(move["started"] for move in fast_lab.get("state")["moves"]):
                fast_lab.post("restart", seconds=3)
                return

    person = threading.Thread(target=restart)
    person.start()
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    over.set()
    person.join()
    assert {m["result"] for m in moved["moves"]} == {"moved"}, moved
    moved_once(fast_lab, leaving)


@pytest.mark.parametrize(
    ("call", "how"),
    [
        ("RetrieveServiceContent", "unavailable"),
        ("Login", "lost"),
        ("RelocateVM_Task", "unavailable"),
        ("RelocateVM_Task", "lost"),
        ("SetField", "unavailable"),
        ("SetField", "lost"),
        ("CreateFilter", "unavailable"),
        ("CreateFilter", "lost"),
        ("DestroyPropertyFilter", "lost"),
        ("WaitForUpdatesEx", "lost"),
        ("RetrievePropertiesEx", "unavailable"),
        ("RetrievePropertiesEx", "lost"),
        ("CreateContainerView", "lost"),
        ("DestroyView", "lost"),
    ],
)
def test_one_call_without_an_answer_changes_nothing(
    call: str, how: str, fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    leaving = fast_lab.on(HOST)
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    fast_lab.post("calls/fail", call=call, how=how, times=2)
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], state_dir=str(tmp_path), **MIGRATE)
    assert {m["result"] for m in moved["moves"]} == {"moved"}, moved
    moved_once(fast_lab, leaving)


def test_tasks_that_are_gone_as_soon_as_they_have_ended_change_nothing(run_module: RunModule, tmp_path: Path) -> None:
    """As for a run that cannot ask vCenter for ten minutes: what is done is seen, and nothing is done twice."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    topology["task_seconds"] = 0.001
    path, state = tmp_path / "forgetful.yml", {"state_dir": str(tmp_path)}
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--drs", "full", "--topology", str(path)) as lab:
        away = lab.where()
        leaving = lab.on("esx-01")
        plan = run_module("migration_plan", lab, host="esx-01", **state)
        assert [each["how"] for each in plan["plan"]["drs"]] == ["pin"], "two more tasks that change the overrides"
        for purpose, homes in (("evacuate", False), ("restore", True)):
            if homes:
                plan = run_module("migration_plan", lab, host="esx-01", use_homes=True, **state)
            moved = run_module(
                "vm_migrate", lab, plan=plan["plan"], host="esx-01", purpose=purpose, fence=not homes,
                experiments={"enabled": False}, **state,
            )  # fmt: skip
            assert not moved.get("failed"), moved["msg"]
            assert {move["result"] for move in moved["moves"]} == {"moved"}
            if not homes:
                for wanted in ("maintenance", "normal"):
                    now = run_module("host_maintenance", lab, host="esx-01", state=wanted)
                    assert now.get("maintenance", now) == {"maintenance": "in", "normal": "normal"}[wanted]
        assert lab.where() == away
        assert Counter(move["vm"] for move in lab.get("state")["moves"]) == dict.fromkeys(leaving, 2)


def test_rules_that_nobody_may_read_forbid_the_move(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    fast_lab.post("hide", object="ML-cluster", paths=["configurationEx.rule"], fault="NoPermission")
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert plan["moves"] == []
    reasons = [r for refusal in plan["refusals"] for r in refusal["reasons"] if r["check"] == "unreadable"]
    assert len(reasons) >= len(fast_lab.on(HOST))
    assert {r["object"] for r in reasons} == {"ML-cluster: configurationEx.rule"}
    assert "System.Read" in reasons[0]["hint"]


def test_what_cannot_be_read_of_a_vm_or_host_is_unknown(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    on = sorted(fast_lab.on(HOST))
    fast_lab.post("hide", object=on[0], paths=["runtime.powerState", "disabledMethod"], fault="NoPermission")
    fast_lab.post("hide", object="esx-01", paths=["runtime.connectionState"], fault="NoPermission")
    with client_of(fast_lab) as client:
        estate = read_estate(client)
    (hidden,) = [vm for vm in estate.vms.values() if vm.name == on[0]]
    assert hidden.power is Power.UNKNOWN
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    (refusal,) = [r for r in plan["refusals"] if r["vm_name"] == on[0]]
    assert refusal["blocking"], "a VM whose power state is unknown may prevent maintenance mode"
    assert [r["object"] for r in refusal["reasons"]] == [f"{on[0]}: disabledMethod, runtime.powerState"]
    assert "esx-01" not in {move["target_name"] for move in plan["moves"]}


def test_an_object_that_vanishes_while_it_is_read_is_left_out(fast_lab: Lab) -> None:
    name = sorted(fast_lab.on(HOST))[0]
    fast_lab.post("hide", object=name, paths=["runtime.powerState"], fault="ManagedObjectNotFound")
    with client_of(fast_lab) as client:
        assert name not in {vm.name for vm in read_estate(client).vms.values()}


def test_a_task_that_vcenter_forgot_is_reported_as_gone(fast_lab: Lab) -> None:
    with client_of(fast_lab) as client:
        session = VcenterSession(client)
        session.follow("task-that-never-was")
        found = [update for _round in range(3) for update in session.updates(0.2)]
    assert TaskUpdate("task-that-never-was", "gone") in found
