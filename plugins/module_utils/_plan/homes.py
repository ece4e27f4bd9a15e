# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes: where each VM lived before evacuation, and what a restore would do with it now. Pure.

A home is stored in a custom attribute of the VM and in the run's journal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import inf

from .._core.untrusted import shortened
from .._core.wording import HA
from .._vsphere.estate import (
    ATTRIBUTES,
    IDLE,
    PLACE,
    Connection,
    Estate,
    HostState,
    Maintenance,
    VmState,
    known_as,
)
from .._vsphere.home_attribute import ATTRIBUTE, Home, HomeFile, decode_home, of_vcenter, seen_from, spans_vcenters
from .._vsphere.qualified import crosses, knows, vcenter_of
from .model import Move, PartMove, Plan
from .sites import pool_text

DRS = "DRS"  # as the mover of a VM
# vCenter's own users, as of vSphere Lifecycle Manager and extensions (vSphere Authentication, "Solution User Certificates").
_SOLUTION_USER = re.compile(
    r"(.*\\)?(machine|vpxd|vpxd-extension|vsphere-webclient|wcp)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I
)


def is_machine(mover: str) -> bool:
    """Whether a mover of a VM is a machine and not a person, so that the VM has to come home."""
    return mover in (DRS, HA) or _SOLUTION_USER.fullmatch(mover) is not None


def recorded_home(estate: Estate, vm: VmState, journal: Mapping[str, Home]) -> Home | None:
    """The VM's home: from its custom attribute or from the journal, whichever was recorded later.

    Another controller may have written the attribute. Hosts that were added again are found by their names.
    """
    known = _known_homes(estate, vm, _Journalled(estate, journal))
    return known[0] if known else None


def _known_homes(estate: Estate, vm: VmState, journal: _Journalled) -> list[Home]:
    """The homes of a VM in its attribute and in the journal, the newest one first."""
    attribute, own = _in_attribute(estate, vm), journal.home_of(vm)
    if own is not None and journal.attribute_of(vm, own) is _Attribute.CLEARED:
        own = None
    present = [None if home is None else _with_present_hosts(estate, home) for home in (attribute, own)]
    return _newest_first(*present)


def _newest_first(attribute: Home | None, own: Home | None) -> list[Home]:
    """The homes in a VM's attribute and in the journal. The clocks of two controllers may differ, so times decide last.

    What is now in an attribute that the journal's run has written was written after that. A move that starts where another one led is
    later than that one.
    """
    if attribute is None or own is None:
        return [home for home in (attribute, own) if home is not None]
    follows, leads = attribute.start == own.target, own.start == attribute.target
    if attribute.run_id != own.run_id and own.in_attribute:
        later = True
    elif follows is not leads and attribute.run_id != own.run_id:
        later = follows
    else:
        later = _moment(attribute.recorded_at) >= _moment(own.recorded_at)
    return [attribute, own] if later else [own, attribute]


