# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds experiments in VMs, in parallel, at addresses that the guests report or the operator sets."""

from __future__ import annotations

import fnmatch
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._core.errors import Ambiguous, ExperimentError, InvalidInput
from .._core.untrusted import printable
from .._vsphere.estate import IDLE, Estate, VmState
from .clusters import key_of, merged, possible_cluster_members
from .finished_models import (
    Exported,
    Exporter,
    ExportRequest,
)
from .model import Conclusion, Discovery, Experiment, Final, Judgement, ProgressListener, Sample, Verdict
from .own_ids import with_own_ids
from .providers.base import Searched, Session, Source, Target
from .providers.probe import UnusableAddress, addresses_of
from .providers.sources import Scoped, sources_of, warnings_of
from .reach import Reach
from .training_clock import Gap, largest_gap
from .watch import Watch

_WORKERS = 16
_FINAL_WORKERS = 3  # a finished model may have megabytes
PATIENCE_SECONDS = 30.0  # for questions about what a source found in a VM
GUEST_SECONDS = 60.0  # for all questions to the servers in a VM, besides the time that an experiment needs to advance
TOO_SLOW = ("unknown", "not asked: the server answers too slowly")
MAX_EXPERIMENTS = 64  # in one VM: each has its own thread


@dataclass(frozen=True, slots=True)
class Observation:
    """What discovery found in a VM: experiments, or a sentence why there are none.

    ``unseen`` is a sentence why there may be other ones than those that were found; "" if each source could look.
    """

    vm: VmState
    experiments: tuple[Experiment, ...]
    detail: str
    unseen: str = ""


def of_one_vm_each(observations: Iterable[Observation], twins: Iterable[Observation] = ()) -> list[Observation]:
    """The observations, without experiments that were found for several VMs of one name: a tracker knows VMs by their names.

    ``twins`` are what was found for other VMs that have one of these names.
    """
    seen = list(observations)
    places: dict[tuple[str, ...], set[str]] = {}

    def place(vm: VmState, found: Experiment) -> tuple[str, ...]:
        return (vm.name, found.provider, found.url, found.asked_id, found.metric)

    for vm, each in ((o.vm, e) for o in (*seen, *twins) for e in o.experiments):
        places.setdefault(place(vm, each), set()).add(vm.moid)

    def told_apart(o: Observation) -> Observation:
        own = tuple(e for e in o.experiments if len(places[place(o.vm, e)]) == 1)
        if len(own) == len(o.experiments):
            return o
        detail = f"several VMs are named {o.vm.name}, and their experiments cannot be distinguished"
        if not own:
            return replace(o, experiments=(), detail=detail, unseen="")
        return replace(o, experiments=own, unseen="; ".join(filter(None, (detail, o.unseen))))

    return [told_apart(o) for o in seen]


