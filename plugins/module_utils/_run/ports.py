# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports: what a run needs from vCenter, from the watch and from the journal, and who looks at it.

Implemented by ``VcenterSession`` (pyVmomi), ``Watch`` and ``Providers`` (threads), ``Journal`` and ``LivePage``; in the unit tests
by scripted doubles in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from .._experiments.model import Conclusion, Discovery, Experiment, Judgement, ProgressListener, Sample
from .._experiments.so_far import Seen
from .._vsphere.estate import Checked, DrsOverride, Estate, FenceTask, HostState, InventoryPlace, Relocation
from .._vsphere.guest import GuestLogin, GuestProcess
from .._vsphere.home_attribute import Home
from .._vsphere.lease_attribute import Lease
from .._vsphere.news import PlacementUpdate, Update
from .events import Entry, Event


class Vcenter(Protocol):
    """One logged-in vCenter session. Every method raises a ``VsphereError`` subclass, nothing else."""

    def on_silence(self, listener: Callable[[float], None]) -> None:
        """Call ``listener`` with the seconds for which vCenter has not answered, and with 0.0 once it answers again."""

    def on_interruption(self, interrupted: Callable[[], bool]) -> None:
        """As long as ``interrupted`` returns true, wait for a vCenter that does not answer a few seconds only."""

    def estate(self, *, devices_of_vms: Iterable[str] = ()) -> Estate:
        """Read hosts, VMs, datastores, networks and rules in a constant number of calls."""

    def estate_of_hosts(self) -> Estate:
        """Read the hosts and their clusters alone. It takes a fraction of the time of ``estate`` if there are many VMs."""

    def devices(self, estate: Estate, vms: Iterable[str]) -> Estate:
        """The estate with the devices of VMs; nothing else is read again."""

    def graphics(self, estate: Estate, profiles: Collection[str]) -> Estate:
        """The estate with what is known of the GPUs of hosts that offer these vGPU profiles; without profiles as it is."""

    def relocate(
        self,
        vm: str,
        host: str | None,
        *,
        place: InventoryPlace | None,
        priority: str,
        files: Mapping[int, str] = ...,
        policies: Mapping[int, str] = ...,
    ) -> str:
        """Start ``RelocateVM_Task`` and return the task's MoID. Without a host or a place the VM keeps its own.

        ``files`` are the datastores (MoIDs) of all parts of the VM by their keys; without them its files stay. ``policies`` are the
        storage policies (ids) of those that get or keep one.
        """

    def compatible(self, vms: Iterable[str], hosts: Iterable[str]) -> Mapping[tuple[str, str], Checked]:
        """What vCenter finds when it compares each VM with each host (``QueryVMotionCompatibilityEx_Task``), in one task.

        It takes every host for connected and in service, and does not look at storage, networks or free memory. Raises
        CallFailed, PermissionMissing or TaskTimeout.
        """

    def check_moves(self, moves: Sequence[Relocation]) -> Sequence[Checked]:
        """What vCenter finds in all its checks of each move as it would be now (``CheckRelocate_Task``).

        Raises as :meth:`compatible` does.
        """

    def recommended_datastores(self, move: Relocation, cluster: str) -> Mapping[int, str]:
        """The datastores (MoIDs) of a datastore cluster (MoID) that Storage DRS recommends, by part (``RecommendDatastores``).

        None if it recommends none. Raises CallFailed, PermissionMissing or ConnectError.
        """

    def cancel(self, task: str) -> None:
        """Ask vCenter to cancel a task; a task that has ended or cannot be cancelled is not an error."""

    def follow(self, task: str, vm: str | None = None) -> None:
        """Add a task, and the VM that it moves, to what ``updates`` reports; their current state is reported first."""

    def unfollow(self, task: str) -> None:
        """Stop reporting the task and its VM."""

    def updates(self, timeout: float) -> tuple[Update, ...]:
        """Wait up to ``timeout`` seconds for news of what is followed (one ``WaitForUpdatesEx``)."""

    def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
        """Read where VMs run now, in one call."""

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        """Those of VMs (MoIDs, not instance UUIDs) of which vCenter says that they do not exist: more than that it does not show them."""

    def places(self, vms: Iterable[str]) -> dict[str, dict[int, str]]:
        """The datastore (MoID) of each part of VMs, by VM and by the key of the part, read now.

        VMs that no longer exist are left out, and parts of which vCenter does not say it.
        """

    def power_on_times(self, vms: Iterable[str]) -> dict[str, str | None]:
        """``runtime.bootTime`` of VMs in one call, UTC in ISO 8601; a vMotion keeps it, a power cycle does not."""

    def is_restarted_by_ha(self, vm: str, since: str) -> bool:
        """Whether vCenter's events say that vSphere HA restarted a VM, since a time of its own (UTC, ISO 8601)."""

    def guest_processes(self, vm: str, login: GuestLogin) -> tuple[GuestProcess, ...]:
        """Processes of a guest that fit the login's pattern, by ``ListProcessesInGuest``.

        Raises CallFailed (``InvalidGuestLogin``, ``GuestOperationsUnavailable``, ...) or PermissionMissing.
        """

    def moving(self, vms: Iterable[str]) -> dict[str, str]:
        """VM MoID -> MoID of its running relocation task, for the VMs that have one; "" if vCenter does not show whether one has it."""

    def in_maintenance(self, hosts: Iterable[str]) -> dict[str, bool]:
        """Whether hosts (MoIDs) are in maintenance mode now, in one call; without those for which vCenter does not say it."""

    def record_home(self, home: Home) -> bool:
        """Write the home into the VM's custom attribute; ``False`` if the role does not permit it."""

    def clear_home(self, vm: str) -> bool:
        """Empty the VM's home attribute; ``False`` if the role does not permit it."""

    def lease(self, host: str) -> Lease | None:
        """Which controller works for a host (MoID), by its custom attribute, read now.

        Raises CallFailed if it could not be read or is something else, and PermissionMissing.
        """

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        """Write or empty that attribute; ``False`` if the role does not permit it. Raises CallFailed if that failed."""

    def drs_overrides(self, cluster: str) -> Mapping[str, DrsOverride]:
        """The overrides of DRS of a cluster (MoID), by VM MoID, read now. Raises CallFailed if they cannot be read."""

    def set_drs_overrides(
        self, cluster: str, changes: Mapping[str, DrsOverride | None], present: frozenset[str]
    ) -> None:
        """Set or remove (``None``) overrides of VMs, and wait; ``present`` are the VMs that have one.

        Raises CallFailed, PermissionMissing, TaskTimeout if its end was not seen, or ConnectError if the answer was lost.
        """

    def cluster_settled(self, cluster: str, timeout: float) -> bool:
        """Wait until no task changes a cluster (MoID). False if one still does after ``timeout`` seconds, or if that is unknown.

        Raises CallFailed, PermissionMissing or ConnectError.
        """

    def mover(self, vm: str, host: str) -> str:
        """Who moved a VM to a host last, as vCenter's events say: ``DRS``, ``vSphere HA``, a user's name, or "" if not known."""

    def lost_vms(self, host: str) -> frozenset[str] | None:
        """VMs (MoIDs) that were on a host (MoID) when vCenter lost it, as events say, since it last came out of maintenance mode.

        ``None`` if the events cannot be read.
        """

    def time(self) -> datetime:
        """vCenter's own time."""

    def migrations(self, since: datetime) -> Mapping[str, int]:
        """How many migrations of each VM (MoID) vCenter's events have since a time of its own, in one call.

        Raises CallFailed or PermissionMissing if the events cannot be read.
        """

    def misses_privilege(self, host: str, privilege: str) -> bool:
        """Whether the logged-in user does not have the privilege on the host."""

    def enter_maintenance(self, host: str) -> str:
        """Start ``EnterMaintenanceMode_Task``, which waits for the VMs to leave; the task's MoID."""

    def fence_task(self, host: str, task: str) -> tuple[FenceTask, str]:
        """How the task (MoID) ended that ``enter_maintenance`` returned for a host (MoID), and the fault that ended it, or ""."""

    def end_maintenance(self, host: HostState, timeout: float) -> None:
        """End maintenance mode, or cancel its entering, and wait. Raises TaskTimeout or CallFailed."""


