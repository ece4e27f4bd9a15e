# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a maintenance stays true and converges while everything around it breaks.

Each schedule is a round trip of one host by the real playbooks in a lab of its own. A seed chooses what strikes it and when: faults
of vCenter and of its answers, moves by DRS and by people, a killed playbook, another controller that begins the same. In half of the
schedules one VM is on a datastore that only this host has. After each playbook the lab's own account is compared with the exit code, the evidence and the homes; then the same playbook runs without faults and must finish.
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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import holder_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunStatus, overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import stored_runs
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import DrsOverride
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import (
    read_drs_overrides,
    read_estate,
)

from benchmarks.report import Report
from lab.control import Control

ROOT = Path(__file__).resolve().parent.parent
USUAL_SCHEDULES = 200
AT_ONCE = 2
HOST, VMS, SLOTS = "esx-01", 8, 4
PATIENCE = 240.0  # seconds for one playbook; more is a run that hangs
MAX_STRIKES = 5
IDEMPOTENT = 0.2  # share of the playbooks that run again though they succeeded
CALLS = (
    "RelocateVM_Task", "EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task", "CreateFilter", "WaitForUpdatesEx",
    "RetrievePropertiesEx", "ReconfigureComputeResource_Task", "SetField", "QueryEvents",
)  # fmt: skip
FAULTS = ("Timedout", "HostCommunication", "NoPermission", "InsufficientResourcesFault")


@dataclass
class Trip:
    """One schedule under way: the lab, what has struck so far, and what was found wrong."""

    seed: int
    lab: Control
    env: Mapping[str, str]
    endpoint: Endpoint
    state: Path
    chance: random.Random
    elsewhere: Path  # the state directory of another controller
    files_move: bool = False  # one VM leaves with its files
    playbook: str = ""
    moved_by_people: set[str] = field(default_factory=set)
    process: subprocess.Popen[str] | None = None
    other: subprocess.Popen[str] | None = None  # the playbook of the other controller
    killed: bool = False
    contended: bool = False  # another controller has begun the same; one of both may fail
    struck: list[str] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)  # (figure, what was seen)

    def vms(self) -> dict[str, dict[str, Any]]:
        """The VMs by the lab's account."""
        return dict(self.lab.get("state")["vms"])

    def on_host(self) -> set[str]:
        """Names of the powered-on VMs of the host."""
        return {name for name, vm in self.vms().items() if vm["host"] == HOST and vm["power"] == "poweredOn"}

    def emptied(self) -> bool:
        """Whether what an evacuation is for is done."""
        return not self.on_host() and self.lab.get("state")["hosts"][HOST]["maintenance"] == "in"


def restart(trip: Trip) -> None:
    """vCenter restarts: sessions and tasks are gone."""
    trip.lab.post("restart", seconds=trip.chance.choice([0.5, 2]))


def unavailable(trip: Trip) -> None:
    """Each call gets status 503."""
    trip.lab.post("outage", how="unavailable", seconds=trip.chance.choice([0.5, 2]))


def silent(trip: Trip) -> None:
    """No call gets an answer."""
    trip.lab.post("outage", how="silent", seconds=trip.chance.choice([0.5, 2]))


def sessions_end(trip: Trip) -> None:
    """All sessions end."""
    trip.lab.post("sessions/expire")


def answer_lost(trip: Trip) -> None:
    """A call is carried out, and its answer is lost."""
    trip.lab.post("calls/fail", call=trip.chance.choice(CALLS), how="lost", times=1)


def call_refused(trip: Trip) -> None:
    """Some calls of one method get status 503."""
    trip.lab.post("calls/fail", call=trip.chance.choice(CALLS), how="unavailable", times=trip.chance.randint(1, 3))


def move_fails(trip: Trip) -> None:
    """The next move of a VM fails."""
    vm = trip.chance.choice(sorted(trip.vms()))
    trip.lab.post("faults", vm=vm, fault=trip.chance.choice(FAULTS), times=1)


def host_drops(trip: Trip) -> None:
    """A target host loses its connection to vCenter for a moment."""
    host = trip.chance.choice(["esx-02", "esx-03"])
    trip.lab.post(f"hosts/{host}", connection="disconnected")
    time.sleep(1.0)
    trip.lab.post(f"hosts/{host}", connection="connected")


