# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence as a page and as Markdown. Everything that came from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._core import wording
from .._core.wording import percent
from . import plots, tables
from .document import statement
from .page import PAGE, STYLE
from .summary import (
    longest_stall,
    shared_names,
    shown,
    way_there,
    worst_first,
)

Evidence = Mapping[str, Any]

MOST_CURVES = 12  # beyond it a page is scrolled, not read
_MARKUP = {ord(character): f"&#{ord(character)};" for character in "&\\`*_{}[]<>|#~$"}
# What renderers make a link or a mention of by themselves, and what begins a list or a rule; entities do not hinder the former.
_LINKS = re.compile(r"(:)(?=//)|(www)(?=\.)|(@)", re.IGNORECASE)
_BLOCKS = re.compile(r"^(\d*)([-+=.)])")


def title(evidence: Evidence) -> str:
    """The report's title."""
    run = evidence["run"]
    words = {"evacuate": "Evacuation of", "restore": "Restore of", "migrate": "Move of"}
    names = [m["vm"] for m in evidence["moves"]]
    subject = run["host"] or (", ".join(names) if len(names) <= 3 else f"{len(names)} VMs")
    return f"{words[run['purpose']]} {subject}"


def render_html(evidence: Evidence) -> str:
    """The self-contained page. Raises ImportError when matplotlib or Jinja2 is missing."""
    from jinja2 import Environment  # noqa: PLC0415 - only reports need it

    shown = worst_first(evidence["experiments"])[:MOST_CURVES]
    sizes = (plots.WIDE, plots.NARROW)
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["whole"] = whole
    template = environment.from_string(PAGE)
    return template.render(
        e=evidence,
        title=title(evidence),
        style=STYLE,
        lead=lead(evidence),
        tone=tables.tone(evidence["overall"]["verdict"]),
        notes=notes(evidence),
        tiles=tiles(evidence),
        t={table.key: table for table in tables.all_tables(evidence)},
        timelines=list(zip(*(plots.timelines(evidence, size) for size in sizes), strict=True)),
        astray=any(m["started"] and m["result"] != "moved" for m in evidence["moves"]),
        curves=[picture(evidence, x, number, alone=len(shown) == 1) for number, x in enumerate(shown, 1)],
        curves_lead=curves_lead(evidence, len(shown)),
        environment=tables.environment_facts(evidence),
        integrity=tables.integrity_facts(evidence),
    )


def whole(text: str) -> str:
    """The text with numbers kept on one line with their units."""
    return re.sub(r"(?<=\d) (?=(?:%|s|min|h)(?![\w]))", "\u00a0", text)


def lead(evidence: Evidence) -> str:
    """Where and when, in one line."""
    run = evidence["run"]
    end = f"to {wording.moment(run['finished'])}" if run["finished"] else "and not ended"
    return f"{evidence['vcenter']['name']}, {wording.moment(run['started'])} {end}"


def notes(evidence: Evidence) -> list[tuple[str, bool]]:
    """(sentence, whether it is bad news) of what a reader must know before anything else."""
    journal, vcenter = evidence["journal"], evidence["vcenter"]
    found = []
    if journal["broken_at"] is not None:
        where = f"line {journal['broken_at']} is wrong, {journal['why']}"
        found.append((f"The journal was changed: {where}. What follows that line proves nothing.", True))
    if journal["samples_as_sealed"] is False:
        found.append(("The samples are not those that were sealed.", True))
    if vcenter["simulated"]:
        text = "The vCenter is simulated: durations of moves are the simulation's. What experiments did was measured."
        found.append((text, False))
    return found


