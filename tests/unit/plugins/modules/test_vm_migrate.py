# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_migrate``: what it takes for a run."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import RunRequest
from ansible_collections.liveml.vsphere.plugins.modules.vm_migrate import SPEC, request_of

from tests.builders.estates import INFO


def asked(folder: Path, *, check: bool = False, **options: Any) -> RunRequest:
    """The run that these options of the module ask for."""
    given = {"plan": {}, "state_dir": str(folder), **options}
    params = ArgumentSpecValidator(deepcopy(SPEC)).validate(given).validated_parameters
    return request_of(SimpleNamespace(params=params, check_mode=check), Plan("p", INFO, ()), None, [])


@pytest.mark.parametrize("most", [0, -1])
@pytest.mark.parametrize("policy", ["stop", "rollback", "continue"])
def test_no_failure_at_all_is_no_limit_of_failures(most: int, policy: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"max_failures is {most}"):
        asked(tmp_path, max_failures=most, on_failure=policy)


def test_a_move_is_tried_as_often_as_asked(tmp_path: Path) -> None:
    assert (asked(tmp_path).rules.retries, asked(tmp_path, retries=0).rules.retries) == (2, 0)
    with pytest.raises(InvalidInput, match="retries is -1"):
        asked(tmp_path, retries=-1)


def test_the_defaults_are_valid(tmp_path: Path) -> None:
    assert asked(tmp_path).rules.max_failures == 1


def test_check_mode_makes_no_state_directory(tmp_path: Path) -> None:
    assert asked(tmp_path / "state", check=True).state == tmp_path / "state"
    assert not (tmp_path / "state").exists()
    assert asked(tmp_path / "state").state.is_dir()


def test_a_fence_needs_a_host(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no host") as refused:
        asked(tmp_path, fence=True)
    assert refused.value.option == "fence"
