# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data of planning: the request, moves, refusals and the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .._vsphere.estate import Automation, Checked, InventoryPlace, VcenterInfo
from .._vsphere.qualified import crosses


class Policy(StrEnum):
    """Fault-domain policy: which fault domain a target may or should be in, relative to the source host."""

    SAME_PREFERRED = "same_preferred"
    OTHER_PREFERRED = "other_preferred"
    SAME_ONLY = "same_only"
    OTHER_ONLY = "other_only"
    ANY = "any"


class Scope(StrEnum):
    """What a move may change: the host of the VM, the datastores of its files, or both."""

    COMPUTE = "compute"
    STORAGE = "storage"
    BOTH = "both"  # files move only if the target does not reach them, or if another datastore is asked for


class DrsOption(StrEnum):
    """Who moves the VMs that DRS moves by itself: the run (``auto``), or DRS while the run watches (``follow``)."""

    AUTO = "auto"
    FOLLOW = "follow"


class DrsHandling(StrEnum):
    """How the moves of a plan are guarded against DRS.

    ``pin`` gives VMs an override that excludes them before they move, and their previous values afterwards. ``fence_last`` and
    ``follow`` are of evacuations only, ``allow`` is of all others.
    """

    IGNORE = "ignore"  # DRS moves none of the VMs by itself
    PIN = "pin"
    FENCE_LAST = "fence_last"  # the VMs move before the host is fenced
    FOLLOW = "follow"  # DRS chooses the targets and moves the VMs, while the run watches
    ALLOW = "allow"  # DRS may move VMs before their turn


@dataclass(frozen=True, slots=True)
class DrsDecision:
    """How DRS of one cluster is handled. ``pinned`` are MoIDs of the VMs to exclude from DRS; without ``pin`` there are none.

    ``not_moved`` are MoIDs of the VMs that DRS does not move by itself with ``follow``, so that nobody waits for it.
    """

    cluster: str
    cluster_name: str
    automation: Automation  # of the cluster; single VMs may differ
    how: DrsHandling
    pinned: tuple[str, ...] = ()
    why: str = ""  # sentences for people; "" if there is nothing to say
    not_moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a VM is not moved: the failed check, the object it failed on, and what the operator can do (see ``BLOCKERS``)."""

    check: str  # snake_case name, e.g. "not_powered_on", "missing_network"
    object: str
    hint: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A VM that will not be moved, with every reason at once.

    ``blocking`` is true if the VM prevents maintenance mode of its host. Powered-off VMs and templates do not.
    """

    vm: str
    vm_name: str
    reasons: tuple[Reason, ...]
    blocking: bool = True


@dataclass(frozen=True, slots=True)
class PartMove:
    """A part of a VM in a move that changes datastores (MoIDs and names); a part that stays has equal ends. ``size`` in bytes.

    ``policy`` is the storage policy that it gets or keeps (id), ``policy_before`` the one that it has now; "" for none, and if it is
    not known.
    """

    key: int
    label: str
    source: str
    source_name: str
    target: str
    target_name: str
    size: int = 0
    policy: str = ""
    policy_name: str = ""
    policy_before: str = ""

    @property
    def moves(self) -> bool:
        """Whether the part changes its datastore."""
        return self.source != self.target


@dataclass(frozen=True, slots=True)
class Move:
    """One VM and its target. ``place_before`` and ``place_after`` are set if resource pool, folder or networks change.

    ``parts`` are all parts of the VM if one of them changes its datastore, else none. If only datastores change, ``target`` is
    the host where the VM is.
    """

    number: int
    vm: str
    vm_name: str
    source: str
    source_name: str
    target: str
    target_name: str
    memory_bytes: int
    predicted_seconds: float
    source_fault_domain: str | None = None
    target_fault_domain: str | None = None
    task: str | None = None  # set when a task of an unfinished run is already moving the VM
    inferred: bool = False  # the task may belong to somebody else, or not change the host: wait for it, never cancel it
    why: str = ""  # one sentence: why this target
    parts: tuple[PartMove, ...] = ()
    place_before: InventoryPlace | None = None
    place_after: InventoryPlace | None = None
    source_vcenter: str = ""  # address, if the plan is for two vCenters
    target_vcenter: str = ""
    vgpus: tuple[str, ...] = ()  # profiles of its vGPUs, if it changes its host
    # Seconds for which the vGPUs make the VM stand still, if all their memory is in use; None if unknown, or without a vGPU
    predicted_stun: float | None = None
    free_vgpus_known: bool = True  # else only vCenter knows whether the target has a free vGPU

    @property
    def changes_vcenter(self) -> bool:
        """Whether the VM changes its vCenter."""
        return crosses(self.source, self.target)

    @property
    def changes_host(self) -> bool:
        """Whether the VM changes its host."""
        return self.source != self.target

    @property
    def storage_bytes(self) -> int:
        """Bytes that change their datastore."""
        return sum(part.size for part in self.parts if part.moves)

    @property
    def sources(self) -> dict[int, str]:
        """The datastore (MoID) of each part before the move, by the part's key; empty if no part moves."""
        return {part.key: part.source for part in self.parts}

    @property
    def targets(self) -> dict[int, str]:
        """The same after the move."""
        return {part.key: part.target for part in self.parts}

    @property
    def policies(self) -> dict[int, str]:
        """The storage policy (id) of each part that gets or keeps one, by the part's key."""
        return {part.key: part.policy for part in self.parts if part.policy}

    def has_arrived(self, host: str | None, places: Mapping[int, str]) -> bool:
        """Whether a VM on this host, with its parts on these datastores (MoIDs), is where the move leads."""
        return host == self.target and places.items() >= self.targets.items()


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """Where the files of VMs may go. Datastores are MoIDs, parts of VMs are known by their keys.

    A VM in ``homes`` moves its files to exactly these datastores, whatever the ``scope`` is.
    """

    scope: Scope = Scope.COMPUTE
    datastores: frozenset[str] = (
        frozenset()
    )  # empty: each one that the target reaches, for files that it does not reach
    # Label of a disk ("Hard disk 2") -> the datastores for it
    disks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    homes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    preferred: Mapping[str, Mapping[int, str]] = field(
        default_factory=dict
    )  # of an approved plan, taken if they still fit
    moving: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # targets of moves in flight, by VM
    headroom: float = 0.10  # share of a datastore that stays free
    not_permitted: frozenset[str] = frozenset()  # datastores on which the user may not allocate space
    policy: str = (
        ""  # storage policy (id) that files get, and that their datastores must fit; "": each part keeps its own
    )
    # of Storage DRS, by VM and by the key of the part, taken if they fit; and what an operator should know of that
    recommended: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    home_policies: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # what parts in ``homes`` had before


