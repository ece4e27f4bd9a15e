# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VMs that a run excludes from DRS, so that nobody but the run moves them.

A pin is in the journal before its override is changed. It is open until the earlier override, or one of somebody else, is read. A
call whose end was not seen may be carried out later, so what is read too early proves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import groupby
from typing import TypeVar

from .._core.errors import CallFailed, ConnectError, LoginRefused, NotFound, TaskTimeout, VsphereError
from .._plan.model import DrsHandling, Plan
from .._vsphere.estate import Automation, DrsOverride
from .._vsphere.faults import is_gone, is_transient
from .events import DrsKept, DrsLeft, DrsPinning, DrsRestored, Pin, Ref
from .ports import Recorder, Vcenter

T = TypeVar("T")
PAUSES = (1.0, 2.0, 4.0)  # in seconds, before a call that met a fault is repeated
REMEDY = "run the same playbook again, or change the override in vCenter"
SETTLE_SECONDS = 120.0  # for the end of a call whose end no process has seen
STILL_CHANGING = "vCenter still changes the cluster, and may yet exclude the VM from DRS"
UNHEARD = "the end of the call that excludes the VM from DRS was not seen, and vCenter may still carry it out"
STILL_EXCLUDED = "vCenter shows that the VM is still excluded from DRS"
_LEVELS = {Automation.FULL: "fully automated", Automation.PARTIAL: "partially automated"}


def again(call: Callable[[], T], *, repeats: Callable[[str], bool] = lambda _fault: True) -> T:
    """The answer of a call that is repeated after faults (class names), after each of ``PAUSES`` once. Raises the last fault.

    Also ``ManagedObjectNotFound`` may be due to one VM that was deleted, whose override is then not there when it is read again.
    """
    for pause in PAUSES:
        try:
            return call()
        except CallFailed as error:
            if not repeats(error.fault):
                raise
            time.sleep(pause)
    return call()


