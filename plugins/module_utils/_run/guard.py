# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps others from a run's VMs: pins exclude VMs from DRS, and the fence keeps VMs away from the host.

A fence makes DRS empty the host. So VMs are pinned first, or the host is fenced after they have left. What the run changes is in
the journal before it is changed, so that a resumed run can take it back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .._core.errors import CallFailed, ConnectError, LoginRefused, NotFound, StateUnwritable, VsphereError
from .._plan.model import DrsHandling, Plan
from .._vsphere.estate import FenceTask, HostState, Maintenance
from .._vsphere.faults import is_wrong_state
from .events import (
    FenceFound,
    FenceKept,
    FenceLifted,
    FenceLifting,
    FenceSetting,
    Pin,
    Ref,
)
from .pins import Pins
from .ports import Recorder, Vcenter

MAINTENANCE = "Host.Config.Maintenance"  # the privilege to fence a host
FENCE_SECONDS = 300.0  # for the end of maintenance mode
# Seconds before each look at a host of which nothing shows whether it is fenced.
LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
NOW = (0.0,)
NOTHING_TO_CANCEL = "vCenter shows neither maintenance mode nor a task that enters it, so there is nothing to end"
STATES = {Maintenance.ENTERING: "fenced", Maintenance.IN: "in maintenance mode", Maintenance.NORMAL: "in service"}


def not_seen(host: HostState) -> str:
    """What is known of a host that vCenter did not fence because of its state, and that shows no reason for this.

    A restart of vCenter discards the task that enters maintenance mode, and the host continues to enter it.
    """
    return (
        f"whether {host.name} is fenced is unknown: vCenter answered InvalidState when it was to fence it, and shows neither "
        "maintenance mode nor a task that enters it, as after a restart of vCenter"
    )


def not_permitted(host: HostState) -> str:
    """The sentence for the evidence if the privilege for maintenance mode is missing."""
    return f"not fenced: the user may not change the maintenance mode of {host.name} ({MAINTENANCE})"


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A host as it was just read: whether its fence is the run's own, or would be if it is ``unknown`` whether there is one."""

    host: HostState
    own: bool
    unknown: bool = False
    running: bool = False  # the run's task is, though the host does not show it
    why: str = ""  # the fault that ended the run's task

    @property
    def is_fenced(self) -> bool:
        """Whether no VM can be placed on the host."""
        return self.running or self.host.maintenance is not Maintenance.NORMAL

    @property
    def sentence(self) -> str:
        """What is known of the host."""
        if self.unknown:
            return (
                f"whether {self.host.name} is fenced is unknown: vCenter shows neither maintenance mode nor a task that enters it, "
                "as after a restart of vCenter"
            )
        return f"{self.host.name} is {STATES[Maintenance.ENTERING if self.running else self.host.maintenance]}"


