# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a VM lands in another cluster or data centre: its resource pool, folder and networks there, or what is missing. Pure.

Each of them is what the operator mapped, else what has the same name there. A VM that comes home gets what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._core.errors import NotFound
from .._core.similar import similar_names
from .._vsphere.estate import Estate, HostState, InventoryPlace, Plug, Pool, VmState
from .._vsphere.qualified import crosses as in_other_vcenters
from .model import PlanRequest, SiteMaps

ROOT = "/"  # how people write the root of resource pools, and of the folders of a data centre
MAX_NAMES = 20  # in a remedy

Blocked = tuple[str, str]  # a failed check and the object it failed on


@dataclass(frozen=True, slots=True)
class Landing:
    """The place of a VM on a host, ``None`` if it keeps what it has; or the checks that fail there."""

    place: InventoryPlace | None = None
    blocked: tuple[Blocked, ...] = field(default=())


def present_place(estate: Estate, vm: VmState) -> InventoryPlace:
    """Where the VM is now, with the networks of its adapters."""
    host, pool = estate.hosts.get(vm.host), estate.pools.get(vm.pool)
    return InventoryPlace(
        cluster_name=host.cluster_name if host else "",
        pool=vm.pool,
        pool_name=pool_text(pool) if pool else vm.pool,
        folder=vm.folder_moid,
        folder_name=_shown(vm.folder),
        plugs=tuple(_plug(estate, adapter.key, adapter.network) for adapter in vm.adapters if adapter.network),
    )


def landing(estate: Estate, request: PlanRequest, vm: VmState, host: HostState) -> Landing:
    """The place of the VM on that host. The resource pool changes with the cluster, the folder with the data centre."""
    source, wanted = estate.hosts.get(vm.host), request.places.get(vm.moid)
    crosses = source is not None and source.cluster != host.cluster
    if not crosses and wanted is None:
        return Landing()
    blocked: list[Blocked] = []
    pool = _pool(estate, request.maps, vm, host, wanted, crosses=crosses)
    folder = _folder(estate, request.maps, vm, host, wanted)
    if pool is None and _hides_path(estate, vm, wanted):
        blocked.append(("unreadable", f"the pool above {vm.pool}, the resource pool of {vm.name}"))
    elif pool is None:
        blocked.append(("no_pool", _wanted_pool(estate, request.maps, vm, wanted)))
    elif pool in request.closed_pools:
        blocked.append(("pool_not_permitted", pool_text(estate.pools[pool])))
    if folder is None:
        blocked.append(("no_folder", _wanted_folder(request.maps, vm, wanted)))
    elif folder in request.closed_folders:
        blocked.append(("folder_not_permitted", _shown(estate.folders[folder].path)))
    plugs, missing = _plugs(estate, request.maps, vm, host, wanted)
    if crosses:
        blocked += [("no_network", name) for name in missing]
        blocked += [("network_not_permitted", p.network_name) for p in plugs if p.network in request.closed_networks]
    if blocked or pool is None or folder is None:
        return Landing(blocked=tuple(blocked))
    if (pool, folder) == (vm.pool, vm.folder_moid) and not plugs:
        return Landing()
    return Landing(
        InventoryPlace(
            host.cluster_name,
            pool,
            pool_text(estate.pools[pool]),
            folder if folder != vm.folder_moid else "",
            _shown(estate.folders[folder].path) if folder in estate.folders else _shown(vm.folder),
            plugs,
            _datastore_there(estate, vm, host),
        )
    )


def datastore_on(estate: Estate, moid: str, host: HostState) -> str:
    """The datastore by which the host accesses the location of another one: the same, or that of its data centre; "" if it cannot."""

    def usable(each: str) -> bool:
        # A host lists a datastore that it mounts but cannot access.
        return each in host.datastores and (each not in estate.datastores or host.moid in estate.datastores[each].hosts)

    if usable(moid):
        return moid
    known = estate.datastores.get(moid)
    if known is None or not known.url:
        return ""
    return next((d.moid for d in estate.datastores.values() if d.url == known.url and usable(d.moid)), "")


