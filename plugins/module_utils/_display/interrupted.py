# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an interrupted playbook says last: what is moving, whether the host is fenced, who watches, and what to type. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._core.untrusted import printable
from .._core.wording import experiment_name, listed, percent
from .._run.model import Purpose
from .._run.overview import RunOverview, RunStatus

NOTHING = (
    "The playbook was interrupted before its run began. No move is in flight, it has not fenced a host, and no process watches. "
    "To continue, run the same command again."
)
STATUS = "ansible-playbook liveml.vsphere.status"
RESTORE = "ansible-playbook liveml.vsphere.restore_host"
MAX_NAMED = 3  # experiments

Shown = tuple[RunOverview, str]  # and the path of its page, "" if there is none


def last_lines(runs: Sequence[Shown]) -> list[str]:
    """The lines for the runs that the playbook began. Without any, none had begun."""
    lines = [line for run, page in runs for line in _lines(run, page)] or [NOTHING, f"See how things stand: {STATUS}"]
    return [printable(line) for line in lines]


def _lines(run: RunOverview, page: str) -> Iterator[str]:
    if run.status is RunStatus.FINISHED:
        yield f"{run.text} The playbook was interrupted after that."
        yield "No move is in flight, and no process watches the experiments: their verdicts are reached."
        yield from _fence(run)
        yield f"To finish it: {run.command}" if run.command else "Its evidence may not be written."
        yield f"See how things stand: {STATUS}"
        return
    certain = run.stopping or run.status is not RunStatus.RUNNING
    rest = "and no other starts" if certain else "and its process was asked to start no other"
    yield f"{run.subject} was interrupted. {run.moved} of {run.vms} moves are done, {rest}."
    yield from _moves(run)
    yield from _fence(run)
    if run.pinned:
        yield f"Excluded from DRS until the run is resumed: {', '.join(run.pinned)}."
    yield from _experiments(run)
    process = f"Process {run.pid}" if run.pid else "The process of the run"
    if run.status is RunStatus.RUNNING and run.silent:
        yield f"{process} ends in a few seconds unless vCenter answers."
    elif run.status is RunStatus.RUNNING:
        yield f"{process} on this machine watches the experiments until these moves have ended, also if this terminal is closed."
    else:
        yield "No process watches the experiments."
    if page:
        yield f"Live page: {page}"
    yield from _commands(run)


def _moves(run: RunOverview) -> Iterator[str]:
    """What vCenter still does, as far as that is known. A run that is interrupted cancels nothing."""
    waiting = f" Not begun: {', '.join(run.waiting)}." if run.waiting else ""
    names = ", ".join(run.in_flight)
    if run.silent and names:
        yield f"Unknown: vCenter did not answer for {run.silent:.0f} s. In flight when it last answered: {names}.{waiting}"
    elif names:
        yield f"In flight: {names}. These moves were not cancelled: vCenter finishes them.{waiting}"
    else:
        yield f"No move is in flight.{waiting}"


def _experiments(run: RunOverview) -> Iterator[str]:
    """The experiments without a verdict, and what was seen of them last."""
    found = [
        f"{experiment_name(each.name, '')} in {each.vm} at {percent(each.progress)}"
        for each in run.experiments
        if each.verdict is None
    ]
    if found:
        yield f"Experiments, as last seen: {listed(found, MAX_NAMED)}."


def _commands(run: RunOverview) -> Iterator[str]:
    """How to see how things stand, and the commands that continue."""
    moving = run.status is RunStatus.RUNNING and bool(run.in_flight) and not run.silent
    yield f"See {'how far these moves are' if moving else 'how things stand'}: {STATUS}"
    if not run.command:
        return
    back = run.purpose is Purpose.EVACUATE and bool(run.host)
    how = "either continue" if back else "continue"
    waits = " (waits for these moves, at most 10 minutes)" if moving else ""
    yield f"{how.capitalize()}{waits}: {run.command}"
    if back:
        lift = "lift the fence and " if run.fenced else ""
        yield f"or {lift}bring the VMs back{' (waits likewise)' if moving else ''}: {RESTORE} -e restore_host_name={run.host}"


def _fence(run: RunOverview) -> Iterator[str]:
    """Whether the host of the run is fenced, by the journal."""
    if run.host and run.fence_unknown:
        yield f"Whether {run.host} is fenced is unknown: this run has begun to fence it or to lift its fence, and has not seen the end."
    elif run.host and run.fenced:
        yield f"{run.host} is fenced by this run, and stays fenced: no VM can be placed on it."
    elif run.host:
        yield f"This run has not fenced {run.host}. How it is now was not read."
