# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start and stop a lab."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lab import state as folder
from lab.addresses import API_PORT, claim_addresses
from lab.data import flights_csv
from lab.errors import LabError, say
from lab.guests import Launcher, Machine, Server, Supply, place_guests
from lab.h2o_jobs import start_trainings
from lab.live.bridge import check_taps
from lab.live.kept import kept_state
from lab.live.machine import LiveSpec, equip
from lab.live.training import await_training
from lab.paths import DEFAULT_TOPOLOGY, cache_dir
from lab.processes import (
    MARK,
    kill_marked,
    marked_pids,
    signal_marked,
    signal_started,
    start_detached,
    start_time,
    wait_gone,
)
from lab.simulator_client import check_answers, configuration, connection_details, guest_state, read_ready
from lab.toolchain import find_java, h2o_jar, simulator_binary
from lab.topology import Guest, Topology, is_bridged, load

MAX_OTHER_UP_SECONDS = 600.0
MAX_READY_SECONDS = 60.0
MAX_END_SECONDS = 5.0
MAX_UP_END_SECONDS = 30.0


# --- up


def up(state: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Start a lab, or return the answer of the lab that already runs in ``state``.

    ``given`` has the options that the caller set: ``topology`` (path), ``time_scale``, ``drs`` (level) and ``guests`` (bool).

    Raises:
        LabError: the lab could not be started; then nothing of it remains.
    """
    if os.environ.get(MARK):
        raise LabError(f"{MARK} is set, as in a process of a lab; a lab cannot start another one. Unset {MARK}")
    requested = {"topology": str(DEFAULT_TOPOLOGY), "guests": True, **given}
    topology = load(Path(requested["topology"]))
    requested.setdefault("time_scale", topology.sddc["time_scale"])
    requested.setdefault("drs", topology.drs)
    if "drs" in given:
        topology = topology.with_drs(given["drs"])
    with folder.locked_folder(state, MAX_OTHER_UP_SECONDS, create=True):
        if not folder.is_lab_folder(state):
            raise LabError(f"--state {state} has files that are not a lab's; use an empty or a new folder")
        answer = running(state, given)
        if answer is not None:
            return answer
        clear(state)
        state.mkdir(mode=0o700, exist_ok=True)
        os.chmod(state, 0o700)
        try:
            return start(state, requested, topology)
        except BaseException:
            clear(state)
            raise


def current(state: Path) -> dict[str, Any]:
    """What ``up`` printed for the lab that runs in ``state``.

    Raises:
        LabError: no lab runs there.
    """
    marker = folder.read_marker(state)
    if marker is None or marker.answer is None or marker.answer["pid"] not in marked_pids(state):
        raise LabError(f"no lab is running in {state}; start one with `python -m lab up`")
    return marker.answer


def running(state: Path, given: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of the lab that runs in ``state``, None if no lab does.

    Raises:
        LabError: it was started with other options, or it runs and does not answer.
    """
    marker = folder.read_marker(state)
    if marker is None or marker.answer is None:
        return None
    if marker.answer["pid"] not in marked_pids(state):
        say(f"the lab in {state} has died; starting it again")
        return None
    for option, value in given.items():
        if marker.requested[option] != value:
            raise LabError(
                f"the lab in {state} runs with {option} {marker.requested[option]}, not {value};"
                " stop it first with `python -m lab down`, or use another --state"
            )
    try:
        check_answers(marker.answer)
    except LabError as error:
        raise LabError(f"{error}; the lab in {state} hangs: stop it first with `python -m lab down`") from error
    say(f"already running in {state}")
    return marker.answer


def start(state: Path, requested: dict[str, Any], topology: Topology) -> dict[str, Any]:
    """Start a lab in an empty folder; the caller holds the lock of the folder."""
    began = time.monotonic()
    marker = folder.Marker(os.getpid(), start_time(os.getpid()) or 0, requested)
    folder.write_marker(state, marker)
    # The folder may be inside a checkout; git must ignore it.
    folder.write_private(state / ".gitignore", "*\n")
    cache = cache_dir()
    if requested["guests"] and any(map(is_bridged, topology.all_guests)):
        check_taps()
    supply = supplied(topology, cache, state) if requested["guests"] else Supply()
    binary = simulator_binary(cache, state)
    with claimed(topology) as claim:
        placed = [place_guests(each, claim, state, supply) for each in topology.vcenters]
        servers = [server for _, found, _ in placed for server in found]
        machines = [machine for _, _, found in placed for machine in found]
        config = configuration(topology, [vms for vms, _, _ in placed], state, requested["time_scale"])
        folder.write_private(state / folder.CONFIG, json.dumps(config, indent=1))
        command = [str(binary), "--config", str(state / folder.CONFIG)]
        process = start_detached(command, state, state / folder.LOG, claim.fds())
    say(f"starting the simulated vCenter, pid {process.pid}, state in {state}")
    try:
        answer = connection_details(await_ready(process, state), state)
        check_answers(answer)
        check = partial(check_guest, process, answer["control"])
        work = [partial(start_trainings, server, flights_csv(cache), check) for server in servers]
        await_all([*work, *(partial(await_training, machine, check) for machine in machines)], state)
    except LabError as error:
        raise LabError(
            f"{error}{logs(state, [*(each.log for each in servers), *(each.log for each in machines)])}"
        ) from error
    folder.write_marker(state, folder.Marker(marker.up_pid, marker.up_started, requested, answer))
    say(f"up after {time.monotonic() - began:.1f} s")
    return answer


def supplied(topology: Topology, cache: Path, state: Path) -> Supply:
    """Everything that the real guests of a topology start from; what is missing is made."""
    specs = topology.all_guests
    launcher = None
    if any(isinstance(spec, Guest) for spec in specs):
        flights_csv(cache)
        launcher = Launcher(find_java(), h2o_jar(), secrets.token_hex(4))
    live = {}
    for spec in specs:
        if isinstance(spec, LiveSpec):
            equipment = equip(cache, spec)
            live[spec] = equipment, kept_state(cache, state, equipment, spec) if spec.run == "h2o" else None
    return Supply(launcher, live)


@contextmanager
def claimed(topology: Topology) -> Iterator[Any]:
    """Claim guest addresses; at the end this process releases them, and processes that inherited the claim keep it."""
    real = {spec.port for spec in topology.all_guests if isinstance(spec, LiveSpec)}
    claim = claim_addresses(topology.all_numbers, sorted({API_PORT, *real}))
    try:
        yield claim
    finally:
        claim.close()


def check_alive(process: subprocess.Popen[bytes]) -> None:
    """Fail if the simulated vCenter has ended."""
    if process.poll() is not None:
        raise LabError(f"the simulated vCenter ended with exit code {process.returncode}")


def await_ready(process: subprocess.Popen[bytes], state: Path) -> dict[str, Any]:
    """Wait for ``ready.json``."""
    end = time.monotonic() + MAX_READY_SECONDS
    while (ready := read_ready(state / folder.READY)) is None:
        check_alive(process)
        if time.monotonic() > end:
            raise LabError(f"the simulated vCenter was not ready after {MAX_READY_SECONDS:.0f} s")
        time.sleep(0.05)
    return ready


def check_guest(process: subprocess.Popen[bytes], control: str, guest: Server | Machine) -> None:
    """Fail if the simulated vCenter, the server or the real VM has ended."""
    check_alive(process)
    if guest_state(control, guest.vcenter, guest.vm) == "dead":
        raise LabError(f"the {'H2O-3 server' if isinstance(guest, Server) else 'real VM'} of {guest.vm} ended")


def await_all(works: list[Callable[[], None]], state: Path) -> None:
    """Start the trainings of all guests in parallel; return when each has made progress."""
    with ThreadPoolExecutor(max_workers=max(1, len(works))) as pool:
        tasks = [pool.submit(work) for work in works]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            # The other threads wait for their guests, and end as soon as these are gone.
            kill_marked(state)
            raise


def logs(state: Path, guests: list[Path]) -> str:
    """The last lines of the logs, for the error of a start that failed."""
    paths = [state / folder.LOG, *guests]
    parts = [f"\n--- {path.relative_to(state)}:\n{text}" for path in paths if (text := folder.tail(path))]
    return "".join(parts)


# --- down


def down(state: Path) -> None:
    """Stop the lab in ``state`` and remove all of it; do nothing if there is none.

    Raises:
        LabError: the folder has files that are not a lab's, or a process cannot be killed.
    """
    stop_running_up(state)
    with folder.locked_folder(state, MAX_UP_END_SECONDS, create=False) as exists:
        if exists and not folder.is_lab_folder(state):
            raise LabError(f"--state {state} has files that are not a lab's; nothing was removed. Check the path")
        # There may still be processes if somebody removed the folder.
        clear(state)


def stop_running_up(state: Path) -> None:
    """Stop an ``up`` that is still working on ``state``; it cleans up after itself if it can."""
    marker = folder.read_marker(state)
    if marker is None or marker.answer is not None or start_time(marker.up_pid) != marker.up_started:
        return
    say(f"stopping `up`, pid {marker.up_pid}")
    signal_started(marker.up_pid, marker.up_started, signal.SIGTERM)
    if not wait_gone(marker.up_pid, MAX_UP_END_SECONDS):
        signal_started(marker.up_pid, marker.up_started, signal.SIGKILL)


def clear(state: Path) -> None:
    """Stop all processes of the lab in ``state``, first with SIGTERM, and remove the folder."""
    pids = marked_pids(state)
    for pid in pids:
        signal_marked(pid, state, signal.SIGTERM)
    end = time.monotonic() + MAX_END_SECONDS
    for pid in pids:
        wait_gone(pid, max(0.0, end - time.monotonic()))
    killed = kill_marked(state)
    if pids:
        say(f"stopped {len(pids)} processes" + (f", {killed} of them by SIGKILL" if killed else ""))
    if state.is_dir():
        folder.remove(state)
