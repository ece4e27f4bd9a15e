# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What evidence says on the whole: verdict of the run, verdicts by owner, placement, and what was not observed. Pure.

Everything here follows from the rest of the evidence; it stands in ``evidence.json`` so that page, Markdown and
JSON carry the same statements.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .._core.wording import stall_text
from .._experiments.model import WORST_FIRST, worst

Evidence = Mapping[str, Any]

GOOD = ("uninterrupted", "completed")
_WORDS = {
    "failed": ("failed", "failed"),
    "restarted": ("was restarted", "were restarted"),
    "stalled": ("stalled beyond the budget", "stalled beyond the budget"),
    "unknown": ("could not be accounted for", "could not be accounted for"),
    "completed": ("ran to its end", "ran to their end"),
    "uninterrupted": ("was uninterrupted", "were uninterrupted"),
}


def summary_of(evidence: Evidence) -> dict[str, Any]:
    """``overall``, ``owners``, ``placement`` and ``gaps`` of evidence that has the other keys."""
    return {
        "overall": overall(evidence),
        "owners": owners(evidence["experiments"]),
        "placement": placement(evidence["moves"]),
        "gaps": gaps(evidence),
    }


def shared_names(evidence: Evidence) -> frozenset[str]:
    """Names that more than one VM of the evidence has: folders of one vCenter may hold VMs of the same name."""
    entries = (entry for key in ("moves", "experiments", "unobserved", "refusals") for entry in evidence[key])
    vms = {(entry["vm"], entry["moid"]) for entry in entries}
    vms |= {vm for x in evidence["experiments"] for vm in zip(x["vms"], x["moids"], strict=True)}
    return frozenset(name for name, count in Counter(name for name, _moid in vms).items() if count > 1)


def shown(name: str, moid: str, shared: frozenset[str]) -> str:
    """How a VM is named to a person: with its MoID where the name alone would not tell which VM it is."""
    return f"{name} ({moid})" if name in shared else name


