# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps others from a run's VMs: pins exclude VMs from DRS, and the fence keeps VMs away from the host.

A fence makes DRS empty the host. So VMs are pinned first, or the host is fenced after they have left. What the run changes is in
the journal before it is changed, so that a resumed run can take it back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from .._core.errors import CallFailed, ConnectError, LoginRefused, NotFound, StateUnwritable, VsphereError
from .._plan.model import DrsHandling, Plan
from .._vsphere.estate import HostState, Maintenance
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


class Fence:
    """The fence of a host (MoID). ``own``: this run has set it, and did not lift it; ``lifted``: it has lifted it.

    ``unknown``: vCenter does not show whether the host is fenced; if ``own``, the fence would be the run's.
    """

    def __init__(self, vcenter: Vcenter, journal: Recorder, host: Ref, *, own: bool, unknown: bool = False) -> None:
        self._vcenter = vcenter
        self._journal = journal
        self._host = host
        self.own = own
        self.unknown = unknown
        self.lifted = False

    def set(self) -> None:
        """Fence the host, unless it is fenced already or the user may not do it. Raises CallFailed or ConnectError."""
        host = self._seen()
        if host.maintenance is not Maintenance.NORMAL:
            self._found(f"{host.name} is {STATES[host.maintenance]}")
            return
        if self._vcenter.misses_privilege(host.moid, MAINTENANCE):
            self.own = False
            self._found(not_permitted(host))
            return
        earlier = self.own
        self._journal.write(FenceSetting(host.name))
        self.own = self.unknown = True
        seen = self._enter(host, earlier)
        if seen is None:
            self._found(not_seen(host), unknown=True)
        else:
            self._found(f"{host.name} is {seen}")

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

    def _found(self, detail: str, *, unknown: bool = False) -> None:
        self.unknown = unknown
        self._journal.write(FenceFound(detail, own=self.own, unknown=unknown))

    def _seen(self) -> HostState:
        """The host as it is now. Raises NotFound if vCenter does not show it any more."""
        host = self._vcenter.estate_of_hosts().hosts.get(self._host.moid)
        if host is None:
            raise NotFound(
                f"vCenter does not show {self._host.name} any more",
                hint="Check in vCenter whether the host was removed, and whether the user may still see it",
            )
        return host

    def _enter(self, host: HostState, earlier: bool, *, again: bool = False) -> str | None:
        """Enter maintenance mode. Returns how the host is then, or ``None`` if that is unknown.

        If the answer is lost or the state is wrong, the host shows what happened. A restart of vCenter hides it, so that a host
        that shows nothing after a lost answer is asked once more (``again``). ``earlier``: the run may have fenced the host
        before. Raises CallFailed, PermissionMissing or ConnectError.
        """
        try:
            self._vcenter.enter_maintenance(host.moid)
        except VsphereError as error:
            lost = isinstance(error, ConnectError) and not isinstance(error, LoginRefused)
            if not (lost or (isinstance(error, CallFailed) and is_wrong_state(error.fault))):
                self.own, self.unknown = earlier, again
                raise
            now = self._seen().maintenance
            self.own = earlier or lost
            if now is not Maintenance.NORMAL or not lost:
                return None if now is Maintenance.NORMAL else STATES[now]
            if again:
                raise
        else:
            return STATES[Maintenance.ENTERING]
        return self._enter(host, True, again=True)

    def look_again(self) -> None:
        """Note how the host is if that was unknown and can be seen now. An empty host needs a moment to enter maintenance mode."""
        for pause in LOOKS if self.unknown else ():
            time.sleep(pause)
            try:
                host = self._seen()
            except VsphereError:
                return  # it stays unknown
            if host.maintenance is not Maintenance.NORMAL:
                self._found(f"{host.name} is {STATES[host.maintenance]}")
                return

    def lift(self) -> str:
        """Lift the run's own fence, so that the host accepts VMs. Returns what went wrong, or ""."""
        if not self.own:
            return ""
        try:
            host = self._seen()
        except VsphereError as error:
            return self._unseen(error)
        self._journal.write(FenceLifting(host.name))
        self.unknown = host.maintenance is Maintenance.NORMAL
        try:
            self._vcenter.end_maintenance(host, FENCE_SECONDS)
        except VsphereError as error:
            if self.unknown or not self._is_lifted(error):
                return self._kept(host, error)
        self._journal.write(FenceLifted(host.name))
        self.own = self.unknown = False
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

    def _is_lifted(self, error: VsphereError) -> bool:
        """Whether the host is in service although vCenter no longer knows the task that was to bring it there."""
        if not isinstance(error, NotFound):
            return False
        try:
            return self._seen().maintenance is Maintenance.NORMAL
        except VsphereError:
            return False


class Guard:
    """Pins and fence of one run, in the order that keeps DRS from moving VMs unwatched.

    ``host`` is the host to fence, ``None`` to fence none; for ``own`` and ``unknown`` see ``Fence``.
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
    ) -> None:
        self._pins = Pins(vcenter, journal, pins)
        self.fence = None if host is None else Fence(vcenter, journal, host, own=own, unknown=unknown)

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

    def release(self, *, failed: bool) -> tuple[str, ...]:
        """Take back the pins; before that lift the own fence of a failed run, because it makes DRS empty the host.

        Returns what went wrong, one sentence each.
        """
        problem = ""
        if self.fence is not None and failed:
            problem = self.fence.lift()
        elif self.fence is not None:
            self.fence.look_again()
        return tuple(filter(None, (problem, *self._pins.take_back())))

    @property
    def fenced(self) -> bool:
        """Whether the host is fenced by this run, or may be: see ``fence_unknown``."""
        return self.fence is not None and self.fence.own

    @property
    def fence_unknown(self) -> bool:
        """Whether vCenter does not show if the host is fenced."""
        return self.fence is not None and self.fence.unknown

    @property
    def lifted(self) -> bool:
        """Whether this run lifted a fence that it had set."""
        return self.fence is not None and self.fence.lifted


def _fence_last(plan: Plan) -> bool:
    return any(decision.how is DrsHandling.FENCE_LAST for decision in plan.drs)
