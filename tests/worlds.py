# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated worlds with a truth: a training, what happens to it, and the network between. Real sessions of the providers
watch them by a clock that is only counted. No verdict may be better than the truth. ``make worlds`` tries many.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Capabilities,
    Experiment,
    Judgement,
    Sample,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import (
    h2o3_sessions,
    mlflow,
    over_http,
    probe,
    prometheus,
    tensorboard,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import Answer, Endpoint
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.questions import Wait
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import (
    after_its_move,
    judge,
)

BEGIN, FOCUS, ARRIVED, END = 0.0, 4.0, 10.0, 16.0  # seconds of a watch, until its verdict
OVER = 40.0  # when the run of a world ends in which something happens after the verdict
EPOCH = 1_795_000_000.0
QUICKEST_START = 0.6  # no process starts and loads its libraries and its checkpoint in less
QUICKEST_CLIENT = 0.25  # with a client of MLflow and nothing else
LATENCY = 0.004
TOTAL = 10_000
NOWHERE = Endpoint("192.0.2.1", 1)
GUEST = ("h2o", "exporter")
BAD = (Verdict.LOST, Verdict.RESTARTED, Verdict.FAILED)
GOOD = (Verdict.UNINTERRUPTED, Verdict.COMPLETED)


@dataclass(frozen=True)
class Life:
    """One process: it trains from ``born`` to ``died``, and does step ``first`` first."""

    number: int
    born: float
    died: float
    first: int


@dataclass(frozen=True)
class Logged:
    """One step that a process logged, by the true clock and by the guest's."""

    at: float
    stamp: float
    step: int
    life: int


@dataclass
class World:
    """What is true, and what the watch can ask."""

    kind: str
    named: bool
    budget: float
    freezes: tuple[tuple[float, float], ...]
    lives: tuple[Life, ...]
    network: str  # what stands before a dead process: nothing, a proxy that answers, holds or drops
    lossy: float  # seconds until a packet that was lost in a freeze is sent again
    cut: tuple[float, float]  # the network passes nothing
    ended: str  # DONE or FAILED at ``ended_at``, or ERROR: MLflow's client then says FINISHED, too
    ended_at: float
    hangs_at: float
    clock: bool  # progress is the elapsed share of a time limit
    talks: bool  # the job's messages show its work
    clock_stops: bool  # the guest's clock stands still in a freeze
    clock_step: tuple[float, float]  # the guest's clock is stepped: when, seconds
    moving_start: bool  # the exporter computes its start from the clock
    repeated: int  # times that each step is logged
    batches: int  # steps of an epoch, after which they start at 0 again; 0 if never
    durations: tuple[float, ...]
    history: str  # what MLflow's server reports: part, whole, or nothing
    reload: float  # of TensorBoard
    later: str  # what happens after the verdict, at ``later_at``: the VM panics, the training hangs or ends, or nothing
    later_at: float
    log: list[Logged] = field(default_factory=list)
    now: float = 0.0

    def frozen(self, start: float, end: float) -> float:
        """Seconds of a time in which the VM stood still."""
        return sum(max(0.0, min(end, at + length) - max(start, at)) for at, length in self.freezes)

    def thawed(self, at: float) -> float:
        """The time from which on the VM runs again."""
        return next((start + length for start, length in self.freezes if start <= at < start + length), at)

    def guest(self, at: float) -> float:
        """The guest's clock."""
        step_at, step = self.clock_step
        return EPOCH + at - (self.frozen(-100.0, at) if self.clock_stops else 0.0) + (step if at >= step_at else 0.0)

    def life(self, at: float) -> Life | None:
        """The process that lives at a time."""
        return next((life for life in self.lives if life.born <= at < life.died), None)

    def done(self, at: float) -> Logged | None:
        """The last step that was logged before a time."""
        return next((each for each in reversed(self.log) if each.at <= at), None)

    # --- the truth

    @property
    def restarted(self) -> bool:
        """Whether another process trained, or tried to."""
        return len([life for life in self.lives if life.born < END]) > 1

    @property
    def gone(self) -> bool:
        """Whether no process is left."""
        return self.life(END) is None

    @property
    def longest(self) -> float:
        """Seconds of the longest freeze."""
        return max((length for _at, length in self.freezes), default=0.0)

    def worked_after(self, at: float) -> bool:
        """Whether a step was done after a time."""
        return any(each.at > at for each in self.log)


def made(seed: int) -> World:
    """A random world."""
    chance = random.Random(seed)
    kind = chance.choice(["h2o", "exporter", "exporter", "mlflow", "mlflow", "tensorboard", "relay"])
    pace = chance.choice([0.05, 0.2, 0.5, 1.0])
    durations = [pace * chance.uniform(0.8, 1.2) for _number in range(chance.choice([1, 1, 7]))]
    if chance.random() < 0.2:
        durations = durations * 12 + [chance.uniform(1, 3)]  # an evaluation or a checkpoint
    freezes = ((chance.uniform(FOCUS, 8.0), chance.choice([0.1, 0.3, 0.8, 1.5, 3.0])),) if chance.random() < 0.6 else ()
    killed = chance.random() < 0.4
    at = chance.uniform(2.0, 9.0)
    down = (QUICKEST_CLIENT if kind == "mlflow" else QUICKEST_START) + chance.choice([0.0, 0.3, 1.0, 3.0])
    lives = [Life(0, -100.0, at if killed else 1000.0, 0)]
    if killed and chance.random() < 0.8:
        for start, length in freezes:  # nothing starts in a VM that stands still
            down += max(0.0, min(at + down, start + length) - max(at, start)) if start < at + down else 0.0
            down = max(down, start + length - at + 0.1) if start <= at + down < start + length else down
        skipped = chance.choice([1, 5, 40, 300]) if chance.random() < 0.1 else 0
        lives.append(Life(1, at + down, 1000.0, skipped or -chance.choice([0, 0, 1, 2, 6, 10_000])))
    ended = chance.choice(["", "", "", "DONE", "FAILED"]) if kind in ("h2o", "mlflow") else ""
    if ended == "DONE" and kind == "mlflow" and chance.random() < 0.3:
        ended = "ERROR"
    world = World(
        kind=kind,
        named=kind == "h2o" or (kind not in ("tensorboard", "relay") and chance.random() < 0.5),
        budget=chance.choice([1.0, 5.0]),
        freezes=freezes,
        lives=tuple(lives),
        network=chance.choice(["direct", "direct", "proxy", "holding", "dropping"]),
        lossy=chance.choice([0.0, 0.25, 0.45, 0.9]),
        cut=(chance.uniform(FOCUS, 8.0), chance.choice([0.0, 0.0, 0.0, 0.4, 2.0])),
        ended=ended,
        ended_at=chance.uniform(6.0, 14.0) if ended else 1000.0,
        hangs_at=chance.uniform(5.0, 9.5) if chance.random() < 0.1 else 1000.0,
        clock=kind == "h2o" and chance.random() < 0.4,
        talks=chance.random() < 0.7,
        clock_stops=chance.random() < 0.5,
        clock_step=(chance.uniform(FOCUS, 9.0), chance.choice([0.0, 0.0, 0.0, -3.0, 1.5, 5.0])),
        moving_start=chance.random() < 0.5,
        repeated=chance.choice([1, 1, 1, 1 if kind == "relay" else 3]),  # a page shows what is done
        batches=chance.choice([0, 0, 0, 0, 7]) if kind in ("mlflow", "tensorboard") else 0,
        durations=tuple(durations),
        history=chance.choice(["part", "whole", "none"]),
        reload=chance.choice([0.25, 0.25, 1.0, 3.0]),
        later=chance.choice(["", "", "panics", "hangs", "ends"]),
        later_at=chance.uniform(END, END + 4.0),
    )
    if world.later == "ends":  # with its process, as trainings beside an exporter do
        until = [replace(life, died=min(life.died, world.later_at)) for life in world.lives]
        world = replace(world, lives=tuple(life for life in until if life.born < life.died))
    if world.batches and world.ended == "ERROR":
        world = replace(world, ended="DONE")  # nobody knows how many steps are left
    if world.life(world.ended_at) is None:
        world = replace(world, ended="", ended_at=1000.0)  # nobody was there to end it
    return trained(world)


def trained(world: World) -> World:
    """Let the processes do their steps; a killed step is done again, from the checkpoint on."""
    step = 0
    for life in world.lives:
        now = -8.0 if life.number == 0 else life.born
        step = max(0, step + life.first)
        turn = 0
        while now < (OVER if world.later else END + 2.0):
            duration = world.durations[turn % len(world.durations)] / world.repeated
            end = now + duration
            while (left := world.frozen(now, end) - (end - now - duration)) > 1e-9:
                end += left
            if end >= min(life.died, world.ended_at, world.hangs_at, world.later_at if world.later else OVER):
                break
            turn += 1
            shown = batch_of(step, world.batches) if world.batches else step
            world.log.append(Logged(end, world.guest(end), shown, life.number))
            step += turn % world.repeated == 0
            now = end
    return world


def batch_of(step: int, batches: int) -> int:
    """The index of a step in its epoch; epochs differ in length."""
    lengths = (batches, batches + 2, batches - 1)
    step %= sum(lengths)
    while step >= lengths[0]:
        step, lengths = step - lengths[0], lengths[1:]
    return step


class WorldTime:
    """The module ``time`` of the sessions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        """The world's time."""
        return self._world.now

    def thread_time(self) -> float:
        """Reading an answer costs the processor nothing."""
        return 0.0


class WorldProbe:
    """A connection into the world, in place of the class ``Probe``."""

    def __init__(self, world: World, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.waits: deque[Wait] = deque()
        self.date: float | None = None
        self._world = world

    def __enter__(self) -> WorldProbe:
        """Nothing to open."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to close."""

    def close(self) -> None:
        """Nothing to close."""

    def options(self, path: str) -> Answer:
        """As ``get``."""
        return self.get(f"OPTIONS {path}")

    def download(self, path: str, sink: Callable[[bytes], None]) -> Answer:
        """As ``get``."""
        answer = self.get(path)
        sink(answer.data)
        return answer

    def get(self, path: str) -> Answer:
        """Pass through the network and the VM. Raises NO_ANSWER."""
        world, asked = self._world, self._world.now
        cut_at, cut = world.cut
        if cut_at <= world.now < cut_at + cut:
            world.now = cut_at + cut + world.lossy
        world.now += LATENCY
        answer = self._from_guest(path) if world.kind in GUEST else recorded(world, path)
        self.date = float(math.floor(world.guest(world.now))) if world.kind == "exporter" else None
        resent = world.lossy > 0 and world.now - asked > world.lossy
        self.waits.append(Wait(asked, world.now, exact=True, resent=resent))
        return answer

    def _from_guest(self, path: str) -> Answer:
        """From the training process itself, which stands still with the VM."""
        world, asked = self._world, self._world.now
        if world.later == "panics" and asked >= world.later_at:
            world.now = asked + 1.0
            raise TimeoutError
        woken = world.thawed(asked)
        life = world.life(asked)
        world.now = woken + (world.lossy if woken > asked else 0.0)
        if life is not None and world.now < life.died:
            return answered(world, path, life)
        if world.network == "dropping":
            world.now = max(world.now, asked) + 1.0
            raise TimeoutError
        if world.network == "holding":
            born = [each.born for each in world.lives if each.born > world.now]
            world.now = max(world.now, *born, asked) if world.life(world.now) is None else world.now
            later = world.life(world.now)
            if later is not None:
                return answered(world, path, later)
        if world.network == "proxy":
            return Answer(502, {}, None, b"Bad Gateway")
        if life is not None:
            raise ConnectionResetError
        later = world.life(world.now)
        if later is not None:
            return answered(world, path, later)
        raise ConnectionRefusedError


def answered(world: World, path: str, life: Life) -> Answer:
    """What a process answers."""
    if world.kind == "exporter":
        return exported(world, life)
    headers = {"x-h2o-cluster-id": f"process {life.number}"}
    if path.startswith("OPTIONS") or life.number:
        return Answer(200 if path.startswith("OPTIONS") else 400, headers, {})  # a new server does not know the job
    done = world.done(world.now)
    step = done.step if done is not None else 0
    over = world.now >= world.ended_at
    progress = min(1.0, (world.guest(world.now) - EPOCH + 100) / 1000) if world.clock else step / TOTAL
    job = {
        "status": world.ended if over else "RUNNING",
        "progress": 1.0 if over and world.ended == "DONE" else progress,
        "progress_msg": f"Built {step} trees" if world.talks else "Training",
        "msec": round(1000 * (world.guest(world.now) - EPOCH + 100)),
        "dest": {"type": "Key<Model>", "name": "gbm_1"},
        "key": {"name": "job"},
    }
    return Answer(200, headers, {"jobs": [job]})


def exported(world: World, life: Life) -> Answer:
    """An exposition of the steps, and of the start if the process reports it."""
    done = world.done(world.now)
    steps = done.step if done is not None and done.life == life.number else max(0, life.first)
    if done is not None and done.life != life.number:  # it has loaded its checkpoint, and done nothing yet
        steps = max(0, done.step + life.first)
    started = EPOCH + life.born + (world.guest(world.now) - EPOCH - world.now if world.moving_start else 0.0)
    start = f"process_start_time_seconds {started}\n" if world.named else ""
    return Answer(200, {}, None, f"steps_total {steps}\n{start}".encode())


def recorded(world: World, path: str) -> Answer:
    """What a server of records answers, which lives elsewhere."""
    if world.kind == "relay":  # it shows what the training has pushed
        pushed = world.done(world.now)
        return Answer(200, {}, None, f"steps_total {pushed.step if pushed is not None else 0}\n".encode())
    if world.kind == "tensorboard":
        shown = world.now - world.now % world.reload
        latest = world.done(shown)
        known = [each for each in world.log if each.at <= shown]
        # TensorBoard drops what a new process does again.
        kept = [
            e
            for i, e in enumerate(known)
            if not any(f.step <= e.step for f in known[i + 1 : i + 40] if f.life > e.life)
        ]
        return Answer(200, {}, [[e.stamp, e.step, 0.5] for e in kept[-60:]] if latest is not None else [])
    known = [each for each in world.log if each.at <= world.now]
    if "get-history" in path:
        return listed(world, known, path)
    metrics = []
    if known:
        best = max(known, key=lambda each: (each.step, each.stamp))
        metrics = [{"key": "loss", "step": best.step, "timestamp": round(1000 * best.stamp)}]
    last = max(life.number for life in world.lives if life.born <= world.now)
    tags = [{"key": key, "value": str(last)} for key in mlflow.PROCESS_TAGS] if world.named else []
    status = (
        {"DONE": "FINISHED", "ERROR": "FINISHED", "FAILED": "FAILED"}[world.ended]
        if world.now >= world.ended_at
        else "RUNNING"
    )
    return Answer(200, {}, {"run": {"info": {"status": status}, "data": {"metrics": metrics, "tags": tags}}})


def listed(world: World, known: list[Logged], path: str) -> Answer:
    """MLflow's history of a metric, by the version of its server."""
    whole = "bulk" not in path
    if world.history == "none" or (world.history == "whole" and not whole):
        return Answer(404, {}, None)
    points = [{"step": each.step, "timestamp": round(1000 * each.stamp)} for each in known]
    return Answer(200, {}, {"metrics": points})


SESSIONS: dict[str, Callable[[Experiment, int | None], Any]] = {
    "h2o": lambda experiment, _total: h2o3_sessions.JobSession(NOWHERE, experiment.id),
    "exporter": lambda experiment, total: prometheus.SeriesSession(NOWHERE, experiment, total),
    "relay": lambda experiment, total: prometheus.SeriesSession(NOWHERE, experiment, total),
    "mlflow": lambda experiment, total: mlflow.RunSession(NOWHERE, experiment, {"total_steps": total}, 300.0),
    "tensorboard": lambda experiment, total: tensorboard.SeriesSession(NOWHERE, experiment, total, 300.0),
}
MODULES = (h2o3_sessions, mlflow, over_http, probe, prometheus, tensorboard)


@contextmanager
def inside(world: World) -> Iterator[None]:
    """Let the sessions live in the world."""
    with ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(patch.object(module, "time", WorldTime(world)))
            if module is not probe and hasattr(module, "Probe"):
                stack.enter_context(
                    patch.object(module, "Probe", lambda endpoint, *_limits, **_more: WorldProbe(world, endpoint))
                )
        yield


def found(world: World) -> Experiment:
    """The experiment as its provider finds it before the watch."""
    direct = world.kind in (*GUEST, "relay")  # nobody knows that a page is not that of the training
    names = {"h2o": "process 0", "exporter": f"started {EPOCH - 100.0:.2f}", "mlflow": "0/0"}
    freshness = world.reload if world.kind == "tensorboard" else 0.0
    return Experiment(
        "vm-1", "ml-1", world.kind, "run:loss" if world.kind == "tensorboard" else "job",
        names[world.kind] if world.named else "", "http://x", clock_progress=world.clock,
        metric="steps_total" if world.kind in ("exporter", "relay") else "loss",
        capabilities=Capabilities(
            "process" if world.named else "run", "answers" if direct else "changes", freshness,
            named_by_record=world.kind == "mlflow",
        ),
    )  # fmt: skip


def watched(world: World) -> list[Sample]:
    """The samples of a watch, 5 per second and 10 while the VM moves; after the verdict 2 per second, if something happens then."""
    samples: list[Sample] = []
    with inside(world):
        # A run that is done has done all its steps, so here nobody knows how many they are.
        session = SESSIONS[world.kind](found(world), None if (world.kind, world.ended) == ("mlflow", "DONE") else TOTAL)
        due = BEGIN
        while due < (OVER if world.later else END):
            world.now = max(world.now, due)
            samples.append(session.sample())
            hz = min(session.max_hz, 10.0 if FOCUS <= due < ARRIVED else 5.0 if due < END else 2.0)
            due = max(due + 1 / hz, world.now + 0.2 / hz)
    return samples


def judged(world: World) -> tuple[Judgement, Judgement]:
    """The verdict on the move in a world, and the one at the end of its run."""
    experiment, samples = found(world), watched(world)

    def judge_of(known: list[Sample]) -> Judgement:
        return judge(experiment, known, stall_budget=world.budget, moved_at=FOCUS, arrived_at=ARRIVED)

    settled = judge_of([sample for sample in samples if sample.sent < END])
    return settled, after_its_move(settled, judge_of(samples)) if world.later else settled


def lies_at_the_end(world: World, settled: Judgement, final: Judgement) -> list[str]:
    """What the last judgement claims and is not true."""
    true = {
        "is not seen": not world.later or final.verdict is not Verdict.UNINTERRUPTED,
        "was not interrupted": world.later != "ends" or settled.verdict not in GOOD or final.verdict not in BAD,
        "was completed": settled.verdict is not Verdict.COMPLETED or final.verdict is Verdict.COMPLETED,
    }
    event = f"{world.later or 'nothing happens'} at {world.later_at:.1f}"
    return [f"it {claim} ({event}, finally {final.verdict})" for claim, is_true in true.items() if not is_true]


def lies(world: World, judgement: Judgement) -> list[str]:
    """What the judgement claims and is not true. Being modest is not a lie."""
    same = not world.restarted or ended_before(world)
    left = not world.gone or (world.ended == "DONE" and judgement.verdict is Verdict.COMPLETED)
    again = world.lives[1].born if world.restarted else END
    needed = {
        Verdict.UNINTERRUPTED: {
            "it was restarted": same,
            "it is gone": left,
            f"it stood still for {world.longest} s": world.longest <= world.budget or world.kind == "relay",
            "it did nothing after its move": world.worked_after(ARRIVED),
            f"it is {world.ended}": world.ended_at >= END - 1.0,
        },
        Verdict.COMPLETED: {"it was restarted": same, "it is gone": left, "it is not done": world.ended == "DONE"},
        Verdict.STALLED: {f"it stood still for {standstill(world):.2f} s": standstill(world) > world.budget},
        Verdict.RESTARTED: {"it was not restarted": world.restarted or looks_like_one(world)},
        Verdict.LOST: {"it is there": world.gone or (world.restarted and world.kind == "h2o")},
        Verdict.FAILED: {"it did not fail": world.ended == "FAILED"},
    }
    true = needed.get(judgement.verdict, {})
    if judgement.identity == "proven":
        true = {**true, "the process is another one": same or again >= END - 1.0}
    if judgement.verdict in (Verdict.LOST, Verdict.RESTARTED):
        true = {**true, "a dead process did not stall": judgement.longest_stall is None}
    return [lie for lie, is_true in true.items() if not is_true]


def standstill(world: World) -> float:
    """Seconds of the longest time in the watch in which no process answered, or in which no step was done if a record is watched.

    A silence of the network may look like one of the server, and may come before or after one.
    """
    if world.kind in GUEST:
        ends = [(before.died, after.born) for before, after in itertools.pairwise(world.lives)]
        ends += [(world.lives[-1].died, END), (world.hangs_at, END)]
        silent = world.longest + world.cut[1] + world.lossy
        return max([silent, *(min(end, END) - start for start, end in ends if start < END)])
    done = [BEGIN, *(each.at for each in world.log if BEGIN < each.at < END), END]
    return max(after - before for before, after in itertools.pairwise(done))


def looks_like_one(world: World) -> bool:
    """Whether steps start at 0 again after a pause, and only once: a training that restarts from scratch does that."""
    begun = [each for each in world.log if BEGIN < each.at < END - 2 * world.reload and each.step == 0]
    if len(begun) > 2 * world.repeated and world.clock_step[1] == 0:
        return False
    pauses = max(world.durations) >= min(world.durations) + 0.4 or world.longest > 0.4 or world.clock_step[1] != 0
    return bool(world.batches) and pauses


def ended_before(world: World) -> bool:
    """Whether the job was done, or had failed, before its process ended, as far as the server shows.

    A new process that does no step, and ends a run of MLflow within the time of one, cannot be distinguished from the old one if nothing names it.
    """
    if world.ended not in ("DONE", "FAILED"):
        return False
    steps = any(each.life > 0 and each.at <= world.ended_at for each in world.log)
    alike = world.kind == "mlflow" and not world.named and not steps
    return world.ended_at < world.lives[0].died or alike


def tried(seeds: range) -> tuple[Counter[str], list[str]]:
    """Verdicts by kind of world, and the lies."""
    verdicts: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        world = made(seed)
        judgement, final = judged(world)
        verdicts[f"{world.kind} {judgement.verdict}"] += 1
        if false := [*lies(world, judgement), *lies_at_the_end(world, judgement, final)]:
            wrong.append(f"world {seed}: {judgement.verdict} ({judgement.detail}), but {' and '.join(false)}")
    return verdicts, wrong


def main(count: int) -> int:
    """Try worlds 0 to ``count``; print the verdicts and the lies."""
    parts = os.cpu_count() or 1
    size = 500
    chunks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    verdicts: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor(parts) as pool:
        for number, (more, lied) in enumerate(pool.map(tried, chunks), 1):
            verdicts += more
            wrong += lied
            if number % 20 == 0:
                print(f"{min(number * size, count)} worlds, {len(wrong)} lies", file=sys.stderr, flush=True)
    print(json.dumps({"worlds": count, "lies": len(wrong), "verdicts": dict(sorted(verdicts.items()))}))
    for line in wrong[:50]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
