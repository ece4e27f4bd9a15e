# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journal events as lines for a person: one short line per transition (AWX cuts lines above 1 kB)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .._core.codec import encoded
from .._core.untrusted import printable
from .._core.wording import (
    clock,
    experiment_name,
    is_restarted,
    local_moment,
    percent,
    plural,
    stall_text,
    stays_text,
    zone_name,
)
from .._experiments.model import Experiment
from .._run.events import (
    DrsKept,
    DrsLeft,
    DrsPinning,
    DrsRestored,
    Entry,
    Event,
    ExperimentFound,
    ExperimentProgress,
    FenceFound,
    FenceKept,
    FenceLifting,
    LeftBehind,
    MaintenanceSeen,
    MoveCancelling,
    MoveFinished,
    MovePlanned,
    MoveProgressed,
    MoveSeen,
    MoveSubmitting,
    Noticed,
    Ref,
    RollingBack,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    RunStopping,
    VcenterSilence,
    VerdictReached,
    VmRefused,
    VmRestarted,
    WindowClosed,
    WindowOpened,
)
from .._run.model import MoveResult
from .estimate import (
    MoveProgress,
    duration_text,
    seconds_left,
    share_done,
)

HEARTBEAT_SECONDS = 10.0
EXPERIMENT_SECONDS = 3.0
BAR_CELLS = 20
Key = tuple[str, str]  # VM MoID and experiment id


def line(entry: Entry) -> str | None:
    """The line for an entry, ``None`` if a person does not need one."""
    text = text_of(entry.event)
    if text is None:
        return None
    vm = vm_of(entry.event)
    if isinstance(entry.event, RunStarted | RunResumed):
        text = f"{text}; times in {zone_name(entry.at)}"
    return printable(f"{clock(entry.at)}  {'' if vm is None else f'{vm.name:<18} '}{text}")


def vm_of(event: Event) -> Ref | None:
    """The VM that an event is about."""
    if isinstance(event, ExperimentFound):
        return Ref(event.experiment.vm, event.experiment.vm_name)
    vm = getattr(event, "vm", None)
    return vm if isinstance(vm, Ref) else None


class RunDisplay:
    """A run as a person watches it: the line of each event, how far the run is, and a bar for each move in flight.

    Progress of moves is in the bars, or without ``bars`` in the heartbeat. What was planned was shown before the run. Times are the entries' own and the
    monotonic clock of the machine that wrote them.
    """

    def __init__(self, *, bars: bool = False) -> None:
        self._bars = bars
        self._flights: dict[str, _Flight] = {}
        self._last_news = 0.0  # monotonic time of the last line about something new
        self._ticks: dict[Key, float] = {}  # when the last line about an experiment's progress was
        self._verdicts: dict[Key, str] = {}
        self._trained: dict[str, float] = {}  # progress by VM
        self._last: Entry | None = None

    def hear(self, entry: Entry) -> str | None:
        """The line for an entry, ``None`` for what a person needs not know or has just read."""
        self._last = entry
        match entry.event:
            case MovePlanned() | MoveSeen() | MoveSubmitting() | MoveProgressed() | MoveFinished() as event:
                return self._hear_flight(event, entry)
            case ExperimentProgress() as event:
                return self._hear_experiment(event, entry)
            case VerdictReached() as event if self._is_known_verdict(event):
                return None
        text = line(entry)
        self._last_news = entry.mono if text is not None else self._last_news
        return text

    def _is_known_verdict(self, event: VerdictReached) -> bool:
        """Whether the verdict, which is passed after the move and again at the end, is still the same."""
        key, text = (event.vm.moid, event.id), _verdict(event)
        known = self._verdicts.get(key) == text
        self._verdicts[key] = text
        return known

    def heartbeat(self, now: float) -> str | None:
        """A line when moves are in flight and there was only progress for ``HEARTBEAT_SECONDS``."""
        quiet = self._last is not None and now - self._last_news >= HEARTBEAT_SECONDS
        if self._bars or not quiet or self._last is None or not self._in_flight():
            return None
        self._last_news = now
        at = datetime.fromisoformat(self._last.at) + timedelta(seconds=max(0.0, now - self._last.mono))
        return f"{clock(at.isoformat())}  {self.summary(now)}"

    def summary(self, now: float) -> str:
        """``3 of 10 moved (47 % of the work), 5 moving, about 24 s left``."""
        flights = self._flights.values()
        parts_done = [
            MoveProgress(flight.predicted, 1.0 if flight.result else flight.percent / 100) for flight in flights
        ]
        started = min((flight.started for flight in flights if flight.started is not None), default=now)
        over = [flight for flight in flights if flight.result is not None]
        moved = sum(flight.result is MoveResult.MOVED and not flight.restarted for flight in over)
        parts = [f"{moved} of {len(flights)} moved ({100 * share_done(parts_done):.0f} % of the work)"]
        parts += [f"{len(self._in_flight())} moving"]
        parts += [f"{len(over) - moved} not moved"] if len(over) > moved else []
        left = seconds_left(parts_done, now - started)
        parts += [] if left is None else [f"about {duration_text(left)} left"]
        return ", ".join(parts)

    def bars(self, now: float, columns: int, rows: int) -> list[str]:
        """A bar for each move in flight and the summary, at most ``rows`` lines of ``columns`` characters."""
        flying = self._in_flight()
        if not flying or rows < 1:
            return []
        shown = flying[: max(0, rows - 1)]
        hidden = len(flying) - len(shown)
        more = f", {hidden} more in flight" if hidden else ""
        lines = [flight.as_bar(self._trained.get(flight.vm)) for flight in shown]
        return [printable(text)[:columns] for text in (*lines, f"{self.summary(now)}{more}")]

    def _in_flight(self) -> list[_Flight]:
        return [flight for flight in self._flights.values() if flight.started is not None and flight.result is None]

    def _hear_flight(
        self, event: MovePlanned | MoveSeen | MoveSubmitting | MoveProgressed | MoveFinished, entry: Entry
    ) -> str | None:
        flight = self._flights.setdefault(event.vm.moid, _Flight(event.vm.moid, event.vm.name))
        if isinstance(event, MoveProgressed):
            flight.percent = event.percent
            return None  # the bars and the heartbeat show it
        flight.hear(event, entry.mono)
        self._last_news = entry.mono
        return line(entry)

    def _hear_experiment(self, event: ExperimentProgress, entry: Entry) -> str | None:
        """One experiment has a line every few seconds; many take turns, so that they do not drown the rest."""
        key = (event.vm.moid, event.id)
        self._trained[event.vm.moid] = event.progress
        due = self._ticks.get(key, float("-inf")) + EXPERIMENT_SECONDS * max(1, len(self._ticks))
        if entry.mono < due:
            return None
        self._ticks[key] = entry.mono
        return line(entry)


