# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shape of ``evidence.json``. It is the same as in ``docs/schema/evidence-1.0.json``, which also limits the values.

Times are UTC in ISO 8601 with milliseconds. ``None`` means that something was not seen or is not known.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Claim = Literal["identity", "progress", "stall"]


class VmName(TypedDict):
    """A VM: its name, and its MoID, because several VMs may have the same name."""

    vm: str
    moid: str


class Integrity(TypedDict):
    """Result of verifying the journal's chain and the samples' SHA-256."""

    head: str
    events: int
    broken_at: int | None
    why: str
    end_kept: bool
    samples_sha256: str
    samples_as_sealed: bool | None


class Vcenter(TypedDict):
    """A vCenter of the run. ``address`` is the name or address under which it was reached."""

    name: str
    simulated: bool
    version: str | None
    product: str | None
    address: NotRequired[str | None]


class Run(TypedDict):
    """What the run was asked for, and how it ended."""

    purpose: str
    host: str | None
    stall_budget: float | None
    started: str
    finished: str | None
    result: str
    priority: str | None
    slots: int | None
    resumed: int
    rolled_back: str | None
    collection: str | None
    window: NotRequired[Window | None]  # of a witness


class Window(TypedDict):
    """What a witness watched, and for how long. ``cut`` and ``unread`` are reasons, "" if there is none.

    ``unread`` is why it is not known what came during the window. ``None`` means that the end of the window was not seen.
    """

    subject: str
    vms: int
    until_returned: bool
    seconds: float
    watched_seconds: float | None
    cut: str | None
    unread: str | None


class Process(TypedDict):
    """A process in a guest."""

    name: str
    pid: int
    started: str


class GuestProcessProof(TypedDict):
    """What the process lists of a guest, before and after the move, prove."""

    before: list[Process]
    after: list[Process]
    same: bool | None
    detail: str


class PowerOnProof(TypedDict):
    """When vCenter says that a VM was powered on. The same time before and after proves that it was not powered off."""

    before: str | None
    after: str | None
    same: bool | None


class MoveEnds(TypedDict):
    """Where a move starts and leads."""

    source: str
    target: str
    source_fault_domain: str | None
    target_fault_domain: str | None


class PartMoved(TypedDict):
    """A part of a VM that the move brings to another datastore (names). ``part`` is "files", or the label of a disk."""

    part: str
    source: str
    target: str
    size: int  # bytes
    policy: NotRequired[str]  # name of the storage policy that it gets or keeps, "" if there is none


class Move(VmName, MoveEnds):
    """The move of a VM. ``back`` is true for a move that brings a VM back after a failure."""

    number: int
    back: bool
    predicted_seconds: float | None
    power_on: PowerOnProof | None
    guest_processes: GuestProcessProof | None
    started: str | None
    switched_over: str | None
    finished: str | None
    result: str
    host: str | None
    attempts: int
    error: str | None
    by: NotRequired[str]  # who moved the VM, if it was not the run: DRS, or a user
    storage: NotRequired[list[PartMoved]]
    vgpus: NotRequired[list[str]]  # profiles of the VM's vGPUs
    predicted_stun: NotRequired[
        float | None
    ]  # seconds for which they make the VM stand still, at most; None if unknown
    source_vcenter: NotRequired[str]  # address, "" in a run over one vCenter
    target_vcenter: NotRequired[str]


class Stall(TypedDict):
    """The longest stall in seconds. Its true length lies between ``low`` and ``high``."""

    seconds: float
    low: float
    high: float


class Claims(TypedDict):
    """What is claimed of an experiment, each ``proven``, ``refuted`` or ``unknown``."""

    identity: str
    progress: str
    stall: str


class Capabilities(TypedDict):
    """What the provider of an experiment can prove."""

    identity: str
    signal: str
    freshness: float
    note: str


class Answer(TypedDict):
    """An answer (``yes``, ``no`` or ``unknown``) and its reason."""

    state: str
    detail: str


class Rate(TypedDict):
    """Work per second during ``seconds``; ``half_width`` is that of the 95 % confidence interval."""

    seconds: float
    rate: float
    half_width: float | None
    unit: str


