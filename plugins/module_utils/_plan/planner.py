# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: a target for each VM, or every reason why it stays. Pure and deterministic.

A ledger of memory and CPU counts the plan's own arrivals, because vCenter's checks reserve nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .._vsphere.estate import (
    Connection,
    Estate,
    HostState,
    Maintenance,
    VmState,
)
from .blockers import HARMLESS, lock_reasons, vm_reasons
from .codec import plan_id_of
from .model import (
    Move,
    Plan,
    PlanRequest,
    Policy,
    Reason,
    Refusal,
)

GIB = 1024**3
SETUP_SECONDS = 6.0  # preparation and switch-over of a vMotion around the copy of memory
LINK_SHARE = 0.8  # of the link's bandwidth that copies memory


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
            blocking = not any(reason.check in HARMLESS for reason in reasons)
            self.refusals.append(Refusal(vm.moid, vm.name, tuple(reasons), blocking))
            return
        target = min(fitting, key=lambda host: self._rank(vm, host))
        self.moves.append(self._move(vm, target, self._why(vm, target, wanted)))
        self._arrive(vm, target)

    def _keep(self, vm: VmState) -> None:
        """A VM is where it shall be, unless a task may take it away from there: then nobody knows yet where it will be."""
        moving = tuple(reason for reason in lock_reasons(vm) if reason.check == "already_moving")
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