class Fence:
    """The fence of a host. ``own``: this run has set it, and did not lift it; ``lifted``: it has lifted it.

    ``unknown``: vCenter does not show whether the host is fenced; if ``own``, the fence would be the run's. ``task`` is the MoID
    of the task that a killed process has set it with, "" if that is not known. ``claimed``: the journal says that the host is fenced.
    """

    def __init__(
        self, vcenter: Vcenter, journal: Recorder, host: Ref, *, own: bool, unknown: bool = False, task: str = ""
    ) -> None:
        self._vcenter = vcenter
        self._journal = journal
        self._host = host
        self._task = task
        self._entered = False  # this process has seen the host in maintenance mode by the run's own fence
        self._said = ""  # what the journal says of the host
        self.claimed = False
        self.own = own
        self.unknown = unknown
        self.lifted = False

    def set(self) -> None:
        """Fence the host, unless it is fenced already or the user may not do it. Raises CallFailed, NotFound or ConnectError."""
        sight = self._look()
        host = sight.host
        if sight.is_fenced:
            self._say(sight)
            return
        self.own = sight.own
        if self._vcenter.misses_privilege(host.moid, MAINTENANCE):
            self.own = False
            self._found(not_permitted(host))
            return
        earlier = self.own
        self._journal.write(FenceSetting(host.name))
        self.own = self.unknown = True
        self._enter(host, earlier)

    def set_after_moves(self) -> str:
        """The same after the moves of the run. Returns what went wrong, or ""."""
        try:
            self.set()
        except (LoginRefused, StateUnwritable):
            raise
        except VsphereError as error:
            detail = f"{self._host.name} could not be fenced after its VMs had left: {error.message}"
            self._found(detail, unknown=self.unknown)
            return detail
        return ""

    def _say(self, sight: HostSeen) -> None:
        """Record how the host is."""
        self.own = sight.own
        self._found(sight.sentence, unknown=sight.unknown, claimed=sight.is_fenced and not sight.unknown)

    def _found(self, detail: str, *, unknown: bool = False, claimed: bool = False) -> None:
        self._said, self.unknown, self.claimed = detail, unknown, claimed
        self._journal.write(FenceFound(detail, own=self.own, unknown=unknown, task=self._task if self.own else ""))

    def _seen(self) -> HostState:
        """The host as it is now. Raises NotFound if vCenter does not show it any more."""
        host = self._vcenter.estate_of_hosts().hosts.get(self._host.moid)
        if host is None:
            raise NotFound(
                f"vCenter does not show {self._host.name} any more",
                hint="Check in vCenter whether the host was removed, and whether the user may still see it",
            )
        return host

    def _look(self) -> HostSeen:
        """Read the host, and how the run's own task ended, if it has. Raises what reading raises.

        The fence is the run's own while its task runs, and as long as the host is in maintenance mode by that task. A host in
        service may be fenced only if nothing shows how its task ended: vCenter discards tasks when it is restarted.
        """
        host = self._seen()
        if not (self.own or self.unknown):
            return HostSeen(host, own=False)
        task, why = self._vcenter.fence_task(host.moid, self._task) if self._task else (FenceTask.HIDDEN, "")
        hidden = task is FenceTask.HIDDEN
        if task is FenceTask.ENTERED and host.maintenance is Maintenance.NORMAL:
            host = self._seen()  # it was read before its task ended, or somebody has ended the fence since
        if host.maintenance is Maintenance.ENTERING:
            ours = task is FenceTask.RUNNING or host.maintenance_task == self._task
            return HostSeen(host, own=self.own and (ours or not self._task))
        if host.maintenance is Maintenance.IN:
            known = task in (FenceTask.RUNNING, FenceTask.ENTERED) or (hidden and (self._entered or not self._task))
            self._entered = self.own and known
            return HostSeen(host, own=self._entered)
        if task is FenceTask.RUNNING:
            return HostSeen(host, own=True, running=True)
        if hidden and not self._entered:
            return HostSeen(host, own=self.own, unknown=True)
        return HostSeen(host, own=False, why=why)

    def _enter(self, host: HostState, earlier: bool, *, again: bool = False) -> None:
        """Enter maintenance mode, and record how the host is then.

        If the answer is lost or the state is wrong, the host shows what happened. A restart of vCenter hides it, so that a host
        that shows nothing after a lost answer is asked once more (``again``). ``earlier``: the run may have fenced the host
        before. Raises CallFailed, PermissionMissing or ConnectError.
        """
        try:
            self._task = self._vcenter.enter_maintenance(host.moid)
        except VsphereError as error:
            lost = isinstance(error, ConnectError) and not isinstance(error, LoginRefused)
            if not (lost or (isinstance(error, CallFailed) and is_wrong_state(error.fault))):
                self.own = earlier
                self._found(f"{host.name} could not be fenced: {error.message}", unknown=again)
                raise
            now = self._seen()
            self.own = earlier or lost
            if now.maintenance is not Maintenance.NORMAL:
                self._task = now.maintenance_task or "" if lost else self._task
                self._say(HostSeen(now, own=self.own))
            elif not lost:
                self._found(not_seen(host), unknown=True)
            elif again:
                raise
            else:
                self._enter(host, True, again=True)
            return
        sight = self._look()
        if not sight.own:
            self.own = False
            what = f"{host.name} could not be fenced: its maintenance mode ended at once{_because(sight.why)}"
            self._found(what)
            raise CallFailed(what, fault=sight.why or "Unfenced", hint="See the tasks of the host in vCenter")
        self._say(sight)

    def look_again(self, pauses: Sequence[float] | None = None) -> None:
        """Note how the host is if that is not what the journal says. An empty host needs a moment to enter maintenance mode.

        ``pauses`` are the seconds before each look if it is unknown whether the host is fenced; without it, ``LOOKS``.
        """
        if not (self.own or self.unknown or self.claimed):
            return
        for pause in (LOOKS if pauses is None else pauses) if self.unknown else NOW:
            time.sleep(pause)
            try:
                sight = self._look()
            except LoginRefused:
                raise
            except VsphereError as error:
                self._unseen(error)
                return
            if not sight.unknown:
                break
        same = (sight.own, sight.unknown, sight.is_fenced) == (self.own, self.unknown, self.claimed)
        if same and (sight.unknown or sight.sentence == self._said):
            return
        if sight.is_fenced or sight.unknown:
            self._say(sight)
            return
        self.own = False
        whose = "the fence of this run" if self._task else "its maintenance mode"
        self._found(f"{sight.host.name} is in service: {whose} ended, and the run did not end it{_because(sight.why)}")

    def lift(self) -> str:
        """Lift the run's own fence, so that the host accepts VMs. Returns what went wrong, or ""."""
        if not self.own:
            return ""
        try:
            sight = self._look()
        except VsphereError as error:
            return self._unseen(error)
        if not sight.own:
            self.look_again()
            return ""
        self._journal.write(FenceLifting(sight.host.name))
        self.unknown = sight.unknown
        try:
            self._vcenter.end_maintenance(_with_task(sight, self._task), FENCE_SECONDS)
        except VsphereError as error:
            if not self._is_lifted():
                return self._kept(sight.host, error)
        self._journal.write(FenceLifted(sight.host.name))
        self.own = self.unknown = self.claimed = False
        self.lifted = True
        return ""

    def _unseen(self, error: VsphereError) -> str:
        """Record that it is unknown whether the host is fenced, and return it as a sentence."""
        detail = f"whether {self._host.name} is fenced is unknown: {error.message}"
        self._found(detail, unknown=True)
        return detail

    def _kept(self, host: HostState, error: VsphereError) -> str:
        detail = f"{NOTHING_TO_CANCEL} ({error.message})" if self.unknown else error.message
        self._journal.write(FenceKept(host.name, detail, unknown=self.unknown))
        if self.unknown:
            return f"whether {host.name} is fenced is unknown: {detail}"
        return f"the fence of {host.name} could not be lifted: {detail}"

    def _is_lifted(self) -> bool:
        """Whether the host is seen in service, and the run's task has ended, although the call or task that was to do it failed."""
        try:
            sight = self._look()
        except VsphereError:
            self.unknown = True
            return False
        self.unknown = sight.unknown
        return not sight.unknown and not sight.is_fenced


