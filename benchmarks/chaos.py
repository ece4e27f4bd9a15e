# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a maintenance stays true and converges while everything around it breaks.

Each schedule is a round trip of one host by the real playbooks in a lab of its own. A seed chooses what strikes it and when: faults
of vCenter, of its answers and of its tasks, moves by DRS and by people, a host that fails while HA restarts its VMs, a killed playbook,
another controller that begins the same. In half of the
schedules one VM is on a datastore that only this host has. In every third one the VMs go to another vCenter and home; then the faults strike
either side, and the line between them breaks. After each playbook the accounts of all the lab's vCenters are compared with the exit code, the
evidence and the homes; then the same playbook runs without faults and must finish.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError

import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import ConnectError
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import (
    Entry,
    HomeRecorded,
    RunFinished,
    RunStarted,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import holder_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunStatus, overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import stored_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import DrsOverride
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import (
    read_drs_overrides,
    read_estate,
)

from benchmarks.chaos_worlds import CLOUD, HOST, MAPS, ROOT, alone, with_cloud
from benchmarks.playbooks import Playbook, PlaybookServer
from benchmarks.report import Report
from lab.control import Control
from lab.simulator_client import of_vcenter

USUAL_SCHEDULES = 200
AT_ONCE = 4  # keeps two processors busy: a third of the time a schedule waits
SLOTS = 4
ACROSS = 3  # in every third schedule the VMs go to another vCenter
PATIENCE = 600.0  # seconds for one playbook; more is a run that hangs
MAX_STRIKES = 5
LAST, LAST_IN_FLIGHT = 9.0, 5.0  # seconds until the last strike
IN_FLIGHT = (
    0.6  # share of the strikes that wait for the first move: how long a playbook needs to begin depends on the machine
)
IDEMPOTENT = 0.2  # share of the playbooks that run again though they succeeded
CALLS = (
    "RelocateVM_Task", "EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task", "CreateFilter", "WaitForUpdatesEx",
    "RetrievePropertiesEx", "ReconfigureComputeResource_Task", "SetField", "QueryEvents",
)  # fmt: skip
TARGETS = {"": ("esx-02", "esx-03", "esx-04", "esx-05"), CLOUD: ("esx-c1", "esx-c2", "esx-c3")}
FAULTS = ("Timedout", "HostCommunication", "NoPermission", "InsufficientResourcesFault")
FENCE, OVERRIDES = "EnterMaintenanceMode_Task", "ReconfigureComputeResource_Task"
LATE = ("RelocateVM_Task", FENCE, "ExitMaintenanceMode_Task", OVERRIDES, "SetField")  # calls that change something
HA_NAME, DRS_NAME = "vSphere HA", "DRS"  # as the lab says who moved a VM
HIDDEN_OF_VM = (
    ["runtime.host"],
    ["runtime.powerState"],
    ["name"],
    ["config.hardware.device"],
    ["name", "runtime.host"],
)
HIDDEN_OF_HOST = (
    ["runtime.inMaintenanceMode"],
    ["runtime.connectionState"],
    ["name"],
    ["parent"],
    ["summary.quickStats"],
)
FENCE_FAULTS = ("Timedout", "HostCommunication", "SystemError")


@dataclass(frozen=True)
class Side:
    """One vCenter of the lab, and how it is reached."""

    name: str
    control: Control
    env: Mapping[str, str]
    endpoint: Endpoint

    @property
    def login(self) -> dict[str, Any]:
        """The login as the option ``destination_vcenter`` takes it."""
        each = self.endpoint
        names = {"hostname": each.host, "port": each.port, "username": each.user, "password": each.password}
        return {**names, "ca_path": each.ca_path}

    def state(self) -> dict[str, Any]:
        """The lab's own account."""
        return self.control.get("state")


@dataclass
class Trip:
    """One schedule under way: the lab, what has struck so far, and what was found wrong."""

    seed: int
    sides: tuple[Side, ...]  # the vCenter of the host first
    state: Path
    chance: random.Random
    elsewhere: Path  # the state directory of another controller
    playbooks: PlaybookServer
    files_move: bool = False  # one VM leaves with its files
    playbook: str = ""
    begun: str = ""  # when the playbook began, as the lab writes it
    over: str = ""  # when it had ended
    brought: str = ""  # when a restore first said success: nobody looks after the VMs then
    moved_by_people: set[str] = field(default_factory=set)
    process: Playbook | None = None
    other: Playbook | None = None  # the playbook of the other controller
    killed: bool = False
    contended: bool = False  # another controller has begun the same; one of both may fail
    struck: list[str] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)  # (figure, what was seen)

    @property
    def across(self) -> bool:
        """Whether the VMs go to another vCenter."""
        return len(self.sides) > 1

    def side(self) -> Side:
        """The side that is struck."""
        return self.chance.choice(self.sides) if self.across else self.sides[0]

    def vms(self) -> dict[str, dict[str, Any]]:
        """The VMs by the lab's account, each with its side."""
        return {name: {**vm, "side": side} for side in self.sides for name, vm in side.state()["vms"].items()}

    def moves(self) -> list[dict[str, Any]]:
        """The moves by the lab's account."""
        return [move for side in self.sides for move in side.state()["moves"]]

    def restarts(self) -> list[dict[str, Any]]:
        """The VMs that HA has started again, by the lab's account."""
        return [restart for side in self.sides for restart in side.state()["restarts"]]

    def excused(self) -> set[str]:
        """The VMs that may be anywhere without a word: moved by people, or by HA after the end of the restore, or of the playbook.

        Also those that DRS took from home after a restore had looked at them for the last time.
        """
        over = datetime.fromisoformat(self.brought or self.over)
        later = {each["vm"] for each in self.restarts() if datetime.fromisoformat(each["at"]) > over}
        return self.moved_by_people | later | self._taken_by_drs()

    def entries(self, runs: str = "*") -> list[Entry]:
        """What the journals of both controllers say; ``runs`` is a pattern of run IDs."""
        journals = [path for state in (self.state, self.elsewhere) for path in state.glob(f"runs/{runs}/journal.jsonl")]
        return [entry for path in journals for entry in read_journal(path).entries]

    def moves_of_drs(self) -> list[dict[str, Any]]:
        """The moves of DRS away from the host, by the lab's account."""
        return [move for move in self.moves() if move["by"] == DRS_NAME and move["source"] == HOST]

    def _taken_by_drs(self) -> set[str]:
        """What DRS moved away from the host after the last run that brought VMs there has ended."""
        ended = [entry for entry in self.entries("*-restore-*") if isinstance(entry.event, RunFinished)]
        ends = [entry.at for entry in ended if entry.event.result == "success"]
        if not ends:
            return set()
        end = max(ends, key=datetime.fromisoformat)
        return {move["vm"] for move in self.moves_of_drs() if is_before(end, move["queued"])}

    def restarted(self) -> bool:
        """Whether HA has started a VM again since the playbook began: then what ran in it has ended, which is a failure."""
        begun = datetime.fromisoformat(self.begun)
        return any(datetime.fromisoformat(each["at"]) >= begun for each in self.restarts())

    def on_host(self) -> set[str]:
        """Names of the powered-on VMs of the host."""
        return {
            name
            for name, vm in self.sides[0].state()["vms"].items()
            if vm["host"] == HOST and vm["power"] == "poweredOn"
        }

    @property
    def ended(self) -> bool:
        """Whether the playbook has ended."""
        return self.process is None or self.process.poll() is not None

    def emptied(self) -> bool:
        """Whether what an evacuation is for is done."""
        return not self.on_host() and self.sides[0].state()["hosts"][HOST]["maintenance"] == "in"


