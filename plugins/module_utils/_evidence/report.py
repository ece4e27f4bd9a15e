# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The evidence as a page and as Markdown. All text from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .._core import wording
from .._core.advice import GOOD
from .._core.untrusted import printable, printable_data
from .._core.wording import percent
from . import plots, tables
from .document import statement
from .integrity import damage
from .model import Evidence, Experiment
from .page import PAGE, STYLE
from .rows import Entry, entries_of, headline_facts, rows_of
from .summary import (
    count_moved,
    label,
    longest_stall,
    moving_windows,
    outbound_moves,
    shared_names,
    unmeasured,
    watched_after_move,
    watched_seconds,
    worst_first,
)

MAX_CURVES = 12  # beyond it a page is scrolled, not read
_NAMES = {"evacuate": "evacuation", "restore": "restore", "migrate": "move", "witness": "watch"}
_MARKUP = {ord(character): f"&#{ord(character)};" for character in "&\\`*_{}[]<>|#~$"}
# Renderers turn some text into links or mentions even with entities; other text begins a list or a rule.
_LINKS = re.compile(r"(:)(?=//)|(www)(?=\.)|(@)", re.IGNORECASE)
_BLOCKS = re.compile(r"^(\d*)([-+=.)])")


def title(evidence: Evidence) -> str:
    """The report's title."""
    run, window = evidence["run"], evidence["run"].get("window")
    names = [m["vm"] for m in evidence["moves"]]
    return title_of(run["purpose"], window["subject"] if window else "", run["host"] or "", names)


def title_of(purpose: str, window: str, host: str, names: Sequence[str]) -> str:
    """What a run is for: the subject of a witness's window, a host, or the VMs that it moves."""
    words = {"evacuate": "Evacuation of", "restore": "Restore of", "migrate": "Move of", "witness": "Witness of"}
    subject = window or host or (", ".join(names) if 0 < len(names) <= 3 else f"{len(names)} VMs")
    return f"{words[purpose]} {subject}"


def render_html(evidence: Evidence, owner: str = "") -> str:
    """The self-contained page; with ``owner`` that of their excerpt. Raises ImportError if matplotlib or Jinja2 is missing."""
    from jinja2 import Environment  # noqa: PLC0415 - only reports need it

    evidence = printable_data(evidence)
    drawn = worst_first(evidence["experiments"])[:MAX_CURVES]
    sizes = (plots.WIDE, plots.NARROW)
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["whole"] = whole
    template = environment.from_string(PAGE)
    return template.render(
        e=evidence,
        title=title(evidence),
        style=STYLE,
        lead=lead(evidence),
        facts_first=headline_facts(evidence),
        tone=tables.tone(evidence["overall"]["verdict"]),
        todo=[(entry, tables.tone(entry.verdict) if entry.verdict else "open") for entry in entries_of(evidence)],
        notes=[*notes(evidence), *excerpt_note(owner)],
        tiles=tiles(evidence),
        t={table.key: table for table in tables.all_tables(evidence)},
        timelines=list(zip(*(plots.timelines(evidence, size) for size in sizes), strict=True)),
        astray=any(m["started"] and m["result"] != "moved" for m in evidence["moves"]),
        curves=[picture(evidence, x, number, alone=len(drawn) == 1) for number, x in enumerate(drawn, 1)],
        curves_lead=curves_lead(evidence, len(drawn)),
        environment=tables.environment_facts(evidence),
        integrity=tables.integrity_facts(evidence),
    )


def whole(text: str) -> str:
    """The text with spaces between numbers and units that do not break."""
    return re.sub(r"(?<=\d) (?=(?:%|s|min|h)(?![\w]))", "\u00a0", text)


def lead(evidence: Evidence) -> str:
    """Where and when, in one line."""
    run = evidence["run"]
    end = f" to {wording.local_moment(run['finished'])}" if run["finished"] else ", not ended"
    return f"{evidence['vcenter']['name']}, {wording.local_moment(run['started'])}{end}"


