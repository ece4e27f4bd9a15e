# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps others from a run's VMs: pins exclude VMs from DRS, and the fence keeps VMs away from the host.

A fence makes DRS empty the host. So VMs are pinned first, or the host is fenced after they have left. What the run changes is in
the journal before it is changed, so that a resumed run can take it back.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._core.errors import CallFailed, ConnectError, LoginRefused, NotFound, VsphereError
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
)
from .pins import Pins
from .ports import Recorder, Vcenter

MAINTENANCE = "Host.Config.Maintenance"  # the privilege to fence a host
FENCE_SECONDS = 300.0  # for the end of maintenance mode
STATES = {Maintenance.ENTERING: "fenced", Maintenance.IN: "in maintenance mode", Maintenance.NORMAL: "in service"}


def not_permitted(host: HostState) -> str:
    """The sentence for the evidence if the privilege for maintenance mode is missing."""
    return f"not fenced: the user may not change the maintenance mode of {host.name} ({MAINTENANCE})"


class Fence:
    """The fence of a host (MoID). ``own``: this run has set it, and did not lift it; ``lifted``: it has lifted it."""

    def __init__(self, vcenter: Vcenter, journal: Recorder, host: str, *, own: bool) -> None:
        self._vcenter = vcenter
        self._journal = journal
        self._host = host
        self.own = own
        self.lifted = False

    def set(self) -> None:
        """Fence the host, unless it is fenced already or the user may not do it. Raises CallFailed or ConnectError."""
        host = self._vcenter.estate_of_hosts().hosts[self._host]
        if host.maintenance is not Maintenance.NORMAL:
            self._journal.write(FenceFound(f"{host.name} is {STATES[host.maintenance]}", own=self.own))
            return
        if self._vcenter.misses_privilege(host.moid, MAINTENANCE):
            self._journal.write(FenceFound(not_permitted(host), own=False))
            return
        self._journal.write(FenceSetting(host.name))
        self.own = True
        self._enter(host)
        self._journal.write(FenceFound(f"{host.name} is fenced", own=True))

    def _enter(self, host: HostState) -> None:
        """Enter maintenance mode. If the answer is lost or the state is wrong, the host shows what happened."""
        try:
            self._vcenter.enter_maintenance(host.moid)
        except LoginRefused:
            raise
        except (ConnectError, CallFailed) as error:
            wrong = isinstance(error, CallFailed) and not is_wrong_state(error.fault)
            if wrong or self._vcenter.estate_of_hosts().hosts[host.moid].maintenance is Maintenance.NORMAL:
                self.own = False
                raise

    def lift(self) -> str:
        """Lift the run's own fence, so that the host accepts VMs. Returns what went wrong, or ""."""
        host = self._vcenter.estate_of_hosts().hosts.get(self._host) if self.own else None
        if host is None or host.maintenance is Maintenance.NORMAL:
            return ""
        self._journal.write(FenceLifting(host.name))
        try:
            self._vcenter.end_maintenance(host, FENCE_SECONDS)
        except VsphereError as error:
            if not self._is_lifted(error):
                self._journal.write(FenceKept(host.name, error.message))
                return f"the fence of {host.name} could not be lifted: {error.message}"
        self._journal.write(FenceLifted(host.name))
        self.own, self.lifted = False, True
        return ""

    def _is_lifted(self, error: VsphereError) -> bool:
        """Whether the host is in service although vCenter no longer knows the task that was to bring it there."""
        if not isinstance(error, NotFound):
            return False
        try:
            now = self._vcenter.estate_of_hosts().hosts.get(self._host)
        except VsphereError:
            return False
        return now is not None and now.maintenance is Maintenance.NORMAL


class Guard:
    """Pins and fence of one run, in the order that keeps DRS from moving VMs unwatched.

    ``host`` is the MoID of the host to fence, ``None`` to fence none.
    """

    def __init__(
        self, vcenter: Vcenter, journal: Recorder, *, host: str | None, own: bool, pins: Mapping[str, Pin]
    ) -> None:
        self._pins = Pins(vcenter, journal, pins)
        self.fence = None if host is None else Fence(vcenter, journal, host, own=own)

    def before(self, plan: Plan) -> None:
        """Pin VMs; then fence the host, unless VMs have to leave it first. Raises what ``Pins.set`` and ``Fence.set`` raise."""
        self._pins.set(plan)
        if self.fence is not None and not _fence_last(plan):
            self.fence.set()

    def after(self, plan: Plan) -> None:
        """Fence the host if VMs had to leave it first."""
        if self.fence is not None and _fence_last(plan):
            self.fence.set()

    def release(self, *, failed: bool) -> tuple[str, ...]:
        """Take back the pins; before that lift the own fence of a failed run, because it makes DRS empty the host.

        Returns what went wrong, one sentence each.
        """
        problem = self.fence.lift() if failed and self.fence is not None else ""
        return tuple(filter(None, (problem, *self._pins.take_back())))

    @property
    def fenced(self) -> bool:
        """Whether the host is fenced by this run."""
        return self.fence is not None and self.fence.own

    @property
    def lifted(self) -> bool:
        """Whether this run lifted a fence that it had set."""
        return self.fence is not None and self.fence.lifted


def _fence_last(plan: Plan) -> bool:
    return any(decision.how is DrsHandling.FENCE_LAST for decision in plan.drs)
