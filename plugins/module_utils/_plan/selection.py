# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection: which VMs and hosts the operator means. Pure.

A name must fit exactly one object. Errors name the option to correct, and similar names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NoReturn
from unicodedata import normalize

from .._core.errors import Ambiguous, CallFailed, InvalidInput, NotFound
from .._core.similar import MAX_NAMES, similar_names, spellings
from .._core.untrusted import shortened
from .._vsphere.estate import (
    ATTRIBUTES,
    FAULT_DOMAIN,
    IDLE,
    Connection,
    Estate,
    HostState,
    VmState,
    has_unknown_place,
    known_as,
    unescaped,
)
from .._vsphere.qualified import crosses, vcenter_of

_PARENTS = ("parent", "parentVApp")  # properties of a VM: where it is in the inventory


def find_host(estate: Estate, name: str, *, option: str = "host") -> HostState:
    """The host of that name, inventory path (``/DC/host/cluster/esx-01``) or MoID.

    Raises NotFound with similar names, Ambiguous with MoIDs, or InvalidInput if the name is empty.
    """
    _check_not_empty(name, option)
    places = _host_places(estate)
    found = _fitting(name, places)
    if not found:
        raise NotFound(f"vCenter has no host named {name}", hint=_host_hint(estate, name, option), option=option)
    return estate.hosts[_only_one(found, places, name, "hosts", option)]


def _fitting(text: str, places: Mapping[str, tuple[str, str]]) -> list[str]:
    """MoIDs of the objects that an operator may mean. ``places``: MoID -> name, and path of the folder.

    vCenter escapes three characters in its names, so the escaped form of a name fits as well. A name is known as it is shown.
    If nothing fits, other encodings of the same characters do: keyboards of some systems write an accent as a second character.
    """
    wanted = {spelling for each in (text, unescaped(text)) for spelling in (each, shortened(each))}
    whole = {moid: (name, f"{folder.rstrip('/')}/{name}") for moid, (name, folder) in places.items()}
    found = sorted(moid for moid, names in whole.items() if text == moid or not wanted.isdisjoint(names))
    if found or all(map(str.isascii, wanted)):
        return found
    composed = set(map(_composed, wanted))
    return sorted(moid for moid, names in whole.items() if not composed.isdisjoint(map(_composed, names)))


def _composed(name: str) -> str:
    return normalize("NFC", name)


def _only_one(found: Sequence[str], places: Mapping[str, tuple[str, str]], text: str, kind: str, option: str) -> str:
    """The one object that fits. Raises Ambiguous if several fit: two names, or one object's name and another one's MoID."""
    if len(found) == 1:
        return found[0]
    named = ", ".join(f"{moid} ({folder}/{name})" for moid, (name, folder) in places.items() if moid in found)
    paths = [f"{folder}/{name}" for moid, (name, folder) in places.items() if moid in found]
    unique = len(set(paths)) == len(paths)
    by_moid = text not in found  # otherwise the MoID is what is ambiguous
    ways = [way for way, possible in (("the MoID", by_moid), ("the path", unique)) if possible]
    raise Ambiguous(
        f"{len(found)} {kind} are named {text}"
        if by_moid
        else f"{text} is the MoID of one object and the name of another",
        candidates=tuple(found),
        hint=f"Set {option} to {' or '.join(ways) or 'a name that no MoID has'} of one of them: {named}",
        option=option,
    )


