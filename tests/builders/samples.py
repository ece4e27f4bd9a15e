# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples of a poller whose server is frozen at known times."""

from __future__ import annotations

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample


def answer(sent: float, received: float, progress: float | None = 0.2, **changes: object) -> Sample:
    values = {"process": "100", "status": "RUNNING", "progress": progress, "detail": f"{progress}", **changes}
    return Sample(sent, received, "answered", **values)  # type: ignore[arg-type]


def poll(freezes: list[tuple[float, float]], *, hz: float, latencies: list[float], seconds: float) -> list[Sample]:
    """A poller of a server that answers ``latency`` after a question, but not while frozen."""
    samples, now, turn = [], 0.0, 0
    while now < seconds:
        latency = latencies[turn % len(latencies)]
        arrived = now + latency / 2
        for start, length in freezes:
            if start <= arrived < start + length:
                arrived = start + length
        received = arrived + latency / 2
        for start, length in freezes:  # frozen while it made the answer
            if arrived < start < received:
                received += length
        stood_still = sum(min(length, max(0.0, received - start)) for start, length in freezes)
        samples.append(answer(now, received, min(1.0, (received - stood_still) / 1000)))
        now = max(now + 1 / hz, received + 0.2 / hz)
        turn += 1
    return samples
