# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other clusters and data centres: the resource pool, folder and networks of a VM there, and its way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_diff, plan_from_dict, plan_to_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.drift import deviations_from_approved, revalidate
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    Move,
    Plan,
    PlanRequest,
    Policy,
    SiteMaps,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.sites import check_maps, pools_to_enter
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Adapter,
    Datastore,
    Estate,
    Folder,
    Network,
    Pool,
    VmState,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import estate, host, vm

PATHS = ("", "ml", "ml/gpu", "batch")
NETS = ("net", "storage")
WHOLE: dict[str, tuple[str, ...]] = {"pools": PATHS, "folders": PATHS, "networks": NETS}


def sites(vms: list[VmState], near: Any = WHOLE, far: Any = WHOLE, other: Any = WHOLE) -> Estate:
    """Cluster ``near`` with two hosts and ``far`` with one in data centre d1, cluster ``other`` with one host in d2."""
    hosts, networks = [], {}
    places = ((1, "near", "d1"), (2, "near", "d1"), (3, "far", "d1"), (4, "other", "d2"))
    have = {"near": near, "far": far, "other": other}
    for number, cluster, site in places:
        moids = {f"{name}-{site}": name for name in have[cluster]["networks"]}
        networks |= {moid: Network(moid, name) for moid, name in moids.items()}
        where = {"cluster": cluster, "cluster_name": cluster, "datacenter": site, "datacenter_moid": site}
        hosts.append(host(number, networks=frozenset(moids), datastores=frozenset({f"ds-{site}"}), **where))
    pools = [Pool(f"{c}:{path}", path, c) for c in have for path in dict.fromkeys(("", *have[c]["pools"]))]
    d1 = dict.fromkeys(("", *near["folders"], *far["folders"]))
    folders = [Folder(f"d1:{path}", path, "d1") for path in d1]
    folders += [Folder(f"d2:{path}", path, "d2") for path in dict.fromkeys(("", *other["folders"]))]
    return estate(
        hosts,
        vms,
        pools={pool.moid: pool for pool in pools},
        folders={folder.moid: folder for folder in folders},
        networks=networks,
        datastores={
            f"ds-{site}": Datastore(
                f"ds-{site}", "shared", frozenset(h.moid for h in hosts if h.datacenter == site), url="nfs"
            )
            for site in ("d1", "d2")
        },
    )


def machine(number: int = 1, pool: str = "ml", folder: str = "ml", *nets: str) -> VmState:
    moids = [f"{net}-d1" for net in nets or ("net",)]
    return vm(
        number,
        pool=f"near:{pool}",
        folder=folder,
        folder_moid=f"d1:{folder}",
        networks=frozenset(moids),
        datastores=frozenset({"ds-d1"}),
        adapters=tuple(Adapter(4000 + place, moid) for place, moid in enumerate(moids)),
        datacenter="d1",
    )


def planned(world: Estate, cluster: str = "far", **changes: Any) -> Plan:
    return make_plan(world, PlanRequest(tuple(world.vms), policy=Policy.ANY, cluster=cluster, **changes))


def only(plan: Plan) -> Move:
    assert not plan.refusals, plan.refusals
    (move,) = plan.moves
    return move


def reasons(plan: Plan) -> dict[str, tuple[str, str]]:
    assert not plan.moves
    return {reason.check: (reason.object, reason.hint) for refusal in plan.refusals for reason in refusal.reasons}


def arrived(world: Estate, move: Move) -> Estate:
    """The estate after the move."""
    state, place = world.vms[move.vm], move.place_after
    changes: dict[str, Any] = {"host": move.target}
    if place is not None:
        plugs = {plug.adapter: plug.network for plug in place.plugs}
        adapters = tuple(replace(a, network=plugs.get(a.key, a.network)) for a in state.adapters)
        folder = world.folders[place.folder or state.folder_moid]
        changes |= {
            "pool": place.pool,
            "folder_moid": folder.moid,
            "folder": folder.path,
            "adapters": adapters,
            "networks": frozenset(a.network for a in adapters),
            "datastores": frozenset({place.datastore} if place.datastore else state.datastores),
        }
    return replace(world, vms={**world.vms, move.vm: replace(state, **changes)})


