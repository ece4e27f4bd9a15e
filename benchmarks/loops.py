# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Training loops that meet a fate: a real process with an exporter, whose steps a server of records keeps like MLflow.

Each step takes ``STEP_SECONDS``. A killed loop continues from its checkpoint.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Session, Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.mlflow import Mlflow
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.prometheus import Prometheus
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import SOURCE_OPTIONS

from benchmarks.relay import Relay
from benchmarks.servers import freeze
from benchmarks.subjects import watching
from lab.errors import LabError

HOST = "127.0.0.1"
STEP_SECONDS = 0.5
BUDGET_SECONDS = 5.0
SETTLE_SECONDS = 6.0
DOWN_SECONDS = 1.0
UNSEEN = frozenset({Verdict.UNKNOWN})
RESTARTED = frozenset({Verdict.RESTARTED})
SOUND = frozenset({Verdict.UNINTERRUPTED})
# The arguments: log of steps, port, first step, start time (none, own or moving), file of the clock's offset, times.
LOOP = """
import json, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
log, port, step, start, offset, times = sys.argv[1], *sys.argv[2:5], Path(sys.argv[5]), int(sys.argv[6])
step, began = int(step), time.time()

class Exporter(BaseHTTPRequestHandler):
    def do_GET(self):
        moved = float(offset.read_text()) if start == "moving" else 0.0
        more = "" if start == "none" else f"process_start_time_seconds {began + moved}\\n"
        data = f"training_steps_total {step}\\n{more}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_parts): pass

threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", int(port)), Exporter).serve_forever, daemon=True).start()
while True:
    for _time in range(times):
        for _part in range(10):
            time.sleep(0.05 / times)
        with open(log, "a") as lines:
            lines.write(json.dumps({"step": step, "timestamp": round(1000 * time.time())}) + "\\n")
    step += 1
"""


@dataclass
class Loop:
    """A training loop, the server of its records, and the network in front of its exporter."""

    folder: Path
    start: str
    times: int
    chance: random.Random
    relay: Relay = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Choose the port; nothing runs yet."""
        with socket.create_server((HOST, 0)) as free:
            self.port = int(free.getsockname()[1])
        self.log, self.offset = self.folder / "steps.jsonl", self.folder / "offset"
        self.log.write_text("")
        self.offset.write_text("0")

    def train(self, first: int = 0) -> None:
        """Start the loop at a step."""
        options = (self.log, self.port, first, self.start, self.offset, self.times)
        command = [sys.executable, "-c", LOOP, *map(str, options)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # it complains of connections that are cut

    def kill(self) -> None:
        """Kill the loop."""
        self.process.kill()
        self.process.wait()

    def points(self) -> list[dict[str, int]]:
        """The steps that were logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]


def _nothing(loop: Loop) -> None:
    time.sleep(loop.chance.uniform(1, 3))


def _restart(loop: Loop, lost: int) -> None:
    loop.kill()
    time.sleep(DOWN_SECONDS)
    loop.train(max(0, loop.points()[-1]["step"] + 1 - lost))
    time.sleep(2 * STEP_SECONDS + 1)


def _restart_without_loss(loop: Loop) -> None:
    _restart(loop, 0)


def _restart_from_checkpoint(loop: Loop) -> None:
    _restart(loop, 3)


def _step_clock(loop: Loop) -> None:
    freeze(loop.process.pid, loop.chance.uniform(0.8, 2))
    loop.offset.write_text("5")
    time.sleep(1)


def _lose_packets(loop: Loop) -> None:
    loop.relay.cut(silently=True)
    time.sleep(loop.chance.uniform(0.8, 2))
    loop.relay.heal()


@dataclass(frozen=True)
class LoopFate:
    """What happens to a loop while it is watched, and the right verdicts."""

    name: str
    befall: Callable[[Loop], None]
    true: frozenset[Verdict]
    records: bool = False  # it is watched by its records, and not by its exporter
    start: str = "none"  # what the exporter says of the process' start: none, own or moving
    times: int = 1  # that each step is logged


