# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface of providers, which find and query experiments of one kind. Providers only read."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from ..model import Experiment, Final, Sample
from ..training_clock import Point

MAX_CONNECTIONS = 16  # that a search keeps open to one server


@dataclass(frozen=True, slots=True)
class Target:
    """A VM in which a source looks for experiments; ``address`` is empty if none is known or allowed."""

    vm: str
    vm_name: str
    address: str


def names_one(patterns: Sequence[str]) -> bool:
    """Whether the patterns are the name of one VM."""
    return len(patterns) == 1 and not set(patterns[0]) & set("*?[")


class Session(Protocol):
    """Questions about one experiment, one at a time, from one thread."""

    max_hz: float
    """Questions per second above which answers contain nothing new."""

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

    @abstractmethod
    def discover(self, target: Target) -> tuple[list[Experiment], str]:
        """Experiments that advance in a VM now, or none and a sentence why. Never raises for an error of a guest."""

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
    """Share of the training that is done, if both figures are known."""
    return min(1.0, step / total_steps) if step is not None and total_steps else None


def advancing(
    candidates: list[tuple[Experiment, Session]], seconds: float, *, clock: Callable[[], float] = time.monotonic
) -> list[Experiment]:
    """The candidates whose step or progress changes within ``seconds``; sessions are closed.

    Servers that only keep records show a killed run as running forever, so a run that does not advance is not an
    experiment. There may be thousands of them, but a process has only hundreds of connections. So connections stay open
    only with few candidates.
    """
    keep = len(candidates) <= MAX_CONNECTIONS
    first: dict[int, Sample] = {}
    found: dict[int, Experiment] = {}
    end = clock() + seconds
    while len(found) < len(candidates) and clock() < end:
        for index, (experiment, session) in enumerate(candidates):
            if index in found or clock() >= end:
                continue
            sample = session.sample()
            if not keep:
                session.close()
            if sample.outcome != "answered":
                continue
            seen = first.setdefault(index, sample)
            if (sample.step, sample.progress) != (seen.step, seen.progress):
                found[index] = replace(
                    experiment, process=sample.process or experiment.process, progress=sample.progress
                )
        time.sleep(0.25)
    for _experiment, session in candidates:
        session.close()
    return [found[index] for index in sorted(found)]
