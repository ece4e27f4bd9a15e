# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two logged-in sessions as one: implements the port ``Vcenter`` over two vCenters, between which VMs move.

Each call goes to the vCenter that has the object. Which one has a VM changes: a VM that is gone from one vCenter is looked for in
the other one by its instance UUID. See ``qualified`` for the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic, sleep
from typing import TypeVar

from .._core.errors import CallFailed
from .estate import (
    Checked,
    DrsOverride,
    Estate,
    FenceTask,
    HostState,
    InventoryPlace,
    Network,
    Relocation,
    StoragePolicies,
)
from .guest import GuestLogin, GuestProcess
from .home_attribute import Home, of_vcenter, spans_vcenters
from .lease_attribute import Lease
from .news import PlacementUpdate, TaskUpdate, Update
from .qualified import Names, joined, moid_of, vcenter_of
from .session import NO_FILES, VcenterSession

T = TypeVar("T")
ARRIVAL_SECONDS = 10.0  # until a VM that left one vCenter must be in the other one, else it is gone
MAX_READS = 3  # of both vCenters, until nothing moved between the reads
_PAUSE = 0.2
UNSEEN = (
    "neither vCenter shows it to these logins, although it may have been moved to the other one; grant the user a role on the folder "
    "where it should be, which propagates to the VMs in it"
)
HCX = ("com.vmware.hcx", "com.vmware.hybridity")  # how the keys of its extensions begin


@dataclass(slots=True)
class Side:
    """One of the vCenters. ``names`` are the ids of its objects; ``raw`` is its estate with MoIDs."""

    session: VcenterSession
    uuid: str
    names: Names
    raw: Estate | None = None
    ids: dict[str, str] = field(default_factory=dict)  # ids of VMs by MoID
    followed: set[str] = field(default_factory=set)  # tasks (MoIDs)

    def id_of(self, vm: str) -> str:
        """The id of a VM (MoID)."""
        return self.ids.get(vm) or self.names.of(vm)


