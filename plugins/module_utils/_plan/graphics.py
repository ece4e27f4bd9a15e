# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vGPUs: whether a host has free ones for a VM, and how long they make the VM stand still. Pure.

The ledger counts the vGPUs that earlier moves of the plan bring to a host. Those of VMs that leave are not counted as free, because
they are free only when the move has ended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, floor

from .._vsphere.estate import Estate, Gpu, HostState, StunEstimate, VgpuMode, VgpuProfile, VmState
from .._vsphere.qualified import crosses

Blocked = tuple[str, str]  # a failed check and the object it failed on

GIB = 1024**3
# Expected stuns of a V100 over 10 GbE: GiB of framebuffer in use, and seconds (vSphere 7.0, "Using vMotion to Migrate vGPU VMs").
PUBLISHED_STUNS = ((1, 2.0), (2, 4.0), (4, 6.0), (8, 12.0), (16, 22.0), (32, 39.0))
PUBLISHED_LINK = 10_000  # Mbit/s
STUN_LIMIT = 100.0  # seconds after which vSphere by default ends a vMotion whose VM stands still
ECC_SHARE = 16 / 15  # a card with ECC reports less memory than its largest profile has
COMPUTE_SLICES = 7  # of a card that is divided into GPU instances
# grid_v100-16q, nvidia_a100-4-20c (4 of 7 compute slices), grid_m10-0q (half a GiB), nvidia_a100-1-5cme
_PROFILE = re.compile(r"[a-z]+_(?P<model>.+?)(-(?P<slices>\d+))?-(?P<size>\d+)[a-z]+\d?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Profile:
    """A vGPU profile. What its name does not say is unknown: ``framebuffer`` in GiB is ``None``, ``model`` is "".

    ``slices`` is 0 for a vGPU that shares the whole card by time.
    """

    name: str
    framebuffer: float | None = None
    model: str = ""
    slices: int = 0


def profile_of(name: str, said: VgpuProfile | None = None) -> Profile:
    """A profile by its name, and by what a host says of it."""
    parts = _PROFILE.fullmatch(name)
    size = float(said.framebuffer_gib) if said is not None and said.framebuffer_gib else None
    if parts is None:
        return Profile(name, size)
    model = re.match(r"[a-z]+\d+", re.sub(r"[^a-z0-9]", "", parts["model"].lower()))
    return Profile(name, size or float(parts["size"]) or 0.5, model[0] if model else "", int(parts["slices"] or 0))


def published_stun(framebuffer: float) -> float:
    """The expected stun over 10 GbE, in seconds, if this framebuffer (GiB) is in use."""
    points = PUBLISHED_STUNS
    if framebuffer <= points[0][0]:
        return points[0][1]
    for (less, short), (more, long) in pairwise(points):
        if framebuffer <= more:
            return short + (long - short) * (framebuffer - less) / (more - less)
    return points[-1][1] * framebuffer / points[-1][0]


def estimated_stun(estimates: Sequence[StunEstimate], link_mbit: float) -> float:
    """What a host expects over a link, in seconds: its estimate for the next slower link, or a longer time if there is none."""
    slower = [each for each in estimates if each.link_mbit <= link_mbit]
    if slower:
        return float(max(slower, key=lambda each: each.link_mbit).seconds)
    slowest = min(estimates, key=lambda each: each.link_mbit)
    return slowest.seconds * slowest.link_mbit / link_mbit


@dataclass(slots=True)
class _Card:
    """A card with the profiles of its vGPUs, ``None`` for one that is unknown. ``size`` in GiB."""

    gpu: Gpu
    size: float
    present: list[Profile | None] = field(default_factory=list)

    def has_room(self, profile: Profile) -> bool:
        """Whether one more vGPU of a profile of known size fits."""
        known = [each for each in self.present if each is not None and each.framebuffer is not None]
        if len(known) < len(self.present) or profile.framebuffer is None:
            return False
        together = profile.framebuffer + sum(each.framebuffer or 0.0 for each in known)
        if self.gpu.mode is VgpuMode.MULTI_INSTANCE or profile.slices:
            slices = profile.slices + sum(each.slices for each in known)
            return together <= self.size and slices <= COMPUTE_SLICES
        if self.gpu.mode is VgpuMode.MIXED_SIZE:
            return together <= self.size
        return all(each.name == profile.name for each in known) and together <= self.size


class GraphicsPlanner:
    """Finds vGPUs for one VM after the other.

    ``budget`` is the longest stun in seconds that the operator accepts, ``None`` for any; ``wan_mbit`` the bandwidth between two
    vCenters, ``None`` if it is unknown.
    """

    def __init__(self, estate: Estate, budget: float | None, wan_mbit: float | None = None) -> None:
        self._estate = estate
        self._budget = budget
        self._wan_mbit = wan_mbit
        self._cards: dict[str, list[_Card]] = {}  # by host, with what earlier moves bring

    def blockers(self, vm: VmState, host: HostState) -> Iterator[Blocked]:
        """The checks that the vGPUs of a VM fail on a host."""
        missing = [profile for profile in vm.vgpus if profile not in host.vgpu_profiles]
        for device in vm.devices:
            if device.kind == "vgpu" and device.profile in missing:
                yield "missing_vgpu_profile", device.profile or device.label
        if missing or not vm.vgpus:
            return
        if self.slots_known(vm, host) and self._placed(vm, host) is None:
            yield "no_vgpu_slot", host.name
        stun = self.stun(vm, host)
        if self._budget is None or stun is None:
            return
        if stun > STUN_LIMIT:
            yield "vgpu_stun_limit", host.name
        elif stun > self._budget:
            yield "vgpu_stun", host.name

    def stun(self, vm: VmState, host: HostState) -> float | None:
        """The longest time in seconds that a VM stands still when it moves to a host; ``None`` without a vGPU, or if it is unknown.

        All memory of each vGPU counts as in use.
        """
        source = self._estate.hosts.get(vm.host)
        if not vm.vgpus or source is None:
            return None
        links = [source.link_mbit, host.link_mbit, *([self._wan_mbit] if crosses(source.moid, host.moid) else [])]
        speeds = [link for link in links if link is not None]
        if len(speeds) < len(links):
            return None
        stuns = [self._stun_of(profile, (source, host), min(speeds)) for profile in vm.vgpus]
        known = [stun for stun in stuns if stun is not None]
        return round(sum(known), 1) if len(known) == len(stuns) else None

    def _stun_of(self, name: str, ends: tuple[HostState, HostState], link: float) -> float | None:
        said = [self._said(host, name) for host in ends]
        estimates = [estimated_stun(each.stuns, link) for each in said if each is not None and each.stuns]
        if estimates:
            return max(estimates)
        framebuffer = profile_of(name, said[1] or said[0]).framebuffer
        return None if framebuffer is None else published_stun(framebuffer) * max(1.0, PUBLISHED_LINK / link)

    def slots_known(self, vm: VmState, host: HostState) -> bool:
        """Whether it is known how many vGPUs for a VM are free on a host."""
        cards = self._cards_of(host)
        return bool(cards) and all(
            self._profile(host, name).framebuffer is not None
            and all(card.size for card in self._fitting(cards, self._profile(host, name)))
            for name in vm.vgpus
        )

    def book(self, vm: VmState, host: HostState) -> None:
        """Count the vGPUs that a VM brings to a host."""
        cards = self._placed(vm, host)
        if vm.vgpus and cards is not None:
            self._cards[host.moid] = cards

    def figures(self, vm: VmState, hosts: Collection[HostState]) -> Mapping[str, object]:
        """The figures that remedies name; none for a VM without a vGPU."""
        if not vm.vgpus:
            return {}
        rooms = {h.moid: self._free(vm.vgpus[0], h) for h in hosts if not set(vm.vgpus) - h.vgpu_profiles}
        best = max(rooms, key=lambda moid: rooms[moid], default=None)
        failed = {h.moid: {check for check, _found in self.blockers(vm, h)} for h in hosts}
        alone = [h for h in hosts if failed[h.moid] in ({"vgpu_stun"}, {"vgpu_stun_limit"})]
        stuns = [stun for host in alone or hosts if (stun := self.stun(vm, host)) is not None]
        wanted = {name: vm.vgpus.count(name) for name in vm.vgpus}
        return {
            "vgpus_needed": " and ".join(f"{number} × {name}" for name, number in wanted.items()),
            "vgpu_host": self._estate.hosts[best].name if best else "none",
            "vgpus_free": rooms[best] if best else 0,
            "stun": ceil(min(stuns, default=0.0)),
            "stun_limit": floor(STUN_LIMIT),
            "stall_budget": f"{self._budget or 0:g}",
        }

    def _free(self, name: str, host: HostState) -> int:
        """How many more vGPUs of one profile a host has room for; 0 if that is unknown."""
        cards, found = _copies(self._cards_of(host)), 0
        while _put(cards, self._profile(host, name), consolidate=host.consolidates_vgpus):
            found += 1
        return found

    def _placed(self, vm: VmState, host: HostState) -> list[_Card] | None:
        """The cards of a host with the vGPUs of a VM on them, ``None`` if they do not fit."""
        cards = _copies(self._cards_of(host))
        fits = all(
            _put(cards, self._profile(host, name), consolidate=host.consolidates_vgpus) for name in sorted(vm.vgpus)
        )
        return cards if fits else None

    def _cards_of(self, host: HostState) -> list[_Card]:
        if host.moid not in self._cards:
            self._cards[host.moid] = [_Card(gpu, self._size(host, gpu)) for gpu in host.gpus or ()]
            for card in self._cards[host.moid]:
                for user in card.gpu.vms:
                    card.present += self._present(host, user)
        return self._cards[host.moid]

    def _present(self, host: HostState, vm: str) -> list[Profile | None]:
        """The vGPUs that a VM has on one of the cards that name it: as many as it can have, if that is not known exactly."""
        names = self._estate.vgpus.get(vm, ())
        cards = sum(vm in gpu.vms for gpu in host.gpus or ())
        if not names or "" in names or (cards > 1 and len(set(names)) > 1):
            return [None]
        return [self._profile(host, name) for name in names[cards - 1 :] or names[:1]]

    def _size(self, host: HostState, gpu: Gpu) -> float:
        """The GiB that the vGPUs of a card share, 0 if unknown. The largest profile of its model is the whole card."""
        reported = gpu.memory_bytes / GIB
        profiles = [self._profile(host, name) for name in host.vgpu_profiles]
        sizes = [p.framebuffer for p in profiles if p.framebuffer and _is_of(gpu, p)]
        return max([reported, *(size for size in sizes if not reported or size <= reported * ECC_SHARE)])

    def _fitting(self, cards: Sequence[_Card], profile: Profile) -> list[_Card]:
        return [card for card in cards if _is_of(card.gpu, profile)] or list(cards)

    def _profile(self, host: HostState, name: str) -> Profile:
        return profile_of(name, self._said(host, name))

    def _said(self, host: HostState, name: str) -> VgpuProfile | None:
        return self._estate.vgpu_profiles.get(host.moid, {}).get(name)


def _put(cards: Sequence[_Card], profile: Profile, *, consolidate: bool) -> bool:
    """Put a vGPU on the card that ESXi chooses; false if none has room."""
    models = [card for card in cards if _is_of(card.gpu, profile)] or cards
    roomy = [card for card in models if card.has_room(profile)]
    if not roomy:
        return False
    order = -1 if consolidate else 1
    min(roomy, key=lambda card: order * len(card.present)).present.append(profile)
    return True


def _is_of(gpu: Gpu, profile: Profile) -> bool:
    """Whether a card is of the model of a profile; true if the profile does not name one."""
    name = re.sub(r"[^a-z0-9]", "", gpu.name.lower())
    return re.search(rf"{profile.model}(?!\d)", name) is not None


def _copies(cards: Sequence[_Card]) -> list[_Card]:
    return [replace(card, present=list(card.present)) for card in cards]
