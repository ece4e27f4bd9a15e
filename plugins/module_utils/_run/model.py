# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run is asked to do, under which rules, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from .._experiments.model import Judgement
from .._plan.model import Move, Plan, SlotLimits
from .._vsphere.estate import HostState, VcenterInfo
from .._vsphere.guest import GuestLogin
from .._vsphere.news import Fault

LEFT = ("stayed", "never_left", "may_move", "unknown")


class Purpose(StrEnum):
    """Why a run is carried out."""

    EVACUATE = "evacuate"
    RESTORE = "restore"
    MIGRATE = "migrate"
    WITNESS = "witness"  # somebody else moves the VMs


class MoveResult(StrEnum):
    """How a move ended, decided by the observed ``runtime.host``."""

    MOVED = "moved"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    GONE = "gone"  # the VM was deleted
    NOT_STARTED = "not_started"  # the run stopped before this move


@dataclass(frozen=True, slots=True)
class Rules:
    """How a plan is carried out. With ``stop_on_failure`` false the run continues after every failure.

    With ``stop_on_verdict`` false, only failed moves count as failures that stop or roll back the run. With ``roll_back``, a
    run that stopped brings its VMs back. ``leaving`` is the MoID of the host that VMs have to leave: if anybody moves one of
    them away, its move is done. ``followed`` are VMs (MoIDs) that DRS moves. ``unheard`` are VMs (MoIDs) that a submission of a
    killed process may still move, although no task shows it.
    """

    slots: SlotLimits = field(default_factory=SlotLimits)
    priority: str = "highPriority"
    max_failures: int = 1
    stop_on_failure: bool = True
    stop_on_verdict: bool = True
    roll_back: bool = False
    retries: int = 2
    retry_delay: float = 2.0
    timeout_per_gib: float | None = None
    timeout_floor: float = 300.0
    cancel_grace: float = 60.0
    leaving: str | None = None
    followed: frozenset[str] = frozenset()
    unheard: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """A move that is over: its result, the host observed (MoID and name), and the fault that ended it.

    ``by`` is who moved the VM, if it was not this run: DRS, or a user.
    """

    move: Move
    result: MoveResult
    host: str | None
    host_name: str
    fault: Fault | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run achieved. ``stopped`` is the failure after which no further move started, "" without one.

    All moves may have started by then.
    """

    ended: tuple[Ended, ...]
    judgements: tuple[Judgement, ...]
    stopped: str = ""
    interrupted: bool = False

    @property
    def moved(self) -> tuple[Ended, ...]:
        """Moves whose VM was observed on its target."""
        return tuple(e for e in self.ended if e.result is MoveResult.MOVED)

    @property
    def left_behind(self) -> tuple[Ended, ...]:
        """Moves whose VM did not reach its target."""
        return tuple(e for e in self.ended if e.result not in (MoveResult.MOVED, MoveResult.GONE))


@dataclass(frozen=True, slots=True)
class Account:
    """Where a VM of a rolled-back run is, as observed; ``host`` is a name, "" if the VM no longer exists.

    ``outcome``: back, stayed (where the run put it), never_left, may_move (a task of the run may still move it), elsewhere (where
    this run did not put it), gone, or unknown.
    """

    vm: str
    vm_name: str
    host: str
    outcome: str
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The account for an operator."""
        why = f" ({self.reason})" if self.reason else ""
        return {
            "back": f"{self.vm_name} is back on {self.host}",
            "stayed": f"{self.vm_name} stayed on {self.host}{why}",
            "never_left": f"{self.vm_name} was left on {self.host}{why}",
            "elsewhere": f"{self.vm_name} is on {self.host}, where this run did not put it",
            "may_move": f"{self.vm_name} is on {self.host} and may still move{why}",
            "gone": f"{self.vm_name} is no longer in vCenter",
            "unknown": f"it is not known on which host {self.vm_name} is{why}",
        }[self.outcome]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback achieved: the moves back, and where each VM of the run is."""

    outcome: Outcome
    accounts: tuple[Account, ...]


def run_key(vcenter_uuid: str, host: str | None, vms: tuple[str, ...] = ()) -> str:
    """What a run works for: a host of a vCenter, or else a set of VMs."""
    what = host or "+".join(sorted(vms))
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{vcenter_uuid}.{what}")[:200]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The plan to carry out, its rules, and the folder of its journal. ``fence``: whether to fence the host."""

    plan: Plan
    purpose: Purpose
    host: HostState | None
    state: Path
    rules: Rules
    record_homes: bool = False
    fence: bool = False
    require_checkpoint: str = "never"
    guest: GuestLogin | None = None
    stall_budget: float = 5.0
    lock_timeout: float = 600.0

    @property
    def key(self) -> str:
        """What the run works for; one process at a time works for it."""
        vms = tuple(move.vm for move in self.plan.moves)
        return run_key(self.plan.vcenter.instance_uuid, self.host.moid if self.host else None, vms)

    @property
    def subject(self) -> str:
        """The run's subject as a person names it."""
        return self.host.name if self.host else ",".join(move.vm_name for move in self.plan.moves)


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """What to witness for at most ``seconds``: moves of ``vms`` (MoIDs) by somebody else, and the maintenance of ``hosts``.

    With ``until_returned``, the window ends when each of the ``hosts`` (MoIDs) has been in maintenance mode and came back.
    """

    vcenter: VcenterInfo
    subject: str  # as a person names it
    vms: tuple[str, ...]
    hosts: tuple[str, ...]
    seconds: float
    state: Path
    host: HostState | None = None  # the host that is witnessed, unless it is a cluster or VMs
    until_returned: bool = False
    guest: GuestLogin | None = None
    stall_budget: float = 5.0

    @property
    def key(self) -> str:
        """What the run works for. Runs that move VMs have other keys."""
        return run_key(self.vcenter.instance_uuid, f"{Purpose.WITNESS}-{self.subject}")


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """What was witnessed. ``cut`` is why the window ended early, "" if it did not; ``noticed`` is what was not watched."""

    run_id: str
    folder: Path
    seconds: float
    ended: tuple[Ended, ...]
    judgements: tuple[Judgement, ...]
    unobserved: Mapping[str, str] = field(default_factory=dict)
    noticed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cut: str = ""
    waited_for: tuple[str, ...] = ()  # names of hosts that did not come back from maintenance mode in the window
    restarts: tuple[str, ...] = ()  # a sentence for each VM that was restarted in the window
    partly_searched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run went; ``failures`` are sentences, empty on success; ``rolled_back`` is set after a rollback."""

    run_id: str
    folder: Path | None
    outcome: Outcome
    failures: tuple[str, ...] = ()
    resumed: bool = False
    unobserved: Mapping[str, str] = field(default_factory=dict)
    rolled_back: RolledBack | None = None
    fenced: bool = False  # the host is fenced by this run, or may be
    fence_lifted: bool = False  # the run lifted a fence that it had set
    fence_unknown: bool = False  # vCenter does not show whether the host is fenced
    returned: tuple[str, ...] = ()  # names of the VMs that are on the evacuated host again
    restarted: tuple[str, ...] = ()  # names of the VMs that were powered on again during the run
    homes_in_journal: tuple[str, ...] = ()  # names of the VMs whose homes the journal alone has
    # names of the VMs that were placed or powered on on the host before it was fenced; None if that could not be read
    arrived: tuple[str, ...] | None = ()
    partly_searched: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Names of the VMs that did not move, or that were moved back by somebody else."""
        if self.rolled_back is None:
            return (*(ended.move.vm_name for ended in self.outcome.left_behind), *self.returned)
        return tuple(a.vm_name for a in self.rolled_back.accounts if a.outcome in LEFT)
