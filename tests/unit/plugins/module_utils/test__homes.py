# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Homes tell which moves a run that lost its journal has under way."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._homes import moves_under_way, placements
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Home

from tests.unit.plugins.module_utils.test__plan import estate, host, vm


@pytest.mark.parametrize(
    ("homeward", "expected"),
    [(False, {"vm-1": ("host-2", "task-1")}), (True, {"vm-3": ("host-1", "task-3")})],
)
def test_a_move_under_way_is_known_from_its_home(homeward: bool, expected: dict[str, tuple[str, str]]) -> None:
    vms = [
        vm(1, on=1, moving_task="task-1"),
        vm(2, on=1),
        vm(3, on=2, moving_task="task-3"),
        vm(4, on=3, moving_task="task-4"),  # a person moved it
        vm(5, on=1, moving_task="task-5"),  # no home was recorded
        vm(6, on=1, moving_task="task-6"),  # it never left home, so no move of ours leads from there to there
    ]
    world = estate([host(1), host(2), host(3)], vms)
    homes = {f"vm-{n}": Home(f"vm-{n}", "host-1", "esx-1", "host-2", "esx-2", "r1", "now") for n in (1, 2, 3, 4)}
    homes["vm-6"] = Home("vm-6", "host-1", "esx-1", "host-1", "esx-1", "r1", "now")
    found = placements(world, homes, "host-1")
    assert moves_under_way(world, found, homeward=homeward) == expected
