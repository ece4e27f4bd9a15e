# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves between two vCenters: what vSphere supports, what the user may, and what the plan says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import (
    plan_diff,
    plan_from_dict,
    plan_lines,
    plan_to_dict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.crossing import (
    is_older,
    moves_at_a_time,
    settings_left,
    to_enter,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Move, Plan, PlanRequest, Policy, Wan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import refuse_other_second
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    AntiAffinityRule,
    Automation,
    Drs,
    DrsOverride,
)

from tests.builders.estates import GIB, estate, host, vm
from tests.doubles.sites import THERE, Sites, machine, planned

CLOUD = f"c@{THERE}"


def reasons(plan: Plan) -> dict[str, tuple[str, str]]:
    assert not plan.moves
    return {reason.check: (reason.object, reason.hint) for refusal in plan.refusals for reason in refusal.reasons}


def test_lines_and_diff_name_both_vcenters(tmp_path: Path) -> None:
    plan = planned(Sites(1).pair(), tmp_path, wan_mbit=1000.0)
    (line,) = plan_lines(plan)
    assert line.startswith("ml-1: near-1 [files] in vCenter near → far-")
    assert " [files] in vCenter far (cluster c, resource pool ml, folder ml, network ml-net)" in line
    assert "near-1 [files] in vCenter near (cluster c" in plan_diff(plan)["before"]
    assert plan_from_dict(plan_to_dict(plan)) == plan