def _moment(text: str) -> tuple[float, str]:
    """Sorts times in any time zone; one that is not ISO 8601 comes first, and without a time zone it counts as UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), ""
    except (ValueError, OverflowError):
        return -inf, text


def _in_attribute(estate: Estate, vm: VmState) -> Home | None:
    """The home in the VM's custom attribute, with ids of this estate. What names no vCenter is in that of the VM.

    A home with another instance UUID is that of the VM of which this one is a clone. Older versions did not record the UUID.
    """
    value = vm.attributes.get(ATTRIBUTE, "")
    home = decode_home(vm.moid, value) if value else None
    if home is None or (home.vm_uuid and vm.instance_uuid and home.vm_uuid != vm.instance_uuid):
        return None
    first = estate.vcenter.instance_uuid
    return seen_from(of_vcenter(home, vcenter_of(vm.host) or first), first)


class _Attribute(StrEnum):
    """How an attribute is now that, as a journal says, had a home."""

    PRESENT = "present"  # or it was not written, or was lost with the MoID of the VM, so that the journal alone counts
    CLEARED = "cleared"  # by another controller
    UNKNOWN = "unknown"


class _Journalled:
    """The homes in the journal, for the VMs of an estate.

    A VM that was registered again has a new MoID, and usually keeps its instance UUID. If no VM has the recorded UUID any more, as
    after a restore from a backup, the name decides if it is unique. With ten thousand VMs, each one must not be compared with all.
    """

    def __init__(self, estate: Estate, journal: Mapping[str, Home]) -> None:
        self._journal = journal
        self._estate = estate
        self._exists = any(ATTRIBUTE in vm.attributes for vm in estate.vms.values())
        self._lost = [home for home in journal.values() if home.vm not in estate.vms]
        self._names: Counter[str] = Counter(vm.name for vm in estate.vms.values()) if self._lost else Counter()
        self._present = {vm.instance_uuid for vm in estate.vms.values()} - {""} if self._lost else set()

    def home_of(self, vm: VmState) -> Home | None:
        """The VM's home in the journal."""
        if vm.moid in self._journal or not self._lost:
            return self._journal.get(vm.moid)
        same = [home for home in self._lost if home.vm_uuid and home.vm_uuid == vm.instance_uuid]
        if not same and self._names[vm.name] == 1:
            same = [home for home in self._lost if home.vm_name == vm.name and home.vm_uuid not in self._present]
        return same[0] if len(same) == 1 else None

    def attribute_of(self, vm: VmState, home: Home) -> _Attribute:
        """How the attribute of the VM is now, which had this home of the journal.

        A VM that was registered again, or that changed its vCenter, has lost its attributes, and all VMs lose one that is removed from
        vCenter. Over two vCenters it is not known whether a VM was registered again, because its id is its instance UUID.
        """
        if not home.in_attribute or vm.attributes.get(ATTRIBUTE, "").strip():
            return _Attribute.PRESENT
        if self._estate.second is not None or spans_vcenters(home):
            return _Attribute.UNKNOWN
        if home.vm != vm.moid:
            return _Attribute.PRESENT
        return _Attribute.CLEARED if self._exists else _Attribute.UNKNOWN


def _with_present_hosts(estate: Estate, home: Home) -> Home:
    """The home with the MoIDs and names that its hosts have now: a host that was added to vCenter again has a new MoID."""
    host, target = _present(estate, home.host, home.host_name), _present(estate, home.target, home.target_name)
    now = {home.host: host, home.target: target}
    files = tuple(replace(file, home=_present_datastore(estate, file.home, file.home_name)) for file in home.files)
    return replace(
        home,
        host=host,
        host_name=_name_of(estate, host, home.host_name),
        target=target,
        target_name=_name_of(estate, target, home.target_name),
        start=now.get(home.start, home.start),
        files=files,
    )


def _name_of(estate: Estate, host: str, recorded: str) -> str:
    """The present name of a host (MoID), the recorded one if it is gone."""
    return estate.hosts[host].name if host in estate.hosts else recorded


def _present_datastore(estate: Estate, moid: str, name: str) -> str:
    """The same of a datastore."""
    if moid in estate.datastores:
        return moid
    same = (datastore for datastore in estate.datastores.values() if not crosses(datastore.moid, moid))
    named = [datastore.moid for datastore in same if name and datastore.name == name]
    return named[0] if len(named) == 1 else moid


def _present(estate: Estate, moid: str, name: str) -> str:
    """The MoID of the only host that is known by that name if the recorded MoID is gone; else the recorded one.

    A host may have been added again by its full name, its short name or its address.
    """
    if moid in estate.hosts or not name or not knows(estate, moid):
        return moid
    hosts = [host for host in estate.hosts.values() if not crosses(host.moid, moid)]
    for fits in (lambda host: host.name == name, lambda host: known_as(host, name)):
        named = [host.moid for host in hosts if fits(host)]
        if named:
            return named[0] if len(named) == 1 else moid
    return moid


def is_home_of(home: Home | None, move: Move) -> bool:
    """Whether a home was recorded before exactly this move."""
    return home is not None and (home.start, home.target) == (move.source, move.target)


