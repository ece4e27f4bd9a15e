# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One logged-in session with vCenter: implements the port ``Vcenter`` over pyVmomi."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from .._core.errors import (
    CallFailed,
    ConnectError,
    LoginRefused,
    NotFound,
    PermissionMissing,
    TaskTimeout,
)
from .._core.untrusted import text
from .._core.wording import HA
from .adapters import plugged
from .checks import CHECKS_AT_ONCE, read_checks, together
from .client import Client
from .estate import (
    EDIT_CLUSTER,
    OWN_FILES,
    Alarm,
    Checked,
    DrsOverride,
    Estate,
    FenceTask,
    HostState,
    InventoryPlace,
    Maintenance,
    Network,
    Power,
    Relocation,
)
from .faults import is_busy, is_gone, is_over
from .following import Following
from .guest import (
    GuestLogin,
    GuestProcess,
    command_digest,
    matches_pattern,
)
from .home_attribute import ATTRIBUTE, Home, encode_home
from .inventory import (
    BEHAVIORS,
    TASK_PATHS,
    Row,
    attribute_key,
    hides_task,
    is_move,
    iso_time,
    read_alarms,
    read_changes,
    read_devices,
    read_drs_overrides,
    read_estate,
    read_existing_vms,
    read_fence_task,
    read_graphics,
    read_hosts,
    read_identities,
    read_objects,
    read_placement,
    read_places,
    read_power_on,
)
from .lease_attribute import LEASE, Lease, decode_lease, encode_lease
from .news import PlacementUpdate, TaskUpdate, Update
from .policies import read_policies

try:
    from pyVmomi import vim
except ImportError:
    pass

_ENDED = ("success", "error")
NO_FILES: Mapping[int, str] = MappingProxyType({})  # also no policies
LOOK_SECONDS = 1.0  # between two looks at a host that changes without a task to follow
OVERRIDE_SECONDS = 120.0  # for a change of DRS overrides
RELOCATED = "VmRelocatedEvent"  # files changed their datastore, and the VM perhaps its host
MIGRATED = ["VmMigratedEvent", "DrsVmMigratedEvent", RELOCATED]  # types of events
MAX_EVENTS = 1000  # QueryEvents leaves out what is more, without a word
# A VM may start on another host than it was: HA restarts it, or DRS chooses the host when somebody powers it on.
HA_RESTARTED = ("com.vmware.vc.ha.VmRestartedByHAEvent", "VmRestartedOnAlternateHostEvent")
STARTED = [*HA_RESTARTED, "DrsVmPoweredOnEvent"]
DISCONNECTED, BACK_IN_SERVICE = "VmDisconnectedEvent", "ExitMaintenanceModeEvent"
# RelocateVM_Task asks for one or the other, by the VM's power state and the version of vCenter.
MOVE_PRIVILEGES = ("Resource.HotMigrate", "Resource.ColdMigrate")
ALLOCATE_SPACE = "Datastore.AllocateSpace"
ASSIGN_TO_POOL = "Resource.AssignVMToPool"
CANCEL_TASK = "Global.CancelTask"  # of another user
ASSIGN_NETWORK = "Network.Assign"
REGISTER = "VirtualMachine.Inventory.Register"  # in a folder, for a VM that comes from another vCenter


