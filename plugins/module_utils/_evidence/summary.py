# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary of the evidence: verdict of the run, verdicts by owner, placement, and what was not observed. Pure.

It follows from the rest of the evidence. It is part of ``evidence.json``, so that page, Markdown and JSON contain the same
statements.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .._core.advice import GOOD, VERDICT_WORDS, title_of
from .._core.wording import HA, has_moved, is_restarted, plural, seconds, stall_text
from .._experiments.model import WORST_FIRST, worst
from .._experiments.verdict import OVER
from .model import Claim, Experiment, Gap, Move, Overall, Owner, Place, Record, Stall, Summary, VmName

FENCE_KEPT = "the run could not lift the fence"
_OPEN_CLAIMS: Mapping[Claim, str] = {
    "identity": "process and job are the same",
    "progress": "progress was kept",
    "stall": "the longest stall is within the budget",
}


def summary_of(record: Record, statements: list[str]) -> Summary:
    """The summary of a record; ``statements`` has one sentence for each experiment."""
    return {
        "statements": statements,
        "overall": overall(record, statements),
        "owners": owners(record["experiments"]),
        "placement": placement(record["moves"]),
        "gaps": gaps(record),
    }


def shared_names(record: Record) -> frozenset[str]:
    """Names that several VMs of the record have. Folders of one vCenter may contain VMs of the same name."""
    vms = {(vm["vm"], vm["moid"]) for vm in _vms(record)}
    vms |= {vm for x in record["experiments"] for vm in zip(x["vms"], x["moids"], strict=True)}
    return frozenset(name for name, count in Counter(name for name, _moid in vms).items() if count > 1)


def _vms(record: Record) -> Iterator[VmName]:
    yield from record["moves"]
    yield from record["experiments"]
    yield from record["unobserved"]
    yield from record.get("partly_searched", [])
    yield from record["refusals"]
    yield from record.get("noticed", [])


def display_name(name: str, moid: str, shared: frozenset[str]) -> str:
    """The name of a VM as people see it: with its MoID if several VMs have this name."""
    return f"{name} ({moid})" if name in shared else name


def label(experiment: Experiment, shared: frozenset[str]) -> str:
    """Name and place of an experiment, ``GBM gbm_1 in ML-cpu-vm-04``. ``shared`` are names that several VMs have."""
    return title_of({**experiment, "vms": vms_of(experiment, shared)})


def vms_of(experiment: Experiment, shared: frozenset[str]) -> list[str]:
    """The VMs of an experiment as people see them."""
    vms = zip(experiment["vms"], experiment["moids"], strict=True)
    return [display_name(name, moid, shared) for name, moid in vms]


def watched_seconds(experiment: Experiment) -> float | None:
    """For how long progress was seen, without the time when nothing watched; ``None`` if it was seen less than twice."""
    points = experiment["curve"]
    watched = points[-1][0] - points[0][0] - experiment["unwatched_seconds"] if points else 0.0
    return round(watched, 1) if watched > 0 else None


def watched_after_move(experiment: Experiment) -> float | None:
    """Seconds from the end of its last move to the last progress that was sampled; ``None`` without an end, or if that was before."""
    points, ends = experiment["curve"], [end for _start, end in moving_windows(experiment)]
    after = points[-1][0] - ends[-1] if points and ends and ends[-1] is not None else 0.0
    return round(after, 1) if after > 0 else None


def fall_of(experiment: Experiment) -> tuple[list[float], list[float]] | None:
    """The last point of the curve before progress went back for the first time, and the first one after that."""
    return next((pair for pair in itertools.pairwise(experiment["curve"]) if pair[1][1] < pair[0][1]), None)


def worst_first(experiments: Iterable[Experiment]) -> list[Experiment]:
    """Experiments by severity of the verdict, then by length of the longest stall, then by name."""

    def order(experiment: Experiment) -> tuple[int, float, str, str]:
        stall = experiment["longest_stall"]
        longest = stall["high"] if stall else float("inf")
        return WORST_FIRST.index(experiment["verdict"]), -longest, experiment["vm"], experiment["id"]

    return sorted(experiments, key=order)


def is_intact(record: Record) -> bool:
    """Whether nothing shows that journal or samples were changed after the run."""
    journal = record["journal"]
    return journal["broken_at"] is None and not journal["why"] and journal["samples_as_sealed"] is not False