def _datastore_there(estate: Estate, vm: VmState, host: HostState) -> str:
    """The VM's datastore if it has another one in the data centre of the host; "" if it keeps its own."""
    found = {datastore_on(estate, moid, host) for moid in vm.datastores} - vm.datastores
    return min(found, default="")


def _shown(path: str) -> str:
    return path or ROOT


def pool_text(pool: Pool) -> str:
    """A resource pool for people: its MoID if its path is not known."""
    return pool.moid if pool.path is None else _shown(pool.path)


def _plain(path: str) -> str:
    """A path as the estate has it: "" for the root."""
    return path.strip("/")


def _mapped(names: Mapping[str, str], path: str) -> str:
    known = {_plain(key): value for key, value in names.items()}
    return _plain(known.get(path, path))


def _wanted_pool(estate: Estate, maps: SiteMaps, vm: VmState, wanted: InventoryPlace | None) -> str:
    """The path of the pool that the VM should have, for people; its MoID if nothing else is known of it."""
    if wanted is not None and wanted.pool:
        return _shown(_plain(wanted.pool_name)) if wanted.pool_name else wanted.pool
    own = estate.pools.get(vm.pool)
    if own is None or own.path is None:
        return f"of {vm.name}, which vCenter does not show"
    return _shown(_mapped(maps.pools, own.path))


def _hides_path(estate: Estate, vm: VmState, wanted: InventoryPlace | None) -> bool:
    """Whether vCenter shows the VM's pool and not what is above it. Then it is not known which limits the VM has to keep."""
    own = estate.pools.get(vm.pool)
    return own is not None and own.path is None and not (wanted is not None and wanted.pool)


def _pool(
    estate: Estate, maps: SiteMaps, vm: VmState, host: HostState, wanted: InventoryPlace | None, *, crosses: bool
) -> str | None:
    """The MoID of the VM's pool on the host; ``None`` if there is none, or if it is not known which one it is.

    A home in a custom attribute has only the MoID of its pool. If vCenter does not show it any more, no other pool takes its place.
    """
    if wanted is not None and (known := estate.pools.get(wanted.pool)) and known.cluster == host.cluster:
        return known.moid
    if not crosses:
        return vm.pool
    home = wanted is not None and bool(wanted.pool)
    own = estate.pools.get(vm.pool)
    if (own is None or own.path is None) and not home:
        return None
    path = _plain(_wanted_pool(estate, maps, vm, wanted))
    found = [pool.moid for pool in estate.pools.values() if pool.cluster == host.cluster and pool.path == path]
    return found[0] if len(found) == 1 else None


def _wanted_folder(maps: SiteMaps, vm: VmState, wanted: InventoryPlace | None) -> str:
    if wanted is not None and wanted.folder_name:
        return _shown(_plain(wanted.folder_name))
    return _shown(_mapped(maps.folders, vm.folder))


def _folder(estate: Estate, maps: SiteMaps, vm: VmState, host: HostState, wanted: InventoryPlace | None) -> str | None:
    """The MoID of the VM's folder in the data centre of the host; ``None`` if there is none."""
    if wanted is not None and (known := estate.folders.get(wanted.folder)) and known.datacenter == host.datacenter_moid:
        return known.moid
    own = estate.folders.get(vm.folder_moid)
    path = _plain(_wanted_folder(maps, vm, wanted))
    if own is None and in_other_vcenters(vm.host, host.moid):
        return None
    if own is None or (own.datacenter == host.datacenter_moid and path == own.path):
        return vm.folder_moid  # also if the folder cannot be read: the VM then stays where it is
    found = [f.moid for f in estate.folders.values() if f.datacenter == host.datacenter_moid and f.path == path]
    return found[0] if len(found) == 1 else None


def _network_name(estate: Estate, moid: str) -> str:
    return estate.networks[moid].name if moid in estate.networks else moid


def _plug(estate: Estate, adapter: int, network: str) -> Plug:
    known = estate.networks.get(network)
    return Plug(adapter, network, known.name, known.kind) if known else Plug(adapter, network)


