# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease of a host: one controller at a time works for it.

vCenter cannot compare and set a custom attribute. So a controller writes its lease, waits until a rival that had read an empty
attribute has written its own too, and reads again: the last writer has the lease. Without the privilege to set the attribute
there is no lease, and only vCenter's own limits keep two controllers apart.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from .._core.errors import CallFailed, PermissionMissing, RunBusy, VsphereError
from .._core.files import accessing
from .._core.own_files import open_own, read_own
from .._vsphere.estate import HostState
from .._vsphere.lease_attribute import LEASE, Lease
from .locks import between_runs
from .model import run_key
from .ports import Vcenter

SECONDS = 600.0  # after which the lease of a controller that is gone ends
RENEW_SECONDS = SECONDS / 4
SETTLE_SECONDS = 0.5  # in which a rival that read at the same time has written


def owner_of(state: Path) -> str:
    """What identifies the controller with this state directory; made once. Raises InvalidInput."""
    path = state / "controller"
    with accessing(path, "written"):
        try:
            fd = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return read_own(path).decode("ascii", "replace").strip()
        with os.fdopen(fd, "w", encoding="ascii") as stream:
            stream.write(owner := secrets.token_hex(8))
    return owner


def known_owner(state: Path) -> str:
    """The same, "" if this controller never had a lease. Makes nothing. Raises InvalidInput."""
    path = state / "controller"
    with accessing(path):
        try:
            return read_own(path).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""


class HostLease:
    """The lease of a host, or of nothing if ``host`` is ``None``. ``owner`` returns what ``owner_of`` does."""

    def __init__(
        self,
        vcenter: Vcenter,
        host: HostState | None,
        owner: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vcenter = vcenter
        self._host = host
        self._owner_of = owner
        self._owner = ""
        self._clock = clock
        self._sleep = sleep
        self._renewed: float | None = None  # when it was last tried, by the clock; None without a lease
        self._sure = 0.0  # until when no other controller can have the lease, by the clock

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease. Raises RunBusy if another controller has it."""
        self.take()
        try:
            yield
        except Exception:
            self.release()
            raise
        self.release()

    def take(self) -> None:
        """Take the lease, if the user may. Raises RunBusy if another controller has it, and CallFailed if that is not known."""
        self._with_host(self._take)

    def look(self) -> None:
        """Take nothing, and raise the same."""
        self._with_host(self._refuse_rival)

    def _with_host(self, act: Callable[[HostState], None]) -> None:
        host = self._host
        if host is None:
            return
        self._owner = self._owner_of()
        try:
            act(host)
        except PermissionMissing:
            return
        except CallFailed as error:
            raise CallFailed(
                f"It is not known whether another controller carries out a run for {host.name} "
                f"({error.message.rstrip('.')}); this call moved no VM",
                fault=error.fault,
                hint=f"Run the same playbook again. If no other controller works for the host, empty its custom attribute {LEASE}",
            ) from error

    def _take(self, host: HostState) -> None:
        self._refuse_rival(host)
        now = self._clock()
        if not self._write(host):
            return
        self._sleep(SETTLE_SECONDS)
        self._refuse_rival(host)
        self._renewed, self._sure = now, now + SECONDS

    def kept(self) -> bool:
        """Renew the lease if it is time for that. False if another controller has taken it over meanwhile, or may have.

        A lease that cannot be renewed lasts as long as it was written for.
        """
        now = self._clock()
        if self._host is None or self._renewed is None or now - self._renewed < RENEW_SECONDS:
            return True
        self._renewed = now
        try:
            if self._rival(self._host) is not None:
                self._renewed = None
                return False
            renewed = self._write(self._host)
        except VsphereError:
            renewed = False
        self._sure = now + SECONDS if renewed else self._sure
        return now < self._sure

    def release(self) -> None:
        """Give the lease back. What cannot be given back ends by itself."""
        if self._host is None or self._renewed is None:
            return
        self._renewed = None
        try:
            if self._rival(self._host) is None:
                self._vcenter.set_lease(self._host.moid, None)
        except VsphereError:
            pass

    def _rival(self, host: HostState) -> Lease | None:
        """The lease of another controller that has not ended."""
        lease = self._vcenter.lease(host.moid)
        if lease is None or lease.owner == self._owner or lease.until <= self._vcenter.time():
            return None
        return lease

    def _refuse_rival(self, host: HostState) -> None:
        lease = self._rival(host)
        if lease is not None:
            raise RunBusy(
                f"Another controller ({lease.name}) carries out a run for {host.name}. Its lease ends at "
                f"{lease.until:%Y-%m-%d %H:%M:%S} UTC, unless it is renewed; this call moved no VM",
                hint=f"Wait until that run ends. If that controller is gone, wait until then, or empty the host's custom attribute {LEASE}",
            )

    def _write(self, host: HostState) -> bool:
        until = self._vcenter.time() + timedelta(seconds=SECONDS)
        return self._vcenter.set_lease(host.moid, Lease(self._owner, platform.node(), until))


def wait_for_runs(
    vcenter: Vcenter, state: Path, vcenter_uuid: str, host: HostState, *, timeout: float, warn: Callable[[str], None]
) -> bool:
    """Wait up to ``timeout`` seconds until no process of this machine carries out a run for a host; whether one did.

    Raises RunBusy, also if another controller carries one out, and CallFailed if that is not known.
    """
    waits = list[str]()
    with between_runs(state, run_key(vcenter_uuid, host.moid), timeout=timeout, waiting=waits.append):
        HostLease(vcenter, host, partial(known_owner, state)).look()
    for text in waits:
        warn(text)
    return bool(waits)
