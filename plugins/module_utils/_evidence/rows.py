# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people must do after a run: about each experiment, and about what failed. Pure.

Reports and last lines show the same rows, so that their figures are the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .._core.advice import (
    FAILURES,
    GOOD,
    NO_EXPERIMENT,
    VERDICTS,
    Failure,
    do_of,
    means_of,
    more_of,
    reason_of,
    seen_of,
    title_of,
)
from .._core.standing import facts_of
from .._core.wording import is_restarted, plural, span
from .._run.events import has_continued, is_restart
from .model import Evidence, Experiment, Move
from .summary import (
    FENCE_KEPT,
    fall_of,
    is_intact,
    moving_windows,
    outbound_moves,
    shared_names,
    vms_of,
    watched_after_move,
    watched_seconds,
    worst_first,
)

MIN_QUIET = 5.0  # seconds; samples are taken more often than that
MAX_ENTRIES = 12  # experiments that are described one by one; the tables have all


@dataclass(frozen=True, slots=True)
class Entry:
    """What it is about, its verdict or "", what that means and what was seen, and what to do."""

    title: str
    verdict: str
    means: str
    do: str


def rows_of(evidence: Evidence) -> list[dict[str, Any]]:
    """A row for each experiment, the worst first, as ``_core/advice.py`` takes it."""
    shared = shared_names(evidence)
    return [_row(evidence, experiment, shared) for experiment in worst_first(evidence["experiments"])]


def _row(evidence: Evidence, experiment: Experiment, shared: frozenset[str]) -> dict[str, Any]:
    last_seen, fell_to, latest, reached = _sightings(evidence, experiment)
    row: dict[str, Any] = {
        "vm": {"moid": experiment["moid"], "name": experiment["vm"]},
        "vms": vms_of(experiment, shared),
        "identity": experiment["claims"]["identity"],
        "progress_claim": experiment["claims"]["progress"],
        "stall_claim": experiment["claims"]["stall"],
        "watched_seconds": watched_seconds(experiment),
        "watched_after_move": watched_after_move(experiment),
        "stall_budget": evidence["run"]["stall_budget"],
        "recoverable": experiment["recoverable"]["state"],
        "recovery": experiment["recoverable"]["detail"],
        "names_process": experiment["capabilities"]["identity"] == "process",
        "last_seen": last_seen,
        "fell_to": fell_to,
        "latest": latest,
        "reached": reached,
        "quiet_seconds": _quiet_seconds(evidence, experiment),
        "still_seconds": _still_seconds(experiment),
        "since_move": _since_move(evidence, experiment),
        "lost_seconds": _lost_seconds(experiment),
        "error": error_of(experiment),
        **{
            key: experiment[key]
            for key in (
                "provider", "id", "description", "owner", "cluster", "verdict", "longest_stall", "longest_freeze",
                "resolution", "progress_before", "progress_after", "samples", "unwatched_seconds", "detail",
            )
        },
    }  # fmt: skip
    return {**row, "title": title_of(row), "seen": seen_of(row), "reason": reason_of(row), "what_to_do": do_of(row)}


def _sightings(evidence: Evidence, experiment: Experiment) -> list[dict[str, Any] | None]:
    """The last progress before it went back, the first one after that, the last one of all, and when that was first seen."""
    points = experiment["curve"]
    latest = points[-1] if points else None
    before, after = fall_of(experiment) or (latest, None)
    same = _unchanged(experiment)
    return [_sighting(evidence, point) for point in (before, after, latest, same[-1] if same else None)]


def _quiet_seconds(evidence: Evidence, experiment: Experiment) -> float | None:
    """Seconds from the last progress that was sampled to the end of the run; ``None`` if they are few or not known."""
    run, points = evidence["run"], experiment["curve"]
    end = span(run["started"], run["finished"])
    quiet = end - points[-1][0] if points and end is not None and points[0][0] >= 0 else 0.0
    return round(quiet, 1) if quiet > MIN_QUIET else None


def _unchanged(experiment: Experiment) -> list[list[float]]:
    """The last points of the curve that have the same progress, the first one of them at the end."""
    points = experiment["curve"]
    return list(itertools.takewhile(lambda point: point[1] == points[-1][1], reversed(points)))


def _still_seconds(experiment: Experiment) -> float | None:
    """For how long the last progress that was sampled had not changed."""
    same = _unchanged(experiment)
    return round(same[0][0] - same[-1][0], 1) if same else None


def _since_move(evidence: Evidence, experiment: Experiment) -> str:
    """When it was last seen to work, as words about its move; "" if it was not moved before that or no progress was sampled."""
    same = _unchanged(experiment)
    at = None if not same else same[-1 if experiment["verdict"] == "failed" else 0][0]
    begun = [start for start, _end in moving_windows(experiment) if at is not None and start <= at]
    if at is None or not begun:
        return ""
    moves = [move for move in evidence["moves"] if move["moid"] in experiment["moids"] and move["started"]]
    switched = span(evidence["run"]["started"], moves[0]["switched_over"]) if len(moves) == 1 else None
    phase = "" if switched is None else f", {'before' if at < switched else 'after'} the switch-over"
    return f"{at - begun[-1]:.0f} s after its move began{phase}"


def _lost_seconds(experiment: Experiment) -> float | None:
    """How long the work took that was lost when progress went back, at the pace before the move; ``None`` if it is not known."""
    fall, throughput = fall_of(experiment), experiment["throughput"]
    pace = throughput["before"] if throughput else None
    if fall is None or pace is None or pace["unit"] == "steps" or pace["rate"] <= 0:
        return None
    return round(100 * (fall[0][1] - fall[1][1]) / pace["rate"], 1)


