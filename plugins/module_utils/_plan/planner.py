# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The planner: a target for each VM, or every reason why it stays. Pure and deterministic.

A ledger of memory and CPU counts the plan's own arrivals, because vCenter's checks reserve nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Connection,
    Estate,
    HostState,
    Maintenance,
    Move,
    Plan,
    PlanRequest,
    Policy,
    Power,
    Reason,
    Refusal,
    VmState,
)

GIB = 1024**3
SETUP_SECONDS = 6.0  # preparation and switch-over of a vMotion around the copy of memory
LINK_SHARE = 0.8  # of the link's bandwidth that copies memory
# Reasons of VMs which do not keep their host from entering maintenance mode.
_HARMLESS = frozenset({"not_powered_on", "template", "managed_by"})


def make_plan(estate: Estate, request: PlanRequest) -> Plan:
    """Plan the request's VMs: each ends in exactly one of moves, refusals and settled."""
    planner = _Planner(estate, request)
    for vm in sorted((estate.vms[moid] for moid in request.vms), key=_hardest_first):
        planner.place(vm)
    moves = sorted(planner.moves, key=lambda move: (-move.predicted_seconds, move.vm_name, move.vm))
    numbered = tuple(replace(move, number=number) for number, move in enumerate(moves, 1))
    refusals = tuple(sorted(planner.refusals, key=lambda refusal: (refusal.vm_name, refusal.vm)))
    settled = tuple(sorted(planner.settled))
    plan = Plan("", estate.vcenter, numbered, refusals, settled)
    return replace(plan, plan_id=plan_id_of(plan))


