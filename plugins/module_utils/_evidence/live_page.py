# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a run that is under way. Pure. It has no verdict that may still change, and says when it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache
from typing import TYPE_CHECKING

from .._core.codec import encoded
from .._core.untrusted import printable, printable_data
from .._core.wording import has_moved, is_restarted, local_moment, percent, plural, seconds, span, stall_text
from .._experiments.model import Experiment
from .._experiments.so_far import Seen
from .._run.events import VerdictReached, VmRefused
from .live import Flight, Key, LiveRun, Stage, names_of
from .page import LIVE, STYLE
from .report import title_of, whole
from .summary import display_name
from .tables import Cell, Table, printed, tone

if TYPE_CHECKING:
    from jinja2 import Template

REFRESH_SECONDS = 5
OLD = "a minute"  # a page that is older is not written any more
MAX_ROWS = 200  # of a table; more cannot be looked through
SILENT_SECONDS = 1.0  # shorter pauses between answers are usual
MOVED = "moved"
AT_MOST = (
    '"At most" is the longest time without an answer so far, or of trackers without a change. No stall was longer until now. '
    "The verdict on an experiment comes after the move of its VM."
)
_OUTCOMES = {
    "refused": "connection refused",
    "job_missing": "the server does not know the job",
    "invalid": "something else answers",
    "silent": "no answer",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """When a page is written (UTC, ISO 8601), and the time zone of its readers; ``None`` for that of this machine."""

    at: str
    zone: tzinfo | None = None


@cache
def template() -> Template:
    """The compiled template. Raises ImportError if Jinja2 is missing."""
    from jinja2 import Environment  # noqa: PLC0415 - only pages need it

    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["whole"] = whole
    return environment.from_string(LIVE)


def render_live(run: LiveRun, seen: Iterable[Seen], now: Moment, *, over: bool = False) -> Iterator[str]:
    """The page in parts, each of which takes less than a millisecond or the time of one table.

    ``seen`` is what the watch saw until now; ``over``: the process that carries out the run stops now. Raises ImportError if
    Jinja2 is missing.
    """
    view = _View(run, {(each.experiment.vm, each.experiment.id): each for each in seen}, now, over)
    return template().generate(
        style=STYLE,
        refresh=REFRESH_SECONDS,
        title=printable(f"{view.title} ({'ended' if view.ended else 'under way'})"),
        lead=printable(view.lead),
        headline=printable(view.headline),
        statement=printable(view.statement),
        written=view.written,
        notes=[(printable(text), bad) for text, bad in view.notes],
        tiles=printable_data([list(tile) for tile in view.tiles]),
        tables=(printed(table, MAX_ROWS) for table in view.tables() if table.rows),
        facts_of_run=printable_data([list(fact) for fact in view.facts]),
    )


class _View:
    """What the page says, in text."""

    def __init__(self, run: LiveRun, seen: dict[Key, Seen], now: Moment, over: bool) -> None:
        self._run = run
        self._seen = seen
        self._now = now
        self._over = over
        names = Counter(name for _moid, name in set(names_of(run)))
        self._shared = frozenset(name for name, count in names.items() if count > 1)
        self._outbound = [flight for flight in run.flights if not flight.back]

    @property
    def ended(self) -> bool:
        """Whether nobody works for the run any more."""
        return self._over or self._run.finished is not None

    @property
    def title(self) -> str:
        start, run = self._run.start, self._run
        if start is None:
            return "Run"
        names = [flight.vm for flight in self._outbound]
        return title_of(
            str(start.purpose), run.window.subject if run.window else "", start.host.name if start.host else "", names
        )

    @property
    def lead(self) -> str:
        start = self._run.start
        return f"{start.vcenter.name if start else ''}, since {self._local(self._run.started_at)}"

    @property
    def headline(self) -> str:
        run = self._run
        if run.finished is not None:
            return "The run has ended, and its report follows"
        if self._over:
            return "The run was interrupted"
        if run.rolling_back:
            return "Under way: VMs are being moved back"
        if run.window is not None:
            return f"Under way: {plural(len(run.at_stage(Stage.MOVING)), 'VM')} moving"
        if all(flight.stage is Stage.WAITING for flight in run.flights):
            return "Under way: being prepared"
        return f"Under way: {self._moved} of {plural(len(self._outbound), 'VM')} moved, {self._moving} moving"

    @property
    def _moved(self) -> int:
        return sum(has_moved(flight.result, flight.by) for flight in self._outbound)

    @property
    def _moving(self) -> int:
        return len(self._run.at_stage(Stage.MOVING, Stage.UNSEEN))

    @property
    def statement(self) -> str:
        """What comes next, and what to type if it does not."""
        run = self._run
        run_id = run.start.run_id if run.start else ""
        if run.finished is not None:
            done = run.finished
            return (
                f"Result: {done.result}; {done.counts}. The report replaces this page. If it does not, the playbook was killed; write "
                f"the report with: ansible localhost -m liveml.vsphere.evidence_report -a run_id={run_id}"
            )
        if self._over:
            why = f": {run.interrupted}" if run.interrupted else ""
            return f"Its process ended before the run did{why}. Run the same playbook again to continue. VMs may still be moving."
        left = self._left()
        return f"{left}Verdicts and the report come at the end; nothing on this page is a verdict unless it says so."

    def _left(self) -> str:
        waiting = len(self._run.at_stage(Stage.WAITING))
        return f"{plural(waiting, 'move')} not started yet. " if waiting and self._moving else ""

    @property
    def written(self) -> str:
        """When the page was written, and what its age means. It must be true whenever somebody reads it."""
        when = f"This page was written at {self._local(self._now.at)}"
        if self.ended:
            return f"{when}, and is not written again until the report replaces it."
        return (
            f"{when}. It is written every {REFRESH_SECONDS} s while the run is under way. If that is more than {OLD} ago, "
            "nobody writes it any more: the process of the run was killed, or its disk is full, and what is below may have "
            "changed. Ask with: ansible-playbook liveml.vsphere.status"
        )

    @property
    def notes(self) -> list[tuple[str, bool]]:
        """(sentence, whether it is bad news)."""
        run = self._run
        found = [(f"The run brings back what it moved: {run.rolling_back}.", True)] if run.rolling_back else []
        if run.silence and not self.ended:
            text = f"vCenter has not answered for at least {seconds(run.silence)}. Moves in flight continue, and it is asked again."
            found.append((text, True))
        found += [(f"{problem[:1].upper()}{problem[1:]}.", True) for problem in run.problems]
        found += [
            (f"The run was resumed. Nobody watched from {self._local(r.left)} to {self._local(r.resumed)}.", False)
            for r in run.resumptions
        ]
        found += [(f"{text}.", False) for text in run.noticed]
        if run.start is not None and run.start.vcenter.simulated:
            found.append(("The vCenter is simulated, and so are the durations of moves.", False))
        return found

    @property
    def tiles(self) -> list[tuple[str, str, str]]:
        """(name, figure, note) of the most important figures."""
        run = self._run
        passed = span(run.started_at, self._now.at) if run.started_at else None
        failed = sum(
            flight.stage is Stage.OVER and not has_moved(flight.result, flight.by) for flight in self._outbound
        )
        waiting = len(run.at_stage(Stage.WAITING))
        stay = len(run.refusals)
        moved = f"{self._moved} of {len(self._outbound)}" if run.window is None else str(self._moved)
        parts = [f"{failed} not moved" if failed else "", f"{plural(stay, 'other VM')} not planned" if stay else ""]
        return [
            ("VMs moved" if run.window is None else "Moves seen", moved, ", ".join(filter(None, parts))),
            ("Moving now", str(self._moving), f"{waiting} not started" if waiting else ""),
            self._stall_tile(),
            (
                "Since the begin",
                seconds(passed),
                f"{plural(len(run.resumptions), 'time')} resumed" if run.resumptions else "",
            ),
        ]

    def _stall_tile(self) -> tuple[str, str, str]:
        """The longest stall that any experiment can have had so far."""
        bounds = {key: bound for key in self._run.experiments if (bound := self._bound(key)) is not None}
        unknown = len(self._run.experiments) - len(bounds)
        note = f"{plural(unknown, 'experiment')} without an answer yet" if unknown else ""
        if not bounds:
            return "Longest stall so far", "not measured", note or "no experiment"
        longest = max(bounds, key=lambda key: bounds[key])
        where = self._name(self._run.experiments[longest])
        return "Longest stall so far", f"at most {seconds(bounds[longest])}", f"{where}{'; ' if note else ''}{note}"

    def _bound(self, key: Key) -> float | None:
        """Seconds that no stall of an experiment exceeded so far; ``None`` if nothing is known."""
        seen, verdict = self._seen.get(key), self._run.verdict(key)
        stall = verdict.longest_stall if verdict else None
        bounds = [seen.at_most if seen else None, stall.high if stall else None]
        return max((bound for bound in bounds if bound is not None), default=None)

    def tables(self) -> Iterator[Table]:
        """The tables, each made when it is asked for."""
        yield self._moving_table()
        yield self._experiments_table()
        yield self._over_table()
        yield self._waiting_table()
        yield self._refusals()

    def _moving_table(self) -> Table:
        flights = sorted(self._run.at_stage(Stage.MOVING, Stage.UNSEEN), key=lambda flight: (flight.number, flight.vm))
        rows = tuple(
            (
                Cell(self._vm(flight)),
                Cell(f"{flight.source} → {flight.target or '?'}"),
                _percent_cell(flight),
                Cell(self._ago(flight.started), note=f"since {self._clock(flight.started)}", number=True),
                Cell(seconds(flight.predicted) if flight.predicted else "not known", flight.stun, number=True),
            )
            for flight in flights
        )
        return Table("moving", "Moving now", ("VM", "Move", "Done", "For", "Predicted"), rows)

    def _experiments_table(self) -> Table:
        rows = tuple(self._experiment(key, experiment) for key, experiment in self._run.experiments.items())
        heads = ("Experiment", "Owner", "Progress", "Last answer", "Stall so far", "Verdict of its move")
        unseen = len(self._run.unobserved - {vm for vm, _id in self._run.experiments})
        without = f" No experiment was found in {plural(unseen, 'VM')}." if unseen else ""
        return Table("experiments", "Experiments", heads, rows, f"{AT_MOST}{without}")

    def _experiment(self, key: Key, experiment: Experiment) -> tuple[Cell, ...]:
        seen, verdict = self._seen.get(key), self._run.verdict(key)
        _at, reported = self._run.progress.get(key, ("", None))
        progress = seen.progress if seen is not None and seen.progress is not None else reported
        step = f"step {seen.step:g}" if seen is not None and seen.step is not None else ""
        at_most = seen.at_most if seen is not None else None
        return (
            Cell(experiment.description or experiment.id, note=self._vm_name(experiment)),
            Cell(experiment.owner or "not known"),
            Cell(f"{percent(experiment.progress)} → {percent(progress)}", note=step, share=progress),
            self._answer(key, seen),
            Cell("not known" if at_most is None else f"at most {seconds(at_most)}"),
            _verdict_cell(verdict),
        )

    def _answer(self, key: Key, seen: Seen | None) -> Cell:
        """When an experiment answered last. Silence is said as such, and is not a verdict."""
        at, _progress = self._run.progress.get(key, ("", None))
        if seen is None or not seen.watched:
            return Cell(self._clock(at) if at else "not asked yet", note="not watched now" if seen else "")
        if seen.over:
            return Cell("the job has ended")
        if seen.silent is None:
            return Cell("none yet", note=_OUTCOMES.get(seen.outcome, ""), tone="open")
        if seen.silent < SILENT_SECONDS and seen.outcome == "answered":
            return Cell("now")
        return Cell(f"{seconds(seen.silent)} ago", note=_OUTCOMES.get(seen.outcome, ""), tone="open")

    def _over_table(self) -> Table:
        flights = sorted(self._run.at_stage(Stage.OVER), key=lambda flight: flight.ended or "", reverse=True)
        rows = tuple(
            (
                Cell(f"{self._vm(flight)}{' (back)' if flight.back else ''}"),
                Cell(flight.host or ("not known" if flight.result != "gone" else "none")),
                Cell(
                    f"{_result(flight)}{f' by {flight.by}' if flight.by else ''}",
                    note=flight.why,
                    tone="good"
                    if has_moved(flight.result, flight.by)
                    else "open"
                    if flight.result == "not_started"
                    else "bad",
                ),
                Cell(self._clock(flight.ended), note=_took(flight)),
            )
            for flight in flights
        )
        return Table("over", "Moved, or not to be moved any more", ("VM", "Is on", "Result", "Ended"), rows)

    def _waiting_table(self) -> Table:
        rows = tuple(
            (
                Cell(self._vm(flight)),
                Cell(f"{flight.source} → {flight.target}"),
                Cell(seconds(flight.predicted), flight.stun, number=True),
            )
            for flight in self._run.at_stage(Stage.WAITING)
        )
        return Table("waiting", "Not started yet", ("VM", "Move", "Predicted"), rows)

    def _refusals(self) -> Table:
        rows = tuple(row for refusal in self._run.refusals.values() for row in self._reasons(refusal))
        return Table("refusals", "VMs that stay, and why", ("VM", "Reason", "Object", "What to do"), rows)

    def _reasons(self, refusal: VmRefused) -> Iterator[tuple[Cell, ...]]:
        name = display_name(refusal.vm.name, refusal.vm.moid, self._shared)
        for reason in refusal.reasons:
            yield Cell(name), Cell(reason.check.replace("_", " ")), Cell(reason.object), Cell(reason.hint)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Where the run is, and who carries it out."""
        run, start = self._run, self._run.start
        if start is None:
            return []
        found = [
            ("Run ID", start.run_id),
            ("Plan ID", start.plan_id or "none"),
            ("Fence (maintenance mode)", run.fence or ("not set yet" if start.purpose == "evacuate" else "none")),
            ("Stall budget", seconds(start.stall_budget)),
            ("Collection", f"liveml.vsphere {start.collection or '(version not known)'}"),
        ]
        if run.window is not None:
            found.insert(1, ("Window", f"{run.window.subject}, {seconds(run.window.seconds)} at most"))
        return found

    # words

    def _local(self, at: str) -> str:
        return local_moment(at or None, self._now.zone)

    def _clock(self, at: str | None) -> str:
        """A time of day in UTC, as in the live lines."""
        return "not seen" if not at else f"{at[11:19]} UTC"

    def _ago(self, at: str | None) -> str:
        return "not seen" if at is None else seconds(max(0.0, span(at, self._now.at) or 0.0))

    def _vm(self, flight: Flight) -> str:
        return display_name(flight.vm, flight.moid, self._shared)

    def _vm_name(self, experiment: Experiment) -> str:
        name = display_name(experiment.vm_name, experiment.vm, self._shared)
        return f"{name}, cluster {experiment.cluster}" if experiment.cluster else name

    def _name(self, experiment: Experiment) -> str:
        return f"{experiment.description or experiment.id} in {self._vm_name(experiment)}"


def _took(flight: Flight) -> str:
    took = span(flight.started, flight.ended) if flight.started else None
    return "" if took is None else f"after {seconds(took)}"


def _percent_cell(flight: Flight) -> Cell:
    """How far a move is, and what that means for it."""
    if flight.stage is Stage.UNSEEN:
        return Cell("not known", note="it began before the run was resumed", tone="open")
    note = "took too long, is being cancelled" if flight.cancelling else "on its target" if flight.switched else ""
    return Cell(f"{flight.percent} %", note=note, number=True, share=flight.percent / 100)


def _verdict_cell(verdict: VerdictReached | None) -> Cell:
    if verdict is None:
        return Cell("not yet")
    note = stall_text(encoded(verdict.longest_stall)) if verdict.longest_stall else ""
    return Cell(str(verdict.verdict), note=note, tone=tone(verdict.verdict))


def _result(flight: Flight) -> str:
    return "restarted" if is_restarted(flight.result, flight.by) else flight.result.replace("_", " ")
