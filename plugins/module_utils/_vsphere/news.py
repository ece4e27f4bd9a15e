# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The updates that vCenter sends while VMs move: states of tasks, and where VMs run. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .estate import Power


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of vSphere: its class name (``NoPermission``) and the server's message."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """A new state of a task: queued, running, success, error, or ``gone`` if vCenter no longer knows the task."""

    task: str
    state: str
    percent: int | None = None
    cancelled: bool = False
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class PlacementUpdate:
    """Where a VM runs now. ``host`` (a MoID) is ``None`` if the VM no longer exists, or if vCenter does not say where it is.

    ``unknown`` is why it does not, "" if the host is known or the VM no longer exists.
    """

    vm: str
    host: str | None
    power: Power | None = None
    unknown: str = ""


# pylint of ansible-test does not recognise that these are classes.
Update = TaskUpdate | PlacementUpdate  # pylint: disable=unsupported-binary-operation
