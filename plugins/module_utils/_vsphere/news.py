# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vCenter reports while VMs move: tasks and where VMs run. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .estate import Power


@dataclass(frozen=True, slots=True)
class Fault:
    """A vSphere fault: class name (``NoPermission``) and the server's message."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """News of a watched task. ``state``: queued, running, success, error, or ``gone`` when vCenter forgot it."""

    task: str
    state: str
    percent: int | None = None
    cancelled: bool = False
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class PlacementUpdate:
    """News of a watched VM: where it runs now. ``host`` is ``None`` when the VM is gone."""

    vm: str
    host: str | None
    power: Power | None = None


# ansible-test's pylint does not see that these are classes.
Update = TaskUpdate | PlacementUpdate  # pylint: disable=unsupported-binary-operation
