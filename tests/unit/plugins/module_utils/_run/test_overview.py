# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run as people ask for it: how it stands, what is left to do, and how to continue."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, RunBusy
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live import LiveRun
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_page import Moment, render_live
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import holder_of, run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunOverview, overviews
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    JOURNAL,
    pins_left,
    pins_of_nobody,
    stored_runs,
)
from ansible_collections.liveml.vsphere.plugins.modules import run_info

from tests.builders.journals import write_event

KEY = "u.host-5"
RESUME = "ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-05"
RESTORE = {"purpose": "restore", "key": KEY}


def vm(number: int) -> dict[str, str]:
    return {"moid": f"vm-{number}", "name": f"ML-{number}"}


def move(kind: str, number: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"number": number, "vm": vm(number), **fields}


def pin(number: int) -> tuple[str, dict[str, Any]]:
    return "drs_pinning", {
        "pins": [{"vm": vm(number), "cluster": "c", "had": False, "enabled": None, "behavior": None}]
    }


def write_run(
    state: Path, run_id: str, *events: tuple[str, dict[str, Any]], start: dict[str, Any] | None = None
) -> Path:
    folder = state / "runs" / run_id
    folder.mkdir()
    journal = Journal(folder / JOURNAL)
    for kind, fields in (("run_started", {"run_id": run_id, **(start or {})}), *events):
        write_event(journal, kind, **fields)
    journal.close()
    return folder


def seen(state: Path, pid: int | None = None) -> list[RunOverview]:
    return overviews(list(stored_runs(state)), lambda _key: pid)


def test_a_run_that_has_ended(state: Path) -> None:
    write_run(
        state, "r1", move("planned", 1), move("planned", 2), move("move_finished", 1),
        move("move_finished", 2, result="failed", error={"fault": "Timedout", "message": "too slow"}, host="esx-05"),
        ("experiment_found", {"vm": vm(1)}), ("experiment_found", {"vm": vm(2)}), ("experiment_progress", {"vm": vm(1), "progress": 0.3}), ("verdict", {"vm": vm(1)}),
        ("run_finished", {"result": "failed"}),
    )  # fmt: skip
    (run,) = seen(state, pid=7)
    assert (run.status, run.result, run.vms, run.moved, run.left_behind) == ("finished", "failed", 2, 1, ("ML-2",))
    assert (run.pid, run.command, run.fenced, run.in_flight) == (None, RESUME, False, ())
    assert [(tally.vm, tally.verdict) for tally in run.experiments] == [("ML-1", "uninterrupted"), ("ML-2", None)]
    assert [tally.progress for tally in run.experiments] == [0.3, 0.1]
    assert run.text.startswith("Evacuation of esx-05: failed at 20")
    assert run.text.endswith("1 of 2 VMs moved. Not moved: ML-2.")


def test_a_run_that_was_killed_says_what_was_moving_and_how_to_go_on(state: Path) -> None:
    write_run(state, "r1", ("fence", {}), move("planned", 1), move("move_submitting", 1), pin(1))
    (run,) = seen(state)
    assert (run.status, run.result, run.in_flight, run.pinned) == ("interrupted", "unfinished", ("ML-1",), ("ML-1",))
    assert run.fenced
    assert run.command == RESUME
    assert "interrupted, last seen at 20" in run.text
    assert "Still moving when the run was last seen: ML-1. Still excluded from DRS: ML-1." in run.text
    assert run.text.endswith(f"To continue: {RESUME}")


def test_a_run_that_goes_on_is_not_called_interrupted(state: Path) -> None:
    write_run(state, "r1", move("planned", 1))
    (run,) = seen(state, pid=4711)
    assert (run.status, run.pid, run.ended) == ("running", 4711, None)
    assert "in process 4711" in run.text
    (unnamed,) = seen(state, pid=0)
    assert unnamed.status == "running"
    assert "process" not in unnamed.text


