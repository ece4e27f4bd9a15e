# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``index.html`` of a state directory: which runs are there, what their evidence says, and the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .._core.errors import InvalidInput
from .._core.files import accessing, replace_file
from .._core.own_files import open_own, read_own
from .._core.untrusted import mapping, parsed
from .._run.events import RunStarted
from .._run.journal import read_journal
from .._run.overview import RunOverview, overviews
from .._run.state import replay
from .._run.store import JOURNAL, StoredRun, run_folders
from .files import Change
from .index import Row, has_times, render_index, row_of
from .names import HTML, JSON, is_live

INDEX = "index.html"
MAX_ROWS = 200  # runs whose evidence is read
MAX_LINKS = 5000  # older runs
MAX_BYTES = 64 << 20  # of an evidence.json; a larger one is not read
MAX_LINE = 1 << 20  # of the first line of a journal
_WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)  # what is not evidence raises


def write_index(state: Path, *, check_mode: bool) -> tuple[Change | None, list[Row]]:
    """Write the index if it changes, and return the newest runs. In check mode, only report it.

    Raises InvalidInput if the directory cannot be read or written, and ImportError if Jinja2 is missing.
    """
    folders = run_folders(state)
    rows = [row_of_folder(folder) for folder in folders[:MAX_ROWS]]
    older = [folder.name for folder in folders[MAX_ROWS : MAX_ROWS + MAX_LINKS]]
    path, after = state / INDEX, render_index(rows, older, max(0, len(folders) - MAX_ROWS - MAX_LINKS))
    with accessing(path):
        before = read_own(path).decode("utf-8", "replace") if path.exists() else ""
    after = after.encode("utf-8", "replace").decode()
    if before == after or not folders:
        return None, rows
    if not check_mode:
        with accessing(path, "written"):
            replace_file(path, after.encode(), durable=False)
    return Change(path, before, after), rows


def row_of_folder(folder: Path) -> Row:
    """The row of a run: from its evidence, else from its journal, else with the reason why it cannot be read."""
    page = HTML if (folder / HTML).is_file() else ""
    problems = []
    for row, problem in _readings(folder, page):
        if row is not None and not has_times(row):
            problems.append("its times cannot be read")
        elif row is not None:
            told = "; ".join(filter(None, [*problems, problem]))
            return replace(row, live=is_live(folder / HTML), problem=told, vcenter=_vcenter_of(folder) or row.vcenter)
        else:
            problems.append(problem)
    return Row(folder.name, folder.name, page=page, problem="; ".join(filter(None, problems)))


def _vcenter_of(folder: Path) -> str:
    """The instance UUID of the vCenter of a run, from the first line of its journal, "" without one. Most vCenters have one name."""
    try:
        with os.fdopen(open_own(folder / JOURNAL, os.O_RDONLY), "rb") as stream:
            first = mapping(parsed(stream.readline(MAX_LINE)))
    except (OSError, InvalidInput):
        return ""
    return str(first.get("key", "")).partition(".")[0]


def _readings(folder: Path, page: str) -> Iterator[tuple[Row | None, str]]:
    """What evidence and journal say, or why they say nothing."""
    try:
        if _is_up_to_date(folder):
            yield row_of(folder.name, json.loads(read_own(folder / JSON)), page), ""
        else:
            yield None, ""
    except _WRONG:
        yield None, f"{JSON} is damaged"
    except (OSError, InvalidInput) as error:
        yield None, f"{JSON} cannot be read ({error})"
    try:
        yield _from_journal(folder, page)
    except (OSError, InvalidInput) as error:
        yield None, f"the journal cannot be read ({error})"


def _is_up_to_date(folder: Path) -> bool:
    """Whether there is evidence of all that the journal has. A resumed run writes its journal later."""
    evidence, journal = folder / JSON, folder / JOURNAL
    if not evidence.exists() or evidence.stat().st_size > MAX_BYTES:
        return False
    return not journal.exists() or journal.stat().st_mtime_ns <= evidence.stat().st_mtime_ns


def _from_journal(folder: Path, page: str) -> tuple[Row | None, str]:
    """A run without evidence. Whether it is under way is not said: it may have ended when somebody reads the index."""
    reading = read_journal(folder / JOURNAL)
    state = replay(reading.entries)
    if state is None:
        return None, reading.problem or "it has no journal"
    (overview,) = overviews([StoredRun(folder, reading, state)], lambda _key: None)
    start = reading.entries[0].event
    vcenter = start.vcenter.name if isinstance(start, RunStarted) else ""
    return _row(folder.name, overview, vcenter, page), reading.problem


def _row(name: str, run: RunOverview, vcenter: str, page: str) -> Row:
    finished = run.ended if run.result != "unfinished" else None
    return Row(
        name,
        run.subject,
        run.started,
        finished,
        run.result,
        page=page,
        purpose=str(run.purpose),
        host=run.host,
        vcenter=vcenter,
        moved=run.moved,
    )