class Pins:
    """The VMs that a run excludes from DRS. ``known`` are pins of a killed process or an earlier run, by VM MoID."""

    def __init__(self, vcenter: Vcenter, journal: Recorder, known: Mapping[str, Pin]) -> None:
        self._vcenter = vcenter
        self._journal = journal
        self._pins = dict(known)
        self._known = frozenset(known)
        self._unheard: set[str] = set()  # VMs whose change by this process has an end that was not seen

    def set(self, plan: Plan) -> None:
        """Exclude from DRS what the plan says. Raises CallFailed, PermissionMissing, TaskTimeout or ConnectError."""
        names = {move.vm: move.vm_name for move in plan.moves}
        for decision in plan.drs:
            wanted = [vm for vm in decision.pinned if decision.how is DrsHandling.PIN and vm in names]
            if not wanted:
                continue
            present = self._vcenter.drs_overrides(decision.cluster)
            pins = [Pin.of(Ref(vm, names[vm]), decision.cluster, present.get(vm)) for vm in wanted]
            self._journal.write(DrsPinning(tuple(pins)))
            self._pins = {**{pin.vm.moid: pin for pin in pins}, **self._pins}
            changes = {pin.vm.moid: _pinned(self._pins[pin.vm.moid]) for pin in pins}
            again(partial(self._change, decision.cluster, changes), repeats=is_transient)

    def take_back(self) -> tuple[str, ...]:
        """Set the earlier overrides again. Returns what went wrong, one sentence each.

        A VM that somebody else has given back to DRS is left alone.
        """
        problems: list[str] = []
        by_cluster = sorted(self._pins.values(), key=lambda pin: (pin.cluster, pin.vm.moid))
        for cluster, group in groupby(by_cluster, key=lambda pin: pin.cluster):
            problems += self._take_back(cluster, list(group))
        return tuple(problems)

    def _take_back(self, cluster: str, pins: list[Pin]) -> Iterable[str]:
        """Set overrides of one cluster, and record of each VM what is read afterwards."""
        doubts: Mapping[str, str] = {}
        failed = ""
        present: Mapping[str, DrsOverride] | None = None
        try:
            doubts = again(lambda: self._doubts(cluster, pins))
            again(lambda: self._set_back(cluster, pins))
        except VsphereError as error:
            failed = error.message
        try:
            present = again(lambda: self._vcenter.drs_overrides(cluster))
        except VsphereError as error:
            failed = failed or error.message
            if isinstance(error, CallFailed) and is_gone(error.fault):
                present, doubts = {}, {}  # overrides end with their cluster
        why = {
            pin.vm.moid: doubts.get(pin.vm.moid) or failed or STILL_EXCLUDED
            for pin in pins
            if present is None
            or pin.vm.moid in doubts
            or pin.vm.moid in self._unheard
            or _is_excluded_by(pin, present.get(pin.vm.moid))
        }
        self._record_free([pin for pin in pins if pin.vm.moid not in why], present or {})
        for reason in dict.fromkeys(why.values()):
            vms = tuple(pin.vm for pin in pins if why.get(pin.vm.moid) == reason)
            self._journal.write(DrsKept(vms, reason))
            yield f"{', '.join(vm.name for vm in vms)}: the override of DRS could not be set back ({reason}); {REMEDY}"

    def _record_free(self, pins: list[Pin], present: Mapping[str, DrsOverride]) -> None:
        """Close the pins of VMs that are not excluded any more."""
        restored = [pin.vm for pin in pins if _are_alike(present.get(pin.vm.moid), pin.before)]
        left = [pin.vm for pin in pins if pin.vm not in restored]
        if restored:
            self._journal.write(DrsRestored(tuple(restored)))
        if left:
            detail = "; ".join(f"{vm.name}: {_words(present.get(vm.moid))}" for vm in left)
            self._journal.write(DrsLeft(tuple(left), detail))
        for pin in pins:
            del self._pins[pin.vm.moid]

    def _doubts(self, cluster: str, pins: list[Pin]) -> Mapping[str, str]:
        """The VMs that are not excluded from DRS, but may be yet by a call whose end was not seen; each with the reason."""

        def not_yet() -> list[str]:
            present = self._vcenter.drs_overrides(cluster)
            return [vm for vm in unseen if not _is_excluded(present.get(vm))]

        unseen = [pin.vm.moid for pin in pins if pin.vm.moid in self._known | self._unheard]
        if not unseen or not not_yet():
            return {}
        settled = self._vcenter.cluster_settled(cluster, SETTLE_SECONDS)
        return {vm: UNHEARD if settled else STILL_CHANGING for vm in not_yet() if vm in self._unheard or not settled}

    def _set_back(self, cluster: str, pins: list[Pin]) -> None:
        """Set the earlier overrides of VMs that are excluded. If the answer is lost, once more: a late first call does the same."""
        present = self._vcenter.drs_overrides(cluster)
        changes = {pin.vm.moid: pin.before for pin in pins if _is_excluded(present.get(pin.vm.moid))}
        try:
            self._change(cluster, changes)
        except LoginRefused:
            raise
        except ConnectError:
            self._change(cluster, changes)

    def _change(self, cluster: str, changes: Mapping[str, DrsOverride | None]) -> None:
        """Change overrides. If that fails or its end is not seen, the cluster shows whether they were changed, also by an earlier call.

        A call whose answer was lost may have begun a task, so the end of the cluster's tasks is waited for.
        """
        present = self._vcenter.drs_overrides(cluster)
        due = {vm: override for vm, override in changes.items() if present.get(vm) != override}
        if not due:
            return
        try:
            self._vcenter.set_drs_overrides(cluster, due, frozenset(present))
        except (ConnectError, CallFailed, NotFound, TaskTimeout) as error:
            if isinstance(error, ConnectError | TaskTimeout):
                self._unheard |= due.keys()
            if isinstance(error, LoginRefused):
                raise
            if _may_run(error):
                self._vcenter.cluster_settled(cluster, SETTLE_SECONDS)
            present = self._vcenter.drs_overrides(cluster)
            if any(present.get(vm) != override for vm, override in due.items()):
                raise
        self._unheard -= due.keys()


def _may_run(error: VsphereError) -> bool:
    """Whether a task that nobody has waited for may carry out a change."""
    return isinstance(error, ConnectError) or (isinstance(error, TaskTimeout) and error.last_state == "unknown")


def _pinned(pin: Pin) -> DrsOverride:
    """The override that excludes a VM from DRS; its behaviour stays."""
    return DrsOverride(enabled=False, behavior=pin.behavior)


def _is_excluded(override: DrsOverride | None) -> bool:
    """Whether an override excludes its VM from DRS, whatever else it says: vCenter may add a behaviour."""
    return override is not None and override.enabled is False


def _is_excluded_by(pin: Pin, override: DrsOverride | None) -> bool:
    """Whether a VM has an override that excludes it, and that it did not have before the run."""
    return _is_excluded(override) and not _are_alike(override, pin.before)


def _are_alike(one: DrsOverride | None, other: DrsOverride | None) -> bool:
    """Whether two overrides mean the same: an ``enabled`` that is not set is true (``ClusterDrsVmConfigInfo``)."""
    if one is None or other is None:
        return one is other
    return _is_excluded(one) is _is_excluded(other) and one.behavior is other.behavior


def _words(override: DrsOverride | None) -> str:
    if override is None:
        return "no override"
    if override.behavior is None:
        return "the level of the cluster"
    return _LEVELS.get(override.behavior, str(override.behavior))
