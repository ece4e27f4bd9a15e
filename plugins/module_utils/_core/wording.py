# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures as text, the same in live lines, reports and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from math import ceil, floor
from typing import Any

HA = "vSphere HA"  # as the mover of a VM: it restarted the VM, whose host, network or storage had failed
MAX_NAME = 60  # characters of an experiment's name in a sentence


def is_restarted(result: object, by: str | None) -> bool:
    """Whether HA brought a VM to where it is, by a restart."""
    return result == "moved" and by == HA


def has_moved(result: object, by: str | None) -> bool:
    """Whether a move has brought its VM to another place. A restart by HA does not count: it ends what ran in the VM."""
    return result == "moved" and not is_restarted(result, by)


def percent(progress: float | None) -> str:
    """Progress (0 to 1) as text, ``61 %``; ``? %`` if it is unknown. It is 100 % only if everything is done."""
    if progress is None:
        return "? %"
    return f"{min(100 * progress, 99 if progress < 1 else 100):.0f} %"


def stall_text(stall: Mapping[str, Any] | None, watched: float | None = None, late: float | None = None) -> str:
    """The longest stall with the interval that contains its true length; never a bare zero.

    ``watched`` is for how many seconds the experiment was watched, so that people see whether the stall is long, and ``late``
    how many of them were after its move.
    """
    if stall is None:
        return "longest stall not measured"
    scale = f", {watched_text(watched, late)}" if watched else ""
    return f"longest stall about {stall['seconds']:.2f} s (between {at_least(stall['low'])} and {at_most(stall['high'])} s){scale}"


def at_least(value: float, places: int = 2) -> str:
    """A lower bound as text. It is rounded down: rounded to the nearest it might be above what was seen."""
    return _rounded(value, places, floor)


def at_most(value: float, places: int = 2) -> str:
    """An upper bound as text. It is rounded up."""
    return _rounded(value, places, ceil)


def _rounded(value: float, places: int, towards: Callable[[float], int]) -> str:
    # 7.35 * 100 is a little less than 735: what floats add is taken off first.
    return f"{towards(round(value * 10**places, 6)) / 10**places:.{places}f}"


def watched_text(watched: float | None, late: float | None = None) -> str:
    """For how long an experiment was watched, and for how long after its move if that is known."""
    return f"watched for {seconds(watched)}{f', {late:.0f} s of them after its move' if late else ''}"


def experiment_name(description: str, experiment_id: str) -> str:
    """The name of an experiment as its owner knows it: its description, else its ID."""
    return fitted(description or experiment_id, MAX_NAME)


def fitted(name: str, max_length: int) -> str:
    """A name of at most ``max_length`` characters. The middle is left out, because names differ at their ends."""
    if len(name) <= max_length:
        return name
    tail = max_length // 2
    return f"{name[: max_length - tail - 1]}…{name[-tail:]}"


def plural(count: int, noun: str) -> str:
    """A number with its noun, ``1 VM`` or ``8 VMs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def stun_text(vgpus: Sequence[str], stun: float | None) -> str:
    """How long vGPUs of these profiles make their VM stand still, at most; "" without one. ``stun`` in seconds."""
    if not vgpus:
        return ""
    names = ", ".join(dict.fromkeys(name or "of an unknown profile" for name in vgpus))
    if stun is None:
        return f"it is not known how long it stands still (vGPU {names})"
    return f"stands still for up to {ceil(stun)} s (vGPU {names})"


def stays_text(vm: str, reasons: Iterable[tuple[str, str, str]], verb: str = "stays") -> str:
    """Why a VM stays, from the check, the object and the hint of each reason: ``stays because of CD/DVD drive 1: Remove it [host_device]``.

    The object is not named if it is the VM. The check is the name under which the reference of blockers explains it.
    """
    parts = [
        f"{'' if about in ('', vm) else f'because of {about}: '}{hint.rstrip('.')} [{check}]"
        for check, about, hint in reasons
    ]
    text = "; ".join(parts)
    return f"{verb}{' ' if text.startswith('because of ') else ': '}{text}"


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names, at most ``most`` of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def repeated(count: int) -> str:
    """How often something happened, ``once``, ``twice`` or ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def seconds(value: float | None) -> str:
    """A duration as text, ``0.43 s``, ``24 s``, ``3 min`` or ``2.5 h``; ``not known`` for ``None``."""
    if value is None:
        return "not known"
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def span(start: str, end: str | None) -> float | None:
    """Seconds between two times (ISO 8601); ``None`` without an end."""
    return None if end is None else (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def after(origin: str, at: str | None) -> str:
    """A time relative to the beginning of the run, ``+3.1 s``; ``not seen`` for ``None``."""
    passed = span(origin, at)
    if passed is None:
        return "not seen"
    return f"+{passed:.1f} s" if passed < 600 else f"+{timedelta(seconds=round(passed))}"


def moment(at: str | None) -> str:
    """A time (ISO 8601, UTC) as text, to the second; ``not known`` for ``None``."""
    if at is None:
        return "not known"
    return f"{at[:10]} {at[11:19]} UTC"


def local_moment(at: str | None, zone: tzinfo | None = None) -> str:
    """A time (ISO 8601, UTC) in a time zone and in UTC, ``2026-01-31 10:00:00 CET (09:00:00 UTC)``.

    The default is the zone of the machine. ``not known`` for ``None``.
    """
    if at is None:
        return "not known"
    local = datetime.fromisoformat(at).astimezone(zone)
    if not local.utcoffset():
        return moment(at)
    utc = f"{at[11:19]} UTC" if f"{local:%Y-%m-%d}" == at[:10] else moment(at)
    return f"{local:%Y-%m-%d %H:%M:%S} {zone_name(at, zone)} ({utc})"


def clock(at: str, zone: tzinfo | None = None) -> str:
    """A time (ISO 8601, UTC) on the clock of a time zone, ``10:00:00``. The default is the zone of the machine."""
    return f"{datetime.fromisoformat(at).astimezone(zone):%H:%M:%S}"


def zone_name(at: str, zone: tzinfo | None = None) -> str:
    """The abbreviation of a time zone at a time (ISO 8601), or its offset if it has none. The default is that of the machine."""
    local = datetime.fromisoformat(at).astimezone(zone)
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{local.isoformat()[-6:]}"