def test_inside_its_cluster_a_vm_keeps_everything() -> None:
    move = only(make_plan(sites([machine()]), PlanRequest(("vm-1",), policy=Policy.ANY)))
    assert (move.target, move.place_before, move.place_after) == ("host-2", None, None)


def test_another_cluster_of_the_data_centre() -> None:
    move = only(planned(sites([machine()])))
    assert move.place_after is not None
    assert (move.target, move.place_after.pool, move.place_after.folder) == ("host-3", "far:ml", "")
    assert move.place_after.plugs == ()
    assert move.place_before is not None
    assert (move.place_before.pool, move.place_before.cluster_name) == ("near:ml", "near")


def test_another_data_centre_has_folders_and_networks_of_its_own() -> None:
    move = only(planned(sites([machine(1, "ml/gpu", "ml", "net", "storage")]), "other"))
    assert move.place_after is not None
    assert (move.place_after.pool_name, move.place_after.folder) == ("ml/gpu", "d2:ml")
    assert [(plug.adapter, plug.network) for plug in move.place_after.plugs] == [(4000, "net-d2"), (4001, "storage-d2")]


def test_the_files_stay_where_both_data_centres_reach_them() -> None:
    place = only(planned(sites([machine()]), "other")).place_after
    assert place is not None
    assert place.datastore == "ds-d2"
    same = only(planned(sites([machine()]))).place_after
    assert same is not None
    assert same.datastore == ""
    world = sites([replace(machine(), datastores=frozenset({"ds-d1", "ds-local"}))])
    assert {"missing_datastore", "several_datastores"} <= reasons(planned(world, "other")).keys()
    apart = {moid: replace(datastore, url=moid) for moid, datastore in world.datastores.items()}
    assert reasons(planned(replace(sites([machine()]), datastores=apart), "other"))["missing_datastore"][0] == "shared"


def test_what_is_missing_is_named_with_what_exists() -> None:
    far = {"pools": ("batch",), "folders": ("archive",), "networks": ("east",)}
    found = reasons(planned(sites([machine()], other=far), "other"))
    assert found["no_pool"][0] == "ml"
    assert "/, batch" in found["no_pool"][1]
    assert "pool_map" in found["no_pool"][1]
    assert "/, archive" in found["no_folder"][1]
    assert found["no_network"] == (
        "net",
        "Networks there are east. Map the network with network_map, or provide it there",
    )


def test_maps_count_before_names() -> None:
    maps = SiteMaps({"/ml/": "batch"}, {"ml": "/"}, {"net": "storage"})
    place = only(planned(sites([machine()]), "other", maps=maps)).place_after
    assert place is not None
    assert (place.pool_name, place.folder_name) == ("batch", "/")
    assert [plug.network_name for plug in place.plugs] == ["storage"]
    text = plan_diff(planned(sites([machine()]), "other", maps=maps))["after"].partition("It could")[0]
    assert text == "ml-1: esx-1 → esx-4 (cluster other, resource pool batch, folder /, network storage)\n"


def test_a_vm_in_a_vapp_or_an_unreadable_pool_is_refused() -> None:
    world = sites([replace(machine(), pool="unknown")])
    assert reasons(planned(world))["no_pool"][0] == "of ml-1, which vCenter does not show"


def test_a_pool_that_the_user_may_not_use_is_refused() -> None:
    world = sites([machine()])
    request = PlanRequest(("vm-1",), policy=Policy.ANY, cluster="far")
    assert pools_to_enter(world, request) == {"far:", *(f"far:{path}" for path in PATHS if path)}
    assert pools_to_enter(world, replace(request, cluster="near")) == frozenset()
    found = reasons(make_plan(world, replace(request, closed_pools=frozenset({"far:ml"}))))
    assert found == {"pool_not_permitted": ("ml", "Grant the user Resource.AssignVMToPool on this resource pool")}