class Ratio(TypedDict):
    """A ratio with its 95 % confidence interval."""

    ratio: float
    low: float
    high: float


class Cost(TypedDict):
    """Seconds of training time that the moves cost, with the 95 % confidence interval."""

    seconds: float
    low: float
    high: float


class Throughput(TypedDict):
    """Throughput of an experiment before, during and after the moves of its VMs, and what they cost in all."""

    before: Rate | None
    during: Rate | None
    after: Rate | None
    during_to_before: Ratio | None
    cost: Cost | None


class Member(VmName):
    """One node of a cluster."""

    verdict: str
    longest_stall: Stall | None


class FinalResult(TypedDict):
    """How an experiment ended."""

    status: str
    metric: str
    score: float | None
    artifacts: list[str]
    detail: str


class TrainingClock(TypedDict):
    """The longest time between two steps by the training's own clock."""

    seconds: float
    steps: float
    after_step: float
    usual: float
    points: int
    clock: str


class Experiment(VmName):
    """An experiment. Offsets (``stall_at``, ``moving``, ``curve``) are seconds since the run began.

    ``moving`` has [start, end] of each move, ``curve`` has [offset, progress] of each point. Both are lists, because JSON does
    not have tuples.
    """

    vms: list[str]
    moids: list[str]
    members: list[Member]
    provider: str
    id: str
    description: str
    owner: str
    cluster: str
    capabilities: Capabilities
    recoverable: Answer
    reproducible: Answer
    verdict: str
    claims: Claims
    longest_stall: Stall | None
    longest_freeze: Stall | None
    stall_at: float | None
    resolution: float | None
    progress_before: float | None
    progress_after: float | None
    samples: int
    unwatched_seconds: float
    detail: str
    throughput: Throughput | None
    moving: list[list[float | None]]
    curve: list[list[float]]
    final: FinalResult | None
    training_clock: TrainingClock | None


class Unobserved(VmName):
    """A VM in which no experiment was found, and why."""

    detail: str


class Reason(TypedDict):
    """Why a VM is not moved."""

    check: str
    object: str
    hint: str


class Refusal(VmName):
    """A VM that is not moved."""

    reasons: list[Reason]


class Overall(TypedDict):
    """The verdict of the whole run."""

    verdict: str
    statement: str


class Owner(TypedDict):
    """The verdicts of an owner's experiments; ``owner`` is "" if the owner is not known."""

    owner: str
    verdict: str
    experiments: int
    verdicts: dict[str, int]
    longest_stall: Stall | None


class Place(TypedDict):
    """The names of the VMs on a host before and after the run."""

    fault_domain: str | None
    host: str
    before: list[str]
    after: list[str]


class Gap(TypedDict):
    """Something that was not observed, in these VMs."""

    what: str
    why: str
    vms: list[str]


class Record(TypedDict):
    """The part of the evidence that comes from the journal and the samples."""

    schema_version: str
    run_id: str
    journal: Integrity
    plan_id: str
    vcenter: Vcenter
    second_vcenter: NotRequired[Vcenter | None]  # of a run over two
    notes: NotRequired[list[str]]  # what the plan says about moves between them
    run: Run
    fence: str | None
    moves: list[Move]
    experiments: list[Experiment]
    unobserved: list[Unobserved]
    partly_searched: NotRequired[list[Unobserved]]  # VMs with experiments that may have others
    refusals: list[Refusal]
    left_behind: list[str]
    noticed: NotRequired[list[Unobserved]]  # what a witness or an evacuation did not watch


class Summary(TypedDict):
    """The part of the evidence that follows from the rest of it."""

    statements: list[str]
    overall: Overall
    owners: list[Owner]
    placement: list[Place]
    gaps: list[Gap]


class Evidence(Record, Summary):
    """The evidence of a run."""


class Artifact(TypedDict):
    """What a job on another controller must know about a run. ``experiments`` are as the journal holds them."""

    version: int
    purpose: str
    host: str | None
    run_id: str
    plan_id: str
    result: str
    verdict: str
    what_to_do: str
    experiments: list[dict[str, Any]]
