# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The index of all runs of a state directory: what each report says in one row, with a link to it. Pure.

It repeats what ``evidence.json`` says and proves nothing itself. Links are relative, so that the directory can be copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._core.untrusted import printable
from .._core.wording import local_moment, plural, seconds, span
from .._experiments.model import WORST_FIRST, Verdict, worst
from .page import INDEX, STYLE
from .report import title_of, whole
from .summary import count_moved, longest_stall, outbound_moves
from .tables import Cell, Table, printed, stall_cell, tone

if TYPE_CHECKING:
    from jinja2 import Template

    from .model import Move, Stall

MIN_YEAR, MAX_YEAR = 1970, 9998
RUNS = "runs"  # folder of the runs, beside the index
LEAD = (
    "Each row repeats what the report of a run says. The reports have the evidence; the module evidence_report verifies the journals "
    "behind them."
)


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the index. ``name`` is that of its folder; times are UTC, ISO 8601.

    ``result`` is "" if the folder has no readable run, and ``problem`` says why. ``verdicts`` counts the experiments by verdict, the
    worst first, and is ``None`` without evidence. ``page`` is the file to open, "" if there is none; ``live``: it is the live page.
    ``judged`` are the experiments by VM (MoID) and ID with their verdicts, ``domain`` is the fault domain that the VMs left, "" if
    it is not known, and ``moved`` how many VMs moved. ``vcenter`` is the instance UUID of its vCenter, or its name if that is not known.
    """

    name: str
    subject: str
    started: str = ""
    finished: str | None = None
    result: str = ""
    verdict: str = ""
    verdicts: Mapping[str, int] | None = None
    stall: Stall | None = None
    page: str = ""
    live: bool = False
    problem: str = ""
    purpose: str = ""
    host: str = ""
    vcenter: str = ""
    domain: str = ""
    moved: int = 0
    judged: tuple[tuple[str, str, str], ...] = ()


def row_of(name: str, evidence: Mapping[str, Any], page: str) -> Row:
    """The row of a run with evidence. Raises KeyError, TypeError, ValueError or AttributeError if it is not evidence."""
    run, experiments = evidence["run"], list(evidence["experiments"])
    window = run.get("window")
    counts = Counter(str(experiment["verdict"]) for experiment in experiments)
    longest = longest_stall(experiments)
    outbound = outbound_moves(evidence["moves"])
    subject = title_of(
        run["purpose"],
        window["subject"] if window else "",
        run["host"] or "",
        [move["vm"] for move in evidence["moves"]],
    )
    return Row(
        name=name,
        subject=subject,
        started=run["started"],
        finished=run["finished"],
        result=str(run["result"]),
        verdict=str(evidence["overall"]["verdict"]) if experiments else "",
        verdicts={str(verdict): counts[verdict] for verdict in WORST_FIRST if counts[verdict]},
        stall=_figures(longest[0]) if longest else None,
        page=page,
        purpose=run["purpose"],
        host=str(run["host"] or ""),
        vcenter=str(evidence["vcenter"]["name"]),
        domain=_domain(outbound),
        moved=count_moved(outbound),
        judged=tuple((str(x["moid"]), str(x["id"]), str(Verdict(x["verdict"]))) for x in experiments),
    )


def _domain(moves: Sequence[Move]) -> str:
    """The fault domain that all moves leave, "" if it is not one."""
    domains = {str(move["source_fault_domain"] or "") for move in moves}
    return domains.pop() if len(domains) == 1 else ""


def has_times(row: Row) -> bool:
    """Whether begin and end are times that can be shown in every time zone."""
    try:
        span(row.started, row.finished)
        return MIN_YEAR <= datetime.fromisoformat(row.started).year <= MAX_YEAR
    except (ValueError, TypeError):
        return False


def _figures(stall: Stall) -> Stall:
    """The figures of a stall as numbers."""
    return {"seconds": float(stall["seconds"]), "low": float(stall["low"]), "high": float(stall["high"])}


@cache
def template() -> Template:
    """The compiled template. Raises ImportError if Jinja2 is missing."""
    from jinja2 import Environment  # noqa: PLC0415 - only pages need it

    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["whole"] = whole
    return environment.from_string(INDEX)


def render_index(rows: Sequence[Row], older: Sequence[str] = (), left_out: int = 0, zone: tzinfo | None = None) -> str:
    """The page. ``rows`` and ``older`` are newest first; of older runs only the name of the folder is shown.

    ``left_out`` is how many are not shown at all. ``zone`` is that of the readers, by default that of this machine. The same runs
    always give the same page. Raises ImportError if Jinja2 is missing.
    """
    links = [(printable(name), f"{RUNS}/{quote(name, errors='replace')}/") for name in older]
    return template().render(
        style=STYLE,
        title="Runs",
        lead=f"{plural(len(rows) + len(older) + left_out, 'run')}, the newest first. {LEAD}",
        trips=printed(trips_table(found, zone), len(found)) if (found := trips_of(rows)) else None,
        table=printed(table_of(rows, zone), len(rows)) if rows else None,
        older=links,
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True)
class Trip:
    """The maintenance of a host: evacuations in order, and the restores that followed."""

    out: tuple[Row, ...]
    back: tuple[Row, ...] = ()


def trips_of(rows: Iterable[Row]) -> list[Trip]:
    """The maintenances of hosts, newest first as the rows. An evacuation after a restore begins the next one."""
    found: list[Trip] = []
    latest: dict[tuple[str, str], int] = {}
    for row in sorted((row for row in rows if row.host and row.started), key=lambda row: row.started):
        place = latest.get((row.vcenter, row.host))
        if row.purpose == "evacuate" and (place is None or found[place].back):
            latest[row.vcenter, row.host] = len(found)
            found.append(Trip((row,)))
        elif row.purpose == "evacuate" and place is not None:
            found[place] = replace(found[place], out=(*found[place].out, row))
        elif row.purpose == "restore" and place is not None:
            found[place] = replace(found[place], back=(*found[place].back, row))
    return found[::-1]


def trips_table(trips: Sequence[Trip], zone: tzinfo | None) -> Table:
    """One row for each maintenance of a host. Hosts of one fault domain stand together, as they follow each other."""
    heads = ("Host", "Evacuated", "Restored", "From begin to end", "VMs", "Experiments", "Longest stall")
    lead = (
        "The evacuation of a host and its restore in one row: of each experiment the worst verdict of all these runs counts, and the "
        "longest stall is that of all of them."
    )
    return Table("trips", "Maintenance of hosts", heads, tuple(_trip_cells(trip, zone) for trip in trips), lead)


def _trip_cells(trip: Trip, zone: tzinfo | None) -> tuple[Cell, ...]:
    runs, last = (*trip.out, *trip.back), trip.back[-1] if trip.back else None
    end = span(trip.out[0].started, last.finished) if last else None
    stalls = [row.stall for row in runs if row.stall]
    back = f", {sum(row.moved for row in trip.back)} moved back" if trip.back else ""
    return (
        Cell(trip.out[0].host, note=trip.out[-1].domain or trip.out[0].domain),
        _runs_cell(trip.out, zone),
        _runs_cell(trip.back, zone) if trip.back else Cell("not in these runs", tone="open"),
        Cell("not ended" if end is None else seconds(end), number=True),
        Cell(f"{sum(row.moved for row in trip.out)} moved{back}"),
        _all_experiments_cell(runs),
        stall_cell(_longest(stalls)) if stalls or all(row.verdicts is not None for row in runs) else Cell("not known"),
    )


def _runs_cell(rows: Sequence[Row], zone: tzinfo | None) -> Cell:
    """When the last of some runs began, its result, and how many were before."""
    last = rows[-1]
    before = f"; {plural(len(rows) - 1, 'run')} before" if len(rows) > 1 else ""
    tones = {"success": "good", "failed": "bad"}
    return Cell(
        local_moment(last.started, zone),
        note=f"{last.result}{before}",
        tone=tones.get(last.result, "open"),
        link=_link(last),
    )


def _all_experiments_cell(rows: Sequence[Row]) -> Cell:
    """The worst verdict of each experiment, counted; and whether a run has no evidence."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for moid, experiment, verdict in row.judged:
            verdicts.setdefault((moid, experiment), []).append(verdict)
    counts = Counter(str(worst(each)) for each in verdicts.values())
    counted = ", ".join(f"{counts[verdict]} {verdict}" for verdict in WORST_FIRST if counts[verdict])
    missing = sum(row.verdicts is None for row in rows)
    note = f"{plural(missing, 'run')} without evidence" if missing else ""
    overall = worst([*counts, *(row.verdict for row in rows if row.verdict), *(["unknown"] if missing else [])])
    return Cell(counted or "none observed", note=note, tone=tone(overall) if counts else "")


