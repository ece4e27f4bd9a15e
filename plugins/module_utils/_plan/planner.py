# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: chooses a target host for each VM, or returns every reason why the VM stays. Pure and deterministic.

Of the hosts that fit, the planner takes the one with the lowest load after the move. It counts the load of its own earlier
moves, because vCenter's checks reserve nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from .._vsphere.estate import (
    IDLE,
    Connection,
    Estate,
    HostState,
    Maintenance,
    VmState,
    has_unknown_place,
    shows_use,
    used_share,
)
from .._vsphere.qualified import crosses
from .availability import violations
from .blockers import BLOCKERS, lock_reasons, reason, unreadable, vm_reasons
from .codec import plan_id_of
from .crossing import crossing_blockers, notes_about, settings_left
from .drs import decisions
from .evc import lacks_mode
from .graphics import GraphicsPlanner
from .homes import stray_text
from .model import (
    Move,
    PartMove,
    Plan,
    PlanRequest,
    Policy,
    Reason,
    Refusal,
    Scope,
)
from .selection import display_name
from .sites import Landing, datastore_on, existing_names, landing, present_place
from .storage import Blocked, StoragePlanner, left_datastores, policy_notes

GIB = 1024**3
SETUP_SECONDS = 6.0  # of a vMotion: preparation before the copy of memory, and switch-over after it
LINK_SHARE = 0.8  # share of the link's bandwidth that copies memory

# The newest virtual hardware version that each ESXi supports (Broadcom KB 315655), newest first.
HARDWARE_VERSIONS = (
    ((9, 0), 22), ((8, 0, 2), 21), ((8, 0), 20), ((7, 0, 2), 19), ((7, 0, 1), 18), ((7, 0), 17), ((6, 7), 15), ((6, 5), 13),
)  # fmt: skip

STORAGE_BYTES_PER_SECOND = 200e6  # at which a datastore is assumed to take files, if the link is not slower


def make_plan(estate: Estate, request: PlanRequest) -> Plan:
    """Plan the VMs of the request. Each of them is then in exactly one of moves, refusals and settled."""
    planner = _Planner(estate, request)
    for vm in sorted((estate.vms[moid] for moid in request.vms), key=_hardest_first):
        planner.place(vm)
    moves = sorted(planner.moves, key=lambda move: (-move.predicted_seconds, move.vm_name, move.vm))
    numbered = tuple(replace(move, number=number) for number, move in enumerate(moves, 1))
    away = (Refusal(a.vm, a.vm_name, (reason(a.check, a.object),), blocking=False) for a in request.away)
    refusals = tuple(sorted((*planner.refusals, *away), key=lambda refusal: (refusal.vm_name, refusal.vm)))
    settled = tuple(sorted(planner.settled))
    unsafe = violations(estate, request.evacuated)
    drs = decisions(estate, request, numbered, unsafe)
    notes = (
        *notes_about(estate, request.wan, numbered),
        *settings_left(
            estate, (move for move in numbered if move.vm not in request.places)
        ),  # not of one that comes home
        *policy_notes(estate, request.storage, numbered),
        *request.storage.advice,
        *unsafe.values(),
        *request.notes,
    )
    plan = Plan(
        "", estate.vcenter, numbered, refusals, settled, drs=drs, second=estate.second, wan=request.wan, notes=notes
    )
    return replace(plan, plan_id=plan_id_of(plan))


def predicted_seconds(
    vm: VmState, link_mbit: float | None, storage_bytes: int = 0, *, changes_host: bool = True
) -> float:
    """Expected duration of a move that has the link to itself: set-up, plus consumed memory and files over usable bandwidth."""
    memory = (vm.memory_used_bytes or vm.memory_bytes) if changes_host else 0
    link = LINK_SHARE * (link_mbit or 10_000) * 1e6 / 8
    files = min(link, STORAGE_BYTES_PER_SECOND) if changes_host else STORAGE_BYTES_PER_SECOND
    return round(SETUP_SECONDS + memory / link + storage_bytes / files, 1)