def find_fault_domain(estate: Estate, name: str, *, option: str = "fault_domain") -> tuple[HostState, ...]:
    """The hosts of a fault domain, sorted by name.

    Raises NotFound with similar names, InvalidInput if the name is empty, or CallFailed if more hosts may be in the fault domain.
    """
    _check_not_empty(name, option)
    hosts = sorted((h for h in estate.hosts.values() if h.fault_domain == name), key=lambda h: (h.name, h.moid))
    if not hosts:
        raise NotFound(
            f"No host is in a fault domain named {name}", hint=_fault_domain_hint(estate, name, option), option=option
        )
    open_ones = [h for h in estate.hosts.values() if h.fault_domain is None]
    hidden = [h for h in open_ones if estate.hides(h.moid, FAULT_DOMAIN)]
    away = [h for h in open_ones if not h.shows_config and h.connection is not Connection.CONNECTED and h not in hidden]
    if hidden or away:
        names = ", ".join(sorted(host.name for host in (*hidden, *away)))
        remedy = "Grant the user System.Read on the host" if hidden else "Connect the host to vCenter again"
        raise CallFailed(
            f"vCenter does not show the fault domain of {names}, which may be {name}",
            fault="Unreadable",
            hint=f"{remedy}, or name its fault domain in fault_domains",
            option="fault_domains",
        )
    return tuple(hosts)


def find_datastores(estate: Estate, name: str, *, option: str = "datastore") -> frozenset[str]:
    """MoIDs of the datastore of that name or MoID, or of all datastores of the datastore cluster of that name.

    Raises NotFound with similar names, Ambiguous with MoIDs, or InvalidInput if the name is empty.
    """
    _check_not_empty(name, option)
    places = {each.moid: (each.name, "") for each in estate.datastores.values()}
    cluster = frozenset(each.moid for each in estate.datastores.values() if each.cluster == name)
    found = _fitting(name, places)
    if found and cluster:
        raise Ambiguous(
            f"A datastore and a datastore cluster are named {name}",
            candidates=tuple(found),
            hint=f"Set {option} to the MoID of the datastore, or to one of the datastores in the cluster",
            option=option,
        )
    if found:
        return frozenset({_only_one(found, places, name, "datastores", option)})
    if not cluster:
        known = {each.name for each in estate.datastores.values()} | {
            each.cluster for each in estate.datastores.values()
        }
        raise NotFound(
            f"vCenter has no datastore or datastore cluster named {name}",
            hint=_similar_names(name, sorted(known - {""}), option, "datastore"),
            option=option,
        )
    return cluster


def _check_not_empty(name: str, option: str) -> None:
    """Raise InvalidInput for an empty name: it comes from a variable that was not set, and must never mean all objects."""
    if not name:
        raise InvalidInput(f"{option} is empty", hint=f"Set {option} to a name, or omit it", option=option)


def _host_hint(estate: Estate, name: str, option: str) -> str:
    if any(vm.name == name for vm in estate.vms.values()):
        return f"{name} is a virtual machine. Set {option} to the name of an ESXi host"
    inside = sorted(host.name for host in estate.hosts.values() if host.fault_domain == name)
    if inside:
        return f"{name} is a fault domain. Set {option} to the name of one host in it, for example {inside[0]}"
    clusters = {host.cluster_name for host in estate.hosts.values()} - {host.name for host in estate.hosts.values()}
    if name in clusters:
        return f"{name} is a cluster. Set {option} to the name of one host in it"
    return _alias_hint(estate, name, option) or _similar_objects(name, _host_places(estate), option, "host")


def _alias_hint(estate: Estate, name: str, option: str) -> str:
    """A hint for the DNS name or an address of one host that vCenter shows under another name; "" for any other text."""
    hosts = [host for host in estate.hosts.values() if known_as(host, name)]
    if len(hosts) != 1 or spellings(hosts[0].name) & spellings(name):
        return ""
    return f"vCenter shows the host {name} as {hosts[0].name}. Set {option} to that name"


def _host_places(estate: Estate) -> dict[str, tuple[str, str]]:
    """MoID -> name, and path of the cluster: ``/DC/host/ml-cluster``."""
    return {host.moid: (host.name, f"/{host.datacenter}/host/{host.cluster_name}") for host in estate.hosts.values()}


def _fault_domain_hint(estate: Estate, name: str, option: str) -> str:
    domains = sorted({host.fault_domain for host in estate.hosts.values() if host.name == name and host.fault_domain})
    if domains:
        return f"{name} is an ESXi host. Set {option} to the name of its fault domain, {domains[0]}"
    return _similar_names(
        name, (host.fault_domain for host in estate.hosts.values() if host.fault_domain), option, "fault domain"
    )