class VcenterSession:
    """What the executor and the modules ask of one vCenter."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._following = Following(client)
        self._fields: dict[str, int] = {}  # keys of the custom attributes, by name
        self._uuids: dict[str, str] = {}  # instance UUIDs of the VMs that were read, by MoID

    def on_silence(self, listener: Callable[[float], None]) -> None:
        """See the port."""
        self._client.silence.tell = listener

    def on_interruption(self, interrupted: Callable[[], bool]) -> None:
        """See the port."""
        self._client.silence.interrupted = interrupted

    def estate(
        self,
        *,
        devices_of_vms: Iterable[str] = (),
        fault_domains: Mapping[str, str] | None = None,
    ) -> Estate:
        """See the port."""
        found = read_estate(
            self._client,
            devices_of_vms=devices_of_vms,
            fault_domains=fault_domains,
        )
        self._uuids |= {vm.moid: vm.instance_uuid for vm in found.vms.values() if vm.instance_uuid}
        return found

    def estate_of_hosts(self, *, fault_domains: Mapping[str, str] | None = None) -> Estate:
        """See the port."""
        return read_hosts(self._client, fault_domains=fault_domains)

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        """See the port."""
        return read_places(self._client, vms)

    def devices(self, estate: Estate, vms: Iterable[str]) -> Estate:
        """See the port."""
        return read_devices(self._client, estate, vms)

    def graphics(self, estate: Estate, profiles: Collection[str]) -> Estate:
        """See the port."""
        return read_graphics(self._client, estate, profiles) if profiles else estate

    def policies(self, estate: Estate, vms: Iterable[str], wanted: str = "") -> Estate:
        """The estate with the storage policies of VMs whose devices were read. See ``read_policies``."""
        return replace(estate, policies=read_policies(self._client, estate, vms, wanted))

    def alarms(self, hosts: Iterable[str]) -> dict[str, tuple[Alarm, ...] | None]:
        """The triggered alarms of hosts (MoIDs)."""
        return read_alarms(self._client, tuple(hosts))

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] = NO_FILES,
        policies: Mapping[int, str] = NO_FILES,
        abroad: Client | None = None,
    ) -> str:
        """See the port. ``abroad`` is the client of another vCenter, if host, place and datastores are there."""
        spec = self._spec(Relocation(vm, host, place, tuple(files.items()), tuple(policies.items())), abroad)
        machine = self._client.reference("VirtualMachine", vm)
        task = self._client.call(
            "move the VM", lambda: machine.RelocateVM_Task(spec=spec, priority=priority), once=True
        )
        return str(task._moId)

    def compatible(self, vms: Iterable[str], hosts: Iterable[str]) -> dict[tuple[str, str], Checked]:
        """See the port."""
        machines = [self._client.reference("VirtualMachine", vm) for vm in vms]
        targets = [self._client.reference("HostSystem", host) for host in hosts]
        checker = self._client.content.vmProvisioningChecker
        task = self._client.call(
            "check the VMs with the hosts", lambda: checker.QueryVMotionCompatibilityEx_Task(machines, targets)
        )
        return read_checks(self._client, [str(task._moId)])[str(task._moId)]

    def check_moves(self, moves: Sequence[Relocation], abroad: Client | None = None) -> list[Checked]:
        """See the port, and ``relocate``."""
        found = list[Checked]()
        for begin in range(0, len(moves), CHECKS_AT_ONCE):
            tasks = [self._check_move(move, abroad) for move in moves[begin : begin + CHECKS_AT_ONCE]]
            results = read_checks(self._client, tasks)
            found += [together(results[task].values()) for task in tasks]
        return found

    def _check_move(self, move: Relocation, abroad: Client | None) -> str:
        """Start the check of ``RelocateVM_Task``; the task's MoID."""
        checker = self._client.content.vmProvisioningChecker
        spec, machine = self._spec(move, abroad), self._client.reference("VirtualMachine", move.vm)
        task = self._client.call("check the move", lambda: checker.CheckRelocate_Task(machine, spec))
        return str(task._moId)

    def _spec(self, move: Relocation, abroad: Client | None) -> Any:
        """A ``VirtualMachineRelocateSpec``. What is left unset, the VM keeps."""
        spec = vim.vm.RelocateSpec()
        refer = self._client.reference
        if abroad is not None:
            spec.service, refer = abroad.locator(), abroad.reference_abroad
        if move.host is not None:
            spec.host = refer("HostSystem", move.host)
        if (place := move.place) is not None:
            spec.pool = refer("ResourcePool", place.pool)
            spec.folder = refer("Folder", place.folder) if place.folder else None
            spec.datastore = refer("Datastore", place.datastore) if place.datastore else None
            spec.deviceChange = plugged(self._client, move.vm, place.plugs, abroad)
        if move.files:
            stores = {part: refer("Datastore", datastore) for part, datastore in move.files}
            spec.datastore = stores.pop(OWN_FILES)
            # A disk that is not named would follow the VM's own files. Without a backing it stays thin or thick.
            profiles = {part: [vim.vm.DefinedProfileSpec(profileId=policy)] for part, policy in move.policies}
            spec.profile = profiles.get(OWN_FILES, [])
            spec.disk = [
                vim.vm.RelocateSpec.DiskLocator(diskId=key, datastore=store, profile=profiles.get(key, []))
                for key, store in stores.items()
            ]
        return spec

    def recommended_datastores(self, move: Relocation, cluster: str) -> dict[int, str]:
        """See the port."""
        spec = self._spec(replace(move, files=(), policies=()), None)
        policy = dict(move.policies).get(OWN_FILES)
        spec.profile = [vim.vm.DefinedProfileSpec(profileId=policy)] if policy else []
        placement = vim.storageDrs.StoragePlacementSpec(
            type="relocate",
            vm=self._client.reference("VirtualMachine", move.vm),
            podSelectionSpec=vim.storageDrs.PodSelectionSpec(storagePod=self._client.reference("StoragePod", cluster)),
            relocateSpec=spec,
            host=spec.host,
            resourcePool=spec.pool,
            disallowPrerequisiteMoves=True,  # it would move other VMs first
        )
        manager = self._client.content.storageResourceManager
        answer = self._client.call("ask Storage DRS", lambda: manager.RecommendDatastores(placement))
        return _recommended(answer, [part for part, _store in move.files])

    def cancel(self, task: str) -> None:
        """See the port."""
        with suppress(PermissionMissing):  # the task ends by itself, or its move runs into its deadline
            self._cancel(task)

    def _cancel(self, task: str) -> None:
        """Cancel a task that has not ended, if it can be cancelled. Raises PermissionMissing."""
        reference = self._client.reference("Task", task)
        try:
            self._client.call("cancel the task", reference.CancelTask)
        except CallFailed as error:
            if not is_over(error.fault):
                raise

    def follow(self, task: str, vm: str | None = None) -> None:
        """See the port."""
        self._following.follow(task, vm)

    def unfollow(self, task: str) -> None:
        """See the port."""
        self._following.unfollow(task)

    def updates(self, timeout: float) -> tuple[Update, ...]:
        """See the port."""
        return self._following.updates(timeout)

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """See the port."""
        wanted = tuple(vms)
        rows = read_placement(self._client, wanted)
        return {vm: _placement(vm, rows[vm] if vm in rows else self._registered_anew(vm)) for vm in wanted}

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        """See the port."""
        try:
            seen = self.placement(vms)
        except (CallFailed, PermissionMissing):
            return frozenset()
        return frozenset(vm for vm, update in seen.items() if update.host is None and not update.unknown)

    def _registered_anew(self, vm: str) -> Row | None:
        """The placement of a VM that has another MoID now, because it was removed from the inventory and registered again."""
        uuid = self._uuids.get(vm)
        moid = self.vm_with(uuid) if uuid else None
        return read_placement(self._client, (moid,)).get(moid) if moid is not None and moid != vm else None

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        """See the port."""
        wanted = tuple(vms)
        rows = read_power_on(self._client, wanted)
        return {vm: iso_time(rows[vm].get("runtime.bootTime") if vm in rows else None) for vm in wanted}

    def is_restarted_by_ha(self, vm: str, since: str) -> bool:
        """See the port. False if the events cannot be read."""
        return bool(self._events_of("VirtualMachine", vm, HA_RESTARTED, datetime.fromisoformat(since)))

    def guest_processes(self, vm: str, login: GuestLogin) -> tuple[GuestProcess, ...]:
        """See the port."""
        machine = self._client.reference("VirtualMachine", vm)
        auth = vim.vm.guest.NamePasswordAuthentication(
            username=login.username, password=login.password, interactiveSession=False
        )
        manager = self._client.content.guestOperationsManager
        found = self._client.call(
            "list the processes of the guest", lambda: manager.processManager.ListProcessesInGuest(machine, auth, [])
        )
        return tuple(
            GuestProcess(text(str(p.name)), int(p.pid), str(iso_time(p.startTime)), command_digest(str(p.cmdLine)))
            for p in found
            if p.startTime is not None
            and p.endTime is None
            and matches_pattern(str(p.name), str(p.cmdLine), login.pattern)
        )

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        """See the port."""
        machines = tuple(vms)
        recent = read_existing_vms(self._client, list(machines), ["recentTask"])
        owners = {task._moId: vm for vm, row in recent.items() for task in row.get("recentTask", ())}
        tasks = read_objects(self._client, "Task", owners, TASK_PATHS)
        hidden = [vm for vm, row in recent.items() if "recentTask" in row.unreadable]
        hidden += [owners[task] for task, row in tasks.items() if hides_task(row)]
        return dict.fromkeys(hidden, "") | {
            owners[task]: task
            for task, row in tasks.items()
            if row.get("info.state") in ("queued", "running") and is_move(str(row.get("info.descriptionId", "")))
        }

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        """See the port."""
        path = "runtime.inMaintenanceMode"
        rows = read_objects(self._client, "HostSystem", hosts, [path])
        return {moid: bool(row[path]) for moid, row in rows.items() if path in row}

    # homes

    def record_home(self, home: Home) -> bool:
        """See the port."""
        return self._set_home(home.vm, encode_home(home))

    def clear_home(self, vm: str) -> bool:
        """See the port."""
        return self._set_home(vm, "")

    def _set_home(self, vm: str, value: str) -> bool:
        try:
            self._set_attribute("VirtualMachine", vm, ATTRIBUTE, value)
        except (PermissionMissing, CallFailed, ConnectError):
            return False  # the journal has it
        return True

    def lease(self, host: str) -> Lease | None:
        """See the port."""
        entity = self._client.reference("HostSystem", host)
        fields = self._client.call("read custom attributes", lambda: entity.availableField)
        values = self._client.call("read the lease of the host", lambda: entity.customValue)
        key = attribute_key(fields or (), LEASE, vim.HostSystem)
        value = next((str(each.value) for each in values or () if each.key == key), "")
        found = decode_lease(value)
        if found is None and value.strip():
            raise CallFailed(
                f"The custom attribute {LEASE} of the host is not a lease: {text(value)}", fault="Unreadable"
            )
        return found

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        """See the port."""
        try:
            self._set_attribute("HostSystem", host, LEASE, encode_lease(lease) if lease else "")
        except PermissionMissing:
            return False
        return True

    def _set_attribute(self, kind: str, moid: str, name: str, value: str) -> None:
        """Set a custom attribute, and make it if vCenter does not know it. Raises PermissionMissing, CallFailed or ConnectError."""
        entity, manager = self._client.reference(kind, moid), self._client.content.customFieldsManager
        key = self._fields.get(name)
        if key is None:
            key = self._fields[name] = self._attribute(type(entity), name)
        self._client.call(f"set the custom attribute {name}", lambda: manager.SetField(entity, key, value))

    def _attribute(self, kind: type[Any], name: str) -> int:
        """The key of a custom attribute for objects of a kind. It is made if vCenter does not know it."""
        manager = self._client.content.customFieldsManager

        def known() -> int | None:
            fields = self._client.call("read custom attributes", lambda: manager.field)
            return attribute_key(fields, name, kind)

        if (key := known()) is not None:
            return key
        try:
            made = self._client.call(
                f"make the custom attribute {name}", lambda: manager.AddCustomFieldDef(name=name, moType=kind)
            )
        except CallFailed:  # for example because an earlier call made it, whose answer was lost
            if (key := known()) is None:
                raise
            return key
        return int(made.key)

    # maintenance mode

    def misses_privilege(self, host: str, privilege: str) -> bool:
        """Whether the logged-in user does not have ``privilege`` on the host (``HasPrivilegeOnEntities``)."""
        return bool(self._missing("HostSystem", (host,), (privilege,)))

    def missing_to_move(self, vms: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The privileges that the logged-in user needs to move VMs and does not have, by VM, in one call."""
        return self._missing("VirtualMachine", tuple(vms), MOVE_PRIVILEGES)

    def without_space(self, datastores: Iterable[str]) -> frozenset[str]:
        """Those of the datastores (MoIDs) on which the logged-in user may not put files, in one call; without datastores, in none."""
        return frozenset(self._missing("Datastore", sorted(datastores), (ALLOCATE_SPACE,)))

    def closed_pools(self, pools: Iterable[str]) -> frozenset[str]:
        """Those of the resource pools (MoIDs) to which the logged-in user may not assign VMs, in one call; without pools, in none."""
        return frozenset(self._missing("ResourcePool", sorted(pools), (ASSIGN_TO_POOL,)))

    def closed_networks(self, networks: Iterable[Network]) -> frozenset[str]:
        """Those of the networks (MoIDs) to which the logged-in user may not connect VMs, in one call; without networks, in none."""
        kinds = {network.moid: network.kind for network in networks}
        entities = [(f"dvs.{k}" if k.startswith("Distributed") else k, moid) for moid, k in sorted(kinds.items())]
        return frozenset(self._without(entities, (ASSIGN_NETWORK,)))

    def closed_folders(self, folders: Iterable[str]) -> frozenset[str]:
        """Those of the folders (MoIDs) in which the logged-in user may not register VMs, in one call; without folders, in none."""
        return frozenset(self._missing("Folder", sorted(folders), (REGISTER,)))

    def identities(self) -> dict[str, tuple[str, Power]]:
        """Instance UUID and power state of each VM, by MoID, in one call."""
        return read_identities(self._client)

    def vm_with(self, instance_uuid: str) -> str | None:
        """The MoID of the VM with that instance UUID; ``None`` if vCenter shows none."""
        index = self._client.content.searchIndex
        found = self._client.call("find a VM", lambda: index.FindByUuid(None, instance_uuid, True, True))
        return None if found is None else str(found._moId)

    def extensions(self) -> frozenset[str] | None:
        """The keys of vCenter's extensions; ``None`` if it does not show them."""
        manager = self._client.content.extensionManager
        try:
            found = self._client.call("read the extensions", lambda: manager.extensionList)
        except (CallFailed, PermissionMissing):
            return None
        return frozenset(str(extension.key) for extension in found or ())

    def notes(self) -> tuple[str, ...]:
        """See ``VcenterPair``."""
        return ()

    @property
    def client(self) -> Client:
        """The client of this session."""
        return self._client

    def editable_clusters(self, clusters: Iterable[str]) -> frozenset[str]:
        """Those of the clusters (MoIDs) that the logged-in user may edit, in one call; without clusters, in none."""
        asked = frozenset(clusters)
        return asked - self._missing("ClusterComputeResource", sorted(asked), (EDIT_CLUSTER,)).keys()

    def _missing(self, kind: str, moids: Sequence[str], privileges: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return self._without([(kind, moid) for moid in moids], privileges)

    def _without(self, objects: Sequence[tuple[str, str]], privileges: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The privileges that the user does not have on objects (class and MoID), by MoID; objects without one are left out.

        vCenter answers for all objects or for none, so if one of them was deleted meanwhile, each is asked about by itself.
        """
        if not objects:
            return {}
        content = self._client.content
        entities = [self._client.reference(*each) for each in objects]

        def ask() -> Any:
            session = content.sessionManager.currentSession
            if session is None:
                raise vim.fault.NotAuthenticated
            return content.authorizationManager.HasPrivilegeOnEntities(entities, session.key, list(privileges))

        try:
            answer = self._client.call("read the privileges of the user", ask)
        except CallFailed as error:
            if not is_gone(error.fault):
                raise
            rest = objects if len(objects) > 1 else ()
            return {moid: found for each in rest for moid, found in self._without([each], privileges).items()}
        lacking = {i.entity._moId: tuple(p.privId for p in i.privAvailability if not p.isGranted) for i in answer}
        return {moid: found for moid, found in lacking.items() if found}

    def drs_overrides(self, cluster: str) -> Mapping[str, DrsOverride]:
        """See the port."""
        return read_drs_overrides(self._client, cluster)

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        """See the port."""
        entity = self._client.reference("ClusterComputeResource", cluster)
        specs = [self._override(vm, override, known=vm in present) for vm, override in changes.items()]
        task = self._client.call(
            "change the DRS overrides of VMs",
            lambda: entity.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(drsVmConfigSpec=specs), True),
            once=True,
        )
        try:
            end = self.wait_for(str(task._moId), OVERRIDE_SECONDS)
        except CallFailed as error:
            raise TaskTimeout(
                f"The end of the change of DRS overrides was not seen: {error.message}", last_state="unknown"
            ) from error
        if end.fault is not None:
            raise CallFailed(
                f"vCenter could not change the DRS overrides of VMs: {end.fault.name} {end.fault.message}",
                fault=end.fault.name,
            )

    def cluster_settled(self, cluster: str, timeout: float) -> bool:
        """See the port. A task whose state cannot be read may change anything."""
        deadline = time.monotonic() + timeout
        while (tasks := read_changes(self._client, cluster)) is not None:
            if not tasks:
                return True
            try:
                self.wait_for(tasks[0], deadline - time.monotonic())
            except NotFound:
                continue
            except TaskTimeout:
                return False
        return False

    def _override(self, vm: str, override: DrsOverride | None, *, known: bool) -> Any:
        """A ``ClusterDrsVmConfigSpec``."""
        key = self._client.reference("VirtualMachine", vm)
        if override is None:
            return vim.cluster.DrsVmConfigSpec(operation="remove", removeKey=key)
        info = vim.cluster.DrsVmConfigInfo(key=key, enabled=override.enabled)
        if override.behavior is not None:
            info.behavior = vim.cluster.DrsConfigInfo.DrsBehavior(BEHAVIORS[override.behavior])
        return vim.cluster.DrsVmConfigSpec(operation="edit" if known else "add", info=info)

    def mover(self, vm: str, host: str) -> str:
        """See the port. The start of a VM on the host where it was already does not say who brought it there."""
        found = self._events_of("VirtualMachine", vm, (*MIGRATED, *STARTED)) or ()
        events = sorted(filter(_changes_host, found), key=_key_of)
        while [_event_host(event) for event in events[-2:]] == [host, host] and _event_type(events[-1]) in STARTED:
            events.pop()
        if not events or _event_host(events[-1]) != host:
            return ""
        kind = _event_type(events[-1])
        if kind in HA_RESTARTED:
            return HA
        return "DRS" if kind.startswith("Drs") else text(str(events[-1].userName or ""))

    def lost_vms(self, host: str) -> frozenset[str] | None:
        """See the port."""
        events = self._events_of("HostSystem", host, (DISCONNECTED, BACK_IN_SERVICE))
        if events is None:
            return None
        found = sorted(events, key=_key_of)
        since = max((n for n, event in enumerate(found) if _event_type(event) == BACK_IN_SERVICE), default=-1)
        return frozenset(str(event.vm.vm._moId) for event in found[since + 1 :] if event.vm is not None)

    def _events_of(self, kind: str, moid: str, types: Iterable[str], since: datetime | None = None) -> list[Any] | None:
        """The events of these types of a VM or host, up to the newest one; ``None`` if they cannot be read.

        vCenter leaves out what is too much for one answer, so it is asked again for what came after the newest event that it shows.
        """
        entity = vim.event.EventFilterSpec.ByEntity(entity=self._client.reference(kind, moid), recursion="self")
        manager, found = self._client.content.eventManager, dict[int, Any]()
        while True:
            query = vim.event.EventFilterSpec(entity=entity, eventTypeId=list(types))
            if since is not None:
                query.time = vim.event.EventFilterSpec.ByTime(beginTime=since)
            try:
                answer = self._client.call("read the events of an object", partial(manager.QueryEvents, query)) or ()
            except (CallFailed, PermissionMissing):
                return None
            known = len(found)
            found |= {_key_of(event): event for event in answer}
            if len(answer) < MAX_EVENTS:
                return list(found.values())
            if len(found) == known:
                return None
            since = max(event.createdTime for event in answer)

    def time(self) -> datetime:
        """See the port."""
        instance = self._client.reference("ServiceInstance", "ServiceInstance")
        now: datetime = self._client.call("read the time of vCenter", instance.CurrentTime)
        return now

    def migrations(self, since: datetime) -> Mapping[str, int]:
        """See the port."""
        query = vim.event.EventFilterSpec(time=vim.event.EventFilterSpec.ByTime(beginTime=since), eventTypeId=MIGRATED)
        manager = self._client.content.eventManager
        found = self._client.call("read the events of migrations", lambda: manager.QueryEvents(query))
        if len(found or ()) >= MAX_EVENTS:
            what = f"vCenter has {MAX_EVENTS} events of migrations or more, and does not show the rest"
            raise CallFailed(what, fault="Unreadable", hint="Witness a shorter window")
        return Counter(e.vm.vm._moId for e in found or () if e.vm is not None and _changes_host(e))

    def enter_maintenance(
        self,
        host: str,
        *,
        timeout: int = 0,
        evacuate_powered_off: bool = False,
        vsan_mode: str = "ensureObjectAccessibility",
    ) -> str:
        """See the port. ``timeout`` in seconds, 0 for none."""
        spec = vim.host.MaintenanceSpec(vsanMode=vim.vsan.host.DecommissionMode(objectAction=vsan_mode))
        entity = self._client.reference("HostSystem", host)
        task = self._client.call(
            "enter maintenance mode",
            lambda: entity.EnterMaintenanceMode_Task(timeout, evacuate_powered_off, spec),
            once=True,
        )
        return str(task._moId)

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        """See the port."""
        return read_fence_task(self._client, host, task)

    def exit_maintenance(self, host: str) -> str:
        """Start ``ExitMaintenanceMode_Task``; the task's MoID."""
        entity = self._client.reference("HostSystem", host)
        task = self._client.call("exit maintenance mode", lambda: entity.ExitMaintenanceMode_Task(0), once=True)
        return str(task._moId)

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        """See the port."""
        try:
            self._end_maintenance(host, timeout)
        except TaskTimeout as error:
            raise TaskTimeout(
                f"The maintenance mode of {host.name} did not end within {timeout:.0f} s ({error.message.rstrip('.')})",
                last_state=error.last_state,
                hint="Look at the tasks of the host in vCenter",
            ) from error

    def _end_maintenance(self, host: HostState, timeout: float) -> None:
        if host.maintenance_task is not None:
            self._cancel_entering(host, host.maintenance_task)
            if self.wait_for(host.maintenance_task, timeout).fault is not None:
                return
            # The host was in maintenance mode before the task could be cancelled.
        end = self._exit(host, timeout)
        if end is not None and end.fault is not None:
            raise CallFailed(
                f"The maintenance mode of {host.name} did not end: {end.fault.name} {end.fault.message}",
                fault=end.fault.name,
            )

    def _cancel_entering(self, host: HostState, task: str) -> None:
        """Cancel the task that enters maintenance mode. Raises PermissionMissing: it would not end before the last VM has left the host."""
        try:
            self._cancel(task)
        except PermissionMissing as error:
            privilege = error.privilege or CANCEL_TASK
            raise PermissionMissing(
                f"{host.name} is entering maintenance mode, and the user may not cancel the task that does it ({task})",
                privilege=privilege,
                hint=f"Let the one who began it cancel it, or grant the privilege {privilege} on the vCenter",
            ) from error

    def _exit(self, host: HostState, timeout: float, *, again: bool = False) -> TaskUpdate | None:
        """Exit maintenance mode: the end of the task, or ``None`` if the host was seen out of it without the end of a task.

        If the answer or the task is lost, the host shows what happened; ``again``: that was so before. If the state is wrong, an
        earlier call may be taking the host out of it, and the host is watched.
        """
        hidden = host.maintenance is Maintenance.NORMAL  # then nothing would be seen to end
        try:
            return self.wait_for(self.exit_maintenance(host.moid), timeout)
        except LoginRefused:
            raise
        except (ConnectError, NotFound):
            if again or hidden:
                raise
            if self.watch_maintenance(host.moid, False, 0.0):
                return None
        except CallFailed as error:
            if hidden or not is_busy(error.fault) or not self.watch_maintenance(host.moid, False, timeout):
                raise
            return None
        return self._exit(host, timeout, again=True)

    def watch_maintenance(self, host: str, inside: bool, timeout: float) -> bool:
        """Look at the host until it is in maintenance mode, or not, as ``inside`` says. Returns whether it was in time."""
        deadline = time.monotonic() + timeout
        while self.in_maintenance((host,)).get(host) is not inside:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def wait_for(self, task: str, timeout: float) -> TaskUpdate:
        """Wait for the end of one task. Raises TaskTimeout, or NotFound if vCenter no longer knows the task."""
        self.follow(task)
        try:
            return self._end_of(task, timeout)
        finally:
            self.unfollow(task)

    def _end_of(self, task: str, timeout: float) -> TaskUpdate:
        deadline = time.monotonic() + timeout
        last = "unknown"
        while time.monotonic() < deadline:
            for update in self.updates(1.0):
                if isinstance(update, TaskUpdate) and update.task == task:
                    last = update.state
                    if last in _ENDED:
                        return update
                    if last == "gone":
                        raise NotFound(f"vCenter no longer knows task {task}", hint="Run the same playbook again")
        raise TaskTimeout(f"Task {task} did not end within {timeout:.0f} s", last_state=last)


def _key_of(event: Any) -> int:
    """The number of an event: later ones have higher numbers."""
    return int(event.key)


def _event_type(event: Any) -> str:
    """The name of an event's class, or the type of an ``EventEx``."""
    return str(getattr(event, "eventTypeId", None) or type(event).__name__.rpartition(".")[2])


def _event_host(event: Any) -> str:
    """The MoID of the host in an event, "" if it names none."""
    return "" if event.host is None else str(event.host.host._moId)


def _changes_host(event: Any) -> bool:
    """Whether an event may be about another host of its VM."""
    source = getattr(event, "sourceHost", None)
    return _event_type(event) != RELOCATED or source is None or source.host._moId != _event_host(event)


def _recommended(answer: Any, parts: Iterable[int]) -> dict[int, str]:
    """The datastore (MoID) for each part in the first recommendation of a ``StoragePlacementResult``; none if there is none."""
    first = next(iter(answer.recommendations or ()), None)
    for action in first.action or () if first is not None else ():
        if isinstance(action, vim.storageDrs.StoragePlacementAction):
            disks = {disk.diskId: str(disk.datastore._moId) for disk in action.relocateSpec.disk or ()}
            return {part: disks.get(part, str(action.destination._moId)) for part in parts}
    return {}


def _placement(vm: str, row: Row | None) -> PlacementUpdate:
    """Where a VM is. If vCenter does not say so, it may be anywhere."""
    if row is None:
        return PlacementUpdate(vm, None)
    power = Power(str(row.get("runtime.powerState", "unknown")))
    if row.get("runtime.host") is None:
        why = f"vCenter does not say on which host {vm} is. Grant the user System.Read on the VM"
        return PlacementUpdate(vm, None, power, unknown=why)
    return PlacementUpdate(vm, row["runtime.host"]._moId, power)