LOOP_FATES = (
    LoopFate("exporter, nothing", _nothing, SOUND, start="own"),
    LoopFate("exporter, killed and restarted", _restart_without_loss, RESTARTED, start="own"),
    LoopFate("exporter without a start time, nothing", _nothing, SOUND | UNSEEN),
    LoopFate("exporter without a start time, killed and restarted", _restart_without_loss, RESTARTED),
    LoopFate("exporter, lost packets", _lose_packets, SOUND | UNSEEN, start="own"),
    LoopFate("exporter without a start time, lost packets", _lose_packets, UNSEEN),
    LoopFate("exporter, freeze and a stepped clock", _step_clock, UNSEEN, start="moving"),
    LoopFate("records, each step logged three times", _nothing, SOUND | UNSEEN, records=True, times=3),
    LoopFate("records, killed and restarted without a loss", _restart_without_loss, UNSEEN, records=True),
    LoopFate("records, killed and restarted from a checkpoint", _restart_from_checkpoint, RESTARTED, records=True),
)


def play_loop(folder: Path, fate: LoopFate, seed: int) -> Judgement:
    """Watch a loop during its fate, as a run does during a move."""
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(folder, fate.start, fate.times, random.Random(seed))
    loop.train()
    try:
        with Relay(HOST, loop.port) as loop.relay, records(loop) as recorder:
            experiment, session = _found(loop, fate, recorder)
            return _judged(loop, fate, experiment, session)
    finally:
        loop.process.send_signal(signal.SIGCONT)
        loop.kill()


def _found(loop: Loop, fate: LoopFate, recorder: int) -> tuple[Experiment, Session]:
    settings: dict[str, Any] = {name: option.get("default") for name, option in SOURCE_OPTIONS.items()}
    settings |= {"vms": ["ML-1"], "advance_timeout": 10.0}
    until = time.monotonic() + 20
    while not loop.points():
        if time.monotonic() > until:
            raise LabError("the loop does not begin")
        time.sleep(0.1)
    source: Mlflow | Prometheus
    if fate.records:
        source = Mlflow({**settings, "provider": "mlflow", "url": f"http://{HOST}:{recorder}"})
    else:
        url = f"http://{HOST}:{loop.relay.port}/metrics"
        source = Prometheus({**settings, "provider": "prometheus", "url": url, "metric": "training_steps_total"})
    seen = source.discover(Target("vm-1", "ML-1", HOST))
    found, detail = seen.found, seen.detail
    if not found:
        raise LabError(f"{fate.name}: the provider does not find the experiment: {detail}")
    return found[0], source.session(found[0])


def _judged(loop: Loop, fate: LoopFate, experiment: Experiment, session: Session) -> Judgement:
    with watching(
        [(experiment, session)], loop.folder, baseline=2.0, settle_timeout=SETTLE_SECONDS, stall_budget=BUDGET_SECONDS
    ) as watch:
        watch.focus("vm-1")
        time.sleep(STEP_SECONDS)
        fate.befall(loop)
        watch.moved("vm-1")
        while not watch.settled("vm-1"):
            time.sleep(0.1)
        (judgement,) = watch.judge("vm-1")
    return judgement


def run_of(loop: Loop) -> dict[str, Any]:
    """The run as MLflow shows it: the value with the highest step."""
    last = max(loop.points(), key=lambda point: (point["step"], point["timestamp"]))
    info = {"run_id": "run", "run_name": "loop", "status": "RUNNING"}
    return {"info": info, "data": {"metrics": [{"key": "loss", "value": 1.0, **last}]}}


@contextmanager
def records(loop: Loop) -> Iterator[int]:
    """A server that answers like MLflow 2.2 about the one run of a loop; the port."""

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The run, or its whole history; nothing else is known."""
            if "/runs/get" in self.path:
                self._answer(200, {"run": run_of(loop)})
            elif "/metrics/get-history?" in self.path:
                self._answer(200, {"metrics": loop.points()})
            else:
                self._answer(404, None)

        def do_POST(self) -> None:
            """The searches."""
            self.rfile.read(int(self.headers["Content-Length"]))
            found = {"runs": [run_of(loop)]} if "/runs/" in self.path else {"experiments": [{"experiment_id": "0"}]}
            self._answer(200, found)

        def _answer(self, status: int, body: Any) -> None:
            data = b"<title>404 Not Found</title>" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_parts: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_parts: object) -> None:
            """Say nothing of connections that were closed."""

    with Server((HOST, 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