def restart(trip: Trip) -> None:
    """vCenter restarts: sessions and tasks are gone."""
    trip.side().control.post("restart", seconds=trip.chance.choice([0.5, 2]))


def unavailable(trip: Trip) -> None:
    """Each call gets status 503."""
    trip.side().control.post("outage", how="unavailable", seconds=trip.chance.choice([0.5, 2]))


def silent(trip: Trip) -> None:
    """No call gets an answer."""
    trip.side().control.post("outage", how="silent", seconds=trip.chance.choice([0.5, 2]))


def dies(trip: Trip) -> None:
    """vCenter dies: its port refuses connections, and its sessions and tasks are gone."""
    trip.side().control.post("kill", seconds=trip.chance.choice([0.5, 3]))


def login_refused(trip: Trip) -> None:
    """All sessions end, and the next login is refused although its password is right."""
    side = trip.side()
    side.control.post("calls/refuse", call="Login", fault="InvalidLogin", times=1)
    side.control.post("sessions/expire")
    time.sleep(2.0)
    with suppress(ConnectError), connected(side.endpoint):  # nobody else has met it
        return


def hidden(trip: Trip) -> None:
    """Properties of a VM or host cannot be read for some time."""
    side, chance = trip.side(), trip.chance
    vms = sorted(name for name, vm in trip.vms().items() if vm["side"] is side)
    hosts = [*TARGETS[side.name], *([HOST] if side is trip.sides[0] else [])]
    names, kinds = chance.choice([(vms, HIDDEN_OF_VM), (hosts, HIDDEN_OF_HOST)])
    name, paths = chance.choice(names), chance.choice(kinds)
    fault, seconds = chance.choice([("NoPermission", 0.5), ("NoPermission", 4.0), ("NotAuthenticated", 0.5)])
    side.control.post("hide", object=name, paths=paths, fault=fault)
    time.sleep(seconds)
    side.control.post("hide", object=name, paths=paths, fault="none")


