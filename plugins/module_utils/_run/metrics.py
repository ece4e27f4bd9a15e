# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics of runs in the text format of Prometheus. Pure.

Counters count the runs whose journals exist. The other metrics are about the last run that ended, of each purpose and host. What
was not measured has no value, because a zero would be a claim. Names and units: https://prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .._core.untrusted import printable
from .._core.wording import has_moved, is_restarted, span
from .._experiments.model import Verdict
from .._experiments.verdict import OVER
from .events import NoExperiment, StallFigures, VerdictReached
from .model import MoveResult, Purpose
from .store import StoredRun

PREFIX = "liveml_vsphere_"
RESULTS = ("success", "failed")
RESTARTED = "restarted"  # instead of moved: HA brought the VM to another host, by a restart
Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without prefix, its type (counter or gauge), what it is, and its values by labels."""

    name: str
    kind: str
    about: str
    samples: tuple[Sample, ...]


def metrics_text(runs: Iterable[StoredRun]) -> str:
    """The metrics of all runs of a state directory, newest first, as they are given."""
    return "".join(f"{line}\n" for family in families_of(list(runs)) for line in _lines(family))


def families_of(runs: Sequence[StoredRun]) -> list[Family]:
    """The metrics, those without a value too."""
    ended = [run for run in runs if run.state.finished]
    last: dict[tuple[str, ...], StoredRun] = {}
    success: dict[tuple[str, ...], StoredRun] = {}
    for run in ended:  # newest first
        key = tuple(_labels(run).values())
        last.setdefault(key, run)
        if run.state.result == "success":
            success.setdefault(key, run)
    return [
        *_totals(ended),
        Family("runs_unfinished", "gauge", "Runs without an end: under way, or interrupted.", _unfinished(runs)),
        *_last_runs(list(last.values())),
        Family(
            "last_success_timestamp_seconds",
            "gauge",
            "When the last successful run ended.",
            tuple((_labels(run), _ended(run)) for run in success.values()),
        ),
        *_experiments(list(last.values())),
    ]


def _totals(ended: Sequence[StoredRun]) -> Iterator[Family]:
    runs = Counter((str(run.state.purpose), run.state.result) for run in ended)
    moves = Counter(
        (str(run.state.purpose), RESTARTED if is_restarted(m.result, m.by) else str(m.result))
        for run in ended
        for m in run.state.moves.values()
        if m.result
    )
    verdicts = Counter((str(run.state.purpose), str(v.verdict)) for run in ended for v in run.state.verdicts.values())
    yield Family("runs_total", "counter", "Runs that ended.", _counted(runs, "result", RESULTS))
    yield Family(
        "moves_total", "counter", "Moves of runs that ended.", _counted(moves, "result", (*MoveResult, RESTARTED))
    )
    yield Family(
        "verdicts_total", "counter", "Last verdicts about experiments.", _counted(verdicts, "verdict", Verdict)
    )


def _counted(counts: Mapping[tuple[str, str], int], label: str, values: Iterable[str]) -> tuple[Sample, ...]:
    """A value for each purpose: rates of a counter that appears late would miss its first increase."""
    known = [str(value) for value in values]
    return tuple(
        ({"purpose": str(purpose), label: value}, counts.get((str(purpose), value), 0))
        for purpose in Purpose
        for value in known
    )


def _unfinished(runs: Sequence[StoredRun]) -> tuple[Sample, ...]:
    counts = Counter(str(run.state.purpose) for run in runs if not run.state.finished)
    return tuple(({"purpose": str(purpose)}, counts[str(purpose)]) for purpose in Purpose)


def _last_runs(last: Sequence[StoredRun]) -> Iterator[Family]:
    def family(name: str, about: str, values: Iterable[tuple[StoredRun, float | None]]) -> Family:
        samples = tuple((_labels(run), value) for run, value in values if value is not None)
        return Family(f"last_run_{name}", "gauge", about, samples)

    yield Family(
        "last_run_info",
        "gauge",
        "The last run that ended; the value is 1.",
        tuple(({**_labels(run), "run_id": run.state.run_id, "result": run.state.result}, 1) for run in last),
    )
    yield family("success", "1 if the last run succeeded, else 0.", ((r, r.state.result == "success") for r in last))
    yield family("end_timestamp_seconds", "When the last run ended.", ((run, _ended(run)) for run in last))
    yield family("duration_seconds", "How long the last run took.", ((run, _duration(run)) for run in last))
    yield family("vms", "VMs that the last run was to move.", ((run, len(run.state.moves)) for run in last))
    yield family("moved_vms", "VMs that the last run moved.", ((run, _moved(run)) for run in last))
    yield family(
        "unobserved_vms",
        "VMs of the last run without an observed experiment.",
        ((run, _unobserved(run)) for run in last),
    )
    yield family(
        "longest_stall_seconds",
        "Longest stall of an experiment in the last run, as estimated.",
        ((run, max((s.seconds for s in _stalls(run)), default=None)) for run in last),
    )
    yield family(
        "longest_stall_upper_bound_seconds",
        "The longest stall of an experiment in the last run was not longer.",
        ((run, _not_longer(run)) for run in last),
    )


def _experiments(last: Sequence[StoredRun]) -> Iterator[Family]:
    seen = [(run, verdict) for run in last for verdict in run.state.verdicts.values()]
    yield Family(
        "experiment_verdict",
        "gauge",
        "1 for the verdict about an experiment in the last run, 0 for the others.",
        tuple(
            ({**_experiment(run, reached), "verdict": str(verdict)}, verdict is reached.verdict)
            for run, reached in seen
            for verdict in Verdict
        ),
    )
    yield Family(
        "experiment_longest_stall_seconds",
        "gauge",
        "Longest stall of an experiment in the last run, as estimated.",
        tuple((_experiment(run, v), v.longest_stall.seconds) for run, v in seen if v.longest_stall is not None),
    )


def _labels(run: StoredRun) -> dict[str, str]:
    """Purpose, host and vCenter (its instance UUID) of a run."""
    vcenter = run.state.key.partition(".")[0]
    return {"purpose": str(run.state.purpose), "host": run.state.host_name, "vcenter": vcenter}


def _experiment(run: StoredRun, verdict: VerdictReached) -> dict[str, str]:
    """The labels of an experiment. Two VMs may have the same name, so the MoID is one of them."""
    own = {"vm": verdict.vm.name, "moid": verdict.vm.moid, "experiment": verdict.id, "owner": verdict.owner}
    return {**_labels(run), **own}


def _ended(run: StoredRun) -> float:
    return datetime.fromisoformat(run.entries[-1].at).timestamp()


def _duration(run: StoredRun) -> float | None:
    return span(run.state.started_at, run.entries[-1].at)


def _moved(run: StoredRun) -> int:
    return sum(has_moved(move.result, move.by) for move in run.state.moves.values())


def _unobserved(run: StoredRun) -> int:
    return len({entry.event.vm.moid for entry in run.entries if isinstance(entry.event, NoExperiment)})


def _stalls(run: StoredRun) -> list[StallFigures]:
    return [v.longest_stall for v in run.state.verdicts.values() if v.longest_stall is not None]


def _not_longer(run: StoredRun) -> float | None:
    """The upper bound of all stalls; ``None`` if one was not measured. What died did not stall."""
    verdicts = run.state.verdicts.values()
    if any(v.longest_stall is None and v.verdict not in OVER for v in verdicts):
        return None
    return max((stall.high for stall in _stalls(run)), default=None)


def _lines(family: Family) -> Iterator[str]:
    if not family.samples:
        return
    name = f"{PREFIX}{family.name}"
    yield f"# HELP {name} {family.about}"
    yield f"# TYPE {name} {family.kind}"
    for labels, value in family.samples:
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{pairs}}} {float(value):.15g}"


def _escaped(text: str) -> str:
    """A value of a label. Names come from guests, and one that ends its line would forge metrics."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