def memory_demand(vm: VmState) -> int:
    """Bytes that a target must have free: the VM's consumed memory, or its reservation if that is larger."""
    return max(vm.memory_used_bytes or vm.memory_bytes, vm.memory_reservation_bytes)


def newest_hardware(version: str) -> int | None:
    """The newest virtual hardware version that an ESXi version (``8.0.2``) supports; ``None`` if that is not known."""
    try:
        numbers = tuple(int(part) for part in version.split("."))
    except ValueError:
        return None
    return next((hardware for since, hardware in HARDWARE_VERSIONS if numbers >= since), None)


def _hardest_first(vm: VmState) -> tuple[int, str, str]:
    return (-memory_demand(vm), vm.name, vm.moid)


@dataclass(frozen=True, slots=True)
class _Load:
    memory: int
    cpu: int


def _present_loads(estate: Estate) -> dict[str, _Load]:
    """The load of each host (MoID). Where vCenter does not show it, it is at least that of the VMs that run there, or may run."""
    loads = {host.moid: _Load(host.memory_used_bytes, host.cpu_used_mhz) for host in estate.hosts.values()}
    dark = {host.moid: _Load(0, 0) for host in estate.hosts.values() if not shows_use(estate, host)}
    for vm in estate.vms.values():
        if vm.host in dark and vm.power not in IDLE:
            load = dark[vm.host]
            dark[vm.host] = _Load(load.memory + memory_demand(vm), load.cpu + vm.cpu_used_mhz)
    for moid, least in dark.items():
        shown = loads[moid]
        loads[moid] = _Load(max(shown.memory, least.memory), max(shown.cpu, least.cpu))
    return loads


