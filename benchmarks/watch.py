# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether one controller can ask 64 experiments at 5 Hz, and its cost compared with H2O-3's official client."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from statistics import median

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import CALM_HZ
from h2o.backend import H2OConnection

from benchmarks.report import Report
from benchmarks.servers import Fleet
from benchmarks.subjects import Subject, begin, samples_of, watching

EXPERIMENTS = 64
SERVERS = 4
WINDOW_SECONDS = 30.0
USUAL_WINDOWS = 3
MIN_HZ = 0.98 * CALM_HZ


@dataclass(frozen=True)
class Window:
    """The result of one way of asking: the minimum rate of any experiment, and processor time per question."""

    min_hz: float
    cpu_ms: float


def run(report: Report, windows: int) -> None:
    """Use each way of asking in turn."""
    with Fleet(SERVERS) as fleet:
        subjects = [Subject(fleet.start(f"watched-{number}", heap_mb=700), "gbm") for number in range(1, SERVERS + 1)]
        for subject in subjects:
            subject.node.ready()
            fleet.import_flights(subject.h2o)
            begin(subject.h2o, subject.algorithm)
        experiments = [subject.experiment() for subject in subjects]
        ours, theirs = [], []
        for number in range(windows):
            ours.append(_ours(fleet, subjects, experiments))
            theirs.append(_theirs(subjects, experiments))
            report.say(f"window {number + 1} of {windows}")
    tell(report, ours, theirs)


def _ours(fleet: Fleet, subjects: Sequence[Subject], experiments: Sequence[Experiment]) -> Window:
    """The collection's watch at its rate between moves."""
    sessions = []
    for number in range(EXPERIMENTS):
        which = number % len(subjects)
        own = replace(experiments[which], vm=f"vm-{number}")
        sessions.append((own, subjects[which].session(own)))
    folder = fleet.folder("watch")
    with watching(sessions, folder, baseline=1.0):
        began, cpu = time.monotonic(), time.process_time()
        time.sleep(WINDOW_SECONDS)
        ended, cpu = time.monotonic(), time.process_time() - cpu
    times = [[s.sent for s in samples_of(folder, own) if began <= s.sent <= ended] for own, _session in sessions]
    return _window(times, cpu)


def _theirs(subjects: Sequence[Subject], experiments: Sequence[Experiment]) -> Window:
    """One thread per experiment asks with the official client, as a script would."""
    times: list[list[float]] = [[] for _number in range(EXPERIMENTS)]
    stop = threading.Event()

    def follow(ask: Callable[[], object], sent: list[float]) -> None:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            sent.append(time.monotonic())
            ask()
            due = max(due + 1 / CALM_HZ, time.monotonic())

    with redirect_stdout(sys.stderr):  # the client prints warnings about the server's age
        connections = [
            H2OConnection.open(url=subject.node.server.url, verbose=False, strict_version_check=False)
            for subject in subjects
        ]
    threads = []
    for number in range(EXPERIMENTS):
        connection, job = connections[number % len(connections)], experiments[number % len(experiments)].id
        ask = lambda connection=connection, job=job: connection.request(f"GET /3/Jobs/{job}")  # noqa: E731
        threads.append(threading.Thread(target=follow, args=(ask, times[number]), daemon=True))
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    for sent in times:
        sent.clear()
    cpu = time.process_time()
    time.sleep(WINDOW_SECONDS)
    cpu = time.process_time() - cpu
    stop.set()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    return _window(times, cpu)


def _window(times: Sequence[Sequence[float]], cpu: float) -> Window:
    rates = [(len(sent) - 1) / (sent[-1] - sent[0]) if len(sent) > 1 else 0.0 for sent in times]
    return Window(min(rates), 1000 * cpu / max(1, sum(map(len, times))))


def tell(report: Report, ours: Sequence[Window], theirs: Sequence[Window]) -> None:
    """The lowest rate, the median cost, and the ratio of the costs."""
    keys = {"experiments": EXPERIMENTS, "windows": len(ours)}
    cost, peer = median(w.cpu_ms for w in ours), median(w.cpu_ms for w in theirs)
    lowest = min(w.min_hz for w in ours)
    report.figure("watch_min_hz", round(lowest, 3), "Hz", promised=(">=", MIN_HZ), **keys)
    report.figure("watch_cpu_ms", round(cost, 3), "ms per question", **keys)
    report.figure("watch_peer_min_hz", round(min(w.min_hz for w in theirs), 3), "Hz", peer="h2o", **keys)
    report.figure("watch_peer_cpu_ms", round(peer, 3), "ms per question", peer="h2o", **keys)
    report.figure("watch_cpu_ratio", round(cost / peer, 3), "of the peer", promised=("<=", 1), peer="h2o", **keys)