def _because(why: str) -> str:
    return f" ({why})" if why else ""


def _with_task(sight: HostSeen, task: str) -> HostState:
    """The host with the run's task if only that shows the fence."""
    return replace(sight.host, maintenance_task=task) if sight.running else sight.host


class Guard:
    """Pins and fence of one run, in the order that keeps DRS from moving VMs unwatched.

    ``host`` is the host to fence, ``None`` to fence none; for ``own``, ``unknown`` and ``task`` see ``Fence``.
    """

    def __init__(
        self,
        vcenter: Vcenter,
        journal: Recorder,
        *,
        host: Ref | None,
        own: bool,
        pins: Mapping[str, Pin],
        unknown: bool = False,
        task: str = "",
    ) -> None:
        self._pins = Pins(vcenter, journal, pins)
        self.fence = None if host is None else Fence(vcenter, journal, host, own=own, unknown=unknown, task=task)

    def before(self, plan: Plan) -> None:
        """Pin VMs; then fence the host, unless VMs have to leave it first. Raises what ``Pins.set`` and ``Fence.set`` raise."""
        self._pins.set(plan)
        if self.fence is not None and not _fence_last(plan):
            self.fence.set()

    def after(self, plan: Plan) -> str:
        """Fence the host if VMs had to leave it first. Returns what went wrong, or "": the VMs have moved nevertheless."""
        if self.fence is None or not _fence_last(plan):
            return ""
        return self.fence.set_after_moves()

    def fences_last(self, plan: Plan) -> bool:
        """Whether ``after`` fences the host."""
        return self.fence is not None and _fence_last(plan)

    def release(self, *, failed: bool) -> tuple[str, ...]:
        """Take back the pins; before that lift the own fence of a failed run, because it makes DRS empty the host.

        Returns what went wrong, one sentence each.
        """
        problem = ""
        if self.fence is not None and failed and self.fence.own:
            problem = self.fence.lift()
        elif self.fence is not None:
            self.fence.look_again()
        return tuple(filter(None, (problem, *self._pins.take_back())))

    def look(self) -> None:
        """Note how the host of an interrupted run is now."""
        if self.fence is not None:
            self.fence.look_again(NOW)

    @property
    def fenced(self) -> bool:
        """Whether the host is fenced by this run, or may be: see ``fence_unknown``."""
        return self.fence is not None and self.fence.own

    @property
    def fence_unknown(self) -> bool:
        """Whether vCenter does not show if the host is fenced."""
        return self.fence is not None and self.fence.unknown

    @property
    def keeps_vms_away(self) -> bool:
        """Whether the host was last seen fenced, by whomever."""
        return self.fence is not None and self.fence.claimed

    @property
    def lifted(self) -> bool:
        """Whether this run lifted a fence that it had set."""
        return self.fence is not None and self.fence.lifted


def _fence_last(plan: Plan) -> bool:
    return any(decision.how is DrsHandling.FENCE_LAST for decision in plan.drs)