def person_moves(trip: Trip) -> None:
    """A person moves a VM to another host."""
    name, vm = trip.chance.choice([(name, vm) for name, vm in sorted(trip.vms().items()) if vm["power"] == "poweredOn"])
    target = trip.chance.choice([host for host in ("esx-02", "esx-03", "esx-04", "esx-05") if host != vm["host"]])
    trip.moved_by_people.add(name)
    trip.lab.post(f"vms/{name}", action="move", target=target)


def drs_moves(trip: Trip) -> None:
    """DRS looks at the cluster now."""
    trip.lab.post("drs")


def killed(trip: Trip) -> None:
    """The playbook is killed, and with it its module."""
    if trip.process is not None and trip.process.poll() is None:
        trip.killed = True
        for pid in (*descendants(trip.process.pid), trip.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def interrupted(trip: Trip) -> None:
    """A person presses Ctrl-C."""
    if trip.process is not None and trip.process.poll() is None:
        trip.killed = True
        trip.process.send_signal(signal.SIGINT)


def another_controller(trip: Trip) -> None:
    """Somebody begins the same playbook for the same host on another controller, which does not know of this one."""
    if trip.other is not None or trip.process is None or trip.process.poll() is not None:
        return
    trip.contended = True
    with (trip.elsewhere / "output").open("w", encoding="utf-8") as output:
        trip.other = started(trip, trip.elsewhere, output)


STRIKES: tuple[Callable[[Trip], None], ...] = (
    restart, unavailable, silent, sessions_end, answer_lost, answer_lost, call_refused, call_refused, move_fails, move_fails,
    host_drops, person_moves, person_moves, drs_moves, killed, interrupted, another_controller,
)  # fmt: skip


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process started, the youngest generation last."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def topology(drs: str | None, folder: Path, *, files_move: bool) -> Path:
    """A small cluster whose first host has eight VMs, and one that is powered off; one may be on a datastore of this host alone."""
    small = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text(encoding="utf-8"))
    small["hosts"].append({"name": "esx-05", "fault_domain": "us-west-2a"})
    small["vms"] = [{"name": f"ml-{n}", "host": HOST} for n in range(1, VMS + 1)]
    small["vms"] += [{"name": "off-9", "host": HOST, "power": "off"}, {"name": "other-10", "host": "esx-03"}]
    if files_move:
        small["datastores"].append(
            {"name": "esx-01-local", "capacity_gb": 500, "free_gb": 300, "hosts": [HOST], "local": True}
        )
        small["vms"][VMS - 1] |= {"datastores": ["esx-01-local"], "disks": [{"size_gb": 4, "used_gb": 2}]}
    small["time_scale"] = 0.15
    small["clusters"][0] |= {"drs": drs, "drs_overrides": {"ml-2": "disabled", "ml-3": "full"}} if drs else {}
    path = folder / "topology.yml"
    path.write_text(yaml.safe_dump(small), encoding="utf-8")
    return path