@dataclass(slots=True)
class _Flight:
    """A planned move as its events describe it."""

    vm: str
    name: str
    target: str = ""
    predicted: float = 0.0
    started: float | None = None
    percent: int = 0
    result: MoveResult | None = None
    restarted: bool = False  # HA has brought the VM to its host by a restart

    def hear(self, event: MovePlanned | MoveSeen | MoveSubmitting | MoveFinished, mono: float) -> None:
        """Planned, seen, submitted or finished."""
        self.target = "?" if isinstance(event, MoveSeen) else event.target.name
        match event:
            case MovePlanned(predicted_seconds=seconds):
                self.predicted = seconds
            case MoveSubmitting() | MoveSeen():
                self.started, self.percent, self.result = mono, 0, None
            case MoveFinished(result=result, by=by):
                self.result, self.restarted = result, is_restarted(result, by)

    def as_bar(self, trained: float | None) -> str:
        """``ML-cpu-vm-04       ██████░░░░░░░░░░░░░░  31 % → esx-06, experiment 17 %``."""
        full = round(BAR_CELLS * self.percent / 100)
        experiment = "" if trained is None else f", experiment {percent(trained)}"
        cells = "█" * full + "░" * (BAR_CELLS - full)
        return f"{self.name:<18} {cells} {self.percent:>3} % → {self.target}{experiment}"


def text_of(event: Event) -> str | None:
    """What an event says to a person, ``None`` if a person does not need it."""
    return _text_of_move(event) or _text_of_experiment(event) or _text_of_run(event)


def _text_of_move(event: Event) -> str | None:
    match event:
        case VmRefused(vm=vm, reasons=reasons, blocking=blocking):
            return stays_text(
                vm.name, [(r.check, r.object, r.hint) for r in reasons], "refused" if blocking else "stays"
            )
        case MoveSubmitting(source=source, target=target):
            return f"moving {source.name} → {target.name}"
        case MoveCancelling():
            return "took too long: cancelling the move"
        case MoveFinished():
            return _finished(event)
        case VmRestarted(at=at, by=by):
            who = f" by {by}" if by else ""
            return f"was restarted at {local_moment(at)}{who}: what ran in it has ended"
        case LeftBehind(host=host, reasons=why_left):
            return f"left behind on {host or 'a host that is not known'}: {'; '.join(why_left)}"
    return None


