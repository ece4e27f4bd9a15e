# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run writes into its journal besides its moves."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    StateUnwritable,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import text_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    DrsDecision,
    DrsHandling,
    Move,
    Plan,
    Reason,
    Refusal,
    SlotLimits,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Event, LeftBehind, Ref
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Account,
    Ended,
    MoveResult,
    Outcome,
    Purpose,
    RolledBack,
    Rules,
    RunReport,
    RunRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.record import RunRecord, WatchRecord
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import MoveRecord, RunState
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import GuestLogin, GuestProcess
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import Fault

from tests.builders.estates import INFO, estate, host, vm
from tests.doubles.run import Notes

MOVE = Move(1, "vm-1", "ml-1", "host-1", "esx-1", "host-2", "esx-2", 1, 1.0)
EXPERIMENT = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://x")
LOGIN = GuestLogin("user", re.compile("python"), "secret")


class Proof:
    """A vCenter that proves what it is asked for, or fails."""

    def __init__(self, error: VsphereError | None = None) -> None:
        self.error = error

    def power_on_times(self, vms: tuple[str, ...]) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return dict.fromkeys(vms, "then")

    def guest_processes(self, vm: str, _login: GuestLogin) -> tuple[GuestProcess, ...]:
        if self.error is not None:
            raise self.error
        return (GuestProcess("python", 7, "then", "f" * 64),)


def watched(vcenter: Any = None, guest: GuestLogin | None = None) -> tuple[WatchRecord, Notes]:
    notes = Notes()
    return WatchRecord(vcenter or Proof(), notes, Path("r1"), guest, {"vm-1": "ml-1", "vm-2": "other"}), notes


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ([3.0], [3.0]),
        ([3.0, 5.0, 12.9], [3.0]),
        ([3.0, 13.0], [3.0, 13.0]),
        ([3.0, 13.0, 22.9, 23.04], [3.0, 13.0, 23.0]),
        ([3.0, 0.0, 4.0], [3.0, 0.0, 4.0]),
        ([0.0], [0.0]),
    ],
)
def test_a_silence_is_reported_when_it_begins_every_ten_seconds_and_at_its_end(
    heard: list[float], written: list[float]
) -> None:
    record, notes = watched()
    for seconds in heard:
        record.silence(seconds)
    assert [event["seconds"] for event in notes.events] == written


def test_vms_without_an_experiment_say_what_was_seen_instead() -> None:
    record, notes = watched()
    record.without_experiment(estate([host(1)], [vm(1), vm(2)]), {"vm-2": "no server listens"})
    assert [(event["vm"]["name"], event["detail"]) for event in notes.events] == [("ml-2", "no server listens")]


def test_an_answer_without_progress_is_not_one() -> None:
    record, notes = watched()
    sample = Sample(1.0, 1.1, "answered", "1", "RUNNING", None)
    record.progress(EXPERIMENT, sample, None)
    record.progress(EXPERIMENT, replace(sample, progress=0.0), 0.1)
    assert [(event["progress"], event["gained"]) for event in notes.events] == [(0.0, 0.1)]


def test_progress_that_cannot_be_written_does_not_stop_the_watch() -> None:
    class Full(Notes):
        def write(self, event: Event) -> None:
            raise StateUnwritable("the disk is full", hint="", option="state_dir")

    record = WatchRecord(Proof(), Full(), Path("r1"), None, {})  # type: ignore[arg-type]
    record.progress(EXPERIMENT, Sample(1.0, 1.1, "answered", "1", "RUNNING", 0.5), None)
    with pytest.raises(StateUnwritable):
        record.found(EXPERIMENT)


def test_what_vcenter_proves_is_needed_before_and_may_be_unknown_after() -> None:
    record, notes = watched(Proof(ConnectError("gone")))
    with pytest.raises(ConnectError):
        record.vms("before", ("vm-1",))
    assert notes.events == []
    record.vms("after", ("vm-1",))
    assert [(event["event"], event["when"], event["times"]) for event in notes.events] == [("power_on", "after", {})]
    known, notes = watched()
    known.vms("before", ("vm-1", "vm-2"))
    assert notes.events[0]["times"] == {"vm-1": "then", "vm-2": "then"}


