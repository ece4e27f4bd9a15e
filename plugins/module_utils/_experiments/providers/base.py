# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface of providers, which find and query experiments of one kind. Providers only read."""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ..model import Experiment, Final, Sample
from ..training_clock import Point
from .probe import NO_ANSWER, UnusableAnswer

LONGEST_LOOK = 300.0  # seconds; so many runs as can be read in this time are looked at
GUEST_LOOK = 30.0  # the same for a server in a VM, which may be slow on purpose
ROOM = 256 << 20  # bytes of memory for what is remembered of the runs of a server
GUEST_ROOM = 2 << 20  # the same for a server in a VM; 16 of them are asked at a time
RUN_BYTES, MARK_BYTES = 300, 300  # of memory that a run and a mark take, besides their names
PAUSE_SECONDS = 0.25  # at least, between two looks


@dataclass(frozen=True, slots=True)
class Target:
    """A VM in which a source looks for experiments; ``address`` is empty if none is known or allowed.

    ``until`` (monotonic) is when a source that asks the VM itself must have found what it finds.
    """

    vm: str
    vm_name: str
    address: str
    until: float = math.inf

    @property
    def seconds_left(self) -> float:
        """Seconds until then, at least a tenth."""
        return max(0.1, self.until - time.monotonic())


@dataclass(frozen=True, slots=True)
class Searched:
    """What a source found in a VM: the experiments that advance now, and a sentence if there are none or there may be more.

    ``complete``: the source could look, so that it has no other experiment in the VM.
    """

    found: list[Experiment]
    detail: str = ""
    complete: bool = True


def names_one(patterns: Sequence[str]) -> bool:
    """Whether the patterns are the name of one VM."""
    return len(patterns) == 1 and not set(patterns[0]) & set("*?[")


class Session(Protocol):
    """Questions about one experiment, one at a time, from one thread."""

    max_hz: float
    """Questions per second above which answers contain nothing new."""

    max_hz_per_processor: float
    """Questions per second that one processor of the VM answers without costing its trainings more than about 1 %."""

    def sample(self) -> Sample:
        """Ask once. Never raises for an error of a server, a network or a program."""

    def interrupt(self) -> None:
        """Wake the thread that waits for an answer; called from another thread."""

    def close(self) -> None:
        """Close connections and programs."""


class Source(ABC):
    """One place where experiments are found: a kind of provider with its settings.

    What few providers know is answered with "unknown" here; a provider overrides what it knows.
    """

    provider: ClassVar[str]
    needs: ClassVar[str] = ""
    """The option of ``experiments.sources`` that the source requires.

    Empty: the provider is not a choice of ``experiments.sources``. It looks into every VM, unless the option with its
    own name is false.
    """
    names_its_vm: ClassVar[bool] = True
    """Whether the provider itself reports the VM of an experiment; if not, only the settings can say it."""
    url = ""
    """Template of the URLs of its servers, empty if it has no URL."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    @property
    def in_guest(self) -> bool:
        """Whether the source is asked at an address inside the VM (and credentials go there)."""
        return "{address}" in self.url

    def server_named_by(self, target: Target) -> str:
        """The server that the name of a VM chooses; "" if the settings choose it. Raises UnusableAddress."""
        return ""

    @property
    def longest_look(self) -> float:
        """Seconds that one look at all runs of a server may last."""
        return GUEST_LOOK if self.in_guest else LONGEST_LOOK

    @property
    def room(self) -> int:
        """Bytes of memory for what is remembered of the runs of a server."""
        return GUEST_ROOM if self.in_guest else ROOM

    @abstractmethod
    def discover(self, target: Target) -> Searched:
        """Look for experiments that advance in a VM now. Never raises for an error of a guest."""

    @abstractmethod
    def session(self, experiment: Experiment) -> Session:
        """A session for an experiment of this provider, even if only the journal knows it."""

    def recovery(self, experiment: Experiment) -> tuple[str, str]:
        """Whether it could be recovered after a loss (``yes``, ``no``, ``unknown``), and how or why not."""
        return "unknown", f"provider {self.provider} does not report checkpoints"

    def reproducible(self, experiment: Experiment) -> tuple[str, str]:
        """Whether the same seed and data would give the same model (``yes``, ``no``, ``unknown``), and why."""
        return "unknown", f"provider {self.provider} does not report how the training draws its random numbers"

    def final(self, experiment: Experiment) -> Final | None:
        """How it ended and what its result is; ``None`` if that is not recorded. Never raises for a server."""
        return None

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """When steps ``first`` to ``last`` were done by the training's own clock; empty if that is not recorded.

        Never raises for a server.
        """
        return []


def progress_at(step: float | None, total_steps: int | None) -> float | None:
    """Share of the training that is done, if both figures are known.

    More steps than there are show that the number is not that of this training, so its share is not known. Some count one too many.
    """
    if step is None or not total_steps or step > total_steps + 1:
        return None
    return min(1.0, max(0.0, step / total_steps))


Mark = tuple[float, float]  # the last step of a series, and the time of it by any clock


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw of a run that may be an experiment.

    ``marks`` is the progress of each of its series, by name. ``None``: it could not be read.
    """

    experiment: Experiment
    marks: Mapping[str, Mark] | None


@dataclass(frozen=True, slots=True)
class Advance:
    """A run that advanced, as a later look saw it, and the marks of the series that changed since the first look.

    ``before`` are the marks of the first look.
    """

    experiment: Experiment
    changed: Mapping[str, Mark]
    before: Mapping[str, Mark]


