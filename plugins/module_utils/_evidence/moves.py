# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The moves of a run from its journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .._run.events import (
    Entry,
    GuestProcesses,
    MoveEvent,
    MoveFinished,
    MovePlanned,
    MoveSeen,
    MoveSubmitting,
    Place,
    PowerOnTimes,
    SwitchedOver,
)
from .._vsphere.guest import compare_processes
from . import model

Reading = TypeVar("Reading")


def moves_of(entries: Sequence[Entry]) -> list[model.Move]:
    """The move of each VM, and its move back after a failure; of a witness, every move that was seen.

    An event of a VM belongs to the move that was planned or seen last.
    """
    power_on, processes = _power_on(entries), _guest_processes(entries)
    found: dict[tuple[str, bool, int], model.Move] = {}
    latest: dict[str, model.Move] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, MovePlanned):
            vm = event.vm.moid
            fresh = _new_move(event, power_on.get(vm), processes.get(vm))
            latest[vm] = found.setdefault((vm, event.back, 0), fresh)
            _replan(latest[vm], event)
        elif isinstance(event, MoveSeen):
            vm = event.vm.moid
            latest[vm] = found[vm, False, event.number] = _seen_move(
                event, entry.at, power_on.get(vm), processes.get(vm)
            )
        elif isinstance(event, MoveEvent) and event.vm.moid in latest:
            _apply(latest[event.vm.moid], event, entry.at)
    return sorted(found.values(), key=lambda move: (move["started"] or _seen_at(move) or "~", move["vm"]))


def _seen_at(move: model.Move) -> str | None:
    """When a move whose begin was not seen was seen to be over."""
    return move["finished"] if move["result"] == "moved" else None


def _power_on(entries: Iterable[Entry]) -> dict[str, model.PowerOnProof]:
    """When each VM was powered on, as vCenter says before and after the moves."""
    first, last = _first_and_last((e.event.when, e.event.times) for e in entries if isinstance(e.event, PowerOnTimes))
    return {
        vm: {"before": at, "after": last.get(vm), "same": None if None in (at, last.get(vm)) else at == last[vm]}
        for vm, at in first.items()
    }


def _guest_processes(entries: Iterable[Entry]) -> dict[str, model.GuestProcessProof]:
    """What the process lists of each guest prove: its first reading before and its last one after the moves."""
    read = ((e.event.when, e.event.readings) for e in entries if isinstance(e.event, GuestProcesses))
    before, after = _first_and_last(read)
    return {vm: _compared(reading, after.get(vm)) for vm, reading in before.items()}


def _compared(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> model.GuestProcessProof:
    found = compare_processes(before, after)
    return {"before": found["before"], "after": found["after"], "same": found["same"], "detail": found["detail"]}


def _first_and_last(
    readings: Iterable[tuple[str, Mapping[str, Reading]]],
) -> tuple[dict[str, Reading], dict[str, Reading]]:
    """The first reading before the moves and the last one after them, by VM.

    A resumed run reads the VMs again before its moves. Earlier readings after the moves do not count then.
    """
    first: dict[str, Reading] = {}
    last: dict[str, Reading] = {}
    for when, by_vm in readings:
        for vm, reading in by_vm.items():
            if when == "before":
                first.setdefault(vm, reading)
                last.pop(vm, None)
            else:
                last[vm] = reading
    return first, last


def _new_move(
    event: MovePlanned, power_on: model.PowerOnProof | None, guest_processes: model.GuestProcessProof | None
) -> model.Move:
    return {
        "number": event.number,
        "back": event.back,
        "predicted_seconds": event.predicted_seconds,
        "power_on": power_on,
        "guest_processes": guest_processes,
        "vm": event.vm.name,
        "moid": event.vm.moid,
        "source": event.source.name,
        "target": event.target.name,
        "source_fault_domain": event.source.fault_domain,
        "target_fault_domain": event.target.fault_domain,
        "started": None,
        "switched_over": None,
        "finished": None,
        "result": "unfinished",
        "host": None,
        "attempts": 0,
        "error": None,
        "by": "",
        "storage": _storage(event),
        "vgpus": list(event.vgpus),
        "predicted_stun": event.predicted_stun,
        "source_vcenter": event.source.vcenter,
        "target_vcenter": event.target.vcenter,
    }


def _storage(event: MovePlanned | MoveFinished) -> list[model.PartMoved]:
    """The parts of the VM that change their datastore."""
    return [
        {
            "part": part.label,
            "source": part.source_name,
            "target": part.target_name,
            "size": part.size,
            "policy": part.policy_name,
        }
        for part in event.parts
        if part.moves
    ]


def _seen_move(
    event: MoveSeen, at: str, power_on: model.PowerOnProof | None, guest_processes: model.GuestProcessProof | None
) -> model.Move:
    """A move that somebody else began. Where it leads is known when it is over."""
    planned = MovePlanned(event.number, event.vm, event.source, Place("", ""))
    move = _new_move(planned, power_on, guest_processes)
    move["predicted_seconds"], move["started"] = None, at if event.task else None
    return move


def _replan(move: model.Move, event: MovePlanned) -> None:
    """Set what may have changed since an earlier plan of the run."""
    move["number"], move["storage"] = event.number, _storage(event)
    move["vgpus"], move["predicted_stun"] = list(event.vgpus), event.predicted_stun
    move["source"], move["source_fault_domain"] = event.source.name, event.source.fault_domain
    move["target"], move["target_fault_domain"] = event.target.name, event.target.fault_domain
    move["source_vcenter"], move["target_vcenter"] = event.source.vcenter, event.target.vcenter


def _apply(move: model.Move, event: MoveEvent, at: str) -> None:
    match event:
        case MoveSubmitting(adopted=adopted):
            _submit(move, at, adopted=adopted)
        case SwitchedOver():
            move["switched_over"] = at
        case MoveFinished(error=error):
            what = f"{error.fault}: {error.message}" if error else None
            # Somebody else may have moved the VM to another target.
            move["target"], move["target_fault_domain"] = event.target.name, event.target.fault_domain
            move["storage"], move["target_vcenter"] = _storage(event), event.target.vcenter
            move.update(
                {"finished": at, "result": str(event.result), "host": event.host, "error": what, "by": event.by}
            )


def _submit(move: model.Move, at: str, *, adopted: bool) -> None:
    """Count an attempt, and set the start of the move.

    Adopting a task that already runs is not an attempt. A move starts with its first attempt, if there is one.
    """
    if move["result"] != "unfinished":
        move.update({"started": None, "switched_over": None, "finished": None})
        move.update({"result": "unfinished", "host": None, "error": None})
    if move["started"] is None or not (adopted or move["attempts"]):
        move["started"] = at
    move["attempts"] += not adopted