def error_of(experiment: Experiment) -> str:
    """What the server of a failed experiment says of its end; "" if it was not asked, or ended otherwise."""
    final = experiment["final"]
    return final["detail"] if final and experiment["verdict"] == "failed" else ""


def _sighting(evidence: Evidence, point: list[float] | None) -> dict[str, Any] | None:
    """Progress at a time. It is not known if the machine that took the sample was restarted, and did not record its clock."""
    if point is None:
        return None
    run, (offset, progress) = evidence["run"], point
    end = span(run["started"], run["finished"])
    known = offset >= 0 and (end is None or offset <= end + 1)  # the clocks of samples and journal are read apart
    at = datetime.fromisoformat(run["started"]) + timedelta(seconds=offset)
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"progress": progress, "at": text if known else None}


def failures_of(evidence: Evidence) -> list[Failure]:
    """How the run failed, apart from its experiments."""
    run, moves = evidence["run"], outbound_moves(evidence["moves"])
    found = {
        Failure.CHANGED: not is_intact(evidence),
        Failure.UNFINISHED: run["result"] == "unfinished",
        Failure.ROLLED_BACK: run["rolled_back"] is not None,
        Failure.NOT_MOVED: run["rolled_back"] is None and bool(evidence["left_behind"]),
        Failure.GONE: any(move["result"] == "gone" for move in moves),
        Failure.RESTARTED: any(_is_restarted(move, evidence) for move in moves),
        Failure.FENCE: FENCE_KEPT in (evidence["fence"] or ""),
    }
    return [failure for failure, applies in found.items() if applies]


def _is_restarted(move: Move, evidence: Evidence) -> bool:
    """Whether HA brought the VM to where it is by a restart, or it was powered on again in the run.

    If a process in it continued, the time is that of another clock.
    """
    if is_restarted(move["result"], move["by"]):
        return True
    known = ((moid, each) for each in evidence["experiments"] for moid in each["moids"])
    if any(moid == move["moid"] and has_continued(each["claims"]["identity"], each["verdict"]) for moid, each in known):
        return False
    times = move["power_on"]
    before, after = (times["before"], times["after"]) if times is not None else (None, None)
    return before is not None and after is not None and is_restart(before, after, evidence["run"]["started"])


def entries_of(evidence: Evidence) -> list[Entry]:
    """What to do, the most urgent first: failures of the run, then its experiments, then what is well."""
    rows = rows_of(evidence)
    bad = [row for row in rows if row["verdict"] not in GOOD]
    entries = [_failed(failure) for failure in failures_of(evidence)]
    entries += [_experiment(row, reason=len(rows) > 1) for row in bad[:MAX_ENTRIES]]
    more = len(bad) - MAX_ENTRIES
    if more > 0:
        entries.append(Entry(plural(more, "more experiment"), "", "They are in the table of experiments.", ""))
    entries += _good([row for row in rows if row["verdict"] in GOOD])
    if not rows:
        entries.append(Entry("Experiments", "", NO_EXPERIMENT.means, NO_EXPERIMENT.do))
    return entries


def _failed(failure: Failure) -> Entry:
    advice, title = FAILURES[failure], str(failure)
    return Entry(title if title.startswith("VM") else title[:1].upper() + title[1:], "", advice.means, advice.do)


def _experiment(row: dict[str, Any], *, reason: bool) -> Entry:
    """The entry of an experiment. If it is the only one, the headline above gives the facts and the reason of its verdict."""
    parts = (means_of(row), row["seen"] if reason else more_of(row), row["reason"] if reason else "")
    return Entry(row["title"], row["verdict"], " ".join(filter(None, parts)), row["what_to_do"])


def _good(rows: Iterable[dict[str, Any]]) -> list[Entry]:
    """One entry for each good verdict; a single experiment is named."""
    found = []
    for verdict in GOOD:
        own = [row for row in rows if row["verdict"] == verdict]
        if len(own) == 1:
            found.append(_experiment(own[0], reason=False))
        elif own:
            advice = VERDICTS[verdict]
            found.append(Entry(plural(len(own), "experiment"), verdict, advice.means, advice.do))
    return found


def headline_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """The facts of the only experiment of a run, and what to do first; none if there are several, or the run is not judged by it."""
    rows = rows_of(evidence)
    if len(rows) != 1 or evidence["overall"]["verdict"] != rows[0]["verdict"]:
        return []
    first = " ".join(re.split(r"(?<=[.:]) ", rows[0]["what_to_do"])[:2]).rstrip(".:")
    do = "nothing" if rows[0]["verdict"] == "uninterrupted" else first[:1].lower() + first[1:]
    return [*facts_of(rows[0]), ("To do", do)]


def artifact_advice(evidence: Evidence) -> str:
    """What the whole run means and what to do, for a job that passes only a few words on."""
    verdict = evidence["overall"]["verdict"]
    about = VERDICTS[verdict] if evidence["experiments"] else NO_EXPERIMENT
    failures = [FAILURES[failure] for failure in failures_of(evidence)][:1]
    doubtful = bool(failures) and verdict in ("unknown", *GOOD)  # then the verdict follows from the failure
    return " ".join(advice.text for advice in (failures if doubtful else [about, *failures]))
