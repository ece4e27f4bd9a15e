# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The vocabulary as frozen dataclasses: what was read, what is planned, what was seen.

Pure: imports neither pyVmomi nor Ansible. Objects are identified by MoID (``host-31``, ``vm-42``);
names are for people. Memory in bytes, CPU in MHz, durations in seconds, progress in 0..1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Connection(StrEnum):
    """``HostSystemConnectionState``."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    NOT_RESPONDING = "notResponding"


class Maintenance(StrEnum):
    """Maintenance mode of a host; *entering* is the fence."""

    NORMAL = "normal"
    ENTERING = "entering"
    IN = "in"


class Power(StrEnum):
    """``VirtualMachinePowerState``."""

    ON = "poweredOn"
    OFF = "poweredOff"
    SUSPENDED = "suspended"


class Policy(StrEnum):
    """Fault-domain policy: which fault domain a target may or should be in, relative to the source host."""

    SAME_PREFERRED = "same_preferred"
    OTHER_PREFERRED = "other_preferred"
    SAME_ONLY = "same_only"
    OTHER_ONLY = "other_only"
    ANY = "any"


class Purpose(StrEnum):
    """Why a run is carried out."""

    EVACUATE = "evacuate"
    RESTORE = "restore"
    MIGRATE = "migrate"


class MoveResult(StrEnum):
    """How a move ended, decided by the observed ``runtime.host``."""

    MOVED = "moved"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    GONE = "gone"  # the VM was deleted meanwhile
    NOT_STARTED = "not_started"  # the run stopped before this move


class Verdict(StrEnum):
    """What the evidence says about an experiment."""

    UNINTERRUPTED = "uninterrupted"
    STALLED = "stalled"
    RESTARTED = "restarted"
    FAILED = "failed"
    COMPLETED = "completed"
    UNKNOWN = "unknown"


# What an operator has to look at first. An experiment whose end was seen proves less about its stall than one that was
# uninterrupted, and none that came to harm hides behind one that could not be observed.
WORST_FIRST = (
    Verdict.FAILED,
    Verdict.RESTARTED,
    Verdict.STALLED,
    Verdict.UNKNOWN,
    Verdict.COMPLETED,
    Verdict.UNINTERRUPTED,
)


def worst(verdicts: Iterable[str]) -> Verdict:
    """The verdict to look at first; ``unknown`` when there is none."""
    return min((Verdict(verdict) for verdict in verdicts), key=WORST_FIRST.index, default=Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class VcenterInfo:
    """The vCenter a run talks to; ``simulated`` when ``about`` names a simulator."""

    name: str
    instance_uuid: str
    version: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore; ``hosts`` are the hosts that mount it accessibly."""

    moid: str
    name: str
    hosts: frozenset[str]
    accessible: bool = True


@dataclass(frozen=True, slots=True)
class Network:
    """A network or distributed port group."""

    moid: str
    name: str


@dataclass(frozen=True, slots=True)
class HostState:
    """An ESXi host as read from vCenter. ``fault_domain`` is ``None`` when unassigned."""

    moid: str
    name: str
    cluster: str  # MoID of the compute resource
    cluster_name: str
    datacenter: str  # name
    fault_domain: str | None
    connection: Connection
    maintenance: Maintenance
    memory_bytes: int
    memory_used_bytes: int
    cpu_mhz: int
    cpu_used_mhz: int
    vmotion_enabled: bool = True
    link_mbit: int | None = None  # of the fastest NIC with a link, taken to carry vMotion; None when unknown
    datastores: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    maintenance_task: str | None = None  # MoID of the running enter-maintenance task


@dataclass(frozen=True, slots=True)
class Alarm:
    """A triggered alarm of vCenter; ``status``: yellow or red."""

    name: str
    status: str
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device that hinders a vMotion.

    ``kind``: pci_passthrough, sriov, vgpu, cdrom_host, floppy_host, serial_host, parallel_host, usb_host.
    """

    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class VmState:
    """A VM as read from vCenter. ``devices`` and ``cpu_affinity`` are filled only where they were asked for."""

    moid: str
    name: str
    instance_uuid: str
    host: str  # MoID, "" when unknown
    power: Power
    memory_bytes: int
    template: bool = False
    connection: str = "connected"
    folder: str = ""  # path below the datacenter's VM folder, "ml/vision"
    pool: str = ""  # MoID of the resource pool
    memory_used_bytes: int = 0  # consumed host memory
    memory_reservation_bytes: int = 0
    cpus: int = 1
    cpu_used_mhz: int = 0
    guest_address: str = ""
    datastores: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    disabled_methods: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)  # custom attributes by name
    devices: tuple[Device, ...] = ()
    cpu_affinity: bool = False
    fault_tolerance: bool = False
    question: str = ""  # text of a pending question
    managed_by: str = ""  # extension key of infrastructure VMs (vCLS, ...)
    moving_task: str | None = None  # MoID of a running relocation/migration task
    busy: str = ""  # descriptionId of another running task that locks the VM


@dataclass(frozen=True, slots=True)
class AntiAffinityRule:
    """VMs that must not share a host (``ClusterAntiAffinityRuleSpec``); enabled rules only."""

    name: str
    vms: frozenset[str]


@dataclass(frozen=True, slots=True)
class VmHostRule:
    """Mandatory VM-host rule: ``vms`` may run only on ``hosts`` (affine) or never on them."""

    name: str
    vms: frozenset[str]
    hosts: frozenset[str]
    affine: bool


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything the planner may know, read in a constant number of calls. Keys are MoIDs."""

    vcenter: VcenterInfo
    hosts: Mapping[str, HostState]
    vms: Mapping[str, VmState]
    datastores: Mapping[str, Datastore] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    anti_affinity: tuple[AntiAffinityRule, ...] = ()
    vm_host_rules: tuple[VmHostRule, ...] = ()

    @property
    def host_names(self) -> dict[str, str]:
        """Names of all hosts by MoID."""
        return {host.moid: host.name for host in self.hosts.values()}


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


