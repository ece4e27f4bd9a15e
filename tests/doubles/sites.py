# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two scripted vCenters between which VMs move; both use the same MoIDs, as real ones do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan, SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose, Rules, RunReport, RunRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import hosts_of, request_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import carry_out
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    OWN_FILES,
    Adapter,
    Automation,
    Datastore,
    Drs,
    Estate,
    FenceTask,
    Folder,
    HostState,
    InventoryPlace,
    Maintenance,
    Network,
    Part,
    Pool,
    Power,
    VcenterInfo,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE, Home, encode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import (
    Fault,
    PlacementUpdate,
    TaskUpdate,
    Update,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import VcenterPair

from tests.builders.estates import GIB, host, vm
from tests.doubles.run import Clock, Watching
from tests.doubles.vcenter import Killed

HERE, THERE = "1111aaaa", "2222bbbb"  # instance UUIDs
DISK = 2000


def machine(number: int, **changes: Any) -> VmState:
    """A VM on host 1 of its vCenter, with its files and one adapter."""
    values: dict[str, Any] = {
        "pool": "pool-ml",
        "folder": "ml",
        "folder_moid": "folder-ml",
        "adapters": (Adapter(4000, "net"),),
        "parts": (Part(OWN_FILES, "files", "ds", GIB), Part(DISK, "Hard disk 1", "ds", 10 * GIB)),
        **changes,
    }
    return vm(number, **values)


class Site:
    """One vCenter as ``VcenterPair`` sees its session. ``calls_left`` is shared by both: the process is killed at the last one."""

    def __init__(self, uuid: str, address: str, vms: Iterable[VmState] = (), version: str = "8.0.3") -> None:
        self.info = VcenterInfo("vc", uuid, version, False, address=address)
        self.vms = {each.moid: each for each in vms}
        self.hosts = {
            f"host-{n}": host(n, name=f"{address}-{n}", datacenter_moid="dc-1", vcenter="") for n in (1, 2, 3)
        }
        self.pools = ("", "ml")
        self.folders = ("", "ml")
        self.networks = {"net": "ml-net"}
        self.free_bytes = 900 * GIB
        self.tasks: dict[str, tuple[str, str, InventoryPlace | None, Mapping[int, str], Site]] = {}
        self.faults: dict[str, str] = {}  # by name of a VM
        self.counter: list[int] = [0]
        self.leases: dict[str, Lease | None] = {}
        self.closed: set[str] = set()  # what a user may not enter
        self.hidden: set[str] = set()  # MoIDs of VMs that have not appeared yet
        self.started = 0
        self.client = SimpleNamespace(
            content=SimpleNamespace(about=SimpleNamespace(instanceUuid=uuid)), address=address, verifies=True, site=self
        )

    def count(self) -> None:
        self.counter[0] -= 1
        if self.counter[0] == 0:
            raise Killed

    def names(self) -> dict[str, str]:
        """Host by the name of each VM, as an onlooker sees it."""
        return {each.name: self.hosts[each.host].name for each in self.vms.values()}

    def estate_of_hosts(self, **_options: Any) -> Estate:
        return self.estate(**_options)

    def estate(self, **_options: Any) -> Estate:
        self.count()
        flying = {each[0]: task for task, each in self.tasks.items()}
        hosts = frozenset(self.hosts)
        return Estate(
            self.info,
            dict(self.hosts),
            {m: replace(each, moving_task=flying.get(m)) for m, each in self.vms.items()},
            {"ds": Datastore("ds", "files", hosts, capacity_bytes=999 * GIB, free_bytes=self.free_bytes)},
            {moid: Network(moid, name) for moid, name in self.networks.items()},
            pools={f"pool-{path}": Pool(f"pool-{path}", path, "c") for path in self.pools},
            drs={"c": Drs(Automation.DISABLED)},
            folders={f"folder-{path}": Folder(f"folder-{path}", path, "dc-1") for path in self.folders},
        )

    def devices(self, estate: Estate, _vms: Iterable[str]) -> Estate:
        return estate

    def on_silence(self, _listener: Any) -> None: ...

    def on_interruption(self, _interrupted: Any) -> None: ...

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        self.count()
        there = {m: each for m, each in self.vms.items() if m not in self.hidden}
        return {m: PlacementUpdate(m, there[m].host if m in there else None) for m in vms}

    def identities(self) -> dict[str, tuple[str, Power]]:
        return {m: (each.instance_uuid, each.power) for m, each in self.vms.items()}

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        return frozenset(m for m in vms if m not in self.vms)

    def vm_with(self, instance_uuid: str) -> str | None:
        self.count()
        found = (m for m, each in self.vms.items() if each.instance_uuid == instance_uuid and m not in self.hidden)
        return next(found, None)

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        return {m: self.vms[m].places for m in vms if m in self.vms}

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        return {m: f"booted {self.vms[m].name}" if m in self.vms else None for m in vms}

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        return {each[0]: task for task, each in self.tasks.items() if each[0] in set(vms)}

    def mover(self, _vm: str, _host: str) -> str:
        return ""

    def time(self) -> datetime:
        return datetime.now(UTC)

    def relocate(
        self,
        vm: str,
        host: str,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str],
        abroad: Any = None,
        policies: Mapping[int, str] | None = None,
    ) -> str:
        self.count()
        target: Site = abroad.site if abroad is not None else self
        assert host in target.hosts
        assert priority == "highPriority"
        assert target is self or (place is not None and files)
        if target.hosts[host].maintenance is not Maintenance.NORMAL:
            raise CallFailed("the host is in maintenance", fault="InvalidState")
        self.started += 1
        task = f"task-{self.started}"
        self.tasks[task] = (vm, host, place, files, target)
        self.count()
        return task

    def follow(self, task: str, vm: str | None = None) -> None:
        self.count()

    def unfollow(self, task: str) -> None: ...

    def updates(self, _timeout: float) -> tuple[Update, ...]:
        self.count()
        return self.advance()

    def advance(self) -> tuple[Update, ...]:
        """All tasks end."""
        news: list[Update] = []
        for task, (moid, host_, place, files, target) in list(self.tasks.items()):
            del self.tasks[task]
            if fault := self.faults.get(self.vms[moid].name):
                news.append(TaskUpdate(task, "error", fault=Fault(fault, "scripted")))
                continue
            state = self._landed(self.vms[moid], host_, place, files)
            if target is not self:
                del self.vms[moid]
                state = replace(state, moid=f"vm-{900 + len(target.vms) + target.started}", attributes={})
            target.vms[state.moid] = state
            news += [
                PlacementUpdate(moid, host_ if target is self else None),
                TaskUpdate(task, "success"),
            ]
        return tuple(news)

    @staticmethod
    def _landed(state: VmState, host_: str, place: InventoryPlace | None, files: Mapping[int, str]) -> VmState:
        changes: dict[str, Any] = {"host": host_}
        if place is not None:
            plugs = {plug.adapter: plug.network for plug in place.plugs}
            folder = place.folder or state.folder_moid
            changes |= {
                "pool": place.pool,
                "folder_moid": folder,
                "folder": folder.removeprefix("folder-"),
                "adapters": tuple(replace(a, network=plugs.get(a.key, a.network)) for a in state.adapters),
            }
        if files:
            changes["parts"] = tuple(replace(part, datastore=files[part.key]) for part in state.parts)
            changes["datastores"] = frozenset(files.values())
        return replace(state, **changes)

    def record_home(self, home: Home) -> bool:
        self.count()
        state = self.vms[home.vm]
        self.vms[home.vm] = replace(state, attributes={**state.attributes, ATTRIBUTE: encode_home(home)})
        return True

    def clear_home(self, vm: str) -> bool:
        self.vms[vm] = replace(self.vms[vm], attributes={})
        return True

    def lease(self, host: str) -> Lease | None:
        return self.leases.get(host)

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        self.leases[host] = lease
        return True

    def misses_privilege(self, host: str, privilege: str) -> bool:
        return False

    def enter_maintenance(self, host: str) -> str:
        self.count()
        self.hosts[host] = replace(self.hosts[host], maintenance=Maintenance.ENTERING, maintenance_task="task-fence")
        return "task-fence"

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        runs = self.hosts[host].maintenance_task == task
        return (FenceTask.RUNNING, "") if runs else (FenceTask.FAILED, "RequestCanceled")

    def end_maintenance(self, state: HostState, _timeout: float) -> None:
        assert state.maintenance_task in (None, "task-fence")
        self.hosts[state.moid] = replace(self.hosts[state.moid], maintenance=Maintenance.NORMAL, maintenance_task=None)

    def closed_of(self, moids: Iterable[str]) -> frozenset[str]:
        return frozenset(moids) & self.closed