def _longest(stalls: Sequence[Stall]) -> Stall | None:
    """The longest of some stalls; its interval contains the longest of the true lengths."""
    if not stalls:
        return None
    low, high = max(each["low"] for each in stalls), max(each["high"] for each in stalls)
    return {"seconds": max(each["seconds"] for each in stalls), "low": low, "high": high}


def _link(row: Row) -> str:
    """The page of a run, relative to the index."""
    return f"{RUNS}/{quote(row.name, errors='replace')}/{row.page}" if row.page else ""


def table_of(rows: Sequence[Row], zone: tzinfo | None) -> Table:
    """One row for each run."""
    heads = ("Run", "When", "Took", "Result", "Experiments", "Longest stall")
    return Table("runs", "All runs", heads, tuple(_cells(row, zone) for row in rows))


def _cells(row: Row, zone: tzinfo | None) -> tuple[Cell, ...]:
    took = span(row.started, row.finished) if row.started else None
    return (
        Cell(row.subject, note=row.name if row.name != row.subject else "", link=_link(row)),
        Cell(local_moment(row.started or None, zone)),
        Cell(seconds(took) if took is not None else "not ended" if row.result else "not known", number=True),
        _result_cell(row),
        _experiments_cell(row),
        stall_cell(row.stall) if row.verdicts is not None else Cell("not known"),
    )


def _result_cell(row: Row) -> Cell:
    if not row.result:
        return Cell("not a readable run", note=row.problem, tone="bad")
    notes = [row.problem, "the link is its live page" if row.live else "" if row.page else "no report"]
    note = "; ".join(filter(None, notes))
    return Cell(row.result, note=note, tone={"success": "good", "failed": "bad"}.get(row.result, "open"))


def _experiments_cell(row: Row) -> Cell:
    if row.verdicts is None:
        return Cell("no evidence yet" if row.result else "not known")
    if not row.verdicts:
        return Cell("none observed")
    counted = ", ".join(f"{count} {verdict}" for verdict, count in row.verdicts.items())
    return Cell(counted, note="" if row.verdict in row.verdicts else f"verdict: {row.verdict}", tone=tone(row.verdict))