def _vm_places(estate: Estate) -> dict[str, tuple[str, str]]:
    """MoID -> name, and path of the folder: ``/DC/vm/ml``."""
    return {
        vm.moid: (vm.name, f"/{vm.datacenter}/vm/{vm.folder}" if vm.folder else f"/{vm.datacenter}/vm")
        for vm in estate.vms.values()
    }


def find_vm(estate: Estate, name: str, *, option: str = "vms") -> VmState:
    """The VM of that name, inventory path (``/DC/vm/ml/train-1``) or MoID. Raises NotFound with similar names, or Ambiguous."""
    places = _vm_places(estate)
    found = _fitting(name, places)
    if found:
        return estate.vms[_only_one(found, places, name, "VMs", option)]
    if any(host.name == name for host in estate.hosts.values()):
        hint = f"{name} is an ESXi host. Set {option} to the name of a VM"
    else:
        at = sorted(display_name(estate, vm.moid) for vm in estate.vms.values() if vm.guest_address == name)
        hint = (
            f"{name} is the address of the guest of {' and '.join(at)}. Set {option} to the name of the VM"
            if at
            else _similar_objects(name, places, option, "VM")
        )
    raise NotFound(f"vCenter has no VM named {name}", hint=hint, option=option)


def find_vms(estate: Estate, names: Iterable[str], *, option: str = "vms") -> tuple[VmState, ...]:
    """The VMs of these names or MoIDs. Raises Ambiguous or NotFound that lists every name that does not fit exactly one VM."""
    found: list[VmState] = []
    errors: list[Ambiguous | NotFound] = []
    for name in names:
        try:
            found.append(find_vm(estate, name, option=option))
        except (Ambiguous, NotFound) as error:
            errors.append(error)
    if not errors:
        return tuple(found)
    message = "; ".join(dict.fromkeys(error.message for error in errors))
    hint = ". ".join(dict.fromkeys(error.hint for error in errors))
    candidates = tuple(moid for error in errors if isinstance(error, Ambiguous) for moid in error.candidates)
    if candidates:
        raise Ambiguous(message, candidates=candidates, hint=hint, option=option)
    raise NotFound(message, hint=hint, option=option)


def display_name(estate: Estate, moid: str) -> str:
    """A VM's name, with its MoID if another VM has the same name."""
    name = estate.vms[moid].name
    return name if sum(vm.name == name for vm in estate.vms.values()) == 1 else f"{name} ({moid})"


def _similar_names(name: str, known: Iterable[str], option: str, kind: str) -> str:
    """A hint that suggests similar names."""
    found = similar_names(name, known)
    if not found:
        return f"Set {option} to the name of a {kind}"
    return f"Did you mean {' or '.join(found)}? Correct {option}"


def _similar_objects(name: str, places: Mapping[str, tuple[str, str]], option: str, kind: str) -> str:
    """The same for objects with paths: a path may be wrong although its last part is a name."""
    last = name.rstrip("/").rpartition("/")[2]
    paths = sorted(f"{folder}/{known}" for known, folder in places.values() if "/" in name and known == last)
    if paths:
        return f"Did you mean {' or '.join(paths[:MAX_NAMES])}? Correct {option}"
    names = [known for known, _folder in places.values()]
    return _similar_names(name if similar_names(name, names) else last, names, option, kind)


def check_fault_domains(estate: Estate, names: Iterable[str], *, option: str = "fault_domains") -> None:
    """Raise NotFound for names in a map of fault domains that no host has: the policy would not count for the hosts meant."""
    known = {host.name for host in estate.hosts.values()}
    for name in names:
        if name not in known:
            hint = _alias_hint(estate, name, option) or _similar_names(name, known, option, "host")
            raise NotFound(f"vCenter has no host named {name}, which {option} mentions", hint=hint, option=option)