class Sites:
    """Two vCenters: ``near`` with VMs on host 1, and ``far``, whose VMs have the same MoIDs."""

    def __init__(self, vms: int = 2, far_version: str = "8.0.3") -> None:
        self.near = Site(HERE, "near", [machine(n) for n in range(1, vms + 1)])
        self.far = Site(THERE, "far", [machine(1, name="stranger", instance_uuid="u99", on=2)], far_version)
        self.far.counter = self.near.counter

    def pair(self) -> VcenterPair:
        clock = Clock()
        return VcenterPair(self.near, self.far, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]

    def reversed(self) -> VcenterPair:
        """With the cloud as the first vCenter."""
        clock = Clock()
        return VcenterPair(self.far, self.near, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]

    @property
    def where(self) -> dict[str, str]:
        """Host of each VM by name, in whichever vCenter it is. A VM that is in both would fail."""
        assert not self.near.names().keys() & self.far.names().keys()
        return {**self.near.names(), **self.far.names()}


OPTIONS: dict[str, Any] = {
    "host": "near-1", "fault_domain": None, "vms": [], "patterns": [], "folders": [], "attributes": {}, "destination": None,
    "destination_cluster": None, "policy": "any", "exclude_hosts": [], "pool_map": {}, "folder_map": {}, "network_map": {},
    "memory_headroom": 10, "cpu_headroom": 10, "stall_budget": 5.0, "storage_headroom": 10, "scope": "compute", "datastore": None,
    "disk_datastores": {}, "storage_policy": None, "use_homes": False, "drs": "auto", "wan_mbit": None, "wan_latency_ms": None,
}  # fmt: skip


def planned(vcenter: Any, state: Path, **options: Any) -> Plan:
    """The plan that the module makes of these options."""
    estate = vcenter.estate()
    params = {**OPTIONS, "state_dir": str(state), **options}
    request = request_of(params, estate, hosts_of(params, estate), None)
    return make_plan(estate, request)


def carried_out(
    vcenter: Any, plan: Plan, state: Path, purpose: Purpose = Purpose.EVACUATE, listener: Any = lambda _entry: None
) -> RunReport:
    """The run of the plan for host 1 of the first vCenter."""
    return carry_out(
        vcenter,
        Watching(),  # type: ignore[arg-type]
        RunRequest(
            plan=plan,
            purpose=purpose,
            host=vcenter.estate().hosts["host-1"],
            state=state,
            rules=Rules(slots=SlotLimits(per_host=2), retries=0),
            record_homes=purpose is Purpose.EVACUATE,
            fence=purpose is Purpose.EVACUATE,
        ),
        listener=listener,
        interrupted=lambda: False,
    )


def back_in_service(site: Site) -> None:
    """Take host 1 out of maintenance mode."""
    site.hosts["host-1"] = replace(site.hosts["host-1"], maintenance=Maintenance.NORMAL, maintenance_task=None)
