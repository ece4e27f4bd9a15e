# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run reads of vCenter while moves are in flight: a read that fails is repeated, and what stays unreadable is unknown.

One fault of one read must not end a run whose moves continue in vCenter. Only a vCenter that does not answer at all does:
the client has then been patient for ``vcenter_patience`` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from .._core.errors import ConnectError, VsphereError
from .._vsphere.news import PlacementUpdate, Update
from .ports import Vcenter

PATIENCE = 60.0  # seconds for which a failing read is repeated
PAUSE = 2.0
HIDDEN_TASK = "vCenter does not show whether a task moves it"
T = TypeVar("T")


class Sight:
    """Reads of one session, each by one thread. Every method but ``insist`` raises ConnectError only."""

    def __init__(
        self,
        vcenter: Vcenter,
        *,
        interrupted: Callable[[], bool],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._vcenter = vcenter
        self._interrupted = interrupted
        self._clock = clock
        self._sleep = sleep
        self._failing_since: dict[str, float] = {}  # by what is read

    def insist(self, what: str, call: Callable[[], T]) -> T:
        """The answer of a read, named ``what``, that is repeated if it fails. Raises ConnectError, and what stays unreadable."""
        while True:
            try:
                answer = call()
            except ConnectError:
                raise
            except VsphereError:
                since = self._failing_since.setdefault(what, self._clock())
                if self._interrupted() or self._clock() - since >= PATIENCE:
                    raise
                self._sleep(PAUSE)
            else:
                self._failing_since.pop(what, None)
                return answer

    def _read(self, what: str, call: Callable[[], T]) -> tuple[T | None, str]:
        """The answer and "", or ``None`` and why there is none."""
        try:
            return self.insist(what, call), ""
        except ConnectError:
            raise
        except VsphereError as error:
            return None, str(error).rstrip(".")

    def updates(self, timeout: float) -> tuple[Update, ...]:
        """See the port of vCenter. Without an answer there is no news, and deadlines end the moves."""
        return self._read("updates", lambda: self._vcenter.updates(timeout))[0] or ()

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """See the port of vCenter."""
        wanted = tuple(vms)
        found, why = self._read("placement", lambda: self._vcenter.placement(wanted))
        return found if found is not None else {vm: PlacementUpdate(vm, None, unknown=why) for vm in wanted}

    def places(self, vm: str) -> dict[int, str] | None:
        """The datastore (MoID) of each part of a VM by the part's key, ``None`` if that cannot be read."""
        found, _why = self._read("places", lambda: self._vcenter.places((vm,)))
        return None if found is None else found.get(vm, {})

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        """See the port of vCenter; empty if it cannot be read."""
        wanted = tuple(vms)
        return self._read("moving", lambda: self._vcenter.moving(wanted))[0] or {}

    def may_move(self, vms: Iterable[str]) -> dict[str, str]:
        """Those of the VMs that a task moves, each with ""; also those for which that is not known, with the reason."""
        wanted = tuple(vms)
        found, why = self._read("moving", lambda: self._vcenter.moving(wanted))
        if found is None:
            return dict.fromkeys(wanted, why)
        return {vm: "" if task else HIDDEN_TASK for vm, task in found.items()}

    def mover(self, vm: str, host: str) -> str:
        """See the port of vCenter; "" if it cannot be read."""
        return self._read("mover", lambda: self._vcenter.mover(vm, host))[0] or ""

    def follow(self, task: str, vm: str | None = None) -> None:
        """See the port of vCenter. What cannot be followed runs into its deadline."""
        self._read("follow", lambda: self._vcenter.follow(task, vm))

    def unfollow(self, task: str) -> None:
        """See the port of vCenter."""
        self._read("unfollow", lambda: self._vcenter.unfollow(task))

    def cancel(self, task: str) -> None:
        """See the port of vCenter. What cannot be cancelled runs into its deadline."""
        self._read("cancel", lambda: self._vcenter.cancel(task))
