# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether verdicts are right: watched, real trainings meet a random fate, which is compared with the verdict."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Stall, Verdict

from benchmarks.loops import LOOP_FATES, LoopFate, play_loop
from benchmarks.relay import Relay
from benchmarks.report import Report
from benchmarks.servers import Fleet, Freeze, Node
from benchmarks.subjects import ENDLESS, Subject, begin, watching
from lab.data import ROWS
from lab.errors import LabError
from lab.h2o import H2O
from lab.h2o_jobs import FRAME, start_model
from lab.training_spec import read_training

USUAL_RUNS = 200
SIDE_BY_SIDE = 2
BUDGET_SECONDS = 2.0
LEAD_SECONDS = 0.5
SETTLE_SECONDS = 6.0
SOUND = frozenset({Verdict.UNINTERRUPTED})
# Unknown is right for what nobody could see; an alarm would still be false.
SOUND_OR_UNSEEN = frozenset({Verdict.UNINTERRUPTED, Verdict.UNKNOWN})
GONE = frozenset({Verdict.LOST})
ALGORITHM = "gbm"
PARTS = {
    "training_frame": FRAME,
    "response_column": "arr_delay",
    "ignored_columns": ["tailnum", "time_hour", "dep_time", "arr_time", "sched_dep_time", "sched_arr_time"],
    "max_depth": 6,
}
FRAIL_HEAP_MB = 400  # enough for the flights, but not for a deep random forest
END_SECONDS = 240.0
FINISH_SECONDS = 5.0


@dataclass(frozen=True)
class Fate:
    """What happens to an experiment while it is watched, and the right verdicts."""

    name: str
    befall: Callable[[Stage], None]
    true: frozenset[Verdict]
    frail: bool = False  # the server has too little memory
    train: Callable[[H2O], object] | None = None  # what is trained; a GBM without end if not given


@dataclass
class Stage:
    """A server, its watched experiment, the network in front of it, and a source of randomness."""

    node: Node
    experiment: Experiment
    relay: Relay
    chance: random.Random
    froze: list[Freeze] = field(default_factory=list)

    @property
    def h2o(self) -> H2O:
        """The lab's own client, which does not use the relay."""
        return H2O(self.node.server.url)


def _nothing(stage: Stage) -> None:
    time.sleep(stage.chance.uniform(0.5, 2))


def _short_freeze(stage: Stage) -> None:
    stage.froze.append(stage.node.freeze(stage.chance.uniform(0.1, 0.6 * BUDGET_SECONDS)))


def _long_freeze(stage: Stage) -> None:
    stage.froze.append(stage.node.freeze(stage.chance.uniform(1.3 * BUDGET_SECONDS, 2 * BUDGET_SECONDS)))


def _restart(stage: Stage) -> None:
    stage.node.kill()
    stage.node.start()
    stage.node.ready()


def _kill(stage: Stage) -> None:
    stage.node.kill()
    time.sleep(1.0)


def _kill_between_segments(stage: Stage) -> None:
    """Wait until one model of several is finished: its end is not that of the experiment."""
    end = time.monotonic() + END_SECONDS
    while not stage.h2o.job(stage.experiment.id)["progress"]:
        if time.monotonic() > end:
            raise LabError(f"the segment models in {stage.experiment.vm} have no model after {END_SECONDS:.0f} s")
        time.sleep(0.1)
    _kill(stage)


def _limited_grid(h2o: H2O) -> None:
    """A search with a time limit, whose progress is a clock."""
    criteria = {"strategy": "RandomDiscrete", "max_runtime_secs": 3600}
    values = {"min_rows": [1, 2, 5, 10, 20, 50], "sample_rate": [0.5, 0.6, 0.7, 0.8, 0.9]}
    h2o.post(
        "/99/Grid/gbm",
        {**PARTS, "ntrees": 100, "hyper_parameters": json.dumps(values), "search_criteria": json.dumps(criteria)},
    )


def _segments(h2o: H2O) -> None:
    """One model for each airline."""
    h2o.post("/3/SegmentModelsBuilders/gbm", {**PARTS, "ntrees": 60, "segment_columns": ["carrier"], "parallelism": 1})


def _cancel(stage: Stage) -> None:
    stage.h2o.post(f"/3/Jobs/{stage.experiment.id}/cancel", {})


def _fail(stage: Stage) -> None:
    """Wait until the trees exceed the server's memory."""
    _await_end(stage, "FAILED")


def _cut(stage: Stage) -> None:
    stage.relay.cut(silently=stage.chance.random() < 0.5)
    time.sleep(stage.chance.uniform(0.5, 2 * BUDGET_SECONDS))
    stage.relay.heal()