def alarm(trip: Trip) -> None:
    """The hardware alarm of a target is red for a moment."""
    side = trip.side()
    host = trip.chance.choice(TARGETS[side.name])
    side.control.post(f"hosts/{host}/alarm", alarm="red", times=1)
    time.sleep(trip.chance.choice([0.5, 4.0]))
    side.control.post(f"hosts/{host}/alarm", alarm="green", times=1)


def sessions_end(trip: Trip) -> None:
    """All sessions end."""
    trip.side().control.post("sessions/expire")


def answer_lost(trip: Trip) -> None:
    """A call is carried out, and its answer is lost."""
    trip.side().control.post("calls/fail", call=trip.chance.choice(CALLS), how="lost", times=1)


def call_refused(trip: Trip) -> None:
    """Some calls of one method get status 503."""
    trip.side().control.post(
        "calls/fail", call=trip.chance.choice(CALLS), how="unavailable", times=trip.chance.randint(1, 3)
    )


def move_fails(trip: Trip) -> None:
    """The next move of a VM fails."""
    name, vm = trip.chance.choice(sorted(trip.vms().items(), key=lambda each: each[0]))
    vm["side"].control.post("faults", vm=name, fault=trip.chance.choice(FAULTS), times=1)


def host_drops(trip: Trip) -> None:
    """A target host loses its connection to vCenter for a moment."""
    side = trip.side()
    host = trip.chance.choice(TARGETS[side.name][:2])
    side.control.post(f"hosts/{host}", connection="disconnected")
    time.sleep(1.0)
    side.control.post(f"hosts/{host}", connection="connected")


def person_moves(trip: Trip) -> None:
    """A person moves a VM to another host."""
    name, vm = trip.chance.choice([(name, vm) for name, vm in sorted(trip.vms().items()) if vm["power"] == "poweredOn"])
    target = trip.chance.choice([host for host in TARGETS[vm["side"].name] if host != vm["host"]])
    trip.moved_by_people.add(name)
    vm["side"].control.post(f"vms/{name}", action="move", target=target)


def line_breaks(trip: Trip) -> None:
    """The line between the two vCenters breaks for a moment, and with it every move over it."""
    line = trip.sides[-1].control
    line.post("wan", state="down")
    time.sleep(trip.chance.choice([0.2, 3.0]))
    line.post("wan", state="up")


def call_late(trip: Trip) -> None:
    """The answer of a call is lost, and vCenter carries it out later."""
    seconds = trip.chance.choice([0.5, 4])
    trip.side().control.post("calls/fail", call=trip.chance.choice(LATE), how="late", seconds=seconds, times=1)


