# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journals that cannot be used: each is named, and stops only what it concerns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import JournalUnreadable
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import DrsDecision, DrsHandling
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    RunFilter,
    find_run,
    journalled_plan,
    new_run,
    refuse_unreadable,
    runs_of,
    state_path,
    unfinished_run,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Automation, VcenterInfo

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
