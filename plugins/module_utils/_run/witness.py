# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness: watches experiments while other people or programs move the VMs, from ``window_opened`` to ``run_finished``.

It needs no privilege but to read. Nothing is moved, fenced, pinned or recorded in vCenter.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from .._core.clock import own_boot
from .._core.errors import StateUnwritable, VsphereError
from .._core.version import VERSION
from .._core.wording import has_moved, plural
from .._experiments.model import Discovery, Experiment, Judgement, Verdict
from .._experiments.own_ids import newcomers
from .._experiments.verdict import must_stop_run
from .._plan.selection import display_name
from .._vsphere.estate import Estate
from .events import (
    Entry,
    Noticed,
    Ref,
    RunFinished,
    RunStarted,
    VmRestarted,
    WindowClosed,
    WindowOpened,
)
from .executor import restarts_of
from .journal import Journal, read_journal, utc_now
from .locks import run_lock
from .model import MoveResult, Outcome, Purpose, WitnessReport, WitnessRequest
from .ports import NOBODY, Observer, Onlooker, StartedWatch, Vcenter, heard_by
from .record import WatchRecord
from .sightings import Sightings
from .state import replay, with_verdicts_of_moves
from .store import JOURNAL, new_run

LOCK_SECONDS = 5.0
SEE_THROUGH_SECONDS = 600.0  # for a move that is in flight when the window ends, and for its experiments to settle
INTERRUPTED = "the witness was interrupted"
CAME_LATER = "the VM came during the window, and was not watched"
STILL_MOVES = "its VM was still being moved when the watch ended"


def witness(
    vcenter: Vcenter,
    observer: Observer,
    request: WitnessRequest,
    estate: Estate,
    *,
    select: Callable[[Estate], tuple[str, ...]],
    listener: Callable[[Entry], None],
    interrupted: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    onlooker: Onlooker = NOBODY,
) -> WitnessReport:
    """Watch until the window ends. ``select`` returns the VMs (MoIDs) that are meant in an estate, as in ``estate``.

    Raises RunBusy if another process witnesses the same.
    """
    with run_lock(request.state, request.key, timeout=LOCK_SECONDS):
        folder = new_run(request.state, Purpose.WITNESS, request.subject)
        journal = Journal(folder / JOURNAL, heard_by(listener, onlooker))
        onlooker.begin(folder)
        try:
            work = _Witness(
                vcenter, observer, request, estate, folder, journal, select, interrupted, clock, sleep, onlooker
            )
            return work.go()
        except VsphereError as error:
            if journal.begun:
                error.run_id = folder.name  # so that its evidence can be found
            raise
        finally:
            journal.close()
            onlooker.end()


def shortfalls_of(report: WitnessReport) -> tuple[str, ...]:
    """What was asked for and not done, one sentence each: a window that was cut, hosts that did not come back."""
    cut = (f"the window was cut after {report.seconds:.0f} s: {report.cut}",) if report.cut else ()
    away = tuple(f"{name} was not seen to enter maintenance mode and come back" for name in report.waited_for)
    return cut + away


def harms_of(report: WitnessReport) -> tuple[str, ...]:
    """What makes a witness fail, apart from experiments, one sentence each: also VMs that were restarted."""
    return (*shortfalls_of(report), *report.restarts)


