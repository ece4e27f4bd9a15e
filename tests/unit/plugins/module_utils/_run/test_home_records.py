# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes that runs record, and what clears them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Ref
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import (
    CLEARED,
    clear_homes,
    journal_homes,
    record_home,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import JOURNAL, runs_of
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import Home

from tests.builders.journals import write_event
from tests.doubles.run import Notes

UUID = "502c1e5f-0000-0000-0000-000000000001"
HOME = Home("vm-4", "host-5", "esx-05", "host-6", "esx-06", "r1", "2026-01-31T09:00:00.000Z", vm_uuid=UUID)


class Attributes:
    """A vCenter that may let the user write custom attributes."""

    def __init__(self, permitted: bool) -> None:
        self.permitted, self.homes = permitted, list[Home]()

    def record_home(self, home: Home) -> bool:
        self.homes.append(home)
        return self.permitted


def write_run(state: Path, run_id: str, *events: tuple[str, dict[str, Any]], **start: Any) -> None:
    folder = state / "runs" / run_id
    folder.mkdir()
    journal = Journal(folder / JOURNAL)
    for kind, fields in (("run_started", {"run_id": run_id, "key": "u.host-5", **start}), *events):
        write_event(journal, kind, **fields)
    journal.close()


def recorded(number: int = 4, host: str = "host-5", uuid: str = UUID) -> tuple[str, dict[str, Any]]:
    vm, home = {"moid": f"vm-{number}", "name": f"ml-{number}"}, {"moid": host, "name": host.replace("host", "esx")}
    return "home_recorded", {"vm": vm, "home": home, "vm_uuid": uuid}


def restored(target: str, number: int = 4, **end: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    ends = {"vm": {"moid": f"vm-{number}", "name": "x"}, "target": {"moid": target, "name": target}}
    return ("planned", ends), ("move_submitting", ends), ("move_finished", {**ends, **end})


def homes(state: Path, vcenter: str = "u") -> dict[str, str]:
    return {vm: home.host for vm, home in journal_homes(state, vcenter).items()}


@pytest.mark.parametrize(("permitted", "attributes"), [(True, [False, True]), (False, [False])])
def test_a_home_is_in_the_journal_before_it_is_in_the_attribute(permitted: bool, attributes: list[bool]) -> None:
    vcenter, journal = Attributes(permitted), Notes()
    record_home(vcenter, journal, Ref("vm-4", "ml-4"), HOME)  # type: ignore[arg-type]
    assert vcenter.homes == [HOME]
    assert [event["attribute"] for event in journal.events] == attributes
    assert {(event["home"]["moid"], event["vm_uuid"]) for event in journal.events} == {("host-5", UUID)}


def test_the_last_recorded_home_counts(state: Path) -> None:
    assert homes(state) == {}
    write_run(state, "r1", recorded(), recorded(7, uuid="other"))
    write_run(state, "r2", recorded(host="host-8"), key="u.host-8")
    assert homes(state) == {"vm-4": "host-8", "vm-7": "host-5"}
    assert homes(state, "another") == {}
    assert journal_homes(state, "u", runs_of(state, "u")) == journal_homes(state, "u")
    assert journal_homes(state, "u", []) == {}, "the runs that were read already count"


def test_a_vm_that_was_registered_again_has_one_home(state: Path) -> None:
    write_run(state, "r1", recorded(4))
    write_run(state, "r2", recorded(9, host="host-8"), recorded(10, uuid=""), key="u.host-8")
    assert homes(state) == {"vm-9": "host-8", "vm-10": "host-5"}


@pytest.mark.parametrize(
    ("events", "left"),
    [
        (restored("host-5"), []),
        (restored("host-7"), ["vm-4"]),  # it came to another host than its home
        (restored("host-5", 9), ["vm-4"]),
        (restored("host-5", result="failed", error={"fault": "Timedout", "message": ""}), ["vm-4"]),
        (
            (
                *restored("host-5"),
                ("rolling_back", {}),
                ("planned", {"vm": {"moid": "vm-4", "name": "x"}, "back": True}),
            ),
            ["vm-4"],
        ),
    ],
)
def test_a_restore_clears_the_home_to_which_it_brought_the_vm(state: Path, events: Any, left: list[str]) -> None:
    write_run(state, "r1", recorded())
    write_run(state, "r2", *events, purpose="restore")
    assert list(homes(state)) == left


def test_only_a_restore_clears_homes_by_its_moves(state: Path) -> None:
    write_run(state, "r1", recorded())
    write_run(state, "r2", *restored("host-5"), purpose="migrate")
    assert homes(state) == {"vm-4": "host-5"}


def test_a_home_that_is_recorded_after_it_was_cleared_counts_again(state: Path) -> None:
    write_run(
        state, "r1", recorded(), recorded(7, uuid="other"), ("home_cleared", {"vm": {"moid": "vm-4", "name": "ml-4"}})
    )
    assert homes(state) == {"vm-7": "host-5"}
    write_run(state, "r2", recorded(host="host-8"))
    assert homes(state) == {"vm-7": "host-5", "vm-4": "host-8"}


def test_what_an_operator_clears_is_kept_beside_the_journals(state: Path) -> None:
    write_run(state, "r1", recorded(), recorded(7, uuid="other"))
    found = journal_homes(state, "u")
    clear_homes(state, "elsewhere", found.values())
    assert homes(state).keys() == {"vm-4", "vm-7"}
    clear_homes(state, "u", [found["vm-4"]])
    assert homes(state).keys() == {"vm-7"}
    assert (state / CLEARED).stat().st_mode & 0o777 == 0o600
    write_run(state, "r2", recorded())
    assert homes(state).keys() == {"vm-4", "vm-7"}


def test_a_home_of_a_controller_whose_clock_is_ahead_can_be_cleared(state: Path) -> None:
    write_run(state, "r1", recorded())
    (home,) = journal_homes(state, "u").values()
    ahead = [
        HOME.__class__(**{**{f: getattr(home, f) for f in home.__slots__}, "recorded_at": "2999-01-01T00:00:00.000Z"})
    ]
    clear_homes(state, "u", ahead)
    (line,) = (json.loads(text) for text in (state / CLEARED).read_text().splitlines() if text)
    assert line["at"] == "2999-01-01T00:00:00.000Z"


def test_lines_that_a_crash_tore_hide_no_other_line(state: Path) -> None:
    write_run(state, "r1", recorded(), recorded(7, uuid="other"))
    torn = ['{"at": "2999", "vce', "[]", "7", '{"vcenter": "u"}', "\0" * 9, "[" * 9999]
    (state / CLEARED).write_text("\n".join(torn))
    (state / CLEARED).chmod(0o600)
    clear_homes(state, "u", [HOME])
    assert homes(state).keys() == {"vm-7"}


def test_a_place_that_cannot_be_written_is_an_error_of_the_option(state: Path) -> None:
    (state / CLEARED).mkdir()
    with pytest.raises(InvalidInput, match=CLEARED):
        clear_homes(state, "u", [HOME])