@dataclass(frozen=True, slots=True)
class SiteMaps:
    """What the operator maps for VMs that change their cluster or data centre: names there, by names here. Pools and folders are paths."""

    pools: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wan:
    """The network between two vCenters, as the operator states it: Mbit/s, and milliseconds for a round trip. ``None``: not stated."""

    mbit: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Away:
    """A VM (id and name) that may have to come home and cannot, whatever the planner finds: the check that says why, and its object."""

    vm: str
    vm_name: str
    check: str
    object: str


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The VMs to plan, and the rules for their targets."""

    vms: tuple[str, ...]  # MoIDs, already selected
    policy: Policy = Policy.SAME_PREFERRED
    # VM MoID -> host MoID, given by the operator or by a recorded home
    destinations: Mapping[str, str] = field(default_factory=dict)
    # VM MoID -> host MoID of an approved plan, taken if the host still fits
    preferred: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None  # MoID of the compute resource to which VMs without a destination move; None: their own
    maps: SiteMaps = field(default_factory=SiteMaps)
    places: Mapping[str, InventoryPlace] = field(default_factory=dict)  # VM MoID -> the place to which it returns
    closed_pools: frozenset[str] = frozenset()  # resource pools (MoIDs) to which the user may not assign VMs
    closed_networks: frozenset[str] = frozenset()  # networks of the other vCenter to which the user may not connect VMs
    closed_folders: frozenset[str] = frozenset()  # folders of the other vCenter in which the user may not register VMs
    wan: Wan = field(default_factory=Wan)
    away: tuple[Away, ...] = ()
    allowed_targets: frozenset[str] | None = None  # None: every host of that cluster
    excluded_targets: frozenset[str] = frozenset()
    memory_headroom: float = 0.10  # share of a target's memory that stays free
    cpu_headroom: float = 0.10
    # VM -> (target host, task) of an unfinished run's moves in flight
    moving: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    inferred: frozenset[str] = frozenset()  # VMs of ``moving`` whose task is in no journal
    # VM MoID -> privileges that the user needs to move it and does not have
    not_permitted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # (VM, host), both MoIDs -> what vCenter's own check of this move found
    checked: Mapping[tuple[str, str], Checked] = field(default_factory=dict)
    evacuated: frozenset[str] = frozenset()  # hosts (MoIDs) that are fenced while their VMs leave
    drs: DrsOption = DrsOption.AUTO
    storage: StorageRequest = field(default_factory=StorageRequest)
    stall_budget: float | None = None  # seconds that a VM with a vGPU may stand still; None: any
    editable_clusters: frozenset[str] = frozenset()  # clusters (MoIDs) of which it is known that the user may edit them
    notes: tuple[str, ...] = ()  # sentences for people that the plan passes on


@dataclass(frozen=True, slots=True)
class ServerChecks:
    """What vCenter said when it was asked about the moves of a plan. It reserves nothing."""

    checked: int = 0  # moves of which vCenter found that they are possible now
    unchecked: int = 0
    why_unchecked: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbered moves and refusals. ``plan_id`` is a SHA-256 of what the plan decides (see ``codec.plan_id_of``)."""

    plan_id: str
    vcenter: VcenterInfo
    moves: tuple[Move, ...]
    refusals: tuple[Refusal, ...] = ()
    settled: tuple[
        str, ...
    ] = ()  # names of VMs that are at their destination already, with MoIDs if several have one name
    checks: ServerChecks = ServerChecks()
    drs: tuple[DrsDecision, ...] = ()  # for each cluster of the evacuated hosts, and for others whose DRS moves a VM
    second: VcenterInfo | None = None  # the other vCenter, if the plan is for two
    wan: Wan = field(default_factory=Wan)
    notes: tuple[str, ...] = ()  # sentences about moves between vCenters, and what else the maintenance changes


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Concurrent moves per host, counted on source and target. ``by_host`` (MoID) has lower limits, as 4 on 1GbE.

    A move that changes datastores takes as much of a host as several others; ``storage_per_datastore`` limits these moves.
    """

    per_host: int = 8
    by_host: Mapping[str, int] = field(default_factory=dict)
    storage_per_datastore: int = 8
    between_vcenters: int | None = None  # of all hosts together; None: no limit
