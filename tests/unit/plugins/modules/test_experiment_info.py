# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``experiment_info``: which VMs are meant, by name or MoID."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import Ambiguous, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC
from ansible_collections.liveml.vsphere.plugins.modules.experiment_info import body

from tests.builders.estates import estate, host, vm

TWINS = [replace(vm(n), name=name) for n, name in ((1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"))]


def unobserved(*vms: str) -> Any:
    options = {"experiments": {"enabled": False}}
    experiments = ArgumentSpecValidator(deepcopy(EXPERIMENT_SPEC)).validate(options).validated_parameters["experiments"]
    params = {"experiments": experiments, "host": None, "vms": list(vms)}
    world = SimpleNamespace(estate=lambda: estate([host(1), host(2)], TWINS))
    return list(body(SimpleNamespace(params=params), world)["unobserved"])


def test_a_vm_is_meant_by_its_moid_also_where_its_name_is_ambiguous() -> None:
    assert unobserved("vm-2", "c") == ["a (vm-2)", "c"]


def test_vms_that_share_a_name_are_all_told() -> None:
    assert unobserved() == ["a (vm-1)", "a (vm-2)", "b (vm-3)", "b (vm-4)", "c"]


def test_all_names_that_do_not_mean_one_vm_are_told_at_once() -> None:
    with pytest.raises(Ambiguous) as caught:
        unobserved("a", "c", "b", "nobody")
    assert caught.value.message == "2 VMs are named a; 2 VMs are named b; vCenter has no VM named nobody"
    assert caught.value.candidates == ("vm-1", "vm-2", "vm-3", "vm-4")
    assert "vm-3 (/dc/vm/b)" in str(caught.value)
    with pytest.raises(NotFound, match="named x; vCenter has no VM named y"):
        unobserved("x", "y")