class ExperimentWatch(Protocol):
    """Samples experiments in the background while VMs move. Only reads; never posts."""

    def focus(self, vm: str) -> None:
        """The VM is about to move: sample its experiments and their members in other VMs at the high rate from now on."""

    def moved(self, vm: str) -> None:
        """The VM's move ended: begin the settle period."""

    def settled(self, vm: str) -> bool:
        """Whether each experiment of the VM progressed after its last gap, ended, or used up the settle time."""

    def judge(self, vm: str) -> tuple[Judgement, ...]:
        """The verdicts of the VM's experiments, and of their members in VMs that do not move now, from all samples so far."""

    def seen(self) -> tuple[Seen, ...]:
        """What was seen of each experiment until now, for people who look. It costs microseconds, and is not a verdict."""


class Recorder(Protocol):
    """The journal as the executor sees it."""

    def write(self, event: Event) -> None:
        """Record one event durably."""


class StartedWatch(ExperimentWatch, Protocol):
    """A watch that runs as long as its context."""

    def __enter__(self) -> Self:
        """Start sampling."""

    def __exit__(self, *_error: object) -> None:
        """Stop sampling; all samples are on disk."""

    def baseline(self) -> None:
        """Wait until the usual answers of every reachable experiment are known, before anything moves."""


class Onlooker(Protocol):
    """Shows a run while it is under way. Its methods return at once and never raise."""

    def begin(self, folder: Path) -> None:
        """A process begins to work for the run of this folder, or resumes it."""

    def hear(self, entry: Entry) -> None:
        """An event that is in the journal now; called by several threads."""

    def watching(self, watch: ExperimentWatch) -> None:
        """This watch watches the experiments from now on."""

    def end(self) -> None:
        """The process stops to work for the run, whether the run has ended or not."""


class Nobody:
    """The onlooker of a run that nobody looks at."""

    def begin(self, folder: Path) -> None:
        """See the port."""

    def hear(self, entry: Entry) -> None:
        """See the port."""

    def watching(self, watch: ExperimentWatch) -> None:
        """See the port."""

    def end(self) -> None:
        """See the port."""


NOBODY = Nobody()


def heard_by(listener: Callable[[Entry], None], onlooker: Onlooker) -> Callable[[Entry], None]:
    """A listener of the journal that passes each event to both."""

    def hear(entry: Entry) -> None:
        onlooker.hear(entry)
        listener(entry)

    return hear


class Observer(Protocol):
    """Finds experiments in VMs and watches them; the provider's side of a run."""

    def discover(self, estate: Estate, vms: tuple[str, ...]) -> Discovery:
        """The experiments that train now, and what was not seen."""

    def collect_final_results(
        self, judgements: Iterable[Judgement], samples: Mapping[tuple[str, str], list[Sample]]
    ) -> list[Conclusion]:
        """What providers report once the watch is over; ``samples`` by (VM MoID, experiment id)."""

    def watch(
        self, experiments: tuple[Experiment, ...], folder: Path, listener: ProgressListener, *, whole: bool = False
    ) -> StartedWatch:
        """A watch over ``experiments`` that keeps its samples in ``folder``.

        With ``whole``, every stall counts, not only those after the begin of a move.
        """