@dataclass(frozen=True, slots=True)
class Fault:
    """A vSphere fault: class name (``NoPermission``) and the server's message."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """News of a watched task. ``state``: queued, running, success, error, or ``gone`` when vCenter forgot it."""

    task: str
    state: str
    percent: int | None = None
    cancelled: bool = False
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class PlacementUpdate:
    """News of a watched VM: where it runs now. ``host`` is ``None`` when the VM is gone."""

    vm: str
    host: str | None
    power: Power | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can prove, stated by itself.

    ``identity``: ``process`` (the answering process is recognised) or ``run`` (only the run's own record is).
    ``signal``: what a stall is read from, ``answers`` (the server freezes with the VM) or ``changes`` (of step and
    progress, on a server that goes on answering). ``freshness``: seconds by which an answer may be out of date.
    """

    identity: str
    signal: str
    freshness: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One training job in a guest, as a provider found it.

    ``process`` identifies the server process, ``id`` the job; both stay the same for as long as
    the experiment was not restarted. ``url`` carries no credentials.
    """

    vm: str
    vm_name: str
    provider: str
    id: str
    process: str
    url: str
    description: str = ""
    progress: float | None = None
    clock_progress: bool = False  # progress follows the wall clock (a time limit is set): no proof of work
    owner: str = ""
    cluster: str = ""  # name of the cluster whose node in this VM is watched; empty for a single server
    nodes: tuple[str, ...] = ()  # addresses of the cluster's nodes as one of them tells, ``10.1.4.7:54321``
    metric: str = ""  # the metric whose steps are watched, where there are several
    source: str = ""  # which of the operator's sources found it; no other is to ask it, as credentials go with it
    capabilities: Capabilities = Capabilities("process", "answers")
    recoverable: str = "unknown"  # yes, no or unknown: whether a checkpoint would limit the loss
    recovery: str = ""  # by what it could be recovered, or why not
    reproducible: str = "unknown"  # yes, no or unknown: whether the same seed and data would give the same model
    reproducibility: str = ""  # under which conditions, or why not
    processors: int = 0  # of the VM, where that answers beside its training; 0 where others answer


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to an experiment server. Times are the controller's ``time.monotonic()``.

    ``outcome``: ``answered`` (job seen), ``job_missing`` (server answered, job unknown), ``refused``
    (connection refused or reset), ``silent`` (no answer within the request timeout), ``invalid``
    (something else answered). ``received`` is the time of the full answer or of the error.
    """

    sent: float
    received: float
    outcome: str
    process: str | None = None
    status: str | None = None  # RUNNING, DONE, FAILED, CANCELLED, CANCEL_PENDING
    progress: float | None = None
    detail: str = ""  # progress message or error text, at most 200 characters
    step: float | None = None  # training steps done, where the provider counts them
    late: float = 0.0  # seconds of the time between that the watching process itself stood still
    asked: float | None = None  # when what is told of the job was asked for, where that was before ``sent``

    @property
    def news_from(self) -> float:
        """What is told of the job was asked for then, so it was so at that time or later."""
        return self.sent if self.asked is None else self.asked

    @property
    def waited(self) -> float:
        """Seconds for which the question waited for its answer, at least."""
        return self.received - self.sent - self.late


@dataclass(frozen=True, slots=True)
class Final:
    """How an experiment ended, as its provider tells: what came out of it.

    ``status`` as in ``Sample``, empty when the provider knows none. ``score`` is the value of ``metric``; ``artifacts``
    are names of models and files.
    """

    status: str
    metric: str = ""
    score: float | None = None
    artifacts: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stall:
    """Longest time without answer and progress: estimate and the interval that holds the truth, in seconds.

    ``at`` is the monotonic time of the last answer before it, ``None`` when nothing stood out.
    """

    seconds: float
    low: float
    high: float
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with its three claims, each ``proven``, ``refuted`` or ``unknown``, and the figures behind it.

    ``resolution`` is the widest quiet gap of normal polling: a shorter stall cannot be told from it.
    """

    experiment: Experiment
    verdict: Verdict
    identity: str
    progress: str
    stall: str
    longest_stall: Stall | None
    resolution: float | None
    progress_before: float | None
    progress_after: float | None
    samples: int = 0
    unwatched_seconds: float = 0.0
    detail: str = ""
    members: tuple[Judgement, ...] = ()  # of a cluster's experiment: what each of its nodes is judged


@dataclass(frozen=True, slots=True)
class Home:
    """Where a VM lived before evacuation, and where the evacuation puts it.

    ``start`` is the MoID of the host where the move to ``target`` starts, "" in homes that do not tell. It differs from
    ``host`` when the VM had been put there by an earlier evacuation.
    """

    vm: str
    host: str
    host_name: str
    target: str
    target_name: str
    run_id: str
    recorded_at: str  # UTC, ISO 8601
    start: str = ""
    vm_name: str = field(default="", compare=False)  # as a journal knows it, for a VM that is gone

    @property
    def places(self) -> tuple[str, ...]:
        """MoIDs of the hosts where the VM is when nobody but an evacuation moved it away from home."""
        return (self.target, self.start) if self.start else (self.target,)