def _overload(stage: Stage) -> None:
    end = time.monotonic() + 2.0

    def hammer() -> None:
        while time.monotonic() < end:
            with suppress(LabError):
                stage.h2o.get("/3/Frames")

    threads = [threading.Thread(target=hammer) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _finish(stage: Stage) -> None:
    _await_end(stage, "DONE")


def _await_end(stage: Stage, status: str) -> None:
    end = time.monotonic() + END_SECONDS
    while stage.h2o.job(stage.experiment.id)["status"] != status:
        if time.monotonic() > end:
            raise LabError(f"the training in {stage.experiment.vm} is not {status} after {END_SECONDS:.0f} s")
        time.sleep(0.1)


def _second(stage: Stage) -> None:
    begin(stage.h2o, ALGORITHM, model_id="second")
    time.sleep(0.5)


FATES = (
    Fate("nothing", _nothing, SOUND),
    Fate("freeze within the budget", _short_freeze, SOUND),
    Fate("freeze beyond the budget", _long_freeze, frozenset({Verdict.STALLED})),
    Fate("killed and restarted", _restart, GONE),
    Fate("cancelled", _cancel, frozenset({Verdict.FAILED})),
    Fate("failed", _fail, frozenset({Verdict.FAILED}), frail=True),
    Fate("network cut and healed", _cut, SOUND_OR_UNSEEN),
    Fate("server overloaded", _overload, SOUND_OR_UNSEEN),
    Fate("finished", _finish, frozenset({Verdict.COMPLETED})),
    Fate("second experiment", _second, SOUND),
    Fate("limited grid, freeze within the budget", _short_freeze, SOUND, train=_limited_grid),
    Fate("limited grid, freeze beyond the budget", _long_freeze, frozenset({Verdict.STALLED}), train=_limited_grid),
    Fate("segment models, freeze within the budget", _short_freeze, SOUND, train=_segments),
    Fate("segment models, killed after the first", _kill_between_segments, GONE, train=_segments),
    Fate("killed", _kill, GONE),
)


@dataclass(frozen=True)
class Run:
    """One fate and its verdict. ``stated`` is the longest stall that was stated, ``froze`` the true freezes."""

    fate: Fate | LoopFate
    verdict: Verdict
    detail: str
    stated: Stall | None = None
    froze: tuple[Freeze, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the verdict is right. A freeze may last longer than it should if this process gets no processor."""
        longer = any(each.seconds + each.doubt > BUDGET_SECONDS for each in self.froze)
        return self.verdict in self.fate.true or (longer and self.verdict is Verdict.STALLED)

    @property
    def why(self) -> str:
        """The detail and figures behind the verdict."""
        stall = self.stated
        stated = "" if stall is None else f"stated {stall.seconds:.3f} s [{stall.low:.3f}, {stall.high:.3f}]"
        froze = [f"froze for {each.seconds:.3f} s and at most {each.doubt:.3f} s more" for each in self.froze]
        return "; ".join(filter(None, (self.detail, *froze, stated)))


def run(report: Report, runs: int) -> None:
    """Runs with random fates, several in parallel. Every fate occurs equally often."""
    fates = list(itertools.islice(itertools.cycle((*FATES, *LOOP_FATES)), runs))
    random.Random(runs).shuffle(fates)
    parts = [fates[part::SIDE_BY_SIDE] for part in range(SIDE_BY_SIDE)]
    with Fleet(2 * SIDE_BY_SIDE) as fleet, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        found = [
            r
            for part in pool.map(lambda number: play(report, fleet, parts[number], number), range(SIDE_BY_SIDE))
            for r in part
        ]
    tell(report, found)


def play(report: Report, fleet: Fleet, fates: Sequence[Fate | LoopFate], seed: int) -> list[Run]:
    """Apply the fates to the experiments of one server in turn. A second server has too little memory."""
    needed = {fate.frail for fate in fates if isinstance(fate, Fate)}
    nodes = {frail: _served(fleet, seed, frail) for frail in sorted(needed)}
    chance = random.Random(seed)
    found = []
    for number, fate in enumerate(fates, 1):
        if isinstance(fate, LoopFate):
            judgement = play_loop(fleet.folder(f"loop-{seed}-{number}"), fate, chance.randrange(1 << 30))
            found.append(Run(fate, judgement.verdict, judgement.detail, judgement.longest_stall))
        else:
            with _staged(fleet, nodes[fate.frail], fate, chance) as stage:
                found.append(one(fleet, stage, fate))
        last = found[-1]
        report.trial("verdict_run", str(last.verdict), "", fate=fate.name, right=last.right, detail=last.why)
        if not last.right:
            report.say(f"{fate.name}: {last.verdict} ({last.why})")
        if number % 10 == 0:
            report.say(f"part {seed + 1}: {number} of {len(fates)} runs")
    for node in nodes.values():
        node.kill()
    return found


def _served(fleet: Fleet, seed: int, frail: bool) -> Node:
    node = fleet.start(f"verdicts-{seed + 1}{'-frail' if frail else ''}", heap_mb=FRAIL_HEAP_MB if frail else 1024)
    fleet.import_flights(node.ready())
    return node


@contextmanager
def _staged(fleet: Fleet, node: Node, fate: Fate, chance: random.Random) -> Iterator[Stage]:
    """A training for its fate. Afterwards the server trains nothing and has its data."""
    subject = Subject(node, ALGORITHM)
    if fate.frail:
        doomed = read_training("benchmark", {"algorithm": "drf", "ntrees": 500, "max_depth": 30, "min_rows": 1})
        start_model(subject.h2o, "drf", dict(doomed.parameters))
    elif fate.befall is _finish:
        begin(subject.h2o, ALGORITHM, ntrees=_trees(subject.h2o, FINISH_SECONDS))
    elif fate.train is not None:
        fate.train(subject.h2o)
    else:
        begin(subject.h2o, ALGORITHM)
    found = subject.running()
    if not found:
        raise LabError(f"{node.server.vm} trains, but the provider does not find the experiment")
    port = int(node.server.url.rpartition(":")[2])
    with Relay(node.server.address, port) as relay:
        yield Stage(node, replace(found[0], url=f"http://127.0.0.1:{relay.port}"), relay, chance)
    if not node.alive():
        node.start()
        node.ready()
    _tidied(fleet, subject.h2o)


def _trees(h2o: H2O, seconds: float) -> int:
    """The number of trees that the server builds now in ``seconds``."""
    job = begin(h2o, ALGORITHM)
    first, start = h2o.job(job)["progress"], time.monotonic()
    time.sleep(2.0)
    rate = (h2o.job(job)["progress"] - first) / (time.monotonic() - start) * ENDLESS[ALGORITHM]["ntrees"]
    h2o.post(f"/3/Jobs/{job}/cancel", {})
    return max(5, round(rate * seconds))


def _tidied(fleet: Fleet, h2o: H2O) -> None:
    """Stop what still runs, and import the data again if the server lost them."""
    for job in h2o.get("/3/Jobs")["jobs"]:
        if job["status"] == "RUNNING":
            h2o.post(f"/3/Jobs/{job['key']['name']}/cancel", {})
    try:
        rows = h2o.get(f"/3/Frames/{FRAME}?row_count=1&column_count=1")["frames"][0]["rows"]
    except LabError:
        rows = 0
    if rows != ROWS:
        fleet.import_flights(h2o)


def one(fleet: Fleet, stage: Stage, fate: Fate) -> Run:
    """Watch the experiment during its fate, as a run does during a move."""
    session = Subject(stage.node, ALGORITHM).session(stage.experiment)
    vm = stage.experiment.vm
    with watching(
        [(stage.experiment, session)], fleet.folder(vm), baseline=1.0, settle_timeout=SETTLE_SECONDS,
        stall_budget=BUDGET_SECONDS,
    ) as watch:  # fmt: skip
        watch.focus(vm)
        time.sleep(LEAD_SECONDS)
        fate.befall(stage)
        watch.moved(vm)
        while not watch.settled(vm):
            time.sleep(0.1)
        (judgement,) = watch.judge(vm)
    return Run(fate, judgement.verdict, judgement.detail, judgement.longest_stall, tuple(stage.froze))


def tell(report: Report, found: Sequence[Run]) -> None:
    """The confusion matrix, one line per fate, and the promised figures."""
    for fate in (*FATES, *LOOP_FATES):
        verdicts = Counter(str(r.verdict) for r in found if r.fate is fate)
        report.figure("verdict_matrix", sum(verdicts.values()), "runs", fate=fate.name, verdicts=dict(sorted(verdicts.items())),
                      true=sorted(map(str, fate.true)))  # fmt: skip
    untrue = sum(r.verdict is Verdict.UNINTERRUPTED and not r.right for r in found)
    report.figure("verdict_untrue_uninterrupted", untrue, "runs", promised=("==", 0))
    report.figure("verdict_runs", len(found), "runs")
    report.figure("verdict_wrong", sum(not r.right for r in found), "runs", promised=("==", 0))