def _plugs(
    estate: Estate, maps: SiteMaps, vm: VmState, host: HostState, wanted: InventoryPlace | None
) -> tuple[tuple[Plug, ...], tuple[str, ...]]:
    """The adapters that get another network on the host, and the names of networks that it does not have."""
    before = {plug.adapter: plug.network for plug in wanted.plugs} if wanted is not None else {}
    plugs, missing = list[Plug](), list[str]()
    for adapter in vm.adapters:
        network = before.get(adapter.key, "")
        if network not in host.networks:
            network = network_on(estate, maps, adapter.network, host)
        if not network:
            if adapter.connected or in_other_vcenters(vm.host, host.moid):
                missing.append(_goal(estate, maps, adapter.network))
        elif network != adapter.network:
            plugs.append(_plug(estate, adapter.key, network))
    known = {adapter.network for adapter in vm.adapters}
    for network in vm.networks - vm.unplugged_networks - known:  # adapters that could not be read
        if not network_on(estate, maps, network, host):
            missing.append(_goal(estate, maps, network))
    return tuple(plugs), tuple(sorted(set(missing)))


def _goal(estate: Estate, maps: SiteMaps, network: str) -> str:
    name = _network_name(estate, network)
    return maps.networks.get(name, name)


def network_on(estate: Estate, maps: SiteMaps, network: str, host: HostState) -> str:
    """The network (MoID) that takes the place of a VM's network on the host: the mapped one, the same one, or that of its name."""
    name = _network_name(estate, network)
    if name not in maps.networks and network in host.networks:
        return network
    goal = maps.networks.get(name, name)
    found = [moid for moid in sorted(host.networks) if _network_name(estate, moid) == goal]
    return found[0] if len(found) == 1 else ""


def existing_names(estate: Estate, hosts: Iterable[HostState]) -> dict[str, str]:
    """The resource pools, folders and networks that hosts offer, for remedies."""
    hosts = tuple(hosts)
    clusters = {host.cluster for host in hosts}
    sites = {host.datacenter_moid for host in hosts}
    return {
        "pools": _listed(pool_text(pool) for pool in estate.pools.values() if pool.cluster in clusters),
        "folders": _listed(_shown(folder.path) for folder in estate.folders.values() if folder.datacenter in sites),
        "networks": _listed(_network_name(estate, moid) for host in hosts for moid in host.networks),
    }


def _listed(names: Iterable[str]) -> str:
    found = sorted(set(names))
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return (", ".join(found[:MAX_NAMES]) or "none") + more


def pools_to_enter(estate: Estate, request: PlanRequest) -> frozenset[str]:
    """The pools (MoIDs) of other clusters to which the request may move a VM; the user needs a privilege on them."""
    entered: set[str] = set()
    for moid in request.vms:
        here = estate.hosts.get(estate.vms[moid].host)
        there = estate.hosts.get(request.destinations.get(moid, ""))
        target = there.cluster if there is not None else request.cluster
        if here is not None and target is not None and target != here.cluster:
            entered.add(target)
    return frozenset(pool.moid for pool in estate.pools.values() if pool.cluster in entered)


def check_maps(estate: Estate, maps: SiteMaps) -> None:
    """Raise NotFound for a name in a map that nothing has: the map would not count for what was meant."""
    known = {
        "pool_map": (maps.pools, {p.path for p in estate.pools.values() if p.path is not None}, "resource pool"),
        "folder_map": (maps.folders, {folder.path for folder in estate.folders.values()}, "folder of VMs"),
    }
    for option, (names, paths, kind) in known.items():
        for name in names:
            if _plain(name) not in paths:
                _not_found(name, map(_shown, paths), option, kind)
    networks = {network.name for network in estate.networks.values()}
    for name in maps.networks:
        if name not in networks:
            _not_found(name, networks, "network_map", "network")


def _not_found(name: str, known: Iterable[str], option: str, kind: str) -> None:
    similar = similar_names(name, known)
    hint = f"Did you mean {' or '.join(similar)}? Correct {option}" if similar else f"Correct {option}"
    raise NotFound(f"vCenter has no {kind} named {name}, which {option} mentions", hint=hint, option=option)