def nobody(_vm: str, _host: str) -> str:
    """The mover of a VM if nobody knows it."""
    return ""


def stays(estate: Estate, plan: Plan, host: str) -> tuple[Move, ...]:
    """The VMs of a host (MoID) that run, or may run, and that the plan cannot move, each as a move to where it is, for :func:`next_home`.

    Once the host is fenced, DRS moves them as soon as it can, such as after a backup. One whose attribute has another text than a home,
    or is hidden, keeps that.
    """
    there = estate.hosts.get(host)
    blocked = (estate.vms[refusal.vm] for refusal in plan.refusals if refusal.blocking and refusal.vm in estate.vms)
    staying = (vm for vm in blocked if vm.host == host and vm.power not in IDLE)
    if there is None:
        return ()
    return tuple(
        Move(
            0,
            vm.moid,
            vm.name,
            host,
            there.name,
            host,
            there.name,
            0,
            0.0,
            source_vcenter=there.vcenter,
            target_vcenter=there.vcenter,
        )
        for vm in staying
        if not stray_text(vm) and not _hidden_attributes(estate, vm.moid)
    )


def next_home(
    vm: VmState,
    move: Move,
    earlier: Home | None,
    *,
    run_id: str,
    recorded_at: str,
    mover: Callable[[str, str], str] = nobody,
) -> Home:
    """The home to record before a move; ``mover`` as in :func:`placements`.

    A VM keeps its ``earlier`` home if nothing but evacuations and machines moved it: it is on the target of its last recorded move, on
    the host where that move starts, or where DRS or HA brought it. It would have had to come home from there.
    """
    keep = earlier is not None and (vm.host in earlier.places or is_machine(mover(vm.moid, vm.host)))
    return Home(
        vm=vm.moid,
        host=earlier.host if keep and earlier else move.source,
        host_name=earlier.host_name if keep and earlier else move.source_name,
        target=move.target,
        target_name=move.target_name,
        run_id=run_id,
        recorded_at=recorded_at,
        start=move.source,
        vm_uuid=vm.instance_uuid,
        files=_files(move, earlier if keep else None),
        place=(earlier.place if keep and earlier else None) or move.place_before,
        home_vcenter=(earlier.home_vcenter if keep and earlier else "") or move.source_vcenter,
        target_vcenter=move.target_vcenter,
    )


def _files(move: Move, earlier: Home | None) -> tuple[HomeFile, ...]:
    """Where the parts of a VM live. An earlier home counts for each part that it names."""
    if not move.parts:
        return earlier.files if earlier is not None else ()
    known = {file.part: file for file in (earlier.files if earlier is not None else ())}
    return tuple(_file(part, known.get(part.key)) for part in move.parts)


def _file(part: PartMove, earlier: HomeFile | None) -> HomeFile:
    """The home of a part. Its storage policy there counts from the first move that changes it."""
    policy = part.policy_before if part.policy not in ("", part.policy_before) else ""
    if earlier is None:
        return HomeFile(part.key, part.source, part.source_name, part.target, policy)
    return replace(earlier, target=part.target, policy=earlier.policy or policy)


