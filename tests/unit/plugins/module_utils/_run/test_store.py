# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journals that cannot be used: each is named, and stops only what it concerns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    InvalidInput,
    JournalUnreadable,
    NotFound,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import (
    DrsDecision,
    DrsHandling,
    Move,
    PartMove,
    Plan,
    Refusal,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult, Purpose, run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import MoveRecord, RunState
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    RunFilter,
    arrivals,
    files_in_flight,
    find_run,
    journalled_plan,
    moves_in_flight,
    named_after,
    new_run,
    refuse_unreadable,
    run_folders,
    runs_of,
    state_path,
    state_to_read,
    unfinished_run,
    unfinished_run_of_vms,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, VcenterInfo

from tests.builders.estates import estate, host, vm
from tests.builders.journals import write_event

BEGUN = ("run_started", "planned", "home_recorded", "move_submitting")


def stored(state: Path, *kinds: str, host: str = "esx-05", key: str = "u.host-5") -> Path:
    """The journal of a run."""
    folder = new_run(state, Purpose.EVACUATE, host)
    journal = Journal(folder / "journal.jsonl")
    for kind in kinds:
        write_event(journal, kind, **({"key": key} if kind == "run_started" else {}))
    journal.close()
    return journal.path


def change_line(path: Path, number: int, line: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))


def newer(path: Path) -> None:
    first = json.loads(path.read_bytes().split(b"\n")[0])
    change_line(path, 1, json.dumps({**first, "format": 2}).encode())


def foreign(path: Path) -> None:
    change_line(path, 1, b'{"event": "coffee_made"}')


def destroyed(path: Path) -> None:
    change_line(path, 1, b"\0" * 40)


def damaged(path: Path) -> None:
    change_line(path, 3, b"nonsense")


def cut(path: Path) -> None:
    """A whole last line that lost its end is not torn by a crash: its newline was written last."""
    change_line(path, 4, path.read_bytes().split(b"\n")[3][:-5])


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (newer, "its format is 2, and this version of the collection reads format 1"),
        (foreign, "it does not begin with the start of a run"),
        (destroyed, "it does not begin with the start of a run"),
        (damaged, "line 3 is damaged"),
        (cut, "line 4 is damaged"),
    ],
)
def test_a_journal_that_cannot_be_used_stops_only_its_own_host(tmp_path: Path, harm: object, problem: str) -> None:
    state = state_path(str(tmp_path))
    other = stored(state, *BEGUN, host="esx-07", key="u.host-7")
    bad = stored(state, *BEGUN)
    harm(bad)  # type: ignore[operator]
    before = bad.read_bytes()
    found = unfinished_run(state, "u.host-7", Purpose.EVACUATE, "esx-07")
    assert found is not None
    assert found[0] == other.parent
    refuse_unreadable(state, "u.host-7", "esx-07")
    for attempt in (
        lambda: unfinished_run(state, "u.host-5", Purpose.EVACUATE, "esx-05"),
        lambda: refuse_unreadable(state, "u.host-5", "esx-05"),
        lambda: Journal(bad),
    ):
        with pytest.raises(JournalUnreadable, match=problem) as caught:
            attempt()
        assert str(bad.parent) in str(caught.value), "the remedy names the folder"
    warnings: list[str] = []
    runs_of(state, "u", warnings.append)
    (warning,) = warnings
    assert str(bad) in warning
    assert problem in warning
    assert bad.read_bytes() == before, "evidence is never changed"


