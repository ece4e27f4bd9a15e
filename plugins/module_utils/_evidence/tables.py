# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The evidence as tables of text. Page and Markdown render the same tables, so that both contain the same statements. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .._core.advice import GOOD
from .._core.untrusted import printable
from .._core.wording import (
    after,
    at_least,
    at_most,
    experiment_name,
    is_restarted,
    local_moment,
    percent,
    plural,
    repeated,
    seconds,
    span,
    stun_text,
    watched_text,
)
from .model import Claim, Evidence, Experiment, Move, Rate, Stall, Throughput, Window
from .summary import display_name, fall_of, label, outbound_moves, shared_names, vms_of, worst_first

MAX_NAMED = 12  # VM names in one cell; beyond it a number says more
SAME_PROCESS = (
    '"Same process" means that the process and the job before and after the move are identical '
    "(for trackers without process information: the same record of the training)."
)
_ENDED = ("lost", "failed", "restarted")
_CLAIMED = {"proven": "yes", "refuted": "no", "unknown": "not known"}
_TONES = {"proven": "good", "refuted": "bad", "moved": "good"}
_VERDICT_TONES = {"unknown": "open", "stalled": "warn", "restarted": "warn"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a cell, a smaller ``note`` under it, and a ``tone``: good, warn, bad, open or "" (none).

    ``share`` (0..1) is shown as a bar, and ``link`` is the relative address to which the text leads.
    """

    text: str
    note: str = ""
    tone: str = ""
    number: bool = False
    share: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Each row has as many cells as there are ``heads``; its first cell names it. ``lead`` explains the table."""

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    lead: str = ""


def printed(table: Table, max_rows: int) -> Table:
    """The table without characters that only confuse, and with as many rows as a person can look through."""
    rows = tuple(
        tuple(replace(cell, text=printable(cell.text), note=printable(cell.note)) for cell in row)
        for row in table.rows[:max_rows]
    )
    left_out = f" Only the first {max_rows} of {len(table.rows)} are shown." if len(table.rows) > max_rows else ""
    return replace(table, rows=rows, lead=f"{table.lead}{left_out}".strip())


def tone(verdict: str) -> str:
    """The tone of a verdict: good, open, warn (the training may continue) or bad (it does not)."""
    return "good" if verdict in GOOD else _VERDICT_TONES.get(verdict, "bad")


def experiments_table(evidence: Evidence) -> Table | None:
    """One row per experiment, the worst first; ``None`` without experiments."""
    shared = shared_names(evidence)
    rows = tuple(
        (
            _named_experiment(x, shared),
            Cell(x["owner"] or "not known"),
            Cell(x["verdict"], note=x["detail"], tone=tone(x["verdict"])),
            _stall_and_freeze(x),
            _progress(x),
            _claim(x, "identity", note=_whose_process(x)),
            _claim(x, "progress"),
            _claim(x, "stall"),
        )
        for x in worst_first(evidence["experiments"])
    )
    heads = (
        "Experiment",
        "Owner",
        "Verdict",
        "Longest stall",
        "Progress",
        "Same process",
        "Progress kept",
        "Stall within budget",
    )
    return (
        Table("experiments", "Experiments", heads, rows, lead=f"{SAME_PROCESS} {_budget(evidence)}") if rows else None
    )


def _named_experiment(experiment: Experiment, shared: frozenset[str]) -> Cell:
    cluster = f", cluster {experiment['cluster']}" if experiment["cluster"] else ""
    note = f"{', '.join(vms_of(experiment, shared))}{cluster}"
    return Cell(experiment_name(experiment["description"], experiment["id"]), note=note)


def _stall_and_freeze(experiment: Experiment) -> Cell:
    """The stall of the training, and how long its whole VM stood still if that was seen."""
    cell, freeze = stall_cell(experiment["longest_stall"]), experiment["longest_freeze"]
    if experiment["verdict"] == "unknown" and experiment["longest_stall"] is not None:
        return replace(cell, note=f"{cell.note}, while watched")
    if freeze is None or freeze["low"] == 0:
        return cell
    return replace(cell, note=f"{cell.note}; the VM {at_least(freeze['low'])} to {at_most(freeze['high'])} s")


def _progress(experiment: Experiment) -> Cell:
    """Progress before the move and at the end. That it went back or was not seen later is not hidden behind these two."""
    before, after = (percent(experiment[when]) for when in ("progress_before", "progress_after"))
    fall, begun = fall_of(experiment), f"{before} at the begin"
    if fall:
        return Cell(f"fell from {percent(fall[0][1])} to {percent(fall[1][1])}, now {after}", note=begun)
    if experiment["verdict"] in ("lost", "failed", "unknown"):
        return Cell(f"last seen at {after}", note=begun)
    return Cell(f"{before} → {after}")


def why_no_stall(experiment: Experiment) -> str:
    """Why no stall of an experiment was measured."""
    ended = experiment["verdict"] in _ENDED
    return "a job that ended does not stall" if ended else "too few answers"


def _whose_process(experiment: Experiment) -> str:
    """Of what the process is the same, if not of a training that continues."""
    if experiment["capabilities"]["identity"] == "run":
        return "of the tracker's record"
    ended = experiment["verdict"] in ("lost", "failed") and experiment["claims"]["identity"] == "proven"
    return "of the server" if ended else ""


def _claim(experiment: Experiment, claim: Claim, note: str = "") -> Cell:
    state = experiment["claims"][claim]
    return Cell(_CLAIMED.get(state, state), note=note, tone=_TONES.get(state, "open"))


def _budget(evidence: Evidence) -> str:
    interval = "The true length of a stall lies within the interval that is shown with it."
    if any(x["verdict"] in _ENDED for x in evidence["experiments"]):
        interval += " A job that ended does not stall."
    budget = evidence["run"]["stall_budget"]
    return interval if budget is None else f"The stall budget is {seconds(budget)}. {interval}"


def owners_table(evidence: Evidence) -> Table | None:
    """Verdicts by owner; ``None`` if there are fewer than two owners."""
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


def _note(domain: str | None, datastores: Iterable[str], vcenter: str) -> str:
    """What is said beside a host: fault domain, the datastores from or to which files moved, and vCenter if the run is over two."""
    there = f"vCenter {vcenter}" if vcenter else None
    return ", ".join([*filter(None, [domain]), *dict.fromkeys(datastores), *filter(None, [there])])


def moves_table(evidence: Evidence) -> Table:
    """One row per move, in the order of the timeline, with the predicted duration beside the measured one."""
    origin, shared = evidence["run"]["started"], shared_names(evidence)
    rows = tuple(
        (
            Cell(f"{display_name(m['vm'], m['moid'], shared)}{' (back)' if m['back'] else ''}"),
            Cell(
                m["source"],
                note=_note(
                    m["source_fault_domain"], (p["source"] for p in m.get("storage", ())), m.get("source_vcenter", "")
                ),
            ),
            Cell(
                m["target"] or "not known",
                note=_note(
                    m["target_fault_domain"],
                    (*(p["target"] for p in m.get("storage", ())), *_policies(m)),
                    m.get("target_vcenter", ""),
                ),
            ),
            Cell(_result(m), note=m["error"] or "", tone=_TONES.get(m["result"], "open" if is_open(m) else "bad")),
            Cell(after(origin, m["started"]), number=True),
            Cell(after(origin, m["switched_over"]), number=True),
            Cell(seconds(m["predicted_seconds"]), stun_text(m.get("vgpus", ()), m.get("predicted_stun")), number=True),
            Cell(seconds(took(m)), number=True),
            powered_cell(m),
        )
        for m in evidence["moves"]
    )
    heads = ("VM", "From", "To", "Result", "Started", "Switched over", "Predicted", "Took", "Stayed powered on")
    lead = (
        '"Started" and "Switched over" are times since the run began. '
        "Predictions assume that no other move shares the link."
    )
    return Table("moves", "Moves: predicted and measured", heads, rows, lead=lead)


def _policies(move: Move) -> list[str]:
    """The storage policies of the files that moved."""
    names = sorted({part.get("policy", "") for part in move.get("storage", ())} - {""})
    return [f"storage policy {name}" for name in names]


def is_open(move: Move) -> bool:
    """Whether a move was not started, or its end was not seen."""
    return move["result"] in ("unfinished", "not_started")


def _result(move: Move) -> str:
    attempts = f", {move['attempts']} attempts" if move["attempts"] > 1 else ""
    by = f" by {move['by']}" if move.get("by") else ""
    what = "restarted" if is_restarted(move["result"], move.get("by")) else move["result"].replace("_", " ")
    return f"{what}{by}{attempts}"


def placement_table(evidence: Evidence) -> Table | None:
    """How many VMs of the run are on each host before and after; ``None`` if nothing was planned."""
    rows = tuple(
        (
            Cell(p["fault_domain"] or "none"),
            Cell(p["host"]),
            Cell(str(len(p["before"])), number=True),
            Cell(str(len(p["after"])), number=True),
        )
        for p in evidence["placement"]
    )
    heads = ("Fault domain", "Host", "Planned VMs before", "Planned VMs after")
    title = "Placement before and after the run"
    stay = len({r["moid"] for r in evidence["refusals"]} - {m["moid"] for m in evidence["moves"]})
    left = f" {plural(stay, 'VM')} that {'stays is' if stay == 1 else 'stay are'} not counted." if stay else ""
    return Table("placement", title, heads, rows, lead=f"{crossings(evidence)}{left}") if rows else None


def crossings(evidence: Evidence) -> str:
    """How many VMs changed their fault domain, and how many VMs each fault domain had and has."""
    if any(p["fault_domain"] is None for p in evidence["placement"]):
        return "The fault domain of some hosts is not known."
    first = {m["moid"]: m["source_fault_domain"] for m in reversed(outbound_moves(evidence["moves"]))}
    last = _domains_after(evidence)
    changed = sum(first.get(vm) != domain for vm, domain in last.items())
    if not last:
        return "No VM moved."
    if not changed:
        return _no_crossings(evidence, last)
    return f"{changed} of {plural(len(last), 'moved VM')} changed the fault domain. {_totals(evidence)}."


def _no_crossings(evidence: Evidence, last: Mapping[str, str | None]) -> str:
    every = f"All {len(last)} moved VMs" if len(last) > 1 else "The moved VM"
    if any(m["back"] for m in evidence["moves"]):
        return f"{every} {'are' if len(last) > 1 else 'is'} in the same fault domain as before the run."
    domains = sorted({str(domain) for domain in last.values()})
    return f"{every} stayed in {f'fault domain {domains[0]}' if len(domains) == 1 else 'their fault domains'}."


def _totals(evidence: Evidence) -> str:
    """``us-west-2b: 8 VMs before, 6 after; us-west-2c: 0 VMs before, 2 after``."""
    totals: dict[str, tuple[int, int]] = {}
    for place in evidence["placement"]:
        name = str(place["fault_domain"])
        before, now = totals.get(name, (0, 0))
        totals[name] = (before + len(place["before"]), now + len(place["after"]))
    return "; ".join(
        f"{name}: {plural(before, 'VM')} before, {now} after" for name, (before, now) in sorted(totals.items())
    )


def _domains_after(evidence: Evidence) -> dict[str, str | None]:
    """Fault domain by MoID of each VM that moved, out or back: that of its last target."""
    moves = sorted(evidence["moves"], key=lambda m: m["back"])
    return {m["moid"]: m["target_fault_domain"] for m in moves if m["result"] == "moved"}


def refusals_table(evidence: Evidence) -> Table | None:
    """One row per reason for which a VM stays; ``None`` if the plan moves every VM."""
    shared = shared_names(evidence)
    rows = tuple(
        (
            Cell(display_name(r["vm"], r["moid"], shared)),
            Cell(reason["check"].replace("_", " ")),
            Cell(reason["object"]),
            Cell(reason["hint"]),
        )
        for r in evidence["refusals"]
        for reason in r["reasons"]
    )
    return Table("refusals", "VMs that stay, and why", ("VM", "Reason", "Object", "What to do"), rows) if rows else None


def gaps_table(evidence: Evidence) -> Table | None:
    """What was not observed and why; ``None`` if nothing is missing."""
    rows = tuple((Cell(g["what"]), Cell(g["why"]), _names(g["vms"])) for g in evidence["gaps"])
    return Table("gaps", "Not observed, and why", ("What", "Why", "VMs"), rows) if rows else None


def measurement_table(evidence: Evidence) -> Table | None:
    """How each experiment was measured; ``None`` without experiments."""
    experiments, shared = worst_first(evidence["experiments"]), shared_names(evidence)
    rows = tuple(_measured(x, shared) for x in experiments)
    heads = (
        "Experiment",
        "Provider",
        "Samples",
        "Resolution",
        *(f"Throughput {w}" for w in ("before", "during", "after")),
    )
    notes = {x["provider"]: x["capabilities"]["note"] or "precision not stated" for x in experiments}
    lead = (
        "Stalls shorter than the resolution cannot be distinguished from normal operation. Throughput is the progress per "
        "unit of time before, during and after the move, ± half the width of its 95 % confidence interval. Recoverable: "
        "whether checkpoints are set up; nobody looked for one. Cost: training time that the moves took in all, by stall "
        f"and slowdown, with its 95 % confidence interval. {_listed(notes)}"
    )
    heads = (*heads, "During / before", "Recoverable")
    return Table("measurement", "How it was measured", heads, rows, lead) if rows else None


def _measured(experiment: Experiment, shared: frozenset[str]) -> tuple[Cell, ...]:
    throughput = experiment["throughput"]
    rates = (throughput["before"], throughput["during"], throughput["after"]) if throughput else (None, None, None)
    return (
        _named_experiment(experiment, shared),
        Cell(experiment["provider"]),
        Cell(str(experiment["samples"]), number=True),
        Cell(seconds(experiment["resolution"]), number=True),
        *(_rate(rate) for rate in rates),
        _slowdown(throughput),
        _recoverable(experiment),
    )


def _recoverable(experiment: Experiment) -> Cell:
    """Whether checkpoints are set up. Nobody looks whether one exists."""
    state, detail = experiment["recoverable"]["state"], experiment["recoverable"]["detail"]
    return Cell({"yes": "set up", "unknown": "not known"}.get(state, state), note=detail)


def same_model_table(evidence: Evidence) -> Table | None:
    """Whether the finished models are expected to be the same as without a move, one row per answer and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    shared = shared_names(evidence)
    for x in worst_first(evidence["experiments"]):
        found.setdefault(_same_model(x), []).append(label(x, shared))
    rows = tuple((Cell(answer), Cell(why), _names(names)) for (answer, why), names in found.items())
    title = "Would the model be the same without the move?"
    return Table("same-model", title, ("Answer", "Why", "Experiments"), rows) if rows else None


def _same_model(experiment: Experiment) -> tuple[str, str]:
    """Whether the same model is expected, and why. This can be expected only of an experiment that continued."""
    claims = experiment["claims"]
    if experiment["verdict"] in ("failed", "lost", "restarted") or "refuted" in (
        claims["identity"],
        claims["progress"],
    ):
        return "not guaranteed", "the experiment did not continue unchanged"
    reproducible = experiment["reproducible"]
    if reproducible["state"] == "yes" and claims["identity"] != "proven":
        return "not known", "it is not proven that the same process continued"
    words = {"yes": "yes, expected", "no": "not guaranteed", "unknown": "not known"}
    return words[reproducible["state"]], reproducible["detail"] or "the provider does not give a reason"


def _listed(notes: Mapping[str, str]) -> str:
    return " ".join(f"Provider {name}: {note}." for name, note in sorted(notes.items()))


def _rate(part: Rate | None) -> Cell:
    """Three digits of a rate, and half the width of its interval to the same place, never rounded down to nothing."""
    if part is None:
        return Cell("not known")
    times, unit = (1, "steps/s") if part["unit"] == "steps" else (60, "%/min")
    rate, half = times * part["rate"], part["half_width"]
    places = min(4, max(0, 2 - math.floor(math.log10(abs(rate))))) if rate else 2
    note = "no interval" if half is None else f"± {max(times * half, 10**-places):.{places}f}"
    return Cell(f"{rate:.{places}f} {unit}", note=note)


def _slowdown(throughput: Throughput | None) -> Cell:
    """The throughput during the moves relative to before, and what the moves cost."""
    ratio, cost = (throughput["during_to_before"], throughput["cost"]) if throughput else (None, None)
    if ratio is None or cost is None:
        return Cell("not known")
    percents = f"{at_least(100 * ratio['low'], 0)} to {at_most(100 * ratio['high'], 0)} %"
    lost = f"cost {at_least(cost['low'], 1)} to {at_most(cost['high'], 1)} s"
    return Cell(f"{100 * ratio['ratio']:.0f} %", note=f"{percents}; {lost}")


def environment_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Where the run was carried out, with what, and under which rules."""
    run, vcenter = evidence["run"], evidence["vcenter"]
    return [
        ("vCenter", f"{vcenter['name']}{', simulated' if vcenter['simulated'] else ''}"),
        ("vCenter version", vcenter["version"] or "not known"),
        *_second_facts(evidence),
        ("Moved by", vcenter["product"] or "not known"),
        ("Collection", f"liveml.vsphere {run['collection'] or '(version not known)'}"),
        ("Purpose", f"{run['purpose']}{' ' + run['host'] if run['host'] else ''}"),
        ("Run ID", evidence["run_id"]),
        ("Began", local_moment(run["started"])),
        ("Ended", local_moment(run["finished"]) if run["finished"] else "not ended"),
        ("Result", run["result"] + (f", resumed {repeated(run['resumed'])}" if run["resumed"] else "")),
        *(_plan_facts(evidence) if run["purpose"] != "witness" else _window_facts(run.get("window"))),
        ("Stall budget", seconds(run["stall_budget"])),
        ("Fence (maintenance mode)", evidence["fence"] or "not recorded"),
    ]


def _second_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """The other vCenter of a run over two, and what the plan says about moves between them."""
    second = evidence.get("second_vcenter")
    if second is None:
        return []
    address, version = second.get("address") or second["name"], second["version"] or "not known"
    notes = [("Between the vCenters", note) for note in evidence.get("notes", ())]
    return [
        ("Address", evidence["vcenter"].get("address") or "not known"),
        ("Other vCenter", f"{address}, {version}"),
        *notes,
    ]


def _plan_facts(evidence: Evidence) -> list[tuple[str, str]]:
    run = evidence["run"]
    return [
        ("Plan ID", evidence["plan_id"]),
        ("Priority of moves", run["priority"] or "not known"),
        ("Slots", f"at most {run['slots']} moves per host at a time" if run["slots"] else "not known"),
    ]


def _window_facts(window: Window | None) -> list[tuple[str, str]]:
    """What a witness watched, and for how long."""
    if window is None:
        return [("Window", "the watch did not begin")]
    asked = f"{seconds(window['seconds'])} at most" if window["until_returned"] else seconds(window["seconds"])
    watched = window["watched_seconds"]
    cut = f", cut: {window['cut']}" if window["cut"] else ""
    return [
        ("Subject", f"{window['subject']}, {plural(window['vms'], 'VM')}"),
        ("Window", f"{asked} asked for, {'not known' if watched is None else seconds(watched)} watched{cut}"),
    ]


def integrity_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Whether journal and samples are as the run wrote them."""
    journal = evidence["journal"]
    end = "" if journal["end_kept"] else "; nothing vouches for its last line"
    chain = f"unbroken, {plural(journal['events'], 'event')}{end}"
    if journal["broken_at"] is not None:
        chain = f"BROKEN at line {journal['broken_at']}: {journal['why']}"
    elif journal["why"]:
        chain = f"END NOT VERIFIED: {journal['why']}"
    sealed = {
        True: "unchanged (their SHA-256 is in the journal)",
        False: "CHANGED (their SHA-256 is not the one in the journal)",
        None: "not verified (the journal does not contain their final SHA-256)",
    }
    return [
        ("Hash chain of the journal", chain),
        ("SHA-256 of the journal's last line", journal["head"]),
        ("Samples", sealed[journal["samples_as_sealed"]]),
        ("SHA-256 of the samples", journal["samples_sha256"]),
    ]


def stall_cell(stall: Stall | None, watched: float | None = None, late: float | None = None) -> Cell:
    """A stall with the interval that contains its true length, never a bare zero, and for how long was watched."""
    if stall is None:
        return Cell("not measured")
    scale = f", {watched_text(watched, late)}" if watched else ""
    return Cell(f"{stall['seconds']:.2f} s", note=f"{at_least(stall['low'])} to {at_most(stall['high'])} s{scale}")


def powered_cell(move: Move) -> Cell:
    """What vCenter's power-on times prove about a VM, and what the guest's processes prove."""
    power_on, proof = move["power_on"], move["guest_processes"]
    if power_on is None or power_on["same"] is None:
        return Cell("not known", tone="open")
    if not power_on["same"]:
        return Cell("NO", note=f"powered on again at {local_moment(power_on['after'])}", tone="bad")
    same = proof["same"] if proof else None
    note = "" if same is None else "same processes" if same else "DIFFERENT PROCESSES"
    return Cell("yes", note=note, tone="bad" if same is False else "good")


def _names(names: list[str]) -> Cell:
    if not names:
        return Cell("none")
    return Cell(str(len(names)), note=", ".join(names) if len(names) <= MAX_NAMED else "")


def took(move: Move) -> float | None:
    """Seconds from a move's submission to its end."""
    return None if move["started"] is None else span(move["started"], move["finished"])


def all_tables(evidence: Evidence) -> list[Table]:
    """Every table that this evidence has."""
    made = (
        experiments_table(evidence),
        owners_table(evidence),
        moves_table(evidence),
        placement_table(evidence),
        refusals_table(evidence),
        gaps_table(evidence),
        measurement_table(evidence),
        same_model_table(evidence),
    )
    return [table for table in made if table is not None]