@pytest.mark.parametrize(
    ("missing", "check", "offered"),
    [
        ({"pools": ("", "Compute-ResourcePool")}, "no_pool", "/, Compute-ResourcePool"),
        ({"folders": ("", "Workloads")}, "no_folder", "/, Workloads"),
        ({"networks": {"net": "segment-1"}}, "no_network", "segment-1"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(
    missing: dict[str, Any], check: str, offered: str, tmp_path: Path
) -> None:
    sites = Sites(1)
    for name, value in missing.items():
        setattr(sites.far, name, value)
    found = reasons(planned(sites.pair(), tmp_path))
    assert found.keys() == {check}
    assert offered in found[check][1]
    maps = {
        "pool_map": {"ml": "Compute-ResourcePool"},
        "folder_map": {"ml": "Workloads"},
        "network_map": {"ml-net": "segment-1"},
    }
    (name,) = missing
    given = {key: value for key, value in maps.items() if key == f"{name.removesuffix('s')}_map"}
    assert len(planned(sites.pair(), tmp_path, **given).moves) == 1


def test_files_always_move(tmp_path: Path) -> None:
    sites = Sites(1)
    sites.far.free_bytes = 5 * GIB
    found = reasons(planned(sites.pair(), tmp_path))
    assert found.keys() == {"no_capacity_datastore"}
    with pytest.raises(NotFound, match="datastore"):
        planned(sites.pair(), tmp_path, datastore="elsewhere")
    sites.far.free_bytes = 900 * GIB
    assert planned(sites.pair(), tmp_path, datastore="files").moves[0].targets == {
        0: f"ds@{THERE}",
        2000: f"ds@{THERE}",
    }


@pytest.mark.parametrize(
    ("one", "other", "older"),
    [
        ("8.0.2", "8.0.3", True),
        ("8.0.3", "8.0.3", False),
        ("9.0.0", "8.0.3", False),
        ("7.0.10", "7.0.9", False),
        ("8.0", "8.0.1", True),
        ("8.0.3", "", None),
        ("x", "8.0.3", None),
    ],
)
def test_versions(one: str, other: str, older: bool | None) -> None:
    assert is_older(one, other) is older


def test_a_newer_vcenter_is_a_way_without_return(tmp_path: Path) -> None:
    plan = planned(Sites(1, far_version="8.0.4").pair(), tmp_path, wan_mbit=500.0)
    assert len(plan.moves) == 1
    assert any("cannot come home live" in note for note in plan.notes)
    found = reasons(planned(Sites(1, far_version="8.0.2").pair(), tmp_path))
    assert found["vcenter_version"][0] == "8.0.2 of far, 8.0.3 of near"
    assert "unreadable" in reasons(planned(Sites(1, far_version="").pair(), tmp_path))


@pytest.mark.parametrize(
    ("wan", "check"),
    [
        ({"wan_mbit": 249.0}, "wan_bandwidth"),
        ({"wan_latency_ms": 151.0}, "wan_latency"),
        ({"wan_mbit": 250.0, "wan_latency_ms": 150.0}, ""),
        ({"wan_mbit": 0.0, "wan_latency_ms": 0.0}, ""),
    ],
)
def test_the_network_between_the_sites(wan: dict[str, float], check: str, tmp_path: Path) -> None:
    plan = planned(Sites(1).pair(), tmp_path, **wan)
    assert [r.check for refusal in plan.refusals for r in refusal.reasons] == [check] * bool(check)
    stated = bool(wan.get("wan_mbit"))
    assert any("not stated" in note for note in plan.notes) is (not check and not stated)


def test_the_bandwidth_decides_duration_and_number_of_moves(tmp_path: Path) -> None:
    slow, fast = (planned(Sites(1).pair(), tmp_path, wan_mbit=mbit).moves[0] for mbit in (250.0, 5000.0))
    assert slow.predicted_seconds > 5 * fast.predicted_seconds
    assert [moves_at_a_time(Wan(mbit)) for mbit in (None, 250.0, 499.0, 2000.0)] == [None, 1, 1, 8]


def test_what_the_user_may_not_enter_is_refused() -> None:
    sites = Sites(1)
    estate = sites.pair().estate()
    asked = PlanRequest(("u1",), cluster=CLOUD)
    networks, folders = to_enter(estate, asked)
    assert {network.moid for network in networks} == {f"net@{THERE}"}
    assert folders == {f"folder-{path}@{THERE}" for path in ("", "ml")}
    assert to_enter(estate, PlanRequest(("u1",), cluster="c")) == ((), frozenset())
    closed: dict[str, frozenset[str]] = {
        "closed_folders": frozenset({f"folder-ml@{THERE}"}),
        "closed_networks": frozenset({f"net@{THERE}"}),
    }
    found = reasons(make_plan(estate, PlanRequest(("u1",), policy=Policy.ANY, cluster=CLOUD, **closed)))  # type: ignore[arg-type]
    assert {"folder_not_permitted", "network_not_permitted"} <= found.keys()


def test_a_cluster_must_be_named_if_there_are_several(tmp_path: Path) -> None:
    sites = Sites(1)
    hosts = sites.far.hosts
    sites.far.hosts = {m: h for m, h in hosts.items() if m == "host-1"}
    assert planned(sites.pair(), tmp_path).moves[0].target == f"host-1@{THERE}"
    sites.far.hosts = {**hosts, "host-3": replace(hosts["host-3"], cluster="c2", cluster_name="second")}
    with pytest.raises(InvalidInput, match="not named") as error:
        planned(sites.pair(), tmp_path)
    assert "c, second" in str(error.value)
    (move,) = planned(sites.pair(), tmp_path, destination_cluster="c").moves
    assert move.target in (f"host-1@{THERE}", f"host-2@{THERE}")
    assert planned(sites.pair(), tmp_path, destination="far-2").moves[0].target == f"host-2@{THERE}"


@pytest.mark.parametrize("options", [{"scope": "storage", "datastore": "files"}, {"drs": "follow"}])
def test_what_cannot_be_combined_with_another_vcenter(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="destination_vcenter cannot be combined"):
        planned(Sites(1).pair(), tmp_path, **options)


def test_a_twin_is_refused(tmp_path: Path) -> None:
    sites = Sites(1)
    sites.far.vms["vm-5"] = machine(5, instance_uuid="u1", name="copy")
    found = reasons(planned(sites.pair(), tmp_path))
    assert found["twin"][0] == "far"


def test_a_plan_is_for_its_vcenters_only(tmp_path: Path) -> None:
    sites = Sites(1)
    pair, alone = sites.pair(), sites.near
    both, single = planned(pair, tmp_path), planned(alone, tmp_path)
    refuse_other_second(both, pair.estate(), "plan")
    refuse_other_second(single, alone.estate(), "plan")
    with pytest.raises(InvalidInput, match="also for the vCenter far"):
        refuse_other_second(both, alone.estate(), "plan")
    with pytest.raises(InvalidInput, match="not for two vCenters"):
        refuse_other_second(single, pair.estate(), "plan")


def test_what_is_gone_over_there_is_drift(tmp_path: Path) -> None:
    sites = Sites(1)
    plan = planned(sites.pair(), tmp_path)
    assert revalidate(plan, sites.pair().estate()) == ()
    sites.far.networks = {}
    for moid, known in list(sites.far.hosts.items()):
        sites.far.hosts[moid] = replace(known, networks=frozenset())
    (drift,) = revalidate(plan, sites.pair().estate())
    assert "has no network ml-net any more" in drift.what


@pytest.mark.parametrize(
    ("overrides", "there", "said"),
    [
        ({"vm-1": DrsOverride(behavior=Automation.MANUAL)}, "d", "ml-1 (rule apart, DRS override), ml-2 (rule apart)"),
        (None, "d", "ml-1 (rule apart, perhaps a DRS override, which vCenter does not show), "),
        ({"vm-1": DrsOverride(behavior=Automation.MANUAL)}, "c", ""),
    ],
)
def test_what_vcenter_deletes_of_vms_that_leave_their_cluster_is_said(
    overrides: dict[str, DrsOverride] | None, there: str, said: str
) -> None:
    world = estate(
        [host(1), host(2, cluster=there)],
        [vm(1), vm(2), vm(3)],
        anti_affinity=(AntiAffinityRule("apart", frozenset({"vm-1", "vm-2"})),),
        drs={"c": Drs(Automation.MANUAL, True, overrides)},
    )
    moves = [Move(n, f"vm-{n}", f"ml-{n}", "host-1", "esx-1", "host-2", "esx-2", 1, 1.0) for n in (1, 2)]
    notes = list(settings_left(world, moves))
    assert [f"that these VMs leave: {said}" in note for note in notes] == [True] * bool(said)
