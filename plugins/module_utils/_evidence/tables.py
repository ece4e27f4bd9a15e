# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence as tables of text. Page and Markdown render the same tables, so that they cannot say different things. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._core.wording import after, moment, percent, seconds, span
from .summary import (
    GOOD,
    shared_names,
    shown,
    way_there,
    worst_first,
)

Evidence = Mapping[str, Any]

MOST_NAMED = 12  # VM names in one cell; beyond it a number says more
IDENTITY = "Identity means the same process and the same job, or the same run where a provider knows no process."
_TONES = {"proven": "good", "refuted": "bad", "moved": "good"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a cell, a smaller ``note`` under it, and a ``tone``: good, bad, open or "" (none)."""

    text: str
    note: str = ""
    tone: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` of as many cells as there are ``heads``; the first cell of a row names it."""

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    lead: str = ""


def tone(verdict: str) -> str:
    """How a verdict is to be taken: good, open or bad."""
    return "good" if verdict in GOOD else "open" if verdict == "unknown" else "bad"


def experiments_table(evidence: Evidence) -> Table:
    """One row an experiment, the worst first."""
    shared = shared_names(evidence)
    rows = tuple(
        (
            Cell(label(x, shared), note=x["description"] or x["id"]),
            Cell(x["owner"] or "not known"),
            Cell(x["verdict"], note=x["detail"], tone=tone(x["verdict"])),
            stall_cell(x["longest_stall"]),
            Cell(f"{percent(x['progress_before'])} → {percent(x['progress_after'])}"),
            _claim(x, "identity", note="of the run" if x["capabilities"].get("identity") == "run" else ""),
            _claim(x, "progress"),
            _claim(x, "stall"),
        )
        for x in worst_first(evidence["experiments"])
    )
    heads = ("VM", "Owner", "Verdict", "Longest stall", "Progress", "Identity", "Progress kept")
    return Table(
        "experiments", "Experiments", (*heads, "Stall in budget"), rows, lead=f"{IDENTITY} {_budget(evidence)}".strip()
    )


def _claim(experiment: Mapping[str, Any], claim: str, note: str = "") -> Cell:
    state = experiment["claims"][claim]
    return Cell(state, note=note, tone=_TONES.get(state, "open"))


def _budget(evidence: Evidence) -> str:
    budget = evidence["run"]["stall_budget"]
    return "" if budget is None else f"The budget for a stall is {seconds(budget)}. The interval holds its true length."


def owners_table(evidence: Evidence) -> Table | None:
    """Verdicts by owner; ``None`` when there is only one."""
    found = evidence["owners"]
    if len(found) < 2:
        return None
    rows = tuple(
        (
            Cell(o["owner"] or "not known"),
            Cell(str(o["experiments"]), number=True),
            Cell(", ".join(f"{n} {v}" for v, n in o["verdicts"].items()), tone=tone(o["verdict"])),
            stall_cell(o["longest_stall"]),
        )
        for o in found
    )
    return Table("owners", "Verdicts by owner", ("Owner", "Experiments", "Verdicts", "Longest stall"), rows)


def moves_table(evidence: Evidence) -> Table:
    """One row a move, in the order of the timeline, with the predicted beside the measured duration."""
    origin, shared = evidence["run"]["started"], shared_names(evidence)
    rows = tuple(
        (
            Cell(f"{shown(m['vm'], m['moid'], shared)}{' (back)' if m.get('back') else ''}"),
            Cell(m["source"], note=m["source_fault_domain"] or ""),
            Cell(m["target"], note=m["target_fault_domain"] or ""),
            Cell(_result(m), note=m["error"] or "", tone=_TONES.get(m["result"], "open" if is_open(m) else "bad")),
            Cell(after(origin, m["started"]), number=True),
            Cell(after(origin, m["switched_over"]), number=True),
            Cell(seconds(m["predicted_seconds"]), number=True),
            Cell(seconds(took(m)), number=True),
            powered_cell(m),
        )
        for m in evidence["moves"]
    )
    heads = ("VM", "From", "To", "Result", "Started", "Switched over", "Predicted", "Took", "Powered on throughout")
    lead = "Started and switched over count from the beginning of the run. A prediction is for a move that has the link to itself."
    return Table("moves", "Moves: predicted and measured", heads, rows, lead=lead)


def is_open(move: Mapping[str, Any]) -> bool:
    """Whether a move has not been decided, or was never begun."""
    return move["result"] in ("unfinished", "not_started")


def _result(move: Mapping[str, Any]) -> str:
    attempts = f", {move['attempts']} attempts" if move["attempts"] > 1 else ""
    return f"{move['result'].replace('_', ' ')}{attempts}"


def placement_table(evidence: Evidence) -> Table | None:
    """How many VMs of the run are on each host before and after; ``None`` when nothing was planned."""
    places = evidence["placement"]
    if not places:
        return None
    rows = tuple(
        (
            Cell(p["fault_domain"] or "none"),
            Cell(p["host"]),
            Cell(str(len(p["before"])), number=True),
            Cell(str(len(p["after"])), number=True),
        )
        for p in places
    )
    title = "Placement by fault domain, before and after"
    return Table(
        "placement", title, ("Fault domain", "Host", "VMs before", "VMs after"), rows, lead=crossings(evidence)
    )


def crossings(evidence: Evidence) -> str:
    """How many VMs each fault domain had and has, and how many changed theirs."""
    if any(p["fault_domain"] is None for p in evidence["placement"]):
        return "Not every host's fault domain is known."
    totals = []
    for name in sorted({p["fault_domain"] for p in evidence["placement"]}):
        theirs = [p for p in evidence["placement"] if p["fault_domain"] == name]
        before, now = (sum(len(p[when]) for p in theirs) for when in ("before", "after"))
        totals.append(f"{name} had {before} of these VMs and has {now}")
    first, last = {m["moid"]: m["source_fault_domain"] for m in way_there(evidence)}, _domains_after(evidence)
    changed = sum(first.get(vm) != domain for vm, domain in last.items())
    return f"{'; '.join(totals)}. {changed} of {len(last)} moved VMs changed their fault domain."


def _domains_after(evidence: Evidence) -> dict[str, str]:
    """Fault domain by MoID of each VM that moved, there or back: that of its last target."""
    moves = sorted(evidence["moves"], key=lambda m: bool(m.get("back")))
    return {m["moid"]: m["target_fault_domain"] for m in moves if m["result"] == "moved"}


def refusals_table(evidence: Evidence) -> Table | None:
    """One row a reason for which a VM was not moved; ``None`` when every VM was."""
    shared = shared_names(evidence)
    rows = tuple(
        (
            Cell(shown(r["vm"], r["moid"], shared)),
            Cell(reason["check"].replace("_", " ")),
            Cell(reason["object"]),
            Cell(reason["hint"]),
        )
        for r in evidence["refusals"]
        for reason in r["reasons"]
    )
    return Table("refusals", "Refused", ("VM", "Check", "Object", "What to do"), rows) if rows else None


def gaps_table(evidence: Evidence) -> Table | None:
    """What was not observed and why; ``None`` when nothing is missing."""
    rows = tuple((Cell(g["what"]), Cell(g["why"]), _named(g["vms"])) for g in evidence["gaps"])
    return Table("gaps", "Not observed, and why", ("What", "Why", "VMs"), rows) if rows else None


def measurement_table(evidence: Evidence) -> Table | None:
    """What each verdict rests on; ``None`` without experiments."""
    experiments, shared = worst_first(evidence["experiments"]), shared_names(evidence)
    rows = tuple(
        (
            Cell(label(x, shared), note=x["description"] or x["id"]),
            Cell(x["provider"]),
            Cell(str(x["samples"]), number=True),
            Cell(seconds(x["resolution"]), number=True),
            *(_rate((x["throughput"] or {}).get(part)) for part in ("before", "during", "after")),
            _ratio((x["throughput"] or {}).get("during_to_before")),
            Cell(x["recoverable"]["state"], note=x["recoverable"]["detail"]),
        )
        for x in experiments
    )
    heads = ("VM", "Provider", "Samples", "Resolution", *(f"Throughput {w}" for w in ("before", "during", "after")))
    notes = {x["provider"]: x["capabilities"].get("note") or "precision not stated" for x in experiments}
    lead = (
        "A stall shorter than the resolution cannot be told from normal operation. Throughput is progress before, "
        "during and after the move, with the half-width of its 95 % interval. Recoverable: whether a checkpoint would have "
        f"limited the loss if the worst had happened. {_listed(notes)}"
    )
    return (
        Table("measurement", "How it was measured", (*heads, "During to before", "Recoverable"), rows, lead)
        if rows
        else None
    )


def same_model_table(evidence: Evidence) -> Table | None:
    """Whether the finished models can be expected to be those that training without a move gives; a row an answer."""
    found: dict[tuple[str, str], list[str]] = {}
    shared = shared_names(evidence)
    for x in worst_first(evidence["experiments"]):
        found.setdefault(_same_model(x), []).append(label(x, shared))
    rows = tuple((Cell(answer), Cell(why), _named(names)) for (answer, why), names in found.items())
    heads = ("Same model", "Why", "Experiments")
    return Table("same-model", "The same model as without a move", heads, rows) if rows else None


def _same_model(experiment: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the same model is to be expected, and why: only of an experiment that went on can it be asked."""
    claims = experiment["claims"]
    if experiment["verdict"] in ("failed", "restarted") or "refuted" in (claims["identity"], claims["progress"]):
        return "cannot be promised", "the experiment did not go on as it was"
    told = experiment["reproducible"]
    if told["state"] == "yes" and claims["identity"] != "proven":
        return "not known", "it was not proved that the same process went on"
    words = {"yes": "to be expected", "no": "cannot be promised", "unknown": "not known"}
    return words[told["state"]], told["detail"]


def _listed(notes: Mapping[str, str]) -> str:
    return " ".join(f"Provider {name}: {note}." for name, note in sorted(notes.items()))


def _rate(part: Mapping[str, Any] | None) -> Cell:
    """Three digits of a rate, and the half-width of its interval to the same place, never rounded down to nothing."""
    if part is None:
        return Cell("not known")
    times, unit = (1, "steps/s") if part["unit"] == "steps" else (60, "%/min")
    rate, half = times * part["rate"], part["half_width"]
    places = min(4, max(0, 2 - math.floor(math.log10(abs(rate))))) if rate else 2
    note = "no interval" if half is None else f"± {max(times * half, 10**-places):.{places}f}"
    return Cell(f"{rate:.{places}f} {unit}", note=note)


def _ratio(ratio: Mapping[str, float] | None) -> Cell:
    if ratio is None:
        return Cell("not known")
    return Cell(f"{100 * ratio['ratio']:.0f} %", note=f"{100 * ratio['low']:.0f} to {100 * ratio['high']:.0f} %")


def environment_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Where, with what and under which rules the run was carried out."""
    run, vcenter = evidence["run"], evidence["vcenter"]
    return [
        ("vCenter", f"{vcenter['name']}{', simulated' if vcenter['simulated'] else ''}"),
        ("Version of vCenter", vcenter["version"] or "not known"),
        ("Collection", f"liveml.vsphere {run['collection'] or '(version not known)'}"),
        ("Purpose", f"{run['purpose']}{' ' + run['host'] if run['host'] else ''}"),
        ("Run", evidence["run_id"]),
        ("Plan", evidence["plan_id"]),
        ("Began", moment(run["started"])),
        ("Ended", moment(run["finished"]) if run["finished"] else "not ended"),
        ("Result", run["result"] + (f", resumed {run['resumed']} times" if run["resumed"] else "")),
        ("Priority of the moves", run["priority"] or "not known"),
        ("Slots", f"at most {run['slots']} moves at a time touch a host" if run["slots"] else "not known"),
        ("Stall budget", seconds(run["stall_budget"])),
        ("Fence", evidence["fence"] or "not told"),
    ]


def integrity_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Whether journal and samples are those that the run wrote."""
    journal = evidence["journal"]
    chain = f"unbroken, {journal['events']} events"
    if journal["broken_at"] is not None:
        chain = f"BROKEN at line {journal['broken_at']}: {journal['why']}"
    sealed = {True: "as sealed", False: "NOT those that were sealed", None: "not sealed: the run has not ended"}
    return [
        ("Chain of the journal", chain),
        ("Head of the journal, SHA-256", journal["head"]),
        ("Samples", sealed[journal["samples_as_sealed"]]),
        ("Samples, SHA-256", journal["samples_sha256"]),
    ]


def label(experiment: Mapping[str, Any], shared: frozenset[str]) -> str:
    """How an experiment is named: its VM, or its VMs and their cluster if it has several nodes."""
    vms = zip(experiment["vms"], experiment["moids"], strict=True)
    names = ", ".join(shown(name, moid, shared) for name, moid in vms)
    return f"{names}, cluster {experiment['cluster']}" if experiment["cluster"] else names


def stall_cell(stall: Mapping[str, Any] | None) -> Cell:
    """A stall with the interval that holds the truth; never a bare zero."""
    if stall is None:
        return Cell("not measured")
    return Cell(f"{stall['seconds']:.2f} s", note=f"{stall['low']:.2f} to {stall['high']:.2f} s")


def powered_cell(move: Mapping[str, Any]) -> Cell:
    """What vCenter's power-on times prove about a VM."""
    power_on = move.get("power_on") or {}
    same = power_on.get("same")
    if same is None:
        return Cell("not known", tone="open")
    if not same:
        return Cell("NO", note=f"powered on again {moment(power_on['after'])}", tone="bad")
    processes = (move.get("guest_processes") or {}).get("same")
    told = "" if processes is None else "same processes" if processes else "OTHER PROCESSES"
    return Cell("yes", note=told, tone="bad" if processes is False else "good")


def _named(vms: list[str]) -> Cell:
    if not vms:
        return Cell("none")
    names = ", ".join(vms) if len(vms) <= MOST_NAMED else ""
    return Cell(str(len(vms)), note=names)


def took(move: Mapping[str, Any]) -> float | None:
    """Seconds from a move's submission to its end."""
    return None if move["started"] is None else span(move["started"], move["finished"])


def all_tables(evidence: Evidence) -> Iterable[Table]:
    """Every table that this evidence has."""
    made = (
        experiments_table(evidence) if evidence["experiments"] else None,
        owners_table(evidence),
        moves_table(evidence),
        placement_table(evidence),
        refusals_table(evidence),
        gaps_table(evidence),
        measurement_table(evidence),
        same_model_table(evidence),
    )
    return [table for table in made if table is not None]