def test_a_damaged_journal_of_a_witness_stops_nobody(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    bad = stored(state, *BEGUN)
    destroyed(bad)
    bad.parent.rename(bad.parent.with_name(bad.parent.name.replace("-evacuate-", "-witness-")))
    refuse_unreadable(state, "u.host-5", "esx-05")
    assert unfinished_run(state, "u.host-5", Purpose.EVACUATE, "esx-05") is None


def test_a_damaged_journal_counts_for_a_host_that_was_added_again(tmp_path: Path) -> None:
    """It has another MoID now. The homes behind the damage are those of its VMs."""
    state = state_path(str(tmp_path))
    change_line(stored(state, *BEGUN), 3, b"nonsense")
    for key in ("u.host-5", "u.host-9"):
        with pytest.raises(JournalUnreadable):
            refuse_unreadable(state, key, "esx-05")
        with pytest.raises(JournalUnreadable):
            unfinished_run(state, key, Purpose.RESTORE, "esx-05")
    refuse_unreadable(state, "other.host-5", "esx-05")
    refuse_unreadable(state, "u.host-9", "esx-09")


def test_a_torn_last_line_is_no_damage(tmp_path: Path) -> None:
    path = stored(state_path(str(tmp_path)), *BEGUN)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 5, "torn')
    reading = read_journal(path)
    assert (len(reading.entries), reading.problem) == (4, "")
    Journal(path).close()
    assert path.read_bytes() == whole


def test_homes_before_the_damage_count(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    change_line(stored(state, *BEGUN), 4, b"nonsense")
    assert journal_homes(state, "u")["vm-4"].host_name == "esx-05"


def test_the_newest_run_that_fits_is_found(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    first = stored(state, *BEGUN, "run_finished")
    found = find_run(state, RunFilter(host="esx-05"))
    assert found is not None
    assert found.folder == first.parent
    assert find_run(state, RunFilter(host="host-5", purpose="evacuate")) is not None
    assert find_run(state, RunFilter(host="esx-07")) is None
    assert find_run(state, RunFilter(), holds=lambda _run: False) is None


def test_a_run_knows_how_drs_was_to_be_handled(tmp_path: Path) -> None:
    """Otherwise a plan that is approved by its id would be refused when a killed run is resumed."""
    state = state_path(str(tmp_path))
    stored(state, *BEGUN, "drs_planned")
    begun = journalled_plan(state, VcenterInfo("vc", "u", "8", False), "p1")
    assert begun is not None
    assert begun.drs == (
        DrsDecision(
            "domain-c8",
            "ml",
            Automation.FULL,
            DrsHandling.PIN,
            ("vm-1",),
            "DRS of cluster ml is fully automated for 1 of 1 VMs.",
        ),
    )


def began(state: Path, run_id: str, *events: tuple[str, dict[str, Any]], **start: Any) -> Path:
    """The folder of a run with this ID, which sorts by it."""
    folder = state / "runs" / run_id
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    for kind, fields in (("run_started", {"run_id": run_id, "key": "u.host-5", **start}), *events):
        write_event(journal, kind, **fields)
    journal.close()
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return state_path(str(tmp_path / "state"))


def test_only_folders_of_runs_count_and_the_newest_comes_first(state: Path) -> None:
    older, newer = began(state, "20260101T000000Z-a"), began(state, "20260102T000000Z-a")
    (state / "runs" / "a file").write_text("")
    (state / "runs" / "z-link").symlink_to(older)
    assert run_folders(state) == [newer, older]
    assert run_folders(state / "missing") == []


@pytest.mark.parametrize(
    ("subject", "slug"),
    [
        ("esx-05.example.com", "esx-05-example-com"),
        ("ML_1, ML_2", "ml-1-ml-2"),
        ("//", "vms"),
        ("a" * 60, "a" * 40),
        ("../x", "x"),
    ],
)
def test_the_folder_of_a_run_says_what_it_is_for(state: Path, subject: str, slug: str) -> None:
    folder = new_run(state, Purpose.RESTORE, subject)
    assert named_after(folder) == ("restore", slug)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert named_after(Path("somebody-elses")) == ("", "")


def test_a_state_directory_is_private_and_is_made_only_to_be_written(tmp_path: Path) -> None:
    assert state_to_read(str(tmp_path / "new")) == tmp_path / "new"
    assert not (tmp_path / "new").exists()
    made = state_path(str(tmp_path / "new"))
    assert [each.stat().st_mode & 0o777 for each in (made, made / "runs", made / "locks")] == [0o700] * 3
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="state"):
        state_path(str(tmp_path / "file"))
    made.chmod(0o777)
    with pytest.raises(InvalidInput):
        state_to_read(str(made))


@pytest.mark.parametrize(
    ("wanted", "raises"),
    [
        (RunFilter(), True),
        (RunFilter(host="esx-05"), True),
        (RunFilter(host="host-5"), True),  # its name is known from another run
        (RunFilter(host="esx-07"), False),
        (RunFilter(purpose="evacuate"), True),
        (RunFilter(purpose="restore"), False),
        (RunFilter(purpose="evacuate", host="esx-07"), False),
        (RunFilter(run_id="20260102T000000Z-evacuate-esx-05-aaaa"), True),
        (RunFilter(run_id="20260101T000000Z-evacuate-esx-05-bbbb"), False),
    ],
)
def test_a_run_that_cannot_be_read_and_may_be_meant_is_an_error(state: Path, wanted: RunFilter, raises: bool) -> None:
    """It may be the newest one."""
    began(state, "20260101T000000Z-evacuate-esx-05-bbbb")
    destroyed(began(state, "20260102T000000Z-evacuate-esx-05-aaaa") / "journal.jsonl")
    if raises:
        with pytest.raises(JournalUnreadable, match="20260102T000000Z-evacuate-esx-05-aaaa"):
            find_run(state, wanted)
        return
    warnings: list[str] = []
    found = find_run(state, wanted, warn=warnings.append)
    assert (found is not None) is (wanted.run_id is not None)
    assert len(warnings) == 1


def test_a_damaged_run_is_found_by_what_stands_before_the_damage(state: Path) -> None:
    folder = began(state, "r1", ("planned", {}), ("move_submitting", {}))
    damaged(folder / "journal.jsonl")
    warnings: list[str] = []
    found = find_run(state, RunFilter(host="esx-05"), warn=warnings.append)
    assert found is not None
    assert len(found.entries) == 2
    assert "Only its first 2 events are used" in warnings[0]


def test_a_run_that_is_not_there_is_explained(state: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="contains no runs") as empty:
        find_run(state, RunFilter(run_id="r9"))
    with pytest.raises(NotFound, match="does not exist"):
        find_run(tmp_path / "missing", RunFilter(run_id="r9"))
    began(state, "r1")
    with pytest.raises(NotFound, match="No run r9 found") as wrong:
        find_run(state, RunFilter(run_id="r9"))
    assert [caught.value.option for caught in (empty, wrong)] == ["state_dir", "run_id"]
    assert find_run(state, RunFilter(run_id="r1"), holds=lambda _run: False) is None, (
        "it exists, and is not what is wanted"
    )
    assert find_run(state, RunFilter(run_id="r1", purpose="evacuate")) is not None


@pytest.mark.parametrize(
    ("newer", "found"),
    [
        (None, True),
        ({"purpose": "restore"}, False),
        ({"key": "u.host-6"}, True),
        ({"key": "v.host-5"}, True),
    ],
)
def test_only_the_newest_run_of_a_host_is_resumed(state: Path, newer: dict[str, str] | None, found: bool) -> None:
    folder = began(state, "r1")
    if newer is not None:
        began(state, "r2", **newer)
    resumed = unfinished_run(state, "u.host-5", Purpose.EVACUATE, "esx-05")
    assert (resumed is not None and resumed[0] == folder) is found
    assert unfinished_run(state, "u.host-9", Purpose.EVACUATE, "esx-09") is None


def test_a_run_that_has_ended_is_not_resumed(state: Path) -> None:
    began(state, "r1")
    began(state, "r2", ("run_finished", {}))
    assert unfinished_run(state, "u.host-5", Purpose.EVACUATE, "esx-05") is None


INFO = VcenterInfo("vc", "u", "8", False)


def move(number: int, **changes: Any) -> Move:
    ends = ("host-1", "esx-1", "host-2", "esx-2")
    return Move(number, f"vm-{number}", f"ml-{number}", *ends, 1, 1.0, **changes)


def of_vms(state: Path, run_id: str, *numbers: int, vcenter: str = "u", **changes: Any) -> Path:
    """A run that moves VMs of these numbers, for no host."""
    planned = [("planned", {"number": n, "vm": {"moid": f"vm-{n}", "name": f"ml-{n}"}}) for n in numbers]
    key = run_key(vcenter, None, tuple(f"vm-{n}" for n in numbers))
    return began(state, run_id, *planned, **{"key": key, "host": None, "purpose": "migrate", **changes})


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (Plan("p", INFO, (move(1), move(2))), True),
        (Plan("p", INFO, (move(1), move(2), move(3))), True),
        (Plan("p", INFO, (move(1),), (Refusal("vm-2", "ml-2", ()),)), True),
        (Plan("p", INFO, (move(1),), settled=("ml-2",)), True),
        (Plan("p", INFO, (move(1),), settled=("ml-2 (vm-2)",)), True),
        (Plan("p", INFO, (move(1),), settled=("ml-2 (vm-9)",)), False),  # another VM of that name
        (Plan("p", INFO, (move(1),)), False),
        (Plan("p", INFO, (move(3),)), False),
        (Plan("p", VcenterInfo("vc", "v", "8", False), (move(1), move(2))), False),
    ],
)
def test_a_run_of_vms_is_resumed_by_a_plan_that_has_all_of_them(state: Path, plan: Plan, found: bool) -> None:
    folder = of_vms(state, "r1", 1, 2)
    began(state, "r2")  # for a host
    of_vms(state, "r3", 7)
    began(state, "r4", ("planned", {}), ("run_finished", {}), key="u.vm-1+vm-2", host=None)
    resumed = unfinished_run_of_vms(state, plan)
    assert (resumed is not None) is found
    if resumed is not None:
        assert resumed[0] == folder