def test_a_run_that_another_one_followed_is_not_to_be_resumed(state: Path) -> None:
    write_run(state, "r1", move("planned", 1), pin(1))
    write_run(state, "r2", ("run_finished", {}), start=RESTORE)
    write_run(state, "r3", start={"key": "u.host-6", "host": {"moid": "host-6", "name": "esx-06"}})
    other, newer, older = seen(state, pid=None)
    assert [run.status for run in (other, newer, older)] == ["interrupted", "finished", "superseded"]
    assert (older.pinned, newer.pinned) == (("ML-1",), ())
    assert newer.text.startswith("Restore of esx-05: succeeded at ")
    assert "never ended" in older.text
    assert "To continue" not in older.text


def test_a_later_run_may_give_vms_back_to_drs(state: Path) -> None:
    write_run(state, "r1", pin(1), pin(2))
    write_run(state, "r2", ("drs_restored", {"vms": [vm(1)]}), ("run_finished", {}), start=RESTORE)
    newer, older = seen(state)
    assert (newer.pinned, older.pinned) == ((), ("ML-2",))
    write_run(state, "r3", pin(1), start={"key": "other.host-5"})
    assert [run.pinned for run in seen(state)] == [("ML-1",), (), ("ML-2",)], "another vCenter has other VMs"


def of_nobody(state: Path, key: str, host: str = "", held: str = "") -> set[str]:
    """The VMs that a run for a key gives back to DRS."""
    return set(pins_of_nobody([stored.state for stored in stored_runs(state)], key, host, lambda each: each == held))


def test_pins_of_a_host_are_found_by_its_name_unless_a_process_works_for_its_old_moid(state: Path) -> None:
    write_run(state, "r1", pin(1))
    assert of_nobody(state, "u.host-5") == of_nobody(state, "u.host-9", "esx-05") == {"vm-1"}
    assert of_nobody(state, "u.host-9", "esx-06") == of_nobody(state, "u.host-9") == set()
    assert of_nobody(state, "u.host-9", "esx-05", held="u.host-5") == set()
    write_run(state, "r2", start={"key": "u.host-9"})
    assert of_nobody(state, "u.host-6", "esx-06") == {"vm-1"}, "r2 is for the same host, so nobody resumes r1"


def test_pins_of_a_run_that_another_one_followed_are_taken_unless_that_one_has_them(state: Path) -> None:
    write_run(state, "r1", pin(1), pin(2))
    assert of_nobody(state, "u.host-6", "esx-06") == set(), "r1 can be resumed"
    write_run(state, "r2", pin(2), start=RESTORE)
    assert of_nobody(state, "u.host-6", "esx-06") == {"vm-1"}
    assert of_nobody(state, "u.host-6", "esx-06", held="u.host-5") == set()
    assert of_nobody(state, "u.host-5", held="u.host-5") == {"vm-1", "vm-2"}


def test_the_first_pin_knows_the_earlier_override(state: Path) -> None:
    write_run(state, "r1", pin(1))
    again = {"vm": vm(1), "cluster": "c", "had": True, "enabled": False, "behavior": None}
    write_run(state, "r2", ("drs_pinning", {"pins": [again]}), start=RESTORE)
    run, found = pins_left([stored.state for stored in stored_runs(state)])["vm-1"]
    assert (run.run_id, found.had) == ("r1", False)


def test_the_holder_of_a_lock_is_named_only_while_it_holds_it(state: Path) -> None:
    assert holder_of(state, KEY) is None
    with run_lock(state, KEY, timeout=0):
        assert holder_of(state, KEY) is not None
        with pytest.raises(RunBusy), run_lock(state, KEY, timeout=0):
            pass
    assert holder_of(state, KEY) is None
    with run_lock(state, KEY, timeout=0):
        pass


def result(state: Path, **params: Any) -> dict[str, Any]:
    given = {"state_dir": str(state), "host": None, "run_id": None, "purpose": None, "limit": 10, **params}
    return run_info.body(SimpleNamespace(params=given, warn=print))


