# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rollback: moves VMs back to the hosts where the run took them from.

It works from the journal and from where VMs are observed, so that a killed rollback can be resumed. It is planned
like any other move: a source that cannot take a VM back is a refusal with its reasons, and the VM stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from .._plan.homes import is_machine
from .._plan.model import Plan, PlanRequest, Policy, StorageRequest
from .._plan.planner import make_plan
from .._vsphere.estate import Estate
from .._vsphere.faults import advice_on
from .._vsphere.home_attribute import Home
from .._vsphere.news import PlacementUpdate
from .events import (
    HomeCleared,
    HomeClearing,
    MovePlanned,
    Ref,
    RollingBack,
    VmRefused,
)
from .executor import SOMEBODY, Executor, counts_as_failure, failures_of
from .home_records import record_home
from .journal import Journal, read_journal
from .model import (
    Account,
    MoveResult,
    Outcome,
    RolledBack,
    Rules,
)
from .ports import ExperimentWatch, Vcenter
from .sight import Sight
from .state import MoveRecord, RunState, replay

FILES_UNKNOWN = "vCenter does not say where its files are"
NOWHERE: Mapping[int, str] = MappingProxyType({})


def rollback_reason(outcome: Outcome, rules: Rules) -> str:
    """Why a run must be rolled back, "" if it must not.

    It stopped, or experiments that were fine after their own move were interrupted while others moved. Without
    ``stop_on_verdict`` experiments do not count, and for moves see ``counts_as_failure``.
    """
    if not rules.roll_back or outcome.interrupted:
        return ""
    ended = tuple(each for each in outcome.ended if counts_as_failure(each, rules))
    judgements = outcome.judgements if rules.stop_on_verdict else ()
    failures = failures_of(replace(outcome, ended=ended, judgements=judgements))
    return outcome.stopped or (failures[0] if failures and len(failures) >= rules.max_failures else "")


def plan_return(estate: Estate, state: RunState) -> Plan:
    """The plan that brings back each VM that the run moved away and that is still where the run put it, or DRS or HA for it.

    What a person moved away before its turn stays there.
    No headroom: a source has room for what it carried. A way back that is in flight is adopted. Its numbers follow those of the run.
    """
    away = [
        record
        for record in state.moves.values()
        if (record.submitting or record.result is MoveResult.MOVED)
        and not _person(record)
        and record.vm in estate.vms
        and record.move.has_arrived(estate.vms[record.vm].host, estate.vms[record.vm].places)
    ]
    flying = {record.vm: record.task for record in state.back.values() if record.in_flight}
    tasks = {r.vm: task for r in away if r.vm in flying and (task := estate.vms[r.vm].moving_task)}
    request = PlanRequest(
        vms=tuple(record.vm for record in away),
        policy=Policy.ANY,
        destinations={record.vm: record.source for record in away},
        memory_headroom=0.0,
        cpu_headroom=0.0,
        storage=StorageRequest(
            homes={record.vm: record.move.sources for record in away if record.parts},
            moving={record.vm: record.move.sources for record in away if record.parts and record.vm in tasks},
            home_policies={record.vm: {part.key: part.policy_before for part in record.parts} for record in away},
        ),
        places={record.vm: record.place_before for record in away if record.place_before is not None},
        moving={r.vm: (r.source, tasks[r.vm]) for r in away if r.vm in tasks},
        inferred=frozenset(vm for vm, task in tasks.items() if flying[vm] != task),
    )
    plan = make_plan(estate, request)
    used = max((record.number for record in (*state.moves.values(), *state.back.values())), default=0)
    moves = []
    for move in plan.moves:
        used += move.vm not in state.back
        number = state.back[move.vm].number if move.vm in state.back else used
        moves.append(replace(move, number=number, why=f"back to where this run found it; {move.why}"))
    return replace(plan, moves=tuple(moves))


def account_of(
    record: MoveRecord,
    back: MoveRecord | None,
    host: tuple[str, str] | None,
    refusal: str,
    places: Mapping[int, str] = NOWHERE,
    *,
    unknown: str = "",
    may_move: bool = False,
    why_unseen: str = "",
) -> Account:
    """The account of one VM; ``host`` is where it was observed (MoID, name), ``refusal`` is why no way back was planned.

    ``places`` are the datastores (MoIDs) of its parts, by their keys. ``unknown`` is why its host could not be observed;
    ``may_move``: a task that moves it was not seen to end, or it could not be read whether there is one, which ``why_unseen`` says.
    """
    if host is None:
        return Account(record.vm, record.vm_name, "", "unknown" if unknown else "gone", unknown)
    moid, name = host
    if may_move:
        return Account(record.vm, record.vm_name, name, "may_move", why_unseen or _reason(back or record))
    if moid == record.source and places.items() >= record.move.sources.items():
        if record.result is MoveResult.MOVED or back is not None:
            return Account(record.vm, record.vm_name, name, "back")
        return Account(record.vm, record.vm_name, name, "never_left", _reason(record))
    if record.move.has_arrived(moid, places):
        by = _person(record)
        moved = f"{by} moved it there" if by else ""
        return Account(
            record.vm, record.vm_name, name, "stayed", moved or refusal or ("" if back is None else _reason(back))
        )
    return Account(record.vm, record.vm_name, name, "elsewhere")


def _person(record: MoveRecord) -> str:
    """Who moved the VM if it was neither this run nor a machine for it, "" if that is not known."""
    return "" if record.by == SOMEBODY or is_machine(record.by) else record.by