@dataclass(frozen=True, slots=True)
class Placement:
    """A VM with a recorded home. ``outcome``: home, away, moved_by_person, mover_unknown, home_unhealthy, gone, not_shown,
    other_vcenter or unreadable.

    ``mover_unknown``: it is not where the evacuation put it, and vCenter's events do not say who moved it. ``unreadable``: vCenter
    does not show what decides, the property of the vSphere API in ``hidden``, or the VM's home attribute has another text than a
    home, which is in ``stray``, or is empty for an unknown reason. Without the attribute the home is not known: ``home`` is the one
    of the journal, or its names and MoIDs are empty.

    ``vm`` is the VM's MoID now; ``home.vm`` is the one under which the home was recorded. ``unhealthy`` says what is wrong with
    the home. ``pool`` is the resource pool of the home if the VM is at home, but in another pool. ``superseded`` is the name of
    another home that an older run recorded, usually on another controller. ``vcenter`` is the
    address of the other vCenter, if the VM and its home are not in the same one.
    """

    vm: str
    vm_name: str
    home: Home
    host_name: str
    outcome: str
    unhealthy: str = ""
    superseded: str = ""
    vcenter: str = ""
    hidden: str = ""
    stray: str = ""
    pool: str = ""

    @property
    def blocker(self) -> tuple[str, str] | None:
        """Why the VM cannot come home whatever the planner finds: the check (see ``BLOCKERS``) and its object."""
        if self.outcome == "unreadable":
            if self.stray:
                return "home_unreadable", self.stray
            return ("unreadable", f"{self.vm_name}: {self.hidden}") if self.hidden else ("home_missing", ATTRIBUTE)
        return {
            "other_vcenter": ("other_vcenter", self.vcenter),
            "not_shown": ("not_shown", self.vm_name),
            "mover_unknown": ("mover_unknown", self.host_name or "a host that vCenter does not show"),
        }.get(self.outcome)

    @property
    def gone_blocker(self) -> tuple[str, str]:
        """Why the VM cannot come home to a host that vCenter no longer has."""
        return ("home_gone", self.home.host_name)

    @property
    def sentence(self) -> str:
        """The placement for an operator."""
        older = (
            f" An older run recorded {self.superseded} as its home; the newer one counts." if self.superseded else ""
        )
        return self._where() + older

    def _where(self) -> str:
        where = f"{self.vm_name} is on {self.host_name or 'a host that vCenter does not show'}"
        return {
            "home": f"{self.vm_name} is home on {self.home.host_name}{self._pool()}.",
            "away": self._away(where),
            "moved_by_person": f"{where} and stays there: it was moved after {self._evacuation()}.",
            "mover_unknown": f"{where}. vCenter does not say who moved it there after {self._evacuation()}.",
            "home_unhealthy": f"{where}: its home {self.home.host_name} is {self.unhealthy}.",
            "gone": f"{self.vm_name} is no longer in vCenter: it was deleted, unregistered or moved to another vCenter.",
            "not_shown": f"vCenter does not show {self.vm_name}. Its home is {self.home.host_name}.",
            "other_vcenter": self._abroad(where),
            "unreadable": self._unreadable(),
        }[self.outcome]

    def _pool(self) -> str:
        return f", but not in its resource pool {self.pool}, where a restore does not put it" if self.pool else ""

    def _evacuation(self) -> str:
        """The evacuation that recorded the home; a VM that could not move then is its own target."""
        home = self.home
        return (
            f"the evacuation of {home.host_name}"
            if home.target == home.host
            else f"its evacuation to {home.target_name}"
        )

    def _unreadable(self) -> str:
        if self.hidden == PLACE:
            return f"vCenter does not show on which host {self.vm_name} is. Its home is {self.home.host_name}."
        if not self.hidden and not self.stray:
            return (
                f"The journal names {self.home.host_name} as the home of {self.vm_name}, but the VM's custom attribute {ATTRIBUTE}, which "
                "had it too, is empty. Another controller may have cleared it."
            )
        what = (
            f"The custom attribute of {self.vm_name} is not a home ({self.stray})"
            if self.stray
            else f"vCenter does not show the custom attributes of {self.vm_name} ({self.hidden})"
        )
        journal = f" The journal names {self.home.host_name}." if self.home.host_name else ""
        return f"{what}, so that its home is not known.{journal}"

    def _abroad(self, where: str) -> str:
        if self.host_name:
            return (
                f"{where}. Its home {self.home.host_name} is in vCenter {self.vcenter}, which this login does not show."
            )
        return (
            f"{self.vm_name} was moved to {self.home.target_name} in vCenter {self.vcenter}. This login does not show whether "
            "it is still there."
        )

    def _away(self, where: str) -> str:
        if self.home.files and self.host_name == self.home.host_name:
            names = ", ".join(dict.fromkeys(file.home_name for file in self.home.files))
            return f"{where}, its home, but its files are away from {names}."
        there = f" in vCenter {self.vcenter}" if self.vcenter else ""
        return f"{where}{there}, away from its home {self.home.host_name}."