def notes(evidence: Evidence) -> list[tuple[str, bool]]:
    """(sentence, whether it is bad news) of everything that a reader must know first."""
    found = [(sentence, True) for sentence in damage(evidence["journal"])]
    if evidence["vcenter"]["simulated"]:
        text = (
            "This was an exercise: the vCenter is simulated, and so are the durations of moves, except where a hypervisor "
            "moved the VM. The trainings are not simulated by it: what is said about them was measured."
        )
        found.append((text, False))
    return found


def excerpt_note(owner: str) -> list[tuple[str, bool]]:
    """What an excerpt must say of itself."""
    text = (
        f"This is the part of the report about the experiments of {printable(owner)}. The record of the run has more."
    )
    return [(text, False)] if owner else []


def tiles(evidence: Evidence) -> list[tuple[str, str, str]]:
    """(name, figure, note) of the most important figures."""
    moves, experiments, run = outbound_moves(evidence["moves"]), evidence["experiments"], evidence["run"]
    longest = longest_stall(experiments)
    stall, where = longest or (None, None)
    later = _unwatched_note(evidence)
    interval = tables.why_no_stall(experiments[0]) if len(experiments) == 1 else ""
    if stall and where:
        note = tables.stall_cell(stall, watched_seconds(where), watched_after_move(where)).note
        name = f"; {label(where, shared_names(evidence))}" if len(experiments) > 1 else ""
        interval = f"{note}{later}{name}{unmeasured(experiments)}"
    duration = wording.span(run["started"], run["finished"])
    moved = count_moved(moves)
    planned, unseen = {m["moid"] for m in moves}, len(evidence["unobserved"])
    stay = len({refusal["moid"] for refusal in evidence["refusals"]} - planned)
    total = len(planned) + stay
    return [
        ("Moves seen", str(moved), f"of {wording.plural(len({m['moid'] for m in moves}), 'VM')}")
        if run["purpose"] == "witness"
        else (
            "VMs moved",
            f"{moved} of {len(moves)}",
            f"of {wording.plural(total, 'VM')} in all, {stay} {'stays' if stay == 1 else 'stay'}" if stay else "",
        ),
        ("Experiments observed", str(len(experiments)), f"{wording.plural(unseen, 'VM')} without an experiment"),
        (
            "Longest stall",
            f"{stall['seconds']:.2f} s{' while watched' if later else ''}" if stall else "not measured",
            interval,
        ),
        (
            f"Duration of the {_NAMES[run['purpose']]}",
            wording.seconds(duration) if duration is not None else "not ended",
            _result(evidence),
        ),
    ]


def _result(evidence: Evidence) -> str:
    """How the run ended. Beside the verdict of a training, "success" and "failed" would be read as those of the training."""
    run, moves = evidence["run"], outbound_moves(evidence["moves"])
    done = all(move["result"] == "moved" for move in moves) and not evidence["left_behind"] and not run["rolled_back"]
    judged = any(experiment["verdict"] not in GOOD for experiment in evidence["experiments"])
    why = (
        "counts as failed, because not every training is proved to have continued"
        if done and judged
        else "did not do all that was asked"
    )
    return {"success": "", "failed": f"the {_NAMES[run['purpose']]} {why}"}.get(run["result"], run["result"])


@dataclass(frozen=True, slots=True)
class Picture:
    """An experiment's curve with its caption; ``pictures`` are (CSS class, SVG) for each size."""

    number: int
    name: str
    statement: str
    text: str
    pictures: tuple[tuple[str, str], ...]


def picture(evidence: Evidence, experiment: Experiment, number: int, *, alone: bool) -> Picture:
    """The curve of an experiment; in two sizes if it is the only one, because then it is as wide as the page."""
    shared = shared_names(evidence)
    sizes = (("wide", plots.WIDE), ("narrow", plots.NARROW)) if alone else (("", plots.SMALL),)
    return Picture(
        number,
        label(experiment, shared),
        statement(experiment, shared),
        curve_text(experiment),
        tuple((size, plots.curve(evidence, experiment, width)) for size, width in sizes),
    )