@contextmanager
def running_trip(seed: int) -> Iterator[Trip]:
    """A lab and a state directory for one schedule."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="liveml-chaos-") as name:
        folder = Path(name)
        drs, files_move = chance.choice([None, "manual", "partial", "full", "full"]), chance.random() < 0.5
        path = topology(drs, folder, files_move=files_move)
        command = [sys.executable, "-m", "lab"]
        up = subprocess.run(
            [*command, "up", "--topology", str(path), "--state", f"{name}/lab", "--no-guests"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        try:
            answer = json.loads(up.stdout)
            login = answer["vcenter"]
            endpoint = Endpoint(
                login["host"], login["user"], login["password"], login["port"], ca_path=login["ca_file"]
            )
            state, elsewhere = folder / "state", folder / "elsewhere"
            for each in (state, elsewhere):
                each.mkdir(mode=0o700)
            yield Trip(
                seed,
                Control(answer["control"]),
                answer["env"],
                endpoint,
                state,
                chance,
                elsewhere,
                files_move=files_move,
            )
        finally:
            subprocess.run([*command, "down", "--state", f"{name}/lab"], cwd=ROOT, capture_output=True, check=False)


def command_for(name: str, state: Path, *, files_move: bool) -> list[str]:
    """The playbook as a person types it."""
    variables: dict[str, Any] = {"liveml_vsphere_state_dir": str(state)}
    if name == "evacuate_host" and files_move:
        variables["evacuate_host_scope"] = "both"
    if name != "status":
        variables |= {f"{name}_name": HOST, f"{name}_slots": SLOTS, f"{name}_experiments": {"enabled": False}}
    return [
        str(Path(sys.executable).parent / "ansible-playbook"), f"liveml.vsphere.{name}", "-e", json.dumps(variables),
    ]  # fmt: skip


def play(trip: Trip, name: str, strikes: int) -> tuple[int | None, str]:
    """Exit code and output of a playbook under so many strikes; no code if it hung and was killed."""
    trip.playbook, trip.other, trip.contended = name, None, False
    trip.process = started(trip, trip.state, subprocess.PIPE)
    planned = sorted((trip.chance.uniform(0.5, 9.0), trip.chance.choice(STRIKES)) for _ in range(strikes))
    striking = threading.Thread(target=strike, args=(trip, planned))
    striking.start()
    try:
        text, _nothing = trip.process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        killed(trip)
        text, _nothing = trip.process.communicate()
        return None, text
    finally:
        striking.join()
    return trip.process.returncode, text


def started(trip: Trip, state: Path, output: Any) -> subprocess.Popen[str]:
    """The playbook of the trip, on the controller with this state directory."""
    return subprocess.Popen(
        command_for(trip.playbook, state, files_move=trip.files_move), cwd=ROOT, text=True, stdout=output,
        stderr=subprocess.STDOUT, env={**os.environ, **trip.env, "NO_COLOR": "1"},
    )  # fmt: skip


def strike(trip: Trip, planned: list[tuple[float, Callable[[Trip], None]]]) -> None:
    """Let everything happen at its time, unless the playbook has ended."""
    begun = time.monotonic()
    for at, what in planned:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        if trip.process is None or trip.process.poll() is not None:
            return
        with suppress(HTTPError):  # such as a pass of a DRS that is off
            what(trip)
            trip.struck.append(f"{at:.1f} s {what.__name__}")


def settled(trip: Trip) -> None:
    """Wait until no VM moves and no process works on the run any more, neither of the other controller."""
    deadline = time.monotonic() + PATIENCE
    if trip.other is not None:
        with suppress(subprocess.TimeoutExpired):
            trip.other.wait(PATIENCE)
    while time.monotonic() < deadline:
        flying = [move for move in trip.lab.get("state")["moves"] if move["finished"] is None]
        if not flying and not working(trip.state) and not working(trip.elsewhere):
            return
        time.sleep(0.1)
    trip.found.append(("chaos_not_converged", "a move or the process of a run did not end"))


def working(state: Path) -> bool:
    """Whether a process still carries out a run of this state directory."""
    found = overviews(list(stored_runs(state)), partial(holder_of, state))
    return any(run.status is RunStatus.RUNNING for run in found)


def overrides_of(trip: Trip) -> dict[str, DrsOverride]:
    """The overrides of DRS in the cluster, by VM MoID."""
    with connected(trip.endpoint) as client:
        (cluster,) = {host.cluster for host in read_estate(client).hosts.values()}
        return dict(read_drs_overrides(client, cluster) or {})


def judge(trip: Trip, name: str, code: int | None, text: str, goal: Callable[[], bool]) -> None:
    """Compare what was said with what is."""
    reached = goal()
    if code is None:
        trip.found.append(("chaos_not_converged", f"{name} hung"))
    elif code == 0 and not reached:
        trip.found.append(("chaos_false_success", f"{name} succeeded, and the lab says otherwise"))
    elif code != 0 and reached and not trip.killed and not trip.contended:
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
    """A VM that the evidence calls moved has been on that target; one that it calls failed is not said to be there."""
    moves = trip.lab.get("state")["moves"]
    came = {(move["vm"], move["target"]) for move in moves if move["result"] == "success"}
    for path in (*trip.state.glob("runs/*/evidence.json"), *trip.elsewhere.glob("runs/*/evidence.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for move in document["moves"]:
            if move["result"] == "moved" and (move["vm"], move["target"]) not in came:
                trip.found.append(
                    ("chaos_false_statements", f"{name}: {move['vm']} is said to have moved to {move['target']}")
                )
            if move["result"] == "gone":
                trip.found.append(("chaos_false_statements", f"{name}: {move['vm']} is said to be gone"))


def check_limits(trip: Trip) -> None:
    """Our own moves never use more slots of the host than they may."""
    changes = []
    for move in trip.lab.get("state")["moves"]:
        if move["by"] == trip.endpoint.user and move["started"] and HOST in (move["source"], move["target"]):
            changes += [(move["started"], 1), (move["finished"] or "9999", -1)]
    flying = peak = 0
    for _at, change in sorted(changes):
        flying += change
        peak = max(peak, flying)
    if peak > SLOTS:
        trip.found.append(("chaos_limits_exceeded", f"{peak} moves at a time, and {SLOTS} are allowed"))


def places(trip: Trip) -> dict[str, tuple[str, dict[str, str]]]:
    """The host of each VM and the datastores of its parts, by the lab's account."""
    return {name: (vm["host"], vm["storage"]) for name, vm in trip.vms().items()}