def none_of(_vms: Collection[str]) -> Collection[str]:
    """The VMs that vCenter says were deleted, if it is not asked."""
    return ()


def placements(
    estate: Estate,
    journal: Mapping[str, Home],
    host: str | None = None,
    mover: Callable[[str, str], str] = nobody,
    deleted: Callable[[Collection[str]], Collection[str]] = none_of,
) -> tuple[Placement, ...]:
    """Every VM with a recorded home, sorted by name; with ``host`` (a MoID) only VMs whose home it is, or may be.

    ``mover``: who moved a VM to a host last: DRS, HA, a user, or "" if that is not known. Only what a person moved away
    stays there. ``deleted``: those of VMs (MoIDs) of which vCenter says that they do not exist. It does not show each VM to each user.
    """
    recorded = _Journalled(estate, journal)
    known = {moid: its for moid, vm in estate.vms.items() if (its := _known_homes(estate, vm, recorded))}
    homes = {moid: newest for moid, (newest, *_older) in known.items()}
    superseded = {
        moid: home.host_name for moid, (newest, *older) in known.items() for home in older if home.host != newest.host
    }
    taken = {home.vm for home in homes.values()}
    homes |= {
        moid: _with_present_hosts(estate, home)
        for moid, home in journal.items()
        if moid not in estate.vms and moid not in taken
    }
    found = []
    hidden = {moid: paths for moid in estate.vms if (paths := _hidden_attributes(estate, moid))}
    stray = {moid: text for moid, vm in estate.vms.items() if (text := stray_text(vm))}
    unknown = hidden.keys() | stray.keys()
    missing = {moid for moid in known if _is_missing(estate.vms[moid], recorded)} - unknown
    homes |= {moid: _no_home(moid) for moid in unknown - homes.keys()}
    if host is not None:
        homes = {moid: home for moid, home in homes.items() if home.host == host or moid in unknown}
    # Over two vCenters the id of a VM is its instance UUID, for which no vCenter says that a VM was deleted.
    absent = [moid for moid, home in homes.items() if moid not in estate.vms and moid != home.vm_uuid]
    gone = frozenset(deleted(absent)) if absent else frozenset[str]()
    for moid, home in homes.items():
        vm = estate.vms.get(moid)
        place = estate.hosts.get(vm.host) if vm is not None else None
        name = vm.name if vm is not None else home.vm_name or moid
        unread = hidden.get(moid) or (PLACE if vm is not None and not vm.host else "")
        outcome = "unreadable" if unread or moid in stray else _outcome(estate, vm, home, mover)
        if moid in missing and outcome != "home":  # who cleared the attribute may have brought it home
            outcome = "unreadable"
        if outcome == "gone" and moid not in gone:
            outcome = "not_shown"
        wrong = _wrong_with(estate.hosts.get(home.host))
        there = _vcenter_of(home, place, outcome)
        older, text = superseded.get(moid, ""), stray.get(moid, "")
        pool = _left_pool(estate, vm, home) if vm is not None and outcome == "home" else ""
        where = place.name if place else ""
        found.append(Placement(moid, name, home, where, outcome, wrong, older, there, unread, text, pool))
    return tuple(sorted(found, key=lambda placement: (placement.vm_name, placement.vm)))


def _left_pool(estate: Estate, vm: VmState, home: Home) -> str:
    """The resource pool of a home that an evacuation recorded, because it left the cluster, if the VM is in another one now."""
    pool = estate.pools.get(home.place.pool) if home.place is not None else None
    return pool_text(pool) if pool is not None and vm.pool and vm.pool != pool.moid else ""


def stray_text(vm: VmState) -> str:
    """The text in the VM's home attribute if it is not a home, as one that was cut or edited; "" if it is one, or empty."""
    text = vm.attributes.get(ATTRIBUTE, "").strip()
    return f"{ATTRIBUTE}: {shortened(text)}" if text and decode_home(vm.moid, text) is None else ""


def _hidden_attributes(estate: Estate, vm: str) -> str:
    """The properties with the custom attributes of a VM that vCenter does not show, "" if it shows all."""
    return ", ".join(path for path in ATTRIBUTES if estate.hides(vm, path))