def test_a_run_that_planned_nothing_is_resumed_only_by_its_key(state: Path) -> None:
    began(state, "r1", host=None, purpose="migrate", key="u.vm-1")
    assert unfinished_run_of_vms(state, Plan("p", INFO, (move(2),))) is None
    assert unfinished_run_of_vms(state, Plan("p", INFO, (move(1),))) is not None


@pytest.mark.parametrize("harm", [damaged, newer, cut])
def test_a_run_of_vms_whose_journal_is_damaged_is_not_resumed(state: Path, harm: Callable[[Path], None]) -> None:
    harm(of_vms(state, "r1", 1, 2, 3) / "journal.jsonl")
    with pytest.raises(JournalUnreadable):
        unfinished_run_of_vms(state, Plan("p", INFO, (move(1), move(2), move(3))))
    assert unfinished_run_of_vms(state, Plan("p", INFO, (move(9),))) is None


PART = PartMove(0, "files", "a", "A", "b", "B")


def record(number: int, target: str = "host-2", **changes: Any) -> MoveRecord:
    values: dict[str, Any] = {"submitting": True, "task": f"task-{number}", **changes}
    return MoveRecord(number, f"vm-{number}", f"ml-{number}", "host-1", "", target, "", **values)


def run_of(*records: MoveRecord, **changes: Any) -> RunState:
    plain = RunState("r", "p", Purpose.MIGRATE, "u.x", "then", moves={each.vm: each for each in records})
    return replace(plain, **changes)


