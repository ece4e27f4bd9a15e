# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which VMs and hosts the operator means. Pure; names must fit exactly one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .._core.errors import Ambiguous, InvalidInput, NotFound
from .._vsphere.estate import Estate, HostState, VmState


def find_host(estate: Estate, name: str, *, option: str = "host") -> HostState:
    """The host of that name or MoID. Raises NotFound with the closest names, Ambiguous, or InvalidInput for no name."""
    _refuse_empty(name, option)
    if name in estate.hosts:
        return estate.hosts[name]
    found = [host for host in estate.hosts.values() if host.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise Ambiguous(
            f"{len(found)} hosts are named {name}",
            candidates=tuple(sorted(host.moid for host in found)),
            hint=f"Give one of these MoIDs in {option}: {', '.join(sorted(host.moid for host in found))}",
            option=option,
        )
    raise NotFound(f"There is no host {name}", hint=_host_hint(estate, name, option), option=option)


def find_fault_domain(estate: Estate, name: str, *, option: str = "fault_domain") -> tuple[HostState, ...]:
    """The hosts of a fault domain, by name. Raises NotFound with the closest names, or InvalidInput for no name."""
    _refuse_empty(name, option)
    hosts = sorted((h for h in estate.hosts.values() if h.fault_domain == name), key=lambda h: (h.name, h.moid))
    if not hosts:
        known = (host.fault_domain for host in estate.hosts.values() if host.fault_domain)
        raise NotFound(f"There is no fault domain {name}", hint=_closest(name, known, option), option=option)
    return tuple(hosts)


def _refuse_empty(name: str, option: str) -> None:
    """An empty name is a variable that was not set, and must never mean every object."""
    if not name:
        raise InvalidInput(
            f"{option} is empty", hint=f"Give a name in {option}, or leave the option out", option=option
        )


def _host_hint(estate: Estate, name: str, option: str) -> str:
    if any(vm.name == name for vm in estate.vms.values()):
        return f"{name} is a virtual machine; give the name of an ESXi host in {option}"
    return _closest(name, (host.name for host in estate.hosts.values()), option)


def find_vm(estate: Estate, name: str, *, option: str = "vms") -> VmState:
    """The VM of that name or MoID. Raises NotFound with the closest names, or Ambiguous."""
    if name in estate.vms:
        return estate.vms[name]
    found = sorted((vm for vm in estate.vms.values() if vm.name == name), key=lambda vm: vm.moid)
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(f"{vm.moid} in folder {vm.folder or '/'}" for vm in found)
        raise Ambiguous(
            f"{len(found)} VMs are named {name}",
            candidates=tuple(vm.moid for vm in found),
            hint=f"Give the MoID of one of them in {option}: {places}",
            option=option,
        )
    if any(host.name == name for host in estate.hosts.values()):
        hint = f"{name} is an ESXi host; give it in host instead"
    else:
        hint = _closest(name, (vm.name for vm in estate.vms.values()), option)
    raise NotFound(f"There is no virtual machine {name}", hint=hint, option=option)


def find_vms(estate: Estate, names: Iterable[str], *, option: str = "vms") -> tuple[VmState, ...]:
    """The VMs of these names or MoIDs. Raises Ambiguous or NotFound with all names that do not mean exactly one VM."""
    found: list[VmState] = []
    errors: list[Ambiguous | NotFound] = []
    for name in names:
        try:
            found.append(find_vm(estate, name, option=option))
        except (Ambiguous, NotFound) as error:
            errors.append(error)
    if not errors:
        return tuple(found)
    message, hint = (
        "; ".join(dict.fromkeys(texts)) for texts in zip(*((e.message, e.hint) for e in errors), strict=True)
    )
    candidates = tuple(moid for error in errors if isinstance(error, Ambiguous) for moid in error.candidates)
    if candidates:
        raise Ambiguous(message, candidates=candidates, hint=hint, option=option)
    raise NotFound(message, hint=hint, option=option)


def display_name(estate: Estate, moid: str) -> str:
    """A VM's name, with its MoID where another VM has the name too."""
    name = estate.vms[moid].name
    return name if sum(vm.name == name for vm in estate.vms.values()) == 1 else f"{name} ({moid})"


def _closest(name: str, known: Iterable[str], option: str) -> str:
    close = get_close_matches(name, sorted(set(known)), n=3)
    return f"Check {option}; similar names: {', '.join(close)}" if close else f"Check {option}"


def select_vms(
    estate: Estate,
    *,
    host: str | None = None,
    names: Iterable[str] = (),
    patterns: Iterable[str] = (),
    folders: Iterable[str] = (),
    attributes: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """MoIDs of the VMs that fit every given criterion, by name; ``host`` is a host's MoID.

    Within ``names``, ``patterns`` (shell globs) or ``folders`` one fit is enough; all ``attributes`` must be equal.
    Raises NotFound or Ambiguous with all names that do not mean exactly one VM.
    """
    wanted = {vm.moid for vm in find_vms(estate, names)}
    globs, paths = tuple(patterns), tuple(folder.strip("/") for folder in folders)

    def fits(vm: VmState) -> bool:
        return (
            (host is None or vm.host == host)
            and (not wanted or vm.moid in wanted)
            and (not globs or any(fnmatchcase(vm.name, glob) for glob in globs))
            and (not paths or any(vm.folder == path or vm.folder.startswith(f"{path}/") for path in paths))
            and all(vm.attributes.get(key) == value for key, value in (attributes or {}).items())
        )

    return tuple(vm.moid for vm in sorted(estate.vms.values(), key=lambda vm: (vm.name, vm.moid)) if fits(vm))
