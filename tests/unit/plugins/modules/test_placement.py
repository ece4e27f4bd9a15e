# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``placement``: which homes may go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ansible_collections.liveml.vsphere.plugins.module_utils._homes import ATTRIBUTE, encode_home
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Estate, Home
from ansible_collections.liveml.vsphere.plugins.modules.placement import body

from tests.unit.plugins.module_utils.test__plan import estate, host, vm


class Clearing:
    """A vCenter that keeps which homes were cleared."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self.cleared: list[str] = []

    def estate(self) -> Estate:
        return self._estate

    def clear_home(self, vm: str) -> bool:
        self.cleared.append(vm)
        return True


def test_the_home_of_a_vm_that_is_being_moved_away_from_it_is_kept(tmp_path: Path) -> None:
    def home(number: int) -> dict[str, str]:
        return {ATTRIBUTE: encode_home(Home(f"vm-{number}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now"))}

    vms = [vm(1, attributes=home(1)), vm(2, attributes=home(2), moving_task="task-2")]
    vcenter = Clearing(estate([host(1), host(2)], vms))
    options = {"host": "esx-1", "state": "absent", "outcomes": ["home"], "state_dir": str(tmp_path)}
    told = body(SimpleNamespace(params=options, check_mode=False), vcenter)
    assert vcenter.cleared == ["vm-1"]
    assert told["changed"]
