# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``placement``: which homes may go."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import RunBusy
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import CONNECTION_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._run import journal as _journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import (
    CLEARED,
    clear_homes,
    journal_homes,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE, Home, encode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import Lease
from ansible_collections.liveml.vsphere.plugins.modules.placement import SPEC, body

from tests.builders.estates import INFO, estate, host, vm
from tests.builders.journals import write_event

CONNECTION = {"hostname": "vc", "username": "u", "password": "p"}


class Clearing:
    """A vCenter that keeps which homes were cleared, where the role permits it."""

    def __init__(self, estate: Estate, *, permitted: bool = True) -> None:
        self._estate = estate
        self._permitted = permitted
        self.cleared: list[str] = []
        self.leases: dict[str, Lease] = {}

    def estate(self) -> Estate:
        return self._estate

    def deleted(self, vms: Iterable[str]) -> frozenset[str]:
        return frozenset(vms)

    def mover(self, _vm: str, _host: str) -> str:
        return "alice"

    def lease(self, host: str) -> Lease | None:
        return self.leases.get(host)

    def time(self) -> datetime:
        return datetime.now(UTC)

    def clear_home(self, vm: str) -> bool:
        if self._permitted:
            self.cleared.append(vm)
            machine = replace(self._estate.vms[vm], attributes={ATTRIBUTE: ""})
            self._estate = replace(self._estate, vms={**self._estate.vms, vm: machine})
        return self._permitted


class Module:
    """The module's parameters, and the warnings that it gave."""

    def __init__(self, folder: Path, *, check: bool = False, **options: Any) -> None:
        given = {**CONNECTION, "state_dir": str(folder), "state": "absent", **options}
        self.params = ArgumentSpecValidator(deepcopy({**CONNECTION_SPEC, **SPEC})).validate(given).validated_parameters
        self.check_mode = check
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def journalled(
    folder: Path, *, name: str = "20260101T000000Z-evacuate", number: int = 1, uuid: str = INFO.instance_uuid
) -> Path:
    """A state directory with a run that took vm-``number`` from host-1 to host-2, its home in the journal alone."""
    run = state_path(str(folder)) / "runs" / name
    run.mkdir()
    vm, home, target = (
        {"moid": f"{kind}-{n}", "name": f"{short}-{n}"}
        for kind, short, n in (("vm", "ml", number), ("host", "esx", 1), ("host", "esx", 2))
    )
    journal = Journal(run / "journal.jsonl")
    write_event(journal, "run_started", run_id=name, plan_id="p", purpose="evacuate", key=f"{uuid}.host-1")
    write_event(journal, "planned", number=1, vm=vm, source=home, target=target)
    write_event(journal, "home_recorded", vm=vm, home=home, target=target, start="host-1", attribute=False)
    write_event(journal, "move_finished", number=1, vm=vm, result="moved")
    journal.close()
    return journal.path


def test_the_home_of_a_vm_that_is_being_moved_away_from_it_is_kept(tmp_path: Path) -> None:
    def home(number: int) -> dict[str, str]:
        return {ATTRIBUTE: encode_home(Home(f"vm-{number}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now"))}

    vms = [vm(1, attributes=home(1)), vm(2, attributes=home(2), moving_task="task-2")]
    vcenter = Clearing(estate([host(1), host(2)], vms))
    told = body(Module(tmp_path, host="esx-1"), vcenter)
    assert vcenter.cleared == ["vm-1"]
    assert told["changed"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("given", [{"host": "esx-1"}, {}])
def test_the_home_of_a_vm_that_a_run_has_still_to_move_is_kept(
    tmp_path: Path, given: dict[str, str], check: bool
) -> None:
    """The VM is home until its turn comes."""
    home = {ATTRIBUTE: encode_home(Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now"))}
    vcenter = Clearing(estate([host(1), host(2)], [vm(1, attributes=home)]))
    vcenter.leases["host-1"] = Lease("other", "other.example.com", datetime.now(UTC) + timedelta(seconds=60))
    with pytest.raises(RunBusy, match=r"Another controller \(other\.example\.com\) carries out a run for esx-1"):
        body(Module(tmp_path, check=check, **given), vcenter)
    vcenter.leases.clear()
    state = state_path(str(tmp_path))
    with run_lock(state, run_key(INFO.instance_uuid, "host-1"), timeout=0), pytest.raises(RunBusy):
        body(Module(tmp_path, check=check, lock_timeout=0, **given), vcenter)
    assert vcenter.cleared == []
    assert body(Module(tmp_path, check=check, **given), vcenter)["changed"]


@pytest.mark.parametrize(("outcome", "on"), [("away", 2), ("home", 1), ("moved_by_person", 3), ("gone", None)])
def test_a_home_in_the_journals_is_cleared_once_and_the_journal_is_kept(
    tmp_path: Path, outcome: str, on: int | None
) -> None:
    journal = journalled(tmp_path)
    evidence = journal.read_bytes()
    machines = [] if on is None else [vm(1, on=on)]
    vcenter = Clearing(estate([host(1), host(2), host(3)], machines))
    wanted = {"host": "esx-1", "outcomes": [outcome]}
    planned = body(Module(tmp_path, check=True, **wanted), vcenter)
    assert not (tmp_path / CLEARED).exists()
    told = body(Module(tmp_path, **wanted), vcenter)
    assert told == planned
    assert told["changed"]
    assert told["diff"]["before"].endswith(": home esx-1\n")
    assert body(Module(tmp_path, state="present"), vcenter)["placements"] == []
    assert body(Module(tmp_path, **wanted), vcenter)["changed"] is False
    assert journal.read_bytes() == evidence
    assert read_journal(journal).broken_at is None
    assert (tmp_path / CLEARED).stat().st_mode & 0o777 == 0o600


def test_a_home_that_is_recorded_after_one_was_cleared_counts(tmp_path: Path) -> None:
    journalled(tmp_path, name="20260102T000000Z-evacuate")
    uuid = INFO.instance_uuid
    (tmp_path / CLEARED).write_text('{"torn')
    clear_homes(tmp_path, uuid, journal_homes(tmp_path, uuid).values())
    assert journal_homes(tmp_path, uuid) == {}
    # The folder's name shows when a run began; a resumed run records homes later.
    journalled(tmp_path, name="20260101T000000Z-evacuate")
    assert journal_homes(tmp_path, uuid)["vm-1"].run_id == "20260101T000000Z-evacuate"


def test_of_homes_at_the_same_time_that_of_the_newer_run_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "utc_now", lambda: "2026-01-02T00:00:00.000Z")
    journalled(tmp_path, name="20260102T000000Z-evacuate")
    journalled(tmp_path, name="20260101T000000Z-evacuate")
    assert journal_homes(tmp_path, INFO.instance_uuid)["vm-1"].run_id == "20260102T000000Z-evacuate"


def test_homes_of_another_vcenter_are_not_cleared(tmp_path: Path) -> None:
    journalled(tmp_path, uuid="other")
    journalled(tmp_path, name="20260102T000000Z-evacuate")
    body(Module(tmp_path, outcomes=["away"]), Clearing(estate([host(1), host(2)], [vm(1, on=2)])))
    assert journal_homes(tmp_path, INFO.instance_uuid) == {}
    assert journal_homes(tmp_path, "other").keys() == {"vm-1"}


def test_a_home_whose_attribute_cannot_be_cleared_is_kept_and_told(tmp_path: Path) -> None:
    journalled(tmp_path)
    home = Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "r1", "now")
    world = estate([host(1), host(2)], [vm(1, on=2, attributes={ATTRIBUTE: encode_home(home)})])
    module = Module(tmp_path, outcomes=["away"])
    assert body(module, Clearing(world, permitted=False))["changed"] is False
    assert module.warnings == [
        f"{world.vms['vm-1'].name} keeps its home esx-1, because its custom attribute liveml_home cannot be "
        "cleared. Check that the user has the privilege Global.SetCustomField on the VM."
    ]
    assert journal_homes(tmp_path, INFO.instance_uuid).keys() == {"vm-1"}


def test_a_home_that_nobody_sees_is_cleared_only_with_its_attribute(tmp_path: Path) -> None:
    world = estate([host(1), host(2)], [vm(1, on=2)], unreadable={"vm-1": frozenset({"customValue"})})
    vcenter = Clearing(world)
    assert body(Module(tmp_path, host="esx-1", outcomes=["unreadable"]), vcenter)["changed"]
    assert vcenter.cleared == ["vm-1"], "the attribute may hold a home"
    moving = Clearing(replace(world, unreadable={"vm-1": frozenset({"customValue", "recentTask"})}))
    assert body(Module(tmp_path, host="esx-1", outcomes=["unreadable"]), moving)["changed"] is False
