# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run needs besides vCenter: a watch, a journal, a clock; and the run itself, as the role does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Conclusion,
    Discovery,
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    PlanRequest,
    Scope,
    SlotLimits,
    StorageRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Event
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose, Rules, RunReport, RunRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import carry_out
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    files_in_flight,
    moves_in_flight,
    runs_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Maintenance

from tests.doubles.vcenter import SOURCE, STORES, World


class Watching:
    """Observer and watch in one; the experiments of ``harmed`` VMs have failed, or what ``verdict`` says, once judged."""

    def __init__(self, *harmed: str, verdict: Verdict = Verdict.FAILED, unwatched: float = 0.0) -> None:
        self.harmed, self.verdict, self.unwatched = harmed, verdict, unwatched

    def discover(self, estate: Estate, vms: tuple[str, ...]) -> Discovery:
        found = tuple(Experiment(vm, vm, "h2o3", "job", "1", "http://x") for vm in self.harmed if vm in vms)
        return Discovery(found, partly_searched=dict.fromkeys((e.vm for e in found), "http://mlflow: no answer"))

    def watch(self, *_arguments: Any, **_options: Any) -> AbstractContextManager[Watching]:
        return nullcontext(self)

    def collect_final_results(self, *_arguments: Any) -> list[Conclusion]:
        return []

    def baseline(self) -> None: ...

    def focus(self, vm: str) -> None: ...

    def moved(self, vm: str) -> None: ...

    def settled(self, vm: str) -> bool:
        return True

    def judge(self, vm: str) -> tuple[Judgement, ...]:
        if vm not in self.harmed:
            return ()
        experiment = Experiment(vm, vm.replace("vm", "ml"), "h2o3", "job", "1", "http://x")
        claims = ("proven", "proven", "unknown" if self.unwatched else "proven")
        return (Judgement(experiment, self.verdict, *claims, None, None, 0.1, 0.1, unwatched_seconds=self.unwatched),)


class ScriptedWatch:
    """A watch whose verdicts are known before; ``calls`` is what it was asked."""

    def __init__(
        self, verdicts: dict[str, Verdict] | None = None, identity: str = "proven", progress: str = "proven"
    ) -> None:
        self.verdicts = verdicts or {}
        self.identity, self.progress = identity, progress
        self.calls: list[tuple[str, str]] = []

    def focus(self, vm: str) -> None:
        self.calls.append(("focus", vm))

    def moved(self, vm: str) -> None:
        self.calls.append(("moved", vm))

    def settled(self, vm: str) -> bool:
        assert ("moved", vm) in self.calls
        return True

    def judge(self, vm: str) -> tuple[Judgement, ...]:
        if vm not in self.verdicts:
            return ()
        experiment = Experiment(vm, vm, "h2o3", "job", "1", "http://x")
        stall = Stall(0.4, 0.38, 0.43)
        return (
            Judgement(
                experiment, self.verdicts[vm], self.identity, self.progress, "proven", stall, 0.2, 0.1, 0.2, detail=""
            ),
        )


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: Event) -> None:
        self.events.append({"event": event.kind, **event.to_json()})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


class Clock:
    """Each look at it takes 10 ms; sleeping takes no time at all."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(
    world: World,
    state: Path,
    watching: Watching | None = None,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    rules: Rules | None = None,
    listener: Callable[[dict[str, Any]], object] = line,
) -> RunReport:
    """Plan and carry out as the role does."""
    estate = world.estate()
    request = PlanRequest(
        vms=tuple(vm for vm, host in world.where.items() if host == SOURCE),
        moving={
            vm: (target, estate.vms[vm].moving_task or "")
            for vm, (target, _task) in moves_in_flight(runs_of(state, "uuid")).items()
            if vm in estate.vms and estate.vms[vm].moving_task
        },
        evacuated=frozenset({SOURCE}),
        storage=StorageRequest(
            scope=Scope.BOTH if world.files else Scope.COMPUTE,
            datastores=frozenset({STORES[1]} if world.files else ()),
            moving=files_in_flight(runs_of(state, "uuid")),
        ),
        editable_clusters=frozenset({"c"} if world.may_edit else ()),
    )
    return carry_out(
        world,  # type: ignore[arg-type]
        watching or Watching(),  # type: ignore[arg-type]
        RunRequest(
            plan=make_plan(estate, request),
            purpose=Purpose.EVACUATE,
            host=estate.hosts[SOURCE],
            state=state,
            rules=rules or Rules(slots=SlotLimits(per_host=2), roll_back=True, retries=0),
            record_homes=True,
            fence=True,
        ),
        listener=listener,  # type: ignore[arg-type]
        interrupted=interrupted,
    )


def restore(
    world: World,
    state: Path,
    *,
    rules: Rules | None = None,
    listener: Callable[[dict[str, Any]], object] = line,
) -> RunReport:
    """Take the host out of maintenance mode, and bring home every VM that is elsewhere."""
    world.maintenance = Maintenance.NORMAL
    estate = world.estate()
    away = tuple(vm for vm, host in world.where.items() if host != SOURCE)
    clusters = frozenset({"c"} if world.may_edit else ())
    request = PlanRequest(vms=away, destinations=dict.fromkeys(away, SOURCE), editable_clusters=clusters)
    return carry_out(
        world,  # type: ignore[arg-type]
        Watching(),  # type: ignore[arg-type]
        RunRequest(
            plan=make_plan(estate, request),
            purpose=Purpose.RESTORE,
            host=estate.hosts[SOURCE],
            state=state,
            rules=rules or Rules(slots=SlotLimits(per_host=2), retries=0),
        ),
        listener=listener,  # type: ignore[arg-type]
        interrupted=lambda: False,
    )