def overrides_slow(trip: Trip) -> None:
    """A change of DRS overrides takes long; in half of the cases the answer to the call is lost, too."""
    control = trip.side().control
    control.post("tasks", call=OVERRIDES, how="slow", seconds=trip.chance.choice([2, 6]), times=1)
    if trip.chance.random() < 0.5:
        control.post("calls/fail", call=OVERRIDES, how="lost", times=1)


def fence_fails(trip: Trip) -> None:
    """vCenter accepts to put the host into maintenance mode, and the task fails later."""
    fault, seconds = trip.chance.choice(FENCE_FAULTS), trip.chance.choice([0.3, 3, 6])
    trip.sides[0].control.post("tasks", call=FENCE, how="fails", fault=fault, seconds=seconds, times=1)


def fence_cancelled(trip: Trip) -> None:
    """A person cancels the task that puts the host into maintenance mode."""
    trip.sides[0].control.post("tasks", call=FENCE, how="cancelled", seconds=trip.chance.choice([0.3, 3, 6]), times=1)


def host_fails(trip: Trip) -> None:
    """The host or a target has no power for some time, and HA starts its VMs on other hosts."""
    side = trip.side()
    host = trip.chance.choice([*TARGETS[side.name][:2], *([HOST] if side is trip.sides[0] else [])])
    side.control.post(f"hosts/{host}/fail", seconds=trip.chance.choice([1, 8]))


def drs_moves(trip: Trip) -> None:
    """DRS looks at the cluster now."""
    trip.side().control.post("drs")


