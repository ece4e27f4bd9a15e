# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a training is, and what was lost: the first facts about each verdict, never more than was seen. Pure.

An experiment is given as a row, as ``_core/advice.py`` takes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .wording import local_moment, percent, seconds

Row = Mapping[str, Any]
# Parts of a verdict's reason, by which advice distinguishes how an experiment was seen to end.
REFUSES = "refuses connections"
JOB_UNKNOWN = "the process that answers now does not know the job"
JOB_GONE = "the server no longer knows the job"
NO_ANSWER = "the last question was not answered"
UNREADABLE = "the last answer of the server could not be used"
JOB_IS = "the job is "
WORKS = "it works, but its steps repeat, so they do not show how far it is"
JOB_DONE = "the job is done"
ALL_DONE = "all its steps are done, so nothing shows whether it still works"
AS_USUAL = "all work was done before: the training may have ended as usual"
UNSEEN = " in the last "  # of the end of the watch, with the time for which it was not seen to work


_FOREIGN = re.compile(r" \([^()]*\)")


def said(words: str) -> str:
    """Words of a server or a program, to be added to a reason. They stay in their parentheses, so they are never taken for a part of it."""
    return f" ({words.translate({ord('('): '[', ord(')'): ']'})})" if words else ""


def has_reason(detail: str | None, reason: str) -> bool:
    """Whether the reason of a verdict has a part, in its own words and not in those of a server."""
    return reason in _FOREIGN.sub("", detail or "")


def facts_of(row: Row) -> list[tuple[str, str]]:
    """Whether the training is alive, with the time when it was last seen, and what was lost."""
    return [("Alive", _alive(row)), ("Lost", _lost(row))]


def _alive(row: Row) -> str:
    verdict, latest, reached = row["verdict"], row.get("latest") or row.get("last_seen"), row.get("reached")
    if verdict == "completed" and reached and reached.get("at") and reached["progress"] >= 1:
        return f"it has finished, {percent(reached['progress'])} was first seen at {local_moment(reached['at'])}"
    if verdict == "failed" and reached and reached.get("at"):
        return f"{_answer(row)}, stopped at {percent(reached['progress'])}, no progress after {local_moment(reached['at'])}"
    seen = latest or {"progress": row.get("progress_after")}
    if seen["progress"] is None:
        return _answer(row)
    if not seen.get("at"):
        return f"{_answer(row)}, last seen at {percent(seen['progress'])}"
    return f"{_answer(row)}, last seen at {local_moment(seen['at'])}, {percent(seen['progress'])}"


def _answer(row: Row) -> str:
    words = {"uninterrupted": "yes", "completed": "it has finished", "lost": "no", "failed": "no"}
    if row["verdict"] == "failed" and has_reason(row.get("detail"), f"{JOB_IS}CANCEL_PENDING"):
        return "it is being cancelled"
    if row["verdict"] in ("uninterrupted", "stalled", "unknown") and has_reason(row.get("detail"), JOB_DONE):
        return "it has finished"
    return words.get(row["verdict"], "yes" if _works(row) else "not known")


def _works(row: Row) -> bool:
    """Whether samples show that it worked at the end, although its verdict is not good."""
    latest, later = row.get("latest"), row.get("fell_to")
    progress = latest["progress"] if latest else row.get("progress_after")
    hangs = (row.get("still_seconds") or 0.0) > (row.get("stall_budget") or 0.0)
    if progress is None or progress >= 1 or row.get("quiet_seconds") or hangs or has_reason(row.get("detail"), UNSEEN):
        return False
    if row["verdict"] == "restarted":
        return later is not None and progress > later["progress"]
    return row["verdict"] == "stalled" and row.get("progress_claim") == "proven"


def _lost(row: Row) -> str:
    match row["verdict"]:
        case "uninterrupted" | "completed":
            return "nothing"
        case "stalled":
            return _standstill(row)
        case "restarted":
            return _fall(row)
        case "lost" | "failed":
            where = f" ({row['recovery']})" if row.get("recovery") else ""
            return {
                "yes": "the work since its newest checkpoint; whether there is one is not known",
                "no": f"what it has not saved, without a checkpoint to continue from{where}",
            }.get(str(row.get("recoverable")), "not known, nor whether it has a checkpoint")
    return "not known"


def _standstill(row: Row) -> str:
    stall, claim = row.get("longest_stall"), row.get("progress_claim")
    lost = "not known" if claim == "refuted" else "no progress was seen to be lost"
    if stall is None:
        return lost
    end = ", and continued" if claim == "proven" else ", and whether it continued is not known"
    return (
        f"{'nothing of its progress' if claim == 'proven' else lost}; it stood still for {stall['seconds']:.2f} s{end}"
    )


def _fall(row: Row) -> str:
    seen, later, lost = row.get("last_seen"), row.get("fell_to"), row.get("lost_seconds")
    if seen and later:
        long = seconds(lost) if lost and lost >= 10 else f"{lost or 0:.0f} s"
        work = f", about {long} of work at the pace before the move" if lost else ""
        return f"progress fell from {percent(seen['progress'])} to {percent(later['progress'])}{work}"
    before, after = row.get("progress_before"), row.get("progress_after")
    if before is None or after is None or before > after or row.get("progress_claim") == "refuted":
        return "how much is not known"
    return f"no loss of progress was seen ({percent(before)} → {percent(after)})"


def at_text(seen: Row) -> str:
    """Progress at a time, ``30 % at 2026-01-31 09:12:03 UTC``; without a time if that is not known."""
    at = f" at {local_moment(seen['at'])}" if seen.get("at") else ""
    return f"{percent(seen['progress'])}{at}"
