# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks Storage DRS for the datastores of VMs that move into a datastore cluster in which it is enabled."""

from __future__ import annotations

from dataclasses import replace

from .._core.errors import CallFailed, ConnectError, PermissionMissing
from .._plan.model import Move, PlanRequest, StorageRequest
from .._plan.planner import make_plan
from .._vsphere.estate import Estate
from .ports import Vcenter
from .server_checks import relocation_of

Recommended = dict[str, dict[int, str]]  # datastores (MoIDs) by VM, by the key of the part


def with_recommendations(vcenter: Vcenter, estate: Estate, request: PlanRequest) -> PlanRequest:
    """The request with what Storage DRS recommends for the moves that would be planned, one call for each move.

    Without a datastore cluster that has it enabled, the request stays as it is.
    """
    cluster = _asked_cluster(estate, request.storage)
    if not cluster:
        return request
    moves = [move for move in make_plan(estate, request).moves if _is_open(move, request.storage)]
    found, why = Recommended(), ""
    for move in moves:
        try:
            found[move.vm] = dict(vcenter.recommended_datastores(relocation_of(move), cluster))
        except (CallFailed, ConnectError, PermissionMissing) as error:
            why = str(error).rstrip(".")
            break
    name = next(store.cluster for store in estate.datastores.values() if store.storage_drs == cluster)
    advice = _advice(name, moves, found, why)
    return replace(request, storage=replace(request.storage, recommended=found, advice=advice))


def _asked_cluster(estate: Estate, storage: StorageRequest) -> str:
    """The datastore cluster (MoID) that was named for the files, if Storage DRS is enabled in it."""
    named = [estate.datastores[moid] for moid in storage.datastores if moid in estate.datastores]
    clusters = {store.storage_drs for store in named}
    cluster = next(iter(clusters)) if len(clusters) == 1 else ""
    members = {moid for moid, store in estate.datastores.items() if cluster and store.storage_drs == cluster}
    return cluster if members and members == storage.datastores else ""


def _is_open(move: Move, storage: StorageRequest) -> bool:
    """Whether the datastores of a move are not decided yet."""
    return move.task is None and move.vm not in storage.preferred and any(part.moves for part in move.parts)


def _advice(name: str, moves: list[Move], found: Recommended, why: str) -> tuple[str, ...]:
    """What an operator should know, in one sentence."""
    left = ", ".join(sorted(move.vm_name for move in moves if not found.get(move.vm)))
    if not moves:
        return ()
    if not left:
        return (
            f"Storage DRS of {name} recommended the datastores. The plan uses them if they have room for all its moves.",
        )
    reason = why or "it recommended none"
    return (f"Storage DRS of {name} did not choose the datastores of {left} ({reason}). The plan chose them.",)
