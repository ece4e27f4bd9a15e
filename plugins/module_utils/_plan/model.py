# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned: the request, moves, refusals and the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .._vsphere.estate import VcenterInfo


class Policy(StrEnum):
    """Fault-domain policy: which fault domain a target may or should be in, relative to the source host."""

    SAME_PREFERRED = "same_preferred"
    OTHER_PREFERRED = "other_preferred"
    SAME_ONLY = "same_only"
    OTHER_ONLY = "other_only"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a VM is not moved: the failed check, the object it failed on, and what the operator can do."""

    check: str  # snake_case name, e.g. "not_powered_on", "missing_network"
    object: str
    hint: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A VM that will not be moved, with every reason at once.

    ``blocking`` is true when the VM, left where it is, keeps its host from entering maintenance mode
    (powered-off VMs and templates do not).
    """

    vm: str
    vm_name: str
    reasons: tuple[Reason, ...]
    blocking: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """One VM, one target. ``pool`` is set only when the compute resource changes."""

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
    pool: str | None = None
    task: str | None = None  # set when a task of an unfinished run is already moving the VM
    inferred: bool = False  # the task may be somebody else's, or change no host: it is waited for, never cancelled
    why: str = ""  # one sentence: why this target


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What the operator wants moved and under which rules."""

    vms: tuple[str, ...]  # MoIDs, already selected
    policy: Policy = Policy.SAME_PREFERRED
    # VM MoID -> host MoID, given by the operator or by a recorded home
    destinations: Mapping[str, str] = field(default_factory=dict)
    # VM MoID -> host MoID of an approved plan, taken where it still fits
    preferred: Mapping[str, str] = field(default_factory=dict)
    allowed_targets: frozenset[str] | None = None  # None: every host of the VM's cluster
    excluded_targets: frozenset[str] = frozenset()
    memory_headroom: float = 0.10  # share of a target's memory that stays free
    cpu_headroom: float = 0.10
    # VM -> (target host, task) of an unfinished run's moves in flight
    moving: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    inferred: frozenset[str] = frozenset()  # VMs of ``moving`` whose task no journal knows as its run's own


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbered moves and refusals. ``plan_id`` is the SHA-256 over the canonical content (see ``_plan``)."""

    plan_id: str
    vcenter: VcenterInfo
    moves: tuple[Move, ...]
    refusals: tuple[Refusal, ...] = ()
    settled: tuple[str, ...] = ()  # names of VMs that already are where the request wants them


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Concurrent vMotions per host, counted on source and target; ``by_host`` lowers single hosts (4 on 1GbE)."""

    per_host: int = 8
    by_host: Mapping[str, int] = field(default_factory=dict)