@pytest.mark.parametrize(
    ("error", "detail"), [(None, ""), (CallFailed("no", fault="InvalidGuestLogin"), "InvalidGuestLogin")]
)
def test_processes_of_guests_are_read_only_with_a_login_for_them(error: CallFailed | None, detail: str) -> None:
    login = replace(LOGIN, vms=("ml-*",))

    class Guests(Proof):
        def power_on_times(self, vms: tuple[str, ...]) -> dict[str, str]:
            return {}

    record, notes = watched(Guests(error), login)
    record.vms("before", ("vm-1", "vm-2", "vm-9"))
    (event,) = notes.of("guest_processes")
    assert event["readings"]["vm-1"]["detail"] == detail
    assert len(event["readings"]["vm-1"]["processes"]) == (error is None)
    for vm_ in ("vm-2", "vm-9"):
        assert event["readings"][vm_] == {
            "processes": [],
            "detail": "not asked: the VM is not in experiments.guest_vms",
        }


def request_for(at_host: bool = True, **changes: Any) -> RunRequest:
    values: dict[str, Any] = {
        "plan": Plan("p1", INFO, (MOVE,), notes=("A note.",)),
        "purpose": Purpose.EVACUATE,
        "host": host(1) if at_host else None,
        "state": Path("s"),
        "rules": Rules(slots=SlotLimits(3), priority="lowPriority"),
        "stall_budget": 7.0,
        "fence": True,
        **changes,
    }
    return RunRequest(**values)


def recorded(earlier: RunState | None = None, **changes: Any) -> tuple[RunRecord, Notes]:
    notes = Notes()
    return RunRecord(Proof(), notes, request_for(**changes), Path("runs/r1"), earlier), notes  # type: ignore[arg-type]


def test_a_run_begins_with_what_it_was_asked() -> None:
    record, notes = recorded()
    record.begin()
    (event,) = notes.events
    assert (event["run_id"], event["plan_id"], event["purpose"], event["key"]) == (
        "r1",
        "p1",
        "evacuate",
        "uuid.host-1",
    )
    assert (event["host"], event["pid"], event["notes"]) == (
        {"moid": "host-1", "name": "esx-1"},
        os.getpid(),
        ["A note."],
    )
    assert (event["priority"], event["slots"], event["stall_budget"]) == ("lowPriority", 3, 7.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fence": False}, True),
        ({"fence": True}, False),
        ({"fence": False, "purpose": Purpose.RESTORE}, False),
        ({"fence": False, "at_host": False}, False),
    ],
)
def test_an_evacuation_without_a_fence_says_so(changes: dict[str, Any], said: bool) -> None:
    record, notes = recorded(**changes)
    record.begin()
    assert [event["detail"] for event in notes.of("fence")] == (["maintenance mode was not requested"] if said else [])
    assert (notes.events[0]["host"] is None) is (changes.get("at_host") is False)


EARLIER = RunState("r1", "p0", Purpose.EVACUATE, "uuid.host-1", "then")


@pytest.mark.parametrize(("rolling_back", "plan_id"), [("", "p1"), ("a move failed", "p0")])
def test_a_run_that_is_resumed_does_not_start_again(rolling_back: str, plan_id: str) -> None:
    record, notes = recorded(replace(EARLIER, rolling_back=rolling_back), fence=False)
    record.begin()
    assert [(event["event"], event["plan_id"], event["pid"]) for event in notes.events] == [
        ("run_resumed", plan_id, os.getpid())
    ]