def test_a_vm_that_is_in_the_cluster_stays_unless_its_host_is_evacuated() -> None:
    world = sites([machine()])
    assert planned(world, "near").settled == ("ml-1",)
    assert only(planned(world, "near", evacuated=frozenset({"host-1"}))).target == "host-2"


def test_a_disconnected_adapter_needs_no_network() -> None:
    state = machine(1, "ml", "ml", "net", "storage")
    loose = (state.adapters[0], replace(state.adapters[1], connected=False))
    world = sites([replace(state, adapters=loose)], far={**WHOLE, "networks": ("net",)})
    assert only(planned(world)).place_after is not None


def test_a_named_host_may_be_in_another_cluster() -> None:
    world = sites([machine()])
    request = PlanRequest(("vm-1",), policy=Policy.ANY, destinations={"vm-1": "host-4"})
    assert only(make_plan(world, request)).target == "host-4"


def test_a_plan_with_places_survives_json_and_its_id_covers_them() -> None:
    plan = planned(sites([machine()]), "other")
    assert plan_from_dict(plan_to_dict(plan)) == plan
    mapped = planned(sites([machine()]), "other", maps=SiteMaps({"ml": "batch"}))
    assert mapped.plan_id != plan.plan_id


def test_what_vanishes_after_planning_is_drift() -> None:
    world = sites([machine()])
    plan = planned(world, "other")
    assert revalidate(plan, world) == ()
    poorer = sites([machine()], other={"pools": (), "folders": (), "networks": ()})
    (drift,) = revalidate(plan, poorer)
    assert drift.what == (
        "the cluster of esx-4 has no resource pool ml any more; the folder ml no longer exists; esx-4 has no network net any more"
    )
    moved = replace(world.hosts["host-2"], cluster="far")
    (drift,) = revalidate(
        make_plan(world, PlanRequest(("vm-1",), policy=Policy.ANY)),
        replace(world, hosts={**world.hosts, "host-2": moved}),
    )
    assert drift.what == "esx-2 is now in another cluster than esx-1"


@pytest.mark.parametrize("maps", [SiteMaps(), SiteMaps({"ml": "batch"})])
def test_a_vm_whose_pool_is_below_a_hidden_one_does_not_land_in_the_root_pool(maps: SiteMaps) -> None:
    world = sites([machine()])
    world = replace(world, pools={**world.pools, "near:ml": replace(world.pools["near:ml"], path=None)})
    found = reasons(planned(world, maps=maps))
    assert {check: what for check, (what, _hint) in found.items()} == {
        "unreadable": "the pool above near:ml, the resource pool of ml-1"
    }
    assert "near:ml" not in str(reasons(planned(sites([machine(pool="ml/gpu")], far={**WHOLE, "pools": ("",)}))))


def test_a_hidden_pool_stays_the_home_of_its_vms() -> None:
    """It is known by its MoID; no pool of another cluster takes its place."""
    world = sites([machine()])
    hidden = replace(world, pools={**world.pools, "near:ml": replace(world.pools["near:ml"], path=None)})
    there = only(planned(world))
    request = PlanRequest(
        ("vm-1",), policy=Policy.ANY, destinations={"vm-1": "host-1"}, places={"vm-1": there.place_before}
    )
    away = replace(arrived(world, there), pools=hidden.pools)
    assert only(make_plan(away, request)).place_after.pool == "near:ml"


