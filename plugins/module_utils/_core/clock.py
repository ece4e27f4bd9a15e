# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Monotonic clocks of the processes of a run: two processes have the same one until their machine is started again.

A run may be resumed after a reboot, or on another machine. Only the time of day relates such clocks to each other. While a machine
is suspended, its monotonic clock stands still, so that it is another one afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux: another one after each start of the machine
MIN_SLEEP = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Clock:
    """A monotonic clock: which start of which machine it belongs to ("" if not known), and the Unix time at its zero."""

    boot: str
    zero: float


def asleep() -> float:
    """Seconds for which this machine was suspended since its start; 0 if the operating system does not say it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # of Linux: it continues while the machine is suspended
    # In this order, a delay between the two readings never looks like a suspension.
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


def own_boot() -> str:
    """Which start of which machine this process belongs to, and how long it was suspended; "" if that is not known."""
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    slept = asleep()
    return boot if slept < MIN_SLEEP else f"{boot} suspended for {slept:.0f} s"


def own_clock() -> Clock:
    """The monotonic clock of this process."""
    return Clock(own_boot(), time.time() - time.monotonic())


def shift(clock: Clock, to: Clock) -> float:
    """What to add to times of a clock, so that they are times of another one."""
    return 0.0 if clock.boot == to.boot else clock.zero - to.zero