class VcenterPair:
    """Two sessions as one. ``first`` has the hosts that are evacuated or restored; ``second`` is the other vCenter."""

    def __init__(
        self,
        first: VcenterSession,
        second: VcenterSession,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], None] = sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        uuids = [session.client.content.about.instanceUuid for session in (first, second)]
        self._first = Side(first, uuids[0], Names("", {}))
        self._second = Side(second, uuids[1], Names(uuids[1], {}))
        self._at: dict[str, tuple[Side, str]] = {}  # by id of a VM: where it was seen last, and its MoID there
        self._gone: set[str] = set()  # ids of VMs that neither vCenter shows
        self._leaves: dict[str, bool] = {}  # by id of a VM that a task moves: whether it may change its vCenter

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both vCenters."""
        return self._first, self._second

    def on_silence(self, listener: Callable[[float], None]) -> None:
        """See the port."""
        for side in self.sides:
            side.session.on_silence(listener)

    def on_interruption(self, interrupted: Callable[[], bool]) -> None:
        """See the port."""
        for side in self.sides:
            side.session.on_interruption(interrupted)

    # reading

    def estate(self, *, devices_of_vms: Iterable[str] = (), fault_domains: Mapping[str, str] | None = None) -> Estate:
        """See the port. Both are read again if a VM may have gone from one to the other between the reads."""
        for _read in range(MAX_READS):
            first, second = (side.session.estate(fault_domains=fault_domains) for side in self.sides)
            if self._first.session.identities() == {m: (vm.instance_uuid, vm.power) for m, vm in first.vms.items()}:
                break  # else it would seem to be in both vCenters, or in neither
        self._first.raw, self._second.raw = first, second
        estate, self._first.names, self._second.names = joined(first, second)
        for side in self.sides:
            side.ids.update(side.names.vms)
            self._at |= {identifier: (side, moid) for moid, identifier in side.names.vms.items()}
        self._gone -= self._at.keys()
        return self.devices(estate, devices_of_vms)

    def estate_of_hosts(self, *, fault_domains: Mapping[str, str] | None = None) -> Estate:
        """See the port. Without the VMs of both it is not known which ids name objects of which vCenter, so all is read."""
        return self.estate(fault_domains=fault_domains)

    def devices(self, estate: Estate, vms: Iterable[str]) -> Estate:
        """See the port."""
        wanted = set(vms) & estate.vms.keys()
        for side in self.sides:
            here = {moid: identifier for moid, identifier in side.names.vms.items() if identifier in wanted}
            if side.raw is None or not here:
                continue
            side.raw = side.session.devices(side.raw, here)
            estate = replace(
                estate,
                vms={
                    **estate.vms,
                    **{
                        identifier: replace(side.names.state(side.raw.vms[moid]), twin=estate.vms[identifier].twin)
                        for moid, identifier in here.items()
                    },
                },
                unreadable={
                    **estate.unreadable,
                    **{here[m]: paths for m, paths in side.raw.unreadable.items() if m in here},
                },
            )
        return estate

    def graphics(self, estate: Estate, profiles: Collection[str]) -> Estate:
        """See the port."""
        for side in self.sides:
            if side.raw is None:
                continue
            side.raw = side.session.graphics(side.raw, profiles)
            known = side.names.estate(side.raw)
            estate = replace(
                estate,
                vgpus={**estate.vgpus, **known.vgpus},
                vgpu_profiles={**estate.vgpu_profiles, **known.vgpu_profiles},
            )
        return estate

    def policies(self, estate: Estate, vms: Iterable[str], wanted: str = "") -> Estate:
        """The estate with the storage policies of VMs, each read from the vCenter where the VM is. See ``read_policies``."""
        known, ids = StoragePolicies(), set(vms)
        for side in self.sides:
            here = {moid: identifier for moid, identifier in side.names.vms.items() if identifier in ids}
            if side.raw is None or not here:
                continue
            found = side.session.policies(side.raw, here, wanted).policies
            known = StoragePolicies(
                {**known.names, **found.names},
                {**known.of_vms, **{here[moid]: parts for moid, parts in found.of_vms.items()}},
                {
                    **known.fitting,
                    **{policy: frozenset(map(side.names.of, stores)) for policy, stores in found.fitting.items()},
                },
                known.why_unknown or found.why_unknown,
            )
        return replace(estate, policies=known)

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """See the port. A VM counts as gone when neither vCenter has shown it for ``ARRIVAL_SECONDS``.

        A VM that was moved to the other vCenter has left its own one. There a user may not see it who may register it in a folder, so
        that it is not known to be gone.
        """
        wanted = tuple(dict.fromkeys(vms))
        found = self._placed(wanted)
        deadline = self._clock() + ARRIVAL_SECONDS
        while missing := [vm for vm in wanted if _is_missing(found[vm]) and vm not in self._gone]:
            for vm in missing:
                self._search(vm)
            found |= self._placed(missing)
            if self._clock() >= deadline:
                self._gone |= {vm for vm in missing if _is_missing(found[vm])}
            elif any(_is_missing(found[vm]) for vm in missing):
                self._sleep(_PAUSE)
        hidden = {vm for vm in wanted if _is_missing(found[vm]) and self._leaves.get(vm)}
        return {vm: replace(seen, unknown=UNSEEN) if vm in hidden else seen for vm, seen in found.items()}

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        """See the port. The vCenter is asked in which the VM had the MoID."""
        asked = tuple(vms)
        return frozenset(
            vm
            for side in self.sides
            for vm in asked
            if vcenter_of(vm) == side.names.vcenter and side.session.deleted((moid_of(vm),))
        )

    def _placed(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """Where VMs are, asked of the vCenter that had each of them last."""
        found = {vm: PlacementUpdate(vm, None) for vm in vms}
        for side, here in self._by_side(found):
            for moid, update in side.session.placement(here).items():
                host = None if update.host is None else side.names.of(update.host)
                found[here[moid]] = replace(update, vm=here[moid], host=host)
        return found

    def _search(self, vm: str) -> bool:
        """Look for a VM that is not where it was, by its instance UUID, first in the other vCenter."""
        was = self._at.get(vm)
        if vcenter_of(vm) or (was is not None and moid_of(vm) == was[1]):
            return False  # its id is a MoID: it has no instance UUID of its own
        for side in sorted(self.sides, key=lambda side: was is not None and side is was[0]):
            moid = side.session.vm_with(vm)
            if moid is not None:
                self._at[vm] = (side, moid)
                side.ids[moid] = vm
                return True
        return False

    def _by_side(self, vms: Iterable[str]) -> list[tuple[Side, dict[str, str]]]:
        """The VMs that each vCenter had last: ids by MoID. VMs that nobody has seen yet are looked for."""
        here: dict[str, dict[str, str]] = {side.uuid: {} for side in self.sides}
        for vm in vms:
            if vm in self._at or self._search(vm):
                side, moid = self._at[vm]
                here[side.uuid][moid] = vm
        return [(side, here[side.uuid]) for side in self.sides if here[side.uuid]]

    def _now(self, vms: Iterable[str]) -> list[tuple[Side, dict[str, str]]]:
        """The same for where the VMs are now; VMs that no longer exist are left out."""
        return self._by_side(vm for vm, update in self.placement(vms).items() if update.host is not None)

    def _vm(self, vm: str) -> tuple[Side, str]:
        """Where a VM is now. Raises CallFailed if it is in neither vCenter."""
        for side, here in self._now((vm,)):
            return side, next(iter(here))
        raise CallFailed(f"Neither vCenter has the VM {vm}", fault="ManagedObjectNotFound")

    def _side(self, identifier: str) -> Side:
        """The vCenter of an object that is not a VM. Raises CallFailed if it is neither of the two."""
        for side in self.sides:
            if vcenter_of(identifier) in (side.names.vcenter, side.uuid):
                return side
        raise CallFailed(f"{identifier} is in another vCenter", fault="ManagedObjectNotFound")

    def _split(self, identifiers: Iterable[str]) -> list[tuple[Side, list[str]]]:
        """MoIDs of objects by vCenter; those of other vCenters are left out."""
        known = list(identifiers)
        parts = [
            (side, [moid_of(each) for each in known if vcenter_of(each) in (side.names.vcenter, side.uuid)])
            for side in self.sides
        ]
        return [(side, moids) for side, moids in parts if moids]

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        """See the port."""
        return {
            here[moid]: {part: side.names.of(datastore) for part, datastore in parts.items()}
            for side, here in self._now(vms)
            for moid, parts in side.session.places(here).items()
        }

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        """See the port."""
        wanted = tuple(vms)
        found: dict[str, str | None] = dict.fromkeys(wanted)
        for side, here in self._now(wanted):
            found |= {here[moid]: at for moid, at in side.session.power_on_times(here).items()}
        return found

    def is_restarted_by_ha(self, vm: str, since: str) -> bool:
        """See the port. What happened before the VM changed its vCenter is not known."""
        side, moid = self._at.get(vm, (self._first, ""))
        return bool(moid) and side.session.is_restarted_by_ha(moid, since)

    def guest_processes(self, vm: str, login: GuestLogin) -> tuple[GuestProcess, ...]:
        """See the port."""
        side, moid = self._vm(vm)
        return side.session.guest_processes(moid, login)

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        """See the port."""
        return {
            here[moid]: side.names.of(task) if task else ""
            for side, here in self._now(vms)
            for moid, task in side.session.moving(here).items()
        }

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        """See the port."""
        return {
            side.names.of(moid): inside
            for side, moids in self._split(hosts)
            for moid, inside in side.session.in_maintenance(moids).items()
        }

    def mover(self, vm: str, host: str) -> str:
        """See the port. Who moved a VM into the vCenter of the host before it left again is not known."""
        side, moid = self._at.get(vm, (self._first, ""))
        return side.session.mover(moid, moid_of(host)) if moid and self._side(host) is side else ""

    def lost_vms(self, host: str) -> frozenset[str] | None:
        """See the port."""
        side = self._side(host)
        lost = side.session.lost_vms(moid_of(host))
        return None if lost is None else frozenset(map(side.id_of, lost))

    def time(self) -> datetime:
        """See the port."""
        return self._first.session.time()

    def migrations(self, since: datetime) -> Mapping[str, int]:
        """See the port. Those of the first vCenter."""
        side = self._first
        return {side.id_of(moid): count for moid, count in side.session.migrations(since).items()}

    # moving

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] = NO_FILES,
        policies: Mapping[int, str] = NO_FILES,
    ) -> str:
        """See the port. Raises CallFailed if a move to the other vCenter does not name what vCenter needs for it."""
        side, moid = self._vm(vm)
        target = side if host is None else self._side(host)
        spec = _local(Relocation(moid, host, place, tuple(files.items()), tuple(policies.items())))
        self._leaves[vm] = target is not side
        if target is not side:
            _check_complete(spec)
        task = side.session.relocate(
            moid,
            spec.host,
            place=spec.place,
            priority=priority,
            files=dict(spec.files),
            policies=dict(spec.policies),
            abroad=None if target is side else target.session.client,
        )
        return side.names.of(task)

    def compatible(self, vms: Iterable[str], hosts: Iterable[str]) -> dict[tuple[str, str], Checked]:
        """See the port. No vCenter compares its VMs with the hosts of the other one."""
        targets = {side.uuid: moids for side, moids in self._split(hosts)}
        return {
            (here[vm], side.names.of(host)): checked
            for side, here in self._by_side(vms)
            if side.uuid in targets
            for (vm, host), checked in side.session.compatible(here, targets[side.uuid]).items()
        }

    def check_moves(self, moves: Sequence[Relocation]) -> list[Checked]:
        """See the port. The vCenter that the VM leaves checks a move to the other one, as far as it can."""
        found: dict[int, Checked] = {}
        for side in self.sides:
            for target in self.sides:
                batch = {n: spec for n, each in enumerate(moves) if (spec := self._check(each, side, target))}
                if batch:
                    abroad = None if target is side else target.session.client
                    answers = side.session.check_moves(list(batch.values()), abroad)
                    found |= dict(zip(batch, answers, strict=True))
        return [found.get(n, Checked()) for n in range(len(moves))]

    def _check(self, move: Relocation, side: Side, target: Side) -> Relocation | None:
        """The move with MoIDs, if it leads from this vCenter to that one."""
        here, moid = self._at[move.vm]
        there = here if move.host is None else self._side(move.host)
        return _local(replace(move, vm=moid)) if here is side and there is target else None

    def recommended_datastores(self, move: Relocation, cluster: str) -> dict[int, str]:
        """See the port. Storage DRS does not know VMs of another vCenter, so it is not asked."""
        raise CallFailed("With two vCenters Storage DRS is not asked", fault="NotSupported")

    def cancel(self, task: str) -> None:
        """See the port."""
        self._side(task).session.cancel(moid_of(task))

    def follow(self, task: str, vm: str | None = None) -> None:
        """See the port. A VM that has left the vCenter of its task is not followed."""
        side = self._side(task)
        here, moid = self._at.get(vm or "", (None, ""))
        if vm is not None:
            self._leaves.setdefault(vm, True)  # of a task that another process has started, it is not known
        side.followed.add(moid_of(task))
        side.session.follow(moid_of(task), moid if here is side else None)

    def unfollow(self, task: str) -> None:
        """See the port."""
        side = self._side(task)
        side.followed.discard(moid_of(task))
        side.session.unfollow(moid_of(task))

    def updates(self, timeout: float) -> tuple[Update, ...]:
        """See the port. While tasks of both vCenters run, each is asked in turn without waiting."""
        active = [side for side in self.sides if side.followed] or [self._first]
        if len(active) == 1:
            return self._told(active[0], timeout)
        deadline = self._clock() + timeout
        while True:
            found = tuple(update for side in active for update in self._told(side, 0))
            if found or self._clock() >= deadline:
                return found
            self._sleep(min(_PAUSE, timeout))

    def _told(self, side: Side, timeout: float) -> tuple[Update, ...]:
        updates = (self._translated(side, update) for update in side.session.updates(timeout))
        return tuple(update for update in updates if update is not None)

    def _translated(self, side: Side, update: Update) -> Update | None:
        """An update of one vCenter, with ids. A VM that has left it is reported where it is, or not at all."""
        if isinstance(update, TaskUpdate):
            return replace(update, task=side.names.of(update.task))
        vm = side.id_of(update.vm)
        if update.host is None:
            return self._placed((vm,))[vm] if self._search(vm) else None
        if vm in self._at and self._at[vm][0] is not side:
            return None  # older than what is known
        return PlacementUpdate(vm, side.names.of(update.host), update.power)

    # homes and leases

    def record_home(self, home: Home) -> bool:
        """See the port. The home is recorded in the vCenter where the VM is."""
        try:
            side, moid = self._vm(home.vm)
        except CallFailed:
            return False
        if spans_vcenters(home) or side is not self._first:
            home = of_vcenter(home, self._first.uuid)
        return side.session.record_home(replace(home, vm=moid))

    def clear_home(self, vm: str) -> bool:
        """See the port."""
        try:
            side, moid = self._vm(vm)
        except CallFailed:
            return False
        return side.session.clear_home(moid)

    def lease(self, host: str) -> Lease | None:
        """See the port."""
        return self._side(host).session.lease(moid_of(host))

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        """See the port."""
        return self._side(host).session.set_lease(moid_of(host), lease)

    def notes(self) -> tuple[str, ...]:
        """What an operator should know before VMs move between the vCenters, one sentence each."""
        return tuple(note for side in self.sides for note in _notes(side.session))

    # privileges

    def misses_privilege(self, host: str, privilege: str) -> bool:
        """See the port."""
        return self._side(host).session.misses_privilege(moid_of(host), privilege)

    def missing_to_move(self, vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """See ``VcenterSession``."""
        return {
            here[moid]: missing
            for side, here in self._by_side(vms)
            for moid, missing in side.session.missing_to_move(here).items()
        }

    def without_space(self, datastores: Iterable[str]) -> frozenset[str]:
        """See ``VcenterSession``."""
        return self._each(datastores, lambda session, moids: session.without_space(moids))

    def closed_pools(self, pools: Iterable[str]) -> frozenset[str]:
        """See ``VcenterSession``."""
        return self._each(pools, lambda session, moids: session.closed_pools(moids))

    def closed_folders(self, folders: Iterable[str]) -> frozenset[str]:
        """See ``VcenterSession``."""
        return self._each(folders, lambda session, moids: session.closed_folders(moids))

    def editable_clusters(self, clusters: Iterable[str]) -> frozenset[str]:
        """See ``VcenterSession``."""
        return self._each(clusters, lambda session, moids: session.editable_clusters(moids))

    def closed_networks(self, networks: Iterable[Network]) -> frozenset[str]:
        """See ``VcenterSession``."""
        known = {network.moid: network for network in networks}
        return frozenset(
            side.names.of(moid)
            for side, moids in self._split(known)
            for moid in side.session.closed_networks(replace(known[side.names.of(moid)], moid=moid) for moid in moids)
        )

    def _each(
        self, identifiers: Iterable[str], ask: Callable[[VcenterSession, Iterable[str]], frozenset[str]]
    ) -> frozenset[str]:
        """The answers of both vCenters about their objects, as ids."""
        return frozenset(
            side.names.of(moid) for side, moids in self._split(identifiers) for moid in ask(side.session, moids)
        )

    # DRS and maintenance mode

    def drs_overrides(self, cluster: str) -> Mapping[str, DrsOverride]:
        """See the port."""
        side = self._side(cluster)
        return {side.id_of(vm): each for vm, each in side.session.drs_overrides(moid_of(cluster)).items()}

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        """See the port."""
        side = self._side(cluster)
        moids = {identifier: moid for moid, identifier in side.ids.items()}
        here = {moids.get(vm, moid_of(vm)): override for vm, override in changes.items()}
        side.session.set_drs_overrides(moid_of(cluster), here, frozenset(moids.get(vm, moid_of(vm)) for vm in present))

    def cluster_settled(self, cluster: str, timeout: float) -> bool:
        """See the port."""
        return self._side(cluster).session.cluster_settled(moid_of(cluster), timeout)

    def enter_maintenance(self, host: str) -> str:
        """See the port."""
        side = self._side(host)
        return side.names.of(side.session.enter_maintenance(moid_of(host)))

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        """See the port."""
        return self._side(host).session.fence_task(moid_of(host), moid_of(task))

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        """See the port."""
        task = None if host.maintenance_task is None else moid_of(host.maintenance_task)
        local = replace(host, moid=moid_of(host.moid), maintenance_task=task)
        self._side(host.moid).session.end_maintenance(local, timeout)


# pylint of ansible-test does not recognise that these are classes.
AnyVcenter = VcenterSession | VcenterPair  # pylint: disable=unsupported-binary-operation


def _is_missing(seen: PlacementUpdate) -> bool:
    """Whether no VM was found, so that it may be in the other vCenter."""
    return seen.host is None and not seen.unknown


def _notes(session: VcenterSession) -> Iterator[str]:
    """The sentences about one of the vCenters."""
    client = session.client
    if not client.verifies:
        yield (
            f"The certificate of vCenter {client.address} is not verified (validate_certs). Moves to it trust the one that was seen, "
            f"with the SHA-1 thumbprint {client.thumbprint()}."
        )
    keys = session.extensions()
    if keys is None:
        yield f"It is not known whether vCenter {client.address} has HCX, because its extensions could not be read."
    elif any(key.startswith(HCX) for key in keys):
        yield f"vCenter {client.address} has an extension of HCX. These moves are vMotions between the two vCenters, and do not use it."


def _local(move: Relocation) -> Relocation:
    """The move with MoIDs."""
    place = move.place
    if place is not None:
        plugs = tuple(replace(plug, network=moid_of(plug.network)) for plug in place.plugs)
        place = replace(
            place,
            pool=moid_of(place.pool),
            folder=moid_of(place.folder),
            datastore=moid_of(place.datastore),
            plugs=plugs,
        )
    files = tuple((part, moid_of(datastore)) for part, datastore in move.files)
    return replace(move, host=None if move.host is None else moid_of(move.host), place=place, files=files)


def _check_complete(move: Relocation) -> None:
    """Raise CallFailed unless host, resource pool, folder and datastores are named: there is no default in another vCenter."""
    place = move.place
    if place is None or not (place.pool and place.folder and (move.files or place.datastore)):
        raise CallFailed(
            "A move to another vCenter needs a resource pool, a folder and datastores there", fault="InvalidArgument"
        )