def overall(record: Record, statements: list[str]) -> Overall:
    """The verdict of the whole run: the worst one, and never more than was measured."""
    verdict = str(worst(e["verdict"] for e in record["experiments"]))
    sentences = [_experiments_sentence(record, statements)]
    if not is_intact(record):
        verdict, sentences = "unknown", ["The record was changed after the run, so it does not prove anything."]
    elif record["run"]["result"] == "unfinished":
        verdict = verdict if verdict not in GOOD else "unknown"
        sentences.insert(0, "The run is unfinished.")
    else:
        sentences = [*_window_sentences(record), *sentences]
    sentences.append(_moves_sentence(record))
    return {"verdict": verdict, "statement": " ".join(sentences)}


def _window_sentences(record: Record) -> list[str]:
    """How long a witness watched, if that is not what it was asked for."""
    window = record["run"].get("window")
    if not window or not window["cut"]:
        return []
    watched = window["watched_seconds"] or 0.0
    return [f"The window was cut after {watched:.0f} s of {window['seconds']:.0f} s: {window['cut']}."]


def _experiments_sentence(record: Record, statements: list[str]) -> str:
    experiments = record["experiments"]
    if not experiments:
        return "No experiment was observed in these VMs, so nothing is proven about any experiment."
    if len(experiments) == 1:
        return statements[0]
    longest = longest_stall(experiments)
    stall, where = longest or (None, None)
    watched = watched_seconds(where) if where else None
    place = f": {label(where, shared_names(record))}" if where else ""
    return f"Of {len(experiments)} experiments, {_counted(experiments)}; {stall_text(stall, watched)}{place}{unmeasured(experiments)}."


def _counted(experiments: Iterable[Experiment]) -> str:
    """``2 were uninterrupted, 1 was restarted``, the worst first."""
    counts = Counter(e["verdict"] for e in experiments)
    return ", ".join(f"{counts[v]} {VERDICT_WORDS[v][counts[v] > 1]}" for v in WORST_FIRST if counts[v])


def _moves_sentence(record: Record) -> str:
    moves = outbound_moves(record["moves"])
    by_ha = [move["vm"] for move in moves if is_restarted(move["result"], move["by"])]
    moved = count_moved(moves)
    restarted = f" Restarted by {HA}: {', '.join(sorted(by_ha))}." if by_ha else ""
    if record["run"]["purpose"] == "witness":
        return f"{plural(moved, 'move')} of {plural(len({move['moid'] for move in moves}), 'VM')} seen.{restarted}"
    left = f" Left behind: {', '.join(record['left_behind'])}." if record["left_behind"] else ""
    reason = record["run"]["rolled_back"]
    back = sum(move["result"] == "moved" for move in record["moves"] if move["back"])
    returned = f" The run was rolled back ({reason}): {plural(back, 'VM')} came back." if reason else ""
    return f"{moved} of {plural(len(moves), 'VM')} moved.{restarted}{returned}{left}"


def outbound_moves(moves: Iterable[Move]) -> list[Move]:
    """The moves without those that brought VMs back after a failure."""
    return [move for move in moves if not move["back"]]


def count_moved(moves: Iterable[Move]) -> int:
    """How many of the moves brought their VM to another host or datastore."""
    return sum(has_moved(move["result"], move.get("by")) for move in moves)


def moving_windows(experiment: Experiment) -> Iterator[tuple[float, float | None]]:
    """Start and end of each move in seconds since the run began; the end is ``None`` if it was not seen."""
    for start, end in experiment["moving"]:
        if start is not None:
            yield start, end


def longest_stall(experiments: Iterable[Experiment]) -> tuple[Stall, Experiment] | None:
    """The longest stall of all, and the experiment that probably had it; ``None`` if no stall was measured.

    Its true length lies between the largest lower and the largest upper bound: intervals overlap, so the upper one may be
    that of another experiment.
    """
    measured = [(stall, each) for each in experiments if (stall := each["longest_stall"])]
    if not measured:
        return None
    stall, experiment = max(measured, key=lambda found: (found[0]["seconds"], found[1]["vm"]))
    low, high = (max(each[bound] for each, _experiment in measured) for bound in ("low", "high"))
    return {"seconds": stall["seconds"], "low": low, "high": high}, experiment


def unmeasured(experiments: Iterable[Experiment]) -> str:
    """Of how many experiments the longest stall is not known, if that of others is; what died did not stall."""
    stalls = [(e["longest_stall"], e["verdict"]) for e in experiments]
    count = sum(stall is None and verdict not in OVER for stall, verdict in stalls)
    known = any(stall is not None for stall, _verdict in stalls)
    return f"; not measured for {plural(count, 'experiment')}" if count and known else ""


