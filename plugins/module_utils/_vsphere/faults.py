# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What faults mean for a run: those of vSphere by class name, and our own reasons. Pure.

This is the only place that classifies faults. ``docs/docsite/rst/reference_faults.rst`` is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MISSING_PRIVILEGE = "missing privilege"  # how the message of a NoPermission begins that names one


class FaultKind(StrEnum):
    """What a run does about a fault of vSphere."""

    TRANSIENT = "transient"
    GONE = "gone"
    WRONG_STATE = "wrong_state"
    UNSUPPORTED = "unsupported"
    NO_RESOURCES = "no_resources"


# What a run does about each kind.
CONSEQUENCES = {
    FaultKind.TRANSIENT: "The move is submitted again after a pause, as often as the retries of the run permit.",
    FaultKind.GONE: "The object counts as deleted.",
    FaultKind.WRONG_STATE: (
        "Cancelling counts as done. A change of maintenance mode is tried once more; then the host is watched, because an earlier "
        "call may have begun the change. A move is submitted again if an earlier submission may still move the VM."
    ),
    FaultKind.NO_RESOURCES: "The move ends, and the VM stays where it is.",
    FaultKind.UNSUPPORTED: "Cancelling counts as done. Any other call fails.",
}


@dataclass(frozen=True, slots=True)
class KnownFault:
    """A fault of vSphere: what a run does about it, and what it means."""

    kind: FaultKind
    meaning: str


# By the class name of the fault. Every other fault ends its move.
FAULTS = {
    "TaskInProgress": KnownFault(FaultKind.TRANSIENT, "Another task locks the VM."),
    "ConcurrentAccess": KnownFault(FaultKind.TRANSIENT, "Another client changed the object at the same time."),
    "Timedout": KnownFault(FaultKind.TRANSIENT, "An operation inside vCenter took too long."),
    "HostCommunication": KnownFault(FaultKind.TRANSIENT, "vCenter lost the connection to a host."),
    "HostNotReachable": KnownFault(FaultKind.TRANSIENT, "vCenter cannot reach a host."),
    "VMotionLinkDown": KnownFault(FaultKind.TRANSIENT, "The link of a vMotion network is down."),
    "MigrationNotReady": KnownFault(FaultKind.TRANSIENT, "A host is not ready for the migration yet."),
    "ManagedObjectNotFound": KnownFault(FaultKind.GONE, "The VM, task or filter no longer exists."),
    "InvalidState": KnownFault(FaultKind.WRONG_STATE, "The task or host is not in a state that permits the call."),
    "InsufficientGraphicsResourcesFault": KnownFault(
        FaultKind.NO_RESOURCES,
        "The target has no free vGPU of the VM's profile. Free one of its GPUs, or plan again: another host may have one.",
    ),
    "NotSupported": KnownFault(FaultKind.UNSUPPORTED, "The task or host does not support the call."),
}


class OwnReason(StrEnum):
    """Reasons of this collection that end a move. No class of vSphere has one of these names."""

    VM_DELETED = "VmDeleted"
    VM_MOVED_MEANWHILE = "VmMovedMeanwhile"
    VM_NOT_POWERED_ON = "VmNotPoweredOn"
    END_NOT_OBSERVED = "EndNotObserved"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NO_ANSWER = "NoAnswer"
    TASK_FORGOTTEN = "TaskForgotten"
    PLACE_UNKNOWN = "PlaceUnknown"


OWN_REASONS = {
    OwnReason.VM_DELETED: "The VM is no longer in vCenter. In an evacuation, the other VMs still leave the host.",
    OwnReason.VM_MOVED_MEANWHILE: "The VM is on a host where neither the plan nor this run put it.",
    OwnReason.VM_NOT_POWERED_ON: (
        "The VM is not powered on any more, so it cannot move live. In an evacuation, the other VMs still leave the host: a VM that is "
        "powered off or suspended may stay on it in maintenance mode."
    ),
    OwnReason.END_NOT_OBSERVED: "The move ended while no process watched it, and the VM is still on its source.",
    OwnReason.DEADLINE_EXCEEDED: "vCenter did not end the task of the move in time.",
    OwnReason.NO_ANSWER: "vCenter did not answer the submission, and shows no task that moves the VM. The move is submitted again.",
    OwnReason.TASK_FORGOTTEN: (
        "vCenter no longer knows the task of the move, for example because it was restarted, and the VM is still on its source. "
        "The move is submitted again."
    ),
    OwnReason.PLACE_UNKNOWN: "vCenter does not say where the VM or its files are. Look there before you do anything with it.",
}
_PASSING = (OwnReason.NO_ANSWER, OwnReason.TASK_FORGOTTEN)


def is_transient(fault: str) -> bool:
    """Whether a fault (class name) or own reason passes by itself, so that the same call may succeed a little later."""
    return _kind(fault) is FaultKind.TRANSIENT or fault in _PASSING


def is_busy(fault: str) -> bool:
    """Whether a fault (class name) may be due to an earlier call that is being carried out."""
    return fault == "TaskInProgress" or is_wrong_state(fault)


def is_unheard(fault: str) -> bool:
    """Whether an own reason says that a submission may still move its VM, although no task shows it."""
    return fault in _PASSING


def is_gone(fault: str) -> bool:
    """Whether a fault (class name) says that the object no longer exists."""
    return _kind(fault) is FaultKind.GONE


def is_over(fault: str) -> bool:
    """Whether a fault (class name) of a cancellation says that there is nothing to cancel."""
    return _kind(fault) in (FaultKind.GONE, FaultKind.WRONG_STATE, FaultKind.UNSUPPORTED)


def is_wrong_state(fault: str) -> bool:
    """Whether a fault (class name) says that the present state of the object does not permit the call."""
    return _kind(fault) is FaultKind.WRONG_STATE


def advice_on(fault: str) -> str:
    """What a fault (class name) means and what to do, if its name alone does not say it; otherwise ""."""
    return FAULTS[fault].meaning.rstrip(".") if _kind(fault) is FaultKind.NO_RESOURCES else ""


def _kind(fault: str) -> FaultKind | None:
    known = FAULTS.get(fault)
    return None if known is None else known.kind
