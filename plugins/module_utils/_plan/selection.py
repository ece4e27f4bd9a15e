# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection: which VMs and hosts the operator means. Pure.

A name must fit exactly one object. Errors name the option to correct, and similar names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .._core.errors import Ambiguous, InvalidInput, NotFound
from .._core.untrusted import shortened
from .._vsphere.estate import Estate, HostState, VmState


def find_host(estate: Estate, name: str, *, option: str = "host") -> HostState:
    """The host of that name or MoID.

    Raises NotFound with similar names, Ambiguous with MoIDs, or InvalidInput if the name is empty.
    """
    _check_not_empty(name, option)
    if name in estate.hosts:
        return estate.hosts[name]
    found = [host for host in estate.hosts.values() if host.name in (name, shortened(name))]
    if len(found) == 1:
        return found[0]
    if found:
        raise Ambiguous(
            f"{len(found)} hosts are named {name}",
            candidates=tuple(sorted(host.moid for host in found)),
            hint=f"Set {option} to one of these MoIDs: {', '.join(sorted(host.moid for host in found))}",
            option=option,
        )
    raise NotFound(f"vCenter has no host named {name}", hint=_host_hint(estate, name, option), option=option)


def find_fault_domain(estate: Estate, name: str, *, option: str = "fault_domain") -> tuple[HostState, ...]:
    """The hosts of a fault domain, sorted by name. Raises NotFound with similar names, or InvalidInput if the name is empty."""
    _check_not_empty(name, option)
    hosts = sorted((h for h in estate.hosts.values() if h.fault_domain == name), key=lambda h: (h.name, h.moid))
    if not hosts:
        known = (host.fault_domain for host in estate.hosts.values() if host.fault_domain)
        hint = _similar_names(name, known, option, "fault domain")
        raise NotFound(f"No host is in a fault domain named {name}", hint=hint, option=option)
    return tuple(hosts)


def _check_not_empty(name: str, option: str) -> None:
    """Raise InvalidInput for an empty name: it comes from a variable that was not set, and must never mean all objects."""
    if not name:
        raise InvalidInput(f"{option} is empty", hint=f"Set {option} to a name, or omit it", option=option)


def _host_hint(estate: Estate, name: str, option: str) -> str:
    if any(vm.name == name for vm in estate.vms.values()):
        return f"{name} is a virtual machine. Set {option} to the name of an ESXi host"
    return _similar_names(name, (host.name for host in estate.hosts.values()), option, "host")


def find_vm(estate: Estate, name: str, *, option: str = "vms") -> VmState:
    """The VM of that name or MoID. Raises NotFound with similar names, or Ambiguous with MoIDs."""
    if name in estate.vms:
        return estate.vms[name]
    found = sorted((vm for vm in estate.vms.values() if vm.name in (name, shortened(name))), key=lambda vm: vm.moid)
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(f"{vm.moid} in folder {vm.folder or '/'}" for vm in found)
        raise Ambiguous(
            f"{len(found)} VMs are named {name}",
            candidates=tuple(vm.moid for vm in found),
            hint=f"Set {option} to the MoID of one of them: {places}",
            option=option,
        )
    if any(host.name == name for host in estate.hosts.values()):
        hint = f"{name} is an ESXi host. Use the option host instead"
    else:
        hint = _similar_names(name, (vm.name for vm in estate.vms.values()), option, "VM")
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
    """A hint that suggests similar names: those with the same characters in another order, or else the most similar ones."""
    names = sorted(set(known))
    swapped = [each for each in names if sorted(each) == sorted(name)]
    found = swapped or get_close_matches(name, names, n=3)
    if not found:
        return f"Set {option} to the name of a {kind}"
    return f"Did you mean {' or '.join(found)}? Correct {option}"


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

    ``host`` is a host's MoID. A VM must fit one of ``names``, one of ``patterns`` (shell globs), one of ``folders`` and all
    ``attributes``. Raises NotFound or Ambiguous that lists every name that does not fit exactly one VM.
    """
    named = {vm.moid for vm in find_vms(estate, names)}
    globs, paths = tuple(patterns), tuple(folder.strip("/") for folder in folders)

    def fits(vm: VmState) -> bool:
        return (
            (host is None or vm.host == host)
            and (not named or vm.moid in named)
            and (not globs or any(fnmatchcase(vm.name, glob) for glob in globs))
            and (not paths or any(vm.folder == path or vm.folder.startswith(f"{path}/") for path in paths))
            and all(vm.attributes.get(key) == value for key, value in (attributes or {}).items())
        )

    return tuple(vm.moid for vm in sorted(estate.vms.values(), key=lambda vm: (vm.name, vm.moid)) if fits(vm))
