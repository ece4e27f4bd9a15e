# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the training inside a real VM runs, as seen from outside."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable

from lab.errors import LabError
from lab.guests import Machine
from lab.h2o import H2O, NO_PROXY
from lab.live.machine import PORTS

# How the collection watches the light guest: an entry of experiments.sources.
SOURCE = {
    "provider": "prometheus",
    "url": f"http://{{address}}:{PORTS['light']}/metrics",
    "metric": "training_steps_total",
}
MAX_START_SECONDS = 300.0
STEPS = re.compile(r"^training_steps_total (\d+)", re.MULTILINE)


def await_training(machine: Machine, check: Callable[[Machine], None]) -> None:
    """Wait until the training has made progress; ``check`` raises an error if it never will."""
    end = time.monotonic() + MAX_START_SECONDS
    while not trains(machine):
        check(machine)
        if time.monotonic() > end:
            raise LabError(f"the training in {machine.vm} has not begun in {MAX_START_SECONDS:.0f} s")
        time.sleep(0.2)


def trains(machine: Machine) -> bool:
    """Whether the training answers and has made progress."""
    try:
        if machine.spec.run == "light":
            return light_steps(machine.url) > 0
        return any(job["status"] == "RUNNING" for job in H2O(machine.url).get("/3/Jobs")["jobs"])
    except (OSError, LabError):
        return False


def light_steps(url: str) -> int:
    """Steps of the training with an exporter; 0 if it does not show them."""
    with NO_PROXY.open(urllib.request.Request(f"{url}/metrics"), timeout=5.0) as answer:
        found = STEPS.search(answer.read().decode())
    return int(found[1]) if found else 0