def curve_text(experiment: Experiment) -> str:
    """The curve in words."""
    points, at = experiment["curve"], experiment["stall_at"]
    sentences = ["No progress was sampled."]
    if points:
        (first, low), (last, high) = points[0], points[-1]
        sentences = [
            f"Progress was {percent(low)} at {first:.1f} s{_at_begin(experiment)} and {percent(high)} at {last:.1f} s."
        ]
    spans = [
        f"from {start:.1f} s {'on (its end was not seen)' if end is None else f'to {end:.1f} s'}"
        for start, end in moving_windows(experiment)
    ]
    sentences.append(f"The move lasted {' and '.join(spans)}." if spans else "No move was started.")
    if experiment["longest_stall"] and at is not None:
        sentences.append(f"The longest stall began at {at:.1f} s.")
    return " ".join(sentences)


def _at_begin(experiment: Experiment) -> str:
    """Progress at the begin of the first move, as the table has it."""
    begun = next(moving_windows(experiment), None)
    if begun is None or experiment["progress_before"] is None:
        return ""
    return f", {percent(experiment['progress_before'])} at {begun[0]:.1f} s (begin of the move),"


def _unwatched_note(evidence: Evidence) -> str:
    """That a stall is only of the time that was watched, if the only experiment was not seen until the end."""
    rows = rows_of(evidence)
    quiet = rows[0]["quiet_seconds"] if len(rows) == 1 and rows[0]["verdict"] == "unknown" else None
    return f"; not of the {wording.seconds(quiet)} after that, when it was not seen" if quiet else ""


def curves_lead(evidence: Evidence, drawn: int) -> str:
    """What the curves show, and whether some are left out."""
    every = len(evidence["experiments"])
    marks = "The shaded area is the time of the move; the triangle marks the longest stall."
    if drawn == every:
        return marks
    return (
        f"{marks} Only the {drawn} of {every} experiments with the worst verdicts and the longest stalls are shown. The table "
        "above has all experiments, and evidence.json has all curves."
    )


def render_markdown(evidence: Evidence) -> str:
    """The same statements for a comment on a pull request."""
    whole = evidence["overall"]
    lines = [f"## {_escaped(title(evidence))}", "", f"**{whole['verdict']}**: {_escaped(whole['statement'])}", ""]
    first = [f"- {name}: {_escaped(fact)}." for name, fact in headline_facts(evidence)]
    lines += [*first, ""] if first else []
    lines += ["### What to do", "", *map(_markdown_entry, entries_of(evidence)), ""]
    lines += [f"> {_escaped(text)}\n" for text, _bad in notes(evidence)]
    lines += ["### What was proven", ""]
    lines += [f"- {_escaped(statement)}" for statement in evidence["statements"]]
    for table in tables.all_tables(evidence):
        lines += _markdown_table(table)
    for name, facts in (
        ("Environment", tables.environment_facts(evidence)),
        ("Integrity of the record", tables.integrity_facts(evidence)),
    ):
        lines += ["", f"### {name}", "", *(f"- {key}: {_escaped(value)}" for key, value in facts)]
    return "\n".join(lines) + "\n"


def _markdown_entry(entry: Entry) -> str:
    verdict = f" ({entry.verdict})" if entry.verdict else ""
    do = f" **{_escaped(entry.do)}**" if entry.do else ""
    return f"- {_escaped(entry.title)}{verdict}: {_escaped(entry.means)}{do}"


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
    """Text on one line that Markdown shows unchanged. A zero-width space keeps addresses from becoming links."""
    line = " ".join(printable(text).split())
    block = _BLOCKS.match(line)
    begin = f"{block[1]}&#{ord(block[2])};" if block else ""
    rest = line[block.end() :] if block else line
    return begin + _LINKS.sub(r"\g<0>&#8203;", rest.translate(_MARKUP))