class _Planner:
    """Places one VM after the other. The ledger holds the load of each host after the moves planned so far."""

    def __init__(self, estate: Estate, request: PlanRequest) -> None:
        self._estate = estate
        self._request = request
        self._ledger = _present_loads(estate)
        self._arrivals: Counter[str] = Counter()
        self._where = {vm.moid: vm.host for vm in estate.vms.values()}
        self._storage = StoragePlanner(estate, request.storage)
        self._graphics = GraphicsPlanner(estate, request.stall_budget, request.wan.mbit)
        self.moves: list[Move] = []
        self.refusals: list[Refusal] = []
        self.settled: list[str] = []
        self._reserve_moves_in_flight()

    def _reserve_moves_in_flight(self) -> None:
        for moid, (target, task) in self._request.moving.items():
            vm, host = self._estate.vms.get(moid), self._estate.hosts.get(target)
            if vm is None or host is None or vm.moving_task != task:
                continue
            parts = self._storage.in_flight(vm)
            self._arrive(vm, host, parts)
            if moid in self._request.vms and self._may_adopt(vm, target):
                move = self._move(vm, host, "already on its way", parts, task)
                self.moves.append(replace(move, inferred=moid in self._request.inferred))

    def _may_adopt(self, vm: VmState, target: str) -> bool:
        """Whether a running task may count as the VM's move: it leads to the VM's destination and datastores, if there are any.

        A task that may belong to somebody else counts only for a VM that could move without it.
        """
        fit = all(r.check == "already_moving" for r in self._vm_reasons(vm, self._estate.hosts[target]))
        leads_there = self._request.destinations.get(vm.moid, target) == target and self._storage.accepts(vm)
        return leads_there and (vm.moid not in self._request.inferred or fit)

    def place(self, vm: VmState) -> None:
        """Give one VM a target or a refusal, or list it as settled because it is at its destination."""
        if any(move.vm == vm.moid for move in self.moves):
            return
        destination = self._request.destinations.get(vm.moid)
        if destination is None and self._is_in_cluster(vm):
            destination = vm.host
        if self._is_settled(vm, destination):
            self._keep(vm)
            return
        hosts = self._candidates(vm, destination)
        reasons = [
            *self._vm_reasons(vm, *hosts),
            *(reason("not_permitted", privilege) for privilege in self._request.not_permitted.get(vm.moid, ())),
            *(reason("home_unreadable", text) for text in self._overwritten(vm)),
        ]
        fitting, causes = self._targets(vm, hosts)
        if not fitting and not has_unknown_place(self._estate, vm):  # then it is not known which hosts could take it
            reasons += causes
        if reasons:
            blocking = all(BLOCKERS[r.check].prevents_maintenance for r in reasons)
            self.refusals.append(Refusal(vm.moid, vm.name, tuple(reasons), blocking))
            return
        target, parts = min(fitting, key=lambda fit: self._rank(vm, *fit))
        self.moves.append(self._move(vm, target, self._why(vm, target, destination), parts))
        self._arrive(vm, target, parts)

    def _is_settled(self, vm: VmState, destination: str | None) -> bool:
        """Whether the VM has neither to change its host nor the datastore of a part."""
        if destination != vm.host and self._request.storage.scope is not Scope.STORAGE:
            return False
        host = self._estate.hosts.get(vm.host)
        return host is None or self._storage.parts_on(vm, host) == ((), ())

    def _vm_reasons(self, vm: VmState, *hosts: HostState) -> tuple[Reason, ...]:
        """The reasons that lie in the VM itself, if it may move to one of the hosts."""
        leaving = {part.datastore for part in vm.parts} if self._storage.may_move(vm) else ()
        stays = [host.moid for host in hosts] == [vm.host]
        return vm_reasons(self._estate, vm, leaving, stays=stays, evacuated=vm.host in self._request.evacuated)

    def _overwritten(self, vm: VmState) -> Iterator[str]:
        """The text in the VM's home attribute that is not a home, and that an evacuation would overwrite."""
        if vm.host in self._request.evacuated and (text := stray_text(vm)):
            yield text

    def _is_in_cluster(self, vm: VmState) -> bool:
        """Whether the VM is in the cluster to which it should move, on a host that nobody evacuates."""
        host = self._estate.hosts.get(vm.host)
        return host is not None and host.cluster == self._request.cluster and host.moid not in self._request.evacuated

    def _keep(self, vm: VmState) -> None:
        """The VM is at its destination. If a task is moving it, nobody knows on which host it will be."""
        moving = tuple(r for r in lock_reasons(vm) if r.check == "already_moving")
        if moving:
            self.refusals.append(Refusal(vm.moid, vm.name, moving))
        else:
            self.settled.append(display_name(self._estate, vm.moid))

    def _targets(
        self, vm: VmState, hosts: Sequence[HostState]
    ) -> tuple[list[tuple[HostState, tuple[PartMove, ...]]], list[Reason]]:
        """The hosts that can take the VM, with the parts that move; and one reason for each check that other hosts fail."""
        if not hosts:
            return [], [reason("no_target", vm.name)]
        fitting, objects = [], dict[str, list[str]]()
        for host in hosts:
            parts, blocked = self._storage.parts_on(vm, host)
            blocked = (*self._target_blockers(vm, host, parts, blocked), *blocked)
            if not blocked:
                fitting.append((host, parts))
            for check, found in blocked:
                objects.setdefault(check, []).append(found)
        figures = self._figures(vm, hosts)
        if objects.keys() & {"no_pool", "no_folder", "no_network"}:
            figures = {**figures, **existing_names(self._estate, hosts)}
        return fitting, [
            reason(check, ", ".join(dict.fromkeys(found)), **figures) for check, found in sorted(objects.items())
        ]

    def _candidates(self, vm: VmState, destination: str | None) -> list[HostState]:
        hosts = self._estate.hosts
        if self._request.storage.scope is Scope.STORAGE:
            destination = vm.host
        if destination is not None:
            return [hosts[destination]] if destination in hosts else []
        source = hosts.get(vm.host)
        cluster = self._request.cluster or (source.cluster if source else None)
        return [h for h in sorted(hosts.values(), key=lambda h: h.name) if h.cluster == cluster and h.moid != vm.host]

    def _target_blockers(
        self, vm: VmState, host: HostState, parts: Sequence[PartMove], storage: Sequence[Blocked]
    ) -> Iterator[Blocked]:
        """The checks that a host fails; those of the datastores for the VM's files are in ``storage`` already."""
        if (checked := self._request.checked.get((vm.moid, host.moid))) is not None and checked.errors:
            yield "vcenter_check", f"{host.name}: {', '.join(checked.errors)}"
        if host.moid == vm.host:
            return  # only files move
        yield from self._host_blockers(vm, host)
        # Without a datastore for the files, that is the reason, and not that the host lacks the one where they are.
        left = {part.datastore for part in vm.parts} if storage else left_datastores(parts)
        yield from self._connectivity_blockers(vm, host, left)
        yield from self._hardware_blockers(vm, host)
        yield from self._capacity_blockers(vm, host)
        yield from self._rule_blockers(vm, host)

    def _host_blockers(self, vm: VmState, host: HostState) -> Iterator[Blocked]:
        request, source = self._request, self._estate.hosts.get(vm.host)
        yield from self._unread(source, host)
        if host.moid in request.excluded_targets or (
            request.allowed_targets is not None and host.moid not in request.allowed_targets
        ):
            yield "excluded", host.name
        if host.maintenance is not Maintenance.NORMAL:
            yield "target_maintenance", host.name
        if host.connection not in (Connection.CONNECTED, Connection.UNKNOWN):
            yield "target_disconnected", host.name
        if not host.vmotion_enabled and host.moid not in self._estate.unreadable:
            yield "target_vmotion_off", host.name
        if host.standby:
            yield "target_standby", host.name
        if host.failover:
            yield "failover_host", host.name
        if not self._domain_allowed(source, host):
            yield "fault_domain", host.name
        if source is not None:
            yield from crossing_blockers(self._estate, request, source, host)

    def _unread(self, source: HostState | None, host: HostState) -> Iterator[Blocked]:
        """What could not be read of the host, and of its cluster if it is another one. That of the VM's own is a reason of the VM."""
        objects = {host.moid: host.name}
        if source is not None and source.cluster != host.cluster:
            objects[host.cluster] = host.cluster_name
        for moid, name in objects.items():
            if what := unreadable(self._estate, moid, name):
                yield "unreadable", what

    def _domain_allowed(self, source: HostState | None, host: HostState) -> bool:
        policy = self._request.policy
        if source is None or policy not in (Policy.SAME_ONLY, Policy.OTHER_ONLY):
            return True
        if source.fault_domain is None or host.fault_domain is None:
            return False  # an unknown fault domain is never taken for the right one
        return (source.fault_domain == host.fault_domain) is (policy is Policy.SAME_ONLY)

    def _connectivity_blockers(self, vm: VmState, host: HostState, left: Collection[str]) -> Iterator[Blocked]:
        """``left`` are the datastores (MoIDs) that the VM's files leave."""
        known = self._estate.datastores
        for moid in sorted(vm.datastores.difference(left)):
            if not datastore_on(self._estate, moid, host):
                yield "missing_datastore", known[moid].name if moid in known else moid
        kept = vm.datastores.difference(left)
        if self._leaves_site(vm, host) and len(kept) > 1:
            yield "several_datastores", ", ".join(sorted(known[m].name if m in known else m for m in kept))
        yield from self._landing(vm, host).blocked
        if not self._crosses(vm, host):
            for moid in sorted(vm.networks - vm.unplugged_networks - host.networks):
                yield "missing_network", self._estate.networks[moid].name if moid in self._estate.networks else moid

    def _leaves_site(self, vm: VmState, host: HostState) -> bool:
        """Whether the host is in another data centre than the VM."""
        source = self._estate.hosts.get(vm.host)
        return source is not None and source.datacenter_moid != host.datacenter_moid

    def _landing(self, vm: VmState, host: HostState) -> Landing:
        return landing(self._estate, self._request, vm, host)

    def _crosses(self, vm: VmState, host: HostState) -> bool:
        """Whether the host is in another cluster than the VM."""
        source = self._estate.hosts.get(vm.host)
        return source is not None and source.cluster != host.cluster

    def _hardware_blockers(self, vm: VmState, host: HostState) -> Iterator[Blocked]:
        newest = newest_hardware(host.version)
        if newest is not None and vm.hardware_version is not None and vm.hardware_version > newest:
            yield "hardware_version", host.name
        if host.threads is not None and vm.cpus > host.threads:
            yield "too_few_processors", host.name
        if lacks_mode(host.evc_mode, vm.evc_mode):
            yield "evc_mode", f"{host.name} ({host.evc_mode})"
        yield from self._graphics.blockers(vm, host)

    def _capacity_blockers(self, vm: VmState, host: HostState) -> Iterator[Blocked]:
        if memory_demand(vm) > self._free_memory(host):
            yield "no_capacity_memory", host.name
        if vm.cpu_used_mhz > self._free_cpu(host):
            yield "no_capacity_cpu", host.name

    def _rule_blockers(self, vm: VmState, host: HostState) -> Iterator[Blocked]:
        for rule in self._estate.anti_affinity:
            if vm.moid in rule.vms and any(self._where.get(peer) == host.moid for peer in rule.vms if peer != vm.moid):
                yield "anti_affinity", rule.name
        for vm_host in self._estate.vm_host_rules:
            if vm_host.mandatory and vm_host.forbids(vm.moid, host.moid):
                yield "vm_host_rule", vm_host.name

    def _free_memory(self, host: HostState) -> float:
        """Bytes free above the headroom."""
        return host.memory_bytes * (1 - self._request.memory_headroom) - self._ledger[host.moid].memory

    def _free_cpu(self, host: HostState) -> float:
        """MHz free above the headroom."""
        return host.cpu_mhz * (1 - self._request.cpu_headroom) - self._ledger[host.moid].cpu

    def _figures(self, vm: VmState, hosts: Sequence[HostState]) -> Mapping[str, object]:
        """The figures that remedies name. Of the hosts that are too full for the VM, they name the one with the most room."""
        demand = memory_demand(vm)
        memory = max((h for h in hosts if self._free_memory(h) < demand), key=self._free_memory, default=hosts[0])
        cpu = max((h for h in hosts if self._free_cpu(h) < vm.cpu_used_mhz), key=self._free_cpu, default=hosts[0])
        storage, datastore = self._storage.shortage(vm, hosts)
        room = self._storage.free(vm, datastore) if datastore else 0
        # What is needed is rounded up and what is free down, so that the figures never seem to fit.
        return {
            "policy": self._request.policy,
            "hardware_version": vm.hardware_version,
            "cpus": vm.cpus,
            "evc_mode": vm.evc_mode,
            "memory_needed": f"{ceil(10 * demand / GIB) / 10:g}",
            "memory_host": memory.name,
            "memory_free": f"{max(0, floor(10 * self._free_memory(memory) / GIB)) / 10:g}",
            "cpu_needed": vm.cpu_used_mhz,
            "cpu_host": cpu.name,
            "cpu_free": max(0, floor(self._free_cpu(cpu))),
            "storage_needed": f"{ceil(10 * storage / GIB) / 10:g}",
            "datastore": datastore.name if datastore else "none",
            "datastore_free": f"{max(0, floor(10 * room / GIB)) / 10:g}",
            **self._graphics.figures(vm, hosts),
        }

    def _rank(
        self, vm: VmState, host: HostState, parts: Sequence[PartMove]
    ) -> tuple[int, int, int, int, int, int, int, float, int, str]:
        """Sorts hosts: the approved target first, a host that fails last, then by rules of DRS, by preferred fault domain, by the
        bytes of files that must move, by load.

        A host in quarantine or with a red alarm is often the emptiest one, because somebody empties it. One of which vCenter has no
        figures yet, because it was connected a moment ago, only looks empty.
        """
        other = int(self._request.preferred.get(vm.moid, host.moid) != host.moid)
        failing = int(host.quarantined or host.red)
        broken = sum(rule.forbids(vm.moid, host.moid) for rule in self._estate.vm_host_rules)
        load = round(max(self._after(vm, host)), 4)
        return (
            other, failing, broken, self._spill(vm, host), self._parted(vm, host), sum(p.size for p in parts if p.moves),
            int(not shows_use(self._estate, host)), load, self._arrivals[host.moid], host.name,
        )  # fmt: skip

    def _spill(self, vm: VmState, host: HostState) -> int:
        """1 if the host is not in the preferred fault domain."""
        source = self._estate.hosts.get(vm.host)
        known = source is not None and source.fault_domain is not None
        same = source is not None and known and source.fault_domain == host.fault_domain
        if self._request.policy is Policy.SAME_PREFERRED:
            return int(known and not same)
        if self._request.policy is Policy.OTHER_PREFERRED:
            return int(same or host.fault_domain is None)
        return 0

    def _parted(self, vm: VmState, host: HostState) -> int:
        """Number of VMs that DRS keeps together with this one, and that are on another host after the moves planned so far."""
        return sum(
            self._where.get(peer) != host.moid
            for rule in self._estate.affinity
            if vm.moid in rule.vms
            for peer in rule.vms - {vm.moid}
        )

    def _after(self, vm: VmState, host: HostState) -> tuple[float, float]:
        """Used shares (0..1) of the host's memory and CPU after the VM has arrived."""
        load = self._ledger[host.moid]
        return used_share(load.memory + memory_demand(vm), host.memory_bytes), used_share(
            load.cpu + vm.cpu_used_mhz, host.cpu_mhz
        )

    def _arrive(self, vm: VmState, host: HostState, parts: Sequence[PartMove]) -> None:
        self._storage.book(parts)
        if host.moid == vm.host:
            return
        self._graphics.book(vm, host)
        load = self._ledger[host.moid]
        self._ledger[host.moid] = _Load(load.memory + memory_demand(vm), load.cpu + vm.cpu_used_mhz)
        self._arrivals[host.moid] += 1
        self._where[vm.moid] = host.moid

    def _why(self, vm: VmState, host: HostState, destination: str | None) -> str:
        if host.moid == vm.host:
            return "only its files move"
        memory, cpu = self._after(vm, host)
        known = shows_use(self._estate, host)
        fitting = "least loaded fitting host" if known else "fitting host"
        chosen = "requested destination" if destination is not None else fitting
        domain = f" in {host.fault_domain}" if host.fault_domain else ""
        if not known:
            return f"{chosen}{domain} (vCenter does not show how much of its memory and CPU is used)"
        return f"{chosen}{domain} ({100 * memory:.0f} % memory, {100 * cpu:.0f} % CPU after the move)"

    def _move(
        self, vm: VmState, target: HostState, why: str, parts: tuple[PartMove, ...], task: str | None = None
    ) -> Move:
        source = self._estate.hosts.get(vm.host)
        links: list[float] = [h.link_mbit for h in (source, target) if h is not None and h.link_mbit is not None]
        if self._request.wan.mbit is not None and crosses(vm.host, target.moid):
            links.append(self._request.wan.mbit)
        size = sum(part.size for part in parts if part.moves)
        changes_host = target.moid != vm.host
        place = self._landing(vm, target).place
        stun = self._graphics.stun(vm, target) if changes_host else None
        seconds = predicted_seconds(vm, min(links, default=None), size, changes_host=changes_host)
        return Move(
            number=0,
            vm=vm.moid,
            vm_name=vm.name,
            source=vm.host,
            source_name=source.name if source else vm.host,
            target=target.moid,
            target_name=target.name,
            memory_bytes=vm.memory_bytes,
            predicted_seconds=round(seconds + (stun or 0.0), 1),
            source_fault_domain=source.fault_domain if source else None,
            target_fault_domain=target.fault_domain,
            task=task,
            why=why,
            parts=parts,
            place_before=present_place(self._estate, vm) if place is not None else None,
            place_after=place,
            source_vcenter=source.vcenter if source else "",
            target_vcenter=target.vcenter,
            vgpus=vm.vgpus if changes_host else (),
            predicted_stun=stun,
            free_vgpus_known=not (changes_host and vm.vgpus) or self._graphics.slots_known(vm, target),
        )