def select_vms(
    estate: Estate,
    *,
    host: str | None = None,
    names: Iterable[str] = (),
    patterns: Iterable[str] = (),
    folders: Iterable[str] = (),
    attributes: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """MoIDs of the VMs that fit every given criterion, sorted by name.

    ``host`` is a host's MoID. A VM of which vCenter does not show whether it fits counts as one that does, so that it is refused by
    name and does not vanish. A VM must fit one of ``names``, one of ``patterns`` (shell globs), one of ``folders`` and all
    ``attributes``. A folder is a path below the datacenter's VM folder (``ml/vision``), or a whole path (``/DC/vm/ml``).
    Raises NotFound or Ambiguous that lists every name that does not fit exactly one VM; NotFound for a pattern, folder or
    attribute that fits no VM at all, or if no VM on any host fits all of them, because an empty selection would look like success.
    """
    named = {vm.moid for vm in find_vms(estate, names)}
    globs, paths = tuple(patterns), tuple(folders)
    wanted = {key: str(value) for key, value in (attributes or {}).items()}  # YAML has numbers, attributes only text
    _check_criteria(estate, globs, paths)
    _check_attributes(estate, wanted)

    def fits(vm: VmState) -> bool:
        return (
            (not named or vm.moid in named)
            and (not globs or estate.hides(vm.moid, "name") or any(_fits_glob(vm, glob) for glob in globs))
            and (not paths or estate.hides(vm.moid, *_PARENTS) or any(_is_below(vm, path) for path in paths))
            and (estate.hides(vm.moid, *ATTRIBUTES) or all(vm.attributes.get(k) == v for k, v in wanted.items()))
        )

    found = [vm for vm in sorted(estate.vms.values(), key=lambda vm: (vm.name, vm.moid)) if fits(vm)]
    if not found and (named or globs or paths or wanted):
        _refuse_empty({"vms": named, "patterns": globs, "folders": paths, "attributes": wanted})
    return tuple(vm.moid for vm in found if host is None or may_be_on(estate, vm, host))


def _refuse_empty(criteria: Mapping[str, Collection[str]]) -> NoReturn:
    """Raise NotFound because each criterion fits a VM, and no VM fits all. ``criteria`` are by the names of their options."""
    given = [option for option, values in criteria.items() if values]
    raise NotFound(
        f"No VM fits everything in {' and '.join(given)}",
        hint="A VM must fit each of these options. Correct or omit one of them",
        option=given[-1],
    )


def may_be_on(estate: Estate, vm: VmState, host: str) -> bool:
    """Whether a VM is on a host (MoID), or nothing shows that it is elsewhere.

    If vCenter does not show its host, its resource pool can show another cluster, and each of its ids another vCenter.
    """
    if not has_unknown_place(estate, vm):
        return vm.host == host
    pool, there = estate.pools.get(vm.pool), estate.hosts.get(host)
    if pool is not None and pool.cluster and there is not None:
        return pool.cluster == there.cluster
    known = (vm.moid, vm.pool, vm.folder_moid, *vm.datastores)
    return not any(crosses(each, host) for each in known if vcenter_of(each))


def _fits_glob(vm: VmState, glob: str) -> bool:
    """Whether a VM's name fits a shell glob, which may have vCenter's escapes and any encoding of its characters."""
    name = _composed(vm.name)
    return fnmatchcase(name, _composed(glob)) or fnmatchcase(name, _composed(unescaped(glob)))


def _is_below(vm: VmState, path: str) -> bool:
    """Whether the VM is in this folder or in one below it."""
    whole = path.startswith("/") and path.strip("/").partition("/")[2].partition("/")[0] == "vm"
    place = f"/{vm.datacenter}/vm/{vm.folder}/" if whole else f"/{vm.folder}/"
    return _composed(place).startswith(_composed(f"/{unescaped(path).strip('/')}/"))


def _check_criteria(estate: Estate, globs: Sequence[str], paths: Sequence[str]) -> None:
    """Raise NotFound for a pattern or folder that no VM of the vCenter fits."""
    vms = estate.vms.values()
    for glob in globs:
        if not any(_fits_glob(vm, glob) for vm in vms):
            hint = _similar_names(glob.strip("*?"), (vm.name for vm in vms), "patterns", "VM")
            raise NotFound(f"No VM has a name that fits the pattern {glob}", hint=hint, option="patterns")
    for path in paths:
        if not any(_is_below(vm, path) for vm in vms):
            hint = _similar_names(path.strip("/"), (vm.folder for vm in vms if vm.folder), "folders", "folder with VMs")
            raise NotFound(f"No VM is in the folder {path}", hint=hint, option="folders")


def _check_attributes(estate: Estate, attributes: Mapping[str, str]) -> None:
    """Raise NotFound for a custom attribute that no VM of the vCenter has, or that no VM has with this value."""
    for key, value in attributes.items():
        values = {vm.attributes[key] for vm in estate.vms.values() if key in vm.attributes}
        if not values:
            known = {name for vm in estate.vms.values() for name in vm.attributes}
            hint = _similar_names(key, known, "attributes", "custom attribute")
            raise NotFound(f"No VM has a custom attribute named {key}", hint=hint, option="attributes")
        if value not in values:
            hint = _similar_names(value, values, "attributes", "value that a VM has")
            raise NotFound(
                f"No VM has the custom attribute {key} with the value {value}", hint=hint, option="attributes"
            )


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a witness watches: VMs by name, or those on ``hosts`` (MoIDs). ``name`` is what a person calls it."""

    name: str
    hosts: tuple[str, ...] = ()
    named: tuple[str, ...] = ()  # MoIDs of VMs

    def vms(self, estate: Estate) -> tuple[str, ...]:
        """MoIDs of the VMs that are meant in an estate, sorted by name. On a host only those that are powered on count.

        One of which vCenter does not show whether it runs, or whether it is on the host, counts as one that does.
        """
        found = (
            vm
            for vm in estate.vms.values()
            if vm.moid in self.named
            or (vm.power not in IDLE and any(may_be_on(estate, vm, host) for host in self.hosts))
        )
        return tuple(vm.moid for vm in sorted(found, key=lambda vm: (vm.name, vm.moid)))


def find_witnessed(estate: Estate, *, cluster: str | None, host: str | None, vms: Sequence[str]) -> Witnessed:
    """The cluster, the host or the VMs of these names or MoIDs. Raises NotFound or Ambiguous."""
    if cluster is not None:
        found = find_cluster(estate, cluster)
        return Witnessed(found.name, found.hosts)
    if host is not None:
        single = find_host(estate, host)
        return Witnessed(single.name, (single.moid,))
    named = find_vms(estate, vms)
    return Witnessed(", ".join(vm.name for vm in named), named=tuple(vm.moid for vm in named))


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster or standalone host of the estate, with the MoIDs of its hosts, sorted by name."""

    moid: str
    name: str
    hosts: tuple[str, ...]


def find_cluster(estate: Estate, name: str, *, option: str = "cluster") -> Cluster:
    """The cluster of that name, path (``/DC/host/cluster``) or MoID. Raises NotFound, Ambiguous or InvalidInput."""
    _check_not_empty(name, option)
    hosts = sorted(estate.hosts.values(), key=lambda host: (host.name, host.moid))
    places = {host.cluster: (host.cluster_name, f"/{host.datacenter}/host") for host in hosts if host.cluster}
    found = _fitting(name, places)
    if not found:
        hint = _similar_names(name, (known for known, _folder in places.values()), option, "cluster with hosts")
        raise NotFound(f"vCenter has no cluster named {name}", hint=hint, option=option)
    moid = _only_one(found, places, name, "clusters", option)
    return Cluster(moid, places[moid][0], tuple(host.moid for host in hosts if host.cluster == moid))