# What a monitor beside the training logs: it does not die with the training.
OF_A_MONITOR = re.compile(
    r"(?i)(?:^|[^a-z])(?:gpus?|cpus?|v?ram|mem(?:ory)?|disk|net(?:work)?|power|temp(?:erature)?|fan|uptime|heartbeat"
    r"|util(?:i[sz]ation)?)(?:[^a-z]|$)"
)


def is_clock(before: Mark | None, after: Mark) -> bool:
    """Whether the steps of a series are the time at which they were done, in any unit: then they show no work."""
    if before is None:
        return False
    (step, at), (later, later_at) = before, after
    usual = (later_at - at) * later / later_at if later_at > 0 else 0.0
    return usual > 0.05 and abs(later - step - usual) <= max(1.5, 0.1 * usual)


def doubt(name: str, before: Mark | None, after: Mark) -> int:
    """How likely a series is that of a monitor: 2 by its name, 1 if its steps are the seconds since its start, else 0.

    A training may do one step per second, too, so the name says more.
    """
    if OF_A_MONITOR.search(name) is not None:
        return 2
    steps, time_units = (after[0] - before[0], after[1] - before[1]) if before is not None else (0.0, 0.0)
    return int(steps >= 2 and any(abs(steps - time_units / unit) <= 1 for unit in (1.0, 1000.0)))


@dataclass(frozen=True, slots=True)
class Search:
    """The runs that advanced, and how much was looked at.

    ``runs`` were seen; ``unread`` of them could not be read in any look. ``whole`` is whether a look reached the last one
    within ``longest`` seconds, ``full`` whether one did not because there are too many.
    """

    found: tuple[Advance, ...]
    runs: int
    unread: int
    whole: bool
    longest: float = LONGEST_LOOK
    full: bool = False

    @property
    def detail(self) -> str:
        """What limits the search, to be added to a sentence; "" if nothing does."""
        parts = [f"{self.unread} of them could not be read"] if self.unread else []
        if not self.whole:
            why = "because there are too many" if self.full else f"in {self.longest:.0f} s"
            parts.append(f"more could not be looked at {why}")
        return "".join(f"; {part}" for part in parts)


Look = Callable[[Container[str]], Iterable[Seen]]


class Runs:
    """What was seen of runs so far, in ``room`` bytes of memory."""

    def __init__(self, room: int, *, is_named: bool = False) -> None:
        self._is_named = is_named
        self._doubtful: dict[str, Advance] = {}
        self.first: dict[str, Mapping[str, Mark]] = {}
        self.found: dict[str, Advance] = {}
        self.unread: set[str] = set()
        self.full = False
        self._room = room

    @property
    def known(self) -> set[str]:
        """All runs that were seen."""
        return self.first.keys() | self.unread

    def notice(self, seen: Seen) -> bool:
        """Compare what a look saw of a run with what the first look saw of it. False if there is no room for the run."""
        key = seen.experiment.asked_id
        if key not in self.first and not self._has_room(key, seen.marks):
            self.full = True
            return False
        if seen.marks is None:
            self.unread.add(key)
            return True
        before = self.first.setdefault(key, seen.marks)
        changed = {
            name: mark
            for name, mark in seen.marks.items()
            if before.get(name) != mark and (self._is_named or not is_clock(before.get(name), mark))
        }
        if changed and key not in self.found:
            sure = self._is_named or not all(doubt(name, before.get(name), changed[name]) for name in changed)
            (self.found if sure else self._doubtful)[key] = Advance(seen.experiment, changed, before)
        return True

    def all_found(self) -> tuple[Advance, ...]:
        """What advanced; of a run of which only a monitor's series may have advanced, that."""
        return tuple((self._doubtful | self.found).values())

    def _has_room(self, key: str, marks: Mapping[str, Mark] | None) -> bool:
        new = 0 if key in self.unread else RUN_BYTES + len(key)
        new += sum(MARK_BYTES + len(name) for name in marks or ())
        self._room -= new
        return self._room >= 0


def advancing(
    look: Look,
    seconds: float,
    *,
    longest: float = LONGEST_LOOK,
    room: int = ROOM,
    is_named: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """The runs whose progress changes between the first look and one that begins up to ``seconds`` after its end.

    Servers that only keep records show a killed run as running forever, so a run that does not advance is not an
    experiment. There may be tens of thousands of them, so ``look`` reads all with few questions; it may omit those whose
    ids are in the given container. A look ends after ``longest`` seconds, or when ``room`` bytes of memory are used, so the search
    is bounded. A series whose steps are a clock counts only if the settings name
    it (``is_named``). Only the first look must succeed: a server or its proxy may be busy in a later one. Raises NO_ANSWER or
    UnusableAnswer if the last look failed, too, before a run was found.
    """
    runs = Runs(room, is_named=is_named)
    whole = False
    error: Exception | None = None
    end: float | None = None
    while True:
        began = clock()
        try:
            error = None
            for seen in look(runs.found):
                if not runs.notice(seen) or clock() - began > longest:
                    break
            else:
                whole = True
        except (UnusableAnswer, *NO_ANSWER) as failed:
            if end is None:
                raise
            error = failed
        if len(runs.found) == len(runs.known) or (end is not None and began >= end):
            break
        end = clock() + seconds if end is None else end
        # A look at many runs keeps the server busy, so there is a pause of the same length. The last look is at the end.
        time.sleep(min(max(PAUSE_SECONDS, clock() - began), max(0.0, end - clock())))
    advanced = runs.all_found()
    if error is not None and not advanced:
        raise error
    unread = len(runs.unread - runs.first.keys())
    return Search(advanced, len(runs.known), unread, whole and not runs.full, longest, runs.full)
