# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an interrupted playbook says last: what is moving, whether the host is fenced, who watches, and what to type. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._core.untrusted import printable
from .._run.model import Purpose
from .._run.overview import RunOverview, RunStatus

NOTHING = (
    "The playbook was interrupted before its run began. No move is in flight, it has not fenced a host, and no process watches. "
    "To continue, run the same command again."
)
STATUS = "ansible-playbook liveml.vsphere.status"
RESTORE = "ansible-playbook liveml.vsphere.restore_host"


def last_lines(runs: Sequence[RunOverview]) -> list[str]:
    """The lines for the runs that the playbook began. Without any, none had begun."""
    lines = [line for run in runs for line in _lines(run)] or [NOTHING]
    return [printable(line) for line in (*lines, f"To see how things stand: {STATUS}")]


def _lines(run: RunOverview) -> Iterator[str]:
    if run.status is RunStatus.FINISHED:
        yield f"{run.text} The playbook was interrupted after that."
        yield "No move is in flight, and no process watches the experiments: their verdicts are reached."
        yield from _fence(run)
        yield f"To finish it: {run.command}" if run.command else "Its evidence may not be written."
        return
    certain = run.stopping or run.status is not RunStatus.RUNNING
    rest = "and no other starts" if certain else "and its process was asked to start no other"
    yield f"{run.subject} was interrupted. {run.moved} of {run.vms} moves are done, {rest}."
    yield _in_flight(run)
    if run.waiting:
        yield f"Not begun: {', '.join(run.waiting)}."
    yield from _fence(run)
    if run.pinned:
        yield f"Excluded from DRS until the run is resumed: {', '.join(run.pinned)}."
    if run.status is RunStatus.RUNNING and run.silent:
        yield f"Process {run.pid or 'of the run'} ends in a few seconds unless vCenter answers."
    elif run.status is RunStatus.RUNNING:
        yield f"Process {run.pid or 'of the run'} watches the experiments until these moves have ended."
    else:
        yield "No process watches the experiments."
    if run.command:
        when = ", once these moves have ended" if run.status is RunStatus.RUNNING and run.in_flight else ""
        yield f"To continue{when}: {run.command}"
        if run.purpose is Purpose.EVACUATE and run.host:
            yield f"To bring the VMs back instead{when}: {RESTORE} -e restore_host_name={run.host}"


def _in_flight(run: RunOverview) -> str:
    """What is moving, as far as that is known."""
    names = ", ".join(run.in_flight)
    if run.silent and names:
        return f"Unknown: vCenter did not answer for {run.silent:.0f} s. In flight when it last answered: {names}."
    return f"In flight: {names}." if names else "No move is in flight."


def _fence(run: RunOverview) -> Iterator[str]:
    """Whether the host of the run is fenced."""
    if run.host and run.fenced:
        yield f"{run.host} is fenced by this run, and stays fenced: DRS and people cannot place VMs on it."
    elif run.host:
        yield f"This run has not fenced {run.host}."
