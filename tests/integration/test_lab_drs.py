# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's DRS: it empties hosts, keeps rules and balances, by moves or recommendations, and obeys overrides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from lab.paths import TOPOLOGIES
from tests.labs import Lab, RunModule, running_lab
from tests.measuring import until
from tests.sdk import content_of, find, override, overrides_of, reconfigure

DRS = "Drm.ExecuteVMotionLRO"
PERSON = "somebody@vsphere.local"
VM = "ML-cpu-vm-0{}".format
BEHAVIOURS = {"manual": "manual", "partial": "partiallyAutomated", "full": "fullyAutomated"}


@contextmanager
def drs_lab(folder: Path, *, quarantine: str = "", **cluster: Any) -> Iterator[Lab]:
    """The small topology with keys of its cluster: VMs 1 to 3 run on esx-01, and one VM on each of the other three hosts."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    topology["clusters"][0].update({"drs_interval": 0, **cluster})
    for host in topology["hosts"]:
        host["quarantine"] = host["name"] == quarantine
    path = folder / "drs.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(path)) as lab:
        yield lab


def cluster_of(content: Any) -> Any:
    return content.rootFolder.childEntity[0].hostFolder.childEntity[0]


def enter(content: Any, host: str) -> Any:
    return find(content, vim.HostSystem, host).EnterMaintenanceMode_Task(timeout=0, evacuatePoweredOffVms=False)


def migrations(content: Any) -> set[tuple[str, str, str]]:
    """Class, VM and user of each event of a migration that succeeded."""
    kinds = ["VmMigratedEvent", "DrsVmMigratedEvent"]
    events = content.eventManager.QueryEvents(vim.event.EventFilterSpec(eventTypeId=kinds))
    return {(type(event).__name__.rpartition(".")[2], event.vm.name, event.userName) for event in events}


def moved(lab: Lab) -> dict[str, str]:
    """Who moved each VM that arrived."""
    return {move["vm"]: move["by"] for move in lab.get("state")["moves"] if move["result"] == "success"}


def advice(cluster: Any) -> dict[str, tuple[str, str]]:
    """Reason and target of each recommendation, by VM."""
    return {
        each.action[0].target.name: (each.reason, each.action[0].drsMigration.destination.name)
        for each in cluster.recommendation
    }


def test_full_automation_empties_a_host_and_leaves_an_overridden_vm(tmp_path: Path) -> None:
    """A move that fails is tried again. A VM that DRS must not move keeps its host from maintenance mode."""
    with drs_lab(tmp_path, drs="full", drs_overrides={VM(3): "disabled"}) as lab, content_of(lab) as content:
        cluster = cluster_of(content)
        drs = cluster.configurationEx.drsConfig
        assert (drs.enabled, drs.defaultVmBehavior, drs.enableVmBehaviorOverrides) == (True, "fullyAutomated", True)
        assert drs.vmotionRate == 3
        assert cluster.configuration.drsConfig.defaultVmBehavior == "fullyAutomated"
        assert overrides_of(cluster) == {VM(3): (False, None)}
        lab.post("vms/" + VM(7), action="move", target="esx-02")
        lab.post("faults", vm=VM(1), fault="GenericVmConfigFault")
        task = enter(content, "esx-01")
        until(lambda: len(moved(lab)) == 3)
        assert moved(lab) == {VM(1): "DRS", VM(2): "DRS", VM(7): PERSON}
        assert lab.on("esx-01") == {VM(3)}
        assert task.info.state == "running"
        first = find(content, vim.VirtualMachine, VM(1)).recentTask[-1].info
        assert (first.descriptionId, first.name, type(first.reason)) == (DRS, None, vim.TaskReasonSystem)
        person = find(content, vim.VirtualMachine, VM(7)).recentTask[-1].info
        assert (person.descriptionId, person.reason.userName) == ("VirtualMachine.relocate", PERSON)
        assert migrations(content) == {
            ("DrsVmMigratedEvent", VM(1), ""),
            ("DrsVmMigratedEvent", VM(2), ""),
            ("VmMigratedEvent", VM(7), PERSON),
        }
        none = vim.event.EventFilterSpec(eventTypeId=["NoMaintenanceModeDrsRecommendationForVM"])
        assert [event.vm.name for event in content.eventManager.QueryEvents(none)] == [VM(3)]
        reconfigure(cluster, override("edit", find(content, vim.VirtualMachine, VM(3)), enabled=True))
        WaitForTask(task)
        assert moved(lab)[VM(3)] == "DRS"


def test_drs_empties_no_host_while_ha_would_keep_too_little_free(run_module: RunModule, tmp_path: Path) -> None:
    """Moves by others are permitted. A run says it before, and does not wait for a DRS that would do nothing."""
    with drs_lab(tmp_path, drs="full", failover_percent=100) as lab, content_of(lab) as content:
        policy = cluster_of(content).configurationEx.dasConfig.admissionControlPolicy
        assert (policy.cpuFailoverResourcesPercent, policy.memoryFailoverResourcesPercent) == (100, 100)
        task, none = (
            enter(content, "esx-01"),
            vim.event.EventFilterSpec(eventTypeId=["NoMaintenanceModeDrsRecommendationForVM"]),
        )
        until(lambda: len(content.eventManager.QueryEvents(none)) == 3)
        assert moved(lab) == {}
        task.CancelTask()
        until(lambda: lab.get("state")["hosts"]["esx-01"]["maintenance"] == "normal")
        plan = run_module("migration_plan", lab, host="esx-01", drs="follow", policy="any", state_dir=str(tmp_path))
        [decision] = plan["plan"]["drs"]
        assert decision["how"] == "fence_last"
        [note] = plan["plan"]["notes"]
        assert "HA's admission control of cluster ML-cluster is violated: at most 99." in note
        assert note in plan["diff"]["after"]
        done = run_module(
            "vm_migrate", lab, plan=plan["plan"], host="esx-01", purpose="evacuate", fence=True,
            experiments={"enabled": False}, state_dir=str(tmp_path),
        )  # fmt: skip
        assert [move["result"] for move in done["moves"]] == ["moved"] * 3, done
        assert lab.on("esx-01") == set()


@pytest.mark.parametrize("automation", ["partial", "manual"])
def test_without_full_automation_drs_recommends(automation: str, tmp_path: Path) -> None:
    with drs_lab(tmp_path, drs=automation, drs_overrides={VM(1): "full"}) as lab, content_of(lab) as content:
        cluster = cluster_of(content)
        assert cluster.configurationEx.drsConfig.defaultVmBehavior == BEHAVIOURS[automation]
        task = enter(content, "esx-01")
        until(lambda: set(advice(cluster)) == {VM(2), VM(3)} and VM(1) in moved(lab))
        assert {reason for reason, _ in advice(cluster).values()} == {"hostMaint"}
        before = {each.key: each.action[0].target.name for each in cluster.recommendation}
        cluster.RefreshRecommendation()
        assert {each.key: each.action[0].target.name for each in cluster.recommendation} == before
        first, second = cluster.recommendation
        where = first.action[0].drsMigration.destination.name
        cluster.ApplyRecommendation(first.key)
        assert [each.key for each in cluster.recommendation] == [second.key]
        with pytest.raises(vmodl.fault.InvalidArgument):
            cluster.ApplyRecommendation(first.key)
        until(lambda: len(moved(lab)) == 2)
        vm, administrator = before[first.key], lab.answer["vcenter"]["user"]
        assert (lab.where()[vm], moved(lab)[vm]) == (where, administrator)
        assert ("DrsVmMigratedEvent", vm, administrator) in migrations(content)
        task.CancelTask()
        until(lambda: not cluster.recommendation)
        assert lab.on("esx-01") == {before[second.key]}


def test_drs_says_where_a_vm_would_go_and_what_would_empty_a_host(tmp_path: Path) -> None:
    """It asks the same questions as a move: a host that cannot take a VM is never proposed."""
    rule = {"name": "not there", "kind": "vm_host", "vms": [VM(1)], "hosts": ["esx-01", "esx-03", "esx-04"]}
    with drs_lab(tmp_path, drs="manual", rules=[rule], quarantine="esx-04") as lab, content_of(lab) as content:
        cluster = cluster_of(content)
        running, off = (find(content, vim.VirtualMachine, VM(number)) for number in (1, 4))
        source = find(content, vim.HostSystem, "esx-01")
        rated = {each.host.name: each.rating for each in cluster.RecommendHostsForVm(off, None)}
        assert max(rated.values()) == 5
        assert "esx-04" not in rated, "it is in quarantine"
        with pytest.raises(vmodl.fault.InvalidArgument):
            cluster.RecommendHostsForVm(running, cluster.resourcePool)

        spec = vim.cluster.PlacementSpec(vm=running, relocateSpec=vim.vm.RelocateSpec(), placementType="relocate")
        spec.hosts = [host for host in cluster.host if host != source]
        [placed] = cluster.PlaceVm(spec).recommendations
        assert placed.action[0].targetHost.name == "esx-03", "the rule forbids esx-02"
        assert placed.action[0].relocateSpec.host == placed.action[0].targetHost
        spec.hosts = [find(content, vim.HostSystem, "esx-02")]
        refused = cluster.PlaceVm(spec)
        assert refused.recommendations == []
        [fault] = refused.drsFault.faultsByVm[0].fault
        assert isinstance(fault, vim.fault.VmHostAffinityRuleViolation)

        answer = cluster.ClusterEnterMaintenanceMode([source], [])
        [recommended] = answer.recommendations
        assert [type(action).__name__.rpartition(".")[2] for action in recommended.action] == [
            "Action", "MigrationAction", "MigrationAction", "MigrationAction",
        ]  # fmt: skip
        assert {action.drsMigration.vm.name for action in recommended.action[1:]} == {VM(n) for n in (1, 2, 3)}
        third = find(content, vim.HostSystem, "esx-03")
        both = cluster.ClusterEnterMaintenanceMode([source, third], [])
        assert [each.target for each in both.recommendations] == [source]
        assert both.fault.faultsByVm[0].vm == running, "no other host is left for it"
        assert lab.get("state")["hosts"]["esx-01"]["maintenance"] == "normal"
        reconfigure(cluster, dasConfig=every_share_is_reserved())
        assert cluster.ClusterEnterMaintenanceMode([source], []).recommendations == []


def every_share_is_reserved() -> Any:
    policy = vim.cluster.FailoverResourcesAdmissionControlPolicy(
        cpuFailoverResourcesPercent=100, memoryFailoverResourcesPercent=100
    )
    return vim.cluster.DasConfigInfo(enabled=True, admissionControlEnabled=True, admissionControlPolicy=policy)


def test_overrides_are_changed_by_those_who_may(tmp_path: Path) -> None:
    with drs_lab(tmp_path, drs="full", drs_overrides={VM(1): "manual"}) as lab, content_of(lab) as content:
        cluster = cluster_of(content)
        one, two = (find(content, vim.VirtualMachine, VM(number)) for number in (1, 2))
        for wrong in (
            override("add", one, enabled=False),
            override("edit", two, enabled=False),
            override("remove", two),
            override("add", vim.VirtualMachine("vm-none"), enabled=False),
        ):
            with pytest.raises(vmodl.fault.InvalidArgument):
                reconfigure(cluster, override("add", find(content, vim.VirtualMachine, VM(5)), enabled=False), wrong)
        assert overrides_of(cluster) == {VM(1): (True, "manual")}, "a change that fails changes nothing"
        reconfigure(cluster, override("add", two, enabled=False), override("edit", one, behavior="fullyAutomated"))
        assert overrides_of(cluster) == {VM(1): (True, "fullyAutomated"), VM(2): (False, None)}
        reconfigure(cluster, override("remove", one))
        reconfigure(cluster, drsConfig=vim.cluster.DrsConfigInfo(enableVmBehaviorOverrides=False, vmotionRate=5))
        drs = cluster.configurationEx.drsConfig
        assert (drs.enabled, drs.enableVmBehaviorOverrides, drs.vmotionRate) == (True, False, 5)
        assert overrides_of(cluster) == {VM(2): (False, None)}
        with content_of(lab, "restricted") as theirs:
            with pytest.raises(vim.fault.NoPermission) as refused:
                reconfigure(cluster_of(theirs), override("remove", vim.VirtualMachine(two._moId)))
            [missing] = refused.value.missingPrivileges
            assert (missing.entity._moId, missing.privilegeIds) == (cluster._moId, ["Host.Inventory.EditCluster"])
            assert refused.value.privilegeId is None, "as since vSphere 8"
            with pytest.raises(vim.fault.NoPermission):
                cluster_of(theirs).RefreshRecommendation()
        lab.post("vms/" + VM(2), action="delete")
        until(lambda: not cluster.configurationEx.drsVmConfig)


RULES = [
    {"name": "apart", "kind": "anti_affinity", "vms": [VM(1), VM(2)]},
    {"name": "together", "kind": "affinity", "vms": [VM(3), VM(5)]},
    {"name": "must", "kind": "vm_host", "vms": [VM(6)], "hosts": ["esx-04"]},
    {"name": "should", "kind": "vm_host", "vms": [VM(7)], "hosts": ["esx-03", "esx-02"], "mandatory": False},
    {"name": "off", "kind": "anti_affinity", "vms": [VM(1), VM(3)], "enabled": False},
]


def test_a_pass_corrects_broken_rules(tmp_path: Path) -> None:
    with drs_lab(tmp_path, drs="full", rules=RULES) as lab, content_of(lab) as content:
        assert not lab.get("state")["moves"]
        lab.post("drs")
        until(lambda: len(moved(lab)) == 4)
        at = lab.where()
        assert at[VM(1)] != at[VM(2)]
        assert at[VM(3)] == at[VM(5)]
        assert at[VM(6)] == "esx-04"
        assert at[VM(7)] in ("esx-02", "esx-03")
        lab.post("drs")
        assert len(lab.get("state")["moves"]) == 4, "what is kept is not corrected"
        with pytest.raises(vim.fault.VmHostAffinityRuleViolation):
            WaitForTask(
                find(content, vim.VirtualMachine, VM(6)).RelocateVM_Task(
                    vim.vm.RelocateSpec(host=find(content, vim.HostSystem, "esx-01"))
                )
            )


def test_drs_balances_at_its_interval_and_spares_closed_hosts(tmp_path: Path) -> None:
    closed = {"failover_hosts": ["esx-04"], "quarantine": "esx-03"}
    with drs_lab(tmp_path, drs="full", drs_interval=30, drs_vmotion_rate=1, **closed) as lab:
        until(lambda: set(moved(lab).values()) == {"DRS"})
        assert {move["target"] for move in lab.get("state")["moves"]} == {"esx-02"}


def test_drs_that_is_off_moves_nothing(tmp_path: Path) -> None:
    with drs_lab(tmp_path) as lab, content_of(lab) as content:
        drs = cluster_of(content).configurationEx.drsConfig
        assert (drs.enabled, drs.defaultVmBehavior) == (False, "fullyAutomated")
        with pytest.raises(OSError, match="409"):
            lab.post("drs")
        task = enter(content, "esx-01")
        reconfigure(cluster_of(content), drsConfig=vim.cluster.DrsConfigInfo(enabled=True))
        WaitForTask(task)
        assert set(moved(lab).values()) == {"DRS"}
