# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of DRS, and what is unknown. No property that was not read is taken for a default."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Automation,
    Drs,
    DrsOverride,
    Gpu,
    VgpuMode,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import Row, _drs, _gpus, is_move
from pyVmomi import vim

CONFIG, OVERRIDES = "configurationEx.drsConfig", "configurationEx.drsVmConfig"


def config(**values: Any) -> Any:
    return vim.cluster.DrsConfigInfo(enableVmBehaviorOverrides=True, **values)


def override(vm: str, **values: Any) -> Any:
    return vim.cluster.DrsVmConfigInfo(key=vim.VirtualMachine(vm, None), **values)


@pytest.mark.parametrize(
    ("found", "automation"),
    [
        (config(enabled=True, defaultVmBehavior="fullyAutomated"), Automation.FULL),
        (config(enabled=True, defaultVmBehavior="partiallyAutomated"), Automation.PARTIAL),
        (config(enabled=True, defaultVmBehavior="manual"), Automation.MANUAL),
        (config(enabled=False, defaultVmBehavior="fullyAutomated"), Automation.DISABLED),
        (config(enabled=True), Automation.UNKNOWN),
        (config(defaultVmBehavior="manual"), Automation.UNKNOWN),
    ],
)
def test_the_automation_of_a_cluster(found: Any, automation: Automation) -> None:
    assert _drs(Row({CONFIG: found})) == Drs(automation, overrides_allowed=True, overrides={})


@pytest.mark.parametrize(
    ("key", "value", "moves"),
    [
        ("PassthroughDrsAutomation", "1", True),
        ("passthroughdrsautomation", 1, True),
        ("PassthroughDrsAutomation", "0", False),
        ("VgpuMMAutomationTimeoutSecs", "-1", True),
        ("LBMaxVmotionPerHost", "1", False),
    ],
)
def test_an_advanced_option_makes_drs_move_vms_with_vgpus(key: str, value: object, moves: bool) -> None:
    option = vim.option.OptionValue(key=key, value=value)
    assert _drs(Row({CONFIG: config(enabled=True, option=[option])})).moves_vgpus is moves


def card(**values: Any) -> Any:
    known = {
        "deviceName": "NVIDIA Tesla V100",
        "vendorName": "NVIDIA",
        "pciId": "0000:3b:00.0",
        "memorySizeInKB": 16 * 1024**2,
    }
    return vim.host.GraphicsInfo(**{**known, "graphicsType": "sharedDirect", **values})


def test_the_gpus_of_a_host() -> None:
    vms = [vim.VirtualMachine("vm-2", None), vim.VirtualMachine("vm-1", None)]
    found = [card(vm=vms, vgpuMode="mixedSize"), card(graphicsType="basic"), card(memorySizeInKB=0, vgpuMode="none")]
    assert _gpus(Row({"config.graphicsInfo": found})) == (
        Gpu("NVIDIA Tesla V100", 16 * 2**30, VgpuMode.MIXED_SIZE, ("vm-1", "vm-2")),
        Gpu("NVIDIA Tesla V100", 0),
    )
    assert _gpus(Row({})) == ()
    assert _gpus(Row({}, unreadable=["config.graphicsInfo"])) is None


def test_overrides_keep_what_is_not_set() -> None:
    drs = _drs(
        Row(
            {
                CONFIG: config(enabled=True, defaultVmBehavior="fullyAutomated"),
                OVERRIDES: [
                    override("vm-1", enabled=False),
                    override("vm-2", enabled=True, behavior="manual"),
                    override("vm-3", behavior="fullyAutomated"),
                ],
            }
        )
    )
    assert drs.overrides == {
        "vm-1": DrsOverride(enabled=False),
        "vm-2": DrsOverride(enabled=True, behavior=Automation.MANUAL),
        "vm-3": DrsOverride(behavior=Automation.FULL),
    }


def test_what_could_not_be_read_is_unknown() -> None:
    assert _drs(Row({}, unreadable=[CONFIG, OVERRIDES])) == Drs(Automation.UNKNOWN, None, None)
    assert _drs(Row({}, unreadable=[CONFIG])).automation is Automation.UNKNOWN
    assert _drs(Row({CONFIG: config(enabled=True)}, unreadable=[OVERRIDES])).overrides is None


def test_a_host_without_a_cluster_has_no_drs() -> None:
    assert _drs(None).automation is Automation.DISABLED


@pytest.mark.parametrize(
    "task", ["Drm.ExecuteVMotionLRO", "VirtualMachine.relocate", "VirtualMachine.migrate", "drm.executevmotionlro"]
)
def test_a_vmotion_of_drs_is_a_move(task: str) -> None:
    assert is_move(task)
    assert not is_move("VirtualMachine.createSnapshot")