class Providers:
    """Everything a run asks of experiments, with the module option ``experiments`` as its settings.

    ``warnings`` are sentences about the settings for the person who runs the module. Raises InvalidInput for settings that make no sense.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._reach = Reach(settings)
        self._sources = sources_of(settings)
        self.warnings = warnings_of(settings)

    def observe(self, vms: list[VmState], *, among: Iterable[VmState] = ()) -> list[Observation]:
        """Look into each VM, several at a time. ``among``: all VMs, of which some may have the same name as one of ``vms``."""
        if not self._settings["enabled"]:
            return [Observation(vm, (), "experiments.enabled is false") for vm in vms]
        with ThreadPoolExecutor(_WORKERS) as pool:
            seen = list(pool.map(self._observe, vms))
            return of_one_vm_each(seen, pool.map(self._known_by_name, self._twins(seen, among)))

    def _twins(self, seen: Iterable[Observation], among: Iterable[VmState]) -> list[VmState]:
        """The other VMs that may run and share the name of one for which a server outside of it knows an experiment."""
        outside = {scoped.origin for scoped in self._sources if not scoped.source.in_guest}
        names = {o.vm.name for o in seen if any(e.source in outside for e in o.experiments)}
        known = {o.vm.moid for o in seen}
        return [vm for vm in among if vm.name in names and vm.moid not in known and vm.power not in IDLE]

    def _known_by_name(self, vm: VmState) -> Observation:
        """What servers outside of a VM know of it. The VM itself is not asked."""
        asked = [scoped for scoped in self._sources if not scoped.source.in_guest and scoped.covers(vm.moid, vm.name)]
        return Observation(vm, tuple(e for scoped in asked for e in self._asked(scoped, vm, math.inf).found), "")

    def refuse_shared_names(self, vms: Iterable[VmState]) -> None:
        """Raise Ambiguous if the settings name a VM by a name that several of all ``vms`` have."""
        names = Counter(vm.name for vm in vms)
        known = {vm.moid: vm.name for vm in vms}
        given = [(f"addresses.{name}", name) for name in self._settings["addresses"]]
        for number, source in enumerate(self._settings["sources"]):
            given += [(f"sources[{number}].vms", name) for name in source["vms"] or ()]
        for option, name in given:
            if names[name] > 1 and name not in known:
                twins = tuple(sorted(moid for moid, each in known.items() if each == name))
                raise Ambiguous(
                    f"{names[name]} VMs are named {name}, and experiments.{option} would mean each of them",
                    candidates=twins,
                    hint=f"Give the MoID of one of them instead: {', '.join(twins)}",
                    option="experiments",
                )

    def discover(self, estate: Estate, vms: tuple[str, ...]) -> Discovery:
        """See ``Observer`` in ``_run/ports.py``."""
        seen = self.observe([estate.vms[vm] for vm in vms], among=estate.vms.values())
        experiments = tuple(e for observation in seen for e in observation.experiments)
        members = self._members_elsewhere(estate, experiments)
        return Discovery(
            (*experiments, *members),
            {o.vm.moid: o.detail for o in seen if not o.experiments},
            {o.vm.moid: o.unseen for o in seen if o.unseen},
        )

    def _members_elsewhere(self, estate: Estate, experiments: tuple[Experiment, ...]) -> tuple[Experiment, ...]:
        """Members of the experiments' clusters in VMs that do not move."""
        patterns = self._settings["cluster_vms"]
        vms = possible_cluster_members(experiments, estate.vms.values(), given=self._reach.given, patterns=patterns)
        keys = {key_of(experiment) for experiment in experiments}
        return tuple(
            e for seen in self.observe(vms, among=estate.vms.values()) for e in seen.experiments if key_of(e) in keys
        )

    def watch(
        self, experiments: tuple[Experiment, ...], folder: Path, listener: ProgressListener, *, whole: bool = False
    ) -> Watch:
        """See ``Observer`` in ``_run/ports.py``."""
        return Watch(
            [(experiment, self._session(experiment)) for experiment in experiments],
            folder,
            stall_budget=self._settings["stall_budget"],
            settle_timeout=self._settings["settle_timeout"],
            baseline=self._settings["baseline"],
            listener=listener,
            whole=whole,
        )

    def final(self, judgement: Judgement) -> Final | None:
        """How an experiment ended; ``None`` if it has not ended or its provider does not report the end."""
        if judgement.verdict not in (Verdict.COMPLETED, Verdict.FAILED):
            return None
        return self._source(judgement.experiment).final(judgement.experiment)

    def collect_final_results(
        self, judgements: Iterable[Judgement], samples: Mapping[tuple[str, str], list[Sample]]
    ) -> list[Conclusion]:
        """See ``Observer`` in ``_run/ports.py``."""

        def concluded(judgement: Judgement) -> Conclusion:
            experiment = judgement.experiment
            gap = self._training_clock(experiment, samples.get((experiment.vm, experiment.id), []))
            return Conclusion(experiment, self.final(judgement), gap)

        with ThreadPoolExecutor(_FINAL_WORKERS) as pool:
            found = list(pool.map(concluded, merged(judgements)))
        return [each for each in found if each.final or each.training_clock]

    def _training_clock(self, experiment: Experiment, samples: list[Sample]) -> Gap | None:
        """The largest gap between watched steps, by the training's own clock."""
        steps = [s.step for s in samples if s.step is not None]
        if not steps:
            return None
        return largest_gap(self._source(experiment).history(experiment, min(steps), max(steps)))

    def _observe(self, vm: VmState) -> Observation:
        if vm.power in IDLE:
            return Observation(vm, (), "the VM is not powered on")
        found: list[Experiment] = []
        details, unseen = [], []
        until = time.monotonic() + GUEST_SECONDS
        for scoped in self._sources:
            if scoped.covers(vm.moid, vm.name):
                seen = self._asked(scoped, vm, until if scoped.source.in_guest else math.inf)
                end = time.monotonic() + PATIENCE_SECONDS
                room = max(1, MAX_EXPERIMENTS - len(found))
                found += [self._completed(scoped, e, vm, end) for e in truncate(seen.found, room)]
                details.append(seen.detail)
                unseen += [] if seen.complete else [seen.detail]
        if not found:
            return Observation(vm, (), printable("; ".join(filter(None, details))) or "no source covers this VM")
        return Observation(vm, tuple(with_own_ids(found)), "", printable("; ".join(unseen)))

    def _asked(self, scoped: Scoped, vm: VmState, until: float) -> Searched:
        address, why_not = self._reach.address_of(vm, credentials=scoped.sends_credentials)
        if scoped.source.in_guest and why_not:
            return Searched([], why_not, complete=False)
        target = Target(vm.moid, vm.name, address, until)
        try:
            server = scoped.source.server_named_by(target)
            why_not = self._reach.why_not_named(server, addresses_of(server)) if server else ""
            return Searched([], why_not, complete=False) if why_not else scoped.source.discover(target)
        except UnusableAddress as error:
            return Searched([], str(error), complete=False)

    def _completed(self, scoped: Scoped, experiment: Experiment, vm: VmState, end: float) -> Experiment:
        """The experiment with all details; asks until ``end`` (monotonic), so that a slow server does not delay a run."""
        source = scoped.source
        reproducible, why = source.reproducible(experiment) if time.monotonic() < end else TOO_SLOW
        known = replace(
            experiment,
            owner=self._owner(experiment, vm),
            processors=vm.cpus if source.in_guest else 0,
            source=scoped.origin,
            reproducible=reproducible,
            reproducibility=why,
        )
        if self._settings["require_checkpoint"] == "never":
            return known
        recoverable, recovery = source.recovery(known) if time.monotonic() < end else TOO_SLOW
        return replace(known, recoverable=recoverable, recovery=recovery)

    def _owner(self, experiment: Experiment, vm: VmState) -> str:
        """The operator's map first, then what the provider says, then the VM's custom attribute."""
        for pattern, owner in self._settings["owners"].items():
            if fnmatch.fnmatchcase(vm.name, pattern):
                return str(owner)
        return experiment.owner or vm.attributes.get(self._settings["owner_attribute"], "")

    def _session(self, experiment: Experiment) -> Session:
        """A session of the source that found the experiment, even if only the journal knows it."""
        return self._source(experiment).session(experiment)

    def exports(self, experiment: Experiment) -> bool:
        """Whether the experiment's provider has finished models to fetch. Raises InvalidInput without its source."""
        return isinstance(self._source(experiment), Exporter)

    def export(self, experiment: Experiment, request: ExportRequest, folder: Path) -> Exported:
        """Fetch the finished model of an experiment in the journal. Raises ExperimentError or InvalidInput."""
        source = self._source(experiment)
        if not isinstance(source, Exporter):
            raise ExperimentError(
                f"{experiment.vm_name}: provider {experiment.provider} has no finished model to fetch",
                hint="Copy the model from where the training stores it",
            )
        return source.export(experiment, request, folder)

    def _source(self, experiment: Experiment) -> Source:
        """The source that found the experiment, even if only the journal knows it. Raises InvalidInput."""
        fits = [
            s
            for s in self._sources
            if s.source.provider == experiment.provider and s.covers(experiment.vm, experiment.vm_name)
        ]
        own = [scoped for scoped in fits if experiment.source in (scoped.origin, "")]
        if len({scoped.origin for scoped in own}) == 1:  # of several that ask the same, the first one found it
            self._reach.check_no_leak(own[0], experiment)
            return own[0].source
        raise InvalidInput(
            f"No matching source of provider {experiment.provider} for the experiment in {experiment.vm_name}",
            hint="Set experiments to the values with which the run was started",
            option="experiments",
        )


def truncate(experiments: list[Experiment], count: int) -> list[Experiment]:
    """The first ``count``; the description of the last one says how many more there are."""
    if len(experiments) <= count:
        return experiments
    last, more = experiments[count - 1], len(experiments) - count
    return [*experiments[: count - 1], replace(last, description=f"{last.description} ({more} more are not watched)")]