def _reason(record: MoveRecord) -> str:
    result = str(record.result or MoveResult.NOT_STARTED).replace("_", " ")
    advice = advice_on(record.fault)
    fault = f"{record.fault}, {advice}" if advice else record.fault
    return f"{result}: {fault}" if fault else result


def home_after(home: Home, record: MoveRecord) -> Home | None:
    """The home of a VM that is back on its source: none if the source is its home, else its home as before this run."""
    if home.host == record.source and home.datastores.items() <= {**home.datastores, **record.move.sources}.items():
        return None
    sources = record.move.sources
    files = tuple(replace(file, target=sources.get(file.part, file.target)) for file in home.files)
    source = record.source_vcenter
    return replace(home, target=record.source, target_name=record.source_name, target_vcenter=source, files=files)


def _never_ended(state: RunState, seen: Mapping[str, PlacementUpdate]) -> set[str]:
    """VMs (MoIDs) whose last move was given up while its task may still have run, and that are not on its target."""
    given_up = [each for each in {**state.moves, **state.back}.values() if each.result is MoveResult.TIMED_OUT]
    return {each.vm for each in given_up if each.vm in seen and seen[each.vm].host != each.target}


class Rollback:
    """Rolls back the run of a journal. ``lift_fence`` lifts the run's own fence, and returns what went wrong, or ""."""

    def __init__(
        self,
        vcenter: Vcenter,
        watch: ExperimentWatch,
        journal: Journal,
        rules: Rules,
        *,
        lift_fence: Callable[[], str],
        interrupted: Callable[[], bool],
    ) -> None:
        self._vcenter = vcenter
        self._watch = watch
        self._journal = journal
        self._rules = replace(rules, stop_on_failure=False)
        self._lift_fence = lift_fence
        self._interrupted = interrupted
        self._sight = Sight(vcenter, interrupted=interrupted, clock=time.monotonic, sleep=time.sleep)

    def carry_out(self, reason: str, watched: tuple[str, ...]) -> RolledBack:
        """Announce, lift the fence, bring back, correct homes, account for every VM."""
        state = self._state()
        if not state.rolling_back:
            self._journal.write(RollingBack(reason))
        fence = self._lift_fence()
        moved = tuple(state.moves)
        estate = self._sight.insist("estate", lambda: self._vcenter.estate(devices_of_vms=moved))
        if profiles := estate.vgpus_of(state.moves):
            estate = self._sight.insist("graphics", partial(self._vcenter.graphics, estate, profiles))
        plan = plan_return(estate, state)
        for move in plan.moves:
            self._journal.write(MovePlanned.of(move, back=True))
        for refusal in plan.refusals:
            self._journal.write(VmRefused.of(refusal))
        executor = Executor(
            self._vcenter,
            self._watch,
            self._journal,
            self._rules,
            hosts=estate.hosts,
            interrupted=self._interrupted,
        )
        outcome = executor.run(plan, watched)
        return RolledBack(outcome, self._accounts(plan, estate, fence))

    def _state(self) -> RunState:
        state = replay(read_journal(self._journal.path).entries)
        if state is None:
            raise AssertionError("a rollback has a journal that begins with run_started")
        return state

    def _accounts(self, plan: Plan, estate: Estate, fence: str) -> tuple[Account, ...]:
        state = self._state()
        vms = tuple(dict.fromkeys((*state.moves, *(home.vm for home in state.homes))))
        seen = self._sight.placement(vms)
        moving = {**dict.fromkeys(_never_ended(state, seen), ""), **self._sight.may_move(vms)}
        stored = [record.vm for record in state.moves.values() if record.parts]
        places = {vm: parts for vm in stored if (parts := self._sight.places(vm)) is not None}
        seen |= {vm: PlacementUpdate(vm, None, unknown=FILES_UNKNOWN) for vm in stored if vm not in places}
        # A VM that may still move needs its home.
        self._correct_homes(state, {vm: place.host for vm, place in seen.items() if vm not in moving}, places)
        refusals = {
            r.vm: fence or "; ".join(f"{x.check} ({x.object}): {x.hint}" for x in r.reasons) for r in plan.refusals
        }
        found = []
        for record in sorted(state.moves.values(), key=lambda r: r.vm_name):
            vm, now = record.vm, seen.get(record.vm, PlacementUpdate(record.vm, None))
            account = account_of(
                record,
                state.back.get(vm),
                None if now.host is None else (now.host, estate.host_name(now.host)),
                refusals.get(vm, ""),
                places.get(vm, NOWHERE),
                unknown=now.unknown,
                may_move=vm in moving,
                why_unseen=moving.get(vm, ""),
            )
            found.append(account)
        return tuple(found)

    def _correct_homes(
        self, state: RunState, hosts: Mapping[str, str | None], places: Mapping[str, Mapping[int, str]]
    ) -> None:
        for home in state.homes:
            record = state.moves.get(home.vm)
            if record is None:
                if hosts.get(home.vm) == home.host:
                    self._clear_home(Ref(home.vm, home.vm_name), home)
                continue
            if hosts.get(home.vm) != record.source:
                continue
            if not places.get(home.vm, NOWHERE).items() >= record.move.sources.items():
                continue
            vm = Ref(record.vm, record.vm_name)
            after = home_after(home, record)
            if after is None:
                self._clear_home(vm, home)
            else:
                record_home(self._vcenter, self._journal, vm, after)

    def _clear_home(self, vm: Ref, home: Home) -> None:
        """Clear the home of a VM. If its attribute, which has it, could not be cleared, the journal does not say that it was."""
        self._journal.write(HomeClearing(vm))
        if self._vcenter.clear_home(vm.moid) or not home.in_attribute:
            self._journal.write(HomeCleared(vm))
