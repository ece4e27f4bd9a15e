# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is rolled back, against a scripted vCenter: which VMs, the fence, homes, and kills at every moment."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Judgement
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.homes import placements
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._run import sight
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Ref
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes, record_home
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Outcome, Rules
from ansible_collections.liveml.vsphere.plugins.module_utils._run.rollback import rollback_reason
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Estate,
    HostState,
    Maintenance,
    VcenterInfo,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import (
    Home,
    decode_home,
    encode_home,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate

from tests.builders.journals import entries, journal_rows, write_event
from tests.doubles.run import Watching, run
from tests.doubles.vcenter import SOURCE, Killed, World

INFO = VcenterInfo("vc", "uuid", "8.0.3", True)
GIB = 2**30
SCHEMA = json.loads((Path(__file__).parents[5] / "docs/schema/evidence-1.0.json").read_text())


pytestmark = pytest.mark.usefixtures("fast")


def events(state: Path) -> list[dict[str, Any]]:
    # A process that was killed before its first event leaves an empty journal.
    (folder,) = (f for f in (state / "runs").iterdir() if (f / "journal.jsonl").stat().st_size)
    assert read_journal(folder / "journal.jsonl").broken_at is None
    return journal_rows(folder / "journal.jsonl")


def refusing(vm: str = "vm-4") -> dict[tuple[str, str], str]:
    return {(vm, "host-2"): "NoPermission", (vm, "host-3"): "NoPermission"}


def test_a_failed_move_brings_back_what_had_moved(state: Path) -> None:
    world = World(6, refusing())
    report = run(world, state)
    assert set(world.where.values()) == {SOURCE}
    away = [vm for vm, _source, target in world.moves if target != SOURCE and vm != "vm-4"]
    assert len(away) >= 3
    assert sorted(vm for vm, _source, target in world.moves if target == SOURCE) == sorted(away)
    assert world.peak == 2
    assert world.maintenance is Maintenance.NORMAL
    assert [f for f in report.failures if "is back on esx-1" in f]
    assert "ml-4 was left on esx-1 (failed: NoPermission)" in report.failures
    assert "ml-6 was left on esx-1 (not started)" in report.failures
    assert len(report.failures) == 6
    assert set(world.attributes.values()) == {""}
    assert journal_homes(state, "uuid") == {}

    told = events(state)
    kinds = [e["event"] for e in told]
    assert kinds.index("rolling_back") < kinds.index("fence_lifting") < kinds.index("fence_lifted")
    back = [e for e in told if e["event"] == "planned" and e.get("back")]
    assert {e["number"] for e in back} == set(range(7, 7 + len(away)))
    assert told[-1]["result"] == "failed"
    assert told[-1]["back"] == len(away)
    evidence = evidence_of(entries(told), {}, {**dict.fromkeys(("head", "samples_sha256"), "a" * 64), "events": 1,
                                      "broken_at": None, "why": "", "end_kept": True, "samples_as_sealed": True})  # fmt: skip
    jsonschema.validate(evidence, SCHEMA)
    assert "NoPermission" in evidence["run"]["rolled_back"]
    said = evidence["overall"]["statement"]
    assert f"{len(away)} of 6 VMs moved. The run was rolled back" in said
    assert f"{len(away)} VMs came back" in said
    assert Counter(m["back"] for m in evidence["moves"]) == {False: 6, True: len(away)}
    assert {m["target"] for m in evidence["moves"] if m["back"]} == {"esx-1"}
    assert {m["result"] for m in evidence["moves"] if m["vm"].replace("ml", "vm") in away} == {"moved"}


@pytest.mark.parametrize("in_attribute", [True, False])
def test_a_home_that_could_not_be_cleared_is_not_said_to_be_cleared(state: Path, in_attribute: bool) -> None:
    """The answer may be lost, or the privilege: then another controller still finds the home in the attribute."""

    class Kept(World):
        def clear_home(self, vm: str) -> bool:
            return False

        def record_home(self, home: Home) -> bool:
            return in_attribute and super().record_home(home)

    world = Kept(3, refusing("vm-3"))
    run(world, state)
    assert set(world.where.values()) == {SOURCE}
    kinds = [event["event"] for event in events(state)]
    assert ("home_clearing" in kinds, "home_cleared" in kinds) == (True, not in_attribute)
    found = placements(world.estate(), journal_homes(state, "uuid"))
    assert {each.outcome for each in found} == ({"home"} if in_attribute else set())


def test_stop_and_continue_bring_nothing_back(state: Path) -> None:
    for rules in (Rules(), Rules(stop_on_failure=False)):
        world = World(3, refusing("vm-1"))
        report = run(world, state, rules=rules)
        assert report.rolled_back is None
        assert not [move for move in world.moves if move[2] == SOURCE]
        assert world.maintenance is Maintenance.NORMAL


def test_a_harmed_experiment_rolls_back_also_the_host_that_is_empty_by_then(state: Path) -> None:
    world = World(1)
    report = run(world, state, Watching("vm-1"))
    assert world.where == {"vm-1": SOURCE}
    assert report.failures[0] == "ml-1 is back on esx-1"
    assert "job in ml-1 failed" in report.failures[1]


def test_harm_that_shows_only_at_the_end_counts(state: Path) -> None:
    class Late(Watching):
        asked = 0

        def judge(self, vm: str) -> tuple[Judgement, ...]:
            self.asked += 1
            return super().judge(vm) if self.asked > 1 else ()

    world = World(1)
    assert run(world, state, Late("vm-1")).rolled_back is not None
    assert world.where == {"vm-1": SOURCE}


def test_a_source_that_refuses_keeps_the_vm_where_it_is_and_says_so(state: Path) -> None:
    world = World(4, {**refusing("vm-3"), ("vm-1", SOURCE): "InsufficientMemoryFault"})
    report = run(world, state)
    stayed = world.where["vm-1"]
    assert stayed != SOURCE
    assert world.where["vm-2"] == SOURCE
    assert f"ml-1 stayed on {stayed.replace('host', 'esx')} (failed: InsufficientMemoryFault)" in report.failures
    assert report.left_behind == ("ml-1", "ml-3")
    home = decode_home("vm-1", world.attributes["vm-1"])
    assert home is not None
    assert (home.host, home.target) == (SOURCE, stayed)


def test_a_fence_that_stays_up_is_why_vms_stay(state: Path) -> None:
    world = World(3, refusing("vm-2"))
    world.keeps_fence = True
    report = run(world, state)
    assert not [move for move in world.moves if move[2] == SOURCE]
    assert any(
        f.startswith("ml-1 stayed on esx-") and "the fence of esx-1 could not be lifted" in f for f in report.failures
    )


def test_a_fence_of_somebody_else_is_not_touched(state: Path) -> None:
    world = World(3, refusing("vm-2"))
    world.maintenance = Maintenance.ENTERING
    report = run(world, state)
    assert world.maintenance is Maintenance.ENTERING
    assert any("target_maintenance" in failure for failure in report.failures)


def test_a_vm_that_a_person_moved_or_deleted_is_left_alone(state: Path) -> None:
    world = World(4, refusing("vm-3"))
    original = world.end_maintenance

    def meanwhile(host: HostState, timeout: float) -> None:
        original(host, timeout)
        world.where["vm-1"] = "host-3" if world.where["vm-1"] == "host-2" else "host-2"
        del world.where["vm-2"]

    world.end_maintenance = meanwhile  # type: ignore[method-assign]
    report = run(world, state)
    assert {vm for vm, _source, target in world.moves if target == SOURCE} == {"vm-4"}
    assert any(f.startswith("ml-1 is on esx-") and "this run did not put it" in f for f in report.failures)
    assert "ml-2 is no longer in vCenter" in report.failures


@pytest.mark.parametrize(("mover", "stays"), [("alice", True), ("DRS", False), ("", False)])
def test_what_a_person_moved_off_the_host_before_its_turn_is_not_brought_back(
    state: Path, mover: str, stays: bool
) -> None:
    world = World(5, refusing("vm-4"))
    original = world.relocate

    def meanwhile(vm: str, *arguments: Any, **options: Any) -> str:
        if world.where["vm-3"] == SOURCE:
            world.where["vm-3"], world.movers["vm-3"] = "host-3", mover
        return original(vm, *arguments, **options)

    world.relocate = meanwhile  # type: ignore[method-assign]
    report = run(world, state)
    assert world.where["vm-3"] == ("host-3" if stays else SOURCE)
    assert ("ml-3 stayed on esx-3 (alice moved it there)" in report.failures) is stays
    assert world.where["vm-1"] == SOURCE


def test_a_vm_that_was_a_guest_there_keeps_its_first_home(state: Path) -> None:
    world = World(2, refusing("vm-2"))
    first = Home("vm-1", "host-3", "esx-3", SOURCE, "esx-1", "earlier", "then")
    world.attributes["vm-1"] = encode_home(first)
    run(world, state)
    home = decode_home("vm-1", world.attributes["vm-1"])
    assert home is not None
    assert (home.host, home.target) == ("host-3", SOURCE)
    assert journal_homes(state, "uuid")["vm-1"].host == "host-3"


def test_a_first_home_that_is_in_the_journal_alone_lasts(state: Path) -> None:
    world = World(1)
    world.record_home = lambda home: False  # type: ignore[method-assign]
    (state / "runs" / "0-earlier").mkdir()
    journal = Journal(state / "runs" / "0-earlier" / "journal.jsonl")
    write_event(journal, "run_started", run_id="0-earlier", plan_id="p", purpose="evacuate", key="uuid.host-3")
    first = Home("vm-1", "host-3", "esx-3", SOURCE, "esx-1", "0-earlier", "then", start="host-3")
    record_home(world, journal, Ref("vm-1", "ml-1"), first)  # type: ignore[arg-type]
    journal.close()
    run(world, state)
    home = journal_homes(state, "uuid")["vm-1"]
    assert (home.host, home.start, home.target) == ("host-3", SOURCE, world.where["vm-1"])


def test_an_interruption_stops_the_way_back_and_the_next_run_goes_on_with_it(state: Path) -> None:
    world = World(5, refusing("vm-5"))
    report = run(world, state, interrupted=lambda: any(target == SOURCE for _vm, _from, target in world.moves))
    assert report.rolled_back is not None
    assert len(set(world.where.values())) > 1
    assert events(state)[-1]["event"] == "run_interrupted"
    report = run(world, state)
    assert report.resumed
    assert set(world.where.values()) == {SOURCE}
    assert events(state)[-1]["result"] == "failed"


AT_HOME = {0: "ds-1", 2000: "ds-1"}


@pytest.mark.parametrize(("landed", "files"), [(True, False), (False, True)])
def test_killed_at_any_moment_it_converges(tmp_path: Path, landed: bool, files: bool) -> None:
    """The process dies at its N-th call, for every N; the role runs again until the run is closed."""
    calls = 0
    while True:
        calls += 1
        state = state_path(str(tmp_path / str(calls)))
        world = World(4, refusing("vm-3"))
        world.files = {vm: dict(AT_HOME) for vm in world.where} if files else {}
        world.calls_left = calls
        try:
            run(world, state)
        except Killed:
            pass
        else:
            break
        while landed and world.tasks:
            world.advance()
        world.calls_left = -1
        report = run(world, state)
        assert report.failures, calls
        assert set(world.where.values()) == {SOURCE}, calls
        assert all(places == AT_HOME for places in world.files.values()), calls
        assert world.maintenance is Maintenance.NORMAL, calls
        assert {text for text in world.attributes.values() if text} == set(), calls
        trips = Counter((vm, target == SOURCE) for vm, _source, target in world.moves if vm != "vm-3")
        assert all(times == 1 for times in trips.values()), (calls, world.moves)
        told = events(state)
        assert told[-1]["event"] == "run_finished"
        numbers = {(e["vm"]["moid"], e["number"]) for e in told if e["event"] == "planned" and e.get("back")}
        assert len({number for _vm, number in numbers}) == len(numbers)
    assert calls > 40


def test_the_second_run_after_a_rollback_is_a_new_one(state: Path) -> None:
    world = World(3, refusing("vm-2"))
    first = run(world, state)
    world.faults.clear()
    time.sleep(1.0)  # the second distinguishes runs, and sorts them
    second = run(world, state)
    assert (second.resumed, second.failures) == (False, ())
    assert second.run_id != first.run_id
    assert SOURCE not in world.where.values()
    assert {h.vm for h in journal_homes(state, "uuid").values()} == {"vm-1", "vm-2", "vm-3"}


def test_the_rollback_respects_max_failures(state: Path) -> None:
    world = World(3, refusing("vm-2"))
    report = run(world, state, rules=replace(Rules(roll_back=True, retries=0), max_failures=2))
    assert report.rolled_back is None
    assert report.left_behind == ("ml-2",)


@pytest.mark.parametrize("most", [0, 1])
def test_a_run_without_a_failure_is_never_rolled_back(most: int) -> None:
    assert rollback_reason(Outcome((), ()), Rules(roll_back=True, max_failures=most)) == ""


def test_a_verdict_brings_nothing_back_if_verdicts_do_not_count(state: Path) -> None:
    world = World(1)
    rules = Rules(roll_back=True, stop_on_verdict=False)
    report = run(world, state, Watching("vm-1"), rules=rules)
    assert report.rolled_back is None
    assert world.where["vm-1"] != SOURCE
    assert report.failures == ("job in ml-1 failed",)


class Stuck(World):
    """The task of vm-1's first move ignores its cancellation. ``hidden``: vCenter no longer shows a task."""

    hidden = False

    def cancel(self, task: str) -> None: ...

    def advance(self) -> tuple[Any, ...]:
        stuck = {task: each for task, each in self.tasks.items() if each[0] == "vm-1"}
        self.tasks = {task: each for task, each in self.tasks.items() if task not in stuck}
        news = super().advance()
        self.tasks |= stuck
        return news

    def moving(self, vms: Any) -> dict[str, str]:
        return {} if self.hidden else super().moving(vms)


class Concealing(World):
    """While the run rolls back, vCenter does not show the tasks of vm-1. They may move it."""

    def moving(self, vms: Any) -> dict[str, str]:
        rolls_back = bool(self.moves) and self.maintenance is Maintenance.NORMAL
        return super().moving(vms) | ({"vm-1": ""} if rolls_back and "vm-1" in vms else {})


def test_a_vm_whose_tasks_are_hidden_keeps_its_home_and_is_said_to_move_perhaps(state: Path) -> None:
    world = Concealing(2, refusing("vm-2"))
    report = run(world, state)
    assert report.rolled_back is not None
    accounts = {account.vm: account for account in report.rolled_back.accounts}
    assert accounts["vm-1"].sentence == (
        "ml-1 is on esx-1 and may still move (vCenter does not show whether a task moves it)"
    )
    assert accounts["vm-2"].outcome == "never_left"
    assert decode_home("vm-1", world.attributes["vm-1"]) is not None
    assert world.attributes["vm-2"] == ""


@pytest.mark.parametrize("hidden", [True, False])
def test_a_vm_whose_task_was_given_up_keeps_its_home_and_is_said_to_move_perhaps(state: Path, hidden: bool) -> None:
    world = Stuck(2)
    world.hidden = hidden
    rules = Rules(
        slots=SlotLimits(per_host=2),
        roll_back=True,
        retries=0,
        timeout_floor=0.2,
        timeout_per_gib=0.0,
        cancel_grace=0.2,
    )
    report = run(world, state, rules=rules)
    assert report.rolled_back is not None
    accounts = {account.vm: account for account in report.rolled_back.accounts}
    assert accounts["vm-1"].outcome == "may_move"
    assert accounts["vm-1"].sentence == "ml-1 is on esx-1 and may still move (timed out: DeadlineExceeded)"
    assert "ml-1" in report.left_behind
    assert decode_home("vm-1", world.attributes["vm-1"]) is not None
    assert "vm-1" in journal_homes(state, "uuid")


def test_a_vm_whose_host_cannot_be_read_is_not_said_to_be_gone(state: Path) -> None:
    class Blind(World):
        def placement(self, vms: Any) -> dict[str, PlacementUpdate]:
            hidden = {"vm-1": PlacementUpdate("vm-1", None, unknown="vCenter does not say it")}
            return super().placement(vms) | (hidden if len(self.moves) > 1 and "vm-1" in vms else {})

    report = run(Blind(3, {("vm-2", target): "NoPermission" for target in ("host-2", "host-3")}), state)
    assert report.rolled_back is not None
    sentences = [account.sentence for account in report.rolled_back.accounts if account.vm == "vm-1"]
    assert sentences == ["it is not known on which host ml-1 is (vCenter does not say it)"]
    assert "ml-1" in report.left_behind


class Flickering(World):
    """Of each kind of ``reads`` the first one after the run began to roll back fails, or all of them if it is ``dark``."""

    def __init__(self, *reads: str, dark: bool = False) -> None:
        super().__init__(4, refusing("vm-4"))
        self.broken = set(reads)
        self.dark = dark

    def fail(self, what: str) -> None:
        rolls_back = bool(self.moves) and self.maintenance is Maintenance.NORMAL
        if what in self.broken and rolls_back:
            self.broken -= set() if self.dark else {what}
            raise CallFailed("vCenter could not read the inventory: SystemError", fault="SystemError")

    def estate(self, **options: Any) -> Estate:
        self.fail("estate")
        return super().estate(**options)

    def placement(self, vms: Any) -> dict[str, PlacementUpdate]:
        self.fail("placement")
        return super().placement(vms)

    def places(self, vms: Any) -> dict[str, dict[int, str]]:
        self.fail("places")
        return super().places(vms)

    def moving(self, vms: Any) -> dict[str, str]:
        self.fail("moving")
        return super().moving(vms)


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("read", ["estate", "placement", "places", "moving"])
def test_one_read_that_fails_does_not_end_a_rollback(
    state: Path, monkeypatch: pytest.MonkeyPatch, read: str, files: bool
) -> None:
    monkeypatch.setattr(sight, "PAUSE", 0.0)
    world = Flickering(read)
    if files:
        world.files = {vm: {0: "ds-1", 2000: "ds-1"} for vm in world.where}
    report = run(world, state)
    assert report.rolled_back is not None
    assert world.broken == (set() if files or read != "places" else {"places"})
    assert set(world.where.values()) == {SOURCE}
    assert set(world.attributes.values()) == {""}
    assert all("esx-1" in account.sentence for account in report.rolled_back.accounts)


@pytest.mark.parametrize(("read", "outcome"), [("moving", "may_move"), ("placement", "unknown"), ("places", "unknown")])
def test_what_stays_unreadable_in_a_rollback_is_not_known_and_keeps_its_home(
    state: Path, monkeypatch: pytest.MonkeyPatch, read: str, outcome: str
) -> None:
    monkeypatch.setattr(sight, "PAUSE", 0.0)
    monkeypatch.setattr(sight, "PATIENCE", 0.0)
    world = Flickering(read, dark=True)
    world.files = {vm: {0: "ds-1", 2000: "ds-1"} for vm in world.where}
    report = run(world, state)
    assert report.rolled_back is not None
    assert {account.outcome for account in report.rolled_back.accounts} == {outcome}
    why = "its files are" if read == "places" else "SystemError"
    assert all(why in account.sentence for account in report.rolled_back.accounts)
    assert "" not in {world.attributes[vm] for vm, _source, _target in world.moves}