def killed(trip: Trip) -> None:
    """The playbook is killed, and with it its module."""
    if trip.process is not None and not trip.ended:
        trip.killed = True
        for pid in (*descendants(trip.process.pid), trip.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def interrupted(trip: Trip) -> None:
    """A person presses Ctrl-C."""
    if trip.process is not None and not trip.ended:
        trip.killed = True
        trip.process.send_signal(signal.SIGINT)


def another_controller(trip: Trip) -> None:
    """Somebody begins the same playbook for the same host on another controller, which does not know of this one."""
    if trip.other is not None or trip.ended:
        return
    trip.contended = True
    with (trip.elsewhere / "output").open("w", encoding="utf-8") as output:
        trip.other = started(trip, trip.elsewhere, output)


Strike = tuple[float, Callable[[Trip], None]]  # when, in seconds, and what
STRIKES: tuple[Callable[[Trip], None], ...] = (
    restart, unavailable, silent, sessions_end, answer_lost, answer_lost, call_refused, call_refused, move_fails, move_fails,
    host_drops, person_moves, person_moves, drs_moves, killed, interrupted, another_controller,
    call_late, overrides_slow, fence_fails, fence_fails, fence_cancelled, host_fails, host_fails,
    dies, login_refused, hidden, hidden, alarm,
)  # fmt: skip

# These wait for the next task or call, which may be one of a run without faults. A call may be refused three times.
LEFTOVERS = {"fence_fails": 1, "fence_cancelled": 1, "call_late": 1, "answer_lost": 1, "call_refused": 3}

STRIKES_ACROSS = (*STRIKES, line_breaks, line_breaks, line_breaks)


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process started, the youngest generation last."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def side_of(answer: dict[str, Any], name: str) -> Side:
    """One vCenter of what ``up`` printed; the first one without a name."""
    answer = of_vcenter(answer, name) if name else answer
    login = answer["vcenter"]
    endpoint = Endpoint(login["host"], login["user"], login["password"], login["port"], ca_path=login["ca_file"])
    return Side(name, Control(answer["control"], name or None), answer["env"], endpoint)


@contextmanager
def running_trip(seed: int, playbooks: PlaybookServer) -> Iterator[Trip]:
    """A lab and a state directory for one schedule."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="liveml-chaos-") as name:
        folder = Path(name)
        drs, files_move = chance.choice([None, "manual", "partial", "full", "full"]), chance.random() < 0.5
        document = alone(drs, files_move=files_move)
        across = seed % ACROSS == ACROSS - 1
        path = folder / "topology.yml"
        path.write_text(yaml.safe_dump(with_cloud(document) if across else document), encoding="utf-8")
        command = [sys.executable, "-m", "lab"]
        up = subprocess.run(
            [*command, "up", "--topology", str(path), "--state", f"{name}/lab", "--no-guests"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        try:
            answer = json.loads(up.stdout)
            state, elsewhere = folder / "state", folder / "elsewhere"
            for each in (state, elsewhere):
                each.mkdir(mode=0o700)
            sides = tuple(side_of(answer, name) for name in ("", CLOUD)[: 1 + across])
            yield Trip(seed, sides, state, chance, elsewhere, playbooks, files_move=files_move)
        finally:
            subprocess.run([*command, "down", "--state", f"{name}/lab"], cwd=ROOT, capture_output=True, check=False)


def variables_of(trip: Trip, name: str) -> dict[str, Any]:
    """The variables of a playbook."""
    role = "report_state" if name == "status" else name
    across: dict[str, Any] = {f"{role}_destination_vcenter": trip.sides[1].login} if trip.across else {}
    if name == "status":
        return across
    if name == "evacuate_host":
        across |= {f"{name}_{key}": value for key, value in MAPS.items()} if trip.across else {}
        across |= {f"{name}_scope": "both"} if trip.files_move and not trip.across else {}
    return {f"{name}_name": HOST, f"{name}_slots": SLOTS, f"{name}_experiments": {"enabled": False}, **across}


def command_for(name: str, state: Path, variables: Mapping[str, Any]) -> list[str]:
    """The playbook as a person types it."""
    extra = json.dumps({"liveml_vsphere_state_dir": str(state), **variables})
    return [str(Path(sys.executable).parent / "ansible-playbook"), f"liveml.vsphere.{name}", "-e", extra]


def play(trip: Trip, name: str, strikes: int) -> tuple[int | None, str]:
    """Exit code and output of a playbook under so many strikes; no code if it hung and was killed."""
    trip.playbook, trip.other, trip.contended = name, None, False
    trip.begun = datetime.now(UTC).isoformat()
    trip.process = started(trip, trip.state)
    threads = [threading.Thread(target=strike, args=(trip, *each)) for each in chosen(trip, strikes)]
    for thread in threads:
        thread.start()
    try:
        text = trip.process.communicate(PATIENCE)
    except subprocess.TimeoutExpired:
        killed(trip)
        return None, trip.process.communicate(PATIENCE)
    finally:
        trip.over = datetime.now(UTC).isoformat()
        for thread in threads:
            thread.join()
    if name == "restore_host" and trip.process.returncode == 0:
        trip.brought = trip.brought or trip.over
    return trip.process.returncode, text


def chosen(trip: Trip, strikes: int) -> tuple[tuple[int, list[Strike]], ...]:
    """What strikes and when: some counted from the start of the playbook, some from the first move after so many that there were."""
    chance, whats, before = trip.chance, STRIKES_ACROSS if trip.across else STRIKES, len(trip.moves())
    at_start, at_move = list[Strike](), list[Strike]()
    for _ in range(strikes):
        into, last = (at_move, LAST_IN_FLIGHT) if chance.random() < IN_FLIGHT else (at_start, LAST)
        into.append((chance.uniform(0.2, last), chance.choice(whats)))
    return (0, sorted(at_start, key=itemgetter(0))), (before + 1, sorted(at_move, key=itemgetter(0)))


def started(trip: Trip, state: Path, output: IO[str] | None = None) -> Playbook:
    """The playbook of the trip, on the controller with this state directory."""
    command = command_for(trip.playbook, state, variables_of(trip, trip.playbook))
    return trip.playbooks.start(command, trip.sides[0].env, output)


def strike(trip: Trip, moves: int, planned: list[Strike]) -> None:
    """Let everything happen at its time after so many moves have begun, unless the playbook has ended."""
    while planned and len(trip.moves()) < moves and not trip.ended:
        time.sleep(0.1)
    begun = time.monotonic()
    for at, what in planned:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        if trip.ended:
            return
        with suppress(HTTPError):  # such as a pass of a DRS that is off
            what(trip)
            trip.struck.append(
                f"{what.__name__} {at:.1f} s after {'the first move' if moves else 'the start'} of {trip.playbook}"
            )


def settled(trip: Trip) -> None:
    """Wait until no VM moves, no host is down and no process works on the run any more, neither of the other controller."""
    deadline = time.monotonic() + PATIENCE
    if trip.other is not None:
        with suppress(subprocess.TimeoutExpired):
            trip.other.wait(PATIENCE)
    while time.monotonic() < deadline:
        flying = [move for move in trip.moves() if move["finished"] is None]
        failing = any(host["failover"] for side in trip.sides for host in side.state()["hosts"].values())
        if not flying and not failing and not working(trip.state) and not working(trip.elsewhere):
            return
        time.sleep(0.1)
    trip.found.append(("chaos_not_converged", "a move or the process of a run did not end"))


def working(state: Path) -> bool:
    """Whether a process still carries out a run of this state directory."""
    found = overviews(list(stored_runs(state)), partial(holder_of, state))
    return any(run.status is RunStatus.RUNNING for run in found)


def overrides_of(trip: Trip) -> dict[tuple[str, str], DrsOverride]:
    """The overrides of DRS in the clusters, by side and VM."""
    found: dict[tuple[str, str], DrsOverride] = {}
    for side in trip.sides:
        with connected(side.endpoint) as client:
            estate = read_estate(client)
            (cluster,) = {host.cluster for host in estate.hosts.values()}
            known = read_drs_overrides(client, cluster) or {}
            found |= {(side.name, estate.vms[moid].name): override for moid, override in known.items()}
    return found


def check_overrides(trip: Trip, name: str, before: Mapping[tuple[str, str], DrsOverride], home: Iterable[str]) -> None:
    """The overrides are as before. Those of a VM stay behind if it goes to another vCenter."""
    now = overrides_of(trip)
    travelled = set(home) if trip.across else set()
    lost = {key for key in before.keys() - now.keys() if key[1] not in travelled}
    if lost or any(before.get(key) != override for key, override in now.items()):
        trip.found.append(("chaos_overrides_changed", f"after {name}: {now}"))


@dataclass(frozen=True)
class Goal:
    """What a playbook must have done if it says success, and all that was asked of it: only then may it not say failure."""

    required: Callable[[], bool]
    asked: Callable[[], bool]


def judge(trip: Trip, name: str, code: int | None, text: str, goal: Goal) -> None:
    """Compare what was said with what is."""
    reached = goal.required()
    if code is None:
        trip.found.append(("chaos_not_converged", f"{name} hung"))
    elif code == 0 and not reached:
        trip.found.append(("chaos_false_success", f"{name} succeeded, and the lab says otherwise"))
    elif code != 0 and goal.asked() and not trip.killed and not trip.contended:
        reason = next((line for line in text.splitlines() if "ERROR" in line), "")
        trip.found.append(("chaos_false_failures", f"{name} failed with everything done: {reason[:300]}"))
    if (
        "Traceback (most recent call last)" in text and not trip.killed
    ):  # Ansible shows one if it is interrupted while it starts
        trip.found.append(("chaos_tracebacks", text[text.index("Traceback") :][:400]))
    if trip.other is not None:
        judge_other(trip, name, reached=reached)
    check_statements(trip, name)
    check_limits(trip)


def judge_other(trip: Trip, name: str, *, reached: bool) -> None:
    """The other controller may be refused, because the host is taken. If it succeeds, everything is done."""
    text = (trip.elsewhere / "output").read_text(encoding="utf-8")
    code = trip.other.poll() if trip.other is not None else None
    if code is None:
        trip.found.append(("chaos_not_converged", f"{name} of the other controller hung"))
    elif code == 0 and not reached:
        trip.found.append(
            ("chaos_false_success", f"{name} of the other controller succeeded, and the lab says otherwise")
        )
    if "Traceback (most recent call last)" in text:
        trip.found.append(("chaos_tracebacks", text[text.index("Traceback") :][:400]))


def check_statements(trip: Trip, name: str) -> None:
    """A VM that the evidence calls moved has come to that target by a move, or by HA if the evidence says so."""
    came = {(move["vm"], move["target"]) for move in trip.moves() if move["result"] == "success"}
    restarted = {(restart["vm"], restart["target"]) for restart in trip.restarts()}
    for path in (*trip.state.glob("runs/*/evidence.json"), *trip.elsewhere.glob("runs/*/evidence.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for move in document["moves"]:
            where = move["vm"], move["target"]
            by_ha = move.get("by") == HA_NAME and where in restarted
            if move["result"] == "moved" and where not in came and not by_ha:
                trip.found.append(
                    ("chaos_false_statements", f"{name}: {move['vm']} is said to have moved to {move['target']}")
                )
            if move["result"] == "gone":
                trip.found.append(("chaos_false_statements", f"{name}: {move['vm']} is said to be gone"))


def check_limits(trip: Trip) -> None:
    """Our own moves never use more slots of the host than they may."""
    changes, users = [], {side.endpoint.user for side in trip.sides}
    for move in trip.moves():
        if move["by"] in users and move["started"] and HOST in (move["source"], move["target"]):
            changes += [(move["started"], 1), (move["finished"] or "9999", -1)]
    flying = peak = 0
    for _at, change in sorted(changes):
        flying += change
        peak = max(peak, flying)
    if peak > SLOTS:
        trip.found.append(("chaos_limits_exceeded", f"{peak} moves at a time, and {SLOTS} are allowed"))


Place = tuple[str, dict[str, str]]


def places(trip: Trip) -> dict[str, Place]:
    """The host of each VM and the datastores of its parts, by the lab's account."""
    return {name: (vm["host"], vm["storage"]) for name, vm in trip.vms().items()}


def taken_before(trip: Trip) -> set[str]:
    """The VMs that left the host before a run recorded their homes: nobody knows then that they are to come home.

    HA may take them at any time, and DRS before a run begins; what DRS moves later, the run has seen.
    """
    taken = {each["vm"] for each in trip.restarts() if each["source"] == HOST != each["target"]}
    entries = trip.entries()
    begun = min((entry.at for entry in entries if isinstance(entry.event, RunStarted)), default=None)
    taken |= {move["vm"] for move in trip.moves_of_drs() if begun is None or is_before(move["queued"], begun)}
    return taken - {entry.event.vm.name for entry in entries if isinstance(entry.event, HomeRecorded)}


def is_before(one: str, other: str) -> bool:
    """Whether a time in ISO 8601 is before another one."""
    return datetime.fromisoformat(one) < datetime.fromisoformat(other)


def check_homes(trip: Trip, home: Mapping[str, Place]) -> None:
    """``status`` names each VM that is not at home."""
    code, text = play(trip, "status", 0)
    where = places(trip)
    left = trip.excused() if trip.brought else trip.moved_by_people
    away = {name for name, place in home.items() if where.get(name) != place} - left
    say_unnamed(trip, "status", code, text, away)


def check_each_side(trip: Trip, home: Mapping[str, Place]) -> None:
    """Each vCenter alone says which VMs are not at home: that of the home by the journals, the other one by the VMs themselves."""
    where = {name for name, vm in trip.vms().items() if vm["side"] is trip.sides[1]}
    there = where & home.keys() - trip.moved_by_people
    for side, states in ((trip.sides[0], (trip.state, trip.elsewhere)), (trip.sides[1], (trip.state / "nowhere",))):
        status = [status_of(trip, side, state) for state in states]
        code, text = max(code for code, _text in status), "\n".join(text for _code, text in status)
        say_unnamed(trip, f"status of {side.name or 'the site'} alone", code, text, there)


def status_of(trip: Trip, side: Side, state: Path) -> tuple[int, str]:
    """Exit code and output of the status with the login of one vCenter."""
    state.mkdir(mode=0o700, exist_ok=True)
    status = trip.playbooks.start(command_for("status", state, {}), side.env)
    text = status.communicate(PATIENCE)
    return status.wait(PATIENCE), text


def say_unnamed(trip: Trip, status: str, code: int | None, text: str, away: Iterable[str]) -> None:
    """Note the VMs that are not at home and that a status does not name."""
    unnamed = sorted(name for name in away if name not in text)
    if code != 0:
        trip.found.append(("chaos_not_converged", f"{status} failed without a fault"))
    elif unnamed:
        trip.found.append(("chaos_vms_unaccounted", f"{status} does not name {', '.join(unnamed)}"))


def check_sides(trip: Trip, home: Iterable[str]) -> None:
    """Each VM is in exactly one vCenter."""
    count = Counter(name for side in trip.sides for name in side.state()["vms"])
    trip.found += [
        ("chaos_vms_unaccounted", f"{name} is in {count[name]} vCenters") for name in home if count[name] != 1
    ]


def round_trip(seed: int, playbooks: PlaybookServer) -> Trip:
    """One schedule: evacuate and restore the host under strikes, each followed by a run without."""
    with running_trip(seed, playbooks) as trip:
        before = overrides_of(trip)
        home = {name: place for name, place in places(trip).items() if name in trip.on_host()}

        def all_home(excused: Iterable[str] = ()) -> bool:
            where = places(trip)
            return all(where[name] == place for name, place in home.items() if name not in excused)

        # What a person moves meanwhile is left there.
        restored = Goal(lambda: all_home(trip.excused()), lambda: all_home() and not trip.restarted())
        evacuated = Goal(trip.emptied, lambda: trip.emptied() and not trip.restarted())
        for name, goal in (("evacuate_host", evacuated), ("restore_host", restored)):
            trip.killed = False
            code, text = play(trip, name, trip.chance.randint(1, MAX_STRIKES))
            settled(trip)
            for vm in taken_before(trip):
                home.pop(vm, None)
            judge(trip, name, code, text, goal)
            check_sides(trip, home)
            check_homes(trip, home)
            if code != 0 or trip.chance.random() < IDEMPOTENT:
                code, text = converge(trip, name)
                judge(trip, name, code, text, goal)
            if code != 0 or not goal.required():
                reason = next((line for line in text.splitlines() if "ERROR" in line), "")
                trip.found.append(("chaos_not_converged", f"{name} without faults: {reason[:300]}"))
            check_overrides(trip, name, before, home)
            check_sides(trip, home)
            if trip.across:
                check_each_side(trip, home)
        return trip


def converge(trip: Trip, name: str) -> tuple[int | None, str]:
    """The same playbook without strikes. What is left of each earlier fault may strike it once more, so it may run again."""
    trip.killed = False
    left = sum(LEFTOVERS.get(entry.partition(" ")[0], 0) for entry in trip.struck)
    for _ in range(1 + max(1, left)):
        code, text = play(trip, name, 0)
        settled(trip)
        if not code:
            break
    return code, text


FIGURES = (
    "chaos_vms_unaccounted", "chaos_false_success", "chaos_false_failures", "chaos_false_statements", "chaos_limits_exceeded",
    "chaos_overrides_changed", "chaos_not_converged", "chaos_tracebacks",
)  # fmt: skip


def playbook_server() -> PlaybookServer:
    """What starts the playbooks."""
    return PlaybookServer(ROOT, {**os.environ, "NO_COLOR": "1"})


def run(report: Report, schedules: int, first: int = 0) -> list[Trip]:
    """Run so many schedules, some at a time."""
    trips: list[Trip] = []
    with playbook_server() as playbooks, ThreadPoolExecutor(AT_ONCE) as pool:
        for trip in pool.map(partial(round_trip, playbooks=playbooks), range(first, first + schedules)):
            trips.append(trip)
            for figure, what in trip.found:
                report.say(f"schedule {trip.seed}: {figure}: {what} [{'; '.join(trip.struck)}]")
            report.trial("chaos_schedule", trip.seed, "", struck=trip.struck, found=trip.found)
            if len(trips) % 10 == 0:
                report.say(f"{len(trips)} of {schedules} schedules")
    counted = Counter(figure for trip in trips for figure, _what in trip.found)
    report.figure("chaos_schedules", len(trips), "schedules", strikes=sum(len(trip.struck) for trip in trips))
    for name in FIGURES:
        report.figure(name, counted[name], "", promised=("==", 0))
    return trips