def worst_first(experiments: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Experiments by severity of the verdict, then by length of the longest stall, then by name."""

    def order(experiment: Mapping[str, Any]) -> tuple[int, float, str, str]:
        stall = experiment["longest_stall"]
        seconds = stall["high"] if stall else float("inf")
        return WORST_FIRST.index(experiment["verdict"]), -seconds, experiment["vm"], experiment["id"]

    return sorted(experiments, key=order)


def is_intact(evidence: Evidence) -> bool:
    """Whether journal and samples are, as far as can be told, those that the run wrote."""
    journal = evidence["journal"]
    return journal["broken_at"] is None and journal["samples_as_sealed"] is not False


def overall(evidence: Evidence) -> dict[str, str]:
    """``{"verdict", "statement"}`` for the whole run: the worst verdict, and never more than was measured."""
    experiments, result = evidence["experiments"], evidence["run"]["result"]
    verdict = str(worst(e["verdict"] for e in experiments))
    sentences = [_experiments_sentence(evidence)]
    if not is_intact(evidence):
        verdict, sentences = "unknown", ["The record was changed after the run, so it proves nothing."]
    elif result == "unfinished":
        verdict = verdict if verdict not in GOOD else "unknown"
        sentences.insert(0, "The run is unfinished.")
    sentences.append(_moves_sentence(evidence))
    return {"verdict": verdict, "statement": " ".join(sentences)}


def _experiments_sentence(evidence: Evidence) -> str:
    experiments = evidence["experiments"]
    if not experiments:
        return "No experiment was observed in these VMs, so nothing is proved about any."
    if len(experiments) == 1:
        return str(evidence["statements"][0])
    longest = longest_stall(experiments)
    stall = stall_text(longest["longest_stall"] if longest else None)
    where = f" in {shown(longest['vm'], longest['moid'], shared_names(evidence))}" if longest else ""
    return f"Of {len(experiments)} experiments {_counted(experiments)}; {stall}{where}."


def _counted(experiments: Iterable[Mapping[str, Any]]) -> str:
    """``2 were uninterrupted, 1 was restarted``, the worst first."""
    counts = Counter(e["verdict"] for e in experiments)
    return ", ".join(f"{counts[v]} {_WORDS[v][counts[v] > 1]}" for v in WORST_FIRST if counts[v])


def _moves_sentence(evidence: Evidence) -> str:
    moves = way_there(evidence)
    moved = sum(move["result"] == "moved" for move in moves)
    left = f" Left behind: {', '.join(evidence['left_behind'])}." if evidence["left_behind"] else ""
    reason = evidence["run"].get("rolled_back")
    back = sum(move["result"] == "moved" for move in evidence["moves"] if move.get("back"))
    returned = f" The run was rolled back ({reason}), and {back} came back." if reason else ""
    return f"{moved} of {len(moves)} VM{'s' if len(moves) != 1 else ''} moved.{returned}{left}"


def way_there(evidence: Evidence) -> list[Mapping[str, Any]]:
    """The moves without those that brought VMs back after a failure."""
    return [move for move in evidence["moves"] if not move.get("back")]


def longest_stall(experiments: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The experiment with the longest stall; ``None`` when no stall was measured."""
    measured = [e for e in experiments if e["longest_stall"]]
    return max(measured, key=lambda e: (e["longest_stall"]["high"], e["vm"]), default=None)


def owners(experiments: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Verdicts by owner, the worst first; ``owner`` is "" for experiments whose owner is not known."""
    found = []
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
                "longest_stall": longest["longest_stall"] if longest else None,
            }
        )
    return sorted(found, key=lambda row: (WORST_FIRST.index(row["verdict"]), str(row["owner"])))


def placement(moves: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The VMs of the run on each host before and after it, by fault domain; ``before`` and ``after`` are VM names.

    A VM that no move was seen to leave anywhere is on no host after the run.
    """
    domains = {move[end]: move[f"{end}_fault_domain"] for move in moves for end in ("source", "target")}
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def row(fault_domain: str | None, host: str) -> dict[str, Any]:
        empty: dict[str, Any] = {"fault_domain": fault_domain, "host": host, "before": [], "after": []}
        return rows.setdefault((fault_domain or "", host), empty)

    # A VM that came back counts once: where its move found it, and where its way back left it.
    last = {m["moid"]: m for m in sorted(moves, key=lambda m: bool(m.get("back")))}
    for move in sorted(moves, key=lambda m: (str(m["vm"]), str(m["moid"]), bool(m.get("back")))):
        source = row(move["source_fault_domain"], move["source"])
        if not move.get("back"):
            source["before"].append(move["vm"])
        if move is not last[move["moid"]]:
            continue
        if move["result"] == "moved":
            row(move["target_fault_domain"], move["target"])["after"].append(move["vm"])
        elif move["host"] is not None:
            row(domains.get(move["host"]), move["host"])["after"].append(move["vm"])
    return [rows[key] for key in sorted(rows)]


def gaps(evidence: Evidence) -> list[dict[str, Any]]:
    """What was not observed, ``{"what", "why", "vms"}`` each: the limits of what this evidence proves."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for what, why, entry in [*_unobserved(evidence), *_unproved(evidence), *_unwatched(evidence), *_unseen(evidence)]:
        found.setdefault((what, why), {})[entry["moid"]] = entry["vm"]
    return [{"what": what, "why": why, "vms": sorted(vms.values())} for (what, why), vms in found.items()]


Gap = tuple[str, str, Mapping[str, Any]]  # the entry of the evidence tells the VM


def _unobserved(evidence: Evidence) -> Iterable[Gap]:
    for entry in evidence["unobserved"]:
        # The address differs from VM to VM, the reason does not.
        why = re.sub(r"https?://[^\s,;]+?:(?= )\s*", "", entry["detail"])
        yield "No experiment was observed", why, entry


def _unproved(evidence: Evidence) -> Iterable[Gap]:
    words = {
        "identity": "process and job are the same",
        "progress": "progress was kept",
        "stall": "the longest stall is in the budget",
    }
    for experiment in evidence["experiments"]:
        left = [words[claim] for claim, state in experiment["claims"].items() if state == "unknown"]
        if left:
            yield f"Whether {', whether '.join(left)}", experiment["detail"] or "too little was seen", experiment
        if experiment["capabilities"].get("identity") == "run":
            yield "The process in the guest", "the provider knows the run's own record only", experiment


def _unwatched(evidence: Evidence) -> Iterable[Gap]:
    for experiment in evidence["experiments"]:
        seconds = experiment["unwatched_seconds"]
        if seconds:
            yield "Part of the run", f"no process watched for {seconds:.0f} s", experiment


def _unseen(evidence: Evidence) -> Iterable[Gap]:
    for move in evidence["moves"]:
        if move["result"] == "unfinished":
            yield "Where the VM is", "the run ended before its move did", move
        if move["result"] == "moved" and move["switched_over"] is None:
            yield "The moment of the switch-over", "the move ended while no process watched it", move
        if (move["power_on"] or {}).get("same") is None:
            yield "Whether the VM stayed powered on", "vCenter named no power-on time before and after", move
        told = move.get("guest_processes")
        if told and told["same"] is not True:
            why = told.get("detail") or "one from before is not there any more"
            yield "Whether the guest's processes are the same", why, move
