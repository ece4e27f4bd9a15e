# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM's home, and its text in a custom attribute of the VM. Pure.

A restore can read the attribute from any controller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._core.untrusted import mapping, parsed, printable
from .estate import InventoryPlace, Plug
from .qualified import SIGN, qualified, relative, vcenter_of

ATTRIBUTE = "liveml_home"


def encode_home(home: Home) -> str:
    """The attribute's value. Its keys are short, because vCenter limits the length of custom attributes.

    Each id of a home over two vCenters must name its vCenter. The text names the vCenters once, that of the home first: ``host-12`` is
    there, ``host-12@1`` is in the other one.
    """
    uuids = tuple(dict.fromkeys(filter(None, map(vcenter_of, (home.host, home.target, home.start)))))
    home = _with_ids(home, lambda each: _shortened(each, uuids))
    fields: dict[str, object] = {
        "h": home.host,
        "n": home.host_name,
        "s": home.start,
        "t": home.target,
        "tn": home.target_name,
    }
    if home.files:
        fields["f"] = [[f.part, f.home, f.home_name, f.target, *([f.policy] if f.policy else [])] for f in home.files]
    if home.place is not None:  # MoIDs alone: the journal has the names
        fields |= {"p": home.place.pool, "d": home.place.folder}
        if home.place.plugs:
            fields["w"] = {str(plug.adapter): plug.network for plug in home.place.plugs}
    if uuids:
        fields |= {"v": list(uuids), "hv": home.home_vcenter, "tv": home.target_vcenter}
    if home.vm_uuid:  # a clone gets the attributes of its VM, and has another instance UUID
        fields["u"] = home.vm_uuid
    return json.dumps({**fields, "r": home.run_id, "at": home.recorded_at}, separators=(",", ":"))


def decode_home(vm: str, text: str) -> Home | None:
    """The home in an attribute's value; ``None`` if the text is something else, also a home that was cut or edited."""
    data = {"s": "", "f": [], "v": [], "hv": "", "tv": "", "u": "", **mapping(parsed(text.encode("utf-8", "replace")))}
    try:
        host, name, target, target_name, run_id, at, start, uuid, *addresses = (
            _word(data[key]) for key in ("h", "n", "t", "tn", "r", "at", "s", "u", "hv", "tv")
        )
        files = tuple(_decode_file(*_each(file)) for file in _each(data["f"]))
        place = _decode_place(data) if "p" in data else None
        uuids = tuple(map(_word, _each(data["v"])))
    except (KeyError, ValueError, TypeError):
        return None
    if not host or not target:
        return None
    home = Home(
        vm, host, name, target, target_name, run_id, at, start, "", uuid, files, place, addresses[0], addresses[1]
    )
    return _with_ids(home, lambda each: _in_full(each, uuids)) if uuids else home


def _word(value: object) -> str:
    """A text of the attribute. Raises TypeError if it is something else."""
    if not isinstance(value, str):
        raise TypeError(value)
    return printable(value)


def _each(value: object) -> list[object]:
    """The same of a list."""
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _shortened(identifier: str, uuids: tuple[str, ...]) -> str:
    """An id with the place of its vCenter in a list instead of the instance UUID; without it for the first one."""
    vcenter = vcenter_of(identifier)
    if vcenter not in uuids:
        return identifier
    place = uuids.index(vcenter)
    return identifier.partition(SIGN)[0] + (f"{SIGN}{place}" if place else "")


def _in_full(identifier: str, uuids: tuple[str, ...]) -> str:
    """The opposite."""
    moid, _sign, place = identifier.partition(SIGN)
    found = int(place) if place.isdecimal() and len(place) == 1 else 0
    return qualified(moid, uuids[found]) if found < len(uuids) and (not place or found) else identifier


def of_vcenter(home: Home, vcenter: str) -> Home:
    """The home whose ids name their vCenter; those that did not are of the one with this instance UUID."""
    return _with_ids(home, lambda each: qualified(each, vcenter))