def _is_missing(vm: VmState, journal: _Journalled) -> bool:
    """Whether the home of the VM is in the journal alone, and it is not known whether another controller cleared it."""
    own = journal.home_of(vm)
    return own is not None and journal.attribute_of(vm, own) is _Attribute.UNKNOWN


def _no_home(vm: str) -> Home:
    """Stands for the home of a VM of which it is not known."""
    return Home(vm, host="", host_name="", target="", target_name="", run_id="", recorded_at="")


def _vcenter_of(home: Home, place: HostState | None, outcome: str) -> str:
    """The address of the vCenter that has the VM or, if the estate does not show it, its home; "" if it is the same one."""
    if outcome == "other_vcenter":
        return (home.home_vcenter if place else home.target_vcenter) or "another vCenter"
    return place.vcenter if place is not None and crosses(place.moid, home.host) else ""


def without_home_host(estate: Estate, found: Iterable[Placement], cluster: str) -> tuple[Placement, ...]:
    """VMs that are still where the evacuation put them, and whose home was a host in a cluster (MoID) that vCenter no longer has."""
    return tuple(
        placement
        for placement in found
        if placement.outcome == "home_unhealthy"
        and placement.home.host not in estate.hosts
        and _home_cluster(estate, placement) == cluster
    )


def _home_cluster(estate: Estate, placement: Placement) -> str:
    """The cluster of a home: of its resource pool if the evacuation recorded it, because it left the cluster, else of the VM."""
    place, there = placement.home.place, estate.hosts.get(estate.vms[placement.vm].host)
    pool = estate.pools.get(place.pool) if place is not None else None
    return pool.cluster if pool is not None else there.cluster if there is not None else ""


def moves_under_way(
    estate: Estate, found: Iterable[Placement], *, homeward: bool = False
) -> dict[str, tuple[str, str]]:
    """VM -> (target, task), all MoIDs, of recorded moves that a task of vCenter seems to carry out now.

    So a run can be resumed even if its journal is lost. The task may belong to somebody else. ``homeward``: a restore's moves.
    """
    moves = {}
    for placement in found:
        vm, home = estate.vms.get(placement.vm), placement.home
        sources, target = (home.places, home.host) if homeward else ((home.start or home.host,), home.target)
        if vm is not None and vm.moving_task is not None and vm.host in sources and vm.host != target:
            moves[vm.moid] = (target, vm.moving_task)
    return moves


def files_under_way(found: Iterable[Placement], *, homeward: bool = False) -> dict[str, dict[int, str]]:
    """The datastores (MoIDs) to which :func:`moves_under_way` lead, by VM and by the key of the part."""
    return {
        each.vm: {file.part: file.home if homeward else file.target for file in each.home.files}
        for each in found
        if each.home.files
    }


def _outcome(estate: Estate, vm: VmState | None, home: Home, mover: Callable[[str, str], str]) -> str:
    if vm is None:
        return "gone" if knows(estate, home.target) and knows(estate, home.start) else "other_vcenter"
    if not knows(estate, home.host):
        return "other_vcenter"
    if vm.host == home.host and home.has_files_back(vm.datastores):
        return "home"
    # A VM that a restore is moving away from its target is still where the evacuation put it.
    if vm.host not in (*home.places, home.host) and not is_machine(by := mover(vm.moid, vm.host)):
        return "moved_by_person" if by else "mover_unknown"
    return "home_unhealthy" if _wrong_with(estate.hosts.get(home.host)) else "away"


def _wrong_with(host: HostState | None) -> str:
    """Why nothing can come home to a host; "" if it is in service."""
    if host is None:
        return "no longer in vCenter"
    if host.connection is Connection.UNKNOWN:
        return "in a state that vCenter does not show"
    if host.connection is not Connection.CONNECTED:
        return "disconnected"
    return {Maintenance.NORMAL: "", Maintenance.ENTERING: "entering maintenance mode"}.get(
        host.maintenance, "in maintenance mode"
    )