class _Witness:
    def __init__(
        self,
        vcenter: Vcenter,
        observer: Observer,
        request: WitnessRequest,
        estate: Estate,
        folder: Path,
        journal: Journal,
        select: Callable[[Estate], tuple[str, ...]],
        interrupted: Callable[[], bool],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        onlooker: Onlooker,
    ) -> None:
        self._onlooker = onlooker
        self._vcenter = vcenter
        self._observer = observer
        self._request = request
        self._folder = folder
        self._journal = journal
        self._select = select
        self._interrupted = interrupted
        self._clock = clock
        self._sleep = sleep
        self._estate = estate
        self._names = {vm: estate.vms[vm].name for vm in request.vms}
        self._record = WatchRecord(vcenter, journal, folder, request.guest, self._names)
        self._noticed: dict[str, list[str]] = {}
        self._cut = ""

    def go(self) -> WitnessReport:
        """Find, watch, judge, close."""
        request, started = self._request, utc_now()
        self._begin()
        seen = self._observer.discover(self._estate, request.vms)
        experiments = seen.experiments
        for experiment in experiments:
            self._record.found(experiment)
            self._names.setdefault(experiment.vm, experiment.vm_name)  # a cluster may have members in other VMs
        self._record.without_experiment(self._estate, seen.unobserved)
        self._record.partly_searched(self._estate, seen.partly_searched)
        before = self._record.vms("before", tuple(self._names))
        since = self._vcenter.time()
        places = {vm: seen.host for vm, seen in self._vcenter.placement(self._names).items()}
        with ExitStack() as stack:
            watch = stack.enter_context(
                self._observer.watch(experiments, self._folder, self._record.progress, whole=True)
            )
            self._onlooker.watching(watch)
            sightings = self._sightings(watch, {vm: host for vm, host in places.items() if host is not None})
            watch.baseline()
            self._journal.write(
                WindowOpened(request.subject, request.seconds, len(self._names), request.until_returned)
            )
            seconds = self._observe(sightings)
            judgements = self._judge(watch, experiments, sightings)
        self._close_window(experiments, sightings, seconds, since)
        after = self._record.vms("after", tuple(self._names))
        restarts = self._record.restarts(
            {vm: at for vm, at in before.items() if at is not None}, after, started, judgements
        )
        self._record.seal(self._observer, judgements)
        self._record.verdicts(judgements)
        shown = seen.by_name(partial(display_name, self._estate))
        report = self._report(sightings, judgements, shown, seconds, restarts)
        self._journal.write(
            RunFinished(
                result="failed" if harms_of(report) or any(map(must_stop_run, judgements)) else "success",
                moved=sum(has_moved(end.result, end.by) for end in report.ended),
                failed=sum(end.result is not MoveResult.MOVED for end in report.ended),
                left_behind=0,
            )
        )
        return report

    def _begin(self) -> None:
        request = self._request
        self._journal.write(
            RunStarted(
                run_id=self._folder.name,
                plan_id="",
                purpose=Purpose.WITNESS,
                key=request.key,
                host=Ref(request.host.moid, request.host.name) if request.host else None,
                vcenter=request.vcenter,
                pid=os.getpid(),
                stall_budget=request.stall_budget,
                collection=VERSION,
                boot=own_boot(),
            )
        )
        self._vcenter.on_silence(self._record.silence)
        self._vcenter.on_interruption(self._interrupted)

    def _sightings(self, watch: StartedWatch, places: Mapping[str, str]) -> Sightings:
        return Sightings(
            self._vcenter,
            watch,
            self._journal,
            vms=self._names,
            at=places,
            hosts=self._estate.hosts,
            interrupted=self._interrupted,
            clock=self._clock,
            sleep=self._sleep,
        )

    # the window

    def _observe(self, sightings: Sightings) -> float:
        """Look until the window ends; the seconds that it took. A vCenter that answers no more cuts the window."""
        began = self._clock()
        try:
            while not self._is_over(sightings, self._clock() - began):
                sightings.look(self._request.hosts)
        except StateUnwritable:
            raise
        except VsphereError as error:
            self._cut = error.message.rstrip(".")
        return self._clock() - began

    def _is_over(self, sightings: Sightings, seconds: float) -> bool:
        if self._interrupted():
            self._cut = INTERRUPTED
            return True
        wanted = self._request.seconds
        if self._request.until_returned and sightings.returned >= set(self._request.hosts):
            wanted = 0.0
        # What is in flight then is seen through, because half a move proves nothing.
        return seconds >= wanted and (not sightings.busy or seconds >= self._request.seconds + SEE_THROUGH_SECONDS)

    def _judge(
        self, watch: StartedWatch, experiments: Iterable[Experiment], sightings: Sightings
    ) -> tuple[Judgement, ...]:
        """The verdicts at the end. A VM that still moves has no good verdict."""
        vms = dict.fromkeys(experiment.vm for experiment in experiments)
        # Members of a cluster are judged with each of its VMs; each counts once.
        found = {(j.experiment.vm, j.experiment.id): j for vm in vms for j in watch.judge(vm)}
        state = replay(read_journal(self._folder / JOURNAL).entries)
        moving = set(sightings.in_flight)
        return tuple(
            _unfinished(judgement) if judgement.experiment.vm in moving else judgement
            for judgement in with_verdicts_of_moves(state, found.values())
        )

    # what was not watched

    def _close_window(
        self, experiments: Iterable[Experiment], sightings: Sightings, seconds: float, since: datetime
    ) -> None:
        unread = "the window was cut" if self._cut else ""
        try:
            if not self._cut:
                estate = self._vcenter.estate()
                self._notice_newcomers(estate, experiments)
                self._notice_unseen_moves(estate, sightings, since)
        except StateUnwritable:
            raise
        except VsphereError as error:
            unread = error.message
        self._journal.write(WindowClosed(round(seconds, 1), self._cut, unread))

    def _notice_newcomers(self, estate: Estate, experiments: Iterable[Experiment]) -> None:
        """Name VMs and experiments that came during the window. They were not watched."""
        vms = dict.fromkeys((*(vm for vm in self._names if vm in estate.vms), *self._select(estate)))
        for vm in vms:
            if vm not in self._names:
                self._notice(estate, vm, CAME_LATER)
        found = self._observer.discover(estate, tuple(vms))
        for experiment in newcomers(found.experiments, experiments):
            what = experiment.description or experiment.id
            self._notice(estate, experiment.vm, f"the experiment began during the window, and was not watched: {what}")

    def _notice_unseen_moves(self, estate: Estate, sightings: Sightings, since: datetime) -> None:
        """Name VMs of which vCenter's events have more moves than were seen, such as two while vCenter gave no answer."""
        seen = Counter(end.move.vm for end in sightings.ended if end.host not in (None, end.move.source))
        for vm, count in self._vcenter.migrations(since).items():
            if vm in self._names and vm in estate.vms and count > seen[vm]:
                self._notice(estate, vm, f"vCenter's events name {plural(count, 'move')} of the VM; seen: {seen[vm]}")

    def _notice(self, estate: Estate, vm: str, detail: str) -> None:
        self._noticed.setdefault(display_name(estate, vm), []).append(detail)
        self._journal.write(Noticed(Ref(vm, estate.vms[vm].name), detail))

    def _report(
        self,
        sightings: Sightings,
        judgements: tuple[Judgement, ...],
        seen: Discovery,
        seconds: float,
        restarts: Iterable[VmRestarted],
    ) -> WitnessReport:
        for vm, detail in sightings.noticed.items():
            self._noticed.setdefault(display_name(self._estate, vm), []).append(detail)
        away = [moid for moid in self._request.hosts if moid not in sightings.returned]
        return WitnessReport(
            run_id=self._folder.name,
            folder=self._folder,
            seconds=seconds,
            ended=tuple(sightings.ended),
            judgements=judgements,
            unobserved=seen.unobserved,
            partly_searched=seen.partly_searched,
            noticed={name: tuple(details) for name, details in self._noticed.items()},
            cut=self._cut,
            waited_for=tuple(self._estate.hosts[moid].name for moid in away if self._request.until_returned),
            restarts=restarts_of(Outcome(tuple(sightings.ended), ()), restarts),
        )


def _unfinished(judgement: Judgement) -> Judgement:
    """The judgement on an experiment whose VM still moves: what was seen counts, what was not is unknown."""
    if must_stop_run(judgement):
        return judgement
    detail = "; ".join(filter(None, (judgement.detail, STILL_MOVES)))
    return replace(judgement, verdict=Verdict.UNKNOWN, stall="unknown", detail=detail)