def test_guests_of_vms_that_an_earlier_process_moved_are_known_by_name() -> None:
    moved = MoveRecord(1, "vm-8", "ml-8", "host-1", "", "host-2", "")
    record, notes = recorded(replace(EARLIER, moves={"vm-8": moved}), guest=replace(LOGIN, vms=("ml-*",)))
    record.vms("after", ("vm-8", "vm-1"))
    assert {reading["detail"] for reading in notes.of("guest_processes")[0]["readings"].values()} == {""}


def test_the_plan_is_written_without_what_drs_does_not_change() -> None:
    refusal = Refusal("vm-2", "ml-2", (Reason("busy", "backup", "Wait"),))
    drs = tuple(DrsDecision(how, how, Automation.FULL, how) for how in (DrsHandling.IGNORE, DrsHandling.PIN))
    record, notes = recorded()
    record.plan(Plan("p1", INFO, (MOVE,), (refusal,), drs=drs))
    assert [event["event"] for event in notes.events] == ["planned", "refused", "drs_planned"]
    assert notes.events[2]["how"] == "pin"


def ended(result: MoveResult, fault: Fault | None = None) -> Ended:
    return Ended(MOVE, result, "host-1", "esx-1", fault)


@pytest.mark.parametrize(
    ("end", "stopped", "reason"),
    [
        (ended(MoveResult.FAILED, Fault("Timedout", "it was too slow")), "another VM failed", "it was too slow"),
        (ended(MoveResult.NOT_STARTED), "another VM failed", "another VM failed"),
        (ended(MoveResult.CANCELLED), "", "cancelled"),
    ],
)
def test_each_vm_that_is_left_behind_has_the_reason_that_is_known(end: Ended, stopped: str, reason: str) -> None:
    record, notes = recorded()
    record.left_behind(Outcome((end, ended(MoveResult.MOVED)), (), stopped))
    assert [(event["vm"]["name"], event["host"], event["reasons"]) for event in notes.events] == [
        ("ml-1", "esx-1", [reason])
    ]


ACCOUNTS = tuple(
    Account(name, name, "esx-2", name, "locked") for name in ("back", "stayed", "never_left", "elsewhere", "gone")
)


def test_a_rollback_names_what_it_did_not_bring_back() -> None:
    record, notes = recorded()
    record.stayed(ACCOUNTS)
    assert [(event["vm"]["name"], event["host"]) for event in notes.events] == [
        ("stayed", "esx-2"),
        ("never_left", "esx-2"),
    ]


@pytest.mark.parametrize(
    ("failures", "rolled_back", "figures"),
    [
        ((), False, ("success", 1, 4, 4, None)),
        (("it failed",), False, ("failed", 1, 4, 4, None)),
        (("it failed",), True, ("failed", 1, 4, 2, 1)),
    ],
)
def test_a_run_ends_with_its_figures(failures: tuple[str, ...], rolled_back: bool, figures: tuple[Any, ...]) -> None:
    outcome = Outcome(tuple(ended(result) for result in MoveResult), ())
    back = RolledBack(outcome, ACCOUNTS) if rolled_back else None
    record, notes = recorded()
    record.finished(RunReport("r1", None, outcome, failures, rolled_back=back))
    (event,) = notes.events
    assert tuple(event[name] for name in ("result", "moved", "failed", "left_behind", "back")) == figures


def test_a_vm_may_be_left_behind_on_a_host_that_is_not_known() -> None:
    assert text_of(LeftBehind(Ref("vm-1", "ml-1"), "", ("no answer",))) == (
        "left behind on a host that is not known: no answer"
    )


def test_a_run_that_is_over_before_its_first_move_is_not_resumed() -> None:
    record, notes = recorded()
    record.refused(3)
    record.interrupted("the controller was asked to stop")
    assert [event["event"] for event in notes.events] == ["run_finished", "run_interrupted"]
    assert (
        notes.events[0]["result"],
        notes.events[0]["moved"],
        notes.events[0]["failed"],
        notes.events[0]["left_behind"],
    ) == ("failed", 0, 0, 3)