def _text_of_experiment(event: Event) -> str | None:
    match event:
        case ExperimentFound(experiment=experiment):
            return _found(experiment)
        case ExperimentProgress(progress=progress, gained=gained):
            return f"experiment {percent(progress)}{'' if gained is None else f' +{100 * gained:.1f}'}"
        case VerdictReached():
            return _verdict(event)
    return None


def _text_of_run(event: Event) -> str | None:
    match event:
        case RunStarted(run_id=run_id, vcenter=vcenter, plan_id=plan_id):
            plan = f", plan {plan_id[:12]}" if plan_id else ""
            return f"run {run_id} on {vcenter.name}{' (simulated)' if vcenter.simulated else ''}{plan}"
        case RunResumed(run_id=run_id):
            return f"run {run_id} resumed"
        case RollingBack(reason=reason):
            return f"rolling back: {reason}"
        case VcenterSilence(seconds=0.0):
            return "vCenter answers again"
        case VcenterSilence(seconds=seconds):
            return f"vCenter has not answered for {seconds:.0f} s; moves in flight continue, and it is asked again"
        case RunStopping(detail=detail):
            return f"{detail}: no further move is started"
        case RunInterrupted(detail=detail):
            return f"run interrupted: {detail}; run the same playbook again to resume it"
        case RunFinished():
            return _run_finished(event)
    return _text_of_witness(event) or _text_of_guard(event)


def _text_of_witness(event: Event) -> str | None:
    match event:
        case MoveSeen(source=source, task=task):
            return f"is moved from {source.name} by somebody else" if task else f"has been moved from {source.name}"
        case Noticed(detail=detail):
            return detail
        case WindowOpened(subject=subject, seconds=seconds, vms=vms, until_returned=returned):
            until = ", or until every host was in maintenance mode and came back" if returned else ""
            return f"watching {vms} VMs of {subject} for {seconds:.0f} s{until}"
        case WindowClosed(seconds=seconds, cut=cut):
            return f"watched for {seconds:.0f} s{f'; the window was cut: {cut}' if cut else ''}"
        case MaintenanceSeen(host=host, entered=entered):
            return f"{host.name} is {'in' if entered else 'out of'} maintenance mode"
    return None


def _text_of_guard(event: Event) -> str | None:
    match event:
        case FenceFound(detail=detail):
            return detail
        case FenceLifting(host=host):
            return f"lifting the fence of {host}"
        case FenceKept(host=host, detail=detail):
            return f"the fence of {host} could not be lifted: {detail}"
        case DrsPinning(pins=pins):
            return f"excluding {plural(len(pins), 'VM')} from DRS while they move"
        case DrsRestored(vms=vms):
            return f"DRS has its earlier overrides of {plural(len(vms), 'VM')} again"
        case DrsLeft(detail=detail):
            return f"overrides of DRS that somebody else set are left as they are ({detail})"
        case DrsKept(vms=vms, detail=detail):
            return f"the overrides of DRS could not be set back for {', '.join(vm.name for vm in vms)}: {detail}"
    return None


def _found(experiment: Experiment) -> str:
    owner = f", owner {experiment.owner}" if experiment.owner else ""
    text = f"experiment {percent(experiment.progress)}, {experiment.description} ({experiment.provider}{owner})"
    recovery = experiment.recovery
    return f"{text}; recoverable: {experiment.recoverable}, {recovery}" if recovery else text


def _finished(event: MoveFinished) -> str:
    if event.result is MoveResult.MOVED:
        if is_restarted(event.result, event.by):
            return f"restarted on {event.target_text} by {event.by}, because its host, network or storage had failed"
        return f"moved to {event.target_text}{f' by {event.by}' if event.by else ''}"
    why = f": {event.error.fault}: {event.error.message}" if event.error else ""
    gone = event.result is MoveResult.GONE
    where = event.host or ("no host: it is no longer in vCenter" if gone else "a host that is not known")
    return f"{event.result.replace('_', ' ')}{why}; the VM is on {where}"


def _verdict(event: VerdictReached) -> str:
    detail = f" ({event.detail})" if event.detail else ""
    stall = stall_text(encoded(event.longest_stall))
    name = experiment_name(event.description, event.id)
    return (
        f"{name} {event.verdict}: {percent(event.progress_before)} → {percent(event.progress_after)}, {stall}{detail}"
    )


def _run_finished(event: RunFinished) -> str:
    return f"run {event.result}: {event.counts}"
