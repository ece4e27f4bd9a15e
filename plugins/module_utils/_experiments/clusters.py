# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Experiments of a cluster: its nodes in several VMs are members of one experiment. Pure.

Each member is watched at its own node, because a frozen node does not show at another one (measured with two H2O-3
nodes). The experiment stands still as long as any member does, and is uninterrupted only if all members are.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .._vsphere.estate import IDLE, VmState
from .model import (
    Experiment,
    Judgement,
    Stall,
    Verdict,
    worst,
)

Key = tuple[str, str, str]


def key_of(experiment: Experiment) -> Key:
    """The same for all members of one experiment; contains the VM if the experiment is not a cluster's."""
    name = experiment.asked_id if experiment.cluster else experiment.id
    return experiment.provider, name, experiment.cluster or experiment.vm


def merged(judgements: Iterable[Judgement]) -> tuple[Judgement, ...]:
    """One judgement per experiment, in the order of their first members; ``members`` are set for a cluster's.

    A member may be judged several times, once for each VM of the cluster; the last judgement counts.
    """
    groups: dict[Key, list[Judgement]] = {}
    for judgement in {(j.experiment.vm, j.experiment.id): j for j in judgements}.values():
        groups.setdefault(key_of(judgement.experiment), []).append(judgement)
    return tuple(_merged(group) if group[0].experiment.cluster else group[0] for group in groups.values())


def _merged(members: Sequence[Judgement]) -> Judgement:
    first = members[0]
    missing = len(first.experiment.nodes) - len(members)
    stall = _claim([m.stall for m in members])
    verdict = worst(m.verdict for m in members)
    notes = [f"{m.experiment.vm_name}: {m.detail}" for m in members if m.detail]
    if missing > 0:
        notes.append(
            f"{len(members)} of {len(first.experiment.nodes)} nodes of {first.experiment.cluster} were watched"
        )
        stall = "unknown" if stall == "proven" else stall
        verdict = Verdict.UNKNOWN if verdict is Verdict.UNINTERRUPTED else verdict
    known = [m.resolution for m in members if m.resolution is not None]
    return replace(
        first,
        verdict=verdict,
        identity=_claim([m.identity for m in members]),
        progress=_claim([m.progress for m in members]),
        stall=stall,
        longest_stall=longest([m.longest_stall for m in members if m.longest_stall is not None]),
        longest_freeze=longest([m.longest_freeze for m in members if m.longest_freeze is not None]),
        resolution=max(known, default=None),
        progress_before=next((m.progress_before for m in members if m.progress_before is not None), None),
        progress_after=max((m.progress_after for m in members if m.progress_after is not None), default=None),
        samples=sum(m.samples for m in members),
        unwatched_seconds=max(m.unwatched_seconds for m in members),
        detail="; ".join(notes),
        members=tuple(members),
    )


def by_owner(judgements: Iterable[Judgement]) -> dict[str, list[dict[str, object]]]:
    """VMs, id and verdict of each experiment by its owner, "" if the owner is not known."""
    found: dict[str, list[dict[str, object]]] = {}
    for judgement in judgements:
        entry: dict[str, object] = {
            "vms": vm_list(judgement),
            "id": judgement.experiment.id,
            "verdict": str(judgement.verdict),
        }
        found.setdefault(judgement.experiment.owner, []).append(entry)
    return found


def vm_list(judgement: Judgement) -> list[str]:
    """Names of the VMs in which an experiment has nodes that were watched."""
    return [each.vm_name for each in _one_of_each_vm(judgement)]


def moid_list(judgement: Judgement) -> list[str]:
    """MoIDs of the VMs of :func:`vm_list`, in the same order."""
    return [each.vm for each in _one_of_each_vm(judgement)]


def _one_of_each_vm(judgement: Judgement) -> Iterable[Experiment]:
    """A member in each VM, because a VM may have several nodes of a cluster."""
    known = {member.experiment.vm: member.experiment for member in judgement.members}
    return known.values() or [judgement.experiment]


def longest(stalls: Sequence[Stall]) -> Stall | None:
    """The longest of several stalls. Its length is between the maximum of their lows and the maximum of their highs."""
    if not stalls:
        return None
    low, high = max(s.low for s in stalls), max(s.high for s in stalls)
    first = max(stalls, key=lambda stall: stall.seconds)
    return Stall(min(max(first.seconds, low), high), low, high, first.at)


def _claim(claims: Sequence[str]) -> str:
    if "refuted" in claims:
        return "refuted"
    return "proven" if set(claims) == {"proven"} else "unknown"


def possible_cluster_members(
    experiments: Iterable[Experiment],
    vms: Iterable[VmState],
    *,
    given: Callable[[str, str], str],
    patterns: Sequence[str],
) -> list[VmState]:
    """VMs that may run and contain further nodes of the experiments' clusters.

    A VM is one if a cluster lists its address (``given`` by MoID and name, else the guest's) as a node, or if its name
    matches one of ``patterns``. A guest can list any address as a node, so only addresses of VMs count.
    """
    groups: dict[Key, list[Experiment]] = {}
    for experiment in experiments:
        if experiment.cluster:
            groups.setdefault(key_of(experiment), []).append(experiment)
    incomplete = [members for members in groups.values() if len(members) < len(members[0].nodes)]
    if not incomplete:
        return []
    known = {member.vm for members in groups.values() for member in members}
    nodes = {node.rpartition(":")[0].strip("[]") for members in incomplete for node in members[0].nodes}
    return [
        vm
        for vm in vms
        if vm.moid not in known
        and vm.power not in IDLE
        and (nodes & {vm.guest_address, given(vm.moid, vm.name)} - {""} or _matches(vm.name, patterns))
    ]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