def check_homes(trip: Trip, home: Mapping[str, tuple[str, dict[str, str]]]) -> None:
    """``status`` names each VM that is not at home."""
    code, text = play(trip, "status", 0)
    where = places(trip)
    away = {name for name, place in home.items() if where.get(name) != place} - trip.moved_by_people
    unnamed = sorted(name for name in away if name not in text)
    if code != 0:
        trip.found.append(("chaos_not_converged", "status failed without a fault"))
    elif unnamed:
        trip.found.append(("chaos_vms_unaccounted", f"status does not name {', '.join(unnamed)}"))


def round_trip(seed: int) -> Trip:
    """One schedule: evacuate and restore the host under strikes, each followed by a run without."""
    with running_trip(seed) as trip:
        before = overrides_of(trip)
        home = {name: place for name, place in places(trip).items() if name in trip.on_host()}

        def all_home() -> bool:
            where = places(trip)
            return all(where[name] == place for name, place in home.items() if name not in trip.moved_by_people)

        for name, goal in (("evacuate_host", trip.emptied), ("restore_host", all_home)):
            trip.killed = False
            code, text = play(trip, name, trip.chance.randint(1, MAX_STRIKES))
            settled(trip)
            judge(trip, name, code, text, goal)
            check_homes(trip, home)
            if code != 0 or trip.chance.random() < IDEMPOTENT:
                code, text = converge(trip, name)
                judge(trip, name, code, text, goal)
            if code != 0 or not goal():
                reason = next((line for line in text.splitlines() if "ERROR" in line), "")
                trip.found.append(("chaos_not_converged", f"{name} without faults: {reason[:300]}"))
            if overrides_of(trip) != before:
                trip.found.append(("chaos_overrides_changed", f"after {name}: {overrides_of(trip)}"))
        lost = {name for name in home if name not in trip.vms()}
        trip.found += [("chaos_vms_unaccounted", f"{name} is on no host") for name in lost]
        return trip


def converge(trip: Trip, name: str) -> tuple[int | None, str]:
    """The same playbook without strikes. What is left of earlier faults may strike it once more, so it may run twice."""
    trip.killed = False
    code, text = play(trip, name, 0)
    return play(trip, name, 0) if code else (code, text)


FIGURES = (
    "chaos_vms_unaccounted", "chaos_false_success", "chaos_false_failures", "chaos_false_statements", "chaos_limits_exceeded",
    "chaos_overrides_changed", "chaos_not_converged", "chaos_tracebacks",
)  # fmt: skip


def run(report: Report, schedules: int, first: int = 0) -> list[Trip]:
    """Run so many schedules, two at a time."""
    trips: list[Trip] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for trip in pool.map(round_trip, range(first, first + schedules)):
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