def test_moves_in_flight_are_those_of_the_newest_run_that_never_ended() -> None:
    ended, over = run_of(record(1), finished=True), record(2, result=MoveResult.MOVED)
    runs = [
        ended,
        run_of(record(3, "host-3", parts=(PART,)), over),
        run_of(record(3), record(4, task=None), record(5, submitting=False)),
    ]
    assert moves_in_flight(runs) == {"vm-3": ("host-3", "task-3"), "vm-4": ("host-2", None)}
    assert files_in_flight(runs) == {"vm-3": {0: "b"}}
    assert (moves_in_flight([ended]), files_in_flight([run_of(record(1, parts=(PART,)), finished=True)])) == ({}, {})


def test_a_vm_on_the_target_of_a_run_that_never_ended_has_arrived() -> None:
    world = estate([host(1), host(2)], [vm(1, on=2), vm(2, on=1), vm(3, on=2)])
    moves = (record(1), record(2), record(3, submitting=False), record(4))
    assert arrivals([run_of(*moves)], world) == {"vm-1": "host-2"}
    assert arrivals([run_of(*moves, finished=True), run_of(*moves, host="host-1")], world) == {}


def test_a_plan_is_known_by_its_id_from_the_run_that_began_it_last(state: Path) -> None:
    target = {"moid": "host-7", "name": "esx-07"}
    began(
        state, "r1", ("planned", {}), ("refused", {"vm": {"moid": "vm-8", "name": "ml-8"}, "blocking": False}),
        ("run_resumed", {"plan_id": "p2"}), ("planned", {"target": target}),
        ("run_resumed", {"plan_id": "p3"}), plan_id="p1",
    )  # fmt: skip
    plans = {plan_id: journalled_plan(state, INFO, plan_id) for plan_id in ("p1", "p2", "p3", "p4")}
    assert [plan and [each.target for each in plan.moves] for plan in plans.values()] == [
        ["host-6"],
        ["host-7"],
        [],
        None,
    ]
    first = plans["p1"]
    assert first is not None
    assert [(refusal.vm, refusal.blocking) for refusal in first.refusals] == [("vm-8", False)]
    assert (first.plan_id, first.vcenter) == ("p1", INFO)
    assert journalled_plan(state, VcenterInfo("vc", "another", "8", False), "p1") is None