def test_the_module_returns_the_newest_runs_and_those_with_something_left_to_do(state: Path) -> None:
    kept = write_run(state, "r1", pin(1), ("run_finished", {}))
    (kept / "report.html").write_text("a report")
    write_run(state, "r2", ("run_finished", {}))
    write_run(state, "r3", ("run_finished", {}), start={**RESTORE, "key": "u.host-5"})
    found = result(state, limit=1)
    assert [run["run_id"] for run in found["runs"]] == ["r3", "r1"]
    assert found["lines"] == [run["text"] for run in found["runs"]]
    assert (found["runs"][1]["report_path"], found["runs"][1]["evidence_path"]) == (str(kept / "report.html"), "")
    assert found["runs"][1]["live"] is False
    (kept / "report.html").write_text("".join(render_live(LiveRun(), (), Moment("2026-01-31T09:00:00.000Z"))))
    assert result(state, run_id="r1")["runs"][0]["live"] is True
    assert [run["run_id"] for run in result(state, purpose="restore")["runs"]] == ["r3"]
    assert [run["run_id"] for run in result(state, run_id="r2")["runs"]] == ["r2"]
    assert result(state, host="esx-06")["runs"] == []
    assert set(found["runs"][0]) == set(yaml.safe_load(run_info.RETURN)["runs"]["contains"])


def test_a_state_directory_without_runs_is_no_error(tmp_path: Path) -> None:
    assert result(tmp_path / "none") == {"runs": [], "lines": []}
    with pytest.raises(InvalidInput, match="limit is 0"):
        result(tmp_path, limit=0)


def test_a_run_shows_what_moved_what_waits_and_when_it_was_last_seen(state: Path) -> None:
    folder = write_run(
        state, "r1", move("planned", 3), move("planned", 1), move("planned", 2), move("planned", 4), move("move_submitting", 1), move("move_finished", 1),
        move("move_submitting", 2), move("move_submitting", 4),
        move("move_finished", 4, result="failed", error={"fault": "Timedout", "message": ""}),
    )  # fmt: skip
    (run,) = seen(state)
    assert (run.vms, run.moved, run.in_flight, run.waiting, run.left_behind) == (4, 1, ("ML-2",), ("ML-3",), ())
    assert run.ended == next(stored_runs(state)).entries[-1].at
    assert run.started == next(stored_runs(state)).entries[0].at
    assert folder.name == run.run_id


def test_a_vm_that_could_not_move_is_named(state: Path) -> None:
    """An evacuation with ``on_refusal=move_others`` succeeds without it."""
    refused = [("refused", {"vm": vm(n), "blocking": n != 3}) for n in (1, 2, 3)]
    write_run(
        state, "r1", *refused, move("planned", 1), move("move_finished", 1), ("run_finished", {"result": "success"})
    )
    (run,) = seen(state)
    assert (run.moved, run.left_behind) == (1, ("ML-2",)), "a resumed run may move what could not move before"
    assert "Not moved: ML-2." in run.text


def test_what_the_last_process_left_behind_counts_and_not_what_an_earlier_one_did(state: Path) -> None:
    left = [("left_behind", {"vm": vm(n)}) for n in (1, 2)]
    write_run(state, "r1", left[0], ("run_resumed", {}), left[1], ("run_finished", {"result": "failed"}))
    assert [run.left_behind for run in seen(state)] == [("ML-2",)]


def test_an_experiment_has_the_name_that_its_owner_gave_it(state: Path) -> None:
    found = [
        ("experiment_found", {"vm": vm(n), "id": f"job-{n}", "description": text}) for n, text in ((2, ""), (1, "GBM"))
    ]
    write_run(state, "r1", *found)
    (run,) = seen(state)
    assert [(tally.vm, tally.name) for tally in run.experiments] == [("ML-1", "GBM"), ("ML-2", "job-2")]


def test_a_run_that_moves_vms_is_named_after_them(state: Path) -> None:
    alone = {"host": None, "key": "u.vm", "purpose": "migrate"}
    write_run(state, "r1", start=alone)
    write_run(state, "r2", move("planned", 2), move("planned", 1), start=alone)
    assert [run.subject for run in seen(state)] == ["Move of ML-1, ML-2", "Move of VMs"]


def test_vms_of_another_vcenter_are_given_back_there(state: Path) -> None:
    write_run(state, "r1", pin(1), start={"key": "a.b"})
    write_run(state, "r2", ("drs_restored", {"vms": [vm(1)]}), start={"key": "c.b"})
    assert [run.pinned for run in seen(state)] == [(), ("ML-1",)]
