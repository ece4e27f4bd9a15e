# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a lab up and take it down."""

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
from lab.addresses import claim_addresses
from lab.data import flights_csv
from lab.errors import LabError, say
from lab.guests import Launcher, Server, place_guests
from lab.h2o_jobs import start_trainings
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
from lab.simulator_client import answer_of, check_answers, configuration, guest_state, read_ready
from lab.toolchain import find_java, h2o_jar, vcenter_binary
from lab.topology import Topology, load

OTHER_UP_LIMIT = 600.0
READY_LIMIT = 60.0
END_LIMIT = 5.0
UP_END_LIMIT = 30.0


# --- up


def up(state: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Start a lab, or return the answer of the one that already runs in ``state``.

    ``given`` holds what the caller chose of ``topology`` (path), ``time_scale`` and ``guests`` (bool).

    Raises:
        LabError: it could not be started; then nothing of it is left.
    """
    if os.environ.get(MARK):
        raise LabError(f"{MARK} is set: a lab cannot be started from inside one of its own processes")
    requested = {"topology": str(DEFAULT_TOPOLOGY), "guests": True, **given}
    topology = load(Path(requested["topology"]))
    requested.setdefault("time_scale", topology.sddc["time_scale"])
    with folder.held(state, OTHER_UP_LIMIT, create=True):
        if not folder.is_ours(state):
            raise LabError(f"--state {state} holds something that is no lab; give an empty or a new folder")
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
        LabError: none does.
    """
    marker = folder.read_marker(state)
    if marker is None or marker.answer is None or marker.answer["pid"] not in marked_pids(state):
        raise LabError(f"no lab runs in {state}; start one by `python -m lab up`")
    return marker.answer


def running(state: Path, given: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of the lab that runs in ``state``, None when none does.

    Raises:
        LabError: it was started with other settings, or runs and does not answer.
    """
    marker = folder.read_marker(state)
    if marker is None or marker.answer is None:
        return None
    if marker.answer["pid"] not in marked_pids(state):
        say(f"the lab in {state} has died; starting it anew")
        return None
    for option, value in given.items():
        if marker.requested[option] != value:
            raise LabError(
                f"the lab in {state} runs with {option} {marker.requested[option]}, not {value};"
                " take it down first, or use another --state"
            )
    try:
        check_answers(marker.answer)
    except LabError as error:
        raise LabError(f"{error}; the lab in {state} runs but hangs: take it down first") from error
    say(f"already running in {state}")
    return marker.answer


def start(state: Path, requested: dict[str, Any], topology: Topology) -> dict[str, Any]:
    """Start a lab in an empty folder whose lock is held."""
    began = time.monotonic()
    marker = folder.Marker(os.getpid(), start_time(os.getpid()) or 0, requested)
    folder.write_marker(state, marker)
    # The folder may lie in a checkout; nothing in it is for version control.
    folder.write_private(state / ".gitignore", "*\n")
    cache = cache_dir()
    real = requested["guests"] and any(topology.guests)
    csv = flights_csv(cache) if real else None
    launcher = Launcher(find_java(), h2o_jar(), secrets.token_hex(4)) if real else None
    binary = vcenter_binary(cache, state)
    with claimed(topology) as claim:
        vms, servers = place_guests(topology, claim, state, launcher)
        config = configuration(topology, vms, state, requested["time_scale"])
        folder.write_private(state / folder.CONFIG, json.dumps(config, indent=1))
        command = [str(binary), "--config", str(state / folder.CONFIG)]
        process = start_detached(command, state, state / folder.LOG, claim.fds())
    say(f"vCenter starts, pid {process.pid}, state in {state}")
    try:
        answer = answer_of(await_ready(process, state), state)
        check_answers(answer)
        if csv is not None:
            train_all(servers, csv, partial(check_server, process, answer["control"]), state)
    except LabError as error:
        raise LabError(f"{error}{logs(state, servers)}") from error
    folder.write_marker(state, folder.Marker(marker.up_pid, marker.up_started, requested, answer))
    say(f"up after {time.monotonic() - began:.1f} s")
    return answer


@contextmanager
def claimed(topology: Topology) -> Iterator[Any]:
    """Claim guest addresses; this process lets go at the end, whoever inherited the claim keeps it."""
    claim = claim_addresses(list(topology.numbers))
    try:
        yield claim
    finally:
        claim.close()


def check_alive(process: subprocess.Popen[bytes]) -> None:
    """Raise when the vCenter has ended."""
    if process.poll() is not None:
        raise LabError(f"the vCenter ended with exit code {process.returncode}")


def await_ready(process: subprocess.Popen[bytes], state: Path) -> dict[str, Any]:
    """Wait for ``ready.json``."""
    end = time.monotonic() + READY_LIMIT
    while (ready := read_ready(state / folder.READY)) is None:
        check_alive(process)
        if time.monotonic() > end:
            raise LabError(f"the vCenter was not ready after {READY_LIMIT:.0f} s")
        time.sleep(0.05)
    return ready


def check_server(process: subprocess.Popen[bytes], control: str, server: Server) -> None:
    """Raise when the vCenter or the server has ended."""
    check_alive(process)
    if guest_state(control, server.vm) == "dead":
        raise LabError(f"the H2O-3 server of {server.vm} ended")


def train_all(servers: list[Server], csv: Path, check: Callable[[Server], None], state: Path) -> None:
    """Start the trainings of all servers at once; return when each has made progress."""
    with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
        tasks = [pool.submit(start_trainings, server, csv, check) for server in servers]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            # The other threads wait for servers; without them they end at once.
            kill_marked(state)
            raise


def logs(state: Path, servers: list[Server]) -> str:
    """Tails of the logs, for the message of a start that failed."""
    paths = [state / folder.LOG, *(server.log for server in servers)]
    parts = [f"\n--- {path.relative_to(state)}:\n{text}" for path in paths if (text := folder.tail(path))]
    return "".join(parts)


# --- down


def down(state: Path) -> None:
    """End the lab in ``state`` and remove all of it; nothing to do is fine.

    Raises:
        LabError: the folder holds something that is no lab, or a process cannot be killed.
    """
    end_up(state)
    with folder.held(state, UP_END_LIMIT, create=False) as exists:
        if exists and not folder.is_ours(state):
            raise LabError(f"--state {state} holds something that is no lab; nothing was removed")
        # Without a folder (somebody removed it) there may still be processes.
        clear(state)


def end_up(state: Path) -> None:
    """End an ``up`` that is still at work on ``state``; it cleans up after itself when it can."""
    marker = folder.read_marker(state)
    if marker is None or marker.answer is not None or start_time(marker.up_pid) != marker.up_started:
        return
    say(f"ending `up`, pid {marker.up_pid}")
    signal_started(marker.up_pid, marker.up_started, signal.SIGTERM)
    if not wait_gone(marker.up_pid, UP_END_LIMIT):
        signal_started(marker.up_pid, marker.up_started, signal.SIGKILL)


def clear(state: Path) -> None:
    """End all processes of the lab in ``state``, politely first, and remove the folder."""
    pids = marked_pids(state)
    for pid in pids:
        signal_marked(pid, state, signal.SIGTERM)
    end = time.monotonic() + END_LIMIT
    for pid in pids:
        wait_gone(pid, max(0.0, end - time.monotonic()))
    killed = kill_marked(state)
    if pids:
        say(f"ended {len(pids)} processes" + (f", {killed} by SIGKILL" if killed else ""))
    if state.is_dir():
        folder.remove(state)