def test_a_home_in_a_pool_that_is_not_shown_is_not_replaced_by_the_root_pool() -> None:
    """The home attribute has only the MoID of the pool."""
    world = sites([machine()])
    there = only(planned(world, maps=SiteMaps({"ml": "/"})))
    home = replace(there.place_before, pool="near:gone", pool_name="")
    request = PlanRequest(("vm-1",), policy=Policy.ANY, destinations={"vm-1": "host-1"}, places={"vm-1": home})
    assert reasons(make_plan(arrived(world, there), request))["no_pool"][0] == "near:gone"


def test_another_pool_than_the_approved_one_is_a_deviation() -> None:
    world = sites([machine()])
    mapped = planned(world, maps=SiteMaps({"ml": "batch"}))
    (drift,) = deviations_from_approved(planned(world), mapped, world)
    assert "resource pool batch" in drift.what
    assert "resource pool ml" in drift.what


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (SiteMaps({"mll": "x"}), "vCenter has no resource pool named mll, which pool_map mentions"),
        (SiteMaps(folders={"x": "ml"}), "vCenter has no folder of VMs named x, which folder_map mentions"),
        (SiteMaps(networks={"nett": "net"}), "vCenter has no network named nett, which network_map mentions"),
    ],
)
def test_a_map_of_what_does_not_exist_is_an_error(maps: SiteMaps, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        check_maps(sites([machine()]), maps)


some = {
    "pools": st.lists(st.sampled_from(PATHS), unique=True),
    "folders": st.lists(st.sampled_from(PATHS), unique=True),
    "networks": st.lists(st.sampled_from(NETS), unique=True),
}
machines = st.builds(
    lambda pool, folder, nets: machine(1, pool, folder, *nets),
    st.sampled_from(PATHS),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(NETS), min_size=1, unique=True),
)
maps = st.builds(
    SiteMaps,
    st.dictionaries(st.sampled_from(PATHS[1:]), st.sampled_from(PATHS)),
    st.dictionaries(st.sampled_from(PATHS[1:]), st.sampled_from(PATHS)),
    st.dictionaries(st.sampled_from(NETS), st.sampled_from(NETS)),
)


@given(machines, st.fixed_dictionaries(some), st.sampled_from(["far", "other"]), maps)
def test_a_vm_moves_exactly_if_everything_is_there(state: VmState, there: Any, cluster: str, maps: SiteMaps) -> None:
    world = sites([state], **{cluster: there})
    plan = planned(world, cluster, maps=maps)
    path = world.pools[state.pool].path
    pool, folder = maps.pools.get(path, path), maps.folders.get(state.folder, state.folder)
    target = next(h for h in world.hosts.values() if h.cluster == cluster)
    names = {world.networks[moid].name for moid in target.networks}
    wanted = {maps.networks.get(name, name) for name in (world.networks[moid].name for moid in state.networks)}
    folders = {f.path for f in world.folders.values() if f.datacenter == target.datacenter_moid}
    pools = {p.path for p in world.pools.values() if p.cluster == cluster}
    assert bool(plan.moves) is (pool in pools and folder in folders and wanted <= names)
    assert len(plan.moves) + len(plan.refusals) == 1
    for move in plan.moves:
        there_now = arrived(world, move).vms[state.moid]
        assert world.pools[there_now.pool] == Pool(there_now.pool, pool, cluster)
        assert (there_now.folder, world.folders[there_now.folder_moid].datacenter) == (folder, target.datacenter_moid)
        assert {world.networks[adapter.network].name for adapter in there_now.adapters} == wanted
        assert there_now.networks <= target.networks


@given(machines, st.sampled_from(["far", "other"]), maps)
def test_the_way_back_restores_what_the_vm_had(state: VmState, cluster: str, maps: SiteMaps) -> None:
    world = sites([state])
    there = only(planned(world, cluster, maps=maps))
    assert there.place_before is not None
    request = PlanRequest(
        (state.moid,), policy=Policy.ANY, destinations={state.moid: state.host}, places={state.moid: there.place_before}
    )
    away = arrived(world, there)
    assert arrived(away, only(make_plan(away, request))).vms[state.moid] == state