def tiles(evidence: Evidence) -> list[tuple[str, str, str]]:
    """(name, figure, what it means) for the glance."""
    moves, experiments, run = way_there(evidence), evidence["experiments"], evidence["run"]
    longest = longest_stall(experiments)
    stall = longest["longest_stall"] if longest else None
    interval = ""
    if longest and stall:
        vm = shown(longest["vm"], longest["moid"], shared_names(evidence))
        interval = f"{stall['low']:.2f} to {stall['high']:.2f} s, {vm}"
    duration = wording.span(run["started"], run["finished"])
    refused, unseen = len(evidence["refusals"]), len(evidence["unobserved"])
    return [
        ("VMs moved", f"{sum(m['result'] == 'moved' for m in moves)} of {len(moves)}", f"{refused} refused"),
        ("Experiments observed", str(len(experiments)), f"{unseen} VMs without one"),
        ("Longest stall", f"{stall['seconds']:.2f} s" if stall else "not measured", interval),
        ("Duration of the run", wording.seconds(duration) if duration is not None else "not ended", run["result"]),
    ]


def picture(evidence: Evidence, experiment: Mapping[str, Any], number: int, *, alone: bool) -> dict[str, Any]:
    """An experiment's curve with the caption that says the same; two sizes when it has the page's width for itself."""
    shared = shared_names(evidence)
    sizes = (("wide", plots.WIDE), ("narrow", plots.NARROW)) if alone else (("", plots.SMALL),)
    return {
        "number": number,
        "name": tables.label(experiment, shared),
        "said": statement(experiment, shared),
        "text": curve_text(experiment),
        "pictures": [(size, plots.curve(evidence, experiment, width)) for size, width in sizes],
    }


def curve_text(experiment: Mapping[str, Any]) -> str:
    """What the curve shows, in words."""
    points, at = experiment["curve"], experiment["stall_at"]
    said = ["No progress was sampled"]
    if points:
        (first, low), (last, high) = points[0], points[-1]
        said = [f"Progress {percent(low)} at {first:.1f} s, {percent(high)} at {last:.1f} s"]
    spans = [
        f"from {start:.1f} s {'on, its end was not seen' if end is None else f'to {end:.1f} s'}"
        for start, end in experiment["moving"]
    ]
    said.append(f"the move lasted {', and '.join(spans)}" if spans else "no move was begun")
    if experiment["longest_stall"] and at is not None:
        said.append(f"the stall began at {at:.1f} s")
    return f"{'; '.join(said)}."


def curves_lead(evidence: Evidence, shown: int) -> str:
    """What is drawn, and what is left out."""
    every = len(evidence["experiments"])
    marks = "The shade is the time of the move, the mark the longest stall."
    if shown == every:
        return marks
    return (
        f"The {shown} of {every} experiments with the worst verdicts and the longest stalls; all are in the table above, and "
        f"their curves in evidence.json. {marks}"
    )


def render_markdown(evidence: Evidence) -> str:
    """The same statements for a comment on a pull request."""
    whole = evidence["overall"]
    lines = [f"## {_escaped(title(evidence))}", "", f"**{whole['verdict']}**: {_escaped(whole['statement'])}", ""]
    lines += [f"> {_escaped(text)}\n" for text, _bad in notes(evidence)]
    lines += [f"- {_escaped(statement)}" for statement in evidence["statements"]]
    for table in tables.all_tables(evidence):
        lines += _markdown_table(table)
    for name, facts in (
        ("Environment", tables.environment_facts(evidence)),
        ("Integrity of the record", tables.integrity_facts(evidence)),
    ):
        lines += ["", f"### {name}", "", *(f"- {key}: {_escaped(value)}" for key, value in facts)]
    return "\n".join(lines) + "\n"


def _markdown_table(table: tables.Table) -> list[str]:
    lines = ["", f"### {table.title}", ""]
    if table.lead:
        lines += [_escaped(table.lead), ""]
    lines += [f"| {' | '.join(table.heads)} |", "|" + "---|" * len(table.heads)]
    for row in table.rows:
        cells = (_escaped(cell.text + (f" ({cell.note})" if cell.note else "")) for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line; a zero-width space keeps addresses from becoming links."""
    line = " ".join(text.split())
    block = _BLOCKS.match(line)
    begin = f"{block[1]}&#{ord(block[2])};" if block else ""
    rest = line[block.end() :] if block else line
    return begin + _LINKS.sub(r"\g<0>&#8203;", rest.translate(_MARKUP))
