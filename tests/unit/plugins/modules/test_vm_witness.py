# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module says in check mode."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from ansible_collections.liveml.vsphere.plugins.modules.vm_witness import lines_of

from tests.builders.estates import estate, host, vm


def test_a_vm_whose_host_is_not_shown_has_a_line_too() -> None:
    world = estate([host(1)], [vm(1), replace(vm(2), host="")])
    observed = [SimpleNamespace(vm=each, experiments=(), detail="no server listens") for each in world.vms.values()]
    providers: Any = SimpleNamespace(observe=lambda vms, among: observed)
    assert lines_of(world, ("vm-1", "vm-2"), providers) == [
        "ml-1 on esx-1: no experiment observed: no server listens",
        "ml-2 on a host that vCenter does not show: no experiment observed: no server listens",
    ]