def seen_from(home: Home, vcenter: str) -> Home:
    """The home with ids as in an estate whose first vCenter has this instance UUID."""
    return _with_ids(home, lambda each: relative(each, vcenter))


def spans_vcenters(home: Home) -> bool:
    """Whether an id of the home names its vCenter."""
    return any(map(vcenter_of, (home.host, home.target, home.start)))


def _with_ids(home: Home, name: Callable[[str], str]) -> Home:
    """The home with other ids of hosts, datastores, resource pool, folder and networks."""
    place = home.place
    if place is not None:
        plugs = tuple(replace(plug, network=name(plug.network)) for plug in place.plugs)
        place = replace(place, pool=name(place.pool), folder=name(place.folder), plugs=plugs)
    files = tuple(replace(file, home=name(file.home), target=name(file.target)) for file in home.files)
    return replace(
        home,
        host=name(home.host),
        target=name(home.target),
        start=name(home.start),
        files=files,
        place=place,
    )


@dataclass(frozen=True, slots=True)
class HomeFile:
    """The datastore where a part of a VM lived before evacuation, and the one to which the evacuation moves it. Both are MoIDs.

    ``part`` is the key of the part. ``policy`` is the storage policy (id) that it had, "" if the evacuation does not change it.
    """

    part: int
    home: str
    home_name: str
    target: str
    policy: str = ""


def _decode_file(part: object, home: object, home_name: object, target: object, policy: object = "") -> HomeFile:
    """One of the files in an attribute. Raises TypeError if it is not one."""
    if not isinstance(part, int) or isinstance(part, bool):
        raise TypeError(part)
    return HomeFile(part, _word(home), _word(home_name), _word(target), _word(policy))


def _decode_place(data: Mapping[str, Any]) -> InventoryPlace:
    """The place of the home in an attribute. Raises TypeError, ValueError or KeyError if it is not one."""
    plugs = data.get("w", {})
    if not isinstance(plugs, dict):
        raise TypeError(plugs)
    return InventoryPlace(
        cluster_name="",
        pool=_word(data["p"]),
        pool_name="",
        folder=_word(data["d"]),
        folder_name="",
        plugs=tuple(Plug(int(key), _word(network)) for key, network in plugs.items()),
    )


@dataclass(frozen=True, slots=True)
class Home:
    """Where a VM lived before evacuation (``host``), and where the evacuation moves it (``target``). Hosts are MoIDs.

    ``start`` is the host from which the VM moves to ``target``, or "" if it is not recorded. It differs from ``host`` if an
    earlier evacuation had moved the VM there.
    """

    vm: str
    host: str
    host_name: str
    target: str
    target_name: str
    run_id: str
    recorded_at: str  # UTC, ISO 8601
    start: str = ""
    vm_name: str = field(default="", compare=False)  # from a journal, for a VM that no longer exists
    vm_uuid: str = field(default="", compare=False)  # instance UUID; "" if it was not recorded
    files: tuple[HomeFile, ...] = ()  # of all parts of the VM, if an evacuation moved one of them
    place: InventoryPlace | None = None  # of the home, if a move changed resource pool, folder or networks
    home_vcenter: str = ""  # address of the vCenter of ``host``, if ``target`` is in another one
    target_vcenter: str = ""
    in_attribute: bool = field(default=False, compare=False)  # a journal says that the VM's attribute has it, too

    @property
    def places(self) -> tuple[str, ...]:
        """MoIDs of the hosts where the VM can be if nothing but evacuations moved it."""
        return (self.target, self.start) if self.start else (self.target,)

    @property
    def datastores(self) -> dict[int, str]:
        """The datastore (MoID) of each part at home, by the key of the part; empty if no evacuation moved a part."""
        return {file.part: file.home for file in self.files}

    def has_files_back(self, datastores: frozenset[str]) -> bool:
        """Whether the files of a VM with these datastores (MoIDs) can be at home.

        It is false if a datastore of the home is not used, or if one is used that only the evacuation put files on.
        """
        homes = frozenset(file.home for file in self.files)
        targets = frozenset(file.target for file in self.files)
        return homes <= datastores and not (targets - homes) & datastores