def owners(experiments: list[Experiment]) -> list[Owner]:
    """Verdicts by owner, the worst first."""
    found: list[Owner] = []
    for owner in sorted({e["owner"] for e in experiments}):
        theirs = [e for e in experiments if e["owner"] == owner]
        longest = longest_stall(theirs)
        counts = Counter(e["verdict"] for e in theirs)
        found.append(
            {
                "owner": owner,
                "verdict": str(worst(counts)),
                "experiments": len(theirs),
                "verdicts": {str(v): counts[v] for v in WORST_FIRST if counts[v]},
                "longest_stall": longest[0] if longest else None,
            }
        )
    return sorted(found, key=lambda row: (WORST_FIRST.index(row["verdict"]), row["owner"]))


def placement(moves: list[Move]) -> list[Place]:
    """The VMs of the run on each host before and after it, by fault domain.

    A VM whose move was not seen to end is not on any host after the run.
    """
    domains = {move["source"]: move["source_fault_domain"] for move in moves}
    domains |= {move["target"]: move["target_fault_domain"] for move in moves}
    rows: dict[tuple[str, str], Place] = {}

    def row(fault_domain: str | None, host: str) -> Place:
        empty: Place = {"fault_domain": fault_domain, "host": host, "before": [], "after": []}
        return rows.setdefault((fault_domain or "", host), empty)

    # A VM that moved several times counts once: where its first move found it, and where its last one left it.
    in_order = sorted(moves, key=lambda m: m["back"])
    last, first = {m["moid"]: m for m in in_order}, {m["moid"]: m for m in reversed(in_order)}
    for move in sorted(in_order, key=lambda m: (m["vm"], m["moid"])):
        source = row(move["source_fault_domain"], move["source"])
        if move is first[move["moid"]] and not move["back"]:
            source["before"].append(move["vm"])
        if move is not last[move["moid"]]:
            continue
        if move["result"] == "moved":
            row(move["target_fault_domain"], move["target"])["after"].append(move["vm"])
        elif move["host"] is not None:
            row(domains.get(move["host"]), move["host"])["after"].append(move["vm"])
    return [rows[key] for key in sorted(rows)]


def gaps(record: Record) -> list[Gap]:
    """What was not observed: the limits of what this evidence proves."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    window = record["run"].get("window")
    part = "Part of the window" if window else "How a VM left the host"
    noticed = [(part, each["detail"], each) for each in record.get("noticed", [])]
    seen = [*_unobserved(record), *_partly_searched(record), *_unproven(record), *_unwatched(record), *_unseen(record)]
    for what, why, vm in [*seen, *noticed]:
        found.setdefault((what, why), {})[vm["moid"]] = vm["vm"]
    if window and window["unread"]:
        found["What else happened during the window", window["unread"]] = {}
    return [{"what": what, "why": why, "vms": sorted(vms.values())} for (what, why), vms in found.items()]


Found = tuple[str, str, VmName]  # what was not observed, why, and in which VM


def _unobserved(record: Record) -> Iterable[Found]:
    for entry in record["unobserved"]:
        yield "No experiment was observed", _without_addresses(entry["detail"]), entry


def _partly_searched(record: Record) -> Iterable[Found]:
    for entry in record.get("partly_searched", []):
        yield "Whether the VM had other experiments", _without_addresses(entry["detail"]), entry


def _without_addresses(detail: str) -> str:
    """The address differs from VM to VM, the reason does not."""
    return re.sub(r"https?://[^\s,;]+?:(?= )\s*", "", detail)


def _unproven(record: Record) -> Iterable[Found]:
    for experiment in record["experiments"]:
        left = [words for claim, words in _OPEN_CLAIMS.items() if experiment["claims"][claim] == "unknown"]
        if left:
            yield f"Whether {', whether '.join(left)}", experiment["detail"] or "there were too few samples", experiment
        if experiment["capabilities"]["identity"] == "run":
            yield "The process in the guest", "the provider knows only the tracker's record of the training", experiment


def _unwatched(record: Record) -> Iterable[Found]:
    for experiment in record["experiments"]:
        gap = experiment["unwatched_seconds"]
        if gap:
            yield "Part of the run", f"the experiment was not watched for {seconds(gap)}", experiment


def _unseen(record: Record) -> Iterable[Found]:
    for move in record["moves"]:
        if move["result"] == "unfinished":
            yield "Where the VM is", "the run ended before the move", move
        if move["result"] == "moved" and move["switched_over"] is None:
            yield "The moment of the switch-over", "the move ended while nothing watched it", move
        if move["power_on"] is None or move["power_on"]["same"] is None:
            yield "Whether the VM stayed powered on", "vCenter did not report power-on times before and after", move
        processes = move["guest_processes"]
        if processes and processes["same"] is not True:
            why = processes["detail"] or "a process from before no longer exists"
            yield "Whether the guest's processes are the same", why, move