def plan_id_of(plan: Plan) -> str:
    """SHA-256 over what the plan decides, as hex.

    Predictions, explanations and the order of moves follow the load, which changes every minute: they do not count.
    """
    content = {
        "vcenter": plan.vcenter.instance_uuid,
        "moves": sorted([m.vm, m.source, m.target, m.pool or ""] for m in plan.moves),
        "stay": sorted([r.vm, r.blocking] for r in plan.refusals),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def utilization(host: HostState) -> tuple[float, float]:
    """Used shares (0..1) of a host's memory and CPU."""
    return _share(host.memory_used_bytes, host.memory_bytes), _share(host.cpu_used_mhz, host.cpu_mhz)


def predicted_seconds(vm: VmState, link_mbit: int | None) -> float:
    """Expected duration of a vMotion: consumed memory over the usable link, plus set-up (a hint only)."""
    memory = vm.memory_used_bytes or vm.memory_bytes
    return round(SETUP_SECONDS + memory * 8 / (LINK_SHARE * (link_mbit or 10_000) * 1e6), 1)


def memory_demand(vm: VmState) -> int:
    """Bytes a target must have free: what the VM consumes now, or its reservation when larger."""
    return max(vm.memory_used_bytes or vm.memory_bytes, vm.memory_reservation_bytes)


def _share(used: float, total: float) -> float:
    return used / total if total else 1.0


def _hardest_first(vm: VmState) -> tuple[int, str, str]:
    return (-memory_demand(vm), vm.name, vm.moid)


def vm_reasons(estate: Estate, vm: VmState) -> tuple[Reason, ...]:
    """Every reason that lies in the VM itself (vSphere's vMotion requirements; facts of blockers by property)."""
    return (*_state_reasons(vm), *_lock_reasons(vm), *_attachment_reasons(estate, vm))


def _state_reasons(vm: VmState) -> Iterator[Reason]:
    if vm.template:
        yield Reason("template", vm.name, "A template runs nothing and may stay")
    elif vm.power is not Power.ON:
        yield Reason("not_powered_on", vm.name, f"The VM is {vm.power}; power it on to move it live, or leave it")
    if vm.managed_by:
        yield Reason("managed_by", vm.managed_by, "vCenter manages this VM and moves or removes it by itself")
    if vm.connection != "connected":
        yield Reason("vm_connection", vm.connection, "Repair the VM's connection in vCenter first")
    if vm.fault_tolerance:
        yield Reason("fault_tolerance", vm.name, "Suspend Fault Tolerance, or move the VM by hand")
    if vm.cpu_affinity:
        yield Reason("cpu_affinity", vm.name, "Remove the CPU or memory affinity")


def _lock_reasons(vm: VmState) -> Iterator[Reason]:
    if vm.moving_task:
        yield Reason("already_moving", vm.moving_task, "Wait until the running move has ended, then plan again")
    if vm.busy:
        yield Reason("busy", vm.busy, "Wait until the running task has ended, then plan again")
    if vm.question:
        yield Reason("pending_question", vm.question, "Answer the VM's question in vCenter")
    for method in sorted(vm.disabled_methods & {"RelocateVM_Task", "MigrateVM_Task"}):
        yield Reason("method_disabled", method, "A backup or another solution locks the VM; let it finish")


def _attachment_reasons(estate: Estate, vm: VmState) -> Iterator[Reason]:
    for device in vm.devices:
        if device.kind in ("pci_passthrough", "sriov"):
            yield Reason("passthrough_device", device.label, "A passthrough device cannot move live; detach it")
        elif device.kind != "vgpu":
            yield Reason("host_device", device.label, "Disconnect this device of the host from the VM")
    for moid in sorted(vm.datastores):
        datastore = estate.datastores.get(moid)
        if datastore is not None and datastore.hosts <= {vm.host}:
            yield Reason("local_datastore", datastore.name, "Move the VM's files to a datastore that other hosts mount")


@dataclass(frozen=True, slots=True)
class _Load:
    memory: int
    cpu: int


class _Planner:
    """Places VMs one after the other; the ledger holds what each host will carry."""

    def __init__(self, estate: Estate, request: PlanRequest) -> None:
        self._estate = estate
        self._request = request
        self._ledger = {h.moid: _Load(h.memory_used_bytes, h.cpu_used_mhz) for h in estate.hosts.values()}
        self._arrivals: Counter[str] = Counter()
        self._where = {vm.moid: vm.host for vm in estate.vms.values()}
        self.moves: list[Move] = []
        self.refusals: list[Refusal] = []
        self.settled: list[str] = []
        self._reserve_moves_in_flight()

    def _reserve_moves_in_flight(self) -> None:
        for moid, (target, task) in self._request.moving.items():
            vm, host = self._estate.vms.get(moid), self._estate.hosts.get(target)
            if vm is None or host is None or vm.moving_task != task:
                continue
            self._arrive(vm, host)
            if moid in self._request.vms and self._may_adopt(vm, target):
                move = self._move(vm, host, "already on its way", task)
                self.moves.append(replace(move, inferred=moid in self._request.inferred))

    def _may_adopt(self, vm: VmState, target: str) -> bool:
        """A task leads where the VM is wanted; after one that may be another's, the VM must be fit for a move of our own."""
        fit = all(reason.check == "already_moving" for reason in vm_reasons(self._estate, vm))
        return self._request.destinations.get(vm.moid, target) == target and (
            vm.moid not in self._request.inferred or fit
        )

    def place(self, vm: VmState) -> None:
        """Give one VM a target, a refusal, or nothing because it is where it shall be."""
        if any(move.vm == vm.moid for move in self.moves):
            return
        wanted = self._request.destinations.get(vm.moid)
        if wanted == vm.host:
            self._keep(vm)
            return
        reasons = list(vm_reasons(self._estate, vm))
        fitting, causes = self._targets(vm, wanted)
        if not fitting:
            reasons += causes
        if reasons:
            blocking = not any(reason.check in _HARMLESS for reason in reasons)
            self.refusals.append(Refusal(vm.moid, vm.name, tuple(reasons), blocking))
            return
        target = min(fitting, key=lambda host: self._rank(vm, host))
        self.moves.append(self._move(vm, target, self._why(vm, target, wanted)))
        self._arrive(vm, target)

    def _keep(self, vm: VmState) -> None:
        """A VM is where it shall be, unless a task may take it away from there: then nobody knows yet where it will be."""
        moving = tuple(reason for reason in _lock_reasons(vm) if reason.check == "already_moving")
        if moving:
            self.refusals.append(Refusal(vm.moid, vm.name, moving))
        else:
            self.settled.append(vm.name)

    def _targets(self, vm: VmState, wanted: str | None) -> tuple[list[HostState], list[Reason]]:
        """Hosts that can take the VM, and the distinct reasons why others cannot."""
        hosts = self._candidates(vm, wanted)
        fitting, causes = [], []
        for host in hosts:
            reasons = list(self._target_reasons(vm, host))
            if reasons:
                causes += reasons
            else:
                fitting.append(host)
        if not hosts:
            causes = [Reason("no_target", vm.name, "The cluster has no other host; add one or give a destination")]
        return fitting, _condensed(causes)

    def _candidates(self, vm: VmState, wanted: str | None) -> list[HostState]:
        hosts = self._estate.hosts
        if wanted is not None:
            return [hosts[wanted]] if wanted in hosts else []
        source = hosts.get(vm.host)
        cluster = source.cluster if source else None
        return [h for h in sorted(hosts.values(), key=lambda h: h.name) if h.cluster == cluster and h.moid != vm.host]

    def _target_reasons(self, vm: VmState, host: HostState) -> Iterator[Reason]:
        yield from self._host_reasons(vm, host)
        yield from self._connectivity_reasons(vm, host)
        yield from self._capacity_reasons(vm, host)
        yield from self._rule_reasons(vm, host)

    def _host_reasons(self, vm: VmState, host: HostState) -> Iterator[Reason]:
        request, source = self._request, self._estate.hosts.get(vm.host)
        if host.moid in request.excluded_targets or (
            request.allowed_targets is not None and host.moid not in request.allowed_targets
        ):
            yield Reason("excluded", host.name, "The host is excluded by the operator")
        if host.maintenance is not Maintenance.NORMAL:
            yield Reason("target_maintenance", host.name, "The host is in or entering maintenance mode")
        if host.connection is not Connection.CONNECTED:
            yield Reason("target_disconnected", host.name, "Reconnect the host")
        if not host.vmotion_enabled:
            yield Reason("target_vmotion_off", host.name, "Enable vMotion on a VMkernel adapter of the host")
        if source is not None and source.cluster != host.cluster:
            yield Reason("other_cluster", host.name, "Choose a host of the VM's cluster")
        if not self._domain_allowed(source, host):
            yield Reason(
                "fault_domain", host.name, f"Its fault domain {host.fault_domain} is against policy {request.policy}"
            )

    def _domain_allowed(self, source: HostState | None, host: HostState) -> bool:
        policy = self._request.policy
        if source is None or policy not in (Policy.SAME_ONLY, Policy.OTHER_ONLY):
            return True
        if source.fault_domain is None or host.fault_domain is None:
            return False  # unassigned: never guess
        return (source.fault_domain == host.fault_domain) is (policy is Policy.SAME_ONLY)

    def _connectivity_reasons(self, vm: VmState, host: HostState) -> Iterator[Reason]:
        for moid in sorted(vm.datastores - host.datastores):
            name = self._estate.datastores[moid].name if moid in self._estate.datastores else moid
            yield Reason("missing_datastore", name, "Mount the datastore on another host of the cluster")
        for moid in sorted(vm.networks - host.networks):
            name = self._estate.networks[moid].name if moid in self._estate.networks else moid
            yield Reason("missing_network", name, "Provide the network on another host of the cluster")

    def _capacity_reasons(self, vm: VmState, host: HostState) -> Iterator[Reason]:
        load = self._ledger[host.moid]
        request = self._request
        if load.memory + memory_demand(vm) > host.memory_bytes * (1 - request.memory_headroom):
            yield Reason(
                "no_capacity_memory",
                host.name,
                f"{memory_demand(vm) / GIB:.0f} GiB do not fit; free memory, or lower memory_headroom",
            )
        if load.cpu + vm.cpu_used_mhz > host.cpu_mhz * (1 - request.cpu_headroom):
            yield Reason("no_capacity_cpu", host.name, "Free CPU on the host, or lower cpu_headroom")

    def _rule_reasons(self, vm: VmState, host: HostState) -> Iterator[Reason]:
        for rule in self._estate.anti_affinity:
            if vm.moid in rule.vms and any(self._where.get(peer) == host.moid for peer in rule.vms if peer != vm.moid):
                yield Reason("anti_affinity", rule.name, f"A VM of this rule is on {host.name} already")
        for vm_host in self._estate.vm_host_rules:
            if vm.moid in vm_host.vms and (host.moid in vm_host.hosts) is not vm_host.affine:
                yield Reason("vm_host_rule", vm_host.name, f"The rule forbids {host.name}")

    def _rank(self, vm: VmState, host: HostState) -> tuple[int, int, float, int, str]:
        source = self._estate.hosts.get(vm.host)
        known = source is not None and source.fault_domain is not None
        same = source is not None and known and source.fault_domain == host.fault_domain
        policy = self._request.policy
        spill = 0
        if policy is Policy.SAME_PREFERRED:
            spill = int(known and not same)
        elif policy is Policy.OTHER_PREFERRED:
            spill = int(same or host.fault_domain is None)
        other = int(self._request.preferred.get(vm.moid, host.moid) != host.moid)
        return (other, spill, round(max(self._after(vm, host)), 4), self._arrivals[host.moid], host.name)

    def _after(self, vm: VmState, host: HostState) -> tuple[float, float]:
        load = self._ledger[host.moid]
        return _share(load.memory + memory_demand(vm), host.memory_bytes), _share(
            load.cpu + vm.cpu_used_mhz, host.cpu_mhz
        )

    def _arrive(self, vm: VmState, host: HostState) -> None:
        load = self._ledger[host.moid]
        self._ledger[host.moid] = _Load(load.memory + memory_demand(vm), load.cpu + vm.cpu_used_mhz)
        self._arrivals[host.moid] += 1
        self._where[vm.moid] = host.moid

    def _why(self, vm: VmState, host: HostState, wanted: str | None) -> str:
        memory, cpu = self._after(vm, host)
        chosen = "given destination" if wanted is not None else "least used fitting host"
        domain = f" of {host.fault_domain}" if host.fault_domain else ""
        return f"{chosen}{domain} ({100 * memory:.0f} % memory, {100 * cpu:.0f} % CPU after the move)"

    def _move(self, vm: VmState, target: HostState, why: str, task: str | None = None) -> Move:
        source = self._estate.hosts.get(vm.host)
        links = [h.link_mbit for h in (source, target) if h is not None and h.link_mbit is not None]
        return Move(
            number=0,
            vm=vm.moid,
            vm_name=vm.name,
            source=vm.host,
            source_name=source.name if source else vm.host,
            target=target.moid,
            target_name=target.name,
            memory_bytes=vm.memory_bytes,
            predicted_seconds=predicted_seconds(vm, min(links, default=None)),
            source_fault_domain=source.fault_domain if source else None,
            target_fault_domain=target.fault_domain,
            task=task,
            why=why,
        )


def _condensed(causes: Iterable[Reason]) -> list[Reason]:
    """One reason a check: the objects it failed on, joined."""
    by_check: dict[str, list[Reason]] = {}
    for reason in causes:
        by_check.setdefault(reason.check, []).append(reason)
    return [
        Reason(check, ", ".join(dict.fromkeys(r.object for r in reasons)), reasons[0].hint)
        for check, reasons in sorted(by_check.items())
    ]


def assume_in_service(estate: Estate, *hosts: str) -> Estate:
    """The estate as it will be once hosts (MoIDs) are out of maintenance mode: what check mode plans a restore against."""
    states = {
        host: replace(estate.hosts[host], maintenance=Maintenance.NORMAL, maintenance_task=None) for host in hosts
    }
    return replace(estate, hosts={**estate.hosts, **states})


@dataclass(frozen=True, slots=True)
class Drift:
    """A move that no longer holds: the VM's name and what is different now."""

    vm_name: str
    what: str


def revalidate(plan: Plan, estate: Estate) -> tuple[Drift, ...]:
    """What of the plan no longer holds.

    A VM that already is on its target, or is moved there by the plan's own task, is no drift.
    """
    return tuple(Drift(move.vm_name, what) for move in plan.moves if (what := _drift(move, estate)))


def _drift(move: Move, estate: Estate) -> str:
    vm, target = estate.vms.get(move.vm), estate.hosts.get(move.target)
    if vm is None:
        return "the VM no longer exists"
    if vm.host == move.target or (move.task is not None and vm.moving_task == move.task):
        return ""
    if vm.host != move.source:
        place = estate.hosts[vm.host].name if vm.host in estate.hosts else vm.host
        return f"the VM is on {place}, not on {move.source_name}"
    if target is None:
        return f"the target {move.target_name} no longer exists"
    if target.connection is not Connection.CONNECTED or target.maintenance is not Maintenance.NORMAL:
        return f"the target {target.name} is {target.connection}, maintenance {target.maintenance}"
    reasons = vm_reasons(estate, vm)
    return "; ".join(f"{reason.check} ({reason.object})" for reason in reasons)


def departures(approved: Plan, now: Plan, estate: Estate, hosts: Collection[str] = ()) -> tuple[Drift, ...]:
    """What the plan made now does otherwise than an approved one.

    No departure: a move that is done already, so that a killed run goes on; and a move that touches none of ``hosts``
    (MoIDs; none means all), because the plan of a fault domain serves for each of its hosts.
    """
    given = {move.vm: move for move in approved.moves}
    known = {refusal.vm for refusal in approved.refusals}
    planned = {move.vm for move in now.moves}
    found = [Drift(m.vm_name, what) for m in now.moves if (what := _other_target(m, given.get(m.vm)))]
    found += [
        Drift(move.vm_name, what)
        for move in approved.moves
        if move.vm not in planned
        and (not hosts or move.source in hosts or move.target in hosts)
        and (what := _not_done(move, now, estate))
    ]
    found += [
        Drift(refusal.vm_name, f"it stays ({_checks(refusal)}), which nobody approved")
        for refusal in now.refusals
        if refusal.blocking and refusal.vm not in known and refusal.vm not in given
    ]
    return tuple(sorted(found, key=lambda drift: drift.vm_name))


def _other_target(move: Move, given: Move | None) -> str:
    if given is None:
        return f"it would move to {move.target_name}, which nobody approved"
    if given.target != move.target:
        return f"it would move to {move.target_name}; approved is {given.target_name}"
    return ""


def _not_done(move: Move, now: Plan, estate: Estate) -> str:
    vm = estate.vms.get(move.vm)
    if vm is None:
        return "the VM no longer exists"
    if vm.host == move.target:
        return ""
    refusal = next((refusal for refusal in now.refusals if refusal.vm == move.vm), None)
    if refusal is not None:
        return f"it cannot move to {move.target_name} any more ({_checks(refusal)})"
    if vm.host == move.source:
        return f"its move to {move.target_name} is no longer asked for"
    place = estate.hosts[vm.host].name if vm.host in estate.hosts else vm.host
    return f"it is on {place}, not on {move.source_name}"


def _checks(refusal: Refusal) -> str:
    return ", ".join(sorted({reason.check for reason in refusal.reasons}))


def plan_lines(plan: Plan) -> list[str]:
    """``vm: source → target`` a move, by number."""
    return [f"{m.vm_name}: {m.source_name} → {m.target_name}" for m in plan.moves]


def plan_diff(plan: Plan) -> dict[str, Any]:
    """Placement before and after, as Ansible's diff shows it."""
    return {
        "before": "".join(f"{m.vm_name}: {m.source_name}\n" for m in plan.moves),
        "after": "".join(f"{m.vm_name}: {m.source_name} → {m.target_name}\n" for m in plan.moves),
        "before_header": "placement",
        "after_header": "placement (vm: source → target)",
    }
